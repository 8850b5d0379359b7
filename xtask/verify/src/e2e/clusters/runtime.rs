//! A cluster whose containers docker runs.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::e2e::clusters::{Other, add_line};
use crate::e2e::world::{World, tells};
use xtask::tools::kubectl;

const CLUSTER: &str =
    "name = \"todo-docker\"\nruntime = \"docker\"\nmemory_mb = 3072\nnode_ports = { first = 30190, last = 30199 }\n";

pub fn docker(world: &World) -> Result<()> {
    let other = Other::new(world, "todo-docker", CLUSTER, 30190)?;
    other.proven(|| {
        let output = other.well(&["up", "--yes"])?;
        tells(&output, &[&other.url])?;
        let nodes = world.run(kubectl::get(&other.target, "nodes", None))?;
        let runtime = |node: &Value| node["status"]["nodeInfo"]["containerRuntimeVersion"].as_str().map(str::to_string);
        let runtimes: Vec<String> = nodes.iter().filter_map(runtime).collect();
        ensure!(runtimes.len() == 1 && runtimes[0].starts_with("docker://"), "the runtime is {runtimes:?}");
        tells(&other.well(&["up"])?, &["nothing to deploy"])?;
        add_line(&other.root, "of another revision")?;
        let changed = other.well(&["up"])?;
        tells(&changed, &["load todo-chatbot-frontend"])?;
        ensure!(!changed.tail.contains("load todo-chatbot-backend"), "what was there was loaded\n{}", changed.tail);
        other.well(&["smoke"])?;
        ensure!(world.get(&other.url)?.contains("<title>"), "the page does not answer at {}", other.url);
        Ok(())
    })
}
