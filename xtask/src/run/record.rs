//! The record of a run: every event as a line of JSON, in a file of its own under the state folder. It says what was done
//! and why; what is there now is asked of the cluster, never of a record.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::model::states;
use crate::model::states::DeploymentState;
use crate::model::time;
use crate::run::context::Project;
use crate::run::process;

/// How many records of a namespace are kept.
const KEEP: usize = 50;

/// A run as its record tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    pub command: String,
    pub profile: String,
    pub namespace: String,
    pub cluster: String,
    /// The project's version.
    pub version: String,
    /// Seconds since 1970.
    pub started: i64,
    /// The exit code; None of a run that goes on, or that was killed.
    pub code: Option<u8>,
    pub took: Duration,
    /// The first line of each error, in their order.
    pub errors: Vec<String>,
    /// Release, revision and why it was deployed.
    pub deployed: Vec<(String, u64, String)>,
    /// The states that services were seen in, in their order.
    pub states: Vec<(String, DeploymentState)>,
    /// A service or a release, and the state after which something of it was checked.
    pub validated: Vec<(String, DeploymentState)>,
}

impl Run {
    /// How it ended, in a word or two.
    pub fn ending(&self) -> String {
        match self.code {
            Some(0) => format!("done in {:.1} s", self.took.as_secs_f64()),
            Some(130) => "interrupted".to_string(),
            Some(4) => "ended by a deadline".to_string(),
            Some(code) => format!("failed with exit code {code}"),
            None => "not ended: it goes on, or was killed".to_string(),
        }
    }
}

/// Begins the record of this run, and removes the oldest ones.
pub fn begin(project: &Project, command: &str) -> Result<()> {
    let folder = folder(project);
    fs::create_dir_all(&folder)?;
    let old = files(&folder);
    for file in old.iter().rev().skip(KEEP - 1) {
        // A run beside this one may have removed it already.
        let _ = fs::remove_file(file);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let started = time::text(now.as_secs() as i64);
    // Named by its time to the millisecond, so that names sort as the runs began.
    let name = format!("{}.{:03}-{}.ndjson", started.trim_end_matches('Z'), now.subsec_millis(), std::process::id());
    project.ui.record_into(File::create(folder.join(name.replace(':', "")))?);
    project.ui.fact(
        "run",
        json!({
            "command": command, "profile": project.config.profile, "namespace": project.config.namespace,
            "cluster": project.config.cluster_name(), "version": project.config.version, "started": started,
        }),
    );
    Ok(())
}

/// Ends it with the exit code.
pub fn end(project: &Project, code: u8) {
    project.ui.fact("ended", json!({ "code": code }));
    project.ui.end_record();
}

/// The last `count` runs in the namespace, the newest last, with the files that tell of them.
pub fn last(project: &Project, count: usize) -> Vec<(Run, PathBuf)> {
    let all = files(&folder(project));
    let skipped = all.len().saturating_sub(count);
    let read = |file: PathBuf| Some((parse(&fs::read_to_string(&file).ok()?)?, file));
    all.into_iter().skip(skipped).filter_map(read).collect()
}

/// Whether the run that writes a record still runs.
pub fn is_at_work(file: &Path) -> bool {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit('-').next().and_then(|pid| pid.parse().ok()).is_some_and(process::is_alive)
}

/// What a record says; None where it has no beginning. A last line that was cut off is passed over.
fn parse(text: &str) -> Option<Run> {
    let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let first = events.find(|event| event["event"] == "run")?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut run = Run {
        command: word(&first["command"]),
        profile: word(&first["profile"]),
        namespace: word(&first["namespace"]),
        cluster: word(&first["cluster"]),
        version: word(&first["version"]),
        started: time::seconds(first["started"].as_str()?)?,
        ..Run::default()
    };
    let state = |event: &Value, subject: &str| Some((word(&event[subject]), states::named(event["state"].as_str()?)?));
    for event in events {
        run.took = Duration::from_millis(event["at_ms"].as_u64().unwrap_or_default());
        match event["event"].as_str().unwrap_or_default() {
            "error" => {
                run.errors.extend(event["text"].as_str().and_then(|text| text.lines().next()).map(str::to_string))
            }
            "deployed" => {
                let revision = event["revision"].as_u64().unwrap_or_default();
                run.deployed.push((word(&event["release"]), revision, word(&event["why"])));
            }
            "state" => run.states.extend(state(&event, "service")),
            "validated" => run.validated.extend(state(&event, "subject")),
            "ended" => run.code = event["code"].as_u64().and_then(|code| u8::try_from(code).ok()),
            _ => {}
        }
    }
    Some(run)
}

fn folder(project: &Project) -> PathBuf {
    project.folders.state.join("records").join(project.config.cluster_name()).join(&project.config.namespace)
}

/// All records of a folder, the newest last.
fn files(folder: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "ndjson"))
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: &str = concat!(
        r#"{"event":"run","command":"up","profile":"dev","namespace":"todo","cluster":"local","version":"1.2.3","#,
        r#""started":"2026-01-01T00:00:00Z","at_ms":1}"#,
        "\n"
    );

    #[test]
    fn a_record_tells_what_was_deployed_why_and_how_it_ended() {
        let text = format!(
            "{BEGINNING}{}\n{}\n{}\n",
            r#"{"event":"deployed","release":"todo","revision":3,"why":"replicas 1 → 2","at_ms":900}"#,
            r#"{"event":"error","text":"backend crashed\nNext: cargo xtask status","at_ms":1000}"#,
            r#"{"event":"ended","code":1,"at_ms":1500}"#,
        );
        let run = parse(&text).unwrap();
        assert_eq!((run.command.as_str(), run.profile.as_str(), run.started), ("up", "dev", 1_767_225_600));
        assert_eq!([run.namespace.as_str(), &run.cluster, &run.version], ["todo", "local", "1.2.3"]);
        assert_eq!(run.deployed, [("todo".to_string(), 3, "replicas 1 → 2".to_string())]);
        assert_eq!(
            (run.errors.as_slice(), run.took),
            (["backend crashed".to_string()].as_slice(), Duration::from_millis(1500))
        );
        assert_eq!(run.ending(), "failed with exit code 1");
    }

    #[test]
    fn a_record_tells_the_states_that_services_were_seen_in_and_what_was_checked() {
        let run = parse(&format!(
            "{BEGINNING}{}\n{}\n{}\n{}\n",
            r#"{"event":"state","service":"backend","from":null,"state":"Building","at_ms":2}"#,
            r#"{"event":"validated","subject":"backend","state":"Building","at_ms":3}"#,
            r#"{"event":"state","service":"backend","from":"Building","state":"Loading","at_ms":4}"#,
            r#"{"event":"state","service":"backend","from":"Loading","state":"Happy","at_ms":5}"#,
        ));
        let run = run.unwrap();
        let of = |state| ("backend".to_string(), state);
        assert_eq!(run.states, [of(DeploymentState::Building), of(DeploymentState::Loading)]);
        assert_eq!(run.validated, [of(DeploymentState::Building)]);
    }

    #[test]
    fn a_record_tells_by_its_name_whether_its_run_is_there() {
        let file = |pid: u32| PathBuf::from(format!("/a-b/2026-01-01T000000.000-{pid}.ndjson"));
        assert!(is_at_work(&file(std::process::id())));
        assert!(!is_at_work(&file(i32::MAX as u32)) && !is_at_work(Path::new("/a/b.ndjson")));
    }

    #[test]
    fn a_run_that_was_killed_has_no_ending() {
        let run = parse(&format!("{BEGINNING}{{\"event\":\"step_started\",\"at_ms\":70}}\n{{\"event\":\"st")).unwrap();
        assert_eq!((run.code, run.took), (None, Duration::from_millis(70)));
        assert!(run.ending().starts_with("not ended"));
        assert_eq!(parse(""), None);
    }
}
