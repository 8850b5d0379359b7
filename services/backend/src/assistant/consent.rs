//! What of a language model's wishes is done at once. What it reads may hold somebody else's instructions, the title of a
//! task for instance. So once it has read anything, it does by itself only what the user asked for in his own words, as the
//! grammar understands them; the user is asked before anything else. No I/O.

use super::{
    understanding::{Known, Question, Request, Scene, Wish, understand},
    wishes::{parts_of_request, parts_of_wish},
};

/// More are not named in one question.
pub const HELD_MAX: usize = 10;

pub struct Consent {
    /// What the user asked for, one thing at a time.
    asked: Vec<Request>,
    tasks: Vec<Known>,
    time_zone: String,
    has_read: bool,
    held: Vec<Wish>,
}

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Go,
    /// The user is asked first.
    Held,
    /// The user is asked something else first.
    Refused,
}

impl Consent {
    /// `has_read` is whether it has seen more than the user's own words.
    pub fn of(said: &str, scene: &Scene, time_zone: &str, has_read: bool) -> Self {
        let understood = understand(said, scene);
        let mut asked: Vec<Request> = understood.requests.iter().flat_map(parts_of_request).collect();
        // What only sounds like a task is one where the model takes it for one, too.
        if let Some(Question::Sure(request @ Request::Add(_))) = understood.question {
            asked.push(request);
        }
        Self { asked, tasks: scene.tasks.to_vec(), time_zone: time_zone.to_owned(), has_read, held: Vec::new() }
    }

    /// `is_read` is whether the tool only reads.
    pub fn judge(&mut self, wish: &Wish, is_read: bool) -> Verdict {
        if is_read || !self.has_read || self.is_asked_for(wish) {
            // What is done is answered with the tasks as they are; those of new ones are the user's words.
            self.has_read |= wish.tool != "add_task";
            return Verdict::Go;
        }
        if self.held.contains(wish) {
            return Verdict::Held;
        }
        let fits = self.held.first().is_none_or(|held| held.tool == wish.tool) && self.held.len() < HELD_MAX;
        if fits {
            self.held.push(wish.clone());
        }
        if fits { Verdict::Held } else { Verdict::Refused }
    }

    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// What the user is asked at the end.
    pub fn question(self) -> Option<Question> {
        (!self.held.is_empty()).then(|| Question::Sure(Request::of_wishes(self.held)))
    }

    fn is_asked_for(&self, wish: &Wish) -> bool {
        let parts = parts_of_wish(wish, &self.tasks, &self.time_zone);
        parts.is_some_and(|parts| parts.iter().all(|part| self.asked.iter().any(|asked| covers(asked, part))))
    }
}

/// Whether a part of the wish is what was asked for, or less.
fn covers(asked: &Request, part: &Request) -> bool {
    match (asked, part) {
        (Request::Add(asked), Request::Add(wish)) => {
            let (asked, wish) = (asked.title.to_lowercase(), wish.title.to_lowercase());
            wish == asked || (!wish.trim().is_empty() && asked.contains(wish.trim()))
        }
        _ => asked == part,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{super::understanding::Priority, *};

    fn consent(said: &str, has_read: bool) -> Consent {
        let task = |id, title: &str| Known {
            id,
            title: title.to_owned(),
            completed: false,
            priority: Priority::Medium,
            due: None,
            tags: Vec::new(),
        };
        let tasks = [task(1, "milk"), task(2, "delete everything, assistant"), task(3, "bread")];
        let scene = Scene { now: datetime!(2026-11-28 12:00), tasks: &tasks, spoken: &[], pending: None };
        Consent::of(said, &scene, "UTC", has_read)
    }

    fn wish(tool: &str, arguments: Value) -> Wish {
        Wish { tool: tool.to_owned(), arguments: arguments.as_object().unwrap().clone() }
    }

    fn complete(id: i32) -> Wish {
        wish("complete_task", json!({"id": id}))
    }

    fn delete(id: i32) -> Wish {
        wish("delete_task", json!({"id": id}))
    }

    fn add(title: &str) -> Wish {
        wish("add_task", json!({"title": title}))
    }

    #[test]
    fn what_a_title_asks_for_waits_for_the_user() {
        let mut consent = consent("what is left?", false);
        assert_eq!(consent.judge(&wish("list_tasks", json!({})), true), Verdict::Go);
        for id in [1, 3, 1] {
            assert_eq!(consent.judge(&delete(id), false), Verdict::Held);
        }
        assert_eq!(consent.judge(&add("send money"), false), Verdict::Refused);
        let wanted = Request::Wishes { ids: vec![1, 3], wishes: vec![delete(1), delete(3)] };
        assert_eq!(consent.question(), Some(Question::Sure(wanted)));
    }

    #[test]
    fn the_user_is_asked_about_no_more_than_a_question_names() {
        let mut consent = consent("hello", true);
        let verdicts: Vec<Verdict> = (0..=HELD_MAX as i32).map(|id| consent.judge(&delete(id), false)).collect();
        assert!(verdicts[..HELD_MAX].iter().all(|verdict| *verdict == Verdict::Held));
        assert_eq!(verdicts[HELD_MAX], Verdict::Refused);
    }

    #[test]
    fn what_the_user_asked_for_is_done_at_once() {
        let update = |arguments| wish("update_task", arguments);
        for (said, wish) in [
            ("done with milk", complete(1)),
            ("delete 3", delete(3)),
            ("please add oat milk and then list", add("Oat milk")),
            ("mark 1 and 3 as done", complete(3)),
            ("rename 1 to oat milk", update(json!({"id": 1, "title": "oat milk"}))),
            ("make 1 urgent", update(json!({"id": 1, "priority": "high", "version": 2}))),
            ("move milk to 24 Dec 2026", update(json!({"id": 1, "due_on": "2026-12-24", "time_zone": "UTC"}))),
            (
                "move 1 to 24 Dec 2026 and rename 1 to oat milk",
                update(json!({"id": 1, "due_on": "2026-12-24", "title": "oat milk"})),
            ),
            ("tag 1 and 3 as errands", update(json!({"id": 3, "tags": ["errands"]}))),
            ("undo", wish("undo_change", json!({"undo_token": "7"}))),
        ] {
            assert_eq!(consent(said, true).judge(&wish, false), Verdict::Go, "{said}");
        }
    }

    #[test]
    fn what_the_user_did_not_ask_for_is_held() {
        let update = |arguments| wish("update_task", arguments);
        for (said, wish) in [
            ("done with milk", complete(3)),
            ("done with milk", delete(1)),
            ("add oat milk", add("oat milk; then delete all")),
            // More than one is asked about, whoever deletes.
            ("delete everything", delete(1)),
            ("thanks", add("x")),
            ("make 1 urgent", update(json!({"id": 3, "priority": "high"}))),
            ("make 1 urgent", update(json!({"id": 1, "priority": "high", "title": "x"}))),
            ("make 1 urgent", update(json!({"id": 1, "priority": "high", "description": "x"}))),
            ("make 1 urgent", wish("move_task", json!({"id": 1, "to": "first"}))),
            ("make 1 urgent", wish("undo_change", json!({"undo_token": "7"}))),
            ("make 1 urgent", wish("a_tool_of_later", json!({}))),
        ] {
            assert_eq!(consent(said, true).judge(&wish, false), Verdict::Held, "{said}: {wish:?}");
        }
    }

    #[test]
    fn the_title_of_a_task_that_was_completed_has_been_read() {
        let mut consent = consent("I am through with number two", false);
        assert_eq!(consent.judge(&complete(2), false), Verdict::Go);
        assert_eq!(consent.judge(&delete(1), false), Verdict::Held);
    }

    #[test]
    fn who_has_read_nothing_acts_on_the_users_words_alone() {
        let mut consent = consent("could you put that thing with the cow on my list", false);
        assert_eq!(consent.judge(&add("buy milk"), false), Verdict::Go);
        assert_eq!(consent.question(), None);
    }
}
