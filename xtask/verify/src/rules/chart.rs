//! Charts and releases: `cht.*` and `rel.*`.

use serde_json::Value;

use crate::entities::chart::{Chart, ChartType};
use crate::entities::values::Values;
use crate::entities::version;
use crate::rules::Place::{Config, Live, Render};
use crate::rules::{Attempt, ChartFiles, Checks, Facts, LiveFacts, Rule};
use xtask::config::{SpecChart, parse_version};
use xtask::model::plan::object_label;
use xtask::model::release::{Release, Status};

pub const RULES: &[Rule] = &[
    Rule {
        code: "cht.lint",
        what: "no error (FR-020)",
        specs: "rolling.md#chart-lint, microservices.md#chart-lint",
        places: &[Render],
        check: lint,
    },
    Rule {
        code: "cht.semver",
        what: "version MAJOR.MINOR.PATCH",
        specs: "rolling.md#chart-version, nodeport.md#chart-version, microservices.md#chart-version",
        places: &[Config],
        check: semver,
    },
    Rule {
        code: "cht.appversion",
        what: "= image tag (2 only)",
        specs: "microservices.md#chart-appversion",
        places: &[Config, Render],
        check: app_version,
    },
    Rule {
        code: "cht.meta",
        what: "name, versions, description, type application, dependencies",
        specs: "rolling.md#chart-metadata, nodeport.md#chart-metadata, microservices.md#chart-metadata, \
                static.md#chart-metadata",
        places: &[Config],
        check: meta,
    },
    Rule {
        code: "cht.files",
        what: "required templates, helpers, NOTES, README",
        specs: "rolling.md#chart-files, nodeport.md#chart-files, microservices.md#chart-files, \
                static.md#chart-files",
        places: &[Config],
        check: files,
    },
    Rule {
        code: "cht.values",
        what: "required knobs exist and take effect",
        specs: "rolling.md#chart-values, compact.md#chart-values",
        places: &[Config, Render],
        check: knobs,
    },
    Rule {
        code: "cht.api",
        what: "v1 and apps/v1 only; helm ≥ 3.0.0",
        specs: "static.md#api-versions",
        places: &[Config, Render],
        check: api,
    },
    Rule {
        code: "cht.namespace",
        what: "default `default`",
        specs: "static.md#namespace, compact.md#namespace",
        places: &[Config, Render, Live],
        check: namespace,
    },
    Rule {
        code: "rel.install",
        what: "installs without error, is listed",
        specs: "rolling.md#helm-operations, microservices.md#deployment-checks",
        places: &[Live],
        check: install,
    },
    Rule {
        code: "rel.upgrade",
        what: "can be upgraded",
        specs: "rolling.md#release-states, rolling.md#helm-operations",
        places: &[Live],
        check: upgrade,
    },
    Rule {
        code: "rel.rollback",
        what: "can be rolled back",
        specs: "rolling.md#release-states, rolling.md#helm-operations",
        places: &[Live],
        check: rollback,
    },
    Rule {
        code: "rel.uninstall",
        what: "ends not installed",
        specs: "rolling.md#release-states, nodeport.md#release-states",
        places: &[Live],
        check: uninstall,
    },
    Rule {
        code: "rel.test",
        what: "the test pod checks both Services",
        specs: "nodeport.md#chart-test",
        places: &[Render, Live],
        check: test,
    },
];

/// The knobs that a chart must have, each for every service of it.
pub const KNOBS: [&str; 12] = [
    "replicaCount",
    "image.repository",
    "image.tag",
    "image.pullPolicy",
    "service.type",
    "service.port",
    "resources.requests",
    "resources.limits",
    "nodeSelector",
    "tolerations",
    "affinity",
    "env",
];

/// Each release's chart.
fn charts<'a>(facts: &'a Facts) -> impl Iterator<Item = (&'a str, &'a ChartFiles)> {
    facts.files.iter().flat_map(|files| &files.charts).map(|(release, chart)| (release.as_str(), chart))
}

/// What the data model says of a release's chart.
fn spec_of<'a>(facts: &'a Facts, chart: &ChartFiles) -> Option<&'a SpecChart> {
    facts.config.spec.as_ref()?.charts.get(chart.described["name"].as_str()?)
}

/// Where a release's Chart.yaml is tracked.
fn file(facts: &Facts, release: &str) -> String {
    let folder = facts.config.releases.get(release).map(|release| release.chart.display().to_string());
    format!("{}/Chart.yaml", folder.unwrap_or_default())
}

fn lint(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        checks.that(Render, release, chart.lint.is_empty(), || {
            format!("helm lint --strict is not silent about its chart: {}", chart.lint)
        });
    }
}

fn semver(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        let version = chart.described["version"].as_str().unwrap_or_default();
        checks.none(
            Config,
            &file(facts, release),
            version::parse_version(version).err().map(|why| format!("version: {why}")),
        );
    }
}

fn app_version(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        let Some(wanted) = spec_of(facts, chart).and_then(|spec| spec.app_version.as_deref()) else { continue };
        let about = &facts.config.releases[release];
        let path = format!("releases.{release}.app_version");
        checks.that_at(facts.config, &path, release, about.app_version.as_deref() == Some(wanted), || {
            format!("{path} is not \"{wanted}\", which the data model says")
        });
        let rendered = facts.rendered.as_ref().and_then(|rendered| rendered.get(release));
        let Some(rendered) = rendered else { continue };
        let tag = about.services.first().and_then(|service| rendered.tags.get(service)).map_or("", String::as_str);
        let (wanted, found) =
            (wanted.replace("{tag}", tag), chart.described["appVersion"].as_str().unwrap_or_default());
        checks.that(Render, release, found == wanted, || {
            format!("the appVersion of its chart is \"{found}\" instead of {wanted}: see {path}")
        });
        if spec_of(facts, chart).is_some_and(|spec| spec.app_version.as_deref() == Some("{tag}")) {
            for service in &about.services {
                let image = facts.container(Render, service).and_then(|container| container["image"].as_str());
                checks.that(Render, service, image.is_some_and(|image| image.ends_with(&format!(":{found}"))), || {
                    format!(
                        "its image is {}, and the appVersion of its chart {found}: they must agree",
                        image.unwrap_or("none")
                    )
                });
            }
        }
    }
}

fn meta(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        let file = file(facts, release);
        let read = match Chart::from_object(&chart.described) {
            Ok(read) => read,
            Err(mistakes) => {
                checks.that(Config, &file, false, || mistakes.join("; "));
                continue;
            }
        };
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
        checks.that(Config, &file, said(&read.description), || "it has no description: add one".to_string());
        checks.that(Config, &file, said(&read.app_version), || "it has no appVersion: add one".to_string());
        checks.that(Config, &file, read.kind == ChartType::Application, || "its type must be application".to_string());
        // All that it takes lies in this repository: nothing is fetched for an install.
        let far = read.dependencies.iter().find(|needed| {
            needed.repository.as_ref().is_some_and(|from| !from.is_empty() && !from.starts_with("file://"))
        });
        checks.that(Config, &file, far.is_none(), || {
            format!("it depends on {} from elsewhere: keep charts in helm/", far.map_or("", |far| far.name.as_str()))
        });
        if let Some(wanted) = spec_of(facts, chart).and_then(|spec| spec.version.as_deref()) {
            checks.that(Config, &file, read.version.to_string() == wanted, || {
                format!("its version is {}: the data model says {wanted}", read.version)
            });
        }
    }
    // A chart that the data model names and no release has.
    if let (Some(spec), Some(files)) = (&facts.config.spec, &facts.files) {
        for name in spec.charts.keys() {
            let there = files.charts.values().any(|chart| chart.described["name"] == name.as_str());
            checks.that(Config, name, there, || {
                "no release has a chart of this name: set chart_name of its release".to_string()
            });
        }
    }
}

fn files(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        let common = ["Chart.yaml", "values.yaml"].map(str::to_string).to_vec();
        let wanted = spec_of(facts, chart).map(|spec| &spec.files).filter(|files| !files.is_empty());
        for path in wanted.unwrap_or(&common) {
            checks.that(Config, release, chart.files.contains(path), || {
                format!("its chart has no {path}: add it, an include of the library chart is enough")
            });
        }
    }
}

fn knobs(facts: &Facts, checks: &mut Checks) {
    for (release, chart) in charts(facts) {
        let about = &facts.config.releases[release];
        let refused = chart.refused.as_deref();
        checks.that(Config, release, refused.is_none(), || {
            format!("its chart refuses other values for its knobs: {}", refused.unwrap_or_default())
        });
        for service in &about.services {
            values(facts, checks, release, chart, service);
        }
        if refused.is_some() {
            continue;
        }
        for service in &about.services {
            // A StatefulSet is a database: what is demanded of knobs is said of the services.
            if facts.of(Render, "Deployment", service).is_none() {
                continue;
            }
            for knob in KNOBS {
                let takes = chart.knobs.get(&format!("{service} {knob}")).copied().unwrap_or(false);
                checks.that(Render, release, takes, || {
                    format!("another value of {knob} of {service} changes nothing in what is rendered: have its chart use it")
                });
            }
        }
    }
}

/// What the values say of a service can be meant, and is what is rendered.
fn values(facts: &Facts, checks: &mut Checks, release: &str, chart: &ChartFiles, service: &str) {
    let (said, path) = match chart.values["services"].get(service) {
        Some(said) => (said, format!("services.{service}.")),
        None => (&chart.values, String::new()),
    };
    let read = Values::from_object(said);
    checks.that(Config, release, read.is_ok(), || {
        let mistakes = read.as_ref().err().into_iter().flatten().map(|mistake| format!("{path}{mistake}"));
        format!("{}: mend it in its values files", mistakes.collect::<Vec<_>>().join("; "))
    });
    let Ok(read) = read else { return };
    let shown = |object: Option<&Value>, pointer: &str| match object?.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let workload = facts.workload(Render, service);
    // Where load decides, no number of replicas is rendered.
    let replicas = shown(workload, "/spec/replicas").and_then(|shown| Some((shown, read.replicas?.to_string())));
    let policy = shown(facts.container(Render, service), "/imagePullPolicy")
        .and_then(|shown| Some((shown, read.image.pull_policy?.to_string())));
    let kind = shown(facts.of(Render, "Service", service), "/spec/type")
        .and_then(|shown| Some((shown, read.service.kind?.to_string())));
    for (knob, found) in [("replicaCount", replicas), ("image.pullPolicy", policy), ("service.type", kind)] {
        let Some((shown, wanted)) = found else { continue };
        checks.that(Render, release, shown == wanted, || {
            format!("{path}{knob} is {wanted}, and {shown} is rendered: have its chart use it")
        });
    }
}

fn api(facts: &Facts, checks: &mut Checks) {
    let minimum = &facts.config.tools.helm.minimum;
    checks.that_at(facts.config, "tools.helm.minimum", "helm", parse_version(minimum) >= Some(vec![3]), || {
        format!("tools.helm.minimum is {minimum}: charts of apiVersion v2 need helm 3")
    });
    for (release, chart) in charts(facts) {
        checks.that(Config, &file(facts, release), chart.described["apiVersion"] == "v2", || {
            format!("its apiVersion is {}: that of helm 3 is v2", chart.described["apiVersion"])
        });
    }
    // A profile without a data model may use all of Kubernetes.
    if facts.config.spec.is_none() {
        return;
    }
    // The database is outside of what the data model describes.
    let own = facts
        .rendered
        .iter()
        .flat_map(|rendered| rendered.values())
        .filter(|release| release.namespace == facts.config.namespace);
    for object in own.flat_map(|release| &release.objects) {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        checks.that(Render, &object_label(object), matches!(version, "v1" | "apps/v1"), || {
            format!("its apiVersion is {version}: the data model knows v1 and apps/v1; turn it off in the values, or waive it with a reason")
        });
    }
}

fn namespace(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    if let Some(wanted) = config.spec.as_ref().and_then(|spec| spec.namespace.as_ref()) {
        checks.that_at(config, "namespace", &config.profile, config.namespace == *wanted, || {
            format!("namespace is \"{}\": the data model says {wanted}", config.namespace)
        });
    }
    for (release, rendered) in facts.rendered.iter().flatten() {
        let elsewhere = rendered.objects.iter().find(|object| {
            object["metadata"]["namespace"].as_str().is_some_and(|namespace| namespace != rendered.namespace)
        });
        checks.that(Render, release, elsewhere.is_none(), || {
            format!(
                "{} is in another namespace than {}: leave that to helm",
                elsewhere.map(object_label).unwrap_or_default(),
                rendered.namespace
            )
        });
    }
    let Some(live) = &facts.live else { return };
    for release in releases(facts) {
        let wanted = &config.releases[release].namespace;
        checks.that(Live, release, listed(facts, live, release).is_some(), || {
            format!("helm does not list it in namespace {wanted}: cargo xtask up")
        });
    }
}

/// The releases that the profile installs here.
fn releases<'a>(facts: &'a Facts) -> Vec<&'a str> {
    facts.rendered.iter().flat_map(|rendered| rendered.keys()).map(String::as_str).collect()
}

/// What helm lists of a release in its namespace.
fn listed<'a>(facts: &Facts, live: &'a LiveFacts, release: &str) -> Option<&'a Value> {
    let namespace = facts.config.releases[release].namespace.as_str();
    live.releases.iter().find(|found| found["name"] == release && found["namespace"] == namespace)
}

fn install(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    for release in releases(facts) {
        let problem = match listed(facts, live, release).map(Release::from_object) {
            None => Some(format!("helm does not list it: cargo xtask up --profile {}", facts.config.profile)),
            Some(Err(mistakes)) => Some(format!("helm lists it with {}: see helm list", mistakes.join("; "))),
            Some(Ok(found)) if found.status == Status::Deployed => None,
            Some(Ok(Release { revision, status, .. })) => {
                Some(format!("helm lists its revision {revision} as {status}: cargo xtask up mends it"))
            }
        };
        checks.none(Live, release, problem);
    }
}

fn upgrade(facts: &Facts, checks: &mut Checks) {
    for release in releases(facts) {
        checks.tried(
            facts,
            &Attempt::Upgrade(release.to_string()),
            release,
            "an upgrade would fail; cargo xtask up tells more",
        );
    }
}

fn rollback(facts: &Facts, checks: &mut Checks) {
    for release in releases(facts) {
        checks.tried(
            facts,
            &Attempt::Rollback(release.to_string()),
            release,
            "a rollback would fail; see helm history",
        );
    }
}

fn uninstall(facts: &Facts, checks: &mut Checks) {
    for release in releases(facts) {
        checks.tried(facts, &Attempt::Uninstall(release.to_string()), release, "an uninstallation would fail");
    }
}

fn test(facts: &Facts, checks: &mut Checks) {
    for (release, rendered) in facts.rendered.iter().flatten() {
        let tests: Vec<&Value> = rendered
            .hooks
            .iter()
            .filter(|hook| hook["kind"] == "Pod" && hook["metadata"]["annotations"]["helm.sh/hook"] == "test")
            .collect();
        let asked = tests.iter().map(|pod| pod["spec"]["containers"][0].to_string()).collect::<Vec<_>>().join(" ");
        for service in &facts.config.releases[release].services {
            // What has no HTTP probe can't be asked by URL, and its users' readiness asks it.
            let http = facts
                .container(Render, service)
                .is_some_and(|container| container["readinessProbe"]["httpGet"].is_object());
            let Some(found) = facts.of(Render, "Service", service).filter(|_| http) else { continue };
            let name = found["metadata"]["name"].as_str().unwrap_or_default();
            let port = &found["spec"]["ports"][0]["port"];
            let named = [format!("//{name}:{port}/"), format!("//{name}.")].iter().any(|url| asked.contains(url))
                || (*port == 80 && asked.contains(&format!("//{name}/")));
            checks.that(Render, release, named, || {
                format!("no test pod asks the Service {name}: add its URL to the chart's helm test")
            });
        }
        if !tests.is_empty() {
            checks.tried(facts, &Attempt::Test(release.clone()), release, "see helm test and the pods' logs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Place;
    use crate::rules::fixture::{Good, assert_found, found, unseen};
    use serde_json::json;

    const FILE: &str = "helm/todo-chatbot/Chart.yaml";

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    fn chart(good: &mut Good) -> &mut ChartFiles {
        good.files.charts.get_mut("todo").unwrap()
    }

    #[test]
    fn nothing_is_wrong_with_good_charts_and_all_places_are_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn what_helm_says_of_a_chart_is_found() {
        breaks("cht.lint", Render, "todo", |good| chart(good).lint = "[WARNING] templates/: …".to_string());
    }

    #[test]
    fn a_version_that_is_none_is_found() {
        let codes = found(RULES, |good| chart(good).described["version"] = json!("1.0"));
        assert_eq!(codes.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), ["cht.semver", "cht.meta"]);
    }

    #[test]
    fn an_app_version_other_than_the_tag_is_found() {
        breaks("cht.appversion", Render, "backend", |good| chart(good).described["appVersion"] = json!("2.0.0"));
        breaks("cht.appversion", Config, "todo", |good| {
            good.config.releases.get_mut("todo").unwrap().app_version = Some("1.0.0".to_string());
        });
        breaks("cht.appversion", Render, "backend", |good| {
            good.container("deployment/todo-backend")["image"] = json!("todo-backend:2.0.0");
        });
    }

    #[test]
    fn a_chart_that_says_too_little_is_found() {
        for (key, value) in [
            ("description", Value::Null),
            ("description", json!(" ")),
            ("appVersion", Value::Null),
            ("type", json!("library")),
            ("apiVersion", json!("v1")),
            ("dependencies", json!([{"name": "x", "version": "1.0.0", "repository": "https://example.org"}])),
            ("version", json!("0.2.0")),
        ] {
            let codes = found(RULES, |good| chart(good).described[key] = value.clone());
            assert!(codes.contains(&("cht.meta", Config, FILE.to_string())), "{key}: {codes:?}");
        }
        let codes = found(RULES, |good| chart(good).described["name"] = json!("other"));
        assert!(codes.contains(&("cht.meta", Config, "todo".to_string())), "{codes:?}");
    }

    #[test]
    fn a_missing_file_is_found() {
        breaks("cht.files", Config, "todo", |good| {
            chart(good).files.retain(|file| file != "templates/deployment.yaml")
        });
    }

    #[test]
    fn a_knob_without_effect_is_found() {
        breaks("cht.values", Render, "todo", |good| {
            chart(good).knobs.insert("backend image.tag".to_string(), false);
        });
        breaks("cht.values", Render, "todo", |good| {
            chart(good).knobs.remove("frontend affinity");
        });
        breaks("cht.values", Config, "todo", |good| chart(good).refused = Some("unknown key nodeSelector".to_string()));
    }

    #[test]
    fn values_that_cannot_be_meant_are_found() {
        for (service, values) in [
            ("backend", json!({"replicaCount": 0})),
            ("backend", json!({"image": {"repository": "todo-backend:1.0.0"}})),
            ("backend", json!({"service": {"nodePort": 80}})),
            ("frontend", json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            ("frontend", json!({"probes": {"liveness": {"path": "health"}}})),
            ("frontend", json!({"tolerations": [{"operator": "Sometimes"}]})),
        ] {
            breaks("cht.values", Config, "todo", |good| chart(good).values["services"][service] = values);
        }
        // A chart of its own has them at the top.
        breaks("cht.values", Config, "todo", |good| chart(good).values = json!({"port": 0}));
    }

    #[test]
    fn values_that_are_not_rendered_are_found() {
        for values in [
            json!({"replicaCount": 2}),
            json!({"image": {"pullPolicy": "Always"}}),
            json!({"service": {"type": "ClusterIP"}}),
        ] {
            breaks("cht.values", Render, "todo", |good| chart(good).values["services"]["backend"] = values);
        }
        let as_rendered = json!({"replicaCount": 1, "image": {"pullPolicy": "Never"}, "service": {"type": "NodePort"}});
        assert_eq!(found(RULES, |good| chart(good).values["services"]["backend"] = as_rendered), []);
    }

    #[test]
    fn other_apis_are_found() {
        breaks("cht.api", Render, "networkpolicy/x", |good| {
            let object =
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x"}});
            good.rendered.get_mut("todo").unwrap().objects.push(object);
        });
        breaks("cht.api", Config, "helm", |good| good.config.tools.helm.minimum = "2.17".to_string());
        let codes = found(RULES, |good| chart(good).described["apiVersion"] = json!("v1"));
        assert!(codes.contains(&("cht.api", Config, FILE.to_string())), "{codes:?}");
    }

    #[test]
    fn another_namespace_is_found() {
        breaks("cht.namespace", Config, "test", |good| {
            good.with_spec(|spec| spec.namespace = Some("default".to_string()))
        });
        breaks("cht.namespace", Render, "todo", |good| {
            good.rendered("deployment/todo-backend")["metadata"]["namespace"] = json!("x")
        });
        let codes = found(RULES, |good| good.live.releases[0]["namespace"] = json!("other"));
        assert_eq!(codes.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), ["cht.namespace", "rel.install"]);
    }

    #[test]
    fn a_release_that_is_not_well_is_found() {
        breaks("rel.install", Live, "todo", |good| good.live.releases[0]["revision"] = json!("0"));
        breaks("rel.install", Live, "todo", |good| good.live.releases[0]["status"] = json!("pending-install"));
        for (code, attempt) in [
            ("rel.upgrade", Attempt::Upgrade("todo".to_string())),
            ("rel.rollback", Attempt::Rollback("todo".to_string())),
            ("rel.uninstall", Attempt::Uninstall("todo".to_string())),
            ("rel.test", Attempt::Test("todo".to_string())),
        ] {
            breaks(code, Live, "todo", |good| drop(good.live.attempts.insert(attempt, Err("no".to_string()))));
        }
    }

    #[test]
    fn what_was_not_tried_does_not_pass() {
        let mut good = crate::rules::fixture::good();
        good.live.attempts.clear();
        let facts = Facts {
            config: &good.config,
            unseen: Default::default(),
            files: None,
            rendered: Some(good.rendered),
            images: None,
            live: Some(good.live),
            known: crate::rules::Known::default(),
        };
        let mut checks = Checks::default();
        rollback(&facts, &mut checks);
        assert!(checks.looked.is_empty() && checks.unseen.contains_key(&Live), "{:?}", checks.unseen);
    }

    #[test]
    fn a_test_pod_that_asks_one_service_alone_is_found() {
        breaks("rel.test", Render, "todo", |good| {
            let hook = &mut good.rendered.get_mut("todo").unwrap().hooks[0];
            hook["spec"]["containers"][0]["args"] = json!(["http://todo-backend:8000/ready"]);
        });
        let codes = found(RULES, |good| good.rendered.get_mut("todo").unwrap().hooks.clear());
        assert_eq!(codes.len(), 2, "{codes:?}");
    }
}
