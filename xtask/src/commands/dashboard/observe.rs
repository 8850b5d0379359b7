//! Looks at the cluster and at the records of runs for as long as a browser is there.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::dashboard::hub::Hub;
use crate::commands::dashboard::runs;
use crate::commands::dashboard::state::{Look, kinds, snapshot};
use crate::model::spans::spans;
use crate::run::context::{Context, Project};
use crate::run::lock;
use crate::run::record;
use crate::stages::{cluster, setup};
use crate::tools::kubectl;

/// Between the beginnings of two looks.
const PACE: Duration = Duration::from_secs(2);
/// How often an interruption, and whether a browser has come, is looked for.
const TURN: Duration = Duration::from_millis(100);
/// How long the API server may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Runs that are shown.
const RUNS: usize = 12;

/// Goes on until it is interrupted. Asks nothing while nobody looks.
pub fn run(project: &Project, hub: &Hub) {
    let mut tools = None;
    let mut due = Instant::now();
    while project.spawn.interrupt.check().is_ok() {
        if !hub.is_watched() || Instant::now() < due {
            std::thread::sleep(TURN);
            continue;
        }
        due = Instant::now() + PACE;
        show_runs(project, hub);
        let look = look(project, &mut tools);
        if project.spawn.interrupt.check().is_ok() {
            let shown = snapshot(&project.config, &look);
            hub.show("state", &shown.unwrap_or_else(|error| json!({ "problem": format!("{error:#}") })));
        }
    }
}

/// One question for each namespace of the profile. `tools` are looked for until they are there.
fn look(project: &Project, tools: &mut Option<Context>) -> Look {
    let at_work = lock::command_of_holder(project, &project.config.place());
    match see(project, tools) {
        Ok(seen) => Look { seen, problem: None, at_work },
        Err(error) => Look { seen: BTreeMap::new(), problem: Some(format!("{error:#}")), at_work },
    }
}

fn see(project: &Project, tools: &mut Option<Context>) -> Result<BTreeMap<String, Vec<Value>>> {
    let ctx = match tools {
        Some(ctx) => ctx,
        None => tools.insert(setup::need_tools(project)?),
    };
    let ask = |namespace: String| {
        let objects = ctx.run(kubectl::get(&ctx.target_in(&namespace), &kinds(), None).within(ANSWER))?;
        Ok((namespace, objects))
    };
    let seen: Result<_> = ctx.config.namespaces().into_iter().map(ask).collect();
    if seen.is_err() {
        // What the cluster is like says more than kubectl's words.
        cluster::need_serving(ctx)?;
    }
    seen
}

/// The newest first.
fn show_runs(project: &Project, hub: &Hub) {
    let last = record::last(project, RUNS);
    let shown = last.iter().rev().map(|(run, file)| {
        // Records that were removed meanwhile have no steps.
        let steps = spans(&fs::read_to_string(file).unwrap_or_default());
        runs::describe(run, &steps, record::is_at_work(file))
    });
    hub.show("runs", &shown.collect());
}
