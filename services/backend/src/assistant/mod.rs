//! Who answers in a conversation: a language model where there is a key for one, else a grammar of ordinary English. Both
//! do what the user asks for to his own tasks, by the same requests.

mod memory;
mod perform;
mod provider;
mod replies;
pub mod understanding;

use sqlx::PgPool;

use crate::{config::AssistantConfig, error::ApiError};

use memory::Memory;
use provider::Provider;
use understanding::{Known, Question, Request, Scene, understand};

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
            Self::BuiltIn => place.understand(said).await,
        }
    }
}

impl Place<'_> {
    async fn understand(self, said: &str) -> Result<String, ApiError> {
        let memory = memory::load(self).await?;
        let now = perform::now(self).await?;
        let tasks: Vec<Known> = perform::all_tasks(self).await?.iter().map(perform::known).collect();
        let scene = Scene { now, tasks: &tasks, spoken: &memory.spoken, pending: memory.pending.as_ref() };
        let understood = understand(said, &scene);
        let mut next = Memory { pending: understood.question, ..Memory::default() };
        let mut answer = Vec::new();
        let mut spoken = None;
        let mut adding = false;
        for request in understood.requests {
            let adds = matches!(request, Request::Add(_));
            let undo = if next.undo.is_empty() { &memory.undo } else { &next.undo };
            let outcome = perform::perform(self, request, now, undo).await?;
            spoken = match (spoken, outcome.spoken()) {
                (Some(before), Some(added)) if adds && adding => Some([before, added].concat()),
                (before, ids) => ids.or(before),
            };
            adding = adds;
            answer.push(replies::outcome(&outcome.done, now));
            next.undo.extend(outcome.undo);
        }
        let alone = answer.is_empty() && next.pending.is_none() && understood.problems.len() == 1;
        answer.extend(understood.problems.iter().map(|problem| replies::problem(problem, alone)));
        if let Some(question) = &next.pending {
            answer.push(replies::question(question, &tasks, now));
            spoken = asked_of(question).or(spoken);
        }
        next.spoken = spoken.unwrap_or_else(|| memory.spoken.clone());
        if next.undo.is_empty() {
            next.undo.clone_from(&memory.undo);
        }
        if next != memory {
            memory::save(self, &next).await?;
        }
        Ok(answer.join("\n"))
    }

    /// One request of a language model, and what came of it in words.
    async fn perform(self, request: Request) -> Result<String, ApiError> {
        let now = perform::now(self).await?;
        let outcome = perform::perform(self, request, now, &[]).await?;
        Ok(replies::outcome(&outcome.done, now))
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
