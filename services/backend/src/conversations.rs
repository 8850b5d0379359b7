//! `/api/conversations`: what the user says to the assistant, and what it answers.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Backend,
    assistant::Place,
    auth::Caller,
    error::{ApiError, Asked, Body, ErrorBody, Page, Part},
};

const SAID_MAX_CHARS: usize = 4_000;
/// Until the user's is known.
const TIME_ZONE: &str = "UTC";
/// As the table allows.
const ANSWER_MAX_CHARS: usize = 20_000;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(begin, list)).routes(routes!(read, remove)).routes(routes!(say, messages))
}

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
struct Conversation {
    id: i32,
    /// Whose it is; nobody else sees it.
    user_id: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
struct Message {
    id: i32,
    conversation_id: i32,
    /// `user` or `assistant`.
    role: Role,
    content: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    #[schema(min_length = 1, max_length = 4000)]
    content: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Exchange {
    /// What the user said.
    user: Message,
    /// What the assistant answered.
    assistant: Message,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// At most this many, 1 to 500; 100 unless it is given.
    limit: Option<i64>,
    /// Leave out this many of the newest.
    offset: Option<i64>,
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

/// List conversations, newest first
#[utoipa::path(get, path = "/", tag = "conversations", params(Listing), responses(
    (status = 200, description = "The conversations", body = Vec<Conversation>),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 422, description = "The limit or the offset is out of range", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn list(
    State(backend): State<Backend>,
    caller: Caller,
    Asked(listing): Asked<Listing>,
) -> Result<Json<Vec<Conversation>>, ApiError> {
    let page = Page::of(listing.limit, listing.offset)?;
    let conversations =
        sqlx::query_as("SELECT * FROM conversations WHERE user_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3")
            .bind(caller.user_id)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(&backend.database.pool)
            .await?;
    Ok(Json(conversations))
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

/// Say something, and be answered
///
/// The assistant does what it is asked to, to the tasks of who asks. Where it fails, what was said is kept.
#[utoipa::path(
    post, path = "/{id}/messages", tag = "conversations", params(("id" = i32, Path)), request_body = NewMessage,
    responses(
        (status = 201, description = "Both messages", body = Exchange),
        (status = 400, description = "Not JSON, or the id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 422, description = "Nothing is said, or too much", body = ErrorBody),
        (status = 502, description = "The language model can't be reached, or fails", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn say(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Exchange>), ApiError> {
    let said = valid_content(&new.content)?;
    let user = keep(&backend, &caller, id, Role::User, said).await?;
    let place =
        Place { pool: &backend.database.pool, user_id: &caller.user_id, conversation_id: id, time_zone: TIME_ZONE };
    let answer: String = backend.assistant.answer(place, said).await?.replace('\0', "");
    let answer = answer.char_indices().nth(ANSWER_MAX_CHARS).map_or(answer.as_str(), |(end, _)| &answer[..end]);
    let assistant = keep(&backend, &caller, id, Role::Assistant, answer).await?;
    Ok((StatusCode::CREATED, Json(Exchange { user, assistant })))
}

/// List the latest messages of a conversation, oldest first
#[utoipa::path(
    get, path = "/{id}/messages", tag = "conversations", params(("id" = i32, Path), Listing),
    responses(
        (status = 200, description = "The messages", body = Vec<Message>),
        (status = 400, description = "The id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 422, description = "The limit or the offset is out of range", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn messages(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Asked(listing): Asked<Listing>,
) -> Result<Json<Vec<Message>>, ApiError> {
    let page = Page::of(listing.limit, listing.offset)?;
    find(&backend, &caller, id).await?;
    let messages = sqlx::query_as(
        "SELECT * FROM
             (SELECT * FROM messages WHERE conversation_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3) AS latest
         ORDER BY id",
    )
    .bind(id)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&backend.database.pool)
    .await?;
    Ok(Json(messages))
}

async fn find(backend: &Backend, caller: &Caller, id: i32) -> Result<Conversation, ApiError> {
    let conversation = sqlx::query_as("SELECT * FROM conversations WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(&caller.user_id)
        .fetch_optional(&backend.database.pool)
        .await?;
    conversation.ok_or(ApiError::NotFound("conversation"))
}

async fn keep(backend: &Backend, caller: &Caller, id: i32, role: Role, content: &str) -> Result<Message, ApiError> {
    // Only into a conversation that is the caller's, and still there.
    let message = sqlx::query_as(
        "INSERT INTO messages (conversation_id, role, content)
         SELECT id, $3, $4 FROM conversations WHERE id = $1 AND user_id = $2 RETURNING *",
    )
    .bind(id)
    .bind(&caller.user_id)
    .bind(role)
    .bind(content)
    .fetch_optional(&backend.database.pool)
    .await?;
    message.ok_or(ApiError::NotFound("conversation"))
}

fn valid_content(content: &str) -> Result<&str, ApiError> {
    let content = content.trim();
    let chars = content.chars().count();
    if chars == 0 {
        return Err(ApiError::Invalid("content is empty; say something".to_owned()));
    }
    if chars > SAID_MAX_CHARS {
        return Err(ApiError::Invalid(format!("content has {chars} characters; at most {SAID_MAX_CHARS} are read")));
    }
    if content.contains('\0') {
        return Err(ApiError::Invalid("content holds a NUL character; take it out".to_owned()));
    }
    Ok(content)
}
