//! Makes sure that docker, minikube, helm, kubectl and the images that everything starts from are there: what is on PATH
//! is used if it can do the work, what isn't is downloaded as a release, or built from package mirrors, into the cache
//! folder.

pub mod bundle;
mod downloads;
pub mod find;
pub mod hadolint;
pub mod machine;
pub mod made;
pub(super) mod mirrors;
mod modules;
pub mod packages;
pub(super) mod recipes;
mod sizes;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::model::image::{Built, Images};
use crate::model::tools::Helm;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::tools;
use crate::tools::docker::Daemon;
use find::{Elsewhere, Found};
use recipes::NETWORK;

/// What the other stages need to know.
pub struct Ready {
    pub ctx: Context,
    pub images: Images,
    /// The addons' images that were made here, by the addon's name.
    pub addons: BTreeMap<String, Built>,
    /// The network of a cluster of several nodes, where it was made here.
    pub network: Option<Built>,
    /// The images that docker had when the tools were looked at, reference to ID.
    pub host: BTreeMap<String, String>,
}

/// Where missing tools and images come from; without a choice, whichever answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Download tools, pull images
    Release,
    /// Build tools and images from package mirrors
    Mirrors,
}

/// Observes, and makes what is missing.
fn ensure(project: &Project, source: Option<Source>) -> Result<Ready> {
    let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
    let plan = recipes::Plan::new(project)?;
    let found = find::all(project, &plan)?;
    if let Some(ready) = settled(project, &found, &plan, source)? {
        return Ok(ready);
    }
    let answers = found.docker.path().is_some() && found.daemon.is_some();
    let public = answers && are_images_public(project, &found, &plan, source);
    machine::ensure_docker(project, &found, &plan, public)?;
    let mut found = find::all(project, &plan)?;
    let tools = found.missing();
    if !tools.is_empty() && source != Some(Source::Mirrors) {
        downloads::make(project, &plan, &tools, source == Some(Source::Release))?;
        found = find::all(project, &plan)?;
    }
    if let Some(ready) = settled(project, &found, &plan, source)? {
        return Ok(ready);
    }
    if found.docker.path().is_none() {
        return Err(Stop::needs_setup(found.docker.explain("docker")).into());
    }
    let daemon = found.daemon.as_ref().ok_or_else(|| Stop::needs_setup("the docker daemon does not answer"))?;
    let public = are_images_public(project, &found, &plan, source);
    if source == Some(Source::Release) {
        let message = "no image registry answers, and without one images must be built";
        return Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask bootstrap without --from release")).into());
    }
    if !public {
        check_runtime(&plan, daemon)?;
        let why = if source.is_some() { "as asked" } else { "no image registry answers" };
        project.ui.say(&format!("{why}: images are built from package mirrors"));
    }
    mirrors::make(project, &plan, &found, public)?;
    let found = find::all(project, &plan)?;
    match settled(project, &found, &plan, source)? {
        Some(ready) => Ok(ready),
        None => Err(Stop::needs_setup(missing(&found).join("\n")).into()),
    }
}

/// The tools, found and not made; without one, exit 3 says what to do.
pub fn need_tools(project: &Project) -> Result<Context> {
    let found = find_tools(project)?;
    let missing = missing(&found);
    match found.tools() {
        Some(tools) if missing.is_empty() => Ok(Context::new(project, tools)),
        _ => Err(not_set_up(&found, &missing).into()),
    }
}

pub fn not_set_up(found: &find::All, missing: &[String]) -> Stop {
    let next = found.elsewhere.as_ref().map_or("cargo xtask bootstrap".to_string(), Elsewhere::next);
    Stop::needs_setup(format!("this machine is not set up\n  {}\nNext: {next}", missing.join("\n  ")))
}

/// Makes missing tools and images, and links the tools into the folder that children search first.
pub fn set_up(project: &Project, source: Option<Source>) -> Result<Ready> {
    let ready = ensure(project, source)?;
    link_tools(&ready.ctx)?;
    Ok(ready)
}

/// Downloads the releases of all tools, and locks the checksums of what came.
pub fn update_lock(project: &Project) -> Result<()> {
    let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
    downloads::update_lock(project, &recipes::Plan::new(project)?)
}

/// Programs that are each the only one of the module that is named as they are; what isn't there is built.
pub fn programs<const N: usize>(project: &Project, names: [&str; N]) -> Result<[String; N]> {
    let plan = build(project, &names.map(|name| (name, name)))?;
    let built = |name| plan.built(name, name).ok_or_else(|| anyhow!("the module {name} builds no program {name}"));
    let paths: Vec<String> = names.into_iter().map(built).collect::<Result<_>>()?;
    Ok(paths.try_into().expect("as many paths as names"))
}

/// The helm that was found, or else the pinned one, built: for what needs nothing beside it.
pub fn any_helm(project: &Project, found: &Found) -> Result<String> {
    match found.path() {
        Some(path) => Ok(path),
        None => Ok(helm(project, project.config.tools.helm.pinned.as_deref().unwrap_or_default())?.path),
    }
}

/// A helm of a version, or of a major version, built if there is none of our making.
pub fn helm(project: &Project, version: &str) -> Result<Helm> {
    let module = project.config.module_of("helm", version);
    let plan = recipes::Plan::new(project)?;
    let path = match plan.made("helm").filter(|_| plan.tools["helm"].module == module) {
        Some(path) => path,
        None => {
            let built = build(project, &[(module.as_str(), "helm")])?.built(&module, "helm");
            built.ok_or_else(|| anyhow!("the module {module} builds no program helm"))?
        }
    };
    let help = project.run(tools::helm::upgrade_help().by(&path))?;
    Ok(Helm { path, merge: tools::helm::merge_flags(&help) })
}

/// Builds modules of which a program is not there.
fn build(project: &Project, programs: &[(&str, &str)]) -> Result<recipes::Plan> {
    let plan = recipes::Plan::new(project)?;
    if programs.iter().any(|(module, program)| plan.built(module, program).is_none()) {
        let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
        let modules: Vec<&str> = programs.iter().map(|(module, _)| *module).collect();
        modules::build(project, &plan, &modules)?;
    }
    Ok(plan)
}

/// What there is of tools, and nothing asked of registries.
pub fn find_tools(project: &Project) -> Result<find::All> {
    find::all(project, &recipes::Plan::new(project)?)
}

/// Helm alone, for what needs neither docker nor a cluster.
pub fn look_for_helm(project: &Project) -> Result<Found> {
    Ok(find::helm(project, &recipes::Plan::new(project)?))
}

/// What `ensure` would find, changing nothing.
pub fn observe(project: &Project) -> Result<(find::All, Option<Ready>)> {
    let plan = recipes::Plan::new(project)?;
    let found = find::all(project, &plan)?;
    let ready = settled(project, &found, &plan, None)?;
    Ok((found, ready))
}

/// What the recipes name, whether it is there or not.
pub struct RecipeNames {
    pub images: Images,
    pub references: Vec<String>,
    /// The names of our base images, and of the images that the cluster is made of.
    pub parts: Vec<String>,
    /// Folders of the cache.
    pub folders: Vec<PathBuf>,
}

/// What the recipes of the profile name.
pub fn recipe_names(project: &Project) -> Result<RecipeNames> {
    let plan = recipes::Plan::new(project)?;
    let mut folders: Vec<PathBuf> = plan.modules.values().cloned().collect();
    folders.extend(plan.tools.values().map(|tool| tool.release.clone()));
    folders.extend([plan.cluster_cache.clone(), hadolint::folder(project)?]);
    let mut references = vec![plan.debian.clone(), plan.node.clone(), plan.rust.clone()];
    references.extend(plan.addons.values().chain(&plan.network).cloned());
    let bases = ["debian", "node", "rust", NETWORK].map(str::to_string);
    let mirrors = &project.config.mirrors;
    let parts = bases.into_iter().chain(mirrors.addons.keys().cloned()).chain(mirrors.images.values().cloned());
    Ok(RecipeNames { images: plan.images(), references, parts: parts.collect(), folders })
}

/// A line for each thing that is not there, with the reason.
pub fn missing(found: &find::All) -> Vec<String> {
    let tools =
        [("docker", &found.docker), ("minikube", &found.minikube), ("helm", &found.helm), ("kubectl", &found.kubectl)];
    let mut lines: Vec<String> =
        tools.iter().filter(|(_, tool)| tool.path().is_none()).map(|(name, tool)| tool.explain(name)).collect();
    if found.docker.path().is_some() && found.daemon.is_none() {
        let message = "the client is there, but no daemon answers it".to_string();
        lines.push(format!("docker: {}", found.elsewhere.as_ref().map_or(message, Elsewhere::message)));
    }
    lines
}

/// Everything there already: the usual case, which must be quick.
fn settled(
    project: &Project,
    found: &find::All,
    plan: &recipes::Plan,
    source: Option<Source>,
) -> Result<Option<Ready>> {
    let (Some(tools), Some(daemon)) = (found.tools(), &found.daemon) else { return Ok(None) };
    let ctx = Context::new(project, tools);
    let (mut addons, mut network) = (BTreeMap::new(), None);
    let images = if plan.is_complete(&found.images) {
        check_runtime(plan, daemon)?;
        addons =
            plan.addons.iter().filter_map(|(name, image)| Some((name.clone(), built(image, &found.images)?))).collect();
        network = plan.network.as_ref().and_then(|image| built(image, &found.images));
        plan.images()
    } else if !plan.has_images(&found.images)
        && source != Some(Source::Mirrors)
        && ((plan.has_cluster && has_public_node(&ctx)?) || registry_answers(&ctx))
    {
        Images::Public
    } else {
        return Ok(None);
    };
    Ok(Some(Ready { ctx, images, addons, network, host: found.images.clone() }))
}

/// Links the chosen tools into one folder, which children find first on their PATH: minikube calls docker by name.
fn link_tools(ctx: &Context) -> Result<()> {
    let folder = ctx.folders.bin();
    fs::create_dir_all(&folder)?;
    let all = [
        ("docker", &ctx.tools.docker),
        ("minikube", &ctx.tools.minikube),
        ("helm", &ctx.tools.helm.path),
        ("kubectl", &ctx.tools.kubectl),
    ];
    for (name, path) in all.into_iter().filter(|(_, path)| !path.is_empty()) {
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target.to_str() == Some(path)) {
            continue;
        }
        let fresh = folder.join(format!("{name}.new"));
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(path, &fresh)?;
        fs::rename(&fresh, &link)?;
    }
    Ok(())
}

fn built(reference: &str, local: &BTreeMap<String, String>) -> Option<Built> {
    let (repository, tag) = reference.rsplit_once(':')?;
    Some(Built { repository: repository.to_string(), tag: tag.to_string(), id: local.get(reference)?.clone() })
}

/// A node of our making needs the shim where the machine withholds something, and a daemon that was started without it
/// is somebody else's to stop.
fn check_runtime(plan: &recipes::Plan, daemon: &Daemon) -> Result<()> {
    if !plan.shim || tools::docker::is_shim(&daemon.default_runtime) {
        return Ok(());
    }
    let message = format!(
        "the docker daemon that runs cannot start a node on this machine: its runtime is {}, and the machine withholds \
         CAP_SYS_RESOURCE or has cgroup v1\nNext: stop that daemon, then run the same command with --yes, which starts one with a shim",
        daemon.default_runtime
    );
    Err(Stop::needs_setup(message).into())
}

/// Whether images come from registries: none was made here, and a registry may be asked and answers.
fn are_images_public(project: &Project, found: &find::All, plan: &recipes::Plan, source: Option<Source>) -> bool {
    source != Some(Source::Mirrors) && !plan.has_images(&found.images) && registry_answers(&found.project(project))
}

/// Whether a registry can be reached, asked with a short deadline.
fn registry_answers(project: &Project) -> bool {
    let asked = tools::docker::manifest_inspect("registry.k8s.io/pause:3.10");
    project.output(asked).is_ok_and(|output| output.success)
}

/// A node from a registry settles that registries are used, even while the network is away.
fn has_public_node(ctx: &Context) -> Result<bool> {
    let asked = ctx.output(tools::docker::container_image(&ctx.config.cluster.name))?;
    Ok(asked.success && !asked.stdout.starts_with(&format!("{}.local/", ctx.config.home)))
}

impl Found {
    /// Why a tool is not there, as one line.
    pub fn explain(&self, name: &str) -> String {
        match self {
            Found::Good { path, version } => format!("{name}: {path} {version}"),
            Found::Unneeded => format!("{name}: not needed"),
            Found::Missing { refused } if refused.is_empty() => format!("{name}: not on PATH"),
            Found::Missing { refused } => format!("{name}: {}", refused.join("; ")),
        }
    }
}
