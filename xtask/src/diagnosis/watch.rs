//! Looks at a release again and again while something of it is waited for: what goes wrong is reported once, as soon as it is
//! seen, and its log is kept, for the pod may be gone when the failure is reported.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::diagnosis::capacity::{cordoned, has_room_soon, shortages};
use crate::diagnosis::cause::{Cause, Log, Problem};
use crate::diagnosis::pod::refine;
use crate::diagnosis::release;
use crate::diagnosis::release::Hook;
use crate::live;
use crate::model::time;
use crate::run::clock::now;
use crate::run::context::{Context, Scope};
use crate::run::process::{Interrupt, Spawn};
use crate::tools::kubectl;

const LOG_LINES: u32 = 12;
/// How far apart looks are while helm works.
const PAUSE: Duration = Duration::from_millis(500);
/// How long helm may wait for a hook before that is reported.
const HOOK_QUIET: Duration = Duration::from_secs(10);
/// The scheduler's backoff, after which it asks again as a rule.
const SCHEDULER_QUIET: Duration = Duration::from_secs(5);
/// How long after a closer look what is behind a problem is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a rollout may take before it is asked whether nodes are away: most are over by then, and it is one more call.
const NODES_AFTER: Duration = Duration::from_secs(20);

/// A problem with what its log says last; None where that is not known yet, or there is none.
#[derive(Clone)]
pub struct Found {
    pub problem: Problem,
    pub log: Option<String>,
}

/// Why nothing more is waited for.
pub struct Failure {
    pub what: String,
    pub found: Vec<Found>,
    /// A tool's own last words.
    pub said: Option<String>,
    pub deadline: bool,
}

pub struct Watch<'a> {
    ctx: &'a Context,
    scope: &'a Scope,
    known: Vec<SeenProblem>,
    began: Instant,
    /// The nodes when they were last looked at.
    nodes: Option<(Instant, Vec<Value>)>,
}

/// A problem that was seen.
struct SeenProblem {
    /// As the last look showed it, by which it is known again.
    seen: Problem,
    /// With what is behind it, where that could be found out.
    found: Found,
    since: Instant,
    looked_closer: Option<Instant>,
    is_reported: bool,
    /// It was there at the last look.
    present: bool,
}

impl<'a> Watch<'a> {
    pub fn new(ctx: &'a Context, scope: &'a Scope) -> Watch<'a> {
        Watch { ctx, scope, known: Vec::new(), began: Instant::now(), nodes: None }
    }

    /// All that one look shows; one process, whatever there is.
    pub fn look(&self) -> Result<Vec<Value>> {
        live::objects(self.ctx, &self.scope.target, release::KINDS)
    }

    /// The nodes, once the wait has lasted; None before, and where these rights do not show them.
    pub fn nodes(&mut self) -> Option<&[Value]> {
        let due = self.nodes.as_ref().is_none_or(|(looked, _)| looked.elapsed() >= LOOK_AGAIN);
        if due && self.began.elapsed() >= NODES_AFTER {
            let nodes = self.ctx.run(kubectl::get(&self.scope.target, "nodes", None)).unwrap_or_default();
            self.nodes = Some((Instant::now(), nodes));
        }
        self.nodes.as_ref().map(|(_, nodes)| nodes.as_slice()).filter(|nodes| !nodes.is_empty())
    }

    /// What a signal ends fails too, and that is no failure of what is watched.
    pub fn check_interrupt(&self) -> Result<()> {
        self.ctx.spawn.interrupt.check()
    }

    /// Notes the problems of a look, and tells those that are new. Returns the one that ends the wait.
    pub fn note(&mut self, problems: Vec<Problem>, objects: &[Value]) -> Option<Problem> {
        self.known.iter_mut().for_each(|known| known.present = false);
        for problem in problems {
            let index = self.known.iter().position(|known| known.seen.is_same(&problem)).unwrap_or_else(|| {
                self.known.push(SeenProblem::new(problem.clone()));
                self.known.len() - 1
            });
            self.known[index].meet(problem);
            self.look_closer(index, objects);
            self.tell(index);
        }
        // If it comes back, its grace period starts again.
        self.known.iter_mut().filter(|known| !known.present).for_each(|known| known.since = Instant::now());
        let ends = |known: &&SeenProblem| {
            let grace = known.found.problem.grace;
            known.present && grace.is_some_and(|grace| known.since.elapsed() >= grace)
        };
        self.known.iter().find(ends).map(|known| known.found.problem.clone())
    }

    /// What is known of these problems, the gravest first.
    pub fn found(&self, problems: Vec<Problem>) -> Vec<Found> {
        let known = |problem: Problem| {
            let known = self.known.iter().find(|known| known.seen.is_same(&problem));
            known.map_or(Found { problem, log: None }, |known| known.found.clone())
        };
        gravest_first(problems.into_iter().map(known).collect())
    }

    /// All that was noted since the beginning, there or not, the gravest first; of what was counted, the last. That a hook
    /// is waited for says nothing more where it is known why.
    pub fn all(&self) -> Vec<Found> {
        let again = |one: &SeenProblem, other: &SeenProblem| {
            let (one, other) = (&one.seen, &other.seen);
            (&one.object, &one.container) == (&other.object, &other.container)
                && one.cause.times() < other.cause.times()
        };
        let waits = |known: &&SeenProblem| matches!(known.seen.cause, Cause::HookRuns { .. });
        let only_waits = self.known.iter().all(|known| waits(&known));
        let last = self.known.iter().filter(|one| !self.known.iter().any(|other| again(one, other)));
        let last = last.filter(|known| only_waits || !waits(known));
        gravest_first(last.map(|known| known.found.clone()).collect())
    }

    fn tell(&mut self, index: usize) {
        let known = &mut self.known[index];
        let quiet = match known.seen.cause {
            Cause::HookRuns { .. } => HOOK_QUIET,
            Cause::Overlooked => SCHEDULER_QUIET,
            _ => Duration::ZERO,
        };
        if known.is_reported || known.since.elapsed() < quiet {
            return;
        }
        known.is_reported = true;
        let Found { problem, log } = &known.found;
        // What was taken from the log need not be reported twice.
        let plain = known.found.problem.is_same(&known.seen);
        let last = log.as_ref().filter(|_| plain).and_then(|log| log.lines().rfind(|line| !line.trim().is_empty()));
        let last = last.map(|line| format!("; its log ends with \"{}\"", line.trim())).unwrap_or_default();
        self.ctx.ui.say(&format!("{}{last}", describe_problem(problem)));
    }

    /// Reads what the objects alone don't tell: the log, and who holds what a pod lacks.
    fn look_closer(&mut self, index: usize, objects: &[Value]) {
        let known = &mut self.known[index];
        let again = known.looked_closer.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        let due = match known.seen.cause {
            // What is behind these may show later.
            Cause::Unschedulable { .. } | Cause::ProbeFails { .. } | Cause::HookRuns { .. } => again,
            _ => known.looked_closer.is_none(),
        };
        if !due {
            return;
        }
        known.looked_closer = Some(Instant::now());
        if matches!(known.seen.cause, Cause::Unschedulable { .. }) {
            return self.measure(index, objects);
        }
        let Some(log) = known.seen.log.clone() else { return };
        if let Some(text) = read_log(self.ctx, self.scope, &log) {
            let refined = refine(known.seen.clone(), &text, &release::image(objects, &log));
            known.found.log = Some(text);
            known.understand(refined);
        }
    }

    /// What a pod lacks, from all pods of all nodes. While others that leave will make room, it is waited for.
    fn measure(&mut self, index: usize, objects: &[Value]) {
        let known = &mut self.known[index];
        let name = known.seen.object.name.as_str();
        let pod = objects.iter().find(|one| one["kind"] == "Pod" && one["metadata"]["name"] == name);
        let call = kubectl::get_everywhere(&self.scope.target, "nodes,pods");
        let asked = self.ctx.run(call);
        // What can't be had now is reported in the scheduler's own words.
        let (Some(pod), Ok(all)) = (pod, asked) else { return };
        let (nodes, pods): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|one| one["kind"] == "Node");
        let closed = cordoned(&nodes);
        if !closed.is_empty() {
            return known.understand(Problem { cause: Cause::Cordoned { nodes: closed }, ..known.seen.clone() });
        }
        if has_room_soon(pod, &nodes, &pods) {
            known.since = Instant::now();
        }
        if let Cause::Unschedulable { message, .. } = known.seen.cause.clone() {
            let cause = Cause::Unschedulable { message, shortages: shortages(pod, &nodes, &pods) };
            known.understand(Problem { cause, ..known.seen.clone() });
        }
    }
}

impl SeenProblem {
    fn new(problem: Problem) -> SeenProblem {
        let found = Found { problem: problem.clone(), log: None };
        SeenProblem {
            seen: problem,
            found,
            since: Instant::now(),
            looked_closer: None,
            is_reported: false,
            present: false,
        }
    }

    /// The same problem at another look: what was found out of it holds, but for its words.
    fn meet(&mut self, problem: Problem) {
        if self.found.problem == self.seen {
            self.found.problem = problem.clone();
        }
        self.seen = problem;
        self.present = true;
    }

    /// Notes what is behind it; another cause than was seen is reported, and has a grace of its own.
    fn understand(&mut self, problem: Problem) {
        if !self.found.problem.is_same(&problem) {
            self.is_reported = false;
            self.since = Instant::now();
        }
        self.found.problem = problem;
    }
}

/// Watches a release while `work`, which gets a way to spawn, is at it: an interruption or a problem that won't pass ends
/// what it spawns. Returns what `work` did, and how the watch ended.
pub fn beside<T: Send>(
    watch: &mut Watch,
    hooks: &[Hook],
    wanted: &[Value],
    work: impl FnOnce(&Spawn) -> T + Send,
) -> (T, Ended) {
    // Helm waits for nothing but hooks.
    if hooks.is_empty() {
        return (work(&watch.ctx.spawn), Ended::default());
    }
    // What is there already is not this work's doing; where that can't be known, nothing is judged.
    let Ok(there) = watch.look() else { return (work(&watch.ctx.spawn), Ended::default()) };
    let before: BTreeSet<String> = there.iter().filter_map(uid).collect();
    let stop = Interrupt::default();
    let spawn = Spawn { interrupt: stop.clone(), ..watch.ctx.spawn.clone() };
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let working = threads.spawn(|| {
            let worked = work(&spawn);
            done.store(true, Ordering::Relaxed);
            worked
        });
        let mut ended = Ended::default();
        while !wait(&done, PAUSE) {
            if ended.by.is_some() || watch.ctx.spawn.interrupt.check().is_err() {
                stop.set();
                continue;
            }
            // A look that fails is no reason to end what is under way.
            let Ok(objects) = watch.look() else { continue };
            let is_fresh = |one: &Value| uid(one).is_none_or(|uid| !before.contains(&uid));
            let fresh: Vec<Value> = objects.into_iter().filter(is_fresh).collect();
            let mut problems = release::hook_problems(&fresh, hooks);
            problems.extend(release::problems(&fresh, &watch.scope.release, wanted));
            let hook = release::waited_for(&fresh, hooks);
            problems.extend(hook.clone());
            ended.hook = hook.or(ended.hook);
            ended.by = watch.note(problems, &fresh);
        }
        (working.join().expect("the work does not panic"), ended)
    })
}

/// How work that was watched ended.
#[derive(Default)]
pub struct Ended {
    /// What made waiting longer useless.
    pub by: Option<Problem>,
    /// The hook that was waited for last.
    pub hook: Option<Problem>,
}

/// `pod a, container b: why, since 12:00:00 UTC, 4 s ago`.
pub fn describe_problem(problem: &Problem) -> String {
    let since = problem.since.as_deref().and_then(|since| {
        let clock = time::clock(since)?;
        Some(format!(", since {clock} UTC, {} ago", time::ago(now() - time::seconds(since)?)))
    });
    format!("{}: {}{}", problem.subject(), problem.why(), since.unwrap_or_default())
}

/// The last lines of a log; None where it can't be had.
pub fn read_log(ctx: &Context, scope: &Scope, log: &Log) -> Option<String> {
    let call = kubectl::logs(&scope.target, &log.pod, &log.container, log.previous, LOG_LINES);
    let output = ctx.output(call).ok()?;
    output.success.then(|| output.stdout.trim_end().to_string())
}

/// Waits for a while, or until it is done, which it returns.
fn wait(done: &AtomicBool, pause: Duration) -> bool {
    let started = Instant::now();
    while !done.load(Ordering::Relaxed) && started.elapsed() < pause {
        std::thread::sleep(Duration::from_millis(20));
    }
    done.load(Ordering::Relaxed)
}

fn gravest_first(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| found.problem.grace.unwrap_or(Duration::MAX));
    found
}

fn uid(object: &Value) -> Option<String> {
    object["metadata"]["uid"].as_str().map(str::to_string)
}
