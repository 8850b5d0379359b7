//! Debian's package tools.

use crate::argv;
use crate::process::with_prefix;

pub fn update(sudo: &[&str]) -> Vec<String> {
    with_prefix(sudo, argv!("apt-get update --quiet"))
}

/// Finishes what an interrupted run of dpkg has left.
pub fn configure(sudo: &[&str]) -> Vec<String> {
    with_prefix(sudo, argv!("dpkg --configure --pending"))
}

pub fn install(sudo: &[&str], packages: &[String]) -> Vec<String> {
    with_prefix(sudo, argv!("apt-get install --yes --quiet --no-install-recommends {packages...}"))
}

/// A minimal Debian as a tar archive at `archive`. Documentation and translations stay out of it and out of every
/// package that is installed in it later; licences stay in.
pub fn debootstrap(suite: &str, archive: &str) -> Vec<String> {
    let kept_out =
        ["doc/*", "man/*", "locale/*", "info/*"].map(|path| format!("--dpkgopt=path-exclude=/usr/share/{path}"));
    let kept = "--dpkgopt=path-include=/usr/share/doc/*/copyright";
    argv!("mmdebstrap --variant=minbase {kept_out...} {kept} {suite} {archive}")
}
