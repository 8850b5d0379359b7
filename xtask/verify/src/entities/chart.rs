//! Charts, from their Chart.yaml.

use semver::Version;
use serde_json::Value;

use crate::entities::version::parse_version;
use xtask::model::object::{Fields, one_of, read};

/// What Chart.yaml says.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub name: String,
    pub version: Version,
    /// The version of what it deploys; any text.
    pub app_version: Option<String>,
    pub description: Option<String>,
    pub kind: ChartType,
    /// The versions of Kubernetes that it runs on, such as `>=1.32.0-0`.
    pub kube_version: Option<String>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartType {
    Application,
    Library,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub name: String,
    /// A range, such as `^1.0.0`.
    pub version: String,
    /// `https://…`, `oci://…`, `file://…` or `@NAME`.
    pub repository: Option<String>,
    pub condition: Option<String>,
    pub alias: Option<String>,
}

impl Chart {
    /// From Chart.yaml as JSON. Only apiVersion v2, of helm 3 and later, is taken.
    pub fn from_object(object: &Value) -> Result<Chart, Vec<String>> {
        read(object, |f| {
            f.at("apiVersion").parsed(|text| one_of(text, &[("v2", ())]));
            let name = f.at("name").parsed(chart_name);
            let version = f.at("version").parsed(parse_version);
            let app_version = f.at("appVersion").maybe(Fields::text);
            let description = f.at("description").maybe(Fields::text);
            let kinds = [("application", ChartType::Application), ("library", ChartType::Library)];
            let kind = f.at("type").or(ChartType::Application, |kind| kind.parsed(|text| one_of(text, &kinds)));
            let kube_version = f.at("kubeVersion").maybe(|range| range.parsed(version_range));
            let dependencies = f.at("dependencies").list(Dependency::from_fields);
            Some(Chart {
                name: name?,
                version: version?,
                app_version: app_version?,
                description: description?,
                kind: kind?,
                kube_version: kube_version?,
                dependencies: dependencies?,
            })
        })
    }
}

impl Dependency {
    fn from_fields(f: &Fields) -> Option<Dependency> {
        let name = f.at("name").parsed(chart_name);
        let version = f.at("version").or(String::new(), |range| range.parsed(version_range));
        let repository = f.at("repository").maybe(|repository| {
            repository.parsed(|text| {
                let known = ["https://", "http://", "oci://", "file://", "@", "alias:"];
                match text.is_empty() || known.iter().any(|start| text.starts_with(start)) {
                    true => Ok(text.to_string()),
                    false => Err(format!("\"{text}\" starts with none of {}", known.join(", "))),
                }
            })
        });
        let (condition, alias) = (f.at("condition").maybe(Fields::text), f.at("alias").maybe(chart_alias));
        Some(Dependency {
            name: name?,
            version: version?,
            repository: repository?,
            condition: condition?,
            alias: alias?,
        })
    }
}

fn chart_alias(f: &Fields) -> Option<String> {
    f.parsed(chart_name)
}

fn chart_name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=250).contains(&text.len()) && text.bytes().all(inner) {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a chart's name: a-z, 0-9 and -")),
    }
}

/// `>=1.32.0-0 <2.0.0 || ^3.1`: comparisons, parted by blanks or commas, or by `||`; `1.x`, `1.2 - 1.4` and `*` too.
fn version_range(text: &str) -> Result<String, String> {
    let number = |text: &str| {
        let plain = text.trim_start_matches('v');
        let core = plain.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<&str> = core.split('.').collect();
        parts.len() <= 3 && parts.iter().all(|part| matches!(*part, "x" | "X" | "*") || part.parse::<u64>().is_ok())
    };
    let signs = |c: char| matches!(c, '<' | '>' | '=' | '!' | '~' | '^');
    let sound = text.split("||").all(|all| {
        // A sign may stand apart from its number.
        let words: Vec<&str> = all.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let word = |word: &&str| *word == "-" || word.chars().all(signs) || number(word.trim_start_matches(signs));
        words.iter().any(|word| word.chars().any(|c| c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*')))
            && words.iter().all(word)
    });
    match sound {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a range of versions such as >=1.32.0-0 or ^1.2.0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chart(more: Value) -> Result<Chart, Vec<String>> {
        let mut object = json!({"apiVersion": "v2", "name": "todo-chatbot", "version": "0.1.0"});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Chart::from_object(&object)
    }

    #[test]
    fn the_specs_charts_are_read() {
        let read = chart(json!({
            "appVersion": "2.0.0", "type": "application", "kubeVersion": ">=1.32.0-0",
            "description": "Todo Chatbot application with Next.js frontend and FastAPI backend",
            "dependencies": [{"name": "library", "version": "0.1.0", "repository": "file://../library"}],
        }))
        .unwrap();
        assert_eq!((read.version.to_string().as_str(), read.app_version.as_deref()), ("0.1.0", Some("2.0.0")));
        assert_eq!((read.kind, read.dependencies.len()), (ChartType::Application, 1));
        let read =
            chart(json!({"name": "ai-todo-backend", "version": "1.0.0", "appVersion": "latest", "dependencies": []}))
                .unwrap();
        assert_eq!(read.app_version.as_deref(), Some("latest"));
    }

    #[test]
    fn illegal_charts_are_refused() {
        for (wrong, describe) in [
            (json!({"apiVersion": "v1"}), "apiVersion: \"v1\" is none of v2"),
            (json!({"name": "Todo"}), "name: \"Todo\" is not a chart's name"),
            (json!({"version": "0.1"}), "version: \"0.1\" is not a version MAJOR.MINOR.PATCH"),
            (json!({"version": 0.1}), "version: a number instead of a text"),
            (json!({"appVersion": 2}), "appVersion: a number instead of a text"),
            (json!({"type": "app"}), "type: \"app\" is none of application, library"),
            (json!({"kubeVersion": "new"}), "kubeVersion: \"new\" is not a range of versions"),
            (
                json!({"dependencies": [{"name": "a", "repository": "../a"}]}),
                "dependencies[0].repository: \"../a\" starts with none",
            ),
        ] {
            let found = chart(wrong).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(describe), "{found:?}");
        }
        assert_eq!(Chart::from_object(&json!({})).unwrap_err().len(), 3);
    }

    #[test]
    fn ranges_differ_from_other_texts() {
        for text in [">=1.32.0-0", ">= 1.2, < 2", "^1.2.0", "~1", "1.x", "*", "1.2 - 1.4", ">=1.0.0 <2.0.0 || ^3.1"] {
            assert!(version_range(text).is_ok(), "{text}");
        }
        for text in ["", "||", ">=", "latest", "1.2.3.4", "1.a"] {
            assert!(version_range(text).is_err(), "{text}");
        }
    }
}
