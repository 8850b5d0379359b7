//! `xtask.toml` and a profile over it, as types. Everything wrong in them is reported at once, each with its place.

pub mod locked;
mod reader;
mod spec;
mod template;
mod tree;
pub mod yaml;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reader::Reader;
pub use spec::{Spec, SpecChart, SpecCluster, SpecService};
pub use template::{fill, follows, placeholders};
use tree::parse;
pub use tree::{ConfigError, Node, Place, Value, merge, to_json};

#[derive(Debug)]
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
    pub smoke: Vec<Check>,
    pub deadlines: Deadlines,
    pub waivers: Vec<Waiver>,
    /// What the published data model of this profile demands; a profile of our own has none.
    pub spec: Option<Spec>,
    pub mirrors: Mirrors,
    /// All of the above as it was read, each value with its place.
    pub tree: Node,
}

#[derive(Debug)]
pub struct Tools {
    pub docker: Tool,
    pub minikube: Tool,
    pub helm: Tool,
    pub kubectl: Tool,
}

/// Versions as in `1.33` or `1.36.0`, without a leading v.
#[derive(Debug)]
pub struct Tool {
    pub minimum: String,
    pub pinned: Option<String>,
    /// Where its releases are; None for what is not downloaded.
    pub download: Option<Download>,
}

/// Where a release is, as templates: {version} is the pinned one, {os} and {arch} are the machine's in Go's names.
#[derive(Debug)]
pub struct Download {
    pub url: String,
    /// The file in which the release publishes the SHA-256 of what stands at `url`.
    pub checksum: String,
    /// The program's path in what stands at `url`, a tar.gz; None where that is the program itself.
    pub member: Option<String>,
}

#[derive(Debug)]
pub struct Cluster {
    pub name: String,
    pub driver: String,
    pub runtime: String,
    pub kubernetes: String,
    pub cpus: u32,
    pub memory_mb: u64,
    pub disk_free_mb: u64,
    pub node_ports: NodePorts,
    /// Addons of minikube's that must serve, under minikube's names for them.
    pub addons: Vec<String>,
}

/// The node ports that are published on 127.0.0.1, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct NodePorts {
    pub first: u16,
    pub last: u16,
}

#[derive(Debug)]
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
#[derive(Debug)]
pub struct Secret {
    pub namespace: String,
    pub random: Vec<String>,
    /// Key to template; `{OTHER_KEY}` stands for a random key of any Secret of the profile.
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

#[derive(Debug)]
pub struct Service {
    pub image: String,
    pub dockerfile: PathBuf,
    pub context: PathBuf,
    /// Files and folders of the context, relative to it: the only ones that reach the build.
    pub inputs: Vec<PathBuf>,
    pub base: Base,
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
#[derive(Debug)]
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

#[derive(Debug)]
pub struct Probes {
    pub liveness: String,
    pub readiness: String,
}

/// A smoke check: questions in order; a later one may use what an earlier one saved.
#[derive(Debug)]
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

#[derive(Debug)]
pub struct Step {
    /// Whom it asks: its own service, else the check's. None where it asks no service.
    pub service: Option<String>,
    pub call: Call,
    /// What the whole answer must be, without the white space around it.
    pub equals: Option<String>,
    pub contains: Option<String>,
    /// JSON pointer to the value that must stand there.
    pub json: BTreeMap<String, serde_json::Value>,
    /// Name to the JSON pointer of what is saved under it.
    pub save: BTreeMap<String, String>,
}

#[derive(Debug)]
pub enum Call {
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

#[derive(Debug)]
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

#[derive(Debug)]
pub struct Mirrors {
    pub suite: String,
    pub host_packages: Vec<String>,
    pub modules: BTreeMap<String, Module>,
    /// The name that the cluster asks for, to the target of `k8s/node/control-plane.Dockerfile`.
    pub images: BTreeMap<String, String>,
    /// An addon that can be built, to minikube's name for its image. Module and Dockerfile target are named as the addon.
    pub addons: BTreeMap<String, String>,
}

/// A folder of `k8s/node/go` and what is built from it.
#[derive(Debug)]
pub struct Module {
    pub packages: Vec<String>,
    pub variables: BTreeMap<String, String>,
    /// Binary name as Go chooses it, to the name it gets.
    pub rename: BTreeMap<String, String>,
}

/// Every mistake found, in the order of their places.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} mistake{}; nothing was started", if count == 1 { "" } else { "s" })?;
        for problem in &self.0 {
            writeln!(f, "  {problem}")?;
        }
        write!(f, "Next: correct {}, then run the same command again", if count == 1 { "it" } else { "them" })
    }
}

/// One text file of the configuration, under the name that messages use.
pub struct ConfigFile<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

/// What every project begins with.
const DEFAULTS: ConfigFile = ConfigFile { file: "xtask/src/config/defaults.toml", text: include_str!("defaults.toml") };

/// Reads the base over the defaults, and the profile over both. `exists` answers whether a path, relative to the root, is
/// there.
pub fn parse_config(
    profile: &str,
    base: ConfigFile,
    over: ConfigFile,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Config, ConfigErrors> {
    let mut syntax = Vec::new();
    let base = parse(base.file, base.text, &mut syntax);
    let defaults = without_replaced(parse(DEFAULTS.file, DEFAULTS.text, &mut syntax), &base);
    let base = Node { place: base.place.clone(), value: merge(defaults, base).value };
    let tree = merge(base, parse(over.file, over.text, &mut syntax));
    let problems = RefCell::new(syntax);
    let root = Reader::root(&tree, &problems);
    let project = name(&root, "project");
    let home = optional_name(&root, "home", &project);
    let namespace = optional_name(&root, "namespace", &project);
    let config = Config {
        title: root.optional("title").unwrap_or_else(|| project.clone()),
        home: home.clone(),
        project,
        version: root.required("version"),
        profile: profile.to_string(),
        namespace: namespace.clone(),
        open: match only_service(&tree).filter(|_| !root.has("open")) {
            Some(service) => service,
            None => root.required("open"),
        },
        overrides: PathBuf::from(
            root.optional::<String>("overrides").unwrap_or_else(|| format!("k8s/profiles/{profile}.override.yaml")),
        ),
        tools: root.table("tools", |t| Tools {
            docker: t.table("docker", tool),
            minikube: t.table("minikube", tool),
            helm: t.table("helm", tool),
            kubectl: t.table("kubectl", tool),
        }),
        cluster: root.table("cluster", |r| cluster(r, &home)),
        releases: root.tables("releases", |_, r| release(r, &namespace, exists)),
        secrets: root.tables("secrets", |_, r| secret(r, &namespace)),
        services: root.tables("services", |_, r| service(r, exists)),
        smoke: root.list("smoke", check),
        deadlines: root.table("deadlines", deadlines),
        waivers: root.list("waivers", waiver),
        spec: root.optional_table("spec", spec::spec),
        mirrors: root.table("mirrors", |r| mirrors(r, exists)),
        tree: tree.clone(),
    };
    agree(&root, &config);
    root.finish();
    let mut problems = problems.into_inner();
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
}

/// The defaults without what `base` replaces as a whole: single tools, and the mirrors.
fn without_replaced(mut defaults: Node, base: &Node) -> Node {
    let has = |table: &str, key: Option<&str>| match (&base.value, key) {
        (Value::Table(all), None) => all.contains_key(table),
        (Value::Table(all), Some(key)) => {
            matches!(all.get(table), Some(Node { value: Value::Table(inner), .. }) if inner.contains_key(key))
        }
        _ => false,
    };
    if let Value::Table(entries) = &mut defaults.value {
        entries.retain(|key, _| key != "mirrors" || !has(key, None));
        if let Some(Node { value: Value::Table(tools), .. }) = entries.get_mut("tools") {
            tools.retain(|tool, _| !has("tools", Some(tool)));
        }
    }
    defaults
}

/// The name of the service, where there is one and no other.
fn only_service(tree: &Node) -> Option<String> {
    let Value::Table(entries) = &tree.value else { return None };
    match entries.get("services").map(|node| &node.value) {
        Some(Value::Table(services)) if services.len() == 1 => services.keys().next().cloned(),
        _ => None,
    }
}

impl Config {
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

fn releases_agree(root: &Reader, config: &Config, known: &str) {
    if config.releases.is_empty() {
        root.report_at("releases", "no release is described: add a table [releases.NAME]".to_string());
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, release) in &config.releases {
        let at = |message: String| root.report_at("releases", format!("releases.{name}.{message}"));
        if !is_name(name) {
            at(format!(" is no name for a release: it must be {NAME_RULE}"));
        }
        for service in &release.services {
            if !config.services.contains_key(service) {
                at(format!("services names \"{service}\": known are {known}"));
            }
            if let Some(other) = owners.insert(service, name) {
                at(format!("services names {service}, which releases.{other} has already"));
            }
        }
        if !release.secret.is_empty() && !config.secrets.contains_key(&release.secret) {
            at(format!("secret is \"{}\": known are {}", release.secret, names(config.secrets.keys())));
        }
        for needed in &release.needs {
            if !config.releases.contains_key(needed) {
                at(format!("needs \"{needed}\": known are {}", names(config.releases.keys())));
            }
        }
        if let Some(key) = &release.unless
            && !config.secrets.values().any(|secret| secret.derived.contains_key(key))
        {
            at(format!("unless is \"{key}\": it must be a derived key of a Secret"));
        }
    }
    let edges = config.releases.iter().map(|(name, release)| (name.as_str(), release.needs.as_slice()));
    if let Err(circle) = waves(edges) {
        root.report_at("releases", format!("releases need each other in a circle: {}", circle.join(", ")));
    }
    let runs = |service: &str| owners.contains_key(service);
    for check in &config.smoke {
        let at =
            |message: String| root.report(check.place.clone(), format!("the smoke check \"{}\" {message}", check.name));
        for service in check.services() {
            match config.services.contains_key(service) {
                false => at(format!("asks service \"{service}\": known are {known}")),
                true if !runs(service) => at(format!("asks {service}, which no release of the profile runs")),
                true => {}
            }
        }
        for step in &check.steps {
            if let Call::HelmTest { release: Some(name) } = &step.call
                && !config.releases.contains_key(name)
            {
                at(format!("tests release \"{name}\": known are {}", names(config.releases.keys())));
            }
        }
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

fn secrets_agree(root: &Reader, config: &Config) {
    let random: Vec<&String> = config.secrets.values().flat_map(|secret| &secret.random).collect();
    for (name, secret) in &config.secrets {
        for (key, template) in &secret.derived {
            for placeholder in placeholders(template) {
                if !random.iter().any(|known| *known == placeholder) {
                    let message = format!(
                        "secrets.{name}.derived.{key} uses {{{placeholder}}}: known are {}",
                        names(random.iter().copied())
                    );
                    root.report_at("secrets", message);
                }
            }
        }
    }
}

/// Each check has a name of its own, by which a line about it is known, and no more time than all have together.
fn checks_agree(root: &Reader, config: &Config) {
    let all = config.deadlines.smoke;
    for (index, check) in config.smoke.iter().enumerate() {
        let at = |message: String| root.report(check.place.clone(), message);
        if config.smoke[..index].iter().any(|other| other.name == check.name) {
            at(format!("smoke[{index}].name is \"{}\", as that of another check: each needs its own", check.name));
        }
        if let Some(deadline) = check.deadline.filter(|deadline| *deadline > all && !all.is_zero()) {
            let (own, all) = (deadline.as_secs(), all.as_secs());
            at(format!("smoke[{index}].deadline_s is {own}: deadlines.smoke_s, {all}, holds for all checks together"));
        }
    }
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    all.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What must hold between tables.
fn agree(root: &Reader, config: &Config) {
    let known = config.services.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if config.services.is_empty() {
        root.report_at("services", "no service is described: add a table [services.NAME]".to_string());
        return;
    }
    if root.has("open") && !config.services.contains_key(&config.open) {
        root.report_at("open", format!("open is \"{}\": it must be a service: {known}", config.open));
    }
    releases_agree(root, config, &known);
    secrets_agree(root, config);
    checks_agree(root, config);
    let kubernetes = &config.cluster.kubernetes;
    module_agrees(root, config, "kubernetes", "cluster", "cluster.kubernetes", kubernetes);
    for (name, tool) in [("minikube", &config.tools.minikube), ("helm", &config.tools.helm)] {
        if let Some(pinned) = &tool.pinned {
            let module = config.module_of(name, pinned);
            module_agrees(root, config, &module, "tools", &format!("tools.{name}.pinned"), pinned);
        }
    }
    let NodePorts { first, last } = config.cluster.node_ports;
    for (name, service) in &config.services {
        if let Some(NodePort::Fixed(port)) = service.node_port
            && !(first..=last).contains(&port)
        {
            let message =
                format!("services.{name}.node_port is {port}: cluster.node_ports publishes {first} to {last}");
            root.report_at("services", message);
        }
    }
}

/// A module that has its version from the linker must be of the version that is asked for.
fn module_agrees(root: &Reader, config: &Config, module: &str, key: &str, name: &str, wanted: &str) {
    let is_version =
        |variable: &str| ["version.version", "version.gitVersion"].iter().any(|end| variable.ends_with(end));
    let variables = config.mirrors.modules.get(module).into_iter().flat_map(|module| &module.variables);
    for (_, built) in variables.filter(|(variable, built)| is_version(variable) && **built != format!("v{wanted}")) {
        let message = format!("{name} is {wanted}, and mirrors.modules.{module} builds {built}: they must agree");
        root.report_at(key, message);
    }
}

fn tool(r: &Reader) -> Tool {
    let version = |key, text: &str| {
        if !text.is_empty() && parse_version(text).is_none() {
            r.report_at(
                key,
                format!("{} is \"{text}\": it must be a version such as \"1.33\" or \"1.36.0\"", r.name(key)),
            );
        }
    };
    let tool = Tool {
        minimum: r.required("minimum"),
        pinned: r.optional("pinned"),
        download: r.optional_table("download", download),
    };
    version("minimum", &tool.minimum);
    version("pinned", tool.pinned.as_deref().unwrap_or_default());
    if tool.download.is_some() && tool.pinned.is_none() {
        r.report_at("download", format!("{} needs {}, the version to download", r.name("download"), r.name("pinned")));
    }
    tool
}

fn download(r: &Reader) -> Download {
    let known = |key: &str, template: &str| {
        for placeholder in placeholders(template) {
            if !["version", "os", "arch"].contains(&placeholder) {
                r.report_at(
                    key,
                    format!("{} uses {{{placeholder}}}: known are {{version}}, {{os}}, {{arch}}", r.name(key)),
                );
            }
        }
    };
    let url = |key: &'static str| {
        let url: String = r.required(key);
        if r.has(key) && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            r.report_at(key, format!("{} is \"{url}\": a URL starts with https:// or http://", r.name(key)));
        }
        known(key, &url);
        url
    };
    let member: Option<String> = r.optional("member");
    known("member", member.as_deref().unwrap_or_default());
    Download { url: url("url"), checksum: url("checksum"), member }
}

fn cluster(r: &Reader, home: &str) -> Cluster {
    Cluster {
        name: optional_name(r, "name", home),
        driver: r.one_of("driver", &["docker"]),
        runtime: r.one_of("runtime", &["containerd"]),
        kubernetes: r.required("kubernetes"),
        cpus: r.integer("cpus", 2..=256) as u32,
        memory_mb: r.integer("memory_mb", 1800..=1_048_576) as u64,
        disk_free_mb: r.integer("disk_free_mb", 0..=10_485_760) as u64,
        node_ports: r.table("node_ports", |p| {
            let range = NodePorts {
                first: p.integer("first", 30000..=32767) as u16,
                last: p.integer("last", 30000..=32767) as u16,
            };
            if range.first > range.last {
                p.report_at(
                    "first",
                    format!("{} is {}, which is past last, {}", p.name("first"), range.first, range.last),
                );
            }
            range
        }),
        addons: r.optional("addons").unwrap_or_default(),
    }
}

fn release(r: &Reader, namespace: &str, exists: &dyn Fn(&Path) -> bool) -> Release {
    Release {
        chart: path(r, "chart", exists),
        chart_name: r.optional("chart_name"),
        app_version: r.optional("app_version"),
        namespace: optional_name(r, "namespace", namespace),
        values: {
            let values: Vec<String> = r.optional("values").unwrap_or_default();
            for file in values.iter().filter(|file| !exists(Path::new(file))) {
                r.report_at(
                    "values",
                    format!("{}: {file} does not exist; paths are relative to the root", r.name("values")),
                );
            }
            values.into_iter().map(PathBuf::from).collect()
        },
        services: r.required("services"),
        secret: r.optional("secret").unwrap_or_default(),
        needs: r.optional("needs").unwrap_or_default(),
        unless: r.optional("unless"),
    }
}

fn secret(r: &Reader, namespace: &str) -> Secret {
    Secret {
        namespace: optional_name(r, "namespace", namespace),
        random: r.optional("random").unwrap_or_default(),
        derived: r.optional("derived").unwrap_or_default(),
        given: r.optional("given").unwrap_or_default(),
    }
}

fn waiver(r: &Reader) -> Waiver {
    Waiver { code: r.required("code"), object: r.optional("object"), reason: r.required("reason") }
}

fn service(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Service {
    let context = path(r, "context", exists);
    let inputs: Vec<String> = r.required("inputs");
    for input in inputs.iter().filter(|input| !exists(&context.join(input))) {
        let message = format!(
            "{}: {} does not exist; inputs are relative to the context",
            r.name("inputs"),
            context.join(input).display()
        );
        r.report_at("inputs", message);
    }
    Service {
        image: r.required("image"),
        dockerfile: path(r, "dockerfile", exists),
        context,
        inputs: inputs.into_iter().map(PathBuf::from).collect(),
        base: match r.one_of("base", &["rust", "debian"]).as_str() {
            "rust" => Base::Rust,
            _ => Base::Debian,
        },
        port: r.port("port"),
        node_port: node_port(r),
        probes: r.optional_table("probes", |p| Probes {
            liveness: url_path(p, "liveness"),
            readiness: url_path(p, "readiness"),
        }),
        healthcheck: r.has("healthcheck").then(|| url_path(r, "healthcheck")),
        user: r.optional_table("user", |u| User {
            id: u.integer("id", 1..=i64::from(u32::MAX)) as u32,
            name: name(u, "name"),
        }),
        args: r.optional("args").unwrap_or_default(),
        size_limit_mb: r.optional_integer("size_limit_mb", 1..=100_000).map(|mb| mb as u64),
    }
}

fn node_port(r: &Reader) -> Option<NodePort> {
    match r.optional::<serde_json::Value>("node_port")? {
        serde_json::Value::String(text) if text == "auto" => Some(NodePort::Auto),
        serde_json::Value::Number(_) => {
            r.optional_integer("node_port", 30000..=32767).map(|port| NodePort::Fixed(port as u16))
        }
        _ => {
            r.report_at("node_port", format!("{} must be 30000 to 32767, or \"auto\"", r.name("node_port")));
            None
        }
    }
}

fn check(r: &Reader) -> Check {
    let service: Option<String> = r.optional("service");
    let steps = r.list("steps", |step| read_step(step, service.as_deref()));
    let asks_somebody = |step: &Step| step.service.is_none() && !matches!(step.call, Call::HelmTest { .. });
    if steps.iter().any(asks_somebody) {
        let _: String = r.required("service");
    }
    if steps.is_empty() {
        r.report_at("steps", format!("{} is empty: nothing would be asked", r.name("steps")));
    }
    saved_before(r, &steps);
    Check {
        name: r.required("name"),
        steps,
        deadline: r.optional_integer("deadline_s", 1..=86_400).map(|seconds| Duration::from_secs(seconds as u64)),
        when: match r.optional_one_of("when", &["always", "changed"]).as_deref() {
            Some("changed") => When::Changed,
            _ => When::Always,
        },
        place: r.place().clone(),
    }
}

/// What a step uses in braces must have been saved by one before it. Bodies and arguments may hold braces of their own.
fn saved_before(r: &Reader, steps: &[Step]) {
    let mut saved = vec!["random"];
    for (index, step) in steps.iter().enumerate() {
        let texts: Vec<&String> = match &step.call {
            Call::Http { path, headers, .. } | Call::Mcp { path, headers, .. } => {
                std::iter::once(path).chain(headers.values()).collect()
            }
            Call::Sql { query } => vec![query],
            Call::Tcp { .. } | Call::HelmTest { .. } => Vec::new(),
        };
        let used = texts.into_iter().flat_map(|text| placeholders(text)).filter(|name| is_word(name));
        for name in used.filter(|name| !saved.contains(name)) {
            let known = saved.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = format!("{}[{index}] uses {{{name}}}: known by then are {known}", r.name("steps"));
            r.report_at("steps", message);
        }
        saved.extend(step.save.keys().map(String::as_str));
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn read_step(r: &Reader, service: Option<&str>) -> Step {
    let call = call(r);
    let service = match call {
        Call::HelmTest { .. } => None,
        _ => r.optional("service").or_else(|| service.map(str::to_string)),
    };
    let (equals, contains) = (r.optional("equals"), r.optional("contains"));
    let json = match r.optional("json") {
        Some(serde_json::Value::Object(entries)) => entries.into_iter().collect(),
        Some(_) => {
            r.report_at("json", format!("{} must be a table of JSON pointers", r.name("json")));
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    let save: BTreeMap<String, String> = r.optional("save").unwrap_or_default();
    let pointers = json.keys().map(|pointer| ("json", pointer)).chain(save.values().map(|pointer| ("save", pointer)));
    for (key, pointer) in pointers.filter(|(_, pointer)| !pointer.is_empty() && !pointer.starts_with('/')) {
        r.report_at(key, format!("{} has \"{pointer}\": a JSON pointer starts with /", r.name(key)));
    }
    Step { service, call, equals, contains, json, save }
}

/// What a step asks follows from its keys; those of another kind are then unknown.
fn call(r: &Reader) -> Call {
    if r.has("helm_test") {
        return helm_test(r);
    }
    if r.has("sql") {
        let query: Option<String> = r.optional("sql");
        if query.as_ref().is_some_and(|query| query.trim().is_empty()) {
            r.report_at("sql", format!("{} is empty: it must be a query", r.name("sql")));
        }
        return Call::Sql { query: query.unwrap_or_default() };
    }
    if r.has("tcp") {
        if r.optional::<bool>("tcp") == Some(false) {
            r.report_at("tcp", format!("{} is false: leave the step out", r.name("tcp")));
        }
        return Call::Tcp { send: bytes(r, "send") };
    }
    if !r.has("path") {
        let message = "must ask something: add `path` with `status` or `tool`, or `tcp`, `sql` or `helm_test`";
        r.report(r.place().clone(), format!("{} {message}", r.name("").trim_end_matches('.')));
        // All kinds are known here, for a key that is one but for a letter.
        for key in ["service", "path", "method", "status", "tool", "tcp", "sql", "helm_test"] {
            let _: Option<serde_json::Value> = r.optional(key);
        }
        return Call::HelmTest { release: None };
    }
    let path = url_path(r, "path");
    let headers = r.optional("headers").unwrap_or_default();
    match r.optional("tool") {
        Some(tool) => Call::Mcp { path, headers, tool, arguments: r.optional("arguments").unwrap_or_default() },
        None => {
            let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
            Call::Http {
                path,
                headers,
                method: r.optional_one_of("method", &methods).unwrap_or_else(|| "GET".to_string()),
                body: r.optional("body"),
                status: r.integer("status", 100..=599) as u16,
            }
        }
    }
}

fn helm_test(r: &Reader) -> Call {
    let release = match r.optional("helm_test") {
        Some(serde_json::Value::Bool(true)) => None,
        Some(serde_json::Value::String(name)) => Some(name),
        _ => {
            r.report_at("helm_test", format!("{} must be the name of a release, or true for all", r.name("helm_test")));
            None
        }
    };
    Call::HelmTest { release }
}

/// A text, or an array of bytes for what no text can hold.
fn bytes(r: &Reader, key: &'static str) -> Vec<u8> {
    match r.optional(key) {
        None => Some(Vec::new()),
        Some(serde_json::Value::String(text)) => Some(text.into_bytes()),
        Some(serde_json::Value::Array(items)) => {
            items.iter().map(|item| item.as_u64().and_then(|number| u8::try_from(number).ok())).collect()
        }
        Some(_) => None,
    }
    .unwrap_or_else(|| {
        r.report_at(key, format!("{} must be a string, or an array of bytes, 0 to 255", r.name(key)));
        Vec::new()
    })
}

fn deadlines(r: &Reader) -> Deadlines {
    let seconds = |key| Duration::from_secs(r.integer(key, 1..=86_400) as u64);
    Deadlines {
        bootstrap: seconds("bootstrap_s"),
        cluster: seconds("cluster_s"),
        build: seconds("build_s"),
        load: seconds("load_s"),
        helm: seconds("helm_s"),
        rollout: seconds("rollout_s"),
        smoke: seconds("smoke_s"),
        reach: seconds("reach_s"),
        stall: seconds("stall_s"),
    }
}

fn mirrors(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Mirrors {
    Mirrors {
        suite: r.required("suite"),
        host_packages: r.required("host_packages"),
        modules: r.tables("modules", |name, m| {
            let folder = module_folder(name);
            if !exists(&folder.join("go.mod")) {
                m.report_at("packages", format!("mirrors.modules.{name}: {}/go.mod does not exist", folder.display()));
            }
            Module {
                packages: m.required("packages"),
                variables: m.optional("variables").unwrap_or_default(),
                rename: m.optional("rename").unwrap_or_default(),
            }
        }),
        images: r.required("images"),
        addons: r.optional("addons").unwrap_or_default(),
    }
}

/// Where a module's go.mod lies, relative to the root.
pub fn module_folder(name: &str) -> PathBuf {
    Path::new("k8s/node/go").join(name)
}

/// What Kubernetes and helm take as a name; in words, `NAME_RULE`.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=53).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub const NAME_RULE: &str = "1 to 53 of a-z, 0-9 and -, with no - at an end";

/// The numbers of a version, `v1.33.1-rc` as `[1, 33, 1]`; None where it doesn't start with a number.
pub fn parse_version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.trim_start_matches('v').split(['-', '+', '~', ' ']).next()?;
    numbers.split('.').map(|part| part.parse().ok()).collect()
}

fn name(r: &Reader, key: &'static str) -> String {
    let text: String = r.required(key);
    if r.has(key) && !is_name(&text) {
        r.report_at(key, format!("{} is \"{text}\": it must be {NAME_RULE}", r.name(key)));
    }
    text
}

fn optional_name(r: &Reader, key: &'static str, default: &str) -> String {
    if r.has(key) { name(r, key) } else { default.to_string() }
}

fn path(r: &Reader, key: &'static str, exists: &dyn Fn(&Path) -> bool) -> PathBuf {
    let text: String = r.required(key);
    let path = PathBuf::from(&text);
    if !text.is_empty() && !exists(&path) {
        r.report_at(
            key,
            format!("{} is \"{text}\", which does not exist; paths are relative to the root", r.name(key)),
        );
    }
    path
}

fn url_path(r: &Reader, key: &'static str) -> String {
    let text: String = r.required(key);
    if !text.is_empty() && !text.starts_with('/') {
        r.report_at(key, format!("{} is \"{text}\": a URL path starts with /", r.name(key)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = include_str!("../../../xtask.toml");
    const DEV: &str = include_str!("../../../k8s/profiles/dev.toml");

    /// The project's own files with `over` at the end of the profile.
    fn read_with(base: &str, over: &str) -> Result<Config, String> {
        let over = format!("{DEV}{over}");
        let base = ConfigFile { file: "xtask.toml", text: base };
        let over = ConfigFile { file: "k8s/profiles/dev.toml", text: &over };
        parse_config("dev", base, over, &|_| true).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_projects_own_file_is_valid() {
        let config = read_with(BASE, "").unwrap();
        assert_eq!(config.services["backend"].port, 8000);
        assert_eq!(config.cluster.node_ports.first, 30080);
        assert_eq!((config.open.as_str(), config.title.as_str()), ("frontend", "Todo Chatbot"));
        assert_eq!(config.namespaces(), ["todo-chatbot"]);
    }

    const SMALL: &str = "project = \"hello\"\n[services.web]\nimage = \"hello\"\ndockerfile = \"Dockerfile\"\ncontext = \".\"\ninputs = [\"src\"]\nport = 8080\nbase = \"rust\"\n[releases.hello]\nchart = \"chart\"\nservices = [\"web\"]\n";

    fn read_alone(base: &str) -> Result<Config, String> {
        let over = ConfigFile { file: "k8s/profiles/dev.toml", text: "" };
        parse_config("dev", ConfigFile { file: "xtask.toml", text: base }, over, &|_| true)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_a_project_does_not_say_has_a_default() {
        let config = read_alone(SMALL).unwrap();
        let names = [&config.title, &config.home, &config.namespace, &config.cluster.name];
        assert_eq!(names.map(String::as_str), ["hello"; 4]);
        assert_eq!((config.open.as_str(), config.version.as_str()), ("web", "0.1.0"));
        assert_eq!(config.releases["hello"].secret, "");
        assert_eq!(config.cluster.node_ports.first, 30080);
        assert!(config.mirrors.modules.contains_key("kubernetes") && config.smoke.is_empty());
        assert_eq!(config.place_of("deadlines.smoke_s").unwrap().split(':').next(), Some(DEFAULTS.file));
    }

    #[test]
    fn defaults_are_overridden_by_key_and_tools_and_mirrors_whole() {
        let more = "[cluster]\nmemory_mb = 2000\n[tools.helm]\nminimum = \"3.20\"\n[mirrors]\nsuite = \"trixie\"\nhost_packages = []\nimages = {}\n";
        let config = read_alone(&format!("title = \"Hello\"\nhome = \"shared\"\n{SMALL}{more}")).unwrap();
        assert_eq!((config.title.as_str(), config.cluster.name.as_str()), ("Hello", "shared"));
        assert_eq!((config.cluster.memory_mb, config.cluster.cpus), (2000, 2));
        assert!(config.tools.helm.pinned.is_none() && config.tools.minikube.pinned.is_some());
        assert!(config.mirrors.modules.is_empty());
    }

    #[test]
    fn several_services_need_one_to_open() {
        let second = SMALL[SMALL.find("[services.web]").unwrap()..SMALL.find("[releases").unwrap()].replace("web", "b");
        let message = read_alone(&format!("{SMALL}{second}")).unwrap_err();
        assert!(message.contains("open is missing"), "{message}");
    }

    #[test]
    fn a_profile_overrides_one_field() {
        let config = read_with(BASE, "[services.backend]\nport = 8080\n").unwrap();
        assert_eq!(config.services["backend"].port, 8080);
        assert_eq!(config.services["backend"].image, "todo-chatbot-backend");
    }

    #[test]
    fn a_profiles_waivers_come_beside_those_that_hold_everywhere() {
        let waiver = |code: &str| format!("[[waivers]]\ncode = \"{code}\"\nreason = \"because\"\n");
        let config = read_with(&format!("{BASE}\n{}", waiver("a")), &format!("\n{}", waiver("b"))).unwrap();
        let codes: Vec<&str> = config.waivers.iter().map(|waiver| waiver.code.as_str()).collect();
        assert_eq!(codes[codes.len() - 2..], ["a", "b"]);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_places() {
        let over = "[services.backend]\nport = 80000\nprot = 1\n[cluster]\ncpus = \"two\"\nruntime = \"rkt\"\n[releases.other]\nchart = \"x\"\nservices = [\"web\"]\nsecret = \"none\"\n";
        let line = DEV.lines().count();
        let at = |offset: usize, rest: &str| format!("k8s/profiles/dev.toml:{}:{rest}", line + offset);
        let text = read_with(BASE, over).unwrap_err();
        for expected in [
            at(2, "8: services.backend.port is 80000: it must be 1 to 65535"),
            at(3, "8: unknown key `services.backend.prot`: did you mean `port`?"),
            at(5, "8: cluster.cpus is a string: it must be an integer"),
            at(6, "11: cluster.runtime is \"rkt\": allowed are \"containerd\""),
            "releases.other.services names \"web\": known are `backend`, `frontend`, `mcp`, `postgres`".to_string(),
            "releases.other.secret is \"none\": known are `todo-chatbot-secrets`".to_string(),
            "the configuration has 6 mistakes; nothing was started".to_string(),
        ] {
            assert!(text.contains(&expected), "{expected}\nnot in\n{text}");
        }
    }

    #[test]
    fn missing_files_and_keys_are_named() {
        let base = BASE.replace("port = 8001\n", "");
        let source = ConfigFile { file: "xtask.toml", text: &base };
        let exists = |path: &Path| path != Path::new("docker/backend.Dockerfile");
        let printed = parse_config("dev", source, ConfigFile { file: "p", text: "" }, &exists).unwrap_err().to_string();
        assert!(
            printed.contains("services.backend.dockerfile is \"docker/backend.Dockerfile\", which does not exist"),
            "{printed}"
        );
        assert!(printed.contains("services.mcp.port is missing: add `port`, an integer"), "{printed}");
    }

    #[test]
    fn syntax_errors_and_semantic_ones_come_together() {
        let message = read_with(BASE, "[cluster]\ncpus = \nmemory_mb = 1\n").unwrap_err();
        assert!(message.contains(&format!("k8s/profiles/dev.toml:{}:", DEV.lines().count() + 2)), "{message}");
        assert!(message.contains("cluster.memory_mb is 1: it must be 1800 to 1048576"), "{message}");
    }

    #[test]
    fn a_release_that_nobody_can_begin_is_refused() {
        let over = "[releases.a]\nchart = \"x\"\nservices = []\nsecret = \"todo-chatbot-secrets\"\nneeds = [\"b\"]\n";
        let message =
            read_with(BASE, &format!("{over}{}", over.replace(".a]", ".b]").replace("\"b\"", "\"a\""))).unwrap_err();
        assert!(message.contains("releases need each other in a circle: a, b"), "{message}");
    }

    #[test]
    fn releases_come_in_waves() {
        let needs = |all: &[&str]| all.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let (none, a, b) = (needs(&[]), needs(&["a"]), needs(&["a", "b"]));
        let edges = [("a", none.as_slice()), ("b", &a), ("c", &a), ("d", &b)];
        assert_eq!(waves(edges.into_iter()), Ok(vec![vec!["a"], vec!["b", "c"], vec!["d"]]));
    }

    #[test]
    fn a_profile_with_a_database_elsewhere_cannot_be_moved() {
        let mut config = read_with(BASE, "").unwrap();
        config.move_to("other").unwrap();
        assert_eq!(config.namespaces(), ["other"]);
        config.releases.get_mut("todo-chatbot").unwrap().namespace = "database".to_string();
        assert!(config.move_to("third").unwrap_err().contains("database"));
    }

    #[test]
    fn a_node_port_outside_the_published_range_is_refused() {
        let text = read_with(BASE, "[services.mcp]\nnode_port = 30500\n").unwrap_err();
        assert!(
            text.contains("services.mcp.node_port is 30500: cluster.node_ports publishes 30080 to 30089"),
            "{text}"
        );
    }

    #[test]
    fn the_cluster_and_what_is_built_for_it_have_one_version() {
        let text = read_with(BASE, "[cluster]\nkubernetes = \"1.34.0\"\n").unwrap_err();
        assert!(text.contains("cluster.kubernetes is 1.34.0, and mirrors.modules.kubernetes builds v1.33.1"), "{text}");
    }

    #[test]
    fn a_later_major_version_is_a_module_of_its_own_and_of_the_version_that_is_pinned() {
        let over = "[mirrors.modules.helm9]\npackages = [\"a\"]\nvariables = { \"a/version.version\" = \"v9.1.0\" }\n[tools.helm]\n";
        let config = read_with(BASE, &format!("{over}pinned = \"9.1.0\"\n")).unwrap();
        assert_eq!(config.module_of("helm", "9.1.0"), "helm9");
        assert_eq!(config.module_of("helm", "3.22.0"), "helm");
        let message = read_with(BASE, &format!("{over}pinned = \"9.2.0\"\n")).unwrap_err();
        assert!(message.contains("tools.helm.pinned is 9.2.0, and mirrors.modules.helm9 builds v9.1.0"), "{message}");
    }

    #[test]
    fn a_place_of_releases_is_a_url_with_known_placeholders_and_a_version_to_put_there() {
        let over = "[tools.docker.download]\nurl = \"ftp://a/{version}\"\nchecksum = \"https://a/{system}\"\n";
        let text = read_with(BASE, over).unwrap_err();
        for expected in [
            "tools.docker.download.url is \"ftp://a/{version}\": a URL starts with https:// or http://",
            "tools.docker.download.checksum uses {system}: known are {version}, {os}, {arch}",
            "tools.docker.download needs tools.docker.pinned, the version to download",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("v1.33.1"), Some(vec![1, 33, 1]));
        assert!(parse_version("1.9") < parse_version("1.33.0"));
        assert_eq!(parse_version("v1.32.4-dispatcher"), Some(vec![1, 32, 4]));
        assert_eq!(parse_version("newest"), None);
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        assert!(is_name("todo-chatbot2"));
        for bad in ["", "-a", "a-", "Bad_Name", "../x", &"a".repeat(54)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    /// What is reported of smoke checks that stand in place of the project's own; lines count from the first of these.
    fn reported_of_checks(checks: &str) -> String {
        let message = read_with(BASE, checks).unwrap_err();
        let place = |line: usize| format!("k8s/profiles/dev.toml:{}:", DEV.lines().count() + line);
        (1..=checks.lines().count()).fold(message, |text, line| text.replace(&place(line), &format!("{line}:")))
    }

    #[test]
    fn each_kind_of_a_check_is_read() {
        let checks = r#"
[[smoke]]
name = "a"
service = "frontend"
deadline_s = 5
when = "changed"
steps = [
  { method = "POST", path = "/", status = 201, headers = { a = "b" }, body = { c = 1 }, save = { id = "/id" } },
  { service = "mcp", path = "/mcp", tool = "list_tasks" },
  { service = "postgres", tcp = true, send = [0, 255], equals = "N" },
  { service = "postgres", tcp = true, send = "hello", contains = "hello" },
  { service = "postgres", sql = "SELECT '{id}'", equals = "1" },
  { helm_test = true },
  { helm_test = "todo-chatbot" },
]
"#;
        let config = read_with(BASE, checks).unwrap();
        let [check] = config.smoke.as_slice() else { panic!("one check replaces those of the base") };
        assert_eq!((check.deadline, check.when), (Some(Duration::from_secs(5)), When::Changed));
        let kinds = check.steps.iter().map(|step| match &step.call {
            Call::Http { method, path, status, .. } => format!("{method} {path} {status}"),
            Call::Mcp { path, tool, .. } => format!("{tool} {path}"),
            Call::Tcp { send } => format!("{send:?}"),
            Call::Sql { query } => query.clone(),
            Call::HelmTest { release } => format!("{release:?}"),
        });
        let hello = format!("{:?}", b"hello");
        let expected =
            ["POST / 201", "list_tasks /mcp", "[0, 255]", &hello, "SELECT '{id}'", "None", "Some(\"todo-chatbot\")"];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
        let services: Vec<&str> = check.services().collect();
        assert_eq!(services, ["frontend", "mcp", "postgres", "postgres", "postgres"]);
    }

    #[test]
    fn all_mistakes_in_checks_are_reported_at_once_with_their_places() {
        let checks = r#"[[smoke]]
name = "a"
service = "frontend"
when = "sometimes"
deadline_s = 61
steps = [
  { path = "/", staus = 200 },
  { path = "/{id}", status = 200, method = "FETCH", json = { done = true } },
  { sql = " ", path = "/" },
  { sqll = "SELECT 1" },
  { tcp = false },
  { tcp = true, send = [256] },
  { helm_test = false },
  { helm_test = "todo" },
  { service = "front", path = "/", status = 200 },
]
[[smoke]]
name = "a"
steps = []
[[smoke]]
name = "b"
steps = [{ tcp = true }]
"#;
        let text = reported_of_checks(checks);
        for expected in [
            "4:8: smoke[0].when is \"sometimes\": allowed are \"always\", \"changed\"",
            "1:1: smoke[0].deadline_s is 61: deadlines.smoke_s, 60, holds for all checks together",
            "7:25: unknown key `smoke[0].steps[0].staus`: did you mean `status`?",
            "smoke[0].steps[0].status is missing: add `status`, an integer",
            "8:44: smoke[0].steps[1].method is \"FETCH\": allowed are \"GET\", \"HEAD\", \"POST\"",
            "smoke[0].steps[1].json has \"done\": a JSON pointer starts with /",
            "6:9: smoke[0].steps[1] uses {id}: known by then are `random`",
            "9:11: smoke[0].steps[2].sql is empty: it must be a query",
            "9:23: unknown key `smoke[0].steps[2].path`",
            "smoke[0].steps[3] must ask something: add `path` with `status` or `tool`, or `tcp`, `sql` or `helm_test`",
            "10:12: unknown key `smoke[0].steps[3].sqll`: did you mean `sql`?",
            "11:11: smoke[0].steps[4].tcp is false: leave the step out",
            "12:24: smoke[0].steps[5].send must be a string, or an array of bytes, 0 to 255",
            "13:17: smoke[0].steps[6].helm_test must be the name of a release, or true for all",
            "the smoke check \"a\" tests release \"todo\": known are `todo-chatbot`",
            "the smoke check \"a\" asks service \"front\": known are `backend`, `frontend`, `mcp`, `postgres`",
            "smoke[1].name is \"a\", as that of another check: each needs its own",
            "19:9: smoke[1].steps is empty: nothing would be asked",
            "smoke[2].service is missing: add `service`, a string",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
    }

    #[test]
    fn a_check_asks_only_services_that_run() {
        let over = DEV.replace(", \"mcp\"]", "]");
        let base = ConfigFile { file: "xtask.toml", text: BASE };
        let read = parse_config("dev", base, ConfigFile { file: "dev.toml", text: &over }, &|_| true);
        let printed = read.unwrap_err().to_string();
        assert!(printed.contains("the smoke check \"the MCP server's tools reach the tasks\" asks mcp, which no release of the profile runs"), "{printed}");
    }
}
