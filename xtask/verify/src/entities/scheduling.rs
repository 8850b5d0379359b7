//! Where pods may and should run: node selector, tolerations, affinity, spread.

use xtask::model::labels::{Requirement, Selector, label_key, label_value, read_labels};
use xtask::model::object::{Fields, StringMap, one_of};

/// What a pod's spec says of its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scheduling {
    pub node_selector: StringMap,
    pub tolerations: Vec<Toleration>,
    pub affinity: Affinity,
    pub spread: Vec<Spread>,
}

/// A taint that pods put up with.
#[derive(Clone, Debug, PartialEq)]
pub struct Toleration {
    /// None: every taint.
    pub key: Option<String>,
    /// None: whatever the taint's value.
    pub value: Option<String>,
    /// None: every effect.
    pub effect: Option<Effect>,
    /// How long a pod stays, in seconds; None: for good. Of NoExecute only.
    pub seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Affinity {
    pub node: Vec<NodeTerm>,
    /// Pods to be near to.
    pub near: Vec<PodTerm>,
    /// Pods to keep away from.
    pub apart: Vec<PodTerm>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeTerm {
    /// 1 to 100; None: a must.
    pub weight: Option<u64>,
    pub requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodTerm {
    /// 1 to 100; None: a must.
    pub weight: Option<u64>,
    pub pods: Selector,
    /// The node's label whose value makes a place, such as `kubernetes.io/hostname`.
    pub topology_key: String,
}

/// How evenly pods are spread over places.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    pub max_skew: u64,
    pub topology_key: String,
    /// Whether a pod rather waits than makes it less even.
    pub must: bool,
    pub pods: Selector,
}

impl Scheduling {
    /// From a pod's spec, or from values with the same keys.
    pub fn from_fields(f: &Fields) -> Option<Scheduling> {
        let node_selector = read_labels(&f.at("nodeSelector"));
        let tolerations = f.at("tolerations").list(Toleration::from_fields);
        let affinity = Affinity::from_fields(&f.at("affinity"));
        let spread = f.at("topologySpreadConstraints").list(Spread::from_fields);
        Some(Scheduling {
            node_selector: node_selector?,
            tolerations: tolerations?,
            affinity: affinity?,
            spread: spread?,
        })
    }
}

impl Toleration {
    pub fn from_fields(f: &Fields) -> Option<Toleration> {
        let filled = |key: &str| f.at(key).value.as_str().is_some_and(|text| !text.is_empty());
        let some = |key: &str, parse: fn(&str) -> Result<String, String>| match filled(key) {
            true => f.at(key).parsed(parse).map(Some),
            false => Some(None),
        };
        let (key, value) = (some("key", label_key), some("value", label_value));
        let exists = f
            .at("operator")
            .or(false, |operator| operator.parsed(|text| one_of(text, &[("Equal", false), ("Exists", true)])));
        let effect = match filled("effect") {
            true => f.at("effect").parsed(effect).map(Some),
            false => Some(None),
        };
        let seconds = f.at("tolerationSeconds").maybe(|seconds| {
            seconds.take(|value| value.as_i64().ok_or_else(|| format!("{value} is not a number of seconds")))
        });
        let (key, value, exists, effect, seconds) = (key?, value?, exists?, effect?, seconds?);
        let wrong = match (&key, exists) {
            (None, false) => Some("has no key: that needs operator Exists"),
            (_, true) if value.is_some() => Some("has a value beside operator Exists"),
            _ if seconds.is_some() && effect != Some(Effect::NoExecute) => {
                Some("has tolerationSeconds, which go with effect NoExecute only")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            f.report(wrong);
            return None;
        }
        // Equal without a value is the empty value, not any.
        let value = if exists { None } else { Some(value.unwrap_or_default()) };
        Some(Toleration { key, value, effect, seconds })
    }
}

impl Affinity {
    pub fn from_fields(f: &Fields) -> Option<Affinity> {
        const MUST: &str = "requiredDuringSchedulingIgnoredDuringExecution";
        const WISH: &str = "preferredDuringSchedulingIgnoredDuringExecution";
        let node = f.at("nodeAffinity");
        let musts = node.at(MUST).at("nodeSelectorTerms").list(|term| node_term(term, None));
        let wishes = node.at(WISH).list(|wish| node_term(&wish.at("preference"), Some(weight(wish)?)));
        let pods = |key: &str| {
            let musts = f.at(key).at(MUST).list(|term| pod_term(term, None));
            let wishes = f.at(key).at(WISH).list(|wish| pod_term(&wish.at("podAffinityTerm"), Some(weight(wish)?)));
            Some([musts?, wishes?].concat())
        };
        let (near, apart) = (pods("podAffinity"), pods("podAntiAffinity"));
        Some(Affinity { node: [musts?, wishes?].concat(), near: near?, apart: apart? })
    }
}

impl Spread {
    pub fn from_fields(f: &Fields) -> Option<Spread> {
        let max_skew = f.at("maxSkew").integer(1..=1000);
        let topology_key = f.at("topologyKey").parsed(label_key);
        let must = f
            .at("whenUnsatisfiable")
            .parsed(|text| one_of(text, &[("DoNotSchedule", true), ("ScheduleAnyway", false)]));
        let pods = Selector::from_fields(&f.at("labelSelector"));
        Some(Spread { max_skew: max_skew?, topology_key: topology_key?, must: must?, pods: pods? })
    }
}

fn effect(text: &str) -> Result<Effect, String> {
    let known = [
        ("NoSchedule", Effect::NoSchedule),
        ("PreferNoSchedule", Effect::PreferNoSchedule),
        ("NoExecute", Effect::NoExecute),
    ];
    one_of(text, &known)
}

fn weight(f: &Fields) -> Option<u64> {
    f.at("weight").integer(1..=100)
}

fn node_term(f: &Fields, weight: Option<u64>) -> Option<NodeTerm> {
    Some(NodeTerm { weight, requirements: f.at("matchExpressions").list(Requirement::from_fields)? })
}

fn pod_term(f: &Fields, weight: Option<u64>) -> Option<PodTerm> {
    let pods = Selector::from_fields(&f.at("labelSelector"));
    let topology_key = f.at("topologyKey").parsed(label_key);
    Some(PodTerm { weight, pods: pods?, topology_key: topology_key? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask::model::object::read;

    #[test]
    fn all_of_it_is_read() {
        let hosts = json!({"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"});
        let spec = json!({
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [
                {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
                {"operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": hosts}]},
            },
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "a"}}}],
        });
        let read = read(&spec, Scheduling::from_fields).unwrap();
        assert_eq!(read.node_selector["kubernetes.io/os"], "linux");
        assert_eq!(read.tolerations.len(), 3);
        assert_eq!(read.tolerations[1], Toleration { key: None, value: None, effect: None, seconds: None });
        assert_eq!((read.affinity.node.len(), read.affinity.apart[0].weight), (1, Some(100)));
        assert!(!read.spread[0].must);
    }

    #[test]
    fn nothing_said_is_nothing_wished() {
        assert_eq!(read(&json!({}), Scheduling::from_fields), Ok(Scheduling::default()));
    }

    #[test]
    fn what_the_api_server_refuses_is_refused() {
        for (wrong, message) in [
            (json!({"tolerations": [{"value": "x"}]}), "tolerations[0]: has no key: that needs operator Exists"),
            (
                json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}),
                "tolerations[0]: has a value beside operator Exists",
            ),
            (
                json!({"tolerations": [{"key": "a", "effect": "Never"}]}),
                "tolerations[0].effect: \"Never\" is none of NoSchedule, PreferNoSchedule, NoExecute",
            ),
            (
                json!({"tolerations": [{"key": "a", "tolerationSeconds": 1}]}),
                "tolerations[0]: has tolerationSeconds, which go with effect NoExecute only",
            ),
            (json!({"nodeSelector": {"disk": 1}}), "nodeSelector.disk: a number instead of a text"),
            (
                json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101}]}}}),
                "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: 101 is not an integer from 1 to 100",
            ),
        ] {
            assert_eq!(read(&wrong, Scheduling::from_fields).unwrap_err(), [message]);
        }
    }
}
