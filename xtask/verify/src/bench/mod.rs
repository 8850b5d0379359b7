//! `bench`: how long the loop takes, on a copy of the project in a namespace of its own.

mod app;
mod dev;
mod load;
mod peers;
mod report;
mod rows;
mod scale;
mod turns;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use peers::Rival;
use report::{PeerRow, Report, Row, Sample};
use rows::{Bench, NAMESPACE, ROWS, Runner, Wanted, Work};
use turns::Taken;
use xtask::cli::{BenchOf, Peer};
use xtask::run::context::Project;
use xtask::run::exit::Stop;
use xtask::run::files;
use xtask::run::poll;
use xtask::stages::setup::Ready;
use xtask::stages::{cluster, setup};

/// Others' work shows in each figure.
const QUIET: f64 = 1.0;
/// Between the turns of two: what one has set off, such as the end of replaced pods, is no part of the next.
const SETTLE: Duration = Duration::from_secs(5);

pub struct BenchOptions<'a> {
    pub of: BenchOf,
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
    /// Who is measured in turn with us.
    pub peers: &'a [Peer],
}

/// Measures each row that is wanted, prints medians, and removes what it made.
pub fn run(project: &Project, wanted: &BenchOptions) -> Result<()> {
    match wanted.of {
        BenchOf::Loop => run_loop(project, wanted),
        BenchOf::App => app::run(project, wanted),
        BenchOf::Scale => scale::run(project, wanted),
    }
}

/// Refuses the flags that are for the loop alone.
fn refuse_flags_of_loop(wanted: &BenchOptions, name: &str) -> Result<()> {
    let unused = [
        (wanted.svg.is_some(), "--svg"),
        (wanted.against.is_some(), "--against"),
        (!wanted.peers.is_empty(), "--peer"),
    ];
    match unused.into_iter().find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, flag)) => {
            Err(Stop::usage(format!("{flag} is not for bench {name}\nNext: cargo xtask bench {name} --to FILE")).into())
        }
    }
}

fn run_loop(project: &Project, wanted: &BenchOptions) -> Result<()> {
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
    let bench = Bench::new(&ready.ctx, NAMESPACE)?;
    let measured = measure(&bench, &ready, &chosen, wanted);
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

fn measure(bench: &Bench, ready: &Ready, chosen: &[&Wanted], wanted: &BenchOptions) -> Result<Vec<Row>> {
    bench.up()?;
    let does_any = |peer: &Peer| chosen.iter().any(|row| peers::has(*peer, row.work));
    let mut rivals: Vec<(Peer, Result<Rival>)> = Vec::new();
    for peer in BTreeSet::from_iter(wanted.peers).into_iter().copied().filter(does_any) {
        if bench.ctx.spawn.interrupt.check().is_err() {
            break;
        }
        let rival = peers::prepare(&ready.ctx, &ready.images, peer);
        if let Err(error) = &rival {
            let why = report::one_line(&format!("{error:#}"));
            bench.ctx.ui.say(&format!("{} is left out: {why}", peers::name(peer)));
        }
        rivals.push((peer, rival));
    }
    let measure = |row: &&Wanted| {
        bench.ctx.spawn.interrupt.check()?;
        measure_row(bench, row, &rivals, wanted)
    };
    let rows: Result<Vec<Row>> = chosen.iter().map(measure).collect();
    let removed: Vec<Result<()>> =
        rivals.iter().filter_map(|(_, rival)| rival.as_ref().ok()).map(Rival::remove).collect();
    let rows = rows?;
    removed.into_iter().collect::<Result<()>>()?;
    Ok(rows)
}

fn measure_row(bench: &Bench, row: &Wanted, rivals: &[(Peer, Result<Rival>)], wanted: &BenchOptions) -> Result<Row> {
    let load = await_quiet(bench, wanted.wait)?;
    let step = bench.ctx.ui.step(format!("measure {}", row.name));
    let ours = match row.work {
        Work::Load(lacks) => Runner { take: Box::new(move || load::ours(bench, lacks)), dev: None },
        work => rows::runner(bench, work)?,
    };
    let mut loops: Vec<_> = ours.dev.iter().cloned().collect();
    let mut takes = Vec::new();
    for (peer, rival) in rivals.iter().filter(|(peer, _)| peers::has(*peer, row.work)) {
        let runner = match rival {
            Ok(rival) => rival.runner(bench, row.work),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        if let Ok(runner) = &runner {
            loops.extend(runner.dev.clone());
        }
        takes.push((peers::name(*peer).to_string(), runner.map(|runner| runner.take)));
    }
    let is_alone = takes.is_empty();
    let settle = || {
        bench.ctx.spawn.interrupt.check()?;
        if !is_alone {
            std::thread::sleep(SETTLE);
        }
        Ok(())
    };
    let taken = turns::take_turns(wanted.runs, ours.take, takes, settle);
    // Each is ended, whatever becomes of the others.
    let ended: Vec<Result<()>> = loops.iter().map(|one| one.end()).collect();
    bench.ctx.spawn.interrupt.check()?;
    let (samples, taken) = taken?;
    ended.into_iter().collect::<Result<()>>()?;
    let measured = Row { name: row.name.to_string(), load, samples, peers: taken.into_iter().map(peer_row).collect() };
    step.done(&measured.brief());
    Ok(measured)
}

fn peer_row(Taken { name, result }: Taken<Sample>) -> PeerRow {
    match result {
        Ok(samples) => PeerRow { peer: name, samples, failed: None },
        Err(error) => {
            PeerRow { peer: name, samples: Vec::new(), failed: Some(report::one_line(&format!("{error:#}"))) }
        }
    }
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
