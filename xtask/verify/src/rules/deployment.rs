//! Workloads and their pods: `dep.*`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::entities::container::{Container, PullPolicy};
use crate::entities::deployment::{Content, Replicas, Volume};
use crate::entities::env::{EnvName, Kind, ValueSource};
use crate::entities::probe::Probe;
use crate::entities::reference::Reference;
use crate::entities::resources::{Amounts, Resources};
use crate::entities::strategy::{Share, Strategy};
use crate::rules::found::{Found, called, container, objects, of_release, places, said, texts, typed, workloads};
use crate::rules::startup;
use crate::rules::startup::pods;
use crate::rules::{Attempt, Checks, Facts, Place, Rule};
use xtask::diagnosis::capacity;
use xtask::model::labels::{Selector, is_subset};
use xtask::model::quantity::{Cpu, Memory};

use Place::{Config as C, Live as L, Render as R};

pub const RULES: &[Rule] = &[
    Rule {
        code: "dep.name",
        what: "Deployment and Service have the data model's names",
        specs: "rolling.md#deployment-names, nodeport.md#deployment-names, nodeport.md#service-names, \
                microservices.md#deployment-names, microservices.md#service-names, static.md#deployment-names",
        places: &[R, L],
        check: names,
    },
    Rule {
        code: "dep.image_ref",
        what: "the container's image is repository:tag of the image built",
        specs: "rolling.md#image-names, rolling.md#image-references, nodeport.md#image-names, \
                nodeport.md#image-references, microservices.md#image-names, microservices.md#image-references, \
                static.md#image-names, static.md#image-references, compact.md#image-references",
        places: &[R, L],
        check: image_reference,
    },
    Rule {
        code: "dep.pull",
        what: "the pull policy is Never, or else IfNotPresent, for an image that is loaded",
        specs: "nodeport.md#image-pull-policy, static.md#image-pull-policy, compact.md#image-pull-policy",
        places: &[R],
        check: pull_policy,
    },
    Rule {
        code: "dep.replicas.positive",
        what: "the number of replicas is at least 1",
        specs: "compact.md#replicas",
        places: &[C, R],
        check: replicas_positive,
    },
    Rule {
        code: "dep.replicas.range",
        what: "the number of replicas, and what an HPA may make of it, keeps to the range",
        specs: "microservices.md#replicas, compact.md#replicas",
        places: &[C, R, L],
        check: replicas_range,
    },
    Rule {
        code: "dep.replicas.default",
        what: "the number of replicas is the data model's default",
        specs: "rolling.md#replicas, nodeport.md#replicas, microservices.md#replicas, static.md#replicas",
        places: &[C, R, L],
        check: replicas_default,
    },
    Rule {
        code: "dep.res.order",
        what: "no request is above its limit",
        specs: "compact.md#requests-and-limits",
        places: &[C, R],
        check: resources_order,
    },
    Rule {
        code: "dep.res.node",
        what: "all requests together fit the node",
        specs: "rolling.md#node-capacity",
        places: &[C, L],
        check: resources_node,
    },
    Rule {
        code: "dep.res.value",
        what: "requests and limits are the data model's figures",
        specs: "rolling.md#container-resources, nodeport.md#container-resources, \
                microservices.md#container-resources, static.md#container-resources, \
                compact.md#container-resources",
        places: &[C, R, L],
        check: resources_value,
    },
    Rule {
        code: "dep.strategy",
        what: "Deployments are replaced by RollingUpdate, surge 1, unavailable 0",
        specs: "rolling.md#rolling-update, nodeport.md#rolling-update, microservices.md#rolling-update",
        places: &[R, L],
        check: strategy,
    },
    Rule {
        code: "dep.probes",
        what: "liveness and readiness are asked, with path, port, delay and period",
        specs: "rolling.md#probes, nodeport.md#probes, microservices.md#probes, static.md#probes, \
                compact.md#probes",
        places: &[C, R, L],
        check: probes,
    },
    Rule {
        code: "dep.no_escalation",
        what: "allowPrivilegeEscalation is false",
        specs: "nodeport.md#security-context",
        places: &[R, L],
        check: no_escalation,
    },
    Rule {
        code: "dep.selector",
        what: "selectors match pod labels, by `app: NAME`",
        specs: "rolling.md#service-selectors, nodeport.md#service-selectors, microservices.md#service-selectors, \
                static.md#service-selectors, compact.md#pod-selectors, compact.md#service-selectors",
        places: &[R, L],
        check: selectors,
    },
    Rule {
        code: "dep.env.injected",
        what: "ConfigMap and Secret reach the container's environment",
        specs: "rolling.md#container-environment, microservices.md#container-environment, \
                static.md#container-environment, compact.md#container-environment",
        places: &[R, L],
        check: env_injected,
    },
    Rule {
        code: "dep.env.name",
        what: "environment variables are named by letters, digits and underscores, the first no digit",
        specs: "compact.md#environment-names",
        places: &[C, R],
        check: env_names,
    },
    Rule {
        code: "dep.secret.env",
        what: "Secrets are environment, never files",
        specs: "microservices.md#secret-environment",
        places: &[R, L],
        check: secret_env,
    },
    Rule {
        code: "dep.secret.scope",
        what: "only the backend has the Secret",
        specs: "rolling.md#secret-scope, nodeport.md#secret-scope",
        places: &[R, L],
        check: secret_scope,
    },
    Rule {
        code: "dep.running",
        what: "pods run within 2 minutes",
        specs: "rolling.md#startup-deadlines, microservices.md#deployment-checks",
        places: &[L],
        check: startup::running,
    },
    Rule {
        code: "dep.health",
        what: "health checks pass within 30 seconds",
        specs: "rolling.md#startup-deadlines",
        places: &[L],
        check: startup::health,
    },
];

fn names(facts: &Facts, checks: &mut Checks) {
    let objects = objects(facts, &["Deployment", "StatefulSet", "Service"]);
    for (service, release) in facts.config.running() {
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
        let workload = spec.and_then(|spec| spec.deployment.as_deref());
        let reached = spec.and_then(|spec| spec.service.as_deref());
        for place in places(facts).into_iter().filter(|place| is_due(facts, release, *place)) {
            for (what, kinds, wanted) in
                [("workload", &["Deployment", "StatefulSet"][..], workload), ("Service", &["Service"][..], reached)]
            {
                let of_kind = |found: &&Found| kinds.iter().any(|kind| found.object["kind"] == *kind);
                let own = objects.iter().filter(|found| found.place == place && found.service == service);
                let names: Vec<&str> = own.filter(of_kind).map(Found::name).collect();
                let holds = !names.is_empty() && wanted.is_none_or(|wanted| names.contains(&wanted));
                let key = if what == "Service" { "service" } else { "deployment" };
                checks.that(place, service, holds, || match (names.is_empty(), place) {
                    (true, L) => {
                        format!("has no {what} in the cluster: cargo xtask up --profile {}", facts.config.profile)
                    }
                    (true, _) => format!(
                        "has no {what}: the chart must render one with the label app.kubernetes.io/name: {service}"
                    ),
                    _ => format!(
                        "its {what} is named {} instead of {}: set names.{key} in the values",
                        names.join(", "),
                        describe(wanted)
                    ),
                });
            }
        }
    }
}

/// Whether a release must be there. One that somebody replaced by something of his own is absent with good reason.
fn is_due(facts: &Facts, release: &str, place: Place) -> bool {
    let there = match place {
        R => facts.rendered.as_ref().is_some_and(|all| all.contains_key(release)),
        _ => facts.live.as_ref().is_some_and(|live| live.releases.iter().any(|found| found["name"] == release)),
    };
    there || facts.config.releases[release].unless.is_none()
}

fn image_reference(facts: &Facts, checks: &mut Checks) {
    for found in workloads(facts) {
        let wanted = match found.place {
            R => {
                let tag = facts.rendered.as_ref().and_then(|all| all.get(found.release)?.tags.get(found.service));
                tag.map(|tag| format!("{}:{tag}", facts.config.services[found.service].image))
            }
            _ => facts.images.as_ref().and_then(|images| Some(images.get(found.service)?.reference.clone())),
        };
        let image = found.main()["image"].as_str().unwrap_or_default();
        let repository = &facts.config.services[found.service].image;
        checks.none(found.place, &found.called(), image_problem(image, wanted.as_deref(), repository));
        let named = facts.spec(found.service).and_then(|spec| spec.image.as_deref());
        let own = Reference::parse(image).ok();
        let holds = named.is_none_or(|named| {
            own.as_ref()
                .is_some_and(|own| own.repository() == named || own.repository().ends_with(&format!("/{named}")))
        });
        checks.that(found.place, &found.called(), holds, || {
            let named = named.unwrap_or_default();
            format!("runs {image}: the data model says {named}; set services.{}.image", found.service)
        });
    }
    let Some(live) = &facts.live else { return };
    for pod in pods(facts) {
        let statuses = pod.object["status"]["containerStatuses"].as_array().into_iter().flatten();
        let Some(status) = statuses.into_iter().find(|status| status["name"] == pod.service) else { continue };
        let (Some(host), Some(runs)) = (live.host_images.get(pod.service), status["imageID"].as_str()) else {
            continue;
        };
        // Where nothing was started yet, the ID is empty.
        let holds = runs.is_empty() || runs.ends_with(host.as_str());
        checks.that(L, &pod.called(), holds, || {
            format!(
                "runs the image {runs} instead of {host}, which was built: load it and roll the pods, cargo xtask up"
            )
        });
    }
}

fn image_problem(image: &str, wanted: Option<&str>, repository: &str) -> Option<String> {
    let read = match Reference::parse(image) {
        Ok(read) => read,
        Err(wrong) => return Some(wrong),
    };
    let same = match wanted.map(Reference::parse) {
        Some(Ok(wanted)) => read.is_same(&wanted),
        _ => {
            read.tag().is_some()
                && Reference::parse(repository)
                    .is_ok_and(|built| (built.registry(), built.repository()) == (read.registry(), read.repository()))
        }
    };
    let named = wanted.map_or(format!("{repository}:TAG"), str::to_string);
    (!same).then(|| format!("its image is {image} instead of {named}: set image.repository and image.tag"))
}

fn pull_policy(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
        let stated = spec.and_then(|spec| spec.pull_policy.as_deref());
        for found in rendered(facts, service) {
            for container in found.containers() {
                let image = container["image"].as_str().and_then(|image| Reference::parse(image).ok());
                let policy = match container["imagePullPolicy"].as_str() {
                    Some(text) => PullPolicy::parse(text),
                    None => Ok(image.as_ref().map_or(PullPolicy::IfNotPresent, PullPolicy::of)),
                };
                checks.none(R, &found.called(), pull_problem(policy, stated));
            }
        }
    }
}

/// Images are loaded into the node: a policy that asks a registry finds none.
fn pull_problem(policy: Result<PullPolicy, String>, stated: Option<&str>) -> Option<String> {
    match policy {
        Err(wrong) => Some(format!("its pull policy {wrong}")),
        Ok(PullPolicy::Always) => Some(
            "its pull policy is Always, and images are loaded into the node, not pulled: set image.pullPolicy to Never"
                .to_string(),
        ),
        Ok(policy) => stated
            .filter(|stated| *stated != policy.to_string())
            .map(|stated| format!("its pull policy is {policy} instead of {stated}: set image.pullPolicy")),
    }
}

fn replicas_positive(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
        let figures = spec.map(|spec| {
            [("replicas", spec.replicas), ("replicas_min", spec.replicas_min), ("replicas_max", spec.replicas_max)]
        });
        for (key, count) in figures.into_iter().flatten() {
            let Some(count) = count else { continue };
            let path = format!("spec.services.{service}.{key}");
            let wrong = Replicas::new(count.into()).err();
            checks.that_at(facts.config, &path, service, wrong.is_none(), || wrong.clone().unwrap_or_default());
        }
    }
    for found in workloads(facts).iter().filter(|found| found.place == R) {
        let stated = &found.object["spec"]["replicas"];
        let wrong = if stated.is_null() { None } else { Replicas::from_value(stated).err() };
        checks.none(R, &found.called(), wrong.map(|wrong| format!("{wrong}; set replicaCount")));
        for autoscaler in autoscalers(facts, found) {
            let least = &autoscaler["spec"]["minReplicas"];
            let wrong = if least.is_null() { None } else { Replicas::from_value(least).err() };
            checks.none(R, &called(autoscaler), wrong.map(|wrong| format!("{wrong}; set hpa.minReplicas")));
        }
    }
}

fn replicas_range(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let Some(spec) = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service)) else { continue };
        let (Some(least), Some(most)) = (spec.replicas_min, spec.replicas_max) else { continue };
        let path = format!("spec.services.{service}.replicas_max");
        let holds = least <= most && spec.replicas.is_none_or(|count| (least..=most).contains(&count));
        checks.that_at(facts.config, &path, service, holds, || {
            format!(
                "replicas are to be {least} to {most}, and {} by default: no number is all of it",
                describe(spec.replicas)
            )
        });
        for found in workloads(facts).iter().filter(|found| found.service == service) {
            let within =
                |count: &Value| count.as_u64().is_some_and(|count| (least.into()..=most.into()).contains(&count));
            // The API server makes one where nothing is said.
            let or_one = |count: &Value| if count.is_null() { json!(1) } else { count.clone() };
            let count = &found.object["spec"]["replicas"];
            // Where an autoscaler decides, nothing is said.
            let left_open = count.is_null() && !autoscalers(facts, found).is_empty();
            checks.that(found.place, &found.called(), left_open || within(&or_one(count)), || {
                format!("has {count} replicas: {least} to {most} are allowed; set replicaCount")
            });
            for autoscaler in autoscalers(facts, found) {
                let spec = &autoscaler["spec"];
                let holds = within(&or_one(&spec["minReplicas"])) && within(&spec["maxReplicas"]);
                checks.that(found.place, &called(autoscaler), holds, || {
                    format!(
                        "may make {} to {} replicas: {least} to {most} are allowed; set hpa.minReplicas and hpa.maxReplicas",
                        spec["minReplicas"], spec["maxReplicas"]
                    )
                });
            }
        }
    }
}

fn replicas_default(facts: &Facts, checks: &mut Checks) {
    for (service, release) in facts.config.running() {
        let Some(spec) = facts.config.spec.as_ref() else { continue };
        let Some(wanted) = spec.services.get(service).and_then(|service| service.replicas) else { continue };
        if let Some(values) = facts.values(release, service) {
            let count = values.get("replicaCount").and_then(Value::as_u64).unwrap_or(1);
            checks.that(C, service, count == u64::from(wanted), || {
                format!("replicaCount is {count} in the values instead of {wanted}: set it")
            });
        }
        for found in workloads(facts).iter().filter(|found| found.service == service) {
            let autoscaled = autoscalers(facts, found).first().map(|autoscaler| &autoscaler["spec"]["minReplicas"]);
            // The API server makes one where nothing is said.
            let count = autoscaled.unwrap_or(&found.object["spec"]["replicas"]).as_u64().unwrap_or(1);
            checks.that(found.place, &found.called(), count == u64::from(wanted), || {
                format!(
                    "has {count} replicas instead of {wanted}: set replicaCount, or scale back what was scaled by hand"
                )
            });
        }
    }
}

fn resources_order(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        if let Some(resources) = said(facts, service).map(|values| &values["resources"]) {
            let wrong = typed(resources, Resources::from_fields).err();
            checks.none(C, service, wrong.map(|wrong| format!("{wrong}; set resources in its values")));
        }
    }
    for found in workloads(facts).iter().filter(|found| found.place == R) {
        for container in found.containers() {
            let wrong = typed(&container["resources"], Resources::from_fields).err();
            checks.none(R, &found.called(), wrong.map(|wrong| format!("{wrong}; set resources")));
        }
    }
}

fn resources_node(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    let asked: Vec<Amounts> = config.running().flat_map(|(service, _)| asked(facts, service)).collect();
    let (cpu, memory) = sums(&asked);
    let (cpus, bytes) = (u64::from(config.cluster.cpus) * 1000, config.cluster.memory_mb << 20);
    if !asked.is_empty() {
        checks.that_at(config, "cluster", &config.profile, cpu.millis() <= cpus && memory.bytes() <= bytes, || {
            format!(
                "requests are {cpu} CPUs and {memory} together: the node has {} and {} MiB; lower resources.requests or \
                 raise cluster.cpus and cluster.memory_mb",
                config.cluster.cpus, config.cluster.memory_mb
            )
        });
    }
    let Some(live) = &facts.live else { return };
    for node in &live.nodes {
        let requested = capacity::requested(node, &live.all_pods);
        let of = |resource: &str| requested.get(resource).copied().unwrap_or(0);
        let (millis, bytes) = (of("cpu"), of("memory"));
        let wrong = match typed(&node["status"]["allocatable"], Amounts::from_fields) {
            Err(wrong) => Some(wrong),
            Ok(Amounts { cpu, memory, .. }) => {
                let lacks =
                    cpu.is_some_and(|has| millis > has.millis()) || memory.is_some_and(|has| bytes > has.bytes());
                let has = [cpu.map(|has| has.to_string()), memory.map(|has| has.to_string())];
                let has = has.map(Option::unwrap_or_default).join(" and ");
                lacks.then(|| {
                    format!("all its pods together request {millis}m CPU and {} MiB: it has {has}", bytes >> 20)
                })
            }
        };
        checks.none(L, &called(node), wrong);
    }
}

/// The requests of every replica of a service: as rendered, or as the data model states them.
fn asked(facts: &Facts, service: &str) -> Vec<Amounts> {
    let repeat =
        |all: Vec<Amounts>, count: u64| -> Vec<Amounts> { (0..count.min(1000)).flat_map(|_| all.clone()).collect() };
    if let Some(found) = rendered(facts, service).first() {
        let count = found.object["spec"]["replicas"].as_u64().unwrap_or(1);
        return repeat(found.containers().into_iter().filter_map(requests).collect(), count);
    }
    let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
    let figures = spec.map(|spec| (json!(spec.requests), spec.replicas.or(spec.replicas_min).unwrap_or(1)));
    figures.map_or(Vec::new(), |(requests, count)| {
        repeat(typed(&requests, Amounts::from_fields).into_iter().collect(), count.into())
    })
}

fn requests(container: &Value) -> Option<Amounts> {
    typed(&container["resources"], Resources::from_fields).ok().map(|resources| resources.requests())
}

fn sums(all: &[Amounts]) -> (Cpu, Memory) {
    (all.iter().filter_map(|amounts| amounts.cpu).sum(), all.iter().filter_map(|amounts| amounts.memory).sum())
}

fn resources_value(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let Some(spec) = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service)) else { continue };
        for (list, figures) in [("requests", &spec.requests), ("limits", &spec.limits)] {
            for (name, figure) in figures {
                let in_values = said(facts, service).map(|values| &values["resources"][list][name]);
                let wrong = in_values.and_then(|there| amount_problem(name, there, Some(figure)));
                checks.none(C, service, wrong.map(|wrong| format!("resources.{list}.{name} of its values: {wrong}")));
                for found in workloads(facts).iter().filter(|found| found.service == service) {
                    let there = &found.main()["resources"][list][name];
                    let wrong = amount_problem(name, there, Some(figure));
                    checks.none(
                        found.place,
                        &found.called(),
                        wrong.map(|wrong| format!("resources.{list}.{name}: {wrong}")),
                    );
                }
            }
        }
    }
}

/// What is wrong with an amount by itself, or as one that should be `wanted`.
fn amount_problem(name: &str, there: &Value, wanted: Option<&str>) -> Option<String> {
    if there.is_null() {
        return Some(format!("is missing: {}", wanted.unwrap_or("an amount is needed")));
    }
    let same = match name {
        "cpu" => {
            Cpu::from_value(there).map(|there| wanted.is_none_or(|wanted| Cpu::parse(wanted).is_ok_and(|w| w == there)))
        }
        _ => Memory::from_value(there)
            .map(|there| wanted.is_none_or(|wanted| Memory::parse(wanted).is_ok_and(|w| w == there))),
    };
    match same {
        Ok(true) => None,
        Ok(false) => Some(format!("is {there} instead of \"{}\"", wanted.unwrap_or_default())),
        Err(wrong) => Some(wrong),
    }
}

fn strategy(facts: &Facts, checks: &mut Checks) {
    // A StatefulSet goes in order, and has no surge.
    for found in workloads(facts).iter().filter(|found| found.object["kind"] == "Deployment") {
        let wanted = Strategy::RollingUpdate { surge: Share::Number(1), unavailable: Share::Number(0) };
        let wrong = match typed(&found.object["spec"]["strategy"], Strategy::read_deployment) {
            Ok(strategy) if strategy == wanted => None,
            Ok(strategy) => Some(format!("its strategy is {strategy} instead of {wanted}: set strategy")),
            Err(wrong) => Some(wrong),
        };
        checks.none(found.place, &found.called(), wrong);
    }
}

fn probes(facts: &Facts, checks: &mut Checks) {
    for (service, _) in facts.config.running() {
        let about = &facts.config.services[service];
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(service));
        let stated = spec.map(|spec| [spec.liveness.as_ref(), spec.readiness.as_ref()]).unwrap_or_default();
        let configured = about.probes.as_ref().map(|probes| [&probes.liveness, &probes.readiness]);
        for (index, kind) in ["liveness", "readiness"].into_iter().enumerate() {
            let path = stated[index].and_then(|probe| probe.path.as_deref());
            let ours = configured.map(|probes| probes[index].as_str());
            if spec.is_some() {
                let place = format!("services.{service}.probes.{kind}");
                let holds = ours.is_some() && path.is_none_or(|path| ours == Some(path));
                checks.that_at(facts.config, &place, service, holds, || {
                    format!("{kind} asks {} instead of {}: set {place}", describe(ours), path.unwrap_or("a path"))
                });
            }
            for found in workloads(facts).iter().filter(|found| found.service == service) {
                let key = format!("{kind}Probe");
                let wanted = Wanted {
                    path: path.or(ours),
                    port: about.port,
                    delay_s: stated[index].and_then(|probe| probe.delay_s),
                    period_s: stated[index].and_then(|probe| probe.period_s),
                };
                let wrong = probe_problem(found.main(), &key, &wanted);
                checks.none(
                    found.place,
                    &found.called(),
                    wrong.map(|wrong| format!("{key} {wrong}: set probes.{kind}")),
                );
            }
        }
    }
}

/// What a probe must be; None is left open.
struct Wanted<'a> {
    path: Option<&'a str>,
    port: u16,
    delay_s: Option<u32>,
    period_s: Option<u32>,
}

fn probe_problem(container: &Value, key: &str, wanted: &Wanted) -> Option<String> {
    if container[key].is_null() {
        return Some("is missing".to_string());
    }
    let probe = match typed(&container[key], Probe::from_fields) {
        Ok(probe) => probe,
        Err(wrong) => return Some(wrong),
    };
    let ports = typed(container, |f| f.at("ports").list(crate::entities::ports::ContainerPort::from_fields))
        .unwrap_or_default();
    let port = probe.port().map(|port| port.resolve(&ports).map(|port| port.number()));
    let differs = |wanted: Option<u32>, there: u64| wanted.is_some_and(|wanted| u64::from(wanted) != there);
    if wanted.path.is_some() && probe.path() != wanted.path {
        return Some(format!("asks {} instead of {}", probe.path().unwrap_or("no path"), describe(wanted.path)));
    }
    if port.is_some_and(|port| port != Some(wanted.port)) {
        return Some(format!("asks port {} instead of {}", describe(probe.port()), wanted.port));
    }
    if differs(wanted.delay_s, probe.initial_delay_s) {
        return Some(format!("waits {} s instead of {}", probe.initial_delay_s, describe(wanted.delay_s)));
    }
    let period = differs(wanted.period_s, probe.period_s);
    period.then(|| format!("asks every {} s instead of {}", probe.period_s, describe(wanted.period_s)))
}

fn no_escalation(facts: &Facts, checks: &mut Checks) {
    for found in workloads(facts) {
        for container in found.containers() {
            let holds = container["securityContext"]["allowPrivilegeEscalation"] == false;
            checks.that(found.place, &found.called(), holds, || {
                let name = container["name"].as_str().unwrap_or_default();
                format!("container {name}: securityContext.allowPrivilegeEscalation must be false")
            });
        }
    }
}

fn selectors(facts: &Facts, checks: &mut Checks) {
    let workloads = workloads(facts);
    for found in &workloads {
        let labels = found.pod_labels();
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(found.service));
        let app = spec.and_then(|spec| spec.app.as_deref());
        let wrong = match typed(&found.object["spec"]["selector"], Selector::from_fields) {
            Err(wrong) => Some(wrong),
            Ok(selector) if selector.is_empty() => Some("its selector takes every pod".to_string()),
            Ok(selector) if !selector.matches(&labels) => Some("its selector doesn't take its own pods".to_string()),
            Ok(selector) => app_problem(selector.labels.get("app"), app),
        };
        checks.none(found.place, &found.called(), wrong.map(|wrong| format!("{wrong}: see names.app in the values")));
    }
    for found in super::found::services(facts) {
        let selector = texts(&found.object["spec"]["selector"]);
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(found.service));
        let here =
            || workloads.iter().filter(|workload| workload.place == found.place && workload.release == found.release);
        let taken = |workload: &&Found| is_subset(&selector, &workload.pod_labels());
        let own = here().filter(|workload| workload.service == found.service).any(|workload| taken(&workload));
        let foreign: Vec<String> =
            here().filter(|workload| workload.service != found.service).filter(taken).map(Found::called).collect();
        let wrong = match () {
            _ if selector.is_empty() => Some("has no selector: it leads nowhere".to_string()),
            _ if !own => Some("its selector takes no pod of its service".to_string()),
            _ if !foreign.is_empty() => Some(format!("its selector takes pods of {} too", foreign.join(", "))),
            _ => app_problem(selector.get("app"), spec.and_then(|spec| spec.app.as_deref())),
        };
        checks.none(found.place, &found.called(), wrong.map(|wrong| format!("{wrong}: see names.app in the values")));
    }
}

fn app_problem(there: Option<&String>, wanted: Option<&str>) -> Option<String> {
    let wanted = wanted.filter(|wanted| there.map(String::as_str) != Some(wanted))?;
    Some(format!("selects app: {} instead of app: {wanted}", describe(there)))
}

fn env_injected(facts: &Facts, checks: &mut Checks) {
    for found in workloads(facts) {
        let Some(container) = container(found.main()) else { continue };
        let spec = facts.config.spec.as_ref().and_then(|spec| spec.services.get(found.service));
        let (map, secret) =
            (spec.and_then(|spec| spec.config_map.as_deref()), spec.and_then(|spec| spec.secret.as_deref()));
        for (what, wanted, taken) in
            [("ConfigMap", map, container.config_maps()), ("Secret", secret, container.secrets())]
        {
            if let Some(wanted) = wanted {
                checks.that(found.place, &found.called(), taken.contains(&wanted), || {
                    let key = if what == "Secret" { "secretKeys" } else { "configMaps" };
                    format!("takes nothing of the {what} {wanted}: name it in {key} of the service's values")
                });
            }
        }
        let missing = missing(facts, &found, &container);
        checks.that(found.place, &found.called(), missing.is_empty(), || {
            format!("takes what isn't there: {}; describe it, or don't take it", missing.join(", "))
        });
        if found.place == L {
            // What the containers were really started with.
            let tried = Attempt::Environment(found.service.to_string());
            checks.tried(facts, &tried, &found.called(), "replace its pods with kubectl rollout restart");
        }
    }
}

/// What a container takes of ConfigMaps and Secrets, must have, and won't get.
fn missing(facts: &Facts, found: &Found, container: &Container) -> Vec<String> {
    let maps: BTreeMap<&str, Vec<&String>> = of_release(facts, found.release)
        .into_iter()
        .filter(|(place, object)| *place == found.place && object["kind"] == "ConfigMap")
        .map(|(_, object)| {
            let keys = ["data", "binaryData"].map(|list| object[list].as_object());
            let keys = keys.into_iter().flatten().flat_map(|entries| entries.keys()).collect();
            (object["metadata"]["name"].as_str().unwrap_or_default(), keys)
        })
        .collect();
    // Of a rendered manifest, what the profile hands over counts; of the cluster, what is there.
    let secrets: BTreeMap<&str, Vec<&str>> = match (&facts.live, found.place) {
        (Some(live), L) => {
            live.secrets.iter().map(|(name, keys)| (name.as_str(), keys.keys().map(String::as_str).collect())).collect()
        }
        _ => facts.config.secrets.iter().map(|(name, secret)| (name.as_str(), secret.keys().collect())).collect(),
    };
    let map =
        |name: &str, key: Option<&String>| maps.get(name).is_some_and(|keys| key.is_none_or(|key| keys.contains(&key)));
    let secret = |name: &str, key: Option<&String>| {
        secrets.get(name).is_some_and(|keys| key.is_none_or(|key| keys.contains(&key.as_str())))
    };
    let whole = container.env_from.iter().filter(|from| !from.optional).filter_map(|from| {
        let there = match from.kind {
            Kind::ConfigMap => map(&from.object, None),
            Kind::Secret => secret(&from.object, None),
        };
        (!there).then(|| from.object.clone())
    });
    let keys = container.env.iter().filter_map(|var| {
        let (there, key) = match &var.source {
            ValueSource::ConfigMap(key) => (map(&key.object, Some(&key.key)), key),
            ValueSource::Secret(key) => (secret(&key.object, Some(&key.key)), key),
            _ => return None,
        };
        (!there && !key.optional).then(|| format!("{} of {}", key.key, key.object))
    });
    whole.chain(keys).collect()
}

fn env_names(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    let from_spec = config.spec.iter().flat_map(|spec| &spec.config_maps);
    let from_spec = from_spec
        .flat_map(|(map, keys)| keys.keys().map(move |key| (format!("spec.config_maps.{map}"), map, key.as_str())));
    let handed = config
        .secrets
        .iter()
        .flat_map(|(name, secret)| secret.keys().map(move |key| (format!("secrets.{name}"), name, key)));
    for (path, object, key) in from_spec.chain(handed) {
        let wrong = EnvName::parse(key).err();
        checks.that_at(config, &path, object, wrong.is_none(), || wrong.clone().unwrap_or_default());
    }
    for found in workloads(facts).iter().filter(|found| found.place == R) {
        for container in found.containers() {
            let own = container["env"].as_array().into_iter().flatten().filter_map(|var| var["name"].as_str());
            let maps = container["envFrom"].as_array().into_iter().flatten();
            let maps: Vec<&str> = maps.filter_map(|from| from["configMapRef"]["name"].as_str()).collect();
            let objects = of_release(facts, found.release);
            let taken = objects.iter().filter(|(place, object)| {
                *place == R
                    && object["kind"] == "ConfigMap"
                    && maps.iter().any(|name| object["metadata"]["name"] == **name)
            });
            let taken = taken
                .filter_map(|(_, object)| object["data"].as_object())
                .flat_map(|data| data.keys().map(String::as_str));
            for name in own.chain(taken) {
                checks.none(R, &found.called(), EnvName::parse(name).err());
            }
        }
    }
}

fn secret_env(facts: &Facts, checks: &mut Checks) {
    for found in workloads(facts) {
        let volumes = found.pod_spec()["volumes"].as_array().into_iter().flatten();
        let secrets: Vec<String> = volumes
            .filter_map(|volume| match typed(volume, Volume::from_fields).ok()?.content {
                Content::Secret(name) => Some(name),
                _ => None,
            })
            .collect();
        checks.that(found.place, &found.called(), secrets.is_empty(), || {
            format!("mounts the Secret {} as files: take its keys by secretKeys, as environment", secrets.join(", "))
        });
    }
}

/// Whoever the data model gives a Secret, has one; without a data model, the service that is open to all has none.
fn secret_scope(facts: &Facts, checks: &mut Checks) {
    for found in workloads(facts) {
        let outside = match &facts.config.spec {
            Some(spec) => spec.services.get(found.service).is_some_and(|service| service.secret.is_none()),
            None => found.service == facts.config.open,
        };
        let taken: Vec<&str> = found.containers().into_iter().flat_map(secrets_of).collect();
        checks.that(found.place, &found.called(), !outside || taken.is_empty(), || {
            format!("takes keys of the Secret {}, which only the backend may: remove its secretKeys", taken.join(", "))
        });
    }
}

/// The Secrets that a container names, whatever else is wrong with it.
fn secrets_of(container: &Value) -> Vec<&str> {
    let list = |key: &str| container[key].as_array().into_iter().flatten();
    let keys = list("env").filter_map(|var| var["valueFrom"]["secretKeyRef"]["name"].as_str());
    keys.chain(list("envFrom").filter_map(|from| from["secretRef"]["name"].as_str())).collect()
}

fn rendered<'a>(facts: &'a Facts, service: &str) -> Vec<Found<'a>> {
    workloads(facts).into_iter().filter(|found| found.place == R && found.service == service).collect()
}

/// The autoscalers of a workload, at the same place.
fn autoscalers<'a>(facts: &'a Facts, found: &Found<'a>) -> Vec<&'a Value> {
    let here = of_release(facts, found.release).into_iter().filter(|(place, _)| *place == found.place);
    here.map(|(_, object)| object)
        .filter(|object| object["kind"] == "HorizontalPodAutoscaler")
        .filter(|object| {
            let target = &object["spec"]["scaleTargetRef"];
            target["kind"] == found.object["kind"] && target["name"] == found.object["metadata"]["name"]
        })
        .collect()
}

fn describe<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("nothing".to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::{Good, assert_found, found, unseen};

    const BACKEND: &str = "deployment/todo-backend";
    const FRONTEND: &str = "deployment/todo-frontend";
    const POD: &str = "pod/todo-backend-1";

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    #[test]
    fn nothing_is_wrong_with_what_is_right_and_every_place_is_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn a_wrong_name_is_found() {
        breaks("dep.name", R, "backend", |good| good.rendered(BACKEND)["metadata"]["name"] = json!("backend"));
        breaks("dep.name", R, "backend", |good| good.rendered("service/todo-backend")["metadata"]["name"] = json!("b"));
        breaks("dep.name", L, "frontend", |good| good.live(FRONTEND)["metadata"]["name"] = json!("frontend"));
    }

    #[test]
    fn an_absent_workload_is_found() {
        let codes: Vec<_> = found(RULES, |good| {
            good.rendered.get_mut("todo").unwrap().objects.retain(|object| object["kind"] != "Deployment");
        })
        .into_iter()
        .filter(|(code, _, _)| *code == "dep.name")
        .collect();
        assert_eq!(codes, [("dep.name", R, "backend".to_string()), ("dep.name", R, "frontend".to_string())]);
    }

    #[test]
    fn a_database_that_somebody_has_elsewhere_is_not_missed() {
        let codes = found(RULES, |good| {
            let mut other = good.config.releases.remove("todo").unwrap();
            other.unless = Some("DATABASE_URL".to_string());
            good.config.releases.insert("todo".to_string(), other);
            good.rendered.clear();
            good.live.objects.clear();
            good.live.releases.clear();
        });
        assert_eq!(codes, []);
    }

    #[test]
    fn another_image_is_found() {
        breaks("dep.image_ref", R, BACKEND, |good| {
            good.with_spec(|spec| spec.services.get_mut("backend").unwrap().image = Some("other".to_string()));
        });
        breaks("dep.image_ref", R, BACKEND, |good| good.container(BACKEND)["image"] = json!("todo-backend:0.9.0"));
        breaks("dep.image_ref", R, BACKEND, |good| good.container(BACKEND)["image"] = json!("todo-backend:"));
        breaks("dep.image_ref", L, BACKEND, |good| {
            good.live(BACKEND)["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other:1.0.0");
        });
        breaks("dep.image_ref", L, POD, |good| {
            good.live(POD)["status"]["containerStatuses"][0]["imageID"] = json!("sha256:old");
        });
    }

    #[test]
    fn a_pull_policy_that_asks_a_registry_is_found() {
        breaks("dep.pull", R, FRONTEND, |good| good.container(FRONTEND)["imagePullPolicy"] = json!("Always"));
        breaks("dep.pull", R, FRONTEND, |good| good.container(FRONTEND)["imagePullPolicy"] = json!("Sometimes"));
        breaks("dep.pull", R, BACKEND, |good| good.container(BACKEND)["imagePullPolicy"] = json!("IfNotPresent"));
        breaks("dep.pull", R, FRONTEND, |good| {
            good.with_spec(|spec| spec.services.get_mut("frontend").unwrap().pull_policy = Some("Daily".to_string()));
        });
    }

    #[test]
    fn no_replicas_at_all_are_found() {
        let none = found(RULES, |good| good.rendered(BACKEND)["spec"]["replicas"] = json!(0));
        for code in ["dep.replicas.positive", "dep.replicas.range", "dep.replicas.default"] {
            assert!(none.contains(&(code, R, BACKEND.to_string())), "{code}: {none:?}");
        }
        breaks("dep.replicas.positive", C, "backend", |good| {
            good.with_spec(|spec| spec.services.get_mut("backend").unwrap().replicas_min = Some(0));
        });
    }

    fn autoscaler(least: u64, most: u64) -> Value {
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "todo-backend", "namespace": "todo"}, "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "todo-backend"}, "minReplicas": least, "maxReplicas": most}})
    }

    #[test]
    fn replicas_outside_their_range_are_found() {
        breaks("dep.replicas.range", R, "horizontalpodautoscaler/todo-backend", |good| {
            good.rendered.get_mut("todo").unwrap().objects.push(autoscaler(1, 9));
        });
        breaks("dep.replicas.range", L, "horizontalpodautoscaler/todo-backend", |good| {
            good.live.objects.push(autoscaler(1, 4));
        });
        breaks("dep.replicas.range", C, "backend", |good| {
            good.with_spec(|spec| spec.services.get_mut("backend").unwrap().replicas_min = Some(2));
        });
        for wrong in [json!(-1), json!("2"), json!(1.5), json!([])] {
            let codes = found(RULES, |good| good.rendered(BACKEND)["spec"]["replicas"] = wrong.clone());
            assert!(codes.contains(&("dep.replicas.range", R, BACKEND.to_string())), "{wrong}: {codes:?}");
        }
        for wrong in [json!(null), json!(-1), json!("2")] {
            let codes = found(RULES, |good| {
                let mut autoscaler = autoscaler(1, 2);
                autoscaler["spec"]["maxReplicas"] = wrong.clone();
                good.rendered.get_mut("todo").unwrap().objects.push(autoscaler);
            });
            let expected = ("dep.replicas.range", R, "horizontalpodautoscaler/todo-backend".to_string());
            assert!(codes.contains(&expected), "{wrong}: {codes:?}");
        }
        let open = found(RULES, |good| good.rendered(BACKEND)["spec"]["replicas"] = json!(null));
        assert_eq!(open, [], "the API server makes one");
    }

    #[test]
    fn another_number_of_replicas_than_the_default_is_found() {
        breaks("dep.replicas.default", R, BACKEND, |good| good.rendered(BACKEND)["spec"]["replicas"] = json!(2));
        breaks("dep.replicas.default", C, "backend", |good| {
            good.with_spec(|spec| spec.services.get_mut("backend").unwrap().replicas = Some(2));
        });
        breaks("dep.replicas.default", L, BACKEND, |good| good.live(BACKEND)["spec"]["replicas"] = json!(3));
    }

    #[test]
    fn a_request_above_its_limit_is_found() {
        breaks("dep.res.order", R, BACKEND, |good| {
            good.container(BACKEND)["resources"]["requests"]["ephemeral-storage"] = json!("1Gi");
        });
        breaks("dep.res.order", C, "backend", |good| {
            let resources = &mut good.values("backend")["resources"];
            resources["requests"]["ephemeral-storage"] = json!("2Gi");
            resources["limits"]["ephemeral-storage"] = json!("1Gi");
        });
    }

    #[test]
    fn a_node_that_is_too_small_is_found() {
        breaks("dep.res.node", C, "test", |good| good.config.cluster.memory_mb = 500);
        breaks("dep.res.node", L, "node/n", |good| good.live.nodes[0]["status"]["allocatable"]["cpu"] = json!("400m"));
        breaks("dep.res.node", L, "node/n", |good| good.live.nodes[0]["status"]["allocatable"]["memory"] = json!("x"));
        breaks("dep.res.node", L, "node/n", |good| {
            let of_others =
                json!({"spec": {"nodeName": "n", "containers": [{"resources": {"requests": {"cpu": "1900m"}}}]}});
            good.live.all_pods.push(of_others);
        });
        let preparing = json!({"resources": {"requests": {"cpu": "1900m"}}});
        let spec = json!({"nodeName": "n", "containers": [], "initContainers": [preparing]});
        let others = |phase: &str| {
            let pod = json!({"spec": spec, "status": {"phase": phase}});
            found(RULES, |good| good.live.all_pods.push(pod.clone()))
        };
        assert_eq!(others("Pending"), [("dep.res.node", L, "node/n".to_string())]);
        assert_eq!(others("Succeeded"), [], "it has ended");
    }

    #[test]
    fn other_figures_than_the_data_models_are_found() {
        breaks("dep.res.value", R, BACKEND, |good| {
            good.container(BACKEND)["resources"]["requests"]["cpu"] = json!("0.3")
        });
        breaks("dep.res.value", R, BACKEND, |good| {
            good.container(BACKEND)["resources"]["limits"]["memory"] = Value::Null
        });
        breaks("dep.res.value", L, FRONTEND, |good| {
            good.live(FRONTEND)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("1");
        });
        breaks("dep.res.value", C, "backend", |good| {
            good.values("backend")["resources"]["requests"]["cpu"] = json!("300m")
        });
        let same = found(RULES, |good| good.container(BACKEND)["resources"]["limits"]["cpu"] = json!("0.5"));
        assert_eq!(same, [], "however it is written");
    }

    #[test]
    fn another_strategy_is_found() {
        breaks("dep.strategy", R, BACKEND, |good| {
            good.rendered(BACKEND)["spec"]["strategy"] = json!({"type": "Recreate"})
        });
        breaks("dep.strategy", L, BACKEND, |good| {
            good.live(BACKEND)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(1);
        });
        breaks("dep.strategy", R, BACKEND, |good| good.rendered(BACKEND)["spec"]["strategy"] = Value::Null);
    }

    #[test]
    fn other_probes_are_found() {
        breaks("dep.probes", R, BACKEND, |good| good.container(BACKEND)["livenessProbe"] = Value::Null);
        breaks("dep.probes", R, BACKEND, |good| {
            good.container(BACKEND)["readinessProbe"]["httpGet"]["path"] = json!("/")
        });
        breaks("dep.probes", R, BACKEND, |good| {
            good.container(BACKEND)["readinessProbe"]["httpGet"]["port"] = json!(81)
        });
        breaks("dep.probes", R, BACKEND, |good| {
            good.container(BACKEND)["readinessProbe"]["initialDelaySeconds"] = json!(11)
        });
        breaks("dep.probes", L, BACKEND, |good| {
            good.live(BACKEND)["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] =
                json!(9);
        });
        breaks("dep.probes", C, "backend", |good| {
            let backend = good.config.services.get_mut("backend").unwrap();
            backend.probes.as_mut().unwrap().liveness = "/other".to_string();
        });
    }

    #[test]
    fn an_escalation_is_found() {
        breaks("dep.no_escalation", R, BACKEND, |good| good.container(BACKEND)["securityContext"] = json!({}));
        breaks("dep.no_escalation", L, BACKEND, |good| {
            let containers = &mut good.live(BACKEND)["spec"]["template"]["spec"];
            containers["initContainers"] =
                json!([{"name": "first", "securityContext": {"allowPrivilegeEscalation": true}}]);
        });
    }

    #[test]
    fn a_selector_that_leads_elsewhere_is_found() {
        breaks("dep.selector", R, BACKEND, |good| {
            good.rendered(BACKEND)["spec"]["selector"]["matchLabels"]["app"] = json!("other");
        });
        breaks("dep.selector", R, "service/todo-backend", |good| {
            good.rendered("service/todo-backend")["spec"]["selector"]["fault"] = json!("no-endpoints");
        });
        breaks("dep.selector", L, "service/todo-backend", |good| {
            good.live("service/todo-backend")["spec"]["selector"] = json!({"app.kubernetes.io/instance": "todo"});
        });
        breaks("dep.selector", L, "service/todo-backend", |good| {
            good.live("service/todo-backend")["spec"]["selector"].as_object_mut().unwrap().remove("app");
        });
    }

    #[test]
    fn environment_that_does_not_arrive_is_found() {
        breaks("dep.env.injected", L, BACKEND, |good| {
            let tried = Attempt::Environment("backend".to_string());
            good.live.attempts.insert(tried, Err("PORT is not set".to_string()));
        });
        breaks("dep.env.injected", R, FRONTEND, |good| good.container(FRONTEND)["envFrom"] = json!([]));
        breaks("dep.env.injected", R, BACKEND, |good| good.container(BACKEND)["env"] = json!([]));
        breaks("dep.env.injected", R, FRONTEND, |good| {
            let from = good.container(FRONTEND)["envFrom"].as_array_mut().unwrap();
            from.push(json!({"configMapRef": {"name": "absent"}}));
        });
        breaks("dep.env.injected", L, BACKEND, |good| {
            good.live.secrets.get_mut("todo-secret").unwrap().remove("JWT_SECRET");
        });
        breaks("dep.env.injected", L, BACKEND, |good| good.live.objects.retain(|object| object["kind"] != "ConfigMap"));
    }

    #[test]
    fn a_variables_wrong_name_is_found() {
        breaks("dep.env.name", R, BACKEND, |good| good.container(BACKEND)["env"][0]["name"] = json!("1PORT"));
        breaks("dep.env.name", R, FRONTEND, |good| {
            good.rendered("configmap/todo-config")["data"]["LOG-LEVEL"] = json!("x")
        });
        breaks("dep.env.name", C, "todo-secret", |good| {
            good.config.secrets.get_mut("todo-secret").unwrap().given.push("API-KEY".to_string());
        });
    }

    #[test]
    fn a_secret_as_files_is_found() {
        let volume = || json!([{"name": "s", "secret": {"secretName": "todo-secret"}}]);
        breaks("dep.secret.env", R, BACKEND, |good| {
            good.rendered(BACKEND)["spec"]["template"]["spec"]["volumes"] = volume()
        });
        let projected = json!([{"name": "s", "projected": {"sources": [{"secret": {"name": "todo-secret"}}]}}]);
        breaks("dep.secret.env", L, BACKEND, |good| {
            good.live(BACKEND)["spec"]["template"]["spec"]["volumes"] = projected
        });
    }

    #[test]
    fn a_secret_in_the_frontend_is_found() {
        let key = || json!({"name": "JWT_SECRET", "valueFrom": {"secretKeyRef": {"name": "todo-secret", "key": "JWT_SECRET"}}});
        breaks("dep.secret.scope", R, FRONTEND, |good| {
            good.container(FRONTEND)["env"].as_array_mut().unwrap().push(key())
        });
        breaks("dep.secret.scope", R, FRONTEND, |good| {
            good.config.spec = None;
            good.container(FRONTEND)["env"].as_array_mut().unwrap().push(key());
        });
        breaks("dep.secret.scope", L, FRONTEND, |good| {
            let container = &mut good.live(FRONTEND)["spec"]["template"]["spec"]["containers"][0];
            container["envFrom"].as_array_mut().unwrap().push(json!({"secretRef": {"name": "todo-secret"}}));
        });
    }

    #[test]
    fn a_pod_that_does_not_run_in_time_is_found() {
        breaks("dep.running", L, POD, |good| {
            good.live(POD)["status"] = json!({"phase": "Pending"});
        });
        breaks("dep.running", L, POD, |good| {
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
            good.live(POD)["status"]["containerStatuses"][0]["state"] = waiting;
        });
        breaks("dep.running", L, POD, |good| {
            good.live(POD)["metadata"]["creationTimestamp"] = json!("2026-11-21T10:48:00Z");
        });
        let young = found(RULES, |good| {
            good.live(POD)["status"] = json!({"phase": "Pending"});
            good.live(POD)["metadata"]["creationTimestamp"] = json!("2026-11-21T10:59:30Z");
        });
        assert_eq!(young, []);
    }

    #[test]
    fn a_pod_that_is_not_well_in_time_is_found() {
        breaks("dep.health", L, POD, |good| {
            good.live(POD)["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-21T10:51:00Z");
        });
        breaks("dep.health", L, POD, |good| good.live(POD)["status"]["conditions"][0]["status"] = json!("False"));
        let again = found(RULES, |good| {
            good.live(POD)["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-21T10:58:00Z");
        });
        assert_eq!(again, [], "what lost its database for a while was ready before");
        // Neither is the deadline a licence: 150 s are too long, whatever the rollout may take, and 60 s are well where the
        // rollout had ended before.
        let ready_at = |good: &mut Good, ready: &str, rolled_out: &str| {
            good.live(POD)["status"]["conditions"][0]["lastTransitionTime"] = json!(ready);
            let workload = good.live(BACKEND);
            workload["spec"]["progressDeadlineSeconds"] = json!(60);
            workload["status"]["conditions"] = json!([
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": rolled_out}]);
        };
        breaks("dep.health", L, POD, |good| ready_at(good, "2026-11-21T10:53:00Z", "2026-11-21T10:53:01Z"));
        let lost = found(RULES, |good| ready_at(good, "2026-11-21T10:51:00Z", "2026-11-21T10:50:20Z"));
        assert_eq!(lost, [], "it was ready before, and lost its database for a while");
    }
}
