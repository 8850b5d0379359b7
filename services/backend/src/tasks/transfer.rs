//! Tasks as a file, JSON or CSV: out, and in again.

mod records;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Priority, Task,
    fields::{Draft, unknown_time_zone},
    schemas::{Tag, TimeZone, Title},
    store, undo_header,
};
use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, Asked, ErrorBody, Mistake},
};

/// As nginx takes it.
const FILE_MAX_BYTES: usize = 1024 * 1024;
const FILE_MAX_TASKS: usize = 1_000;
const MISTAKES_MAX: usize = 100;
/// Read from the database at once.
const CHUNK: i64 = 500;
/// Between the positions of tasks of one file.
const STEP: f64 = 0.000_1;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new()
        .routes(routes!(import))
        .layer(DefaultBodyLimit::max(FILE_MAX_BYTES))
        .merge(OpenApiRouter::new().routes(routes!(export)))
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Export {
    /// `json` or `csv`; `json` unless it is given.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    /// The ids of the new tasks, in the order of the file.
    ids: Vec<i32>,
}

/// A task of a file. `null` is the same as left out.
#[allow(dead_code, reason = "only described")]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FileTask {
    #[schema(value_type = Title)]
    title: String,
    #[schema(max_length = 10000, pattern = "^[^\\x00]*$")]
    description: Option<String>,
    completed: Option<bool>,
    priority: Option<Priority>,
    /// `YYYY-MM-DD`.
    #[schema(format = "date")]
    due_on: Option<String>,
    /// `HH:MM`; needs `due_on`.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    due_time: Option<String>,
    #[schema(value_type = Option<TimeZone>)]
    time_zone: Option<String>,
    #[schema(value_type = Option<Vec<Tag>>, max_items = 20)]
    tags: Option<Vec<String>>,
    /// Passed over, as what follows.
    id: Option<Value>,
    user_id: Option<Value>,
    position: Option<Value>,
    version: Option<Value>,
    due_at: Option<Value>,
    created_at: Option<Value>,
    updated_at: Option<Value>,
}

/// Export all tasks, in the order by hand
///
/// In CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe; an import takes it away again.
#[utoipa::path(get, path = "/export", tag = "tasks", params(Export), responses(
    (status = 200, description = "The tasks as a file", content((Vec<Task> = "application/json"), (String = "text/csv"))),
    (status = 400, description = "The query can't be read", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn export(
    State(backend): State<Backend>,
    caller: Caller,
    Asked(Export { format }): Asked<Export>,
) -> Result<Response, ApiError> {
    let (kind, name) = match format {
        Format::Json => ("application/json", "attachment; filename=\"tasks.json\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"tasks.csv\""),
    };
    let pool = backend.database.pool.clone();
    // The first part before the head of the answer, so that a database that is away gets its own status.
    let first = chunk(&pool, &caller.user_id, None).await?;
    let begin = Some((first, true));
    let parts = stream::try_unfold((begin, pool, caller.user_id), move |(part, pool, user_id)| async move {
        let Some((tasks, is_first)) = part else { return Ok::<_, sqlx::Error>(None) };
        let last = tasks.last().map(|task| (task.position, task.id));
        let is_last = i64::try_from(tasks.len()) != Ok(CHUNK);
        let text = match format {
            Format::Json => records::to_json(&tasks, is_first, is_last),
            Format::Csv => records::to_csv(&tasks, is_first),
        };
        let next = match last.filter(|_| !is_last) {
            Some(last) => Some((chunk(&pool, &user_id, Some(last)).await?, false)),
            None => None,
        };
        Ok(Some((text, (next, pool, user_id))))
    });
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(parts)).into_response())
}

async fn chunk(pool: &PgPool, user_id: &str, after: Option<(f64, i32)>) -> Result<Vec<Task>, sqlx::Error> {
    let (position, id) = after.unwrap_or((f64::NEG_INFINITY, i32::MIN));
    let tasks = sqlx::query_as(
        "SELECT * FROM tasks WHERE user_id = $1 AND (position > $2 OR (position = $2 AND id < $3))
         ORDER BY position, id DESC LIMIT $4",
    );
    tasks.bind(user_id).bind(position).bind(id).bind(CHUNK).fetch_all(pool).await
}

/// Import tasks
///
/// A list of tasks as JSON, or CSV whose first line names its columns: `title`, and any of `description`, `completed`,
/// `priority`, `due_on`, `due_time`, `time_zone` and `tags`; what else an export has is passed over. They come before the
/// tasks that are there. At most 1000 tasks and 1 MiB. If one is wrong, nothing is imported, and all mistakes are listed.
#[utoipa::path(
    post, path = "/import", tag = "tasks",
    request_body(content((Vec<FileTask> = "application/json"), (String = "text/csv"))),
    responses(
        (status = 201, description = "The ids of the tasks. Undo-Token takes all of them back", body = Imported),
        (status = 400, description = "Not JSON, or not UTF-8", body = ErrorBody),
        (status = 413, description = "The file is too large", body = ErrorBody),
        (status = 415, description = "Neither JSON nor CSV", body = ErrorBody),
        (status = 422, description = "Something in the file is wrong; nothing is imported", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn import(
    State(backend): State<Backend>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, HeaderMap, Json<Imported>), ApiError> {
    let format = format_of(request.headers())?;
    let file = Bytes::from_request(request, &backend).await.map_err(|err| match err.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::Body(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the file is larger than 1 MiB; import it in parts".to_owned(),
        ),
        status => ApiError::Body(status, "the file did not arrive whole; send it again".to_owned()),
    })?;
    let text = std::str::from_utf8(&file)
        .map_err(|_| ApiError::BadRequest("the file is not UTF-8; save it as UTF-8".to_owned()))?;
    // Spreadsheets begin with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let records = match format {
        Format::Json => records::from_json(text)?,
        Format::Csv => records::from_csv(text)?,
    };
    if records.len() > FILE_MAX_TASKS {
        let message = format!("the file has {} tasks; at most {FILE_MAX_TASKS} are imported at once", records.len());
        return Err(ApiError::Invalid(message));
    }
    let pool = &backend.database.pool;
    let drafts = valid(pool, records).await?;
    let (ids, undo) = keep(pool, &caller.user_id, &drafts).await?;
    Ok((StatusCode::CREATED, undo_header(undo.as_deref()), Json(Imported { ids })))
}

fn format_of(headers: &HeaderMap) -> Result<Format, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "text/csv" => Ok(Format::Csv),
        _ => {
            let message = "the file is neither application/json nor text/csv; say which by Content-Type".to_owned();
            Err(ApiError::Body(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

/// All of them, or all mistakes.
async fn valid(pool: &PgPool, records: Vec<records::Record>) -> Result<Vec<Draft>, ApiError> {
    let mut drafts = Vec::new();
    let mut mistakes = Vec::new();
    let mut zones: Vec<(String, bool)> = Vec::new();
    for record in records {
        let (place, draft) = record.draft();
        let draft = match draft {
            Ok(draft) => draft,
            Err(messages) => {
                mistakes.extend(messages.into_iter().map(|message| Mistake { place: place.clone(), message }));
                continue;
            }
        };
        if let Some(zone) = &draft.time_zone {
            let known = zones.iter().find(|(name, _)| name == zone).map(|(_, is_known)| *is_known);
            let is_known = match known {
                Some(is_known) => is_known,
                None => store::is_time_zone(pool, zone).await?,
            };
            zones.push((zone.clone(), is_known));
            if !is_known {
                mistakes.extend(records::message(unknown_time_zone()).map(|message| Mistake { place, message }));
            }
        }
        drafts.push(draft);
    }
    if mistakes.is_empty() {
        return Ok(drafts);
    }
    let count = mistakes.len();
    let listed = if count > MISTAKES_MAX { format!(", of which {MISTAKES_MAX} are listed") } else { String::new() };
    mistakes.truncate(MISTAKES_MAX);
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    Err(ApiError::Mistakes(format!("the file has {count} {noun}{listed}; nothing is imported"), mistakes))
}

/// In the order of the file, before all that are there.
async fn keep(pool: &PgPool, user_id: &str, drafts: &[Draft]) -> Result<(Vec<i32>, Option<String>), ApiError> {
    let first = -(OffsetDateTime::now_utc().unix_timestamp_nanos() as f64) / 1e9;
    let mut transaction = pool.begin().await?;
    let mut ids = Vec::new();
    let mut undo = None;
    for (number, draft) in drafts.iter().enumerate() {
        let position = first + STEP * number as f64;
        let task = store::create(&mut transaction, user_id, draft, Some(position)).await?;
        ids.push(task.id);
        undo = task.undo;
    }
    transaction.commit().await?;
    Ok((ids, undo))
}
