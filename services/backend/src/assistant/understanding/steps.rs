//! What a part of a sentence comes to: something to do, something to ask, or no task that fits.

use super::{
    New, Question, Request,
    references::{Context, Reference, Scope, resolve},
    words::{Word, written},
};

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Do(Request),
    Ask(Question),
    Missing(String),
    /// No to the question.
    Drop,
}

pub fn complete() -> Request {
    Request::Complete { ids: Vec::new() }
}

pub fn reopen() -> Request {
    Request::Reopen { ids: Vec::new() }
}

pub fn delete() -> Request {
    Request::Delete { ids: Vec::new() }
}

pub fn show() -> Request {
    Request::Show { ids: Vec::new() }
}

/// The request for the tasks that are meant, or the question which.
pub fn settle(reference: Reference, request: Request, text: &str, words: &[Word]) -> Step {
    match reference {
        Reference::Ids(ids) => match request.clone().with_ids(ids.clone()) {
            Some(request) => Step::Do(request),
            None => Step::Ask(Question::Which { request, options: ids }),
        },
        Reference::Unclear(options) => Step::Ask(Question::Which { request, options }),
        Reference::Unsaid => Step::Ask(Question::Which { request, options: Vec::new() }),
        Reference::Missing(ids) if ids.is_empty() => Step::Missing(written(text, words).to_owned()),
        Reference::Missing(ids) => Step::Missing(ids.iter().map(|id| format!("#{id}")).collect::<Vec<_>>().join(", ")),
    }
}

pub fn refer(words: &[Word], context: &Context, scope: Scope, request: Request) -> Step {
    settle(resolve(words, context, scope), request, context.text, words)
}

/// Only where the words name a task.
pub fn refer_known(words: &[Word], context: &Context, scope: Scope, request: Request) -> Option<Step> {
    match resolve(words, context, scope) {
        Reference::Missing(_) => None,
        reference => Some(settle(reference, request, context.text, words)),
    }
}

/// An addition, or the question of what, where there is no title.
pub fn add(new: New) -> Step {
    let request = Request::Add(new);
    match &request {
        Request::Add(New { title, .. }) if title.is_empty() => Step::Ask(Question::What(request)),
        _ => Step::Do(request),
    }
}
