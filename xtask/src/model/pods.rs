//! What keeps a pod from running, in plain words, from the pod as the API server tells it.

use serde_json::Value;

/// Something wrong with one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub pod: String,
    pub container: Option<String>,
    pub why: String,
    /// Whether the log that matters is that of the container before the present one.
    pub previous_log: bool,
    /// Waiting longer won't help.
    pub fatal: bool,
}

/// The troubles of a pod; empty for one that is well, or just starting.
pub fn troubles(pod: &Value) -> Vec<Trouble> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    for condition in
        conditions.filter(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
    {
        let message = condition["message"].as_str().unwrap_or("no node takes it");
        found.push(Trouble {
            pod: name.into(),
            container: None,
            why: format!("cannot be scheduled: {message}"),
            previous_log: false,
            fatal: false,
        });
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    for status in containers {
        if let Some((why, previous_log, fatal)) = container_trouble(status) {
            let container = status["name"].as_str().map(str::to_string);
            found.push(Trouble { pod: name.into(), container, why, previous_log, fatal });
        }
    }
    found
}

/// The pods that a rollout is about: those that stay, and of each service only those of the youngest template. An older
/// one may well be broken: it is being replaced.
pub fn current(pods: &[Value]) -> Vec<&Value> {
    let staying = || pods.iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
    let label = |pod: &Value, name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_string();
    let service = |pod: &Value| label(pod, "app.kubernetes.io/name");
    let template = |pod: &Value| (label(pod, "pod-template-hash"), label(pod, "controller-revision-hash"));
    staying()
        .filter(|pod| {
            let siblings = staying().filter(|other| service(other) == service(pod));
            let youngest =
                siblings.max_by_key(|other| other["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
            youngest.is_none_or(|youngest| template(youngest) == template(pod))
        })
        .collect()
}

/// Containers that run and are not ready, for a wait that has run out.
pub fn unready(pod: &Value) -> Vec<Trouble> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses
        .filter(|status| status["ready"] != true && status["state"]["running"].is_object())
        .map(|status| Trouble {
            pod: name.to_string(),
            container: status["name"].as_str().map(str::to_string),
            why: "runs, and its readiness probe does not succeed".to_string(),
            previous_log: false,
            fatal: false,
        })
        .collect()
}

fn container_trouble(status: &Value) -> Option<(String, bool, bool)> {
    let restarts = status["restartCount"].as_u64().unwrap_or(0);
    let last = &status["lastState"]["terminated"];
    let waiting = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_default();
    match waiting {
        "ErrImageNeverPull" => Some((
            format!("its image {} is not on the node", status["image"].as_str().unwrap_or_default()),
            false,
            true,
        )),
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
            Some((format!("its image cannot be had: {message}"), false, true))
        }
        "CreateContainerConfigError" => Some((format!("its configuration is refused: {message}"), false, true)),
        "CreateContainerError" | "RunContainerError" => {
            Some((format!("its container cannot be started: {message}"), false, true))
        }
        "CrashLoopBackOff" => Some((crashes(restarts, last), true, true)),
        _ => {
            let ended = &status["state"]["terminated"];
            if ended.is_object() && ended["exitCode"] != 0 {
                return Some((format!("ended with {}", ending(ended)), false, restarts > 0));
            }
            // One crash may be a start that came too early; a second one is a fault.
            (restarts > 0 && last.is_object() && status["ready"] != true && last["exitCode"] != 0)
                .then(|| (crashes(restarts, last), true, restarts > 1))
        }
    }
}

fn crashes(restarts: u64, last: &Value) -> String {
    let times = if restarts == 1 { "once".to_string() } else { format!("{restarts} times, last") };
    format!("crashed {times} with {}", ending(last))
}

fn ending(terminated: &Value) -> String {
    let code = terminated["exitCode"].as_i64().unwrap_or(-1);
    match terminated["reason"].as_str().unwrap_or_default() {
        "OOMKilled" => format!("exit code {code}: out of memory, see its limits"),
        "" | "Error" => format!("exit code {code}"),
        reason => format!("exit code {code} ({reason})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: Value) -> Value {
        json!({"metadata": {"name": "backend-1"}, "status": {"containerStatuses": [status]}})
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
        let names: Vec<_> = current(&pods).iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["new"]);
    }

    #[test]
    fn a_pod_that_is_well_or_just_starting_has_no_trouble() {
        assert_eq!(
            troubles(&pod(json!({"name": "backend", "ready": true, "restartCount": 0, "state": {"running": {}}}))),
            []
        );
        assert_eq!(
            troubles(&pod(json!({"name": "backend", "state": {"waiting": {"reason": "ContainerCreating"}}}))),
            []
        );
    }

    #[test]
    fn a_crash_loop_points_at_the_previous_log() {
        let found = troubles(&pod(json!({
            "name": "backend", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}},
        })));
        assert_eq!(found[0].why, "crashed 3 times, last with exit code 2");
        assert!(found[0].previous_log && found[0].fatal);
    }

    #[test]
    fn a_missing_image_is_fatal_at_once() {
        let found = troubles(&pod(
            json!({"name": "backend", "image": "a:1", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}),
        ));
        assert_eq!(found[0].why, "its image a:1 is not on the node");
        assert!(found[0].fatal);
    }

    #[test]
    fn running_out_of_memory_is_said() {
        let found = troubles(&pod(json!({
            "name": "backend", "restartCount": 1, "ready": false, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        })));
        assert_eq!(found[0].why, "crashed once with exit code 137: out of memory, see its limits");
        assert!(!found[0].fatal);
    }

    #[test]
    fn an_unschedulable_pod_tells_the_schedulers_words() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}]}});
        assert_eq!(troubles(&pod)[0].why, "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu.");
    }
}
