//! `test-e2e`: the commands that a contributor types, against the real cluster, each profile in namespaces of its own.

mod contributor;
mod fourth;
mod leftovers;
mod published;
mod secrets;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::context::{Context, profiles};
use crate::http;
use crate::live;
use crate::pipeline;
use crate::process::{Output, Spawn, command};
use crate::stages::bootstrap;
use crate::stop::Stop;
use crate::tools::kubectl::Target;
use crate::tools::{Paths, cargo, kubectl};

const DEV: &str = "dev";
const COMMAND: Duration = Duration::from_secs(2400);
const SHORT: Duration = Duration::from_secs(60);
/// A kubeconfig as a user may have it: nothing of it may change, and nothing may be done to what it points at.
const FOREIGN_KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: production\ncontexts:\n- name: production\n  context: {cluster: production, user: me}\nclusters:\n- name: production\n  cluster: {server: \"https://127.0.0.1:1\"}\nusers:\n- name: me\n  user: {}\n";

/// A promise with the function that proves it.
type Scenario = (&'static str, fn(&World) -> Result<()>);

/// Scenarios that share a namespace, and are removed with it.
struct Group {
    name: String,
    /// What every command of the group is given.
    options: Vec<String>,
    scenarios: Vec<Scenario>,
}

struct World<'a> {
    /// With the group's profile, in the group's namespace.
    ctx: Context,
    tools: &'a Paths,
    spawn: Spawn,
    target: Target,
    options: Vec<String>,
    kubeconfig: PathBuf,
}

/// Runs all groups of scenarios, or those whose name holds `only`. What a group made is removed at its end, unless `keep`;
/// a failure leaves evidence in files, and the other groups run all the same. `helm` is the major version of another helm
/// than the one that was found.
pub fn run(ctx: &Context, keep: bool, only: Option<&str>, helm: Option<&str>) -> Result<()> {
    let mut names = profiles(&ctx.root);
    names.retain(|name| only.is_none_or(|only| name.contains(only)));
    if names.is_empty() {
        let told =
            format!("no profile is called {}: known are {}", only.unwrap_or_default(), profiles(&ctx.root).join(", "));
        return Err(Stop::usage(told).into());
    }
    // The contributor's own first: it is what the others build upon.
    names.sort_by_key(|name| name != DEV);
    let mut ready = pipeline::set_up(ctx)?;
    pipeline::ensure_cluster(ctx, &ready)?;
    fs::create_dir_all(&ctx.folders.cache)?;
    let kubeconfig = ctx.folders.cache.join("foreign-kubeconfig");
    fs::write(&kubeconfig, FOREIGN_KUBECONFIG)?;
    let mut spawn = ctx.spawn.clone();
    // The children set up their own environment: they get the user's, with a kubeconfig that would lead them astray.
    spawn.env = vec![("KUBECONFIG".to_string(), kubeconfig.display().to_string())];
    spawn.env.push(("HELM_KUBECONTEXT".to_string(), "production".to_string()));
    if let Some(major) = helm {
        ready.tools.helm = bootstrap::helm(ctx, major)?;
        // What comes first on PATH and can do the work is what the children take.
        let folder = Path::new(&ready.tools.helm.path).parent().context("helm lies in a folder")?;
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        spawn.env.push(("PATH".to_string(), path));
    }

    let (mut passed, mut all) = (0, 0);
    let mut failures = Vec::new();
    for name in names {
        let mut of_group = ctx.of_profile(&name)?;
        let group = match name.as_str() {
            DEV => {
                of_group.config.move_to(contributor::NAMESPACE).map_err(Stop::usage)?;
                Group { name, options: contributor::options(), scenarios: contributor::SCENARIOS.to_vec() }
            }
            _ => {
                let options = vec!["--profile".to_string(), name.clone()];
                Group { name, options, scenarios: published::scenarios(&of_group, &ready.tools)? }
            }
        };
        all += group.scenarios.len();
        let target = of_group.target();
        let (spawn, kubeconfig, options) = (spawn.clone(), kubeconfig.clone(), group.options.clone());
        let world = World { ctx: of_group, tools: &ready.tools, spawn, target, options, kubeconfig };
        match run_group(&world, &group, keep) {
            (count, Ok(())) => passed += count,
            (count, Err(error)) => {
                passed += count;
                failures.push(error);
            }
        }
        ctx.spawn.interrupt.check()?;
    }
    ctx.ui.say(&format!("end to end: {passed} passed, {} failed or not run", all - passed));
    let first = failures.pop();
    failures.iter().for_each(|error| ctx.ui.error(&format!("{error:#}")));
    first.map_or(Ok(()), Err)
}

/// Returns how many scenarios passed; the first that fails ends its group.
fn run_group(world: &World, group: &Group, keep: bool) -> (usize, Result<()>) {
    let ui = &world.ctx.ui;
    let mut passed = 0;
    let mut ended = remove(world);
    for (name, scenario) in &group.scenarios {
        if ended.is_err() {
            break;
        }
        let step = ui.step(format!("{}: {name}", group.name));
        ended = scenario(world).with_context(|| format!("end to end, {}: {name}", group.name));
        if ended.is_ok() {
            step.done("");
            passed += 1;
        }
    }
    if ended.is_err() {
        match keep_evidence(world) {
            Ok(folder) => ui.say(&format!("evidence is in {}", folder.display())),
            Err(error) => ui.say(&format!("no evidence could be kept: {error:#}")),
        }
    }
    // What an interruption left may stay: the next run removes it, and a person waits.
    if !keep && world.ctx.spawn.interrupt.check().is_ok() {
        ended = ended.and(remove(world));
    }
    (passed, ended)
}

impl World<'_> {
    fn xtask(&self, arguments: &[&str]) -> Result<Output> {
        let manifest = self.ctx.path("Cargo.toml");
        let all: Vec<&str> = self.options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.spawn.output(command(cargo::xtask(&manifest, &all), COMMAND))
    }

    fn up(&self) -> Result<Output> {
        let output = self.xtask(&["up"])?;
        ensure!(output.success, "up failed\n{}", output.tail);
        Ok(output)
    }

    /// `up` with values of a person's own, whether it ends well or not.
    fn up_with(&self, values: &str, arguments: &[&str]) -> Result<Output> {
        let file = self.ctx.staging("override.yaml");
        fs::create_dir_all(self.ctx.staging(""))?;
        fs::write(&file, values)?;
        let file = file.display().to_string();
        let all: Vec<&str> = ["up", "--override", &file].iter().chain(arguments).copied().collect();
        self.xtask(&all)
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
        Ok(task["id"].as_i64().with_context(|| format!("{url} answered {text}"))?.to_string())
    }

    fn expect_task(&self, id: &str) -> Result<()> {
        let url = format!("{}/api/tasks/{id}", self.url()?);
        self.get(&url).with_context(|| format!("the task is gone: {url}"))?;
        Ok(())
    }
}

fn remove(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    Ok(())
}

/// Saves what a person would look at first; Secrets are not among it. What one tool can't tell must not hide the rest.
fn keep_evidence(world: &World) -> Result<PathBuf> {
    let folder = world.ctx.folders.state.join("evidence").join(&world.ctx.config.profile);
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
