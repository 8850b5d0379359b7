//! Pods whose node is away: their own status says nothing of it, as the node's kubelet would have to write it.

use std::time::Duration;

use serde_json::Value;

use crate::diagnosis::cause::{Cause, Object, Problem};

/// The API server waits 40 s for a node's word before it calls it not ready, so little more is to be waited for.
const MAY_COME_BACK: Duration = Duration::from_secs(10);

/// The problems of those pods that are on a node which is not ready, or is none of `nodes` any more.
pub fn away(pods: &[&Value], nodes: &[Value]) -> Vec<Problem> {
    pods.iter().filter_map(|pod| on_a_node_away(pod, nodes)).collect()
}

fn on_a_node_away(pod: &Value, nodes: &[Value]) -> Option<Problem> {
    let name = pod["spec"]["nodeName"].as_str()?;
    let node = nodes.iter().find(|node| node["metadata"]["name"] == name);
    let condition = node.map(|node| ready(node).unwrap_or(&Value::Null));
    if condition.is_some_and(|condition| condition["status"] == "True") {
        return None;
    }
    let message = match condition {
        None => "it is no node of the cluster any more",
        Some(condition) => condition["message"].as_str().unwrap_or("it says nothing of itself"),
    };
    Some(Problem {
        object: Object {
            kind: "pod".to_string(),
            name: pod["metadata"]["name"].as_str().unwrap_or_default().to_string(),
        },
        container: None,
        cause: Cause::NodeAway { node: name.to_string(), message: message.trim_end_matches('.').to_string() },
        since: condition.and_then(|condition| condition["lastTransitionTime"].as_str()).map(str::to_string),
        log: None,
        grace: Some(MAY_COME_BACK),
    })
}

fn ready(node: &Value) -> Option<&Value> {
    node["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_of_a_node_that_is_not_ready_waits_in_vain() {
        let pod = |node: &str| json!({"metadata": {"name": "web-1"}, "spec": {"nodeName": node}});
        let node = |name: &str, status: &str| {
            let ready = json!({"type": "Ready", "status": status, "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": "2026-01-31T12:00:00Z"});
            json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "DiskPressure"}, ready]}})
        };
        let nodes = [node("one", "True"), node("two", "Unknown"), json!({"metadata": {"name": "three"}})];
        let why = |of: &str| away(&[&pod(of)], &nodes).first().map(Problem::why);
        assert_eq!(why("one"), None);
        let wanted = "its node two is not ready: Kubelet stopped posting node status";
        assert_eq!(why("two").as_deref(), Some(wanted));
        assert_eq!(why("three").as_deref(), Some("its node three is not ready: it says nothing of itself"));
        assert!(why("four").unwrap().contains("no node of the cluster any more"));
        assert_eq!(away(&[&json!({"spec": {}})], &nodes), [], "what has no node yet is the scheduler's");
        assert_eq!(away(&[&pod("two")], &nodes)[0].since.as_deref(), Some("2026-01-31T12:00:00Z"));
    }
}
