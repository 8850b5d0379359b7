//! The index of a bundle: an OCI image layout whose manifest lists folders of the cache and an archive of images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::config::locked::is_sha256;

/// The artifact type of a bundle. What it holds or means changed: raise the number.
const FORMAT: &str = "application/vnd.xtask.bundle.v1";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const NO_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const FOLDER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGES: &str = "application/vnd.xtask.images.v1.tar+gzip";
/// Annotations: a folder's path in the cache, the images of an archive as JSON, the commit that was checked out.
const PATH: &str = "org.opencontainers.image.title";
const REFERENCES: &str = "xtask.images";
const COMMIT: &str = "org.opencontainers.image.revision";

/// The content of `oci-layout`, and of the config blob that a manifest must name.
pub const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub const EMPTY: &str = "{}";

/// What a bundle was made for, in Go's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// A blob by its SHA-256, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    pub sha256: String,
    pub size: u64,
}

impl Blob {
    /// Where it lies in the layout.
    pub fn path(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A folder, by its path in the cache.
    Folder(String),
    /// What `docker save` wrote: reference to ID.
    Images(BTreeMap<String, String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub blob: Blob,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The commit that was checked out, where git knew it.
    pub commit: Option<String>,
    pub parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The manifest; `config` is the blob of `EMPTY`.
pub fn write_manifest(bundle: &Bundle, config: &Blob) -> String {
    let layers = bundle.parts.iter().map(|part| {
        let (media_type, annotation) = match &part.content {
            Content::Folder(path) => (FOLDER, (PATH.to_string(), path.clone())),
            Content::Images(images) => (IMAGES, (REFERENCES.to_string(), serde_json::json!(images).to_string())),
        };
        Descriptor { annotations: [annotation].into(), ..describe(&part.blob, media_type) }
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_string(),
        artifact_type: FORMAT.to_string(),
        config: describe(config, NO_CONFIG),
        layers: layers.collect(),
        annotations: bundle.commit.iter().map(|commit| (COMMIT.to_string(), commit.clone())).collect(),
    };
    serde_json::json!(manifest).to_string()
}

/// The content of `index.json`.
pub fn write_index(manifest: &Blob, platform: &Platform) -> String {
    let manifest = Descriptor {
        artifact_type: Some(FORMAT.to_string()),
        platform: Some(platform.clone()),
        ..describe(manifest, MANIFEST)
    };
    let index = Index { schema_version: 2, media_type: INDEX.to_string(), manifests: vec![manifest] };
    serde_json::json!(index).to_string()
}

fn describe(blob: &Blob, media_type: &str) -> Descriptor {
    Descriptor {
        media_type: media_type.to_string(),
        digest: format!("sha256:{}", blob.sha256),
        size: blob.size,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// The manifest that `index.json` names, if it is one that this version reads and was made for `here`.
pub fn read_index(text: &[u8], here: &Platform) -> Result<Blob, String> {
    let index: Index = serde_json::from_slice(text).map_err(|error| format!("index.json is unreadable: {error}"))?;
    let [manifest] = index.manifests.as_slice() else {
        return Err(format!("index.json lists {} manifests, and a bundle has one", index.manifests.len()));
    };
    let format = manifest.artifact_type.as_deref().unwrap_or("no bundle");
    if format != FORMAT {
        return Err(format!("its format is {format}, and this version reads {FORMAT}"));
    }
    let platform = manifest.platform.as_ref().ok_or("index.json does not name the platform")?;
    if platform != here {
        return Err(format!("it was saved on {platform}, and this machine is {here}"));
    }
    read_blob(manifest)
}

pub fn read_manifest(text: &[u8]) -> Result<Bundle, String> {
    let unreadable = |error: serde_json::Error| format!("the manifest is unreadable: {error}");
    let manifest: Manifest = serde_json::from_slice(text).map_err(unreadable)?;
    let part = |layer: &Descriptor| {
        let annotation = |name: &str| {
            layer.annotations.get(name).ok_or_else(|| format!("a part of the manifest has no annotation {name}"))
        };
        let content = match layer.media_type.as_str() {
            FOLDER => Content::Folder(annotation(PATH)?.clone()),
            IMAGES => Content::Images(serde_json::from_str(annotation(REFERENCES)?).map_err(unreadable)?),
            other => return Err(format!("a part has the media type {other}, which this version does not read")),
        };
        Ok(Part { blob: read_blob(layer)?, content })
    };
    let parts = manifest.layers.iter().map(part).collect::<Result<_, String>>()?;
    Ok(Bundle { commit: manifest.annotations.get(COMMIT).cloned(), parts })
}

fn read_blob(descriptor: &Descriptor) -> Result<Blob, String> {
    let sha256 = descriptor.digest.strip_prefix("sha256:").filter(|digest| is_sha256(digest));
    let sha256 = sha256.ok_or_else(|| format!("{} is not the digest of a blob", descriptor.digest))?;
    Ok(Blob { sha256: sha256.to_string(), size: descriptor.size })
}

/// A line for each part that is not named by these recipes: folders by their path in the cache, images by reference.
pub fn find_unknown(bundle: &Bundle, folders: &BTreeSet<String>, references: &BTreeSet<String>) -> Vec<String> {
    let compare = |name: &str, separator: char, known: &BTreeSet<String>| {
        if known.contains(name) {
            return None;
        }
        let family = |name: &str| name.rsplit_once(separator).map(|(family, _)| family.to_string());
        let ours = known.iter().find(|ours| family(ours) == family(name));
        Some(match ours {
            Some(ours) => format!("{name}: this checkout has {ours}"),
            None => format!("{name}: this checkout has none"),
        })
    };
    let of_part = |part: &Part| -> Vec<String> {
        match &part.content {
            Content::Folder(path) if path.starts_with("cluster/") => compare(path, '/', folders).into_iter().collect(),
            Content::Folder(path) => compare(path, '-', folders).into_iter().collect(),
            Content::Images(images) => images.keys().filter_map(|image| compare(image, ':', references)).collect(),
        }
    };
    bundle.parts.iter().flat_map(of_part).collect()
}

/// What an entry of a folder's archive is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind<'a> {
    File,
    Folder,
    /// With its target.
    Link(&'a Path),
    Other,
}

/// Refuses an entry that would lie, or lead, outside of the folder that it is unpacked into.
pub fn check_entry(path: &Path, kind: Kind) -> Result<(), String> {
    let shown = path.display();
    if depth(path, 0).is_none() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("its entry {shown} lies outside of its folder"));
    }
    match kind {
        Kind::File | Kind::Folder => Ok(()),
        Kind::Other => Err(format!("its entry {shown} is neither a file nor a folder nor a symbolic link")),
        Kind::Link(target) => {
            let folders = path.components().count().saturating_sub(1);
            let inside = depth(target, folders).is_some();
            let message = || format!("its entry {shown} is a link to {}, outside of its folder", target.display());
            inside.then_some(()).ok_or_else(message)
        }
    }
}

/// How deep a relative path ends that begins at a depth; None where it leaves the root on its way, or is absolute.
fn depth(path: &Path, from: usize) -> Option<usize> {
    path.components().try_fold(from, |depth, part| match part {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Platform {
        Platform { os: "linux".to_string(), architecture: "amd64".to_string() }
    }

    fn blob(digit: &str) -> Blob {
        Blob { sha256: digit.repeat(64), size: 7 }
    }

    fn bundle() -> Bundle {
        let images = [("todo.local/node:a1".to_string(), "sha256:1".to_string())].into();
        Bundle {
            commit: Some("8827473".to_string()),
            parts: vec![
                Part { blob: blob("1"), content: Content::Folder("go/helm-a1".to_string()) },
                Part { blob: blob("2"), content: Content::Folder("cluster/a1".to_string()) },
                Part { blob: blob("3"), content: Content::Images(images) },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read_manifest(write_manifest(&bundle(), &blob("0")).as_bytes()), Ok(bundle()));
        assert_eq!(read_index(write_index(&blob("4"), &here()).as_bytes(), &here()), Ok(blob("4")));
    }

    #[test]
    fn another_format_platform_or_digest_is_refused_by_name() {
        let index = write_index(&blob("4"), &here());
        for (from, to, message) in [
            ("amd64", "arm64", "it was saved on linux/arm64, and this machine is linux/amd64"),
            ("linux", "darwin", "it was saved on darwin/amd64, and this machine is linux/amd64"),
            ("bundle.v1", "bundle.v2", "its format is application/vnd.xtask.bundle.v2, and this version reads"),
            ("artifactType", "another", "its format is no bundle"),
            ("\"platform\"", "\"another\"", "index.json does not name the platform"),
            ("sha256:4", "sha256:../", "is not the digest of a blob"),
            ("manifests", "images", "index.json is unreadable: missing field `manifests`"),
        ] {
            assert!(index.contains(from), "{index}");
            let found = read_index(index.replacen(from, to, 1).as_bytes(), &here()).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        let none = r#"{"schemaVersion":2,"mediaType":"","manifests":[]}"#;
        assert!(read_index(none.as_bytes(), &here()).unwrap_err().contains("lists 0 manifests"));
        let manifest = write_manifest(&bundle(), &blob("0"));
        for (from, to, message) in [
            ("vnd.xtask.images.v1", "vnd.other", "media type application/vnd.other.tar+gzip"),
            ("org.opencontainers.image.title", "title", "no annotation org.opencontainers.image.title"),
            ("layers", "l", "the manifest is unreadable: missing field `layers`"),
        ] {
            assert!(manifest.contains(from), "{manifest}");
            let found = read_manifest(manifest.replace(from, to).as_bytes()).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn parts_of_another_version_are_named_with_ours() {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
        let folders = ["go/helm-a1", "go/etcd-a1", "cluster/a1"];
        assert_eq!(find_unknown(&bundle(), &set(&folders), &set(&["todo.local/node:a1"])), [""; 0]);
        let unknown = find_unknown(&bundle(), &set(&["go/helm-b2", "cluster/b2"]), &set(&["todo.local/rust:a1"]));
        let expected = [
            "go/helm-a1: this checkout has go/helm-b2",
            "cluster/a1: this checkout has cluster/b2",
            "todo.local/node:a1: this checkout has none",
        ];
        assert_eq!(unknown, expected);
    }

    #[test]
    fn entries_stay_in_their_folder() {
        let link = |target: &'static str| Kind::Link(Path::new(target));
        for (path, kind) in [
            ("helm", Kind::File),
            ("linux/amd64", Kind::Folder),
            ("lib64", link("lib")),
            ("a/b/c", link("../../d")),
            ("a/b", link("./../c/../d")),
        ] {
            assert_eq!(check_entry(Path::new(path), kind), Ok(()), "{path}");
        }
        for (path, kind, message) in [
            ("../helm", Kind::File, "its entry ../helm lies outside of its folder"),
            ("a/../../helm", Kind::File, "lies outside of its folder"),
            ("a/../helm", Kind::File, "lies outside of its folder"),
            ("/etc/passwd", Kind::File, "its entry /etc/passwd lies outside of its folder"),
            ("..", Kind::Folder, "lies outside of its folder"),
            ("python3", link("/usr/bin/python3"), "is a link to /usr/bin/python3, outside of its folder"),
            ("a/b", link("../../c"), "is a link to ../../c, outside of its folder"),
            ("a/b", link("../../a/c"), "outside of its folder"),
            ("null", Kind::Other, "is neither a file nor a folder nor a symbolic link"),
        ] {
            let found = check_entry(Path::new(path), kind).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
    }
}
