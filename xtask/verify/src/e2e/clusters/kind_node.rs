//! The image that kind makes nodes of on machines that cannot pull kind's own: our node, and what we made for minikube to
//! run Kubernetes in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::e2e::world::World;
use xtask::run::context::proxies;
use xtask::run::digest::Content;
use xtask::run::files::fresh_folder;
use xtask::stages::setup;
use xtask::tools::docker;

const RECIPES: &str = "k8s/node";
const PART: &str = "kind";
/// To copy the archives of a control plane into an image.
const BUILD: Duration = Duration::from_secs(600);

/// The image of nodes, made where it is missing; None where kind's own can be pulled.
pub fn ensure(world: &World) -> Result<Option<String>> {
    let (_, ready) = setup::observe(&world.ctx)?;
    let ready = ready.context("the machine is set up")?;
    let Some(node) = ready.images.node() else { return Ok(None) };
    // Minikube's cache is a link to what was made, whose name is a digest of all that is in it.
    let cache = fs::read_link(world.ctx.folders.minikube_home().join("cache")).context("minikube has no cache")?;
    let (recipes, interrupt) = (world.ctx.recipes(), &world.ctx.spawn.interrupt);
    let files = [format!("{RECIPES}/{PART}.Dockerfile"), format!("{RECIPES}/{PART}")].map(PathBuf::from);
    let key = Content::default().files(&recipes, &files, interrupt)?.word(node).word(&cache.display().to_string());
    let image = format!("{}.local/{PART}:{}", world.ctx.config.home, key.short());
    if !world.run(docker::images())?.contains_key(&image) {
        build(world, &recipes.join(RECIPES), &cache, node, &image)?;
    }
    Ok(Some(image))
}

fn build(world: &World, recipes: &Path, cache: &Path, node: &str, image: &str) -> Result<()> {
    let kubernetes = &world.ctx.config.cluster.kubernetes;
    let arch = world.run(docker::architecture())?;
    let context = fresh_folder(&world.ctx.folders.cache.join(PART))?;
    link_all(&cache.join("linux").join(&arch).join(format!("v{kubernetes}")), &context)?;
    link_all(&cache.join("images").join(&arch), &context.join("images"))?;
    link_all(&recipes.join(PART), &context.join(PART))?;
    let pair = |name: &str, value: &str| (name.to_string(), Some(value.to_string()));
    let mut args = vec![pair("NODE_IMAGE", node), pair("KUBERNETES", kubernetes)];
    args.extend(proxies());
    let call = docker::build(&docker::Build {
        dockerfile: &recipes.join(format!("{PART}.Dockerfile")).display().to_string(),
        context: &context.display().to_string(),
        target: None,
        tags: &[image.to_string()],
        args,
        labels: vec![(docker::label(&world.ctx.config.home), PART.to_string())],
        ca: None,
    });
    world.run(call.within(BUILD))?;
    Ok(fs::remove_dir_all(&context)?)
}

/// The files of a folder and of those below it in another, as links where they are on the same disk.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_all(&from, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}
