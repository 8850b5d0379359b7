//! `bench scale`: how `plan` and `up` without a change grow with the number of services, on a project that is made for it, in a
//! namespace of its own.

mod project;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::bench::load;
use crate::bench::report::{Sample, one_line};
use crate::bench::rows::{Bench, NAMESPACE, commit_of};
use crate::bench::turns::take_turns;
use crate::bench::{BenchOptions, await_quiet, cores, refuse_flags_of_loop};
use project::{Asked, Names};
use report::{Answer, Measured, Report, Row};
use xtask::run::context::{Context, DEFAULT_PROFILE, Project};
use xtask::run::exit::Stop;
use xtask::run::files;
use xtask::run::files::copy_afresh;
use xtask::stages::{cluster, setup};
use xtask::tools::kubectl;

/// Each is brought up on top of the one before.
const SIZES: [usize; 3] = [4, 20, 60];

const PLAN: &str = "plan";
const UP: &str = "up, nothing changed";
const UP_EACH: &str = "up, nothing changed, each service asked";

pub fn run(project: &Project, wanted: &BenchOptions) -> Result<()> {
    let sizes = chosen(wanted.only)?;
    refuse_flags_of_loop(wanted, "scale")?;
    let ready = setup::set_up(project, None)?;
    cluster::bring_up(&ready)?;
    let made = Made::new(&ready.ctx)?;
    let measured = made.bench(sizes[0]).and_then(|bench| measure(&made, &bench, &sizes, wanted));
    let removed = made.remove();
    let mut report = measured?;
    report.commit = commit_of(project);
    let json = report.to_json();
    if let Some(file) = wanted.to {
        files::replace(file, format!("{json:#}\n").as_bytes())?;
    }
    project.ui.answer(&report.text(), json);
    removed
}

/// The numbers of services whose rows hold a text.
fn chosen(only: Option<&str>) -> Result<Vec<usize>> {
    let name = |size: &usize| format!("{size} services");
    let sizes: Vec<usize> =
        SIZES.into_iter().filter(|size| only.is_none_or(|text| name(size).contains(text))).collect();
    if sizes.is_empty() {
        let message = format!("no row is called {}", only.unwrap_or_default());
        let known = SIZES.map(|size| name(&size)).join("\n  ");
        return Err(Stop::usage(format!("{message}\nNext: one of\n  {known}")).into());
    }
    Ok(sizes)
}

/// The project that is made, in its folder.
struct Made<'a> {
    ctx: &'a Context,
    name: String,
    namespace: String,
    root: PathBuf,
}

impl Made<'_> {
    fn new(ctx: &Context) -> Result<Made<'_>> {
        let (name, namespace) = (format!("{}-scale", ctx.config.project), format!("{NAMESPACE}-scale"));
        let root = ctx.staging("scale");
        copy_afresh(&ctx.root, &[PathBuf::from("helm/library")], &root)?;
        Ok(Made { ctx, name, namespace, root })
    }

    fn write(&self, services: usize, asked: Asked) -> Result<()> {
        let names = Names { project: &self.name, home: &self.ctx.config.home, namespace: &self.namespace };
        for (path, text) in project::files(&names, services, asked) {
            let path = self.root.join(path);
            // What is written anew may be taken for changed.
            if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                fs::write(&path, text)?;
            }
        }
        Ok(())
    }

    /// The project with so many services.
    fn bench(&self, services: usize) -> Result<Bench> {
        self.write(services, Asked::One)?;
        let project = self.ctx.of_project(&self.root, DEFAULT_PROFILE)?;
        Ok(Bench::at(Context::new(&project, self.ctx.tools.clone()), self.root.clone(), &self.ctx.root))
    }

    /// Removes the namespace, the images and the folder, whatever of them is there.
    fn remove(&self) -> Result<()> {
        let largest =
            SIZES.into_iter().filter(|size| self.root.join(format!("service/names/s{size:03}")).exists()).max();
        let gone = self.bench(largest.unwrap_or(SIZES[0])).and_then(|bench| bench.remove());
        let (ctx, prefix) = (self.ctx.uninterrupted(), format!("{}-s", self.name));
        let images = cluster::nodes(&ctx).and_then(|nodes| load::remove(&ctx, &nodes, |one| one.starts_with(&prefix)));
        gone.and(images)
    }
}

/// Grows the project from size to size, as far as it comes up.
fn measure(made: &Made, bench: &Bench, sizes: &[usize], wanted: &BenchOptions) -> Result<Report> {
    let mut report = Report { commit: None, cores: cores(), rows: Vec::new(), left_out: Vec::new() };
    for size in sizes {
        let there = report.rows.last().map_or(0, |row: &Row| row.services);
        let room = room(&bench.ctx)?;
        let result = match room < size - there {
            true => Err(anyhow::anyhow!("it takes {} pods more, and the node has room for {room}", size - there)),
            false => measure_size(made, *size, wanted),
        };
        bench.ctx.spawn.interrupt.check()?;
        match result {
            Ok(row) => report.rows.push(row),
            Err(error) if report.rows.is_empty() => return Err(error),
            Err(error) => {
                report.left_out.push((*size, one_line(&format!("{error:#}"))));
                break;
            }
        }
    }
    Ok(report)
}

fn room(ctx: &Context) -> Result<usize> {
    let target = ctx.target();
    let nodes = ctx.run(kubectl::get(&target, "nodes", None))?;
    Ok(report::room_for_pods(&nodes, &ctx.run(kubectl::get_everywhere(&target, "pods"))?))
}

fn measure_size(made: &Made, services: usize, wanted: &BenchOptions) -> Result<Row> {
    let bench = &made.bench(services)?;
    let ui = &bench.ctx.ui;
    let step = ui.step(format!("bring up {services} services"));
    let brought_up_s = bench.up()?.wall_s;
    step.done(&format!("{brought_up_s:.0} s"));
    let load = await_quiet(bench, wanted.wait)?;
    let mut works = BTreeMap::new();
    for (work, asked) in [(PLAN, Asked::One), (UP, Asked::One), (UP_EACH, Asked::Each)] {
        made.write(services, asked)?;
        let step = ui.step(format!("measure {services} services: {work}"));
        let once = || if work == PLAN { bench.plan() } else { bench.up() };
        let goes_on = || bench.ctx.spawn.interrupt.check();
        let (samples, _) = take_turns::<Sample>(wanted.runs, Box::new(once), Vec::new(), goes_on)?;
        let processes = if work == PLAN { None } else { report::count_processes(&bench.timings()?) };
        let measured = Measured { samples, processes };
        step.done(&measured.brief());
        works.insert(work, measured);
    }
    made.write(services, Asked::One)?;
    Ok(Row { services, brought_up_s, load, works, answer: look(&bench.ctx)? })
}

/// How much the cluster tells.
fn look(ctx: &Context) -> Result<Answer> {
    let target = ctx.target();
    let objects = ctx.run(kubectl::get_all(&target))?;
    let sizes = objects.iter().map(|object| object.to_string().len());
    let secrets = ctx.run(kubectl::get_all_secrets(&target))?;
    let revisions: Vec<usize> = secrets
        .values()
        .filter_map(|head| match head {
            kubectl::SecretHead::Release { data, .. } => Some(data.len()),
            kubectl::SecretHead::Keys { .. } => None,
        })
        .collect();
    Ok(Answer {
        objects: objects.len(),
        objects_bytes: sizes.sum(),
        revisions: revisions.len(),
        revisions_bytes: revisions.iter().sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_chosen_by_a_part_of_their_names() {
        assert_eq!(chosen(None).unwrap(), SIZES);
        assert_eq!(chosen(Some("20 services")).unwrap(), [20]);
        let refused = chosen(Some("500")).unwrap_err().to_string();
        assert_eq!(refused, "no row is called 500\nNext: one of\n  4 services\n  20 services\n  60 services");
    }
}
