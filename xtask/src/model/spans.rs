//! How long the steps of a run took, and when: read from its record.

use serde_json::Value;

/// A step, or a part of one, with its place on the run's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: String,
    pub start_ms: u64,
    pub took_ms: u64,
    pub outcome: Outcome,
    /// What the record says of its end, as the revision of a deployment; may be empty.
    pub detail: String,
    /// A part belongs to the step before it.
    pub is_part: bool,
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
                is_part: false,
            }),
            "step_ended" => {
                let name = text("step");
                if let Some(span) = found.iter_mut().rev().find(|span| !span.is_part && span.name == name) {
                    (span.took_ms, span.outcome, span.detail) = (took_ms, outcome, text("detail"));
                }
            }
            "part_ended" => {
                let start_ms = at_ms.saturating_sub(took_ms);
                found.push(Span {
                    name: text("part"),
                    start_ms,
                    took_ms,
                    outcome,
                    detail: text("detail"),
                    is_part: true,
                });
            }
            _ => {}
        }
    }
    found
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
        assert_eq!(spans(""), []);
    }

    #[test]
    fn a_bar_lies_where_its_time_was_and_is_never_lost() {
        let span = |start_ms, took_ms| Span {
            name: String::new(),
            start_ms,
            took_ms,
            outcome: Outcome::Done,
            detail: String::new(),
            is_part: false,
        };
        assert_eq!(bar(&span(0, 1000), 1000, 10), "━".repeat(10));
        assert_eq!(bar(&span(500, 250), 1000, 10), format!("     {}", "━".repeat(2)));
        assert_eq!(bar(&span(1000, 0), 1000, 10), format!("         {}", "━"));
        assert_eq!(bar(&span(0, 0), 0, 4), "━");
    }
}
