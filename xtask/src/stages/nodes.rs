//! The nodes beside the first one, and the network between them where it is of our own making.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::config::Cluster;
use crate::model::cluster::{Target, node_names};
use crate::model::image::Built;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::stages::load;
use crate::stages::setup::Ready;
use crate::stages::setup::mirrors::archive_name;
use crate::stages::setup::recipes::DOCKERFILES;
use crate::tools::{docker, kubectl, minikube};

/// The manifest of the network, in the folder of the recipes, and what stands in it for the image.
const MANIFEST: &str = "flannel.yaml";
const IMAGE: &str = "IMAGE";

/// What only the first node runs, as targets of control-plane.Dockerfile.
const OF_THE_FIRST: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];

/// Adds the nodes beside the first, which serves.
pub fn add(ready: &Ready) -> Result<()> {
    let (ctx, wanted) = (&ready.ctx, &ready.ctx.config.cluster);
    for name in &node_names(&wanted.name, wanted.nodes)[1..] {
        let step = ctx.ui.step(format!("add node {name}"));
        let show = |line: &str| step.update(line.trim_start_matches(['*', '-', '!', ' ']));
        let mut spawn = ctx.spawn_minikube()?;
        spawn.env.push(("MINIKUBE_MEMORY".to_string(), format!("{}mb", wanted.memory_mb)));
        spawn.run_showing(minikube::add_node(&wanted.name).within(ctx.config.deadlines.cluster), &show)?;
        equip(ready, name)?;
        step.done("");
    }
    Ok(())
}

/// Gives the nodes beside the first what they lack to run pods at all: one that was made anew has nothing.
pub fn equip_all(ready: &Ready) -> Result<()> {
    let Cluster { name, nodes, .. } = &ready.ctx.config.cluster;
    node_names(name, *nodes)[1..].iter().try_for_each(|node| equip(ready, node))
}

/// Minikube loads what it has in its cache into the first node alone.
fn equip(ready: &Ready, node: &str) -> Result<()> {
    let (ctx, Some(_)) = (&ready.ctx, ready.images.node()) else { return Ok(()) };
    let there = load::list(ctx, node)?;
    let archives = ctx.folders.minikube_home().join("cache/images").join(ctx.run(docker::architecture())?);
    let wanted = ctx.config.mirrors.images.iter().filter(|(_, target)| !OF_THE_FIRST.contains(&target.as_str()));
    for (image, _) in wanted.filter(|(image, _)| !there.contains_key(*image)) {
        load::bring(ctx, node, &archives.join(archive_name(image)))?;
    }
    match &ready.network {
        Some(image) => bring(ctx, node, image),
        None => Ok(()),
    }
}

/// Fails where the cluster was made for another number of nodes than the configuration asks for: the network of one node ends
/// at that node. `profile` is minikube's description of it.
pub fn check_count(cluster: &Cluster, profile: &Path) -> Result<()> {
    let about: Value = serde_json::from_slice(&fs::read(profile).unwrap_or_default()).unwrap_or_default();
    let Some(made) = about["Nodes"].as_array().map(Vec::len).filter(|made| *made != cluster.nodes as usize) else {
        return Ok(());
    };
    let nodes = |count: usize| format!("{count} node{}", if count == 1 { "" } else { "s" });
    let message =
        format!("the cluster {} was made with {}, and cluster.nodes is {}", cluster.name, nodes(made), cluster.nodes);
    let next = "Next: set it back, or cargo xtask down --cluster and then up, which removes all data in the cluster";
    Err(Stop::needs_setup(format!("{message}\n{next}")).into())
}

/// Lets the nodes' pods reach each other, where minikube doesn't see to it.
pub fn lay_network(ready: &Ready) -> Result<()> {
    let (ctx, Some(image)) = (&ready.ctx, &ready.network) else { return Ok(()) };
    let step = ctx.ui.step("lay the network of the nodes");
    bring(ctx, &ctx.config.cluster.name, image)?;
    let file = ctx.recipes().join(DOCKERFILES).join(MANIFEST);
    let manifest = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest = manifest.replace(&format!("image: {IMAGE}"), &format!("image: {}", image.reference()));
    let target = Target { namespace: "kube-system".to_string(), ..ctx.target() };
    ctx.run(kubectl::create(&target).stdin(manifest))?;
    step.done(&image.reference());
    Ok(())
}

fn bring(ctx: &Context, node: &str, image: &Built) -> Result<()> {
    load::ensure(ctx, &[node.to_string()], &BTreeMap::from([("flannel".to_string(), image.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_another_number_of_nodes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let toml = |file, text| crate::config::ConfigFile { file, text };
        let base = toml("xtask.toml", include_str!("../../../xtask.toml"));
        let dev = toml("dev.toml", include_str!("../../../k8s/profiles/dev.toml"));
        let mut config = crate::config::parse_config("dev", base, dev, &|_| true).unwrap();
        config.cluster.nodes = 2;
        let check = || check_count(&config.cluster, &file).map_err(|error| error.to_string());
        assert_eq!(check(), Ok(()), "of a cluster that is not there nothing is known");
        fs::write(&file, r#"{"Nodes": [{"Name": ""}]}"#).unwrap();
        assert!(check().unwrap_err().contains("was made with 1 node, and cluster.nodes is 2\nNext: "));
        fs::write(&file, r#"{"Nodes": [{"Name": ""}, {"Name": "m02"}]}"#).unwrap();
        assert_eq!(check(), Ok(()));
    }
}
