//! The Go compiler.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run::call::{Call, argv, call};
use crate::run::process::Spawn;

/// The environment of a build: static binaries for this machine, its own Go, no flags of the caller's, and fewer
/// collections, as memory is there.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("CGO_ENABLED", "0"),
    ("GOARCH", ""),
    ("GOFLAGS", ""),
    ("GOGC", "800"),
    ("GOOS", ""),
    ("GOTOOLCHAIN", "local"),
    ("GOWORK", "off"),
];

/// What runs Go with that environment.
pub fn with_environment(spawn: &Spawn) -> Spawn {
    let mut spawn = spawn.clone();
    spawn.env.extend(ENVIRONMENT.map(|(name, value)| (name.to_string(), value.to_string())));
    spawn
}

/// Builds packages into `out`, a folder, and has the linker set variables; run in the module's folder. Debug information is left out while
/// compiling, not only while linking: that alone saves an eighth of the time.
pub fn build(packages: &[&String], variables: &BTreeMap<String, String>, out: &str) -> Call {
    let variables: Vec<String> = variables.iter().map(|(name, value)| format!("-X {name}={value}")).collect();
    let link = format!("-s -w {}", variables.join(" "));
    let link = link.trim_end();
    let out = format!("{}/", out.trim_end_matches('/'));
    call(argv!(
        "go build -v -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags {link} -o {out} {packages...}"
    ))
}

/// How many packages a build of these compiles where nothing is kept yet; run in the module's folder. Sources that are not
/// there are downloaded.
pub fn count_packages(packages: &[&String]) -> Call<usize> {
    call(argv!("go list -deps {packages...}")).parse(|text| text.lines().count())
}

/// Whether a line of a build names a package that is being compiled. The others tell of downloads and mistakes.
pub fn is_package(line: &str) -> bool {
    !line.starts_with("go: ") && !line.starts_with('#') && !line.contains(' ')
}

/// The name that Go gives to what it builds of a package: its last word, or the one before a major version. `.` is named
/// as the module.
pub fn binary_of(package: &str, module: &str) -> String {
    let is_major = |word: &&str| {
        word.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match package.rsplit('/').find(|word| !is_major(word)) {
        Some(".") | None => module.to_string(),
        Some(word) => word.to_string(),
    }
}

/// The folder with the sources of a module, which are downloaded where they are not there. Run in the folder of another, or with
/// `@VERSION` behind its name anywhere.
pub fn download(module: &str) -> Call<PathBuf> {
    call(argv!("go mod download -json {module}")).try_parse(|text| parse_download(&text))
}

fn parse_download(stdout: &str) -> Result<PathBuf> {
    let about: Value = serde_json::from_str(stdout)?;
    Ok(about["Dir"].as_str().context("go names no folder of a module")?.into())
}

/// Runs the tests of a module; run in its folder. Compiled as for a build, what both need is compiled once.
pub fn test() -> Call {
    call(argv!("go test -count=1 -trimpath -buildvcs=false -gcflags=all=-dwarf=false ./..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_reach_the_linker() {
        let variables = [("a/b.version".to_string(), "v1".to_string())].into();
        let argv = build(&[&"example.org/cmd/tool".to_string()], &variables, "out").argv;
        assert_eq!(argv[..2], ["go", "build"]);
        assert!(argv.contains(&"-s -w -X a/b.version=v1".to_string()), "{argv:?}");
        assert_eq!(argv[argv.len() - 3..], ["-o", "out/", "example.org/cmd/tool"]);
    }

    #[test]
    fn the_sources_of_a_module_are_where_go_says() {
        assert_eq!(parse_download(r#"{"Path": "a/b", "Dir": "/mod/a/b@v1"}"#).unwrap(), PathBuf::from("/mod/a/b@v1"));
        assert!(parse_download(r#"{"Path": "a/b"}"#).is_err() && parse_download("").is_err());
    }

    #[test]
    fn programs_are_named_as_go_names_them() {
        for (package, name) in [
            ("k8s.io/minikube/cmd/minikube", "minikube"),
            ("go.etcd.io/etcd/server/v3", "server"),
            ("./coredns", "coredns"),
            (".", "own"),
            ("example.org/very", "very"),
        ] {
            assert_eq!(binary_of(package, "own"), name);
        }
    }

    #[test]
    fn only_packages_are_counted() {
        assert!(is_package("k8s.io/api/core/v1"));
        for other in ["go: downloading k8s.io/api v0.33.1", "# k8s.io/api", "main.go:3:4: no such name"] {
            assert!(!is_package(other), "{other}");
        }
    }
}
