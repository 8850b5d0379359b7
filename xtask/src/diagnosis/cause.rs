//! What can be wrong with what a release runs, in plain words.

use std::fmt;
use std::time::Duration;

use crate::diagnosis::capacity::Shortage;

/// Something wrong with one object, or with one container of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub object: Object,
    pub container: Option<String>,
    pub cause: Cause,
    /// Since when, as the API server writes times.
    pub since: Option<String>,
    /// The log that tells more; what never started has none.
    pub log: Option<Log>,
    /// How long it may last before nothing more is waited for; None: as long as the wait itself.
    pub grace: Option<Duration>,
}

/// An object as kubectl names it: `pod` and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub kind: String,
    pub name: String,
}

/// The log of a container, or of the one that ran in its place before.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub pod: String,
    pub container: String,
    pub previous: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    ImageAbsent {
        image: String,
    },
    ImageRefused {
        image: String,
        message: String,
    },
    WrongProcessor {
        image: String,
    },
    /// A Secret or ConfigMap that is missing, or a key of it.
    Configuration {
        message: String,
    },
    Volumes {
        message: String,
    },
    CannotStart {
        message: String,
    },
    Crashed {
        times: u64,
        ending: String,
    },
    OutOfMemory {
        times: u64,
        limit: Option<String>,
    },
    /// The kubelet ended it, because a probe failed as often as it may.
    KilledByProbe {
        times: u64,
        probe: String,
        message: String,
    },
    /// It runs, and isn't ready.
    ProbeFails {
        probe: String,
        message: String,
    },
    Unschedulable {
        message: String,
        shortages: Vec<Shortage>,
    },
    /// The scheduler refused it before its claims had their volumes, and has not asked again.
    Overlooked,
    /// All nodes are closed to new pods.
    Cordoned {
        nodes: Vec<String>,
    },
    /// The node of the pod does not answer the API server.
    NodeAway {
        node: String,
        message: String,
    },
    NodePressure {
        message: String,
    },
    Evicted {
        message: String,
    },
    Migration {
        message: String,
    },
    Database {
        message: String,
    },
    /// Its container isn't made yet.
    NotRunning {
        message: String,
    },
    Claim {
        message: String,
    },
    Quota {
        quota: String,
        message: String,
    },
    /// The cluster admits no such object.
    Refused {
        message: String,
    },
    HookRuns {
        when: String,
        pods: String,
    },
    NoEndpoints {
        message: String,
    },
}

impl Problem {
    /// `pod web-1, container web`.
    pub fn subject(&self) -> String {
        match &self.container {
            Some(container) => format!("{}, container {container}", self.object),
            None => self.object.to_string(),
        }
    }

    pub fn why(&self) -> String {
        self.cause.to_string()
    }

    /// Whether both are about the same, if not in the same words: how often it has happened counts.
    pub fn is_same(&self, other: &Problem) -> bool {
        let same_kind = std::mem::discriminant(&self.cause) == std::mem::discriminant(&other.cause);
        let same_place = self.object == other.object && self.container == other.container;
        same_place && same_kind && self.cause.times() == other.cause.times()
    }
}

impl Cause {
    /// How often it has happened, where that is counted.
    pub fn times(&self) -> Option<u64> {
        match self {
            Cause::Crashed { times, .. } | Cause::OutOfMemory { times, .. } | Cause::KilledByProbe { times, .. } => {
                Some(*times)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ImageAbsent { image } => write!(f, "its image {image} is not on the node"),
            Cause::ImageRefused { image, message } => write!(f, "its image {image} cannot be pulled: {message}"),
            Cause::WrongProcessor { image } => {
                write!(f, "its image {image} is built for another architecture than the node's: exec format error")
            }
            Cause::Configuration { message } => write!(f, "its configuration is refused: {message}"),
            Cause::Volumes { message } => write!(f, "its volumes cannot be mounted: {message}"),
            Cause::CannotStart { message } => write!(f, "its container cannot be started: {message}"),
            Cause::Crashed { times, ending } => write!(f, "crashed {} {ending}", counted(*times)),
            Cause::OutOfMemory { times, limit } => {
                let limit =
                    limit.as_ref().map_or("see its limits".to_string(), |limit| format!("its limit is {limit}"));
                write!(f, "crashed {} exit code 137: out of memory, {limit}", counted(*times))
            }
            Cause::KilledByProbe { times, probe, message } => {
                let times = if *times == 1 { "once".to_string() } else { format!("{times} times") };
                let met = if message.is_empty() { String::new() } else { format!(": {message}") };
                write!(f, "was ended {times}, as its {probe} probe failed{met}")
            }
            Cause::ProbeFails { probe, message } if message.is_empty() => {
                write!(f, "runs, and its {probe} probe does not succeed")
            }
            Cause::ProbeFails { probe, message } => write!(f, "runs, and its {probe} probe fails: {message}"),
            Cause::Unschedulable { message, shortages } if shortages.is_empty() => {
                write!(f, "cannot be scheduled: {message}")
            }
            Cause::Unschedulable { shortages, .. } => {
                let text: Vec<String> = shortages.iter().map(Shortage::to_string).collect();
                write!(f, "cannot be scheduled: {}", text.join("; "))
            }
            Cause::Overlooked => f.write_str(
                "is not scheduled yet: its claims have their volumes, and the scheduler asks again within 6 min",
            ),
            Cause::Cordoned { nodes } => write!(
                f,
                "cannot be scheduled: node{} {} {} cordoned",
                if nodes.len() == 1 { "" } else { "s" },
                nodes.join(", "),
                if nodes.len() == 1 { "is" } else { "are" }
            ),
            Cause::NodeAway { node, message } => write!(f, "its node {node} is not ready: {message}"),
            Cause::NodePressure { message } => write!(f, "cannot be scheduled: {message}"),
            Cause::Evicted { message } => write!(f, "was evicted from its node: {message}"),
            Cause::Migration { message } => write!(f, "a migration fails: {message}"),
            Cause::Database { message } => write!(f, "waits for its database: {message}"),
            Cause::NotRunning { message } => write!(f, "does not run yet: {message}"),
            Cause::Claim { message } => write!(f, "has no volume: {message}"),
            Cause::Quota { quota, message } => write!(f, "the quota {quota} is exceeded: {message}"),
            Cause::Refused { message } => write!(f, "the API server rejects it: {message}"),
            Cause::HookRuns { when, pods } => write!(f, "helm waits for it ({when}); {pods}"),
            Cause::NoEndpoints { message } => write!(f, "has no endpoints, though pods run: {message}"),
        }
    }
}

fn counted(times: u64) -> String {
    if times == 1 { "once with".to_string() } else { format!("{times} times, last with") }
}
