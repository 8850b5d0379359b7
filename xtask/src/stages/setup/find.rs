//! Looks for tools and asks each whether it can do the work.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::config::{Tool, parse_version};
use crate::run::context::Context;
use crate::run::process::{Spawn, command};
use crate::stages::setup::recipes::Plan;
use crate::tools::Paths;
use crate::tools::docker::Daemon;
use crate::tools::helm::Helm;
use crate::tools::{docker, helm, kubectl, minikube};

const ASK: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub enum Found {
    Good {
        path: String,
        version: String,
    },
    /// What was on PATH and why it won't do.
    Missing {
        refused: Vec<String>,
    },
}

impl Found {
    pub fn path(&self) -> Option<String> {
        match self {
            Found::Good { path, .. } => Some(path.clone()),
            Found::Missing { .. } => None,
        }
    }
}

pub struct All {
    pub docker: Found,
    pub minikube: Found,
    pub helm: Found,
    /// What helm is given where it merges.
    pub helm_merge: Vec<String>,
    pub kubectl: Found,
    pub daemon: Option<Daemon>,
    /// The daemon's images, reference to ID.
    pub images: BTreeMap<String, String>,
}

impl All {
    /// Where the tools are, if all of them are.
    pub fn tools(&self) -> Option<Paths> {
        Some(Paths {
            docker: self.docker.path()?,
            minikube: self.minikube.path()?,
            helm: Helm { path: self.helm.path()?, merge: self.helm_merge.clone() },
            kubectl: self.kubectl.path()?,
        })
    }

    /// Which of the tools that can be made are not there.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [("minikube", &self.minikube), ("helm", &self.helm), ("kubectl", &self.kubectl)];
        all.into_iter().filter(|(_, found)| found.path().is_none()).map(|(name, _)| name).collect()
    }

    /// Name to version; null of those that are not there.
    fn versions(&self) -> serde_json::Value {
        let tools =
            [("docker", &self.docker), ("minikube", &self.minikube), ("helm", &self.helm), ("kubectl", &self.kubectl)];
        let version = |tool: &Found| match tool {
            Found::Good { version, .. } => serde_json::Value::from(version.as_str()),
            Found::Missing { .. } => serde_json::Value::Null,
        };
        tools.into_iter().map(|(name, tool)| (name, version(tool))).collect()
    }
}

/// Looks for all of them at the same time: each question costs a process.
pub fn all(ctx: &Context, plan: &Plan) -> Result<All> {
    let spawn = &ctx.spawn;
    let tools = &ctx.config.tools;
    let own = &ctx.folders.bin();
    std::thread::scope(|scope| {
        let docker = scope.spawn(|| {
            let found = find_tool(own, "docker", &tools.docker, None, |path| probe_tool(spawn, "docker", path));
            let Some(path) = found.path() else { return (found, None, BTreeMap::new()) };
            let (daemon, images) = both(spawn, docker::info(&path), docker::images(&path));
            let daemon = daemon.ok().and_then(|text| docker::parse_info(&text));
            let images = images.ok().filter(|_| daemon.is_some());
            (found, daemon, docker::parse_images(&images.unwrap_or_default()))
        });
        let look_for =
            |name, wanted| find_tool(own, name, wanted, plan.made(name), |path| probe_tool(spawn, name, path));
        let minikube = scope.spawn(move || look_for("minikube", &tools.minikube));
        let helm = scope.spawn(move || {
            let found = look_for("helm", &tools.helm);
            let help = found.path().and_then(|path| read_stdout(spawn, helm::upgrade_help(&path)).ok());
            (found, helm::merge_flags(&help.unwrap_or_default()))
        });
        let kubectl = scope.spawn(move || look_for("kubectl", &tools.kubectl));
        let (docker, daemon, images) = docker.join().expect("looking for docker does not panic");
        let joined =
            |found: std::thread::ScopedJoinHandle<Found>| found.join().expect("looking for a tool does not panic");
        let (helm, helm_merge) = helm.join().expect("looking for helm does not panic");
        let (minikube, kubectl) = (joined(minikube), joined(kubectl));
        let all = All { docker, daemon, images, minikube, helm, helm_merge, kubectl };
        // A tool that was interrupted did not answer, and is not missing.
        spawn.interrupt.check()?;
        ctx.ui.fact("tools", all.versions());
        Ok(all)
    })
}

pub fn helm(ctx: &Context, plan: &Plan) -> Found {
    let ask = |path: &str| probe_tool(&ctx.spawn, "helm", path);
    find_tool(&ctx.folders.bin(), "helm", &ctx.config.tools.helm, plan.made("helm"), ask)
}

/// Asks a tool whether it can do the work: its version, or why it can't.
pub fn probe_tool(spawn: &Spawn, name: &str, path: &str) -> Result<String, String> {
    match name {
        "docker" => ask_docker(spawn, path),
        "minikube" => ask_minikube(spawn, path),
        "helm" => ask_helm(spawn, path),
        _ => ask_kubectl(spawn, path),
    }
}

/// Tries what is on PATH in its order; the first that does the work wins. What was made at the pinned version needs no
/// asking.
fn find_tool(
    own: &Path,
    name: &str,
    wanted: &Tool,
    made: Option<String>,
    ask: impl Fn(&str) -> Result<String, String>,
) -> Found {
    let on_path = which::which_all(name).into_iter().flatten().map(|path| path.display().to_string());
    let mut refused = Vec::new();
    let mut seen = Vec::new();
    for path in on_path {
        // The folder of links to what was chosen is no place to choose from, even where a user has it on PATH.
        if Path::new(&path).starts_with(own) {
            continue;
        }
        // /bin is often a link to /usr/bin: the same file need not be asked twice.
        let real = std::fs::canonicalize(&path).unwrap_or_default();
        if seen.contains(&real) {
            continue;
        }
        seen.push(real);
        match ask(&path).and_then(|version| recent_enough(wanted, version)) {
            Ok(version) => return Found::Good { path, version },
            Err(reason) => refused.push(format!("{path} {reason}")),
        }
    }
    match made {
        Some(path) => Found::Good { path, version: wanted.pinned.clone().unwrap_or_default() },
        None => Found::Missing { refused },
    }
}

fn recent_enough(wanted: &Tool, version: String) -> Result<String, String> {
    match (parse_version(&version), parse_version(&wanted.minimum)) {
        (Some(found), Some(minimum)) if found < minimum => Err(format!("is {version}, older than {}", wanted.minimum)),
        _ => Ok(version),
    }
}

fn ask_docker(spawn: &Spawn, path: &str) -> Result<String, String> {
    let (help, version) = both(spawn, docker::build_help(path), docker::client_version(path));
    if !docker::has_buildkit(&help?) {
        return Err("builds without BuildKit (its buildx plugin is missing)".to_string());
    }
    docker::parse_client_version(&version?).ok_or_else(|| "does not print its version".to_string())
}

fn ask_minikube(spawn: &Spawn, path: &str) -> Result<String, String> {
    let (help, version) = both(spawn, minikube::start_help(path), minikube::version(path));
    match minikube::has_flags(&help?) {
        true => version.map(|version| version.trim().to_string()),
        false => Err("lacks flags of `start` that are needed".to_string()),
    }
}

fn ask_helm(spawn: &Spawn, path: &str) -> Result<String, String> {
    let (help, version) = both(spawn, helm::upgrade_help(path), helm::version(path));
    match helm::has_flags(&help?) {
        true => version.map(|version| version.trim().to_string()),
        false => Err("lacks flags of `upgrade` that are needed".to_string()),
    }
}

fn ask_kubectl(spawn: &Spawn, path: &str) -> Result<String, String> {
    let (works, version) = both(spawn, kubectl::client_check(path), kubectl::version(path));
    let version = works.and(version)?;
    kubectl::parse_version(&version).ok_or_else(|| "does not print its version".to_string())
}

/// Two questions at once: some clients are wrappers that take their time.
fn both(spawn: &Spawn, one: Vec<String>, other: Vec<String>) -> (Result<String, String>, Result<String, String>) {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| read_stdout(spawn, one));
        let other = read_stdout(spawn, other);
        (one.join().expect("asking does not panic"), other)
    })
}

fn read_stdout(spawn: &Spawn, argv: Vec<String>) -> Result<String, String> {
    match spawn.output(command(argv, ASK)) {
        Ok(output) if output.success => Ok(output.stdout),
        Ok(output) => Err(format!("failed: {}", output.tail.lines().next().unwrap_or("without a word"))),
        Err(error) => Err(format!("could not be run: {error}")),
    }
}

/// Whether a program is to be found at all.
pub fn on_path(name: &str) -> bool {
    which::which(name).is_ok() || Path::new("/usr/sbin").join(name).exists()
}
