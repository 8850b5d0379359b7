//! The MCP server: the tasks as tools, over streamable HTTP at `/mcp`.

pub mod config;
mod tools;

use std::sync::Arc;

use axum::{Router, extract::State, middleware, response::Response, routing::get};
use kit::{
    Service,
    client::{self, Client},
    metrics::measure_requests,
    reply,
    serve::Readiness,
    trace,
    url::BaseUrl,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use crate::{config::Config, tools::Tools};

pub const SERVICE: Service =
    Service { name: "mcp", version: env!("CARGO_PKG_VERSION"), default_port: 8001, health_path: "/health" };

#[derive(Clone)]
pub struct Mcp {
    pub backend_url: BaseUrl,
    pub client: Client,
    pub readiness: Readiness,
}

pub async fn start(config: Config, readiness: Readiness) -> Router {
    app(Mcp { backend_url: config.backend_url, client: client::client(), readiness }, &config.allowed_hosts)
}

pub fn app(mcp: Mcp, allowed_hosts: &[String]) -> Router {
    // No sessions and no streams: any replica answers any request, and nothing holds up the drain. Host names are open
    // unless they are given, because a Service has several; a page that was rebound to us betrays itself by its
    // Origin, which no MCP client but a browser sends.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_allowed_hosts(allowed_hosts)
        .enforce_origin_validation();
    let tools = Tools::new(mcp.backend_url.clone(), mcp.client.clone());
    let service =
        StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(NeverSessionManager::default()), config);
    Router::new()
        .route("/health", get(reply::health))
        .route("/ready", get(ready))
        .route_service("/mcp", service)
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(mcp)
        .layer(middleware::from_fn(reply::log_requests))
        .layer(middleware::from_fn(measure_requests))
        .layer(middleware::from_fn(trace::follow))
}

async fn ready(State(mcp): State<Mcp>) -> Response {
    client::ready_with_backend(&mcp.readiness, &mcp.client, &mcp.backend_url).await
}
