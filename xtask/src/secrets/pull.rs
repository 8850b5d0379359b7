//! The Secret with which the nodes of a target pull, made of what docker has for the registry.

use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::config::{Config, Delivery};
use crate::model::labels::MANAGED_BY;
use crate::run::context::{Context, expand};
use crate::run::exit::Stop;
use crate::tools::registry::{authority_file, host};
use crate::tools::{docker_credential, kubectl};

/// Makes the Secret in a namespace where it is to be made and is missing. One that is there stays as it is.
pub fn ensure(ctx: &Context, namespace: &str) -> Result<()> {
    let Some((name, registry)) = wanted(&ctx.config) else { return Ok(()) };
    let target = ctx.target_in(namespace);
    // With the names of its keys alone, as all else of it is nobody's business.
    if ctx.run(kubectl::get_secret_keys(&target, name))?.is_some() {
        return Ok(());
    }
    let host = host(registry);
    let auth = credentials(ctx, host)?.ok_or_else(|| {
        let message = format!("docker has no credentials for {host}, of which a Secret to pull with could be made");
        Stop::needs_setup(format!("{message}\nNext: docker login {host}"))
    })?;
    let config = json!({ "auths": { host: { "auth": auth } } });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": name, "namespace": namespace, "labels": { MANAGED_BY: ctx.config.manager() } },
        "stringData": { ".dockerconfigjson": config.to_string() },
    });
    ctx.run(kubectl::create(&target).stdin(secret.to_string()))?;
    ctx.ui.say(&format!("Secret {name} was made in namespace {namespace}, with docker's credentials for {host}"));
    Ok(())
}

/// Who vouches for a registry, where docker was given that: other clients do not look there by themselves.
pub fn authority(registry: &str) -> Option<String> {
    let file = authority_file(host(registry));
    Path::new(&file).is_file().then_some(file)
}

/// The Secret that is to be made, and the registry that it opens.
fn wanted(config: &Config) -> Option<(&str, &str)> {
    match &config.remote()?.1.delivery {
        Delivery::Push { registry, pull_secret: Some(name), make_pull_secret: true, .. } => Some((name, registry)),
        _ => None,
    }
}

/// User and password for a registry as docker writes them, `USER:PASSWORD` in base64; None where docker has none.
pub fn credentials(ctx: &Context, host: &str) -> Result<Option<String>> {
    let file = config_file();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(match source(&config, host) {
        Some(Source::Here(auth)) => Some(auth),
        Some(Source::Helper(helper)) => {
            let asked = ctx.spawn.attempt(docker_credential::get(&helper, host))?;
            let pair = asked.ok().flatten();
            pair.map(|(user, password)| BASE64_STANDARD.encode(format!("{user}:{password}")))
        }
        None => None,
    })
}

/// Where docker has a registry's password.
#[derive(Debug, PartialEq)]
enum Source {
    /// In its file, in base64.
    Here(String),
    /// With a helper of this name.
    Helper(String),
}

fn source(config: &Value, host: &str) -> Option<Source> {
    let helper = config["credHelpers"][host].as_str().or(config["credsStore"].as_str());
    match helper.filter(|name| !name.is_empty()) {
        Some(helper) => Some(Source::Helper(helper.to_string())),
        None => config["auths"][host]["auth"].as_str().map(|auth| Source::Here(auth.to_string())),
    }
}

/// Docker's own file: in the folder that DOCKER_CONFIG names, else in `~/.docker`.
fn config_file() -> PathBuf {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    folder.unwrap_or_else(|| expand("~/.docker")).join("config.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_of_the_registry_comes_before_that_of_all_and_before_the_file() {
        let config = json!({
            "auths": {"a.b": {"auth": "QQ=="}, "c.d": {"auth": "Qg=="}}, "credHelpers": {"a.b": "pass"},
        });
        assert_eq!(source(&config, "a.b"), Some(Source::Helper("pass".to_string())));
        assert_eq!(source(&config, "c.d"), Some(Source::Here("Qg==".to_string())));
        assert_eq!(source(&config, "e.f"), None);
        assert_eq!(source(&json!({"credsStore": "desktop"}), "e.f"), Some(Source::Helper("desktop".to_string())));
    }
}
