//! States, derived from what is observed and never stored: of a deployment, a pod, a release and an image. Each is one
//! machine; the words that a profile has for its states are data.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::Value;

use crate::model::labels::{Selector, is_subset};
use crate::model::object::{StringMap, read};
use crate::model::rollout;
use crate::model::rollout::Rollout;

/// One machine: its states, and which may follow which.
pub trait State: Copy + Ord + Debug + 'static {
    const ALL: &'static [Self];

    /// The states that may follow at once.
    fn next(self) -> &'static [Self];
}

pub fn is_legal<S: State>(from: S, to: S) -> bool {
    from.next().contains(&to)
}

/// The state of a name, as in `Ready`.
pub fn named<S: State>(name: &str) -> Option<S> {
    S::ALL.iter().copied().find(|state| format!("{state:?}") == name)
}

/// Checks a trace of looks at a deployment: what passes by between two of them, Pending or Running, may be left out.
pub fn check_looks(trace: &[DeploymentState]) -> Result<(), String> {
    use DeploymentState::{Pending, Running};
    let mut whole = Vec::new();
    for (index, state) in trace.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).map(|index| trace[index]) {
            let passed: [&[DeploymentState]; 4] = [&[], &[Running], &[Pending], &[Pending, Running]];
            let legal = passed.into_iter().find(|passed| {
                let way: Vec<DeploymentState> = [&[before], *passed, &[*state]].concat();
                check_trace(&way).is_ok()
            });
            whole.extend(legal.unwrap_or_default());
        }
        whole.push(*state);
    }
    check_trace(&whole)
}

/// Checks a trace that has every transition. The same state twice in a row is no transition.
pub fn check_trace<S: State>(trace: &[S]) -> Result<(), String> {
    let wrong = trace.windows(2).enumerate().find(|(_, pair)| pair[0] != pair[1] && !is_legal(pair[0], pair[1]));
    match wrong {
        None => Ok(()),
        Some((index, pair)) => Err(format!(
            "{:?} was followed by {:?} (place {}): after {:?} may come {}",
            pair[0],
            pair[1],
            index + 2,
            pair[0],
            match pair[0].next() {
                [] => "nothing".to_string(),
                next => next.iter().map(|state| format!("{state:?}")).collect::<Vec<_>>().join(", "),
            }
        )),
    }
}

/// A profile's words for the states of a machine. One word may stand for several states.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary<S>(BTreeMap<S, String>);

impl<S: State> Vocabulary<S> {
    /// From names of states, as in `Ready`, to words. Errors: names that the machine doesn't have.
    pub fn new(words: &StringMap) -> Result<Vocabulary<S>, Vec<String>> {
        let unknown: Vec<String> = words.keys().filter(|name| named::<S>(name).is_none()).cloned().collect();
        if unknown.is_empty() {
            return Ok(Vocabulary(
                words.iter().filter_map(|(name, word)| Some((named(name)?, word.clone()))).collect(),
            ));
        }
        let known = S::ALL.iter().map(|state| format!("{state:?}")).collect::<Vec<_>>().join(", ");
        Err(unknown.into_iter().map(|name| format!("\"{name}\" is no state: known are {known}")).collect())
    }

    /// The word for a state; its own name where the profile has none.
    pub fn word(&self, state: S) -> String {
        self.0.get(&state).cloned().unwrap_or_else(|| format!("{state:?}"))
    }
}

/// A whole deployment: images, release and pods together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeploymentState {
    /// Nothing of it is there, apart from images.
    Absent,
    Building,
    Loading,
    /// The chart is being installed, and there are no pods yet.
    Installing,
    /// Not all pods run.
    Pending,
    /// All pods run, and not all are ready.
    Running,
    /// All pods are ready and get traffic.
    Ready,
    Upgrading,
    Failed,
    Terminating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodState {
    /// Not on a node yet.
    Pending,
    ContainerCreating,
    /// It runs and isn't ready.
    Running,
    Ready,
    /// A container ended badly, or can't start.
    Failed,
    /// It runs again and isn't ready again.
    Restarting,
    CrashLoopBackOff,
    Terminating,
    Terminated,
}

/// A release by its last revision, or one revision of it: only that can be superseded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseState {
    #[default]
    NotInstalled,
    Installing,
    Deployed,
    Upgrading,
    RollingBack,
    Superseded,
    Failed,
    Uninstalling,
    /// Gone, and its history is kept.
    Uninstalled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageState {
    Built,
    Tagged,
    /// On every node.
    Loaded,
    /// In a pod.
    Running,
}

impl State for DeploymentState {
    const ALL: &'static [DeploymentState] = {
        use DeploymentState::*;
        &[Absent, Building, Loading, Installing, Pending, Running, Ready, Upgrading, Failed, Terminating]
    };

    /// Steps for which there is nothing to do are left out; an interrupted run goes back to Absent.
    fn next(self) -> &'static [DeploymentState] {
        use DeploymentState::*;
        match self {
            Absent => &[Building, Loading, Installing],
            // What is there already is upgraded, or serves on where only its image was missing.
            Building => &[Loading, Installing, Upgrading, Ready, Failed, Absent],
            Loading => &[Installing, Upgrading, Ready, Failed, Absent],
            Installing => &[Pending, Failed, Terminating, Absent],
            Pending => &[Running, Upgrading, Failed, Terminating],
            Running => &[Ready, Pending, Upgrading, Failed, Terminating],
            Ready => &[Upgrading, Running, Pending, Failed, Terminating],
            Upgrading => &[Ready, Failed, Terminating],
            // A restart, a rollback, another run, or the end of it.
            Failed => &[Pending, Running, Upgrading, Building, Loading, Installing, Terminating, Absent],
            Terminating => &[Absent, Failed],
        }
    }
}

impl State for PodState {
    const ALL: &'static [PodState] = {
        use PodState::*;
        &[Pending, ContainerCreating, Running, Ready, Failed, Restarting, CrashLoopBackOff, Terminating, Terminated]
    };

    fn next(self) -> &'static [PodState] {
        use PodState::*;
        match self {
            Pending => &[ContainerCreating, Running, Failed, Terminating],
            ContainerCreating => &[Running, Failed, CrashLoopBackOff, Terminating],
            Running => &[Ready, Failed, CrashLoopBackOff, Terminating, Terminated],
            Ready => &[Running, Failed, CrashLoopBackOff, Terminating, Terminated],
            // An image that couldn't be had may come after all.
            Failed => &[ContainerCreating, Running, Restarting, CrashLoopBackOff, Terminating, Terminated],
            Restarting => &[Ready, Failed, CrashLoopBackOff, Terminating],
            CrashLoopBackOff => &[Restarting, Failed, Terminating, Terminated],
            Terminating => &[Terminated],
            Terminated => &[],
        }
    }
}

impl State for ReleaseState {
    const ALL: &'static [ReleaseState] = {
        use ReleaseState::*;
        &[NotInstalled, Installing, Deployed, Upgrading, RollingBack, Superseded, Failed, Uninstalling, Uninstalled]
    };

    fn next(self) -> &'static [ReleaseState] {
        use ReleaseState::*;
        match self {
            NotInstalled => &[Installing],
            Installing => &[Deployed, Failed, Uninstalling],
            Deployed => &[Upgrading, RollingBack, Superseded, Uninstalling],
            // One that was broken off is rolled back.
            Upgrading => &[Deployed, Failed, RollingBack, Uninstalling],
            RollingBack => &[Deployed, Failed, Uninstalling],
            Superseded => &[Uninstalling],
            Failed => &[Upgrading, RollingBack, Uninstalling],
            Uninstalling => &[NotInstalled, Uninstalled, Failed],
            Uninstalled => &[Installing, RollingBack, NotInstalled],
        }
    }
}

impl State for ImageState {
    const ALL: &'static [ImageState] = {
        use ImageState::*;
        &[Built, Tagged, Loaded, Running]
    };

    fn next(self) -> &'static [ImageState] {
        use ImageState::*;
        match self {
            Built => &[Tagged],
            Tagged => &[Loaded],
            Loaded => &[Running, Tagged],
            Running => &[Loaded],
        }
    }
}

impl ImageState {
    /// From where the image was found; None: nowhere. An image that runs needs no tag any more.
    pub fn of(on_host: bool, tagged: bool, on_every_node: bool, in_pod: bool) -> Option<ImageState> {
        match (on_host, tagged, on_every_node, in_pod) {
            (_, _, true, true) => Some(ImageState::Running),
            (_, _, true, false) => Some(ImageState::Loaded),
            (true, true, false, _) => Some(ImageState::Tagged),
            (true, false, false, _) => Some(ImageState::Built),
            (false, _, false, _) => None,
        }
    }
}

impl PodState {
    /// From a pod as the API server tells it.
    pub fn of(pod: &Value) -> PodState {
        let status = &pod["status"];
        let phase = status["phase"].as_str().unwrap_or_default();
        let statuses = ["initContainerStatuses", "containerStatuses"];
        let containers: Vec<&Value> = statuses.iter().flat_map(|list| status[list].as_array()).flatten().collect();
        let waits = |reason: &str| containers.iter().any(|container| container["state"]["waiting"]["reason"] == reason);
        let ended = |container: &&Value| {
            container["state"]["terminated"].is_object() && container["state"]["terminated"]["exitCode"] != 0
        };
        let main: Vec<&Value> = status["containerStatuses"].as_array().into_iter().flatten().collect();
        let over = matches!(phase, "Succeeded" | "Failed");
        match () {
            _ if phase == "Succeeded" => PodState::Terminated,
            _ if pod["metadata"]["deletionTimestamp"].is_string() => {
                if over {
                    PodState::Terminated
                } else {
                    PodState::Terminating
                }
            }
            _ if phase == "Failed" => PodState::Failed,
            _ if waits("CrashLoopBackOff") => PodState::CrashLoopBackOff,
            _ if containers.iter().any(|container| is_stuck(container)) || containers.iter().any(ended) => {
                PodState::Failed
            }
            _ if main.is_empty() => PodState::Pending,
            _ if main.iter().any(|container| !container["state"]["running"].is_object()) => PodState::ContainerCreating,
            _ if main.iter().all(|container| container["ready"] == true) => PodState::Ready,
            _ if main
                .iter()
                .any(|container| container["ready"] != true && container["restartCount"].as_u64() > Some(0)) =>
            {
                PodState::Restarting
            }
            _ => PodState::Running,
        }
    }
}

/// Whether a container can't start for a reason that lies in its description or its image.
fn is_stuck(container: &Value) -> bool {
    let reasons = [
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ];
    container["state"]["waiting"]["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
}

/// What can be seen of a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub release: ReleaseState,
    /// Pods that there should be.
    pub wanted: u64,
    /// Pods that are there, apart from those that go.
    pub present: u64,
    /// Pods of an older template.
    pub old: u64,
    pub running: u64,
    pub ready: u64,
    /// Addresses to which the Services send traffic; None if that was not observed.
    pub endpoints: Option<u64>,
    /// Pods that go.
    pub leaving: u64,
    /// A build, a load, a rollout or a pod has failed.
    pub failed: bool,
}

impl Observed {
    /// Counts workloads and their pods, as the API server tells them; pods that no workload selects are passed over.
    pub fn of(release: ReleaseState, workloads: &[Value], pods: &[Value]) -> Observed {
        let sum = |pointer: &str, absent: u64| {
            workloads
                .iter()
                .map(|object| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(absent))
                .sum::<u64>()
        };
        let selectors: Vec<Selector> = workloads
            .iter()
            .filter_map(|object| read(object, |f| Selector::from_fields(&f.at("spec").at("selector"))).ok())
            .collect();
        let own = |pod: &&Value| {
            let labels = labels(pod);
            selectors.iter().any(|selector| !selector.is_empty() && is_subset(&selector.labels, &labels))
        };
        let states: Vec<PodState> = pods.iter().filter(own).map(PodState::of).collect();
        let count = |wanted: &[PodState]| states.iter().filter(|state| wanted.contains(state)).count() as u64;
        let leaving = count(&[PodState::Terminating, PodState::Terminated]);
        let present = states.len() as u64 - leaving;
        let given_up = workloads.iter().any(|object| matches!(rollout::judge(object), Rollout::Failed(_)));
        Observed {
            release,
            wanted: sum("/spec/replicas", 1),
            present,
            old: present.saturating_sub(sum("/status/updatedReplicas", 0)),
            running: count(&[PodState::Running, PodState::Ready, PodState::Restarting]),
            ready: count(&[PodState::Ready]),
            endpoints: None,
            leaving,
            failed: given_up || count(&[PodState::Failed, PodState::CrashLoopBackOff]) > 0,
        }
    }

    pub fn state(&self) -> DeploymentState {
        use DeploymentState::*;
        let gone = matches!(self.release, ReleaseState::NotInstalled | ReleaseState::Uninstalled);
        let nothing = gone && self.wanted == 0 && self.present == 0 && self.leaving == 0;
        if self.release == ReleaseState::Uninstalling {
            return Terminating;
        }
        if self.failed || self.release == ReleaseState::Failed {
            return Failed;
        }
        if nothing {
            return Absent;
        }
        if gone {
            return Terminating;
        }
        let installing = self.release == ReleaseState::Installing;
        let changing = matches!(self.release, ReleaseState::Upgrading | ReleaseState::RollingBack);
        match () {
            _ if changing || (self.old > 0 && !installing) => Upgrading,
            _ if self.present == 0 && installing => Installing,
            // A release without a single workload is none.
            _ if self.wanted == 0 => Failed,
            _ if self.running < self.wanted => Pending,
            _ if self.ready < self.wanted || self.endpoints.is_some_and(|count| count < self.wanted) => Running,
            _ => Ready,
        }
    }
}

fn labels(object: &Value) -> StringMap {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().map(|(state, word)| (state.to_string(), word.to_string())).collect()
    }

    #[test]
    fn every_state_can_be_reached_and_all_but_the_last_can_be_left() {
        fn check<S: State>(last: &[S]) {
            for state in S::ALL {
                assert!(S::ALL.iter().any(|from| is_legal(*from, *state)) || *state == S::ALL[0], "{state:?}");
                assert_eq!(state.next().is_empty(), last.contains(state), "{state:?}");
                assert!(!is_legal(*state, *state), "{state:?}");
            }
        }
        check::<DeploymentState>(&[]);
        check::<PodState>(&[PodState::Terminated]);
        check::<ReleaseState>(&[]);
        check::<ImageState>(&[]);
    }

    #[test]
    fn what_passes_by_between_two_looks_may_be_left_out() {
        use DeploymentState::*;
        for trace in [
            &[Building, Loading, Installing, Ready][..],
            &[Installing, Running, Ready],
            &[Loading, Upgrading, Failed, Ready],
            &[Loading, Ready],
            &[Ready],
        ] {
            assert_eq!(check_looks(trace), Ok(()), "{trace:?}");
        }
        for trace in [&[Building, Running][..], &[Ready, Loading], &[Installing, Upgrading, Building], &[Ready, Absent]]
        {
            assert!(check_looks(trace).is_err(), "{trace:?}");
        }
    }

    #[test]
    fn the_specs_deployment_transitions_are_legal() {
        use DeploymentState::*;
        assert_eq!(check_trace(&[Building, Loading, Installing, Pending, Running, Ready]), Ok(()));
        assert_eq!(check_trace(&[Pending, Failed, Pending, Running, Ready, Upgrading, Ready]), Ok(()));
        assert_eq!(check_trace(&[Ready, Upgrading, Failed, Upgrading, Ready, Terminating, Absent]), Ok(()));
        let words = words(&[
            ("Installing", "Created"),
            ("Pending", "Scaling"),
            ("Running", "Scaling"),
            ("Ready", "Active"),
            ("Upgrading", "Updating"),
        ]);
        let compact = Vocabulary::<DeploymentState>::new(&words).unwrap();
        let describe = |trace: &[DeploymentState]| {
            assert_eq!(check_trace(trace), Ok(()));
            let mut text: Vec<String> = trace.iter().map(|state| compact.word(*state)).collect();
            text.dedup();
            text.join(" ")
        };
        let trace = [Installing, Pending, Running, Ready, Upgrading, Ready, Pending, Failed];
        assert_eq!(describe(&trace), "Created Scaling Active Updating Active Scaling Failed");
        assert_eq!(describe(&[Ready, Terminating]), "Active Terminating");
        assert!(!is_legal(Upgrading, Installing) && !is_legal(Terminating, Ready));
    }

    #[test]
    fn the_specs_pod_transitions_are_legal() {
        use PodState::*;
        assert_eq!(check_trace(&[Pending, Running, Ready]), Ok(()));
        assert_eq!(check_trace(&[Running, Failed, Restarting]), Ok(()));
        assert_eq!(check_trace(&[Running, Terminating, Terminated]), Ok(()));
        assert_eq!(check_trace(&[Pending, ContainerCreating, Running, Ready, Terminating, Terminated]), Ok(()));
        assert_eq!(check_trace(&[ContainerCreating, Running, CrashLoopBackOff]), Ok(()));
        for wrong in [[Terminated, Running], [Terminating, Ready], [Ready, Pending], [ContainerCreating, Pending]] {
            assert!(check_trace(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_specs_release_transitions_are_legal() {
        use ReleaseState::*;
        assert_eq!(check_trace(&[NotInstalled, Installing, Deployed, Upgrading, Deployed]), Ok(()));
        assert_eq!(check_trace(&[Deployed, RollingBack, Deployed, Uninstalling, NotInstalled]), Ok(()));
        assert_eq!(check_trace(&[NotInstalled, Installing, Deployed, Superseded, Uninstalling, Uninstalled]), Ok(()));
        assert_eq!(check_trace(&[Deployed, Upgrading, Failed]), Ok(()));
        assert!(!is_legal(NotInstalled, Superseded) && !is_legal(Superseded, Deployed));
    }

    #[test]
    fn the_specs_image_transitions_are_legal() {
        use ImageState::*;
        assert_eq!(check_trace(&[Built, Tagged, Loaded, Running]), Ok(()));
        assert!(check_trace(&[Built, Running]).is_err());
        assert!(check_trace(&[Running, Built]).is_err());
        assert_eq!(ImageState::of(true, true, true, true), Some(Running));
        assert_eq!(ImageState::of(true, true, false, false), Some(Tagged));
        assert_eq!(ImageState::of(true, false, false, false), Some(Built));
        assert_eq!(ImageState::of(false, false, false, false), None);
    }

    #[test]
    fn an_illegal_transition_is_reported_with_its_place() {
        use DeploymentState::*;
        assert_eq!(
            check_trace(&[Pending, Pending, Running, Installing]).unwrap_err(),
            "Running was followed by Installing (place 4): after Running may come Ready, Pending, Upgrading, Failed, Terminating"
        );
        assert!(check_trace(&[Absent, Ready]).is_err());
        assert!(check_trace(&[Ready, Building]).is_err());
        assert_eq!(check_trace::<PodState>(&[]), Ok(()));
    }

    #[test]
    fn a_vocabulary_names_states_that_are_there() {
        let wrong = Vocabulary::<ImageState>::new(&words(&[("Pushed", "pushed"), ("Built", "made")])).unwrap_err();
        assert_eq!(wrong, ["\"Pushed\" is no state: known are Built, Tagged, Loaded, Running"]);
    }

    fn observed() -> Observed {
        Observed { release: ReleaseState::Deployed, wanted: 2, present: 2, running: 2, ready: 2, ..Observed::default() }
    }

    #[test]
    fn a_deployments_state_comes_from_what_is_seen() {
        use DeploymentState::*;
        let nothing = Observed::default();
        for (seen, state) in [
            (nothing.clone(), Absent),
            (Observed { failed: true, ..nothing.clone() }, Failed),
            (Observed { release: ReleaseState::Installing, wanted: 2, ..nothing.clone() }, Installing),
            (Observed { present: 1, running: 0, ready: 0, ..observed() }, Pending),
            (Observed { running: 1, ready: 1, ..observed() }, Pending),
            (Observed { ready: 1, ..observed() }, Running),
            (Observed { endpoints: Some(1), ..observed() }, Running),
            (Observed { endpoints: Some(2), ..observed() }, Ready),
            (observed(), Ready),
            (Observed { release: ReleaseState::Upgrading, ..observed() }, Upgrading),
            (Observed { release: ReleaseState::RollingBack, ready: 1, ..observed() }, Upgrading),
            (Observed { present: 3, old: 2, running: 3, ..observed() }, Upgrading),
            (Observed { failed: true, ..observed() }, Failed),
            (Observed { release: ReleaseState::Failed, ..observed() }, Failed),
            (Observed { wanted: 0, present: 0, running: 0, ready: 0, ..observed() }, Failed),
            (Observed { release: ReleaseState::Uninstalling, failed: true, ..observed() }, Terminating),
            (Observed { leaving: 1, ..nothing.clone() }, Terminating),
            (Observed { release: ReleaseState::Uninstalled, ..nothing.clone() }, Absent),
        ] {
            assert_eq!(seen.state(), state, "{seen:?}");
        }
    }

    fn pod(phase: &str, container: Value) -> Value {
        json!({"metadata": {"name": "a", "labels": {"app": "a"}}, "status": {"phase": phase, "containerStatuses": [container]}})
    }

    #[test]
    fn a_pods_state_comes_from_its_status() {
        use PodState::*;
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let run =
            |ready: bool, restarts: u64| json!({"state": {"running": {}}, "ready": ready, "restartCount": restarts});
        for (pod, state) in [
            (json!({"status": {"phase": "Pending"}}), Pending),
            (pod("Pending", waiting("ContainerCreating")), ContainerCreating),
            (pod("Pending", waiting("PodInitializing")), ContainerCreating),
            (pod("Running", run(false, 0)), Running),
            (pod("Running", run(true, 3)), Ready),
            (pod("Running", run(false, 1)), Restarting),
            (pod("Running", waiting("CrashLoopBackOff")), CrashLoopBackOff),
            (pod("Pending", waiting("ErrImageNeverPull")), Failed),
            (pod("Running", json!({"state": {"terminated": {"exitCode": 1}}})), Failed),
            (pod("Failed", json!({})), Failed),
            (pod("Succeeded", json!({})), Terminated),
        ] {
            assert_eq!(PodState::of(&pod), state, "{pod}");
        }
        let mut leaving = pod("Running", run(true, 0));
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(PodState::of(&leaving), Terminating);
    }

    #[test]
    fn workloads_and_their_pods_are_counted() {
        let workload = json!({
            "kind": "Deployment", "metadata": {"generation": 1},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 2},
        });
        let ready = || pod("Running", json!({"state": {"running": {}}, "ready": true}));
        let mut other = pod("Failed", json!({}));
        other["metadata"]["labels"]["app"] = "b".into();
        let pods = [ready(), ready(), other];
        let seen = Observed::of(ReleaseState::Deployed, std::slice::from_ref(&workload), &pods);
        assert_eq!((seen.wanted, seen.present, seen.old, seen.ready, seen.failed), (2, 2, 1, 2, false));
        assert_eq!(seen.state(), DeploymentState::Upgrading);
        let seen = Observed::of(ReleaseState::Deployed, &[workload], &[ready(), pod("Failed", json!({}))]);
        assert_eq!(seen.state(), DeploymentState::Failed);
    }
}
