//! The backend: tasks over HTTP, kept in PostgreSQL. Each resource is a module that exports its router.

pub mod config;
pub mod database;
mod docs;
mod error;
mod tasks;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use kit::{
    Service, reply,
    serve::{NotReady, Readiness},
};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{config::Config, database::Database, error::ApiError};

pub const SERVICE: Service =
    Service { name: "backend", version: env!("CARGO_PKG_VERSION"), default_port: 8000, health_path: "/health" };

const BODY_MAX_BYTES: usize = 256 * 1024;

#[derive(Clone)]
pub struct Backend {
    pub database: Database,
    pub readiness: Readiness,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Todo Chatbot backend", description = "Tasks, kept in PostgreSQL."),
    tags((name = "tasks", description = "What is to be done"))
)]
struct Description;

/// Opens the pool, has the migrations run beside it, and makes the router: `/health` answers at once.
pub async fn start(config: Config, readiness: Readiness) -> Router {
    let database = Database::open(&config);
    tokio::spawn(database.clone().migrate_until_done());
    app(Backend { database, readiness }, &config.cors_origins)
}

pub fn app(backend: Backend, cors_origins: &[HeaderValue]) -> Router {
    let (api, openapi) =
        OpenApiRouter::with_openapi(Description::openapi()).nest("/api/tasks", tasks::router()).split_for_parts();
    let api = api
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(backend.clone(), refuse_before_migrations));
    Router::new()
        .merge(api)
        .route("/health", get(reply::health))
        .route("/ready", get(ready))
        .merge(docs::router(&openapi))
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(backend)
        .layer(cors(cors_origins))
        .layer(middleware::from_fn(reply::log_requests))
}

async fn ready(State(backend): State<Backend>) -> Response {
    let outcome = backend.database.check().await;
    backend.readiness.answer(outcome.map_err(|reason| NotReady("database_unavailable", reason)))
}

/// Queries would fail with «relation does not exist», which is no answer for a client.
async fn refuse_before_migrations(
    State(backend): State<Backend>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // The reason names hosts; it is for those who ask `/ready`.
    backend
        .database
        .migrated()
        .map_err(|_| ApiError::Unavailable("the database is not ready yet; try again in a moment"))?;
    Ok(next.run(request).await)
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, HeaderName::from_static("x-request-id")])
}
