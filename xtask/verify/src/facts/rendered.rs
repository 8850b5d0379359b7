//! What helm makes of the profile's releases, and what of their values takes effect.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::facts::files;
use crate::rules::{ChartFiles, RELEASE_LABEL, RenderedRelease, SAMPLE, SERVICE_LABEL, label};
use xtask::live;
use xtask::run::context::Context;
use xtask::stages::render::{RenderInputs, Staged, stage};
use xtask::stages::values::LIBRARY;
use xtask::tools::helm;
use xtask::tools::helm::Chart;

const HOOK: &str = "helm.sh/hook";
const PLACEHOLDER: &str = "CHANGE_ME";

/// A release with its chart, and what was staged for it, which others may give to helm again.
pub struct Gathered {
    pub rendered: RenderedRelease,
    pub chart: ChartFiles,
    pub staged: Staged,
}

pub fn gather(ctx: &Context, release: &str, known: &RenderInputs) -> Result<Gathered> {
    let staged = stage(ctx, release, known)?;
    let about = &ctx.config.releases[release];
    let scope = ctx.scope(release);
    let helm_of = |values: &[String]| {
        let chart = Chart { release, folder: &staged.folder, values };
        ctx.run(helm::template(&scope.target, &chart, &ctx.config.cluster.kubernetes))
    };
    // Rendered over the release's own values: what it takes, and what helm says where it refuses.
    let over = |name: &str, more: &Value| -> Result<Result<Vec<Value>, String>> {
        let file = ctx.staging(release).join(format!("validate-{name}.json"));
        fs::write(&file, more.to_string())?;
        let values: Vec<String> = staged.values.iter().cloned().chain([file.display().to_string()]).collect();
        let chart = Chart { release, folder: &staged.folder, values: &values };
        let answer = ctx.output(helm::template(&scope.target, &chart, &ctx.config.cluster.kubernetes))?;
        fs::remove_file(&file)?;
        Ok(match answer.success {
            true => Ok(live::objects_in(&answer.stdout)?),
            false => Err(refusal(&answer.tail)),
        })
    };
    let all = live::objects_in(&helm_of(&staged.values)?)?;
    let (hooks, objects): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|object| object["metadata"]["annotations"][HOOK].is_string());

    let keys: Vec<&str> = ctx.config.secrets.get(&about.secret).into_iter().flat_map(|secret| secret.keys()).collect();
    let mut made_secrets = BTreeMap::new();
    for (field, values) in secret_values(&keys) {
        let message = over(field, &values)?;
        // A certificate may be among them, which isn't made of values.
        let own = |object: &Value| object["kind"] == "Secret" && object["metadata"]["name"] == about.secret.as_str();
        let secrets = message.map(|objects| objects.into_iter().filter(own).collect());
        made_secrets.insert(field.to_string(), secrets);
    }
    let placeholder = match keys.first() {
        Some(key) => {
            let message = over("placeholder", &json!({"secret": {"create": true, "values": {*key: PLACEHOLDER}}}))?;
            Some((key.to_string(), message.err()))
        }
        None => None,
    };

    let folder = Path::new(&staged.folder);
    let services: Vec<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment" && label(object, RELEASE_LABEL) == Some(release))
        .filter_map(|object| label(object, SERVICE_LABEL))
        .collect();
    let turned = over("knobs", &turned_knobs(&services, !staged.is_umbrella))?;
    let mut knobs = BTreeMap::new();
    for service in &services {
        knobs.extend(effects(service, turned.as_deref().unwrap_or_default()));
    }

    let chart = Chart { release, folder: &staged.folder, values: &staged.values };
    let lint = ctx.output(helm::lint_release(&scope.target, &chart))?;
    let quiet = helm::lint_is_silent(lint.success, &lint.tail);
    let chart = ChartFiles {
        described: files::yaml(&folder.join("Chart.yaml")),
        files: files::under(folder)?,
        values: all_values(folder, &folder.join("charts").join(LIBRARY), &staged.values),
        lint: if quiet { String::new() } else { lint.tail },
        knobs,
        refused: turned.err(),
    };
    let tags = about.services.iter().filter_map(|name| Some((name.clone(), known.tags.get(name)?.clone()))).collect();
    let namespace = scope.target.namespace.clone();
    let rendered = RenderedRelease { namespace, objects, hooks, tags, made_secrets, placeholder };
    Ok(Gathered { rendered, chart, staged })
}

/// The chart's own values and the files over them, later ones winning, as helm merges them; under a service's, what the
/// library chart says for every service, and the chart for every image, as the library lays them.
fn all_values(folder: &Path, library: &Path, over: &[String]) -> Value {
    let mut values = files::yaml(&folder.join("values.yaml"));
    over.iter().for_each(|file| lay_over(&mut values, files::yaml(Path::new(file))));
    let mut common = files::yaml(&library.join("values.yaml"));
    lay_over(&mut common, values["library"].clone());
    let mut images = common.clone();
    lay_over(&mut images, json!({ "image": values["image"] }));
    let complete = |common: &Value, said: &mut Value| {
        let over = std::mem::replace(said, common.clone());
        lay_over(said, over);
    };
    match values.get_mut("services").and_then(Value::as_object_mut) {
        Some(services) => services.values_mut().for_each(|service| complete(&images, service)),
        None => complete(&common, &mut values),
    }
    values
}

/// A null takes away what is below it.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match value {
                    Value::Null => drop(below.remove(&key)),
                    value => lay_over(below.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (_, Value::Null) => {}
        (below, above) => *below = above,
    }
}

/// Helm's own words for why it refuses.
pub fn refusal(tail: &str) -> String {
    match tail.split_once("Error: ").map(|(_, error)| error.lines()) {
        // What a schema refuses stands in the lines that follow.
        Some(mut lines) => {
            let first = lines.next().unwrap_or_default();
            let rest: Vec<&str> = if first.ends_with(':') { lines.map(str::trim).collect() } else { Vec::new() };
            [&[first], rest.as_slice()].concat().join(" ").trim().to_string()
        }
        None => tail.lines().last().unwrap_or("it says nothing").to_string(),
    }
}

/// Values by which a chart makes its Secret, with the field that it writes: the one way as data model "static" has it,
/// `secrets.databaseUrl`, the other by the chart's own name for it.
fn secret_values(keys: &[&str]) -> [(&'static str, Value); 2] {
    let short: serde_json::Map<_, _> = keys.iter().map(|key| (camel_case(key), json!(SAMPLE))).collect();
    let long: serde_json::Map<_, _> = keys.iter().map(|key| (key.to_string(), json!(SAMPLE))).collect();
    [
        ("data", json!({"secret": {"field": "data"}, "secrets": short})),
        ("stringData", json!({"secret": {"create": true, "field": "stringData", "values": long}})),
    ]
}

/// `DATABASE_URL` as `databaseUrl`.
fn camel_case(key: &str) -> String {
    let mut words = key.split('_').map(str::to_lowercase);
    let first = words.next().unwrap_or_default();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        name.chars().chain(capital).chain(letters).collect()
    })
}

/// All knobs of all services turned at once, each to a value that nobody would choose, where data model "static" has
/// them: `backend.image.tag`, without `services`.
fn turned_knobs(services: &[&str], single: bool) -> Value {
    let one = json!({
        "replicaCount": 2,
        "image": {"repository": "turned/repository", "tag": "9.8.7-turned", "pullPolicy": "Always"},
        "service": {"type": "LoadBalancer", "port": 4321},
        "resources": {"requests": {"cpu": "11m", "memory": "12Mi"}, "limits": {"cpu": "21m", "memory": "22Mi"}},
        "nodeSelector": {"turned": "yes"},
        "tolerations": [{"key": "turned", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 7, "preference": {"matchExpressions": [{"key": "turned", "operator": "Exists"}]}}]}},
        "env": {"TURNED": "yes"},
    });
    match single {
        true => one,
        false => {
            json!(services.iter().map(|name| (name.to_string(), one.clone())).collect::<serde_json::Map<_, _>>())
        }
    }
}

/// Knob, as in `backend image.tag`, to whether the objects show its new value.
fn effects(service: &str, objects: &[Value]) -> Vec<(String, bool)> {
    let of = |kind: &str| {
        let found =
            objects.iter().find(|object| object["kind"] == kind && label(object, SERVICE_LABEL) == Some(service));
        found.cloned().unwrap_or_default()
    };
    let (deployment, found) = (of("Deployment"), of("Service"));
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let image = container["image"].as_str().unwrap_or_default();
    let holds = |value: &Value, word: &str| value.to_string().contains(word);
    [
        ("replicaCount", deployment["spec"]["replicas"] == 2),
        ("image.repository", image.contains("turned/repository:")),
        ("image.tag", image.ends_with(":9.8.7-turned")),
        ("image.pullPolicy", container["imagePullPolicy"] == "Always"),
        ("service.type", found["spec"]["type"] == "LoadBalancer"),
        ("service.port", found["spec"]["ports"][0]["port"] == 4321),
        ("resources.requests", container["resources"]["requests"]["cpu"] == "11m"),
        ("resources.limits", container["resources"]["limits"]["memory"] == "22Mi"),
        ("nodeSelector", pod["nodeSelector"]["turned"] == "yes"),
        ("tolerations", holds(&pod["tolerations"], "turned")),
        ("affinity", holds(&pod["affinity"], "turned")),
        ("env", holds(&container["env"], "TURNED")),
    ]
    .into_iter()
    .map(|(knob, takes)| (format!("{service} {knob}"), takes))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entities::container::PullPolicy;
    use crate::entities::deployment::Replicas;
    use crate::entities::ports::{NodePort, Port};
    use crate::entities::values::Values;
    use xtask::config;
    use xtask::config::ConfigFile;

    #[test]
    fn a_knob_takes_effect_where_its_value_shows() {
        let labels = json!({"app.kubernetes.io/name": "backend"});
        let objects = [
            json!({"kind": "Deployment", "metadata": {"labels": labels}, "spec": {"replicas": 2, "template": {"spec": {
                "nodeSelector": {"turned": "no"}, "containers": [{"image": "r/turned/repository:1"}]}}}}),
            json!({"kind": "Service", "metadata": {"labels": labels}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
        ];
        let taken: Vec<String> =
            effects("backend", &objects).into_iter().filter(|(_, takes)| *takes).map(|(knob, _)| knob).collect();
        assert_eq!(taken, ["backend replicaCount", "backend image.repository", "backend service.type"]);
        assert!(effects("backend", &[]).iter().all(|(_, takes)| !takes));
    }

    #[test]
    fn knobs_stand_where_the_chart_has_its_services() {
        assert_eq!(turned_knobs(&["a"], true)["replicaCount"], 2);
        assert_eq!(turned_knobs(&["a"], false)["a"]["replicaCount"], 2);
        assert_eq!(camel_case("BETTER_AUTH_SECRET"), "betterAuthSecret");
        assert_eq!(camel_case("KEY"), "key");
    }

    #[test]
    fn later_values_win_and_tables_are_merged() {
        let mut values = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        lay_over(&mut values, json!({"a": {"b": 3}, "d": [4], "e": {"f": 5}}));
        assert_eq!(values, json!({"a": {"b": 3, "c": 2}, "d": [4], "e": {"f": 5}}));
        lay_over(&mut values, json!({"a": {"b": null}, "e": null}));
        assert_eq!(values, json!({"a": {"c": 2}, "d": [4]}));
    }

    #[test]
    fn a_services_values_are_complete_and_those_of_all_profiles_can_be_meant() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let base = std::fs::read_to_string(root.join("xtask.toml")).unwrap();
        let mut read = BTreeMap::new();
        for profile in ["compact", "dev", "microservices", "nodeport", "rolling", "static"] {
            let file = format!("k8s/profiles/{profile}.toml");
            let over = std::fs::read_to_string(root.join(&file)).unwrap();
            let (base, over) =
                (ConfigFile { file: "xtask.toml", text: &base }, ConfigFile { file: file.as_str(), text: &over });
            let config = config::parse_config(profile, base, over, &|_| true).unwrap();
            for release in config.releases.values() {
                let over: Vec<String> =
                    release.values.iter().map(|file| root.join(file).display().to_string()).collect();
                let all = all_values(&root.join(&release.chart), &root.join("helm").join(LIBRARY), &over);
                for service in &release.services {
                    let said = all["services"].get(service).unwrap_or(&all);
                    let values = Values::from_object(said).unwrap_or_else(|why| panic!("{profile} {service}: {why:?}"));
                    read.insert(format!("{profile} {service}"), values);
                }
            }
        }
        let rolling = &read["rolling backend"];
        assert_eq!((rolling.replicas, rolling.port), (Replicas::new(2).ok(), Port::new(8000).ok()));
        // Of the chart, for all its images, and of the library, for what nobody else speaks of.
        assert_eq!(rolling.image.pull_policy, Some(PullPolicy::Never));
        assert!(rolling.resources.requests().ephemeral_storage.is_some());
        assert_eq!(read["compact frontend"].service.node_port, None);
        assert_eq!(read["microservices backend"].service.node_port, NodePort::new(30081).ok());
    }

    #[test]
    fn a_refusal_is_helms_own_line() {
        assert_eq!(refusal("walk.go:1\nError: execution error: no\n\nUse --debug"), "execution error: no");
        assert_eq!(refusal(""), "it says nothing");
        let schema = "Error: values are wrong in:\ntodo:\n- at '/a': missing property 'port'\n\n";
        assert_eq!(refusal(schema), "values are wrong in: todo: - at '/a': missing property 'port'");
    }
}
