//! What `dev` does in place of `up`, where that is enough: copies folders, and gives services that start again the files of a
//! new image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result};

use crate::live;
use crate::model::shortcut;
use crate::model::shortcut::{Copy, Restart, Shortcut, Sources};
use crate::run::context::{Context, Project};
use crate::run::exit::exit_code;
use crate::run::{lock, record};
use crate::stages::smoke::Occasion;
use crate::stages::smoke::forward::Early;
use crate::stages::{build, restart, setup, smoke, sync};
use crate::tools::containerd::Listing;

/// What the containers have.
pub struct Known {
    /// Of each folder that can be copied into them, by the folder.
    folders: BTreeMap<PathBuf, Listing>,
    images: restart::Known,
}

/// How a shortcut ended.
pub enum Taken {
    /// Containers have what is new. Where services have started again, the checks have passed.
    Done,
    /// Why only `up` can do it.
    Impossible(Error),
}

impl Known {
    /// Each folder as it is now. One that cannot be listed is left to the build.
    pub fn new(project: &Project) -> Known {
        let folders = sources(project).into_iter().flat_map(|one| one.sync.into_keys());
        let list = |from: PathBuf| Some((from.clone(), sync::list_source(&from, &project.spawn.interrupt).ok()?));
        Known { folders: folders.filter_map(list).collect(), images: restart::Known::default() }
    }

    /// The shortcut of a change; None where it is not enough.
    pub fn find(&self, project: &Project, changed: &BTreeSet<PathBuf>) -> Option<Shortcut> {
        shortcut::find(changed, &sources(project)).filter(|found| *found != Shortcut::default())
    }
}

/// Takes a shortcut, recorded as a run of its own. Errors are those of the change, and what served before still does where a
/// build failed.
pub fn take(project: &Project, shortcut: &Shortcut, known: &mut Known) -> Result<Taken> {
    record::begin(project, "sync")?;
    let taken = do_all(project, shortcut, known);
    record::end(
        project,
        match &taken {
            Ok(Taken::Impossible(error)) | Err(error) => exit_code(error),
            Ok(_) => 0,
        },
    );
    taken
}

/// A path of the project without the dots, which what the system reports has not.
pub fn place(project: &Project, path: &Path) -> PathBuf {
    project.root.join(path).components().collect()
}

fn do_all(project: &Project, shortcut: &Shortcut, known: &mut Known) -> Result<Taken> {
    if shortcut.restarts.is_empty() {
        let ctx = setup::need_tools(project)?;
        let _lock = lock::hold(&ctx, &ctx.config.place())?;
        let copied = shortcut.copies.iter().try_for_each(|copy| copy_one(&ctx, copy, known));
        return Ok(copied.map_or_else(Taken::Impossible, |()| Taken::Done));
    }
    let ready = setup::set_up(project, None)?;
    let ctx = &ready.ctx;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let services: Vec<&str> = shortcut.restarts.iter().map(|one| one.service.as_str()).collect();
    let wanted = build::references_of(ctx, &ready.images, &services)?;
    // No shortcut changes a Service: what the checks need of the cluster is asked for beside the build.
    let early = Early::begin(ctx);
    let (built, endpoints) = std::thread::scope(|threads| {
        let endpoints = threads.spawn(|| live::endpoints(ctx));
        let built = build::ensure(&ready, &wanted);
        (built, endpoints.join().expect("asking for Services does not panic"))
    });
    let (built, _) = built?;
    let copied = shortcut.copies.iter().try_for_each(|copy| copy_one(ctx, copy, known));
    let mut restarts = shortcut.restarts.iter();
    let given = copied
        .and_then(|()| restarts.try_for_each(|one| restart_one(ctx, one, &built[&one.service].reference(), known)));
    if let Err(error) = given {
        return Ok(Taken::Impossible(error));
    }
    smoke::run(ctx, Occasion::Unchanged, endpoints?, early)?;
    Ok(Taken::Done)
}

fn copy_one(ctx: &Context, copy: &Copy, known: &mut Known) -> Result<()> {
    let folder = copy.from.strip_prefix(&ctx.root).unwrap_or(&copy.from).display();
    let before =
        known.folders.remove(&copy.from).with_context(|| format!("{folder} was never seen as it is in the image"))?;
    let step = ctx.ui.step(format!("sync {}", copy.service));
    let (now, count) = sync::replace(ctx, copy, &before)?;
    known.folders.insert(copy.from.clone(), now);
    step.done(&format!("{folder} in {}", containers(count)));
    Ok(())
}

fn restart_one(ctx: &Context, restart: &Restart, image: &str, known: &mut Known) -> Result<()> {
    let step = ctx.ui.step(format!("restart {}", restart.service));
    let (saved, count) = restart::replace(ctx, restart, image, &mut known.images)?;
    for one in sources(ctx).into_iter().filter(|one| one.service == restart.service) {
        known.folders.extend(one.sync.into_iter().map(|(from, to)| (from, restart::list_folder(saved, to))));
    }
    step.done(&format!("the files of {image} in {}", containers(count)));
    Ok(())
}

fn containers(count: usize) -> String {
    if count == 1 { "the container that runs".to_string() } else { format!("{count} containers") }
}

/// The services that run, as far as their files go.
pub fn sources(project: &Project) -> Vec<Sources<'_>> {
    let of_service = |(service, _): (&'_ str, _)| -> Sources<'_> {
        let (service, about) = project.config.services.get_key_value(service).expect("what runs is described");
        let within = |path: &PathBuf| place(project, &about.context.join(path));
        Sources {
            service,
            inputs: about.inputs.iter().map(within).collect(),
            sync: about.sync.iter().map(|(from, to)| (within(from), to.as_str())).collect(),
            signal: about.restart_signal.as_deref(),
        }
    };
    project.config.running().map(of_service).collect()
}
