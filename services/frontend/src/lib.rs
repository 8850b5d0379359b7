//! The frontend: the page and its assets, and the way through to the backend's `/api` and `/docs`.

mod assets;
pub mod config;
mod proxy;

use std::path::PathBuf;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{any, get},
};
use kit::{
    Service,
    client::{self, Client},
    metrics::measure_requests,
    reply,
    serve::Readiness,
    trace,
    url::BaseUrl,
};

use crate::config::Config;

pub const SERVICE: Service =
    Service { name: "frontend", version: env!("CARGO_PKG_VERSION"), default_port: 3000, health_path: "/api/health" };

#[derive(Clone)]
pub struct Frontend {
    pub backend_url: BaseUrl,
    pub client: Client,
    pub readiness: Readiness,
}

pub async fn start(config: Config, readiness: Readiness) -> Router {
    app(Frontend { backend_url: config.backend_url, client: client::client(), readiness }, assets::folder())
}

/// `assets` is the folder of the page and what it names.
pub fn app(frontend: Frontend, assets: PathBuf) -> Router {
    Router::new()
        .merge(assets::router(assets))
        .route("/api/health", get(reply::health))
        .route("/api/ready", get(ready))
        .route("/api/{*path}", any(proxy::pass_on))
        // The description of the API, and what it is shown with.
        .route("/docs", get(proxy::pass_on))
        .route("/docs/{*path}", get(proxy::pass_on))
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(frontend)
        .layer(middleware::from_fn(protect))
        .layer(middleware::from_fn(reply::log_requests))
        .layer(middleware::from_fn(measure_requests))
        .layer(middleware::from_fn(trace::follow))
}

/// The frontend is of use only with its backend.
async fn ready(State(frontend): State<Frontend>) -> Response {
    client::ready_with_backend(&frontend.readiness, &frontend.client, &frontend.backend_url).await
}

/// Nothing but what the frontend itself serves is loaded or run, and no other site frames it.
async fn protect(request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}
