//! `rollback`: takes releases to a revision before, and checks what runs then.

use anyhow::Result;

use crate::live;
use crate::run::context::{Context, Project, Scope};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::stages::smoke::Occasion;
use crate::stages::smoke::forward::Early;
use crate::stages::{apply, cluster, deploy, gitops, lease, namespace, rollback, setup, smoke, verify};
use crate::tools::helm;
use crate::tools::helm::Revision;

/// Takes every release of the profile, or the one named, to the revision before, and checks what runs then.
pub fn run(project: &Project, revision: Option<u64>, release: Option<&str>) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let scopes: Vec<Scope> = wanted(ctx, release)?.into_iter().map(|name| ctx.scope(name)).collect();
    let names = || scopes.iter().map(|scope| scope.release.as_str()).collect::<Vec<_>>().join(", ");
    if revision.is_some() && scopes.len() > 1 {
        return Err(Stop::usage(format!("which of {}? Next: --release NAME", names())).into());
    }
    gitops::refuse_rollback(ctx, &scopes)?;
    let _held = (lock::hold(ctx, &ctx.config.place())?, lease::hold_all(ctx)?);
    namespace::refuse_others(ctx)?;
    scopes.iter().try_for_each(|scope| deploy::await_others(ctx, scope))?;
    let choose = |scope: &Scope| Ok((scope.clone(), rollback::choose(ctx, scope, revision)?));
    // All of them first: one that has nothing to go back to must not leave the others changed.
    let chosen = scopes.iter().map(choose).collect::<Result<Vec<_>>>()?;
    // Where each goes, and its revisions until then.
    let mut gone: Vec<(Scope, u64, Vec<Revision>)> = Vec::new();
    let went = (|| {
        for (scope, revision) in chosen {
            gone.push((scope.clone(), revision, live::history(ctx, &scope, 10)?));
            let manifest = rollback::to(ctx, &scope, revision)?;
            let waited = verify::wait(ctx, &scope, &manifest, true)?;
            if let Some(report) = apply::failure(ctx, &scope, waited) {
                return Err(report.into());
            }
        }
        smoke::run(ctx, Occasion::Changed, live::endpoints(ctx)?, Early::default()).map(drop)
    })();
    if let Err(error) = went {
        if ctx.spawn.interrupt.check().is_err() && !gone.is_empty() {
            // The same command again would go one revision further.
            let message = gone.iter().map(|(scope, to, _)| format!("{} to revision {to}", scope.release));
            let message = format!("interrupted, with {} on the way", message.collect::<Vec<_>>().join(", "));
            let next = "Next: cargo xtask status, to see what runs; cargo xtask up deploys the configuration";
            return Err(Stop::interrupted_after(format!("{message}\n{next}")).into());
        }
        // What served until now serves again.
        for (scope, to, revisions) in gone.iter().rev() {
            let last = live::last_revision(ctx, scope).ok().flatten().map(|one| one.number);
            let begun = last != revisions.last().map(|one| one.number);
            if let Some(was) = helm::serving(revisions).filter(|was| begun && was != to)
                && let Err(failed) = rollback::to(ctx, scope, was)
            {
                ctx.ui.say(&format!("{} could not be returned to revision {was}: {failed:#}", scope.release));
            }
        }
        return Err(error);
    }
    ctx.ui.summary(&format!("{} runs as before", names()));
    Ok(())
}

/// The release that was named, or all but the database's, which has a life of its own.
fn wanted<'a>(ctx: &'a Context, release: Option<&'a str>) -> Result<Vec<&'a str>> {
    let own = |name: &&str| ctx.config.releases[*name].namespace == ctx.config.namespace;
    match release {
        Some(name) if ctx.config.releases.contains_key(name) => Ok(vec![name]),
        Some(name) => {
            let known = ctx.config.releases.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("profile {} has no release {name}: known are {known}", ctx.config.profile);
            Err(Stop::usage(message).into())
        }
        None => Ok(ctx.config.release_waves().into_iter().flatten().filter(own).collect()),
    }
}
