//! `uninstall`: takes away all that the project's commands have made on this machine, and nothing that was there before.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cleanup::decide::{judge_host, mb};
use crate::cleanup::machine::{Machine, Part, plan};
use crate::cleanup::observe;
use crate::commands::clean::known;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::lock;
use crate::run::process::{display, sudo};
use crate::stages::setup::find::All;
use crate::stages::setup::made;
use crate::stages::{cluster, setup};
use crate::tools::{apt, docker, minikube};

/// Says what goes and by which commands; with `yes`, which no variable can say, takes it away. What fails is reported with
/// what is left, and another run goes on from there.
pub fn run(ctx: &Context, yes: bool) -> Result<()> {
    let _locks = if yes && ctx.folders.state.exists() { lock::hold_all(ctx)? } else { Vec::new() };
    let found = setup::find_tools(ctx)?;
    let (parts, left) = plan(&inspect_machine(ctx, &found)?);
    let lines: Vec<String> = parts.iter().flat_map(|part| removal_commands(ctx, &found, part)).collect();
    let stays: Vec<String> = left.iter().map(|what| format!("left alone: {what}")).collect();
    let value = json!({
        "parts": parts.iter().map(|part| value(ctx, &found, part)).collect::<Vec<_>>(), "left": left, "removed": yes,
    });
    ctx.ui.answer(&[lines.clone(), stays].concat().join("\n"), value);
    if parts.is_empty() {
        ctx.ui.summary("Nothing of the project's that could be removed is on this machine");
        return Ok(());
    }
    if !yes {
        let message = format!("{} would be removed; nothing was", count(&parts));
        return Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask uninstall --yes")).into());
    }
    let mut failed: Vec<String> = Vec::new();
    for part in &parts {
        ctx.spawn.interrupt.check()?;
        // What bootstrap did stands in the state folder, and the keys of the cluster do.
        if matches!(part, Part::State(_)) && !failed.is_empty() {
            failed.push(format!("{}: it is needed for what is left", name(ctx, part)));
            continue;
        }
        let step = ctx.ui.step(format!("remove {}", name(ctx, part)));
        match remove(ctx, &found, part) {
            Ok(()) => step.done(""),
            Err(error) => {
                drop(step);
                ctx.spawn.interrupt.check()?;
                failed.push(format!("{}: {error:#}", name(ctx, part)));
                if matches!(part, Part::Cluster(_)) {
                    // All the rest is what it runs on and what could still remove it.
                    failed.push("all the rest, which the cluster needs".to_string());
                    break;
                }
            }
        }
    }
    if failed.is_empty() {
        ctx.ui.summary(&format!("{} removed", count(&parts)));
        return Ok(());
    }
    let message = format!("not all could be removed; left are\n  {}", failed.join("\n  "));
    Err(Stop::failed(format!("{message}\nNext: cargo xtask uninstall --yes")).into())
}

fn inspect_machine(ctx: &Context, found: &All) -> Result<Machine> {
    let there = |path: &Path| path.exists().then(|| observe::size(path));
    let made = made::read_made(ctx)?;
    let installed = made::installed(ctx)?.unwrap_or_default();
    let mut seen = Machine {
        packages: made.packages.intersection(&installed).cloned().collect(),
        daemon: made.daemon.filter(made::Daemon::lives).map(|daemon| daemon.pid),
        cache: there(&ctx.folders.cache),
        state: there(&ctx.folders.state),
        ..Machine::default()
    };
    if !seen.packages.is_empty() {
        seen.dragged_along = made::dragged_along(ctx, &seen.packages)?;
    }
    let cluster = &ctx.config.cluster.name;
    let described = cluster::is_described(ctx).then(|| cluster.clone());
    let Some(docker) = found.docker.path().filter(|_| found.daemon.is_some()) else {
        return Ok(Machine { cluster: described, ..seen });
    };
    let host = observe::look_at_host(ctx, &docker)?;
    let check = docker::check_label(&ctx.config.project);
    let (mut used, mut node) = (host.used(), false);
    used.ids.clear();
    for container in &host.containers {
        match &container.labels {
            labels if labels.get(docker::PROFILE_LABEL) == Some(cluster) => node = true,
            labels if labels.contains_key(&check) => seen.containers.push(container.name.clone()),
            _ => {
                used.ids.insert(container.image_id.clone());
                seen.foreign_containers += 1;
                seen.foreign_running += usize::from(container.running);
            }
        }
    }
    let judged = judge_host(&host.images, &known(ctx)?.names, &used, 0);
    Ok(Machine {
        docker_answers: true,
        runs_on_shim: found.daemon.as_ref().is_some_and(|daemon| docker::is_shim(&daemon.default_runtime)),
        cluster: described.or_else(|| node.then(|| cluster.clone())),
        images: judged.removals,
        images_in_use: judged.kept.len(),
        foreign_images: judged.foreign,
        build_cache: observe::build_cache(ctx, &docker)?.filter(|size| size != "0B"),
        ..seen
    })
}

fn remove(ctx: &Context, found: &All, part: &Part) -> Result<()> {
    let docker = found.docker.path().unwrap_or_default();
    match part {
        Part::Cluster(_) => match found.tools() {
            Some(tools) => cluster::delete(ctx, &tools),
            None => cluster::delete_by_docker(ctx, &docker),
        },
        Part::Image(image) => observe::remove_image(ctx, &docker, &image.what),
        Part::Container(name) => observe::remove_container(ctx, &docker, name),
        Part::Daemon(_) => {
            commands(ctx, found, part).into_iter().try_for_each(|argv| made::run_removal(ctx, argv))?;
            made::read_made(ctx)?.daemon.map_or(Ok(()), |daemon| made::wait_for_end(ctx, &daemon))
        }
        Part::BuildCache(_) | Part::Packages(_) => {
            commands(ctx, found, part).into_iter().try_for_each(|argv| made::run_removal(ctx, argv))
        }
        Part::Cache(_) => observe::remove_path(&ctx.folders.cache),
        Part::State(_) => observe::remove_path(&ctx.folders.state),
    }
}

/// What does it, as one would type it.
fn commands(ctx: &Context, found: &All, part: &Part) -> Vec<Vec<String>> {
    let docker = &found.docker.path().unwrap_or_default();
    let folder = |path: &Path| {
        let path = path.display().to_string();
        vec![crate::run::process::argv!("rm -r {path}")]
    };
    match part {
        Part::Cluster(name) => match found.minikube.path() {
            Some(minikube) => vec![minikube::delete(&minikube, name)],
            None => cluster::deletion_by_docker(docker, name),
        },
        Part::Container(name) => vec![docker::remove_container(docker, name)],
        Part::Image(image) => vec![docker::remove_image(docker, &image.what)],
        Part::BuildCache(_) => vec![docker::prune_build_cache(docker)],
        Part::Daemon(pid) => vec![made::stop_daemon(*pid)],
        Part::Packages(names) => vec![apt::remove(sudo(), names)],
        Part::Cache(_) => folder(&ctx.folders.cache),
        Part::State(_) => folder(&ctx.folders.state),
    }
}

fn removal_commands(ctx: &Context, found: &All, part: &Part) -> Vec<String> {
    let size = match part {
        Part::Cluster(_) => "with the data of all its namespaces".to_string(),
        Part::Image(image) => mb(image.size_bytes),
        Part::BuildCache(size) => size.clone(),
        Part::Cache(bytes) | Part::State(bytes) => mb(*bytes),
        Part::Container(_) | Part::Daemon(_) | Part::Packages(_) => String::new(),
    };
    let first = if size.is_empty() { name(ctx, part) } else { format!("{}, {size}", name(ctx, part)) };
    let commands = commands(ctx, found, part);
    std::iter::once(first).chain(commands.iter().map(|argv| format!("    {}", display(argv)))).collect()
}

fn value(ctx: &Context, found: &All, part: &Part) -> Value {
    let commands: Vec<String> = commands(ctx, found, part).iter().map(|argv| display(argv)).collect();
    let size_bytes = match part {
        Part::Image(image) => Some(image.size_bytes),
        Part::Cache(bytes) | Part::State(bytes) => Some(*bytes),
        _ => None,
    };
    json!({ "part": name(ctx, part), "size_bytes": size_bytes, "commands": commands })
}

fn name(ctx: &Context, part: &Part) -> String {
    match part {
        Part::Cluster(name) => format!("the cluster {name}"),
        Part::Container(name) => format!("the container {name}"),
        Part::Image(image) => format!("the image {}", image.what),
        Part::BuildCache(_) => "docker's build cache".to_string(),
        Part::Daemon(pid) => format!("the docker daemon, process {pid}"),
        Part::Packages(names) => format!("the Debian packages {}", names.join(", ")),
        Part::Cache(_) => format!("the cache folder {}", ctx.folders.cache.display()),
        Part::State(_) => format!("the state folder {}", ctx.folders.state.display()),
    }
}

fn count(parts: &[Part]) -> String {
    format!("{} thing{}", parts.len(), if parts.len() == 1 { "" } else { "s" })
}
