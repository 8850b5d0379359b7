//! From the arguments to the project that every command is handed.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::{Cli, Options};
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

/// Everything that a command works with.
pub fn project(options: &Options, ui: Arc<Ui>) -> Result<Project> {
    let (config, root, folders, spawn) = prepare(options)?;
    let yes = options.yes || std::env::var("CI").is_ok_and(|value| value == "true");
    let spawn = Spawn { heard: record_into(&ui), ..spawn };
    Ok(Project { config, root, folders, spawn, ui, yes })
}

/// The folder of the repository that the project lies in, where GitHub Actions reads what is printed; None anywhere else.
pub fn annotations() -> Option<PathBuf> {
    if std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true") {
        let (root, workspace) = (root().ok()?, std::env::var_os("GITHUB_WORKSPACE").filter(|path| !path.is_empty()));
        return Some(workspace.and_then(|path| root.strip_prefix(path).ok()).unwrap_or(Path::new("")).to_path_buf());
    }
    None
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
    if let Some(target) = &options.target {
        choose_target(&mut config, root, target)?;
    }
    if options.preview {
        choose_preview(&mut config, root)?;
    }
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

/// The project with another profile, and the target or the minikube, than the command line chose.
pub fn with_choices(project: &Project, profile: &str, target: Option<&str>) -> Result<Project> {
    if project.config.profile == profile && project.config.target.as_deref() == target {
        return Ok(project.clone());
    }
    let mut other = project.of_profile(profile)?;
    if let Some(target) = target {
        choose_target(&mut other.config, &project.root, target)?;
    }
    Ok(other)
}

/// Turns to a cluster of others, and moves the profile into the namespace that it has there.
fn choose_target(config: &mut config::Config, root: &Path, name: &str) -> Result<()> {
    let Some(remote) = config.targets.get(name) else {
        let known: Vec<&str> = config.targets.keys().map(String::as_str).collect();
        let next = match known.is_empty() {
            true => format!("Next: describe it in xtask.toml, as [targets.{name}]"),
            false => format!("Next: --target with one of {}", known.join(", ")),
        };
        return Err(Stop::usage(format!("there is no target {name} in xtask.toml\n{next}")).into());
    };
    if let Some(template) = remote.namespace.clone() {
        let values = config::PLACEHOLDERS.iter().map(|key| (key.to_string(), value_of(config, root, key)));
        let namespace = config::namespace_of(&template, &values.collect());
        if !config::is_name(&namespace) {
            let message = format!("targets.{name}.namespace, {template}, makes the name \"{namespace}\" here");
            return Err(Stop::usage(format!("{message}: it must be {}", config::NAME_RULE)).into());
        }
        config.move_to(&namespace).map_err(|message| Stop::usage(format!("targets.{name}.namespace: {message}")))?;
    }
    config.target = Some(name.to_string());
    Ok(())
}

/// Moves the profile into the namespace of the branch that is checked out.
fn choose_preview(config: &mut config::Config, root: &Path) -> Result<()> {
    let branch = git_head(root).ok_or_else(|| {
        let message = "--preview needs a git repository, as the branch names the namespace";
        Stop::usage(format!("{message}\nNext: --namespace NAME"))
    })?;
    let values = [("project".to_string(), config.project.clone()), ("branch".to_string(), branch.clone())];
    let namespace = config::namespace_of("{project}-{branch}", &values.into());
    config.move_to(&namespace).map_err(|message| Stop::usage(format!("--preview: {message}")))?;
    config.preview = Some(branch);
    Ok(())
}

/// What a placeholder of a namespace stands for; empty where that can't be found out.
fn value_of(config: &config::Config, root: &Path, key: &str) -> String {
    match key {
        "project" => config.project.clone(),
        "profile" => config.profile.clone(),
        "user" => std::env::var("USER").unwrap_or_default(),
        _ => git_head(root).unwrap_or_default(),
    }
}

/// The branch that is checked out, from git's own file: there is no way to run a program yet.
fn git_head(root: &Path) -> Option<String> {
    let inside = root.ancestors().map(|folder| folder.join(".git")).find(|path| path.exists())?;
    // In a worktree it is a file that says where the folder is.
    let folder = match std::fs::read_to_string(&inside) {
        Ok(text) => root.join(text.trim().strip_prefix("gitdir: ")?),
        Err(_) => inside,
    };
    let head = std::fs::read_to_string(folder.join("HEAD")).ok()?;
    let head = head.trim();
    Some(head.strip_prefix("ref: refs/heads/").unwrap_or(&head[..head.len().min(12)]).to_string())
}

/// Refuses a command that has nothing to do with a target, and changes of a protected one that nobody agreed to.
pub fn agree(project: &Project, cli: &Cli) -> Result<()> {
    let Some((name, remote)) = project.config.remote() else { return Ok(()) };
    if !cli.command.takes_target() {
        let message = "this command works on this machine and its minikube, and takes no --target";
        return Err(Stop::usage(format!("{message}\nNext: the same without it")).into());
    }
    if !remote.protected || !cli.command.changes() || cli.options.confirm.as_deref() == Some(name) {
        return Ok(());
    }
    let typed = match stdin().is_terminal() && cli.options.confirm.is_none() && !cli.options.json {
        true => ask(project, name)?,
        false => String::new(),
    };
    if typed == name {
        return Ok(());
    }
    let message = format!("target {name} is protected; nothing was changed");
    Err(Stop::usage(format!("{message}\nNext: the same with --confirm {name}, or type its name when asked")).into())
}

/// What a person types when asked for a target's name; empty at Ctrl-C, which says so itself.
fn ask(project: &Project, name: &str) -> Result<String> {
    project.ui.say(&format!("target {name} is protected: type its name to change it"));
    let (sender, typed) = std::sync::mpsc::channel();
    // It waits for a line in a call that cannot be called off, and ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdin().read_line(&mut line);
        sender.send(line)
    });
    loop {
        project.spawn.interrupt.check()?;
        match typed.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => return Ok(line.trim().to_string()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
        }
    }
}

fn prepare(options: &Options) -> Result<(config::Config, PathBuf, Folders, Spawn)> {
    let root = root()?;
    let config = read_config(&root, options)?;
    let folders = Folders::of(&config.home)?;
    let guard = Arc::from(guard::guard(&folders, &root, &config));
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
/// build for another platform or elsewhere, git would look at another repository, and a command of ours at another project, or
/// annotate what a test breaks on purpose.
const AMBIENT: [&str; 17] = [
    verify::ROOT,
    "DOCKER_DEFAULT_PLATFORM",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "GITHUB_ACTIONS",
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
