//! What asks and changes nothing: lists, counts, searches, `what should I do next?`, help.

use super::{
    Filter, Request, filters,
    references::{Context, Reference, Scope, numbered, resolve},
    steps::{Step, refer_known, settle, show},
    words::{Word, plain, skip, strip, strip_any, strip_end, strip_end_any, written},
};

const FILLERS: &[&str] = &[
    "tasks",
    "task",
    "todos",
    "todo",
    "items",
    "item",
    "things",
    "thing",
    "stuff",
    "my",
    "the",
    "me",
    "a",
    "list",
    "lists",
    "ones",
    "one",
    "on",
    "for",
    "due",
    "is",
    "are",
    "am",
    "i",
    "we",
    "have",
    "has",
    "had",
    "to",
    "do",
    "did",
    "does",
    "there",
    "any",
    "anything",
    "something",
    "that",
    "which",
    "what",
    "in",
    "of",
    "with",
    "still",
    "yet",
    "so",
    "far",
    "now",
    "currently",
    "need",
    "must",
    "should",
    "got",
    "been",
    "be",
    "marked",
    "as",
    "plate",
    "agenda",
    "schedule",
    "scheduled",
    "planned",
    "up",
    "coming",
    "our",
    "already",
    "please",
    "only",
    "and",
    "were",
    "was",
    "it",
    "them",
    "total",
    "entire",
    "full",
    "whole",
    "also",
    "today's",
    "until",
    "exist",
    "plan",
    "plans",
    "else",
    "look",
    "looking",
    "like",
];
/// At least one of these or a filter, so that a question is one about tasks.
const TOPICS: &[&str] = &[
    "tasks",
    "task",
    "todos",
    "todo",
    "items",
    "list",
    "plate",
    "agenda",
    "have",
    "need",
    "must",
    "should",
    "do",
    "planned",
    "scheduled",
    "coming",
    "plan",
    "plans",
    "else",
    "stuff",
    "looking",
];
const SHOW: &[&str] = &[
    "list",
    "show me",
    "show us",
    "show",
    "see",
    "view",
    "display",
    "give me",
    "tell me about",
    "tell me",
    "print",
    "read me",
    "read out",
    "let me see",
    "i see",
    "open",
    "details of",
    "details for",
    "details about",
    "info on",
];
const ASK: &[&str] = &[
    "what about",
    "what",
    "which",
    "anything",
    "something",
    "any",
    "do i have",
    "do we have",
    "have i",
    "have i got",
    "is there",
    "are there",
    "did i",
    "i have",
    "am i",
];

const SEARCH: &[&str] = &[
    "find",
    "search for",
    "search",
    "look for",
    "look up",
    "lookup",
    "where is my",
    "where is",
    "where are",
    "i am looking for",
];

const ABOUT: &[&str] = &[
    "is there anything about",
    "is there something about",
    "is there a task about",
    "is there a task for",
    "are there tasks about",
    "are there any tasks about",
    "anything about",
    "something about",
    "do i have anything about",
    "do i have something about",
    "do i have a task about",
    "do i have a task for",
    "do i have any tasks about",
    "which tasks mention",
    "which task mentions",
    "what tasks mention",
    "tasks about",
    "tasks with",
    "tasks containing",
    "which tasks are about",
    "show me tasks about",
    "show tasks about",
    "show everything about",
    "show me everything about",
    "list everything about",
    "list tasks about",
    "anything with",
    "everything about",
    "list all tasks about",
    "show me all about",
    "anything regarding",
];

pub fn parse(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    count(words, context)
        .or_else(|| search(words, context))
        .or_else(|| state(words, context))
        .or_else(|| shown(words, context))
        .or_else(|| asked(words, context))
        .or_else(|| bare(words, context))
}

fn count(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (_, rest) = strip_any(
        words,
        &["how many", "how much", "count of", "count", "number of", "what is the number of", "what number of"],
    )?;
    let said = filters::read(rest, FILLERS, context.scene.now);
    if !said.other.is_empty() {
        let words: Vec<Word> = said.other.into_iter().cloned().collect();
        return Some(vec![Step::Do(Request::Search { words: plain(&words) })]);
    }
    Some(vec![Step::Do(Request::Count(with_status(&said)))])
}

/// Open ones, unless anything else is said.
fn with_status(said: &filters::Said) -> Filter {
    let mut filter = said.filter.clone();
    let only_all = said.all && filter == Filter::default();
    if filter.completed.is_none() && !only_all {
        filter.completed = Some(false);
    }
    filter
}

fn search(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (_, rest) = strip_any(words, ABOUT).or_else(|| strip_any(words, SEARCH))?;
    let rest = strip_any(
        rest,
        &[
            "all tasks about",
            "all tasks with",
            "tasks about",
            "tasks with",
            "task about",
            "tasks containing",
            "anything about",
            "everything about",
            "everything with",
            "all",
        ],
    )
    .map_or(rest, |(_, rest)| rest);
    let rest = skip(rest, &["the", "my", "a"]);
    let rest = strip_end_any(
        rest,
        &["task", "tasks", "one", "ones", "on my list", "in my list", "on the list", "in my tasks"],
    )
    .filter(|rest| !rest.is_empty())
    .unwrap_or(rest);
    let sought = written(context.text, rest).trim_end_matches('?').trim().to_owned();
    (!sought.is_empty()).then(|| vec![Step::Do(Request::Search { words: sought })])
}

/// `when is rent due?`, `is milk done?`: the task with all that is known of it.
fn state(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    if let Some((_, rest)) = strip_any(
        words,
        &[
            "when is",
            "when was",
            "when are",
            "when do i have to",
            "when should i",
            "when must i",
            "when do i need to",
            "till when is",
            "what is the status of",
            "status of",
            "what is the due date of",
            "what is the deadline of",
            "what is the deadline for",
            "what is the due date for",
            "what is the priority of",
            "what priority has",
            "what priority is",
            "how important is",
            "how urgent is",
            "by when do i have to",
        ],
    ) {
        let rest =
            strip_end_any(rest, &["due", "due date", "supposed to be done", "to be done", "scheduled"]).unwrap_or(rest);
        return refer_known(rest, context, Scope::Any, show()).map(|step| vec![step]);
    }
    let asks = words.last().is_some_and(|word| word.trail.contains('?'));
    let (_, rest) = strip_any(words, &["is", "was", "are", "did i", "have i", "has"])?;
    let ends = [
        "done",
        "done already",
        "finished",
        "complete",
        "completed",
        "paid",
        "sent",
        "booked",
        "overdue",
        "urgent",
        "open",
        "still open",
        "done yet",
        "important",
        "late",
        "bought",
        "already done",
    ];
    let named = strip_end_any(rest, &ends).filter(|named| !named.is_empty() && strip(named, "there").is_none());
    let named = named.or_else(|| {
        asks.then_some(rest).filter(|_| strip_any(rest, &["there", "anything", "something", "any"]).is_none())
    })?;
    refer_known(named, context, Scope::Any, show()).map(|step| vec![step])
}

/// `list`, `show done`, `show 4`, `show milk`.
fn shown(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (head, rest) = strip_any(words, SHOW)?;
    let sorted = rest.iter().position(|word| ["sorted", "ordered", "grouped"].contains(&word.low.as_str()));
    let rest = &rest[..sorted.unwrap_or(rest.len())];
    let rest = strip(rest, "what is").or_else(|| strip(rest, "what")).unwrap_or(rest);
    let mut said = filters::read(rest, FILLERS, context.scene.now);
    // `list home tasks`, where `home` is a tag.
    if let ([only], true) = (&said.other[..], has_topic(rest))
        && context.scene.tasks.iter().any(|task| task.tags.contains(&only.low))
    {
        said.filter.tag = Some(only.low.clone());
        said.other.clear();
    }
    let detailed = ["details of", "details for", "details about", "details on", "all about"];
    let rest = strip_any(rest, &detailed).map_or(rest, |(_, rest)| rest);
    let task = strip_any(rest, &["task", "number"]).map_or(rest, |(_, rest)| rest);
    if !rest.is_empty() && numbered(task).is_some() {
        return Some(vec![settle(resolve(task, context, Scope::Any), show(), context.text, task)]);
    }
    if said.other.is_empty() {
        let enough = said.is_some() || ["list", "show", "show me"].contains(&head) || has_topic(rest);
        return enough.then(|| vec![Step::Do(Request::List(with_status(&said)))]);
    }
    match resolve(rest, context, Scope::Any) {
        Reference::Ids(ids) => Some(vec![Step::Do(Request::Show { ids })]),
        _ if ["list", "show", "show me", "display", "view"].contains(&head) => {
            let rest = skip(rest, &["the", "my", "all"]);
            let rest = strip_end(rest, "tasks").filter(|rest| !rest.is_empty()).unwrap_or(rest);
            let sought = written(context.text, rest).trim_end_matches('?').trim().to_owned();
            Some(vec![Step::Do(Request::Search { words: sought })])
        }
        _ => None,
    }
}

/// `what is left?`, `anything due tomorrow?`, `do I have something for monday?`
fn asked(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (head, rest) = strip_any(words, ASK)?;
    let said = filters::read(rest, FILLERS, context.scene.now);
    if said.other.is_empty() && (said.is_some() || has_topic(words)) && words.len() > 1 {
        return Some(vec![Step::Do(Request::List(with_status(&said)))]);
    }
    let named = strip_any(rest, &["is", "are", "about", "was"]).map_or(rest, |(_, rest)| rest);
    let named = strip_end_any(named, &["on my list", "on the list", "on the todo list"]).unwrap_or(named);
    let pointed = ["what", "what about", "do i have", "is there", "any"].contains(&head) && !named.is_empty();
    let rest: Vec<Word> = said.other.iter().copied().cloned().collect();
    match resolve(named, context, Scope::Any) {
        Reference::Ids(ids) if pointed => Some(vec![Step::Do(Request::Show { ids })]),
        // `which invoices are open?`
        _ if ["which", "any", "what"].contains(&head)
            && said.is_some()
            && !matches!(resolve(&rest, context, Scope::Any), Reference::Missing(_) | Reference::Unsaid) =>
        {
            Some(vec![Step::Do(Request::Search { words: plain(&rest) })])
        }
        _ => None,
    }
}

/// `my tasks`, `tasks for today`, `overdue?`
fn bare(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let said = filters::read(words, FILLERS, context.scene.now);
    let nouns = ["tasks", "todos", "todo", "list", "agenda", "items", "task", "ones"];
    let noun = words.iter().any(|word| nouns.contains(&word.low.as_str()));
    let asks = words.last().is_some_and(|word| word.trail.contains('?')) && said.is_some();
    let filter = said.filter != Filter::default()
        && words.len() == 1
        && said.filter.due.is_none()
        && said.filter.completed != Some(true);
    (said.other.is_empty() && (noun || asks || filter || said.all && words.len() < 3))
        .then(|| vec![Step::Do(Request::List(with_status(&said)))])
}

/// Nothing but a task or a day: `3`, `milk`, `today`.
pub fn mention(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let words = super::sentences::polite(words);
    let said = filters::read(words, FILLERS, context.scene.now);
    if words.is_empty() || words.len() > 6 {
        return None;
    }
    if said.is_some() && said.other.is_empty() {
        return Some(vec![Step::Do(Request::List(with_status(&said)))]);
    }
    let pointed = strip_any(words, &["it", "that", "this", "them", "those", "these", "all"]).is_some();
    refer_known(words, context, Scope::Any, show()).filter(|_| !pointed).map(|step| vec![step])
}

fn has_topic(words: &[Word]) -> bool {
    words.iter().any(|word| TOPICS.contains(&word.low.as_str()))
}
