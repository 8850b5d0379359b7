//! A language model behind an OpenAI-compatible API. What it wants done comes back as calls of our commands.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
    },
};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kit::client;
use serde::Deserialize;
use serde_json::{Value, json};
use sse_stream::SseStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    Place,
    consent::{Consent, Verdict},
    understanding::{Filter, New, Request},
};
use crate::{config::ProviderConfig, error::ApiError, tasks::Priority};

/// For the whole of an answer; shorter than anybody else takes it for given up.
const ANSWER_TIMEOUT_MS: u64 = 120_000;
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// Until it begins to answer; shorter than the frontend waits.
const HEAD_TIMEOUT_MS: u64 = 25_000;
/// Between two pieces.
const SILENCE_TIMEOUT_MS: u64 = 20_000;
const ROUND_MAX_BYTES: usize = 256 * 1024;
const TOO_MUCH: &str = "said too much at once";
/// How often it may ask for something to be done before it has to say something.
const ROUNDS_MAX: usize = 5;
const CALLS_MAX: usize = 10;
/// How much of the conversation it is reported.
const HISTORY_MAX: i64 = 20;

const INSTRUCTIONS: &str = "You keep the user's to-do list. Use the tools to add, list, complete and delete tasks; ask \
    before you delete more than one. Refer to a task by its number and title. Answer briefly, in plain text.";

const HELD: &str = "Not done yet: the user did not ask for it, and is asked after your answer. Do not ask yourself.";
const REFUSED: &str = "Not done: the user is asked about something else first.";

/// What the model may ask for.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "name", content = "arguments", rename_all = "snake_case")]
enum Command {
    AddTask {
        title: String,
        description: Option<String>,
        #[serde(default)]
        priority: Priority,
    },
    ListTasks {
        completed: Option<bool>,
    },
    CompleteTask {
        id: i32,
    },
    DeleteTask {
        id: i32,
    },
}

impl Command {
    fn request(self) -> Request {
        match self {
            Self::AddTask { title, description, priority } => {
                Request::Add(New { title, description, priority: Some(priority), ..New::default() })
            }
            Self::ListTasks { completed } => Request::List(Filter { completed, ..Filter::default() }),
            Self::CompleteTask { id } => Request::Complete { ids: vec![id] },
            Self::DeleteTask { id } => Request::Delete { ids: vec![id] },
        }
    }
}

pub struct Provider {
    name: &'static str,
    model: String,
    url: Uri,
    authorization: HeaderValue,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// What the model said in a round: text, which is streamed already, and what it wants done.
#[derive(Default)]
struct Round {
    content: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Whole {
    choices: Vec<WholeChoice>,
}

#[derive(Deserialize)]
struct WholeChoice {
    message: Part,
}

/// A piece of a stream.
#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<PieceChoice>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct PieceChoice {
    #[serde(default)]
    delta: Part,
}

#[derive(Default, Deserialize)]
struct Part {
    content: Option<String>,
    tool_calls: Option<Vec<PartOfCall>>,
}

/// The whole of a call, or a piece: the first has its id and name, and each some of its arguments.
#[derive(Deserialize)]
struct PartOfCall {
    index: Option<usize>,
    id: Option<String>,
    #[serde(default)]
    function: PartOfFunction,
}

#[derive(Default, Deserialize)]
struct PartOfFunction {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
struct Call {
    id: String,
    name: String,
    /// JSON, as text.
    arguments: String,
}

impl Round {
    /// Takes a part in; false where the model sends more than it should.
    fn take(&mut self, part: Part) -> bool {
        self.content.push_str(part.content.as_deref().unwrap_or_default());
        for (number, piece) in part.tool_calls.into_iter().flatten().enumerate() {
            let index = piece.index.unwrap_or(number);
            if index >= CALLS_MAX {
                return false;
            }
            if self.calls.len() <= index {
                self.calls.resize_with(index + 1, Call::default);
            }
            let call = &mut self.calls[index];
            call.id.push_str(piece.id.as_deref().unwrap_or_default());
            call.name.push_str(piece.function.name.as_deref().unwrap_or_default());
            call.arguments.push_str(piece.function.arguments.as_deref().unwrap_or_default());
        }
        self.content.len() + self.calls.iter().map(|call| call.arguments.len()).sum::<usize>() <= ROUND_MAX_BYTES
    }

    /// As it is sent back.
    fn message(&self) -> Value {
        let call = |call: &Call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
        let content = (!self.content.is_empty()).then_some(&self.content);
        json!({"role": "assistant", "content": content, "tool_calls": self.calls.iter().map(call).collect::<Vec<_>>()})
    }
}

impl Provider {
    pub fn open(config: &ProviderConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("ring has the default protocol versions")
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", config.key.reveal()))
            .expect("the configuration takes no other key");
        authorization.set_sensitive(true);
        Self {
            name: config.name,
            model: config.model.clone(),
            url: config.url.clone(),
            authorization,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    pub async fn answer(
        &self,
        place: Place<'_>,
        history: &[(String, String)],
        consent: &mut Consent,
    ) -> Result<(), ApiError> {
        timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), self.talk(place, history, consent))
            .await
            .unwrap_or_else(|_| Err(self.failed(format!("came to no end within {ANSWER_TIMEOUT_MS} ms"))))
    }

    async fn talk(
        &self,
        place: Place<'_>,
        history: &[(String, String)],
        consent: &mut Consent,
    ) -> Result<(), ApiError> {
        let mut messages = vec![json!({"role": "system", "content": INSTRUCTIONS})];
        messages.extend(history.iter().map(|(role, content)| json!({"role": role, "content": content})));
        for _ in 0..ROUNDS_MAX {
            let round = tokio::select! {
                () = place.answer.stopped() => return Ok(()),
                round = self.ask(&messages, place.answer) => round?,
            };
            if round.calls.is_empty() {
                let is_empty = round.content.trim().is_empty() && !consent.is_holding();
                return if is_empty { Err(self.failed("gave an empty answer".to_owned())) } else { Ok(()) };
            }
            if !round.content.is_empty() {
                place.answer.say("\n\n");
            }
            messages.push(round.message());
            for call in &round.calls {
                if place.answer.is_stopped() {
                    return Ok(());
                }
                let outcome = match command(call).map(Command::request) {
                    Ok(request) => match consent.judge(&request) {
                        Verdict::Go => place.perform(request).await?,
                        Verdict::Held => HELD.to_owned(),
                        Verdict::Refused => REFUSED.to_owned(),
                    },
                    Err(reason) => reason,
                };
                debug!(tool = call.name, "the language model used a tool");
                messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": outcome}));
            }
        }
        Err(self.failed(format!("came to no end within {ROUNDS_MAX} rounds")))
    }

    /// Text goes to the answer as it comes.
    async fn ask(&self, messages: &[Value], answer: &super::Answer) -> Result<Round, ApiError> {
        let body = json!({"model": self.model, "messages": messages, "tools": tools(), "stream": true});
        let mut request = client::json_request(Method::POST, self.url.clone(), &body);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        let response = within(HEAD_TIMEOUT_MS, self.client.request(request))
            .await
            .and_then(|sent| sent.map_err(|err| client::reason(&err)))
            .map_err(|reason| self.failed(format!("can't be reached: {reason}")))?;
        // The body isn't logged: it may repeat a part of the key.
        if !response.status().is_success() {
            let hint = match response.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; is its key right?",
                StatusCode::NOT_FOUND => "; are its address and its model right?",
                StatusCode::TOO_MANY_REQUESTS => "; it is asked too often",
                _ => "",
            };
            return Err(self.failed(format!("answered {}{hint}", response.status())));
        }
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/event-stream")));
        let body = response.into_body();
        // Some answer in one piece, whatever they are asked for.
        let round = if is_stream { self.read_stream(body, answer).await? } else { self.read_whole(body).await? };
        if !is_stream {
            answer.say(&round.content);
        }
        Ok(round)
    }

    async fn read_whole(&self, body: Incoming) -> Result<Round, ApiError> {
        let unreadable = || self.failed("gave an answer that can't be read".to_owned());
        let body = within(SILENCE_TIMEOUT_MS, Limited::new(body, ROUND_MAX_BYTES).collect())
            .await
            .map_err(|reason| self.failed(format!("broke off: {reason}")))?
            .map_err(|_| unreadable())?;
        let whole: Whole = serde_json::from_slice(&body.to_bytes()).map_err(|_| unreadable())?;
        let choice = whole.choices.into_iter().next().ok_or_else(|| self.failed("gave no answer".to_owned()))?;
        let mut round = Round::default();
        if round.take(choice.message) { Ok(round) } else { Err(self.failed(TOO_MUCH.to_owned())) }
    }

    async fn read_stream(&self, body: Incoming, answer: &super::Answer) -> Result<Round, ApiError> {
        let mut round = Round::default();
        let mut events = SseStream::new(body);
        loop {
            let event = within(SILENCE_TIMEOUT_MS, events.next())
                .await
                .map_err(|reason| self.failed(format!("broke off: {reason}")))?;
            let data = match event {
                // Only the last word says that it is the whole.
                None | Some(Err(_)) => return Err(self.failed("broke off in the middle of its answer".to_owned())),
                Some(Ok(event)) => event.data.unwrap_or_default(),
            };
            match data.trim() {
                "" => continue,
                "[DONE]" => return Ok(round),
                _ => {}
            }
            let piece: Piece =
                serde_json::from_str(&data).map_err(|_| self.failed("gave an answer that can't be read".to_owned()))?;
            if piece.error.is_some() {
                return Err(self.failed("failed in the middle of its answer".to_owned()));
            }
            let Some(choice) = piece.choices.into_iter().next() else { continue };
            answer.say(choice.delta.content.as_deref().unwrap_or_default());
            if !round.take(choice.delta) {
                return Err(self.failed(TOO_MUCH.to_owned()));
            }
        }
    }

    fn failed(&self, reason: String) -> ApiError {
        warn!(provider = self.name, model = self.model, "the language model {reason}");
        ApiError::Upstream(StatusCode::BAD_GATEWAY, "assistant_failed", format!("the language model {reason}"))
    }
}

async fn within<T>(timeout_ms: u64, work: impl Future<Output = T>) -> Result<T, String> {
    timeout(Duration::from_millis(timeout_ms), work).await.map_err(|_| format!("no word within {timeout_ms} ms"))
}

/// The latest of the conversation, each with who said it.
pub async fn history(place: Place<'_>) -> Result<Vec<(String, String)>, ApiError> {
    let history = sqlx::query_as(
        "SELECT role, content FROM
             (SELECT id, role, content FROM messages WHERE conversation_id = $1 ORDER BY id DESC LIMIT $2) AS latest
         ORDER BY id",
    )
    .bind(place.conversation_id)
    .bind(HISTORY_MAX)
    .fetch_all(place.pool)
    .await?;
    Ok(history)
}

fn command(call: &Call) -> Result<Command, String> {
    let arguments = match call.arguments.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|err| format!("The arguments can't be read: {err}"))?,
    };
    serde_json::from_value(json!({"name": call.name, "arguments": arguments}))
        .map_err(|err| format!("That call can't be carried out: {err}"))
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        let parameters = json!({"type": "object", "properties": properties, "required": required});
        json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
    };
    let id = json!({"id": {"type": "integer", "description": "The task's number"}});
    json!([
        tool(
            "add_task",
            "Add a task",
            json!({
                "title": {"type": "string", "description": "One line of at most 200 characters"},
                "description": {"type": "string"},
                "priority": {"type": "string", "enum": ["low", "medium", "high"]},
            }),
            &["title"],
        ),
        tool(
            "list_tasks",
            "List tasks with their numbers, newest first",
            json!({"completed": {"type": "boolean", "description": "true for completed tasks, false for open ones"}}),
            &[],
        ),
        tool("complete_task", "Complete a task", id.clone(), &["id"]),
        tool("delete_task", "Delete a task for good", id, &["id"]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str, arguments: &str) -> Result<Command, String> {
        command(&Call { id: String::new(), name: name.to_owned(), arguments: arguments.to_owned() })
    }

    #[test]
    fn every_tool_is_a_command() {
        for tool in tools().as_array().unwrap() {
            let arguments = json!({"title": "milk", "id": 3}).to_string();
            assert!(called(tool["function"]["name"].as_str().unwrap(), &arguments).is_ok(), "{tool}");
        }
        assert_eq!(called("list_tasks", ""), Ok(Command::ListTasks { completed: None }));
        for (name, arguments) in
            [("drop_table", "{}"), ("add_task", "{}"), ("delete_task", r#"{"id": "x"}"#), ("x", "{")]
        {
            assert!(called(name, arguments).is_err(), "{name} {arguments}");
        }
    }

    #[test]
    fn a_call_comes_in_pieces() {
        let part = |part: Value| Part::deserialize(part).unwrap();
        let mut round = Round::default();
        for piece in [
            json!({"content": "One "}),
            json!({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "list_tasks"}}]}),
            json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "add_task", "arguments": ""}}]}),
            json!({"content": "moment", "tool_calls": [{"index": 0, "function": {"arguments": "{\"title\":"}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"milk\"}"}}]}),
        ] {
            assert!(round.take(part(piece)));
        }
        let call = |id: &str, name: &str, arguments: &str| Call {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        assert_eq!(round.content, "One moment");
        assert_eq!(round.calls, [call("a", "add_task", r#"{"title":"milk"}"#), call("b", "list_tasks", "")]);
        assert!(!round.take(part(json!({"tool_calls": [{"index": CALLS_MAX}]}))));
        assert!(!round.take(part(json!({"content": "x".repeat(ROUND_MAX_BYTES)}))));
    }
}
