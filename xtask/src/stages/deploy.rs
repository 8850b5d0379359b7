//! Deploys the rendered chart, unless it is live already.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::config::NodePort;
use crate::diagnosis::cause::{Object, Problem};
use crate::diagnosis::watch;
use crate::diagnosis::watch::{Failure, Found, Watch};
use crate::diagnosis::{events, release};
use crate::live;
use crate::live::snapshot::Snapshot;
use crate::model::claims::{ClaimChange, claim_changes, templates_differ};
use crate::model::gitops::Applier;
use crate::model::plan::{
    Hold, Release, drift, foreign_scalers, holds, is_stuck, object_label, why_deploy, why_deploy_by_status, why_drifted,
};
use crate::model::rollout;
use crate::model::states::DeploymentState;
use crate::model::stored::{Info, Stored};
use crate::model::{origin, time};
use crate::run::call::Call;
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::run::poll;
use crate::run::process;
use crate::run::process::Spawn;
use crate::stages::immutable;
use crate::stages::render;
use crate::stages::render::{RenderInputs, Rendered, Staged};
use crate::tools::helm::{Chart, Revision};
use crate::tools::{git, helm, kubectl};

/// More revisions than helm keeps.
const ALL: u32 = 256;

/// The desired state of a release, and why it must be deployed.
pub struct Plan {
    pub scope: Scope,
    staged: Staged,
    /// The manifest as helm would apply it, as YAML.
    pub rendered: String,
    /// What helm runs before or after it.
    hooks: String,
    /// The live objects of it.
    live: Vec<Value>,
    /// The revision that helm applied last.
    last: Option<Stored>,
    /// The revision that serves.
    serving: Option<u64>,
    /// The claims that grow with their template.
    claims: Vec<ClaimChange>,
    /// The GitOps controller that applies it, which sets back what helm changes.
    pub applier: Option<Applier>,
    /// None if nothing is to be done.
    pub why: Option<String>,
    /// Everything is live and rolled out: there is nothing to wait for.
    pub is_rolled_out: bool,
}

/// A release after this stage.
pub struct Deployed {
    pub scope: Scope,
    pub revision: u64,
    /// The manifest that helm applied, as YAML.
    pub manifest: String,
    pub changed: bool,
    /// The revision that served before, if this one replaced it.
    pub before: Option<u64>,
}

/// Compares the desired state with what helm applied last and with the live objects.
pub fn observe(ctx: &Context, seen: &Snapshot, name: &str, known: &RenderInputs) -> Result<Plan> {
    let _glance = ctx.ui.glance(&format!("compare {name}"));
    let scope = ctx.scope(name);
    let staged = render::stage(ctx, name, known)?;
    let rendered = render::render_one(ctx, name, &staged)?;
    let wanted = live::objects_in(&rendered.yaml)?;
    let live = seen.objects_of(ctx, &scope, &rendered.yaml, &wanted)?;
    let last = seen.release(&scope)?;
    if let Some(applier) = Applier::of(&live) {
        return observe_applied(ctx, scope, live, applier, known);
    }
    let Reason { why, is_rolled_out, applied } =
        match (why_deploy_by_status(last.as_ref().map(|last| last.info.status.as_str())), &last) {
            (None, Some(last)) => reason(ctx, &scope, &rendered, &wanted, &live, last)?,
            (why, _) => Reason { why, is_rolled_out: false, applied: Vec::new() },
        };
    let from = last.as_ref().and_then(|last| deployed_elsewhere(ctx, last));
    let why = why.map(|why| match from {
        Some(from) => format!("{why}; {from}"),
        None => why,
    });
    let claims = match why {
        Some(_) => claims_to_grow(ctx, &scope, &wanted, &applied)?,
        None => Vec::new(),
    };
    let serving = helm::serving(&seen.revisions(&scope));
    let Rendered { yaml: rendered, hooks, .. } = rendered;
    Ok(Plan { scope, staged, rendered, hooks, live, last, serving, claims, applier: None, why, is_rolled_out })
}

/// The same of a release that a GitOps controller applies: what it would apply of these sources is compared with what is live.
/// A package has no version of a Secret, as it is made without a cluster.
fn observe_applied(
    ctx: &Context,
    scope: Scope,
    live: Vec<Value>,
    applier: Applier,
    known: &RenderInputs,
) -> Result<Plan> {
    let known = RenderInputs { secret_version: "", ..*known };
    let staged = render::stage(ctx, &scope.release, &known)?;
    let Rendered { yaml: rendered, hooks, .. } = render::render_one(ctx, &scope.release, &staged)?;
    let wanted = live::objects_in(&rendered)?;
    let why = why_drifted(&wanted, &live).map(|why| format!("{why}; it is applied by {applier}"));
    let is_rolled_out = why.is_none() && rollout::are_done(&wanted, &live);
    let (last, serving, claims, applier) = (None, None, Vec::new(), Some(applier));
    Ok(Plan { scope, staged, rendered, hooks, live, last, serving, claims, applier, why, is_rolled_out })
}

/// The release before this stage, with the revision to roll back to.
pub fn begin(plan: &Plan) -> Deployed {
    let changed = plan.why.is_some();
    Deployed {
        scope: plan.scope.clone(),
        revision: plan.last.as_ref().map_or(0, |last| last.revision),
        manifest: plan.rendered.clone(),
        changed,
        before: plan.serving.filter(|_| changed),
    }
}

/// Installs or upgrades, if the plan says why, and completes what `begin` returned. A failing hook or a rejection by the
/// cluster is returned as a failure.
pub fn apply(ctx: &Context, plan: &Plan, deployed: &mut Deployed) -> Result<Option<Failure>> {
    let Plan { scope, staged, rendered, hooks, last, claims, why, .. } = plan;
    let Some(why) = why else { return Ok(None) };
    let (wanted, mut live) = (live::objects_in(rendered)?, plan.live.clone());
    let step = ctx.ui.step(format!("deploy {}", scope.release));
    step.update(why);
    let state = if last.is_some() { DeploymentState::Upgrading } else { DeploymentState::Installing };
    ctx.config.releases[&scope.release].services.iter().for_each(|service| ctx.ui.state(service, state));
    if last.as_ref().is_some_and(|last| is_stuck(&last.info.status)) {
        // Until it is mended, nothing of this run has to go back.
        deployed.changed = false;
        deployed.before = repair_pending(ctx, scope)?;
        deployed.changed = true;
        live = live::objects_of(ctx, scope, rendered)?;
    }
    let chart = Chart { release: &scope.release, folder: &staged.folder, values: &staged.values };
    if let Some(last) = last {
        resume(ctx, scope, &wanted, &live)?;
        immutable::delete_immutable(ctx, scope, &wanted, &live, || Ok(last.manifest.clone()))?;
    }
    for claim in claims {
        ctx.ui.say(&format!("volume claim {} grows: {} → {}", claim.claim, claim.live, claim.wanted));
        let object = format!("persistentvolumeclaim/{}", claim.claim);
        ctx.run(kubectl::patch(&scope.target, &object, "merge").stdin(claim.patch().to_string()))?;
    }
    let upgraded = upgrade(ctx, scope, &chart, rendered, hooks);
    if !matches!(upgraded, Ok(None)) {
        repair_after_interrupt(ctx, scope);
    }
    if let Some(failure) = upgraded? {
        // Nor where another helm is at work.
        let said = failure.said.as_deref().unwrap_or_default();
        deployed.changed &= !said.contains("another operation (install/upgrade/rollback) is in progress");
        return Ok(Some(failure));
    }
    let look = || Snapshot::take_of_release(ctx, scope, rendered, &wanted);
    let mut seen = look()?;
    if last.is_some() && recreate_drifted(ctx, scope, &chart, rendered, &seen.objects)? {
        seen = look()?;
    }
    let last = seen.release(scope)?.context("helm installed the release and does not list it")?;
    let Stored { revision, info: Info { status, .. }, manifest, .. } = last;
    (deployed.revision, deployed.manifest) = (revision, manifest);
    if status != "deployed" {
        let message = format!("helm succeeded, but reports revision {revision} of {} {status}", scope.release);
        return Err(Stop::failed(format!("{message}\nNext: cargo xtask history")).into());
    }
    ctx.ui.validated(&scope.release, state, &format!("helm calls revision {revision} deployed"));
    step.done(&format!("revision {} in namespace {} ({why})", deployed.revision, scope.target.namespace));
    ctx.ui.fact("deployed", json!({ "release": scope.release, "revision": deployed.revision, "why": why }));
    Ok(None)
}

/// Runs `helm upgrade --install`, and watches its hooks meanwhile.
fn upgrade(ctx: &Context, scope: &Scope, chart: &Chart, rendered: &str, hooks: &str) -> Result<Option<Failure>> {
    let (wanted, hooks) = (live::objects_in(rendered)?, release::hooks(&live::objects_in(hooks)?));
    let deadline = ctx.config.deadlines.helm;
    let call = upgrade_call(ctx, scope, chart);
    let mut watch = Watch::new(ctx, scope);
    let (output, ended) = watch::beside(&mut watch, &hooks, &wanted, |spawn| spawn.output(call));
    ctx.spawn.interrupt.check()?;
    let release = &scope.release;
    if let Some(problem) = ended.by {
        let what = format!("{release} cannot be deployed, because of {}", problem.subject());
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
        let problem = Problem { object, container: None, cause, since: None, log: None, grace: None };
        Found { problem, log: None }
    });
    let what = format!("{release} cannot be deployed");
    let found = refused.into_iter().chain(watch.all()).collect();
    Ok(Some(Failure { what, found, said, deadline: deadline_passed }))
}

/// Its description names this checkout, so that a run in another one can tell whose work it replaces.
fn upgrade_call(ctx: &Context, scope: &Scope, chart: &Chart) -> Call {
    let root = ctx.root.display().to_string();
    // There may be no git, or no repository.
    let commit = ctx.spawn.attempt(git::commit(&root)).ok().and_then(Result::ok);
    let description = origin::describe(&root, commit.as_deref());
    helm::upgrade(&ctx.tools.helm, &scope.target, chart, &description, ctx.config.deadlines.helm)
}

/// That another checkout deployed the revision that is replaced, and how long ago.
fn deployed_elsewhere(ctx: &Context, last: &Stored) -> Option<String> {
    let from = origin::another_checkout(&last.info.description, &ctx.root.display().to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs() as i64;
    let age =
        time::seconds(&last.info.last_deployed).map_or(String::new(), |at| format!(", {} ago", time::ago(now - at)));
    Some(format!("replaces revision {}, deployed from {from}{age}", last.revision))
}

/// Waits for any other helm process that works on the release, and says so.
pub fn await_others(ctx: &Context, scope: &Scope) -> Result<()> {
    let at_work = || process::find(|argv| helm::works_on(argv, &scope.target, &scope.release)).pop();
    // Its argv is not shown: it may hold values.
    if let Some((pid, _)) = at_work() {
        let deadline = ctx.config.deadlines.helm;
        let message = format!("process {pid} is a helm process working on release {}", scope.release);
        ctx.ui.say(&format!("{message}; waiting up to {} s", deadline.as_secs()));
        let ended = poll::until(&ctx.spawn.interrupt, deadline, || Ok(at_work().is_none().then_some(())))?;
        ended.ok_or_else(|| {
            let next = format!("Next: wait for it, or kill -INT {pid}; then run the same command again");
            Stop::deadline(format!("{message}; waited {} s for it\n{next}", deadline.as_secs()))
        })?;
    }
    Ok(())
}

/// A node port for each service that has one: the one it has already, else the configured one, else a free one of the
/// published range. `services` are those of all namespaces. On a target the cluster itself chooses.
pub fn node_ports(ctx: &Context, services: &[Value]) -> Result<BTreeMap<String, u16>> {
    if ctx.config.target.is_some() {
        return Ok(BTreeMap::new());
    }
    let mut taken = live::taken_node_ports(services);
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
        // From the end: profiles with a number of their own have one at the beginning.
        .or_else(|| range.rfind(|port| !taken.contains_key(port)))
}

/// Why a release that is deployed needs another upgrade.
struct Reason {
    /// None if it needs none.
    why: Option<String>,
    is_rolled_out: bool,
    /// The objects that helm applied last.
    applied: Vec<Value>,
}

fn reason(
    ctx: &Context,
    scope: &Scope,
    rendered: &Rendered,
    wanted: &[Value],
    live: &[Value],
    last: &Stored,
) -> Result<Reason> {
    let (applied, hooks) = (&last.manifest, last.hooks());
    let Rendered { yaml, hooks: own, .. } = rendered;
    let release = Release { wanted, rendered: yaml, hooks: own, live, applied, applied_hooks: &hooks };
    let why = why_deploy(&release).map(|why| scaled_by(ctx, scope, wanted, live, why));
    let is_rolled_out = why.is_none() && rollout::are_done(wanted, live);
    let applied = if why.is_some() { live::objects_in(applied)? } else { Vec::new() };
    Ok(Reason { why, is_rolled_out, applied })
}

/// The reason with the autoscaler behind it, where another number of replicas is one that nobody rendered.
fn scaled_by(ctx: &Context, scope: &Scope, wanted: &[Value], live: &[Value], why: String) -> String {
    if !drift(wanted, live).iter().any(|change| change.path == "spec.replicas") {
        return why;
    }
    // Where they can't be listed, the reason holds without them.
    let found = live::objects(ctx, &scope.target, "horizontalpodautoscalers").unwrap_or_default();
    match foreign_scalers(wanted, live, &found).as_slice() {
        [] => why,
        names => format!("{why}; {} will set it back: delete it, or give the service an hpa", names.join(", ")),
    }
}

/// The claims that grow with a changed template. One that cannot follow is an error: the release would be called deployed, and
/// its volume would stay as it is.
fn claims_to_grow(ctx: &Context, scope: &Scope, wanted: &[Value], applied: &[Value]) -> Result<Vec<ClaimChange>> {
    if !templates_differ(wanted, applied) {
        return Ok(Vec::new());
    }
    let claims = live::objects(ctx, &scope.target, "persistentvolumeclaims")?;
    let classes = if claims.is_empty() { Vec::new() } else { storage_classes(ctx, scope)? };
    let changes = claim_changes(wanted, &claims, &classes);
    let refused: Vec<String> = changes
        .iter()
        .filter_map(|one| Some(format!("{}: {} → {}: {}", one.claim, one.live, one.wanted, one.refusal.as_ref()?)))
        .collect();
    if refused.is_empty() {
        return Ok(changes);
    }
    let message = format!("{} cannot be deployed: volume claim {}", scope.release, refused.join("; volume claim "));
    let next = "Next: keep the volume as it is, or give up its data: cargo xtask down --purge";
    Err(Stop::failed(format!("{message}\n{next}")).into())
}

/// What volumes can be; nothing is known of it where one has no right to what is outside the namespace.
fn storage_classes(ctx: &Context, scope: &Scope) -> Result<Vec<Value>> {
    match ctx.spawn.attempt(kubectl::get(&scope.target, "storageclasses", None))? {
        Ok(classes) => Ok(classes),
        Err(output) if kubectl::is_forbidden(&output.tail) => Ok(Vec::new()),
        Err(output) => Err(Stop::failed("the storage classes cannot be read").with_detail(&output.tail).into()),
    }
}

/// Sets back fields that were set by hand and stop the rollout.
fn resume(ctx: &Context, scope: &Scope, wanted: &[Value], live: &[Value]) -> Result<()> {
    for Hold { object, difference, patch } in holds(wanted, live) {
        let field = difference.path.rsplit('.').next().unwrap_or_default();
        ctx.ui.say(&format!("{object}: {field} was set to {} by hand; setting it back", difference.live));
        ctx.run(kubectl::patch(&scope.target, &object, "merge").stdin(patch.to_string()))?;
    }
    Ok(())
}

/// Recreates objects that still differ after the upgrade: helm merges, and so keeps entries that were added to a list by
/// hand. Volumes stay. Whether there was any.
fn recreate_drifted(ctx: &Context, scope: &Scope, chart: &Chart, rendered: &str, live: &[Value]) -> Result<bool> {
    let wanted = live::objects_in(rendered)?;
    let is_drifted = |object: &&Value| !drift(std::slice::from_ref(*object), live).is_empty();
    let names: Vec<String> = wanted.iter().filter(is_drifted).map(object_label).collect();
    if names.is_empty() {
        return Ok(false);
    }
    let (target, deadline) = (&scope.target, ctx.config.deadlines.helm);
    ctx.ui.say(&format!("recreating {}: helm would keep what was added by hand", names.join(", ")));
    ctx.run(kubectl::delete(target, &names, deadline))?;
    ctx.run(upgrade_call(ctx, scope, chart)).inspect_err(|_| repair_after_interrupt(ctx, scope))?;
    let left = drift(&wanted, &live::objects_of(ctx, scope, rendered)?);
    match left.first() {
        None => Ok(true),
        Some(first) => {
            let message = format!("the API server rejects the rendered manifests: {}", first.brief());
            Err(Stop::failed(format!("{message}\nNext: cargo xtask down, then up")).into())
        }
    }
}

/// Repairs a release that an interruption left pending; anything else is left to the next run.
fn repair_after_interrupt(ctx: &Context, scope: &Scope) {
    // An interrupted run must not leave a release that refuses every further upgrade.
    if ctx.spawn.interrupt.check().is_ok() {
        return;
    }
    let spawn = ctx.spawn.uninterrupted();
    let mended = live::history_by(&spawn, scope, ALL).and_then(|all| repair(ctx, &spawn, scope, &all));
    if let Err(error) = mended {
        ctx.ui.say(&format!("{} may be left pending; the next up repairs it: {error:#}", scope.release));
    }
}

/// Repairs a release that helm left pending or half uninstalled, which refuses every further upgrade. Waits for a helm that
/// is still at work. Returns the revision that serves then.
fn repair_pending(ctx: &Context, scope: &Scope) -> Result<Option<u64>> {
    await_others(ctx, scope)?;
    let all = live::history(ctx, scope, ALL)?;
    repair(ctx, &ctx.spawn, scope, &all)?;
    Ok(helm::serving(&all))
}

fn repair(ctx: &Context, spawn: &Spawn, scope: &Scope, all: &[Revision]) -> Result<()> {
    let Scope { target, release } = scope;
    let Some(last) = all.last().filter(|last| is_stuck(&last.status)) else { return Ok(()) };
    let deadline = ctx.config.deadlines.helm;
    let (message, call) = match helm::serving(all) {
        Some(revision) => (
            format!("rolling back to revision {revision} first"),
            helm::rollback(&ctx.tools.helm, target, release, revision, deadline),
        ),
        None => (
            "no revision of it works, so it is uninstalled first; its data stays".to_string(),
            helm::uninstall(target, release, deadline),
        ),
    };
    ctx.ui.say(&format!("{release} is stuck in {} at revision {}: {message}", last.status, last.number));
    spawn.run_whole(call)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(choose_port(&theirs, "b", "frontend", Auto, 30080..=30089), Some(30089));
    }
}
