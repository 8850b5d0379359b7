//! `target`: the clusters of others that this machine knows, and by what.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::config::{Config, Delivery};
use crate::live::pinned::Expected;
use crate::model::pin;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::stages::setup;

/// Notes by what the cluster of a target is known. One that is known already is looked at, and never replaced.
pub fn add(project: &Project, name: &str) -> Result<()> {
    let expected = expected(project, name)?;
    let ctx = &setup::need_tools(project)?;
    let (way, authority) = expected.authority()?;
    let found = expected.find(&ctx.spawn)?;
    if let Some(noted) = expected.noted()? {
        if let Some(why) = pin::difference(&noted, &found) {
            let message = format!("target {name} is known as another cluster: {why}; nothing was changed");
            let next = format!("Next: if it was made anew, cargo xtask target forget {name}, then target add {name}");
            return Err(Stop::needs_setup(format!("{message}\n{next}")).into());
        }
        ctx.ui.summary(&format!("target {name} is known already, and is the same cluster"));
        return Ok(());
    }
    let folder = expected.file.parent().context("a pin lies in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(&expected.file, serde_json::to_string_pretty(&found)?)?;
    let lines = [
        format!("server     {}", way.server),
        format!("authority  SHA-256 {authority}"),
        match &found.uid {
            Some(uid) => format!("cluster    kube-system has the UID {uid}"),
            None => {
                "cluster    its UID can't be read with these rights: it is known by its authority alone".to_string()
            }
        },
        format!("Target {name} is known; next: cargo xtask up --target {name}"),
    ];
    ctx.ui.answer(
        &lines.join("\n"),
        json!({ "target": name, "server": way.server, "authority": found.authority, "uid": found.uid }),
    );
    Ok(())
}

/// Prints each target of the configuration.
pub fn list(project: &Project) -> Result<()> {
    let mut lines = Vec::new();
    let mut targets = Vec::new();
    for (name, remote) in &project.config.targets {
        let is_known = expected(project, name)?.noted()?.is_some();
        let images = match &remote.delivery {
            Delivery::Load => "loaded into its nodes".to_string(),
            Delivery::Push { registry, .. } => format!("pushed to {registry}"),
        };
        let known = if is_known { "known" } else { "not added yet" };
        let protected = if remote.protected { ", protected" } else { "" };
        lines.push(format!(
            "{name}  context {} of {}, images {images}, {known}{protected}",
            remote.context, remote.kubeconfig
        ));
        targets.push(json!({
            "name": name, "kubeconfig": remote.kubeconfig, "context": remote.context, "known": is_known,
            "protected": remote.protected,
        }));
    }
    if lines.is_empty() {
        lines.push("xtask.toml names no target: docs/targets.md says how".to_string());
    }
    project.ui.answer(&lines.join("\n"), json!({ "targets": targets }));
    Ok(())
}

/// Forgets by what a target was known.
pub fn forget(project: &Project, name: &str) -> Result<()> {
    let expected = expected(project, name)?;
    match fs::remove_file(&expected.file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", expected.file.display()));
        }
        _ => project.ui.summary(&format!("nothing is known of target {name} any more")),
    }
    Ok(())
}

fn expected(project: &Project, name: &str) -> Result<Expected> {
    let config = Config { target: Some(name.to_string()), ..project.config.clone() };
    Expected::of(&project.folders, &project.root, &config).ok_or_else(|| {
        let known: Vec<&str> = project.config.targets.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
        Stop::usage(format!("there is no target {name} in xtask.toml: known are {known}")).into()
    })
}
