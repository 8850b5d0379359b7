//! Debian's package tools.

use crate::run::call::{Call, argv, call};
use std::collections::BTreeSet;

pub fn update(sudo: &[&str]) -> Call {
    call(argv!("apt-get update --quiet")).behind(sudo)
}

/// Finishes what an interrupted run of dpkg has left.
pub fn configure(sudo: &[&str]) -> Call {
    call(argv!("dpkg --configure --pending")).behind(sudo)
}

pub fn install(sudo: &[&str], packages: &[String]) -> Call {
    call(argv!("apt-get install --yes --quiet --no-install-recommends {packages...}")).behind(sudo)
}

/// Every package that dpkg knows, with its state.
pub fn packages() -> Call<BTreeSet<String>> {
    let format = "${db:Status-Status} ${Package}\n";
    call(argv!("dpkg-query --show --showformat {format}")).parse(|text| parse_installed(&text))
}

/// The names of those that are installed, from what `packages` printed.
fn parse_installed(stdout: &str) -> BTreeSet<String> {
    stdout.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_string).collect()
}

/// Says what a removal would take along, and removes nothing.
pub fn try_remove(packages: &[String]) -> Call<BTreeSet<String>> {
    call(argv!("apt-get --simulate remove {packages...}")).parse(|text| parse_removed(&text))
}

/// The packages that would go, from what `try_remove` printed.
fn parse_removed(stdout: &str) -> BTreeSet<String> {
    let rows = stdout.lines().filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next());
    rows.map(|name| name.split(':').next().unwrap_or(name).to_string()).collect()
}

pub fn remove(sudo: &[&str], packages: &[String]) -> Call {
    call(argv!("apt-get remove --yes --quiet {packages...}")).behind(sudo)
}

/// A minimal Debian as a tar archive at `archive`. Documentation and translations stay out of it and out of every
/// package that is installed in it later; licences stay in.
pub fn debootstrap(suite: &str, archive: &str) -> Call {
    let kept_out =
        ["doc/*", "man/*", "locale/*", "info/*"].map(|path| format!("--dpkgopt=path-exclude=/usr/share/{path}"));
    let kept = "--dpkgopt=path-include=/usr/share/doc/*/copyright";
    call(argv!("mmdebstrap --variant=minbase {kept_out...} {kept} {suite} {archive}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_and_what_would_go_is_read() {
        let message = "installed docker.io\nconfig-files iptables\nnot-installed x\ninstalled runc\n";
        assert_eq!(parse_installed(message), BTreeSet::from(["docker.io".to_string(), "runc".to_string()]));
        let message = "NOTE: a simulation\nRemv docker.io [20.10]\nRemv libx:amd64 [1]\nInst y\n";
        assert_eq!(parse_removed(message), BTreeSet::from(["docker.io".to_string(), "libx".to_string()]));
    }
}
