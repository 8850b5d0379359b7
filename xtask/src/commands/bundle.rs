//! `bundle`: what bootstrap made, saved into one file and loaded from it.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::run::context::Project;
use crate::stages::setup::bundle;

pub fn save(project: &Project, file: &Path) -> Result<()> {
    let saved = bundle::save(project, file)?;
    for tool in &saved.on_path {
        project.ui.say(&format!("{tool} is on PATH here, and not in the bundle: the other machine needs its own"));
    }
    let parts: Vec<String> = saved.folders.iter().chain(&saved.images).cloned().collect();
    let value = json!({
        "file": file.display().to_string(), "size_bytes": saved.size_bytes, "folders": saved.folders, "images": saved.images,
    });
    project.ui.answer(&parts.join("\n"), value);
    let counts = format!("{} folders and {} images", saved.folders.len(), saved.images.len());
    project.ui.summary(&format!("{} has {counts} in {:.1} MB", file.display(), saved.size_bytes as f64 / 1e6));
    Ok(())
}

pub fn load(project: &Project, file: &Path) -> Result<()> {
    let loaded = bundle::load(project, file)?;
    let parts: Vec<String> = loaded.installed.iter().chain(&loaded.images).cloned().collect();
    let value = json!({ "installed": loaded.installed, "left": loaded.left, "images": loaded.images });
    project.ui.answer(&parts.join("\n"), value);
    project.ui.summary(&format!(
        "Loaded {} folders and {} images; {} folders were there",
        loaded.installed.len(),
        loaded.images.len(),
        loaded.left.len()
    ));
    Ok(())
}
