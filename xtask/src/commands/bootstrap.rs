//! `bootstrap`: tools, images and the docker daemon, and nothing of the application.

use anyhow::Result;

use crate::run::context::Project;
use crate::stages::setup;
use crate::stages::setup::Source;

/// Makes everything that `up` starts from, and nothing of the application.
pub fn run(project: &Project, source: Option<Source>) -> Result<()> {
    setup::set_up(project, source)?;
    project.ui.summary("This machine is set up");
    Ok(())
}

/// Locks the checksums of the tools' releases.
pub fn update_lock(project: &Project) -> Result<()> {
    setup::update_lock(project)?;
    project.ui.summary("tools.lock holds what was downloaded; commit it");
    Ok(())
}
