//! `/api/tasks`.

mod bulk;
mod events;
mod fields;
mod order;
mod schemas;
pub mod store;
mod transfer;
mod undo;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, Serialize};
use time::{Date, OffsetDateTime, Time};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Asked, Body, ErrorBody, Part},
    paging::{Listed, Page},
};

pub use events::{Changes, HEARTBEAT_MS};
pub use fields::{day, moment, valid_day, valid_moment, valid_tags, valid_time_zone, valid_title};
pub use schemas::TimeZone;
pub use undo::take_back;

use schemas::{Tag, Title};

/// Names, in every answer to a write, what takes it back.
pub const UNDO_TOKEN: HeaderName = HeaderName::from_static("undo-token");

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, update, remove))
        .routes(routes!(complete))
        .routes(routes!(reopen))
        .merge(bulk::router())
        .merge(events::router())
        .merge(order::router())
        .merge(transfer::router())
        .merge(undo::router())
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Priority {
    Low,
    #[default]
    Medium,
    High,
}

#[derive(Clone, Debug, Deserialize, Serialize, sqlx::FromRow, ToSchema)]
pub struct Task {
    pub id: i32,
    pub title: String,
    pub description: Option<String>,
    pub completed: bool,
    pub priority: Priority,
    /// The day on which it is due, `YYYY-MM-DD`.
    #[serde(with = "day::option")]
    pub due_on: Option<Date>,
    /// The time of that day, `HH:MM`; `null` for the whole day.
    #[serde(with = "moment::option")]
    #[schema(value_type = Option<String>)]
    pub due_time: Option<Time>,
    /// The zone of the IANA in which day and time are meant.
    pub time_zone: String,
    /// When it becomes overdue: at its time, or at the end of its day.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    /// In lower case and in alphabetical order.
    pub tags: Vec<String>,
    /// Its place in the order by hand; the lowest comes first.
    pub position: f64,
    /// Grows with each change; the `ETag` is the same in quotes.
    pub version: i32,
    /// Whose it is; nobody else sees it.
    user_id: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    /// What takes back the write that returned this.
    #[serde(skip)]
    #[sqlx(default)]
    pub undo: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTask {
    #[schema(value_type = Title)]
    title: String,
    #[schema(max_length = 10000, pattern = "^[^\\x00]*$")]
    description: Option<String>,
    /// `low`, `medium` or `high`; `medium` unless it is given.
    #[serde(default)]
    priority: Priority,
    /// `YYYY-MM-DD`.
    #[schema(format = "date")]
    due_on: Option<String>,
    /// `HH:MM`; needs `due_on`.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    due_time: Option<String>,
    /// A zone of the IANA, `Europe/Berlin` for instance; `UTC` unless it is given.
    #[schema(value_type = Option<TimeZone>)]
    time_zone: Option<String>,
    /// At most 20, each of 1 to 50 characters without commas.
    #[serde(default)]
    #[schema(value_type = Vec<Tag>, max_items = 20)]
    tags: Vec<String>,
}

/// What is left out stays as it is.
#[derive(Debug, Default, Deserialize, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
struct TaskChange {
    #[schema(value_type = Option<Title>)]
    title: Option<String>,
    /// `null` takes the description away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 10000, pattern = "^[^\\x00]*$")]
    description: Option<Option<String>>,
    completed: Option<bool>,
    priority: Option<Priority>,
    /// `YYYY-MM-DD`; `null` takes day and time away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "date")]
    due_on: Option<Option<String>>,
    /// `HH:MM`; `null` for the whole day.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    due_time: Option<Option<String>>,
    /// A zone of the IANA.
    #[schema(value_type = Option<TimeZone>)]
    time_zone: Option<String>,
    /// All of them: others are taken away.
    #[schema(value_type = Option<Vec<Tag>>, max_items = 20)]
    tags: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Newest first.
    #[default]
    Created,
    /// As ordered by hand.
    Position,
    /// What is due first comes first, what is not due at all last.
    Due,
    /// High before medium before low.
    Priority,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only tasks that are completed, or only those that are not.
    completed: Option<bool>,
    /// `low`, `medium` or `high`.
    priority: Option<Priority>,
    /// Only tasks with this tag; with several, commas between, only tasks with all of them.
    #[param(pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    tag: Option<String>,
    /// Only tasks that are due on a day before this one, `YYYY-MM-DD`.
    #[param(format = "date")]
    due_before: Option<String>,
    /// Only tasks that are due on a day after this one, `YYYY-MM-DD`.
    #[param(format = "date")]
    due_after: Option<String>,
    /// Only open tasks whose day or time is over, or only the others.
    overdue: Option<bool>,
    /// Only tasks with each of these words in title or description, in any case; 200 characters at most.
    #[param(max_length = 200, pattern = "^[^\\x00]*$")]
    q: Option<String>,
    /// `created`, `position`, `due` or `priority`; `created` unless it is given.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// At most this many, 1 to 500; 100 unless it is given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    /// The `Next-Cursor` of the page before, asked for in the same order.
    #[param(pattern = "^[cdpr][0-9a-f]{48}$")]
    cursor: Option<String>,
}

/// A task as the answer to a read or a write of it, with its `ETag` and what takes the write back.
struct Answer(StatusCode, Task);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self(status, task) = self;
        let tag = HeaderValue::try_from(format!("\"{}\"", task.version)).expect("a number is a valid header");
        (status, [(header::ETAG, tag)], undo_header(task.undo.as_deref()), Json(task)).into_response()
    }
}

fn undo_header(token: Option<&str>) -> HeaderMap {
    let value = token.and_then(|token| HeaderValue::try_from(token).ok());
    value.into_iter().map(|value| (UNDO_TOKEN, value)).collect()
}

/// Only described; `Expected` reads it.
#[allow(dead_code, reason = "only described")]
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Precondition {
    /// The version in quotes that the task must still have.
    #[param(rename = "if-match", value_type = String, required = false, pattern = r#"^("[1-9][0-9]{0,8}"|\*)$"#)]
    if_match: Option<String>,
}

/// The version that the client believes to be the latest, from `If-Match`.
struct Expected(Option<i32>);

impl<S: Send + Sync> FromRequestParts<S> for Expected {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        version.map(|version| Self(Some(version))).ok_or_else(|| {
            ApiError::BadRequest("If-Match is not a task's version in quotes, as its ETag is".to_owned())
        })
    }
}

/// Create a task
#[utoipa::path(post, path = "/", tag = "tasks", request_body = NewTask, responses(
    (status = 201, description = "The task. Undo-Token takes it back", body = Task),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 422, description = "A field is missing, unknown or too long", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn create(State(backend): State<Backend>, caller: Caller, Body(new): Body<NewTask>) -> Result<Answer, ApiError> {
    let draft = fields::draft(new)?;
    let mut connection = backend.database.pool.acquire().await?;
    Ok(Answer(StatusCode::CREATED, store::create(&mut connection, &caller.user_id, &draft, None).await?))
}

/// List tasks, newest first unless another order is asked for
#[utoipa::path(get, path = "/", tag = "tasks", params(Listing), responses(
    (status = 200, description = "The tasks", body = Vec<Task>,
        headers(("next-cursor" = String, description = "The cursor of the next page, unless this is the last one"))),
    (status = 400, description = "The query can't be read", body = ErrorBody),
    (status = 422, description = "A parameter is out of range", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn list(
    State(backend): State<Backend>,
    caller: Caller,
    Asked(listing): Asked<Listing>,
) -> Result<Listed<Task>, ApiError> {
    let sort = listing.sort;
    let page = Page::of(store::letter(sort), listing.limit, listing.cursor.as_deref())?;
    let filter = fields::filter(listing)?;
    let tasks =
        store::find(&backend.database.pool, &caller.user_id, &filter, sort, page.after, page.rows_to_read()).await?;
    Ok(page.cut(tasks, |task| store::keys(task, sort)))
}

/// Read a task
#[utoipa::path(get, path = "/{id}", tag = "tasks", params(("id" = i32, Path)), responses(
    (status = 200, description = "The task. ETag is its version", body = Task),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn read(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<Answer, ApiError> {
    let mut connection = backend.database.pool.acquire().await?;
    Ok(Answer(StatusCode::OK, store::read(&mut connection, &caller.user_id, id).await?))
}

/// Change a task
///
/// With `If-Match`, only if that is still its version; the answer to a write that comes too late has the task as it is
/// now.
#[utoipa::path(
    patch, path = "/{id}", tag = "tasks", request_body = TaskChange,
    params(("id" = i32, Path), Precondition),
    responses(
        (status = 200, description = "The task as it is now. Undo-Token takes the change back", body = Task),
        (status = 400, description = "Not JSON, or the id or If-Match can't be read", body = ErrorBody),
        (status = 404, description = "There is no such task", body = ErrorBody),
        (status = 409, description = "It has another version by now", body = ErrorBody),
        (status = 422, description = "No field is given, or one is unknown or too long", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn update(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Expected(version): Expected,
    Body(change): Body<TaskChange>,
) -> Result<Answer, ApiError> {
    let change = fields::change(change)?;
    let mut connection = backend.database.pool.acquire().await?;
    Ok(Answer(StatusCode::OK, store::update(&mut connection, &caller.user_id, id, &change, version).await?))
}

/// Complete a task
///
/// Completing one that is completed changes nothing.
#[utoipa::path(
    post, path = "/{id}/complete", tag = "tasks",
    params(("id" = i32, Path), Precondition),
    responses(
        (status = 200, description = "The task as it is now. Undo-Token takes the change back", body = Task),
        (status = 400, description = "The id or If-Match can't be read", body = ErrorBody),
        (status = 404, description = "There is no such task", body = ErrorBody),
        (status = 409, description = "It is open, and has another version by now", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn complete(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Expected(version): Expected,
) -> Result<Answer, ApiError> {
    let mut connection = backend.database.pool.acquire().await?;
    Ok(Answer(StatusCode::OK, store::set_completed(&mut connection, &caller.user_id, id, true, version).await?))
}

/// Reopen a task
///
/// Reopening one that is open changes nothing.
#[utoipa::path(
    post, path = "/{id}/reopen", tag = "tasks",
    params(("id" = i32, Path), Precondition),
    responses(
        (status = 200, description = "The task as it is now. Undo-Token takes the change back", body = Task),
        (status = 400, description = "The id or If-Match can't be read", body = ErrorBody),
        (status = 404, description = "There is no such task", body = ErrorBody),
        (status = 409, description = "It is completed, and has another version by now", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn reopen(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Expected(version): Expected,
) -> Result<Answer, ApiError> {
    let mut connection = backend.database.pool.acquire().await?;
    Ok(Answer(StatusCode::OK, store::set_completed(&mut connection, &caller.user_id, id, false, version).await?))
}

/// Delete a task
#[utoipa::path(
    delete, path = "/{id}", tag = "tasks",
    params(("id" = i32, Path), Precondition),
    responses(
        (status = 204, description = "It is gone. Undo-Token brings it back"),
        (status = 400, description = "The id or If-Match can't be read", body = ErrorBody),
        (status = 404, description = "There is no such task", body = ErrorBody),
        (status = 409, description = "It has another version by now", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn remove(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Expected(version): Expected,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let mut connection = backend.database.pool.acquire().await?;
    let task = store::delete(&mut connection, &caller.user_id, id, version).await?;
    Ok((StatusCode::NO_CONTENT, undo_header(task.undo.as_deref())))
}

/// Tells a field that is null from one that is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> TaskChange {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn null_differs_from_absent() {
        assert_eq!(change("{}").description, None);
        assert_eq!(change(r#"{"description": null}"#).description, Some(None));
        assert_eq!(change(r#"{"description": "x"}"#).description, Some(Some("x".to_owned())));
        assert!(serde_json::from_str::<TaskChange>(r#"{"titel": "x"}"#).is_err());
    }

    #[tokio::test]
    async fn if_match_is_a_version_in_quotes() {
        for (value, wanted) in [("\"3\"", Ok(Some(3))), ("3", Err(())), ("*", Ok(None)), ("W/\"3\"", Err(()))] {
            let request = axum::http::Request::builder().header(header::IF_MATCH, value).body(()).unwrap();
            let expected = Expected::from_request_parts(&mut request.into_parts().0, &()).await;
            assert_eq!(expected.map(|Expected(version)| version).map_err(drop), wanted, "{value}");
        }
    }
}
