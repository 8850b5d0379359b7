//! What nodes have left, and what of it a pod lacks: allocatable less the requests of the pods that are there.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::model::quantity::{Cpu, Memory};

/// A resource of which a node has too little left for a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    pub resource: String,
    pub node: String,
    pub asked: u64,
    pub free: u64,
    pub allocatable: u64,
    /// Who holds most of it, with how much, the greatest first.
    pub holders: Vec<(String, u64)>,
}

/// How many holders are reported.
const HOLDERS: usize = 3;

/// What a pod lacks on the node that is nearest to having room for it; empty where one has room, so that it must be
/// something else.
pub fn shortages(pod: &Value, nodes: &[Value], pods: &[Value]) -> Vec<Shortage> {
    let open = nodes.iter().filter(|node| node["spec"]["unschedulable"] != true);
    let lacking = open.map(|node| lacking(pod, node, pods));
    lacking.min_by_key(|found| (found.len(), found.iter().map(|one| one.asked - one.free).max())).unwrap_or_default()
}

/// The names of the nodes where a person has closed all of them to new pods; else none.
pub fn cordoned(nodes: &[Value]) -> Vec<String> {
    match nodes.iter().all(|node| node["spec"]["unschedulable"] == true) {
        true => nodes.iter().filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_string())).collect(),
        false => Vec::new(),
    }
}

/// Whether a node has room for a pod once those that are leaving have gone, and those in whose place others are already
/// on a node.
pub fn has_room_soon(pod: &Value, nodes: &[Value], pods: &[Value]) -> bool {
    let leaving = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
    let staying: Vec<Value> = pods.iter().filter(|pod| !leaving(pod) && !is_replaced(pod, pods)).cloned().collect();
    staying.len() < pods.len() && shortages(pod, nodes, &staying).is_empty()
}

/// Whether a younger pod of another template of the same service has its place on a node already: this one goes once that
/// is ready.
fn is_replaced(pod: &Value, pods: &[Value]) -> bool {
    let label = |pod: &Value, name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_string();
    let hash = |pod: &Value| label(pod, "pod-template-hash");
    let place = |pod: &Value| {
        let labels = ["app.kubernetes.io/instance", "app.kubernetes.io/name"].map(|name| label(pod, name));
        (pod["metadata"]["namespace"].clone(), labels)
    };
    let created = |pod: &Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_string();
    !hash(pod).is_empty()
        && pods.iter().any(|other| {
            place(other) == place(pod)
                && hash(other) != hash(pod)
                && created(other) > created(pod)
                && other["spec"]["nodeName"].is_string()
        })
}

/// What the pods of a node request of it together.
pub fn requested(node: &Value, pods: &[Value]) -> Amounts {
    let mut sum = Amounts::new();
    on_node(node, pods).for_each(|pod| add(&mut sum, requests(pod)));
    sum
}

/// The pods of a node whose requests count: not those that have ended.
fn on_node<'a>(node: &Value, pods: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    pods.iter().filter(move |pod| pod["spec"]["nodeName"] == node["metadata"]["name"] && !is_over(pod))
}

fn lacking(pod: &Value, node: &Value, pods: &[Value]) -> Vec<Shortage> {
    let name = &node["metadata"]["name"];
    let there: Vec<(String, Amounts)> =
        on_node(node, pods).map(|other| (display_name(other, pod), requests(other))).collect();
    let allocatable = amounts(&node["status"]["allocatable"]);
    let mut found = Vec::new();
    for (resource, asked) in requests(pod) {
        let allocatable = allocatable.get(&resource).copied().unwrap_or(0);
        let held = |amounts: &Amounts| amounts.get(&resource).copied().unwrap_or(0);
        let free = allocatable.saturating_sub(there.iter().map(|(_, amounts)| held(amounts)).sum());
        if asked <= free {
            continue;
        }
        let mut holders: Vec<(String, u64)> =
            there.iter().map(|(name, amounts)| (name.clone(), held(amounts))).filter(|(_, held)| *held > 0).collect();
        holders.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        holders.truncate(HOLDERS);
        let node = name.as_str().unwrap_or_default().to_string();
        found.push(Shortage { resource, node, asked, free, allocatable, holders });
    }
    found
}

/// A pod's name, with its namespace where that is another than that of the pod that lacks room.
fn display_name(pod: &Value, beside: &Value) -> String {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    match pod["metadata"]["namespace"] == beside["metadata"]["namespace"] {
        true => text("name").to_string(),
        false => format!("{}/{}", text("namespace"), text("name")),
    }
}

/// Thousandths of a CPU, bytes, or pieces.
pub type Amounts = BTreeMap<String, u64>;

/// What a pod asks of its node: its containers together, or one that prepares for them if that asks for more.
fn requests(pod: &Value) -> Amounts {
    let list = |name: &str| pod["spec"][name].as_array().cloned().unwrap_or_default();
    let mut sum = Amounts::from([("pods".to_string(), 1)]);
    for container in list("containers") {
        add(&mut sum, amounts(&container["resources"]["requests"]));
    }
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in list("initContainers") {
        let asked = amounts(&container["resources"]["requests"]);
        // One that is restarted always stays beside the others.
        if container["restartPolicy"] == "Always" {
            add(&mut beside, asked.clone());
            add(&mut sum, asked);
            continue;
        }
        for (name, amount) in asked {
            let needed = amount + beside.get(&name).copied().unwrap_or(0);
            let known = most.entry(name).or_default();
            *known = needed.max(*known);
        }
    }
    for (name, amount) in most {
        let known = sum.entry(name).or_default();
        *known = amount.max(*known);
    }
    add(&mut sum, amounts(&pod["spec"]["overhead"]));
    sum
}

fn add(sum: &mut Amounts, more: Amounts) {
    more.into_iter().for_each(|(name, amount)| *sum.entry(name).or_default() += amount);
}

fn amounts(quantities: &Value) -> Amounts {
    let pairs = quantities.as_object().into_iter().flatten();
    let amount = |name: &str, value: &Value| match name {
        "cpu" => Cpu::from_value(value).map(Cpu::millis).ok(),
        _ => Memory::from_value(value).map(Memory::bytes).ok(),
    };
    pairs.filter_map(|(name, value)| Some((name.clone(), amount(name, value)?))).collect()
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { resource, node, asked, free, allocatable, holders } = self;
        // What is free is rounded down, so that what is reported as enough is enough.
        let describe = |amount: u64| match resource.as_str() {
            "cpu" => format!("{amount}m"),
            "memory" | "ephemeral-storage" => format!("{}Mi", amount >> 20),
            _ => amount.to_string(),
        };
        let missing = asked - free;
        let missing = if resource == "cpu" || missing >= 1 << 20 { describe(missing) } else { missing.to_string() };
        write!(
            f,
            "{resource}: {} requested, {} of {} are free on node {node}, {missing} too little",
            describe(*asked),
            describe(*free),
            describe(*allocatable)
        )?;
        match holders.is_empty() || resource == "pods" {
            true => Ok(()),
            false => {
                let holders: Vec<String> =
                    holders.iter().map(|(name, held)| format!("{name} ({})", describe(*held))).collect();
                write!(f, "; most of it is held by {}", holders.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, cpu: &str, memory: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}}})
    }

    fn pod(name: &str, node: Option<&str>, cpu: &str, memory: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"phase": "Running"}, "spec": {"nodeName": node,
            "containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}})
    }

    fn describe(pod: &Value, nodes: &[Value], pods: &[Value]) -> Vec<String> {
        shortages(pod, nodes, pods).iter().map(Shortage::to_string).collect()
    }

    #[test]
    fn what_is_missing_is_what_is_asked_for_beyond_what_others_leave() {
        let mut etcd = pod("etcd", Some("n"), "100m", "100Mi");
        etcd["metadata"]["namespace"] = "kube-system".into();
        let there = [
            etcd,
            pod("apiserver", Some("n"), "250m", "0"),
            pod("backend-1", Some("n"), "1500m", "64Mi"),
            pod("tiny", Some("n"), "5m", "0"),
            pod("elsewhere", Some("m"), "900m", "0"),
        ];
        let new = pod("new", None, "250m", "64Mi");
        let expected = "cpu: 250m requested, 145m of 2000m are free on node n, 105m too little; \
            most of it is held by backend-1 (1500m), apiserver (250m), kube-system/etcd (100m)";
        assert_eq!(describe(&new, &[node("n", "2", "3900Mi")], &there), [expected]);
        let much = pod("new", None, "100m", "4Gi");
        let expected = "memory: 4096Mi requested, 3736Mi of 3900Mi are free on node n, 360Mi too little; \
            most of it is held by kube-system/etcd (100Mi), backend-1 (64Mi)";
        assert_eq!(describe(&much, &[node("n", "2", "3900Mi")], &there), [expected]);
    }

    #[test]
    fn pods_that_are_over_hold_nothing_and_those_that_leave_will_not() {
        let mut over = pod("job", Some("n"), "2", "0");
        over["status"]["phase"] = "Succeeded".into();
        let new = pod("new", None, "1", "0");
        assert_eq!(describe(&new, &[node("n", "2", "1Gi")], &[over]), [""; 0]);
        let mut leaving = pod("old", Some("n"), "2", "0");
        let nodes = [node("n", "2", "1Gi")];
        assert!(!has_room_soon(&new, &nodes, std::slice::from_ref(&leaving)));
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(has_room_soon(&new, &nodes, std::slice::from_ref(&leaving)));
        let pods = [leaving, pod("stays", Some("n"), "1500m", "0")];
        assert!(!has_room_soon(&new, &nodes, &pods));
    }

    #[test]
    fn a_pod_in_whose_place_another_is_starting_will_hold_nothing() {
        let of = |name: &str, service: &str, hash: &str, created: &str, node: Option<&str>| {
            let mut pod = pod(name, node, "900m", "0");
            let labels = json!({"app.kubernetes.io/instance": "r", "app.kubernetes.io/name": service, "pod-template-hash": hash});
            pod["metadata"] = json!({"name": name, "labels": labels, "creationTimestamp": created});
            pod
        };
        let nodes = [node("n", "2", "1Gi")];
        let (old, new) = (of("mcp-1", "mcp", "a", "1", Some("n")), of("mcp-2", "mcp", "b", "2", Some("n")));
        let own = of("page-2", "page", "b", "2", None);
        assert!(has_room_soon(&own, &nodes, &[old.clone(), new.clone()]));
        // Not yet on a node, and of the same template: no room will come of these.
        let waiting = of("mcp-2", "mcp", "b", "2", None);
        let filler = pod("filler", Some("n"), "900m", "0");
        assert!(!has_room_soon(&own, &nodes, &[old.clone(), waiting, filler]));
        assert!(!has_room_soon(&own, &nodes, &[old, of("mcp-2", "mcp", "a", "2", Some("n"))]));
        // What it is to replace itself goes only once it is there.
        let before = of("page-1", "page", "a", "1", Some("n"));
        assert!(!has_room_soon(&own, &nodes, &[before, own.clone(), pod("filler", Some("n"), "900m", "0")]));
    }

    #[test]
    fn the_node_that_lacks_least_is_reported_and_a_closed_one_is_passed_over() {
        let mut closed = node("closed", "64", "64Gi");
        closed["spec"] = json!({"unschedulable": true});
        let nodes = [node("small", "1", "1Gi"), node("larger", "3", "1Gi"), closed];
        let found = shortages(&pod("new", None, "4", "64Mi"), &nodes, &[]);
        assert_eq!(found.iter().map(|one| (one.node.as_str(), one.free)).collect::<Vec<_>>(), [("larger", 3000)]);
    }

    #[test]
    fn nodes_are_reported_as_cordoned_where_none_is_open() {
        let mut closed = node("a", "1", "1Gi");
        closed["spec"] = json!({"unschedulable": true});
        assert_eq!(cordoned(std::slice::from_ref(&closed)), ["a"]);
        assert_eq!(cordoned(&[closed, node("b", "1", "1Gi")]), [""; 0]);
    }

    #[test]
    fn containers_that_prepare_ask_beside_those_that_stay() {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut stays = asks("200m");
        stays["restartPolicy"] = "Always".into();
        let pod =
            json!({"spec": {"initContainers": [stays, asks("700m")], "containers": [asks("300m"), asks("100m")]}});
        // 200m and 700m beside each other are more than 200m, 300m and 100m.
        assert_eq!(requests(&pod)["cpu"], 900);
    }

    #[test]
    fn a_node_may_have_enough_pods() {
        let mut full = node("n", "2", "1Gi");
        full["status"]["allocatable"]["pods"] = "1".into();
        let text = describe(&pod("new", None, "10m", "0"), &[full], &[pod("a", Some("n"), "10m", "0")]);
        assert_eq!(text, ["pods: 1 requested, 0 of 1 are free on node n, 1 too little"]);
    }
}
