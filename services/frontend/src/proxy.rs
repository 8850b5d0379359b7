//! What is passed on to the backend: streamed both ways, and unchanged but for what belongs to one connection.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
        header::{
            CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
        },
        uri::PathAndQuery,
    },
    response::Response,
};
use kit::{client, reply, trace};
use tokio::time::timeout;
use tracing::warn;

use crate::Frontend;

/// Until the head of the answer is there; its body may stream for as long as it likes.
const HEAD_TIMEOUT_MS: u64 = 30_000;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const OF_ONE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

pub async fn pass_on(State(frontend): State<Frontend>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    *request.uri_mut() = frontend.backend_url.join(&path);
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    remove_connection_headers(headers);
    // Our server answers this one itself as soon as the body is read.
    headers.remove(EXPECT);
    if let Some(host) = headers.remove(HOST) {
        headers.insert("x-forwarded-host", host);
    }
    headers.entry("x-forwarded-proto").or_insert(HeaderValue::from_static("http"));
    if let Some(peer) = peer {
        add_forwarded_for(headers, peer);
    }

    let mut span = trace::call(&mut request);
    match timeout(Duration::from_millis(HEAD_TIMEOUT_MS), frontend.client.request(request)).await {
        Ok(Ok(mut response)) => {
            remove_connection_headers(response.headers_mut());
            span.answer(response.map(Body::new))
        }
        Ok(Err(err)) => {
            span.fail("unreachable");
            warn!(%path, "the backend can't be reached: {}", client::reason(&err));
            let message = "the backend can't be reached; try again in a moment";
            reply::error(StatusCode::BAD_GATEWAY, "backend_unreachable", message)
        }
        Err(_) => {
            span.fail("timeout");
            warn!(%path, "the backend didn't answer within {HEAD_TIMEOUT_MS} ms");
            let message = "the backend takes too long; try again in a moment";
            reply::error(StatusCode::GATEWAY_TIMEOUT, "backend_timeout", message)
        }
    }
}

/// The peer comes last, after what proxies before us have said, or a client has made up: the backend believes only as much
/// of it, from the end, as there are proxies.
fn add_forwarded_for(headers: &mut HeaderMap, peer: IpAddr) {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let entries: Vec<String> = before.map(str::to_owned).chain([peer.to_canonical().to_string()]).collect();
    let value = HeaderValue::try_from(entries.join(", ")).expect("values of headers and an address make a value");
    headers.insert(FORWARDED_FOR, value);
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_comes_after_what_others_have_said() {
        let mut headers = HeaderMap::new();
        let peer = "192.0.2.1".parse().unwrap();
        add_forwarded_for(&mut headers, peer);
        assert_eq!(headers[FORWARDED_FOR], "192.0.2.1");
        headers.append(FORWARDED_FOR, HeaderValue::from_static("made up"));
        add_forwarded_for(&mut headers, "::ffff:192.0.2.2".parse().unwrap());
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>(), ["192.0.2.1, made up, 192.0.2.2"]);
    }

    #[test]
    fn headers_of_one_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close, X-Mine"));
        headers.append(CONNECTION, HeaderValue::from_static("x-other"));
        for name in ["x-mine", "x-other", "keep-alive", "te", "upgrade", "x-kept"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        remove_connection_headers(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }
}
