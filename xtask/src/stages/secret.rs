//! The Secrets that the services read. They are made once, from the system's randomness and from what a person gave, and
//! handed over on stdin before anything reads them; from then on the cluster's copy is the truth.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::config::{Secret, placeholders};
use crate::context::Context;
use crate::live;
use crate::model::plan::{self, Step};
use crate::process::command;
use crate::stages::namespace::{MANAGED_BY, MANAGER};
use crate::stop::Stop;
use crate::tools::{Paths, kubectl};

const SHORT: Duration = Duration::from_secs(30);

/// Sees to every Secret of `namespaces` with all its keys, and to those values that a person gives. Returns their
/// versions by name, a word each that changes when the Secret does.
pub fn ensure(
    ctx: &Context,
    tools: &Paths,
    namespaces: &[String],
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let wanted: BTreeMap<&String, &Secret> =
        ctx.config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)).collect();
    let mut there = BTreeMap::new();
    for (name, secret) in &wanted {
        if let Some((version, keys)) = read(ctx, tools, name, secret)? {
            there.insert(*name, (version, keys));
        }
    }
    let is_whole = |name: &String, secret: &Secret| {
        there.get(name).is_some_and(|(_, keys)| secret.keys().all(|key| keys.iter().any(|known| known == key)))
    };
    let concerned = |secret: &Secret| secret.keys().any(|key| given.contains_key(key));
    if wanted.iter().all(|(name, secret)| is_whole(name, secret) && !concerned(secret)) {
        return Ok(there.into_iter().map(|(name, (version, _))| (name.clone(), version)).collect());
    }
    let mut live: BTreeMap<&String, BTreeMap<String, String>> = BTreeMap::new();
    for (name, secret) in &wanted {
        match there.contains_key(name) {
            true => drop(live.insert(name, values(ctx, tools, name, secret)?)),
            false if !secret.random.is_empty() => refuse_lost_password(ctx, tools, name, secret)?,
            false => {}
        }
    }
    let made = complete(&wanted, &live, given, random)?;
    for (name, values) in &made {
        let secret = wanted[*name];
        if live.get(*name) == Some(values) {
            continue;
        }
        hand_over(ctx, tools, name, secret, values, live.contains_key(*name))?;
        let (version, _) = read(ctx, tools, name, secret)?.context("the Secret was made and is not there")?;
        there.insert(name, (version, Vec::new()));
    }
    Ok(there.into_iter().map(|(name, (version, _))| (name.clone(), version)).collect())
}

/// What `ensure` would write, and the versions of the Secrets that it would leave as they are.
pub struct Observed {
    pub steps: Vec<Step>,
    pub versions: BTreeMap<String, String>,
}

pub fn observe(
    ctx: &Context,
    tools: &Paths,
    namespaces: &[String],
    given: &BTreeMap<String, String>,
) -> Result<Observed> {
    let mut observed = Observed { steps: Vec::new(), versions: BTreeMap::new() };
    for (name, secret) in ctx.config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)) {
        let there = read(ctx, tools, name, secret)?;
        let wanted: Vec<&str> = secret.keys().collect();
        let mut other = Vec::new();
        if there.is_some() && wanted.iter().any(|key| given.contains_key(*key)) {
            let live = values(ctx, tools, name, secret)?;
            let differs =
                |key: &&str| given.get(*key).is_some_and(|value| live.get(*key).is_some_and(|old| old != value));
            other.extend(wanted.iter().copied().filter(differs));
        }
        let keys = there.as_ref().map(|(_, keys)| keys.as_slice());
        match (plan::secret(name, &wanted, keys, &other), there) {
            (Some(step), _) => observed.steps.push(step),
            (None, Some((version, _))) => drop(observed.versions.insert(name.clone(), version)),
            (None, None) => {}
        }
    }
    Ok(observed)
}

/// All Secrets with all their values: the live ones stay, but for those that a person gives; random ones are made; derived
/// ones are filled in.
fn complete<'a>(
    wanted: &BTreeMap<&'a String, &Secret>,
    live: &BTreeMap<&String, BTreeMap<String, String>>,
    given: &BTreeMap<String, String>,
    mut random: impl FnMut() -> Result<String>,
) -> Result<BTreeMap<&'a String, BTreeMap<String, String>>> {
    let mut all = BTreeMap::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut fresh: Vec<&str> = Vec::new();
    for (name, secret) in wanted {
        let mut values = live.get(*name).cloned().unwrap_or_default();
        for key in secret.keys() {
            if let Some(value) = given.get(key) {
                values.insert(key.to_string(), value.clone());
            }
        }
        for key in &secret.random {
            if !values.contains_key(key) {
                values.insert(key.clone(), random()?);
                fresh.push(key);
            }
            known.insert(key.clone(), values[key].clone());
        }
        for key in &secret.given {
            values.entry(key.clone()).or_default();
        }
        all.insert(*name, values);
    }
    for (name, secret) in wanted {
        let values = all.get_mut(*name).context("every Secret was begun")?;
        for (key, template) in &secret.derived {
            // What was derived from a value that has just been made anew opens nothing any more.
            let stale = placeholders(template).iter().any(|name| fresh.contains(name)) && !given.contains_key(key);
            if values.contains_key(key) && !stale {
                continue;
            }
            let mut text = template.clone();
            for placeholder in placeholders(template) {
                let value = known.get(placeholder).with_context(|| format!("{placeholder} has no value for {key}"))?;
                text = text.replace(&format!("{{{placeholder}}}"), value);
            }
            values.insert(key.clone(), text);
        }
    }
    Ok(all)
}

fn hand_over(
    ctx: &Context,
    tools: &Paths,
    name: &str,
    secret: &Secret,
    values: &BTreeMap<String, String>,
    exists: bool,
) -> Result<()> {
    let target = ctx.target_in(&secret.namespace);
    let (told, object) = match exists {
        true => (
            kubectl::patch(&tools.kubectl, &target, &format!("secret/{name}"), "merge"),
            json!({ "stringData": values }),
        ),
        false => (
            kubectl::create(&tools.kubectl, &target),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": { "name": name, "labels": { MANAGED_BY: MANAGER } },
                "stringData": values,
            }),
        ),
    };
    if !ctx.spawn.output(command(told, SHORT).stdin(object.to_string()))?.success {
        // What kubectl says may repeat what it was given.
        let told = format!("kubectl could not write the Secret {name}; its words may hold values and are not shown");
        return Err(Stop::failed(format!("{told}\nNext: cargo xtask status")).into());
    }
    let told = match exists {
        true => format!("brought the Secret {name} up to date"),
        false => format!("made the Secret {name} with {} keys", values.len()),
    };
    ctx.ui.say(&told);
    Ok(())
}

/// The Secret's version and its keys; None where there is none.
fn read(ctx: &Context, tools: &Paths, name: &str, secret: &Secret) -> Result<Option<(String, Vec<String>)>> {
    let ask = kubectl::get_secret_keys(&tools.kubectl, &ctx.target_in(&secret.namespace), name);
    Ok(kubectl::parse_secret_keys(&ctx.spawn.run(command(ask, SHORT))?))
}

fn values(ctx: &Context, tools: &Paths, name: &str, secret: &Secret) -> Result<BTreeMap<String, String>> {
    let ask = kubectl::get_secret_values(&tools.kubectl, &ctx.target_in(&secret.namespace), name);
    let output = ctx.spawn.output(command(ask, SHORT))?;
    match output.success {
        true => Ok(kubectl::parse_secret_values(&output.stdout)),
        false => {
            let told = format!("kubectl could not read the Secret {name}; its words may hold values and are not shown");
            Err(Stop::failed(format!("{told}\nNext: cargo xtask status")).into())
        }
    }
}

/// A database keeps the password that it was made with: a new one would lock everybody out of the old data.
fn refuse_lost_password(ctx: &Context, tools: &Paths, name: &str, secret: &Secret) -> Result<()> {
    let claims = live::objects(ctx, tools, &ctx.target_in(&secret.namespace), "persistentvolumeclaims")?;
    // In a namespace that others use, too, their volumes are none of ours.
    let ours = |claim: &&Value| {
        let release = claim["metadata"]["labels"]["app.kubernetes.io/instance"].as_str();
        release.is_none_or(|name| ctx.config.releases.contains_key(name))
    };
    match claims.iter().find(ours) {
        None => Ok(()),
        Some(claim) => {
            let told = format!(
                "the volume {} is there, and the Secret {name} with the password it was made with is not\n\
                 Next: restore the Secret, or remove the data with cargo xtask down --purge",
                claim["metadata"]["name"].as_str().unwrap_or_default(),
            );
            Err(Stop::failed(told).into())
        }
    }
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

    fn secret(random: &[&str], derived: &[(&str, &str)], given: &[&str]) -> Secret {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect();
        Secret {
            namespace: "n".into(),
            random: texts(random),
            derived: derived.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect(),
            given: texts(given),
        }
    }

    fn counter() -> impl FnMut() -> Result<String> {
        let mut count = 0;
        move || {
            count += 1;
            Ok(format!("r{count}"))
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn derived_values_carry_the_random_ones_of_any_secret() {
        let (app, database) = ("app".to_string(), "database".to_string());
        let taker = secret(&["TOKEN"], &[("URL", "postgres://u:{PASSWORD}@db/{TOKEN}")], &["KEY"]);
        let owner = secret(&["PASSWORD"], &[], &[]);
        let wanted = BTreeMap::from([(&app, &taker), (&database, &owner)]);
        let made = complete(&wanted, &BTreeMap::new(), &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app], map(&[("TOKEN", "r1"), ("URL", "postgres://u:r2@db/r1"), ("KEY", "")]));
        assert_eq!(made[&database], map(&[("PASSWORD", "r2")]));
    }

    #[test]
    fn live_values_stay_missing_ones_are_added_and_given_ones_win() {
        let (app, database) = ("app".to_string(), "database".to_string());
        let taker = secret(&[], &[("URL", "postgres://{PASSWORD}"), ("OTHER", "{PASSWORD}")], &["KEY"]);
        let owner = secret(&["PASSWORD"], &[], &[]);
        let wanted = BTreeMap::from([(&app, &taker), (&database, &owner)]);
        let live = BTreeMap::from([
            (&app, map(&[("OTHER", "old"), ("KEY", "mine")])),
            (&database, map(&[("PASSWORD", "kept")])),
        ]);
        let made = complete(&wanted, &live, &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://kept"), ("OTHER", "old"), ("KEY", "mine")]));
        assert_eq!(made[&database], live[&database]);
        let made =
            complete(&wanted, &live, &map(&[("URL", "postgres://elsewhere"), ("KEY", "new")]), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://elsewhere"), ("OTHER", "old"), ("KEY", "new")]));
    }

    #[test]
    fn what_is_derived_follows_what_is_made_anew() {
        let app = "app".to_string();
        let taker = secret(&["PASSWORD"], &[("URL", "postgres://{PASSWORD}")], &[]);
        let wanted = BTreeMap::from([(&app, &taker)]);
        let live = BTreeMap::from([(&app, map(&[("URL", "postgres://old")]))]);
        let made = complete(&wanted, &live, &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app]["URL"], "postgres://r1");
        let given = map(&[("URL", "postgres://mine")]);
        assert_eq!(complete(&wanted, &live, &given, counter()).unwrap()[&app]["URL"], "postgres://mine");
    }

    #[test]
    fn a_given_address_needs_no_database_of_ours() {
        let app = "app".to_string();
        let taker = secret(&[], &[("URL", "postgres://{PASSWORD}")], &[]);
        let wanted = BTreeMap::from([(&app, &taker)]);
        assert!(complete(&wanted, &BTreeMap::new(), &BTreeMap::new(), counter()).is_err());
        let made = complete(&wanted, &BTreeMap::new(), &map(&[("URL", "postgres://x")]), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://x")]));
    }

    #[test]
    fn random_values_are_long_and_differ() {
        let (first, second) = (random().unwrap(), random().unwrap());
        assert_eq!(first.len(), 64);
        assert_ne!(first, second);
    }
}
