//! Questions to the backend. It decides by the caller's own token what he may do.

use axum::{
    body::Body,
    http::{
        HeaderValue, Method, Request,
        header::{AUTHORIZATION, IF_MATCH},
        request::Parts,
        uri::PathAndQuery,
    },
};
use kit::{
    client::{self, Answer, Client},
    trace::TRACEPARENT,
    url::BaseUrl,
};
use serde_json::{Value, json};

const BACKEND_TIMEOUT_MS: u64 = 15_000;

#[derive(Clone)]
pub struct Backend {
    url: BaseUrl,
    client: Client,
}

impl Backend {
    pub fn new(url: BaseUrl, client: Client) -> Self {
        Self { url, client }
    }

    /// `rest` is what follows `/api/tasks`, percent-encoded.
    pub async fn read(&self, caller: &Parts, rest: &str) -> Result<Value, String> {
        let answer = self.send(caller, Method::GET, rest, None, None).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// A page of a list, and the cursor of the next one, unless it is the last.
    pub async fn list(&self, caller: &Parts, rest: &str) -> Result<(Value, Option<String>), String> {
        let answer = self.send(caller, Method::GET, rest, None, None).await?;
        let cursor = answer.headers.get("next-cursor").and_then(|value| value.to_str().ok());
        Ok((serde_json::from_slice(&answer.body).unwrap_or_default(), cursor.map(str::to_owned)))
    }

    /// Returns an object, with what takes the write back. Only if the task has this version, where one is given.
    pub async fn write(
        &self,
        caller: &Parts,
        method: Method,
        rest: &str,
        body: Option<&Value>,
        version: Option<i32>,
    ) -> Result<Value, String> {
        let answer = self.send(caller, method, rest, body, version).await?;
        let mut value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!({}));
        if let (Some(token), Some(object)) = (answer.headers.get("undo-token"), value.as_object_mut()) {
            object.insert("undo_token".to_owned(), json!(token.to_str().unwrap_or_default()));
        }
        Ok(value)
    }

    async fn send(
        &self,
        caller: &Parts,
        method: Method,
        rest: &str,
        body: Option<&Value>,
        version: Option<i32>,
    ) -> Result<Answer, String> {
        let path: PathAndQuery = format!("/api/tasks{rest}")
            .parse()
            .map_err(|_| "the arguments can't be sent; make them shorter".to_owned())?;
        let uri = self.url.join(&path);
        let mut request = match body {
            Some(body) => client::json_request(method, uri, body),
            None => {
                let mut request = Request::new(Body::empty());
                *request.method_mut() = method;
                *request.uri_mut() = uri;
                request
            }
        };
        // The trace comes with the caller too: his request is answered by another task.
        for name in [AUTHORIZATION, TRACEPARENT] {
            if let Some(value) = caller.headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(version) = version {
            let tag = HeaderValue::try_from(format!("\"{version}\"")).expect("a number is a valid header");
            request.headers_mut().insert(IF_MATCH, tag);
        }
        let answer = client::send(&self.client, request, BACKEND_TIMEOUT_MS).await.map_err(|reason| {
            tracing::warn!("the backend can't be reached: {reason}");
            "the backend can't be reached; try again in a moment".to_owned()
        })?;
        if answer.status.is_success() { Ok(answer) } else { Err(refusal(&answer)) }
    }
}

/// In the backend's own words. A write that comes too late gets the task as it is now.
fn refusal(answer: &Answer) -> String {
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = value["detail"].as_str().map(str::to_owned);
    let message = message.unwrap_or_else(|| format!("the backend answered {}", answer.status));
    if value["current"].is_object() { format!("{message}. It is now: {}", value["current"]) } else { message }
}
