//! Which tasks a list, a count or `all overdue` is of.

use time::PrimitiveDateTime;

use super::{
    Filter, dates,
    details::{priority, tag},
    words::{Word, strip_any},
};

const OPEN: &[&str] = &[
    "not done",
    "not finished",
    "not completed",
    "not yet done",
    "to do",
    "left over",
    "left",
    "open",
    "pending",
    "remaining",
    "undone",
    "unfinished",
    "outstanding",
    "incomplete",
    "active",
    "current",
];
const DONE: &[&str] = &[
    "did i do",
    "did i get done",
    "done",
    "completed",
    "complete",
    "finished",
    "finish",
    "ticked off",
    "closed",
    "checked off",
    "accomplished",
    "achieved",
];
const LATE: &[&str] = &["overdue", "past due", "late", "behind schedule", "past their due date"];
const ALL: &[&str] = &["all of", "all", "everything", "every", "in total", "altogether", "total"];

/// What was said of the tasks, and the words that say something else.
#[derive(Debug, Default)]
pub struct Said<'w> {
    pub filter: Filter,
    pub all: bool,
    pub other: Vec<&'w Word>,
}

impl Said<'_> {
    /// Nothing but which of all tasks.
    pub fn is_some(&self) -> bool {
        self.all || self.filter != Filter::default()
    }
}

/// Leaves out the `fillers`.
pub fn read<'w>(words: &'w [Word], fillers: &[&str], now: PrimitiveDateTime) -> Said<'w> {
    let mut said = Said::default();
    let mut rest = words;
    while let Some((first, after)) = rest.split_first() {
        rest = next(rest, &mut said, now).unwrap_or_else(|| {
            if first.quoted || !fillers.contains(&first.low.as_str()) {
                said.other.push(first);
            }
            after
        });
    }
    // What is done has no day on which it was done, and is never late.
    if said.filter.completed == Some(true) {
        said.filter.due = None;
        said.filter.overdue = false;
    }
    if said.filter.overdue {
        said.filter.completed = Some(false);
    }
    said
}

/// What follows what was understood.
fn next<'w>(words: &'w [Word], said: &mut Said, now: PrimitiveDateTime) -> Option<&'w [Word]> {
    let filter = &mut said.filter;
    if words[0].quoted {
        return None;
    }
    if let Some((_, rest)) = strip_any(words, LATE) {
        filter.overdue = true;
        return Some(rest);
    }
    if let Some((_, rest)) = strip_any(words, OPEN) {
        filter.completed = Some(false);
        return Some(rest);
    }
    if let Some((_, rest)) = strip_any(words, DONE) {
        filter.completed = filter.completed.or(Some(true));
        return Some(rest);
    }
    if let Some((_, rest)) = strip_any(words, ALL) {
        said.all = true;
        return Some(rest);
    }
    if let Some((length, found)) = priority(words) {
        filter.priority = Some(found);
        return Some(&words[length..]);
    }
    if let Some((length, found)) = tag(words) {
        filter.tag = Some(found);
        return Some(&words[length..]);
    }
    if filter.due.is_none()
        && let Some((length, days)) = dates::span(words, now)
    {
        filter.due = Some(days);
        return Some(&words[length..]);
    }
    None
}
