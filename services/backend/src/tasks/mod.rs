//! `/api/tasks`.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Asked, Body, ErrorBody, Page, Part},
};

const TITLE_MAX_CHARS: usize = 200;
const DESCRIPTION_MAX_CHARS: usize = 10_000;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read, update, remove)).routes(routes!(complete))
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

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Task {
    pub id: i32,
    pub title: String,
    pub description: Option<String>,
    pub completed: bool,
    pub priority: Priority,
    /// Whose it is; nobody else sees it.
    user_id: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTask {
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(max_length = 10000)]
    description: Option<String>,
    /// `low`, `medium` or `high`; `medium` unless it is given.
    #[serde(default)]
    priority: Priority,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TaskChange {
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// `null` takes the description away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 10000)]
    description: Option<Option<String>>,
    completed: Option<bool>,
    priority: Option<Priority>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only tasks that are completed, or only those that are not.
    completed: Option<bool>,
    /// At most this many, 1 to 500; 100 unless it is given.
    limit: Option<i64>,
    /// Leave out this many of the newest.
    offset: Option<i64>,
}

/// Create a task
#[utoipa::path(post, path = "/", tag = "tasks", request_body = NewTask, responses(
    (status = 201, description = "The task", body = Task),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 422, description = "A field is missing, unknown or too long", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn create(
    State(backend): State<Backend>,
    caller: Caller,
    Body(new): Body<NewTask>,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let description = new.description.as_deref();
    let task = store::add(&backend.database.pool, &caller.user_id, &new.title, description, new.priority).await?;
    Ok((StatusCode::CREATED, Json(task)))
}

/// List tasks, newest first
#[utoipa::path(get, path = "/", tag = "tasks", params(Listing), responses(
    (status = 200, description = "The tasks", body = Vec<Task>),
    (status = 400, description = "The query can't be read", body = ErrorBody),
    (status = 422, description = "The limit or the offset is out of range", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn list(
    State(backend): State<Backend>,
    caller: Caller,
    Asked(listing): Asked<Listing>,
) -> Result<Json<Vec<Task>>, ApiError> {
    let page = Page::of(listing.limit, listing.offset)?;
    Ok(Json(store::list(&backend.database.pool, &caller.user_id, listing.completed, page).await?))
}

/// Read a task
#[utoipa::path(get, path = "/{id}", tag = "tasks", params(("id" = i32, Path)), responses(
    (status = 200, description = "The task", body = Task),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn read(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<Json<Task>, ApiError> {
    let task = sqlx::query_as("SELECT * FROM tasks WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(caller.user_id)
        .fetch_optional(&backend.database.pool)
        .await?;
    found(task).map(Json)
}

/// Change a task
#[utoipa::path(patch, path = "/{id}", tag = "tasks", params(("id" = i32, Path)), request_body = TaskChange, responses(
    (status = 200, description = "The task as it is now", body = Task),
    (status = 400, description = "Not JSON, or the id is not a number", body = ErrorBody),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 422, description = "No field is given, or one is unknown or too long", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn update(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Body(change): Body<TaskChange>,
) -> Result<Json<Task>, ApiError> {
    let TaskChange { title, description, completed, priority } = &change;
    if title.is_none() && description.is_none() && completed.is_none() && priority.is_none() {
        return Err(ApiError::Invalid("nothing to change; give title, description, completed or priority".to_owned()));
    }
    let title = change.title.as_deref().map(valid_title).transpose()?;
    let describes = change.description.is_some();
    let description = change.description.flatten();
    let description = description.as_deref().map(valid_description).transpose()?;
    let task = sqlx::query_as(
        "UPDATE tasks SET title = coalesce($2, title),
             description = CASE WHEN $3 THEN $4 ELSE description END,
             completed = coalesce($5, completed), priority = coalesce($6, priority), updated_at = now()
         WHERE id = $1 AND user_id = $7 RETURNING *",
    )
    .bind(id)
    .bind(title)
    .bind(describes)
    .bind(description)
    .bind(change.completed)
    .bind(change.priority)
    .bind(caller.user_id)
    .fetch_optional(&backend.database.pool)
    .await?;
    found(task).map(Json)
}

/// Complete a task
///
/// Completing one that is completed changes nothing.
#[utoipa::path(post, path = "/{id}/complete", tag = "tasks", params(("id" = i32, Path)), responses(
    (status = 200, description = "The task as it is now", body = Task),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn complete(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<Json<Task>, ApiError> {
    store::complete(&backend.database.pool, &caller.user_id, id).await.map(Json)
}

/// Delete a task
#[utoipa::path(delete, path = "/{id}", tag = "tasks", params(("id" = i32, Path)), responses(
    (status = 204, description = "It is gone"),
    (status = 400, description = "The id is not a number", body = ErrorBody),
    (status = 404, description = "There is no such task", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn remove(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<StatusCode, ApiError> {
    store::remove(&backend.database.pool, &caller.user_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the API and the assistant both do to a user's tasks.
pub mod store {
    use sqlx::PgPool;

    use super::{Page, Priority, Task, found, valid_description, valid_title};
    use crate::error::ApiError;

    pub async fn add(
        pool: &PgPool,
        user_id: &str,
        title: &str,
        description: Option<&str>,
        priority: Priority,
    ) -> Result<Task, ApiError> {
        let title = valid_title(title)?;
        let description = description.map(valid_description).transpose()?;
        let task = sqlx::query_as(
            "INSERT INTO tasks (title, description, priority, user_id) VALUES ($1, $2, $3, $4) RETURNING *",
        );
        Ok(task.bind(title).bind(description).bind(priority).bind(user_id).fetch_one(pool).await?)
    }

    /// Newest first.
    pub async fn list(
        pool: &PgPool,
        user_id: &str,
        completed: Option<bool>,
        page: Page,
    ) -> Result<Vec<Task>, ApiError> {
        let tasks = sqlx::query_as(
            "SELECT * FROM tasks WHERE user_id = $1 AND ($2::boolean IS NULL OR completed = $2)
             ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4",
        );
        Ok(tasks.bind(user_id).bind(completed).bind(page.limit).bind(page.offset).fetch_all(pool).await?)
    }

    pub async fn complete(pool: &PgPool, user_id: &str, id: i32) -> Result<Task, ApiError> {
        let task = sqlx::query_as(
            "UPDATE tasks SET updated_at = CASE WHEN completed THEN updated_at ELSE now() END, completed = true
             WHERE id = $1 AND user_id = $2 RETURNING *",
        );
        found(task.bind(id).bind(user_id).fetch_optional(pool).await?)
    }

    /// Returns what is gone.
    pub async fn remove(pool: &PgPool, user_id: &str, id: i32) -> Result<Task, ApiError> {
        let task = sqlx::query_as("DELETE FROM tasks WHERE id = $1 AND user_id = $2 RETURNING *");
        found(task.bind(id).bind(user_id).fetch_optional(pool).await?)
    }
}

fn found(task: Option<Task>) -> Result<Task, ApiError> {
    task.ok_or(ApiError::NotFound("task"))
}

fn valid_title(title: &str) -> Result<&str, ApiError> {
    let title = title.trim();
    let chars = title.chars().count();
    if chars == 0 {
        return Err(ApiError::Invalid("title is empty; give it 1 to 200 characters".to_owned()));
    }
    if chars > TITLE_MAX_CHARS {
        return Err(ApiError::Invalid(format!("title has {chars} characters; at most {TITLE_MAX_CHARS} are kept")));
    }
    if title.chars().any(char::is_control) {
        return Err(ApiError::Invalid("title holds a control character; use one line of text".to_owned()));
    }
    Ok(title)
}

fn valid_description(description: &str) -> Result<&str, ApiError> {
    let chars = description.chars().count();
    if chars > DESCRIPTION_MAX_CHARS {
        let message = format!("description has {chars} characters; at most {DESCRIPTION_MAX_CHARS} are kept");
        return Err(ApiError::Invalid(message));
    }
    // PostgreSQL keeps every character but this one.
    if description.contains('\0') {
        return Err(ApiError::Invalid("description holds a NUL character; take it out".to_owned()));
    }
    Ok(description)
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
    fn titles_are_trimmed_and_bounded() {
        assert_eq!(valid_title("  milk ").unwrap(), "milk");
        assert_eq!(valid_title(&"ä".repeat(200)).unwrap().chars().count(), 200);
        for wrong in ["", " \t ", "a\nb", "a\0", &"ä".repeat(201)] {
            assert!(matches!(valid_title(wrong), Err(ApiError::Invalid(_))), "{wrong:?}");
        }
    }

    #[test]
    fn descriptions_may_have_lines_but_no_nul() {
        assert!(valid_description("a\nb").is_ok());
        assert!(valid_description("a\0b").is_err());
        assert!(valid_description(&"x".repeat(10_001)).is_err());
    }

    #[test]
    fn null_differs_from_absent() {
        assert_eq!(change("{}").description, None);
        assert_eq!(change(r#"{"description": null}"#).description, Some(None));
        assert_eq!(change(r#"{"description": "x"}"#).description, Some(Some("x".to_owned())));
        assert!(serde_json::from_str::<TaskChange>(r#"{"titel": "x"}"#).is_err());
    }
}
