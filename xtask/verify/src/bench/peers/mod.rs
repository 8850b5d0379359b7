//! Others' tools at our own work: the same Dockerfiles, inputs, chart and values, in the same cluster.

mod recipe;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::bench::dev::Dev;
use crate::bench::load;
use crate::bench::rows::{Bench, NAMESPACE, Runner, Work, do_work, whole};
use crate::tools::skaffold;
use recipe::{Artifact, Recipe, Release};
use xtask::cli::Peer;
use xtask::model::cluster::Target;
use xtask::model::image::Images;
use xtask::run::call::Call;
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::process::Spawn;
use xtask::secrets::overrides;
use xtask::stages::{build, cluster, render, setup};
use xtask::tools::helm;

/// Tilt 0.33.21 is the newest that could be had, and its parser of Tiltfiles for editors is in C.
const NO_TILT: &str = "Tilt cannot be built here: it needs cgo (github.com/smacker/go-tree-sitter: build constraints exclude all \
    Go files), and modules are built with CGO_ENABLED=0";

/// Files of Skaffold's folder.
const DESCRIBED: &str = "skaffold.yaml";
const SETTINGS: &str = "settings";

/// A peer that is ready to be measured.
pub enum Rival {
    Skaffold(Box<Skaffold>),
    Minikube,
}

/// Skaffold, with a copy of the project in a namespace of its own.
pub struct Skaffold {
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
    matches!(work, Work::Load(_)) == (peer == Peer::Minikube)
}

/// Builds the peer where it is not there, and gives it what our own tool has: a namespace with the Secrets, and the release,
/// which it takes over.
pub fn prepare(ctx: &Context, images: &Images, peer: Peer) -> Result<Rival> {
    match peer {
        Peer::Minikube => return Ok(Rival::Minikube),
        Peer::Tilt => return Err(Stop::needs_setup(NO_TILT).into()),
        Peer::Skaffold => {}
    }
    let [program] = setup::programs(ctx, ["skaffold"])?;
    let bench = Bench::new(ctx, &format!("{NAMESPACE}-skaffold"))?;
    match hand_over(&bench, images) {
        Ok((folder, spawn)) => Ok(Rival::Skaffold(Box::new(Skaffold { bench, spawn, program, folder }))),
        Err(error) => {
            bench.remove()?;
            Err(error)
        }
    }
}

fn hand_over(bench: &Bench, images: &Images) -> Result<(PathBuf, Spawn)> {
    bench.up()?;
    let folder = bench.ctx.staging("skaffold");
    fs::create_dir_all(&folder)?;
    let recipe = describe(bench, images, &folder)?;
    fs::write(folder.join(DESCRIBED), format!("{:#}\n", recipe::skaffold(&recipe)))?;
    fs::write(folder.join(SETTINGS), skaffold::SETTINGS)?;
    // Minikube, which the peer calls, has a temporary folder of its own.
    let mut spawn = bench.ctx.spawn_minikube()?;
    hide_minikube(&mut spawn, &folder.join("hidden"))?;
    spawn.env.extend(skaffold::ENVIRONMENT.map(|(name, value)| (name.to_string(), value.to_string())));
    Ok((folder, spawn))
}

/// Where the peer finds minikube it asks for the docker in its node, whatever it is given; a node with containerd has none.
/// One that fails is none to it.
fn hide_minikube(spawn: &mut Spawn, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join("minikube");
    fs::write(&file, "#!/bin/sh\nexit 1\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    for (_, path) in spawn.env.iter_mut().filter(|(name, _)| name == "PATH") {
        *path = format!("{}:{path}", folder.display());
    }
    Ok(())
}

/// What the profile is in the peer's words, with the values that our own release has.
fn describe(bench: &Bench, images: &Images, folder: &Path) -> Result<Recipe> {
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
            Rival::Minikube => match work {
                Work::Load(lacks) => Ok(Runner { take: Box::new(move || load::by_minikube(ours, lacks)), dev: None }),
                _ => bail!("minikube only loads images"),
            },
            Rival::Skaffold(one) => {
                let start = || Dev::start(&one.spawn, one.call(skaffold::dev), skaffold::WAITS);
                let once = move || whole(&one.spawn, one.call(skaffold::run), "skaffold");
                do_work(&one.bench, work, once, start)
            }
        }
    }

    /// Removes what was made for the peer, and what it made.
    pub fn remove(&self) -> Result<()> {
        let Rival::Skaffold(one) = self else { return Ok(()) };
        let Skaffold { bench, folder, .. } = &**one;
        let (ctx, prefix) = (bench.ctx.uninterrupted(), format!("{}-", bench.ctx.config.namespace));
        bench.remove()?;
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        load::remove(&ctx, &cluster::nodes(&ctx)?, |reference| reference.starts_with(&prefix))
    }
}

impl Skaffold {
    fn call(&self, verb: fn(&str, &skaffold::Given) -> Call) -> Call {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (described, settings, cache) = (&file(DESCRIBED), &file(SETTINGS), &file("cache"));
        let Target { kubeconfig, context, namespace } = &self.bench.ctx.target();
        verb(&self.program, &skaffold::Given { described, settings, cache, kubeconfig, context, namespace })
    }
}
