//! Node, which runs the tests of the page's scripts.

use xtask::run::call::{Call, argv, call};

/// Runs all files below the folder that are called `*.test.js`; run in the folder of `package.json`.
pub fn test() -> Call {
    call(argv!("node --test"))
}
