//! A bundle: what bootstrap made, in one file, so that another machine is ready without making it again.

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Error, Result};

use crate::model::bundle::{Bundle, Content, Platform, find_unknown};
use crate::run::context::{Project, profiles};
use crate::run::exit::Stop;
use crate::run::files::Temporary;
use crate::run::files::fresh_folder;
use crate::run::lock;
use crate::run::ui::Step;
use crate::stages::setup::downloads::{go_names, megabytes};
use crate::stages::setup::find::{All, Elsewhere};
use crate::stages::setup::mirrors::link_cluster_cache;
use crate::stages::setup::recipes::{Plan, TOOLS};
use crate::stages::setup::{find, machine, recipe_names, sizes};
use crate::tools::{docker, git};
use read::Opened;
use write::{Source, Work, write_bundle};

/// What was saved.
pub struct Saved {
    pub size_bytes: u64,
    /// Paths in the cache.
    pub folders: Vec<String>,
    pub images: Vec<String>,
    /// Tools that are on PATH here, and so in no bundle.
    pub on_path: Vec<&'static str>,
}

/// What was loaded.
#[derive(Default)]
pub struct Loaded {
    /// Paths in the cache.
    pub installed: Vec<String>,
    /// Those that were there, and whole.
    pub left: Vec<String>,
    pub images: Vec<String>,
}

/// Writes what the recipes of all profiles name, as far as it was made, into a file. What the present profile needs must be there.
pub fn save(project: &Project, file: &Path) -> Result<Saved> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file.is_dir() || file.file_name().is_none() || !folder.is_dir() {
        let message = format!("{} cannot be written: it is a folder, or lies in none", file.display());
        return Err(Stop::usage(format!("{message}\nNext: cargo xtask bundle save FILE")).into());
    }
    let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
    let plan = Plan::new(project)?;
    let found = find::all(project, &plan)?;
    let missing = find_missing(&plan, &found);
    if !missing.is_empty() {
        let message = format!("this machine has not made all that a bundle holds\n  {}", missing.join("\n  "));
        return Err(Stop::needs_setup(format!("{message}\nNext: cargo xtask bootstrap --from mirrors")).into());
    }
    let saved = save_found(&found.project(project), &plan, &found, file);
    saved.map_err(|error| interrupted_or(project, error))
}

fn save_found(project: &Project, plan: &Plan, found: &All, file: &Path) -> Result<Saved> {
    let names = names_of_recipes(project)?;
    let cache = &project.folders.cache;
    let folders: Vec<String> = names.folders.into_iter().filter(|path| is_whole(&cache.join(path), path)).collect();
    let images: BTreeMap<String, String> =
        found.images.clone().into_iter().filter(|(reference, _)| names.references.contains(reference)).collect();
    let references: Vec<String> = images.keys().cloned().collect();
    let work = Temporary(fresh_folder(&cache.join("bundle"))?);
    let archive = work.0.join("images.tar");

    let step = project.ui.step("save images");
    project.run(docker::save_all(&references, &archive.display().to_string()))?;
    step.done(&format!("{} images", references.len()));

    let step = project.ui.step("write the bundle");
    let source = |path: &String| Source {
        content: Content::Folder(path.clone()),
        path: cache.join(path),
        only: PathBuf::from(program_of(path)),
    };
    // Images first: they take the longest.
    let mut sources = vec![Source { content: Content::Images(images), path: archive, only: PathBuf::new() }];
    sources.extend(folders.iter().map(source));
    let commit = project.spawn.attempt(git::commit(&project.root.display().to_string()));
    let commit = commit.ok().and_then(Result::ok);
    let size_bytes = write_bundle(
        &Work { folder: &work.0, interrupt: &project.spawn.interrupt, show: &progress(&step, "packed") },
        &sources,
        &this_platform(),
        commit,
        file,
    )?;
    step.done(&megabytes(size_bytes));
    let on_path = TOOLS.into_iter().filter(|tool| plan.made(tool).is_none()).collect();
    Ok(Saved { size_bytes, folders, images: references, on_path })
}

/// Installs what a bundle holds and this machine does not have. All of it is verified before.
pub fn load(project: &Project, file: &Path) -> Result<Loaded> {
    if !file.is_file() {
        return Err(Stop::usage(format!("{}: there is no such file", file.display())).into());
    }
    let _lock = lock::hold_within(project, lock::BOOTSTRAP, project.config.deadlines.bootstrap)?;
    let plan = Plan::new(project)?;
    let found = find::all(project, &plan)?;
    check_docker(&found, project.yes)?;
    let refused = |error| interrupted_or(project, refuse(file, error));
    let opened = verify(project, file).map_err(refused)?;
    let work = Temporary(fresh_folder(&project.folders.cache.join("bundle"))?);
    let archive = work.0.join("images.tar");
    let (loaded, images) = install_folders(project, &opened, &archive).map_err(refused)?;
    if plan.cluster_cache.exists() {
        link_cluster_cache(project, &plan)?;
    }
    machine::ensure_docker(project, &found, &plan, true)?;
    let found = find::all(project, &plan)?;
    load_images(&found.project(project), &archive, &images)?;
    Ok(Loaded { images: images.into_keys().collect(), ..loaded })
}

/// Reads the index and compares every part with its digest.
fn verify<'a>(project: &'a Project, file: &Path) -> Result<Opened<'a>> {
    let step = project.ui.step("verify the bundle");
    let opened = read::open(file, &this_platform(), &project.spawn.interrupt)?;
    let names = names_of_recipes(project)?;
    let unknown = find_unknown(&opened.bundle, &names.folders, &names.references);
    if !unknown.is_empty() {
        return Err(refuse_version(file, &opened.bundle, &unknown).into());
    }
    opened.verify_all(&progress(&step, &format!("of {}", megabytes(opened.size()))))?;
    step.done(&format!("{} parts, {}", opened.bundle.parts.len(), megabytes(opened.size())));
    Ok(opened)
}

/// Unpacks every part; once all are there, gives the folders their names. Returns the images, whose archive is written for
/// `docker load`.
fn install_folders(project: &Project, opened: &Opened, archive: &Path) -> Result<(Loaded, BTreeMap<String, String>)> {
    let step = project.ui.step("unpack the bundle");
    let text = format!("of {}", megabytes(opened.size()));
    let Unpacked { loaded, images, fresh } = unpack(project, opened, archive, &progress(&step, &text))?;
    project.spawn.interrupt.check()?;
    for (partial, folder) in fresh {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&partial.0, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    step.done(&format!("{} folders, {} were there", loaded.installed.len(), loaded.left.len()));
    Ok((loaded, images))
}

/// What was unpacked and has no name yet.
#[derive(Default)]
struct Unpacked {
    loaded: Loaded,
    images: BTreeMap<String, String>,
    /// Folders beside their places.
    fresh: Vec<(Temporary, PathBuf)>,
}

fn unpack(project: &Project, opened: &Opened, archive: &Path, show: &dyn Fn(u64)) -> Result<Unpacked> {
    let Unpacked { mut loaded, mut images, mut fresh } = Unpacked::default();
    for part in &opened.bundle.parts {
        match &part.content {
            Content::Images(named) => {
                opened.unpack_images(&part.blob, named, archive, show)?;
                images.extend(named.clone());
            }
            Content::Folder(path) => {
                let folder = project.folders.cache.join(path);
                if is_whole(&folder, path) {
                    loaded.left.push(path.clone());
                    continue;
                }
                let partial = Temporary(fresh_folder(&folder)?);
                opened.unpack_folder(&part.blob, &partial.0, show).with_context(|| path.clone())?;
                loaded.installed.push(path.clone());
                fresh.push((partial, folder));
            }
        }
    }
    Ok(Unpacked { loaded, images, fresh })
}

/// Loads the archive, and compares the IDs with those that the bundle names.
fn load_images(project: &Project, archive: &Path, images: &BTreeMap<String, String>) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let step = project.ui.step("load images into docker");
    project.run(docker::load(&archive.display().to_string()))?;
    let there = project.run(docker::images())?;
    for (reference, id) in images {
        let found = there.get(reference).map_or("none", String::as_str);
        if found != id {
            let message = format!("docker has {found} as {reference} after the load, and the bundle has {id}");
            return Err(
                Stop::failed(format!("{message}\nNext: docker image rm {reference}, then the same command")).into()
            );
        }
    }
    step.done(&format!("{} images", images.len()));
    Ok(())
}

/// What the recipes of all profiles name: folders by their path in the cache, images by reference.
struct Names {
    folders: BTreeSet<String>,
    references: BTreeSet<String>,
}

fn names_of_recipes(project: &Project) -> Result<Names> {
    let mut names = Names { folders: BTreeSet::new(), references: BTreeSet::new() };
    for profile in profiles(&project.root) {
        let of_profile = recipe_names(&project.of_profile(&profile)?)?;
        let relative = |folder: &PathBuf| Some(folder.strip_prefix(&project.folders.cache).ok()?.display().to_string());
        names.folders.extend(of_profile.folders.iter().filter_map(relative));
        names.references.extend(of_profile.references);
    }
    Ok(names)
}

/// What of a folder goes into a bundle: of hadolint's, which is a Python environment of this machine, the program alone.
fn program_of(path: &str) -> &str {
    if path.starts_with("python/") { "bin/hadolint" } else { "." }
}

fn is_whole(folder: &Path, path: &str) -> bool {
    folder.join(program_of(path)).exists() && sizes::is_whole(folder)
}

/// A line for each thing without which another machine would have to compile.
fn find_missing(plan: &Plan, found: &All) -> Vec<String> {
    let mut missing = Vec::new();
    if found.daemon.is_none() {
        missing.push(describe_docker(found));
    }
    let images = [&plan.debian, &plan.node, &plan.rust].into_iter().chain(plan.addons.values()).chain(&plan.network);
    missing.extend(images.filter(|image| !found.images.contains_key(*image)).map(|image| format!("image {image}")));
    if !plan.cluster_cache.exists() {
        missing.push(format!("the control plane, {}", plan.cluster_cache.display()));
    }
    let shim = plan.modules.get("runc-shim").filter(|folder| plan.shim && !is_whole(folder, ""));
    missing.extend(shim.map(|folder| format!("the shim before runc, {}", folder.display())));
    missing.extend(found.missing().into_iter().map(str::to_string));
    missing
}

fn describe_docker(found: &All) -> String {
    match (&found.elsewhere, found.docker.path()) {
        (Some(elsewhere), _) => elsewhere.message(),
        (None, None) => found.docker.explain("docker"),
        (None, Some(_)) => "docker: the client is there, but no daemon answers it".to_string(),
    }
}

/// Refuses where no daemon answers, before anything is read; with consent, one is started later.
fn check_docker(found: &All, yes: bool) -> Result<()> {
    if found.daemon.is_some() || (yes && found.elsewhere.is_none()) {
        return Ok(());
    }
    let with_consent = "start docker, or run the same command with --yes, which installs and starts it".to_string();
    let next = found.elsewhere.as_ref().map_or(with_consent, Elsewhere::next);
    let message = format!("the bundle's images need docker\n  {}", describe_docker(found));
    Err(Stop::needs_setup(format!("{message}\nNext: {next}")).into())
}

fn refuse(file: &Path, error: Error) -> Error {
    if error.is::<Stop>() {
        return error;
    }
    let message = format!("{} cannot be loaded, and nothing was installed\n    {error:#}", file.display());
    Stop::failed(format!("{message}\nNext: copy it again, or save it anew: cargo xtask bundle save FILE")).into()
}

fn refuse_version(file: &Path, bundle: &Bundle, unknown: &[String]) -> Stop {
    let commit = bundle.commit.as_ref().map_or(String::new(), |commit| format!(" (commit {commit})"));
    let message = format!("{} was saved by another version{commit}, and nothing was installed", file.display());
    Stop::failed(format!(
        "{message}\n  {}\nNext: check out that version, or save a bundle with this one: cargo xtask bundle save FILE",
        unknown.join("\n  ")
    ))
}

/// A stream ends with an error of its own when it is interrupted.
fn interrupted_or(project: &Project, error: Error) -> Error {
    project.spawn.interrupt.check().err().unwrap_or(error)
}

/// Shows how many bytes have passed.
fn progress<'a>(step: &'a Step, text: &str) -> impl Fn(u64) + Sync + use<'a> {
    let (total, text) = (AtomicU64::new(0), text.to_string());
    move |count| {
        let total = total.fetch_add(count, Ordering::Relaxed) + count;
        step.update(&format!("{} {text}", megabytes(total)));
    }
}

fn this_platform() -> Platform {
    let (os, architecture) = go_names(std::env::consts::OS, std::env::consts::ARCH);
    Platform { os: os.to_string(), architecture: architecture.to_string() }
}
