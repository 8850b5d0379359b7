//! Who answers in a conversation: a language model where there is a key for one, else a grammar of ordinary English. Both
//! do what the user asks for to his own tasks, by the same requests.

mod answer;
mod consent;
mod memory;
mod perform;
mod provider;
mod replies;
pub mod understanding;

use sqlx::PgPool;
use time::PrimitiveDateTime;

use crate::{config::AssistantConfig, error::ApiError};

use consent::Consent;
use memory::Memory;
use provider::Provider;
use understanding::{Known, Problem, Question, Request, Scene, understand};

pub use answer::{Answer, Answers, Outcome, ToolCall};

pub enum Assistant {
    BuiltIn,
    Provider(Box<Provider>),
}

/// Whose tasks, and in which conversation.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub pool: &'a PgPool,
    pub user_id: &'a str,
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
            Some(provider) => Self::Provider(Box::new(Provider::open(provider))),
        }
    }

    /// Answers the last message of the conversation, which is `said`.
    pub async fn answer(&self, place: Place<'_>, said: &str) -> Result<(), ApiError> {
        match self {
            Self::Provider(provider) => place.ask(provider, said).await,
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

/// Whether it answers the question: with yes, with no, or with a part of it.
fn settles(said: &str, scene: &Scene) -> bool {
    let Some(Question::Sure(wish)) = scene.pending else { return false };
    let understood = understand(said, scene);
    let first = understood.requests.first();
    first.is_some_and(|request| std::mem::discriminant(request) == std::mem::discriminant(wish))
        || understood.problems == [Problem::Dropped]
}

impl Place<'_> {
    /// Has a language model answer, unless it is the answer to a question about what the model wanted.
    async fn ask(self, provider: &Provider, said: &str) -> Result<(), ApiError> {
        let seen = self.look().await?;
        let scene = seen.scene();
        if settles(said, &scene) {
            return self.act(said, seen).await;
        }
        let history = provider::history(self).await?;
        let has_read = history.iter().any(|(role, _)| role == "assistant");
        let mut consent = Consent::of(said, &Scene { pending: None, ..scene }, has_read);
        let outcome = provider.answer(self, &history, &mut consent).await;
        let question = consent.question();
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

    /// One request of a language model, and what came of it in words.
    async fn perform(self, request: Request) -> Result<String, ApiError> {
        let now = perform::now(self).await?;
        let name = tool_name(&request);
        let outcome = perform::perform(self, request, now, &[]).await?;
        let line = replies::outcome(&outcome.done, now);
        self.report(name, &line, &outcome);
        Ok(line)
    }
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
        Request::Undo => "undo",
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
