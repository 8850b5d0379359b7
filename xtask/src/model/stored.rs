//! What helm keeps of a revision in the cluster: JSON, compressed, in the base64 of a Secret and once more in its own.

use std::io::Read;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;

/// More than any release: a Secret holds a megabyte, compressed.
const LONGEST: u64 = 256 << 20;

/// A revision of a release, as far as a plan compares with it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stored {
    pub name: String,
    pub namespace: String,
    #[serde(rename = "version")]
    pub revision: u64,
    pub info: Info,
    /// The manifest that was applied, as YAML.
    #[serde(default)]
    pub manifest: String,
    #[serde(default)]
    hooks: Vec<Hook>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Info {
    pub status: String,
    #[serde(default)]
    pub description: String,
    /// As in 2026-01-31T12:00:00.123456789Z.
    #[serde(default)]
    pub last_deployed: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Hook {
    #[serde(default)]
    path: String,
    #[serde(default)]
    manifest: String,
}

impl Stored {
    /// Reads the value `release` of a Secret, as the API server shows it.
    pub fn read(data: &str) -> Result<Stored> {
        let decode = |text: &[u8]| BASE64_STANDARD.decode(text).context("it is not base64");
        let mut json = Vec::new();
        let compressed = decode(&decode(data.as_bytes())?)?;
        GzDecoder::new(compressed.as_slice())
            .take(LONGEST)
            .read_to_end(&mut json)
            .context("it is not compressed as gzip")?;
        serde_json::from_slice(&json).context("it is not a release")
    }

    /// What helm runs before or after the manifest, as `helm get hooks` prints it.
    pub fn hooks(&self) -> String {
        self.hooks.iter().map(|hook| format!("---\n# Source: {}\n{}\n", hook.path, hook.manifest)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn stored(json: &str) -> String {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json.as_bytes()).unwrap();
        BASE64_STANDARD.encode(BASE64_STANDARD.encode(encoder.finish().unwrap()))
    }

    #[test]
    fn a_revision_is_read_with_its_manifest_and_hooks() {
        let read = Stored::read(&stored(
            r#"{"name": "todo", "namespace": "n", "version": 3, "chart": {"metadata": {}}, "manifest": "---\nkind: Service\n",
                "info": {"status": "deployed", "description": "Upgrade complete", "first_deployed": "x", "last_deployed": "y"},
                "hooks": [{"name": "test", "path": "c/templates/t.yaml", "manifest": "kind: Pod", "events": ["test"]}]}"#,
        ));
        let read = read.unwrap();
        assert_eq!((read.name.as_str(), read.revision, read.info.status.as_str()), ("todo", 3, "deployed"));
        assert_eq!((read.info.last_deployed.as_str(), read.manifest.as_str()), ("y", "---\nkind: Service\n"));
        assert_eq!(read.hooks(), "---\n# Source: c/templates/t.yaml\nkind: Pod\n");
    }

    #[test]
    fn what_cannot_be_read_says_at_which_step() {
        let why = |data: &str| format!("{:#}", Stored::read(data).unwrap_err());
        assert!(why("%").starts_with("it is not base64"));
        let plain = BASE64_STANDARD.encode(BASE64_STANDARD.encode("text"));
        assert!(why(&plain).starts_with("it is not compressed as gzip"), "{}", why(&plain));
        assert!(why(&stored("{}")).starts_with("it is not a release: missing field"), "{}", why(&stored("{}")));
    }
}
