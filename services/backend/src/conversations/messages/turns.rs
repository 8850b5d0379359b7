//! Whose turn it is: in a conversation one message is answered after the other, whichever tab and replica they come by. So what
//! is said and what is answered are kept in the order of the talk, and each answer knows the one before.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use time::OffsetDateTime;

use super::{Message, Said};
use crate::{auth::Caller, error::ApiError};

/// An answer that has not been claimed anew for so long is one whose replica is gone. Claimed anew every few seconds.
pub const LEASE_SECONDS: f64 = 30.0;

/// In $1, the conversation, besides $2, a message.
const OTHERS_ARE_ANSWERED: &str = "EXISTS (
    SELECT FROM messages AS other
    WHERE other.conversation_id = $1 AND other.id IS DISTINCT FROM $2 AND other.answered_by > clock_timestamp()
        AND NOT EXISTS (SELECT FROM messages AS reply WHERE reply.reply_to = other.id)
)";

pub enum Entered {
    /// The message, and since when, by the database's clock, its answer is this replica's to give.
    Now(Message, OffsetDateTime),
    /// An answer is under way.
    Later,
}

/// What was said with the same key.
pub async fn said_before(pool: &PgPool, caller: &Caller, id: i32, said: &Said) -> Result<Option<Message>, ApiError> {
    let Some(key) = &said.key else { return Ok(None) };
    let before: Option<Message> = sqlx::query_as(
        "SELECT messages.* FROM messages JOIN conversations ON conversations.id = conversation_id
         WHERE conversation_id = $1 AND user_id = $2 AND key = $3",
    )
    .bind(id)
    .bind(&caller.user_id)
    .bind(key)
    .fetch_optional(pool)
    .await?;
    match before {
        Some(message) if message.content != said.content => {
            Err(ApiError::Conflict("key_taken", "something else was said with this key; make another"))
        }
        before => Ok(before),
    }
}

/// Keeps what is said and claims its answer, into a conversation that is the caller's, still there, and in which no other
/// answer is under way.
pub async fn enter(pool: &PgPool, caller: &Caller, id: i32, said: &Said) -> Result<Entered, ApiError> {
    let mut transaction = pool.begin().await?;
    let is_there = lock(&mut transaction, id, Some(&caller.user_id)).await?;
    if !is_there {
        return Err(ApiError::NotFound("conversation"));
    }
    let kept: Option<Kept> = sqlx::query_as(AssertSqlSafe(format!(
        "INSERT INTO messages (conversation_id, role, content, key, answered_by)
         SELECT $1, 'user', $3, $4, clock_timestamp() + make_interval(secs => $5) WHERE NOT {OTHERS_ARE_ANSWERED}
         ON CONFLICT (conversation_id, key) WHERE key IS NOT NULL DO NOTHING
         RETURNING *, clock_timestamp() AS began_at"
    )))
    .bind(id)
    .bind(None::<i32>)
    .bind(&said.content)
    .bind(&said.key)
    .bind(LEASE_SECONDS)
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(kept.map_or(Entered::Later, |Kept { message, began_at }| Entered::Now(message, began_at)))
}

/// Claims the answer to a message that was kept before and has none, once no other is under way. Returns since when it is this
/// replica's to give, or None where it is not.
pub async fn claim(pool: &PgPool, id: i32, message_id: i32) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, id, None).await?;
    let claimed = sqlx::query_scalar(AssertSqlSafe(format!(
        "UPDATE messages SET answered_by = clock_timestamp() + make_interval(secs => $3)
         WHERE id = $2 AND answered_by IS NULL AND NOT {OTHERS_ARE_ANSWERED}
             AND NOT EXISTS (SELECT FROM messages AS reply WHERE reply.reply_to = $2)
         RETURNING clock_timestamp()"
    )))
    .bind(id)
    .bind(message_id)
    .bind(LEASE_SECONDS)
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(claimed)
}

/// Goes on with an answer that is under way here.
pub async fn renew(pool: &PgPool, message_id: i32) -> Result<(), sqlx::Error> {
    let renewed = sqlx::query(
        "UPDATE messages SET answered_by = clock_timestamp() + make_interval(secs => $2)
         WHERE id = $1 AND answered_by IS NOT NULL",
    );
    renewed.bind(message_id).bind(LEASE_SECONDS).execute(pool).await.map(drop)
}

/// Has failed with nothing done, and may be claimed again.
pub async fn give_up(pool: &PgPool, message_id: i32) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE messages SET answered_by = NULL WHERE id = $1").bind(message_id).execute(pool).await.map(drop)
}

/// Whether the replica that was to answer is gone.
pub async fn is_given_up(pool: &PgPool, message_id: i32) -> Result<bool, ApiError> {
    let given_up: Option<bool> =
        sqlx::query_scalar("SELECT coalesce(answered_by < now(), false) FROM messages WHERE id = $1")
            .bind(message_id)
            .fetch_optional(pool)
            .await?;
    given_up.ok_or(ApiError::NotFound("conversation"))
}

#[derive(sqlx::FromRow)]
struct Kept {
    #[sqlx(flatten)]
    message: Message,
    began_at: OffsetDateTime,
}

/// Until the end of the transaction no other answer is begun in the conversation. A statement of its own: the next one sees what
/// whoever had the lock before has written. Returns whether the conversation is there, and the user's where one is given.
async fn lock(connection: &mut PgConnection, id: i32, user_id: Option<&str>) -> Result<bool, sqlx::Error> {
    let locked =
        sqlx::query("SELECT FROM conversations WHERE id = $1 AND ($2 IS NULL OR user_id = $2) FOR NO KEY UPDATE");
    Ok(locked.bind(id).bind(user_id).fetch_optional(connection).await?.is_some())
}
