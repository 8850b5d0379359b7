//! What bootstrap has changed of the machine, noted as it does it. That, and nothing else, is what `uninstall` takes back.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::run::call::{Call, DEADLINE, argv, call};
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::files;
use crate::run::poll;
use crate::run::process::sudo;
use crate::tools::apt;

const PACKAGES: Duration = Duration::from_secs(600);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Debian packages that were not there before.
    #[serde(default)]
    pub packages: BTreeSet<String>,
    /// The docker daemon that was started.
    #[serde(default)]
    pub daemon: Option<Daemon>,
}

/// A process, and when the kernel says that it began: another one may have its number later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    pub pid: u32,
    pub began: String,
}

impl Daemon {
    fn of(pid: u32) -> Option<Daemon> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Daemon { pid, began: began(&stat)? })
    }

    pub fn lives(&self) -> bool {
        Daemon::of(self.pid).as_ref() == Some(self)
    }
}

pub fn read_made(project: &Project) -> Result<Made> {
    let file = file(project);
    match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is not what bootstrap writes: remove it", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Made::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Notes packages before they are installed, so that an interrupted installation is known as well.
pub(super) fn note_packages(project: &Project, packages: impl IntoIterator<Item = String>) -> Result<()> {
    let mut made = read_made(project)?;
    made.packages.extend(packages);
    write(project, &made)
}

/// Notes the daemon that has just been started and answers: it has written its number where docker's do.
pub(super) fn note_daemon(project: &Project) -> Result<()> {
    let pid = fs::read_to_string("/var/run/docker.pid").ok().and_then(|text| text.trim().parse().ok());
    let mut made = read_made(project)?;
    made.daemon = pid.and_then(Daemon::of);
    write(project, &made)
}

/// The packages that are installed; None where dpkg can't be asked, which is not the same as none.
pub fn installed(project: &Project) -> Result<Option<BTreeSet<String>>> {
    let installed = project.run(apt::packages());
    project.spawn.interrupt.check()?;
    Ok(installed.ok())
}

/// What a removal of packages would take along beside them.
pub fn dragged_along(project: &Project, packages: &[String]) -> Result<BTreeSet<String>> {
    Ok(project.run(apt::try_remove(packages))?.into_iter().filter(|name| !packages.contains(name)).collect())
}

/// Ends a daemon as its own system would; its containers are ended by it.
pub fn stop_daemon(pid: u32) -> Call {
    let pid = pid.to_string();
    call(argv!("kill -TERM {pid}")).behind(sudo())
}

pub fn run_removal(project: &Project, call: Call) -> Result<()> {
    project.run(call.within(PACKAGES)).map(drop)
}

/// Waits until a daemon that got SIGTERM has ended.
pub fn wait_for_end(project: &Project, daemon: &Daemon) -> Result<()> {
    let ended = poll::until(&project.spawn.interrupt, DEADLINE, || Ok((!daemon.lives()).then_some(())))?;
    ended.ok_or_else(|| {
        let message = format!("the docker daemon, process {}, did not end within {} s", daemon.pid, DEADLINE.as_secs());
        Stop::deadline(format!("{message}\nNext: end it, then run the same command again")).into()
    })
}

fn file(project: &Project) -> PathBuf {
    project.folders.state.join("machine.json")
}

fn write(project: &Project, made: &Made) -> Result<()> {
    fs::create_dir_all(&project.folders.state)?;
    files::replace(&file(project), &serde_json::to_vec(made)?)
}

/// The time at which a process began, in what /proc tells of it; the name before it may hold anything. One that has
/// ended, and that nobody has asked after, is none any more.
fn began(stat: &str) -> Option<String> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    words.next().filter(|state| *state != "Z")?;
    words.nth(18).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_process_is_read_past_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(began(stat), Some("4242".to_string()));
        assert_eq!(began("7 (a) S 1"), None);
        assert_eq!(began(&stat.replace(" S ", " Z ")), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_process_with_the_same_number_is_another() {
        let own = Daemon::of(std::process::id()).unwrap();
        assert!(own.lives());
        assert!(!Daemon { began: "1".to_string(), ..own }.lives());
    }
}
