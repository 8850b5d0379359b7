//! What every command is handed: the configuration, the folders, the way to spawn and the way to be seen.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::config;
use crate::config::Config;
use crate::model::cluster::Target;
use crate::model::tools::Tools;
use crate::run::call::Call;
use crate::run::exit::Stop;
use crate::run::files::copy_afresh;
use crate::run::process;
use crate::run::process::{Output, Spawn};
use crate::run::ui::Ui;

/// The profile of a command without --profile.
pub const DEFAULT_PROFILE: &str = "dev";
const PROFILES: &str = "k8s/profiles";
const RECIPES: &str = "k8s/node";

/// What a command has before it looks for tools.
#[derive(Clone)]
pub struct Project {
    pub config: Config,
    /// The project's root; all paths of the configuration are relative to it.
    pub root: PathBuf,
    pub folders: Folders,
    pub spawn: Spawn,
    pub ui: Arc<Ui>,
    /// Changes to the system are agreed to.
    pub yes: bool,
}

/// A project with the tools that were found for it, which every call needs.
#[derive(Clone)]
pub struct Context {
    project: Project,
    pub tools: Tools,
}

impl Deref for Context {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

/// A staging folder of one process, for commands that do not wait for a run that stages the same. It goes with this value.
pub struct OwnStaging(PathBuf);

impl Drop for OwnStaging {
    fn drop(&mut self) {
        // What stays is removed by the next command that has such a folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where the tool keeps things outside the clone.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What can be made again: tools, archives, staging.
    pub cache: PathBuf,
    /// What can't: the cluster's certificates and kubeconfig, locks, logs.
    pub state: PathBuf,
    /// Where something is put together before a tool takes it, of all profiles: in the cache, or of one process alone.
    pub staging: PathBuf,
}

impl Folders {
    /// `$XDG_CACHE_HOME/HOME` and `$XDG_STATE_HOME/HOME`, or where these are by default.
    pub fn of(home_name: &str) -> Result<Folders> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let folder = |variable: &str, default: &str| {
            let chosen = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            let folder = chosen.or_else(|| home.as_ref().map(|home| home.join(default)));
            folder.map(|folder| folder.join(home_name)).with_context(|| format!("neither {variable} nor HOME is set"))
        };
        let (cache, state) = (folder("XDG_CACHE_HOME", ".cache")?, folder("XDG_STATE_HOME", ".local/state")?);
        Ok(Folders { staging: cache.join("staging"), cache, state })
    }

    pub fn minikube_home(&self) -> PathBuf {
        self.state.join(".minikube")
    }

    /// A kubeconfig of our own, so that the user's stays as it is.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Links to the chosen tools.
    pub fn bin(&self) -> PathBuf {
        self.cache.join("bin")
    }

    /// Where minikube puts what it forgets.
    pub fn temporary(&self) -> PathBuf {
        self.cache.join("tmp")
    }

    /// What kubectl and helm remember of the cluster's API.
    pub fn discovery(&self) -> PathBuf {
        self.cache.join("discovery")
    }

    /// What is known of a target of a project, by which it is known again.
    pub fn pin(&self, project: &str, target: &str) -> PathBuf {
        self.state.join("targets").join(format!("{project}.{target}.json"))
    }

    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
}

/// A release in its place: what every call to helm, and every question about what it runs, names.
#[derive(Clone, Debug)]
pub struct Scope {
    pub release: String,
    pub target: Target,
}

impl Context {
    pub fn new(project: &Project, tools: Tools) -> Context {
        let Tools { docker, minikube, helm, kubectl } = tools.clone();
        let programs = [("docker", docker), ("minikube", minikube), ("helm", helm.path), ("kubectl", kubectl)];
        Context { project: project.with_programs(programs.into()), tools }
    }
}

impl Context {
    /// For what must happen in spite of an interruption; deadlines hold.
    pub fn uninterrupted(&self) -> Context {
        let mut context = self.clone();
        context.project.spawn = self.spawn.uninterrupted();
        context
    }
}

impl Project {
    /// Makes a folder that has all of the project that a deployment is made of, and nothing else.
    pub fn copy_to(&self, folder: &Path) -> Result<()> {
        copy_afresh(&self.root, &["xtask.toml", "k8s", "docker", "helm", "services"].map(PathBuf::from), folder)
    }

    /// The same with the paths of programs, by the names that calls have for them.
    pub fn with_programs(&self, programs: BTreeMap<&'static str, String>) -> Project {
        let mut project = self.clone();
        project.spawn.programs = Arc::new(programs);
        project
    }

    /// The same with a staging folder of this process alone. Folders of processes that were killed are removed.
    pub fn with_own_staging(&self) -> (Project, OwnStaging) {
        let all = self.folders.cache.join("apart");
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if !pid.is_some_and(process::is_alive) {
                drop(OwnStaging(entry.path()));
            }
        }
        let mut project = self.clone();
        // What helm rendered before is the same here, and is not rendered again.
        project.folders.staging = all.join(std::process::id().to_string());
        let own = OwnStaging(project.folders.staging.clone());
        (project, own)
    }

    /// Runs a call to its end and reads the answer.
    pub fn run<T>(&self, call: Call<T>) -> Result<T> {
        self.spawn.run(call)
    }

    /// Runs a call to its end and tells how it went.
    pub fn output<T>(&self, call: Call<T>) -> Result<Output> {
        self.spawn.output(call)
    }

    /// The same for another profile.
    pub fn of_profile(&self, profile: &str) -> Result<Project> {
        self.of_project(&self.root, profile)
    }

    /// The same for another project that shares this one's home.
    pub fn of_project(&self, root: &Path, profile: &str) -> Result<Project> {
        let config = read_config(root, profile)?;
        ensure!(config.home == self.config.home, "{} has another home than {}", root.display(), self.config.home);
        Ok(Project { config, root: root.to_path_buf(), ..self.clone() })
    }

    /// The cluster and the profile's namespace.
    pub fn target(&self) -> Target {
        self.target_in(&self.config.namespace)
    }

    /// The cluster and a namespace of it.
    pub fn target_in(&self, namespace: &str) -> Target {
        let (kubeconfig, context) = match self.config.remote() {
            Some((_, remote)) => (self.root.join(expand(&remote.kubeconfig)), remote.context.clone()),
            None => (self.folders.kubeconfig(), self.config.cluster.name.clone()),
        };
        Target { kubeconfig: kubeconfig.display().to_string(), context, namespace: namespace.to_string() }
    }

    /// A release of the profile.
    pub fn scope(&self, release: &str) -> Scope {
        Scope { release: release.to_string(), target: self.target_in(&self.config.releases[release].namespace) }
    }

    /// All releases of the profile.
    pub fn scopes(&self) -> Vec<Scope> {
        self.config.releases.keys().map(|name| self.scope(name)).collect()
    }

    /// Where something is put together before a tool takes it; a folder for each profile and namespace, as runs may
    /// overlap.
    pub fn staging(&self, name: &str) -> PathBuf {
        let at = self.config.target.as_ref().map_or(String::new(), |target| format!("{target}-"));
        let folder = format!("{at}{}-{}", self.config.profile, self.config.namespace);
        self.folders.staging.join(folder).join(name)
    }

    /// How minikube is run: it leaves its locks in the temporary folder, which is one of ours then.
    pub fn spawn_minikube(&self) -> Result<Spawn> {
        let folder = self.folders.temporary();
        std::fs::create_dir_all(&folder)?;
        let mut spawn = self.spawn.clone();
        spawn.env.push(("TMPDIR".to_string(), folder.display().to_string()));
        Ok(spawn)
    }

    /// The folder that has k8s/node, with what a cluster is made of where registries can't be reached.
    pub fn recipes(&self) -> PathBuf {
        recipes(&self.root)
    }

    /// An absolute path of something in the project.
    pub fn path(&self, relative: impl AsRef<std::path::Path>) -> String {
        self.root.join(relative).display().to_string()
    }
}

/// The proxy variables that are set, as build arguments: docker takes their values, which may hold a password, from the
/// environment, and keeps them out of an image's history.
pub fn proxies() -> Vec<(String, Option<String>)> {
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
        .iter()
        .filter(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()))
        .map(|name| (name.to_string(), None))
        .collect()
}

/// A path as a configuration has it: `~/` is the home folder.
pub fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The project's root where it has recipes of its own, else that of the tool's own repository.
fn recipes(root: &Path) -> PathBuf {
    match root.join(RECIPES).exists() {
        true => root.to_path_buf(),
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
    }
}

/// Reads xtask.toml with a profile over it. A project without profiles has its releases in xtask.toml, and that is `dev`.
pub fn read_config(root: &Path, profile: &str) -> Result<Config> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let over = format!("k8s/profiles/{profile}.toml");
    let is_alone = profile == DEFAULT_PROFILE && !root.join(PROFILES).exists();
    if !is_alone && !root.join(&over).exists() {
        let known = profiles(root).join(", ");
        let message =
            format!("there is no profile {profile}: {over} does not exist\nNext: --profile with one of {known}");
        return Err(Stop::usage(message).into());
    }
    let base_text = read("xtask.toml")?;
    let over_text = if is_alone { String::new() } else { read(&over)? };
    let base = config::ConfigFile { file: "xtask.toml", text: &base_text };
    let over = config::ConfigFile { file: &over, text: &over_text };
    let recipes = recipes(root);
    let exists = |path: &Path| match path.starts_with(RECIPES) {
        true => recipes.join(path).exists(),
        false => root.join(path).exists(),
    };
    Ok(config::parse_config(profile, base, over, &exists)?)
}

/// The names of all profiles; without any, `dev` is xtask.toml alone.
pub fn profiles(root: &Path) -> Vec<String> {
    if !root.join(PROFILES).exists() {
        return vec![DEFAULT_PROFILE.to_string()];
    }
    let entries = std::fs::read_dir(root.join(PROFILES)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_string())).collect();
    names.sort();
    names
}
