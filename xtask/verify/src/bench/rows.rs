//! What is measured, and how our own tool does it.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::bench::dev::{Dev, SERVED};
use crate::bench::report::Sample;
use crate::bench::turns::Take;
use xtask::commands::verify;
use xtask::live;
use xtask::run::call::{Call, DEADLINE};
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::http;
use xtask::run::process::Spawn;
use xtask::tools::{cargo, git};

pub const NAMESPACE: &str = "todo-chatbot-bench";
pub const COMMAND: Duration = Duration::from_secs(1800);
const PAGE: Change = Change { file: "services/frontend/assets/app.css", line: |number| format!("/* {number} */") };
/// A line that the program has in it: with another comment it would be the same.
const BACKEND: Change = Change {
    file: "services/backend/src/tasks/store.rs",
    line: |number| format!("#[used]\nstatic CHANGED_{number}: &str = \"{number}\";"),
};
/// What our `dev` prints when a change may come.
const WAITS: &str = "waiting for a change";
/// An editor saves no faster than this, and what follows a copy is no part of it.
const PAUSE: Duration = Duration::from_secs(2);

/// What is added to a file, made of a number that comes once.
#[derive(Clone, Copy)]
pub struct Change {
    file: &'static str,
    line: fn(u128) -> String,
}

#[derive(Clone, Copy)]
pub enum Work {
    /// One whole command, after a change.
    Once(Option<Change>),
    /// From a change of the page to its sight in a loop that runs.
    PageInDev,
    /// From a change of the backend until a loop that runs waits for the next.
    BackendInDev,
    /// An image that the node does not have, or not all of, from docker into the node.
    Load(Lacks),
}

/// What of an image the node does not have.
#[derive(Clone, Copy)]
pub enum Lacks {
    /// Everything is in one layer that no other image has.
    All,
    /// The node has all layers but the last: they are those of a service's image.
    LastLayer,
}

/// A row.
pub struct Wanted {
    pub name: &'static str,
    pub work: Work,
}

pub const ROWS: [Wanted; 7] = [
    Wanted { name: "up, nothing changed", work: Work::Once(None) },
    Wanted { name: "up, one line of the page", work: Work::Once(Some(PAGE)) },
    Wanted { name: "up, one line of the backend", work: Work::Once(Some(BACKEND)) },
    Wanted { name: "dev, one line of the page until it is served", work: Work::PageInDev },
    Wanted { name: "dev, one line of the backend until it is checked", work: Work::BackendInDev },
    Wanted { name: "load, an image that is new to the node", work: Work::Load(Lacks::All) },
    Wanted { name: "load, an image with one layer that is new", work: Work::Load(Lacks::LastLayer) },
];

/// What does the work of a row, and what has to be ended after it.
pub struct Runner<'a> {
    pub take: Take<'a, Sample>,
    pub dev: Option<Rc<Dev>>,
}

/// A copy of the project, or another one, in a namespace of its own.
pub struct Bench {
    pub ctx: Context,
    pub root: PathBuf,
    /// Of the workspace that has the tool.
    manifest: PathBuf,
    spawn: Spawn,
}

impl Bench {
    pub fn new(ctx: &Context, namespace: &str) -> Result<Bench> {
        let mut project: Project = (**ctx).clone();
        project.config.move_to(namespace).map_err(Stop::usage)?;
        let own = Context::new(&project, ctx.tools.clone());
        let root = own.staging("bench");
        ctx.copy_to(&root)?;
        Ok(Bench::at(own, root, &ctx.root))
    }

    /// The project of a folder, with the tool of the repository at another.
    pub fn at(ctx: Context, root: PathBuf, tool: &Path) -> Bench {
        let mut spawn = ctx.spawn.clone();
        spawn.env.push((verify::ROOT.to_string(), root.display().to_string()));
        Bench { ctx, root, manifest: tool.join("Cargo.toml"), spawn }
    }

    /// The whole command, as it is typed.
    pub fn up(&self) -> Result<Sample> {
        whole(&self.spawn, self.call(&["up", "--yes"]), "up")
    }

    pub fn plan(&self) -> Result<Sample> {
        whole(&self.spawn, self.call(&["plan"]), "plan")
    }

    /// The record of the last `up`, as JSON.
    pub fn timings(&self) -> Result<String> {
        self.spawn.run(self.call(&["timings", "--json"]).within(COMMAND))
    }

    pub fn remove(&self) -> Result<()> {
        let spawn = self.spawn.uninterrupted();
        let output = spawn.output(self.call(&["down", "--purge", "--yes"]).within(COMMAND))?;
        let namespace = &self.ctx.config.namespace;
        ensure!(output.success, "the namespace {namespace} is left: down failed\n{}", output.tail);
        Ok(fs::remove_dir_all(&self.root)?)
    }

    pub fn commit(&self) -> Option<String> {
        commit_of(&self.ctx)
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> = ["--namespace", &self.ctx.config.namespace].iter().chain(arguments).copied().collect();
        cargo::xtask(&self.manifest.display().to_string(), &all)
    }

    fn url(&self) -> Result<String> {
        live::open_url(&self.ctx.config, &live::endpoints(&self.ctx)?).context("no URL answers from outside")
    }
}

/// The commit that a project is at.
pub fn commit_of(project: &Project) -> Option<String> {
    let root = project.root.display().to_string();
    project.spawn.attempt(git::commit(&root)).ok()?.ok()
}

/// Our own way to do the work of a row, but for `Work::Load`.
pub fn runner<'a>(bench: &'a Bench, work: Work) -> Result<Runner<'a>> {
    let start = || Dev::start(&bench.spawn, bench.call(&["dev", "--yes"]), WAITS);
    let once = || bench.up();
    do_work(bench, work, once, start)
}

/// The work of a row by whoever has `once`, a whole command, and `start`, a loop that says after each change
/// that it waits again.
pub fn do_work<'a>(
    bench: &'a Bench,
    work: Work,
    once: impl Fn() -> Result<Sample> + 'a,
    start: impl FnOnce() -> Result<Dev>,
) -> Result<Runner<'a>> {
    let change = match work {
        Work::Once(change) => {
            let take = move || {
                change.map(|change| add_line(&bench.root, change)).transpose()?;
                once()
            };
            return Ok(Runner { take: Box::new(take), dev: None });
        }
        Work::PageInDev => PAGE,
        Work::BackendInDev | Work::Load(_) => BACKEND,
    };
    let dev = Rc::new(start()?);
    let running = dev.clone();
    let url = if let Work::PageInDev = work { bench.url()? } else { String::new() };
    let take = move || -> Result<Sample> {
        let (began, count) = (Instant::now(), running.times());
        let line = add_line(&bench.root, change)?;
        if let Work::PageInDev = work {
            await_page(bench, &url, &line)?;
            let wall_s = began.elapsed().as_secs_f64();
            running.wait(count + 1, SERVED)?;
            std::thread::sleep(PAUSE);
            return Ok(Sample { wall_s, cpu_s: None });
        }
        running.wait(count + 1, SERVED)?;
        Ok(Sample { wall_s: began.elapsed().as_secs_f64(), cpu_s: None })
    };
    Ok(Runner { take: Box::new(take), dev: Some(dev) })
}

/// Runs a command to its end, and measures it and all that it starts.
pub fn whole(spawn: &Spawn, call: Call, name: &str) -> Result<Sample> {
    measure(|| {
        let output = spawn.output(call.within(COMMAND))?;
        ensure!(output.success, "{name} failed\n{}", output.tail);
        Ok(())
    })
}

/// Measures what is done, and all that it starts.
pub fn measure(work: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let (began, cpu) = (Instant::now(), cpu_s());
    work()?;
    let cpu_s = cpu.zip(cpu_s()).map(|(before, after)| after - before);
    Ok(Sample { wall_s: began.elapsed().as_secs_f64(), cpu_s })
}

/// Adds a line that no one has seen yet to a file of the copy. Returns it.
fn add_line(root: &Path, Change { file, line }: Change) -> Result<String> {
    let path = root.join(file);
    let line = line(nonce()?);
    let text = fs::read_to_string(&path)?;
    fs::write(&path, format!("{text}{line}\n"))?;
    Ok(line)
}

/// What no one has seen yet.
pub fn nonce() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

/// Asks for the page until it has a line.
fn await_page(bench: &Bench, url: &str, line: &str) -> Result<()> {
    let (began, url) = (Instant::now(), format!("{url}/assets/app.css"));
    let client = http::agent(DEADLINE);
    let has = || Some(client.get(&url).call().ok()?.body_mut().read_to_string().ok()?.contains(line));
    while has() != Some(true) {
        bench.ctx.spawn.interrupt.check()?;
        ensure!(began.elapsed() < SERVED, "{url} never had {line}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
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
