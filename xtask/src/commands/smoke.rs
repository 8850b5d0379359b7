//! `smoke`: the smoke checks against what is deployed already.

use anyhow::Result;

use crate::live;
use crate::run::context::Project;
use crate::run::lock;
use crate::stages::smoke::Occasion;
use crate::stages::smoke::forward::Early;
use crate::stages::{cluster, setup, smoke};

/// The smoke checks against what is deployed already.
pub fn run(project: &Project) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    // A run that deploys meanwhile would be checked half-way, and helm keeps what a test ended with in the release.
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    smoke::run(ctx, Occasion::Asked, live::endpoints(ctx)?, Early::default())?;
    ctx.ui.summary("All smoke checks passed");
    Ok(())
}
