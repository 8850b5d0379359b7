//! Takes releases back to the revision that served before.

use std::collections::BTreeMap;
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
    let told = helm::history(&tools.helm, &scope.target, &scope.release, 10);
    let back = helm::parse_rollbacks(&ctx.spawn.output(command(told, SHORT))?.stdout);
    Ok(pick(&all, &back, wanted).map_err(|told| Stop::failed(format!("{}: {told}", scope.release)))?)
}

/// Takes a release to a revision. Returns the manifest that it has then.
pub fn to(ctx: &Context, tools: &Paths, scope: &Scope, revision: u64) -> Result<String> {
    let step = ctx.ui.step(format!("roll back {}", scope.release));
    let told = helm::rollback(&tools.helm, &scope.target, &scope.release, Some(revision));
    ctx.spawn.run(command(told, ctx.config.deadlines.helm))?;
    step.done(&format!("to revision {revision}"));
    live::manifest(ctx, tools, scope)
}

/// `all` are revisions with their status, the newest last; `back` those that went back to an earlier one, with that one.
/// Helm calls a revision superseded whether it worked or was left for it: what lies between a revision and the one that it
/// went back to was left.
fn pick(all: &[(u64, String)], back: &BTreeMap<u64, u64>, wanted: Option<u64>) -> Result<u64, String> {
    let known = || all.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(", ");
    let Some((present, _)) = all.last() else { return Err("it is not installed\nNext: cargo xtask up".to_string()) };
    match wanted {
        Some(number) if all.iter().any(|(known, _)| *known == number) => Ok(number),
        Some(number) => Err(format!("there is no revision {number}: known are {}", known())),
        None => {
            let content = std::iter::successors(Some(*present), |number| back.get(number).copied()).last();
            let earlier = all.iter().rev().filter(|(number, _)| Some(*number) < content);
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
    fn what_was_left_is_not_gone_back_to() {
        let all: Vec<(u64, String)> = ["superseded", "superseded", "deployed"]
            .iter()
            .zip(1..)
            .map(|(status, number)| (number, status.to_string()))
            .collect();
        // 2 crashed, and 3 is 1 again.
        assert!(pick(&all, &BTreeMap::from([(3, 1)]), None).is_err());
        assert_eq!(pick(&all, &BTreeMap::from([(2, 1)]), None), Ok(2));
    }

    #[test]
    fn the_last_revision_that_worked_is_chosen() {
        let all: Vec<(u64, String)> = [(1, "superseded"), (2, "failed"), (3, "deployed")]
            .map(|(number, status)| (number, status.to_string()))
            .into();
        let none = BTreeMap::new();
        assert_eq!(pick(&all, &none, None), Ok(1));
        assert_eq!(pick(&all, &none, Some(2)), Ok(2));
        assert!(pick(&all, &none, Some(9)).unwrap_err().contains("known are 1, 2, 3"));
        assert!(pick(&all[..1], &none, None).unwrap_err().contains("none before it"));
        assert!(pick(&[], &none, None).unwrap_err().contains("not installed"));
    }
}
