//! Minikube's addons that the configuration asks for. What is asked of the cluster is whether their workloads and API
//! services serve: an API service that doesn't is more than a lack, it keeps every namespace from being removed.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::model::image::Built;
use crate::model::rollout::{Rollout, judge};
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::poll;
use crate::tools::kubectl::ADDON_LABEL;
use crate::tools::{kubectl, minikube};

/// The configured addons that don't serve. Without configured addons, nothing is called. `images` are those that
/// were made here.
pub fn absent(ctx: &Context, images: &BTreeMap<String, Built>) -> Result<Vec<String>> {
    let wanted = &ctx.config.cluster.addons;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let live = ctx.run(kubectl::get_addons(&ctx.target(), wanted))?;
    Ok(wanted.iter().filter(|addon| problem(addon, images.get(*addon), &live).is_some()).cloned().collect())
}

/// Turns addons on and waits until they serve.
pub fn enable(ctx: &Context, addons: &[String], images: &BTreeMap<String, Built>) -> Result<()> {
    let deadline = ctx.config.deadlines.cluster;
    for addon in addons {
        let step = ctx.ui.step(format!("enable {addon}"));
        let show = |line: &str| step.update(line.trim_start_matches(['*', '-', '!', ' ']));
        let own = images.get(addon).zip(ctx.config.mirrors.addons.get(addon));
        let own = own.and_then(|(image, part)| Some((part, image.repository.rsplit_once('/')?, &image.tag)));
        let own = own.map(|(part, (registry, name), tag)| (part, registry, format!("{name}:{tag}")));
        let own = own.as_ref().map(|(part, registry, image)| (part.as_str(), *registry, image.as_str()));
        let call = minikube::enable_addon(&ctx.config.cluster.name, addon, own);
        ctx.spawn_minikube()?.run_showing(call.within(deadline), &show)?;
        let mut why = String::new();
        let serves = poll::until(&ctx.spawn.interrupt, deadline, || {
            let live = ctx.run(kubectl::get_addons(&ctx.target(), std::slice::from_ref(addon)))?;
            why = problem(addon, images.get(addon), &live).unwrap_or_default();
            step.update(&why);
            Ok(why.is_empty().then_some(()))
        })?;
        if serves.is_none() {
            let message = format!("the addon {addon} was enabled but is not ready: {why}");
            let next = format!("Next: kubectl describe pods --all-namespaces --selector k8s-app={addon}");
            return Err(Stop::deadline(format!("{message}\n{next}")).into());
        }
        step.done(images.get(addon).map(Built::reference).unwrap_or_default().as_str());
    }
    Ok(())
}

/// What keeps an addon from serving; None where all of its workloads are there, of the image that is wanted, and the
/// APIs that it adds are answered.
pub fn problem(addon: &str, image: Option<&Built>, live: &[Value]) -> Option<String> {
    let ours = live.iter().filter(|object| object["metadata"]["labels"][ADDON_LABEL] == addon);
    let (apis, workloads): (Vec<&Value>, Vec<&Value>) = ours.partition(|object| object["kind"] == "APIService");
    if workloads.is_empty() {
        return Some("it has no workload".to_string());
    }
    if let Some(image) = image.map(Built::reference) {
        let containers =
            workloads.iter().filter_map(|object| object["spec"]["template"]["spec"]["containers"].as_array());
        if !containers.flatten().any(|container| container["image"] == image.as_str()) {
            return Some(format!("it does not run {image}"));
        }
    }
    let unready = workloads.into_iter().find_map(|object| match judge(object) {
        Rollout::Done => None,
        Rollout::Progressing(why) | Rollout::Failed(why) => Some(why),
    });
    unready.or_else(|| apis.into_iter().find_map(unanswered))
}

/// Why the API server gets no answer from the backend of an aggregated API.
fn unanswered(api: &Value) -> Option<String> {
    let conditions = api["status"]["conditions"].as_array();
    match conditions.into_iter().flatten().find(|condition| condition["type"] == "Available") {
        Some(condition) if condition["status"] == "True" => None,
        Some(condition) => Some(condition["message"].as_str().unwrap_or("its API is not available").to_string()),
        None => Some("its API was not asked yet".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workload(addon: &str, image: &str, available: u32) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"generation": 1, "labels": {ADDON_LABEL: addon}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": image}]}}},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": available},
        })
    }

    #[test]
    fn an_addon_serves_when_its_workload_is_available_and_of_the_wanted_image() {
        let own = Built { repository: "local/m".into(), tag: "2".into(), id: "sha256:2".into() };
        assert_eq!(problem("m", None, &[workload("m", "public/m:1", 1)]), None);
        assert_eq!(problem("m", Some(&own), &[workload("m", "local/m:2", 1)]), None);
        let text = problem("m", Some(&own), &[workload("m", "local/m:1", 1)]).unwrap();
        assert_eq!(text, "it does not run local/m:2");
        assert!(problem("m", None, &[workload("m", "public/m:1", 0)]).unwrap().contains("0 available"));
        assert_eq!(problem("m", None, &[workload("other", "x", 1)]).unwrap(), "it has no workload");
    }

    #[test]
    fn an_api_that_nobody_answers_is_problem() {
        let api = |status: &str| {
            let condition = json!({"type": "Available", "status": status, "message": "bad status: 404"});
            json!({"kind": "APIService", "metadata": {"labels": {ADDON_LABEL: "m"}}, "status": {"conditions": [condition]}})
        };
        assert_eq!(problem("m", None, &[api("True"), workload("m", "x", 1)]), None);
        assert_eq!(problem("m", None, &[api("False"), workload("m", "x", 1)]).unwrap(), "bad status: 404");
        assert_eq!(problem("m", None, &[api("True")]).unwrap(), "it has no workload");
    }
}
