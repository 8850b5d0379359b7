//! What is made from package mirrors: Go programs, the Debian base, the node, the Rust builder, the control plane.
//! Everything takes its name only when it is whole.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::run::call::{argv, call};
use crate::run::context::{Project, proxies};
use crate::run::files::fresh_folder;
use crate::run::graph;
use crate::run::graph::Task;
use crate::stages::setup::find::All;
use crate::stages::setup::modules;
use crate::stages::setup::recipes::{CONTROL_PLANE, DOCKERFILES, NETWORK, Plan};
use crate::tools::docker::Build;
use crate::tools::{apt, docker};

/// Makes what is missing: tools alone where registries answer (`public`), else everything.
pub fn make(project: &Project, plan: &Plan, found: &All, public: bool) -> Result<()> {
    let project = &found.project(project);
    let absent = |image: &String| !found.images.contains_key(image);
    let missing = found.missing();
    let module = |name| plan.tools.get(name).map_or(name, |tool| tool.module.as_str());
    let wanted: Vec<&str> = match public {
        true => missing.into_iter().map(module).collect(),
        false if !plan.has_cluster => missing.into_iter().map(module).collect(),
        false => ["kubernetes", "minikube", "runc-shim", "pause", "helm", "coredns", "storage", "etcd"]
            .into_iter()
            .filter(|name| !plan.tools.contains_key(name) || missing.contains(name))
            .filter(|name| *name != "runc-shim" || plan.shim)
            .map(module)
            .chain(plan.addons.iter().filter(|(_, image)| absent(image)).map(|(name, _)| name.as_str()))
            .chain(plan.runtime.modules.iter().copied())
            .chain(plan.network.iter().filter(|image| absent(image)).map(|_| NETWORK))
            .collect(),
    };
    let mut tasks = modules::tasks(project, plan, &wanted)?;
    let built: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    if !public {
        let needs = |names: &[&str]| names.iter().map(|name| modules::task_of(project, name)).collect::<Vec<_>>();
        type Make = fn(&Project, &Plan) -> Result<()>;
        let of_node = [&["debian", "runc-shim"], &plan.runtime.modules[..]].concat();
        let images: [(&str, &String, &[&str], Make); 3] = [
            ("rust", &plan.rust, &["debian"], make_rust),
            ("node", &plan.node, &of_node, make_node),
            ("debian", &plan.debian, &[], make_debian),
        ];
        for (name, reference, needed, make) in images {
            if absent(reference) && (plan.has_cluster || name != "node") {
                // Images first: they wait for packages to arrive while compilers use the cores.
                let run = Box::new(move || make(project, plan));
                tasks.insert(0, Task { name: name.to_string(), needs: needs(needed), run });
            }
        }
        for (name, reference) in plan.addons.iter().filter(|(_, image)| plan.has_cluster && absent(image)) {
            let run = Box::new(move || make_addon(project, plan, name, reference));
            tasks.push(Task { name: format!("addon {name}"), needs: needs(&[name]), run });
        }
        if plan.has_cluster && plan.network.as_ref().is_some_and(absent) {
            let run = Box::new(move || make_network(project, plan));
            tasks.push(Task { name: "network".to_string(), needs: needs(&[NETWORK, "node"]), run });
        }
        if plan.has_cluster && !plan.is_linked() {
            let mut needs = built;
            needs.push("node".to_string());
            let daemon_arch = project.run(docker::architecture())?;
            let run = Box::new(move || make_cluster_cache(project, plan, &daemon_arch));
            tasks.push(Task { name: "control plane".to_string(), needs, run });
        }
    }
    if !tasks.is_empty() {
        modules::need_go("install Go, or put the missing tools on PATH; cargo xtask doctor lists them")?;
    }
    graph::run(tasks, modules::LANES)
}

fn make_debian(project: &Project, plan: &Plan) -> Result<()> {
    let step = project.ui.step("make the Debian base image");
    let folder = fresh_folder(&project.folders.cache.join("debian"))?;
    let archive = folder.join("base.tar").display().to_string();
    let show = |line: &str| step.update(line);
    project.spawn.run_showing(
        apt::debootstrap(&project.config.mirrors.suite, &archive).within(project.config.deadlines.build),
        &show,
    )?;
    let label = format!("{}=debian", docker::label(&project.config.home));
    project.run(docker::import(&archive, &plan.debian, &label))?;
    fs::remove_dir_all(&folder)?;
    step.done(&plan.debian);
    Ok(())
}

fn make_node(project: &Project, plan: &Plan) -> Result<()> {
    let step = project.ui.step("make the node image");
    let context = fresh_folder(&project.folders.cache.join("node"))?;
    for file in &plan.runtime.files {
        fs::copy(project.recipes().join(DOCKERFILES).join(file), context.join(file))?;
    }
    for name in &plan.runtime.modules {
        fs::copy(plan.modules[*name].join(name), context.join(name))?;
    }
    fs::create_dir(context.join("shim"))?;
    if plan.shim {
        fs::copy(plan.modules["runc-shim"].join("runc-shim"), context.join("shim/runc"))?;
    }
    let from = ("BASE_IMAGE", plan.debian.as_str());
    let (dockerfile, target) = ("node.Dockerfile", Some(plan.runtime.target.as_str()));
    let image = Image { dockerfile, context: &context, target, tag: &plan.node, from: Some(from) };
    build(project, &image, &|line| step.update(line))?;
    fs::remove_dir_all(&context)?;
    step.done(&plan.node);
    Ok(())
}

fn make_rust(project: &Project, plan: &Plan) -> Result<()> {
    let step = project.ui.step("make the Rust builder image");
    let sysroot = project.run(call(argv!("rustc --print sysroot")))?;
    let (context, from) = (Path::new(sysroot.trim()), ("BASE_IMAGE", plan.debian.as_str()));
    let image = Image { dockerfile: "builder.Dockerfile", context, target: None, tag: &plan.rust, from: Some(from) };
    build(project, &image, &|line| step.update(line))?;
    step.done(&plan.rust);
    Ok(())
}

fn make_addon(project: &Project, plan: &Plan, name: &str, reference: &str) -> Result<()> {
    let step = project.ui.step(format!("make the image of {name}"));
    let (dockerfile, context) = ("addons.Dockerfile", plan.modules[name].as_path());
    let image = Image { dockerfile, context, target: Some(name), tag: reference, from: None };
    build(project, &image, &|line| step.update(line))?;
    step.done(reference);
    Ok(())
}

fn make_network(project: &Project, plan: &Plan) -> Result<()> {
    let Some(reference) = &plan.network else { return Ok(()) };
    let step = project.ui.step("make the network of the nodes");
    let (dockerfile, context) = ("control-plane.Dockerfile", plan.modules[NETWORK].as_path());
    let from = Some(("NODE_IMAGE", plan.node.as_str()));
    let image = Image { dockerfile, context, target: Some(NETWORK), tag: reference, from };
    build(project, &image, &|line| step.update(line))?;
    step.done(reference);
    Ok(())
}

/// Fills a folder as minikube's cache: kubelet, kubeadm and kubectl, and an archive for each control-plane image under
/// the name that kubeadm asks for.
fn make_cluster_cache(project: &Project, plan: &Plan, arch: &str) -> Result<()> {
    let step = project.ui.step("make the control plane");
    if !plan.cluster_cache.exists() {
        let partial = fresh_folder(&plan.cluster_cache)?;
        let binaries = partial.join("linux").join(arch).join(format!("v{}", project.config.cluster.kubernetes));
        fs::create_dir_all(&binaries)?;
        for name in ["kubelet", "kubeadm", "kubectl"] {
            link_or_copy(&plan.modules["kubernetes"].join(name), &binaries.join(name))?;
        }
        let context = fresh_folder(&project.folders.cache.join("control-plane"))?;
        for name in CONTROL_PLANE {
            for entry in fs::read_dir(&plan.modules[name])? {
                let entry = entry?;
                link_or_copy(&entry.path(), &context.join(entry.file_name()))?;
            }
        }
        for (public, target) in &project.config.mirrors.images {
            step.update(public);
            let own = format!("{}.local/{target}:cluster", project.config.home);
            let (dockerfile, from) = ("control-plane.Dockerfile", ("NODE_IMAGE", plan.node.as_str()));
            let image = Image { dockerfile, context: &context, target: Some(target), tag: &own, from: Some(from) };
            build(project, &image, &|_| {})?;
            let saved = context.join("image.tar");
            project.run(docker::save_to(&own, &saved.display().to_string()))?;
            let archive = partial.join("images").join(arch).join(archive_name(public));
            fs::create_dir_all(archive.parent().context("an archive has a folder")?)?;
            rename_image(&saved, &archive, public)?;
        }
        fs::remove_dir_all(&context)?;
        fs::rename(&partial, &plan.cluster_cache)?;
    }
    link_cluster_cache(project, plan)?;
    step.done(&format!("Kubernetes v{}", project.config.cluster.kubernetes));
    Ok(())
}

/// Makes minikube's own cache a link to the one that was made.
pub(super) fn link_cluster_cache(project: &Project, plan: &Plan) -> Result<()> {
    fs::create_dir_all(project.folders.minikube_home())?;
    if plan.minikube_cache.is_dir() && !plan.minikube_cache.is_symlink() {
        fs::remove_dir_all(&plan.minikube_cache)?;
    }
    let fresh = plan.minikube_cache.with_extension("new");
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(&plan.cluster_cache, &fresh)?;
    fs::rename(&fresh, &plan.minikube_cache)?;
    Ok(())
}

/// An image made from a Dockerfile of k8s/node.
struct Image<'a> {
    dockerfile: &'a str,
    context: &'a Path,
    target: Option<&'a str>,
    tag: &'a str,
    /// The build argument that names what it starts from, with its value; None starts from nothing.
    from: Option<(&'a str, &'a str)>,
}

impl Image<'_> {
    /// Which part of the node or of the cluster it is: the last word of its name.
    fn part(&self) -> &str {
        let name = self.tag.rsplit_once('/').map_or(self.tag, |(_, name)| name);
        name.split_once(':').map_or(name, |(part, _)| part)
    }
}

fn build(project: &Project, image: &Image, show: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let mut args: Vec<_> = image.from.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect();
    args.extend(proxies());
    let call = docker::build(&Build {
        dockerfile: &project.recipes().join(DOCKERFILES).join(image.dockerfile).display().to_string(),
        context: &image.context.display().to_string(),
        target: image.target,
        tags: &[image.tag.to_string()],
        args,
        labels: vec![(docker::label(&project.config.home), image.part().to_string())],
        ca: None,
    });
    project.spawn.run_showing(call.within(project.config.deadlines.build), show)?;
    Ok(())
}

fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// The file name under which minikube looks for an image: the tag's colon becomes an underscore.
pub fn archive_name(reference: &str) -> String {
    match reference.rsplit_once(':') {
        Some((name, tag)) => format!("{name}_{tag}"),
        None => reference.to_string(),
    }
}

/// Copies a docker archive and gives its only image another name. The name exists in the archive alone: the host's
/// docker never has an image of ours under a public one.
fn rename_image(from: &Path, to: &Path, reference: &str) -> Result<()> {
    let mut archive = tar::Archive::new(fs::File::open(from)?);
    let mut renamed = tar::Builder::new(fs::File::create(to)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut header = entry.header().clone();
        match path.to_str() {
            // With an OCI layout in it, containerd would take the name from there.
            Some("repositories" | "index.json" | "oci-layout") => {}
            Some("manifest.json") => {
                let mut manifest: serde_json::Value = serde_json::from_reader(&mut entry)?;
                manifest[0]["RepoTags"] = serde_json::json!([reference]);
                let text = serde_json::to_vec(&manifest)?;
                header.set_size(text.len() as u64);
                renamed.append_data(&mut header, path, text.as_slice())?;
            }
            _ => renamed.append_data(&mut header, path, &mut entry)?,
        }
    }
    renamed.into_inner()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn archives_are_named_as_minikube_asks_for_them() {
        assert_eq!(archive_name("registry.k8s.io/etcd:3.5.21-0"), "registry.k8s.io/etcd_3.5.21-0");
    }

    #[test]
    fn an_archive_gets_another_name_and_keeps_its_layers() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.tar"), folder.path().join("b.tar"));
        let mut builder = tar::Builder::new(fs::File::create(&from).unwrap());
        for (name, text) in [
            ("layer", "bytes"),
            ("manifest.json", r#"[{"Config":"c","RepoTags":["own:1"]}]"#),
            ("repositories", "{}"),
            ("index.json", "{}"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        rename_image(&from, &to, "public:2").unwrap();
        let mut read = BTreeMap::new();
        for entry in tar::Archive::new(fs::File::open(&to).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            read.insert(entry.path().unwrap().display().to_string(), text);
        }
        assert_eq!(read["layer"], "bytes");
        assert_eq!(read["manifest.json"], r#"[{"Config":"c","RepoTags":["public:2"]}]"#);
        assert!(!read.contains_key("repositories") && !read.contains_key("index.json"));
    }
}
