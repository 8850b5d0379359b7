//! `/api/auth`, and who a request is from.

mod account;
mod jwks;
mod passwords;
mod sessions;
mod tokens;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Backend,
    config::{AuthConfig, AuthMode, Secret},
    error::{ApiError, Body, ErrorBody},
    limits::ClientAddress,
};

use passwords::Passwords;
use tokens::{Claims, Tokens};

/// To whom everything belongs where nobody signs in.
const LOCAL_USER: &str = "local";
const EMAIL_MAX_BYTES: usize = 254;
const NAME_MAX_CHARS: usize = 200;
const WRONG: ApiError = ApiError::Unauthorized("the address or the password is wrong");

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(session))
        .routes(routes!(keys))
        .merge(account::router())
        .merge(sessions::router())
}

pub struct Auth {
    mode: &'static str,
    accounts: Option<Accounts>,
}

struct Accounts {
    tokens: Tokens,
    passwords: Passwords,
    lifetime: Duration,
}

impl Auth {
    pub fn open(config: &AuthConfig) -> Self {
        let (mode, tokens) = match &config.mode {
            AuthMode::None => return Self { mode: "none", accounts: None },
            AuthMode::Hs256 { secret, algorithm } => ("hs256", Tokens::shared(secret, *algorithm, &config.issuer)),
            AuthMode::Jwks { secret, url } => ("jwks", Tokens::published(secret, url, &config.issuer)),
        };
        let lifetime = Duration::days(config.expiration_days.into());
        Self { mode, accounts: Some(Accounts { tokens, passwords: Passwords::default(), lifetime }) }
    }

    fn accounts(&self) -> Result<&Accounts, ApiError> {
        self.accounts.as_ref().ok_or(ApiError::Conflict("accounts_off", "there are no accounts here; just go ahead"))
    }
}

/// Who asks: an argument of every handler that touches somebody's rows.
#[derive(Clone, Debug)]
pub struct Caller {
    pub user_id: String,
    /// None where there are no accounts.
    pub session_id: Option<String>,
    /// What the request was signed in with, for asking other services as the same user.
    pub token: Option<Secret>,
}

impl FromRequestParts<Backend> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, backend: &Backend) -> Result<Self, ApiError> {
        // A layer may have asked before the handler does.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let Some(accounts) = &backend.auth.accounts else {
            return Ok(Self { user_id: LOCAL_USER.to_owned(), session_id: None, token: None });
        };
        let token = bearer(parts).ok_or(ApiError::Unauthorized("sign in first, and send the token as a bearer"))?;
        let Claims { sub, jti, .. } = accounts.tokens.verify(token).await?;
        // A token is good until its time is over, unless its user has signed out, or is gone.
        if !sessions::record_use(&backend.database.pool, &jti, &sub).await? {
            return Err(ApiError::Unauthorized("the session is over; sign in again"));
        }
        Ok(Self { user_id: sub, session_id: Some(jti), token: Some(Secret::new(token)) })
    }
}

impl Caller {
    /// Whether a request that lasts may go on: the session may have ended since it began.
    pub async fn is_still_in(&self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        match &self.session_id {
            Some(session_id) => sessions::is_open(pool, session_id, &self.user_id).await,
            None => Ok(true),
        }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
struct User {
    id: String,
    email: String,
    name: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    #[schema(max_length = 254, pattern = "^\\s*[^@\\s\\x00-\\x1f\\x7f-\\x9f]+@[^@\\s\\x00-\\x1f\\x7f-\\x9f]+\\s*$")]
    email: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

#[derive(Serialize, ToSchema)]
struct SignedIn {
    /// To be sent as `Authorization: Bearer TOKEN`.
    token: String,
    user: User,
}

#[derive(Serialize, ToSchema)]
struct Session {
    /// `none` where nobody needs to sign in, else `hs256` or `jwks`.
    mode: &'static str,
    /// `null` when nobody is signed in.
    user: Option<User>,
}

/// Make an account, and sign in
#[utoipa::path(post, path = "/sign-up", tag = "auth", request_body = NewUser, responses(
    (status = 201, description = "The token and the user", body = SignedIn),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 409, description = "The address has an account, or there are no accounts here", body = ErrorBody),
    (status = 422, description = "The address is none, or the password is too short", body = ErrorBody),
    (status = 429, description = "Too many accounts are made from this address", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn sign_up(
    State(backend): State<Backend>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<SignedIn>), ApiError> {
    let accounts = backend.auth.accounts()?;
    let email = valid_email(&new.email)?;
    let name = new.name.as_deref().map(valid_name).transpose()?.filter(|name| !name.is_empty());
    passwords::check(&new.password)?;
    backend.limits.take_sign_up(address)?;
    let hash = accounts.passwords.hash(new.password).await?;
    let pool = &backend.database.pool;
    let user: Option<User> = sqlx::query_as(
        "INSERT INTO users (email, name, password_hash) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING RETURNING *",
    )
    .bind(email)
    .bind(name)
    .bind(&hash)
    .fetch_optional(pool)
    .await?;
    let user = user.ok_or(ApiError::Conflict("email_taken", "this address has an account; sign in instead"))?;
    // The account may be deleted, or its password changed, before this comes to an end.
    let signed_in = sessions::begin(accounts, pool, user, &hash, &headers).await?;
    Ok((StatusCode::CREATED, Json(signed_in.ok_or(WRONG)?)))
}

/// Sign in
#[utoipa::path(post, path = "/sign-in", tag = "auth", request_body = Credentials, responses(
    (status = 200, description = "The token and the user", body = SignedIn),
    (status = 400, description = "Not JSON", body = ErrorBody),
    (status = 401, description = "The address or the password is wrong", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 429, description = "Too many passwords are tried, for this account or from this address", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn sign_in(
    State(backend): State<Backend>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Result<Json<SignedIn>, ApiError> {
    let accounts = backend.auth.accounts()?;
    let pool = &backend.database.pool;
    // What can't be an address or a password is not looked up: it may hold what PostgreSQL doesn't take.
    let email = valid_email(&credentials.email).map_err(|_| WRONG)?;
    passwords::check(&credentials.password).map_err(|_| WRONG)?;
    // Whether or not there is such an account: the answer must not say so.
    backend.limits.take_password(address, &email)?;
    let hash: Option<String> = sqlx::query_scalar("SELECT password_hash FROM users WHERE email = $1")
        .bind(&email)
        .fetch_optional(pool)
        .await?;
    if !accounts.passwords.verify(credentials.password, hash.clone()).await? {
        return Err(WRONG);
    }
    let user: Option<User> =
        sqlx::query_as("SELECT * FROM users WHERE email = $1").bind(&email).fetch_optional(pool).await?;
    let signed_in = sessions::begin(accounts, pool, user.ok_or(WRONG)?, &hash.unwrap_or_default(), &headers).await?;
    Ok(Json(signed_in.ok_or(WRONG)?))
}

/// Sign out
///
/// The token is of no use afterwards.
#[utoipa::path(post, path = "/sign-out", tag = "auth", responses(
    (status = 204, description = "The session is over"),
    (status = 401, description = "Nobody is signed in", body = ErrorBody),
    (status = 409, description = "There are no accounts here", body = ErrorBody),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn sign_out(State(backend): State<Backend>, caller: Caller) -> Result<StatusCode, ApiError> {
    backend.auth.accounts()?;
    sqlx::query("DELETE FROM sessions WHERE id = $1 AND user_id = $2")
        .bind(&caller.session_id)
        .bind(&caller.user_id)
        .execute(&backend.database.pool)
        .await?;
    backend.changes.end_streams(&caller.user_id, |session| session != caller.session_id.as_deref());
    Ok(StatusCode::NO_CONTENT)
}

/// Tell whether signing in is needed, and who is signed in
#[utoipa::path(get, path = "/session", tag = "auth", responses(
    (status = 200, description = "The mode, and the user if there is one", body = Session),
    (status = 503, description = "The database is unavailable", body = ErrorBody),
))]
async fn session(State(backend): State<Backend>, caller: Result<Caller, ApiError>) -> Result<Json<Session>, ApiError> {
    let user = match caller {
        Ok(caller) => {
            sqlx::query_as("SELECT * FROM users WHERE id = $1")
                .bind(caller.user_id)
                .fetch_optional(&backend.database.pool)
                .await?
        }
        Err(ApiError::Unauthorized(_)) => None,
        Err(other) => return Err(other),
    };
    Ok(Json(Session { mode: backend.auth.mode, user }))
}

/// List the keys by which tokens are checked
///
/// None, unless the mode is `jwks`.
#[utoipa::path(get, path = "/jwks", tag = "auth", responses(
    (status = 200, description = "A JSON Web Key Set"),
))]
async fn keys(State(backend): State<Backend>) -> Json<JwkSet> {
    let accounts = backend.auth.accounts.as_ref();
    Json(accounts.map_or_else(|| JwkSet { keys: Vec::new() }, |accounts| accounts.tokens.published_keys()))
}

/// In lower case, as it is kept. Whether mail arrives there is not known.
fn valid_email(email: &str) -> Result<String, ApiError> {
    let email = email.trim().to_lowercase();
    let is_valid = email.len() <= EMAIL_MAX_BYTES
        && !email.chars().any(|char| char.is_control() || char.is_whitespace())
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    is_valid.then_some(email).ok_or_else(|| ApiError::Invalid("email is not an address, NAME@HOST".to_owned()))
}

fn valid_name(name: &str) -> Result<&str, ApiError> {
    let name = name.trim();
    if name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return Err(ApiError::Invalid(format!("name is not one line of at most {NAME_MAX_CHARS} characters")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn addresses_are_made_plain() {
        assert_eq!(valid_email(" Ann@Example.ORG ").unwrap(), "ann@example.org");
        for wrong in ["", "ann", "@host", "ann@", "a@b@c", "a b@c", "a\0@b", &format!("{}@b", "x".repeat(253))] {
            assert!(valid_email(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_bearer_is_taken() {
        let of = |value: &str| {
            let (parts, ()) = Request::builder().header("authorization", value).body(()).unwrap().into_parts();
            bearer(&parts).map(str::to_owned)
        };
        assert_eq!(of("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(of("bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(of("Basic YTpi"), None);
        assert_eq!(of("a.b.c"), None);
    }
}
