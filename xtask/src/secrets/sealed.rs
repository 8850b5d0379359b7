//! Override files that age or SOPS has encrypted: the values are in git, the key is not.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::tools::sops::Refusal;
use crate::tools::{age, sops};

/// Who encrypted a file; of SOPS, in which of its formats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seal {
    Age,
    Sops(&'static str),
}

/// Whether a file is encrypted, by its content: its name may be any.
pub fn seal_of(content: &[u8]) -> Option<Seal> {
    let begins = |with: &str| content.starts_with(with.as_bytes());
    if begins("age-encryption.org/v1") || begins("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Some(Seal::Age);
    }
    let text = String::from_utf8_lossy(content);
    // What SOPS adds to a file: a table at the end with, among others, a code over all values.
    const CODE: &str = "ENC[";
    let mut table = text.lines().skip_while(|line| *line != "sops:");
    if table.any(|line| line.trim_start().strip_prefix("mac: ").is_some_and(|code| code.starts_with(CODE))) {
        return Some(Seal::Sops("yaml"));
    }
    let json: Value = serde_json::from_str(&text).ok()?;
    json["sops"]["mac"].as_str().filter(|code| code.starts_with(CODE))?;
    // A file whose name ends in nothing that SOPS knows is one value to it.
    Some(Seal::Sops(if json["data"].is_string() { "binary" } else { "json" }))
}

/// The text of a file of values, decrypted in memory where it is encrypted. `name` is how a person calls it.
pub fn read(project: &Project, name: &str) -> Result<String> {
    let path = project.root.join(name);
    let content = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
    let file = path.display().to_string();
    let key = key_file().display().to_string();
    let Some(seal) = seal_of(&content) else {
        return String::from_utf8(content).with_context(|| format!("{name} is no text"));
    };
    let (program, call) = match seal {
        Seal::Age => ("age", age::decrypt(&file, &key)),
        Seal::Sops(format) => ("sops", sops::decrypt(&file, format)),
    };
    if which::which(program).is_err() {
        let message = format!("{name} is encrypted, and {program}, which opens it, is not on PATH");
        return Err(Stop::needs_setup(format!("{message}\nNext: install {program}; docs/secrets.md says how")).into());
    }
    // What it says may have values in it: its exit code has none.
    project.spawn.attempt(call)?.map_err(|output| refusal(seal, output.code, name, &key).into())
}

/// Why a file was not decrypted, and what to do then.
fn refusal(seal: Seal, code: Option<i32>, name: &str, key: &str) -> Stop {
    let get_key =
        "have somebody who can open it add your key, or name your key's file in SOPS_AGE_KEY_FILE".to_string();
    let (why, next) = match seal {
        Seal::Age => (format!("age can't decrypt {name} with the key in {key}"), get_key),
        Seal::Sops(_) => match Refusal::of(code) {
            Refusal::NoKey => {
                (format!("sops can't decrypt {name} with the key in {key}, nor with another of this machine"), get_key)
            }
            Refusal::Changed => (
                format!("sops can't decrypt {name}: it was changed after it was encrypted"),
                format!("restore it, for example with git, and change its values with `sops edit {name}`"),
            ),
            Refusal::Other => (
                format!("sops can't decrypt {name}, and what it says may have values in it"),
                format!("see it with `sops decrypt --output /dev/null {name}`"),
            ),
        },
    };
    Stop::failed(format!("{why}\nNext: {next}"))
}

/// Where the key is: SOPS looks there too.
fn key_file() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration =
        || variable("XDG_CONFIG_HOME").unwrap_or_else(|| variable("HOME").unwrap_or_default().join(".config"));
    variable("SOPS_AGE_KEY_FILE").unwrap_or_else(|| configuration().join("sops/age/keys.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_file_is_known_by_its_content() {
        assert_eq!(seal_of(b"age-encryption.org/v1\n-> X25519 abc\n\xff"), Some(Seal::Age));
        assert_eq!(seal_of(b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n"), Some(Seal::Age));
        let yaml = "secret:\n    values:\n        KEY: ENC[AES256_GCM,data:x]\nsops:\n    age: []\n    mac: ENC[AES256_GCM,data:y]\n";
        for text in [yaml.to_string(), yaml.replace('\n', "\r\n"), yaml.replace("    ", "  ")] {
            assert_eq!(seal_of(text.as_bytes()), Some(Seal::Sops("yaml")), "{text}");
        }
        let json = r#"{"secret": {"values": {"KEY": "ENC[x]"}}, "sops": {"mac": "ENC[y]"}}"#;
        assert_eq!(seal_of(json.as_bytes()), Some(Seal::Sops("json")));
        assert_eq!(seal_of(br#"{"data": "ENC[x]", "sops": {"mac": "ENC[y]"}}"#), Some(Seal::Sops("binary")));
        for plain in [
            "",
            "secret:\n  values:\n    KEY: x\n",
            "a: 1\nsops:\n  note: mine\n",
            "\nsops:\n",
            "mac: ENC[x]\nsops:\n",
            r#"{"data": "x", "sops": {"mac": "mine"}}"#,
        ] {
            assert_eq!(seal_of(plain.as_bytes()), None, "{plain}");
        }
    }

    #[test]
    fn a_file_that_was_changed_by_hand_is_not_taken_for_one_without_a_key() {
        let says = |seal, code| refusal(seal, Some(code), "team.yaml", "keys.txt").to_string();
        let no_key = says(Seal::Sops("yaml"), 128);
        assert!(no_key.contains("with the key in keys.txt") && no_key.contains("Next: have somebody"), "{no_key}");
        let changed = says(Seal::Sops("yaml"), 51);
        assert!(changed.contains("it was changed after") && changed.contains("`sops edit team.yaml`"), "{changed}");
        // Of age all is 1.
        assert!(says(Seal::Age, 1).contains("age can't decrypt team.yaml with the key in keys.txt"));
    }
}
