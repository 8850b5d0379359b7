//! `package`: a profile as files that need neither this repository nor this tool: charts, values, a lock of the images, and
//! the objects that a GitOps controller applies.

mod chart;
mod external;
mod gitops;
mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::facts::images;
use crate::rules::sbom::cyclonedx;
use chart::Chart;
use lock::{Image, Lock};
use xtask::cli::Controller;
use xtask::config::{Config, Node, merge, to_json, yaml};
use xtask::model::image::{Built, Images};
use xtask::run::context::{Context, Project};
use xtask::run::exit::Stop;
use xtask::run::files;
use xtask::secrets::overrides::Overrides;
use xtask::secrets::pull;
use xtask::stages::render::{RenderInputs, Staged};
use xtask::stages::setup::Ready;
use xtask::stages::{build, push, render, setup};
use xtask::start;
use xtask::tools::helm;

/// The folder of the releases' values.
const VALUES: &str = "values";

/// A package: what its files hold, by their paths in its folder, and its charts by the release's name.
struct Package {
    files: BTreeMap<String, Vec<u8>>,
    charts: BTreeMap<String, Chart>,
}

/// Builds, pushes where the target has a registry, and writes the files.
pub fn write(project: &Project, folder: &Path, gitops: Option<Controller>) -> Result<()> {
    if gitops.is_some() && push::registry(&project.config).is_none() {
        let message = "a controller pulls charts and images from a registry, and there is none";
        return Err(Stop::usage(format!("{message}\nNext: --target with one that has a registry")).into());
    }
    refuse_foreign(folder)?;
    let ready = setup::set_up(project, None)?;
    let ctx = &ready.ctx;
    let (lock, sboms) = lock_images(&ready, gitops)?;
    let package = compose(ctx, &lock)?;
    if let Some(registry) = push::registry(&ctx.config) {
        push_charts(ctx, registry, &package)?;
    }
    // The lock comes first: with it, what an interrupted run leaves behind is known as a package.
    let is_other = |(path, _): &(&String, &Vec<u8>)| *path != lock::FILE;
    let mut all: Vec<(&String, &Vec<u8>)> = package.files.iter().chain(&sboms).collect();
    all.sort_by_key(is_other);
    for (path, content) in &all {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(folder))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        files::replace(&file, content)?;
    }
    for path in strangers(folder, &package, &lock)? {
        fs::remove_file(folder.join(&path)).with_context(|| format!("cannot remove {path} of an earlier package"))?;
    }
    let paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    project.ui.answer(&paths.join("\n"), json!({ "folder": folder.display().to_string(), "files": paths }));
    let (charts, images) = (package.charts.len(), lock.images.len());
    project.ui.summary(&format!("{} has {charts} charts and {images} images", folder.display()));
    Ok(())
}

/// A folder with files that are no package's stays as it is: an earlier package's files are replaced, and removed.
fn refuse_foreign(folder: &Path) -> Result<()> {
    let has_files = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !has_files || folder.join(lock::FILE).exists() {
        return Ok(());
    }
    let message = format!("{} has files and no {}, so that it is no package", folder.display(), lock::FILE);
    Err(Stop::usage(format!("{message}\nNext: name a folder that is a package's, empty or not there")).into())
}

/// What differs of a package, all of it at once, with the profile and the target that it was made with. Neither docker nor a
/// registry is asked: images are compared by what they are made of.
pub fn check(project: &Project, folder: &Path) -> Result<()> {
    let file = folder.join(lock::FILE);
    let text = fs::read_to_string(&file).map_err(|error| {
        let message = format!("there is no package: cannot read {}: {error}", file.display());
        Stop::failed(format!("{message}\nNext: cargo xtask package {}", folder.display()))
    })?;
    let kept = Lock::parse(&text).map_err(|why| Stop::failed(format!("{}: {why}", file.display())))?;
    let made = start::with_choices(project, &kept.profile, kept.target.as_deref())?;
    // Nothing else is needed to put charts together.
    let found = made.with_programs([("helm", setup::any_helm(&made, &setup::look_for_helm(&made)?)?)].into());
    let inputs = inputs(&found)?;
    let mut differs = kept.changed(&inputs);
    if kept.images.keys().eq(inputs.keys()) {
        let package = compose(&found, &kept)?;
        differs.extend(package.files.iter().filter_map(|(path, content)| difference(folder, path, content)));
        differs
            .extend(strangers(folder, &package, &kept)?.iter().map(|path| format!("{path} is of no chart or release")));
    }
    if !differs.is_empty() {
        let (message, next) = (format!("{} is not what the sources make:", folder.display()), command(&kept, folder));
        return Err(Stop::failed(format!("{message}\n  {}\nNext: {next}", differs.join("\n  "))).into());
    }
    let images: Vec<&String> = kept.images.keys().collect();
    project.ui.answer(
        &format!("{} is what the sources make", folder.display()),
        json!({ "folder": folder.display().to_string(), "images": images }),
    );
    Ok(())
}

/// The command that makes such a package anew.
fn command(lock: &Lock, folder: &Path) -> String {
    let mut words = vec!["cargo xtask package".to_string(), folder.display().to_string()];
    words.push(format!("--profile {}", lock.profile));
    words.extend(lock.target.as_ref().map(|target| format!("--target {target}")));
    words.extend(lock.gitops.as_ref().map(|controller| format!("--gitops {controller}")));
    words.join(" ")
}

/// How a file of the package on the disk differs from what it should hold. Charts and lists of what images are made of may be
/// left out of a repository: charts are in the registry, and both follow from what is compared.
fn difference(folder: &Path, path: &str, wanted: &[u8]) -> Option<String> {
    let Ok(there) = fs::read(folder.join(path)) else {
        return (!chart::is_archive(path)).then(|| format!("{path} is missing"));
    };
    if there == wanted {
        return None;
    }
    let (there, wanted) = (String::from_utf8_lossy(&there), String::from_utf8_lossy(wanted));
    let same = there.lines().zip(wanted.lines()).take_while(|(there, wanted)| there == wanted).count();
    Some(match wanted.lines().nth(same) {
        _ if chart::is_archive(path) => format!("{path} has another content"),
        Some(line) => format!("{path}:{}: would be `{}`", same + 1, line.trim()),
        None => format!("{path}:{}: has more lines than it would", same + 1),
    })
}

/// Files in the package's folders that it does not have.
fn strangers(folder: &Path, package: &Package, lock: &Lock) -> Result<Vec<String>> {
    let is_sbom = |path: &String| lock.images.values().any(|image| image.sbom.as_ref() == Some(path));
    let mut found = Vec::new();
    for name in [chart::FOLDER, VALUES, lock::SBOMS, external::FOLDER].into_iter().chain(gitops::FOLDERS) {
        let Ok(entries) = fs::read_dir(folder.join(name)) else { continue };
        for entry in entries {
            let path = format!("{name}/{}", entry?.file_name().to_string_lossy());
            let is_known = package.files.contains_key(&path) || is_sbom(&path);
            found.extend((!is_known).then_some(path));
        }
    }
    found.sort();
    Ok(found)
}

/// The images of the profile, built, in the registry where the target has one, and looked into: the lock, and the lists of
/// what they are made of by their paths in the package.
fn lock_images(ready: &Ready, gitops: Option<Controller>) -> Result<(Lock, BTreeMap<String, Vec<u8>>)> {
    let ctx = &ready.ctx;
    let services = ctx.config.services_of(&releases(&ctx.config));
    let wanted = build::references_of(ctx, &ready.images, &services)?;
    let built = match push::registry(&ctx.config) {
        Some(registry) => push::ensure(ready, registry, &wanted)?,
        None => build::ensure(ready, &wanted)?.0,
    };
    let inputs = inputs(ctx)?;
    let host = build::observe(ctx, &ready.images, &services)?.host;
    let (mut images, mut sboms) = (BTreeMap::new(), BTreeMap::new());
    for (service, image) in &built {
        let sbom = match build::find(&wanted[service], &host) {
            Some(local) => {
                let path = format!("{}/{service}.cdx.json", lock::SBOMS);
                sboms.insert(path.clone(), look_into(ctx, service, &local)?);
                Some(path)
            }
            None => {
                let message = "the registry has its image, and docker here does not: what it is made of is not listed";
                ctx.ui.say(&format!("{service}: {message}"));
                None
            }
        };
        let (tag, digest) = match image.tag.split_once('@') {
            Some((tag, digest)) => (tag.to_string(), Some(digest.to_string())),
            None => (image.tag.clone(), None),
        };
        let inputs = inputs[service].clone();
        images.insert(service.clone(), Image { repository: image.repository.clone(), tag, digest, inputs, sbom });
    }
    Ok((Lock { images, gitops: gitops.map(gitops::name), ..Lock::of(&ctx.config) }, sboms))
}

/// The list of what an image is made of, in CycloneDX's format.
fn look_into(ctx: &Context, service: &str, image: &Built) -> Result<Vec<u8>> {
    let step = ctx.ui.step(format!("look into the image of {service}"));
    let facts = images::look_into(ctx, service, image, &images::inspect(ctx, image)?)?;
    step.done(&format!(
        "{} crates and packages",
        facts.crates.values().map(Vec::len).sum::<usize>() + facts.packages.len()
    ));
    Ok((serde_json::to_string_pretty(&cyclonedx(&facts))? + "\n").into_bytes())
}

/// The digest of what each image is made of, the base aside, which each machine may get elsewhere.
fn inputs(project: &Project) -> Result<BTreeMap<String, String>> {
    let services = project.config.services_of(&releases(&project.config));
    let references = build::references_of(project, &Images::Public, &services)?;
    let digest = |reference: String| reference.rsplit("-h").next().unwrap_or_default().to_string();
    Ok(references.into_iter().map(|(service, reference)| (service, digest(reference))).collect())
}

/// A person's own values and Secrets are no part of a package.
fn releases(config: &Config) -> Vec<&str> {
    config.wanted_releases::<String>(&BTreeMap::new())
}

/// All files of a package but the lists of what images are made of.
fn compose(project: &Project, lock: &Lock) -> Result<Package> {
    let (own, _staging) = project.with_own_staging();
    let mut package = Package { files: BTreeMap::new(), charts: BTreeMap::new() };
    let mut values = BTreeMap::new();
    for (release, staged) in stage(&own, lock)? {
        let chart = chart::pack(&own, &staged)?;
        let tree = values_of(&staged)?;
        package.files.insert(chart.path(), chart.archive.clone());
        package.files.insert(format!("{VALUES}/{release}.yaml"), to_yaml(&tree)?.into_bytes());
        package.charts.insert(release.clone(), chart);
        values.insert(release, tree);
    }
    if let (Some(name), Some(registry)) = (&lock.gitops, push::registry(&own.config)) {
        for (path, objects) in gitops::objects(&own.config, name, registry, &package.charts, &values) {
            let texts = objects.iter().map(to_yaml).collect::<Result<Vec<_>>>()?;
            package.files.insert(path, texts.join("---\n").into_bytes());
        }
    }
    for (path, object) in external::objects(&own.config) {
        package.files.insert(path, to_yaml(&object)?.into_bytes());
    }
    let whole = lock.with_charts(&package.charts, &own.config);
    package.files.insert(lock::FILE.to_string(), whole.to_json().into_bytes());
    Ok(package)
}

/// Charts and values as `up` puts them together, with the images that are locked.
fn stage(project: &Project, lock: &Lock) -> Result<BTreeMap<String, Staged>> {
    let tags = lock.images.iter().map(|(service, image)| (service.clone(), image.pinned())).collect();
    let (_, node_ports) = render::known_beforehand(&project.config);
    let overrides = Overrides::default();
    let known = RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: "", overrides: &overrides };
    let releases = releases(&project.config).into_iter();
    releases.map(|name| Ok((name.to_string(), render::stage(project, name, &known)?))).collect()
}

/// The values of all files as one, as helm lays them over each other: what is null stays so, and takes a chart's own away.
fn values_of(staged: &Staged) -> Result<Value> {
    let mut all: Option<Node> = None;
    for file in &staged.values {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        let over = yaml::parse_one(file, &text).map_err(|problem| Stop::usage(problem.to_string()))?;
        all = Some(match all {
            Some(base) => merge(base, over),
            None => over,
        });
    }
    Ok(all.map_or_else(|| json!({}), |node| to_json(&node)))
}

/// JSON is YAML: it is read as that and written in the form that people read.
fn to_yaml(value: &Value) -> Result<String> {
    use saphyr::{LoadableYamlNode, Yaml, YamlEmitter};
    let text = value.to_string();
    let documents = Yaml::load_from_str(&text).context("JSON that YAML does not take")?;
    let mut written = String::new();
    for document in &documents {
        let mut emitter = YamlEmitter::new(&mut written);
        // What is plain may be a number or a time to another parser.
        emitter.quoted_value(true);
        emitter.dump(document).context("YAML cannot be written")?;
    }
    Ok(format!("{}\n", written.trim_start_matches("---\n")))
}

/// Pushes the charts that the registry lacks. Their version names their content, so that one that is there is the same.
fn push_charts(ctx: &Context, registry: &str, package: &Package) -> Result<()> {
    let (place, ca) = (chart::place(registry), pull::authority(registry));
    for chart in package.charts.values() {
        let step = ctx.ui.step(format!("push chart {}", chart.name));
        let reference = format!("oci://{place}/{}", chart.name);
        let asked = ctx.output(helm::show_chart(&reference, &chart.version, ca.as_deref()))?;
        if asked.success {
            step.done(&format!("{place} has {}", chart.version));
            continue;
        }
        let file = ctx.staging(&chart.path());
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, &chart.archive)?;
        let call = helm::push(&file.display().to_string(), &format!("oci://{place}"), ca.as_deref());
        let output = ctx.output(call.within(ctx.config.deadlines.load))?;
        if !output.success {
            let what = format!("cannot push chart {}", chart.name);
            return Err(push::refusal(&what, registry, &output.tail).into());
        }
        step.done(&format!("{reference} {}", chart.version));
    }
    Ok(())
}

/// What helm makes of a release's package.
pub fn render(project: &Project, release: &str, staged: &Staged) -> Result<String> {
    let (chart, values) = (chart::pack(project, staged)?, to_yaml(&values_of(staged)?)?);
    let folder = project.staging("package");
    let (archive, file) = (folder.join(chart.path()), folder.join("values.yaml"));
    fs::create_dir_all(folder.join(chart::FOLDER))?;
    fs::write(&archive, &chart.archive)?;
    fs::write(&file, values)?;
    let (archive, values) = (archive.display().to_string(), [file.display().to_string()]);
    let chart = helm::Chart { release, folder: &archive, values: &values };
    let target = project.scope(release).target;
    project.run(helm::template(&target, &chart, &project.config.cluster.kubernetes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_yaml_that_says_the_same() {
        let value = json!({
            "text": "0.10", "flag": "true", "none": null, "number": 3, "nested": {"list": ["- a", "b: c", ""], "empty": {}},
            "lines": "a\n  b\n", "odd key: #": "~", "tag": "0.1.0-h12@sha256:ab", "exp": "1e3", "date": "2026-01-01",
            "octal": "010", "colon": "12:30", "star": "*x", "at": "@x", "yes": "yes", "none_text": "null", "zero": [],
        });
        let text = to_yaml(&value).unwrap();
        assert_eq!(to_json(&yaml::parse_one("v.yaml", &text).unwrap()), value, "{text}");
        assert!(text.contains("number: 3\n") && !text.starts_with("---"), "{text}");
    }

    #[test]
    fn a_difference_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = "values/web.yaml";
        assert_eq!(difference(folder.path(), path, b"a: 1\n").unwrap(), "values/web.yaml is missing");
        fs::create_dir(folder.path().join(VALUES)).unwrap();
        fs::write(folder.path().join(path), "a: 1\nb: 2\n").unwrap();
        assert_eq!(difference(folder.path(), path, b"a: 1\nb: 2\n"), None);
        assert_eq!(difference(folder.path(), path, b"a: 1\nb: 3\n").unwrap(), "values/web.yaml:2: would be `b: 3`");
        assert_eq!(
            difference(folder.path(), path, b"a: 1\n").unwrap(),
            "values/web.yaml:2: has more lines than it would"
        );
        // Charts are in the registry, and need not be in a repository.
        assert_eq!(difference(folder.path(), "charts/web-1.tgz", b""), None);
    }
}
