//! Tells a failure so that a person knows which pod, why, what it said last, and what to type next.

use crate::diagnosis::cause::{Cause, Problem};
use crate::diagnosis::watch::{Failure, describe_problem, read_log};
use crate::run::context::{Context, Scope};
use crate::run::exit::{Stop, indent};
use crate::tools::{crictl, docker, kubectl};

/// One text for all problems; a log that can't be had is said, not hidden. The command at its end is for the first one.
pub fn report(ctx: &Context, scope: &Scope, failure: &Failure) -> Stop {
    let mut lines = vec![failure.what.clone()];
    for found in &failure.found {
        lines.push(format!("  {}", describe_problem(&found.problem)));
        let Some(log) = &found.problem.log else { continue };
        let text = found.log.clone().or_else(|| read_log(ctx, scope, log));
        match text.as_deref().map(str::trim_end) {
            Some("") => lines.push("  it logged nothing".to_string()),
            Some(text) => {
                lines.push("  its last log lines:".to_string());
                lines.push(indent(text));
            }
            None => lines.push("  its log is no longer available".to_string()),
        }
    }
    if let Some(said) = &failure.said {
        lines.push("  helm said last:".to_string());
        lines.push(indent(said));
    }
    let next = failure.found.first().map(|found| next(ctx, scope, &found.problem));
    lines.push(format!("Next: {}", next.unwrap_or("cargo xtask status".to_string())));
    let report = lines.join("\n");
    if failure.deadline { Stop::deadline(report) } else { Stop::failed(report) }
}

/// The command that shows more of it.
fn next(ctx: &Context, scope: &Scope, problem: &Problem) -> String {
    let target = &scope.target;
    if let Cause::WrongProcessor { image } = &problem.cause {
        return docker::platform(image).text();
    }
    if let Some(log) = &problem.log {
        let logs = kubectl::logs(target, &log.pod, &log.container, log.previous, 0);
        return logs.text().replace("--tail 0 ", "");
    }
    let describe = |kind: &str, name: &str| kubectl::describe(target, kind, name).text();
    match &problem.cause {
        Cause::ImageAbsent { .. } => crictl::images(&ctx.config.cluster.name).text().replace(" --output json", ""),
        Cause::Cordoned { nodes } => kubectl::uncordon(target, nodes).text(),
        Cause::NodeAway { node, .. } => describe("node", node),
        Cause::Unschedulable { .. } | Cause::NodePressure { .. } | Cause::Evicted { .. } => describe("nodes", ""),
        Cause::Quota { quota, .. } => describe("resourcequota", quota),
        Cause::Claim { .. } => describe("persistentvolumeclaim", &problem.object.name),
        _ if problem.object.kind == "release" => format!("cargo xtask render --profile {}", ctx.config.profile),
        _ => describe(problem.object.kind.trim_start_matches("hook ").to_lowercase().as_str(), &problem.object.name),
    }
}
