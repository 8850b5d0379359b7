//! `[targets.NAME]`: clusters that others made, by the name that --target takes.

use std::collections::BTreeMap;

use crate::config::names::{NAME_RULE, is_name};
use crate::config::reader::Reader;
use crate::config::template::{fill, placeholders};
use crate::config::types::{Builder, Delivery, ExternalSecrets, Reach, Remote};

/// What a target's namespace may be made of.
pub const PLACEHOLDERS: [&str; 4] = ["project", "profile", "user", "branch"];
/// The kinds of a store, the usual one first.
const STORES: [&str; 2] = ["ClusterSecretStore", "SecretStore"];
/// The longest name that is one for helm and Kubernetes.
const LONGEST: usize = 53;

pub fn remote(name: &str, r: &Reader) -> Remote {
    if !is_name(name) {
        r.report(r.place().clone(), format!("{name} is no name for a target: it must be {NAME_RULE}"));
    }
    let has_secrets = r.optional_one_of("secrets", &["make", "existing"]).as_deref() == Some("existing");
    Remote {
        kubeconfig: r.text("kubeconfig"),
        context: r.text("context"),
        delivery: delivery(r),
        namespace: template(r, "namespace", &PLACEHOLDERS),
        reach: reach(r),
        has_secrets,
        external_secrets: external_secrets(r, has_secrets),
        protected: r.optional("protected").unwrap_or_default(),
    }
}

/// Where the operator writes the Secrets, this tool must not.
fn external_secrets(r: &Reader, has_secrets: bool) -> Option<ExternalSecrets> {
    let read = |r: &Reader| ExternalSecrets {
        store: r.text("store"),
        kind: r.optional_one_of("kind", &STORES).unwrap_or_else(|| STORES[0].to_string()),
        path: template(r, "path", &["namespace", "secret"]).unwrap_or_else(|| "{secret}".to_string()),
    };
    let found = r.optional_table("external_secrets", read)?;
    if !has_secrets {
        let (name, secrets) = (r.name("external_secrets"), r.name("secrets"));
        r.report_at("external_secrets", format!("{name} needs {secrets} = \"existing\": an operator writes them then"));
    }
    Some(found)
}

fn delivery(r: &Reader) -> Delivery {
    let way = r.optional_one_of("images", &["push", "load"]).unwrap_or_else(|| "push".to_string());
    let registry: Option<String> = r.optional("registry");
    let pull_secret: Option<String> = r.optional("pull_secret");
    let make_pull_secret = r.optional("make_pull_secret").unwrap_or_default();
    if make_pull_secret && pull_secret.is_none() {
        r.report_at(
            "make_pull_secret",
            format!("{} needs {}, its name", r.name("make_pull_secret"), r.name("pull_secret")),
        );
    }
    let builder = builder(r);
    match (way.as_str(), registry) {
        ("load", registry) => {
            let there = [("registry", registry.is_some()), ("builder", builder.is_some())];
            for key in there.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)) {
                r.report_at(key, format!("{} has no use where images are loaded: leave it out", r.name(key)));
            }
            Delivery::Load
        }
        (_, registry) => {
            let registry = registry.unwrap_or_default();
            if !is_registry(&registry) {
                let wanted = "a host, a port where it has one, and a path, as in \"registry.example.org:5000/team\"";
                r.report_at("registry", format!("{} is \"{registry}\": it must be {wanted}", r.name("registry")));
            }
            Delivery::Push { registry, pull_secret, make_pull_secret, builder }
        }
    }
}

fn builder(r: &Reader) -> Option<Builder> {
    let name: Option<String> = r.optional("builder");
    let platforms: Vec<String> = r.optional("platforms").unwrap_or_default();
    for platform in platforms.iter().filter(|text| !is_platform(text)) {
        let wanted = "a system, a processor and a variant where it has one, as in \"linux/arm64\" or \"linux/arm/v7\"";
        r.report_at("platforms", format!("{} has \"{platform}\": it must be {wanted}", r.name("platforms")));
    }
    if name.is_none() && !platforms.is_empty() {
        let (name, key) = (r.name("builder"), r.name("platforms"));
        r.report_at("platforms", format!("{key} needs {name}: the docker daemon builds for its own platform alone"));
    }
    Some(Builder { name: name?, platforms })
}

fn reach(r: &Reader) -> Reach {
    let way = r.optional_one_of("reach", &["port-forward", "node-port", "ingress"]);
    let host = r.optional("host");
    let port = r.optional_integer("node_port", 30000..=32767).map(|port| port as u16);
    let url = template(r, "url", &["namespace"]);
    let missing = |key: &str, what: &str| {
        r.report_at(key, format!("{} is missing: add `{key}`, {what}", r.name(key)));
        String::new()
    };
    match way.as_deref() {
        Some("node-port") => {
            Reach::NodePort { host: host.unwrap_or_else(|| missing("host", "where the node ports are reached")), port }
        }
        Some("ingress") => {
            Reach::Ingress { url: url.unwrap_or_else(|| missing("url", "where the Ingress is reached")) }
        }
        _ => Reach::PortForward,
    }
}

/// A template in which only some names may stand.
fn template(r: &Reader, key: &'static str, known: &[&str]) -> Option<String> {
    let text: String = r.optional(key)?;
    for placeholder in placeholders(&text).into_iter().filter(|name| !known.contains(name)) {
        let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
        r.report_at(key, format!("{} uses {{{placeholder}}}: known are {}", r.name(key), known.join(", ")));
    }
    Some(text)
}

/// Whether docker would take this, with `/NAME:TAG` behind it, for an image of a registry of its own.
fn is_registry(text: &str) -> bool {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let is_host = host == "localhost" || host.contains(['.', ':']);
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let is_whole = |part: &str| !part.is_empty() && part.chars().all(good);
    is_host && host.split(':').all(|part| !part.is_empty()) && path.is_none_or(|path| path.split('/').all(is_whole))
}

/// Whether docker takes this for the platform of an image.
fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(is_word)
}

/// The namespace that a template makes: a valid name, whatever is put in. One that is too long ends with a digest of the
/// whole, so that two that begin alike are not the same.
pub fn namespace_of(template: &str, values: &BTreeMap<String, String>) -> String {
    // A placeholder without a value was reported when the template was read.
    let lower = fill(template, values).unwrap_or_default().to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if name.len() <= LONGEST {
        return name;
    }
    let digest: String =
        hmac_sha256::Hash::hash(lower.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digest}", name[..LONGEST - 9].trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_with_a_path_if_any() {
        for good in ["registry.example.org/todo", "localhost/x", "127.0.0.1:5000", "a.b:5000/team/todo"] {
            assert!(is_registry(good), "{good}");
        }
        for bad in ["", "todo", "team/todo", "a.b/", "a.b/UPPER", ":5000/x", "https://a.b/x"] {
            assert!(!is_registry(bad), "{bad}");
        }
    }

    #[test]
    fn a_platform_is_a_system_and_a_processor() {
        for good in ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/amd64/v2"] {
            assert!(is_platform(good), "{good}");
        }
        for bad in ["", "linux", "arm64", "linux/", "linux/ARM", "linux/arm/v7/x", "linux/amd64,linux/arm64"] {
            assert!(!is_platform(bad), "{bad}");
        }
    }

    #[test]
    fn a_namespace_is_a_valid_name_whatever_the_branch_is_called() {
        let of = |branch: &str| {
            let values = [("project", "todo"), ("branch", branch)].map(|(a, b)| (a.to_string(), b.to_string()));
            namespace_of("{project}-{branch}", &values.into())
        };
        assert_eq!(of("Feature/Über_Paging #12"), "todo-feature-ber-paging-12");
        assert_eq!(of("---"), "todo");
        let [one, other] = ["one", "other"].map(|end| of(&format!("{}{end}", "of-a-team-".repeat(6))));
        assert!(is_name(&one) && is_name(&other) && one != other, "{one} {other}");
    }
}
