//! Brings the rendered chart into the cluster, if it is not what is live already.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::config::NodePort;
use crate::context::{Context, Scope};
use crate::live;
use crate::model::subset::differences;
use crate::model::trouble::{Object, Trouble};
use crate::model::{events, watched};
use crate::process::command;
use crate::stages::render::{self, Known, Rendered, Staged};
use crate::stop::Stop;
use crate::tools::helm::Chart;
use crate::tools::{Paths, helm, kubectl};
use crate::watch::{self, Failure, Found, Watch};

const SHORT: Duration = Duration::from_secs(60);

/// What is wanted of a release, and why it is not what is there.
pub struct Plan {
    pub scope: Scope,
    staged: Staged,
    /// The manifest as helm would apply it, as YAML.
    pub rendered: String,
    /// What helm runs before or after it.
    hooks: String,
    /// The last revision and its status.
    last: Option<(u64, String)>,
    /// None where nothing is to be done.
    pub why: Option<String>,
}

/// A release as it is after this stage.
pub struct Deployed {
    pub scope: Scope,
    pub revision: u64,
    /// The manifest that helm applied, as YAML.
    pub manifest: String,
    pub changed: bool,
    /// The revision that served before, if this one replaced it.
    pub before: Option<u64>,
}

/// Compares what is wanted with what helm applied last, and with what is live.
pub fn observe(ctx: &Context, tools: &Paths, name: &str, known: &Known) -> Result<Plan> {
    let scope = ctx.scope(name);
    let staged = render::stage(ctx, name, known)?;
    let rendered = render::render_one(ctx, &tools.helm, name, &staged)?;
    let last = live::last_revision(ctx, tools, &scope)?;
    let why = match &last {
        None => Some("not installed yet".to_string()),
        Some((_, status)) if is_stuck(status) => Some(format!("the release was left {status}")),
        Some((_, status)) if status != "deployed" => Some(format!("the release is {status}")),
        Some(_) => reason(ctx, tools, &scope, &rendered)?,
    };
    Ok(Plan { scope, staged, rendered: rendered.yaml, hooks: rendered.hooks, last, why })
}

/// What this stage begins with: the release as it is, and as it is to be gone back to.
pub fn begin(ctx: &Context, tools: &Paths, plan: &Plan) -> Result<Deployed> {
    let revision = plan.last.as_ref().map_or(0, |(revision, _)| *revision);
    let served =
        |all: Vec<(u64, String)>| all.iter().rev().find(|(_, status)| status == "deployed").map(|(one, _)| *one);
    let before = match plan.why {
        Some(_) => served(live::revisions(ctx, tools, &plan.scope, 10)?),
        None => None,
    };
    let manifest = plan.rendered.clone();
    Ok(Deployed { scope: plan.scope.clone(), revision, manifest, changed: plan.why.is_some(), before })
}

/// Installs or upgrades, if the plan says why, and completes what `begin` has returned. What a hook or the cluster
/// refuses comes back as a failure.
pub fn apply(ctx: &Context, tools: &Paths, plan: &Plan, deployed: &mut Deployed) -> Result<Option<Failure>> {
    let Plan { scope, staged, rendered, hooks, last, why } = plan;
    let Some(why) = why else { return Ok(None) };
    let step = ctx.ui.step(format!("deploy {}", scope.release));
    step.update(why);
    if last.as_ref().is_some_and(|(_, status)| is_stuck(status)) {
        mend_pending(ctx, tools, scope)?;
    }
    let chart = Chart { release: &scope.release, folder: &staged.folder, values: &staged.values };
    if last.is_some() {
        make_room(ctx, tools, scope, rendered)?;
    }
    if let Some(failure) = upgrade(ctx, tools, scope, &chart, rendered, hooks)? {
        return Ok(Some(failure));
    }
    if last.is_some() {
        put_right(ctx, tools, scope, &chart, rendered)?;
    }
    let revision = live::last_revision(ctx, tools, scope)?;
    (deployed.revision, _) = revision.context("helm installed the release and does not list it")?;
    step.done(&format!("revision {} in namespace {} ({why})", deployed.revision, scope.target.namespace));
    deployed.manifest = live::manifest(ctx, tools, scope)?;
    Ok(None)
}

/// Has helm install or upgrade, and watches beside it what helm waits for: its hooks.
fn upgrade(
    ctx: &Context,
    tools: &Paths,
    scope: &Scope,
    chart: &Chart,
    rendered: &str,
    hooks: &str,
) -> Result<Option<Failure>> {
    let (wanted, hooks) = (live::objects_in(rendered)?, watched::hooks(&live::objects_in(hooks)?));
    let deadline = ctx.config.deadlines.helm;
    let told = helm::upgrade(&tools.helm, &scope.target, chart, deadline.as_secs());
    let mut watch = Watch::new(ctx, tools, scope);
    let (output, ended) =
        watch::beside(&mut watch, &hooks, &wanted, |spawn| spawn.output(command(told, deadline + SHORT)));
    ctx.spawn.interrupt.check()?;
    let release = &scope.release;
    if let Some(trouble) = ended.by {
        let what = format!("{release} cannot be deployed, because of {}", trouble.subject());
        return Ok(Some(Failure { what, found: watch.all(), said: None, deadline: false }));
    }
    let output = output?;
    if output.success {
        return Ok(None);
    }
    let said = Some(output.tail.clone());
    let deadline_passed = helm::says_deadline(&output.tail);
    if let Some(when) = helm::failed_hooks(&output.tail) {
        let hook = hooks.iter().find(|hook| output.tail.contains(&format!(" {} ", hook.object.name)));
        let hook = hook.map(|hook| hook.object.to_string()).or(ended.hook.map(|hook| hook.object.to_string()));
        let hook = hook.map_or(format!("a {when} hook"), |hook| format!("{hook} ({when})"));
        let how = match deadline_passed {
            true => format!("did not end within {} s", deadline.as_secs()),
            false => "failed".to_string(),
        };
        let what = format!("{release} cannot be deployed: hook {} {how}", hook.trim_start_matches("hook "));
        return Ok(Some(Failure { what, found: watch.all(), said, deadline: deadline_passed }));
    }
    let refused = events::refusal(&output.tail).map(|cause| {
        let object = Object { kind: "release".to_string(), name: release.clone() };
        let trouble = Trouble { object, container: None, cause, since: None, log: None, patience: None };
        Found { trouble, log: None }
    });
    let what = format!("{release} cannot be deployed");
    let found = refused.into_iter().chain(watch.all()).collect();
    Ok(Some(Failure { what, found, said, deadline: deadline_passed }))
}

fn is_stuck(status: &str) -> bool {
    status.starts_with("pending") || status == "uninstalling"
}

/// A node port for each service that has one: the one it has already, else the configured one, else a free one of the
/// published range.
pub fn node_ports(ctx: &Context, tools: &Paths) -> Result<BTreeMap<String, u16>> {
    let mut taken = live::taken_node_ports(ctx, tools)?;
    let range = ctx.config.cluster.node_ports;
    let mut chosen = BTreeMap::new();
    // Those with a number of their own choose first.
    let mut services: Vec<(&str, &str)> = ctx.config.running().collect();
    services.sort_by_key(|(name, _)| ctx.config.services[*name].node_port == Some(NodePort::Auto));
    for (name, release) in services {
        let namespace = &ctx.config.releases[release].namespace;
        let Some(wanted) = ctx.config.services[name].node_port else { continue };
        let port = choose_port(&taken, namespace, name, wanted, range.first..=range.last).with_context(|| {
            format!(
                "all node ports from {} to {} are taken: cargo xtask down removes a release that holds one",
                range.first, range.last
            )
        })?;
        if let NodePort::Fixed(wanted) = wanted
            && wanted != port
            && let Some((other, service)) = taken.get(&wanted)
        {
            ctx.ui.say(&format!("node port {wanted} is held by {service} in namespace {other}; {name} has {port}"));
        }
        taken.insert(port, (namespace.clone(), name.to_string()));
        chosen.insert(name.to_string(), port);
    }
    Ok(chosen)
}

fn choose_port(
    taken: &BTreeMap<u16, (String, String)>,
    namespace: &str,
    name: &str,
    wanted: NodePort,
    mut range: std::ops::RangeInclusive<u16>,
) -> Option<u16> {
    let mine = taken.iter().find(|(_, (owner, service))| owner == namespace && service == name);
    let fixed = match wanted {
        NodePort::Fixed(port) => Some(port),
        NodePort::Auto => None,
    };
    // What is fixed is not where it was once put for want of it.
    fixed
        .filter(|port| !taken.contains_key(port))
        .or_else(|| mine.map(|(port, _)| *port).filter(|port| range.contains(port)))
        .or_else(|| range.find(|port| !taken.contains_key(port)))
}

/// Why a release that is deployed needs another upgrade; None if it doesn't.
fn reason(ctx: &Context, tools: &Paths, scope: &Scope, rendered: &Rendered) -> Result<Option<String>> {
    let wanted = live::objects_in(&rendered.yaml)?;
    let (applied, hooks, found) = std::thread::scope(|threads| {
        // Processes that know nothing of each other: asking them one by one would take three times as long.
        let applied = threads.spawn(|| live::manifest(ctx, tools, scope));
        let hooks = threads.spawn(|| live::hooks(ctx, tools, scope));
        let found = live::objects_of(ctx, tools, scope, &rendered.yaml);
        (applied.join().expect("reading does not panic"), hooks.join().expect("reading does not panic"), found)
    });
    let (applied, hooks, mut changes) = (applied?, hooks?, drift(&wanted, &found?));
    // What a person changed stands in the spec; labels and checksums only follow it.
    changes.sort_by_key(|change| (!change.contains(".image is "), change.contains("metadata.")));
    if let Some(first) = changes.first() {
        let more = changes.len() - 1;
        let first = shorten(first);
        return Ok(Some(if more == 0 { first } else { format!("{first}, and {more} more") }));
    }
    if documents(&applied) != documents(&rendered.yaml) {
        return Ok(Some("the manifest changed".to_string()));
    }
    // A Secret that a hook makes once is another one with each rendering.
    let tests = |text| documents(text).into_iter().filter(|hook| !hook.contains("\nkind: Secret")).collect::<Vec<_>>();
    Ok((tests(&hooks) != tests(&rendered.hooks)).then(|| "its test changed".to_string()))
}

/// `deployment/a: spec.template.spec.containers[a].image is …` without all but the last of its path.
fn shorten(difference: &str) -> String {
    let Some((object, rest)) = difference.split_once(": ") else { return difference.to_string() };
    let (path, told) = rest.split_once(" is ").unwrap_or((rest, "other"));
    format!("{object}: {} is {told}", path.rsplit('.').next().unwrap_or(path))
}

/// Some fields of a workload can't be changed in place: it is removed, for helm to make it anew. Volumes stay, and so do
/// the pods of a StatefulSet, which the new one takes over.
fn make_room(ctx: &Context, tools: &Paths, scope: &Scope, rendered: &str) -> Result<()> {
    let wanted = live::objects_in(rendered)?;
    let live = live::objects_of(ctx, tools, scope, rendered)?;
    let names: Vec<String> = wanted.iter().filter(|object| is_in_the_way(object, &live)).map(told).collect();
    if names.is_empty() {
        return Ok(());
    }
    ctx.ui.say(&format!("what changes of {} can't be changed in place; made anew", names.join(", ")));
    let deadline = ctx.config.deadlines.helm;
    let told = kubectl::delete_orphaning(&tools.kubectl, &scope.target, &names, deadline.as_secs());
    ctx.spawn.run(command(told, deadline + SHORT))?;
    Ok(())
}

fn is_in_the_way(wanted: &Value, live: &[Value]) -> bool {
    let fixed: &[&str] = match wanted["kind"].as_str() {
        Some("StatefulSet") => &["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"],
        _ => return false,
    };
    let same =
        |other: &&Value| other["kind"] == wanted["kind"] && other["metadata"]["name"] == wanted["metadata"]["name"];
    let Some(other) = live.iter().find(same) else { return false };
    fixed.iter().any(|field| !differences(&wanted["spec"][*field], &other["spec"][*field]).is_empty())
}

/// Helm merges, and so keeps entries that were added to a list by hand. An object that still differs is removed, for
/// helm to make it anew; volumes stay.
fn put_right(ctx: &Context, tools: &Paths, scope: &Scope, chart: &Chart, rendered: &str) -> Result<()> {
    let wanted = live::objects_in(rendered)?;
    let different = |live: &[Value]| -> Vec<String> {
        let names = wanted.iter().filter(|object| !drift(std::slice::from_ref(*object), live).is_empty());
        names.map(told).collect()
    };
    let names = different(&live::objects_of(ctx, tools, scope, rendered)?);
    if names.is_empty() {
        return Ok(());
    }
    let (target, deadline) = (&scope.target, ctx.config.deadlines.helm);
    ctx.ui.say(&format!("helm keeps what was added by hand to {}; made anew", names.join(", ")));
    ctx.spawn.run(command(kubectl::delete(&tools.kubectl, target, &names, deadline.as_secs()), deadline + SHORT))?;
    ctx.spawn.run(command(helm::upgrade(&tools.helm, target, chart, deadline.as_secs()), deadline + SHORT))?;
    let left = drift(&wanted, &live::objects_of(ctx, tools, scope, rendered)?);
    match left.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!("the cluster does not take what was rendered: {first}");
            Err(Stop::failed(format!("{message}\nNext: cargo xtask down, then up")).into())
        }
    }
}

/// What of the wanted objects is not live, an entry a difference.
fn drift(wanted: &[Value], live: &[Value]) -> Vec<String> {
    let identity = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    let mut found = Vec::new();
    for object in wanted {
        let told = told(object);
        match live.iter().find(|other| identity(other) == identity(object)) {
            None => found.push(format!("{told} is absent")),
            Some(other) => {
                found.extend(differences(object, other).into_iter().map(|difference| format!("{told}: {difference}")))
            }
        }
    }
    found
}

/// `kind/name`, as kubectl takes it.
fn told(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
}

/// A release that an interrupted helm left pending or half uninstalled refuses every further upgrade.
fn mend_pending(ctx: &Context, tools: &Paths, scope: &Scope) -> Result<()> {
    let Scope { target, release } = scope;
    let deadline = ctx.config.deadlines.helm;
    let rolled_back = ctx.spawn.output(command(helm::rollback(&tools.helm, target, release, None), deadline))?;
    if !rolled_back.success {
        ctx.spawn.run(command(helm::uninstall(&tools.helm, target, release, deadline.as_secs()), deadline + SHORT))?;
    }
    Ok(())
}

/// The documents of a YAML stream without the blanks around them, in an order of their own.
fn documents(manifest: &str) -> Vec<&str> {
    let mut documents: Vec<&str> =
        manifest.split("---\n").map(str::trim).filter(|document| !document.is_empty()).collect();
    documents.sort();
    documents
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_port_stays_then_is_the_configured_one_then_a_free_one() {
        use NodePort::{Auto, Fixed};
        let held = |port| BTreeMap::from([(port, ("a".to_string(), "frontend".to_string()))]);
        let mine = held(30085);
        assert_eq!(choose_port(&mine, "a", "frontend", Auto, 30080..=30089), Some(30085));
        assert_eq!(choose_port(&mine, "a", "frontend", Fixed(30080), 30080..=30089), Some(30080));
        assert_eq!(choose_port(&mine, "b", "frontend", Fixed(30080), 30080..=30089), Some(30080));
        let theirs = held(30080);
        assert_eq!(choose_port(&theirs, "b", "frontend", Fixed(30080), 30080..=30081), Some(30081));
        assert_eq!(choose_port(&theirs, "a", "frontend", Fixed(30080), 30080..=30081), Some(30080));
        assert_eq!(choose_port(&theirs, "b", "frontend", Auto, 30080..=30080), None);
    }

    #[test]
    fn an_object_that_is_absent_or_was_edited_is_a_reason() {
        let wanted = [json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"x": 1}})];
        assert_eq!(drift(&wanted, &[]), ["service/a is absent"]);
        let edited = json!({"kind": "Service", "metadata": {"name": "a", "uid": "1"}, "spec": {"x": 2}});
        assert_eq!(drift(&wanted, &[edited]), ["service/a: spec.x is 2 instead of 1"]);
        assert_eq!(drift(&wanted, &wanted), Vec::<String>::new());
    }

    #[test]
    fn a_stateful_set_with_another_service_is_in_the_way() {
        let set =
            |service: &str| json!({"kind": "StatefulSet", "metadata": {"name": "a"}, "spec": {"serviceName": service}});
        assert!(is_in_the_way(&set("b"), &[set("a")]));
        assert!(!is_in_the_way(&set("a"), &[set("a")]));
        assert!(!is_in_the_way(&set("a"), &[]));
    }

    #[test]
    fn a_reason_names_the_object_and_the_field() {
        let long = "deployment/a: spec.template.spec.containers[a].image is \"x:1\" instead of \"x:2\"";
        assert_eq!(shorten(long), "deployment/a: image is \"x:1\" instead of \"x:2\"");
        assert_eq!(shorten("service/a is absent"), "service/a is absent");
    }

    #[test]
    fn documents_compare_without_their_order_and_blanks() {
        assert_eq!(documents("---\na: 1\n---\nb: 2\n\n"), documents("\n---\nb: 2\n---\na: 1\n"));
        assert_ne!(documents("a: 1"), documents("a: 2"));
    }
}
