//! Logs: one JSON object a line on stdout, with the trace that it belongs to.

use std::io::{self, Write, stdout};

use tracing::{Level, error, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::trace::{
    self,
    statements::{self, Statements},
};

/// The crates of this workspace; the others' words at debug and below would drown theirs.
const OWN_TARGETS: [&str; 4] = ["kit", "backend", "frontend", "mcp"];

/// May be called once in a process. Where traces are exported, statements of the database become spans.
pub fn start(level: Level, is_traced: bool) {
    let others = LevelFilter::from_level(level.min(Level::INFO));
    let own = OWN_TARGETS.map(|target| (target, level));
    let filter = Targets::new().with_default(others).with_targets(own);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(|| Line(stdout()));
    let statements = is_traced.then(|| Statements.with_filter(statements::filter()));
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(statements).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}

/// Writes a line, which comes whole, with the trace as its first members.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.strip_prefix(b"{") {
            Some(rest) => self.0.write_all(&[b"{", trace::log_members().as_bytes(), rest].concat())?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_in_a_trace_has_its_ids() {
        let mut lines = Vec::new();
        Line(&mut lines).write_all(b"{\"level\":\"INFO\"}\n").unwrap();
        assert_eq!(lines, b"{\"level\":\"INFO\"}\n");
        lines.clear();
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        trace::within(given, async { Line(&mut lines).write_all(b"{\"level\":\"INFO\"}\n").unwrap() }).await;
        let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&line["span_id"], &line["level"]), (&"00f067aa0ba902b7".into(), &"INFO".into()));
    }
}
