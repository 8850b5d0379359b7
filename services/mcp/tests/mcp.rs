//! Tool calls over real HTTP, with a stand-in backend behind.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
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
/// In each answer of the stand-in backend to a write.
const UNDO_TOKEN: &str = "1234";
/// With each list of the stand-in backend that has several tasks.
const CURSOR: &str = "c00";

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
        let undo = [("undo-token", UNDO_TOKEN)];
        match (status, parts.method) {
            (StatusCode::NO_CONTENT, _) => (status, undo).into_response(),
            (_, Method::GET) => match answer.as_array() {
                Some(list) if list.len() > 1 => (status, [("next-cursor", CURSOR)], Json(answer)).into_response(),
                _ => (status, Json(answer)).into_response(),
            },
            _ => (status, undo, Json(answer)).into_response(),
        }
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
    let hint =
        |tool: &Value, name: &str| tool["annotations"][name].as_bool().map_or('-', |hint| if hint { 'y' } else { 'n' });
    let mut described: Vec<String> = Vec::new();
    for tool in tools {
        let schema = &tool["inputSchema"];
        assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)), "{tool}");
        for text in [&tool["description"], &tool["annotations"]["title"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{tool}");
        }
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{}: {name}", tool["name"]);
        }
        let hints: String = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]
            .map(|name| hint(tool, name))
            .iter()
            .collect();
        described.push(format!("{} {hints} {}", tool["name"].as_str().unwrap(), schema["required"]));
    }
    described.sort();
    // Read only, destructive, idempotent, open to the world.
    assert_eq!(
        described,
        [
            r#"add_task -n-n ["title"]"#,
            r#"complete_task -nyn ["id"]"#,
            r#"delete_task -yyn ["id"]"#,
            r#"get_task y--n ["id"]"#,
            "list_tasks y--n null",
            r#"move_task -nyn ["id"]"#,
            r#"reopen_task -nyn ["id"]"#,
            r#"search_tasks y--n ["query"]"#,
            r#"undo_change -ynn ["undo_token"]"#,
            r#"update_task -yyn ["id"]"#,
        ]
    );
}

#[tokio::test]
async fn each_tool_asks_the_backend_for_one_thing() {
    let task = json!({"id": ID, "title": "milk"});
    let written = json!({"id": ID, "title": "milk", "undo_token": UNDO_TOKEN});
    let all = json!({
        "title": "milk", "description": "two", "priority": "high", "due_on": "2026-12-24", "due_time": "17:00",
        "time_zone": "Europe/Berlin", "tags": ["shop"],
    });
    let with_id = |mut arguments: Value| {
        arguments["id"] = json!(ID);
        arguments
    };
    let undone = json!({"tasks": [task], "deleted": [], "undo_token": UNDO_TOKEN});
    let of = |rest: &str| format!("/api/tasks/{ID}{rest}");
    let no_end = json!({"before": null, "after": null, "to": null});
    let to = |name: &str, value: Value| {
        let mut body = no_end.clone();
        body[name] = value;
        body
    };
    for (tool, arguments, status, wanted_request, wanted_result) in [
        (
            "add_task",
            json!({"title": "milk"}),
            201,
            ("POST", "/api/tasks".to_owned(), json!({"title": "milk"})),
            &written,
        ),
        ("add_task", all.clone(), 201, ("POST", "/api/tasks".to_owned(), all.clone()), &written),
        ("get_task", json!({"id": ID}), 200, ("GET", of(""), Value::Null), &task),
        ("update_task", with_id(all.clone()), 200, ("PATCH", of(""), all), &written),
        (
            "update_task",
            json!({"id": ID, "clear": ["due_on"]}),
            200,
            ("PATCH", of(""), json!({"due_on": null})),
            &written,
        ),
        ("complete_task", json!({"id": ID}), 200, ("POST", of("/complete"), Value::Null), &written),
        ("reopen_task", json!({"id": ID}), 200, ("POST", of("/reopen"), Value::Null), &written),
        ("move_task", json!({"id": ID, "before": 3}), 200, ("POST", of("/move"), to("before", json!(3))), &written),
        ("move_task", json!({"id": ID, "to": "first"}), 200, ("POST", of("/move"), to("to", json!("first"))), &written),
        (
            "delete_task",
            json!({"id": ID}),
            204,
            ("DELETE", of(""), Value::Null),
            &json!({"deleted": ID, "undo_token": UNDO_TOKEN}),
        ),
        (
            "undo_change",
            json!({"undo_token": "5"}),
            200,
            ("POST", "/api/tasks/undo".to_owned(), json!({"token": "5"})),
            &undone,
        ),
    ] {
        let answer = if tool == "undo_change" { json!({"tasks": [task], "deleted": []}) } else { task.clone() };
        let (server, asked) = server(status, answer).await;
        let answer = call(server, tool, arguments).await;
        assert_eq!(&answer["result"]["structuredContent"], wanted_result, "{tool}: {answer}");
        assert_eq!(answer["result"]["isError"], false, "{tool}: {answer}");
        let asked = asked.lock().unwrap();
        let [(method, path, body)] = asked.as_slice() else { panic!("{tool}: {asked:?}") };
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!((method.as_str(), path.clone(), body), wanted_request, "{tool}");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_bounded() {
    for (tool, arguments, wanted) in [
        ("list_tasks", json!({}), "limit=50"),
        ("list_tasks", json!({"completed": true, "limit": 1}), "completed=true&limit=1"),
        (
            "list_tasks",
            json!({"priority": "high", "tags": ["a", "b c"], "due_before": "2026-12-24", "due_after": "2026-01-01",
                "overdue": true, "sort": "due", "limit": 100, "cursor": "d1"}),
            "priority=high&tag=a%2Cb+c&due_before=2026-12-24&due_after=2026-01-01&overdue=true&sort=due&limit=100&cursor=d1",
        ),
        ("search_tasks", json!({"query": "oat & milk", "completed": null}), "q=oat+%26+milk&limit=50"),
    ] {
        let (server, asked) = server(200, json!([{"id": ID}])).await;
        let answer = call(server, tool, arguments).await;
        let wanted_result = json!({"tasks": [{"id": ID}], "next_cursor": null});
        assert_eq!(answer["result"]["structuredContent"], wanted_result, "{tool}: {answer}");
        assert_eq!(asked.lock().unwrap()[0].1, format!("/api/tasks?{wanted}"), "{tool}");
    }

    let tasks = |count: usize| json!(vec![json!({"description": "x".repeat(201)}); count]);
    for (count, cursor) in [(2, json!(CURSOR)), (1, Value::Null)] {
        let (server, _) = server(200, tasks(count)).await;
        let answer = call(server, "list_tasks", json!({})).await;
        let list = &answer["result"]["structuredContent"];
        assert_eq!((list["tasks"].as_array().unwrap().len(), &list["next_cursor"]), (count, &cursor));
        assert_eq!(list["tasks"][0]["description"].as_str().unwrap().chars().count(), 201);
        assert!(list["tasks"][0]["description"].as_str().unwrap().ends_with("x…"));
    }

    let (server, asked) = server(200, json!([])).await;
    for (tool, arguments) in [
        ("list_tasks", json!({"limit": 0})),
        ("list_tasks", json!({"limit": 101})),
        ("search_tasks", json!({"query": " "})),
        ("update_task", json!({"id": ID, "due_on": "2026-12-24", "clear": ["due_on"]})),
    ] {
        let answer = call(server, tool, arguments).await;
        assert_eq!(answer["result"]["isError"], true, "{tool}: {answer}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stale_update_gets_the_task_as_it_is() {
    let current = json!({"id": ID, "title": "oat milk", "version": 3});
    let message = "the task was changed meanwhile; its version is now 3";
    let refusal = json!({"code": "stale", "detail": message, "current": current});
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let backend = Router::new().fallback(async move |headers: HeaderMap| {
        *keep.lock().unwrap() = headers.get("if-match").cloned();
        (StatusCode::CONFLICT, Json(refusal))
    });
    let server = spawn(app(spawn(backend).await, &[])).await;
    let answer = call(server, "update_task", json!({"id": ID, "version": 2, "title": "soy milk"})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(answer["result"]["content"][0]["text"], format!("{message}. It is now: {current}"));
    assert_eq!(seen.lock().unwrap().as_ref().unwrap(), "\"2\"");
}

#[tokio::test]
async fn the_callers_own_token_is_passed_on() {
    let echo = Router::new().fallback(async |headers: HeaderMap| {
        Json(json!({"authorization": headers.get("authorization").map(|value| value.to_str().unwrap())}))
    });
    let server = spawn(app(spawn(echo).await, &[])).await;
    for tool in ["complete_task", "get_task"] {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": {"id": ID}},
        });
        for token in [Some("Bearer the.callers.own"), None] {
            let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", *token)).collect();
            let (_, _, answer) = post(server, body.clone(), &headers).await;
            assert_eq!(answer["result"]["structuredContent"], json!({"authorization": token}), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_callers_trace_is_passed_on() {
    let echo = Router::new()
        .fallback(async |headers: HeaderMap| Json(json!({"traceparent": headers["traceparent"].to_str().unwrap()})));
    let server = spawn(app(spawn(echo).await, &[])).await;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let params = json!({"name": "get_task", "arguments": {"id": ID}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let (_, _, answer) = post(server, body, &[("traceparent", given)]).await;
    let passed_on = answer["result"]["structuredContent"]["traceparent"].as_str().unwrap();
    assert!(passed_on.starts_with(&given[..36]) && passed_on != given, "{passed_on}");
}

#[tokio::test]
async fn what_the_backend_refuses_is_reported_to_the_caller() {
    let refusal = json!({"code": "not_found", "detail": "there is no such task"});
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

#[tokio::test]
async fn calls_are_counted_by_tool() {
    let (server, _) = server(200, json!([])).await;
    call(server, "list_tasks", json!({})).await;
    call(server, "get_task", json!({"id": "seven"})).await;
    call(server, "a-made-up-name", json!({})).await;
    let metrics = kit::metrics::router().oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    let body = metrics.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    for wanted in [
        r#"mcp_tool_calls_total{tool="list_tasks",outcome="done"}"#,
        r#"mcp_tool_calls_total{tool="get_task",outcome="failed"}"#,
        r#"mcp_tool_calls_total{tool="other",outcome="failed"}"#,
        r#"http_requests_total{method="POST",route="/mcp",status="200"}"#,
    ] {
        assert!(text.contains(wanted), "{wanted} is missing: {text}");
    }
    assert!(!text.contains("a-made-up-name"), "{text}");
}
