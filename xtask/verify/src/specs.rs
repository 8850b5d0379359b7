//! The published data models: what their profiles do not have of them. Its tests hold `[spec]` to the pages of docs/specs.

use anyhow::Result;
use serde_json::{Value, json};

use crate::rules::PAGES;
use xtask::config::Deviation;
use xtask::run::context::{Project, profiles};

/// The page of a model, and what of it does not hold.
pub type Deviations = Vec<(&'static str, Deviation)>;

/// Those of all profiles.
pub fn deviations(project: &Project) -> Result<Deviations> {
    let mut found = Vec::new();
    for name in profiles(&project.root) {
        let Some(spec) = project.of_profile(&name)?.config.spec else { continue };
        found.extend(spec.deviations.into_iter().map(|deviation| (PAGES[usize::from(spec.number)], deviation)));
    }
    Ok(found)
}

pub fn text(deviations: &Deviations) -> String {
    let rows = deviations.iter().map(|(page, deviation)| {
        let Deviation { heading, says, reason } = deviation;
        format!("{page}#{heading}: {says}\n  not so here: {reason}\n")
    });
    format!("{}{} deviations from the data models", rows.collect::<String>(), deviations.len())
}

pub fn to_json(deviations: &Deviations) -> Value {
    let rows = deviations.iter().map(|(page, deviation)| {
        let Deviation { heading, says, reason } = deviation;
        json!({ "spec": format!("{page}#{heading}"), "says": says, "reason": reason })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use xtask::config::{self, ConfigFile, Spec, SpecService};

    /// Heading, as in `image-names`, to the lines below it, without the marks of code.
    type Page = BTreeMap<String, Vec<String>>;

    fn page(text: &str) -> Page {
        let mut page = Page::new();
        let mut heading = String::new();
        for line in text.lines().map(|line| line.replace(['`', '"'], "")) {
            match line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) {
                Some(title) => heading = title.to_lowercase().replace(' ', "-"),
                None => page.entry(heading.clone()).or_default().push(line),
            }
        }
        page
    }

    /// Whether one of the headings states `word`: in the rows of `subject`, where a table has some, else anywhere below it.
    fn states(page: &Page, headings: &[&str], subject: &str, word: &str) -> bool {
        let bounded = |line: &str| {
            let line = line.replace("SERVICE", subject);
            line.match_indices(word).any(|(at, _)| {
                let inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
                !inner(line[..at].chars().next_back()) && !inner(line[at + word.len()..].chars().next())
            })
        };
        headings.iter().filter_map(|heading| page.get(*heading)).any(|lines| {
            let of_subject = |line: &&String| {
                !subject.is_empty() && line.starts_with('|') && line.split('|').any(|cell| cell.trim() == subject)
            };
            let rows: Vec<&String> = lines.iter().filter(of_subject).collect();
            let rows = if rows.is_empty() { lines.iter().collect() } else { rows };
            rows.into_iter().any(|line| bounded(line))
        })
    }

    /// What `[spec]` says of a service: the headings that may state it, and the word.
    fn of_service(about: &SpecService) -> Vec<(&'static [&'static str], String)> {
        let mut all: Vec<(&'static [&'static str], String)> = Vec::new();
        let mut say = |headings: &'static [&'static str], word: Option<String>| {
            all.extend(word.map(|word| (headings, word)));
        };
        say(&["image-names"], about.image.clone());
        say(&["image-sizes"], about.size_mb.map(|mb| format!("{mb} MB")));
        say(&["image-ports"], about.port.map(|port| port.to_string()));
        say(&["image-health-checks"], about.healthcheck.clone());
        say(&["image-users"], about.user_id.map(|id| id.to_string()));
        say(&["image-users"], about.user_name.clone());
        say(&["entry-points"], about.workdir.clone());
        say(&["deployment-names"], about.deployment.clone());
        // A selector is mostly the name of the Service or the Deployment.
        say(&["service-selectors", "service-names", "deployment-names", "image-names"], about.app.clone());
        say(&["replicas"], about.replicas.map(|count| count.to_string()));
        say(&["replicas"], about.replicas_min.map(|count| count.to_string()));
        say(&["replicas"], about.replicas_max.map(|count| count.to_string()));
        say(&["image-pull-policy"], about.pull_policy.clone());
        say(&["service-names", "deployment-names"], about.service.clone());
        say(&["service-ports", "image-ports"], about.service_port.map(|port| port.to_string()));
        say(&["target-ports", "service-ports"], about.target_port.clone());
        say(&["node-ports", "service-types"], about.node_port.map(|port| port.to_string()));
        say(&["configmap-keys"], about.config_map.clone());
        say(&["secret-keys"], about.secret.clone());
        for (key, value) in &about.args {
            say(&["build-arguments"], Some(key.clone()));
            say(&["build-arguments"], Some(value.clone()));
        }
        for pattern in &about.excluded {
            say(&["excluded-files"], Some(pattern.clone()));
        }
        for kind in &about.service_types {
            say(&["service-types"], Some(kind.clone()));
        }
        for quantity in about.requests.values().chain(about.limits.values()) {
            say(&["container-resources"], Some(quantity.clone()));
        }
        for probe in [&about.liveness, &about.readiness].into_iter().flatten() {
            say(&["probes"], probe.path.clone());
            say(&["probes"], probe.delay_s.map(|seconds| format!("{seconds} s")));
            say(&["probes"], probe.period_s.map(|seconds| format!("{seconds} s")));
        }
        all
    }

    /// What `[spec]` says beside the services: subject, headings and word.
    fn of_model(spec: &Spec) -> Vec<(String, &'static [&'static str], String)> {
        let mut all: Vec<(String, &'static [&'static str], String)> = Vec::new();
        let mut say = |subject: &str, headings: &'static [&'static str], word: &str| {
            if !word.is_empty() {
                all.push((subject.to_string(), headings, word.to_string()));
            }
        };
        say("", &["namespace"], spec.namespace.as_deref().unwrap_or_default());
        say("", &["image-sizes"], &spec.size_total_mb.map(|mb| format!("{mb} MB")).unwrap_or_default());
        for (map, keys) in &spec.config_maps {
            say("", &["configmap-keys"], map);
            for (key, value) in keys {
                say("", &["configmap-keys"], key);
                // A page may say a URL by its parts.
                say(key, &["configmap-keys"], value.rsplit('/').next().unwrap_or_default());
            }
        }
        for (secret, keys) in &spec.secrets {
            say("", &["secret-keys"], secret);
            keys.iter().for_each(|key| say("", &["secret-keys"], key));
        }
        for chart in spec.charts.values() {
            say("version", &["chart-metadata"], chart.version.as_deref().unwrap_or_default());
            match chart.app_version.as_deref() {
                Some("{tag}") => say("", &["chart-appversion"], "the tag of the image"),
                version => say("appVersion", &["chart-metadata"], version.unwrap_or_default()),
            }
            for file in &chart.files {
                say("", &["chart-files"], file.rsplit('/').next().unwrap_or_default());
            }
        }
        spec.tables.iter().for_each(|table| say("", &["database-tables"], table));
        for word in spec.states.values().flat_map(|words| words.values()) {
            say("", &["pod-states", "release-states", "deployment-states"], word);
        }
        if let Some(cluster) = &spec.cluster {
            say("CPUs", &["cluster-size"], &cluster.cpus.to_string());
            say("memory", &["cluster-size"], &format!("{} MB", cluster.memory_mb));
            cluster.drivers.iter().for_each(|driver| say("driver", &["cluster-size"], driver));
            cluster.addons.iter().for_each(|addon| say("addons", &["cluster-status"], addon));
        }
        all
    }

    /// What a `[spec]` says and the page does not.
    fn unstated(spec: &Spec, page: &Page) -> Vec<String> {
        let of_services = spec.services.iter().flat_map(|(name, about)| {
            of_service(about).into_iter().map(|(headings, word)| (name.clone(), headings, word))
        });
        of_services
            .chain(of_model(spec))
            // A model may leave open how its ConfigMaps and Secrets are called.
            .filter(|(_, headings, _)| {
                page.contains_key(headings[0]) || !["configmap-keys", "secret-keys"].contains(&headings[0])
            })
            .filter(|(subject, headings, word)| !states(page, headings, subject, word))
            .map(|(subject, headings, word)| format!("{}: {subject}: {word}", headings.join(", ")))
            .collect()
    }

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
    }

    fn specs() -> Vec<(String, Spec, Page)> {
        let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
        let base = read("xtask.toml");
        let mut all = Vec::new();
        for profile in profiles(root()) {
            let file = format!("k8s/profiles/{profile}.toml");
            let over = read(&file);
            let (base, over) =
                (ConfigFile { file: "xtask.toml", text: &base }, ConfigFile { file: file.as_str(), text: &over });
            let config = config::parse_config(&profile, base, over, &|_| true).unwrap();
            if let Some(spec) = config.spec {
                let page = page(&read(&format!("docs/specs/{}", PAGES[usize::from(spec.number)])));
                all.push((profile, spec, page));
            }
        }
        all
    }

    #[test]
    fn what_a_profile_demands_is_what_the_page_of_its_model_states() {
        let found: Vec<String> = specs()
            .iter()
            .flat_map(|(profile, spec, page)| {
                unstated(spec, page).into_iter().map(move |missing| format!("{profile}: {missing}"))
            })
            .collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_figure_that_the_page_does_not_have_is_found() {
        let (_, mut spec, page) = specs().remove(0);
        let backend = spec.services.get_mut("backend").unwrap();
        backend.port = Some(8001);
        backend.requests.insert("cpu".to_string(), "101m".to_string());
        spec.charts.entry("todo".to_string()).or_default().version = Some("9.9.9".to_string());
        let found = unstated(&spec, &page);
        for expected in
            ["image-ports: backend: 8001", "container-resources: backend: 101m", "chart-metadata: version: 9.9.9"]
        {
            assert!(found.iter().any(|line| line == expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_deviation_names_a_heading_of_its_page() {
        for (profile, spec, page) in specs() {
            for deviation in spec.deviations {
                assert!(page.contains_key(&deviation.heading), "{profile}: no heading {}", deviation.heading);
            }
        }
    }
}
