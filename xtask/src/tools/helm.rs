//! Helm. Every call names kubeconfig, context and namespace.

use serde::Deserialize;

use crate::argv;
use crate::tools::kubectl::Target;

/// A chart with the values files over it, later ones winning.
pub struct Chart<'a> {
    pub release: &'a str,
    pub folder: &'a str,
    pub values: &'a [String],
}

/// One revision of a release, as `history` tells it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Revision {
    #[serde(rename = "revision")]
    pub number: u64,
    pub status: String,
    /// When it came, as in 2026-01-31T12:00:00.123456789Z.
    #[serde(default)]
    pub updated: String,
    #[serde(default)]
    pub description: String,
}

impl Revision {
    /// The earlier revision that this one went back to, if it did.
    pub fn went_back_to(&self) -> Option<u64> {
        self.description.strip_prefix("Rollback to ")?.parse().ok()
    }
}

pub fn upgrade_help(helm: &str) -> Vec<String> {
    argv!("{helm} upgrade --help")
}

/// The flags of `upgrade` that are in use here.
pub fn has_flags(help: &str) -> bool {
    ["--install", "--timeout", "--values", "--history-max"].iter().all(|flag| help.contains(flag))
}

pub fn version(helm: &str) -> Vec<String> {
    argv!("{helm} version --short")
}

pub fn template(helm: &str, target: &Target, chart: &Chart) -> Vec<String> {
    let Target { namespace, .. } = target;
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    argv!("{helm} template {release} {folder} --namespace {namespace} {values...}")
}

/// Has the API server try an upgrade and keep nothing of it. Secrets are left out of what it prints.
pub fn try_upgrade(helm: &str, target: &Target, chart: &Chart) -> Vec<String> {
    let at = at(target);
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    argv!("{helm} upgrade {release} {folder} --dry-run=server --hide-secret {at...} {values...}")
}

/// Says whether a rollback could be done, and does not do it.
pub fn try_rollback(helm: &str, target: &Target, release: &str, revision: u64) -> Vec<String> {
    let at = at(target);
    let revision = revision.to_string();
    argv!("{helm} rollback {release} {revision} --dry-run {at...}")
}

/// Says whether an uninstallation could be done, and does not do it.
pub fn try_uninstall(helm: &str, target: &Target, release: &str) -> Vec<String> {
    let at = at(target);
    argv!("{helm} uninstall {release} --dry-run {at...}")
}

/// Installs or upgrades without waiting: whoever calls this watches the workloads.
pub fn upgrade(helm: &str, target: &Target, chart: &Chart, timeout_s: u64) -> Vec<String> {
    let at = at(target);
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    let timeout = format!("{timeout_s}s");
    argv!("{helm} upgrade {release} {folder} --install --history-max 10 --timeout {timeout} {at...} {values...}")
}

/// Which hooks failed, by what `upgrade` printed: as in `pre-upgrade`. Helm says it in one way of a first installation, and
/// in another of an upgrade.
pub fn failed_hooks(tail: &str) -> Option<&'static str> {
    let known = ["pre-install", "post-install", "pre-upgrade", "post-upgrade"];
    let says =
        |when: &&str| tail.contains(&format!("{when} hooks failed")) || tail.contains(&format!("failed {when}:"));
    known.into_iter().find(says)
}

/// Whether helm gave up at its own deadline.
pub fn says_deadline(tail: &str) -> bool {
    ["timed out waiting for the condition", "context deadline exceeded"].iter().any(|words| tail.contains(words))
}

/// The hooks of the release: what isn't part of its manifest.
pub fn hooks(helm: &str, target: &Target, release: &str) -> Vec<String> {
    let at = at(target);
    argv!("{helm} get hooks {release} {at...}")
}

pub fn manifest(helm: &str, target: &Target, release: &str) -> Vec<String> {
    let at = at(target);
    argv!("{helm} get manifest {release} {at...}")
}

/// The release's last `count` revisions with their states, as JSON; fails where there is no such release.
pub fn history(helm: &str, target: &Target, release: &str, count: u32) -> Vec<String> {
    let at = at(target);
    let count = count.to_string();
    argv!("{helm} history {release} --max {count} --output json {at...}")
}

/// What `history` printed, the newest revision last; None where that is no history.
pub fn parse_history(stdout: &str) -> Option<Vec<Revision>> {
    serde_json::from_str(stdout).ok()
}

/// The releases of the namespace, whatever their state, one to a line.
pub fn list(helm: &str, target: &Target) -> Vec<String> {
    let at = at(target);
    argv!("{helm} list --all --short {at...}")
}

/// The releases of the namespace, whatever their state, as JSON.
pub fn list_all(helm: &str, target: &Target) -> Vec<String> {
    let at = at(target);
    argv!("{helm} list --all --output json {at...}")
}

pub fn parse_list(stdout: &str) -> Vec<String> {
    stdout.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect()
}

/// Goes back to a revision, or to the one before the last.
pub fn rollback(helm: &str, target: &Target, release: &str, revision: Option<u64>) -> Vec<String> {
    let at = at(target);
    let revision: Vec<String> = revision.map(|number| number.to_string()).into_iter().collect();
    argv!("{helm} rollback {release} {revision...} --history-max 10 {at...}")
}

pub fn test(helm: &str, target: &Target, release: &str, timeout_s: u64) -> Vec<String> {
    let at = at(target);
    let timeout = format!("{timeout_s}s");
    argv!("{helm} test {release} --timeout {timeout} {at...}")
}

/// The tests in what `test` printed that did not succeed, each once.
pub fn parse_failed_tests(stdout: &str) -> Vec<String> {
    let mut failed: Vec<String> = Vec::new();
    let mut suite = "";
    for line in stdout.lines() {
        if let Some(name) = line.strip_prefix("TEST SUITE:") {
            suite = name.trim();
        }
        let Some(phase) = line.strip_prefix("Phase:") else { continue };
        if phase.trim() != "Succeeded" && !suite.is_empty() && !failed.iter().any(|name| name == suite) {
            failed.push(suite.to_string());
        }
    }
    failed
}

pub fn uninstall(helm: &str, target: &Target, release: &str, timeout_s: u64) -> Vec<String> {
    let at = at(target);
    let timeout = format!("{timeout_s}s");
    argv!("{helm} uninstall {release} --ignore-not-found --wait --timeout {timeout} {at...}")
}

/// Whether `lint` had nothing to say: helm lets remarks pass that a reader of its output stumbles over.
pub fn lint_is_silent(success: bool, tail: &str) -> bool {
    success && !tail.contains('[')
}

/// `lint` with the values that a release gets.
pub fn lint_release(helm: &str, target: &Target, chart: &Chart) -> Vec<String> {
    let mut told = lint(helm, chart.folder);
    told.extend(["--namespace".to_string(), target.namespace.clone()]);
    told.extend(values(chart));
    told
}

pub fn lint(helm: &str, folder: &str) -> Vec<String> {
    argv!("{helm} lint --strict --quiet {folder}")
}

fn at(target: &Target) -> Vec<String> {
    let Target { kubeconfig, context, namespace } = target;
    ["--kubeconfig", kubeconfig, "--kube-context", context, "--namespace", namespace].map(str::to_string).to_vec()
}

fn values(chart: &Chart) -> Vec<String> {
    chart.values.iter().flat_map(|file| ["--values".to_string(), file.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_names_the_cluster_and_its_values() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &["a.yaml".into(), "b.json".into()] };
        assert_eq!(
            upgrade("helm", &target, &chart, 90).join(" "),
            "helm upgrade r chart --install --history-max 10 --timeout 90s --kubeconfig /k --kube-context c --namespace n \
             --values a.yaml --values b.json"
        );
    }

    #[test]
    fn what_is_only_tried_changes_nothing() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &[] };
        for told in [
            try_upgrade("helm", &target, &chart),
            try_rollback("helm", &target, "r", 1),
            try_uninstall("helm", &target, "r"),
        ] {
            assert!(told.iter().any(|word| word.starts_with("--dry-run")), "{told:?}");
            assert!(told.join(" ").ends_with("--kubeconfig /k --kube-context c --namespace n"), "{told:?}");
        }
    }

    #[test]
    fn the_tests_that_failed_are_named_once() {
        let stdout = "NAME: todo\nSTATUS: deployed\nTEST SUITE:     todo-test\nLast Started:   Thu\nPhase:          Succeeded\n\
                      TEST SUITE:     todo-test\nLast Started:   Thu\nPhase:          Failed\nTEST SUITE:     other\n\
                      Phase:          Running\n";
        assert_eq!(parse_failed_tests(stdout), ["todo-test", "other"]);
        assert_eq!(parse_failed_tests("TEST SUITE: None\n"), [""; 0]);
    }

    #[test]
    fn what_is_linted_has_hooks_and_values() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &["a.yaml".into()] };
        let told = |argv: Vec<String>| argv.join(" ");
        let lint = "helm lint --strict --quiet chart --namespace n --values a.yaml";
        assert_eq!(told(lint_release("helm", &target, &chart)), lint);
    }

    #[test]
    fn hooks_that_failed_are_read_from_helms_words() {
        let failed = "Error: UPGRADE FAILED: pre-upgrade hooks failed: 1 error occurred:\n\t* job migrate failed: BackoffLimitExceeded";
        assert_eq!((failed_hooks(failed), says_deadline(failed)), (Some("pre-upgrade"), false));
        let hung = "Error: INSTALLATION FAILED: failed post-install: 1 error occurred:\n\t* timed out waiting for the condition";
        assert_eq!((failed_hooks(hung), says_deadline(hung)), (Some("post-install"), true));
        assert_eq!(failed_hooks("Error: UPGRADE FAILED: release: no"), None);
    }

    #[test]
    fn a_history_is_read_with_what_went_back() {
        let json = r#"[{"revision":2,"status":"superseded","chart":"x","description":"Upgrade complete"},
            {"revision":3,"status":"deployed","updated":"2026-01-31T12:00:00Z","description":"Rollback to 1"}]"#;
        let read = parse_history(json).unwrap();
        assert_eq!((read[1].number, read[1].status.as_str(), read[1].went_back_to()), (3, "deployed", Some(1)));
        assert_eq!(read[0].went_back_to(), None);
        assert_eq!(parse_history("Error: release: not found"), None);
    }
}
