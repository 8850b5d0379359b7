//! `smoke`: the smoke checks against what is deployed already.

use anyhow::Result;

use crate::live;
use crate::run::context::Context;
use crate::run::lock;
use crate::stages::smoke::Occasion;
use crate::stages::{cluster, setup, smoke};

/// The smoke checks against what is deployed already.
pub fn run(ctx: &Context) -> Result<()> {
    let tools = setup::need_tools(ctx)?;
    cluster::need_running(ctx, cluster::observe(ctx, &tools)?)?;
    // A run that deploys meanwhile would be checked half-way, and helm keeps what a test ended with in the release.
    let _lock = lock::hold(ctx, &ctx.config.namespace)?;
    smoke::run(ctx, &tools, Occasion::Asked, live::endpoints(ctx, &tools)?)?;
    ctx.ui.summary("All smoke checks passed");
    Ok(())
}
