//! Answers to what the user was last asked.

use super::{
    Change, New, NewDue, Problem, Question, Request, Scene, Understanding, changing, dates, details,
    references::{Context, Reference, Scope, numbered, resolve},
    sentences,
    steps::{Step, settle},
    words::{Word, number, plain, skip, strip, strip_any, written},
};

/// `None` where it is no answer but something else.
pub fn answer(question: &Question, words: &[Word], context: &Context) -> Option<Understanding> {
    if words.is_empty() {
        return None;
    }
    let some = strip(words, "no only").or_else(|| strip(words, "no just")).is_some();
    if let Some(rest) = refusal(words).filter(|_| !some) {
        return Some(if rest.is_empty() { problem(Problem::Dropped) } else { sentences::understand(context, rest) });
    }
    match question {
        Question::Sure(request) => sure(request, words, context),
        Question::Which { request, options } => which(request, options, words, context),
        Question::What(request) => what(request, words, context),
        Question::When { ids } => when(ids, words, context),
    }
}

fn done(request: Request) -> Understanding {
    Understanding { requests: vec![request], ..Understanding::default() }
}

fn problem(problem: Problem) -> Understanding {
    Understanding { problems: vec![problem], ..Understanding::default() }
}

/// Yes; yes and something more; or only some of them.
fn sure(request: &Request, words: &[Word], context: &Context) -> Option<Understanding> {
    if let Some(some) = ["no only", "no just", "only", "just"].iter().find_map(|only| strip(words, only)) {
        let Reference::Ids(ids) = resolve(some, context, Scope::Any) else { return None };
        let all = ids.iter().all(|id| request.ids().contains(id));
        return request.clone().with_ids(ids).filter(|_| all).map(done);
    }
    let rest = agreed(words)?;
    let rest = skip(rest, &["and", "then", "also", "but"]);
    if rest.is_empty() {
        return Some(done(request.clone()));
    }
    let mut more = sentences::understand(context, rest);
    if more.requests.is_empty() {
        return None;
    }
    more.requests.insert(0, request.clone());
    Some(more)
}

/// What follows a yes.
fn agreed(words: &[Word]) -> Option<&[Word]> {
    const YES: &[&str] = &[
        "yes",
        "y",
        "yep",
        "yeah",
        "yup",
        "ya",
        "sure",
        "ok",
        "okay",
        "do it",
        "do that",
        "go ahead",
        "please do",
        "confirm",
        "confirmed",
        "of course",
        "correct",
        "absolutely",
        "definitely",
        "please",
        "right",
        "exactly",
        "fine",
        "i am sure",
        "that is right",
        "go for it",
        "go on",
        "add it",
        "make it so",
        "delete it",
        "delete them",
        "remove them",
        "delete them all",
        "remove it",
        "all",
        "all of them",
        "thanks",
        "them",
        "them all",
        "thank you",
    ];
    let mut rest = words;
    while let Some((_, after)) = strip_any(rest, YES) {
        rest = after;
    }
    (rest.len() < words.len()).then_some(rest)
}

/// What follows a no, if it is one.
fn refusal(words: &[Word]) -> Option<&[Word]> {
    const NO: &[&str] = &[
        "no thanks",
        "no thank you",
        "no",
        "nope",
        "nah",
        "n",
        "do not",
        "cancel that",
        "cancel it",
        "cancel",
        "never mind",
        "nevermind",
        "stop",
        "forget it",
        "keep them",
        "keep it",
        "rather not",
        "not now",
        "neither",
        "none of them",
        "none of those",
        "none",
        "leave it",
        "leave them",
    ];
    const AFTER: &[&str] = &[
        "wait", "thanks", "please", "do", "not", "that", "it", "them", "keep", "leave", "stop", "cancel", "never",
        "mind", "way", "sorry", "thank", "you", "one", "all", "of",
    ];
    let (phrase, rest) = strip_any(words, NO)?;
    // `no due date for 2` and `cancel 3` are requests.
    let refused =
        words[words.len() - rest.len() - 1].trail.contains([',', '.', '!', ';']) || phrase == "no" || rest.is_empty();
    let after = skip(rest, AFTER);
    if after.is_empty() {
        return Some(after);
    }
    (refused && phrase.starts_with('n') && strip_any(rest, &["due date", "deadline", "need", "longer"]).is_none())
        .then_some(rest)
}

/// Whether it is a sentence of its own, which leaves the question open.
fn is_command(words: &[Word], context: &Context) -> bool {
    let steps = sentences::parse(words, context).unwrap_or_default();
    match steps.first() {
        Some(Step::Do(request)) => !matches!(request, Request::Search { .. } | Request::Show { .. } | Request::Thanks),
        Some(Step::Ask(question)) => !matches!(question, Question::Sure(Request::Add(_))),
        _ => false,
    }
}

fn which(request: &Request, options: &[i32], words: &[Word], context: &Context) -> Option<Understanding> {
    let bare = skip(words, &["the", "number", "task", "i", "mean", "meant", "it", "is", "with"]);
    let any = options.is_empty();
    let tasks: Vec<_> = context.scene.tasks.iter().filter(|task| any || options.contains(&task.id)).cloned().collect();
    let asked = Context {
        scene: Scene { tasks: &tasks, ..context.scene },
        spoken: if any { context.spoken.clone() } else { options.to_vec() },
        ..*context
    };
    let reference = match plain(bare).as_str() {
        "all" | "both" | "all of them" | "both of them" | "them all" | "everything" if !any => {
            Reference::Ids(options.to_vec())
        }
        _ => match placed(options, bare) {
            Some(id) => Reference::Ids(vec![id]),
            None => resolve(bare, &asked, Scope::Any),
        },
    };
    if numbered(bare).is_none() && is_command(words, context) && plain(bare) != "all" {
        return None;
    }
    match reference {
        Reference::Missing(_) | Reference::Unsaid => None,
        reference => Some(match settle(reference, request.clone(), context.text, words) {
            Step::Do(request) if request.ids().len() > 1 && matches!(request, Request::Delete { .. }) => {
                Understanding { question: Some(Question::Sure(request)), ..Understanding::default() }
            }
            Step::Do(Request::Change { ids, change }) if change == Change::default() => {
                Understanding { question: Some(Question::When { ids }), ..Understanding::default() }
            }
            Step::Do(request) => done(request),
            Step::Ask(question) => Understanding { question: Some(question), ..Understanding::default() },
            _ => return None,
        }),
    }
}

/// A number that is no task's is one of the options'.
fn placed(options: &[i32], words: &[Word]) -> Option<i32> {
    let [only] = words else { return None };
    let place = number(only.low.trim_start_matches('#'))?;
    let id = i32::try_from(place).ok()?;
    let index = usize::try_from(place).ok()?.checked_sub(1)?;
    if options.contains(&id) { Some(id) } else { options.get(index).copied() }
}

fn what(request: &Request, words: &[Word], context: &Context) -> Option<Understanding> {
    if is_command(words, context) {
        return None;
    }
    let words = sentences::polite(words);
    Some(done(match request.clone() {
        Request::Add(new) => {
            let (title, details) = details::take(context.text, words, context.scene.now);
            let due = details.due(context.scene.now).or(new.due);
            let tags = [new.tags, details.tags].concat();
            Request::Add(New { title, due, priority: details.priority.or(new.priority), tags, ..new })
        }
        Request::Rename { id, .. } => Request::Rename { id, title: written(context.text, words).to_owned() },
        _ => return None,
    }))
}

fn when(ids: &[i32], words: &[Word], context: &Context) -> Option<Understanding> {
    let words = sentences::polite(words);
    let reference = Reference::Ids(ids.to_vec());
    let steps = if let Some(shift) = changing::shift(words, false) {
        changing::shifted_by(reference, shift, context, words)
    } else if let Some(when) = dates::whole(words, context.scene.now) {
        ids.iter()
            .filter_map(|id| {
                let task = context.scene.tasks.iter().find(|task| task.id == *id);
                let due = when.moved(task, context.scene.now).map(NewDue::At);
                Some(Step::Do(Request::Change {
                    ids: vec![*id],
                    change: Change { due: Some(due?), ..Change::default() },
                }))
            })
            .collect()
    } else {
        return None;
    };
    let requests = steps.into_iter().filter_map(|step| if let Step::Do(request) = step { Some(request) } else { None });
    Some(Understanding { requests: requests.collect(), ..Understanding::default() })
}
