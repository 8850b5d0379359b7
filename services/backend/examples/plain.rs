//! What `cargo xtask bench app` compares the backend with: the same list and create of the same table by axum and sqlx, and
//! nothing else. No accounts, no limits, no checks, no logs, no metrics, no description.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};
use time::{Date, OffsetDateTime, Time, serde::rfc3339};
use tokio::net::TcpListener;

/// The user of a backend without accounts.
const USER_ID: &str = "local";
/// As the backend has it unless DATABASE_MAX_CONNECTIONS is set.
const CONNECTIONS_MAX: u32 = 10;
const LIST_DEFAULT: i64 = 100;

#[derive(Serialize, sqlx::FromRow)]
struct Task {
    id: i32,
    title: String,
    description: Option<String>,
    completed: bool,
    priority: String,
    due_on: Option<Date>,
    due_time: Option<Time>,
    time_zone: String,
    #[serde(with = "rfc3339::option")]
    due_at: Option<OffsetDateTime>,
    tags: Vec<String>,
    position: f64,
    version: i32,
    user_id: String,
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "rfc3339")]
    updated_at: OffsetDateTime,
}

#[derive(Deserialize)]
struct Listing {
    limit: Option<i64>,
}

#[derive(Deserialize)]
struct New {
    title: String,
}

#[tokio::main]
async fn main() {
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(&of("DATABASE_URL")).await;
    let app = Router::new().route("/api/tasks", get(list).post(create)).with_state(pool.expect("a database answers"));
    let port = of("PORT").parse().expect("PORT is a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    axum::serve(listener, app).await.expect("it serves");
}

async fn list(State(pool): State<PgPool>, Query(listing): Query<Listing>) -> Result<Json<Vec<Task>>, StatusCode> {
    let tasks =
        sqlx::query_as("SELECT * FROM tasks WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET 0")
            .bind(USER_ID)
            .bind(listing.limit.unwrap_or(LIST_DEFAULT))
            .fetch_all(&pool)
            .await;
    tasks.map(Json).map_err(fail)
}

async fn create(State(pool): State<PgPool>, Json(new): Json<New>) -> Result<(StatusCode, Json<Task>), StatusCode> {
    let task = sqlx::query_as(
        "INSERT INTO tasks (user_id, title, completed, priority, time_zone, tags, position)
         VALUES ($1, $2, false, 'medium', 'UTC', '{}', -extract(epoch FROM clock_timestamp()))
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    let task = task.bind(USER_ID).bind(new.title).fetch_one(&pool).await;
    task.map(|task| (StatusCode::CREATED, Json(task))).map_err(fail)
}

fn fail(error: sqlx::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
