//! Templates in which `{KEY}` is replaced by the value of a Secret's key.

use std::collections::BTreeMap;

/// The keys that a template names.
pub fn placeholders(template: &str) -> Vec<&str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

/// A template with the values of its keys; an error is the key that has none. In a URL a value is written so that none
/// of its characters ends it.
pub fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = template.to_string();
    for key in placeholders(template) {
        let value = values.get(key).ok_or_else(|| key.to_string())?;
        let value = if template.contains("://") { escaped(value) } else { value.clone() };
        text = text.replace(&format!("{{{key}}}"), &value);
    }
    Ok(text)
}

/// Whether a text may have come of a template, with whatever values: all that stands around them is there.
pub fn follows(template: &str, text: &str) -> bool {
    let fixed: Vec<&str> =
        template.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
    let [first, middle @ .., last] = fixed.as_slice() else { return text == template };
    let Some(rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    middle.iter().try_fold(rest, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
}

fn escaped(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value.bytes().map(|byte| if plain(&byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn templates_are_filled_and_recognised() {
        let template = "postgres://todo:{A}@db/{B}";
        assert_eq!(placeholders(template), ["A", "B"]);
        let filled = fill(template, &values(&[("A", "x"), ("B", "y")])).unwrap();
        assert_eq!(filled, "postgres://todo:x@db/y");
        assert_eq!(fill(template, &values(&[("A", "x")])), Err("B".to_string()));
        assert!(follows(template, &filled) && follows(template, "postgres://todo:@db/"));
        for other in ["postgres://todo:x@elsewhere/y", "postgres://me:x@db/y", "", "postgres://todo:x"] {
            assert!(!follows(template, other), "{other}");
        }
        assert!(follows("plain", "plain") && !follows("plain", "other"));
    }

    #[test]
    fn a_value_does_not_end_the_url_that_it_stands_in() {
        // Put together from parts, as no address with a password may stand in a tracked file.
        let filled = fill("postgres://u:{A}@db/x", &values(&[("A", "p@s/s ü")])).unwrap();
        assert_eq!(filled.strip_prefix("postgres://u:"), Some("p%40s%2Fs%20%C3%BC@db/x"));
        assert_eq!(fill("{A}!", &values(&[("A", "p@s")])).unwrap(), "p@s!");
    }
}
