//! What holds for whatever is said: no panic, only tasks that there are, no title out of nothing, and never more than one
//! task deleted without a yes.

use backend::assistant::understanding::{Due, Known, Priority, Question, Request, Scene, understand};
use time::macros::{date, datetime, time};

/// What sentences are made of, so that they often come near to what is understood.
const PIECES: &[&str] = &[
    "add",
    "done",
    "delete",
    "remove",
    "list",
    "show",
    "rename",
    "move",
    "to",
    "and",
    "then",
    ",",
    ".",
    "!",
    "?",
    ":",
    "\n",
    "- ",
    "milk",
    "rent",
    "dentist",
    "eggs",
    "it",
    "that",
    "all",
    "the last two",
    "the first",
    "overdue",
    "everything",
    "3",
    "#2",
    "1-3",
    "99999999999",
    "tomorrow",
    "friday",
    "next",
    "the 31st",
    "feb 29",
    "in 3 days",
    "in 99999999 years",
    "5pm",
    "at",
    "by",
    "on",
    "due",
    "high priority",
    "!high",
    "!!",
    "#home",
    "tag",
    "is",
    "not",
    "urgent",
    "yes",
    "no",
    "both",
    "'",
    "\"",
    "\u{201c}",
    "\u{201d}",
    "Zo\u{eb}",
    "\u{1f95b}",
    "\u{0}",
    "\u{e9}\u{301}",
    "\u{4e2d}\u{6587}",
    "\u{130}",
    "\u{df}",
    "\u{2028}",
    "\u{a0}",
    "\t",
    "99/99/9999",
    "24.12.",
    "2026-02-30",
    "what is",
    "what",
    "how many",
    "should i do",
    "undo",
    "postpone",
    "by a week",
    "half past",
    "quarter to 0",
    "i",
    "did not",
    "paid",
    "make",
    "priority of",
    "set",
    "a",
    "an hour",
    "-1",
    "0",
    "monday",
    "may",
    "\u{2026}",
    "(",
    ")",
    "remind me",
    "i need",
];

/// Sentences that are nearly right: one of each, and that again.
const VERBS: &[&str] =
    &["delete", "remove", "clear", "get rid of", "done with", "reopen", "move", "snooze", "make", "add", "rename"];
const NAMES: &[&str] = &[
    "everything",
    "all",
    "1, 2 and 3",
    "1-3",
    "the last two",
    "milk",
    "both",
    "those",
    "it",
    "all overdue",
    "99",
    "rent",
];
const ENDS: &[&str] = &["", " and ", ", then ", ". ", " to friday", " urgent", " by a week and ", " to x", "\n", "!"];

/// A generator of its own, so that each run says the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn sentence(&mut self) -> String {
        let mut sentence = String::new();
        if self.below(2) == 0 {
            for _ in 0..=self.below(3) {
                sentence += &format!("{} {}{}", self.pick(VERBS), self.pick(NAMES), self.pick(ENDS));
            }
            return sentence;
        }
        for _ in 0..=self.below(14) {
            sentence += self.pick(PIECES);
            if self.below(8) > 0 {
                sentence.push(' ');
            }
        }
        sentence
    }
}

fn tasks() -> Vec<Known> {
    let task = |id, title: &str, completed, due| Known {
        id,
        title: title.to_owned(),
        completed,
        priority: Priority::Medium,
        due,
        tags: vec!["home".to_owned()],
    };
    let due = |date| Some(Due { date, time: Some(time!(23:59)) });
    vec![
        task(1, "buy milk", false, None),
        task(2, "buy oat milk", false, due(date!(2026 - 11 - 20))),
        task(3, "pay rent", false, due(date!(9999 - 12 - 31))),
        task(4, "Zo\u{eb}'s eggs \u{1f95b}", true, due(date!(2028 - 02 - 29))),
        task(i32::MAX, "", false, None),
    ]
}

fn check(said: &str, scene: &Scene) -> Option<Question> {
    let understood = understand(said, scene);
    let of_question = match &understood.question {
        Some(Question::Sure(request) | Question::What(request)) => request.ids().to_vec(),
        Some(Question::Which { options, .. }) => options.clone(),
        Some(Question::When { ids }) => ids.clone(),
        None => Vec::new(),
    };
    let known = |id: &i32| scene.tasks.iter().any(|task| task.id == *id) || scene.spoken.contains(id);
    assert!(of_question.iter().all(known), "{said:?}: {understood:?}");
    let mut deleted = 0;
    for request in &understood.requests {
        assert!(request.ids().iter().all(known), "{said:?}: {understood:?}");
        match request {
            Request::Add(new) => {
                assert!(!new.title.trim().is_empty(), "{said:?}: {understood:?}");
                assert!(new.title.len() <= said.len() + 2 || scene.pending.is_some(), "{said:?}: {understood:?}");
            }
            Request::Delete { ids } => deleted += ids.len(),
            _ => {}
        }
    }
    let agreed = |question: &Question| matches!(question, Question::Sure(Request::Delete { .. }));
    assert!(deleted < 2 || scene.pending.is_some_and(agreed), "{said:?}: {understood:?}");
    understood.question
}

#[test]
fn whatever_is_said_leads_to_tasks_that_there_are() {
    let tasks = tasks();
    let mut dice = Dice(1);
    let mut pending = None;
    for number in 0..2_000 {
        let said = dice.sentence();
        let spoken: &[i32] = [&[][..], &[1], &[2, 3, 1]][number % 3];
        let now =
            [datetime!(2026-11-25 10:15), datetime!(2028-02-29 23:59:59), datetime!(9999-12-31 23:59)][number % 3];
        pending = check(&said, &Scene { now, tasks: &tasks, spoken, pending: pending.as_ref() });
    }
}

#[test]
fn long_and_odd_texts_are_borne() {
    let tasks = tasks();
    let scene = Scene { now: datetime!(2026-11-25 10:15), tasks: &tasks, spoken: &[1, 2], pending: None };
    for piece in [
        "add ",
        "and ",
        "done 1, ",
        "\u{1f95b}",
        "'",
        "\"x\" ",
        "a. ",
        "rename milk to ",
        "\n",
        "move it to friday and ",
        "1 ",
        "#",
        "to ",
    ] {
        let said: String = piece.chars().cycle().take(4_000).collect();
        let t = std::time::Instant::now();
        check(&said, &scene);
        eprintln!("{piece:?} {:?}", t.elapsed());
    }
    for end in 0..60 {
        // Cut anywhere, also within what was quoted.
        let said: String = "add \u{201c}Zo\u{eb}\u{2019}s caf\u{e9}\u{201d} \u{2026} tomorrow, then (list) 'all' #x !!"
            .chars()
            .take(end)
            .collect();
        check(&said, &scene);
    }
}
