//! The environment of a container: names, and where values come from.

use std::fmt;

use xtask::model::labels::{data_key, object_name};
use xtask::model::object::Fields;

/// Letters, digits and underscores, the first no digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvName(String);

#[derive(Clone, Debug, PartialEq)]
pub struct EnvVar {
    pub name: EnvName,
    pub source: ValueSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    Value(String),
    ConfigMap(Key),
    Secret(Key),
    /// Of the pod itself, such as `status.podIP`.
    Field(String),
    /// Of the container's resources, such as `limits.cpu`.
    Resource(String),
}

/// A key of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub object: String,
    pub key: String,
    pub optional: bool,
}

/// All keys of an object as variables.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvFrom {
    pub kind: Kind,
    pub object: String,
    pub prefix: String,
    pub optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ConfigMap,
    Secret,
}

impl EnvName {
    pub fn parse(text: &str) -> Result<EnvName, String> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match !text.is_empty() && text.bytes().all(inner) && !text.starts_with(|c: char| c.is_ascii_digit()) {
            true => Ok(EnvName(text.to_string())),
            false => Err(format!(
                "\"{text}\" is not the name of an environment variable: letters, digits and underscores, the first no digit"
            )),
        }
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EnvVar {
    pub fn from_fields(f: &Fields) -> Option<EnvVar> {
        let name = f.at("name").parsed(EnvName::parse);
        let source = source(f);
        Some(EnvVar { name: name?, source: source? })
    }
}

impl EnvFrom {
    pub fn from_fields(f: &Fields) -> Option<EnvFrom> {
        let (map, secret) = (f.at("configMapRef"), f.at("secretRef"));
        let (kind, object) = match (map.is_absent(), secret.is_absent()) {
            (false, true) => (Kind::ConfigMap, map),
            (true, false) => (Kind::Secret, secret),
            _ => {
                f.report("needs either configMapRef or secretRef");
                return None;
            }
        };
        let prefix = f.at("prefix").or(String::new(), |prefix| {
            prefix.parsed(
                |text| if text.is_empty() { Ok(String::new()) } else { EnvName::parse(text).map(|name| name.0) },
            )
        });
        let name = object.at("name").parsed(object_name);
        let optional = object.at("optional").or(false, Fields::flag);
        Some(EnvFrom { kind, object: name?, prefix: prefix?, optional: optional? })
    }
}

fn source(f: &Fields) -> Option<ValueSource> {
    let from = f.at("valueFrom");
    if from.is_absent() {
        return f.at("value").or(String::new(), Fields::text).map(ValueSource::Value);
    }
    if f.at("value").value.as_str().is_some_and(|text| !text.is_empty()) {
        f.report("has both value and valueFrom");
        return None;
    }
    let kinds = ["configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| !from.at(kind).is_absent()).collect();
    let [kind] = given[..] else {
        from.report(format!("needs exactly one of {}", kinds.join(", ")));
        return None;
    };
    let about = from.at(kind);
    match kind {
        "configMapKeyRef" => key(&about).map(ValueSource::ConfigMap),
        "secretKeyRef" => key(&about).map(ValueSource::Secret),
        "fieldRef" => about.at("fieldPath").text().map(ValueSource::Field),
        _ => about.at("resource").text().map(ValueSource::Resource),
    }
}

fn key(f: &Fields) -> Option<Key> {
    let object = f.at("name").parsed(object_name);
    let key = f.at("key").parsed(data_key);
    let optional = f.at("optional").or(false, Fields::flag);
    Some(Key { object: object?, key: key?, optional: optional? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use xtask::model::object::read;

    fn var(value: Value) -> Result<EnvVar, Vec<String>> {
        read(&value, EnvVar::from_fields)
    }

    #[test]
    fn the_specs_names_are_names() {
        for text in [
            "BACKEND_URL",
            "DATABASE_URL",
            "JWT_EXPIRATION_DAYS",
            "BETTER_AUTH_JWKS_URL",
            "VITE_API_BASE_URL",
            "HOST",
            "_a1",
        ] {
            assert_eq!(EnvName::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1A", "A-B", "A.B", "A B", "Ä", "A="] {
            assert!(EnvName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_source_is_read() {
        assert_eq!(var(json!({"name": "A"})).unwrap().source, ValueSource::Value(String::new()));
        assert_eq!(var(json!({"name": "A", "value": "1"})).unwrap().source, ValueSource::Value("1".into()));
        let key = Key { object: "todo-chatbot-secrets".into(), key: "JWT_SECRET".into(), optional: false };
        let from =
            json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "todo-chatbot-secrets", "key": "JWT_SECRET"}}});
        assert_eq!(var(from).unwrap().source, ValueSource::Secret(key));
        let from = json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
        assert_eq!(var(from).unwrap().source, ValueSource::Field("status.podIP".into()));
    }

    #[test]
    fn a_variable_has_one_source() {
        for wrong in [
            json!({"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}),
            json!({"name": "A", "valueFrom": {}}),
            json!({"name": "A", "value": 1}),
            json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}),
            json!({"value": "1"}),
        ] {
            assert_eq!(var(wrong.clone()).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn all_keys_of_one_object_can_be_taken() {
        let from = read(&json!({"configMapRef": {"name": "todo-chatbot-config"}}), EnvFrom::from_fields).unwrap();
        assert_eq!((from.kind, from.object.as_str()), (Kind::ConfigMap, "todo-chatbot-config"));
        assert!(read(&json!({}), EnvFrom::from_fields).is_err());
        assert!(
            read(&json!({"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}), EnvFrom::from_fields).is_err()
        );
    }
}
