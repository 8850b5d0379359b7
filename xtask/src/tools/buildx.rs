//! Docker's buildx: builds by a BuildKit that has a name, which pushes into the registry itself what it has built.

use anyhow::Context as _;
use serde_json::Value;

use crate::run::call::{Call, argv, call};
use crate::tools::docker::{Build, build_options};

/// An image as a registry has it.
#[derive(Debug, PartialEq)]
pub struct Pushed {
    /// That of all platforms together, where there are several.
    pub digest: String,
    /// As in `linux/arm64`.
    pub platforms: Vec<String>,
}

impl Pushed {
    /// The platforms among these that it is not for.
    pub fn lacks<'a>(&self, wanted: &'a [String]) -> Vec<&'a str> {
        let is_there = |one: &&str| self.platforms.iter().any(|there| plain(there) == plain(one));
        wanted.iter().map(String::as_str).filter(|one| !is_there(one)).collect()
    }
}

/// The one variant of arm64 is named or not.
fn plain(platform: &str) -> &str {
    if platform == "linux/arm64/v8" { "linux/arm64" } else { platform }
}

/// The plugin's version; fails where docker has none.
pub fn version() -> Call {
    call(argv!("docker buildx version")).trimmed()
}

/// What is known of a builder, which is started if need be; fails where there is none of that name.
pub fn inspect(builder: &str) -> Call {
    call(argv!("docker buildx inspect --bootstrap {builder}"))
}

/// Builds for these platforms, or for the builder's own where none is named, and pushes what comes of it. Without notes on how it
/// was built, which would be another image of no platform.
pub fn build(builder: &str, platforms: &[String], build: &Build) -> Call {
    let mut options = build_options(build);
    if !platforms.is_empty() {
        options.extend(["--platform".to_string(), platforms.join(",")]);
    }
    let context = build.context;
    call(argv!(
        "docker buildx build --builder {builder} --progress plain --provenance false --push {options...} {context}"
    ))
}

/// What the registry has under a name, asked by way of a builder; fails where it has nothing.
pub fn pushed(builder: &str, reference: &str) -> Call<Pushed> {
    let format = "{{json .}}";
    call(argv!("docker buildx imagetools inspect --builder {builder} --format {format} {reference}"))
        .try_parse(|text| parse_pushed(&text).with_context(|| format!("docker buildx names no digest: {text}")))
}

/// Reads a manifest with the configuration of its image, or a list of manifests.
fn parse_pushed(stdout: &str) -> Option<Pushed> {
    let value: Value = serde_json::from_str(stdout).ok()?;
    let digest = value["manifest"]["digest"].as_str()?.to_string();
    let listed = value["manifest"]["manifests"].as_array();
    let platforms = match listed {
        Some(listed) => listed.iter().filter_map(|one| platform(&one["platform"])).collect(),
        None => platform(&value["image"]).into_iter().collect(),
    };
    Some(Pushed { digest, platforms })
}

/// A platform as docker writes it; None of what is for none, such as a signature.
fn platform(object: &Value) -> Option<String> {
    let part = |key: &str| object[key].as_str().filter(|text| !text.is_empty() && *text != "unknown");
    let named = format!("{}/{}", part("os")?, part("architecture")?);
    Some(part("variant").map_or(named.clone(), |variant| format!("{named}/{variant}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_pushed_by_the_builder_for_the_platforms_that_are_named() {
        let build = Build {
            dockerfile: "web.Dockerfile",
            context: "web",
            target: None,
            tags: &["a.b/web:1".to_string()],
            args: vec![("PORT".to_string(), Some("80".to_string()))],
            labels: Vec::new(),
            ca: None,
        };
        let command = "docker buildx build --builder team --progress plain --provenance false --push --file web.Dockerfile \
                       --tag a.b/web:1 --build-arg PORT=80";
        assert_eq!(super::build("team", &[], &build).text(), format!("{command} web"));
        let both = ["linux/amd64", "linux/arm64"].map(str::to_string);
        assert_eq!(
            super::build("team", &both, &build).text(),
            format!("{command} --platform linux/amd64,linux/arm64 web")
        );
    }

    #[test]
    fn the_platforms_of_an_image_are_those_of_its_list_or_its_own() {
        let list = r#"{"manifest": {"digest": "sha256:1", "manifests": [
            {"digest": "sha256:2", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:3", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {"digest": "sha256:4", "platform": {"os": "unknown", "architecture": "unknown"}}]},
            "image": {"linux/amd64": {}}}"#;
        let of = |text| parse_pushed(text).unwrap();
        let both = ["linux/amd64", "linux/arm/v7"].map(str::to_string).to_vec();
        assert_eq!(of(list), Pushed { digest: "sha256:1".to_string(), platforms: both });
        let one = r#"{"manifest": {"digest": "sha256:1"}, "image": {"os": "linux", "architecture": "arm64"}}"#;
        assert_eq!(of(one), Pushed { digest: "sha256:1".to_string(), platforms: vec!["linux/arm64".to_string()] });
        assert_eq!(parse_pushed("{}"), None);
    }

    #[test]
    fn an_image_lacks_the_platforms_that_it_is_not_for() {
        let image =
            Pushed { digest: String::new(), platforms: ["linux/amd64", "linux/arm64/v8"].map(str::to_string).to_vec() };
        let wanted = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/amd64/v2"].map(str::to_string);
        assert_eq!(image.lacks(&wanted), ["linux/arm/v7", "linux/amd64/v2"]);
        assert_eq!(image.lacks(&[]), [""; 0]);
    }
}
