//! `validate`: gathers the facts that the rules judge, and prints the verdicts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::facts;
use crate::rules;
use crate::rules::sbom::cyclonedx;
use crate::rules::scan::{Check, Outcome, checklist, failures, passed};
use crate::rules::{Facts, Finding, Known, Place, Rule, Verdict};
use crate::specs;
use xtask::config::Waiver;
use xtask::run::annotation::Annotation;
use xtask::run::context::Project;
use xtask::run::exit::Stop;

const PLACES: [Place; 4] = [Place::Config, Place::Render, Place::Image, Place::Live];
/// What stands where nothing was looked at, and why is said below the table.
const UNSEEN: &str = "–";

pub fn list_rules(project: &Project) -> Result<()> {
    let deviations = specs::deviations(project)?;
    project.ui.answer(
        &format!("{}\n\n{}", rule_table(), specs::text(&deviations)),
        json!({ "rules": rules::all().map(rule_json).collect::<Vec<_>>(), "deviations": specs::to_json(&deviations) }),
    );
    Ok(())
}

/// Checks the profile, and writes what each image is made of into the folder `sbom`. Exit 1 with a finding that no waiver
/// covers.
pub fn run(project: &Project, live: bool, sbom: Option<&Path>) -> Result<()> {
    let facts = facts::gather(project, live)?;
    if let Some(folder) = sbom {
        write_sboms(folder, &facts)?;
    }
    let verdicts = rules::judge(&facts);
    let scans = scans(&facts);
    let unused = rules::unused(&project.config, &verdicts);
    project.ui.answer(
        &report(&project.config.profile, &verdicts, &scans, &unused, &databases(&facts.known)),
        to_json(&project.config.profile, &verdicts, &scans, &unused),
    );
    let open = verdicts.iter().flat_map(Verdict::open);
    project.ui.annotate(&open.filter_map(annotation).collect::<Vec<_>>());
    match verdicts.iter().flat_map(Verdict::open).count() {
        0 => Ok(()),
        1 => Err(Stop::failed(
            "one finding is open\nNext: mend it, or waive it with a reason under [[waivers]] of the profile",
        )
        .into()),
        count => Err(Stop::failed(format!(
            "{count} findings are open\nNext: mend them, or waive them with reasons under [[waivers]] of the profile"
        ))
        .into()),
    }
}

/// One file for each image.
fn write_sboms(folder: &Path, facts: &Facts) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (service, image) in facts.images.iter().flatten() {
        let file = folder.join(format!("{service}.cdx.json"));
        let text = serde_json::to_string_pretty(&cyclonedx(image))? + "\n";
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// An image and how its checks have ended.
type Scan = (String, Vec<Check>);

fn scans(facts: &Facts) -> Vec<Scan> {
    let images = facts.images.iter().flatten();
    images.map(|(service, found)| (found.reference.clone(), checklist(facts, service, found))).collect()
}

/// Which databases of known vulnerabilities were asked, with their dates.
fn databases(known: &Known) -> Vec<String> {
    let rust = match &known.rust {
        Ok(dated) => format!("RustSec advisories: the newest is of {dated}; {} locks", known.locks.len()),
        Err(why) => format!("RustSec advisories: not asked: {why}"),
    };
    let debian = match &known.debian {
        Ok(dated) => format!("Debian security tracker: the file is of {dated}; {} images", known.packages.len()),
        Err(why) => format!("Debian security tracker: not asked: {why}"),
    };
    vec![rust, debian]
}

fn rule_table() -> String {
    let rows = rules::all().map(|rule| {
        let places = rule.places.iter().map(|place| place.name()).collect::<Vec<_>>().join(", ");
        format!("{:<22} {:<30} {:<86} {}", rule.code, places, rule.what, rule.specs)
    });
    let rows: Vec<String> = rows.collect();
    format!(
        "{:<22} {:<30} {:<86} stated in docs/specs/\n{}\n{} rules",
        "code",
        "checked in",
        "rule",
        rows.join("\n"),
        rows.len()
    )
}

fn rule_json(rule: &Rule) -> Value {
    let places: Vec<&str> = rule.places.iter().map(|place| place.name()).collect();
    json!({ "code": rule.code, "rule": rule.what, "specs": rule.specs, "places": places })
}

/// How a rule ended, in a word or two.
fn verdict(verdict: &Verdict) -> String {
    let (open, all) = (verdict.open().count(), verdict.findings.len());
    let waived = if all > open { format!("{} waived", all - open) } else { String::new() };
    match (open, verdict.looked.is_empty()) {
        (0, true) => "not looked at".to_string(),
        (0, false) if all > 0 => waived,
        (0, false) => "holds".to_string(),
        (1, _) => {
            ["1 FINDING".to_string(), waived].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
        }
        (_, _) => [format!("{open} FINDINGS"), waived]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn report(profile: &str, verdicts: &[Verdict], scans: &[Scan], unused: &[&Waiver], notes: &[String]) -> String {
    let mut lines = vec![format!(
        "profile {profile}\n{:<20} {:>8} {:>8} {:>8} {:>8}  ended",
        "rule", "config", "rendered", "image", "live"
    )];
    for one in verdicts {
        let cells = PLACES.map(|place| match (one.rule.places.contains(&place), one.looked.get(&place)) {
            (false, _) => String::new(),
            // What was looked at in part is marked: why stands below.
            (true, Some(count)) if one.unseen.contains_key(&place) => format!("{count}*"),
            (true, Some(count)) => count.to_string(),
            (true, None) => UNSEEN.to_string(),
        });
        let [config, rendered, image, live] = cells;
        let line = format!("{:<20} {config:>8} {rendered:>8} {image:>8} {live:>8}  {}", one.rule.code, verdict(one));
        lines.push(line);
    }
    lines.push("The numbers are things that were looked at.".to_string());
    lines.extend(
        unseen(verdicts)
            .into_iter()
            .map(|((place, why), codes)| format!("{UNSEEN} {}: {why}: {}", place.name(), codes.join(", "))),
    );
    lines.extend(scans.iter().flat_map(|(reference, list)| scan_lines(reference, list)));
    let found = || verdicts.iter().flat_map(|verdict| &verdict.findings);
    lines.extend(found().filter(|finding| finding.waived.is_none()).map(|finding| format!("✗ {}", describe(finding))));
    for finding in found() {
        if let Some(reason) = &finding.waived {
            lines.push(format!("waived: {}\n  because {reason}", describe(finding)));
        }
    }
    lines.extend(unused.iter().map(|waiver| {
        let object = waiver.object.as_deref().map(|object| format!(" of {object}")).unwrap_or_default();
        format!("the waiver {}{object} waives nothing: take it out", waiver.code)
    }));
    let open = verdicts.iter().flat_map(Verdict::open).count();
    let waived = found().count() - open;
    lines.extend(notes.iter().cloned());
    let holding = verdicts.iter().filter(|verdict| verdict.findings.is_empty() && !verdict.looked.is_empty()).count();
    lines.push(format!(
        "{} rules: {holding} hold where they were looked at, {open} findings, {waived} waived",
        verdicts.len()
    ));
    lines.join("\n")
}

fn scan_lines(reference: &str, list: &[Check]) -> Vec<String> {
    let (passed, made) = passed(list);
    let mut lines = vec![format!("scan of {reference}: {passed} of {made} checks, {} %", passed * 100 / made.max(1))];
    lines.extend(failures(list).iter().map(|failure| format!("  failed, {failure}")));
    lines.extend(list.iter().filter_map(|check| match &check.outcome {
        Outcome::Skipped(why) => Some(format!("  skipped: {} ({why})", check.what)),
        Outcome::Passed | Outcome::Failed(_) => None,
    }));
    lines
}

/// Place and reason to the rules that were not, or not wholly, looked at there.
fn unseen(verdicts: &[Verdict]) -> BTreeMap<(Place, &str), Vec<&str>> {
    let mut found: BTreeMap<(Place, &str), Vec<&str>> = BTreeMap::new();
    for verdict in verdicts {
        for (place, why) in &verdict.unseen {
            found.entry((*place, why)).or_default().push(verdict.rule.code);
        }
    }
    found
}

fn describe(finding: &Finding) -> String {
    let at = finding.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!(
        "{} {} ({}{at})\n  {}",
        finding.code,
        finding.object,
        finding.place.name(),
        finding.message.replace('\n', "\n  ")
    )
}

/// Of a finding that a line of the configuration or of a chart is about.
fn annotation(finding: &Finding) -> Option<Annotation> {
    let message = format!("{} {}\n{}", finding.code, finding.object, finding.message);
    Annotation::of_text(finding.at.as_deref()?, &message)
}

fn to_json(profile: &str, verdicts: &[Verdict], scans: &[Scan], unused: &[&Waiver]) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "code": finding.code, "place": finding.place.name(), "object": finding.object, "at": finding.at,
            "message": finding.message, "waived": finding.waived,
        })
    };
    let rules: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            let by_name = |place: &Place| place.name().to_string();
            let mut text = rule_json(verdict.rule);
            text["looked"] = verdict.looked.iter().map(|(place, count)| (by_name(place), json!(count))).collect();
            text["unseen"] = verdict.unseen.iter().map(|(place, why)| (by_name(place), json!(why))).collect();
            text["findings"] = verdict.findings.iter().map(finding).collect();
            text
        })
        .collect();
    let scans: serde_json::Map<String, Value> =
        scans.iter().map(|(reference, list)| (reference.clone(), list.iter().map(check_json).collect())).collect();
    let unused: Vec<Value> =
        unused.iter().map(|waiver| json!({"code": waiver.code, "object": waiver.object})).collect();
    let open = verdicts.iter().flat_map(Verdict::open).count();
    json!({ "profile": profile, "open": open, "rules": rules, "scans": scans, "unused_waivers": unused })
}

fn check_json(check: &Check) -> Value {
    let (failed, skipped) = match &check.outcome {
        Outcome::Passed => (None, None),
        Outcome::Failed(why) => (Some(why), None),
        Outcome::Skipped(why) => (None, Some(why)),
    };
    json!({ "check": check.what, "severity": check.severity.name(), "failed": failed, "skipped": skipped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scan::Severity;

    fn verdict_of(code: &str, looked: &[(Place, usize)], unseen: &[(Place, &str)], findings: Vec<Finding>) -> Verdict {
        Verdict {
            rule: rules::all().find(|rule| rule.code == code).unwrap(),
            looked: looked.iter().copied().collect(),
            unseen: unseen.iter().map(|(place, why)| (*place, why.to_string())).collect(),
            findings,
        }
    }

    fn finding(at: Option<&str>, waived: Option<&str>) -> Finding {
        Finding {
            code: "img.size",
            place: Place::Config,
            object: "backend".to_string(),
            at: at.map(str::to_string),
            message: "it is too large".to_string(),
            waived: waived.map(str::to_string),
        }
    }

    #[test]
    fn what_was_not_looked_at_is_said_and_never_holds() {
        let verdicts = [
            verdict_of("img.on_node", &[], &[(Place::Live, "not asked for: --live")], Vec::new()),
            verdict_of("img.built", &[(Place::Image, 3)], &[], Vec::new()),
            verdict_of("img.no_secret", &[(Place::Image, 2)], &[(Place::Image, "2 layers are compressed")], Vec::new()),
        ];
        let text = report("p", &verdicts, &[], &[], &[]);
        let line = |code: &str| {
            text.lines().find(|line| line.starts_with(code)).unwrap().split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(line("img.on_node"), ["img.on_node", UNSEEN, "not", "looked", "at"]);
        assert_eq!(line("img.built"), ["img.built", "3", "holds"]);
        assert_eq!(line("img.no_secret"), ["img.no_secret", "2*", "holds"]);
        assert!(text.contains("– live: not asked for: --live: img.on_node"), "{text}");
        assert!(text.contains("– image: 2 layers are compressed: img.no_secret"), "{text}");
        assert!(text.ends_with("3 rules: 2 hold where they were looked at, 0 findings, 0 waived"), "{text}");
    }

    #[test]
    fn findings_come_with_lines_and_waivers_with_reasons() {
        let findings = vec![finding(Some("xtask.toml:7:1"), None), finding(None, Some("for a reason"))];
        let verdicts = [verdict_of("img.size", &[(Place::Config, 2)], &[], findings)];
        let waiver =
            Waiver { code: "img.user".to_string(), object: Some("backend".to_string()), reason: String::new() };
        let text = report("p", &verdicts, &[], &[&waiver], &[]);
        assert!(text.contains("1 FINDING, 1 waived"), "{text}");
        assert!(text.contains("✗ img.size backend (config at xtask.toml:7:1)\n  it is too large"), "{text}");
        assert!(
            text.contains("waived: img.size backend (config)\n  it is too large\n  because for a reason"),
            "{text}"
        );
        assert!(text.contains("the waiver img.user of backend waives nothing"), "{text}");
        let json = to_json("p", &verdicts, &[], &[&waiver]);
        assert_eq!((&json["open"], &json["rules"][0]["findings"][1]["waived"]), (&json!(1), &json!("for a reason")));
        assert_eq!(json["unused_waivers"][0]["code"], "img.user");
        let annotations: Vec<_> = verdicts[0].findings.iter().filter_map(annotation).collect();
        let expected = "::error file=xtask.toml,line=7,col=1::img.size backend%0Ait is too large";
        assert_eq!(annotations.iter().map(|one| one.github(Path::new(""))).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_scan_is_printed_check_by_check() {
        let check = |what, outcome| Check { what, severity: Severity::Other, outcome };
        let list = vec![
            check("a health check", Outcome::Passed),
            check("no sudo", Outcome::Failed("usr/bin/sudo".to_string())),
            check("no known vulnerability", Outcome::Skipped("no database".to_string())),
        ];
        let scans = [("todo:1".to_string(), list)];
        let text = report("p", &[], &scans, &[], &[]);
        let expected = "scan of todo:1: 1 of 2 checks, 50 %\n  failed, other: no sudo (usr/bin/sudo)\n  \
                        skipped: no known vulnerability (no database)";
        assert!(text.contains(expected), "{text}");
        let json = &to_json("p", &[], &scans, &[])["scans"]["todo:1"];
        assert_eq!(
            json[1],
            json!({"check": "no sudo", "severity": "other", "failed": "usr/bin/sudo", "skipped": null})
        );
        assert_eq!(json[2]["skipped"], "no database");
    }

    #[test]
    fn a_database_is_named_with_its_date_or_with_why_it_was_not_asked() {
        let mut known = Known { rust: Ok("2026-11-20".to_string()), ..Known::default() };
        let text = report("p", &[], &[], &[], &databases(&known));
        assert!(text.contains("RustSec advisories: the newest is of 2026-11-20; 0 locks\n"), "{text}");
        known.rust = Err("there is no database".to_string());
        known.debian = Ok("2026-11-20T00:00:00Z".to_string());
        let expected = [
            "RustSec advisories: not asked: there is no database",
            "Debian security tracker: the file is of 2026-11-20T00:00:00Z; 0 images",
        ];
        assert_eq!(databases(&known), expected);
    }
}
