//! Another repository that uses the tool by path: examples/hello, with the chart that `helm create` writes.

use anyhow::{Context as _, Result, ensure};

use crate::e2e::scenario::Scenario;
use crate::e2e::world::World;
use crate::lanes::schedule::Takes;
use xtask::commands::verify;
use xtask::run::process::Spawn;

/// Relative to the root.
pub const PROJECT: &str = "examples/hello";
/// Not the project's own, which may be in use.
pub const NAMESPACE: &str = "hello-e2e";

pub const COMES_UP: Scenario =
    Scenario::new("another repository's chart comes up and answers", comes_up).taking(Takes::NodePorts);
pub const CHANGES_NOTHING: Scenario =
    Scenario::new("a second up changes nothing", changes_nothing).taking(Takes::Nothing);
pub const GOES_AWAY: Scenario = Scenario::new("goes away and leaves no namespace", goes_away).taking(Takes::Nothing);

/// Cargo in another project: it finds that project by itself, and builds into the folder that this program comes from.
pub fn spawn(mut spawn: Spawn) -> Result<Spawn> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("the program lies in a target folder")?;
    spawn.env.push(("CARGO_TARGET_DIR".to_string(), target.display().to_string()));
    Ok(Spawn { hidden: &[verify::ROOT], ..spawn })
}

fn comes_up(world: &World) -> Result<()> {
    let output = world.xtask(&["up", "--yes"])?;
    ensure!(output.success, "up failed\n{}", output.tail);
    let url = world.url()?;
    let line = format!("{} runs at {url}", world.ctx.config.subject());
    ensure!(output.stdout.contains(&line), "up did not print {line}\n{}", output.stdout);
    let answer = world.get(&url)?;
    ensure!(answer.contains("Hello"), "{url} answered {answer}");
    Ok(())
}

fn changes_nothing(world: &World) -> Result<()> {
    let before = world.fingerprint()?;
    let output = world.up()?;
    ensure!(output.tail.contains("nothing to deploy"), "a second up deployed\n{}", output.tail);
    let after = world.fingerprint()?;
    ensure!(after == before, "a second up changed something:\n{before}\n{after}");
    Ok(())
}

fn goes_away(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    let left = world.objects(&format!("namespace/{NAMESPACE}"))?;
    ensure!(left.is_empty(), "the namespace {NAMESPACE} is still there");
    Ok(())
}
