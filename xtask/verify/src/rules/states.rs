//! States, the cluster and the database: `sta.*`, `clu.*` and `app.*`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::entities::minikube::{Driver, MinikubeCluster, Status as ClusterStatus};
use crate::rules::Place::{Config, Live, Render};
use crate::rules::{Checks, Facts, LastUp, LiveFacts, PastRevision, Rule};
use xtask::config::SpecCluster;
use xtask::model::plan::object_label;
use xtask::model::release::Status;
use xtask::model::states::{
    DeploymentState, ImageState, Observed, PodState, ReleaseState, Vocabulary, check_looks, check_trace,
};

pub const RULES: &[Rule] = &[
    Rule {
        code: "sta.image",
        what: "Built → Tagged → Loaded → Running",
        specs: "microservices.md#image-states",
        places: &[Live],
        check: image,
    },
    Rule {
        code: "sta.pod",
        what: "legal pod transitions",
        specs: "rolling.md#pod-states, nodeport.md#pod-states",
        places: &[Live],
        check: pod,
    },
    Rule {
        code: "sta.release",
        what: "legal release transitions",
        specs: "rolling.md#release-states, nodeport.md#release-states",
        places: &[Live],
        check: release,
    },
    Rule {
        code: "sta.deploy",
        what: "legal deployment states, a check after each",
        specs: "microservices.md#deployment-states, microservices.md#deployment-checks, \
                compact.md#deployment-states",
        places: &[Config, Live],
        check: deploy,
    },
    Rule {
        code: "clu.spec",
        what: "2 CPUs, 4096 MB, driver, version",
        specs: "microservices.md#cluster-size",
        places: &[Config, Live],
        check: spec,
    },
    Rule {
        code: "clu.state",
        what: "status, ip, addons (metrics-server)",
        specs: "microservices.md#cluster-status",
        places: &[Live],
        check: state,
    },
    Rule {
        code: "app.tables",
        what: "the data model's tables exist",
        specs: "rolling.md#database-tables, microservices.md#database-tables",
        places: &[Live],
        check: tables,
    },
    Rule {
        code: "app.models",
        what: "fields, defaults, role enum, rows per user",
        specs: "static.md#application-models",
        places: &[Live],
        check: models,
    },
    Rule {
        code: "app.db_external",
        what: "database outside the release",
        specs: "rolling.md#external-database, nodeport.md#external-database, microservices.md#external-database, \
                static.md#external-database",
        places: &[Config, Render],
        check: database_outside,
    },
];

/// Table and column, and the words that its description must have: those of PostgreSQL.
const COLUMNS: [(&str, &str, &[&str]); 16] = [
    ("tasks", "id", &["integer", "not null", "default", "PRIMARY KEY"]),
    ("tasks", "title", &["text", "not null"]),
    ("tasks", "description", &["text"]),
    ("tasks", "completed", &["boolean", "default false"]),
    ("tasks", "priority", &["text", "default 'medium'"]),
    ("tasks", "user_id", &["text", "not null"]),
    ("tasks", "created_at", &["timestamp with time zone", "default now()"]),
    ("tasks", "updated_at", &["timestamp with time zone", "default now()"]),
    ("conversations", "id", &["integer", "not null", "default", "PRIMARY KEY"]),
    ("conversations", "user_id", &["text", "not null"]),
    ("conversations", "created_at", &["timestamp with time zone", "default now()"]),
    ("messages", "id", &["integer", "not null", "default", "PRIMARY KEY"]),
    ("messages", "conversation_id", &["integer", "REFERENCES conversations"]),
    ("messages", "role", &["text", "'user'", "'assistant'"]),
    ("messages", "content", &["text", "not null"]),
    ("messages", "created_at", &["timestamp with time zone", "default now()"]),
];

fn image(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    for service in facts.services() {
        let reference =
            facts.images.as_ref().and_then(|images| images.get(service)).map(|image| image.reference.as_str());
        let Some(reference) = reference else { continue };
        let on_host = live.host_images.contains_key(service);
        let on_nodes =
            !live.node_images.is_empty() && live.node_images.values().all(|listed| listed.contains_key(reference));
        // A node may know one image by several tags, and names any of them in a pod's status: the spec says which.
        let in_pod = facts.pods(service).iter().any(|pod| {
            let wanted =
                |container: &Value| container["image"].as_str().is_some_and(|image| image.ends_with(reference));
            let list = |list: &Value| list.as_array().cloned().unwrap_or_default();
            list(&pod["spec"]["containers"]).iter().any(wanted)
                && list(&pod["status"]["containerStatuses"]).iter().all(|status| status["state"]["running"].is_object())
        });
        let found = ImageState::of(on_host, on_host, on_nodes, in_pod);
        checks.that(Live, service, found == Some(ImageState::Running), || {
            let found = found.map_or("nowhere".to_string(), |state| format!("{state:?}"));
            format!("{reference} is {found} and not Running: cargo xtask up builds, loads and runs what is missing")
        });
    }
}

fn pod(facts: &Facts, checks: &mut Checks) {
    for service in facts.services() {
        for pod in facts.pods(service) {
            let trace = pod_trace(pod);
            checks.none(
                Live,
                &object_label(pod),
                check_trace(&trace).err().map(|why| format!("{why}: see kubectl describe")),
            );
        }
    }
}

/// What a pod went through, from the times that it tells itself.
fn pod_trace(pod: &Value) -> Vec<PodState> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let condition = |kind: &str| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .filter(|condition| condition["type"] == kind && condition["status"] == "True")
            .find_map(|condition| text(&condition["lastTransitionTime"]))
    };
    let status = &pod["status"]["containerStatuses"][0];
    let (running, last) = (&status["state"]["running"], &status["lastState"]["terminated"]);
    let restarted = status["restartCount"].as_u64() > Some(0);
    let up = if restarted { PodState::Restarting } else { PodState::Running };
    let mut events = vec![
        (text(&pod["metadata"]["creationTimestamp"]), PodState::Pending),
        (condition("PodScheduled"), PodState::ContainerCreating),
        (text(&last["startedAt"]), PodState::Running),
        (text(&last["finishedAt"]), PodState::Failed),
        (text(&running["startedAt"]), up),
        (condition("Ready"), PodState::Ready),
    ];
    // Times have whole seconds: what happened in one keeps the order of above.
    events.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut trace: Vec<PodState> = events.into_iter().filter_map(|(time, state)| time.map(|_| state)).collect();
    trace.push(PodState::of(pod));
    trace
}

fn release(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    for (release, history) in &live.history {
        if history.is_empty() {
            continue;
        }
        let wrong = release_trace(history).and_then(|trace| check_trace(&trace)).err();
        checks.none(Live, release, wrong.map(|why| format!("{why}: see helm history {release}")));
    }
}

/// What a release went through, from its revisions: each was installed, upgraded to or rolled back to, and ended somehow; but
/// for the last one, a good one is superseded.
fn release_trace(history: &[PastRevision]) -> Result<Vec<ReleaseState>, String> {
    let mut trace = Vec::new();
    for (index, PastRevision { number: revision, status: word, is_rollback, went_back_to }) in
        history.iter().enumerate()
    {
        let state = Status::parse(word)?.state();
        if let Some(back) = went_back_to.filter(|back| back >= revision) {
            return Err(format!("revision {revision} went back to {back}, which was not before it"));
        }
        match (index, revision) {
            (0, 1) if *is_rollback => return Err("revision 1 is a rollback, and there is none before it".to_string()),
            _ if *is_rollback => trace.push(ReleaseState::RollingBack),
            (0, 1) => trace.extend([ReleaseState::NotInstalled, ReleaseState::Installing]),
            // What came before has been forgotten.
            (0, _) => {}
            _ => trace.push(ReleaseState::Upgrading),
        }
        let last = index + 1 == history.len();
        match state {
            ReleaseState::Superseded if last => return Err(format!("revision {revision} is superseded by none")),
            ReleaseState::Superseded => trace.push(ReleaseState::Deployed),
            ReleaseState::Deployed | ReleaseState::Uninstalled if !last => {
                return Err(format!("revision {revision} is {word}, and there is a later one"));
            }
            state => trace.push(state),
        }
    }
    trace.dedup();
    Ok(trace)
}

fn deploy(facts: &Facts, checks: &mut Checks) {
    for (machine, words) in facts.config.spec.iter().flat_map(|spec| &spec.states) {
        let unknown = match machine.as_str() {
            "deployment" => Vocabulary::<DeploymentState>::new(words).err(),
            "pod" => Vocabulary::<PodState>::new(words).err(),
            "release" => Vocabulary::<ReleaseState>::new(words).err(),
            _ => Some(vec![format!("\"{machine}\" has no states: known are deployment, pod, release")]),
        };
        let path = format!("spec.states.{machine}");
        let describe = || format!("{path}: {}", unknown.iter().flatten().cloned().collect::<Vec<_>>().join("; "));
        checks.that_at(facts.config, &path, "states", unknown.is_none(), describe);
    }
    let Some(live) = &facts.live else { return };
    went_through(facts, live.last_up.as_ref(), checks);
    for release in facts.rendered.iter().flat_map(|rendered| rendered.keys()) {
        let services = &facts.config.releases[release].services;
        let workloads: Vec<Value> =
            services.iter().filter_map(|service| facts.workload(Live, service).cloned()).collect();
        let pods: Vec<Value> = services.iter().flat_map(|service| facts.pods(service)).cloned().collect();
        let status = live.history.get(release).and_then(|history| history.last());
        let status = status.and_then(|last| Status::parse(&last.status).ok()).map(Status::state).unwrap_or_default();
        let mut observed = Observed::of(status, &workloads, &pods);
        observed.endpoints = Some(endpoints(facts, services));
        let state = observed.state();
        checks.that(Live, release, state == DeploymentState::Ready, || {
            format!("it is {state:?} and not Ready: cargo xtask status tells more")
        });
    }
}

/// Holds the states that the last `up` went through to the transitions, and each to the check that follows it.
fn went_through(facts: &Facts, up: Option<&LastUp>, checks: &mut Checks) {
    let Some(up) = up else {
        return checks.cannot(Live, "no `up` of this profile has a record on this machine: its states are unknown");
    };
    for release in facts.rendered.iter().flat_map(|rendered| rendered.keys()) {
        for service in &facts.config.releases[release].services {
            let Some(states) = up.states.get(service) else { continue };
            let wrong = up_problem(up, release, service, states);
            checks.none(
                Live,
                service,
                wrong.map(|why| format!("{why}, in the last up: see its record, cargo xtask history")),
            );
        }
    }
}

fn up_problem(up: &LastUp, release: &str, service: &str, states: &[DeploymentState]) -> Option<String> {
    use DeploymentState::{Building, Installing, Loading, Ready};
    let illegal = check_looks(states).err();
    let last = states.last().filter(|last| up.succeeded && **last != Ready);
    let checked = |state: DeploymentState| {
        up.validated.iter().any(|(subject, after)| *after == state && (subject == service || subject == release))
    };
    let unchecked =
        [Building, Loading, Installing].into_iter().find(|state| states.contains(state) && !checked(*state));
    illegal
        .or(last.map(|last| format!("it was {last:?} when the run ended with success")))
        .or(unchecked.filter(|_| up.succeeded).map(|state| format!("no check followed {state:?}")))
}

/// Addresses that get traffic, of the Services of these services.
fn endpoints(facts: &Facts, services: &[String]) -> u64 {
    let live = facts.live.iter().flat_map(|live| &live.objects);
    let slices = live.filter(|object| object["kind"] == "EndpointSlice").filter(|slice| {
        let owner = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
        services.iter().filter_map(|service| facts.of(Live, "Service", service)).any(|service| {
            service["metadata"]["name"].as_str() == owner
                && service["metadata"]["namespace"] == slice["metadata"]["namespace"]
        })
    });
    let pods = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = pods.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    // A Service with several ports, or of two families, has the same pod several times.
    let names: std::collections::BTreeSet<String> =
        ready.map(|endpoint| endpoint["targetRef"]["name"].to_string()).collect();
    names.len() as u64
}

/// What the data model, or else the configuration, wants of the cluster.
fn wanted(facts: &Facts) -> SpecCluster {
    let own = &facts.config.cluster;
    let spec = facts.config.spec.as_ref().and_then(|spec| spec.cluster.as_ref());
    SpecCluster {
        cpus: spec.map_or(own.cpus, |spec| spec.cpus),
        memory_mb: spec.map_or(own.memory_mb, |spec| spec.memory_mb),
        drivers: spec.map_or(vec![own.driver.clone()], |spec| spec.drivers.clone()),
        addons: spec.map_or(own.addons.clone(), |spec| spec.addons.clone()),
    }
}

fn spec(facts: &Facts, checks: &mut Checks) {
    let (config, wanted) = (facts.config, wanted(facts));
    let own = &config.cluster;
    checks.that_at(config, "cluster.cpus", "cluster", own.cpus >= wanted.cpus, || {
        format!("cluster.cpus is {}: the data model says {}", own.cpus, wanted.cpus)
    });
    checks.that_at(config, "cluster.memory_mb", "cluster", own.memory_mb >= wanted.memory_mb, || {
        format!("cluster.memory_mb is {}: the data model says {}", own.memory_mb, wanted.memory_mb)
    });
    let driver = Driver::parse(&own.driver).is_ok() && wanted.drivers.contains(&own.driver);
    checks.that_at(config, "cluster.driver", "cluster", driver, || {
        format!("cluster.driver is {}: the data model knows {}", own.driver, wanted.drivers.join(", "))
    });
    let Some(live) = &facts.live else { return };
    let Some(found) = found(facts, live, checks) else { return };
    let mut is = |name: &str, have: String, want: String| {
        checks.that(Live, "cluster", have == want, || {
            format!("its {name} is {have} instead of {want}: cargo xtask down --cluster, then up, makes it anew")
        });
    };
    is("CPUs", found.cpus.to_string(), own.cpus.to_string());
    is("memory in MB", found.memory_mb.to_string(), own.memory_mb.to_string());
    is("driver", found.driver.to_string(), own.driver.clone());
    is("version", found.kubernetes.to_string(), own.kubernetes.clone());
    for node in &live.nodes {
        node_as_configured(facts, live, node, checks);
    }
}

/// What a node itself reports and is limited to, whatever minikube has noted of it. Its capacity is no measure: a node that is
/// a container sees all of the machine.
fn node_as_configured(facts: &Facts, live: &LiveFacts, node: &Value, checks: &mut Checks) {
    let own = &facts.config.cluster;
    let label = object_label(node);
    let anew = "cargo xtask down --cluster, then up, makes it anew";
    let runs = node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().trim_start_matches('v');
    checks.that(Live, &label, runs == own.kubernetes, || {
        format!("its kubelet has version {runs} instead of {}: {anew}", own.kubernetes)
    });
    let limits = live.node_limits.get(node["metadata"]["name"].as_str().unwrap_or_default());
    let wanted = (u64::from(own.cpus) * 1_000_000_000, own.memory_mb << 20);
    checks.that(Live, &label, limits == Some(&wanted), || {
        let has = limits.map_or("limits that docker does not tell".to_string(), |(cpus, memory)| {
            format!("limits of {} CPUs and {} MiB", *cpus as f64 / 1e9, memory >> 20)
        });
        format!("it has {has}, instead of {} CPUs and {} MiB: {anew}", own.cpus, own.memory_mb)
    });
}

/// The project's cluster as minikube tells it.
fn found(facts: &Facts, live: &LiveFacts, checks: &mut Checks) -> Option<MinikubeCluster> {
    match MinikubeCluster::find(&live.minikube["profiles"], &facts.config.cluster.name) {
        Some(Ok(found)) => Some(found),
        Some(Err(mistakes)) => {
            checks
                .that(Live, "cluster", false, || format!("what minikube tells can't be read: {}", mistakes.join("; ")));
            None
        }
        None => {
            checks.that(Live, "cluster", false, || "minikube does not list it: cargo xtask up".to_string());
            None
        }
    }
}

fn state(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    let Some(found) = found(facts, live, checks) else { return };
    let status = ClusterStatus::from_parts(&live.minikube["status"]);
    checks.that(Live, "cluster", status == Ok(ClusterStatus::Running), || match &status {
        Ok(status) => format!("it is {status} and not Running: cargo xtask up"),
        Err(mistakes) => format!("its status can't be read: {}", mistakes.join("; ")),
    });
    let ip = live.minikube["ip"].as_str().and_then(|text| text.parse().ok());
    checks.that(Live, "cluster", ip.is_some() && (found.ip.is_none() || ip == found.ip), || {
        "it has no address: cargo xtask up".to_string()
    });
    for addon in wanted(facts).addons {
        checks.that(Live, "cluster", found.addons.contains(&addon), || {
            format!("the addon {addon} is not enabled: add it to cluster.addons, then cargo xtask up")
        });
        // Minikube's flag says what was once enabled; what serves is another matter.
        let problem = match live.addons.get(&addon) {
            Some(problem) => problem.clone(),
            None => Some("the cluster was not asked for it".to_string()),
        };
        let problem = problem.map(|why| format!("the addon {addon} does not serve: {why}; cargo xtask up mends it"));
        checks.none(Live, "cluster", problem);
    }
}

/// The tables that were found; what could not be asked is said.
fn found_tables<'a>(facts: &'a Facts, checks: &mut Checks) -> Option<&'a BTreeMap<String, BTreeMap<String, String>>> {
    let live = facts.live.as_ref()?;
    match &live.no_database {
        None => Some(&live.tables),
        Some(why) => {
            checks.cannot(Live, why.clone());
            None
        }
    }
}

fn tables(facts: &Facts, checks: &mut Checks) {
    let Some(tables) = found_tables(facts, checks) else { return };
    let own = ["users", "sessions", "tasks", "conversations", "messages", "agent_state"].map(str::to_string).to_vec();
    let wanted = facts.config.spec.as_ref().map(|spec| &spec.tables).unwrap_or(&own);
    for table in wanted {
        checks.that(Live, &format!("table/{table}"), tables.contains_key(table), || {
            "it is not in the database: the backend's migrations make it when it starts".to_string()
        });
    }
}

fn models(facts: &Facts, checks: &mut Checks) {
    let Some(tables) = found_tables(facts, checks) else { return };
    for (table, column, words) in COLUMNS {
        let message = tables.get(table).and_then(|columns| columns.get(column)).map(String::as_str);
        let lacks: Vec<&str> =
            words.iter().copied().filter(|word| !message.is_some_and(|text| text.contains(word))).collect();
        checks.that(Live, &format!("table/{table}"), lacks.is_empty(), || match message {
            None => format!("it has no column {column}: add a migration"),
            Some(message) => format!("{column} is `{message}`, without {}: add a migration", lacks.join(", ")),
        });
    }
    let optional = tables.get("tasks").and_then(|columns| columns.get("description"));
    checks.that(Live, "table/tasks", !optional.is_some_and(|text| text.contains("not null")), || {
        "description must be allowed to be absent: add a migration".to_string()
    });
}

fn database_outside(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    // A profile of our own may have its database inside.
    if config.spec.is_none() {
        return;
    }
    for (name, secret) in config.secrets.iter().filter(|(_, secret)| secret.namespace == config.namespace) {
        let given = secret.given.iter().any(|key| key == "DATABASE_URL");
        let Some(url) = secret.derived.get("DATABASE_URL").map(String::as_str).or(given.then_some("")) else {
            continue;
        };
        let host = url.rsplit('@').next().unwrap_or_default().split([':', '/']).next().unwrap_or_default();
        let inside = format!("{}.svc", config.namespace);
        let outside =
            given || (host.contains('.') && !host.split_once('.').is_some_and(|(_, rest)| rest.starts_with(&inside)));
        let path = format!("secrets.{name}.derived.DATABASE_URL");
        checks.that_at(config, &path, &format!("secret/{name}"), outside, || {
            format!("{path} leads to {host}, within the namespace of the release: name a database outside")
        });
    }
    let own: Vec<&Value> = facts.objects(Render, "*");
    let own = own.into_iter().filter(|object| matches!(object["kind"].as_str(), Some("StatefulSet" | "Deployment")));
    for workload in
        own.filter(|object| object["metadata"]["namespace"].as_str().is_none_or(|name| name == config.namespace))
    {
        let image = workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        checks.that(Render, &object_label(workload), !image.contains("postgres"), || {
            "the release has a database of its own: leave it out of its services".to_string()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Place;
    use crate::rules::fixture::{Good, assert_found, found, past, unseen};
    use serde_json::json;

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    #[test]
    fn nothing_is_wrong_with_a_good_cluster_and_all_places_are_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        // What the test profile keeps outside by giving it leaves no release with a database to look for.
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn an_image_that_no_pod_runs_is_found() {
        breaks("sta.image", Live, "backend", |good| {
            good.live.node_images.get_mut("n").unwrap().remove("todo-backend:1.0.0");
        });
        breaks("sta.image", Live, "backend", |good| {
            good.live("pod/todo-backend-1")["spec"]["containers"][0]["image"] = json!("other:1");
        });
    }

    #[test]
    fn a_pod_whose_times_cannot_be_is_found() {
        breaks("sta.pod", Live, "pod/todo-backend-1", |good| {
            // Ready before it was started.
            let pod = good.live("pod/todo-backend-1");
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-21T10:50:02Z");
        });
    }

    #[test]
    fn a_release_whose_history_cannot_be_is_found() {
        for revisions in [
            &[("deployed", None), ("deployed", None)][..],
            // A rollback to itself, to what came later, and of the first.
            &[("superseded", None), ("deployed", Some(2))],
            &[("superseded", None), ("superseded", Some(3)), ("deployed", None)],
            &[("deployed", Some(0))],
            // After a rollback that goes on, no upgrade begins.
            &[("superseded", None), ("pending-rollback", Some(1)), ("deployed", None)],
        ] {
            breaks("sta.release", Live, "todo", |good| {
                drop(good.live.history.insert("todo".to_string(), past(revisions)))
            });
        }
    }

    #[test]
    fn a_deployment_that_is_not_ready_is_found() {
        breaks("sta.deploy", Live, "todo", |good| {
            good.live("pod/todo-backend-1")["status"]["containerStatuses"][0]["ready"] = json!(false);
        });
        breaks("sta.deploy", Live, "todo", |good| {
            good.live("endpointslice/todo-backend-x")["endpoints"][0]["conditions"]["ready"] = json!(false);
        });
        breaks("sta.deploy", Config, "states", |good| {
            let words = [("Happy".to_string(), "happy".to_string())].into();
            good.with_spec(|spec| drop(spec.states.insert("pod".to_string(), words)));
        });
        breaks("sta.deploy", Config, "states", |good| {
            good.with_spec(|spec| drop(spec.states.insert("node".to_string(), Default::default())));
        });
    }

    #[test]
    fn an_up_that_went_through_other_states_is_found() {
        use DeploymentState::{Building, Failed, Installing, Loading, Pending, Ready, Running, Upgrading};
        let went = |good: &mut Good, states: &[DeploymentState]| {
            good.live.last_up.as_mut().unwrap().states.insert("backend".to_string(), states.to_vec());
        };
        for states in [
            &[Building, Pending, Running, Ready][..],
            &[Ready, Loading, Ready],
            // It ended with success.
            &[Loading, Installing, Pending, Running],
            // Nothing is said of a check after it.
            &[Building, Loading, Installing, Ready],
        ] {
            breaks("sta.deploy", Live, "backend", |good| {
                went(good, states);
                good.live.last_up.as_mut().unwrap().validated.retain(|(_, state)| *state != Building);
            });
        }
        let failed = found(RULES, |good| {
            went(good, &[Upgrading, Failed]);
            let up = good.live.last_up.as_mut().unwrap();
            (up.succeeded, up.validated) = (false, Vec::new());
        });
        assert_eq!(failed, [], "its transitions are legal, and it ended before the rest");
    }

    #[test]
    fn without_a_record_of_an_up_not_all_is_looked_at() {
        let mut checks = Checks::default();
        let good = crate::rules::fixture::good();
        let facts = Facts {
            config: &good.config,
            unseen: Default::default(),
            files: None,
            rendered: None,
            images: None,
            live: None,
            known: crate::rules::Known::default(),
        };
        went_through(&facts, None, &mut checks);
        assert!(checks.looked.is_empty() && checks.unseen[&Live].contains("record"), "{:?}", checks.unseen);
    }

    #[test]
    fn another_cluster_is_found() {
        breaks("clu.spec", Config, "cluster", |good| good.config.cluster.cpus = 1);
        breaks("clu.spec", Config, "cluster", |good| good.config.cluster.memory_mb = 2048);
        let profile = |good: &mut Good, pointer: &str, value: Value| {
            *good.live.minikube["profiles"]["valid"][0].pointer_mut(pointer).unwrap() = value;
        };
        for (pointer, value) in [
            ("/Config/CPUs", json!(4)),
            ("/Config/Memory", json!(8192)),
            ("/Config/Driver", json!("kvm2")),
            ("/Config/KubernetesConfig/KubernetesVersion", json!("v1.30.0")),
        ] {
            breaks("clu.spec", Live, "cluster", |good| profile(good, pointer, value));
        }
        breaks("clu.spec", Live, "node/n", |good| {
            good.live.nodes[0]["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.30.0");
        });
        breaks("clu.spec", Live, "node/n", |good| drop(good.live.nodes[0]["status"]["nodeInfo"].take()));
        for limits in [(0, 0), (1_000_000_000, 4096 << 20), (2_000_000_000, 2048 << 20)] {
            breaks("clu.spec", Live, "node/n", |good| {
                good.live.node_limits.insert("n".to_string(), limits);
            });
        }
        breaks("clu.spec", Live, "node/n", |good| good.live.node_limits.clear());
        breaks("clu.state", Live, "cluster", |good| good.live.minikube["status"]["APIServer"] = json!("Stopped"));
        breaks("clu.state", Live, "cluster", |good| good.live.minikube["ip"] = json!(""));
        breaks("clu.state", Live, "cluster", |good| profile(good, "/Config/Addons", json!({})));
        breaks("clu.state", Live, "cluster", |good| {
            good.live.addons.insert("metrics-server".to_string(), Some("its API is not available".to_string()));
        });
        breaks("clu.state", Live, "cluster", |good| good.live.addons.clear());
    }

    #[test]
    fn missing_tables_and_other_columns_are_found() {
        breaks("app.tables", Live, "table/users", |good| drop(good.live.tables.remove("users")));
        let column = |good: &mut Good, table: &str, column: &str, message: &str| {
            good.live.tables.get_mut(table).unwrap().insert(column.to_string(), message.to_string());
        };
        breaks("app.models", Live, "table/tasks", |good| {
            column(good, "tasks", "priority", "text not null default 'low'::text")
        });
        breaks("app.models", Live, "table/tasks", |good| column(good, "tasks", "user_id", "text"));
        breaks("app.models", Live, "table/tasks", |good| column(good, "tasks", "description", "text not null"));
        breaks("app.models", Live, "table/messages", |good| column(good, "messages", "role", "text not null"));
        breaks("app.models", Live, "table/conversations", |good| {
            good.live.tables.get_mut("conversations").unwrap().remove("user_id");
        });
    }

    #[test]
    fn a_database_that_cannot_be_asked_does_not_pass() {
        let mut good = crate::rules::fixture::good();
        good.live.no_database = Some("the database is outside the cluster".to_string());
        let facts = Facts {
            config: &good.config,
            unseen: Default::default(),
            files: None,
            rendered: None,
            images: None,
            live: Some(good.live),
            known: crate::rules::Known::default(),
        };
        let mut checks = Checks::default();
        tables(&facts, &mut checks);
        assert!(checks.looked.is_empty() && checks.unseen[&Live].contains("outside"), "{:?}", checks.unseen);
    }

    #[test]
    fn a_database_within_the_release_is_found() {
        breaks("app.db_external", Config, "secret/todo-secret", |good| {
            let secret = good.config.secrets.get_mut("todo-secret").unwrap();
            secret.given.clear();
            secret
                .derived
                .insert("DATABASE_URL".to_string(), "postgres://todo:{JWT_SECRET}@postgres:5432/todo".to_string());
        });
        breaks("app.db_external", Render, "deployment/todo-backend", |good| {
            good.container("deployment/todo-backend")["image"] = json!("postgres:17");
        });
    }

    #[test]
    fn a_pods_times_make_its_trace() {
        let condition = |kind: &str, time: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
        let mut pod = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Running",
                "conditions": [condition("Ready", "2026-01-01T00:00:09Z"), condition("PodScheduled", "2026-01-01T00:00:00Z")],
                "containerStatuses": [{"ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}]},
        });
        use PodState::{ContainerCreating, Failed, Pending, Ready, Restarting, Running};
        assert_eq!(pod_trace(&pod), [Pending, ContainerCreating, Running, Ready, Ready]);
        let status = &mut pod["status"]["containerStatuses"][0];
        status["restartCount"] = 1.into();
        status["state"]["running"]["startedAt"] = "2026-01-01T00:00:05Z".into();
        status["lastState"] = json!({"terminated": {"startedAt": "2026-01-01T00:00:02Z", "finishedAt": "2026-01-01T00:00:04Z", "exitCode": 1}});
        assert_eq!(pod_trace(&pod), [Pending, ContainerCreating, Running, Failed, Restarting, Ready, Ready]);
        assert!(check_trace(&pod_trace(&pod)).is_ok());
    }

    #[test]
    fn a_releases_revisions_make_its_trace() {
        let trace = |words: &[&str]| {
            let history = past(&words.iter().map(|word| (*word, None)).collect::<Vec<_>>());
            release_trace(&history).and_then(|trace| check_trace(&trace))
        };
        assert_eq!(trace(&["superseded", "failed", "superseded", "deployed"]), Ok(()));
        assert_eq!(trace(&["superseded", "pending-upgrade"]), Ok(()));
        for words in [&["deployed", "deployed"][..], &["superseded"], &["uninstalled", "deployed"]] {
            assert!(trace(words).is_err(), "{words:?}");
        }
        assert!(release_trace(&past(&[("happy", None)])).is_err());
        use ReleaseState::{Deployed, Failed, Installing, NotInstalled, RollingBack, Upgrading};
        let back = past(&[("superseded", None), ("failed", None), ("deployed", Some(1))]);
        let went = [NotInstalled, Installing, Deployed, Upgrading, Failed, RollingBack, Deployed];
        assert_eq!(release_trace(&back), Ok(went.to_vec()));
        assert_eq!(check_trace(&went), Ok(()));
        let mut forgotten = past(&[("superseded", None), ("superseded", Some(1)), ("deployed", None)]);
        assert_eq!(release_trace(&forgotten.split_off(1)), Ok(vec![RollingBack, Deployed, Upgrading, Deployed]));
    }
}
