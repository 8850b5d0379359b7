//! Names for content: a digest over files and words, independent of clocks and folders.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

#[derive(Clone, Default)]
pub struct Content(Sha256);

impl Content {
    /// Adds a word; its length goes along, so that neighbours can't run into each other.
    pub fn word(mut self, text: &str) -> Content {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds files, or all files of folders: names relative to `root`, the executable bit and bytes.
    pub fn files(mut self, root: &Path, paths: &[PathBuf]) -> Result<Content> {
        for path in list_files(root, paths)? {
            let file = root.join(&path);
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let executable = fs::metadata(&file)?.permissions().mode() & 0o100 != 0;
            self = self.word(&path.display().to_string()).word(if executable { "x" } else { "-" });
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(&bytes);
        }
        Ok(self)
    }

    /// The first twelve hexadecimal digits of the digest.
    pub fn short(self) -> String {
        self.0.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
pub fn sha256(file: &Path) -> Result<String> {
    let mut open = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match open.read(&mut chunk)? {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The files under `paths`, relative to `root`, sorted; folders named target and .git are left out.
pub fn list_files(root: &Path, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        let kind = fs::metadata(&full).with_context(|| format!("cannot read {}", full.display()))?;
        if !kind.is_dir() {
            found.push(path.strip_prefix(".").unwrap_or(&path).to_path_buf());
            continue;
        }
        for entry in fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))? {
            let name = entry?.file_name();
            if name != "target" && name != ".git" {
                open.push(path.join(name));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_neighbours_do_not_run_together() {
        let of = |words: &[&str]| words.iter().fold(Content::default(), |content, word| content.word(word)).short();
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["ab", ""]), of(&["a", "b"]));
        assert_eq!(of(&["a"]).len(), 12);
    }

    #[test]
    fn a_file_has_the_checksum_that_others_compute() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "abc").unwrap();
        assert_eq!(sha256(&file).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(sha256(&folder.path().join("b")).is_err());
    }

    #[test]
    fn a_changed_byte_a_new_file_and_a_mode_change_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let of = || Content::default().files(folder.path(), &[PathBuf::from(".")]).unwrap().short();
        fs::write(folder.path().join("a"), "1").unwrap();
        let first = of();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/ignored"), "1").unwrap();
        assert_eq!(of(), first);
        fs::write(folder.path().join("a"), "2").unwrap();
        let second = of();
        fs::write(folder.path().join("b"), "").unwrap();
        let third = of();
        fs::set_permissions(folder.path().join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        let names = [first, second, third, of()];
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "{names:?}");
        }
    }
}
