//! Who works on a namespace of a cluster that several share: a Lease of Kubernetes, read and written.

use serde_json::{Value, json};

use crate::model::time;

/// How long a lease holds without being renewed, as its holder was killed.
pub const DURATION_SECONDS: i64 = 60;

/// Who has a lease, since when, and when it was renewed last; seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub by: String,
    pub since: i64,
    pub renewed: i64,
}

impl Held {
    /// Whether whoever has it has stopped renewing it.
    pub fn is_over(&self, now: i64) -> bool {
        now - self.renewed > DURATION_SECONDS
    }
}

/// Who has a lease; None where nobody does.
pub fn holder(lease: &Value) -> Option<Held> {
    let spec = &lease["spec"];
    let by = spec["holderIdentity"].as_str().filter(|by| !by.is_empty())?.to_string();
    let at = |key: &str| time::seconds(spec[key].as_str()?);
    let since = at("acquireTime").unwrap_or_default();
    Some(Held { by, since, renewed: at("renewTime").unwrap_or(since) })
}

/// A lease that somebody has. With the version of the one that it replaces, another writer in between makes it fail.
pub fn object(name: &str, namespace: &str, held: &Held, version: Option<&str>) -> Value {
    let micro = |at: i64| time::text(at).replace('Z', ".000000Z");
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "holderIdentity": held.by, "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": micro(held.since), "renewTime": micro(held.renewed),
        },
    });
    if let Some(version) = version {
        lease["metadata"]["resourceVersion"] = version.into();
    }
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_ends_a_minute_after_its_last_renewal() {
        let held = Held { by: "ada@desk, `cargo xtask up`".to_string(), since: 1_800_000_000, renewed: 1_800_000_090 };
        let lease = object("todo", "n", &held, Some("7"));
        assert_eq!(holder(&lease), Some(held.clone()));
        assert_eq!(lease["spec"]["renewTime"], "2027-01-15T08:01:30.000000Z");
        assert_eq!(lease["metadata"]["resourceVersion"], "7");
        assert!(!held.is_over(1_800_000_150) && held.is_over(1_800_000_151));
    }

    #[test]
    fn a_lease_that_was_given_back_has_nobody() {
        assert_eq!(holder(&json!({"spec": {"holderIdentity": ""}})), None);
        assert_eq!(holder(&json!({})), None);
    }
}
