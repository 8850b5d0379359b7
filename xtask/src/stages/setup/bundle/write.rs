//! Writes a bundle: each part becomes a blob beside the work, then all of them one file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::model::bundle::{
    Blob, Bundle, Content, EMPTY, Kind, LAYOUT, Part, Platform, check_entry, write_index, write_manifest,
};
use crate::run::files::{Temporary, list_files};
use crate::run::graph;
use crate::run::graph::Task;
use crate::run::process::Interrupt;
use crate::run::stream::Metered;

/// What one part is made of.
pub struct Source {
    pub content: Content,
    /// The folder, or the archive of images.
    pub path: PathBuf,
    /// What is taken of the folder, relative to it.
    pub only: PathBuf,
}

/// Where and how a bundle is put together.
pub struct Work<'a> {
    /// A folder for what is written on the way.
    pub folder: &'a Path,
    pub interrupt: &'a Interrupt,
    /// Gets the length of each piece that was written.
    pub show: &'a (dyn Fn(u64) + Sync),
}

/// Writes the bundle beside `file`, which it replaces once it is whole. Returns its size.
pub fn write_bundle(
    work: &Work,
    sources: &[Source],
    platform: &Platform,
    commit: Option<String>,
    file: &Path,
) -> Result<u64> {
    let parts = pack_all(work, sources)?;
    assemble(work, &Bundle { commit, parts }, platform, file)
}

/// The same of parts whose blobs are written.
fn assemble(work: &Work, bundle: &Bundle, platform: &Platform, file: &Path) -> Result<u64> {
    let mut name = file.file_name().context("the bundle needs a file name")?.to_os_string();
    name.push(".part");
    let fresh = Temporary(file.with_file_name(name));
    let written = File::create(&fresh.0).with_context(|| format!("cannot write {}", fresh.0.display()))?;
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, written));
    let config = hash(EMPTY);
    let manifest = write_manifest(bundle, &config);
    append(&mut tar, "oci-layout", LAYOUT.len() as u64, LAYOUT.as_bytes())?;
    let index = write_index(&hash(&manifest), platform);
    append(&mut tar, "index.json", index.len() as u64, index.as_bytes())?;
    for text in [EMPTY, &manifest] {
        append(&mut tar, &hash(text).path(), text.len() as u64, text.as_bytes())?;
    }
    for (number, part) in bundle.parts.iter().enumerate() {
        let reader = Metered::new(File::open(blob_file(work, number))?, work.interrupt, &|_| {});
        append(&mut tar, &part.blob.path(), part.blob.size, reader)?;
    }
    let written = tar.into_inner()?.into_inner()?;
    written.sync_all().with_context(|| format!("cannot write {}", fresh.0.display()))?;
    let size = written.metadata()?.len();
    work.interrupt.check()?;
    fs::rename(&fresh.0, file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(size)
}

fn hash(text: &str) -> Blob {
    let interrupt = Interrupt::default();
    let mut sink = Metered::new(io::sink(), &interrupt, &|_| {});
    sink.write_all(text.as_bytes()).expect("a sink takes all");
    let (_, sha256, size) = sink.finish();
    Blob { sha256, size }
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, size: u64, content: impl io::Read) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    Ok(tar.append_data(&mut header, path, content)?)
}

fn blob_file(work: &Work, number: usize) -> PathBuf {
    work.folder.join(format!("blob-{number}"))
}

/// Compresses the parts, as many at once as there are cores.
fn pack_all(work: &Work, sources: &[Source]) -> Result<Vec<Part>> {
    let packed: Mutex<Vec<(usize, Part)>> = Mutex::default();
    let task = |(number, source): (usize, &'_ Source)| {
        let (packed, content) = (&packed, source.content.clone());
        let (source, number) = (&sources[number], number);
        let run = Box::new(move || {
            let blob = pack(work, source, &blob_file(work, number))?;
            packed.lock().unwrap().push((number, Part { blob, content }));
            Ok(())
        });
        Task { name: number.to_string(), needs: Vec::new(), run }
    };
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    graph::run(sources.iter().enumerate().map(task).collect(), lanes)?;
    let mut packed = packed.into_inner().unwrap();
    packed.sort_by_key(|(number, _)| *number);
    Ok(packed.into_iter().map(|(_, part)| part).collect())
}

fn pack(work: &Work, source: &Source, blob: &Path) -> Result<Blob> {
    let file = File::create(blob).with_context(|| format!("cannot write {}", blob.display()))?;
    let metered = Metered::new(BufWriter::with_capacity(1 << 20, file), work.interrupt, work.show);
    let mut encoder = GzEncoder::new(metered, Compression::fast());
    match &source.content {
        Content::Folder(_) => pack_folder(source, &mut encoder)?,
        Content::Images(_) => drop(io::copy(&mut BufReader::new(File::open(&source.path)?), &mut encoder)?),
    }
    let (writer, sha256, size) = encoder.finish()?.finish();
    writer.into_inner()?;
    Ok(Blob { sha256, size })
}

/// Times and owners are left out: the same files are the same blob.
fn pack_folder(source: &Source, to: &mut impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(to);
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    for path in list_files(&source.path, std::slice::from_ref(&source.only))? {
        let full = source.path.join(&path);
        let link = fs::read_link(&full).ok();
        check_entry(&path, link.as_deref().map_or(Kind::File, Kind::Link))
            .map_err(|reason| anyhow!("{} cannot be saved: {reason}", source.path.display()))?;
        tar.append_path_with_name(&full, &path).with_context(|| format!("cannot read {}", full.display()))?;
    }
    tar.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::stages::setup::bundle::read;

    const REFERENCE: &str = "todo.local/node:a1";
    const ID: &str = "sha256:1";

    struct Fixture {
        folder: tempfile::TempDir,
        interrupt: Interrupt,
    }

    fn platform() -> Platform {
        Platform { os: "linux".to_string(), architecture: "amd64".to_string() }
    }

    impl Fixture {
        /// A folder with a program and a link, and an archive of an image.
        fn new() -> Fixture {
            let fixture = Fixture { folder: tempfile::tempdir().unwrap(), interrupt: Interrupt::default() };
            fs::create_dir_all(fixture.path("helm/lib")).unwrap();
            fs::create_dir(fixture.path("work")).unwrap();
            fs::write(fixture.path("helm/helm"), "#!/bin/sh\n".repeat(99)).unwrap();
            fs::set_permissions(fixture.path("helm/helm"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(fixture.path("helm/lib/.sizes"), "1 helm\n").unwrap();
            symlink("lib/.sizes", fixture.path("helm/sizes")).unwrap();
            let mut tar = tar::Builder::new(File::create(fixture.path("images.tar")).unwrap());
            let manifest = format!("[{{\"Config\":\"1.json\",\"RepoTags\":[\"{REFERENCE}\"]}}]");
            append(&mut tar, "manifest.json", manifest.len() as u64, manifest.as_bytes()).unwrap();
            tar.finish().unwrap();
            fixture
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, reference: &str) -> Result<Vec<u8>> {
            let images = Content::Images([(reference.to_string(), ID.to_string())].into());
            let sources = [
                Source { content: images, path: self.path("images.tar"), only: PathBuf::new() },
                Source {
                    content: Content::Folder("go/helm-a1".to_string()),
                    path: self.path("helm"),
                    only: PathBuf::from("."),
                },
            ];
            let folder = &self.path("work");
            let work = Work { folder, interrupt: &self.interrupt, show: &|_| {} };
            let size = write_bundle(&work, &sources, &platform(), None, &self.path("bundle"))?;
            let bytes = fs::read(self.path("bundle")).unwrap();
            assert_eq!(size, bytes.len() as u64);
            Ok(bytes)
        }

        /// A bundle of one folder, whose archive has one entry.
        fn write_entry(&self, path: &str, kind: tar::EntryType, target: &str) -> Vec<u8> {
            let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
            let bytes = tar.into_inner().unwrap().finish().unwrap();
            fs::write(self.path("work/blob-0"), &bytes).unwrap();
            let mut sink = Metered::new(io::sink(), &self.interrupt, &|_| {});
            sink.write_all(&bytes).unwrap();
            let (_, sha256, size) = sink.finish();
            let part = Part { blob: Blob { sha256, size }, content: Content::Folder("go/helm-a1".to_string()) };
            let folder = &self.path("work");
            let work = Work { folder, interrupt: &self.interrupt, show: &|_| {} };
            let bundle = Bundle { commit: None, parts: vec![part] };
            assemble(&work, &bundle, &platform(), &self.path("bundle")).unwrap();
            fs::read(self.path("bundle")).unwrap()
        }

        /// What comes out of a bundle of these bytes: the text of each file, or why it is refused.
        fn read(&self, bytes: &[u8], here: &Platform) -> Result<BTreeMap<PathBuf, String>, String> {
            let (file, to) = (self.path("read"), tempfile::tempdir().unwrap());
            fs::write(&file, bytes).unwrap();
            let load = || -> Result<BTreeSet<PathBuf>> {
                let opened = read::open(&file, here, &self.interrupt)?;
                opened.verify_all(&|_| {})?;
                for part in &opened.bundle.parts {
                    let blob = &part.blob;
                    match &part.content {
                        Content::Folder(_) => opened.unpack_folder(blob, to.path(), &|_| {})?,
                        Content::Images(images) => {
                            opened.unpack_images(blob, images, &to.path().join("images"), &|_| {})?;
                        }
                    }
                }
                Ok(list_files(to.path(), &[PathBuf::from(".")])?.into_iter().collect())
            };
            let files = load().map_err(|error| format!("{error:#}"))?;
            let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode();
            let describe = |path: &Path| format!("{:o} {}", mode(path), fs::read_to_string(path).unwrap());
            Ok(files.into_iter().map(|path| (path.clone(), describe(&to.path().join(&path)))).collect())
        }
    }

    #[test]
    fn a_bundle_comes_back_as_it_was_saved_and_the_same_files_make_the_same_bundle() {
        let fixture = Fixture::new();
        let bytes = fixture.write(REFERENCE).unwrap();
        let files = fixture.read(&bytes, &platform()).unwrap();
        let names: Vec<&str> = files.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, ["helm", "images", "lib/.sizes", "sizes"]);
        assert_eq!(files[Path::new("helm")], format!("100755 {}", "#!/bin/sh\n".repeat(99)));
        assert_eq!(files[Path::new("sizes")], "120777 1 helm\n");
        File::open(fixture.path("helm/helm")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(fixture.write(REFERENCE).unwrap() == bytes);
    }

    #[test]
    fn no_flipped_bit_and_no_missing_end_changes_what_comes_out() {
        let fixture = Fixture::new();
        let bytes = fixture.write(REFERENCE).unwrap();
        let whole = fixture.read(&bytes, &platform()).unwrap();
        let mut refused = 0;
        for place in (0..bytes.len()).step_by(11) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            // Some bytes are padding.
            match fixture.read(&flipped, &platform()) {
                Ok(files) => assert!(files == whole, "byte {place}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 50, "{refused}");
        for end in (0..bytes.len()).step_by(509) {
            if let Ok(files) = fixture.read(&bytes[..end], &platform()) {
                assert!(files == whole && bytes[end..].iter().all(|byte| *byte == 0), "{end} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_bundle_or_damaged_is_refused_with_the_reason() {
        let fixture = Fixture::new();
        let bytes = fixture.write(REFERENCE).unwrap();
        let why = |bytes: &[u8]| fixture.read(bytes, &platform()).unwrap_err();
        assert!(why(b"").starts_with("it is not a bundle"), "{}", why(b""));
        let text = "a text ".repeat(999);
        assert!(why(text.as_bytes()).starts_with("it is not a bundle"), "{}", why(text.as_bytes()));
        let archive = fs::read(fixture.path("images.tar")).unwrap();
        assert_eq!(why(&archive), "it is not a bundle: it has no oci-layout");
        // The second byte of the last blob: before it is its header, behind it the end of the archive.
        let begin = bytes.len() - 1024 - 512;
        let begin = (0..begin).rev().find(|place| bytes[*place..].starts_with(&[0x1f, 0x8b])).unwrap();
        let mut flipped = bytes.clone();
        flipped[begin + 20] ^= 1;
        assert!(why(&flipped).contains("is damaged: its SHA-256 is "), "{}", why(&flipped));
        assert!(why(&bytes[..begin + 20]).contains("it is cut off: blobs/sha256/"), "{}", why(&bytes[..begin + 20]));
        let other = Platform { architecture: "arm64".to_string(), ..platform() };
        let found = fixture.read(&bytes, &other).unwrap_err();
        assert_eq!(found, "it was saved on linux/amd64, and this machine is linux/arm64");
        let size = bytes.windows(6).position(|part| part == b"\"size\"").unwrap() + 7;
        let mut resized = bytes.clone();
        resized[size] ^= 1;
        assert!(why(&resized).contains(" bytes, and its index says "), "{}", why(&resized));
        let renamed = fixture.write("todo.local/node:b2").unwrap();
        assert!(why(&renamed).contains("is in only one of its index and its archive of images"), "{}", why(&renamed));
    }

    #[test]
    fn an_entry_that_leads_out_of_its_folder_is_refused() {
        let fixture = Fixture::new();
        for (path, kind, target) in [
            ("../evil", tar::EntryType::Regular, ""),
            ("/tmp/evil", tar::EntryType::Regular, ""),
            ("evil", tar::EntryType::Symlink, "/etc"),
            ("evil", tar::EntryType::Symlink, "../.."),
        ] {
            let found = fixture.read(&fixture.write_entry(path, kind, target), &platform()).unwrap_err();
            assert!(found.contains("outside of its folder"), "{found}");
        }
        for kind in [tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Char] {
            let found = fixture.read(&fixture.write_entry("evil", kind, "helm"), &platform()).unwrap_err();
            assert!(found.contains("is neither a file nor a folder nor a symbolic link"), "{found}");
        }
        assert!(fixture.read(&fixture.write_entry("good", tar::EntryType::Regular, ""), &platform()).is_ok());
        // Nor is one saved.
        symlink("/usr/bin/python3", fixture.path("helm/python3")).unwrap();
        let found = format!("{:#}", fixture.write(REFERENCE).unwrap_err());
        assert!(found.contains("helm cannot be saved: its entry python3 is a link to /usr/bin/python3"), "{found}");
    }

    #[test]
    fn a_save_that_fails_or_is_interrupted_leaves_the_file_of_before() {
        let fixture = Fixture::new();
        fs::write(fixture.path("bundle"), "before").unwrap();
        fixture.interrupt.set();
        assert!(fixture.write(REFERENCE).is_err());
        assert_eq!(fs::read_to_string(fixture.path("bundle")).unwrap(), "before");
        assert!(!fixture.path("bundle.part").exists());
    }
}
