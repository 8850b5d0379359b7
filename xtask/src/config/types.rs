//! The configuration, typed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::spec::Spec;
use crate::config::tree::{Node, Place, Value};

#[derive(Clone, Debug)]
pub struct Config {
    pub project: String,
    /// The application's name as people read it; the project's name unless xtask.toml says otherwise.
    pub title: String,
    /// Names the folders of cache and state, the images that the cluster is made of, and the cluster. Projects with the
    /// same home share tools and cluster.
    pub home: String,
    pub version: String,
    pub profile: String,
    /// Where the application is, unless a release or a Secret says otherwise.
    pub namespace: String,
    /// The service whose URL is printed.
    pub open: String,
    /// A YAML file of a person's own, outside git, relative to the root: helm values whose `secret.values` become the
    /// Secret's.
    pub overrides: PathBuf,
    pub tools: Tools,
    pub cluster: Cluster,
    /// By the release's name.
    pub releases: BTreeMap<String, Release>,
    /// By the Secret's name.
    pub secrets: BTreeMap<String, Secret>,
    /// All images that can be built; a profile runs those that its releases name.
    pub services: BTreeMap<String, Service>,
    pub database: Database,
    pub smoke: Vec<Check>,
    pub deadlines: Deadlines,
    pub waivers: Vec<Waiver>,
    /// What the published data model of this profile demands; a profile of our own has none.
    pub spec: Option<Spec>,
    pub mirrors: Mirrors,
    pub scan: Scan,
    /// Clusters that others made, by the name that --target takes.
    pub targets: BTreeMap<String, Remote>,
    /// The target that the command line chose; None is the minikube of our own.
    pub target: Option<String>,
    pub previews: Previews,
    /// The branch that has a namespace of its own, as the command line asked for; None is the profile's namespace.
    pub preview: Option<String>,
    /// All of the above as it was read, each value with its place.
    pub tree: Node,
}

#[derive(Clone, Debug)]
pub struct Tools {
    pub docker: Tool,
    pub minikube: Tool,
    pub helm: Tool,
    pub kubectl: Tool,
}

/// What `db` has to know of the application's database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// Tables whose rows are of no use elsewhere: a dump has none of them.
    pub transient_tables: Vec<String>,
    /// A file of SQL, relative to the root.
    pub seed: Option<PathBuf>,
}

/// Databases of known vulnerabilities that `validate` asks, relative to the root; `~/` is the home folder.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// A checkout of RustSec's advisory database; None is the one that `cargo audit` keeps, where there is one.
    pub advisories: Option<String>,
    /// The Debian security tracker's data as a JSON file; None: Debian packages are not looked at.
    pub debian: Option<String>,
}

/// Versions as in `1.33` or `1.36.0`, without a leading v.
#[derive(Clone, Debug)]
pub struct Tool {
    pub minimum: String,
    pub pinned: Option<String>,
    /// Where its releases are; None for what is not downloaded.
    pub download: Option<Download>,
}

/// Where a release is, as templates: {version} is the pinned one, {os} and {arch} are the machine's in Go's names.
#[derive(Clone, Debug)]
pub struct Download {
    pub url: String,
    /// The file in which the release publishes the SHA-256 of the file at `url`.
    pub checksum: String,
    /// The program's path in the tar.gz at `url`; None if the file is the program itself.
    pub member: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: String,
    pub driver: String,
    pub runtime: String,
    pub kubernetes: String,
    /// How many nodes it has; each has its own CPUs and memory.
    pub nodes: u32,
    pub cpus: u32,
    pub memory_mb: u64,
    pub disk_free_mb: u64,
    pub node_ports: NodePorts,
    /// Addons of minikube's that must serve, under minikube's names for them.
    pub addons: Vec<String>,
}

/// A cluster that others made, and how this project gets there.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The file that leads to it; `~/` is the home folder.
    pub kubeconfig: String,
    pub context: String,
    pub delivery: Delivery,
    /// The namespace that the profile moves to, as a template; None leaves it.
    pub namespace: Option<String>,
    pub reach: Reach,
    /// Others make the Secrets there, and they are never written.
    pub has_secrets: bool,
    /// Where an External Secrets operator finds their values, for the objects of a package.
    pub external_secrets: Option<ExternalSecrets>,
    /// What changes it asks for the target's name.
    pub protected: bool,
}

/// The store of an External Secrets operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSecrets {
    pub store: String,
    /// `ClusterSecretStore` or `SecretStore`.
    pub kind: String,
    /// The path of a Secret's values in the store, as a template of `{namespace}` and `{secret}`.
    pub path: String,
}

/// What a namespace for a branch is given.
#[derive(Clone, Debug)]
pub struct Previews {
    /// How long after its last `up` it may be removed.
    pub ttl: Duration,
    /// What its pods may take in all, as a ResourceQuota's `hard`; empty is no limit.
    pub quota: BTreeMap<String, String>,
}

/// How images get to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Into each of its nodes, which are containers of this machine's docker.
    Load,
    /// Through a registry, as in `registry.example.org:5000/todo`.
    Push {
        registry: String,
        /// The Secret with which the nodes pull, in each namespace of the profile.
        pull_secret: Option<String>,
        /// It is made of docker's credentials where it is missing.
        make_pull_secret: bool,
        /// Who builds in the daemon's place.
        builder: Option<Builder>,
    },
}

/// A BuildKit that docker's buildx knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// Its name, as `docker buildx ls` lists it.
    pub name: String,
    /// As in `linux/arm64`; empty leaves it to the builder.
    pub platforms: Vec<String>,
}

/// How the application is reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    PortForward,
    /// At the node ports of the services, under this host.
    NodePort {
        host: String,
        /// That of the service to open, such as one that a node publishes on its host; None leaves it to the chart.
        port: Option<u16>,
    },
    /// At the host of its Ingress, as a template of a URL.
    Ingress {
        url: String,
    },
}

/// The node ports that are published on 127.0.0.1, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct NodePorts {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Debug)]
pub struct Release {
    pub chart: PathBuf,
    /// The name that the chart gets in the staged copy; None leaves it.
    pub chart_name: Option<String>,
    /// The appVersion that the staged copy gets, in which `{tag}` is the tag of the first service; None leaves it.
    pub app_version: Option<String>,
    pub namespace: String,
    pub values: Vec<PathBuf>,
    pub services: Vec<String>,
    /// The Secret from which the services take their keys; empty where they take none.
    pub secret: String,
    /// The releases that must run before this one is installed.
    pub needs: Vec<String>,
    /// The key of a Secret by which a person names something outside in place of this release.
    pub unless: Option<String>,
}

/// A Secret that is handed over before what reads it.
#[derive(Clone, Debug)]
pub struct Secret {
    pub namespace: String,
    pub random: Vec<String>,
    /// Key to template; `{OTHER_KEY}` is replaced by the value of a random key of any Secret of the profile.
    pub derived: BTreeMap<String, String>,
    /// Keys that only a person can give; empty until then.
    pub given: Vec<String>,
}

impl Tools {
    pub fn get(&self, name: &str) -> Option<&Tool> {
        match name {
            "docker" => Some(&self.docker),
            "minikube" => Some(&self.minikube),
            "helm" => Some(&self.helm),
            "kubectl" => Some(&self.kubectl),
            _ => None,
        }
    }
}

impl Check {
    /// All services that it asks.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| step.service.as_deref())
    }
}

impl Secret {
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.random.iter().chain(self.derived.keys()).chain(&self.given).map(String::as_str)
    }
}

/// A finding of `validate` or `lint` that is known and stays, with the reason.
#[derive(Debug, Clone)]
pub struct Waiver {
    pub code: String,
    /// `kind/name`, or a service; None is every object.
    pub object: Option<String>,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub image: String,
    pub dockerfile: PathBuf,
    pub context: PathBuf,
    /// Files and folders of the context, relative to it: the only ones that reach the build.
    pub inputs: Vec<PathBuf>,
    pub base: Base,
    /// Folders of the context, and where the image has each as it is: `dev` copies a change of them into what runs.
    pub sync: BTreeMap<PathBuf, String>,
    /// At which its program starts again as the file that is there by then, in the same process: `dev` need not make a pod.
    pub restart_signal: Option<String>,
    pub port: u16,
    pub node_port: Option<NodePort>,
    pub probes: Option<Probes>,
    /// The path that the image's own HEALTHCHECK asks; None is the image's default.
    pub healthcheck: Option<String>,
    pub user: Option<User>,
    /// Build arguments beside those that follow from the rest.
    pub args: BTreeMap<String, String>,
    /// Megabytes of 1,000,000 bytes.
    pub size_limit_mb: Option<u64>,
}

/// The node port of a service: the configured one where it is free, or any free one of the published range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePort {
    Fixed(u16),
    Auto,
}

/// Who the processes of an image are.
#[derive(Clone, Debug)]
pub struct User {
    pub id: u32,
    pub name: String,
}

/// What a Dockerfile starts from, and so which build argument a local image is passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    Rust,
    Debian,
}

#[derive(Clone, Debug)]
pub struct Probes {
    pub liveness: String,
    pub readiness: String,
}

/// A smoke check: questions in order; a later one may use what an earlier one saved.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub steps: Vec<Step>,
    /// How long it may take with all its attempts; None is as long as all checks together.
    pub deadline: Option<Duration>,
    pub when: When,
    pub place: Place,
}

/// When `up` runs a check; `smoke` runs each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// Only where something was deployed.
    Changed,
}

#[derive(Clone, Debug)]
pub struct Step {
    /// Whom it asks: its own service, else the check's. None where it asks no service.
    pub service: Option<String>,
    pub action: Action,
    /// What the whole answer must be, without the white space around it.
    pub equals: Option<String>,
    pub contains: Option<String>,
    /// JSON pointer to the value that must stand there.
    pub json: BTreeMap<String, serde_json::Value>,
    /// Name to the JSON pointer of what is saved under it.
    pub save: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum Action {
    Http {
        path: String,
        headers: BTreeMap<String, String>,
        method: String,
        body: Option<serde_json::Value>,
        status: u16,
    },
    /// A tools/call to an MCP server over streamable HTTP.
    Mcp { path: String, headers: BTreeMap<String, String>, tool: String, arguments: serde_json::Value },
    /// A connection, the bytes that are sent over it, and what comes.
    Tcp { send: Vec<u8> },
    /// A query to the database in the service's pod, which may read and not write.
    Sql { query: String },
    /// The tests of a release's chart; None are those of every release.
    HelmTest { release: Option<String> },
}

#[derive(Clone, Debug)]
pub struct Deadlines {
    pub bootstrap: Duration,
    pub cluster: Duration,
    pub build: Duration,
    pub load: Duration,
    pub helm: Duration,
    pub rollout: Duration,
    pub smoke: Duration,
    /// How long a place of releases may take to answer before it counts as out of reach.
    pub reach: Duration,
    /// How long a download may bring nothing.
    pub stall: Duration,
}

#[derive(Clone, Debug)]
pub struct Mirrors {
    pub suite: String,
    pub host_packages: Vec<String>,
    pub modules: BTreeMap<String, Module>,
    /// The name that the cluster asks for, to the target of `k8s/node/control-plane.Dockerfile`.
    pub images: BTreeMap<String, String>,
    /// An addon that can be built, to minikube's name for its image. Module and Dockerfile target are named as the addon.
    pub addons: BTreeMap<String, String>,
}

/// Programs that are built from a folder of `k8s/node/go`. What shares a folder shares its versions, and is built together.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where go.mod lies, relative to the root.
    pub folder: PathBuf,
    pub packages: Vec<String>,
    pub variables: BTreeMap<String, String>,
    /// Binary name as Go chooses it, to the name it gets.
    pub rename: BTreeMap<String, String>,
}

impl Config {
    /// The target that the command line chose, with its name.
    pub fn remote(&self) -> Option<(&str, &Remote)> {
        let name = self.target.as_deref()?;
        Some((name, self.targets.get(name)?))
    }

    /// Whether others make the Secrets where the command works.
    pub fn has_secrets(&self) -> bool {
        self.remote().is_some_and(|(_, remote)| remote.has_secrets)
    }

    /// The cluster's name, under which what is known of it is kept. A target can't have the name of a cluster of ours.
    pub fn cluster_name(&self) -> String {
        self.target.as_ref().map_or_else(|| self.cluster.name.clone(), |target| format!("target-{target}"))
    }

    /// What one run at a time works on, in words: the profile's namespace, and the target that it is in.
    pub fn place(&self) -> String {
        match &self.target {
            Some(target) => format!("{} of target {target}", self.namespace),
            None => self.namespace.clone(),
        }
    }

    /// The repository that a service's image is deployed from.
    pub fn repository(&self, image: &str) -> String {
        match self.remote().map(|(_, remote)| &remote.delivery) {
            Some(Delivery::Push { registry, .. }) => format!("{registry}/{image}"),
            _ => image.to_string(),
        }
    }

    /// The application as a sentence begins with it: with a title of its own `The Todo Chatbot`, else the project's name.
    pub fn subject(&self) -> String {
        if self.title == self.project { self.title.clone() } else { format!("The {}", self.title) }
    }

    /// The value of the label `app.kubernetes.io/managed-by` on what this project's commands make.
    pub fn manager(&self) -> String {
        format!("{}-xtask", self.project)
    }

    /// Each service that a release of this profile runs, with the release's name.
    pub fn running(&self) -> impl Iterator<Item = (&str, &str)> {
        self.releases
            .iter()
            .flat_map(|(release, about)| about.services.iter().map(|service| (service.as_str(), release.as_str())))
    }

    /// The releases that a run installs: all but those that a key of `given`, the Secret's values in the override file,
    /// replaces.
    pub fn wanted_releases<V>(&self, given: &BTreeMap<String, V>) -> Vec<&str> {
        let is_replaced = |release: &Release| release.unless.as_ref().is_some_and(|key| given.contains_key(key));
        self.releases.iter().filter(|(_, release)| !is_replaced(release)).map(|(name, _)| name.as_str()).collect()
    }

    /// The services that these releases run.
    pub fn services_of(&self, releases: &[&str]) -> Vec<&str> {
        self.running().filter(|(_, release)| releases.contains(release)).map(|(service, _)| service).collect()
    }

    /// The namespaces that these releases are in, the profile's own first.
    pub fn namespaces_of(&self, releases: &[&str]) -> Vec<String> {
        let used = |namespace: &String| releases.iter().any(|name| self.releases[*name].namespace == *namespace);
        self.namespaces().into_iter().filter(used).collect()
    }

    /// All releases in waves: each needs only what is in earlier ones.
    pub fn release_waves(&self) -> Vec<Vec<&str>> {
        let edges = self.releases.iter().map(|(name, release)| (name.as_str(), release.needs.as_slice()));
        waves(edges).expect("the configuration has no circle of releases")
    }

    /// Where a value stands, as `FILE:LINE:COLUMN`; `path` as in `services.web.port`. Of a path that isn't there, the
    /// nearest table is reported.
    pub fn place_of(&self, path: &str) -> Option<String> {
        let mut node = &self.tree;
        let mut rest = path;
        while let Value::Table(entries) = &node.value {
            // A name may hold dots itself.
            let found = entries.iter().find(|(key, _)| {
                rest.strip_prefix(key.as_str()).is_some_and(|left| left.is_empty() || left.starts_with('.'))
            });
            let Some((key, inner)) = found else { break };
            node = inner;
            rest = rest[key.len()..].trim_start_matches('.');
            if rest.is_empty() {
                break;
            }
        }
        Some(node.place.to_string())
    }

    /// The Go module that a tool is built from. A later major version is a module of its own, as it is for Go: `helm4`.
    pub fn module_of(&self, tool: &str, version: &str) -> String {
        let own = format!("{tool}{}", version.split('.').next().unwrap_or_default());
        if self.mirrors.modules.contains_key(&own) { own } else { tool.to_string() }
    }

    /// The namespaces of the profile, its own first.
    pub fn namespaces(&self) -> Vec<String> {
        let mut all = vec![self.namespace.clone()];
        let others = self.releases.values().map(|release| &release.namespace);
        for name in others.chain(self.secrets.values().map(|secret| &secret.namespace)) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// Puts the whole profile elsewhere, which only one that keeps to a single namespace can take.
    pub fn move_to(&mut self, namespace: &str) -> Result<(), String> {
        if let [_, other, ..] = self.namespaces().as_slice() {
            return Err(format!(
                "profile {} has a namespace of its own for its database, {other}, and can't be moved",
                self.profile
            ));
        }
        self.namespace = namespace.to_string();
        self.releases.values_mut().for_each(|release| release.namespace = namespace.to_string());
        self.secrets.values_mut().for_each(|secret| secret.namespace = namespace.to_string());
        Ok(())
    }
}

/// The order of releases: each wave needs only what is in earlier ones. An error names those in a circle.
pub fn waves<'a>(releases: impl Iterator<Item = (&'a str, &'a [String])>) -> Result<Vec<Vec<&'a str>>, Vec<&'a str>> {
    let mut left: BTreeMap<&str, &[String]> = releases.collect();
    let mut waves = Vec::new();
    while !left.is_empty() {
        let free = |needs: &[String]| needs.iter().all(|needed| !left.contains_key(needed.as_str()));
        let wave: Vec<&str> = left.iter().filter(|(_, needs)| free(needs)).map(|(name, _)| *name).collect();
        if wave.is_empty() {
            return Err(left.into_keys().collect());
        }
        left.retain(|name, _| !wave.contains(name));
        waves.push(wave);
    }
    Ok(waves)
}
