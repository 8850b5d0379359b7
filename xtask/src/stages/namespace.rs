//! The namespaces of a profile: created with the restricted pod security level, and left alone when others use them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::Config;
use crate::live;
use crate::live::snapshot::Snapshot;
use crate::model::labels::MANAGED_BY;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::stages::preview;
use crate::stages::terminating::delete_namespace;
use crate::tools::{helm, kubectl};

/// Every pod of ours passes the strictest of Kubernetes' pod security levels; the namespace holds others to it too.
pub const POD_SECURITY: &str = "restricted";
pub const LEVELS: [&str; 2] = ["pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"];

/// The label that names the profile that has the namespace; one at a time.
fn profile_label(config: &Config) -> String {
    format!("{}.local/profile", config.project)
}

/// Whether a namespace exists and belongs to this profile, so that `ensure` has nothing to do.
pub fn is_settled(config: &Config, seen: &Snapshot, name: &str) -> bool {
    let ours = |one: &Value| label(one, &profile_label(config)) == Some(&config.profile);
    seen.namespace(name).is_some_and(|one| ours(one) && one["status"]["phase"] != "Terminating")
}

/// Creates the namespace if it is missing. Refuses one that holds another profile's release.
pub fn ensure(ctx: &Context, name: &str) -> Result<()> {
    let target = ctx.target_in(name);
    let object = format!("namespace/{name}");
    match live::objects(ctx, &target, &object)?.first() {
        Some(namespace) if namespace["status"]["phase"] == "Terminating" => {
            // An interrupted `down --purge`: nothing can be made in it until it is gone.
            delete_namespace(ctx, name)?;
        }
        Some(namespace) if label(namespace, &profile_label(&ctx.config)) == Some(&ctx.config.profile) => return Ok(()),
        Some(namespace) => return take_over(ctx, name, label(namespace, &profile_label(&ctx.config))),
        None => {}
    }
    let mut labels = json!({ MANAGED_BY: ctx.config.manager(), profile_label(&ctx.config): ctx.config.profile });
    LEVELS.iter().for_each(|level| labels[*level] = POD_SECURITY.into());
    preview::labels(&ctx.config).into_iter().for_each(|(key, value)| labels[key] = value.into());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    ctx.run(kubectl::create(&target).stdin(namespace.to_string()))?;
    Ok(())
}

/// Removes our objects from a namespace, and the namespace itself if we created it.
pub fn remove(ctx: &Context, name: &str) -> Result<()> {
    let (target, deadline) = (ctx.target_in(name), ctx.config.deadlines.helm);
    let object = format!("namespace/{name}");
    let Some(namespace) = live::objects(ctx, &target, &object)?.pop() else { return Ok(()) };
    if is_ours(ctx, &namespace) {
        return delete_namespace(ctx, name);
    }
    let kinds = "secrets,persistentvolumeclaims";
    for selector in
        [format!("{MANAGED_BY}={}", ctx.config.manager()), format!("app.kubernetes.io/part-of={}", ctx.config.project)]
    {
        ctx.run(kubectl::delete_labelled(&target, kinds, &selector, deadline))?;
    }
    Ok(())
}

/// Removes our labels from a namespace that existed before us; one of our own keeps them.
pub fn release(ctx: &Context, name: &str) -> Result<()> {
    let target = ctx.target_in(name);
    let object = format!("namespace/{name}");
    let Some(namespace) = live::objects(ctx, &target, &object)?.pop() else { return Ok(()) };
    if is_ours(ctx, &namespace) || label(&namespace, &profile_label(&ctx.config)) != Some(&ctx.config.profile) {
        return Ok(());
    }
    let profile = profile_label(&ctx.config);
    let labels = std::iter::once(profile.as_str()).chain(LEVELS).map(|key| format!("{key}-")).collect::<Vec<_>>();
    ctx.run(kubectl::label(&target, &object, &labels))?;
    Ok(())
}

/// A namespace that others made may hold what is theirs: it is not ours to delete.
pub fn refuse_foreign(ctx: &Context, name: &str) -> Result<()> {
    let found = live::objects(ctx, &ctx.target(), &format!("namespace/{name}"))?;
    if name == "default" || found.iter().all(|one| is_ours(ctx, one)) {
        return Ok(());
    }
    let message = format!(
        "namespace {name} was not made by this tool (its label {MANAGED_BY} is not {}), so it is not removed",
        ctx.config.manager()
    );
    Err(Stop::failed(format!("{message}\nNext: remove what you don't need of it yourself")).into())
}

/// Refuses to go on while another profile has a release in one of this profile's namespaces.
pub fn refuse_others(ctx: &Context) -> Result<()> {
    for name in ctx.config.namespaces() {
        let object = format!("namespace/{name}");
        if let Some(namespace) = live::objects(ctx, &ctx.target_in(&name), &object)?.first() {
            refuse_other(ctx, &name, label(namespace, &profile_label(&ctx.config)))?;
        }
    }
    Ok(())
}

fn refuse_other(ctx: &Context, name: &str, owner: Option<&str>) -> Result<()> {
    let Some(owner) = owner.filter(|owner| *owner != ctx.config.profile) else { return Ok(()) };
    let releases = ctx.run(helm::list(&ctx.target_in(name)))?;
    if releases.is_empty() {
        return Ok(());
    }
    let releases = releases.join(", ");
    let message = format!("namespace {name} holds {releases} of profile {owner}, and one profile at a time has it");
    Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask down --profile {owner}")).into())
}

fn take_over(ctx: &Context, name: &str, owner: Option<&str>) -> Result<()> {
    let target = ctx.target_in(name);
    refuse_other(ctx, name, owner)?;
    let mut labels = vec![format!("{}={}", profile_label(&ctx.config), ctx.config.profile)];
    // A namespace that others made for themselves keeps its own level.
    if name == "default" {
        labels.extend(LEVELS.iter().map(|level| format!("{level}={POD_SECURITY}")));
    }
    match ctx.spawn.attempt(kubectl::label(&target, &format!("namespace/{name}"), &labels))? {
        // Who has a namespace of a target from its administrators may have no right to label it.
        Err(output) if !(ctx.config.target.is_some() && kubectl::is_forbidden(&output.tail)) => {
            let message = format!("namespace {name} can't be labelled with its profile");
            Err(Stop::failed(message).with_detail(&output.tail).into())
        }
        _ => Ok(()),
    }
}

fn is_ours(ctx: &Context, namespace: &Value) -> bool {
    label(namespace, MANAGED_BY) == Some(&ctx.config.manager())
}

fn label<'a>(namespace: &'a Value, key: &str) -> Option<&'a str> {
    namespace["metadata"]["labels"][key].as_str()
}
