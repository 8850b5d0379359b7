//! Debian's package tools.

use std::collections::BTreeSet;

use crate::run::process::argv;
use crate::run::process::with_prefix;

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

/// Every package that dpkg knows, with its state.
pub fn packages() -> Vec<String> {
    let format = "${db:Status-Status} ${Package}\n";
    argv!("dpkg-query --show --showformat {format}")
}

/// The names of those that are installed, from what `packages` printed.
pub fn parse_installed(stdout: &str) -> BTreeSet<String> {
    stdout.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_string).collect()
}

/// Says what a removal would take along, and removes nothing.
pub fn try_remove(packages: &[String]) -> Vec<String> {
    argv!("apt-get --simulate remove {packages...}")
}

/// The packages that would go, from what `try_remove` printed.
pub fn parse_removed(stdout: &str) -> BTreeSet<String> {
    let rows = stdout.lines().filter_map(|line| line.strip_prefix("Remv ")?.split_whitespace().next());
    rows.map(|name| name.split(':').next().unwrap_or(name).to_string()).collect()
}

pub fn remove(sudo: &[&str], packages: &[String]) -> Vec<String> {
    with_prefix(sudo, argv!("apt-get remove --yes --quiet {packages...}"))
}

/// A minimal Debian as a tar archive at `archive`. Documentation and translations stay out of it and out of every
/// package that is installed in it later; licences stay in.
pub fn debootstrap(suite: &str, archive: &str) -> Vec<String> {
    let kept_out =
        ["doc/*", "man/*", "locale/*", "info/*"].map(|path| format!("--dpkgopt=path-exclude=/usr/share/{path}"));
    let kept = "--dpkgopt=path-include=/usr/share/doc/*/copyright";
    argv!("mmdebstrap --variant=minbase {kept_out...} {kept} {suite} {archive}")
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
