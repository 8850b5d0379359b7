//! The objects of a profile's services, in the rendered manifests and in the cluster.

use serde_json::{Value, json};

use crate::entities::container::Container;
use crate::rules::{Facts, ImageFacts, Place};
use xtask::model::object::{Fields, StringMap, read};

/// An object of one service.
pub struct Found<'a> {
    pub place: Place,
    pub service: &'a str,
    pub release: &'a str,
    pub object: &'a Value,
}

impl<'a> Found<'a> {
    /// `deployment/todo-backend`, as findings and waivers call it.
    pub fn called(&self) -> String {
        called(self.object)
    }

    pub fn name(&self) -> &'a str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The spec of a workload's pods, or of the pod itself.
    pub fn pod_spec(&self) -> &'a Value {
        let template = &self.object["spec"]["template"]["spec"];
        if template.is_null() { &self.object["spec"] } else { template }
    }

    /// The labels of a workload's pods.
    pub fn pod_labels(&self) -> StringMap {
        texts(&self.object["spec"]["template"]["metadata"]["labels"])
    }

    /// All containers, those that run before the others first.
    pub fn containers(&self) -> Vec<&'a Value> {
        let lists = ["initContainers", "containers"].map(|list| self.pod_spec()[list].as_array());
        lists.into_iter().flatten().flatten().collect()
    }

    /// The container that is the service; null where there is none.
    pub fn main(&self) -> &'a Value {
        let containers = self.pod_spec()["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = containers.iter().find(|container| container["name"] == self.service);
        named.or(containers.first()).unwrap_or(&Value::Null)
    }
}

/// `kind/name`, the kind in small letters.
pub fn called(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
}

/// The objects of these kinds that carry a running service's name, wherever facts were gathered. In the cluster, those
/// that are leaving don't count.
pub fn objects<'a>(facts: &'a Facts, kinds: &[&str]) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    for (service, release) in facts.config.running() {
        for (place, object) in of_release(facts, release) {
            let kind = object["kind"].as_str().unwrap_or_default();
            let labels = &object["metadata"]["labels"];
            let own = labels["app.kubernetes.io/name"] == service
                && (labels["app.kubernetes.io/instance"].is_null() || labels["app.kubernetes.io/instance"] == release);
            if own && kinds.contains(&kind) && object["metadata"]["deletionTimestamp"].is_null() {
                found.push(Found { place, service, release, object });
            }
        }
    }
    found
}

pub fn workloads<'a>(facts: &'a Facts) -> Vec<Found<'a>> {
    objects(facts, &["Deployment", "StatefulSet"])
}

/// The Services by which services are reached; one without an address is for names of pods only.
pub fn services<'a>(facts: &'a Facts) -> Vec<Found<'a>> {
    let mut found = objects(facts, &["Service"]);
    found.retain(|found| found.object["spec"]["clusterIP"] != "None");
    found
}

/// What the values of its chart say of a service, the profile's over the chart's own.
pub fn said<'a>(facts: &'a Facts, service: &str) -> Option<&'a Value> {
    let (_, release) = facts.config.running().find(|(name, _)| *name == service)?;
    let values = &facts.files.as_ref()?.charts.get(release)?.values;
    match values.get("services") {
        Some(services) => services.get(service),
        None => Some(values),
    }
}

/// The rendered and the live objects of a release and its namespace.
pub fn of_release<'a>(facts: &'a Facts, release: &str) -> Vec<(Place, &'a Value)> {
    let rendered = facts.rendered.as_ref().and_then(|releases| releases.get(release));
    let rendered = rendered.into_iter().flat_map(|release| &release.objects).map(|object| (Place::Render, object));
    let namespace = &facts.config.releases[release].namespace;
    let live = facts.live.iter().flat_map(|live| &live.objects);
    let live = live.filter(|object| object["metadata"]["namespace"] == **namespace).map(|object| (Place::Live, object));
    rendered.chain(live).collect()
}

/// Each image with its service; none where images were not looked at.
pub fn images<'a>(facts: &'a Facts) -> Vec<(&'a str, &'a ImageFacts)> {
    let images = facts.images.iter().flatten();
    images
        .filter(|(name, _)| facts.services().contains(&name.as_str()))
        .map(|(name, image)| (name.as_str(), image))
        .collect()
}

/// The places of manifests and cluster that were looked at.
pub fn places(facts: &Facts) -> Vec<Place> {
    let both = [(Place::Render, facts.rendered.is_some()), (Place::Live, facts.live.is_some())];
    both.into_iter().filter(|(_, there)| *there).map(|(place, _)| place).collect()
}

/// A part of an object as a type; what is absent is empty. The error has all that is wrong with it.
pub fn typed<T>(value: &Value, part: impl FnOnce(&Fields) -> Option<T>) -> Result<T, String> {
    let empty = json!({});
    read(if value.is_null() { &empty } else { value }, part).map_err(|mistakes| mistakes.join("; "))
}

/// The container without what another rule looks at: of a mistake in it, that rule tells.
pub fn container(value: &Value) -> Option<Container> {
    read(value, Container::from_fields).ok()
}

pub fn texts(value: &Value) -> StringMap {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}
