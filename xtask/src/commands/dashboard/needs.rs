//! Which service needs which: by the addresses in its environment, and by the releases that its release needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::Config;

/// The services that each service needs. An address that stands in a Secret is read from the template that the
/// configuration has for it; the Secret itself is not asked. Where a release needs another one, and no address says which
/// service of it is meant, all of them are. `seen` has the objects of each namespace.
pub fn find(config: &Config, seen: &BTreeMap<String, Vec<Value>>) -> BTreeMap<String, BTreeSet<String>> {
    let hosts = service_of_host(config, seen);
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (service, release) in config.running() {
        let namespace = &config.releases[release].namespace;
        let objects = seen.get(namespace).map(Vec::as_slice).unwrap_or_default();
        let own = |object: &&Value| {
            let labels = &object["metadata"]["labels"];
            labels["app.kubernetes.io/name"] == service && labels["app.kubernetes.io/instance"] == release
        };
        let texts = objects.iter().filter(own).flat_map(|workload| environment(config, workload, objects));
        let found = texts.flat_map(|text| addressed_hosts(&text)).filter_map(|host| {
            let (name, elsewhere) = host.split_once('.').unwrap_or((&host, namespace));
            let place = elsewhere.split('.').next().unwrap_or_default();
            hosts.get(&(place.to_string(), name.to_string())).cloned()
        });
        needs.insert(service.to_string(), found.filter(|needed| needed != service).collect());
    }
    for release in config.releases.values() {
        for needed in &release.needs {
            let others = &config.releases[needed].services;
            let is_known = release.services.iter().any(|service| others.iter().any(|one| needs[service].contains(one)));
            if !is_known {
                for service in &release.services {
                    needs.entry(service.clone()).or_default().extend(others.iter().cloned());
                }
            }
        }
    }
    needs
}

/// By namespace and name of a Service, the service that it leads to.
fn service_of_host(config: &Config, seen: &BTreeMap<String, Vec<Value>>) -> BTreeMap<(String, String), String> {
    let mut hosts = BTreeMap::new();
    for (namespace, objects) in seen {
        for object in objects.iter().filter(|object| object["kind"] == "Service") {
            let labels = &object["metadata"]["labels"];
            let service = labels["app.kubernetes.io/name"].as_str().filter(|name| config.services.contains_key(*name));
            if let (Some(host), Some(service)) = (object["metadata"]["name"].as_str(), service) {
                hosts.insert((namespace.clone(), host.to_string()), service.to_string());
            }
        }
    }
    hosts
}

/// The values in the environment of a workload's containers that may hold an address.
fn environment(config: &Config, workload: &Value, objects: &[Value]) -> Vec<String> {
    let spec = &workload["spec"]["template"]["spec"];
    let containers = ["initContainers", "containers"].into_iter().flat_map(|list| array(&spec[list]));
    let config_map =
        |name: &Value| objects.iter().find(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == *name);
    let template = |secret: &Value, key: &str| {
        let secret = config.secrets.get(secret.as_str()?)?;
        secret.derived.get(key).cloned()
    };
    let mut found = Vec::new();
    for container in containers {
        for variable in array(&container["env"]) {
            found.extend(variable["value"].as_str().map(str::to_string));
            let from = &variable["valueFrom"];
            let key = |reference: &str| from[reference]["key"].as_str().unwrap_or_default().to_string();
            found.extend(template(&from["secretKeyRef"]["name"], &key("secretKeyRef")));
            let of_map = config_map(&from["configMapKeyRef"]["name"]);
            found.extend(of_map.and_then(|map| map["data"][key("configMapKeyRef")].as_str()).map(str::to_string));
        }
        for all in array(&container["envFrom"]) {
            let data = config_map(&all["configMapRef"]["name"]).and_then(|map| map["data"].as_object());
            found.extend(data.into_iter().flatten().filter_map(|(_, value)| value.as_str()).map(str::to_string));
            let secret = all["secretRef"]["name"].as_str().and_then(|name| config.secrets.get(name));
            found.extend(secret.into_iter().flat_map(|secret| secret.derived.values().cloned()));
        }
    }
    found
}

/// The hosts in a text that is an address or has some: of `scheme://user:password@HOST:port/path`, and of `HOST:port`.
fn addressed_hosts(text: &str) -> Vec<String> {
    let words = text.split(|sign: char| sign.is_whitespace() || matches!(sign, ',' | ';' | '"' | '\''));
    let host = |word: &str| {
        let (authority, is_url) = match word.split_once("://") {
            Some((_, rest)) => (rest.split(['/', '?', '#']).next().unwrap_or_default(), true),
            None => (word, false),
        };
        let place = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        (is_url || port.is_some_and(is_port)).then(|| host.to_string())
    };
    words.filter_map(host).filter(|host| !host.is_empty()).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_from_addresses_and_from_nothing_else() {
        for (text, hosts) in [
            ("http://backend:8000", &["backend"][..]),
            ("postgres://todo:{POSTGRES_PASSWORD}@postgres:5432/todo?x=backend:1", &["postgres"]),
            ("http://backend", &["backend"]),
            ("store.many-database.svc.cluster.local:5432", &["store.many-database.svc.cluster.local"]),
            ("a:1,b:2 c", &["a", "b"]),
            ("backend", &[]),
            ("info", &[]),
            ("level=debug", &[]),
            ("12:30", &["12"]),
            (":8000", &[]),
            ("", &[]),
        ] {
            assert_eq!(addressed_hosts(text), hosts, "{text}");
        }
    }
}
