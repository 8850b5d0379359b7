//! `up`: everything from a bare machine to a checked application.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::live::snapshot::Snapshot;
use crate::live::{self, Endpoint};
use crate::model::image::Built;
use crate::model::plan;
use crate::run::context::{Context, Project};
use crate::run::graph::in_parallel;
use crate::run::lock;
use crate::secrets::overrides::Overrides;
use crate::secrets::{pull, store};
use crate::stages::deploy::{Deployed, Plan};
use crate::stages::lease::Lease;
use crate::stages::load::NodeImages;
use crate::stages::render;
use crate::stages::render::RenderInputs;
use crate::stages::setup::Ready;
use crate::stages::smoke::forward::Early;
use crate::stages::{apply, build, cluster, deploy, gitops, lease, load, namespace, preview, push, setup};

/// Each stage observes for itself what is left to do, so that an interrupted run needs nothing but another one.
pub fn run(project: &Project, no_rollback: bool) -> Result<()> {
    let overrides = render::read_overrides(project)?;
    let releases = project.config.wanted_releases(&overrides.secret);
    let ready = setup::set_up(project, None)?;
    let ctx = &ready.ctx;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let _lease;
    let (built, seen, early) = match ctx.config.target {
        Some(_) => {
            let built = deliver(&ready, &releases)?;
            _lease = hold_namespaces(ctx, &releases)?;
            (built, Snapshot::take(ctx)?, Early::default())
        }
        None => ensure_loaded(&ready, &releases)?,
    };
    let (versions, is_new) = ensure_secrets(ctx, &seen, &releases, &overrides)?;
    // A namespace that was going, or was not there, has nothing of what was seen in it.
    let seen = if is_new { Snapshot::take(ctx)? } else { seen };
    let plans = plan_releases(ctx, &seen, &releases, &built, &versions, &overrides)?;
    gitops::refuse_deploy(ctx, &plans)?;
    let (deployed, endpoints) = apply::carry_out(ctx, &plans, Some((seen.services(), early)), no_rollback)?;
    if push::registry(&ctx.config).is_some() {
        push::verify(ctx, &built)?;
    }
    report(ctx, &deployed, &endpoints);
    Ok(())
}

/// Images to a cluster that others made: into its registry, or into its nodes.
fn deliver(ready: &Ready, releases: &[&str]) -> Result<BTreeMap<String, Built>> {
    let ctx = &ready.ctx;
    cluster::need_serving(ctx)?;
    let wanted = build::references_of(ctx, &ready.images, &ctx.config.services_of(releases))?;
    match push::registry(&ctx.config) {
        Some(registry) => push::ensure(ready, registry, &wanted),
        None => {
            let (built, _) = build::ensure(ready, &wanted)?;
            load::ensure(ctx, &cluster::nodes(ctx)?, &built)?;
            Ok(built)
        }
    }
}

/// Makes the namespaces of a target where they are missing, and has them for as long as the returned leases live: whoever
/// comes meanwhile is refused, on whichever machine.
fn hold_namespaces(ctx: &Context, releases: &[&str]) -> Result<Vec<Lease>> {
    let namespaces = ctx.config.namespaces_of(releases);
    namespaces.iter().try_for_each(|name| namespace::ensure(ctx, name))?;
    namespaces.iter().try_for_each(|name| pull::ensure(ctx, name))?;
    namespaces.iter().filter_map(|name| lease::hold(ctx, name).transpose()).collect()
}

/// Builds, and loads into the nodes of our own cluster, which is brought up beside it.
fn ensure_loaded(ready: &Ready, releases: &[&str]) -> Result<(BTreeMap<String, Built>, Snapshot, Early)> {
    let ctx = &ready.ctx;
    let (built, seen, early) = build_beside_cluster(ready, releases)?;
    let seen = match seen {
        Some((seen, nodes)) if plan::loads(&built, &nodes).is_empty() => {
            load::confirm(ctx, &nodes, &built);
            seen
        }
        // What was seen before a build or a load may be another by now.
        _ => {
            load::ensure(ctx, &cluster::nodes(ctx)?, &built)?;
            Snapshot::take(ctx)?
        }
    };
    Ok((built, seen, early))
}

/// What a cluster that served already had in it, and the images of its nodes.
type Seen = (Snapshot, NodeImages);

/// Images need docker alone, and a first build takes minutes: the cluster comes up beside it. What was seen of the cluster is
/// left out where it is of before a build. The ports are those that the last checks needed.
fn build_beside_cluster(ready: &Ready, releases: &[&str]) -> Result<(BTreeMap<String, Built>, Option<Seen>, Early)> {
    let ctx = &ready.ctx;
    // What is wrong with the inputs is an error before a cluster is made.
    let wanted = build::references_of(ctx, &ready.images, &ctx.config.services_of(releases))?;
    let (built, nodes, made, early) = std::thread::scope(|scope| {
        let made = scope.spawn(|| cluster::bring_up(ready));
        // By this thread, which lasts as long as the ports are wanted: the system ends a child with the thread that began it.
        let early = Early::begin(ctx);
        let built = build::ensure(ready, &wanted);
        // A node that does not run yet cannot tell, and is asked later.
        let look = |(built, is_new): &(_, bool)| match is_new {
            true => None,
            false => load::observe(ctx, &cluster::nodes(ctx).ok()?, built).ok(),
        };
        let nodes = built.as_ref().ok().and_then(look);
        (built, nodes, made.join().expect("making the cluster does not panic"), early)
    });
    if let (Err(_), Err(error)) = (&made, &built) {
        ctx.ui.error(&format!("{error:#}"));
    }
    let (seen, (built, _)) = (made?, built?);
    Ok((built, seen.zip(nodes), early))
}

/// Makes what is missing of namespaces and Secrets. Returns the version of each Secret, and whether anything was made.
fn ensure_secrets(
    ctx: &Context,
    seen: &Snapshot,
    releases: &[&str],
    overrides: &Overrides,
) -> Result<(BTreeMap<String, String>, bool)> {
    let namespaces = ctx.config.namespaces_of(releases);
    // That of a branch is noted to be in use each time.
    let is_settled =
        ctx.config.preview.is_none() && namespaces.iter().all(|name| namespace::is_settled(&ctx.config, seen, name));
    match store::observe(ctx, seen, &namespaces, &overrides.secret) {
        Ok(secrets) if is_settled && secrets.steps.is_empty() => Ok((secrets.versions, false)),
        _ => {
            let ensured = in_parallel(&namespaces, |name| namespace::ensure(ctx, name));
            ensured.into_iter().collect::<Result<()>>()?;
            namespaces.iter().try_for_each(|name| preview::ensure(ctx, name))?;
            Ok((store::ensure(ctx, &namespaces, &overrides.secret)?, true))
        }
    }
}

/// Renders each release and compares it with what is live.
fn plan_releases(
    ctx: &Context,
    seen: &Snapshot,
    releases: &[&str],
    built: &BTreeMap<String, Built>,
    versions: &BTreeMap<String, String>,
    overrides: &Overrides,
) -> Result<Vec<Plan>> {
    let node_ports = deploy::node_ports(ctx, &seen.services())?;
    let tags = built.iter().map(|(name, image)| (name.clone(), image.tag.clone())).collect();
    let plans = in_parallel(releases, |name| {
        let version = versions.get(&ctx.config.releases[*name].secret).map_or("", String::as_str);
        let inputs = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: version, overrides };
        deploy::observe(ctx, seen, name, &inputs)
    });
    plans.into_iter().collect()
}

/// Says where the application is reached, and which releases were up to date.
fn report(ctx: &Context, deployed: &[Deployed], endpoints: &BTreeMap<String, Endpoint>) {
    for (name, endpoint) in endpoints.iter().filter(|(_, one)| one.load_balancer && one.address.is_none()) {
        let message = format!(
            "{name} is a LoadBalancer and waits for an address: cargo xtask tunnel --profile {}",
            ctx.config.profile
        );
        ctx.ui.say(&match live::url(&ctx.config, name, endpoint) {
            Some(url) => format!("{message}; meanwhile it answers at {url}"),
            None => message,
        });
    }
    if deployed.iter().all(|deployed| !deployed.changed) {
        let name = |one: &Deployed| match one.revision {
            // Of what helm did not deploy there is none.
            0 => one.scope.release.clone(),
            number => format!("{} revision {number}", one.scope.release),
        };
        let names: Vec<String> = deployed.iter().map(name).collect();
        ctx.ui.say(&format!("nothing to deploy: {} is up to date", names.join(", ")));
    }
    let subject = ctx.config.subject();
    ctx.ui.summary(&match live::open_url(&ctx.config, endpoints) {
        Some(url) => format!("{subject} runs at {url}"),
        None => match &ctx.config.target {
            Some(target) => {
                let next = format!("cargo xtask forward {} --target {target}", ctx.config.open);
                format!("{subject} runs in namespace {} of target {target}; {next}", ctx.config.namespace)
            }
            None => format!("{subject} runs"),
        },
    });
}
