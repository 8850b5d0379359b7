//! Sessions, passwords, limits and origins over a real PostgreSQL.

mod common;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode},
};
use backend::{
    Backend, Changes,
    config::{Config, LimitsConfig},
    database::Database,
};
use futures_util::StreamExt;
use kit::serve::Readiness;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use common::{create_as, hs256, migrated, no_limits, send, send_as, send_with, sign_up, titles_as, with_database};

/// Only keeps a broken stream from hanging.
const LIMIT: Duration = Duration::from_secs(30);
const PASSWORD: &str = "the right password";

async fn sign_in(app: &Router, email: &str, password: &str, client: &str) -> (StatusCode, HeaderMap, Value) {
    let body = json!({"email": email, "password": password}).to_string();
    let headers = [("content-type", "application/json"), ("user-agent", client)];
    let (status, headers, answer) = send_with(app, Method::POST, "/api/auth/sign-in", &headers, body).await;
    (status, headers, serde_json::from_str(&answer).unwrap())
}

async fn token_of(app: &Router, email: &str, password: &str, client: &str) -> String {
    let (status, _, answer) = sign_in(app, email, password, client).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

async fn clients(token: &str, app: &Router) -> Vec<(Value, bool)> {
    let (status, sessions) = send_as(token, app, Method::GET, "/api/auth/sessions", None).await;
    assert_eq!(status, StatusCode::OK, "{sessions}");
    let mut clients: Vec<_> = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| (session["client"].clone(), session["current"].as_bool().unwrap()))
        .collect();
    clients.sort_by_key(|(client, _)| client.to_string());
    clients
}

async fn is_signed_in(token: &str, app: &Router) -> bool {
    send_as(token, app, Method::GET, "/api/tasks", None).await.0 == StatusCode::OK
}

/// A backend whose streams have no heartbeat within a test: they end at once, or not at all.
async fn without_heartbeat(config: &Config) -> (Database, Router) {
    let mut backend = Backend::open(config, Readiness::default());
    let database = backend.database.clone();
    backend.changes = Arc::new(Changes::new(database.pool.clone(), 3_600_000));
    database.migrate().await.unwrap();
    (database, backend::app(backend, &[]))
}

/// Reads events until the end; panics where there is none.
async fn read_to_end(events: Body) {
    let mut events = events.into_data_stream();
    let end = async { while events.next().await.is_some() {} };
    timeout(LIMIT, end).await.expect("the stream ends");
}

async fn events(token: &str, app: &Router) -> Body {
    let request = Request::get("/api/tasks/events").header("authorization", format!("Bearer {token}"));
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn sessions_are_listed_and_ended() {
    with_database(async |config| {
        let (database, app) = without_heartbeat(&hs256(config)).await;
        let bob = sign_up(&app, "bob@example.org").await;
        let first = sign_up(&app, "ann@example.org").await;
        let second = token_of(&app, "ann@example.org", PASSWORD, "phone").await;
        let third = token_of(&app, "ann@example.org", PASSWORD, &"x".repeat(500)).await;
        let long = json!("x".repeat(200));
        let wanted = [(json!("phone"), true), (long.clone(), false), (Value::Null, false)];
        assert_eq!(clients(&second, &app).await, wanted);
        assert_eq!(clients(&bob, &app).await, [(Value::Null, true)]);

        let (_, sessions) = send_as(&second, &app, Method::GET, "/api/auth/sessions", None).await;
        let of = |client: &Value| {
            let mut found = sessions.as_array().unwrap().iter().filter(|session| session["client"] == *client);
            format!("/api/auth/sessions/{}", found.next().unwrap()["id"].as_str().unwrap())
        };
        // Another user's is as good as none.
        for (token, path, wanted) in [
            (&bob, of(&long).as_str(), 404),
            (&second, "/api/auth/sessions/none", 404),
            (&second, "/api/auth/sessions/%00", 404),
            (&second, "/api/auth/sessions/%ff", 404),
            (&second, of(&long).as_str(), 204),
            (&second, of(&long).as_str(), 404),
        ] {
            assert_eq!(send_as(token, &app, Method::DELETE, path, None).await.0.as_u16(), wanted, "{path}");
        }
        assert!(!is_signed_in(&third, &app).await && is_signed_in(&first, &app).await);

        let stream = events(&first, &app).await;
        let (status, _) = send_as(&second, &app, Method::DELETE, "/api/auth/sessions", None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        read_to_end(stream).await;
        assert_eq!(clients(&second, &app).await, [(json!("phone"), true)]);
        assert!(!is_signed_in(&first, &app).await && is_signed_in(&bob, &app).await);

        sqlx::query("UPDATE sessions SET expires_at = now() WHERE client IS NULL")
            .execute(&database.pool)
            .await
            .unwrap();
        assert!(!is_signed_in(&bob, &app).await);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_last_use_of_a_session_is_written_once_a_minute() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let token = sign_up(&app, "ann@example.org").await;
        // Of a row that is written again, xmin is another one.
        let written = async || -> (String, bool) {
            sqlx::query_as("SELECT xmin::text, last_used_at > now() - interval '5 minutes' FROM sessions")
                .fetch_one(&database.pool)
                .await
                .unwrap()
        };
        let first = written().await;
        assert!(is_signed_in(&token, &app).await);
        assert_eq!(written().await, first);
        sqlx::query("UPDATE sessions SET last_used_at = now() - interval '1 hour'")
            .execute(&database.pool)
            .await
            .unwrap();
        assert!(is_signed_in(&token, &app).await);
        let second = written().await;
        assert!(second.1);
        assert!(is_signed_in(&token, &app).await);
        assert_eq!(written().await, second);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_changed_password_ends_the_other_sessions() {
    with_database(async |config| {
        let (_, app) = without_heartbeat(&hs256(config)).await;
        let here = sign_up(&app, "ann@example.org").await;
        let elsewhere = token_of(&app, "ann@example.org", PASSWORD, "phone").await;
        let (own, others) = (events(&here, &app).await, events(&elsewhere, &app).await);
        let change = async |current: &str, new: &str| {
            let body = json!({"current_password": current, "new_password": new});
            let (status, answer) = send_as(&here, &app, Method::POST, "/api/auth/password", Some(body)).await;
            (status.as_u16(), answer["code"].as_str().unwrap_or_default().to_owned())
        };
        for (current, new, wanted) in [
            ("the wrong password", "the new password", (403, "wrong_password")),
            ("short", "the new password", (403, "wrong_password")),
            (PASSWORD, "short", (422, "invalid")),
        ] {
            assert_eq!(change(current, new).await, (wanted.0, wanted.1.to_owned()), "{current}, {new}");
        }
        assert!(is_signed_in(&elsewhere, &app).await);

        assert_eq!(change(PASSWORD, "the new password").await, (204, String::new()));
        read_to_end(others).await;
        assert!(is_signed_in(&here, &app).await && !is_signed_in(&elsewhere, &app).await);
        assert_eq!(sign_in(&app, "ann@example.org", PASSWORD, "x").await.0, StatusCode::UNAUTHORIZED);
        token_of(&app, "ann@example.org", "the new password", "x").await;

        // The own stream goes on, and hears of the next task.
        create_as(&here, &app, "heard").await;
        let mut own = own.into_data_stream();
        let heard = async {
            while let Some(Ok(data)) = own.next().await {
                if String::from_utf8_lossy(&data).contains("heard") {
                    return true;
                }
            }
            false
        };
        assert!(timeout(LIMIT, heard).await.unwrap());
    })
    .await;
}

/// The change is made by hand, in a transaction that ends only once the sign-in has checked the old password.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn no_session_begins_with_a_password_that_is_just_changed() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        sign_up(&app, "ann@example.org").await;
        let mut change = database.pool.begin().await.unwrap();
        sqlx::query("UPDATE users SET password_hash = 'another'").execute(&mut *change).await.unwrap();
        sqlx::query("DELETE FROM sessions").execute(&mut *change).await.unwrap();
        let signing_in = {
            let app = app.clone();
            tokio::spawn(async move { sign_in(&app, "ann@example.org", PASSWORD, "late").await })
        };
        let is_waiting = async {
            let query = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock')";
            while !signing_in.is_finished()
                && !sqlx::query_scalar::<_, bool>(query).fetch_one(&database.pool).await.unwrap()
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, is_waiting).await.expect("the sign-in waits for the change, or ends");
        change.commit().await.unwrap();
        let (status, _, answer) = timeout(LIMIT, signing_in).await.unwrap().unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        let sessions: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&database.pool).await.unwrap();
        assert_eq!(sessions, 0);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_deleted_account_leaves_nothing_in_any_table() {
    with_database(async |config| {
        let (database, app) = without_heartbeat(&hs256(config)).await;
        let bob = sign_up(&app, "bob@example.org").await;
        create_as(&bob, &app, "bob's").await;
        let ann = sign_up(&app, "sentinel@example.org").await;
        let id = create_as(&ann, &app, "sentinel").await;
        let path = format!("/api/tasks/{id}");
        send_as(&ann, &app, Method::PATCH, &path, Some(json!({"title": "sentinel changed"}))).await;
        send_as(&ann, &app, Method::DELETE, &path, None).await;
        create_as(&ann, &app, "another sentinel").await;
        let (_, conversation) = send_as(&ann, &app, Method::POST, "/api/conversations", None).await;
        let path = format!("/api/conversations/{}/messages", conversation["id"]);
        let said = json!({"content": "add sentinel milk"});
        assert_eq!(send_as(&ann, &app, Method::POST, &path, Some(said)).await.0, StatusCode::CREATED);
        let user: String = sqlx::query_scalar("SELECT id FROM users WHERE email = 'sentinel@example.org'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                .fetch_all(&database.pool)
                .await
                .unwrap();
        let left = async || {
            let mut left = Vec::new();
            for table in &tables {
                let query = format!("SELECT count(*) FROM {table} AS a WHERE to_jsonb(a)::text LIKE ANY ($1)");
                let count: i64 = sqlx::query_scalar(AssertSqlSafe(query))
                    .bind(vec!["%sentinel%".to_owned(), format!("%{user}%")])
                    .fetch_one(&database.pool)
                    .await
                    .unwrap();
                if count > 0 {
                    left.push(table.as_str());
                }
            }
            left.sort_unstable();
            left
        };
        let before = left().await;
        for table in ["conversations", "messages", "sessions", "task_changes", "tasks", "users"] {
            assert!(before.contains(&table), "{table} is not in {before:?}");
        }
        let stream = events(&ann, &app).await;
        // What is under way when the account goes either comes before, and goes with it, or is refused.
        let writes =
            (0..20).map(|_| send_as(&ann, &app, Method::POST, "/api/tasks", Some(json!({"title": "sentinel"}))));
        let (removed, writes) = tokio::join!(
            send_as(&ann, &app, Method::DELETE, "/api/auth/user", None),
            futures_util::future::join_all(writes)
        );
        assert_eq!(removed.0, StatusCode::NO_CONTENT);
        for (status, answer) in writes {
            assert!(matches!(status.as_u16(), 201 | 401), "{status}: {answer}");
        }
        assert_eq!(left().await, Vec::<&str>::new());
        read_to_end(stream).await;
        assert_eq!(titles_as(&bob, &app, "").await, ["bob's"]);
        // As a request would that was let in before.
        let late = sqlx::query("INSERT INTO tasks (title, user_id) VALUES ('late', $1)").bind(&user);
        assert!(late.execute(&database.pool).await.is_err());
    })
    .await;
}

async fn limited(config: Config, limits: LimitsConfig) -> Router {
    migrated(&Config { limits, ..config }).await.1
}

fn assert_limited((status, headers, answer): (StatusCode, HeaderMap, Value), code: &str) {
    assert_eq!((status, &answer["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!(code)), "{answer}");
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn passwords_can_not_be_tried_for_long() {
    with_database(async |config| {
        let limits = LimitsConfig { passwords_per_account: NonZeroU32::new(3), ..no_limits() };
        let app = limited(hs256(config.clone()), limits).await;
        let token = sign_up(&app, "ann@example.org").await;
        for password in ["wrong password", PASSWORD, "wrong password"] {
            let wanted = if password == PASSWORD { 200 } else { 401 };
            assert_eq!(sign_in(&app, " ANN@example.org", password, "x").await.0.as_u16(), wanted);
        }
        // The right one, too: otherwise the answer would tell which it is.
        assert_limited(sign_in(&app, "ann@example.org", PASSWORD, "x").await, "too_many_passwords");
        // One who is signed in shares the account's limit.
        let authorization = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let body = json!({"current_password": PASSWORD, "new_password": "the new password"}).to_string();
        let (status, headers, answer) = send_with(&app, Method::POST, "/api/auth/password", &headers, body).await;
        assert_limited((status, headers, serde_json::from_str(&answer).unwrap()), "too_many_passwords");
        // An address without an account is no different, and other accounts are not touched.
        for _ in 0..3 {
            assert_eq!(sign_in(&app, "bob@example.org", PASSWORD, "x").await.0, StatusCode::UNAUTHORIZED);
        }
        assert_limited(sign_in(&app, "bob@example.org", PASSWORD, "x").await, "too_many_passwords");

        let limits = LimitsConfig { passwords_per_address: NonZeroU32::new(2), ..no_limits() };
        let app = limited(hs256(config), limits).await;
        let from = async |forwarded: &str, email: &str| {
            let body = json!({"email": email, "password": PASSWORD}).to_string();
            let headers = [("content-type", "application/json"), ("x-forwarded-for", forwarded)];
            let (status, headers, answer) = send_with(&app, Method::POST, "/api/auth/sign-in", &headers, body).await;
            (status, headers, serde_json::from_str::<Value>(&answer).unwrap())
        };
        for email in ["eve@example.org", "ann@example.org"] {
            assert_ne!(from("192.0.2.1", email).await.0, StatusCode::TOO_MANY_REQUESTS);
        }
        assert_limited(from("192.0.2.1", "bob@example.org").await, "too_many_passwords");
        // What a client puts before the entry of the proxy changes nothing.
        assert_limited(from("198.51.100.1, 192.0.2.1", "bob@example.org").await, "too_many_passwords");
        assert_eq!(from("192.0.2.2", "ann@example.org").await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn accounts_and_messages_are_limited() {
    with_database(async |config| {
        let limits = LimitsConfig {
            sign_ups_per_address: NonZeroU32::new(2),
            messages_per_user: NonZeroU32::new(2),
            ..no_limits()
        };
        let app = limited(hs256(config), limits).await;
        let (ann, bob) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "bob@example.org").await);
        let new = json!({"email": "eve@example.org", "password": PASSWORD}).to_string();
        let headers = [("content-type", "application/json")];
        let (status, headers, answer) = send_with(&app, Method::POST, "/api/auth/sign-up", &headers, new).await;
        assert_limited((status, headers, serde_json::from_str(&answer).unwrap()), "too_many_sign_ups");

        let say = async |token: &str, path: &str| {
            let authorization = format!("Bearer {token}");
            let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
            let body = json!({"content": "help"}).to_string();
            let (status, headers, answer) = send_with(&app, Method::POST, path, &headers, body).await;
            (status, headers, serde_json::from_str::<Value>(&answer).unwrap())
        };
        let begin = async |token: &str| {
            let (_, conversation) = send_as(token, &app, Method::POST, "/api/conversations", None).await;
            format!("/api/conversations/{}/messages", conversation["id"])
        };
        let (path, other) = (begin(&ann).await, begin(&ann).await);
        for path in [&path, &other] {
            assert_eq!(say(&ann, path).await.0, StatusCode::CREATED);
        }
        assert_limited(say(&ann, &path).await, "too_many_messages");
        assert_eq!(send_as(&ann, &app, Method::GET, &path, None).await.0, StatusCode::OK);
        assert_eq!(say(&bob, &begin(&bob).await).await.0, StatusCode::CREATED);
        assert_eq!(say("none", &path).await.0, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn another_site_can_not_write() {
    with_database(async |config| {
        let backend = Backend::open(&config, Readiness::default());
        backend.database.migrate().await.unwrap();
        let app = backend::app(backend, &[HeaderValue::from_static("http://page:3000")]);
        for (method, path, headers, wanted) in [
            (Method::POST, "/api/conversations", &[][..], 201),
            (Method::POST, "/api/conversations", &[("origin", "http://evil"), ("host", "own")], 403),
            (Method::POST, "/api/conversations", &[("sec-fetch-site", "cross-site")], 403),
            (Method::DELETE, "/api/tasks/1", &[("sec-fetch-site", "cross-site")], 403),
            (Method::POST, "/api/tasks/1/complete", &[("origin", "null")], 403),
            (Method::POST, "/api/auth/sign-in", &[("origin", "http://evil"), ("host", "own")], 403),
            (Method::POST, "/api/conversations", &[("origin", "http://page:3000"), ("host", "own")], 201),
            (Method::POST, "/api/conversations", &[("origin", "http://own"), ("x-forwarded-host", "own")], 201),
            (Method::GET, "/api/conversations", &[("origin", "http://evil"), ("sec-fetch-site", "cross-site")], 200),
        ] {
            let (status, _, answer) = send_with(&app, method, path, headers, "").await;
            assert_eq!(status.as_u16(), wanted, "{path} {headers:?}: {answer}");
            assert_eq!(wanted == 403, answer.contains(r#""code":"other_site""#), "{answer}");
        }
        let (_, conversations) = send(&app, Method::GET, "/api/conversations", None).await;
        assert_eq!(conversations.as_array().unwrap().len(), 3, "{conversations}");
    })
    .await;
}
