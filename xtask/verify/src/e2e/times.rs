//! How long each scenario took when it last passed, which is kept for the time left of the next run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::e2e::report::{CaseOutcome, Suite, label};
use xtask::run::context::Project;
use xtask::run::files;

/// Of a scenario that has never passed here.
const UNKNOWN: Duration = Duration::from_secs(20);

/// Seconds by "GROUP: NAME".
pub struct Times(BTreeMap<String, f64>);

impl Times {
    /// A file that is missing or broken is no reason to run no tests.
    pub fn read(project: &Project) -> Times {
        let text = fs::read_to_string(file(project)).unwrap_or_default();
        Times(serde_json::from_str(&text).unwrap_or_default())
    }

    pub fn of(&self, label: &str) -> Duration {
        let known = self.0.get(label).and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok());
        known.unwrap_or(UNKNOWN)
    }

    /// The same with what passed now.
    pub fn with(mut self, suites: &[Suite]) -> Times {
        for (suite, case) in suites.iter().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case))) {
            if case.outcome == CaseOutcome::Passed {
                self.0.insert(label(suite, case), case.took.as_secs_f64());
            }
        }
        self
    }

    pub fn write(&self, project: &Project) -> Result<()> {
        fs::create_dir_all(project.folders.logs())?;
        files::replace(&file(project), &serde_json::to_vec_pretty(&self.0)?)
    }
}

fn file(project: &Project) -> PathBuf {
    project.folders.logs().join("e2e-times.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::report::Case;

    #[test]
    fn what_passed_has_its_new_time_and_the_others_keep_theirs() {
        let case =
            |name: &str, seconds, outcome| Case { name: name.to_string(), took: Duration::from_secs(seconds), outcome };
        let failed = CaseOutcome::Failed { message: String::new(), evidence: None };
        let suite =
            Suite { name: "dev".to_string(), cases: vec![case("a", 7, CaseOutcome::Passed), case("b", 9, failed)] };
        let known = [("dev: a", 5.0), ("dev: b", 6.0), ("dev: c", -1.0)];
        let times = Times(known.map(|(label, seconds)| (label.to_string(), seconds)).into()).with(&[suite]);
        assert_eq!(times.of("dev: a"), Duration::from_secs(7));
        assert_eq!(times.of("dev: b"), Duration::from_secs(6));
        assert_eq!(times.of("dev: c"), UNKNOWN);
        assert_eq!(times.of("dev: d"), UNKNOWN);
    }
}
