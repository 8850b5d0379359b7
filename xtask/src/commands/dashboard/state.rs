//! What the page shows of services, as JSON, from the configuration and from one look at the cluster.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::dashboard::needs;
use crate::commands::status::words;
use crate::config::Config;
use crate::diagnosis::cause::Problem;
use crate::diagnosis::release;
use crate::live::{self, Endpoint};
use crate::model::rollout;
use crate::model::states::{DeploymentState, PodState, Vocabulary};

/// The kinds of a look: what a diagnosis needs, and what says where services are. Secrets are not among them.
pub fn kinds() -> String {
    format!("{},services,configmaps", release::KINDS)
}

/// The profile's own words for states.
struct Words {
    deployments: Vocabulary<DeploymentState>,
    pods: Vocabulary<PodState>,
}

/// What one look has shown.
pub struct Look {
    /// The objects of each namespace of the profile.
    pub seen: BTreeMap<String, Vec<Value>>,
    /// Why there was nothing to see.
    pub problem: Option<String>,
    /// The command of the run that works on the namespace now.
    pub at_work: Option<String>,
}

/// Services in the order of their names, each with its state and reasons. Values of Secrets, ConfigMaps and environments
/// are not in it.
pub fn snapshot(config: &Config, look: &Look) -> Result<Value> {
    let words = Words { deployments: words(config, "deployment")?, pods: words(config, "pod")? };
    let needs = needs::find(config, &look.seen);
    let of_namespaces = |kind: &str| look.seen.values().flatten().filter(|one| one["kind"] == kind).cloned().collect();
    let endpoints = live::endpoints_in(config, of_namespaces("Service"));
    let url_of = |service: &str| live::url(config, service, endpoints.get(service)?);
    let mut services = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, about) in &config.releases {
        let objects = look.seen.get(&about.namespace).map(Vec::as_slice).unwrap_or_default();
        let release = Release::of(name, objects, &about.services);
        for service in &about.services {
            let mut value = release.describe(service, &words);
            value["needs"] = json!(needs.get(service));
            value["url"] = json!(url_of(service));
            value["port"] = json!(endpoints.get(service).map(|Endpoint { port, .. }| port));
            services.insert(service.clone(), value);
        }
        let left = release.problems.iter().filter(|(service, _)| service.is_none());
        problems.extend(left.map(|(_, problem)| format!("{}: {}", problem.subject(), problem.why())));
    }
    Ok(json!({
        "title": config.title, "profile": config.profile, "namespace": config.namespace, "cluster": config.cluster.name,
        "version": config.version, "open": url_of(&config.open), "problem": look.problem, "at_work": look.at_work,
        "problems": problems, "services": services.into_values().collect::<Vec<_>>(),
    }))
}

/// A release by what is live of it.
struct Release<'a> {
    name: &'a str,
    namespace_objects: &'a [Value],
    workloads: Vec<&'a Value>,
    pods: Vec<&'a Value>,
    states: BTreeMap<String, DeploymentState>,
    /// Each with the service that it is about, where that is known.
    problems: Vec<(Option<String>, Problem)>,
}

impl<'a> Release<'a> {
    fn of(name: &'a str, objects: &'a [Value], services: &[String]) -> Release<'a> {
        // In place of the manifest, which helm would have to be asked for: what is absent is not known to be missing.
        let own = |object: &&Value| {
            let about = &object["metadata"];
            let is_test = about["labels"]["app.kubernetes.io/component"] == "test";
            about["labels"]["app.kubernetes.io/instance"] == name
                && !about["annotations"]["helm.sh/hook"].is_string()
                && !is_test
        };
        let live: Vec<Value> = objects.iter().filter(own).cloned().collect();
        let states = release::states(objects, name, &live, services, false).into_iter().collect();
        let mut problems = release::problems(objects, name, &live);
        for more in
            release::unready(objects, name, &live).into_iter().chain(release::endpointless(objects, name, &live))
        {
            if !problems.iter().any(|known| known.object == more.object) {
                problems.push(more);
            }
        }
        let service_of = |problem: &Problem| {
            let is_object = |object: &&Value| {
                let kind = object["kind"].as_str().unwrap_or_default();
                kind.eq_ignore_ascii_case(&problem.object.kind)
                    && object["metadata"]["name"] == problem.object.name.as_str()
            };
            let label = &objects.iter().find(is_object)?["metadata"]["labels"]["app.kubernetes.io/name"];
            label.as_str().filter(|name| services.iter().any(|service| service == name)).map(str::to_string)
        };
        Release {
            name,
            namespace_objects: objects,
            workloads: objects.iter().filter(own).filter(|one| rollout::is_workload(text(&one["kind"]))).collect(),
            pods: release::pods_of(objects, name),
            states,
            problems: problems.into_iter().map(|problem| (service_of(&problem), problem)).collect(),
        }
    }

    fn describe(&self, service: &str, words: &Words) -> Value {
        let is_of = |object: &&&Value| object["metadata"]["labels"]["app.kubernetes.io/name"] == service;
        let workloads: Vec<&&Value> = self.workloads.iter().filter(is_of).collect();
        let pods: Vec<&&Value> = self.pods.iter().filter(is_of).collect();
        let state = self.states.get(service).copied().unwrap_or(DeploymentState::Absent);
        let ready = pods.iter().filter(|pod| PodState::of(pod) == PodState::Ready).count();
        let wanted: u64 = workloads.iter().map(|one| one["spec"]["replicas"].as_u64().unwrap_or(1)).sum();
        let image =
            workloads.first().and_then(|one| one["spec"]["template"]["spec"]["containers"][0]["image"].as_str());
        let (image, tag) = image.map_or(("", ""), |image| image.rsplit_once(':').unwrap_or((image, "")));
        let reasons = self.problems.iter().filter(|(of, _)| of.as_deref() == Some(service));
        let kinds = workloads.iter().map(|one| text(&one["kind"])).collect::<Vec<_>>();
        json!({
            "name": service, "release": self.name, "kind": kinds.join(", "), "health": health(state),
            "state": words.deployments.word(state), "ready": ready, "wanted": wanted,
            "restarts": pods.iter().map(|pod| restarts(pod)).sum::<u64>(), "image": image, "tag": tag,
            "reasons": reasons.map(|(_, problem)| format!("{}: {}", problem.subject(), problem.why())).collect::<Vec<_>>(),
            "pods": pods.iter().map(|pod| describe_pod(pod, words)).collect::<Vec<_>>(),
            "is_there": !self.namespace_objects.is_empty() && !workloads.is_empty(),
        })
    }
}

/// How a state is shown, whatever the profile's word for it is.
fn health(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Ready => "ready",
        DeploymentState::Failed => "failed",
        DeploymentState::Absent => "absent",
        _ => "progressing",
    }
}

fn describe_pod(pod: &Value, words: &Words) -> Value {
    let state = PodState::of(pod);
    json!({
        "name": pod["metadata"]["name"], "state": words.pods.word(state), "ready": state == PodState::Ready,
        "restarts": restarts(pod), "since": pod["metadata"]["creationTimestamp"],
    })
}

fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    containers.filter_map(|status| status["restartCount"].as_u64()).sum()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFile, parse_config};

    const SECRETS: [&str; 3] = ["hunter2", "c2VjcmV0", "from the environment"];

    /// The project's own profile.
    fn config(profile: &str) -> Config {
        let base = ConfigFile { file: "xtask.toml", text: include_str!("../../../../xtask.toml") };
        let text = match profile {
            "dev" => include_str!("../../../../k8s/profiles/dev.toml"),
            _ => include_str!("../../../../k8s/profiles/microservices.toml"),
        };
        parse_config(profile, base, ConfigFile { file: "profile", text }, &|_| true).unwrap()
    }

    fn labels(service: &str) -> Value {
        json!({"app.kubernetes.io/name": service, "app.kubernetes.io/instance": "todo-chatbot"})
    }

    fn deployment(service: &str, ready: u64, env: Value) -> Value {
        let container = json!({"name": service, "image": format!("todo-chatbot-{service}:0.1.0-habc"), "env": env,
            "envFrom": [{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "unknown"}}]});
        json!({
            "kind": "Deployment", "metadata": {"name": service, "labels": labels(service), "generation": 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels(service)},
                "template": {"metadata": {"labels": labels(service)}, "spec": {"containers": [container]}}},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": ready},
        })
    }

    fn pod(service: &str, ready: bool, state: Value) -> Value {
        let status = json!({"name": service, "ready": ready, "restartCount": 2, "state": state, "started": true});
        json!({
            "kind": "Pod", "metadata": {"name": format!("{service}-1"), "labels": labels(service), "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": service, "env": [{"name": "A", "value": SECRETS[2]}]}]},
            "status": {"phase": "Running", "containerStatuses": [status]},
        })
    }

    fn service(name: &str, node_port: Option<u16>) -> Value {
        json!({
            "kind": "Service",
            "metadata": {"name": name, "namespace": "todo-chatbot", "labels": labels(name)},
            "spec": {"ports": [{"port": 8000, "nodePort": node_port}]},
        })
    }

    /// A backend that crashes, and a frontend that runs.
    fn seen() -> Vec<Value> {
        let key = json!({"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "todo-chatbot-secrets", "key": "DATABASE_URL"}}});
        let crash = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let mut crashed = pod("backend", false, crash);
        crashed["status"]["containerStatuses"][0]["lastState"] =
            json!({"terminated": {"exitCode": 7, "reason": "Error"}});
        let data = json!({"BACKEND_URL": "http://backend:8000", "OTHER": SECRETS[0]});
        vec![
            deployment("backend", 0, json!([key, {"name": "X", "value": SECRETS[2]}])),
            crashed,
            deployment("frontend", 1, json!([])),
            pod("frontend", true, json!({"running": {}})),
            service("frontend", Some(30080)),
            service("backend", None),
            service("postgres", None),
            json!({"kind": "ConfigMap", "metadata": {"name": "config"}, "data": data}),
            json!({"kind": "Secret", "metadata": {"name": "todo-chatbot-secrets"}, "data": {"DATABASE_URL": SECRETS[1]}}),
        ]
    }

    fn shown(profile: &str, seen: Vec<Value>) -> Value {
        let config = config(profile);
        let look = Look { seen: [(config.namespace.clone(), seen)].into(), problem: None, at_work: None };
        snapshot(&config, &look).unwrap()
    }

    fn named<'a>(shown: &'a Value, service: &str) -> &'a Value {
        shown["services"].as_array().unwrap().iter().find(|one| one["name"] == service).unwrap()
    }

    #[test]
    fn a_service_is_shown_with_state_image_and_url() {
        let shown = shown("dev", seen());
        let frontend = named(&shown, "frontend");
        let parts =
            ["health", "state", "ready", "wanted", "restarts", "image", "tag", "url", "port"].map(|key| &frontend[key]);
        let expected =
            json!(["ready", "Ready", 1, 1, 2, "todo-chatbot-frontend", "0.1.0-habc", "http://127.0.0.1:30080", 8000]);
        assert_eq!(json!(parts), expected);
        assert_eq!(shown["open"], "http://127.0.0.1:30080");
        assert_eq!(frontend["pods"][0]["name"], "frontend-1");
        assert_eq!(frontend["reasons"], json!([]));
    }

    #[test]
    fn a_service_that_crashes_is_shown_with_its_reason_and_one_that_is_absent_as_such() {
        let shown = shown("dev", seen());
        let backend = named(&shown, "backend");
        assert_eq!((&backend["health"], &backend["ready"]), (&json!("failed"), &json!(0)));
        let reason = backend["reasons"][0].as_str().unwrap();
        assert!(
            reason.starts_with("pod backend-1, container backend: crashed 3 times, last with exit code 7"),
            "{reason}"
        );
        let postgres = named(&shown, "postgres");
        assert_eq!((&postgres["health"], &postgres["is_there"]), (&json!("absent"), &json!(false)));
    }

    #[test]
    fn needs_are_read_from_addresses_and_from_the_templates_of_secrets() {
        let shown = shown("dev", seen());
        assert_eq!(named(&shown, "frontend")["needs"], json!(["backend"]));
        // Its ConfigMap names itself, too.
        assert_eq!(named(&shown, "backend")["needs"], json!(["postgres"]));
    }

    #[test]
    fn before_anything_is_deployed_the_needs_of_releases_are_known() {
        let shown = shown("microservices", Vec::new());
        let needs: BTreeMap<&str, &Value> = shown["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].as_str().unwrap(), &one["needs"]))
            .collect();
        assert!(needs.values().any(|needs| !needs.as_array().unwrap().is_empty()), "{needs:?}");
    }

    #[test]
    fn no_value_of_a_secret_a_config_map_or_an_environment_is_shown() {
        let text = shown("dev", seen()).to_string();
        for value in SECRETS.iter().chain(&["http://backend:8000", "postgres://", "POSTGRES_PASSWORD"]) {
            assert!(!text.contains(value), "{value} is in {text}");
        }
        assert!(!kinds().contains("secret"));
    }

    #[test]
    fn where_nothing_could_be_seen_the_reason_is_shown() {
        let config = config("dev");
        let look = Look { seen: BTreeMap::new(), problem: Some("there is no cluster".to_string()), at_work: None };
        let shown = snapshot(&config, &look).unwrap();
        assert_eq!(
            (&shown["problem"], shown["services"].as_array().unwrap().len()),
            (&json!("there is no cluster"), 4)
        );
    }
}
