//! Follows the logs of all services for as long as a browser is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::commands::dashboard::hub::Hub;
use crate::commands::logs::{follow_all, line_fields};
use crate::run::context::Project;
use crate::run::process::{Interrupt, Spawn};
use crate::stages::setup;

/// How often an interruption, and whether a browser is there, is looked for.
const TURN: Duration = Duration::from_millis(100);
/// How long logs are followed after the last browser has gone: a page that is loaded again is gone for a moment.
const ABSENCE: Duration = Duration::from_secs(10);
/// Between two tries where logs cannot be had.
const AGAIN: Duration = Duration::from_secs(3);

/// Goes on until it is interrupted. Logs that were left are read from their beginning again.
pub fn run(project: &Project, hub: &Hub) {
    let interrupt = &project.spawn.interrupt;
    let mut due = Instant::now();
    while interrupt.check().is_ok() {
        if !hub.is_watched() || Instant::now() < due {
            std::thread::sleep(TURN);
            continue;
        }
        let stop = Interrupt::default();
        let ended = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| stop_when_unwatched(interrupt, hub, &stop, &ended));
            // The state says why the cluster cannot be asked.
            let _ = follow(project, hub, &stop);
            ended.store(true, Ordering::Relaxed);
        });
        hub.forget_lines();
        due = Instant::now() + AGAIN;
    }
}

fn follow(project: &Project, hub: &Hub, stop: &Interrupt) -> Result<()> {
    let spawn = Spawn { interrupt: stop.clone(), ..project.spawn.clone() };
    let project = Project { spawn, ..project.clone() };
    let ctx = setup::need_tools(&project)?;
    follow_all(&ctx, &|about, time, text| {
        hub.add_line(&line_fields(about, time, text));
        true
    })
}

fn stop_when_unwatched(interrupt: &Interrupt, hub: &Hub, stop: &Interrupt, ended: &AtomicBool) {
    let mut last_seen = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        if hub.is_watched() {
            last_seen = Instant::now();
        }
        if interrupt.check().is_err() || last_seen.elapsed() > ABSENCE {
            return stop.set();
        }
        std::thread::sleep(TURN);
    }
}
