//! What helm makes of a release's chart and values, without a cluster and without images.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::config::{
    Config, ConfigError, ConfigErrors, Delivery, Node, NodePort, Place, Reach, Value as Tree, to_json, yaml,
};
use crate::live;
use crate::run::answers::{Answers, key_of_program};
use crate::run::context::{Project, Scope};
use crate::run::digest::Content;
use crate::run::exit::Stop;
use crate::run::files::list_files_behind_links;
use crate::run::process;
use crate::secrets::overrides;
use crate::secrets::overrides::Overrides;
use crate::stages::values::{LIBRARY, Sources, explain_schema};
use crate::tools::helm;
use crate::tools::helm::Chart;

/// What a template asks of the world outside of its chart and values.
const OUTSIDE: [&str; 4] = ["now", "ago", "htmlDate", "getHostByName"];

/// A release as helm would apply it.
pub struct Rendered {
    pub release: String,
    pub namespace: String,
    /// The manifest that helm would apply.
    pub yaml: String,
    /// What helm would run or make beside it: the test, and what is made once.
    pub hooks: String,
}

/// A chart that is ready for helm: the folder and the values files over it.
pub struct Staged {
    pub folder: String,
    pub values: Vec<String>,
    pub is_umbrella: bool,
    /// Where the values come from, to name the place of a refused one.
    pub sources: Sources,
}

/// What is only known once something was built or observed.
pub struct RenderInputs<'a> {
    /// Service to tag, with the digest behind it where the image comes from a registry.
    pub tags: &'a BTreeMap<String, String>,
    /// Service to node port.
    pub node_ports: &'a BTreeMap<String, u16>,
    pub secret_version: &'a str,
    pub overrides: &'a Overrides,
}

/// Reads the override file. A value that the configuration sets over it would be lost: it is an error with its place, and
/// with the place to change it.
pub fn read_overrides(project: &Project) -> Result<Overrides> {
    let (overrides, config) = (overrides::read_overrides(project)?, &project.config);
    let (tags, fixed) = known_beforehand(config);
    // A port that is chosen later is set all the same.
    let with_port =
        config.services.iter().filter(|(_, service)| service.node_port.is_some() && config.target.is_none());
    let mut node_ports: BTreeMap<String, u16> = with_port.map(|(name, _)| (name.clone(), 0)).collect();
    node_ports.extend(fixed);
    let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: "", overrides: &overrides };
    let mut problems = Vec::new();
    for (release, tree) in &overrides.trees {
        let is_umbrella = is_umbrella(&project.root.join(&config.releases[release].chart))?;
        let made = values_of(config, release, is_umbrella, &known);
        for (path, place) in lost(tree, &made) {
            let setter = origin(config, release, is_umbrella, &path);
            let message = match setter {
                Some(setter) => format!("{path} has no effect, as {setter} sets it: change it there"),
                None => format!("{path} has no effect, as cargo xtask up sets it: leave it out"),
            };
            problems.push(ConfigError { place, message });
        }
    }
    if problems.is_empty() { Ok(overrides) } else { Err(ConfigErrors(problems).into()) }
}

/// The values of a file that others are laid over, and are not the same: path and place.
fn lost(file: &Node, over: &Value) -> Vec<(String, Place)> {
    match (&file.value, over) {
        (Tree::Table(entries), Value::Object(over)) => entries
            .iter()
            .filter_map(|(key, node)| Some((key, lost(node, over.get(key)?))))
            .flat_map(|(key, found)| {
                let path = |path: String| if path.is_empty() { key.clone() } else { format!("{key}.{path}") };
                found.into_iter().map(|(inner, place)| (path(inner), place)).collect::<Vec<_>>()
            })
            .collect(),
        _ if to_json(file) == *over => Vec::new(),
        _ => vec![(String::new(), file.place.clone())],
    }
}

/// Renders every release with the plain version as tag and the node ports that the configuration fixes.
pub fn render(project: &Project, overrides: &Overrides) -> Result<Vec<Rendered>> {
    stage_all(project, overrides)?.iter().map(|(name, staged)| render_one(project, name, staged)).collect()
}

/// What is known without a look at anything: the plain version as tag, and the node ports that are fixed.
pub fn known_beforehand(config: &Config) -> (BTreeMap<String, String>, BTreeMap<String, u16>) {
    let tags = config.services.keys().map(|name| (name.clone(), config.version.clone())).collect();
    let fixed = |port| match port {
        Some(NodePort::Fixed(port)) => Some(port),
        _ => None,
    };
    let ports = config.services.iter().filter(|_| config.target.is_none());
    let ports = ports.filter_map(|(name, about)| Some((name.clone(), fixed(about.node_port)?)));
    (tags, ports.collect())
}

/// Puts every release together as `render` does, by its name.
pub fn stage_all(project: &Project, overrides: &Overrides) -> Result<BTreeMap<String, Staged>> {
    let (tags, node_ports) = known_beforehand(&project.config);
    let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: "", overrides };
    project.config.releases.keys().map(|name| Ok((name.clone(), stage(project, name, &known)?))).collect()
}

pub fn render_one(project: &Project, release: &str, staged: &Staged) -> Result<Rendered> {
    let scope = project.scope(release);
    let (answers, name) = (Answers::new(&project.folders.cache), format!("{}.{release}", scope.target.namespace));
    let key = key_of(project, &scope, staged)?;
    let kept = key.as_ref().and_then(|key| answers.find(&name, key));
    let yaml = match kept {
        Some(yaml) => yaml,
        None => {
            // What is random in it shows between two of them, and is rendered anew each time.
            let (yaml, again) = std::thread::scope(|threads| {
                let again = key.as_ref().map(|_| threads.spawn(|| template(project, &scope, staged)));
                let yaml = template(project, &scope, staged);
                (yaml, again.and_then(|again| again.join().expect("rendering does not panic").ok()))
            });
            let yaml = yaml?;
            if let Some(key) = key.filter(|_| again.as_ref() == Some(&yaml)) {
                answers.keep(&name, &key, &yaml);
            }
            yaml
        }
    };
    let (hooks, yaml) = split_hooks(&yaml);
    Ok(Rendered { release: release.to_string(), namespace: scope.target.namespace, yaml, hooks })
}

fn template(project: &Project, scope: &Scope, staged: &Staged) -> Result<String> {
    let chart = Chart { release: &scope.release, folder: &staged.folder, values: &staged.values };
    let template = helm::template(&scope.target, &chart, &project.config.cluster.kubernetes);
    let command_line = template.text();
    match project.spawn.attempt(template)? {
        Ok(yaml) => Ok(yaml),
        Err(output) => match explain_schema(project, &staged.sources, &output.tail)? {
            Some(errors) => Err(errors.into()),
            None => Err(process::failure(&command_line, &output)),
        },
    }
}

/// All that helm's rendering depends on: the program, its arguments, the chart and the values. None where that is not all, as
/// with a helm that is a script, or a chart that asks for the time.
fn key_of(project: &Project, scope: &Scope, staged: &Staged) -> Result<Option<String>> {
    let helm = project.spawn.programs.get("helm").and_then(|path| key_of_program(Path::new(path), &[]));
    let Some(helm) = helm.filter(|_| !asks_for_outside(Path::new(&staged.folder))) else { return Ok(None) };
    let interrupt = &project.spawn.interrupt;
    let words = [&helm, &scope.release, &scope.target.namespace, &project.config.cluster.kubernetes];
    let mut content = words.into_iter().fold(Content::default(), |content, word| content.word(word));
    content = content.files(Path::new(&staged.folder), &[PathBuf::from(".")], interrupt)?;
    for file in &staged.values {
        let file = Path::new(file);
        let name = PathBuf::from(file.file_name().unwrap_or_default());
        content = content.files(file.parent().unwrap_or(Path::new("/")), &[name], interrupt)?;
    }
    Ok(Some(content.short()))
}

/// Whether a chart may render otherwise tomorrow, or elsewhere, with the same values.
fn asks_for_outside(chart: &Path) -> bool {
    let asks = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| OUTSIDE.contains(&word));
    let files = list_files_behind_links(chart, &[PathBuf::from(".")]).unwrap_or_default();
    let templates = files.iter().filter(|file| file.components().any(|part| part.as_os_str() == "templates"));
    templates.into_iter().any(|file| fs::read_to_string(chart.join(file)).map_or(true, |text| asks(&text)))
}

/// Hooks and the rest of what helm rendered. Helm 4 ends a document with an empty line more than helm 3 does.
pub fn split_hooks(yaml: &str) -> (String, String) {
    let documents = yaml.split("---\n").filter(|document| !document.trim().is_empty());
    let (hooks, rest): (Vec<&str>, Vec<&str>) =
        documents.partition(|document| document.lines().any(is_hook_annotation));
    let join =
        |documents: Vec<&str>| documents.iter().map(|document| format!("---\n{}\n", document.trim_end())).collect();
    (join(hooks), join(rest))
}

/// Whether a line of a manifest is the annotation of a hook, quoted or not.
fn is_hook_annotation(line: &str) -> bool {
    let Some((key, _)) = line.strip_prefix("    ").and_then(|rest| rest.split_once(": ")) else { return false };
    matches!(key, "helm.sh/hook" | "\"helm.sh/hook\"" | "'helm.sh/hook'")
}

/// Puts chart and values of a release together.
pub fn stage(project: &Project, name: &str, known: &RenderInputs) -> Result<Staged> {
    let release = &project.config.releases[name];
    let staging = project.staging(name);
    let folder = staging.join("chart");
    stage_chart(&project.root.join(&release.chart), &folder)?;
    let tag = release.services.first().and_then(|service| known.tags.get(service)).map_or("", String::as_str);
    let tag = tag.split('@').next().unwrap_or_default();
    let app_version = release.app_version.as_ref().map(|text| text.replace("{tag}", tag));
    let described = folder.join("Chart.yaml");
    let text = fs::read_to_string(&described)?;
    fs::write(&described, set_chart_identity(&text, release.chart_name.as_deref(), app_version.as_deref()))?;

    let mut values: Vec<String> = release.values.iter().map(|file| project.path(file)).collect();
    let is_umbrella = is_umbrella(&folder)?;
    if is_umbrella {
        refuse_short_values(project, &release.values)?;
    }
    for (file, content) in [
        ("override.json", known.overrides.values.get(name).cloned()),
        ("values.json", Some(values_of(&project.config, name, is_umbrella, known))),
    ] {
        if let Some(content) = content {
            let path = staging.join(file);
            fs::write(&path, serde_json::to_string_pretty(&content)?)?;
            values.push(path.display().to_string());
        }
    }
    let overrides = known.overrides.trees.get(name).cloned();
    let sources = Sources { chart: release.chart.clone(), values: release.values.clone(), overrides };
    Ok(Staged { folder: folder.display().to_string(), values, is_umbrella, sources })
}

fn refuse_short_values(project: &Project, files: &[PathBuf]) -> Result<()> {
    let of_file = |file: &PathBuf| {
        let text = fs::read_to_string(project.root.join(file)).unwrap_or_default();
        // What can't be read is an error of helm's.
        yaml::parse_one(&file.display().to_string(), &text).ok().map(|root| short_values(&project.config, &root))
    };
    let problems: Vec<ConfigError> = files.iter().filter_map(of_file).flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigErrors(problems).into()) }
}

/// What stands of a service at the top of a values file, the short way for the command line: it would win over what a build
/// and xtask.toml set.
fn short_values(config: &Config, root: &Node) -> Vec<ConfigError> {
    let Tree::Table(entries) = &root.value else { return Vec::new() };
    let short = entries.iter().filter(|(name, _)| config.services.contains_key(*name));
    let problem = |(name, node): (&String, &Node)| ConfigError {
        place: node.place.clone(),
        message: format!("{name}: write services.{name}, as this would win over what xtask.toml says"),
    };
    short.map(problem).collect()
}

/// A copy of a chart with the library chart in it, which is how helm wants to find it; the tracked files stay as
/// they are.
pub fn stage_chart(chart: &Path, staged: &Path) -> Result<()> {
    if staged.exists() {
        fs::remove_dir_all(staged)?;
    }
    copy(chart, staged)?;
    let library = chart.with_file_name(LIBRARY);
    if library.is_dir() {
        copy(&library, &staged.join("charts").join(LIBRARY))?;
    }
    Ok(())
}

/// An umbrella has its services under `services`; the values of a chart of its own are one service.
pub fn is_umbrella(chart: &Path) -> Result<bool> {
    let file = chart.join("values.yaml");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let values =
        yaml::parse_one(&file.display().to_string(), &text).map_err(|problem| Stop::failed(problem.to_string()))?;
    Ok(to_json(&values).get("services").is_some())
}

/// Chart.yaml with another name and appVersion.
fn set_chart_identity(text: &str, name: Option<&str>, app_version: Option<&str>) -> String {
    let line = |line: &str| match (line.split_once(':').map(|(key, _)| key), name, app_version) {
        (Some("name"), Some(name), _) => format!("name: {name}\n"),
        (Some("appVersion"), _, Some(version)) => format!("appVersion: \"{version}\"\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What the configuration says about a release's services, as values over the chart's own.
pub fn values_of(config: &Config, name: &str, is_umbrella: bool, known: &RenderInputs) -> Value {
    let release = &config.releases[name];
    let secret = (!release.secret.is_empty())
        .then(|| json!({ "name": release.secret, "create": false, "version": known.secret_version }));
    let remote = config.remote().map(|(_, remote)| remote);
    let delivery = remote.map(|remote| &remote.delivery);
    // A port of every node is opened only where a target is reached by it.
    let is_closed = remote.is_some_and(|remote| !matches!(remote.reach, Reach::NodePort { .. }));
    let service_values = |service: &String| {
        let about = &config.services[service];
        let repository = config.repository(&about.image);
        let mut value =
            json!({ "image": { "repository": repository, "tag": known.tags[service] }, "port": about.port });
        if let Some(Delivery::Push { pull_secret, .. }) = delivery {
            // What is pinned by its digest is the same wherever it was pulled.
            value["image"]["pullPolicy"] = "IfNotPresent".into();
            if let Some(name) = pull_secret {
                value["imagePullSecrets"] = json!([name]);
            }
        }
        if let Some(user) = &about.user {
            value["runAsUser"] = user.id.into();
        }
        if let Some(probes) = &about.probes {
            value["probes"] =
                json!({ "liveness": { "path": probes.liveness }, "readiness": { "path": probes.readiness } });
        }
        if let Some(port) = known.node_ports.get(service).copied().or_else(|| fixed_port(config, service)) {
            value["service"] = json!({ "nodePort": port });
        } else if is_closed && about.node_port.is_some() {
            value["service"] = json!({ "type": "ClusterIP" });
        }
        if let Some(host) = ingress_host(config, service) {
            value["ingress"] = json!({ "enabled": true, "host": host });
        }
        value
    };
    match (is_umbrella, release.services.as_slice()) {
        (false, [service]) => {
            let mut value = service_values(service);
            value["name"] = service.as_str().into();
            if let Some(secret) = secret {
                value["secret"] = secret;
            }
            value
        }
        _ => {
            let services = config.services.keys().map(|service| match release.services.contains(service) {
                true => (service.clone(), service_values(service)),
                false => (service.clone(), json!({ "enabled": false })),
            });
            let mut value = json!({ "services": services.collect::<serde_json::Map<_, _>>() });
            if let Some(secret) = secret {
                value["secret"] = secret;
            }
            value
        }
    }
}

/// The host of the Ingress by which a target reaches a service, if that is the one to open.
fn ingress_host(config: &Config, service: &str) -> Option<String> {
    let Reach::Ingress { .. } = &config.remote()?.1.reach else { return None };
    let url = live::ingress_url(config, service)?;
    let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    host.split(['/', ':']).next().map(str::to_string)
}

/// The node port by which a target reaches a service, if that is the one to open and the port is not the chart's to choose.
fn fixed_port(config: &Config, service: &str) -> Option<u16> {
    let Reach::NodePort { port, .. } = config.remote()?.1.reach else { return None };
    port.filter(|_| service == config.open)
}

/// The line of the configuration from which a value follows that helm is given over all files.
pub fn origin(config: &Config, release: &str, is_umbrella: bool, path: &str) -> Option<String> {
    let (service, key) = match path.strip_prefix("services.") {
        Some(rest) => rest.split_once('.')?,
        None if !is_umbrella && !path.starts_with("secret.") => {
            (config.releases[release].services.first()?.as_str(), path)
        }
        None => (release, path),
    };
    let from = match key {
        "secret.name" => format!("releases.{release}.secret"),
        "enabled" | "name" => format!("releases.{release}.services"),
        "image.repository" => format!("services.{service}.image"),
        "image.pullPolicy" | "imagePullSecrets" | "service.type" | "ingress.enabled" | "ingress.host" => {
            format!("targets.{}", config.target.as_deref()?)
        }
        "runAsUser" => format!("services.{service}.user.id"),
        "service.nodePort" => match &config.target {
            Some(target) => format!("targets.{target}"),
            None => format!("services.{service}.node_port"),
        },
        "port" => format!("services.{service}.port"),
        "probes.liveness.path" => format!("services.{service}.probes.liveness"),
        "probes.readiness.path" => format!("services.{service}.probes.readiness"),
        _ => return None,
    };
    config.place_of(&from)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in list_files_behind_links(from, &[PathBuf::from(".")])? {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(&file), &target).with_context(|| format!("cannot copy {}", from.join(&file).display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_others_are_laid_over_are_lost_unless_they_are_the_same() {
        let text = "port: 1\nimage:\n  tag: x\n  registry: r\nprobes: null\nsame: 2\n";
        let over = json!({ "port": 2, "image": { "tag": "y" }, "probes": { "path": "/" }, "same": 2, "more": 1 });
        let found = lost(&yaml::parse_one("o.yaml", text).unwrap(), &over);
        let found: Vec<String> = found.iter().map(|(path, place)| format!("{place} {path}")).collect();
        assert_eq!(found, ["o.yaml:3:3 image.tag", "o.yaml:1:1 port", "o.yaml:5:1 probes"]);
    }

    #[test]
    fn a_service_at_the_top_of_a_values_file_is_refused_with_its_line() {
        let file = |file, text| crate::config::ConfigFile { file, text };
        let base = file("xtask.toml", include_str!("../../../xtask.toml"));
        let dev = file("dev.toml", include_str!("../../../k8s/profiles/dev.toml"));
        let config = crate::config::parse_config("dev", base, dev, &|_| true).unwrap();
        let found = |text: &str| -> Vec<String> {
            let root = yaml::parse_one("v.yaml", text).unwrap();
            short_values(&config, &root).iter().map(ConfigError::to_string).collect()
        };
        assert_eq!(found("services:\n  backend:\n    port: 1\nnames: {}\n"), [""; 0]);
        let wrong = "v.yaml:1:1: backend: write services.backend, as this would win over what xtask.toml says";
        assert_eq!(found("backend:\n  port: 1\n"), [wrong]);
    }

    #[test]
    fn hooks_are_split_from_the_manifest() {
        let pod = "kind: Pod\nmetadata:\n  annotations:\n    helm.sh/hook: test\n";
        let (hooks, rest) = split_hooks(&format!("---\nkind: Service\n---\n{pod}"));
        assert_eq!((hooks, rest), (format!("---\n{pod}"), "---\nkind: Service\n".to_string()));
        // As `helm create` writes it.
        let quoted = pod.replace("helm.sh/hook", "\"helm.sh/hook\"");
        assert_eq!(split_hooks(&quoted), (format!("---\n{quoted}"), String::new()));
        assert_eq!(split_hooks("---\nkind: Service\n\n---\nkind: Job\n\n").1, "---\nkind: Service\n---\nkind: Job\n");
    }

    #[test]
    fn a_staged_chart_gets_its_name_and_version() {
        let text = "apiVersion: v2\nname: backend\nversion: 0.1.0\nappVersion: 0.1.0\n";
        let staged = set_chart_identity(text, Some("ai-todo-backend"), Some("1.0.0-h12"));
        assert_eq!(staged, "apiVersion: v2\nname: ai-todo-backend\nversion: 0.1.0\nappVersion: \"1.0.0-h12\"\n");
        assert_eq!(set_chart_identity(text, None, None), text);
    }
}
