//! What `dev` does in place of `up`: with a file that its image has as it is, and with code.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::e2e::world::Begun;
use crate::e2e::world::World;
use xtask::run::call::DEADLINE;
use xtask::run::poll;
use xtask::tools::kubectl;

const SHEET: &str = "services/frontend/assets/app.css";
/// What all Rust services are compiled of.
const REPLY: &str = "services/kit/src/reply.rs";
/// A build, a rollout and all checks.
const RUN: Duration = Duration::from_secs(180);

/// A style sheet is copied into the container that runs; a pod of before the copy is none, and the image has it at last.
pub fn copies(world: &World) -> Result<()> {
    let root = world.project("dev")?;
    let sheet = || world.get(&format!("{}/assets/app.css", world.url()?));
    let add = |line: &str| -> Result<()> {
        let text = fs::read_to_string(root.join(SHEET))?;
        Ok(fs::write(root.join(SHEET), format!("{text}{line}\n"))?)
    };
    let dev = world.begin_in(&root, &["dev"])?;
    let edited = (|| {
        until(world, &dev, "dev waits", || Ok(dev.has_said("waiting for a change")))?;
        let before = world.fingerprint()?;
        add("/* copied */")?;
        until(world, &dev, "the line is served", || Ok(sheet()?.contains("/* copied */")))?;
        ensure!(world.fingerprint()? == before, "a copy changed the release or its pods");
        // The next pod is made of the image, which has no such line.
        let pods = world.pods()?;
        let own = pods.iter().find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "frontend");
        let name = own.and_then(|pod| pod["metadata"]["name"].as_str()).context("no pod of frontend")?;
        world.run(kubectl::delete(&world.target, &[format!("pod/{name}")], DEADLINE))?;
        until(world, &dev, "another pod serves", || Ok(sheet().is_ok_and(|text| !text.contains("/* copied */"))))?;
        add("/* built */")?;
        until(world, &dev, "the image has both", || {
            Ok(sheet().is_ok_and(|text| text.contains("/* copied */") && text.contains("/* built */")))
        })?;
        ensure!(dev.has_said("it takes the way of up"), "dev did not say why it built");
        until(world, &dev, "dev waits again", || Ok(dev.times_said("waiting for a change") == 3))?;
        add("/* at last */")?;
        until(world, &dev, "the last line is served", || Ok(sheet()?.contains("/* at last */")))
    })();
    dev.signal(Signal::INT);
    let output = dev.end(world)?;
    edited?;
    ensure!(output.success, "dev did not end well\n{}", output.tail);
    ensure!(output.tail.contains("what was copied goes into the images"), "{}", output.tail);
    ensure!(sheet()?.contains("/* at last */"), "the image has not what was copied");
    world.up().map(drop)
}

/// Code that three services share is changed: each starts again in the pod that it has, a mistake of the compiler's leaves what
/// serves, and at the end the images have it.
pub fn restarts(world: &World) -> Result<()> {
    let root = world.project("dev")?;
    let health = || world.get(&format!("{}/api/health", world.url()?));
    let says = |word: &str| Ok(health().is_ok_and(|text| text.contains(word)));
    let change = |from: &str, to: &str| -> Result<()> {
        let text = fs::read_to_string(root.join(REPLY))?;
        ensure!(text.contains(from), "{REPLY} has no {from}");
        Ok(fs::write(root.join(REPLY), text.replace(from, to))?)
    };
    let dev = world.begin_in(&root, &["dev"])?;
    let edited = (|| {
        until(world, &dev, "dev waits", || Ok(dev.has_said("waiting for a change")))?;
        let before = world.fingerprint()?;
        change(r#"{"status": "ok"}"#, r#"{"status": "ok", "by": "one"}"#)?;
        until(world, &dev, "the change is served", || says(r#""by":"one""#))?;
        until(world, &dev, "dev waits again", || Ok(dev.times_said("waiting for a change") == 2))?;
        for service in ["backend", "frontend", "mcp"] {
            ensure!(dev.has_said(&format!("✓ restart {service}")), "{service} did not start again");
        }
        change(r#""one""#, r#""one"#)?;
        until(world, &dev, "the mistake is shown", || Ok(dev.times_said("waiting for a change") == 3))?;
        ensure!(says(r#""by":"one""#)?, "what served before does no longer");
        change(r#""one"#, r#""two""#)?;
        until(world, &dev, "the next change is served", || says(r#""by":"two""#))?;
        until(world, &dev, "dev waits at last", || Ok(dev.times_said("waiting for a change") == 4))?;
        ensure!(world.fingerprint()? == before, "the release or its pods have changed");
        Ok(())
    })();
    dev.signal(Signal::INT);
    let output = dev.end(world)?;
    edited?;
    ensure!(output.success, "dev did not end well\n{}", output.tail);
    ensure!(says(r#""by":"two""#)?, "the images have not what was built");
    world.up().map(drop)
}

fn until(world: &World, dev: &Begun, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let came = poll::until(&world.ctx.spawn.interrupt, RUN, || {
        ensure!(!dev.has_ended(), "dev has ended");
        Ok(holds()?.then_some(()))
    })?;
    came.with_context(|| format!("{} s have passed, and this has not come: {what}", RUN.as_secs()))
}
