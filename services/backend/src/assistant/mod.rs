//! Who answers in a conversation: a language model where there is a key for one, else a small grammar. Both do what the
//! user asks for to his own tasks, by the same commands.

mod grammar;
mod provider;
pub mod understanding;

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use crate::{
    config::AssistantConfig,
    error::{ApiError, Page},
    tasks::{Priority, Task, store},
};

use provider::Provider;

/// More than one reads in a conversation.
const LIST_MAX: i64 = 50;

const HELP: &str = "I keep your tasks. Try:\n\
    add buy milk — or: add buy milk !high\n\
    list — or: list done, list all\n\
    done 3\n\
    delete 3";

pub enum Assistant {
    BuiltIn,
    Provider(Box<Provider>),
}

/// What can be done to tasks. `None` for an id means the task that was last spoken of.
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
        id: Option<i32>,
    },
    DeleteTask {
        id: Option<i32>,
    },
}

/// Whose tasks, and in which conversation.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub pool: &'a PgPool,
    pub user_id: &'a str,
    pub conversation_id: i32,
}

impl Assistant {
    pub fn open(config: &AssistantConfig) -> Self {
        match &config.provider {
            None => Self::BuiltIn,
            Some(provider) => Self::Provider(Box::new(Provider::open(provider))),
        }
    }

    /// Answers the last message of the conversation, which is `said`.
    pub async fn answer(&self, place: Place<'_>, said: &str) -> Result<String, ApiError> {
        match self {
            Self::Provider(provider) => provider.answer(place).await,
            Self::BuiltIn => match grammar::parse(said) {
                Ok(command) => place.perform(command).await,
                Err(hint) => Ok(hint),
            },
        }
    }
}

impl Place<'_> {
    /// Does it, and says what was done. What the user can put right is said as well and is no error.
    async fn perform(self, command: Command) -> Result<String, ApiError> {
        match self.attempt(command).await {
            Err(ApiError::Invalid(reason)) => Ok(format!("That can't be: {reason}.")),
            Err(ApiError::NotFound(_)) => Ok("There is no such task. \"list\" shows the numbers.".to_owned()),
            outcome => outcome,
        }
    }

    async fn attempt(self, command: Command) -> Result<String, ApiError> {
        let Self { pool, user_id, .. } = self;
        match command {
            Command::AddTask { title, description, priority } => {
                let task = store::add(pool, user_id, &title, description.as_deref(), priority).await?;
                self.remember(task.id).await?;
                Ok(format!("Added {}.", named(&task)))
            }
            Command::ListTasks { completed } => {
                let tasks = store::list(pool, user_id, completed, Page { limit: LIST_MAX, offset: 0 }).await?;
                Ok(listed(&tasks, completed))
            }
            Command::CompleteTask { id } => {
                let task = store::complete(pool, user_id, self.meant(id).await?).await?;
                self.remember(task.id).await?;
                Ok(format!("Done: {}.", named(&task)))
            }
            Command::DeleteTask { id } => {
                let task = store::remove(pool, user_id, self.meant(id).await?).await?;
                Ok(format!("Deleted {}.", named(&task)))
            }
        }
    }

    async fn meant(self, id: Option<i32>) -> Result<i32, ApiError> {
        if let Some(id) = id {
            return Ok(id);
        }
        let remembered: Option<Option<i32>> =
            sqlx::query_scalar("SELECT (state->>'last_task')::integer FROM agent_state WHERE conversation_id = $1")
                .bind(self.conversation_id)
                .fetch_optional(self.pool)
                .await?;
        remembered.flatten().ok_or_else(|| ApiError::Invalid("say which task, by its number".to_owned()))
    }

    async fn remember(self, task_id: i32) -> Result<(), ApiError> {
        // No row where the conversation was deleted meanwhile.
        sqlx::query(
            "INSERT INTO agent_state (conversation_id, state) SELECT id, $2 FROM conversations WHERE id = $1
             ON CONFLICT (conversation_id) DO UPDATE SET state = agent_state.state || excluded.state, updated_at = now()",
        )
        .bind(self.conversation_id)
        .bind(json!({"last_task": task_id}))
        .execute(self.pool)
        .await?;
        Ok(())
    }
}

fn named(task: &Task) -> String {
    format!("{} \"{}\"", task.id, task.title)
}

fn listed(tasks: &[Task], completed: Option<bool>) -> String {
    if tasks.is_empty() {
        let nothing = match completed {
            Some(false) => "Nothing is open.",
            Some(true) => "Nothing is done yet.",
            None => "There are no tasks yet.",
        };
        return nothing.to_owned();
    }
    let mut text = String::new();
    for task in tasks {
        let done = if task.completed && completed.is_none() { " (done)" } else { "" };
        let priority = match task.priority {
            Priority::Low => " (low)",
            Priority::Medium => "",
            Priority::High => " (high)",
        };
        writeln!(text, "{}: {}{priority}{done}", task.id, task.title).expect("a string takes everything");
    }
    if i64::try_from(tasks.len()) == Ok(LIST_MAX) {
        text.push_str("There may be more.");
    }
    text.truncate(text.trim_end().len());
    text
}
