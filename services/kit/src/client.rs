//! An HTTP client for services of the same cluster: plain HTTP, no redirects, and a bound on everything.

use std::{error::Error, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, Uri, header::CONTENT_TYPE},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use crate::{
    serve::{NotReady, Readiness},
    trace,
    url::BaseUrl,
};

pub type Client = legacy::Client<HttpConnector, Body>;

const CONNECT_TIMEOUT_MS: u64 = 2_000;
// Shorter than any probe's period: a connection made before a Service was in place, to whatever answered for it then, is
// not asked a second time.
const IDLE_TIMEOUT_MS: u64 = 500;
/// Shorter than the second that a probe waits by default, so that the reason gets through.
const READY_TIMEOUT_MS: u64 = 900;
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))
        .build(connector)
}

/// `/ready` of a service that is of use only with its backend.
pub async fn ready_with_backend(readiness: &Readiness, client: &Client, backend_url: &BaseUrl) -> Response {
    let outcome = match get(client, backend_url.join_static("/ready"), READY_TIMEOUT_MS).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => {
            let reason = format!("the backend is not ready: it answers {}", answer.status);
            Err(NotReady("backend_not_ready", reason))
        }
        Err(reason) => Err(NotReady("backend_unreachable", format!("the backend can't be reached: {reason}"))),
    };
    readiness.answer(outcome)
}

/// Sends, and reads the whole answer; the error says what went wrong in one line.
pub async fn send(client: &Client, mut request: Request<Body>, timeout_ms: u64) -> Result<Answer, String> {
    let mut span = trace::call(&mut request);
    let whole = async {
        let response = client.request(request).await.map_err(|err| reason(&err))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX_BYTES);
        let body = body.collect().await.map_err(|err| reason(err.as_ref()))?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    match timeout(Duration::from_millis(timeout_ms), whole).await {
        Ok(Ok(answer)) => {
            span.set_status(answer.status);
            Ok(answer)
        }
        Ok(Err(reason)) => {
            span.fail("unreachable");
            Err(reason)
        }
        Err(_) => {
            span.fail("timeout");
            Err(format!("no answer within {timeout_ms} ms"))
        }
    }
}

pub async fn get(client: &Client, uri: Uri, timeout_ms: u64) -> Result<Answer, String> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    send(client, request, timeout_ms).await
}

pub fn json_request(method: Method, uri: Uri, body: &serde_json::Value) -> Request<Body> {
    let mut request = Request::new(Body::from(body.to_string()));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a valid header"));
    request
}

/// hyper's own words are "client error (Connect)"; the cause is further down.
pub fn reason(err: &(dyn Error + 'static)) -> String {
    let mut words = vec![err.to_string()];
    let mut cause = err.source();
    while let Some(err) = cause {
        let text = err.to_string();
        if !words.contains(&text) {
            words.push(text);
        }
        cause = err.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_connection_names_its_cause() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let err = get(&client(), url.parse().unwrap(), 5_000).await.unwrap_err();
        assert!(err.contains("refused"), "{err}");
    }
}
