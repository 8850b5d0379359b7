//! Brings images into a target's registry, and pins each by the digest that the registry has for it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::config::{Config, Delivery};
use crate::live;
use crate::live::service::own;
use crate::model::image::Built;
use crate::model::states::DeploymentState;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::graph::in_parallel;
use crate::stages::build;
use crate::stages::setup::Ready;
use crate::tools;

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
    let found = in_parallel(&services, |service| -> Result<Option<(String, Built)>> {
        let reference = format!("{registry}/{}", wanted[*service]);
        match ctx.spawn.attempt(tools::registry::digest(&reference))? {
            Ok(Some(digest)) => Ok(Some((service.to_string(), pinned(&reference, &digest)))),
            Ok(None) => Ok(None),
            Err(output) if is_absent(&output.tail) => Ok(None),
            Err(output) => Err(refusal(registry, &output.tail).into()),
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
    let (built, _) = build::ensure(ready, &missing)?;
    for (service, image) in &built {
        images.insert(service.clone(), push(ctx, registry, service, image)?);
    }
    for (service, image) in &images {
        let message = format!("{registry} has {} as {}", image.repository, image.id);
        ctx.ui.validated(service, DeploymentState::Loading, &message);
    }
    Ok(images)
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

fn push(ctx: &Context, registry: &str, service: &str, image: &Built) -> Result<Built> {
    ctx.ui.state(service, DeploymentState::Loading);
    let step = ctx.ui.step(format!("push {}", image.repository));
    let reference = format!("{registry}/{}", image.reference());
    ctx.run(tools::registry::tag(&image.reference(), &reference))?;
    let pushed = ctx.spawn.attempt(tools::registry::push(&reference).within(ctx.config.deadlines.load));
    // The name was for the push alone; that it is gone already is no failure.
    let _ = ctx.uninterrupted().output(tools::registry::untag(&reference));
    match pushed? {
        Ok(Some(digest)) => {
            step.done(&format!("{reference} as {}", &digest[..19]));
            Ok(pinned(&reference, &digest))
        }
        Ok(None) => Err(Stop::failed(format!("docker pushed {reference} and named no digest")).into()),
        Err(output) => Err(refusal(registry, &output.tail).into()),
    }
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

/// The error for a registry that took or gave nothing, by what docker printed.
pub fn refusal(registry: &str, printed: &str) -> Stop {
    let said = printed.lines().last().unwrap_or_default();
    let host = registry.split('/').next().unwrap_or(registry);
    let lower = printed.to_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (what, next) = if about(&["no basic auth", "unauthorized", "authentication required", "denied"]) {
        ("refuses the credentials that docker has for it", format!("docker login {host}"))
    } else if about(&["x509", "certificate"]) {
        ("can't prove who it is", format!("have docker trust its authority: /etc/docker/certs.d/{host}/ca.crt"))
    } else if about(&["no space", "insufficient", "quota", "507"]) {
        ("has no room left", "have it cleaned up, then run the same command again".to_string())
    } else if about(&["read-only", "readonly", "unsupported", "405"]) {
        ("takes no images: it is read-only", "run the same command once it takes them again".to_string())
    } else {
        ("does not take or give the images", "run the same command again; what it has of them stays".to_string())
    };
    Stop::failed(format!("the registry {registry} {what}: {said}\nNext: {next}"))
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
            ("denied: requested access to the resource is denied", "Next: docker login a.b:5000"),
            ("tls: failed to verify certificate: x509: unknown", "/etc/docker/certs.d/a.b:5000/ca.crt"),
            ("write /var/lib: no space left on device", "Next: have it cleaned up"),
            ("unsupported: The operation is unsupported.", "once it takes them again"),
            ("dial tcp: connection refused", "Next: run the same command again"),
        ] {
            let text = refusal("a.b:5000/todo", tail).to_string();
            assert!(text.contains(next) && text.contains(tail), "{text}");
        }
        assert!(is_absent("no such manifest: a.b:5000/todo/web:1") && !is_absent("connection refused"));
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
