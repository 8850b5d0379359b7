//! Deployments and StatefulSets: which pods there should be.

use std::fmt;

use serde_json::Value;

use crate::entities::container::{Container, Security};
use crate::entities::scheduling::Scheduling;
use crate::entities::service::namespace;
use crate::entities::strategy::Strategy;
use xtask::model::labels::{Selector, label_name, object_name, read_labels};
use xtask::model::object::{Fields, StringMap, doubled, read};

/// A workload. Its selector takes its own pods; its containers have names of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentSpec {
    pub kind: WorkloadKind,
    pub name: String,
    pub namespace: String,
    pub replicas: Replicas,
    pub selector: Selector,
    pub template_labels: StringMap,
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub strategy: Strategy,
    pub security: Security,
    pub scheduling: Scheduling,
    pub volumes: Vec<Volume>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
}

/// At least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replicas(u32);

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub name: String,
    pub content: Content,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Secret(String),
    ConfigMap(String),
    Claim(String),
    Empty,
    /// A folder of the node.
    Host(String),
    /// Something else, by its key in the manifest.
    Other(String),
}

impl Replicas {
    pub fn new(count: u64) -> Result<Replicas, String> {
        match u32::try_from(count) {
            Ok(count) if count > 0 => Ok(Replicas(count)),
            _ => Err(format!("{count} is not a number of replicas: at least 1 is needed")),
        }
    }

    pub fn from_value(value: &Value) -> Result<Replicas, String> {
        Replicas::new(
            value.as_u64().ok_or_else(|| format!("{value} is not a number of replicas: at least 1 is needed"))?,
        )
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl DeploymentSpec {
    pub fn from_object(object: &Value) -> Result<DeploymentSpec, Vec<String>> {
        read(object, |f| {
            f.must_be(&["Deployment", "StatefulSet"]);
            let kind = match f.value["kind"] == "StatefulSet" {
                true => WorkloadKind::StatefulSet,
                false => WorkloadKind::Deployment,
            };
            let name = f.at("metadata").at("name").parsed(object_name);
            let namespace = namespace(f);
            let spec = f.at("spec");
            let replicas = spec.at("replicas").or(Replicas(1), |replicas| replicas.take(Replicas::from_value));
            let selector = Selector::from_fields(&spec.at("selector"));
            let strategy = match kind {
                WorkloadKind::Deployment => Strategy::read_deployment(&spec.at("strategy")),
                WorkloadKind::StatefulSet => Strategy::read_stateful(&spec.at("updateStrategy")),
            };
            let template_labels = read_labels(&spec.at("template").at("metadata").at("labels"));
            let pod = spec.at("template").at("spec");
            let init_containers = pod.at("initContainers").list(Container::from_fields);
            let containers = pod.at("containers").list(Container::from_fields);
            let security = Security::from_fields(&pod.at("securityContext"));
            let scheduling = Scheduling::from_fields(&pod);
            let volumes = pod.at("volumes").list(Volume::from_fields);
            let claims = spec.at("volumeClaimTemplates").list(Volume::read_claim);
            let read = DeploymentSpec {
                kind,
                name: name?,
                namespace: namespace?,
                replicas: replicas?,
                selector: selector?,
                template_labels: template_labels?,
                init_containers: init_containers?,
                containers: containers?,
                strategy: strategy?,
                security: security?,
                scheduling: scheduling?,
                volumes: [volumes?, claims?].concat(),
            };
            let mistakes = read.mistakes();
            for (key, message) in &mistakes {
                // The selector stands beside the template, all else within it.
                let place = if *key == "selector" { spec.at(key) } else { pod.at(key) };
                place.report(message);
            }
            mistakes.is_empty().then_some(read)
        })
    }

    /// The containers that run before the others, and the others.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// What fields say against each other.
    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if self.selector.is_empty() {
            found.push(("selector", "takes every pod: it needs a label".to_string()));
        } else if !self.selector.matches(&self.template_labels) {
            found.push(("selector", "doesn't take the pods of its own template".to_string()));
        }
        if self.containers.is_empty() {
            found.push(("containers", "is empty: a pod needs a container".to_string()));
        }
        if let Some(name) = doubled(self.all_containers().map(|container| &container.name)) {
            found.push(("containers", format!("two have the name {name}")));
        }
        if let Some(name) = doubled(self.volumes.iter().map(|volume| &volume.name)) {
            found.push(("volumes", format!("two have the name {name}")));
        }
        let mounts = self.all_containers().flat_map(|container| &container.mounts);
        for mount in mounts.filter(|mount| !self.volumes.iter().any(|volume| volume.name == mount.volume)) {
            found.push(("volumes", format!("{} is mounted at {}, and isn't there", mount.volume, mount.path)));
        }
        found
    }
}

impl Volume {
    pub fn from_fields(f: &Fields) -> Option<Volume> {
        let name = f.at("name").parsed(label_name);
        let content = content(f);
        Some(Volume { name: name?, content: content? })
    }

    /// Of a StatefulSet's `volumeClaimTemplates`.
    fn read_claim(f: &Fields) -> Option<Volume> {
        let name = f.at("metadata").at("name").parsed(label_name)?;
        Some(Volume { content: Content::Claim(name.clone()), name })
    }
}

/// A volume that puts several objects together counts as its Secret, where it has one.
fn content(f: &Fields) -> Option<Content> {
    let kinds: Vec<&String> = f.value.as_object()?.keys().filter(|key| *key != "name").collect();
    let [kind] = kinds[..] else {
        f.report("needs exactly one kind of content");
        return None;
    };
    let about = f.at(kind);
    match kind.as_str() {
        "secret" => about.at("secretName").text().map(Content::Secret),
        "configMap" => about.at("name").text().map(Content::ConfigMap),
        "persistentVolumeClaim" => about.at("claimName").text().map(Content::Claim),
        "hostPath" => about.at("path").text().map(Content::Host),
        "emptyDir" => Some(Content::Empty),
        "projected" => {
            let secrets =
                about.at("sources").list(|source| source.at("secret").maybe(|secret| secret.at("name").text()))?;
            let secret = secrets.into_iter().flatten().next();
            Some(secret.map_or(Content::Other(kind.clone()), Content::Secret))
        }
        _ => Some(Content::Other(kind.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entities::strategy::Share;
    use serde_json::json;

    /// The one of docs/specs/microservices.md, in full.
    fn spec() -> Value {
        json!({
            "kind": "Deployment", "metadata": {"name": "ai-todo-backend-deployment"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "ai-todo-backend"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {"app": "ai-todo-backend", "version": "1.0.0"}},
                    "spec": {
                        "securityContext": {"runAsNonRoot": true},
                        "nodeSelector": {"kubernetes.io/os": "linux"},
                        "volumes": [{"name": "scratch", "emptyDir": {}}],
                        "containers": [{
                            "name": "backend", "image": "ai-todo-backend:latest", "imagePullPolicy": "Never",
                            "ports": [{"name": "http", "containerPort": 8000}],
                            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
                            "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "250m", "memory": "256Mi"}},
                            "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}, "initialDelaySeconds": 30, "periodSeconds": 10},
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8000}, "initialDelaySeconds": 10, "periodSeconds": 5},
                        }],
                    },
                },
            },
        })
    }

    #[test]
    fn the_specs_deployment_is_read() {
        let read = DeploymentSpec::from_object(&spec()).unwrap();
        assert_eq!(
            (read.name.as_str(), read.namespace.as_str(), read.replicas),
            ("ai-todo-backend-deployment", "default", Replicas(1))
        );
        assert_eq!(read.strategy, Strategy::RollingUpdate { surge: Share::Number(1), unavailable: Share::Number(0) });
        assert_eq!(read.containers[0].probes.all().count(), 2);
        assert_eq!(read.scheduling.node_selector.len(), 1);
        assert_eq!(read.volumes, [Volume { name: "scratch".into(), content: Content::Empty }]);
    }

    #[test]
    fn a_stateful_set_has_claims_and_goes_in_order() {
        let mut object = spec();
        object["kind"] = "StatefulSet".into();
        object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
        object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = "data".into();
        let read = DeploymentSpec::from_object(&object).unwrap();
        assert_eq!((read.kind, read.strategy), (WorkloadKind::StatefulSet, Strategy::Ordered));
        assert_eq!(read.volumes[1].content, Content::Claim("data".into()));
    }

    #[test]
    fn illegal_workloads_are_refused() {
        for (path, value, message) in [
            ("/spec/replicas", json!(0), "spec.replicas: 0 is not a number of replicas: at least 1 is needed"),
            ("/spec/replicas", json!(-1), "spec.replicas: -1 is not a number of replicas: at least 1 is needed"),
            ("/spec/selector", json!({}), "spec.selector: takes every pod: it needs a label"),
            (
                "/spec/selector",
                json!({"matchLabels": {"app": "x"}}),
                "spec.selector: doesn't take the pods of its own template",
            ),
            (
                "/spec/strategy",
                json!({"type": "Fast"}),
                "spec.strategy.type: \"Fast\" is none of RollingUpdate, Recreate",
            ),
            (
                "/spec/template/spec/containers",
                json!([]),
                "spec.template.spec.containers: is empty: a pod needs a container",
            ),
            (
                "/spec/template/spec/volumes",
                json!([]),
                "spec.template.spec.volumes: scratch is mounted at /tmp, and isn't there",
            ),
            (
                "/metadata/name",
                json!("A"),
                "metadata.name: \"A\" is not a name: words of a-z, 0-9 and -, parted by dots, at most 253 characters",
            ),
            ("/kind", json!("Job"), "kind: \"Job\" instead of Deployment or StatefulSet"),
        ] {
            let mut object = spec();
            *object.pointer_mut(path).unwrap() = value;
            assert_eq!(DeploymentSpec::from_object(&object).unwrap_err(), [message]);
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mut object = spec();
        object["spec"]["replicas"] = json!(0);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("UPPER:1");
        object["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("600m");
        let found = DeploymentSpec::from_object(&object).unwrap_err();
        let paths: Vec<&str> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
        let container = "spec.template.spec.containers[0]";
        assert_eq!(
            paths,
            ["spec.replicas", &format!("{container}.image"), &format!("{container}.resources.requests.cpu")]
        );
    }

    #[test]
    fn a_secret_in_a_volume_is_seen_through_its_wrapping() {
        let volume = |value| read(&value, Volume::from_fields).unwrap().content;
        assert_eq!(volume(json!({"name": "a", "secret": {"secretName": "s"}})), Content::Secret("s".into()));
        let projected =
            json!({"name": "a", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}});
        assert_eq!(volume(projected), Content::Secret("s".into()));
        assert_eq!(volume(json!({"name": "a", "hostPath": {"path": "/var"}})), Content::Host("/var".into()));
    }
}
