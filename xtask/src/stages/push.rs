//! Brings images into a target's registry, and pins each by the digest that the registry has for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::config::{Builder, Config, Delivery};
use crate::live;
use crate::live::service::own;
use crate::model::image::Built;
use crate::model::states::DeploymentState;
use crate::run::context::Context;
use crate::run::exit::{Stop, exit_code};
use crate::run::graph::in_parallel;
use crate::run::process::{Output, Spawn};
use crate::run::ui::Step;
use crate::secrets::pull;
use crate::stages::setup::Ready;
use crate::stages::{build, elsewhere};
use crate::tools;
use crate::tools::registry::{Progress, Refusal, authority_file, host};

/// How often a push says how far it is: docker is silent while a large layer is on its way.
const TICK: Duration = Duration::from_secs(5);

/// The registry that the chosen target takes images from; None where it takes none.
pub fn registry(config: &Config) -> Option<&str> {
    match &config.remote()?.1.delivery {
        Delivery::Push { registry, .. } => Some(registry),
        Delivery::Load => None,
    }
}

/// The images of `wanted`, a reference for each service, that the registry has. The tag is that of the content: whoever
/// pushed it, it is the same.
pub fn observe(ctx: &Context, registry: &str, wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, Built>> {
    let _glance = ctx.ui.glance(&format!("ask {registry} for the images"));
    let services: Vec<&String> = wanted.keys().collect();
    let spawn = asking(ctx, registry)?;
    let found = in_parallel(&services, |service| -> Result<Option<(String, Built)>> {
        let reference = format!("{registry}/{}", wanted[*service]);
        match ask_for(ctx, &spawn, &reference)? {
            Ok(Some(digest)) => Ok(Some((service.to_string(), pinned(&reference, &digest)))),
            Ok(None) => Ok(None),
            Err(output) if is_absent(&output.tail) => Ok(None),
            Err(output) => {
                elsewhere::builder(&ctx.config).map_or(Ok(()), |builder| elsewhere::need(ctx, builder))?;
                Err(refusal(&format!("cannot ask for the image of {service}"), registry, &output.tail).into())
            }
        }
    });
    Ok(found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Builds and pushes the images of `wanted` that the registry lacks. Returns all of them by the service's name, each with
/// its digest.
pub fn ensure(ready: &Ready, registry: &str, wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, Built>> {
    let ctx = &ready.ctx;
    let mut images = observe(ctx, registry, wanted)?;
    let missing: BTreeMap<String, String> =
        wanted.iter().filter(|(name, _)| !images.contains_key(*name)).map(|(a, b)| (a.clone(), b.clone())).collect();
    let pushed = match elsewhere::builder(&ctx.config) {
        Some(builder) => build_elsewhere(ready, registry, builder, &missing)?,
        None => push_built(ready, registry, &missing)?,
    };
    images.extend(pushed);
    for (service, image) in &images {
        let message = format!("{registry} has {} as {}", image.repository, image.id);
        ctx.ui.validated(service, DeploymentState::Loading, &message);
    }
    Ok(images)
}

/// Why an image is pushed that `observe` did not find.
pub fn why(config: &Config, registry: &str) -> String {
    match elsewhere::builder(config) {
        Some(builder) => format!("{registry} lacks it: {} makes it", elsewhere::describe(builder)),
        None => format!("{registry} lacks it"),
    }
}

/// Reads back from the pods of every service which digest they run.
pub fn verify(ctx: &Context, images: &BTreeMap<String, Built>) -> Result<()> {
    for scope in ctx.scopes() {
        let pods = live::pods(ctx, &scope)?;
        for (service, image) in images {
            let of_service = |pod: &&Value| {
                let labels = &pod["metadata"]["labels"];
                labels["app.kubernetes.io/name"] == service.as_str()
                    && labels["app.kubernetes.io/component"] != "test"
                    && !pod["metadata"]["deletionTimestamp"].is_string()
            };
            let others = pods.iter().filter(of_service).filter_map(|pod| runs_another(pod, service, &image.id));
            if let Some((pod, id)) = others.into_iter().next() {
                let message = format!("pod {pod} runs {id}, and {} is what was deployed", image.id);
                return Err(Stop::failed(format!("{message}\nNext: cargo xtask status")).into());
            }
        }
    }
    for (service, image) in images {
        ctx.ui.validated(service, DeploymentState::Ready, &format!("its pods run {}", image.id));
    }
    Ok(())
}

/// A pod whose own container runs another digest: its name, and what it runs.
fn runs_another(pod: &Value, service: &str, digest: &str) -> Option<(String, String)> {
    let status = own(&pod["status"]["containerStatuses"], service)?;
    let id = status["imageID"].as_str().filter(|id| !id.is_empty())?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    (!id.ends_with(digest)).then(|| (name.to_string(), id.to_string()))
}

/// The digest that the registry has for an image; an error is what docker printed where it has none.
fn ask_for(ctx: &Context, spawn: &Spawn, reference: &str) -> Result<Result<Option<String>, Output>> {
    match elsewhere::builder(&ctx.config) {
        Some(builder) => elsewhere::ask(spawn, builder, reference),
        None => spawn.attempt(tools::registry::digest(reference)),
    }
}

/// What asks a registry for its images.
fn asking(ctx: &Context, registry: &str) -> Result<Spawn> {
    match elsewhere::builder(&ctx.config) {
        Some(_) => elsewhere::trusting(ctx, registry),
        None => Ok(ctx.spawn.clone()),
    }
}

/// Builds here what docker lacks of these images, and pushes all of them.
fn push_built(ready: &Ready, registry: &str, missing: &BTreeMap<String, String>) -> Result<BTreeMap<String, Built>> {
    let ctx = &ready.ctx;
    let (built, _) = build::ensure(ready, missing)?;
    let push = |(service, image): (&String, &Built)| {
        ctx.ui.state(service, DeploymentState::Loading);
        let reference = format!("{registry}/{}", image.reference());
        Ok((service.clone(), push(ctx, registry, &format!("the image of {service}"), &image.reference(), &reference)?))
    };
    built.iter().map(push).collect()
}

/// Has a builder make these images and push them, after the base images that they are made of.
fn build_elsewhere(
    ready: &Ready,
    registry: &str,
    builder: &Builder,
    missing: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Built>> {
    let ctx = &ready.ctx;
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    elsewhere::need(ctx, builder)?;
    let (bases, spawn) = (push_bases(ready, registry, missing)?, asking(ctx, registry)?);
    let build = |(service, image): (&String, &String)| -> Result<(String, Built)> {
        let step = ctx.ui.step(format!("build and push {service}"));
        let reference = format!("{registry}/{image}");
        let what = format!("cannot push the image of {service}, {image}");
        if let Err(printed) = elsewhere::build(ctx, &ready.images, &bases, builder, service, &reference, &step)? {
            return Err(refusal(&what, registry, &printed).into());
        }
        let by = elsewhere::describe(builder);
        match ask_for(ctx, &spawn, &reference)? {
            Ok(Some(digest)) => {
                step.done(&format!("{reference} as {}, by {by}", &digest[..19]));
                Ok((service.clone(), pinned(&reference, &digest)))
            }
            Ok(None) => Err(Stop::failed(format!("{what}: {registry} does not have what {by} pushed")).into()),
            Err(output) => Err(refusal(&what, registry, &output.tail).into()),
        }
    };
    missing.iter().map(build).collect()
}

/// Pushes the base images made here that the registry lacks: a builder has none of them. Returns what each is called there.
fn push_bases(ready: &Ready, registry: &str, missing: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let ctx = &ready.ctx;
    let base = |service: &String| build::base_argument(&ready.images, ctx.config.services[service].base);
    let bases: BTreeSet<&str> = missing.keys().filter_map(base).map(|(_, image)| image).collect();
    let push = |local: &str| {
        let reference = format!("{registry}/base-{}", local.rsplit('/').next().unwrap_or(local));
        let there = match ctx.spawn.attempt(tools::registry::digest(&reference))? {
            Ok(Some(digest)) => pinned(&reference, &digest),
            _ => push(ctx, registry, "the base image", local, &reference)?,
        };
        Ok((local.to_string(), there.reference()))
    };
    bases.into_iter().map(push).collect()
}

/// Pushes a local image under the name that it gets in the registry. `what` is what a person calls it.
fn push(ctx: &Context, registry: &str, what: &str, local: &str, reference: &str) -> Result<Built> {
    let image = reference.strip_prefix(registry).unwrap_or(reference).trim_start_matches('/');
    let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
    let step = ctx.ui.step(format!("push {repository}"));
    ctx.run(tools::registry::tag(local, reference))?;
    let (progress, deadline) = (Mutex::default(), ctx.config.deadlines.load);
    let pushed = send(ctx, reference, &step, &progress);
    // The name was for the push alone; that it is gone already is no failure.
    let _ = ctx.uninterrupted().output(tools::registry::untag(reference));
    let what = format!("cannot push {what}, {local}");
    match pushed {
        Ok(Ok(Some(digest))) => {
            step.done(&format!("{reference} as {}", &digest[..19]));
            Ok(pinned(reference, &digest))
        }
        Ok(Ok(None)) => Err(Stop::failed(format!("docker pushed {reference} and named no digest")).into()),
        Ok(Err(output)) => {
            let is_broken = tools::registry::refusal(&output.tail) == Refusal::Broken;
            let answer = if is_broken { ask(ctx, registry, repository).unwrap_or_default() } else { String::new() };
            Err(refusal(&what, registry, &format!("{answer}\n{}", output.tail)).into())
        }
        Err(error) if exit_code(&error) == 4 => {
            let progress = progress.into_inner().unwrap();
            Err(too_slow(&what, registry, deadline, progress.text()).into())
        }
        Err(error) => Err(error),
    }
}

/// Has docker push an image, and says how far that is.
fn send(
    ctx: &Context,
    reference: &str,
    step: &Step,
    progress: &Mutex<Progress>,
) -> Result<Result<Option<String>, Output>> {
    let show = || {
        if let Some(text) = progress.lock().unwrap().text() {
            step.update(&text);
        }
    };
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ticking = scope.spawn(|| {
            loop {
                std::thread::park_timeout(TICK);
                if has_ended.load(Ordering::Relaxed) {
                    break;
                }
                show();
            }
        });
        let call = tools::registry::push(reference).within(ctx.config.deadlines.load);
        let pushed = ctx.spawn.attempt_showing(call, &|line| {
            progress.lock().unwrap().read(line);
            show();
        });
        has_ended.store(true, Ordering::Relaxed);
        ticking.thread().unpark();
        pushed
    })
}

/// What a registry that failed says of it, which docker does not show; None where it does not say that either.
fn ask(ctx: &Context, registry: &str, image: &str) -> Option<String> {
    let auth = pull::credentials(ctx, host(registry)).ok()?;
    let call = tools::registry::ask_for_upload(registry, image, auth.as_deref(), pull::authority(registry).as_deref());
    ctx.spawn.attempt(call).ok()?.ok()
}

/// The error for a push that its deadline ended. A layer that was on its way begins anew.
fn too_slow(what: &str, registry: &str, deadline: Duration, progress: Option<String>) -> Stop {
    let pushed = progress.unwrap_or_else(|| "no layer was named".to_string());
    let seconds = deadline.as_secs();
    Stop::deadline(format!(
        "{what}: it did not end within {seconds} s, its deadline: {pushed} to {registry}\n\
         Next: raise deadlines.load_s in xtask.toml, then run the same command again: layers that are pushed stay"
    ))
}

/// An image by its tag, which a person reads, and its digest, which counts.
fn pinned(reference: &str, digest: &str) -> Built {
    let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
    Built { repository: repository.to_string(), tag: format!("{tag}@{digest}"), id: digest.to_string() }
}

/// Whether a registry said that it has no such image.
fn is_absent(printed: &str) -> bool {
    ["no such manifest", "manifest unknown", "name unknown", "not found"].iter().any(|said| printed.contains(said))
}

/// The error for a registry that took or gave nothing, by what docker or helm printed. `what` could not be done.
pub fn refusal(what: &str, registry: &str, printed: &str) -> Stop {
    let said = printed.lines().last().unwrap_or_default();
    let host = host(registry);
    let (why, next) = match tools::registry::refusal(printed) {
        Refusal::Full => ("has no room left", "have it cleaned up, then run the same command again".to_string()),
        Refusal::Credentials => ("refuses the credentials that docker has for it", format!("docker login {host}")),
        Refusal::Certificate => {
            let next = format!("have docker trust its authority: {}", authority_file(host));
            ("can't prove who it is", next)
        }
        Refusal::ReadOnly => {
            let next = "run the same command once it takes them again".to_string();
            ("takes no images: it is read-only", next)
        }
        Refusal::Broken => {
            let next = "look at its disk and at its log, then run the same command again; what it has stays";
            ("fails, and does not say why", next.to_string())
        }
        Refusal::Other => {
            let next = "run the same command again; what it has of them stays".to_string();
            ("does not take or give the images", next)
        }
    };
    Stop::failed(format!("{what}: the registry {registry} {why}: {said}\nNext: {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_is_pinned_by_its_digest_behind_its_tag() {
        let image = pinned("a.b:5000/todo/web:0.1.0-h1", "sha256:12");
        assert_eq!(image.reference(), "a.b:5000/todo/web:0.1.0-h1@sha256:12");
        assert_eq!((image.repository.as_str(), image.id.as_str()), ("a.b:5000/todo/web", "sha256:12"));
    }

    #[test]
    fn a_refusal_says_what_to_do_about_it() {
        for (tail, next) in [
            ("no basic auth credentials", "Next: docker login a.b:5000"),
            ("tls: failed to verify certificate: x509: unknown", "/etc/docker/certs.d/a.b:5000/ca.crt"),
            ("write /var/lib: no space left on device", "Next: have it cleaned up"),
            ("unsupported: The operation is unsupported.", "once it takes them again"),
            ("received unexpected HTTP status: 500 Internal Server Error", "Next: look at its disk"),
            ("dial tcp: connection refused", "Next: run the same command again"),
        ] {
            let text = refusal("cannot push the image of web, web:1", "a.b:5000/todo", tail).to_string();
            assert!(
                text.contains(next) && text.contains(tail) && text.contains("of web, web:1: the registry"),
                "{text}"
            );
        }
        assert!(is_absent("no such manifest: a.b:5000/todo/web:1") && !is_absent("connection refused"));
    }

    #[test]
    fn a_slow_push_says_how_far_it_came() {
        let stop =
            too_slow("cannot push web:1", "a.b/todo", Duration::from_secs(9), Some("1 of 3 layers pushed".into()));
        let text = stop.to_string();
        assert!(text.contains("within 9 s, its deadline: 1 of 3 layers pushed to a.b/todo\nNext: raise"), "{text}");
        assert_eq!(exit_code(&stop.into()), 4);
    }

    #[test]
    fn a_pod_that_runs_another_digest_is_found() {
        let pod = |id: &str| json!({"metadata": {"name": "web-1"}, "status": {"containerStatuses": [{"name": "web", "imageID": id}]}});
        assert_eq!(runs_another(&pod("a.b/web@sha256:12"), "web", "sha256:12"), None);
        // A container that does not run yet has none.
        assert_eq!(runs_another(&pod(""), "web", "sha256:12"), None);
        let other = runs_another(&pod("a.b/web@sha256:13"), "web", "sha256:12").unwrap();
        assert_eq!(other, ("web-1".to_string(), "a.b/web@sha256:13".to_string()));
    }
}
