//! A cluster as it was found, and whether it can take work, from its nodes and storage classes.

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
    /// The node is frozen, as by `docker pause`.
    Paused,
    Running,
    /// The node runs, and the cluster does not serve, with the reason.
    Unready(String),
    /// The node exists, but minikube's files about it are gone, and with them the keys to it.
    Orphaned,
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
    fn nodes_and_a_default_class_are_needed() {
        assert_eq!(problem(&[node("True"), class()]), None);
        assert_eq!(problem(&[node("False"), class()]).unwrap(), "node n is not ready: cni plugin not initialized");
        assert_eq!(problem(&[node("True")]).unwrap(), "it has no default StorageClass");
        assert_eq!(problem(&[class()]).unwrap(), "it has no node");
    }
}
