//! `bench app`: how many requests the application answers, on a copy of the project in a namespace of its own, beside a plain
//! program at the same database.

mod places;
mod report;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::rows::{Bench, NAMESPACE};
use crate::bench::{BenchOptions, await_quiet, cores, refuse_flags_of_loop};
use crate::tools::vegeta::{self, Figures};
use places::{HERE, PLAIN, Place, Places};
use report::{Memory, Report, Row};
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::files;
use xtask::stages::{cluster, setup};
use xtask::tools::kubectl;

/// How long each run asks.
const SECONDS: u64 = 5;
/// Before the first run of a row: connections, caches and statements are ready then.
const WARM_UP_SECONDS: u64 = 1;
/// So many ask at once, each as soon as it is answered.
const WORKERS: u32 = 16;
/// How often memory is looked at; the kubelet looks every ten seconds or so itself.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked of whom. Chat reads all tasks, so it comes before thousands are made.
const ROWS: [(&str, &[&str]); 3] = [
    ("list", &[places::FRONTEND, places::BACKEND, HERE, PLAIN]),
    ("chat", &[places::FRONTEND, places::BACKEND]),
    ("create", &[places::FRONTEND, places::BACKEND, HERE, PLAIN]),
];

pub fn run(project: &Project, wanted: &BenchOptions) -> Result<()> {
    let rows = chosen(wanted.only)?;
    refuse_flags_of_loop(wanted, "app")?;
    let ready = setup::set_up(project, None)?;
    cluster::bring_up(&ready)?;
    let [program] = setup::programs(project, ["vegeta"])?;
    let bench = Bench::new(&ready.ctx, NAMESPACE)?;
    let measured = measure(&bench, &program, &rows, wanted);
    let removed = bench.remove();
    let report = measured?;
    removed?;
    let json = report.to_json();
    if let Some(file) = wanted.to {
        files::replace(file, format!("{json:#}\n").as_bytes())?;
    }
    project.ui.answer(&report.text(HERE, PLAIN), json);
    Ok(())
}

/// The rows whose names hold a text.
fn chosen(only: Option<&str>) -> Result<Vec<(&'static str, &'static str)>> {
    let all = || ROWS.iter().flat_map(|(work, places)| places.iter().map(|place| (*work, *place)));
    let names = |(work, place): (&str, &str)| Row::name(work, place);
    let rows: Vec<_> = all().filter(|row| only.is_none_or(|text| names(*row).contains(text))).collect();
    if rows.is_empty() {
        let known: Vec<String> = all().map(names).collect();
        let message = format!("no row is called {}", only.unwrap_or_default());
        return Err(Stop::usage(format!("{message}\nNext: one of\n  {}", known.join("\n  "))).into());
    }
    Ok(rows)
}

fn measure(bench: &Bench, program: &str, rows: &[(&str, &'static str)], wanted: &BenchOptions) -> Result<Report> {
    places::open_up(bench)?;
    bench.up()?;
    let ctx = &bench.ctx;
    let places = Places::find(bench, rows.iter().any(|(_, place)| [HERE, PLAIN].contains(place)))?;
    let attack = Attack { ctx, program, folder: bench.root.join("attack") };
    fs::create_dir_all(&attack.folder)?;
    await_quiet(bench, wanted.wait)?;
    let idle_bytes = attack.memory()?;
    let (mut measured, mut load_bytes) = (Vec::new(), idle_bytes.clone());
    for (work, place) in rows {
        let at = places.get(place)?;
        let step = ctx.ui.step(format!("measure {}", Row::name(work, place)));
        let mut row = Row { work: work.to_string(), place: place.to_string(), runs: Vec::new() };
        attack.once(&at, work, WARM_UP_SECONDS, &mut load_bytes)?;
        for _ in 0..wanted.runs {
            row.runs.push(attack.once(&at, work, SECONDS, &mut load_bytes)?);
        }
        step.done(&row.brief());
        measured.push(row);
    }
    Ok(Report {
        commit: bench.commit(),
        cores: cores(),
        seconds: SECONDS,
        workers: WORKERS,
        rows: measured,
        idle_bytes,
        load_bytes,
    })
}

struct Attack<'a> {
    ctx: &'a Context,
    program: &'a str,
    folder: std::path::PathBuf,
}

impl Attack<'_> {
    /// Asks as fast as answers come, and looks at the memory meanwhile.
    fn once(&self, place: &Place, work: &str, seconds: u64, most: &mut Memory) -> Result<Figures> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (targets, body, results) = (path("targets"), path("body"), path("results"));
        let (target, content) = place.target(work, &body)?;
        fs::write(&targets, target)?;
        fs::write(&body, content)?;
        let call = vegeta::flood(self.program, &targets, &results, WORKERS, seconds);
        let (running, began) = (self.ctx.spawn.background(call, |_| {})?, Instant::now());
        while !running.has_ended() {
            self.ctx.spawn.interrupt.check()?;
            ensure!(began.elapsed() < Duration::from_secs(seconds + 30), "the requests come to no end");
            std::thread::sleep(LOOK.min(Duration::from_secs(seconds)));
            report::raise(most, self.memory()?);
        }
        let text = self.ctx.run(vegeta::report(self.program, &results))?;
        vegeta::parse_figures(&text).with_context(|| format!("vegeta printed {text}"))
    }

    /// The working set of each pod of the bench, as the kubelets know it.
    fn memory(&self) -> Result<Memory> {
        let (mut all, target) = (Memory::new(), self.ctx.target());
        for node in cluster::nodes(self.ctx)? {
            let summary =
                self.ctx.run(kubectl::get_raw(&target, &format!("/api/v1/nodes/{node}/proxy/stats/summary")))?;
            let found = report::parse_memory(&summary, &target.namespace);
            all.extend(found.with_context(|| format!("the kubelet of {node} says nothing of its pods"))?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_a_part_of_their_names() {
        assert_eq!(chosen(None).unwrap().len(), 10);
        assert_eq!(chosen(Some("chat")).unwrap(), [("chat", places::FRONTEND), ("chat", places::BACKEND)]);
        assert_eq!(chosen(Some("plain")).unwrap(), [("list", PLAIN), ("create", PLAIN)]);
        let refused = chosen(Some("cake")).unwrap_err().to_string();
        assert!(refused.starts_with("no row is called cake\nNext: one of\n  list, through the frontend"), "{refused}");
    }
}
