//! Files that hold what others must not see: new, readable by their owner alone, and where no repository takes them in.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::tools::git;

/// The absolute path of a file that is not there yet, and that no repository would take in.
pub fn new_path(project: &Project, to: &Path) -> Result<PathBuf> {
    let refuse = |why: &str| Stop::usage(format!("--to {}: {why}\nNext: name another file", to.display()));
    let absolute = std::path::absolute(to)?;
    let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(refuse("is no file").into());
    };
    // Where links lead is what counts.
    let Ok(folder) = folder.canonicalize() else { return Err(refuse("its folder does not exist").into()) };
    let path = folder.join(name);
    if name == "-" || fs::symlink_metadata(&path).is_ok() {
        return Err(refuse("it must be a new file: nothing is written over, and nothing to a terminal").into());
    }
    if folder.ancestors().any(|above| above.join(".git").exists()) {
        let call = git::check_untracked(&folder.display().to_string(), &path.display().to_string());
        if !project.output(call)?.success {
            return Err(refuse("git does not ignore it: it could be committed, and published").into());
        }
    }
    Ok(path)
}

pub fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| format!("cannot make {}", path.display()))
}
