//! The rules of the published data models, each under its code, over facts that were gathered beforehand. No I/O.
//!
//! A rule cites the pages of docs/specs that state its fact. A profile with a data model is checked against the rules that
//! cite the model's page; a profile without one against all rules, as far as they need no figure of a model.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::entities::dpkg::DebianPackage;

use xtask::config::{Config, SpecService, Waiver};
use xtask::model::states::DeploymentState;

/// Where a rule is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Config,
    Render,
    Image,
    Live,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Config => "config",
            Place::Render => "rendered",
            Place::Image => "image",
            Place::Live => "live",
        }
    }
}

pub struct Rule {
    /// Its stable name, as in `dep.res.order`.
    pub code: &'static str,
    pub what: &'static str,
    /// Page of docs/specs and anchor, as in `rolling.md#image-sizes, static.md#image-sizes`.
    pub specs: &'static str,
    pub places: &'static [Place],
    pub check: fn(&Facts, &mut Checks),
}

impl Rule {
    /// Page and anchor of each citation.
    pub fn citations(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.specs.split(", ").map(|citation| citation.split_once('#').unwrap_or((citation, "")))
    }
}

/// The page of what every profile must meet, whatever its data model says.
pub const COMMON: &str = "common.md";

/// Pages of docs/specs, in the order of `[spec] number` of the profiles.
pub const PAGES: [&str; 5] = ["rolling.md", "nodeport.md", "microservices.md", "static.md", "compact.md"];

/// What was gathered; None is what was not requested, or can't be had.
pub struct Facts<'a> {
    pub config: &'a Config,
    /// Why a place was not looked at, in a few words.
    pub unseen: BTreeMap<Place, String>,
    pub files: Option<Files>,
    /// By release.
    pub rendered: Option<BTreeMap<String, RenderedRelease>>,
    /// By service.
    pub images: Option<BTreeMap<String, ImageFacts>>,
    pub live: Option<LiveFacts>,
    pub known: Known,
}

/// What databases of known vulnerabilities say.
pub struct Known {
    /// RustSec's database with the date of its newest advisory; else why it was not asked.
    pub rust: Result<String, String>,
    /// Path of each tracked Cargo.lock to the vulnerabilities of the packages in it; empty where nothing was asked.
    pub locks: BTreeMap<String, Vec<Vulnerability>>,
    /// Service to the vulnerabilities of the crates in its image's programs, as far as these say their crates.
    pub crates: BTreeMap<String, Vec<Vulnerability>>,
    /// The Debian security tracker's file with its time; else why it was not asked.
    pub debian: Result<String, String>,
    /// Service to the vulnerabilities of its image's Debian packages.
    pub packages: BTreeMap<String, Vec<Vulnerability>>,
}

impl Default for Known {
    fn default() -> Known {
        let unasked = || Err("nothing was asked".to_string());
        let (locks, crates, packages) = Default::default();
        Known { rust: unasked(), locks, crates, debian: unasked(), packages }
    }
}

/// A published vulnerability of a package that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Vulnerability {
    /// As in `RUSTSEC-2024-0001`.
    pub id: String,
    pub package: String,
    pub version: String,
    pub title: String,
    /// As in `high`; None where nobody has scored it.
    pub severity: Option<String>,
    /// The versions without it; empty where there is none.
    pub fixed: Vec<String>,
}

impl Vulnerability {
    /// Whether a newer version would do away with it, and nobody says that it is less than critical.
    pub fn is_fixable_and_critical(&self) -> bool {
        !self.fixed.is_empty() && self.severity.as_ref().is_none_or(|severity| severity == "critical")
    }
}

impl std::fmt::Display for Vulnerability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Vulnerability { id, package, version, title, severity, fixed } = self;
        let severity = severity.as_deref().unwrap_or("not scored");
        let fixed = if fixed.is_empty() { "no version".to_string() } else { fixed.join(" or ") };
        write!(f, "{package} {version} has {id}, {severity}: {title}; fixed in {fixed}")
    }
}

/// What lies in the repository.
#[derive(Default)]
pub struct Files {
    /// Every path that git tracks, relative to the root; None where there is no git to ask.
    pub tracked: Option<Vec<String>>,
    /// Where a tracked file holds what looks like a secret, as `FILE:LINE: WHAT`, without the secret.
    pub leaks: Vec<String>,
    /// Whether git ignores the file that a person's own values stand in.
    pub override_ignored: bool,
    /// It is encrypted: git may have it.
    pub override_sealed: bool,
    /// Dockerfile's path to its text.
    pub dockerfiles: BTreeMap<String, String>,
    /// `.dockerignore` of a Dockerfile, by the Dockerfile's path.
    pub dockerignores: BTreeMap<String, String>,
    /// By service: the files that reach its build, relative to its context.
    pub inputs: BTreeMap<String, Vec<String>>,
    /// By release: the staged chart.
    pub charts: BTreeMap<String, ChartFiles>,
}

#[derive(Default)]
pub struct ChartFiles {
    /// Chart.yaml.
    pub described: Value,
    /// Relative to the chart's folder.
    pub files: Vec<String>,
    /// The values that the release is rendered with, all files together.
    pub values: Value,
    /// What `helm lint --strict` said; empty is silence.
    pub lint: String,
    /// Knob, as in `backend image.tag`, to whether the render shows another value of it.
    pub knobs: BTreeMap<String, bool>,
    /// Why helm would not take other values for the knobs.
    pub refused: Option<String>,
}

#[derive(Default)]
pub struct RenderedRelease {
    pub namespace: String,
    /// Objects of the manifest.
    pub objects: Vec<Value>,
    /// Hooks: the test pod and what is made before an install.
    pub hooks: Vec<Value>,
    /// Service to the tag that was rendered.
    pub tags: BTreeMap<String, String>,
    /// The Secret that the chart makes where its values ask for it: `data` or `stringData`, to the objects or helm's refusal.
    pub made_secrets: BTreeMap<String, Result<Vec<Value>, String>>,
    /// What helm says to a placeholder as the value of a key: the key, to the refusal; None: it took it.
    pub placeholder: Option<(String, Option<String>)>,
}

#[derive(Default)]
pub struct ImageFacts {
    pub reference: String,
    /// Bytes.
    pub size: u64,
    /// `docker image inspect`, the one object of it.
    pub inspect: Value,
    /// `docker history --no-trunc`, the commands.
    pub history: Vec<String>,
    /// Everything in the image.
    pub files: Vec<ImageFile>,
    /// Files in which a value that looks like a secret was found, with what gave it away and never the value.
    pub secrets: Vec<String>,
    /// Program to the crates that it says it was made of, as `cargo auditable` writes them.
    pub crates: BTreeMap<String, Vec<Package>>,
    /// Of a Debian image.
    pub packages: Vec<DebianPackage>,
    /// The code name of the distribution's release, as in `bookworm`.
    pub codename: Option<String>,
    /// UID to name, of /etc/passwd.
    pub users: BTreeMap<u32, String>,
    /// Layers that could not be looked into.
    pub unread_layers: usize,
    /// How a container of it ended that was started alone; else why it does not start.
    pub starts: Option<Result<Start, String>>,
}

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// It comes from a registry, and is not one of the project's own.
    pub is_foreign: bool,
}

/// How an image starts alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// It answers its own health check, or has none and goes on.
    Runs,
    /// It ends and names the variable that it needs.
    Needs(String),
}

/// A file, folder or link of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFile {
    /// Without a leading slash.
    pub path: String,
    /// The permission bits, setuid and its like included.
    pub mode: u32,
    pub kind: FileKind,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileKind {
    #[default]
    Plain,
    Folder,
    Link,
    /// A device, a socket and the like.
    Other,
}

/// What the cluster answered. Secrets' values are not in it, only their keys.
#[derive(Default)]
pub struct LiveFacts {
    pub nodes: Vec<Value>,
    /// Node to what its container is limited to, in billionths of a CPU and in bytes; 0 is no limit.
    pub node_limits: BTreeMap<String, (u64, u64)>,
    /// The pods of all namespaces, this profile's or not.
    pub all_pods: Vec<Value>,
    /// Node to reference to ID, as the node's runtime lists them.
    pub node_images: BTreeMap<String, BTreeMap<String, String>>,
    /// Addon to what keeps its workloads and APIs from serving, if anything does.
    pub addons: BTreeMap<String, Option<String>>,
    /// Service to the host's image ID.
    pub host_images: BTreeMap<String, String>,
    /// Deployments, StatefulSets, ReplicaSets, Pods, Services, EndpointSlices, ConfigMaps, Namespaces and PVCs of the
    /// profile's namespaces.
    pub objects: Vec<Value>,
    /// Secret to key to whether its value is well-formed for what it is, else why not.
    pub secrets: BTreeMap<String, BTreeMap<String, Result<(), String>>>,
    /// Secret to its type and creation time.
    pub secret_objects: Vec<Value>,
    /// `helm list` of the profile's namespaces: name, namespace, revision, status, chart, app_version.
    pub releases: Vec<Value>,
    /// Release to its revisions, the newest last.
    pub history: BTreeMap<String, Vec<PastRevision>>,
    /// The last `up` of the profile that changed something, or else the last; None without a record of one.
    pub last_up: Option<LastUp>,
    /// What was tried, to how it ended, in words. What isn't here was not tried.
    pub attempts: BTreeMap<Attempt, Result<String, String>>,
    /// What minikube tells: {"profiles": of `profile list`, "status": of `status`, "ip": of `ip`}.
    pub minikube: Value,
    /// Tables and views of the database with their columns, each as `TYPE[ not null][ default EXPRESSION][ CONSTRAINT]`.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
    /// Why the database could not be asked.
    pub no_database: Option<String>,
    /// The time of the cluster when the facts were gathered, RFC 3339.
    pub now: String,
}

/// A revision of a release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastRevision {
    pub number: u64,
    /// Helm's word, as in `superseded`.
    pub status: String,
    /// A rollback made it.
    pub is_rollback: bool,
    /// The revision that it went back to, as far as helm says so.
    pub went_back_to: Option<u64>,
}

/// What the record of an `up` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastUp {
    pub succeeded: bool,
    /// Service to the states that it was seen in.
    pub states: BTreeMap<String, Vec<DeploymentState>>,
    /// A service or a release, and the state after which something of it was checked.
    pub validated: Vec<(String, DeploymentState)>,
}

/// Something that was tried in the cluster. Services and releases are meant by their names of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attempt {
    /// A pod of the profile resolved the short host name of a service's Service.
    ShortName(String),
    /// The same, with the namespace and the cluster's domain behind it.
    FullName(String),
    /// A pod of one service got an answer from another's Service.
    Reach {
        from: String,
        to: String,
    },
    /// The published node port of a service answered on 127.0.0.1.
    Url(String),
    /// `minikube service --url` named a URL of a service, and it answered.
    MinikubeUrl(String),
    /// The environment of each running container of a service has every key of the ConfigMaps and Secrets that its pod
    /// names.
    Environment(String),
    /// The API server took a change of a ConfigMap, tried without keeping it.
    ConfigMap(String),
    /// `helm upgrade`, `helm rollback` and `helm uninstall` of a release, tried without keeping anything.
    Upgrade(String),
    Rollback(String),
    Uninstall(String),
    /// `helm test` of a release, really run.
    Test(String),
}

/// What a rule looked at, and what it found.
#[derive(Default)]
pub struct Checks {
    pub looked: BTreeMap<Place, usize>,
    pub findings: Vec<Finding>,
    /// Why a place could not be looked at.
    pub unseen: BTreeMap<Place, String>,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub code: &'static str,
    pub place: Place,
    /// `kind/name`, a service, or a file.
    pub object: String,
    /// `FILE:LINE:COLUMN`, where a line of the configuration says it.
    pub at: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// The reason why it stays.
    pub waived: Option<String>,
}

impl Checks {
    /// Looks at one thing; the message says what is wrong with it and what to do.
    pub fn that(&mut self, place: Place, object: &str, holds: bool, text: impl FnOnce() -> String) {
        *self.looked.entry(place).or_default() += 1;
        if !holds {
            let (object, message) = (object.to_string(), text());
            self.findings.push(Finding { code: self.code, place, object, at: None, message, waived: None });
        }
    }

    /// The same, for a value that a line of the configuration gives: `path` as in `services.backend.size_limit_mb`.
    pub fn that_at(
        &mut self,
        config: &Config,
        path: &str,
        object: &str,
        holds: bool,
        message: impl FnOnce() -> String,
    ) {
        self.that(Place::Config, object, holds, message);
        if !holds && let Some(last) = self.findings.last_mut() {
            last.at = config.place_of(path);
        }
    }

    /// The same, for something that is right only if `problem` is None.
    pub fn none(&mut self, place: Place, object: &str, problem: Option<String>) {
        let holds = problem.is_none();
        self.that(place, object, holds, || problem.unwrap_or_default());
    }

    /// Says where the last finding lies, as `FILE:LINE`.
    pub fn at(&mut self, place: &str) {
        if let Some(last) = self.findings.last_mut() {
            last.at = Some(place.to_string());
        }
    }

    /// Looks at how something that was tried in the cluster has ended; what was not tried was not looked at.
    pub fn tried(&mut self, facts: &Facts, attempt: &Attempt, object: &str, advice: &str) {
        let Some(live) = &facts.live else { return };
        match live.attempts.get(attempt) {
            Some(ended) => self.none(Place::Live, object, ended.as_ref().err().map(|why| format!("{why}: {advice}"))),
            None => self.cannot(Place::Live, format!("{object} was not tried")),
        }
    }

    /// Says why something could not be looked at: it must not count as passed.
    pub fn cannot(&mut self, place: Place, why: impl Into<String>) {
        let message = self.unseen.entry(place).or_default();
        *message = if message.is_empty() { why.into() } else { format!("{message}; {}", why.into()) };
    }
}

/// How a rule ended for a profile.
pub struct Verdict {
    pub rule: &'static Rule,
    /// Place to the number of things that were looked at.
    pub looked: BTreeMap<Place, usize>,
    /// Place to why it was not looked at, or not at all of it.
    pub unseen: BTreeMap<Place, String>,
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Findings that no waiver covers.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.waived.is_none())
    }
}

/// The label by which the charts name the service that an object belongs to, and the one for its release.
pub const SERVICE_LABEL: &str = "app.kubernetes.io/name";
pub const RELEASE_LABEL: &str = "app.kubernetes.io/instance";

/// A value for keys of a Secret that is rendered to look at its form.
pub const SAMPLE: &str = "sample-value-0123456789";

impl Facts<'_> {
    /// Those of rendered and live that were gathered: most rules hold in both alike.
    pub fn places(&self) -> Vec<Place> {
        let all = [(Place::Render, self.rendered.is_some()), (Place::Live, self.live.is_some())];
        all.into_iter().filter_map(|(place, there)| there.then_some(place)).collect()
    }

    /// The values of a service, completed, as its release is rendered with them.
    pub fn values(&self, release: &str, service: &str) -> Option<&Value> {
        let values = &self.files.as_ref()?.charts.get(release)?.values;
        Some(values["services"].get(service).unwrap_or(values))
    }

    /// The objects of a kind that the profile's releases have, rendered or live; `*` is every kind.
    pub fn objects(&self, place: Place, kind: &str) -> Vec<&Value> {
        let of_kind = |object: &&Value| kind == "*" || object["kind"] == kind;
        match place {
            Place::Render => {
                let releases = self.rendered.iter().flat_map(BTreeMap::values);
                releases.flat_map(|release| &release.objects).filter(of_kind).collect()
            }
            Place::Live => {
                let all = self.live.iter().flat_map(|live| &live.objects);
                all.filter(|object| of_kind(object) && self.is_ours(object)).collect()
            }
            Place::Config | Place::Image => Vec::new(),
        }
    }

    /// The object of a kind that belongs to a service: that of the service's own name first, where it has several.
    pub fn of(&self, place: Place, kind: &str, service: &str) -> Option<&Value> {
        self.objects(place, kind).into_iter().find(|object| label(object, SERVICE_LABEL) == Some(service))
    }

    /// A service's Deployment or StatefulSet.
    pub fn workload(&self, place: Place, service: &str) -> Option<&Value> {
        self.of(place, "Deployment", service).or_else(|| self.of(place, "StatefulSet", service))
    }

    /// The container of a service's workload that runs its image; a pod has no other that counts.
    pub fn container(&self, place: Place, service: &str) -> Option<&Value> {
        self.workload(place, service)?.pointer("/spec/template/spec/containers/0")
    }

    /// A service's live pods, but for those that are leaving.
    pub fn pods(&self, service: &str) -> Vec<&Value> {
        let staying = |pod: &&Value| !pod["metadata"]["deletionTimestamp"].is_string();
        let pods = self.objects(Place::Live, "Pod").into_iter().filter(staying);
        pods.filter(|pod| label(pod, SERVICE_LABEL) == Some(service)).collect()
    }

    /// The services that the profile runs here: those of a release in place of which a person names something outside
    /// are none of them.
    pub fn services(&self) -> Vec<&str> {
        let here = |release: &str| self.rendered.as_ref().is_none_or(|rendered| rendered.contains_key(release));
        self.config.running().filter(|(_, release)| here(release)).map(|(service, _)| service).collect()
    }

    /// What the profile's spec says of a service.
    pub fn spec(&self, service: &str) -> Option<&SpecService> {
        self.config.spec.as_ref()?.services.get(service)
    }

    /// The services that a data model speaks of, with its figures; none for a profile without a data model.
    pub fn spec_services(&self) -> Vec<(&str, &SpecService)> {
        let services = self.config.spec.iter().flat_map(|spec| &spec.services);
        services.map(|(name, about)| (name.as_str(), about)).collect()
    }

    fn is_ours(&self, object: &Value) -> bool {
        let release = label(object, RELEASE_LABEL).and_then(|name| self.config.releases.get(name));
        release.is_some_and(|release| object["metadata"]["namespace"] == release.namespace)
    }
}

/// A label of an object.
pub fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["labels"][name].as_str()
}

/// All rules, in the order of their codes' families.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [
        image::RULES,
        scan::RULES,
        vulnerabilities::RULES,
        deployment::RULES,
        service::RULES,
        settings::RULES,
        chart::RULES,
        states::RULES,
    ]
    .into_iter()
    .flatten()
}

/// Whether a profile is checked against a rule: its data model's page is cited, or the page for all; or it has no model.
pub fn applies(rule: &Rule, config: &Config) -> bool {
    config.spec.as_ref().is_none_or(|spec| {
        let model = PAGES.get(usize::from(spec.number));
        rule.citations().any(|(page, _)| page == COMMON || model == Some(&page))
    })
}

/// Checks every rule that applies. A finding that a waiver names stays, with the waiver's reason.
pub fn judge(facts: &Facts) -> Vec<Verdict> {
    let check = |rule: &'static Rule| {
        let mut checks = Checks { code: rule.code, ..Checks::default() };
        (rule.check)(facts, &mut checks);
        for finding in &mut checks.findings {
            let waiver = facts.config.waivers.iter().find(|waiver| covers(waiver, finding));
            finding.waived = waiver.map(|waiver| waiver.reason.clone());
        }
        let mut unseen = checks.unseen;
        for place in rule.places.iter().filter(|place| !checks.looked.contains_key(place)) {
            let why = facts.unseen.get(place).map_or("nothing to look at", String::as_str);
            unseen.entry(*place).or_insert_with(|| why.to_string());
        }
        Verdict { rule, looked: checks.looked, unseen, findings: checks.findings }
    };
    all().filter(|rule| applies(rule, facts.config)).map(check).collect()
}

/// Waivers of this profile that waive nothing, although all that their rule speaks of was looked at.
pub fn unused<'a>(config: &'a Config, verdicts: &[Verdict]) -> Vec<&'a Waiver> {
    let idle = |waiver: &&Waiver| {
        let Some(rule) = all().find(|rule| rule.code == waiver.code) else { return false };
        match verdicts.iter().find(|verdict| verdict.rule.code == rule.code) {
            Some(verdict) => verdict.unseen.is_empty() && !verdict.findings.iter().any(|found| covers(waiver, found)),
            None => true,
        }
    };
    config.waivers.iter().filter(idle).collect()
}

pub fn covers(waiver: &Waiver, finding: &Finding) -> bool {
    waiver.code == finding.code && waiver.object.as_ref().is_none_or(|object| *object == finding.object)
}

pub mod chart;
pub mod deployment;
#[cfg(test)]
mod fixture;
mod found;
pub mod image;
pub mod leaks;
pub mod sbom;
pub mod scan;
pub mod service;
pub mod settings;
mod startup;
pub mod states;
mod vulnerabilities;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::good;

    /// Code, citations and places of every rule.
    const KNOWN: &str = include_str!("known.txt");

    #[test]
    fn every_rule_of_the_data_models_is_here_with_its_citations_and_places() {
        let letter = |place: &Place| match place {
            Place::Config => 'C',
            Place::Render => 'R',
            Place::Image => 'I',
            Place::Live => 'L',
        };
        let sorted = |letters: String| {
            let mut letters: Vec<char> = letters.chars().filter(|c| !c.is_whitespace()).collect();
            letters.sort();
            letters.into_iter().collect::<String>()
        };
        let ours: Vec<String> = all()
            .map(|rule| {
                format!("{} | {} | {}", rule.code, rule.specs, sorted(rule.places.iter().map(letter).collect()))
            })
            .collect();
        let known: Vec<String> = KNOWN
            .lines()
            .map(|line| {
                let (rest, places) = line.rsplit_once(" | ").unwrap();
                format!("{rest} | {}", sorted(places.to_string()))
            })
            .collect();
        for line in &known {
            assert!(ours.contains(line), "not here, or otherwise: {line}");
        }
        assert_eq!(ours.len(), known.len());
    }

    /// The anchors that GitHub gives to the headings of a page.
    fn anchors(text: &str) -> Vec<String> {
        let mut in_code = false;
        let mut found = Vec::new();
        for line in text.lines() {
            if line.starts_with("```") {
                in_code = !in_code;
            }
            let heading = line.trim_start_matches('#');
            let Some(heading) = heading.strip_prefix(' ').filter(|_| line.starts_with('#') && !in_code) else {
                continue;
            };
            let kept = heading.trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
        found
    }

    #[test]
    fn every_citation_is_a_heading_of_a_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/specs");
        let pages: BTreeMap<&str, Vec<String>> = PAGES
            .iter()
            .chain([&COMMON])
            .map(|page| (*page, anchors(&std::fs::read_to_string(folder.join(page)).expect(page))))
            .collect();
        for (page, anchors) in &pages {
            for (index, anchor) in anchors.iter().enumerate() {
                assert!(!anchors[..index].contains(anchor), "{page} has two headings #{anchor}");
            }
        }
        for rule in all() {
            let cited: Vec<(&str, &str)> = rule.citations().collect();
            for (index, (page, anchor)) in cited.iter().enumerate() {
                let known = pages.get(page).unwrap_or_else(|| panic!("{} cites {page}, not in PAGES", rule.code));
                assert!(known.iter().any(|known| known == anchor), "{}: no heading {page}#{anchor}", rule.code);
                assert!(!cited[..index].contains(&(*page, *anchor)), "{} cites {page}#{anchor} twice", rule.code);
            }
        }
    }

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# Data model \"static\"\n```\n# no heading\n```\n### Secrets and git\n#none\n## Sub-units, 2_b\n";
        assert_eq!(anchors(text), ["data-model-static", "secrets-and-git", "sub-units-2_b"]);
    }

    fn facts(good: &crate::rules::fixture::Good) -> Facts<'_> {
        let unseen = BTreeMap::from([(Place::Live, "not asked for: --live".to_string())]);
        Facts {
            config: &good.config,
            unseen,
            files: None,
            rendered: None,
            images: None,
            live: None,
            known: Known::default(),
        }
    }

    #[test]
    fn a_place_that_was_not_looked_at_has_its_reason() {
        let good = good();
        let verdicts = judge(&facts(&good));
        let pod = verdicts.iter().find(|verdict| verdict.rule.code == "img.on_node").unwrap();
        assert_eq!(pod.unseen[&Place::Live], "not asked for: --live");
        assert!(pod.looked.is_empty());
    }

    #[test]
    fn a_profile_is_checked_against_the_rules_that_cite_its_page() {
        let mut good = good();
        let codes = |good: &crate::rules::fixture::Good| {
            judge(&facts(good)).iter().map(|verdict| verdict.rule.code).collect::<Vec<_>>()
        };
        assert!(!codes(&good).contains(&"img.build_arg"), "only static.md states it");
        assert!(codes(&good).contains(&"cht.appversion"));
        for number in 0..PAGES.len() as u8 {
            good.config.spec.as_mut().unwrap().number = number;
            assert!(codes(&good).contains(&"img.scan"), "{} is held to the page for all", PAGES[usize::from(number)]);
        }
        good.config.spec = None;
        assert_eq!(codes(&good).len(), all().count());
    }

    #[test]
    fn a_waiver_covers_its_object_and_an_idle_one_is_reported() {
        let mut good = good();
        let waiver = |code: &str, object: Option<&str>| Waiver {
            code: code.to_string(),
            object: object.map(str::to_string),
            reason: "known".to_string(),
        };
        good.config.services.get_mut("backend").unwrap().size_limit_mb = None;
        good.config.waivers = vec![
            waiver("img.size", Some("backend")),
            waiver("img.size", Some("other")),
            waiver("img.on_node", None),
            waiver("img.build_arg", None),
            waiver("a-linters-code", None),
        ];
        let mut facts = facts(&good);
        facts.rendered = Some(BTreeMap::new());
        let verdicts = judge(&facts);
        let size = verdicts.iter().find(|verdict| verdict.rule.code == "img.size").unwrap();
        assert_eq!(size.findings[0].waived.as_deref(), Some("known"));
        assert_eq!(size.open().count(), 0);
        // Of a rule with a place that was not looked at, nobody knows; of another model's rule, everybody does.
        let idle: Vec<&str> = unused(&good.config, &verdicts).iter().map(|waiver| waiver.code.as_str()).collect();
        assert_eq!(idle, ["img.build_arg"]);
    }
}
