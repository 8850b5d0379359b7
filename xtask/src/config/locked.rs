//! `tools.lock`: the checksums of downloads that were once taken, so that a release can't be replaced unseen.

use std::collections::BTreeMap;

use crate::config::tree::{ConfigError, Node, Place, Value, parse};
use crate::config::{ConfigErrors, parse_version};

/// Relative to the root. Absent, nothing is locked yet.
pub const FILE: &str = "tools.lock";

const HEAD: &str = "\
# The SHA-256 of each download, computed from the bytes that came. `cargo xtask bootstrap --update-lock` writes this file,
# and nothing else does.
";

/// Tool to version to platform, such as linux-amd64, to the SHA-256 of what is downloaded, in hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locked(BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>);

/// Reads the file; all mistakes are reported at once.
pub fn parse_lock(text: &str) -> Result<Locked, ConfigErrors> {
    let mut problems = Vec::new();
    let root = parse(FILE, text, &mut problems);
    let mut locked = Locked::default();
    for (tool, node) in entries(&root, "it", &mut problems) {
        for (version, node) in entries(node, tool, &mut problems) {
            if parse_version(version).is_none() {
                report(&mut problems, &node.place, format!("{tool}.\"{version}\" is no version"));
            }
            for (platform, node) in entries(node, &format!("{tool}.\"{version}\""), &mut problems) {
                match &node.value {
                    Value::String(sha256) if is_sha256(sha256) => locked.insert(tool, version, platform, sha256),
                    _ => {
                        let message = format!("{tool}.\"{version}\".{platform} must be 64 hexadecimal digits");
                        report(&mut problems, &node.place, message);
                    }
                }
            }
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(locked) } else { Err(ConfigErrors(problems)) }
}

impl Locked {
    pub fn get(&self, tool: &str, version: &str, platform: &str) -> Option<&str> {
        self.0.get(tool)?.get(version)?.get(platform).map(String::as_str)
    }

    /// Locks one download. What was locked of the tool's other versions goes: they are pinned no more.
    pub fn put(&mut self, tool: &str, version: &str, platform: &str, sha256: &str) {
        self.0.entry(tool.to_string()).or_default().retain(|known, _| known == version);
        self.insert(tool, version, platform, sha256);
    }

    /// The text of the file.
    pub fn write(&self) -> String {
        let mut text = HEAD.to_string();
        for (tool, versions) in &self.0 {
            for (version, platforms) in versions {
                text += &format!("\n[{tool}.\"{version}\"]\n");
                for (platform, sha256) in platforms {
                    text += &format!("{platform} = \"{sha256}\"\n");
                }
            }
        }
        text
    }

    fn insert(&mut self, tool: &str, version: &str, platform: &str, sha256: &str) {
        let versions = self.0.entry(tool.to_string()).or_default();
        versions.entry(version.to_string()).or_default().insert(platform.to_string(), sha256.to_string());
    }
}

/// Whether a text is a SHA-256 as it is compared: 64 hexadecimal digits, lower case.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn entries<'a>(node: &'a Node, name: &str, problems: &mut Vec<ConfigError>) -> Vec<(&'a String, &'a Node)> {
    match &node.value {
        Value::Table(entries) => entries.iter().collect(),
        other => {
            report(problems, &node.place, format!("{name} is {}: it must be a table", other.kind()));
            Vec::new()
        }
    }
}

fn report(problems: &mut Vec<ConfigError>, place: &Place, message: String) {
    problems.push(ConfigError { place: place.clone(), message });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_older_versions_go() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let mut locked = Locked::default();
        locked.put("helm", "3.1.0", "linux-amd64", &a);
        locked.put("helm", "3.2.0", "linux-amd64", &a);
        locked.put("helm", "3.2.0", "darwin-arm64", &b);
        let read = parse_lock(&locked.write()).unwrap();
        assert_eq!(read, locked);
        assert_eq!(read.get("helm", "3.2.0", "darwin-arm64"), Some(b.as_str()));
        assert_eq!(read.get("helm", "3.1.0", "linux-amd64"), None);
        assert_eq!(read.get("minikube", "3.2.0", "linux-amd64"), None);
    }

    #[test]
    fn all_that_is_wrong_is_reported_with_its_place() {
        let text =
            format!("x = 1\n[helm.\"new\"]\na = \"{0}\"\n[helm.\"3.1.0\"]\na = \"{0}\"\nb = \"A\"\n", "a".repeat(64));
        let printed = parse_lock(&text).unwrap_err().to_string();
        for expected in [
            "tools.lock:1:5: x is an integer: it must be a table",
            "tools.lock:2:7: helm.\"new\" is no version",
            "tools.lock:6:5: helm.\"3.1.0\".b must be 64 hexadecimal digits",
        ] {
            assert!(printed.contains(expected), "{expected}\nnot in\n{printed}");
        }
        assert_eq!(parse_lock("").unwrap(), Locked::default());
    }
}
