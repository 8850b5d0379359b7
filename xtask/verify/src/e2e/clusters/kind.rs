//! A cluster of kind that somebody has already: a target whose nodes are containers of this machine's docker, which images are
//! loaded into. The page is reached at a port that kind publishes.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::kind_node;
use crate::e2e::targets::registry::{self, Registry};
use crate::e2e::world::{World, tells};
use crate::tools::kind;
use xtask::model::cluster::Target;
use xtask::run::process::Output;
use xtask::stages::setup;
use xtask::tools::{docker, kubectl};

/// Kind's name for the cluster, and for its only node.
const CLUSTER: &str = "xtask-e2e";
const NODE: &str = "xtask-e2e-control-plane";
/// The names of the two targets that lead to it.
const KIND: &str = "kind";
const PUSHED: &str = "pushed";
/// What the page's first line has, and what it is changed to.
const LINE: &str = "<title>Todo Chatbot</title>";
const CHANGED: &str = "<title>Todo Chatbot on kind</title>";

/// A cluster as its owner has made it, and a copy of the project with it as a target. It goes when this does.
struct Kind<'a> {
    world: &'a World,
    program: String,
    root: PathBuf,
    kubeconfig: PathBuf,
    target: Target,
    /// Published on 127.0.0.1 by kind.
    port: u16,
}

impl<'a> Kind<'a> {
    fn new(world: &'a World) -> Result<Kind<'a>> {
        let [program] = setup::programs(&world.ctx, ["kind"])?;
        let image = kind_node::ensure(world)?;
        let root = world.project(KIND)?;
        let kubeconfig = root.join("kind.kubeconfig");
        let target = Target {
            kubeconfig: kubeconfig.display().to_string(),
            context: format!("kind-{CLUSTER}"),
            namespace: world.target.namespace.clone(),
        };
        let kind = Kind { world, program, root, kubeconfig, target, port: free_node_port()? };
        // A run that was killed may have left one.
        kind.delete()?;
        kind.create(image.as_deref())?;
        kind.describe()?;
        Ok(kind)
    }

    fn create(&self, image: Option<&str>) -> Result<()> {
        let published = json!({"containerPort": self.port, "hostPort": self.port, "listenAddress": "127.0.0.1"});
        let config = json!({
            "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4",
            // Our own image of a node has a network for one node in it.
            "networking": {"disableDefaultCNI": image.is_some()},
            "nodes": [{"role": "control-plane", "extraPortMappings": [published]}],
        });
        let file = self.root.join("kind.json");
        fs::write(&file, config.to_string())?;
        let call = kind::create(&self.program, CLUSTER, &file.display().to_string(), &self.target.kubeconfig, image);
        self.world.run(call).map(drop)
    }

    fn delete(&self) -> Result<()> {
        self.world.run(kind::delete(&self.program, CLUSTER, &self.target.kubeconfig)).map(drop)
    }

    /// Names it in the project's configuration, as docs/targets.md says.
    fn describe(&self) -> Result<()> {
        let port = self.port;
        self.add_target(
            KIND,
            &format!("images = \"load\"\nreach = \"node-port\"\nhost = \"127.0.0.1\"\nnode_port = {port}\n"),
        )
    }

    /// A target that leads to it, of which nothing is known yet.
    fn add_target(&self, name: &str, more: &str) -> Result<()> {
        let context = &self.target.context;
        let table = format!("\n[targets.{name}]\nkubeconfig = \"kind.kubeconfig\"\ncontext = \"{context}\"\n{more}");
        let file = self.root.join("xtask.toml");
        fs::write(&file, format!("{}{table}", fs::read_to_string(&file)?))?;
        self.well(&["target", "forget", name]).map(drop)
    }

    fn on(&self, arguments: &[&str]) -> Result<Output> {
        let all: Vec<&str> = arguments.iter().copied().chain(["--target", KIND]).collect();
        self.world.xtask_in(&self.root, &all)
    }

    /// A command on the target, which must succeed and print each of `words`.
    fn done(&self, arguments: &[&str], words: &[&str]) -> Result<Output> {
        let output = self.on(arguments)?;
        ensure!(output.success, "{} failed on the target\n{}", arguments.join(" "), output.tail);
        tells(&output, words)?;
        Ok(output)
    }

    /// A command without a target, which must succeed.
    fn well(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.world.xtask_in(&self.root, arguments)?;
        ensure!(output.success, "{} failed\n{}", arguments.join(" "), output.tail);
        Ok(output)
    }

    /// Fails unless `up` ends with an exit code, prints these words and leaves the pods.
    fn is_refused(&self, code: i32, words: &[&str]) -> Result<()> {
        let output = self.on(&["up"])?;
        ensure!(output.code == Some(code), "up ended with {:?}, and {code} was wanted\n{}", output.code, output.tail);
        tells(&output, words)
    }

    /// Names and identities of the pods that are not about to go.
    fn pods(&self) -> Result<Vec<String>> {
        let pods = self.world.run(kubectl::get(&self.target, "pods", None))?;
        let stays = pods.iter().map(|pod| &pod["metadata"]).filter(|about| !about["deletionTimestamp"].is_string());
        let mut names: Vec<String> = stays.map(|about| format!("{} {}", about["name"], about["uid"])).collect();
        names.sort();
        Ok(names)
    }

    fn page(&self) -> Result<String> {
        self.world.get(&format!("http://127.0.0.1:{}/", self.port))
    }

    fn change_page(&self, from: &str, to: &str) -> Result<()> {
        let file = self.root.join("services/frontend/assets/index.html");
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{} has no {from}", file.display());
        Ok(fs::write(&file, text.replace(from, to))?)
    }

    /// What the pods of services run, in order: what each was asked to, and by which ID it runs.
    fn images(&self) -> Result<Vec<(String, String)>> {
        let pods = self.world.run(kubectl::get(&self.target, "pods", None))?;
        let is_test = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "test";
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let image = |pod: &Value| {
            (text(&pod["spec"]["containers"][0]["image"]), text(&pod["status"]["containerStatuses"][0]["imageID"]))
        };
        let stays = |pod: &&Value| !pod["metadata"]["deletionTimestamp"].is_string();
        let mut images: Vec<_> = pods.iter().filter(|pod| !is_test(pod)).filter(stays).map(image).collect();
        images.sort();
        Ok(images)
    }

    fn goes_down(&self, target: &str) -> Result<()> {
        let output = self.world.xtask_in(&self.root, &["down", "--purge", "--target", target])?;
        ensure!(output.success, "down --purge failed on the target\n{}", output.tail);
        let namespace = &self.target.namespace;
        let left = self.world.run(kubectl::get(&self.target, &format!("namespace/{namespace}"), None))?;
        ensure!(left.is_empty(), "the namespace {namespace} is still there");
        Ok(())
    }

    /// The minikube's own kubeconfig, its context named as that of kind.
    fn of_minikube(&self) -> Result<Value> {
        let mut config: Value = serde_json::from_str(&self.world.run(kubectl::whole_config(&self.world.target))?)?;
        config["contexts"][0]["name"] = self.target.context.as_str().into();
        Ok(config)
    }
}

impl Drop for Kind<'_> {
    fn drop(&mut self) {
        // The next run removes what can't be removed now.
        let _ = self.delete();
    }
}

/// One that no process of this machine listens at.
fn free_node_port() -> Result<u16> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (30090..=32767).find(is_free).context("no port is free between 30090 and 32767")
}

/// From `target add` to `down`, by images that are loaded, and once more by the same images from a registry.
pub fn target(world: &World) -> Result<()> {
    let kind = Kind::new(world)?;
    is_refused_until_added(&kind)?;
    comes_up(&kind)?;
    changes(&kind)?;
    another_in_its_place(&kind)?;
    let images = kind.images()?;
    kind.goes_down(KIND)?;
    pushed(&kind, &images)?;
    kind.delete()?;
    let gone = world.ctx.spawn.attempt(docker::container_state(NODE))?;
    ensure!(gone.is_err(), "kind left its node {NODE}");
    Ok(())
}

fn is_refused_until_added(kind: &Kind) -> Result<()> {
    kind.is_refused(3, &["nothing is known of target kind", "target add kind"])?;
    tells(&kind.well(&["target", "add", KIND])?, &["kube-system has the UID", "up --target kind"])?;
    tells(&kind.well(&["target", "list"])?, &["images loaded into its nodes, known"])
}

fn comes_up(kind: &Kind) -> Result<()> {
    kind.done(&["plan"], &["load", &format!("node {NODE} lacks"), "there is none", "nothing was changed"])?;
    let url = format!("http://127.0.0.1:{}", kind.port);
    kind.done(&["up"], &["load todo-chatbot-backend", "load todo-chatbot-frontend", &url])?;
    let page = kind.page()?;
    ensure!(page.contains(LINE), "the page has another title\n{page}");
    let before = kind.pods()?;
    let again = kind.done(&["up"], &["nothing to deploy"])?;
    let after = kind.pods()?;
    ensure!(
        !again.tail.contains("load todo") && before == after,
        "a second up changed something\n{before:?}\n{after:?}\n{}",
        again.tail
    );
    kind.done(&["plan"], &["nothing to do"])?;
    kind.done(&["smoke"], &["the page answers through its Service"])?;
    kind.done(&["status"], &[])?;
    kind.done(&["logs", "backend", "--tail", "5"], &[])?;
    Ok(())
}

/// A line of the page: what is loaded is the layer with it, and what takes the rollout back takes it back.
fn changes(kind: &Kind) -> Result<()> {
    kind.change_page(LINE, CHANGED)?;
    let output = kind.done(&["up"], &["load todo-chatbot-frontend", "the node has the rest"])?;
    ensure!(!output.tail.contains("load todo-chatbot-backend"), "another image was loaded\n{}", output.tail);
    ensure!(kind.page()?.contains(CHANGED), "the page has not changed");
    kind.done(&["rollback"], &[])?;
    ensure!(kind.page()?.contains(LINE), "the page is not as it was before the change");
    kind.change_page(CHANGED, LINE)?;
    kind.done(&["up"], &["nothing to deploy"]).map(drop)
}

/// The minikube of this machine answers where the kubeconfig says that it is kind's cluster.
fn another_in_its_place(kind: &Kind) -> Result<()> {
    let (pods, own) = (kind.pods()?, fs::read_to_string(&kind.kubeconfig)?);
    let minikube = kind.world.fingerprint()?;
    fs::write(&kind.kubeconfig, kind.of_minikube()?.to_string())?;
    let refused = kind.is_refused(3, &["another cluster answers in place of target kind", "nothing was changed"]);
    fs::write(&kind.kubeconfig, own)?;
    refused?;
    ensure!(kind.world.fingerprint()? == minikube, "the cluster in kind's place was changed");
    ensure!(kind.pods()? == pods, "a refused up changed something");
    Ok(())
}

/// The same commit by way of a registry, whose certificate the owner of the cluster has its node trust.
fn pushed(kind: &Kind, loaded: &[(String, String)]) -> Result<()> {
    let mut registry = Registry::start(kind.world)?;
    registry.be_trusted_by(NODE)?;
    registry.empty()?;
    let address = registry.address.clone();
    kind.add_target(
        PUSHED,
        &format!("registry = \"{address}/todo\"\npull_secret = \"registry\"\nmake_pull_secret = true\n"),
    )?;
    let mut spawn = kind.world.spawn.clone();
    spawn.env.push(("DOCKER_CONFIG".to_string(), registry.docker_config()));
    let up = || -> Result<Output> {
        let output = kind.world.xtask_by(&spawn, &kind.root, &["up", "--target", PUSHED])?;
        registry::is_secret(&output.tail)?;
        ensure!(output.success, "up failed with images from a registry\n{}", output.tail);
        Ok(output)
    };
    kind.well(&["target", "add", PUSHED])?;
    tells(&up()?, &["push todo-chatbot-backend", "push todo-chatbot-frontend"])?;
    let images = kind.images()?;
    ensure!(images.len() == loaded.len(), "{images:?} run, and {loaded:?} were loaded");
    for ((image, id), (same, _)) in images.iter().zip(loaded) {
        let (tagged, digest) = image.split_once('@').with_context(|| format!("{image} is not pinned"))?;
        ensure!(tagged == format!("{address}/todo/{same}"), "{image} runs in place of {same}");
        ensure!(id.ends_with(digest), "{image} runs as {id}");
    }
    let before = kind.pods()?;
    tells(&up()?, &["nothing to deploy"])?;
    ensure!(kind.pods()? == before, "a second up changed something");
    kind.goes_down(PUSHED)
}
