//! The commands of this package, run in a small project with stand-ins for all tools.

mod bench;
mod checks;
#[path = "../../tests/common/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the other package")]
mod common;
mod e2e;
mod lint;
mod package;
