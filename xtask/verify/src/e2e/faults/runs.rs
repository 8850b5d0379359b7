//! Runs that do not get to their end, and runs that meet.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::e2e::faults::cluster::{HOOK, with_hook};
use crate::e2e::faults::{NAMESPACE, RELEASE, await_some, finally, status, while_serving};
use crate::e2e::world::Begun;
use crate::e2e::world::{World, tells};
use xtask::run::call::DEADLINE;
use xtask::run::lock;
use xtask::stages::render;
use xtask::tools::helm;
use xtask::tools::helm::Chart;

/// What a hook does that never ends.
const HANGS: &str = "[/app/mcp]";
/// Values with which the MCP server never gets ready.
const NEVER_READY: &str = "services:\n  mcp:\n    env:\n      BACKEND_URL: http://127.0.0.1:1\n";

pub fn left_pending(world: &World) -> Result<()> {
    let (before, _) = status(world)?;
    let root = with_hook(world, HANGS)?;
    let folder = world.ctx.staging("pending");
    render::stage_chart(&root.join("helm/todo-chatbot"), &folder)?;
    let folder = folder.display().to_string();
    let chart = Chart { release: RELEASE, folder: &folder, values: &[] };
    let mut upgrade = helm::upgrade(&world.ctx.tools.helm, &world.target, &chart, "by hand", DEADLINE);
    upgrade.argv.push("--reuse-values".to_string());
    let running = world.ctx.spawn.background(upgrade, |_| {})?;
    await_pending(world, before)?;
    running.signal(Signal::KILL);
    await_some(world, "the end of helm", || Ok(running.has_ended().then_some(())))?;
    let (_, left) = status(world)?;
    ensure!(left == "pending-upgrade", "helm was killed, and the release is {left}");
    let output = finally(while_serving(world, || world.xtask(&["up"])), world.delete(HOOK))?;
    ensure!(output.success, "up did not mend a pending release\n{}", output.tail);
    let (_, mended) = status(world)?;
    ensure!(mended == "deployed", "the release is {mended}");
    tells(&output, &["left pending-upgrade"])
}

/// The labels by which a selector finds pods, and the same with one more.
const SELECTOR: &str = "app.kubernetes.io/name: {{ .name }}\napp.kubernetes.io/instance";
const MORE_SELECTOR: &str = "app.kubernetes.io/name: {{ .name }}\nexample.org/more: \"1\"\napp.kubernetes.io/instance";

pub fn immutable_change_fails(world: &World) -> Result<()> {
    let root = world.project("immutable")?;
    // Fields of the StatefulSet, and the selectors of all workloads.
    for (file, from, to) in [
        ("helm/library/templates/_workload.tpl", "podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady"),
        ("helm/library/templates/_described.tpl", SELECTOR, MORE_SELECTOR),
    ] {
        let path = root.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        ensure!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1))?;
    }
    let task = world.add_task("survives a change of immutable fields")?;
    let file = world.overrides(NEVER_READY)?;
    let output = world.xtask_in(&root, &["up", "--override", &file, "--timeout", "30"])?;
    ensure!(output.code == Some(4), "it ended with {:?} instead of 4\n{}", output.code, output.tail);
    tells(&output, &["recreating ", "statefulset/postgres", "deployment/mcp", "is back at revision"])?;
    let (_, left) = status(world)?;
    ensure!(left == "deployed", "the release was left {left}\n{}", output.tail);
    let again = world.up()?;
    tells(&again, &["nothing to deploy"])?;
    world.expect_task(&task)
}

pub fn interrupted_in_helm(world: &World) -> Result<()> {
    let (before, _) = status(world)?;
    let root = with_hook(world, HANGS)?;
    let ended = while_serving(world, || {
        let begun = world.begin_in(&root, &["up"])?;
        await_pending(world, before)?;
        begun.signal(Signal::INT);
        begun.end(world)
    });
    let output = finally(ended, world.delete(HOOK))?;
    ensure!(output.code == Some(130), "it ended with {:?} instead of 130\n{}", output.code, output.tail);
    let (_, left) = status(world)?;
    ensure!(!left.starts_with("pending"), "the release was left {left}\n{}", output.tail);
    tells(&output, &["interrupted; run the same command again"])
}

pub fn interrupted_in_rollout(world: &World) -> Result<()> {
    let output = while_serving(world, || {
        let begun = begin_rollout(world)?;
        begun.signal(Signal::TERM);
        begun.end(world)
    })?;
    ensure!(output.code == Some(130), "it ended with {:?} instead of 130\n{}", output.code, output.tail);
    let (_, left) = status(world)?;
    ensure!(left == "deployed", "the release was left {left}\n{}", output.tail);
    Ok(())
}

/// Once while helm works, and once in the rollout.
pub fn killed(world: &World) -> Result<()> {
    let (before, _) = status(world)?;
    let root = with_hook(world, HANGS)?;
    let ended = while_serving(world, || {
        let begun = world.begin_in(&root, &["up"])?;
        await_pending(world, before)?;
        begun.signal(Signal::KILL);
        begun.end(world)?;
        world.up()
    });
    finally(ended, world.delete(HOOK))?;
    while_serving(world, || {
        let begun = begin_rollout(world)?;
        begun.signal(Signal::KILL);
        begun.end(world)?;
        world.up().map(drop)
    })
}

pub fn lock_held(world: &World) -> Result<()> {
    let held = lock::hold_within(&world.ctx, NAMESPACE, Duration::from_secs(1))?;
    let begun = world.begin(&["up"])?;
    let waits = await_some(world, "word of the other run", || {
        Ok(begun.has_said(&format!("waiting for another run on {NAMESPACE}")).then_some(()))
    });
    let ended_too_early = begun.has_ended();
    drop(held);
    let output = begun.end(world)?;
    waits.with_context(|| output.tail.clone())?;
    ensure!(!ended_too_early, "it did not wait\n{}", output.tail);
    ensure!(output.success, "it failed when the other run had ended\n{}", output.tail);
    Ok(())
}

/// An `up` whose helm has ended well, and which waits for pods.
fn begin_rollout(world: &World) -> Result<Begun> {
    let (before, _) = status(world)?;
    let overrides = world.overrides(NEVER_READY)?;
    let begun = world.begin(&["up", "--override", &overrides])?;
    let applied = || {
        let (now, status) = status(world)?;
        Ok((now > before && status == "deployed").then_some(()))
    };
    await_some(world, "a new revision", applied)?;
    Ok(begun)
}

fn await_pending(world: &World, before: u64) -> Result<()> {
    await_some(world, "helm at work", || {
        let (now, status) = status(world)?;
        Ok((now > before && status.starts_with("pending")).then_some(()))
    })
}
