//! `history`: the revisions that helm keeps of each release, with the reason why the tool made them, and the last runs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::live;
use crate::model::time;
use crate::run::context::Project;
use crate::run::lock;
use crate::run::record;
use crate::run::record::Run;
use crate::stages::cluster;
use crate::stages::setup;
use crate::tools::helm::Revision;

/// Helm keeps ten revisions of a release.
const REVISIONS: u32 = 10;
const RUNS: usize = 15;

/// Prints revisions and runs, the newest first. Without a cluster that runs there are the runs alone.
pub fn run(project: &Project) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    lock::report_holder(project, &project.config.place());
    let runs = record::last(project, usize::MAX);
    // What was deployed twice under one number, before and after a `down`, is reported of the later time.
    let why: BTreeMap<(&str, u64), &str> = runs
        .iter()
        .flat_map(|(run, _)| &run.deployed)
        .map(|(release, revision, why)| ((release.as_str(), *revision), why.as_str()))
        .collect();
    let mut lines = Vec::new();
    let mut releases = Vec::new();
    match revisions(project) {
        Ok(all) => {
            for (release, namespace, revisions) in &all {
                lines.push(format!("release {release}, namespace {namespace}"));
                if revisions.is_empty() {
                    lines.push("  not installed".to_string());
                }
                lines.extend(revisions.iter().rev().map(|one| {
                    let why = why.get(&(release.as_str(), one.number)).copied();
                    let age = time::seconds(&one.updated).map_or("?".to_string(), |at| time::ago(now - at));
                    let message = one.went_back_to().map(|back| format!("rollback to {back}"));
                    let message = message.as_deref().or(why).unwrap_or(&one.description);
                    format!("  {:>4}  {:<16} {:>8} ago  {message}", one.number, one.status, age)
                }));
                releases.push(json!({
                    "release": release, "namespace": namespace,
                    "revisions": revisions.iter().map(|one| revision(one, why.get(&(release.as_str(), one.number)))).collect::<Vec<_>>(),
                }));
            }
        }
        Err(error) => lines.push(format!("no revisions: {}", format!("{error:#}").lines().next().unwrap_or_default())),
    }
    lines.push("runs".to_string());
    let shown = &runs[runs.len().saturating_sub(RUNS)..];
    lines.extend(shown.iter().rev().map(|(run, _)| line(run, now)));
    match runs.last() {
        Some((_, file)) => lines.push(format!("record of the last one: {}", file.display())),
        None => lines.push("  none yet".to_string()),
    }
    let message: Vec<Value> = shown
        .iter()
        .map(|(run, file)| {
            json!({
                "command": run.command, "profile": run.profile, "started": time::text(run.started), "code": run.code,
                "took_ms": run.took.as_millis() as u64, "errors": run.errors, "record": file,
            })
        })
        .collect();
    project.ui.answer(&lines.join("\n"), json!({ "releases": releases, "runs": message }));
    Ok(())
}

/// A run as one line: command, age, ending, first error.
pub fn line(run: &Run, now: i64) -> String {
    let error = run.errors.first().map_or(String::new(), |error| format!(": {error}"));
    format!("  {:<9} {:>8} ago  {}{error}", run.command, time::ago(now - run.started), run.ending())
}

/// Each release with its namespace and its revisions, the newest last.
fn revisions(project: &Project) -> Result<Vec<(String, String, Vec<Revision>)>> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let describe = |scope: crate::run::context::Scope| {
        let history = live::history(ctx, &scope, REVISIONS)?;
        Ok((scope.release, scope.target.namespace, history))
    };
    ctx.scopes().into_iter().map(describe).collect()
}

fn revision(one: &Revision, why: Option<&&str>) -> Value {
    json!({
        "revision": one.number, "status": one.status, "updated": one.updated, "description": one.description,
        "went_back_to": one.went_back_to(), "why": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_run_is_reported_with_its_age_and_its_first_error() {
        let mut run = Run {
            command: "up".to_string(),
            started: 100,
            code: Some(0),
            took: Duration::from_millis(2100),
            ..Run::default()
        };
        assert_eq!(line(&run, 160), "  up            60 s ago  done in 2.1 s");
        run.code = Some(1);
        run.errors = vec!["backend crashed".to_string(), "other".to_string()];
        assert_eq!(line(&run, 7300), "  up             2 h ago  failed with exit code 1: backend crashed");
    }
}
