//! What runs, read back from the cluster, and what was tried there. Nothing is changed; values of Secrets are looked at
//! and forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::facts::images;
use crate::facts::rendered::{Gathered, refusal};
use crate::rules::{Attempt, LastUp, LiveFacts, PastRevision, SERVICE_LABEL, label};
use xtask::config::Secret;
use xtask::live;
use xtask::live::Endpoint;
use xtask::model::cluster::Target;
use xtask::model::states::DeploymentState;
use xtask::run::call::{Call, DEADLINE};
use xtask::run::context::{Context, Scope};
use xtask::run::exit::Stop;
use xtask::run::http;
use xtask::run::record;
use xtask::run::record::Run;
use xtask::secrets::judge;
use xtask::stages::{addons, cluster, load};
use xtask::tools::helm::{Chart, Revision};
use xtask::tools::{ctr, docker, helm, kubectl, minikube, psql};

const REQUEST: Duration = Duration::from_secs(5);
/// `helm test` pulls nothing and asks a few URLs.
const TEST: Duration = Duration::from_secs(60);
const KINDS: &str = "deployments,statefulsets,replicasets,pods,services,endpointslices,configmaps,persistentvolumeclaims,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers";
const DATABASE: &str = "postgres";

type Attempts = BTreeMap<Attempt, Result<String, String>>;
/// Table to column to what the column is.
type Tables = BTreeMap<String, BTreeMap<String, String>>;
/// Secret to key to whether its value is well-formed.
type Judged = BTreeMap<String, BTreeMap<String, Result<(), String>>>;

/// The question that the database answers: its tables and views, as JSON.
const TABLES: &str = "SELECT json_object_agg(t, columns) FROM (
  SELECT c.relname AS t, json_object_agg(a.attname, concat(format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN ' not null' END,
    CASE WHEN a.attidentity <> '' THEN ' default identity' ELSE ' default ' || pg_get_expr(d.adbin, d.adrelid) END,
    (SELECT string_agg(' ' || pg_get_constraintdef(k.oid), '') FROM pg_constraint k
      WHERE k.conrelid = c.oid AND k.conkey = ARRAY[a.attnum]))) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') GROUP BY c.relname) AS found";

struct Cluster<'a> {
    ctx: &'a Context,
    /// Of the releases that are looked at.
    objects: Vec<Value>,
    secrets: Vec<Value>,
    endpoints: BTreeMap<String, Endpoint>,
    inspects: &'a BTreeMap<String, Value>,
}

pub fn gather(
    ctx: &Context,
    releases: &BTreeMap<String, Gathered>,
    inspects: &BTreeMap<String, Value>,
) -> Result<LiveFacts> {
    let scopes: Vec<Scope> = releases.keys().map(|name| ctx.scope(name)).collect();
    let namespaces: BTreeSet<&String> = scopes.iter().map(|scope| &scope.target.namespace).collect();
    let mut objects = Vec::new();
    let mut secrets = Vec::new();
    let mut listed = Vec::new();
    for namespace in &namespaces {
        let target = ctx.target_in(namespace);
        objects.extend(live::objects(ctx, &target, KINDS)?);
        objects.extend(live::objects(ctx, &target, &format!("namespace/{namespace}"))?);
        for mut secret in ctx.run(kubectl::list_secrets(&target))? {
            // Helm keeps its history in Secrets.
            if secret["type"] != "helm.sh/release.v1" {
                secret["metadata"]["namespace"] = namespace.as_str().into();
                secrets.push(secret);
            }
        }
        let stdout = ctx.run(helm::list_all(&target))?;
        listed.extend(serde_json::from_str::<Vec<Value>>(&stdout).context("helm list printed no JSON")?);
    }
    if !releases.keys().any(|name| listed.iter().any(|found| found["name"] == name.as_str())) {
        let profile = &ctx.config.profile;
        let message = format!("no release of profile {profile} is installed\nNext: cargo xtask up --profile {profile}");
        return Err(Stop::needs_setup(message).into());
    }
    let cluster = Cluster { ctx, objects, secrets, endpoints: live::endpoints(ctx)?, inspects };
    let (mut attempts, minikube, tables) = thread::scope(|scope| {
        let helm = scope.spawn(|| try_helm(&cluster, releases));
        let asked = scope.spawn(|| -> Result<(Attempts, Result<Tables, String>)> {
            Ok((ask_services(&cluster)?, ask_database(&cluster)?))
        });
        let minikube = ask_minikube(&cluster);
        let (helm, asked) = (helm.join().expect("no panic"), asked.join().expect("no panic"));
        let ((mut attempts, tables), (more, minikube)) = (asked?, minikube?);
        attempts.extend(more);
        attempts.extend(helm?);
        anyhow::Ok((attempts, minikube, tables))
    })?;
    attempts.extend(look_into_containers(&cluster)?);
    attempts.extend(try_config_maps(&cluster, releases)?);

    let nodes = cluster::nodes(ctx)?;
    let id = |inspect: &Value| inspect["Id"].as_str().unwrap_or_default().to_string();
    let now = ctx.run(docker::node_time(&nodes[0]))?;
    let (tables, no_database) = match tables {
        Ok(tables) => (tables, None),
        Err(why) => (BTreeMap::new(), Some(why)),
    };
    Ok(LiveFacts {
        nodes: live::objects(ctx, &ctx.target(), "nodes")?,
        all_pods: ctx.run(kubectl::get_everywhere(&ctx.target(), "pods"))?,
        addons: ask_addons(ctx)?,
        node_limits: by_node(&nodes, |node| ctx.run(docker::container_limits(node)))?,
        node_images: by_node(&nodes, |node| load::list(ctx, node))?,
        host_images: inspects.iter().map(|(name, inspect)| (name.clone(), id(inspect))).collect(),
        secrets: look_at_secrets(&cluster, &namespaces)?,
        objects: cluster.objects,
        secret_objects: cluster.secrets,
        releases: listed,
        history: past_revisions(ctx, &scopes)?,
        last_up: last_up(record::last(ctx, usize::MAX).into_iter().map(|(run, _)| run), &ctx.config.profile),
        attempts,
        minikube,
        tables,
        no_database,
        now,
    })
}

fn past_revisions(ctx: &Context, scopes: &[Scope]) -> Result<BTreeMap<String, Vec<PastRevision>>> {
    let past = |one: Revision| PastRevision {
        number: one.number,
        is_rollback: one.is_rollback(),
        went_back_to: one.went_back_to(),
        status: one.status,
    };
    let of_release = |scope: &Scope| {
        let all = live::history(ctx, scope, 10)?;
        Ok((scope.release.clone(), all.into_iter().map(past).collect()))
    };
    scopes.iter().map(of_release).collect()
}

/// The last `up` of the profile that moved a service from one state to another, or else the last. One that goes on, or was
/// killed, tells no whole story.
fn last_up(runs: impl Iterator<Item = Run>, profile: &str) -> Option<LastUp> {
    let ended = runs.filter(|run| run.command == "up" && run.profile == profile && run.code.is_some());
    let looked = ended.map(|run| {
        let mut states: BTreeMap<String, Vec<DeploymentState>> = BTreeMap::new();
        for (service, state) in run.states {
            states.entry(service).or_default().push(state);
        }
        LastUp { succeeded: run.code == Some(0), states, validated: run.validated }
    });
    let seen: Vec<LastUp> = looked.filter(|run| !run.states.is_empty()).collect();
    let changed = |run: &&LastUp| run.states.values().any(|states| states.len() > 1);
    seen.iter().rev().find(changed).or(seen.last()).cloned()
}

/// What keeps each addon that the data model or the configuration names from serving, if anything does.
fn ask_addons(ctx: &Context) -> Result<BTreeMap<String, Option<String>>> {
    let spec = ctx.config.spec.iter().flat_map(|spec| &spec.cluster).flat_map(|cluster| &cluster.addons);
    let names: BTreeSet<String> = spec.chain(&ctx.config.cluster.addons).cloned().collect();
    let names = Vec::from_iter(names);
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let live = ctx.run(kubectl::get_addons(&ctx.target(), &names))?;
    Ok(names.into_iter().map(|name| (name.clone(), addons::problem(&name, None, &live))).collect())
}

fn by_node<T>(nodes: &[String], ask: impl Fn(&str) -> Result<T>) -> Result<BTreeMap<String, T>> {
    nodes.iter().map(|node| Ok((node.clone(), ask(node)?))).collect()
}

/// A question whose answer holds values of Secrets: of a failure nothing is repeated but that there was one.
fn ask_for_secrets<T>(ctx: &Context, call: Call<T>, what: &str) -> Result<Option<T>> {
    let answer = ctx.spawn.attempt(call);
    ctx.spawn.interrupt.check()?;
    let answer = answer.map(Result::ok);
    answer.map_err(|_| Stop::failed(format!("{what} could not be asked for within {} s", DEADLINE.as_secs())).into())
}

/// How a call has ended, in words.
fn ended<T>(ctx: &Context, call: Call<T>, good: &str) -> Result<Result<String, String>> {
    let answer = ctx.output(call)?;
    Ok(if answer.success { Ok(good.to_string()) } else { Err(refusal(&answer.tail)) })
}

fn try_helm(cluster: &Cluster, releases: &BTreeMap<String, Gathered>) -> Result<Attempts> {
    let Cluster { ctx, .. } = cluster;
    let helm = &ctx.tools.helm;
    let mut attempts = BTreeMap::new();
    for (name, release) in releases {
        let scope = ctx.scope(name);
        let Some(revision) = live::last_revision(ctx, &scope)?.map(|last| last.number) else { continue };
        let chart = Chart { release: name, folder: &release.staged.folder, values: &release.staged.values };
        let target = &scope.target;
        let known = live::revisions(ctx, &scope, 10)?;
        // Where there is no revision before, helm takes going back to the same.
        let back = known.iter().rev().map(|(number, _)| *number).find(|number| *number < revision).unwrap_or(revision);
        for (attempt, call, good) in [
            (
                Attempt::Upgrade(name.clone()),
                helm::try_upgrade(helm, target, &chart),
                "the API server takes an upgrade".to_string(),
            ),
            (
                Attempt::Rollback(name.clone()),
                helm::try_rollback(helm, target, name, back),
                format!("helm can go back to revision {back}"),
            ),
            (Attempt::Uninstall(name.clone()), helm::try_uninstall(target, name), "helm can uninstall it".to_string()),
        ] {
            attempts.insert(attempt, ended(ctx, call, &good)?);
        }
        if release.rendered.hooks.iter().any(|hook| hook["metadata"]["annotations"]["helm.sh/hook"] == "test") {
            let test = helm::test(target, name, TEST);
            attempts.insert(Attempt::Test(name.clone()), ended(ctx, test, "helm test has passed")?);
        }
    }
    Ok(attempts)
}

/// Pods of the profile ask its Services by their names.
fn ask_services(cluster: &Cluster) -> Result<Attempts> {
    let mut attempts = BTreeMap::new();
    let open = &cluster.ctx.config.open;
    for (to, endpoint) in &cluster.endpoints {
        let Some(path) = readiness_path(&cluster.objects, to) else { continue };
        let mut askers: Vec<&String> = cluster
            .endpoints
            .iter()
            .filter(|(_, other)| other.namespace == endpoint.namespace)
            .map(|(name, _)| name)
            .collect();
        // Others prove more than the service itself, which may be the only one that can ask.
        askers.sort_by_key(|name| *name == to);
        let full = format!("{}.{}.svc.cluster.local", endpoint.object, endpoint.namespace);
        for (attempt, host) in
            [(Attempt::ShortName(to.clone()), &endpoint.object), (Attempt::FullName(to.clone()), &full)]
        {
            for from in &askers {
                let Some(ended) = ask(cluster, from, host, endpoint.port, &path)? else { continue };
                let good = ended.is_ok();
                attempts.insert(attempt.clone(), ended);
                if good {
                    break;
                }
            }
        }
        if to != open
            && let Some(ended) = ask(cluster, open, &endpoint.object, endpoint.port, &path)?
        {
            attempts.insert(Attempt::Reach { from: open.clone(), to: to.clone() }, ended);
        }
    }
    Ok(attempts)
}

/// Has a pod of `from` ask a URL; None where it has nothing to ask with.
fn ask(cluster: &Cluster, from: &str, host: &str, port: u16, path: &str) -> Result<Option<Result<String, String>>> {
    let Cluster { ctx, objects, inspects, .. } = cluster;
    let ready = |pod: &&Value| {
        pod["kind"] == "Pod"
            && label(pod, SERVICE_LABEL) == Some(from)
            && pod["status"]["containerStatuses"][0]["ready"] == true
    };
    let (Some(pod), Some(inspect)) = (objects.iter().find(ready), inspects.get(from)) else { return Ok(None) };
    let Some(question) = question(inspect, host, port, path) else { return Ok(None) };
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let target = ctx.target_in(text("/metadata/namespace"));
    let exec = kubectl::exec(&target, text("/metadata/name"), text("/spec/containers/0/name"), &question);
    let answer = ctx.output(exec)?;
    let url = format!("http://{host}:{port}{path}");
    Ok(Some(match answer.success {
        true => Ok(format!("{url} answered a pod of {from}")),
        false => Err(format!("a pod of {from} got no answer: {}", answer.tail.lines().next().unwrap_or_default())),
    }))
}

/// The command by which a container of an image asks a URL: what its own health check is made of.
fn question(inspect: &Value, host: &str, port: u16, path: &str) -> Option<Vec<String>> {
    let health = images::health_command(inspect)?;
    match (health.first()?.as_str(), health.last()?.as_str()) {
        (program, "healthcheck") => {
            Some(vec![program.to_string(), "healthcheck".to_string(), format!("http://{host}:{port}{path}")])
        }
        (bash @ "bash", _) => {
            let script = format!(
                "exec 3<>/dev/tcp/{host}/{port} && printf 'GET {path} HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 2?? ]]"
            );
            Some(vec![bash.to_string(), "-c".to_string(), script])
        }
        _ => None,
    }
}

fn readiness_path(objects: &[Value], service: &str) -> Option<String> {
    let workload = objects.iter().find(|object| {
        matches!(object["kind"].as_str(), Some("Deployment" | "StatefulSet"))
            && label(object, SERVICE_LABEL) == Some(service)
    })?;
    let path = workload.pointer("/spec/template/spec/containers/0/readinessProbe/httpGet/path")?;
    Some(path.as_str()?.to_string())
}

/// The database's tables, asked in its pod; an error says why it could not be.
fn ask_database(cluster: &Cluster) -> Result<Result<Tables, String>> {
    let Cluster { ctx, objects, .. } = cluster;
    let pod = objects.iter().find(|object| object["kind"] == "Pod" && label(object, SERVICE_LABEL) == Some(DATABASE));
    let Some(pod) = pod else { return Ok(Err("the database is outside the cluster".to_string())) };
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let target = ctx.target_in(text("/metadata/namespace"));
    let object = format!("pod/{}", text("/metadata/name"));
    let exec = kubectl::exec_with_stdin(&target, &object, &psql::query());
    let answer = ctx.output(exec.stdin(TABLES))?;
    if !answer.success {
        return Ok(Err(format!("the database does not answer: {}", answer.tail.lines().last().unwrap_or_default())));
    }
    let text = answer.stdout.trim();
    Ok(if text.is_empty() {
        Ok(BTreeMap::new())
    } else {
        serde_json::from_str(text).map_err(|error| error.to_string())
    })
}

/// The cluster as minikube tells it, and URLs of Services from outside.
fn ask_minikube(cluster: &Cluster) -> Result<(Attempts, Value)> {
    let Cluster { ctx, endpoints, .. } = cluster;
    let name = &ctx.config.cluster.name;
    let spawn = ctx.spawn_minikube()?;
    let profiles = spawn.run(minikube::profiles())?;
    // It exits with an error where not all runs, and says so in the same form.
    let status = spawn.output(minikube::status(name))?.stdout;
    let ip = spawn.output(minikube::ip(name))?.stdout;
    let value = json!({
        "profiles": serde_json::from_str::<Value>(&profiles).unwrap_or_default(),
        "status": serde_json::from_str::<Value>(&status).unwrap_or_default(),
        "ip": ip.trim(),
    });
    let mut attempts = BTreeMap::new();
    for (service, endpoint) in endpoints.iter().filter(|(_, endpoint)| endpoint.node_port.is_some()) {
        let path = readiness_path(&cluster.objects, service).unwrap_or_else(|| "/".to_string());
        if let Some(url) = live::url(&ctx.config, service, endpoint) {
            attempts.insert(Attempt::Url(service.clone()), get(&format!("{url}{path}")));
        }
        let call = minikube::service_url(name, &endpoint.namespace, &endpoint.object);
        let answer = spawn.output(call)?;
        let url = answer.stdout.lines().find(|line| line.starts_with("http://"));
        let ended = match url {
            Some(url) => get(&format!("{}{path}", url.trim_end_matches('/'))),
            None => Err(format!("minikube names no URL: {}", answer.tail.lines().last().unwrap_or_default())),
        };
        attempts.insert(Attempt::MinikubeUrl(service.clone()), ended);
    }
    Ok((attempts, value))
}

fn get(url: &str) -> Result<String, String> {
    match http::agent(REQUEST).get(url).call() {
        Ok(answer) if answer.status().is_success() => Ok(format!("{url} answered {}", answer.status().as_u16())),
        Ok(answer) => Err(format!("{url} answered {}", answer.status().as_u16())),
        Err(error) => Err(format!("{url}: {error}")),
    }
}

/// Compares the environment of running containers with what their pods say it comes from.
fn look_into_containers(cluster: &Cluster) -> Result<Attempts> {
    let Cluster { ctx, objects, .. } = cluster;
    let mut attempts: Attempts = BTreeMap::new();
    for pod in
        objects.iter().filter(|object| object["kind"] == "Pod" && !object["metadata"]["deletionTimestamp"].is_string())
    {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let Some(service) = label(pod, SERVICE_LABEL) else { continue };
        let id = text("/status/containerStatuses/0/containerID").rsplit('/').next().unwrap_or_default();
        if id.is_empty() {
            continue;
        }
        let call = ctr::container(text("/spec/nodeName"), id);
        let message = ask_for_secrets(ctx, call, "the environment of a container")?;
        let is_known = message.is_some();
        let there = message.flatten().unwrap_or_default();
        let ended = match missing(&pod["spec"]["containers"][0], &there, objects, &cluster.secrets) {
            _ if !is_known => Err("its node does not tell what its container was started with".to_string()),
            wrong if wrong.is_empty() => Ok(format!("{} variables are as they should be", there.len())),
            wrong => Err(format!("in pod {}: {}", text("/metadata/name"), wrong.join(", "))),
        };
        let key = Attempt::Environment(service.to_string());
        if !attempts.get(&key).is_some_and(Result::is_err) {
            attempts.insert(key, ended);
        }
    }
    Ok(attempts)
}

/// What a container should have in its environment and has not, or has with an older value; values are not shown.
fn missing(container: &Value, there: &BTreeMap<String, String>, objects: &[Value], secrets: &[Value]) -> Vec<String> {
    let list = |key: &str| container[key].as_array().cloned().unwrap_or_default();
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    for source in list("envFrom") {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        let named = |list: &[Value], kind: &str, reference: &str| {
            let name = &source[reference]["name"];
            list.iter()
                .find(|object| object["kind"] == kind && !name.is_null() && object["metadata"]["name"] == *name)
                .cloned()
        };
        for (object, has_values) in
            [(named(objects, "ConfigMap", "configMapRef"), true), (named(secrets, "Secret", "secretRef"), false)]
        {
            for (key, value) in object.iter().flat_map(|object| object["data"].as_object()).flatten() {
                let value = value.as_str().filter(|_| has_values).map(str::to_string);
                wanted.insert(format!("{prefix}{key}"), value);
            }
        }
    }
    for variable in list("env") {
        let optional = variable.pointer("/valueFrom/secretKeyRef/optional").is_some_and(|flag| flag == true);
        // What refers to other variables is filled in on the way.
        let value = variable["value"].as_str().filter(|text| !text.contains("$(")).map(str::to_string);
        if let Some(name) = variable["name"].as_str().filter(|_| !optional) {
            wanted.insert(name.to_string(), value);
        }
    }
    wanted
        .into_iter()
        .filter_map(|(name, value)| match (there.get(&name), value) {
            (None, _) => Some(format!("{name} is not set")),
            (Some(found), Some(value)) if *found != value => Some(format!("{name} has another value than its source")),
            _ => None,
        })
        .collect()
}

fn try_config_maps(cluster: &Cluster, releases: &BTreeMap<String, Gathered>) -> Result<Attempts> {
    let Cluster { ctx, .. } = cluster;
    let mut attempts = BTreeMap::new();
    for (name, release) in releases {
        let target: Target = ctx.scope(name).target;
        for map in release.rendered.objects.iter().filter(|object| object["kind"] == "ConfigMap") {
            let map = map["metadata"]["name"].as_str().unwrap_or_default();
            let call = kubectl::try_patch(&target, &format!("configmap/{map}"));
            let patch = json!({"data": {"VALIDATE": "tried"}}).to_string();
            let answer = ctx.output(call.stdin(patch))?;
            let ended = match answer.success {
                true => Ok("the API server takes a change".to_string()),
                false => Err(refusal(&answer.tail)),
            };
            attempts.insert(Attempt::ConfigMap(map.to_string()), ended);
        }
    }
    Ok(attempts)
}

/// Every key of the profile's Secrets, with whether its value is well-formed. The values end here.
fn look_at_secrets(cluster: &Cluster, namespaces: &BTreeSet<&String>) -> Result<Judged> {
    let Cluster { ctx, secrets, .. } = cluster;
    let mut found = BTreeMap::new();
    let wanted: Vec<(&String, &Secret)> =
        ctx.config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)).collect();
    for (name, secret) in wanted {
        if !secrets.iter().any(|object| object["metadata"]["name"] == name.as_str()) {
            continue;
        }
        let target = ctx.target_in(&secret.namespace);
        let call = kubectl::get_secret_values(&target, name);
        let Some(values) = ask_for_secrets(ctx, call, &format!("the Secret {name}"))? else {
            return Err(Stop::failed(format!("kubectl cannot read the Secret {name}")).into());
        };
        let judged = values.into_iter().map(|(key, value)| {
            let may_be_empty = secret.given.contains(&key);
            let judged = judge::judge_secret(&key, &value, may_be_empty);
            (key, judged)
        });
        found.insert(name.clone(), judged.collect());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_a_key_of_its_sources_is_reported_and_no_value_is() {
        let container = json!({
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "env": [
                {"name": "PORT", "value": "8000"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "KEY"}}},
                {"name": "OFTEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "OFTEN", "optional": true}}},
            ],
        });
        let objects = [json!({"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"LOG_LEVEL": "info"}})];
        let there = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let whole = there(&[("PORT", "8000"), ("KEY", "sentinel"), ("LOG_LEVEL", "info")]);
        assert!(missing(&container, &whole, &objects, &[]).is_empty());
        let old = there(&[("PORT", "8000"), ("LOG_LEVEL", "sentinel")]);
        let text = missing(&container, &old, &objects, &[]);
        assert_eq!(text, ["KEY is not set", "LOG_LEVEL has another value than its source"]);
    }

    #[test]
    fn the_last_up_that_changed_something_is_looked_at() {
        use DeploymentState::{Ready, Upgrading};
        let run = |command: &str, profile: &str, code: Option<u8>, states: &[DeploymentState]| Run {
            command: command.to_string(),
            profile: profile.to_string(),
            code,
            states: states.iter().map(|state| ("backend".to_string(), *state)).collect(),
            ..Run::default()
        };
        let seen =
            |runs: &[Run]| last_up(runs.iter().cloned(), "dev").map(|up| (up.succeeded, up.states["backend"].clone()));
        let (same, change) = (run("up", "dev", Some(0), &[Ready]), run("up", "dev", Some(0), &[Upgrading, Ready]));
        let killed = run("up", "dev", None, &[Upgrading, Ready]);
        let refused = run("up", "dev", Some(1), &[]);
        assert_eq!(seen(&[change.clone(), same.clone(), refused.clone()]), Some((true, vec![Upgrading, Ready])));
        assert_eq!(seen(&[killed, same, refused]), Some((true, vec![Ready])));
        let failed = run("up", "dev", Some(1), &[Upgrading, Ready]);
        assert_eq!(seen(&[change.clone(), failed]), Some((false, vec![Upgrading, Ready])));
        let others =
            [run("rollback", "dev", Some(0), &[Upgrading, Ready]), run("up", "e2e", Some(0), &[Upgrading, Ready])];
        assert_eq!(seen(&others), None);
    }

    #[test]
    fn a_container_asks_with_what_its_health_check_is_made_of() {
        let image = |test: Value| json!({"Config": {"Healthcheck": {"Test": test}}});
        let own = question(&image(json!(["CMD", "/app/backend", "healthcheck"])), "a", 80, "/x").unwrap();
        assert_eq!(own, ["/app/backend", "healthcheck", "http://a:80/x"]);
        let bash = question(&image(json!(["CMD", "bash", "-c", "…"])), "a", 80, "/x").unwrap();
        assert!(bash[2].contains("/dev/tcp/a/80") && bash[2].contains("GET /x "), "{bash:?}");
        assert_eq!(question(&image(json!(["CMD", "pg_isready"])), "a", 80, "/"), None);
    }
}
