//! The nodes of a target as containers of this machine's docker, which images are loaded into. What made the cluster named its nodes,
//! and another cluster may have the same names: every kind makes a `kind-control-plane`.

use anyhow::Result;
use serde_json::Value;

use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::tools::{docker, kubectl};

/// The names of a target's nodes, each of which is the container of that name.
pub fn of_target(ctx: &Context) -> Result<Vec<String>> {
    let nodes = ctx.run(kubectl::get(&ctx.target(), "nodes", None))?;
    nodes.iter().map(|node| checked(ctx, node)).collect()
}

fn checked(ctx: &Context, node: &Value) -> Result<String> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let target = ctx.config.target.as_deref().unwrap_or_default();
    let next = format!(
        "Next: have docker talk to the machine that runs the cluster, or push: targets.{target}.images = \"push\" and a registry"
    );
    let message = match ctx.spawn.attempt(docker::identity(name))? {
        Ok(identity) => match difference(node, &identity) {
            None => return Ok(name.to_string()),
            Some(why) => format!("the container {name} is not the node of that name of target {target}: {why}"),
        },
        Err(output) => {
            let said = output.tail.lines().last().unwrap_or_default();
            format!("node {name} of target {target} is no container that runs on this machine's docker: {said}")
        }
    };
    Err(Stop::needs_setup(format!("{message}; no image was loaded\n{next}")).into())
}

/// Why a container with this identity is another than the node; None where it is the same.
fn difference(node: &Value, identity: &[String]) -> Option<String> {
    let has = |word: &str| identity.iter().any(|one| one == word);
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let mut internal =
        addresses.filter(|one| one["type"] == "InternalIP").filter_map(|one| one["address"].as_str()).peekable();
    let first = internal.peek().copied().unwrap_or_default();
    if !internal.any(has) {
        return Some(format!("the node is at {first}, and the container is {}", identity.join(", ")));
    }
    // That of a k3d's is empty.
    let machine = node["status"]["nodeInfo"]["machineID"].as_str().unwrap_or_default();
    (!machine.is_empty() && !has(machine))
        .then(|| format!("both are at {first}, and the node has the machine ID {machine}, which the container has not"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_is_the_node_that_has_its_address_and_its_machine_id() {
        let node = |machine: &str| {
            let addresses =
                json!([{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "172.18.0.2"}]);
            json!({"status": {"addresses": addresses, "nodeInfo": {"machineID": machine}}})
        };
        let differs = |machine: &str, identity: &[&str]| {
            difference(&node(machine), &identity.iter().map(|word| word.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(differs("5c", &["5c", "172.18.0.2"]), None);
        assert_eq!(differs("5c", &["5c", "fc00::2", "172.18.0.2"]), None);
        assert_eq!(differs("", &["172.18.0.2"]), None);
        let elsewhere = differs("5c", &["5c", "172.19.0.2"]).unwrap();
        assert_eq!(elsewhere, "the node is at 172.18.0.2, and the container is 5c, 172.19.0.2");
        let twin = differs("5c", &["77", "172.18.0.2"]).unwrap();
        assert!(twin.contains("machine ID 5c"), "{twin}");
        assert!(difference(&json!({}), &[]).is_some());
    }
}
