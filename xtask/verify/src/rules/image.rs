//! Images: `img.*`.

use std::collections::BTreeMap;

use crate::entities::docker_image::DockerImage;
use crate::entities::dockerfile::Dockerfile;
use crate::entities::reference::{Reference, Tag};
use crate::rules::Place::{Config, Image, Live, Render};
use crate::rules::found::images;
use crate::rules::startup;
use crate::rules::{Checks, Facts, ImageFacts, Rule};
use xtask::config::Service;
use xtask::model::plan::object_label;

pub const RULES: &[Rule] = &[
    Rule {
        code: "img.built",
        what: "builds",
        specs: "rolling.md#build-and-start, microservices.md#deployment-checks",
        places: &[Image],
        check: built,
    },
    Rule {
        code: "img.on_node",
        what: "loaded, listed on every node",
        specs: "rolling.md#image-loading, microservices.md#deployment-checks",
        places: &[Live],
        check: on_node,
    },
    Rule {
        code: "img.starts",
        what: "starts without error",
        specs: "rolling.md#build-and-start",
        places: &[Image, Live],
        check: startup::starts,
    },
    Rule {
        code: "img.nonroot",
        what: "non-root user; runAsNonRoot",
        specs: "rolling.md#non-root-users, nodeport.md#image-users, nodeport.md#security-context, \
                static.md#image-users",
        places: &[Render, Image, Live],
        check: nonroot,
    },
    Rule {
        code: "img.user",
        what: "the data model's user or UID",
        specs: "nodeport.md#image-users, static.md#image-users",
        places: &[Config, Image],
        check: user,
    },
    Rule {
        code: "img.no_secret",
        what: "none in layers, env, history",
        specs: "rolling.md#no-secrets-in-images",
        places: &[Image],
        check: no_secret,
    },
    Rule {
        code: "img.size",
        what: "frontend < 200, backend < 150; each < 250; backend < 500, frontend < 300 MB",
        specs: "rolling.md#image-sizes, microservices.md#image-sizes, microservices.md#deployment-checks, \
                static.md#image-sizes",
        places: &[Config, Image],
        check: size,
    },
    Rule {
        code: "img.size_total",
        what: "sum < 500 MB (SC-006)",
        specs: "microservices.md#image-sizes",
        places: &[Image],
        check: size_total,
    },
    Rule {
        code: "img.tag.format",
        what: "valid Docker tag",
        specs: "compact.md#image-tags",
        places: &[Render, Image],
        check: tag_format,
    },
    Rule {
        code: "img.tag.semver",
        what: "version, semver or `latest`",
        specs: "rolling.md#image-tags, microservices.md#image-tags, static.md#image-tags",
        places: &[Render, Image],
        check: tag_semver,
    },
    Rule {
        code: "img.port",
        what: "EXPOSE = app port = containerPort (FR-001: 8080, FR-002: 3000)",
        specs: "rolling.md#image-ports, nodeport.md#image-ports, microservices.md#image-ports, \
                static.md#image-ports, compact.md#image-ports",
        places: &[Config, Render, Image],
        check: port,
    },
    Rule {
        code: "img.healthcheck",
        what: "HEALTHCHECK path",
        specs: "rolling.md#image-health-checks, nodeport.md#image-health-checks, static.md#image-health-checks",
        places: &[Config, Image],
        check: healthcheck,
    },
    Rule {
        code: "img.multistage",
        what: "multi-stage",
        specs: "rolling.md#build-stages, nodeport.md#build-stages, static.md#build-stages",
        places: &[Config],
        check: multistage,
    },
    Rule {
        code: "img.entry",
        what: "WORKDIR, entry point",
        specs: "static.md#entry-points",
        places: &[Image],
        check: entry,
    },
    Rule {
        code: "img.ignore",
        what: "what .dockerignore lists is absent from the image",
        specs: "static.md#excluded-files",
        places: &[Config, Image],
        check: ignore,
    },
    Rule {
        code: "img.build_arg",
        what: "VITE_API_BASE_URL",
        specs: "static.md#build-arguments",
        places: &[Config, Image],
        check: build_arg,
    },
];

/// The build arguments of a service's image.
pub fn arguments(service: &Service) -> BTreeMap<String, String> {
    xtask::stages::build::arguments(service).into_iter().collect()
}

pub fn dockerfile<'a>(facts: &'a Facts, service: &Service) -> Option<&'a str> {
    let files = facts.files.as_ref()?;
    files.dockerfiles.get(&service.dockerfile.display().to_string()).map(String::as_str)
}

/// What a service's Dockerfile will make of the configuration's build arguments; None where it wasn't read.
fn described(facts: &Facts, service: &Service) -> Option<Result<DockerImage, String>> {
    let text = dockerfile(facts, service)?;
    Some(DockerImage::from_dockerfile(text, &arguments(service)).map_err(|mistakes| mistakes.join("; ")))
}

pub fn inspected(image: &ImageFacts) -> Result<DockerImage, String> {
    DockerImage::from_inspect(&image.inspect).map_err(|mistakes| mistakes.join("; "))
}

fn built(facts: &Facts, checks: &mut Checks) {
    let Some(images) = &facts.images else { return };
    for service in facts.services() {
        checks.that(Image, service, images.contains_key(service), || {
            "there is no image of it: build it with cargo xtask up".to_string()
        });
    }
}

fn on_node(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    for (service, image) in images(facts) {
        for (node, listed) in &live.node_images {
            let (there, host) = (listed.get(&image.reference), live.host_images.get(service));
            let same = there.is_some_and(|id| host.is_none_or(|host| host == id));
            checks.that(Live, service, same, || {
                let what = if there.is_some() { "has another image under the name" } else { "does not list" };
                format!("node {node} {what} {}: load it with cargo xtask up", image.reference)
            });
        }
    }
}

fn nonroot(facts: &Facts, checks: &mut Checks) {
    for (service, image) in images(facts) {
        let root = inspected(image).map_or(true, |image| image.runs_as_root());
        checks.that(Image, service, !root, || format!("{} runs as root: give its Dockerfile a USER", image.reference));
    }
    for place in facts.places() {
        for service in facts.services() {
            let Some(workload) = facts.workload(place, service) else { continue };
            let pod = &workload["spec"]["template"]["spec"];
            let container = &pod["containers"][0]["securityContext"];
            let of = |key: &str| if container[key].is_null() { &pod["securityContext"][key] } else { &container[key] };
            checks.that(place, &object_label(workload), *of("runAsNonRoot") == true && *of("runAsUser") != 0, || {
                "its pods may run as root: set runAsNonRoot true and a runAsUser other than 0".to_string()
            });
        }
    }
}

fn user(facts: &Facts, checks: &mut Checks) {
    for (service, spec) in facts.spec_services() {
        let Some(about) = facts.config.services.get(service) else { continue };
        let (id, name) = (spec.user_id, spec.user_name.as_deref());
        if id.is_none() && name.is_none() {
            continue;
        }
        let path = format!("services.{service}.user");
        let chosen = about.user.as_ref();
        let right = |have_id: Option<u32>, have_name: Option<&str>| {
            (id.is_none() || id == have_id) && (name.is_none() || name == have_name)
        };
        let wanted = [name.map(str::to_string), id.map(|id| format!("UID {id}"))]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ");
        // What the configuration leaves out is as in the Dockerfile, which the image shows.
        if let Some(user) = chosen {
            checks.that_at(facts.config, &path, service, right(Some(user.id), Some(&user.name)), || {
                format!("{path} is {} with UID {}: the data model says {wanted}", user.name, user.id)
            });
        }
        let Some(image) = facts.images.as_ref().and_then(|images| images.get(service)) else { continue };
        let runs = inspected(image).ok().and_then(|image| image.user);
        let uid = runs.as_ref().and_then(|user| {
            user.uid().or_else(|| image.users.iter().find(|(_, name)| **name == user.user).map(|(id, _)| *id))
        });
        let named = uid.and_then(|uid| image.users.get(&uid)).map(String::as_str);
        checks.that(Image, service, right(uid, named), || {
            format!(
                "{} runs as {} with UID {}: the data model says {wanted}; set {path}",
                image.reference,
                named.unwrap_or("nobody by name"),
                uid.map_or("unknown".to_string(), |uid| uid.to_string())
            )
        });
    }
}

fn no_secret(facts: &Facts, checks: &mut Checks) {
    for (service, image) in images(facts) {
        checks.that(Image, service, image.secrets.is_empty(), || {
            format!("{} holds secrets: {}; keep them out of the build", image.reference, image.secrets.join("; "))
        });
        let baked = baked_secrets(facts, image);
        checks.that(Image, service, baked.is_empty(), || {
            format!("{} tells secrets: {}; hand them over at run time", image.reference, baked.join("; "))
        });
        if image.unread_layers > 0 {
            checks.cannot(Image, format!("{} layers of {service} are compressed", image.unread_layers));
        }
    }
}

/// Keys of Secrets that an image's environment or history gives a value.
pub fn baked_secrets(facts: &Facts, image: &ImageFacts) -> Vec<String> {
    let keys = facts.config.secrets.values().flat_map(|secret| secret.keys());
    let env = inspected(image).map(|image| image.env).unwrap_or_default();
    let mut found = Vec::new();
    for key in keys {
        if env.get(key).is_some_and(|value| !value.is_empty()) {
            found.push(format!("{key} is in its environment"));
        }
        let assigned = |line: &String| {
            line.split_whitespace()
                .any(|word| word.strip_prefix(key).is_some_and(|rest| rest.len() > 1 && rest.starts_with('=')))
        };
        if image.history.iter().any(assigned) {
            found.push(format!("{key} is in its history"));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The largest size that spec and configuration allow, in MB.
pub fn limit_mb(facts: &Facts, service: &str) -> Option<u64> {
    let own = facts.config.services.get(service)?.size_limit_mb;
    facts.spec(service).and_then(|spec| spec.size_mb).into_iter().chain(own).min()
}

fn size(facts: &Facts, checks: &mut Checks) {
    for (service, spec) in facts.spec_services() {
        let (Some(limit), Some(about)) = (spec.size_mb, facts.config.services.get(service)) else { continue };
        let path = format!("services.{service}.size_limit_mb");
        checks.that_at(facts.config, &path, service, about.size_limit_mb.is_some_and(|own| own <= limit), || {
            format!("{path} must be there and at most {limit}, the data model's limit, so that a build holds it")
        });
    }
    for (service, image) in images(facts) {
        let Some(limit) = limit_mb(facts, service) else { continue };
        checks.that(Image, service, image.size < limit * 1_000_000, || {
            format!("{} has {:.1} MB: it must have less than {limit}", image.reference, image.size as f64 / 1e6)
        });
    }
}

fn size_total(facts: &Facts, checks: &mut Checks) {
    let Some(limit) = facts.config.spec.as_ref().and_then(|spec| spec.size_total_mb) else { return };
    let Some(images) = &facts.images else { return };
    let counted: Vec<_> = facts.spec_services().iter().filter_map(|(service, _)| images.get(*service)).collect();
    let total: u64 = counted.iter().map(|image| image.size).sum();
    checks.that(Image, &facts.config.profile, total < limit * 1_000_000, || {
        format!("{} images have {:.1} MB together: less than {limit} are allowed", counted.len(), total as f64 / 1e6)
    });
}

/// The tags of the images that were built, and those in manifests.
fn tags(facts: &Facts, checks: &mut Checks, wrong: impl Fn(&str) -> Option<String>) {
    let problem = |image: &str| {
        let reference = Reference::parse(image);
        let tag = reference.and_then(|read| {
            read.tag().map(|tag| tag.as_str().to_string()).ok_or_else(|| format!("\"{image}\" has no tag"))
        });
        tag.map_or_else(Some, |tag| wrong(&tag))
    };
    for (service, image) in images(facts) {
        checks.none(Image, service, problem(&image.reference).map(|why| format!("{why}: see version in xtask.toml")));
    }
    if facts.rendered.is_none() {
        return;
    }
    for service in facts.services() {
        let Some(container) = facts.container(Render, service) else { continue };
        let image = container["image"].as_str().unwrap_or_default();
        checks.none(Render, service, problem(image).map(|why| format!("{why}: see image.tag of its values")));
    }
}

fn tag_format(facts: &Facts, checks: &mut Checks) {
    tags(facts, checks, |tag| Tag::parse(tag).err());
}

fn tag_semver(facts: &Facts, checks: &mut Checks) {
    tags(facts, checks, |tag| match Tag::parse(tag) {
        Ok(tag) if tag.is_semver_or_latest() => None,
        _ => Some(format!("\"{tag}\" is neither a semantic version nor latest")),
    });
}

fn port(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    for service in facts.services() {
        let about = &config.services[service];
        let path = format!("services.{service}.port");
        if let Some(wanted) = facts.spec(service).and_then(|spec| spec.port) {
            checks.that_at(config, &path, service, about.port == wanted, || {
                format!("{path} is {}: the data model says {wanted}", about.port)
            });
        }
        let exposes =
            |image: &DockerImage| image.exposed.iter().map(|(port, _)| port.to_string()).eq([about.port.to_string()]);
        if let Some(image) = described(facts, about) {
            let file = about.dockerfile.display().to_string();
            match image {
                Ok(image) => checks.that(Config, &file, exposes(&image), || {
                    format!("its EXPOSE is not {} alone: let ARG PORT decide it", about.port)
                }),
                Err(why) => checks.that(Config, &file, false, || format!("it cannot be read: {why}")),
            }
        }
        if let Some(image) = facts.images.as_ref().and_then(|images| images.get(service)) {
            let right = inspected(image).is_ok_and(|image| exposes(&image));
            checks.that(Image, service, right, || {
                format!("{} does not expose port {} alone: let ARG PORT decide its EXPOSE", image.reference, about.port)
            });
        }
        if let Some(container) = facts.container(Render, service) {
            let ports = container["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
            let right = ports.first().is_some_and(|port| port["containerPort"] == about.port);
            checks.that(Render, service, right, || {
                format!("its containerPort is not {}: leave ports to `port` of its values", about.port)
            });
        }
    }
}

fn healthcheck(facts: &Facts, checks: &mut Checks) {
    for service in facts.services() {
        let about = &facts.config.services[service];
        let wanted = facts.spec(service).and_then(|spec| spec.healthcheck.as_deref());
        let judge = |image: &DockerImage| match (&image.health, wanted) {
            (None, _) => Some("has no HEALTHCHECK: add one".to_string()),
            (Some(_), Some(wanted)) if image.health_path().as_deref() != Some(wanted) => Some(format!(
                "has a HEALTHCHECK of {}: the data model says {wanted}; set services.{service}.healthcheck",
                image.health_path().as_deref().unwrap_or("no path")
            )),
            _ => None,
        };
        if let Some(Ok(image)) = described(facts, about) {
            let problem = judge(&image).map(|why| format!("{} {why}", about.dockerfile.display()));
            let holds = problem.is_none();
            checks.that_at(facts.config, &format!("services.{service}.healthcheck"), service, holds, || {
                problem.unwrap_or_default()
            });
        }
        if let Some(image) = facts.images.as_ref().and_then(|images| images.get(service)) {
            let problem = match inspected(image) {
                Ok(read) => judge(&read).map(|why| format!("{} {why}", image.reference)),
                Err(why) => Some(why),
            };
            checks.none(Image, service, problem);
        }
    }
}

fn multistage(facts: &Facts, checks: &mut Checks) {
    for service in facts.services() {
        let about = &facts.config.services[service];
        let problem = match described(facts, about) {
            None => continue,
            Some(Ok(image)) if image.is_multi_stage() => None,
            Some(Ok(_)) => Some("it has one stage: build in one and copy what runs into another".to_string()),
            Some(Err(why)) => Some(why),
        };
        checks.none(Config, &about.dockerfile.display().to_string(), problem);
    }
}

fn entry(facts: &Facts, checks: &mut Checks) {
    for (service, image) in images(facts) {
        let Ok(read) = inspected(image) else {
            checks
                .that(Image, service, false, || format!("docker's description of {} cannot be read", image.reference));
            continue;
        };
        let spec = facts.spec(service);
        let wanted = spec.and_then(|spec| spec.workdir.as_deref());
        let folder = read.work_dir.as_deref();
        let right =
            folder.is_some_and(|folder| folder.starts_with('/') && wanted.is_none_or(|wanted| wanted == folder));
        checks.that(Image, service, right, || {
            format!(
                "its WORKDIR is {}: it must be {}",
                folder.unwrap_or("not set"),
                wanted.unwrap_or("a folder of its own")
            )
        });
        let command = [read.entrypoint.as_slice(), read.command.as_slice()].concat();
        checks.that(Image, service, !command.is_empty(), || "it has neither ENTRYPOINT nor CMD: add one".to_string());
        if let Some(entry) = spec.and_then(|spec| spec.entry.as_deref()) {
            checks.that(Image, service, command.join(" ").ends_with(entry), || {
                format!("it runs `{}`: the data model says `{entry}`", command.join(" "))
            });
        }
    }
}

fn ignore(facts: &Facts, checks: &mut Checks) {
    for (service, spec) in facts.spec_services().into_iter().filter(|(_, spec)| !spec.excluded.is_empty()) {
        let Some(about) = facts.config.services.get(service) else { continue };
        if let Some(files) = &facts.files {
            let path = about.dockerfile.display().to_string();
            let rules = files.dockerignores.get(&path).map(String::as_str);
            checks.that(Config, service, rules.is_some(), || format!("{path}.dockerignore is not there: add it"));
            for pattern in &spec.excluded {
                let sample = pattern.replace('*', "x");
                // Below each folder that a line lets in, too.
                let folders = rules.unwrap_or_default().lines().filter_map(|line| line.trim().strip_prefix('!'));
                let samples = std::iter::once(sample.clone()).chain(folders.map(|folder| format!("{folder}/{sample}")));
                let open = samples.into_iter().find(|sample| rules.is_some_and(|rules| !is_ignored(rules, sample)));
                checks.that(Config, service, open.is_none(), || {
                    format!("{path}.dockerignore lets {} into the build: list it", open.unwrap_or_default())
                });
            }
            let inputs = files.inputs.get(service).map(Vec::as_slice).unwrap_or_default();
            let found = inputs.iter().find(|file| spec.excluded.iter().any(|pattern| is_in(file, pattern)));
            checks.that(Config, service, found.is_none(), || {
                format!(
                    "{} reaches the build: take it out of services.{service}.inputs",
                    found.map_or("", String::as_str)
                )
            });
        }
        let Some(image) = facts.images.as_ref().and_then(|images| images.get(service)) else { continue };
        let folder = inspected(image).ok().and_then(|image| image.work_dir).unwrap_or_default();
        let folder = format!("{}/", folder.trim_matches('/'));
        // What is hidden must be nowhere; a folder called tests may well be a distribution's.
        let found = image.files.iter().find(|file| {
            let here = file.path.strip_prefix(&folder);
            spec.excluded.iter().any(|pattern| match pattern.starts_with('.') {
                true => is_in(&file.path, pattern),
                false => here.is_some_and(|path| is_in(path, pattern)),
            })
        });
        checks.that(Image, service, found.is_none(), || {
            format!(
                "{} is in {}: keep it out of the build",
                found.map_or("", |file| file.path.as_str()),
                image.reference
            )
        });
    }
}

/// Whether a part of a path is what a pattern without slashes means.
fn is_in(path: &str, pattern: &str) -> bool {
    let pattern = pattern.trim_matches('/');
    path.split('/').any(|part| glob(part, pattern))
}

/// Docker's rules: the last line that matches a path, or a folder above it, decides.
fn is_ignored(rules: &str, path: &str) -> bool {
    let mut ignored = false;
    for line in rules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (negated, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let pattern = pattern.trim_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        let hit = (1..=parts.len()).any(|count| matches_path(&parts[..count], &pattern.split('/').collect::<Vec<_>>()));
        if hit {
            ignored = !negated;
        }
    }
    ignored
}

fn matches_path(path: &[&str], pattern: &[&str]) -> bool {
    match (path, pattern) {
        ([], []) => true,
        (_, ["**", rest @ ..]) => (0..=path.len()).any(|count| matches_path(&path[count..], rest)),
        ([first, path @ ..], [wanted, rest @ ..]) => glob(first, wanted) && matches_path(path, rest),
        _ => false,
    }
}

/// `*` is any text, `?` any character.
fn glob(text: &str, pattern: &str) -> bool {
    match (text.chars().next(), pattern.chars().next()) {
        (None, None) => true,
        (_, Some('*')) => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| &text[at..]).chain([""]).any(|tail| glob(tail, rest))
        }
        (Some(a), Some(b)) if a == b || b == '?' => glob(&text[a.len_utf8()..], &pattern[b.len_utf8()..]),
        _ => false,
    }
}

fn build_arg(facts: &Facts, checks: &mut Checks) {
    for (service, spec) in facts.spec_services() {
        let Some(about) = facts.config.services.get(service) else { continue };
        for (name, wanted) in &spec.args {
            let default = dockerfile(facts, about)
                .and_then(|text| Dockerfile::parse(text).ok())
                .and_then(|file| file.taken_arguments().get(name).cloned());
            if facts.files.is_some() {
                let value = about.args.get(name).or(default.as_ref().and_then(Option::as_ref));
                let path = format!("services.{service}.args.{name}");
                checks.that_at(facts.config, &path, service, default.is_some() && value == Some(wanted), || {
                    match default {
                        None => format!("{} has no ARG {name}: add it", about.dockerfile.display()),
                        Some(_) => format!("{path} is not {wanted}, which the data model says"),
                    }
                });
            }
            let Some(image) = facts.images.as_ref().and_then(|images| images.get(service)) else { continue };
            let baked = inspected(image).is_ok_and(|image| image.env.get(name) == Some(wanted))
                || image.history.iter().any(|line| line.contains(&format!("{name}={wanted}")));
            checks.that(Image, service, baked, || {
                format!("{} was not made with {name}={wanted}: build it again with cargo xtask up", image.reference)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Start;
    use crate::rules::fixture::{Good, assert_found, found, good, unseen};
    use crate::rules::{ImageFile, Place};
    use serde_json::json;

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    fn image<'a>(good: &'a mut Good, service: &str) -> &'a mut ImageFacts {
        good.images.get_mut(service).unwrap()
    }

    fn with_backend(good: &mut Good, change: impl FnOnce(&mut xtask::config::SpecService)) {
        good.with_spec(|spec| change(spec.services.get_mut("backend").unwrap()));
    }

    #[test]
    fn nothing_is_wrong_with_good_images_and_all_places_are_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn an_image_that_was_not_built_is_found() {
        breaks("img.built", Image, "backend", |good| drop(good.images.remove("backend")));
    }

    #[test]
    fn an_image_that_a_node_lacks_is_found() {
        breaks("img.on_node", Live, "backend", |good| {
            good.live.node_images.get_mut("n").unwrap().remove("todo-backend:1.0.0");
        });
    }

    #[test]
    fn an_image_that_does_not_start_is_found() {
        breaks("img.starts", Image, "backend", |good| {
            image(good, "backend").starts = Some(Err("it ended".to_string()))
        });
        let given = found(RULES, |good| image(good, "backend").starts = Some(Ok(Start::Needs("PORT".to_string()))));
        assert_eq!(given, [], "its container is given PORT");
        // A word in capitals is not enough: the service must know it.
        breaks("img.starts", Image, "backend", |good| {
            image(good, "backend").starts = Some(Ok(Start::Needs("EXIT_FAILURE".to_string())))
        });
        breaks("img.starts", Live, "pod/todo-backend-1", |good| {
            good.live("pod/todo-backend-1")["status"]["containerStatuses"][0]["state"] =
                json!({"waiting": {"reason": "CrashLoopBackOff"}});
        });
    }

    #[test]
    fn root_is_found() {
        breaks("img.nonroot", Render, "deployment/todo-backend", |good| {
            good.rendered("deployment/todo-backend")["spec"]["template"]["spec"]["securityContext"] = json!({});
        });
        breaks("img.nonroot", Live, "deployment/todo-backend", |good| {
            good.live("deployment/todo-backend")["spec"]["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"] =
                json!(0);
        });
        let codes = found(RULES, |good| image(good, "frontend").inspect["Config"]["User"] = json!("root"));
        assert!(codes.contains(&("img.nonroot", Image, "frontend".to_string())), "{codes:?}");
    }

    #[test]
    fn another_user_is_found() {
        breaks("img.user", Config, "backend", |good| {
            good.config.services.get_mut("backend").unwrap().user.as_mut().unwrap().id = 7;
        });
        breaks("img.user", Image, "backend", |good| {
            drop(image(good, "backend").users.insert(1000, "todo".to_string()))
        });
        breaks("img.user", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["User"] = json!("1001");
            image(good, "backend").users.insert(1001, "appuser".to_string());
        });
    }

    #[test]
    fn secrets_in_layers_environment_and_history_are_found() {
        breaks("img.no_secret", Image, "backend", |good| {
            image(good, "backend").secrets.push("a:1: a token".to_string())
        });
        breaks("img.no_secret", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["Env"].as_array_mut().unwrap().push(json!("JWT_SECRET=x"));
        });
        breaks("img.no_secret", Image, "backend", |good| {
            image(good, "backend").history.push("ARG JWT_SECRET=x".to_string())
        });
    }

    #[test]
    fn layers_that_were_not_looked_into_do_not_pass() {
        let Good { config, mut images, .. } = good();
        images.get_mut("backend").unwrap().unread_layers = 2;
        let facts = Facts {
            config: &config,
            unseen: BTreeMap::new(),
            files: None,
            rendered: None,
            images: Some(images),
            live: None,
            known: crate::rules::Known::default(),
        };
        let verdict = crate::rules::judge(&facts);
        let found = verdict.iter().find(|verdict| verdict.rule.code == "img.no_secret");
        // The data model of the test profile doesn't state it, so it is asked for by hand.
        assert!(found.is_none());
        let mut checks = Checks::default();
        no_secret(&facts, &mut checks);
        assert!(checks.unseen[&Image].contains("2 layers of backend"), "{:?}", checks.unseen);
    }

    #[test]
    fn sizes_above_their_limits_are_found() {
        breaks("img.size", Image, "backend", |good| image(good, "backend").size = 20_000_000);
        breaks("img.size", Config, "backend", |good| {
            good.config.services.get_mut("backend").unwrap().size_limit_mb = Some(251)
        });
        breaks("img.size", Config, "backend", |good| {
            good.config.services.get_mut("backend").unwrap().size_limit_mb = None;
        });
        breaks("img.size_total", Image, "test", |good| good.with_spec(|spec| spec.size_total_mb = Some(16)));
    }

    #[test]
    fn tags_that_are_none_are_found() {
        let built = |tag: &str| {
            let reference = format!("todo-backend{tag}");
            let codes = found(RULES, |good| good.images.get_mut("backend").unwrap().reference = reference);
            codes.into_iter().filter(|(code, ..)| code.starts_with("img.tag.")).collect::<Vec<_>>()
        };
        let of = |code| (code, Image, "backend".to_string());
        assert_eq!(built(":1.0"), [of("img.tag.semver")]);
        assert_eq!(built(":a b"), [of("img.tag.format"), of("img.tag.semver")]);
        assert_eq!(built(""), [of("img.tag.format"), of("img.tag.semver")]);
        assert_eq!(built(":0.1.0-h0123456789ab"), []);
        let rendered = |tag: &str| {
            let image = format!("todo-backend{tag}");
            found(RULES, |good| good.container("deployment/todo-backend")["image"] = json!(image))
        };
        let codes = |tag: &str| rendered(tag).into_iter().map(|(code, place, _)| (code, place)).collect::<Vec<_>>();
        assert_eq!(codes(":alpine"), [("img.tag.semver", Render)]);
        assert_eq!(codes(":-1"), [("img.tag.format", Render), ("img.tag.semver", Render)]);
        assert_eq!(codes(""), [("img.tag.format", Render), ("img.tag.semver", Render)]);
        assert_eq!(codes(":latest"), []);
    }

    #[test]
    fn another_port_is_found() {
        breaks("img.port", Render, "backend", |good| {
            good.container("deployment/todo-backend")["ports"][0]["containerPort"] = json!(9000);
        });
        breaks("img.port", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["ExposedPorts"] = json!({"9000/tcp": {}})
        });
        breaks("img.port", Config, "backend", |good| with_backend(good, |spec| spec.port = Some(8080)));
        breaks("img.port", Config, "docker/backend.Dockerfile", |good| {
            let text = good.files.dockerfiles.get_mut("docker/backend.Dockerfile").unwrap();
            *text = text.replace("EXPOSE ${PORT}", "EXPOSE 9000");
        });
    }

    #[test]
    fn another_or_no_health_check_is_found() {
        let places = |change: fn(&mut Good)| {
            found(RULES, change).into_iter().map(|(code, place, _)| (code, place)).collect::<Vec<_>>()
        };
        let docs = places(|good| with_backend(good, |spec| spec.healthcheck = Some("/docs".to_string())));
        assert_eq!(docs, [("img.healthcheck", Config), ("img.healthcheck", Image)]);
        breaks("img.healthcheck", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["Healthcheck"] = json!({})
        });
        breaks("img.healthcheck", Config, "backend", |good| {
            let text = good.files.dockerfiles.get_mut("docker/backend.Dockerfile").unwrap();
            *text = text.replace("HEALTHCHECK_PATH=/health", "HEALTHCHECK_PATH=/other");
        });
    }

    #[test]
    fn a_single_stage_is_found() {
        breaks("img.multistage", Config, "docker/backend.Dockerfile", |good| {
            let text = "FROM a:1\nARG PORT=8000\nARG REVISION=unknown\nENV HEALTHCHECK_PATH=/health\nEXPOSE ${PORT}\nHEALTHCHECK CMD [\"/app/backend\", \"healthcheck\"]\nUSER 1\n";
            good.files.dockerfiles.insert("docker/backend.Dockerfile".to_string(), text.to_string());
        });
    }

    #[test]
    fn another_working_folder_or_entry_point_is_found() {
        breaks("img.entry", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["WorkingDir"] = json!("/srv")
        });
        breaks("img.entry", Image, "frontend", |good| {
            image(good, "frontend").inspect["Config"]["WorkingDir"] = json!("")
        });
        breaks("img.entry", Image, "backend", |good| {
            image(good, "backend").inspect["Config"]["Entrypoint"] = json!(["/app/other"])
        });
    }

    #[test]
    fn what_must_stay_out_is_found() {
        breaks("img.ignore", Image, "backend", |good| {
            image(good, "backend").files.push(ImageFile { path: "app/x.pyc".to_string(), ..ImageFile::default() });
        });
        breaks("img.ignore", Image, "backend", |good| {
            image(good, "backend").files.push(ImageFile { path: "opt/.env".to_string(), ..ImageFile::default() });
        });
        assert_eq!(
            found(RULES, |good| {
                image(good, "backend")
                    .files
                    .push(ImageFile { path: "usr/lib/tests/a".to_string(), ..ImageFile::default() });
            }),
            []
        );
        breaks("img.ignore", Config, "backend", |good| {
            good.files.inputs.get_mut("backend").unwrap().push("backend/tests/a.rs".to_string());
        });
        breaks("img.ignore", Config, "backend", |good| {
            good.files.dockerignores.insert("docker/backend.Dockerfile".to_string(), "*.pyc\ntests\n".to_string());
        });
    }

    #[test]
    fn another_build_argument_is_found() {
        let places = |change: fn(&mut Good)| {
            found(RULES, change).into_iter().map(|(code, place, _)| (code, place)).collect::<Vec<_>>()
        };
        let other = places(|good| {
            with_backend(good, |spec| spec.args = BTreeMap::from([("REVISION".to_string(), "7".to_string())]));
        });
        assert_eq!(other, [("img.build_arg", Config), ("img.build_arg", Image)]);
        breaks("img.build_arg", Image, "backend", |good| image(good, "backend").history.clear());
        breaks("img.build_arg", Config, "backend", |good| {
            good.config.services.get_mut("backend").unwrap().args.insert("REVISION".to_string(), "8".to_string());
        });
    }

    #[test]
    fn patterns_are_dockers() {
        let rules = "*\n!kit\n!backend\n**/tests\n# comment\n";
        for path in [".env", "x.pyc", "kit/tests/a", "backend/src/tests"] {
            assert!(is_ignored(rules, path), "{path}");
        }
        for path in ["kit", "backend/src/main.rs"] {
            assert!(!is_ignored(rules, path), "{path}");
        }
        assert!(!is_ignored("a", "b/a"), "a pattern begins at the root");
        assert!(is_in("a/b.pyc", "*.pyc") && is_in("x/tests/y", "tests/") && !is_in("a/contests", "tests"));
        assert!(is_in(".env.local", ".env*") && !is_in("x.env", ".env"));
    }
}
