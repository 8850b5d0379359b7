//! The machine's own part: Debian packages and a docker daemon. Both need the user's consent.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run::call::{Call, DEADLINE, argv, call};
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::poll;
use crate::run::process::sudo;
use crate::stages::setup::find;
use crate::stages::setup::find::All;
use crate::stages::setup::made;
use crate::stages::setup::modules;
use crate::stages::setup::recipes::Plan;
use crate::tools::{apt, docker};

const PACKAGES: Duration = Duration::from_secs(600);

/// Where docker's daemons note their process IDs, and how long one that was killed may take to end. A containerd that
/// outlived its dockerd goes on serving the next one.
const PID_FILES: [(&str, &str, Duration); 2] = [
    ("/var/run/docker.pid", "dockerd", Duration::from_secs(10)),
    ("/var/run/docker/containerd/containerd.pid", "containerd", Duration::ZERO),
];

/// Installs missing Debian packages and starts a docker daemon, with the user's consent.
pub fn ensure_docker(project: &Project, found: &All, plan: &Plan, public: bool) -> Result<()> {
    let start = found.daemon.is_none();
    if start {
        refuse_foreign_daemon(project, found)?;
    }
    let packages = missing_packages(project, found, public);
    let sudo = sudo();
    // Systemd's docker would run without the shim.
    let by_systemd = Path::new("/run/systemd/system").exists() && !plan.shim;
    let daemon = match by_systemd {
        true => call(argv!("systemctl start docker")).behind(sudo),
        false => docker::daemon(sudo, &project.config.home, plan.shim_path().as_deref().filter(|_| plan.shim)),
    };
    let mut changes = Vec::new();
    if !packages.is_empty() {
        changes.extend(installation(sudo, &packages).iter().map(Call::text));
    }
    if start {
        changes.push(daemon.text());
    }
    if changes.is_empty() {
        return Ok(());
    }
    if start && plan.shim {
        // Before consent: it changes nothing of the system, and the command that is printed needs it.
        project.ui.say("docker's runc gets a shim: this machine withholds CAP_SYS_RESOURCE or has cgroup v1");
        modules::build(project, plan, &["runc-shim"])?;
    }
    consent(project, &changes)?;
    if !packages.is_empty() {
        install(project, sudo, &packages)?;
    }
    let client = match find::all(project, plan)? {
        All { daemon: Some(_), .. } => return Ok(()),
        found if found.docker.path().is_some() => found.project(project),
        All { docker, .. } => return Err(Stop::needs_setup(docker.explain("docker")).into()),
    };
    let step = project.ui.step("start the docker daemon");
    for (file, program, ending) in PID_FILES {
        clear_stale_pid(project, sudo, file, program, ending)?;
    }
    let log = start_detached(project, daemon)?;
    let version = await_daemon(&client, &log)?;
    // A daemon under systemd is not ours to stop later.
    if !by_systemd {
        made::note_daemon(project)?;
    }
    step.done(&format!("docker {version}, log in {}", log.display()));
    Ok(())
}

/// Installs Debian packages, with the user's consent. `uninstall` takes them back.
pub fn ensure_packages(project: &Project, packages: &[String]) -> Result<()> {
    let sudo = sudo();
    consent(project, &installation(sudo, packages).each_ref().map(Call::text))?;
    install(project, sudo, packages)
}

fn installation(sudo: &[&str], packages: &[String]) -> [Call; 3] {
    [apt::configure(sudo), apt::update(sudo), apt::install(sudo, packages)]
}

fn install(project: &Project, sudo: &[&str], packages: &[String]) -> Result<()> {
    let step = project.ui.step("install Debian packages");
    let show = |line: &str| step.update(line);
    let before = made::installed(project)?;
    let there = |name: &&String| before.as_ref().is_some_and(|before| before.contains(*name));
    made::note_packages(project, packages.iter().filter(|name| !there(name)).cloned())?;
    for call in installation(sudo, packages) {
        project.spawn.run_showing(call.within(PACKAGES), &show)?;
    }
    // What came along with them.
    if let (Some(before), Some(after)) = (before, made::installed(project)?) {
        made::note_packages(project, after.difference(&before).cloned())?;
    }
    step.done(&packages.join(", "));
    Ok(())
}

/// Waits until the daemon that was just started answers, and returns its version. One that gave up is not waited for.
fn await_daemon(client: &Project, log: &Path) -> Result<String> {
    let text = || fs::read_to_string(log).unwrap_or_default();
    let has_given_up = || text().contains("failed to start daemon");
    let observe = || {
        let daemon = client.spawn.attempt(docker::info())?.ok().flatten();
        Ok(daemon.map(|daemon| Some(daemon.version)).or_else(|| has_given_up().then_some(None)))
    };
    let message = match poll::until(&client.spawn.interrupt, DEADLINE, observe)? {
        Some(Some(version)) => return Ok(version),
        Some(None) => "the docker daemon cannot start".to_string(),
        None => format!("the docker daemon did not answer within {} s", DEADLINE.as_secs()),
    };
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n");
    Err(Stop::failed(message).with_detail(&tail).into())
}

/// What is needed and absent: with a daemon there, only what makes images, and that only where registries don't answer.
fn missing_packages(project: &Project, found: &All, public: bool) -> Vec<String> {
    let daemon = found.daemon.is_some() && found.docker.path().is_some();
    let provides = |package: &str| match package {
        "docker.io" => daemon || (found.docker.path().is_some() && find::on_path("dockerd")),
        "iptables" => daemon || find::on_path("iptables"),
        program => public || find::on_path(program),
    };
    project.config.mirrors.host_packages.iter().filter(|package| !provides(package)).cloned().collect()
}

fn consent(project: &Project, changes: &[String]) -> Result<()> {
    if project.yes {
        return Ok(());
    }
    let commands: Vec<String> = changes.iter().map(|command| format!("    {command}")).collect();
    let message = format!(
        "this machine needs changes first:\n{}\nNext: run the same command with --yes, or run these yourself",
        commands.join("\n")
    );
    Err(Stop::needs_setup(message).into())
}

/// A daemon elsewhere, named by DOCKER_HOST or a docker context, is not ours to start.
fn refuse_foreign_daemon(project: &Project, found: &All) -> Result<()> {
    if found.docker.path().is_some() {
        let known = &found.project(project);
        let asked = known.output(docker::info())?;
        if asked.tail.contains("permission denied") {
            let message = "a docker daemon runs, but you lack permission to use it";
            let next = "Next: sudo usermod --append --groups docker \"$USER\", then log in again";
            return Err(Stop::needs_setup(format!("{message}\n{next}")).into());
        }
    }
    if let Some(elsewhere) = &found.elsewhere {
        return Err(Stop::needs_setup(format!("{}\nNext: {}", elsewhere.message(), elsewhere.next())).into());
    }
    if !cfg!(target_os = "linux") {
        return Err(Stop::needs_setup(
            "no docker daemon answers\nNext: start Docker Desktop, or another docker, and try again",
        )
        .into());
    }
    Ok(())
}

/// A daemon that was killed leaves its pid behind, and refuses to start if a process has that number: another one, or itself
/// for as long as it takes to end.
fn clear_stale_pid(project: &Project, sudo: &[&str], file: &str, program: &str, ending: Duration) -> Result<()> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(()) };
    let comm = format!("/proc/{}/comm", text.trim());
    let is_gone = || fs::read_to_string(&comm).unwrap_or_default().trim() != program;
    if poll::until(&project.spawn.interrupt, ending, || Ok(is_gone().then_some(())))?.is_some() {
        let remove = call(argv!("rm -f {file}")).behind(sudo);
        project.run(remove).with_context(|| format!("cannot remove the stale {file}"))?;
    }
    Ok(())
}

/// Starts a daemon that outlives us and holds none of our pipes.
fn start_detached(project: &Project, daemon: Call) -> Result<std::path::PathBuf> {
    fs::create_dir_all(project.folders.logs())?;
    let log = project.folders.logs().join("dockerd.log");
    let mut argv = ["setsid", "--fork", "sh", "-c", r#"log=$1; shift; exec "$@" </dev/null >"$log" 2>&1"#, "dockerd"]
        .map(str::to_string)
        .to_vec();
    argv.push(log.display().to_string());
    argv.extend(daemon.argv);
    project.run(call(argv))?;
    Ok(log)
}
