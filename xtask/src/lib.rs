//! Arguments → one match → exit code.

pub mod cleanup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diagnosis;
pub mod live;
pub mod model;
pub mod run;
pub mod secrets;
pub mod stages;
pub mod start;
pub mod tools;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result};
use clap::{CommandFactory, Parser};

use cli::{Bundle, Cli, Command, Db, Hook, PreviewCommand, Secrets, TargetCommand};
use commands::timings::Wanted;
use commands::{
    bootstrap, clean, doctor, down, history, logs, plan, render, rollback, smoke, status, tunnel, uninstall, up, verify,
};
use config::ConfigErrors;
use run::annotation::Annotation;
use run::context::Project;
use run::ui::Ui;
use run::{exit, record, ui};

/// `cargo xtask`: a repository's own main calls it.
pub fn main() -> ExitCode {
    run_with(dispatch, |command| !command.is_check())
}

/// Parses the arguments, hands the command to `dispatch`, and reports how it ended; the only exit. Only commands that this
/// program runs itself, which `owns` says, are recorded.
pub fn run_with(dispatch: fn(&Project, &Cli) -> Result<()>, owns: fn(&Command) -> bool) -> ExitCode {
    let cli = Cli::parse();
    if let Command::Completions { shell } = cli.command {
        return commands::completions::run(shell, Cli::command());
    }
    if let Command::Schema = cli.command {
        return commands::schema::run();
    }
    let mode = ui::choose_mode(cli.options.json, cli.options.quiet, cli.options.no_progress);
    let ui = Arc::new(Ui::new(mode, cli.options.verbose).with_annotations(start::annotations()));
    let project = match start::project(&cli.options, ui.clone()) {
        Ok(project) => project,
        Err(error) => return ExitCode::from(fail(&ui, &error)),
    };
    announce_interruption(&project);
    if let Err(error) = start::agree(&project, &cli) {
        return ExitCode::from(fail(&project.ui, &error));
    }
    let recorded = cli.command.recorded().filter(|_| owns(&cli.command));
    if let Some(name) = recorded
        && let Err(error) = record::begin(&project, name)
    {
        return ExitCode::from(fail(&project.ui, &error));
    }
    let code = match dispatch(&project, &cli) {
        Ok(()) => 0,
        Err(error) => fail(&project.ui, &error),
    };
    if recorded.is_some() {
        record::end(&project, code);
    }
    ExitCode::from(code)
}

/// Runs a command that this package has.
pub fn dispatch(project: &Project, cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Up { no_rollback, bundle: None } => up::run(project, *no_rollback),
        Command::Up { no_rollback, bundle: Some(file) } => {
            stages::setup::bundle::load(project, file)?;
            up::run(project, *no_rollback)
        }
        Command::Dev { ui } => {
            let page = ui.then(|| cli.options.arguments());
            commands::dev::run(project, page, &|| start::reread(project, &cli.options))
        }
        Command::Ui { port } => commands::dashboard::run(project, *port, &cli.options.arguments()),
        Command::Plan => plan::run(project),
        Command::Down { purge, cluster } => down::run(project, *purge, *cluster),
        Command::Rollback { revision, release } => rollback::run(project, *revision, release.as_deref()),
        Command::Secrets { command: Secrets::Check } => commands::secrets::check(project),
        Command::Secrets { command: Secrets::Rotate { keys } } => commands::secrets::rotate(project, keys),
        Command::Secrets { command: Secrets::Export { to } } => commands::secrets::export(project, to),
        Command::Render => render::run(project),
        Command::Config { explain } => commands::config::run(project, *explain),
        Command::Tunnel => tunnel::run(project),
        Command::Status => status::run(project),
        Command::History => history::run(project),
        Command::Timings { run, processes, html, otlp } => {
            let (html, otlp) = (html.as_deref(), otlp.as_deref());
            commands::timings::run(project, &Wanted { back: *run, processes: *processes, html, otlp })
        }
        Command::Smoke => smoke::run(project),
        Command::Logs { services, follow, previous, tail, since } => {
            let (follow, previous, tail, since) = (*follow, *previous, *tail, since.as_deref());
            logs::run(project, &logs::LogOptions { services, follow, previous, tail, since })
        }
        Command::Open { service } => commands::open::run(project, service.as_deref()),
        Command::Forward { service, port, to } => commands::open::forward(project, service, *port, *to),
        Command::Exec { service, command } => commands::exec::run(project, service, command),
        Command::Debug { service, image } => commands::debug::run(project, service, image.as_deref()),
        Command::Db { command, service } => dispatch_db(project, command, service.as_deref()),
        Command::Psql { service, options } => commands::exec::psql(project, service.as_deref(), options),
        Command::Preview { command } => dispatch_preview(project, command),
        Command::Target { command } => dispatch_target(project, command),
        Command::Bootstrap { update_lock: true, .. } => bootstrap::update_lock(project),
        Command::Bootstrap { from, .. } => bootstrap::run(project, *from),
        Command::Bundle { command: Bundle::Save { file } } => commands::bundle::save(project, file),
        Command::Bundle { command: Bundle::Load { file } } => commands::bundle::load(project, file),
        Command::Clean { keep, dry_run } => clean::run(project, *keep, *dry_run),
        // CI=true is not enough here: removing everything takes an explicit --yes.
        Command::Uninstall => uninstall::run(project, cli.options.yes),
        Command::Doctor => doctor::run(project),
        Command::Hook { command: Hook::Install } => commands::hook::install(project),
        Command::Hook { command: Hook::Remove } => commands::hook::remove(project),
        Command::Completions { .. } | Command::Schema => unreachable!("run_with prints these, which need no project"),
        Command::Validate { .. }
        | Command::Lint { .. }
        | Command::Package { .. }
        | Command::Test { .. }
        | Command::TestE2e { .. }
        | Command::Bench { .. } => verify::run(project),
    }
}

fn dispatch_db(project: &Project, command: &Db, service: Option<&str>) -> Result<()> {
    match command {
        Db::Dump { to } => commands::db::dump(project, service, to),
        Db::Restore { file } => commands::db::restore(project, service, file),
        Db::Seed => commands::db::seed(project, service),
    }
}

fn dispatch_preview(project: &Project, command: &PreviewCommand) -> Result<()> {
    match command {
        PreviewCommand::List => commands::preview::list(project),
        PreviewCommand::Gc { dry_run } => commands::preview::gc(project, *dry_run),
    }
}

fn dispatch_target(project: &Project, command: &TargetCommand) -> Result<()> {
    match command {
        TargetCommand::Add { name } => commands::target::add(project, name),
        TargetCommand::List => commands::target::list(project),
        TargetCommand::Forget { name } => commands::target::forget(project, name),
    }
}

/// Says at once that a signal was heard: what runs may take a while to end well.
fn announce_interruption(project: &Project) {
    let (interrupt, ui) = (project.spawn.interrupt.clone(), project.ui.clone());
    std::thread::spawn(move || {
        while interrupt.check().is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        ui.say("interrupted: waiting for running commands to stop");
    });
}

fn fail(ui: &Ui, error: &Error) -> u8 {
    ui.error(&format!("{error:#}"));
    if let Some(ConfigErrors(errors)) = error.downcast_ref() {
        let mistakes: Vec<Annotation> =
            errors.iter().map(|error| Annotation::at(&error.place, &error.message)).collect();
        ui.annotate(&mistakes);
    }
    exit::exit_code(error)
}
