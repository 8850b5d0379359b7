//! Builds the images whose content has no image yet. What goes in decides the tag, and only that reaches the build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

use crate::config::{Base, Service};
use crate::model::image::{Built, Images};
use crate::model::plan;
use crate::model::plan::Inputs;
use crate::model::states::DeploymentState;
use crate::run::call::Call;
use crate::run::context::{Context, Project, proxies};
use crate::run::digest::Content;
use crate::run::exit::{Stop, indent};
use crate::run::files::{copy_afresh, list_files};
use crate::run::ui::Step;
use crate::stages::setup::Ready;
use crate::tools::docker;
use crate::tools::docker::Build;

/// What the services' images are to be, and what there is.
pub struct Observed {
    /// Service to the reference that its content has.
    pub wanted: BTreeMap<String, String>,
    /// The host's images, reference to ID.
    pub host: BTreeMap<String, String>,
}

pub fn observe(ctx: &Context, images: &Images, services: &[&str]) -> Result<Observed> {
    Ok(Observed { wanted: references_of(ctx, images, services)?, host: list(ctx)? })
}

/// The references that the images of services have by their content, by the service's name. Reads their inputs alone.
pub fn references_of(project: &Project, images: &Images, services: &[&str]) -> Result<BTreeMap<String, String>> {
    let reference = |name: &&str| {
        let service = &project.config.services[*name];
        Ok((name.to_string(), format!("{}:{}", service.image, tag(project, service, images)?)))
    };
    services.iter().map(reference).collect()
}

/// Builds the images of `wanted`, a reference for each service, that docker does not have. Returns all of them by the
/// service's name, and whether any was built.
pub fn ensure(ready: &Ready, wanted: &BTreeMap<String, String>) -> Result<(BTreeMap<String, Built>, bool)> {
    let ctx = &ready.ctx;
    let mut host = ready.host.clone();
    // A run for which this one waited may have built it meanwhile.
    if !plan::builds(wanted, &host).is_empty() {
        host = list(ctx)?;
    }
    let missing = plan::builds(wanted, &host);
    for name in &missing {
        build(ctx, &ready.images, name, &wanted[*name])?;
    }
    let is_new = !missing.is_empty();
    if is_new {
        host = list(ctx)?;
    }
    let mut built = BTreeMap::new();
    for (name, reference) in wanted {
        let image = find(reference, &host).with_context(|| format!("docker built {reference} and does not list it"))?;
        ctx.ui.validated(name, DeploymentState::Building, &format!("docker has {reference} as {}", image.id));
        built.insert(name.clone(), image);
    }
    Ok((built, is_new))
}

/// Where a service's inputs are copied to for its build.
pub fn context(ctx: &Context, service: &str) -> PathBuf {
    ctx.staging(&format!("context-{service}"))
}

/// The references that the images of all services have, or would have; nothing is asked of docker.
pub fn references(project: &Project, images: &Images) -> Result<Vec<String>> {
    let services = project.config.services.values();
    services.map(|service| Ok(format!("{}:{}", service.image, tag(project, service, images)?))).collect()
}

/// An image among the host's.
pub fn find(reference: &str, host: &BTreeMap<String, String>) -> Option<Built> {
    let (repository, tag) = reference.rsplit_once(':')?;
    Some(Built { repository: repository.to_string(), tag: tag.to_string(), id: host.get(reference)?.clone() })
}

/// Why a service's image has to be built: what of its content is other than in the last image of it.
pub fn why(ctx: &Context, images: &Images, name: &str) -> Result<String> {
    let label = docker::label(&ctx.config.project);
    let before = ctx.run(docker::images_of(&label, name))?;
    let last = match before.first() {
        None => None,
        Some(newest) => {
            let label = ctx.run(docker::label_of(newest, &inputs_label(ctx)))?;
            // An image from before there was such a label tells nothing.
            serde_json::from_str(&label).ok()
        }
    };
    Ok(match (&last, before.is_empty()) {
        (None, false) => "its content changed".to_string(),
        _ => plan::why_build(&inputs(ctx, &ctx.config.services[name], images)?, last.as_ref()),
    })
}

/// The label that lists what went into an image.
fn inputs_label(ctx: &Context) -> String {
    format!("{}.inputs", ctx.config.project)
}

/// `VERSION-hDIGEST`: a valid tag and a valid semantic version.
fn tag(project: &Project, service: &Service, images: &Images) -> Result<String> {
    let interrupt = &project.spawn.interrupt;
    let mut content = Content::default()
        .files(&project.root.join(&service.context), &service.inputs, interrupt)?
        .files(&project.root, std::slice::from_ref(&service.dockerfile), interrupt)?
        .word(base_argument(images, service.base).as_ref().map_or("", |(_, image)| image));
    for (name, value) in arguments(service) {
        content = content.word(&name).word(&value);
    }
    Ok(format!("{}-h{}", project.config.version, content.short()))
}

/// The same content piece by piece, each with a digest of its own.
fn inputs(ctx: &Context, service: &Service, images: &Images) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    let mut file = |root: &Path, file: PathBuf, name: PathBuf| -> Result<()> {
        inputs
            .insert(name.display().to_string(), Content::default().files(root, &[file], &ctx.spawn.interrupt)?.short());
        Ok(())
    };
    let context = ctx.root.join(&service.context);
    for path in list_files(&context, &service.inputs)? {
        let message = service.context.join(&path);
        file(&context, path, message)?;
    }
    file(&ctx.root, service.dockerfile.clone(), service.dockerfile.clone())?;
    let base =
        base_argument(images, service.base).into_iter().map(|(name, image)| (name.to_string(), image.to_string()));
    inputs.extend(base.chain(arguments(service)).map(|(name, value)| (name, Content::default().word(&value).short())));
    Ok(inputs)
}

/// The build arguments that follow from a service's description.
pub fn arguments(service: &Service) -> Vec<(String, String)> {
    let mut arguments = vec![("PORT".to_string(), service.port.to_string())];
    if let Some(user) = &service.user {
        arguments.push(("USER_ID".to_string(), user.id.to_string()));
        arguments.push(("USER_NAME".to_string(), user.name.clone()));
    }
    arguments.extend(service.healthcheck.iter().map(|path| ("HEALTHCHECK_PATH".to_string(), path.clone())));
    arguments.extend(service.args.clone());
    arguments
}

/// All that a build of a service is given, with the version that the image is labelled with.
pub fn all_arguments(service: &Service, images: &Images, version: &str) -> Vec<(String, Option<String>)> {
    let mut all: Vec<_> = arguments(service).into_iter().map(|(name, value)| (name, Some(value))).collect();
    all.push(("VERSION".to_string(), Some(version.to_string())));
    all.extend(base_argument(images, service.base).map(|(name, image)| (name.to_string(), Some(image.to_string()))));
    all.extend(proxies());
    all
}

/// The build argument that names a local base image; None where bases come from registries.
pub fn base_argument(images: &Images, base: Base) -> Option<(&'static str, &str)> {
    match (images, base) {
        (Images::Public, _) => None,
        (Images::Local { rust, .. }, Base::Rust) => Some(("BUILDER_IMAGE", rust)),
        (Images::Local { debian, .. }, Base::Debian) => Some(("BASE_IMAGE", debian)),
    }
}

fn list(ctx: &Context) -> Result<BTreeMap<String, String>> {
    ctx.run(docker::images())
}

fn build(ctx: &Context, images: &Images, name: &str, reference: &str) -> Result<()> {
    let service = &ctx.config.services[name];
    let step = ctx.ui.step(format!("build {name}"));
    let why = why(ctx, images, name)?;
    step.update(&why);
    if let Err(lines) = carry_out(ctx, images, name, reference, &step, |build| docker::build(&build))? {
        return Err(failed(name, service, &lines).into());
    }
    let size = ctx.run(docker::size(reference))?;
    let size_mb = size as f64 / 1e6;
    if let Some(limit) = service.size_limit_mb.filter(|limit| size > limit * 1_000_000) {
        // With the image gone, the next run can't take it for built and well.
        ctx.run(docker::remove_image(reference))?;
        let message = format!(
            "{reference} has {size_mb:.1} MB, over services.{name}.size_limit_mb, {limit}\nNext: make the image smaller, or raise the limit"
        );
        return Err(Stop::failed(message).into());
    }
    step.done(&format!("{reference}, {size_mb:.1} MB ({why})"));
    Ok(())
}

/// Has `call` build a service's image of its inputs. Returns what a build that failed has printed.
pub fn carry_out(
    ctx: &Context,
    images: &Images,
    name: &str,
    reference: &str,
    step: &Step,
    call: impl FnOnce(Build) -> Call,
) -> Result<Result<(), Vec<String>>> {
    ctx.ui.state(name, DeploymentState::Building);
    let service = &ctx.config.services[name];
    let context = stage(ctx, name, service)?;
    let tag = reference.rsplit(':').next().unwrap_or_default();
    let ca = ca_bundle();
    let call = call(Build {
        dockerfile: &ctx.path(&service.dockerfile),
        context: &context.display().to_string(),
        target: None,
        tags: &[reference.to_string()],
        args: all_arguments(service, images, tag),
        labels: vec![
            (docker::label(&ctx.config.project), name.to_string()),
            (inputs_label(ctx), serde_json::to_string(&inputs(ctx, service, images)?)?),
        ],
        ca: ca.as_deref(),
    });
    let lines = Mutex::new(Vec::new());
    let show = |line: &str| {
        lines.lock().expect("nobody panics with it").push(line.to_string());
        step.update(strip_prefix(line));
    };
    let output = ctx.spawn.output_showing(call.within(ctx.config.deadlines.build), &show)?;
    let lines = lines.into_inner().expect("nobody panics with it");
    Ok(if output.success { Ok(()) } else { Err(lines) })
}

/// The error for an image that was not built, by what the build has printed.
pub fn failed(name: &str, service: &Service, lines: &[String]) -> Stop {
    let message = format!("the image of {name} could not be built from {}", service.dockerfile.display());
    let said = indent(&docker::failed_step(lines).join("\n"));
    Stop::failed(format!("{message}\n{said}\nNext: cargo xtask up --verbose, for all that the build prints"))
}

/// Copies a service's inputs, and nothing else, to where the build takes its context from.
fn stage(ctx: &Context, name: &str, service: &Service) -> Result<PathBuf> {
    let context = ctx.root.join(&service.context);
    let staged = self::context(ctx, name);
    copy_afresh(&context, &service.inputs, &staged)?;
    Ok(staged)
}

/// The bundle that this machine trusts, which may hold a private CA that a build inside docker must trust as well.
pub fn ca_bundle() -> Option<String> {
    let chosen = std::env::var("SSL_CERT_FILE").ok();
    let known = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    chosen.into_iter().chain(known.map(str::to_string)).find(|path| Path::new(path).is_file())
}

/// BuildKit's plain lines begin with a step number and a clock: `#12 3.456 Compiling …`.
fn strip_prefix(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..2 {
        if let Some((word, tail)) = rest.split_once(' ')
            && word.trim_start_matches('#').bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            rest = tail;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkits_numbers_are_left_out_of_progress() {
        assert_eq!(strip_prefix("#12 3.456 Compiling serde v1.0"), "Compiling serde v1.0");
        assert_eq!(strip_prefix("#5 [builder 2/4] COPY . ."), "[builder 2/4] COPY . .");
    }

    #[test]
    fn a_base_is_passed_only_where_it_is_local() {
        let local = Images::Local { node: "n".into(), debian: "d".into(), rust: "r".into() };
        assert_eq!(base_argument(&local, Base::Rust), Some(("BUILDER_IMAGE", "r")));
        assert_eq!(base_argument(&local, Base::Debian), Some(("BASE_IMAGE", "d")));
        assert_eq!(base_argument(&Images::Public, Base::Rust), None);
    }
}
