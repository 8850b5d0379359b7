//! Every operation of the API, tried without a token and with another user's. The operations are those of the OpenAPI
//! document: one that is new fails here until the table has a line for it.

mod common;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;

use common::{hs256, migrated, send, send_as, sign_up, with_database, write_as};

const PASSWORD: &str = "the right password";
/// In everything that belongs to the owner.
const SENTINEL: &str = "sentinel";

/// Whose data an operation is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    /// Nobody's: it takes no token.
    Public,
    /// The caller's own, whatever is asked for.
    Own,
    /// What the path or the body names; for another user there is no such thing.
    Named,
}
use Access::{Named, Own, Public};

/// What belongs to the owner before each operation.
struct Scene {
    token: String,
    email: String,
    user: String,
    task: i64,
    other_task: i64,
    undo: String,
    conversation: i64,
    session: String,
}

/// The line of an operation: whose data it is about, and a body with which its owner succeeds.
fn line(operation: &str, scene: &Scene) -> Option<(Access, Value)> {
    let none = Value::Null;
    Some(match operation {
        "get /api/auth/jwks" | "get /api/auth/session" => (Public, none),
        "post /api/auth/sign-in" => (Public, json!({"email": scene.email, "password": PASSWORD})),
        "post /api/auth/sign-up" => (Public, json!({"email": format!("new-{}", scene.email), "password": PASSWORD})),
        "post /api/auth/password" => (Own, json!({"current_password": PASSWORD, "new_password": "a new password"})),
        "get /api/auth/sessions" | "delete /api/auth/sessions" | "post /api/auth/sign-out" => (Own, none),
        "delete /api/auth/user" => (Own, none),
        "delete /api/auth/sessions/{id}" => (Named, none),

        "get /api/conversations" | "post /api/conversations" => (Own, none),
        "get /api/conversations/{id}" | "delete /api/conversations/{id}" => (Named, none),
        "get /api/conversations/{id}/messages" => (Named, none),
        "patch /api/conversations/{id}" => (Named, json!({"title": "renamed"})),
        "post /api/conversations/{id}/stop" => (Named, none),
        "post /api/conversations/{id}/messages" => (Named, json!({"content": "help"})),

        "get /api/tasks" | "get /api/tasks/events" | "get /api/tasks/export" => (Own, none),
        "post /api/tasks" => (Own, json!({"title": "new"})),
        "post /api/tasks/import" => (Own, json!([{"title": "new"}])),
        // Each id has an outcome of its own: another user's are missing.
        "post /api/tasks/bulk" => (Own, json!({"action": "delete", "ids": [scene.task, scene.other_task]})),
        "post /api/tasks/undo" => (Named, json!({"token": scene.undo})),
        "get /api/tasks/{id}" | "delete /api/tasks/{id}" => (Named, none),
        "patch /api/tasks/{id}" => (Named, json!({"title": "changed"})),
        "post /api/tasks/{id}/complete" | "post /api/tasks/{id}/reopen" => (Named, none),
        "post /api/tasks/{id}/move" => (Named, json!({"to": "last"})),
        _ => return None,
    })
}

/// A path with the owner's ids in it. A parameter of another kind needs a line here.
fn path_of(operation: &str, scene: &Scene) -> (Method, String) {
    let (method, path) = operation.split_once(' ').unwrap();
    let id = match path.split('/').collect::<Vec<_>>()[..] {
        ["", "api", "tasks", "{id}", ..] => scene.task.to_string(),
        ["", "api", "conversations", "{id}", ..] => scene.conversation.to_string(),
        ["", "api", "auth", "sessions", "{id}"] => scene.session.clone(),
        _ => String::new(),
    };
    let path = if id.is_empty() { path.to_owned() } else { path.replacen("{id}", &id, 1) };
    assert!(!path.contains('{'), "{operation}: the test knows no value for a parameter of this path; see path_of");
    (method.to_uppercase().parse().unwrap(), path)
}

async fn operations(app: &Router) -> Vec<String> {
    let (_, description) = send(app, Method::GET, "/docs/openapi.json", None).await;
    let paths = description["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| -> Vec<String> {
        methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect()
    };
    paths.iter().flat_map(of_path).collect()
}

async fn set_scene(app: &Router, pool: &PgPool, number: usize) -> Scene {
    let email = format!("{SENTINEL}{number}@example.org");
    let token = sign_up(app, &email).await;
    let (user, session) = sqlx::query_as(
        "SELECT users.id, sessions.id FROM users JOIN sessions ON sessions.user_id = users.id WHERE email = $1",
    )
    .bind(&email)
    .fetch_one(pool)
    .await
    .unwrap();
    let new = |title: &str| json!({"title": format!("{SENTINEL} {title}")});
    let (task, _) = write_as(&token, app, Method::POST, "/api/tasks", new("one")).await;
    let (other, undo) = write_as(&token, app, Method::POST, "/api/tasks", new("other")).await;
    let (conversation, _) = write_as(&token, app, Method::POST, "/api/conversations", Value::Null).await;
    let path = format!("/api/conversations/{}/messages", conversation["id"]);
    write_as(&token, app, Method::POST, &path, json!({"content": format!("find {SENTINEL}")})).await;
    let (task, other_task) = (task["id"].as_i64().unwrap(), other["id"].as_i64().unwrap());
    Scene { conversation: conversation["id"].as_i64().unwrap(), token, email, user, task, other_task, undo, session }
}

/// All that the owner has, as it is in the database.
async fn owned(pool: &PgPool, scene: &Scene) -> Vec<String> {
    let rows = "SELECT to_jsonb(tasks)::text FROM tasks WHERE user_id = $1
        UNION ALL SELECT to_jsonb(conversations)::text FROM conversations WHERE user_id = $1
        UNION ALL SELECT to_jsonb(messages)::text FROM messages WHERE conversation_id = $2
        UNION ALL SELECT to_jsonb(agent_state)::text FROM agent_state WHERE conversation_id = $2
        UNION ALL SELECT to_jsonb(sessions)::text FROM sessions WHERE user_id = $1
        UNION ALL SELECT to_jsonb(users)::text FROM users WHERE id = $1 ORDER BY 1";
    let rows: Vec<String> =
        sqlx::query_scalar(rows).bind(&scene.user).bind(scene.conversation).fetch_all(pool).await.unwrap();
    assert!(rows.len() >= 7, "{rows:?}");
    rows
}

/// The status, and as much of the answer as comes at once: a stream of events has no end.
async fn ask(token: &str, app: &Router, operation: &str, scene: &Scene, body: &Value) -> (StatusCode, String) {
    let (method, path) = path_of(operation, scene);
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = match body {
        Value::Null => request.body(Body::empty()),
        body => request.header("content-type", "application/json").body(Body::from(body.to_string())),
    };
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    let (status, is_stream) = (response.status(), response.headers().get("content-type"));
    let is_stream = is_stream.is_some_and(|kind| kind == "text/event-stream");
    let mut body = response.into_body();
    if is_stream {
        // Its first event, and the word that the list is to be loaded.
        let mut text = Vec::new();
        for _ in 0..2 {
            text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        return (status, String::from_utf8(text).unwrap());
    }
    (status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn no_operation_shows_or_changes_what_is_anothers() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let pool = &database.pool;
        let operations = operations(&app).await;
        assert!(operations.len() >= 25, "{operations:?}");
        for (number, operation) in operations.iter().enumerate() {
            let scene = set_scene(&app, pool, number).await;
            let (access, body) = line(operation, &scene).unwrap_or_else(|| {
                panic!("{operation} is new: give it a line in the table of tests/ownership.rs, so that it is tried")
            });
            let is_named = operation.contains('{');
            assert!(!is_named || access == Named, "{operation} names something in its path, so it is {Named:?}");
            let before = owned(pool, &scene).await;

            let (status, answer) = ask("", &app, operation, &scene, &body).await;
            assert_eq!(status == StatusCode::UNAUTHORIZED, access != Public, "{operation}: {status} {answer}");
            if access == Public {
                continue;
            }
            // The other one has a conversation and a task of his own, so that "nothing" can't be the reason.
            let other = sign_up(&app, &format!("other{number}@example.org")).await;
            write_as(&other, &app, Method::POST, "/api/tasks", json!({"title": "own"})).await;
            let (status, answer) = ask(&other, &app, operation, &scene, &body).await;
            match access {
                Named => assert_eq!(status, StatusCode::NOT_FOUND, "{operation}: {answer}"),
                _ => assert!(status.is_success(), "{operation}: {status} {answer}"),
            }
            for secret in [SENTINEL, &scene.user, &scene.session] {
                assert!(!answer.contains(secret), "{operation}: {answer}");
            }
            assert_eq!(owned(pool, &scene).await, before, "{operation}");

            // The owner can, so it was only the token that stood in the way.
            let (status, answer) = ask(&scene.token, &app, operation, &scene, &body).await;
            assert!(status.is_success(), "{operation}: {status} {answer}");
        }
    })
    .await;
}

/// A token that is over is as good as none, for every operation.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn no_operation_takes_a_token_that_is_over() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let scene = set_scene(&app, &database.pool, 0).await;
        let (status, _) = send_as(&scene.token, &app, Method::POST, "/api/auth/sign-out", None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        for operation in operations(&app).await {
            let (access, body) = line(&operation, &scene).expect("the other test has said it");
            if access != Public {
                let (status, answer) = ask(&scene.token, &app, &operation, &scene, &body).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation}: {answer}");
            }
        }
    })
    .await;
}
