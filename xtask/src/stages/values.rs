//! The values of a chart with their places, and which of them its schema refuses.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::{ConfigError, ConfigErrors, Node, Place, Value, merge, yaml};
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::tools::helm::{SchemaError, parse_schema_errors};

/// The chart that all others include; it lies beside them.
pub const LIBRARY: &str = "library";

/// The files that the values of a release come from.
pub struct Sources {
    pub chart: PathBuf,
    pub values: Vec<PathBuf>,
    pub overrides: Option<Node>,
}

/// A chart's values as helm sees them: the library's under `library`, the chart's own over them, the profile's over both.
pub fn values_tree(project: &Project, chart: &Path, files: &[PathBuf]) -> Result<Node> {
    let read = |file: &Path| -> Result<Node> {
        let text = std::fs::read_to_string(project.root.join(file)).unwrap_or_default();
        Ok(yaml::parse_one(&file.display().to_string(), &text).map_err(|problem| Stop::usage(problem.to_string()))?)
    };
    let library = read(&chart.with_file_name(LIBRARY).join("values.yaml"))?;
    let place = library.place.clone();
    let mut all = Node { place, value: Value::Table([(LIBRARY.to_string(), library)].into()) };
    for file in std::iter::once(&chart.join("values.yaml")).chain(files) {
        all = merge(all, read(file)?);
    }
    Ok(all)
}

/// The values that a chart's schema refuses, by what helm printed, each with its place; None where helm failed otherwise.
pub fn explain_schema(project: &Project, sources: &Sources, printed: &str) -> Result<Option<ConfigErrors>> {
    let errors = parse_schema_errors(printed);
    if errors.is_empty() {
        return Ok(None);
    }
    let tree = values_tree(project, &sources.chart, &sources.values)?;
    let tree = sources.overrides.clone().into_iter().fold(tree, merge);
    Ok(Some(ConfigErrors(errors.iter().map(|error| explain(&tree, error)).collect())))
}

fn explain(tree: &Node, error: &SchemaError) -> ConfigError {
    let SchemaError { path, message } = error;
    let quoted = |text: &str| text.split('\'').nth(1).map(str::to_string);
    let between = |start: &str, end: &str| Some(message.split_once(start)?.1.split_once(end)?.0.to_string());
    let unknown = match message {
        new if new.starts_with("additional properties") => quoted(new),
        _ => between("Additional property ", " is not allowed"),
    };
    if let Some(key) = unknown {
        let path: Vec<String> = path.iter().cloned().chain([key]).collect();
        let message = format!("{} is no value of the chart", path.join("."));
        return ConfigError { place: place_of(tree, &path), message };
    }
    let kinds = between("got ", ", want ").zip(message.split_once(", want ").map(|(_, want)| want.to_string()));
    let older = between("Expected: ", ", given: ").zip(message.split_once(", given: ").map(|(_, got)| got.to_string()));
    let name = path.join(".");
    let message = match kinds.or(older.map(|(want, got)| (got, want))) {
        Some((got, want)) => {
            let quotes = want == "string" && ["number", "integer", "boolean"].contains(&got.as_str());
            let hint = if quotes { ": put it in quotes" } else { "" };
            format!("{name} must be {}, and is {}{hint}", kind(&want), kind(&got))
        }
        None => format!("{name}: {message}"),
    };
    ConfigError { place: place_of(tree, path), message }
}

/// A JSON type in the words of a YAML file's author.
fn kind(name: &str) -> String {
    match name {
        "object" => "a table".to_string(),
        "array" => "a list".to_string(),
        "integer" => "an integer".to_string(),
        "null" => "null".to_string(),
        other => format!("a {other}"),
    }
}

/// The place of a value, or of the nearest table that is there.
fn place_of(tree: &Node, path: &[String]) -> Place {
    let mut node = tree;
    for part in path {
        let inner = match &node.value {
            Value::Table(entries) => entries.get(part),
            Value::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
            _ => None,
        };
        let Some(inner) = inner else { break };
        node = inner;
    }
    node.place.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_named_with_its_line_and_what_it_must_be() {
        let tree = yaml::parse_one("v.yaml", "web:\n  env:\n    A: 5\n  list:\n  - 1\n  more: 1\n").unwrap();
        let explained = |path: &[&str], message: &str| {
            let path = path.iter().map(|part| part.to_string()).collect();
            let ConfigError { place, message } = explain(&tree, &SchemaError { path, message: message.to_string() });
            format!("{place}: {message}")
        };
        for (path, message, expected) in [
            (
                &["web", "env", "A"][..],
                "got number, want string",
                "v.yaml:3:5: web.env.A must be a string, and is a number: put it in quotes",
            ),
            (
                &["web", "env", "A"],
                "Invalid type. Expected: string, given: integer",
                "v.yaml:3:5: web.env.A must be a string, and is an integer: put it in quotes",
            ),
            (&["web"], "additional properties 'more' not allowed", "v.yaml:6:3: web.more is no value of the chart"),
            (&["web"], "Additional property more is not allowed", "v.yaml:6:3: web.more is no value of the chart"),
            (&["web", "list"], "got array, want object", "v.yaml:4:3: web.list must be a table, and is a list"),
            (&["web", "gone"], "maximum: got 9, want 5", "v.yaml:1:1: web.gone: maximum: got 9, want 5"),
        ] {
            let text = explained(path, message);
            assert!(text == expected || message.starts_with("maximum"), "{text}");
        }
    }
}
