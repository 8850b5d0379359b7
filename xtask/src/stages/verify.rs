//! Watches the release's own workloads until they are rolled out, and the pods beside them for what goes wrong.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::diagnosis::cause::Problem;
use crate::diagnosis::release;
use crate::diagnosis::watch::{Failure, Watch};
use crate::live;
use crate::model::rollout;
use crate::model::rollout::Rollout;
use crate::model::states::DeploymentState;
use crate::run::clock::now;
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::run::poll;

/// A rollout that still goes on may take so many times its deadline in all.
const AT_MOST: u32 = 3;
/// How long the API server may be away while a rollout is waited for.
const AWAY: Duration = Duration::from_secs(90);
/// How long the cluster may take to lead Services to pods that are ready.
const ENDPOINTS: Duration = Duration::from_secs(15);

/// How a wait ended.
pub enum RolloutOutcome {
    /// All workloads are rolled out, and how many there are.
    Done(usize),
    /// Waiting longer would not help, or the deadline has passed.
    Failed(Failure),
}

/// Waits until every workload of a release's manifest is rolled out and its Services lead to pods. What goes wrong
/// meanwhile is reported at once; what won't pass ends the wait. The deadline counts from the last time that something went
/// on, and what starts within its own rules is waited for beyond it, up to three times the deadline in all. `upgrading`:
/// other pods served before.
pub fn wait(ctx: &Context, scope: &Scope, manifest: &str, upgrading: bool) -> Result<RolloutOutcome> {
    let step = ctx.ui.step(format!("roll out {}", scope.release));
    let deadline = ctx.config.deadlines.rollout;
    let wanted = live::objects_in(manifest)?;
    let release = scope.release.as_str();
    let mut watch = Watch::new(ctx, scope);
    let (mut went_on, mut counts) = (Instant::now(), [0; release::COUNTS]);
    let mut rolled_out = None;
    let (mut last, mut silent) = ((Vec::new(), Vec::new()), None);
    let ended = poll::until(&ctx.spawn.interrupt, deadline * AT_MOST, || {
        let Some(seen) = look(&watch, &mut silent)? else {
            step.update("the cluster does not answer");
            return Ok(None);
        };
        show_states(ctx, &seen, release, &wanted, upgrading);
        let states = states(&wanted, &seen)?;
        let problems = find_problems(&mut watch, &seen, release, &wanted);
        let fail =
            |what, watch: &Watch, problems| Failure { what, found: watch.found(problems), said: None, deadline: false };
        if let Some((name, why)) = states.iter().find_map(|(name, state)| Some((name, failure(state)?))) {
            watch.note(problems.clone(), &seen);
            return Ok(Some(RolloutOutcome::Failed(fail(
                format!("{name} failed: {why}"),
                &watch,
                or_unready(problems, &seen, release, &wanted),
            ))));
        }
        let open: Vec<String> =
            states.iter().filter_map(|(name, state)| Some(format!("{name}: {}", progress(state)?))).collect();
        if open.is_empty() {
            let endpointless = release::endpointless(&seen, release, &wanted);
            if endpointless.is_empty() {
                let message = format!("{} workloads rolled out, every Service has ready endpoints", states.len());
                ctx.ui.validated(release, DeploymentState::Ready, &message);
                return Ok(Some(RolloutOutcome::Done(states.len())));
            }
            step.update("its Services have no ready endpoints yet");
            if rolled_out.get_or_insert_with(Instant::now).elapsed() < ENDPOINTS.min(deadline) {
                return Ok(None);
            }
            let names: Vec<String> = endpointless.iter().map(|one| one.object.to_string()).collect();
            let what = format!("{release} is rolled out, but no ready endpoints: {}", names.join(", "));
            return Ok(Some(RolloutOutcome::Failed(fail(what, &watch, endpointless))));
        }
        step.update(&open.join(" · "));
        if let Some(problem) = watch.note(problems.clone(), &seen) {
            let what = format!("{release} cannot be rolled out, because of {}", problem.subject());
            return Ok(Some(RolloutOutcome::Failed(fail(what, &watch, problems))));
        }
        let counted = release::progress(&seen, release, &wanted);
        for (known, count) in counts.iter_mut().zip(counted) {
            if count > *known {
                (*known, went_on) = (count, Instant::now());
            }
        }
        let still = went_on.elapsed() >= deadline && !release::is_starting(&seen, release, &wanted, now());
        last = (or_unready(problems, &seen, release, &wanted), open);
        match still {
            true => Ok(Some(RolloutOutcome::Failed(overdue(&watch, &last, went_on.elapsed())))),
            false => Ok(None),
        }
    })?;
    match ended.unwrap_or_else(|| RolloutOutcome::Failed(overdue(&watch, &last, deadline * AT_MOST))) {
        RolloutOutcome::Done(count) => {
            step.done(&format!("{count} workloads"));
            Ok(RolloutOutcome::Done(count))
        }
        failed => Ok(failed),
    }
}

fn find_problems(watch: &mut Watch, seen: &[Value], release: &str, wanted: &[Value]) -> Vec<Problem> {
    let mut problems = release::problems(seen, release, wanted);
    if let Some(nodes) = watch.nodes() {
        problems.extend(release::on_nodes_away(seen, release, nodes));
    }
    problems
}

fn show_states(ctx: &Context, seen: &[Value], release: &str, wanted: &[Value], upgrading: bool) {
    let services = &ctx.config.releases[release].services;
    for (service, state) in release::states(seen, release, wanted, services, upgrading) {
        ctx.ui.state(&service, state);
    }
}

/// All that one look shows; None while the API server is away, which it may be for a while: what is under way goes on
/// without us.
fn look(watch: &Watch, silent: &mut Option<Instant>) -> Result<Option<Vec<Value>>> {
    match watch.look() {
        Ok(seen) => {
            *silent = None;
            Ok(Some(seen))
        }
        Err(error) => {
            watch.check_interrupt()?;
            if silent.get_or_insert_with(Instant::now).elapsed() < AWAY { Ok(None) } else { Err(error) }
        }
    }
}

/// Each wanted workload with the state of its live object; none wanted at all is an error, as then nothing would have
/// been proven.
pub fn states(wanted: &[Value], live: &[Value]) -> Result<Vec<(String, Rollout)>> {
    let states = rollout::states(wanted, live);
    match states.is_empty() {
        false => Ok(states),
        true => Err(Stop::failed("the release has no workload\nNext: cargo xtask up").into()),
    }
}

fn overdue(watch: &Watch, (problems, open): &(Vec<Problem>, Vec<String>), after: Duration) -> Failure {
    let what = format!("not rolled out after {} s: {}", after.as_secs(), open.join(" · "));
    Failure { what, found: watch.found(problems.clone()), said: None, deadline: true }
}

/// The problems, and where there are none, what is not ready.
fn or_unready(problems: Vec<Problem>, seen: &[Value], release: &str, wanted: &[Value]) -> Vec<Problem> {
    if problems.is_empty() { release::unready(seen, release, wanted) } else { problems }
}

fn failure(state: &Rollout) -> Option<&str> {
    match state {
        Rollout::Failed(why) => Some(why),
        _ => None,
    }
}

fn progress(state: &Rollout) -> Option<&str> {
    match state {
        Rollout::Progressing(how_far) => Some(how_far),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_release_without_workloads_is_an_error_and_an_absent_one_has_failed() {
        assert!(states(&[json!({"kind": "Service"})], &[]).is_err());
        let job = json!({"kind": "Job", "metadata": {"name": "a"}, "status": {}});
        assert_eq!(states(&[job], &[]).unwrap(), [("a".to_string(), Rollout::Failed("it is absent".to_string()))]);
    }
}
