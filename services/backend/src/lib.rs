//! The backend: tasks over HTTP, kept in PostgreSQL. Each resource is a module that exports its router.

pub mod assistant;
mod auth;
pub mod config;
mod conversations;
pub mod database;
mod docs;
mod error;
mod limits;
mod metrics;
mod origin;
mod paging;
mod tasks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use kit::{
    Service,
    metrics::measure_requests,
    reply,
    serve::{NotReady, Readiness},
    trace,
};
use tokio::time::timeout;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    assistant::{Answers, Assistant},
    auth::Auth,
    config::Config,
    database::Database,
    error::ApiError,
    limits::Limits,
};

pub use metrics::TOOLS as COUNTED_TOOLS;
pub use tasks::Changes;

pub const SERVICE: Service =
    Service { name: "backend", version: env!("CARGO_PKG_VERSION"), default_port: 8000, health_path: "/health" };

const BODY_MAX_BYTES: usize = 256 * 1024;
/// Longer than a connection is waited for and a statement may take, shorter than the frontend waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Shorter than the frontend waits.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Backend {
    pub database: Database,
    pub readiness: Readiness,
    pub auth: Arc<Auth>,
    pub assistant: Arc<Assistant>,
    pub answers: Arc<Answers>,
    pub changes: Arc<Changes>,
    pub limits: Arc<Limits>,
    /// Until the head of an answer is there.
    pub request_timeout: Duration,
    /// For which a message waits while others of its conversation are answered.
    pub turn_timeout: Duration,
}

impl Backend {
    /// Connects to nothing yet.
    pub fn open(config: &Config, readiness: Readiness) -> Self {
        let auth = Arc::new(Auth::open(&config.auth));
        let assistant = Arc::new(Assistant::open(&config.assistant));
        let database = Database::open(config);
        let changes = Arc::new(Changes::new(database.pool.clone(), tasks::HEARTBEAT_MS));
        let limits = Arc::new(Limits::new(&config.limits));
        let answers = Arc::default();
        let (request_timeout, turn_timeout) = (REQUEST_TIMEOUT, TURN_TIMEOUT);
        Self { database, readiness, auth, assistant, answers, changes, limits, request_timeout, turn_timeout }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Todo Chatbot backend", description = "Tasks, kept in PostgreSQL, and an assistant that keeps them."),
    tags((name = "tasks", description = "What is to be done"), (name = "auth", description = "Who is asking"), (name = "conversations", description = "Talking to the assistant")),
    modifiers(&Bearer),
    security((), ("bearer" = []))
)]
struct Description;

/// Tells that a token may be sent, which only the modes with accounts ask for.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
        components.add_security_scheme("bearer", bearer);
    }
}

/// Opens the pool, has the migrations run beside it, and makes the router: `/health` answers at once.
pub async fn start(config: Config, readiness: Readiness) -> Router {
    let backend = Backend::open(&config, readiness);
    metrics::register(&backend.database.pool);
    tokio::spawn(backend.database.clone().migrate_until_done());
    tokio::spawn(backend.changes.clone().prune_forever());
    app(backend, &config.cors_origins)
}

pub fn app(backend: Backend, cors_origins: &[HeaderValue]) -> Router {
    let (api, mut openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/auth", auth::router())
        .nest("/api/conversations", conversations::router())
        .nest("/api/tasks", tasks::router())
        .split_for_parts();
    error::describe(&mut openapi);
    let api = api
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(backend.clone(), announce_writes))
        .layer(middleware::from_fn_with_state(backend.clone(), limits::limit_messages))
        .layer(middleware::from_fn_with_state(backend.clone(), end_in_time))
        .layer(middleware::from_fn_with_state(backend.clone(), refuse_before_migrations))
        .layer(middleware::from_fn_with_state(cors_origins.to_vec(), origin::refuse_other_sites));
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
        .layer(middleware::from_fn(measure_requests))
        .layer(middleware::from_fn(trace::follow))
}

async fn ready(State(backend): State<Backend>) -> Response {
    let outcome = backend.database.check().await;
    backend.readiness.answer(outcome.map_err(|reason| NotReady("database_unavailable", reason)))
}

/// Queries would fail with "relation does not exist", which is no answer for a client.
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

/// A database that neither answers nor closes its connections would keep a request for ever. Only the head of the answer
/// is waited for: a stream may last. The assistant has deadlines of its own.
async fn end_in_time(State(backend): State<Backend>, request: Request, next: Next) -> Result<Response, ApiError> {
    if limits::is_message(&request) {
        return Ok(next.run(request).await);
    }
    timeout(backend.request_timeout, next.run(request)).await.map_err(|_| ApiError::Timeout)
}

/// Who watches his tasks hears of a write at once where it is this replica's, and soon where it is another's.
async fn announce_writes(State(backend): State<Backend>, request: Request, next: Next) -> Response {
    let is_write = request.method() != Method::GET;
    let response = next.run(request).await;
    if is_write && response.status().is_success() {
        backend.changes.look();
    }
    response
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            header::IF_MATCH,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([header::ETAG, tasks::UNDO_TOKEN, paging::NEXT_CURSOR])
}
