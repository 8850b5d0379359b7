//! `status`: what runs, read from the cluster.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::Config;
use crate::diagnosis::pod::problems;
use crate::live;
use crate::model::origin::another_checkout;
use crate::model::release::Status;
use crate::model::rollout;
use crate::model::rollout::Rollout;
use crate::model::states::{DeploymentState, Observed, PodState, ReleaseState, State, Vocabulary};
use crate::model::time;
use crate::run::context::{Context, Project, Scope};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::run::record;
use crate::stages::setup;
use crate::stages::{cluster, lease, verify};
use crate::tools::helm::Revision;

/// The profile's own words for states.
struct Words {
    deployments: Vocabulary<DeploymentState>,
    pods: Vocabulary<PodState>,
    releases: Vocabulary<ReleaseState>,
}

/// What is printed of one release.
struct ReleaseStatus {
    lines: Vec<String>,
    json: Value,
    is_healthy: bool,
}

/// Prints release, workloads and URL. Exit 1 when something of it is not healthy.
pub fn run(project: &Project) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    lock::report_holder(ctx, &ctx.config.place());
    lease::report_holder(ctx)?;
    let words = Words {
        deployments: words(&ctx.config, "deployment")?,
        pods: words(&ctx.config, "pod")?,
        releases: words(&ctx.config, "release")?,
    };
    let mut found = Vec::new();
    for scope in ctx.scopes() {
        found.extend(release_status(ctx, &scope, &words)?);
    }
    let url = live::open_url(&ctx.config, &live::endpoints(ctx)?);
    let mut lines: Vec<String> = found.iter().flat_map(|one| one.lines.iter().cloned()).collect();
    lines.push(format!("url       {}", url.as_deref().unwrap_or("none: no published node port")));
    let last = record::last(ctx, 1).pop();
    if let Some((run, file)) = &last {
        let ago = time::ago(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64 - run.started);
        lines.push(format!("last run  {}, {ago} ago, {}; record {}", run.command, run.ending(), file.display()));
    }
    let last = last.map(|(run, file)| json!({ "command": run.command, "code": run.code, "record": file }));
    let is_healthy = found.iter().all(|one| one.is_healthy);
    let releases: Vec<Value> = found.into_iter().map(|one| one.json).collect();
    ctx.ui.answer(
        &lines.join("\n"),
        json!({ "profile": ctx.config.profile, "url": url, "releases": releases, "last_run": last }),
    );
    match is_healthy {
        true => Ok(()),
        false => Err(Stop::failed("not everything is healthy\nNext: cargo xtask up").into()),
    }
}

/// None where a release that may be left out is not installed.
fn release_status(ctx: &Context, scope: &Scope, words: &Words) -> Result<Option<ReleaseStatus>> {
    let (release, namespace, profile) = (&scope.release, &scope.target.namespace, &ctx.config.profile);
    let Some(last) = live::last_revision(ctx, scope)? else {
        if let Some(applied) = applied_status(ctx, scope, words)? {
            return Ok(Some(applied));
        }
        if ctx.config.releases[release].unless.is_some() {
            return Ok(None);
        }
        let message = format!("{release} is not installed in namespace {namespace}");
        return Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask up --profile {profile}")).into());
    };
    let manifest = live::manifest(ctx, scope)?;
    let (wanted, objects) = (live::objects_in(&manifest)?, live::objects_of(ctx, scope, &manifest)?);
    let of_release = Status::parse(&last.status).map(Status::state).map_err(Stop::failed)?;
    let from = another_checkout(&last.description, &ctx.root.display().to_string());
    let Revision { number: revision, status, .. } = &last;
    let head = format!("revision {revision}, {}", words.releases.word(of_release));
    let mut found = workloads_status(ctx, scope, words, (&wanted, objects), of_release, &head)?;
    if let Some(from) = &from {
        found.lines.insert(1, format!("origin    another checkout: {from}"));
    }
    found.json["revision"] = (*revision).into();
    found.json["status"] = status.as_str().into();
    found.json["another_checkout"] = json!(from);
    found.is_healthy &= *status == "deployed";
    Ok(Some(found))
}

/// What a GitOps controller applied of a release, which helm may know nothing of; None where none did.
fn applied_status(ctx: &Context, scope: &Scope, words: &Words) -> Result<Option<ReleaseStatus>> {
    let Some((applier, objects)) = live::applied_by(ctx, scope)? else { return Ok(None) };
    let head = format!("applied by {applier}");
    let wanted = objects.clone();
    let mut found = workloads_status(ctx, scope, words, (&wanted, objects), ReleaseState::Deployed, &head)?;
    found.json["applied_by"] = applier.to_string().into();
    Ok(Some(found))
}

/// The workloads and pods of a release. Of its objects these are wanted, and those are live.
fn workloads_status(
    ctx: &Context,
    scope: &Scope,
    words: &Words,
    (wanted, objects): (&[Value], Vec<Value>),
    of_release: ReleaseState,
    head: &str,
) -> Result<ReleaseStatus> {
    let (release, namespace, profile) = (&scope.release, &scope.target.namespace, &ctx.config.profile);
    let workloads = verify::states(wanted, &objects)?;
    let pods = live::pods(ctx, scope)?;
    let found: Vec<_> = pods.iter().flat_map(|pod| problems(pod, &[])).collect();
    let running: Vec<Value> = objects.into_iter().filter(|one| is_workload(&one["kind"])).collect();
    let state = words.deployments.word(Observed::of(of_release, &running, &pods).state());
    let mut lines = vec![format!("release   {release} {head}, namespace {namespace}, profile {profile}: {state}")];
    lines.extend(workloads.iter().map(|(name, state)| format!("workload  {name}: {}", describe_rollout(state))));
    lines.extend(pods.iter().map(|pod| format!("pod       {}", pod_line(pod, &words.pods))));
    lines.extend(found.iter().map(|problem| format!("problem   {}: {}", problem.object.name, problem.why())));
    let is_healthy = found.is_empty() && workloads.iter().all(|(_, state)| *state == Rollout::Done);
    let json = json!({
        "release": release, "namespace": namespace, "state": state,
        "workloads": workloads.iter().map(|(name, state)| json!({"name": name, "state": describe_rollout(state)})).collect::<Vec<_>>(),
        "troubles": found.iter().map(|problem| json!({"pod": problem.object.name, "why": problem.why()})).collect::<Vec<_>>(),
    });
    Ok(ReleaseStatus { lines, json, is_healthy })
}

fn describe_rollout(state: &Rollout) -> String {
    match state {
        Rollout::Done => "ready".to_string(),
        Rollout::Progressing(how_far) => how_far.clone(),
        Rollout::Failed(why) => format!("failed: {why}"),
    }
}

/// The profile's words for the states of a machine; its own names where the profile has none.
pub fn words<S: State>(config: &Config, machine: &str) -> Result<Vocabulary<S>> {
    let words = config.spec.as_ref().and_then(|spec| spec.states.get(machine)).cloned().unwrap_or_default();
    Ok(Vocabulary::new(&words)
        .map_err(|unknown| Stop::usage(format!("spec.states.{machine}: {}", unknown.join("; "))))?)
}

fn is_workload(kind: &Value) -> bool {
    kind.as_str().is_some_and(rollout::is_workload)
}

fn pod_line(pod: &Value, words: &Vocabulary<PodState>) -> String {
    let containers = || pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ready = containers().filter(|status| status["ready"] == true).count();
    let restarts: u64 = containers().filter_map(|status| status["restartCount"].as_u64()).sum();
    let image = containers().filter_map(|status| status["image"].as_str()).next().unwrap_or_default();
    format!(
        "{}  {}  {ready}/{} ready  {restarts} restarts  {}",
        pod["metadata"]["name"].as_str().unwrap_or_default(),
        words.word(PodState::of(pod)),
        containers().count(),
        image.strip_prefix("docker.io/library/").unwrap_or(image)
    )
}
