//! What a chart's values say of one service, beside the chart's own keys.

use serde_json::Value;

use crate::entities::container::PullPolicy;
use crate::entities::deployment::Replicas;
use crate::entities::env::EnvName;
use crate::entities::ports::{NodePort, Port, Protocol, TargetPort};
use crate::entities::probe::url_path;
use crate::entities::reference::{Reference, Tag};
use crate::entities::resources::Resources;
use crate::entities::scheduling::Scheduling;
use crate::entities::service::ServiceType;
use xtask::model::object::{Fields, StringMap, read};

/// None where the values leave it to the chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub replicas: Option<Replicas>,
    pub image: Image,
    pub port: Option<Port>,
    pub service: Service,
    pub resources: Resources,
    pub liveness_path: Option<String>,
    pub readiness_path: Option<String>,
    pub scheduling: Scheduling,
    pub environment: StringMap,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub repository: Option<String>,
    pub tag: Option<Tag>,
    pub pull_policy: Option<PullPolicy>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub kind: Option<ServiceType>,
    pub port: Option<Port>,
    pub target_port: Option<TargetPort>,
    pub node_port: Option<NodePort>,
    pub protocol: Protocol,
}

impl Values {
    /// From `services.NAME` of the umbrella chart's values, or from all of a single chart's.
    pub fn from_object(object: &Value) -> Result<Values, Vec<String>> {
        read(object, |f| {
            let replicas = f.at("replicaCount").maybe(|count| count.take(Replicas::from_value));
            let image = Image::from_fields(&f.at("image"));
            let port = f.at("port").maybe(|port| port.take(Port::from_value));
            let service = Service::from_fields(&f.at("service"));
            let resources = Resources::from_fields(&f.at("resources"));
            let path = |name: &str| f.at("probes").at(name).at("path").maybe(|path| path.parsed(url_path));
            let (liveness_path, readiness_path) = (path("liveness"), path("readiness"));
            let scheduling = Scheduling::from_fields(f);
            let environment = environment(&f.at("env"));
            Some(Values {
                replicas: replicas?,
                image: image?,
                port: port?,
                service: service?,
                resources: resources?,
                liveness_path: liveness_path?,
                readiness_path: readiness_path?,
                scheduling: scheduling?,
                environment: environment?,
            })
        })
    }
}

impl Image {
    fn from_fields(f: &Fields) -> Option<Image> {
        let repository = f.at("repository").maybe(|repository| {
            repository.parsed(|text| match Reference::parse(text)? {
                reference if reference.tag().is_none() && reference.digest().is_none() => Ok(text.to_string()),
                _ => Err(format!("\"{text}\" has a tag: it belongs into image.tag")),
            })
        });
        // An empty tag stands for the chart's appVersion.
        let tag = match f.at("tag").value.as_str() {
            Some("") => Some(None),
            _ => f.at("tag").maybe(|tag| tag.parsed(Tag::parse)),
        };
        let pull_policy = f.at("pullPolicy").maybe(|policy| policy.parsed(PullPolicy::parse));
        Some(Image { repository: repository?, tag: tag?, pull_policy: pull_policy? })
    }
}

impl Service {
    fn from_fields(f: &Fields) -> Option<Service> {
        let kind = f.at("type").maybe(|kind| kind.parsed(ServiceType::parse));
        let port = f.at("port").maybe(|port| port.take(Port::from_value));
        let target_port = f.at("targetPort").maybe(|port| port.take(TargetPort::from_value));
        let node_port = f.at("nodePort").maybe(|port| port.take(NodePort::from_value));
        let protocol = f.at("protocol").or(Protocol::Tcp, |protocol| protocol.parsed(Protocol::parse));
        Some(Service {
            kind: kind?,
            port: port?,
            target_port: target_port?,
            node_port: node_port?,
            protocol: protocol?,
        })
    }
}

fn environment(f: &Fields) -> Option<StringMap> {
    let texts = f.texts()?;
    let wrong: Vec<_> = texts.keys().filter_map(|key| Some((key, EnvName::parse(key).err()?))).collect();
    wrong.iter().for_each(|(key, message)| f.at(key).report(message));
    if wrong.is_empty() { Some(texts) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_specs_values_are_read() {
        let spec = json!({
            "replicaCount": 1, "image": {"repository": "ai-todo-backend", "tag": "latest", "pullPolicy": "Never"}, "port": 8000,
            "service": {"type": "NodePort", "port": 8000, "nodePort": 30081},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
            "probes": {"liveness": {"path": "/health"}},
            "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [], "affinity": {}, "env": {"LOG_LEVEL": "info"},
        });
        let read = Values::from_object(&spec).unwrap();
        assert_eq!(
            (read.replicas.unwrap().to_string(), read.service.kind),
            ("1".to_string(), Some(ServiceType::NodePort))
        );
        assert_eq!(read.liveness_path.as_deref(), Some("/health"));
        assert_eq!(Values::from_object(&json!({"image": {"tag": ""}})).unwrap().image.tag, None);
    }

    #[test]
    fn all_illegal_values_are_reported() {
        let wrong = json!({
            "replicaCount": 0, "image": {"repository": "a:1", "tag": "a b", "pullPolicy": "Maybe"}, "port": 0,
            "service": {"type": "Ingress", "port": 70000, "nodePort": 80, "protocol": "HTTP"},
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "probes": {"readiness": {"path": "ready"}},
            "nodeSelector": {"a": 1}, "env": {"A-B": "1"},
        });
        let found = Values::from_object(&wrong).unwrap_err();
        let paths: Vec<&str> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "replicaCount",
                "image.repository",
                "image.tag",
                "image.pullPolicy",
                "port",
                "service.type",
                "service.port",
                "service.nodePort",
                "service.protocol",
                "resources.requests.cpu",
                "probes.readiness.path",
                "nodeSelector.a",
                "env.A-B",
            ]
        );
    }
}
