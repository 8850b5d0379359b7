//! RustSec's advisory database, from a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustsec::database::Query;
use rustsec::package::{Name, Version};
use rustsec::{Database, Lockfile};

use crate::rules::{ImageFacts, Known, Package, Vulnerability};
use xtask::run::context::Project;

/// The database, and the date of its newest advisory.
pub struct Advisories {
    database: Database,
    dated: String,
}

/// Asks the database about each lock among these files, and about the crates of each image.
pub fn gather(project: &Project, tracked: &[String], images: &BTreeMap<String, ImageFacts>) -> Result<Known> {
    let advisories = open(project);
    let rust = advisories.as_ref().map(|found| found.dated.clone()).map_err(Clone::clone);
    let mut known = Known { rust, ..Known::default() };
    let Ok(advisories) = &advisories else { return Ok(known) };
    for path in tracked.iter().filter(|path| Path::new(path).file_name().is_some_and(|name| name == "Cargo.lock")) {
        let file = project.root.join(path);
        // One that was deleted is tracked until the next commit.
        if file.exists() {
            let found = advisories.of_lock(&file).with_context(|| format!("{path} cannot be read"))?;
            known.locks.insert(path.clone(), found);
        }
    }
    for (service, image) in images.iter().filter(|(_, image)| !image.crates.is_empty()) {
        known.crates.insert(service.clone(), advisories.of_image(image)?);
    }
    Ok(known)
}

/// The configured folder, else the one that `cargo audit` fetches into; the error says why there is none.
fn open(project: &Project) -> Result<Advisories, String> {
    let advice = "clone the RustSec advisory database and set scan.advisories to its folder";
    let Some(folder) = folder(project) else { return Err(format!("there is no database: {advice}")) };
    if !folder.is_dir() {
        return Err(format!("{} is no folder: {advice}", folder.display()));
    }
    Advisories::read(&folder)
}

fn folder(project: &Project) -> Option<PathBuf> {
    if let Some(configured) = &project.config.scan.advisories {
        return Some(at_home(project, configured));
    }
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cargo")))?;
    Some(cargo.join("advisory-db")).filter(|folder| folder.is_dir())
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

/// A configured path, `~/` being the home folder, else relative to the root.
pub fn at_home(project: &Project, configured: &str) -> PathBuf {
    match (configured.strip_prefix("~/"), home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => project.root.join(configured),
    }
}

impl Advisories {
    fn read(folder: &Path) -> Result<Advisories, String> {
        let read = Database::open(folder);
        let database = read.map_err(|error| format!("{} cannot be read: {error}", folder.display()))?;
        let newest = database.iter().map(|advisory| advisory.date().as_str()).max().map(str::to_string);
        let dated = newest.ok_or_else(|| format!("{} holds no advisories", folder.display()))?;
        Ok(Advisories { database, dated })
    }

    /// The vulnerabilities of the packages in a lock that come from a registry.
    fn of_lock(&self, lock: &Path) -> Result<Vec<Vulnerability>> {
        let lock = Lockfile::load(lock)?;
        let packages = lock.packages.iter().filter(|package| package.source.is_some());
        Ok(packages.flat_map(|package| self.of_crate(&package.name, &package.version)).collect())
    }

    /// The vulnerabilities of the crates in an image's programs.
    pub fn of_image(&self, image: &ImageFacts) -> Result<Vec<Vulnerability>> {
        let foreign = image.crates.values().flatten().filter(|package| package.is_foreign);
        let packages: BTreeSet<&Package> = foreign.collect();
        let mut found = Vec::new();
        for package in packages {
            found.extend(self.of_crate(&package.name.parse()?, &package.version.parse()?));
        }
        Ok(found)
    }

    fn of_crate(&self, name: &Name, version: &Version) -> Vec<Vulnerability> {
        let query = Query::crate_scope().package_name(name.clone()).package_version(version.clone());
        let found = self.database.query(&query).into_iter().map(|advisory| Vulnerability {
            id: advisory.id().to_string(),
            package: name.to_string(),
            version: version.to_string(),
            title: advisory.title().to_string(),
            severity: advisory.severity().map(|severity| severity.as_str().to_lowercase()),
            fixed: advisory.versions.patched().iter().map(ToString::to_string).collect(),
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// As the database writes them.
    fn advisory(id: &str, package: &str, date: &str, more: &str, patched: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"{date}\"\n{more}\n[versions]\n\
             patched = [{patched}]\n```\n\n# A flaw of {package}\n\nIt can be used.\n"
        )
    }

    fn database(advisories: &[(&str, &str, &str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("crates")).unwrap();
        for (id, package, date, more, patched) in advisories {
            let place = folder.path().join("crates").join(package);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join(format!("{id}.md")), advisory(id, package, date, more, patched)).unwrap();
        }
        folder
    }

    const CRITICAL: &str = "cvss = \"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H\"";

    #[test]
    fn a_crate_of_our_own_locks_is_found_in_each() {
        let folder = database(&[
            ("RUSTSEC-2026-0001", "serde_json", "2026-10-01", CRITICAL, "\">= 900.0.0\""),
            ("RUSTSEC-2026-0002", "serde_json", "2026-11-20", "", "\">= 1.0.0\""),
            ("RUSTSEC-2026-0003", "anyhow", "2026-09-01", "informational = \"unmaintained\"", ""),
            ("RUSTSEC-2026-0004", "anyhow", "2026-09-01", "withdrawn = \"2026-09-02\"", ""),
        ]);
        let advisories = Advisories::read(folder.path()).unwrap();
        assert_eq!(advisories.dated, "2026-11-20");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for lock in ["Cargo.lock", "services/Cargo.lock"] {
            let found = advisories.of_lock(&root.join(lock)).unwrap();
            let [one] = found.as_slice() else { panic!("{lock}: {found:?}") };
            assert_eq!((one.id.as_str(), one.package.as_str()), ("RUSTSEC-2026-0001", "serde_json"));
            assert_eq!((one.severity.as_deref(), &one.fixed), (Some("critical"), &vec![">=900.0.0".to_string()]));
            assert_eq!(one.title, "A flaw of serde_json");
        }
    }

    #[test]
    fn the_crates_of_a_program_are_asked_about_and_not_the_projects_own() {
        let folder = database(&[
            ("RUSTSEC-2026-0001", "tokio", "2026-10-01", "", "\">= 1.41.0\""),
            ("RUSTSEC-2026-0002", "kit", "2026-10-01", "", ""),
        ]);
        let advisories = Advisories::read(folder.path()).unwrap();
        let package = |name: &str, version: &str, is_foreign| {
            let (name, version) = (name.to_string(), version.to_string());
            Package { name, version, is_foreign }
        };
        let found = |version: &str| {
            let packages = vec![package("kit", "0.1.0", false), package("tokio", version, true)];
            let crates = BTreeMap::from([("app/a".to_string(), packages)]);
            advisories.of_image(&ImageFacts { crates, ..ImageFacts::default() }).unwrap()
        };
        let names = |version: &str| found(version).into_iter().map(|one| one.package).collect::<Vec<_>>();
        assert_eq!((names("1.40.0"), names("1.41.0")), (vec!["tokio".to_string()], Vec::new()));
    }

    #[test]
    fn a_package_of_the_workspace_is_not_the_crate_of_its_name() {
        let folder = database(&[("RUSTSEC-2026-0001", "kit", "2026-10-01", "", "")]);
        let advisories = Advisories::read(folder.path()).unwrap();
        let lock = folder.path().join("Cargo.lock");
        fs::write(&lock, "version = 4\n[[package]]\nname = \"kit\"\nversion = \"0.1.0\"\n").unwrap();
        assert_eq!(advisories.of_lock(&lock).unwrap(), []);
    }

    #[test]
    fn what_is_no_database_is_an_error_and_not_a_clean_one() {
        let empty = tempfile::tempdir().unwrap();
        assert!(Advisories::read(empty.path()).err().unwrap().contains("cannot be read"));
        let error = Advisories::read(database(&[]).path()).err().unwrap();
        assert!(error.ends_with("holds no advisories"), "{error}");
    }
}
