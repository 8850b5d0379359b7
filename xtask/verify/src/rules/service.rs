//! Services: `svc.*`.

use serde_json::Value;

use crate::entities::ports::{ContainerPort, NodePort, Port, PortMapping, Protocol, TargetPort};
use crate::entities::service::{ServiceSpec, ServiceType};
use crate::rules::found::{Found, called, of_release, places, said, services, typed, workloads};
use crate::rules::{Attempt, Checks, Facts, Place, Rule, applies};
use xtask::config::NodePort as Configured;
use xtask::model::object::{Fields, one_of};
use xtask::model::states::PodState;

use Place::{Config as C, Live as L, Render as R};

pub const RULES: &[Rule] = &[
    Rule {
        code: "svc.type",
        what: "the Service's type is one of the four, and the profile's",
        specs: "rolling.md#service-types, nodeport.md#service-types, microservices.md#service-types, \
                static.md#service-types, compact.md#service-types",
        places: &[C, R, L],
        check: kind,
    },
    TARGET,
    Rule {
        code: "svc.port",
        what: "the Service's port is the container's, or the data model's own for it",
        specs: "rolling.md#service-ports, nodeport.md#service-ports, microservices.md#service-ports, \
                static.md#service-ports, compact.md#service-ports",
        places: &[C, R],
        check: port,
    },
    Rule {
        code: "svc.nodeport",
        what: "node ports are 30000 to 32767, published, and the data model's where it fixes one",
        specs: "nodeport.md#node-ports, microservices.md#node-ports, static.md#node-ports",
        places: &[C, R, L],
        check: node_port,
    },
    Rule {
        code: "svc.protocol",
        what: "protocols are TCP, UDP or SCTP, the same for Service and container",
        specs: "compact.md#protocols",
        places: &[C, R],
        check: protocol,
    },
    Rule {
        code: "svc.affinity",
        what: "session affinity is None",
        specs: "rolling.md#session-affinity",
        places: &[R, L],
        check: affinity,
    },
    Rule {
        code: "svc.endpoints",
        what: "every Service has endpoints, all of them healthy pods",
        specs: "rolling.md#service-endpoints, microservices.md#deployment-checks",
        places: &[L],
        check: endpoints,
    },
    Rule {
        code: "svc.front.external",
        what: "the frontend is reached from outside",
        specs: "rolling.md#frontend-access, compact.md#frontend-access",
        places: &[R, L],
        check: front_external,
    },
    Rule {
        code: "svc.back.internal",
        what: "the frontend's pod reaches the backend",
        specs: "rolling.md#backend-access",
        places: &[L],
        check: back_internal,
    },
    Rule {
        code: "svc.back.access",
        what: "the backend is reached from within or outside, as the profile says",
        specs: "compact.md#backend-access",
        places: &[R, L],
        check: back_access,
    },
    Rule {
        code: "svc.dns",
        what: "a Service's short name and its full one resolve",
        specs: "microservices.md#dns-names, static.md#dns-names",
        places: &[L],
        check: dns,
    },
    Rule {
        code: "svc.url",
        what: "what `minikube service --url` prints answers",
        specs: "static.md#service-url",
        places: &[L],
        check: url,
    },
];

const TARGET: Rule = Rule {
    code: "svc.target",
    what: "the targetPort is a port of the container, by the name or number of the data model",
    specs: "nodeport.md#target-ports, microservices.md#service-ports, compact.md#target-ports",
    places: &[R, L],
    check: target,
};

/// The service that the others call.
const BACKEND: &str = "backend";

fn kind(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let Some(kind) = said(facts, service).and_then(|values| values["service"]["type"].as_str()) else { continue };
        let wrong = ServiceType::parse(kind).err().or_else(|| another_type(facts, service, kind));
        checks.none(C, service, wrong.map(|wrong| format!("service.type of its values {wrong}")));
    }
    for found in services(facts) {
        let wrong = match type_of(found.object) {
            Err(wrong) => Some(format!("type {wrong}")),
            Ok(kind) => another_type(facts, found.service, &kind.to_string()).map(|wrong| format!("its type {wrong}")),
        };
        checks.none(found.place, &found.called(), wrong);
    }
    // A name for what is outside has no pods, and so belongs to no service.
    for release in facts.config.releases.keys() {
        for (place, object) in of_release(facts, release) {
            if object["kind"] == "Service" && object["spec"]["type"] == "ExternalName" {
                let wrong = ServiceSpec::from_object(object).err();
                checks.none(place, &called(object), wrong.map(|wrong| wrong.join("; ")));
            }
        }
    }
}

/// What the data model says in place of a type; None where it allows that.
fn another_type(facts: &Facts, service: &str, kind: &str) -> Option<String> {
    let allowed = facts.spec(service).map(|spec| spec.service_types.as_slice()).unwrap_or_default();
    let holds = allowed.is_empty() || allowed.iter().any(|one| one == kind);
    (!holds).then(|| format!("is {kind} instead of {}: set service.type", allowed.join(" or ")))
}

fn target(facts: &Facts, checks: &mut Checks) {
    for found in services(facts) {
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(found.service));
        let wanted = spec.and_then(|spec| spec.target_port.as_deref());
        let ports = container_ports(facts, &found);
        for (index, mapping) in mappings(&found).into_iter().enumerate() {
            let target = match mapping["targetPort"].is_null() {
                true => TargetPort::from_value(&mapping["port"]),
                false => TargetPort::from_value(&mapping["targetPort"]),
            };
            let wrong = match target {
                Err(wrong) => Some(wrong),
                Ok(target) => match (&ports, wanted.filter(|_| index == 0)) {
                    (Some(ports), _) if lead_to(&target, ports).is_none() => {
                        Some(format!("targetPort {target} is no port of the container: set service.targetPort"))
                    }
                    (_, Some(wanted)) if target.to_string() != wanted => {
                        Some(format!("targetPort is {target} instead of {wanted}: set service.targetPort"))
                    }
                    _ => None,
                },
            };
            checks.none(found.place, &found.called(), wrong);
        }
    }
}

fn port(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let spec = facts.config.spec.as_ref();
        let about = &facts.config.services[service];
        let stated = spec.and_then(|spec| spec.services.get(service));
        if let Some(stated) = stated {
            // One whose target is stated may have another port outside than within.
            let own = stated.target_port.as_deref() == Some(about.port.to_string().as_str());
            let path = format!("spec.services.{service}.service_port");
            let holds = own || stated.service_port.is_none_or(|port| port == about.port);
            checks.that_at(facts.config, &path, service, holds, || {
                format!(
                    "is {}, and the container listens on {}: both must be the same",
                    describe(stated.service_port),
                    about.port
                )
            });
        }
        let wanted = stated.and_then(|stated| stated.service_port).unwrap_or(about.port);
        for found in services(facts).iter().filter(|found| found.place == R && found.service == service) {
            let ports = container_ports(facts, found);
            for (index, mapping) in mappings(found).into_iter().enumerate() {
                let wrong = match typed(mapping, |f| f.at("port").take(Port::from_value)) {
                    Err(wrong) => Some(wrong),
                    Ok(port) => port_problem(facts, mapping, port, (index == 0).then_some(wanted), ports.as_deref()),
                };
                checks.none(R, &found.called(), wrong);
            }
        }
    }
}

/// What is wrong with one port of a Service; of one without a wanted number, that it isn't the container's.
fn port_problem(
    facts: &Facts,
    mapping: &Value,
    port: Port,
    wanted: Option<u16>,
    ports: Option<&[ContainerPort]>,
) -> Option<String> {
    let target = typed(mapping, PortMapping::from_fields).ok().map(|mapping| mapping.target_port);
    let led = target.zip(ports).map(|(target, ports)| lead_to(&target, ports));
    match (wanted, led) {
        (Some(wanted), _) if wanted != port.number() => {
            Some(format!("its port is {port} instead of {wanted}: set service.port"))
        }
        // Where another rule tells it, once is enough.
        (_, Some(None)) if !applies(&TARGET, facts.config) => {
            Some("its targetPort is no port of the container".to_string())
        }
        (None, Some(Some(led))) if led != port => {
            Some(format!("its port {port} leads to {led}: both must be the same, set service.extraPorts"))
        }
        _ => None,
    }
}

fn node_port(facts: &Facts, checks: &mut Checks) {
    let range = facts.config.cluster.node_ports;
    for (service, _) in facts.config.running() {
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
        let wanted = spec.and_then(|spec| spec.node_port);
        let configured = facts.config.services[service].node_port;
        if configured.is_some() || wanted.is_some() {
            let path = format!("services.{service}.node_port");
            let wrong = match (configured, wanted) {
                (Some(Configured::Fixed(port)), Some(wanted)) if port != wanted => {
                    Some(format!("is {port} instead of {wanted}"))
                }
                (None | Some(Configured::Auto), Some(wanted)) => Some(format!("must be fixed: {wanted}")),
                (Some(Configured::Fixed(port)), _) => NodePort::new(port.into()).err(),
                _ => None,
            };
            checks.that_at(facts.config, &path, service, wrong.is_none(), || wrong.clone().unwrap_or_default());
        }
        for found in services(facts).iter().filter(|found| found.service == service) {
            for (index, mapping) in mappings(found).into_iter().enumerate() {
                let there = typed(mapping, |f| f.at("nodePort").maybe(|port| port.take(NodePort::from_value)));
                let open = type_of(found.object).is_ok_and(ServiceType::is_open);
                let wanted = wanted.filter(|_| index == 0 && open);
                let wrong = match there {
                    Err(wrong) => Some(wrong),
                    Ok(Some(port)) if wanted.is_some_and(|wanted| wanted != port.number()) => {
                        Some(format!("its node port is {port} instead of {}: set service.nodePort", describe(wanted)))
                    }
                    Ok(Some(port))
                        if index == 0
                            && configured.is_some()
                            && !(range.first..=range.last).contains(&port.number()) =>
                    {
                        Some(format!(
                            "its node port {port} isn't published on this machine: {} to {} are",
                            range.first, range.last
                        ))
                    }
                    Ok(None) if wanted.is_some() => {
                        Some(format!("has no node port: set service.nodePort to {}", describe(wanted)))
                    }
                    Ok(None) if open && found.place == L => Some("has no node port in the cluster".to_string()),
                    Ok(_) => None,
                };
                checks.none(found.place, &found.called(), wrong);
            }
        }
    }
}

fn protocol(facts: &Facts, checks: &mut Checks) {
    // HTTP, MCP and SQL are asked over TCP.
    for service in facts.config.smoke.iter().flat_map(|check| check.services()) {
        for found in services(facts).iter().filter(|found| found.place == R && found.service == service) {
            let first = mappings(found).first().map(|mapping| &mapping["protocol"]);
            let spoken = first.and_then(Value::as_str).and_then(|text| Protocol::parse(text).ok());
            let other = spoken.filter(|protocol| *protocol != Protocol::Tcp);
            checks.that_at(facts.config, &format!("services.{service}.port"), service, other.is_none(), || {
                format!(
                    "is asked over TCP in a smoke check, and its Service speaks {}: set service.protocol",
                    describe(other)
                )
            });
        }
    }
    for found in services(facts).iter().filter(|found| found.place == R) {
        let ports = container_ports(facts, found);
        for mapping in mappings(found) {
            let read = typed(mapping, |f| f.at("protocol").or(Protocol::Tcp, |text| text.parsed(Protocol::parse)));
            let target = typed(mapping, PortMapping::from_fields).ok().map(|mapping| mapping.target_port);
            let container = target.zip(ports.as_ref()).and_then(|(target, ports)| {
                let led = lead_to(&target, ports)?;
                ports.iter().find(|port| port.port == led).map(|port| port.protocol)
            });
            let wrong = match read {
                Err(wrong) => Some(wrong),
                Ok(read) => container.filter(|container| *container != read).map(|container| {
                    format!("its port speaks {read}, and the container's {container}: set service.protocol")
                }),
            };
            checks.none(R, &found.called(), wrong);
        }
    }
}

fn affinity(facts: &Facts, checks: &mut Checks) {
    for found in services(facts) {
        let sticky = typed(&found.object["spec"], |f| f.at("sessionAffinity").or(false, read_affinity));
        let wrong = match sticky {
            Ok(false) => None,
            Ok(true) => Some("its session affinity is ClientIP instead of None".to_string()),
            Err(wrong) => Some(wrong),
        };
        checks.none(found.place, &found.called(), wrong);
    }
}

fn read_affinity(f: &Fields) -> Option<bool> {
    f.parsed(|text| one_of(text, &[("None", false), ("ClientIP", true)]))
}

fn endpoints(facts: &Facts, checks: &mut Checks) {
    for found in services(facts).iter().filter(|found| found.place == L) {
        let here: Vec<&Value> =
            of_release(facts, found.release).into_iter().filter(|(place, _)| *place == L).map(|(_, o)| o).collect();
        let slices = here.iter().filter(|object| {
            object["kind"] == "EndpointSlice"
                && object["metadata"]["labels"]["kubernetes.io/service-name"] == *found.name()
        });
        let all = slices.filter_map(|slice| slice["endpoints"].as_array()).flatten();
        // No word on readiness is to be taken for ready.
        let serving: Vec<&Value> = all.filter(|endpoint| endpoint["conditions"]["ready"] != false).collect();
        let pod =
            |name: &Value| here.iter().find(|object| object["kind"] == "Pod" && object["metadata"]["name"] == *name);
        let ill: Vec<String> = serving
            .iter()
            .map(|endpoint| &endpoint["targetRef"]["name"])
            .filter(|name| pod(name).is_none_or(|pod| PodState::of(pod) != PodState::Ready))
            .map(|name| name.as_str().unwrap_or("an address without a pod").to_string())
            .collect();
        let wrong = match (serving.is_empty(), ill.is_empty()) {
            (true, _) => Some("has no endpoint: no pod that it selects is ready; see cargo xtask status".to_string()),
            (_, false) => Some(format!("sends traffic to what isn't ready: {}", ill.join(", "))),
            _ => None,
        };
        checks.none(L, &found.called(), wrong);
    }
}

fn front_external(facts: &Facts, checks: &mut Checks) {
    let open = facts.config.open.as_str();
    let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(open));
    for place in places(facts) {
        let found: Vec<Found> =
            services(facts).into_iter().filter(|found| found.place == place && found.service == open).collect();
        for found in &found {
            let kind = type_of(found.object);
            // What is no type is another rule's matter.
            checks.that(place, &found.called(), kind.as_ref().map_or(true, |kind| kind.is_open()), || {
                format!(
                    "is of type {}: nobody outside reaches the page; set service.type to NodePort",
                    describe(kind.as_ref().ok())
                )
            });
            if let Some(wanted) = spec.and_then(|spec| spec.service_port) {
                let has = mappings(found).iter().any(|mapping| mapping["port"] == wanted);
                checks.that(place, &found.called(), has, || {
                    format!("isn't reached through port {wanted}: set service.port")
                });
            }
        }
    }
    checks.tried(facts, &Attempt::Url(open.to_string()), open, "cargo xtask status tells what runs");
}

fn back_internal(facts: &Facts, checks: &mut Checks) {
    let open = facts.config.open.as_str();
    if facts.config.running().any(|(service, _)| service == BACKEND) {
        let call = Attempt::Reach { from: open.to_string(), to: BACKEND.to_string() };
        checks.tried(facts, &call, BACKEND, "look at its NetworkPolicy and at its pods");
    }
}

fn back_access(facts: &Facts, checks: &mut Checks) {
    if !facts.config.running().any(|(service, _)| service == BACKEND) {
        return;
    }
    // A node port is what the profile says of reaching it from outside; the model leaves it open.
    let outside = facts.config.services[BACKEND].node_port.is_some();
    for found in services(facts).iter().filter(|found| found.service == BACKEND) {
        let kind = type_of(found.object);
        let holds = kind.as_ref().map_or(true, |kind| kind.is_open() == outside);
        checks.that(found.place, &found.called(), holds, || {
            let place = if outside { "outside" } else { "within" };
            format!("is of type {}, and is to be reached from {place}: set service.type", describe(kind.as_ref().ok()))
        });
    }
    if outside {
        checks.tried(facts, &Attempt::Url(BACKEND.to_string()), BACKEND, "cargo xtask status tells what runs");
    }
}

fn dns(facts: &Facts, checks: &mut Checks) {
    for found in services(facts).iter().filter(|found| found.place == L) {
        // What has no HTTP probe, as a database, nobody asks by URL.
        let service = found.service.to_string();
        let http =
            facts.container(L, &service).is_some_and(|container| container["readinessProbe"]["httpGet"].is_object());
        for attempt in [Attempt::ShortName(service.clone()), Attempt::FullName(service)] {
            if http {
                checks.tried(facts, &attempt, &found.called(), "look at the cluster's DNS and at its pods");
            }
        }
    }
}

fn url(facts: &Facts, checks: &mut Checks) {
    let open = &facts.config.open;
    checks.tried(facts, &Attempt::MinikubeUrl(open.clone()), open, "cargo xtask status tells what runs");
}

fn type_of(object: &Value) -> Result<ServiceType, String> {
    typed(&object["spec"], |f| f.at("type").or(ServiceType::ClusterIp, |kind| kind.parsed(ServiceType::parse)))
}

/// The ports of a Service, as they stand.
fn mappings<'a>(found: &Found<'a>) -> Vec<&'a Value> {
    found.object["spec"]["ports"].as_array().into_iter().flatten().collect()
}

/// The ports of the container that a Service leads to; None where there is none at the same place.
fn container_ports(facts: &Facts, found: &Found) -> Option<Vec<ContainerPort>> {
    let own = |workload: &Found| workload.place == found.place && workload.service == found.service;
    let workload = workloads(facts).into_iter().find(own)?;
    typed(workload.main(), |f| f.at("ports").list(ContainerPort::from_fields)).ok()
}

/// The port of the container that a target means; a number must be one of them too.
fn lead_to(target: &TargetPort, ports: &[ContainerPort]) -> Option<Port> {
    target.resolve(ports).filter(|port| ports.iter().any(|known| known.port == *port))
}

fn describe<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("nothing".to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::{Good, assert_found, found, unseen};
    use serde_json::json;

    const BACK: &str = "service/todo-backend";
    const FRONT: &str = "service/todo-frontend";

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    fn port<'a>(good: &'a mut Good, name: &str) -> &'a mut Value {
        &mut good.rendered(name)["spec"]["ports"][0]
    }

    fn live_port<'a>(good: &'a mut Good, name: &str) -> &'a mut Value {
        &mut good.live(name)["spec"]["ports"][0]
    }

    #[test]
    fn nothing_is_wrong_with_what_is_right_and_every_place_is_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn another_type_is_found() {
        breaks("svc.type", R, BACK, |good| good.rendered(BACK)["spec"]["type"] = json!("LoadBalancer"));
        breaks("svc.type", R, BACK, |good| good.rendered(BACK)["spec"]["type"] = json!("Ingress"));
        breaks("svc.type", L, BACK, |good| good.live(BACK)["spec"]["type"] = json!("LoadBalancer"));
        for wrong in ["Node", "LoadBalancer"] {
            breaks("svc.type", C, "backend", |good| good.values("backend")["service"]["type"] = json!(wrong));
        }
        breaks("svc.type", R, "service/database", |good| {
            let metadata = json!({"name": "database", "namespace": "todo"});
            let spec = json!({"type": "ExternalName", "externalName": "10.0.0.1"});
            let external = json!({"kind": "Service", "metadata": metadata, "spec": spec});
            good.rendered.get_mut("todo").unwrap().objects.push(external);
        });
    }

    #[test]
    fn a_target_that_is_no_port_is_found() {
        breaks("svc.target", R, BACK, |good| port(good, BACK)["targetPort"] = json!("metrics"));
        breaks("svc.target", R, BACK, |good| port(good, BACK)["targetPort"] = json!(1));
        breaks("svc.target", R, BACK, |good| port(good, BACK)["targetPort"] = json!(8000));
        breaks("svc.target", L, FRONT, |good| live_port(good, FRONT)["targetPort"] = json!("HTTP"));
    }

    #[test]
    fn another_port_is_found() {
        breaks("svc.port", R, BACK, |good| port(good, BACK)["port"] = json!(80));
        breaks("svc.port", R, BACK, |good| {
            let extra = json!({"name": "more", "port": 81, "targetPort": "http"});
            good.rendered(BACK)["spec"]["ports"].as_array_mut().unwrap().push(extra);
        });
        breaks("svc.port", C, "backend", |good| {
            good.with_spec(|spec| spec.services.get_mut("backend").unwrap().service_port = Some(80));
            port(good, BACK)["port"] = json!(80);
        });
    }

    #[test]
    fn a_target_is_found_by_its_port_where_no_other_rule_tells_it() {
        let codes = found(RULES, |good| {
            good.with_spec(|spec| spec.number = 0);
            port(good, BACK)["targetPort"] = json!("metrics");
        });
        assert!(codes.contains(&("svc.port", R, BACK.to_string())), "{codes:?}");
        let mut apart = found(RULES, |good| {
            good.with_spec(|spec| {
                spec.number = 0;
                let frontend = spec.services.get_mut("frontend").unwrap();
                (frontend.service_port, frontend.target_port) = (Some(80), Some("3000".to_string()));
            });
            port(good, FRONT)["port"] = json!(80);
            live_port(good, FRONT)["port"] = json!(80);
        });
        // The name of a target is a rule of other data models.
        apart.retain(|(code, ..)| *code != "svc.target");
        assert_eq!(apart, [], "80 leads to 3000 in data model 0");
    }

    #[test]
    fn another_node_port_is_found() {
        breaks("svc.nodeport", R, BACK, |good| port(good, BACK)["nodePort"] = json!(30082));
        breaks("svc.nodeport", R, BACK, |good| port(good, BACK)["nodePort"] = json!(80));
        breaks("svc.nodeport", R, BACK, |good| port(good, BACK)["nodePort"] = Value::Null);
        breaks("svc.nodeport", L, FRONT, |good| live_port(good, FRONT)["nodePort"] = json!(31000));
        breaks("svc.nodeport", C, "backend", |good| {
            good.config.services.get_mut("backend").unwrap().node_port = Some(Configured::Auto);
        });
    }

    #[test]
    fn another_protocol_is_found() {
        breaks("svc.protocol", R, BACK, |good| port(good, BACK)["protocol"] = json!("ICMP"));
        breaks("svc.protocol", R, BACK, |good| port(good, BACK)["protocol"] = json!("UDP"));
        breaks("svc.protocol", C, "frontend", |good| port(good, FRONT)["protocol"] = json!("SCTP"));
    }

    #[test]
    fn clients_that_are_kept_are_found() {
        breaks("svc.affinity", R, BACK, |good| good.rendered(BACK)["spec"]["sessionAffinity"] = json!("ClientIP"));
        breaks("svc.affinity", L, BACK, |good| good.live(BACK)["spec"]["sessionAffinity"] = json!("Cookie"));
    }

    #[test]
    fn missing_and_ill_endpoints_are_found() {
        let slice = "endpointslice/todo-backend-x";
        breaks("svc.endpoints", L, BACK, |good| good.live(slice)["endpoints"] = Value::Null);
        breaks("svc.endpoints", L, BACK, |good| good.live(slice)["endpoints"][0]["conditions"]["ready"] = json!(false));
        breaks("svc.endpoints", L, BACK, |good| {
            good.live("pod/todo-backend-1")["status"]["containerStatuses"][0]["ready"] = json!(false);
        });
        breaks("svc.endpoints", L, BACK, |good| good.live(slice)["endpoints"][0]["targetRef"] = Value::Null);
    }

    #[test]
    fn a_page_that_nobody_reaches_is_found() {
        breaks("svc.front.external", R, FRONT, |good| {
            good.with_spec(|spec| {
                spec.services.get_mut("frontend").unwrap().service_types.push("ClusterIP".to_string())
            });
            good.rendered(FRONT)["spec"]["type"] = json!("ClusterIP");
        });
        let codes = found(RULES, |good| {
            good.with_spec(|spec| spec.services.get_mut("frontend").unwrap().service_port = Some(8080));
        });
        assert!(codes.contains(&("svc.front.external", R, FRONT.to_string())), "{codes:?}");
        breaks("svc.front.external", L, FRONT, |good| live_port(good, FRONT)["port"] = json!(3001));
        let codes = found(RULES, |good| {
            let failed = || Err("no answer".to_string());
            good.live.attempts.insert(Attempt::Url("frontend".to_string()), failed());
            good.live.attempts.insert(Attempt::MinikubeUrl("frontend".to_string()), failed());
        });
        let both = ["svc.front.external", "svc.url"].map(|code| (code, L, "frontend".to_string()));
        assert_eq!(codes, both, "each is tried by itself");
    }

    #[test]
    fn a_backend_that_the_frontend_does_not_reach_is_found() {
        breaks("svc.back.internal", L, "backend", |good| {
            let call = Attempt::Reach { from: "frontend".to_string(), to: "backend".to_string() };
            good.live.attempts.insert(call, Err("refused".to_string()));
        });
    }

    #[test]
    fn a_backend_that_is_open_or_closed_otherwise_is_found() {
        breaks("svc.back.access", R, BACK, |good| good.rendered(BACK)["spec"]["type"] = json!("ClusterIP"));
        breaks("svc.back.access", L, "backend", |good| {
            good.live.attempts.insert(Attempt::Url("backend".to_string()), Err("no answer".to_string()));
        });
    }

    #[test]
    fn a_name_that_does_not_resolve_is_found() {
        for attempt in [Attempt::ShortName, Attempt::FullName] {
            breaks("svc.dns", L, BACK, |good| {
                good.live.attempts.insert(attempt("backend".to_string()), Err("NXDOMAIN".to_string()));
            });
        }
    }
}
