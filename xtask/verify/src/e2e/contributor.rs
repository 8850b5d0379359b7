//! What a contributor meets, on the profile `dev`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::scenario::Scenario;
use crate::e2e::world::{FOREIGN_KUBECONFIG, World, tells};
use crate::e2e::{app, conformance, database, dev, fourth, leftovers, page, sealed, secrets};
use crate::lanes::schedule::Takes;
use xtask::run::call::DEADLINE;
use xtask::run::poll;
use xtask::stages::{cluster, load};
use xtask::tools::{crictl, docker, helm, kubectl, minikube};

pub const NAMESPACE: &str = "todo-chatbot-e2e";
const RELEASE: &str = "todo-chatbot";
const SECRET: &str = "todo-chatbot-secrets";

pub const COMES_UP: Scenario =
    Scenario::new("a fresh namespace comes up and answers", comes_up).taking(Takes::NodePorts);

/// Each begins with an application that runs, and is followed by an `up` that must find it well or make it so. What nothing
/// may run beside comes last.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("a second up changes nothing", changes_nothing).taking(Takes::Nothing),
    Scenario::new("the page of ui shows what runs, and asks no other server", page::shows_what_runs)
        .taking(Takes::Nothing),
    Scenario::new("the page chats, keeps tasks and shows them in two tabs and on a phone", app::serves_its_user)
        .taking(Takes::Nothing),
    Scenario::new("PostgreSQL is killed under writes, and no acknowledged one is lost", database::killed_under_writes)
        .taking(Takes::Load),
    Scenario::new("a dump of the database is restored whole or not at all", database::dumped_and_restored),
    Scenario::new("pods, Services, DNS, volumes and rollouts are as Kubernetes promises", conformance::holds),
    Scenario::new("what was scaled by hand is put right", scaled_by_hand),
    Scenario::new("what was deleted by hand is put back", deleted_by_hand),
    Scenario::new("what was added by hand is taken out", added_by_hand),
    Scenario::new("a port that was renumbered by hand is set back", renumbered_by_hand),
    Scenario::new("dev copies a style sheet into what runs, and builds it at its end", dev::copies),
    Scenario::new("dev has services start again as what was built, and deploys it at its end", dev::restarts)
        .taking(Takes::Load),
    Scenario::new("helm's own test passes, and fails for each fault", helm_test),
    Scenario::new("a broken Secret is reported with pod and log, and mended", broken_secret),
    Scenario::new("an upgrade that fails goes back, and what served serves on", failed_upgrade),
    Scenario::new("a service more is data, a Dockerfile and a chart of three lines", fourth::is_data),
    Scenario::new("a rotation leaves all as it was but the Secrets' values", secrets::rotate),
    Scenario::new("what a Secret holds gets nowhere", secrets::stay_secret),
    Scenario::new("a file that age encrypted gives its values to whoever has the key", sealed::by_age),
    Scenario::new("a file that SOPS encrypted gives its values to whoever has the key", sealed::by_sops).weekly(),
    Scenario::new("down keeps the tasks, up finds them", down_keeps_data).taking(Takes::NodePorts),
    Scenario::new("what was purged does not come back", database::purged).taking(Takes::All),
    Scenario::new("the user's kubeconfig is as it was", kubeconfig_untouched).taking(Takes::Nothing),
    Scenario::new("an image gone from the node is loaded again", image_gone).taking(Takes::All),
    Scenario::new("tasks survive the node being killed", node_killed).taking(Takes::All),
    Scenario::new("a node that was paused goes on", node_paused).taking(Takes::All),
    Scenario::new("up, smoke and down leave nothing behind", leftovers::nothing_behind).taking(Takes::All),
];

fn comes_up(world: &World) -> Result<()> {
    let output = world.xtask(&["up", "--yes"])?;
    ensure!(output.success, "up failed\n{}", output.tail);
    let url = world.url()?;
    ensure!(output.stdout.contains(&url), "up did not print {url}\n{}", output.stdout);
    let page = world.get(&url)?;
    ensure!(page.contains("<title>"), "the page has no title: {page}");
    Ok(())
}

fn changes_nothing(world: &World) -> Result<()> {
    let before = world.fingerprint()?;
    world.up()?;
    ensure!(world.fingerprint()? == before, "a second up changed something:\n{before}\n{}", world.fingerprint()?);
    Ok(())
}

fn scaled_by_hand(world: &World) -> Result<()> {
    world.run(kubectl::scale(&world.target, "deployment/backend", 2))?;
    let output = world.up()?;
    ensure!(output.tail.contains("replicas 2 → 1"), "up did not say why it deployed\n{}", output.tail);
    let backend = &world.objects("deployment/backend")?[0];
    ensure!(backend["spec"]["replicas"] == 1, "backend still has {} replicas", backend["spec"]["replicas"]);
    Ok(())
}

fn deleted_by_hand(world: &World) -> Result<()> {
    world.run(kubectl::delete(&world.target, &["service/mcp".to_string()], DEADLINE))?;
    let output = world.up()?;
    ensure!(output.tail.contains("service/mcp is absent"), "up did not say why it deployed\n{}", output.tail);
    ensure!(world.objects("service/mcp")?.len() == 1, "the Service mcp is still absent");
    Ok(())
}

fn added_by_hand(world: &World) -> Result<()> {
    let container = json!({"name": "frontend", "env": [{"name": "ADDED", "value": "by hand"}]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    world.patch("deployment/frontend", "strategic", &patch)?;
    world.up()?;
    let frontend = world.objects("deployment/frontend")?[0].to_string();
    ensure!(!frontend.contains("by hand"), "the variable that was added by hand is still there");
    changes_nothing(world)
}

fn renumbered_by_hand(world: &World) -> Result<()> {
    let port = || -> Result<Value> { Ok(world.objects("service/mcp")?[0]["spec"]["ports"][0]["port"].clone()) };
    let wanted = port()?;
    world.patch("service/mcp", "json", &json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 9999}]))?;
    let output = world.up()?;
    ensure!(output.tail.contains("service/mcp"), "up did not say why it deployed\n{}", output.tail);
    ensure!(port()? == wanted, "the Service has port {} instead of {wanted}", port()?);
    Ok(())
}

fn image_gone(world: &World) -> Result<()> {
    let node = &cluster::nodes(&world.ctx)?[0];
    let images = || load::list(&world.ctx, node);
    let pod = world
        .pods()?
        .into_iter()
        .find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "mcp")
        .context("no pod of mcp")?;
    let image = pod["spec"]["containers"][0]["image"].as_str().context("a container has an image")?.to_string();
    let id = images()?.get(&image).cloned().with_context(|| format!("the node does not list {image}"))?;
    world.run(crictl::remove_image(node, &image))?;
    ensure!(!images()?.contains_key(&image), "{image} could not be removed from the node");
    world.up()?;
    ensure!(images()?.get(&image) == Some(&id), "{image} is not on the node again as {id}");
    Ok(())
}

fn helm_test(world: &World) -> Result<()> {
    let test = || world.ctx.output(helm::test(&world.target, RELEASE, DEADLINE * 2));
    let passed = test()?;
    ensure!(passed.success, "helm test failed\n{}", passed.tail);
    for fault in ["wrongTarget: [backend]", "noEndpoints: [frontend]", "testFails: true"] {
        let output = world.up_with(&format!("faults:\n  {fault}\n"), &["--no-rollback", "--timeout", "30"])?;
        // Its smoke checks may see the fault themselves; the release is there all the same.
        let failed = test()?;
        ensure!(!failed.success, "helm test passed with faults.{fault}\n{}", output.tail);
    }
    world.up()?;
    let passed = test()?;
    ensure!(passed.success, "helm test fails after the faults are gone\n{}", passed.tail);
    Ok(())
}

fn broken_secret(world: &World) -> Result<()> {
    let name = format!("secret/{SECRET}");
    let secret = world.objects(&name)?.pop().context("the Secret is there")?;
    let good = secret["data"]["DATABASE_URL"].clone();
    // "nonsense" in base64: the backend must refuse it at start.
    world.patch(&name, "merge", &json!({"data": {"DATABASE_URL": "bm9uc2Vuc2U="}}))?;
    let output = world.xtask(&["up"])?;
    world.patch(&name, "merge", &json!({"data": {"DATABASE_URL": good}}))?;
    ensure!(!output.success, "up called a backend well that cannot start");
    tells(&output, &["pod backend-", "crashed", "its last log lines:", "DATABASE_URL", "Next: kubectl"])?;
    Ok(())
}

fn failed_upgrade(world: &World) -> Result<()> {
    let before = world.objects("deployment/backend")?[0]["spec"]["template"]["spec"].clone();
    // A value that the backend refuses at start.
    let broken = "services:\n  backend:\n    env:\n      DATABASE_MAX_CONNECTIONS: many\n";
    let output = world.up_with(broken, &[])?;
    ensure!(!output.success, "up called a backend well that cannot start");
    tells(&output, &["crashed", "DATABASE_MAX_CONNECTIONS", "is back at revision"])?;
    let after = world.objects("deployment/backend")?[0]["spec"]["template"]["spec"].clone();
    ensure!(before == after, "the backend's pods are not described as before:\n{before}\n{after}");
    world.get(&format!("{}/api/tasks", world.url()?))?;
    Ok(())
}

fn node_killed(world: &World) -> Result<()> {
    let task = world.add_task("survives a killed node")?;
    world.run(docker::kill(&world.ctx.config.cluster.name))?;
    world.up()?;
    world.expect_task(&task)
}

fn node_paused(world: &World) -> Result<()> {
    let name = &world.ctx.config.cluster.name;
    let task = world.add_task("survives a paused node")?;
    world.run(docker::pause(name))?;
    let output = world.up()?;
    tells(&output, &["was paused, and runs again"])?;
    find_task_soon(world, &task)?;
    world.ctx.spawn_minikube()?.run(minikube::pause(name).within(DEADLINE * 3))?;
    let output = world.up()?;
    tells(&output, &["were paused, and run again"])?;
    find_task_soon(world, &task)
}

/// The kubelet takes probes that a pause has cut off for failures, some seconds after the pause: until the next one the
/// Services have no endpoints.
fn find_task_soon(world: &World, task: &str) -> Result<()> {
    let found = poll::until(&world.ctx.spawn.interrupt, DEADLINE, || Ok(world.expect_task(task).ok()))?;
    found.map_or_else(|| world.expect_task(task), Ok)
}

fn down_keeps_data(world: &World) -> Result<()> {
    let task = world.add_task("survives down and up")?;
    let output = world.xtask(&["down"])?;
    ensure!(output.success, "down failed\n{}", output.tail);
    ensure!(world.pods()?.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string()), "pods stay after down");
    world.up()?;
    world.expect_task(&task)
}

fn kubeconfig_untouched(world: &World) -> Result<()> {
    world.up()?;
    let text = fs::read_to_string(&world.kubeconfig)?;
    ensure!(text == FOREIGN_KUBECONFIG, "the user's kubeconfig was changed:\n{text}");
    Ok(())
}
