//! The tests that a chart brings along, run by helm.

use std::time::Duration;

use anyhow::Result;

use crate::live;
use crate::run::context::Scope;
use crate::run::poll;
use crate::stages::smoke::{Attempt, Cause, Refusal, World};
use crate::tools::{helm, kubectl};

const LOG_LINES: u32 = 12;
/// How often a test is run that goes on failing, and how far apart.
const ATTEMPTS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(5);

/// Tests one release, or each that is installed. Returns what was asked, and what helm said.
pub fn run_test(attempt: &Attempt, release: Option<&str>) -> Result<(String, String), Refusal> {
    let mut said = Vec::new();
    for scope in &tested(attempt.world, release) {
        said.push(test_again(attempt, scope)?);
    }
    let asked = format!("helm test {}", release.unwrap_or("of each release"));
    Ok((asked, said.join("\n")))
}

/// Why helm has nothing to test: a GitOps controller that renders charts by itself keeps no release.
pub fn without_release(world: &World, release: Option<&str>) -> Result<Option<String>> {
    for scope in tested(world, release) {
        let Some((applier, _)) = live::applied_by(world.ctx, &scope)? else { continue };
        if live::last_revision(world.ctx, &scope)?.is_none() {
            return Ok(Some(format!("helm has no release {}, which is applied by {applier}", scope.release)));
        }
    }
    Ok(None)
}

fn tested(world: &World, release: Option<&str>) -> Vec<Scope> {
    let mut scopes = world.ctx.scopes();
    scopes.retain(|scope| match release {
        Some(name) => scope.release == name,
        None => is_installed(world, &scope.release),
    });
    scopes
}

/// In place of a release with `unless`, a person may have named something outside.
fn is_installed(world: &World, release: &str) -> bool {
    let about = &world.ctx.config.releases[release];
    about.unless.is_none() || about.services.iter().any(|service| world.live.contains_key(service))
}

/// A pod that was just replaced may say for a few seconds that it is not ready any more: a test that fails is run again.
fn test_again(attempt: &Attempt, scope: &Scope) -> Result<String, Refusal> {
    for _ in 1..ATTEMPTS {
        let ended = test(attempt, scope);
        let nothing_comes = || Ok(None::<()>);
        let pause = || poll::until(&attempt.world.ctx.spawn.interrupt, AGAIN, nothing_comes);
        if ended.is_ok() || attempt.left() <= AGAIN || pause().is_err() {
            return ended;
        }
    }
    test(attempt, scope)
}

fn test(attempt: &Attempt, scope: &Scope) -> Result<String, Refusal> {
    let world = attempt.world;
    let asked = format!("helm test {}, namespace {}", scope.release, scope.target.namespace);
    let left = attempt.left().max(Duration::from_secs(1));
    let call = helm::test(&scope.target, &scope.release, left);
    // Helm itself keeps the deadline, and then says which test it waited for.
    let output = match world.ctx.output(call) {
        Ok(output) if output.success => return Ok(output.stdout),
        Ok(output) => output,
        Err(error) => return Err(Refusal::Wrong(Cause::new(asked, "success", format!("{error:#}")))),
    };
    let failed = helm::parse_failed_tests(&output.stdout);
    let error = output.tail.lines().find(|line| line.starts_with("Error:")).or(output.tail.lines().last());
    let mut came = vec![match failed.is_empty() {
        true => error.unwrap_or("nothing was said").to_string(),
        false => format!("{} did not succeed", failed.join(", ")),
    }];
    for test in failed {
        let logs = kubectl::all_logs(&scope.target, &format!("pod/{test}"), LOG_LINES);
        came.push(match world.ctx.output(logs) {
            Ok(output) if output.success && !output.stdout.trim().is_empty() => {
                format!("the last log lines of pod {test}:\n{}", output.stdout.trim_end())
            }
            Ok(output) if output.success => format!("pod {test} logged nothing"),
            _ => format!("the log of pod {test} is not available"),
        });
    }
    Err(Refusal::Wrong(Cause::new(asked, "success", came.join("\n"))))
}
