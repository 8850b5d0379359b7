//! What the backend answers when there is no database, and what its binary says about its configuration.

mod common;

use std::process::{Command, Output};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
};
use backend::{Backend, database::Database};
use http_body_util::BodyExt;
use kit::serve::Readiness;
use serde_json::{Value, json};
use tower::ServiceExt;

use common::config;

/// Nothing listens on port 1, and nothing that is not root could.
const NO_DATABASE: &str = "postgres://todo:sentinel@127.0.0.1:1/todo";

fn app(readiness: Readiness) -> Router {
    let config = config(NO_DATABASE.parse().unwrap());
    backend::app(Backend::open(&config, readiness), &[HeaderValue::from_static("http://page:3000")])
}

async fn get(path: &str) -> (StatusCode, String) {
    answer(app(Readiness::default()), Request::get(path).body(Body::empty()).unwrap()).await
}

async fn answer(app: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(!body["detail"].as_str().unwrap().is_empty());
    body["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn health_asks_nothing_but_the_process() {
    assert_eq!(get("/health").await, (StatusCode::OK, r#"{"status":"ok"}"#.to_owned()));
}

#[tokio::test]
async fn not_ready_before_the_migrations() {
    let (status, body) = get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("the migrations haven't run yet"), "{body}");
}

#[tokio::test]
async fn not_ready_when_stopping() {
    let readiness = Readiness::default();
    readiness.set_stopping();
    let request = Request::get("/ready").body(Body::empty()).unwrap();
    let (status, body) = answer(app(readiness), request).await;
    assert_eq!((status, code(&body).as_str()), (StatusCode::SERVICE_UNAVAILABLE, "stopping"));
}

#[tokio::test]
async fn a_migration_that_fails_tells_why_and_no_password() {
    let reason = Database::open(&config(NO_DATABASE.parse().unwrap())).migrate().await.unwrap_err();
    assert!(reason.contains("the database can't be reached") && reason.contains("refused"), "{reason}");
    assert!(!reason.contains("sentinel"), "{reason}");
}

/// Every operation of the document, so also one that is new.
#[tokio::test]
async fn the_api_is_unavailable_before_the_migrations() {
    let description: Value = serde_json::from_str(&get("/docs/openapi.json").await.1).unwrap();
    let app = app(Readiness::default());
    let mut tried = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "1");
            let (status, headers, body) = common::send_with(&app, method.clone(), &path, &[], "").await;
            let wanted = (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable");
            assert_eq!((status, code(&body).as_str()), wanted, "{method} {path}");
            assert!(body.contains("not ready yet"), "{body}");
            assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0, "{method} {path}");
            tried += 1;
        }
    }
    assert!(tried >= 25, "{tried}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_the_same_shape() {
    let (status, body) = get("/nowhere").await;
    assert_eq!((status, code(&body).as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let request = Request::post("/health").body(Body::empty()).unwrap();
    let (status, body) = answer(app(Readiness::default()), request).await;
    assert_eq!((status, code(&body).as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
}

#[tokio::test]
async fn the_description_names_every_operation() {
    let (status, body) = get("/docs/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let description: Value = serde_json::from_str(&body).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let mut operations: Vec<String> = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        operations.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    operations.sort();
    assert_eq!(
        operations,
        [
            "delete /api/auth/sessions",
            "delete /api/auth/sessions/{id}",
            "delete /api/auth/user",
            "delete /api/conversations/{id}",
            "delete /api/tasks/{id}",
            "get /api/auth/jwks",
            "get /api/auth/session",
            "get /api/auth/sessions",
            "get /api/conversations",
            "get /api/conversations/{id}",
            "get /api/conversations/{id}/messages",
            "get /api/tasks",
            "get /api/tasks/events",
            "get /api/tasks/export",
            "get /api/tasks/{id}",
            "patch /api/conversations/{id}",
            "patch /api/tasks/{id}",
            "post /api/auth/password",
            "post /api/auth/sign-in",
            "post /api/auth/sign-out",
            "post /api/auth/sign-up",
            "post /api/conversations",
            "post /api/conversations/{id}/messages",
            "post /api/conversations/{id}/stop",
            "post /api/tasks",
            "post /api/tasks/bulk",
            "post /api/tasks/import",
            "post /api/tasks/undo",
            "post /api/tasks/{id}/complete",
            "post /api/tasks/{id}/move",
            "post /api/tasks/{id}/reopen",
        ]
    );
}

#[tokio::test]
async fn every_failure_is_a_problem_as_the_rfc_has_it() {
    let (status, headers, body) =
        common::send_with(&app(Readiness::default()), Method::GET, "/api/tasks", &[], "").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"application/problem+json".parse().unwrap())
    );
    let detail = "the database is not ready yet; try again in a moment";
    let wanted = json!({
        "type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail, "code": "database_unavailable",
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), wanted);

    let description: Value = serde_json::from_str(&get("/docs/openapi.json").await.1).unwrap();
    let mut failures = 0;
    for operation in
        description["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            if status.starts_with(['4', '5']) {
                let kinds: Vec<&String> = answer["content"].as_object().unwrap().keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{operation}");
                assert_eq!(answer["content"][kinds[0]]["schema"]["$ref"], "#/components/schemas/Problem");
                failures += 1;
            }
        }
    }
    assert!(failures > 50, "{failures}");
    let required = &description["components"]["schemas"]["Problem"]["required"];
    assert_eq!(required, &json!(["type", "title", "status", "detail", "code"]));
    let limited = &description["paths"]["/api/auth/sign-in"]["post"]["responses"]["429"];
    assert_eq!(limited["headers"]["retry-after"]["schema"]["type"], "integer", "{limited}");
}

#[tokio::test]
async fn the_docs_load_nothing_from_elsewhere() {
    let (status, page) = get("/docs").await;
    assert_eq!(status, StatusCode::OK);
    for wanted in [
        "<code>POST /api/tasks</code>",
        "<code>PATCH /api/tasks/{id}</code>",
        "NewTask",
        "Problem",
        "<code>action</code> <small>tag</small>",
        "updated_at",
        "<p>low or medium or high</p>",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing in {page}");
    }
    assert!(!page.contains("//"), "an address of another host");
    assert!(!page.contains("<script"));
    assert_eq!(get("/docs/style.css").await.0, StatusCode::OK);
}

#[tokio::test]
async fn only_known_origins_are_let_in() {
    for (origin, allowed) in [("http://page:3000", true), ("http://other:3000", false)] {
        let request = Request::get("/health").header(header::ORIGIN, origin).body(Body::empty()).unwrap();
        let response = app(Readiness::default()).oneshot(request).await.unwrap();
        assert_eq!(response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin}");
    }
}

fn run_binary(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_backend"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn the_binary_tells_all_mistakes_at_once() {
    let output = run_binary(&[], &[("PORT", "99999"), ("DATABASE_URL", "sentinel"), ("LOG_LEVEL", "loud")]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let named: Vec<&str> = said.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(named, ["PORT", "LOG_LEVEL", "DATABASE_URL"], "{said}");
    assert!(!said.contains("sentinel"), "{said}");
}

#[test]
fn the_health_check_fails_where_nothing_listens() {
    let output = run_binary(&["healthcheck"], &[("PORT", "1")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("http://127.0.0.1:1/health: "), "{said}");
}

#[test]
fn an_unknown_argument_shows_the_usage() {
    let output = run_binary(&["serve"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("usage: backend"));
}
