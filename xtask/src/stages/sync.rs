//! Copies a folder into the containers that run, where the image has it as it is. The next container is made of the image again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::live::service;
use crate::live::service::Running;
use crate::model::shortcut::Copy;
use crate::run::context::Context;
use crate::run::digest;
use crate::run::files::list_files;
use crate::run::process::Interrupt;
use crate::tools::containerd;
use crate::tools::containerd::Listing;

/// The files of a folder as the image has them: readable by all, and executable where they are here.
pub fn list_source(folder: &Path, interrupt: &Interrupt) -> Result<Listing> {
    let entry = |path: PathBuf| {
        let file = folder.join(&path);
        let about = fs::symlink_metadata(&file)?;
        ensure!(about.is_file(), "{} is a link, which only a build can copy", file.display());
        Ok((path.display().to_string(), (mode(&about).to_string(), digest::sha256(&file, interrupt)?)))
    };
    list_files(folder, &[PathBuf::from(".")])?.into_iter().map(entry).collect()
}

/// Puts the folder into each container of the service. Each must have had `before`, and afterwards has what is in the folder
/// now, which is returned with their number. Errors: why only a build can do it.
pub fn replace(ctx: &Context, copy: &Copy, before: &Listing) -> Result<(Listing, usize)> {
    let interrupt = &ctx.spawn.interrupt;
    let places = service::places(ctx, &copy.service)?;
    ensure!(!places.is_empty(), "no container of {} runs", copy.service);
    for Running { place, .. } in &places {
        let has = ctx.run(containerd::list_folder(place, &copy.to))?;
        if let Some(path) = first_difference(&has, before) {
            bail!("{} of {} has another {path} than the image is made of", copy.to, copy.service);
        }
    }
    let wanted = list_source(&copy.from, interrupt)?;
    let archive = pack(&copy.from, &wanted)?;
    for Running { place, .. } in &places {
        ctx.run(containerd::replace_folder(place, &copy.to).stdin(archive.clone()))?;
        let has = ctx.run(containerd::list_folder(place, &copy.to))?;
        if let Some(path) = first_difference(&has, &wanted) {
            bail!("{path} changed while it was copied into {}", copy.service);
        }
    }
    Ok((wanted, places.len()))
}

fn mode(about: &fs::Metadata) -> &'static str {
    if about.permissions().mode() & 0o100 != 0 { "755" } else { "644" }
}

fn first_difference<'a>(one: &'a Listing, other: &'a Listing) -> Option<&'a String> {
    one.keys().chain(other.keys()).find(|path| one.get(*path) != other.get(*path))
}

fn pack(folder: &Path, listing: &Listing) -> Result<Vec<u8>> {
    let file = |(path, (mode, _)): (&String, &(String, String))| {
        Ok((path.clone(), mode.clone(), fs::read(folder.join(path))?))
    };
    containerd::pack(listing.iter().map(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_listed_as_an_image_has_it_and_links_are_for_a_build() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, mode: u32| {
            fs::write(folder.path().join(name), name).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(folder.path().join("below")).unwrap();
        write("a.css", 0o600);
        write("below/run.sh", 0o700);
        write(".a.css.swp", 0o600);
        let listing = list_source(folder.path(), &Interrupt::default()).unwrap();
        let modes: Vec<_> = listing.iter().map(|(path, (mode, _))| format!("{path} {mode}")).collect();
        assert_eq!(modes, ["a.css 644", "below/run.sh 755"]);
        let mut archive = tar::Archive::new(std::io::Cursor::new(pack(folder.path(), &listing).unwrap()));
        let packed: Vec<_> = archive.entries().unwrap().map(|one| one.unwrap().header().mode().unwrap()).collect();
        assert_eq!(packed, [0o644, 0o755]);
        symlink("a.css", folder.path().join("link")).unwrap();
        let message = list_source(folder.path(), &Interrupt::default()).unwrap_err().to_string();
        assert!(message.contains("link is a link"), "{message}");
    }

    #[test]
    fn a_difference_is_found_on_both_sides() {
        let listing = |pairs: &[(&str, &str)]| -> Listing {
            pairs.iter().map(|(path, digest)| (path.to_string(), ("644".to_string(), digest.to_string()))).collect()
        };
        let one = listing(&[("a", "1"), ("b", "2")]);
        assert_eq!(first_difference(&one, &one), None);
        for other in [listing(&[("a", "1")]), listing(&[("a", "1"), ("b", "3")])] {
            assert_eq!(first_difference(&one, &other), Some(&"b".to_string()));
        }
        assert_eq!(first_difference(&one, &listing(&[("a", "1"), ("b", "2"), ("c", "3")])), Some(&"c".to_string()));
    }
}
