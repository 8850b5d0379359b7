//! What requests bring: path, query and body. What can't be read is answered in our words, not in those of a parser.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::ApiError;

/// A body that is JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            let message = "the body is not JSON; send Content-Type: application/json".to_owned();
            return Err(ApiError::Body(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|err| match err.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::Body(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large; send at most 256 KiB".to_owned())
            }
            status => ApiError::Body(status, "the body did not arrive whole; send it again".to_owned()),
        })?;
        from_json(&bytes).map(Self)
    }
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::BadRequest("the body is not UTF-8".to_owned()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json)
        .map_err(|err| (err.path().to_string(), err.into_inner()))
        .and_then(|value| json.end().map(|()| value).map_err(|err| (String::new(), err)));
    // A list would pass for an object whose fields are in that order.
    let is_object = text.trim_start().starts_with('{');
    let is_json = || serde_json::from_str::<IgnoredAny>(text).is_ok();
    if !is_object && is_json() {
        return Err(ApiError::Invalid("the body is not an object".to_owned()));
    }
    read.map_err(|(path, err)| match err.classify() {
        // A word that isn't even text counts as no syntax.
        Category::Data | Category::Syntax if is_json() => ApiError::Invalid(explain(&path, &err.to_string())),
        _ if text.is_empty() => ApiError::BadRequest("the body is empty; send JSON".to_owned()),
        _ => ApiError::BadRequest(format!("the body is not JSON: see line {}, column {}", err.line(), err.column())),
    })
}

/// A part of the path: an id.
pub struct Part<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Part<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value))
            .map_err(|_| ApiError::BadRequest("the id in the path is not a whole number, or is too large".to_owned()))
    }
}

/// A query.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        from_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs)
        .map_err(|err| ApiError::BadRequest(explain(&err.path().to_string(), &err.inner().to_string())))
}

/// A parser's message about the field at a path, in our words.
fn explain(path: &str, message: &str) -> String {
    let field = match path {
        "" | "." | "?" => "a value".to_owned(),
        path => path.to_owned(),
    };
    // What a message quotes may be the client's, and anything.
    let words: Vec<&str> = message.split('`').collect();
    let choices: Vec<&str> = words.iter().skip(3).step_by(2).copied().collect();
    let quoted = words.get(1).copied().unwrap_or_default();
    if message.starts_with("missing field") {
        format!("{quoted} is missing")
    } else if message.starts_with("duplicate field") {
        format!("{quoted} is given twice")
    } else if message.starts_with("unknown field") && quoted.len() <= 64 && !choices.is_empty() {
        format!("{quoted} is not a field of this; there are {}", list(&choices))
    } else if message.starts_with("unknown variant") && !choices.is_empty() {
        format!("{field} is not one of {}", list(&choices))
    } else if message.starts_with("expected value") {
        format!("{field} is not text")
    } else if message.starts_with("invalid type") || message.starts_with("provided string was not") {
        format!("{field} is not {}", expected(message))
    } else if message.starts_with("invalid value") || message.starts_with("number too") {
        format!("{field} is out of range")
    } else if message.starts_with("invalid digit") {
        format!("{field} is not a whole number")
    } else {
        format!("{field} can't be read")
    }
}

fn list(choices: &[&str]) -> String {
    match choices.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What was to be there. The message ends with it, and with where it isn't.
fn expected(message: &str) -> &'static str {
    let wanted = message.rsplit_once("expected ").map_or(message, |(_, wanted)| wanted);
    if wanted.contains("string") && !wanted.contains("`true`") {
        "text"
    } else if wanted.contains("bool") || wanted.contains("`true`") {
        "true or false"
    } else if wanted.contains("sequence") {
        "a list"
    } else if wanted.starts_with('i') || wanted.starts_with('u') {
        "a whole number"
    } else {
        "an object"
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Sample {
        title: String,
        #[serde(default)]
        word: Option<Word>,
        #[serde(default)]
        flag: Option<bool>,
        #[serde(default)]
        number: Option<i32>,
        #[serde(default)]
        list: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Low,
        High,
    }

    fn message(outcome: Result<Sample, ApiError>) -> String {
        match outcome {
            Err(ApiError::Invalid(message)) => format!("422 {message}"),
            Err(ApiError::BadRequest(message)) => format!("400 {message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_that_is_wrong_is_answered_in_our_words() {
        for (body, wanted) in [
            ("", "400 the body is empty; send JSON"),
            ("{", "400 the body is not JSON: see line 1, column 1"),
            (r#"{"title": "x"} y"#, "400 the body is not JSON: see line 1, column 16"),
            ("{}", "422 title is missing"),
            ("[]", "422 the body is not an object"),
            (r#"["milk"]"#, "422 the body is not an object"),
            (" 7", "422 the body is not an object"),
            (r#"{"title": 1}"#, "422 title is not text"),
            (r#"{"title": "x", "title": "y"}"#, "422 title is given twice"),
            (r#"{"titel": "x"}"#, "422 titel is not a field of this; there are title, word, flag, number and list"),
            (r#"{"title": "x", "word": "odd"}"#, "422 word is not one of low and high"),
            (r#"{"title": "x", "word": 7}"#, "422 word is not text"),
            (r#"{"title": "x", "flag": "yes"}"#, "422 flag is not true or false"),
            (r#"{"title": "x", "number": "1"}"#, "422 number is not a whole number"),
            (r#"{"title": "x", "number": 99999999999}"#, "422 number is out of range"),
            (r#"{"title": "x", "number": 1.5}"#, "422 number is not a whole number"),
            (r#"{"title": "x", "list": "a"}"#, "422 list is not a list"),
            (r#"{"title": "x", "list": ["a", 1]}"#, "422 list[1] is not text"),
        ] {
            assert_eq!(message(from_json(body.as_bytes())), wanted, "{body}");
        }
        assert_eq!(message(from_json(&[b'{', 0xff, b'}'])), "400 the body is not UTF-8");
    }

    #[test]
    fn a_query_that_is_wrong_is_answered_in_our_words() {
        for (query, wanted) in [
            ("", "400 title is missing"),
            ("title=x&word=odd", "400 word is not one of low and high"),
            ("title=x&flag=maybe", "400 flag is not true or false"),
            ("title=x&number=many", "400 number is not a whole number"),
            ("title=x&number=", "400 number can't be read"),
            ("title=x&number=99999999999", "400 number is out of range"),
            ("title=x&title=y", "400 title is given twice"),
            ("title=x&order=title", "400 order is not a field of this; there are title, word, flag, number and list"),
        ] {
            assert_eq!(message(from_query(query)), wanted, "{query}");
        }
        let long = format!("title=x&{}=1", "x".repeat(65));
        assert_eq!(message(from_query(&long)).len(), "400  can't be read".len() + 65);
        assert!(from_query::<Sample>("title=x&flag=true&number=7&word=low").is_ok());
    }
}
