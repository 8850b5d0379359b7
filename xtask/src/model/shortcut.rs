//! Which way a change takes to where it runs: a folder that the image has as it is can be copied into the container, and a
//! service that starts again at a signal gets the files of its new image; all else takes the way of `up`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A service as far as its files go; all paths are absolute.
pub struct Sources<'a> {
    pub service: &'a str,
    pub inputs: Vec<PathBuf>,
    /// Folder to folder of the image.
    pub sync: BTreeMap<PathBuf, &'a str>,
    /// At which it starts again.
    pub signal: Option<&'a str>,
}

/// What is enough after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortcut {
    pub copies: BTreeSet<Copy>,
    pub restarts: BTreeSet<Restart>,
}

/// A folder to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    pub service: String,
    pub from: PathBuf,
    /// In the image.
    pub to: String,
}

/// A service whose image is to be built, and its files put into the containers that run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restart {
    pub service: String,
    pub signal: String,
}

/// The shortcut of a change; None where it touches anything else.
pub fn find(changed: &BTreeSet<PathBuf>, services: &[Sources]) -> Option<Shortcut> {
    let mut found = Shortcut::default();
    for path in changed {
        let concerned: Vec<&Sources> = services.iter().filter(|one| is_below(path, one.inputs.iter())).collect();
        // What is no service's is a Dockerfile, a chart or the configuration.
        if concerned.is_empty() {
            return None;
        }
        for one in concerned {
            let service = one.service.to_string();
            match (one.sync.iter().find(|(from, _)| path.starts_with(from)), one.signal) {
                (Some((from, to)), _) => {
                    found.copies.insert(Copy { service, from: from.clone(), to: to.to_string() });
                }
                (None, Some(signal)) => {
                    found.restarts.insert(Restart { service, signal: signal.to_string() });
                }
                (None, None) => return None,
            }
        }
    }
    // A new image has the folders as well.
    found.copies.retain(|copy| !found.restarts.iter().any(|one| one.service == copy.service));
    Some(found)
}

/// Whether a path is one of some folders, or below one.
pub fn is_below<'a>(path: &Path, mut folders: impl Iterator<Item = &'a PathBuf>) -> bool {
    folders.any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources<'a>(service: &'a str, inputs: &[&str], sync: &[(&str, &'a str)]) -> Sources<'a> {
        Sources {
            service,
            inputs: inputs.iter().map(PathBuf::from).collect(),
            sync: sync.iter().map(|(from, to)| (PathBuf::from(from), *to)).collect(),
            signal: None,
        }
    }

    #[test]
    fn only_what_every_service_has_as_it_is_is_copied() {
        let page = sources("page", &["/p/src", "/p/assets", "/p/kit"], &[("/p/assets", "/app/assets")]);
        let api = sources("api", &["/p/api", "/p/kit"], &[]);
        let docs = sources("docs", &["/p/assets/help"], &[]);
        let way = |changed: &[&str], services: &[Sources]| {
            let found = find(&changed.iter().map(PathBuf::from).collect(), services)?;
            let copies = found.copies.into_iter().map(|copy| format!("{} {}", copy.service, copy.to));
            Some(copies.chain(found.restarts.into_iter().map(|one| one.service + " again")).collect::<Vec<_>>())
        };
        let mut all = [page, api];
        let copied = Some(vec!["page /app/assets".to_string()]);
        assert_eq!(way(&["/p/assets/a.css", "/p/assets/below/b.js"], &all), copied);
        assert_eq!(way(&["/p/assets"], &all), copied, "the folder itself, as a rename reports it");
        for other in ["/p/src/main.rs", "/p/kit/lib.rs", "/p/api/main.rs", "/p/chart/values.yaml", "/p/assets2/x"] {
            assert_eq!(way(&["/p/assets/a.css", other], &all), None, "{other}");
        }
        all[1].signal = Some("HUP");
        let both = ["/p/assets/a.css", "/p/api/main.rs"];
        let wanted = |ways: &[&str]| Some(ways.iter().map(|way| way.to_string()).collect::<Vec<_>>());
        assert_eq!(way(&both, &all), wanted(&["page /app/assets", "api again"]));
        assert_eq!(way(&["/p/kit/lib.rs"], &all), None, "the page has it too, and does not start again");
        all[0].signal = Some("USR1");
        assert_eq!(way(&["/p/kit/lib.rs"], &all), wanted(&["api again", "page again"]));
        assert_eq!(way(&["/p/assets/a.css", "/p/src/main.rs"], &all), wanted(&["page again"]), "the image has both");
        assert_eq!(way(&["/p/src/main.rs", "/p/Dockerfile"], &all), None);
        all[0].signal = None;
        let [page, api] = all;
        assert_eq!(way(&["/p/assets/help/x"], &[page, api, docs]), None, "another service compiles it");
    }
}
