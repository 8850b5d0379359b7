//! Looks at what the project's runs have left in docker, on the nodes and in its folders, and removes what was judged.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::cleanup::decide::{Used, images_named};
use crate::live;
use crate::model::image::Image;
use crate::run::call::{Call, display};
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::process;
use crate::tools::docker::Container;
use crate::tools::{crictl, docker, helm, kubectl};

/// Of an image with large layers, more than a moment.
const REMOVAL: Duration = Duration::from_secs(300);
/// Whatever makes pods, and what it could make them of again.
const WORKLOADS: &str =
    "pods,deployments,replicasets,statefulsets,controllerrevisions,daemonsets,jobs,cronjobs,replicationcontrollers";

/// What the host's docker holds, ours or not.
pub struct Host {
    pub images: Vec<Image>,
    pub containers: Vec<Container>,
}

pub fn look_at_host(project: &Project) -> Result<Host> {
    let ids: Vec<String> = BTreeSet::from_iter(project.run(docker::images())?.into_values()).into_iter().collect();
    let label = docker::label(&project.config.project);
    let images = docker::parse_inspected_images(&inspected(project, docker::inspect_images, &ids)?, &label)
        .context("docker's images cannot be read")?;
    let ids = project.run(docker::containers())?;
    let containers = docker::parse_inspected_containers(&inspected(project, docker::inspect_containers, &ids)?)
        .context("docker's containers cannot be read")?;
    Ok(Host { images, containers })
}

impl Host {
    /// What containers were made from.
    pub fn used(&self) -> Used {
        Used {
            ids: self.containers.iter().map(|container| container.image_id.clone()).collect(),
            references: BTreeSet::new(),
        }
    }
}

/// What docker tells of several things; one that went meanwhile fails the call, and the others are returned all the same.
fn inspected(project: &Project, inspect: fn(&[String]) -> Call, ids: &[String]) -> Result<String> {
    match ids {
        [] => Ok("[]".to_string()),
        ids => Ok(project.output(inspect(ids))?.stdout),
    }
}

/// The containers of checks whose process is gone: they were killed before they could remove them.
pub fn orphans<'a>(project: &Project, containers: &'a [Container]) -> Vec<&'a str> {
    let label = docker::check_label(&project.config.project);
    let owner = |container: &Container| container.labels.get(&label).map(|pid| lives(pid));
    containers.iter().filter(|container| owner(container) == Some(false)).map(|one| one.name.as_str()).collect()
}

fn lives(pid: &str) -> bool {
    pid.parse().is_ok_and(process::is_alive)
}

pub fn look_at_node(ctx: &Context, node: &str) -> Result<Vec<Image>> {
    ctx.run(crictl::inventory(node)).with_context(|| format!("the image list of node {node} cannot be read"))
}

/// The images that something in the cluster is made of, or that a release could be taken back to.
pub fn used_in_cluster(ctx: &Context) -> Result<BTreeSet<String>> {
    let objects = ctx.run(kubectl::get_everywhere(&ctx.target(), WORKLOADS))?;
    let mut used: BTreeSet<String> = objects.iter().flat_map(images_named).collect();
    for (namespace, release) in ctx.run(helm::list_everywhere(&ctx.target()))? {
        let target = ctx.target_in(&namespace);
        let Some(revisions) = still_there(ctx, helm::history(&target, &release, HISTORY))? else { continue };
        for revision in revisions {
            let manifest = helm::manifest_of(&target, &release, revision.number);
            let manifest = still_there(ctx, manifest)?.unwrap_or_default();
            used.extend(live::objects_in(&manifest)?.iter().flat_map(images_named));
        }
    }
    Ok(used)
}

/// The answer of helm about a release; None if it was removed since it was listed.
fn still_there<T>(ctx: &Context, call: Call<T>) -> Result<Option<T>> {
    let text = display(&call.argv);
    match ctx.spawn.attempt(call)? {
        Ok(answer) => Ok(Some(answer)),
        Err(output) if output.tail.contains("release: not found") => Ok(None),
        Err(output) => Err(Stop::failed(format!("`{text}` failed")).with_detail(&output.tail).into()),
    }
}

/// More revisions than helm keeps.
const HISTORY: u32 = 100;

pub fn namespaces(ctx: &Context) -> Result<BTreeSet<String>> {
    let namespaces = ctx.run(kubectl::get_everywhere(&ctx.target(), "namespaces"))?;
    let name = |object: &serde_json::Value| object["metadata"]["name"].as_str().map(str::to_string);
    Ok(namespaces.iter().filter_map(name).collect())
}

/// The programs in our cache that the daemon runs containers with.
pub fn runtimes(project: &Project) -> Result<Vec<PathBuf>> {
    Ok(project.run(docker::runtimes())?.into_iter().map(PathBuf::from).collect())
}

/// What docker's build cache holds, in docker's words.
pub fn build_cache(project: &Project) -> Result<Option<String>> {
    Ok(project.spawn.attempt(docker::disk_use().within(REMOVAL))?.ok().flatten())
}

pub fn remove_image(project: &Project, reference: &str) -> Result<()> {
    project.run(docker::remove_image(reference).within(REMOVAL)).map(drop)
}

pub fn remove_from_node(project: &Project, node: &str, reference: &str) -> Result<()> {
    project.run(crictl::remove_image(node, reference).within(REMOVAL)).map(drop)
}

pub fn remove_container(project: &Project, name: &str) -> Result<()> {
    project.run(docker::remove_container(name).within(REMOVAL)).map(drop)
}

/// Removes a file, a link or a folder with all that is in it; one that is gone already was what was wanted.
pub fn remove_path(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The paths in some folders of a root, relative to it; "" is the root itself.
pub fn list(root: &Path, folders: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            found.push(Path::new(folder).join(entry.file_name()).display().to_string());
        }
    }
    found.sort();
    found
}

/// The same, with the days since something in them was written.
pub fn list_by_age(root: &Path, folders: &[&str]) -> Vec<(String, u64)> {
    let age = |path: &str| newest(&root.join(path)).and_then(|time| SystemTime::now().duration_since(time).ok());
    let days = |path: &str| age(path).unwrap_or_default().as_secs() / 86_400;
    list(root, folders).into_iter().map(|path| (path.clone(), days(&path))).collect()
}

/// Where the links in a folder lead.
pub fn link_targets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// The bytes on disk of a file, or of all files of a folder; a file that has several names counts once.
pub fn size(path: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    walk(path, &mut |about| {
        if about.is_file() && seen.insert((about.dev(), about.ino())) {
            bytes += about.blocks() * 512;
        }
    });
    bytes
}

fn newest(path: &Path) -> Option<SystemTime> {
    let mut newest = None;
    walk(path, &mut |about| newest = newest.max(about.modified().ok()));
    newest
}

/// Calls `see` with everything there is under a path, itself included; no link is followed.
fn walk(path: &Path, see: &mut dyn FnMut(&fs::Metadata)) {
    let Ok(about) = fs::symlink_metadata(path) else { return };
    see(&about);
    if about.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), see);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_links_count_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("a").join(name);
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(at("one"), vec![1; 8192]).unwrap();
        let one = size(&at("one"));
        assert!(one >= 8192, "{one}");
        fs::hard_link(at("one"), at("two")).unwrap();
        std::os::unix::fs::symlink(at("one"), at("link")).unwrap();
        assert_eq!(list(folder.path(), &["", "none"]), ["a"]);
        assert_eq!(size(folder.path()), one);
        assert_eq!(link_targets(&folder.path().join("a")), [at("one")]);
    }

    #[test]
    fn a_link_is_removed_and_not_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, link) = (folder.path().join("kept"), folder.path().join("link"));
        fs::create_dir(&kept).unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        remove_path(&link).unwrap();
        remove_path(&link).unwrap();
        assert!(kept.exists() && fs::symlink_metadata(&link).is_err());
    }

    #[test]
    fn a_process_that_runs_differs_from_one_that_is_gone() {
        assert!(lives(&std::process::id().to_string()));
        assert!(!lives("") && !lives("x") && !lives("2000000000"));
    }
}
