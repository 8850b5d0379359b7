//! `xtask.toml` and a profile over it, as types. Everything wrong in them is reported at once, each with its place.

mod reader;
mod tree;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reader::Reader;
pub use tree::Problem;
use tree::{merge, parse};

#[derive(Debug)]
pub struct Config {
    pub project: String,
    pub version: String,
    pub profile: String,
    pub tools: Tools,
    pub cluster: Cluster,
    pub release: Release,
    pub secret: Secret,
    pub services: BTreeMap<String, Service>,
    pub smoke: Vec<Check>,
    pub deadlines: Deadlines,
    pub mirrors: Mirrors,
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
}

/// The node ports that are published on 127.0.0.1, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct NodePorts {
    pub first: u16,
    pub last: u16,
}

#[derive(Debug)]
pub struct Release {
    pub name: String,
    pub chart: PathBuf,
    pub namespace: String,
    pub values: Vec<PathBuf>,
    pub open: String,
}

#[derive(Debug)]
pub struct Secret {
    pub name: String,
    pub random: Vec<String>,
    /// Key to template; `{OTHER_KEY}` stands for another key's value.
    pub derived: BTreeMap<String, String>,
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
    pub node_port: Option<u16>,
    pub probes: Option<Probes>,
    /// Megabytes of 1,000,000 bytes.
    pub size_limit_mb: Option<u64>,
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

/// A smoke check: requests to one service, in order; a later one may use what an earlier one saved.
#[derive(Debug)]
pub struct Check {
    pub name: String,
    pub service: String,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub struct Step {
    pub path: String,
    pub call: Call,
    pub contains: Option<String>,
    /// JSON pointer to the value that must stand there.
    pub json: BTreeMap<String, serde_json::Value>,
    /// Name to the JSON pointer of what is saved under it.
    pub save: BTreeMap<String, String>,
}

#[derive(Debug)]
pub enum Call {
    Http {
        method: String,
        body: Option<serde_json::Value>,
        status: u16,
    },
    /// A tools/call to an MCP server over streamable HTTP.
    Mcp {
        tool: String,
        arguments: serde_json::Value,
    },
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
}

#[derive(Debug)]
pub struct Mirrors {
    pub suite: String,
    pub host_packages: Vec<String>,
    pub modules: BTreeMap<String, Module>,
    /// The name that the cluster asks for, to the target of `k8s/node/control-plane.Dockerfile`.
    pub images: BTreeMap<String, String>,
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
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
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
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

/// Reads the base and the profile over it. `exists` answers whether a path, relative to the root, is there.
pub fn read(profile: &str, base: Source, over: Source, exists: &dyn Fn(&Path) -> bool) -> Result<Config, Problems> {
    let mut syntax = Vec::new();
    let tree = merge(parse(base.file, base.text, &mut syntax), parse(over.file, over.text, &mut syntax));
    let problems = RefCell::new(syntax);
    let root = Reader::root(&tree, &problems);
    let config = Config {
        project: name(&root, "project"),
        version: root.required("version"),
        profile: profile.to_string(),
        tools: root.table("tools", |t| Tools {
            docker: t.table("docker", tool),
            minikube: t.table("minikube", tool),
            helm: t.table("helm", tool),
            kubectl: t.table("kubectl", tool),
        }),
        cluster: root.table("cluster", cluster),
        release: root.table("release", |r| release(r, exists)),
        secret: root.table("secret", secret),
        services: root.tables("services", |_, r| service(r, exists)),
        smoke: root.list("smoke", check),
        deadlines: root.table("deadlines", deadlines),
        mirrors: root.table("mirrors", |r| mirrors(r, exists)),
    };
    agree(&root, &config);
    root.finish();
    let mut problems = problems.into_inner();
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// What must hold between tables.
fn agree(root: &Reader, config: &Config) {
    let known = config.services.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if config.services.is_empty() {
        root.report_at("services", "no service is described: add a table [services.NAME]".to_string());
        return;
    }
    if root.has("release") && !config.services.contains_key(&config.release.open) {
        root.report_at(
            "release",
            format!("release.open is \"{}\": it must be a service: {known}", config.release.open),
        );
    }
    for check in &config.smoke {
        if !config.services.contains_key(&check.service) {
            let message =
                format!("the smoke check «{}» asks service \"{}\": known are {known}", check.name, check.service);
            root.report_at("smoke", message);
        }
    }
    let stamp = "k8s.io/component-base/version.gitVersion";
    let built = config.mirrors.modules.get("kubernetes").and_then(|module| module.variables.get(stamp));
    if let Some(built) = built.filter(|built| **built != format!("v{}", config.cluster.kubernetes)) {
        let wanted = &config.cluster.kubernetes;
        let message =
            format!("cluster.kubernetes is {wanted}, and mirrors.modules.kubernetes builds {built}: they must agree");
        root.report_at("cluster", message);
    }
    let NodePorts { first, last } = config.cluster.node_ports;
    for (name, service) in &config.services {
        if let Some(port) = service.node_port.filter(|port| !(first..=last).contains(port)) {
            let message =
                format!("services.{name}.node_port is {port}: cluster.node_ports publishes {first} to {last}");
            root.report_at("services", message);
        }
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
    let tool = Tool { minimum: r.required("minimum"), pinned: r.optional("pinned") };
    version("minimum", &tool.minimum);
    version("pinned", tool.pinned.as_deref().unwrap_or_default());
    tool
}

fn cluster(r: &Reader) -> Cluster {
    Cluster {
        name: name(r, "name"),
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
    }
}

fn release(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Release {
    Release {
        name: name(r, "name"),
        chart: path(r, "chart", exists),
        namespace: name(r, "namespace"),
        values: {
            let values: Vec<String> = r.required("values");
            for file in values.iter().filter(|file| !exists(Path::new(file))) {
                r.report_at(
                    "values",
                    format!("{}: {file} does not exist; paths are relative to the root", r.name("values")),
                );
            }
            values.into_iter().map(PathBuf::from).collect()
        },
        open: r.required("open"),
    }
}

fn secret(r: &Reader) -> Secret {
    let secret = Secret {
        name: name(r, "name"),
        random: r.required("random"),
        derived: r.optional("derived").unwrap_or_default(),
    };
    for (key, template) in &secret.derived {
        for placeholder in placeholders(template) {
            if !secret.random.iter().any(|known| known == placeholder) {
                let known = secret.random.join(", ");
                r.report_at("derived", format!("secret.derived.{key} uses {{{placeholder}}}: known are {known}"));
            }
        }
    }
    secret
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
        node_port: r.optional_integer("node_port", 30000..=32767).map(|port| port as u16),
        probes: r.optional_table("probes", |p| Probes {
            liveness: url_path(p, "liveness"),
            readiness: url_path(p, "readiness"),
        }),
        size_limit_mb: r.optional_integer("size_limit_mb", 1..=100_000).map(|mb| mb as u64),
    }
}

fn check(r: &Reader) -> Check {
    Check { name: r.required("name"), service: r.required("service"), steps: r.list("steps", step) }
}

fn step(r: &Reader) -> Step {
    let call = match r.optional::<String>("tool") {
        Some(tool) => Call::Mcp { tool, arguments: r.optional("arguments").unwrap_or_default() },
        None => Call::Http {
            method: r.optional("method").unwrap_or_else(|| "GET".to_string()),
            body: r.optional("body"),
            status: r.integer("status", 100..=599) as u16,
        },
    };
    Step {
        path: url_path(r, "path"),
        call,
        contains: r.optional("contains"),
        json: match r.optional("json") {
            Some(serde_json::Value::Object(entries)) => entries.into_iter().collect(),
            Some(_) => {
                r.report_at("json", format!("{} must be a table of JSON pointers", r.name("json")));
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        },
        save: r.optional("save").unwrap_or_default(),
    }
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

/// The names in braces of a template: `a{B}c{D}` has B and D.
pub fn placeholders(template: &str) -> Vec<&str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

fn name(r: &Reader, key: &'static str) -> String {
    let text: String = r.required(key);
    if r.has(key) && !is_name(&text) {
        r.report_at(key, format!("{} is \"{text}\": it must be {NAME_RULE}", r.name(key)));
    }
    text
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

    fn read_with(base: &str, over: &str) -> Result<Config, String> {
        let base = Source { file: "xtask.toml", text: base };
        let over = Source { file: "k8s/profiles/dev.toml", text: over };
        read("dev", base, over, &|_| true).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_projects_own_file_is_valid() {
        let config = read_with(BASE, "").unwrap();
        assert_eq!(config.services["backend"].port, 8000);
        assert_eq!(config.cluster.node_ports.first, 30080);
        assert_eq!(config.release.open, "frontend");
    }

    #[test]
    fn a_profile_overrides_one_field() {
        let config = read_with(BASE, "[services.backend]\nport = 8080\n").unwrap();
        assert_eq!(config.services["backend"].port, 8080);
        assert_eq!(config.services["backend"].image, "todo-chatbot-backend");
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_places() {
        let over = "[services.backend]\nport = 80000\nprot = 1\n[cluster]\ncpus = \"two\"\nruntime = \"rkt\"\n[release]\nopen = \"web\"\n";
        let told = read_with(BASE, over).unwrap_err();
        for expected in [
            "k8s/profiles/dev.toml:2:8: services.backend.port is 80000: it must be 1 to 65535",
            "k8s/profiles/dev.toml:3:8: unknown key `services.backend.prot`: did you mean `port`?",
            "k8s/profiles/dev.toml:5:8: cluster.cpus is a string: it must be an integer",
            "k8s/profiles/dev.toml:6:11: cluster.runtime is \"rkt\": allowed are \"containerd\"",
            "release.open is \"web\": it must be a service: `backend`, `frontend`, `mcp`, `postgres`",
            "the configuration has 5 mistakes; nothing was started",
        ] {
            assert!(told.contains(expected), "{expected}\nnot in\n{told}");
        }
    }

    #[test]
    fn missing_files_and_keys_are_named() {
        let base = BASE.replace("port = 8001\n", "");
        let source = Source { file: "xtask.toml", text: &base };
        let exists = |path: &Path| path != Path::new("docker/backend.Dockerfile");
        let told = read("dev", source, Source { file: "p", text: "" }, &exists).unwrap_err().to_string();
        assert!(
            told.contains("services.backend.dockerfile is \"docker/backend.Dockerfile\", which does not exist"),
            "{told}"
        );
        assert!(told.contains("services.mcp.port is missing: add `port`, an integer"), "{told}");
    }

    #[test]
    fn syntax_errors_and_semantic_ones_come_together() {
        let told = read_with(BASE, "[cluster]\ncpus = \nmemory_mb = 1\n").unwrap_err();
        assert!(told.contains("k8s/profiles/dev.toml:2:"), "{told}");
        assert!(told.contains("cluster.memory_mb is 1: it must be 1800 to 1048576"), "{told}");
    }

    #[test]
    fn a_node_port_outside_the_published_range_is_refused() {
        let told = read_with(BASE, "[services.mcp]\nnode_port = 30500\n").unwrap_err();
        assert!(
            told.contains("services.mcp.node_port is 30500: cluster.node_ports publishes 30080 to 30089"),
            "{told}"
        );
    }

    #[test]
    fn the_cluster_and_what_is_built_for_it_have_one_version() {
        let told = read_with(BASE, "[cluster]\nkubernetes = \"1.34.0\"\n").unwrap_err();
        assert!(told.contains("cluster.kubernetes is 1.34.0, and mirrors.modules.kubernetes builds v1.33.1"), "{told}");
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

    #[test]
    fn placeholders_are_found() {
        assert_eq!(placeholders("postgres://todo:{A}@db/{B}"), ["A", "B"]);
    }
}
