//! `timings`: where the time of a run went, a bar for each of its steps.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use crate::model::spans::{Span, bar, spans};
use crate::model::time;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::record;
use crate::run::record::Run;

/// Columns of a bar.
const WIDTH: usize = 50;
/// Columns of a name.
const NAME: usize = 44;

/// Prints the steps of one of the last runs; `back` is 1 for the last one.
pub fn run(project: &Project, back: usize) -> Result<()> {
    let runs = record::last(project, usize::MAX);
    let Some((about, file)) = runs.len().checked_sub(back).and_then(|index| runs.get(index)) else {
        let (count, namespace) = (runs.len(), &project.config.namespace);
        let message =
            format!("there are records of {count} runs in namespace {namespace}, and run {back} was asked for");
        return Err(Stop::usage(format!("{message}\nNext: cargo xtask history, which lists them")).into());
    };
    let found = spans(&fs::read_to_string(file)?);
    project.ui.answer(&text(about, &found), to_json(about, &found));
    Ok(())
}

fn text(run: &Run, found: &[Span]) -> String {
    let total_ms = run.took.as_millis() as u64;
    let head = format!("{} of {}, profile {}: {}", run.command, time::text(run.started), run.profile, run.ending());
    let row = |span: &Span| {
        let sign = if span.good { ' ' } else { '✗' };
        let name: String =
            format!("{}{}", if span.is_part { "  " } else { "" }, span.name).chars().take(NAME).collect();
        let seconds = span.took_ms as f64 / 1000.0;
        format!("{sign} {name:<NAME$} {seconds:>7.1} s  {}", bar(span, total_ms, WIDTH)).trim_end().to_string()
    };
    std::iter::once(head).chain(found.iter().map(row)).collect::<Vec<_>>().join("\n")
}

fn to_json(run: &Run, found: &[Span]) -> Value {
    let span = |span: &Span| {
        let kind = if span.is_part { "part" } else { "step" };
        json!({ "name": span.name, "kind": kind, "start_ms": span.start_ms, "took_ms": span.took_ms, "good": span.good })
    };
    json!({
        "command": run.command, "profile": run.profile, "started": time::text(run.started),
        "took_ms": run.took.as_millis() as u64, "code": run.code, "spans": found.iter().map(span).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_step_has_its_seconds_and_a_failed_one_its_sign() {
        let span = |name: &str, start_ms, good, is_part| Span {
            name: name.to_string(),
            start_ms,
            took_ms: 1000,
            good,
            is_part,
        };
        let run = Run {
            command: "up".to_string(),
            profile: "dev".to_string(),
            took: Duration::from_secs(2),
            code: Some(0),
            ..Run::default()
        };
        let shown = text(&run, &[span("build a", 0, true, false), span("one check", 1000, false, true)]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "up of 1970-01-01T00:00:00Z, profile dev: done in 2.0 s");
        assert!(
            lines[1].starts_with("  build a ") && lines[1].ends_with(&format!("1.0 s  {}", "━".repeat(25))),
            "{shown}"
        );
        assert!(
            lines[2].starts_with("✗   one check ")
                && lines[2].ends_with(&format!("{}{}", " ".repeat(25), "━".repeat(25)))
        );
    }
}
