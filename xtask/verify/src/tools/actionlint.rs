//! Actionlint, which knows what GitHub takes as a workflow.

use xtask::run::call::{Call, argv, call};

/// Checks workflows, a line for each mistake. Whether the machine has linters of shell and Python makes no difference.
pub fn check(actionlint: &str, files: &[String]) -> Call {
    call(argv!("{actionlint} -no-color -oneline -shellcheck= -pyflakes= {files...}"))
}

/// The place and the message of a mistake, `FILE:LINE:COLUMN: MESSAGE`.
pub fn parse(line: &str) -> Option<(&str, &str)> {
    line.split_once(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_has_its_place() {
        let line = "a/ci.yml:14:9: unexpected key \"ran\" for \"step\" section: b [syntax-check]";
        assert_eq!(parse(line).unwrap(), ("a/ci.yml:14:9", &line[15..]));
        assert_eq!(parse(""), None);
    }
}
