//! Gathers what the rules judge: one file for each place. All calls have deadlines, and what doesn't depend on each
//! other is asked at the same time.

mod advisories;
mod debian;
mod files;
pub mod images;
mod live;
pub mod rendered;

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context as _, Result};

use crate::rules::{Facts, Files, ImageFacts, Known, LiveFacts, Place};
use xtask::live::endpoints;
use xtask::model::image::Built;
use xtask::run::context::{Context, Project};
use xtask::run::lock;
use xtask::stages::render;
use xtask::stages::render::RenderInputs;
use xtask::stages::setup;
use xtask::stages::{build, cluster};

/// Everything about the profile; what runs only where asked for. A machine that isn't set up is an error: there would
/// be no images to look into.
pub fn gather(project: &Project, with_live: bool) -> Result<Facts<'_>> {
    let overrides = render::read_overrides(project)?;
    let (found, ready) = setup::observe(project)?;
    let mut missing = setup::missing(&found);
    if missing.is_empty() && ready.is_none() {
        missing.push("the base images are missing".to_string());
    }
    let Some(ready) = ready.filter(|_| missing.is_empty()) else {
        return Err(setup::not_set_up(&found, &missing).into());
    };
    let ctx = &ready.ctx;
    if with_live {
        cluster::need_serving(ctx)?;
    }
    // What is staged for helm and docker is the same folder for every run of the profile.
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let releases = ctx.config.wanted_releases(&overrides.secret);
    let wanted = build::references_of(ctx, &ready.images, &ctx.config.services_of(&releases))?;
    let (built, _) = build::ensure(&ready, &wanted)?;
    let mut inspects = BTreeMap::new();
    for (name, image) in &built {
        inspects.insert(name.clone(), images::inspect(ctx, image)?);
    }

    let step = ctx.ui.step("look at files and manifests");
    let (mut tags, fixed) = render::known_beforehand(&ctx.config);
    tags.extend(built.iter().map(|(name, image)| (name.clone(), image.tag.clone())));
    let mut node_ports = BTreeMap::new();
    if with_live {
        node_ports.extend(endpoints(ctx)?.into_iter().filter_map(|(name, found)| Some((name, found.node_port?))));
    }
    node_ports.extend(fixed);
    let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: "", overrides: &overrides };
    let mut gathered = BTreeMap::new();
    for release in &releases {
        gathered.insert(release.to_string(), rendered::gather(ctx, release, &known)?);
    }
    let mut files = files::gather(ctx)?;
    step.done(&format!("{} releases", gathered.len()));

    let (images, live) = thread::scope(|scope| -> Result<(BTreeMap<String, ImageFacts>, Option<LiveFacts>)> {
        let images = scope.spawn(|| {
            let step = ctx.ui.step("look into images");
            let images = look_into(ctx, &built, &inspects)?;
            step.done(&format!("{} images", images.len()));
            anyhow::Ok(images)
        });
        let live = match with_live {
            true => {
                let step = ctx.ui.step("look at the cluster");
                let live = live::gather(ctx, &gathered, &inspects);
                if let Ok(live) = &live {
                    step.done(&format!("{} objects, {} attempts", live.objects.len(), live.attempts.len()));
                }
                live.map(Some)
            }
            false => Ok(None),
        };
        let images = images.join().expect("looking into images does not panic");
        Ok((images?, live?))
    })?;

    let unseen = (!with_live).then(|| (Place::Live, "not asked for: --live".to_string())).into_iter().collect();
    let mut all = BTreeMap::new();
    for (name, one) in gathered {
        files.charts.insert(name.clone(), one.chart);
        all.insert(name, one.rendered);
    }
    let known = ask_databases(ctx, &files, &images)?;
    let (files, rendered, images) = (Some(files), Some(all), Some(images));
    Ok(Facts { config: &project.config, unseen, files, rendered, images, live, known })
}

fn ask_databases(ctx: &Context, files: &Files, images: &BTreeMap<String, ImageFacts>) -> Result<Known> {
    let mut known = advisories::gather(ctx, files.tracked.as_deref().unwrap_or_default(), images)?;
    debian::gather(ctx, images, &mut known);
    Ok(known)
}

/// Images one beside another: most of the time goes by waiting for docker.
fn look_into(
    ctx: &Context,
    built: &BTreeMap<String, Built>,
    inspects: &BTreeMap<String, serde_json::Value>,
) -> Result<BTreeMap<String, ImageFacts>> {
    thread::scope(|scope| {
        let each: Vec<_> = built
            .iter()
            .map(|(name, image)| (name, scope.spawn(move || images::gather(ctx, name, image, &inspects[name]))))
            .collect();
        each.into_iter()
            .map(|(name, looked)| {
                let facts = looked.join().expect("looking into an image does not panic");
                Ok((name.clone(), facts.with_context(|| format!("the image of {name} cannot be looked into"))?))
            })
            .collect()
    })
}
