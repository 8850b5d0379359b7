//! Files that change, as the system reports them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::run::files::is_left_out;
use crate::run::process::Interrupt;

/// An editor, or git, writes several files at once: they are one change when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(100);
/// What never gets quiet is a change all the same.
const LONGEST: Duration = Duration::from_secs(2);
/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(50);

/// Watches files and folders, those that do not exist yet included, from the moment that it is made.
pub struct Watch {
    places: BTreeSet<PathBuf>,
    events: Receiver<notify::Result<notify::Event>>,
    /// Ends the watching when it goes.
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub fn new(places: BTreeSet<PathBuf>) -> Result<Watch> {
        let (sender, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(sender).context("the system does not report changes of files")?;
        for (folder, mode) in folders(&places) {
            watcher.watch(&folder, mode).with_context(|| format!("cannot watch {}", folder.display()))?;
        }
        Ok(Watch { places, events, _watcher: watcher })
    }

    /// What has changed since the last call, and since the watch was made; waits until something has. None: interrupted, or
    /// woken by something else.
    pub fn next_change(&self, interrupt: &Interrupt, is_woken: impl Fn() -> bool) -> Option<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        let mut first: Option<Instant> = None;
        while interrupt.check().is_ok() && !(changed.is_empty() && is_woken()) {
            match self.events.recv_timeout(if first.is_some() { QUIET } else { TURN }) {
                Ok(event) => changed.extend(self.paths(event)),
                Err(RecvTimeoutError::Timeout) if !changed.is_empty() => return Some(changed),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if !changed.is_empty() && first.get_or_insert_with(Instant::now).elapsed() > LONGEST {
                return Some(changed);
            }
        }
        None
    }

    /// What has changed since the last call, without a wait.
    pub fn pending(&self) -> BTreeSet<PathBuf> {
        self.events.try_iter().flat_map(|event| self.paths(event)).collect()
    }

    fn paths(&self, event: notify::Result<notify::Event>) -> Vec<PathBuf> {
        match event {
            // Who reads a file changes nothing.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => Vec::new(),
            Ok(event) if event.need_rescan() => self.places.iter().cloned().collect(),
            Ok(event) => event.paths.into_iter().filter(|path| is_of(&self.places, path)).collect(),
            // Events were lost, so anything may have changed.
            Err(_) => self.places.iter().cloned().collect(),
        }
    }
}

/// The folders to watch: one that is a place itself with all below it, and those of places that are files, or not there yet.
/// A file is often replaced by another of its name, which only its folder can tell.
fn folders(places: &BTreeSet<PathBuf>) -> Vec<(PathBuf, RecursiveMode)> {
    let deep: BTreeSet<&PathBuf> = places.iter().filter(|place| place.is_dir()).collect();
    let below = |path: &Path| deep.iter().any(|folder| path != folder.as_path() && path.starts_with(folder));
    let shallow: BTreeSet<&Path> = places
        .iter()
        .filter_map(|place| place.ancestors().skip(1).find(|folder| folder.is_dir()))
        .filter(|folder| !deep.contains(&folder.to_path_buf()) && !below(folder))
        .collect();
    let deep =
        deep.iter().filter(|folder| !below(folder)).map(|folder| (folder.to_path_buf(), RecursiveMode::Recursive));
    deep.chain(shallow.into_iter().map(|folder| (folder.to_path_buf(), RecursiveMode::NonRecursive))).collect()
}

/// Whether a path is a place or below one, or a folder that goes or comes back with a place in it.
fn is_of(places: &BTreeSet<PathBuf>, path: &Path) -> bool {
    places.iter().any(|place| {
        if place.starts_with(path) {
            return true;
        }
        path.strip_prefix(place).is_ok_and(|rest| !rest.components().any(|part| is_left_out(part.as_os_str())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with `src/a`, `src/target/b`, `file` and `other`, of which `src`, `file` and `later` are watched.
    fn watched() -> (tempfile::TempDir, PathBuf, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("src/target")).unwrap();
        for file in ["src/a", "src/target/b", "file", "other"] {
            fs::write(root.join(file), "1").unwrap();
        }
        let watch = Watch::new(["src", "file", "later"].map(|place| root.join(place)).into()).unwrap();
        (folder, root, watch)
    }

    fn next(watch: &Watch) -> Vec<PathBuf> {
        watch.next_change(&Interrupt::default(), || false).unwrap().into_iter().collect()
    }

    #[test]
    fn what_is_written_together_is_one_change_and_what_was_not_asked_for_is_none() {
        let (_folder, root, watch) = watched();
        for file in ["other", "src/target/b", "src/.a.swp", "src/a~", "src/a", "file"] {
            fs::write(root.join(file), "2").unwrap();
        }
        assert_eq!(next(&watch), [root.join("file"), root.join("src/a")]);
    }

    #[test]
    fn a_file_that_is_replaced_or_appears_is_a_change() {
        let (_folder, root, watch) = watched();
        fs::write(root.join("other"), "2").unwrap();
        fs::rename(root.join("other"), root.join("file")).unwrap();
        assert_eq!(next(&watch), [root.join("file")]);
        fs::write(root.join("later"), "1").unwrap();
        fs::create_dir(root.join("src/new")).unwrap();
        assert_eq!(next(&watch), [root.join("later"), root.join("src/new")]);
        fs::remove_file(root.join("file")).unwrap();
        assert_eq!(next(&watch), [root.join("file")]);
    }

    #[test]
    fn reading_changes_nothing_and_an_interruption_ends_the_wait() {
        let (_folder, root, watch) = watched();
        fs::read(root.join("src/a")).unwrap();
        let interrupt = Interrupt::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(QUIET * 3);
                interrupt.set();
            });
            assert_eq!(watch.next_change(&interrupt, || false), None);
        });
        assert!(interrupt.check().is_err());
        assert_eq!(watch.next_change(&Interrupt::default(), || true), None);
        fs::write(root.join("file"), "2").unwrap();
        std::thread::sleep(QUIET);
        assert_eq!(watch.pending(), [root.join("file")].into());
        assert_eq!(watch.pending(), [].into());
    }
}
