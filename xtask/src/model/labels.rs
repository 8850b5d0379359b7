//! Names, labels and selectors of the Kubernetes API.

use crate::model::object::{Fields, StringMap, one_of};

pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A DNS label, as namespaces and containers are named: 1 to 63 of a-z, 0-9 and -, with no - at an end.
pub fn label_name(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a name: 1 to 63 of a-z, 0-9 and -, with no - at an end")),
    }
}

/// A DNS label that starts with a letter, as Services are named.
pub fn service_name(text: &str) -> Result<String, String> {
    match is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => Ok(text.to_string()),
        false => Err(format!(
            "\"{text}\" is not a Service's name: 1 to 63 of a-z, 0-9 and -, the first a letter, with no - at the end"
        )),
    }
}

/// A DNS subdomain, as most objects are named: labels parted by dots, up to 253 characters.
pub fn object_name(text: &str) -> Result<String, String> {
    match text.len() <= 253 && text.split('.').all(|part| is_label(part) || (part.len() > 63 && is_word(part))) {
        true => Ok(text.to_string()),
        false => {
            Err(format!("\"{text}\" is not a name: words of a-z, 0-9 and -, parted by dots, at most 253 characters"))
        }
    }
}

/// A key of a ConfigMap or Secret.
pub fn data_key(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let reserved = text == "." || text.starts_with("..");
    match (1..=253).contains(&text.len()) && text.bytes().all(inner) && !reserved {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a key: 1 to 253 of letters, digits, -, _ and .")),
    }
}

/// A label's key: `app`, `app.kubernetes.io/name`.
pub fn label_key(text: &str) -> Result<String, String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    match prefix.is_none_or(|prefix| object_name(prefix).is_ok()) && is_qualified(name) {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a label's key such as app or example.org/part")),
    }
}

/// A label's value: empty, or up to 63 letters, digits, -, _ and ., with letters or digits at the ends.
pub fn label_value(text: &str) -> Result<String, String> {
    match text.is_empty() || is_qualified(text) {
        true => Ok(text.to_string()),
        false => Err(format!(
            "\"{text}\" is not a label's value: at most 63 letters, digits, -, _ and ., with a letter or digit at both ends"
        )),
    }
}

/// Labels; none where they are absent.
pub fn read_labels(f: &Fields) -> Option<StringMap> {
    let labels = f.texts()?;
    let mut sound = true;
    for (key, value) in &labels {
        for wrong in [label_key(key), label_value(value)].into_iter().filter_map(Result::err) {
            f.at(key).report(wrong);
            sound = false;
        }
    }
    sound.then_some(labels)
}

/// What labels must be like: the `selector` of a workload, the `labelSelector` of an affinity term.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    pub labels: StringMap,
    pub expressions: Vec<Requirement>,
}

/// What one label, of a pod or of a node, must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// Of nodes only, as is `Lt`.
    Gt,
    Lt,
}

impl Selector {
    pub fn from_fields(f: &Fields) -> Option<Selector> {
        let labels = read_labels(&f.at("matchLabels"));
        let expressions = f.at("matchExpressions").list(Requirement::from_fields);
        Some(Selector { labels: labels?, expressions: expressions? })
    }

    /// Whether it says nothing, and so takes everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    pub fn matches(&self, labels: &StringMap) -> bool {
        is_subset(&self.labels, labels) && self.expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Requirement {
    pub fn from_fields(f: &Fields) -> Option<Requirement> {
        let key = f.at("key").parsed(label_key);
        let operator = f.at("operator").parsed(|text| {
            let known = [
                ("In", Operator::In),
                ("NotIn", Operator::NotIn),
                ("Exists", Operator::Exists),
                ("DoesNotExist", Operator::DoesNotExist),
                ("Gt", Operator::Gt),
                ("Lt", Operator::Lt),
            ];
            one_of(text, &known)
        });
        let values = f.at("values").list(|value| value.parsed(label_value));
        let (key, operator, values) = (key?, operator?, values?);
        let count = match operator {
            Operator::In | Operator::NotIn => !values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => values.is_empty(),
            Operator::Gt | Operator::Lt => values.len() == 1 && values[0].parse::<i64>().is_ok(),
        };
        if !count {
            f.at("values").report(match operator {
                Operator::In | Operator::NotIn => "at least one value is needed",
                Operator::Exists | Operator::DoesNotExist => "no value may be given",
                Operator::Gt | Operator::Lt => "one integer, written as a text, is needed",
            });
            return None;
        }
        Some(Requirement { key, operator, values })
    }

    pub fn holds(&self, labels: &StringMap) -> bool {
        let value = labels.get(&self.key);
        let number = |text: &String| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(number);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => value.and_then(number) > bound,
            Operator::Lt => value.and_then(number).is_some_and(|value| Some(value) < bound),
        }
    }
}

/// Whether every one of `wanted` is among `labels`.
pub fn is_subset(wanted: &StringMap, labels: &StringMap) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_qualified(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::read;
    use serde_json::json;

    #[test]
    fn the_specs_names_are_names() {
        for text in ["todo-chatbot-frontend", "ai-todo-backend-deployment", "todo-backend-config", "default"] {
            assert!(label_name(text).is_ok() && service_name(text).is_ok() && object_name(text).is_ok(), "{text}");
        }
        for text in ["", "-a", "a-", "A", "a_b", "a..b", &"a".repeat(254)] {
            assert!(label_name(text).is_err() && object_name(text).is_err(), "{text}");
        }
        assert!(object_name("a.b").is_ok() && label_name("a.b").is_err());
        assert!(label_name("1a").is_ok() && service_name("1a").is_err());
    }

    #[test]
    fn keys_and_labels_keep_to_their_grammar() {
        for text in ["BACKEND_URL", "tls.crt", "a-b"] {
            assert!(data_key(text).is_ok(), "{text}");
        }
        for text in ["", ".", "..", "..a", "a b", "a/b"] {
            assert!(data_key(text).is_err(), "{text}");
        }
        assert!(label_key("app.kubernetes.io/name").is_ok() && label_key("app").is_ok());
        assert!(label_key("a/b/c").is_err() && label_key("/a").is_err() && label_key("").is_err());
        assert!(label_value("").is_ok() && label_value("0.1.0-h12d0").is_ok());
        assert!(label_value("-a").is_err() && label_value(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_selector_takes_what_is_like_it() {
        let selector = json!({"matchLabels": {"app": "a"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["x", "y"]}, {"key": "gone", "operator": "DoesNotExist"}]});
        let selector = read(&selector, Selector::from_fields).unwrap();
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert!(selector.matches(&labels(&[("app", "a"), ("tier", "y"), ("more", "z")])));
        assert!(!selector.matches(&labels(&[("app", "b"), ("tier", "y")])));
        assert!(!selector.matches(&labels(&[("app", "a")])));
        assert!(!selector.matches(&labels(&[("app", "a"), ("tier", "x"), ("gone", "")])));
    }

    #[test]
    fn a_requirement_has_the_values_that_its_operator_takes() {
        for wrong in [
            json!({"key": "a", "operator": "In"}),
            json!({"key": "a", "operator": "Exists", "values": ["x"]}),
            json!({"key": "a", "operator": "Gt", "values": ["x"]}),
            json!({"key": "a", "operator": "Like"}),
            json!({"key": "", "operator": "Exists"}),
        ] {
            assert!(read(&wrong, Requirement::from_fields).is_err(), "{wrong}");
        }
    }
}
