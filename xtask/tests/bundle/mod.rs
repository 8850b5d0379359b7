//! `bundle`: what one machine saved, another one loads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Signal, kill_process};

use serde_json::Value;
use xtask::model::bundle::{Blob, read_manifest, write_index, write_manifest};

use super::common::{Project, Run, eventually};

const TOOL: &[u8] = include_bytes!("../common/standin.sh");
const HELM: &str = "tools/helm-3.17.0";

/// A project that has made nothing, and whose helm is not on PATH.
fn bare() -> Project {
    let project = Project::new();
    project.edit("xtask.toml", "helm = { ", "helm = { pinned = \"3.17.0\", ");
    fs::remove_file(project.path("bin/helm")).unwrap();
    project
}

/// What `bundle save` says is missing: the references of images, and the folder of the control plane.
fn missing(run: &Run) -> (Vec<String>, PathBuf) {
    run.assert_ended(3);
    run.assert_says(&[
        "this machine has not made all that a bundle holds",
        "Next: cargo xtask bootstrap --from mirrors",
    ]);
    let lines: Vec<&str> = run.stderr.lines().map(str::trim).collect();
    let images = lines.iter().filter_map(|line| line.strip_prefix("image ")).map(str::to_string).collect();
    let folder = lines.iter().find_map(|line| line.strip_prefix("the control plane, ")).unwrap();
    (images, PathBuf::from(folder))
}

/// A project that has made all of it.
fn made() -> Project {
    let project = bare();
    let (images, cluster) = missing(&project.run(&["bundle", "save", "a.bundle"]));
    assert_eq!(images.len(), 3, "{images:?}");
    let lines: Vec<String> =
        images.iter().map(|image| format!("{image} sha256:{}\n", image.replace(':', "-"))).collect();
    project.write("standin/host-images", &lines.concat());
    fs::create_dir_all(cluster.join("images/amd64")).unwrap();
    fs::write(cluster.join("images/amd64/etcd"), "an archive").unwrap();
    let helm = project.path("cache/todo").join(HELM);
    fs::create_dir_all(&helm).unwrap();
    fs::write(helm.join("helm"), TOOL).unwrap();
    fs::set_permissions(helm.join("helm"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(helm.join(".sizes"), format!("{} helm\n", TOOL.len())).unwrap();
    project
}

/// A project of which a bundle was saved, and that now stands for another machine with an empty home.
fn saved() -> Project {
    let project = made();
    project.run(&["bundle", "save", "a.bundle"]).assert_ended(0);
    fs::rename(project.path("cache"), project.path("saved")).unwrap();
    fs::remove_dir_all(project.path("state")).unwrap();
    project.write("standin/host-images", "");
    project
}

/// The names of all that is in the cache but answers of programs.
fn cached(project: &Project) -> Vec<String> {
    let root = project.path("cache/todo");
    let files = if root.exists() { project.files("cache/todo") } else { Vec::new() };
    let names = files.iter().map(|file| file.strip_prefix(&root).unwrap().display().to_string());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("answers/")).collect();
    names.sort();
    names
}

#[test]
fn what_was_saved_is_loaded_and_nothing_is_left_to_make() {
    let project = saved();
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), ["docker load --quiet --input CACHE/bundle.partial/images.tar"]);
    let names = cached(&project);
    assert!(names.contains(&format!("{HELM}/helm")) && names.contains(&format!("{HELM}/.sizes")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("/images/amd64/etcd")), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");
    let doctor = project.run(&["doctor"]);
    doctor.assert_ended(3);
    doctor.assert_says(&["missing: cluster"]);
    for text in ["✓ helm", HELM, "✓ base images"] {
        assert!(doctor.stdout.contains(text), "{}", doctor.stdout);
    }
    let bootstrap = project.run(&["bootstrap"]);
    bootstrap.assert_ended(0);
    assert_eq!(bootstrap.changes(), [""; 0]);
    // Again: what is whole stays.
    let helm = project.path("cache/todo").join(HELM).join("helm");
    let inode = |file: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap());
    let first = inode(&helm);
    let again = project.run(&["bundle", "load", "a.bundle"]);
    again.assert_ended(0);
    assert!(again.stdout.contains("Loaded 0 folders and 3 images; 2 folders were there"), "{}", again.stdout);
    assert_eq!(inode(&helm), first);
    // One that was cut comes anew.
    fs::write(&helm, "cut").unwrap();
    project.run(&["bundle", "load", "a.bundle"]).assert_ended(0);
    assert_eq!(fs::read(&helm).unwrap(), TOOL);
}

#[test]
fn a_bundle_has_no_state_no_secret_and_no_image_of_a_service() {
    let project = made();
    project.write("state/todo/kubeconfig", "a key\n");
    let own = project.read("standin/host-images");
    project.write("standin/host-images", &format!("{own}backend:0.1.0-h1 sha256:host-1\n"));
    let run = project.run(&["bundle", "save", "a.bundle"]);
    run.assert_ended(0);
    let mut images: Vec<&str> = own.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    images.sort();
    let saves: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("todo.local/")).collect();
    assert_eq!(saves, images);
    assert_eq!(run.calls_of(&["docker save"]).len(), 1);
    assert!(!run.calls_of(&["docker save"])[0].contains("backend"), "{:?}", run.calls);
    let folders: Vec<&str> = run.stdout.lines().filter(|line| line.contains('/') && !line.contains(':')).collect();
    assert_eq!(folders.len(), 2, "{}", run.stdout);
    assert!(folders[0].starts_with("cluster/") && folders[1] == HELM, "{folders:?}");
}

#[test]
fn a_tool_that_is_on_path_is_said_to_be_left_out() {
    let project = made();
    let run = project.run(&["bundle", "save", "a.bundle"]);
    run.assert_ended(0);
    run.assert_says(&["minikube is on PATH here, and not in the bundle", "kubectl is on PATH here"]);
    assert!(!run.stderr.contains("helm is on PATH"), "{}", run.stderr);
}

#[test]
fn a_damaged_bundle_installs_nothing() {
    let project = saved();
    let whole = fs::read(project.path("a.bundle")).unwrap();
    let mut flipped = whole.clone();
    let begin = (0..whole.len()).rev().find(|place| whole[*place..].starts_with(&[0x1f, 0x8b])).unwrap();
    flipped[begin + 20] ^= 1;
    for (bytes, reason) in [
        (flipped.as_slice(), "is damaged: its SHA-256 is "),
        (&whole[..begin + 20], "it is cut off: "),
        (b"a text", "it is not a bundle"),
    ] {
        fs::write(project.path("a.bundle"), bytes).unwrap();
        let run = project.run(&["bundle", "load", "a.bundle"]);
        run.assert_ended(1);
        run.assert_says(&["a.bundle cannot be loaded, and nothing was installed", reason, "\nNext: copy it again"]);
        assert_eq!((run.changes(), cached(&project)), (vec![], vec![]), "{reason}");
    }
    let none = project.run(&["bundle", "load", "none.bundle"]);
    none.assert_ended(2);
    none.assert_says(&["none.bundle: there is no such file"]);
}

/// The saved bundle with one more entry in its last part, which is helm's folder.
fn with_entry(project: &Project, name: &str) -> Vec<u8> {
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let file = fs::File::open(project.path("a.bundle")).unwrap();
    for entry in tar::Archive::new(file).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        std::io::copy(&mut entry, blobs.entry(path).or_default()).unwrap();
    }
    let blob = |bytes: &[u8]| {
        let sha256 = hmac_sha256::Hash::hash(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Blob { sha256, size: bytes.len() as u64 }
    };
    let manifest = blobs.values().find_map(|bytes| read_manifest(bytes).ok());
    let mut bundle = manifest.unwrap();
    let mut folder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in ["helm", name] {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        folder.append(&header, std::io::empty()).unwrap();
    }
    let folder = folder.into_inner().unwrap().finish().unwrap();
    bundle.parts.last_mut().unwrap().blob = blob(&folder);
    let manifest = write_manifest(&bundle, &blob(b"{}")).into_bytes();
    let index: Value = serde_json::from_slice(&blobs["index.json"]).unwrap();
    let platform = serde_json::from_value(index["manifests"][0]["platform"].clone()).unwrap();
    blobs.insert("index.json".to_string(), write_index(&blob(&manifest), &platform).into_bytes());
    blobs.insert(blob(&manifest).path(), manifest);
    blobs.insert(blob(&folder).path(), folder);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in &blobs {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn a_part_that_would_lie_outside_of_its_folder_keeps_the_others_from_being_installed() {
    let project = saved();
    let (good, bad) = (with_entry(&project, "LICENSE"), with_entry(&project, "../../evil"));
    fs::write(project.path("a.bundle"), bad).unwrap();
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(1);
    run.assert_says(&["nothing was installed", "tools/helm-3.17.0: its entry ../../evil lies outside of its folder"]);
    assert_eq!((run.changes(), cached(&project)), (vec![], vec![]));
    fs::write(project.path("a.bundle"), good).unwrap();
    project.run(&["bundle", "load", "a.bundle"]).assert_ended(0);
    assert!(cached(&project).contains(&format!("{HELM}/LICENSE")));
}

#[test]
fn a_bundle_of_other_recipes_is_refused_with_the_parts_that_differ() {
    let project = saved();
    project.write("k8s/node/entrypoint", "changed\n");
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(1);
    run.assert_says(&[
        "a.bundle was saved by another version, and nothing was installed",
        "  todo.local/node:",
        ": this checkout has todo.local/node:",
        "  cluster/",
        "Next: check out that version",
    ]);
    assert!(!run.stderr.contains("todo.local/rust:"), "{}", run.stderr);
    assert_eq!((run.changes(), cached(&project)), (vec![], vec![]));
}

#[test]
fn without_docker_nothing_is_read() {
    let project = saved();
    fs::write(project.path("a.bundle"), "a text").unwrap();
    project.answer("docker info ", "exit 1");
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(3);
    run.assert_says(&[
        "the bundle's images need docker",
        "no daemon answers it",
        "Next: start docker, or run the same command with --yes",
    ]);
    assert_eq!(cached(&project), [""; 0]);
    let project = project.env("DOCKER_HOST", "tcp://elsewhere");
    let run = project.run(&["bundle", "load", "a.bundle", "--yes"]);
    run.assert_ended(3);
    run.assert_says(&["DOCKER_HOST is tcp://elsewhere", "Next: start that daemon, or unset DOCKER_HOST"]);
}

#[test]
#[cfg(target_os = "linux")]
fn with_consent_docker_is_installed_once_the_folders_are_there() {
    let project = saved();
    fs::remove_file(project.path("bin/docker")).unwrap();
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(3);
    run.assert_says(&["docker: not on PATH", "Next: start docker, or run the same command with --yes"]);
    for prefix in ["", "sudo --non-interactive "] {
        project.answer(&format!("{prefix}dpkg --configure"), "");
        project.answer(&format!("{prefix}apt-get update"), "");
        project
            .answer(&format!("{prefix}apt-get install"), "ls ../cache/todo/tools >seen; ln -s kubectl ../bin/docker");
    }
    let run = project.run(&["bundle", "load", "a.bundle", "--yes"]);
    run.assert_ended(0);
    assert_eq!(project.read("standin/seen").trim(), "helm-3.17.0");
    assert_eq!(run.calls_of(&["docker load"]).len(), 1);
}

#[test]
fn images_that_docker_did_not_take_are_reported() {
    let project = saved();
    project.answer("docker load ", "echo loaded");
    let run = project.run(&["bundle", "load", "a.bundle"]);
    run.assert_ended(1);
    run.assert_says(&[
        "docker has none as todo.local/debian:",
        "after the load",
        "Next: docker image rm todo.local/debian:",
    ]);
}

#[test]
fn an_interrupted_save_keeps_the_file_of_before_and_leaves_nothing() {
    let project = made();
    project.write("a.bundle", "before");
    project.answer("docker save ", ": >begun; sleep 120");
    let run = project.run_while(&["bundle", "save", "a.bundle"], |pid| {
        assert!(eventually(|| project.path("standin/begun").exists()));
        kill_process(pid, Signal::INT).unwrap();
    });
    run.assert_ended(130);
    assert_eq!(project.read("a.bundle"), "before");
    assert!(!project.path("a.bundle.part").exists() && !project.path("cache/todo/bundle.partial").exists());
}

#[test]
fn an_interruption_while_parts_are_packed_is_reported_as_one() {
    let project = made();
    // It is asked for the commit right before.
    project.write("bin/git", "#!/bin/sh\nkill -INT $PPID\n");
    fs::set_permissions(project.path("bin/git"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = project.run(&["bundle", "save", "a.bundle"]);
    run.assert_ended(130);
    run.assert_says(&["interrupted; run the same command again"]);
    assert!(!project.path("a.bundle").exists() && !project.path("a.bundle.part").exists());
    assert!(!project.path("cache/todo/bundle.partial").exists());
}

#[test]
fn up_loads_a_bundle_before_it_looks_for_anything() {
    let project = saved();
    let run = project.run(&["up", "--bundle", "a.bundle"]);
    run.assert_ended(0);
    let changes = run.changes();
    assert!(changes[0].starts_with("docker load "), "{changes:?}");
    assert!(changes.iter().any(|call| call.starts_with("helm upgrade todo ")), "{changes:?}");
    assert_eq!(run.calls_of(&["go build"]), [""; 0]);
}
