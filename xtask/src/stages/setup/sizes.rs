//! The sizes of files that were made or downloaded, noted beside them, by which a damaged one is known again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Lies in the folder; each line is a size in bytes and a name.
const FILE: &str = ".sizes";

/// Notes the sizes of the files in a folder.
pub fn note_sizes(folder: &Path) -> Result<()> {
    let mut lines = String::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            lines.push_str(&format!("{} {}\n", entry.metadata()?.len(), entry.file_name().to_string_lossy()));
        }
    }
    fs::write(folder.join(FILE), lines).with_context(|| format!("cannot write into {}", folder.display()))
}

/// What is wrong with a file, in words that follow its path; None where it has the size that was noted, or none was.
pub fn damage(file: &Path) -> Option<String> {
    let (folder, name) = (file.parent()?, file.file_name()?.to_str()?);
    let noted = fs::read_to_string(folder.join(FILE)).ok()?;
    let noted: u64 =
        noted.lines().find_map(|line| line.split_once(' ').filter(|(_, one)| *one == name))?.0.parse().ok()?;
    let size = fs::metadata(file).ok()?.len();
    (size != noted).then(|| format!("is damaged: it has {size} bytes, and had {noted} when it was made"))
}

/// Whether any file of a folder is damaged or gone.
pub fn is_whole(folder: &Path) -> bool {
    let noted = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let names = noted.lines().filter_map(|line| line.split_once(' ').map(|(_, name)| folder.join(name)));
    names.into_iter().all(|file| file.exists() && damage(&file).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_or_is_gone_is_known_by_its_noted_size() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("helm");
        fs::write(&file, "12345").unwrap();
        // Without a note, as by an earlier version, nothing can be said.
        assert!(is_whole(folder.path()) && damage(&file).is_none());
        note_sizes(folder.path()).unwrap();
        assert!(is_whole(folder.path()) && damage(&file).is_none());
        fs::write(&file, "123").unwrap();
        assert_eq!(damage(&file).unwrap(), "is damaged: it has 3 bytes, and had 5 when it was made");
        assert!(!is_whole(folder.path()));
        fs::remove_file(&file).unwrap();
        assert!(!is_whole(folder.path()) && damage(&file).is_none());
    }
}
