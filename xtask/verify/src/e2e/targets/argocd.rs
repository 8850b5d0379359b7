//! Argo CD, its own controller and repo-server as processes beside the cluster, applies the package of a target.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::e2e::targets::registry;
use crate::e2e::targets::{TEAM, Team};
use crate::e2e::world::{World, tells};
use xtask::model::cluster::Target;
use xtask::run::call::{Call, DEADLINE, argv, call};
use xtask::run::poll;
use xtask::run::process::{Background, Spawn};
use xtask::stages::setup;
use xtask::tools::{go, kubectl};

/// The Go module that has the programs' sources, and the objects that its own installation begins with.
const MODULE: &str = "github.com/argoproj/argo-cd/v3";
const PROGRAM: &str = "argocd";
/// Where the Applications of a package are.
const NAMESPACE: &str = "argocd";
/// What has Argo CD take away what it applied once the Application is deleted.
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// How long a sync may take, pods that start among it.
const SYNC: Duration = Duration::from_secs(180);
/// How long it may take to have applied objects deleted.
const CLEARED: Duration = Duration::from_secs(60);

/// It runs for as long as this lives.
struct ArgoCd<'a> {
    team: &'a Team<'a>,
    target: Target,
    folder: PathBuf,
    processes: Vec<Background>,
}

impl<'a> ArgoCd<'a> {
    fn new(team: &'a Team<'a>) -> Result<ArgoCd<'a>> {
        let target = Target { namespace: NAMESPACE.to_string(), ..team.world.target.clone() };
        let folder = team.world.ctx.folders.cache.join("test-argocd");
        fs::create_dir_all(folder.join("tls"))?;
        Ok(ArgoCd { team, target, folder, processes: Vec::new() })
    }

    /// Makes what its installation makes, and starts it.
    fn start(&mut self) -> Result<()> {
        let world = self.team.world;
        let [program] = setup::programs(&world.ctx, [PROGRAM])?;
        for file in crds(world)? {
            let file = file.display().to_string();
            self.kubectl(argv!("kubectl apply --server-side --filename {file}"))?;
        }
        for object in self.objects()? {
            self.kubectl_with(argv!("kubectl apply --server-side --filename -"), &object)?;
        }
        let crd = "customresourcedefinition/applications.argoproj.io";
        self.kubectl(argv!("kubectl wait --for condition=established {crd} --timeout 30s"))?;
        let [redis, repo, metrics, repo_metrics] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let spawn = self.environment()?;
        let redis = format!("127.0.0.1:{redis}");
        let server = format!("127.0.0.1:{repo}");
        let [metrics, repo_metrics, repo] = [metrics, repo_metrics, repo].map(|port| port.to_string());
        let kubeconfig = self.path("kubeconfig");
        for argv in [
            argv!("{program} redis {redis}"),
            argv!(
                "{program} repo-server --address 127.0.0.1 --port {repo} --metrics-address 127.0.0.1 --metrics-port {repo_metrics} --disable-tls --redis {redis}"
            ),
            argv!(
                "{program} application-controller --kubeconfig {kubeconfig} --namespace {NAMESPACE} --repo-server {server} --repo-server-plaintext --redis {redis} --metrics-port {metrics} --app-resync 30 --self-heal-timeout-seconds 2"
            ),
        ] {
            let log = self.folder.join(format!("{}.log", argv[1]));
            let file = std::sync::Mutex::new(fs::File::create(log)?);
            let note = move |line: &str| {
                use std::io::Write;
                let _ = writeln!(file.lock().unwrap(), "{line}");
            };
            self.processes.push(spawn.background(call(argv), note)?);
        }
        Ok(())
    }

    /// What its processes are given: the way to the cluster, helm, and who vouches for the registry.
    fn environment(&self) -> Result<Spawn> {
        let world = self.team.world;
        let mut config = self.team.own_kubeconfig()?;
        config["current-context"] = TEAM.into();
        fs::write(self.folder.join("kubeconfig"), config.to_string())?;
        let host = self.team.registry.address.split(':').next().unwrap_or_default();
        fs::copy(self.team.registry.authority(), self.folder.join("tls").join(host))?;
        let bin = Path::new(&world.ctx.tools.helm.path).parent().context("helm is in a folder")?.display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut spawn = world.ctx.spawn.clone();
        let own = [
            ("KUBECONFIG", self.path("kubeconfig")),
            ("PATH", format!("{bin}:{path}")),
            ("ARGOCD_FAKE_IN_CLUSTER", "true".to_string()),
            ("ARGOCD_GPG_ENABLED", "false".to_string()),
            ("ARGOCD_TLS_DATA_PATH", self.path("tls")),
        ];
        // The first of two values would be the one that counts, and lead to another cluster.
        spawn.env.retain(|(name, _)| own.iter().all(|(ours, _)| ours != name));
        spawn.env.extend(own.map(|(name, value)| (name.to_string(), value)));
        Ok(spawn)
    }

    /// As its installation makes them, with the registry as a repository.
    fn objects(&self) -> Result<Vec<Value>> {
        let part_of = json!({"app.kubernetes.io/part-of": "argocd"});
        let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE, "labels": part_of});
        let mut repository = metadata("registry");
        repository["labels"]["argocd.argoproj.io/secret-type"] = "repository".into();
        let (user, password) = registry::credentials();
        let url = format!("{}/todo/charts", self.team.registry.address);
        let any = json!([{"group": "*", "kind": "*"}]);
        Ok(vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("argocd-cm"), "data": {}}),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata("argocd-secret"),
                "stringData": {"server.secretkey": "of-the-test-alone"},
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": repository,
                "stringData": {
                    "name": TEAM, "url": url, "type": "helm", "enableOCI": "true", "username": user, "password": password,
                },
            }),
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata("default"),
                "spec": {
                    "sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
                    "clusterResourceWhitelist": any,
                },
            }),
        ])
    }

    /// Has it apply what a package says.
    fn apply(&self, package: &Path) -> Result<Vec<String>> {
        let folder = package.join(PROGRAM).display().to_string();
        self.kubectl(argv!("kubectl apply --filename {folder}"))?;
        let all = self.applications()?;
        Ok(all.iter().filter_map(|one| one["metadata"]["name"].as_str()).map(str::to_string).collect())
    }

    fn applications(&self) -> Result<Vec<Value>> {
        self.team.world.run(kubectl::get(&self.target, "applications.argoproj.io", None))
    }

    /// Waits until everything is applied and healthy, at the chart's version that a package has.
    fn wait(&self, versions: &Value) -> Result<()> {
        let is_there = |one: &Value| {
            let (spec, sync) = (&one["spec"]["source"], &one["status"]["sync"]);
            let version = &versions[spec["helm"]["releaseName"].as_str().unwrap_or_default()]["version"];
            // Of a change that it has not seen yet it has compared nothing.
            let is_compared = sync["comparedTo"]["source"] == *spec && sync["revision"] == *version;
            is_compared && sync["status"] == "Synced" && one["status"]["health"]["status"] == "Healthy"
        };
        let mut last = Vec::new();
        let ended = poll::until(&self.team.world.ctx.spawn.interrupt, SYNC, || {
            last = self.applications()?;
            Ok((!last.is_empty() && last.iter().all(is_there)).then_some(()))
        })?;
        ended.with_context(|| {
            let seen = last.iter().map(|one| {
                let status = &one["status"];
                format!("{}\n{}", one["metadata"]["name"], serde_json::to_string_pretty(status).unwrap_or_default())
            });
            format!("Argo CD did not come to Synced and Healthy\n{}", seen.collect::<Vec<_>>().join("\n"))
        })
    }

    /// Takes away what it applied, and itself.
    fn remove(&mut self) -> Result<()> {
        let world = self.team.world;
        let mark = |name: &str, finalizers: Value| {
            let patch = json!({"metadata": {"finalizers": finalizers}});
            world.run(kubectl::patch(&self.target, name, "merge").stdin(patch.to_string()))
        };
        let cleared = (|| {
            for one in self.applications()? {
                let name = format!("applications.argoproj.io/{}", one["metadata"]["name"].as_str().unwrap_or_default());
                mark(&name, json!([FINALIZER]))?;
                let deleted = world.run(kubectl::delete(&self.target, std::slice::from_ref(&name), CLEARED));
                // Of one that does not get done, what it applied stays; the namespace must go all the same.
                if let Err(error) = deleted {
                    mark(&name, Value::Null)?;
                    return Err(error);
                }
            }
            Ok(())
        })();
        self.processes.clear();
        let all = ["applications", "applicationsets", "appprojects"]
            .map(|kind| format!("customresourcedefinition/{kind}.argoproj.io"));
        world.run(kubectl::delete(&self.target, &[format!("namespace/{NAMESPACE}")], DEADLINE * 2))?;
        world.run(kubectl::delete(&self.target, &all, DEADLINE))?;
        cleared
    }

    fn kubectl(&self, argv: Vec<String>) -> Result<()> {
        self.kubectl_with(argv, &Value::Null)
    }

    fn kubectl_with(&self, argv: Vec<String>, stdin: &Value) -> Result<()> {
        let mut all: Call = call(argv.into_iter().chain(kubectl::at(&self.target)).collect());
        if !stdin.is_null() {
            all = all.stdin(stdin.to_string());
        }
        self.team.world.run(all).map(drop)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The files of the kinds that it brings, from the sources that it is built of.
fn crds(world: &World) -> Result<Vec<PathBuf>> {
    let module = world.ctx.config.mirrors.modules.get(PROGRAM).context("no module builds Argo CD")?;
    let folder = world.ctx.recipes().join(&module.folder);
    let download = go::download(MODULE).within(DEADLINE * 10).folder(folder);
    let sources = go::with_environment(&world.ctx.spawn).run(download)?.join("manifests/crds");
    let files = ["application-crd.yaml", "applicationset-crd.yaml", "appproject-crd.yaml"];
    Ok(files.map(|name| sources.join(name)).to_vec())
}

pub fn applies(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    // The Secrets stay when the release goes.
    team.up()?;
    let output = team.on(&["down"])?;
    ensure!(output.success, "down failed on the target\n{}", output.tail);
    let mut argo = ArgoCd::new(&team)?;
    let proven = argo.start().and_then(|()| proves(&team, &argo));
    let removed = argo.remove();
    proven?;
    removed?;
    // With the Application everything went that it had applied.
    let output = team.on(&["down"])?;
    ensure!(output.success, "down failed once the Application was gone\n{}", output.tail);
    tells(&team.on(&["history"])?, &["not installed"])
}

fn proves(team: &Team, argo: &ArgoCd) -> Result<()> {
    let folder = |name: &str| argo.folder.join(name);
    let package = |name: &str| -> Result<Value> {
        let to = folder(name).display().to_string();
        let output = team.on(&["package", to.as_str(), "--gitops", "argocd"])?;
        ensure!(output.success, "package failed\n{}", output.tail);
        let lock: Value = serde_json::from_str(&fs::read_to_string(folder(name).join("images.lock.json"))?)?;
        Ok(lock["charts"].clone())
    };
    let charts = package("package")?;
    let applications = argo.apply(&folder("package"))?;
    argo.wait(&charts)?;
    is_settled(team)?;
    set_back(team)?;
    is_left_to_it(team, &applications)?;
    let first = number_in_history(team, argo)?;
    // What is new goes by way of the package: two would own the objects otherwise.
    team.change("for Argo CD to apply")?;
    team.is_refused(3, &["is not deployed by helm", "applied by Argo CD", "--gitops argocd"])?;
    let changed = package("changed-package")?;
    argo.apply(&folder("changed-package"))?;
    argo.wait(&changed)?;
    is_settled(team)?;
    let second = number_in_history(team, argo)?;
    // As when the commit of the package is reverted, which is how one goes back.
    argo.apply(&folder("package"))?;
    argo.wait(&charts)?;
    let third = number_in_history(team, argo)?;
    ensure!(first < second && second < third, "history calls what was applied {first}, {second} and {third}");
    tells(&team.on(&["plan"])?, &["applied by Argo CD"])
}

/// Nothing is rolled back or uninstalled that would be applied again.
fn is_left_to_it(team: &Team, applications: &[String]) -> Result<()> {
    let applied = "applied by Argo CD, Application";
    team.refuses(&["rollback"], 3, &["is not rolled back by helm", applied, "Next: revert the commit of its package"])?;
    for command in [&["down"][..], &["down", "--purge"]] {
        team.refuses(command, 3, &["is not uninstalled by helm", applied, "Next: argocd app delete "])?;
    }
    let refused = team.on(&["down"])?.tail;
    let is_named = applications.iter().any(|name| refused.contains(&format!("argocd app delete {name},")));
    ensure!(is_named, "down names none of {}\n{refused}", applications.join(", "));
    Ok(())
}

/// The number that `history` has for what was applied last of the only release, and no revision of helm's.
fn number_in_history(team: &Team, argo: &ArgoCd) -> Result<u64> {
    let mut said = String::new();
    // Argo CD writes it down after it has called everything synced.
    let found = poll::until(&team.world.ctx.spawn.interrupt, DEADLINE, || {
        let all = argo.applications()?;
        let [application] = all.as_slice() else { bail!("the profile has {} Applications", all.len()) };
        let is_current = |entry: &&Value| entry["source"] == application["spec"]["source"];
        let last = application["status"]["history"].as_array().and_then(|all| all.last()).filter(is_current);
        let output = team.on(&["history"])?;
        ensure!(output.success && !output.tail.contains("not installed"), "history failed\n{}", output.tail);
        tells(&output, &["its history is in git", "kubectl get applications.argoproj.io/"])?;
        said = output.tail;
        let Some((number, chart)) = last.and_then(|one| Some((one["id"].as_u64()?, one["revision"].as_str()?))) else {
            return Ok(None);
        };
        let is_said = said.contains(&format!("applied chart {chart} "))
            && said.contains(&format!("number {number} of its history"));
        Ok(is_said.then_some(number))
    })?;
    found.with_context(|| format!("history does not say what Argo CD applied last\n{said}"))
}

/// Smoke checks pass, status is healthy, and there is nothing to do.
fn is_settled(team: &Team) -> Result<()> {
    for command in [&["smoke"][..], &["status"]] {
        let output = team.on(command)?;
        ensure!(output.success, "{} failed after Argo CD\n{}", command.join(" "), output.tail);
    }
    tells(&team.on(&["status"])?, &["applied by Argo CD, Application"])?;
    tells(&team.on(&["plan"])?, &["nothing to do"])?;
    tells(&team.up()?, &["nothing to deploy"])
}

/// What is changed by hand is set back.
fn set_back(team: &Team) -> Result<()> {
    let world = team.world;
    world.patch("deployment/frontend", "merge", &json!({"spec": {"replicas": 2}}))?;
    let is_back = || {
        let found = world.objects("deployment/frontend")?;
        Ok((found[0]["spec"]["replicas"] == 1).then_some(()))
    };
    poll::until(&world.ctx.spawn.interrupt, DEADLINE, is_back)?.context("Argo CD left a change by hand")
}
