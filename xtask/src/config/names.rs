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

/// A version that is a valid part of an image's tag; in words, `VERSION_RULE`.
pub fn is_version(text: &str) -> bool {
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        part == "0" || !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && !part.starts_with('0')
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    core.split('.').count() == 3 && core.split('.').all(number) && pre.is_none_or(|pre| pre.split('.').all(word))
}

pub const VERSION_RULE: &str = "three numbers such as 1.0.0, or 1.0.0-rc.1";

/// What docker takes as an image's name without its tag; in words, `IMAGE_RULE`.
pub fn is_image_name(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:".contains(&byte);
        let bytes = part.as_bytes();
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
    };
    // A colon is the port of a registry, which is not the last part.
    text.split('/').all(part) && !text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

pub const IMAGE_RULE: &str = "the name of an image without a tag: a-z, 0-9, ., _, - and / between parts";

/// The numbers of a version, `v1.33.1-rc` as `[1, 33, 1]`; None where it doesn't start with a number.
pub fn parse_version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.trim_start_matches('v').split(['-', '+', '~', ' ']).next()?;
    numbers.split('.').map(|part| part.parse().ok()).collect()
}
