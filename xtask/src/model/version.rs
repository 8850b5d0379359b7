//! Semantic versions, as <https://semver.org> describes them.

use std::fmt;

/// MAJOR.MINOR.PATCH, with what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    /// What follows a hyphen; empty for a release.
    pub pre: String,
    /// What follows a plus sign.
    pub build: String,
}

impl Version {
    /// No leading v, no leading zeros, three numbers.
    pub fn parse(text: &str) -> Result<Version, String> {
        let wrong = || format!("\"{text}\" is not a version MAJOR.MINOR.PATCH such as 1.0.0 or 1.0.0-rc.1");
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let numbers: Option<Vec<u64>> = core.split('.').map(number).collect();
        let Some([major, minor, patch]) = numbers.as_deref() else { return Err(wrong()) };
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let counted = |part: &str| !part.bytes().all(|b| b.is_ascii_digit()) || number(part).is_some();
        let sound = pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && counted(part)))
            && build.is_none_or(|build| build.split('.').all(word));
        let owned = |part: Option<&str>| part.unwrap_or_default().to_string();
        let (major, minor, patch) = (*major, *minor, *patch);
        if sound { Ok(Version { major, minor, patch, pre: owned(pre), build: owned(build) }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_written_alike() {
        for text in
            ["0.1.0", "1.0.0", "2.0.0", "1.0.0-h0123abcd4567", "1.0.0-rc.1", "1.0.0-0a", "1.0.0+5.x", "1.0.0-a--b"]
        {
            assert_eq!(Version::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.0-", "1.0.0-01", "1.0.0+", "1..0", "latest",
            "+1.0.0",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
