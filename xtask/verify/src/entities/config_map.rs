//! ConfigMaps: settings that aren't secret.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::entities::service::namespace;
use xtask::model::labels::{data_key, object_name};
use xtask::model::object::{StringMap, read};

/// No key is in both of `data` and `binary`; together they are at most 1 MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMap {
    name: String,
    namespace: String,
    data: StringMap,
    binary: BTreeMap<String, Vec<u8>>,
}

impl ConfigMap {
    pub fn from_object(object: &Value) -> Result<ConfigMap, Vec<String>> {
        read(object, |f| {
            f.must_be(&["ConfigMap"]);
            let name = f.at("metadata").at("name").parsed(object_name);
            let namespace = namespace(f);
            let (data, binary) = (f.at("data").texts(), f.at("binaryData").texts());
            let (data, encoded) = (data?, binary?);
            for (place, texts) in [("data", &data), ("binaryData", &encoded)] {
                for (key, wrong) in texts.keys().filter_map(|key| Some((key, data_key(key).err()?))) {
                    f.at(place).at(key).report(wrong);
                }
            }
            let mut binary = BTreeMap::new();
            for (key, text) in encoded {
                let place = f.at("binaryData").at(&key);
                if data.contains_key(&key) {
                    place.report("stands in data too");
                }
                match BASE64_STANDARD.decode(text) {
                    Ok(bytes) => drop(binary.insert(key, bytes)),
                    Err(wrong) => place.report(format!("is not base64: {wrong}")),
                }
            }
            let size = data.values().map(String::len).chain(binary.values().map(Vec::len)).sum::<usize>();
            if size > 1 << 20 {
                f.report(format!("holds {size} bytes, more than 1 MiB"));
            }
            Some(ConfigMap { name: name?, namespace: namespace?, data, binary })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(data: Value, binary: Value) -> Result<ConfigMap, Vec<String>> {
        ConfigMap::from_object(
            &json!({"kind": "ConfigMap", "metadata": {"name": "todo-chatbot-config"}, "data": data, "binaryData": binary}),
        )
    }

    #[test]
    fn the_specs_settings_are_read() {
        let spec = json!({
            "HOST": "0.0.0.0", "PORT": "8000", "FRONTEND_ORIGIN": "http://localhost", "CORS_ORIGINS": "", "LLM_PROVIDER": "",
            "GROQ_MODEL": "meta-llama/llama-4-scout-17b-16e-instruct",
        });
        let read = map(spec, json!({"icon.png": "iVBORw=="})).unwrap();
        assert_eq!((read.name.as_str(), read.namespace.as_str()), ("todo-chatbot-config", "default"));
        assert_eq!((read.data["PORT"].as_str(), read.data.len()), ("8000", 6));
        assert_eq!(read.binary["icon.png"], [0x89, b'P', b'N', b'G']);
    }

    #[test]
    fn illegal_maps_are_refused_with_all_that_is_wrong() {
        assert_eq!(
            map(json!({"a b": "1", "x": "1"}), json!({"x": "Zg==", "y": "Zg"})).unwrap_err(),
            [
                "data.a b: \"a b\" is not a key: 1 to 253 of letters, digits, -, _ and .",
                "binaryData.x: stands in data too",
                "binaryData.y: is not base64: Invalid padding",
            ]
        );
        assert_eq!(map(json!({"PORT": 8000}), json!(null)).unwrap_err(), ["data.PORT: a number instead of a text"]);
        assert!(map(json!({"a": "x".repeat((1 << 20) + 1)}), json!(null)).is_err());
    }
}
