//! All scenarios there are, in the groups that share a namespace.

use anyhow::Result;

use crate::e2e::scenario::Scenario;
use crate::e2e::{clusters, contributor, faults, hello, model, published, targets};
use xtask::run::context::{Project, profiles};
use xtask::run::exit::Stop;

const DEV: &str = "dev";

/// Scenarios that share a namespace, and are removed with it. Groups of one name are one to a person.
pub struct Group {
    pub name: String,
    pub profile: String,
    /// In place of the profile's own.
    pub namespace: Option<&'static str>,
    /// The folder of a project other than this one, relative to the root.
    pub project: Option<&'static str>,
    pub scenarios: Vec<Planned>,
}

/// A scenario between what it begins with and what it leaves. No scenario needs another: the state that one needs is
/// made where the one before has not left it.
#[derive(Clone, Copy)]
pub struct Planned {
    pub scenario: Scenario,
    pub begins: State,
    pub leaves: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of the profile is in the cluster.
    Gone,
    /// The application runs as it is described.
    Running,
    /// Whatever there is: the scenario sees to what it needs.
    Any,
}

impl Group {
    pub fn labels(&self) -> Vec<String> {
        self.scenarios.iter().map(|planned| self.label(planned.scenario.name)).collect()
    }

    pub fn label(&self, scenario: &str) -> String {
        format!("{}: {scenario}", self.name)
    }
}

/// All there are, the contributor's own first: it is what the others build upon.
pub fn groups(project: &Project) -> Result<Vec<Group>> {
    let running = |scenario: &Scenario| Planned { scenario: *scenario, begins: State::Running, leaves: State::Running };
    let comes_up = |scenario| Planned { scenario, begins: State::Gone, leaves: State::Running };
    let of_dev = |name: &str, namespace, scenarios: Vec<Planned>| Group {
        name: name.to_string(),
        profile: DEV.to_string(),
        namespace: Some(namespace),
        project: None,
        scenarios,
    };
    let first = std::iter::once(comes_up(contributor::COMES_UP));
    let mut groups = vec![
        of_dev(DEV, contributor::NAMESPACE, first.chain(contributor::SCENARIOS.iter().map(running)).collect()),
        // The key in its Secret opens nothing once the stand-in for a model is gone.
        of_dev(
            DEV,
            model::NAMESPACE,
            vec![Planned { begins: State::Gone, leaves: State::Any, scenario: model::ANSWERS }],
        ),
        of_dev("faults", faults::PODS_NAMESPACE, faults::PODS.iter().map(running).collect()),
        of_dev("faults", faults::NAMESPACE, faults::OTHERS.iter().map(running).collect()),
    ];
    // Each makes what it needs of its own, by way of the target.
    let by_target = |scenario: &Scenario| Planned { scenario: *scenario, begins: State::Any, leaves: State::Any };
    groups.push(of_dev("targets", targets::NAMESPACE, targets::SCENARIOS.iter().map(by_target).collect()));
    groups.push(of_dev("clusters", clusters::NAMESPACE, clusters::SCENARIOS.iter().map(by_target).collect()));
    for name in profiles(&project.root).into_iter().filter(|name| name != DEV) {
        let mut scenarios = vec![comes_up(published::COMES_UP)];
        scenarios.extend(published::scenarios(&project.of_profile(&name)?)?.iter().map(running));
        scenarios.push(Planned { scenario: published::GOES_AWAY, begins: State::Running, leaves: State::Gone });
        groups.push(Group { profile: name.clone(), name, namespace: None, project: None, scenarios });
    }
    if project.root.join(hello::PROJECT).exists() {
        groups.push(Group {
            name: "hello".to_string(),
            profile: DEV.to_string(),
            namespace: Some(hello::NAMESPACE),
            project: Some(hello::PROJECT),
            scenarios: vec![
                comes_up(hello::COMES_UP),
                running(&hello::CHANGES_NOTHING),
                Planned { scenario: hello::GOES_AWAY, begins: State::Running, leaves: State::Gone },
            ],
        });
    }
    Ok(groups)
}

/// The groups with those of their scenarios whose label holds one of `only`; all of them without any.
pub fn choose(groups: Vec<Group>, only: &[String]) -> Result<Vec<Group>> {
    let is_wanted = |label: &str| only.is_empty() || only.iter().any(|text| label.contains(text));
    let chosen = groups.into_iter().filter_map(|mut group| {
        let name = group.name.clone();
        group.scenarios.retain(|planned| is_wanted(&format!("{name}: {}", planned.scenario.name)));
        (!group.scenarios.is_empty()).then_some(group)
    });
    let chosen: Vec<Group> = chosen.collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => {
            let message = format!("no scenario is called {}\nNext: cargo xtask test-e2e --list", only.join(" or "));
            Err(Stop::usage(message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, scenarios: &[&'static str]) -> Group {
        let planned = |name: &&'static str| Planned {
            scenario: Scenario::new(name, |_| Ok(())),
            begins: State::Running,
            leaves: State::Running,
        };
        let scenarios = scenarios.iter().map(planned).collect();
        Group { name: name.to_string(), profile: DEV.to_string(), namespace: None, project: None, scenarios }
    }

    #[test]
    fn a_text_chooses_groups_and_scenarios() {
        let all = || vec![group("dev", &["comes up", "goes away"]), group("rolling", &["comes up"])];
        let choose = |only: &[&str]| choose(all(), &only.iter().map(|text| text.to_string()).collect::<Vec<_>>());
        let labels = |only: &[&str]| {
            choose(only).map(|groups| groups.iter().flat_map(Group::labels).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(labels(&[]), ["dev: comes up", "dev: goes away", "rolling: comes up"]);
        assert_eq!(labels(&["dev"]), ["dev: comes up", "dev: goes away"]);
        assert_eq!(labels(&["comes up"]), ["dev: comes up", "rolling: comes up"]);
        assert_eq!(labels(&["rolling: comes"]), ["rolling: comes up"]);
        assert_eq!(labels(&["goes", "rolling"]), ["dev: goes away", "rolling: comes up"]);
        let none = choose(&["nothing", "naught"]).err().unwrap().to_string();
        assert_eq!(none, "no scenario is called nothing or naught\nNext: cargo xtask test-e2e --list");
    }
}
