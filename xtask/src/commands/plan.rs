//! `plan`: what `up` would do now, each step with its reason. Changes nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use crate::model::cluster::State;
use crate::model::image::Built;
use crate::model::plan;
use crate::model::plan::{AFTER_BUILD, AFTER_CLUSTER, AFTER_SECRET, Step, Verb, why_deploy_by_status};
use crate::run::context::{Context, Project};
use crate::run::graph::in_parallel;
use crate::run::lock;
use crate::secrets::overrides::Overrides;
use crate::secrets::store;
use crate::stages::build::Observed;
use crate::stages::render;
use crate::stages::render::RenderInputs;
use crate::stages::setup;
use crate::stages::setup::Ready;
use crate::stages::{addons, build, cluster, deploy, elsewhere, lease, load, namespace, push};

/// Prints the steps in the order in which `up` takes them. What only an earlier step can tell is said to be known after
/// it: `up` observes again before each stage.
pub fn run(project: &Project) -> Result<()> {
    let overrides = render::read_overrides(project)?;
    let (found, ready) = setup::observe(project)?;
    let Some(ready) = ready else {
        let mut missing = setup::missing(&found);
        if missing.is_empty() {
            missing.push("the base images are missing".to_string());
        }
        return Err(setup::not_set_up(&found, &missing).into());
    };
    lock::report_holder(project, &project.config.place());
    let (own, _staging) = ready.ctx.with_own_staging();
    let ctx = &Context::new(&own, ready.ctx.tools.clone());
    lease::report_holder(ctx)?;
    let steps = observe(ctx, &ready, &overrides)?;
    let width = |part: fn(&Step) -> &str| steps.iter().map(|step| part(step).chars().count()).max().unwrap_or(0);
    let (verbs, subjects) = (width(|step| step.verb.word()), width(|step| &step.subject));
    let mut lines: Vec<String> = steps
        .iter()
        .map(|step| format!("  {:verbs$}  {:subjects$}  {}", step.verb.word(), step.subject, step.why))
        .collect();
    lines.push(match steps.len() {
        0 => "nothing to do: everything is up to date".to_string(),
        1 => "1 step, then the smoke checks; nothing was changed".to_string(),
        count => format!("{count} steps, then the smoke checks; nothing was changed"),
    });
    let describe = |step: &Step| json!({ "verb": step.verb.word(), "subject": step.subject, "why": step.why });
    ctx.ui.answer(&lines.join("\n"), json!({ "steps": steps.iter().map(describe).collect::<Vec<_>>() }));
    Ok(())
}

/// What the nodes lack, addons' images aside, which are loaded as they are enabled.
fn loads(ctx: &Context, ready: &Ready, images: &Observed, services: &[&str]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if ctx.config.target.is_none() {
        let absent = addons::absent(ctx, &ready.addons)?;
        steps.extend(absent.iter().map(|addon| Step::new(Verb::Make, &format!("addon {addon}"), "it does not serve")));
    }
    let built: BTreeMap<String, Built> = images
        .wanted
        .iter()
        .filter_map(|(name, image)| Some((name.clone(), build::find(image, &images.host)?)))
        .collect();
    let nodes = load::observe(ctx, &cluster::nodes(ctx)?, &built)?;
    steps.extend(plan::loads(&built, &nodes).into_iter().map(|(_, step)| step));
    let unbuilt = services.iter().filter(|service| !built.contains_key(**service));
    steps.extend(unbuilt.map(|service| Step::new(Verb::Load, service, AFTER_BUILD)));
    Ok(steps)
}

/// What docker is to build: nothing that the registry has, and nothing where a builder does it as it pushes.
fn builds(
    ctx: &Context,
    ready: &Ready,
    images: &Observed,
    pushed: Option<&BTreeMap<String, Built>>,
) -> Result<Vec<Step>> {
    if elsewhere::builder(&ctx.config).is_some() {
        return Ok(Vec::new());
    }
    let missing = plan::builds(&images.wanted, &images.host);
    let missing = missing.into_iter().filter(|service| !pushed.is_some_and(|there| there.contains_key(*service)));
    missing.map(|service| Ok(Step::new(Verb::Build, service, build::why(ctx, &ready.images, service)?))).collect()
}

fn observe(ctx: &Context, ready: &Ready, overrides: &Overrides) -> Result<Vec<Step>> {
    let releases = ctx.config.wanted_releases(&overrides.secret);
    let services = ctx.config.services_of(&releases);
    let (state, seen) = cluster::look(ctx)?;
    let mut steps: Vec<Step> = plan::cluster(&ctx.config.cluster.name, &state).into_iter().collect();
    let images = build::observe(ctx, &ready.images, &services)?;
    let pushed = match push::registry(&ctx.config) {
        Some(registry) => Some((registry, push::observe(ctx, registry, &images.wanted)?)),
        None => None,
    };
    steps.extend(builds(ctx, ready, &images, pushed.as_ref().map(|(_, there)| there))?);
    let Some(seen) = seen else {
        let then = if state == State::Absent { "there is no node yet" } else { AFTER_CLUSTER };
        steps.extend(services.iter().map(|service| Step::new(Verb::Load, service, then)));
        let then = if state == State::Absent { "not installed yet" } else { AFTER_CLUSTER };
        let releases = ctx.config.release_waves().into_iter().flatten().filter(|name| releases.contains(name));
        steps.extend(releases.map(|release| Step::new(Verb::Deploy, release, then)));
        return Ok(steps);
    };
    match &pushed {
        Some((registry, there)) => {
            let missing = services.iter().filter(|service| !there.contains_key(**service));
            steps.extend(missing.map(|service| Step::new(Verb::Push, service, push::why(&ctx.config, registry))));
        }
        None => steps.extend(loads(ctx, ready, &images, &services)?),
    }
    let namespaces = ctx.config.namespaces_of(&releases);
    for name in &namespaces {
        if seen.namespace(name).is_none() {
            steps.push(Step::new(Verb::Make, &format!("namespace {name}"), "there is none"));
        }
    }
    namespace::refuse_others(ctx)?;
    let secrets = store::observe(ctx, &seen, &namespaces, &overrides.secret)?;
    steps.extend(secrets.steps.iter().cloned());
    let node_ports = deploy::node_ports(ctx, &seen.services())?;
    let tag = |reference: &String| reference.rsplit(':').next().unwrap_or_default().to_string();
    let pinned = |name: &str| Some(pushed.as_ref()?.1.get(name)?.tag.clone());
    let wanted = images.wanted.iter();
    let tags = wanted.map(|(name, image)| (name.clone(), pinned(name).unwrap_or_else(|| tag(image)))).collect();
    let in_order = ctx.config.release_waves().into_iter().flatten().filter(|name| releases.contains(name));
    let compared = in_parallel(&in_order.collect::<Vec<_>>(), |release| {
        let secret = &ctx.config.releases[*release].secret;
        let version = secrets.versions.get(secret).map_or("", String::as_str);
        if version.is_empty() && !secret.is_empty() {
            let last = seen.release(&ctx.scope(release))?;
            let why = why_deploy_by_status(last.as_ref().map(|last| last.info.status.as_str()));
            return Ok(Some(Step::new(Verb::Deploy, release, why.unwrap_or_else(|| AFTER_SECRET.to_string()))));
        }
        let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: version, overrides };
        let why = deploy::observe(ctx, &seen, release, &known)?.why;
        Ok(why.map(|why| Step::new(Verb::Deploy, release, why)))
    });
    steps.extend(compared.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten());
    Ok(steps)
}
