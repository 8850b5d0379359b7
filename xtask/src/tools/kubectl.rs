//! Kubectl. Every call names kubeconfig, context and namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::model::cluster::Target;
use crate::run::call::{Call, DEADLINE, argv, call};

/// Subcommands of kubectl that change nothing.
pub const QUESTIONS: [&str; 3] = ["get", "logs", "version"];

/// Proves without a cluster that a client works: it makes an object and prints it.
pub fn client_check() -> Call {
    call(argv!("kubectl create configmap check --dry-run=client --output name"))
}

pub fn version() -> Call<Option<String>> {
    call(argv!("kubectl version --client --output json")).parse(|text| parse_version(&text))
}

/// The client's version from what `version` printed.
fn parse_version(stdout: &str) -> Option<String> {
    let value: Value = serde_json::from_str(stdout).ok()?;
    Some(value["clientVersion"]["gitVersion"].as_str()?.to_string())
}

/// What tells whether a cluster can take work; fails soon where no API server answers.
pub fn get_cluster(target: &Target) -> Call<Vec<Value>> {
    let at = at(target);
    call(argv!("kubectl get nodes,storageclasses --output json --request-timeout 5s {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// The UID of an object such as `namespace/NAME`; fails soon where no API server answers.
pub fn get_uid(target: &Target, object: &str) -> Call {
    let at = at(target);
    let format = "jsonpath={.metadata.uid}";
    call(argv!("kubectl get {object} --output {format} --request-timeout 10s {at...}")).trimmed()
}

/// The kubeconfig's part for one context, with all certificates in it, as JSON.
pub fn whole_config(target: &Target) -> Call {
    let Target { kubeconfig, context, .. } = target;
    call(argv!(
        "kubectl config view --raw --flatten --minify --output json --kubeconfig {kubeconfig} --context {context}"
    ))
    .confidential()
}

/// A token of a ServiceAccount, good for an hour.
pub fn create_token(target: &Target, account: &str) -> Call {
    let at = at(target);
    call(argv!("kubectl create token {account} {at...}")).trimmed().confidential()
}

/// What a plan compares with: API version, kind, and the name by which it is asked for.
pub const KINDS: [(&str, &str, &str); 12] = [
    ("v1", "Node", "nodes"),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses"),
    ("v1", "Namespace", "namespaces"),
    ("v1", "Service", "services"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
];

/// The objects of those kinds, of all namespaces; fails soon where no API server answers.
pub fn get_all(target: &Target) -> Call<Vec<Value>> {
    let at = at(target);
    let kinds = KINDS.map(|(_, _, name)| name).join(",");
    call(argv!("kubectl get {kinds} --all-namespaces --output json --request-timeout 5s {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// The objects of those kinds of one namespace, which whoever has rights to it alone may see.
pub fn get_all_in(target: &Target) -> Call<Vec<Value>> {
    let at = at(target);
    let is_of_namespace = |kind: &str| !["Node", "StorageClass", "Namespace"].contains(&kind);
    let kinds: Vec<&str> = KINDS.iter().filter(|one| is_of_namespace(one.1)).map(|one| one.2).collect();
    let kinds = kinds.join(",");
    call(argv!("kubectl get {kinds} --output json --request-timeout 10s {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// What a plan knows of a Secret: no values.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretHead {
    Keys {
        version: String,
        keys: Vec<String>,
    },
    /// What helm keeps of a revision of a release, in base64, and its status.
    Release {
        data: String,
        status: String,
    },
}

/// The Secrets of all namespaces, by namespace and name.
pub fn get_all_secrets(target: &Target) -> Call<BTreeMap<(String, String), SecretHead>> {
    get_secrets(target, &["--all-namespaces"])
}

/// The same of one namespace.
pub fn get_all_secrets_in(target: &Target) -> Call<BTreeMap<(String, String), SecretHead>> {
    get_secrets(target, &[])
}

/// What helm keeps of a release, in the same form.
pub fn get_secrets_of_release(target: &Target, release: &str) -> Call<BTreeMap<(String, String), SecretHead>> {
    get_secrets(target, &["--selector", &format!("owner=helm,name={release}")])
}

fn get_secrets(target: &Target, scope: &[&str]) -> Call<BTreeMap<(String, String), SecretHead>> {
    let at = at(target);
    let format = "go-template={{range .items}}{{.metadata.namespace}} {{.metadata.name}} {{.metadata.resourceVersion}}{{if eq .type \"helm.sh/release.v1\"}} ={{.data.release}} {{.metadata.labels.status}}{{else}}{{range $key, $_ := .data}} {{$key}}{{end}}{{end}}\n{{end}}";
    call(argv!("kubectl get secrets {scope...} --output {format} --request-timeout 5s {at...}"))
        .parse(|text| text.lines().filter_map(parse_secret_head).collect())
}

fn parse_secret_head(line: &str) -> Option<((String, String), SecretHead)> {
    let mut words = line.split_whitespace().map(str::to_string);
    let (place, version) = ((words.next()?, words.next()?), words.next()?);
    let keys: Vec<String> = words.collect();
    // A key has no such sign.
    let release = match keys.as_slice() {
        [data, status] => data.strip_prefix('=').map(|data| (data.to_string(), status.clone())),
        _ => None,
    };
    let head = match release {
        Some((data, status)) => SecretHead::Release { data, status },
        None => SecretHead::Keys { version, keys },
    };
    Some((place, head))
}

/// Objects of some kinds in the namespace, as a JSON list.
pub fn get(target: &Target, kinds: &str, selector: Option<&str>) -> Call<Vec<Value>> {
    let at = at(target);
    let selector: Vec<String> = selector.map(|text| format!("--selector={text}")).into_iter().collect();
    call(argv!("kubectl get {kinds} {selector...} --output json --ignore-not-found {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// A Secret's version and the names of its keys, on one line; no values.
pub fn get_secret_keys(target: &Target, name: &str) -> Call<Option<(String, Vec<String>)>> {
    let at = at(target);
    let format = "go-template={{.metadata.resourceVersion}}{{range $key, $_ := .data}} {{$key}}{{end}}";
    call(argv!("kubectl get secret {name} --ignore-not-found --output {format} {at...}"))
        .parse(|text| parse_secret_keys(&text))
}

/// The same, over all namespaces.
pub fn get_everywhere(target: &Target, kinds: &str) -> Call<Vec<Value>> {
    let at = at(target);
    call(argv!("kubectl get {kinds} --all-namespaces --output json {at...}")).try_parse(|text| parse_objects(&text))
}

/// The workloads and API services that minikube's addons of these names have made, in whichever namespace.
pub fn get_addons(target: &Target, addons: &[String]) -> Call<Vec<Value>> {
    let at = at(target);
    let selector = format!("--selector={ADDON_LABEL} in ({})", addons.join(","));
    call(argv!("kubectl get deployments,daemonsets,apiservices --all-namespaces {selector} --output json {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// By which minikube tells whose an addon's object is.
pub const ADDON_LABEL: &str = "kubernetes.io/minikube-addons";

/// What the API server answers to a path of its own.
pub fn get_raw(target: &Target, path: &str) -> Call {
    let at = at(target);
    call(argv!("kubectl get --raw {path} --request-timeout 20s {at...}"))
}

/// The live objects that a manifest on stdin names, as a JSON list; absent ones are left out.
pub fn get_live(target: &Target) -> Call<Vec<Value>> {
    let at = at(target);
    call(argv!("kubectl get --filename - --output json --ignore-not-found {at...}"))
        .try_parse(|text| parse_objects(&text))
}

/// Creates the objects on stdin; values never reach an argument.
pub fn create(target: &Target) -> Call {
    let at = at(target);
    call(argv!("kubectl create --filename - {at...}"))
}

/// Replaces the object on stdin; fails where it is of another version by now.
pub fn replace(target: &Target) -> Call {
    let at = at(target);
    call(argv!("kubectl replace --filename - {at...}"))
}

/// A Secret's version, and its keys with their values in base64, one to a line.
pub fn get_secret_values(target: &Target, name: &str) -> Call<BTreeMap<String, String>> {
    let at = at(target);
    let format = "go-template={{range $key, $value := .data}}{{$key}} {{$value}}\n{{end}}";
    call(argv!("kubectl get secret {name} --output {format} {at...}"))
        .parse(|text| parse_secret_values(&text))
        .confidential()
}

/// Sets labels of an object; `KEY-` removes one.
pub fn label(target: &Target, name: &str, labels: &[String]) -> Call {
    let at = at(target);
    call(argv!("kubectl label {name} {labels...} --overwrite {at...}"))
}

/// Deletes what bears a label, and waits until it is gone.
pub fn delete_labelled(target: &Target, kinds: &str, selector: &str, timeout: Duration) -> Call {
    let at = at(target);
    let (selector, seconds) = (format!("--selector={selector}"), seconds(timeout));
    call(argv!("kubectl delete {kinds} {selector} --ignore-not-found --wait --timeout {seconds} {at...}"))
        .waits(timeout)
}

/// Merges the patch on stdin into a live object, `kind/name`: `merge` replaces lists, `strategic` pairs their entries.
pub fn patch(target: &Target, name: &str, kind: &str) -> Call {
    let at = at(target);
    call(argv!("kubectl patch {name} --type {kind} --patch-file /dev/stdin {at...}"))
}

/// The last `lines` of a container's log, or of the one that ran before it.
pub fn logs(target: &Target, pod: &str, container: &str, previous: bool, lines: u32) -> Call {
    let at = at(target);
    let lines = lines.to_string();
    let previous: &[&str] = if previous { &["--previous"] } else { &[] };
    call(argv!("kubectl logs {pod} --container {container} --tail {lines} {previous...} {at...}"))
}

/// All about an object and its events, for a person; without a name, about all of the kind. Of a Secret, no values.
pub fn describe(target: &Target, kind: &str, name: &str) -> Call {
    let at = at(target);
    let name: &[&str] = if name.is_empty() { &[] } else { &[name] };
    call(argv!("kubectl describe {kind} {name...} {at...}"))
}

/// Closes a node to new pods.
pub fn cordon(target: &Target, node: &str) -> Call {
    let at = at(target);
    call(argv!("kubectl cordon {node} {at...}"))
}

/// Closes a node to new pods, and has those that are there leave it, but those of DaemonSets.
pub fn drain(target: &Target, node: &str, deadline: Duration) -> Call {
    let (at, timeout) = (at(target), format!("--timeout={}s", deadline.as_secs()));
    call(argv!("kubectl drain {node} --ignore-daemonsets --delete-emptydir-data {timeout} {at...}"))
        .within(deadline + DEADLINE)
}

/// Opens nodes to new pods again.
pub fn uncordon(target: &Target, nodes: &[String]) -> Call {
    let at = at(target);
    call(argv!("kubectl uncordon {nodes...} {at...}"))
}

/// Which part of a log is wanted; all of it by default.
#[derive(Clone, Debug, Default)]
pub struct LogPart<'a> {
    /// What is still to come too, until the container ends.
    pub follow: bool,
    /// Of the container that ran before the present one.
    pub previous: bool,
    pub tail: Option<u32>,
    /// As in `90s`, `10m`.
    pub since: Option<&'a str>,
    /// As in 2026-01-31T12:00:00Z; whole seconds count.
    pub since_time: Option<&'a str>,
}

/// A container's log, each line with its time before it.
pub fn timed_logs(target: &Target, pod: &str, container: &str, part: &LogPart) -> Call {
    let at = at(target);
    let flags = [(part.follow, "--follow"), (part.previous, "--previous")];
    let flags = flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag.to_string());
    let tail = part.tail.map(|lines| format!("--tail={lines}"));
    let since = part.since.map(|text| format!("--since={text}"));
    let since_time = part.since_time.map(|text| format!("--since-time={text}"));
    let flags: Vec<String> = flags.chain(tail).chain(since).chain(since_time).collect();
    call(argv!("kubectl logs {pod} --container {container} --timestamps {flags...} {at...}"))
}

/// All Secrets of the namespace, one to a line: name, type, time of creation and the names of the keys; no values.
pub fn list_secrets(target: &Target) -> Call<Vec<Value>> {
    let at = at(target);
    let format = "go-template={{range .items}}{{.metadata.name}} {{.type}} {{.metadata.creationTimestamp}}{{range $key, $_ := .data}} {{$key}}{{end}}\n{{end}}";
    call(argv!("kubectl get secrets --output {format} {at...}")).parse(|text| parse_secrets(&text))
}

/// What `list_secrets` printed, each as an object whose `data` has the keys and no values.
fn parse_secrets(stdout: &str) -> Vec<Value> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, kind, created) = (words.next()?, words.next()?, words.next()?);
        let keys: serde_json::Map<_, _> = words.map(|key| (key.to_string(), Value::Null)).collect();
        Some(serde_json::json!({
            "kind": "Secret", "type": kind, "metadata": {"name": name, "creationTimestamp": created}, "data": keys,
        }))
    };
    stdout.lines().filter_map(read).collect()
}

/// Runs a command in a pod's container.
pub fn exec(target: &Target, pod: &str, container: &str, command: &[String]) -> Call {
    let at = at(target);
    // Options end at the dashes.
    call(argv!("kubectl exec {pod} --container {container} {at...} -- {command...}"))
}

/// The same with the caller's stdin.
pub fn exec_with_input(target: &Target, pod: &str, container: &str, command: &[String]) -> Call {
    let at = at(target);
    call(argv!("kubectl exec {pod} --container {container} --stdin {at...} -- {command...}"))
}

/// Runs a command in the first pod of an object such as `service/web`, with stdin handed on.
pub fn exec_with_stdin(target: &Target, object: &str, command: &[String]) -> Call {
    let at = at(target);
    call(argv!("kubectl exec --stdin {object} --pod-running-timeout {POD} {at...} -- {command...}"))
}

/// The last `lines` of all containers of an object such as `pod/NAME`.
pub fn all_logs(target: &Target, object: &str, lines: u32) -> Call {
    let at = at(target);
    let lines = lines.to_string();
    call(argv!("kubectl logs {object} --all-containers --tail {lines} {at...}"))
}

/// Has the API server try a merge patch on stdin, and keep nothing of it.
pub fn try_patch(target: &Target, name: &str) -> Call {
    let at = at(target);
    call(argv!("kubectl patch {name} --type merge --patch-file /dev/stdin --dry-run=server --output name {at...}"))
}

/// The same for a person: with the caller's stdin, and with a terminal where the caller has one.
pub fn exec_interactively(target: &Target, pod: &str, container: &str, tty: bool, command: &[String]) -> Call {
    let at = at(target);
    let tty: &[&str] = if tty { &["--tty"] } else { &[] };
    call(argv!("kubectl exec {pod} --container {container} --stdin {tty...} {at...} -- {command...}"))
}

/// Adds a container to a running pod, which shares the processes of the container `beside` and obeys the strictest pod
/// security standard; it is not attached to. Its image must be on the node: one that cannot be pulled would be tried for as
/// long as the pod lives.
pub fn debug(target: &Target, pod: &str, beside: &str, name: &str, image: &str, command: &[String]) -> Call {
    let at = at(target);
    // Kubectl has another --profile for all commands, which takes the word after it; this one's is joined.
    call(argv!(
        "kubectl debug {pod} --quiet --container {name} --image {image} --image-pull-policy Never --target {beside} --profile=restricted {at...} -- {command...}"
    ))
}

/// Forwards a local port, a free one without `local`, to an object such as `service/NAME` or `pod/NAME`; the port is in the
/// line it prints.
pub fn port_forward(target: &Target, object: &str, port: u16, local: Option<u16>) -> Call {
    let at = at(target);
    let ports = format!("{}:{port}", local.map(|port| port.to_string()).unwrap_or_default());
    call(argv!("kubectl port-forward --address 127.0.0.1 --pod-running-timeout {POD} {object} {ports} {at...}"))
}

/// How long kubectl waits for a running pod; callers that need more retry.
const POD: &str = "2s";

/// Whether the API server said that one has no right to this.
pub fn is_forbidden(printed: &str) -> bool {
    printed.contains("Error from server (Forbidden)")
}

/// What went wrong in a call that needs a pod to run, in words that say so where there is none.
pub fn refusal_of_pod(text: &str) -> &str {
    if text.contains("timed out waiting for the condition") { "no pod of it runs" } else { text }
}

/// Serves the cluster's API at a free port of 127.0.0.1; the address is in the line it prints.
pub fn proxy(target: &Target) -> Call {
    let at = at(target);
    call(argv!("kubectl proxy --port 0 {at...}"))
}

/// The address in `Starting to serve on 127.0.0.1:41235`.
pub fn parse_proxy(line: &str) -> Option<&str> {
    line.strip_prefix("Starting to serve on ")
}

/// The version and the keys in what `get_secret_keys` printed; None where there is no such Secret.
fn parse_secret_keys(stdout: &str) -> Option<(String, Vec<String>)> {
    let mut words = stdout.split_whitespace().map(str::to_string);
    Some((words.next()?, words.collect()))
}

/// The keys and decoded values in what `get_secret_values` printed; what isn't text is left out.
fn parse_secret_values(stdout: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok();
    let pair =
        |line: &str| line.split_once(' ').and_then(|(key, value)| Some((key.to_string(), decode(value.trim())?)));
    stdout.lines().filter_map(pair).collect()
}

/// The local port in `Forwarding from 127.0.0.1:41235 -> 8001`.
pub fn parse_forward(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

/// The kinds whose objects can be listed in a namespace, one to a line.
pub fn list_kinds(target: &Target) -> Call<Vec<String>> {
    let at = at(target);
    call(argv!("kubectl api-resources --verbs=list --namespaced --output name {at...}")).lines()
}

/// Deletes what is named as `kind/name` and waits until it is gone.
pub fn delete(target: &Target, names: &[String], timeout: Duration) -> Call {
    let at = at(target);
    let seconds = seconds(timeout);
    call(argv!("kubectl delete {names...} --ignore-not-found --wait --timeout {seconds} {at...}")).waits(timeout)
}

/// Deletes what is named as `kind/name` and leaves what it owns.
pub fn delete_orphaning(target: &Target, names: &[String], timeout: Duration) -> Call {
    let at = at(target);
    let seconds = seconds(timeout);
    call(argv!("kubectl delete {names...} --cascade=orphan --ignore-not-found --wait --timeout {seconds} {at...}"))
        .waits(timeout)
}

pub fn scale(target: &Target, workload: &str, replicas: u32) -> Call {
    let at = at(target);
    let replicas = format!("--replicas={replicas}");
    call(argv!("kubectl scale {workload} {replicas} {at...}"))
}

/// Replaces the pods of the workloads that bear a label, as their own strategy says; waits for nothing.
pub fn restart(target: &Target, selector: &str) -> Call {
    let at = at(target);
    let selector = format!("--selector={selector}");
    call(argv!("kubectl rollout restart deployments,statefulsets,daemonsets {selector} {at...}"))
}

/// As in `90s`.
fn seconds(timeout: Duration) -> String {
    format!("{}s", timeout.as_secs())
}

/// The arguments that name a cluster and a namespace.
pub fn at(target: &Target) -> Vec<String> {
    let Target { kubeconfig, context, namespace } = target;
    ["--kubeconfig", kubeconfig, "--context", context, "--namespace", namespace].map(str::to_string).to_vec()
}

/// The objects in what kubectl printed: one, several in a row, or a list.
fn parse_objects(text: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let mut value = value.context("kubectl printed something that is not JSON")?;
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => found.extend(items),
            _ => found.push(value),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_names_the_cluster() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let tail = "--kubeconfig /k --context c --namespace n";
        for argv in [
            get_cluster(&target).argv,
            get_all(&target).argv,
            get_all_secrets(&target).argv,
            get(&target, "pods", Some("a=b")).argv,
            get_live(&target).argv,
            create(&target).argv,
            logs(&target, "p", "c", true, 12).argv,
            describe(&target, "pod", "p").argv,
            describe(&target, "nodes", "").argv,
            restart(&target, "a=b").argv,
            port_forward(&target, "service/mcp", 8001, None).argv,
            exec_interactively(&target, "p", "c", true, &[]).argv.split_last().map(|(_, argv)| argv.to_vec()).unwrap(),
            patch(&target, "secret/x", "merge").argv,
            all_logs(&target, "pod/x", 12).argv,
            timed_logs(&target, "p", "c", &LogPart { follow: true, tail: Some(5), ..LogPart::default() }).argv,
            delete(&target, &["pod/x".to_string()], Duration::from_secs(5)).argv,
        ] {
            assert!(argv.join(" ").ends_with(tail), "{argv:?}");
        }
    }

    #[test]
    fn a_debugging_container_is_restricted_and_its_image_is_not_pulled() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let call = debug(&target, "p", "web", "debug-1", "a:1", &["sh".to_string(), "-c".to_string()]);
        assert_eq!(
            call.text(),
            "kubectl debug p --quiet --container debug-1 --image a:1 --image-pull-policy Never --target web \
             --profile=restricted --kubeconfig /k --context c --namespace n -- sh -c"
        );
    }

    #[test]
    fn a_part_of_a_log_is_what_was_asked_for() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let typed = |part| timed_logs(&target, "p", "c", &part).text();
        let start = "kubectl logs p --container c --timestamps";
        let end = "--kubeconfig /k --context c --namespace n";
        assert_eq!(typed(LogPart::default()), format!("{start} {end}"));
        let before = LogPart { previous: true, since_time: Some("2026-01-31T12:00:00Z"), ..LogPart::default() };
        assert_eq!(typed(before), format!("{start} --previous --since-time=2026-01-31T12:00:00Z {end}"));
        let part = LogPart { follow: true, tail: Some(5), since: Some("10m"), ..LogPart::default() };
        assert_eq!(typed(part), format!("{start} --follow --tail=5 --since=10m {end}"));
    }

    #[test]
    fn that_no_pod_runs_is_said_in_these_words() {
        assert_eq!(refusal_of_pod("error: timed out waiting for the condition"), "no pod of it runs");
        assert_eq!(refusal_of_pod("error: unable to forward port"), "error: unable to forward port");
    }

    #[test]
    fn the_forwarded_port_is_read() {
        assert_eq!(parse_forward("Forwarding from 127.0.0.1:41235 -> 8001"), Some(41235));
        assert_eq!(parse_forward("Handling connection for 41235"), None);
        assert_eq!(parse_proxy("Starting to serve on 127.0.0.1:41235"), Some("127.0.0.1:41235"));
    }

    #[test]
    fn a_secrets_keys_are_read_without_its_values() {
        assert_eq!(parse_secret_keys("71 A B\n"), Some(("71".to_string(), vec!["A".to_string(), "B".to_string()])));
        assert_eq!(parse_secret_keys("\n"), None);
    }

    #[test]
    fn a_secret_is_known_by_its_keys_and_a_release_by_what_helm_keeps() {
        let place = |name: &str| ("n".to_string(), name.to_string());
        let keys = SecretHead::Keys { version: "7".to_string(), keys: vec!["A".to_string(), "B".to_string()] };
        assert_eq!(parse_secret_head("n app 7 A B"), Some((place("app"), keys)));
        let release = SecretHead::Release { data: "SDR=".to_string(), status: "deployed".to_string() };
        assert_eq!(
            parse_secret_head("n sh.helm.release.v1.a.v1 8 =SDR= deployed"),
            Some((place("sh.helm.release.v1.a.v1"), release))
        );
        let empty = SecretHead::Keys { version: "9".to_string(), keys: Vec::new() };
        assert_eq!(parse_secret_head("n none 9"), Some((place("none"), empty)));
        assert_eq!(parse_secret_head("n"), None);
    }

    #[test]
    fn secrets_are_listed_without_values() {
        let found = parse_secrets("a Opaque 2026-01-01T00:00:00Z K L\n\n");
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0]["type"], &found[0]["metadata"]["name"]), (&"Opaque".into(), &"a".into()));
        assert_eq!(found[0]["data"], serde_json::json!({"K": null, "L": null}));
    }

    #[test]
    fn a_secrets_values_are_decoded() {
        let found = parse_secret_values("A YWJj\nB /w==\nC \n");
        assert_eq!(found, BTreeMap::from([("A".into(), "abc".into()), ("C".into(), String::new())]));
    }

    #[test]
    fn the_clients_version_is_read() {
        assert_eq!(parse_version(r#"{"clientVersion":{"gitVersion":"v1.33.1"}}"#), Some("v1.33.1".to_string()));
    }

    #[test]
    fn objects_are_read_from_rows_and_lists() {
        assert_eq!(parse_objects("{\"a\":1}\n{\"a\":2}\n").unwrap().len(), 2);
        assert_eq!(parse_objects("{\"kind\":\"List\",\"items\":[{},{},{}]}").unwrap().len(), 3);
        assert_eq!(parse_objects("").unwrap().len(), 0);
        assert!(parse_objects("no JSON").is_err());
    }
}
