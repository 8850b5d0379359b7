//! `uninstall`: takes away all that the project's commands have made on this machine, and nothing that was there before.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cleanup::decide::{judge_host, mb};
use crate::cleanup::machine::{Machine, Part, plan};
use crate::cleanup::observe;
use crate::commands::clean::known;
use crate::model::cluster::is_node;
use crate::run::call::{Call, argv, call};
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::run::process::sudo;
use crate::stages::setup::find::All;
use crate::stages::setup::made;
use crate::stages::{cluster, setup};
use crate::tools::{apt, docker, minikube};

/// Says what goes and by which commands; with `yes`, which no variable can say, takes it away. What fails is reported with
/// what is left, and another run goes on from there.
pub fn run(project: &Project, yes: bool) -> Result<()> {
    let _locks = if yes && project.folders.state.exists() { lock::hold_all(project)? } else { Vec::new() };
    let found = setup::find_tools(project)?;
    let project = &found.project(project);
    let (parts, left) = plan(&inspect_machine(project, &found)?);
    let lines: Vec<String> = parts.iter().flat_map(|part| removal_commands(project, &found, part)).collect();
    let stays: Vec<String> = left.iter().map(|what| format!("left alone: {what}")).collect();
    let value = json!({
        "parts": parts.iter().map(|part| value(project, &found, part)).collect::<Vec<_>>(), "left": left, "removed": yes,
    });
    project.ui.answer(&[lines.clone(), stays].concat().join("\n"), value);
    if parts.is_empty() {
        project.ui.summary("Nothing of the project's that could be removed is on this machine");
        return Ok(());
    }
    if !yes {
        let message = format!("{} would be removed; nothing was", count(&parts));
        return Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask uninstall --yes")).into());
    }
    let mut failed: Vec<String> = Vec::new();
    for part in &parts {
        project.spawn.interrupt.check()?;
        // The state folder records what bootstrap did, and holds the keys of the cluster.
        if matches!(part, Part::State(_)) && !failed.is_empty() {
            failed.push(format!("{}: it is needed for what is left", name(project, part)));
            continue;
        }
        let step = project.ui.step(format!("remove {}", name(project, part)));
        match remove(project, &found, part) {
            Ok(()) => step.done(""),
            Err(error) => {
                drop(step);
                project.spawn.interrupt.check()?;
                failed.push(format!("{}: {error:#}", name(project, part)));
                if matches!(part, Part::Cluster(_)) {
                    // All the rest is what it runs on and what could still remove it.
                    failed.push("all the rest, which the cluster needs".to_string());
                    break;
                }
            }
        }
    }
    if failed.is_empty() {
        project.ui.summary(&format!("{} removed", count(&parts)));
        return Ok(());
    }
    let message = format!("not all could be removed; left are\n  {}", failed.join("\n  "));
    Err(Stop::failed(format!("{message}\nNext: cargo xtask uninstall --yes")).into())
}

fn inspect_machine(project: &Project, found: &All) -> Result<Machine> {
    let there = |path: &Path| path.exists().then(|| observe::size(path));
    let made = made::read_made(project)?;
    let installed = made::installed(project)?.unwrap_or_default();
    let mut seen = Machine {
        packages: made.packages.intersection(&installed).cloned().collect(),
        daemon: made.daemon.filter(made::Daemon::lives).map(|daemon| daemon.pid),
        cache: there(&project.folders.cache),
        state: there(&project.folders.state),
        ..Machine::default()
    };
    if !seen.packages.is_empty() {
        seen.dragged_along = made::dragged_along(project, &seen.packages)?;
    }
    let cluster = &project.config.cluster.name;
    let described = cluster::is_described(project).then(|| cluster.clone());
    if found.docker.path().is_none() || found.daemon.is_none() {
        return Ok(Machine { cluster: described, ..seen });
    }
    let host = observe::look_at_host(project)?;
    let check = docker::check_label(&project.config.project);
    let (mut used, mut node) = (host.used(), false);
    used.ids.clear();
    for container in &host.containers {
        match &container.labels {
            labels if labels.get(docker::NODE_LABEL).is_some_and(|name| is_node(cluster, name)) => node = true,
            labels if labels.contains_key(&check) => seen.containers.push(container.name.clone()),
            _ => {
                used.ids.insert(container.image_id.clone());
                seen.foreign_containers += 1;
                seen.foreign_running += usize::from(container.running);
            }
        }
    }
    let judged = judge_host(&host.images, &known(project)?.names, &used, 0);
    Ok(Machine {
        docker_answers: true,
        runs_on_shim: found.daemon.as_ref().is_some_and(|daemon| docker::is_shim(&daemon.default_runtime)),
        cluster: described.or_else(|| node.then(|| cluster.clone())),
        images: judged.removals,
        images_in_use: judged.kept.len(),
        foreign_images: judged.foreign,
        build_cache: observe::build_cache(project)?.filter(|size| size != "0B"),
        ..seen
    })
}

fn remove(project: &Project, found: &All, part: &Part) -> Result<()> {
    match part {
        Part::Cluster(_) => match found.tools() {
            Some(tools) => cluster::delete(&Context::new(project, tools)),
            None => cluster::delete_by_docker(project),
        },
        Part::Image(image) => observe::remove_image(project, &image.what),
        Part::Container(name) => observe::remove_container(project, name),
        Part::Daemon(_) => {
            commands(project, found, part).into_iter().try_for_each(|call| made::run_removal(project, call))?;
            made::read_made(project)?.daemon.map_or(Ok(()), |daemon| made::wait_for_end(project, &daemon))
        }
        Part::BuildCache(_) | Part::Packages(_) => {
            commands(project, found, part).into_iter().try_for_each(|call| made::run_removal(project, call))
        }
        Part::Cache(_) => observe::remove_path(&project.folders.cache),
        Part::State(_) => observe::remove_path(&project.folders.state),
    }
}

/// What does it, as one would type it.
fn commands(project: &Project, found: &All, part: &Part) -> Vec<Call> {
    let folder = |path: &Path| {
        let path = path.display().to_string();
        vec![call(argv!("rm -r {path}"))]
    };
    match part {
        Part::Cluster(name) => match found.minikube.path() {
            Some(_) => vec![minikube::delete(name)],
            None => cluster::deletion_by_docker(name, project.config.cluster.nodes),
        },
        Part::Container(name) => vec![docker::remove_container(name)],
        Part::Image(image) => vec![docker::remove_image(&image.what)],
        Part::BuildCache(_) => vec![docker::prune_build_cache()],
        Part::Daemon(pid) => vec![made::stop_daemon(*pid)],
        Part::Packages(names) => vec![apt::remove(sudo(), names)],
        Part::Cache(_) => folder(&project.folders.cache),
        Part::State(_) => folder(&project.folders.state),
    }
}

fn removal_commands(project: &Project, found: &All, part: &Part) -> Vec<String> {
    let size = match part {
        Part::Cluster(_) => "with the data of all its namespaces".to_string(),
        Part::Image(image) => mb(image.size_bytes),
        Part::BuildCache(size) => size.clone(),
        Part::Cache(bytes) | Part::State(bytes) => mb(*bytes),
        Part::Container(_) | Part::Daemon(_) | Part::Packages(_) => String::new(),
    };
    let first = if size.is_empty() { name(project, part) } else { format!("{}, {size}", name(project, part)) };
    let commands = commands(project, found, part);
    std::iter::once(first).chain(commands.iter().map(|call| format!("    {}", call.text()))).collect()
}

fn value(project: &Project, found: &All, part: &Part) -> Value {
    let commands: Vec<String> = commands(project, found, part).iter().map(Call::text).collect();
    let size_bytes = match part {
        Part::Image(image) => Some(image.size_bytes),
        Part::Cache(bytes) | Part::State(bytes) => Some(*bytes),
        _ => None,
    };
    json!({ "part": name(project, part), "size_bytes": size_bytes, "commands": commands })
}

fn name(project: &Project, part: &Part) -> String {
    match part {
        Part::Cluster(name) => format!("the cluster {name}"),
        Part::Container(name) => format!("the container {name}"),
        Part::Image(image) => format!("the image {}", image.what),
        Part::BuildCache(_) => "docker's build cache".to_string(),
        Part::Daemon(pid) => format!("the docker daemon, process {pid}"),
        Part::Packages(names) => format!("the Debian packages {}", names.join(", ")),
        Part::Cache(_) => format!("the cache folder {}", project.folders.cache.display()),
        Part::State(_) => format!("the state folder {}", project.folders.state.display()),
    }
}

fn count(parts: &[Part]) -> String {
    format!("{} thing{}", parts.len(), if parts.len() == 1 { "" } else { "s" })
}
