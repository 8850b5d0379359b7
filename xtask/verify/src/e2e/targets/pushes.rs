//! Pushes that fail: the registry refuses them, is slow, dies in the middle of one, or has no room.

use std::fs;

use anyhow::{Result, ensure};

use crate::e2e::targets::{TEAM, Team};
use crate::e2e::world::{Begun, World, tells};
use xtask::run::call::DEADLINE;
use xtask::run::poll;

/// No image of the project comes through at this speed before `SHORT_S` is over.
const SLOW_BYTES_PER_S: u64 = 20_000;
const SHORT_S: u64 = 8;
/// A push at this speed takes long enough for the registry to die in its middle.
const MIDDLING_BYTES_PER_S: u64 = 1_000_000;

pub fn fail(world: &World) -> Result<()> {
    let mut team = Team::new(world)?;
    team.up()?;
    team.change("into a registry that fails")?;
    // What a run before has pushed would leave nothing to push.
    for image in ["todo-chatbot-backend", "todo-chatbot-frontend"] {
        team.registry.forget(image)?;
    }
    team.registry.stop();
    team.is_refused(1, &["the registry", "Next: run the same command again"])?;
    team.registry.serve(true)?;
    team.is_refused(1, &["the registry", "read-only"])?;
    team.registry.serve(false)?;
    team.registry.log_in("another")?;
    team.is_refused(1, &["refuses the credentials", "docker login"])?;
    team.registry.log_in_again()?;
    slow(&team)?;
    breaks_off(&mut team)?;
    let output = team.up()?;
    let pushed = |image: &str| output.tail.contains(&format!("push todo-chatbot-{image}"));
    ensure!(pushed("frontend") && !pushed("backend"), "what was pushed did not stay\n{}", output.tail);
    Ok(())
}

/// A push that its deadline ends.
fn slow(team: &Team) -> Result<()> {
    team.registry.relay.slow_down(SLOW_BYTES_PER_S);
    let file = team.root.join("xtask.toml");
    let described = fs::read_to_string(&file)?;
    fs::write(&file, format!("{described}\n[deadlines]\nload_s = {SHORT_S}\n"))?;
    team.is_refused(
        4,
        &["cannot push the image of backend", "within 8 s, its deadline", "layers pushed", "deadlines.load_s"],
    )?;
    Ok(fs::write(&file, described)?)
}

/// The registry dies in the middle of the second image, and comes back with a full disk while docker still retries.
fn breaks_off(team: &mut Team) -> Result<()> {
    let world = team.world;
    team.registry.relay.slow_down(MIDDLING_BYTES_PER_S);
    let before = world.fingerprint()?;
    let run: Begun = world.begin_by(&team.spawn, &team.root, &["up", "--verbose", "--target", TEAM])?;
    let is_in_the_middle = || {
        let pushes =
            run.has_said("push todo-chatbot-frontend …") && team.registry.is_receiving("todo-chatbot-frontend");
        Ok((pushes || run.has_ended()).then_some(()))
    };
    poll::until(&world.ctx.spawn.interrupt, DEADLINE * 2, is_in_the_middle)?;
    team.registry.stop();
    let retries = || Ok((run.has_said("docker retries") || run.has_ended()).then_some(()));
    poll::until(&world.ctx.spawn.interrupt, DEADLINE, retries)?;
    team.registry.serve_full()?;
    let output = run.end(world)?;
    ensure!(output.code == Some(1), "up ended with {:?} without its registry\n{}", output.code, output.tail);
    let words = ["layers pushed", "docker retries", "cannot push the image of frontend", "has no room left"];
    tells(&output, &words)?;
    tells(&output, &["Next: have it cleaned up"])?;
    ensure!(world.fingerprint()? == before, "a push that was broken off changed something\n{}", output.tail);
    team.registry.stop();
    team.registry.make_room();
    team.registry.relay.slow_down(0);
    team.registry.serve(false)
}
