//! Brings the release to what was rendered, if what is live is not that already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::config::Config;
use crate::content::list_files;
use crate::context::Context;
use crate::live;
use crate::model::image::Built;
use crate::model::subset::differences;
use crate::process::command;
use crate::stop::Stop;
use crate::tools::helm::Chart;
use crate::tools::{Paths, helm, kubectl};

const SHORT: Duration = Duration::from_secs(60);
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "todo-chatbot-xtask";
/// The chart that all others include; it lies beside them.
pub const LIBRARY: &str = "library";
/// Every pod of ours passes the strictest of Kubernetes' pod security levels; the namespace holds others to it too.
const POD_SECURITY: &str = "restricted";

/// A release as it is after this stage.
pub struct Deployed {
    pub revision: u64,
    /// The manifest that helm applied, as YAML.
    pub manifest: String,
    pub changed: bool,
}

/// Installs or upgrades where the rendered manifest is not what helm applied last, or not what is live.
pub fn ensure(ctx: &Context, tools: &Paths, built: &BTreeMap<String, Built>, secret_version: &str) -> Result<Deployed> {
    let target = ctx.target();
    let release = &ctx.config.release.name;
    let ports = node_ports(ctx, tools)?;
    let folder = stage_chart(ctx, &ctx.root.join(&ctx.config.release.chart))?;
    let overlay = ctx.staging("values.json");
    fs::create_dir_all(ctx.staging(""))?;
    fs::write(&overlay, serde_json::to_string_pretty(&values(&ctx.config, built, secret_version, &ports))?)?;
    let mut files: Vec<String> = ctx.config.release.values.iter().map(|file| ctx.path(file)).collect();
    files.push(overlay.display().to_string());
    let chart = Chart { release, folder: &folder.display().to_string(), values: &files };

    let rendered = ctx.spawn.run(command(helm::template(&tools.helm, &target, &chart), SHORT))?;
    let last = live::last_revision(ctx, tools)?;
    let why = match &last {
        None => Some("not installed yet".to_string()),
        Some((_, status)) if status.starts_with("pending") || status == "uninstalling" => {
            mend_pending(ctx, tools)?;
            Some(format!("the release was left {status}"))
        }
        Some((_, status)) if status != "deployed" => Some(format!("the release is {status}")),
        Some(_) => reason(ctx, tools, &rendered)?,
    };
    let Some(why) = why else {
        let revision = last.map_or(0, |(revision, _)| revision);
        return Ok(Deployed { revision, manifest: rendered, changed: false });
    };
    let step = ctx.ui.step(format!("deploy {release}"));
    step.update(&why);
    let deadline = ctx.config.deadlines.helm;
    ctx.spawn.run(command(helm::upgrade(&tools.helm, &target, &chart, deadline.as_secs()), deadline + SHORT))?;
    if last.is_some() {
        put_right(ctx, tools, &chart, &rendered)?;
    }
    let (revision, _) = live::last_revision(ctx, tools)?.context("helm installed the release and does not list it")?;
    step.done(&format!("revision {revision} in namespace {} ({why})", target.namespace));
    Ok(Deployed { revision, manifest: live::manifest(ctx, tools)?, changed: true })
}

/// Sees to the namespace, which holds its pods to the restricted level.
pub fn ensure_namespace(ctx: &Context, tools: &Paths) -> Result<()> {
    let target = ctx.target();
    let name = format!("namespace/{}", target.namespace);
    match live::objects(ctx, tools, &name)?.first() {
        Some(namespace) if namespace["status"]["phase"] == "Terminating" => {
            // An interrupted `down --purge`: nothing can be made in it until it is gone.
            let wait = kubectl::delete(&tools.kubectl, &target, &[name], ctx.config.deadlines.helm.as_secs());
            ctx.spawn.run(command(wait, ctx.config.deadlines.helm + SHORT))?;
        }
        Some(_) => return Ok(()),
        None => {}
    }
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": target.namespace, "labels": {
            MANAGED_BY: MANAGER,
            "pod-security.kubernetes.io/enforce": POD_SECURITY,
            "pod-security.kubernetes.io/warn": POD_SECURITY,
        }},
    });
    ctx.spawn.run(command(kubectl::create(&tools.kubectl, &target), SHORT).stdin(namespace.to_string()))?;
    Ok(())
}

/// A namespace that others made may hold what is theirs: it is not ours to delete.
pub fn refuse_foreign_namespace(ctx: &Context, tools: &Paths) -> Result<()> {
    let name = &ctx.config.release.namespace;
    let found = live::objects(ctx, tools, &format!("namespace/{name}"))?;
    match found.iter().all(|namespace| namespace["metadata"]["labels"][MANAGED_BY] == MANAGER) {
        true => Ok(()),
        false => {
            let told = format!(
                "namespace {name} was not made by this tool (its label {MANAGED_BY} is not {MANAGER}), so it is not removed"
            );
            Err(Stop::failed(format!("{told}\nNext: remove what you don't need of it yourself")).into())
        }
    }
}

/// A copy of a chart with the library chart in it, which is how helm wants to find it; the tracked files stay as
/// they are.
pub fn stage_chart(ctx: &Context, chart: &Path) -> Result<PathBuf> {
    let staged = ctx.staging("chart");
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    copy(chart, &staged)?;
    let library = chart.with_file_name(LIBRARY);
    if library.is_dir() {
        copy(&library, &staged.join("charts").join(LIBRARY))?;
    }
    Ok(staged)
}

/// What the configuration says about the services, as values over the chart's own.
fn values(
    config: &Config,
    built: &BTreeMap<String, Built>,
    secret_version: &str,
    ports: &BTreeMap<String, u16>,
) -> Value {
    let services = config.services.iter().map(|(name, service)| {
        let image = &built[name];
        let mut value = json!({ "image": { "repository": image.repository, "tag": image.tag }, "port": service.port });
        if let Some(probes) = &service.probes {
            value["probes"] =
                json!({ "liveness": { "path": probes.liveness }, "readiness": { "path": probes.readiness } });
        }
        if let Some(port) = ports.get(name) {
            value["service"] = json!({ "nodePort": port });
        }
        (name.clone(), value)
    });
    json!({
        "secret": { "name": config.secret.name, "create": false, "version": secret_version },
        "services": services.collect::<serde_json::Map<_, _>>(),
    })
}

/// A node port for each service that has one: the one it has already, else the configured one, else a free one of the
/// published range.
fn node_ports(ctx: &Context, tools: &Paths) -> Result<BTreeMap<String, u16>> {
    let mut taken = live::taken_node_ports(ctx, tools)?;
    let namespace = &ctx.config.release.namespace;
    let range = ctx.config.cluster.node_ports;
    let mut chosen = BTreeMap::new();
    for (name, service) in &ctx.config.services {
        let Some(wanted) = service.node_port else { continue };
        let port = choose_port(&taken, namespace, name, wanted, range.first..=range.last).with_context(|| {
            format!(
                "all node ports from {} to {} are taken: cargo xtask down removes a release that holds one",
                range.first, range.last
            )
        })?;
        taken.insert(port, (namespace.clone(), name.clone()));
        chosen.insert(name.clone(), port);
    }
    Ok(chosen)
}

fn choose_port(
    taken: &BTreeMap<u16, (String, String)>,
    namespace: &str,
    name: &str,
    wanted: u16,
    mut range: std::ops::RangeInclusive<u16>,
) -> Option<u16> {
    let mine = taken.iter().find(|(_, (owner, service))| owner == namespace && service == name);
    mine.map(|(port, _)| *port)
        .filter(|port| range.contains(port))
        .or_else(|| (!taken.contains_key(&wanted)).then_some(wanted))
        .or_else(|| range.find(|port| !taken.contains_key(port)))
}

/// Why a release that is deployed needs another upgrade; None if it doesn't.
fn reason(ctx: &Context, tools: &Paths, rendered: &str) -> Result<Option<String>> {
    let (applied, wanted, found) = std::thread::scope(|scope| {
        // Three processes that know nothing of each other: asking them one by one would take three times as long.
        let applied = scope.spawn(|| live::manifest(ctx, tools));
        let wanted = scope.spawn(|| live::objects_in(ctx, tools, rendered));
        let found = live::objects_of(ctx, tools, rendered);
        (applied.join().expect("reading does not panic"), wanted.join().expect("reading does not panic"), found)
    });
    let (applied, mut changes) = (applied?, drift(&wanted?, &found?));
    // What a person changed stands in the spec; labels and checksums only follow it.
    changes.sort_by_key(|change| (!change.contains(".image is "), change.contains("metadata.")));
    if let Some(first) = changes.first() {
        let more = changes.len() - 1;
        let first = shorten(first);
        return Ok(Some(if more == 0 { first } else { format!("{first}, and {more} more") }));
    }
    Ok((documents(&applied) != documents(rendered)).then(|| "the manifest changed".to_string()))
}

/// `deployment/a: spec.template.spec.containers[a].image is …` without all but the last of its path.
fn shorten(difference: &str) -> String {
    let Some((object, rest)) = difference.split_once(": ") else { return difference.to_string() };
    let (path, told) = rest.split_once(" is ").unwrap_or((rest, "other"));
    format!("{object}: {} is {told}", path.rsplit('.').next().unwrap_or(path))
}

/// Helm merges, and so keeps entries that were added to a list by hand. An object that still differs is removed, for
/// helm to make it anew; volumes stay.
fn put_right(ctx: &Context, tools: &Paths, chart: &Chart, rendered: &str) -> Result<()> {
    let wanted = live::objects_in(ctx, tools, rendered)?;
    let different = |live: &[Value]| -> Vec<String> {
        let names = wanted.iter().filter(|object| !drift(std::slice::from_ref(*object), live).is_empty());
        names.map(told).collect()
    };
    let names = different(&live::objects_of(ctx, tools, rendered)?);
    if names.is_empty() {
        return Ok(());
    }
    let (target, deadline) = (ctx.target(), ctx.config.deadlines.helm);
    ctx.ui.say(&format!("helm keeps what was added by hand to {}; made anew", names.join(", ")));
    ctx.spawn.run(command(kubectl::delete(&tools.kubectl, &target, &names, deadline.as_secs()), deadline + SHORT))?;
    ctx.spawn.run(command(helm::upgrade(&tools.helm, &target, chart, deadline.as_secs()), deadline + SHORT))?;
    let left = drift(&wanted, &live::objects_of(ctx, tools, rendered)?);
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
fn mend_pending(ctx: &Context, tools: &Paths) -> Result<()> {
    let (target, release) = (ctx.target(), &ctx.config.release.name);
    let deadline = ctx.config.deadlines.helm;
    let rolled_back = ctx.spawn.output(command(helm::rollback(&tools.helm, &target, release), deadline))?;
    if !rolled_back.success {
        ctx.spawn.run(command(helm::uninstall(&tools.helm, &target, release, deadline.as_secs()), deadline + SHORT))?;
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

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in list_files(from, &[PathBuf::from(".")])? {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(&file), &target).with_context(|| format!("cannot copy {}", from.join(&file).display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_port_stays_then_is_the_configured_one_then_a_free_one() {
        let held = |port| BTreeMap::from([(port, ("a".to_string(), "frontend".to_string()))]);
        let mine = held(30085);
        assert_eq!(choose_port(&mine, "a", "frontend", 30080, 30080..=30089), Some(30085));
        assert_eq!(choose_port(&mine, "b", "frontend", 30080, 30080..=30089), Some(30080));
        let theirs = held(30080);
        assert_eq!(choose_port(&theirs, "b", "frontend", 30080, 30080..=30081), Some(30081));
        assert_eq!(choose_port(&theirs, "b", "frontend", 30080, 30080..=30080), None);
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
