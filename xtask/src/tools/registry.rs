//! Registries of images, which docker asks with the credentials that it has.

use crate::run::call::{Call, argv, call};

/// The digest that a registry has for an image; fails where it has none, and where it is not allowed to ask.
pub fn digest(reference: &str) -> Call<Option<String>> {
    call(argv!("docker manifest inspect --verbose {reference}")).parse(|text| parse_digest(&text))
}

/// The digest in what `digest` printed; None of an image of several platforms, each of which has its own.
fn parse_digest(stdout: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(stdout).ok()?;
    value["Descriptor"]["digest"].as_str().map(str::to_string)
}

/// Gives a local image another name.
pub fn tag(image: &str, name: &str) -> Call {
    call(argv!("docker image tag {image} {name}"))
}

/// Takes a name of a local image away; the image stays where it has another.
pub fn untag(name: &str) -> Call {
    call(argv!("docker image rm --no-prune {name}"))
}

/// Pushes what a registry lacks of an image. Returns the digest under which the registry has it.
pub fn push(reference: &str) -> Call<Option<String>> {
    call(argv!("docker image push {reference}")).parse(|text| parse_pushed(&text))
}

/// The digest in the last line that a push prints: `TAG: digest: sha256:… size: 1234`.
fn parse_pushed(stdout: &str) -> Option<String> {
    let (_, rest) = stdout.rsplit_once(": digest: ")?;
    let digest = rest.split_whitespace().next()?;
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_push_is_in_its_last_line() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let printed =
            format!("The push refers to repository [a.b/web]\n5f70: Pushed\n0.1.0: digest: {digest} size: 1234\n");
        assert_eq!(parse_pushed(&printed), Some(digest));
        assert_eq!(parse_pushed("5f70: Pushed\n0.1.0: digest: sha256:12 size: 1"), None);
        assert_eq!(parse_pushed("5f70: Layer already exists"), None);
    }

    #[test]
    fn the_digest_that_a_registry_has_is_that_of_one_image() {
        assert_eq!(parse_digest(r#"{"Descriptor":{"digest":"sha256:1"}}"#).as_deref(), Some("sha256:1"));
        // Of several platforms each has its own.
        assert_eq!(parse_digest(r#"[{"Descriptor":{"digest":"sha256:1"}}]"#), None);
    }
}
