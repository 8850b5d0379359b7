//! `history`: the revisions that helm keeps of each release, with the reason why the tool made them, and the last runs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::live;
use crate::model::gitops::{Applier, Entry};
use crate::model::time;
use crate::run::call::{argv, display};
use crate::run::context::{Context, Project, Scope};
use crate::run::lock;
use crate::run::record;
use crate::run::record::Run;
use crate::stages::cluster;
use crate::stages::setup;
use crate::tools::helm::Revision;
use crate::tools::kubectl;

/// Helm keeps ten revisions of a release.
const REVISIONS: u32 = 10;
const RUNS: usize = 15;

/// Why the tool made a revision, by release and number.
type Reasons<'a> = BTreeMap<(&'a str, u64), &'a str>;

struct Release {
    scope: Scope,
    /// Those that helm keeps, the newest last.
    revisions: Vec<Revision>,
    applied: Option<Applied>,
}

/// A release that a GitOps controller applies.
struct Applied {
    /// Who applies it and what was applied last, and where its history is.
    lines: [String; 2],
    json: Value,
}

/// Prints revisions and runs, the newest first. Without a cluster that runs there are the runs alone.
pub fn run(project: &Project) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    lock::report_holder(project, &project.config.place());
    let runs = record::last(project, usize::MAX);
    // What was deployed twice under one number, before and after a `down`, is reported of the later time.
    let why: Reasons = runs
        .iter()
        .flat_map(|(run, _)| &run.deployed)
        .map(|(release, revision, why)| ((release.as_str(), *revision), why.as_str()))
        .collect();
    let mut lines = Vec::new();
    let mut all_json = Vec::new();
    match releases(project, now) {
        Ok(all) => {
            for one in &all {
                lines.extend(release_lines(one, &why, now));
                all_json.push(release_json(one, &why));
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
    project.ui.answer(&lines.join("\n"), json!({ "releases": all_json, "runs": message }));
    Ok(())
}

/// A run as one line: command, age, ending, first error.
pub fn line(run: &Run, now: i64) -> String {
    let error = run.errors.first().map_or(String::new(), |error| format!(": {error}"));
    format!("  {:<9} {:>8} ago  {}{error}", run.command, time::ago(now - run.started), run.ending())
}

/// Each release with its revisions, the newest last, and who applies it.
fn releases(project: &Project, now: i64) -> Result<Vec<Release>> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let describe = |scope: Scope| {
        let revisions = live::history(ctx, &scope, REVISIONS)?;
        let applied = match live::applied_by(ctx, &scope)? {
            Some((applier, _)) => Some(applied(ctx, &applier, now)?),
            None => None,
        };
        Ok(Release { scope, revisions, applied })
    };
    ctx.scopes().into_iter().map(describe).collect()
}

/// What a controller's own object says of what it applies.
fn applied(ctx: &Context, applier: &Applier, now: i64) -> Result<Applied> {
    let mut json = json!({ "by": applier.to_string() });
    let state = match live::object_of(ctx, applier)? {
        Ok(Some(object)) => match applier.last(&object) {
            Some(Entry { number, chart, at }) => {
                json["number"] = number.into();
                json["chart"] = chart.into();
                json["at"] = at.into();
                let ago = time::seconds(at).map_or("?".to_string(), |at| time::ago(now - at));
                format!("applied chart {chart} {ago} ago, number {number} of its history")
            }
            None => "has applied nothing yet".to_string(),
        },
        Ok(None) => "is gone".to_string(),
        Err(output) => {
            let said = output.tail.lines().last().unwrap_or("kubectl said nothing").trim();
            format!("can't be read: {said}")
        }
    };
    let (object, path) = (applier.object(), "jsonpath={.status.history}");
    let at = kubectl::at(&ctx.target_in(applier.namespace()));
    let read = display(&argv!("kubectl get {object} --output {path} {at...}"));
    let place = format!("in git, as the commits of its package, and in the {}: {read}", applier.kind());
    Ok(Applied { lines: [format!("applied by {applier}, which {state}"), format!("its history is {place}")], json })
}

fn release_lines(one: &Release, why: &Reasons, now: i64) -> Vec<String> {
    let Release { scope, revisions, applied } = one;
    let mut lines = vec![format!("release {}, namespace {}", scope.release, scope.target.namespace)];
    match applied {
        Some(applied) => lines.extend(applied.lines.iter().map(|line| format!("  {line}"))),
        None if revisions.is_empty() => lines.push("  not installed".to_string()),
        None => {}
    }
    lines.extend(revisions.iter().rev().map(|one| {
        let why = why.get(&(scope.release.as_str(), one.number)).copied();
        let age = time::seconds(&one.updated).map_or("?".to_string(), |at| time::ago(now - at));
        let message = one.went_back_to().map(|back| format!("rollback to {back}"));
        let message = message.as_deref().or(why).unwrap_or(&one.description);
        format!("  {:>4}  {:<16} {:>8} ago  {message}", one.number, one.status, age)
    }));
    lines
}

fn release_json(one: &Release, why: &Reasons) -> Value {
    let Release { scope, revisions, applied } = one;
    let revisions: Vec<Value> =
        revisions.iter().map(|one| revision(one, why.get(&(scope.release.as_str(), one.number)))).collect();
    json!({
        "release": scope.release, "namespace": scope.target.namespace, "revisions": revisions,
        "applied": applied.as_ref().map(|applied| &applied.json),
    })
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
