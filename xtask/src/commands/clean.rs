//! `clean`: removes old images and folders of the project's own, on the host, on the nodes and in its folders. What is in
//! use, what the present files want and the newest of each image stay; what is foreign is counted and left alone.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cleanup::decide::{Folders, Judged, Names, Removal, judge_cache, judge_host, judge_node, judge_state, mb};
use crate::cleanup::observe;
use crate::model::cluster::State;
use crate::model::image::Images;
use crate::run::context::{Context, Project, profiles};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::stages::setup::find::All;
use crate::stages::setup::packages;
use crate::stages::{build, cluster, setup};

/// Logs, evidence and records older than this go.
const DAYS_MAX: u64 = 30;

/// A place with what is to be removed from it.
struct CleanupArea {
    name: String,
    /// What is counted here, in the plural.
    things: &'static str,
    kind: Kind,
    judged: Judged,
}

enum Kind {
    Host,
    Node(String),
    Containers,
    Folder(std::path::PathBuf),
}

/// Says what goes, what it frees and what is left alone; unless `dry_run`, removes it. What can't be removed is reported, and
/// the rest goes all the same.
pub fn run(project: &Project, keep: usize, dry_run: bool) -> Result<()> {
    // Nothing may be removed under a run that has just made it.
    let _locks = if dry_run { Vec::new() } else { lock::hold_all(project)? };
    let step = project.ui.step("look at images and folders");
    let found = setup::find_tools(project)?;
    let project = &found.project(project);
    let (areas, notes) = find_leftovers(project, &found, keep)?;
    step.done("");
    let mut failures = Vec::new();
    if !dry_run {
        failures = remove(project, &areas)?;
    }
    let (lines, total) = (tell(&areas, &notes), total(&areas));
    let count: usize = areas.iter().map(|area| area.judged.removals.len()).sum();
    let headline = match (count, dry_run) {
        (0, _) => "Nothing to remove".to_string(),
        (_, true) => format!("{count} to remove, up to {}; nothing was removed (--dry-run)", mb(total)),
        (_, false) => format!("{} went, up to {}", count - failures.len(), mb(total)),
    };
    let value = json!({
        "dry_run": dry_run, "places": areas.iter().map(value).collect::<Vec<_>>(), "notes": notes, "frees_bytes": total,
        "failures": failures,
    });
    project.ui.answer(&lines.join("\n"), value);
    if failures.is_empty() {
        project.ui.summary(&headline);
        return Ok(());
    }
    let message = format!("{headline}; {} could not be removed\n  {}", failures.len(), failures.join("\n  "));
    Err(Stop::failed(format!("{message}\nNext: cargo xtask clean, once nothing uses them")).into())
}

/// How images of all profiles are named, and what their files want.
pub struct ProjectNames {
    pub names: Names,
    pub references: BTreeSet<String>,
    pub folders: BTreeSet<String>,
    pub profiles: Vec<String>,
}

pub fn known(project: &Project) -> Result<ProjectNames> {
    let mut known = ProjectNames {
        names: Names { local: format!("{}.local", project.config.home), ..Names::default() },
        references: BTreeSet::new(),
        folders: BTreeSet::new(),
        profiles: profiles(&project.root),
    };
    for profile in known.profiles.clone() {
        let of_profile = project.of_profile(&profile)?;
        for (name, service) in &of_profile.config.services {
            known.names.services.entry(service.image.clone()).or_default().insert(name.clone());
        }
        let wanted = setup::recipe_names(&of_profile)?;
        // Which bases a build would start from is asked of registries, and they may answer otherwise tomorrow.
        known.references.extend(build::references(&of_profile, &Images::Public)?);
        known.references.extend(build::references(&of_profile, &wanted.images)?);
        known.references.extend(wanted.references);
        known.names.bases.extend(wanted.parts);
        known.folders.extend(wanted.folders.iter().filter_map(|folder| relative(project, folder)));
    }
    known.folders.extend(packages::folders(project)?.iter().filter_map(|folder| relative(project, folder)));
    Ok(known)
}

fn find_leftovers(project: &Project, found: &All, keep: usize) -> Result<(Vec<CleanupArea>, Vec<String>)> {
    let mut known = known(project)?;
    let (mut areas, mut notes) = (Vec::new(), Vec::new());
    let (mut used, mut namespaces) = (None, None);
    let tools = found.tools().filter(|_| found.daemon.is_some()).map(|tools| Context::new(project, tools));
    let mut nodes = Vec::new();
    if let Some(ctx) = &tools {
        match cluster::observe(ctx)? {
            State::Running => {
                used = Some(observe::used_in_cluster(ctx)?);
                namespaces = Some(observe::namespaces(ctx)?);
                nodes = cluster::nodes(ctx)?;
            }
            State::Absent => namespaces = Some(BTreeSet::new()),
            _ => notes.push(format!(
                "the cluster {} does not serve, so what it uses is unknown: its images are kept",
                project.config.cluster.name
            )),
        }
    }
    match found.docker.path().filter(|_| found.daemon.is_some()) {
        Some(_) => {
            let host = observe::look_at_host(project)?;
            let runtimes = observe::runtimes(project)?;
            known.folders.extend(runtimes.iter().filter_map(|program| relative(project, program.parent()?)));
            let mut on_host = host.used();
            on_host.references = known.references.clone();
            on_host.references.extend(used.clone().unwrap_or_default());
            let judged = judge_host(&host.images, &known.names, &on_host, keep);
            let mut in_cluster = on_host.clone();
            in_cluster.ids.clear();
            let orphans = observe::orphans(project, &host.containers).into_iter();
            let why = "the check that it was started for was killed";
            let orphans =
                orphans.map(|name| Removal { what: name.to_string(), why: why.to_string(), size_bytes: 0 }).collect();
            let orphans = Judged { removals: orphans, ..Judged::default() };
            areas.push(CleanupArea {
                name: "containers".into(),
                things: "containers",
                kind: Kind::Containers,
                judged: orphans,
            });
            let kept = judged.kept.clone();
            areas.push(CleanupArea { name: "host".into(), things: "images", kind: Kind::Host, judged });
            for node in &nodes {
                let Some(ctx) = &tools else { break };
                let images = observe::look_at_node(ctx, node)?;
                let judged = judge_node(&images, &known.names, &in_cluster, &kept);
                let (name, kind) = (format!("node {node}"), Kind::Node(node.clone()));
                areas.push(CleanupArea { name, things: "images", kind, judged });
            }
            if let Some(size) = observe::build_cache(project)? {
                notes.push(format!(
                    "docker's build cache holds {size}; it has no owner label and is kept: docker builder prune"
                ));
            }
        }
        None => notes.push("docker does not answer: images are kept".to_string()),
    }
    let links = observe::link_targets(&project.folders.bin())
        .into_iter()
        .chain(observe::link_targets(&project.folders.minikube_home()));
    for target in links {
        // A program's folder, or the folder itself.
        known
            .folders
            .extend(target.parent().into_iter().chain([target.as_path()]).filter_map(|path| relative(project, path)));
    }
    let folders = Folders { wanted: known.folders, profiles: known.profiles, namespaces };
    let entries = observe::list(
        &project.folders.cache,
        &["", "bin", "cluster", "go", "lint/staging", "packages", "python", "render/staging", "staging", "tools"],
    );
    let folder = |name: &str, path: &Path, judged| CleanupArea {
        name: format!("{name} folder"),
        things: "entries",
        kind: Kind::Folder(path.to_path_buf()),
        judged,
    };
    areas.push(folder("cache", &project.folders.cache, judge_cache(&entries, &folders)));
    let mut entries = observe::list_by_age(&project.folders.state, &["evidence", "logs"]);
    // A daemon may be silent for long.
    entries.retain(|(path, ..)| found.daemon.is_none() || !path.ends_with("dockerd.log"));
    areas.push(folder("state", &project.folders.state, judge_state(&entries, DAYS_MAX)));
    for area in &mut areas {
        if let Kind::Folder(root) = &area.kind {
            area.judged.removals.iter_mut().for_each(|one| one.size_bytes = observe::size(&root.join(&one.what)));
        }
    }
    Ok((areas, notes))
}

/// Removes everything one by one; returns the failures.
fn remove(project: &Project, areas: &[CleanupArea]) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    for area in areas.iter().filter(|area| !area.judged.removals.is_empty()) {
        let step = project.ui.step(format!("clean {}", area.name));
        for Removal { what, .. } in &area.judged.removals {
            project.spawn.interrupt.check()?;
            step.update(what);
            let removed = match &area.kind {
                Kind::Host => observe::remove_image(project, what),
                Kind::Node(node) => observe::remove_from_node(project, node, what),
                Kind::Containers => observe::remove_container(project, what),
                Kind::Folder(root) => observe::remove_path(&root.join(what)),
            };
            if let Err(error) = removed {
                project.spawn.interrupt.check()?;
                failures.push(format!("{}: {what}: {error:#}", area.name));
            }
        }
        step.done(&format!("{} {}", area.judged.removals.len(), area.things));
    }
    Ok(failures)
}

fn total(areas: &[CleanupArea]) -> u64 {
    areas.iter().flat_map(|area| &area.judged.removals).map(|removal| removal.size_bytes).sum()
}

fn tell(areas: &[CleanupArea], notes: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for area in areas {
        let Judged { removals, kept, foreign } = &area.judged;
        if removals.is_empty() && kept.is_empty() && *foreign == 0 {
            continue;
        }
        let others = if *foreign > 0 { format!(", left alone {foreign} of others") } else { String::new() };
        lines.push(format!("{}: {} {} to remove, {} stay{others}", area.name, removals.len(), area.things, kept.len()));
        let width = removals.iter().map(|removal| removal.what.chars().count()).max().unwrap_or(0);
        for Removal { what, why, size_bytes } in removals {
            lines.push(format!("  {what:<width$}  {:>10}  {why}", mb(*size_bytes)));
        }
    }
    lines.extend(notes.iter().cloned());
    lines
}

fn value(area: &CleanupArea) -> Value {
    let removals = area.judged.removals.iter();
    let removals = removals.map(|one| json!({ "what": one.what, "why": one.why, "frees_bytes": one.size_bytes }));
    json!({
        "place": area.name, "removals": removals.collect::<Vec<_>>(), "kept": area.judged.kept,
        "foreign": area.judged.foreign,
    })
}

/// A path of the cache folder as it is listed.
fn relative(project: &Project, path: &Path) -> Option<String> {
    Some(path.strip_prefix(&project.folders.cache).ok()?.display().to_string())
}
