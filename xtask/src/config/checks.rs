//! What must agree between sections of the configuration.

use std::collections::BTreeMap;

use crate::config::names::{NAME_RULE, is_name};
use crate::config::reader::Reader;
use crate::config::template::placeholders;
use crate::config::types::*;

fn releases_agree(root: &Reader, config: &Config, known: &str) {
    if config.releases.is_empty() {
        root.report_at("releases", "no release is described: add a table [releases.NAME]".to_string());
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, release) in &config.releases {
        let at = |message: String| root.report_at("releases", format!("releases.{name}.{message}"));
        if !is_name(name) {
            at(format!(" is no name for a release: it must be {NAME_RULE}"));
        }
        for service in &release.services {
            if !config.services.contains_key(service) {
                at(format!("services names \"{service}\": known are {known}"));
            }
            if let Some(other) = owners.insert(service, name) {
                at(format!("services names {service}, which releases.{other} has already"));
            }
        }
        if !release.secret.is_empty() && !config.secrets.contains_key(&release.secret) {
            at(format!("secret is \"{}\": known are {}", release.secret, names(config.secrets.keys())));
        }
        for needed in &release.needs {
            if !config.releases.contains_key(needed) {
                at(format!("needs \"{needed}\": known are {}", names(config.releases.keys())));
            }
        }
        if let Some(key) = &release.unless
            && !config.secrets.values().any(|secret| secret.derived.contains_key(key))
        {
            at(format!("unless is \"{key}\": it must be a derived key of a Secret"));
        }
    }
    let edges = config.releases.iter().map(|(name, release)| (name.as_str(), release.needs.as_slice()));
    if let Err(circle) = waves(edges) {
        root.report_at("releases", format!("releases need each other in a circle: {}", circle.join(", ")));
    }
    let runs = |service: &str| owners.contains_key(service);
    for check in &config.smoke {
        let at =
            |message: String| root.report(check.place.clone(), format!("the smoke check \"{}\" {message}", check.name));
        for service in check.services() {
            match config.services.contains_key(service) {
                false => at(format!("asks service \"{service}\": known are {known}")),
                true if !runs(service) => at(format!("asks {service}, which no release of the profile runs")),
                true => {}
            }
        }
        for step in &check.steps {
            if let Action::HelmTest { release: Some(name) } = &step.action
                && !config.releases.contains_key(name)
            {
                at(format!("tests release \"{name}\": known are {}", names(config.releases.keys())));
            }
        }
    }
}

fn secrets_agree(root: &Reader, config: &Config) {
    let random: Vec<&String> = config.secrets.values().flat_map(|secret| &secret.random).collect();
    for (name, secret) in &config.secrets {
        for (key, template) in &secret.derived {
            for placeholder in placeholders(template) {
                if !random.iter().any(|known| *known == placeholder) {
                    let message = format!(
                        "secrets.{name}.derived.{key} uses {{{placeholder}}}: known are {}",
                        names(random.iter().copied())
                    );
                    root.report_at("secrets", message);
                }
            }
        }
    }
}

/// Each check has a name of its own, by which a line about it is known, and no more time than all have together.
fn checks_agree(root: &Reader, config: &Config) {
    let all = config.deadlines.smoke;
    for (index, check) in config.smoke.iter().enumerate() {
        let at = |message: String| root.report(check.place.clone(), message);
        if config.smoke[..index].iter().any(|other| other.name == check.name) {
            at(format!("smoke[{index}].name is \"{}\", as that of another check: each needs its own", check.name));
        }
        if let Some(deadline) = check.deadline.filter(|deadline| *deadline > all && !all.is_zero()) {
            let (own, all) = (deadline.as_secs(), all.as_secs());
            at(format!("smoke[{index}].deadline_s is {own}: deadlines.smoke_s, {all}, holds for all checks together"));
        }
    }
}

pub fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    all.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What must hold between tables.
pub fn agree(root: &Reader, config: &Config) {
    let known = config.services.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if config.services.is_empty() {
        root.report_at("services", "no service is described: add a table [services.NAME]".to_string());
        return;
    }
    if root.has("open") && !config.services.contains_key(&config.open) {
        root.report_at("open", format!("open is \"{}\": it must be a service: {known}", config.open));
    }
    releases_agree(root, config, &known);
    secrets_agree(root, config);
    checks_agree(root, config);
    let kubernetes = &config.cluster.kubernetes;
    module_agrees(root, config, "kubernetes", "cluster", "cluster.kubernetes", kubernetes);
    for (name, tool) in [("minikube", &config.tools.minikube), ("helm", &config.tools.helm)] {
        if let Some(pinned) = &tool.pinned {
            let module = config.module_of(name, pinned);
            module_agrees(root, config, &module, "tools", &format!("tools.{name}.pinned"), pinned);
        }
    }
    let NodePorts { first, last } = config.cluster.node_ports;
    for (name, service) in &config.services {
        if let Some(NodePort::Fixed(port)) = service.node_port
            && !(first..=last).contains(&port)
        {
            let message =
                format!("services.{name}.node_port is {port}: cluster.node_ports publishes {first} to {last}");
            root.report_at("services", message);
        }
    }
}

/// A module whose version is set by the linker must have the version that is configured.
fn module_agrees(root: &Reader, config: &Config, module: &str, key: &str, name: &str, wanted: &str) {
    let is_version =
        |variable: &str| ["version.version", "version.gitVersion"].iter().any(|end| variable.ends_with(end));
    let variables = config.mirrors.modules.get(module).into_iter().flat_map(|module| &module.variables);
    for (_, built) in variables.filter(|(variable, built)| is_version(variable) && **built != format!("v{wanted}")) {
        let message = format!("{name} is {wanted}, and mirrors.modules.{module} builds {built}: they must agree");
        root.report_at(key, message);
    }
}
