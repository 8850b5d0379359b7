//! What keeps a pod from running, from the pod and the events about it as the API server tells them.

use std::time::Duration;

use serde_json::Value;

use crate::diagnosis::cause::{Cause, Log, Object, Problem};
use crate::diagnosis::events;
use crate::model::time;

/// Image loads, config maps and volumes settle: what looks hopeless is believed once it has lasted.
const SETTLES: Duration = Duration::from_secs(5);
/// Whatever takes room may leave.
const ROOM: Duration = Duration::from_secs(10);
/// Reasons that the kubelet retries.
const TRIED_AGAIN: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::ZERO;

/// The problems of a pod; none for one that is well, or just starting. `seen` has the events.
pub fn problems(pod: &Value, seen: &[Value]) -> Vec<Problem> {
    let mut found: Vec<Problem> =
        [unscheduled(pod), put_off(pod), unmounted(pod, seen)].into_iter().flatten().collect();
    for status in statuses(pod) {
        found.extend(stuck(pod, status).or_else(|| crashed(pod, status, seen)).or_else(|| failing(pod, status, seen)));
    }
    found
}

/// Containers that are not ready for no reason that `problems` knows, for a wait that has run out.
pub fn unready(pod: &Value, seen: &[Value]) -> Vec<Problem> {
    let list = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let unready = list.filter(|status| status["ready"] != true && !status["state"]["terminated"].is_object());
    let line = unready.map(|status| {
        if status["state"]["running"].is_object() {
            let starts = status["started"] == false;
            let (probe, message, since) = unhealthy(pod, status, seen)
                .map(|found| (found.probe, found.message, found.since))
                .unwrap_or((if starts { "startup" } else { "readiness" }.to_string(), String::new(), None));
            let since = since.or_else(|| text(&status["state"]["running"]["startedAt"]));
            return of_container(pod, status, Cause::ProbeFails { probe, message }, since, Some(false), None);
        }
        if let Some(init) = running_init(pod) {
            let message = format!("init container {} has not ended", init["name"].as_str().unwrap_or_default());
            let since = text(&init["state"]["running"]["startedAt"]);
            return of_container(pod, status, Cause::NotRunning { message }, since, None, None);
        }
        let last = events::about(seen, pod, &["Pulling", "Pulled", "Created", "Scheduled"]).pop();
        let message = match (text(&status["state"]["waiting"]["reason"]), last.map(events::message)) {
            (Some(reason), Some(event)) => format!("{reason}, after \"{event}\""),
            (reason, event) => reason.or(event.map(str::to_string)).unwrap_or("no reason given".to_string()),
        };
        of_container(
            pod,
            status,
            Cause::NotRunning { message },
            last.and_then(events::first).map(str::to_string),
            None,
            None,
        )
    });
    line.collect()
}

/// The init container that the others wait for; one that always goes on is a sidecar.
fn running_init(pod: &Value) -> Option<&Value> {
    let described = pod["spec"]["initContainers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let goes_on = |name: &Value| described.iter().any(|one| one["name"] == *name && one["restartPolicy"] == "Always");
    let mut statuses = pod["status"]["initContainerStatuses"].as_array()?.iter();
    statuses.find(|init| init["state"]["running"].is_object() && !goes_on(&init["name"]))
}

/// The pods that a rollout is about: those that stay and are of their workload's template. Where none is, those of each
/// service that are of the youngest pod's template. Another one may well be broken: it is being replaced.
pub fn current<'a>(pods: &[&'a Value], workloads: &[&Value]) -> Vec<&'a Value> {
    let staying = || pods.iter().copied().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
    let label = |pod: &Value, name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_string();
    let service = |pod: &Value| label(pod, "app.kubernetes.io/name");
    let template = |pod: &Value| (label(pod, "pod-template-hash"), label(pod, "controller-revision-hash"));
    let is_wanted = |pod: &Value| workloads.iter().any(|workload| is_of_template(pod, &workload["spec"]["template"]));
    staying()
        .filter(|pod| {
            let siblings = || staying().filter(|other| service(other) == service(pod));
            if siblings().any(is_wanted) {
                return is_wanted(pod);
            }
            let youngest =
                siblings().max_by_key(|other| other["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
            youngest.is_none_or(|youngest| template(youngest) == template(pod))
        })
        .collect()
}

/// Whether a pod was made from a template as it is now: what differs between one and the next is in its labels, its
/// annotations or its containers.
fn is_of_template(pod: &Value, template: &Value) -> bool {
    if !template["spec"]["containers"].is_array() {
        return false;
    }
    let holds = |key: &str| {
        let mut entries = template["metadata"][key].as_object().into_iter().flatten();
        entries.all(|(name, value)| pod["metadata"][key][name.as_str()] == *value)
    };
    let fields =
        ["image", "command", "args", "env", "envFrom", "resources", "livenessProbe", "readinessProbe", "startupProbe"];
    let same = |container: &Value| {
        let own = spec_of(pod, container);
        own.is_object() && fields.iter().all(|field| own[*field] == container[*field])
    };
    let list = |spec: &Value, name: &str| spec["spec"][name].as_array().cloned().unwrap_or_default();
    // As many, too: a pod with one more is of another template, or of an admission webhook's making.
    let all_same = |name: &str| {
        let containers = list(template, name);
        containers.len() == list(pod, name).len() && containers.iter().all(same)
    };
    holds("labels") && holds("annotations") && all_same("containers") && all_same("initContainers")
}

/// Whether a container of the pod is still on its way by its own rules: its startup probe has not failed as often as it
/// may, or its image is being pulled.
pub fn is_starting(pod: &Value, seen: &[Value], now: i64) -> bool {
    let starting = |status: &Value| {
        let probe = &spec_of(pod, status)["startupProbe"];
        let number = |key: &str, otherwise: i64| probe[key].as_i64().unwrap_or(otherwise);
        let may_take = number("initialDelaySeconds", 0) + number("periodSeconds", 10) * number("failureThreshold", 3);
        let started = status["state"]["running"]["startedAt"].as_str().and_then(time::seconds);
        let first = status["restartCount"].as_u64().unwrap_or(0) == 0;
        first && status["started"] == false && started.is_some_and(|started| now < started + may_take)
    };
    let pulls = || {
        let last = events::about(seen, pod, &["Pulling", "Pulled", "Failed", "BackOff"]).pop();
        last.is_some_and(|event| event["reason"] == "Pulling")
    };
    statuses(pod).any(starting) || pulls()
}

/// The same problem, when the log tells what is behind it.
pub fn refine(problem: Problem, log: &str, image: &str) -> Problem {
    if log.contains("exec format error") {
        let cause = Cause::WrongProcessor { image: image.to_string() };
        return Problem { cause, grace: Some(AT_ONCE), ..problem };
    }
    if !matches!(problem.cause, Cause::ProbeFails { .. }) {
        return problem;
    }
    // What a service logs about its database, the newest line first.
    let describe =
        |line: &str| match (after(line, "the migrations failed: "), after(line, "the database can't be reached")) {
            _ if line.contains("migrations done") => Some(None),
            (Some(message), _) => {
                // A lock held by another session for a while is no fault of the migration.
                let grace = (!message.contains("lock timeout")).then_some(SETTLES);
                Some(Some((Cause::Migration { message }, grace)))
            }
            (None, Some(message)) => {
                Some(Some((Cause::Database { message: message.trim_start_matches([':', ' ']).to_string() }, None)))
            }
            (None, None) => None,
        };
    match log.lines().rev().find_map(describe).flatten() {
        Some((cause, grace)) => Problem { cause, grace, ..problem },
        None => problem,
    }
}

/// What a line of a log says after some words; of a line that is JSON, its message.
fn after(line: &str, words: &str) -> Option<String> {
    let read: Option<Value> = line.find('{').and_then(|start| serde_json::from_str(&line[start..]).ok());
    let message = read.and_then(|object| text(&object["message"])).unwrap_or_else(|| line.to_string());
    Some(message.split_once(words)?.1.to_string())
}

/// A pod for which the scheduler finds no node.
pub fn unscheduled(pod: &Value) -> Option<Problem> {
    let condition = conditions(pod).find(|one| one["type"] == "PodScheduled" && one["status"] == "False")?;
    let message = condition["message"].as_str().unwrap_or("no node takes it");
    // The scheduler's note on preemption adds nothing.
    let message =
        message.split(". preemption:").next().unwrap_or(message).split(", preemption:").next().unwrap_or(message);
    let pressures = [("memory-pressure", "memory"), ("disk-pressure", "disk space"), ("pid-pressure", "process IDs")];
    let pressure = pressures.iter().find(|(taint, _)| message.contains(&format!("node.kubernetes.io/{taint}")));
    let (cause, grace) = match pressure {
        Some((_, what)) => {
            (Cause::NodePressure { message: format!("the node is short of {what}: {message}") }, Some(TRIED_AGAIN))
        }
        None => {
            // The claim has a problem of its own, or gets its volume soon.
            let grace = (!message.contains("PersistentVolumeClaim")).then_some(ROOM);
            (Cause::Unschedulable { message: message.to_string(), shortages: Vec::new() }, grace)
        }
    };
    Some(of_pod(pod, cause, text(&condition["lastTransitionTime"]), grace))
}

/// A pod that its node did not keep, or did not take after all. Its controller makes another one.
fn put_off(pod: &Value) -> Option<Problem> {
    let status = &pod["status"];
    let reason = status["reason"].as_str().filter(|_| status["phase"] == "Failed")?;
    let message = format!("{reason}: {}", status["message"].as_str().unwrap_or("no more is reported").trim());
    let when = conditions(pod).filter(|one| one["type"] == "DisruptionTarget" || one["type"] == "Ready");
    let since = when.filter_map(|one| text(&one["lastTransitionTime"])).max();
    Some(of_pod(pod, Cause::Evicted { message }, since, None))
}

/// A pod whose containers can't be made yet, for what the kubelet says.
fn unmounted(pod: &Value, seen: &[Value]) -> Option<Problem> {
    let waits = |status: &Value| {
        matches!(status["state"]["waiting"]["reason"].as_str(), Some("ContainerCreating" | "PodInitializing"))
    };
    if !statuses(pod).any(waits) {
        return None;
    }
    let reasons = ["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"];
    // A kubelet that has not read all of its maps yet says so too.
    let event =
        events::about(seen, pod, &reasons).into_iter().rfind(|one| !events::message(one).contains("failed to sync"))?;
    let message = events::message(event).to_string();
    let since = events::first(event).map(str::to_string);
    Some(match event["reason"] == "FailedCreatePodSandBox" {
        true => of_pod(pod, Cause::CannotStart { message }, since, Some(TRIED_AGAIN)),
        false => {
            let grace = if message.contains(" not found") { SETTLES } else { TRIED_AGAIN };
            of_pod(pod, Cause::Volumes { message }, since, Some(grace))
        }
    })
}

/// A container that was never made, or could not be started.
fn stuck(pod: &Value, status: &Value) -> Option<Problem> {
    let waiting = &status["state"]["waiting"];
    let message = || waiting["message"].as_str().unwrap_or_default().trim().to_string();
    let image = || status["image"].as_str().unwrap_or_default().to_string();
    let ended = terminated(status).filter(|ended| {
        matches!(ended["reason"].as_str(), Some("StartError" | "ContainerCannotRun"))
            && !status["state"]["running"].is_object()
    });
    let cause = match waiting["reason"].as_str().unwrap_or_default() {
        "ErrImageNeverPull" => Cause::ImageAbsent { image: image() },
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageInspect" | "RegistryUnavailable" => {
            match message().contains("no match for platform") {
                true => Cause::WrongProcessor { image: image() },
                false => Cause::ImageRefused { image: image(), message: message() },
            }
        }
        // A kubelet that has just started knows no Service yet: it says so, and tries again.
        "CreateContainerConfigError" if message().contains("not yet been read") => return None,
        "CreateContainerConfigError" => Cause::Configuration { message: message() },
        "CreateContainerError" | "RunContainerError" => start_error(pod, status, message()),
        _ => start_error(pod, status, text(&ended?["message"])?),
    };
    let since = ended.and_then(|ended| text(&ended["finishedAt"])).or_else(|| {
        let created = conditions(pod).filter(|one| one["type"] == "PodScheduled");
        created.filter_map(|one| text(&one["lastTransitionTime"])).next()
    });
    let grace = if is_pulled_again(&cause) { TRIED_AGAIN } else { SETTLES };
    Some(of_container(pod, status, cause, since, None, Some(grace)))
}

/// Whether a registry may give an image at the next try: it was away, or did not know the node yet. Not one that it does not
/// have, or whose name is none.
fn is_pulled_again(cause: &Cause) -> bool {
    let is_final = |message: &str| ["not found", "nvalid"].iter().any(|word| message.contains(word));
    matches!(cause, Cause::ImageRefused { message, .. } if !is_final(message))
}

fn start_error(pod: &Value, status: &Value, message: String) -> Cause {
    match () {
        _ if message.contains("exec format error") => {
            Cause::WrongProcessor { image: status["image"].as_str().unwrap_or_default().to_string() }
        }
        // The kernel ended what was to become the container.
        _ if message.contains("OOM-killed") => Cause::OutOfMemory { times: 1, limit: memory_limit(pod, status) },
        _ => Cause::CannotStart { message: message.trim().to_string() },
    }
}

fn crashed(pod: &Value, status: &Value, seen: &[Value]) -> Option<Problem> {
    let restarts = status["restartCount"].as_u64().unwrap_or(0);
    let (ended, last) = (&status["state"]["terminated"], &status["lastState"]["terminated"]);
    let backs_off = status["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    // One that has ended and was not started again yet counts beside those that were.
    let (how, times, previous) = match () {
        _ if ended.is_object() => (ended, restarts + 1, false),
        _ if backs_off => (last, restarts + 1, true),
        _ if restarts > 0 && last.is_object() && status["ready"] != true => (last, restarts, true),
        _ => return None,
    };
    // It has been ready since: what it lacks now is another matter.
    let started = status["state"]["running"]["startedAt"].as_str().and_then(time::seconds);
    if started.is_some_and(|started| unready_since(pod).and_then(time::seconds).is_some_and(|since| since > started)) {
        return None;
    }
    let killed = killed_by_probe(pod, status, how, seen);
    if killed.is_none() && how["exitCode"] == 0 && !backs_off {
        return None;
    }
    let cause = match (killed, how["reason"].as_str()) {
        (Some((probe, message)), _) => Cause::KilledByProbe { times, probe, message },
        (None, Some("OOMKilled")) => Cause::OutOfMemory { times, limit: memory_limit(pod, status) },
        _ => Cause::Crashed { times, ending: ending(how) },
    };
    // One crash may be a start that came too early; a second one is a fault, and the kubelet's backing off tells that it
    // followed the first: restarts are counted for as long as the pod lives, over those of the node too. What does not
    // restart is judged by its owner, as a Job does by its backoffLimit.
    let starts_again = pod["spec"]["restartPolicy"].as_str().is_none_or(|policy| policy == "Always");
    let grace = (times > 1 && backs_off && starts_again).then_some(AT_ONCE);
    Some(of_container(pod, status, cause, text(&how["finishedAt"]), Some(previous), grace))
}

/// A container that runs and has not become ready for longer than a start takes. A startup probe that fails is no
/// problem until the kubelet loses its grace with it.
fn failing(pod: &Value, status: &Value, seen: &[Value]) -> Option<Problem> {
    if status["ready"] == true || status["started"] == false || !status["state"]["running"].is_object() {
        return None;
    }
    let found = unhealthy(pod, status, seen)?;
    let probe = &spec_of(pod, status)[format!("{}Probe", found.probe)];
    let number = |key: &str, otherwise: i64| probe[key].as_i64().unwrap_or(otherwise);
    // Twice as long as makes it unready.
    let start_takes = number("periodSeconds", 10) * (2 * number("failureThreshold", 3) - 1);
    if found.probe == "startup" || found.lasted < start_takes.max(10) {
        return None;
    }
    let cause = Cause::ProbeFails { probe: found.probe, message: found.message };
    Some(of_container(pod, status, cause, found.since, Some(false), None))
}

/// The probe that failed last, what it met with, since when, and for how many seconds until its last event.
struct Unhealthy {
    probe: String,
    message: String,
    since: Option<String>,
    lasted: i64,
}

/// Only what happened since the container has not been ready: an event may have begun with its start, days ago.
fn unhealthy(pod: &Value, status: &Value, seen: &[Value]) -> Option<Unhealthy> {
    let event = of_this(events::about(seen, pod, &["Unhealthy"]), status).pop()?;
    let (kind, message) = events::message(event).split_once(" probe ")?;
    let began = [unready_since(pod), status["state"]["running"]["startedAt"].as_str()];
    let since = began.into_iter().flatten().max_by_key(|text| time::seconds(text))?.to_string();
    let lasted = events::last(event).and_then(time::seconds)? - time::seconds(&since)?;
    (lasted >= 0).then(|| Unhealthy {
        probe: kind.to_lowercase(),
        message: message.trim_start_matches("failed:").trim_start_matches("errored:").trim().to_string(),
        since: Some(since),
        lasted,
    })
}

/// The probe for which the kubelet ended a container, and what that probe had met with.
fn killed_by_probe(pod: &Value, status: &Value, how: &Value, seen: &[Value]) -> Option<(String, String)> {
    let at = |key: &str| how[key].as_str().and_then(time::seconds);
    let (started, finished) = (at("startedAt")?, at("finishedAt")?);
    let killing = of_this(events::about(seen, pod, &["Killing"]), status).into_iter().rfind(|event| {
        events::last(event).and_then(time::seconds).is_some_and(|when| (started..=finished + 1).contains(&when))
    })?;
    let words = events::message(killing);
    let probe = ["liveness", "startup"].into_iter().find(|probe| words.contains(&format!("failed {probe} probe")))?;
    let failed = of_this(events::about(seen, pod, &["Unhealthy"]), status);
    let message = failed.into_iter().rev().find_map(|event| {
        let (kind, message) = events::message(event).split_once(" probe failed:")?;
        kind.eq_ignore_ascii_case(probe).then(|| message.trim().to_string())
    });
    Some((probe.to_string(), message.unwrap_or_default()))
}

/// The events that name this container of the pod.
fn of_this<'a>(events: Vec<&'a Value>, status: &Value) -> Vec<&'a Value> {
    let name = status["name"].as_str().unwrap_or_default();
    let names = |event: &&Value| {
        let path = event["involvedObject"]["fieldPath"].as_str();
        path.is_none_or(|path| path.ends_with(&format!("{{{name}}}")))
    };
    events.into_iter().filter(names).collect()
}

fn of_pod(pod: &Value, cause: Cause, since: Option<String>, grace: Option<Duration>) -> Problem {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_string();
    Problem { object: Object { kind: "pod".to_string(), name }, container: None, cause, since, log: None, grace }
}

/// `previous`: which log tells more, the present container's or that of the one before; None: neither.
fn of_container(
    pod: &Value,
    status: &Value,
    cause: Cause,
    since: Option<String>,
    previous: Option<bool>,
    grace: Option<Duration>,
) -> Problem {
    let of_pod = of_pod(pod, cause, since, grace);
    let container = status["name"].as_str().unwrap_or_default().to_string();
    let log = previous.map(|previous| Log { pod: of_pod.object.name.clone(), container: container.clone(), previous });
    Problem { container: Some(container), log, ..of_pod }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
}

fn conditions(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["conditions"].as_array().into_iter().flatten()
}

/// Since when not all containers of the pod are ready.
fn unready_since(pod: &Value) -> Option<&str> {
    let unready = conditions(pod).find(|one| one["type"] == "ContainersReady" && one["status"] == "False");
    unready.and_then(|one| one["lastTransitionTime"].as_str())
}

/// The container as the pod's spec has it; null where there is none.
fn spec_of<'a>(pod: &'a Value, status: &Value) -> &'a Value {
    let lists = ["initContainers", "containers"].into_iter().flat_map(|list| pod["spec"][list].as_array()).flatten();
    lists.into_iter().find(|one| one["name"] == status["name"]).unwrap_or(&Value::Null)
}

fn memory_limit(pod: &Value, status: &Value) -> Option<String> {
    text(&spec_of(pod, status)["resources"]["limits"]["memory"])
}

fn terminated(status: &Value) -> Option<&Value> {
    [&status["state"]["terminated"], &status["lastState"]["terminated"]].into_iter().find(|one| one.is_object())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}

fn ending(terminated: &Value) -> String {
    let code = terminated["exitCode"].as_i64().unwrap_or(-1);
    match terminated["reason"].as_str().unwrap_or_default() {
        "" | "Error" => format!("exit code {code}"),
        reason => format!("exit code {code} ({reason})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A pod with one container, as a Deployment makes it.
    fn pod(status: Value) -> Value {
        let container = json!({
            "name": "backend", "image": "todo-backend:1",
            "resources": {"limits": {"memory": "8Mi"}},
            "startupProbe": {"periodSeconds": 2, "failureThreshold": 60},
            "readinessProbe": {"periodSeconds": 5, "failureThreshold": 2},
        });
        let placed = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T10:00:00Z"});
        json!({
            "kind": "Pod", "metadata": {"name": "backend-1", "uid": "u"},
            "spec": {"restartPolicy": "Always", "containers": [container]},
            "status": {"phase": "Running", "conditions": [placed], "containerStatuses": [status]},
        })
    }

    /// A container that ended and runs again.
    fn restarted(times: u64, ready: bool, last: Value) -> Value {
        json!({"name": "backend", "image": "todo-backend:1", "restartCount": times, "ready": ready, "started": ready,
            "state": {"running": {"startedAt": "2026-01-01T10:00:12Z"}}, "lastState": {"terminated": last}})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"name": "backend", "image": "todo-backend:1", "restartCount": 0, "ready": false,
            "state": {"waiting": {"reason": reason, "message": message}}})
    }

    fn ended(code: i64, reason: &str) -> Value {
        json!({"exitCode": code, "reason": reason, "startedAt": "2026-01-01T10:00:08Z", "finishedAt": "2026-01-01T10:00:10Z"})
    }

    fn event(reason: &str, container: Option<&str>, count: u64, message: &str) -> Value {
        let path = container.map(|name| format!("spec.containers{{{name}}}"));
        json!({
            "kind": "Event", "type": "Warning", "reason": reason, "message": message, "count": count,
            "firstTimestamp": "2026-01-01T10:00:03Z", "lastTimestamp": "2026-01-01T10:00:10Z",
            "involvedObject": {"kind": "Pod", "name": "backend-1", "uid": "u", "fieldPath": path},
        })
    }

    /// Why, since when, which log, and how long it may last in seconds.
    type Message = (String, Option<String>, Option<bool>, Option<u64>);

    fn describe(pod: &Value, seen: &[Value]) -> Vec<Message> {
        let tell = |problem: Problem| {
            let since = problem.since.as_deref().and_then(time::clock).map(str::to_string);
            let grace = problem.grace.map(|grace| grace.as_secs());
            (problem.cause.to_string(), since, problem.log.map(|log| log.previous), grace)
        };
        problems(pod, seen).into_iter().map(tell).collect()
    }

    fn expect(why: &str, since: &str, previous: Option<bool>, grace: Option<u64>) -> [Message; 1] {
        [(why.to_string(), (!since.is_empty()).then(|| since.to_string()), previous, grace)]
    }

    #[test]
    fn a_rollout_is_about_the_youngest_pods_that_stay() {
        let pod = |name: &str, hash: &str, created: &str, leaving: bool| {
            let labels = json!({"app.kubernetes.io/name": "backend", "pod-template-hash": hash});
            let mut pod = json!({"metadata": {"name": name, "labels": labels, "creationTimestamp": created}});
            if leaving {
                pod["metadata"]["deletionTimestamp"] = created.into();
            }
            pod
        };
        let pods = [
            pod("old", "a", "2026-01-01T00:00:00Z", false),
            pod("new", "b", "2026-01-02T00:00:00Z", false),
            pod("leaving", "c", "2026-01-03T00:00:00Z", true),
        ];
        let pods: Vec<&Value> = pods.iter().collect();
        let names: Vec<_> = current(&pods, &[]).iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["new"]);
    }

    #[test]
    fn after_a_rollback_the_older_pods_are_those_of_the_template() {
        let labels = json!({"app.kubernetes.io/name": "backend"});
        let template = |image: &str| json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": image}]}});
        let pod = |name: &str, image: &str, created: &str| {
            let mut pod = template(image);
            pod["metadata"]["name"] = name.into();
            pod["metadata"]["creationTimestamp"] = created.into();
            pod["metadata"]["labels"]["pod-template-hash"] = image.into();
            pod
        };
        let pods = [pod("good", "a:1", "2026-01-01T00:00:00Z"), pod("broken", "a:2", "2026-01-02T00:00:00Z")];
        let pods: Vec<&Value> = pods.iter().collect();
        for (image, expected) in [("a:1", "good"), ("a:2", "broken"), ("a:3", "broken")] {
            let workload = json!({"spec": {"template": template(image)}});
            let names: Vec<_> =
                current(&pods, &[&workload]).iter().map(|pod| pod["metadata"]["name"].clone()).collect();
            assert_eq!(names, [expected], "{image}");
        }
        // One with a sidecar or an init container more is of another template, though it has all that this one has.
        for list in ["containers", "initContainers"] {
            let mut older = pod("older", "a:1", "2026-01-01T00:00:00Z");
            let more = json!({"name": "beside", "image": "b:1"});
            match older["spec"][list].as_array_mut() {
                Some(containers) => containers.push(more),
                None => older["spec"][list] = json!([more]),
            }
            let newer = pod("newer", "a:1", "2026-01-02T00:00:00Z");
            let workload = json!({"spec": {"template": template("a:1")}});
            let names: Vec<_> =
                current(&[&older, &newer], &[&workload]).iter().map(|pod| pod["metadata"]["name"].clone()).collect();
            assert_eq!(names, ["newer"], "{list}");
        }
    }

    #[test]
    fn a_pod_that_is_well_or_just_starting_has_no_problem() {
        for status in [
            json!({"name": "backend", "ready": true, "restartCount": 0, "state": {"running": {}}}),
            waiting("ContainerCreating", ""),
            waiting("PodInitializing", ""),
            waiting(
                "CreateContainerConfigError",
                "services have not yet been read at least once, cannot construct envvars",
            ),
            // One that has come up after all.
            restarted(1, true, ended(2, "Error")),
            // One that ends well is started again.
            restarted(1, false, ended(0, "Completed")),
        ] {
            assert_eq!(describe(&pod(status.clone()), &[]), [], "{status}");
        }
    }

    #[test]
    fn a_registry_that_refuses_once_is_asked_again() {
        let message = "failed to resolve reference \"a.b/todo\": 401 Unauthorized";
        let why = format!("its image todo-backend:1 cannot be pulled: {message}");
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            assert_eq!(describe(&pod(waiting(reason, message)), &[]), expect(&why, "10:00:00", None, Some(30)));
        }
    }

    #[test]
    fn what_keeps_a_container_from_being_made_is_believed_once_it_has_lasted() {
        let missing = "couldn't find key NONE in Secret n/todo-secrets";
        let pull = "Back-off pulling image \"todo-backend:1\": ErrImagePull: not found";
        let exec = "exec: \"/app/none\": no such file or directory";
        for (reason, message, why) in [
            ("ErrImageNeverPull", "", "its image todo-backend:1 is not on the node".to_string()),
            ("ImagePullBackOff", pull, format!("its image todo-backend:1 cannot be pulled: {pull}")),
            (
                "ErrImagePull",
                "no match for platform in manifest",
                "its image todo-backend:1 is built for another architecture than the node's: exec format error"
                    .to_string(),
            ),
            ("CreateContainerConfigError", missing, format!("its configuration is refused: {missing}")),
            ("RunContainerError", exec, format!("its container cannot be started: {exec}")),
            (
                "RunContainerError",
                "runc create failed: exec /app/backend: exec format error",
                "its image todo-backend:1 is built for another architecture than the node's: exec format error"
                    .to_string(),
            ),
            (
                "CreateContainerError",
                "container init was OOM-killed (memory limit too low?)",
                "crashed once with exit code 137: out of memory, its limit is 8Mi".to_string(),
            ),
        ] {
            assert_eq!(
                describe(&pod(waiting(reason, message)), &[]),
                expect(&why, "10:00:00", None, Some(5)),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_first_crash_is_reported_and_a_second_one_is_the_last() {
        let mut now =
            json!({"name": "backend", "restartCount": 0, "ready": false, "state": {"terminated": ended(2, "Error")}});
        let first = "crashed once with exit code 2";
        assert_eq!(describe(&pod(now.clone()), &[]), expect(first, "10:00:10", Some(false), None));
        assert_eq!(
            describe(&pod(restarted(1, false, ended(2, "Error"))), &[]),
            expect(first, "10:00:10", Some(true), None)
        );

        // It may be the node that was started again, and the first crash long ago.
        now["restartCount"] = 1.into();
        let second = "crashed 2 times, last with exit code 2";
        assert_eq!(describe(&pod(now), &[]), expect(second, "10:00:10", Some(false), None));
        let again = restarted(2, false, ended(2, "Error"));
        assert_eq!(describe(&pod(again.clone()), &[]), expect(second, "10:00:10", Some(true), None));
        let mut been_ready = pod(again);
        let condition =
            json!({"type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-01-01T10:00:13Z"});
        been_ready["status"]["conditions"].as_array_mut().unwrap().push(condition);
        assert_eq!(describe(&been_ready, &[]), []);

        let mut backs_off = waiting("CrashLoopBackOff", "back-off 10s restarting failed container");
        backs_off["restartCount"] = 1.into();
        backs_off["lastState"]["terminated"] = ended(2, "Error");
        assert_eq!(describe(&pod(backs_off.clone()), &[]), expect(second, "10:00:10", Some(true), Some(0)));
        // A server that ends is no good either, however well it ends.
        backs_off["lastState"]["terminated"] = ended(0, "Completed");
        let why = "crashed 2 times, last with exit code 0 (Completed)";
        assert_eq!(describe(&pod(backs_off), &[]), expect(why, "10:00:10", Some(true), Some(0)));
    }

    #[test]
    fn a_job_judges_its_pods_itself() {
        let mut pod = pod(json!({"name": "migrate", "restartCount": 3, "state": {"terminated": ended(1, "Error")}}));
        pod["spec"]["restartPolicy"] = "OnFailure".into();
        let why = "crashed 4 times, last with exit code 1";
        assert_eq!(describe(&pod, &[]), expect(why, "10:00:10", Some(false), None));
    }

    #[test]
    fn running_out_of_memory_is_said_with_the_limit() {
        let why = "crashed once with exit code 137: out of memory, its limit is 8Mi";
        let status = restarted(1, false, ended(137, "OOMKilled"));
        assert_eq!(describe(&pod(status), &[]), expect(why, "10:00:10", Some(true), None));
    }

    #[test]
    fn what_could_not_be_executed_is_reported_after_it_was_given_up() {
        let mut status = waiting("CrashLoopBackOff", "back-off 10s");
        let mut start = ended(128, "StartError");
        start["message"] = "exec: \"/app/none\": no such file or directory".into();
        status["lastState"]["terminated"] = start;
        let why = "its container cannot be started: exec: \"/app/none\": no such file or directory";
        assert_eq!(describe(&pod(status), &[]), expect(why, "10:00:10", None, Some(5)));
    }

    #[test]
    fn a_container_that_was_ended_for_its_probe_is_reported_with_what_the_probe_met() {
        let events = [
            event("Unhealthy", Some("backend"), 3, "Liveness probe failed: HTTP probe failed with statuscode: 500"),
            event("Killing", Some("backend"), 1, "Container backend failed liveness probe, will be restarted"),
        ];
        let why = "was ended once, as its liveness probe failed: HTTP probe failed with statuscode: 500";
        // It ended well, as it was asked to.
        let status = restarted(1, false, ended(0, "Completed"));
        assert_eq!(describe(&pod(status), &events), expect(why, "10:00:10", Some(true), None));
        let why = why.replace("once", "2 times");
        let mut status = waiting("CrashLoopBackOff", "back-off 10s");
        status["restartCount"] = 1.into();
        status["lastState"]["terminated"] = ended(137, "Error");
        assert_eq!(describe(&pod(status.clone()), &events), expect(&why, "10:00:10", Some(true), Some(0)));
        // A command that says nothing of why.
        let silent = [event("Unhealthy", Some("backend"), 3, "Liveness probe failed: "), events[1].clone()];
        assert_eq!(describe(&pod(status.clone()), &silent)[0].0, "was ended 2 times, as its liveness probe failed");
        // Another container's events are none of its business.
        let others = events.map(|mut event| {
            event["involvedObject"]["fieldPath"] = "spec.containers{other}".into();
            event
        });
        assert_eq!(describe(&pod(status), &others)[0].0, "crashed 2 times, last with exit code 137");
    }

    #[test]
    fn a_readiness_probe_that_goes_on_failing_is_reported_and_a_startup_probe_is_not() {
        let mut status = json!({"name": "backend", "ready": false, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T09:00:00Z"}}});
        let unready = |since: &str, status: &Value| {
            let mut pod = pod(status.clone());
            let condition = json!({"type": "ContainersReady", "status": "False", "lastTransitionTime": since});
            pod["status"]["conditions"].as_array_mut().unwrap().push(condition);
            pod
        };
        // It has been reported last at 10:00:10.
        let failed =
            event("Unhealthy", Some("backend"), 90, "Readiness probe failed: HTTP probe failed with statuscode: 503");
        let seen = std::slice::from_ref(&failed);
        let why = "runs, and its readiness probe fails: HTTP probe failed with statuscode: 503";
        let reported_at_last = |pod: &Value, seen: &[Value]| super::unready(pod, seen)[0].why();
        assert_eq!(describe(&unready("2026-01-01T09:59:56Z", &status), seen), [], "it may still come");
        assert_eq!(
            reported_at_last(&unready("2026-01-01T09:59:56Z", &status), seen),
            why,
            "at the end it is reported all the same"
        );
        assert_eq!(
            describe(&unready("2026-01-01T09:59:55Z", &status), seen),
            expect(why, "09:59:55", Some(false), None)
        );
        // What the start met with an hour ago is no matter.
        let later = unready("2026-01-01T10:59:55Z", &status);
        assert_eq!(describe(&later, seen), []);
        assert_eq!(reported_at_last(&later, seen), "runs, and its readiness probe does not succeed");
        status["started"] = false.into();
        let starting = unready("2026-01-01T09:00:00Z", &status);
        let startup = event("Unhealthy", Some("backend"), 50, "Startup probe failed: dial tcp: connection refused");
        assert_eq!(describe(&starting, std::slice::from_ref(&startup)), []);
        assert_eq!(
            reported_at_last(&starting, &[startup]),
            "runs, and its startup probe fails: dial tcp: connection refused"
        );
        assert_eq!(reported_at_last(&starting, &[]), "runs, and its startup probe does not succeed");
        let creating = pod(waiting("ContainerCreating", ""));
        let why = "does not run yet: ContainerCreating, after \"Pulling image \"a\"\"";
        assert_eq!(reported_at_last(&creating, &[event("Pulling", None, 1, "Pulling image \"a\"")]), why);
        let mut behind = pod(waiting("PodInitializing", ""));
        behind["status"]["initContainerStatuses"] =
            json!([{"name": "migrate", "state": {"running": {"startedAt": "2026-01-01T09:00:00Z"}}}]);
        let why = "does not run yet: init container migrate has not ended";
        assert_eq!(reported_at_last(&behind, &[event("Created", None, 1, "Created container: migrate")]), why);
    }

    #[test]
    fn an_unschedulable_pod_tells_the_schedulers_words_and_not_those_about_others() {
        let with = |message: &str| {
            json!({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "lastTransitionTime": "2026-01-01T10:00:00Z", "message": message}]}})
        };
        let cpu = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found.";
        let why = "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu";
        assert_eq!(describe(&with(cpu), &[]), expect(why, "10:00:00", None, Some(10)));
        let claim = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        assert_eq!(describe(&with(claim), &[])[0].3, None, "the claim is what fails, or gets its volume");
        let taint = "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.";
        let why = format!("cannot be scheduled: the node is short of disk space: {taint}");
        assert_eq!(describe(&with(taint), &[]), expect(&why, "10:00:00", None, Some(30)));
    }

    #[test]
    fn a_pod_that_was_evicted_is_reported_with_what_the_node_lacked() {
        let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 41Mi. ";
        let status = json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [
            {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-01T10:00:00Z"}]});
        let why = format!("was evicted from its node: Evicted: {}", message.trim());
        assert_eq!(
            describe(&json!({"metadata": {"name": "a"}, "status": status}), &[]),
            expect(&why, "10:00:00", None, None)
        );
    }

    #[test]
    fn volumes_that_cannot_be_mounted_are_reported_while_the_container_waits_for_them() {
        let missing =
            event("FailedMount", None, 5, "MountVolume.SetUp failed for volume \"c\" : configmap \"none\" not found");
        let why = format!("its volumes cannot be mounted: {}", missing["message"].as_str().unwrap());
        let creating = pod(waiting("ContainerCreating", ""));
        assert_eq!(describe(&creating, std::slice::from_ref(&missing)), expect(&why, "10:00:03", None, Some(5)));
        let unread =
            event("FailedMount", None, 1, "failed to sync configmap cache: timed out waiting for the condition");
        assert_eq!(describe(&creating, &[unread]), []);
        let running = json!({"name": "backend", "ready": true, "state": {"running": {}}});
        assert_eq!(describe(&pod(running), &[missing]), []);
    }

    #[test]
    fn a_start_that_keeps_to_its_own_rules_is_on_its_way() {
        let mut status = json!({"name": "backend", "ready": false, "started": false, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T10:00:00Z"}}});
        let start = time::seconds("2026-01-01T10:00:00Z").unwrap();
        assert!(is_starting(&pod(status.clone()), &[], start + 119), "60 times in 2 s");
        assert!(!is_starting(&pod(status.clone()), &[], start + 120));
        status["restartCount"] = 1.into();
        assert!(!is_starting(&pod(status), &[], start + 1));
        let (pulling, pulled) = (event("Pulling", None, 1, ""), event("Pulled", None, 1, ""));
        let creating = pod(waiting("ContainerCreating", ""));
        assert!(is_starting(&creating, std::slice::from_ref(&pulling), start));
        assert!(!is_starting(&creating, &[pulling, pulled], start));
    }

    #[test]
    fn a_log_tells_what_is_behind_a_problem() {
        let mut status = json!({"name": "backend", "ready": false, "started": true, "state": {"running": {"startedAt": "2026-01-01T09:00:00Z"}}});
        let failed =
            event("Unhealthy", Some("backend"), 9, "Readiness probe failed: HTTP probe failed with statuscode: 503");
        let unready = problems(&pod(status.clone()), &[failed]).remove(0);
        let line = |message: &str| format!("{{\"level\":\"WARN\",\"retry_ms\":250,\"message\":\"{message}\"}}\n");
        let broken = line("the migrations failed: while executing migration 3: column \\\"done\\\" does not exist");
        let locked = line("the migrations failed: canceling statement due to lock timeout");
        let away = line("the database can't be reached: connection refused");
        let why = "a migration fails: while executing migration 3: column \"done\" does not exist";
        for (log, why, grace) in [
            (format!("{away}{broken}"), why, Some(5)),
            (format!("{broken}{locked}"), "a migration fails: canceling statement due to lock timeout", None),
            (away.clone(), "waits for its database: connection refused", None),
            (format!("{away}{}", line("migrations done")), &unready.why(), None),
        ] {
            let refined = refine(unready.clone(), &log, "i:1");
            assert_eq!((refined.why().as_str(), refined.grace.map(|one| one.as_secs())), (why, grace));
        }
        status["state"] = json!({"terminated": ended(255, "Error")});
        let crash = problems(&pod(status), &[]).remove(0);
        let refined = refine(crash.clone(), "exec /app/backend: exec format error\n", "i:1");
        assert_eq!(refined.why(), "its image i:1 is built for another architecture than the node's: exec format error");
        assert_eq!(refined.grace, Some(AT_ONCE));
        assert_eq!(refine(crash.clone(), &broken, "i:1"), crash);
    }
}
