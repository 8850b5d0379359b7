//! A cluster of two nodes beside the other one: what runs on either is the same, and a node may go in the middle of an `up`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::e2e::clusters::{Other, add_line};
use crate::e2e::world::{Begun, World, tells};
use xtask::run::call::DEADLINE;
use xtask::run::poll;
use xtask::tools::{crictl, docker, kubectl};

/// The first node, which is named as the cluster is, and the second.
const FIRST: &str = "todo-two";
const SECOND: &str = "todo-two-m02";
/// Its node ports are not those of the cluster that is there.
const CLUSTER: &str =
    "name = \"todo-two\"\nnodes = 2\nmemory_mb = 3072\nnode_ports = { first = 30180, last = 30189 }\n";

struct Two<'a>(Other<'a>);

pub fn two(world: &World) -> Result<()> {
    let two = Two(Other::new(world, FIRST, CLUSTER, 30180)?);
    two.0.proven(|| two.runs_on_both().and_then(|()| two.drained()).and_then(|()| two.killed()))
}

impl Two<'_> {
    fn runs_on_both(&self) -> Result<()> {
        let output = self.0.well(&["up", "--yes"])?;
        tells(&output, &["add node todo-two-m02", &self.0.url])?;
        let again = self.0.well(&["up"])?;
        tells(&again, &["nothing to deploy"])?;
        for node in [FIRST, SECOND] {
            let images = self.0.world.run(crictl::images(node))?;
            ensure!(images.keys().any(|image| image.starts_with("todo-chatbot-backend:")), "{node} lacks the backend");
        }
        // The database stays where its volume is, so that whoever is moved asks it across the nodes.
        self.move_to_second("backend")?;
        ensure!(self.node_of("postgres")? == FIRST, "the database is not where its volume is");
        self.0.well(&["smoke"])?;
        ensure!(self.0.world.get(&self.0.url)?.contains("<title>"), "the page does not answer at {}", self.0.url);
        Ok(())
    }

    /// What ran on the node goes to the other, and the `up` goes on.
    fn drained(&self) -> Result<()> {
        self.move_to_second("frontend")?;
        let begun = self.begin_change("of a drained node")?;
        let drained = self.0.world.run(kubectl::drain(&self.0.target, SECOND, DEADLINE * 4));
        let output = begun.end(self.0.world)?;
        drained?;
        ensure!(output.success, "up failed as a node was drained\n{}", output.tail);
        for service in ["frontend", "backend", "mcp", "postgres"] {
            ensure!(self.node_of(service)? == FIRST, "{service} runs on the node that was drained");
        }
        self.0.world.run(kubectl::uncordon(&self.0.target, &[SECOND.to_string()]))?;
        self.0.well(&["smoke"]).map(drop)
    }

    /// The run says that the node is gone, and the next one has it back.
    fn killed(&self) -> Result<()> {
        self.0.world.run(kubectl::cordon(&self.0.target, FIRST))?;
        let killed = (|| {
            let begun = self.begin_change("of a killed node")?;
            self.0.world.run(docker::kill(SECOND))?;
            let output = begun.end(self.0.world)?;
            ensure!(!output.success, "up took a node that is gone for one that runs\n{}", output.tail);
            tells(&output, &["node todo-two-m02", "Next: "])
        })();
        self.0.world.run(kubectl::uncordon(&self.0.target, &[FIRST.to_string()]))?;
        killed?;
        let plan = self.0.world.xtask_in(&self.0.root, &["plan"])?;
        tells(&plan, &["node todo-two-m02 is stopped"])?;
        let output = self.0.well(&["up"])?;
        tells(&output, &["node todo-two-m02 is stopped; starting it"])?;
        let states = self.0.world.run(docker::node_states(FIRST))?;
        ensure!(states.values().all(|state| state == "running"), "{states:?}");
        self.0.well(&["smoke"]).map(drop)
    }

    /// An `up` of another page, as it begins to replace pods.
    fn begin_change(&self, line: &str) -> Result<Begun> {
        add_line(&self.0.root, line)?;
        let begun = self.0.world.begin_in(&self.0.root, &["up"])?;
        let rolls_out = || Ok((begun.has_said("deploy todo-chatbot") || begun.has_ended()).then_some(()));
        poll::until(&self.0.world.ctx.spawn.interrupt, DEADLINE * 6, rolls_out)?.context("no rollout began")?;
        Ok(begun)
    }

    /// Has a service's pod replaced by one on the second node.
    fn move_to_second(&self, service: &str) -> Result<()> {
        if self.node_of(service)? == SECOND {
            return Ok(());
        }
        self.0.world.run(kubectl::cordon(&self.0.target, FIRST))?;
        let pod = self.pod(service)?["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let deleted = self.0.world.run(kubectl::delete(&self.0.target, &[format!("pod/{pod}")], DEADLINE * 2));
        let moved = deleted.and_then(|_| {
            let is_there = || Ok((self.node_of(service).is_ok_and(|node| node == SECOND)).then_some(()));
            let there = poll::until(&self.0.world.ctx.spawn.interrupt, DEADLINE * 2, is_there)?;
            there.with_context(|| format!("no pod of {service} came to {SECOND}"))
        });
        self.0.world.run(kubectl::uncordon(&self.0.target, &[FIRST.to_string()]))?;
        moved?;
        self.0.well(&["up"]).map(drop)
    }

    fn node_of(&self, service: &str) -> Result<String> {
        Ok(self.pod(service)?["spec"]["nodeName"].as_str().unwrap_or_default().to_string())
    }

    /// The pod of a service that stays.
    fn pod(&self, service: &str) -> Result<Value> {
        let selector = format!("app.kubernetes.io/name={service},app.kubernetes.io/component!=test");
        let pods = self.0.world.run(kubectl::get(&self.0.target, "pods", Some(&selector)))?;
        let stays = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null();
        pods.into_iter().find(stays).with_context(|| format!("{service} has no pod"))
    }
}
