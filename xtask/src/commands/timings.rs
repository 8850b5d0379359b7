//! `timings`: where the time of a run went, a bar for each of its steps, and of its processes where they are asked for; on the terminal, as a page, or as a trace.

mod page;
mod trace;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::model::spans::{Kind, Outcome, Span, bar, processes, spans};
use crate::model::time;
use crate::run::call;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::files;
use crate::run::record;
use crate::run::record::Run;

/// Columns of a bar.
const WIDTH: usize = 50;
/// Columns of a name.
const NAME: usize = 44;

/// What is shown of which run, and where.
pub struct Wanted<'a> {
    /// 1 for the last one.
    pub back: usize,
    /// Each process has a row of its own.
    pub processes: bool,
    pub html: Option<&'a Path>,
    pub otlp: Option<&'a Path>,
}

/// Prints the steps of one of the last runs. With files to write, prints these instead.
pub fn run(project: &Project, wanted: &Wanted) -> Result<()> {
    let Wanted { back, processes: with_processes, html, otlp } = *wanted;
    let html = html.map(|file| output_file("--html", file)).transpose()?;
    let otlp = otlp.map(|file| output_file("--otlp", file)).transpose()?;
    if html.is_some() && html == otlp {
        let message = "--html and --otlp name the same file, which can hold one of them";
        return Err(Stop::usage(format!("{message}\nNext: name another file for one of them")).into());
    }
    let runs = record::last(project, usize::MAX);
    let Some((about, file)) = runs.len().checked_sub(back).and_then(|index| runs.get(index)) else {
        let (count, namespace) = (runs.len(), &project.config.namespace);
        let message =
            format!("there are records of {count} runs in namespace {namespace}, and run {back} was asked for");
        return Err(Stop::usage(format!("{message}\nNext: cargo xtask history, which lists them")).into());
    };
    let text_of_record = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (steps, processes) = (spans(&text_of_record), processes(&text_of_record));
    let shown = if with_processes { [&steps[..], &processes].concat() } else { steps.clone() };
    let mut written = Vec::new();
    if let Some(path) = &html {
        files::replace(path, page::page(about, &shown).as_bytes())?;
        written.push(format!("page   {}", path.display()));
    }
    if let Some(path) = &otlp {
        let trace = trace::otlp(about, &steps, &processes, &project.config.project, &identity(file, &text_of_record));
        // One line, which is what reads traces line by line takes as well.
        files::replace(path, format!("{trace}\n").as_bytes())?;
        written.push(format!("trace  {}", path.display()));
    }
    let text = match written.is_empty() {
        true => format!("{}\n{}", text(about, &shown), sum(&processes, with_processes)),
        false => [vec![headline(about)], written].concat().join("\n"),
    };
    let mut json = to_json(about, steps.iter().chain(&processes));
    for (name, path) in [("html", &html), ("otlp", &otlp)] {
        json[name] = json!(path.as_ref().map(|path| path.display().to_string()));
    }
    project.ui.answer(&text, json);
    Ok(())
}

/// What one record has and no other, and keeps while it grows: its name has the millisecond and the process, its first line
/// the rest.
fn identity(file: &Path, record: &str) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{name} {}", record.lines().next().unwrap_or_default())
}

/// The absolute path of a file that is to be written, of a link what it leads to. Refuses what nothing can be put in the
/// place of.
fn output_file(flag: &str, file: &Path) -> Result<PathBuf> {
    let refuse = |why: String, next: String| Stop::usage(format!("{flag} {}: {why}\nNext: {next}", file.display()));
    let absolute = std::path::absolute(file)?;
    let folder = absolute.parent().unwrap_or(&absolute);
    if !folder.is_dir() {
        let folder = folder.display().to_string();
        let make = call::display(&["mkdir".to_string(), "-p".to_string(), folder.clone()]);
        return Err(refuse(format!("there is no folder {folder}"), make).into());
    }
    if file == Path::new("-") || absolute.exists() && !absolute.is_file() {
        let why = "only a file can be written, and this is none";
        return Err(refuse(why.to_string(), format!("{flag} with the name of a file")).into());
    }
    Ok(absolute.canonicalize().unwrap_or(absolute))
}

fn headline(run: &Run) -> String {
    format!("{} of {}, profile {}: {}", run.command, time::text(run.started), run.profile, run.ending())
}

fn text(run: &Run, found: &[Span]) -> String {
    let total_ms = run.took.as_millis() as u64;
    let row = |span: &Span| {
        let sign = if span.outcome == Outcome::Done { ' ' } else { '✗' };
        let name: String =
            format!("{}{}", if span.kind == Kind::Step { "" } else { "  " }, span.name).chars().take(NAME).collect();
        let seconds = span.took_ms as f64 / 1000.0;
        format!("{sign} {name:<NAME$} {seconds:>7.1} s  {}", bar(span, total_ms, WIDTH)).trim_end().to_string()
    };
    std::iter::once(headline(run)).chain(found.iter().map(row)).collect::<Vec<_>>().join("\n")
}

/// How many processes there were, and how long they took one after another.
fn sum(processes: &[Span], are_shown: bool) -> String {
    let took_ms: u64 = processes.iter().map(|process| process.took_ms).sum();
    let next = if are_shown || processes.is_empty() { "" } else { "; --processes lists them" };
    let noun = if processes.len() == 1 { "process" } else { "processes" };
    format!("{} {noun}, {:.1} s one after another{next}", processes.len(), took_ms as f64 / 1000.0)
}

fn to_json<'a>(run: &Run, found: impl Iterator<Item = &'a Span>) -> Value {
    let span = |span: &Span| {
        let good = span.outcome == Outcome::Done;
        json!({
            "name": span.name, "kind": span.kind.name(), "start_ms": span.start_ms, "took_ms": span.took_ms, "good": good,
            "detail": span.detail,
        })
    };
    json!({
        "command": run.command, "profile": run.profile, "started": time::text(run.started),
        "took_ms": run.took.as_millis() as u64, "code": run.code, "spans": found.map(span).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_record_that_grows_is_the_same_one() {
        let of = |file: &str, record: &str| identity(Path::new(file), record);
        assert_eq!(of("/a/1.ndjson", "{\"event\":\"run\"}\n{}\n"), of("1.ndjson", "{\"event\":\"run\"}\n"));
        assert_ne!(of("1.ndjson", "{}"), of("2.ndjson", "{}"));
        assert_ne!(of("1.ndjson", "{\"namespace\":\"a\"}"), of("1.ndjson", "{\"namespace\":\"b\"}"));
    }

    #[test]
    fn a_step_has_its_seconds_and_a_failed_one_its_sign() {
        let span = |name: &str, start_ms, outcome, kind| Span {
            name: name.to_string(),
            start_ms,
            took_ms: 1000,
            outcome,
            detail: String::new(),
            kind,
        };
        let run = Run {
            command: "up".to_string(),
            profile: "dev".to_string(),
            took: Duration::from_secs(2),
            code: Some(0),
            ..Run::default()
        };
        let shown = text(
            &run,
            &[span("build a", 0, Outcome::Done, Kind::Step), span("one check", 1000, Outcome::Failed, Kind::Part)],
        );
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
