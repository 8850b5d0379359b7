//! The order of stages, and what follows a failure.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::live;
use crate::lock;
use crate::model::image::Built;
use crate::process::command;
use crate::stages::bootstrap::{self, Ready};
use crate::stages::cluster::State;
use crate::stages::verify::Outcome;
use crate::stages::{build, cluster, deploy, diagnose, load, secret, smoke, verify};
use crate::stop::Stop;
use crate::tools::{Paths, helm, kubectl};

/// How long a run waits for another one that works on the same.
const LOCK: Duration = Duration::from_secs(1800);

/// Bootstrap, cluster, build, load, deploy, verify, smoke. Each stage observes for itself what is left to do, so that an
/// interrupted run needs nothing but another one.
pub fn up(ctx: &Context) -> Result<()> {
    let ready = set_up(ctx)?;
    let _lock = lock::hold(ctx, &ctx.config.release.namespace, LOCK)?;
    let tools = &ready.tools;
    // Images need docker alone, and a first build takes minutes: the cluster comes up beside it.
    let (built, made) = std::thread::scope(|scope| {
        let made = scope.spawn(|| ensure_cluster(ctx, &ready));
        let built = build::ensure(ctx, tools, &ready.images);
        (built, made.join().expect("making the cluster does not panic"))
    });
    if let (Err(_), Err(error)) = (&made, &built) {
        ctx.ui.error(&format!("{error:#}"));
    }
    made?;
    let built = built?;
    let url = release(ctx, tools, &built)?;
    ctx.ui.summary(&match url {
        Some(url) => format!("The Todo Chatbot runs at {url}"),
        None => "The Todo Chatbot runs".to_string(),
    });
    Ok(())
}

/// Sees to everything that `up` starts from, and nothing of the application.
pub fn bootstrap(ctx: &Context) -> Result<()> {
    set_up(ctx)?;
    ctx.ui.summary("This machine has what it needs");
    Ok(())
}

/// Uninstalls; the volumes and the Secret that opens them stay, unless `purge`.
pub fn down(ctx: &Context, purge: bool, whole_cluster: bool) -> Result<()> {
    let tools = need_tools(ctx)?;
    if whole_cluster {
        cluster::delete(ctx, &tools)?;
        ctx.ui.summary(&format!("The cluster {} is gone", ctx.config.cluster.name));
        return Ok(());
    }
    need_running(ctx, cluster::observe(ctx, &tools)?)?;
    let _lock = lock::hold(ctx, &ctx.config.release.namespace, LOCK)?;
    let deadline = ctx.config.deadlines.helm;
    let (target, namespace) = (ctx.target(), &ctx.config.release.namespace);
    let step = ctx.ui.step(format!("uninstall {}", ctx.config.release.name));
    let told = helm::uninstall(&tools.helm, &target, &ctx.config.release.name, deadline.as_secs());
    ctx.spawn.run(command(told, deadline + Duration::from_secs(30)))?;
    step.done(&format!("namespace {namespace}"));
    if purge {
        deploy::refuse_foreign_namespace(ctx, &tools)?;
        let step = ctx.ui.step("remove the data");
        let names = [format!("namespace/{namespace}")];
        ctx.spawn.run(command(
            kubectl::delete(&tools.kubectl, &target, &names, deadline.as_secs()),
            deadline + Duration::from_secs(30),
        ))?;
        step.done(&format!("namespace {namespace} with its volumes and Secrets"));
        ctx.ui.summary("The release and its data are gone");
    } else {
        ctx.ui.summary(&format!("The release is gone; its data stays in namespace {namespace} (--purge removes it)"));
    }
    Ok(())
}

/// The smoke checks against what is deployed already.
pub fn smoke(ctx: &Context) -> Result<()> {
    let tools = need_tools(ctx)?;
    need_running(ctx, cluster::observe(ctx, &tools)?)?;
    smoke::run(ctx, &tools)?;
    ctx.ui.summary("The application does what it should");
    Ok(())
}

/// Sees to the cluster, one run at a time: the namespaces of several share it.
pub fn ensure_cluster(ctx: &Context, ready: &Ready) -> Result<()> {
    let _lock = lock::hold(ctx, "the cluster", LOCK)?;
    cluster::ensure(ctx, &ready.tools, ready.images.node())
}

/// The tools, found and not made; without one, exit 3 says what to do.
pub fn need_tools(ctx: &Context) -> Result<Paths> {
    let found = bootstrap::look(ctx)?;
    let missing = bootstrap::missing(&found);
    match found.tools() {
        Some(tools) if missing.is_empty() => Ok(tools),
        _ => {
            let told = format!("this machine is not set up\n  {}\nNext: cargo xtask bootstrap", missing.join("\n  "));
            Err(Stop::needs_setup(told).into())
        }
    }
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
    let ready = bootstrap::ensure(ctx)?;
    link_tools(ctx, &ready.tools)?;
    Ok(ready)
}

fn release(ctx: &Context, tools: &Paths, built: &BTreeMap<String, Built>) -> Result<Option<String>> {
    load::ensure(ctx, tools, &cluster::nodes(ctx, tools)?, built)?;
    deploy::ensure_namespace(ctx, tools)?;
    let secret_version = secret::ensure(ctx, tools)?;
    let deployed = deploy::ensure(ctx, tools, built, &secret_version)?;
    match verify::wait(ctx, tools, &deployed.manifest)? {
        Outcome::Done(_) => {}
        Outcome::Failed { what, troubles, deadline } => {
            let report = diagnose::report(ctx, tools, &what, &troubles);
            return Err(if deadline { Stop::deadline(report) } else { Stop::failed(report) }.into());
        }
    }
    smoke::run(ctx, tools)?;
    if !deployed.changed {
        ctx.ui.say(&format!("nothing to deploy: revision {} is what is wanted and what runs", deployed.revision));
    }
    live::open_url(ctx, tools)
}

/// Links the chosen tools into one folder, which children find first on their PATH: minikube calls docker by name.
fn link_tools(ctx: &Context, tools: &Paths) -> Result<()> {
    let folder = ctx.folders.bin();
    fs::create_dir_all(&folder)?;
    let all =
        [("docker", &tools.docker), ("minikube", &tools.minikube), ("helm", &tools.helm), ("kubectl", &tools.kubectl)];
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
