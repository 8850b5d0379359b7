//! Containers of a pod.

use std::fmt;

use crate::entities::env::{EnvFrom, EnvVar, Kind, ValueSource};
use crate::entities::ports::{ContainerPort, TargetPort};
use crate::entities::probe::Probe;
use crate::entities::reference::Reference;
use crate::entities::resources::Resources;
use xtask::model::labels::label_name;
use xtask::model::object::{Fields, doubled, one_of};

/// Names of ports and variables stand there once; a probe that names a port names one of the container's.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub name: String,
    pub image: Reference,
    pub pull_policy: PullPolicy,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub ports: Vec<ContainerPort>,
    pub env: Vec<EnvVar>,
    pub env_from: Vec<EnvFrom>,
    pub resources: Resources,
    pub probes: Probes,
    pub security: Security,
    pub mounts: Vec<Mount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    pub startup: Option<Probe>,
    pub liveness: Option<Probe>,
    pub readiness: Option<Probe>,
}

/// None where nothing is said; what a container doesn't say is as its pod says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    pub run_as_non_root: Option<bool>,
    pub run_as_user: Option<u64>,
    pub allow_privilege_escalation: Option<bool>,
    pub privileged: Option<bool>,
    pub read_only_root: Option<bool>,
    /// Capabilities that are taken away, such as ALL.
    pub drop: Vec<String>,
    pub add: Vec<String>,
}

/// A volume and the folder under which the container sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    pub volume: String,
    pub path: String,
}

impl Container {
    pub fn from_fields(f: &Fields) -> Option<Container> {
        let name = f.at("name").parsed(label_name);
        let image = f.at("image").parsed(Reference::parse);
        let pull_policy = f.at("imagePullPolicy").maybe(|policy| policy.parsed(PullPolicy::parse));
        let command = f.at("command").list(Fields::text);
        let args = f.at("args").list(Fields::text);
        let ports = f.at("ports").list(ContainerPort::from_fields);
        let env = f.at("env").list(EnvVar::from_fields);
        let env_from = f.at("envFrom").list(EnvFrom::from_fields);
        let resources = Resources::from_fields(&f.at("resources"));
        let probes = Probes::from_fields(f);
        let security = Security::from_fields(&f.at("securityContext"));
        let mounts = f.at("volumeMounts").list(|mount| {
            let (volume, path) = (mount.at("name").parsed(label_name), mount.at("mountPath").text());
            Some(Mount { volume: volume?, path: path? })
        });
        let image = image?;
        let container = Container {
            name: name?,
            pull_policy: pull_policy?.unwrap_or_else(|| PullPolicy::of(&image)),
            image,
            command: command?,
            args: args?,
            ports: ports?,
            env: env?,
            env_from: env_from?,
            resources: resources?,
            probes: probes?,
            security: security?,
            mounts: mounts?,
        };
        let mistakes = container.mistakes();
        mistakes.iter().for_each(|(key, message)| f.at(key).report(message));
        mistakes.is_empty().then_some(container)
    }

    /// Its ConfigMaps, by name: those taken as a whole and those of which a key is.
    pub fn config_maps(&self) -> Vec<&str> {
        self.objects(Kind::ConfigMap)
    }

    /// Its Secrets, by name.
    pub fn secrets(&self) -> Vec<&str> {
        self.objects(Kind::Secret)
    }

    fn objects(&self, wanted: Kind) -> Vec<&str> {
        let whole = self.env_from.iter().filter(|from| from.kind == wanted).map(|from| from.object.as_str());
        let keys = self.env.iter().filter_map(|var| match (&var.source, wanted) {
            (ValueSource::ConfigMap(key), Kind::ConfigMap) | (ValueSource::Secret(key), Kind::Secret) => {
                Some(key.object.as_str())
            }
            _ => None,
        });
        let mut names: Vec<&str> = whole.chain(keys).collect();
        names.sort();
        names.dedup();
        names
    }

    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Some(name) = doubled(self.ports.iter().filter_map(|port| port.name.as_ref())) {
            found.push(("ports", format!("two have the name {name}")));
        }
        if let Some((port, protocol)) = doubled(self.ports.iter().map(|port| (port.port, port.protocol))) {
            found.push(("ports", format!("two are {port}/{protocol}")));
        }
        if let Some(name) = doubled(self.env.iter().map(|var| &var.name)) {
            found.push(("env", format!("{name} stands there twice")));
        }
        if let Some(path) = doubled(self.mounts.iter().map(|mount| &mount.path)) {
            found.push(("volumeMounts", format!("two have the path {path}")));
        }
        for (name, probe) in self.probes.all() {
            let port = probe.port().filter(|port| matches!(port, TargetPort::Name(_)));
            if let Some(port) = port.filter(|port| port.resolve(&self.ports).is_none()) {
                found.push((name, format!("asks port {port}, which no port of the container is named")));
            }
        }
        found
    }
}

impl PullPolicy {
    pub fn parse(text: &str) -> Result<PullPolicy, String> {
        let known =
            [("Always", PullPolicy::Always), ("IfNotPresent", PullPolicy::IfNotPresent), ("Never", PullPolicy::Never)];
        one_of(text, &known)
    }

    /// What the API server fills in where nothing is said.
    pub fn of(image: &Reference) -> PullPolicy {
        if image.is_latest() { PullPolicy::Always } else { PullPolicy::IfNotPresent }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Probes {
    pub fn from_fields(f: &Fields) -> Option<Probes> {
        let one = |key: &str| f.at(key).maybe(Probe::from_fields);
        let (startup, liveness, readiness) = (one("startupProbe"), one("livenessProbe"), one("readinessProbe"));
        let probes = Probes { startup: startup?, liveness: liveness?, readiness: readiness? };
        let once = [("startupProbe", &probes.startup), ("livenessProbe", &probes.liveness)];
        let wrong: Vec<_> =
            once.iter().filter(|(_, probe)| probe.as_ref().is_some_and(|probe| probe.success_threshold != 1)).collect();
        wrong.iter().for_each(|(key, _)| f.at(key).at("successThreshold").report("must be 1 here"));
        wrong.is_empty().then_some(probes)
    }

    /// Those that are there, each under its key.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Probe)> {
        let all =
            [("startupProbe", &self.startup), ("livenessProbe", &self.liveness), ("readinessProbe", &self.readiness)];
        all.into_iter().filter_map(|(key, probe)| Some((key, probe.as_ref()?)))
    }
}

impl Security {
    pub fn from_fields(f: &Fields) -> Option<Security> {
        let flag = |key: &str| f.at(key).maybe(Fields::flag);
        let words = |key: &str| f.at("capabilities").at(key).list(Fields::text);
        let run_as_non_root = flag("runAsNonRoot");
        let run_as_user = f.at("runAsUser").maybe(|user| user.integer(0..=2_147_483_647));
        let allow_privilege_escalation = flag("allowPrivilegeEscalation");
        let privileged = flag("privileged");
        let read_only_root = flag("readOnlyRootFilesystem");
        let (drop, add) = (words("drop"), words("add"));
        let security = Security {
            run_as_non_root: run_as_non_root?,
            run_as_user: run_as_user?,
            allow_privilege_escalation: allow_privilege_escalation?,
            privileged: privileged?,
            read_only_root: read_only_root?,
            drop: drop?,
            add: add?,
        };
        let root = security.run_as_non_root == Some(true) && security.run_as_user == Some(0);
        let escalates = security.privileged == Some(true) && security.allow_privilege_escalation == Some(false);
        if root {
            f.at("runAsUser").report("0 is root, and runAsNonRoot is true");
        }
        if escalates {
            f.at("privileged").report("true contradicts allowPrivilegeEscalation false");
        }
        (!root && !escalates).then_some(security)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use xtask::model::object::read;

    fn spec() -> Value {
        json!({
            "name": "backend", "image": "todo-backend:1.0.0", "imagePullPolicy": "Never",
            "ports": [{"name": "http", "containerPort": 8000}],
            "env": [
                {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "todo-chatbot-secret", "key": "DATABASE_URL"}}},
                {"name": "PORT", "value": "8000"},
            ],
            "envFrom": [{"configMapRef": {"name": "todo-chatbot-config"}}],
            "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
            "livenessProbe": {"httpGet": {"path": "/health", "port": "http"}, "initialDelaySeconds": 30, "periodSeconds": 10},
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "initialDelaySeconds": 15, "periodSeconds": 5},
            "securityContext": {"runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        })
    }

    #[test]
    fn the_specs_container_is_read() {
        let container = read(&spec(), Container::from_fields).unwrap();
        assert_eq!((container.pull_policy, container.ports[0].port.number()), (PullPolicy::Never, 8000));
        assert_eq!(container.config_maps(), ["todo-chatbot-config"]);
        assert_eq!(container.secrets(), ["todo-chatbot-secret"]);
        assert_eq!(
            container.probes.all().map(|(name, _)| name).collect::<Vec<_>>(),
            ["livenessProbe", "readinessProbe"]
        );
        assert_eq!(container.security.allow_privilege_escalation, Some(false));
    }

    #[test]
    fn a_pull_policy_that_is_not_said_goes_by_the_tag() {
        let of = |text| PullPolicy::of(&Reference::parse(text).unwrap());
        assert_eq!(of("a"), PullPolicy::Always);
        assert_eq!(of("a:latest"), PullPolicy::Always);
        assert_eq!(of("a:1"), PullPolicy::IfNotPresent);
    }

    #[test]
    fn illegal_containers_are_refused() {
        let ports = json!([{"name": "http", "containerPort": 1}, {"name": "http", "containerPort": 2}]);
        for (key, value, describe) in [
            ("image", json!("todo-backend:"), "image: \"\" is not an image tag"),
            (
                "imagePullPolicy",
                json!("Sometimes"),
                "imagePullPolicy: \"Sometimes\" is none of Always, IfNotPresent, Never",
            ),
            ("ports", json!([{"containerPort": 0}]), "ports[0].containerPort: 0 is not a port"),
            ("ports", ports, "ports: two have the name http"),
            ("ports", json!([]), "livenessProbe: asks port http, which no port of the container is named"),
            ("env", json!([{"name": "A"}, {"name": "A"}]), "env: A stands there twice"),
            ("env", json!([{"name": "1A"}]), "env[0].name: \"1A\" is not the name"),
            (
                "resources",
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                "resources.requests.cpu: 2 is above the limit, 1",
            ),
            ("securityContext", json!({"runAsNonRoot": true, "runAsUser": 0}), "securityContext.runAsUser: 0 is root"),
            ("name", json!("Backend"), "name: \"Backend\" is not a name"),
        ] {
            let mut container = spec();
            container[key] = value;
            let found = read(&container, Container::from_fields).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(describe), "{found:?}");
        }
    }
}
