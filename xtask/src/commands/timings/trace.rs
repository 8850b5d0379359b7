//! The steps and processes of a run as an OpenTelemetry trace, in OTLP's JSON encoding: 64-bit numbers are strings, IDs are hexadecimal
//! digits, enumerations are numbers.

use serde_json::{Value, json};

use crate::model::spans::{Kind, Outcome, Span};
use crate::run::digest::Content;
use crate::run::record::Run;

/// Also the prefix of attributes that OpenTelemetry has no name for.
const SERVICE: &str = "xtask";
const KIND_INTERNAL: u8 = 1;
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// One trace: the run is its root, steps and processes are the root's children, and parts those of the step before them. IDs follow from
/// `identity`, which names one record, and from a span's place in it, so that each export of a record has the same ones.
/// A record has the second in which its run started: times are exact among each other, and to a second on the clock.
pub fn otlp(run: &Run, spans: &[Span], processes: &[Span], project: &str, identity: &str) -> Value {
    let trace_id = Content::default().word(identity).hex(32);
    let id_of = |place: &str| Content::default().word(&trace_id).word(place).hex(16);
    let root_id = id_of("0");
    let nanoseconds = |ms: u64| (run.started.max(0) as u128 * 1_000_000_000 + ms as u128 * 1_000_000).to_string();
    let span = |id: &str, parent: Option<&str>, name: &str, start_ms: u64, took_ms: u64| {
        let mut span = json!({
            "traceId": trace_id, "spanId": id, "name": name, "kind": KIND_INTERNAL,
            "startTimeUnixNano": nanoseconds(start_ms), "endTimeUnixNano": nanoseconds(start_ms + took_ms),
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = parent.into();
        }
        span
    };
    let mut root = span(&root_id, None, &run.command, 0, run.took.as_millis() as u64);
    root["attributes"] = root_attributes(run);
    root["status"] = root_status(run);
    let mut all = vec![root];
    let mut step_id = root_id.clone();
    for (index, one) in spans.iter().enumerate() {
        let id = id_of(&(index + 1).to_string());
        let parent = if one.kind == Kind::Part { &step_id } else { &root_id };
        let mut value = span(&id, Some(parent), &one.name, one.start_ms, one.took_ms);
        value["attributes"] = attributes(&[("xtask.kind", one.kind.name()), ("xtask.detail", &one.detail)]);
        value["status"] = status(one);
        all.push(value);
        if one.kind == Kind::Step {
            step_id = id;
        }
    }
    for (index, one) in processes.iter().enumerate() {
        let id = id_of(&format!("process {index}"));
        let mut value = span(&id, Some(&root_id), &one.name, one.start_ms, one.took_ms);
        value["attributes"] = attributes(&[("xtask.kind", one.kind.name())]);
        value["status"] = status(one);
        all.push(value);
    }
    let resource = attributes(&[
        ("service.name", SERVICE),
        ("service.namespace", project),
        ("service.version", &run.version),
        ("k8s.cluster.name", &run.cluster),
        ("k8s.namespace.name", &run.namespace),
    ]);
    let scope = json!({ "name": SERVICE, "version": env!("CARGO_PKG_VERSION") });
    let scope_spans = json!([{ "scope": scope, "spans": all }]);
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": scope_spans }] })
}

/// Those that have a value.
fn attributes(pairs: &[(&str, &str)]) -> Value {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

fn root_attributes(run: &Run) -> Value {
    let mut found = attributes(&[("xtask.profile", &run.profile)]);
    if let (Some(list), Some(code)) = (found.as_array_mut(), run.code) {
        list.push(json!({ "key": "process.exit.code", "value": { "intValue": code.to_string() } }));
    }
    found
}

fn root_status(run: &Run) -> Value {
    match run.code {
        Some(0) => json!({ "code": STATUS_OK }),
        _ => {
            let reason = run.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            json!({ "code": STATUS_ERROR, "message": format!("{}{reason}", run.ending()) })
        }
    }
}

fn status(span: &Span) -> Value {
    match span.outcome {
        Outcome::Done => json!({ "code": STATUS_OK }),
        Outcome::Failed => json!({ "code": STATUS_ERROR, "message": span.detail }),
        Outcome::NotEnded => json!({ "code": STATUS_ERROR, "message": "not ended" }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn span(name: &str, start_ms: u64, took_ms: u64, outcome: Outcome, kind: Kind) -> Span {
        Span { name: name.to_string(), start_ms, took_ms, outcome, detail: format!("of {name}"), kind }
    }

    fn run(code: Option<u8>) -> Run {
        Run {
            command: "up".to_string(),
            profile: "dev".to_string(),
            cluster: "local".to_string(),
            started: 1_767_225_600,
            took: Duration::from_millis(3000),
            code,
            ..Run::default()
        }
    }

    fn steps() -> [Span; 4] {
        [
            span("early", 0, 1, Outcome::Done, Kind::Part),
            span("build", 5, 995, Outcome::Done, Kind::Step),
            span("smoke", 1000, 2000, Outcome::Failed, Kind::Step),
            span("page", 1500, 500, Outcome::Failed, Kind::Part),
        ]
    }

    fn listed(trace: &Value) -> Vec<Value> {
        trace["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    }

    #[test]
    fn a_step_belongs_to_the_run_and_a_part_to_the_step_before_it() {
        let all = listed(&otlp(&run(Some(1)), &steps(), &[], "todo", "a"));
        let [root, early, build, smoke, page] = &all[..] else { panic!("the run and its spans: {all:?}") };
        assert_eq!((&root["name"], root.get("parentSpanId")), (&"up".into(), None));
        for child in [early, build, smoke] {
            assert_eq!(child["parentSpanId"], root["spanId"], "{child}");
        }
        assert_eq!(page["parentSpanId"], smoke["spanId"]);
        assert!(all.iter().all(|span| span["traceId"] == root["traceId"] && span["kind"] == 1));
    }

    #[test]
    fn times_are_strings_of_nanoseconds_on_the_clock() {
        let all = listed(&otlp(&run(Some(0)), &steps(), &[], "todo", "a"));
        let times = |span: &Value| (span["startTimeUnixNano"].clone(), span["endTimeUnixNano"].clone());
        assert_eq!(times(&all[0]), ("1767225600000000000".into(), "1767225603000000000".into()));
        assert_eq!(times(&all[2]), ("1767225600005000000".into(), "1767225601000000000".into()));
    }

    #[test]
    fn a_failure_is_an_error_with_its_reason() {
        let failed = Run { errors: vec!["no page".to_string(), "later".to_string()], ..run(Some(1)) };
        let all = listed(&otlp(&failed, &steps(), &[], "todo", "a"));
        assert_eq!(all[0]["status"], json!({ "code": 2, "message": "failed with exit code 1: no page" }));
        assert_eq!(all[2]["status"], json!({ "code": 1 }));
        assert_eq!(all[3]["status"], json!({ "code": 2, "message": "of smoke" }));
        let exit = json!({ "key": "process.exit.code", "value": { "intValue": "1" } });
        assert!(all[0]["attributes"].as_array().unwrap().contains(&exit), "{}", all[0]);
    }

    #[test]
    fn a_run_that_was_killed_has_no_exit_code_and_an_error() {
        let all = listed(&otlp(&run(None), &[span("build", 5, 995, Outcome::NotEnded, Kind::Step)], &[], "todo", "a"));
        assert_eq!(all[0]["status"], json!({ "code": 2, "message": run(None).ending() }));
        assert_eq!(all[1]["status"], json!({ "code": 2, "message": "not ended" }));
        assert!(!all[0].to_string().contains("process.exit.code"), "{}", all[0]);
    }

    #[test]
    fn ids_are_those_of_the_record_and_of_one_size() {
        let ids = |spans: &[Span], identity| {
            let all = listed(&otlp(&run(Some(0)), spans, &[], "todo", identity));
            all.iter()
                .flat_map(|span| ["traceId", "spanId"].map(|key| span[key].as_str().unwrap().to_string()))
                .collect()
        };
        let first: Vec<String> = ids(&steps(), "a");
        assert_eq!(first, ids(&steps(), "a"));
        // A record that still grows keeps those that it has.
        let grown: Vec<String> = ids(&[&steps()[..], &[span("new", 3000, 1, Outcome::Done, Kind::Step)]].concat(), "a");
        assert_eq!(grown[..first.len()], first);
        let other: Vec<String> = ids(&steps(), "b");
        assert!(first.iter().all(|id| !other.contains(id)));
        let is_hex = |id: &str| id.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f'));
        assert!(first.iter().all(|id| is_hex(id)));
        assert!(first.chunks(2).all(|pair| (pair[0].len(), pair[1].len()) == (32, 16)), "{first:?}");
        let mut span_ids: Vec<&String> = first.iter().skip(1).step_by(2).collect();
        span_ids.sort();
        span_ids.dedup();
        assert_eq!(span_ids.len(), 5);
    }

    #[test]
    fn the_resource_names_service_and_cluster_and_nothing_that_is_unknown() {
        let trace = otlp(&run(Some(0)), &[], &[], "todo", "a");
        let named = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        assert_eq!(
            trace["resourceSpans"][0]["resource"]["attributes"],
            json!([
                named("service.name", "xtask"),
                named("service.namespace", "todo"),
                named("k8s.cluster.name", "local")
            ])
        );
    }
}
