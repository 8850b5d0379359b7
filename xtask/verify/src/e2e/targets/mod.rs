//! A cluster that others made, as a target: the same cluster, reached by a kubeconfig of a team's, and a registry with TLS and
//! a password. Nothing but that kubeconfig says where it is.

mod argocd;
mod builder;
mod operator;
mod pushes;
pub mod registry;
mod relay;
mod secrets;

use std::fs;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::scenario::Scenario;
use crate::e2e::world::{Begun, World, tells};
use crate::lanes::schedule::Takes;
use registry::Registry;
use relay::Relay;
use xtask::model::cluster::Target;
use xtask::run::call::{Call, DEADLINE, argv, call};
use xtask::run::poll;
use xtask::run::process::{Output, Spawn};
use xtask::tools::{helm, kubectl};

pub const NAMESPACE: &str = "todo-chatbot-team";
/// One that others made.
const THEIRS: &str = "todo-chatbot-theirs";
/// The name of the target, and of the Secret with which its pods pull.
const TEAM: &str = "team";
const PULL: &str = "team-registry";
/// How long the API server is away in the middle of a rollout.
const AWAY: Duration = Duration::from_secs(30);

/// While one runs, the node's images have names of its registry: what others ask of images would be answered otherwise.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("a target gets its images from a registry, by their digests", comes_up).taking(Takes::All),
    Scenario::new("another cluster in a target's place is refused", another_cluster).taking(Takes::All),
    Scenario::new("an expired token and a protected target change nothing", no_leave).taking(Takes::All),
    Scenario::new("rights to one namespace are enough for a target", one_namespace).taking(Takes::All),
    Scenario::new("of two at once the second sees who is at work", two_at_once).taking(Takes::All),
    Scenario::new("a registry that refuses, is slow, dies or is full is reported, and what it has stays", pushes::fail)
        .taking(Takes::All),
    Scenario::new("Secrets that others make are taken as they are, and needed whole", secrets::of_others)
        .taking(Takes::All),
    Scenario::new("an External Secrets operator takes what a package has for it", secrets::of_an_operator)
        .taking(Takes::All)
        .weekly(),
    Scenario::new("an External Secrets operator makes the Secrets of a package", operator::makes)
        .taking(Takes::All)
        .weekly(),
    Scenario::new("a builder elsewhere makes and pushes what a registry lacks", builder::builds)
        .taking(Takes::All)
        .weekly(),
    Scenario::new("a package is deployed by helm alone", packaged).taking(Takes::All),
    Scenario::new("a package is applied by Argo CD", argocd::applies).taking(Takes::All).weekly(),
    Scenario::new("a target's API server is away in the middle of a rollout", api_away).taking(Takes::All),
];

/// A copy of the project with a target, and what leads to it.
struct Team<'a> {
    world: &'a World,
    registry: Registry<'a>,
    root: PathBuf,
    kubeconfig: PathBuf,
    spawn: Spawn,
}

impl<'a> Team<'a> {
    fn new(world: &'a World) -> Result<Team<'a>> {
        let registry = Registry::start(world)?;
        let root = world.project(TEAM)?;
        let kubeconfig = root.join("team.kubeconfig");
        let mut spawn = world.spawn.clone();
        spawn.env.push(("DOCKER_CONFIG".to_string(), registry.docker_config()));
        let team = Team { world, registry, root, kubeconfig, spawn };
        let config = team.own_kubeconfig()?;
        team.write(&config)?;
        let registry = &team.registry.address;
        let table = format!(
            "\n[targets.{TEAM}]\nkubeconfig = \"team.kubeconfig\"\ncontext = \"{TEAM}\"\nregistry = \"{registry}/todo\"\npull_secret = \"{PULL}\"\nmake_pull_secret = true\n"
        );
        let file = team.root.join("xtask.toml");
        fs::write(&file, format!("{}{table}", fs::read_to_string(&file)?))?;
        team.forget_pull_secret()?;
        team.well(&["target", "forget", TEAM])?;
        team.well(&["target", "add", TEAM])?;
        Ok(team)
    }

    /// The registry's port is another in each scenario.
    fn forget_pull_secret(&self) -> Result<()> {
        match self.world.objects(&format!("secret/{PULL}"))?.is_empty() {
            true => Ok(()),
            false => self.world.delete(&format!("secret/{PULL}")),
        }
    }

    /// The way to the cluster that minikube wrote, whole in one file and under another name.
    fn own_kubeconfig(&self) -> Result<Value> {
        let all = self.world.run(kubectl::whole_config(&self.world.target))?;
        let mut config: Value = serde_json::from_str(&all)?;
        for list in ["clusters", "contexts", "users"] {
            config[list][0]["name"] = TEAM.into();
        }
        config["contexts"][0]["context"] = json!({"cluster": TEAM, "user": TEAM});
        config["current-context"] = "production".into();
        Ok(config)
    }

    fn write(&self, config: &Value) -> Result<()> {
        Ok(fs::write(&self.kubeconfig, config.to_string())?)
    }

    /// A command on the target.
    fn on(&self, arguments: &[&str]) -> Result<Output> {
        let all: Vec<&str> = arguments.iter().copied().chain(["--target", TEAM]).collect();
        let output = self.world.xtask_by(&self.spawn, &self.root, &all)?;
        registry::is_secret(&output.tail)?;
        Ok(output)
    }

    /// One that must succeed.
    fn up(&self) -> Result<Output> {
        let output = self.on(&["up"])?;
        ensure!(output.success, "up on the target failed\n{}", output.tail);
        Ok(output)
    }

    /// A command without a target, which must succeed.
    fn well(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.world.xtask_by(&self.spawn, &self.root, arguments)?;
        ensure!(output.success, "{} failed\n{}", arguments.join(" "), output.tail);
        Ok(output)
    }

    /// Fails unless `up` ends with an exit code, says these words and changes nothing.
    fn is_refused(&self, code: i32, words: &[&str]) -> Result<()> {
        self.refuses(&["up"], code, words)
    }

    /// The same of any command.
    fn refuses(&self, command: &[&str], code: i32, words: &[&str]) -> Result<()> {
        let (before, command_line) = (self.world.fingerprint()?, command.join(" "));
        let output = self.on(command)?;
        let Output { code: ended, tail, .. } = &output;
        ensure!(*ended == Some(code), "{command_line} ended with {ended:?}, and {code} was wanted\n{tail}");
        tells(&output, words)?;
        ensure!(self.world.fingerprint()? == before, "a refused {command_line} changed something\n{tail}");
        Ok(())
    }

    /// Makes the content of an image another.
    fn change(&self, line: &str) -> Result<()> {
        let file = self.root.join("services/frontend/assets/app.css");
        let text = fs::read_to_string(&file)?;
        Ok(fs::write(&file, format!("{text}/* {line} */\n"))?)
    }
}

fn comes_up(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.registry.empty()?;
    let output = team.up()?;
    tells(&output, &["push todo-chatbot-backend", "target team"])?;
    for pod in world.pods()?.iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] != "test") {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let id = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap_or_default();
        let digest = image.split_once('@').map(|(_, digest)| digest).context("an image is not pinned")?;
        ensure!(
            image.starts_with(&format!("{}/todo/", team.registry.address)),
            "{image} is of no registry of the team's"
        );
        ensure!(id.ends_with(digest), "{image} runs as {id}");
    }
    let before = world.fingerprint()?;
    let again = team.up()?;
    ensure!(
        !again.tail.contains("push ") && world.fingerprint()? == before,
        "a second up changed something\n{}",
        again.tail
    );
    tells(&team.on(&["plan"])?, &["nothing to do"])?;
    for command in [&["status"][..], &["smoke"], &["history"], &["logs", "backend", "--tail", "5"], &["target", "list"]]
    {
        let output = if command[0] == "target" { team.well(command)? } else { team.on(command)? };
        ensure!(output.success, "{} failed on the target\n{}", command.join(" "), output.tail);
    }
    team.change("of another revision")?;
    tells(&team.on(&["plan"])?, &["push", "lacks it"])?;
    let changed = team.up()?;
    ensure!(
        changed.tail.contains("push todo-chatbot-frontend") && !changed.tail.contains("push todo-chatbot-backend"),
        "{}",
        changed.tail
    );
    let output = team.on(&["rollback"])?;
    ensure!(output.success, "rollback failed on the target\n{}", output.tail);
    // What is of this machine takes no target.
    let output = team.on(&["dev"])?;
    ensure!(output.code == Some(2), "dev took a target\n{}", output.tail);
    Ok(())
}

fn another_cluster(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.up()?;
    let config = team.own_kubeconfig()?;
    // The registry's certificate is a good one, and another's.
    let mut other = config.clone();
    other["clusters"][0]["cluster"]["certificate-authority-data"] = team.registry.certificate()?.into();
    team.write(&other)?;
    team.is_refused(3, &["another cluster answers in place of target team", "target forget team"])?;
    let mut open = config.clone();
    open["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = true.into();
    team.write(&open)?;
    team.is_refused(3, &["insecure-skip-tls-verify"])?;
    // A cluster that was made anew by the same authority has another UID.
    team.write(&config)?;
    let pin = world.ctx.folders.pin(&world.ctx.config.project, TEAM);
    let noted = fs::read_to_string(&pin)?;
    let mut another: Value = serde_json::from_str(&noted)?;
    another["uid"] = "00000000-0000-0000-0000-000000000000".into();
    fs::write(&pin, another.to_string())?;
    team.is_refused(3, &["kube-system has the UID", "nothing was changed"])?;
    fs::write(&pin, noted)?;
    team.well(&["target", "forget", TEAM])?;
    team.is_refused(3, &["nothing is known of target team", "target add team"])
}

fn no_leave(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.up()?;
    let config = team.own_kubeconfig()?;
    let mut expired = config.clone();
    expired["users"][0]["user"] = json!({"token": "of-yesterday"});
    team.write(&expired)?;
    team.is_refused(3, &["refuses the credentials of context team", "Next: renew them"])?;
    team.write(&config)?;
    let file = team.root.join("xtask.toml");
    fs::write(&file, format!("{}protected = true\n", fs::read_to_string(&file)?))?;
    team.is_refused(2, &["target team is protected", "--confirm team"])?;
    let output = team.on(&["up", "--confirm", TEAM])?;
    ensure!(output.success, "up --confirm failed\n{}", output.tail);
    let output = team.on(&["status"])?;
    ensure!(output.success, "status asked for a confirmation\n{}", output.tail);
    Ok(())
}

fn one_namespace(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    let (account, theirs) = ("deployer", Target { namespace: THEIRS.to_string(), ..world.target.clone() });
    let binding = |role: &str, kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("{account}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": THEIRS}],
        })
    };
    // As an administrator hands a namespace over: with rights in it, and with nothing of ours.
    let made = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": THEIRS}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "leases"},
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}],
        }),
        binding("admin", "ClusterRole"),
        binding("leases", "Role"),
    ];
    let delete = || world.run(kubectl::delete(&theirs, &[format!("namespace/{THEIRS}")], DEADLINE * 2));
    delete()?;
    let proven = (|| {
        made.iter().try_for_each(|object| world.run(kubectl::create(&theirs).stdin(object.to_string())).map(drop))?;
        let mut config = team.own_kubeconfig()?;
        config["users"][0]["user"] = json!({"token": world.run(kubectl::create_token(&theirs, account))?});
        team.write(&config)?;
        let on = |arguments: &[&str]| -> Result<Output> {
            let all: Vec<&str> = arguments.iter().copied().chain(["--target", TEAM, "--namespace", THEIRS]).collect();
            let output = world.typed_in(&team.spawn, &team.root, &all)?;
            ensure!(output.success, "{} failed with rights to one namespace\n{}", arguments.join(" "), output.tail);
            Ok(output)
        };
        team.well(&["target", "forget", TEAM])?;
        tells(&team.well(&["target", "add", TEAM])?, &["its UID can't be read with these rights"])?;
        on(&["up"])?;
        let again = on(&["up"])?;
        tells(&again, &["nothing to deploy"])?;
        for command in [&["status"][..], &["plan"], &["smoke"], &["logs", "mcp"], &["down"]] {
            on(command)?;
        }
        Ok(())
    })();
    delete()?;
    proven
}

fn two_at_once(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.up()?;
    team.change("of the first")?;
    let first = team.world.begin_by(&team.spawn, &team.root, &["up", "--target", TEAM])?;
    let refused = (|| {
        let has_lease = || Ok(holder(world)?.then_some(()));
        poll::until(&world.ctx.spawn.interrupt, DEADLINE * 2, has_lease)?.context("the first run took no lease")?;
        // On another machine the file that keeps runs of this one apart is not there.
        let elsewhere = world.ctx.folders.cache.join("another-machine");
        let output = another_machine(&team, &elsewhere, &["up", "--target", TEAM])?;
        ensure!(output.code == Some(3), "a second run went on beside the first\n{}", output.tail);
        tells(&output, &["another run is at work on namespace", "cargo xtask", "since"])?;
        let output = another_machine(&team, &elsewhere, &["status", "--target", TEAM])?;
        tells(&output, &["another run is at work"])
    })();
    let output = first.end(world)?;
    refused?;
    ensure!(output.success, "the first run failed\n{}", output.tail);
    ensure!(!holder(world)?, "the lease was not given back");
    Ok(())
}

fn packaged(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    // The Secrets stay when the release goes.
    team.up()?;
    let output = team.on(&["down"])?;
    ensure!(output.success, "down failed on the target\n{}", output.tail);
    let folder = world.ctx.folders.cache.join("packaged");
    let to = folder.display().to_string();
    let package = |more: &[&str]| team.on(&[&["package", to.as_str()], more].concat());
    let made = package(&["--gitops", "flux"])?;
    ensure!(made.success, "package failed\n{}", made.tail);
    let again = package(&["--gitops", "flux"])?;
    ensure!(again.success && !again.tail.contains("build "), "a second package built something\n{}", again.tail);
    let lock: Value = serde_json::from_str(&fs::read_to_string(folder.join("images.lock.json"))?)?;
    let charts = lock["charts"].as_object().context("a package has charts")?;
    let ca = team.registry.authority();
    for (release, chart) in charts {
        let [name, version] = ["chart", "version"].map(|key| chart[key].as_str().unwrap_or_default());
        let chart = format!("oci://{}/todo/charts/{name}", team.registry.address);
        let (file, namespace) = (folder.join(format!("values/{release}.yaml")), world.target.namespace.as_str());
        let (values, at) = (file.display().to_string(), helm::at(&world.target));
        let call: Call = call(argv!(
            "helm upgrade {release} {chart} --version {version} --install --wait --timeout 180s --ca-file {ca} {at...} --values {values}"
        ));
        let output = team.spawn.output(call.within(DEADLINE * 4))?;
        ensure!(output.success, "helm cannot deploy {release} into {namespace}\n{}", output.tail);
    }
    for pod in world.pods()? {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        ensure!(image.contains("/todo/") && image.contains("@sha256:"), "{image} is not pinned");
    }
    for command in [&["smoke"][..], &["status"]] {
        let output = team.on(command)?;
        ensure!(output.success, "{} failed after helm alone\n{}", command.join(" "), output.tail);
    }
    let same = package(&["--check"])?;
    ensure!(same.success, "a package is not what it was made of\n{}", same.tail);
    team.change("after the package")?;
    let other = package(&["--check"])?;
    ensure!(other.code == Some(1), "package --check ended with {:?}\n{}", other.code, other.tail);
    tells(&other, &["image frontend: its sources changed", "Next: cargo xtask package"])?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn api_away(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    let mut config = team.own_kubeconfig()?;
    let server = config["clusters"][0]["cluster"]["server"].as_str().context("a cluster has a server")?.to_string();
    let address = server.trim_start_matches("https://").to_socket_addrs()?.next().context("no address")?;
    let relay = Relay::new("127.0.0.1", address)?;
    config["clusters"][0]["cluster"]["server"] = format!("https://127.0.0.1:{}", relay.port).into();
    team.write(&config)?;
    team.up()?;
    team.change("while the server goes away")?;
    let run: Begun = world.begin_by(&team.spawn, &team.root, &["up", "--target", TEAM])?;
    let rolls = || Ok((run.has_said("roll out") || run.has_ended()).then_some(()));
    poll::until(&world.ctx.spawn.interrupt, DEADLINE * 3, rolls)?;
    relay.close();
    std::thread::sleep(AWAY);
    relay.open();
    let output = run.end(world)?;
    ensure!(output.success, "up did not outlast its server's absence\n{}", output.tail);
    let before = world.fingerprint()?;
    team.up()?;
    ensure!(world.fingerprint()? == before, "up changed something after the server was back");
    Ok(())
}

/// Whether somebody has the lease of the namespace.
fn holder(world: &World) -> Result<bool> {
    let leases = world.objects("leases")?;
    Ok(leases.iter().any(|lease| lease["spec"]["holderIdentity"].as_str().is_some_and(|by| !by.is_empty())))
}

/// The same command where nothing is known of this machine's runs but by what a target is known.
fn another_machine(team: &Team, state_home: &std::path::Path, arguments: &[&str]) -> Result<Output> {
    let (project, home) = (&team.world.ctx.config.project, &team.world.ctx.config.home);
    let pin = team.world.ctx.folders.pin(project, TEAM);
    let folder = state_home.join(home).join("targets");
    fs::create_dir_all(&folder)?;
    fs::copy(&pin, folder.join(pin.file_name().context("a pin has a name")?))?;
    let mut spawn = team.spawn.clone();
    spawn.env.push(("XDG_STATE_HOME".to_string(), state_home.display().to_string()));
    team.world.xtask_by(&spawn, &team.root, arguments)
}
