//! `preview`: the namespaces of branches, and the removal of those whose time is over.

use anyhow::Result;
use serde_json::json;

use crate::model::time;
use crate::run::clock::now;
use crate::run::context::Project;
use crate::stages::preview::Preview;
use crate::stages::{cluster, preview, setup};

/// Prints each, the first to go at the top.
pub fn list(project: &Project) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let all = sorted(preview::list(ctx)?);
    let mut lines: Vec<String> = all.iter().map(describe).collect();
    if lines.is_empty() {
        lines.push("no branch has a namespace of its own: cargo xtask up --preview makes one".to_string());
    }
    let values: Vec<_> = all.iter().map(value).collect();
    ctx.ui.answer(&lines.join("\n"), json!({ "previews": values }));
    Ok(())
}

/// Removes those whose time is over. One that a run is at work on stays.
pub fn gc(project: &Project, dry_run: bool) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let over: Vec<Preview> = sorted(preview::list(ctx)?).into_iter().filter(|one| one.expires <= now()).collect();
    for one in &over {
        if dry_run {
            ctx.ui.say(&format!("would be removed: {}", describe(one)));
            continue;
        }
        let step = ctx.ui.step(format!("remove {}", one.namespace));
        match preview::remove(ctx, one)? {
            None => step.done(&describe(one)),
            Some(holder) => {
                drop(step);
                ctx.ui.say(&format!("{} stays, as a run is at work on it: {holder}", one.namespace));
            }
        }
    }
    ctx.ui.summary(&match over.len() {
        0 => "No namespace of a branch is over its time".to_string(),
        count if dry_run => format!("{count} would be removed"),
        count => format!("{count} were over their time"),
    });
    Ok(())
}

fn sorted(mut all: Vec<Preview>) -> Vec<Preview> {
    all.sort_by_key(|one| one.expires);
    all
}

fn describe(one: &Preview) -> String {
    let left = one.expires - now();
    let when = match left > 0 {
        true => format!("is kept for {} more", time::ago(left)),
        false => format!("over since {}", time::ago(-left)),
    };
    format!("{}  branch {}, {when}", one.namespace, one.branch)
}

fn value(one: &Preview) -> serde_json::Value {
    json!({ "namespace": one.namespace, "branch": one.branch, "expires": time::text(one.expires) })
}
