//! What every command is handed: the configuration, the folders, the way to spawn and the way to be seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::config;
use crate::config::Config;
use crate::model::cluster::Target;
use crate::run::exit::Stop;
use crate::run::process::Spawn;
use crate::run::ui::Ui;

pub struct Context {
    pub config: Config,
    /// The project's root; all paths of the configuration are relative to it.
    pub root: PathBuf,
    pub folders: Folders,
    pub spawn: Spawn,
    pub ui: Arc<Ui>,
    /// Changes to the system are agreed to.
    pub yes: bool,
}

/// Where the tool keeps things outside the clone.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What can be made again: tools, archives, staging.
    pub cache: PathBuf,
    /// What can't: the cluster's certificates and kubeconfig, locks, logs.
    pub state: PathBuf,
}

impl Folders {
    /// `$XDG_CACHE_HOME/PROJECT` and `$XDG_STATE_HOME/PROJECT`, or where these are by default.
    pub fn of(project: &str) -> Result<Folders> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let folder = |variable: &str, default: &str| {
            let chosen = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            let folder = chosen.or_else(|| home.as_ref().map(|home| home.join(default)));
            folder.map(|folder| folder.join(project)).with_context(|| format!("neither {variable} nor HOME is set"))
        };
        Ok(Folders { cache: folder("XDG_CACHE_HOME", ".cache")?, state: folder("XDG_STATE_HOME", ".local/state")? })
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
    /// The same for another profile.
    pub fn of_profile(&self, profile: &str) -> Result<Context> {
        Ok(Context {
            config: read_config(&self.root, profile)?,
            root: self.root.clone(),
            folders: self.folders.clone(),
            spawn: self.spawn.clone(),
            ui: self.ui.clone(),
            yes: self.yes,
        })
    }

    /// The cluster and the profile's namespace.
    pub fn target(&self) -> Target {
        self.target_in(&self.config.namespace)
    }

    /// The cluster and a namespace of it.
    pub fn target_in(&self, namespace: &str) -> Target {
        Target {
            kubeconfig: self.folders.kubeconfig().display().to_string(),
            context: self.config.cluster.name.clone(),
            namespace: namespace.to_string(),
        }
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
        let folder = format!("{}-{}", self.config.profile, self.config.namespace);
        self.folders.cache.join("staging").join(folder).join(name)
    }

    /// How minikube is run: it leaves its locks in the temporary folder, which is one of ours then.
    pub fn spawn_minikube(&self) -> Result<Spawn> {
        let folder = self.folders.temporary();
        std::fs::create_dir_all(&folder)?;
        let mut spawn = self.spawn.clone();
        spawn.env.push(("TMPDIR".to_string(), folder.display().to_string()));
        Ok(spawn)
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

/// Reads xtask.toml with a profile over it.
pub fn read_config(root: &Path, profile: &str) -> Result<Config> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let over = format!("k8s/profiles/{profile}.toml");
    if !root.join(&over).exists() {
        let known = profiles(root).join(", ");
        let message =
            format!("there is no profile {profile}: {over} does not exist\nNext: --profile with one of {known}");
        return Err(Stop::usage(message).into());
    }
    let (base_text, over_text) = (read("xtask.toml")?, read(&over)?);
    let base = config::ConfigFile { file: "xtask.toml", text: &base_text };
    let over = config::ConfigFile { file: &over, text: &over_text };
    Ok(config::parse_config(profile, base, over, &|path| root.join(path).exists())?)
}

/// The names of all profiles.
pub fn profiles(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("k8s/profiles")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_string())).collect();
    names.sort();
    names
}
