//! `xtask.toml` and a profile over it, as types. Everything wrong in them is reported at once, each with its place.
mod checks;
pub mod locked;
mod names;
mod reader;
pub mod schema;
mod sections;
mod spec;
mod targets;
mod template;
mod tree;
mod types;
pub mod yaml;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use checks::agree;
pub use names::{NAME_RULE, is_name, parse_version};
use reader::Reader;
use sections::{
    check, cluster, database, deadlines, mirrors, name, optional_name, release, scan, secret, service, tool, waiver,
};
pub use spec::{Deviation, Spec, SpecChart, SpecCluster, SpecService};
pub use targets::{PLACEHOLDERS, namespace_of};
pub use template::{fill, follows, placeholders};
use tree::parse;
pub use tree::{ConfigError, Node, Place, Value, merge, to_json};
pub use types::*;

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
    let config = read_config(profile, &root, &tree, exists);
    agree(&root, &config);
    root.finish();
    let mut problems = problems.into_inner();
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
}

fn read_config(profile: &str, root: &Reader, tree: &Node, exists: &dyn Fn(&Path) -> bool) -> Config {
    let project = name(root, "project");
    let home = optional_name(root, "home", &project);
    let namespace = optional_name(root, "namespace", &project);
    Config {
        title: root.optional("title").unwrap_or_else(|| project.clone()),
        home: home.clone(),
        project,
        version: root.checked("version", names::is_version, names::VERSION_RULE),
        profile: profile.to_string(),
        namespace: namespace.clone(),
        open: match only_service(tree).filter(|_| !root.has("open")) {
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
        scan: root.optional_table("scan", scan).unwrap_or_default(),
        targets: root.tables("targets", targets::remote),
        target: None,
        previews: root.table("previews", |r| Previews {
            ttl: std::time::Duration::from_secs(r.integer("ttl_h", 1..=8760) as u64 * 3600),
            quota: r.optional("quota").unwrap_or_default(),
        }),
        preview: None,
        database: root.optional_table("database", |table| database(table, exists)).unwrap_or_default(),
        tree: tree.clone(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
            at(6, "11: cluster.runtime is \"rkt\": allowed are \"containerd\", \"docker\""),
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
    fn what_is_no_version_and_no_image_and_empty_names_are_refused() {
        for good in ["0.1.0", "1.0.0-rc.1", "10.20.30-h0a"] {
            assert!(names::is_version(good), "{good}");
        }
        for bad in ["", "zero", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0+a", "1.0.0-", "1.0.0.0"] {
            assert!(!names::is_version(bad), "{bad}");
        }
        for good in ["todo", "todo-backend", "registry.local:5000/a/b_c"] {
            assert!(names::is_image_name(good), "{good}");
        }
        for bad in ["", "Todo", "todo:1", "/todo", "to do", "todo-"] {
            assert!(!names::is_image_name(bad), "{bad}");
        }
        let smoke = "[[smoke]]\nname = \" \"\nservice = \"web\"\nsteps = [{ path = \"/\", status = 200 }]\n";
        let text = SMALL.replace("inputs = [\"src\"]", "inputs = [\"\", \"../x\", \"/etc\"]");
        let text = read_alone(&format!("version = \"zero\"\n{text}{smoke}")).unwrap_err();
        for expected in [
            "version is \"zero\": it must be three numbers such as 1.0.0, or 1.0.0-rc.1",
            "smoke[0].name is empty",
            "services.web.inputs has \"\": an input is a path in the context",
            "services.web.inputs has \"../x\"",
            "services.web.inputs has \"/etc\"",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
    }

    #[test]
    fn a_folder_that_is_copied_is_an_input_and_goes_to_a_folder_of_the_image() {
        let read = |sync: &str| {
            read_alone(&SMALL.replace("inputs = [\"src\"]", &format!("inputs = [\"src\"]\nsync = {sync}")))
        };
        assert_eq!(read("{ \"src/page\" = \"/app/page\" }").unwrap().services["web"].sync.len(), 1);
        assert_eq!(read("{ \"src/page\" = \"\" }").unwrap().services["web"].sync.len(), 0, "a profile takes it away");
        let outside = read("{ docs = \"/app/docs\" }").unwrap_err();
        assert!(outside.contains("services.web.sync: \"docs\" is not among the inputs"), "{outside}");
        for bad in ["app", "/", "/app/../etc", "/app/", "/a b", "/$(x)", "//app"] {
            let text = read(&format!("{{ src = \"{bad}\" }}")).unwrap_err();
            assert!(text.contains(&format!("\"{bad}\" is not a folder of the image")), "{text}");
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
    fn findings_of_checks(checks: &str) -> String {
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
        let kinds = check.steps.iter().map(|step| match &step.action {
            Action::Http { method, path, status, .. } => format!("{method} {path} {status}"),
            Action::Mcp { path, tool, .. } => format!("{tool} {path}"),
            Action::Tcp { send } => format!("{send:?}"),
            Action::Sql { query } => query.clone(),
            Action::HelmTest { release } => format!("{release:?}"),
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
        let text = findings_of_checks(checks);
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
