//! Packages of npm and PyPI that tests run. Each is installed into a folder of the cache that is named by what pins it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Error, Result};

use crate::run::call::Call;
use crate::run::context::Project;
use crate::run::digest::Content;
use crate::run::exit::{Reason, Stop};
use crate::run::files::fresh_folder;
use crate::run::lock;
use crate::stages::setup::{find, machine};
use crate::tools::{npm, python};

const INSTALL: Duration = Duration::from_secs(300);
/// A folder for each package, with the files that pin it.
const PINS: &str = "xtask/verify/packages";
/// Below the cache folder.
const FOLDER: &str = "packages";
/// Debian has the part of Python that makes environments as a package of its own.
const VENV: &str = "python3-venv";

/// A package, and with it all that it needs.
pub struct Package {
    pub name: &'static str,
    manager: Manager,
}

#[derive(Clone, Copy)]
enum Manager {
    Npm,
    Pip,
}

/// Checks whether a page is accessible.
pub const AXE_CORE: Package = Package { name: "axe-core", manager: Manager::Npm };
/// The Model Context Protocol's own client.
pub const MCP_SDK: Package = Package { name: "mcp-sdk", manager: Manager::Npm };
/// Asks an API by its OpenAPI document.
pub const SCHEMATHESIS: Package = Package { name: "schemathesis", manager: Manager::Pip };

const ALL: [Package; 3] = [AXE_CORE, MCP_SDK, SCHEMATHESIS];

impl Package {
    fn pins(&self) -> PathBuf {
        Path::new(PINS).join(self.name)
    }

    /// The file of the pins that has the digests.
    fn lock_file(&self) -> &'static str {
        match self.manager {
            Manager::Npm => "package-lock.json",
            Manager::Pip => "requirements.txt",
        }
    }
}

/// The folder of an installed package: one with `node_modules`, or a Python environment. Where the machine lacks the
/// program that installs it, the reason.
///
/// # Errors
///
/// What comes has another digest than the pinned one, or nothing comes.
pub fn ensure(project: &Project, package: &Package) -> Result<Result<PathBuf, String>> {
    let folder = folder(project, package)?;
    if folder.exists() {
        return Ok(Ok(folder));
    }
    if let Err(reason) = ensure_manager(project, package)? {
        return Ok(Err(reason));
    }
    let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
    // Another run may have installed it while this one waited.
    if !folder.exists() {
        let step = project.ui.step(format!("install {}", package.name));
        let partial = fresh_folder(&folder)?;
        for call in installation(project, package, &partial)? {
            project.run(call.within(INSTALL)).map_err(|error| explain(error, package))?;
        }
        fs::rename(&partial, &folder)?;
        step.done(&folder.display().to_string());
    }
    Ok(Ok(folder))
}

/// Where the packages are, or will be, installed.
pub fn folders(project: &Project) -> Result<Vec<PathBuf>> {
    let there = ALL.iter().filter(|package| project.root.join(package.pins()).exists());
    there.map(|package| folder(project, package)).collect()
}

fn folder(project: &Project, package: &Package) -> Result<PathBuf> {
    let key = Content::default().files(&project.root, &[package.pins()], &project.spawn.interrupt)?.short();
    Ok(project.folders.cache.join(FOLDER).join(format!("{}-{key}", package.name)))
}

/// Looks for npm or Python, and installs Python's missing part as far as the user agrees. Returns what is missing.
fn ensure_manager(project: &Project, package: &Package) -> Result<Result<(), String>> {
    let program = match package.manager {
        Manager::Npm => "npm",
        Manager::Pip => "python3",
    };
    if !find::on_path(program) {
        return Ok(Err(format!("{program}, which installs {}, is not on PATH", package.name)));
    }
    if program == "npm" || project.output(python::can_make_environments())?.success {
        return Ok(Ok(()));
    }
    if !project.yes || !find::on_path("apt-get") {
        return Ok(Err(format!("{VENV} is missing, without which {} is not installed", package.name)));
    }
    machine::ensure_packages(project, &[VENV.to_string()])?;
    Ok(Ok(()))
}

fn installation(project: &Project, package: &Package, folder: &Path) -> Result<Vec<Call>> {
    let pins = project.root.join(package.pins());
    let at = folder.display().to_string();
    Ok(match package.manager {
        Manager::Npm => {
            for name in ["package.json", package.lock_file()] {
                fs::copy(pins.join(name), folder.join(name))?;
            }
            vec![npm::install().folder(folder)]
        }
        Manager::Pip => {
            let list = pins.join(package.lock_file()).display().to_string();
            vec![python::make_environment(&at), python::install(&at, &list)]
        }
    })
}

fn explain(error: Error, package: &Package) -> Error {
    // An interruption or a deadline says itself what it is.
    if error.downcast_ref::<Stop>().is_some_and(|stop| stop.reason != Reason::Failed) {
        return error;
    }
    let pins = package.pins().join(package.lock_file());
    let next = format!("check that its registry is reachable and {} pins what it has", pins.display());
    Stop::failed(format!("{} cannot be installed\n    {error:#}\nNext: {next}", package.name)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of each thing that a lock file names.
    fn digests(package: &Package, text: &str) -> Vec<(String, bool)> {
        match package.manager {
            Manager::Npm => {
                let lock: serde_json::Value = serde_json::from_str(text).unwrap();
                let all = lock["packages"].as_object().unwrap().iter().filter(|(path, _)| !path.is_empty());
                let is_pinned = |entry: &serde_json::Value| {
                    entry["integrity"].as_str().is_some_and(|digest| digest.starts_with("sha512-"))
                };
                all.map(|(path, entry)| (path.clone(), is_pinned(entry))).collect()
            }
            Manager::Pip => {
                let lines = text.split("\\\n").map(str::trim).collect::<Vec<_>>().join(" ");
                let all = lines.lines().filter(|line| !line.starts_with('#'));
                all.map(|line| (line.to_string(), line.contains("==") && line.contains("--hash=sha256:"))).collect()
            }
        }
    }

    #[test]
    fn all_that_is_installed_has_a_digest() {
        for package in ALL {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package.pins()).join(package.lock_file());
            let found = digests(&package, &fs::read_to_string(file).unwrap());
            assert!(!found.is_empty(), "{}", package.name);
            let unpinned: Vec<_> = found.iter().filter(|(_, is_pinned)| !is_pinned).collect();
            assert!(unpinned.is_empty(), "{}: {unpinned:?}", package.name);
        }
    }
}
