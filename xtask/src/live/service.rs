//! One service of the profile: whether there is one of that name, the pod of it that a person means, and its image.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::model::cluster::Target;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::tools::containerd::Place;
use crate::tools::kubectl;

/// A container that runs.
#[derive(Clone, Debug)]
pub struct RunningContainer {
    pub target: Target,
    pub pod: String,
    pub container: String,
    /// The pod's node, which is also the name of docker's container that plays it.
    pub node: String,
}

/// A container that runs as its node has it, and the image that it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub place: Place,
    pub image: String,
}

/// Fails where the profile runs no service of one of these names; `command` is what to type with another.
pub fn need_known(project: &Project, asked: &[String], command: &str) -> Result<()> {
    let mut known: Vec<&str> = project.config.running().map(|(service, _)| service).collect();
    known.sort();
    let unknown: Vec<&str> = asked.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!("profile {} runs no service {}", project.config.profile, unknown.join(", "));
    Err(Stop::usage(format!("{message}\nNext: {command}, with {}", known.join(", "))).into())
}

/// The service's own container, in a pod that is ready where there is one, else in one that runs; of several the newest.
pub fn running_container(ctx: &Context, service: &str) -> Result<RunningContainer> {
    let (target, pods) = pods(ctx, service)?;
    match choose(&pods, service) {
        Some((pod, container)) => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let (name, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
            Ok(RunningContainer { target, pod: name, container: container.to_string(), node })
        }
        None => {
            let message = format!("no container of {service} runs");
            Err(Stop::failed(format!("{message}\nNext: cargo xtask status --profile {}", ctx.config.profile)).into())
        }
    }
}

/// The image of the service's own container, whether it runs or not; None where it has no pod.
pub fn deployed_image(ctx: &Context, service: &str) -> Result<Option<String>> {
    let (_, pods) = pods(ctx, service)?;
    let containers = pods.iter().filter_map(|pod| own(&pod["spec"]["containers"], service));
    Ok(containers.filter_map(|container| container["image"].as_str()).next().map(str::to_string))
}

/// The service's pods but those of tests, with the cluster and namespace that they are in.
pub fn pods(ctx: &Context, service: &str) -> Result<(Target, Vec<Value>)> {
    let release = ctx.config.running().find(|(name, _)| *name == service).map(|(_, release)| release);
    let scope = ctx.scope(release.unwrap_or_default());
    let selector = format!(
        "app.kubernetes.io/instance={},app.kubernetes.io/name={service},app.kubernetes.io/component!=test",
        scope.release
    );
    let pods = ctx.run(kubectl::get(&scope.target, "pods", Some(&selector)))?;
    Ok((scope.target, pods))
}

/// The service's own containers that run, wherever they are.
pub fn places(ctx: &Context, service: &str) -> Result<Vec<Running>> {
    let (_, pods) = pods(ctx, service)?;
    pods.iter().filter_map(|pod| place(pod, service).transpose()).collect()
}

/// Where a pod's own container runs; None of one that doesn't, or is going.
fn place(pod: &Value, service: &str) -> Result<Option<Running>> {
    let own_of = |containers| own(containers, service);
    let Some(status) = own_of(&pod["status"]["containerStatuses"]).filter(|own| own["state"]["running"].is_object())
    else {
        return Ok(None);
    };
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return Ok(None);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let id = text(&status["containerID"]);
    let Some(id) = id.strip_prefix("containerd://") else { bail!("the node's containers are not containerd's: {id}") };
    let place = Place { node: text(&pod["spec"]["nodeName"]), id: id.to_string() };
    let image = own_of(&pod["spec"]["containers"]).map_or(String::new(), |container| text(&container["image"]));
    Ok(Some(Running { place, image }))
}

/// The entry of a pod's list of containers that is the service's own: a sidecar has a name of its own.
pub fn own<'a>(containers: &'a Value, service: &str) -> Option<&'a Value> {
    let containers = containers.as_array()?;
    containers.iter().find(|container| container["name"] == service).or(containers.first())
}

/// A pod and the name of a container of it.
fn choose<'a>(pods: &'a [Value], service: &str) -> Option<(&'a Value, &'a str)> {
    let containers = pods.iter().filter_map(|pod| {
        let own = own(&pod["status"]["containerStatuses"], service)?;
        own["state"]["running"].is_object().then_some((pod, own))
    });
    let rank = |(pod, own): &(&Value, &Value)| {
        let stays = !pod["metadata"]["deletionTimestamp"].is_string();
        let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_string();
        (stays, own["ready"] == true, created)
    };
    let (pod, own) = containers.max_by_key(rank)?;
    Some((pod, own["name"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, created: &str, running: bool, ready: bool) -> Value {
        let state = if running { json!({"running": {}}) } else { json!({"waiting": {}}) };
        json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "status": {"containerStatuses": [{"name": "beside", "state": {"running": {}}, "ready": true},
                {"name": "web", "state": state, "ready": ready}]},
        })
    }

    fn chosen(pods: &[Value]) -> Option<String> {
        choose(pods, "web")
            .map(|(pod, container)| format!("{} {container}", pod["metadata"]["name"].as_str().unwrap_or_default()))
    }

    #[test]
    fn a_ready_pod_comes_before_a_newer_one_that_is_not() {
        let pods = [pod("a", "1", true, true), pod("b", "2", true, false), pod("c", "3", false, false)];
        assert_eq!(chosen(&pods).as_deref(), Some("a web"));
        assert_eq!(chosen(&pods[1..]).as_deref(), Some("b web"));
        assert_eq!(chosen(&pods[2..]), None);
        let newer = [pod("a", "1", true, true), pod("b", "2", true, true)];
        assert_eq!(chosen(&newer).as_deref(), Some("b web"));
    }

    #[test]
    fn a_pod_that_leaves_is_the_last_choice() {
        let mut leaving = pod("a", "2", true, true);
        leaving["metadata"]["deletionTimestamp"] = json!("3");
        assert_eq!(chosen(&[leaving, pod("b", "1", true, false)]).as_deref(), Some("b web"));
    }

    #[test]
    fn only_what_runs_and_stays_is_a_place() {
        let pod = |change: &dyn Fn(&mut Value)| {
            let mut pod = json!({"metadata": {}, "spec": {"nodeName": "n", "containers": [
                {"name": "sidecar", "image": "s:1"}, {"name": "web", "image": "w:1"}]}, "status": {"containerStatuses": [
                {"name": "sidecar", "state": {"running": {}}, "containerID": "containerd://s"},
                {"name": "web", "state": {"running": {}}, "containerID": "containerd://w"}]}});
            change(&mut pod);
            place(&pod, "web")
        };
        let place_of = Place { node: "n".to_string(), id: "w".to_string() };
        let running = Running { place: place_of, image: "w:1".to_string() };
        assert_eq!(pod(&|_| {}).unwrap(), Some(running));
        assert_eq!(pod(&|pod| pod["metadata"]["deletionTimestamp"] = "x".into()).unwrap(), None);
        assert_eq!(pod(&|pod| pod["status"]["containerStatuses"][1]["state"] = json!({"waiting": {}})).unwrap(), None);
        let docker = |pod: &mut Value| pod["status"]["containerStatuses"][1]["containerID"] = "docker://w".into();
        assert!(pod(&docker).unwrap_err().to_string().contains("docker://w"));
    }
}
