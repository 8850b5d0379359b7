//! Secrets that others make, such as an External Secrets operator: nothing is written of them, and what they lack is said.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::config::{Config, Secret};
use crate::run::exit::Stop;

/// The versions of the Secrets of some namespaces, all of which must be there with all their keys. `find` returns the version
/// and the keys of one.
pub fn need(
    config: &Config,
    namespaces: &[String],
    find: impl Fn(&String, &Secret) -> Result<Option<(String, Vec<String>)>>,
) -> Result<BTreeMap<String, String>> {
    let (mut versions, mut lacks) = (BTreeMap::new(), Vec::new());
    for (name, secret) in config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)) {
        let found = find(name, secret)?;
        lacks.extend(lack(name, secret, found.as_ref().map(|(_, keys)| keys.as_slice())));
        versions.extend(found.map(|(version, _)| (name.clone(), version)));
    }
    if lacks.is_empty() {
        return Ok(versions);
    }
    let target = config.target.as_deref().unwrap_or_default();
    let message = format!("others make the Secrets of target {target}, as targets.{target}.secrets says:");
    let next = "have them made, then run the same command again";
    Err(Stop::needs_setup(format!("{message}\n  {}\nNext: {next}", lacks.join("\n  "))).into())
}

/// What is wrong with a Secret that has these keys; None of keys where it is not there.
fn lack(name: &str, secret: &Secret, keys: Option<&[String]>) -> Option<String> {
    let has = |key: &&str| keys.is_some_and(|keys| keys.iter().any(|one| one == key));
    let missing: Vec<&str> = secret.keys().filter(|key| !has(key)).collect();
    match keys {
        _ if missing.is_empty() => None,
        None => Some(format!(
            "Secret {name} of namespace {} is not there: it needs {}",
            secret.namespace,
            missing.join(", ")
        )),
        Some(_) => Some(format!("Secret {name} of namespace {} lacks {}", secret.namespace, missing.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_lacks_is_said() {
        let secret = Secret {
            namespace: "todo".into(),
            random: vec!["TOKEN".into()],
            derived: [("URL".to_string(), "x".to_string())].into(),
            given: vec!["API_KEY".into()],
        };
        let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<Vec<_>>();
        let of = |keys: Option<&[String]>| lack("app", &secret, keys);
        assert_eq!(of(None).unwrap(), "Secret app of namespace todo is not there: it needs TOKEN, URL, API_KEY");
        assert_eq!(of(Some(&keys(&["URL", "OTHER"]))).unwrap(), "Secret app of namespace todo lacks TOKEN, API_KEY");
        assert_eq!(of(Some(&keys(&["URL", "TOKEN", "API_KEY", "OTHER"]))), None);
    }
}
