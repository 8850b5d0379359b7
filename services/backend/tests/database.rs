//! The API over a real PostgreSQL.

mod common;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use backend::database::Database;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tower::ServiceExt;

use common::{create, migrated, send, titles, with_database};

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
        assert_eq!((&task["priority"], &task["user_id"]), (&json!("medium"), &json!("local")));
        assert_eq!(task["created_at"], task["updated_at"]);
        assert!(task["created_at"].as_str().unwrap().ends_with('Z'), "{task}");
        let path = format!("/api/tasks/{}", task["id"].as_i64().unwrap());

        assert_eq!(send(&app, Method::GET, &path, None).await, (StatusCode::OK, task.clone()));

        let (status, changed) = send(&app, Method::PATCH, &path, Some(json!({"title": "buy oat milk"}))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&changed["title"], &changed["description"]), (&json!("buy oat milk"), &json!("two")));
        assert_ne!(changed["updated_at"], task["updated_at"]);
        assert_eq!(changed["created_at"], task["created_at"]);

        let (_, changed) = send(&app, Method::PATCH, &path, Some(json!({"description": null}))).await;
        assert_eq!((&changed["title"], &changed["description"]), (&json!("buy oat milk"), &Value::Null));

        let (_, changed) = send(&app, Method::PATCH, &path, Some(json!({"priority": "high"}))).await;
        assert_eq!((&changed["title"], &changed["priority"]), (&json!("buy oat milk"), &json!("high")));

        let (status, done) = send(&app, Method::POST, &format!("{path}/complete"), None).await;
        assert_eq!((status, &done["completed"]), (StatusCode::OK, &json!(true)));
        let (status, again) = send(&app, Method::POST, &format!("{path}/complete"), None).await;
        assert_eq!((status, again), (StatusCode::OK, done));
        let (_, open) = send(&app, Method::PATCH, &path, Some(json!({"completed": false}))).await;
        assert_eq!(open["completed"], false);

        assert_eq!(send(&app, Method::DELETE, &path, None).await, (StatusCode::NO_CONTENT, Value::Null));
        for method in [Method::GET, Method::DELETE] {
            let (status, body) = send(&app, method, &path, None).await;
            assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
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
        assert_eq!(titles(&app, "?limit=1").await, ["third"]);
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
            (Method::POST, "/api/tasks", json!({"title": "x", "user_id": "me"}), 422),
            (Method::POST, "/api/tasks", json!({"title": "x", "priority": "urgent"}), 422),
            (Method::PATCH, path.as_str(), json!({}), 422),
            (Method::PATCH, path.as_str(), json!({"title": ""}), 422),
            (Method::PATCH, "/api/tasks/one", json!({"title": "x"}), 400),
        ] {
            let (status, answer) = send(&app, method, path, Some(body.clone())).await;
            assert_eq!(status.as_u16(), wanted, "{body}: {answer}");
            assert!(answer["detail"].is_string(), "{answer}");
        }
        for (path, wanted) in [
            ("/api/tasks/one", 400),
            ("/api/tasks/99999999999", 400),
            ("/api/tasks/-1", 404),
            ("/api/tasks?completed=maybe", 400),
            ("/api/tasks?order=title", 400),
            ("/api/tasks?limit=0", 422),
            ("/api/tasks?limit=501", 422),
            ("/api/tasks?cursor=", 422),
            ("/api/tasks?cursor=p000", 422),
            ("/api/tasks?offset=1", 400),
            ("/api/conversations?cursor=c000", 422),
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

/// The tasks of a release that knew neither numbers nor users.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn old_rows_are_kept() {
    with_database(async |config| {
        let mut connection = PgConnection::connect_with(&config.database).await.unwrap();
        let mut first = sqlx::migrate!();
        first.migrations.to_mut().retain(|migration| migration.version == 1);
        first.run_direct(None, &mut connection, false).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO tasks (title, description, completed, created_at) VALUES
                 ('second', NULL, true, '2024-02-02'), ('first', 'old', false, '2024-01-01')",
        )
        .execute(&mut connection)
        .await
        .unwrap();

        let (_, app) = migrated(&config).await;
        let (_, tasks) = send(&app, Method::GET, "/api/tasks", None).await;
        let kept: Vec<String> = tasks
            .as_array()
            .unwrap()
            .iter()
            .map(|task| {
                let part = |name: &str| task[name].to_string();
                ["id", "title", "description", "completed", "priority", "user_id", "created_at"].map(part).join(" ")
            })
            .collect();
        assert_eq!(
            kept,
            [
                r#"2 "second" null true "medium" "local" "2024-02-02T00:00:00Z""#,
                r#"1 "first" "old" false "medium" "local" "2024-01-01T00:00:00Z""#,
            ]
        );
        assert_eq!(create(&app, "third").await, 3);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_tables_have_what_others_expect_of_them() {
    with_database(async |config| {
        let (database, _) = migrated(&config).await;
        let pool = &database.pool;
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT table_name || ': ' || string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_name)
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'
             GROUP BY table_name ORDER BY table_name",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let time = "timestamp with time zone";
        assert_eq!(
            columns,
            [
                format!("agent_state: conversation_id integer, state jsonb, updated_at {time}"),
                format!("chat_messages: content text, created_at {time}, id integer, role text, session_id integer"),
                format!("chat_sessions: created_at {time}, id integer, user_id text"),
                format!(
                    "conversations: created_at {time}, id integer, stopped_at {time}, title text, updated_at {time}, \
                     user_id text"
                ),
                format!(
                    "messages: answered_by {time}, content text, conversation_id integer, created_at {time}, \
                     id integer, key text, reply_to integer, role text, stopped boolean, tool_calls jsonb"
                ),
                format!(
                    "sessions: client text, created_at {time}, expires_at {time}, id text, last_used_at {time}, user_id text"
                ),
                format!(
                    "task_changes: before jsonb, created_at {time}, id bigint, kind text, task_id integer, \
                     transaction_id bigint, user_id text, version integer"
                ),
                format!(
                    "tasks: completed boolean, created_at {time}, description text, due_at {time}, due_on date, \
                     due_time time without time zone, id integer, position double precision, priority text, \
                     tags ARRAY, time_zone text, title text, updated_at {time}, user_id text, version integer"
                ),
                format!(
                    "users: created_at {time}, email text, id text, name text, password_hash text, updated_at {time}"
                ),
            ]
        );
        // The views are written through, and hold what is written to what the tables allow.
        let id: i32 = sqlx::query_scalar("INSERT INTO chat_sessions (user_id) VALUES ('local') RETURNING id")
            .fetch_one(pool)
            .await
            .unwrap();
        for (role, content, is_taken) in
            [("user", "hello", true), ("assistant", "hello", true), ("system", "hello", false), ("user", "", false)]
        {
            let written = sqlx::query("INSERT INTO chat_messages (session_id, role, content) VALUES ($1, $2, $3)");
            let written = written.bind(id).bind(role).bind(content).execute(pool).await;
            assert_eq!(written.is_ok(), is_taken, "{role}: {content}");
        }
        sqlx::query("DELETE FROM chat_sessions WHERE id = $1").bind(id).execute(pool).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM messages").fetch_one(pool).await.unwrap();
        assert_eq!(left, 0, "messages go with their conversation");
        for wrong in [
            "INSERT INTO tasks (title, user_id, priority) VALUES ('x', 'local', 'urgent')",
            "INSERT INTO tasks (title) VALUES ('x')",
            "INSERT INTO tasks (id, title, user_id) VALUES (1, 'x', 'local')",
        ] {
            assert!(sqlx::query(wrong).execute(pool).await.is_err(), "{wrong}");
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
async fn a_database_that_goes_away_is_reported() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        database.pool.close().await;
        for path in ["/ready", "/api/tasks"] {
            let (status, body) = send(&app, Method::GET, path, None).await;
            let wanted = (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable"));
            assert_eq!((status, &body["code"]), wanted, "{path}");
        }
        assert_eq!(send(&app, Method::GET, "/health", None).await.0, StatusCode::OK);
    })
    .await;
}
