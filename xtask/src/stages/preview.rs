//! Namespaces of branches: until when each is kept, what its pods may take in all, and which may go.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::{Config, namespace_of};
use crate::live;
use crate::model::labels::MANAGED_BY;
use crate::run::clock::now;
use crate::run::context::Context;
use crate::stages::lease;
use crate::stages::terminating::delete_namespace;
use crate::tools::kubectl;

/// The name of its ResourceQuota.
const QUOTA: &str = "preview";

/// A namespace of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub namespace: String,
    /// The branch as a label can have it.
    pub branch: String,
    /// When its time is over; seconds since 1970.
    pub expires: i64,
}

/// What is noted of a namespace for the branch that was chosen; nothing where none was.
pub fn labels(config: &Config) -> Vec<(String, String)> {
    let Some(branch) = &config.preview else { return Vec::new() };
    let expires = now() + config.previews.ttl.as_secs() as i64;
    let branch = namespace_of("{branch}", &BTreeMap::from([("branch".to_string(), branch.clone())]));
    vec![(label(config, "preview"), branch), (label(config, "expires"), expires.to_string())]
}

/// Notes that the namespace is in use, and gives it its quota.
pub fn ensure(ctx: &Context, namespace: &str) -> Result<()> {
    if ctx.config.preview.is_none() {
        return Ok(());
    }
    let target = ctx.target_in(namespace);
    let labels: Vec<String> = labels(&ctx.config).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    ctx.run(kubectl::label(&target, &format!("namespace/{namespace}"), &labels))?;
    let hard = &ctx.config.previews.quota;
    let found = live::objects(ctx, &target, &format!("resourcequota/{QUOTA}"))?.pop();
    if hard.is_empty() || found.as_ref().is_some_and(|quota| quota["spec"]["hard"] == json!(hard)) {
        return Ok(());
    }
    let labels = json!({ MANAGED_BY: ctx.config.manager() });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "spec": { "hard": hard },
        "metadata": { "name": QUOTA, "namespace": namespace, "labels": labels },
    });
    let call = if found.is_some() { kubectl::replace(&target) } else { kubectl::create(&target) };
    ctx.run(call.stdin(quota.to_string()))?;
    Ok(())
}

/// All that there are, by their namespaces.
pub fn list(ctx: &Context) -> Result<Vec<Preview>> {
    let namespaces = ctx.run(kubectl::get_everywhere(&ctx.target(), "namespaces"))?;
    Ok(namespaces.iter().filter_map(|one| read(&ctx.config, one)).collect())
}

/// Removes one with its data. Returns why it stays, where a run is at work on it.
pub fn remove(ctx: &Context, preview: &Preview) -> Result<Option<String>> {
    let holder = lease::holder_of(ctx, &preview.namespace)?;
    if holder.is_none() {
        delete_namespace(ctx, &preview.namespace)?;
    }
    Ok(holder)
}

/// One of ours among namespaces; whoever else may label a namespace so, it has to be ours to be removed.
fn read(config: &Config, namespace: &Value) -> Option<Preview> {
    let labels = &namespace["metadata"]["labels"];
    let text = |key: &str| labels[key].as_str().map(str::to_string);
    if text(MANAGED_BY)? != config.manager() || namespace["status"]["phase"] == "Terminating" {
        return None;
    }
    Some(Preview {
        namespace: namespace["metadata"]["name"].as_str()?.to_string(),
        branch: text(&label(config, "preview"))?,
        expires: text(&label(config, "expires"))?.parse().ok()?,
    })
}

fn label(config: &Config, what: &str) -> String {
    format!("{}.local/{what}", config.project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_and_a_branchs_is_a_preview() {
        let file = |file, text| crate::config::ConfigFile { file, text };
        let base = file("xtask.toml", include_str!("../../../xtask.toml"));
        let dev = file("dev.toml", include_str!("../../../k8s/profiles/dev.toml"));
        let mut config = crate::config::parse_config("dev", base, dev, &|_| true).unwrap();
        config.preview = Some("Feature/Paging".to_string());
        let mut labels: serde_json::Map<String, Value> =
            super::labels(&config).into_iter().map(|(key, value)| (key, value.into())).collect();
        labels.insert(MANAGED_BY.to_string(), config.manager().into());
        let of = |labels: &serde_json::Map<String, Value>| {
            read(&config, &json!({"metadata": {"name": "n", "labels": labels}, "status": {"phase": "Active"}}))
        };
        let preview = of(&labels).unwrap();
        assert_eq!((preview.namespace.as_str(), preview.branch.as_str()), ("n", "feature-paging"));
        assert!(preview.expires > now() + 71 * 3600);
        let without = |key: &str| of(&labels.clone().into_iter().filter(|(name, _)| name != key).collect());
        for key in [MANAGED_BY, "todo-chatbot.local/preview", "todo-chatbot.local/expires"] {
            assert_eq!(without(key), None, "{key}");
        }
    }
}
