//! Go programs, built from the modules of `k8s/node/go`. What shares a folder is compiled together, and so once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::config::Module;
use crate::run::call::Call;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::run::files::fresh_folder;
use crate::run::graph;
use crate::run::graph::Task;
use crate::stages::setup::recipes::{Plan, variables};
use crate::stages::setup::sizes;
use crate::tools::go;

/// More at once would only slow each other down: the compilers use every core by themselves.
pub const LANES: usize = 2;

/// The part of the packages after which a time left is more than a guess.
const KNOWN: f64 = 0.05;

/// Builds modules, as far as they are not there.
pub fn build(project: &Project, plan: &Plan, names: &[&str]) -> Result<()> {
    need_go("install Go; its version must be that of k8s/node/go/*/go.mod or newer")?;
    graph::run(tasks(project, plan, names)?, LANES)
}

/// A task for each folder of these modules, in their order, named as the folder.
pub fn tasks<'a>(project: &'a Project, plan: &'a Plan, names: &[&str]) -> Result<Vec<Task<'a>>> {
    let mut folders: Vec<(&Path, Vec<String>)> = Vec::new();
    for name in names {
        let folder = module(project, name)?.folder.as_path();
        match folders.iter_mut().find(|(other, _)| *other == folder) {
            Some((_, names)) => names.push(name.to_string()),
            None => folders.push((folder, vec![name.to_string()])),
        }
    }
    let task = |(folder, names): (&Path, Vec<String>)| Task {
        name: folder_name(folder),
        needs: Vec::new(),
        run: Box::new(move || build_folder(project, plan, &names)),
    };
    Ok(folders.into_iter().map(task).collect())
}

/// The task that builds a module.
pub fn task_of(project: &Project, name: &str) -> String {
    project.config.mirrors.modules.get(name).map_or(name.to_string(), |module| folder_name(&module.folder))
}

pub fn need_go(next: &str) -> Result<()> {
    match which::which("go") {
        Ok(_) => Ok(()),
        Err(_) => {
            let message = "go is not on PATH, and what is missing must be built with it";
            Err(Stop::needs_setup(format!("{message}\nNext: {next}")).into())
        }
    }
}

/// Builds modules of one folder, each into its own place, as far as they are not there.
fn build_folder(project: &Project, plan: &Plan, names: &[String]) -> Result<()> {
    let mut missing = Vec::new();
    for name in names {
        let place = plan.modules.get(name).with_context(|| format!("{name} has no place"))?;
        if !(place.exists() && sizes::is_whole(place)) {
            missing.push((name, module(project, name)?, place));
        }
    }
    let Some((first, Module { folder, .. }, place)) = missing.first().copied() else { return Ok(()) };
    let step =
        project.ui.step(format!("build {}", missing.iter().map(|one| one.0.as_str()).collect::<Vec<_>>().join(", ")));
    let out = fresh_folder(&place.with_file_name(format!("{first}-together")))?;
    let spawn = go::with_environment(&project.spawn);
    let wanted: Vec<&String> = missing.iter().flat_map(|(_, module, _)| &module.packages).collect();
    let all = spawn.run_showing(within(project, folder, go::count_packages(&wanted)), &|line| step.update(line))?;
    let (compiled, started) = (AtomicUsize::new(0), Instant::now());
    let show = |line: &str| {
        let count = compiled.fetch_add(usize::from(go::is_package(line)), Ordering::Relaxed) + 1;
        step.update(&format!("{}, {line}", progress(count, all, started.elapsed())));
    };
    let build = go::build(&wanted, &variables(project, folder), &out.display().to_string());
    spawn.run_showing(within(project, folder, build), &show)?;
    for (name, module, place) in missing {
        put(name, module, &out, place)?;
    }
    fs::remove_dir_all(&out)?;
    step.done("from its Go module");
    Ok(())
}

/// How far a build is, and how long it will take by the time that each package took until now. The time is left out while
/// too little is known.
fn progress(compiled: usize, all: usize, took: Duration) -> String {
    let part = compiled.min(all) as f64 / all.max(1) as f64;
    let left_s = (took.as_secs_f64() * (1.0 - part) / part.max(0.001)) as u64;
    let left = match left_s {
        _ if part < KNOWN => String::new(),
        0..60 => ", less than a minute left".to_string(),
        _ => format!(", about {} min left", left_s.div_ceil(60)),
    };
    format!("{compiled} of {all} packages, {} %{left}", (part * 100.0) as u32)
}

/// Moves what was built of a module to its place, which is there only when it is whole.
fn put(name: &str, module: &Module, out: &Path, place: &PathBuf) -> Result<()> {
    let partial = fresh_folder(place)?;
    for package in &module.packages {
        let binary = go::binary_of(package, &folder_name(&module.folder));
        let own = module.rename.get(&binary).unwrap_or(&binary);
        fs::rename(out.join(&binary), partial.join(own)).with_context(|| format!("{name} did not build {binary}"))?;
    }
    if name == "runc-shim" {
        // The shim learns from its name that it is docker's, which must give the node a cgroup namespace.
        fs::hard_link(partial.join("runc-shim"), partial.join("runc-cgroupns"))?;
    }
    sizes::note_sizes(&partial)?;
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    Ok(fs::rename(&partial, place)?)
}

fn within<T>(project: &Project, folder: &Path, call: Call<T>) -> Call<T> {
    call.within(project.config.deadlines.bootstrap).folder(project.recipes().join(folder))
}

fn module<'a>(project: &'a Project, name: &str) -> Result<&'a Module> {
    project.config.mirrors.modules.get(name).ok_or_else(|| {
        let message =
            format!("xtask.toml has no [mirrors.modules.{name}], and it must be built here\nNext: describe it there");
        Stop::usage(message).into()
    })
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_packages_that_are_left() {
        let after = |compiled, seconds| progress(compiled, 1000, Duration::from_secs(seconds));
        assert_eq!(after(20, 10), "20 of 1000 packages, 2 %");
        assert_eq!(after(250, 100), "250 of 1000 packages, 25 %, about 5 min left");
        assert_eq!(after(900, 300), "900 of 1000 packages, 90 %, less than a minute left");
        // Go may compile more than it lists, and there may be nothing.
        assert_eq!(after(1001, 300), "1001 of 1000 packages, 100 %, less than a minute left");
        assert!(progress(1, 0, Duration::ZERO).starts_with("1 of 0"));
    }
}
