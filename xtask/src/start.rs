//! From the arguments to the project that every command is handed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::Options;
use crate::commands::verify;
use crate::config;
use crate::live::guard;
use crate::run::context;
use crate::run::context::{Folders, Project};
use crate::run::exit::Stop;
use crate::run::process::{Heard, Interrupt, Spawn};
use crate::run::ui::Ui;

/// How much of an argv a record keeps: enough to know what was asked.
const PROCESS: usize = 160;

/// Everything that a command works with; without it, the error and where to print it.
pub fn project(options: &Options, ui: Ui) -> Result<Project, (Ui, anyhow::Error)> {
    match prepare(options) {
        Ok((config, root, folders, spawn)) => {
            let yes = options.yes || std::env::var("CI").is_ok_and(|value| value == "true");
            let ui = Arc::new(ui);
            let spawn = Spawn { heard: record_into(&ui), ..spawn };
            Ok(Project { config, root, folders, spawn, ui, yes })
        }
        Err(error) => Err((ui, error)),
    }
}

/// The project as its files say now, for another run in the same process.
pub fn reread(project: &Project, options: &Options) -> Result<Project> {
    let config = read_config(&project.root, options)?;
    let ui = Arc::new(project.ui.renewed());
    let spawn = Spawn { heard: record_into(&ui), ..project.spawn.clone() };
    Ok(Project { config, spawn, ui, ..project.clone() })
}

/// Has the record of a run hear of its processes.
fn record_into(ui: &Arc<Ui>) -> Arc<Heard> {
    let ui = ui.clone();
    Arc::new(move |text, took, good| {
        let process: String = text.chars().take(PROCESS).collect();
        let took_ms = took.as_millis() as u64;
        ui.note("process_ended", json!({ "process": process, "took_ms": took_ms, "good": good }));
    })
}

fn read_config(root: &Path, options: &Options) -> Result<config::Config> {
    let mut config = context::read_config(root, options.profile())?;
    if let Some(namespace) = &options.namespace {
        if !config::is_name(namespace) {
            let message = format!("--namespace is \"{namespace}\": it must be {}", config::NAME_RULE);
            return Err(Stop::usage(message).into());
        }
        config.move_to(namespace).map_err(|message| Stop::usage(format!("--namespace {namespace}: {message}")))?;
    }
    if let Some(file) = &options.overrides {
        if !file.is_file() {
            return Err(Stop::usage(format!("--override {}: there is no such file", file.display())).into());
        }
        config.overrides = std::path::absolute(file)?;
    }
    if let Some(timeout) = options.timeout {
        config.deadlines.rollout = timeout;
        config.deadlines.smoke = timeout;
    }
    Ok(config)
}

fn prepare(options: &Options) -> Result<(config::Config, PathBuf, Folders, Spawn)> {
    let root = root()?;
    let config = read_config(&root, options)?;
    let folders = Folders::of(&config.home)?;
    let guard = Arc::new(guard::guard(&folders));
    let spawn = Spawn {
        interrupt: Interrupt::install()?,
        env: environment(&folders),
        hidden: &AMBIENT,
        guard,
        programs: Arc::default(),
        heard: Arc::new(|_, _, _| {}),
    };
    Ok((config, root, folders, spawn))
}

/// The project's root: the nearest folder with an xtask.toml, from the package that cargo runs upward, so that the
/// command works from any folder of it.
fn root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os(verify::ROOT) {
        return Ok(PathBuf::from(root));
    }
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("start this with cargo: `cargo xtask`")?;
    let has_config = |folder: &&Path| folder.join("xtask.toml").exists();
    let root = Path::new(&package).ancestors().find(has_config);
    let root = root.with_context(|| format!("no xtask.toml in {} or a folder above it", package.display()))?;
    Ok(root.to_path_buf())
}

/// Variables by which helm and minikube would turn to another cluster than the one that each call names, docker would
/// build for another platform or elsewhere, git would look at another repository, and a command of ours at another project.
const AMBIENT: [&str; 16] = [
    verify::ROOT,
    "DOCKER_DEFAULT_PLATFORM",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "HELM_DRIVER",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
    "HELM_NAMESPACE",
    "MINIKUBE_PROFILE",
];

/// What every child gets beside the caller's environment. Minikube and kubectl work on files of our own, whatever the
/// caller's point at, and find the docker client that was chosen.
fn environment(folders: &Folders) -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_default();
    let pair = |name: &str, value: String| (name.to_string(), value);
    let mut environment = vec![
        // The builder of the daemon itself: one that `docker buildx use` or the caller's environment chose has neither the
        // base images nor a way to put what it builds where minikube finds it.
        pair("BUILDX_BUILDER", "default".to_string()),
        pair("DOCKER_BUILDKIT", "1".to_string()),
        pair("MINIKUBE_HOME", folders.minikube_home().display().to_string()),
        pair("MINIKUBE_IN_STYLE", "false".to_string()),
        pair("KUBECACHEDIR", folders.discovery().display().to_string()),
        pair("KUBECONFIG", folders.kubeconfig().display().to_string()),
        pair("PATH", format!("{}:{path}:/usr/sbin:/sbin", folders.bin().display())),
    ];
    // A proxy leads out of this machine; the cluster is on it.
    for name in ["NO_PROXY", "no_proxy"] {
        let direct = std::env::var(name).unwrap_or_default();
        let own = "localhost,127.0.0.1,192.168.0.0/16,10.96.0.0/12";
        environment.push(pair(name, if direct.is_empty() { own.to_string() } else { format!("{direct},{own}") }));
    }
    environment
}
