//! Known vulnerabilities of what is locked: `vul.*`.

use crate::rules::Place::Config;
use crate::rules::{Checks, Facts, Rule};

pub const RULES: &[Rule] = &[Rule {
    code: "vul.locks",
    what: "no package of a Cargo.lock has a known vulnerability",
    specs: "common.md#known-vulnerabilities",
    places: &[Config],
    check: locks,
}];

fn locks(facts: &Facts, checks: &mut Checks) {
    if let Err(why) = &facts.known.rust {
        return checks.cannot(Config, format!("RustSec advisories: {why}"));
    }
    for (lock, found) in &facts.known.locks {
        checks.that(Config, lock, true, String::new);
        for vulnerability in found {
            // Its ID, so that a waiver names one vulnerability.
            checks.that(Config, &vulnerability.id, false, || {
                let crate_name = &vulnerability.package;
                format!(
                    "{lock}: {vulnerability}\nupdate it: cargo update --manifest-path {} {crate_name}",
                    manifest(lock)
                )
            });
        }
    }
}

fn manifest(lock: &str) -> String {
    lock.replace("Cargo.lock", "Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::{assert_found, found, unseen};
    use crate::rules::{Known, Vulnerability};

    fn vulnerability() -> Vulnerability {
        Vulnerability {
            id: "RUSTSEC-2026-0001".to_string(),
            package: "anyhow".to_string(),
            version: "1.0.1".to_string(),
            title: "It fails".to_string(),
            severity: None,
            fixed: vec![">=1.0.2".to_string()],
        }
    }

    #[test]
    fn a_vulnerability_of_either_lock_is_found() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
        for lock in ["Cargo.lock", "services/Cargo.lock"] {
            assert_found(RULES, "vul.locks", Config, "RUSTSEC-2026-0001", |good| {
                good.known.locks.get_mut(lock).unwrap().push(vulnerability());
            });
        }
    }

    #[test]
    fn without_a_database_nothing_passes() {
        let good = crate::rules::fixture::good();
        let known = Known { rust: Err("no folder".to_string()), ..good.known };
        let unseen = Default::default();
        let facts =
            Facts { config: &good.config, unseen, files: None, rendered: None, images: None, live: None, known };
        let mut checks = Checks::default();
        locks(&facts, &mut checks);
        assert!(checks.looked.is_empty());
        assert_eq!(checks.unseen[&Config], "RustSec advisories: no folder");
    }

    #[test]
    fn what_nobody_scored_counts_as_critical_where_it_has_a_fix() {
        let mut one = vulnerability();
        assert!(one.is_fixable_and_critical());
        assert_eq!(one.to_string(), "anyhow 1.0.1 has RUSTSEC-2026-0001, not scored: It fails; fixed in >=1.0.2");
        one.severity = Some("high".to_string());
        assert!(!one.is_fixable_and_critical());
        one.severity = Some("critical".to_string());
        assert!(one.is_fixable_and_critical());
        one.fixed.clear();
        assert!(!one.is_fixable_and_critical());
        assert!(one.to_string().ends_with("fixed in no version"));
    }
}
