//! What a scrape shows of requests: their routes and never their paths.

use std::{future::pending, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
    middleware,
    routing::get,
};
use kit::{
    metrics::{self, Counters, Reading},
    reply,
};
use tower::ServiceExt;

/// As the services have it, with nested routes.
fn app() -> Router {
    let notes = Router::new().route("/{id}", get(async || StatusCode::NO_CONTENT));
    Router::new()
        .route("/tasks/{id}", get(async || StatusCode::OK).post(async || StatusCode::CREATED))
        .route("/never", get(async || pending::<StatusCode>().await))
        .nest("/notes", notes)
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .layer(middleware::from_fn(metrics::measure_requests))
}

async fn ask(method: &str, path: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    app().oneshot(request).await.unwrap().status()
}

async fn scrape() -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = metrics::router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

fn has_line(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
}

// One test: the counters are those of the process.
#[tokio::test]
async fn requests_are_counted_by_route() {
    for (method, path, status) in [
        ("GET", "/tasks/1", 200),
        ("GET", "/tasks/2", 200),
        ("POST", "/tasks/3", 201),
        ("GET", "/notes/4", 204),
        ("GET", "/sentinel-path", 404),
        ("GET", "/notes/5/sentinel-path", 404),
        ("DELETE", "/tasks/6", 405),
        ("SENTINEL", "/tasks/7", 405),
    ] {
        assert_eq!(ask(method, path).await, status, "{method} {path}");
    }
    let never = tokio::time::timeout(Duration::from_millis(1), ask("GET", "/never")).await;
    assert!(never.is_err());

    let text = scrape().await;
    let requests = |labels: &str, count: u32| has_line(&text, &format!("http_requests_total{{{labels}}} {count}"));
    requests(r#"method="GET",route="/tasks/{id}",status="200""#, 2);
    requests(r#"method="POST",route="/tasks/{id}",status="201""#, 1);
    requests(r#"method="GET",route="/notes/{id}",status="204""#, 1);
    requests(r#"method="GET",route="(none)",status="404""#, 2);
    requests(r#"method="DELETE",route="/tasks/{id}",status="405""#, 1);
    requests(r#"method="other",route="/tasks/{id}",status="405""#, 1);
    requests(r#"method="GET",route="/never",status="cancelled""#, 1);
    has_line(&text, r#"http_request_duration_seconds_count{method="GET",route="/tasks/{id}"} 2"#);
    has_line(&text, "http_requests_in_flight 0");
    assert!(!text.to_lowercase().contains("sentinel"), "{text}");
    for line in text.lines().filter(|line| line.contains("_bucket")) {
        assert!(line.contains("le=\"") && line.contains("route=\""), "{line}");
    }
}

#[tokio::test]
async fn a_service_adds_its_own() {
    let counters = Counters::register("cakes", "Cakes by kind", ["kind"]);
    counters.add(["cheese"], 2);
    counters.add(["cheese"], 1);
    metrics::register_readings(|| [Reading { name: "guests", help: "Who is here", value: 7 }]);
    let text = scrape().await;
    has_line(&text, r#"cakes_total{kind="cheese"} 3"#);
    has_line(&text, "# TYPE guests gauge");
    has_line(&text, "guests 7");
}
