//! `bootstrap`: tools, images and the docker daemon, and nothing of the application.

use anyhow::Result;

use crate::run::context::Context;
use crate::stages::setup;
use crate::stages::setup::Source;

/// Sees to everything that `up` starts from, and nothing of the application.
pub fn run(ctx: &Context, source: Option<Source>) -> Result<()> {
    setup::set_up(ctx, source)?;
    ctx.ui.summary("This machine is set up");
    Ok(())
}

/// Locks the checksums of the tools' releases.
pub fn update_lock(ctx: &Context) -> Result<()> {
    setup::update_lock(ctx)?;
    ctx.ui.summary("tools.lock holds what was downloaded; commit it");
    Ok(())
}
