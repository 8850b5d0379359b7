//! File locks that serialize runs per namespace and per cluster. The file names the holder.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::model::time;
use crate::run::clock::now;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::poll;
use crate::run::process;

/// Held while tools and base images are made, which is what each run begins with.
pub const BOOTSTRAP: &str = "bootstrap";
/// Held while the cluster, which several namespaces share, is made, started or removed.
pub const CLUSTER: &str = "the cluster";
/// How long a run waits for another one that works on the same.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// Holds every lock there is, for what no run may be beside. A run that begins meanwhile waits for the first one.
pub fn hold_all(project: &Project) -> Result<Vec<File>> {
    let entries = fs::read_dir(&project.folders.state).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".lock")?.to_string())).collect();
    names.retain(|name| name != BOOTSTRAP && name != CLUSTER);
    names.sort();
    // In the order in which a run takes them, or two could wait for each other.
    names.insert(0, BOOTSTRAP.to_string());
    names.push(CLUSTER.to_string());
    names.iter().map(|name| hold(project, name)).collect()
}

/// Holds the lock `name` for as long as the returned file lives. A second run waits, and says for whom.
pub fn hold(project: &Project, name: &str) -> Result<File> {
    hold_within(project, name, TIMEOUT)
}

/// The same with a deadline other than the usual one.
pub fn hold_within(project: &Project, name: &str, deadline: Duration) -> Result<File> {
    fs::create_dir_all(&project.folders.state)?;
    let path = file(project, name);
    // The content is the holder's until the lock is ours.
    let mut file = File::options().write(true).create(true).truncate(false).open(&path)?;
    let free = || match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    };
    if !free()? {
        let message = format!("waiting for another run on {name}: {}", describe_holder(read_holder(&path), now()));
        project.ui.say(&format!("{message}; waiting up to {} s", deadline.as_secs()));
        let locked = poll::until(&project.spawn.interrupt, deadline, || Ok(free()?.then_some(())))?;
        if locked.is_none() {
            let holder = read_holder(&path);
            let end = holder.as_ref().map_or("end it".to_string(), |holder| format!("kill -INT {}", holder.pid));
            let message = format!("another run on {name} has not ended: {}", self::describe_holder(holder, now()));
            let message = format!("{message}; waited {} s for it", deadline.as_secs());
            return Err(Stop::deadline(format!("{message}\nNext: {end}, then run the same command again")).into());
        }
    }
    let command = std::iter::once("cargo xtask".to_string()).chain(std::env::args().skip(1));
    let holder =
        Holder { pid: std::process::id(), command: command.collect::<Vec<_>>().join(" "), since: time::text(now()) };
    file.set_len(0)?;
    file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
    Ok(file)
}

/// Says that another run has the lock `name`, for commands that show what is there and don't wait.
pub fn report_holder(project: &Project, name: &str) {
    if let Some(path) = held(project, name) {
        let holder = describe_holder(read_holder(&path), now());
        project.ui.say(&format!("another run is at work on {name}, and may change what is shown: {holder}"));
    }
}

/// The command of the run that has the lock `name`; None where no run has it.
pub fn command_of_holder(project: &Project, name: &str) -> Option<String> {
    let path = held(project, name)?;
    Some(read_holder(&path).map_or("a run that has just started".to_string(), |holder| holder.command))
}

/// The file of a lock that a run has.
fn held(project: &Project, name: &str) -> Option<PathBuf> {
    let path = file(project, name);
    let held = File::open(&path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    held.then_some(path)
}

fn file(project: &Project, name: &str) -> PathBuf {
    project.folders.state.join(format!("{name}.lock"))
}

/// The run that has a lock.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    command: String,
    since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, process {}, since {}", self.command, self.pid, self.since)
    }
}

/// None where the holder has not written yet.
fn read_holder(path: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn describe_holder(holder: Option<Holder>, now: i64) -> String {
    let Some(holder) = holder else { return "it has just started".to_string() };
    let stopped = match process::is_stopped(holder.pid) {
        true => format!(", and is stopped: kill -CONT {} lets it go on", holder.pid),
        false => String::new(),
    };
    match time::seconds(&holder.since) {
        Some(since) => format!("{holder}, {} ago{stopped}", time::ago(now - since)),
        None => format!("{holder}{stopped}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_reported_with_its_command_and_its_age() {
        let text = r#"{"pid":42,"command":"cargo xtask up","since":"2026-01-31T12:00:00Z"}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        fs::write(&path, text).unwrap();
        let now = time::seconds("2026-01-31T12:00:35Z").unwrap();
        assert_eq!(
            describe_holder(read_holder(&path), now),
            "`cargo xtask up`, process 42, since 2026-01-31T12:00:00Z, 35 s ago"
        );
        fs::write(&path, "").unwrap();
        assert_eq!(describe_holder(read_holder(&path), now), "it has just started");
    }
}
