//! Node, which runs the tests of the page's scripts.

use xtask::run::call::{Call, argv, call};

/// Runs the tests below a folder, each with a deadline of its own; run in the folder of `package.json`.
pub fn test(folder: &str) -> Call {
    call(argv!("node --test --test-timeout=60000 {folder}"))
}
