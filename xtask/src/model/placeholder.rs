//! Texts that stand where a real value belongs.

/// `CHANGE_ME` and its kin, or something in angle brackets.
pub fn is_placeholder(text: &str) -> bool {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let known = ["changeme", "replaceme", "placeholder", "yoursecret", "yourapikey", "todo", "xxx"];
    plain.contains("changeme") || known.contains(&plain.as_str()) || (text.starts_with('<') && text.ends_with('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known_and_real_values_pass() {
        for text in ["CHANGE_ME", "change-me", "postgres://u:CHANGE_ME@db/x", "<your key>", "REPLACE_ME"] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["", "postgres://todo:9f3a@postgres:5432/todo", "sk-live", "8d1f", "xxxy"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
