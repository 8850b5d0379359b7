//! The JSON Schema of xtask.toml and of the profiles, from the code that reads them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::reader::{Reader, Shape};
use crate::config::tree::parse;

/// A key that may be a table, an array of tables or a value.
#[derive(Default)]
struct Branch {
    schema: Option<Value>,
    keys: BTreeMap<String, Branch>,
    any_key: Option<Box<Branch>>,
    items: Option<Box<Branch>>,
}

/// Every key with its type, its range and its allowed values. What is required depends on the defaults and on the profile,
/// so the schema does not say it.
pub fn schema() -> Value {
    let shape = Shape::default();
    let tree = parse("sample.toml", include_str!("sample.toml"), &mut Vec::new());
    let problems = RefCell::default();
    super::read_config("sample", &Reader::recording(&tree, &problems, Some(&shape)), &tree, &|_| true);
    let mut root = Branch::default();
    for (pattern, schema) in shape.into_inner() {
        let mut branch = &mut root;
        for part in pattern.split('.') {
            let (key, is_list) = part.strip_suffix("[]").map_or((part, false), |key| (key, true));
            branch = match key {
                "*" => branch.any_key.get_or_insert_default(),
                key => branch.keys.entry(key.to_string()).or_default(),
            };
            if is_list {
                branch = branch.items.get_or_insert_default();
            }
        }
        branch.schema = Some(schema);
    }
    let mut schema = root.into_schema();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "xtask.toml and k8s/profiles/NAME.toml".into();
    schema
}

impl Branch {
    fn into_schema(self) -> Value {
        if let Some(items) = self.items {
            return json!({ "type": "array", "items": items.into_schema() });
        }
        if let Some(any) = self.any_key {
            return json!({ "type": "object", "additionalProperties": any.into_schema() });
        }
        if self.keys.is_empty() {
            return self.schema.unwrap_or(json!({ "type": "object" }));
        }
        let keys: serde_json::Map<String, Value> =
            self.keys.into_iter().map(|(key, branch)| (key, branch.into_schema())).collect();
        json!({ "type": "object", "properties": keys, "additionalProperties": false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::to_json;
    use std::path::Path;

    const KEPT: &str = include_str!("../../../docs/xtask.schema.json");

    /// The part of JSON Schema that `schema` uses. Returns what is wrong, with its path.
    fn wrong(path: &str, schema: &Value, value: &Value) -> Vec<String> {
        let is = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        if !is {
            return vec![format!("{path}: no {}", schema["type"])];
        }
        let below = schema["minimum"].as_i64().zip(value.as_i64()).is_some_and(|(least, number)| number < least);
        let above = schema["maximum"].as_i64().zip(value.as_i64()).is_some_and(|(most, number)| number > most);
        let foreign = schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value));
        let mut found =
            if below || above || foreign { vec![format!("{path}: {value} is not allowed")] } else { vec![] };
        for (key, inner) in value.as_object().into_iter().flatten() {
            let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
            match schema {
                Value::Bool(false) => found.push(format!("{path}.{key}: unknown")),
                schema => found.extend(wrong(&format!("{path}.{key}"), schema, inner)),
            }
        }
        for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
            found.extend(wrong(&format!("{path}[{index}]"), &schema["items"], inner));
        }
        found
    }

    fn wrong_in(text: &str) -> Vec<String> {
        wrong("", &schema(), &to_json(&parse("a.toml", text, &mut Vec::new())))
    }

    #[test]
    fn the_kept_schema_is_that_of_the_code() {
        let kept: Value = serde_json::from_str(KEPT).unwrap();
        assert!(kept == schema(), "Next: cargo xtask schema > docs/xtask.schema.json");
    }

    #[test]
    fn every_configuration_of_the_repository_is_valid() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(root.join("k8s/profiles")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|kind| kind == "toml"));
        assert_eq!(files.len(), 6);
        let others = ["xtask.toml", "examples/hello/xtask.toml", "xtask/src/config/defaults.toml"];
        let tests = ["xtask.toml", "dev.toml", "many.toml"].map(|file| format!("xtask/tests/common/{file}"));
        files.extend(others.iter().map(|file| root.join(file)));
        files.extend(tests.iter().map(|file| root.join(file)));
        for file in files {
            // The tests' own file has a word in place of a port.
            let text = std::fs::read_to_string(&file).unwrap().replace("NODE_PORT", "30080");
            assert_eq!(wrong_in(&text), [""; 0], "{}", file.display());
        }
    }

    #[test]
    fn mistakes_are_found() {
        let text = "services.a.prot = 1\nservices.a.port = 70000\nservices.a.base = \"alpine\"\nversion = 1\n\
                    smoke = [{ steps = [{ path = \"/\", method = \"FETCH\" }] }]\n";
        let expected = [
            ".services.a.base: \"alpine\" is not allowed",
            ".services.a.port: 70000 is not allowed",
            ".services.a.prot: unknown",
            ".smoke[0].steps[0].method: \"FETCH\" is not allowed",
            ".version: no \"string\"",
        ];
        assert_eq!(wrong_in(text), expected);
    }
}
