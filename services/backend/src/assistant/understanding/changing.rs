//! What begins with a verb and changes tasks: complete, reopen, delete, rename, move, set, tag.

use super::{
    Change, Due, NewDue, Priority, Question, Request, Scene,
    dates::{self, Shift},
    details::{self, Details},
    references::{Context, Reference, Scope, numbered, resolve},
    statements::{Outcome, predicate},
    steps::{Step, complete, delete, refer, refer_known, reopen, settle},
    words::{STATEMENT_MAX, Word, is_past, plain, skip, strip, strip_any, strip_end, strip_end_any, written},
};

const DATES: &[&str] = &["due date", "duedate", "deadline", "date", "due time", "due", "time"];

pub fn parse(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    without_date(words, context)
        .or_else(|| field(words, context))
        .or_else(|| marked(words, context))
        .or_else(|| completed(words, context).map(|step| vec![step]))
        .or_else(|| reopened(words, context).map(|step| vec![step]))
        .or_else(|| tagged(words, context))
        .or_else(|| deleted(words, context).map(|step| vec![step]))
        .or_else(|| moved(words, context))
        .or_else(|| renamed(words, context))
}

const COMPLETE_MAYBE: &[&str] = &[
    "close",
    "closed",
    "did",
    "do",
    "tick",
    "check",
    "accomplished",
    "cross",
    "strike",
    "through with",
    "wrapped up",
    "wrap up",
];
const COMPLETE_SURE: &[&str] = &[
    "done with",
    "done",
    "complete",
    "completed",
    "finish with",
    "finish",
    "finished with",
    "finished",
    "check off",
    "tick off",
    "cross off",
    "cross out",
    "strike off",
    "mark off",
    "i am done with",
    "i am finished with",
    "i am through with",
    "am done with",
    "got done with",
    "mark as done",
    "mark as complete",
    "mark as completed",
    "mark as finished",
    "mark done",
    "mark complete",
];
fn completed(words: &[Word], context: &Context) -> Option<Step> {
    let said = skip(words, &["i", "we", "have", "just", "already", "finally", "now", "also"]);
    if let Some((_, rest)) = strip_any(said, COMPLETE_SURE).or_else(|| strip_any(words, COMPLETE_SURE)) {
        let rest = strip_end_any(rest, &["off"]).unwrap_or(rest);
        // `done tasks` and `finished ones?` are lists.
        let listed = ["tasks", "ones", "todos", "items"].contains(&plain(rest).as_str());
        return (!listed).then(|| refer(rest, context, Scope::Open, complete()));
    }
    let (verb, rest) = strip_any(said, COMPLETE_MAYBE)?;
    let off = strip_end_any(rest, &["off my list", "off the list", "off", "out"]);
    if ["cross", "strike", "check"].contains(&verb) && off.is_none() {
        let numbers = verb == "check" && numbered(rest).is_some();
        return numbers.then(|| refer(rest, context, Scope::Open, complete()));
    }
    let rest = off.unwrap_or(rest);
    if rest.is_empty() || (verb == "do" && numbered(rest).is_none()) {
        return None;
    }
    refer_known(rest, context, Scope::Open, complete())
}

fn reopened(words: &[Word], context: &Context) -> Option<Step> {
    let said = skip(words, &["i", "we"]);
    if let Some((_, rest)) = strip_any(said, &["did not", "have not", "did not yet", "have not yet"]) {
        let rest = strip_end_any(rest, &["yet", "after all", "actually"]).unwrap_or(rest);
        let rest = skip(
            rest,
            &["actually", "yet", "even", "finish", "finished", "complete", "completed", "done", "do", "did", "really"],
        );
        return refer_known(rest, context, Scope::Done, reopen()).or_else(|| {
            // `I didn't get the milk`: the verb is not in the title.
            let (_, rest) = rest.split_first().filter(|(_, rest)| !rest.is_empty())?;
            refer_known(rest, context, Scope::Done, reopen())
        });
    }
    let sure = [
        "reopen",
        "re-open",
        "uncheck",
        "untick",
        "uncomplete",
        "unfinish",
        "undone",
        "not done with",
        "not done",
        "mark as not done",
        "mark as undone",
        "mark as open",
    ];
    if let Some((_, rest)) = strip_any(words, &sure) {
        return Some(refer(rest, context, Scope::Done, reopen()));
    }
    let (verb, rest) = strip_any(words, &["undo", "restore", "bring back", "put back", "open", "put", "bring"])?;
    let again = strip_end_any(rest, &["again", "back on the list", "back on my list", "back"]);
    if ["open", "put", "bring"].contains(&verb) && again.is_none() {
        return None;
    }
    let rest = again.unwrap_or(rest);
    if rest.is_empty() { None } else { refer_known(rest, context, Scope::Done, reopen()) }
}

const DELETE_ENDS: &[&str] = &[
    "from my list",
    "from the list",
    "from my tasks",
    "off my list",
    "off the list",
    "from list",
    "from my todo list",
    "from the todo list",
    "off",
];
const DELETE_MAYBE: &[&str] = &[
    "drop",
    "trash",
    "discard",
    "scratch",
    "cancel",
    "forget about",
    "forget",
    "throw away",
    "throw out",
    "dismiss",
    "kill",
    "bin",
    "clear out",
    "clear",
    "empty",
    "wipe",
    "purge",
    "scrap",
    "ditch",
    "clean up",
    "take off",
    "eliminate",
    "nuke",
    "skip",
];
const UNNEEDED: &[&str] = &[
    "i do not need to",
    "i do not need",
    "i do not have to",
    "i no longer need to",
    "i no longer need",
    "do not need",
    "no need to",
    "no need for",
    "i do not want to",
    "i do not want",
    "no longer need",
];
const DELETE_SURE: &[&str] = &["delete", "remove", "erase", "del", "rm", "get rid of"];
fn deleted(words: &[Word], context: &Context) -> Option<Step> {
    if let Some((_, rest)) = strip_any(words, UNNEEDED) {
        let rest = strip_end_any(rest, &["anymore", "any more", "any longer", "now", "no more"]).unwrap_or(rest);
        return refer_known(rest, context, Scope::Any, delete());
    }
    if let Some(rest) = strip(words, "take").and_then(|rest| strip_end_any(rest, DELETE_ENDS)) {
        return Some(refer(rest, context, Scope::Any, delete()));
    }
    if let Some((_, rest)) = strip_any(words, DELETE_SURE) {
        return Some(refer(strip_end_any(rest, DELETE_ENDS).unwrap_or(rest), context, Scope::Any, delete()));
    }
    let (verb, rest) = strip_any(words, DELETE_MAYBE)?;
    if ["clear", "clear out", "empty", "wipe", "purge", "nuke"].contains(&verb)
        && ["the list", "my list", "list", "the whole list", "my tasks", "my todo list", "the board"]
            .contains(&plain(rest).as_str())
    {
        let ids = super::references::ids_of(&super::Filter::default(), context);
        let reference = if ids.is_empty() { Reference::Missing(Vec::new()) } else { Reference::Ids(ids) };
        return Some(settle(reference, delete(), context.text, rest));
    }
    let rest = strip_end_any(rest, DELETE_ENDS).unwrap_or(rest);
    if rest.is_empty() { None } else { refer_known(rest, context, Scope::Any, delete()) }
}

/// `remove the due date of 2`, `no deadline for rent`.
fn without_date(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (_, rest) = strip_any(words, &["remove", "clear", "delete", "drop", "unset", "no", "take away"])?;
    let (_, rest) = strip_any(skip(rest, &["the"]), DATES)?;
    let (_, rest) = strip_any(rest, &["of", "from", "for", "on"])?;
    let change = Change { due: Some(NewDue::Never), ..Change::default() };
    Some(vec![refer(rest, context, Scope::AnyOpen, Request::Change { ids: Vec::new(), change })])
}

/// `set the due date of milk to friday`, `lower the priority of 3`, `change the title of 1 to X`.
fn field(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let the = |rest| skip(rest, &["the"]);
    if let Some((verb, rest)) = strip_any(words, &["raise", "increase", "bump up", "up", "lower", "reduce", "decrease"])
        && let Some((_, rest)) = strip_any(the(rest), &["priority of", "priority for", "priority on"])
    {
        let high = ["raise", "increase", "bump up", "up"].contains(&verb);
        let rest = strip_end_any(rest, &["to high", "to low"]).unwrap_or(rest);
        return Some(prioritized(rest, if high { Priority::High } else { Priority::Low }, context));
    }
    if let Some((length, priority)) = details::priority(words)
        && let Some((_, named)) = strip_any(&words[length..], &["for", "on"])
        && !matches!(resolve(named, context, Scope::AnyOpen), Reference::Missing(_))
    {
        return Some(prioritized(named, priority, context));
    }
    if let Some((verb, rest)) = strip_any(words, &["prioritize", "prioritise", "deprioritize", "deprioritise"]) {
        return Some(prioritized(rest, if verb.starts_with("de") { Priority::Low } else { Priority::High }, context));
    }
    let (_, rest) = strip_any(words, &["set", "change", "update", "adjust", "edit", "move", "make", "give", "add"])?;
    let rest = skip(rest, &["the", "a"]);
    if let Some((_, rest)) = strip_any(rest, &["title of", "name of", "text of", "wording of", "description of"]) {
        return retitled(rest, &["to", "into", "as"], context);
    }
    let fields: Vec<String> = DATES
        .iter()
        .chain(&["priority", "urgency"])
        .flat_map(|name| [format!("{name} of"), format!("{name} for"), format!("{name} on")])
        .collect();
    let rest = fields.iter().find_map(|field| strip(rest, field))?;
    with_target(rest, context, &|target| details::target(target, context.scene.now))
}

fn prioritized(words: &[Word], priority: Priority, context: &Context) -> Vec<Step> {
    let change = Change { priority: Some(priority), ..Change::default() };
    vec![refer(words, context, Scope::AnyOpen, Request::Change { ids: Vec::new(), change })]
}

/// `mark 3 as done`, `make it urgent`, `set 6 to medium`, `give milk high priority`.
fn marked(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (_, rest) =
        strip_any(words, &["mark", "make", "set", "flag", "give", "turn", "bump", "put", "change", "rate"])?;
    // The longest predicate first.
    (0..rest.len().min(STATEMENT_MAX)).find_map(|split| {
        let (named, said) = rest.split_at(split);
        let said = skip(said, &["as", "to", "a", "being", "on", "at"]);
        // `mark rent as paid`
        let happened = matches!(said, [only] if is_past(&only.low) && only.low != "read").then_some(Outcome::Complete);
        let outcome = predicate(said, context.scene.now).or(happened)?;
        if said.is_empty() || (named.is_empty() && split == 0 && strip(rest, "as").is_none()) {
            return None;
        }
        carry_out(named, outcome, context)
    })
}

/// What is said of the tasks that are named.
pub fn carry_out(named: &[Word], outcome: Outcome, context: &Context) -> Option<Vec<Step>> {
    let step = match outcome {
        Outcome::Complete => refer_known(named, context, Scope::Open, complete())?,
        Outcome::Reopen => refer_known(named, context, Scope::Done, reopen())?,
        Outcome::Delete => refer_known(named, context, Scope::Any, delete())?,
        Outcome::Change(details) => {
            return match resolve(named, context, Scope::AnyOpen) {
                Reference::Missing(_) => None,
                reference => Some(changes(reference, &details, context, named)),
            };
        }
    };
    Some(vec![step])
}

/// One request for all, or one for each where they come to be due at different times.
fn changes(reference: Reference, details: &Details, context: &Context, words: &[Word]) -> Vec<Step> {
    let Scene { now, tasks, .. } = context.scene;
    let due_of = |id: Option<i32>| {
        let task = id.and_then(|id| tasks.iter().find(|task| task.id == id));
        details.when.and_then(|when| when.moved(task, now)).map(NewDue::At)
    };
    let change = |due| Change { due, priority: details.priority, tags: details.tags.clone() };
    each_due(reference, &due_of, &change, context, words)
}

fn each_due(
    reference: Reference,
    due_of: &dyn Fn(Option<i32>) -> Option<NewDue>,
    change: &dyn Fn(Option<NewDue>) -> Change,
    context: &Context,
    words: &[Word],
) -> Vec<Step> {
    let Reference::Ids(ids) = reference else {
        let request = Request::Change { ids: Vec::new(), change: change(due_of(None)) };
        return vec![settle(reference, request, context.text, words)];
    };
    let mut groups: Vec<(Option<NewDue>, Vec<i32>)> = Vec::new();
    for id in ids {
        let due = due_of(Some(id));
        match groups.iter_mut().find(|(other, _)| *other == due) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((due, vec![id])),
        }
    }
    groups.into_iter().map(|(due, ids)| Step::Do(Request::Change { ids, change: change(due) })).collect()
}

/// Splits the words into a name and what `target` understands, the longest of that.
fn with_target(words: &[Word], context: &Context, target: &dyn Fn(&[Word]) -> Option<Details>) -> Option<Vec<Step>> {
    (0..words.len().min(STATEMENT_MAX)).find_map(|split| {
        let (named, said) = words.split_at(split);
        let details = target(said).filter(|details| !details.is_empty())?;
        match resolve(named, context, Scope::AnyOpen) {
            Reference::Missing(_) => None,
            reference => Some(changes(reference, &details, context, named)),
        }
    })
}

/// `move it to friday`, `postpone rent by a week`, `push 3 to 5pm`, and `snooze milk`, which must be asked when.
fn moved(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    const SURE: &[&str] = &["postpone", "reschedule", "re-schedule", "snooze", "delay", "defer", "put off"];
    const MAYBE: &[&str] =
        &["move", "push back", "push", "shift", "bump", "bring forward", "schedule", "set", "extend", "do", "change"];
    let (verb, rest) = strip_any(words, SURE).or_else(|| strip_any(words, MAYBE))?;
    let sure = SURE.contains(&verb);
    let forward = verb == "bring forward";
    for split in 0..rest.len().min(STATEMENT_MAX) {
        let (named, said) = rest.split_at(split);
        let named = strip_end(named, "back").unwrap_or(named);
        if (named.is_empty() && !sure) || strip(said, "and").is_some() {
            continue;
        }
        let steps = shift(said, forward).and_then(|shift| shifted(named, shift, context)).or_else(|| {
            let details = details::target(said, context.scene.now)?;
            match resolve(named, context, Scope::AnyOpen) {
                Reference::Missing(_) => None,
                reference => Some(changes(reference, &details, context, named)),
            }
        });
        if steps.is_some() {
            return steps;
        }
    }
    if !sure && !["move", "push back", "push", "shift", "bring forward"].contains(&verb) {
        return None;
    }
    match resolve(rest, context, Scope::AnyOpen) {
        Reference::Ids(ids) => Some(vec![Step::Ask(Question::When { ids })]),
        Reference::Missing(_) => sure.then(|| vec![Step::Missing(written(context.text, rest).to_owned())]),
        reference => {
            let request = Request::Change { ids: Vec::new(), change: Change::default() };
            Some(vec![settle(reference, request, context.text, rest)])
        }
    }
}

/// `by a week`, `two days`, `2 days later`, `a day earlier`.
pub fn shift(words: &[Word], forward: bool) -> Option<Shift> {
    let rest = strip(words, "by").or_else(|| strip(words, "for")).unwrap_or(words);
    let (length, shift) = dates::amount(rest)?;
    let (end, rest) = strip_any(&rest[length..], &["later", "back", "more", "further", "earlier", "forward", "sooner"])
        .unwrap_or(("", &rest[length..]));
    let earlier = forward || ["earlier", "forward", "sooner"].contains(&end);
    let turned = match shift {
        Shift::Days(days) if earlier => Shift::Days(-days),
        Shift::Months(months) if earlier => Shift::Months(-months),
        Shift::Minutes(minutes) if earlier => Shift::Minutes(-minutes),
        other => other,
    };
    rest.is_empty().then_some(turned)
}

pub fn shifted(named: &[Word], shift: Shift, context: &Context) -> Option<Vec<Step>> {
    let reference = resolve(named, context, Scope::AnyOpen);
    if matches!(reference, Reference::Missing(_)) {
        return None;
    }
    Some(shifted_by(reference, shift, context, named))
}

pub fn shifted_by(reference: Reference, shift: Shift, context: &Context, words: &[Word]) -> Vec<Step> {
    let Scene { now, tasks, .. } = context.scene;
    let is_due = |id: &i32| tasks.iter().any(|task| task.id == *id && task.due.is_some());
    // `push everything back a day`: what is due on no day stays so, unless nothing else is meant.
    let reference = match reference {
        Reference::Ids(ids) if ids.iter().any(is_due) => Reference::Ids(ids.into_iter().filter(is_due).collect()),
        other => other,
    };
    let due_of = |id: Option<i32>| {
        let due = id.and_then(|id| tasks.iter().find(|task| task.id == id)).and_then(|task| task.due);
        dates::apply(shift, due.unwrap_or(Due { date: now.date(), time: None }), now).map(NewDue::At)
    };
    each_due(reference, &due_of, &|due| Change { due, ..Change::default() }, context, words)
}

/// `tag 1 and 2 as #errands`, `add tag home to 5`.
fn tagged(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let (named, tags) =
        if let Some((_, rest)) = strip_any(words, &["add the tag", "add tag", "add label", "add the label"]) {
            let to = rest.iter().position(|word| ["to", "on"].contains(&word.low.as_str()))?;
            (&rest[to + 1..], &rest[..to])
        } else {
            let (verb, rest) = strip_any(words, &["tag", "label", "add"])?;
            let hash = rest.iter().position(|word| word.low.strip_prefix('#').is_some_and(details::is_tag));
            if verb == "add" {
                // `add #home to 5`
                let rest = hash
                    .filter(|at| *at == 0)
                    .and_then(|_| strip(&rest[1..], "to"))
                    .filter(|named| numbered(named).is_some())?;
                (rest, &words[1..2])
            } else {
                let at = rest
                    .iter()
                    .position(|word| ["with", "as"].contains(&word.low.as_str()))
                    .or(hash)
                    .or_else(|| rest.len().checked_sub(1))?;
                (&rest[..at], &rest[at..])
            }
        };
    let tags: Vec<String> = skip(tags, &["with", "as"])
        .iter()
        .filter(|word| word.low != "and")
        .map(|word| word.low.trim_start_matches('#').to_owned())
        .collect();
    if tags.is_empty() || !tags.iter().all(|tag| details::is_tag(tag)) {
        return None;
    }
    let request = Request::Change { ids: Vec::new(), change: Change { tags, ..Change::default() } };
    Some(vec![refer(named, context, Scope::AnyOpen, request)])
}

fn renamed(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    if let Some((_, rest)) = strip_any(words, &["rename", "retitle", "reword", "rephrase"]) {
        return retitled(rest, &["to", "as", "into", "with"], context).or_else(|| {
            // `rename 3 call mom`
            if let Some((first, title)) = rest.split_first()
                && numbered(std::slice::from_ref(first)).is_some()
                && !title.is_empty()
            {
                let title = titled(written(context.text, title).to_owned());
                return Some(vec![refer(&rest[..1], context, Scope::AnyOpen, title)]);
            }
            let step = refer(rest, context, Scope::AnyOpen, titled(String::new()));
            Some(vec![match step {
                Step::Do(request) => Step::Ask(Question::What(request)),
                other => other,
            }])
        });
    }
    if let Some(rest) = strip(words, "replace") {
        return retitled(rest, &["with", "by"], context);
    }
    if let Some((_, title)) =
        strip_any(words, &["call it", "call that", "call this"]).filter(|(_, title)| !title.is_empty())
    {
        return Some(vec![refer(&[], context, Scope::AnyOpen, titled(written(context.text, title).to_owned()))]);
    }
    let (_, rest) = strip_any(words, &["change", "edit", "update", "correct", "modify", "call", "fix"])?;
    retitled(rest, &["to", "into"], context).filter(|steps| {
        let sure = strip_any(words, &["change", "edit", "update", "modify"]).is_some();
        sure || !matches!(steps[..], [Step::Missing(_)])
    })
}

fn titled(title: String) -> Request {
    Request::Rename { id: 0, title }
}

/// `milk to oat milk`, `4: book dentist`; the first of the words between for which a task is known.
fn retitled(words: &[Word], between: &[&str], context: &Context) -> Option<Vec<Step>> {
    let splits = || {
        (1..words.len()).filter_map(|at| {
            if between.contains(&words[at].low.as_str()) && at + 1 < words.len() {
                Some((&words[..at], &words[at + 1..]))
            } else if words[at - 1].trail.contains([':', '-']) {
                Some((&words[..at], &words[at..]))
            } else {
                None
            }
        })
    };
    let known = splits().take(10).find_map(|(named, title)| {
        let named = skip(named, &["the", "title", "name", "of"]);
        let named = strip_end(named, "title").unwrap_or(named);
        refer_known(named, context, Scope::AnyOpen, titled(written(context.text, title).to_owned()))
    });
    let missing = || splits().next().map(|(named, _)| Step::Missing(written(context.text, named).to_owned()));
    known.or_else(missing).map(|step| vec![step])
}
