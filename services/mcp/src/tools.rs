//! The tools. What goes wrong is told to the caller's model as a result that is an error, so that it can put it right.

use axum::{
    body::Body,
    http::{Method, Request, uri::PathAndQuery},
};
use kit::client::{self, BaseUrl, Client};
use rmcp::{
    ServerHandler,
    handler::server::wrapper::Parameters,
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    schemars::{self, JsonSchema},
    tool, tool_handler, tool_router,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

const BACKEND_TIMEOUT_MS: u64 = 15_000;
/// The most that the backend lists at once.
const LIST_LIMIT: usize = 500;

#[derive(Clone)]
pub struct Tools {
    backend_url: BaseUrl,
    client: Client,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTask {
    /// What is to be done, in one line of at most 200 characters
    title: String,
    /// More about it, if there is more to say
    description: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// true for completed tasks, false for open ones, left out for both
    completed: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TaskId {
    /// The task's id, a UUID as list_tasks shows it
    id: String,
}

#[tool_router]
impl Tools {
    pub fn new(backend_url: BaseUrl, client: Client) -> Self {
        Self { backend_url, client }
    }

    #[tool(description = "Add a task", annotations(destructive_hint = false, open_world_hint = false))]
    async fn add_task(&self, Parameters(task): Parameters<NewTask>) -> CallToolResult {
        let body = json!({"title": task.title, "description": task.description});
        result(self.call(Method::POST, "", Some(&body)).await)
    }

    #[tool(description = "List tasks, newest first", annotations(read_only_hint = true, open_world_hint = false))]
    async fn list_tasks(&self, Parameters(listing): Parameters<Listing>) -> CallToolResult {
        let filter = listing.completed.map(|completed| format!("&completed={completed}")).unwrap_or_default();
        let tasks = self.call(Method::GET, &format!("?limit={LIST_LIMIT}{filter}"), None).await;
        // A result's structure is an object; and a list that was cut says so.
        result(tasks.map(|tasks| {
            let cut = tasks.as_array().is_some_and(|tasks| tasks.len() == LIST_LIMIT);
            json!({"tasks": tasks, "there_may_be_more": cut})
        }))
    }

    #[tool(
        description = "Complete a task",
        annotations(destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn complete_task(&self, Parameters(TaskId { id }): Parameters<TaskId>) -> CallToolResult {
        let outcome = match parse_id(&id) {
            Ok(id) => self.call(Method::POST, &format!("/{id}/complete"), None).await,
            Err(reason) => Err(reason),
        };
        result(outcome)
    }

    #[tool(
        description = "Delete a task for good",
        annotations(destructive_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn delete_task(&self, Parameters(TaskId { id }): Parameters<TaskId>) -> CallToolResult {
        let outcome = match parse_id(&id) {
            Ok(id) => self.call(Method::DELETE, &format!("/{id}"), None).await.map(|_| json!({"deleted": id})),
            Err(reason) => Err(reason),
        };
        result(outcome)
    }

    /// `rest` is what follows `/api/tasks`, percent-encoded.
    async fn call(&self, method: Method, rest: &str, body: Option<&Value>) -> Result<Value, String> {
        let path: PathAndQuery = format!("/api/tasks{rest}").parse().map_err(|err| format!("not a path: {err}"))?;
        let uri = self.backend_url.join(&path);
        let request = match body {
            Some(body) => client::json_request(method, uri, body),
            None => {
                let mut request = Request::new(Body::empty());
                *request.method_mut() = method;
                *request.uri_mut() = uri;
                request
            }
        };
        let answer = client::send(&self.client, request, BACKEND_TIMEOUT_MS).await.map_err(|reason| {
            tracing::warn!("the backend can't be reached: {reason}");
            "the backend can't be reached; try again in a moment".to_owned()
        })?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status.is_success() {
            return Ok(value);
        }
        let message = value["error"]["message"].as_str().map(str::to_owned);
        Err(message.unwrap_or_else(|| format!("the backend answered {}", answer.status)))
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("todo-chatbot", env!("CARGO_PKG_VERSION")))
            .with_instructions("The user's tasks. List them before completing or deleting one: both need its id.")
    }
}

fn parse_id(id: &str) -> Result<Uuid, String> {
    id.trim().parse().map_err(|_| format!("«{id}» is not a task's id; list_tasks shows them"))
}

fn result(outcome: Result<Value, String>) -> CallToolResult {
    match outcome {
        Ok(value) => CallToolResult::structured(value),
        Err(reason) => CallToolResult::error(vec![ContentBlock::text(reason)]),
    }
}
