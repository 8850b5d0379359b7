//! Rolls releases back to the revision that served before.

use anyhow::Result;

use crate::live;
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::stages::deploy::Deployed;
use crate::stages::immutable;
use crate::tools::helm;
use crate::tools::helm::Revision;

/// Undoes what a run has done to a release: back to the revision before, or away with a first install; its volumes and
/// Secrets stay. Returns what was done, in words. An interruption does not keep it from happening: half a release is
/// nothing to be left with.
pub fn undo(ctx: &Context, deployed: &Deployed) -> Result<String> {
    let Scope { release, target } = &deployed.scope;
    let deadline = ctx.config.deadlines.helm;
    let (call, describe) = match deployed.before {
        Some(revision) => (
            helm::rollback(&ctx.tools.helm, target, release, revision, deadline),
            format!("{release} is back at revision {revision}; up --no-rollback leaves what failed for a look"),
        ),
        None => (
            helm::uninstall(target, release, deadline),
            format!(
                "{release} was installed for the first time and is removed, its data stays; up --no-rollback leaves it for a look"
            ),
        ),
    };
    let step = ctx.ui.step(format!("take back {release}"));
    let ctx = &ctx.uninterrupted();
    if let Some(revision) = deployed.before {
        delete_immutable(ctx, &deployed.scope, revision)?;
    }
    ctx.run(call)?;
    step.done("");
    Ok(describe)
}

/// The revision that a release is to be taken to: `wanted`, or the last one before the present that worked.
pub fn choose(ctx: &Context, scope: &Scope, wanted: Option<u64>) -> Result<u64> {
    let all = live::history(ctx, scope, 10)?;
    Ok(pick(&all, wanted).map_err(|message| Stop::failed(format!("{}: {message}", scope.release)))?)
}

/// Takes a release to a revision. Returns the manifest that it has then. An interruption waits for helm, which
/// would leave the release pending otherwise.
pub fn to(ctx: &Context, scope: &Scope, revision: u64) -> Result<String> {
    let step = ctx.ui.step(format!("roll back {}", scope.release));
    let deadline = ctx.config.deadlines.helm;
    delete_immutable(ctx, scope, revision)?;
    ctx.spawn.run_whole(helm::rollback(&ctx.tools.helm, &scope.target, &scope.release, revision, deadline))?;
    step.done(&format!("to revision {revision}"));
    live::manifest(ctx, scope)
}

/// Deletes what helm cannot change in place on its way to a revision.
fn delete_immutable(ctx: &Context, scope: &Scope, revision: u64) -> Result<()> {
    let manifest = ctx.run(helm::manifest_of(&scope.target, &scope.release, revision))?;
    let (wanted, live) = (live::objects_in(&manifest)?, live::objects_of(ctx, scope, &manifest)?);
    immutable::delete_immutable(ctx, scope, &wanted, &live, || live::manifest(ctx, scope))
}

/// `all` are revisions, the newest last. Helm calls a revision superseded whether it worked or was left for it: what lies
/// between a revision and the one that it went back to was left.
fn pick(all: &[Revision], wanted: Option<u64>) -> Result<u64, String> {
    let known = || all.iter().map(|one| one.number.to_string()).collect::<Vec<_>>().join(", ");
    let Some(present) = all.last() else { return Err("it is not installed\nNext: cargo xtask up".to_string()) };
    match wanted {
        Some(number) if all.iter().any(|one| one.number == number) => Ok(number),
        Some(number) => Err(format!("there is no revision {number}: known are {}", known())),
        None => {
            let back = |number: &u64| all.iter().find(|one| one.number == *number)?.went_back_to();
            let content = std::iter::successors(Some(present.number), back).last();
            let mut earlier = all.iter().rev().filter(|one| Some(one.number) < content);
            let worked = earlier.find(|one| one.status == "superseded" || one.status == "deployed");
            worked
                .map(|one| one.number)
                .ok_or_else(|| format!("revision {} has none before it that worked", present.number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Revisions from 1 on, each with its status and the one that it went back to.
    fn revisions(message: &[(&str, Option<u64>)]) -> Vec<Revision> {
        let one = |((status, back), number): (&(&str, Option<u64>), u64)| Revision {
            number,
            status: status.to_string(),
            updated: String::new(),
            description: back.map_or("Upgrade complete".to_string(), |back| format!("Rollback to {back}")),
        };
        message.iter().zip(1..).map(one).collect()
    }

    #[test]
    fn what_was_left_is_not_gone_back_to() {
        // 2 crashed, and 3 is 1 again.
        let back_to_the_first = [("superseded", None), ("superseded", None), ("deployed", Some(1))];
        assert!(pick(&revisions(&back_to_the_first), None).is_err());
        let went_on = [("superseded", None), ("superseded", Some(1)), ("deployed", None)];
        assert_eq!(pick(&revisions(&went_on), None), Ok(2));
    }

    #[test]
    fn the_last_revision_that_worked_is_chosen() {
        let all = revisions(&[("superseded", None), ("failed", None), ("deployed", None)]);
        assert_eq!(pick(&all, None), Ok(1));
        assert_eq!(pick(&all, Some(2)), Ok(2));
        assert!(pick(&all, Some(9)).unwrap_err().contains("known are 1, 2, 3"));
        assert!(pick(&all[..1], None).unwrap_err().contains("none before it"));
        assert!(pick(&[], None).unwrap_err().contains("not installed"));
    }
}
