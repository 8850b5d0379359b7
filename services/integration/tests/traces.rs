//! One chat message is one trace: frontend, backend, MCP server, backend again, PostgreSQL and a stand-in for the language model.

#[path = "../../kit/tests/collector/mod.rs"]
mod collector;
#[path = "../../backend/tests/common/mod.rs"]
mod common;

use std::{path::PathBuf, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use backend::config::Config;
use frontend::Frontend;
use http_body_util::BodyExt;
use kit::{
    client::{self, client},
    logs,
    serve::Readiness,
    url::BaseUrl,
};
use mcp::Mcp;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tracing::Level;

use collector::{CLIENT, Collector, Mood, SERVER, Span};
use common::{hs256, message, migrated, send_as, serve, sign_up, with_database, with_model};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";
const LIMIT: Duration = Duration::from_secs(30);

const SAY: &str = "POST /api/{*path} > POST > POST /api/conversations/{id}/messages";

/// The backend, and the URL of a frontend before it.
async fn services(config: Config) -> (Router, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend_url = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (url, readiness) = (backend_url.clone(), Readiness::default());
    let mcp = mcp::app(Mcp { backend_url: url, client: client(), readiness: readiness.clone() }, &[]);
    let mcp_url = BaseUrl::parse(&serve(mcp).await).unwrap();
    let function = json!({"name": "add_task", "arguments": json!({"title": "sentinel milk"}).to_string()});
    let calls = json!([{"id": "1", "type": "function", "function": function}]);
    let wishes = message(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    let says = || message(json!({"role": "assistant", "content": "sentinel answer"}));
    let (config, _) = with_model(config, mcp_url, vec![wishes, says(), says()]).await;
    let (_, app) = migrated(&config).await;
    let backend = app.clone();
    tokio::spawn(async move { axum::serve(listener, backend).await.unwrap() });
    let frontend = frontend::app(Frontend { backend_url, client: client(), readiness }, PathBuf::new());
    (app, serve(frontend).await)
}

/// As a browser does, by way of the frontend.
async fn say(frontend: &str, path: &str, token: &str, content: &str) -> Value {
    let uri = format!("{frontend}{path}").parse().unwrap();
    let mut request: Request<Body> = client::json_request(Method::POST, uri, &json!({"content": content}));
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("traceparent", format!("00-{TRACE_ID}-{SPAN_ID}-01").parse().unwrap());
    // Not by kit's function, which would make a span of it.
    let (parts, body) = client().request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.status, StatusCode::CREATED, "{body:?}");
    serde_json::from_slice(&body).unwrap()
}

fn parent<'a>(span: &Span, spans: &'a [Span]) -> Option<&'a Span> {
    spans.iter().find(|other| other.span_id == span.parent_id)
}

/// Its name, after those of all above it.
fn path(span: &Span, spans: &[Span]) -> String {
    match parent(span, spans) {
        Some(parent) => format!("{} > {}", path(parent, spans), span.name),
        None => span.name.clone(),
    }
}

fn depth(span: &Span, spans: &[Span]) -> usize {
    parent(span, spans).map_or(0, |parent| 1 + depth(parent, spans))
}

/// With `--nocapture`: what is inside of what, from when, and for how long.
fn print_tree(span: &Span, spans: &[Span]) {
    let began_ns = spans.iter().map(|span| span.began_ns).min().unwrap();
    let (from, took) = (span.began_ns - began_ns, span.ended_ns - span.began_ns);
    let indent = "  ".repeat(depth(span, spans));
    let kind = match (span.kind, span.attributes.contains_key("db.system.name")) {
        (SERVER, _) => "server",
        (_, true) => "database",
        (_, false) => "client",
    };
    println!("{:8.2} ms {:8.2} ms  {indent}{} ({kind})", from as f64 / 1e6, took as f64 / 1e6, span.name);
    spans.iter().filter(|child| child.parent_id == span.span_id).for_each(|child| print_tree(child, spans));
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_chat_message_is_one_trace() {
    with_database(async |config| {
        logs::start(Level::ERROR, true);
        let collector = Collector::start("together").await;
        let (backend, frontend) = services(hs256(config)).await;
        let token = sign_up(&backend, "ann@example.org").await;
        let (_, conversation) = send_as(&token, &backend, Method::POST, "/api/conversations", None).await;
        let messages = format!("/api/conversations/{}/messages", conversation["id"]);

        let exchange = say(&frontend, &messages, &token, "sentinel words").await;
        assert_eq!(exchange["assistant"]["content"], "sentinel answer");
        // The outermost ends last, when the client has read everything.
        let whole = async {
            loop {
                let spans = collector.trace(TRACE_ID).await;
                let has_ended = |name: &str| spans.iter().any(|span| span.name == name);
                if SAY.split(" > ").all(has_ended) {
                    return spans;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let spans = timeout(LIMIT, whole).await.expect("the request's own spans come");
        spans.iter().filter(|span| parent(span, &spans).is_none()).for_each(|span| print_tree(span, &spans));
        has_the_way_of_a_message(&spans);
        let text = collector.text();
        let secrets = ["sentinel", &token, "ann@example.org", "the right password", "Bearer"];
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");

        collector.set_mood(Mood::Hangs);
        let exchange = say(&frontend, &messages, &token, "and without a collector").await;
        assert_eq!(exchange["assistant"]["content"], "sentinel answer");
    })
    .await;
}

fn has_the_way_of_a_message(spans: &[Span]) {
    let paths: Vec<String> = spans.iter().map(|span| path(span, spans)).collect();
    // All but the first are inside of another: the trace's parts are joined.
    let roots: Vec<&Span> = spans.iter().filter(|span| parent(span, spans).is_none()).collect();
    assert!(roots.len() == 1 && roots[0].parent_id == SPAN_ID, "{roots:?}");
    let add = format!("{SAY} > tools/call add_task > POST /mcp > POST > POST /api/tasks");
    for (wanted, kind, count) in [
        (SAY.to_owned(), SERVER, 1),
        (format!("{SAY} > chat stand-in"), CLIENT, 2),
        (format!("{SAY} > tools/list > POST /mcp"), SERVER, 1),
        (format!("{SAY} > tools/call add_task"), CLIENT, 1),
        (add.clone(), SERVER, 1),
        (format!("{add} > INSERT tasks"), CLIENT, 1),
        // What the user says, and what is answered.
        (format!("{SAY} > INSERT messages"), CLIENT, 2),
    ] {
        let found = paths.iter().zip(spans).filter(|(path, span)| **path == wanted && span.kind == kind);
        assert_eq!(found.count(), count, "{wanted} in {paths:#?}");
    }
    let insert = spans.iter().find(|span| span.name == "INSERT tasks").unwrap();
    assert_eq!(insert.attributes["db.system.name"], "postgresql");
    assert!(insert.attributes["db.query.text"].contains("VALUES ($1, $2, $3"), "{insert:?}");
    assert!(spans.iter().all(|span| !span.is_failed), "{spans:?}");
}
