//! Builds images by the builder that a target names. It pushes them into the target's registry itself.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use crate::config::{Builder, Config, Delivery};
use crate::model::image::Images;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::files::replace;
use crate::run::process::{Output, Spawn};
use crate::run::ui::Step;
use crate::secrets::pull;
use crate::stages::build;
use crate::tools::buildx;
use crate::tools::docker::Build;

/// Who builds for the chosen target; None where docker's own daemon does.
pub fn builder(config: &Config) -> Option<&Builder> {
    match &config.remote()?.1.delivery {
        Delivery::Push { builder, .. } => builder.as_ref(),
        Delivery::Load => None,
    }
}

/// Has buildx trust whom docker trusts for a registry, beside this machine's authorities: it does not look there by itself.
/// Their files become one, as the name of docker's folder holds a colon, which separates folders for Go.
pub fn trusting(ctx: &Context, registry: &str) -> Result<Spawn> {
    let mut spawn = ctx.spawn.clone();
    if let Some(authority) = pull::authority(registry) {
        let mut all = fs::read_to_string(&authority).with_context(|| format!("cannot read {authority}"))?;
        all.extend(build::ca_bundle().map(fs::read_to_string).transpose()?);
        let file = ctx.staging("authorities.crt");
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        replace(&file, all.as_bytes())?;
        spawn.env.push(("SSL_CERT_FILE".to_string(), file.display().to_string()));
    }
    Ok(spawn)
}

/// The digest of what a registry has for all platforms that are wanted; None where it is for some of them alone. An error is
/// what docker printed of a registry without such an image, or of one that did not answer.
pub fn ask(spawn: &Spawn, builder: &Builder, reference: &str) -> Result<Result<Option<String>, Output>> {
    let asked = spawn.attempt(buildx::pushed(&builder.name, reference))?;
    Ok(asked.map(|image| image.lacks(&builder.platforms).is_empty().then_some(image.digest)))
}

/// Fails where docker has no buildx, does not know the builder, or it does not answer.
pub fn need(ctx: &Context, builder: &Builder) -> Result<()> {
    let is_plugin = ctx.output(buildx::version())?;
    if !is_plugin.success {
        let said = is_plugin.tail.lines().next().unwrap_or_default();
        return Err(Stop::failed(format!("docker has no buildx: {said}\nNext: install docker's plugin buildx")).into());
    }
    match ctx.spawn.attempt(buildx::inspect(&builder.name))? {
        Ok(_) => Ok(()),
        Err(output) => Err(absent(&builder.name, &output.tail).into()),
    }
}

/// Builds a service's image and has it pushed under this reference. `bases` are the base images that the registry has, by
/// their local names. Returns what was printed where the image was built and not pushed.
pub fn build(
    ctx: &Context,
    images: &Images,
    bases: &BTreeMap<String, String>,
    builder: &Builder,
    service: &str,
    reference: &str,
    step: &Step,
) -> Result<Result<(), String>> {
    let by_builder = |build: Build| {
        let there = |value: String| bases.get(&value).cloned().unwrap_or(value);
        let args = build.args.into_iter().map(|(name, value)| (name, value.map(there))).collect();
        buildx::build(&builder.name, &builder.platforms, &Build { args, ..build })
    };
    match build::carry_out(ctx, images, service, reference, step, by_builder)? {
        Ok(()) => Ok(Ok(())),
        Err(lines) if lines.iter().any(|line| line.contains("failed to push")) => Ok(Err(lines.join("\n"))),
        Err(lines) => Err(build::failed(service, &ctx.config.services[service], &lines).into()),
    }
}

/// What is built where, as in `builder team for linux/amd64 and linux/arm64`.
pub fn describe(builder: &Builder) -> String {
    match builder.platforms.is_empty() {
        true => format!("builder {}", builder.name),
        false => format!("builder {} for {}", builder.name, builder.platforms.join(" and ")),
    }
}

/// The error for a builder that docker cannot use, by what it printed.
fn absent(name: &str, printed: &str) -> Stop {
    let said = printed.lines().last().unwrap_or_default();
    let (what, next) = match said.contains("no builder") {
        true => {
            let create = format!("docker buildx create --name {name} --driver remote tcp://HOST:PORT");
            (format!("docker knows no builder {name}"), create)
        }
        false => (format!("builder {name} does not answer"), format!("docker buildx inspect --bootstrap {name}")),
    };
    Stop::failed(format!("{what}: {said}\nNext: {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_that_is_not_there_comes_with_what_to_do_about_it() {
        for (printed, said, next) in [
            (
                "ERROR: no builder \"team\" found",
                "docker knows no builder team: ERROR: no builder",
                "docker buildx create --name team",
            ),
            (
                "Name: team\nERROR: connection refused",
                "builder team does not answer: ERROR: connection refused",
                "docker buildx inspect --bootstrap team",
            ),
        ] {
            let text = absent("team", printed).to_string();
            assert!(text.starts_with(said) && text.contains(&format!("\nNext: {next}")), "{text}");
        }
    }

    #[test]
    fn a_builder_is_described_with_its_platforms() {
        let builder = |platforms: &[&str]| Builder {
            name: "team".to_string(),
            platforms: platforms.iter().map(|one| one.to_string()).collect(),
        };
        assert_eq!(describe(&builder(&[])), "builder team");
        let both = describe(&builder(&["linux/amd64", "linux/arm64"]));
        assert_eq!(both, "builder team for linux/amd64 and linux/arm64");
    }
}
