//! `/api/auth/sessions`: begun at sign-in, listed and ended by their user.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Accounts, Caller, SignedIn, User};
use crate::{
    Backend,
    error::{ApiError, ErrorBody, Part},
};

/// As the table allows.
const CLIENT_MAX_CHARS: usize = 200;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(list_sessions, end_other_sessions)).routes(routes!(end_session))
}

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
struct SignedInSession {
    id: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Exact to a minute.
    #[serde(with = "time::serde::rfc3339")]
    last_used_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// The `User-Agent` at sign-in, at most 200 characters of it.
    client: Option<String>,
    /// Whether this request belongs to it.
    current: bool,
}

/// Opens a session, and makes the token that stands for it. None where the account is gone, or has another password than
/// the one with this hash.
pub async fn begin(
    accounts: &Accounts,
    pool: &PgPool,
    user: User,
    password_hash: &str,
    headers: &HeaderMap,
) -> Result<Option<SignedIn>, ApiError> {
    let now = OffsetDateTime::now_utc();
    let expires_at = now + accounts.lifetime;
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2")
        .bind(&user.id)
        .bind(now)
        .execute(pool)
        .await?;
    // The lock orders this against a change of the password: either that waits, and ends this session too, or this waits,
    // and finds another hash.
    let session_id: Option<String> = sqlx::query_scalar(
        "WITH account AS (SELECT id FROM users WHERE id = $1 AND password_hash = $2 FOR SHARE)
         INSERT INTO sessions (user_id, expires_at, client) SELECT id, $3, $4 FROM account RETURNING id",
    )
    .bind(&user.id)
    .bind(password_hash)
    .bind(expires_at)
    .bind(client(headers))
    .fetch_optional(pool)
    .await?;
    let Some(session_id) = session_id else { return Ok(None) };
    let token = accounts.tokens.sign(user.id.clone(), session_id, now, expires_at)?;
    Ok(Some(SignedIn { token, user }))
}

/// Whether the session is open. Writes down that it is used, at most once a minute.
pub async fn record_use(pool: &PgPool, session_id: &str, user_id: &str) -> Result<bool, sqlx::Error> {
    let is_recorded: Option<bool> = sqlx::query_scalar(
        "SELECT last_used_at > now() - interval '1 minute' FROM sessions
         WHERE id = $1 AND user_id = $2 AND expires_at > now()",
    )
    .bind(session_id)
    .bind(user_id)
    .fetch_optional(pool)
    .await?;
    if is_recorded == Some(false) {
        // The condition once more: of several requests at once, one writes.
        sqlx::query(
            "UPDATE sessions SET last_used_at = now()
             WHERE id = $1 AND last_used_at <= now() - interval '1 minute'",
        )
        .bind(session_id)
        .execute(pool)
        .await?;
    }
    Ok(is_recorded.is_some())
}

pub async fn is_open(pool: &PgPool, session_id: &str, user_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM sessions WHERE id = $1 AND user_id = $2 AND expires_at > now())")
        .bind(session_id)
        .bind(user_id)
        .fetch_one(pool)
        .await
}

/// List the sessions that are open, the one used last first
#[utoipa::path(get, path = "/sessions", tag = "auth", responses(
    (status = 200, description = "The sessions", body = Vec<SignedInSession>),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn list_sessions(State(backend): State<Backend>, caller: Caller) -> Result<Json<Vec<SignedInSession>>, ApiError> {
    backend.auth.accounts()?;
    let sessions = sqlx::query_as(
        "SELECT *, id = $2 AS current FROM sessions WHERE user_id = $1 AND expires_at > now()
         ORDER BY last_used_at DESC, created_at DESC, id",
    )
    .bind(caller.user_id)
    .bind(caller.session_id)
    .fetch_all(&backend.database.pool)
    .await?;
    Ok(Json(sessions))
}

/// End a session
///
/// Its token is of no use afterwards, and its event streams end.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "auth", params(("id" = String, Path)), responses(
    (status = 204, description = "It is over"),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 404, description = "There is no such session", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn end_session(
    State(backend): State<Backend>,
    caller: Caller,
    id: Result<Part<String>, ApiError>,
) -> Result<StatusCode, ApiError> {
    const UNKNOWN: ApiError = ApiError::NotFound("session");
    backend.auth.accounts()?;
    // PostgreSQL takes no NUL.
    let Part(id) = id.ok().filter(|Part(id)| !id.contains('\0')).ok_or(UNKNOWN)?;
    let ended = sqlx::query("DELETE FROM sessions WHERE id = $1 AND user_id = $2 AND expires_at > now()")
        .bind(&id)
        .bind(&caller.user_id)
        .execute(&backend.database.pool)
        .await?;
    if ended.rows_affected() == 0 {
        return Err(UNKNOWN);
    }
    backend.changes.end_streams(&caller.user_id, |session| session != Some(&id));
    Ok(StatusCode::NO_CONTENT)
}

/// End all sessions but this one
#[utoipa::path(delete, path = "/sessions", tag = "auth", responses(
    (status = 204, description = "They are over"),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn end_other_sessions(State(backend): State<Backend>, caller: Caller) -> Result<StatusCode, ApiError> {
    backend.auth.accounts()?;
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
        .bind(&caller.user_id)
        .bind(&caller.session_id)
        .execute(&backend.database.pool)
        .await?;
    backend.changes.end_streams(&caller.user_id, |session| session == caller.session_id.as_deref());
    Ok(StatusCode::NO_CONTENT)
}

fn client(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes());
    let text: String = text.trim().chars().filter(|char| !char.is_control()).take(CLIENT_MAX_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_is_kept_in_part() {
        let of = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            client(&HeaderMap::from_iter([(header::USER_AGENT, value)]))
        };
        assert_eq!(of(b" curl/8\t ").as_deref(), Some("curl/8"));
        assert_eq!(of("Br\u{e4}user".as_bytes()).as_deref(), Some("Br\u{e4}user"));
        assert_eq!(of(b"a\xffb").as_deref(), Some("a\u{fffd}b"));
        assert_eq!(of("\u{e4}".repeat(300).as_bytes()).unwrap().chars().count(), CLIENT_MAX_CHARS);
        assert_eq!(of(b" "), None);
        assert_eq!(client(&HeaderMap::new()), None);
    }
}
