//! Each section of the configuration, read with all of its mistakes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::names::{
    IMAGE_RULE, NAME_RULE, VERSION_RULE, is_image_name, is_name, is_version, module_folder, parse_version,
};
use crate::config::reader::Reader;
use crate::config::template::placeholders;
use crate::config::types::*;

/// In a profile's place for a signal that it inherits.
const NO_SIGNAL: &str = "none";

pub fn tool(r: &Reader) -> Tool {
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

pub fn download(r: &Reader) -> Download {
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

pub fn cluster(r: &Reader, home: &str) -> Cluster {
    Cluster {
        name: optional_name(r, "name", home),
        driver: r.one_of("driver", &["docker"]),
        runtime: r.one_of("runtime", &["containerd", "docker"]),
        kubernetes: r.checked("kubernetes", is_version, VERSION_RULE),
        nodes: r.integer("nodes", 1..=9) as u32,
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

pub fn release(r: &Reader, namespace: &str, exists: &dyn Fn(&Path) -> bool) -> Release {
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

pub fn secret(r: &Reader, namespace: &str) -> Secret {
    Secret {
        namespace: optional_name(r, "namespace", namespace),
        random: r.optional("random").unwrap_or_default(),
        derived: r.optional("derived").unwrap_or_default(),
        given: r.optional("given").unwrap_or_default(),
    }
}

pub fn scan(r: &Reader) -> Scan {
    Scan { advisories: r.optional("advisories"), debian: r.optional("debian") }
}

pub fn database(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Database {
    let seed = r.has("seed").then(|| path(r, "seed", exists));
    Database { transient_tables: r.optional("transient_tables").unwrap_or_default(), seed }
}

pub fn waiver(r: &Reader) -> Waiver {
    Waiver { code: r.text("code"), object: r.optional("object"), reason: r.text("reason") }
}

pub fn service(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Service {
    let context = path(r, "context", exists);
    let inputs: Vec<String> = r.required("inputs");
    let leads_out = |input: &&String| {
        let path = Path::new(input);
        input.is_empty() || path.is_absolute() || path.components().any(|part| part.as_os_str() == "..")
    };
    for input in inputs.iter().filter(leads_out) {
        let message = format!("{} has \"{input}\": an input is a path in the context, or \".\"", r.name("inputs"));
        r.report_at("inputs", message);
    }
    for input in inputs.iter().filter(|input| !leads_out(input) && !exists(&context.join(input))) {
        let message = format!(
            "{}: {} does not exist; inputs are relative to the context",
            r.name("inputs"),
            context.join(input).display()
        );
        r.report_at("inputs", message);
    }
    let sync = sync(r, &inputs);
    Service {
        image: r.checked("image", is_image_name, IMAGE_RULE),
        dockerfile: path(r, "dockerfile", exists),
        context,
        inputs: inputs.into_iter().map(PathBuf::from).collect(),
        sync,
        restart_signal: r
            .optional_one_of("restart_signal", &["HUP", "USR1", "USR2", NO_SIGNAL])
            .filter(|signal| signal != NO_SIGNAL),
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

/// Folders within `inputs` to folders of the image. To "" is to none: so a profile takes a folder away that it inherits.
fn sync(r: &Reader, inputs: &[String]) -> BTreeMap<PathBuf, String> {
    let mut all: BTreeMap<String, String> = r.optional("sync").unwrap_or_default();
    all.retain(|_, to| !to.is_empty());
    for (from, to) in &all {
        if !inputs.iter().any(|input| input == "." || Path::new(from).starts_with(input)) {
            let message = format!("{}: \"{from}\" is not among the inputs, so it is not in the image", r.name("sync"));
            r.report_at("sync", message);
        }
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let safe = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        if !to.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) || !to.chars().all(safe) {
            let message = format!("{}: \"{to}\" is not a folder of the image, as in /app/assets", r.name("sync"));
            r.report_at("sync", message);
        }
    }
    all.into_iter().map(|(from, to)| (PathBuf::from(from), to)).collect()
}

pub fn node_port(r: &Reader) -> Option<NodePort> {
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

pub fn check(r: &Reader) -> Check {
    let service: Option<String> = r.optional("service");
    let steps = r.list("steps", |step| read_step(step, service.as_deref()));
    let asks_somebody = |step: &Step| step.service.is_none() && !matches!(step.action, Action::HelmTest { .. });
    if steps.iter().any(asks_somebody) {
        let _: String = r.required("service");
    }
    if steps.is_empty() {
        r.report_at("steps", format!("{} is empty: nothing would be asked", r.name("steps")));
    }
    saved_before(r, &steps);
    Check {
        name: r.text("name"),
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
pub fn saved_before(r: &Reader, steps: &[Step]) {
    let mut saved = vec!["random"];
    for (index, step) in steps.iter().enumerate() {
        let texts: Vec<&String> = match &step.action {
            Action::Http { path, headers, .. } | Action::Mcp { path, headers, .. } => {
                std::iter::once(path).chain(headers.values()).collect()
            }
            Action::Sql { query } => vec![query],
            Action::Tcp { .. } | Action::HelmTest { .. } => Vec::new(),
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

pub fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub fn read_step(r: &Reader, service: Option<&str>) -> Step {
    let action = action(r);
    let service = match action {
        Action::HelmTest { .. } => None,
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
    Step { service, action, equals, contains, json, save }
}

/// What a step asks follows from its keys; those of another kind are then unknown.
pub fn action(r: &Reader) -> Action {
    if r.has("helm_test") {
        return helm_test(r);
    }
    if r.has("sql") {
        let query: Option<String> = r.optional("sql");
        if query.as_ref().is_some_and(|query| query.trim().is_empty()) {
            r.report_at("sql", format!("{} is empty: it must be a query", r.name("sql")));
        }
        return Action::Sql { query: query.unwrap_or_default() };
    }
    if r.has("tcp") {
        if r.optional::<bool>("tcp") == Some(false) {
            r.report_at("tcp", format!("{} is false: leave the step out", r.name("tcp")));
        }
        return Action::Tcp { send: bytes(r, "send") };
    }
    if !r.has("path") {
        let message = "must ask something: add `path` with `status` or `tool`, or `tcp`, `sql` or `helm_test`";
        r.report(r.place().clone(), format!("{} {message}", r.name("").trim_end_matches('.')));
        // All kinds are known here, for a key that is one but for a letter.
        for key in ["service", "path", "method", "status", "tool", "tcp", "sql", "helm_test"] {
            let _: Option<serde_json::Value> = r.optional(key);
        }
        return Action::HelmTest { release: None };
    }
    let path = url_path(r, "path");
    let headers = r.optional("headers").unwrap_or_default();
    match r.optional("tool") {
        Some(tool) => Action::Mcp { path, headers, tool, arguments: r.optional("arguments").unwrap_or_default() },
        None => {
            let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
            Action::Http {
                path,
                headers,
                method: r.optional_one_of("method", &methods).unwrap_or_else(|| "GET".to_string()),
                body: r.optional("body"),
                status: r.integer("status", 100..=599) as u16,
            }
        }
    }
}

pub fn helm_test(r: &Reader) -> Action {
    let release = match r.optional("helm_test") {
        Some(serde_json::Value::Bool(true)) => None,
        Some(serde_json::Value::String(name)) => Some(name),
        _ => {
            r.report_at("helm_test", format!("{} must be the name of a release, or true for all", r.name("helm_test")));
            None
        }
    };
    Action::HelmTest { release }
}

/// A text, or an array of bytes for what no text can hold.
pub fn bytes(r: &Reader, key: &'static str) -> Vec<u8> {
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

pub fn deadlines(r: &Reader) -> Deadlines {
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

pub fn mirrors(r: &Reader, exists: &dyn Fn(&Path) -> bool) -> Mirrors {
    Mirrors {
        suite: r.required("suite"),
        host_packages: r.required("host_packages"),
        modules: r.tables("modules", |name, m| {
            let folder = module_folder(&optional_name(m, "folder", name));
            if !exists(&folder.join("go.mod")) {
                m.report_at("packages", format!("mirrors.modules.{name}: {}/go.mod does not exist", folder.display()));
            }
            Module {
                folder,
                packages: m.required("packages"),
                variables: m.optional("variables").unwrap_or_default(),
                rename: m.optional("rename").unwrap_or_default(),
            }
        }),
        images: r.required("images"),
        addons: r.optional("addons").unwrap_or_default(),
    }
}

pub fn name(r: &Reader, key: &'static str) -> String {
    let text: String = r.required(key);
    if r.has(key) && !is_name(&text) {
        r.report_at(key, format!("{} is \"{text}\": it must be {NAME_RULE}", r.name(key)));
    }
    text
}

pub fn optional_name(r: &Reader, key: &'static str, default: &str) -> String {
    if r.has(key) { name(r, key) } else { default.to_string() }
}

pub fn path(r: &Reader, key: &'static str, exists: &dyn Fn(&Path) -> bool) -> PathBuf {
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

pub fn url_path(r: &Reader, key: &'static str) -> String {
    let text: String = r.required(key);
    if !text.is_empty() && !text.starts_with('/') {
        r.report_at(key, format!("{} is \"{text}\": a URL path starts with /", r.name(key)));
    }
    text
}
