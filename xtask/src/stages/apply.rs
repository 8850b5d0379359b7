//! Applies what is planned of all releases, in the order of their needs, and takes it back when something fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use serde_json::Value;

use crate::diagnosis::report;
use crate::live;
use crate::live::Endpoint;
use crate::model::states::DeploymentState;
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::run::graph::in_parallel;
use crate::stages::deploy::{Deployed, Plan};
use crate::stages::smoke::Occasion;
use crate::stages::smoke::forward::Early;
use crate::stages::verify::RolloutOutcome;
use crate::stages::{deploy, rollback, smoke, verify};

/// Applies the plans and checks what the application does then. When something fails, what was changed goes back.
/// `seen` is of before: the Services of all namespaces, and ports opened early. Both still hold where nothing is changed. Returns
/// the profile's own Services, too.
pub fn carry_out(
    ctx: &Context,
    plans: &[Plan],
    seen: Option<(Vec<Value>, Early)>,
    no_rollback: bool,
) -> Result<(Vec<Deployed>, BTreeMap<String, Endpoint>)> {
    let mut deployed = Vec::new();
    let ended = apply_all(ctx, plans, &mut deployed);
    let ended = ended.and_then(|()| {
        let changed = deployed.iter().any(|one| one.changed);
        let occasion = if changed { Occasion::Changed } else { Occasion::Unchanged };
        let (endpoints, early) = match seen.filter(|_| !changed) {
            Some((services, early)) => (Ok(live::endpoints_in(&ctx.config, services)), early),
            None => (live::endpoints(ctx), Early::default()),
        };
        // The application as a whole does not do what it should: all that is new in it goes back.
        endpoints
            .and_then(|endpoints| smoke::run(ctx, occasion, endpoints, early))
            .map_err(|error| (error, plans.iter().map(|plan| plan.scope.release.clone()).collect()))
    });
    let (error, concerned) = match ended {
        Ok(endpoints) => return Ok((deployed, endpoints)),
        Err(failed) => failed,
    };
    let undone: Vec<&Deployed> = deployed.iter().filter(|one| concerned.contains(&one.scope.release)).collect();
    // An interruption leaves things as they are: the next run goes on from there.
    match !no_rollback && ctx.spawn.interrupt.check().is_ok() {
        true => Err(undo(ctx, &undone, error)),
        false => Err(error),
    }
}

/// Applies the plans in waves, side by side within one, and sees each rolled out before what needs it. What was applied
/// is added to `done`. When one fails, nothing further is begun; the first error comes with the names of all that failed.
fn apply_all(ctx: &Context, plans: &[Plan], done: &mut Vec<Deployed>) -> Result<(), (anyhow::Error, Vec<String>)> {
    for wave in ctx.config.release_waves() {
        let of_wave: Vec<&Plan> = plans.iter().filter(|plan| wave.contains(&plan.scope.release.as_str())).collect();
        let mut failed: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        let has_failed = AtomicBool::new(false);
        let ended = in_parallel(&of_wave, |plan| {
            // Of a wide wave some wait for their turn.
            let ended = (!has_failed.load(Ordering::SeqCst)).then(|| apply_one(ctx, plan))?;
            has_failed.fetch_or(ended.1.is_err(), Ordering::SeqCst);
            Some(ended)
        });
        for (plan, ended) in of_wave.iter().zip(ended) {
            let Some((deployed, ended)) = ended else { continue };
            if let Err(error) = ended {
                failed.push(plan.scope.release.clone());
                errors.push(error);
            }
            done.push(deployed);
        }
        if errors.is_empty() {
            continue;
        }
        let first = errors.remove(0);
        errors.iter().for_each(|error| ctx.ui.error(&format!("{error:#}")));
        let begun =
            |name: &str| done.iter().any(|one| one.scope.release == name) || failed.iter().any(|one| one == name);
        let left: Vec<&str> =
            plans.iter().map(|plan| plan.scope.release.as_str()).filter(|name| !begun(name)).collect();
        if !left.is_empty() {
            ctx.ui.say(&format!("skipped, because {} failed: {}", failed.join(", "), left.join(", ")));
        }
        return Err((first, failed));
    }
    Ok(())
}

/// Applies a plan and sees it rolled out. Returns what was begun, too, where the rest failed.
fn apply_one(ctx: &Context, plan: &Plan) -> (Deployed, Result<()>) {
    let mut deployed = deploy::begin(plan);
    let applied = deploy::apply(ctx, plan, &mut deployed);
    let services = &ctx.config.releases[&plan.scope.release].services;
    let waited = applied.and_then(|failed| match failed {
        Some(failure) => Ok(RolloutOutcome::Failed(failure)),
        None if plan.is_rolled_out => Ok(RolloutOutcome::Done(services.len())),
        None => {
            let upgrading = deployed.changed && deployed.before.is_some();
            verify::wait(ctx, &deployed.scope, &deployed.manifest, upgrading)
        }
    });
    // A pod may be ready in its workload's status and not yet in its own.
    if matches!(waited, Ok(RolloutOutcome::Done(_))) {
        services.iter().for_each(|service| ctx.ui.state(service, DeploymentState::Ready));
    }
    let ended = waited.and_then(|outcome| match failure(ctx, &deployed.scope, outcome) {
        Some(report) => Err(report.into()),
        None => Ok(()),
    });
    (deployed, ended)
}

/// Takes back what this run has changed, the last first, and sees what served before serve again. Returns what ends the
/// run: the first error, or that it was interrupted meanwhile.
fn undo(ctx: &Context, deployed: &[&Deployed], first: anyhow::Error) -> anyhow::Error {
    for one in deployed.iter().rev().filter(|one| one.changed) {
        let undone = rollback::undo(ctx, one);
        let served = match one.before {
            Some(_) if undone.is_ok() => serves_again(ctx, &one.scope),
            _ => Ok(()),
        };
        ctx.ui.say(&match (undone, served) {
            (Ok(message), Ok(())) => message,
            (Ok(message), Err(error)) => format!("{message}; whether it serves is unknown: {error:#}"),
            (Err(error), _) => format!("{} could not be rolled back: {error:#}", one.scope.release),
        });
    }
    match ctx.spawn.interrupt.check() {
        Ok(()) => first,
        Err(interrupted) => {
            ctx.ui.error(&format!("{first:#}"));
            interrupted
        }
    }
}

/// Waits until what a release went back to is rolled out.
fn serves_again(ctx: &Context, scope: &Scope) -> Result<()> {
    let manifest = live::manifest(ctx, scope)?;
    let waited = verify::wait(ctx, scope, &manifest, true)?;
    failure(ctx, scope, waited).map_or(Ok(()), |report| Err(report.into()))
}

/// The report of a rollout that failed; None for one that is done.
pub fn failure(ctx: &Context, scope: &Scope, outcome: RolloutOutcome) -> Option<Stop> {
    match outcome {
        RolloutOutcome::Done(_) => None,
        RolloutOutcome::Failed(failure) => Some(report::report(ctx, scope, &failure)),
    }
}
