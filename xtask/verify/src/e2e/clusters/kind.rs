//! A cluster of kind that somebody has already: a target whose nodes are containers of this machine's docker, which images are
//! loaded into. The page is reached at a port that kind publishes.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::kind_node;
use crate::e2e::scenario::Scenario;
use crate::e2e::world::{World, tells};
use crate::lanes::schedule::Takes;
use crate::tools::kind;
use xtask::model::cluster::Target;
use xtask::run::process::Output;
use xtask::stages::setup;
use xtask::tools::{docker, kubectl};

pub const SCENARIO: Scenario =
    Scenario::new("a kind cluster that is there already is a target", loaded).taking(Takes::All);

/// Kind's name for the cluster, and for its only node.
const CLUSTER: &str = "xtask-e2e";
const NODE: &str = "xtask-e2e-control-plane";
/// The name of the target.
const KIND: &str = "kind";
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
        let call = kind::create(
            &self.program,
            CLUSTER,
            &file.display().to_string(),
            &self.target.kubeconfig,
            image,
        );
        self.world.run(call).map(drop)
    }

    fn delete(&self) -> Result<()> {
        self.world.run(kind::delete(&self.program, CLUSTER, &self.target.kubeconfig)).map(drop)
    }

    /// Names it in the project's configuration, as docs/targets.md says.
    fn describe(&self) -> Result<()> {
        let (context, port) = (&self.target.context, self.port);
        let table = format!(
            "\n[targets.{KIND}]\nkubeconfig = \"kind.kubeconfig\"\ncontext = \"{context}\"\nimages = \"load\"\nreach = \"node-port\"\nhost = \"127.0.0.1\"\nnode_port = {port}\n"
        );
        let file = self.root.join("xtask.toml");
        fs::write(&file, format!("{}{table}", fs::read_to_string(&file)?))?;
        self.well(&["target", "forget", KIND]).map(drop)
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

    fn change_page(&self) -> Result<()> {
        let file = self.root.join("services/frontend/assets/index.html");
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(LINE), "{} has no {LINE}", file.display());
        Ok(fs::write(&file, text.replace(LINE, CHANGED))?)
    }

    /// The minikube's own kubeconfig, its context named as that of kind.
    fn of_minikube(&self) -> Result<Value> {
        let mut config: Value =
            serde_json::from_str(&self.world.run(kubectl::whole_config(&self.world.target))?)?;
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

fn loaded(world: &World) -> Result<()> {
    let kind = Kind::new(world)?;
    is_refused_until_added(&kind)?;
    comes_up(&kind)?;
    changes(&kind)?;
    another_in_its_place(&kind)?;
    kind.done(&["down", "--purge"], &[])?;
    let left = world.run(kubectl::get(&kind.target, &format!("namespace/{}", kind.target.namespace), None))?;
    ensure!(left.is_empty(), "the namespace {} is still there", kind.target.namespace);
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
    kind.change_page()?;
    let output = kind.done(&["up"], &["load todo-chatbot-frontend", "the node has the rest"])?;
    ensure!(!output.tail.contains("load todo-chatbot-backend"), "another image was loaded\n{}", output.tail);
    ensure!(kind.page()?.contains(CHANGED), "the page has not changed");
    kind.done(&["rollback"], &[])?;
    ensure!(kind.page()?.contains(LINE), "the page is not as it was before the rollback");
    Ok(())
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
