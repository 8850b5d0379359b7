//! The page and its assets, which lie in a folder beside the program.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use kit::reply;
use tower_http::compression::CompressionLayer;

/// By the ending of a name; what has another is not served.
const KINDS: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// Where the image has them.
pub fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.with_file_name("assets")
}

pub fn router<S: Clone + Send + Sync + 'static>(folder: PathBuf) -> Router<S> {
    let folder: Arc<std::path::Path> = folder.into();
    let page = folder.clone();
    Router::new()
        .route("/", get(async move |headers: HeaderMap| asset(&headers, &page, "index.html").await))
        .route(
            "/assets/{name}",
            get(async move |headers: HeaderMap, Path(name): Path<String>| asset(&headers, &folder, &name).await),
        )
        .layer(CompressionLayer::new())
}

/// Read and asked for each time, but sent only when it is not what the browser has: what is new in the folder shows at once.
async fn asset(headers: &HeaderMap, folder: &std::path::Path, name: &str) -> Response {
    // A name with a slash would lead elsewhere, and one that begins with a dot is nothing to show.
    let kind = name.rsplit_once('.').and_then(|(_, ending)| KINDS.iter().find(|(known, _)| *known == ending));
    let Some((_, kind)) = kind.filter(|_| !name.starts_with('.') && !name.contains(['/', '\\', '\0'])) else {
        return reply::not_found().await;
    };
    let content = match tokio::fs::read(folder.join(name)).await {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return reply::not_found().await,
        Err(error) => {
            tracing::error!(name, %error, "an asset cannot be read");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let tag = tag(&content);
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, *kind)], content).into_response()
}

/// A weak one: it stands for the content, compressed or not.
fn tag(content: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    HeaderValue::try_from(format!("W/\"{:016x}\"", hasher.finish())).expect("hexadecimal digits are a valid header")
}
