//! The MCP server, asked over streamable HTTP without sessions: each question is one request, and its answer is JSON.

use std::borrow::Cow;

use axum::http::{
    HeaderValue, Method, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION},
};
use kit::{
    client::{self, Client},
    trace::SpanName,
    url::BaseUrl,
};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    understanding::Wish,
    wishes::{Tool, tools_of},
};
use crate::config::Secret;

const PROTOCOL_VERSION: &str = "2025-06-18";
const LIST_TIMEOUT_MS: u64 = 5_000;
/// Longer than the MCP server waits for the backend.
const CALL_TIMEOUT_MS: u64 = 20_000;
/// All of it is read by the model.
const TEXT_MAX_BYTES: usize = 256 * 1024;
const UNREADABLE: &str = "gave an answer that can't be read";

pub struct Mcp {
    url: Uri,
    client: Client,
}

/// What came of a call.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// For the model: what came of it, or why it failed.
    pub text: String,
    pub value: Value,
    pub failed: bool,
}

/// A JSON-RPC result, or the message of an error.
type Reply = Result<Value, String>;

impl Mcp {
    /// Connects to nothing yet.
    pub fn open(base_url: &BaseUrl) -> Self {
        Self { url: base_url.join_static("/mcp"), client: client::client() }
    }

    /// The error, as that of `call`, is what follows "the MCP server".
    pub async fn tools(&self) -> Result<Vec<Tool>, String> {
        let reply = self.ask("tools/list", json!({}), None, LIST_TIMEOUT_MS).await?;
        reply.ok().and_then(|result| tools_of(&result)).ok_or_else(|| UNREADABLE.to_owned())
    }

    /// As the user whose token it is. After an error the call may have been carried out all the same.
    pub async fn call(&self, token: Option<&Secret>, wish: &Wish) -> Result<Outcome, String> {
        let params = json!({"name": wish.tool, "arguments": wish.arguments});
        let reply = self.ask("tools/call", params, token, CALL_TIMEOUT_MS).await?;
        outcome(reply).ok_or_else(|| UNREADABLE.to_owned())
    }

    async fn ask(
        &self,
        method: &'static str,
        params: Value,
        token: Option<&Secret>,
        timeout_ms: u64,
    ) -> Result<Reply, String> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = client::json_request(Method::POST, self.url.clone(), &body);
        // The server has tools of these names.
        let tool = body["params"]["name"].as_str().map(|name| format!("{method} {name}"));
        request.extensions_mut().insert(SpanName(tool.map_or(method.into(), Cow::Owned)));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert("mcp-protocol-version", HeaderValue::from_static(PROTOCOL_VERSION));
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .map_err(|_| "can't be given the user's token".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let answer = client::send(&self.client, request, timeout_ms).await.map_err(|reason| {
            warn!(method, "the MCP server can't be reached: {reason}");
            "can't be reached".to_owned()
        })?;
        if answer.status != StatusCode::OK {
            warn!(method, status = answer.status.as_u16(), "the MCP server refuses a request");
            return Err(format!("answered {}", answer.status));
        }
        reply(&answer.body).ok_or_else(|| {
            warn!(method, "the MCP server {UNREADABLE}");
            UNREADABLE.to_owned()
        })
    }
}

fn reply(body: &[u8]) -> Option<Reply> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match (answer.get("result"), answer.pointer("/error/message")) {
        (None, Some(message)) => Some(Err(message.as_str()?.to_owned())),
        (Some(result), None) => Some(Ok(result.clone())),
        _ => None,
    }
}

/// An error of the protocol, for arguments that don't fit for instance, is for the model to put right.
fn outcome(reply: Reply) -> Option<Outcome> {
    let result = match reply {
        Ok(result) => result,
        Err(text) => return Some(Outcome { text, value: Value::Null, failed: true }),
    };
    let parts = result["content"].as_array()?;
    let text: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    let text = text.join("\n");
    let failed = result["isError"].as_bool().unwrap_or_default();
    let fits = text.len() <= TEXT_MAX_BYTES;
    fits.then(|| Outcome { text, value: result["structuredContent"].clone(), failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Option<Outcome> {
        reply(body.to_string().as_bytes()).and_then(outcome)
    }

    #[test]
    fn results_and_errors_are_read() {
        let content = json!([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]);
        let result = json!({"content": content, "structuredContent": {"id": 1}, "isError": false});
        let wanted = Outcome { text: "a\nb".to_owned(), value: json!({"id": 1}), failed: false };
        assert_eq!(read(&json!({"jsonrpc": "2.0", "id": 1, "result": result})), Some(wanted));
        let failed = |text: &str| Some(Outcome { text: text.to_owned(), value: Value::Null, failed: true });
        let result = json!({"content": [{"type": "text", "text": "there is no such task"}], "isError": true});
        assert_eq!(read(&json!({"result": result})), failed("there is no such task"));
        assert_eq!(read(&json!({"error": {"code": -32602, "message": "missing field"}})), failed("missing field"));
    }

    #[test]
    fn nonsense_is_no_result() {
        let long = json!([{"type": "text", "text": "x".repeat(TEXT_MAX_BYTES + 1)}]);
        for wrong in [
            json!("hello"),
            json!({}),
            json!({"result": null}),
            json!({"result": {"content": "text"}}),
            json!({"result": {"content": long}}),
            json!({"error": {"message": 1}}),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:.100}");
        }
        assert!(reply(b"<html>").is_none());
    }
}
