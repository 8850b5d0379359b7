//! What a run does, and why: the difference between what is wanted and what is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::cluster::State;
use crate::model::image::Built;
use crate::model::object::{by_identity, identity};
use crate::model::subset::{Difference, differences};

/// The ending of the key under which a rotation keeps a value that is to come.
/// How many letters of a value a reason shows.
const LONGEST_VALUE: usize = 80;

pub const NEXT: &str = ".next";

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub verb: Verb,
    pub subject: String,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A cluster, an addon or a namespace.
    Make,
    Build,
    Load,
    /// Into a target's registry.
    Push,
    /// A Secret.
    Write,
    Deploy,
}

/// What is known only once an image is there: its ID.
pub const AFTER_BUILD: &str = "known after build";
/// What a cluster that doesn't serve can't tell.
pub const AFTER_CLUSTER: &str = "known once the cluster serves";
/// What is known only once a Secret exists: its version, which is part of the manifests.
pub const AFTER_SECRET: &str = "known after its Secret is written";

impl Step {
    pub fn new(verb: Verb, subject: &str, why: impl Into<String>) -> Step {
        Step { verb, subject: subject.to_string(), why: why.into() }
    }
}

impl Verb {
    pub fn word(self) -> &'static str {
        match self {
            Verb::Make => "make",
            Verb::Build => "build",
            Verb::Load => "load",
            Verb::Push => "push",
            Verb::Write => "write",
            Verb::Deploy => "deploy",
        }
    }
}

/// What is to be done about the cluster; None where it serves.
pub fn cluster(name: &str, state: &State) -> Option<Step> {
    let why = match state {
        State::Running => return None,
        State::Absent => "there is none".to_string(),
        State::Unfinished => "its making was interrupted".to_string(),
        State::Stopped => "it is stopped".to_string(),
        State::NodesStopped(names) => format!("node {} is stopped", names.join(" and ")),
        State::Paused => "its node is paused".to_string(),
        State::Unready(why) => format!("it does not serve: {why}"),
        State::Orphaned => "there is a node of that name, and its keys are gone".to_string(),
    };
    Some(Step::new(Verb::Make, &format!("cluster {name}"), why))
}

/// The services whose wanted image, by its reference, is not among the host's.
pub fn builds<'a>(wanted: &'a BTreeMap<String, String>, host: &BTreeMap<String, String>) -> Vec<&'a str> {
    let missing = wanted.iter().filter(|(_, reference)| !host.contains_key(*reference));
    missing.map(|(service, _)| service.as_str()).collect()
}

/// What went into an image, as name and digest: files, build arguments, the base.
pub type Inputs = BTreeMap<String, String>;

/// Why an image is built: what of its inputs changed since the last one, of which nothing may be known.
pub fn why_build(now: &Inputs, last: Option<&Inputs>) -> String {
    let Some(last) = last else { return "no image yet".to_string() };
    let changed = now.iter().filter(|(name, digest)| last.get(*name).is_some_and(|before| before != *digest));
    let summarize = |inputs: Vec<&String>, what: &str| match inputs.as_slice() {
        [] => None,
        [only] => Some(format!("{only} {what}")),
        [first, more @ ..] => Some(format!("{first} and {} more {what}", more.len())),
    };
    let parts = [
        summarize(changed.map(|(name, _)| name).collect(), "changed"),
        summarize(now.keys().filter(|name| !last.contains_key(*name)).collect(), "added"),
        summarize(last.keys().filter(|name| !now.contains_key(*name)).collect(), "removed"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "no local image matches these inputs".to_string() } else { parts.join(", ") }
}

/// What is to be loaded into which node, with the service; `nodes` are each node's images, reference to ID.
pub fn loads<'a>(
    wanted: &'a BTreeMap<String, Built>,
    nodes: &'a BTreeMap<String, BTreeMap<String, String>>,
) -> Vec<(&'a str, Step)> {
    let mut steps = Vec::new();
    for (node, there) in nodes {
        for (service, image) in wanted {
            let why = match there.get(&image.reference()) {
                Some(id) if *id == image.id => continue,
                Some(id) => format!("node {node} has {} instead of {}", short(id), short(&image.id)),
                None => format!("node {node} lacks {}", short(&image.id)),
            };
            steps.push((node.as_str(), Step::new(Verb::Load, service, why)));
        }
    }
    steps
}

/// What is to be done about a Secret: `there` are the keys that it has, `given` those to which a person gives another value.
pub fn secret(name: &str, wanted: &[&str], there: Option<&[String]>, given: &[&str]) -> Option<Step> {
    let Some(there) = there else {
        return Some(Step::new(Verb::Write, &format!("Secret {name}"), "there is none"));
    };
    let missing: Vec<&str> = wanted.iter().filter(|key| !there.iter().any(|one| one == **key)).copied().collect();
    let begun: Vec<&str> = there.iter().filter_map(|key| key.strip_suffix(NEXT)).collect();
    let parts = [("it lacks", &missing[..]), ("you give another", given), ("a rotation has begun with", &begun)];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(what, keys)| format!("{what} {}", keys.join(", ")))
        .collect();
    (!parts.is_empty()).then(|| Step::new(Verb::Write, &format!("Secret {name}"), parts.join("; ")))
}

/// A release as it is to be, and as it is.
pub struct Release<'a> {
    /// The manifest that helm would apply, as objects and as it is written.
    pub wanted: &'a [Value],
    pub rendered: &'a str,
    pub hooks: &'a str,
    /// What of these objects is live.
    pub live: &'a [Value],
    /// The manifest and the hooks that helm applied last.
    pub applied: &'a str,
    pub applied_hooks: &'a str,
}

/// Why a release whose last revision has this status needs another one, whatever is live; None if that decides nothing.
pub fn why_deploy_by_status(status: Option<&str>) -> Option<String> {
    match status {
        None => Some("not installed yet".to_string()),
        Some("deployed") => None,
        Some(status) if is_stuck(status) => Some(format!("the release was left {status}")),
        Some(status) => Some(format!("the release is {status}")),
    }
}

/// Why a release that is deployed needs another revision: what is wanted is not all live, or is not what helm applied.
pub fn why_deploy(release: &Release) -> Option<String> {
    if let Some(why) = why_drifted(release.wanted, release.live) {
        return Some(why);
    }
    if documents(release.applied) != documents(release.rendered) {
        return Some("the manifest changed".to_string());
    }
    // A Secret that a hook makes once is another one with each rendering.
    let tests = |text| documents(text).into_iter().filter(|hook| !hook.contains("\nkind: Secret")).collect::<Vec<_>>();
    (tests(release.applied_hooks) != tests(release.hooks)).then(|| "its test changed".to_string())
}

/// The first that is not live of what is wanted, and how much more there is.
pub fn why_drifted(wanted: &[Value], live: &[Value]) -> Option<String> {
    let mut changes = drift(wanted, live);
    // Changes made by a person are in the spec; labels and checksums follow from them.
    changes.sort_by_key(|change| (!change.path.ends_with(".image"), change.path.contains("metadata.")));
    let (first, more) = (changes.first()?.brief(), changes.len() - 1);
    Some(if more == 0 { first } else { format!("{first}, and {more} more") })
}

/// A status in which an interrupted helm left a release; it refuses every further upgrade.
pub fn is_stuck(status: &str) -> bool {
    status.starts_with("pending") || status == "uninstalling"
}

/// What of the wanted objects is not live.
pub fn drift(wanted: &[Value], live: &[Value]) -> Vec<Change> {
    let (mut found, live) = (Vec::new(), by_identity(live));
    for object in wanted {
        let change =
            |path: &str, difference| Change { object: object_label(object), path: path.to_string(), difference };
        match live.get(&identity(object)) {
            None => found.push(change("", None)),
            Some(other) => {
                let all = differences(object, other).into_iter();
                found.extend(all.map(|difference| change(&difference.path.clone(), Some(difference))));
                found.extend(
                    hold(object, other).map(|hold| change(&hold.difference.path.clone(), Some(hold.difference))),
                );
            }
        }
    }
    found
}

/// Autoscalers of nobody's release, `horizontalpodautoscaler/NAME`, that decide the replicas of workloads whose replicas were
/// rendered: whatever is deployed, they set it back.
pub fn foreign_scalers(wanted: &[Value], live: &[Value], autoscalers: &[Value]) -> Vec<String> {
    let is_rendered = |scaler: &Value| wanted.iter().any(|object| object_label(object) == object_label(scaler));
    let changes = drift(wanted, live);
    let scaled = changes.iter().filter(|change| change.path == "spec.replicas");
    scaled
        .filter_map(|change| {
            let decides = |scaler: &&Value| {
                let target = &scaler["spec"]["scaleTargetRef"];
                object_label(&json!({"kind": target["kind"], "metadata": {"name": target["name"]}})) == change.object
            };
            autoscalers.iter().filter(decides).find(|scaler| !is_rendered(scaler)).map(object_label)
        })
        .collect()
}

/// What keeps the controller of an object from acting on it, and was not rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// `kind/name`.
    pub object: String,
    pub difference: Difference,
    /// The merge patch that takes it away.
    pub patch: Value,
}

/// Fields set by hand that stop a controller, such as by `kubectl rollout pause`. Helm leaves fields that it did not render,
/// and the rollout would wait until its deadline.
pub fn holds(wanted: &[Value], live: &[Value]) -> Vec<Hold> {
    let live = by_identity(live);
    wanted.iter().filter_map(|object| hold(object, live.get(&identity(object))?)).collect()
}

fn hold(wanted: &Value, live: &Value) -> Option<Hold> {
    let (path, free) = match wanted["kind"].as_str()? {
        "Deployment" => ("/spec/paused", json!(false)),
        "Job" | "CronJob" => ("/spec/suspend", json!(false)),
        "StatefulSet" => ("/spec/updateStrategy/rollingUpdate/partition", json!(0)),
        _ => return None,
    };
    let found = live.pointer(path).filter(|value| **value != free)?;
    // What was rendered is compared like all else.
    if wanted.pointer(path).is_some() {
        return None;
    }
    let patch =
        path.rsplit('/').filter(|part| !part.is_empty()).fold(free.clone(), |value, part| json!({ part: value }));
    let dotted = path.trim_start_matches('/').replace('/', ".");
    let difference = Difference { path: dotted, live: found.to_string(), wanted: free.to_string() };
    Some(Hold { object: object_label(wanted), difference, patch })
}

/// A wanted object that is not live, or is another in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `kind/name`.
    pub object: String,
    pub path: String,
    /// None where the whole object is absent.
    pub difference: Option<Difference>,
}

impl Change {
    /// With all but the last part of its path left out: `deployment/web: replicas 1 → 2`.
    pub fn brief(&self) -> String {
        let Some(Difference { path, live, wanted }) = &self.difference else {
            return format!("{} is absent", self.object);
        };
        let (live, wanted) = (shorten(live), shorten(wanted));
        format!("{}: {} {live} → {wanted}", self.object, path.rsplit('.').next().unwrap_or(path))
    }
}

/// A value in a line among others: a whole list of containers tells nobody more than its beginning.
fn shorten(value: &str) -> String {
    match value.chars().count() > LONGEST_VALUE {
        true => format!("{} …", value.chars().take(LONGEST_VALUE).collect::<String>()),
        false => value.to_string(),
    }
}

/// `kind/name`, as kubectl takes it.
pub fn object_label(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
}

/// The documents of a YAML stream without the blanks around them, in an order of their own.
fn documents(manifest: &str) -> Vec<&str> {
    let mut documents: Vec<&str> =
        manifest.split("---\n").map(str::trim).filter(|document| !document.is_empty()).collect();
    documents.sort();
    documents
}

/// Enough of an ID to know it by.
fn short(id: &str) -> &str {
    id.get(..19).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_reason_shows_the_beginning_of_a_long_value() {
        assert_eq!(shorten("250m"), "250m");
        let long = shorten(&"é".repeat(500));
        assert_eq!(long, format!("{} …", "é".repeat(80)));
    }

    #[test]
    fn an_autoscaler_that_nobody_rendered_is_named() {
        let web =
            |replicas: u64| json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
        let scaler = |name: &str, of: &str| {
            json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": of}}})
        };
        let all = [scaler("other", "api"), scaler("mine", "web")];
        assert_eq!(foreign_scalers(&[web(1)], &[web(2)], &all), ["horizontalpodautoscaler/mine"]);
        assert_eq!(foreign_scalers(&[web(1)], &[web(1)], &all), [""; 0]);
        assert_eq!(foreign_scalers(&[web(1), scaler("mine", "web")], &[web(2)], &all), [""; 0]);
    }

    #[test]
    fn what_somebody_paused_is_drift_and_is_taken_away() {
        let object = |kind: &str, spec: Value| json!({"kind": kind, "metadata": {"name": "a"}, "spec": spec});
        for (kind, spec, brief, patch) in [
            (
                "Deployment",
                json!({"paused": true}),
                "deployment/a: paused true → false",
                json!({"spec": {"paused": false}}),
            ),
            (
                "CronJob",
                json!({"suspend": true}),
                "cronjob/a: suspend true → false",
                json!({"spec": {"suspend": false}}),
            ),
            (
                "StatefulSet",
                json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}}),
                "statefulset/a: partition 2 → 0",
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),
            ),
        ] {
            let (wanted, live) = ([object(kind, json!({}))], [object(kind, spec.clone())]);
            assert_eq!(drift(&wanted, &live)[0].brief(), brief);
            assert_eq!(holds(&wanted, &live)[0].patch, patch);
            // What was rendered is as it should be.
            assert_eq!(holds(&live, &live), []);
            assert_eq!(drift(&wanted, &wanted), []);
        }
        assert_eq!(holds(&[object("Service", json!({}))], &[object("Service", json!({"paused": true}))]), []);
    }

    #[test]
    fn a_cluster_that_serves_needs_nothing() {
        assert_eq!(cluster("todo", &State::Running), None);
        for (state, why) in [
            (State::Absent, "there is none"),
            (State::Stopped, "it is stopped"),
            (State::Paused, "its node is paused"),
            (State::Unfinished, "its making was interrupted"),
            (State::Unready("no node".to_string()), "it does not serve: no node"),
            (State::Orphaned, "there is a node of that name, and its keys are gone"),
        ] {
            assert_eq!(cluster("todo", &state), Some(Step::new(Verb::Make, "cluster todo", why)));
        }
    }

    #[test]
    fn what_is_built_is_what_the_host_lacks() {
        let wanted = map(&[("backend", "b:2"), ("frontend", "f:1")]);
        assert_eq!(builds(&wanted, &map(&[("b:1", "sha256:1"), ("f:1", "sha256:2")])), ["backend"]);
        assert_eq!(builds(&wanted, &map(&[("b:2", "sha256:1"), ("f:1", "sha256:2")])), [""; 0]);
    }

    #[test]
    fn a_build_names_what_changed() {
        let last = map(&[("a.rs", "1"), ("b.rs", "1"), ("c.rs", "1")]);
        for (now, why) in [
            (map(&[("a.rs", "2"), ("b.rs", "1"), ("c.rs", "1")]), "a.rs changed"),
            (map(&[("a.rs", "2"), ("b.rs", "2"), ("c.rs", "2")]), "a.rs and 2 more changed"),
            (map(&[("a.rs", "1"), ("b.rs", "2"), ("d.rs", "1")]), "b.rs changed, d.rs added, c.rs removed"),
            (last.clone(), "no local image matches these inputs"),
        ] {
            assert_eq!(why_build(&now, Some(&last)), why);
        }
        assert_eq!(why_build(&last, None), "no image yet");
    }

    #[test]
    fn what_is_loaded_is_what_a_node_lacks_or_has_as_another() {
        let image = |id: &str| Built { repository: "b".into(), tag: "1".into(), id: id.into() };
        let wanted = BTreeMap::from([("backend".to_string(), image("sha256:0123456789abcdef"))]);
        let nodes = |images: &[(&str, &str)]| BTreeMap::from([("n".to_string(), map(images))]);
        assert_eq!(loads(&wanted, &nodes(&[("b:1", "sha256:0123456789abcdef")])), []);
        let lacks = nodes(&[]);
        let step = |why: &str| Step::new(Verb::Load, "backend", why);
        assert_eq!(loads(&wanted, &lacks), [("n", step("node n lacks sha256:0123456789ab"))]);
        let other = nodes(&[("b:1", "sha256:9")]);
        assert_eq!(loads(&wanted, &other), [("n", step("node n has sha256:9 instead of sha256:0123456789ab"))]);
        let mut two = nodes(&[]);
        two.insert("m".to_string(), map(&[("b:1", "sha256:0123456789abcdef")]));
        assert_eq!(loads(&wanted, &two).len(), 1);
    }

    #[test]
    fn a_secret_is_written_for_what_it_lacks_and_for_what_is_given() {
        let there = ["A".to_string(), "B".to_string()];
        let step = |why: &str| Some(Step::new(Verb::Write, "Secret s", why));
        assert_eq!(secret("s", &["A", "B"], Some(&there), &[]), None);
        assert_eq!(secret("s", &["A"], None, &[]), step("there is none"));
        assert_eq!(secret("s", &["A", "C", "D"], Some(&there), &[]), step("it lacks C, D"));
        assert_eq!(secret("s", &["A", "C"], Some(&there), &["B"]), step("it lacks C; you give another B"));
        let begun = ["A", "A.next"].map(str::to_string);
        assert_eq!(secret("s", &["A"], Some(&begun), &[]), step("a rotation has begun with A"));
    }

    #[test]
    fn a_status_other_than_deployed_is_a_reason() {
        assert_eq!(why_deploy_by_status(Some("deployed")), None);
        for (status, why) in [
            (None, "not installed yet"),
            (Some("pending-upgrade"), "the release was left pending-upgrade"),
            (Some("uninstalling"), "the release was left uninstalling"),
            (Some("failed"), "the release is failed"),
        ] {
            assert_eq!(why_deploy_by_status(status).as_deref(), Some(why));
        }
    }

    fn deployment(replicas: u32, image: &str, checksum: &str) -> Value {
        let template = json!({
            "metadata": {"annotations": {"checksum": checksum}},
            "spec": {"containers": [{"name": "a", "image": image}]},
        });
        json!({"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": replicas, "template": template}})
    }

    #[test]
    fn the_reason_to_deploy_is_what_differs_and_an_image_first() {
        let wanted = [deployment(2, "a:2", "x")];
        let why = |live: &[Value], applied: &str, hooks: &str| {
            let release = Release { wanted: &wanted, rendered: "m", hooks: "h", live, applied, applied_hooks: hooks };
            why_deploy(&release)
        };
        assert_eq!(why(&wanted, "m", "h"), None);
        let reason = |live: Value| why(&[live], "m", "h").unwrap();
        assert_eq!(reason(deployment(1, "a:2", "x")), "deployment/a: replicas 1 → 2");
        assert_eq!(reason(deployment(1, "a:1", "y")), "deployment/a: image \"a:1\" → \"a:2\", and 2 more");
        assert_eq!(reason(deployment(1, "a:2", "y")), "deployment/a: replicas 1 → 2, and 1 more");
        assert_eq!(why(&[], "m", "h").unwrap(), "deployment/a is absent");
        assert_eq!(why(&wanted, "other", "h").unwrap(), "the manifest changed");
        assert_eq!(why(&wanted, "m", "other").unwrap(), "its test changed");
    }

    #[test]
    fn documents_compare_without_their_order() {
        assert_eq!(documents("---\na: 1\n---\nb: 2\n"), documents("---\nb: 2\n---\na: 1\n\n"));
    }
}
