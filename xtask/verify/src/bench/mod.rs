//! `bench`: how long the loop takes, on a copy of the project in a namespace of its own.

mod report;
mod rows;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use report::{Report, Row};
use rows::{Bench, ROWS};
use xtask::run::context::Project;
use xtask::run::exit::Stop;
use xtask::run::files;
use xtask::run::poll;
use xtask::stages::{cluster, setup};

/// Others' work shows in each figure.
const QUIET: f64 = 1.0;

pub struct BenchOptions<'a> {
    /// How often each row is measured.
    pub runs: usize,
    /// Those rows whose name holds this.
    pub only: Option<&'a str>,
    /// An earlier report to compare with.
    pub against: Option<&'a Path>,
    /// Where the report goes, as JSON.
    pub to: Option<&'a Path>,
    /// Where its picture goes.
    pub svg: Option<&'a Path>,
    /// How long a quiet machine is waited for.
    pub wait: Duration,
}

/// Measures each row that is wanted, prints medians, and removes what it made.
pub fn run(project: &Project, wanted: &BenchOptions) -> Result<()> {
    let chosen: Vec<_> = ROWS.iter().filter(|row| wanted.only.is_none_or(|text| row.name.contains(text))).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        let message = format!("no row is called {}", wanted.only.unwrap_or_default());
        return Err(Stop::usage(format!("{message}\nNext: one of\n  {}", names.join("\n  "))).into());
    }
    // What cannot be read is an error before minutes have passed.
    let before = wanted.against.map(read_report).transpose()?;
    let ready = setup::set_up(project, None)?;
    cluster::bring_up(&ready)?;
    let bench = Bench::new(&ready.ctx)?;
    let measured = measure(&bench, &chosen, wanted);
    let removed = bench.remove();
    let report = Report { commit: bench.commit(), cores: cores(), rows: measured? };
    removed?;
    let json = report.to_json();
    for (file, text) in [(wanted.to, format!("{json:#}\n")), (wanted.svg, report.svg())] {
        if let Some(file) = file {
            files::replace(file, text.as_bytes())?;
        }
    }
    project.ui.answer(&report.text(before.as_ref()), json);
    Ok(())
}

fn measure(bench: &Bench, chosen: &[&rows::Wanted], wanted: &BenchOptions) -> Result<Vec<Row>> {
    let ui = &bench.ctx.ui;
    bench.up()?;
    let mut rows = Vec::new();
    for row in chosen {
        let load = await_quiet(bench, wanted.wait)?;
        let step = ui.step(format!("measure {}", row.name));
        let samples = (row.measure)(bench, wanted.runs)?;
        let measured = Row { name: row.name.to_string(), load, samples };
        step.done(&measured.brief());
        rows.push(measured);
    }
    Ok(rows)
}

/// Waits until nobody else is at work, at most so long. Returns the load of the last minute.
fn await_quiet(bench: &Bench, at_most: Duration) -> Result<Option<f64>> {
    let Some(first) = load() else { return Ok(None) };
    if first > QUIET {
        bench.ctx.ui.say(&format!("the load is {first}: waiting up to {} s for a quiet machine", at_most.as_secs()));
        let began = Instant::now();
        let quiet = || Ok(load().is_none_or(|load| load <= QUIET).then_some(()));
        if poll::until(&bench.ctx.spawn.interrupt, at_most, quiet)?.is_none() {
            let message = "the machine is not quiet: the figures have others' work in them";
            bench.ctx.ui.say(&format!("after {} s {message}", began.elapsed().as_secs()));
        }
    }
    Ok(load())
}

/// The load of the last minute, where the system tells it.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_report(file: &Path) -> Result<Report> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = |why| Stop::usage(format!("{} is no report of bench: {why}", file.display()));
    Ok(Report::parse(&text).map_err(wrong)?)
}
