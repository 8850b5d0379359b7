//! StringMap that stand where a real value belongs.

/// `CHANGE_ME` and its kin, something in angle brackets, or an example with dots at its end. The charts refuse the same,
/// `library.refusePlaceholder`.
pub fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let plain = lower.replace(['-', '_', ' '], "");
    plain.contains("changeme")
        || plain.contains("placeholder")
        || ["your-", "your_", "your "].iter().any(|beginning| lower.starts_with(beginning))
        || (lower.starts_with('<') && lower.ends_with('>'))
        || lower.ends_with("...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known_and_real_values_pass() {
        for text in [
            "CHANGE_ME",
            "change-me",
            "postgres://u:CHANGE_ME@db/x",
            "<your key>",
            "your-secret-here",
            "sk-...",
            "a placeholder",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["", "postgres://todo:9f3a@postgres:5432/todo", "sk-live", "8d1f", "todo"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
