//! Several requests in one sentence: where one ends and the next begins, and what they come to together.

use super::{
    Change, New, NewDue, Problem, Question, Request, Understanding, adding, asking, changing, details,
    references::{ADDED, Context},
    small, statements,
    steps::Step,
    words::{Word, is_slip_of, skip, strip, strip_any, strip_end_any, written},
};

/// More ends of requests than these are not looked for.
const BOUNDARIES_MAX: usize = 40;

/// Where a request may end, and the next begin.
#[derive(Clone, Copy)]
struct Boundary {
    end: usize,
    start: usize,
    /// After `then` or a full stop; `and` and a comma are soft, for titles have them.
    hard: bool,
}

pub fn understand(context: &Context, words: &[Word]) -> Understanding {
    if let Some(steps) = adding::lines(context, words) {
        return conclude(context, vec![(Some(steps), words)]);
    }
    let mut context = context.clone();
    let mut understood: Vec<(Option<Vec<Step>>, &[Word])> = Vec::new();
    let parts = parts(&context, words);
    let alone = parts.len() == 1;
    for part in parts {
        let steps = parse(part, &context).or_else(|| asking::mention(part, &context).filter(|_| alone));
        for step in steps.iter().flatten() {
            speak_of(step, &mut context);
        }
        understood.push((steps, part));
    }
    // `hey, add milk` and `add milk, thanks` ask for one thing.
    let small =
        |steps: &Option<Vec<Step>>| matches!(steps.as_deref(), Some([Step::Do(Request::Help | Request::Thanks)]));
    if understood.iter().any(|(steps, _)| !small(steps)) {
        understood.retain(|(steps, _)| !small(steps));
    }
    conclude(&context, understood)
}

/// What `it` is in the next request.
fn speak_of(step: &Step, context: &mut Context) {
    match step {
        Step::Do(Request::Add(_)) => context.spoken = vec![ADDED],
        Step::Do(request) if !request.ids().is_empty() => context.spoken = request.ids().to_vec(),
        Step::Ask(Question::Sure(request)) if !request.ids().is_empty() => context.spoken = request.ids().to_vec(),
        _ => {}
    }
}

/// From the end: a request begins where what follows is one.
fn parts<'w>(context: &Context, words: &'w [Word]) -> Vec<&'w [Word]> {
    let mut context = context.clone();
    // So that `it` is something; the requests before are not read yet.
    context.spoken = if context.spoken.is_empty() { vec![ADDED] } else { context.spoken };
    let mut cuts: Vec<Boundary> = Vec::new();
    let mut to = words.len();
    for boundary in boundaries(context.text, words).into_iter().rev() {
        let part = &words[boundary.start..to];
        // `send it to Acme Corp. asap` goes on.
        let detail = details::whole(part, context.scene.now).is_some();
        let begins = parse(part, &context).filter(|_| !detail);
        if begins.is_some_and(|steps| is_request(&steps, boundary.hard)) {
            to = boundary.end;
            cuts.push(boundary);
        }
    }
    // `milk and eggs are done`: what is nothing alone belongs to what follows.
    let (mut parts, mut from, mut to) = (Vec::new(), 0, words.len());
    cuts.reverse();
    for (number, cut) in cuts.iter().enumerate() {
        to = cuts.get(number + 1).map_or(words.len(), |next| next.end);
        let sound = |words| parse(words, &context).is_some_and(|steps| !is_guess(&steps));
        if cut.hard || sound(&words[from..cut.end]) || !sound(&words[from..to]) {
            parts.push(&words[from..cut.end]);
            from = cut.start;
        }
    }
    parts.push(&words[from..to]);
    parts
}

fn boundaries(text: &str, words: &[Word]) -> Vec<Boundary> {
    let mut found: Vec<Boundary> = Vec::new();
    for end in 1..words.len() {
        let trail = &words[end - 1].trail;
        let line = words[end - 1].is_before_line(&words[end], text);
        let rest = &words[end..];
        let links = ["and", "then", "also", "plus", "afterwards", "after that", "next", "finally", "but", "or"];
        let linked = strip_any(rest, &links).is_some_and(|(link, _)| link != "next" || trail.contains(','));
        if words[end - 1].quoted && trail.is_empty() && !linked
            || !(linked || line || trail.contains([',', '.', ';', '!', '?']))
        {
            continue;
        }
        let after = skip(rest, &["and", "then", "also", "plus", "afterwards", "finally", "but"]);
        let after = strip(after, "after that").unwrap_or(after);
        let start = words.len() - after.len();
        let then = words[end..start].iter().any(|word| ["then", "afterwards", "finally"].contains(&word.low.as_str()));
        let hard = then || line || trail.contains(['.', ';', '!', '?']);
        if start < words.len() && found.last().is_none_or(|last| last.start < start) {
            found.push(Boundary { end, start, hard });
        }
    }
    found.truncate(BOUNDARIES_MAX);
    found
}

fn is_guess(steps: &[Step]) -> bool {
    matches!(steps, [Step::Ask(Question::Sure(Request::Add(_)))])
}

/// Whether a part may stand alone. What is soft before it must leave no doubt.
fn is_request(steps: &[Step], hard: bool) -> bool {
    let doubtful = |request: &Request| {
        matches!(
            request,
            Request::Help | Request::Thanks | Request::Search { .. } | Request::Show { .. } | Request::Undo
        )
    };
    match steps.first() {
        Some(Step::Do(request)) => hard || !doubtful(request),
        Some(Step::Ask(Question::Sure(Request::Add(_)) | Question::What(_))) | None => false,
        Some(Step::Ask(Question::Which { request, .. })) => hard || !doubtful(request),
        Some(Step::Ask(_)) => true,
        Some(Step::Missing(_)) => hard,
        Some(Step::Drop) => false,
    }
}

/// Words of their own, however near they are to a verb.
const OTHERS: &[&str] = &[
    "how", "who", "love", "more", "most", "last", "lost", "park", "send", "sent", "slow", "must", "lift", "gone",
    "line", "dad", "did",
];
/// Where a sentence is not understood, these may be meant by its first word.
const VERBS: &[&str] = &[
    "remember",
    "remind",
    "create",
    "delete",
    "remove",
    "rename",
    "complete",
    "finish",
    "finished",
    "reopen",
    "postpone",
    "reschedule",
    "search",
    "list",
    "show",
    "done",
    "undo",
    "move",
    "change",
    "mark",
    "tasks",
    "help",
    "add",
];

/// One request. What is not understood is tried again without a slip in its first word.
pub fn parse(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let words = polite(words);
    if let Some(rest) = strip(words, "its") {
        let known: Vec<Word> = [&[words[0].meaning("it"), words[0].meaning("is")], rest].concat();
        return one(&known, context);
    }
    one(words, context).or_else(|| {
        let (first, rest) = words.split_first()?;
        let slip = |verb: &&&str| {
            is_slip_of(&first.low, verb)
                || (**verb == "add" && ["addd", "aad", "adda", "ad"].contains(&first.low.as_str()))
        };
        let verb = VERBS
            .iter()
            .find(slip)
            .filter(|verb| first.low != **verb && !first.quoted && !OTHERS.contains(&first.low.as_str()))?;
        let mut corrected = vec![first.meaning(verb)];
        corrected.extend(rest.iter().cloned());
        one(&corrected, context).filter(|steps| is_request(steps, true) && !matches!(steps[..], [Step::Missing(_)]))
    })
}

fn one(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    if words.is_empty() {
        return None;
    }
    small::parse(words)
        .or_else(|| changing::parse(words, context))
        .or_else(|| adding::parse(words, context))
        .or_else(|| asking::parse(words, context))
        .or_else(|| statements::parse(words, context))
        .or_else(|| adding::guess(words, context))
}

const POLITE_BEFORE: &[&str] = &[
    "please to",
    "please",
    "hey there",
    "hey",
    "hello",
    "hi there",
    "hi",
    "okay",
    "ok",
    "so",
    "well",
    "now",
    "then",
    "also",
    "and",
    "plus",
    "actually",
    "sorry",
    "oh",
    "yes",
    "alright",
    "all right",
    "right",
    "kindly",
    "can you",
    "could you",
    "would you",
    "will you",
    "you can",
    "you could",
    "you should",
    "can we",
    "i want you to",
    "i would like you to",
    "i would like to",
    "i want to",
    "i would want to",
    "i want",
    "i like to",
    "let us",
    "go ahead and",
    "just",
    "finally",
    "yeah",
    "great",
    "good",
    "wait",
    "quickly",
    "maybe",
    "first",
    "btw",
    "i need you to",
    "i wish to",
    "i would like",
    "want to",
    "would like to",
];
/// Without what is only polite.
pub fn polite(mut words: &[Word]) -> &[Word] {
    while let Some((phrase, rest)) = strip_any(words, POLITE_BEFORE)
        && !rest.is_empty()
        && !(phrase == "now" && strip(rest, "what").is_some())
    {
        words = rest;
    }
    while let Some(rest) =
        strip_end_any(words, &["please", "for me", "thanks", "thank you", "mate", "cheers", "instead"])
        && let Some(last) = rest.last()
        && last.low != "say"
        && (!last.trail.is_empty() || ["please", "me", "instead"].contains(&words[words.len() - 1].low.as_str()))
    {
        words = rest;
    }
    words
}

/// The requests in their order, those alike made one, and what would delete more than one task turned into a question.
fn conclude(context: &Context, understood: Vec<(Option<Vec<Step>>, &[Word])>) -> Understanding {
    let mut result = Understanding::default();
    for (steps, part) in understood {
        let said = || written(context.text, part).to_owned();
        let Some(steps) = steps else {
            result.problems.push(Problem::Unknown(said()));
            continue;
        };
        for step in steps {
            match step {
                Step::Do(request) => join(&mut result, request),
                Step::Missing(words) => result.problems.push(Problem::Missing(words)),
                Step::Drop => result.problems.push(Problem::Dropped),
                Step::Ask(question) if result.question.is_none() => result.question = Some(of_known(question)),
                Step::Ask(_) => result.problems.push(Problem::TooMuch(said())),
            }
        }
    }
    confirm(context, &mut result);
    result
}

fn join(result: &mut Understanding, request: Request) {
    if request.ids().contains(&ADDED) {
        return of_added(result, request);
    }
    match (result.requests.last_mut(), request) {
        (Some(Request::Complete { ids }), Request::Complete { ids: more })
        | (Some(Request::Reopen { ids }), Request::Reopen { ids: more })
        | (Some(Request::Delete { ids }), Request::Delete { ids: more }) => {
            ids.extend(more.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        }
        (_, request) => result.requests.push(request),
    }
}

/// `add milk and make it urgent`: the task has no number yet, so it is added as it is to be.
fn of_added(result: &mut Understanding, request: Request) {
    let added = result.requests.iter_mut().rev().find_map(|request| match request {
        Request::Add(new) => Some(new),
        _ => None,
    });
    match (added, request) {
        (Some(new), Request::Change { change: Change { due, priority, tags }, .. }) => {
            if let Some(due) = due {
                new.due = if let NewDue::At(due) = due { Some(due) } else { None };
            }
            new.priority = priority.or(new.priority);
            new.tags.extend(tags);
        }
        (Some(New { title, .. }), Request::Rename { title: new, .. }) => *title = new,
        (_, request) if result.question.is_none() => {
            result.question = Some(Question::Which { request, options: Vec::new() });
        }
        _ => {}
    }
}

/// What is only now added has no number by which the answer could find it.
fn of_known(question: Question) -> Question {
    let which = |request| Question::Which { request, options: Vec::new() };
    match question {
        Question::When { ids } if ids.contains(&ADDED) => {
            which(Request::Change { ids: Vec::new(), change: Change::default() })
        }
        Question::What(request) | Question::Sure(request) if request.ids().contains(&ADDED) => which(request),
        other => other,
    }
}

fn confirm(context: &Context, result: &mut Understanding) {
    let mut doomed: Vec<i32> = Vec::new();
    for request in &result.requests {
        if let Request::Delete { ids } = request {
            doomed.extend(ids);
        }
    }
    if doomed.len() > 1 {
        result.requests.retain(|request| !matches!(request, Request::Delete { .. }));
        doomed.sort_unstable();
        doomed.dedup();
        if result.question.replace(Question::Sure(Request::Delete { ids: doomed })).is_some() {
            result.problems.push(Problem::TooMuch(context.text.trim().to_owned()));
        }
    }
}
