//! The machine's own part: Debian packages and a docker daemon. Both need the user's consent.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::poll;
use crate::run::process::{command, display, sudo, with_prefix};
use crate::stages::setup::find;
use crate::stages::setup::find::All;
use crate::stages::setup::made;
use crate::stages::setup::mirrors::build_module;
use crate::stages::setup::recipes::Plan;
use crate::tools::{apt, docker};

const PACKAGES: Duration = Duration::from_secs(600);
const DAEMON: Duration = Duration::from_secs(60);

/// Sees to a docker client that builds and a daemon that answers, and to the packages that bootstrap calls.
pub fn ensure_docker(ctx: &Context, found: &All, plan: &Plan, public: bool) -> Result<()> {
    let start = found.daemon.is_none();
    if start {
        refuse_foreign_daemon(ctx, found)?;
    }
    let packages = missing_packages(ctx, found, public);
    let sudo = sudo();
    // Systemd's docker would run without the shim.
    let by_systemd = Path::new("/run/systemd/system").exists() && !plan.shim;
    let daemon = match by_systemd {
        true => with_prefix(sudo, crate::run::process::argv!("systemctl start docker")),
        false => docker::daemon(sudo, &ctx.config.home, plan.shim_path().as_deref().filter(|_| plan.shim)),
    };
    let installation = [apt::configure(sudo), apt::update(sudo), apt::install(sudo, &packages)];
    let mut changes = Vec::new();
    if !packages.is_empty() {
        changes.extend(installation.clone());
    }
    if start {
        changes.push(daemon.clone());
    }
    if changes.is_empty() {
        return Ok(());
    }
    if start && plan.shim {
        // Before consent: it changes nothing of the system, and the command that is printed needs it.
        ctx.ui.say("docker's runc gets a shim: this machine withholds CAP_SYS_RESOURCE or has cgroup v1");
        build_module(ctx, plan, "runc-shim")?;
    }
    consent(ctx, &changes)?;
    if !packages.is_empty() {
        let step = ctx.ui.step("install Debian packages");
        let show = |line: &str| step.update(line);
        let before = made::installed(ctx)?;
        let there = |name: &&String| before.as_ref().is_some_and(|before| before.contains(*name));
        made::note_packages(ctx, packages.iter().filter(|name| !there(name)).cloned())?;
        for argv in installation {
            ctx.spawn.run(command(argv, PACKAGES).on_line(&show))?;
        }
        // What came along with them.
        if let (Some(before), Some(after)) = (before, made::installed(ctx)?) {
            made::note_packages(ctx, after.difference(&before).cloned())?;
        }
        step.done(&packages.join(", "));
    }
    let client = match find::all(ctx, plan)? {
        All { daemon: Some(_), .. } => return Ok(()),
        All { docker, .. } => docker.path().ok_or_else(|| Stop::needs_setup(docker.explain("docker")))?,
    };
    let step = ctx.ui.step("start the docker daemon");
    clear_stale_pids(ctx, sudo)?;
    let log = start_detached(ctx, &daemon)?;
    let answers = poll::until(&ctx.spawn.interrupt, DAEMON, || {
        let output = ctx.spawn.output(command(docker::info(&client), DAEMON))?;
        Ok(docker::parse_info(&output.stdout).filter(|_| output.success))
    })?;
    match answers {
        Some(daemon) => {
            // What systemd runs, it started or would start by itself.
            if !by_systemd {
                made::note_daemon(ctx)?;
            }
            step.done(&format!("docker {}, log in {}", daemon.version, log.display()));
        }
        None => {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(12).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let stop = Stop::failed(format!("the docker daemon did not answer within {} s", DAEMON.as_secs()));
            return Err(stop.with_detail(&tail.join("\n")).into());
        }
    }
    Ok(())
}

/// What is needed and absent: with a daemon there, only what makes images, and that only where registries don't answer.
fn missing_packages(ctx: &Context, found: &All, public: bool) -> Vec<String> {
    let daemon = found.daemon.is_some() && found.docker.path().is_some();
    let provides = |package: &str| match package {
        "docker.io" => daemon || (found.docker.path().is_some() && find::on_path("dockerd")),
        "iptables" => daemon || find::on_path("iptables"),
        program => public || find::on_path(program),
    };
    ctx.config.mirrors.host_packages.iter().filter(|package| !provides(package)).cloned().collect()
}

fn consent(ctx: &Context, changes: &[Vec<String>]) -> Result<()> {
    if ctx.yes {
        return Ok(());
    }
    let commands: Vec<String> = changes.iter().map(|argv| format!("    {}", display(argv))).collect();
    let message = format!(
        "this machine needs changes first:\n{}\nNext: run the same command with --yes, or run these yourself",
        commands.join("\n")
    );
    Err(Stop::needs_setup(message).into())
}

/// A daemon elsewhere, named by DOCKER_HOST or a docker context, is not ours to start.
fn refuse_foreign_daemon(ctx: &Context, found: &All) -> Result<()> {
    if let Some(docker) = found.docker.path() {
        let asked = ctx.spawn.output(command(docker::info(&docker), DAEMON))?;
        if asked.tail.contains("permission denied") {
            let message = "a docker daemon runs, but you lack permission to use it";
            let next = "Next: sudo usermod --append --groups docker \"$USER\", then log in again";
            return Err(Stop::needs_setup(format!("{message}\n{next}")).into());
        }
        let context = ctx.spawn.output(command(docker::context(&docker), DAEMON))?;
        let name = context.stdout.trim();
        if context.success && !["", "default"].contains(&name) {
            let message = format!("the docker context is {name}, but no docker daemon answers there");
            return Err(Stop::needs_setup(format!(
                "{message}\nNext: start that daemon, or docker context use default"
            ))
            .into());
        }
    }
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
        if let Some(value) = std::env::var(variable).ok().filter(|value| !value.is_empty() && value != "default") {
            let message = format!(
                "{variable} is {value}, but no docker daemon answers there\nNext: start that daemon, or unset {variable}"
            );
            return Err(Stop::needs_setup(message).into());
        }
    }
    if !cfg!(target_os = "linux") {
        return Err(Stop::needs_setup(
            "no docker daemon answers\nNext: start Docker Desktop, or another docker, and try again",
        )
        .into());
    }
    Ok(())
}

/// A daemon that was killed leaves its pid behind, and refuses to start if another process has that number now.
fn clear_stale_pids(ctx: &Context, sudo: &[&str]) -> Result<()> {
    for (file, program) in
        [("/var/run/docker.pid", "dockerd"), ("/var/run/docker/containerd/containerd.pid", "containerd")]
    {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let name = fs::read_to_string(format!("/proc/{}/comm", text.trim())).unwrap_or_default();
        if name.trim() != program {
            let remove = with_prefix(sudo, crate::run::process::argv!("rm -f {file}"));
            ctx.spawn.run(command(remove, DAEMON)).with_context(|| format!("cannot remove the stale {file}"))?;
        }
    }
    Ok(())
}

/// Starts a daemon that outlives us and holds none of our pipes.
fn start_detached(ctx: &Context, daemon: &[String]) -> Result<std::path::PathBuf> {
    fs::create_dir_all(ctx.folders.logs())?;
    let log = ctx.folders.logs().join("dockerd.log");
    let mut argv = ["setsid", "--fork", "sh", "-c", r#"log=$1; shift; exec "$@" </dev/null >"$log" 2>&1"#, "dockerd"]
        .map(str::to_string)
        .to_vec();
    argv.push(log.display().to_string());
    argv.extend_from_slice(daemon);
    ctx.spawn.run(command(argv, DAEMON))?;
    Ok(log)
}
