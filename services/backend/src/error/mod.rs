//! Every failure of the API is one JSON shape, that of RFC 9457.

mod input;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::reply;
use serde::Serialize;
use serde_json::json;
use tracing::error;
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Type,
        path::{Parameter, ParameterIn},
    },
};

use crate::tasks::Task;

pub use input::{Asked, Body, Part};

#[derive(Debug)]
pub enum ApiError {
    /// The request can't be read: its path, its query, its JSON.
    BadRequest(String),
    /// Nobody is signed in, or the token is of no use any more.
    Unauthorized(&'static str),
    NotFound(&'static str),
    /// A code, and why it is refused.
    Forbidden(&'static str, &'static str),
    /// A code, and what stands in the way.
    Conflict(&'static str, &'static str),
    /// A write of a version that is no longer the latest; the task as it is now.
    Stale(Box<Task>),
    /// The request is read and asks for what can't be.
    Invalid(String),
    /// What is wrong in several places, and nothing is done.
    Mistakes(String, Vec<Mistake>),
    /// The caller asks for too much: a code, what to do, and after how many seconds to come again.
    TooMany(&'static str, &'static str, u64),
    Unavailable(&'static str),
    /// The request took longer than any should.
    Timeout,
    Database(sqlx::Error),
    Body(StatusCode, String),
    /// Somebody else, whom the answer depends on, has failed: a status, a code, and why.
    Upstream(StatusCode, &'static str, String),
    /// The log has the reason.
    Internal,
}

/// When it is worth asking an unavailable service again.
const RETRY_AFTER_SECONDS: u64 = 2;

/// The body of every answer that is not a success: `application/problem+json`. It is written by `kit::reply`; this tells
/// its fields.
#[allow(dead_code, reason = "only described")]
#[derive(ToSchema)]
#[schema(as = Problem)]
pub struct ErrorBody {
    /// `about:blank`: `title` is that of the status.
    r#type: String,
    title: String,
    status: u16,
    /// For people.
    detail: String,
    /// Stable, for programs.
    code: String,
    /// What is wrong, place by place; only where there may be several.
    errors: Option<Vec<Mistake>>,
    /// The task as it is now; only where a write comes too late.
    current: Option<Box<Task>>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Mistake {
    /// `line 3` of a CSV file, `item 3` of a JSON list.
    pub place: String,
    pub message: String,
}

impl From<sqlx::Error> for ApiError {
    fn from(err: sqlx::Error) -> Self {
        Self::Database(err)
    }
}

impl ApiError {
    /// For people, in a sentence of somebody else's.
    pub fn reason(&self) -> &str {
        match self {
            Self::BadRequest(reason)
            | Self::Invalid(reason)
            | Self::Mistakes(reason, _)
            | Self::Body(_, reason)
            | Self::Upstream(_, _, reason) => reason,
            Self::Unauthorized(reason)
            | Self::Forbidden(_, reason)
            | Self::Conflict(_, reason)
            | Self::TooMany(_, reason, _)
            | Self::Unavailable(reason) => reason,
            Self::NotFound(_) | Self::Stale(_) => "the task was changed or removed meanwhile",
            Self::Timeout => "it took too long",
            Self::Database(err) if is_outage(err) => "the database is unavailable",
            Self::Database(_) | Self::Internal => "something went wrong, and the log has the reason",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry_after = match self {
            Self::TooMany(_, _, seconds) => seconds,
            _ => RETRY_AFTER_SECONDS,
        };
        let mut response = self.into_problem();
        if matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
        }
        response
    }
}

impl ApiError {
    fn into_problem(self) -> Response {
        match self {
            Self::BadRequest(message) => reply::error(StatusCode::BAD_REQUEST, "bad_request", message),
            Self::NotFound(what) => {
                reply::error(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
            }
            Self::Unauthorized(message) => {
                let mut response = reply::error(StatusCode::UNAUTHORIZED, "unauthorized", message);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Self::Forbidden(code, message) => reply::error(StatusCode::FORBIDDEN, code, message),
            Self::Conflict(code, message) => reply::error(StatusCode::CONFLICT, code, message),
            Self::Upstream(status, code, message) => reply::error(status, code, message),
            Self::Stale(task) => {
                let detail = format!("the task was changed meanwhile; its version is now {}", task.version);
                reply::error_with(StatusCode::CONFLICT, "stale", detail, "current", json!(task))
            }
            Self::Mistakes(detail, mistakes) => {
                reply::error_with(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail, "errors", json!(mistakes))
            }
            Self::TooMany(code, message, _) => reply::error(StatusCode::TOO_MANY_REQUESTS, code, message),
            Self::Invalid(message) => reply::error(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message),
            Self::Body(status, message) => reply::error(status, "bad_body", message),
            Self::Unavailable(reason) => reply::error(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", reason),
            Self::Timeout => {
                let message = "the request took too long and was ended; try again in a moment";
                reply::error(StatusCode::SERVICE_UNAVAILABLE, "timeout", message)
            }
            // The account was deleted while the request was under way.
            Self::Database(sqlx::Error::Database(err))
                if err.constraint().is_some_and(|name| name.ends_with("_user_exists")) =>
            {
                Self::Unauthorized("the session is over; sign in again").into_problem()
            }
            Self::Database(err) if is_outage(&err) => {
                error!("the database is unavailable: {err}");
                let message = "the database is unavailable; try again in a moment";
                reply::error(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", message)
            }
            Self::Database(err) => {
                error!("a query failed: {err}");
                Self::Internal.into_response()
            }
            Self::Internal => {
                let message = "the request could not be carried out; the log has the reason";
                reply::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
    }
}

/// Whether trying again later can help.
fn is_outage(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        // A server that is killed while it is asked for TLS: the end of the stream is taken for an answer of one byte, 0.
        sqlx::Error::Protocol(_) => true,
        // Connection failures, too many connections, and a server that shuts down, starts up or cancels.
        sqlx::Error::Database(err) => {
            err.code().is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}

/// What is so for all operations needn't be written at each: failures are `application/problem+json`, a body may be too
/// large, of another kind, or wrong, and some failures say when to come again.
pub fn describe(openapi: &mut OpenApi) {
    let operations = openapi.paths.paths.values_mut().flat_map(|path| {
        let writes = [&mut path.post, &mut path.patch, &mut path.delete].map(|operation| (true, operation));
        let all = writes.into_iter().chain([(false, &mut path.get)]);
        all.filter_map(|(is_write, operation)| Some((is_write, operation.as_mut()?)))
    });
    for (is_write, operation) in operations {
        let responses = &mut operation.responses.responses;
        let is_query =
            |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(it) if it.parameter_in == ParameterIn::Query);
        let has_query = operation.parameters.iter().flatten().any(is_query);
        let of_query = has_query.then_some(("400", "The query can't be read"));
        let of_body = [
            ("413", "The body is too large"),
            ("415", "The body is of another kind"),
            ("422", "A field is missing, unknown or out of range"),
        ];
        let of_body = of_body.into_iter().filter(|_| operation.request_body.is_some());
        let of_write = is_write.then_some(("403", "The page that asks is of another site"));
        for (status, description) in of_body.chain(of_query).chain(of_write) {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let response = ResponseBuilder::new().description(description).content("application/json", content);
            responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
        }
        for (status, response) in responses {
            if let (true, RefOr::T(response)) = (["429", "503"].contains(&status.as_str()), &mut *response) {
                let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build();
                let header = HeaderBuilder::new()
                    .schema(Some(seconds))
                    .description(Some("The seconds after which to come again"));
                response.headers.insert("retry-after".to_owned(), header.build().into());
            }
            if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response)
                && let Some(content) = response.content.shift_remove("application/json")
            {
                response.content.insert("application/problem+json".to_owned(), content);
            }
        }
    }
}
