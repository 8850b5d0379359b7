//! Override files that age or SOPS has encrypted: the values are in git, the key is not.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::tools::{age, sops};

/// Who encrypted a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seal {
    Age,
    Sops,
}

/// Whether a file is encrypted, by its content: its name may be any.
pub fn seal_of(content: &[u8]) -> Option<Seal> {
    let begins = |with: &str| content.starts_with(with.as_bytes());
    if begins("age-encryption.org/v1") || begins("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Some(Seal::Age);
    }
    let text = String::from_utf8_lossy(content);
    // What SOPS adds to a YAML file: a table at the end with, among others, a code over all values.
    let (_, table) = text.split_once("\nsops:\n")?;
    table.lines().any(|line| line.trim_start().starts_with("mac: ENC[")).then_some(Seal::Sops)
}

/// The text of a file of values, decrypted in memory where it is encrypted. `name` is how a person calls it.
pub fn read(project: &Project, name: &str) -> Result<String> {
    let path = project.root.join(name);
    let content = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
    let file = path.display().to_string();
    let key = key_file().display().to_string();
    let (program, call) = match seal_of(&content) {
        None => return String::from_utf8(content).with_context(|| format!("{name} is no text")),
        Some(Seal::Age) => ("age", age::decrypt(&file, &key)),
        Some(Seal::Sops) => ("sops", sops::decrypt(&file)),
    };
    if which::which(program).is_err() {
        let message = format!("{name} is encrypted, and {program}, which opens it, is not on PATH");
        return Err(Stop::needs_setup(format!("{message}\nNext: install {program}; docs/secrets.md says how")).into());
    }
    project.spawn.attempt(call)?.map_err(|_| {
        // What it says may have values in it.
        let message = format!("{program} can't decrypt {name} with the key in {key}");
        let next = "have somebody who can open it add your key, or name your key's file in SOPS_AGE_KEY_FILE";
        Stop::failed(format!("{message}\nNext: {next}")).into()
    })
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
        let sops = "secret:\n    values:\n        KEY: ENC[AES256_GCM,data:x]\nsops:\n    age: []\n    mac: ENC[AES256_GCM,data:y]\n";
        assert_eq!(seal_of(sops.as_bytes()), Some(Seal::Sops));
        for plain in ["", "secret:\n  values:\n    KEY: x\n", "a: 1\nsops:\n  note: mine\n", "\nsops:\n"] {
            assert_eq!(seal_of(plain.as_bytes()), None, "{plain}");
        }
    }
}
