//! What is measured.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::bench::report::Sample;
use xtask::commands::verify;
use xtask::live;
use xtask::run::call::{Call, DEADLINE};
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::http;
use xtask::run::poll;
use xtask::run::process::{Background, Spawn};
use xtask::tools::{cargo, git};

pub const NAMESPACE: &str = "todo-chatbot-bench";
const COMMAND: Duration = Duration::from_secs(1800);
/// What may take longest between a change and its sight.
const SERVED: Duration = Duration::from_secs(120);
const PAGE: Change = Change { file: "services/frontend/assets/app.css", line: |number| format!("/* {number} */") };
/// A line that the program has in it: of a comment it would be the same.
const BACKEND: Change = Change {
    file: "services/backend/src/tasks.rs",
    line: |number| format!("#[used]\nstatic CHANGED_{number}: &str = \"{number}\";"),
};
/// What `dev` prints when a change may come.
const WAITS: &str = "waiting for a change";

/// A file of the project, and what is added to it, made of a number that comes once.
struct Change {
    file: &'static str,
    line: fn(u128) -> String,
}

/// A row, and how it is measured so many times.
pub struct Wanted {
    pub name: &'static str,
    pub measure: fn(&Bench, usize) -> Result<Vec<Sample>>,
}

pub const ROWS: [Wanted; 5] = [
    Wanted { name: "up, nothing changed", measure: |bench, runs| up_after(bench, runs, None) },
    Wanted { name: "up, one line of the page", measure: |bench, runs| up_after(bench, runs, Some(PAGE)) },
    Wanted { name: "up, one line of the backend", measure: |bench, runs| up_after(bench, runs, Some(BACKEND)) },
    Wanted { name: "dev, one line of the page until it is served", measure: page_in_dev },
    Wanted { name: "dev, one line of the backend until it is checked", measure: backend_in_dev },
];

/// A copy of the project, in a namespace of its own.
pub struct Bench {
    pub ctx: Context,
    root: PathBuf,
    spawn: Spawn,
}

impl Bench {
    pub fn new(ctx: &Context) -> Result<Bench> {
        let mut project: Project = (**ctx).clone();
        project.config.move_to(NAMESPACE).map_err(Stop::usage)?;
        let own = Context::new(&project, ctx.tools.clone());
        let root = ctx.staging("bench");
        ctx.copy_to(&root)?;
        let mut spawn = ctx.spawn.clone();
        spawn.env.push((verify::ROOT.to_string(), root.display().to_string()));
        Ok(Bench { ctx: own, root, spawn })
    }

    /// The whole command, as it is typed.
    pub fn up(&self) -> Result<Sample> {
        let (began, cpu) = (Instant::now(), cpu_s());
        let output = self.spawn.output(self.call(&["up", "--yes"]).within(COMMAND))?;
        ensure!(output.success, "up failed\n{}", output.tail);
        let cpu_s = cpu.zip(cpu_s()).map(|(before, after)| after - before);
        Ok(Sample { wall_s: began.elapsed().as_secs_f64(), cpu_s })
    }

    pub fn remove(&self) -> Result<()> {
        let spawn = self.spawn.uninterrupted();
        let output = spawn.output(self.call(&["down", "--purge", "--yes"]).within(COMMAND))?;
        ensure!(output.success, "the namespace {NAMESPACE} is left: down failed\n{}", output.tail);
        Ok(fs::remove_dir_all(&self.root)?)
    }

    pub fn commit(&self) -> Option<String> {
        let root = self.ctx.root.display().to_string();
        self.ctx.spawn.attempt(git::commit(&root)).ok()?.ok()
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> = ["--namespace", NAMESPACE].iter().chain(arguments).copied().collect();
        cargo::xtask(&self.ctx.path("Cargo.toml"), &all)
    }

    /// Adds a line that no one has seen yet to a file of the copy. Returns it.
    fn change(&self, change: &Change) -> Result<String> {
        let path = self.root.join(change.file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let line = (change.line)(now.as_nanos());
        let text = fs::read_to_string(&path)?;
        fs::write(&path, format!("{text}{line}\n"))?;
        Ok(line)
    }

    fn url(&self) -> Result<String> {
        live::open_url(&self.ctx, &live::endpoints(&self.ctx)?).context("no URL answers from outside")
    }
}

fn up_after(bench: &Bench, runs: usize, change: Option<Change>) -> Result<Vec<Sample>> {
    let run = |_| {
        change.as_ref().map(|change| bench.change(change)).transpose()?;
        bench.up()
    };
    // The first of a kind has caches to fill.
    run(0)?;
    (0..runs).map(run).collect()
}

fn page_in_dev(bench: &Bench, runs: usize) -> Result<Vec<Sample>> {
    let url = format!("{}/assets/app.css", bench.url()?);
    let client = http::agent(DEADLINE);
    let has = |line: &str| client.get(&url).call().ok()?.body_mut().read_to_string().ok()?.contains(line).then_some(());
    in_dev(bench, |_| {
        (0..=runs)
            .map(|_| {
                let began = Instant::now();
                let line = bench.change(&PAGE)?;
                let mut seen = None;
                while seen.is_none() && began.elapsed() < SERVED {
                    bench.ctx.spawn.interrupt.check()?;
                    seen = has(&line);
                    std::thread::sleep(Duration::from_millis(5));
                }
                seen.with_context(|| format!("{url} never had {line}"))?;
                let wall_s = began.elapsed().as_secs_f64();
                // An editor saves no faster than this, and what follows the copy is no part of it.
                std::thread::sleep(Duration::from_secs(2));
                Ok(Sample { wall_s, cpu_s: None })
            })
            .skip(1)
            .collect()
    })
}

fn backend_in_dev(bench: &Bench, runs: usize) -> Result<Vec<Sample>> {
    in_dev(bench, |dev| {
        (0..=runs)
            .map(|_| {
                let (began, count) = (Instant::now(), dev.times(WAITS));
                bench.change(&BACKEND)?;
                dev.wait(bench, count + 1)?;
                Ok(Sample { wall_s: began.elapsed().as_secs_f64(), cpu_s: None })
            })
            .skip(1)
            .collect()
    })
}

/// A `dev` that runs.
struct Dev {
    running: Background,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    fn times(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    fn wait(&self, bench: &Bench, count: usize) -> Result<()> {
        let began = Instant::now();
        while self.times(WAITS) < count {
            bench.ctx.spawn.interrupt.check()?;
            let all = || self.lines.lock().unwrap().join("\n");
            ensure!(!self.running.has_ended() && began.elapsed() < SERVED, "dev does not come to wait\n{}", all());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Measures while `dev` runs, and ends it as Ctrl-C does.
fn in_dev(bench: &Bench, measure: impl FnOnce(&Dev) -> Result<Vec<Sample>>) -> Result<Vec<Sample>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let said = lines.clone();
    let note = move |line: &str| said.lock().unwrap().push(line.to_string());
    let dev = Dev { running: bench.spawn.background(bench.call(&["dev", "--yes"]), note)?, lines };
    dev.wait(bench, 1)?;
    let samples = measure(&dev);
    dev.running.signal(Signal::INT);
    let ended = poll::until(&bench.ctx.spawn.interrupt, SERVED, || Ok(dev.running.code()))?;
    ended.context("dev does not end")?;
    samples
}

/// Seconds of processor time of all children that have ended, and of theirs, where the system tells it.
fn cpu_s() -> Option<f64> {
    /// Ticks of the times in /proc, whatever the kernel's own are.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(13);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}
