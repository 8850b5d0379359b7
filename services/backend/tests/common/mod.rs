//! A database for each test, which is dropped afterwards, and requests without a socket.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    future::Future,
    str::FromStr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use backend::{
    Backend,
    config::{AssistantConfig, AuthConfig, AuthMode, Config, LimitsConfig, ProviderConfig, Secret},
    database::Database,
};
use http_body_util::BodyExt;
use jsonwebtoken::Algorithm;
use kit::{serve::Readiness, url::BaseUrl};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::net::TcpListener;
use tower::ServiceExt;

pub const KEY: &str = "sentinel-key";
pub const SECRET: &str = "a secret of the tests, long enough";
pub const ISSUER: &str = "http://issuer.test";

pub fn config(database: PgConnectOptions) -> Config {
    let auth = AuthConfig { mode: AuthMode::None, issuer: None, expiration_days: 1 };
    let assistant = AssistantConfig { provider: None };
    Config { database, database_max_connections: 4, cors_origins: Vec::new(), auth, assistant, limits: no_limits() }
}

pub fn no_limits() -> LimitsConfig {
    LimitsConfig {
        passwords_per_account: None,
        passwords_per_address: None,
        sign_ups_per_address: None,
        messages_per_user: None,
        trusted_proxies: 1,
    }
}

/// With accounts.
pub fn hs256(config: Config) -> Config {
    let mode = AuthMode::Hs256 { secret: Secret::new(SECRET), algorithm: Algorithm::HS256 };
    Config { auth: AuthConfig { mode, issuer: Some(ISSUER.to_owned()), expiration_days: 1 }, ..config }
}

pub async fn with_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Config) -> F) {
    let url = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a database whose user may create others; cargo xtask test provides it");
    let options = PgConnectOptions::from_str(&url).unwrap();
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT 'test_' || replace(gen_random_uuid()::text, '-', '')")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    // A task of its own, so that the database is dropped also when the test fails.
    let outcome = tokio::spawn(test(config(options.database(&name)))).await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

pub async fn migrated(config: &Config) -> (Database, Router) {
    let backend = Backend::open(config, Readiness::default());
    let database = backend.database.clone();
    database.migrate().await.unwrap();
    (database, backend::app(backend, &[]))
}

pub async fn send(app: &Router, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    send_as("", app, method, path, body).await
}

/// With a token, unless it is empty.
pub async fn send_as(
    token: &str,
    app: &Router,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}

/// With headers, and those of the answer; the answer's body as text.
pub async fn send_with(
    app: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Writes, and returns the answer with what takes the write back.
pub async fn write_as(token: &str, app: &Router, method: Method, path: &str, body: Value) -> (Value, String) {
    let authorization = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    let headers = if token.is_empty() { &headers[..1] } else { &headers };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, headers, answer) = send_with(app, method, path, headers, body).await;
    assert!(status.is_success(), "{path}: {status}: {answer}");
    let undo = headers.get("undo-token").map(|token| token.to_str().unwrap().to_owned()).unwrap_or_default();
    (serde_json::from_str(&answer).unwrap_or_default(), undo)
}

pub async fn create(app: &Router, title: &str) -> i64 {
    create_as("", app, title).await
}

pub async fn create_as(token: &str, app: &Router, title: &str) -> i64 {
    let (status, task) = send_as(token, app, Method::POST, "/api/tasks", Some(json!({"title": title}))).await;
    assert_eq!(status, StatusCode::CREATED, "{task}");
    task["id"].as_i64().unwrap()
}

pub async fn titles(app: &Router, query: &str) -> Vec<String> {
    titles_as("", app, query).await
}

pub async fn titles_as(token: &str, app: &Router, query: &str) -> Vec<String> {
    let (status, tasks) = send_as(token, app, Method::GET, &format!("/api/tasks{query}"), None).await;
    assert_eq!(status, StatusCode::OK, "{tasks}");
    tasks.as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
}

/// Makes an account, and returns its token.
pub async fn sign_up(app: &Router, email: &str) -> String {
    let new = json!({"email": email, "password": "the right password"});
    let (status, answer) = send(app, Method::POST, "/api/auth/sign-up", Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

/// What a stand-in was sent, each with its `Authorization`.
pub type Asked = Arc<Mutex<Vec<(String, Value)>>>;

pub fn authorization(headers: &HeaderMap) -> String {
    headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// With a language model that is reached there, and works through the MCP server.
pub fn with_provider(config: Config, url: Uri, mcp_url: BaseUrl) -> Config {
    let provider = ProviderConfig { name: "openai", url, key: Secret::new(KEY), model: "stand-in".to_owned(), mcp_url };
    Config { assistant: AssistantConfig { provider: Some(provider) }, ..config }
}

/// A stand-in for a language model that gives the answers one after the other, and the configuration that leads to it.
pub async fn with_model(config: Config, mcp_url: BaseUrl, answers: Vec<(u16, Value)>) -> (Config, Asked) {
    let asked = Asked::default();
    let (keep, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    let answer = async move |headers: HeaderMap, Json(body): Json<Value>| -> Response {
        keep.lock().unwrap().push((authorization(&headers), body));
        let (status, answer) = answers.lock().unwrap().next().expect("no more is asked");
        (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
    };
    let url = serve(Router::new().route("/v1/chat/completions", post(answer))).await;
    (with_provider(config, format!("{url}/v1/chat/completions").parse().unwrap(), mcp_url), asked)
}

/// What a language model says.
pub fn message(message: Value) -> (u16, Value) {
    (200, json!({"choices": [{"index": 0, "message": message}]}))
}

/// A stand-in for the MCP server, which has two tools and does nothing; and the calls.
pub async fn stand_in_mcp() -> (BaseUrl, Asked) {
    let tool = |name: &str, is_read: bool| json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": is_read}});
    let tools = json!({"tools": [tool("add_task", false), tool("list_tasks", true)]});
    let asked = Asked::default();
    let keep = asked.clone();
    let answer = async move |headers: HeaderMap, Json(body): Json<Value>| {
        let result = if body["method"] == "tools/list" {
            tools
        } else {
            keep.lock().unwrap().push((authorization(&headers), body["params"].clone()));
            json!({"content": [{"type": "text", "text": "Fine."}], "structuredContent": {"undo_token": "7"}})
        };
        Json(json!({"jsonrpc": "2.0", "id": 1, "result": result}))
    };
    let url = serve(Router::new().route("/mcp", post(answer))).await;
    (BaseUrl::parse(&url).unwrap(), asked)
}
