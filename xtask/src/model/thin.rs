//! Leaves out of an image's archive, on its way to a node, the layers that the node has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use anyhow::{Context as _, Result, ensure};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tar::{Builder, Entry, EntryType, Header};

use crate::model::image::qualified;
use crate::model::saved::sha256;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYOUT: &str = "oci-layout";

/// What is known before the archive comes.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The digests of the node's blobs, `sha256:…`.
    pub blobs: BTreeSet<String>,
    /// The digests of the image's layers as tars, from the lowest on.
    pub layers: Vec<String>,
}

/// What became of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passed {
    pub bytes: u64,
    pub left_out_bytes: u64,
}

/// Passes the archive of one image on without the layers that are among the node's blobs: a layout of the OCI's as it is, what docker
/// wrote before version 25 as one, since containerd takes that with layers missing. `known` is called when the archive begins.
pub fn pass(archive: impl Read, known: impl FnOnce() -> Known, to: impl Write) -> Result<Passed> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries()?.peekable();
    // What precedes the first entry is docker's own work, in which the node has time to answer.
    entries.peek().context("docker saved nothing")?;
    let mut filter = Filter { known: known(), to: Builder::new(to), passed: Passed::default(), old: Old::default() };
    let mut is_layout = false;
    for entry in entries {
        let entry = entry?;
        let path = entry.path()?.display().to_string();
        is_layout |= path == LAYOUT;
        filter.take(&path, entry)?;
    }
    // What pads the archive is read as well: docker would take a pipe that is closed before for a failure.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    if !is_layout {
        filter.describe()?;
    }
    filter.to.into_inner()?.flush()?;
    Ok(filter.passed)
}

struct Filter<W: Write> {
    known: Known,
    to: Builder<W>,
    passed: Passed,
    old: Old,
}

/// The parts of an archive from before version 25, by their paths.
#[derive(Default)]
struct Old {
    texts: BTreeMap<String, Vec<u8>>,
    /// The bytes of each layer.
    layers: BTreeMap<String, u64>,
    /// To which path another leads: a layer may come twice.
    links: BTreeMap<String, String>,
}

impl<W: Write> Filter<W> {
    fn take(&mut self, path: &str, mut entry: Entry<impl Read>) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match entry.header().entry_type() {
            EntryType::Symlink => {
                let target = entry.link_name()?.context("a link of the archive leads nowhere")?;
                let target = target.display().to_string().trim_start_matches("../").to_string();
                self.old.links.insert(path.to_string(), target);
            }
            EntryType::Regular | EntryType::Continuous if folder.starts_with("blobs/") => {
                let digest = format!("{}:{name}", folder.trim_start_matches("blobs/"));
                self.pass_on(path, Some(&digest), entry)?;
            }
            EntryType::Regular | EntryType::Continuous if name == "layer.tar" => {
                let about = self.old.texts.remove(&format!("{folder}/json")).unwrap_or_default();
                let digest = layer_of(folder, &about, &self.known.layers);
                self.old.layers.insert(path.to_string(), entry.size());
                self.pass_on(path, digest.as_deref(), entry)?;
            }
            EntryType::Regular | EntryType::Continuous if name == LAYOUT || name == "index.json" => {
                self.pass_on(path, None, entry)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                let mut text = Vec::new();
                entry.read_to_end(&mut text)?;
                self.old.texts.insert(path.to_string(), text);
            }
            _ => {}
        }
        Ok(())
    }

    /// Passes a file on unless it is a layer with a digest that the node has. Manifests and configs are objects of JSON, which a
    /// tar is not: they are small, and what comes anew is held by the import as what lay there is not.
    fn pass_on(&mut self, path: &str, digest: Option<&str>, mut entry: Entry<impl Read>) -> Result<()> {
        let size = entry.size();
        let mut first = Vec::new();
        entry.by_ref().take(1).read_to_end(&mut first)?;
        if first != b"{" && digest.is_some_and(|digest| self.known.blobs.contains(digest)) {
            self.passed.left_out_bytes += size;
            return Ok(());
        }
        self.append(path, size, first.as_slice().chain(entry))
    }

    fn append(&mut self, path: &str, size: u64, content: impl Read) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        self.passed.bytes += size;
        Ok(self.to.append_data(&mut header, path, content)?)
    }

    /// Adds what makes a layout of an older archive: the layers go by their own digests, whatever they are called in it.
    fn describe(&mut self) -> Result<()> {
        let old = std::mem::take(&mut self.old);
        let text = |path: &str| old.texts.get(path).with_context(|| format!("the saved image has no {path}"));
        let images: Vec<Value> = serde_json::from_slice(text("manifest.json")?)?;
        let [image] = &images[..] else { anyhow::bail!("the archive has {} images, not one", images.len()) };
        let config = text(image["Config"].as_str().unwrap_or_default())?;
        let digests = serde_json::from_slice::<Value>(config)?["rootfs"]["diff_ids"].take();
        let (digests, paths) = (texts(&digests), texts(&image["Layers"]));
        ensure!(digests.len() == paths.len(), "the saved image has {} layers of {}", paths.len(), digests.len());
        let mut layers = Vec::new();
        for (digest, path) in digests.iter().zip(paths) {
            let path = old.links.get(path).map_or(path, String::as_str);
            let size = old.layers.get(path).with_context(|| format!("the saved image has no {path}"))?;
            layers.push(json!({"mediaType": LAYER, "digest": digest, "size": size}));
        }
        let config = self.add_blob(CONFIG, config)?;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let manifest = self.add_blob(MANIFEST, manifest.to_string().as_bytes())?;
        let named = texts(&image["RepoTags"]).into_iter().map(|reference| {
            let mut named = manifest.clone();
            named["annotations"] = json!({"io.containerd.image.name": qualified(reference)});
            named
        });
        let index = json!({"schemaVersion": 2, "manifests": named.collect::<Vec<_>>()}).to_string();
        self.append("index.json", index.len() as u64, index.as_bytes())?;
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
        self.append(LAYOUT, layout.len() as u64, layout.as_bytes())
    }

    /// Adds a blob. Returns its descriptor.
    fn add_blob(&mut self, media_type: &str, content: &[u8]) -> Result<Value> {
        let (sha256, size) = (sha256(content), content.len());
        self.append(&format!("blobs/sha256/{sha256}"), size as u64, content)?;
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": size}))
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Which of the image's layers lies in a folder of an archive from before version 25. The folder's name is the SHA-256 of the text `json`
/// in it with its layer's chain ID: the chain ID that yields the name is proven to be the layer's. None where none does.
fn layer_of(folder: &str, about: &[u8], layers: &[String]) -> Option<String> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(about).ok()?;
    fields.remove("id");
    if let Some(parent) = fields.get("parent") {
        let parent = parent.get().trim_matches('"').to_string();
        fields.insert("parent".to_string(), raw(&format!("sha256:{parent}"))?);
    }
    let mut without_os = fields.clone();
    // All folders but the last one's are named before it is known.
    without_os.remove("os");
    let mut chain = String::new();
    for layer in layers {
        chain = match chain.as_str() {
            "" => layer.clone(),
            below => format!("sha256:{}", sha256(format!("{below} {layer}").as_bytes())),
        };
        for fields in [&mut without_os, &mut fields] {
            fields.insert("layer_id".to_string(), raw(&chain)?);
            if sha256(&serde_json::to_vec(fields).ok()?) == folder {
                return Some(layer.clone());
            }
        }
    }
    None
}

fn raw(text: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an archive holds: a link's content is its target.
    type Files = BTreeMap<String, Vec<u8>>;

    fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = Header::new_gnu();
            match path.strip_suffix('@') {
                Some(link) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_size(0);
                    builder.append_link(&mut header, link, std::str::from_utf8(content).unwrap()).unwrap();
                }
                None => {
                    header.set_size(content.len() as u64);
                    builder.append_data(&mut header, path, *content).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    fn unpack(archive: &[u8]) -> Files {
        let mut files = Files::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        files
    }

    fn known(blobs: &[&str], layers: &[String]) -> Known {
        Known { blobs: blobs.iter().map(|blob| blob.to_string()).collect(), layers: layers.to_vec() }
    }

    fn digest(content: &[u8]) -> String {
        format!("sha256:{}", sha256(content))
    }

    /// An archive as docker wrote it before version 25, and its layers' digests. A layer that comes again is a link.
    fn old(layers: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
        let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let (mut files, mut paths): (Vec<(String, Vec<u8>)>, Vec<String>) = Default::default();
        let (mut parent, mut chain) = (String::new(), String::new());
        for (number, layer) in layers.iter().enumerate() {
            chain = if number == 0 {
                digests[0].clone()
            } else {
                digest(format!("{chain} {}", digests[number]).as_bytes())
            };
            let above = if parent.is_empty() { String::new() } else { format!(r#","parent":"sha256:{parent}""#) };
            // The highest has the image's config; the system is a part of it.
            let is_last = number + 1 == layers.len();
            let (config, os) = if is_last { (r#""config":{"B":1,"A":2},"#, r#","os":"linux""#) } else { ("", "") };
            let id = sha256(format!(r#"{{{config}"created":"1970","layer_id":"{chain}"{os}{above}}}"#).as_bytes());
            let above = above.replace("sha256:", "");
            let json = format!(r#"{{"id":"{id}"{above},"created":"1970",{config}"os":"linux"}}"#);
            let first = digests.iter().position(|one| *one == digests[number]).unwrap();
            files.extend([(format!("{id}/VERSION"), b"1.0".to_vec()), (format!("{id}/json"), json.into_bytes())]);
            match first == number {
                true => files.push((format!("{id}/layer.tar"), layer.to_vec())),
                false => files.push((format!("{id}/layer.tar@"), format!("../{}", paths[first]).into_bytes())),
            }
            paths.push(format!("{id}/layer.tar"));
            parent = id;
        }
        let config = json!({"rootfs": {"type": "layers", "diff_ids": digests}}).to_string();
        let manifest = json!([{"Config": "c.json", "RepoTags": ["web:1", "a.b/c:2"], "Layers": paths}]).to_string();
        files.extend([
            ("c.json".to_string(), config.into_bytes()),
            ("manifest.json".to_string(), manifest.into_bytes()),
        ]);
        files.sort();
        let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        (pack(&files), digests)
    }

    fn passed(archive: &[u8], known: Known) -> (Passed, Files) {
        let mut to = Vec::new();
        let passed = pass(archive, || known, &mut to).unwrap();
        (passed, unpack(&to))
    }

    /// The manifest of a layout by way of its index, and the names that it has there.
    fn manifest(files: &Files) -> (Value, Vec<String>) {
        let blob = |digest: &Value| &files[&format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))];
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let named = index["manifests"].as_array().unwrap();
        let names =
            named.iter().map(|one| one["annotations"]["io.containerd.image.name"].as_str().unwrap().to_string());
        let manifest: Value = serde_json::from_slice(blob(&named[0]["digest"])).unwrap();
        let config = blob(&manifest["config"]["digest"]);
        assert_eq!(digest(config), manifest["config"]["digest"].as_str().unwrap());
        assert_eq!(config.len(), manifest["config"]["size"].as_u64().unwrap() as usize);
        assert_eq!(files[LAYOUT], br#"{"imageLayoutVersion":"1.0.0"}"#);
        (manifest, names.collect())
    }

    #[test]
    fn only_what_the_node_lacks_of_an_older_archive_is_passed_on() {
        let (archive, digests) = old(&[b"base", b"packages", b"program"]);
        let (passed, files) = passed(&archive, known(&[&digests[0], &digests[1], "sha256:another"], &digests));
        assert_eq!(passed.left_out_bytes, 12);
        assert_eq!(passed.bytes, files.values().map(|content| content.len() as u64).sum::<u64>());
        let layers: Vec<_> = files.iter().filter(|(path, _)| path.ends_with("layer.tar")).collect();
        assert_eq!(layers.len(), 1);
        assert_eq!(layers[0].1, b"program");
        assert!(
            !files.keys().any(|path| path.ends_with("/json") || path.ends_with("/VERSION") || path == "manifest.json")
        );
        let (manifest, names) = manifest(&files);
        assert_eq!(names, ["docker.io/library/web:1", "a.b/c:2"]);
        let layer = |size: u64, digest: &String| json!({"mediaType": LAYER, "digest": digest, "size": size});
        let all = [layer(4, &digests[0]), layer(8, &digests[1]), layer(7, &digests[2])];
        assert_eq!(manifest["layers"], json!(all));
    }

    #[test]
    fn of_a_node_that_knows_nothing_nothing_is_left_out() {
        let (archive, digests) = old(&[b"base", b"program"]);
        for known in [known(&["sha256:another"], &digests), known(&[&digests[0], &digests[1]], &[]), Known::default()] {
            let (passed, files) = passed(&archive, known);
            assert_eq!(passed.left_out_bytes, 0);
            assert_eq!(files.keys().filter(|path| path.ends_with("layer.tar")).count(), 2);
            assert_eq!(manifest(&files).0["layers"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_layer_that_comes_twice_is_sent_once_or_not_at_all() {
        let (archive, digests) = old(&[b"base", b"same", b"same", b"program"]);
        for (blobs, sent) in [(vec![&*digests[1]], 2), (vec![&*digests[0]], 2), (vec![], 3)] {
            let (_, files) = passed(&archive, known(&blobs, &digests));
            assert_eq!(files.keys().filter(|path| path.ends_with("layer.tar")).count(), sent);
            let layers = manifest(&files).0["layers"].clone();
            assert_eq!((&layers[1], layers[1]["size"].as_u64()), (&layers[2], Some(4)));
        }
    }

    #[test]
    fn of_a_layout_the_blobs_that_the_node_has_are_left_out_but_for_manifests_and_configs() {
        let (config, manifest, layer) = (br#"{"rootfs":1}"#, br#"{"layers":1}"#, b"\x1f\x8b packed");
        let path = |content: &[u8]| format!("blobs/sha256/{}", sha256(content));
        let archive = pack(&[
            (&path(config), config),
            (&path(manifest), manifest),
            (&path(layer), layer),
            (&path(b"program"), b"program"),
            (&path(b""), b""),
            ("index.json", b"{}"),
            ("manifest.json", b"[]"),
            (LAYOUT, b"{}"),
        ]);
        let has = [digest(config), digest(manifest), digest(layer)];
        let (passed, files) = passed(&archive, known(&[&has[0], &has[1], &has[2]], &[]));
        assert_eq!(passed, Passed { bytes: 35, left_out_bytes: layer.len() as u64 });
        let mut expected = [&path(config), &path(manifest), &path(b"program"), &path(b""), "index.json", LAYOUT];
        expected.sort();
        assert_eq!(files.keys().collect::<Vec<_>>(), expected);
        assert_eq!(files[&path(b"program")], b"program");
    }

    #[test]
    fn an_archive_is_read_to_its_end() {
        let (mut archive, _) = old(&[b"base"]);
        archive.extend([0; 20 * 512]);
        let mut rest = archive.as_slice();
        pass(&mut rest, Known::default, &mut Vec::new()).unwrap();
        assert_eq!(rest.len(), 0);
    }

    #[test]
    fn half_an_archive_is_an_error_and_makes_no_layout() {
        let (archive, digests) = old(&[b"base", b"program"]);
        for length in [0, 100, 600, archive.len() / 2] {
            let mut to = Vec::new();
            assert!(pass(&archive[..length], || known(&[], &digests), &mut to).is_err(), "{length}");
            assert!(!String::from_utf8_lossy(&to).contains(LAYOUT), "{length}");
        }
        let two = pack(&[("manifest.json", b"[{}, {}]")]);
        assert!(pass(two.as_slice(), Known::default, &mut Vec::new()).unwrap_err().to_string().contains("2 images"));
    }

    /// What docker 20.10 wrote.
    #[test]
    fn a_folder_of_an_older_archive_is_a_layer_by_proof() {
        let empty = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#;
        let layers = [
            "sha256:9c5760fa5bd310983a92d901784d5159b55fa6d7d0114b5af7202e229476f9b7",
            "sha256:adc52cb6e0a6e454467b482dbc3bc139e5b29ef60646f98d82202047d2c68724",
            "sha256:adc52cb6e0a6e454467b482dbc3bc139e5b29ef60646f98d82202047d2c68724",
            "sha256:75c5f92b7c7ada75af9b0c261a02c98bb3447af3d1fdbcee98d65808febb3870",
        ]
        .map(str::to_string);
        let ids = [
            "2024f319640307cd723b3fa4e5f8dd9c2e4eec7c46adb01c5c4f3bf9555608bc",
            "1e9ff4ee9c17c0f3206f02f8c589257639d046b530653746e70c4b0d682034d3",
            "c6cbeefa3679bf551b79436c28b61e161417e71f74b1f7f9586f92c17d9bf661",
            "50a584dcdc8108aa5a3ab9dd64d69e676dec4e683e76251b3bacec9d0d350947",
        ];
        let below = |number: usize| {
            let parent = if number == 0 { String::new() } else { format!(r#""parent":"{}","#, ids[number - 1]) };
            let (id, created) = (ids[number], "1970-01-01T00:00:00Z");
            format!(r#"{{"id":"{id}",{parent}"created":"{created}","container_config":{empty},"os":"linux"}}"#)
        };
        let environment = r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]"#;
        let config = empty
            .replace(r#""Env":null"#, &format!(r#""Env":{environment}"#))
            .replace(r#""WorkingDir":"""#, r#""WorkingDir":"/""#)
            .replace(r#""Entrypoint":null"#, r#""Entrypoint":["/f1","a\u003cb\u0026c"]"#)
            .replace(r#""Labels":null"#, r#""Labels":{"x":"\u003c\u0026\u003eé"}"#);
        let (id, parent, created) = (ids[3], ids[2], "2026-11-29T15:44:03.061667057Z");
        let top = format!(
            r#"{{"id":"{id}","parent":"{parent}","created":"{created}","container_config":{empty},"config":{config},"architecture":"amd64","os":"linux"}}"#
        );
        let texts = [below(0), below(1), below(2), top];
        for number in 0..4 {
            let found = |text: &str, layers: &[String]| layer_of(ids[number], text.as_bytes(), layers);
            assert_eq!(found(&texts[number], &layers).as_ref(), Some(&layers[number]), "{number}");
            assert_eq!(found(&texts[number], &layers[..number]), None, "{number}");
            assert_eq!(found(&texts[number].replace("created", "altered"), &layers), None, "{number}");
        }
        assert_eq!(layer_of(ids[0], b"", &layers), None);
    }
}
