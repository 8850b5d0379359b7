//! The project in the words of other tools: what `up` builds and deploys, as Skaffold is given it. No I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// An image, as `docker build` is asked for it. Paths are absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    pub service: String,
    /// No name of ours, so that neither takes the other's images for its own.
    pub image: String,
    pub context: String,
    pub dockerfile: String,
    /// One without a value has that of the environment.
    pub args: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub name: String,
    /// A chart's folder with all that it includes.
    pub chart: String,
    /// A file with the values that our own release has, but for the images.
    pub values: String,
    pub services: Vec<String>,
    /// Whether values lie under `services.NAME` for each service.
    pub is_umbrella: bool,
}

pub struct Recipe {
    /// The cluster: minikube's profile, and the context of the kubeconfig.
    pub cluster: String,
    pub namespace: String,
    pub artifacts: Vec<Artifact>,
    pub releases: Vec<Release>,
    /// A CA bundle, which builds get as the secret `ca`.
    pub ca: Option<String>,
    pub rollout_s: u64,
}

/// A `skaffold.yaml`, in JSON, of which YAML is a superset.
pub fn skaffold(recipe: &Recipe) -> Value {
    let artifacts: Vec<Value> = recipe.artifacts.iter().map(|artifact| skaffold_artifact(recipe, artifact)).collect();
    let releases: Vec<Value> = recipe.releases.iter().map(|release| skaffold_release(recipe, release)).collect();
    json!({
        "apiVersion": "skaffold/v4beta13",
        "kind": "Config",
        "metadata": { "name": recipe.namespace },
        "build": {
            // There is no git repository to take a tag from.
            "tagPolicy": { "inputDigest": {} },
            "local": { "push": false, "useDockerCLI": true, "concurrency": 1 },
            "artifacts": artifacts,
        },
        "deploy": { "statusCheckDeadlineSeconds": recipe.rollout_s, "helm": { "releases": releases } },
    })
}

fn skaffold_artifact(recipe: &Recipe, artifact: &Artifact) -> Value {
    let secrets: Vec<Value> = recipe.ca.iter().map(|file| json!({ "id": "ca", "src": file })).collect();
    json!({
        "image": artifact.image,
        "context": artifact.context,
        "docker": { "dockerfile": artifact.dockerfile, "buildArgs": artifact.args, "secrets": secrets },
        "hooks": { "after": [{ "command": ["sh", "-c", skaffold_load(&recipe.cluster)] }] },
    })
}

/// Skaffold loads images into kind and k3d by itself, not into minikube's containerd. What it deploys has the image's ID as
/// its tag, and gets that only after this hook. The first folder of its PATH hides minikube.
fn skaffold_load(cluster: &str) -> String {
    format!(
        "set -e; id=$(docker image ls --no-trunc --quiet \"$SKAFFOLD_IMAGE\"); \
         final=\"${{SKAFFOLD_IMAGE%:*}}:${{id#sha256:}}\"; docker tag \"$SKAFFOLD_IMAGE\" \"$final\"; \
         PATH=\"${{PATH#*:}}\" minikube image load \"$final\" --profile {cluster}"
    )
}

fn skaffold_release(recipe: &Recipe, release: &Release) -> Value {
    let mut images = Map::new();
    for artifact in recipe.artifacts.iter().filter(|artifact| release.services.contains(&artifact.service)) {
        let key = [&image_key(release, &artifact.service)[..], &["tag"]].concat().join(".");
        let variable = artifact.image.replace('-', "_");
        images.insert(key, format!("{{{{.IMAGE_TAG_{variable}}}}}").into());
    }
    json!({
        "name": release.name,
        "namespace": recipe.namespace,
        "chartPath": release.chart,
        "valuesFiles": [release.values],
        "setValueTemplates": images,
        // The folder has them already.
        "skipBuildDependencies": true,
    })
}

/// Where the values of a release have the image of a service.
fn image_key<'a>(release: &Release, service: &'a str) -> Vec<&'a str> {
    if release.is_umbrella { vec!["services", service, "image"] } else { vec!["image"] }
}

/// The values of our own release with the peer's images in place of ours.
pub fn values(ours: &Value, release: &Release, artifacts: &[Artifact]) -> Value {
    let mut values = ours.clone();
    for artifact in artifacts.iter().filter(|artifact| release.services.contains(&artifact.service)) {
        let key = image_key(release, &artifact.service);
        // The peer says which tag it is.
        let image = json!({ "repository": artifact.image, "tag": "peer" });
        *key.iter().fold(&mut values, |place, part| &mut place[*part]) = image;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(is_umbrella: bool) -> Recipe {
        let args = [("PORT".to_string(), Some("8000".to_string())), ("HTTP_PROXY".to_string(), None)];
        let artifact = Artifact {
            service: "backend".into(),
            image: "todo-bench-backend".into(),
            context: "/copy/services".into(),
            dockerfile: "/copy/docker/backend.Dockerfile".into(),
            args: args.into(),
        };
        let release = Release {
            name: "todo".into(),
            chart: "/stage/chart".into(),
            values: "/stage/values.json".into(),
            services: vec!["backend".into()],
            is_umbrella,
        };
        Recipe {
            cluster: "mini".into(),
            namespace: "bench-peer".into(),
            artifacts: vec![artifact],
            releases: vec![release],
            ca: Some("/ca's.crt".into()),
            rollout_s: 180,
        }
    }

    #[test]
    fn skaffold_builds_what_we_build() {
        let yaml = skaffold(&recipe(true));
        let artifact = &yaml["build"]["artifacts"][0];
        assert_eq!(artifact["image"], "todo-bench-backend");
        assert_eq!(artifact["context"], "/copy/services");
        let docker = json!({
            "dockerfile": "/copy/docker/backend.Dockerfile",
            "buildArgs": { "PORT": "8000", "HTTP_PROXY": null },
            "secrets": [{ "id": "ca", "src": "/ca's.crt" }],
        });
        assert_eq!(artifact["docker"], docker);
        // Without a push the image stays with docker, from where only the hook brings it into the node.
        assert_eq!(yaml["build"]["local"]["push"], false);
        let hook = artifact["hooks"]["after"][0]["command"][2].as_str().unwrap();
        assert!(hook.ends_with("PATH=\"${PATH#*:}\" minikube image load \"$final\" --profile mini"), "{hook}");
        let without = skaffold(&Recipe { ca: None, ..recipe(true) });
        assert_eq!(without["build"]["artifacts"][0]["docker"]["secrets"], json!([]));
    }

    #[test]
    fn skaffold_deploys_our_chart_with_our_values_and_its_own_images() {
        let release = skaffold(&recipe(true))["deploy"]["helm"]["releases"][0].clone();
        let expected = json!({
            "name": "todo",
            "namespace": "bench-peer",
            "chartPath": "/stage/chart",
            "valuesFiles": ["/stage/values.json"],
            "setValueTemplates": {
                "services.backend.image.tag": "{{.IMAGE_TAG_todo_bench_backend}}",
            },
            "skipBuildDependencies": true,
        });
        assert_eq!(release, expected);
        let alone = skaffold(&recipe(false))["deploy"]["helm"]["releases"][0]["setValueTemplates"].clone();
        assert_eq!(alone["image.tag"], "{{.IMAGE_TAG_todo_bench_backend}}");
    }

    #[test]
    fn the_values_are_ours_but_for_the_images() {
        let ours = json!({
            "image": { "pullPolicy": "Never" },
            "services": { "backend": { "image": { "repository": "todo-backend", "tag": "1-h2" }, "port": 8000 } },
            "secret": { "version": "7" },
        });
        let Recipe { releases, artifacts, .. } = recipe(true);
        let mut expected = ours.clone();
        expected["services"]["backend"]["image"] = json!({ "repository": "todo-bench-backend", "tag": "peer" });
        assert_eq!(values(&ours, &releases[0], &artifacts), expected);
        let alone = json!({ "image": { "repository": "todo-backend", "tag": "1-h2" }, "port": 8000 });
        let expected = json!({ "image": { "repository": "todo-bench-backend", "tag": "peer" }, "port": 8000 });
        assert_eq!(values(&alone, &recipe(false).releases[0], &artifacts), expected);
        let others = [Artifact { service: "mcp".into(), ..artifacts[0].clone() }];
        assert_eq!(values(&ours, &releases[0], &others), ours);
    }
}
