//! Takes releases back to the revision that served before.

use std::time::Duration;

use anyhow::Result;

use crate::context::{Context, Scope};
use crate::live;
use crate::process::command;
use crate::stages::deploy::Deployed;
use crate::stop::Stop;
use crate::tools::{Paths, helm};

const SHORT: Duration = Duration::from_secs(60);

/// Undoes what a run has done to a release: back to the revision before, or away with a first install; its volumes and
/// Secrets stay. Returns what was done, in words.
pub fn undo(ctx: &Context, tools: &Paths, deployed: &Deployed) -> Result<String> {
    let Scope { release, target } = &deployed.scope;
    // Whoever interrupts the run wants out of it, and not to be left with half a release.
    let spawn = ctx.spawn.uninterrupted();
    let deadline = ctx.config.deadlines.helm;
    match deployed.before {
        Some(revision) => {
            spawn.run(command(helm::rollback(&tools.helm, target, release, Some(revision)), deadline))?;
            Ok(format!("{release} is back at revision {revision}"))
        }
        None => {
            let told = helm::uninstall(&tools.helm, target, release, deadline.as_secs());
            spawn.run(command(told, deadline + SHORT))?;
            Ok(format!(
                "{release} was installed for the first time and is removed, its data stays; up --no-rollback leaves it for a look"
            ))
        }
    }
}

/// The revision that a release is to be taken to: `wanted`, or the last one before the present that worked.
pub fn choose(ctx: &Context, tools: &Paths, scope: &Scope, wanted: Option<u64>) -> Result<u64> {
    let all = live::revisions(ctx, tools, scope, 10)?;
    Ok(pick(&all, wanted).map_err(|told| Stop::failed(format!("{}: {told}", scope.release)))?)
}

/// Takes a release to a revision. Returns the manifest that it has then.
pub fn to(ctx: &Context, tools: &Paths, scope: &Scope, revision: u64) -> Result<String> {
    let step = ctx.ui.step(format!("roll back {}", scope.release));
    let told = helm::rollback(&tools.helm, &scope.target, &scope.release, Some(revision));
    ctx.spawn.run(command(told, ctx.config.deadlines.helm))?;
    step.done(&format!("to revision {revision}"));
    live::manifest(ctx, tools, scope)
}

/// Revisions with their status, the newest last.
fn pick(all: &[(u64, String)], wanted: Option<u64>) -> Result<u64, String> {
    let known = || all.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(", ");
    let Some((present, _)) = all.last() else { return Err("it is not installed\nNext: cargo xtask up".to_string()) };
    match wanted {
        Some(number) if all.iter().any(|(known, _)| *known == number) => Ok(number),
        Some(number) => Err(format!("there is no revision {number}: known are {}", known())),
        None => {
            let earlier = all.iter().rev().filter(|(number, _)| number < present);
            let worked = earlier.clone().find(|(_, status)| status == "superseded" || status == "deployed");
            worked
                .map(|(number, _)| *number)
                .ok_or_else(|| format!("revision {present} has none before it that worked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_revision_that_worked_is_chosen() {
        let all: Vec<(u64, String)> = [(1, "superseded"), (2, "failed"), (3, "deployed")]
            .map(|(number, status)| (number, status.to_string()))
            .into();
        assert_eq!(pick(&all, None), Ok(1));
        assert_eq!(pick(&all, Some(2)), Ok(2));
        assert!(pick(&all, Some(9)).unwrap_err().contains("known are 1, 2, 3"));
        assert!(pick(&all[..1], None).unwrap_err().contains("none before it"));
        assert!(pick(&[], None).unwrap_err().contains("not installed"));
    }
}
