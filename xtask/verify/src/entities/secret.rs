//! Secrets, by their keys. Values are looked at while reading and never kept, so nothing here can print one.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::entities::service::namespace;
use xtask::model::labels::{data_key, object_name};
use xtask::model::object::{Fields, read};

#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    name: String,
    namespace: String,
    kind: SecretType,
    /// The keys of `data`, whose values are base64.
    data: BTreeSet<String>,
    /// The keys of `stringData`, whose values are plain; the API server turns them into `data`.
    string_data: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretType {
    Opaque,
    /// `kubernetes.io/tls`, with the keys tls.crt and tls.key.
    Tls,
    /// Another of Kubernetes' own, such as `kubernetes.io/dockerconfigjson`.
    Other(&'static str),
    /// Of somebody else, such as `helm.sh/release.v1`.
    Custom(String),
}

/// Kubernetes' own types, with the keys that they need.
const OTHERS: [(&str, &[&str]); 6] = [
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/basic-auth", &[]),
    ("kubernetes.io/service-account-token", &[]),
    ("bootstrap.kubernetes.io/token", &[]),
];

impl Secret {
    pub fn from_object(object: &Value) -> Result<Secret, Vec<String>> {
        read(object, |f| {
            f.must_be(&["Secret"]);
            let name = f.at("metadata").at("name").parsed(object_name);
            let namespace = namespace(f);
            let kind = f.at("type").or(SecretType::Opaque, |kind| kind.parsed(SecretType::parse));
            // What the decoder says names a byte of the value at most by its place; it is left out all the same.
            let data = keys(&f.at("data"), |value| match BASE64_STANDARD.decode(value) {
                Ok(_) => Ok(()),
                Err(_) => Err("is not base64, which data needs; plain text belongs into stringData".to_string()),
            });
            let string_data = keys(&f.at("stringData"), |_| Ok(()));
            let (kind, data, string_data) = (kind?, data?, string_data?);
            for key in kind.needs().iter().filter(|key| !data.contains(**key) && !string_data.contains(**key)) {
                f.at("data").at(key).report(format!("is missing: type {kind} needs it"));
            }
            Some(Secret { name: name?, namespace: namespace?, kind, data, string_data })
        })
    }
}

impl SecretType {
    pub fn parse(text: &str) -> Result<SecretType, String> {
        match text {
            "Opaque" | "" => Ok(SecretType::Opaque),
            "kubernetes.io/tls" => Ok(SecretType::Tls),
            _ => {
                let known = OTHERS.iter().find(|(name, _)| *name == text);
                let own = |text: &str| {
                    text.contains('/') && !text.split('/').next().is_some_and(|d| d.ends_with("kubernetes.io"))
                };
                match known {
                    Some((name, _)) => Ok(SecretType::Other(name)),
                    None if own(text) => Ok(SecretType::Custom(text.to_string())),
                    None => Err(format!("\"{text}\" is no type of a Secret such as Opaque or kubernetes.io/tls")),
                }
            }
        }
    }

    fn needs(&self) -> &'static [&'static str] {
        match self {
            SecretType::Tls => &["tls.crt", "tls.key"],
            SecretType::Other(name) => OTHERS.iter().find(|(known, _)| known == name).map_or(&[], |(_, keys)| keys),
            SecretType::Opaque | SecretType::Custom(_) => &[],
        }
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretType::Opaque => "Opaque",
            SecretType::Tls => "kubernetes.io/tls",
            SecretType::Other(name) => name,
            SecretType::Custom(name) => name,
        })
    }
}

/// The keys of `data` or `stringData`; `look` sees each value, and its error must not repeat it.
fn keys(f: &Fields, look: impl Fn(&str) -> Result<(), String>) -> Option<BTreeSet<String>> {
    let texts = f.texts()?;
    for (key, value) in &texts {
        for wrong in [data_key(key).map(drop), look(value)].into_iter().filter_map(Result::err) {
            f.at(key).report(wrong);
        }
    }
    Some(texts.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(more: Value) -> Result<Secret, Vec<String>> {
        let mut object = json!({"kind": "Secret", "metadata": {"name": "todo-backend-secret"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Secret::from_object(&object)
    }

    #[test]
    fn the_specs_secrets_are_read_by_key() {
        let read = secret(json!({"type": "Opaque", "stringData": {
            "DATABASE_URL": "postgresql://user:password@neon-host/dbname", "OPENAI_API_KEY": "CHANGE_ME"}}))
        .unwrap();
        assert_eq!((read.name.as_str(), read.namespace.as_str()), ("todo-backend-secret", "default"));
        assert_eq!(read.string_data, ["DATABASE_URL", "OPENAI_API_KEY"].map(str::to_string).into());
        let read = secret(json!({"data": {"JWT_SECRET": "Q0hBTkdFX01F", "EMPTY": ""}})).unwrap();
        assert_eq!((read.kind, read.data.len()), (SecretType::Opaque, 2));
        let tls = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "Zg==", "tls.key": "Zg=="}});
        assert_eq!(secret(tls).unwrap().kind, SecretType::Tls);
    }

    #[test]
    fn a_value_is_never_shown() {
        let sentinel = "s3ntinel-v4lue";
        let sound = secret(json!({"stringData": {"A": sentinel}, "data": {"B": "czNudGluZWwtdjRsdWU="}})).unwrap();
        assert!(!format!("{sound:?}").contains(sentinel) && !format!("{sound:?}").contains("czNudGluZWw"));
        let wrong =
            secret(json!({"data": {"A": sentinel, "B": [sentinel]}, "stringData": {"c d": sentinel}})).unwrap_err();
        assert!(wrong.len() >= 2 && !wrong.join(" ").contains(sentinel), "{wrong:?}");
    }

    #[test]
    fn illegal_secrets_are_refused() {
        for (wrong, describe) in [
            (json!({"type": "Plain"}), "type: \"Plain\" is no type of a Secret"),
            (json!({"type": "kubernetes.io/other"}), "type: \"kubernetes.io/other\" is no type"),
            (json!({"data": {"A": "plain text"}}), "data.A: is not base64"),
            (json!({"stringData": {"a b": "x"}}), "stringData.a b: \"a b\" is not a key"),
            (
                json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "Zg=="}}),
                "data.tls.key: is missing: type kubernetes.io/tls needs it",
            ),
        ] {
            let found = secret(wrong).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(describe), "{found:?}");
        }
        assert!(secret(json!({"type": "helm.sh/release.v1"})).is_ok());
    }
}
