//! What a person sees: bars on a terminal, plain lines with times elsewhere, one JSON event a line for programs. All
//! that is reported is an event first; a run's record holds the same ones, whatever is shown.

mod summary;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::model::states::DeploymentState;
use crate::run::annotation::Annotation;

/// A long step says something at least this often where nothing can be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Bars,
    Plain,
    Json,
    Quiet,
}

/// Chooses how to show progress: as asked, else by what stderr is. A terminal that calls itself dumb redraws nothing.
pub fn choose_mode(json: bool, quiet: bool, no_progress: bool) -> Mode {
    let is_dumb = std::env::var("TERM").map_or(true, |name| name.is_empty() || name == "dumb");
    match (json, quiet, no_progress || is_dumb || !std::io::stderr().is_terminal()) {
        (true, _, _) => Mode::Json,
        (_, true, _) => Mode::Quiet,
        (_, _, true) => Mode::Plain,
        _ => Mode::Bars,
    }
}

pub struct Ui {
    mode: Mode,
    verbose: bool,
    started: Instant,
    bars: MultiProgress,
    stages: Mutex<Vec<Stage>>,
    states: Mutex<BTreeMap<String, DeploymentState>>,
    record: Mutex<Option<File>>,
    annotations: Option<PathBuf>,
}

/// A stage that has ended, for the closing summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub name: String,
    pub took: Duration,
}

/// Something under way. Dropped without `done`, it counts as failed.
pub struct Step<'a> {
    ui: &'a Ui,
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    last_reported: Mutex<Instant>,
    ended: bool,
}

/// A sign of life on a terminal while something short is looked at; it leaves no line, no event and no stage.
pub struct Glance<'a>(&'a Ui, Option<ProgressBar>);

impl Drop for Glance<'_> {
    fn drop(&mut self) {
        self.0.take_away(self.1.take());
    }
}

/// Lines that stay below all others.
pub struct Pinned<'a>(&'a Ui, Vec<ProgressBar>);

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.0.take_away(self.1.drain(..));
    }
}

impl Ui {
    pub fn new(mode: Mode, verbose: bool) -> Ui {
        Ui {
            mode,
            verbose,
            started: Instant::now(),
            bars: MultiProgress::new(),
            stages: Mutex::default(),
            states: Mutex::default(),
            record: Mutex::default(),
            annotations: None,
        }
    }

    /// The same, which prints annotations: their files lie under this folder of the repository.
    pub fn with_annotations(self, folder: Option<PathBuf>) -> Ui {
        Ui { annotations: folder, ..self }
    }

    /// For another run in the same process, at the same terminal.
    pub fn renewed(&self) -> Ui {
        let annotations = self.annotations.clone();
        Ui { bars: self.bars.clone(), annotations, ..Ui::new(self.mode, self.verbose) }
    }

    /// From now on, writes every event into a file as well.
    pub fn record_into(&self, file: File) {
        *self.record.lock().unwrap() = Some(file);
    }

    /// Writes no event into the file any more.
    pub fn end_record(&self) {
        *self.record.lock().unwrap() = None;
    }

    /// Begins a step: a spinner, or a line that it has begun.
    pub fn step(&self, name: impl Into<String>) -> Step<'_> {
        let name = name.into();
        self.event("step_started", json!({ "step": name }));
        let bar = match self.mode {
            Mode::Bars => Some(self.spinner(&name)),
            Mode::Plain => {
                self.line(&format!("{} {name} …", self.clock()));
                None
            }
            Mode::Json | Mode::Quiet => None,
        };
        Step { ui: self, name, started: Instant::now(), bar, last_reported: Mutex::new(Instant::now()), ended: false }
    }

    /// Shows what is being looked at, where a terminal can take it away again, for as long as the returned value lives.
    pub fn glance(&self, text: &str) -> Glance<'_> {
        Glance(self, (self.mode == Mode::Bars).then(|| self.spinner(text)))
    }

    /// Lines below all others, each with a sign of whether it is well, for as long as the returned value lives; only where a
    /// terminal can take them away again.
    pub fn pin(&self, lines: &[(bool, String)]) -> Pinned<'_> {
        let pin = |(is_good, line): &(bool, String)| {
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
            let message = format!("{} {line}", self.paint("●", if *is_good { 32 } else { 31 }));
            let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
            // A tick might be left out, as one too many in a moment, and no other follows it.
            bar.abandon_with_message(message);
            bar
        };
        Pinned(self, if self.mode == Mode::Bars { lines.iter().map(pin).collect() } else { Vec::new() })
    }

    /// A part of a step that has ended. One that is good has a line only where lines are wanted, or all are.
    pub fn part(&self, name: &str, took: Duration, detail: &str, good: bool, wanted: bool) {
        let took_ms = took.as_millis() as u64;
        self.event("part_ended", json!({ "part": name, "good": good, "took_ms": took_ms, "detail": detail }));
        if wanted || !good || self.verbose {
            self.line_of_end(name, took, detail, good);
        }
    }

    /// A line worth keeping, above the bars.
    pub fn say(&self, text: &str) {
        self.event("note", json!({ "text": text }));
        match self.mode {
            Mode::Bars => {
                let _ = self.bars.println(text);
            }
            Mode::Plain => self.line(&format!("{} {text}", self.clock())),
            Mode::Json | Mode::Quiet => {}
        }
    }

    /// An event for the record and for programs, without a line for a person.
    pub fn fact(&self, event: &str, fields: serde_json::Value) {
        self.event(event, fields);
    }

    /// An event for the record alone: a program that reads along would be flooded with them.
    pub fn note(&self, event: &str, fields: serde_json::Value) {
        self.record_line(&self.stamped(event, fields));
    }

    /// The state that a service was seen in. The same state again is no news.
    pub fn state(&self, service: &str, state: DeploymentState) {
        let before = self.states.lock().unwrap().insert(service.to_string(), state);
        if before == Some(state) {
            return;
        }
        let from = before.map(|before| format!("{before:?}"));
        self.event("state", json!({ "service": service, "from": from, "state": format!("{state:?}") }));
        if self.verbose && self.mode == Mode::Plain {
            self.line(&format!("{} {service} is {state:?}", self.clock()));
        }
    }

    /// What was checked after a service, or a release, had been brought into a state, and held.
    pub fn validated(&self, subject: &str, state: DeploymentState, text: &str) {
        self.event("validated", json!({ "subject": subject, "state": format!("{state:?}"), "told": text }));
    }

    /// A result that a program may read: in JSON mode the value, else the text.
    pub fn answer(&self, text: &str, value: serde_json::Value) {
        self.event("answer", value);
        if self.mode != Mode::Json {
            self.out(text);
        }
    }

    /// A row of a result that comes bit by bit, such as a log. It is what others say and no event of the run, and so in no
    /// record. False if stdout is closed.
    pub fn row(&self, text: &str, name: &str, fields: serde_json::Value) -> bool {
        let line = match self.mode {
            Mode::Json => self.stamped(name, fields),
            _ => text.to_string(),
        };
        self.above_bars(|| writeln!(std::io::stdout(), "{line}").is_ok())
    }

    /// A text of a row in one of six colours, where rows go to a terminal.
    pub fn tint(&self, text: &str, nth: usize) -> String {
        match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => format!("\x1b[{}m{text}\x1b[0m", [36, 33, 35, 32, 34, 31][nth % 6]),
            false => text.to_string(),
        }
    }

    /// The stages that took part, with their seconds.
    pub fn summary(&self, headline: &str) {
        let stages = self.stages.lock().unwrap();
        let total = self.started.elapsed();
        self.event("summary", json!({ "headline": headline, "took_ms": total.as_millis() as u64 }));
        match self.mode {
            Mode::Json => {}
            Mode::Quiet => self.out(headline),
            _ => self.out(&summary::render(headline, &stages, total)),
        }
    }

    pub fn error(&self, text: &str) {
        self.event("error", json!({ "text": text }));
        if self.mode != Mode::Json {
            self.line(&format!("{} {text}", self.paint("✗", 31)));
        }
    }

    /// Has GitHub Actions show mistakes beside their lines; nothing anywhere else.
    pub fn annotate(&self, mistakes: &[Annotation]) {
        let Some(folder) = &self.annotations else { return };
        mistakes.iter().for_each(|mistake| self.line(&mistake.github(folder)));
    }

    fn spinner(&self, name: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {prefix:<28} {elapsed:>5}  {wide_msg}")
            .expect("the template is valid");
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(name.to_string()));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.tick();
        bar
    }

    fn take_away(&self, bars: impl IntoIterator<Item = ProgressBar>) {
        for bar in bars {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn ended(&self, name: &str, took: Duration, detail: &str, good: bool) {
        let event = json!({ "step": name, "good": good, "took_ms": took.as_millis() as u64, "detail": detail });
        self.event("step_ended", event);
        self.line_of_end(name, took, detail, good);
    }

    fn line_of_end(&self, name: &str, took: Duration, detail: &str, good: bool) {
        let mark = if good { self.paint("✓", 32) } else { self.paint("✗", 31) };
        match self.mode {
            Mode::Bars => {
                let _ = self.bars.println(format!("{mark} {name:<28} {:>6.1} s  {detail}", took.as_secs_f64()));
            }
            Mode::Plain => {
                let line = format!("{} {mark} {name}  {:.1} s  {detail}", self.clock(), took.as_secs_f64());
                self.line(line.trim_end());
            }
            Mode::Json | Mode::Quiet => {}
        }
    }

    fn clock(&self) -> String {
        format!("[{:>6.1} s]", self.started.elapsed().as_secs_f64())
    }

    fn event(&self, name: &str, fields: serde_json::Value) {
        let line = self.stamped(name, fields);
        self.record_line(&line);
        if self.mode == Mode::Json {
            self.out(&line);
        }
    }

    fn record_line(&self, line: &str) {
        if let Some(file) = self.record.lock().unwrap().as_mut() {
            // A disk that is full is no reason to stop the work either.
            let _ = writeln!(file, "{line}");
        }
    }

    fn stamped(&self, name: &str, mut fields: serde_json::Value) -> String {
        fields["event"] = name.into();
        fields["at_ms"] = (self.started.elapsed().as_millis() as u64).into();
        fields.to_string()
    }

    // A closed stream is no reason to stop the work.
    fn out(&self, text: &str) {
        let _ = self.above_bars(|| writeln!(std::io::stdout(), "{text}"));
    }

    fn line(&self, text: &str) {
        let _ = self.above_bars(|| writeln!(std::io::stderr(), "{text}"));
    }

    /// Writes what the bars would otherwise be drawn over.
    fn above_bars<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.mode == Mode::Bars { self.bars.suspend(write) } else { write() }
    }

    fn paint(&self, text: &str, colour: u8) -> String {
        match self.mode == Mode::Bars && std::env::var_os("NO_COLOR").is_none() {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }
}

impl Step<'_> {
    /// What the step is at; shown at once on a terminal, now and then elsewhere.
    pub fn update(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_string());
        }
        let mut last_reported = self.last_reported.lock().unwrap();
        if !self.ui.verbose && last_reported.elapsed() <= PLAIN_INTERVAL {
            return;
        }
        *last_reported = Instant::now();
        self.ui.event("step_progress", json!({ "step": self.name, "text": text }));
        if self.ui.mode == Mode::Plain {
            self.ui.line(&format!("{} {}: {text}", self.ui.clock(), self.name));
        }
    }

    pub fn done(mut self, detail: &str) {
        self.end(detail, true);
        let stage = Stage { name: self.name.clone(), took: self.started.elapsed() };
        self.ui.stages.lock().unwrap().push(stage);
    }

    fn end(&mut self, detail: &str, good: bool) {
        self.ended = true;
        self.ui.take_away(self.bar.take());
        self.ui.ended(&self.name, self.started.elapsed(), detail, good);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end("failed", false);
        }
    }
}
