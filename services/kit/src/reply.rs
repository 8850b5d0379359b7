//! What all services answer alike.

use axum::{
    Json,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::time::Instant;
use tracing::{debug, info};

/// A failure as RFC 9457 has it: a code for programs, a message for people.
pub fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Response {
    problem(status, problem_of(status, code, message.into()))
}

/// With a member more.
pub fn error_with(
    status: StatusCode,
    code: &str,
    message: impl Into<String>,
    name: &str,
    member: serde_json::Value,
) -> Response {
    let mut body = problem_of(status, code, message.into());
    body[name] = member;
    problem(status, body)
}

fn problem_of(status: StatusCode, code: &str, detail: String) -> serde_json::Value {
    let title = status.canonical_reason().unwrap_or_default();
    json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code})
}

fn problem(status: StatusCode, body: serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// `/health`: the process answers, nothing else is asked.
pub async fn health() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

pub fn ready() -> Response {
    Json(json!({"status": "ready"})).into_response()
}

pub fn not_ready(code: &str, reason: impl Into<String>) -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, code, reason)
}

pub async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path doesn't take that method")
}

/// A log line for each request; the probes' are kept for debugging, and why they fail is reported by `Readiness`.
pub async fn log_requests(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = began.elapsed().as_millis() as u64;
    if is_probe(&path) {
        debug!(%method, path, status, duration_ms, "request");
    } else {
        info!(%method, path, status, duration_ms, "request");
    }
    response
}

pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path.strip_prefix("/api").unwrap_or(path), "/health" | "/ready")
}
