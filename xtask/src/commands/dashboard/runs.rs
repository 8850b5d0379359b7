//! The last runs as JSON, each with its steps on its own clock.

use serde_json::{Value, json};

use crate::model::spans::{Kind, Outcome, Span};
use crate::model::time;
use crate::run::record::Run;

/// A run with its steps. `is_at_work`: the process that has no end yet is there.
pub fn describe(run: &Run, spans: &[Span], is_at_work: bool) -> Value {
    let goes_on = run.code.is_none() && is_at_work;
    let span = |span: &Span| {
        let health = match span.outcome {
            Outcome::Done => "ready",
            // What has no end of a run that goes on has not failed.
            Outcome::NotEnded if goes_on => "progressing",
            Outcome::NotEnded | Outcome::Failed => "failed",
        };
        json!({
            "name": span.name, "start_ms": span.start_ms, "took_ms": span.took_ms, "is_part": span.kind == Kind::Part,
            "health": health,
        })
    };
    let deployed = run.deployed.iter().map(|(release, revision, why)| format!("{release} revision {revision}: {why}"));
    json!({
        "command": run.command, "profile": run.profile, "started": time::text(run.started),
        "took_ms": run.took.as_millis() as u64,
        "ending": if goes_on { "at work".to_string() } else { run.ending() },
        "health": match run.code {
            Some(0) => "ready",
            None if goes_on => "progressing",
            None | Some(130) => "absent",
            Some(_) => "failed",
        },
        "errors": run.errors, "deployed": deployed.collect::<Vec<_>>(),
        "spans": spans.iter().map(span).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(code: Option<u8>) -> Run {
        let deployed = vec![("todo".to_string(), 3, "replicas 1 → 2".to_string())];
        Run { command: "up".to_string(), code, took: Duration::from_millis(900), deployed, ..Run::default() }
    }

    fn span(took_ms: u64, outcome: Outcome) -> Span {
        let name = "build a".to_string();
        Span { name, start_ms: 100, took_ms, outcome, detail: String::new(), kind: Kind::Step }
    }

    #[test]
    fn a_run_has_its_ending_and_its_steps() {
        let value = describe(&run(Some(0)), &[span(500, Outcome::Done), span(100, Outcome::Failed)], false);
        assert_eq!((&value["health"], &value["ending"]), (&json!("ready"), &json!("done in 0.9 s")));
        assert_eq!(value["deployed"], json!(["todo revision 3: replicas 1 → 2"]));
        assert_eq!(
            value["spans"][0],
            json!({"name": "build a", "start_ms": 100, "took_ms": 500, "is_part": false, "health": "ready"})
        );
        assert_eq!(value["spans"][1]["health"], "failed");
        assert_eq!(describe(&run(Some(1)), &[], false)["health"], "failed");
        assert_eq!(describe(&run(Some(130)), &[], false)["health"], "absent");
    }

    #[test]
    fn what_goes_on_has_not_failed_and_what_was_killed_does_not_go_on() {
        let value = describe(&run(None), &[span(800, Outcome::NotEnded), span(10, Outcome::Failed)], true);
        let health = |value: &Value| value["health"].as_str().unwrap().to_string();
        assert_eq!((health(&value), value["ending"].as_str()), ("progressing".to_string(), Some("at work")));
        assert_eq!(
            (health(&value["spans"][0]), health(&value["spans"][1])),
            ("progressing".to_string(), "failed".to_string())
        );
        let value = describe(&run(None), &[span(800, Outcome::NotEnded)], false);
        assert_eq!((health(&value), health(&value["spans"][0])), ("absent".to_string(), "failed".to_string()));
    }
}
