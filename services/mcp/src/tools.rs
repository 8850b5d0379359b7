//! The tools. A failure is returned to the caller's model as a result that is an error, so that it can put it right.

use axum::{
    body::Body,
    http::{Method, Request, header::AUTHORIZATION, request::Parts, uri::PathAndQuery},
};
use kit::client::{self, Client};
use kit::url::BaseUrl;
use rmcp::{
    ServerHandler,
    handler::server::{tool::Extension, wrapper::Parameters},
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    schemars::{self, JsonSchema},
    tool, tool_handler, tool_router,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    /// low, medium or high; medium if it is left out
    priority: Option<Priority>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    Medium,
    High,
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
    /// The task's id, a number as list_tasks shows it
    id: i32,
}

#[tool_router]
impl Tools {
    pub fn new(backend_url: BaseUrl, client: Client) -> Self {
        Self { backend_url, client }
    }

    #[tool(description = "Add a task", annotations(destructive_hint = false, open_world_hint = false))]
    async fn add_task(
        &self,
        Extension(caller): Extension<Parts>,
        Parameters(task): Parameters<NewTask>,
    ) -> CallToolResult {
        let mut body = json!({"title": task.title, "description": task.description});
        if let Some(priority) = task.priority {
            body["priority"] = json!(priority);
        }
        result(self.call(&caller, Method::POST, "", Some(&body)).await)
    }

    #[tool(description = "List tasks, newest first", annotations(read_only_hint = true, open_world_hint = false))]
    async fn list_tasks(
        &self,
        Extension(caller): Extension<Parts>,
        Parameters(listing): Parameters<Listing>,
    ) -> CallToolResult {
        let filter = listing.completed.map(|completed| format!("&completed={completed}")).unwrap_or_default();
        let tasks = self.call(&caller, Method::GET, &format!("?limit={LIST_LIMIT}{filter}"), None).await;
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
    async fn complete_task(
        &self,
        Extension(caller): Extension<Parts>,
        Parameters(TaskId { id }): Parameters<TaskId>,
    ) -> CallToolResult {
        result(self.call(&caller, Method::POST, &format!("/{id}/complete"), None).await)
    }

    #[tool(
        description = "Delete a task for good",
        annotations(destructive_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn delete_task(
        &self,
        Extension(caller): Extension<Parts>,
        Parameters(TaskId { id }): Parameters<TaskId>,
    ) -> CallToolResult {
        let outcome = self.call(&caller, Method::DELETE, &format!("/{id}"), None).await;
        result(outcome.map(|_| json!({"deleted": id})))
    }

    /// `rest` is what follows `/api/tasks`, percent-encoded. The backend decides by the caller's own token what he may do.
    async fn call(&self, caller: &Parts, method: Method, rest: &str, body: Option<&Value>) -> Result<Value, String> {
        let path: PathAndQuery = format!("/api/tasks{rest}").parse().map_err(|err| format!("not a path: {err}"))?;
        let uri = self.backend_url.join(&path);
        let mut request = match body {
            Some(body) => client::json_request(method, uri, body),
            None => {
                let mut request = Request::new(Body::empty());
                *request.method_mut() = method;
                *request.uri_mut() = uri;
                request
            }
        };
        if let Some(authorization) = caller.headers.get(AUTHORIZATION) {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
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

fn result(outcome: Result<Value, String>) -> CallToolResult {
    match outcome {
        Ok(value) => CallToolResult::structured(value),
        Err(reason) => CallToolResult::error(vec![ContentBlock::text(reason)]),
    }
}
