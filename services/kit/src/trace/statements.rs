//! Spans of a database's statements, made of what sqlx logs when one has ended. Values of a statement are bound apart from its
//! text, so that the text has none.

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context};

use super::{
    Trace, current, export,
    span::{Kind, Record, Value, now_ns},
};

const TARGET: &str = "sqlx::query";

/// Takes the events of sqlx where they are in a trace that is recorded.
pub struct Statements;

/// sqlx logs at debug, and what is slow at warn.
pub fn filter() -> Targets {
    Targets::new().with_target(TARGET, Level::DEBUG)
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(trace) = current().filter(|trace| trace.is_recorded()) {
            let mut statement = Statement::default();
            event.record(&mut statement);
            export::keep(statement.record(trace));
        }
    }
}

#[derive(Default)]
struct Statement {
    /// Its first words, which may be all of it.
    beginning: String,
    /// Empty where the beginning is all of it.
    whole: String,
    seconds: f64,
    rows: u64,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.beginning),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            self.rows = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Statement {
    fn record(self, parent: Trace) -> Record {
        let text = if self.whole.trim().is_empty() { &self.beginning } else { &self.whole };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let ended_ns = now_ns();
        Record {
            trace: parent.child(),
            parent_id: Some(parent.span_id),
            kind: Kind::Client,
            name: name_of(&text).into(),
            began_ns: ended_ns.saturating_sub((self.seconds * 1e9) as u64),
            ended_ns,
            attributes: vec![
                ("db.system.name", Value::from("postgresql")),
                ("db.query.text", Value::from(text)),
                ("db.response.returned_rows", Value::Number(self.rows.try_into().unwrap_or(i64::MAX))),
            ],
            is_failed: false,
        }
    }
}

/// What it does, and to which table where one is named first: "INSERT messages".
fn name_of(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let operation = words[0];
    let is_table = |word: &str| !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'.'));
    let table = words.windows(2).find(|pair| matches!(pair[0], "FROM" | "INTO" | "UPDATE") && is_table(pair[1]));
    match table {
        Some(pair) => format!("{operation} {}", pair[1]),
        None => operation.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does_and_to_which_table() {
        for (text, wanted) in [
            ("SELECT 1", "SELECT"),
            ("SELECT role FROM (SELECT * FROM messages WHERE id = $1) AS latest", "SELECT messages"),
            ("SELECT extract(epoch FROM now())::bigint", "SELECT"),
            ("INSERT INTO tasks (user_id) VALUES ($1)", "INSERT tasks"),
            ("UPDATE conversations SET stopped_at = now()", "UPDATE conversations"),
            ("DELETE FROM task_changes WHERE id = $1", "DELETE task_changes"),
            ("SELECT oid FROM pg_catalog.pg_type WHERE typname = $1", "SELECT pg_catalog.pg_type"),
            ("", ""),
        ] {
            assert_eq!(name_of(text), wanted);
        }
    }
}
