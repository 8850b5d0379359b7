//! The one minikube profile of the project's own: made when absent, started when stopped, remade only on request.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::config::{Cluster, NodePorts};
use crate::live::pinned::Expected;
use crate::live::snapshot::Snapshot;
use crate::model::cluster::{State, node_names, problem, state_of_nodes};
use crate::run::call::Call;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::{lock, poll};
use crate::stages::setup::Ready;
use crate::stages::{addons, containers, load, nodes};
use crate::tools::minikube::Published;
use crate::tools::{docker, kubectl, minikube};

/// An API server that is just coming up deserves a moment before it is called unready.
const SOON: Duration = Duration::from_secs(8);
/// The file of a node that says whose it is.
const OWNER: &str = "/var/lib/xtask-owner";

/// Makes the cluster serve. One run at a time: several namespaces share it. Returns what is in it then, if it was looked at.
pub fn bring_up(ready: &Ready) -> Result<Option<Snapshot>> {
    let ctx = &ready.ctx;
    let _lock = lock::hold(ctx, lock::CLUSTER)?;
    let seen = ensure(ready)?;
    let absent = addons::absent(ctx, &ready.addons)?;
    if absent.is_empty() {
        return Ok(seen);
    }
    load::ensure(ctx, &nodes(ctx)?, &ready.addons)?;
    addons::enable(ctx, &absent, &ready.addons)?;
    Ok(None)
}

fn need_running(state: State, name: &str) -> Result<()> {
    let message = match state {
        State::Running => return Ok(()),
        State::Absent => format!("there is no cluster {name}"),
        State::Stopped => format!("the cluster {name} is stopped"),
        State::NodesStopped(nodes) => format!("node {} of the cluster {name} is stopped", nodes.join(" and ")),
        State::Paused => format!("the node of the cluster {name} is paused"),
        State::Unfinished => format!("creation of cluster {name} was interrupted"),
        State::Unready(why) => format!("the cluster {name} runs but does not serve: {why}"),
        State::Orphaned => format!("a node container {name} exists, but its keys are gone"),
    };
    Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask up")).into())
}

/// Fails where the cluster does not serve, or is another than the target that was chosen.
pub fn need_serving(ctx: &Context) -> Result<()> {
    match Expected::of(&ctx.folders, &ctx.root, &ctx.config) {
        Some(expected) => expected.check(&ctx.spawn),
        None => need_running(observe(ctx)?, &ctx.config.cluster.name),
    }
}

/// Creates, starts or repairs the cluster until it serves. Returns what was in it, where it served already.
pub fn ensure(ready: &Ready) -> Result<Option<Snapshot>> {
    let ctx = &ready.ctx;
    let name = &ctx.config.cluster.name;
    let (state, seen) = look(ctx)?;
    if !matches!(state, State::Absent | State::Unfinished | State::Orphaned) {
        nodes::check_count(&ctx.config.cluster, &profile(ctx))?;
    }
    match state {
        State::Running => return Ok(seen),
        State::Absent => make(ready)?,
        State::Unfinished => {
            ctx.ui.say(&format!("creation of cluster {name} was interrupted; recreating it"));
            delete(ctx)?;
            make(ready)?;
        }
        State::Stopped => start_again(ready, "start the cluster")?,
        State::NodesStopped(nodes) => {
            ctx.ui.say(&format!("node {} is stopped; starting it", nodes.join(" and ")));
            refuse_anothers(ctx)?;
            start_again(ready, "start the cluster")?;
        }
        State::Paused => {
            refuse_anothers(ctx)?;
            for (node, _) in node_states(ctx)?.iter().filter(|(_, state)| *state == "paused") {
                ctx.run(docker::unpause(node))?;
                ctx.ui.say(&format!("the node {node} was paused, and runs again"));
            }
        }
        State::Unready(why) => {
            ctx.ui.say(&format!("the cluster {name} does not serve: {why}"));
            refuse_anothers(ctx)?;
            let mended = mend(ready);
            ctx.spawn.interrupt.check()?;
            let why = match mended {
                Ok(None) => return Ok(None),
                Ok(Some(why)) => why,
                Err(error) => format!("{error:#}"),
            };
            remake(ready, &format!("the cluster {name} is broken: {why}"))?;
        }
        State::Orphaned => {
            refuse_anothers(ctx)?;
            remake(ready, &format!("a node container {name} exists, but its keys are gone"))?;
        }
    }
    match wait_ready(ctx)? {
        None => Ok(None),
        Some(why) => {
            let message = format!("the cluster {name} was started but does not serve: {why}");
            Err(Stop::failed(format!("{message}\nNext: cargo xtask down --cluster, then up")).into())
        }
    }
}

pub fn observe(ctx: &Context) -> Result<State> {
    let _glance = ctx.ui.glance("look at the cluster");
    match observe_node(ctx)? {
        Some(state) => Ok(state),
        None => Ok(state_of(wait(ctx, SOON)?)),
    }
}

/// The same with all that is in a cluster that serves. A target is refused where it is another, and where it does not answer.
pub fn look(ctx: &Context) -> Result<(State, Option<Snapshot>)> {
    let _glance = ctx.ui.glance("look at the cluster");
    if ctx.config.target.is_some() {
        need_serving(ctx)?;
        return Ok((State::Running, Some(Snapshot::take(ctx)?)));
    }
    if let Some(state) = observe_node(ctx)? {
        return Ok((state, None));
    }
    let mut seen = None;
    let why = wait_for(ctx, SOON, || {
        Ok(match Snapshot::try_take(ctx)? {
            Ok(snapshot) => problem(&seen.insert(snapshot).objects),
            Err(said) => Some(unanswered(&said)),
        })
    })?;
    let state = state_of(why);
    Ok((state.clone(), seen.filter(|_| state == State::Running)))
}

fn state_of(why: Option<String>) -> State {
    why.map_or(State::Running, State::Unready)
}

/// The state as far as docker and minikube's files tell it; None where the cluster itself has to be asked.
fn observe_node(ctx: &Context) -> Result<Option<State>> {
    let cluster = &ctx.config.cluster;
    let seen = state_of_nodes(&cluster.name, cluster.nodes, &node_states(ctx)?);
    if seen == Some(State::Absent) {
        return Ok(seen);
    }
    if unfinished(ctx).exists() {
        return Ok(Some(State::Unfinished));
    }
    if !profile(ctx).exists() {
        return Ok(Some(State::Orphaned));
    }
    if seen.is_some() {
        return Ok(seen);
    }
    let kubeconfig = ctx.folders.kubeconfig();
    Ok((!kubeconfig.exists()).then(|| State::Unready(format!("{} is gone", kubeconfig.display()))))
}

/// The states of the nodes' containers by their names, without those that are not there.
fn node_states(ctx: &Context) -> Result<BTreeMap<String, String>> {
    let Cluster { name, nodes, .. } = &ctx.config.cluster;
    if *nodes > 1 {
        return ctx.run(docker::node_states(name));
    }
    let state = ctx.spawn.attempt(docker::container_state(name))?.ok();
    Ok(state.into_iter().map(|state| (name.clone(), state)).collect())
}

/// The names of the nodes that images are loaded into, of which a cluster that runs has at least one.
pub fn nodes(ctx: &Context) -> Result<Vec<String>> {
    let nodes = match ctx.config.target {
        Some(_) => containers::of_target(ctx)?,
        None => ctx.run(docker::nodes(&ctx.config.cluster.name))?,
    };
    match nodes.is_empty() {
        false => Ok(nodes),
        true => Err(Stop::failed("docker knows no node of the cluster\nNext: cargo xtask up").into()),
    }
}

/// Removes the cluster and everything in it.
pub fn delete(ctx: &Context) -> Result<()> {
    refuse_anothers(ctx)?;
    let step = ctx.ui.step("remove the cluster");
    ctx.spawn_minikube()?.run(minikube::delete(&ctx.config.cluster.name).within(ctx.config.deadlines.cluster))?;
    forget_unfinished(ctx)?;
    step.done(&ctx.config.cluster.name);
    Ok(())
}

/// The same where there is no minikube any more: by what docker has of the cluster. Minikube names its network and volume
/// as the profile.
pub fn delete_by_docker(project: &Project) -> Result<()> {
    let Cluster { name, nodes, .. } = &project.config.cluster;
    for call in deletion_by_docker(name, *nodes) {
        let text = call.text();
        let output = project.output(call.within(project.config.deadlines.cluster))?;
        // What is gone already was what was wanted.
        if !output.success && !output.tail.to_lowercase().contains("no such") && !output.tail.contains("not found") {
            return Err(Stop::failed(format!("`{text}` failed")).with_detail(&output.tail).into());
        }
    }
    Ok(())
}

pub fn deletion_by_docker(name: &str, nodes: u32) -> Vec<Call> {
    let nodes = node_names(name, nodes);
    let containers = nodes.iter().map(|node| docker::remove_container(node));
    let volumes = nodes.iter().map(|node| docker::remove_volume(node));
    containers.chain([docker::remove_network(name)]).chain(volumes).collect()
}

/// Whether minikube describes a cluster of ours, whole or unfinished.
pub fn is_described(project: &Project) -> bool {
    profile(project).exists() || unfinished(project).exists()
}

fn remake(ready: &Ready, why: &str) -> Result<()> {
    let ctx = &ready.ctx;
    if !ctx.yes {
        let message = format!("{why}\nNext: run the same command with --yes to remake it; the data in it is lost then");
        return Err(Stop::needs_setup(message).into());
    }
    ctx.ui.say(&format!("{why}; it is remade"));
    delete(ctx)?;
    make(ready)
}

/// Rewrites a missing kubeconfig; restarts the node if that does not help. A node that docker
/// restarted has kubelet stopped: starting it is what minikube itself advises.
fn mend(ready: &Ready) -> Result<Option<String>> {
    let ctx = &ready.ctx;
    if !ctx.folders.kubeconfig().exists() {
        ctx.run(minikube::update_context(&ctx.config.cluster.name).within(ctx.config.deadlines.cluster))?;
        if wait(ctx, SOON)?.is_none() {
            return Ok(None);
        }
    }
    if is_paused_inside(ctx)? {
        ctx.spawn_minikube()?.run(minikube::unpause(&ctx.config.cluster.name).within(ctx.config.deadlines.cluster))?;
        ctx.ui.say(&format!("the containers of {} were paused, and run again", ctx.config.cluster.name));
        if wait_ready(ctx)?.is_none() {
            return Ok(None);
        }
    }
    start_again(ready, "mend the cluster")?;
    wait_ready(ctx)
}

/// Whether `minikube pause` has frozen what runs in the node; the node itself runs then.
fn is_paused_inside(ctx: &Context) -> Result<bool> {
    // It exits with an error where not all runs, and prints the same.
    let status = ctx.spawn_minikube()?.output(minikube::status(&ctx.config.cluster.name))?.stdout;
    Ok(minikube::is_paused(&status))
}

/// Refuses a node of the same name that another user of this machine created: minikube goes by the name alone.
fn refuse_anothers(project: &Project) -> Result<()> {
    let name = &project.config.cluster.name;
    let copy = project.folders.state.join(format!("{name}.owner"));
    let call = docker::copy_out(name, OWNER, &copy.display().to_string());
    // A node that says nothing is one whose making was interrupted, or none at all.
    if !project.output(call)?.success {
        return Ok(());
    }
    let owner = fs::read_to_string(&copy)?;
    fs::remove_file(&copy)?;
    // Whoever was killed while it wrote its name has left an empty file.
    if owner.trim().is_empty() || owner.trim() == self::owner(project) {
        return Ok(());
    }
    let message = format!("the node {name} belongs to {}, and this run to {}", owner.trim(), self::owner(project));
    let next = "Next: another cluster.name and other cluster.node_ports in xtask.toml, or have its owner remove it";
    Err(Stop::needs_setup(format!("{message}\n{next}")).into())
}

/// Whose a node is: the folder that has its keys.
fn owner(project: &Project) -> String {
    project.folders.minikube_home().display().to_string()
}

fn make(ready: &Ready) -> Result<()> {
    let ctx = &ready.ctx;
    // What is left of several nodes would be given the first one's ports again.
    if ctx.config.cluster.nodes > 1 && profile(ctx).exists() {
        delete(ctx)?;
    }
    preflight(ctx)?;
    // With a profile there, a volume with data may be there too, and this is no first making.
    if !profile(ctx).exists() {
        fs::write(unfinished(ctx), "")?;
    }
    start(ready, Published::NodePorts, "make the cluster")?;
    ctx.run(docker::write_line(&ctx.config.cluster.name, OWNER, &owner(ctx)))?;
    if ctx.config.cluster.nodes > 1 {
        nodes::lay_network(ready)?;
        start(ready, Published::Nothing, "close the ports to further nodes")?;
        nodes::add(ready)?;
    }
    forget_unfinished(ctx)
}

fn forget_unfinished(project: &Project) -> Result<()> {
    match fs::remove_file(unfinished(project)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Minikube's own description of the cluster.
fn profile(project: &Project) -> PathBuf {
    project.folders.minikube_home().join("profiles").join(&project.config.cluster.name).join("config.json")
}

/// A file that is there while the cluster is being made. Minikube takes what an interrupted start has left for a whole
/// cluster, network and all, so this can't be found out by looking.
fn unfinished(project: &Project) -> PathBuf {
    project.folders.state.join(format!("{}.unfinished", project.config.cluster.name))
}

/// Starts all nodes of a cluster that was made before.
fn start_again(ready: &Ready, text: &str) -> Result<()> {
    if ready.ctx.config.cluster.nodes == 1 {
        return start(ready, Published::NodePorts, text);
    }
    // More than one node can't have the same ports, and the first has them from its making.
    start(ready, Published::Nothing, text)?;
    nodes::equip_all(ready)
}

fn start(ready: &Ready, published: Published, text: &str) -> Result<()> {
    let ctx = &ready.ctx;
    let step = ctx.ui.step(text);
    let show = |line: &str| step.update(line.trim_start_matches(['*', '-', '!', ' ']));
    let root = rustix::process::geteuid().is_root();
    let start = minikube::start(&ctx.config.cluster, ready.images.node(), published, root);
    ctx.spawn_minikube()?.run_showing(start.within(ctx.config.deadlines.cluster), &show)?;
    step.done(&format!("minikube profile {}, Kubernetes v{}", ctx.config.cluster.name, ctx.config.cluster.kubernetes));
    Ok(())
}

/// Waits for a cluster that has just been started; what is still missing at the end of it.
fn wait_ready(ctx: &Context) -> Result<Option<String>> {
    wait(ctx, Duration::from_secs(60))
}

fn wait(ctx: &Context, deadline: Duration) -> Result<Option<String>> {
    wait_for(ctx, deadline, || {
        Ok(match ctx.spawn.attempt(kubectl::get_cluster(&ctx.target()))? {
            Ok(objects) => problem(&objects),
            Err(output) => Some(unanswered(output.tail.lines().last().unwrap_or_default())),
        })
    })
}

fn unanswered(said: &str) -> String {
    format!("its API server does not answer: {said}")
}

/// Waits until nothing keeps the cluster from serving; what does so at the end.
fn wait_for(
    ctx: &Context,
    deadline: Duration,
    mut find_problem: impl FnMut() -> Result<Option<String>>,
) -> Result<Option<String>> {
    let mut why = String::new();
    let served = poll::until(&ctx.spawn.interrupt, deadline, || {
        why = find_problem()?.unwrap_or_default();
        Ok(why.is_empty().then_some(()))
    })?;
    Ok(if served.is_some() { None } else { Some(why) })
}

/// Disk, memory and ports, before anything is made; all that is wrong at once.
fn preflight(ctx: &Context) -> Result<()> {
    let cluster = &ctx.config.cluster;
    let mut problems = Vec::new();
    if let Some(daemon) = ctx.run(docker::info())? {
        // A daemon elsewhere has its own disk: only what lies on this machine can be asked.
        if let Ok(disk) = rustix::fs::statvfs(&daemon.root) {
            let free_mb = disk.f_bavail * disk.f_frsize / 1_000_000;
            if free_mb < cluster.disk_free_mb {
                problems.push(format!(
                    "{} has {free_mb} MB free, {} are required: free some, or lower cluster.disk_free_mb",
                    daemon.root, cluster.disk_free_mb
                ));
            }
        }
    }
    if let Some(available_mb) = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_mb(&text))
        && available_mb < cluster.memory_mb * u64::from(cluster.nodes)
    {
        let asked = match cluster.nodes {
            1 => format!("cluster.memory_mb asks for {}", cluster.memory_mb),
            nodes => format!("cluster.memory_mb asks for {} on each of {nodes} nodes", cluster.memory_mb),
        };
        problems.push(format!("{available_mb} MB of memory are available, {asked}: end something, or lower it"));
    }
    let taken = taken_ports(cluster.node_ports);
    if !taken.is_empty() {
        let list = taken.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        problems
            .push(format!("on 127.0.0.1, port {list} is in use: end what listens there, or move cluster.node_ports"));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => {
            Err(Stop::needs_setup(format!("the cluster cannot be created yet\n  {}", problems.join("\n  "))).into())
        }
    }
}

fn taken_ports(range: NodePorts) -> Vec<u16> {
    (range.first..=range.last).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err()).collect()
}

fn available_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available_mb("MemTotal: 1 kB\nMemAvailable:   24000000 kB\n"), Some(24576));
        assert_eq!(available_mb("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_port_in_use_is_seen() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        assert_eq!(taken_ports(NodePorts { first: port, last: port }), [port]);
        drop(holder);
        assert!(taken_ports(NodePorts { first: port, last: port }).is_empty());
    }
}
