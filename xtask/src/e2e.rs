//! e2e
use anyhow::Result;
use crate::context::Context;
pub fn run(_ctx: &Context, _keep: bool) -> Result<()> { todo!() }
