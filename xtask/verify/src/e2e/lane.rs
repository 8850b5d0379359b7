//! One namespace and the scenarios that take turns in it.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::e2e::groups::{Group, Planned, State};
use crate::e2e::world::World;
use crate::report::{Case, CaseOutcome};
use xtask::run::call::call;
use xtask::run::exit::indent;
use xtask::run::process::Interrupt;
use xtask::tools::kubectl;

const INTERRUPTED: &str = "interrupted";
/// What the removal of a namespace is called, which ends its lane.
pub const REMOVAL: &str = "is removed";

/// The scenarios of a group that have not run, and what came of the others.
pub struct Lane<'a> {
    pub group: &'a Group,
    pub world: World,
    /// The namespace stays.
    pub keep: bool,
    waiting: VecDeque<&'a Planned>,
    course: Course,
}

/// What came of the scenarios so far.
#[derive(Default)]
struct Course {
    cases: Vec<Case>,
    /// What is known of the namespace.
    state: Option<State>,
    /// Why no other scenario is run.
    why_not: Option<String>,
}

impl<'a> Lane<'a> {
    pub fn new(group: &'a Group, world: World, keep: bool) -> Lane<'a> {
        Lane { group, world, keep, waiting: group.scenarios.iter().collect(), course: Course::default() }
    }

    /// Runs the next scenario; after the last one removes what the group has made. What there is to say of a scenario is said
    /// at its end, at once.
    pub fn step(&mut self, printing: &Mutex<()>) {
        let Some(planned) = self.waiting.pop_front() else { return self.end(printing) };
        let (group, world, keep) = (self.group, &self.world, self.keep);
        self.course.run(
            planned,
            &world.ctx.spawn.interrupt,
            |now| {
                world.said.lock().unwrap().clear();
                let step = world.ctx.ui.step(group.label(planned.scenario.name));
                (step, establish(world, now, planned.begins))
            },
            |step, begun| {
                let ended = begun.and_then(|()| prove(world, planned));
                let outcome = judge(world, group, planned, keep, ended);
                let _printing = printing.lock().unwrap();
                match outcome == CaseOutcome::Passed {
                    true => step.done(""),
                    false => drop(step),
                }
                if let CaseOutcome::Failed { message, .. } = &outcome {
                    world.ctx.ui.error(&format!("{}\n{}", group.label(planned.scenario.name), indent(message)));
                }
                world.remarks.lock().unwrap().drain(..).for_each(|line| world.ctx.ui.say(&line));
                outcome
            },
        );
    }

    /// What its steps are called.
    pub fn labels(&self) -> Vec<String> {
        let removal = (!self.keep).then(|| self.group.label(REMOVAL));
        self.group.labels().into_iter().chain(removal).collect()
    }

    pub fn into_cases(self) -> Vec<Case> {
        self.course.cases
    }

    /// What an interruption left may stay: the next run removes it, and a person waits.
    fn end(&mut self, printing: &Mutex<()>) {
        let ui = &self.world.ctx.ui;
        let is_interrupted = self.world.ctx.spawn.interrupt.check().is_err();
        if self.keep || self.course.state == Some(State::Gone) || is_interrupted {
            return;
        }
        let began = Instant::now();
        if let Err(error) = remove(&self.world)
            && self.world.ctx.spawn.interrupt.check().is_ok()
        {
            let message = format!("{error:#}");
            let _printing = printing.lock().unwrap();
            ui.error(&format!("{}\n{}", self.group.label(REMOVAL), indent(&message)));
            let outcome = CaseOutcome::Failed { message, evidence: None };
            let name = REMOVAL.to_string();
            self.course.cases.push(Case { name, took: began.elapsed(), outcome, place: None });
        }
    }
}

impl Course {
    /// Takes a scenario from the state that it begins with to what came of it. Where such a state can't be had, no other is
    /// run.
    fn run<T>(
        &mut self,
        planned: &Planned,
        interrupt: &Interrupt,
        begin: impl FnOnce(Option<State>) -> (T, Result<()>),
        end: impl FnOnce(T, Result<()>) -> CaseOutcome,
    ) {
        let (name, place) = (planned.scenario.name.to_string(), Some(planned.scenario.place));
        if interrupt.check().is_err() {
            self.why_not = Some(INTERRUPTED.to_string());
        }
        if let Some(why) = &self.why_not {
            self.cases.push(Case { name, took: Duration::ZERO, outcome: CaseOutcome::NotRun(why.clone()), place });
            return;
        }
        let began = Instant::now();
        let (shown, begun) = begin(self.state);
        if begun.is_err() {
            self.why_not = Some(format!("\"{name}\" could not begin, nor from nothing"));
        }
        let outcome = end(shown, begun);
        // What a failure leaves is anybody's guess.
        self.state = (outcome == CaseOutcome::Passed).then_some(planned.leaves);
        self.cases.push(Case { name, took: began.elapsed(), outcome, place });
    }
}

/// What came of a scenario. Keeps the evidence.
fn judge(world: &World, group: &Group, planned: &Planned, keep: bool, ended: Result<()>) -> CaseOutcome {
    let kept = |failed| {
        let kept = keep_evidence(world, &group.name, planned.scenario.name, failed);
        world.remark(match &kept {
            Ok(folder) => format!("evidence is in {}", folder.display()),
            Err(error) => format!("no evidence could be kept: {error:#}"),
        });
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
        Err(error) => CaseOutcome::Failed { message: format!("{error:#}"), evidence: kept(true) },
    }
}

/// Sees to the state that a scenario begins with; `now` is what the one before has left, if that is known.
fn establish(world: &World, now: Option<State>, wanted: State) -> Result<()> {
    match (now, wanted) {
        (Some(now), wanted) if now == wanted => Ok(()),
        (_, State::Any) => Ok(()),
        (_, State::Gone) => remove(world),
        (_, State::Running) => {
            let output = world.xtask(&["up", "--yes"])?;
            if output.success {
                return Ok(());
            }
            world.remark("up failed before the scenario; once more from nothing".to_string());
            remove(world)?;
            world.up().map(drop)
        }
    }
    .context("what the scenario begins with could not be had")
}

fn prove(world: &World, planned: &Planned) -> Result<()> {
    (planned.scenario.prove)(world)?;
    match planned.leaves {
        State::Gone | State::Any => Ok(()),
        State::Running => world.up().map(drop).context("after the scenario the application could not be put right"),
    }
}

fn remove(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::e2e::scenario::Scenario;
    use crate::e2e::{contributor, faults};

    fn planned(name: &'static str) -> Planned {
        let scenario = Scenario::new(name, |_| Ok(()));
        Planned { scenario, begins: State::Running, leaves: State::Running }
    }

    fn outcomes(cases: &[Case]) -> Vec<(&str, CaseOutcome)> {
        cases.iter().map(|case| (case.name.as_str(), case.outcome.clone())).collect()
    }

    fn failed() -> CaseOutcome {
        CaseOutcome::Failed { message: "it broke".to_string(), evidence: None }
    }

    #[test]
    fn a_scenario_that_fails_keeps_no_other_from_running_and_leaves_nothing_known() {
        let (mut course, mut known) = (Course::default(), Vec::new());
        for name in ["a", "b", "c"] {
            course.run(
                &planned(name),
                &Interrupt::default(),
                |now| {
                    known.push(now);
                    ((), Ok(()))
                },
                |(), _| if name == "b" { failed() } else { CaseOutcome::Passed },
            );
        }
        assert_eq!(outcomes(&course.cases), [("a", CaseOutcome::Passed), ("b", failed()), ("c", CaseOutcome::Passed)]);
        assert_eq!(known, [None, Some(State::Running), None]);
        assert_eq!(course.state, Some(State::Running));
    }

    #[test]
    fn what_can_not_begin_ends_its_lane_and_says_why() {
        let mut course = Course::default();
        for name in ["a", "b"] {
            let begin = |_| ((), Err(anyhow::anyhow!("no cluster")));
            let end = |(), begun: Result<()>| begun.map_or_else(|_| failed(), |()| CaseOutcome::Passed);
            course.run(&planned(name), &Interrupt::default(), begin, end);
        }
        let why = CaseOutcome::NotRun("\"a\" could not begin, nor from nothing".to_string());
        assert_eq!(outcomes(&course.cases), [("a", failed()), ("b", why)]);
        assert_eq!(course.state, None);
    }

    #[test]
    fn after_an_interruption_nothing_begins() {
        let (mut course, interrupt) = (Course::default(), Interrupt::default());
        interrupt.set();
        course.run(&planned("a"), &interrupt, |_| unreachable!("it begins"), |(), _| unreachable!("it ends"));
        assert_eq!(outcomes(&course.cases), [("a", CaseOutcome::NotRun(INTERRUPTED.to_string()))]);
    }

    #[test]
    fn the_folders_of_a_group_s_evidence_differ() {
        let faults: Vec<Scenario> = faults::PODS.iter().chain(faults::OTHERS).copied().collect();
        for scenarios in [contributor::SCENARIOS, &faults] {
            let folders: BTreeSet<String> = scenarios.iter().map(|scenario| slug(scenario.name)).collect();
            assert_eq!(folders.len(), scenarios.len(), "{folders:?}");
        }
        assert_eq!(slug("helm's own test passes, and fails - for each"), "helms-own-test-passes-and-fails-for-each");
    }
}
