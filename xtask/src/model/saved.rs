//! The files of an image and how it is run, read from what `docker save` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use hmac_sha256::Hash;
use serde_json::Value;

/// An image whose layers lie over each other as a container sees them. Folders are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// User, environment, entry point and so on; without labels, which change nothing of how it runs.
    pub config: Value,
    /// By the absolute path.
    pub files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    File {
        /// As in `755`.
        mode: String,
        sha256: String,
        content: Vec<u8>,
    },
    /// A link, a device and so on, with what it leads to.
    Other(String),
}

impl Saved {
    /// The path of what it runs: the first word of its entry point, or of its command where it has none.
    pub fn program(&self) -> Option<&str> {
        ["Entrypoint", "Cmd"].iter().find_map(|key| self.config[key][0].as_str())
    }
}

/// Reads the archive of one image.
pub fn read(archive: impl Read) -> Result<Saved> {
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        // A layer that two have in common may be a link to that of the other.
        let target = entry.link_name()?.map(|target| target.display().to_string());
        let content = match target.as_deref().map(|target| target.trim_start_matches("../")) {
            Some(target) => parts.get(target).cloned().unwrap_or_default(),
            None => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                content
            }
        };
        parts.insert(name, content);
    }
    let part = |name: &str| parts.get(name).with_context(|| format!("the saved image has no {name}"));
    let manifest: Value = serde_json::from_slice(part("manifest.json")?)?;
    let of_image = &manifest[0];
    let config: Value = serde_json::from_slice(part(of_image["Config"].as_str().unwrap_or_default())?)?;
    let mut saved = Saved { config: config["config"].clone(), files: BTreeMap::new() };
    if let Some(config) = saved.config.as_object_mut() {
        config.remove("Labels");
        // What older dockers say of the build, not of the image.
        config.remove("Image");
    }
    for layer in of_image["Layers"].as_array().into_iter().flatten() {
        add_layer(&mut saved.files, part(layer.as_str().unwrap_or_default())?)?;
    }
    Ok(saved)
}

/// The files that `after` has otherwise than `before`. Errors: why copying files does not make the one of the other.
pub fn changed(before: &Saved, after: &Saved) -> Result<BTreeSet<String>> {
    if before.config != after.config {
        bail!("its image is to be run in another way");
    }
    if let Some(gone) = before.files.keys().find(|path| !after.files.contains_key(*path)) {
        bail!("its image no longer has {gone}");
    }
    let differs = |(path, entry): &(&String, &Entry)| before.files.get(*path) != Some(*entry);
    let found: BTreeMap<&String, &Entry> = after.files.iter().filter(differs).collect();
    for (path, entry) in &found {
        let was_other = matches!(before.files.get(*path), Some(Entry::Other(_)));
        if matches!(entry, Entry::Other(_)) || was_other {
            bail!("{path} of its image is no plain file");
        }
    }
    Ok(found.into_keys().cloned().collect())
}

/// The SHA-256 of some content, in hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    Hash::hash(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add_layer(files: &mut BTreeMap<String, Entry>, layer: &[u8]) -> Result<()> {
    let is_packed = layer.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read + '_> = if is_packed { Box::new(GzDecoder::new(layer)) } else { Box::new(layer) };
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let path = format!("/{}", entry.path()?.display().to_string().trim_start_matches("./").trim_matches('/'));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => remove_below(files, folder),
            Some(gone) => {
                let gone = format!("{folder}/{gone}");
                remove_below(files, &gone);
                files.remove(&gone);
            }
            None if entry.header().entry_type().is_dir() => {}
            None if entry.header().entry_type().is_file() => {
                let mode = format!("{:o}", entry.header().mode()? & 0o7777);
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                files.insert(path, Entry::File { mode, sha256: sha256(&content), content });
            }
            None => {
                let target = entry.link_name()?.map(|target| target.display().to_string()).unwrap_or_default();
                files.insert(path, Entry::Other(format!("{:?} {target}", entry.header().entry_type())));
            }
        }
    }
    Ok(())
}

fn remove_below(files: &mut BTreeMap<String, Entry>, folder: &str) {
    files.retain(|path, _| !path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn pack(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, mode, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            if let Some(link) = path.strip_suffix('@') {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, link, std::str::from_utf8(content).unwrap()).unwrap();
                continue;
            }
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn image(config: Value, layers: &[Vec<u8>]) -> Vec<u8> {
        let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": names}]).to_string();
        let config = json!({"architecture": "amd64", "config": config}).to_string();
        let mut entries: Vec<(&str, u32, &[u8])> =
            names.iter().zip(layers).map(|(name, layer)| (name.as_str(), 0o644, layer.as_slice())).collect();
        entries.extend([("c.json", 0o644, config.as_bytes()), ("manifest.json", 0o644, manifest.as_bytes())]);
        pack(&entries)
    }

    fn of(layers: &[Vec<u8>]) -> Saved {
        read(image(json!({"User": "1"}), layers).as_slice()).unwrap()
    }

    #[test]
    fn layers_lie_over_each_other() {
        let first =
            pack(&[("app/", 0o755, b""), ("app/web", 0o755, b"one"), ("etc/a/b", 0o644, b""), ("etc/c", 0o600, b"c")]);
        let second = pack(&[("app/web", 0o711, b"two"), ("etc/.wh.a", 0, b""), ("lib@", 0o777, b"usr/lib")]);
        let saved = of(&[first, second]);
        assert_eq!(saved.files.keys().collect::<Vec<_>>(), ["/app/web", "/etc/c", "/lib"]);
        let sha256 = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3".to_string();
        assert_eq!(saved.files["/app/web"], Entry::File { mode: "711".into(), sha256, content: b"two".to_vec() });
        assert_eq!(saved.files["/lib"], Entry::Other("Symlink usr/lib".into()));
        let all = pack(&[("etc/.wh..wh..opq", 0, b""), ("etc/d", 0o644, b"d")]);
        assert_eq!(of(&[pack(&[("etc/a/b", 0o644, b""), ("etcetera", 0o644, b"")]), all]).files.len(), 2);
    }

    #[test]
    fn a_layer_may_be_packed_or_a_link_to_another() {
        let plain = pack(&[("app/web", 0o755, b"one")]);
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        assert_eq!(of(&[packed.finish().unwrap()]), of(std::slice::from_ref(&plain)));
        let manifest = json!([{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]).to_string();
        let archive = pack(&[
            ("a/layer.tar", 0o644, &plain),
            ("b/layer.tar@", 0o644, b"../a/layer.tar"),
            ("c.json", 0o644, br#"{"config": {"User": "1", "Labels": {"a": "b"}}}"#),
            ("manifest.json", 0o644, manifest.as_bytes()),
        ]);
        assert_eq!(read(archive.as_slice()).unwrap(), of(&[plain]), "labels are none of how it runs");
        let message = read(pack(&[("x", 0o644, b"")]).as_slice()).unwrap_err().to_string();
        assert_eq!(message, "the saved image has no manifest.json");
    }

    #[test]
    fn the_program_is_that_of_the_entry_point_or_of_the_command() {
        let program = |config: Value| Saved { config, ..Saved::default() }.program().map(str::to_string);
        assert_eq!(program(json!({"Entrypoint": ["/app/web"], "Cmd": ["serve"]})).as_deref(), Some("/app/web"));
        assert_eq!(program(json!({"Entrypoint": null, "Cmd": ["/app/web", "serve"]})).as_deref(), Some("/app/web"));
        assert_eq!(program(json!({"User": "1"})), None);
    }

    #[test]
    fn what_copying_does_not_make_is_said() {
        let saved = |files: &[(&str, u32, &[u8])]| of(&[pack(files)]);
        let before = saved(&[("app/web", 0o755, b"one"), ("etc/a", 0o644, b"a")]);
        let wanted = |paths: &[&str]| paths.iter().map(|path| path.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(changed(&before, &before).unwrap(), wanted(&[]));
        let after = saved(&[("app/web", 0o755, b"two"), ("etc/a", 0o600, b"a"), ("etc/b", 0o644, b"b")]);
        assert_eq!(changed(&before, &after).unwrap(), wanted(&["/app/web", "/etc/a", "/etc/b"]));
        let why = |after: &Saved| changed(&before, after).unwrap_err().to_string();
        assert_eq!(why(&saved(&[("app/web", 0o755, b"two")])), "its image no longer has /etc/a");
        let link = saved(&[("app/web@", 0o777, b"x"), ("etc/a", 0o644, b"a")]);
        assert_eq!(why(&link), "/app/web of its image is no plain file");
        let other = Saved { config: json!({"User": "2"}), ..before.clone() };
        assert_eq!(why(&other), "its image is to be run in another way");
    }
}
