//! New tasks: `add buy milk tomorrow !high`, `remind me to call mum at 5`, `I need to pay rent`, a list of lines.

use super::{
    New, Priority, Question, Request, changing,
    dates::phrase,
    details::{self, Details},
    references::Context,
    sentences,
    steps::{Step, add},
    words::{Word, number, split, strip, strip_any, strip_end_any, written},
};

/// What begins an addition whatever follows.
const VERBS: &[&str] = &[
    "add",
    "new",
    "create",
    "insert",
    "append",
    "jot down",
    "write down",
    "note down",
    "note that",
    "put down",
    "remember",
];
/// What does so only before a colon.
const LABELS: &[&str] = &["task", "todo", "note", "reminder", "note to self", "memo", "remember", "tasks", "todos"];
const NEEDS: &[&str] = &[
    "i need to",
    "i have to",
    "i must",
    "i should",
    "i have got to",
    "i got to",
    "i ought to",
    "we need to",
    "we have to",
    "we must",
    "we should",
    "need to",
    "have to",
    "got to",
    "must",
    "i am going to",
    "i will",
    "i also need to",
    "i still need to",
    "i still have to",
    "i also have to",
];
const NOUNS: &[&str] =
    &["task", "todo", "item", "reminder", "to do", "entry", "note", "tasks", "todos", "items", "reminders", "things"];
const PLURALS: &[&str] = &["tasks", "todos", "items", "reminders", "things"];
const LISTS: &[&str] = &[
    "to my list",
    "to the list",
    "to my todo list",
    "to the todo list",
    "to my to do list",
    "to the to do list",
    "to my tasks",
    "to my todos",
    "to the tasks",
    "to my shopping list",
    "to the shopping list",
    "on my list",
    "on the list",
    "on my todo list",
    "on the todo list",
    "to our list",
    "on my to do list",
    "in my list",
    "on my shopping list",
    "on the shopping list",
    "into my list",
    "in the list",
];
const ARTICLES: &[&str] =
    &["a", "an", "another", "one more", "the following", "the", "these", "this", "some", "my", "new", "following"];
/// Between `task` and its title.
const NAMED: &[&str] = &[
    "called",
    "named",
    "titled",
    "saying",
    "that says",
    "with the title",
    "with title",
    "that i have to",
    "to",
    "about",
];
/// What tasks often begin with; a sentence that does is rather a task than anything else.
const DEEDS: &[&str] = &[
    "book", "bring", "build", "buy", "call", "check", "clean", "collect", "contact", "cook", "email", "feed", "fetch",
    "fill", "fix", "get", "give", "go", "invite", "learn", "make", "meet", "order", "organise", "organize", "pay",
    "phone", "pick", "plan", "practice", "prepare", "print", "repair", "reply", "return", "review", "schedule", "sell",
    "send", "sign", "study", "submit", "talk", "text", "update", "visit", "wash", "water", "write", "read",
];

type Parse<'p> = &'p dyn Fn(&Context, &[Word]) -> Option<Vec<Step>>;

/// What is to be added, after the words that say so.
struct Head<'w> {
    title: &'w [Word],
    priority: Option<Priority>,
    /// Each of several.
    many: bool,
}

pub fn parse(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    if let Some(rest) = NEEDS.iter().find_map(|need| strip(words, need)) {
        // `I have to see my list` asks for the list.
        let other = changing::parse(rest, context).or_else(|| super::asking::parse(rest, context));
        return other
            .filter(|steps| matches!(steps[..], [Step::Do(_)]))
            .or_else(|| (!rest.is_empty()).then(|| vec![added(context, rest, None)]));
    }
    if let Some(rest) =
        ["i need", "we need", "need", "we are out of", "i am out of"].iter().find_map(|need| strip(words, need))
    {
        return (!rest.is_empty()).then(|| vec![added(context, rest, None)]);
    }
    if let Some(steps) = dated(words, context) {
        return Some(steps);
    }
    if let Some(step) = put(words, context) {
        return Some(vec![step]);
    }
    let Head { title, priority, many } = head(words)?;
    if many {
        return Some(each(context, title, priority));
    }
    Some(vec![added(context, title, priority)])
}

/// `tomorrow I have to call the school`
fn dated(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let when = phrase(words, context.scene.now)?;
    let rest = &words[when.length..];
    let begins = NEEDS.iter().chain(&["remind me", "add"]).any(|begin| strip(rest, begin).is_some());
    let mut steps = parse(rest, context).filter(|_| begins)?;
    match &mut steps[..] {
        [Step::Do(Request::Add(new))] if new.due.is_none() => new.due = when.due(context.scene.now),
        _ => return None,
    }
    Some(steps)
}

/// `put milk on my list for friday`
fn put(words: &[Word], context: &Context) -> Option<Step> {
    let (_, rest) = strip_any(words, &["put", "get", "throw", "stick"])?;
    if let Some((_, title)) = strip_any(rest, LISTS) {
        return Some(added(context, title, None));
    }
    let now = context.scene.now;
    let (at, after) = (1..rest.len()).find_map(|at| strip_any(&rest[at..], LISTS).map(|(_, after)| (at, after)))?;
    let details = details::whole(after, now)?;
    match added(context, &rest[..at], details.priority) {
        Step::Do(Request::Add(new)) => Some(add(New { due: details.due(now).or(new.due), ..new })),
        other => Some(other),
    }
}

fn added(context: &Context, words: &[Word], priority: Option<Priority>) -> Step {
    let now = context.scene.now;
    let words = strip_end_any(words, &["too", "as well"]).filter(|rest| !rest.is_empty()).unwrap_or(words);
    // `a task for visiting mum`, but not `for friday: visit mum`.
    let words = strip(words, "for").filter(|rest| !rest.is_empty() && phrase(words, now).is_none()).unwrap_or(words);
    let (title, details) = details::take(context.text, words, now);
    // `add a task for tomorrow` has no title yet.
    if let Some(all) = details::whole(words, now).filter(|_| !words.iter().any(|word| word.quoted)) {
        return add(new(String::new(), &all, priority, context));
    }
    add(new(title, &details, priority, context))
}

fn new(title: String, details: &Details, priority: Option<Priority>, context: &Context) -> New {
    New {
        title,
        description: None,
        due: details.due(context.scene.now),
        priority: details.priority.or(priority),
        tags: details.tags.clone(),
    }
}

fn head(words: &[Word]) -> Option<Head<'_>> {
    let one = |title| Some(Head { title, priority: None, many: false });
    if let Some((label, rest)) = strip_any(words, LABELS)
        && words[words.len() - rest.len() - 1].trail.contains([':', '-'])
    {
        return Some(Head { title: rest, priority: None, many: PLURALS.contains(&label) });
    }
    if let Some(rest) = strip(words, "todo").filter(|rest| rest.first().is_some_and(|word| number(&word.low).is_none()))
    {
        return one(strip_any(rest, &["to", "item"]).map_or(rest, |(_, rest)| rest));
    }
    if let Some((_, rest)) = strip_any(words, &["note to self", "memo to self"]) {
        return one(strip_any(rest, &["to"]).map_or(rest, |(_, rest)| rest));
    }
    if let Some((_, rest)) = strip_any(
        words,
        &[
            "remind me",
            "remind us",
            "reminder to",
            "remember",
            "can i get a reminder",
            "i need a reminder",
            "a reminder",
        ],
    ) {
        return one(strip_any(rest, &["to", "about", "of", "that"]).map_or(rest, |(_, rest)| rest));
    }
    let forgets = ["do not forget", "do not let me forget", "never forget", "must not forget", "i must not forget"];
    if let Some((_, rest)) = strip_any(words, &forgets) {
        return one(strip_any(rest, &["to", "about", "that"]).map_or(rest, |(_, rest)| rest));
    }
    if let Some((_, rest)) = strip_any(words, &["make", "set", "set up", "schedule"]) {
        let head = noun(rest).filter(|head| head.title.len() < rest.len());
        return head.or_else(|| strip(words, "schedule").and_then(one));
    }
    let (_, rest) = strip_any(words, VERBS)?;
    listed(rest)
}

/// What follows `add`.
fn listed(words: &[Word]) -> Option<Head<'_>> {
    let mut rest = words;
    while let Some((_, after)) = strip_any(rest, &["for me", "please", "me", "there", "down"])
        && !after.is_empty()
    {
        rest = after;
    }
    rest = strip_any(rest, LISTS).map_or(rest, |(_, after)| after);
    if let Some((_, after)) = strip_any(rest, &["another one", "one more", "one", "this one", "this", "these"])
        && rest[rest.len() - after.len() - 1].trail.contains(':')
    {
        rest = after;
    }
    let mut head = noun(rest)?;
    while let Some((phrase, after)) =
        strip_any(head.title, &["for me", "please", "to", "that i need to", "that i have to"])
        && !after.is_empty()
        && !(phrase == "to" && after.len() < 2)
    {
        head.title = after;
    }
    head.title = strip_end_any(head.title, LISTS).filter(|title| !title.is_empty()).unwrap_or(head.title);
    Some(head)
}

/// `a new urgent task called X`: what it says of the task besides its title.
fn noun(words: &[Word]) -> Option<Head<'_>> {
    let mut rest = words;
    let mut priority = None;
    loop {
        if let Some((_, after)) = strip_any(rest, ARTICLES) {
            rest = after;
        } else if let Some((length, found)) = details::priority(rest).or_else(|| details::priority_word(rest)) {
            priority = Some(found);
            rest = &rest[length..];
        } else if let Some((first, after)) = rest.split_first()
            && number(&first.low).is_some()
            && strip_any(after, PLURALS).is_some()
        {
            rest = after;
        } else {
            break;
        }
    }
    let Some((noun, after)) =
        strip_any(rest, NOUNS).filter(|(_, after)| strip_any(after, &["force", "manager"]).is_none())
    else {
        return Some(Head { title: words, priority: None, many: false });
    };
    let colon = words[words.len() - after.len() - 1].trail.contains(':');
    // `add note taking app` names a thing.
    let thing = !["task", "todo"].contains(&noun) && !PLURALS.contains(&noun);
    let linked = strip_any(after, &["to", "for", "about", "that", "called", "saying", "named"]).is_some();
    if thing && !colon && !linked && !after.is_empty() && rest.len() == words.len() {
        return Some(Head { title: words, priority: None, many: false });
    }
    if PLURALS.contains(&noun) && !colon && strip(after, "to").is_none() {
        return Some(Head { title: words, priority: None, many: false });
    }
    let title = strip_any(after, NAMED).map_or(after, |(_, title)| title);
    Some(Head { title, priority, many: PLURALS.contains(&noun) && colon })
}

/// `sweep, mop and dust`
fn each(context: &Context, words: &[Word], priority: Option<Priority>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut start = 0;
    for index in 0..words.len() {
        let and = words[index].low == "and" && !words[index].quoted;
        let ends = words[index].trail.contains([',', ';']);
        if and && index > start {
            steps.push(added(context, &words[start..index], priority));
        } else if ends {
            steps.push(added(context, &words[start..=index], priority));
        }
        if and || ends {
            start = index + 1;
        }
    }
    if start < words.len() || steps.is_empty() {
        steps.push(added(context, &words[start..], priority));
    }
    steps
}

/// The first line is the title, and what follows its description; unless there is no title, and each line is a task, or
/// each line is a request.
pub fn lines(context: &Context, words: &[Word]) -> Option<Vec<Step>> {
    let text = context.text.trim();
    let (line, more) = text.split_once('\n').filter(|(_, more)| !more.trim().is_empty())?;
    let first = sentences::polite(&split_line(words, context.text, line)?).to_vec();
    let head = head(&first)?;
    let lines: Vec<&str> = more.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let of_line = |line: &str, parse: Parse| parse(&Context { text: line, ..context.clone() }, &split(line));
    if head.title.is_empty() {
        let items = lines.iter().take(50).map(|line| line.trim_start_matches(['-', '*', '\u{2022}', ' ']));
        let each = |context: &Context, words: &[Word]| Some(vec![added(context, words, head.priority)]);
        return Some(items.filter(|item| !item.is_empty()).filter_map(|item| of_line(item, &each)).flatten().collect());
    }
    let begins = |line: &&str| {
        of_line(line, &|context, words| sentences::parse(words, context)).is_some_and(|steps| {
            matches!(steps[..], [Step::Do(Request::Add(_) | Request::List(_) | Request::Complete { .. }), ..])
        })
    };
    if lines.iter().take(50).all(begins) {
        return None;
    }
    let mut steps = parse(&first, context)?;
    if let Some(Step::Do(Request::Add(new))) = steps.last_mut() {
        new.description = Some(more.trim().to_owned());
    }
    Some(steps)
}

fn split_line(words: &[Word], text: &str, line: &str) -> Option<Vec<Word>> {
    let start = text.len() - text.trim_start().len();
    let end = start + line.len();
    Some(words.iter().filter(|word| word.start() < end).cloned().collect())
}

/// No request, but it sounds like a task: shall it be added?
pub fn guess(words: &[Word], context: &Context) -> Option<Vec<Step>> {
    let asks = [
        "what", "when", "where", "who", "why", "how", "which", "is", "are", "can", "does", "i", "we", "you", "it",
        "that", "they",
    ];
    if words.iter().any(|word| word.trail.contains('?')) || asks.contains(&words[0].low.as_str()) {
        return None;
    }
    let (title, details) = details::take(context.text, words, context.scene.now);
    let deed = DEEDS.contains(&words[0].low.as_str()) && words.len() > 1;
    let dated = !details.is_empty() && written(context.text, words) != title;
    let new = new(title, &details, None, context);
    ((deed || dated) && !new.title.is_empty()).then(|| vec![Step::Ask(Question::Sure(Request::Add(new)))])
}
