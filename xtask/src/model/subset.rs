//! Whether everything that was rendered is live. What the cluster adds, such as defaults and status, is ignored.

use serde_json::Value;

use crate::model::quantity::{Cpu, Memory};

/// A place where two objects differ, with both values as they are reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// As in `spec.template.spec.containers[web].image`.
    pub path: String,
    pub live: String,
    pub wanted: String,
}

/// The places at which `live` lacks or contradicts `wanted`; none where all is as wanted.
pub fn differences(wanted: &Value, live: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", wanted, live, &mut found);
    found
}

fn compare(path: &str, wanted: &Value, live: &Value, found: &mut Vec<Difference>) {
    match (wanted, live) {
        // kubectl prints a timestamp for objects that were never created, and the API drops empty values.
        (Value::Null, _) => {}
        (Value::Object(fields), Value::Object(others)) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, value, others.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Object(fields), Value::Null) if fields.is_empty() => {}
        (Value::Array(items), Value::Null) if items.is_empty() => {}
        (Value::Array(items), Value::Array(others)) => compare_lists(path, items, others, found),
        _ if wanted == live || same_quantity(wanted, live) => {}
        _ => found.push(Difference {
            path: path.to_string(),
            live: describe_value(live),
            wanted: describe_value(wanted),
        }),
    }
}

/// Entries that have a key (name, or a port's or mount's own) are paired by it, others by their place.
fn compare_lists(path: &str, items: &[Value], others: &[Value], found: &mut Vec<Difference>) {
    for (index, item) in items.iter().enumerate() {
        let (label, other) = match key_of(item) {
            Some((key, value)) => {
                // One number may be there for TCP and for UDP.
                let same = |other: &&Value| {
                    other.get(key) == Some(value)
                        && item.get("protocol").is_none_or(|one| other.get("protocol") == Some(one))
                };
                (value.to_string(), others.iter().find(same))
            }
            None => (index.to_string(), others.get(index)),
        };
        compare(&format!("{path}[{}]", label.trim_matches('"')), item, other.unwrap_or(&Value::Null), found);
    }
    if others.len() > items.len() {
        let count = |items: &[Value]| format!("{} entries", items.len());
        found.push(Difference { path: path.to_string(), live: count(others), wanted: count(items) });
    }
}

fn key_of(item: &Value) -> Option<(&'static str, &Value)> {
    ["name", "mountPath", "containerPort", "port", "topologyKey"]
        .into_iter()
        .find_map(|key| Some((key, item.get(key)?)))
}

/// Whether two scalars are the same amount: 0.5 and 500m, 1Gi and 1024Mi.
fn same_quantity(wanted: &Value, live: &Value) -> bool {
    let cpu = (Cpu::from_value(wanted), Cpu::from_value(live));
    let memory = (Memory::from_value(wanted), Memory::from_value(live));
    matches!(cpu, (Ok(a), Ok(b)) if a == b) || matches!(memory, (Ok(a), Ok(b)) if a == b)
}

fn describe_value(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_string(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Each difference as `path: live → wanted`.
    fn describe_value(wanted: &Value, live: &Value) -> Vec<String> {
        let line = |one: Difference| format!("{}: {} → {}", one.path, one.live, one.wanted);
        differences(wanted, live).into_iter().map(line).collect()
    }

    #[test]
    fn what_the_cluster_adds_does_not_count() {
        let wanted = json!({"spec": {"replicas": 1, "template": {"labels": {"a": "b"}}}, "metadata": {"creationTimestamp": null}});
        let live = json!({"spec": {"replicas": 1, "paused": false, "template": {"labels": {"a": "b"}, "x": 1}}, "metadata": {"uid": "1"}, "status": {}});
        assert_eq!(describe_value(&wanted, &live), Vec::<String>::new());
    }

    #[test]
    fn a_changed_field_is_reported_with_both_values() {
        let found = describe_value(&json!({"spec": {"replicas": 1}}), &json!({"spec": {"replicas": 3}}));
        assert_eq!(found, ["spec.replicas: 3 → 1"]);
    }

    #[test]
    fn an_absent_object_differs_in_every_part_of_it() {
        assert_eq!(describe_value(&json!({"kind": "Pod"}), &Value::Null), [": absent → {\"kind\":\"Pod\"}"]);
    }

    #[test]
    fn lists_pair_by_name_and_an_entry_too_many_counts() {
        let wanted = json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]});
        let live = json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        assert_eq!(describe_value(&wanted, &live), Vec::<String>::new());
        let more =
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]});
        assert_eq!(describe_value(&wanted, &more), ["env: 3 entries → 2 entries"]);
        let other = json!({"env": [{"name": "A", "value": "9"}, {"name": "B", "value": "2"}]});
        assert_eq!(describe_value(&wanted, &other), ["env[A].value: \"9\" → \"1\""]);
    }

    #[test]
    fn quantities_compare_by_amount() {
        assert_eq!(
            describe_value(&json!({"cpu": "0.5", "memory": "1Gi"}), &json!({"cpu": "500m", "memory": "1024Mi"})),
            Vec::<String>::new()
        );
        assert_eq!(describe_value(&json!({"cpu": "0.5"}), &json!({"cpu": "501m"})).len(), 1);
        assert_eq!(describe_value(&json!({"image": "a:1"}), &json!({"image": "a:1.0"})).len(), 1);
    }
}
