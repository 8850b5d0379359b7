//! What the assistant says: plain sentences that name each task by its number and title. No I/O.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use time::{Date, PrimitiveDateTime};

use super::{
    perform::{Done, known},
    understanding::{Change, Due, Filter, Known, New, NewDue, Problem, Question, Request, Wish},
};
use crate::tasks::{Priority, Task};

/// More than one reads in a conversation.
const LIST_MAX: usize = 50;
/// More than one reads in a sentence.
const NAMES_MAX: usize = 10;
const WORDS_MAX_CHARS: usize = 100;

pub const HELP: &str = "I keep your tasks. Say it in your own words, for example:\n\
    - add buy milk tomorrow at 5pm, high priority\n\
    - what is left? What is due this week? What should I do next?\n\
    - done with milk, or: done 3, or: the last two are done\n\
    - move 3 to Friday, make it urgent, rename it to buy oat milk\n\
    - delete 3, or: delete all done ones (I ask first), and undo takes it back";

const HINT: &str = "Try \"add buy milk tomorrow\", \"what is left?\" or \"done 3\"; \"help\" shows more.";

pub fn outcome(done: &Done, now: PrimitiveDateTime) -> String {
    match done {
        Done::Added(task) => format!("Added {}{}.", named(task), details(&known(task), now, true)),
        Done::Listed(filter, tasks) => listed(tasks, &described(filter, now), filter, now),
        Done::Counted(filter, count) => counted(*count, &described(filter, now)),
        Done::Found(words, tasks) if tasks.is_empty() => format!("No task has {} in it.", quoted(words)),
        Done::Found(words, tasks) => listed(
            tasks,
            &Described { kind: String::new(), rest: format!(" with {}", quoted(words)) },
            &Filter::default(),
            now,
        ),
        Done::Shown(tasks) => tasks.iter().map(|task| shown(task, now)).collect::<Vec<_>>().join("\n"),
        Done::Completed(tasks) => format!("Done: {}.", all(tasks)),
        Done::Reopened(tasks) => format!("Open again: {}.", all(tasks)),
        Done::Deleted(tasks) => format!("Deleted {}.", all(tasks)),
        Done::Renamed(task, before) => {
            format!("#{} is now {}; it was {}.", task.id, quoted(&task.title), quoted(before))
        }
        Done::Changed(tasks, change) => changed(tasks, change, now),
        Done::Next(Some((task, why))) => {
            format!("Next: {}{}; {why}.", named(task), details(&known(task), now, true))
        }
        Done::Next(None) => "Nothing is open. Enjoy!".to_owned(),
        Done::Undone { tasks, deleted, all } => undone(tasks, deleted, *all),
        Done::Refused(reason) => reason.clone(),
        Done::Helped => HELP.to_owned(),
        Done::Thanked => "Any time.".to_owned(),
    }
}

/// `alone` is whether nothing else is said.
pub fn problem(problem: &Problem, alone: bool) -> String {
    match problem {
        Problem::Unknown(words) if words.trim().is_empty() => format!("I didn't understand that. {HINT}"),
        Problem::Unknown(words) if alone => format!("I didn't understand {}. {HINT}", quoted(words)),
        Problem::Unknown(words) => format!("I didn't understand {}.", quoted(words)),
        Problem::Missing(words) if words.starts_with('#') => {
            format!("There is no task {}. \"list\" shows the numbers.", shortened(words))
        }
        Problem::Missing(words) => format!("I found no task for {}. \"list\" shows what there is.", quoted(words)),
        Problem::TooMuch(words) => format!("One question at a time; please say this again after it: {}", quoted(words)),
        Problem::Dropped => "All right, nothing is changed.".to_owned(),
    }
}

pub fn question(question: &Question, tasks: &[Known], now: PrimitiveDateTime) -> String {
    let names = |ids: &[i32], last: &str| {
        let names: Vec<String> = ids
            .iter()
            .map(|id| match tasks.iter().find(|task| task.id == *id) {
                Some(task) => format!("#{id} {}", quoted(&task.title)),
                None => format!("#{id}"),
            })
            .collect();
        joined(&names, last)
    };
    match question {
        Question::Sure(Request::Add(New { title, due, priority, tags, .. })) => {
            let due = due.map_or(String::new(), |due| format!(", due {}", day_time(due, now)));
            let priority = priority.map_or(String::new(), |priority| format!(", {} priority", level(priority)));
            let tags = if tags.is_empty() { String::new() } else { format!(", tagged {}", tags.join(", ")) };
            format!("Shall I add {}{due}{priority}{tags}? Say yes or no.", quoted(title))
        }
        Question::Sure(Request::Wishes { wishes, .. }) if !is_about_tasks_alone(wishes) => {
            let wishes: Vec<String> = wishes.iter().map(|wish| wished(wish, &names)).collect();
            format!("Shall I {}? Say yes or no.", joined(&wishes, "and"))
        }
        Question::Sure(request) => {
            let ids = request.ids();
            let verb = verb(request);
            match ids.len() {
                1 => format!("{verb} {}? Say yes or no.", names(ids, "and")),
                count => format!("{verb} {count} tasks: {}? Say yes or no.", names(ids, "and")),
            }
        }
        Question::Which { options, .. } if options.is_empty() => {
            "Which task? Say its number or some words of its title.".to_owned()
        }
        Question::Which { options, .. } => format!("Which one do you mean: {}?", names(options, "or")),
        Question::What(Request::Rename { id, .. }) => format!("What shall {} be called?", names(&[*id], "and")),
        Question::What(_) => "What shall I add? Say for example: buy milk".to_owned(),
        Question::When { ids } => format!("When shall {} be due?", names(ids, "and")),
    }
}

fn verb(request: &Request) -> &'static str {
    let tool = match request {
        Request::Wishes { wishes, .. } => wishes.first().map_or("", |wish| wish.tool.as_str()),
        _ => "",
    };
    match (request, tool) {
        (Request::Complete { .. }, _) | (_, "complete_task") => "Complete",
        (Request::Reopen { .. }, _) | (_, "reopen_task") => "Reopen",
        (Request::Rename { .. } | Request::Change { .. }, _) => "Change",
        _ => "Delete",
    }
}

fn is_about_tasks_alone(wishes: &[Wish]) -> bool {
    wishes.iter().all(|wish| matches!(wish.tool.as_str(), "complete_task" | "reopen_task" | "delete_task"))
}

/// In the middle of a question. All that the tool is given is named, so that the user knows what he agrees to.
fn wished(wish: &Wish, names: &impl Fn(&[i32], &str) -> String) -> String {
    let task = wish.id().map_or_else(|| "a task".to_owned(), |id| names(&[id], "and"));
    let (what, known): (String, &[&str]) = match wish.tool.as_str() {
        "add_task" => (format!("add {}", quoted(wish.text("title").unwrap_or_default())), &["title", "time_zone"]),
        "update_task" => (format!("change {task}"), &["id", "version", "time_zone"]),
        "move_task" => (format!("move {task}"), &["id"]),
        "undo_change" => ("take back an earlier change".to_owned(), &["undo_token"]),
        other => (format!("use {other}"), &[]),
    };
    let given = wish.arguments.iter().filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
    let given: Vec<String> =
        given.map(|(name, value)| format!("{} {}", name.replace('_', " "), shown_value(value))).collect();
    if given.is_empty() { what } else { format!("{what} ({})", given.join(", ")) }
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => items.iter().map(shown_value).collect::<Vec<_>>().join(" "),
        other => shortened(&other.to_string()),
    }
}

/// What a tool of the MCP server has done, given its result and the tasks that were there before.
pub fn used(tool: &str, result: &Value, before: &[Known], now: PrimitiveDateTime) -> String {
    let task = || Task::deserialize(result).ok();
    let sentence = match tool {
        "add_task" => task().map(|task| outcome(&Done::Added(task), now)),
        "complete_task" => task().map(|task| outcome(&Done::Completed(vec![task]), now)),
        "reopen_task" => task().map(|task| outcome(&Done::Reopened(vec![task]), now)),
        "update_task" => task().map(|task| format!("Changed {}{}.", named(&task), details(&known(&task), now, true))),
        "move_task" => task().map(|task| format!("Moved {}.", named(&task))),
        "delete_task" => result["deleted"].as_i64().map(|id| {
            let title = before.iter().find(|task| i64::from(task.id) == id);
            format!("Deleted #{id}{}.", title.map_or(String::new(), |task| format!(" {}", quoted(&task.title))))
        }),
        "undo_change" => Vec::deserialize(&result["tasks"])
            .ok()
            .zip(Vec::deserialize(&result["deleted"]).ok())
            .map(|(tasks, deleted)| outcome(&Done::Undone { tasks, deleted, all: true }, now)),
        _ => None,
    };
    sentence.unwrap_or_else(|| format!("Used {tool}."))
}

fn named(task: &Task) -> String {
    format!("#{} {}", task.id, quoted(&task.title))
}

fn all(tasks: &[Task]) -> String {
    joined(&tasks.iter().map(named).collect::<Vec<_>>(), "and")
}

fn quoted(words: &str) -> String {
    format!("\"{}\"", shortened(words))
}

/// Titles are whole; what was not understood may be long.
fn shortened(words: &str) -> String {
    let words = words.replace('\n', " ");
    match words.char_indices().nth(WORDS_MAX_CHARS * 2) {
        Some((end, _)) => format!("{}\u{2026}", &words[..end]),
        None => words,
    }
}

/// `a, b and c`
fn joined(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., end] if names.len() <= NAMES_MAX => format!("{} {last} {end}", first.join(", ")),
        _ => format!("{} {last} {} more", names[..NAMES_MAX].join(", "), names.len() - NAMES_MAX),
    }
}

/// What there is to say of a task besides its title.
fn details(task: &Known, now: PrimitiveDateTime, in_words: bool) -> String {
    let mut details = Vec::new();
    if let Some(due) = task.due {
        details.push(format!("due {}", day_time(due, now)));
    }
    if task.is_overdue(now) {
        details.push("overdue".to_owned());
    }
    if task.priority != Priority::Medium {
        details.push(format!("{}{}", level(task.priority), if in_words { " priority" } else { "" }));
    }
    details.extend(task.tags.iter().map(|tag| format!("#{tag}")));
    if task.completed {
        details.push("done".to_owned());
    }
    match (details.is_empty(), in_words) {
        (true, _) => String::new(),
        (false, true) => format!(", {}", details.join(", ")),
        (false, false) => format!(" ({})", details.join(", ")),
    }
}

/// What a list is of: `open` tasks ` due Fri 27 Nov`.
struct Described {
    kind: String,
    rest: String,
}

fn described(filter: &Filter, now: PrimitiveDateTime) -> Described {
    let mut kinds = Vec::new();
    match filter.completed {
        Some(false) if filter.overdue => kinds.push("overdue"),
        Some(false) => kinds.push("open"),
        Some(true) => kinds.push("done"),
        None => {}
    }
    let mut rest = String::new();
    if let Some(priority) = filter.priority {
        write!(rest, " with {} priority", level(priority)).expect("a string takes everything");
    }
    if let Some(tag) = &filter.tag {
        write!(rest, " tagged {tag}").expect("a string takes everything");
    }
    match filter.due {
        Some((from, to)) if from == to => write!(rest, " due {}", day(from, now)).expect("a string takes everything"),
        Some((from, to)) => {
            write!(rest, " due {} to {}", day(from, now), day(to, now)).expect("a string takes everything");
        }
        None => {}
    }
    Described { kind: kinds.join(" "), rest }
}

fn counted(count: usize, Described { kind, rest }: &Described) -> String {
    let are = if count == 1 { "is" } else { "are" };
    let count = if count == 0 { "no".to_owned() } else { count.to_string() };
    let space = if kind.is_empty() { "" } else { " " };
    let tasks = if count == "1" { "task" } else { "tasks" };
    format!("There {are} {count} {kind}{space}{tasks}{rest}.")
}

fn listed(tasks: &[Task], described: &Described, filter: &Filter, now: PrimitiveDateTime) -> String {
    if tasks.is_empty() {
        let plain = *filter == Filter { completed: filter.completed, ..Filter::default() };
        return match (plain, filter.completed) {
            (true, Some(false)) => "Nothing is open.".to_owned(),
            (true, Some(true)) => "Nothing is done yet.".to_owned(),
            (true, None) => "There are no tasks yet.".to_owned(),
            _ => counted(0, described),
        };
    }
    let mut text = counted(tasks.len(), described);
    text.truncate(text.len() - 1);
    let text = text.strip_prefix("There are ").or_else(|| text.strip_prefix("There is ")).unwrap_or(&text);
    let mut text = format!("{text}:");
    for task in tasks.iter().take(LIST_MAX) {
        let mut known = known(task);
        // All of a list of done ones are.
        known.completed = task.completed && filter.completed.is_none();
        write!(text, "\n- #{} {}{}", task.id, task.title, details(&known, now, false))
            .expect("a string takes everything");
    }
    if tasks.len() > LIST_MAX {
        write!(text, "\nand {} more.", tasks.len() - LIST_MAX).expect("a string takes everything");
    }
    text
}

fn shown(task: &Task, now: PrimitiveDateTime) -> String {
    let open = if task.completed { "" } else { ", open" };
    let description = task.description.as_ref().map_or(String::new(), |description| format!("\n{description}"));
    format!("{}{open}{}.{description}", named(task), details(&known(task), now, true))
}

fn changed(tasks: &[Task], change: &Change, now: PrimitiveDateTime) -> String {
    let mut news = Vec::new();
    match change.due {
        Some(NewDue::At(due)) => news.push(format!("due {}", day_time(due, now))),
        Some(NewDue::Never) => news.push("without a due date".to_owned()),
        None => {}
    }
    if let Some(priority) = change.priority {
        news.push(format!("of {} priority", level(priority)));
    }
    if !change.tags.is_empty() {
        news.push(format!("tagged {}", change.tags.join(", ")));
    }
    let are = if tasks.len() == 1 { "is" } else { "are" };
    format!("{} {are} now {}.", all(tasks), joined(&news, "and"))
}

fn undone(tasks: &[Task], deleted: &[i32], whole: bool) -> String {
    let mut parts = Vec::new();
    if !tasks.is_empty() {
        let (is, it) = if tasks.len() == 1 { ("is", "it was") } else { ("are", "they were") };
        parts.push(format!("{} {is} again as {it}.", all(tasks)));
    }
    if !deleted.is_empty() {
        let ids: Vec<String> = deleted.iter().map(|id| format!("#{id}")).collect();
        parts.push(format!("{} {} gone again.", joined(&ids, "and"), if ids.len() == 1 { "is" } else { "are" }));
    }
    if !whole {
        parts.push("The rest was changed since and stays.".to_owned());
    }
    parts.join(" ")
}

fn level(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}

fn day_time(due: Due, now: PrimitiveDateTime) -> String {
    let time = due.time.map_or(String::new(), |time| format!(" {:02}:{:02}", time.hour(), time.minute()));
    format!("{}{time}", day(due.date, now))
}

/// `Fri 28 Nov`, with the year where it is another one.
fn day(date: Date, now: PrimitiveDateTime) -> String {
    let (weekday, month) = (date.weekday().to_string(), date.month().to_string());
    let year = if date.year() == now.year() { String::new() } else { format!(" {}", date.year()) };
    format!("{} {} {}{year}", &weekday[..3], date.day(), &month[..3])
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::{date, datetime, time};

    use super::*;

    const NOW: PrimitiveDateTime = datetime!(2026-11-25 10:15);

    fn known(id: i32) -> Known {
        let due = Some(Due { date: date!(2026 - 11 - 24), time: Some(time!(9:05)) });
        Known {
            id,
            title: format!("t{id}"),
            completed: false,
            priority: Priority::High,
            due,
            tags: vec!["home".to_owned()],
        }
    }

    #[test]
    fn details_are_named() {
        assert_eq!(details(&known(1), NOW, false), " (due Tue 24 Nov 09:05, overdue, high, #home)");
        let plain = Known { priority: Priority::Medium, due: None, tags: Vec::new(), ..known(1) };
        assert_eq!(details(&plain, NOW, true), "");
        assert_eq!(day(date!(2027 - 01 - 02), NOW), "Sat 2 Jan 2027");
    }

    #[test]
    fn questions_name_what_they_ask_about() {
        let tasks = [known(1), known(2)];
        let asked = |question_: &Question| question(question_, &tasks, NOW);
        assert_eq!(
            asked(&Question::Which { request: Request::Help, options: vec![1, 2] }),
            "Which one do you mean: #1 \"t1\" or #2 \"t2\"?"
        );
        assert_eq!(
            asked(&Question::Sure(Request::Delete { ids: (1..=12).collect() })),
            "Delete 12 tasks: #1 \"t1\", #2 \"t2\", #3, #4, #5, #6, #7, #8, #9, #10 and 2 more? Say yes or no."
        );
    }

    #[test]
    fn what_a_model_wishes_for_is_named_in_full() {
        let wish = |tool: &str, arguments: Value| Wish {
            tool: tool.to_owned(),
            arguments: arguments.as_object().unwrap().clone(),
        };
        let asked = |wishes: Vec<Wish>| question(&Question::Sure(Request::of_wishes(wishes)), &[known(1)], NOW);
        for (tool, arguments, wanted) in [
            ("delete_task", json!({"id": 1}), "Delete #1 \"t1\"?"),
            ("add_task", json!({"title": "milk", "priority": null}), "Shall I add \"milk\"?"),
            (
                "add_task",
                json!({"title": "milk", "due_on": "2026-12-24", "time_zone": "UTC"}),
                "Shall I add \"milk\" (due on \"2026-12-24\")?",
            ),
            (
                "update_task",
                json!({"id": 1, "version": 2, "title": "x", "tags": ["a", "b"]}),
                "Shall I change #1 \"t1\" (tags \"a\" \"b\", title \"x\")?",
            ),
            ("move_task", json!({"id": 1, "before": 3}), "Shall I move #1 \"t1\" (before 3)?"),
            ("undo_change", json!({"undo_token": "7"}), "Shall I take back an earlier change?"),
            ("other", json!({"a": true}), "Shall I use other (a true)?"),
        ] {
            assert_eq!(asked(vec![wish(tool, arguments)]), format!("{wanted} Say yes or no."));
        }
        let both = [1, 2].map(|id| wish("complete_task", json!({"id": id}))).to_vec();
        assert_eq!(asked(both), "Complete 2 tasks: #1 \"t1\" and #2? Say yes or no.");
    }

    #[test]
    fn what_a_tool_has_done_is_a_sentence() {
        let task = json!({
            "id": 1, "title": "milk", "description": null, "completed": false, "priority": "high", "due_on": "2026-11-26",
            "due_time": "17:00", "time_zone": "UTC", "due_at": "2026-11-26T17:00:00Z", "tags": [], "position": 1.5,
            "version": 1, "user_id": "local", "created_at": "2026-11-25T10:00:00Z", "updated_at": "2026-11-25T10:00:00Z",
            "undo_token": "7",
        });
        let undone = json!({"tasks": [task], "deleted": [3], "undo_token": "8"});
        for (tool, result, wanted) in [
            ("add_task", &task, "Added #1 \"milk\", due Thu 26 Nov 17:00, high priority."),
            ("complete_task", &task, "Done: #1 \"milk\"."),
            ("reopen_task", &task, "Open again: #1 \"milk\"."),
            ("update_task", &task, "Changed #1 \"milk\", due Thu 26 Nov 17:00, high priority."),
            ("move_task", &task, "Moved #1 \"milk\"."),
            ("delete_task", &json!({"deleted": 1}), "Deleted #1 \"t1\"."),
            ("delete_task", &json!({"deleted": 2}), "Deleted #2."),
            ("undo_change", &undone, "#1 \"milk\" is again as it was. #3 is gone again."),
            ("add_task", &json!({"id": 1}), "Used add_task."),
            ("other", &task, "Used other."),
        ] {
            assert_eq!(used(tool, result, &[known(1)], NOW), wanted);
        }
    }

    #[test]
    fn counts_are_sentences() {
        let of = |count, filter: &Filter| counted(count, &described(filter, NOW));
        assert_eq!(of(1, &Filter::open()), "There is 1 open task.");
        assert_eq!(of(0, &Filter { overdue: true, ..Filter::open() }), "There are no overdue tasks.");
        let week = Some((date!(2026 - 11 - 23), date!(2026 - 11 - 29)));
        assert_eq!(
            of(2, &Filter { due: week, ..Filter::default() }),
            "There are 2 tasks due Mon 23 Nov to Sun 29 Nov."
        );
    }

    #[test]
    fn what_was_said_is_repeated_only_in_part() {
        let answer = problem(&Problem::Unknown("\u{e9}".repeat(4_000)), false);
        assert!(answer.chars().count() < 300 && answer.contains('\u{2026}'), "{answer}");
    }
}
