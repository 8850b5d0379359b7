//! The Go compiler.

use crate::config::Module;
use crate::run::call::{Call, argv, call};

/// The environment of a build: static binaries for this machine, its own Go, no flags of the caller's, and fewer
/// collections, as memory is there.
pub const ENVIRONMENT: [(&str, &str); 7] = [
    ("CGO_ENABLED", "0"),
    ("GOARCH", ""),
    ("GOFLAGS", ""),
    ("GOGC", "800"),
    ("GOOS", ""),
    ("GOTOOLCHAIN", "local"),
    ("GOWORK", "off"),
];

/// Builds a module's packages into `out`, a folder; run in the module's folder. Debug information is left out while
/// compiling, not only while linking: that alone saves an eighth of the time.
pub fn build(module: &Module, out: &str) -> Call {
    let variables: Vec<String> = module.variables.iter().map(|(name, value)| format!("-X {name}={value}")).collect();
    let link = format!("-s -w {}", variables.join(" "));
    let link = link.trim_end();
    let packages = &module.packages;
    let out = format!("{}/", out.trim_end_matches('/'));
    call(argv!(
        "go build -v -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags {link} -o {out} {packages...}"
    ))
}

/// Runs the tests of a module; run in its folder.
pub fn test() -> Call {
    call(argv!("go test -count=1 ./..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_reach_the_linker() {
        let module = Module {
            packages: vec!["example.org/cmd/tool".to_string()],
            variables: [("a/b.version".to_string(), "v1".to_string())].into(),
            rename: Default::default(),
        };
        let argv = build(&module, "out").argv;
        assert_eq!(argv[..2], ["go", "build"]);
        assert!(argv.contains(&"-s -w -X a/b.version=v1".to_string()), "{argv:?}");
        assert_eq!(argv[argv.len() - 3..], ["-o", "out/", "example.org/cmd/tool"]);
    }
}
