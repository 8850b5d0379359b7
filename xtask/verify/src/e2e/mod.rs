//! `test-e2e`: the commands that a contributor types, against the real cluster, each profile in namespaces of its own.

mod app;
mod axe;
mod browser;
mod clusters;
mod conformance;
mod contributor;
mod database;
mod dev;
mod failing;
mod faults;
mod fourth;
mod groups;
mod hello;
mod lane;
mod leftovers;
mod model;
mod page;
mod person;
mod published;
mod scenario;
mod sealed;
mod secrets;
mod side_by_side;
mod stand_in;
mod targets;
mod world;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::report;
use crate::report::{CaseOutcome, Suite};
use groups::{Group, choose, groups};
use lane::Lane;
use world::{FOREIGN_KUBECONFIG, World};
use xtask::model::tools::Tools;
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::process::Spawn;
use xtask::stages::{cluster, setup};

/// Which scenarios are run, and how.
#[derive(Default)]
pub struct TestOptions<'a> {
    /// The namespaces stay.
    pub keep: bool,
    /// Those whose "GROUP: NAME" holds one of these; all of them without any.
    pub only: &'a [String],
    /// How many run at a time; by default as many as the node has CPUs, and one more, as many wait.
    pub jobs: Option<usize>,
    /// Where the report goes.
    pub junit: Option<&'a Path>,
    /// The major version of another helm than the one that was found.
    pub helm: Option<&'a str>,
}

/// Names the scenarios, or those whose "GROUP: NAME" holds one of `only`.
pub fn list(project: &Project, only: &[String]) -> Result<()> {
    let groups = choose(groups(project)?, only)?;
    let names: Vec<String> = groups.iter().flat_map(Group::labels).collect();
    project.ui.answer(&names.join("\n"), json!({ "scenarios": names }));
    Ok(())
}

/// Runs the scenarios that are wanted. One that fails leaves evidence in files, and the others run all the same. What a
/// group made is removed at its end, unless `keep`. What came of them is added to `suites`, and written as JUnit XML, also
/// where none could begin.
pub fn run(project: &Project, wanted: &TestOptions, suites: &mut Vec<Suite>) -> Result<()> {
    let groups = choose(groups(project)?, wanted.only)?;
    let file = wanted.junit.map_or_else(|| project.folders.logs().join("e2e.xml"), Path::to_path_buf);
    let (own, begun) = match prove(project, wanted, &groups) {
        Ok(own) => (own, Ok(())),
        Err(error) => (vec![report::not_begun("end to end", &error)], Err(error)),
    };
    let written = report::write(&file, "test-e2e", &own);
    let ended = begun.and_then(|()| judge(project, &own, &file));
    suites.extend(own);
    ended.and(written)
}

/// What came of the scenarios of these groups.
fn prove(project: &Project, wanted: &TestOptions, groups: &[Group]) -> Result<Vec<Suite>> {
    let TestOptions { keep, jobs, helm, .. } = *wanted;
    let ready = setup::set_up(project, None)?;
    browser::ensure_there(project)?;
    cluster::bring_up(&ready)?;
    let mut ctx = ready.ctx.clone();
    fs::create_dir_all(&ctx.folders.cache)?;
    let kubeconfig = ctx.folders.cache.join("foreign-kubeconfig");
    fs::write(&kubeconfig, FOREIGN_KUBECONFIG)?;
    // The children set up their own environment: they get the user's, with a kubeconfig that would lead them astray.
    let pair = |name: &str, value: String| (name.to_string(), value);
    let mut env =
        vec![pair("KUBECONFIG", kubeconfig.display().to_string()), pair("HELM_KUBECONTEXT", "production".to_string())];
    if let Some(major) = helm {
        let tools = Tools { helm: setup::helm(project, major)?, ..ctx.tools.clone() };
        ctx = Context::new(project, tools);
        // What comes first on PATH and can do the work is what the children take.
        let folder = Path::new(&ctx.tools.helm.path).parent().context("helm lies in a folder")?;
        env.push(pair("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())));
    }
    let spawn = Spawn { env, ..ctx.spawn.clone() };
    let lane = |group| Ok(Lane::new(group, world(&ctx, group, &kubeconfig, &spawn)?, keep));
    let lanes: Vec<Lane> = groups.iter().map(lane).collect::<Result<_>>()?;
    side_by_side::run(&ctx, lanes, jobs)
}

/// Shows what came of the scenarios; an error unless all passed.
fn judge(project: &Project, suites: &[Suite], file: &Path) -> Result<()> {
    tell(project, suites, file);
    project.ui.annotate(&report::annotations(suites));
    project.spawn.interrupt.check()?;
    let counts = report::count(suites);
    if counts.failed + counts.not_run == 0 {
        return Ok(());
    }
    let failed = suites.iter().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
    let first = failed
        .filter(|(_, case)| matches!(case.outcome, CaseOutcome::Failed { .. }))
        .map(|(suite, case)| report::label(suite, case))
        .next();
    let message = format!("end to end: {} failed, {} not run", counts.failed, counts.not_run);
    let next = first.unwrap_or_default();
    Err(Stop::failed(format!("{message}\nNext: cargo xtask test-e2e --keep --only \"{next}\"")).into())
}

fn world(ctx: &Context, group: &Group, kubeconfig: &Path, spawn: &Spawn) -> Result<World> {
    let mut spawn = spawn.clone();
    let mut project = match group.project {
        Some(folder) => {
            spawn = hello::spawn(spawn)?;
            ctx.of_project(&ctx.root.join(folder), &group.profile)?
        }
        None => ctx.of_profile(&group.profile)?,
    };
    let mut options = vec!["--profile".to_string(), group.profile.clone()];
    if let Some(namespace) = group.namespace {
        project.config.move_to(namespace).map_err(Stop::usage)?;
        options = vec!["--namespace".to_string(), namespace.to_string()];
    }
    let ctx = Context::new(&project, ctx.tools.clone());
    let (target, kubeconfig, has_alias) = (ctx.target(), kubeconfig.to_path_buf(), group.project.is_some());
    Ok(World { ctx, spawn, target, options, has_alias, kubeconfig, said: Mutex::default(), remarks: Mutex::default() })
}

/// Shows the report, and where it lies as JUnit XML.
fn tell(project: &Project, suites: &[Suite], file: &Path) {
    let counts = report::count(suites);
    let message = format!("{} passed, {} failed, {} not run", counts.passed, counts.failed, counts.not_run);
    let mut value = report::value(suites);
    value["junit"] = file.display().to_string().into();
    let text = format!("{}end to end: {message}; as JUnit XML in {}", report::text(suites), file.display());
    project.ui.answer(&text, value);
}
