//! `schema`: the JSON Schema by which editors complete and check xtask.toml and the profiles.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::schema::schema;

/// Prints the schema. It needs no project.
pub fn run() -> ExitCode {
    match writeln!(std::io::stdout(), "{:#}", schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
