//! An answer under way: it goes on whether or not somebody listens, and who comes later hears it from its beginning.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use axum::{
    body::{Bytes, to_bytes},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard, watch};
use utoipa::ToSchema;

use crate::{error::ApiError, metrics};

/// Something that the assistant did for the user.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ToolCall {
    /// As the MCP server names it, `add_task` for instance.
    pub name: String,
    /// What was done, in a sentence.
    pub summary: String,
    /// Takes it back by `POST /api/tasks/undo`, for 15 minutes.
    pub undo_token: Option<String>,
    pub failed: bool,
}

/// A part of an answer, as it is streamed.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

/// What an answer came to: the id of the message that was kept, or what is answered instead.
#[derive(Clone)]
pub enum Outcome {
    Kept(i32),
    Failed(StatusCode, HeaderMap, Bytes),
}

pub struct Answer {
    conversation_id: i32,
    so_far: Mutex<SoFar>,
    news: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct SoFar {
    content: String,
    tool_calls: Vec<ToolCall>,
    events: Vec<Event>,
    outcome: Option<Outcome>,
}

impl Answer {
    pub fn new(conversation_id: i32) -> Self {
        Self {
            conversation_id,
            so_far: Mutex::default(),
            news: watch::Sender::default(),
            stop: watch::Sender::default(),
        }
    }

    /// Goes on with the answer.
    pub fn say(&self, text: &str) {
        // The table takes none of these.
        let text = text.replace('\0', "");
        if !text.is_empty() {
            let mut so_far = self.so_far();
            so_far.content.push_str(&text);
            so_far.events.push(event("delta", &json!({"text": text})));
            drop(so_far);
            self.news.send_replace(());
        }
    }

    pub fn report(&self, tool_call: ToolCall) {
        metrics::count_tool_call(&tool_call.name, tool_call.failed);
        let mut so_far = self.so_far();
        so_far.events.push(event("tool_call", &json!(tool_call)));
        so_far.tool_calls.push(tool_call);
        drop(so_far);
        self.news.send_replace(());
    }

    /// What was said until now, and what was done.
    pub fn so_far_said(&self) -> (String, Vec<ToolCall>) {
        let so_far = self.so_far();
        (so_far.content.clone(), so_far.tool_calls.clone())
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the user wants no more of it.
    pub async fn stopped(&self) {
        // The sender lives as long as this.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Ends it with the message as it was kept.
    pub fn keep(&self, id: i32, message: &impl Serialize) {
        self.end(event("assistant", &json!(message)), Outcome::Kept(id));
    }

    pub async fn fail(&self, error: ApiError) {
        let (parts, body) = error.into_response().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let event = Event { name: "error", data: String::from_utf8_lossy(&body).into() };
        self.end(event, Outcome::Failed(parts.status, parts.headers, body));
    }

    /// Ends it where nothing else has.
    pub fn abandon(&self) {
        let (status, body) = (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
        self.end(
            event("error", &json!({"status": 500, "code": "internal"})),
            Outcome::Failed(status, HeaderMap::new(), body),
        );
    }

    /// The next part after those that were seen; none after the last.
    pub async fn next(&self, seen: &mut usize) -> Option<Event> {
        let mut news = self.news.subscribe();
        loop {
            {
                let so_far = self.so_far();
                if let Some(event) = so_far.events.get(*seen) {
                    *seen += 1;
                    return Some(event.clone());
                }
                if so_far.outcome.is_some() {
                    return None;
                }
            }
            // The sender lives as long as this.
            let _ = news.changed().await;
        }
    }

    pub async fn outcome(&self) -> Outcome {
        let mut news = self.news.subscribe();
        loop {
            if let Some(outcome) = self.so_far().outcome.clone() {
                return outcome;
            }
            let _ = news.changed().await;
        }
    }

    fn end(&self, event: Event, outcome: Outcome) {
        let mut so_far = self.so_far();
        if so_far.outcome.is_none() {
            so_far.events.push(event);
            so_far.outcome = Some(outcome);
        }
        drop(so_far);
        self.news.send_replace(());
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until it is dropped, no other message of its conversation is answered here.
pub type Turn = OwnedMutexGuard<()>;

/// The answers that are under way here, each by the message that it answers.
#[derive(Default)]
pub struct Answers {
    of_messages: Mutex<HashMap<i32, Arc<Answer>>>,
    /// By conversation, for as long as somebody has the turn or waits for it.
    turns: Mutex<HashMap<i32, Weak<Lock<()>>>>,
}

impl Answers {
    /// The one that is under way, or a new one, and whether it is new.
    pub fn enter(&self, message_id: i32, conversation_id: i32) -> (Arc<Answer>, bool) {
        let mut answers = self.of_messages();
        if let Some(answer) = answers.get(&message_id) {
            return (answer.clone(), false);
        }
        let answer = Arc::new(Answer::new(conversation_id));
        answers.insert(message_id, answer.clone());
        (answer, true)
    }

    pub fn leave(&self, message_id: i32) {
        self.of_messages().remove(&message_id);
    }

    /// Waits for those who have come before.
    pub async fn turn(&self, conversation_id: i32) -> Turn {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, lock| lock.strong_count() > 0);
            let known = turns.get(&conversation_id).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                turns.insert(conversation_id, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    pub fn stop(&self, conversation_id: i32) {
        let answers = self.of_messages();
        answers.values().filter(|answer| answer.conversation_id == conversation_id).for_each(|answer| answer.stop());
    }

    fn of_messages(&self) -> MutexGuard<'_, HashMap<i32, Arc<Answer>>> {
        self.of_messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(name: &'static str, data: &serde_json::Value) -> Event {
    Event { name, data: data.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(answer: &Answer) -> Vec<&'static str> {
        let (mut seen, mut names) = (0, Vec::new());
        while let Some(event) = answer.next(&mut seen).await {
            names.push(event.name);
        }
        names
    }

    #[tokio::test]
    async fn who_comes_late_hears_all_of_it() {
        let answer = Arc::new(Answer::new(1));
        let early = tokio::spawn({
            let answer = answer.clone();
            async move { heard(&answer).await }
        });
        answer.say("Added");
        answer.say("");
        let tool_call =
            ToolCall { name: "add_task".to_owned(), summary: "Added it.".to_owned(), undo_token: None, failed: false };
        answer.report(tool_call.clone());
        answer.say(" \0it.");
        assert_eq!(answer.so_far_said(), ("Added it.".to_owned(), vec![tool_call]));
        answer.keep(7, &json!({}));
        // The first end counts.
        answer.fail(ApiError::Internal).await;
        let wanted = ["delta", "tool_call", "delta", "assistant"];
        assert_eq!(early.await.unwrap(), wanted);
        assert_eq!(heard(&answer).await, wanted);
        assert!(matches!(answer.outcome().await, Outcome::Kept(7)));
    }

    #[tokio::test]
    async fn a_failure_is_what_another_client_would_be_answered() {
        let answer = Answer::new(1);
        answer.fail(ApiError::NotFound("conversation")).await;
        assert_eq!(heard(&answer).await, ["error"]);
        assert!(matches!(answer.outcome().await, Outcome::Failed(StatusCode::NOT_FOUND, ..)));
    }

    #[tokio::test]
    async fn a_stop_is_of_one_conversation() {
        let answers = Answers::default();
        let ((one, is_new), (other, _)) = (answers.enter(1, 10), answers.enter(2, 20));
        assert!(is_new && !answers.enter(1, 10).1);
        answers.stop(10);
        one.stopped().await;
        assert!(one.is_stopped() && !other.is_stopped());
        answers.leave(1);
        assert!(answers.enter(1, 10).1 && !answers.enter(2, 20).1);
    }
}
