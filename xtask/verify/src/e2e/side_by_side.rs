//! Runs lanes side by side: a thread for each scenario that runs, and one line that says how far all of them are.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::e2e::lane::{Lane, REMOVAL};
use crate::lanes::schedule::{self, Limits, Requests, Takes, Turn};
use crate::lanes::times::Times;
use crate::lanes::{drive, progress};
use crate::report::{Case, CaseOutcome, Suite, label};
use xtask::config::{ConfigErrors, yaml};
use xtask::diagnosis::capacity;
use xtask::model::quantity::Cpu;
use xtask::run::context::{Context, Project};
use xtask::tools::kubectl;

const TIMES: &str = "e2e-times.json";

/// Runs all scenarios of all lanes, and removes what they have made. Lanes of one group become one suite.
pub fn run(ctx: &Context, lanes: Vec<Lane>, jobs: Option<usize>) -> Result<Vec<Suite>> {
    let times = Times::read(ctx, TIMES);
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
    let passed = |case: &&Case| case.outcome == CaseOutcome::Passed;
    let cases = suites.iter().flat_map(|suite| suite.cases.iter().filter(passed).map(move |case| (suite, case)));
    times.with(cases.map(|(suite, case)| (label(suite, case), case.took))).write(ctx, TIMES)?;
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

fn plan(ctx: &Context, lane: &Lane, times: &Times) -> Result<schedule::Lane> {
    let turn = |name: &str, takes| Turn { takes, time: times.of(&lane.group.label(name)) };
    let scenarios = lane.group.scenarios.iter().map(|planned| turn(planned.scenario.name, planned.scenario.takes));
    let removal = (!lane.keep).then(|| turn(REMOVAL, Takes::Nothing));
    let namespaces = lane.world.ctx.config.namespaces();
    let cpu = requests(ctx, &lane.group.profile)?;
    Ok(schedule::Lane { namespaces, ..schedule::Lane::new(scenarios.chain(removal), cpu) })
}

/// What the pods of a profile request, by its snapshot, which `lint` holds to what is rendered.
fn requests(project: &Project, profile: &str) -> Result<Requests> {
    let file = format!("helm/snapshots/{profile}.yaml");
    let text = fs::read_to_string(project.root.join(&file))
        .with_context(|| format!("cannot read {file}\nNext: cargo xtask lint --update --profile {profile}"))?;
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
    // With more, each is slowed by as much as is gained, until probes fail and requests are lost.
    let jobs = jobs.unwrap_or(usize::try_from(cpus / 2)?.max(1));
    Ok(Limits { jobs, cpu: nodes.iter().map(free).sum() })
}

#[cfg(test)]
mod tests {
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
}
