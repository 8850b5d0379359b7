//! How long the steps of a run and the processes that it started took, and when: read from its record.

use serde_json::Value;

/// A step, a part of one, or a process, with its place on the run's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: String,
    pub start_ms: u64,
    pub took_ms: u64,
    pub outcome: Outcome,
    /// What the record says of its end, as the revision of a deployment; may be empty.
    pub detail: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Step,
    /// It belongs to the step before it.
    Part,
    /// It was started by one of the steps of its time, and the record does not say by which.
    Process,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Step => "step",
            Kind::Part => "part",
            Kind::Process => "process",
        }
    }
}

/// How a step, or a part of one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
    /// The record has no end of it: the run goes on, or was killed.
    NotEnded,
}

/// Steps in the order in which they began, each followed by its parts. `record` has an event a line; a line that was cut off
/// is passed over. What began and has no end, as the run was killed, lasts as long as the record.
pub fn spans(record: &str) -> Vec<Span> {
    let events: Vec<Value> = record.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last_ms = events.iter().filter_map(|event| event["at_ms"].as_u64()).max().unwrap_or_default();
    let mut found: Vec<Span> = Vec::new();
    for event in &events {
        let at_ms = event["at_ms"].as_u64().unwrap_or_default();
        let took_ms = event["took_ms"].as_u64().unwrap_or_default();
        let outcome = if event["good"] == true { Outcome::Done } else { Outcome::Failed };
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_string();
        match event["event"].as_str().unwrap_or_default() {
            "step_started" => found.push(Span {
                name: text("step"),
                start_ms: at_ms,
                took_ms: last_ms.saturating_sub(at_ms),
                outcome: Outcome::NotEnded,
                detail: String::new(),
                kind: Kind::Step,
            }),
            "step_ended" => {
                let name = text("step");
                if let Some(span) = found.iter_mut().rev().find(|span| span.kind == Kind::Step && span.name == name) {
                    (span.took_ms, span.outcome, span.detail) = (took_ms, outcome, text("detail"));
                }
            }
            "part_ended" => found.push(ended(event, "part", Kind::Part)),
            _ => {}
        }
    }
    found
}

/// The processes that have ended, in the order in which they began.
pub fn processes(record: &str) -> Vec<Span> {
    let events = record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found: Vec<Span> = events
        .filter(|event| event["event"] == "process_ended")
        .map(|event| ended(&event, "process", Kind::Process))
        .collect();
    found.sort_by_key(|span| span.start_ms);
    found
}

/// What an event says of something that ended with it; `name` is the key that has its name.
fn ended(event: &Value, name: &str, kind: Kind) -> Span {
    let number = |key: &str| event[key].as_u64().unwrap_or_default();
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_string();
    Span {
        name: text(name),
        start_ms: number("at_ms").saturating_sub(number("took_ms")),
        took_ms: number("took_ms"),
        outcome: if event["good"] == true { Outcome::Done } else { Outcome::Failed },
        detail: text("detail"),
        kind,
    }
}

/// A line of `width` signs for the run's whole time, in which the span's part is filled; none is too short to be seen.
pub fn bar(span: &Span, total_ms: u64, width: usize) -> String {
    let total_ms = total_ms.max(1);
    let at = |ms: u64| ((ms.min(total_ms) as u128 * width as u128) / total_ms as u128) as usize;
    let start = at(span.start_ms).min(width.saturating_sub(1));
    let length = at(span.start_ms + span.took_ms).saturating_sub(start).clamp(1, width - start);
    let line = [" ".repeat(start), "━".repeat(length), " ".repeat(width - start - length)];
    line.concat().trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"event":"run","at_ms":0}
{"event":"step_started","step":"build a","at_ms":100}
{"event":"step_started","step":"build b","at_ms":150}
{"event":"step_ended","step":"build a","at_ms":600,"took_ms":500,"good":true,"detail":"a:1"}
{"event":"part_ended","part":"check","at_ms":700,"took_ms":50,"good":false}
{"event":"ended","at_ms":1000}
{"event":"st"#;

    #[test]
    fn steps_that_ran_side_by_side_keep_their_times() {
        let found = spans(RECORD);
        let read: Vec<_> =
            found.iter().map(|one| (one.name.as_str(), one.start_ms, one.took_ms, one.outcome)).collect();
        // The second has no end, so it lasts as long as the run.
        let expected = [
            ("build a", 100, 500, Outcome::Done),
            ("build b", 150, 850, Outcome::NotEnded),
            ("check", 650, 50, Outcome::Failed),
        ];
        assert_eq!(read, expected);
        assert_eq!(found[0].detail, "a:1");
        assert_eq!(found[2].kind, Kind::Part);
        assert_eq!(spans(""), []);
    }

    #[test]
    fn processes_come_in_the_order_in_which_they_began() {
        let record = r#"{"event":"process_ended","process":"docker info","at_ms":90,"took_ms":20,"good":true}
{"event":"step_started","step":"build a","at_ms":91}
{"event":"process_ended","process":"kubectl get pods","at_ms":100,"took_ms":90,"good":false}"#;
        let found = processes(record);
        let read: Vec<_> =
            found.iter().map(|one| (one.name.as_str(), one.start_ms, one.took_ms, one.outcome)).collect();
        let expected = [("kubectl get pods", 10, 90, Outcome::Failed), ("docker info", 70, 20, Outcome::Done)];
        assert_eq!(read, expected);
        assert_eq!(spans(record).len(), 1, "a process is no step");
    }

    #[test]
    fn a_bar_lies_where_its_time_was_and_is_never_lost() {
        let span = |start_ms, took_ms| Span {
            name: String::new(),
            start_ms,
            took_ms,
            outcome: Outcome::Done,
            detail: String::new(),
            kind: Kind::Step,
        };
        assert_eq!(bar(&span(0, 1000), 1000, 10), "━".repeat(10));
        assert_eq!(bar(&span(500, 250), 1000, 10), format!("     {}", "━".repeat(2)));
        assert_eq!(bar(&span(1000, 0), 1000, 10), format!("         {}", "━"));
        assert_eq!(bar(&span(0, 0), 0, 4), "━");
    }
}
