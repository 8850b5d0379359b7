//! Tasks out into a file and in again, over a real PostgreSQL.

mod common;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use common::{create, migrated, send, send_with, titles, with_database};

async fn import(app: &Router, kind: &str, file: impl Into<axum::body::Body>) -> (StatusCode, Value, String) {
    let (status, headers, answer) =
        send_with(app, Method::POST, "/api/tasks/import", &[("content-type", kind)], file).await;
    let undo = headers.get("undo-token").map(|token| token.to_str().unwrap().to_owned()).unwrap_or_default();
    (status, serde_json::from_str(&answer).unwrap(), undo)
}

/// What an import keeps of each task, in the order by hand.
async fn kept(app: &Router) -> Vec<Value> {
    let (_, tasks) = send(app, Method::GET, "/api/tasks?sort=position&limit=500", None).await;
    let fields = ["title", "description", "completed", "priority", "due_on", "due_time", "time_zone", "tags"];
    let task = |task: &Value| json!(fields.map(|field| task[field].clone()));
    tasks.as_array().unwrap().iter().map(task).collect()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn what_goes_out_comes_in_again() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        for task in [
            json!({"title": "=SUM(A1)", "description": "'=x", "tags": ["-a", "b"]}),
            json!({"title": "a \"quote\", a comma", "description": "two\nlines", "due_on": "2026-12-24",
                "due_time": "17:00", "time_zone": "Europe/Berlin", "priority": "high"}),
            json!({"title": "'tis", "description": ""}),
        ] {
            assert_eq!(send(&app, Method::POST, "/api/tasks", Some(task)).await.0, StatusCode::CREATED);
        }
        send(&app, Method::POST, "/api/tasks/1/complete", None).await;
        let wanted = kept(&app).await;
        for (format, kind, name) in
            [("csv", "text/csv; charset=utf-8", "tasks.csv"), ("json", "application/json", "tasks.json")]
        {
            let path = format!("/api/tasks/export?format={format}");
            let (status, headers, file) = send_with(&app, Method::GET, &path, &[], "").await;
            assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &kind.parse().unwrap()));
            assert_eq!(headers["content-disposition"], format!("attachment; filename=\"{name}\""));
            let (_, all) = send(&app, Method::GET, "/api/tasks", None).await;
            let ids: Vec<&Value> = all.as_array().unwrap().iter().map(|task| &task["id"]).collect();
            let all = json!({"action": "delete", "ids": ids});
            send(&app, Method::POST, "/api/tasks/bulk", Some(all)).await;
            // With what spreadsheets write before it.
            let (status, answer, undo) = import(&app, kind, format!("\u{feff}{file}")).await;
            assert_eq!((status, answer["ids"].as_array().unwrap().len()), (StatusCode::CREATED, 3), "{answer}");
            let mut wanted = wanted.clone();
            if format == "csv" {
                // A cell can't tell nothing from an empty text.
                wanted[0][1] = Value::Null;
            }
            assert_eq!(kept(&app).await, wanted, "{format}: {file}");
            if format == "csv" {
                assert!(file.contains("\n1,'=SUM(A1),''=x,true,medium,,,UTC,\"'-a, b\","), "{file}");
                send(&app, Method::POST, "/api/tasks/undo", Some(json!({"token": undo}))).await;
                assert!(titles(&app, "").await.is_empty());
                // As it was, for the other format.
                import(&app, kind, file).await;
                let id = titles(&app, "?q=tis").await.len();
                assert_eq!(id, 1);
                let (_, found) = send(&app, Method::GET, "/api/tasks?q=tis", None).await;
                let path = format!("/api/tasks/{}", found[0]["id"]);
                send(&app, Method::PATCH, &path, Some(json!({"description": ""}))).await;
            }
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_long_list_is_exported_whole_and_in_order() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        for count in [0, 499, 1, 1, 700] {
            sqlx::query("INSERT INTO tasks (title, user_id, position) SELECT 'x', 'local', n / 2 FROM generate_series(1, $1) AS n")
                .bind(count)
                .execute(&database.pool)
                .await
                .unwrap();
            let wanted: Vec<i32> = sqlx::query_scalar("SELECT id FROM tasks ORDER BY position, id DESC")
                .fetch_all(&database.pool)
                .await
                .unwrap();
            let (_, _, file) = send_with(&app, Method::GET, "/api/tasks/export", &[], "").await;
            let tasks: Vec<Value> = serde_json::from_str(&file).unwrap();
            let ids: Vec<i32> = tasks.iter().map(|task| i32::try_from(task["id"].as_i64().unwrap()).unwrap()).collect();
            assert_eq!(ids, wanted);
            let (_, _, file) = send_with(&app, Method::GET, "/api/tasks/export?format=csv", &[], "").await;
            let ids: Vec<i32> = file.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
            assert_eq!(ids, wanted);
        }
        let (status, _, _) = send_with(&app, Method::GET, "/api/tasks/export?format=xml", &[], "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn one_mistake_and_nothing_is_imported() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        create(&app, "kept").await;
        let file = "title,due_on,time_zone\nright,,\n,,\nx,soon,\ny,2026-01-01,Europe/Nowhere\nz,,Europe/Nowhere\n";
        let (status, answer, undo) = import(&app, "text/csv", file).await;
        let error = &answer;
        assert_eq!((status, &error["code"], undo.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid"), ""));
        assert_eq!(error["detail"], "the file has 4 mistakes; nothing is imported");
        let unknown = "time_zone is not a zone of the IANA, as Europe/Berlin is";
        assert_eq!(
            error["errors"],
            json!([
                {"place": "line 3", "message": "title is missing"},
                {"place": "line 4", "message": "due_on is not a day, YYYY-MM-DD as in 2026-12-24"},
                {"place": "line 5", "message": unknown},
                {"place": "line 6", "message": unknown},
            ])
        );
        let (_, answer, _) =
            import(&app, "application/json", json!([{"title": "x"}, {"titel": "x"}]).to_string()).await;
        assert_eq!(answer["errors"][0]["place"], "item 2");
        let many = "title\n".to_owned() + &" x,\n".repeat(101);
        let (_, answer, _) = import(&app, "text/csv", many).await;
        assert_eq!(answer["detail"], "the file has 101 mistakes, of which 100 are listed; nothing is imported");
        assert_eq!(answer["errors"].as_array().unwrap().len(), 100);
        for (kind, file, wanted) in [
            ("application/json", "[", 400),
            ("application/json", "{}", 422),
            ("text/csv", "", 422),
            ("text/csv", "name\nx\n", 422),
            ("text/plain", "title\nx\n", 415),
        ] {
            let (status, answer, _) = import(&app, kind, file).await;
            assert_eq!(status.as_u16(), wanted, "{kind} {file}");
            assert!(!answer["detail"].as_str().unwrap().is_empty());
        }
        let (status, answer, _) = import(&app, "text/csv", vec![0xff]).await;
        assert_eq!(
            (status, &answer["detail"]),
            (StatusCode::BAD_REQUEST, &json!("the file is not UTF-8; save it as UTF-8"))
        );
        assert_eq!(titles(&app, "").await, ["kept"]);
        assert_eq!(import(&app, "application/json", "[]").await.1, json!({"ids": []}));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn files_are_bounded() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let rows = |count: usize| "title\n".to_owned() + &"x\n".repeat(count);
        let items = |count: usize| json!(vec![json!({"title": "x"}); count]).to_string();
        for (kind, too_many, most) in
            [("text/csv", rows(1_001), rows(1_000)), ("application/json", items(1_001), items(1_000))]
        {
            let (status, answer, _) = import(&app, kind, too_many).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
            let (status, answer, _) = import(&app, kind, most).await;
            assert_eq!((status, answer["ids"].as_array().unwrap().len()), (StatusCode::CREATED, 1_000));
        }
        let padded = |bytes: usize| r#"[{"title": "x"}]"#.to_owned() + &" ".repeat(bytes - 16);
        assert_eq!(import(&app, "application/json", padded(1024 * 1024)).await.0, StatusCode::CREATED);
        let (status, answer, _) = import(&app, "application/json", padded(1024 * 1024 + 1)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer["detail"], "the file is larger than 1 MiB; import it in parts");
        // Other bodies are bounded as before.
        let (status, _, _) = send_with(
            &app,
            Method::POST,
            "/api/tasks",
            &[("content-type", "application/json")],
            padded(256 * 1024 + 1),
        )
        .await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    })
    .await;
}
