//! Builds the images whose content has no image yet. What goes in decides the tag, and only that reaches the build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::config::{Base, Service};
use crate::content::{Content, list_files};
use crate::context::{Context, proxies};
use crate::model::image::{Built, Images};
use crate::model::states::DeploymentState;
use crate::process::command;
use crate::stop::Stop;
use crate::tools::Paths;
use crate::tools::docker::{self, Build};

const SHORT: Duration = Duration::from_secs(60);

/// Sees to an image for each of `services`, and returns them by the service's name.
pub fn ensure(ctx: &Context, tools: &Paths, images: &Images, services: &[&str]) -> Result<BTreeMap<String, Built>> {
    let mut wanted = BTreeMap::new();
    for name in services {
        wanted.insert(name.to_string(), tag(ctx, &ctx.config.services[*name], images)?);
    }
    let mut local = list(ctx, tools)?;
    let reference = |name: &str| format!("{}:{}", ctx.config.services[name].image, wanted[name]);
    let missing: Vec<&String> = wanted.keys().filter(|name| !local.contains_key(&reference(name))).collect();
    for name in &missing {
        build(ctx, tools, images, name, &wanted[*name], &local)?;
    }
    if !missing.is_empty() {
        local = list(ctx, tools)?;
    }
    let mut built = BTreeMap::new();
    for (name, tag) in &wanted {
        let reference = reference(name);
        let id =
            local.get(&reference).with_context(|| format!("docker built {reference} and does not list it"))?.clone();
        built.insert(name.clone(), Built { repository: ctx.config.services[name].image.clone(), tag: tag.clone(), id });
    }
    Ok(built)
}

/// The references that the images of all services have, or would have; nothing is asked of docker.
pub fn references(ctx: &Context, images: &Images) -> Result<Vec<String>> {
    let services = ctx.config.services.values();
    services.map(|service| Ok(format!("{}:{}", service.image, tag(ctx, service, images)?))).collect()
}

/// `VERSION-hDIGEST`: a valid tag and a valid semantic version.
fn tag(ctx: &Context, service: &Service, images: &Images) -> Result<String> {
    let mut content = Content::default()
        .files(&ctx.root.join(&service.context), &service.inputs)?
        .files(&ctx.root, std::slice::from_ref(&service.dockerfile))?
        .word(base_argument(images, service.base).as_ref().map_or("", |(_, image)| image));
    for (name, value) in arguments(service) {
        content = content.word(&name).word(&value);
    }
    Ok(format!("{}-h{}", ctx.config.version, content.short()))
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

fn base_argument(images: &Images, base: Base) -> Option<(&'static str, &str)> {
    match (images, base) {
        (Images::Public, _) => None,
        (Images::Local { rust, .. }, Base::Rust) => Some(("BUILDER_IMAGE", rust)),
        (Images::Local { debian, .. }, Base::Debian) => Some(("BASE_IMAGE", debian)),
    }
}

fn list(ctx: &Context, tools: &Paths) -> Result<BTreeMap<String, String>> {
    Ok(docker::parse_images(&ctx.spawn.run(command(docker::images(&tools.docker), SHORT))?))
}

fn build(
    ctx: &Context,
    tools: &Paths,
    images: &Images,
    name: &str,
    tag: &str,
    local: &BTreeMap<String, String>,
) -> Result<()> {
    let service = &ctx.config.services[name];
    let step = ctx.ui.step(format!("build {name}"));
    ctx.ui.state(name, DeploymentState::Building);
    let context = stage(ctx, name, service)?;
    let reference = format!("{}:{tag}", service.image);
    let mut args: Vec<_> = arguments(service).into_iter().map(|(name, value)| (name, Some(value))).collect();
    args.push(("VERSION".to_string(), Some(tag.to_string())));
    args.extend(base_argument(images, service.base).map(|(name, image)| (name.to_string(), Some(image.to_string()))));
    args.extend(proxies());
    let ca = ca_bundle();
    let told = docker::build(
        &tools.docker,
        &Build {
            dockerfile: &ctx.path(&service.dockerfile),
            context: &context.display().to_string(),
            target: None,
            tags: std::slice::from_ref(&reference),
            args,
            labels: vec![(docker::label(&ctx.config.project), name.to_string())],
            ca: ca.as_deref(),
        },
    );
    let show = |line: &str| step.update(strip_prefix(line));
    ctx.spawn
        .run(command(told, ctx.config.deadlines.build).on_line(&show))
        .with_context(|| format!("the image of {name} could not be built from {}", service.dockerfile.display()))?;
    let size: u64 = ctx.spawn.run(command(docker::size(&tools.docker, &reference), SHORT))?.trim().parse()?;
    let told_mb = size as f64 / 1e6;
    if let Some(limit) = service.size_limit_mb.filter(|limit| size > limit * 1_000_000) {
        // With the image gone, the next run can't take it for built and well.
        ctx.spawn.run(command(docker::remove_image(&tools.docker, &reference), SHORT))?;
        let message = format!(
            "{reference} has {told_mb:.1} MB, over services.{name}.size_limit_mb, {limit}\nNext: make the image smaller, or raise the limit"
        );
        return Err(Stop::failed(message).into());
    }
    let why = match local.keys().any(|other| other.starts_with(&format!("{}:", service.image))) {
        true => "its content changed",
        false => "no image yet",
    };
    step.done(&format!("{reference}, {told_mb:.1} MB ({why})"));
    Ok(())
}

/// Copies a service's inputs, and nothing else, to where the build takes its context from.
fn stage(ctx: &Context, name: &str, service: &Service) -> Result<PathBuf> {
    let context = ctx.root.join(&service.context);
    let staged = ctx.staging(&format!("context-{name}"));
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    for file in list_files(&context, &service.inputs)? {
        let to = staged.join(&file);
        fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
        fs::copy(context.join(&file), &to).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(staged)
}

/// The bundle that this machine trusts, which may hold a private CA that a build inside docker must trust as well.
fn ca_bundle() -> Option<String> {
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
