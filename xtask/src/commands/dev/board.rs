//! A line for each service while `dev` waits: its state, what was changed in it last, and how long that took.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::shortcut::{Sources, is_below};

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Copied,
    StartedAgain,
    Deployed,
}

/// What has become of the services in a session.
#[derive(Default)]
pub struct Board {
    changes: BTreeMap<String, Change>,
}

struct Change {
    /// Of the files that changed, one of the service's, as a person knows it; empty where none is.
    file: String,
    way: Way,
    took: Duration,
    is_good: bool,
}

impl Board {
    /// Notes what has come of a change. Where no service has any of the files, it concerns all.
    pub fn note(
        &mut self,
        root: &Path,
        services: &[Sources],
        changed: &BTreeSet<PathBuf>,
        (way, took, is_good): (Way, Duration, bool),
    ) {
        let of_service = |one: &Sources| changed.iter().find(|path| is_below(path, one.inputs.iter())).cloned();
        let own: Vec<Option<PathBuf>> = services.iter().map(of_service).collect();
        let is_of_all = own.iter().all(Option::is_none);
        for (service, file) in services.iter().zip(own) {
            if file.is_none() && !is_of_all {
                continue;
            }
            let file = file.or_else(|| changed.first().cloned()).unwrap_or_default();
            let file = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            self.changes.insert(service.service.to_string(), Change { file, way, took, is_good });
        }
    }

    /// Each service's line, and whether all is well with it.
    pub fn lines(&self, services: &[Sources]) -> Vec<(bool, String)> {
        let width = services.iter().map(|one| one.service.len()).max().unwrap_or_default();
        let line = |one: &Sources| {
            let change = self.changes.get(one.service);
            let is_good = change.is_none_or(|change| change.is_good);
            let state = if is_good { "ready" } else { "failed" };
            let last = change.map_or("nothing changed since dev began".to_string(), describe);
            (is_good, format!("{:<width$}  {state:<6}  {last}", one.service))
        };
        services.iter().map(line).collect()
    }
}

fn describe(change: &Change) -> String {
    let Change { file, way, took, is_good } = change;
    let seconds = took.as_secs_f64();
    let file = if file.is_empty() { String::new() } else { format!("{file}, ") };
    let done = match way {
        Way::Copied => "copied",
        Way::StartedAgain => "built and started again",
        Way::Deployed => "brought up",
    };
    match is_good {
        true => format!("{file}{done} in {seconds:.1} s"),
        false => format!("{file}failed after {seconds:.1} s; what served before serves on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services() -> Vec<Sources<'static>> {
        ["backend", "web"]
            .into_iter()
            .map(|service| Sources {
                service,
                inputs: vec![Path::new("/p/services").join(service)],
                sync: BTreeMap::new(),
                signal: None,
            })
            .collect()
    }

    fn changed(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_change_is_noted_for_the_service_whose_file_it_was_and_one_of_no_service_for_all() {
        let (mut board, services) = (Board::default(), services());
        let lines = |board: &Board| board.lines(&services).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert_eq!(
            lines(&board),
            ["backend  ready   nothing changed since dev began", "web      ready   nothing changed since dev began"]
        );
        let took = Duration::from_millis(4940);
        board.note(
            Path::new("/p"),
            &services,
            &changed(&["/p/services/backend/main.rs"]),
            (Way::StartedAgain, took, true),
        );
        assert_eq!(
            lines(&board),
            [
                "backend  ready   services/backend/main.rs, built and started again in 4.9 s",
                "web      ready   nothing changed since dev began"
            ]
        );
        board.note(Path::new("/p"), &services, &changed(&["/p/xtask.toml"]), (Way::Deployed, took, true));
        assert!(
            lines(&board).iter().all(|line| line.ends_with("xtask.toml, brought up in 4.9 s")),
            "{:?}",
            lines(&board)
        );
    }

    #[test]
    fn what_failed_is_marked_until_it_is_well_again() {
        let (mut board, services) = (Board::default(), services());
        let file = changed(&["/p/services/web/a.css"]);
        let mut note = |is_good| {
            board.note(Path::new("/p"), &services, &file, (Way::Copied, Duration::from_secs(1), is_good));
            board.lines(&services)
        };
        let failed = note(false);
        assert_eq!((failed[0].0, failed[1].0), (true, false));
        assert!(failed[1].1.contains("failed  services/web/a.css, failed after 1.0 s"), "{}", failed[1].1);
        assert_eq!(note(true)[1], (true, "web      ready   services/web/a.css, copied in 1.0 s".to_string()));
    }
}
