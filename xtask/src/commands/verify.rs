//! `validate`, `lint`, `test` and `test-e2e`: programs of a package of their own, so that `up` need not compile them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Error, Result};

use crate::run::context::Project;

/// The variable that names the project's root to a program that cargo runs from another package.
pub const ROOT: &str = "XTASK_ROOT";

/// Replaces this process with the program that has these commands, under the same arguments. It returns only where that
/// failed.
pub fn run(project: &Project) -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--manifest-path"]).arg(manifest).arg("--").args(std::env::args_os().skip(1));
    let failed = command.env(ROOT, &project.root).exec();
    Err(Error::new(failed).context("cannot run cargo, which builds and runs xtask/verify"))
}
