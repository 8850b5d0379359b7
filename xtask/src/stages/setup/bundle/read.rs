//! Reads a bundle: all of it is verified before any of it is unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::read::GzDecoder;

use crate::model::bundle::{Blob, Bundle, Kind, LAYOUT, Platform, check_entry, read_index, read_manifest};
use crate::run::process::Interrupt;
use crate::run::stream::Metered;

/// More than any index or manifest: these are read into memory.
const TEXT_MAX: u64 = 1 << 20;

/// A bundle whose index was read and fits this machine.
pub struct Opened<'a> {
    file: File,
    /// Where each entry begins, and its size.
    entries: BTreeMap<String, (u64, u64)>,
    interrupt: &'a Interrupt,
    pub bundle: Bundle,
}

/// Reads the index, and not the parts.
pub fn open<'a>(file: &Path, here: &Platform, interrupt: &'a Interrupt) -> Result<Opened<'a>> {
    let file = File::open(file)?;
    let mut entries = BTreeMap::new();
    let mut archive = tar::Archive::new(&file);
    for entry in archive.entries_with_seek().context("it is not a bundle")? {
        let entry = entry.context("it is not a bundle, or damaged")?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        entries.insert(path, (entry.raw_file_position(), entry.size()));
    }
    let bundle = Bundle { commit: None, parts: Vec::new() };
    let opened = Opened { file, entries, interrupt, bundle };
    ensure!(opened.entries.contains_key("oci-layout"), "it is not a bundle: it has no oci-layout");
    let layout = opened.text("oci-layout")?;
    ensure!(layout == LAYOUT.as_bytes(), "its oci-layout is not that of a bundle");
    let manifest = read_index(&opened.text("index.json")?, here).map_err(|reason| anyhow!(reason))?;
    opened.verify(&manifest, &|_| {})?;
    let bundle = read_manifest(&opened.text(&manifest.path())?).map_err(|reason| anyhow!(reason))?;
    Ok(Opened { bundle, ..opened })
}

impl Opened<'_> {
    /// The sizes of all parts together.
    pub fn size(&self) -> u64 {
        self.bundle.parts.iter().map(|part| part.blob.size).sum()
    }

    /// Compares every part with its size and SHA-256.
    pub fn verify_all(&self, show: &dyn Fn(u64)) -> Result<()> {
        self.bundle.parts.iter().try_for_each(|part| self.verify(&part.blob, show))
    }

    fn verify(&self, blob: &Blob, show: &dyn Fn(u64)) -> Result<()> {
        let path = blob.path();
        let (_, size) = self.entries.get(&path).with_context(|| format!("it has no {path}"))?;
        ensure!(*size == blob.size, "{path} has {size} bytes, and its index says {}", blob.size);
        let mut reader = Metered::new(self.reader(&path)?, self.interrupt, show);
        io::copy(&mut reader, &mut io::sink()).with_context(|| format!("cannot read {path}"))?;
        let (_, sha256, count) = reader.finish();
        ensure!(count == blob.size, "it is cut off: {path} has {count} of {} bytes", blob.size);
        ensure!(sha256 == blob.sha256, "{path} is damaged: its SHA-256 is {sha256}");
        Ok(())
    }

    fn text(&self, path: &str) -> Result<Vec<u8>> {
        let (_, size) = self.entries.get(path).with_context(|| format!("it has no {path}"))?;
        ensure!(*size <= TEXT_MAX, "{path} has {size} bytes, and at most {TEXT_MAX} are read");
        let mut text = Vec::new();
        self.reader(path)?.read_to_end(&mut text)?;
        Ok(text)
    }

    fn reader(&self, path: &str) -> Result<io::Take<BufReader<&File>>> {
        let (begin, size) = self.entries.get(path).with_context(|| format!("it has no {path}"))?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(*begin))?;
        Ok(BufReader::with_capacity(1 << 16, file).take(*size))
    }

    /// Unpacks a folder into one that is there and empty. Nothing is written outside of it.
    pub fn unpack_folder(&self, blob: &Blob, to: &Path, show: &dyn Fn(u64)) -> Result<()> {
        let reader = Metered::new(self.reader(&blob.path())?, self.interrupt, show);
        let mut archive = tar::Archive::new(GzDecoder::new(reader));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let link = entry.link_name()?.map(|target| target.into_owned());
            let kind = match (entry.header().entry_type(), &link) {
                (tar::EntryType::Regular, _) => Kind::File,
                (tar::EntryType::Directory, _) => Kind::Folder,
                (tar::EntryType::Symlink, Some(target)) => Kind::Link(target),
                _ => Kind::Other,
            };
            check_entry(&path, kind).map_err(|reason| anyhow!(reason))?;
            entry.set_preserve_mtime(false);
            let inside = entry.unpack_in(to).with_context(|| format!("cannot write {}", to.join(&path).display()))?;
            ensure!(inside, "its entry {} lies outside of its folder", path.display());
        }
        Ok(())
    }

    /// Writes the archive of images into a file, for `docker load`. It must hold the named images and no others.
    pub fn unpack_images(
        &self,
        blob: &Blob,
        images: &BTreeMap<String, String>,
        to: &Path,
        show: &dyn Fn(u64),
    ) -> Result<()> {
        let mut reader = GzDecoder::new(Metered::new(self.reader(&blob.path())?, self.interrupt, show));
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(to)?);
        io::copy(&mut reader, &mut writer).with_context(|| format!("cannot write {}", to.display()))?;
        writer.flush().with_context(|| format!("cannot write {}", to.display()))?;
        let held = read_references(to)?;
        let named: BTreeSet<String> = images.keys().cloned().collect();
        if let Some(one) = held.symmetric_difference(&named).next() {
            bail!("{one} is in only one of its index and its archive of images");
        }
        Ok(())
    }
}

/// The references of an archive that `docker save` wrote.
fn read_references(archive: &Path) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        repo_tags: Option<Vec<String>>,
    }
    for entry in tar::Archive::new(fs::File::open(archive)?).entries_with_seek()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() == b"manifest.json" {
            let images: Vec<Image> =
                serde_json::from_reader(entry.take(TEXT_MAX)).context("its archive of images is unreadable")?;
            return Ok(images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect());
        }
    }
    bail!("its archive of images has no manifest.json")
}
