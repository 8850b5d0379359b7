//! A language model behind an OpenAI-compatible API. What it wants done comes back as calls of our commands.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{ACCEPT, AUTHORIZATION},
    },
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kit::client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    Place,
    understanding::{Filter, New, Request},
};
use crate::{config::ProviderConfig, error::ApiError, tasks::Priority};

/// For the whole of an answer; shorter than the frontend waits.
const ANSWER_TIMEOUT_MS: u64 = 25_000;
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// How often it may ask for something to be done before it has to say something.
const ROUNDS_MAX: usize = 5;
const CALLS_MAX: usize = 10;
/// How much of the conversation it is reported.
const HISTORY_MAX: i64 = 20;

const INSTRUCTIONS: &str = "You keep the user's to-do list. Use the tools to add, list, complete and delete tasks; ask \
    before you delete more than one. Refer to a task by its number and title. Answer briefly, in plain text.";

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

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    /// Sent back as it came when it asks for something to be done.
    message: Value,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    /// JSON, as text.
    arguments: String,
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

    pub async fn answer(&self, place: Place<'_>) -> Result<String, ApiError> {
        timeout(Duration::from_millis(ANSWER_TIMEOUT_MS), self.talk(place))
            .await
            .unwrap_or_else(|_| Err(self.failed(format!("gave no answer within {ANSWER_TIMEOUT_MS} ms"))))
    }

    async fn talk(&self, place: Place<'_>) -> Result<String, ApiError> {
        let history: Vec<(String, String)> = sqlx::query_as(
            "SELECT role, content FROM
                 (SELECT id, role, content FROM messages WHERE conversation_id = $1 ORDER BY id DESC LIMIT $2) AS latest
             ORDER BY id",
        )
        .bind(place.conversation_id)
        .bind(HISTORY_MAX)
        .fetch_all(place.pool)
        .await?;
        let mut messages = vec![json!({"role": "system", "content": INSTRUCTIONS})];
        messages.extend(history.iter().map(|(role, content)| json!({"role": role, "content": content})));
        for _ in 0..ROUNDS_MAX {
            let message = self.ask(&messages).await?;
            let said: Said = serde_json::from_value(message.clone())
                .map_err(|_| self.failed("gave an answer that can't be read".to_owned()))?;
            let calls = said.tool_calls.unwrap_or_default();
            if calls.is_empty() {
                return match said.content.map(|content| content.trim().to_owned()) {
                    Some(content) if !content.is_empty() => Ok(content),
                    _ => Err(self.failed("gave an empty answer".to_owned())),
                };
            }
            messages.push(message);
            for (number, call) in calls.iter().enumerate() {
                let outcome = match command(&call.function) {
                    _ if number >= CALLS_MAX => "Too many calls at once.".to_owned(),
                    Ok(command) => place.perform(command.request()).await?,
                    Err(reason) => reason,
                };
                debug!(tool = call.function.name, "the language model used a tool");
                messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": outcome}));
            }
        }
        Err(self.failed(format!("came to no end within {ROUNDS_MAX} rounds")))
    }

    async fn ask(&self, messages: &[Value]) -> Result<Value, ApiError> {
        let body = json!({"model": self.model, "messages": messages, "tools": tools()});
        let mut request = client::json_request(Method::POST, self.url.clone(), &body);
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = client::send(&self.client, request, ANSWER_TIMEOUT_MS)
            .await
            .map_err(|reason| self.failed(format!("can't be reached: {reason}")))?;
        // The body isn't logged: it may repeat a part of the key.
        if !answer.status.is_success() {
            let hint = match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; is its key right?",
                StatusCode::NOT_FOUND => "; are its address and its model right?",
                StatusCode::TOO_MANY_REQUESTS => "; it is asked too often",
                _ => "",
            };
            return Err(self.failed(format!("answered {}{hint}", answer.status)));
        }
        let answer: Answer = serde_json::from_slice(&answer.body)
            .map_err(|_| self.failed("gave an answer that can't be read".to_owned()))?;
        let choice = answer.choices.into_iter().next();
        choice.map(|choice| choice.message).ok_or_else(|| self.failed("gave no answer".to_owned()))
    }

    fn failed(&self, reason: String) -> ApiError {
        warn!(provider = self.name, model = self.model, "the language model {reason}");
        ApiError::Upstream(StatusCode::BAD_GATEWAY, "assistant_failed", format!("the language model {reason}"))
    }
}

fn command(function: &Function) -> Result<Command, String> {
    let arguments = match function.arguments.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|err| format!("The arguments can't be read: {err}"))?,
    };
    serde_json::from_value(json!({"name": function.name, "arguments": arguments}))
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
        command(&Function { name: name.to_owned(), arguments: arguments.to_owned() })
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
}
