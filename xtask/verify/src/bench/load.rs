//! The rows of an image that the node does not have, or not all of: made for each turn, measured on its way from docker, and removed.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::bench::report::Sample;
use crate::bench::rows::{Bench, Lacks, measure, nonce};
use xtask::model::image::Built;
use xtask::run::context::Context;
use xtask::stages::{cluster, load};
use xtask::tools::docker::Build;
use xtask::tools::{crictl, docker, minikube};

const NAME: &str = "todo-chatbot-bench-load";
/// The service whose image it is as large as: the largest of ours.
const LIKE: &str = "postgres";

/// Ours: the stage that `up` has for it.
pub fn ours(bench: &Bench, lacks: Lacks) -> Result<Sample> {
    let ctx = &bench.ctx;
    with_new_image(bench, lacks, |nodes, image| {
        measure(|| load::ensure(ctx, nodes, &BTreeMap::from([(LIKE.to_string(), image.clone())])))
    })
}

pub fn by_minikube(bench: &Bench, lacks: Lacks) -> Result<Sample> {
    let ctx = &bench.ctx;
    with_new_image(bench, lacks, |nodes, image| {
        let load = minikube::load_image(&ctx.config.cluster.name, &image.reference());
        let sample = measure(|| ctx.spawn_minikube()?.run(load.within(ctx.config.deadlines.load)).map(drop))?;
        // Minikube has said that it succeeded where it had not.
        for node in nodes {
            let there = load::list(ctx, node)?;
            ensure!(there.contains_key(&image.reference()), "node {node} has no {} after it", image.reference());
        }
        Ok(sample)
    })
}

fn with_new_image(
    bench: &Bench,
    lacks: Lacks,
    work: impl FnOnce(&[String], &Built) -> Result<Sample>,
) -> Result<Sample> {
    let ctx = &bench.ctx;
    let (nodes, image) = (cluster::nodes(ctx)?, make(bench, lacks)?);
    let sample = work(&nodes, &image);
    remove(&ctx.uninterrupted(), &nodes, |reference| *reference == image.reference())?;
    sample
}

fn make(bench: &Bench, lacks: Lacks) -> Result<Built> {
    let ctx = &bench.ctx;
    let prefix = format!("{}:", ctx.config.services[LIKE].image);
    let like = ctx.run(docker::images())?.into_keys().find(|reference| reference.starts_with(&prefix));
    let like = like.with_context(|| format!("docker has no image of {LIKE}"))?;
    let folder = bench.root.join("load");
    fs::create_dir_all(&folder)?;
    let (dockerfile, tag) = (folder.join("Dockerfile"), nonce()?.to_string());
    let last = match lacks {
        Lacks::All => "FROM scratch\nCOPY --from=all / /\n",
        Lacks::LastLayer => "",
    };
    fs::write(&dockerfile, format!("ARG LIKE\nFROM ${{LIKE}} AS all\nCOPY nonce /nonce\n{last}"))?;
    fs::write(folder.join("nonce"), &tag)?;
    let build = docker::build(&Build {
        dockerfile: &dockerfile.display().to_string(),
        context: &folder.display().to_string(),
        target: None,
        tags: &[format!("{NAME}:{tag}")],
        args: vec![("LIKE".to_string(), Some(like))],
        labels: Vec::new(),
        ca: None,
    });
    ctx.run(build.within(ctx.config.deadlines.build))?;
    let id =
        ctx.run(docker::images())?.remove(&format!("{NAME}:{tag}")).context("docker built it and lists no such")?;
    Ok(Built { repository: NAME.to_string(), tag, id })
}

/// Removes images from docker and from the nodes, those that some names have.
pub fn remove(ctx: &Context, nodes: &[String], is_one: impl Fn(&String) -> bool) -> Result<()> {
    for node in nodes {
        for reference in load::list(ctx, node)?.into_keys().filter(&is_one) {
            ctx.run(crictl::remove_image(node, &reference))?;
        }
    }
    for reference in ctx.run(docker::images())?.into_keys().filter(&is_one) {
        ctx.run(docker::remove_image(&reference))?;
    }
    Ok(())
}
