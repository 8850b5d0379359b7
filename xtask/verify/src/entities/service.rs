//! Services: how pods are reached.

use std::fmt;

use serde_json::Value;

use crate::entities::ports::PortMapping;
use xtask::model::labels::{label_name, object_name, read_labels, service_name};
use xtask::model::object::{Fields, StringMap, doubled, one_of, read};

/// A Service. One of type ExternalName names a host and has no pods; every other one has ports.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub name: String,
    pub namespace: String,
    pub kind: ServiceType,
    /// The labels of the pods that it leads to.
    pub selector: StringMap,
    pub ports: Vec<PortMapping>,
    /// Whether a client stays with the pod that it once got.
    pub sticky: bool,
    pub external_name: Option<String>,
    /// As the cluster assigned it; `None` in words for a headless one.
    pub cluster_ip: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

impl ServiceType {
    pub fn parse(text: &str) -> Result<ServiceType, String> {
        one_of(text, &KINDS)
    }

    /// Whether it is meant to be reached from outside the cluster.
    pub fn is_open(self) -> bool {
        matches!(self, ServiceType::NodePort | ServiceType::LoadBalancer)
    }
}

const KINDS: [(&str, ServiceType); 4] = [
    ("ClusterIP", ServiceType::ClusterIp),
    ("NodePort", ServiceType::NodePort),
    ("LoadBalancer", ServiceType::LoadBalancer),
    ("ExternalName", ServiceType::ExternalName),
];

impl ServiceSpec {
    pub fn from_object(object: &Value) -> Result<ServiceSpec, Vec<String>> {
        read(object, |f| {
            f.must_be(&["Service"]);
            let name = f.at("metadata").at("name").parsed(service_name);
            let namespace = namespace(f);
            let spec = f.at("spec");
            let kind = spec.at("type").or(ServiceType::ClusterIp, |kind| kind.parsed(ServiceType::parse));
            let selector = read_labels(&spec.at("selector"));
            let ports = spec.at("ports").list(PortMapping::from_fields);
            let sticky = spec
                .at("sessionAffinity")
                .or(false, |affinity| affinity.parsed(|text| one_of(text, &[("None", false), ("ClientIP", true)])));
            let external_name = spec.at("externalName").maybe(|name| name.parsed(host_name));
            let cluster_ip = spec.at("clusterIP").maybe(Fields::text);
            let read = ServiceSpec {
                name: name?,
                namespace: namespace?,
                kind: kind?,
                selector: selector?,
                ports: ports?,
                sticky: sticky?,
                external_name: external_name?,
                cluster_ip: cluster_ip?,
            };
            let mistakes = read.mistakes();
            mistakes.iter().for_each(|(key, message)| spec.at(key).report(message));
            mistakes.is_empty().then_some(read)
        })
    }

    pub fn is_headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }

    /// What fields say against each other.
    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        match (self.kind == ServiceType::ExternalName, &self.external_name) {
            (true, None) => found.push(("externalName", "is missing: type ExternalName needs the host".to_string())),
            (false, Some(_)) => found.push(("externalName", format!("has no place in type {}", self.kind))),
            _ => {}
        }
        if self.kind != ServiceType::ExternalName && self.ports.is_empty() && !self.is_headless() {
            found.push(("ports", "is empty: a Service needs a port".to_string()));
        }
        if self.ports.len() > 1 && self.ports.iter().any(|port| port.name.is_none()) {
            found.push(("ports", "of several, each needs a name".to_string()));
        }
        if let Some(name) = doubled(self.ports.iter().filter_map(|port| port.name.as_ref())) {
            found.push(("ports", format!("two have the name {name}")));
        }
        if let Some((port, protocol)) = doubled(self.ports.iter().map(|port| (port.port, port.protocol))) {
            found.push(("ports", format!("two are {port}/{protocol}")));
        }
        if !self.kind.is_open() && self.ports.iter().any(|port| port.node_port.is_some()) {
            found.push(("ports", format!("a nodePort has no place in type {}", self.kind)));
        }
        if self.kind.is_open() && self.is_headless() {
            found.push(("clusterIP", format!("None has no place in type {}", self.kind)));
        }
        found
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(_, kind)| kind == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// The namespace of an object; `default` where it says none.
pub fn namespace(f: &Fields) -> Option<String> {
    f.at("metadata").at("namespace").or("default".to_string(), |name| name.parsed(label_name))
}

fn host_name(text: &str) -> Result<String, String> {
    let address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match object_name(text.trim_end_matches('.')) {
        Ok(_) if !address => Ok(text.to_string()),
        _ => Err(format!("\"{text}\" is not the name of a host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, kind: &str, ports: Value) -> Value {
        json!({"kind": "Service", "metadata": {"name": name}, "spec": {"type": kind, "selector": {"app": name}, "ports": ports}})
    }

    #[test]
    fn the_specs_services_are_read() {
        let rolling = service("todo-chatbot-frontend", "LoadBalancer", json!([{"port": 80, "targetPort": 3000}]));
        assert_eq!(ServiceSpec::from_object(&rolling).unwrap().ports[0].target_port.to_string(), "3000");
        let microservices = service(
            "ai-todo-backend-service",
            "NodePort",
            json!([{"port": 8000, "targetPort": 8000, "nodePort": 30081}]),
        );
        let read = ServiceSpec::from_object(&microservices).unwrap();
        assert_eq!((read.kind, read.ports[0].node_port.unwrap().number()), (ServiceType::NodePort, 30081));
        let mut external = service("database", "ExternalName", json!(null));
        external["spec"]["externalName"] = "postgres.compact-database.svc.cluster.local".into();
        assert!(ServiceSpec::from_object(&external).is_ok());
        let mut sticky = service("a", "ClusterIP", json!([{"port": 1}]));
        sticky["spec"]["sessionAffinity"] = "ClientIP".into();
        assert!(ServiceSpec::from_object(&sticky).unwrap().sticky);
    }

    #[test]
    fn illegal_services_are_refused() {
        let port = || json!([{"port": 80}]);
        for (wrong, describe) in [
            (
                service("a", "Cluster", port()),
                "spec.type: \"Cluster\" is none of ClusterIP, NodePort, LoadBalancer, ExternalName",
            ),
            (service("1a", "ClusterIP", port()), "metadata.name: \"1a\" is not a Service's name"),
            (service("a", "ClusterIP", json!([])), "spec.ports: is empty"),
            (service("a", "ExternalName", json!(null)), "spec.externalName: is missing"),
            (
                service("a", "ClusterIP", json!([{"port": 80, "nodePort": 30000}])),
                "spec.ports: a nodePort has no place",
            ),
            (
                service("a", "ClusterIP", json!([{"port": 80}, {"port": 81}])),
                "spec.ports: of several, each needs a name",
            ),
            (
                service("a", "ClusterIP", json!([{"name": "x", "port": 80}, {"name": "y", "port": 80}])),
                "spec.ports: two are 80/TCP",
            ),
            (
                service("a", "ClusterIP", json!([{"name": "x", "port": 80}, {"name": "x", "port": 81}])),
                "spec.ports: two have the name x",
            ),
        ] {
            let found = ServiceSpec::from_object(&wrong).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(describe), "{found:?}");
        }
        assert!(
            ServiceSpec::from_object(
                &json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}})
            )
            .is_err()
        );
    }

    #[test]
    fn an_external_name_is_a_host_and_goes_with_its_type_only() {
        for name in ["", "10.0.0.1", "a b", "http://a"] {
            let mut object = service("a", "ExternalName", json!(null));
            object["spec"]["externalName"] = name.into();
            assert!(ServiceSpec::from_object(&object).is_err(), "{name}");
        }
        let mut object = service("a", "ClusterIP", json!([{"port": 1}]));
        object["spec"]["externalName"] = "a.b".into();
        assert!(ServiceSpec::from_object(&object).is_err());
    }
}
