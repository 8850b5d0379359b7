//! What came of each check and scenario: as text for a person, and as JUnit XML for what reads that.

use std::fmt::Write;
use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use serde_json::{Value, json};

use xtask::model::markup::escape;
use xtask::run::annotation::Annotation;

/// How many lines of a failure the text shows; the XML has all of them.
const SHOWN: usize = 8;

/// What came of a group of scenarios, or of checks.
pub struct Suite {
    pub name: String,
    pub cases: Vec<Case>,
}

/// What came of a scenario, or of a check.
pub struct Case {
    pub name: String,
    pub took: Duration,
    pub outcome: CaseOutcome,
    /// The line that describes it, where it has one.
    pub place: Option<&'static Location<'static>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CaseOutcome {
    Passed,
    Failed {
        message: String,
        evidence: Option<PathBuf>,
    },
    /// And why not.
    NotRun(String),
}

/// How many scenarios passed, failed, and were not run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub not_run: usize,
}

pub fn count<'a>(suites: impl IntoIterator<Item = &'a Suite>) -> Counts {
    let mut counts = Counts::default();
    for case in suites.into_iter().flat_map(|suite| &suite.cases) {
        match case.outcome {
            CaseOutcome::Passed => counts.passed += 1,
            CaseOutcome::Failed { .. } => counts.failed += 1,
            CaseOutcome::NotRun(_) => counts.not_run += 1,
        }
    }
    counts
}

/// A line a scenario, and under one that failed the first lines of why, and where the evidence is.
pub fn text(suites: &[Suite]) -> String {
    let names = || suites.iter().flat_map(|suite| suite.cases.iter().map(move |case| label(suite, case)));
    let width = names().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, case) in names().zip(suites.iter().flat_map(|suite| &suite.cases)) {
        let (word, why) = match &case.outcome {
            CaseOutcome::Passed => ("passed", ""),
            CaseOutcome::Failed { .. } => ("FAILED", ""),
            CaseOutcome::NotRun(why) => ("not run", why.as_str()),
        };
        let padding = " ".repeat(width - name.chars().count());
        let message = format!("  {name}{padding}  {word:<7}  {:>7.1} s  {why}", case.took.as_secs_f64());
        line(&mut text, message.trim_end());
        if let CaseOutcome::Failed { message, evidence } = &case.outcome {
            first_lines(message).iter().for_each(|first| line(&mut text, &format!("      {first}")));
            if let Some(folder) = evidence {
                line(&mut text, &format!("      evidence: {}", folder.display()));
            }
        }
    }
    text
}

/// The same for a program.
pub fn value(suites: &[Suite]) -> Value {
    let case = |case: &Case| {
        let mut value = json!({ "name": case.name, "took_ms": case.took.as_millis() as u64 });
        match &case.outcome {
            CaseOutcome::Passed => value["outcome"] = "passed".into(),
            CaseOutcome::Failed { message, evidence } => {
                value["outcome"] = "failed".into();
                value["told"] = message.as_str().into();
                value["evidence"] = json!(evidence);
            }
            CaseOutcome::NotRun(why) => {
                value["outcome"] = "not run".into();
                value["told"] = why.as_str().into();
            }
        }
        value
    };
    let suite =
        |suite: &Suite| json!({ "name": suite.name, "cases": suite.cases.iter().map(case).collect::<Vec<_>>() });
    json!({ "suites": suites.iter().map(suite).collect::<Vec<_>>() })
}

/// The suite of what could not begin.
pub fn not_begun(name: &str, error: &Error) -> Suite {
    let outcome = CaseOutcome::Failed { message: format!("{error:#}"), evidence: None };
    Suite {
        name: name.to_string(),
        cases: vec![Case { name: "begins".to_string(), took: Duration::ZERO, outcome, place: None }],
    }
}

/// The cases that failed and have a place.
pub fn annotations(suites: &[Suite]) -> Vec<Annotation> {
    let annotation = |suite: &Suite, case: &Case| match (&case.outcome, case.place) {
        (CaseOutcome::Failed { message, .. }, Some(place)) => Some(Annotation {
            file: place.file().to_string(),
            line: place.line() as usize,
            column: None,
            message: format!("{}\n{}", label(suite, case), first_lines(message).join("\n")),
        }),
        _ => None,
    };
    suites.iter().flat_map(|suite| suite.cases.iter().filter_map(move |case| annotation(suite, case))).collect()
}

/// Writes the report as JUnit XML, in a folder that need not be there.
pub fn write(file: &Path, name: &str, suites: &[Suite]) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(file, junit(name, suites)).with_context(|| format!("cannot write {}", file.display()))
}

/// One test suite for each group.
fn junit(name: &str, suites: &[Suite]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = suites.iter().flat_map(|suite| &suite.cases);
    line(&mut xml, &format!("<testsuites name=\"{}\" {}>", escape(name), totals(count(suites), all)));
    for suite in suites {
        let about = totals(count([suite]), &suite.cases);
        line(&mut xml, &format!("  <testsuite name=\"{}\" {about}>", escape(&suite.name)));
        for case in &suite.cases {
            let (name, class) = (escape(&case.name), escape(&suite.name));
            let place = case.place.map(|place| format!(" file=\"{}\" line=\"{}\"", escape(place.file()), place.line()));
            let place = place.unwrap_or_default();
            let opened =
                format!("    <testcase classname=\"{class}\" name=\"{name}\"{place} time=\"{}\"", seconds(case.took));
            match &case.outcome {
                CaseOutcome::Passed => line(&mut xml, &format!("{opened}/>")),
                CaseOutcome::Failed { message, evidence } => {
                    line(&mut xml, &format!("{opened}>"));
                    let first = escape(message.lines().next().unwrap_or_default());
                    line(&mut xml, &format!("      <failure message=\"{first}\">{}</failure>", escape(message)));
                    if let Some(folder) = evidence {
                        let message = escape(&format!("evidence: {}", folder.display()));
                        line(&mut xml, &format!("      <system-out>{message}</system-out>"));
                    }
                    line(&mut xml, "    </testcase>");
                }
                CaseOutcome::NotRun(why) => {
                    let first = escape(why.lines().next().unwrap_or_default());
                    line(&mut xml, &format!("{opened}>\n      <skipped message=\"{first}\"/>\n    </testcase>"));
                }
            }
        }
        line(&mut xml, "  </testsuite>");
    }
    xml.push_str("</testsuites>\n");
    xml
}

pub fn label(suite: &Suite, case: &Case) -> String {
    format!("{}: {}", suite.name, case.name)
}

fn totals<'a>(counts: Counts, cases: impl IntoIterator<Item = &'a Case>) -> String {
    let Counts { passed, failed, not_run } = counts;
    let took = seconds(cases.into_iter().map(|case| case.took).sum());
    let tests = passed + failed + not_run;
    format!("tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"{not_run}\" time=\"{took}\"")
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

/// The first line, and what a command of ours said last: its error, where it printed one.
fn first_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    let error = lines.iter().skip(1).position(|line| line.starts_with('✗'));
    if let Some(before) = error {
        lines.drain(1..=before);
    }
    lines.truncate(SHOWN);
    lines
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, took_ms: u64, outcome: CaseOutcome) -> Case {
        Case { name: name.to_string(), took: Duration::from_millis(took_ms), outcome, place: None }
    }

    fn suites() -> Vec<Suite> {
        let message = "up failed\n[0.1 s] build …\n✗ pod a: <crashed> & \"gone\"\x1b[0m\nNext: b".to_string();
        let failed = CaseOutcome::Failed { message, evidence: Some("/e/two".into()) };
        vec![
            Suite {
                name: "dev".into(),
                cases: vec![case("one", 1500, CaseOutcome::Passed), case("two & three", 250, failed)],
            },
            Suite { name: "faults".into(), cases: vec![case("four", 0, CaseOutcome::NotRun("interrupted".into()))] },
        ]
    }

    #[test]
    fn the_xml_has_a_suite_for_each_group_and_all_of_a_failure() {
        let wanted = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="test-e2e" tests="3" failures="1" errors="0" skipped="1" time="1.750">
  <testsuite name="dev" tests="2" failures="1" errors="0" skipped="0" time="1.750">
    <testcase classname="dev" name="one" time="1.500"/>
    <testcase classname="dev" name="two &amp; three" time="0.250">
      <failure message="up failed">up failed
[0.1 s] build …
✗ pod a: &lt;crashed&gt; &amp; &quot;gone&quot;�[0m
Next: b</failure>
      <system-out>evidence: /e/two</system-out>
    </testcase>
  </testsuite>
  <testsuite name="faults" tests="1" failures="0" errors="0" skipped="1" time="0.000">
    <testcase classname="faults" name="four" time="0.000">
      <skipped message="interrupted"/>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(junit("test-e2e", &suites()), wanted);
    }

    #[test]
    fn a_failed_case_with_a_place_is_shown_there() {
        let mut suites = suites();
        let here = Location::caller();
        suites.iter_mut().flat_map(|suite| &mut suite.cases).for_each(|case| case.place = Some(here));
        let found = annotations(&suites);
        let expected = "dev: two & three\nup failed\n✗ pod a: <crashed> & \"gone\"\u{1b}[0m\nNext: b";
        let places: Vec<_> = found.iter().map(|one| (one.file.as_str(), one.line, one.message.as_str())).collect();
        assert_eq!(places, [(file!(), here.line() as usize, expected)]);
        let opened = format!("name=\"one\" file=\"{}\" line=\"{}\" time=\"1.500\"/>", file!(), here.line());
        assert!(junit("a", &suites).contains(&opened), "{}", junit("a", &suites));
    }

    #[test]
    fn what_could_not_begin_is_a_failure_of_its_own() {
        let suite = not_begun("end to end", &anyhow::anyhow!("no docker").context("nothing was set up"));
        let xml = junit("test-e2e", &[suite]);
        let expected = "<failure message=\"nothing was set up: no docker\">nothing was set up: no docker</failure>";
        assert!(xml.contains(expected) && xml.contains("tests=\"1\" failures=\"1\""), "{xml}");
    }

    #[test]
    fn the_text_has_a_line_for_each_scenario_and_what_a_failure_reported() {
        let wanted = "  dev: one          passed       1.5 s
  dev: two & three  FAILED       0.2 s
      up failed
      ✗ pod a: <crashed> & \"gone\"\u{1b}[0m
      Next: b
      evidence: /e/two
  faults: four      not run      0.0 s  interrupted
";
        assert_eq!(text(&suites()), wanted);
        assert_eq!(count(&suites()), Counts { passed: 1, failed: 1, not_run: 1 });
    }

    #[test]
    fn a_program_reads_the_same() {
        let value = value(&suites());
        assert_eq!(value["suites"][0]["cases"][1]["outcome"], "failed");
        assert_eq!(value["suites"][0]["cases"][1]["evidence"], "/e/two");
        assert_eq!(value["suites"][1]["cases"][0]["told"], "interrupted");
        assert_eq!(value["suites"][0]["cases"][0], json!({"name": "one", "took_ms": 1500, "outcome": "passed"}));
    }
}
