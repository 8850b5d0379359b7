//! Events, as the API server tells them: what controllers, scheduler and kubelet have met with.

use serde_json::Value;

use crate::diagnosis::cause::Cause;
use crate::model::time;

/// The events about an object that have one of these reasons, the newest last. An object that was recreated under the
/// same name has another uid, and events of its own.
pub fn about<'a>(seen: &'a [Value], object: &Value, reasons: &[&str]) -> Vec<&'a Value> {
    let reason = |event: &&Value| event["reason"].as_str().is_some_and(|reason| reasons.contains(&reason));
    let mut found: Vec<&Value> =
        seen.iter().filter(|one| one["kind"] == "Event" && is_about(one, object)).filter(reason).collect();
    found.sort_by_key(|event| last(event).and_then(time::seconds));
    found
}

/// When an event first happened, as the API server writes times.
pub fn first(event: &Value) -> Option<&str> {
    ["/firstTimestamp", "/eventTime", "/metadata/creationTimestamp"].iter().find_map(|path| text(event, path))
}

/// When it last happened.
pub fn last(event: &Value) -> Option<&str> {
    let paths = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    paths.iter().find_map(|path| text(event, path))
}

pub fn count(event: &Value) -> u64 {
    event["count"].as_u64().or(event["series"]["count"].as_u64()).unwrap_or(1)
}

pub fn message(event: &Value) -> &str {
    event["message"].as_str().unwrap_or_default().trim()
}

/// Why an object was not taken, if the words are those of a quota or of admission: in an event, in a condition, or in
/// what helm says.
pub fn refusal(text: &str) -> Option<Cause> {
    let line = text.lines().map(str::trim).find(|line| REFUSALS.iter().any(|words| line.contains(words)))?;
    if let Some((_, rest)) = line.split_once("exceeded quota: ") {
        let part = |name: &str| -> Vec<(&str, &str)> {
            let reason = rest.split_once(&format!(", {name}: ")).map_or("", |(_, describe)| describe);
            let end = [", requested: ", ", used: ", ", limited: "].iter().filter_map(|next| reason.find(next)).min();
            reason[..end.unwrap_or(reason.len())].split(',').filter_map(|pair| pair.trim().split_once('=')).collect()
        };
        let (used, limited) = (part("used"), part("limited"));
        let of = |name: &str, list: &[(&str, &str)]| {
            list.iter().find(|(key, _)| *key == name).map_or("?".to_string(), |(_, amount)| amount.to_string())
        };
        let asked = part("requested").into_iter().map(|(name, amount)| {
            format!("{name}: {amount} requested, {} of {} are used", of(name, &used), of(name, &limited))
        });
        let quota = rest.split(',').next().unwrap_or_default().to_string();
        return Some(Cause::Quota { quota, message: asked.collect::<Vec<_>>().join("; ") });
    }
    if let Some((_, rest)) = line.split_once("failed quota: ") {
        let (quota, message) = rest.split_once(": ").unwrap_or((rest, "it wants requests and limits"));
        return Some(Cause::Quota { quota: quota.to_string(), message: message.to_string() });
    }
    Some(Cause::Refused { message: why_forbidden(line).to_string() })
}

/// By which admission and quotas are known.
const REFUSALS: [&str; 9] = [
    "exceeded quota: ",
    "failed quota: ",
    "violates PodSecurity",
    "admission webhook",
    "failed calling webhook",
    "ValidatingAdmissionPolicy",
    "error looking up service account",
    "is forbidden: ",
    "is invalid: ",
];

/// `pods "x" is forbidden: why` without what goes before.
fn why_forbidden(line: &str) -> &str {
    line.split_once(" is forbidden: ").map_or(line.trim_start_matches("* "), |(_, why)| why)
}

fn is_about(event: &Value, object: &Value) -> bool {
    let (named, about) = (&event["involvedObject"], &object["metadata"]);
    let same_uid = named["uid"].is_null() || about["uid"].is_null() || named["uid"] == about["uid"];
    named["kind"] == object["kind"] && named["name"] == about["name"] && same_uid
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_those_of_the_object_and_not_of_its_namesake() {
        let event = |uid: &str, reason: &str, last: &str| {
            json!({"kind": "Event", "reason": reason, "lastTimestamp": last,
                "involvedObject": {"kind": "Pod", "name": "a", "uid": uid}})
        };
        let seen = [
            event("1", "Unhealthy", "2026-01-01T00:00:09Z"),
            event("1", "Unhealthy", "2026-01-01T00:00:03Z"),
            event("1", "Pulled", "2026-01-01T00:00:01Z"),
            event("0", "Unhealthy", "2026-01-01T00:00:04Z"),
        ];
        let pod = json!({"kind": "Pod", "metadata": {"name": "a", "uid": "1"}});
        let found: Vec<_> = about(&seen, &pod, &["Unhealthy"]).into_iter().filter_map(last).collect();
        assert_eq!(found, ["2026-01-01T00:00:03Z", "2026-01-01T00:00:09Z"]);
    }

    #[test]
    fn both_ways_in_which_events_tell_times_and_counts_are_read() {
        let old = json!({"firstTimestamp": "a", "lastTimestamp": "b", "eventTime": null, "count": 3});
        assert_eq!((first(&old), last(&old), count(&old)), (Some("a"), Some("b"), 3));
        let new = json!({"firstTimestamp": null, "lastTimestamp": null, "eventTime": "c",
            "series": {"count": 4, "lastObservedTime": "d"}});
        assert_eq!((first(&new), last(&new), count(&new)), (Some("c"), Some("d"), 4));
        let once = json!({"metadata": {"creationTimestamp": "e"}});
        assert_eq!((first(&once), last(&once), count(&once)), (Some("e"), Some("e"), 1));
    }

    #[test]
    fn a_quota_tells_what_was_asked_for_and_what_is_used() {
        let message = "Error creating: pods \"backend-5d9c\" is forbidden: exceeded quota: tiny, requested: \
            limits.memory=256Mi,requests.cpu=10m, used: limits.memory=512Mi,requests.cpu=0, limited: \
            limits.memory=600Mi,requests.cpu=5m";
        let text = "the quota tiny is exceeded: limits.memory: 256Mi requested, 512Mi of 600Mi are used; \
            requests.cpu: 10m requested, 0 of 5m are used";
        assert_eq!(refusal(message).unwrap().to_string(), text);
        let missing = "pods \"a\" is forbidden: failed quota: tiny: must specify limits.cpu for: backend";
        assert_eq!(
            refusal(missing),
            Some(Cause::Quota { quota: "tiny".into(), message: "must specify limits.cpu for: backend".into() })
        );
    }

    #[test]
    fn a_refusal_is_reported_without_what_everybody_knows() {
        for (text, why) in [
            (
                "pods \"a-1\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            ),
            (
                "Error: UPGRADE FAILED: failed to create resource\nadmission webhook \"p.example.org\" denied the request: no",
                "admission webhook \"p.example.org\" denied the request: no",
            ),
            (
                "Internal error occurred: failed calling webhook \"p.example.org\": connection refused",
                "Internal error occurred: failed calling webhook \"p.example.org\": connection refused",
            ),
            (
                "Error: 1 error occurred:\n\t* Service \"web\" is invalid: spec.ports[0].nodePort: provided port is already allocated",
                "Service \"web\" is invalid: spec.ports[0].nodePort: provided port is already allocated",
            ),
            (
                "pods \"a-\" is forbidden: error looking up service account n/none: serviceaccount \"none\" not found",
                "error looking up service account n/none: serviceaccount \"none\" not found",
            ),
        ] {
            assert_eq!(refusal(text), Some(Cause::Refused { message: why.to_string() }));
        }
        assert_eq!(refusal("Error: UPGRADE FAILED: timed out waiting for the condition"), None);
    }
}
