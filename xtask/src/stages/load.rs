//! Streams what the nodes lack of images into them, and verifies them by what the nodes list afterwards.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::model::image::Built;
use crate::model::states::DeploymentState;
use crate::model::thin::{Known, Passed};
use crate::model::{plan, thin};
use crate::run::call::{argv, call};
use crate::run::context::Context;
use crate::run::exit::{Stop, exit_code};
use crate::run::graph;
use crate::run::ui::Step;
use crate::tools::{crictl, ctr, docker};

/// Of an archive on its way: more than a pipe holds.
const BUFFER: usize = 1 << 20;

/// The images of each node, reference to ID.
pub type NodeImages = BTreeMap<String, BTreeMap<String, String>>;

/// Loads missing images into every node, and checks that each has the host's ID there.
pub fn ensure(ctx: &Context, nodes: &[String], built: &BTreeMap<String, Built>) -> Result<()> {
    let there = observe(ctx, nodes, built)?;
    let steps = plan::loads(built, &there);
    let by_node: Vec<&[(&str, plan::Step)]> = steps.chunk_by(|one, other| one.0 == other.0).collect();
    // A node takes one image after the other; nodes don't wait for each other.
    let load = |steps: &&[(&str, plan::Step)]| {
        steps.iter().try_for_each(|(node, step)| load_one(ctx, node, nodes.len() > 1, step, &built[&step.subject]))
    };
    graph::in_parallel(&by_node, load).into_iter().collect::<Result<()>>()?;
    if !steps.is_empty() {
        let there = observe(ctx, nodes, built)?;
        steps.iter().try_for_each(|(node, step)| verify(node, &built[&step.subject], &there[*node]))?;
    }
    confirm(ctx, &there, built);
    Ok(())
}

fn load_one(ctx: &Context, node: &str, is_named: bool, step: &plan::Step, image: &Built) -> Result<()> {
    let plan::Step { subject: service, why, .. } = step;
    ctx.ui.state(service, DeploymentState::Loading);
    let into = if is_named { format!(" into {node}") } else { String::new() };
    let step = ctx.ui.step(format!("load {}{into}", image.repository));
    step.update(why);
    let sent = send(ctx, node, &image.reference(), &step)?;
    step.done(&format!("{}, {sent} ({why})", image.reference()));
    Ok(())
}

/// Streams an image into a node: the layers that the node lacks, or all where that fails. Returns how much it was.
fn send(ctx: &Context, node: &str, image: &str, step: &Step) -> Result<String> {
    let save = || docker::save(image).within(ctx.config.deadlines.load);
    if has_docker(ctx) {
        ctx.spawn.pipe(save(), docker::load_into(node))?;
        return Ok("all of it".to_string());
    }
    let sent = std::thread::scope(|scope| {
        let known = scope.spawn(|| look(ctx, node, image));
        let pass = |archive: &mut dyn Read, to: &mut dyn Write| {
            let archive = BufReader::with_capacity(BUFFER, archive);
            let known = || known.join().expect("it does not panic");
            thin::pass(archive, known, BufWriter::with_capacity(BUFFER, to))
        };
        ctx.spawn.pipe_through(save(), ctr::import_missing(node, image), pass)
    });
    match sent {
        Ok(Passed { bytes, left_out_bytes: 0 }) => Ok(megabytes(bytes)),
        Ok(Passed { bytes, left_out_bytes }) => {
            Ok(format!("{} of {}, the node has the rest", megabytes(bytes), megabytes(bytes + left_out_bytes)))
        }
        Err(error) if exit_code(&error) != 1 => Err(error),
        Err(error) => {
            step.update(&format!("sending all of it, as its missing layers alone were not taken: {error:#}"));
            ctx.spawn.pipe(save(), ctr::import(node))?;
            Ok("all of it, as its missing layers alone were not taken".to_string())
        }
    }
}

/// Reads an archive into a node as it is.
pub fn bring(ctx: &Context, node: &str, archive: &Path) -> Result<()> {
    let path = archive.display().to_string();
    let import = if has_docker(ctx) { docker::load_into(node) } else { ctr::import(node) };
    ctx.spawn.pipe(call(argv!("cat {path}")).within(ctx.config.deadlines.load), import)
}

/// What a node and docker know of an image's layers, nothing where one does not answer: then all of them are sent.
fn look(ctx: &Context, node: &str, image: &str) -> Known {
    std::thread::scope(|scope| {
        let blobs = scope.spawn(|| ctx.run(ctr::blobs(node)));
        let layers = ctx.run(docker::layers(image)).unwrap_or_default();
        Known { blobs: blobs.join().expect("it does not panic").unwrap_or_default(), layers }
    })
}

/// Whether the nodes run containers by docker; a target's run them by containerd.
fn has_docker(ctx: &Context) -> bool {
    ctx.config.target.is_none() && ctx.config.cluster.runtime == "docker"
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Records that every node has these images.
pub fn confirm(ctx: &Context, there: &NodeImages, built: &BTreeMap<String, Built>) {
    let nodes: Vec<&str> = there.keys().map(String::as_str).collect();
    for (service, image) in built {
        let has = if nodes.len() == 1 { "has" } else { "have" };
        let message = format!("{} {has} {} as {}", nodes.join(" and "), image.reference(), image.id);
        ctx.ui.validated(service, DeploymentState::Loading, &message);
    }
}

/// Looks at the images of each node.
pub fn observe(ctx: &Context, nodes: &[String], built: &BTreeMap<String, Built>) -> Result<NodeImages> {
    let _glance = ctx.ui.glance("look at the images of the node");
    nodes.iter().map(|node| Ok((node.clone(), present(ctx, node, built)?))).collect()
}

pub fn list(ctx: &Context, node: &str) -> Result<BTreeMap<String, String>> {
    ctx.run(crictl::images(node)).with_context(|| format!("the image list of node {node} cannot be read"))
}

/// The node's images under the IDs that the host's docker uses. In its classic store that is the digest of an image's
/// config, which the node lists; in its containerd store it is that of the manifest, which takes another call.
fn present(ctx: &Context, node: &str, built: &BTreeMap<String, Built>) -> Result<BTreeMap<String, String>> {
    let mut there = list(ctx, node)?;
    let has_another = |image: &Built| there.get(&image.reference()).is_some_and(|id| *id != image.id);
    if has_docker(ctx) || !built.values().any(has_another) {
        return Ok(there);
    }
    let manifests = ctx.run(ctr::manifests(node))?;
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
