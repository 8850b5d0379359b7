//! How far a workload's rollout has come, from the object as the API server tells it.

use serde_json::Value;

use crate::model::object::{by_identity, identity};

#[derive(Clone, Debug, PartialEq)]
pub enum Rollout {
    Done,
    Progressing(String),
    /// The controller itself has given up.
    Failed(String),
}

/// Whether an object is one whose rollout is watched.
pub fn is_workload(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "Job")
}

/// Each wanted workload with the state of its live object.
pub fn states(wanted: &[Value], live: &[Value]) -> Vec<(String, Rollout)> {
    let live = by_identity(live);
    let workloads = wanted.iter().filter(|object| is_workload(object["kind"].as_str().unwrap_or_default()));
    workloads
        .map(|object| {
            let found = live.get(&identity(object));
            let state = found.map_or(Rollout::Failed("it is absent".to_string()), |found| judge(found));
            (object["metadata"]["name"].as_str().unwrap_or_default().to_string(), state)
        })
        .collect()
}

/// Whether there are workloads, and all of them are rolled out.
pub fn are_done(wanted: &[Value], live: &[Value]) -> bool {
    let states = states(wanted, live);
    !states.is_empty() && states.iter().all(|(_, state)| *state == Rollout::Done)
}

/// Judges one workload. An observed generation behind the wanted one is never done: its status is of an older spec.
pub fn judge(object: &Value) -> Rollout {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let status = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let wanted = number("/spec/replicas").unwrap_or(1);
    if number("/metadata/generation") > number("/status/observedGeneration").or(Some(0)) && object["kind"] != "Job" {
        return Rollout::Progressing("not yet seen by its controller".to_string());
    }
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => {
            if let Some(message) = condition(object, "Progressing", "False") {
                return Rollout::Failed(message);
            }
            let counts = (status("updatedReplicas"), status("replicas"), status("availableReplicas"));
            match counts == (wanted, wanted, wanted) {
                true => Rollout::Done,
                false => Rollout::Progressing(format!(
                    "{} of {wanted} updated, {} available, {} in all",
                    counts.0, counts.2, counts.1
                )),
            }
        }
        "StatefulSet" => {
            let current = object.pointer("/status/currentRevision") == object.pointer("/status/updateRevision");
            let counts = (status("readyReplicas"), status("replicas"));
            match current && counts == (wanted, wanted) {
                true => Rollout::Done,
                false => Rollout::Progressing(format!("{} of {wanted} ready", counts.0)),
            }
        }
        "DaemonSet" => {
            let wanted = status("desiredNumberScheduled");
            match status("updatedNumberScheduled") == wanted && status("numberAvailable") == wanted {
                true => Rollout::Done,
                false => Rollout::Progressing(format!("{} of {wanted} available", status("numberAvailable"))),
            }
        }
        "Job" => match (condition(object, "Complete", "True"), condition(object, "Failed", "True")) {
            (_, Some(message)) => Rollout::Failed(message),
            (Some(_), _) => Rollout::Done,
            _ => Rollout::Progressing("not complete".to_string()),
        },
        kind => Rollout::Failed(format!("a {kind} has no rollout")),
    }
}

fn condition(object: &Value, kind: &str, status: &str) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == status)?;
    Some(found["message"].as_str().or(found["reason"].as_str()).unwrap_or(kind).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(generation: i64, observed: i64, updated: i64, replicas: i64, available: i64) -> Value {
        json!({
            "kind": "Deployment", "metadata": {"generation": generation}, "spec": {"replicas": 2},
            "status": {"observedGeneration": observed, "updatedReplicas": updated, "replicas": replicas, "availableReplicas": available},
        })
    }

    #[test]
    fn a_deployment_is_done_when_only_new_pods_are_left_and_available() {
        assert_eq!(judge(&deployment(3, 3, 2, 2, 2)), Rollout::Done);
        assert!(matches!(judge(&deployment(4, 3, 2, 2, 2)), Rollout::Progressing(_)), "an old status proves nothing");
        assert!(matches!(judge(&deployment(3, 3, 2, 3, 3)), Rollout::Progressing(_)), "an old pod still serves");
        assert!(matches!(judge(&deployment(3, 3, 2, 2, 1)), Rollout::Progressing(_)));
    }

    #[test]
    fn all_are_done_only_where_there_are_workloads_and_each_is() {
        let named = |name: &str, mut object: Value| {
            object["metadata"]["name"] = name.into();
            object
        };
        let (done, open) = (named("a", deployment(3, 3, 2, 2, 2)), named("b", deployment(3, 3, 1, 2, 2)));
        assert!(are_done(std::slice::from_ref(&done), std::slice::from_ref(&done)));
        assert!(!are_done(&[done.clone(), open.clone()], &[done.clone(), open]));
        assert!(!are_done(&[done], &[]), "what is absent is not rolled out");
        assert!(!are_done(&[json!({"kind": "Service"})], &[]), "nothing was proven");
    }

    #[test]
    fn a_deployment_past_its_progress_deadline_has_failed() {
        let mut object = deployment(3, 3, 1, 2, 1);
        object["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
        assert_eq!(judge(&object), Rollout::Failed("timed out".to_string()));
    }

    #[test]
    fn a_stateful_set_needs_its_update_revision() {
        let mut object = json!({
            "kind": "StatefulSet", "metadata": {"generation": 1}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "readyReplicas": 1, "replicas": 1, "currentRevision": "a", "updateRevision": "a"},
        });
        assert_eq!(judge(&object), Rollout::Done);
        object["status"]["updateRevision"] = "b".into();
        assert!(matches!(judge(&object), Rollout::Progressing(_)));
    }

    #[test]
    fn a_job_ends_well_or_badly() {
        let job = |kind: &str| json!({"kind": "Job", "metadata": {"generation": 1}, "status": {"conditions": [{"type": kind, "status": "True", "message": "m"}]}});
        assert_eq!(judge(&job("Complete")), Rollout::Done);
        assert_eq!(judge(&job("Failed")), Rollout::Failed("m".to_string()));
        assert!(matches!(judge(&job("Suspended")), Rollout::Progressing(_)));
    }
}
