//! Lists in pages, while rows come: each row is seen once.

mod common;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use common::{create, migrated, send, send_with, with_database};

/// What is done between two pages.
type Between = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn page(app: &Router, path: &str) -> (Vec<Value>, Option<String>) {
    let (status, headers, body) = send_with(app, Method::GET, path, &[], "").await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    let cursor = headers.get("next-cursor").map(|value| value.to_str().unwrap().to_owned());
    (serde_json::from_str(&body).unwrap(), cursor)
}

/// A field of all rows, page by page; `between` is called after each page with another one to come.
async fn walk(app: &Router, path: &str, field: &str, between: impl Fn() -> Between) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let next = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (rows, found) = page(app, &format!("{path}{next}")).await;
        pages.push(rows.iter().map(|row| row[field].to_string().replace('"', "")).collect());
        assert!(pages.len() < 20, "no end: {pages:?}");
        cursor = found;
        if cursor.is_none() {
            return pages;
        }
        between().await;
    }
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn tasks_come_once_in_each_order_while_others_are_added() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        for (title, due_on, priority) in [
            ("a", Some("2099-01-02"), "low"),
            ("b", None, "high"),
            ("c", Some("2099-01-01"), "medium"),
            ("d", None, "low"),
            ("e", Some("2099-01-01"), "high"),
            ("f", None, "medium"),
        ] {
            let new = json!({"title": title, "due_on": due_on, "priority": priority});
            assert_eq!(send(&app, Method::POST, "/api/tasks", Some(new)).await.0, StatusCode::CREATED);
        }
        let add = || -> Between {
            let app = app.clone();
            Box::pin(async move {
                let new = json!({"title": "new", "due_on": "2098-01-01", "priority": "high"});
                send(&app, Method::POST, "/api/tasks", Some(new)).await;
            })
        };
        // By priority the new ones come before those of priority high that are older.
        for (sort, wanted) in [
            ("created", [["f", "e"], ["d", "c"], ["b", "a"]]),
            ("position", [["f", "e"], ["d", "c"], ["b", "a"]]),
            ("due", [["e", "c"], ["a", "f"], ["d", "b"]]),
            ("priority", [["e", "b"], ["f", "c"], ["d", "a"]]),
        ] {
            let pages = walk(&app, &format!("/api/tasks?limit=2&sort={sort}"), "title", add).await;
            assert_eq!(pages, wanted, "{sort}");
            for new in page(&app, "/api/tasks?q=new").await.0 {
                send(&app, Method::DELETE, &format!("/api/tasks/{}", new["id"]), None).await;
            }
        }
        // A row that the cursor names may be gone.
        let (_, cursor) = page(&app, "/api/tasks?limit=2").await;
        send(&app, Method::DELETE, "/api/tasks/5", None).await;
        let (rows, _) = page(&app, &format!("/api/tasks?limit=2&cursor={}", cursor.unwrap())).await;
        assert_eq!(rows[0]["title"], "d");
        // As many as fit are the last page.
        assert_eq!(page(&app, "/api/tasks?limit=5").await.1, None);
        let (_, cursor) = page(&app, "/api/tasks?limit=1&sort=due").await;
        let other = format!("/api/tasks?sort=position&cursor={}", cursor.unwrap());
        let (status, problem) = send(&app, Method::GET, &other, None).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn conversations_and_messages_come_once_while_others_are_added() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        for _ in 0..5 {
            assert_eq!(send(&app, Method::POST, "/api/conversations", None).await.0, StatusCode::CREATED);
        }
        let begin = || -> Between {
            let app = app.clone();
            Box::pin(async move { drop(send(&app, Method::POST, "/api/conversations", None).await) })
        };
        let pages = walk(&app, "/api/conversations?limit=2", "id", begin).await;
        assert_eq!(pages, [vec!["5", "4"], vec!["3", "2"], vec!["1"]]);

        let say = |content: &'static str| -> Between {
            let app = app.clone();
            let said = async move {
                let path = "/api/conversations/1/messages";
                let (status, answer) = send(&app, Method::POST, path, Some(json!({"content": content}))).await;
                assert_eq!(status, StatusCode::CREATED, "{answer}");
            };
            Box::pin(said)
        };
        say("help").await;
        say("thanks").await;
        let pages = walk(&app, "/api/conversations/1/messages?limit=3", "role", || say("list")).await;
        assert_eq!(pages, [vec!["assistant", "user", "assistant"], vec!["user"]]);
        // What was said last comes first.
        assert_eq!(page(&app, "/api/conversations?limit=1").await.0[0]["id"], 1);
        create(&app, "kept").await;
        for path in ["/api/conversations?cursor=m1", "/api/conversations/1/messages?q=help"] {
            assert!(send(&app, Method::GET, path, None).await.0.is_client_error(), "{path}");
        }
    })
    .await;
}
