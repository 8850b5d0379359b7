//! Faults that users of such tools suffer from, made for real: each is reported in plain words, with where and what to type
//! next, what served before serves on, and once the fault is gone `up` is well again.

mod cluster;
mod pods;
mod runs;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::e2e::scenario::Scenario;
use crate::e2e::world::{World, tells};
use crate::lanes::schedule::Takes;
use xtask::run::poll;
use xtask::run::process::Output;
use xtask::tools::{crictl, docker, kubectl};

/// One for each of the two lists, so that they run side by side.
pub const PODS_NAMESPACE: &str = "todo-chatbot-pod-faults";
pub const NAMESPACE: &str = "todo-chatbot-faults";
const RELEASE: &str = "todo-chatbot";
/// The registry of images that stand in for ours; there is none of that name.
const REGISTRY: &str = "fault.invalid";

/// Pods that do not get ready.
pub const PODS: &[Scenario] = &[
    Scenario::new("an image that is not on the node is reported", pods::image_absent),
    Scenario::new("an image that cannot be pulled is reported", pods::image_unreachable),
    Scenario::new("an image for another processor is reported", pods::wrong_architecture),
    Scenario::new("a crash at start is reported with the log of the container before", pods::crash),
    Scenario::new("a container that takes too much memory is reported with its limit", pods::out_of_memory),
    Scenario::new("a readiness probe that fails is reported with its answer", pods::readiness),
    Scenario::new("a liveness probe that fails is reported as what restarts the container", pods::liveness),
    Scenario::new("a pod for which there is too little CPU is reported with what is missing", pods::too_little_cpu),
    Scenario::new(
        "a pod for which there is too little memory is reported with what is missing",
        pods::too_little_memory,
    ),
    Scenario::new("a key that a ConfigMap lacks is reported", pods::config_key),
    Scenario::new("a key that a Secret lacks is reported", pods::secret_key),
    Scenario::new("a migration that fails is reported", pods::migration),
    Scenario::new("a start that is slow is no failure", pods::slow_start),
    Scenario::new("a volume that nobody makes is reported", pods::claim_pending),
];

/// Everything else. What nothing may run beside comes last.
pub const OTHERS: &[Scenario] = &[
    Scenario::new("a quota that is used up is reported", cluster::quota),
    Scenario::new("a pod that is not admitted is reported with the rule", cluster::admission),
    Scenario::new("a hook that fails is reported with its log", cluster::hook_fails),
    Scenario::new("a hook that hangs is reported while helm waits", cluster::hook_hangs),
    Scenario::new("a Service without endpoints is reported though pods run", cluster::no_endpoints),
    Scenario::new("a node port that another Service took is left to it", cluster::port_taken).taking(Takes::NodePorts),
    Scenario::new("a namespace of others is not removed", cluster::foreign_namespace).taking(Takes::Nothing),
    Scenario::new("a namespace of another profile is left to it", cluster::other_profile).taking(Takes::Nothing),
    Scenario::new("a volume that cannot grow is refused before anything changes", cluster::volume_grows)
        .taking(Takes::Nothing),
    Scenario::new("a rollout that somebody paused goes on", cluster::paused_rollout),
    Scenario::new("a finalizer that holds the namespace is named", cluster::held_namespace).taking(Takes::NodePorts),
    Scenario::new("a password is not made anew while a volume needs the old one", cluster::password_lost),
    Scenario::new("a placeholder is refused before anything is done", cluster::placeholder).taking(Takes::Nothing),
    Scenario::new("a context that leads to another cluster is refused", cluster::other_cluster).taking(Takes::Nothing),
    Scenario::new("an upgrade that helm left pending is mended", runs::left_pending),
    Scenario::new("a change of immutable fields that fails goes back", runs::immutable_change_fails),
    Scenario::new("Ctrl-C while helm works leaves nothing pending", runs::interrupted_in_helm),
    Scenario::new("Ctrl-C in a rollout ends it, and the next up is well", runs::interrupted_in_rollout),
    Scenario::new("a run that is killed is made good by the next", runs::killed),
    Scenario::new("a second run waits for the first, and says so", runs::lock_held).taking(Takes::Nothing),
    Scenario::new("another image under the same tag is replaced on the node", cluster::other_image).taking(Takes::All),
    Scenario::new("another current context makes no difference", cluster::current_context).taking(Takes::All),
];

/// How `up` must fail.
struct Failure<'a> {
    code: i32,
    tells: &'a [&'a str],
    /// How the command begins that it says to type next.
    next: &'a str,
}

/// `up` with these values fails in this way and goes back, and what served before serves on all the while.
fn fails(world: &World, values: &str, arguments: &[&str], failure: &Failure) -> Result<()> {
    let output = while_serving(world, || world.up_with(values, arguments))?;
    failed(&output, failure)?;
    tells(&output, &["is back at revision"])
}

fn failed(output: &Output, failure: &Failure) -> Result<()> {
    let Failure { code, next, .. } = failure;
    ensure!(output.code == Some(*code), "it ended with {:?} instead of {code}\n{}", output.code, output.tail);
    tells(output, failure.tells)?;
    let last = output.tail.lines().last().unwrap_or_default();
    ensure!(last.starts_with(&format!("Next: {next}")), "its last line is not \"Next: {next}…\"\n{}", output.tail);
    Ok(())
}

/// Does something, and asks for tasks by way of the page all the while: not one request may be lost.
fn while_serving<T>(world: &World, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let url = format!("{}/api/tasks", world.url()?);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let asking = threads.spawn(|| {
            let (mut asked, mut lost) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                asked += 1;
                lost.extend(world.get(&url).err().map(|error| format!("{error:#}")));
                std::thread::sleep(Duration::from_millis(100));
            }
            (asked, lost)
        });
        let ended = work();
        done.store(true, Ordering::Relaxed);
        let (asked, lost) = asking.join().expect("asking does not panic");
        let result = ended?;
        ensure!(asked > 0, "nothing was asked meanwhile");
        ensure!(lost.is_empty(), "{} of {asked} requests were lost meanwhile, such as: {}", lost.len(), lost[0]);
        Ok(result)
    })
}

/// Waits until `ask` answers Some; `what` is said of a wait in vain.
fn await_some<T>(world: &World, what: &str, ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    poll::until(&world.ctx.spawn.interrupt, Duration::from_secs(120), ask)?
        .with_context(|| format!("{what} was waited for in vain"))
}

/// What must be done whether the work went well or not.
fn finally<T>(work: Result<T>, last: Result<()>) -> Result<T> {
    let done = work?;
    last?;
    Ok(done)
}

/// The image that the pod of a service runs.
fn image_of(world: &World, service: &str) -> Result<String> {
    let mut pods = world.pods()?.into_iter();
    let pod = pods.find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == service);
    let image = pod.as_ref().and_then(|pod| pod["spec"]["containers"][0]["image"].as_str()).map(str::to_string);
    image.with_context(|| format!("there is no pod of {service}"))
}

/// SQL as the owner of the database; what it answers, without decoration.
fn sql(world: &World, text: &str) -> Result<String> {
    let words =
        ["psql", "--username", "todo", "--dbname", "todo", "--quiet", "--tuples-only", "--no-align", "--command"];
    let words: Vec<String> = words.into_iter().chain([text]).map(str::to_string).collect();
    let call = kubectl::exec(&world.target, "postgres-0", "postgres", &words);
    Ok(world.run(call)?.trim().to_string())
}

/// Takes an image of ours off a node, and off the host.
fn forget_image(world: &World, node: &str, image: &str) -> Result<()> {
    world.run(crictl::remove_image(node, image))?;
    world.run(docker::remove_image(image)).map(drop)
}

/// The status of the release's last revision, such as deployed.
fn status(world: &World) -> Result<(u64, String)> {
    let last = xtask::live::last_revision(&world.ctx, &world.ctx.scope(RELEASE))?;
    last.map(|last| (last.number, last.status)).context("the release is not installed")
}

fn is_of(object: &Value, service: &str) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/name"] == service
}
