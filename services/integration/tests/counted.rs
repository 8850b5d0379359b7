//! What the services count is called as the MCP server calls it.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use kit::{client::client, serve::Readiness, url::BaseUrl};
use mcp::Mcp;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Of the built-in assistant alone, which takes back more than one change.
const BUILT_IN: &str = "undo";

#[tokio::test]
async fn the_backend_counts_each_tool_of_the_mcp_server_by_its_name() {
    let backend_url = BaseUrl::parse("http://127.0.0.1:1").unwrap();
    let mcp = mcp::app(Mcp { backend_url, client: client(), readiness: Readiness::default() }, &[]);
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let request = Request::post("/mcp")
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(Body::from(question.to_string()))
        .unwrap();
    let (parts, body) = mcp.oneshot(request).await.unwrap().into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let tools = answer["result"]["tools"].as_array().unwrap();
    let listed: BTreeSet<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let counted: BTreeSet<&str> = backend::COUNTED_TOOLS.into_iter().filter(|name| *name != BUILT_IN).collect();
    assert_eq!((counted.len(), counted), (10, listed));
}
