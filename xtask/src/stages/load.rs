//! Streams images into the nodes, and verifies them by what the nodes list afterwards.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::model::image::Built;
use crate::model::plan;
use crate::model::plan::Step;
use crate::model::states::DeploymentState;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::tools::docker;

/// The images of each node, reference to ID.
pub type NodeImages = BTreeMap<String, BTreeMap<String, String>>;

/// Loads missing images into every node, and checks that each has the host's ID there.
pub fn ensure(ctx: &Context, nodes: &[String], built: &BTreeMap<String, Built>) -> Result<()> {
    let there = observe(ctx, nodes, built)?;
    let steps = plan::loads(built, &there);
    for (node, Step { subject: service, why, .. }) in &steps {
        ctx.ui.state(service, DeploymentState::Loading);
        let image = &built[service];
        let step = ctx.ui.step(format!("load {}", image.repository));
        step.update(why);
        let save = docker::save(&image.reference());
        ctx.spawn.pipe(save.within(ctx.config.deadlines.load), docker::node_import(node))?;
        step.done(&format!("{} ({why})", image.reference()));
    }
    if !steps.is_empty() {
        let there = observe(ctx, nodes, built)?;
        steps.iter().try_for_each(|(node, step)| verify(node, &built[&step.subject], &there[*node]))?;
    }
    confirm(ctx, &there, built);
    Ok(())
}

/// Records that every node has these images.
pub fn confirm(ctx: &Context, there: &NodeImages, built: &BTreeMap<String, Built>) {
    let nodes: Vec<&str> = there.keys().map(String::as_str).collect();
    for (service, image) in built {
        let message = format!("{} has {} as {}", nodes.join(" and "), image.reference(), image.id);
        ctx.ui.validated(service, DeploymentState::Loading, &message);
    }
}

/// Looks at the images of each node.
pub fn observe(ctx: &Context, nodes: &[String], built: &BTreeMap<String, Built>) -> Result<NodeImages> {
    let _glance = ctx.ui.glance("look at the images of the node");
    nodes.iter().map(|node| Ok((node.clone(), present(ctx, node, built)?))).collect()
}

pub fn list(ctx: &Context, node: &str) -> Result<BTreeMap<String, String>> {
    ctx.run(docker::node_images(node)).with_context(|| format!("the image list of node {node} cannot be read"))
}

/// The node's images under the IDs that the host's docker uses. In its classic store that is the digest of an image's
/// config, which the node lists; in its containerd store it is that of the manifest, which takes another call.
fn present(ctx: &Context, node: &str, built: &BTreeMap<String, Built>) -> Result<BTreeMap<String, String>> {
    let mut there = list(ctx, node)?;
    let has_another = |image: &Built| there.get(&image.reference()).is_some_and(|id| *id != image.id);
    if !built.values().any(has_another) {
        return Ok(there);
    }
    let manifests = ctx.run(docker::node_manifests(node))?;
    for image in built.values() {
        let reference = image.reference();
        if there.contains_key(&reference) && manifests.get(&reference) == Some(&image.id) {
            there.insert(reference, image.id.clone());
        }
    }
    Ok(there)
}

fn verify(node: &str, image: &Built, there: &BTreeMap<String, String>) -> Result<()> {
    let reference = image.reference();
    let message = match there.get(&reference) {
        Some(id) if *id == image.id => return Ok(()),
        Some(id) => format!("node {node} has {reference} as {id}, the host as {}", image.id),
        None => format!("node {node} took {reference} and does not list it"),
    };
    Err(Stop::failed(format!("{message}\nNext: cargo xtask up; if it stays so, cargo xtask down --cluster and up"))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_id_and_an_absent_image_are_errors() {
        let image = Built { repository: "a".into(), tag: "1".into(), id: "sha256:1".into() };
        let list = |id: &str| BTreeMap::from([("a:1".to_string(), id.to_string())]);
        assert!(verify("n", &image, &list("sha256:1")).is_ok());
        assert!(verify("n", &image, &list("sha256:2")).unwrap_err().to_string().contains("sha256:2"));
        assert!(verify("n", &image, &BTreeMap::new()).unwrap_err().to_string().contains("does not list it"));
    }
}
