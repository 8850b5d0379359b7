//! `/api/conversations`: what the user says to the assistant, and what it answers.

mod messages;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Asked, Body, ErrorBody, Part},
    paging::{Listed, Page, key_of, time_of},
};

const TITLE_MAX_CHARS: usize = 200;
/// With the name, or the beginning of what was said first.
const COLUMNS: &str = "conversations.id, conversations.user_id, conversations.created_at, conversations.updated_at,
    coalesce(conversations.title, (
        SELECT left(split_part(content, E'\\n', 1), 80) FROM messages
        WHERE conversation_id = conversations.id AND role = 'user' ORDER BY messages.id LIMIT 1
    )) AS title";

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(begin, list)).routes(routes!(read, rename, remove)).merge(messages::router())
}

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
struct Conversation {
    id: i32,
    /// Whose it is; nobody else sees it.
    user_id: String,
    /// Its name, or else the beginning of what was said first; null until then.
    title: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When something was said last.
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTitle {
    /// `null`: it goes by its first message again.
    #[schema(required = true, min_length = 1, max_length = 200)]
    #[serde(deserialize_with = "Option::deserialize")]
    title: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// At most this many, 1 to 500; 100 unless it is given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    /// The `Next-Cursor` of the page before.
    #[param(pattern = "^c[0-9a-f]{32}$")]
    cursor: Option<String>,
    /// Only those in whose name or messages this is found.
    q: Option<String>,
}

/// Begin a conversation
#[utoipa::path(post, path = "/", tag = "conversations", responses(
    (status = 201, description = "The conversation", body = Conversation),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn begin(State(backend): State<Backend>, caller: Caller) -> Result<(StatusCode, Json<Conversation>), ApiError> {
    let conversation = sqlx::query_as("INSERT INTO conversations (user_id) VALUES ($1) RETURNING *")
        .bind(caller.user_id)
        .fetch_one(&backend.database.pool)
        .await?;
    Ok((StatusCode::CREATED, Json(conversation)))
}

/// List conversations, the one in which something was said last first
#[utoipa::path(get, path = "/", tag = "conversations", params(Listing), responses(
    (status = 200, description = "The conversations", body = Vec<Conversation>,
        headers(("next-cursor" = String, description = "The cursor of the next page, unless this is the last one"))),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 422, description = "The limit is out of range, or the cursor is none", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn list(
    State(backend): State<Backend>,
    caller: Caller,
    Asked(listing): Asked<Listing>,
) -> Result<Listed<Conversation>, ApiError> {
    let page = Page::of('c', listing.limit, listing.cursor.as_deref())?;
    let [updated, id] = page.after.unwrap_or([i64::MAX; 2]);
    let words = listing.q.as_deref().map(|words| words.replace('\0', "").trim().to_lowercase());
    let conversations = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM conversations
         WHERE user_id = $1 AND ($2 IS NULL OR strpos(lower(conversations.title), $2) > 0 OR EXISTS (
             SELECT FROM messages WHERE conversation_id = conversations.id AND strpos(lower(content), $2) > 0
         ))
         AND (conversations.updated_at, conversations.id) < ($3, $4)
         ORDER BY conversations.updated_at DESC, conversations.id DESC LIMIT $5"
    )))
    .bind(caller.user_id)
    .bind(words.filter(|words| !words.is_empty()))
    .bind(time_of(updated))
    .bind(id)
    .bind(page.rows_to_read())
    .fetch_all(&backend.database.pool)
    .await?;
    Ok(page.cut(conversations, |row: &Conversation| [key_of(row.updated_at), row.id.into()]))
}

/// Read a conversation
#[utoipa::path(get, path = "/{id}", tag = "conversations", params(("id" = i32, Path)), responses(
    (status = 200, description = "The conversation", body = Conversation),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 404, description = "There is no such conversation", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn read(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
) -> Result<Json<Conversation>, ApiError> {
    find(&backend, &caller, id).await.map(Json)
}

/// Name a conversation
#[utoipa::path(
    patch, path = "/{id}", tag = "conversations", params(("id" = i32, Path)), request_body = NewTitle,
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        (status = 400, description = "Not JSON, or the id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 422, description = "The title is empty or too long", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn rename(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Body(new): Body<NewTitle>,
) -> Result<Json<Conversation>, ApiError> {
    let title = new.title.as_deref().map(valid_title).transpose()?;
    sqlx::query("UPDATE conversations SET title = $3 WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(&caller.user_id)
        .bind(title)
        .execute(&backend.database.pool)
        .await?;
    find(&backend, &caller, id).await.map(Json)
}

/// Delete a conversation with its messages
#[utoipa::path(delete, path = "/{id}", tag = "conversations", params(("id" = i32, Path)), responses(
    (status = 204, description = "It is gone"),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 404, description = "There is no such conversation", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn remove(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<StatusCode, ApiError> {
    let done = sqlx::query("DELETE FROM conversations WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(caller.user_id)
        .execute(&backend.database.pool)
        .await?;
    if done.rows_affected() == 0 { Err(ApiError::NotFound("conversation")) } else { Ok(StatusCode::NO_CONTENT) }
}

async fn find(backend: &Backend, caller: &Caller, id: i32) -> Result<Conversation, ApiError> {
    let found = format!("SELECT {COLUMNS} FROM conversations WHERE id = $1 AND user_id = $2");
    let conversation = sqlx::query_as(AssertSqlSafe(found))
        .bind(id)
        .bind(&caller.user_id)
        .fetch_optional(&backend.database.pool)
        .await?;
    conversation.ok_or(ApiError::NotFound("conversation"))
}

fn valid_title(title: &str) -> Result<&str, ApiError> {
    let title = title.trim();
    let chars = title.chars().count();
    match () {
        () if chars == 0 => Err(ApiError::Invalid("title is empty; null takes it away".to_owned())),
        () if chars > TITLE_MAX_CHARS => {
            Err(ApiError::Invalid(format!("title has {chars} characters; at most {TITLE_MAX_CHARS} fit")))
        }
        () if title.contains(char::is_control) => Err(ApiError::Invalid("title is more than one line".to_owned())),
        () => Ok(title),
    }
}
