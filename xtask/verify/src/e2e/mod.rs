//! `test-e2e`: the commands that a contributor types, against the real cluster, each profile in namespaces of its own.

mod browser;
mod contributor;
mod dev;
mod faults;
mod fourth;
mod hello;
mod leftovers;
mod page;
mod published;
mod report;
mod secrets;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use report::{Case, CaseOutcome, Suite};
use world::{World, tells};
use xtask::model::tools::Tools;
use xtask::run::call::call;
use xtask::run::context::{Context, Project, profiles};
use xtask::run::exit::{Stop, indent};
use xtask::run::process::{Interrupt, Spawn};
use xtask::stages::{cluster, setup};
use xtask::tools::kubectl;

const DEV: &str = "dev";
const INTERRUPTED: &str = "interrupted";
/// A kubeconfig as a user may have it: nothing of it may change, and nothing may be done to what it points at.
const FOREIGN_KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: production\ncontexts:\n- name: production\n  context: {cluster: production, user: me}\nclusters:\n- name: production\n  cluster: {server: \"https://127.0.0.1:1\"}\nusers:\n- name: me\n  user: {}\n";

/// A promise with the function that proves it.
type Scenario = (&'static str, fn(&World) -> Result<()>);

/// Scenarios that share a namespace, and are removed with it.
struct Group {
    name: String,
    profile: String,
    /// In place of the profile's own.
    namespace: Option<&'static str>,
    /// The folder of a project other than this one, relative to the root.
    project: Option<&'static str>,
    scenarios: Vec<Planned>,
}

/// A scenario between what it begins with and what it leaves. No scenario needs another: the state that one needs is
/// made where the one before has not left it.
struct Planned {
    scenario: Scenario,
    begins: State,
    leaves: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of the profile is in the cluster.
    Gone,
    /// The application runs as it is described.
    Running,
}

/// Which scenarios are run, and how.
#[derive(Default)]
pub struct TestOptions<'a> {
    /// The namespaces stay.
    pub keep: bool,
    /// Those whose "GROUP: NAME" holds this.
    pub only: Option<&'a str>,
    /// Where the report goes.
    pub junit: Option<&'a Path>,
    /// The major version of another helm than the one that was found.
    pub helm: Option<&'a str>,
}

/// Names the scenarios, or those whose "GROUP: NAME" holds `only`.
pub fn list(project: &Project, only: Option<&str>) -> Result<()> {
    let groups = choose(groups(project)?, only)?;
    let names: Vec<String> = groups.iter().flat_map(Group::labels).collect();
    project.ui.answer(&names.join("\n"), json!({ "scenarios": names }));
    Ok(())
}

/// Runs the scenarios that are wanted. One that fails leaves evidence in files, and the others run all the same. What a
/// group made is removed at its end, unless `keep`.
pub fn run(project: &Project, wanted: &TestOptions) -> Result<()> {
    let TestOptions { keep, only, junit, helm } = *wanted;
    let groups = choose(groups(project)?, only)?;
    let ready = setup::set_up(project, None)?;
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
    let mut suites = Vec::new();
    for group in &groups {
        suites.push(run_group(&world(&ctx, group, &kubeconfig, &spawn)?, group, keep));
    }
    let file = junit.map_or_else(|| ctx.folders.logs().join("e2e.xml"), Path::to_path_buf);
    tell(&ctx, &suites, &file)?;
    ctx.spawn.interrupt.check()?;
    let counts = report::count(&suites);
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

/// All there are, the contributor's own first: it is what the others build upon.
fn groups(project: &Project) -> Result<Vec<Group>> {
    let running = |scenario: &Scenario| Planned { scenario: *scenario, begins: State::Running, leaves: State::Running };
    let comes_up = |scenario| Planned { scenario, begins: State::Gone, leaves: State::Running };
    let mut groups = vec![
        Group {
            name: DEV.to_string(),
            profile: DEV.to_string(),
            namespace: Some(contributor::NAMESPACE),
            project: None,
            scenarios: std::iter::once(comes_up(contributor::COMES_UP))
                .chain(contributor::SCENARIOS.iter().map(running))
                .collect(),
        },
        Group {
            name: "faults".to_string(),
            profile: DEV.to_string(),
            namespace: Some(faults::NAMESPACE),
            project: None,
            scenarios: faults::SCENARIOS.iter().map(running).collect(),
        },
    ];
    for name in profiles(&project.root).into_iter().filter(|name| name != DEV) {
        let mut scenarios = vec![comes_up(published::COMES_UP)];
        scenarios.extend(published::scenarios(&project.of_profile(&name)?)?.iter().map(running));
        scenarios.push(Planned { scenario: published::GOES_AWAY, begins: State::Running, leaves: State::Gone });
        groups.push(Group { profile: name.clone(), name, namespace: None, project: None, scenarios });
    }
    if project.root.join(hello::PROJECT).exists() {
        groups.push(Group {
            name: "hello".to_string(),
            profile: DEV.to_string(),
            namespace: Some(hello::NAMESPACE),
            project: Some(hello::PROJECT),
            scenarios: vec![
                comes_up(hello::COMES_UP),
                running(&hello::CHANGES_NOTHING),
                Planned { scenario: hello::GOES_AWAY, begins: State::Running, leaves: State::Gone },
            ],
        });
    }
    Ok(groups)
}

/// The groups with those of their scenarios whose label holds `only`.
fn choose(groups: Vec<Group>, only: Option<&str>) -> Result<Vec<Group>> {
    let Some(only) = only else { return Ok(groups) };
    let chosen = groups.into_iter().filter_map(|mut group| {
        let name = group.name.clone();
        group.scenarios.retain(|planned| label(&name, planned).contains(only));
        (!group.scenarios.is_empty()).then_some(group)
    });
    let chosen: Vec<Group> = chosen.collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => {
            let message = format!("no scenario is called {only}\nNext: cargo xtask test-e2e --list");
            Err(Stop::usage(message).into())
        }
    }
}

impl Group {
    fn labels(&self) -> Vec<String> {
        self.scenarios.iter().map(|planned| label(&self.name, planned)).collect()
    }
}

fn label(group: &str, planned: &Planned) -> String {
    format!("{group}: {}", planned.scenario.0)
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
    Ok(World { ctx, spawn, target, options, has_alias, kubeconfig, said: Mutex::default() })
}

fn run_group(world: &World, group: &Group, keep: bool) -> Suite {
    let interrupt = &world.ctx.spawn.interrupt;
    let (mut cases, state) = in_turn(
        &group.scenarios,
        interrupt,
        |now, planned| {
            world.said.lock().unwrap().clear();
            establish(world, now, planned.begins)
        },
        |planned, begun| {
            let step = world.ctx.ui.step(label(&group.name, planned));
            let ended = begun.and_then(|()| prove(world, planned));
            match ended.is_ok() {
                true => step.done(""),
                false => drop(step),
            }
            judge(world, &group.name, planned, keep, ended)
        },
    );
    // What an interruption left may stay: the next run removes it, and a person waits.
    if !keep && state != Some(State::Gone) && interrupt.check().is_ok() {
        let began = Instant::now();
        if let Err(error) = remove(world) {
            let outcome = CaseOutcome::Failed { message: format!("{error:#}"), evidence: None };
            cases.push(Case { name: "is removed".to_string(), took: began.elapsed(), outcome });
        }
    }
    Suite { name: group.name.clone(), cases }
}

/// Takes each scenario from the state that it begins with to what came of it. Where such a state can't be had, the rest is
/// not run. Returns what is known of the state at the end, too.
fn in_turn(
    scenarios: &[Planned],
    interrupt: &Interrupt,
    begin: impl Fn(Option<State>, &Planned) -> Result<()>,
    end: impl Fn(&Planned, Result<()>) -> CaseOutcome,
) -> (Vec<Case>, Option<State>) {
    let (mut cases, mut state, mut why_not) = (Vec::new(), None, None);
    for planned in scenarios {
        let name = planned.scenario.0.to_string();
        if interrupt.check().is_err() {
            why_not = Some(INTERRUPTED.to_string());
        }
        if let Some(why) = &why_not {
            cases.push(Case { name, took: Duration::ZERO, outcome: CaseOutcome::NotRun(why.clone()) });
            continue;
        }
        let began = Instant::now();
        let begun = begin(state, planned);
        if begun.is_err() {
            why_not = Some(format!("\"{name}\" could not begin, nor from nothing"));
        }
        let outcome = end(planned, begun);
        // What a failure leaves is anybody's guess.
        state = (outcome == CaseOutcome::Passed).then_some(planned.leaves);
        cases.push(Case { name, took: began.elapsed(), outcome });
    }
    (cases, state)
}

/// Shows what came of a scenario, and keeps the evidence.
fn judge(world: &World, group: &str, planned: &Planned, keep: bool, ended: Result<()>) -> CaseOutcome {
    let (ui, label) = (&world.ctx.ui, label(group, planned));
    let kept = |failed| {
        let kept = keep_evidence(world, group, planned.scenario.0, failed);
        match &kept {
            Ok(folder) => ui.say(&format!("evidence is in {}", folder.display())),
            Err(error) => ui.say(&format!("no evidence could be kept: {error:#}")),
        }
        kept.ok()
    };
    match ended {
        Ok(()) => {
            if keep {
                kept(false);
            }
            CaseOutcome::Passed
        }
        Err(_) if world.ctx.spawn.interrupt.check().is_err() => CaseOutcome::NotRun(INTERRUPTED.to_string()),
        Err(error) => {
            let message = format!("{error:#}");
            ui.error(&format!("{label}\n{}", indent(&message)));
            CaseOutcome::Failed { message, evidence: kept(true) }
        }
    }
}

/// Sees to the state that a scenario begins with; `now` is what the one before has left, if that is known.
fn establish(world: &World, now: Option<State>, wanted: State) -> Result<()> {
    match (now, wanted) {
        (Some(now), wanted) if now == wanted => Ok(()),
        (_, State::Gone) => remove(world),
        (_, State::Running) => {
            let output = world.xtask(&["up", "--yes"])?;
            if output.success {
                return Ok(());
            }
            world.ctx.ui.say("up failed before the scenario; once more from nothing");
            remove(world)?;
            world.up().map(drop)
        }
    }
    .context("what the scenario begins with could not be had")
}

fn prove(world: &World, planned: &Planned) -> Result<()> {
    let (_, scenario) = planned.scenario;
    scenario(world)?;
    match planned.leaves {
        State::Gone => Ok(()),
        State::Running => world.up().map(drop).context("after the scenario the application could not be put right"),
    }
}

fn remove(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    Ok(())
}

/// Shows the report and writes it as JUnit XML.
fn tell(ctx: &Context, suites: &[Suite], file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, report::junit(suites)).with_context(|| format!("cannot write {}", file.display()))?;
    let counts = report::count(suites);
    let message = format!("{} passed, {} failed, {} not run", counts.passed, counts.failed, counts.not_run);
    let mut value = report::value(suites);
    value["junit"] = file.display().to_string().into();
    ctx.ui.answer(&format!("{}end to end: {message}; as JUnit XML in {}", report::text(suites), file.display()), value);
    Ok(())
}

/// Saves what was typed and said, and of a failure what a person would look at next; Secrets are not among it. What one
/// tool can't tell must not hide the rest.
fn keep_evidence(world: &World, group: &str, scenario: &str, failed: bool) -> Result<PathBuf> {
    let folder = world.ctx.folders.state.join("evidence").join(group).join(slug(scenario));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("commands.txt"), &*world.said.lock().unwrap())?;
    if !failed {
        return Ok(folder);
    }
    let spawn = world.ctx.spawn.uninterrupted();
    let printed = |argv| match spawn.output(call(argv)) {
        Ok(output) if output.success => output.stdout,
        Ok(output) => output.tail,
        Err(error) => format!("{error:#}"),
    };
    let kinds = [
        "pods",
        "deployments,statefulsets,replicasets,jobs,services,configmaps",
        "events",
        "persistentvolumeclaims,resourcequotas,limitranges",
    ];
    for kinds in kinds {
        let text = printed(kubectl::get(&world.target, kinds, None).argv);
        fs::write(folder.join(format!("{}.json", kinds.replace(',', "-"))), text)?;
    }
    for pod in world.pods().unwrap_or_default() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            for (previous, ending) in [(false, "log"), (true, "previous.log")] {
                let text = printed(kubectl::logs(&world.target, name, container, previous, 1000).argv);
                fs::write(folder.join(format!("{name}-{container}.{ending}")), text)?;
            }
        }
    }
    Ok(folder)
}

/// A scenario's name as that of a folder.
fn slug(name: &str) -> String {
    let word = |word: &str| word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let words: Vec<String> = name.split([' ', '-']).map(word).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    fn group(name: &str, scenarios: &[&'static str]) -> Group {
        let planned = |name: &&'static str| Planned {
            scenario: (*name, |_| Ok(())),
            begins: State::Running,
            leaves: State::Running,
        };
        let scenarios = scenarios.iter().map(planned).collect();
        Group { name: name.to_string(), profile: DEV.to_string(), namespace: None, project: None, scenarios }
    }

    #[test]
    fn a_text_chooses_groups_and_scenarios() {
        let all = || vec![group("dev", &["comes up", "goes away"]), group("rolling", &["comes up"])];
        let labels =
            |only| choose(all(), only).map(|groups| groups.iter().flat_map(Group::labels).collect::<Vec<_>>()).unwrap();
        assert_eq!(labels(None), ["dev: comes up", "dev: goes away", "rolling: comes up"]);
        assert_eq!(labels(Some("dev")), ["dev: comes up", "dev: goes away"]);
        assert_eq!(labels(Some("comes up")), ["dev: comes up", "rolling: comes up"]);
        assert_eq!(labels(Some("rolling: comes")), ["rolling: comes up"]);
        let none = choose(all(), Some("nothing")).err().unwrap().to_string();
        assert_eq!(none, "no scenario is called nothing\nNext: cargo xtask test-e2e --list");
    }

    fn outcomes(cases: &[Case]) -> Vec<(&str, CaseOutcome)> {
        cases.iter().map(|case| (case.name.as_str(), case.outcome.clone())).collect()
    }

    fn failed() -> CaseOutcome {
        CaseOutcome::Failed { message: "it broke".to_string(), evidence: None }
    }

    #[test]
    fn a_scenario_that_fails_keeps_no_other_from_running_and_leaves_nothing_known() {
        let asked = RefCell::new(Vec::new());
        let (cases, state) = in_turn(
            &group("dev", &["a", "b", "c"]).scenarios,
            &Interrupt::default(),
            |now, planned| {
                asked.borrow_mut().push((planned.scenario.0, now));
                Ok(())
            },
            |planned, _| if planned.scenario.0 == "b" { failed() } else { CaseOutcome::Passed },
        );
        assert_eq!(outcomes(&cases), [("a", CaseOutcome::Passed), ("b", failed()), ("c", CaseOutcome::Passed)]);
        assert_eq!(asked.into_inner(), [("a", None), ("b", Some(State::Running)), ("c", None)]);
        assert_eq!(state, Some(State::Running));
    }

    #[test]
    fn what_can_not_begin_ends_its_group_and_says_why() {
        let (cases, state) = in_turn(
            &group("dev", &["a", "b"]).scenarios,
            &Interrupt::default(),
            |_, _| anyhow::bail!("no cluster"),
            |_, begun| begun.map_or_else(|_| failed(), |()| CaseOutcome::Passed),
        );
        let why = CaseOutcome::NotRun("\"a\" could not begin, nor from nothing".to_string());
        assert_eq!(outcomes(&cases), [("a", failed()), ("b", why)]);
        assert_eq!(state, None);
    }

    #[test]
    fn the_folders_of_a_group_s_evidence_differ() {
        for scenarios in [contributor::SCENARIOS, faults::SCENARIOS] {
            let folders: BTreeSet<String> = scenarios.iter().map(|(name, _)| slug(name)).collect();
            assert_eq!(folders.len(), scenarios.len(), "{folders:?}");
        }
        assert_eq!(slug("helm's own test passes, and fails - for each"), "helms-own-test-passes-and-fails-for-each");
    }
}
