//! The objects with which an External Secrets operator makes the Secrets of a profile: by keys alone, without a value.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use xtask::config::{Config, ExternalSecrets, Secret, fill, placeholders};

pub const FOLDER: &str = "external-secrets";
/// How often the operator looks into the store.
const INTERVAL: &str = "1h";

/// The files, by their paths in the package; none where the target names no store.
pub fn objects(config: &Config) -> Vec<(String, Value)> {
    let Some(store) = config.remote().and_then(|(_, remote)| remote.external_secrets.as_ref()) else {
        return Vec::new();
    };
    let all = config.secrets.iter();
    all.map(|(name, secret)| (format!("{FOLDER}/{name}.yaml"), object(config, store, name, secret))).collect()
}

fn object(config: &Config, store: &ExternalSecrets, name: &str, secret: &Secret) -> Value {
    let own: Vec<&str> = secret.random.iter().chain(&secret.given).map(String::as_str).collect();
    // A value that another is made of may be one of another Secret's.
    let parts = secret.derived.values().flat_map(|template| placeholders(template));
    let keys: BTreeSet<&str> = own.iter().copied().chain(parts).collect();
    let data: Vec<Value> = keys
        .iter()
        .map(|key| {
            let (name, secret) =
                if own.contains(key) { (name, secret) } else { holder(config, key).unwrap_or((name, secret)) };
            json!({ "secretKey": key, "remoteRef": { "key": path(store, name, secret), "property": key } })
        })
        .collect();
    let mut target = json!({ "name": name, "creationPolicy": "Owner" });
    if !secret.derived.is_empty() {
        let plain = own.iter().map(|key| (key.to_string(), json!(format!("{{{{ .{key} }}}}"))));
        let derived = secret.derived.iter().map(|(key, template)| (key.clone(), json!(go_template(template))));
        let data: Map<String, Value> = plain.chain(derived).collect();
        target["template"] = json!({ "engineVersion": "v2", "mergePolicy": "Replace", "data": data });
    }
    json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": { "name": name, "namespace": secret.namespace },
        "spec": {
            "refreshInterval": INTERVAL,
            "secretStoreRef": { "kind": store.kind, "name": store.store },
            "target": target,
            "data": data,
        },
    })
}

/// The Secret whose own key this is.
fn holder<'a>(config: &'a Config, key: &str) -> Option<(&'a str, &'a Secret)> {
    let has = |secret: &Secret| secret.random.iter().chain(&secret.given).any(|own| own == key);
    config.secrets.iter().find(|(_, secret)| has(secret)).map(|(name, secret)| (name.as_str(), secret))
}

fn path(store: &ExternalSecrets, name: &str, secret: &Secret) -> String {
    let values = [("namespace", secret.namespace.as_str()), ("secret", name)];
    let values = values.map(|(key, value)| (key.to_string(), value.to_string()));
    fill(&store.path, &values.into()).unwrap_or_default()
}

/// A template of ours as the operator takes one. In a URL a value is written so that none of its characters ends it, as `up`
/// writes it.
fn go_template(template: &str) -> String {
    let escape = if template.contains("://") { " | urlquery | replace \"+\" \"%20\"" } else { "" };
    placeholders(template).into_iter().fold(template.to_string(), |text, key| {
        text.replace(&format!("{{{key}}}"), &format!("{{{{ .{key}{escape} }}}}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::config::{ConfigFile, parse_config};

    fn made(target: &str) -> Vec<(String, Value)> {
        let base = format!(
            "{}\n[targets.team]\nkubeconfig = \"t\"\ncontext = \"t\"\nregistry = \"r.example.org/todo\"\n{target}",
            include_str!("../../../../xtask.toml")
        );
        let file = |file, text| ConfigFile { file, text };
        let profile = file("dev.toml", include_str!("../../../../k8s/profiles/dev.toml"));
        let mut config = parse_config("dev", file("xtask.toml", &base), profile, &|_| true).unwrap();
        config.target = Some("team".to_string());
        objects(&config)
    }

    #[test]
    fn each_key_is_looked_up_and_what_is_derived_is_a_template_of_them() {
        assert_eq!(made(""), []);
        let store = "secrets = \"existing\"\n[targets.team.external_secrets]\nstore = \"vault\"\npath = \"kv/{namespace}/{secret}\"\n";
        let made = made(store);
        let [(file, object)] = made.as_slice() else { panic!("one Secret: {made:?}") };
        assert_eq!(file, "external-secrets/todo-chatbot-secrets.yaml");
        let spec = &object["spec"];
        assert_eq!(spec["secretStoreRef"], json!({ "kind": "ClusterSecretStore", "name": "vault" }));
        let of = |key: &str| spec["data"].as_array().unwrap().iter().find(|one| one["secretKey"] == key).cloned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap();
        let place = format!("kv/{namespace}/todo-chatbot-secrets");
        assert_eq!(of("JWT_SECRET").unwrap()["remoteRef"], json!({ "key": place, "property": "JWT_SECRET" }));
        // It is made of the password, and no store need have it.
        assert_eq!(of("DATABASE_URL"), None);
        let data = &spec["target"]["template"]["data"];
        let (before, behind) = ("postgres://todo:", "@postgres:5432/todo");
        let password = "{{ .POSTGRES_PASSWORD | urlquery | replace \"+\" \"%20\" }}";
        assert_eq!(data["DATABASE_URL"], format!("{before}{password}{behind}"));
        assert_eq!(data["OPENAI_API_KEY"], "{{ .OPENAI_API_KEY }}");
    }
}
