//! Gives the containers that run the files of another image of the same service, and has their program start again: no pod
//! is made. The next container is made of the image that the pod names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::live::service;
use crate::live::service::Running;
use crate::model::saved;
use crate::model::saved::{Entry, Saved};
use crate::model::shortcut::Restart;
use crate::run::context::Context;
use crate::tools::containerd::{Listing, Place};
use crate::tools::{containerd, docker};

/// What was seen of images and containers so far.
#[derive(Default)]
pub struct Known {
    /// By reference.
    images: BTreeMap<String, Saved>,
    /// The image whose files a container has, by the container's ID, where it isn't the pod's.
    given: BTreeMap<String, String>,
}

/// Gives each container of the service the files of `image`, and sees their program run. Returns what the image has, and the
/// number of containers. Errors: why only a pod of the image can do it.
pub fn replace<'a>(ctx: &Context, restart: &Restart, image: &str, known: &'a mut Known) -> Result<(&'a Saved, usize)> {
    let service = &restart.service;
    let places = service::places(ctx, service)?;
    ensure!(!places.is_empty(), "no container of {service} runs");
    let has: Vec<String> =
        places.iter().map(|one| known.given.get(&one.place.id).unwrap_or(&one.image).clone()).collect();
    for reference in has.iter().map(String::as_str).chain([image]) {
        if !known.images.contains_key(reference) {
            let saved = read(ctx, service, reference)?;
            known.images.insert(reference.to_string(), saved);
        }
    }
    let after = &known.images[image];
    for (Running { place, .. }, has) in places.iter().zip(&has) {
        let before = &known.images[has];
        let paths = saved::changed(before, after)?;
        if !paths.is_empty() {
            give(ctx, restart, place, (before, after), &paths)?;
        }
        known.given.insert(place.id.clone(), image.to_string());
    }
    // What no container has is not needed again.
    known.images.retain(|reference, _| reference == image || known.given.values().any(|given| given == reference));
    Ok((&known.images[image], places.len()))
}

/// The files of a folder of the image, as containers list them.
pub fn list_folder(saved: &Saved, folder: &str) -> Listing {
    let below = |path: &str| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_string);
    saved.files.iter().filter_map(|(path, entry)| Some((below(path)?, about(entry)?))).collect()
}

fn read(ctx: &Context, service: &str, reference: &str) -> Result<Saved> {
    let archive: PathBuf = ctx.staging(&format!("image-{service}.tar"));
    fs::create_dir_all(archive.parent().expect("it is in a folder"))?;
    ctx.run(docker::save_to(reference, &archive.display().to_string()))?;
    let saved = saved::read(fs::File::open(&archive)?);
    fs::remove_file(&archive)?;
    saved
}

fn give(
    ctx: &Context,
    restart: &Restart,
    place: &Place,
    (before, after): (&Saved, &Saved),
    paths: &BTreeSet<String>,
) -> Result<()> {
    let Restart { service, signal } = restart;
    let all: Vec<String> = paths.iter().cloned().collect();
    let list = |saved: &Saved| -> Listing {
        paths.iter().filter_map(|path| Some((path.clone(), about(saved.files.get(path)?)?))).collect()
    };
    ensure!(
        ctx.run(containerd::list_some(place, &all))? == list(before),
        "a container of {service} has other files than its image"
    );
    let wanted = list(after);
    // A program that is the same gives no sign of having started again.
    let Some((_, program)) = after.program().and_then(|path| wanted.get(path)) else {
        bail!("the program of {service} is the same, and other files of its image are not");
    };
    let runs = ctx.run(containerd::start_again(place, signal).stdin(pack(after, paths)?))?;
    ensure!(!runs.is_empty(), "the program of {service} ended when it was to start again");
    ensure!(runs == *program, "the program of {service} did not start again at SIG{signal}");
    ensure!(
        ctx.run(containerd::list_some(place, &all))? == wanted,
        "a container of {service} did not keep its new files"
    );
    Ok(())
}

fn about(entry: &Entry) -> Option<(String, String)> {
    match entry {
        Entry::File { mode, sha256, .. } => Some((mode.clone(), sha256.clone())),
        Entry::Other(_) => None,
    }
}

fn pack(saved: &Saved, paths: &BTreeSet<String>) -> Result<Vec<u8>> {
    containerd::pack(paths.iter().map(|path| match &saved.files[path] {
        Entry::File { mode, content, .. } => Ok((path.trim_start_matches('/').to_string(), mode.clone(), content)),
        Entry::Other(_) => bail!("{path} is no plain file"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_an_image_is_listed_as_a_container_lists_it() {
        let file = |sha256: &str| Entry::File { mode: "644".into(), sha256: sha256.into(), content: Vec::new() };
        let mut saved = Saved::default();
        for (path, entry) in [
            ("/app/assets/a.css", file("1")),
            ("/app/assets/below/b.css", file("2")),
            ("/app/assets2/c.css", file("3")),
            ("/app/assets/link", Entry::Other("Symlink a.css".into())),
        ] {
            saved.files.insert(path.to_string(), entry);
        }
        let listed = list_folder(&saved, "/app/assets");
        let shown: Vec<String> = listed.iter().map(|(path, (_, sha256))| format!("{path} {sha256}")).collect();
        assert_eq!(shown, ["a.css 1", "below/b.css 2"]);
    }
}
