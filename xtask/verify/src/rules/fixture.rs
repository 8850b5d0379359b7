//! A profile at which nothing is wrong, for tests that break one thing of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rules::found::called;
use crate::rules::{
    Attempt, ChartFiles, Checks, Facts, FileKind, Files, ImageFacts, ImageFile, Known, LastUp, LiveFacts, PastRevision,
    Place, RenderedRelease, Rule, Start,
};
use xtask::config;
use xtask::config::{Config, ConfigFile};
use xtask::model::states::DeploymentState;

pub struct Good {
    pub config: Config,
    pub files: Files,
    pub images: BTreeMap<String, ImageFacts>,
    pub rendered: BTreeMap<String, RenderedRelease>,
    pub live: LiveFacts,
    pub known: Known,
}

/// The codes that rules of one family find, each with its place and object, when `change` was made.
pub fn found(rules: &[Rule], change: impl FnOnce(&mut Good)) -> Vec<(&'static str, Place, String)> {
    let mut good = good();
    change(&mut good);
    let Good { config, files, images, rendered, live, known } = good;
    let facts = Facts { known, ..facts(&config, files, images, rendered, live) };
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

fn facts(
    config: &Config,
    files: Files,
    images: BTreeMap<String, ImageFacts>,
    rendered: BTreeMap<String, RenderedRelease>,
    live: LiveFacts,
) -> Facts<'_> {
    let (files, images, rendered, live) = (Some(files), Some(images), Some(rendered), Some(live));
    Facts { config, unseen: BTreeMap::new(), files, rendered, images, live, known: Known::default() }
}

/// The places at which a rule looked at nothing although it says that it would.
pub fn unseen(rules: &[Rule]) -> Vec<(&'static str, Place)> {
    let good = good();
    let Good { config, files, images, rendered, live, known } = good;
    let facts = Facts { known, ..facts(&config, files, images, rendered, live) };
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

    /// What the chart's values say of a service.
    pub fn values(&mut self, service: &str) -> &mut Value {
        &mut self.files.charts.get_mut("todo").unwrap().values["services"][service]
    }

    /// What the data model demands of a service, as the profile says it.
    pub fn with_spec(&mut self, change: impl FnOnce(&mut config::Spec)) {
        change(self.config.spec.as_mut().unwrap());
    }
}

const PROFILE: &str = r#"
namespace = "todo"

[releases.todo]
chart = "helm/todo-chatbot"
app_version = "{tag}"
services = ["backend", "frontend"]
secret = "todo-secret"

[secrets.todo-secret]
random = ["JWT_SECRET"]
derived = { BETTER_AUTH_URL = "http://todo-frontend" }
given = ["DATABASE_URL"]

[services.backend]
image = "todo-backend"
node_port = 30081
user = { id = 1000, name = "appuser" }

[services.frontend]
image = "todo-frontend"
node_port = "auto"

[[smoke]]
name = "the page answers"
service = "frontend"
steps = [{ path = "/", status = 200 }]

[spec]
number = 2
namespace = "todo"
size_total_mb = 500
tables = ["users", "tasks"]

[spec.charts.todo]
version = "0.1.0"
app_version = "{tag}"
files = ["Chart.yaml", "templates/deployment.yaml"]

[spec.states.deployment]
Ready = "Active"

[spec.cluster]
cpus = 2
memory_mb = 4096
drivers = ["docker"]
addons = ["metrics-server"]

[spec.services.backend]
port = 8000
size_mb = 250
healthcheck = "/health"
user_id = 1000
user_name = "appuser"
workdir = "/app"
entry = "/app/backend"
args = { REVISION = "unknown" }
excluded = [".env", "*.pyc", "tests"]
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

[spec.services.frontend]
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

[spec.config_maps.todo-config]
LOG_LEVEL = "info"

[spec.secrets]
todo-secret = ["DATABASE_URL", "JWT_SECRET"]
"#;

pub fn good() -> Good {
    let base = ConfigFile { file: "xtask.toml", text: include_str!("../../../../xtask.toml") };
    let config =
        config::parse_config("test", base, ConfigFile { file: "test.toml", text: PROFILE }, &|_| true).unwrap();
    let objects = vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"LOG_LEVEL": "info"},
            "metadata": {"name": "todo-config", "namespace": "todo", "labels": {"app.kubernetes.io/instance": "todo"}},
        }),
        deployment("backend", 8000, ["/health", "/ready"]),
        deployment("frontend", 3000, ["/api/health", "/api/ready"]),
        service("backend", 8000, json!(30081)),
        service("frontend", 3000, Value::Null),
    ];
    let mut live =
        LiveFacts { objects: objects.clone(), now: "2026-11-21T11:00:00Z".to_string(), ..LiveFacts::default() };
    for workload in live.objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        workload["metadata"]["creationTimestamp"] = json!("2026-11-21T10:50:00Z");
        workload["status"] = json!({"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1});
    }
    live.nodes = vec![json!({"kind": "Node", "metadata": {"name": "n"}, "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi"}, "nodeInfo": {"kubeletVersion": "v1.33.1"}}})];
    for (name, port) in [("backend", 8000), ("frontend", 3000)] {
        live.objects.push(pod(name, &objects));
        live.objects.push(endpoints(name, port));
        live.host_images.insert(name.to_string(), format!("sha256:{name}"));
    }
    live.addons = BTreeMap::from([("metrics-server".to_string(), None)]);
    live.node_limits = BTreeMap::from([("n".to_string(), (2_000_000_000, 4096 << 20))]);
    live.all_pods = live.objects.iter().filter(|object| object["kind"] == "Pod").cloned().collect();
    live.objects.iter_mut().find(|object| called(object) == "service/todo-frontend").unwrap()["spec"]["ports"][0]["nodePort"] =
        json!(30085);
    let keys = ["DATABASE_URL", "JWT_SECRET"];
    live.secrets.insert("todo-secret".to_string(), keys.map(|key| (key.to_string(), Ok(()))).into_iter().collect());
    live.secret_objects = vec![json!({
        "kind": "Secret", "type": "Opaque", "data": {"DATABASE_URL": null, "JWT_SECRET": null},
        "metadata": {"name": "todo-secret", "namespace": "todo", "creationTimestamp": "2026-11-21T10:49:00Z"},
    })];
    live.objects.push(json!({"kind": "Namespace", "metadata": {"name": "todo"}}));
    let (backend, frontend) = ("backend".to_string(), "frontend".to_string());
    for attempt in [
        Attempt::ShortName(backend.clone()),
        Attempt::FullName(backend.clone()),
        Attempt::ShortName(frontend.clone()),
        Attempt::FullName(frontend.clone()),
        Attempt::Environment(backend.clone()),
        Attempt::Environment(frontend.clone()),
        Attempt::Url(backend.clone()),
        Attempt::Url(frontend.clone()),
        Attempt::MinikubeUrl(frontend.clone()),
        Attempt::Reach { from: frontend, to: backend },
        Attempt::ConfigMap("todo-config".to_string()),
        Attempt::Upgrade("todo".to_string()),
        Attempt::Rollback("todo".to_string()),
        Attempt::Uninstall("todo".to_string()),
        Attempt::Test("todo".to_string()),
    ] {
        live.attempts.insert(attempt, Ok("it did".to_string()));
    }
    live.releases = vec![json!({"name": "todo", "namespace": "todo", "revision": "2", "status": "deployed"})];
    live.history.insert("todo".to_string(), past(&[("superseded", None), ("deployed", None)]));
    live.last_up = Some(last_up());
    live.node_images.insert(
        "n".to_string(),
        BTreeMap::from(["backend", "frontend"].map(|name| (format!("todo-{name}:1.0.0"), format!("sha256:{name}")))),
    );
    live.minikube = json!({
        "ip": "192.168.49.2",
        "status": {"Name": "todo-chatbot", "Host": "Running", "Kubelet": "Running", "APIServer": "Running"},
        "profiles": {"invalid": [], "valid": [{"Name": "todo-chatbot", "Status": "OK", "Config": {
            "Name": "todo-chatbot", "Memory": 4096, "CPUs": 2, "Driver": "docker",
            "KubernetesConfig": {"KubernetesVersion": "v1.33.1", "ContainerRuntime": "containerd"},
            "Nodes": [{"Name": "", "IP": "192.168.49.2", "Port": 8443}],
            "Addons": {"metrics-server": true}}}]},
    });
    live.tables = tables();
    let tags = ["backend", "frontend"].map(|name| (name.to_string(), "1.0.0".to_string())).into_iter().collect();
    let rendered = RenderedRelease {
        namespace: "todo".to_string(),
        objects,
        hooks: vec![test_pod()],
        tags,
        made_secrets: made_secrets(),
        placeholder: Some(("JWT_SECRET".to_string(), Some("secret.values.JWT_SECRET is a placeholder".to_string()))),
    };
    let images = ["backend", "frontend"].map(|name| (name.to_string(), image(name))).into_iter().collect();
    let rendered = BTreeMap::from([("todo".to_string(), rendered)]);
    let locks = ["Cargo.lock", "services/Cargo.lock"].map(|lock| (lock.to_string(), Vec::new()));
    let known = Known {
        rust: Ok("2026-11-20".to_string()),
        locks: locks.into(),
        debian: Ok("2026-11-20T00:00:00Z".to_string()),
        ..Known::default()
    };
    Good { config, files: files(), images, rendered, live, known }
}

fn files() -> Files {
    let ignored = include_str!("../../../../docker/backend.Dockerfile.dockerignore").to_string();
    let dockerfiles = [
        ("docker/backend.Dockerfile", include_str!("../../../../docker/backend.Dockerfile")),
        ("docker/frontend.Dockerfile", include_str!("../../../../docker/frontend.Dockerfile")),
    ];
    let knobs = ["backend", "frontend"]
        .into_iter()
        .flat_map(|service| crate::rules::chart::KNOBS.map(|knob| (format!("{service} {knob}"), true)));
    let chart = ChartFiles {
        described: json!({
            "apiVersion": "v2", "name": "todo", "version": "0.1.0", "appVersion": "1.0.0", "type": "application",
            "description": "What runs", "dependencies": [{"name": "library", "version": "0.1.0", "repository": "file://../library"}],
        }),
        files: ["Chart.yaml", "values.yaml", "templates/deployment.yaml"].map(str::to_string).to_vec(),
        values: json!({
            "configMaps": {"todo-config": {"LOG_LEVEL": "info"}}, "secret": {"values": {}},
            "services": {"backend": service_values(), "frontend": service_values()},
        }),
        knobs: knobs.collect(),
        ..ChartFiles::default()
    };
    Files {
        tracked: Some(vec!["xtask.toml".to_string()]),
        override_ignored: true,
        override_sealed: false,
        dockerfiles: dockerfiles.map(|(path, text)| (path.to_string(), text.to_string())).into_iter().collect(),
        dockerignores: dockerfiles.map(|(path, _)| (path.to_string(), ignored.clone())).into_iter().collect(),
        inputs: BTreeMap::from([("backend".to_string(), vec!["backend/src/main.rs".to_string()])]),
        charts: BTreeMap::from([("todo".to_string(), chart)]),
        ..Files::default()
    }
}

fn image(name: &str) -> ImageFacts {
    let (port, path) = if name == "backend" { (8000, "/health") } else { (3000, "/api/health") };
    let file = |path: &str, mode, kind| ImageFile { path: path.to_string(), mode, kind, bytes: 1 };
    ImageFacts {
        reference: format!("todo-{name}:1.0.0"),
        size: 8_000_000,
        inspect: json!({
            "Id": format!("sha256:{name}"), "RepoTags": [format!("todo-{name}:1.0.0")], "Size": 8_000_000,
            "Config": {
                "User": "1000:1000", "WorkingDir": "/app", "Entrypoint": [format!("/app/{name}")],
                "ExposedPorts": {format!("{port}/tcp"): {}}, "Env": [format!("PORT={port}"), format!("HEALTHCHECK_PATH={path}")],
                "Healthcheck": {"Test": ["CMD", format!("/app/{name}"), "healthcheck"]},
                "Labels": {
                    "org.opencontainers.image.title": name, "org.opencontainers.image.version": "1.0.0",
                    "org.opencontainers.image.licenses": "MIT",
                },
            },
        }),
        history: vec!["ARG REVISION=unknown".to_string()],
        files: vec![file("app", 0o755, FileKind::Folder), file(&format!("app/{name}"), 0o755, FileKind::Plain)],
        users: BTreeMap::from([(1000, "appuser".to_string())]),
        crates: BTreeMap::from([(format!("app/{name}"), Vec::new())]),
        starts: Some(Ok(Start::Runs)),
        ..ImageFacts::default()
    }
}

fn test_pod() -> Value {
    let urls = json!(["http://todo-backend:8000/ready", "http://todo-frontend:3000/api/ready"]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "todo-test", "annotations": {"helm.sh/hook": "test"}},
        "spec": {"containers": [{"name": "test", "args": urls}]},
    })
}

/// A first installation of both services.
fn last_up() -> LastUp {
    use DeploymentState::{Building, Installing, Loading, Pending, Ready, Running};
    let states = vec![Building, Loading, Installing, Pending, Running, Ready];
    let services = ["backend", "frontend"];
    let validated = [Building, Loading].map(|state| services.map(|name| (name.to_string(), state)));
    let of_release = [Installing, Ready].map(|state| ("todo".to_string(), state));
    LastUp {
        succeeded: true,
        states: services.map(|name| (name.to_string(), states.clone())).into(),
        validated: validated.into_iter().flatten().chain(of_release).collect(),
    }
}

/// Revisions from 1 on, each with its status and the one that it went back to.
pub fn past(revisions: &[(&str, Option<u64>)]) -> Vec<PastRevision> {
    let one = |((status, back), number): (&(&str, Option<u64>), u64)| PastRevision {
        number,
        status: status.to_string(),
        is_rollback: back.is_some(),
        went_back_to: *back,
    };
    revisions.iter().zip(1..).map(one).collect()
}

/// What the chart makes of samples where its values ask for it.
fn made_secrets() -> BTreeMap<String, Result<Vec<Value>, String>> {
    let sample = crate::rules::SAMPLE;
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, sample);
    let made = |field: &str, text: &str| {
        let metadata = json!({"name": "todo-secret"});
        (
            field.to_string(),
            Ok(vec![json!({"kind": "Secret", "type": "Opaque", "metadata": metadata, field: {"JWT_SECRET": text}})]),
        )
    };
    BTreeMap::from([made("data", &encoded), made("stringData", sample)])
}

fn tables() -> BTreeMap<String, BTreeMap<String, String>> {
    let table = |name: &str, columns: &[(&str, &str)]| {
        let columns = columns.iter().map(|(column, kind)| (column.to_string(), kind.to_string()));
        (name.to_string(), columns.collect())
    };
    let (id, time) =
        ("integer not null default identity PRIMARY KEY (id)", "timestamp with time zone not null default now()");
    BTreeMap::from([
        table("users", &[("id", "text not null")]),
        table(
            "tasks",
            &[
                ("id", id),
                ("title", "text not null"),
                ("description", "text"),
                ("completed", "boolean not null default false"),
                ("priority", "text not null default 'medium'::text"),
                ("user_id", "text not null"),
                ("created_at", time),
                ("updated_at", time),
            ],
        ),
        table("conversations", &[("id", id), ("user_id", "text not null"), ("created_at", time)]),
        table(
            "messages",
            &[
                ("id", id),
                ("conversation_id", "integer not null FOREIGN KEY (conversation_id) REFERENCES conversations(id)"),
                ("role", "text not null CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text])))"),
                ("content", "text not null"),
                ("created_at", time),
            ],
        ),
    ])
}

fn labels(name: &str) -> Value {
    json!({"app": format!("todo-{name}"), "app.kubernetes.io/name": name, "app.kubernetes.io/instance": "todo"})
}

fn metadata(name: &str) -> Value {
    json!({"name": format!("todo-{name}"), "namespace": "todo", "labels": labels(name)})
}

fn resources() -> Value {
    json!({
        "requests": {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "16Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "64Mi"},
    })
}

/// What the chart's values say of a service.
fn service_values() -> Value {
    json!({"resources": resources(), "service": {"type": "NodePort"}})
}

fn deployment(name: &str, port: u16, paths: [&str; 2]) -> Value {
    let secret =
        json!([{"name": "JWT_SECRET", "valueFrom": {"secretKeyRef": {"name": "todo-secret", "key": "JWT_SECRET"}}}]);
    let mut container = json!({
        "name": name, "image": format!("todo-{name}:1.0.0"), "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "env": [{"name": "PORT", "value": port.to_string()}],
        "envFrom": [{"configMapRef": {"name": "todo-config"}}],
        "resources": resources(),
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
            "template": {"metadata": {"labels": labels(name)}, "spec": {
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000}, "containers": [container],
            }},
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
            "containerStatuses": [{
                "name": name, "ready": true, "restartCount": 0, "imageID": format!("sha256:{name}"), "state": started,
                "image": format!("docker.io/library/todo-{name}:1.0.0"),
            }],
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
