//! `render`: the manifests that helm makes of a profile.

use anyhow::Result;
use serde_json::json;

use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::stages::{render, setup};

/// Prints what helm would apply, with the override file's values and the plain version as tag.
pub fn run(project: &Project) -> Result<()> {
    let overrides = render::read_overrides(project)?;
    let helm = setup::look_for_helm(project)?;
    let helm = helm
        .path()
        .ok_or_else(|| Stop::needs_setup(format!("{}\nNext: cargo xtask bootstrap", helm.explain("helm"))))?;
    let (apart, _staging) = project.with_programs([("helm", helm)].into()).with_own_staging();
    let rendered = render::render(&apart, &overrides)?;
    let text: Vec<&str> = rendered.iter().map(|one| one.yaml.trim_end()).collect();
    let message =
        rendered.iter().map(|one| json!({ "release": one.release, "namespace": one.namespace, "manifest": one.yaml }));
    project.ui.answer(&text.join("\n"), json!({ "releases": message.collect::<Vec<_>>() }));
    Ok(())
}
