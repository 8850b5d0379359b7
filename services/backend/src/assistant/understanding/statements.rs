//! What says how things are, and so what to do: `milk is done`, `rent is due friday`, `I paid the rent`.

use time::PrimitiveDateTime;

use super::{
    Priority, changing,
    details::{self, Details},
    references::{Context, Scope, numbered},
    steps::{Step, complete, refer_known},
    words::{STATEMENT_MAX, Word, is_past, plain, skip, strip, strip_any, strip_end_any},
};

/// What is said of a task.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Complete,
    Reopen,
    Delete,
    Change(Details),
}

const ADVERBS: &[&str] = &[
    "now",
    "already",
    "finally",
    "all",
    "both",
    "still",
    "really",
    "very",
    "so",
    "just",
    "been",
    "actually",
    "completely",
    "quite",
    "super",
    "fully",
];

pub fn predicate(words: &[Word], now: PrimitiveDateTime) -> Option<Outcome> {
    let words = skip(words, ADVERBS);
    let words = strip_end_any(
        words,
        &[
            "as well",
            "too",
            "now",
            "yet",
            "already",
            "anymore",
            "any more",
            "any longer",
            "after all",
            "again",
            "at all",
        ],
    )
    .unwrap_or(words);
    let priority = |priority| Some(Outcome::Change(Details { priority: Some(priority), ..Details::default() }));
    match plain(words).as_str() {
        "" => None,
        "done" | "finished" | "complete" | "completed" | "ready" | "closed" | "over" | "checked" | "ticked off"
        | "checked off" | "done and dusted" | "taken care of" | "sorted" => Some(Outcome::Complete),
        "not done" | "not finished" | "not complete" | "not completed" | "not ready" | "undone" | "open"
        | "unfinished" | "incomplete" | "not actually done" | "not yet done" | "not really done" | "not fully done"
        | "pending" | "active" | "not over" | "todo" => Some(Outcome::Reopen),
        "cancelled"
        | "canceled"
        | "obsolete"
        | "off"
        | "not needed"
        | "no longer needed"
        | "not necessary"
        | "no longer necessary"
        | "unnecessary"
        | "a duplicate" => Some(Outcome::Delete),
        "no longer urgent"
        | "no longer important"
        | "less urgent"
        | "less important"
        | "unimportant"
        | "not a priority"
        | "lower"
        | "not high priority"
        | "not so urgent"
        | "not that important" => priority(Priority::Low),
        "a priority" | "more important" | "more urgent" | "critical" | "higher" | "most important"
        | "the most important" | "my top priority" => priority(Priority::High),
        _ => details::whole(skip(words, &["a", "of", "the"]), now)
            .filter(|details| !details.is_empty())
            .map(Outcome::Change),
    }
}

pub fn parse(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    if words.len() > STATEMENT_MAX {
        return None;
    }
    past(words, context).or_else(|| said_of(words, context)).or_else(|| passive(words, context))
}

/// `milk is done`, `3 done`, `dune high prio`, `deadline for 15 is tomorrow 6pm`.
fn said_of(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let words = skip(words, &["the"]);
    let field = ["deadline for", "deadline of", "due date of", "due date for", "priority of", "priority for"];
    let words = strip_any(words, &field).map_or(words, |(_, rest)| rest);
    // The longest predicate first.
    (1..words.len()).find_map(|split| {
        let (named, said) = words.split_at(split);
        let verbs = [
            "is",
            "are",
            "was",
            "were",
            "has been",
            "have been",
            "should be",
            "must be",
            "can be",
            "can wait",
            "is moved to",
            "moved to",
            "will be",
            "needs to be",
            "has",
            "got",
            "looks",
        ];
        let linked = strip_any(said, &verbs);
        let said = linked.map_or(said, |(_, rest)| rest);
        let outcome = predicate(said, context.scene.now)?;
        // `both are done`, and without a verb only what can't be a part of a title.
        let named = strip_end_any(named, &["is", "are"]).unwrap_or(named);
        let dated = matches!(&outcome, Outcome::Change(details) if details.when.is_some());
        // `14 tomorrow` can hardly be anything else.
        if linked.is_none() && dated && strip(said, "due").is_none() && numbered(named).is_none() {
            return None;
        }
        changing::carry_out(named, outcome, context)
    })
}

/// `I paid the rent`, `just called mum`, `watered the plants`.
fn past(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let said = skip(words, &["i", "we", "have", "just", "already", "finally", "now", "also", "then"]);
    let first = said.first()?;
    if !is_past(&first.low) || said.len() < 2 {
        return None;
    }
    let rest = strip_end_any(
        said,
        &["already", "today", "yesterday", "now", "this morning", "tonight", "last night", "finally"],
    )
    .unwrap_or(said);
    let own = said.len() < words.len();
    let step = refer_known(rest, context, Scope::Open, complete()).or_else(|| {
        refer_known(&rest[1..], context, Scope::Open, complete())
            .filter(|_| (own || first.low == "got") && rest.len() > 1 && first.low != "read")
    })?;
    Some(vec![step])
}

/// `rent is paid`, `acme invoice sent`.
fn passive(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let words = strip_end_any(words, &["already", "now", "today", "yesterday", "finally"]).unwrap_or(words);
    let (last, rest) = words.split_last()?;
    if !is_past(&last.low) || rest.is_empty() {
        return None;
    }
    let verbs = [
        "is all",
        "are all",
        "is",
        "are",
        "was",
        "were",
        "has been",
        "have been",
        "got",
        "is already",
        "are already",
        "is now",
        "is finally",
    ];
    let linked = strip_end_any(rest, &verbs);
    let named = linked.unwrap_or(rest);
    let both: Vec<Word> = named.iter().chain([last]).cloned().collect();
    let step = refer_known(&both, context, Scope::Open, complete())
        .or_else(|| refer_known(named, context, Scope::Open, complete()).filter(|_| linked.is_some()))?;
    Some(vec![step])
}
