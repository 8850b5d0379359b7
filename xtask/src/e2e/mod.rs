//! `test-e2e`: the command that a contributor types, against the real cluster, in a namespace of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::context::Context;
use crate::http;
use crate::live;
use crate::pipeline;
use crate::process::{Output, Spawn, command};
use crate::stages::cluster;
use crate::stages::load;
use crate::tools::kubectl::Target;
use crate::tools::{Paths, cargo, docker, kubectl};

const NAMESPACE: &str = "todo-chatbot-e2e";
const RELEASE: &str = "todo-chatbot";
const SECRET: &str = "todo-chatbot-secrets";
const COMMAND: Duration = Duration::from_secs(2400);
const SHORT: Duration = Duration::from_secs(60);
/// A kubeconfig as a user may have it: nothing of it may change, and nothing may be done to what it points at.
const FOREIGN_KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: production\ncontexts:\n- name: production\n  context: {cluster: production, user: me}\nclusters:\n- name: production\n  cluster: {server: \"https://127.0.0.1:1\"}\nusers:\n- name: me\n  user: {}\n";

/// A promise with the function that proves it. Each starts from an application that runs, and leaves one.
type Scenario = (&'static str, fn(&World) -> Result<()>);

const SCENARIOS: [Scenario; 11] = [
    ("a fresh namespace comes up and answers", comes_up),
    ("a second up changes nothing", changes_nothing),
    ("what was scaled by hand is put right", scaled_by_hand),
    ("what was deleted by hand is put back", deleted_by_hand),
    ("what was added by hand is taken out", added_by_hand),
    ("an image gone from the node is loaded again", image_gone),
    ("helm's own test passes", helm_test),
    ("a broken Secret is told with pod and log, and mended", broken_secret),
    ("tasks survive the node being killed", node_killed),
    ("down keeps the tasks, up finds them", down_keeps_data),
    ("the user's kubeconfig is as it was", kubeconfig_untouched),
];

struct World<'a> {
    ctx: &'a Context,
    tools: Paths,
    spawn: Spawn,
    target: Target,
    kubeconfig: PathBuf,
}

/// Runs all scenarios in order. The namespace is removed at the end, unless `keep`; a failure leaves evidence in files.
pub fn run(ctx: &Context, keep: bool) -> Result<()> {
    let ready = pipeline::set_up(ctx)?;
    pipeline::ensure_cluster(ctx, &ready)?;
    fs::create_dir_all(&ctx.folders.cache)?;
    let kubeconfig = ctx.folders.cache.join("foreign-kubeconfig");
    fs::write(&kubeconfig, FOREIGN_KUBECONFIG)?;
    let mut spawn = ctx.spawn.clone();
    // The children set up their own environment: they get the user's, with a kubeconfig that would lead them astray.
    spawn.env = vec![("KUBECONFIG".to_string(), kubeconfig.display().to_string())];
    spawn.env.push(("HELM_KUBECONTEXT".to_string(), "production".to_string()));
    let target = Target { namespace: NAMESPACE.to_string(), ..ctx.target() };
    let world = World { ctx, tools: ready.tools, spawn, target, kubeconfig };
    remove_namespace(&world)?;

    let mut ended = Ok(());
    let mut passed = 0;
    for (name, scenario) in SCENARIOS {
        let step = ctx.ui.step(name);
        ended = scenario(&world).with_context(|| format!("end to end: {name}"));
        if ended.is_err() {
            break;
        }
        step.done("");
        passed += 1;
    }
    if ended.is_err() {
        match keep_evidence(&world) {
            Ok(folder) => ctx.ui.say(&format!("evidence is in {}", folder.display())),
            Err(error) => ctx.ui.say(&format!("no evidence could be kept: {error:#}")),
        }
    }
    let failed = SCENARIOS.len() - passed;
    ctx.ui.say(&format!("end to end: {passed} passed, {failed} failed or not run"));
    // What an interruption left may stay: the next run removes it, and a person waits.
    if !keep && ctx.spawn.interrupt.check().is_ok() {
        let removed = remove_namespace(&world);
        return ended.and(removed);
    }
    ended
}

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
    world.run(kubectl::scale(&world.tools.kubectl, &world.target, "deployment/backend", 2))?;
    let output = world.up()?;
    ensure!(output.tail.contains("replicas is 2 instead of 1"), "up did not say why it deployed\n{}", output.tail);
    let backend = &world.objects("deployment/backend")?[0];
    ensure!(backend["spec"]["replicas"] == 1, "backend still has {} replicas", backend["spec"]["replicas"]);
    Ok(())
}

fn deleted_by_hand(world: &World) -> Result<()> {
    world.run(kubectl::delete(&world.tools.kubectl, &world.target, &["service/mcp".to_string()], 30))?;
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

fn image_gone(world: &World) -> Result<()> {
    let node = &cluster::nodes(world.ctx, &world.tools)?[0];
    let images = || load::list(world.ctx, &world.tools, node);
    let pod = world
        .pods()?
        .into_iter()
        .find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "mcp")
        .context("no pod of mcp")?;
    let image = pod["spec"]["containers"][0]["image"].as_str().context("a container has an image")?.to_string();
    let id = images()?.get(&image).cloned().with_context(|| format!("the node does not list {image}"))?;
    world.run(docker::node_remove_image(&world.tools.docker, node, &image))?;
    ensure!(!images()?.contains_key(&image), "{image} could not be removed from the node");
    world.up()?;
    ensure!(images()?.get(&image) == Some(&id), "{image} is not on the node again as {id}");
    Ok(())
}

fn helm_test(world: &World) -> Result<()> {
    world.run(crate::tools::helm::test(&world.tools.helm, &world.target, RELEASE, 120))?;
    Ok(())
}

fn broken_secret(world: &World) -> Result<()> {
    let name = format!("secret/{SECRET}");
    let secret = world.objects(&name)?.pop().context("the Secret is there")?;
    let good = secret["data"]["DATABASE_URL"].clone();
    // «nonsense» in base64: the backend must refuse it at start.
    world.patch(&name, "merge", &json!({"data": {"DATABASE_URL": "bm9uc2Vuc2U="}}))?;
    let output = world.xtask(&["up"])?;
    world.patch(&name, "merge", &json!({"data": {"DATABASE_URL": good}}))?;
    ensure!(!output.success, "up called a backend well that cannot start");
    for word in ["pod backend-", "crashed", "its last log lines:", "DATABASE_URL", "Next: kubectl"] {
        ensure!(output.tail.contains(word), "the failure does not tell «{word}»\n{}", output.tail);
    }
    world.up().map(drop)
}

fn node_killed(world: &World) -> Result<()> {
    let task = world.add_task("survives a killed node")?;
    world.run(docker::kill(&world.tools.docker, &world.ctx.config.cluster.name))?;
    world.up()?;
    world.expect_task(&task)
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
    let text = fs::read_to_string(&world.kubeconfig)?;
    ensure!(text == FOREIGN_KUBECONFIG, "the user's kubeconfig was changed:\n{text}");
    Ok(())
}

impl World<'_> {
    fn xtask(&self, arguments: &[&str]) -> Result<Output> {
        let manifest = self.ctx.path("Cargo.toml");
        let all: Vec<&str> = ["--namespace", NAMESPACE].iter().chain(arguments).copied().collect();
        self.spawn.output(command(cargo::xtask(&manifest, &all), COMMAND))
    }

    fn up(&self) -> Result<Output> {
        let output = self.xtask(&["up"])?;
        ensure!(output.success, "up failed\n{}", output.tail);
        Ok(output)
    }

    /// Runs a tool of the test's own, in our environment.
    fn run(&self, argv: Vec<String>) -> Result<String> {
        self.ctx.spawn.run(command(argv, SHORT * 3))
    }

    fn objects(&self, kinds: &str) -> Result<Vec<Value>> {
        live::parse_objects(&self.run(kubectl::get(&self.tools.kubectl, &self.target, kinds, None))?)
    }

    fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.objects("pods")?;
        Ok(pods.into_iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"].is_string()).collect())
    }

    fn patch(&self, name: &str, kind: &str, patch: &Value) -> Result<()> {
        let told = kubectl::patch(&self.tools.kubectl, &self.target, name, kind);
        self.ctx.spawn.run(command(told, SHORT).stdin(patch.to_string()))?;
        Ok(())
    }

    /// What must not change when nothing is to be done: the release's revisions and the pods' identities.
    fn fingerprint(&self) -> Result<String> {
        let pods = self.pods()?.into_iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
        let mut lines: Vec<String> =
            pods.map(|pod| format!("{} {}", pod["metadata"]["name"], pod["metadata"]["uid"])).collect();
        lines.extend(self.objects("secrets")?.iter().map(|secret| secret["metadata"]["name"].to_string()));
        lines.sort();
        Ok(lines.join("\n"))
    }

    fn url(&self) -> Result<String> {
        let services = self.objects("services")?;
        let port = services.iter().find_map(|service| service["spec"]["ports"][0]["nodePort"].as_u64());
        Ok(format!("http://127.0.0.1:{}", port.context("no Service has a node port")?))
    }

    fn get(&self, url: &str) -> Result<String> {
        let mut response = http::agent(SHORT).get(url).call()?;
        let text = response.body_mut().read_to_string()?;
        ensure!(response.status().is_success(), "{url} answered {}: {text}", response.status());
        Ok(text)
    }

    fn add_task(&self, title: &str) -> Result<String> {
        let url = format!("{}/api/tasks", self.url()?);
        let request = http::agent(SHORT).post(&url).header("content-type", "application/json");
        let text = request.send(json!({ "title": title }).to_string())?.body_mut().read_to_string()?;
        let task: Value = serde_json::from_str(&text).with_context(|| format!("{url} answered {text}"))?;
        Ok(task["id"].as_str().with_context(|| format!("{url} answered {text}"))?.to_string())
    }

    fn expect_task(&self, id: &str) -> Result<()> {
        let url = format!("{}/api/tasks/{id}", self.url()?);
        self.get(&url).with_context(|| format!("the task is gone: {url}"))?;
        Ok(())
    }
}

fn remove_namespace(world: &World) -> Result<()> {
    let names = [format!("namespace/{NAMESPACE}")];
    world.ctx.spawn.run(command(kubectl::delete(&world.tools.kubectl, &world.target, &names, 120), SHORT * 3))?;
    Ok(())
}

/// Saves what a person would look at first; Secrets are not among it. What one tool can't tell must not hide the rest.
fn keep_evidence(world: &World) -> Result<PathBuf> {
    let folder = world.ctx.folders.state.join("evidence").join(NAMESPACE);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let spawn = world.ctx.spawn.uninterrupted();
    let told = |argv| match spawn.output(command(argv, SHORT)) {
        Ok(output) if output.success => output.stdout,
        Ok(output) => output.tail,
        Err(error) => format!("{error:#}"),
    };
    for kinds in ["pods", "deployments,statefulsets,services,configmaps", "events", "persistentvolumeclaims"] {
        let text = told(kubectl::get(&world.tools.kubectl, &world.target, kinds, None));
        fs::write(folder.join(format!("{}.json", kinds.replace(',', "-"))), text)?;
    }
    for pod in world.pods().unwrap_or_default() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            for (previous, ending) in [(false, "log"), (true, "previous.log")] {
                let text = told(kubectl::logs(&world.tools.kubectl, &world.target, name, container, previous, 1000));
                fs::write(folder.join(format!("{name}-{container}.{ending}")), text)?;
            }
        }
    }
    Ok(folder)
}
