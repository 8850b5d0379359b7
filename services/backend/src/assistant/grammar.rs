//! The few sentences that are understood without a language model.

use super::{Command, HELP};
use crate::tasks::Priority;

/// A command, or what to say instead.
pub fn parse(said: &str) -> Result<Command, String> {
    // A task is one line; what follows is its description.
    let (line, more) = said.trim().split_once('\n').unwrap_or((said.trim(), ""));
    let (verb, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    let verb = verb.to_lowercase();
    match verb.trim_end_matches([':', '!', '.']) {
        "add" | "new" | "remember" => {
            let (title, priority) = with_priority(rest);
            if title.is_empty() {
                return Err("What shall I add? Say: add buy milk".to_owned());
            }
            let description = Some(more.trim().to_owned()).filter(|more| !more.is_empty());
            Ok(Command::AddTask { title: title.to_owned(), description, priority })
        }
        "list" | "show" | "tasks" => {
            let completed = match rest.to_lowercase().split_whitespace().next() {
                Some("done" | "completed") => Some(true),
                Some("all" | "everything") => None,
                _ => Some(false),
            };
            Ok(Command::ListTasks { completed })
        }
        "done" | "complete" | "finish" | "finished" => Ok(Command::CompleteTask { id: id(rest)? }),
        "delete" | "remove" => Ok(Command::DeleteTask { id: id(rest)? }),
        "help" | "hello" | "hi" | "?" => Err(HELP.to_owned()),
        _ => Err(format!("I didn't understand that. {HELP}")),
    }
}

/// `buy milk !high`
fn with_priority(text: &str) -> (&str, Priority) {
    let (title, mark) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
    let priority = match mark {
        "!low" => Priority::Low,
        "!medium" => Priority::Medium,
        "!high" => Priority::High,
        _ => return (text, Priority::default()),
    };
    (title.trim_end(), priority)
}

/// `3`, `#3` or `task 3`; nothing, or `it`, for the task that was last spoken of.
fn id(text: &str) -> Result<Option<i32>, String> {
    let text = text.trim_end_matches('.').trim();
    let number = text.strip_prefix("task ").unwrap_or(text).trim_start_matches('#');
    match number {
        "" | "it" | "that" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "Say which task by its number; \"list\" shows them.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(title: &str, description: Option<&str>, priority: Priority) -> Command {
        Command::AddTask { title: title.to_owned(), description: description.map(str::to_owned), priority }
    }

    #[test]
    fn sentences_become_commands() {
        for (said, wanted) in [
            ("add milk", add("milk", None, Priority::Medium)),
            (" Add:  buy  milk ", add("buy  milk", None, Priority::Medium)),
            ("add pay rent !high", add("pay rent", None, Priority::High)),
            ("add say hi!low", add("say hi!low", None, Priority::Medium)),
            ("add milk\ntwo\nbottles", add("milk", Some("two\nbottles"), Priority::Medium)),
            ("list", Command::ListTasks { completed: Some(false) }),
            ("List done", Command::ListTasks { completed: Some(true) }),
            ("show all tasks", Command::ListTasks { completed: None }),
            ("done 3", Command::CompleteTask { id: Some(3) }),
            ("DONE #3.", Command::CompleteTask { id: Some(3) }),
            ("done", Command::CompleteTask { id: None }),
            ("delete task 3", Command::DeleteTask { id: Some(3) }),
            ("remove it", Command::DeleteTask { id: None }),
        ] {
            assert_eq!(parse(said).as_ref(), Ok(&wanted), "{said:?}");
        }
    }

    #[test]
    fn what_is_no_sentence_is_answered_with_help() {
        for (said, wanted) in [
            ("help", "I keep your tasks"),
            ("Hello!", "I keep your tasks"),
            ("", "I didn't understand"),
            ("sing", "I didn't understand"),
            ("add", "What shall I add"),
            ("add !high", "What shall I add"),
            ("done milk", "Say which task"),
            ("delete 99999999999", "Say which task"),
        ] {
            let hint = parse(said).unwrap_err();
            assert!(hint.starts_with(wanted), "{said:?}: {hint}");
        }
    }
}
