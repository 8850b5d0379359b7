//! Who answers in a conversation: a language model where there is a key for one, else a grammar of ordinary English. The
//! model works through the MCP server alone, with the user's own token.

mod answer;
mod consent;
mod mcp;
mod memory;
mod perform;
mod provider;
mod replies;
pub mod understanding;
mod wishes;
mod work;

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use sqlx::PgPool;
use time::PrimitiveDateTime;

use crate::{
    config::{AssistantConfig, Secret},
    error::ApiError,
    metrics::Kind,
};

use consent::Consent;
use mcp::Mcp;
use memory::Memory;
use provider::Provider;
use understanding::{Known, Problem, Question, Request, Scene, Understanding, Wish, understand};
use work::{Bench, Work};

pub use answer::{Answer, Answers, Outcome, ToolCall, Turn};

/// For all that one yes has done.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(100);

pub enum Assistant {
    BuiltIn,
    Model(Box<Model>),
}

/// A language model, and what it works through.
pub struct Model {
    provider: Provider,
    mcp: Mcp,
}

/// Whose tasks, and in which conversation.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub pool: &'a PgPool,
    pub user_id: &'a str,
    /// Of the request that is answered; none where there are no accounts.
    pub token: Option<&'a Secret>,
    pub conversation_id: i32,
    /// In which the user means days and times.
    pub time_zone: &'a str,
    /// Where what is said and done goes.
    pub answer: &'a Answer,
}

impl Assistant {
    pub fn open(config: &AssistantConfig) -> Self {
        match &config.provider {
            None => Self::BuiltIn,
            Some(config) => {
                Self::Model(Box::new(Model { provider: Provider::open(config), mcp: Mcp::open(&config.mcp_url) }))
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::BuiltIn => Kind::BuiltIn,
            Self::Model(_) => Kind::Model,
        }
    }

    /// Answers the last message of the conversation, which is `said`.
    pub async fn answer(&self, place: Place<'_>, said: &str) -> Result<(), ApiError> {
        match self {
            Self::Model(model) => place.ask(model, said).await,
            Self::BuiltIn => place.understand(said).await,
        }
    }
}

/// What the user may refer to.
struct Seen {
    memory: Memory,
    now: PrimitiveDateTime,
    tasks: Vec<Known>,
}

impl Seen {
    fn scene(&self) -> Scene<'_> {
        let Self { memory, now, tasks } = self;
        Scene { now: *now, tasks, spoken: &memory.spoken, pending: memory.pending.as_ref() }
    }
}

/// How it answers the question: with yes, with no, or with a part of it. None where it is no answer.
fn settled(said: &str, scene: &Scene) -> Option<Understanding> {
    let Some(Question::Sure(wish)) = scene.pending else { return None };
    let understood = understand(said, scene);
    let first = understood.requests.first();
    let is_yes = first.is_some_and(|request| std::mem::discriminant(request) == std::mem::discriminant(wish));
    (is_yes || understood.problems == [Problem::Dropped]).then_some(understood)
}

impl Place<'_> {
    /// Has a language model answer, once its question is out of the way.
    async fn ask(self, model: &Model, said: &str) -> Result<(), ApiError> {
        let mut seen = self.look().await?;
        let mut note = None;
        if let Some(understood) = settled(said, &seen.scene()) {
            let Some(Request::Wishes { wishes, .. }) = understood.requests.first() else {
                return self.act(said, seen).await;
            };
            let done = self.confirm(model, wishes, &mut seen).await?;
            let is_all =
                understood.requests.len() == 1 && understood.problems.is_empty() && understood.question.is_none();
            if is_all {
                return Ok(());
            }
            self.answer.say("\n\n");
            note = Some(format!("The user has agreed, and this was done: {done} Do the rest of the last message."));
        }
        self.converse(model, said, seen, note).await
    }

    async fn converse(self, model: &Model, said: &str, seen: Seen, note: Option<String>) -> Result<(), ApiError> {
        let history = provider::history(self).await?;
        let has_read = history.iter().any(|said| said.role == "assistant");
        let tools = model.mcp.tools().await.map_err(failed)?;
        let consent = Consent::of(said, &Scene { pending: None, ..seen.scene() }, self.time_zone, has_read);
        let messages = provider::messages(&history, seen.now, self.time_zone, note.as_deref());
        let mut work = Work::new(self.bench(model, &seen), tools, consent);
        let outcome = model.provider.answer(messages, &mut work).await;
        let question = work.into_consent().question();
        let Seen { memory, now, .. } = seen;
        if let (Ok(()), Some(question)) = (&outcome, &question) {
            let separator = if self.answer.so_far_said().0.is_empty() { "" } else { "\n\n" };
            // With those that the model has added.
            let tasks = self.tasks().await?;
            self.answer.say(&format!("{separator}{}", replies::question(question, &tasks, now)));
        }
        if memory.pending != question {
            memory::save(self, &Memory { pending: question, ..memory }).await?;
        }
        outcome
    }

    /// Does what the user has agreed to, and says so. What could not be tried can be agreed to again.
    async fn confirm(self, model: &Model, wishes: &[Wish], seen: &mut Seen) -> Result<String, ApiError> {
        let began = Instant::now();
        let (mut lines, mut failure, mut done) = (Vec::new(), None, 0);
        for wish in wishes {
            let used = match began.elapsed() < CONFIRMED_WITHIN && !self.answer.is_stopped() {
                true => self.bench(model, seen).use_tool(wish).await,
                false => break,
            };
            match used {
                Ok(used) => {
                    let separator = if lines.is_empty() { "" } else { "\n" };
                    self.answer.say(&format!("{separator}{}", used.line));
                    lines.push(used.line);
                    done += 1;
                }
                Err(reason) => {
                    failure = Some(reason);
                    break;
                }
            }
        }
        let left = wishes[done..].to_vec();
        seen.memory.pending = (!left.is_empty()).then(|| Question::Sure(Request::of_wishes(left)));
        memory::save(self, &seen.memory).await?;
        match failure {
            Some(_) => Err(failed("can't do that now; say yes again in a moment".to_owned())),
            None => Ok(lines.join(" ")),
        }
    }

    fn bench<'a>(self, model: &'a Model, seen: &'a Seen) -> Bench<'a>
    where
        Self: 'a,
    {
        Bench { place: self, mcp: &model.mcp, tasks: &seen.tasks, now: seen.now }
    }

    async fn understand(self, said: &str) -> Result<(), ApiError> {
        self.act(said, self.look().await?).await
    }

    async fn look(self) -> Result<Seen, ApiError> {
        Ok(Seen { memory: memory::load(self).await?, now: perform::now(self).await?, tasks: self.tasks().await? })
    }

    async fn tasks(self) -> Result<Vec<Known>, ApiError> {
        Ok(perform::all_tasks(self).await?.iter().map(perform::known).collect())
    }

    /// Does what was said, as the grammar understands it.
    async fn act(self, said: &str, seen: Seen) -> Result<(), ApiError> {
        let understood = understand(said, &seen.scene());
        let Seen { memory, now, tasks } = seen;
        let mut next = Memory { pending: understood.question, ..Memory::default() };
        let mut lines = 0;
        let mut say = |line: String| {
            let separator = if lines == 0 { "" } else { "\n" };
            self.answer.say(&format!("{separator}{line}"));
            lines += 1;
        };
        let is_nothing_done = understood.requests.is_empty();
        let mut spoken = None;
        let mut adding = false;
        for request in understood.requests {
            if self.answer.is_stopped() {
                break;
            }
            let adds = matches!(request, Request::Add(_));
            let name = tool_name(&request);
            let undo = if next.undo.is_empty() { &memory.undo } else { &next.undo };
            let outcome = perform::perform(self, request, now, undo).await?;
            spoken = match (spoken, outcome.spoken()) {
                (Some(before), Some(added)) if adds && adding => Some([before, added].concat()),
                (before, ids) => ids.or(before),
            };
            adding = adds;
            let line = replies::outcome(&outcome.done, now);
            self.report(name, &line, &outcome);
            say(line);
            next.undo.extend(outcome.undo);
        }
        let alone = is_nothing_done && next.pending.is_none() && understood.problems.len() == 1;
        understood.problems.iter().for_each(|problem| say(replies::problem(problem, alone)));
        if let Some(question) = &next.pending {
            say(replies::question(question, &tasks, now));
            spoken = asked_of(question).or(spoken);
        }
        next.spoken = spoken.unwrap_or_else(|| memory.spoken.clone());
        if next.undo.is_empty() {
            next.undo.clone_from(&memory.undo);
        }
        if next != memory {
            memory::save(self, &next).await?;
        }
        Ok(())
    }

    /// Only what changed something.
    fn report(self, name: &str, summary: &str, outcome: &perform::Outcome) {
        if let Some(first) = outcome.undo.first() {
            let undo_token = (outcome.undo.len() == 1).then(|| first.clone());
            let (name, summary) = (name.to_owned(), summary.to_owned());
            self.answer.report(ToolCall { name, summary, undo_token, failed: false });
        }
    }
}

fn failed(reason: String) -> ApiError {
    ApiError::Upstream(StatusCode::BAD_GATEWAY, "assistant_failed", format!("the MCP server {reason}"))
}

/// The tool of the MCP server that does the same.
fn tool_name(request: &Request) -> &'static str {
    match request {
        Request::Add(_) => "add_task",
        Request::List(_) | Request::Count(_) | Request::Next | Request::Help | Request::Thanks => "list_tasks",
        Request::Search { .. } => "search_tasks",
        Request::Show { .. } => "get_task",
        Request::Complete { .. } => "complete_task",
        Request::Reopen { .. } => "reopen_task",
        Request::Delete { .. } => "delete_task",
        Request::Rename { .. } | Request::Change { .. } => "update_task",
        Request::Undo | Request::Wishes { .. } => "undo",
    }
}

/// The tasks that a question speaks of.
fn asked_of(question: &Question) -> Option<Vec<i32>> {
    let ids = match question {
        Question::Sure(request) | Question::What(request) => request.ids(),
        Question::Which { options, .. } => options,
        Question::When { ids } => ids,
    };
    (!ids.is_empty()).then(|| ids.to_vec())
}
