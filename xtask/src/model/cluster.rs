//! A cluster as it was found, and whether it can take work, from its nodes and storage classes.

use std::collections::BTreeMap;

use serde_json::Value;

/// Which cluster, and which namespace of it.
#[derive(Clone, Debug)]
pub struct Target {
    pub kubeconfig: String,
    pub context: String,
    pub namespace: String,
}

/// What was found of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Absent,
    /// Its making was interrupted: nothing of value is in it.
    Unfinished,
    Stopped,
    /// The first node runs, and these do not.
    NodesStopped(Vec<String>),
    /// The node is frozen, as by `docker pause`.
    Paused,
    Running,
    /// The node runs, and the cluster does not serve, with the reason.
    Unready(String),
    /// The node exists, but minikube's files about it are gone, and with them the keys to it.
    Orphaned,
}

/// The names that minikube gives to the nodes of a cluster, which are those of docker's containers and of their volumes.
pub fn node_names(cluster: &str, nodes: u32) -> Vec<String> {
    let more = (2..=nodes).map(|index| format!("{cluster}-m{index:02}"));
    std::iter::once(cluster.to_string()).chain(more).collect()
}

/// Whether a container of this name is a node of the cluster, however many nodes it has.
pub fn is_node(cluster: &str, name: &str) -> bool {
    let index = name.strip_prefix(cluster).and_then(|rest| rest.strip_prefix("-m"));
    name == cluster || index.is_some_and(|index| !index.is_empty() && index.chars().all(|c| c.is_ascii_digit()))
}

/// What the states of the nodes' containers say of a cluster of this many nodes; None where all of them run.
pub fn state_of_nodes(cluster: &str, nodes: u32, states: &BTreeMap<String, String>) -> Option<State> {
    let runs = |name: &String| states.get(name).is_some_and(|state| state == "running");
    let Some(first) = states.get(cluster) else { return Some(State::Absent) };
    if states.values().any(|state| state == "paused") {
        return Some(State::Paused);
    }
    if first != "running" {
        return Some(State::Stopped);
    }
    let stopped: Vec<String> = node_names(cluster, nodes).into_iter().filter(|name| !runs(name)).collect();
    (!stopped.is_empty()).then_some(State::NodesStopped(stopped))
}

/// What keeps the cluster from serving; None where every node is ready and volumes find a class.
pub fn problem(objects: &[Value]) -> Option<String> {
    let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    if of("Node").count() == 0 {
        return Some("it has no node".to_string());
    }
    for node in of("Node") {
        let conditions = node["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        if ready.is_none_or(|condition| condition["status"] != "True") {
            let why = ready.and_then(|condition| condition["message"].as_str()).unwrap_or("it says nothing of itself");
            return Some(format!("node {} is not ready: {why}", node["metadata"]["name"].as_str().unwrap_or_default()));
        }
    }
    let default = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
    match of("StorageClass").any(|class| class.pointer(default).is_some_and(|flag| flag == "true")) {
        true => None,
        false => Some("it has no default StorageClass".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(status: &str) -> Value {
        let ready = json!({"type": "Ready", "status": status, "message": "cni plugin not initialized"});
        json!({"kind": "Node", "metadata": {"name": "n"}, "status": {"conditions": [ready]}})
    }

    fn class() -> Value {
        json!({"kind": "StorageClass", "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})
    }

    #[test]
    fn a_node_is_known_by_its_name() {
        assert_eq!(node_names("todo", 1), ["todo"]);
        let names = node_names("todo", 3);
        assert_eq!(names, ["todo", "todo-m02", "todo-m03"]);
        assert!(names.iter().all(|name| is_node("todo", name)));
        assert!(!["todo-m", "todo-mine", "todo-2", "tod", "todo-m02-m03"].iter().any(|name| is_node("todo", name)));
    }

    #[test]
    fn a_cluster_runs_where_each_of_its_nodes_does() {
        let state = |states: &[(&str, &str)], nodes| {
            let states = states.iter().map(|(name, state)| (name.to_string(), state.to_string())).collect();
            state_of_nodes("todo", nodes, &states)
        };
        assert_eq!(state(&[], 1), Some(State::Absent));
        assert_eq!(state(&[("todo-m02", "running")], 2), Some(State::Absent));
        assert_eq!(state(&[("todo", "exited")], 1), Some(State::Stopped));
        assert_eq!(state(&[("todo", "running")], 1), None);
        assert_eq!(state(&[("todo", "running"), ("todo-m02", "running")], 2), None);
        let stopped = Some(State::NodesStopped(vec!["todo-m02".to_string()]));
        assert_eq!(state(&[("todo", "running"), ("todo-m02", "exited")], 2), stopped);
        assert_eq!(state(&[("todo", "running")], 2), stopped);
        assert_eq!(state(&[("todo", "running"), ("todo-m02", "paused")], 2), Some(State::Paused));
    }

    #[test]
    fn nodes_and_a_default_class_are_needed() {
        assert_eq!(problem(&[node("True"), class()]), None);
        assert_eq!(problem(&[node("False"), class()]).unwrap(), "node n is not ready: cni plugin not initialized");
        assert_eq!(problem(&[node("True")]).unwrap(), "it has no default StorageClass");
        assert_eq!(problem(&[class()]).unwrap(), "it has no node");
    }
}
