//! The API over a real PostgreSQL. Each test has a database of its own, which is dropped afterwards.

use std::{future::Future, str::FromStr};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use backend::{Backend, config::Config, database::Database};
use http_body_util::BodyExt;
use kit::serve::Readiness;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tower::ServiceExt;

async fn with_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Config) -> F) {
    let url = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a database whose user may create others; cargo xtask test provides it");
    let options = PgConnectOptions::from_str(&url).unwrap();
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT 'test_' || replace(gen_random_uuid()::text, '-', '')")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let config = Config { database: options.database(&name), database_max_connections: 4, cors_origins: Vec::new() };
    // A task of its own, so that the database is dropped also when the test fails.
    let outcome = tokio::spawn(test(config)).await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await.unwrap();
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

async fn migrated(config: &Config) -> (Database, Router) {
    let database = Database::open(config);
    database.migrate().await.unwrap();
    let backend = Backend { database: database.clone(), readiness: Readiness::default() };
    (database, backend::app(backend, &[]))
}

async fn send(app: &Router, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}

async fn create(app: &Router, title: &str) -> String {
    let (status, task) = send(app, Method::POST, "/api/tasks", Some(json!({"title": title}))).await;
    assert_eq!(status, StatusCode::CREATED, "{task}");
    task["id"].as_str().unwrap().to_owned()
}

async fn titles(app: &Router, query: &str) -> Vec<String> {
    let (status, tasks) = send(app, Method::GET, &format!("/api/tasks{query}"), None).await;
    assert_eq!(status, StatusCode::OK, "{tasks}");
    tasks.as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_task_lives_and_goes() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        assert_eq!(send(&app, Method::GET, "/ready", None).await.0, StatusCode::OK);

        let new = json!({"title": "  buy milk ", "description": "two"});
        let (status, task) = send(&app, Method::POST, "/api/tasks", Some(new)).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(task["title"], "buy milk");
        assert_eq!((&task["description"], &task["completed"]), (&json!("two"), &json!(false)));
        assert_eq!(task["created_at"], task["updated_at"]);
        assert!(task["created_at"].as_str().unwrap().ends_with('Z'), "{task}");
        let path = format!("/api/tasks/{}", task["id"].as_str().unwrap());

        assert_eq!(send(&app, Method::GET, &path, None).await, (StatusCode::OK, task.clone()));

        let (status, changed) = send(&app, Method::PATCH, &path, Some(json!({"title": "buy oat milk"}))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&changed["title"], &changed["description"]), (&json!("buy oat milk"), &json!("two")));
        assert_ne!(changed["updated_at"], task["updated_at"]);
        assert_eq!(changed["created_at"], task["created_at"]);

        let (_, changed) = send(&app, Method::PATCH, &path, Some(json!({"description": null}))).await;
        assert_eq!((&changed["title"], &changed["description"]), (&json!("buy oat milk"), &Value::Null));

        let (status, done) = send(&app, Method::POST, &format!("{path}/complete"), None).await;
        assert_eq!((status, &done["completed"]), (StatusCode::OK, &json!(true)));
        let (status, again) = send(&app, Method::POST, &format!("{path}/complete"), None).await;
        assert_eq!((status, again), (StatusCode::OK, done));
        let (_, open) = send(&app, Method::PATCH, &path, Some(json!({"completed": false}))).await;
        assert_eq!(open["completed"], false);

        assert_eq!(send(&app, Method::DELETE, &path, None).await, (StatusCode::NO_CONTENT, Value::Null));
        for method in [Method::GET, Method::DELETE] {
            let (status, body) = send(&app, method, &path, None).await;
            assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
        }
        assert_eq!(send(&app, Method::POST, &format!("{path}/complete"), None).await.0, StatusCode::NOT_FOUND);
        let patch = send(&app, Method::PATCH, &path, Some(json!({"completed": true}))).await;
        assert_eq!(patch.0, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn lists_are_newest_first_filtered_and_paged() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        assert!(titles(&app, "").await.is_empty());
        let first = create(&app, "first").await;
        create(&app, "second").await;
        create(&app, "third").await;
        send(&app, Method::POST, &format!("/api/tasks/{first}/complete"), None).await;
        assert_eq!(titles(&app, "").await, ["third", "second", "first"]);
        assert_eq!(titles(&app, "?completed=true").await, ["first"]);
        assert_eq!(titles(&app, "?completed=false").await, ["third", "second"]);
        assert_eq!(titles(&app, "?limit=1&offset=1").await, ["second"]);
        assert!(titles(&app, "?offset=3").await.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn what_can_not_be_is_refused() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let id = create(&app, "kept").await;
        let path = format!("/api/tasks/{id}");
        let long = "x".repeat(201);
        for (method, path, body, wanted) in [
            (Method::POST, "/api/tasks", json!({}), 422),
            (Method::POST, "/api/tasks", json!({"title": " "}), 422),
            (Method::POST, "/api/tasks", json!({"title": long}), 422),
            (Method::POST, "/api/tasks", json!({"title": "nul\0"}), 422),
            (Method::POST, "/api/tasks", json!({"title": "x", "description": "nul\0"}), 422),
            (Method::POST, "/api/tasks", json!({"title": "x", "owner": "me"}), 422),
            (Method::PATCH, path.as_str(), json!({}), 422),
            (Method::PATCH, path.as_str(), json!({"title": ""}), 422),
            (Method::PATCH, "/api/tasks/1", json!({"title": "x"}), 400),
        ] {
            let (status, answer) = send(&app, method, path, Some(body.clone())).await;
            assert_eq!(status.as_u16(), wanted, "{body}: {answer}");
            assert!(answer["error"]["message"].is_string(), "{answer}");
        }
        for (path, wanted) in [
            ("/api/tasks/1", 400),
            ("/api/tasks?completed=maybe", 400),
            ("/api/tasks?order=title", 400),
            ("/api/tasks?limit=0", 422),
            ("/api/tasks?limit=501", 422),
            ("/api/tasks?offset=-1", 422),
        ] {
            assert_eq!(send(&app, Method::GET, path, None).await.0.as_u16(), wanted, "{path}");
        }
        for (kind, body, wanted) in [("application/json", "{", 400), ("text/plain", "{}", 415)] {
            let request =
                Request::post("/api/tasks").header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap();
            assert_eq!(app.clone().oneshot(request).await.unwrap().status().as_u16(), wanted, "{kind}");
        }
        assert_eq!(titles(&app, "").await, ["kept"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn replicas_that_start_together_migrate_once() {
    with_database(async |config| {
        let replicas: Vec<_> = (0..8)
            .map(|_| {
                let database = Database::open(&config);
                tokio::spawn(async move { database.migrate().await })
            })
            .collect();
        for replica in replicas {
            replica.await.unwrap().unwrap();
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_newer_schema_is_no_obstacle() {
    with_database(async |config| {
        let (database, _) = migrated(&config).await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99990101, 'from a later release', true, '\\x00', 0)",
        )
        .execute(&database.pool)
        .await
        .unwrap();
        sqlx::query("ALTER TABLE tasks ADD COLUMN owner text").execute(&database.pool).await.unwrap();
        let (_, app) = migrated(&config).await;
        let id = create(&app, "still works").await;
        assert_eq!(send(&app, Method::GET, &format!("/api/tasks/{id}"), None).await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_database_that_goes_away_is_told() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        database.pool.close().await;
        for path in ["/ready", "/api/tasks"] {
            let (status, body) = send(&app, Method::GET, path, None).await;
            let wanted = (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable"));
            assert_eq!((status, &body["error"]["code"]), wanted, "{path}");
        }
        assert_eq!(send(&app, Method::GET, "/health", None).await.0, StatusCode::OK);
    })
    .await;
}
