//! What a collector gets of requests, calls and statements, over real HTTP; and that none is waited for.

mod collector;

use std::{future::pending, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    middleware,
    response::Response,
    routing::get,
};
use kit::{client, logs, reply, trace, url::BaseUrl};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tracing::{Level, event};

use collector::{CLIENT, Collector, Mood, SERVER, Span};

const SPAN_ID: &str = "00f067aa0ba902b7";
/// Keeps a broken exporter from hanging the test; no time is measured.
const LIMIT: Duration = Duration::from_secs(30);
const TIMEOUT_MS: u64 = 10_000;

/// Asks another service that is there, and one that is not.
fn app(other: BaseUrl, nowhere: BaseUrl) -> Router {
    let ask = async |State((other, nowhere)): State<(BaseUrl, BaseUrl)>| {
        let client = client::client();
        assert!(client::get(&client, nowhere.join_static("/gone"), TIMEOUT_MS).await.is_err());
        client::get(&client, other.join_static("/other?q=sentinel"), TIMEOUT_MS).await.unwrap();
        "sentinel text"
    };
    Router::new()
        .route("/notes/{id}", get(ask))
        .route("/health", get(reply::health))
        .route("/api/ready", get(async || reply::ready()))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/never", get(async || pending::<StatusCode>().await))
        .with_state((other, nowhere))
        .fallback(reply::not_found)
        .layer(middleware::from_fn(trace::follow))
}

/// Answers with the trace that it was given, and has a statement run.
async fn other() -> BaseUrl {
    let answer = async |headers: HeaderMap| {
        let (summary, whole) = ("SELECT * FROM notes".to_owned(), "\n\nSELECT * FROM notes\n  WHERE id = $1\n");
        // As sqlx has it.
        event!(target: "sqlx::query", Level::DEBUG, summary, db.statement = whole, rows_returned = 3_u64, elapsed_secs = 0.0);
        headers["traceparent"].to_str().unwrap().to_owned()
    };
    let app = Router::new().route("/other", get(answer)).layer(middleware::from_fn(trace::follow));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn nowhere() -> BaseUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

async fn ask(app: &Router, path: &str, traceparent: Option<&str>) -> Response {
    let mut request = Request::get(path).header("authorization", "Bearer sentinel");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The trace of a request that was answered and read.
async fn traced(app: &Router, collector: &Collector, path: &str, trace: u8, flags: &str) -> (StatusCode, Vec<Span>) {
    let trace_id = format!("{trace:032x}");
    let response = ask(app, path, Some(&format!("00-{trace_id}-{SPAN_ID}-{flags}"))).await;
    let status = response.status();
    to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, collector.trace(&trace_id).await)
}

fn shown(span: &Span) -> (&str, u8, &str, Vec<String>) {
    let attributes = span.attributes.iter().filter(|(key, _)| !matches!(key.as_str(), "server.port"));
    (&span.name, span.kind, &span.parent_id, attributes.map(|(key, value)| format!("{key}={value}")).collect())
}

// One test: there is one exporter in a process.
#[tokio::test]
async fn a_collector_gets_what_is_done_and_is_never_waited_for() {
    logs::start(Level::ERROR, true);
    let app = app(other().await, nowhere().await);
    // Before there is an exporter.
    let other_app =
        Router::new().route("/", get(async |headers: HeaderMap| headers["traceparent"].to_str().unwrap().to_owned()));
    let other_app = other_app.layer(middleware::from_fn(trace::follow));
    let begun = async || to_bytes(ask(&other_app, "/", None).await.into_body(), 100).await.unwrap();
    assert!(begun().await.ends_with(b"-00"));
    let collector = Collector::start("kitchen").await;
    assert!(begun().await.ends_with(b"-01"));

    spans_of_requests_calls_and_statements(&app, &collector).await;
    what_is_not_recorded(&app, &collector).await;
    failures_and_streams(&app, &collector).await;
    let text = collector.text();
    assert!(!text.contains("sentinel"), "{text}");
    a_collector_that_is_away_or_hangs(&app, &collector).await;
}

async fn spans_of_requests_calls_and_statements(app: &Router, collector: &Collector) {
    let (_, spans) = traced(app, collector, "/notes/7?q=sentinel", 1, "01").await;
    assert_eq!(spans.len(), 5, "{spans:?}");
    let [request, gone, call, answered, statement] = &spans[..] else { panic!("{spans:?}") };
    let wanted = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let method = "http.request.method=GET";
    let attributes = wanted(&[method, "http.response.status_code=200", "http.route=/notes/{id}"]);
    assert_eq!(shown(request), ("GET /notes/{id}", SERVER, SPAN_ID, attributes));
    let attributes = wanted(&["error.type=unreachable", method, "server.address=127.0.0.1"]);
    assert_eq!((shown(gone), gone.is_failed), (("GET", CLIENT, request.span_id.as_str(), attributes), true));
    let attributes = wanted(&[method, "http.response.status_code=200", "server.address=127.0.0.1"]);
    assert_eq!((shown(call), call.is_failed), (("GET", CLIENT, request.span_id.as_str(), attributes), false));
    let attributes = wanted(&[method, "http.response.status_code=200", "http.route=/other"]);
    assert_eq!(shown(answered), ("GET /other", SERVER, call.span_id.as_str(), attributes));
    let query = "db.query.text=SELECT * FROM notes WHERE id = $1";
    let attributes = wanted(&[query, "db.response.returned_rows=3", "db.system.name=postgresql"]);
    assert_eq!(shown(statement), ("SELECT notes", CLIENT, answered.span_id.as_str(), attributes));
    assert!(spans.iter().all(|span| span.service == "kitchen"));
}

async fn what_is_not_recorded(app: &Router, collector: &Collector) {
    for (number, path, flags) in [(2, "/notes/7", "00"), (3, "/health", "01"), (4, "/api/ready", "01")] {
        let (status, spans) = traced(app, collector, path, number, flags).await;
        assert!(status == StatusCode::OK && spans.is_empty(), "{path}: {status} {spans:?}");
    }
}

async fn failures_and_streams(app: &Router, collector: &Collector) {
    for (number, path, wanted, is_failed) in [(5, "/broken", "GET /broken", true), (6, "/sentinel-path", "GET", false)]
    {
        let (_, spans) = traced(app, collector, path, number, "01").await;
        assert_eq!((spans[0].name.as_str(), spans[0].is_failed, spans.len()), (wanted, is_failed, 1), "{spans:?}");
    }
    let given = format!("00-{:032x}-{SPAN_ID}-01", 7);
    let cancelled = tokio::time::timeout(Duration::from_millis(1), ask(app, "/never", Some(&given))).await;
    assert!(cancelled.is_err());
    let spans = collector.trace(&format!("{:032x}", 7)).await;
    assert_eq!(spans[0].attributes["error.type"], "cancelled");
    // It goes on until the body has been read.
    let trace_id = format!("{:032x}", 8);
    let response = ask(app, "/broken", Some(&format!("00-{trace_id}-{SPAN_ID}-01"))).await;
    assert!(collector.trace(&trace_id).await.is_empty());
    drop(response);
    assert_eq!(collector.trace(&trace_id).await.len(), 1);
}

async fn a_collector_that_is_away_or_hangs(app: &Router, collector: &Collector) {
    collector.set_mood(Mood::Refuses);
    let (status, spans) = traced(app, collector, "/notes/7", 9, "01").await;
    assert!(status == StatusCode::OK && spans.is_empty(), "{status} {spans:?}");
    collector.set_mood(Mood::Takes);
    let (_, spans) = traced(app, collector, "/notes/7", 10, "01").await;
    assert_eq!(spans.len(), 5, "{spans:?}");
    // What was refused stays away.
    assert!(collector.trace(&format!("{:032x}", 9)).await.is_empty());
    collector.set_mood(Mood::Hangs);
    let answered = async {
        for number in 11..20 {
            assert_eq!(traced(app, collector, "/notes/7", number, "01").await.0, StatusCode::OK);
        }
    };
    tokio::time::timeout(LIMIT, answered).await.expect("a request or a flush waits for the collector");
}
