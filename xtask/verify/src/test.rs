//! `test`: everything that must hold before a change lands, the quick checks first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};

use crate::changed::{Part, Scenarios, Touched, touched};
use crate::e2e;
use crate::lanes::schedule::{Lane, Limits, Requests, Takes, Turn};
use crate::lanes::times::Times;
use crate::lanes::{drive, progress};
use crate::lint;
use crate::report;
use crate::report::{Case, CaseOutcome, Suite};
use crate::tools::{actionlint, mistakes, node};
use xtask::run::annotation::Annotation;
use xtask::run::call::Call;
use xtask::run::context::{Project, profiles};
use xtask::run::exit::{Reason, Stop};
use xtask::run::poll;
use xtask::run::process::{Interrupt, Spawn};
use xtask::stages::render;
use xtask::stages::setup::Ready;
use xtask::stages::setup::packages::{self, MCP_SDK, SCHEMATHESIS};
use xtask::stages::{build, cluster, setup, values};
use xtask::tools::{cargo, docker, git, go, helm};

/// Compiling both workspaces from nothing takes minutes on two cores.
const COMPILE: Duration = Duration::from_secs(2400);
const TOOL: &str = "Cargo.toml";
const SERVICES: &str = "services/Cargo.toml";
const PAGE: &str = "test the page's scripts";
const WORKFLOWS: &str = "lint workflows";
const DATABASE: &str = "todo-chatbot-test-database";
const TIMES: &str = "test-times.json";
/// Why a check did not run to its end.
const ENDED: &str = "another check failed, or the run was interrupted";

/// What is tested.
pub struct Options<'a> {
    pub with_e2e: bool,
    /// Only what can be affected by files that differ from this commit.
    pub changed: Option<&'a str>,
    /// How many end-to-end scenarios run side by side.
    pub jobs: Option<usize>,
    /// Where the report goes.
    pub junit: Option<&'a Path>,
}

/// Checks that come one after another.
struct Checks<'a> {
    name: &'static str,
    steps: Vec<Step<'a>>,
}

/// A step, and the parts of the tests that need it.
struct Step<'a> {
    name: &'a str,
    parts: &'a [Part],
    run: Box<dyn Fn() -> Result<()> + Sync + 'a>,
}

/// Formatting, lints and units of the tool and of the services, beside them what needs the tools: charts, and the services
/// against a real PostgreSQL. Then end to end. What came of each is written as JUnit XML, however they ended.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    let touched = match options.changed {
        Some(base) => touched_since(project, base)?,
        None => Touched::everything(),
    };
    let mut suites = Vec::new();
    let ended = run_touched(project, options, &touched, &mut suites);
    let file = options.junit.map_or_else(|| project.folders.logs().join("test.xml"), Path::to_path_buf);
    let written = report::write(&file, "test", &suites);
    if written.is_ok() {
        project.ui.say(&format!("what came of each check, as JUnit XML: {}", file.display()));
    }
    ended.and(written)?;
    project.ui.summary(match options.changed {
        Some(_) => "All tests passed that the change can affect",
        None => "All tests passed",
    });
    Ok(())
}

/// Runs what is touched. What came of it is added to `suites`.
fn run_touched(project: &Project, options: &Options, touched: &Touched, suites: &mut Vec<Suite>) -> Result<()> {
    let (stop, ready) = (Interrupt::default(), OnceLock::new());
    let own = Project { spawn: Spawn { interrupt: stop.clone(), ..project.spawn.clone() }, ..project.clone() };
    let mut wanted = lanes(&own, &ready, options.with_e2e);
    for checks in &mut wanted {
        checks.steps.retain(|step| step.parts.iter().any(|part| touched.has(*part)));
    }
    wanted.retain(|checks| !checks.steps.is_empty());
    run_lanes(project, &stop, &wanted, suites)?;
    let only = match &touched.scenarios {
        Scenarios::Of(groups) => groups.iter().map(|name| format!("{name}: ")).collect(),
        Scenarios::None | Scenarios::All => Vec::new(),
    };
    if options.with_e2e && touched.has(Part::Scenarios) {
        let wanted =
            e2e::TestOptions { only: &only, weekly: Some(false), jobs: options.jobs, ..e2e::TestOptions::default() };
        e2e::run(project, &wanted, suites)?;
    }
    Ok(())
}

/// What the files touch that differ from a commit. Says why parts are left out.
fn touched_since(project: &Project, base: &str) -> Result<Touched> {
    let root = project.root.display().to_string();
    let next = "\nNext: --changed with the commit that the change is based on";
    let changed = project.run(git::changed(&root, base));
    let mut paths = changed.map_err(|error| Stop::usage(format!("{error:#}{next}")))?;
    paths.extend(project.run(git::untracked(&root))?);
    let touched = touched(&paths, &profiles(&project.root));
    project.ui.say(&format!("{} files differ from {base}", paths.len()));
    let parts = [
        ("the docs by themselves", Part::Docs),
        ("the tool", Part::Tool),
        ("the services", Part::Services),
        ("the Go modules", Part::Go),
        ("charts and manifests", Part::Charts),
        ("end to end", Part::Scenarios),
    ];
    for (name, part) in parts.into_iter().filter(|(_, part)| !touched.has(*part)) {
        project.ui.say(&format!("left out: {name}: {}", touched.reason(part)));
    }
    if let Scenarios::Of(groups) = &touched.scenarios {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        project.ui.say(&format!("end to end: of the groups only {}: nothing of the others changed", groups.join(", ")));
    }
    Ok(touched)
}

/// Three lanes: the tool's, the services' and what needs tools.
fn lanes<'a>(project: &'a Project, ready: &'a OnceLock<Ready>, with_e2e: bool) -> Vec<Checks<'a>> {
    use Part::{Charts, Docs, Go, Scenarios, Services, Tool};
    let step = |name, parts, run: Box<dyn Fn() -> Result<()> + Sync + 'a>| Step { name, parts, run };
    let cargo = |name, parts, call: fn(&str) -> Call, manifest: &'a str| {
        step(
            name,
            parts,
            Box::new(move || check(project, name, call(&project.path(manifest)), manifest, &project.spawn)),
        )
    };
    let found = |ready: &'a OnceLock<Ready>| ready.get().context("the tools are not set up");
    let mut tools = vec![
        step("test k8s/node/go", &[Go], Box::new(|| go_tests(project))),
        step(
            "set up the tools",
            &[Charts, Services, Scenarios],
            Box::new(|| {
                let made = setup::set_up(project, None)?;
                ready.set(made).map_err(|_| Stop::failed("the tools are set up twice").into())
            }),
        ),
        step("lint charts", &[Charts], Box::new(move || charts(&found(ready)?.ctx))),
    ];
    if with_e2e {
        // The schemas of manifests are the cluster's own.
        let bring_up = move || cluster::bring_up(found(ready)?).map(drop);
        tools.push(step("bring the cluster up", &[Charts, Scenarios], Box::new(bring_up)));
    }
    tools.push(step("lint profiles", &[Charts], Box::new(|| lint::run(project, None, false))));
    tools.push(step(WORKFLOWS, &[Tool], Box::new(|| workflows(project))));
    tools.push(step("test services with PostgreSQL", &[Services], Box::new(move || database_tests(found(ready)?))));
    let of_tool = vec![
        cargo("format Cargo.toml", &[Tool], cargo::fmt, TOOL),
        cargo("lint Cargo.toml", &[Tool], cargo::clippy, TOOL),
        cargo("test Cargo.toml", &[Tool], |manifest| cargo::test(manifest, threads()), TOOL),
        cargo("test the docs", &[Docs], |manifest| cargo::test_file(manifest, "xtask", "tidy", ""), TOOL),
        cargo("test what the README says", &[Docs], |it| cargo::test_file(it, "xtask", "standin", "devtools::"), TOOL),
    ];
    let of_services = vec![
        cargo("format services/Cargo.toml", &[Services], cargo::fmt, SERVICES),
        cargo("lint services/Cargo.toml", &[Services], cargo::clippy, SERVICES),
        cargo("test services/Cargo.toml", &[Services], |manifest| cargo::test(manifest, threads()), SERVICES),
        step(PAGE, &[Services], Box::new(|| page_tests(project))),
    ];
    [("tool", of_tool), ("services", of_services), ("charts", tools)].map(|(name, steps)| Checks { name, steps }).into()
}

/// Most tests of the tool wait for child processes half of the time.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from) * 3
}

/// Runs the lanes side by side. The first failure ends the others. What came of each is added to `suites`.
fn run_lanes(project: &Project, stop: &Interrupt, lanes: &[Checks], suites: &mut Vec<Suite>) -> Result<()> {
    let names = |lane: &Checks| lane.steps.iter().map(|step| step.name.to_string()).collect::<Vec<_>>();
    let labels: Vec<Vec<String>> = lanes.iter().map(names).collect();
    let times = Times::read(project, TIMES);
    let turn = |name: &String| Turn { takes: Takes::Nothing, time: times.of(name) };
    let plan = labels.iter().map(|names| Lane::new(names.iter().map(turn), Requests::default())).collect();
    let limits = Limits { jobs: lanes.len(), cpu: 0 };
    let begun: Vec<AtomicUsize> = lanes.iter().map(|_| AtomicUsize::new(0)).collect();
    let failed: Mutex<Option<Error>> = Mutex::default();
    let cases: Vec<Mutex<Vec<Case>>> = lanes.iter().map(|_| Mutex::default()).collect();
    let work = |index: usize| {
        let step = &lanes[index].steps[begun[index].fetch_add(1, Ordering::Relaxed)];
        if stop.check().is_err() {
            return;
        }
        let began = Instant::now();
        let ended = (step.run)();
        let outcome = outcome(&ended);
        let case = Case { name: step.name.to_string(), took: began.elapsed(), outcome, place: None };
        cases[index].lock().unwrap().push(case);
        if let Err(error) = ended {
            failed.lock().unwrap().get_or_insert(error);
            stop.set();
        }
    };
    let shown = project.ui.step("checks");
    drive(plan, limits, &work, &mut |plan| {
        if project.spawn.interrupt.check().is_err() {
            stop.set();
        }
        shown.update(&progress(plan, &labels, limits));
    });
    let cases = cases.into_iter().map(|cases| cases.into_inner().unwrap());
    let own: Vec<Suite> = lanes.iter().zip(cases).map(|(checks, cases)| suite(checks, cases)).collect();
    let passed = own.iter().flat_map(|suite| &suite.cases).filter(|case| case.outcome == CaseOutcome::Passed);
    let times = times.with(passed.map(|case| (case.name.clone(), case.took)));
    suites.extend(own);
    times.write(project, TIMES)?;
    project.spawn.interrupt.check()?;
    if let Some(error) = failed.into_inner().unwrap() {
        return Err(error);
    }
    shown.done("");
    Ok(())
}

/// What came of a step: one that is ended because another failed is no failure.
fn outcome(ended: &Result<()>) -> CaseOutcome {
    match ended {
        Ok(()) => CaseOutcome::Passed,
        Err(error) if error.downcast_ref::<Stop>().is_some_and(|stop| stop.reason == Reason::Interrupted) => {
            CaseOutcome::NotRun(ENDED.to_string())
        }
        Err(error) => CaseOutcome::Failed { message: format!("{error:#}"), evidence: None },
    }
}

/// The suite of a lane: the steps that ran, and those that did not.
fn suite(checks: &Checks, mut cases: Vec<Case>) -> Suite {
    let not_run = |step: &Step| {
        let outcome = CaseOutcome::NotRun(ENDED.to_string());
        Case { name: step.name.to_string(), took: Duration::ZERO, outcome, place: None }
    };
    cases.extend(checks.steps.iter().skip(cases.len()).map(not_run));
    Suite { name: checks.name.to_string(), cases }
}

/// Runs a call of cargo in the workspace of a manifest. How its tests ended is said at its end, at once.
fn check(project: &Project, name: &str, call: Call, manifest: &str, spawn: &Spawn) -> Result<()> {
    let step = project.ui.step(name);
    let (lines, all) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let show = |line: &str| {
        step.update(line.trim());
        all.lock().unwrap().push(line.to_string());
        if line.starts_with("test result:") || line.contains("panicked at") || line.ends_with("FAILED") {
            lines.lock().unwrap().push(line.to_string());
        }
    };
    let ended = spawn.run_showing(call.within(COMPILE).folder(&project.root), &show);
    // Which of many packages has how many tests matters only where one fails.
    let lines = lines.into_inner().unwrap();
    ended.inspect_err(|_| {
        if !lines.is_empty() {
            project.ui.say(&lines.join("\n"));
        }
        let workspace = Path::new(manifest).parent().unwrap_or(Path::new(""));
        project.ui.annotate(&mistakes::find(&all.into_inner().unwrap(), &project.root, workspace));
    })?;
    step.done(&passed(&lines));
    Ok(())
}

/// How many tests passed in all, by cargo's line for each file of tests.
fn passed(lines: &[String]) -> String {
    let count = |line: &String| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok();
    match lines.iter().filter_map(count).sum::<u64>() {
        0 => String::new(),
        sum => format!("{sum} tests passed"),
    }
}

/// The page needs no tool to be built, so not everyone has the one that tests it; then only a browser runs it, end to end.
fn page_tests(project: &Project) -> Result<()> {
    if which::which("node").is_err() {
        project.ui.say("node is not on PATH: the page's scripts are tested in the browser alone");
        return Ok(());
    }
    let step = project.ui.step(PAGE);
    project.run(node::test().within(COMPILE).folder(project.root.join("services/frontend")))?;
    step.done("");
    Ok(())
}

fn go_tests(project: &Project) -> Result<()> {
    if which::which("go").is_err() {
        project.ui.say("go is not on PATH: k8s/node/go is not tested");
        return Ok(());
    }
    let step = project.ui.step("test k8s/node/go");
    let mut tested = 0;
    let spawn = go::with_environment(&project.spawn);
    let folders: BTreeSet<&PathBuf> = project.config.mirrors.modules.values().map(|module| &module.folder).collect();
    for folder in folders {
        let folder = project.root.join(folder);
        if has_go_tests(&folder)? {
            spawn.run(go::test().within(COMPILE).folder(folder))?;
            tested += 1;
        }
    }
    step.done(&format!("{tested} modules have tests, and they pass"));
    Ok(())
}

fn has_go_tests(folder: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("_test.go"))))
}

/// Has the workflows for GitHub checked by a program that knows what GitHub takes.
fn workflows(project: &Project) -> Result<()> {
    let step = project.ui.step(WORKFLOWS);
    let folder = Path::new(".github/workflows");
    let entries = std::fs::read_dir(project.root.join(folder)).with_context(|| format!("cannot list {folder:?}"))?;
    let names = entries.map(|entry| Ok(folder.join(entry?.file_name()).display().to_string()));
    let mut files = names.collect::<Result<Vec<String>>>()?;
    files.sort();
    let [program] = setup::programs(project, ["actionlint"])?;
    let output = project.output(actionlint::check(&program, &files).folder(&project.root))?;
    if !output.success {
        let lines = output.stdout.lines().filter_map(actionlint::parse);
        let mistakes: Vec<Annotation> = lines.filter_map(|(place, text)| Annotation::of_text(place, text)).collect();
        project.ui.annotate(&mistakes);
        return Err(Stop::failed("actionlint refuses a workflow").with_detail(&output.tail).into());
    }
    step.done(&files.join(", "));
    Ok(())
}

fn charts(project: &Project) -> Result<()> {
    let step = project.ui.step("lint charts");
    let parent = project.root.join("helm");
    let mut linted = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let chart = entry?.path();
        let name = chart.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !chart.join("Chart.yaml").exists() || name == values::LIBRARY {
            continue;
        }
        let staged = project.staging("lint");
        render::stage_chart(&chart, &staged)?;
        let output = project.output(helm::lint(&staged.display().to_string()))?;
        if !helm::lint_is_silent(output.success, &output.tail) {
            return Err(Stop::failed(format!("helm lint --strict is not silent about {name}"))
                .with_detail(&output.tail)
                .into());
        }
        linted.push(name);
    }
    linted.sort();
    step.done(&linted.join(", "));
    Ok(())
}

/// Where the services' tests find clients that others have written, by variables. What can't be installed here is left out,
/// and that is said.
fn clients(project: &Project) -> Result<Vec<(String, String)>> {
    let mut places = Vec::new();
    for (variable, package) in [("MCP_SDK", MCP_SDK), ("SCHEMATHESIS", SCHEMATHESIS)] {
        match packages::ensure(project, &package)? {
            Ok(folder) => places.push((variable.to_string(), folder.display().to_string())),
            Err(reason) => project.ui.say(&format!("{reason}: the services are not tested with it")),
        }
    }
    Ok(places)
}

/// The services' tests that need PostgreSQL, against the image that the cluster runs.
fn database_tests(ready: &Ready) -> Result<()> {
    let ctx = &ready.ctx;
    let (built, _) = build::ensure(ready, &build::references_of(ctx, &ready.images, &["postgres"])?)?;
    let image = built.get("postgres").context("the services have no postgres")?.reference();
    let password = "test";
    let mut spawn = ctx.spawn.clone();
    spawn.env.push(("POSTGRES_PASSWORD".to_string(), password.to_string()));
    spawn.env.extend(clients(ctx)?);
    let _ = ctx.output(docker::remove_container(DATABASE));
    let label = format!("{}={}", docker::check_label(&ctx.config.project), std::process::id());
    spawn.run(docker::run_database(DATABASE, &label, &image))?;
    let tested = (|| {
        let address = ctx.run(docker::published(DATABASE, 5432))?;
        let address = address.lines().next().context("docker publishes no port of the database")?;
        let answers = poll::until(&ctx.spawn.interrupt, Duration::from_secs(60), || {
            let asked = ctx.output(docker::database_ready(DATABASE))?;
            Ok(asked.success.then_some(()))
        })?;
        answers.ok_or_else(|| Stop::failed("the test database did not come up within 60 s"))?;
        spawn.env.push(("TEST_DATABASE_URL".to_string(), format!("postgres://todo:{password}@{address}/todo")));
        check(ctx, "test services with PostgreSQL", cargo::test_ignored(&ctx.path(SERVICES)), SERVICES, &spawn)
    })();
    let removed = ctx.spawn.uninterrupted().run(docker::remove_container(DATABASE));
    tested.and(removed.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_all_files_are_counted() {
        let lines = ["test result: ok. 361 passed; 0 failed; 0 ignored", "test result: ok. 12 passed; 0 failed"];
        assert_eq!(passed(&lines.map(str::to_string)), "373 tests passed");
        assert_eq!(passed(&["test result: ok. 0 passed; 0 failed".to_string()]), "");
    }
}
