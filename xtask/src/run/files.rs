//! Lists and copies files, with links as links, which is how `docker build` sends them, and replaces one whole.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::exit::Stop;

/// Deeper than any real tree: the links form a circle.
const DEPTH_MAX: usize = 64;

/// Whether what has this name is no part of a project, wherever it lies: what tools and git write beside the sources, and what
/// editors keep there while a file is open.
pub fn is_left_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_swap = name.starts_with('.') && name.rsplit_once(".sw").is_some_and(|(_, end)| end.len() == 1);
    let is_save = name.len() > 1 && (name.ends_with('~') || name.starts_with(".#"));
    let is_auto_save = name.len() > 2 && name.starts_with('#') && name.ends_with('#');
    // With the last of these vim tries whether it may write.
    is_swap || is_save || is_auto_save || ["target", ".git", "4913"].contains(&name.as_ref())
}

/// The files and links under `paths`, relative to `root`, sorted, but for what `is_left_out`. Links are not followed. What is neither file, folder nor link is an error that names all of it: reading a FIFO would never end.
pub fn list_files(root: &Path, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    list(root, paths, false)
}

/// The same, with what links lead to in their place.
pub fn list_files_behind_links(root: &Path, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    list(root, paths, true)
}

/// Copies a file with its mode. A link becomes the same link.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
    let copied = match fs::symlink_metadata(from) {
        Ok(about) if about.is_symlink() => {
            fs::read_link(from).and_then(|target| std::os::unix::fs::symlink(target, to))
        }
        _ => fs::copy(from, to).map(drop),
    };
    copied.with_context(|| format!("cannot copy {}", from.display()))
}

/// Writes a file, new or in the place of one: whoever reads it meanwhile sees the old one or the new one, whole.
pub fn replace(file: &Path, content: &[u8]) -> Result<()> {
    // Beside it, as only there a rename cannot become a copy; named by the process, as another may do the same.
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let fresh = file.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = fs::write(&fresh, content).and_then(|()| fs::rename(&fresh, file));
    if written.is_err() {
        // There may be none.
        let _ = fs::remove_file(&fresh);
    }
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// A file or a folder that is removed with this value; there may be none.
pub struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is replaced by the next run that makes it.
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

/// Makes a folder that has the files and links under `paths` of another one, as `list_files` has them, and nothing else.
pub fn copy_afresh(from: &Path, paths: &[PathBuf], to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    list_files(from, paths)?.iter().try_for_each(|file| copy_file(&from.join(file), &to.join(file)))
}

/// A folder to be filled and then renamed to `wanted`; what an interrupted run left there is gone.
pub fn fresh_folder(wanted: &Path) -> Result<PathBuf> {
    let partial = PathBuf::from(format!("{}.partial", wanted.display()));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    Ok(partial)
}

fn list(root: &Path, paths: &[PathBuf], follow: bool) -> Result<Vec<PathBuf>> {
    let (mut found, mut special) = (Vec::new(), Vec::new());
    let mut open: Vec<(PathBuf, usize)> = paths.iter().map(|path| (path.clone(), 0)).collect();
    while let Some((path, depth)) = open.pop() {
        let path = path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path);
        let full = root.join(&path);
        let about = if follow { fs::metadata(&full) } else { fs::symlink_metadata(&full) };
        let kind = about.with_context(|| format!("cannot read {}", full.display()))?.file_type();
        if kind.is_file() || kind.is_symlink() {
            found.push(path);
        } else if !kind.is_dir() {
            special.push(format!("{} is {}", full.display(), describe(&kind)));
        } else if depth == DEPTH_MAX {
            bail!("{} is more than {DEPTH_MAX} folders deep: do its links lead in a circle?", full.display());
        } else {
            for entry in fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))? {
                let name = entry?.file_name();
                if !is_left_out(&name) {
                    open.push((path.join(name), depth + 1));
                }
            }
        }
    }
    if !special.is_empty() {
        special.sort();
        let message = format!("{}: only files, folders and links can be read", special.join("\n"));
        return Err(
            Stop::usage(format!("{message}\nNext: remove it, or leave it out of `inputs` in xtask.toml")).into()
        );
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn describe(kind: &fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn here() -> [PathBuf; 1] {
        [PathBuf::from(".")]
    }

    #[test]
    fn special_files_are_all_named_and_none_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let fifo = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let message = list_files(folder.path(), &here()).unwrap_err().to_string();
        for part in ["pipe is a FIFO", "socket is a socket", "Next: remove it"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_editors_keep_beside_a_file_is_no_part_of_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let kept = [".env", ".swift", "a.swp", "main.rs", "#", "~", ".sw"];
        let left_out = [".main.rs.swp", ".main.rs.swo", "main.rs~", ".#main.rs", "#main.rs#", "4913"];
        for file in kept.iter().chain(&left_out) {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/a"), "").unwrap();
        let mut expected = kept.map(PathBuf::from);
        expected.sort();
        assert_eq!(list_files(folder.path(), &here()).unwrap(), expected);
    }

    #[test]
    fn links_are_listed_and_copied_as_links() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("a"), "1").unwrap();
        for (name, target) in [("to-file", "a"), ("broken", "nowhere"), ("loop", "."), ("outside", "/etc/hostname")] {
            symlink(target, from.path().join(name)).unwrap();
        }
        let files = list_files(from.path(), &here()).unwrap();
        assert_eq!(files, ["a", "broken", "loop", "outside", "to-file"].map(PathBuf::from));
        for file in &files {
            copy_file(&from.path().join(file), &to.path().join("x").join(file)).unwrap();
        }
        assert_eq!(fs::read_link(to.path().join("x/outside")).unwrap(), Path::new("/etc/hostname"));
        assert_eq!(fs::read_to_string(to.path().join("x/to-file")).unwrap(), "1");
        assert!(copy_file(&from.path().join("none"), &to.path().join("none")).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, taken) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&file, "a longer text of before").unwrap();
        // Someone who reads it keeps what was there.
        let mut open = fs::File::open(&file).unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::io::read_to_string(&mut open).unwrap(), "a longer text of before");
        fs::create_dir(&taken).unwrap();
        let message = format!("{:#}", replace(&taken, b"new").unwrap_err());
        assert!(message.starts_with(&format!("cannot write {}: ", taken.display())), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn links_can_be_followed_and_a_circle_ends() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        fs::write(folder.path().join("real/a"), "").unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        let files = list_files_behind_links(folder.path(), &here()).unwrap();
        assert_eq!(files, ["link/a", "real/a"].map(PathBuf::from));
        symlink("..", folder.path().join("real/up")).unwrap();
        let message = list_files_behind_links(folder.path(), &here()).unwrap_err();
        assert!(format!("{message:#}").contains("circle") || format!("{message:#}").contains("levels"), "{message:#}");
    }
}
