//! `hook`: git's pre-commit hook of this project.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::tools::git;

const SCRIPT: &str = include_str!("hook/pre-commit.sh");
/// The line by which a hook of ours is known, of this version or another.
const MARK: &str = "# Installed by `cargo xtask hook install`.";

/// Writes the hook where git looks for it; replaces our own, refuses to touch a foreign one.
pub fn install(project: &Project) -> Result<()> {
    let file = hook_file(project)?;
    if let Some(text) = existing(&file)? {
        if !text.contains(MARK) {
            return Err(foreign(&file, "call it from there, or move it away and run this again"));
        }
        if text == SCRIPT {
            project.ui.summary(&format!("{} is up to date", file.display()));
            return Ok(());
        }
    }
    let folder = file.parent().context("a hook lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(&file, SCRIPT).with_context(|| format!("cannot write {}", file.display()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    project.ui.summary(&format!("{} installed", file.display()));
    Ok(())
}

/// Removes the hook, if it is ours.
pub fn remove(project: &Project) -> Result<()> {
    let file = hook_file(project)?;
    match existing(&file)? {
        None => project.ui.summary("no pre-commit hook is installed"),
        Some(text) if !text.contains(MARK) => return Err(foreign(&file, "remove it by hand if you want to")),
        Some(_) => {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            project.ui.summary(&format!("{} removed", file.display()));
        }
    }
    Ok(())
}

/// Git knows of worktrees and of core.hooksPath; a relative answer is relative to the root.
fn hook_file(project: &Project) -> Result<PathBuf> {
    let root = project.root.display().to_string();
    let output = project.output(git::hooks(&root))?;
    if !output.success {
        return Err(Stop::usage(format!("{root} is no git repository\n    {}", output.tail)).into());
    }
    Ok(project.root.join(output.stdout.trim_end_matches('\n')).join("pre-commit"))
}

fn existing(file: &PathBuf) -> Result<Option<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn foreign(file: &std::path::Path, next: &str) -> anyhow::Error {
    Stop::usage(format!("{} is a hook that this tool did not install\nNext: {next}", file.display())).into()
}
