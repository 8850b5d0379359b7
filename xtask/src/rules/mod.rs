//! The rules of the published data models, each under its code, over facts that were gathered beforehand. No I/O.
//!
//! A rule belongs to the seeds that state it. A profile of a seed is held to that seed's rules; a profile without one is
//! held to all of them, as far as they say something without a seed's figures.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::{Config, Waiver};

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
    /// Seed and lines, as in `0:269, 2:265`.
    pub seeds: &'static str,
    pub places: &'static [Place],
    pub check: fn(&Facts, &mut Checks),
}

/// What was gathered; None is what was not asked for, or can't be had.
pub struct Facts<'a> {
    pub config: &'a Config,
    pub files: Option<Files>,
    /// By release.
    pub rendered: Option<BTreeMap<String, RenderedRelease>>,
    /// By service.
    pub images: Option<BTreeMap<String, ImageFacts>>,
    pub live: Option<LiveFacts>,
}

/// What lies in the repository.
#[derive(Default)]
pub struct Files {
    /// Every path that git tracks, relative to the root.
    pub tracked: Vec<String>,
    /// Tracked files with a key of a Secret and a value beside it that is no placeholder, as `FILE:LINE: KEY`.
    pub leaks: Vec<String>,
    /// Whether git ignores the file that a person's own values stand in.
    pub override_ignored: bool,
    /// Dockerfile's path to its text.
    pub dockerfiles: BTreeMap<String, String>,
    /// `.dockerignore` of a Dockerfile, by the Dockerfile's path.
    pub dockerignores: BTreeMap<String, String>,
    /// By release: the staged chart.
    pub charts: BTreeMap<String, ChartFiles>,
}

#[derive(Default)]
pub struct ChartFiles {
    /// Chart.yaml.
    pub described: Value,
    /// Relative to the chart's folder.
    pub files: Vec<String>,
    /// What `helm lint --strict` said; empty is silence.
    pub lint: String,
    /// Knob to whether changing it changed the render.
    pub knobs: BTreeMap<String, bool>,
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
    /// Every path in the image, without a leading slash.
    pub files: Vec<String>,
    /// Files in which a value that looks like a secret was found, with what gave it away.
    pub secrets: Vec<String>,
    /// Whether a container of it, started alone, ran its own health check or said what it lacks; else why not.
    pub starts: Option<Result<(), String>>,
}

/// What the cluster answered. Secrets' values are not in it, only their keys.
#[derive(Default)]
pub struct LiveFacts {
    pub nodes: Vec<Value>,
    /// Node to reference to ID, as the node's runtime lists them.
    pub node_images: BTreeMap<String, BTreeMap<String, String>>,
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
    /// Release to its revisions: (number, status).
    pub history: BTreeMap<String, Vec<(u64, String)>>,
    /// What was tried: a word for the attempt, as in `dns todo-chatbot-backend` or `url frontend`, to how it ended.
    pub attempts: BTreeMap<String, Result<String, String>>,
    /// The minikube profile's config and status, as JSON: {"config": …, "status": …, "ip": …, "addons": […]}.
    pub minikube: Value,
    /// Tables and views of the database, with their columns: table to column to `type default nullability`.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
    /// The time of the cluster when the facts were gathered, RFC 3339.
    pub now: String,
}

/// What a rule looked at, and what it found.
#[derive(Default)]
pub struct Checks {
    pub looked: BTreeMap<Place, usize>,
    pub findings: Vec<Finding>,
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
    /// Looks at one thing; `told` says what is wrong with it and what to do.
    pub fn that(&mut self, place: Place, object: &str, holds: bool, told: impl FnOnce() -> String) {
        *self.looked.entry(place).or_default() += 1;
        if !holds {
            let (object, message) = (object.to_string(), told());
            self.findings.push(Finding { code: self.code, place, object, at: None, message, waived: None });
        }
    }

    /// The same, for a value that a line of the configuration gives: `path` as in `services.backend.size_limit_mb`.
    pub fn that_at(&mut self, config: &Config, path: &str, object: &str, holds: bool, told: impl FnOnce() -> String) {
        self.that(Place::Config, object, holds, told);
        if !holds && let Some(last) = self.findings.last_mut() {
            last.at = config.place_of(path);
        }
    }

    /// The same, for something that is right only if `problem` is None.
    pub fn none(&mut self, place: Place, object: &str, problem: Option<String>) {
        let holds = problem.is_none();
        self.that(place, object, holds, || problem.unwrap_or_default());
    }
}

/// How a rule ended for a profile.
pub struct Verdict {
    pub rule: &'static Rule,
    /// Place to the number of things that were looked at. A place of the rule that isn't here was not looked at.
    pub looked: BTreeMap<Place, usize>,
    pub findings: Vec<Finding>,
}

/// All rules, in the order of their codes' families.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [image::RULES, deployment::RULES, service::RULES, settings::RULES, chart::RULES, states::RULES]
        .into_iter()
        .flatten()
}

/// Whether a profile is held to a rule.
pub fn applies(rule: &Rule, config: &Config) -> bool {
    config.seed.as_ref().is_none_or(|seed| {
        rule.seeds.split(", ").any(|line| line.split(':').next() == Some(seed.number.to_string().as_str()))
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
        Verdict { rule, looked: checks.looked, findings: checks.findings }
    };
    all().filter(|rule| applies(rule, facts.config)).map(check).collect()
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
pub mod service;
pub mod settings;
pub mod states;
