//! What a user does to the account: changes the password, deletes it.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Caller, passwords};
use crate::{
    Backend,
    error::{ApiError, Body, ErrorBody},
    limits::ClientAddress,
};

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(change_password)).routes(routes!(remove_user))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    current_password: String,
    #[schema(min_length = 8, max_length = 200)]
    new_password: String,
}

/// Change the password
///
/// All other sessions end, and so do their event streams.
#[utoipa::path(post, path = "/password", tag = "auth", request_body = NewPassword, responses(
    (status = 204, description = "It is changed, and the other sessions are over"),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 403, description = "The current password is another one", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 422, description = "The new password is too short or too long", body = ErrorBody),
    (status = 429, description = "Too many passwords are tried, for this account or from this address", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn change_password(
    State(backend): State<Backend>,
    caller: Caller,
    ClientAddress(address): ClientAddress,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, ApiError> {
    // Not 401: the session is good, and a client must not take it for over.
    const WRONG: ApiError = ApiError::Forbidden("wrong_password", "the current password is another one");
    const GONE: ApiError = ApiError::Unauthorized("the session is over; sign in again");
    let accounts = backend.auth.accounts()?;
    let pool = &backend.database.pool;
    passwords::check(&new.new_password)?;
    passwords::check(&new.current_password).map_err(|_| WRONG)?;
    let account: Option<(String, String)> = sqlx::query_as("SELECT email, password_hash FROM users WHERE id = $1")
        .bind(&caller.user_id)
        .fetch_optional(pool)
        .await?;
    let (email, old_hash) = account.ok_or(GONE)?;
    backend.limits.take_password(address, &email)?;
    if !accounts.passwords.verify(new.current_password, Some(old_hash.clone())).await? {
        return Err(WRONG);
    }
    let hash = accounts.passwords.hash(new.new_password).await?;
    let mut transaction = pool.begin().await?;
    // Only if nobody else has changed it meanwhile, with the password that was the current one then.
    let changed =
        sqlx::query("UPDATE users SET password_hash = $3, updated_at = now() WHERE id = $1 AND password_hash = $2")
            .bind(&caller.user_id)
            .bind(old_hash)
            .bind(hash)
            .execute(&mut *transaction)
            .await?;
    if changed.rows_affected() == 0 {
        return Err(WRONG);
    }
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
        .bind(&caller.user_id)
        .bind(&caller.session_id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    backend.changes.end_streams(&caller.user_id, |session| session == caller.session_id.as_deref());
    Ok(StatusCode::NO_CONTENT)
}

/// Delete the account with everything that belongs to it
#[utoipa::path(delete, path = "/user", tag = "auth", responses(
    (status = 204, description = "It is gone"),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn remove_user(State(backend): State<Backend>, caller: Caller) -> Result<StatusCode, ApiError> {
    backend.auth.accounts()?;
    let mut transaction = backend.database.pool.begin().await?;
    // The user first: this waits for writes under way, which lock that row, and later ones find no user. The changes last:
    // deleting tasks writes some.
    for removal in [
        "DELETE FROM users WHERE id = $1",
        "DELETE FROM tasks WHERE user_id = $1",
        "DELETE FROM conversations WHERE user_id = $1",
        "DELETE FROM task_changes WHERE user_id = $1",
    ] {
        sqlx::query(removal).bind(&caller.user_id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    backend.changes.end_streams(&caller.user_id, |_| false);
    Ok(StatusCode::NO_CONTENT)
}
