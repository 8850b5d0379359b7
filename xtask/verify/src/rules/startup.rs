//! Images and pods that start, and in time: `img.starts`, `dep.running` and `dep.health`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rules::Place::{Image, Live, Render};
use crate::rules::found::{Found, called, images, objects, workloads};
use crate::rules::{Checks, Facts, Start};
use xtask::diagnosis::pod::problems;
use xtask::model::states::PodState;
use xtask::model::time::seconds;

const RUNNING_S: i64 = 120;
const HEALTHY_S: i64 = 30;
/// How long a Deployment may take to get a pod ready, where it doesn't say.
const PROGRESS_S: i64 = 600;

/// Fails an image that does not start, or that says it needs a variable which nothing gives it; and a pod that does not start.
pub fn starts(facts: &Facts, checks: &mut Checks) {
    for (service, image) in images(facts) {
        let why = match &image.starts {
            None => {
                checks.cannot(Image, format!("{service} was not started"));
                continue;
            }
            Some(Ok(Start::Runs)) => None,
            Some(Ok(Start::Needs(name))) => {
                let given = environment(facts, service);
                let unknown = given.is_some_and(|given| !given.contains(name));
                unknown.then(|| format!("it ended with {name}, which is no variable that its container is given"))
            }
            Some(Err(why)) => Some(why.clone()),
        };
        let reference = &image.reference;
        let why = why.map(|why| format!("{reference} was started alone, and {why}: look at docker run {reference}"));
        checks.none(Image, service, why);
    }
    for service in facts.services() {
        for pod in facts.pods(service) {
            let why = problems(pod, &[])
                .first()
                .map(|problem| format!("{}: see kubectl logs, with --previous after a crash", problem.why()));
            checks.none(Live, &called(pod), why);
        }
    }
}

/// The names of the variables that the rendered container of a service is given; None where nothing was rendered.
fn environment(facts: &Facts, service: &str) -> Option<BTreeSet<String>> {
    let container = facts.container(Render, service)?;
    let entries = |list: &str| container[list].as_array().cloned().unwrap_or_default();
    let mut names: BTreeSet<String> =
        entries("env").iter().filter_map(|variable| Some(variable["name"].as_str()?.to_string())).collect();
    for from in entries("envFrom") {
        if let Some(secret) = from["secretRef"]["name"].as_str().and_then(|name| facts.config.secrets.get(name)) {
            names.extend(secret.keys().map(str::to_string));
        }
        let maps = facts.objects(Render, "ConfigMap").into_iter();
        let maps = maps.filter(|map| map["metadata"]["name"] == from["configMapRef"]["name"]);
        names.extend(maps.filter_map(|map| map["data"].as_object()).flat_map(|data| data.keys().cloned()));
    }
    Some(names)
}

/// Fails a pod that did not run in time, or does not.
pub fn running(facts: &Facts, checks: &mut Checks) {
    let now = facts.live.as_ref().and_then(|live| seconds(&live.now));
    for pod in pods(facts) {
        let made = pod.object["metadata"]["creationTimestamp"].as_str().and_then(seconds);
        let state = PodState::of(pod.object);
        let wrong = match state {
            // Of a container that was started again, the first start isn't known.
            PodState::Running | PodState::Ready if restarts(pod.object) == 0 => {
                let took = started(pod.object).zip(made).map(|(started, made)| started - made);
                took.filter(|took| *took > RUNNING_S).map(|took| format!("ran {took} s after it was made"))
            }
            PodState::Running | PodState::Ready | PodState::Restarting => None,
            PodState::Pending | PodState::ContainerCreating => {
                let since = now.zip(made).map(|(now, made)| now - made);
                since.filter(|since| *since > RUNNING_S).map(|since| format!("is {state:?} since {since} s"))
            }
            _ => Some(format!("is {state:?}")),
        };
        checks.none(
            Live,
            &pod.called(),
            wrong.map(|wrong| format!("{wrong}: it must run within {RUNNING_S} s; see cargo xtask logs")),
        );
    }
}

/// Fails a pod whose health checks did not pass in time, or do not.
pub fn health(facts: &Facts, checks: &mut Checks) {
    let now = facts.live.as_ref().and_then(|live| seconds(&live.now));
    let workloads = workloads(facts);
    for pod in pods(facts) {
        let Some(started) = started(pod.object) else { continue };
        let workload = workloads.iter().find(|found| found.place == Live && found.service == pod.service);
        let deadline =
            workload.and_then(|found| found.object["spec"]["progressDeadlineSeconds"].as_i64()).unwrap_or(PROGRESS_S);
        let rolled_out = workload.and_then(|found| rolled_out(found.object));
        let conditions = pod.object["status"]["conditions"].as_array().into_iter().flatten();
        let Some(ready) = conditions.into_iter().find(|condition| condition["type"] == "Ready") else { continue };
        let since = ready["lastTransitionTime"].as_str().and_then(seconds);
        let wrong = match ready["status"] == "True" {
            true => since.filter(|since| !was_ready_before(started, *since, rolled_out, deadline)).and_then(|since| {
                let took = since - started;
                (took > HEALTHY_S).then_some(took)
            }),
            false => now.map(|now| now - started).filter(|took| *took > HEALTHY_S),
        };
        checks.none(
            Live,
            &pod.called(),
            wrong.map(|took| {
                let message = if ready["status"] == "True" {
                    format!("was ready {took} s after its start")
                } else {
                    format!("runs since {took} s and isn't ready")
                };
                format!("{message}: its health checks must pass within {HEALTHY_S} s; see cargo xtask logs")
            }),
        );
    }
}

/// Whether a pod that became ready at `since` had been ready earlier. A rollout that ended after its start, and before that,
/// ended because it was. Where none did, as with a StatefulSet, the rollout would have failed past its deadline.
fn was_ready_before(started: i64, since: i64, rolled_out: Option<i64>, deadline: i64) -> bool {
    match rolled_out.filter(|ended| started <= *ended) {
        Some(ended) => since > ended,
        None => since - started > deadline,
    }
}

/// When a Deployment's last rollout ended, in seconds since 1970.
fn rolled_out(workload: &Value) -> Option<i64> {
    let conditions = workload["status"]["conditions"].as_array()?;
    let done =
        conditions.iter().find(|one| one["type"] == "Progressing" && one["reason"] == "NewReplicaSetAvailable")?;
    done["lastUpdateTime"].as_str().and_then(seconds)
}

/// The pods of the profile's services, apart from those of tests.
pub fn pods<'a>(facts: &'a Facts) -> Vec<Found<'a>> {
    let mut pods = objects(facts, &["Pod"]);
    pods.retain(|pod| pod.place == Live && pod.object["metadata"]["labels"]["app.kubernetes.io/component"] != "test");
    pods
}

/// When the last of a pod's containers was started, in seconds since 1970; None while one isn't.
fn started(pod: &Value) -> Option<i64> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let starts: Option<Vec<i64>> =
        statuses.iter().map(|status| status["state"]["running"]["startedAt"].as_str().and_then(seconds)).collect();
    starts?.into_iter().max()
}

fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.filter_map(|status| status["restartCount"].as_u64()).sum()
}
