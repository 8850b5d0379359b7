//! The project's own pod-security, which asks the API server's admission code.

use serde::Deserialize;
use xtask::run::call::{Call, call};

/// Checks the JSON list of objects on stdin.
pub fn check(pod_security: &str) -> Call {
    call(vec![pod_security.to_string()])
}

/// What breaks the restricted level, each with the object, `kind/name`.
pub fn parse(stdout: &str) -> serde_json::Result<Vec<(String, String)>> {
    let describe = |violation: Violation| {
        let (kind, name) = violation.object.split_once('/').unwrap_or_default();
        (format!("{}/{name}", kind.to_lowercase()), format!("{}: {}", violation.reason, violation.detail))
    };
    stdout.lines().map(|line| serde_json::from_str(line).map(describe)).collect()
}

#[derive(Deserialize)]
struct Violation {
    object: String,
    reason: String,
    detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_violation() {
        let line = r#"{"object":"Job/x","reason":"runAsNonRoot != true","detail":"pod must set it"}"#;
        let message = ("job/x".to_string(), "runAsNonRoot != true: pod must set it".to_string());
        assert_eq!(parse(&format!("{line}\n")).unwrap(), [message]);
        assert_eq!(parse("").unwrap(), []);
    }
}
