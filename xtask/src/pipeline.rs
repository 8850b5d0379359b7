//! The order of stages, and what follows a failure.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::config::waves;
use crate::context::{Context, Scope};
use crate::live::{self, Endpoint};
use crate::lock;
use crate::model::cluster::State;
use crate::model::image::Built;
use crate::model::states::DeploymentState;
use crate::process::command;
use crate::stages::bootstrap::{self, Ready, Road};
use crate::stages::deploy::{Deployed, Plan};
use crate::stages::overrides::{self, Overrides};
use crate::stages::render::Known;
use crate::stages::smoke::Occasion;
use crate::stages::verify::Outcome;
use crate::stages::{addons, build, cluster, deploy, diagnose, load, namespace, rollback, secret, smoke, verify};
use crate::stop::Stop;
use crate::tools::Paths;
use crate::tools::helm::{self, Revision};

/// How long a run waits for another one that works on the same.
pub const LOCK: Duration = Duration::from_secs(1800);

/// Bootstrap, cluster, build, load, deploy, verify, smoke. Each stage observes for itself what is left to do, so that an
/// interrupted run needs nothing but another one.
pub fn up(ctx: &Context, no_rollback: bool) -> Result<()> {
    let overrides = overrides::read(ctx)?;
    let ready = set_up(ctx)?;
    let _lock = lock::hold(ctx, &ctx.config.namespace, LOCK)?;
    let tools = &ready.tools;
    let releases = wanted_releases(ctx, &overrides);
    let services = services_of(ctx, &releases);
    // Images need docker alone, and a first build takes minutes: the cluster comes up beside it.
    let (built, made) = std::thread::scope(|scope| {
        let made = scope.spawn(|| ensure_cluster(ctx, &ready));
        let built = build::ensure(ctx, tools, &ready.images, &services);
        (built, made.join().expect("making the cluster does not panic"))
    });
    if let (Err(_), Err(error)) = (&made, &built) {
        ctx.ui.error(&format!("{error:#}"));
    }
    made?;
    let built = built?;
    let url = install(ctx, tools, &releases, &built, &overrides, no_rollback)?;
    ctx.ui.summary(&match url {
        Some(url) => format!("The Todo Chatbot runs at {url}"),
        None => "The Todo Chatbot runs".to_string(),
    });
    Ok(())
}

/// Sees to everything that `up` starts from, and nothing of the application.
pub fn bootstrap(ctx: &Context, road: Option<Road>) -> Result<()> {
    link_tools(ctx, &bootstrap::ensure(ctx, road)?.tools)?;
    ctx.ui.summary("This machine has what it needs");
    Ok(())
}

/// Locks the checksums of the tools' releases.
pub fn update_lock(ctx: &Context) -> Result<()> {
    bootstrap::update_lock(ctx)?;
    ctx.ui.summary("tools.lock holds what was downloaded; commit it");
    Ok(())
}

/// Uninstalls; the volumes and the Secret that opens them stay, unless `purge`.
pub fn down(ctx: &Context, purge: bool, whole_cluster: bool) -> Result<()> {
    let tools = need_tools(ctx)?;
    if whole_cluster {
        let _locks = lock::hold_all(ctx, LOCK)?;
        cluster::delete(ctx, &tools)?;
        ctx.ui.summary(&format!("The cluster {} is gone", ctx.config.cluster.name));
        return Ok(());
    }
    need_running(ctx, cluster::observe(ctx, &tools)?)?;
    let _lock = lock::hold(ctx, &ctx.config.namespace, LOCK)?;
    let namespaces = ctx.config.namespaces();
    namespace::refuse_others(ctx, &tools)?;
    if purge {
        namespaces.iter().try_for_each(|name| namespace::refuse_foreign(ctx, &tools, name))?;
    }
    // What others need goes last.
    for release in order(ctx).iter().rev().flatten() {
        let scope = ctx.scope(release);
        deploy::await_others(ctx, &scope)?;
        let step = ctx.ui.step(format!("uninstall {release}"));
        let deadline = ctx.config.deadlines.helm;
        let told = helm::uninstall(&tools.helm, &scope.target, release, deadline.as_secs());
        // A signal would leave the release half uninstalled: helm is let finish.
        ctx.spawn.run_whole(command(told, deadline + Duration::from_secs(30)))?;
        step.done(&format!("namespace {}", scope.target.namespace));
    }
    let told = namespaces.join(" and ");
    if purge {
        let step = ctx.ui.step("remove the data");
        namespaces.iter().try_for_each(|name| namespace::remove(ctx, &tools, name))?;
        step.done(&format!("volumes and Secrets in namespace {told}"));
    }
    namespaces.iter().try_for_each(|name| namespace::release(ctx, &tools, name))?;
    forget_staging(ctx)?;
    ctx.ui.summary(&match purge {
        true => "The release and its data are gone".to_string(),
        false => format!("The release is gone; its data stays in namespace {told} (--purge removes it)"),
    });
    Ok(())
}

/// Removes what charts and builds were put together in, which each run makes anew.
fn forget_staging(ctx: &Context) -> Result<()> {
    let contexts = ctx.config.services.keys().map(|service| build::context(ctx, service));
    let charts = ctx.config.releases.keys().map(|release| ctx.staging(release));
    for folder in contexts.chain(charts).filter(|folder| folder.exists()) {
        fs::remove_dir_all(folder)?;
    }
    // What others have put there stays, and the folder with it.
    let _ = fs::remove_dir(ctx.staging(""));
    Ok(())
}

/// Takes every release of the profile, or the one named, to the revision before, and checks what runs then.
pub fn roll_back(ctx: &Context, revision: Option<u64>, release: Option<&str>) -> Result<()> {
    let tools = need_tools(ctx)?;
    need_running(ctx, cluster::observe(ctx, &tools)?)?;
    let _lock = lock::hold(ctx, &ctx.config.namespace, LOCK)?;
    let own = |name: &&str| ctx.config.releases[*name].namespace == ctx.config.namespace;
    let releases: Vec<&str> = match release {
        Some(name) if ctx.config.releases.contains_key(name) => vec![name],
        Some(name) => {
            let known = ctx.config.releases.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Stop::usage(format!(
                "profile {} has no release {name}: known are {known}",
                ctx.config.profile
            ))
            .into());
        }
        // The database has a life of its own.
        None => order(ctx).into_iter().flatten().filter(own).collect(),
    };
    if revision.is_some() && releases.len() > 1 {
        return Err(Stop::usage(format!("which of {}? Next: --release NAME", releases.join(", "))).into());
    }
    namespace::refuse_others(ctx, &tools)?;
    releases.iter().try_for_each(|name| deploy::await_others(ctx, &ctx.scope(name)))?;
    let choose = |name: &&str| Ok((ctx.scope(name), rollback::choose(ctx, &tools, &ctx.scope(name), revision)?));
    // All of them first: one that has nothing to go back to must not leave the others changed.
    let chosen = releases.iter().map(choose).collect::<Result<Vec<_>>>()?;
    // Where each goes, and its revisions until then.
    let mut gone: Vec<(Scope, u64, Vec<Revision>)> = Vec::new();
    let went = (|| {
        for (scope, revision) in chosen {
            gone.push((scope.clone(), revision, live::history(ctx, &tools, &scope, 10)?));
            let manifest = rollback::to(ctx, &tools, &scope, revision)?;
            let waited = verify::wait(ctx, &tools, &scope, &manifest, true)?;
            if let Some(report) = failure(ctx, &tools, &scope, waited) {
                return Err(report.into());
            }
        }
        smoke::run(ctx, &tools, Occasion::Changed, live::endpoints(ctx, &tools)?).map(drop)
    })();
    if let Err(error) = went {
        if ctx.spawn.interrupt.check().is_err() && !gone.is_empty() {
            // The same command again would go one revision further.
            let told = gone.iter().map(|(scope, to, _)| format!("{} to revision {to}", scope.release));
            let told = format!("interrupted, with {} on the way", told.collect::<Vec<_>>().join(", "));
            let next = "Next: cargo xtask status, which tells what runs; cargo xtask up brings what is wanted";
            return Err(Stop::interrupted_after(format!("{told}\n{next}")).into());
        }
        // What served until now serves again.
        for (scope, to, revisions) in gone.iter().rev() {
            let last = live::last_revision(ctx, &tools, scope).ok().flatten().map(|(number, _)| number);
            let begun = last != revisions.last().map(|one| one.number);
            if let Some(was) = helm::serving(revisions).filter(|was| begun && was != to)
                && let Err(failed) = rollback::to(ctx, &tools, scope, was)
            {
                ctx.ui.say(&format!("{} could not be taken to revision {was} again: {failed:#}", scope.release));
            }
        }
        return Err(error);
    }
    ctx.ui.summary(&format!("{} runs as before", releases.join(", ")));
    Ok(())
}

/// The smoke checks against what is deployed already.
pub fn smoke(ctx: &Context) -> Result<()> {
    let tools = need_tools(ctx)?;
    need_running(ctx, cluster::observe(ctx, &tools)?)?;
    // A run that deploys meanwhile would be checked half-way, and helm keeps what a test ended with in the release.
    let _lock = lock::hold(ctx, &ctx.config.namespace, LOCK)?;
    smoke::run(ctx, &tools, Occasion::Asked, live::endpoints(ctx, &tools)?)?;
    ctx.ui.summary("The application does what it should");
    Ok(())
}

/// Sees to the cluster, one run at a time: the namespaces of several share it.
pub fn ensure_cluster(ctx: &Context, ready: &Ready) -> Result<()> {
    let _lock = lock::hold(ctx, lock::CLUSTER, LOCK)?;
    let tools = &ready.tools;
    cluster::ensure(ctx, tools, ready.images.node())?;
    let absent = addons::absent(ctx, tools, &ready.addons)?;
    if absent.is_empty() {
        return Ok(());
    }
    load::ensure(ctx, tools, &cluster::nodes(ctx, tools)?, &ready.addons)?;
    addons::enable(ctx, tools, &absent, &ready.addons)
}

/// The tools, found and not made; without one, exit 3 says what to do.
pub fn need_tools(ctx: &Context) -> Result<Paths> {
    let found = bootstrap::look(ctx)?;
    let missing = bootstrap::missing(&found);
    match found.tools() {
        Some(tools) if missing.is_empty() => Ok(tools),
        _ => Err(not_set_up(&missing).into()),
    }
}

pub fn not_set_up(missing: &[String]) -> Stop {
    Stop::needs_setup(format!("this machine is not set up\n  {}\nNext: cargo xtask bootstrap", missing.join("\n  ")))
}

pub fn need_running(ctx: &Context, state: State) -> Result<()> {
    let name = &ctx.config.cluster.name;
    let told = match state {
        State::Running => return Ok(()),
        State::Absent => format!("there is no cluster {name}"),
        State::Stopped => format!("the cluster {name} is stopped"),
        State::Unfinished => format!("the making of the cluster {name} was interrupted"),
        State::Unready(why) => format!("the cluster {name} runs and does not serve: {why}"),
        State::Orphaned => format!("there is a node named {name}, and its keys are gone"),
    };
    Err(Stop::needs_setup(format!("{told}\nNext: cargo xtask up")).into())
}

pub fn set_up(ctx: &Context) -> Result<Ready> {
    let ready = bootstrap::ensure(ctx, None)?;
    link_tools(ctx, &ready.tools)?;
    Ok(ready)
}

/// The releases that a run installs: all, but those in place of which a person names something outside.
pub fn wanted_releases<'a>(ctx: &'a Context, overrides: &Overrides) -> Vec<&'a str> {
    let given = |key: &String| overrides.secret.contains_key(key);
    let wanted = ctx.config.releases.iter().filter(|(_, release)| !release.unless.as_ref().is_some_and(given));
    wanted.map(|(name, _)| name.as_str()).collect()
}

/// The services that these releases run.
pub fn services_of<'a>(ctx: &'a Context, releases: &[&str]) -> Vec<&'a str> {
    ctx.config.running().filter(|(_, release)| releases.contains(release)).map(|(service, _)| service).collect()
}

/// The namespaces that these releases are in, the profile's own first.
pub fn namespaces_of(ctx: &Context, releases: &[&str]) -> Vec<String> {
    let used = |namespace: &String| releases.iter().any(|name| ctx.config.releases[*name].namespace == *namespace);
    ctx.config.namespaces().into_iter().filter(used).collect()
}

/// All releases in waves: each needs only what is in earlier ones.
pub fn order(ctx: &Context) -> Vec<Vec<&str>> {
    let edges = ctx.config.releases.iter().map(|(name, release)| (name.as_str(), release.needs.as_slice()));
    waves(edges).expect("the configuration has no circle of releases")
}

fn install(
    ctx: &Context,
    tools: &Paths,
    releases: &[&str],
    built: &BTreeMap<String, Built>,
    overrides: &Overrides,
    no_rollback: bool,
) -> Result<Option<String>> {
    let namespaces = namespaces_of(ctx, releases);
    let (loaded, services) = std::thread::scope(|scope| {
        let services = scope.spawn(|| live::services(ctx, tools));
        let loaded = cluster::nodes(ctx, tools).and_then(|nodes| load::ensure(ctx, tools, &nodes, built));
        (loaded, services.join().expect("looking at Services does not panic"))
    });
    loaded?;
    let services = services?;
    let node_ports = deploy::node_ports(ctx, &services)?;
    // Where all is as it should be, one look at both is enough.
    let (settled, secrets) = std::thread::scope(|scope| {
        let secrets = scope.spawn(|| secret::observe(ctx, tools, &namespaces, &overrides.secret));
        let settled = in_parallel(&namespaces, |name| namespace::is_settled(ctx, tools, name));
        (settled, secrets.join().expect("looking at Secrets does not panic"))
    });
    let is_settled = settled.into_iter().collect::<Result<Vec<bool>>>()?.into_iter().all(|settled| settled);
    let versions = match secrets {
        Ok(secrets) if is_settled && secrets.steps.is_empty() => secrets.versions,
        _ => {
            let ensured = in_parallel(&namespaces, |name| namespace::ensure(ctx, tools, name));
            ensured.into_iter().collect::<Result<()>>()?;
            secret::ensure(ctx, tools, &namespaces, &overrides.secret)?
        }
    };
    let tags = built.iter().map(|(name, image)| (name.clone(), image.tag.clone())).collect();
    let plans = in_parallel(releases, |name| {
        let version = versions.get(&ctx.config.releases[*name].secret).map_or("", String::as_str);
        let known = Known { tags: &tags, node_ports: &node_ports, secret_version: version, overrides };
        deploy::observe(ctx, tools, name, &known)
    });
    let plans = plans.into_iter().collect::<Result<Vec<Plan>>>()?;
    let (deployed, endpoints) = carry_out(ctx, tools, &plans, Some(services), no_rollback)?;
    for (name, endpoint) in endpoints.iter().filter(|(_, one)| one.load_balancer && one.address.is_none()) {
        let told = format!(
            "{name} is a LoadBalancer and waits for an address: cargo xtask tunnel --profile {}",
            ctx.config.profile
        );
        ctx.ui.say(&match live::published_url(endpoint, ctx.config.cluster.node_ports) {
            Some(url) => format!("{told}; meanwhile it answers at {url}"),
            None => told,
        });
    }
    if deployed.iter().all(|deployed| !deployed.changed) {
        let revisions: Vec<String> =
            deployed.iter().map(|one| format!("{} revision {}", one.scope.release, one.revision)).collect();
        ctx.ui.say(&format!("nothing to deploy: {} is what is wanted and what runs", revisions.join(", ")));
    }
    Ok(live::open_url(ctx, &endpoints))
}

/// Applies the plans and checks what the application does then. When something fails, what was changed goes back.
/// `services` are those of all namespaces, which still are where nothing is changed. Returns the profile's own, too.
pub fn carry_out(
    ctx: &Context,
    tools: &Paths,
    plans: &[Plan],
    services: Option<Vec<Value>>,
    no_rollback: bool,
) -> Result<(Vec<Deployed>, BTreeMap<String, Endpoint>)> {
    let mut deployed = Vec::new();
    let ended = apply_all(ctx, tools, plans, &mut deployed);
    let ended = ended.and_then(|()| {
        let changed = deployed.iter().any(|one| one.changed);
        let occasion = if changed { Occasion::Changed } else { Occasion::Unchanged };
        let endpoints = match services.filter(|_| !changed) {
            Some(services) => Ok(live::endpoints_in(ctx, services)),
            None => live::endpoints(ctx, tools),
        };
        // The application as a whole does not do what it should: all that is new in it goes back.
        endpoints
            .and_then(|endpoints| smoke::run(ctx, tools, occasion, endpoints))
            .map_err(|error| (error, plans.iter().map(|plan| plan.scope.release.clone()).collect()))
    });
    let (error, concerned) = match ended {
        Ok(endpoints) => return Ok((deployed, endpoints)),
        Err(failed) => failed,
    };
    let undone: Vec<&Deployed> = deployed.iter().filter(|one| concerned.contains(&one.scope.release)).collect();
    // An interruption leaves things as they are: the next run goes on from there.
    match !no_rollback && ctx.spawn.interrupt.check().is_ok() {
        true => Err(undo(ctx, tools, &undone, error)),
        false => Err(error),
    }
}

/// Applies the plans in waves, side by side within one, and sees each rolled out before what needs it. What was applied
/// is added to `done`. When one fails, nothing further is begun; the first error comes with the names of all that failed.
fn apply_all(
    ctx: &Context,
    tools: &Paths,
    plans: &[Plan],
    done: &mut Vec<Deployed>,
) -> Result<(), (anyhow::Error, Vec<String>)> {
    for wave in order(ctx) {
        let of_wave: Vec<&Plan> = plans.iter().filter(|plan| wave.contains(&plan.scope.release.as_str())).collect();
        let mut failed: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for (plan, (deployed, ended)) in of_wave.iter().zip(in_parallel(&of_wave, |plan| apply_one(ctx, tools, plan))) {
            if let Err(error) = ended {
                failed.push(plan.scope.release.clone());
                errors.push(error);
            }
            done.extend(deployed);
        }
        if errors.is_empty() {
            continue;
        }
        let first = errors.remove(0);
        errors.iter().for_each(|error| ctx.ui.error(&format!("{error:#}")));
        let begun =
            |name: &str| done.iter().any(|one| one.scope.release == name) || failed.iter().any(|one| one == name);
        let left: Vec<&str> =
            plans.iter().map(|plan| plan.scope.release.as_str()).filter(|name| !begun(name)).collect();
        if !left.is_empty() {
            ctx.ui.say(&format!("not begun, as {} failed: {}", failed.join(", "), left.join(", ")));
        }
        return Err((first, failed));
    }
    Ok(())
}

/// Applies a plan and sees it rolled out; what was begun is there even where the rest failed.
fn apply_one(ctx: &Context, tools: &Paths, plan: &Plan) -> (Option<Deployed>, Result<()>) {
    let mut deployed = match deploy::begin(ctx, tools, plan) {
        Ok(deployed) => deployed,
        Err(error) => return (None, Err(error)),
    };
    let applied = deploy::apply(ctx, tools, plan, &mut deployed);
    let waited = applied.and_then(|failed| match failed {
        Some(failure) => Ok(Outcome::Failed(failure)),
        None if plan.is_rolled_out => {
            let services = &ctx.config.releases[&plan.scope.release].services;
            services.iter().for_each(|service| ctx.ui.state(service, DeploymentState::Ready));
            Ok(Outcome::Done(services.len()))
        }
        None => {
            let upgrading = deployed.changed && deployed.before.is_some();
            verify::wait(ctx, tools, &deployed.scope, &deployed.manifest, upgrading)
        }
    });
    let ended = waited.and_then(|outcome| match failure(ctx, tools, &deployed.scope, outcome) {
        Some(report) => Err(report.into()),
        None => Ok(()),
    });
    (Some(deployed), ended)
}

/// Takes back what this run has changed, the last first, and sees what served before serve again. Returns what ends the
/// run: the first error, or that it was interrupted meanwhile.
fn undo(ctx: &Context, tools: &Paths, deployed: &[&Deployed], first: anyhow::Error) -> anyhow::Error {
    for one in deployed.iter().rev().filter(|one| one.changed) {
        let undone = rollback::undo(ctx, tools, one);
        let served = match one.before {
            Some(_) if undone.is_ok() => serves_again(ctx, tools, &one.scope),
            _ => Ok(()),
        };
        ctx.ui.say(&match (undone, served) {
            (Ok(told), Ok(())) => told,
            (Ok(told), Err(error)) => format!("{told}; it is not known to serve: {error:#}"),
            (Err(error), _) => format!("{} could not be taken back: {error:#}", one.scope.release),
        });
    }
    match ctx.spawn.interrupt.check() {
        Ok(()) => first,
        Err(interrupted) => {
            ctx.ui.error(&format!("{first:#}"));
            interrupted
        }
    }
}

/// Waits until what a release went back to is rolled out.
fn serves_again(ctx: &Context, tools: &Paths, scope: &Scope) -> Result<()> {
    let manifest = live::manifest(ctx, tools, scope)?;
    let waited = verify::wait(ctx, tools, scope, &manifest, true)?;
    failure(ctx, tools, scope, waited).map_or(Ok(()), |report| Err(report.into()))
}

/// The report of a rollout that failed; None for one that is done.
fn failure(ctx: &Context, tools: &Paths, scope: &Scope, outcome: Outcome) -> Option<Stop> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::Failed(failure) => Some(diagnose::report(ctx, tools, scope, &failure)),
    }
}

/// Does something with each item, all at the same time, and returns the results in their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|threads| {
        let running: Vec<_> = items.iter().map(|item| threads.spawn(|| work(item))).collect();
        running.into_iter().map(|thread| thread.join().expect("work does not panic")).collect()
    })
}

/// Links the chosen tools into one folder, which children find first on their PATH: minikube calls docker by name.
fn link_tools(ctx: &Context, tools: &Paths) -> Result<()> {
    let folder = ctx.folders.bin();
    fs::create_dir_all(&folder)?;
    let all = [
        ("docker", &tools.docker),
        ("minikube", &tools.minikube),
        ("helm", &tools.helm.path),
        ("kubectl", &tools.kubectl),
    ];
    for (name, path) in all {
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target.to_str() == Some(path)) {
            continue;
        }
        let fresh = folder.join(format!("{name}.new"));
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(path, &fresh)?;
        fs::rename(&fresh, &link)?;
    }
    Ok(())
}
