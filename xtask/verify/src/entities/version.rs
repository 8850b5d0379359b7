//! Versions, as <https://semver.org> describes them.

use semver::Version;

/// No leading v, no leading zeros, three numbers.
pub fn parse_version(text: &str) -> Result<Version, String> {
    let wrong = |why| format!("\"{text}\" is not a version MAJOR.MINOR.PATCH such as 1.0.0 or 1.0.0-rc.1: {why}");
    Version::parse(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_written_alike() {
        for text in
            ["0.1.0", "1.0.0", "2.0.0", "1.0.0-h0123abcd4567", "1.0.0-rc.1", "1.0.0-0a", "1.0.0+5.x", "1.0.0-a--b"]
        {
            assert_eq!(parse_version(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.0-", "1.0.0-01", "1.0.0+", "1..0", "latest",
            "+1.0.0",
        ] {
            assert!(parse_version(text).is_err(), "{text}");
        }
    }
}
