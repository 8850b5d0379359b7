//! The objects that a GitOps controller applies: for each release its chart in the registry, by version, and its values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::package::chart;
use crate::package::chart::Chart;
use xtask::cli::Controller;
use xtask::config::{Config, Delivery};
use xtask::stages::namespace::{LEVELS, POD_SECURITY};

const ARGO_CD: &str = "argocd";
const FLUX: &str = "flux";
/// The folders that a package may have for them.
pub const FOLDERS: [&str; 2] = [ARGO_CD, FLUX];
/// Where Argo CD is looked for, as its own manifests install it.
const ARGO_CD_NAMESPACE: &str = "argocd";
/// How often Flux looks whether the cluster is as it should be.
const INTERVAL: &str = "10m";
/// What a chart is in a registry.
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

pub fn name(controller: Controller) -> String {
    match controller {
        Controller::Argocd => ARGO_CD,
        Controller::Flux => FLUX,
    }
    .to_string()
}

/// The files for a controller, by their paths in the package. Charts and values are by release.
pub fn objects(
    config: &Config,
    controller: &str,
    registry: &str,
    charts: &BTreeMap<String, Chart>,
    values: &BTreeMap<String, Value>,
) -> Vec<(String, Vec<Value>)> {
    let waves: Vec<Vec<&str>> = config.release_waves();
    let wave = |release: &str| waves.iter().position(|wave| wave.contains(&release)).unwrap_or_default();
    let mut files = Vec::new();
    if controller == FLUX {
        let releases: Vec<&str> = charts.keys().map(String::as_str).collect();
        let namespaces = config.namespaces_of(&releases).into_iter().map(|name| namespace(&name)).collect();
        files.push((format!("{FLUX}/namespaces.yaml"), namespaces));
    }
    for (release, chart) in charts {
        let about = Release { config, release, registry, chart, values: &values[release] };
        let objects = match controller {
            FLUX => flux(&about),
            _ => vec![application(&about, wave(release))],
        };
        files.push((format!("{controller}/{release}.yaml"), objects));
    }
    files
}

struct Release<'a> {
    config: &'a Config,
    release: &'a str,
    registry: &'a str,
    chart: &'a Chart,
    values: &'a Value,
}

impl Release<'_> {
    fn namespace(&self) -> &str {
        &self.config.releases[self.release].namespace
    }
}

/// The labels that hold a namespace to the level that `up` gives its own.
fn levels() -> BTreeMap<&'static str, &'static str> {
    LEVELS.into_iter().map(|level| (level, POD_SECURITY)).collect()
}

fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": levels() } })
}

/// Applications are in one namespace, whatever namespaces their releases are in: the name says both.
fn application(about: &Release, wave: usize) -> Value {
    let (namespace, release) = (about.namespace(), about.release);
    let name = if namespace == release { release.to_string() } else { format!("{namespace}-{release}") };
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": name,
            "namespace": ARGO_CD_NAMESPACE,
            "labels": { "app.kubernetes.io/part-of": about.config.project },
            "annotations": { "argocd.argoproj.io/sync-wave": wave.to_string() },
        },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": chart::place(about.registry),
                "chart": about.chart.name,
                "targetRevision": about.chart.version,
                "helm": { "releaseName": release, "valuesObject": about.values },
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": namespace },
            "syncPolicy": {
                "automated": { "prune": true, "selfHeal": true },
                "managedNamespaceMetadata": { "labels": levels() },
                "syncOptions": ["CreateNamespace=true"],
            },
        },
    })
}

fn flux(about: &Release) -> Vec<Value> {
    let metadata = json!({ "name": about.release, "namespace": about.namespace() });
    let mut source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": metadata,
        "spec": {
            "interval": INTERVAL,
            "url": format!("oci://{}/{}", chart::place(about.registry), about.chart.name),
            "ref": { "tag": about.chart.tag() },
            "layerSelector": { "mediaType": CHART_LAYER, "operation": "copy" },
        },
    });
    if let Some(Delivery::Push { pull_secret: Some(name), .. }) = about.config.remote().map(|(_, one)| &one.delivery) {
        source["spec"]["secretRef"] = json!({ "name": name });
    }
    let needs = about.config.releases[about.release].needs.iter();
    let needs: Vec<Value> =
        needs.map(|name| json!({ "name": name, "namespace": about.config.releases[name].namespace })).collect();
    let release = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": metadata,
        "spec": {
            "interval": INTERVAL,
            "releaseName": about.release,
            "chartRef": { "kind": "OCIRepository", "name": about.release },
            "dependsOn": needs,
            "driftDetection": { "mode": "enabled" },
            "values": about.values,
        },
    });
    vec![source, release]
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::config::{ConfigFile, parse_config};

    fn config() -> Config {
        let base = concat!(
            include_str!("../../../../xtask.toml"),
            "\n[targets.team]\nkubeconfig = \"t\"\ncontext = \"t\"\nregistry = \"r.example.org/todo\"\npull_secret = \"pull\"\n"
        );
        let profile = include_str!("../../../../k8s/profiles/microservices.toml");
        let file = |file, text| ConfigFile { file, text };
        let (base, profile) = (file("xtask.toml", base), file("microservices.toml", profile));
        let mut config = parse_config("microservices", base, profile, &|_| true).unwrap();
        config.target = Some("team".to_string());
        config
    }

    fn made(controller: &str) -> Vec<(String, Vec<Value>)> {
        let config = config();
        let chart = |name: &String| Chart { name: name.clone(), version: "1.0.0+h0af".into(), archive: Vec::new() };
        let charts = config.releases.keys().map(|name| (name.clone(), chart(name))).collect();
        let values = config.releases.keys().map(|name| (name.clone(), json!({ "of": name }))).collect();
        objects(&config, controller, "r.example.org/todo", &charts, &values)
    }

    #[test]
    fn argo_cd_gets_an_application_for_each_release_after_those_that_it_needs() {
        let config = config();
        let files = made(ARGO_CD);
        assert_eq!(files.len(), config.releases.len());
        let wave = |release: &str| {
            let (_, objects) = files.iter().find(|(path, _)| *path == format!("argocd/{release}.yaml")).unwrap();
            let wave = objects[0]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].as_str().unwrap();
            wave.parse::<usize>().unwrap()
        };
        let needing: Vec<_> = config.releases.iter().filter(|(_, about)| !about.needs.is_empty()).collect();
        assert!(!needing.is_empty());
        for (name, about) in needing {
            assert!(about.needs.iter().all(|needed| wave(needed) < wave(name)), "{name}");
        }
        for (_, objects) in &files {
            let source = &objects[0]["spec"]["source"];
            let place = (&source["repoURL"], &source["targetRevision"]);
            assert_eq!(place, (&json!("r.example.org/todo/charts"), &json!("1.0.0+h0af")));
            assert_eq!(source["helm"]["valuesObject"]["of"], source["chart"]);
            assert_eq!(source["helm"]["releaseName"], source["chart"]);
        }
    }

    #[test]
    fn flux_gets_a_source_and_a_release_that_waits_for_what_it_needs() {
        let config = config();
        let files = made(FLUX);
        let (path, namespaces) = &files[0];
        assert_eq!(path, "flux/namespaces.yaml");
        assert_eq!(namespaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        for (path, objects) in &files[1..] {
            let [source, release] = objects.as_slice() else { panic!("{path}: {objects:?}") };
            let name = release["metadata"]["name"].as_str().unwrap();
            assert_eq!(source["spec"]["url"], format!("oci://r.example.org/todo/charts/{name}"));
            assert_eq!(
                (&source["spec"]["ref"]["tag"], &source["spec"]["secretRef"]["name"]),
                (&json!("1.0.0_h0af"), &json!("pull"))
            );
            assert_eq!(release["spec"]["chartRef"]["name"], source["metadata"]["name"]);
            let needs: Vec<&str> = release["spec"]["dependsOn"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            assert_eq!(needs, config.releases[name].needs, "{name}");
        }
    }
}
