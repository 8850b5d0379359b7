//! The Debian security tracker's data, from a file.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use crate::facts::advisories::at_home;
use crate::rules::{ImageFacts, Known, Vulnerability};
use xtask::model::time;
use xtask::run::context::Project;

/// What https://security-tracker.debian.org/tracker/data/json serves: source package to CVE to what is known of it.
struct Tracker(BTreeMap<String, BTreeMap<String, Cve>>);

#[derive(Deserialize)]
struct Cve {
    #[serde(default)]
    description: String,
    #[serde(default)]
    releases: BTreeMap<String, Release>,
}

#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    urgency: String,
    /// `0`: the release was never vulnerable.
    fixed_version: Option<String>,
}

/// Asks the tracker about the packages of each image.
pub fn gather(project: &Project, images: &BTreeMap<String, ImageFacts>, known: &mut Known) {
    if !images.values().any(|image| !image.packages.is_empty()) {
        known.debian = Err("no image has Debian packages".to_string());
        return;
    }
    let Some(configured) = &project.config.scan.debian else {
        known.debian =
            Err("set scan.debian to a file of https://security-tracker.debian.org/tracker/data/json".to_string());
        return;
    };
    match Tracker::read(&at_home(project, configured)) {
        Err(why) => known.debian = Err(why),
        Ok((tracker, dated)) => {
            known.debian = Ok(dated);
            let asked = images.iter().filter_map(|(service, image)| Some((service.clone(), tracker.of_image(image)?)));
            known.packages = asked.collect();
        }
    }
}

impl Tracker {
    /// With the time at which the file was written: it holds none itself.
    fn read(path: &Path) -> Result<(Tracker, String), String> {
        let failed = |why: String| format!("{} cannot be read: {why}", path.display());
        let file = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let written = file.metadata().and_then(|about| about.modified()).map_err(|error| failed(error.to_string()))?;
        let seconds = written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let read = serde_json::from_reader(BufReader::new(file));
        let all: BTreeMap<_, _> = read.map_err(|error| failed(error.to_string()))?;
        if all.is_empty() { Err(failed("it is empty".to_string())) } else { Ok((Tracker(all), time::text(seconds))) }
    }

    /// The vulnerabilities that the release has fixed and the image's packages have not; None for an image of no release
    /// that the tracker knows.
    fn of_image(&self, image: &ImageFacts) -> Option<Vec<Vulnerability>> {
        let codename = image.codename.as_ref()?;
        if image.packages.is_empty()
            || !self.0.values().flat_map(BTreeMap::values).any(|cve| cve.releases.contains_key(codename))
        {
            return None;
        }
        let sources: BTreeSet<_> =
            image.packages.iter().map(|package| (&package.source, &package.source_version)).collect();
        let mut found = Vec::new();
        for (source, version) in sources {
            for (id, cve) in self.0.get(source).into_iter().flatten() {
                let Some(release) = cve.releases.get(codename) else { continue };
                let Some(fixed) = release.fixed_version.as_ref().filter(|fixed| *fixed != "0") else { continue };
                if deb_version::compare_versions(version, fixed) == Ordering::Less {
                    found.push(Vulnerability {
                        id: id.clone(),
                        package: source.clone(),
                        version: version.clone(),
                        title: cve.description.lines().next().unwrap_or_default().chars().take(120).collect(),
                        severity: severity(&release.urgency),
                        fixed: vec![fixed.clone()],
                    });
                }
            }
        }
        Some(found)
    }
}

/// The tracker's urgency as a severity: its highest is `high`. An asterisk marks what was guessed.
fn severity(urgency: &str) -> Option<String> {
    match urgency.trim_end_matches('*') {
        "high" => Some("critical".to_string()),
        "" | "not yet assigned" => None,
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entities::dpkg::parse_status;

    /// As the tracker writes it.
    const DATA: &str = r#"{"glibc": {
        "CVE-2026-0001": {"description": "A buffer overflow.", "debianbug": 1, "scope": "remote", "releases": {
            "bookworm": {"status": "resolved", "repositories": {"bookworm": "2.36-9+deb12u10", "bookworm-security": "2.36-9+deb12u11"},
                "fixed_version": "2.36-9+deb12u11", "urgency": "not yet assigned"},
            "trixie": {"status": "open", "repositories": {"trixie": "2.41-12"}, "urgency": "not yet assigned"}}},
        "CVE-2026-0002": {"scope": "local", "releases": {
            "bookworm": {"status": "resolved", "repositories": {}, "fixed_version": "2.36-9+deb12u9", "urgency": "high"}}},
        "CVE-2026-0003": {"scope": "local", "releases": {
            "bookworm": {"status": "open", "repositories": {}, "urgency": "high**", "nodsa": "Minor issue", "nodsa_reason": ""}}},
        "CVE-2026-0004": {"scope": "local", "releases": {
            "bookworm": {"status": "resolved", "repositories": {}, "fixed_version": "0", "urgency": "unimportant"}}}}}"#;

    fn image(version: &str, codename: &str) -> ImageFacts {
        let status = format!("Package: libc6\nStatus: install ok installed\nSource: glibc\nVersion: {version}\n");
        let codename = Some(codename.to_string());
        ImageFacts { packages: parse_status(&status), codename, ..ImageFacts::default() }
    }

    fn tracker() -> (Tracker, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("debian.json");
        fs::write(&file, DATA).unwrap();
        Tracker::read(&file).unwrap()
    }

    #[test]
    fn a_package_older_than_its_releases_fix_is_found() {
        let (tracker, dated) = tracker();
        assert!(time::seconds(&dated).is_some(), "{dated}");
        let found = |version: &str| -> Vec<String> {
            let found = tracker.of_image(&image(version, "bookworm")).unwrap();
            found.iter().map(|one| format!("{} {:?}", one.id, one.severity.as_deref())).collect()
        };
        assert_eq!(found("2.36-9+deb12u10"), ["CVE-2026-0001 None"]);
        assert_eq!(found("2.36-9+deb12u11"), [""; 0]);
        assert_eq!(found("2.36-9+deb12u8"), ["CVE-2026-0001 None", "CVE-2026-0002 Some(\"critical\")"]);
        assert!(tracker.of_image(&image("2.36-9+deb12u10", "sid")).is_none(), "a release that nothing says a word of");
    }

    #[test]
    fn what_is_no_data_of_the_tracker_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("debian.json");
        for (text, expected) in [("{}", "it is empty"), ("[1]", "invalid type"), ("<html>", "expected value")] {
            fs::write(&file, text).unwrap();
            let error = Tracker::read(&file).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Tracker::read(&folder.path().join("gone")).is_err());
    }

    #[test]
    fn versions_compare_as_dpkg_compares_them() {
        // From dpkg's own tests and deb-version(7).
        for (less, more) in [
            ("1.0~rc1-1", "1.0-1"),
            ("1.0-1", "1.0-1+deb12u1"),
            ("1.0-1+deb12u9", "1.0-1+deb12u10"),
            ("9.0-1", "1:1.0-1"),
            ("1.2.9", "1.2.10"),
            ("1.0-1~bpo12+1", "1.0-1"),
            ("1.0a", "1.0b"),
            ("1.0", "1.0+git"),
        ] {
            assert_eq!(deb_version::compare_versions(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(deb_version::compare_versions(more, less), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(deb_version::compare_versions("0:1.0-1", "1.0-1"), Ordering::Equal);
    }
}
