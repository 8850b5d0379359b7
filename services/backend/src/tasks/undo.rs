//! Taking back what a write has done, for as long as nothing else was done to the same tasks.

use axum::{Json, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Task, undo_header};
use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Body, ErrorBody},
};

/// Shorter than the changes are kept.
const UNDO_MINUTES: i32 = 15;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(undo))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Undo {
    /// The `Undo-Token` of the write.
    token: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Undone {
    /// The tasks that are again as they were.
    pub tasks: Vec<Task>,
    /// The ids of those that are gone again.
    pub deleted: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct Change {
    task_id: i32,
    kind: String,
    version: i32,
    before: Option<Value>,
}

/// What one transaction did to one task.
#[derive(Debug, PartialEq)]
struct Whole {
    task_id: i32,
    /// The task before; none where there was none.
    before: Option<Value>,
    /// The version after; none where there is no task.
    version: Option<i32>,
}

/// Take back a write
///
/// Within 15 minutes, and only if nothing else was done to its tasks since. The answer has an `Undo-Token` of its own.
#[utoipa::path(post, path = "/undo", tag = "tasks", request_body = Undo, responses(
    (status = 200, description = "The tasks are as they were", body = Undone),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 404, description = "There is no such write, or it is too long ago", body = ErrorBody),
    (status = 409, description = "One of the tasks was changed since; nothing is done", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn undo(
    State(backend): State<Backend>,
    caller: Caller,
    Body(Undo { token }): Body<Undo>,
) -> Result<(HeaderMap, Json<Undone>), ApiError> {
    let (undone, token) = take_back(&backend.database.pool, &caller.user_id, &token).await?;
    Ok((undo_header(Some(&token)), Json(undone)))
}

/// What came of it, and what takes this back in turn.
pub async fn take_back(pool: &PgPool, user_id: &str, token: &str) -> Result<(Undone, String), ApiError> {
    const NOTHING: ApiError = ApiError::NotFound("change to undo any more");
    let transaction_id: i64 = token.parse().map_err(|_| NOTHING)?;
    let mut transaction = pool.begin().await?;
    let changes: Vec<Change> = sqlx::query_as(
        "SELECT task_id, kind, version, before FROM task_changes
         WHERE transaction_id = $1 AND user_id = $2 AND created_at > now() - make_interval(mins => $3)
         ORDER BY task_id, id",
    )
    .bind(transaction_id)
    .bind(user_id)
    .bind(UNDO_MINUTES)
    .fetch_all(&mut *transaction)
    .await?;
    if changes.is_empty() {
        return Err(NOTHING);
    }
    let mut undone = Undone { tasks: Vec::new(), deleted: Vec::new() };
    for whole in wholes(&changes) {
        match restore(&mut transaction, user_id, &whole).await? {
            Some(task) => undone.tasks.push(task),
            None => undone.deleted.push(whole.task_id),
        }
    }
    let token: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok((undone, token))
}

/// The changes are in the order of their tasks, and those of a task in the order in which they were made.
fn wholes(changes: &[Change]) -> Vec<Whole> {
    let of_tasks = changes.chunk_by(|one, next| one.task_id == next.task_id);
    let wholes = of_tasks.filter_map(|changes| {
        let (first, last) = (changes.first()?, changes.last()?);
        let version = (last.kind != "deleted").then_some(last.version);
        Some(Whole { task_id: first.task_id, before: first.before.clone(), version })
    });
    wholes.filter(|whole| whole.before.is_some() || whole.version.is_some()).collect()
}

/// Returns the task as it was, or none where there was none.
async fn restore(connection: &mut PgConnection, user_id: &str, whole: &Whole) -> Result<Option<Task>, ApiError> {
    let restored: Option<Task> = match (&whole.before, whole.version) {
        (None, version) => {
            let gone = sqlx::query_as("DELETE FROM tasks WHERE id = $1 AND user_id = $2 AND version = $3 RETURNING *");
            let gone: Option<Task> =
                gone.bind(whole.task_id).bind(user_id).bind(version).fetch_optional(connection).await?;
            return gone.map(|_| None).ok_or(ApiError::Conflict("changed_since", CHANGED_SINCE));
        }
        (Some(before), None) => {
            sqlx::query_as(
                "INSERT INTO tasks (id, user_id, title, description, completed, priority, due_on, due_time, time_zone,
                     tags, position, version, created_at)
                 OVERRIDING SYSTEM VALUE
                 SELECT id, user_id, title, description, completed, priority, due_on, due_time, time_zone,
                     tags, position, version + 1, created_at
                 FROM jsonb_populate_record(NULL::tasks, $1) WHERE user_id = $2
                 ON CONFLICT (id) DO NOTHING RETURNING *",
            )
            .bind(before)
            .bind(user_id)
            .fetch_optional(connection)
            .await?
        }
        (Some(before), Some(version)) => {
            sqlx::query_as(
                "UPDATE tasks SET title = was.title, description = was.description, completed = was.completed,
                     priority = was.priority, due_on = was.due_on, due_time = was.due_time,
                     time_zone = was.time_zone, tags = was.tags, position = was.position, updated_at = now()
                 FROM jsonb_populate_record(NULL::tasks, $1) AS was
                 WHERE tasks.id = was.id AND tasks.user_id = $2 AND tasks.version = $3 RETURNING tasks.*",
            )
            .bind(before)
            .bind(user_id)
            .bind(version)
            .fetch_optional(connection)
            .await?
        }
    };
    restored.map(Some).ok_or(ApiError::Conflict("changed_since", CHANGED_SINCE))
}

const CHANGED_SINCE: &str = "one of the tasks was changed again since; undo that first";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_of_one_transaction_are_taken_back_together() {
        let change = |task_id, kind: &str, version, before: Option<Value>| Change {
            task_id,
            kind: kind.to_owned(),
            version,
            before,
        };
        let changes = [
            change(1, "updated", 2, Some(json!("one"))),
            change(1, "updated", 3, Some(json!("later"))),
            change(2, "created", 1, None),
            change(2, "updated", 2, Some(json!("new"))),
            change(3, "updated", 5, Some(json!("three"))),
            change(3, "deleted", 5, Some(json!("later"))),
            change(4, "created", 1, None),
            change(4, "deleted", 1, Some(json!("new"))),
        ];
        let whole = |task_id, before, version| Whole { task_id, before, version };
        assert_eq!(
            wholes(&changes),
            [whole(1, Some(json!("one")), Some(3)), whole(2, None, Some(2)), whole(3, Some(json!("three")), None),]
        );
    }
}
