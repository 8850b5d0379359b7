//! `up`: everything from a bare machine to a checked application.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::live::{self, Endpoint};
use crate::model::image::Built;
use crate::run::context::{Context, Project};
use crate::run::graph::in_parallel;
use crate::run::lock;
use crate::secrets::overrides::Overrides;
use crate::secrets::store;
use crate::stages::deploy::{Deployed, Plan};
use crate::stages::render;
use crate::stages::render::RenderInputs;
use crate::stages::setup::Ready;
use crate::stages::{apply, build, cluster, deploy, load, namespace, setup};

/// Each stage observes for itself what is left to do, so that an interrupted run needs nothing but another one.
pub fn run(project: &Project, no_rollback: bool) -> Result<()> {
    let overrides = render::read_overrides(project)?;
    let releases = project.config.wanted_releases(&overrides.secret);
    let ready = setup::set_up(project, None)?;
    let ctx = &ready.ctx;
    let _lock = lock::hold(ctx, &ctx.config.namespace)?;
    let built = build_beside_cluster(&ready, &releases)?;
    let services = load_images(ctx, &built)?;
    let versions = ensure_secrets(ctx, &releases, &overrides)?;
    let plans = plan_releases(ctx, &releases, &built, &services, &versions, &overrides)?;
    let (deployed, endpoints) = apply::carry_out(ctx, &plans, Some(services), no_rollback)?;
    report(ctx, &deployed, &endpoints);
    Ok(())
}

/// Images need docker alone, and a first build takes minutes: the cluster comes up beside it.
fn build_beside_cluster(ready: &Ready, releases: &[&str]) -> Result<BTreeMap<String, Built>> {
    let ctx = &ready.ctx;
    // What is wrong with the inputs is an error before a cluster is made.
    let wanted = build::references_of(ctx, &ready.images, &ctx.config.services_of(releases))?;
    let (built, made) = std::thread::scope(|scope| {
        let made = scope.spawn(|| cluster::bring_up(ready));
        let built = build::ensure(ctx, &ready.images, &wanted);
        (built, made.join().expect("making the cluster does not panic"))
    });
    if let (Err(_), Err(error)) = (&made, &built) {
        ctx.ui.error(&format!("{error:#}"));
    }
    made?;
    built
}

/// Loads the images into every node. Returns the Services of all namespaces, which are read meanwhile.
fn load_images(ctx: &Context, built: &BTreeMap<String, Built>) -> Result<Vec<Value>> {
    let (loaded, services) = std::thread::scope(|scope| {
        let services = scope.spawn(|| live::services(ctx));
        let loaded = cluster::nodes(ctx).and_then(|nodes| load::ensure(ctx, &nodes, built));
        (loaded, services.join().expect("looking at Services does not panic"))
    });
    loaded?;
    services
}

/// Makes what is missing of namespaces and Secrets. Returns the version of each Secret.
fn ensure_secrets(ctx: &Context, releases: &[&str], overrides: &Overrides) -> Result<BTreeMap<String, String>> {
    let namespaces = ctx.config.namespaces_of(releases);
    // Where all is as it should be, one look at both is enough.
    let (settled, secrets) = std::thread::scope(|scope| {
        let secrets = scope.spawn(|| store::observe(ctx, &namespaces, &overrides.secret));
        let settled = in_parallel(&namespaces, |name| namespace::is_settled(ctx, name));
        (settled, secrets.join().expect("looking at Secrets does not panic"))
    });
    let is_settled = settled.into_iter().collect::<Result<Vec<bool>>>()?.into_iter().all(|settled| settled);
    match secrets {
        Ok(secrets) if is_settled && secrets.steps.is_empty() => Ok(secrets.versions),
        _ => {
            let ensured = in_parallel(&namespaces, |name| namespace::ensure(ctx, name));
            ensured.into_iter().collect::<Result<()>>()?;
            store::ensure(ctx, &namespaces, &overrides.secret)
        }
    }
}

/// Renders each release and compares it with what is live.
fn plan_releases(
    ctx: &Context,
    releases: &[&str],
    built: &BTreeMap<String, Built>,
    services: &[Value],
    versions: &BTreeMap<String, String>,
    overrides: &Overrides,
) -> Result<Vec<Plan>> {
    let node_ports = deploy::node_ports(ctx, services)?;
    let tags = built.iter().map(|(name, image)| (name.clone(), image.tag.clone())).collect();
    let plans = in_parallel(releases, |name| {
        let version = versions.get(&ctx.config.releases[*name].secret).map_or("", String::as_str);
        let inputs = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: version, overrides };
        deploy::observe(ctx, name, &inputs)
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
        ctx.ui.say(&match live::published_url(endpoint, ctx.config.cluster.node_ports) {
            Some(url) => format!("{message}; meanwhile it answers at {url}"),
            None => message,
        });
    }
    if deployed.iter().all(|deployed| !deployed.changed) {
        let revisions: Vec<String> =
            deployed.iter().map(|one| format!("{} revision {}", one.scope.release, one.revision)).collect();
        ctx.ui.say(&format!("nothing to deploy: {} is up to date", revisions.join(", ")));
    }
    let subject = ctx.config.subject();
    ctx.ui.summary(&match live::open_url(ctx, endpoints) {
        Some(url) => format!("{subject} runs at {url}"),
        None => format!("{subject} runs"),
    });
}
