//! `config`: the configuration of a profile, and which file and line sets each value.

use anyhow::Result;
use serde_json::json;

use crate::config::{Node, Place, Value, merge, to_json};
use crate::run::context::Project;
use crate::stages::render;
use crate::stages::render::RenderInputs;
use crate::stages::values;

/// Prints the configuration, as JSON or, with `explain`, each value with its place.
pub fn run(project: &Project, explain: bool) -> Result<()> {
    let tree = &project.config.tree;
    if !explain {
        let value = to_json(tree);
        project.ui.answer(&serde_json::to_string_pretty(&value)?, value);
        return Ok(());
    }
    let mut found = leaves("", tree);
    let overrides = render::read_overrides(project)?;
    let (tags, node_ports) = render::known_beforehand(&project.config);
    let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: "", overrides: &overrides };
    for (name, release) in &project.config.releases {
        let said = values::values_tree(project, &release.chart, &release.values)?;
        let said = overrides.trees.get(name).cloned().into_iter().fold(said, merge);
        let is_umbrella = render::is_umbrella(&project.root.join(&release.chart))?;
        let made = render::values_of(&project.config, name, is_umbrella, &known);
        let all = leaves(&format!("values.{name}"), &merge(said, of_json(&made, MADE)));
        found.extend(all.into_iter().map(|(path, text, place)| match place.starts_with(MADE) {
            true => {
                let of_release = path.strip_prefix(&format!("values.{name}.")).unwrap_or(&path);
                let place = render::origin(&project.config, name, is_umbrella, of_release);
                let place = place.unwrap_or_else(|| MADE.to_string());
                (path, text, place)
            }
            false => (path, text, place),
        }));
    }
    let width = found.iter().map(|(path, text, _)| path.len() + 3 + text.len()).filter(|width| *width <= 70).max();
    let line = |(path, text, place): &(String, String, String)| {
        format!("{:<width$}  # {place}", format!("{path} = {text}"), width = width.unwrap_or(0))
    };
    let text = found.iter().map(line).collect::<Vec<_>>().join("\n");
    let describe =
        |(path, text, place): &(String, String, String)| json!({ "key": path, "value": text, "from": place });
    project.ui.answer(
        &text,
        json!({ "profile": project.config.profile, "values": found.iter().map(describe).collect::<Vec<_>>() }),
    );
    Ok(())
}

/// The place of a value that is only known once something was built or observed.
const MADE: &str = "cargo xtask up";

/// JSON as a tree whose every value has the file as its place.
fn of_json(value: &serde_json::Value, file: &str) -> Node {
    use serde_json::Value as Json;
    let place = Place { file: file.into(), line: 1, column: 1 };
    let value = match value {
        Json::Object(entries) => {
            Value::Table(entries.iter().map(|(key, value)| (key.clone(), of_json(value, file))).collect())
        }
        Json::Array(items) => Value::Array(items.iter().map(|item| of_json(item, file)).collect()),
        Json::String(text) => Value::String(text.clone()),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Null => Value::Null,
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or_default()), Value::Integer)
        }
    };
    Node { place, value }
}

/// Every value under a node: its path, itself as JSON, and its place.
fn leaves(path: &str, node: &Node) -> Vec<(String, String, String)> {
    match &node.value {
        Value::Table(entries) if !entries.is_empty() => entries
            .iter()
            .flat_map(|(key, inner)| {
                leaves(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, inner)
            })
            .collect(),
        _ => vec![(path.to_string(), to_json(node).to_string(), node.place.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    #[test]
    fn the_file_that_wins_is_reported() {
        let base = yaml::parse_one("a.yaml", "x: 1\ny:\n  z: [1]\n").unwrap();
        let over = yaml::parse_one("b.yaml", "y:\n  w: true\nx: 2\n").unwrap();
        let message: Vec<String> = leaves("", &merge(base, over))
            .into_iter()
            .map(|(path, text, place)| format!("{path}={text} {place}"))
            .collect();
        assert_eq!(message, ["x=2 b.yaml:3:1", "y.w=true b.yaml:2:3", "y.z=[1] a.yaml:3:3"]);
    }
}
