//! Hadolint: from PATH, or from the Python package that holds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::run::context::Project;
use crate::run::digest::Content;
use crate::run::files::fresh_folder;
use crate::run::lock;
use crate::stages::setup::recipes::DOCKERFILES;
use crate::tools::python;

const INSTALL: Duration = Duration::from_secs(300);

/// The program, or why there is none.
pub fn find(project: &Project) -> Result<Result<String, String>> {
    if let Ok(path) = which::which("hadolint") {
        return Ok(Ok(path.display().to_string()));
    }
    let folder = folder(project)?;
    let program = folder.join("bin/hadolint");
    if !program.exists() {
        if which::which("python3").is_err() {
            return Ok(Err("neither hadolint nor python3, which could install it, is on PATH".to_string()));
        }
        let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
        let partial = fresh_folder(&folder)?;
        let at = partial.display().to_string();
        for call in
            [python::make_environment(&at), python::install(&at, &project.recipes().join(list()).display().to_string())]
        {
            let output = project.output(call.within(INSTALL))?;
            if !output.success {
                let last = output.tail.lines().last().unwrap_or("without a word").trim().to_string();
                return Ok(Err(format!("it is not on PATH, and Python could not install it: {last}")));
            }
        }
        fs::rename(&partial, &folder)?;
    }
    Ok(Ok(program.display().to_string()))
}

/// Where it is, or will be, installed.
pub fn folder(project: &Project) -> Result<PathBuf> {
    let key = Content::default().files(&project.recipes(), &[list()], &project.spawn.interrupt)?.short();
    Ok(project.folders.cache.join("python").join(format!("hadolint-{key}")))
}

fn list() -> PathBuf {
    Path::new(DOCKERFILES).join("hadolint.txt")
}
