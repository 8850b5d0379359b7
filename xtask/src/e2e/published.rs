//! What each published system is held to: it comes up, obeys its rules, upgrades, rolls back and goes away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{SHORT, Scenario, World};
use crate::live;
use crate::process::command;
use crate::stages::bootstrap;
use crate::tools::{helm, kubectl, vegeta};

/// Each starts from where the one before it ended.
pub const SCENARIOS: [Scenario; 6] = [
    ("comes up and answers", comes_up),
    ("obeys every rule of its data model", obeys),
    ("helm's own tests pass", helm_tests),
    ("upgrades and rolls back under load, and loses no request", upgrades),
    ("what fails goes back, with what needs it", fails),
    ("goes away and leaves nothing", goes_away),
];

/// Requests a second, of each of two kinds: over kept connections, and over new ones.
const RATE: u32 = 20;
/// The load ends when the test says so; this is for a test that can't.
const LOAD: Duration = Duration::from_secs(600);

fn comes_up(world: &World) -> Result<()> {
    let output = world.xtask(&["up", "--yes"])?;
    ensure!(output.success, "up failed\n{}", output.tail);
    let again = world.xtask(&["up"])?;
    ensure!(again.success, "a second up failed\n{}", again.tail);
    ensure!(again.tail.contains("nothing to deploy"), "a second up changed something\n{}", again.tail);
    Ok(())
}

fn obeys(world: &World) -> Result<()> {
    let output = world.xtask(&["validate", "--live"])?;
    ensure!(output.success, "validate --live found something\n{}\n{}", output.stdout, output.tail);
    Ok(())
}

fn helm_tests(world: &World) -> Result<()> {
    for scope in world.ctx.scopes() {
        let told = helm::test(&world.tools.helm, &scope.target, &scope.release, 120);
        world.ctx.spawn.run(command(told, SHORT * 3))?;
    }
    Ok(())
}

/// A setting changes without an image being built; every release that runs a service gets a revision of its own.
fn upgrades(world: &World) -> Result<()> {
    let before = revisions(world)?;
    let mut load = Load::begin(world)?;
    let output = world.up_with(&changed(world, "LOG_LEVEL: debug"), &[])?;
    ensure!(output.success, "the upgrade failed\n{}", output.tail);
    ensure!(!output.tail.contains("✓ build"), "a changed setting built an image\n{}", output.tail);
    let upgraded = revisions(world)?;
    ensure!(
        upgraded.iter().zip(&before).all(|(new, old)| new > old),
        "not every release went on: {before:?}, {upgraded:?}"
    );
    let output = world.xtask(&["rollback"])?;
    ensure!(output.success, "the rollback failed\n{}", output.tail);
    ensure!(revisions(world)? > upgraded, "a rollback is a revision of its own");
    let (sent, lost) = load.end(world)?;
    let profile = &world.ctx.config.profile;
    world.ctx.ui.say(&format!("{profile}: {sent} requests during an upgrade and a rollback, {lost} lost"));
    ensure!(sent > 0, "nothing was asked during the upgrade");
    ensure!(lost == 0, "{lost} of {sent} requests were lost during the upgrade and the rollback");
    // Where nothing is changed by hand, `up` finds nothing to do after a rollback.
    let output = world.xtask(&["up"])?;
    ensure!(
        output.success && output.tail.contains("nothing to deploy"),
        "up after a rollback deployed\n{}",
        output.tail
    );
    Ok(())
}

/// The backend can't start: its release goes back, and those that need it are not begun.
fn fails(world: &World) -> Result<()> {
    let before = revisions(world)?;
    let output = world.up_with(&changed(world, "DATABASE_MAX_CONNECTIONS: many"), &[])?;
    ensure!(!output.success, "up called a backend well that cannot start\n{}", output.tail);
    for word in ["DATABASE_MAX_CONNECTIONS", "is back at revision"] {
        ensure!(output.tail.contains(word), "the failure does not tell «{word}»\n{}", output.tail);
    }
    let releases: Vec<&String> = own_releases(world).collect();
    if releases.len() > 1 {
        ensure!(output.tail.contains("not begun, as"), "the failure does not tell what was not begun\n{}", output.tail);
        let changed = revisions(world)?.iter().zip(&before).filter(|(new, old)| new != old).count();
        ensure!(changed == 1, "{changed} of {releases:?} were changed for a failure in the first");
    }
    let output = world.xtask(&["smoke"])?;
    ensure!(output.success, "what served before does not serve\n{}", output.tail);
    Ok(())
}

fn goes_away(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    for name in world.ctx.config.namespaces() {
        let target = world.ctx.target_in(&name);
        let releases = helm::parse_list(&world.run(helm::list(&world.tools.helm, &target))?);
        ensure!(releases.is_empty(), "{releases:?} are still in namespace {name}");
        let kinds = "deployments,statefulsets,services,secrets,persistentvolumeclaims,networkpolicies";
        let told = world.run(kubectl::get(&world.tools.kubectl, &target, kinds, None))?;
        let left: Vec<Value> = live::parse_objects(&told)?;
        let ours = |object: &&Value| object["metadata"]["labels"]["component"] != "apiserver";
        let left: Vec<String> = left.iter().filter(ours).map(|one| one["metadata"]["name"].to_string()).collect();
        ensure!(left.is_empty(), "{} are still in namespace {name}", left.join(", "));
    }
    Ok(())
}

/// The releases of the application, without the database.
fn own_releases<'a>(world: &'a World) -> impl Iterator<Item = &'a String> {
    let own = &world.ctx.config.namespace;
    world.ctx.config.releases.iter().filter(move |(_, release)| release.namespace == *own).map(|(name, _)| name)
}

fn revisions(world: &World) -> Result<Vec<u64>> {
    let last = |name: &String| {
        let last = live::last_revision(&world.ctx, world.tools, &world.ctx.scope(name))?;
        Ok(last.with_context(|| format!("{name} is not installed"))?.0)
    };
    own_releases(world).map(last).collect()
}

/// Values by which every service of the application has another environment.
fn changed(world: &World, line: &str) -> String {
    let config = &world.ctx.config;
    let own: Vec<&String> = own_releases(world).collect();
    match own.as_slice() {
        [only] => {
            let services = config.releases[*only].services.iter();
            let lines: Vec<String> = services.map(|name| format!("  {name}:\n    env:\n      {line}\n")).collect();
            format!("services:\n{}", lines.concat())
        }
        several => several.iter().map(|name| format!("{name}:\n  env:\n    {line}\n")).collect(),
    }
}

/// Requests to the service that is open, from the beginning to the end of something.
struct Load {
    program: String,
    running: Vec<(crate::process::Background, String)>,
}

impl Load {
    fn begin(world: &World) -> Result<Load> {
        let [program] = bootstrap::programs(&world.ctx, ["vegeta"])?;
        let url = live::open_url(&world.ctx, world.tools)?.context("no URL answers from outside")?;
        let targets = world.ctx.staging("targets");
        std::fs::write(&targets, format!("GET {url}/\n"))?;
        let mut running = Vec::new();
        for keep_alive in [true, false] {
            let results = world.ctx.staging(&format!("results-{keep_alive}")).display().to_string();
            let told =
                vegeta::attack(&program, &targets.display().to_string(), &results, RATE, keep_alive, LOAD.as_secs());
            running.push((world.ctx.spawn.background(told, |_| {})?, results));
        }
        Ok(Load { program, running })
    }

    /// How many requests were sent, and how many of them were not answered with 200.
    fn end(&mut self, world: &World) -> Result<(u64, u64)> {
        let (mut sent, mut lost) = (0, 0);
        for (attack, results) in self.running.drain(..) {
            ensure!(!attack.has_ended(), "the load ended by itself");
            // Interrupted, it writes what it has.
            attack.interrupt();
            let report = world.run(vegeta::report(&self.program, &results))?;
            let (of_this, well) = vegeta::parse_report(&report).with_context(|| format!("vegeta told {report}"))?;
            sent += of_this;
            lost += of_this - well;
        }
        Ok((sent, lost))
    }
}
