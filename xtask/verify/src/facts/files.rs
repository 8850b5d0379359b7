//! What lies in the repository.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::rules::{Files, leaks};
use xtask::run::context::Project;
use xtask::run::files::list_files;
use xtask::secrets::sealed;
use xtask::tools::git;

/// Lists of checksums, in which everything looks made by chance.
const CHECKSUMS: [&str; 2] = ["Cargo.lock", "go.sum"];

/// Everything but the charts, which are looked at where they are rendered. Without git, nothing is tracked.
pub fn gather(project: &Project) -> Result<Files> {
    let root = project.root.display().to_string();
    let tracked = project.spawn.attempt(git::ls_files(&root))?.ok();
    let overrides = project.config.overrides.display().to_string();
    let override_ignored = project.output(git::check_ignore(&root, &overrides))?.success;
    let is_sealed = |content: Vec<u8>| sealed::seal_of(&content).is_some();
    let override_sealed = fs::read(project.root.join(&project.config.overrides)).is_ok_and(is_sealed);
    let keys: Vec<&str> = project.config.secrets.values().flat_map(|secret| secret.keys()).collect();
    let mut found = Files { override_ignored, override_sealed, ..Files::default() };
    let search = leaks::Search::new(&keys);
    for path in tracked.iter().flatten() {
        found.leaks.extend(leaks_in(&project.root, path, &search));
    }
    found.tracked = tracked;
    for (name, _) in project.config.running() {
        let service = &project.config.services[name];
        let path = service.dockerfile.display().to_string();
        let read = |path: &str| fs::read_to_string(project.root.join(path)).ok();
        if let Some(text) = read(&path) {
            found.dockerfiles.insert(path.clone(), text);
        }
        // The one beside the Dockerfile wins over the context's.
        let context = format!("{}/.dockerignore", service.context.display());
        if let Some(text) = read(&format!("{path}.dockerignore")).or_else(|| read(&context)) {
            found.dockerignores.insert(path, text);
        }
        let files = list_files(&project.root.join(&service.context), &service.inputs)?;
        found.inputs.insert(name.to_string(), files.iter().map(|file| file.display().to_string()).collect());
    }
    Ok(found)
}

fn leaks_in(root: &Path, path: &str, search: &leaks::Search) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if CHECKSUMS.contains(&name) {
        return Vec::new();
    }
    if leaks::is_secret_file(path) {
        return vec![format!("{path}:1: a file that holds secrets by its name")];
    }
    // What isn't text, or was deleted and is still tracked, has no lines to look at.
    let Ok(text) = fs::read_to_string(root.join(path)) else { return Vec::new() };
    search.find(&text).iter().map(|leak| leak.of_file(path)).collect()
}

/// Every file of a folder, relative to it.
pub fn under(folder: &Path) -> Result<Vec<String>> {
    let files = list_files(folder, &[std::path::PathBuf::from(".")])?;
    Ok(files.iter().map(|file| file.display().to_string()).collect())
}

/// A YAML file as JSON; null where it can't be read.
pub fn yaml(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap_or_default();
    let read = xtask::config::yaml::parse_one(&path.display().to_string(), &text);
    read.map_or(serde_json::Value::Null, |node| xtask::config::to_json(&node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracked_secret_is_reported_with_its_line_and_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let value = ["a8F3kQ9zLm2Xw7", "Rt5Yb1Nc6V"].concat();
        fs::write(folder.path().join("values.yaml"), format!("a: 1\nJWT_SECRET: {value}\n")).unwrap();
        fs::write(folder.path().join(".env"), "").unwrap();
        fs::write(folder.path().join("go.sum"), format!("JWT_SECRET: {value}\n")).unwrap();
        let search = leaks::Search::new(&["JWT_SECRET"]);
        let found = |path| leaks_in(folder.path(), path, &search);
        assert_eq!(found("values.yaml"), ["values.yaml:2: a value of JWT_SECRET"]);
        assert_eq!(found(".env").len(), 1);
        assert!(found("go.sum").is_empty() && found("gone").is_empty());
    }
}
