//! The file of a person's own, outside git: helm values whose `secret.values` go into the Secret and nowhere else.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use crate::config::{Node, Problem, Problems, Value as Tree, to_json, yaml};
use crate::context::Context;
use crate::model::placeholder::is_placeholder;

#[derive(Default)]
pub struct Overrides {
    /// Key of a Secret to its value.
    pub secret: BTreeMap<String, String>,
    /// All other values; None where there are none.
    pub values: Option<Value>,
}

/// Reads the file, where there is one. A placeholder in it, or a key that no Secret has, is a mistake with its place.
pub fn read(ctx: &Context) -> Result<Overrides> {
    let path = ctx.root.join(&ctx.config.overrides);
    if !path.exists() {
        return Ok(Overrides::default());
    }
    let file = ctx.config.overrides.display().to_string();
    let node = yaml::parse_one(&file, &std::fs::read_to_string(&path)?).map_err(|problem| Problems(vec![problem]))?;
    let keys: Vec<&str> = ctx.config.secrets.values().flat_map(|secret| secret.keys()).collect();
    let mut problems = Vec::new();
    let secret = secret_values(&node, &keys, &mut problems);
    let mut rest = to_json(&node);
    if let Some(table) = rest.as_object_mut() {
        if let Some(secret) = table.get_mut("secret").and_then(Value::as_object_mut) {
            secret.remove("values");
        }
        table.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
        if !table.is_empty()
            && ctx.config.releases.values().filter(|release| release.namespace == ctx.config.namespace).count() > 1
        {
            let message =
                format!("only secret.values may stand here: profile {} has several releases", ctx.config.profile);
            problems.push(Problem { place: node.place.clone(), message });
        }
    }
    let values = rest.as_object().is_some_and(|table| !table.is_empty()).then_some(rest);
    if problems.is_empty() { Ok(Overrides { secret, values }) } else { Err(Problems(problems).into()) }
}

/// `secret.values` of the file.
fn secret_values(root: &Node, known: &[&str], problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let table = |node: &Node, key: &str| match &node.value {
        Tree::Table(entries) => entries.get(key).cloned(),
        _ => None,
    };
    let Some(values) = table(root, "secret").and_then(|secret| table(&secret, "values")) else {
        return BTreeMap::new();
    };
    let Tree::Table(entries) = values.value else {
        problems.push(Problem { place: values.place, message: "secret.values must be a table of strings".to_string() });
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (key, node) in entries {
        let mut refuse = |message: String| problems.push(Problem { place: node.place.clone(), message });
        match node.value {
            _ if !known.contains(&key.as_str()) => {
                refuse(format!("secret.values.{key} is no key of a Secret: known are {}", known.join(", ")));
            }
            Tree::String(text) if is_placeholder(&text) => {
                refuse(format!(
                    "secret.values.{key} is still a placeholder: write the real value, or leave the line out"
                ));
            }
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
    fn placeholders_and_unknown_keys_are_refused_with_their_places_and_without_values() {
        let text =
            "secret:\n  values:\n    URL: postgres://sentinel\n    KEY: CHANGE_ME\n    KYE: sentinel\n    N: 1\n";
        let mut problems = Vec::new();
        let found = secret_values(&yaml::parse_one("o.yaml", text).unwrap(), &["URL", "KEY", "N"], &mut problems);
        assert_eq!(found, BTreeMap::from([("URL".to_string(), "postgres://sentinel".to_string())]));
        let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter().any(|line| line.starts_with("o.yaml:4:5: secret.values.KEY is still a placeholder")),
            "{told:?}"
        );
        assert!(!told.join("").contains("sentinel"), "{told:?}");
    }
}
