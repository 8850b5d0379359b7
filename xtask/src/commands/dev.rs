//! `dev`: `up`, and again each time that a file changes that it is made of.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Error, Result};

use crate::commands::up;
use crate::run::context::Project;
use crate::run::exit::exit_code;
use crate::run::record;
use crate::run::watch::Watch;
use crate::stages::values::LIBRARY;

/// How many changed files are named.
const NAMED: usize = 3;

/// Goes on until it is interrupted. A run that fails leaves what served before, and the next change is the next try.
/// `reread` gives the project as its files say now.
pub fn run(project: &Project, reread: &dyn Fn() -> Result<Project>) -> Result<()> {
    let mut current = project.clone();
    // Made before the run: what is saved meanwhile is the next change.
    let mut watch = Watch::new(places(&current))?;
    loop {
        let subject = current.config.subject();
        let state = if bring_up(&current)? { format!("{subject} is up") } else { "up failed".to_string() };
        current.ui.say(&format!("{state}; waiting for a change, Ctrl-C ends it"));
        let Some(next) = await_change(&current, &mut watch, reread)? else { return Ok(()) };
        // One that goes on has the changes of meanwhile.
        if places(&next) != places(&current) {
            watch = Watch::new(places(&next))?;
        }
        current = next;
    }
}

/// The project after the next change with which its configuration can be read; None: interrupted.
fn await_change(current: &Project, watch: &mut Watch, reread: &dyn Fn() -> Result<Project>) -> Result<Option<Project>> {
    loop {
        let Some(changed) = watch.next_change(&current.spawn.interrupt) else { return Ok(None) };
        current.ui.say(&format!("changed: {}", name(current, &changed)));
        // A folder that was taken away and is back is another one. Made before the files are read, so that nothing is lost.
        *watch = Watch::new(places(current))?;
        match reread() {
            Ok(next) => return Ok(Some(next)),
            Err(error) => report(current, &error),
        }
    }
}

/// One run of `up`, recorded as such. Whether it ended well; only an interruption is an error.
fn bring_up(project: &Project) -> Result<bool> {
    let ended = record::begin(project, "up").and_then(|()| up::run(project, false));
    record::end(project, ended.as_ref().map_or_else(exit_code, |()| 0));
    match ended {
        Ok(()) => Ok(true),
        Err(error) if project.spawn.interrupt.check().is_err() => Err(error),
        Err(error) => {
            report(project, &error);
            Ok(false)
        }
    }
}

fn report(project: &Project, error: &Error) {
    project.ui.error(&format!("{error:#}"));
}

/// Everything that `up` reads of the project.
fn places(project: &Project) -> BTreeSet<PathBuf> {
    let config = &project.config;
    let mut all = BTreeSet::from([
        PathBuf::from("xtask.toml"),
        PathBuf::from(format!("k8s/profiles/{}.toml", config.profile)),
        config.overrides.clone(),
    ]);
    for (service, _) in config.running() {
        let about = &config.services[service];
        all.extend(about.inputs.iter().map(|input| about.context.join(input)));
        all.insert(PathBuf::from(format!("{}.dockerignore", about.dockerfile.display())));
        all.insert(about.dockerfile.clone());
    }
    for release in config.releases.values() {
        all.extend([release.chart.clone(), release.chart.with_file_name(LIBRARY)]);
        all.extend(release.values.iter().cloned());
    }
    // Without the dots, which what the system reports has not.
    all.into_iter().map(|place| project.root.join(place).components().collect()).collect()
}

/// The changed files as a person knows them.
fn name(project: &Project, changed: &BTreeSet<PathBuf>) -> String {
    let short = |path: &PathBuf| path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    let named: Vec<String> = changed.iter().take(NAMED).map(short).collect();
    match changed.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}
