//! Helm, 3 or 4. Every call names kubeconfig, context and namespace.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::model::cluster::Target;
use crate::model::tools::Helm;
use crate::run::call::{Call, argv, call};

/// Subcommands of helm that change no cluster.
pub const QUESTIONS: [&str; 10] =
    ["get", "history", "lint", "list", "package", "push", "show", "status", "template", "version"];

/// A chart with the values files over it, later ones winning.
pub struct Chart<'a> {
    pub release: &'a str,
    pub folder: &'a str,
    pub values: &'a [String],
}

/// One revision of a release, as `history` prints it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Revision {
    #[serde(rename = "revision")]
    pub number: u64,
    pub status: String,
    /// When it was deployed, as in 2026-01-31T12:00:00.123456789Z.
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

    /// Whether a rollback made it; of one that failed, helm says `Rollback "NAME" failed`. `up` has a description of its own,
    /// and helm takes none for a rollback.
    pub fn is_rollback(&self) -> bool {
        self.description.starts_with("Rollback ")
    }
}

/// Each state by its name: helm 4 lists all of them without being asked, and knows no --all.
const STATES: [&str; 6] = ["--deployed", "--failed", "--pending", "--superseded", "--uninstalled", "--uninstalling"];

pub fn upgrade_help() -> Call {
    call(argv!("helm upgrade --help"))
}

/// The flags of `upgrade` that are in use here.
pub fn has_flags(help: &str) -> bool {
    ["--install", "--timeout", "--values", "--history-max"].iter().all(|flag| help.contains(flag))
}

/// The flags that make this helm merge the manifests into the live objects, as helm 3 always does. Helm 4 would apply on the
/// server, and fail on a field with another owner: edits by hand could not be set back.
pub fn merge_flags(help: &str) -> Vec<String> {
    help.contains("--server-side").then(|| "--server-side=false".to_string()).into_iter().collect()
}

pub fn version() -> Call {
    call(argv!("helm version --short")).trimmed()
}

pub fn template(target: &Target, chart: &Chart, kubernetes: &str) -> Call {
    let Target { namespace, .. } = target;
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    call(argv!("helm template {release} {folder} --kube-version {kubernetes} --namespace {namespace} {values...}"))
}

/// Packs a chart as `NAME-VERSION.tgz` into the folder `to`.
pub fn package(folder: &str, version: &str, to: &str) -> Call {
    call(argv!("helm package {folder} --version {version} --destination {to}"))
}

/// What a registry says of a chart; fails where it has none. `ca` is the file of the authority to trust, beside the system's.
pub fn show_chart(reference: &str, version: &str, ca: Option<&str>) -> Call {
    let trust = trust(ca);
    call(argv!("helm show chart {reference} --version {version} {trust...}"))
}

/// Pushes a packed chart to `place`, `oci://…`, with docker's credentials where helm has none of its own.
pub fn push(archive: &str, place: &str, ca: Option<&str>) -> Call {
    let trust = trust(ca);
    call(argv!("helm push {archive} {place} {trust...}"))
}

/// Has the API server try an upgrade and keep nothing of it. Secrets are left out of what it prints.
pub fn try_upgrade(helm: &Helm, target: &Target, chart: &Chart) -> Call {
    let at = at(target);
    let Helm { merge, .. } = helm;
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    call(argv!("helm upgrade {release} {folder} --dry-run=server --hide-secret {merge...} {at...} {values...}"))
}

/// Says whether a rollback could be done, and does not do it.
pub fn try_rollback(helm: &Helm, target: &Target, release: &str, revision: u64) -> Call {
    let at = at(target);
    let Helm { merge, .. } = helm;
    let revision = revision.to_string();
    call(argv!("helm rollback {release} {revision} --dry-run {merge...} {at...}"))
}

/// Says whether an uninstallation could be done, and does not do it.
pub fn try_uninstall(target: &Target, release: &str) -> Call {
    let at = at(target);
    call(argv!("helm uninstall {release} --dry-run {at...}"))
}

/// Installs or upgrades without waiting: the caller watches the workloads. The history shows the description.
pub fn upgrade(helm: &Helm, target: &Target, chart: &Chart, description: &str, timeout: Duration) -> Call {
    let at = at(target);
    let Helm { merge, .. } = helm;
    let Chart { release, folder, .. } = chart;
    let values = values(chart);
    let seconds = seconds(timeout);
    call(argv!(
        "helm upgrade {release} {folder} --install --history-max 10 --description {description} --timeout {seconds} {merge...} {at...} {values...}"
    ))
    .waits(timeout)
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

/// The values that were given to the release's last revision, as JSON; the chart's own are not among them.
pub fn values_of(target: &Target, release: &str) -> Call {
    let at = at(target);
    call(argv!("helm get values {release} --output json {at...}"))
}

/// All that helm tells of the release's last revision: values, manifest, hooks and notes.
pub fn get_all(target: &Target, release: &str) -> Call {
    let at = at(target);
    call(argv!("helm get all {release} {at...}"))
}

pub fn manifest(target: &Target, release: &str) -> Call {
    let at = at(target);
    call(argv!("helm get manifest {release} {at...}"))
}

/// The manifest of a revision that isn't the last.
pub fn manifest_of(target: &Target, release: &str, revision: u64) -> Call {
    let at = at(target);
    let revision = revision.to_string();
    call(argv!("helm get manifest {release} --revision {revision} {at...}"))
}

/// The release's last `count` revisions with their states, as JSON; fails where there is no such release.
pub fn history(target: &Target, release: &str, count: u32) -> Call<Vec<Revision>> {
    let at = at(target);
    let count = count.to_string();
    call(argv!("helm history {release} --max {count} --output json {at...}")).try_parse(|text| parse_history(&text))
}

/// What `history` printed, the newest revision last.
fn parse_history(stdout: &str) -> Result<Vec<Revision>> {
    serde_json::from_str(stdout).context("helm printed a history that cannot be read")
}

/// The revision that serves: the one that is deployed; or, as helm marks that one superseded before it calls the new one
/// deployed, the last that was. None of what is being uninstalled, which is half gone, and of a first install.
pub fn serving(all: &[Revision]) -> Option<u64> {
    let with = |status| all.iter().rev().find(|one| one.status == status).map(|one| one.number);
    match all.last()?.status.as_str() {
        "uninstalling" => None,
        _ => with("deployed").or_else(|| with("superseded")),
    }
}

/// The releases of the namespace, whatever their state, one to a line.
pub fn list(target: &Target) -> Call<Vec<String>> {
    let (at, states) = (at(target), STATES);
    call(argv!("helm list {states...} --short {at...}")).lines()
}

/// The releases of the namespace, whatever their state, as JSON.
pub fn list_all(target: &Target) -> Call {
    let (at, states) = (at(target), STATES);
    call(argv!("helm list {states...} --output json {at...}"))
}

/// The releases of all namespaces, whatever their state, as JSON.
pub fn list_everywhere(target: &Target) -> Call<Vec<(String, String)>> {
    let Target { kubeconfig, context, .. } = target;
    let states = STATES;
    call(argv!(
        "helm list {states...} --all-namespaces --output json --kubeconfig {kubeconfig} --kube-context {context}"
    ))
    .try_parse(|text| Ok(parse_places(&text)?))
}

/// Namespace and name of each release in what `list_everywhere` printed.
fn parse_places(stdout: &str) -> serde_json::Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Release {
        name: String,
        namespace: String,
    }
    let releases: Vec<Release> = serde_json::from_str(stdout)?;
    Ok(releases.into_iter().map(|one| (one.namespace, one.name)).collect())
}

/// Goes back to a revision. Without a number, helm would go to the one before the last, whether that worked or not.
pub fn rollback(helm: &Helm, target: &Target, release: &str, revision: u64, timeout: Duration) -> Call {
    let at = at(target);
    let Helm { merge, .. } = helm;
    let (revision, seconds) = (revision.to_string(), seconds(timeout));
    call(argv!("helm rollback {release} {revision} --history-max 10 --timeout {seconds} {merge...} {at...}"))
        .waits(timeout)
}

/// Whether an argv is that of a helm that changes the release. Ours name their kubeconfig; others may not.
pub fn works_on(argv: &[String], target: &Target, release: &str) -> bool {
    // A script has its interpreter before it.
    let is_helm = argv[0] == "helm" || argv.iter().take(2).any(|word| word.ends_with("/helm"));
    let changes = ["install", "upgrade", "rollback", "uninstall", "delete"];
    let elsewhere = |flags: [&str; 2], ours: &str| {
        let value = argv.iter().skip_while(|word| !flags.contains(&word.as_str())).nth(1);
        value.is_some_and(|value| value != ours)
    };
    is_helm
        && argv.iter().any(|word| changes.contains(&word.as_str()))
        && argv.iter().any(|word| word == release)
        && !elsewhere(["--kubeconfig", "--kubeconfig"], &target.kubeconfig)
        && !elsewhere(["--namespace", "-n"], &target.namespace)
}

pub fn test(target: &Target, release: &str, timeout: Duration) -> Call {
    let at = at(target);
    let seconds = seconds(timeout);
    call(argv!("helm test {release} --timeout {seconds} {at...}")).waits(timeout)
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

pub fn uninstall(target: &Target, release: &str, timeout: Duration) -> Call {
    let at = at(target);
    let seconds = seconds(timeout);
    call(argv!("helm uninstall {release} --ignore-not-found --wait --timeout {seconds} {at...}")).waits(timeout)
}

/// Whether `lint` had nothing to say: helm lets remarks pass that a reader of its output stumbles over.
pub fn lint_is_silent(success: bool, tail: &str) -> bool {
    success && !tail.contains('[')
}

/// `lint` with the values that a release gets.
pub fn lint_release(target: &Target, chart: &Chart) -> Call {
    let (folder, namespace, values) = (chart.folder, &target.namespace, values(chart));
    call(argv!("helm lint --strict --quiet {folder} --namespace {namespace} {values...}"))
}

pub fn lint(folder: &str) -> Call {
    call(argv!("helm lint --strict --quiet {folder}"))
}

/// As in `90s`.
fn seconds(timeout: Duration) -> String {
    format!("{}s", timeout.as_secs())
}

fn trust(ca: Option<&str>) -> Vec<&str> {
    ca.map(|file| vec!["--ca-file", file]).unwrap_or_default()
}

/// The arguments that name a cluster and a namespace.
pub fn at(target: &Target) -> Vec<String> {
    let Target { kubeconfig, context, namespace } = target;
    ["--kubeconfig", kubeconfig, "--kube-context", context, "--namespace", namespace].map(str::to_string).to_vec()
}

fn values(chart: &Chart) -> Vec<String> {
    chart.values.iter().flat_map(|file| ["--values".to_string(), file.clone()]).collect()
}

/// A value that a chart's schema refuses.
#[derive(Debug, PartialEq)]
pub struct SchemaError {
    /// Keys and list indices from the root.
    pub path: Vec<String>,
    pub message: String,
}

/// The schema errors in what `template` or `upgrade` printed: `- at '/a/b': got number, want string`, or as earlier versions
/// of helm 3 write it, `- a.b: Invalid type. Expected: string, given: integer`.
pub fn parse_schema_errors(tail: &str) -> Vec<SchemaError> {
    let error = |line: &str| {
        let rest = line.trim().strip_prefix("- ")?;
        let (path, message) = match rest.strip_prefix("at '") {
            Some(rest) => rest.split_once("': ")?,
            None => rest.split_once(": ")?,
        };
        let separator = if rest.starts_with("at '") { '/' } else { '.' };
        let path = path.split(separator).filter(|part| !part.is_empty() && *part != "(root)");
        let path = path.map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        (message != "validation failed").then(|| SchemaError { path, message: message.to_string() })
    };
    let mut lines = tail.lines().skip_while(|line| !line.contains("don't meet the specifications of the schema"));
    lines.by_ref().next();
    lines.filter_map(error).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A helm whose `upgrade` has the flags of a help text.
    fn helm(help: &str) -> Helm {
        Helm { path: "helm".to_string(), merge: merge_flags(help) }
    }

    #[test]
    fn schema_errors_are_read_from_both_of_helms_forms() {
        let head = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\ntodo:\n";
        let read = |lines: &str| parse_schema_errors(&format!("{head}{lines}"));
        let error = |path: &[&str], message: &str| SchemaError {
            path: path.iter().map(|part| part.to_string()).collect(),
            message: message.to_string(),
        };
        let new = "- at '/services/web': validation failed\n  - at '/services/web/env/A~1B': got number, want string\n";
        assert_eq!(read(new), [error(&["services", "web", "env", "A/B"], "got number, want string")]);
        let old = "- services.web.replicas: Invalid type. Expected: integer, given: string\n- (root): Additional property x is not allowed\n";
        let expected = [
            error(&["services", "web", "replicas"], "Invalid type. Expected: integer, given: string"),
            error(&[], "Additional property x is not allowed"),
        ];
        assert_eq!(read(old), expected);
        assert_eq!(parse_schema_errors("Error: - at '/a': got number"), []);
    }

    #[test]
    fn helm_4_merges_as_helm_3_does() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &[] };
        let (three, four) = (helm("--install"), helm("--install\n --server-side string   must be \"true\""));
        let argvs = |helm: &Helm| {
            [
                upgrade(helm, &target, &chart, "d", MINUTE).argv,
                rollback(helm, &target, "r", 1, MINUTE).argv,
                try_upgrade(helm, &target, &chart).argv,
                try_rollback(helm, &target, "r", 1).argv,
            ]
        };
        assert!(argvs(&four).iter().all(|argv| argv.iter().any(|word| word == "--server-side=false")));
        assert!(argvs(&three).iter().flatten().all(|word| !word.contains("server-side")));
    }

    #[test]
    fn an_upgrade_names_the_cluster_and_its_values() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &["a.yaml".into(), "b.json".into()] };
        assert_eq!(
            upgrade(&helm(""), &target, &chart, "from here", MINUTE).text(),
            "helm upgrade r chart --install --history-max 10 --description 'from here' --timeout 60s --kubeconfig /k --kube-context c --namespace n \
             --values a.yaml --values b.json"
        );
    }

    #[test]
    fn what_is_only_tried_changes_nothing() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let chart = Chart { release: "r", folder: "chart", values: &[] };
        for argv in [
            try_upgrade(&helm(""), &target, &chart).argv,
            try_rollback(&helm(""), &target, "r", 1).argv,
            try_uninstall(&target, "r").argv,
        ] {
            assert!(argv.iter().any(|word| word.starts_with("--dry-run")), "{argv:?}");
            assert!(argv.join(" ").ends_with("--kubeconfig /k --kube-context c --namespace n"), "{argv:?}");
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
        let lint = "helm lint --strict --quiet chart --namespace n --values a.yaml";
        assert_eq!(lint_release(&target, &chart).text(), lint);
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
    fn a_helm_at_work_is_known_by_its_argv() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let works = |text: &str| works_on(&text.split(' ').map(str::to_string).collect::<Vec<_>>(), &target, "r");
        let chart = Chart { release: "r", folder: "x", values: &[] };
        let own = Helm { path: "/opt/helm".to_string(), merge: Vec::new() };
        assert!(works(&upgrade(&own, &target, &chart, "d", MINUTE).argv.join(" ")));
        assert!(works("/bin/sh /opt/helm rollback r 3"));
        for other in [
            "helm history r --kubeconfig /k",
            "helm upgrade other r-chart",
            "helm upgrade r x --kubeconfig /theirs",
            "helm upgrade r x -n other",
            "vi helm upgrade r",
        ] {
            assert!(!works(other), "{other}");
        }
    }

    #[test]
    fn what_serves_is_what_is_deployed_and_not_what_failed() {
        let serving = |statuses: &[&str]| {
            let one = |(status, number): (&&str, u64)| Revision {
                number,
                status: status.to_string(),
                updated: String::new(),
                description: String::new(),
            };
            super::serving(&statuses.iter().zip(1..).map(one).collect::<Vec<_>>())
        };
        assert_eq!(serving(&["superseded", "deployed", "failed", "pending-upgrade"]), Some(2));
        assert_eq!(serving(&["superseded", "deployed", "pending-rollback"]), Some(2));
        // The moment in which nothing is called deployed.
        assert_eq!(serving(&["superseded", "superseded", "failed", "pending-upgrade"]), Some(2));
        assert_eq!(serving(&["pending-install"]), None);
        assert_eq!(serving(&["failed", "pending-upgrade"]), None);
        assert_eq!(serving(&["deployed", "uninstalling"]), None);
        assert_eq!(serving(&[]), None);
    }

    #[test]
    fn releases_are_listed_with_their_namespaces() {
        let target = Target { kubeconfig: "/k".into(), context: "c".into(), namespace: "n".into() };
        let message = list_everywhere(&target).text();
        assert_eq!(
            message,
            format!("helm list {} --all-namespaces --output json --kubeconfig /k --kube-context c", STATES.join(" "))
        );
        let read = parse_places(r#"[{"name":"r","namespace":"n","revision":"1"}]"#).unwrap();
        assert_eq!(read, [("n".to_string(), "r".to_string())]);
    }

    #[test]
    fn a_history_is_read_with_what_went_back() {
        let json = r#"[{"revision":2,"status":"superseded","chart":"x","description":"Upgrade complete"},
            {"revision":3,"status":"deployed","updated":"2026-01-31T12:00:00Z","description":"Rollback to 1"}]"#;
        let read = parse_history(json).unwrap();
        assert_eq!((read[1].number, read[1].status.as_str(), read[1].went_back_to()), (3, "deployed", Some(1)));
        assert_eq!(read[0].went_back_to(), None);
        let is_rollback =
            |description: &str| Revision { description: description.to_string(), ..read[0].clone() }.is_rollback();
        for description in ["Rollback to 1", "Rollback \"todo\" failed: timed out waiting for the condition"] {
            assert!(is_rollback(description), "{description}");
        }
        for description in
            ["Upgrade complete", "Upgrade \"todo\" failed: no", "deployed from /home/a/app at 8827473", ""]
        {
            assert!(!is_rollback(description), "{description}");
        }
        assert!(parse_history("Error: release: not found").is_err());
    }
}
