//! A tool call to an MCP server over streamable HTTP.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stages::smoke::{Attempt, Cause, Refusal, beginning, fill_json, http};

/// A client that speaks MCP says which of the protocol's versions it means.
const VERSION: &str = "2025-06-18";

pub struct ToolCall<'a> {
    pub path: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub tool: &'a str,
    pub arguments: &'a Value,
}

/// What every request of a session carries.
struct Session<'a> {
    attempt: &'a Attempt<'a>,
    url: String,
    headers: &'a BTreeMap<String, String>,
    id: Option<String>,
}

/// Initialises, says so, and calls the tool. Returns what was asked, and the call's result as JSON.
pub fn call_tool(attempt: &Attempt, service: &str, call: &ToolCall) -> Result<(String, String), Refusal> {
    let url = http::url(attempt, service, call.path)?;
    let asked = format!("tool {} at {url}", call.tool);
    let mut session = Session { attempt, url, headers: call.headers, id: None };
    let client =
        json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "xtask", "version": "0.1.0"}});
    session.send(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}))?;
    session.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
    let arguments = if call.arguments.is_null() { json!({}) } else { fill_json(call.arguments, &attempt.saved) };
    let params = json!({"name": call.tool, "arguments": arguments});
    let answer = session.send(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}))?;
    let cause = |came: &Value| Cause::new(&asked, "a result", beginning(&came.to_string()));
    match answer.get("result") {
        // The server answers, and whom it asks may be on its way.
        Some(result) if result["isError"] == true => Err(Refusal::NotYet(cause(result))),
        Some(result) => Ok((asked, result.to_string())),
        None => Err(Refusal::Wrong(cause(&answer))),
    }
}

impl Session<'_> {
    fn send(&mut self, message: Value) -> Result<Value, Refusal> {
        let asked = format!("{} at {}", message["method"].as_str().unwrap_or_default(), self.url);
        let mut request = http::builder(self.attempt, "POST", &self.url, self.headers)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(id) = &self.id {
            request = request.header("mcp-session-id", id.as_str()).header("mcp-protocol-version", VERSION);
        }
        let http::Answer { status, text, session } = http::send(self.attempt, request, message.to_string(), &asked)?;
        self.id = session.or(self.id.take());
        let cause = |wanted| Cause::new(&asked, wanted, format!("status {status}: {}", beginning(&text)));
        match status {
            200 => answer(&text).ok_or_else(|| Refusal::Wrong(cause("an answer"))),
            202 if message.get("id").is_none() => Ok(Value::Null),
            502..=504 => Err(Refusal::NotYet(cause("status 200"))),
            _ => Err(Refusal::Wrong(cause("status 200"))),
        }
    }
}

/// The JSON-RPC answer in a body: plain JSON, or the last event of a stream that has an id.
fn answer(text: &str) -> Option<Value> {
    let events = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    std::iter::once(text.trim())
        .chain(events)
        .filter_map(|part| serde_json::from_str::<Value>(part).ok())
        .rfind(|value| value.get("id").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_in_json_and_in_an_event_stream() {
        assert_eq!(answer(r#"{"id": 1, "result": {}}"#).unwrap()["id"], 1);
        let stream =
            "event: message\ndata: {\"method\": \"notifications/x\"}\n\ndata: {\"id\": 2, \"result\": {\"a\": 1}}\n\n";
        assert_eq!(answer(stream).unwrap()["result"]["a"], 1);
        assert!(answer("nothing").is_none());
    }
}
