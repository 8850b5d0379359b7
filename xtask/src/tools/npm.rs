//! npm, the package manager of node.

use crate::run::call::{Call, argv, call};

/// Installs what the lock file of the folder pins by version and digest. No script of a package is run.
pub fn install() -> Call {
    call(argv!("npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier"))
}
