//! YAML as the same tree that TOML is read into: values files of charts, their Chart.yaml, and rendered manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::config::tree::{ConfigError, Node, Place, Value, to_json};

/// The documents of a file. A syntax error is reported with its place.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, ConfigError> {
    let file: Arc<str> = Arc::from(file);
    let documents = MarkedYaml::load_from_str(text).map_err(|error| ConfigError {
        place: Place { file: file.clone(), line: error.marker().line(), column: error.marker().col() + 1 },
        message: format!("not valid YAML: {}", error.info()),
    })?;
    documents.iter().map(|document| node(&file, document)).collect()
}

/// The one document of a file; an empty file is an empty table.
pub fn parse_one(file: &str, text: &str) -> Result<Node, ConfigError> {
    let place = Place { file: Arc::from(file), line: 1, column: 1 };
    let first = parse(file, text)?.into_iter().next();
    Ok(match first {
        Some(node) if !matches!(node.value, Value::Null) => node,
        _ => Node { place, value: Value::Table(BTreeMap::new()) },
    })
}

/// The objects of a manifest, empty documents left out.
pub fn objects(manifest: &str) -> Result<Vec<serde_json::Value>, ConfigError> {
    let documents = parse("the rendered manifest", manifest)?;
    Ok(documents.iter().map(to_json).filter(|object| !object.is_null()).collect())
}

fn node(file: &Arc<str>, yaml: &MarkedYaml) -> Result<Node, ConfigError> {
    let place = Place { file: file.clone(), line: yaml.span.start.line(), column: yaml.span.start.col() + 1 };
    let refuse = |what: &str| Err(ConfigError { place: place.clone(), message: what.to_string() });
    let value = match &yaml.data {
        YamlData::Value(Scalar::String(text)) => Value::String(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Value::Integer(*number),
        YamlData::Value(Scalar::FloatingPoint(number)) => Value::Float(number.into_inner()),
        YamlData::Value(Scalar::Boolean(flag)) => Value::Bool(*flag),
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Sequence(items) => Value::Array(items.iter().map(|item| node(file, item)).collect::<Result<_, _>>()?),
        YamlData::Mapping(entries) => {
            let mut table = BTreeMap::new();
            for (key, value) in entries {
                let name = match &key.data {
                    YamlData::Value(Scalar::String(text)) => text.to_string(),
                    YamlData::Value(Scalar::Integer(number)) => number.to_string(),
                    YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
                    _ => return refuse("a key must be a plain word"),
                };
                let mut value = node(file, value)?;
                // A block that is a value begins below its key: the key is where a reader looks.
                value.place =
                    Place { file: file.clone(), line: key.span.start.line(), column: key.span.start.col() + 1 };
                table.insert(name, value);
            }
            Value::Table(table)
        }
        _ => return refuse("aliases and tags are not used here: write the value"),
    };
    Ok(Node { place, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_know_their_places() {
        let root = parse_one("v.yaml", "# ü\na:\n  b: 'x'\n  c: [1, true, null, 1.5]\n").unwrap();
        assert_eq!(to_json(&root), json!({"a": {"b": "x", "c": [1, true, null, 1.5]}}));
        let Value::Table(top) = &root.value else { panic!() };
        let Value::Table(inner) = &top["a"].value else { panic!() };
        assert_eq!(inner["b"].place.to_string(), "v.yaml:3:3");
    }

    #[test]
    fn a_manifests_empty_documents_are_left_out() {
        let found = objects("---\nkind: A\n---\n# nothing\n---\nkind: B\n").unwrap();
        assert_eq!(found, [json!({"kind": "A"}), json!({"kind": "B"})]);
        assert_eq!(objects("").unwrap(), Vec::<serde_json::Value>::new());
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_place() {
        let text = parse("v.yaml", "a: [1\nb: 2\n").unwrap_err().to_string();
        assert!(text.starts_with("v.yaml:2:") && text.contains("not valid YAML"), "{text}");
    }
}
