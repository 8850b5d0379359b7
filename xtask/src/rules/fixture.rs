//! A profile at which nothing is wrong, for tests that break one thing of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{self, Config, Source};
use crate::rules::found::called;
use crate::rules::{Checks, Facts, LiveFacts, Place, RenderedRelease, Rule};

pub struct Good {
    pub config: Config,
    pub rendered: BTreeMap<String, RenderedRelease>,
    pub live: LiveFacts,
}

/// The codes that rules of one family find, each with its place and object, when `change` was made.
pub fn found(rules: &[Rule], change: impl FnOnce(&mut Good)) -> Vec<(&'static str, Place, String)> {
    let mut good = good();
    change(&mut good);
    let (rendered, live) = (Some(good.rendered), Some(good.live));
    let facts = Facts { config: &good.config, files: None, rendered, images: None, live };
    let mut found = Vec::new();
    for rule in rules {
        let mut checks = Checks { code: rule.code, ..Checks::default() };
        (rule.check)(&facts, &mut checks);
        for finding in checks.findings {
            assert!(rule.places.contains(&finding.place), "{finding:?}");
            assert!(!finding.message.is_empty(), "{finding:?}");
            found.push((finding.code, finding.place, finding.object));
        }
    }
    found
}

/// The places at which a rule looked at nothing although it says that it would.
pub fn unseen(rules: &[Rule]) -> Vec<(&'static str, Place)> {
    let good = good();
    let (rendered, live) = (Some(good.rendered), Some(good.live));
    let facts = Facts { config: &good.config, files: None, rendered, images: None, live };
    let mut unseen = Vec::new();
    for rule in rules {
        let mut checks = Checks::default();
        (rule.check)(&facts, &mut checks);
        let places = rule.places.iter().filter(|place| !checks.looked.contains_key(place));
        unseen.extend(places.map(|place| (rule.code, *place)));
    }
    unseen
}

/// Asserts that a change is found at one place and object, and under no other code. A figure of the data model that is
/// wrong is found wherever it is held against something.
pub fn assert_found(rules: &[Rule], code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
    let found = found(rules, change);
    assert!(found.contains(&(code, place, object.to_string())), "{code} for {object}: {found:?}");
    assert!(found.iter().all(|(other, _, _)| *other == code), "more than {code}: {found:?}");
}

impl Good {
    /// An object as it was rendered, by `kind/name`.
    pub fn rendered(&mut self, name: &str) -> &mut Value {
        let objects = self.rendered.values_mut().flat_map(|release| &mut release.objects);
        objects.into_iter().find(|object| called(object) == name).unwrap()
    }

    /// An object as it is in the cluster, by `kind/name`.
    pub fn live(&mut self, name: &str) -> &mut Value {
        self.live.objects.iter_mut().find(|object| called(object) == name).unwrap()
    }

    /// The first container of a rendered workload.
    pub fn container(&mut self, name: &str) -> &mut Value {
        &mut self.rendered(name)["spec"]["template"]["spec"]["containers"][0]
    }

    /// What the data model demands of a service, as the profile says it.
    pub fn seeded(&mut self, change: impl FnOnce(&mut config::Seed)) {
        change(self.config.seed.as_mut().unwrap());
    }
}

const PROFILE: &str = r#"
namespace = "todo"

[releases.todo]
chart = "helm/todo-chatbot"
services = ["backend", "frontend"]
secret = "todo-secret"

[secrets.todo-secret]
random = ["JWT_SECRET"]
given = ["DATABASE_URL"]

[services.backend]
image = "todo-backend"
node_port = 30081

[services.frontend]
image = "todo-frontend"
node_port = "auto"

[[smoke]]
name = "the page answers"
service = "frontend"
steps = [{ path = "/", status = 200 }]

[seed]
number = 2

[seed.services.backend]
port = 8000
deployment = "todo-backend"
app = "todo-backend"
replicas = 1
replicas_min = 1
replicas_max = 3
requests = { cpu = "250m", memory = "256Mi" }
limits = { cpu = "500m", memory = "512Mi" }
pull_policy = "Never"
liveness = { path = "/health", delay_s = 30, period_s = 10 }
readiness = { path = "/ready", delay_s = 10, period_s = 5 }
service = "todo-backend"
service_types = ["NodePort", "ClusterIP"]
service_port = 8000
target_port = "http"
node_port = 30081
config_map = "todo-config"
secret = "todo-secret"

[seed.services.frontend]
port = 3000
deployment = "todo-frontend"
app = "todo-frontend"
replicas = 1
replicas_min = 1
replicas_max = 3
requests = { cpu = "250m", memory = "256Mi" }
limits = { cpu = "500m", memory = "512Mi" }
liveness = { path = "/api/health", delay_s = 30, period_s = 10 }
readiness = { path = "/api/ready", delay_s = 10, period_s = 5 }
service = "todo-frontend"
service_types = ["NodePort", "LoadBalancer"]
service_port = 3000
external = true
config_map = "todo-config"

[seed.config_maps.todo-config]
LOG_LEVEL = "info"

[seed.secrets]
todo-secret = ["DATABASE_URL", "JWT_SECRET"]
"#;

pub fn good() -> Good {
    let base = Source { file: "xtask.toml", text: include_str!("../../../xtask.toml") };
    let config = config::read("test", base, Source { file: "test.toml", text: PROFILE }, &|_| true).unwrap();
    let objects = vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "todo-config", "namespace": "todo"}, "data": {"LOG_LEVEL": "info"}}),
        deployment("backend", 8000, ["/health", "/ready"]),
        deployment("frontend", 3000, ["/api/health", "/api/ready"]),
        service("backend", 8000, json!(30081)),
        service("frontend", 3000, Value::Null),
    ];
    let mut live =
        LiveFacts { objects: objects.clone(), now: "2026-11-21T11:00:00Z".to_string(), ..LiveFacts::default() };
    live.nodes = vec![
        json!({"kind": "Node", "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}),
    ];
    for (name, port) in [("backend", 8000), ("frontend", 3000)] {
        live.objects.push(pod(name, &objects));
        live.objects.push(endpoints(name, port));
        live.host_images.insert(name.to_string(), format!("sha256:{name}"));
    }
    live.objects.iter_mut().find(|object| called(object) == "service/todo-frontend").unwrap()["spec"]["ports"][0]["nodePort"] =
        json!(30085);
    live.secrets.insert(
        "todo-secret".to_string(),
        ["DATABASE_URL", "JWT_SECRET"].map(|key| (key.to_string(), Ok(()))).into_iter().collect(),
    );
    for tried in [
        "dns todo-backend",
        "dns todo-backend.todo.svc.cluster.local",
        "dns todo-frontend",
        "dns todo-frontend.todo.svc.cluster.local",
        "url frontend",
        "url backend",
        "call frontend backend",
    ] {
        live.attempts.insert(tried.to_string(), Ok("200".to_string()));
    }
    let tags = ["backend", "frontend"].map(|name| (name.to_string(), "1.0.0".to_string())).into_iter().collect();
    let rendered = RenderedRelease { namespace: "todo".to_string(), objects, hooks: Vec::new(), tags };
    Good { config, rendered: BTreeMap::from([("todo".to_string(), rendered)]), live }
}

fn labels(name: &str) -> Value {
    json!({"app": format!("todo-{name}"), "app.kubernetes.io/name": name, "app.kubernetes.io/instance": "todo"})
}

fn metadata(name: &str) -> Value {
    json!({"name": format!("todo-{name}"), "namespace": "todo", "labels": labels(name)})
}

fn deployment(name: &str, port: u16, paths: [&str; 2]) -> Value {
    let secret =
        json!([{"name": "JWT_SECRET", "valueFrom": {"secretKeyRef": {"name": "todo-secret", "key": "JWT_SECRET"}}}]);
    let mut container = json!({
        "name": name, "image": format!("todo-{name}:1.0.0"), "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "env": [{"name": "PORT", "value": port.to_string()}],
        "envFrom": [{"configMapRef": {"name": "todo-config"}}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "16Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "64Mi"},
        },
        "livenessProbe": {"httpGet": {"path": paths[0], "port": "http"}, "initialDelaySeconds": 30, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": paths[1], "port": "http"}, "initialDelaySeconds": 10, "periodSeconds": 5},
        "securityContext": {"allowPrivilegeEscalation": false},
    });
    if name == "backend" {
        container["env"].as_array_mut().unwrap().extend(secret.as_array().unwrap().clone());
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name),
        "spec": {
            "replicas": 1, "progressDeadlineSeconds": 150,
            "selector": {"matchLabels": labels(name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels(name)}, "spec": {"containers": [container]}},
        },
    })
}

fn service(name: &str, port: u16, node_port: Value) -> Value {
    let port = json!({"name": "http", "port": port, "targetPort": "http", "protocol": "TCP", "nodePort": node_port});
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
        "spec": {"type": "NodePort", "sessionAffinity": "None", "selector": labels(name), "ports": [port]},
    })
}

/// Made at 10:50:00, started 5 s later, ready 15 s after that.
fn pod(name: &str, objects: &[Value]) -> Value {
    let workload = objects.iter().find(|object| called(object) == format!("deployment/todo-{name}")).unwrap();
    let mut metadata = metadata(name);
    metadata["name"] = json!(format!("todo-{name}-1"));
    metadata["creationTimestamp"] = json!("2026-11-21T10:50:00Z");
    let mut spec = workload["spec"]["template"]["spec"].clone();
    spec["nodeName"] = json!("n");
    let started = json!({"running": {"startedAt": "2026-11-21T10:50:05Z"}});
    json!({
        "kind": "Pod", "metadata": metadata, "spec": spec,
        "status": {
            "phase": "Running", "podIP": "10.244.0.9",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T10:50:20Z"}],
            "containerStatuses": [{"name": name, "ready": true, "restartCount": 0, "imageID": format!("sha256:{name}"), "state": started}],
        },
    })
}

fn endpoints(name: &str, port: u16) -> Value {
    let mut metadata = metadata(name);
    metadata["name"] = json!(format!("todo-{name}-x"));
    metadata["labels"]["kubernetes.io/service-name"] = json!(format!("todo-{name}"));
    let pod = json!({"kind": "Pod", "name": format!("todo-{name}-1")});
    json!({
        "kind": "EndpointSlice", "metadata": metadata, "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": true}, "targetRef": pod}],
    })
}
