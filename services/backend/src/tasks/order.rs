//! The order by hand: a task is moved between two others by a number between theirs.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, Expected, Precondition, Task, store};
use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Body, ErrorBody, Part},
};

/// A new task's position is the negative of its time in seconds, so that it comes before all others without a look at
/// them: what is moved before them goes less far than a person needs to add another.
const FIRST_STEP: f64 = 0.001;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(move_task))
}

/// One of the three.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Destination {
    /// The task that comes right after it.
    before: Option<i32>,
    /// The task that comes right before it.
    after: Option<i32>,
    /// `first` or `last` of all.
    to: Option<End>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum End {
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    Before(i32),
    After(i32),
    End(End),
}

/// Move a task in the order by hand
#[utoipa::path(
    post, path = "/{id}/move", tag = "tasks", request_body = Destination,
    params(("id" = i32, Path), Precondition),
    responses(
        (status = 200, description = "The task with its new position. Undo-Token moves it back", body = Task),
        (status = 400, description = "Not JSON, or the id or If-Match can't be read", body = ErrorBody),
        (status = 404, description = "There is no such task, or none to move it next to", body = ErrorBody),
        (status = 409, description = "It has another version by now", body = ErrorBody),
        (status = 422, description = "Not one destination is given", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn move_task(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Expected(version): Expected,
    Body(destination): Body<Destination>,
) -> Result<Answer, ApiError> {
    let goal = goal(id, destination)?;
    let mut transaction = backend.database.pool.begin().await?;
    let position = match place(&mut transaction, &caller.user_id, id, goal).await? {
        Some(position) => position,
        None => {
            renumber(&mut transaction, &caller.user_id).await?;
            place(&mut transaction, &caller.user_id, id, goal).await?.ok_or(ApiError::Internal)?
        }
    };
    let task = sqlx::query_as(
        "UPDATE tasks SET position = $4 WHERE id = $1 AND user_id = $2 AND ($3 IS NULL OR version = $3)
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    let task = task.bind(id).bind(&caller.user_id).bind(version).bind(position);
    let Some(task) = task.fetch_optional(&mut *transaction).await? else {
        return Err(store::stale(&mut transaction, &caller.user_id, id).await);
    };
    transaction.commit().await?;
    Ok(Answer(StatusCode::OK, task))
}

fn goal(id: i32, destination: Destination) -> Result<Goal, ApiError> {
    let goal = match destination {
        Destination { before: Some(other), after: None, to: None } => Goal::Before(other),
        Destination { before: None, after: Some(other), to: None } => Goal::After(other),
        Destination { before: None, after: None, to: Some(end) } => Goal::End(end),
        _ => return Err(ApiError::Invalid("give one of before, after and to".to_owned())),
    };
    if matches!(goal, Goal::Before(other) | Goal::After(other) if other == id) {
        return Err(ApiError::Invalid("a task can't be moved next to itself; name another".to_owned()));
    }
    Ok(goal)
}

/// The position in which the task reaches its goal; none where there is no number left.
async fn place(connection: &mut PgConnection, user_id: &str, id: i32, goal: Goal) -> Result<Option<f64>, ApiError> {
    let (lower, upper) = match goal {
        Goal::End(End::First) => {
            let first = sqlx::query_scalar("SELECT min(position) FROM tasks WHERE user_id = $1 AND id <> $2");
            (None, first.bind(user_id).bind(id).fetch_one(connection).await?)
        }
        Goal::End(End::Last) => {
            let last = sqlx::query_scalar("SELECT max(position) FROM tasks WHERE user_id = $1 AND id <> $2");
            (last.bind(user_id).bind(id).fetch_one(connection).await?, None)
        }
        Goal::Before(other) => {
            let upper = store::read(connection, user_id, other).await?.position;
            let lower = sqlx::query_scalar(
                "SELECT position FROM tasks WHERE user_id = $1 AND id NOT IN ($2, $3)
                     AND (position < $4 OR (position = $4 AND id > $3))
                 ORDER BY position DESC, id LIMIT 1",
            );
            let lower = lower.bind(user_id).bind(id).bind(other).bind(upper).fetch_optional(connection).await?;
            (lower, Some(upper))
        }
        Goal::After(other) => {
            let lower = store::read(connection, user_id, other).await?.position;
            let upper = sqlx::query_scalar(
                "SELECT position FROM tasks WHERE user_id = $1 AND id NOT IN ($2, $3)
                     AND (position > $4 OR (position = $4 AND id < $3))
                 ORDER BY position, id DESC LIMIT 1",
            );
            let upper = upper.bind(user_id).bind(id).bind(other).bind(lower).fetch_optional(connection).await?;
            (Some(lower), upper)
        }
    };
    Ok(between(lower, upper))
}

fn between(lower: Option<f64>, upper: Option<f64>) -> Option<f64> {
    let (lower, upper) = match (lower, upper) {
        (None, None) => return Some(0.0),
        (Some(lower), None) => return Some(lower + 1.0),
        (None, Some(upper)) => return Some(upper - FIRST_STEP),
        (Some(lower), Some(upper)) => (lower, upper),
    };
    let middle = lower + (upper - lower) / 2.0;
    (lower < middle && middle < upper).then_some(middle)
}

async fn renumber(connection: &mut PgConnection, user_id: &str) -> Result<(), ApiError> {
    // In one order, as whatever else changes several at once: so none of them waits for another that waits for it.
    sqlx::query("SELECT FROM tasks WHERE user_id = $1 ORDER BY id FOR UPDATE")
        .bind(user_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE tasks SET position = numbered.position
         FROM (SELECT id, row_number() OVER (ORDER BY position, id DESC)::double precision AS position
               FROM tasks WHERE user_id = $1) AS numbered
         WHERE tasks.id = numbered.id",
    )
    .bind(user_id)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_between_its_neighbors() {
        assert_eq!(between(None, None), Some(0.0));
        assert_eq!(between(Some(1.0), None), Some(2.0));
        assert_eq!(between(None, Some(1.0)), Some(0.999));
        assert_eq!(between(Some(1.0), Some(2.0)), Some(1.5));
        assert_eq!(between(Some(1.0), Some(1.0)), None);
        assert_eq!(between(Some(1.0), Some(1.0_f64.next_up())), None);
    }

    #[test]
    fn there_is_one_destination() {
        let none = Destination { before: None, after: None, to: None };
        assert_eq!(goal(1, Destination { before: Some(2), ..none }).unwrap(), Goal::Before(2));
        assert_eq!(goal(1, Destination { to: Some(End::Last), ..none }).unwrap(), Goal::End(End::Last));
        for wrong in [
            none,
            Destination { before: Some(2), after: Some(3), ..none },
            Destination { before: Some(1), ..none },
            Destination { after: Some(1), ..none },
        ] {
            assert!(goal(1, wrong).is_err(), "{wrong:?}");
        }
    }
}
