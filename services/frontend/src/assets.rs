//! The page and its assets, which are part of the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const ASSETS: [(&str, &str, &str); 4] = [
    ("/", HTML, include_str!("../assets/index.html")),
    ("/assets/app.css", CSS, include_str!("../assets/app.css")),
    ("/assets/app.js", JAVASCRIPT, include_str!("../assets/app.js")),
    ("/assets/icon.svg", SVG, include_str!("../assets/icon.svg")),
];

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        let tag = tag(content);
        router.route(path, get(async move |headers: HeaderMap| asset(&headers, kind, &tag, content)))
    })
}

/// Asked for each time, but sent only when it is not what the browser has: a new release shows at once.
fn asset(headers: &HeaderMap, kind: &'static str, tag: &HeaderValue, content: &'static str) -> Response {
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if headers.get(header::IF_NONE_MATCH) == Some(tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, kind)], content).into_response()
}

fn tag(content: &str) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).expect("hexadecimal digits are a valid header")
}
