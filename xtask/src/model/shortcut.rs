//! Which way a change takes to where it runs: a folder that the image has as it is can be copied into the container; all else
//! takes the way of `up`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A service as far as its files go; all paths are absolute.
pub struct Sources<'a> {
    pub service: &'a str,
    pub inputs: Vec<PathBuf>,
    /// Folder to folder of the image.
    pub sync: BTreeMap<PathBuf, &'a str>,
}

/// A folder to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    pub service: String,
    pub from: PathBuf,
    /// In the image.
    pub to: String,
}

/// The folders to copy after a change; None where it touches anything else.
pub fn copies(changed: &BTreeSet<PathBuf>, services: &[Sources]) -> Option<BTreeSet<Copy>> {
    let mut found = BTreeSet::new();
    for path in changed {
        let concerned: Vec<&Sources> = services.iter().filter(|one| is_below(path, one.inputs.iter())).collect();
        // What is no service's is a Dockerfile, a chart or the configuration.
        if concerned.is_empty() {
            return None;
        }
        for one in concerned {
            let (from, to) = one.sync.iter().find(|(from, _)| path.starts_with(from))?;
            found.insert(Copy { service: one.service.to_string(), from: from.clone(), to: to.to_string() });
        }
    }
    Some(found)
}

fn is_below<'a>(path: &Path, mut folders: impl Iterator<Item = &'a PathBuf>) -> bool {
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
        }
    }

    #[test]
    fn only_what_every_service_has_as_it_is_is_copied() {
        let page = sources("page", &["/p/src", "/p/assets", "/p/kit"], &[("/p/assets", "/app/assets")]);
        let api = sources("api", &["/p/api", "/p/kit"], &[]);
        let docs = sources("docs", &["/p/assets/help"], &[]);
        let way = |changed: &[&str], services: &[Sources]| {
            let found = copies(&changed.iter().map(PathBuf::from).collect(), services)?;
            Some(found.into_iter().map(|copy| format!("{} {}", copy.service, copy.to)).collect::<Vec<_>>())
        };
        let all = [page, api];
        let copied = Some(vec!["page /app/assets".to_string()]);
        assert_eq!(way(&["/p/assets/a.css", "/p/assets/below/b.js"], &all), copied);
        assert_eq!(way(&["/p/assets"], &all), copied, "the folder itself, as a rename reports it");
        for other in ["/p/src/main.rs", "/p/kit/lib.rs", "/p/api/main.rs", "/p/chart/values.yaml", "/p/assets2/x"] {
            assert_eq!(way(&["/p/assets/a.css", other], &all), None, "{other}");
        }
        let [page, api] = all;
        assert_eq!(way(&["/p/assets/help/x"], &[page, api, docs]), None, "another service compiles it");
    }
}
