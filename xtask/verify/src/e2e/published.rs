//! What each published system is held to: it comes up, obeys its rules, upgrades, rolls back and goes away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::e2e::app;
use crate::e2e::scenario::Scenario;
use crate::e2e::world::{World, tells};
use crate::lanes::schedule::Takes;
use crate::tools::vegeta;
use xtask::config::{ConfigErrors, to_json, yaml};
use xtask::live;
use xtask::run::call::{DEADLINE, call};
use xtask::run::context::Project;
use xtask::run::poll;
use xtask::stages::setup;
use xtask::tools::{helm, kubectl};

pub const COMES_UP: Scenario = Scenario::new("comes up and answers", comes_up).taking(Takes::NodePorts);
pub const GOES_AWAY: Scenario = Scenario::new("goes away and leaves nothing", goes_away).taking(Takes::Nothing);

/// What a profile that runs is held to; some are for profiles that have what they are about.
pub fn scenarios(project: &Project) -> Result<Vec<Scenario>> {
    let quiet = |name, prove| Scenario::new(name, prove).taking(Takes::Nothing);
    let mut all = vec![quiet("obeys every rule of its data model", obeys), quiet("helm's own tests pass", helm_tests)];
    all.push(quiet("the page chats, keeps tasks and shows them in two tabs and on a phone", app::serves_its_user));
    if project.config.cluster.addons.iter().any(|addon| addon == METRICS) {
        all.push(quiet("an autoscaler gets its measures, and nobody works against it", scales));
    }
    for file in project.config.releases.values().flat_map(|release| &release.values) {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(project.root.join(file)).with_context(|| format!("cannot read {name}"))?;
        let values = yaml::parse_one(&name, &text).map_err(|problem| ConfigErrors(vec![problem]))?;
        if has_load_balancer(&to_json(&values)) {
            all.push(quiet("a LoadBalancer answers at the address that a tunnel gives it", tunnel));
        }
    }
    let loaded = Scenario::new("upgrades and rolls back under load, and loses no request", upgrades);
    all.push(loaded.taking(Takes::Load));
    all.push(Scenario::new("what fails goes back, with what needs it", fails));
    Ok(all)
}

/// Whether values make a Service a LoadBalancer, wherever it stands in them.
fn has_load_balancer(values: &Value) -> bool {
    match values {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|kind| kind == "LoadBalancer") || fields.values().any(has_load_balancer)
        }
        _ => false,
    }
}

const METRICS: &str = "metrics-server";
/// What cannot be looked at on a machine without a database of vulnerabilities, which nobody fetches for a test.
const NO_DATABASE: [&str; 2] = ["RustSec advisories: there is no database", "Debian security tracker: set scan.debian"];
/// Requests a second, of each of two kinds: over kept connections, and over new ones.
const RATE: u32 = 20;
/// How many lost requests a failure names.
const SHOWN: usize = 5;
/// The load ends when the test says so; this is for a test that can't.
const LOAD: Duration = Duration::from_secs(600);

fn comes_up(world: &World) -> Result<()> {
    let output = world.xtask(&["up", "--yes"])?;
    ensure!(output.success, "up failed\n{}", output.tail);
    let again = world.xtask(&["up"])?;
    ensure!(again.success, "a second up failed\n{}", again.tail);
    ensure!(again.tail.contains("nothing to deploy"), "a second up changed something\n{}", again.tail);
    Ok(())
}

fn obeys(world: &World) -> Result<()> {
    let output = world.xtask(&["validate", "--live"])?;
    ensure!(output.success, "validate --live found something\n{}\n{}", output.stdout, output.tail);
    let unseen = output.stdout.lines().filter(|line| line.starts_with('–'));
    let unseen: Vec<&str> = unseen.filter(|line| !NO_DATABASE.iter().any(|known| line.contains(known))).collect();
    ensure!(unseen.is_empty(), "not everything could be looked at:\n{}", unseen.join("\n"));
    // Which rule was looked at where is worth more than that none was broken.
    let report = world.ctx.folders.logs().join(format!("rules-{}.txt", world.ctx.config.profile));
    std::fs::write(&report, &output.stdout)?;
    world.remark(format!("what was looked at is in {}", report.display()));
    Ok(())
}

fn helm_tests(world: &World) -> Result<()> {
    for scope in world.ctx.scopes() {
        world.ctx.run(helm::test(&scope.target, &scope.release, DEADLINE * 2))?;
    }
    Ok(())
}

/// A setting changes without an image being built; every release that runs a service gets a revision of its own.
fn upgrades(world: &World) -> Result<()> {
    let before = revisions(world)?;
    let mut load = Load::begin(world)?;
    let output = world.up_with(&changed(world, "env", "{LOG_LEVEL: debug}"), &[])?;
    ensure!(output.success, "the upgrade failed\n{}", output.tail);
    ensure!(!output.tail.contains("✓ build"), "a changed setting built an image\n{}", output.tail);
    let upgraded = revisions(world)?;
    ensure!(
        upgraded.iter().zip(&before).all(|(new, old)| new > old),
        "not every release went on: {before:?}, {upgraded:?}"
    );
    let output = world.xtask(&["rollback"])?;
    ensure!(output.success, "the rollback failed\n{}", output.tail);
    ensure!(revisions(world)? > upgraded, "a rollback is a revision of its own");
    let (sent, lost) = load.end(world)?;
    let (profile, count) = (&world.ctx.config.profile, lost.len());
    world.remark(format!("{profile}: {sent} requests during an upgrade and a rollback, {count} lost"));
    ensure!(sent > 0, "nothing was asked during the upgrade");
    let first = lost.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    ensure!(lost.is_empty(), "{count} of {sent} requests were lost during the upgrade and the rollback:\n{first}");
    // Where nothing is changed by hand, `up` finds nothing to do after a rollback.
    let output = world.xtask(&["up"])?;
    ensure!(
        output.success && output.tail.contains("nothing to deploy"),
        "up after a rollback deployed\n{}",
        output.tail
    );
    Ok(())
}

/// The backend can't start: its release goes back, and those that need it are not begun.
fn fails(world: &World) -> Result<()> {
    let before = revisions(world)?;
    let output = world.up_with(&changed(world, "env", "{DATABASE_MAX_CONNECTIONS: many}"), &[])?;
    ensure!(!output.success, "up called a backend well that cannot start\n{}", output.tail);
    tells(&output, &["DATABASE_MAX_CONNECTIONS", "is back at revision"])?;
    let releases: Vec<&String> = own_releases(world).collect();
    if releases.len() > 1 {
        ensure!(output.tail.contains("skipped, because"), "the failure does not say what was skipped\n{}", output.tail);
        let changed = revisions(world)?.iter().zip(&before).filter(|(new, old)| new != old).count();
        ensure!(changed == 1, "{changed} of {releases:?} were changed for a failure in the first");
    }
    let output = world.xtask(&["smoke"])?;
    ensure!(output.success, "what served before does not serve\n{}", output.tail);
    Ok(())
}

fn scales(world: &World) -> Result<()> {
    let values = changed(world, "hpa", "{enabled: true, minReplicas: 1, maxReplicas: 2, cpuPercent: 80}");
    let output = world.up_with(&values, &[])?;
    ensure!(output.success, "the upgrade failed\n{}", output.tail);
    let target = world.ctx.target();
    let mut last = Value::Null;
    let active = poll::until(&world.ctx.spawn.interrupt, DEADLINE * 4, || {
        let all = world.run(kubectl::get(&target, "horizontalpodautoscalers", None))?;
        let is_active = |one: &Value| {
            let conditions = one["status"]["conditions"].as_array().into_iter().flatten();
            conditions.clone().any(|about| about["type"] == "ScalingActive" && about["status"] == "True")
        };
        let well = !all.is_empty() && all.iter().all(is_active);
        last = all.into_iter().map(|one| one["status"].clone()).collect();
        Ok(well.then_some(()))
    })?;
    ensure!(active.is_some(), "the autoscalers get no measures: {last}");
    let output = world.up_with(&values, &[])?;
    ensure!(
        output.success && output.tail.contains("nothing to deploy"),
        "up works against the autoscalers\n{}",
        output.tail
    );
    Ok(())
}

fn tunnel(world: &World) -> Result<()> {
    let program = std::env::current_exe()?.display().to_string();
    let all = world.options.iter().cloned().chain(["tunnel".to_string()]);
    let running = world.ctx.spawn.background(call(std::iter::once(program).chain(all).collect()), |_| {})?;
    let address = poll::until(&world.ctx.spawn.interrupt, DEADLINE * 2, || {
        ensure!(!running.has_ended(), "the tunnel ended by itself");
        let all = live::endpoints(&world.ctx)?;
        Ok(all.into_values().find_map(|one| Some(format!("http://{}:{}", one.address?, one.port))))
    })?;
    let url = address.context("no LoadBalancer was given an address")?;
    let answered = poll::until(&world.ctx.spawn.interrupt, DEADLINE, || Ok(world.get(&url).ok()))?;
    let page = answered.with_context(|| format!("nobody answers at {url}"))?;
    ensure!(page.contains("<title>"), "{url} answers something else: {page}");
    running.interrupt();
    let gone = poll::until(&world.ctx.spawn.interrupt, DEADLINE, || {
        let all = live::endpoints(&world.ctx)?;
        Ok(all.values().all(|one| one.address.is_none()).then_some(()))
    })?;
    ensure!(gone.is_some(), "the tunnel is closed, and its address is still there");
    Ok(())
}

fn goes_away(world: &World) -> Result<()> {
    let output = world.xtask(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    for name in world.ctx.config.namespaces() {
        let target = world.ctx.target_in(&name);
        let releases = world.run(helm::list(&target))?;
        ensure!(releases.is_empty(), "{releases:?} are still in namespace {name}");
        let kinds = "deployments,statefulsets,pods,services,secrets,persistentvolumeclaims,networkpolicies,poddisruptionbudgets,ingresses,horizontalpodautoscalers";
        let left = world.run(kubectl::get(&target, kinds, None))?;
        let ours = |object: &&Value| object["metadata"]["labels"]["component"] != "apiserver";
        let left: Vec<String> = left.iter().filter(ours).map(|one| one["metadata"]["name"].to_string()).collect();
        ensure!(left.is_empty(), "{} are still in namespace {name}", left.join(", "));
        let volumes = world.run(kubectl::get(&target, "persistentvolumes", None))?;
        let left = volumes.iter().filter(|one| one["spec"]["claimRef"]["namespace"] == name.as_str()).count();
        ensure!(left == 0, "{left} volumes of namespace {name} are left");
    }
    Ok(())
}

/// The releases of the application, without the database.
fn own_releases(world: &World) -> impl Iterator<Item = &String> {
    let own = &world.ctx.config.namespace;
    world.ctx.config.releases.iter().filter(move |(_, release)| release.namespace == *own).map(|(name, _)| name)
}

fn revisions(world: &World) -> Result<Vec<u64>> {
    let last = |name: &String| {
        let last = live::last_revision(&world.ctx, &world.ctx.scope(name))?;
        Ok(last.with_context(|| format!("{name} is not installed"))?.number)
    };
    own_releases(world).map(last).collect()
}

/// Values in which every service of the application has `key`.
fn changed(world: &World, key: &str, value: &str) -> String {
    let config = &world.ctx.config;
    let own: Vec<&String> = own_releases(world).collect();
    match own.as_slice() {
        [only] => {
            let services = config.releases[*only].services.iter();
            let lines: Vec<String> = services.map(|name| format!("  {name}:\n    {key}: {value}\n")).collect();
            format!("services:\n{}", lines.concat())
        }
        several => several.iter().map(|name| format!("{name}:\n  {key}: {value}\n")).collect(),
    }
}

/// Requests to the service that is open, from the beginning to the end of something.
struct Load {
    program: String,
    running: Vec<(xtask::run::process::Background, String)>,
}

impl Load {
    fn begin(world: &World) -> Result<Load> {
        let [program] = setup::programs(&world.ctx, ["vegeta"])?;
        let url =
            live::open_url(&world.ctx.config, &live::endpoints(&world.ctx)?).context("no URL answers from outside")?;
        let targets = world.ctx.staging("targets");
        std::fs::write(&targets, format!("GET {url}/\nGET {url}/api/auth/session\n"))?;
        let mut running = Vec::new();
        for keep_alive in [true, false] {
            let results = world.ctx.staging(&format!("results-{keep_alive}")).display().to_string();
            let call =
                vegeta::attack(&program, &targets.display().to_string(), &results, RATE, keep_alive, LOAD.as_secs());
            running.push((world.ctx.spawn.background(call, |_| {})?, results));
        }
        Ok(Load { program, running })
    }

    /// How many requests were sent, and those of them that were not answered with 200.
    fn end(&mut self, world: &World) -> Result<(u64, Vec<String>)> {
        let (mut sent, mut lost) = (0, Vec::new());
        for (attack, results) in self.running.drain(..) {
            ensure!(!attack.has_ended(), "the load ended by itself");
            // Interrupted, it writes what it has.
            attack.interrupt();
            let report = world.run(vegeta::report(&self.program, &results))?;
            let (of_this, well) = vegeta::parse_report(&report).with_context(|| format!("vegeta printed {report}"))?;
            sent += of_this;
            if of_this > well {
                let encoded = format!("{results}.json");
                world.run(vegeta::encode(&self.program, &results, &encoded))?;
                lost.extend(vegeta::parse_lost(&std::fs::read_to_string(&encoded)?));
            }
        }
        Ok((sent, lost))
    }
}
