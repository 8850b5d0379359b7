//! The cluster's own description of its API, an OpenAPI 2 document, as JSON schemas for kubeconform. No I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "#/definitions/";

/// The schema of one kind, with everything in it that it refers to; None where the cluster has no such kind. An object
/// whose fields are described takes no others, as the API server does with strict validation.
pub fn schema(openapi: &Value, api_version: &str, kind: &str) -> Option<Value> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = json!({ "group": group, "version": version, "kind": kind });
    let definitions = openapi["definitions"].as_object()?;
    let is_wanted = |definition: &Value| {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        // Some objects, such as DeleteOptions, are of every group at once: those are no manifests.
        kinds.is_some_and(|kinds| kinds.len() == 1 && kinds[0] == wanted)
    };
    let (name, _) = definitions.iter().find(|(_, definition)| is_wanted(definition))?;
    let mut needed = BTreeMap::new();
    let mut open = vec![name.clone()];
    while let Some(name) = open.pop() {
        if needed.contains_key(&name) {
            continue;
        }
        let converted = convert(&name, definitions.get(&name)?);
        references(&converted, &mut open);
        needed.insert(name, converted);
    }
    // What makes an object one of this kind is not in the lists of required fields.
    let root = needed.get_mut(name)?.as_object_mut()?;
    let required = root.entry("required").or_insert(json!([])).as_array_mut()?;
    required.extend(["apiVersion", "kind", "metadata"].map(Value::from));
    Some(json!({ "$ref": format!("{DEFINITIONS}{name}"), "definitions": needed }))
}

/// A definition as a JSON schema. Two types are written in more ways than OpenAPI 2 can say.
fn convert(name: &str, definition: &Value) -> Value {
    match name {
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => json!({ "type": ["integer", "string"] }),
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => json!({ "type": ["number", "string"] }),
        _ => close(definition),
    }
}

/// A copy without what only describes, in which objects with described fields take no others.
fn close(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut closed = Map::new();
    for (key, value) in fields {
        match key.as_str() {
            "type" | "enum" | "required" | "$ref" => closed.insert(key.clone(), value.clone()),
            "items" | "additionalProperties" => closed.insert(key.clone(), close(value)),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties: Map<_, _> = properties.map(|(name, value)| (name.clone(), close(value))).collect();
                closed.entry("additionalProperties").or_insert(json!(false));
                closed.insert(key.clone(), properties.into())
            }
            _ => None,
        };
    }
    if fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|flag| flag == true) {
        closed.remove("additionalProperties");
    }
    closed.into()
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(DEFINITIONS));
            found.extend(name.map(str::to_string));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openapi() -> Value {
        let of = |group: &str| json!([{"group": group, "version": "v1", "kind": "Thing"}]);
        json!({"definitions": {
            "b.Thing": {
                "description": "A thing.", "type": "object", "required": ["spec"],
                "x-kubernetes-group-version-kind": of("b"),
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                    "spec": {"description": "Its spec.", "$ref": "#/definitions/b.Spec"},
                },
            },
            "b.Spec": {"type": "object", "properties": {
                "port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
                "inner": {"type": "array", "items": {"$ref": "#/definitions/b.Spec"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
            "core.Thing": {"type": "object", "x-kubernetes-group-version-kind": of("")},
            "Other": {"type": "object"},
        }})
    }

    #[test]
    fn a_schema_holds_all_that_it_refers_to_and_takes_no_unknown_field() {
        let schema = schema(&openapi(), "b/v1", "Thing").unwrap();
        assert_eq!(schema["$ref"], "#/definitions/b.Thing");
        let names: Vec<&String> = schema["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["b.Spec", "b.Thing", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"]);
        let thing = &schema["definitions"]["b.Thing"];
        assert_eq!(thing["additionalProperties"], false);
        assert_eq!(thing["required"], json!(["spec", "apiVersion", "kind", "metadata"]));
        let spec = &schema["definitions"]["b.Spec"];
        assert_eq!(spec["properties"]["labels"], json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert_eq!(schema["definitions"][names[2]], json!({"type": ["integer", "string"]}));
    }

    #[test]
    fn the_group_decides_and_an_unknown_kind_has_no_schema() {
        let of = |api_version, kind| schema(&openapi(), api_version, kind).map(|schema| schema["$ref"].clone());
        assert_eq!(of("v1", "Thing").unwrap(), "#/definitions/core.Thing");
        assert_eq!(of("b/v2", "Thing"), None);
        assert_eq!(of("v1", "Route"), None);
    }
}
