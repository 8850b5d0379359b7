//! The Secret that the services read. It is made once, from the system's randomness, and handed over on stdin; from
//! then on the cluster's copy is the truth.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::config::{Secret, placeholders};
use crate::context::Context;
use crate::live;
use crate::process::command;
use crate::stop::Stop;
use crate::tools::{Paths, kubectl};

const SHORT: Duration = Duration::from_secs(30);

/// Sees to the Secret with all its keys. Returns its version, a word that changes when the Secret does.
pub fn ensure(ctx: &Context, tools: &Paths) -> Result<String> {
    let wanted = &ctx.config.secret;
    if let Some((version, keys)) = read(ctx, tools)? {
        let missing: Vec<&str> = wanted_keys(wanted).filter(|key| !keys.iter().any(|there| there == key)).collect();
        if missing.is_empty() {
            return Ok(version);
        }
        let told = format!("the Secret {} lacks {}", wanted.name, missing.join(", "));
        return Err(Stop::failed(format!(
            "{told}\nNext: add them, or remove everything with cargo xtask down --purge"
        ))
        .into());
    }
    refuse_lost_password(ctx, tools)?;
    let values = make(wanted, random)?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": wanted.name, "labels": {"app.kubernetes.io/managed-by": "todo-chatbot-xtask"}},
        "stringData": values,
    });
    let create = kubectl::create(&tools.kubectl, &ctx.target());
    if !ctx.spawn.output(command(create, SHORT).stdin(secret.to_string()))?.success {
        // What kubectl says may repeat what it was given.
        let told =
            format!("kubectl could not create the Secret {}; its words may hold values and are not shown", wanted.name);
        return Err(Stop::failed(format!("{told}\nNext: cargo xtask status")).into());
    }
    ctx.ui.say(&format!("made the Secret {} with {} random values", wanted.name, wanted.random.len()));
    let (version, _) = read(ctx, tools)?.context("the Secret was made and is not there")?;
    Ok(version)
}

/// The Secret's version and its keys; None where there is none.
fn read(ctx: &Context, tools: &Paths) -> Result<Option<(String, Vec<String>)>> {
    let ask = kubectl::get_secret_keys(&tools.kubectl, &ctx.target(), &ctx.config.secret.name);
    Ok(kubectl::parse_secret_keys(&ctx.spawn.run(command(ask, SHORT))?))
}

fn wanted_keys(wanted: &Secret) -> impl Iterator<Item = &str> {
    wanted.random.iter().chain(wanted.derived.keys()).map(String::as_str)
}

/// A database keeps the password that it was made with: a new one would lock everybody out of the old data.
fn refuse_lost_password(ctx: &Context, tools: &Paths) -> Result<()> {
    match live::objects(ctx, tools, "persistentvolumeclaims")?.first() {
        None => Ok(()),
        Some(claim) => {
            let told = format!(
                "the volume {} is there, and the Secret {} with the password it was made with is not\n\
                 Next: restore the Secret, or remove the data with cargo xtask down --purge",
                claim["metadata"]["name"].as_str().unwrap_or_default(),
                ctx.config.secret.name
            );
            Err(Stop::failed(told).into())
        }
    }
}

/// All values: one of `random` for each random key, and the derived ones filled in.
fn make(wanted: &Secret, mut random: impl FnMut() -> Result<String>) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for key in &wanted.random {
        values.insert(key.clone(), random()?);
    }
    for (key, template) in &wanted.derived {
        let mut text = template.clone();
        for name in placeholders(template) {
            text = text.replace(&format!("{{{name}}}"), &values[name]);
        }
        values.insert(key.clone(), text);
    }
    Ok(values)
}

/// 256 bits as hexadecimal digits, which need no escaping in a URL.
fn random() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_values_carry_the_random_ones() {
        let wanted = Secret {
            name: "s".into(),
            random: vec!["A".into(), "B".into()],
            derived: BTreeMap::from([("URL".into(), "postgres://u:{A}@db/{B}".into())]),
        };
        let mut count = 0;
        let values = make(&wanted, || {
            count += 1;
            Ok(format!("r{count}"))
        })
        .unwrap();
        assert_eq!(values["URL"], "postgres://u:r1@db/r2");
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn random_values_are_long_and_differ() {
        let (first, second) = (random().unwrap(), random().unwrap());
        assert_eq!(first.len(), 64);
        assert_ne!(first, second);
    }
}
