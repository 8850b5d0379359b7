//! How long each thing took when it last ended well, which is kept for the time left of the next run.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;

use xtask::run::context::Project;
use xtask::run::files;

/// Of what has never ended well here.
const UNKNOWN: Duration = Duration::from_secs(20);

/// Seconds by label.
pub struct Times(BTreeMap<String, f64>);

impl Times {
    /// A file that is missing or broken is no reason to run no tests.
    pub fn read(project: &Project, file: &str) -> Times {
        let text = fs::read_to_string(project.folders.logs().join(file)).unwrap_or_default();
        Times(serde_json::from_str(&text).unwrap_or_default())
    }

    pub fn of(&self, label: &str) -> Duration {
        let known = self.0.get(label).and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok());
        known.unwrap_or(UNKNOWN)
    }

    /// The same with what ended well now.
    pub fn with(mut self, times: impl IntoIterator<Item = (String, Duration)>) -> Times {
        self.0.extend(times.into_iter().map(|(label, took)| (label, took.as_secs_f64())));
        self
    }

    pub fn write(&self, project: &Project, file: &str) -> Result<()> {
        fs::create_dir_all(project.folders.logs())?;
        files::replace(&project.folders.logs().join(file), &serde_json::to_vec_pretty(&self.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_well_has_its_new_time_and_the_others_keep_theirs() {
        let known = [("a", 5.0), ("b", 6.0), ("c", -1.0)].map(|(label, seconds)| (label.to_string(), seconds));
        let times = Times(known.into()).with([("a".to_string(), Duration::from_secs(7))]);
        assert_eq!(times.of("a"), Duration::from_secs(7));
        assert_eq!(times.of("b"), Duration::from_secs(6));
        assert_eq!(times.of("c"), UNKNOWN);
        assert_eq!(times.of("d"), UNKNOWN);
    }
}
