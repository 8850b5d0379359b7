//! Reads live objects and releases back with kubectl and helm.

pub mod guard;
pub mod pinned;
pub mod service;
pub mod snapshot;

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::config::{Config, NodePorts, Reach, fill, yaml};
use crate::model::cluster::Target;
use crate::model::gitops::Applier;
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::run::process::{Output, Spawn};
use crate::tools::helm::Revision;
use crate::tools::{helm, kubectl};

/// The label by which the charts name the service that an object belongs to.
const SERVICE_LABEL: &str = "/metadata/labels/app.kubernetes.io~1name";

/// A Service of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub namespace: String,
    /// The object's name, which is also its host name in the cluster.
    pub object: String,
    pub port: u16,
    pub node_port: Option<u16>,
    pub load_balancer: bool,
    /// What a LoadBalancer was given.
    pub address: Option<String>,
}

/// The live objects that a release's manifest names.
pub fn objects_of(ctx: &Context, scope: &Scope, manifest: &str) -> Result<Vec<Value>> {
    ctx.run(kubectl::get_live(&scope.target).stdin(manifest))
}

/// A manifest's objects as they are written, without asking what is live.
pub fn objects_in(manifest: &str) -> Result<Vec<Value>> {
    Ok(yaml::objects(manifest).map_err(|problem| Stop::failed(problem.to_string()))?)
}

/// Objects of a namespace: `kinds` as in `pods,services`, or one as in `secret/NAME`.
pub fn objects(ctx: &Context, target: &Target, kinds: &str) -> Result<Vec<Value>> {
    ctx.run(kubectl::get(target, kinds, None))
}

/// The pods of a release.
pub fn pods(ctx: &Context, scope: &Scope) -> Result<Vec<Value>> {
    let selector = format!("app.kubernetes.io/instance={}", scope.release);
    ctx.run(kubectl::get(&scope.target, "pods", Some(&selector)))
}

/// The Services of all namespaces; on a target, of the profile's.
pub fn services(ctx: &Context) -> Result<Vec<Value>> {
    if ctx.config.target.is_none() {
        return ctx.run(kubectl::get_everywhere(&ctx.target(), "services"));
    }
    let namespaces = ctx.config.namespaces();
    let found = namespaces.iter().map(|name| objects(ctx, &ctx.target_in(name), "services"));
    Ok(found.collect::<Result<Vec<_>>>()?.concat())
}

/// The Services of all releases of the profile, by the service's name.
pub fn endpoints(ctx: &Context) -> Result<BTreeMap<String, Endpoint>> {
    Ok(endpoints_in(&ctx.config, services(ctx)?))
}

/// Those among the Services of all namespaces.
pub fn endpoints_in(config: &Config, services: Vec<Value>) -> BTreeMap<String, Endpoint> {
    let releases = &config.releases;
    let ours = |service: &&Value| {
        let release =
            service["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().and_then(|name| releases.get(name));
        release.is_some_and(|release| service["metadata"]["namespace"] == release.namespace)
    };
    let (headless, others): (Vec<Value>, Vec<Value>) =
        services.into_iter().filter(|service| ours(&service)).partition(is_headless);
    // A StatefulSet's service has one of each: callers use the one that has an address.
    headless.iter().chain(&others).filter_map(endpoint).collect()
}

/// Every node port of these Services, with the namespace and the service that hold it.
pub fn taken_node_ports(services: &[Value]) -> BTreeMap<u16, (String, String)> {
    let mut taken = BTreeMap::new();
    for service in services {
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            if let Some(number) = port["nodePort"].as_u64() {
                taken.insert(number as u16, (text("/metadata/namespace"), text(SERVICE_LABEL)));
            }
        }
    }
    taken
}

/// Which GitOps controller applied a release, of which helm may know nothing, and its workloads; None where none did. To this
/// machine's own cluster nothing but helm deploys.
pub fn applied_by(ctx: &Context, scope: &Scope) -> Result<Option<(Applier, Vec<Value>)>> {
    if ctx.config.target.is_none() {
        return Ok(None);
    }
    let selector = format!("app.kubernetes.io/instance={}", scope.release);
    let kinds = "deployments,statefulsets,daemonsets";
    let workloads = ctx.run(kubectl::get(&scope.target, kinds, Some(&selector)))?;
    Ok(Applier::of(&workloads).map(|applier| (applier, workloads)))
}

/// The object by which a controller knows what to apply, None where there is none; or how kubectl failed, as it does for whoever
/// has rights to the profile's namespaces alone.
pub fn object_of(ctx: &Context, applier: &Applier) -> Result<Result<Option<Value>, Output>> {
    let target = ctx.target_in(applier.namespace());
    let found = ctx.spawn.attempt(kubectl::get(&target, &applier.object(), None))?;
    Ok(found.map(|mut objects| objects.pop()))
}

/// A release's last revision; None where it is not installed.
pub fn last_revision(ctx: &Context, scope: &Scope) -> Result<Option<Revision>> {
    Ok(history(ctx, scope, 1)?.pop())
}

/// The last `count` revisions of a release with their status, the newest at the end; none where it is not installed.
pub fn revisions(ctx: &Context, scope: &Scope, count: u32) -> Result<Vec<(u64, String)>> {
    let message = history(ctx, scope, count)?;
    Ok(message.into_iter().map(|one| (one.number, one.status)).collect())
}

/// The same with all that helm keeps of each.
pub fn history(ctx: &Context, scope: &Scope, count: u32) -> Result<Vec<Revision>> {
    history_by(&ctx.spawn, scope, count)
}

/// The same with another spawner, such as one that ignores interruptions.
pub fn history_by(spawn: &Spawn, scope: &Scope, count: u32) -> Result<Vec<Revision>> {
    match spawn.attempt(helm::history(&scope.target, &scope.release, count))? {
        Ok(history) => Ok(history),
        Err(output) if output.tail.contains("release: not found") => Ok(Vec::new()),
        Err(output) => Err(Stop::failed("helm cannot tell the release's history").with_detail(&output.tail).into()),
    }
}

/// The manifest that helm applied last.
pub fn manifest(ctx: &Context, scope: &Scope) -> Result<String> {
    ctx.run(helm::manifest(&scope.target, &scope.release))
}

/// The URL of the service to open that keeps answering after a command has ended, if it has one.
pub fn open_url(config: &Config, endpoints: &BTreeMap<String, Endpoint>) -> Option<String> {
    url(config, &config.open, endpoints.get(&config.open)?)
}

/// The URL of a service, if it is reached without a forwarded port: on 127.0.0.1, or as its target says.
pub fn url(config: &Config, service: &str, endpoint: &Endpoint) -> Option<String> {
    match config.remote().map(|(_, remote)| &remote.reach) {
        None => Some(format!("http://127.0.0.1:{}", published_port(config, endpoint)?)),
        Some(Reach::PortForward) => None,
        Some(Reach::NodePort { host, .. }) => Some(format!("http://{host}:{}", endpoint.node_port?)),
        Some(Reach::Ingress { .. }) => ingress_url(config, service),
    }
}

/// The URL at which a target's Ingress leads to a service, if that is the one to open.
pub fn ingress_url(config: &Config, service: &str) -> Option<String> {
    let Reach::Ingress { url } = &config.remote()?.1.reach else { return None };
    let values = BTreeMap::from([("namespace".to_string(), config.namespace.clone())]);
    (service == config.open).then(|| fill(url, &values).ok()).flatten()
}

/// The node port of a Service, if it is one of those that were published on 127.0.0.1.
pub fn published_port(config: &Config, endpoint: &Endpoint) -> Option<u16> {
    let NodePorts { first, last } = config.cluster.node_ports;
    endpoint.node_port.filter(|port| config.target.is_none() && (first..=last).contains(port))
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

fn endpoint(service: &Value) -> Option<(String, Endpoint)> {
    let name = service.pointer(SERVICE_LABEL)?.as_str()?.to_string();
    let port = service.pointer("/spec/ports/0")?;
    let endpoint = Endpoint {
        namespace: service.pointer("/metadata/namespace")?.as_str()?.to_string(),
        object: service.pointer("/metadata/name")?.as_str()?.to_string(),
        port: port["port"].as_u64()? as u16,
        node_port: port["nodePort"].as_u64().map(|port| port as u16),
        load_balancer: service.pointer("/spec/type").is_some_and(|kind| kind == "LoadBalancer"),
        address: service.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str).map(str::to_string),
    };
    Some((name, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Value {
        json!({
            "metadata": {"namespace": "n", "name": "todo-frontend", "labels": {"app.kubernetes.io/name": "frontend"}},
            "spec": {"ports": [{"port": 80, "nodePort": 30081}]},
        })
    }

    #[test]
    fn services_are_known_by_label_not_by_object_name() {
        let (name, endpoint) = endpoint(&service()).unwrap();
        assert_eq!((name.as_str(), endpoint.object.as_str(), endpoint.port), ("frontend", "todo-frontend", 80));
        let url = |first, last| {
            let file = |file, text| crate::config::ConfigFile { file, text };
            let base = file("xtask.toml", include_str!("../../../xtask.toml"));
            let dev = file("dev.toml", include_str!("../../../k8s/profiles/dev.toml"));
            let mut config = crate::config::parse_config("dev", base, dev, &|_| true).unwrap();
            config.cluster.node_ports = NodePorts { first, last };
            url(&config, "frontend", &endpoint)
        };
        assert_eq!(url(30080, 30089).as_deref(), Some("http://127.0.0.1:30081"));
        assert_eq!(url(30000, 30079), None);
        assert_eq!(taken_node_ports(&[service()])[&30081], ("n".to_string(), "frontend".to_string()));
    }
}
