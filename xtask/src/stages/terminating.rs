//! Deletes namespaces, and names the objects whose finalizers keep one from going away.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::live;
use crate::model::time;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::tools::kubectl;

/// How long controllers get to remove their finalizers before that is reported.
const QUIET: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Deletes a namespace and waits until it is gone, at most for the deadline of helm. What holds it is reported meanwhile,
/// and in the error.
pub fn delete_namespace(ctx: &Context, name: &str) -> Result<()> {
    let deadline = ctx.config.deadlines.helm;
    let target = ctx.target_in(name);
    std::thread::scope(|scope| {
        let started = Instant::now();
        let delete = kubectl::delete(&target, &[format!("namespace/{name}")], deadline);
        let deleting = scope.spawn(|| ctx.run(delete));
        let (mut reported, mut looked) = (Vec::new(), Instant::now());
        while !deleting.is_finished() {
            std::thread::sleep(Duration::from_millis(50));
            if started.elapsed() < QUIET || looked.elapsed() < PAUSE {
                continue;
            }
            looked = Instant::now();
            // What cannot be asked now may be answered at the next look.
            let holders = find_holders(ctx, name).unwrap_or_default();
            if holders != reported && !holders.is_empty() {
                ctx.ui.say(&format!("namespace {name} is terminating, and is held by {}", texts(&holders)));
                reported = holders;
            }
        }
        match (deleting.join().expect("deleting does not panic"), reported.first()) {
            (Err(_), Some(first)) if ctx.spawn.interrupt.check().is_ok() => {
                let message = format!("namespace {name} is still terminating after {} s", deadline.as_secs());
                let next = "let the controller that set the finalizer remove it, or remove it yourself:";
                let patch = format!(
                    "kubectl patch {} --namespace {name} --type merge --patch '{{\"metadata\":{{\"finalizers\":null}}}}'",
                    first.object
                );
                let held = texts(&reported);
                Err(Stop::deadline(format!("{message}: held by {held}\nNext: {next} {patch}")).into())
            }
            (ended, _) => ended.map(drop),
        }
    })
}

/// An object that a finalizer holds.
#[derive(Debug, PartialEq)]
struct Holder {
    /// `kind/name`, as kubectl takes it.
    object: String,
    finalizers: Vec<String>,
    /// When its deletion began.
    since: Option<String>,
}

fn find_holders(ctx: &Context, name: &str) -> Result<Vec<Holder>> {
    let target = ctx.target_in(name);
    let namespace = live::objects(ctx, &target, &format!("namespace/{name}"))?;
    let kinds = namespace.first().map(remaining_kinds).unwrap_or_default();
    match kinds.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(live::objects(ctx, &target, &kinds.join(","))?.iter().filter_map(holder).collect()),
    }
}

/// The kinds in `Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 2 …`, which the
/// namespace's controller writes.
fn remaining_kinds(namespace: &Value) -> Vec<String> {
    let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
    let remaining = conditions.filter(|one| one["type"] == "NamespaceContentRemaining" && one["status"] == "True");
    let message = remaining.filter_map(|one| one["message"].as_str()).collect::<Vec<_>>().join(", ");
    let list = message.split_once(": ").map_or("", |(_, list)| list);
    let kinds = list.split(", ").filter_map(|entry| entry.split_once(" has "));
    kinds.map(|(kind, _)| kind.trim_end_matches('.').to_string()).collect()
}

fn holder(object: &Value) -> Option<Holder> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let finalizers: Vec<String> =
        object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(text).collect();
    let since = text(&object["metadata"]["deletionTimestamp"]);
    let name = format!("{}/{}", text(&object["kind"])?.to_lowercase(), text(&object["metadata"]["name"])?);
    (!finalizers.is_empty()).then_some(Holder { object: name, finalizers, since })
}

fn texts(holders: &[Holder]) -> String {
    let text = |holder: &Holder| {
        let since = holder.since.as_deref().and_then(time::clock).map(|clock| format!(", since {clock} UTC"));
        let plural = if holder.finalizers.len() == 1 { "finalizer" } else { "finalizers" };
        format!("{} ({plural} {}{})", holder.object, holder.finalizers.join(", "), since.unwrap_or_default())
    };
    holders.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kinds_that_remain_are_read_from_the_namespace() {
        let message = "Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 2 resource instances";
        let condition =
            |status: &str| json!({"type": "NamespaceContentRemaining", "status": status, "message": message});
        let namespace = |status| json!({"status": {"conditions": [{"type": "Other"}, condition(status)]}});
        assert_eq!(remaining_kinds(&namespace("True")), ["configmaps", "deployments.apps"]);
        assert_eq!(remaining_kinds(&namespace("False")), [""; 0]);
        assert_eq!(remaining_kinds(&json!({})), [""; 0]);
    }

    #[test]
    fn what_has_a_finalizer_holds_the_namespace() {
        let about = json!({"name": "held", "finalizers": ["a/b", "c/d"], "deletionTimestamp": "2026-11-27T10:00:01Z"});
        let held = holder(&json!({"kind": "ConfigMap", "metadata": about})).unwrap();
        assert_eq!(texts(&[held]), "configmap/held (finalizers a/b, c/d, since 10:00:01 UTC)");
        assert_eq!(holder(&json!({"kind": "ConfigMap", "metadata": {"name": "free"}})), None);
    }
}
