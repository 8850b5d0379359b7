//! The pipelines for GitHub and GitLab: that what they type is what the tool takes, and what they name is there.

use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::Value;
use xtask::cli::Cli;
use xtask::config::yaml;

use super::{read, root};

const PIPELINES: [&str; 4] =
    [".github/workflows/ci.yml", ".github/workflows/xtask.yml", ".gitlab-ci.yml", ".gitlab/xtask.yml"];

fn pipeline(file: &str) -> Value {
    yaml::objects(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}")).remove(0)
}

/// All that a key has, wherever it lies.
fn values<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(entries) => entries.values().collect(),
        _ => Vec::new(),
    };
    value.get(key).into_iter().chain(below.into_iter().flat_map(|value| values(value, key))).collect()
}

/// The lines of shell in a pipeline.
fn scripts(pipeline: &Value) -> Vec<String> {
    let keys = ["run", "before_script", "script", "after_script"];
    let found = keys.iter().flat_map(|key| values(pipeline, key));
    let lists = found.flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
    let texts: Vec<String> = lists.filter_map(|value| value.as_str().map(|text| text.replace("\\\n", " "))).collect();
    texts.iter().flat_map(|text| text.lines()).map(str::to_string).collect()
}

/// The arguments of the tool in a line of shell, a variable as itself; up to where the command ends.
fn arguments(line: &str) -> Option<Vec<String>> {
    let (_, rest) = line.split_once("cargo xtask ")?;
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for sign in rest.chars() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, ';' | '|' | '&' | '>' | '<' | ')') => break,
            (_, sign) => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    Some(words)
}

/// Why the tool refuses a line.
fn refusal(line: &str) -> Option<String> {
    let words = arguments(line)?;
    Cli::try_parse_from(["cargo xtask".to_string()].into_iter().chain(words)).err().map(|error| error.to_string())
}

/// Whether a pattern of an action names a file, `**` as any folders, under a folder.
fn names_a_file(folder: &Path, pattern: &[&str]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return folder.is_file() };
    let names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    if *first == "**" {
        let is_last = rest.is_empty();
        return is_last && names.iter().any(|name| folder.join(name).is_file())
            || !is_last && names_a_file(folder, rest)
            || names.iter().any(|name| folder.join(name).is_dir() && names_a_file(&folder.join(name), pattern));
    }
    let (begins, ends) = first.split_once('*').unwrap_or((first, ""));
    let fits = |name: &str| match first.contains('*') {
        true => name.len() >= begins.len() + ends.len() && name.starts_with(begins) && name.ends_with(ends),
        false => name == *first,
    };
    names.iter().any(|name| fits(name) && names_a_file(&folder.join(name), rest))
}

/// The patterns of files that keys of caches are made of.
fn key_files(pipeline: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in values(pipeline, "key") {
        if let Some(text) = key.as_str() {
            let calls = text.split("hashFiles(").skip(1).map(|call| call.split(')').next().unwrap_or_default());
            found.extend(calls.flat_map(|call| call.split(',')).map(|file| file.trim().trim_matches('\'').to_string()));
        }
        let files = key["files"].as_array().into_iter().flatten();
        found.extend(files.filter_map(|file| file.as_str().map(str::to_string)));
    }
    found
}

#[test]
fn the_tool_takes_every_command_of_the_pipelines() {
    for (file, at_least) in PIPELINES.iter().zip([0, 5, 0, 5]) {
        let lines = scripts(&pipeline(file));
        let refused: Vec<String> =
            lines.iter().filter_map(|line| Some(format!("{file}: {line}\n{}", refusal(line)?))).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        let commands = lines.iter().filter(|line| arguments(line).is_some()).count();
        assert!(commands >= at_least, "{file} has {commands} commands of the tool");
    }
}

#[test]
fn a_command_that_the_tool_does_not_take_is_found() {
    assert_eq!(refusal("mkdir a && cargo xtask up --target \"$TARGET\" --yes >log; rm --no-such a"), None);
    assert_eq!(refusal("cargo build --no-such"), None);
    assert!(refusal("if a; then cargo xtask test --jnuit 'a b'; fi").unwrap().contains("--jnuit"));
    assert!(refusal("cargo xtask bring-up").is_some());
    assert_eq!(arguments("cargo xtask a 'b c' \"\" d|e").unwrap(), ["a", "b c", "", "d"]);
}

/// An expression in a script would put the text of an input among the commands.
#[test]
fn scripts_take_inputs_from_their_environment_alone() {
    for file in PIPELINES {
        let found: Vec<String> = scripts(&pipeline(file)).into_iter().filter(|line| line.contains("${{")).collect();
        assert!(found.is_empty(), "{file}: {found:?}");
    }
}

#[test]
fn keys_of_caches_are_made_of_files_that_are_there() {
    for (file, count) in [(".github/workflows/xtask.yml", 10), (".gitlab/xtask.yml", 2)] {
        let patterns = key_files(&pipeline(file));
        assert_eq!(patterns.len(), count, "{file}: {patterns:?}");
        for pattern in patterns {
            assert!(names_a_file(&root(), &pattern.split('/').collect::<Vec<_>>()), "{file}: {pattern} names no file");
        }
    }
    for (pattern, expected) in [("xtask/*/run/*.rs", true), ("**/run/ui/mod.rs", true), ("xtask/src/run/**", true)]
        .into_iter()
        .chain([("xtask", false), ("**/no-such.lock", false), ("k8s/*/no-such", false), ("Cargo.loc", false)])
    {
        assert_eq!(names_a_file(&root(), &pattern.split('/').collect::<Vec<_>>()), expected, "{pattern}");
    }
}

#[test]
fn both_pipelines_know_the_folder_of_the_tool() {
    let config = read("xtask.toml");
    let project = config.lines().find_map(|line| line.strip_prefix("project = ")).unwrap().trim_matches('"');
    assert!(!config.lines().any(|line| line.starts_with("home = ")), "home is the project's name here");
    assert_eq!(pipeline(".github/workflows/ci.yml")["jobs"]["xtask"]["with"]["home"], project);
    assert_eq!(pipeline(".gitlab-ci.yml")["variables"]["XTASK_HOME"], project);
}
