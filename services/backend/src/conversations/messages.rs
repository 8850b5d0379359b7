//! What is said in a conversation, and how it is answered: at once as JSON, or as a stream of what is said and done.
//!
//! An answer belongs to its message and not to the connection: it goes on when the connection is lost, and who sends the
//! message again with the same key gets that answer and no second one.

mod turns;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use kit::trace;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::find;
use crate::{
    Backend,
    assistant::{Answer, Outcome, Place, ToolCall, Turn},
    auth::Caller,
    config::Secret,
    error::{ApiError, Asked, Body, ErrorBody, Part},
    metrics,
    paging::{Listed, Page},
    tasks::{TimeZone, store::explain, valid_time_zone},
};

use turns::Entered;

const SAID_MAX_CHARS: usize = 4_000;
const KEY_MAX_BYTES: usize = 64;
/// As the table allows.
const ANSWER_MAX_CHARS: usize = 20_000;
/// How often another replica's answer is looked for, and whether the user has stopped this one there.
const LOOK_MS: u64 = 300;
/// After how many such looks an answer that is under way is claimed anew.
const LOOKS_OF_A_CLAIM: u32 = 15;
/// Shorter than proxies wait for a word.
const HEARTBEAT_MS: u64 = 15_000;
const CUT_OFF: &str =
    "The answer was cut off. Nothing is done twice: look at your tasks, and say it again if it is not done.";

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(say, messages)).routes(routes!(stop))
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
    /// Markdown, where the assistant says it.
    content: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// What the assistant did meanwhile.
    #[sqlx(json)]
    tool_calls: Vec<ToolCall>,
    /// Whether the answer is less than the whole: the user stopped it, or it was cut off.
    stopped: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    #[schema(min_length = 1, max_length = 4000, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    content: String,
    /// The client's own, a UUID for instance: sent again with the same one, the message isn't said again.
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
    key: Option<String>,
    /// The user's zone of the IANA, `Europe/Berlin` for instance, in which days and times are meant; `UTC` unless it is given.
    #[schema(value_type = Option<TimeZone>)]
    time_zone: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct MessageListing {
    /// At most this many, 1 to 500; 100 unless it is given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    /// The `Next-Cursor` of the page before.
    #[param(pattern = "^m[0-9a-f]{16}$")]
    cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Exchange {
    /// What the user said.
    user: Message,
    /// What the assistant answered.
    assistant: Message,
}

/// Say something, and be answered
///
/// The assistant does what it is asked to, to the tasks of who asks. Where it fails, what was said is kept.
///
/// With `Accept: text/event-stream` the answer is streamed: `user` has the message as it was kept, `delta` a part of the
/// answer's text, `tool_call` something that was done, and `assistant` the whole answer as it was kept, or `error` why
/// there is none; one of them comes last. The answer goes on when the connection is lost: send the message again with its
/// `key`, and all parts come again.
///
/// Messages of a conversation are answered one after the other: one that comes meanwhile waits, and is refused when that
/// takes too long.
#[utoipa::path(
    post, path = "/{id}/messages", tag = "conversations", params(("id" = i32, Path)), request_body = NewMessage,
    responses(
        (status = 200, description = "Events, the last of which is `assistant` or `error`", body = String,
            content_type = "text/event-stream"),
        (status = 201, description = "Both messages", body = Exchange),
        (status = 400, description = "Not JSON, or the id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 409, description = "Something else was said with this key, or another message is being answered", body = ErrorBody),
        (status = 422, description = "Nothing is said, or too much", body = ErrorBody),
        (status = 429, description = "Too many messages are sent", body = ErrorBody),
        (status = 502, description = "The language model can't be reached, or fails", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn say(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    headers: HeaderMap,
    Body(new): Body<NewMessage>,
) -> Result<Response, ApiError> {
    let said = Said::of(&backend.database.pool, new).await?;
    let (user, answer) = enter(&backend, &caller, id, said).await?;
    if wants_events(&headers) {
        return Ok(stream(&user, answer));
    }
    match answer.outcome().await {
        Outcome::Kept(assistant_id) => {
            let assistant = read(&backend.database.pool, assistant_id).await?;
            Ok((StatusCode::CREATED, Json(Exchange { user, assistant })).into_response())
        }
        Outcome::Failed(status, headers, body) => Ok((status, headers, body).into_response()),
    }
}

/// List the latest messages of a conversation, oldest first
///
/// The page that a cursor leads to has those that come right before.
#[utoipa::path(
    get, path = "/{id}/messages", tag = "conversations", params(("id" = i32, Path), MessageListing),
    responses(
        (status = 200, description = "The messages", body = Vec<Message>,
            headers(("next-cursor" = String, description = "The cursor of those before, unless these are the first ones"))),
        (status = 400, description = "The id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 422, description = "The limit is out of range, or the cursor is none", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn messages(
    State(backend): State<Backend>,
    caller: Caller,
    Part(id): Part<i32>,
    Asked(listing): Asked<MessageListing>,
) -> Result<Listed<Message>, ApiError> {
    let page = Page::of('m', listing.limit, listing.cursor.as_deref())?;
    find(&backend, &caller, id).await?;
    let [before] = page.after.unwrap_or([i64::MAX]);
    let messages =
        sqlx::query_as("SELECT * FROM messages WHERE conversation_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
            .bind(id)
            .bind(before)
            .bind(page.rows_to_read())
            .fetch_all(&backend.database.pool)
            .await?;
    let mut listed = page.cut(messages, |message: &Message| [message.id.into()]);
    listed.rows.reverse();
    Ok(listed)
}

/// End the answers that are under way in a conversation
///
/// What was said until then is kept.
#[utoipa::path(
    post, path = "/{id}/stop", tag = "conversations", params(("id" = i32, Path)),
    responses(
        (status = 204, description = "They end"),
        (status = 400, description = "The id is not a number", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "There is no such conversation", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn stop(State(backend): State<Backend>, caller: Caller, Part(id): Part<i32>) -> Result<StatusCode, ApiError> {
    find(&backend, &caller, id).await?;
    backend.answers.stop(id);
    // For the other replicas.
    sqlx::query("UPDATE conversations SET stopped_at = clock_timestamp() WHERE id = $1")
        .bind(id)
        .execute(&backend.database.pool)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Clone)]
struct Said {
    content: String,
    key: Option<String>,
    time_zone: String,
}

impl Said {
    async fn of(pool: &PgPool, new: NewMessage) -> Result<Self, ApiError> {
        let content = valid_content(&new.content)?.to_owned();
        let key = new.key.map(valid_key).transpose()?;
        let time_zone = match new.time_zone.as_deref() {
            None => "UTC",
            Some(name) => {
                // The database knows which zones there are.
                let known = sqlx::query("SELECT now() AT TIME ZONE $1").bind(valid_time_zone(name)?);
                known.execute(pool).await.map_err(explain)?;
                name
            }
        };
        Ok(Self { content, key, time_zone: time_zone.to_owned() })
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

fn stream(user: &Message, answer: Arc<Answer>) -> Response {
    let said = Event::default().event("user").json_data(user).expect("a message is JSON");
    let rest = stream::unfold((answer, 0), async |(answer, mut seen)| {
        let event = answer.next(&mut seen).await?;
        Some((Event::default().event(event.name).data(&*event.data), (answer, seen)))
    });
    let events = stream::once(async { said }).chain(rest).map(Ok::<_, Infallible>);
    let alive = KeepAlive::new().interval(Duration::from_millis(HEARTBEAT_MS));
    // For nginx, wherever there is one.
    ([("x-accel-buffering", "no")], Sse::new(events).keep_alive(alive)).into_response()
}

/// The message as it is kept, and its answer, once those before it have theirs. What was said with the same key waits for no
/// turn: it has had one.
async fn enter(backend: &Backend, caller: &Caller, id: i32, said: Said) -> Result<(Message, Arc<Answer>), ApiError> {
    const BUSY: ApiError = ApiError::Conflict(
        "conversation_busy",
        "another message of this conversation is being answered; wait for that, or stop it, and say yours again",
    );
    let pool = &backend.database.pool;
    let deadline = Instant::now() + backend.turn_timeout;
    let mut next = pin!(backend.answers.turn(id));
    let mut turn = loop {
        if let Some(message) = turns::said_before(pool, caller, id, &said).await? {
            return Ok(begin(backend, caller, &said, message, None));
        }
        match timeout(Duration::from_millis(LOOK_MS), &mut next).await {
            Ok(turn) => break turn,
            Err(_) if Instant::now() >= deadline => return Err(BUSY),
            Err(_) => {}
        }
    };
    loop {
        // A task, which goes on when the connection is lost: nothing must be kept whose answer isn't begun.
        let entering = keep_in_turn(backend.clone(), caller.clone(), id, said.clone(), turn);
        match tokio::spawn(trace::carry(entering)).await.map_err(|_| ApiError::Internal)?? {
            Ok(begun) => return Ok(begun),
            Err(_) if Instant::now() >= deadline => return Err(BUSY),
            Err(kept) => turn = kept,
        }
        // Another replica's, or it came with the same key.
        sleep(Duration::from_millis(LOOK_MS)).await;
        if let Some(message) = turns::said_before(pool, caller, id, &said).await? {
            return Ok(begin(backend, caller, &said, message, None));
        }
    }
}

/// Keeps the message and begins its answer, or gives the turn back where another replica is at one.
async fn keep_in_turn(
    backend: Backend,
    caller: Caller,
    id: i32,
    said: Said,
    turn: Turn,
) -> Result<Result<(Message, Arc<Answer>), Turn>, ApiError> {
    match turns::enter(&backend.database.pool, &caller, id, &said).await? {
        Entered::Now(message, at) => Ok(Ok(begin(&backend, &caller, &said, message, Some((at, turn))))),
        Entered::Later => Ok(Err(turn)),
    }
}

/// Has the message answered, unless that is under way here. `claimed` is since when its answer is this replica's to give.
fn begin(
    backend: &Backend,
    caller: &Caller,
    said: &Said,
    message: Message,
    claimed: Option<(OffsetDateTime, Turn)>,
) -> (Message, Arc<Answer>) {
    let (answer, is_new) = backend.answers.enter(message.id, message.conversation_id);
    let (began_at, turn) = claimed.unzip();
    if is_new {
        tokio::spawn(trace::carry(answer_or_wait(Answering {
            backend: backend.clone(),
            user_id: caller.user_id.clone(),
            token: caller.token.clone(),
            conversation_id: message.conversation_id,
            message_id: message.id,
            content: message.content.clone(),
            time_zone: said.time_zone.clone(),
            began_at,
            answer: answer.clone(),
            _turn: turn,
        })));
    }
    (message, answer)
}

/// An answer that this replica is to give, unless another one is at it.
struct Answering {
    backend: Backend,
    user_id: String,
    /// The user's own, for as long as the answer takes.
    token: Option<Secret>,
    conversation_id: i32,
    message_id: i32,
    content: String,
    time_zone: String,
    /// Since when it is claimed, by the database's clock; None where it is yet to be.
    began_at: Option<OffsetDateTime>,
    answer: Arc<Answer>,
    /// The next message of the conversation waits for it.
    _turn: Option<Turn>,
}

/// Leaves the answers, however it ends.
impl Drop for Answering {
    fn drop(&mut self) {
        self.backend.answers.leave(self.message_id);
        // Only where it didn't end otherwise: a panic.
        self.answer.abandon();
    }
}

async fn answer_or_wait(answering: Answering) {
    let attempted = attempt(&answering).await;
    // A stream's head was sent long before anything was written.
    answering.backend.changes.look();
    match attempted {
        Ok(message) => answering.answer.keep(message.id, &message),
        Err(error) => answering.answer.fail(error).await,
    }
}

/// The answer as it was kept: another replica's, or that which is given now.
async fn attempt(answering: &Answering) -> Result<Message, ApiError> {
    let pool = &answering.backend.database.pool;
    if let Some(began_at) = answering.began_at {
        return give(answering, began_at).await;
    }
    loop {
        if let Some(began_at) = turns::claim(pool, answering.conversation_id, answering.message_id).await? {
            return give(answering, began_at).await;
        }
        if let Some(message) = reply_to(pool, answering.message_id).await? {
            return Ok(message);
        }
        if turns::is_given_up(pool, answering.message_id).await? {
            return keep_reply(answering, CUT_OFF, &[], true).await;
        }
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

async fn give(answering: &Answering, began_at: OffsetDateTime) -> Result<Message, ApiError> {
    let Answering { backend, answer, .. } = answering;
    let place = Place {
        pool: &backend.database.pool,
        user_id: &answering.user_id,
        token: answering.token.as_ref(),
        conversation_id: answering.conversation_id,
        time_zone: &answering.time_zone,
        answer,
    };
    let outcome = tokio::select! {
        outcome = backend.assistant.answer(place, &answering.content) => outcome,
        error = trace::unrecorded(keep_claim(place, answering.message_id, began_at)) => Err(error),
    };
    metrics::count_answer(backend.assistant.kind(), outcome.is_ok(), answer.is_stopped());
    let (content, tool_calls) = answer.so_far_said();
    match outcome {
        Ok(()) => keep_reply(answering, &content, &tool_calls, answer.is_stopped()).await,
        // What was done is kept, or it would be done again.
        Err(error) if !tool_calls.is_empty() => {
            let reason = format!("{content}\n\nI could not finish: {}.", error.reason());
            keep_reply(answering, &reason, &tool_calls, true).await
        }
        Err(error) => {
            turns::give_up(place.pool, answering.message_id).await?;
            Err(error)
        }
    }
}

/// Says that the answer goes on, and has it stopped when the user stops it at another replica. It ends with an error, or never.
async fn keep_claim(place: Place<'_>, message_id: i32, began_at: OffsetDateTime) -> ApiError {
    let mut looks = 0_u32;
    loop {
        sleep(Duration::from_millis(LOOK_MS)).await;
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_OF_A_CLAIM) {
            // Tried again in a moment.
            let _ = turns::renew(place.pool, message_id).await;
        }
        let stopped: Result<Option<bool>, _> =
            sqlx::query_scalar("SELECT coalesce(stopped_at > $2, false) FROM conversations WHERE id = $1")
                .bind(place.conversation_id)
                .bind(began_at)
                .fetch_optional(place.pool)
                .await;
        match stopped {
            Ok(Some(true)) => place.answer.stop(),
            Ok(None) => return ApiError::NotFound("conversation"),
            // Where the database is away, the answer itself finds out.
            Ok(Some(false)) | Err(_) => {}
        }
    }
}

async fn read(pool: &PgPool, id: i32) -> Result<Message, ApiError> {
    let message = sqlx::query_as("SELECT * FROM messages WHERE id = $1").bind(id).fetch_optional(pool).await?;
    message.ok_or(ApiError::NotFound("conversation"))
}

async fn reply_to(pool: &PgPool, message_id: i32) -> Result<Option<Message>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM messages WHERE reply_to = $1").bind(message_id).fetch_optional(pool).await
}

async fn keep_reply(
    answering: &Answering,
    content: &str,
    tool_calls: &[ToolCall],
    stopped: bool,
) -> Result<Message, ApiError> {
    let content = content.trim();
    let content = if content.is_empty() { "Stopped." } else { content };
    let content = content.char_indices().nth(ANSWER_MAX_CHARS).map_or(content, |(end, _)| &content[..end]);
    let pool = &answering.backend.database.pool;
    let kept = sqlx::query_as(
        "INSERT INTO messages (conversation_id, role, content, reply_to, tool_calls, stopped)
         SELECT conversation_id, 'assistant', $2, id, $3, $4 FROM messages WHERE id = $1
         ON CONFLICT (reply_to) WHERE reply_to IS NOT NULL DO NOTHING RETURNING *",
    )
    .bind(answering.message_id)
    .bind(content)
    .bind(sqlx::types::Json(tool_calls))
    .bind(stopped)
    .fetch_optional(pool)
    .await?;
    // Has a reply, and is under way no more whether or not this is written down.
    let _ = turns::give_up(pool, answering.message_id).await;
    match kept {
        Some(message) => Ok(message),
        None => reply_to(pool, answering.message_id).await?.ok_or(ApiError::NotFound("conversation")),
    }
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

fn valid_key(key: String) -> Result<String, ApiError> {
    let is_valid = (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let message = format!("key is not 1 to {KEY_MAX_BYTES} letters, digits and signs of ASCII, as a UUID is");
    if is_valid { Ok(key) } else { Err(ApiError::Invalid(message)) }
}
