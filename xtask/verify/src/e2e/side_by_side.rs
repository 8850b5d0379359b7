//! Runs lanes side by side: a thread for each scenario that runs, and one line that says how far all of them are.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::e2e::lane::{Lane, REMOVAL};
use crate::e2e::report::Suite;
use crate::e2e::schedule::{self, Limits, Requests, Takes, Turn};
use crate::e2e::times::Times;
use xtask::config::{ConfigErrors, yaml};
use xtask::diagnosis::capacity;
use xtask::model::quantity::Cpu;
use xtask::run::context::{Context, Project};
use xtask::tools::kubectl;

/// How often the line of what runs is brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Runs all scenarios of all lanes, and removes what they have made. Lanes of one group become one suite.
pub fn run(ctx: &Context, lanes: Vec<Lane>, jobs: Option<usize>) -> Result<Vec<Suite>> {
    let times = Times::read(ctx);
    let limits = limits(ctx, &lanes, jobs)?;
    let plan = lanes.iter().map(|lane| plan(ctx, lane, &times)).collect::<Result<Vec<_>>>()?;
    let lanes: Vec<Mutex<Lane>> = lanes.into_iter().map(Mutex::new).collect();
    show(ctx, &lanes, plan, limits);
    let mut suites: Vec<Suite> = Vec::new();
    for lane in lanes {
        let lane = lane.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (name, cases) = (lane.group.name.clone(), lane.into_cases());
        match suites.iter_mut().find(|suite| suite.name == name) {
            Some(suite) => suite.cases.extend(cases),
            None => suites.push(Suite { name, cases }),
        }
    }
    times.with(&suites).write(ctx)?;
    Ok(suites)
}

fn show(ctx: &Context, lanes: &[Mutex<Lane>], plan: Vec<schedule::Lane>, limits: Limits) {
    let labels: Vec<Vec<String>> = lanes.iter().map(|lane| lane.lock().unwrap().labels()).collect();
    let printing = Mutex::new(());
    let step = ctx.ui.step("end to end");
    let work = |index: usize| lanes[index].lock().unwrap().step(&printing);
    drive(plan, limits, &work, &mut |plan| step.update(&progress(plan, &labels, limits)));
    step.done(&format!("up to {} at a time", limits.jobs));
}

/// Says that a step of a lane has ended, however it ended.
struct Ended(usize, Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        // The receiver lives as long as any thread.
        let _ = self.1.send(self.0);
    }
}

/// Runs a step of a lane in a thread of its own whenever one may begin, until none is left; `show` is handed how far they
/// are, and each turn with the time that it has left.
fn drive(
    mut plan: Vec<schedule::Lane>,
    limits: Limits,
    step: &(dyn Fn(usize) + Sync),
    show: &mut dyn FnMut(&[schedule::Lane]),
) {
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        loop {
            while let Some(index) = schedule::next(&plan, limits) {
                plan[index].begin();
                let ended = Ended(index, sender.clone());
                scope.spawn(move || {
                    // All of it moves into the thread, and goes with it.
                    let ended = ended;
                    step(ended.0);
                });
            }
            if plan.iter().all(|lane| lane.running.is_none()) {
                break;
            }
            show(&plan);
            let since = Instant::now();
            match receiver.recv_timeout(TICK) {
                Ok(index) => plan[index].end(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept here"),
            }
            for turn in plan.iter_mut().filter_map(|lane| lane.running.as_mut()) {
                turn.time = turn.time.saturating_sub(since.elapsed()).max(TICK);
            }
        }
    });
}

/// What runs, how far all of it is, and how long it is likely to go on.
fn progress(plan: &[schedule::Lane], labels: &[Vec<String>], limits: Limits) -> String {
    let total: usize = labels.iter().map(Vec::len).sum();
    let waiting: usize = plan.iter().map(|lane| lane.waiting.len()).sum();
    let label = |(lane, labels): (&schedule::Lane, &Vec<String>)| {
        lane.running.map(|_| labels[labels.len() - lane.waiting.len() - 1].clone())
    };
    let running: Vec<String> = plan.iter().zip(labels).filter_map(label).collect();
    let left = schedule::rounded(schedule::time_left(plan, limits));
    format!("{} of {total} done, {left} left: {}", total - waiting - running.len(), running.join(" | "))
}

fn plan(ctx: &Context, lane: &Lane, times: &Times) -> Result<schedule::Lane> {
    let turn = |name: &str, takes| Turn { takes, time: times.of(&lane.group.label(name)) };
    let scenarios = lane.group.scenarios.iter().map(|planned| turn(planned.scenario.name, planned.scenario.takes));
    let removal = (!lane.keep).then(|| turn(REMOVAL, Takes::Nothing));
    Ok(schedule::Lane::new(scenarios.chain(removal), requests(ctx, &lane.group.profile)?))
}

/// What the pods of a profile request, by its snapshot, which `lint` holds to what is rendered.
fn requests(project: &Project, profile: &str) -> Result<Requests> {
    let file = format!("helm/snapshots/{profile}.yaml");
    let text = fs::read_to_string(project.root.join(&file)).with_context(|| format!("cannot read {file}"))?;
    let objects = yaml::objects(&text).map_err(|problem| ConfigErrors(vec![problem]))?;
    Ok(sum(&objects))
}

fn sum(objects: &[Value]) -> Requests {
    let mut sum = Requests::default();
    for object in objects {
        let pod = &object["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().into_iter().flatten();
        let cpu = containers.filter_map(|one| Cpu::from_value(&one["resources"]["requests"]["cpu"]).ok());
        let cpu: u64 = cpu.map(Cpu::millis).sum();
        sum.held += cpu * object["spec"]["replicas"].as_u64().unwrap_or(1);
        if object["kind"] == "Deployment" {
            sum.surge = sum.surge.max(cpu);
        }
    }
    sum
}

/// As many jobs as were asked for, and the CPU that pods of others leave.
fn limits(ctx: &Context, lanes: &[Lane], jobs: Option<usize>) -> Result<Limits> {
    let all = ctx.run(kubectl::get_everywhere(&ctx.target(), "nodes,pods"))?;
    let own: BTreeSet<String> = lanes.iter().flat_map(|lane| lane.world.ctx.config.namespaces()).collect();
    let (nodes, pods): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|object| object["kind"] == "Node");
    let foreign = |pod: &Value| !own.contains(pod["metadata"]["namespace"].as_str().unwrap_or_default());
    let others: Vec<Value> = pods.into_iter().filter(foreign).collect();
    let cpu = |node: &Value, of: &str| Cpu::from_value(&node["status"][of]["cpu"]).map_or(0, Cpu::millis);
    let free = |node: &Value| {
        let held = capacity::requested(node, &others).get("cpu").copied().unwrap_or(0);
        cpu(node, "allocatable").saturating_sub(held)
    };
    let cpus: u64 = nodes.iter().map(|node| cpu(node, "capacity") / 1000).sum();
    let jobs = jobs.unwrap_or(usize::try_from(cpus)? + 1);
    Ok(Limits { jobs, cpu: nodes.iter().map(free).sum() })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_those_of_all_pods_and_of_the_largest_that_is_replaced() {
        let workload = |kind: &str, replicas: u64, cpu: &[&str]| {
            let container = |cpu: &&str| json!({"resources": {"requests": {"cpu": cpu}}});
            let containers: Vec<Value> = cpu.iter().map(container).collect();
            json!({"kind": kind, "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
        };
        let objects = [
            json!({"kind": "Service", "spec": {}}),
            workload("Deployment", 2, &["100m", "50m"]),
            workload("Deployment", 1, &["0.2"]),
            workload("StatefulSet", 1, &["1"]),
        ];
        assert_eq!(sum(&objects), Requests { held: 1500, surge: 200 });
    }

    fn lane(takes: &[Takes]) -> schedule::Lane {
        let turn = |takes: &Takes| Turn { takes: *takes, time: Duration::from_secs(60) };
        schedule::Lane::new(takes.iter().map(turn), Requests::default())
    }

    #[test]
    fn lanes_run_side_by_side_and_each_does_one_thing_at_a_time() {
        let plan = vec![lane(&[Takes::Room; 20]), lane(&[Takes::Room; 20]), lane(&[Takes::All; 3])];
        let (at_work, meeting) = (Mutex::new(Vec::new()), Barrier::new(2));
        let step = |index: usize| {
            let mut now = at_work.lock().unwrap();
            assert!(!now.contains(&index), "lane {index} does two things at a time");
            assert!(index != 2 || now.is_empty(), "beside what takes everything there is {now:?}");
            now.push(index);
            drop(now);
            // None of the first two gets on without the other.
            if index != 2 {
                meeting.wait();
            }
            at_work.lock().unwrap().retain(|one| *one != index);
        };
        let mut most = 0;
        drive(plan, Limits { jobs: 2, cpu: 0 }, &step, &mut |plan| {
            most = most.max(plan.iter().filter(|lane| lane.running.is_some()).count());
        });
        assert_eq!(most, 2);
    }

    #[test]
    fn what_runs_is_named_with_how_far_all_is() {
        let labels = [vec!["a: one".to_string(), "a: two".to_string()], vec!["b: three".to_string()]];
        let mut plan = vec![lane(&[Takes::Room; 2]), lane(&[Takes::Room])];
        let limits = Limits { jobs: 2, cpu: 0 };
        plan.iter_mut().for_each(schedule::Lane::begin);
        assert_eq!(progress(&plan, &labels, limits), "0 of 3 done, about 2 min left: a: one | b: three");
        plan[0].end();
        plan[0].begin();
        plan[1].end();
        assert_eq!(progress(&plan, &labels, limits), "2 of 3 done, about 60 s left: a: two");
    }
}
