//! `debug`: a shell in a container of its own, which sees the processes and files of a service whose image has none.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::commands::exec::hand_over;
use crate::config::{Base, Config};
use crate::live;
use crate::live::service::{RunningContainer, deployed_image, need_known, running_container};
use crate::model::image::qualified;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::poll;
use crate::stages::{cluster, load, setup};
use crate::tools::kubectl;

/// What the container itself runs: nothing, for a working day. A pod keeps such a container as long as it lives itself, so
/// that one which ended is listed and of no use, while the next `debug` finds the one that runs.
const COMMAND: [&str; 3] = ["sh", "-c", "exec sleep 28800"];
/// How long it may take to start; its image is on the node.
const STARTS: Duration = Duration::from_secs(60);

/// Opens a shell beside the service's container; its exit code is this program's.
pub fn run(project: &Project, service: &str, image: Option<&str>) -> Result<()> {
    need_known(project, &[service.to_string()], "cargo xtask debug SERVICE")?;
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let found = running_container(ctx, service)?;
    let image = match image {
        Some(image) => image.to_string(),
        None => default_image(ctx, service, &found.node)?,
    };
    need_image(ctx, &found.node, &image)?;
    let container = ensure_container(ctx, &found, service, &image)?;
    ctx.ui.say(&format!("a shell of {image} beside {service}, whose files are in /proc/1/root"));
    // Attaching to the container would lose the shell's exit code: kubectl ends with 0 then.
    hand_over(ctx, &RunningContainer { container, ..found }, &["sh".to_string()])
}

/// The image of a service of the profile that has a shell by what it is based on.
fn default_image(ctx: &Context, service: &str, node: &str) -> Result<String> {
    for candidate in with_shell(&ctx.config) {
        if let Some(image) = deployed_image(ctx, candidate)? {
            return Ok(image);
        }
    }
    let message = format!("no service of profile {} with the base \"debian\" is deployed", ctx.config.profile);
    let next =
        format!("Next: cargo xtask debug {service} --image IMAGE, with an image of node {node} that has a shell");
    Err(Stop::usage(format!("{message}, so no image with a shell is known\n{next}")).into())
}

/// The services of the profile that are based on Debian, by name.
fn with_shell(config: &Config) -> Vec<&str> {
    let is_debian = |service: &&str| config.services.get(*service).is_some_and(|about| about.base == Base::Debian);
    let mut found: Vec<&str> = config.running().map(|(service, _)| service).filter(is_debian).collect();
    found.sort();
    found
}

/// Fails where the node lacks the image: no container can be taken out of a pod, not even one that never starts.
fn need_image(ctx: &Context, node: &str, image: &str) -> Result<()> {
    let wanted = qualified(image);
    if load::list(ctx, node)?.keys().any(|reference| qualified(reference) == wanted) {
        return Ok(());
    }
    let message = format!("node {node} has no image {image}");
    let import =
        format!("docker save {image} | docker exec --interactive {node} ctr --namespace k8s.io images import -");
    Err(Stop::needs_setup(format!("{message}\nNext: {import}, after docker pull {image} where docker lacks it too"))
        .into())
}

/// The name of a debugging container that runs: one that an earlier call has left, else a new one.
fn ensure_container(ctx: &Context, found: &RunningContainer, service: &str, image: &str) -> Result<String> {
    let RunningContainer { target, pod, container, .. } = found;
    let observe =
        || Ok::<Value, anyhow::Error>(live::objects(ctx, target, &format!("pod/{pod}"))?.pop().unwrap_or_default());
    let before = observe()?;
    if let Some(name) = reusable(&before, container, image) {
        return Ok(name.to_string());
    }
    let name = new_name(&before);
    let _glance = ctx.ui.glance(&format!("start {name} in pod {pod}"));
    ctx.run(kubectl::debug(target, pod, container, &name, image, &COMMAND.map(str::to_string)))?;
    let next = format!(
        "Next: cargo xtask debug {service} --image IMAGE, with one that has sh and sleep, and a user other than root"
    );
    let started = poll::until(&ctx.spawn.interrupt, STARTS, || match start(&observe()?, &name) {
        Start::Running => Ok(Some(())),
        Start::Pending => Ok(None),
        Start::Failed(why) => {
            let message = format!("container {name} of pod {pod} cannot start from image {image}: {why}");
            Err(Stop::failed(format!("{message}\n{next}")).into())
        }
    })?;
    match started {
        Some(()) => Ok(name),
        None => {
            let message = format!("container {name} of pod {pod} has not started within {} s", STARTS.as_secs());
            Err(Stop::deadline(format!("{message}\nNext: cargo xtask status --profile {}", ctx.config.profile)).into())
        }
    }
}

/// How far a debugging container has come.
#[derive(Debug, PartialEq)]
enum Start {
    Pending,
    Running,
    Failed(String),
}

fn start(pod: &Value, name: &str) -> Start {
    if pod.is_null() {
        return Start::Failed("the pod is gone".to_string());
    }
    let Some(status) = statuses(pod).find(|status| status["name"] == name) else { return Start::Pending };
    let state = &status["state"];
    if state["running"].is_object() {
        return Start::Running;
    }
    let of = if state["terminated"].is_object() { &state["terminated"] } else { &state["waiting"] };
    match of["reason"].as_str().unwrap_or_default() {
        "" | "ContainerCreating" | "PodInitializing" => Start::Pending,
        reason => {
            let message = of["message"].as_str().map(|message| format!(": {message}"));
            Start::Failed(format!("{reason}{}", message.unwrap_or_default()))
        }
    }
}

/// A debugging container that runs, of this image and beside this container.
fn reusable<'a>(pod: &'a Value, beside: &str, image: &str) -> Option<&'a str> {
    let wanted = qualified(image);
    let fits = |one: &&Value| {
        one["targetContainerName"] == beside && one["image"].as_str().is_some_and(|image| qualified(image) == wanted)
    };
    let running = |one: &'a Value| {
        let name = one["name"].as_str()?;
        (name.starts_with(PREFIX) && start(pod, name) == Start::Running).then_some(name)
    };
    debugging(pod).filter(fits).find_map(running)
}

/// By what a container is known as one of this command's.
const PREFIX: &str = "debug-";

/// A name that no container of the pod has.
fn new_name(pod: &Value) -> String {
    let taken = |name: &String| debugging(pod).any(|one| one["name"] == name.as_str());
    let mut names = (1..).map(|number| format!("{PREFIX}{number}"));
    names.find(|name| !taken(name)).expect("there is always a next number")
}

fn debugging(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten()
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["ephemeralContainerStatuses"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ConfigFile, parse_config};

    fn pod(containers: &[(&str, &str, Value)]) -> Value {
        let spec: Vec<Value> = containers
            .iter()
            .map(|(name, image, _)| json!({"name": name, "image": image, "targetContainerName": "web"}))
            .collect();
        let status: Vec<Value> =
            containers.iter().map(|(name, _, state)| json!({"name": name, "state": state})).collect();
        json!({"spec": {"ephemeralContainers": spec}, "status": {"ephemeralContainerStatuses": status}})
    }

    fn running() -> Value {
        json!({"running": {}})
    }

    #[test]
    fn a_container_that_cannot_start_says_why_and_one_that_has_not_yet_is_waited_for() {
        let of = |state: Value| start(&pod(&[("debug-1", "a:1", state)]), "debug-1");
        assert_eq!(of(running()), Start::Running);
        assert_eq!(of(json!({})), Start::Pending);
        assert_eq!(of(json!({"waiting": {"reason": "ContainerCreating"}})), Start::Pending);
        assert_eq!(start(&pod(&[]), "debug-1"), Start::Pending);
        let root = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "image will run as root"}});
        assert_eq!(of(root), Start::Failed("CreateContainerConfigError: image will run as root".to_string()));
        let ended = json!({"terminated": {"reason": "StartError", "message": "exec: \"sh\": not found"}});
        assert_eq!(of(ended), Start::Failed("StartError: exec: \"sh\": not found".to_string()));
        assert_eq!(of(json!({"terminated": {"reason": "Completed"}})), Start::Failed("Completed".to_string()));
        assert_eq!(start(&Value::Null, "debug-1"), Start::Failed("the pod is gone".to_string()));
    }

    #[test]
    fn a_container_is_used_again_while_it_runs_with_the_same_image_and_target() {
        let ended = json!({"terminated": {"reason": "Completed"}});
        let there = pod(&[("debug-1", "a:1", ended), ("debug-2", "a:1", running()), ("debugger-x", "b:1", running())]);
        assert_eq!(reusable(&there, "web", "docker.io/library/a:1"), Some("debug-2"));
        assert_eq!(reusable(&there, "web", "a:2"), None);
        assert_eq!(reusable(&there, "beside", "a:1"), None);
        // A person's own may end at any time.
        assert_eq!(reusable(&there, "web", "b:1"), None);
    }

    #[test]
    fn the_database_has_a_shell_and_the_services_on_an_empty_base_have_none() {
        let file = |file, text| ConfigFile { file, text };
        let base = file("xtask.toml", include_str!("../../../xtask.toml"));
        let dev = file("dev.toml", include_str!("../../../k8s/profiles/dev.toml"));
        let config = parse_config("dev", base, dev, &|_| true).unwrap();
        assert_eq!(with_shell(&config), ["postgres"]);
    }

    #[test]
    fn a_name_is_one_that_the_pod_has_not_used() {
        assert_eq!(new_name(&pod(&[])), "debug-1");
        assert_eq!(new_name(&pod(&[("debug-1", "a", running()), ("debug-3", "a", running())])), "debug-2");
    }
}
