//! Content hashing of build inputs; independent of timestamps and absolute paths.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use anyhow::{Context, Result, anyhow, ensure};
use hmac_sha256::Hash;

use crate::run::files::list_files;
use crate::run::process::Interrupt;

#[derive(Clone, Default)]
pub struct Content(Hash);

impl Content {
    /// Adds a word; its length goes along, so that neighbours can't run into each other.
    pub fn word(self, text: &str) -> Content {
        self.bytes(text.as_bytes())
    }

    /// Adds files, or all files of folders: names relative to `root`, the executable bit and bytes; of links, the target.
    /// A tree that changes meanwhile is read once more, then it is an error. An interruption ends it.
    pub fn files(self, root: &Path, paths: &[PathBuf], interrupt: &Interrupt) -> Result<Content> {
        let mut last = None;
        for _ in 0..2 {
            match self.clone().try_files(root, paths, interrupt) {
                Err(error) if error.is::<Changed>() => last = Some(error),
                done => return done,
            }
        }
        Err(last.map_or_else(|| anyhow!("nothing was read"), |error| error.context("files change while they are read")))
    }

    fn try_files(mut self, root: &Path, paths: &[PathBuf], interrupt: &Interrupt) -> Result<Content> {
        for path in list_files(root, paths)? {
            interrupt.check()?;
            let file = root.join(&path);
            let about = fs::symlink_metadata(&file).map_err(|error| unreadable(&file, error))?;
            self = self.bytes(path.as_os_str().as_bytes());
            if about.is_symlink() {
                let target = fs::read_link(&file).map_err(|error| unreadable(&file, error))?;
                self = self.word("l").bytes(target.as_os_str().as_bytes());
                continue;
            }
            self = self.word(if about.permissions().mode() & 0o100 != 0 { "x" } else { "-" });
            self.0.update(about.len().to_le_bytes());
            let read = feed(&mut self.0, &file, interrupt)?;
            if read != about.len() {
                return Err(Changed(format!("{} changed while it was read", file.display())).into());
            }
        }
        Ok(self)
    }

    fn bytes(mut self, bytes: &[u8]) -> Content {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The first twelve hexadecimal digits of the digest.
    pub fn short(self) -> String {
        self.hex(12)
    }

    /// The first `digits` hexadecimal digits of the digest, which has 64.
    pub fn hex(self, digits: usize) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..digits].to_string()
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
pub fn sha256(file: &Path, interrupt: &Interrupt) -> Result<String> {
    let mut hash = Hash::new();
    feed(&mut hash, file, interrupt)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads a file piece by piece into a digest. Returns how many bytes it had.
fn feed(hash: &mut Hash, file: &Path, interrupt: &Interrupt) -> Result<u64> {
    // Should a FIFO have taken the file's place, opening it must not wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let open = fs::OpenOptions::new().read(true).custom_flags(flags).open(file);
    let mut open = open.map_err(|error| unreadable(file, error))?;
    ensure!(open.metadata()?.is_file(), Changed(format!("{} is no longer a file", file.display())));
    let mut chunk = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        interrupt.check()?;
        match open.read(&mut chunk).with_context(|| format!("cannot read {}", file.display()))? {
            0 => return Ok(total),
            count => {
                total += count as u64;
                hash.update(&chunk[..count]);
            }
        }
    }
}

/// What was listed and is another thing by now, or gone.
#[derive(Debug)]
struct Changed(String);

impl std::error::Error for Changed {}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn unreadable(file: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => Changed(format!("{} is gone", file.display())).into(),
        _ => anyhow!(error).context(format!("cannot read {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(folder: &Path) -> Result<String> {
        Ok(Content::default().files(folder, &[PathBuf::from(".")], &Interrupt::default())?.short())
    }

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
        assert_eq!(
            sha256(&file, &Interrupt::default()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(sha256(&folder.path().join("b"), &Interrupt::default()).is_err());
    }

    #[test]
    fn a_changed_byte_a_new_file_and_a_mode_change_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let of = || hash(folder.path()).unwrap();
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

    #[test]
    fn names_that_are_not_utf_8_differ_by_their_bytes() {
        let of = |name: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
            hash(folder.path()).unwrap()
        };
        assert_ne!(of(b"a\xff"), of(b"a\xfe"));
    }

    #[test]
    fn a_link_counts_by_its_target_and_not_by_what_is_there() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (secret, link) = (outside.path().join("secret"), folder.path().join("link"));
        fs::write(&secret, "1").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let first = hash(folder.path()).unwrap();
        fs::write(&secret, "2").unwrap();
        assert_eq!(hash(folder.path()).unwrap(), first);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        assert_ne!(hash(folder.path()).unwrap(), first);
    }

    #[test]
    fn an_interruption_ends_the_reading() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        let interrupt = Interrupt::default();
        interrupt.set();
        assert!(Content::default().files(folder.path(), &[PathBuf::from(".")], &interrupt).is_err());
        assert!(sha256(&folder.path().join("a"), &interrupt).is_err());
    }

    #[test]
    fn a_file_that_is_gone_or_another_thing_by_now_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let message = sha256(&fifo, &Interrupt::default()).unwrap_err().to_string();
        assert!(message.contains("pipe is no longer a file"), "{message}");
        let message = sha256(&folder.path().join("b"), &Interrupt::default()).unwrap_err().to_string();
        assert!(message.contains("b is gone"), "{message}");
    }
}
