//! The file of a person's own, outside git: helm values whose `secret.values` go into the Secret and nowhere else.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::config::{ConfigError, ConfigErrors, Node, Value as Tree, merge, to_json, yaml};
use crate::run::context::Project;
use crate::secrets::placeholder::is_placeholder;
use crate::secrets::sealed;

#[derive(Default)]
pub struct Overrides {
    /// Key of a Secret to its value.
    pub secret: BTreeMap<String, String>,
    /// Release to the values that are laid over its chart's.
    pub values: BTreeMap<String, Value>,
    /// The same with the places in the file, to name them in errors and explanations.
    pub trees: BTreeMap<String, Node>,
}

/// Reads the file, where there is one. A placeholder in it, or a key that no Secret has, is a mistake with its place.
pub fn read_overrides(project: &Project) -> Result<Overrides> {
    let path = project.root.join(&project.config.overrides);
    if !path.exists() {
        return Ok(Overrides::default());
    }
    let file = project.config.overrides.display().to_string();
    let text = sealed::read(project, &file)?;
    let node = yaml::parse_one(&file, &text).map_err(|problem| ConfigErrors(vec![problem]))?;
    let keys: Vec<&str> = project.config.secrets.values().flat_map(|secret| secret.keys()).collect();
    let several = project.config.releases.values().filter(|release| release.services.len() > 1);
    let services = several.flat_map(|release| &release.services).map(String::as_str);
    let services: Vec<&str> = services.filter(|name| !project.config.releases.contains_key(*name)).collect();
    let node = written_out(node, &services, &keys);
    let own = project.config.releases.iter().filter(|(_, release)| release.namespace == project.config.namespace);
    let own: Vec<&str> = own.map(|(name, _)| name.as_str()).collect();
    let mut problems = Vec::new();
    let secret = secret_values(&node, &keys, &mut problems);
    if let Some(node) = entry(&node, "secrets") {
        let message = "secrets must be a table of strings".to_string();
        problems.push(ConfigError { place: node.place, message });
    }
    if let [_, _, ..] = own.as_slice() {
        own.iter().for_each(|release| problems.extend(misplaced(&node, release, &services)));
    }
    let values = release_values(&node, &own, &mut problems);
    let rest = without_secret_values(&node);
    let tree = |release: &String| match (own.as_slice(), &rest.value) {
        ([_, _, ..], Tree::Table(entries)) => entries.get(release).cloned(),
        _ => Some(rest.clone()),
    };
    let trees = values.keys().filter_map(|release| Some((release.clone(), tree(release)?))).collect();
    if problems.is_empty() { Ok(Overrides { secret, values, trees }) } else { Err(ConfigErrors(problems).into()) }
}

/// The file with what stands at its top in the short way where a chart has it: `backend.image` of a release of several
/// services under `services.backend`, `secrets.databaseUrl` as `secret.values.DATABASE_URL`.
fn written_out(root: Node, services: &[&str], keys: &[&str]) -> Node {
    let Tree::Table(mut entries) = root.value else { return root };
    let mut short: Vec<(Vec<String>, Node)> = Vec::new();
    for service in services {
        let path = vec!["services".to_string(), service.to_string()];
        short.extend(entries.remove(*service).map(|node| (path, node)));
    }
    if let Some(Node { value: Tree::Table(values), .. }) = entries.get("secrets").cloned() {
        entries.remove("secrets");
        for (key, node) in values {
            short.push((vec!["secret".to_string(), "values".to_string(), secret_key(&key, keys)], node));
        }
    }
    let root = Node { place: root.place, value: Tree::Table(entries) };
    short.into_iter().fold(root, |root, (path, node)| {
        let wrap =
            |inner: Node, key: String| Node { place: inner.place.clone(), value: Tree::Table([(key, inner)].into()) };
        merge(root, path.into_iter().rev().fold(node, wrap))
    })
}

/// The key of a Secret that is meant by `databaseUrl`; what none is called stays as it was written.
fn secret_key(short: &str, keys: &[&str]) -> String {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    keys.iter().find(|key| plain(key) == plain(short)).map_or(short, |key| *key).to_string()
}

/// The value of a key in a table.
fn entry(node: &Node, key: &str) -> Option<Node> {
    match &node.value {
        Tree::Table(entries) => entries.get(key).cloned(),
        _ => None,
    }
}

/// What stands below a release's name and belongs to the top, where it is handed on as what it is: secrets, which would be
/// shown among the values, and services in the short way, which would win over what a build sets.
fn misplaced(root: &Node, release: &str, services: &[&str]) -> Vec<ConfigError> {
    let Some(values) = entry(root, release) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(node) = entry(&values, "secrets").or_else(|| entry(&entry(&values, "secret")?, "values")) {
        let message = format!("secrets below {release}: write them under secret.values at the top of the file");
        found.push(ConfigError { place: node.place, message });
    }
    for service in services {
        if let Some(node) = entry(&values, service) {
            let message = format!("{release}.{service}: write {release}.services.{service}");
            found.push(ConfigError { place: node.place, message });
        }
    }
    found
}

/// The file but for what goes into a Secret, which is shown nowhere.
fn without_secret_values(root: &Node) -> Node {
    let mut rest = root.clone();
    if let Tree::Table(entries) = &mut rest.value
        && let Some(Node { value: Tree::Table(secret), .. }) = entries.get_mut("secret")
    {
        secret.remove("values");
        if secret.is_empty() {
            entries.remove("secret");
        }
    }
    rest
}

/// All but `secret.values`: the values of the one release, or under the names of several.
fn release_values(root: &Node, releases: &[&str], problems: &mut Vec<ConfigError>) -> BTreeMap<String, Value> {
    let mut rest = to_json(&without_secret_values(root));
    let Some(table) = rest.as_object_mut() else { return BTreeMap::new() };
    if table.is_empty() {
        return BTreeMap::new();
    }
    if let [only] = releases {
        return BTreeMap::from([(only.to_string(), rest)]);
    }
    let mut values = BTreeMap::new();
    for (name, value) in std::mem::take(table) {
        if releases.contains(&name.as_str()) {
            values.insert(name, value);
            continue;
        }
        let place = match &root.value {
            Tree::Table(entries) => entries.get(&name).map_or(&root.place, |node| &node.place).clone(),
            _ => root.place.clone(),
        };
        let message =
            format!("{name} is no release of the profile: known are {}, and secret.values", releases.join(", "));
        problems.push(ConfigError { place, message });
    }
    values
}

/// `secret.values` of the file.
fn secret_values(root: &Node, known: &[&str], problems: &mut Vec<ConfigError>) -> BTreeMap<String, String> {
    let Some(values) = entry(root, "secret").and_then(|secret| entry(&secret, "values")) else {
        return BTreeMap::new();
    };
    let Tree::Table(entries) = values.value else {
        problems
            .push(ConfigError { place: values.place, message: "secret.values must be a table of strings".to_string() });
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (key, node) in entries {
        let mut refuse = |message: String| problems.push(ConfigError { place: node.place.clone(), message });
        match node.value {
            _ if !known.contains(&key.as_str()) => {
                refuse(format!("secret.values.{key} is no key of a Secret: known are {}", known.join(", ")));
            }
            Tree::String(text) if is_placeholder(&text) => {
                refuse(format!(
                    "secret.values.{key} is still a placeholder: write the real value, or leave the line out"
                ));
            }
            // An empty value counts as not given.
            Tree::String(text) if text.is_empty() => {}
            Tree::String(text) => {
                found.insert(key, text);
            }
            _ => refuse(format!("secret.values.{key} must be a string: put it in quotes")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_is_written_out() {
        let text = "a:\n  image: {tag: x}\nservices:\n  a: {port: 1, image: {tag: y}}\nc: {port: 2}\n\
            secrets:\n  databaseUrl: z\nsecret:\n  values: {KEY: k}\n";
        let node = written_out(yaml::parse_one("o.yaml", text).unwrap(), &["a", "b"], &["DATABASE_URL", "KEY"]);
        let expected = serde_json::json!({
            "services": {"a": {"port": 1, "image": {"tag": "x"}}},
            "c": {"port": 2},
            "secret": {"values": {"KEY": "k", "DATABASE_URL": "z"}},
        });
        assert_eq!(to_json(&node), expected);
        for short in ["databaseUrl", "databaseURL", "DATABASE_URL"] {
            assert_eq!(secret_key(short, &["KEY", "DATABASE_URL"]), "DATABASE_URL");
        }
        assert_eq!(secret_key("kye", &["KEY"]), "kye");
    }

    #[test]
    fn secrets_and_the_short_way_below_a_release_are_refused_with_their_places_and_without_values() {
        let text = "x:\n  secrets:\n    url: sentinel\n  a:\n    port: 1\ny:\n  secret:\n    values: {URL: sentinel}\n";
        let root = yaml::parse_one("o.yaml", text).unwrap();
        let found: Vec<String> = ["x", "y", "z"]
            .iter()
            .flat_map(|release| misplaced(&root, release, &["a"]))
            .map(|one| one.to_string())
            .collect();
        assert_eq!(
            found,
            [
                "o.yaml:2:3: secrets below x: write them under secret.values at the top of the file",
                "o.yaml:4:3: x.a: write x.services.a",
                "o.yaml:8:5: secrets below y: write them under secret.values at the top of the file",
            ]
        );
    }

    #[test]
    fn values_belong_to_the_one_release_or_to_those_that_are_named() {
        let mut problems = Vec::new();
        let read = |text: &str| yaml::parse_one("o.yaml", text).unwrap();
        let one = release_values(&read("secret:\n  values:\n    A: sentinel\na: 1\n"), &["x"], &mut problems);
        assert_eq!(one, BTreeMap::from([("x".to_string(), serde_json::json!({"a": 1}))]));
        assert!(release_values(&read("secret:\n  values:\n    A: sentinel\n"), &["x"], &mut problems).is_empty());
        let several = release_values(&read("x:\n  a: 1\n"), &["x", "y"], &mut problems);
        assert_eq!(several["x"], serde_json::json!({"a": 1}));
        assert!(problems.is_empty());
        release_values(&read("x: {}\na: 1\n"), &["x", "y"], &mut problems);
        assert_eq!(
            problems[0].to_string(),
            "o.yaml:2:1: a is no release of the profile: known are x, y, and secret.values"
        );
    }

    #[test]
    fn placeholders_and_unknown_keys_are_refused_with_their_places_and_without_values() {
        let text =
            "secret:\n  values:\n    URL: postgres://sentinel\n    KEY: CHANGE_ME\n    KYE: sentinel\n    N: 1\n";
        let mut problems = Vec::new();
        let found = secret_values(&yaml::parse_one("o.yaml", text).unwrap(), &["URL", "KEY", "N"], &mut problems);
        assert_eq!(found, BTreeMap::from([("URL".to_string(), "postgres://sentinel".to_string())]));
        let printed: Vec<String> = problems.iter().map(ConfigError::to_string).collect();
        assert_eq!(printed.len(), 3, "{printed:?}");
        assert!(
            printed.iter().any(|line| line.starts_with("o.yaml:4:5: secret.values.KEY is still a placeholder")),
            "{printed:?}"
        );
        assert!(!printed.join("").contains("sentinel"), "{printed:?}");
    }
}
