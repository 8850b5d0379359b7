//! Which task is meant: `3`, `it`, `the milk one`, `the last two`, `all overdue`.

use super::{
    Filter, Known, Scene, filters,
    words::{Word, is_slip_of, number, plain, skip, stem, strip_any, strip_end},
};

/// What was said, and what it may refer to. What is spoken of changes from request to request.
#[derive(Clone)]
pub struct Context<'a> {
    pub text: &'a str,
    pub scene: Scene<'a>,
    pub spoken: Vec<i32>,
}

/// In an understanding that is not finished yet, the task that a request before this one adds.
pub const ADDED: i32 = 0;

#[derive(Debug, PartialEq)]
pub enum Reference {
    Ids(Vec<i32>),
    /// One of these, where only one can be meant.
    Unclear(Vec<i32>),
    /// No task is named, and none was spoken of.
    Unsaid,
    /// No task fits; the numbers that no task has, where it is numbers.
    Missing(Vec<i32>),
}

/// Which tasks are meant where there are both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scope {
    /// Only these, as long as one fits.
    Open,
    Done,
    /// `all` are all, but a name means rather an open one.
    Any,
    /// `all` are the open ones.
    AnyOpen,
}

const FILLERS: &[&str] = &[
    "the", "my", "of", "task", "tasks", "todo", "todos", "item", "items", "one", "ones", "thing", "things", "that",
    "which", "are", "is", "due", "them", "these", "those", "with", "marked", "as", "list", "our", "on", "in", "from",
    "stuff",
];
/// Words of a reference that no title needs to have.
const IDLE: &[&str] = &[
    "the", "a", "an", "my", "our", "one", "ones", "thing", "things", "stuff", "task", "tasks", "item", "todo", "to",
    "for", "of", "with", "about", "on", "in", "at", "that", "this", "some", "called", "named", "titled", "entry",
    "reminder", "all", "and",
];

const WORDS_MAX: usize = 12;
/// At most so many tasks are named by numbers, with commas and words between.
const NUMBERS_MAX: usize = 100;

pub fn resolve(words: &[Word], context: &Context, scope: Scope) -> Reference {
    if words.len() > NUMBERS_MAX * 2 {
        return Reference::Missing(Vec::new());
    }
    let words = skip(words, &["with", "task", "number", "no", "nr", "item", "please"]);
    let words = ["please", "now", "too", "already", "off", "up", "from my list", "from the list"]
        .iter()
        .find_map(|end| strip_end(words, end))
        .unwrap_or(words);
    if let Some(at) = words.iter().position(|word| word.low == "except" && !word.quoted) {
        let but = skip(&words[at + 1..], &["for"]);
        return match (resolve(&words[..at], context, scope), resolve(but, context, scope)) {
            (Reference::Ids(mut ids), Reference::Ids(but)) => {
                ids.retain(|id| !but.contains(id));
                if ids.is_empty() { Reference::Missing(Vec::new()) } else { Reference::Ids(ids) }
            }
            (_, other) => other,
        };
    }
    if let [only] = words
        && only.quoted
    {
        return named(words, context, scope);
    }
    if let Some(reference) = pointed(words, context) {
        return reference;
    }
    if let Some(ids) = numbered(words) {
        let known = |id: &i32| context.scene.tasks.iter().any(|task| task.id == *id);
        let (ids, missing): (Vec<i32>, Vec<i32>) = ids.into_iter().partition(known);
        return if missing.is_empty() { Reference::Ids(ids) } else { Reference::Missing(missing) };
    }
    if let Some(ids) = placed(words, context) {
        return if ids.is_empty() { Reference::Missing(Vec::new()) } else { Reference::Ids(ids) };
    }
    if let Some(reference) = filtered(words, context, scope) {
        return reference;
    }
    let whole = named(words, context, scope);
    if matches!(whole, Reference::Ids(_)) {
        return whole;
    }
    several(words, context, scope).unwrap_or(whole)
}

/// `it`, `those`, `both`, or nothing at all.
fn pointed(words: &[Word], context: &Context) -> Option<Reference> {
    let spoken = context.spoken.clone();
    match plain(words).as_str() {
        "" | "it" | "that" | "this" | "that one" | "this one" | "the one" | "that task" | "this task" | "the task" => {
            Some(match spoken.len() {
                0 => Reference::Unsaid,
                1 => Reference::Ids(spoken),
                _ => Reference::Unclear(spoken),
            })
        }
        "them" | "those" | "these" | "they" | "both" | "them both" | "both of them" | "they both" | "all of them"
        | "all of those" | "all of these" | "them all" | "they all" | "those tasks" | "these tasks" | "the two" => {
            Some(if spoken.is_empty() { Reference::Unsaid } else { Reference::Ids(spoken) })
        }
        _ => None,
    }
}

/// `3`, `#3`, `1, 2 and 5`, `1-3`, `1 to 3`.
pub fn numbered(words: &[Word]) -> Option<Vec<i32>> {
    let id = |text: &str| {
        let digits = text.strip_prefix('#').unwrap_or(text);
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<i32>().unwrap_or(i32::MAX))
    };
    let range = |from: i32, to: i32| {
        (from <= to && (to - from) as usize <= NUMBERS_MAX).then(|| (from..=to).collect::<Vec<i32>>())
    };
    let mut ids: Vec<i32> = Vec::new();
    let mut rest = words;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if first.quoted {
            return None;
        }
        match first.low.as_str() {
            "and" | "task" | "tasks" | "number" | "numbers" | "both" | "also" | "or" => {}
            "to" | "through" | "until" if !ids.is_empty() => {
                let to = id(&after.first()?.low)?;
                ids.extend(range(ids.last()? + 1, to)?);
                rest = &after[1..];
            }
            low => match (id(low), low.split_once(['-', '\u{2013}'])) {
                (Some(id), _) => ids.push(id),
                (None, Some((from, to))) => ids.extend(range(id(from)?, id(to)?)?),
                _ => ids.push(
                    number(low).filter(|_| words.len() == 1 && low != "one").and_then(|id| i32::try_from(id).ok())?,
                ),
            },
        }
    }
    if ids.is_empty() || ids.len() > NUMBERS_MAX {
        return None;
    }
    let mut seen = Vec::new();
    ids.retain(|id| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    });
    Some(ids)
}

/// `the first one`, `the last two`, `the newest`: of what was shown last, else of all tasks by their age.
fn placed(words: &[Word], context: &Context) -> Option<Vec<i32>> {
    let words = skip(words, &["the", "my", "very"]);
    let (first, rest) = words.split_first()?;
    let shown: Vec<i32> = if context.spoken.len() > 1 {
        context.spoken.clone()
    } else {
        let mut all: Vec<i32> = context.scene.tasks.iter().map(|task| task.id).collect();
        all.sort_unstable();
        all
    };
    let count = rest.first().and_then(|word| number(&word.low)).filter(|_| rest[0].low != "one");
    let count = count.and_then(|count| usize::try_from(count).ok());
    let rest = if count.is_some() { &rest[1..] } else { rest };
    if !skip(rest, &["one", "ones", "task", "tasks", "of", "them", "item", "items", "added", "in", "on", "the", "list"])
        .is_empty()
    {
        return None;
    }
    let number = count.unwrap_or(1).min(shown.len());
    let single = |index: usize| shown.get(index).map(|id| vec![*id]).unwrap_or_default();
    Some(match first.low.as_str() {
        "first" | "oldest" | "top" => shown[..number].to_vec(),
        "last" | "latest" | "newest" | "bottom" => shown[shown.len() - number..].to_vec(),
        "second" | "2nd" if count.is_none() => single(1),
        "third" | "3rd" if count.is_none() => single(2),
        "fourth" | "4th" if count.is_none() => single(3),
        "fifth" | "5th" if count.is_none() => single(4),
        _ => return None,
    })
}

/// `all overdue`, `everything`, `the done ones`, `all the milk ones`.
fn filtered(words: &[Word], context: &Context, scope: Scope) -> Option<Reference> {
    let mut said = filters::read(words, FILLERS, context.scene.now);
    let plural = words.iter().any(|word| ["tasks", "ones", "todos", "items", "stuff"].contains(&word.low.as_str()));
    // `all work tasks`, where `work` is a tag.
    if let ([only], true) = (&said.other[..], plural)
        && context.scene.tasks.iter().any(|task| task.tags.contains(&only.low))
        && matches(words, context, scope).is_empty()
    {
        said.filter.tag = Some(only.low.clone());
        said.other.clear();
    }
    let both = strip_any(words, &["both of", "both"]).is_some();
    if !said.is_some() && !both {
        return None;
    }
    if !said.other.is_empty() {
        // `all the milk ones`; but `finish all invoices` and `call all` are rather names.
        let (_, rest) = strip_any(words, &["all of", "all", "every", "both of", "both"])?;
        let ids: Vec<i32> = matches(rest, context, scope).into_iter().map(|task| task.id).collect();
        return (!ids.is_empty()).then_some(Reference::Ids(ids));
    }
    let mut filter = said.filter;
    if filter.completed.is_none() {
        filter.completed = match scope {
            Scope::Open | Scope::AnyOpen => Some(false),
            Scope::Done => Some(true),
            Scope::Any => None,
        };
    }
    let ids = ids_of(&filter, context);
    Some(if ids.is_empty() { Reference::Missing(Vec::new()) } else { Reference::Ids(ids) })
}

pub fn ids_of(filter: &Filter, context: &Context) -> Vec<i32> {
    let fit = context.scene.tasks.iter().filter(|task| filter.fits(task, context.scene.now));
    let mut ids: Vec<i32> = fit.map(|task| task.id).collect();
    ids.sort_unstable();
    ids
}

/// By words of its title.
fn named(words: &[Word], context: &Context, scope: Scope) -> Reference {
    let mut ids: Vec<i32> = matches(words, context, scope).into_iter().map(|task| task.id).collect();
    ids.sort_unstable();
    match ids.len() {
        0 => Reference::Missing(Vec::new()),
        1 => Reference::Ids(ids),
        _ => Reference::Unclear(ids),
    }
}

fn matches<'a>(words: &[Word], context: &Context<'a>, scope: Scope) -> Vec<&'a Known> {
    let tasks = || context.scene.tasks.iter();
    let ranked = |completed: Option<bool>| {
        best(words, tasks().filter(|task| completed.is_none_or(|completed| task.completed == completed)).collect())
    };
    let first = ranked(Some(scope == Scope::Done));
    if first.is_empty() { ranked(None) } else { first }
}

/// Those that fit as well as any other does: the same title, all words, all words but for slips.
fn best<'a>(words: &[Word], tasks: Vec<&'a Known>) -> Vec<&'a Known> {
    let said = normal(&plain(words));
    let short: String = words
        .iter()
        .filter(|word| !["the", "my"].contains(&word.low.as_str()))
        .map(|word| word.low.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let same: Vec<&Known> =
        tasks.iter().copied().filter(|task| [&said, &normal(&short)].contains(&&normal(&task.title))).collect();
    if !same.is_empty() {
        return same;
    }
    let all: Vec<String> = words.iter().flat_map(|word| content(&word.low)).collect();
    let wanted: Vec<&String> = all.iter().filter(|word| !IDLE.contains(&word.as_str())).collect();
    // Who says that many words says no title that is known.
    if wanted.is_empty() || wanted.len() > WORDS_MAX {
        return Vec::new();
    }
    let fitting = |fits: &dyn Fn(&str, &str) -> bool| -> Vec<&'a Known> {
        let has = |task: &&&Known| {
            let title = content(&task.title.to_lowercase());
            wanted.iter().all(|word| title.iter().any(|other| fits(word, other)))
        };
        tasks.iter().filter(has).copied().collect()
    };
    let exact = fitting(&|word, other| word == other || stem(word) == stem(other));
    if exact.is_empty() { fitting(&|word, other| is_slip_of(word, other)) } else { exact }
}

fn content(text: &str) -> Vec<String> {
    text.replace(['\'', '\u{2019}'], "")
        .split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn normal(text: &str) -> String {
    content(&text.to_lowercase()).join(" ")
}

/// `milk and eggs`, where each is a task.
fn several(words: &[Word], context: &Context, scope: Scope) -> Option<Reference> {
    let mut parts: Vec<&[Word]> = Vec::new();
    let mut start = 0;
    for (index, word) in words.iter().enumerate() {
        if word.low == "and" && !word.quoted {
            parts.push(&words[start..index]);
            start = index + 1;
        } else if word.trail.contains(',') {
            parts.push(&words[start..=index]);
            start = index + 1;
        }
    }
    parts.push(&words[start..]);
    parts.retain(|part| !part.is_empty());
    if parts.len() < 2 || parts.len() > 30 {
        return None;
    }
    let mut all = Vec::new();
    for part in parts {
        match resolve(part, context, scope) {
            Reference::Ids(ids) => all.extend(ids.into_iter().filter(|id| !all.contains(id)).collect::<Vec<_>>()),
            Reference::Unclear(options) => return Some(Reference::Unclear(options)),
            _ => return None,
        }
    }
    Some(Reference::Ids(all))
}
