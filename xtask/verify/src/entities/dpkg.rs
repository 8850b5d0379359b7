//! The packages of a Debian image, from /var/lib/dpkg/status, and its release, from /etc/os-release.

/// An installed package, by the source that it was built from: that is what the security tracker names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianPackage {
    pub name: String,
    pub version: String,
    pub source: String,
    pub source_version: String,
}

/// The installed packages; what was removed and left its configuration is not one.
pub fn parse_status(text: &str) -> Vec<DebianPackage> {
    text.split("\n\n").filter_map(parse_paragraph).collect()
}

fn parse_paragraph(text: &str) -> Option<DebianPackage> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_string()))
    };
    field("Status").filter(|status| status.ends_with(" installed"))?;
    let (name, version) = (field("Package")?, field("Version")?);
    // `Source: NAME`, or `Source: NAME (VERSION)` where the versions differ.
    let (source, source_version) = match field("Source") {
        None => (name.clone(), version.clone()),
        Some(source) => match source.split_once(" (") {
            Some((source, other)) => (source.to_string(), other.trim_end_matches(')').to_string()),
            None => (source, version.clone()),
        },
    };
    Some(DebianPackage { name, version, source, source_version })
}

/// The code name of the release, as in `bookworm`.
pub fn parse_codename(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim().trim_matches('"').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_the_source_and_its_version() {
        let status = "Package: libc6\nStatus: install ok installed\nSource: glibc\nVersion: 2.36-9+deb12u10\n\n\
                      Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b8\nSource: bash (5.2.15-2)\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: tar\nStatus: install ok installed\nVersion: 1.34+dfsg-1\nDescription: tar\n Source: no field\n";
        let package = |name: &str, version: &str, source: &str, source_version: &str| {
            let [name, version, source, source_version] = [name, version, source, source_version].map(str::to_string);
            DebianPackage { name, version, source, source_version }
        };
        let expected = [
            package("libc6", "2.36-9+deb12u10", "glibc", "2.36-9+deb12u10"),
            package("bash", "5.2.15-2+b8", "bash", "5.2.15-2"),
            package("tar", "1.34+dfsg-1", "tar", "1.34+dfsg-1"),
        ];
        assert_eq!(parse_status(status), expected);
        assert_eq!(parse_codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(parse_codename("ID=alpine\n"), None);
    }
}
