//! What the rendered objects must keep that no other tool of `lint` checks: the rules that kube-linter has by default,
//! under its names for them, and a floor for user and group IDs. No I/O.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::entities::config_map::ConfigMap;
use crate::entities::deployment::DeploymentSpec;
use crate::entities::secret::Secret;
use crate::entities::service::ServiceSpec;
use xtask::model::plan::object_label;

/// One rule, and what breaks it: `kind/name` with a sentence.
pub struct Rule {
    pub code: &'static str,
    pub check: fn(&[Value]) -> Vec<(String, String)>,
}

/// IDs below it belong to the users of many a host.
const FIRST_ID: u64 = 10_000;
const SOCKETS: [&str; 3] = ["docker.sock", "containerd.sock", "crio.sock"];
const SENSITIVE: [&str; 9] = ["/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/sys", "/usr", "/var"];
/// What Kubernetes calls safe: it stays within the pod.
const SAFE_SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
];
const SECRET_WORDS: [&str; 5] = ["secret", "password", "token", "api_key", "private_key"];

pub const RULES: [Rule; 28] = [
    Rule { code: "model", check: unmodelled },
    Rule { code: "dangling-service", check: dangling_service },
    Rule { code: "dangling-poddisruptionbudget", check: dangling_budget },
    Rule { code: "docker-sock", check: |objects| volumes(objects, socket) },
    Rule { code: "drop-net-raw-capability", check: |objects| containers(objects, keeps_net_raw) },
    Rule { code: "duplicate-env-var", check: |objects| containers(objects, duplicate_variable) },
    Rule { code: "env-var-secret", check: |objects| containers(objects, secret_in_variable) },
    Rule { code: "host-namespaces", check: |objects| pods(objects, host_namespace) },
    Rule { code: "invalid-target-ports", check: target_ports },
    Rule { code: "job-ttl-seconds-after-finished", check: job_without_ttl },
    Rule { code: "latest-tag", check: |objects| containers(objects, latest_tag) },
    Rule { code: "liveness-port", check: |objects| containers(objects, |_, c| probe_port(c, "livenessProbe")) },
    Rule { code: "readiness-port", check: |objects| containers(objects, |_, c| probe_port(c, "readinessProbe")) },
    Rule { code: "startup-port", check: |objects| containers(objects, |_, c| probe_port(c, "startupProbe")) },
    Rule { code: "mismatching-selector", check: mismatching_selector },
    Rule { code: "no-anti-affinity", check: no_anti_affinity },
    Rule { code: "no-read-only-root-fs", check: |objects| containers(objects, writable_root) },
    Rule { code: "non-existent-service-account", check: service_account },
    Rule { code: "pdb-max-unavailable", check: budget_max_unavailable },
    Rule { code: "pdb-min-available", check: budget_min_available },
    Rule { code: "pdb-unhealthy-pod-eviction-policy", check: budget_eviction },
    Rule { code: "privilege-escalation-container", check: |objects| containers(objects, escalates) },
    Rule { code: "run-as-non-root", check: |objects| containers(objects, may_be_root) },
    Rule { code: "sensitive-host-mounts", check: |objects| volumes(objects, sensitive) },
    Rule { code: "unsafe-sysctls", check: |objects| pods(objects, unsafe_sysctl) },
    Rule { code: "unset-cpu-requirements", check: |objects| containers(objects, |_, c| unset(c, &["requests/cpu"])) },
    Rule {
        code: "unset-memory-requirements",
        check: |objects| containers(objects, |_, c| unset(c, &["requests/memory", "limits/memory"])),
    },
    Rule { code: "user-group-id", check: |objects| containers(objects, low_id) },
];

/// What the domain's types refuse to hold.
fn unmodelled(objects: &[Value]) -> Vec<(String, String)> {
    let mistakes = |object: &Value| match text(&object["kind"]) {
        "Deployment" | "StatefulSet" => DeploymentSpec::from_object(object).err(),
        "Service" => ServiceSpec::from_object(object).err(),
        "ConfigMap" => ConfigMap::from_object(object).err(),
        "Secret" => Secret::from_object(object).err(),
        _ => None,
    };
    let all =
        objects.iter().flat_map(|object| mistakes(object).into_iter().flatten().map(|why| (object_label(object), why)));
    all.collect()
}

/// A pod that an object is or makes.
struct Pod<'a> {
    owner: &'a Value,
    labels: &'a Value,
    spec: &'a Value,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn of<'a>(objects: &'a [Value], kind: &'static str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn all_pods(objects: &[Value]) -> Vec<Pod<'_>> {
    objects.iter().filter_map(pod_of).collect()
}

fn pod_of(owner: &Value) -> Option<Pod<'_>> {
    let template = match text(&owner["kind"]) {
        "Pod" => owner,
        "CronJob" => owner.pointer("/spec/jobTemplate/spec/template")?,
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => owner.pointer("/spec/template")?,
        _ => return None,
    };
    Some(Pod { owner, labels: &template["metadata"]["labels"], spec: &template["spec"] })
}

fn pods(objects: &[Value], check: fn(&Pod) -> Option<String>) -> Vec<(String, String)> {
    all_pods(objects).iter().filter_map(|pod| Some((object_label(pod.owner), check(pod)?))).collect()
}

fn containers(objects: &[Value], check: fn(&Pod, &Value) -> Option<String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for pod in all_pods(objects) {
        for container in ["initContainers", "containers"].iter().flat_map(|kind| list(&pod.spec[kind])) {
            if let Some(why) = check(&pod, container) {
                found.push((object_label(pod.owner), format!("container {} {why}", text(&container["name"]))));
            }
        }
    }
    found
}

fn volumes(objects: &[Value], check: fn(&str) -> bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for pod in all_pods(objects) {
        let paths = list(&pod.spec["volumes"]).map(|volume| text(&volume["hostPath"]["path"]));
        found.extend(
            paths.filter(|path| check(path)).map(|path| (object_label(pod.owner), format!("mounts the host's {path}"))),
        );
    }
    found
}

fn same_namespace(a: &Value, b: &Value) -> bool {
    a["metadata"]["namespace"] == b["metadata"]["namespace"]
}

fn has_labels(wanted: &Value, labels: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
}

/// A label selector as workloads and budgets have it.
fn selects(selector: &Value, labels: &Value) -> bool {
    has_labels(&selector["matchLabels"], labels)
        && list(&selector["matchExpressions"]).all(|expression| {
            let label = &labels[text(&expression["key"])];
            let among = list(&expression["values"]).any(|value| value == label);
            match text(&expression["operator"]) {
                "In" => among,
                "NotIn" => !among,
                "Exists" => !label.is_null(),
                _ => label.is_null(),
            }
        })
}

fn behind<'a>(objects: &'a [Value], service: &'a Value) -> Vec<Pod<'a>> {
    let selector = &service["spec"]["selector"];
    let selected = |pod: &Pod| same_namespace(pod.owner, service) && has_labels(selector, pod.labels);
    all_pods(objects).into_iter().filter(selected).collect()
}

/// Services that choose pods; an ExternalName, or one whose endpoints others keep, chooses none.
fn choosing_services(objects: &[Value]) -> impl Iterator<Item = &Value> {
    of(objects, "Service").filter(|service| service["spec"]["selector"].is_object())
}

fn dangling_service(objects: &[Value]) -> Vec<(String, String)> {
    choosing_services(objects)
        .filter(|service| behind(objects, service).is_empty())
        .map(|service| (object_label(service), format!("no pod has the labels {}", service["spec"]["selector"])))
        .collect()
}

fn target_ports(objects: &[Value]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for service in choosing_services(objects) {
        let pods = behind(objects, service);
        if pods.is_empty() {
            continue;
        }
        for port in list(&service["spec"]["ports"]) {
            let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
            let served =
                pods.iter().any(|pod| list(&pod.spec["containers"]).any(|container| serves(container, target)));
            if !served {
                found.push((object_label(service), format!("no container behind it has the port {target}")));
            }
        }
    }
    let wrong = |_: &Pod, container: &Value| {
        let wrong = list(&container["ports"]).map(|port| text(&port["name"])).find(|name| !is_port_name(name))?;
        Some(format!("calls a port {wrong}: at most 15 of a-z, 0-9 and -, one of them a letter"))
    };
    found.extend(containers(objects, wrong));
    found
}

fn is_port_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.is_empty()
        || (name.len() <= 15
            && name.bytes().all(inner)
            && name.bytes().any(|byte| byte.is_ascii_lowercase())
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--"))
}

/// Whether a container has a port, by its number or its name.
fn serves(container: &Value, port: &Value) -> bool {
    list(&container["ports"]).any(|own| own["containerPort"] == *port || (port.is_string() && own["name"] == *port))
}

fn probe_port(container: &Value, probe: &str) -> Option<String> {
    let probe = &container[probe];
    let port = ["httpGet", "tcpSocket", "grpc"].iter().map(|kind| &probe[kind]["port"]).find(|port| !port.is_null())?;
    (!serves(container, port)).then(|| format!("is asked at port {port}, which it doesn't have"))
}

fn mismatching_selector(objects: &[Value]) -> Vec<(String, String)> {
    let workloads = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
    let chosen = |object: &Value| {
        let selector = &object["spec"]["selector"];
        selector.is_object() && selects(selector, &object["spec"]["template"]["metadata"]["labels"])
    };
    objects
        .iter()
        .filter(|object| workloads.contains(&text(&object["kind"])) && !chosen(object))
        .map(|object| (object_label(object), "its selector doesn't choose its own pods".to_string()))
        .collect()
}

/// How many pods a workload has at the least: what scales it knows better than it does.
fn replicas(objects: &[Value], workload: &Value) -> u64 {
    let targets = |scaler: &&Value| {
        let target = &scaler["spec"]["scaleTargetRef"];
        same_namespace(scaler, workload)
            && target["kind"] == workload["kind"]
            && target["name"] == workload["metadata"]["name"]
    };
    match of(objects, "HorizontalPodAutoscaler").find(targets) {
        Some(scaler) => scaler["spec"]["minReplicas"].as_u64().unwrap_or(1),
        None => workload["spec"]["replicas"].as_u64().unwrap_or(1),
    }
}

fn no_anti_affinity(objects: &[Value]) -> Vec<(String, String)> {
    let apart = |pod: &Pod| {
        let affinity = &pod.spec["affinity"]["podAntiAffinity"];
        let required = list(&affinity["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = list(&affinity["preferredDuringSchedulingIgnoredDuringExecution"]);
        required
            .chain(preferred.map(|term| &term["podAffinityTerm"]))
            .chain(list(&pod.spec["topologySpreadConstraints"]))
            .any(|term| term["topologyKey"].is_string() && selects(&term["labelSelector"], pod.labels))
    };
    all_pods(objects)
        .iter()
        .filter(|pod| matches!(text(&pod.owner["kind"]), "Deployment" | "StatefulSet" | "ReplicaSet"))
        .filter(|pod| replicas(objects, pod.owner) >= 2 && !apart(pod))
        .map(|pod| (object_label(pod.owner), "nothing keeps its pods on different nodes".to_string()))
        .collect()
}

fn budgets(objects: &[Value], check: impl Fn(&Value, &[Pod]) -> Option<String>) -> Vec<(String, String)> {
    let budget = |budget: &Value| {
        let chosen = |pod: &Pod| same_namespace(pod.owner, budget) && selects(&budget["spec"]["selector"], pod.labels);
        let pods: Vec<Pod> = all_pods(objects).into_iter().filter(chosen).collect();
        Some((object_label(budget), check(budget, &pods)?))
    };
    of(objects, "PodDisruptionBudget").filter_map(budget).collect()
}

fn dangling_budget(objects: &[Value]) -> Vec<(String, String)> {
    budgets(objects, |_, pods| pods.is_empty().then(|| "it chooses no pod".to_string()))
}

fn budget_max_unavailable(objects: &[Value]) -> Vec<(String, String)> {
    budgets(objects, |budget, _| {
        let max = &budget["spec"]["maxUnavailable"];
        (*max == 0 || *max == "0" || *max == "0%")
            .then(|| "no pod may ever be evicted: a node can't be drained".to_string())
    })
}

fn budget_min_available(objects: &[Value]) -> Vec<(String, String)> {
    budgets(objects, |budget, pods| {
        let min = &budget["spec"]["minAvailable"];
        let replicas: u64 = pods.iter().map(|pod| replicas(objects, pod.owner)).sum();
        let all = *min == "100%" || min.as_u64().is_some_and(|min| !pods.is_empty() && min >= replicas);
        all.then(|| format!("of {replicas} pods {min} must stay: a node can't be drained"))
    })
}

fn budget_eviction(objects: &[Value]) -> Vec<(String, String)> {
    budgets(objects, |budget, _| {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        (!always).then(|| {
            "a pod that never gets ready keeps its node from being drained (unhealthyPodEvictionPolicy)".to_string()
        })
    })
}

fn job_without_ttl(objects: &[Value]) -> Vec<(String, String)> {
    of(objects, "Job")
        .filter(|job| job["spec"]["ttlSecondsAfterFinished"].is_null())
        .map(|job| (object_label(job), "stays for ever when it has finished (ttlSecondsAfterFinished)".to_string()))
        .collect()
}

fn service_account(objects: &[Value]) -> Vec<(String, String)> {
    let exists = |pod: &Pod, name: &str| {
        name.is_empty()
            || name == "default"
            || of(objects, "ServiceAccount")
                .any(|account| same_namespace(account, pod.owner) && account["metadata"]["name"] == name)
    };
    all_pods(objects)
        .iter()
        .filter(|pod| !exists(pod, text(&pod.spec["serviceAccountName"])))
        .map(|pod| (object_label(pod.owner), format!("service account {} is not made", pod.spec["serviceAccountName"])))
        .collect()
}

fn socket(path: &str) -> bool {
    SOCKETS.iter().any(|socket| path.ends_with(socket))
}

fn sensitive(path: &str) -> bool {
    path == "/" || SENSITIVE.iter().any(|folder| path == *folder || path.starts_with(&format!("{folder}/")))
}

fn host_namespace(pod: &Pod) -> Option<String> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().find(|name| pod.spec[name] == true)?;
    Some(format!("shares a namespace with its node ({shared})"))
}

fn unsafe_sysctl(pod: &Pod) -> Option<String> {
    let names = list(&pod.spec["securityContext"]["sysctls"]).map(|sysctl| text(&sysctl["name"]));
    let wrong = names.into_iter().find(|name| !SAFE_SYSCTLS.contains(name))?;
    Some(format!("sets {wrong}, which reaches beyond the pod"))
}

fn keeps_net_raw(_: &Pod, container: &Value) -> Option<String> {
    let mut dropped = list(&container["securityContext"]["capabilities"]["drop"]).map(text);
    let drops = dropped.any(|name| matches!(name.to_uppercase().as_str(), "ALL" | "NET_RAW" | "CAP_NET_RAW"));
    (!drops).then(|| "keeps the capability NET_RAW".to_string())
}

fn duplicate_variable(_: &Pod, container: &Value) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = list(&container["env"]).map(|variable| text(&variable["name"])).find(|name| !seen.insert(*name))?;
    Some(format!("has {twice} twice"))
}

/// A literal under a name that promises a secret, or a URL with a password in it.
fn secret_in_variable(_: &Pod, container: &Value) -> Option<String> {
    let is_secret = |variable: &&Value| {
        let (name, value) = (text(&variable["name"]).to_lowercase(), text(&variable["value"]));
        let password = value.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        let has_password =
            password.is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, word)| !word.is_empty()));
        !value.is_empty() && (has_password || SECRET_WORDS.iter().any(|word| name.contains(word)))
    };
    let found = list(&container["env"]).find(is_secret)?;
    Some(format!("has the value of {} in plain sight", text(&found["name"])))
}

fn latest_tag(_: &Pod, container: &Value) -> Option<String> {
    let image = text(&container["image"]);
    if image.contains("@sha256:") {
        return None;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) if tag != "latest" && !tag.is_empty() => None,
        _ => Some(format!("runs {image}, whatever that is by then")),
    }
}

fn writable_root(_: &Pod, container: &Value) -> Option<String> {
    let read_only = container["securityContext"]["readOnlyRootFilesystem"] == true;
    (!read_only).then(|| "can write to its root file system".to_string())
}

fn escalates(_: &Pod, container: &Value) -> Option<String> {
    let context = &container["securityContext"];
    let may = context["allowPrivilegeEscalation"] != false || context["privileged"] == true;
    may.then(|| "may gain privileges (allowPrivilegeEscalation)".to_string())
}

/// What a container's security context says, or else its pod's.
fn context<'a>(pod: &'a Pod, container: &'a Value, name: &str) -> &'a Value {
    let own = &container["securityContext"][name];
    if own.is_null() { &pod.spec["securityContext"][name] } else { own }
}

fn may_be_root(pod: &Pod, container: &Value) -> Option<String> {
    let safe = *context(pod, container, "runAsNonRoot") == true && *context(pod, container, "runAsUser") != 0;
    (!safe).then(|| "may run as root".to_string())
}

fn unset(container: &Value, paths: &[&str]) -> Option<String> {
    let missing = paths.iter().find(|path| container["resources"].pointer(&format!("/{path}")).is_none())?;
    Some(format!("has no {}", missing.replace('/', ".")))
}

fn low_id(pod: &Pod, container: &Value) -> Option<String> {
    let id = |name| context(pod, container, name).as_u64();
    let low = ["runAsUser", "runAsGroup"].into_iter().find(|name| id(name).is_none_or(|id| id < FIRST_ID))?;
    let message = id(low).map_or("unset".to_string(), |id| id.to_string());
    Some(format!("has {low} {message}: {FIRST_ID} or more is nobody's on the node"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Objects that every rule is content with: deployment, service, budget, account, job.
    fn good() -> Vec<Value> {
        let labels = json!({"app": "web"});
        let container = json!({
            "name": "web", "image": "local/web:1",
            "ports": [{"name": "http", "containerPort": 8000}],
            "env": [
                {"name": "LEVEL", "value": "info"},
                {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "BACKEND_URL", "value": "http://user@web:8000/a"},
            ],
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
            "readinessProbe": {"tcpSocket": {"port": 8000}},
            "startupProbe": {"exec": {"command": ["true"]}},
            "resources": {"requests": {"cpu": "50m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        });
        let spec = json!({
            "serviceAccountName": "web",
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001,
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [container],
        });
        let selector =
            json!({"matchLabels": labels, "matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]});
        let template = json!({"metadata": {"labels": labels}, "spec": spec});
        let of = |kind: &str, spec: Value| json!({"kind": kind, "metadata": {"name": "web", "namespace": "n"}, "spec": spec});
        vec![
            of("Deployment", json!({"replicas": 2, "selector": selector, "template": template})),
            of("Service", json!({"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]})),
            of("Service", json!({"type": "ExternalName", "externalName": "example.org"})),
            of(
                "PodDisruptionBudget",
                json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}),
            ),
            of("ServiceAccount", json!(null)),
            of(
                "Job",
                json!({"ttlSecondsAfterFinished": 60, "template": {"metadata": {"labels": {"job": "x"}}, "spec": spec}}),
            ),
        ]
    }

    fn broken(objects: &[Value]) -> Vec<(&'static str, String, String)> {
        let found = |rule: &Rule| {
            (rule.check)(objects).into_iter().map(|(object, why)| (rule.code, object, why)).collect::<Vec<_>>()
        };
        RULES.iter().flat_map(found).collect()
    }

    #[test]
    fn good_objects_break_no_rule() {
        assert_eq!(broken(&good()), []);
    }

    /// Each rule with a change that breaks it and the object that is named then.
    #[test]
    fn every_rule_is_broken_by_something() {
        let pod = "/0/spec/template/spec";
        let container = "/0/spec/template/spec/containers/0";
        let cases = [
            ("dangling-service", "/1/spec/selector/app".into(), json!("wob"), "service/web"),
            ("dangling-poddisruptionbudget", "/3/metadata/namespace".into(), json!("m"), "poddisruptionbudget/web"),
            (
                "docker-sock",
                format!("{pod}/volumes/0"),
                json!({"hostPath": {"path": "/run/docker.sock"}}),
                "deployment/web",
            ),
            (
                "drop-net-raw-capability",
                format!("{container}/securityContext/capabilities/drop"),
                json!(["CHOWN"]),
                "deployment/web",
            ),
            ("duplicate-env-var", format!("{container}/env/0/name"), json!("API_KEY"), "deployment/web"),
            ("env-var-secret", format!("{container}/env/0/name"), json!("JWT_SECRET"), "deployment/web"),
            (
                "env-var-secret",
                format!("{container}/env/0/value"),
                json!("postgres://todo:word@db:5432/todo"),
                "deployment/web",
            ),
            ("model", format!("{container}/resources/requests/cpu"), json!("much"), "deployment/web"),
            ("model", "/1/spec/ports/0/protocol".into(), json!("HTTP"), "service/web"),
            ("host-namespaces", format!("{pod}/hostPID"), json!(true), "deployment/web"),
            ("invalid-target-ports", "/1/spec/ports/0/targetPort".into(), json!(8001), "service/web"),
            (
                "invalid-target-ports",
                format!("{container}/ports/0/name"),
                json!("a-name-much-too-long"),
                "deployment/web",
            ),
            ("job-ttl-seconds-after-finished", "/5/spec/ttlSecondsAfterFinished".into(), json!(null), "job/web"),
            ("latest-tag", format!("{container}/image"), json!("localhost:5000/web"), "deployment/web"),
            ("latest-tag", format!("{container}/image"), json!("web:latest"), "deployment/web"),
            ("liveness-port", format!("{container}/livenessProbe/httpGet/port"), json!("web"), "deployment/web"),
            ("readiness-port", format!("{container}/readinessProbe/tcpSocket/port"), json!(8001), "deployment/web"),
            ("startup-port", format!("{container}/startupProbe"), json!({"grpc": {"port": 1}}), "deployment/web"),
            ("mismatching-selector", "/0/spec/selector/matchLabels/app".into(), json!("wob"), "deployment/web"),
            (
                "mismatching-selector",
                "/0/spec/selector/matchExpressions/0/operator".into(),
                json!("NotIn"),
                "deployment/web",
            ),
            ("no-anti-affinity", format!("{pod}/topologySpreadConstraints"), json!([]), "deployment/web"),
            (
                "no-read-only-root-fs",
                format!("{container}/securityContext/readOnlyRootFilesystem"),
                json!(false),
                "deployment/web",
            ),
            ("non-existent-service-account", format!("{pod}/serviceAccountName"), json!("other"), "deployment/web"),
            ("pdb-max-unavailable", "/3/spec/maxUnavailable".into(), json!("0%"), "poddisruptionbudget/web"),
            ("pdb-min-available", "/3/spec/minAvailable".into(), json!(2), "poddisruptionbudget/web"),
            ("pdb-min-available", "/3/spec/minAvailable".into(), json!("100%"), "poddisruptionbudget/web"),
            (
                "pdb-unhealthy-pod-eviction-policy",
                "/3/spec/unhealthyPodEvictionPolicy".into(),
                json!(null),
                "poddisruptionbudget/web",
            ),
            (
                "privilege-escalation-container",
                format!("{container}/securityContext/allowPrivilegeEscalation"),
                json!(null),
                "deployment/web",
            ),
            ("run-as-non-root", format!("{pod}/securityContext/runAsNonRoot"), json!(false), "deployment/web"),
            ("run-as-non-root", format!("{container}/securityContext/runAsUser"), json!(0), "deployment/web"),
            (
                "sensitive-host-mounts",
                format!("{pod}/volumes/0"),
                json!({"hostPath": {"path": "/etc/ssl"}}),
                "deployment/web",
            ),
            (
                "unsafe-sysctls",
                format!("{pod}/securityContext/sysctls/0/name"),
                json!("kernel.msgmax"),
                "deployment/web",
            ),
            (
                "unset-cpu-requirements",
                format!("{container}/resources/requests"),
                json!({"memory": "1Mi"}),
                "deployment/web",
            ),
            ("unset-memory-requirements", format!("{container}/resources/limits"), json!({}), "deployment/web"),
            ("user-group-id", format!("{pod}/securityContext/runAsGroup"), json!(1000), "deployment/web"),
        ];
        for (code, pointer, value, object) in &cases {
            let mut objects = json!(good());
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match objects.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
                parent => parent[key] = value.clone(),
            }
            let found = broken(objects.as_array().unwrap());
            assert!(found.iter().any(|(rule, named, _)| rule == code && named == object), "{code}: {found:?}");
        }
        for rule in &RULES {
            assert!(cases.iter().any(|(code, ..)| *code == rule.code), "{} is never broken", rule.code);
        }
    }

    #[test]
    fn what_scales_a_workload_decides_how_many_pods_it_has() {
        let mut objects = good();
        objects.push(json!({
            "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "n"},
            "spec": {"minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
        }));
        assert_eq!(broken(&objects)[0].0, "pdb-min-available");
        objects[0]["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([]);
        assert!(!broken(&objects).iter().any(|(code, ..)| *code == "no-anti-affinity"));
    }

    #[test]
    fn every_kind_that_makes_pods_is_looked_into() {
        for (kind, path) in
            [("Pod", ""), ("CronJob", "/spec/jobTemplate/spec/template"), ("DaemonSet", "/spec/template")]
        {
            let spec = json!({"containers": [{"name": "a", "image": "a"}]});
            let mut object = json!({"kind": kind, "metadata": {"name": "x"}, "spec": {"spec": spec, "template": {}, "jobTemplate": {"spec": {"template": {}}}}});
            object.pointer_mut(path).unwrap()["spec"] = spec;
            let found = broken(&[object]);
            assert!(found.iter().any(|(code, ..)| *code == "latest-tag"), "{kind}: {found:?}");
        }
    }
}
