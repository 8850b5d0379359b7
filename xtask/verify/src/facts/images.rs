//! What is in the images, and whether they start: asked of docker, and read from the layers themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context as _, Result};
use auditable_serde::{DependencyKind, Source};
use serde_json::Value;
use tar::{Archive, EntryType};

use crate::entities::dpkg;
use crate::rules::{FileKind, ImageFacts, ImageFile, Package, Start, leaks};
use xtask::model::image::Built;
use xtask::run::context::Context;
use xtask::run::poll;
use xtask::tools::docker;

/// How long a container that was started alone may take to answer or to say what it lacks.
const START: Duration = Duration::from_secs(15);
/// How much of a file of an image is in memory at once.
const PIECE: usize = 64 << 10;
/// The largest file that is kept whole, to be read as a text.
const TEXT_MAX_BYTES: u64 = 16 << 20;

pub fn inspect(ctx: &Context, image: &Built) -> Result<Value> {
    let inspected = ctx.run(docker::inspect(&image.reference()))?;
    inspected.with_context(|| format!("docker does not tell what {} is", image.reference()))
}

pub fn gather(ctx: &Context, service: &str, image: &Built, inspect: &Value) -> Result<ImageFacts> {
    let facts = look_into(ctx, service, image, inspect)?;
    Ok(ImageFacts { starts: Some(start(ctx, service, image, inspect)?), ..facts })
}

/// What is in an image, without a start of it.
pub fn look_into(ctx: &Context, service: &str, image: &Built, inspect: &Value) -> Result<ImageFacts> {
    let reference = image.reference();
    let history = ctx.run(docker::history(&reference))?;
    let keys: Vec<&str> = ctx.config.secrets.values().flat_map(|secret| secret.keys()).collect();
    let archive = ctx.staging(&format!("scan-{service}.tar"));
    fs::create_dir_all(archive.parent().unwrap_or(&archive))?;
    let path = archive.display().to_string();
    ctx.run(docker::save_to(&reference, &path).within(ctx.config.deadlines.load))?;
    let scanned = File::open(&archive).map_err(Into::into).and_then(|file| scan(file, &keys));
    fs::remove_file(&archive)?;
    let scan = scanned.with_context(|| format!("the archive of {reference} cannot be read"))?;
    let text = |path: &str| scan.kept.get(path).map(String::as_str).unwrap_or_default();
    Ok(ImageFacts {
        reference,
        size: inspect["Size"].as_u64().unwrap_or_default(),
        inspect: inspect.clone(),
        history,
        files: scan.files,
        secrets: scan.secrets,
        users: users(text("etc/passwd")),
        packages: dpkg::parse_status(text("var/lib/dpkg/status")),
        codename: dpkg::parse_codename(text("etc/os-release")).or(dpkg::parse_codename(text("usr/lib/os-release"))),
        crates: scan.crates,
        unread_layers: scan.unread,
        starts: None,
    })
}

/// Starts a container with nothing but the image: it must answer its own health check, or end and name what it lacks.
fn start(ctx: &Context, service: &str, image: &Built, inspect: &Value) -> Result<Result<Start, String>> {
    let name = format!("{}-validate-{}-{service}", ctx.config.project, std::process::id());
    let remove = || ctx.spawn.uninterrupted().output(docker::remove_container(&name));
    let health = health_command(inspect);
    let label = format!("{}={}", docker::check_label(&ctx.config.project), std::process::id());
    let started = ctx.output(docker::run_alone(&name, &label, &image.reference()));
    let looked = started.and_then(|started| {
        if !started.success {
            return Ok(Err(format!("docker cannot start it: {}", last_line(&started.tail))));
        }
        let mut last = "it did not answer".to_string();
        let ended = poll::until(&ctx.spawn.interrupt, START, || {
            let state = ctx.run(docker::container_ending(&name))?;
            if let Some(code) = state.strip_prefix("exited ") {
                let answer = ctx.output(docker::container_logs(&name))?;
                return Ok(Some(judge_ending(code, &answer.tail)));
            }
            let Some(health) = &health else { return Ok(Some(Ok(Start::Runs))) };
            let asked = ctx.output(docker::exec(&name, health))?;
            last = last_line(&asked.tail);
            Ok(asked.success.then_some(Ok(Start::Runs)))
        })?;
        Ok(ended
            .unwrap_or_else(|| Err(format!("within {} s it did not answer its health check: {last}", START.as_secs()))))
    });
    let removed = remove();
    let looked = looked?;
    removed?;
    Ok(looked)
}

/// The command of an image's HEALTHCHECK as an argv.
pub fn health_command(inspect: &Value) -> Option<Vec<String>> {
    let test: Vec<String> = inspect["Config"]["Healthcheck"]["Test"]
        .as_array()?
        .iter()
        .filter_map(|word| Some(word.as_str()?.to_string()))
        .collect();
    match test.split_first()? {
        (kind, words) if kind == "CMD" => Some(words.to_vec()),
        (kind, [text]) if kind == "CMD-SHELL" => Some(["sh", "-c", text].map(str::to_string).to_vec()),
        _ => None,
    }
}

/// An end is good if the last words name the variable that must be set.
fn judge_ending(code: &str, log: &str) -> Result<Start, String> {
    let is_variable = |word: &&str| {
        let plain = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        plain.len() > 3
            && plain.contains('_')
            && plain.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let named = log.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | ',' | ':')).find(is_variable);
    match (code, named) {
        ("0", _) => Err("it ends at once, as if there were nothing to do".to_string()),
        (_, Some(name)) => Ok(Start::Needs(name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_string())),
        (_, None) => Err(format!("it ends with exit code {code} and does not say what it lacks: {}", last_line(log))),
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().chars().take(200).collect()
}

/// The texts that are read: who the users are, and which packages of which release there are.
const KEPT: [&str; 4] = ["etc/passwd", "etc/os-release", "usr/lib/os-release", "var/lib/dpkg/status"];
/// The largest program that is read whole, for the crates that it was made of, and the most that their list may have.
const PROGRAM_MAX_BYTES: u64 = 64 << 20;
const CRATES_MAX_BYTES: usize = 8 << 20;

/// What the layers of an image archive hold.
#[derive(Debug, Default)]
struct Scan {
    /// As a container sees them.
    files: Vec<ImageFile>,
    /// In any layer, deleted later or not.
    secrets: Vec<String>,
    /// Path to text, of those of `KEPT`.
    kept: BTreeMap<String, String>,
    /// Program to its crates.
    crates: BTreeMap<String, Vec<Package>>,
    /// Layers that are compressed, and were not looked into.
    unread: usize,
}

#[derive(Default)]
struct Layer {
    files: Vec<ImageFile>,
    secrets: Vec<String>,
    /// Path to text, of those of `KEPT`.
    kept: BTreeMap<String, String>,
    crates: BTreeMap<String, Vec<Package>>,
}

/// Reads what `docker save` wrote: layers as tars, and a list of them at the end.
fn scan(archive: impl Read, keys: &[&str]) -> Result<Scan> {
    let search = leaks::Search::new(keys);
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    let mut links = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut scan = Scan::default();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        if path == "manifest.json" {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let images: Vec<Value> = serde_json::from_str(&text)?;
            let names = images.first().and_then(|image| image["Layers"].as_array()).context("it lists no layers")?;
            order = names.iter().filter_map(|name| Some(name.as_str()?.to_string())).collect();
        } else if entry.header().entry_type() == EntryType::Symlink {
            // The same layer twice, as in `../DIGEST/layer.tar`.
            if let Some(target) = entry.link_name()? {
                links.insert(path, target.display().to_string().trim_start_matches("../").to_string());
            }
        } else if path.ends_with("/layer.tar") || path.starts_with("blobs/") {
            let mut start = [0; 4];
            let read = read_start(&mut entry, &mut start)?;
            let rest = start[..read].chain(entry);
            match start {
                [b'{', ..] => {}
                [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => scan.unread += 1,
                _ => drop(layers.insert(path, layer(rest, &search)?)),
            }
        }
    }
    let mut files: BTreeMap<String, ImageFile> = BTreeMap::new();
    for name in &order {
        let Some(layer) = layers.get(links.get(name).unwrap_or(name)) else { continue };
        scan.secrets.extend(layer.secrets.iter().cloned());
        scan.kept.extend(layer.kept.clone());
        scan.crates.extend(layer.crates.clone());
        for file in &layer.files {
            put(&mut files, file);
        }
    }
    scan.secrets = BTreeSet::from_iter(scan.secrets).into_iter().collect();
    scan.kept.retain(|path, _| files.contains_key(path));
    scan.crates.retain(|path, _| files.contains_key(path));
    scan.files = files.into_values().collect();
    Ok(scan)
}

/// Lays an entry of a layer over what is below: `.wh.NAME` takes NAME away, `.wh..wh..opq` all of a folder.
fn put(files: &mut BTreeMap<String, ImageFile>, file: &ImageFile) {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let inside = |folder: &str| if folder.is_empty() { String::new() } else { format!("{folder}/") };
    if name == ".wh..wh..opq" {
        files.retain(|path, _| !path.starts_with(&inside(folder)));
    } else if let Some(gone) = name.strip_prefix(".wh.") {
        let gone = format!("{}{gone}", inside(folder));
        files.retain(|path, _| *path != gone && !path.starts_with(&format!("{gone}/")));
    } else {
        files.insert(file.path.clone(), file.clone());
    }
}

/// Looks through a file for secrets, and keeps all of it where `content` is there for it.
fn search_file(
    file: &mut impl Read,
    search: &leaks::Search,
    content: &mut Option<Vec<u8>>,
) -> Result<Vec<leaks::Leak>> {
    let mut stream = search.stream();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(stream.end()),
            count => {
                stream.feed(&piece[..count]);
                if let Some(content) = content {
                    content.extend_from_slice(&piece[..count]);
                }
            }
        }
    }
}

fn layer(archive: impl Read, search: &leaks::Search) -> Result<Layer> {
    let mut layer = Layer::default();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        let path = path.trim_start_matches("./").trim_matches('/').to_string();
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::Link => FileKind::Plain,
            EntryType::Directory => FileKind::Folder,
            EntryType::Symlink => FileKind::Link,
            _ => FileKind::Other,
        };
        if path.is_empty() {
            continue;
        }
        let (mode, bytes) = (entry.header().mode()? & 0o7777, entry.header().size()?);
        if kind == FileKind::Plain && bytes > 0 {
            let is_kept = match path.as_str() {
                path if KEPT.contains(&path) => bytes <= TEXT_MAX_BYTES,
                _ => mode & 0o111 != 0 && bytes <= PROGRAM_MAX_BYTES,
            };
            let mut content = is_kept.then(Vec::new);
            let leaks = search_file(&mut entry, search, &mut content)?;
            let leaks = leaks.iter().filter(|leak| !leak.is_published(&path));
            layer.secrets.extend(leaks.map(|leak| leak.of_file(&path)));
            match content {
                Some(text) if KEPT.contains(&path.as_str()) => {
                    layer.kept.insert(path.clone(), String::from_utf8_lossy(&text).into_owned());
                }
                Some(program) => layer.crates.extend(crates(&program).map(|found| (path.clone(), found))),
                None => {}
            }
        }
        if leaks::is_secret_file(&path) && kind == FileKind::Plain {
            layer.secrets.push(format!("{path}: a file that holds secrets by its name"));
        }
        layer.files.push(ImageFile { path, mode, kind, bytes });
    }
    Ok(layer)
}

/// The crates that a program says it was made of; None for one that says nothing.
fn crates(program: &[u8]) -> Option<Vec<Package>> {
    let info = auditable_info::audit_info_from_slice(program, CRATES_MAX_BYTES).ok()?;
    // What only the build ran is not in the program.
    let packages = info.packages.into_iter().filter(|package| package.kind == DependencyKind::Runtime);
    let packages = packages.map(|package| Package {
        name: package.name,
        version: package.version.to_string(),
        is_foreign: package.source != Source::Local,
    });
    Some(packages.collect())
}

/// UID to name, from /etc/passwd.
fn users(passwd: &str) -> BTreeMap<u32, String> {
    let read = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_string()))
    };
    passwd.lines().filter_map(read).collect()
}

fn read_start(from: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < start.len() {
        match from.read(&mut start[read..])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tar::{Builder, Header};

    fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, mode, content) in files {
            let mut header = Header::new_gnu();
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn saved(layers: &[Vec<u8>]) -> Scan {
        let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}/layer.tar")).collect();
        let manifest = json!([{ "Layers": names }]).to_string();
        let mut files: Vec<(&str, u32, &[u8])> =
            names.iter().zip(layers).map(|(name, layer)| (name.as_str(), 0o644, layer.as_slice())).collect();
        files.push(("manifest.json", 0o644, manifest.as_bytes()));
        scan(tar(&files).as_slice(), &["JWT_SECRET"]).unwrap()
    }

    #[test]
    fn a_deleted_file_is_gone_from_view_and_its_secret_is_still_found() {
        let secret = ["JWT_SECRET=a8F3kQ9zLm2", "Xw7Rt5Yb1Nc6V\n"].concat();
        let below =
            tar(&[("app/x", 0o4755, b"\0"), ("app/settings", 0o644, secret.as_bytes()), ("old/a", 0o644, b"a")]);
        let above = tar(&[("app/.wh.settings", 0o644, b""), (".wh.old", 0o644, b"")]);
        let scan = saved(&[below, above]);
        let paths: Vec<&str> = scan.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["app/x"]);
        assert_eq!(scan.files[0].mode, 0o4755);
        assert_eq!(scan.secrets, ["app/settings:1: a value of JWT_SECRET"]);
        assert_eq!(scan.unread, 0);
    }

    #[test]
    fn secrets_of_binaries_and_of_large_files_are_found() {
        let token = ["ghp_a8F3kQ9zLm2", "Xw7Rt5Yb1Nc6VdE4hJ0sTu"].concat();
        let large = ["some text\n".repeat(200_000), token.clone()].concat();
        let binary = ["\x7fELF\0\0", &token, "\0"].concat();
        let scan = saved(&[tar(&[("app/x", 0o755, binary.as_bytes()), ("app/y", 0o644, large.as_bytes())])]);
        let message = "a token that begins with ghp_";
        assert_eq!(scan.secrets, [format!("app/x at byte 6: {message}"), format!("app/y:200001: {message}")]);
    }

    #[test]
    fn a_compressed_layer_is_reported_and_not_taken_for_clean() {
        let scan = saved(&[vec![0x1f, 0x8b, 8, 0, 0, 0]]);
        assert_eq!((scan.unread, scan.files.len()), (1, 0));
    }

    #[test]
    fn users_have_their_names_from_the_image() {
        let scan =
            saved(&[tar(&[("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\ntodo:x:10001:10001::/app:/sbin/nologin\n")])]);
        assert_eq!(users(&scan.kept["etc/passwd"])[&10001], "todo");
    }

    #[test]
    fn an_opaque_folder_hides_what_was_below() {
        let scan = saved(&[
            tar(&[("a/b", 0o644, b"1"), ("c", 0o644, b"1")]),
            tar(&[("a/.wh..wh..opq", 0o644, b""), ("a/d", 0o644, b"1")]),
        ]);
        assert_eq!(scan.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/d", "c"]);
    }

    #[test]
    fn a_health_check_is_run_as_docker_runs_it() {
        let of = |test: Value| health_command(&json!({"Config": {"Healthcheck": {"Test": test}}}));
        assert_eq!(
            of(json!(["CMD", "/app/a", "healthcheck"])),
            Some(vec!["/app/a".to_string(), "healthcheck".to_string()])
        );
        assert_eq!(of(json!(["CMD-SHELL", "curl -f x"])).unwrap()[..2], ["sh", "-c"]);
        assert_eq!(of(json!(["NONE"])), None);
        assert_eq!(health_command(&json!({})), None);
    }

    #[test]
    fn an_end_that_names_what_is_lacking_is_good() {
        assert_eq!(
            judge_ending("1", "{\"error\":\"DATABASE_URL is not set\"}").unwrap(),
            Start::Needs("DATABASE_URL".to_string())
        );
        assert!(judge_ending("139", "Segmentation fault").unwrap_err().contains("139"));
        assert!(judge_ending("0", "DATABASE_URL").is_err());
    }

    /// A program of 64 bits whose only content is the section that `cargo auditable` adds.
    fn auditable(json: &str) -> Vec<u8> {
        let mut compressed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut compressed, json.as_bytes()).unwrap();
        let (data, names) = (compressed.finish().unwrap(), b"\0.dep-v0\0.shstrtab\0");
        let table = 64 + data.len() + names.len();
        let mut elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[3, 0, 62, 0, 1, 0, 0, 0]].concat();
        for word in [0, 0, table as u64] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        elf.extend([data.as_slice(), names].concat());
        let section = |name: u32, kind: u32, offset: usize, size: usize| {
            let rest = [0, 0, offset as u64, size as u64, 0, 1, 0];
            [name.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec(), rest.map(u64::to_le_bytes).concat()].concat()
        };
        elf.extend(section(0, 0, 0, 0));
        elf.extend(section(1, 1, 64, data.len()));
        elf.extend(section(9, 3, 64 + data.len(), names.len()));
        elf
    }

    #[test]
    fn a_program_says_its_crates_and_what_only_built_it_is_left_out() {
        let program = auditable(
            r#"{"packages":[{"name":"backend","version":"0.1.0","source":"local","dependencies":[1,2],"root":true},
            {"name":"cc","version":"1.2.0","source":"crates.io","kind":"build"},
            {"name":"tokio","version":"1.40.0","source":"crates.io"}]}"#,
        );
        let below = tar(&[("app/a", 0o755, &program), ("app/b", 0o755, &program), ("app/c", 0o755, b"#!/bin/sh")]);
        let scan = saved(&[below, tar(&[("app/.wh.b", 0o644, b"")])]);
        let package = |name: &str, version: &str, is_foreign| {
            let (name, version) = (name.to_string(), version.to_string());
            Package { name, version, is_foreign }
        };
        let expected = vec![package("backend", "0.1.0", false), package("tokio", "1.40.0", true)];
        assert_eq!(scan.crates, BTreeMap::from([("app/a".to_string(), expected)]));
    }
}
