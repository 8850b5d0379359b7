//! Docker's credential helpers, which keep passwords of registries outside of docker's own file.

use serde_json::Value;

use crate::run::call::{Call, argv, call};

/// User and password that a helper, such as `pass` or `desktop`, has for a registry; fails where it has none.
pub fn get(helper: &str, registry: &str) -> Call<Option<(String, String)>> {
    let program = format!("docker-credential-{helper}");
    call(argv!("{program} get")).stdin(registry).parse(|text| parse(&text)).confidential()
}

fn parse(stdout: &str) -> Option<(String, String)> {
    let value: Value = serde_json::from_str(stdout).ok()?;
    let text = |key: &str| value[key].as_str().map(str::to_string);
    Some((text("Username")?, text("Secret")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_read() {
        let printed = r#"{"ServerURL":"a.b","Username":"ada","Secret":"x"}"#;
        assert_eq!(parse(printed), Some(("ada".to_string(), "x".to_string())));
        assert_eq!(parse("credentials not found"), None);
        let call = get("pass", "a.b:5000");
        assert_eq!((call.text().as_str(), call.is_confidential), ("docker-credential-pass get", true));
    }
}
