//! What the schemas of the charts' values share: the library's definitions, which each chart repeats, as a schema of helm
//! can't refer to another chart's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::lint::chart_docs::Stale;

const SCHEMA: &str = "values.schema.json";
const FIRST: &str = "\n  \"definitions\": {\n";
const LAST: &str = "\n  }";

/// The schemas under `charts` whose definitions are not the library's, each with its text as it should be. None are expected
/// where there is no library.
pub fn stale(charts: &Path) -> Result<Vec<Stale>> {
    let Ok(source) = fs::read_to_string(charts.join("library").join(SCHEMA)) else { return Ok(Vec::new()) };
    let mut stale = Vec::new();
    for path in schemas(charts)? {
        let text = fs::read_to_string(&path)?;
        let whole =
            with_definitions(&text, &source).with_context(|| format!("{} has no definitions", path.display()))?;
        if whole != text {
            stale.push(Stale { path, text: whole });
        }
    }
    Ok(stale)
}

/// Fields of a service that a chart of one service does not take at the top of its values: the schema, and the field.
pub fn missing(charts: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut missing = Vec::new();
    for path in schemas(charts)? {
        let schema: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} is broken", path.display()))?;
        missing.extend(left_out(&schema).into_iter().map(|field| (path.clone(), field)));
    }
    Ok(missing)
}

fn schemas(charts: &Path) -> Result<Vec<PathBuf>> {
    let folders = fs::read_dir(charts)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().join(SCHEMA)).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// `text` with the definitions of `source`; None where one of them has none.
fn with_definitions(text: &str, source: &str) -> Option<String> {
    let part = |text: &str| {
        let start = text.find(FIRST)?;
        let end = start + FIRST.len() + text[start + FIRST.len()..].find(LAST)? + LAST.len();
        Some(start..end)
    };
    let (own, wanted) = (part(text)?, part(source)?);
    Some(format!("{}{}{}", &text[..own.start], &source[wanted], &text[own.end..]))
}

fn left_out(schema: &Value) -> Vec<String> {
    let keys = |pointer: &str| schema.pointer(pointer).and_then(Value::as_object);
    let (Some(own), Some(fields)) = (keys("/properties"), keys("/definitions/service/properties")) else {
        return Vec::new();
    };
    match own.contains_key("services") {
        true => Vec::new(),
        false => fields.keys().filter(|field| *field != "image" && !own.contains_key(*field)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn definitions_follow_the_library() {
        let source =
            "{\n  \"title\": \"L\",\n  \"definitions\": {\n    \"a\": {\n      \"type\": \"string\"\n    }\n  }\n}\n";
        let other = "{\n  \"title\": \"B\",\n  \"definitions\": {\n    \"b\": 1\n  },\n  \"type\": \"object\"\n}\n";
        let whole = with_definitions(other, source).unwrap();
        let whole: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole, json!({"title": "B", "definitions": {"a": {"type": "string"}}, "type": "object"}));
        assert_eq!(with_definitions(source, source).as_deref(), Some(source));
        assert_eq!(with_definitions("{}", source), None);
    }

    #[test]
    fn a_chart_of_one_service_takes_every_field_of_it() {
        let mut schema = json!({
            "properties": {"port": {}}, "definitions": {"service": {"properties": {"port": {}, "args": {}}}}});
        assert_eq!(left_out(&schema), ["args"]);
        schema["properties"]["args"] = json!({});
        assert!(left_out(&schema).is_empty());
        assert!(
            left_out(&json!({"properties": {"services": {}}, "definitions": {"service": {"properties": {"a": 1}}}}))
                .is_empty()
        );
    }
}
