//! `lint`: what helm makes of each profile and the Dockerfiles, under tools and rules that know no data model. All findings at
//! once; a waiver is one line of the configuration, and one that waives nothing is a finding itself.

mod chart_docs;
mod definitions;
mod rules;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::lint::chart_docs::Stale;
use crate::package;
use crate::tools::{kube_score, kubeconform, pod_security};
use xtask::config::{Config, Waiver, yaml};
use xtask::model::plan::object_label;
use xtask::run::annotation::Annotation;
use xtask::run::context::{Project, profiles};
use xtask::run::exit::Stop;
use xtask::run::process::Output;
use xtask::secrets::overrides::Overrides;
use xtask::stages::{render, setup};
use xtask::tools::hadolint;
use xtask::tools::helm::Chart;
use xtask::tools::{helm, kubectl};

/// Values of all that a chart can, and the chart that takes them.
const EVERY_FIELD: &str = "helm/every-field.values.yaml";
const EVERY_FIELD_CHART: &str = "helm/todo-chatbot";
const MAKES_CLUSTER: &str = "cargo xtask up makes a cluster that serves its API description";
const DOCKERFILES: &str = "Dockerfiles";
/// The label by which the charts name the service that an object belongs to.
const SERVICE_LABEL: &str = "/metadata/labels/app.kubernetes.io~1name";

/// The programs that are called, each under the code that its findings begin with.
struct Programs {
    /// Those that other calls name.
    paths: BTreeMap<&'static str, String>,
    kube_score: String,
    kubeconform: String,
    pod_security: String,
    hadolint: Result<String, String>,
    /// The cluster's description of its API.
    openapi: Result<Value, String>,
}

#[derive(Clone, Debug, PartialEq)]
struct LintFinding {
    code: String,
    /// `kind/name`, a release or a file.
    object: String,
    /// Of a file, the line.
    line: Option<usize>,
    service: Option<String>,
    message: String,
}

/// A profile, or the Dockerfiles, with what was found there.
struct Group {
    name: String,
    findings: Vec<LintFinding>,
    waived: Vec<(LintFinding, Waiver)>,
}

/// Lints one profile, or all of them: then waivers that waive nothing are found too. With `update`, what is generated is
/// written first: the manifests that are kept of each profile, and the charts' READMEs.
pub fn run(project: &Project, profile: Option<&str>, update: bool) -> Result<()> {
    let names = profile.map_or_else(|| profiles(&project.root), |name| vec![name.to_string()]);
    let projects = names.iter().map(|name| of_profile(project, name)).collect::<Result<Vec<_>>>()?;
    let waivers = distinct(projects.iter().flat_map(|project| &project.config.waivers));
    let dockerfiles = dockerfiles(&project.root, projects.iter().map(|project| &project.config))?;
    let programs = programs(project)?;
    let skipped: Vec<(&str, &String)> =
        [("hadolint", programs.hadolint.as_ref().err()), ("kubeconform", programs.openapi.as_ref().err())]
            .into_iter()
            .filter_map(|(code, why)| Some((code, why?)))
            .collect();
    // What is generated comes first: with a definition that a schema lacks, nothing renders.
    let mut of_charts = if profile.is_none() { charts(project, update)? } else { Vec::new() };
    let mut groups = Vec::new();
    for project in &projects {
        let project = &project.with_programs(programs.paths.clone());
        let name = format!("profile {}", project.config.profile);
        let step = project.ui.step(format!("lint {name}"));
        let (mut findings, manifests) = lint_profile(project, &programs)?;
        findings.extend(manifests.map(|manifests| snapshot(project, &manifests, update)).transpose()?.flatten());
        let group = Group::new(name, findings, &project.config.waivers);
        step.done(&group.counts());
        groups.push(group);
    }
    if let Ok(program) = &programs.hadolint {
        let step = project.ui.step(format!("lint {DOCKERFILES}"));
        let group = Group::new(DOCKERFILES.to_string(), lint_dockerfiles(project, program, &dockerfiles)?, &waivers);
        step.done(&group.counts());
        groups.push(group);
    }
    if profile.is_none() {
        if let Some(project) = projects.iter().find(|project| !of_every_field(project).is_empty()) {
            of_charts.extend(every_field(&project.with_programs(programs.paths.clone()), &programs)?);
        }
        groups.push(Group::new("charts".to_string(), of_charts, &waivers));
        groups.push(unused(&waivers, &groups, &skipped));
    }
    report(project, &groups, &skipped)
}

/// The project with another profile. What it stages lies in a folder of its own: `up` may be at work.
fn of_profile(project: &Project, name: &str) -> Result<Project> {
    let mut other = project.of_profile(name)?;
    other.folders.cache = other.folders.cache.join("lint");
    other.folders.staging = other.folders.cache.join("staging");
    Ok(other)
}

fn programs(project: &Project) -> Result<Programs> {
    let found = setup::find_tools(project)?;
    let helm = setup::any_helm(project, &found.helm)?;
    let kubectl = found.kubectl.path();
    let paths: BTreeMap<&str, String> = [("helm", Some(helm)), ("kubectl", kubectl.clone())]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    let [kube_score, kubeconform, pod_security] =
        setup::programs(project, ["kube-score", "kubeconform", "pod-security"])?;
    let openapi = match kubectl {
        Some(_) => openapi(&project.with_programs(paths.clone()))?,
        None => Err(format!("there is no kubectl, and so no schemas: {MAKES_CLUSTER}")),
    };
    let hadolint = setup::hadolint::find(project)?;
    Ok(Programs { paths, kube_score, kubeconform, pod_security, hadolint, openapi })
}

/// What the cluster says of its API: from the cache for its version, or asked for; or why neither is to be had.
fn openapi(project: &Project) -> Result<Result<Value, String>> {
    let version = format!("v{}", project.config.cluster.kubernetes);
    let cached = project.folders.cache.join("openapi").join(format!("{version}.json"));
    if let Ok(text) = fs::read(&cached) {
        return Ok(Ok(serde_json::from_slice(&text).with_context(|| format!("{} is broken", cached.display()))?));
    }
    let ask = |path: &str| project.output(kubectl::get_raw(&project.target(), path));
    let value = ask("/version")?;
    let live: Value = serde_json::from_str(&value.stdout).unwrap_or_default();
    if live["gitVersion"] != version.as_str() {
        return Ok(Err(match live["gitVersion"].as_str() {
            Some(other) => format!("the cluster is {other}, and its schemas are not those of {version}"),
            None => format!("no cluster answers, and so there are no schemas: {MAKES_CLUSTER}"),
        }));
    }
    let message = ask("/openapi/v2")?;
    let Ok(openapi) = serde_json::from_str::<Value>(&message.stdout) else {
        return Ok(Err(format!("the cluster does not tell its API: {}", last_line(&message))));
    };
    let partial = cached.with_extension("partial");
    fs::create_dir_all(cached.parent().context("a cached file lies in a folder")?)?;
    fs::write(&partial, &message.stdout)?;
    fs::rename(&partial, &cached)?;
    Ok(Ok(openapi))
}

/// What is found, and the manifests without hooks; None where helm can't render them, which is all that is found then.
fn lint_profile(project: &Project, programs: &Programs) -> Result<(Vec<LintFinding>, Option<String>)> {
    let mut findings = Vec::new();
    let (mut manifests, mut kept) = (String::new(), String::new());
    for (release, staged) in render::stage_all(project, &Overrides::default())? {
        let target = project.scope(&release).target;
        let chart = Chart { release: &release, folder: &staged.folder, values: &staged.values };
        let finding = |code: &str, output: &Output| finding(code, &format!("release/{release}"), output.tail.trim());
        let linted = project.output(helm::lint_release(&target, &chart))?;
        if !helm::lint_is_silent(linted.success, &linted.tail) {
            findings.push(finding("helm-lint", &linted));
        }
        let rendered = project.output(helm::template(&target, &chart, &project.config.cluster.kubernetes))?;
        match rendered.success {
            true => {
                manifests.push_str(&format!("---\n{}\n", rendered.stdout));
                // A hook may make what is random, such as a certificate.
                let (_, applied) = render::split_hooks(&rendered.stdout);
                if render::split_hooks(&package::render(project, &release, &staged)?).1 != applied {
                    let message = "helm makes another manifest of its package than of its chart and values";
                    findings.push(self::finding("package", &format!("release/{release}"), message));
                }
                kept.push_str(&applied);
            }
            false => findings.push(finding("helm-template", &rendered)),
        }
    }
    if findings.iter().any(|finding| finding.code == "helm-template") {
        return Ok((findings, None));
    }
    let objects = match yaml::objects(&manifests) {
        Ok(objects) => objects,
        Err(problem) => {
            findings.push(finding("helm-template", "manifest", &problem.to_string()));
            return Ok((findings, None));
        }
    };
    for rule in &rules::RULES {
        findings.extend((rule.check)(&objects).iter().map(|(object, message)| finding(rule.code, object, message)));
    }
    let asked = kube_score::score(&programs.kube_score, &project.config.cluster.kubernetes);
    let output = project.output(asked.stdin(manifests.as_str()))?;
    let scored = kube_score::parse(&output.stdout).map_err(|_| unreadable("kube-score", &output))?;
    findings.extend(scored.iter().map(|(id, object, message)| finding(&format!("kube-score/{id}"), object, message)));

    let output =
        project.spawn.output(pod_security::check(&programs.pod_security).stdin(serde_json::to_vec(&objects)?))?;
    let broken = pod_security::parse(&output.stdout).ok().filter(|_| output.success);
    let broken = broken.ok_or_else(|| unreadable("pod-security", &output))?;
    findings.extend(broken.iter().map(|(object, message)| finding("pod-security", object, message)));

    findings.extend(conform(project, programs, &manifests, &objects)?);
    let services = services(&objects);
    for finding in &mut findings {
        finding.service = services.get(&finding.object).cloned();
    }
    Ok((findings, Some(kept)))
}

/// The manifests of a profile against those that are kept in the repository, so that a change of a chart shows what it
/// changes for each of them.
fn snapshot(project: &Project, wanted: &str, update: bool) -> Result<Option<LintFinding>> {
    let file = format!("helm/snapshots/{}.yaml", project.config.profile);
    let path = project.root.join(&file);
    if update {
        fs::create_dir_all(path.parent().context("a snapshot lies in a folder")?)?;
        fs::write(&path, wanted)?;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(wanted.lines()).position(|(kept, wanted)| kept != wanted);
    let line = line.unwrap_or_else(|| kept.lines().count().min(wanted.lines().count())) + 1;
    let message = format!(
        "the manifests are others from line {line} on, which would be \"{}\": if that is meant, {}",
        wanted.lines().nth(line - 1).unwrap_or_default().trim(),
        chart_docs::COMMAND
    );
    Ok((kept != wanted).then(|| in_file("snapshot", &file, line, &message)))
}

/// What of the charts is made from something else: the tables of the READMEs from the comments of the values, and the
/// definitions of the schemas from the library's.
fn charts(project: &Project, update: bool) -> Result<Vec<LintFinding>> {
    let charts = project.root.join("helm");
    if !charts.is_dir() {
        return Ok(Vec::new());
    }
    let readmes = || Ok(chart_docs::stale(&charts)?);
    let mut findings = made(project, update, "readme", "its table is not what values.yaml says", readmes)?;
    let schemas = || definitions::stale(&charts);
    findings.extend(made(project, update, "schema", "its definitions are not those of helm/library", schemas)?);
    findings.extend(definitions::missing(&charts)?.iter().map(|(path, field)| {
        let message = format!("it does not take {field}, which a service has: add it to its properties");
        in_file("schema", &file_name(project, path), 1, &message)
    }));
    Ok(findings)
}

/// The files that `stale` names, after it has written them anew with `update`.
fn made(
    project: &Project,
    update: bool,
    code: &str,
    what: &str,
    stale: impl Fn() -> Result<Vec<Stale>>,
) -> Result<Vec<LintFinding>> {
    if update {
        for Stale { path, text } in stale()? {
            fs::write(path, text)?;
        }
    }
    let message = format!("{what}: {}", chart_docs::COMMAND);
    Ok(stale()?.iter().map(|stale| in_file(code, &file_name(project, &stale.path), 1, &message)).collect())
}

/// A file by its path from the project's root.
fn file_name(project: &Project, path: &Path) -> String {
    path.strip_prefix(&project.root).unwrap_or(path).display().to_string()
}

/// What the cluster's own schemas have against manifests; nothing where the schemas are not to be had.
fn conform(project: &Project, programs: &Programs, manifests: &str, objects: &[Value]) -> Result<Vec<LintFinding>> {
    let Ok(openapi) = &programs.openapi else { return Ok(Vec::new()) };
    let folder = write_schemas(project, openapi, objects)?;
    let asked = kubeconform::validate(&programs.kubeconform, &folder.display().to_string());
    let output = project.output(asked.stdin(manifests))?;
    let wrong = kubeconform::parse(&output.stdout).map_err(|_| unreadable("kubeconform", &output))?;
    Ok(wrong.iter().map(|(object, message)| finding("kubeconform", object, message)).collect())
}

/// The releases of the profile whose chart takes all fields.
fn of_every_field(project: &Project) -> Vec<&str> {
    let releases = project.config.releases.iter().filter(|(_, release)| release.chart == Path::new(EVERY_FIELD_CHART));
    releases.map(|(name, _)| name.as_str()).collect()
}

/// The fields that no profile needs, rendered over the profile's values.
fn every_field(project: &Project, programs: &Programs) -> Result<Vec<LintFinding>> {
    let file = project.path(EVERY_FIELD);
    let mut findings = Vec::new();
    let taking = of_every_field(project);
    let staged = render::stage_all(project, &Overrides::default())?;
    for (release, staged) in staged.into_iter().filter(|(release, _)| taking.contains(&release.as_str())) {
        let values: Vec<String> = staged.values.iter().cloned().chain([file.clone()]).collect();
        let chart = Chart { release: &release, folder: &staged.folder, values: &values };
        let rendered = project.output(helm::template(
            &project.scope(&release).target,
            &chart,
            &project.config.cluster.kubernetes,
        ))?;
        if !rendered.success {
            findings.push(finding("helm-template", EVERY_FIELD, rendered.tail.trim()));
            continue;
        }
        let objects = yaml::objects(&rendered.stdout).map_err(|problem| Stop::failed(problem.to_string()))?;
        findings.extend(conform(project, programs, &rendered.stdout, &objects)?);
    }
    Ok(findings)
}

/// A schema for each kind among the objects that the cluster knows.
fn write_schemas(project: &Project, openapi: &Value, objects: &[Value]) -> Result<PathBuf> {
    let folder = project.staging("schemas");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let kinds: BTreeSet<_> =
        objects.iter().map(|object| (text(&object["apiVersion"]), text(&object["kind"]))).collect();
    for (api_version, kind) in kinds {
        if let Some(schema) = schemas::schema(openapi, &api_version, &kind) {
            fs::write(folder.join(kubeconform::file_name(&api_version, &kind)), schema.to_string())?;
        }
    }
    Ok(folder)
}

/// Objects as findings name them, with the service that each belongs to.
fn services(objects: &[Value]) -> BTreeMap<String, String> {
    let service = |object: &Value| object.pointer(SERVICE_LABEL)?.as_str().map(str::to_string);
    objects.iter().filter_map(|object| Some((object_label(object), service(object)?))).collect()
}

/// The Dockerfiles of all services and of the node, relative to the root.
fn dockerfiles<'a>(root: &Path, configs: impl Iterator<Item = &'a Config>) -> Result<Vec<String>> {
    let mut files: BTreeSet<String> = configs
        .flat_map(|config| config.services.values())
        .map(|service| service.dockerfile.display().to_string())
        .collect();
    let folder = "k8s/node";
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".Dockerfile") {
            files.insert(format!("{folder}/{name}"));
        }
    }
    Ok(files.into_iter().collect())
}

fn lint_dockerfiles(project: &Project, program: &str, files: &[String]) -> Result<Vec<LintFinding>> {
    let output = project.output(hadolint::check(program, files).folder(&project.root))?;
    let remarks = hadolint::parse(&output.stdout).map_err(|_| unreadable("hadolint", &output))?;
    let describe = |remark: hadolint::Remark| {
        let message = format!("line {}: {}", remark.line, remark.message);
        in_file(&format!("hadolint/{}", remark.code), &remark.file, remark.line as usize, &message)
    };
    Ok(remarks.into_iter().map(describe).collect())
}

fn finding(code: &str, object: &str, message: &str) -> LintFinding {
    let (code, object, message) = (code.to_string(), object.to_string(), message.to_string());
    LintFinding { code, object, line: None, service: None, message }
}

fn in_file(code: &str, file: &str, line: usize, message: &str) -> LintFinding {
    LintFinding { line: Some(line), ..finding(code, file, message) }
}

fn annotation(finding: &LintFinding) -> Option<Annotation> {
    let message = format!("{}: {}", finding.code, finding.message);
    finding.line.map(|line| Annotation { file: finding.object.clone(), line, column: None, message })
}

fn unreadable(name: &str, output: &Output) -> Stop {
    Stop::failed(format!("{name} printed something that cannot be read")).with_detail(&output.tail)
}

fn last_line(output: &Output) -> &str {
    output.tail.lines().last().unwrap_or("without a word")
}

impl Group {
    fn new(name: String, mut findings: Vec<LintFinding>, waivers: &[Waiver]) -> Group {
        let mut group = Group { name, findings: Vec::new(), waived: Vec::new() };
        // Some tools tell theirs in another order each time.
        findings.sort_by(|a, b| (&a.code, &a.object, &a.message).cmp(&(&b.code, &b.object, &b.message)));
        for finding in findings {
            match waivers.iter().find(|waiver| waives(waiver, &finding)) {
                Some(waiver) => group.waived.push((finding, waiver.clone())),
                None => group.findings.push(finding),
            }
        }
        group
    }

    fn counts(&self) -> String {
        let count = self.findings.len();
        let found = format!("{count} finding{}", if count == 1 { "" } else { "s" });
        match self.waived.len() {
            0 => found,
            waived => format!("{found}, {waived} waived"),
        }
    }
}

fn waives(waiver: &Waiver, finding: &LintFinding) -> bool {
    let object = |wanted: &String| *wanted == finding.object || Some(wanted) == finding.service.as_ref();
    waiver.code == finding.code && waiver.object.as_ref().is_none_or(object)
}

fn same(a: &Waiver, b: &Waiver) -> bool {
    (&a.code, &a.object, &a.reason) == (&b.code, &b.object, &b.reason)
}

/// Those of xtask.toml stand in every profile: each once.
fn distinct<'a>(waivers: impl Iterator<Item = &'a Waiver>) -> Vec<Waiver> {
    let mut all: Vec<Waiver> = Vec::new();
    for waiver in waivers {
        if !all.iter().any(|known| same(known, waiver)) {
            all.push(waiver.clone());
        }
    }
    all
}

/// Whether a code is of this command; the others are of `validate`.
fn is_ours(code: &str) -> bool {
    let tool = code.split('/').next().unwrap_or_default();
    ["helm-lint", "helm-template", "kubeconform", "kube-score", "pod-security", "hadolint"].contains(&tool)
        || rules::RULES.iter().any(|rule| rule.code == code)
}

fn unused(waivers: &[Waiver], groups: &[Group], skipped: &[(&str, &String)]) -> Group {
    let is_used = |waiver: &Waiver| groups.iter().any(|group| group.waived.iter().any(|(_, used)| same(used, waiver)));
    let is_skipped = |waiver: &Waiver| skipped.iter().any(|(code, _)| waiver.code.split('/').next() == Some(code));
    let idle = waivers.iter().filter(|waiver| is_ours(&waiver.code) && !is_skipped(waiver) && !is_used(waiver));
    let describe = |waiver: &Waiver| {
        let object = waiver.object.as_deref().unwrap_or("every object");
        finding("unused-waiver", &waiver.code, &format!("waives nothing at {object}: take it out"))
    };
    Group { name: "waivers".to_string(), findings: idle.map(describe).collect(), waived: Vec::new() }
}

fn report(project: &Project, groups: &[Group], skipped: &[(&str, &String)]) -> Result<()> {
    project.ui.answer(&text(groups, skipped), value(groups, skipped));
    let findings = groups.iter().flat_map(|group| &group.findings);
    project.ui.annotate(&findings.filter_map(annotation).collect::<Vec<_>>());
    let count: usize = groups.iter().map(|group| group.findings.len()).sum();
    match count {
        0 => Ok(()),
        count => {
            let message = format!("{count} finding{}", if count == 1 { "" } else { "s" });
            let next = "mend what is found, or waive it with a reason: [[waivers]] in xtask.toml or the profile";
            Err(Stop::failed(format!("{message}\nNext: {next}")).into())
        }
    }
}

/// A paragraph a group: its findings, then each waiver that was used with the number of findings behind it.
fn text(groups: &[Group], skipped: &[(&str, &String)]) -> String {
    let mut lines = Vec::new();
    for group in groups.iter().filter(|group| group.name != "waivers" || !group.findings.is_empty()) {
        lines.push(format!("{}: {}", group.name, group.counts()));
        for LintFinding { code, object, message, .. } in &group.findings {
            lines.push(format!("  ✗ {code}  {object}: {}", message.replace('\n', "\n      ")));
        }
        for waiver in distinct(group.waived.iter().map(|(_, waiver)| waiver)) {
            let count = group.waived.iter().filter(|(_, used)| same(used, &waiver)).count();
            let object = waiver.object.map(|object| format!(" {object}")).unwrap_or_default();
            lines.push(format!("  – {}{object}, {count} waived: {}", waiver.code, waiver.reason));
        }
    }
    lines.extend(skipped.iter().map(|(code, why)| format!("skipped {code}: {why}")));
    lines.join("\n")
}

fn value(groups: &[Group], skipped: &[(&str, &String)]) -> Value {
    let finding =
        |finding: &LintFinding| json!({"code": finding.code, "object": finding.object, "message": finding.message});
    let waived = |(waived, waiver): &(LintFinding, Waiver)| {
        let mut value = finding(waived);
        value["reason"] = waiver.reason.as_str().into();
        value
    };
    let group = |group: &Group| {
        json!({
            "group": group.name,
            "findings": group.findings.iter().map(finding).collect::<Vec<_>>(),
            "waived": group.waived.iter().map(waived).collect::<Vec<_>>(),
        })
    };
    let skipped: Vec<Value> = skipped.iter().map(|(code, why)| json!({"code": code, "why": why})).collect();
    json!({ "groups": groups.iter().map(group).collect::<Vec<_>>(), "skipped": skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiver(code: &str, object: Option<&str>) -> Waiver {
        Waiver { code: code.into(), object: object.map(str::to_string), reason: "because".into() }
    }

    fn at(code: &str, object: &str, service: Option<&str>) -> LintFinding {
        LintFinding { service: service.map(str::to_string), ..finding(code, object, "wrong") }
    }

    #[test]
    fn a_waiver_is_for_a_code_and_for_an_object_or_a_service() {
        let found = at("latest-tag", "deployment/todo-web", Some("web"));
        for (code, object, expected) in [
            ("latest-tag", None, true),
            ("latest-tag", Some("deployment/todo-web"), true),
            ("latest-tag", Some("web"), true),
            ("latest-tag", Some("mcp"), false),
            ("liveness-port", None, false),
        ] {
            assert_eq!(waives(&waiver(code, object), &found), expected, "{code} {object:?}");
        }
    }

    #[test]
    fn what_is_waived_is_reported_with_its_reason_and_counts_no_more() {
        let found = vec![
            at("kube-score/a", "pod/x", None),
            at("kube-score/a", "pod/y", None),
            at("docker-sock", "pod/x", None),
        ];
        let group = Group::new("profile p".into(), found, &[waiver("kube-score/a", None)]);
        let groups = [group, unused(&[], &[], &[])];
        let expected = "profile p: 1 finding, 2 waived\n  ✗ docker-sock  pod/x: wrong\n  – kube-score/a, 2 waived: because\n\
                        skipped hadolint: no";
        assert_eq!(text(&groups, &[("hadolint", &"no".to_string())]), expected);
        let printed = value(&groups, &[]);
        assert_eq!(
            printed["groups"][0]["waived"][1],
            json!({"code": "kube-score/a", "object": "pod/y", "message": "wrong", "reason": "because"})
        );
    }

    #[test]
    fn a_waiver_that_waives_nothing_is_a_finding_unless_its_check_was_skipped_or_is_another_commands() {
        let used = waiver("docker-sock", None);
        let group = Group::new("p".into(), vec![at("docker-sock", "pod/x", None)], std::slice::from_ref(&used));
        let waivers =
            [used, waiver("latest-tag", Some("web")), waiver("hadolint/DL1", None), waiver("dep.probe", None)];
        let codes = |group: Group| group.findings.into_iter().map(|finding| finding.object).collect::<Vec<_>>();
        assert_eq!(
            codes(unused(&waivers, std::slice::from_ref(&group), &[("hadolint", &String::new())])),
            ["latest-tag"]
        );
        assert_eq!(codes(unused(&waivers, &[group], &[])), ["latest-tag", "hadolint/DL1"]);
    }

    #[test]
    fn a_waiver_of_every_profile_is_one() {
        let both = [waiver("a", None), waiver("a", None), waiver("a", Some("x"))];
        assert_eq!(distinct(both.iter()).len(), 2);
    }
}
