//! What the API and the assistant both do to a user's tasks. What is written returns its `undo`.

use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder};

use super::{
    Priority, Sort, Task,
    fields::{NEEDS_DUE_ON, unknown_time_zone},
};
use crate::{
    error::ApiError,
    paging::{key_of, time_of},
};

pub use super::fields::{Change, Draft, Filter};

/// Without a position it comes before all others.
pub async fn create(
    connection: &mut PgConnection,
    user_id: &str,
    draft: &Draft,
    position: Option<f64>,
) -> Result<Task, ApiError> {
    let task = sqlx::query_as(
        "INSERT INTO tasks
             (user_id, title, description, completed, priority, due_on, due_time, time_zone, tags, position)
         VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, 'UTC'), $9,
             coalesce($10, -extract(epoch FROM clock_timestamp())))
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    let task = task
        .bind(user_id)
        .bind(&draft.title)
        .bind(&draft.description)
        .bind(draft.completed)
        .bind(draft.priority)
        .bind(draft.due_on)
        .bind(draft.due_time)
        .bind(&draft.time_zone)
        .bind(&draft.tags)
        .bind(position);
    task.fetch_one(connection).await.map_err(explain)
}

pub async fn read(connection: &mut PgConnection, user_id: &str, id: i32) -> Result<Task, ApiError> {
    let task = sqlx::query_as("SELECT * FROM tasks WHERE id = $1 AND user_id = $2");
    let task: Option<Task> = task.bind(id).bind(user_id).fetch_optional(connection).await?;
    task.ok_or(ApiError::NotFound("task"))
}

/// What a task is sorted by: the sort's own key, when it was created, and its id.
pub type Keys = [i64; 3];

const PRIORITIES: &str = "array_position('{high,medium,low}', priority)";

/// Names the order in a cursor.
pub fn letter(sort: Sort) -> char {
    match sort {
        Sort::Created => 'c',
        Sort::Position => 'p',
        Sort::Due => 'd',
        Sort::Priority => 'r',
    }
}

pub fn keys(task: &Task, sort: Sort) -> Keys {
    let own = match sort {
        Sort::Created => 0,
        Sort::Position => task.position.to_bits().cast_signed(),
        Sort::Due => task.due_at.map_or(i64::MAX, key_of),
        Sort::Priority => match task.priority {
            Priority::High => 1,
            Priority::Medium => 2,
            Priority::Low => 3,
        },
    };
    [own, key_of(task.created_at), task.id.into()]
}

/// Those that come after the keys of one, where they are given.
pub async fn find(
    pool: &PgPool,
    user_id: &str,
    filter: &Filter,
    sort: Sort,
    after: Option<Keys>,
    limit: i64,
) -> Result<Vec<Task>, ApiError> {
    let mut query = QueryBuilder::new("SELECT * FROM tasks WHERE user_id = ");
    query.push_bind(user_id);
    push_filter(&mut query, filter);
    if let Some(after) = after {
        push_after(&mut query, sort, after);
    }
    match sort {
        Sort::Created => query.push(" ORDER BY created_at DESC, id DESC"),
        Sort::Position => query.push(" ORDER BY position, id DESC"),
        Sort::Due => query.push(" ORDER BY due_at, created_at DESC, id DESC"),
        Sort::Priority => query.push(format!(" ORDER BY {PRIORITIES}, created_at DESC, id DESC")),
    };
    query.push(" LIMIT ").push_bind(limit);
    Ok(query.build_query_as().fetch_all(pool).await?)
}

/// Only if the task has this version, where one is given.
pub async fn update(
    connection: &mut PgConnection,
    user_id: &str,
    id: i32,
    change: &Change,
    version: Option<i32>,
) -> Result<Task, ApiError> {
    let task = sqlx::query_as(
        "UPDATE tasks SET title = coalesce($4, title),
             description = CASE WHEN $5 THEN $6 ELSE description END,
             completed = coalesce($7, completed), priority = coalesce($8, priority),
             due_on = CASE WHEN $9 THEN $10 ELSE due_on END,
             due_time = CASE WHEN $11 THEN $12 ELSE due_time END,
             time_zone = coalesce($13, time_zone), tags = coalesce($14, tags), updated_at = now()
         WHERE id = $1 AND user_id = $2 AND ($3 IS NULL OR version = $3)
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    let task = task
        .bind(id)
        .bind(user_id)
        .bind(version)
        .bind(&change.title)
        .bind(change.description.is_some())
        .bind(change.description.as_ref().and_then(Option::as_ref))
        .bind(change.completed)
        .bind(change.priority)
        .bind(change.due_on.is_some())
        .bind(change.due_on.flatten())
        .bind(change.due_time.is_some())
        .bind(change.due_time.flatten())
        .bind(&change.time_zone)
        .bind(&change.tags);
    match task.fetch_optional(&mut *connection).await.map_err(explain)? {
        Some(task) => Ok(task),
        None => Err(stale(connection, user_id, id).await),
    }
}

/// Changes nothing, and has no `undo`, where the task is so already.
pub async fn set_completed(
    connection: &mut PgConnection,
    user_id: &str,
    id: i32,
    completed: bool,
    version: Option<i32>,
) -> Result<Task, ApiError> {
    let task = sqlx::query_as(
        "UPDATE tasks SET completed = $4, updated_at = now()
         WHERE id = $1 AND user_id = $2 AND ($3 IS NULL OR version = $3) AND completed <> $4
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    let task = task.bind(id).bind(user_id).bind(version).bind(completed);
    if let Some(task) = task.fetch_optional(&mut *connection).await? {
        return Ok(task);
    }
    let task = read(connection, user_id, id).await?;
    if task.completed == completed { Ok(task) } else { Err(ApiError::Stale(Box::new(task))) }
}

/// Returns what is gone.
pub async fn delete(
    connection: &mut PgConnection,
    user_id: &str,
    id: i32,
    version: Option<i32>,
) -> Result<Task, ApiError> {
    let task = sqlx::query_as(
        "DELETE FROM tasks WHERE id = $1 AND user_id = $2 AND ($3 IS NULL OR version = $3)
         RETURNING *, pg_current_xact_id()::text AS undo",
    );
    match task.bind(id).bind(user_id).bind(version).fetch_optional(&mut *connection).await? {
        Some(task) => Ok(task),
        None => Err(stale(connection, user_id, id).await),
    }
}

/// Whether the database knows it.
pub async fn is_time_zone(pool: &PgPool, name: &str) -> Result<bool, ApiError> {
    match sqlx::query("SELECT now() AT TIME ZONE $1").bind(name).execute(pool).await.map_err(explain) {
        Ok(_) => Ok(true),
        Err(ApiError::Invalid(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Why a write of a version found no row.
pub async fn stale(connection: &mut PgConnection, user_id: &str, id: i32) -> ApiError {
    match read(connection, user_id, id).await {
        Ok(task) => ApiError::Stale(Box::new(task)),
        Err(err) => err,
    }
}

fn push_after(query: &mut QueryBuilder<Postgres>, sort: Sort, [own, created, id]: Keys) {
    let push_older = |query: &mut QueryBuilder<Postgres>| {
        query.push("(created_at, id) < (").push_bind(time_of(created)).push(", ").push_bind(id).push(")");
    };
    query.push(" AND ");
    match sort {
        Sort::Created => return push_older(query),
        // What has no due day comes last.
        Sort::Due if own == i64::MAX => {
            query.push("due_at IS NULL AND ");
            return push_older(query);
        }
        Sort::Position => {
            let position = f64::from_bits(own.cast_unsigned());
            query.push("position >= ").push_bind(position).push(" AND (position > ").push_bind(position);
            query.push(" OR id < ").push_bind(id);
        }
        Sort::Due => {
            query.push("(due_at > ").push_bind(time_of(own));
            query.push(" OR due_at IS NULL OR due_at = ").push_bind(time_of(own)).push(" AND ");
            push_older(query);
        }
        Sort::Priority => {
            query.push(format!("({PRIORITIES} > ")).push_bind(own);
            query.push(format!(" OR {PRIORITIES} = ")).push_bind(own).push(" AND ");
            push_older(query);
        }
    }
    query.push(")");
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(completed) = filter.completed {
        query.push(" AND completed = ").push_bind(completed);
    }
    if let Some(priority) = filter.priority {
        query.push(" AND priority = ").push_bind(priority);
    }
    if !filter.tags.is_empty() {
        query.push(" AND tags @> ").push_bind(filter.tags.clone());
    }
    if let Some(day) = filter.due_before {
        query.push(" AND due_on < ").push_bind(day);
    }
    if let Some(day) = filter.due_after {
        query.push(" AND due_on > ").push_bind(day);
    }
    if let Some(overdue) = filter.overdue {
        query.push(" AND (NOT completed AND due_at IS NOT NULL AND due_at <= now()) = ").push_bind(overdue);
    }
    for word in &filter.words {
        let pattern = format!("%{}%", escape_pattern(word));
        query.push(" AND (title ILIKE ").push_bind(pattern.clone());
        query.push(" OR description ILIKE ").push_bind(pattern).push(")");
    }
}

fn escape_pattern(word: &str) -> String {
    word.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

/// What only the database knows to be wrong.
pub fn explain(err: sqlx::Error) -> ApiError {
    // invalid_parameter_value: nothing but the zone is a parameter in this sense.
    const UNKNOWN_ZONE: &str = "22023";
    let Some(known) = err.as_database_error() else { return err.into() };
    if known.code().is_some_and(|code| code == UNKNOWN_ZONE) {
        unknown_time_zone()
    } else if known.constraint() == Some("tasks_due_time_needs_due_on") {
        ApiError::Invalid(NEEDS_DUE_ON.to_owned())
    } else {
        err.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_pattern() {
        assert_eq!(escape_pattern(r"50%_a\b"), r"50\%\_a\\b");
    }
}
