//! Names, versions and folders as the configuration writes them.

use std::path::{Path, PathBuf};

/// Where a module's go.mod lies, relative to the root.
pub fn module_folder(name: &str) -> PathBuf {
    Path::new("k8s/node/go").join(name)
}

/// What Kubernetes and helm take as a name; in words, `NAME_RULE`.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=53).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub const NAME_RULE: &str = "1 to 53 of a-z, 0-9 and -, with no - at an end";

/// The numbers of a version, `v1.33.1-rc` as `[1, 33, 1]`; None where it doesn't start with a number.
pub fn parse_version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.trim_start_matches('v').split(['-', '+', '~', ' ']).next()?;
    numbers.split('.').map(|part| part.parse().ok()).collect()
}
