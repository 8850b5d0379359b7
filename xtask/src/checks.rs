//! `test`
use anyhow::Result;
use crate::context::Context;
pub fn run(_ctx: &Context, _e2e: bool) -> Result<()> { todo!() }
