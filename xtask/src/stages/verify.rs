//! Watches the release's own workloads until they are rolled out, and the pods beside them for what goes wrong.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::context::{Context, Scope};
use crate::live;
use crate::model::pods::{Trouble, current, troubles, unready};
use crate::model::rollout::{Rollout, is_workload, judge};
use crate::poll;
use crate::stop::Stop;
use crate::tools::Paths;

/// How long a pod may be in a state that looks hopeless before it is believed: image loads and config maps settle.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a wait ended.
pub enum Outcome {
    /// All workloads are rolled out, and how many there are.
    Done(usize),
    /// Waiting longer would not help, or the deadline has passed.
    Failed { what: String, troubles: Vec<Trouble>, deadline: bool },
}

/// Waits until every workload of a release's manifest is rolled out. A pod that can't start ends the wait at once.
pub fn wait(ctx: &Context, tools: &Paths, scope: &Scope, manifest: &str) -> Result<Outcome> {
    let step = ctx.ui.step(format!("roll out {}", scope.release));
    let deadline = ctx.config.deadlines.rollout;
    let wanted = live::objects_in(manifest)?;
    let mut hopeless_since = None;
    let mut open = Vec::new();
    let ended = poll::until(&ctx.spawn.interrupt, deadline, || {
        let states = states(&wanted, &live::objects_of(ctx, tools, scope, manifest)?)?;
        if let Some((name, why)) = states.iter().find_map(|(name, state)| Some((name, failure(state)?))) {
            return failed(ctx, tools, scope, format!("{name} failed: {why}"), false).map(Some);
        }
        open = states.iter().filter_map(|(name, state)| Some(format!("{name}: {}", progress(state)?))).collect();
        if open.is_empty() {
            return Ok(Some(Outcome::Done(states.len())));
        }
        step.update(&open.join(" · "));
        match current(&live::pods(ctx, tools, scope)?).into_iter().flat_map(troubles).find(|trouble| trouble.fatal) {
            None => hopeless_since = None,
            Some(trouble) => {
                if hopeless_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return failed(ctx, tools, scope, format!("pod {} cannot start", trouble.pod), false).map(Some);
                }
            }
        }
        Ok(None)
    })?;
    match ended {
        Some(Outcome::Done(count)) => {
            step.done(&format!("{count} workloads"));
            Ok(Outcome::Done(count))
        }
        Some(outcome) => Ok(outcome),
        None => failed(
            ctx,
            tools,
            scope,
            format!("not rolled out after {} s: {}", deadline.as_secs(), open.join(" · ")),
            true,
        ),
    }
}

/// Each wanted workload with the state of its live object; none wanted at all is an error, as then nothing would have
/// been proven.
pub fn states(wanted: &[Value], live: &[Value]) -> Result<Vec<(String, Rollout)>> {
    let identity = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    let workloads = wanted.iter().filter(|object| is_workload(object["kind"].as_str().unwrap_or_default()));
    let states: Vec<(String, Rollout)> = workloads
        .map(|object| {
            let found = live.iter().find(|other| identity(other) == identity(object));
            let state = found.map_or(Rollout::Failed("it is absent".to_string()), judge);
            (object["metadata"]["name"].as_str().unwrap_or_default().to_string(), state)
        })
        .collect();
    match states.is_empty() {
        false => Ok(states),
        true => Err(Stop::failed("the release has no workload\nNext: cargo xtask up").into()),
    }
}

fn failed(ctx: &Context, tools: &Paths, scope: &Scope, what: String, deadline: bool) -> Result<Outcome> {
    let pods = live::pods(ctx, tools, scope)?;
    let pods = current(&pods);
    let found: Vec<Trouble> = pods.iter().copied().flat_map(troubles).collect();
    let troubles = if found.is_empty() { pods.into_iter().flat_map(unready).collect() } else { found };
    Ok(Outcome::Failed { what, troubles, deadline })
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
