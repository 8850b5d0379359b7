//! Looks for tools and asks each whether it can do the work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::config::{Tool, parse_version};
use crate::model::tools::Helm;
use crate::model::tools::Tools;
use crate::run::answers::{Answers, key_of_program};
use crate::run::call::Call;
use crate::run::context::Project;
use crate::run::digest::Content;
use crate::run::process::{Output, Spawn};
use crate::stages::setup::recipes::Plan;
use crate::tools::docker::Daemon;
use crate::tools::{docker, helm, kubectl, minikube};

/// How long a program on PATH may take to say what it is.
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
    /// Nothing of what is to be done calls it.
    Unneeded,
}

impl Found {
    pub fn path(&self) -> Option<String> {
        match self {
            Found::Good { path, .. } => Some(path.clone()),
            Found::Missing { .. } => None,
            // An empty path is one that is never called, nor linked.
            Found::Unneeded => Some(String::new()),
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
    /// Where the docker client looks for a daemon, if none answers and it was sent elsewhere than to the usual place.
    pub elsewhere: Option<Elsewhere>,
    /// The daemon's images, reference to ID.
    pub images: BTreeMap<String, String>,
}

/// What sends the docker client to a daemon elsewhere: a variable, or the context that was chosen.
pub struct Elsewhere {
    chosen_by: &'static str,
    value: String,
}

impl Elsewhere {
    pub fn message(&self) -> String {
        format!("{} is {}, but no docker daemon answers there", self.chosen_by, self.value)
    }

    pub fn next(&self) -> String {
        match self.chosen_by {
            CONTEXT => "start that daemon, or docker context use default".to_string(),
            variable => format!("start that daemon, or unset {variable}"),
        }
    }
}

const CONTEXT: &str = "the docker context";

impl All {
    /// The project with the tools that were found, as far as they were.
    pub fn project(&self, project: &Project) -> Project {
        let all =
            [("docker", &self.docker), ("minikube", &self.minikube), ("helm", &self.helm), ("kubectl", &self.kubectl)];
        let programs = all.into_iter().filter_map(|(name, found)| Some((name, found.path()?))).collect();
        project.with_programs(programs)
    }

    /// Where the tools are, if all of them are.
    pub fn tools(&self) -> Option<Tools> {
        Some(Tools {
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
            Found::Missing { .. } | Found::Unneeded => serde_json::Value::Null,
        };
        tools.into_iter().map(|(name, tool)| (name, version(tool))).collect()
    }
}

/// Looks for all of them at the same time: each question costs a process.
pub fn all(project: &Project, plan: &Plan) -> Result<All> {
    let _glance = project.ui.glance("look at the tools");
    let spawn = &project.spawn;
    let tools = &project.config.tools;
    let own = &project.folders.bin();
    std::thread::scope(|scope| {
        let docker = scope.spawn(|| {
            let found =
                find_tool(own, "docker", &tools.docker, (None, None), |path| probe_tool(project, "docker", path));
            let Some(path) = found.path() else { return (found, None, find_elsewhere(spawn, None), BTreeMap::new()) };
            let images = scope.spawn({
                let call = docker::images().by(&path);
                move || ask(spawn, call)
            });
            let daemon = ask(spawn, docker::info().by(&path));
            let images = images.join().expect("asking does not panic");
            let daemon = daemon.ok().flatten();
            let images = images.ok().filter(|_| daemon.is_some());
            let elsewhere = if daemon.is_none() { find_elsewhere(spawn, Some(&path)) } else { None };
            (found, daemon, elsewhere, images.unwrap_or_default())
        });
        let look_for = |name, wanted| {
            find_tool(own, name, wanted, (plan.made(name), plan.damage(name)), |path| probe_tool(project, name, path))
        };
        let minikube = scope.spawn(move || match plan.has_cluster {
            true => look_for("minikube", &tools.minikube),
            false => Found::Unneeded,
        });
        let helm = scope.spawn(move || {
            let found = look_for("helm", &tools.helm);
            let help = found.path().and_then(|path| Probe::of(project, &path).ask(helm::upgrade_help()).ok());
            (found, helm::merge_flags(&help.unwrap_or_default()))
        });
        let kubectl = scope.spawn(move || look_for("kubectl", &tools.kubectl));
        let (docker, daemon, elsewhere, images) = docker.join().expect("looking for docker does not panic");
        let joined =
            |found: std::thread::ScopedJoinHandle<Found>| found.join().expect("looking for a tool does not panic");
        let (helm, helm_merge) = helm.join().expect("looking for helm does not panic");
        let (minikube, kubectl) = (joined(minikube), joined(kubectl));
        let all = All { docker, daemon, elsewhere, images, minikube, helm, helm_merge, kubectl };
        // A tool that was interrupted did not answer, and is not missing.
        spawn.interrupt.check()?;
        project.ui.fact("tools", all.versions());
        Ok(all)
    })
}

pub fn helm(project: &Project, plan: &Plan) -> Found {
    let ask = |path: &str| probe_tool(project, "helm", path);
    find_tool(&project.folders.bin(), "helm", &project.config.tools.helm, (plan.made("helm"), plan.damage("helm")), ask)
}

/// Asks a tool whether it can do the work: its version, or why it can't.
pub fn probe_tool(project: &Project, name: &str, path: &str) -> Result<String, String> {
    let probe = Probe::of(project, path);
    match name {
        "docker" => ask_docker(&probe),
        "minikube" => ask_minikube(&probe),
        "helm" => ask_helm(&probe),
        _ => ask_kubectl(&probe),
    }
}

/// A program that is asked about itself. It is asked again only where it may answer otherwise.
struct Probe<'a> {
    spawn: &'a Spawn,
    answers: Answers,
    path: String,
    key: Option<String>,
}

impl Probe<'_> {
    fn of<'a>(project: &'a Project, path: &str) -> Probe<'a> {
        let key = key_of_program(Path::new(path), &plugin_folders());
        Probe { spawn: &project.spawn, answers: Answers::new(&project.folders.cache), path: path.to_string(), key }
    }

    fn ask<T: 'static>(&self, call: Call<T>) -> Result<T, String> {
        let call = call.by(&self.path).within(ASK);
        let question = call.argv.iter().fold(Content::default(), |content, word| content.word(word));
        read_answer(self.answers.attempt(self.spawn, &question.short(), self.key.as_deref(), call))
    }

    /// Two questions at once: some clients are wrappers that take their time.
    fn both<T: Send + 'static, U: 'static>(
        &self,
        one: Call<T>,
        other: Call<U>,
    ) -> (Result<T, String>, Result<U, String>) {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| self.ask(one));
            let other = self.ask(other);
            (one.join().expect("asking does not panic"), other)
        })
    }
}

/// Where the docker client looks for the plugin without which it does not build.
fn plugin_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    let own = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or(home);
    let places = ["/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"]
        .map(|place| Path::new(place).join("docker"));
    let folders = own.into_iter().chain(places).map(|place| place.join("cli-plugins"));
    folders.flat_map(|folder| [folder.join("docker-buildx"), folder]).collect()
}

/// A variable goes before a context that was chosen with `docker context use`.
fn find_elsewhere(spawn: &Spawn, docker: Option<&str>) -> Option<Elsewhere> {
    let usual = |value: &String| value.is_empty() || value == "default";
    for chosen_by in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
        if let Some(value) = std::env::var(chosen_by).ok().filter(|value| !usual(value)) {
            return Some(Elsewhere { chosen_by, value });
        }
    }
    let value = ask(spawn, docker::context().by(docker?)).ok().filter(|value| !usual(value))?;
    Some(Elsewhere { chosen_by: CONTEXT, value })
}

/// Tries what is on PATH in its order; the first that does the work wins. What was made at the pinned version needs no
/// asking; where it is damaged, that is why there is none.
fn find_tool(
    own: &Path,
    name: &str,
    wanted: &Tool,
    (made, damage): (Option<String>, Option<String>),
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
        None => {
            refused.extend(damage);
            Found::Missing { refused }
        }
    }
}

fn recent_enough(wanted: &Tool, version: String) -> Result<String, String> {
    match (parse_version(&version), parse_version(&wanted.minimum)) {
        (Some(found), Some(minimum)) if found < minimum => Err(format!("is {version}, older than {}", wanted.minimum)),
        _ => Ok(version),
    }
}

fn ask_docker(probe: &Probe) -> Result<String, String> {
    let (help, version) = probe.both(docker::build_help(), docker::client_version());
    if !help? {
        return Err("builds without BuildKit (its buildx plugin is missing)".to_string());
    }
    version?.ok_or_else(|| "does not print its version".to_string())
}

fn ask_minikube(probe: &Probe) -> Result<String, String> {
    let (help, version) = probe.both(minikube::start_help(), minikube::version());
    match minikube::has_flags(&help?) {
        true => version,
        false => Err("lacks flags of `start` that are needed".to_string()),
    }
}

fn ask_helm(probe: &Probe) -> Result<String, String> {
    let (help, version) = probe.both(helm::upgrade_help(), helm::version());
    match helm::has_flags(&help?) {
        true => version,
        false => Err("lacks flags of `upgrade` that are needed".to_string()),
    }
}

fn ask_kubectl(probe: &Probe) -> Result<String, String> {
    let (works, version) = probe.both(kubectl::client_check(), kubectl::version());
    works.and(version)?.ok_or_else(|| "does not print its version".to_string())
}

fn read_answer<T>(answer: Result<Result<T, Output>>) -> Result<T, String> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(output)) => {
            Err(format!("{}: {}", output.ending(), output.tail.lines().next().unwrap_or("without a word")))
        }
        Err(error) => Err(format!("could not be run: {error}")),
    }
}

fn ask<T>(spawn: &Spawn, call: Call<T>) -> Result<T, String> {
    read_answer(spawn.attempt(call.within(ASK)))
}

/// Whether a program is to be found at all.
pub fn on_path(name: &str) -> bool {
    which::which(name).is_ok() || Path::new("/usr/sbin").join(name).exists()
}
