//! Skaffold and Tilt at our own work: the same Dockerfiles, inputs, chart and values, in the same cluster.

mod recipe;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::bench::dev::Dev;
use crate::bench::report::Sample;
use crate::bench::rows::{Bench, NAMESPACE, Runner, Work, do_work, whole};
use crate::bench::{load, rows};
use crate::tools::{skaffold, tilt};
use recipe::{Artifact, Recipe, Release};
use xtask::cli::Peer;
use xtask::model::image::Images;
use xtask::run::call::Call;
use xtask::run::context::{Context, Project};
use xtask::run::process::Spawn;
use xtask::secrets::overrides;
use xtask::stages::{build, cluster, render, setup};
use xtask::tools::helm;

/// A peer that is ready to be measured.
pub enum Rival {
    Loop(Box<Loop>),
    Minikube,
}

/// A tool that builds and deploys, with a copy of the project in a namespace of its own.
pub struct Loop {
    peer: Peer,
    bench: Bench,
    spawn: Spawn,
    program: String,
    /// What it is given and keeps.
    folder: PathBuf,
}

pub fn name(peer: Peer) -> &'static str {
    match peer {
        Peer::Skaffold => "skaffold",
        Peer::Tilt => "tilt",
        Peer::Minikube => "minikube",
    }
}

/// Whether a peer does such work at all.
pub fn has(peer: Peer, work: Work) -> bool {
    matches!(work, Work::Load) == (peer == Peer::Minikube)
}

/// Builds the peer where it is not there, and gives it what our own tool has: a namespace with the Secrets, and the release,
/// which it takes over.
pub fn prepare(ctx: &Context, images: &Images, peer: Peer) -> Result<Rival> {
    if peer == Peer::Minikube {
        return Ok(Rival::Minikube);
    }
    let [program] = setup::programs(ctx, [name(peer)])?;
    let bench = Bench::new(ctx, &format!("{NAMESPACE}-{}", name(peer)))?;
    let prepared = hand_over(&bench, images, peer);
    match prepared {
        Ok((folder, spawn)) => Ok(Rival::Loop(Box::new(Loop { peer, bench, spawn, program, folder }))),
        Err(error) => {
            bench.remove()?;
            Err(error)
        }
    }
}

fn hand_over(bench: &Bench, images: &Images, peer: Peer) -> Result<(PathBuf, Spawn)> {
    bench.up()?;
    let folder = bench.ctx.staging(name(peer));
    fs::create_dir_all(&folder)?;
    let recipe = describe(bench, images, &folder)?;
    let (file, text, environment) = match peer {
        Peer::Tilt => ("Tiltfile", recipe::tiltfile(&recipe), tilt::ENVIRONMENT),
        _ => ("skaffold.yaml", format!("{:#}\n", recipe::skaffold(&recipe)), skaffold::ENVIRONMENT),
    };
    fs::write(folder.join(file), text)?;
    fs::write(folder.join("settings"), skaffold::SETTINGS)?;
    // Minikube, which the peer calls, has a temporary folder of its own.
    let mut spawn = bench.ctx.spawn_minikube()?;
    spawn.env.extend(environment.map(|(name, value)| (name.to_string(), value.to_string())));
    Ok((folder, spawn))
}

/// What the profile is in the peer's words, with the values that our own release has.
fn describe(bench: &Bench, images: &Images, folder: &std::path::Path) -> Result<Recipe> {
    let ctx = &bench.ctx;
    let copy = Project { root: bench.root.clone(), ..(**ctx).clone() };
    let staged = render::stage_all(&copy, &overrides::read_overrides(&copy)?)?;
    let artifact = |(name, _): (&str, &str)| {
        let service = &ctx.config.services[name];
        Artifact {
            service: name.to_string(),
            image: format!("{}-{name}", ctx.config.namespace),
            context: bench.root.join(&service.context).display().to_string(),
            dockerfile: bench.root.join(&service.dockerfile).display().to_string(),
            inputs: service.inputs.iter().map(|input| input.display().to_string()).collect(),
            args: build::all_arguments(service, images, &ctx.config.version).into_iter().collect(),
        }
    };
    let artifacts: Vec<Artifact> = ctx.config.running().map(artifact).collect();
    let mut releases = Vec::new();
    for (name, about) in &ctx.config.releases {
        let file = folder.join(format!("{name}.values.json"));
        let release = Release {
            name: name.clone(),
            chart: staged[name].folder.clone(),
            values: file.display().to_string(),
            services: about.services.clone(),
            is_umbrella: staged[name].is_umbrella || about.services.len() != 1,
        };
        let ours: Value = serde_json::from_str(&ctx.run(helm::values_of(&ctx.scope(name).target, name))?)?;
        fs::write(&file, format!("{:#}\n", recipe::values(&ours, &release, &artifacts)))?;
        releases.push(release);
    }
    Ok(Recipe {
        cluster: ctx.config.cluster.name.clone(),
        namespace: ctx.config.namespace.clone(),
        artifacts,
        releases,
        ca: build::ca_bundle(),
        rollout_s: ctx.config.deadlines.rollout.as_secs(),
    })
}

impl Rival {
    /// The peer's way to do the work of a row. `ours` has the cluster.
    pub fn runner<'a>(&'a self, ours: &'a Bench, work: Work) -> Result<Runner<'a>> {
        match self {
            Rival::Minikube => Ok(Runner { take: Box::new(|| load::by_minikube(ours)), dev: None }),
            Rival::Loop(one) => {
                let start = || Dev::start(&one.spawn, one.call(true), one.waits());
                do_work(&one.bench, work, || one.once(), start)
            }
        }
    }

    /// Removes what was made for the peer, and what it made.
    pub fn remove(&self) -> Result<()> {
        let Rival::Loop(one) = self else { return Ok(()) };
        let Loop { bench, folder, .. } = &**one;
        let (ctx, prefix) = (bench.ctx.uninterrupted(), format!("{}-", bench.ctx.config.namespace));
        bench.remove()?;
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        load::remove(&ctx, &cluster::nodes(&ctx)?, |reference| reference.starts_with(&prefix))
    }
}

impl Loop {
    fn once(&self) -> Result<Sample> {
        whole(&self.spawn, self.call(false), name(self.peer))
    }

    fn waits(&self) -> &'static str {
        if self.peer == Peer::Tilt { tilt::SETTLES } else { skaffold::WAITS }
    }

    fn call(&self, is_loop: bool) -> Call {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let target = self.bench.ctx.target();
        let (context, namespace) = (target.context.as_str(), target.namespace.as_str());
        let call = match (self.peer, is_loop) {
            (Peer::Tilt, false) => tilt::ci(&self.program, &file("Tiltfile"), context, namespace),
            (Peer::Tilt, true) => tilt::up(&self.program, &file("Tiltfile"), context, namespace),
            (_, is_loop) => {
                let (described, settings, cache) = (&file("skaffold.yaml"), &file("settings"), &file("cache"));
                let kubeconfig = &target.kubeconfig;
                let given = skaffold::Given { described, settings, cache, kubeconfig, context, namespace };
                let call = if is_loop { skaffold::dev } else { skaffold::run };
                call(&self.program, &given)
            }
        };
        call.folder(&self.folder).within(rows::COMMAND)
    }
}
