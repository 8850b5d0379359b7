//! A request over HTTP.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use ureq::http::request::Builder;
use ureq::http::{Request as HttpRequest, Response};

use crate::stages::smoke::{Attempt, Cause, Refusal, beginning, fill_json};

pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: Option<&'a Value>,
    pub status: u16,
}

/// An answer, and the MCP session that it names.
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub session: Option<String>,
}

/// Returns what was asked, and the body that came with the right status.
pub fn send_request(attempt: &Attempt, service: &str, wanted: &Request) -> Result<(String, String), Refusal> {
    let Request { method, path, headers, body, status } = wanted;
    let url = url(attempt, service, path)?;
    let asked = format!("{method} {url}");
    let mut request = builder(attempt, method, &url, headers);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| fill_json(body, &attempt.saved).to_string()).unwrap_or_default();
    let answer = send(attempt, request, body, &asked)?;
    let cause = |came| Cause::new(&asked, format!("status {status}"), came);
    let came = || format!("status {}: {}", answer.status, beginning(&answer.text));
    match answer.status {
        found if found == *status => Ok((asked, answer.text)),
        502..=504 => Err(Refusal::NotYet(cause(came()))),
        500 if Instant::now() < attempt.world.settled => Err(Refusal::NotYet(cause(came()))),
        _ => Err(Refusal::Wrong(cause(came()))),
    }
}

pub fn url(attempt: &Attempt, service: &str, path: &str) -> Result<String, Refusal> {
    let port = attempt.world.addresses.port(service, attempt.until)?;
    Ok(format!("http://127.0.0.1:{port}{}", attempt.fill(path)))
}

pub fn builder(attempt: &Attempt, method: &str, url: &str, headers: &BTreeMap<String, String>) -> Builder {
    let request = HttpRequest::builder().method(method).uri(url);
    headers.iter().fold(request, |request, (name, value)| request.header(name, attempt.fill(value)))
}

/// Sends a request and reads the answer, of whatever status.
pub fn send(attempt: &Attempt, request: Builder, body: String, asked: &str) -> Result<Answer, Refusal> {
    let cause = |came: String| Cause::new(asked, "an answer", came);
    let agent = &attempt.world.agent;
    let not_yet = |error: ureq::Error| Refusal::NotYet(cause(error.to_string()));
    let answered = match body.is_empty() {
        true => {
            let request = request.body(()).map_err(|error| Refusal::Wrong(cause(error.to_string())))?;
            agent.run(agent.configure_request(request).timeout_global(Some(attempt.timeout())).build())
        }
        false => {
            let request = request.body(body).map_err(|error| Refusal::Wrong(cause(error.to_string())))?;
            agent.run(agent.configure_request(request).timeout_global(Some(attempt.timeout())).build())
        }
    };
    let mut response: Response<ureq::Body> = answered.map_err(not_yet)?;
    let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_string);
    let text = response.body_mut().read_to_string().map_err(not_yet)?;
    Ok(Answer { status: response.status().as_u16(), text, session })
}
