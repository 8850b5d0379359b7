//! What one look at a namespace shows of a release that is waited for: what is wrong in it, what helm waits for, and
//! whether it goes on.

use std::time::Duration;

use serde_json::Value;

use crate::diagnosis::cause::{Cause, Log, Object, Problem};
use crate::diagnosis::{events, node, pod};
use crate::model::labels::is_subset;
use crate::model::object::StringMap;
use crate::model::states::{DeploymentState, Observed, ReleaseState};
use crate::model::{rollout, time};

/// The kinds that a look lists. Events and endpoints have no label of the release, so the whole namespace is listed.
pub const KINDS: &str = "pods,events,deployments,statefulsets,daemonsets,jobs,endpointslices,persistentvolumeclaims";

/// How many counts tell whether a rollout goes on.
pub const COUNTS: usize = 7;
/// Quotas are given back, and what refuses may be on its way itself.
const SETTLES: Duration = Duration::from_secs(5);
/// How the scheduler refuses a pod whose claims have no volumes.
const UNBOUND: &str = "unbound immediate PersistentVolumeClaims";
/// A scheduler asks again after five minutes, for which it looks each half minute.
const NEXT_ROUND: Duration = Duration::from_secs(6 * 60);

/// What helm runs before or after an upgrade, and waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    pub object: Object,
    /// As in `pre-upgrade`.
    pub when: String,
}

/// The hooks for whose end helm waits, among what it renders beside the manifest.
pub fn hooks(rendered: &[Value]) -> Vec<Hook> {
    let hook = |object: &Value| {
        let events = object["metadata"]["annotations"]["helm.sh/hook"].as_str()?;
        let waited_for = |event: &&str| event.starts_with("pre-") || event.starts_with("post-");
        let events: Vec<&str> = events.split(',').map(str::trim).filter(waited_for).collect();
        let is_run = matches!(object["kind"].as_str(), Some("Job" | "Pod"));
        (is_run && !events.is_empty()).then(|| Hook { object: of(object), when: events.join(", ") })
    };
    rendered.iter().filter_map(hook).collect()
}

/// The pods of a release that it keeps running: those of its hooks and of its test are left out.
pub fn pods_of<'a>(seen: &'a [Value], release: &str) -> Vec<&'a Value> {
    let is_hook = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"].is_string();
    let of_hook = |pod: &Value| {
        is_hook(pod) || of_kind(seen, "Job").any(|job| is_hook(job) && is_of_job(pod, text(&job["metadata"]["name"])))
    };
    let ours = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/instance"] == release && !of_hook(pod);
    of_kind(seen, "Pod").filter(ours).collect()
}

/// What is wrong with a release: with its pods, with the claims that these use, and with workloads that get no pods.
/// `wanted` is its manifest.
pub fn problems(seen: &[Value], release: &str, wanted: &[Value]) -> Vec<Problem> {
    let pods = current(seen, release, wanted);
    let mut found: Vec<Problem> = live_workloads(seen, wanted).filter_map(|one| podless(one, seen)).collect();
    found.extend(claims(seen, &pods).filter_map(|claim| unbound(claim, seen)));
    found.extend(pods.iter().flat_map(|pod| match overlooked(pod, seen) {
        Some(problem) => vec![problem],
        None => pod::problems(pod, seen),
    }));
    found
}

/// The pods of a release whose node is away. One that is to go holds a rollout up as well: nobody says that it has gone.
pub fn on_nodes_away(seen: &[Value], release: &str, nodes: &[Value]) -> Vec<Problem> {
    node::away(&pods_of(seen, release), nodes)
}

/// What is wrong with the hooks that run now: with their pods, and with Jobs that get none.
pub fn hook_problems(seen: &[Value], hooks: &[Hook]) -> Vec<Problem> {
    let live: Vec<&Value> = hooks.iter().filter_map(|hook| live_hook(seen, hook)).collect();
    let mut found: Vec<Problem> = live.iter().filter_map(|one| podless(one, seen)).collect();
    found.extend(live.iter().flat_map(|one| hook_pods(seen, one)).flat_map(|pod| pod::problems(pod, seen)));
    found
}

/// The hook for which helm waits: the one that is there and not over.
pub fn waited_for(seen: &[Value], hooks: &[Hook]) -> Option<Problem> {
    let (hook, live) = hooks.iter().find_map(|hook| {
        let live = live_hook(seen, hook)?;
        let is_over = match live["kind"].as_str() {
            Some("Job") => !matches!(rollout::judge(live), rollout::Rollout::Progressing(_)),
            _ => matches!(live["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
        };
        (!is_over).then_some((hook, live))
    })?;
    let pods = hook_pods(seen, live);
    let message = pods.iter().map(|pod| {
        let phase = text(&pod["status"]["phase"]).to_lowercase();
        format!("pod {} is {phase}", text(&pod["metadata"]["name"]))
    });
    let message: Vec<String> = message.collect();
    let log = pods.last().filter(|pod| pod["status"]["phase"] != "Pending").map(|pod| Log {
        pod: text(&pod["metadata"]["name"]).to_string(),
        container: text(&pod["spec"]["containers"][0]["name"]).to_string(),
        previous: false,
    });
    let message = if message.is_empty() { "it has no pod".to_string() } else { message.join(", ") };
    Some(Problem {
        object: Object { kind: format!("hook {}", hook.object.kind), ..hook.object.clone() },
        container: None,
        cause: Cause::HookRuns { when: hook.when.clone(), pods: message },
        since: live["metadata"]["creationTimestamp"].as_str().map(str::to_string),
        log,
        grace: None,
    })
}

/// What is not ready of a release, for a wait that has run out.
pub fn unready(seen: &[Value], release: &str, wanted: &[Value]) -> Vec<Problem> {
    current(seen, release, wanted).into_iter().flat_map(|pod| pod::unready(pod, seen)).collect()
}

/// The Services of a manifest that lead nowhere, though there are pods to lead to.
pub fn endpointless(seen: &[Value], release: &str, wanted: &[Value]) -> Vec<Problem> {
    let pods = pods_of(seen, release);
    let services =
        wanted.iter().filter(|object| object["kind"] == "Service" && object["spec"]["type"] != "ExternalName");
    let found = services.filter_map(|service| {
        let name = text(&service["metadata"]["name"]);
        let wanted_labels = texts(&service["spec"]["selector"]);
        let mut endpoints = endpoints(seen, name);
        if wanted_labels.is_empty()
            || is_off(wanted, &wanted_labels)
            || endpoints.any(|one| one["conditions"]["ready"] != false)
        {
            return None;
        }
        let taken = |pod: &&&Value| is_subset(&wanted_labels, &texts(&pod["metadata"]["labels"]));
        let describe = |pod: &Value| text(&pod["metadata"]["name"]).to_string();
        let taken: Vec<String> = pods.iter().filter(taken).map(|pod| describe(pod)).collect();
        let selector = wanted_labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        let message = match taken.is_empty() {
            false => {
                format!("of those that its selector {} takes, none is ready: {}", selector.join(","), taken.join(", "))
            }
            true => {
                let labels = |pod: &Value| texts(&pod["metadata"]["labels"]);
                let lacks = |pod: &Value| {
                    let labels = labels(pod);
                    let lacking = wanted_labels.iter().filter(|(key, value)| labels.get(*key) != Some(*value));
                    lacking.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
                };
                let nearest = pods.iter().min_by_key(|pod| lacks(pod).len());
                let nearest = nearest.map_or("there is none".to_string(), |pod| {
                    format!("{}, the nearest, lacks {}", describe(pod), lacks(pod).join(","))
                });
                format!("its selector {} takes none of them; {nearest}", selector.join(","))
            }
        };
        let object = Object { kind: "Service".to_string(), name: name.to_string() };
        let cause = Cause::NoEndpoints { message };
        Some(Problem { object, container: None, cause, since: None, log: None, grace: None })
    });
    found.collect()
}

/// Counts that only grow while a rollout goes on, and stay where it stands still. What crashes and starts again is no
/// progress.
pub fn progress(seen: &[Value], release: &str, wanted: &[Value]) -> [u64; COUNTS] {
    let pods = current(seen, release, wanted);
    let sum = |pointers: &[&str]| {
        let number = |object: &Value, pointer: &&str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        live_workloads(seen, wanted).map(|one| pointers.iter().map(|path| number(one, path)).sum::<u64>()).sum::<u64>()
    };
    let containers = || pods.iter().flat_map(statuses);
    let first = |status: &&Value| status["restartCount"].as_u64().unwrap_or(0) == 0;
    let pulled = |pod: &&Value| events::about(seen, pod, &["Pulled"]).len() as u64;
    [
        sum(&["/status/updatedReplicas", "/status/updatedNumberScheduled"]),
        sum(&["/status/availableReplicas", "/status/numberAvailable", "/status/readyReplicas", "/status/succeeded"]),
        pods.iter().filter(|pod| pod["spec"]["nodeName"].is_string()).count() as u64,
        claims(seen, &pods).filter(|claim| claim["status"]["phase"] == "Bound").count() as u64,
        pods.iter().map(pulled).sum(),
        containers().filter(first).filter(|status| !status["state"]["waiting"].is_object()).count() as u64,
        containers().filter(first).filter(|status| status["started"] == true || status["ready"] == true).count() as u64,
    ]
}

/// The state of each service of a release. One that replaces pods is upgrading until all are ready, whatever runs
/// meanwhile.
pub fn states(
    seen: &[Value],
    release: &str,
    wanted: &[Value],
    services: &[String],
    upgrading: bool,
) -> Vec<(String, DeploymentState)> {
    let is_of = |object: &Value, service: &str| object["metadata"]["labels"]["app.kubernetes.io/name"] == service;
    let state = |service: &String| {
        let workloads: Vec<Value> = live_workloads(seen, wanted).filter(|one| is_of(one, service)).cloned().collect();
        let pods: Vec<Value> = pods_of(seen, release).into_iter().filter(|pod| is_of(pod, service)).cloned().collect();
        let leading = wanted.iter().filter(|one| one["kind"] == "Service" && is_of(one, service));
        let endpoints = leading.filter(|one| !texts(&one["spec"]["selector"]).is_empty()).map(|one| {
            let ready = endpoints(seen, text(&one["metadata"]["name"]));
            ready.filter(|one| one["conditions"]["ready"] != false).count() as u64
        });
        let observed =
            Observed { endpoints: endpoints.min(), ..Observed::of(ReleaseState::Deployed, &workloads, &pods) };
        let state = match observed.state() {
            DeploymentState::Pending | DeploymentState::Running if upgrading => DeploymentState::Upgrading,
            state => state,
        };
        (!workloads.is_empty()).then(|| (service.clone(), state))
    };
    services.iter().filter_map(state).collect()
}

/// Whether something is on its way by its own rules, however long that is.
pub fn is_starting(seen: &[Value], release: &str, wanted: &[Value], now: i64) -> bool {
    let is_overlooked = |pod: &Value| {
        let since = overlooked(pod, seen).and_then(|problem| time::seconds(&problem.since?));
        since.is_some_and(|since| now < since + NEXT_ROUND.as_secs() as i64)
    };
    current(seen, release, wanted).into_iter().any(|pod| pod::is_starting(pod, seen, now) || is_overlooked(pod))
}

/// The image of a pod's container.
pub fn image(seen: &[Value], log: &Log) -> String {
    let pod = of_kind(seen, "Pod").find(|pod| pod["metadata"]["name"] == log.pod.as_str());
    let lists = ["initContainers", "containers"];
    let mut all = lists.iter().flat_map(|list| pod.and_then(|pod| pod["spec"][list].as_array()).into_iter().flatten());
    all.find(|one| one["name"] == log.container.as_str()).map_or(String::new(), |one| text(&one["image"]).to_string())
}

/// The pods of a release that a rollout is about.
fn current<'a>(seen: &'a [Value], release: &str, wanted: &[Value]) -> Vec<&'a Value> {
    let workloads: Vec<&Value> = live_workloads(seen, wanted).collect();
    pod::current(&pods_of(seen, release), &workloads)
}

/// A workload for which no pods can be made.
fn podless(workload: &Value, seen: &[Value]) -> Option<Problem> {
    let conditions = || workload["status"]["conditions"].as_array().into_iter().flatten();
    let failure = conditions().find(|one| one["type"] == "ReplicaFailure" && one["status"] == "True");
    let (message, since) = match failure {
        Some(condition) => (text(&condition["message"]), condition["lastTransitionTime"].as_str()),
        None => {
            let last = events::about(seen, workload, &["FailedCreate", "SuccessfulCreate"]).pop()?;
            (last["reason"] == "FailedCreate").then(|| (events::message(last), events::first(last)))?
        }
    };
    let cause = events::refusal(message).unwrap_or(Cause::Refused { message: message.to_string() });
    let (since, grace) = (since.map(str::to_string), Some(SETTLES));
    Some(Problem { object: of(workload), container: None, cause, since, log: None, grace })
}

/// A pod that waits for volumes that its claims have. The scheduler may hear of a bound claim before its own cache does,
/// refuse the pod once more, and hear of nothing else: <https://github.com/kubernetes/kubernetes/issues/93552>. It asks
/// again with the next round of all that it has refused.
fn overlooked(pod: &Value, seen: &[Value]) -> Option<Problem> {
    let problem = pod::unscheduled(pod)?;
    let waits = matches!(&problem.cause, Cause::Unschedulable { message, .. } if message.contains(UNBOUND));
    let claims: Vec<&Value> = claims(seen, &[pod]).collect();
    let is_bound = !claims.is_empty() && claims.iter().all(|claim| claim["status"]["phase"] == "Bound");
    (waits && is_bound).then_some(Problem { cause: Cause::Overlooked, ..problem })
}

/// A claim to which no volume comes.
fn unbound(claim: &Value, seen: &[Value]) -> Option<Problem> {
    let of_claim = |message: String, grace| Problem {
        object: Object { kind: "claim".to_string(), ..of(claim) },
        container: None,
        cause: Cause::Claim { message },
        since: claim["metadata"]["creationTimestamp"].as_str().map(str::to_string),
        log: None,
        grace,
    };
    match claim["status"]["phase"].as_str() {
        Some("Lost") => Some(of_claim("the one that it had is gone".to_string(), Some(SETTLES))),
        Some("Pending") => {
            let reasons = ["ProvisioningFailed", "FailedBinding", "ExternalProvisioning", "WaitForFirstConsumer"];
            let last = events::about(seen, claim, &reasons).pop()?;
            let message = events::message(last).to_string();
            match last["reason"].as_str() {
                Some("ProvisioningFailed" | "FailedBinding") => Some(of_claim(message, Some(SETTLES))),
                // The provisioner gets this event again while it retries.
                Some("ExternalProvisioning") if events::count(last) > 1 => Some(of_claim(message, None)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The endpoints of a Service.
fn endpoints<'a>(seen: &'a [Value], service: &'a str) -> impl Iterator<Item = &'a Value> {
    let of_service = move |slice: &&Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service;
    let slices = of_kind(seen, "EndpointSlice").filter(of_service);
    slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
}

/// Whether a selector is for workloads that are to have no pods.
fn is_off(wanted: &[Value], selector: &StringMap) -> bool {
    let labels = |object: &Value| texts(&object["spec"]["template"]["metadata"]["labels"]);
    let mut selected = wanted
        .iter()
        .filter(|object| rollout::is_workload(text(&object["kind"])) && is_subset(selector, &labels(object)))
        .peekable();
    selected.peek().is_some() && selected.all(|object| object["spec"]["replicas"] == 0)
}

fn live_workloads<'a>(seen: &'a [Value], wanted: &[Value]) -> impl Iterator<Item = &'a Value> {
    let names: Vec<Object> =
        wanted.iter().filter(|object| rollout::is_workload(text(&object["kind"]))).map(of).collect();
    seen.iter().filter(move |object| names.contains(&of(object)))
}

fn live_hook<'a>(seen: &'a [Value], hook: &Hook) -> Option<&'a Value> {
    seen.iter().find(|object| of(object) == hook.object)
}

/// The pods of a hook, the newest last.
fn hook_pods<'a>(seen: &'a [Value], hook: &'a Value) -> Vec<&'a Value> {
    if hook["kind"] == "Pod" {
        return vec![hook];
    }
    let name = text(&hook["metadata"]["name"]);
    let mut pods: Vec<&Value> = of_kind(seen, "Pod").filter(|pod| is_of_job(pod, name)).collect();
    pods.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().and_then(time::seconds));
    pods
}

fn is_of_job(pod: &Value, job: &str) -> bool {
    let labels = &pod["metadata"]["labels"];
    labels["batch.kubernetes.io/job-name"] == job || labels["job-name"] == job
}

/// The claims that pods use.
fn claims<'a>(seen: &'a [Value], pods: &[&Value]) -> impl Iterator<Item = &'a Value> {
    let volumes = pods.iter().flat_map(|pod| pod["spec"]["volumes"].as_array().into_iter().flatten());
    let names: Vec<String> =
        volumes.filter_map(|one| one["persistentVolumeClaim"]["claimName"].as_str()).map(str::to_string).collect();
    of_kind(seen, "PersistentVolumeClaim")
        .filter(move |claim| names.iter().any(|name| claim["metadata"]["name"] == name.as_str()))
}

fn of_kind<'a>(seen: &'a [Value], kind: &'static str) -> impl Iterator<Item = &'a Value> {
    seen.iter().filter(move |object| object["kind"] == kind)
}

fn of(object: &Value) -> Object {
    Object { kind: text(&object["kind"]).to_lowercase(), name: text(&object["metadata"]["name"]).to_string() }
}

fn statuses<'a>(pod: &&'a Value) -> impl Iterator<Item = &'a Value> {
    let pod = *pod;
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(move |list| pod["status"][list].as_array().into_iter().flatten())
}

fn texts(value: &Value) -> StringMap {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RELEASE: &str = "todo";

    fn labels(app: &str) -> Value {
        json!({"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/instance": RELEASE})
    }

    fn pod(name: &str, app: &str) -> Value {
        let status = json!({"name": app, "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}});
        json!({"kind": "Pod", "metadata": {"name": name, "uid": name, "labels": labels(app)},
            "spec": {"nodeName": "n", "containers": [{"name": app, "image": format!("{app}:1")}]},
            "status": {"phase": "Running", "containerStatuses": [status]}})
    }

    fn workload(kind: &str, name: &str, status: Value) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "uid": name}, "status": status,
            "spec": {"replicas": 1, "template": {"metadata": {"labels": labels(name)}}}})
    }

    fn event(kind: &str, name: &str, reason: &str, message: &str, count: u64, last: &str) -> Value {
        json!({"kind": "Event", "reason": reason, "message": message, "count": count, "firstTimestamp": "2026-01-01T10:00:00Z",
            "lastTimestamp": last, "involvedObject": {"kind": kind, "name": name, "uid": name}})
    }

    fn describe(found: Vec<Problem>) -> Vec<String> {
        found.iter().map(|problem| format!("{}: {}", problem.subject(), problem.why())).collect()
    }

    #[test]
    fn workloads_that_get_no_pods_tell_why() {
        let forbidden =
            "pods \"backend-1\" is forbidden: exceeded quota: tiny, requested: pods=1, used: pods=2, limited: pods=2";
        let condition = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": forbidden,
            "lastTransitionTime": "2026-01-01T10:00:00Z"});
        let deployment = workload("Deployment", "backend", json!({"conditions": [condition]}));
        let why = "deployment backend: the quota tiny is exceeded: pods: 1 requested, 2 of 2 are used";
        let seen = [deployment.clone()];
        assert_eq!(describe(problems(&seen, RELEASE, &seen)), [why]);
        assert_eq!(describe(problems(&seen, RELEASE, &[])), [""; 0], "another release's");

        let set = workload("StatefulSet", "postgres", json!({}));
        let said = "create Pod postgres-0 in StatefulSet postgres failed error: pods \"postgres-0\" is forbidden: \
            violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
        let failed = event("StatefulSet", "postgres", "FailedCreate", said, 3, "2026-01-01T10:00:09Z");
        let seen = [set.clone(), failed.clone()];
        let why = "statefulset postgres: the API server rejects it: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
        let found = problems(&seen, RELEASE, &seen);
        assert_eq!(found[0].since.as_deref(), Some("2026-01-01T10:00:00Z"));
        assert_eq!(describe(found), [why]);
        let later = event("StatefulSet", "postgres", "SuccessfulCreate", "", 1, "2026-01-01T10:00:10Z");
        assert_eq!(describe(problems(&[set.clone(), failed, later], RELEASE, &[set])), [""; 0]);
    }

    #[test]
    fn claims_without_a_volume_are_reported_where_a_pod_uses_them() {
        let mut pod = pod("postgres-0", "postgres");
        pod["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
        let claim = |phase: &str| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "uid": "data"}, "status": {"phase": phase}});
        let said = |reason: &str, message: &str, count| {
            event("PersistentVolumeClaim", "data", reason, message, count, "2026-01-01T10:00:09Z")
        };
        let class = "storageclass.storage.k8s.io \"none\" not found";
        let waits = "Waiting for a volume to be created by the external provisioner";
        for (phase, event, expected) in [
            (
                "Pending",
                said("ProvisioningFailed", class, 1),
                Some((format!("claim data: has no volume: {class}"), true)),
            ),
            (
                "Pending",
                said("FailedBinding", "no storage class is set", 1),
                Some(("claim data: has no volume: no storage class is set".to_string(), true)),
            ),
            ("Pending", said("ExternalProvisioning", waits, 1), None),
            (
                "Pending",
                said("ExternalProvisioning", waits, 2),
                Some((format!("claim data: has no volume: {waits}"), false)),
            ),
            ("Pending", said("WaitForFirstConsumer", "", 1), None),
            (
                "Lost",
                said("ClaimLost", "", 1),
                Some(("claim data: has no volume: the one that it had is gone".to_string(), true)),
            ),
            ("Bound", said("ProvisioningFailed", class, 1), None),
        ] {
            let found = problems(&[pod.clone(), claim(phase), event.clone()], RELEASE, &[]);
            let ends = found.first().map(|problem| problem.grace.is_some());
            assert_eq!(describe(found).into_iter().next().zip(ends), expected, "{phase} {event}");
        }
        assert_eq!(describe(problems(&[claim("Pending"), said("FailedBinding", "", 1)], RELEASE, &[])), [""; 0]);
    }

    #[test]
    fn a_pod_whose_claims_are_bound_is_on_its_way_until_the_schedulers_next_round() {
        let mut refused = pod("postgres-0", "postgres");
        refused["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
        let with = |message: &str, phase: &str| {
            let mut pod = refused.clone();
            pod["status"] = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message, "lastTransitionTime": "2026-01-01T10:00:00Z"}]});
            let claim =
                json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "status": {"phase": phase}});
            [pod, claim]
        };
        let unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        let start = time::seconds("2026-01-01T10:00:00Z").unwrap();
        let seen = with(unbound, "Bound");
        let why = "pod postgres-0: is not scheduled yet: its claims have their volumes, and the scheduler asks again within 6 min";
        assert_eq!(describe(problems(&seen, RELEASE, &[])), [why]);
        assert!(is_starting(&seen, RELEASE, &[], start + 359));
        assert!(!is_starting(&seen, RELEASE, &[], start + 360));
        for [message, phase] in [[unbound, "Pending"], ["0/1 nodes are available: 1 Insufficient cpu.", "Bound"]] {
            let seen = with(message, phase);
            assert!(!is_starting(&seen, RELEASE, &[], start), "{message} {phase}");
            assert!(describe(problems(&seen, RELEASE, &[]))[0].contains("cannot be scheduled"), "{message} {phase}");
        }
    }

    fn hook_job(status: Value) -> Value {
        json!({"kind": "Job", "status": status, "spec": {}, "metadata": {"name": "migrate", "uid": "j",
            "creationTimestamp": "2026-01-01T10:00:00Z", "annotations": {"helm.sh/hook": "pre-install,pre-upgrade"}}})
    }

    fn hook_pod(name: &str, created: &str, phase: &str, status: Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "uid": name, "creationTimestamp": created,
            "labels": {"batch.kubernetes.io/job-name": "migrate", "app.kubernetes.io/instance": RELEASE}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "migrate"}]},
            "status": {"phase": phase, "containerStatuses": [status]}})
    }

    #[test]
    fn hooks_that_helm_waits_for_are_those_that_run() {
        let with = |kind: &str, event: &str| json!({"kind": kind, "metadata": {"name": "a", "annotations": {"helm.sh/hook": event}}});
        let rendered = [
            with("Job", "pre-install, pre-upgrade"),
            with("Pod", "test"),
            with("Secret", "pre-install"),
            with("Pod", "post-upgrade,test"),
        ];
        let found: Vec<(String, String)> =
            hooks(&rendered).into_iter().map(|hook| (hook.object.to_string(), hook.when)).collect();
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(found, [pair("job a", "pre-install, pre-upgrade"), pair("pod a", "post-upgrade")]);
    }

    #[test]
    fn a_hook_is_reported_with_its_pods_until_it_is_over() {
        let hooks = hooks(&[hook_job(json!({}))]);
        let running = json!({"name": "migrate", "state": {"running": {}}});
        let ended =
            json!({"name": "migrate", "restartCount": 0, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}});
        let seen = [
            hook_job(json!({"active": 1})),
            hook_pod("migrate-b", "2026-01-01T10:00:09Z", "Running", running),
            hook_pod("migrate-a", "2026-01-01T10:00:01Z", "Failed", ended),
        ];
        let waits = waited_for(&seen, &hooks).unwrap();
        assert_eq!(waits.subject(), "hook job migrate");
        assert_eq!(
            waits.why(),
            "helm waits for it (pre-install, pre-upgrade); pod migrate-a is failed, pod migrate-b is running"
        );
        assert_eq!(waits.log.unwrap().pod, "migrate-b");
        assert_eq!(
            describe(hook_problems(&seen, &hooks)),
            ["pod migrate-a, container migrate: crashed once with exit code 3"]
        );
        // They are not what the release keeps running.
        assert_eq!(describe(problems(&seen, RELEASE, &[])), [""; 0]);
        for over in ["Complete", "Failed"] {
            let status = json!({"conditions": [{"type": over, "status": "True"}]});
            assert_eq!(waited_for(&[hook_job(status)], &hooks), None);
        }
        assert_eq!(waited_for(&[], &hooks), None);
    }

    #[test]
    fn a_service_without_endpoints_tells_what_its_selector_takes() {
        let service =
            |selector: Value| json!({"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": selector}});
        let slice = |ready: bool| {
            json!({"kind": "EndpointSlice", "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})
        };
        let describe = |seen: &[Value], wanted: &[Value]| describe(endpointless(seen, RELEASE, wanted));
        let right = service(json!({"app": "web"}));
        assert_eq!(describe(&[pod("web-1", "web"), slice(true)], std::slice::from_ref(&right)), [""; 0]);
        for seen in [vec![pod("web-1", "web"), slice(false)], vec![pod("web-1", "web")]] {
            let why = "Service web: has no endpoints, though pods run: of those that its selector app=web takes, none is ready: web-1";
            assert_eq!(describe(&seen, std::slice::from_ref(&right)), [why]);
        }
        let wrong = service(json!({"app": "none"}));
        let why = "Service web: has no endpoints, though pods run: its selector app=none takes none of them; web-1, the nearest, lacks app=none";
        assert_eq!(describe(&[pod("web-1", "web")], &[wrong]), [why]);
        // A Service without a selector is filled by others; one that is to have no pods needs no endpoints.
        assert_eq!(describe(&[], &[service(json!(null))]), [""; 0]);
        let mut off = workload("Deployment", "web", json!({}));
        off["spec"]["replicas"] = 0.into();
        assert_eq!(describe(&[], &[right, off]), [""; 0]);
    }

    #[test]
    fn a_service_is_ready_once_its_service_leads_to_its_pods() {
        let mut deployment = workload("Deployment", "web", json!({"replicas": 1, "updatedReplicas": 1}));
        let mut service = json!({"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}});
        deployment["metadata"]["labels"] = labels("web");
        deployment["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
        service["metadata"]["labels"] = labels("web");
        let slice = json!({"kind": "EndpointSlice", "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]});
        let wanted = [deployment.clone(), service];
        let state = |seen: &[Value], upgrading| {
            let services = ["web".to_string(), "elsewhere".to_string()];
            states(seen, RELEASE, &wanted, &services, upgrading)
        };
        let expect = |state| vec![("web".to_string(), state)];
        assert_eq!(state(std::slice::from_ref(&deployment), false), expect(DeploymentState::Pending));
        let seen = [deployment.clone(), pod("web-1", "web")];
        assert_eq!(state(&seen, false), expect(DeploymentState::Running));
        assert_eq!(state(&seen, true), expect(DeploymentState::Upgrading));
        assert_eq!(state(&[deployment, pod("web-1", "web"), slice], true), expect(DeploymentState::Ready));
        assert_eq!(state(&[], false), []);
    }

    #[test]
    fn a_rollout_goes_on_while_counts_grow_and_not_by_crashing() {
        let deployment = |updated: u64, available: u64| {
            workload("Deployment", "web", json!({"updatedReplicas": updated, "availableReplicas": available}))
        };
        let counts = |seen: &[Value]| progress(seen, RELEASE, &[deployment(0, 0)]);
        let mut creating = pod("web-1", "web");
        creating["status"]["containerStatuses"] = json!([{"name": "web", "restartCount": 0, "state": {"waiting": {}}}]);
        let before = counts(&[deployment(1, 0), creating.clone()]);
        let pulled = event("Pod", "web-1", "Pulled", "", 1, "2026-01-01T10:00:09Z");
        for further in [
            [deployment(1, 1), creating.clone()].to_vec(),
            [deployment(1, 0), creating.clone(), pulled].to_vec(),
            [deployment(1, 0), pod("web-1", "web")].to_vec(),
        ] {
            let counts = counts(&further);
            assert!(counts.iter().zip(before).any(|(now, before)| *now > before), "{further:?}");
        }
        let mut crashed = pod("web-1", "web");
        crashed["status"]["containerStatuses"][0]["restartCount"] = 1.into();
        assert_eq!(counts(&[deployment(1, 0), crashed]), before);
    }

    #[test]
    fn the_image_of_a_container_is_the_one_that_its_pod_names() {
        let log = |pod: &str| Log { pod: pod.to_string(), container: "web".to_string(), previous: false };
        assert_eq!(
            (image(&[pod("web-1", "web")], &log("web-1")), image(&[], &log("web-1"))),
            ("web:1".into(), String::new())
        );
    }
}
