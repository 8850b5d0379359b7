//! What the backend's metrics show after requests, over a real PostgreSQL.

mod common;

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    http::{Method, Request, StatusCode},
    routing::post,
};
use backend::config::Config;
use http_body_util::BodyExt;
use kit::serve::Readiness;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use common::{send, serve, stand_in_mcp, with_database, with_provider};

const LIMIT: Duration = Duration::from_secs(30);

async fn scrape() -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = kit::metrics::router().oneshot(request).await.unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn say(app: &Router, content: &str) -> StatusCode {
    let (_, conversation) = send(app, Method::POST, "/api/conversations", None).await;
    let path = format!("/api/conversations/{}/messages", conversation["id"].as_i64().unwrap());
    send(app, Method::POST, &path, Some(json!({"content": content}))).await.0
}

/// A stand-in provider that answers in one piece, and says what that took.
async fn with_model(config: Config) -> Config {
    let answer = json!({
        "choices": [{"message": {"content": "You are welcome."}}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 5, "total_tokens": 125},
    });
    let url = serve(Router::new().route("/v1/chat/completions", post(async move || Json(answer)))).await;
    with_provider(config, format!("{url}/v1/chat/completions").parse().unwrap(), stand_in_mcp().await.0)
}

/// As the program starts it.
async fn started(config: Config) -> Router {
    let app = backend::start(config, Readiness::default()).await;
    let ready = async {
        while send(&app, Method::GET, "/ready", None).await.0 != StatusCode::OK {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, ready).await.expect("the migrations end");
    app
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_scrape_shows_requests_connections_and_the_assistant_but_nothing_of_users() {
    with_database(async |config| {
        let app = started(config.clone()).await;
        let (status, _) = send(&app, Method::POST, "/api/tasks", Some(json!({"title": "sentinel"}))).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(send(&app, Method::GET, "/api/tasks/1?q=sentinel", None).await.0, StatusCode::OK);
        assert_eq!(send(&app, Method::GET, "/api/sentinel", None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(say(&app, "add sentinel milk").await, StatusCode::CREATED);
        let text = scrape().await;
        for line in [
            r#"http_requests_total{method="POST",route="/api/tasks",status="201"} 1"#,
            r#"http_requests_total{method="GET",route="/api/tasks/{id}",status="200"} 1"#,
            r#"http_requests_total{method="GET",route="(none)",status="404"} 1"#,
            r#"http_requests_total{method="POST",route="/api/conversations/{id}/messages",status="201"} 1"#,
            r#"chat_answers_total{kind="built_in",outcome="answered"} 1"#,
            r#"chat_answers_total{kind="model",outcome="failed"} 0"#,
            r#"chat_tool_calls_total{tool="add_task",outcome="done"} 1"#,
            r#"chat_tokens_total{direction="input"} 0"#,
            "database_connections_max 4",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        let of = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
            value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        };
        // A connection comes back to the pool a moment after its request.
        let open = of("database_connections_in_use") + of("database_connections_idle");
        assert!((1..=4).contains(&open), "{text}");
        assert!(!text.contains("sentinel"), "{text}");

        // Not as the program starts it: what belongs to the process is registered already.
        let backend = backend::Backend::open(&with_model(config).await, Readiness::default());
        backend.database.migrate().await.unwrap();
        assert_eq!(say(&backend::app(backend, &[]), "thanks").await, StatusCode::CREATED);
        let text = scrape().await;
        for line in [
            r#"chat_answers_total{kind="model",outcome="answered"} 1"#,
            r#"chat_tokens_total{direction="input"} 120"#,
            r#"chat_tokens_total{direction="output"} 5"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
    })
    .await;
}
