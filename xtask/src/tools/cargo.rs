//! Cargo, for the project's own checks.

use crate::run::call::{Call, argv, call};

pub fn fmt(manifest: &str) -> Call {
    call(argv!("cargo fmt --all --check --manifest-path {manifest}"))
}

pub fn clippy(manifest: &str) -> Call {
    call(argv!("cargo clippy --locked --all-targets --manifest-path {manifest} -- --deny warnings"))
}

/// All tests of a workspace, so many at a time.
pub fn test(manifest: &str, threads: usize) -> Call {
    let threads = threads.to_string();
    call(argv!("cargo test --locked --manifest-path {manifest} -- --test-threads {threads}"))
}

/// The tests of one file of a package whose names hold a text, which may be empty.
pub fn test_file(manifest: &str, package: &str, name: &str, text: &str) -> Call {
    call(argv!("cargo test --locked --manifest-path {manifest} --package {package} --test {name} -- {text}"))
}

/// The tests that need a database, which others leave out.
pub fn test_ignored(manifest: &str) -> Call {
    call(argv!("cargo test --locked --manifest-path {manifest} -- --ignored"))
}

/// Builds the backend as it is released, and what it is compared with, into a folder.
pub fn build_for_bench(manifest: &str, folder: &str) -> Call {
    call(argv!(
        "cargo build --quiet --locked --release --manifest-path {manifest} --target-dir {folder} --package backend --bin backend --example plain"
    ))
}

/// A program that was built.
pub fn built(program: &str) -> Call {
    call(argv!("{program}"))
}

/// The command that a contributor types in a project with an alias for it.
pub fn alias(arguments: &[&str]) -> Call {
    call(argv!("cargo xtask {arguments...}"))
}

/// The same from any folder, in this project.
pub fn xtask(manifest: &str, arguments: &[&str]) -> Call {
    call(argv!("cargo run --quiet --manifest-path {manifest} --package xtask -- {arguments...}"))
}
