//! Clusters other than the one that is there: of more nodes, of another container runtime, or of kind's making.

mod kind;
mod kind_node;
mod nodes;
mod runtime;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::e2e::scenario::Scenario;
use crate::e2e::world::World;
use crate::lanes::schedule::Takes;
use xtask::model::cluster::Target;
use xtask::run::process::Output;
use xtask::tools::docker;

pub const NAMESPACE: &str = "todo-chatbot-clusters";

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("of two nodes one is drained and one is killed in the middle of an up", nodes::two)
        .taking(Takes::All)
        .weekly(),
    Scenario::new("docker runs the containers", runtime::docker).taking(Takes::All).weekly(),
    Scenario::new("a kind cluster that is there already is a target", kind::target).taking(Takes::All).weekly(),
];

/// A copy of the project with a cluster of its own beside the one that is there.
struct Other<'a> {
    world: &'a World,
    name: &'static str,
    root: PathBuf,
    target: Target,
    /// Where its page is reached.
    url: String,
}

impl<'a> Other<'a> {
    /// `cluster` is its table in xtask.toml, and `port` the first of its node ports, which the page gets.
    fn new(world: &'a World, name: &'static str, cluster: &str, port: u16) -> Result<Other<'a>> {
        let root = world.project(name)?;
        let file = root.join("xtask.toml");
        let known = fs::read_to_string(&file)?;
        let text = known.replace("node_port = 30080", &format!("node_port = {port}"));
        ensure!(text != known, "xtask.toml gives the page another node port than 30080");
        fs::write(&file, format!("{text}\n[cluster]\n{cluster}"))?;
        let target = Target { context: name.to_string(), ..world.target.clone() };
        Ok(Other { world, name, root, target, url: format!("http://127.0.0.1:{port}") })
    }

    /// A command of the copy's, which must succeed.
    fn well(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.world.xtask_in(&self.root, arguments)?;
        ensure!(output.success, "{} failed on {}\n{}", arguments.join(" "), self.name, output.tail);
        Ok(output)
    }

    /// Removes the cluster, whatever came of the proof.
    fn proven(&self, prove: impl FnOnce() -> Result<()>) -> Result<()> {
        let proven = prove();
        let removed = self.well(&["down", "--cluster", "--yes"]);
        proven.and(removed.map(drop))?;
        let left = self.world.run(docker::node_states(self.name))?;
        ensure!(left.is_empty(), "down --cluster left {left:?}");
        Ok(())
    }
}

/// Makes the page another.
fn add_line(root: &Path, line: &str) -> Result<()> {
    let file = root.join("services/frontend/assets/app.css");
    let text = fs::read_to_string(&file)?;
    Ok(fs::write(&file, format!("{text}/* {line} */\n"))?)
}
