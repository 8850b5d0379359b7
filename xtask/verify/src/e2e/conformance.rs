//! What Kubernetes promises of pods, Services, DNS, volumes and rollouts, asked of the cluster by itself: the node's programs are
//! built from other versions than a release has, and the application uses only a part of them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::world::World;
use xtask::run::call::DEADLINE;
use xtask::run::poll;
use xtask::tools::kubectl;

const NAME: &str = "conformance";
const LIMIT: Duration = Duration::from_secs(120);
/// What a scenario leaves behind goes by this label.
const KINDS: &str = "deployments,services,jobs,configmaps,secrets,persistentvolumeclaims";

/// A Deployment, a Service, Jobs and a volume of their own, beside the application and made of its images.
pub fn holds(world: &World) -> Result<()> {
    let ended = check_all(world);
    let selector = format!("app={NAME}");
    let removed = world.run(kubectl::delete_labelled(&world.target, KINDS, &selector, DEADLINE * 2));
    ended?;
    removed?;
    await_that(world, "the pods of what was deleted are gone too", || Ok(pods(world)?.is_empty()))
}

fn check_all(world: &World) -> Result<()> {
    let frontend = world.objects("deployment/frontend")?.pop().context("no Deployment frontend")?;
    let port = world.objects("service/frontend")?.pop().context("no Service frontend")?["spec"]["ports"][0].clone();
    let postgres = world.objects("statefulset/postgres")?.pop().context("no StatefulSet postgres")?;
    let pod = &postgres["spec"]["template"]["spec"];
    let client = Client {
        image: pod["containers"][0]["image"].clone(),
        security: pod["containers"][0]["securityContext"].clone(),
        pod_security: pod["securityContext"].clone(),
    };

    world.create(&deployment(&frontend))?;
    world.create(&service(&port))?;
    await_that(world, "two pods are available", || Ok(deployed(world)?["status"]["availableReplicas"] == 2))?;
    let first = addresses(world)?;
    ensure!(first.len() == 2, "two pods have the addresses {first:?}");
    await_that(world, "the Service leads to both pods", || Ok(endpoints(world)? == first))?;

    for object in given() {
        world.create(&object)?;
    }
    let address = world.objects(&format!("service/{NAME}"))?[0]["spec"]["clusterIP"].clone();
    let address = address.as_str().context("the Service has an address")?.to_string();
    let number = &port["port"];
    let namespace = &world.target.namespace;
    // A name in full and in short, the Service behind it, what a pod is given, and a volume that is written.
    let first_job = format!(
        r#"set -eux
for name in {NAME} {NAME}.{namespace}.svc.cluster.local; do
    [ "$(getent hosts "$name" | cut -d ' ' -f 1)" = {address} ]
done
if getent hosts nobody.{namespace}.svc.cluster.local; then exit 1; fi
exec 3<>/dev/tcp/{NAME}/{number}
printf 'GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n' >&3
head -n 1 <&3 | grep ' 200 '
[ "$(cat /given/file)" = 'from a ConfigMap' ]
[ "$FROM_SECRET" = 'from a Secret' ]
[ "$NAMESPACE" = {namespace} ]
echo written >/kept/file"#
    );
    run_job(world, &client, "first", &first_job)?;
    // Another pod finds what the first one wrote.
    run_job(world, &client, "second", r#"[ "$(cat /kept/file)" = written ]"#)?;
    let failed = run_job(world, &client, "third", "exit 3");
    ensure!(failed.is_err(), "a Job whose command ends with 3 counts as done");
    replaces_pods(world, &first)
}

/// A changed template replaces every pod, the Service follows, and two pods serve all the time.
fn replaces_pods(world: &World, before: &BTreeSet<String>) -> Result<()> {
    let container = json!({"name": deployed(world)?["spec"]["template"]["spec"]["containers"][0]["name"], "env": [{"name": "CHANGED", "value": "1"}]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    world.patch(&format!("deployment/{NAME}"), "strategic", &patch)?;
    let mut fewest = 2;
    await_that(world, "the rollout is done", || {
        let deployment = deployed(world)?;
        let status = &deployment["status"];
        fewest = fewest.min(status["availableReplicas"].as_u64().unwrap_or_default());
        let is_seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        Ok(is_seen && status["updatedReplicas"] == 2 && status["replicas"] == 2 && status["availableReplicas"] == 2)
    })?;
    ensure!(fewest == 2, "{fewest} of two pods were available during the rollout");
    let after = addresses(world)?;
    ensure!(after.is_disjoint(before), "the pods before had {before:?}, and those after it have {after:?}");
    await_that(world, "the Service leads to the new pods", || Ok(endpoints(world)? == after))?;
    let revision = deployed(world)?["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    ensure!(revision == "2", "the Deployment has revision {revision}");
    Ok(())
}

/// A pod that asks, from an image with a shell.
struct Client {
    image: Value,
    security: Value,
    pod_security: Value,
}

/// The Deployment of the page under another name, with two pods of which none may be missing.
fn deployment(frontend: &Value) -> Value {
    let mut spec = frontend["spec"].clone();
    spec["replicas"] = 2.into();
    spec["selector"] = json!({"matchLabels": {"app": NAME}});
    spec["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    spec["template"]["metadata"] = json!({"labels": {"app": NAME}});
    for container in spec["template"]["spec"]["containers"].as_array_mut().into_iter().flatten() {
        container["resources"]["requests"]["cpu"] = "1m".into();
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(NAME), "spec": spec})
}

fn service(port: &Value) -> Value {
    let port = json!({"port": port["port"], "targetPort": port["targetPort"]});
    let spec = json!({"selector": {"app": NAME}, "ports": [port]});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(NAME), "spec": spec})
}

/// What the Jobs' pods are given.
fn given() -> [Value; 3] {
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}}});
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(NAME), "data": {"file": "from a ConfigMap"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(NAME), "stringData": {"value": "from a Secret"}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata(NAME), "spec": claim}),
    ]
}

/// Runs a script in a pod of its own to its end.
fn run_job(world: &World, client: &Client, name: &str, script: &str) -> Result<()> {
    let name = format!("{NAME}-{name}");
    let container = json!({
        "name": "job", "image": client.image, "command": ["bash", "-c", script], "securityContext": client.security,
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "env": [
            {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": NAME, "key": "value"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        "volumeMounts": [{"name": "given", "mountPath": "/given"}, {"name": "kept", "mountPath": "/kept"}],
    });
    let volumes = json!([
        {"name": "given", "configMap": {"name": NAME}},
        {"name": "kept", "persistentVolumeClaim": {"claimName": NAME}},
    ]);
    let pod = json!({
        "restartPolicy": "Never", "automountServiceAccountToken": false, "securityContext": client.pod_security,
        "containers": [container], "volumes": volumes,
    });
    let template = json!({"metadata": {"labels": {"app": NAME}}, "spec": pod});
    let spec = json!({"backoffLimit": 0, "template": template});
    world.create(&json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(&name), "spec": spec}))?;
    let mut is_done = false;
    await_that(world, &format!("the Job {name} ends"), || {
        let status = world.objects(&format!("job/{name}"))?[0]["status"].clone();
        is_done = status["succeeded"] == 1;
        Ok(is_done || status["failed"] == 1)
    })?;
    if is_done {
        return Ok(());
    }
    let log = world.run(kubectl::all_logs(&world.target, &format!("job/{name}"), 20)).unwrap_or_default();
    anyhow::bail!("the Job {name} failed\n{log}")
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"app": NAME}})
}

fn deployed(world: &World) -> Result<Value> {
    world.objects(&format!("deployment/{NAME}"))?.pop().context("the Deployment is gone")
}

fn pods(world: &World) -> Result<Vec<Value>> {
    let selector = format!("app={NAME}");
    world.run(kubectl::get(&world.target, "pods", Some(&selector)))
}

/// The addresses of the pods of the Deployment that are not on their way out.
fn addresses(world: &World) -> Result<BTreeSet<String>> {
    let ours = pods(world)?.into_iter().filter(|pod| {
        pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet" && pod["metadata"]["deletionTimestamp"].is_null()
    });
    Ok(ours.filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_string)).collect())
}

/// Those that the Service leads to.
fn endpoints(world: &World) -> Result<BTreeSet<String>> {
    let selector = format!("kubernetes.io/service-name={NAME}");
    let slices = world.run(kubectl::get(&world.target, "endpointslices", Some(&selector)))?;
    let all = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    Ok(ready.filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_string)).collect())
}

fn await_that(world: &World, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let found = poll::until(&world.ctx.spawn.interrupt, LIMIT, || Ok(holds()?.then_some(())))?;
    found.with_context(|| format!("waited {} s in vain until {what}", LIMIT.as_secs()))
}
