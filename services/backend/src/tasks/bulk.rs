//! One action on many tasks, in one transaction: all of it is done, or nothing.

use axum::{Json, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Task, TaskChange, fields, schemas::Tag, store, undo_header};
use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Body, ErrorBody},
};

const IDS_MAX: usize = 200;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(act))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Action {
    Complete {
        #[schema(min_items = 1, max_items = 200)]
        ids: Vec<i32>,
    },
    Reopen {
        #[schema(min_items = 1, max_items = 200)]
        ids: Vec<i32>,
    },
    Delete {
        #[schema(min_items = 1, max_items = 200)]
        ids: Vec<i32>,
    },
    /// The same change to each: another day for instance.
    Update {
        #[schema(min_items = 1, max_items = 200)]
        ids: Vec<i32>,
        change: TaskChange,
    },
    /// Adds some tags, takes others away, and leaves the rest.
    Tag {
        #[schema(min_items = 1, max_items = 200)]
        ids: Vec<i32>,
        #[serde(default)]
        #[schema(value_type = Vec<Tag>, max_items = 20)]
        add: Vec<String>,
        #[serde(default)]
        #[schema(value_type = Vec<Tag>, max_items = 20)]
        remove: Vec<String>,
    },
}

/// What is done to one task.
enum Step {
    Complete(bool),
    Delete,
    Update(store::Change),
    Tag { add: Vec<String>, remove: Vec<String> },
}

#[derive(Debug, Serialize, ToSchema)]
struct Outcomes {
    /// One for each id, in the order in which they were given.
    results: Vec<Outcome>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Outcome {
    id: i32,
    status: Status,
    /// As it is now; `null` where there is none.
    task: Option<Task>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Changed,
    /// It was so already.
    Unchanged,
    Deleted,
    NotFound,
}

/// Do the same to many tasks
///
/// In one transaction. `action` is `complete`, `reopen`, `delete`, `update` with a `change`, or `tag` with tags to `add`
/// and to `remove`; `ids` are 1 to 200.
#[utoipa::path(post, path = "/bulk", tag = "tasks", request_body = Action, responses(
    (status = 200, description = "What came of each. Undo-Token takes all of it back", body = Outcomes),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 422, description = "A field is missing, unknown or out of range; nothing is done", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn act(
    State(backend): State<Backend>,
    caller: Caller,
    Body(action): Body<Action>,
) -> Result<(HeaderMap, Json<Outcomes>), ApiError> {
    let (ids, step) = step(action)?;
    let mut transaction = backend.database.pool.begin().await?;
    // In one order, so that two of these don't wait for one another.
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let mut undo = None;
    let mut outcomes = Vec::new();
    for id in sorted {
        let outcome = apply(&mut transaction, &caller.user_id, id, &step).await?;
        undo = undo.or_else(|| outcome.task.as_ref().and_then(|task| task.undo.clone()));
        outcomes.push(outcome);
    }
    transaction.commit().await?;
    let results = ids.iter().filter_map(|id| outcomes.iter().find(|outcome| outcome.id == *id).cloned());
    let results = results
        .map(|outcome| Outcome { task: outcome.task.filter(|_| outcome.status != Status::Deleted), ..outcome })
        .collect();
    Ok((undo_header(undo.as_deref()), Json(Outcomes { results })))
}

fn step(action: Action) -> Result<(Vec<i32>, Step), ApiError> {
    let (ids, step) = match action {
        Action::Complete { ids } => (ids, Step::Complete(true)),
        Action::Reopen { ids } => (ids, Step::Complete(false)),
        Action::Delete { ids } => (ids, Step::Delete),
        Action::Update { ids, change } => (ids, Step::Update(fields::change(change)?)),
        Action::Tag { ids, add, remove } => {
            let (add, remove) = (fields::valid_tags(&add)?, fields::valid_tags(&remove)?);
            if add.is_empty() && remove.is_empty() {
                return Err(ApiError::Invalid("no tags are given; use add or remove".to_owned()));
            }
            (ids, Step::Tag { add, remove })
        }
    };
    let mut once = Vec::new();
    for id in ids {
        if !once.contains(&id) {
            once.push(id);
        }
        if once.len() > IDS_MAX {
            return Err(ApiError::Invalid(format!("there are more than {IDS_MAX} ids; use 1 to {IDS_MAX} at once")));
        }
    }
    if once.is_empty() {
        return Err(ApiError::Invalid(format!("ids is empty; use 1 to {IDS_MAX}")));
    }
    Ok((once, step))
}

async fn apply(connection: &mut PgConnection, user_id: &str, id: i32, step: &Step) -> Result<Outcome, ApiError> {
    let done = match step {
        Step::Complete(completed) => store::set_completed(connection, user_id, id, *completed, None).await,
        Step::Delete => store::delete(connection, user_id, id, None).await,
        Step::Update(change) => store::update(connection, user_id, id, change, None).await,
        Step::Tag { add, remove } => tag(connection, user_id, id, add, remove).await,
    };
    match done {
        Ok(task) => {
            let status = match (step, &task.undo) {
                (Step::Delete, _) => Status::Deleted,
                (_, Some(_)) => Status::Changed,
                (_, None) => Status::Unchanged,
            };
            Ok(Outcome { id, status, task: Some(task) })
        }
        Err(ApiError::NotFound(_)) => Ok(Outcome { id, status: Status::NotFound, task: None }),
        Err(ApiError::Invalid(reason)) => Err(ApiError::Invalid(format!("task {id}: {reason}"))),
        Err(other) => Err(other),
    }
}

async fn tag(
    connection: &mut PgConnection,
    user_id: &str,
    id: i32,
    add: &[String],
    remove: &[String],
) -> Result<Task, ApiError> {
    sqlx::query("SELECT FROM tasks WHERE id = $1 AND user_id = $2 FOR UPDATE")
        .bind(id)
        .bind(user_id)
        .execute(&mut *connection)
        .await?;
    let task = store::read(connection, user_id, id).await?;
    let tags: Vec<String> = task.tags.iter().filter(|tag| !remove.contains(tag)).chain(add).cloned().collect();
    let tags = fields::valid_tags(&tags)?;
    if tags == task.tags {
        return Ok(task);
    }
    let change = store::Change { tags: Some(tags), ..store::Change::default() };
    store::update(connection, user_id, id, &change, None).await
}
