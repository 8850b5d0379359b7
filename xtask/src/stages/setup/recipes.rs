//! The names of all that can be made from package mirrors, each a digest of its recipe. Nothing is made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::model::image::Images;
use crate::run::context::Project;
use crate::run::digest::Content;
use crate::stages::setup::sizes;
use crate::tools::apt;

/// What is downloaded: docker comes from Debian's packages, or is the user's.
pub const TOOLS: [&str; 3] = ["minikube", "helm", "kubectl"];

/// Where the recipes lie, relative to the root that has them.
pub const DOCKERFILES: &str = "k8s/node";

/// The modules whose programs are in the control plane.
pub const CONTROL_PLANE: [&str; 5] = ["kubernetes", "coredns", "etcd", "storage", "pause"];

/// The network of a cluster of several nodes: a module and a target of control-plane.Dockerfile of that name.
pub const NETWORK: &str = "flannel";

/// The names of all that can be made, each a digest of its recipe.
pub struct Plan {
    /// By the tool's name.
    pub tools: BTreeMap<&'static str, Tool>,
    pub modules: BTreeMap<String, PathBuf>,
    pub debian: String,
    pub node: String,
    pub rust: String,
    /// The images of the configured addons that can be built, by the addon's name.
    pub addons: BTreeMap<String, String>,
    /// The image of the network where there is more than one node.
    pub network: Option<String>,
    pub runtime: Runtime,
    pub cluster_cache: PathBuf,
    pub minikube_cache: PathBuf,
    pub shim: bool,
    /// A cluster of our own is wanted; a target needs neither minikube nor a node.
    pub has_cluster: bool,
}

/// What a node is made of beside Debian's packages: a target of node.Dockerfile that is named as the container runtime is.
pub struct Runtime {
    pub target: String,
    /// Files beside node.Dockerfile.
    pub files: Vec<&'static str>,
    /// Modules, each of the one program that is named as it is.
    pub modules: Vec<&'static str>,
}

impl Runtime {
    fn of(name: &str) -> Runtime {
        let (mut files, mut modules) = (vec!["containerd.toml", "entrypoint"], vec!["crictl"]);
        if name == "docker" {
            files.extend(["cri-docker.service", "cri-docker.socket"]);
            modules.push("cri-dockerd");
        }
        Runtime { target: name.to_string(), files, modules }
    }
}

/// Where a tool comes from that is not on PATH.
pub struct Tool {
    /// The folder of its release, once it is downloaded; it holds the program alone.
    pub release: PathBuf,
    /// The module that it is built from.
    pub module: String,
}

impl Plan {
    /// Reads the recipes; nothing is asked of docker.
    pub fn new(project: &Project) -> Result<Plan> {
        let (root, interrupt) = (&project.recipes(), &project.spawn.interrupt);
        let shim = needs_shim() && project.config.mirrors.modules.contains_key("runc-shim");
        let keys = module_keys(project)?;
        let modules = keys
            .iter()
            .map(|(name, key)| (name.clone(), project.folders.cache.join("go").join(format!("{name}-{key}"))))
            .collect();
        let key = |name: &str| keys.get(name).map(String::as_str).unwrap_or_default();
        let recipe = |file: &str| Content::default().files(root, &[Path::new(DOCKERFILES).join(file)], interrupt);
        let local = |name: &str, key: String| format!("{}.local/{name}:{key}", project.config.home);
        let debian =
            Content::default().word(&apt::debootstrap(&project.config.mirrors.suite, "").argv.join(" ")).short();
        let runtime = Runtime::of(&project.config.cluster.runtime);
        let files: Vec<PathBuf> = runtime.files.iter().map(|file| Path::new(DOCKERFILES).join(file)).collect();
        let node = recipe("node.Dockerfile")?.files(root, &files, interrupt)?.word(&debian);
        let node = runtime.modules.iter().fold(node, |content, name| content.word(key(name)));
        let node = node.word(if shim { key("runc-shim") } else { "" }).short();
        let rust = recipe("builder.Dockerfile")?.word(&debian).word(env!("RUSTC_VERSION")).short();
        let mut addons = BTreeMap::new();
        let asked = &project.config.cluster.addons;
        for name in project.config.mirrors.addons.keys().filter(|name| asked.contains(name)) {
            addons.insert(name.clone(), local(name, recipe("addons.Dockerfile")?.word(key(name)).short()));
        }
        let network = recipe("control-plane.Dockerfile")?.word(&node).word(key(NETWORK)).short();
        let network = (project.config.cluster.nodes > 1).then(|| local(NETWORK, network));
        let mut cluster = recipe("control-plane.Dockerfile")?.word(&node).word(&project.config.cluster.kubernetes);
        for word in project.config.mirrors.images.iter().flat_map(|(public, target)| [public, target]) {
            cluster = cluster.word(word);
        }
        let cluster = CONTROL_PLANE.iter().fold(cluster, |content, name| content.word(key(name)));
        let pinned =
            |name: &str| project.config.tools.get(name).and_then(|tool| tool.pinned.clone()).unwrap_or_default();
        let module = |name: &str| match name {
            "kubectl" => "kubernetes".to_string(),
            name => project.config.module_of(name, &pinned(name)),
        };
        let release = |name: &str| project.folders.cache.join("tools").join(format!("{name}-{}", pinned(name)));
        let tools = TOOLS.map(|name| (name, Tool { release: release(name), module: module(name) })).into();
        Ok(Plan {
            tools,
            modules,
            debian: local("debian", debian),
            node: local("node", node),
            rust: local("rust", rust),
            addons,
            network,
            runtime,
            cluster_cache: project.folders.cache.join("cluster").join(cluster.short()),
            minikube_cache: project.folders.minikube_home().join("cache"),
            shim,
            has_cluster: project.config.target.is_none(),
        })
    }

    /// A tool that was downloaded or built at its pinned version, if it was.
    pub fn made(&self, tool: &str) -> Option<String> {
        let about = self.tools.get(tool)?;
        let downloaded = about.release.join(tool);
        match is_usable(&downloaded) {
            true => Some(downloaded.display().to_string()),
            false => self.built(&about.module, tool),
        }
    }

    /// A binary that was built from a module, if it was.
    pub fn built(&self, module: &str, binary: &str) -> Option<String> {
        self.modules
            .get(module)
            .map(|folder| folder.join(binary))
            .filter(|path| is_usable(path))
            .map(|path| path.display().to_string())
    }

    /// Why what was made of a tool can't be used, if it is there and damaged.
    pub fn damage(&self, tool: &str) -> Option<String> {
        let about = self.tools.get(tool)?;
        let built = self.modules.get(&about.module).map(|folder| folder.join(tool));
        let files = std::iter::once(about.release.join(tool)).chain(built);
        files.into_iter().find_map(|file| Some(format!("{} {}", file.display(), sizes::damage(&file)?)))
    }

    pub fn images(&self) -> Images {
        Images::Local { node: self.node.clone(), debian: self.debian.clone(), rust: self.rust.clone() }
    }

    /// Where the shim for docker's runc is, or will be.
    pub fn shim_path(&self) -> Option<String> {
        self.modules.get("runc-shim").map(|folder| folder.join("runc-cgroupns").display().to_string())
    }

    /// Whether any version of our images is among `local`, which settles that registries are not used.
    pub fn has_images(&self, local: &BTreeMap<String, String>) -> bool {
        let repository = |image: &str| image.rsplit_once(':').map_or(image.to_string(), |(name, _)| format!("{name}:"));
        let ours = [&self.debian, &self.node, &self.rust].map(|image| repository(image));
        local.keys().any(|image| ours.iter().any(|name| image.starts_with(name)))
    }

    pub fn is_complete(&self, local: &BTreeMap<String, String>) -> bool {
        let bases = [&self.debian, &self.rust].into_iter().all(|image| local.contains_key(image));
        let parts = || std::iter::once(&self.node).chain(self.addons.values()).chain(&self.network);
        let cluster = || parts().all(|image| local.contains_key(image));
        bases && (!self.has_cluster || cluster() && self.is_linked())
    }

    /// Whether minikube's cache is what this plan makes.
    pub fn is_linked(&self) -> bool {
        self.cluster_cache.exists()
            && fs::read_link(&self.minikube_cache).is_ok_and(|target| target == self.cluster_cache)
    }
}

/// A digest of all that a module is built from, by its name.
fn module_keys(project: &Project) -> Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    for (name, module) in &project.config.mirrors.modules {
        let folder = std::slice::from_ref(&module.folder);
        let mut content = Content::default().files(&project.recipes(), folder, &project.spawn.interrupt)?;
        let variables = variables(project, &module.folder);
        let named = [&variables, &module.rename].into_iter().flatten().flat_map(|(name, value)| [name, value]);
        for word in module.packages.iter().chain(named) {
            content = content.word(word);
        }
        keys.insert(name.clone(), content.short());
    }
    Ok(keys)
}

/// What the linker sets in all programs of a folder: each has only its own of it.
pub(super) fn variables(project: &Project, folder: &Path) -> BTreeMap<String, String> {
    let modules = project.config.mirrors.modules.values().filter(|module| module.folder == folder);
    modules.flat_map(|module| module.variables.clone()).collect()
}

fn is_usable(file: &Path) -> bool {
    file.exists() && sizes::damage(file).is_none()
}

/// Whether containers need a shim before runc: the bounding set lacks CAP_SYS_RESOURCE (bit 24), or cgroups are v1.
fn needs_shim() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    cfg!(target_os = "linux")
        && (lacks_sys_resource(&status) || !Path::new("/sys/fs/cgroup/cgroup.controllers").exists())
}

fn lacks_sys_resource(status: &str) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set & (1 << 24) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_capability_is_seen() {
        assert!(lacks_sys_resource("Name:\tx\nCapBnd:\t000001fffeffffff\n"));
        assert!(!lacks_sys_resource("CapBnd:\t000001ffffffffff\n"));
        assert!(!lacks_sys_resource("nothing of that kind"));
    }
}
