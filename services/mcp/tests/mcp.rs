//! Tool calls over real HTTP, with a stand-in backend behind.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use kit::{
    client::{self, client, json_request},
    serve::Readiness,
    url::BaseUrl,
};
use mcp::Mcp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

const ID: i32 = 7;

/// What the stand-in backend was asked: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

async fn spawn(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn app(backend: SocketAddr, allowed_hosts: &[&str]) -> Router {
    let backend_url = BaseUrl::parse(&format!("http://{backend}")).unwrap();
    let hosts: Vec<String> = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
    mcp::app(Mcp { backend_url, client: client(), readiness: Readiness::default() }, &hosts)
}

/// An MCP server before a backend that always answers the same.
async fn server(status: u16, answer: Value) -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let keep = asked.clone();
    let status = StatusCode::from_u16(status).unwrap();
    let backend = Router::new().fallback(async move |request: Request| -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        keep.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), body));
        if status == StatusCode::NO_CONTENT { status.into_response() } else { (status, Json(answer)).into_response() }
    });
    (spawn(app(spawn(backend).await, &[])).await, asked)
}

async fn post(server: SocketAddr, body: Value, headers: &[(&str, &str)]) -> (u16, HeaderMap, Value) {
    let mut request = json_request("POST".parse().unwrap(), format!("http://{server}/mcp").parse().unwrap(), &body);
    request.headers_mut().insert("accept", "application/json, text/event-stream".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let response = client().request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

async fn call(server: SocketAddr, tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let (status, _, answer) = post(server, body, &[("mcp-protocol-version", "2025-06-18")]).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn a_client_is_greeted_and_gets_the_tools() {
    let (server, _) = server(200, json!([])).await;
    let params = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    });
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let (status, headers, answer) = post(server, hello, &[]).await;
    assert_eq!((status, &answer["result"]["serverInfo"]["name"]), (200, &json!("todo-chatbot")), "{answer}");
    assert_eq!(headers["content-type"], "application/json");
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(server, initialized, &[]).await.0, 202);

    let (_, _, answer) = post(server, json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}), &[]).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let mut needs: Vec<(&str, &Value)> =
        tools.iter().map(|tool| (tool["name"].as_str().unwrap(), &tool["inputSchema"]["required"])).collect();
    needs.sort_by_key(|(name, _)| *name);
    let (id, title) = (json!(["id"]), json!(["title"]));
    let wanted = [("add_task", &title), ("complete_task", &id), ("delete_task", &id), ("list_tasks", &Value::Null)];
    assert_eq!(needs, wanted);
}

#[tokio::test]
async fn each_tool_asks_the_backend_for_one_thing() {
    let task = json!({"id": ID, "title": "milk"});
    let list = json!([task]);
    for (tool, arguments, backend_answers, wanted_request, wanted_result) in [
        (
            "add_task",
            json!({"title": "milk"}),
            (201, task.clone()),
            ("POST", "/api/tasks".to_owned(), r#"{"description":null,"title":"milk"}"#),
            task.clone(),
        ),
        (
            "add_task",
            json!({"title": "milk", "priority": "high"}),
            (201, task.clone()),
            ("POST", "/api/tasks".to_owned(), r#"{"description":null,"priority":"high","title":"milk"}"#),
            task.clone(),
        ),
        (
            "list_tasks",
            json!({}),
            (200, list.clone()),
            ("GET", "/api/tasks?limit=500".to_owned(), ""),
            json!({"tasks": list, "there_may_be_more": false}),
        ),
        (
            "list_tasks",
            json!({"completed": true}),
            (200, json!([])),
            ("GET", "/api/tasks?limit=500&completed=true".to_owned(), ""),
            json!({"tasks": [], "there_may_be_more": false}),
        ),
        (
            "complete_task",
            json!({"id": ID}),
            (200, task.clone()),
            ("POST", format!("/api/tasks/{ID}/complete"), ""),
            task.clone(),
        ),
        (
            "delete_task",
            json!({"id": ID}),
            (204, Value::Null),
            ("DELETE", format!("/api/tasks/{ID}"), ""),
            json!({"deleted": ID}),
        ),
    ] {
        let (server, asked) = server(backend_answers.0, backend_answers.1).await;
        let answer = call(server, tool, arguments).await;
        assert_eq!(answer["result"]["structuredContent"], wanted_result, "{tool}: {answer}");
        assert_eq!(answer["result"]["isError"], false, "{tool}: {answer}");
        let (method, path, body) = wanted_request;
        assert_eq!(*asked.lock().unwrap(), [(method.to_owned(), path, body.to_owned())], "{tool}");
    }
}

#[tokio::test]
async fn the_callers_own_token_is_passed_on() {
    let echo = Router::new().fallback(async |headers: HeaderMap| {
        Json(json!({"authorization": headers.get("authorization").map(|value| value.to_str().unwrap())}))
    });
    let server = spawn(app(spawn(echo).await, &[])).await;
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "complete_task", "arguments": {"id": ID}},
    });
    for token in [Some("Bearer the.callers.own"), None] {
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", *token)).collect();
        let (_, _, answer) = post(server, body.clone(), &headers).await;
        assert_eq!(answer["result"]["structuredContent"], json!({"authorization": token}), "{answer}");
    }
}

#[tokio::test]
async fn what_the_backend_refuses_is_reported_to_the_caller() {
    let refusal = json!({"error": {"code": "not_found", "message": "there is no such task"}});
    let (server, _) = server(404, refusal).await;
    let answer = call(server, "complete_task", json!({"id": ID})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(answer["result"]["content"][0]["text"], "there is no such task");
}

#[tokio::test]
async fn an_id_is_never_a_path() {
    let (server, asked) = server(200, json!({})).await;
    for id in [json!("../health"), json!(""), json!("7/complete"), json!(1.5), json!(null), json!(99999999999_i64)] {
        let answer = call(server, "delete_task", json!({"id": id})).await;
        assert!(answer["result"]["isError"] == true || answer["error"].is_object(), "{id}: {answer}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_backend_that_is_gone_is_reported() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = spawn(app(nowhere, &[])).await;
    let answer = call(server, "list_tasks", json!({})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let ready = client::get(&client(), format!("http://{server}/ready").parse().unwrap(), 20_000).await.unwrap();
    assert_eq!(ready.status, 503);
    let health = client::get(&client(), format!("http://{server}/health").parse().unwrap(), 20_000).await.unwrap();
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn ready_when_the_backend_is() {
    for (answer, wanted) in [(200, 200), (503, 503)] {
        let (server, _) = server(answer, json!({})).await;
        let ready = client::get(&client(), format!("http://{server}/ready").parse().unwrap(), 20_000).await.unwrap();
        assert_eq!(ready.status, wanted);
    }
}

#[tokio::test]
async fn a_service_name_is_answered_and_a_browser_is_not() {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let (open, _) = server(200, json!([])).await;
    assert_eq!(post(open, ping.clone(), &[("host", "mcp.todo.svc.cluster.local:8001")]).await.0, 200);
    assert_eq!(post(open, ping.clone(), &[("origin", "http://rebound.example")]).await.0, 403);

    let closed = spawn(app(open, &["mcp", "mcp:8001"])).await;
    for (host, wanted) in [("mcp", 200), ("mcp:8001", 200), ("other:8001", 403)] {
        assert_eq!(post(closed, ping.clone(), &[("host", host)]).await.0, wanted, "{host}");
    }
}

#[tokio::test]
async fn there_are_no_streams_to_hold_up_a_stop() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let request = Request::get("/mcp").header("accept", "text/event-stream").header("host", "mcp");
    let response = app(nowhere, &[]).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}
