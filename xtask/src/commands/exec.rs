//! `exec` and `psql`: a program in a service's container, at the person's own terminal.

use std::io::{IsTerminal, stdin, stdout};

use anyhow::Result;

use crate::config::{Action, Step};
use crate::live::service::{RunningContainer, need_known, running_container};
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::process::failure;
use crate::stages::{cluster, setup};
use crate::tools::{kubectl, psql};

/// Runs a command, or a shell, in the service's container; its exit code is this program's.
pub fn run(project: &Project, service: &str, command: &[String]) -> Result<()> {
    need_known(project, &[service.to_string()], "cargo xtask exec SERVICE")?;
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let found = running_container(ctx, service)?;
    if command.is_empty() {
        need_shell(ctx, &found, service)?;
        return hand_over(ctx, &found, &["sh".to_string()]);
    }
    hand_over(ctx, &found, command)
}

/// psql in the database's own container, which knows its password.
pub fn psql(project: &Project, service: Option<&str>, options: &[String]) -> Result<()> {
    let (ctx, _, found) = database(project, service, "cargo xtask psql")?;
    hand_over(&ctx, &found, &psql::interactive(options))
}

/// The service that is the database, the one that the smoke checks ask in SQL unless it is named, and its own container.
/// `command` is what to type with another.
pub fn database(project: &Project, named: Option<&str>, command: &str) -> Result<(Context, String, RunningContainer)> {
    let next = format!("{command} --service SERVICE");
    let asked = |step: &Step| matches!(step.action, Action::Sql { .. }).then(|| step.service.clone()).flatten();
    let of_checks = || project.config.smoke.iter().flat_map(|check| &check.steps).find_map(asked);
    let service = named.map(str::to_string).or_else(of_checks).ok_or_else(|| {
        let message = "no smoke check of the profile asks a database in SQL, so it is not known which service is one";
        Stop::usage(format!("{message}\nNext: {next}"))
    })?;
    need_known(project, std::slice::from_ref(&service), &next)?;
    let ctx = setup::need_tools(project)?;
    cluster::need_serving(&ctx)?;
    let found = running_container(&ctx, &service)?;
    need_shell(&ctx, &found, &service)?;
    Ok((ctx, service, found))
}

/// An image from scratch has no shell, and the runtime's own words for that help nobody.
fn need_shell(ctx: &Context, found: &RunningContainer, service: &str) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = found;
    let nothing = ["sh", "-c", ":"].map(str::to_string);
    let call = kubectl::exec(target, pod, container, &nothing);
    let command_line = call.text();
    let output = ctx.output(call)?;
    if output.success {
        return Ok(());
    }
    if !["executable file not found", "no such file"].iter().any(|words| output.tail.contains(words)) {
        return Err(failure(&command_line, &output));
    }
    let message = format!("the image of {service} has no shell that could be run");
    let next = format!(
        "Next: cargo xtask debug {service}, which brings one, or cargo xtask exec {service} -- PROGRAM, with a program that \
         the image has"
    );
    Err(Stop::failed(format!("{message}\n{next}")).into())
}

/// Gives the terminal to a program in a container, whose exit code is this program's; comes back only with an error.
pub fn hand_over(ctx: &Context, found: &RunningContainer, command: &[String]) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = found;
    let tty = stdin().is_terminal() && stdout().is_terminal();
    Err(ctx.spawn.hand_over(kubectl::exec_interactively(target, pod, container, tty, command)))
}
