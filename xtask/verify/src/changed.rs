//! What a change can touch: from the paths that changed to the steps of `test`. What is not known to be harmless touches
//! everything.

use std::collections::BTreeSet;

/// The steps that a change can touch, and the groups of end-to-end scenarios.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    pub docs: bool,
    pub tool: bool,
    pub services: bool,
    pub go: bool,
    pub charts: bool,
    pub scenarios: Scenarios,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scenarios {
    #[default]
    None,
    /// Those of these groups.
    Of(BTreeSet<String>),
    All,
}

/// Part of the tests that a change either touches or leaves as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Docs,
    Tool,
    Services,
    Go,
    Charts,
    Scenarios,
}

/// What all of these paths touch together; `profiles` are the names of the project's profiles.
pub fn touched(paths: &[String], profiles: &[String]) -> Touched {
    paths.iter().fold(Touched::default(), |touched, path| touched.and(by_path(path, profiles)))
}

impl Touched {
    pub fn everything() -> Touched {
        Touched { docs: true, tool: true, services: true, go: true, charts: true, scenarios: Scenarios::All }
    }

    pub fn has(&self, part: Part) -> bool {
        match part {
            // The tests of the tool look at the docs, too.
            Part::Docs => self.docs && !self.tool,
            Part::Tool => self.tool,
            Part::Services => self.services,
            Part::Go => self.go,
            Part::Charts => self.charts,
            Part::Scenarios => self.scenarios != Scenarios::None,
        }
    }

    /// Why a part is left out.
    pub fn reason(&self, part: Part) -> &'static str {
        match part {
            Part::Docs if self.tool => "the tests of the tool look at the docs, too",
            Part::Docs => "no page changed",
            Part::Tool => "neither the tool nor what its tests read changed",
            Part::Services => "nothing under services changed",
            Part::Go => "nothing under k8s/node/go changed",
            Part::Charts => "no chart, Dockerfile, profile or linter changed",
            Part::Scenarios => "nothing changed that is deployed or deploys",
        }
    }

    fn and(self, other: Touched) -> Touched {
        Touched {
            docs: self.docs | other.docs,
            tool: self.tool | other.tool,
            services: self.services | other.services,
            go: self.go | other.go,
            charts: self.charts | other.charts,
            scenarios: self.scenarios.and(other.scenarios),
        }
    }
}

impl Scenarios {
    fn of(groups: &[&str]) -> Scenarios {
        Scenarios::Of(groups.iter().map(|name| name.to_string()).collect())
    }

    fn and(self, other: Scenarios) -> Scenarios {
        match (self, other) {
            (Scenarios::None, other) | (other, Scenarios::None) => other,
            (Scenarios::Of(some), Scenarios::Of(more)) => Scenarios::Of(some.into_iter().chain(more).collect()),
            (Scenarios::All, _) | (_, Scenarios::All) => Scenarios::All,
        }
    }
}

fn by_path(path: &str, profiles: &[String]) -> Touched {
    let none = Touched::default();
    let (top, rest) = path.split_once('/').unwrap_or(("", path));
    let is_page = path.ends_with(".md");
    match top {
        // The tests of the tool read these, and those of what must be the same here as in the editor and in CI.
        ".github" | ".gitlab" | ".vscode" => Touched { docs: true, tool: true, ..none },
        "" if rest == ".gitlab-ci.yml" => Touched { docs: true, tool: true, ..none },
        "docs" if rest.starts_with("specs/") || rest == "xtask.schema.json" => {
            Touched { docs: true, tool: true, ..none }
        }
        "docs" => Touched { docs: true, ..none },
        "" if is_page || rest == "LICENSE" => Touched { docs: true, ..none },
        "examples" if is_page => Touched { docs: true, ..none },
        "examples" if rest.starts_with("hello/") => {
            Touched { docs: true, tool: true, scenarios: Scenarios::of(&["hello"]), ..none }
        }
        // The advisories of both workspaces are tests of the tool.
        "services" if rest == "Cargo.lock" => Touched { go: false, ..Touched::everything() },
        "services" => Touched { services: true, docs: true, charts: true, scenarios: Scenarios::All, ..none },
        // What is rendered is compared with these, and no release is made of them.
        "helm" if is_page || rest.starts_with("snapshots/") => Touched { tool: true, charts: true, ..none },
        "helm" | "docker" => Touched { tool: true, charts: true, scenarios: Scenarios::All, ..none },
        "k8s" if rest.starts_with("profiles/") => {
            Touched { tool: true, charts: true, scenarios: by_profile(&rest["profiles/".len()..], profiles), ..none }
        }
        "xtask" if rest.starts_with("tests/") || rest.starts_with("verify/tests/") => Touched { tool: true, ..none },
        "xtask" if rest.starts_with("verify/src/bench/") => Touched { tool: true, ..none },
        _ => Touched::everything(),
    }
}

/// The groups of a profile, by the file's name up to its first dot; several profiles share the file of none.
fn by_profile(file: &str, profiles: &[String]) -> Scenarios {
    let name = file.split('.').next().unwrap_or_default();
    match profiles.iter().any(|known| known == name) {
        true if name == "dev" => Scenarios::of(&["dev", "faults", "targets"]),
        true => Scenarios::of(&[name]),
        false => Scenarios::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched_by(paths: &[&str]) -> Touched {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        touched(&owned(paths), &owned(&["dev", "rolling", "static"]))
    }

    fn parts(touched: &Touched) -> Vec<Part> {
        let all = [Part::Docs, Part::Tool, Part::Services, Part::Go, Part::Charts, Part::Scenarios];
        all.into_iter().filter(|part| touched.has(*part)).collect()
    }

    #[test]
    fn pages_touch_the_docs_alone() {
        for page in ["README.md", "docs/testing.md", "docs/pictures/a.svg", "examples/hello/README.md", "LICENSE"] {
            assert_eq!(parts(&touched_by(&[page])), [Part::Docs], "{page}");
        }
        assert_eq!(parts(&touched_by(&["docs/specs/rolling.md"])), [Part::Tool]);
        assert_eq!(parts(&touched_by(&["docs/xtask.schema.json"])), [Part::Tool]);
        for pipeline in [".github/workflows/ci.yml", ".gitlab/xtask.yml", ".gitlab-ci.yml"] {
            assert_eq!(parts(&touched_by(&[pipeline])), [Part::Tool], "{pipeline}");
        }
    }

    #[test]
    fn a_service_touches_its_tests_and_all_scenarios_and_not_the_tests_of_the_tool() {
        let touched = touched_by(&["services/backend/src/main.rs"]);
        assert_eq!(parts(&touched), [Part::Docs, Part::Services, Part::Charts, Part::Scenarios]);
        assert_eq!(touched.scenarios, Scenarios::All);
        assert!(touched_by(&["services/Cargo.lock"]).tool);
    }

    #[test]
    fn a_profile_touches_the_scenarios_of_its_groups() {
        let of = |paths: &[&str]| touched_by(paths).scenarios;
        assert_eq!(of(&["k8s/profiles/rolling.toml"]), Scenarios::of(&["rolling"]));
        assert_eq!(of(&["k8s/profiles/dev.values.yaml"]), Scenarios::of(&["dev", "faults", "targets"]));
        let both = ["k8s/profiles/rolling.values.yaml", "k8s/profiles/static.toml", "docs/a.md"];
        assert_eq!(of(&both), Scenarios::of(&["rolling", "static"]));
        assert_eq!(of(&["k8s/profiles/database.values.yaml"]), Scenarios::All);
        assert_eq!(of(&["k8s/profiles/rolling.toml", "helm/library/values.yaml"]), Scenarios::All);
    }

    #[test]
    fn what_only_tests_are_made_of_touches_no_scenario() {
        for path in ["xtask/tests/standin.rs", "xtask/verify/tests/lint/mod.rs", "xtask/verify/src/bench/rows.rs"] {
            assert_eq!(parts(&touched_by(&[path])), [Part::Tool], "{path}");
        }
        assert_eq!(parts(&touched_by(&["helm/snapshots/dev.yaml"])), [Part::Tool, Part::Charts]);
    }

    #[test]
    fn the_tool_and_what_is_not_known_touch_everything() {
        let everything = [
            "xtask/src/run/poll.rs",
            "xtask/verify/src/e2e/mod.rs",
            "xtask/verify/src/testing.rs",
            "Cargo.lock",
            "xtask.toml",
            "rust-toolchain.toml",
            ".cargo/config.toml",
            ".ci/run",
            "k8s/node/go/helm/go.mod",
            "k8s/new",
            "new/a.md",
            "examples/other/Cargo.toml",
            "newfile",
        ];
        for path in everything {
            assert_eq!(touched_by(&[path]), Touched::everything(), "{path}");
        }
    }

    #[test]
    fn nothing_touches_nothing_and_each_part_says_why_it_is_left_out() {
        let nothing = touched_by(&[]);
        assert_eq!(parts(&nothing), []);
        assert_eq!(nothing.reason(Part::Go), "nothing under k8s/node/go changed");
        assert_eq!(Touched::everything().reason(Part::Docs), "the tests of the tool look at the docs, too");
    }
}
