//! A chart as helm packs it, the same bytes each time.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use xtask::config::yaml;
use xtask::run::context::Project;
use xtask::run::digest::Content;
use xtask::run::exit::Stop;
use xtask::stages::render::Staged;
use xtask::tools::helm;

pub const FOLDER: &str = "charts";
const END: &str = ".tgz";

/// A chart of its own, with all that it includes.
pub struct Chart {
    pub name: String,
    /// `VERSION+hDIGEST`: the chart's own, and its content.
    pub version: String,
    pub archive: Vec<u8>,
}

impl Chart {
    /// Where it lies in the package.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}-{}{END}", self.name, self.version)
    }

    /// The tag that a registry has it under, which takes no plus sign.
    pub fn tag(&self) -> String {
        self.version.replace('+', "_")
    }
}

/// Where a registry has the charts, beside the images.
pub fn place(registry: &str) -> String {
    format!("{registry}/{FOLDER}")
}

pub fn is_archive(path: &str) -> bool {
    path.ends_with(END)
}

/// Has helm pack a chart under a version that names its content.
pub fn pack(project: &Project, staged: &Staged) -> Result<Chart> {
    let folder = Path::new(&staged.folder);
    let described = folder.join("Chart.yaml");
    let text = fs::read_to_string(&described).with_context(|| format!("cannot read {}", described.display()))?;
    let root =
        yaml::parse_one(&described.display().to_string(), &text).map_err(|error| Stop::usage(error.to_string()))?;
    let about = xtask::config::to_json(&root);
    let of = |key: &str| about[key].as_str().unwrap_or_default().to_string();
    let content = Content::default().files(folder, &[".".into()], &project.spawn.interrupt)?.short();
    let version = version(&of("version"), &content);
    let to = folder.with_file_name("packed");
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    let name = of("name");
    project.run(helm::package(&staged.folder, &version, &to.display().to_string()))?;
    let packed = to.join(format!("{name}-{version}{END}"));
    let bytes = fs::read(&packed).with_context(|| format!("helm packed no {}", packed.display()))?;
    Ok(Chart { name, version, archive: without_times(&bytes)? })
}

/// The content goes behind a plus sign: of two versions that differ there, none is the newer one.
fn version(own: &str, content: &str) -> String {
    format!("{}+h{content}", own.split('+').next().unwrap_or_default())
}

/// The same archive in which no file says when it was packed, and all are in the order of their names.
fn without_times(archive: &[u8]) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    let mut packed = tar::Archive::new(GzDecoder::new(archive));
    for entry in packed.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push((path, content));
    }
    files.sort();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_the_content_and_keeps_the_charts_own() {
        assert_eq!(version("1.2.3", "0af"), "1.2.3+h0af");
        assert_eq!(version("1.2.3-rc.1+other", "0af"), "1.2.3-rc.1+h0af");
        let chart = Chart { name: "web".into(), version: "1.2.3+h0af".into(), archive: Vec::new() };
        assert_eq!((chart.path().as_str(), chart.tag().as_str()), ("charts/web-1.2.3+h0af.tgz", "1.2.3_h0af"));
    }

    #[test]
    fn the_same_files_are_the_same_archive_whenever_they_were_packed() {
        let pack = |mtime: u64, names: [&str; 2]| {
            let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            for name in names {
                let mut header = tar::Header::new_gnu();
                header.set_size(1);
                header.set_mtime(mtime);
                header.set_mode(0o600);
                tar.append_data(&mut header, name, &b"x"[..]).unwrap();
            }
            tar.into_inner().unwrap().finish().unwrap()
        };
        let (one, other) = (pack(1, ["web/a", "web/b"]), pack(2, ["web/b", "web/a"]));
        assert_ne!(one, other);
        assert_eq!(without_times(&one).unwrap(), without_times(&other).unwrap());
    }
}
