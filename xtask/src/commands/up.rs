//! `up`: everything from a bare machine to a checked application.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::live;
use crate::model::image::Built;
use crate::run::context::Context;
use crate::run::graph::in_parallel;
use crate::run::lock;
use crate::secrets::overrides::Overrides;
use crate::secrets::{overrides, store};
use crate::stages::deploy::Plan;
use crate::stages::render::Known;
use crate::stages::{apply, build, cluster, deploy, load, namespace, setup};
use crate::tools::Paths;

/// Bootstrap, cluster, build, load, deploy, verify, smoke. Each stage observes for itself what is left to do, so that an
/// interrupted run needs nothing but another one.
pub fn run(ctx: &Context, no_rollback: bool) -> Result<()> {
    let overrides = overrides::read(ctx)?;
    let ready = setup::set_up(ctx, None)?;
    let _lock = lock::hold(ctx, &ctx.config.namespace)?;
    let tools = &ready.tools;
    let releases = ctx.config.wanted_releases(&overrides.secret);
    let services = ctx.config.services_of(&releases);
    // Images need docker alone, and a first build takes minutes: the cluster comes up beside it.
    let (built, made) = std::thread::scope(|scope| {
        let made = scope.spawn(|| cluster::bring_up(ctx, &ready));
        let built = build::ensure(ctx, tools, &ready.images, &services);
        (built, made.join().expect("making the cluster does not panic"))
    });
    if let (Err(_), Err(error)) = (&made, &built) {
        ctx.ui.error(&format!("{error:#}"));
    }
    made?;
    let built = built?;
    let url = install(ctx, tools, &releases, &built, &overrides, no_rollback)?;
    let subject = ctx.config.subject();
    ctx.ui.summary(&match url {
        Some(url) => format!("{subject} runs at {url}"),
        None => format!("{subject} runs"),
    });
    Ok(())
}

fn install(
    ctx: &Context,
    tools: &Paths,
    releases: &[&str],
    built: &BTreeMap<String, Built>,
    overrides: &Overrides,
    no_rollback: bool,
) -> Result<Option<String>> {
    let namespaces = ctx.config.namespaces_of(releases);
    let (loaded, services) = std::thread::scope(|scope| {
        let services = scope.spawn(|| live::services(ctx, tools));
        let loaded = cluster::nodes(ctx, tools).and_then(|nodes| load::ensure(ctx, tools, &nodes, built));
        (loaded, services.join().expect("looking at Services does not panic"))
    });
    loaded?;
    let services = services?;
    let node_ports = deploy::node_ports(ctx, &services)?;
    // Where all is as it should be, one look at both is enough.
    let (settled, secrets) = std::thread::scope(|scope| {
        let secrets = scope.spawn(|| store::observe(ctx, tools, &namespaces, &overrides.secret));
        let settled = in_parallel(&namespaces, |name| namespace::is_settled(ctx, tools, name));
        (settled, secrets.join().expect("looking at Secrets does not panic"))
    });
    let is_settled = settled.into_iter().collect::<Result<Vec<bool>>>()?.into_iter().all(|settled| settled);
    let versions = match secrets {
        Ok(secrets) if is_settled && secrets.steps.is_empty() => secrets.versions,
        _ => {
            let ensured = in_parallel(&namespaces, |name| namespace::ensure(ctx, tools, name));
            ensured.into_iter().collect::<Result<()>>()?;
            store::ensure(ctx, tools, &namespaces, &overrides.secret)?
        }
    };
    let tags = built.iter().map(|(name, image)| (name.clone(), image.tag.clone())).collect();
    let plans = in_parallel(releases, |name| {
        let version = versions.get(&ctx.config.releases[*name].secret).map_or("", String::as_str);
        let known = Known { tags: &tags, node_ports: &node_ports, secret_version: version, overrides };
        deploy::observe(ctx, tools, name, &known)
    });
    let plans = plans.into_iter().collect::<Result<Vec<Plan>>>()?;
    let (deployed, endpoints) = apply::carry_out(ctx, tools, &plans, Some(services), no_rollback)?;
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
        ctx.ui.say(&format!("nothing to deploy: {} is what is wanted and what runs", revisions.join(", ")));
    }
    Ok(live::open_url(ctx, &endpoints))
}
