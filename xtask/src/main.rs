//! Arguments → one match → exit code; the only exit.

mod chart_docs;
mod checks;
mod clean;
mod cli;
mod config;
mod content;
mod context;
mod doctor;
mod e2e;
mod explain;
mod facts;
mod graph;
mod guard;
mod history;
mod http;
mod lint;
mod live;
mod lock;
mod logs;
mod model;
mod pipeline;
mod plan;
mod poll;
mod process;
mod record;
mod rules;
mod secrets;
mod stages;
mod status;
mod stop;
mod tools;
mod tunnel;
mod ui;
mod uninstall;
mod validate;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;

use cli::{Cli, Command, Options, Secrets};
use context::{Context, Folders};
use process::{Interrupt, Spawn};
use stop::Stop;
use ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui =
        Ui::new(ui::choose_mode(cli.options.json, cli.options.quiet, cli.options.no_progress), cli.options.verbose);
    let ctx = match context(&cli.options, ui) {
        Ok(ctx) => ctx,
        Err((ui, error)) => return ExitCode::from(fail(&ui, &error)),
    };
    announce_interruption(&ctx);
    let recorded = cli.command.recorded();
    if let Some(name) = recorded
        && let Err(error) = record::begin(&ctx, name)
    {
        return ExitCode::from(fail(&ctx.ui, &error));
    }
    let ended = match &cli.command {
        Command::Up { no_rollback } => pipeline::up(&ctx, *no_rollback),
        Command::Plan => plan::show(&ctx),
        Command::Down { purge, cluster } => pipeline::down(&ctx, *purge, *cluster),
        Command::Rollback { revision, release } => pipeline::roll_back(&ctx, *revision, release.as_deref()),
        Command::Secrets { command: Secrets::Check } => secrets::check(&ctx),
        Command::Secrets { command: Secrets::Rotate { keys } } => secrets::rotate(&ctx, keys),
        Command::Secrets { command: Secrets::Export { to } } => secrets::export(&ctx, to),
        Command::Render => explain::render(&ctx),
        Command::Config { explain } => explain::config(&ctx, *explain),
        Command::Validate { live, rules } => validate::run(&ctx, *live, *rules),
        Command::Tunnel => tunnel::run(&ctx),
        Command::Lint { update } => lint::run(&ctx, cli.options.profile.as_deref(), *update),
        Command::Status => status::show(&ctx),
        Command::History => history::show(&ctx),
        Command::Smoke => pipeline::smoke(&ctx),
        Command::Logs { services, follow, previous, tail, since } => {
            let (follow, previous, tail, since) = (*follow, *previous, *tail, since.as_deref());
            logs::run(&ctx, &logs::Wanted { services, follow, previous, tail, since })
        }
        Command::Bootstrap { update_lock: true, .. } => pipeline::update_lock(&ctx),
        Command::Bootstrap { from, .. } => pipeline::bootstrap(&ctx, *from),
        Command::Clean { keep, dry_run } => clean::run(&ctx, *keep, *dry_run),
        // Not what CI=true agrees to: nothing is lost without a word of somebody's.
        Command::Uninstall => uninstall::run(&ctx, cli.options.yes),
        Command::Doctor => doctor::show(&ctx),
        Command::Test { no_e2e } => checks::run(&ctx, !no_e2e),
        Command::TestE2e { list: true, only, .. } => e2e::list(&ctx, only.as_deref()),
        Command::TestE2e { keep, only, junit, helm, .. } => {
            let (only, junit, helm) = (only.as_deref(), junit.as_deref(), helm.as_deref());
            e2e::run(&ctx, &e2e::Wanted { keep: *keep, only, junit, helm })
        }
    };
    let code = match ended {
        Ok(()) => 0,
        Err(error) => fail(&ctx.ui, &error),
    };
    if recorded.is_some() {
        record::end(&ctx, code);
    }
    ExitCode::from(code)
}

/// Says at once that a signal was heard: what runs may take a while to end well.
fn announce_interruption(ctx: &Context) {
    let (interrupt, ui) = (ctx.spawn.interrupt.clone(), ctx.ui.clone());
    std::thread::spawn(move || {
        while interrupt.check().is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        ui.say("told to end: what runs is given the time for it; being told again changes nothing");
    });
}

fn fail(ui: &Ui, error: &anyhow::Error) -> u8 {
    ui.error(&format!("{error:#}"));
    stop::exit_code(error)
}

fn context(options: &Options, ui: Ui) -> Result<Context, (Ui, anyhow::Error)> {
    match prepare(options) {
        Ok((config, root, folders, spawn)) => {
            let yes = options.yes || std::env::var("CI").is_ok_and(|value| value == "true");
            Ok(Context { config, root, folders, spawn, ui: ui.into(), yes })
        }
        Err(error) => Err((ui, error)),
    }
}

fn prepare(options: &Options) -> Result<(config::Config, PathBuf, Folders, Spawn)> {
    let root = root()?;
    let mut config = context::read_config(&root, options.profile())?;
    if let Some(namespace) = &options.namespace {
        if !config::is_name(namespace) {
            let told = format!("--namespace is \"{namespace}\": it must be {}", config::NAME_RULE);
            return Err(Stop::usage(told).into());
        }
        config.move_to(namespace).map_err(|told| Stop::usage(format!("--namespace {namespace}: {told}")))?;
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
    let folders = Folders::of(&config.project)?;
    let guard = Arc::new(guard::guard(&folders));
    let spawn = Spawn { interrupt: Interrupt::install()?, env: environment(&folders), hidden: &AMBIENT, guard };
    Ok((config, root, folders, spawn))
}

/// The project's root: where cargo says this package lies, so that the command works from any folder of it.
fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    Ok(package.parent().context("the package lies in the project's root")?.to_path_buf())
}

/// Variables by which helm and minikube would turn to another cluster than the one that each call names.
const AMBIENT: [&str; 11] = [
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
