//! Makes sure that docker, minikube, helm, kubectl and the images that everything starts from are there: what is on PATH
//! is used if it can do the work, what isn't is built from package mirrors into the cache folder.

pub mod find;
mod machine;
mod mirrors;

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::model::image::Images;
use crate::poll;
use crate::process::command;
use crate::stop::Stop;
use crate::tools;
use find::Found;

const ASK: Duration = Duration::from_secs(8);

/// What the other stages need to know.
pub struct Ready {
    pub tools: tools::Paths,
    pub images: Images,
}

/// Observes, and makes what is missing.
pub fn ensure(ctx: &Context) -> Result<Ready> {
    let _lock = lock(ctx)?;
    let plan = mirrors::Plan::new(ctx)?;
    let found = find::all(ctx, &plan)?;
    if let Some(ready) = settled(ctx, &found, &plan)? {
        return Ok(ready);
    }
    machine::ensure_docker(ctx, &found, &plan)?;
    let found = find::all(ctx, &plan)?;
    if let Some(ready) = settled(ctx, &found, &plan)? {
        return Ok(ready);
    }
    let docker = found.docker.path().ok_or_else(|| Stop::needs_setup(found.docker.explain("docker")))?;
    let daemon = found.daemon.clone().ok_or_else(|| Stop::needs_setup("the docker daemon does not answer"))?;
    let public = !plan.has_images(&docker, ctx)? && registry_answers(ctx, &docker);
    mirrors::make(ctx, &plan, &found, &daemon, public)?;
    let found = find::all(ctx, &plan)?;
    match settled(ctx, &found, &plan)? {
        Some(ready) => Ok(ready),
        None => Err(Stop::needs_setup(missing(&found).join("\n")).into()),
    }
}

/// What `ensure` would find, changing nothing.
pub fn observe(ctx: &Context) -> Result<(find::All, Option<Ready>)> {
    let plan = mirrors::Plan::new(ctx)?;
    let found = find::all(ctx, &plan)?;
    let ready = settled(ctx, &found, &plan)?;
    Ok((found, ready))
}

/// A line for each thing that is not there, with the reason.
pub fn missing(found: &find::All) -> Vec<String> {
    let tools =
        [("docker", &found.docker), ("minikube", &found.minikube), ("helm", &found.helm), ("kubectl", &found.kubectl)];
    let mut lines: Vec<String> =
        tools.iter().filter(|(_, tool)| tool.path().is_none()).map(|(name, tool)| tool.explain(name)).collect();
    if found.docker.path().is_some() && found.daemon.is_none() {
        lines.push("docker: the client is there, but no daemon answers it".to_string());
    }
    lines
}

/// Everything there already: the usual case, which must be quick.
fn settled(ctx: &Context, found: &find::All, plan: &mirrors::Plan) -> Result<Option<Ready>> {
    let paths = (found.docker.path(), found.minikube.path(), found.helm.path(), found.kubectl.path());
    let (Some(docker), Some(minikube), Some(helm), Some(kubectl)) = paths else { return Ok(None) };
    if found.daemon.is_none() {
        return Ok(None);
    }
    let images = if plan.is_complete(&docker, ctx)? {
        plan.images()
    } else if !plan.has_images(&docker, ctx)? && (has_node(ctx, &docker)? || registry_answers(ctx, &docker)) {
        Images::Public
    } else {
        return Ok(None);
    };
    Ok(Some(Ready { tools: tools::Paths { docker, minikube, helm, kubectl }, images }))
}

/// Whether a registry can be reached, asked with a short deadline.
fn registry_answers(ctx: &Context, docker: &str) -> bool {
    let asked = command(tools::docker::manifest_inspect(docker, "registry.k8s.io/pause:3.10"), ASK);
    ctx.spawn.output(asked).is_ok_and(|output| output.success)
}

/// A node that was made without images of ours came from a registry: that holds even while the network is away.
fn has_node(ctx: &Context, docker: &str) -> Result<bool> {
    let asked = command(tools::docker::container_state(docker, &ctx.config.cluster.name), ASK);
    Ok(ctx.spawn.output(asked)?.success)
}

/// One run at a time; the second waits and says so.
fn lock(ctx: &Context) -> Result<std::fs::File> {
    std::fs::create_dir_all(&ctx.folders.state)?;
    let file = std::fs::File::create(ctx.folders.state.join("bootstrap.lock"))?;
    if file.try_lock().is_err() {
        ctx.ui.say("another run is setting the machine up; waiting for it to end");
        let deadline = ctx.config.deadlines.bootstrap;
        let locked = poll::until(&ctx.spawn.interrupt, deadline, || Ok(file.try_lock().is_ok().then_some(())))?;
        locked.ok_or_else(|| Stop::deadline(format!("another run has not ended after {} s", deadline.as_secs())))?;
    }
    Ok(file)
}

impl Found {
    /// Why a tool is not there, as one line.
    pub fn explain(&self, name: &str) -> String {
        match self {
            Found::Good { path, version } => format!("{name}: {path} {version}"),
            Found::Missing { refused } if refused.is_empty() => format!("{name}: not on PATH"),
            Found::Missing { refused } => format!("{name}: {}", refused.join("; ")),
        }
    }
}
