//! Registries of images, which docker asks with the credentials that it has.

use std::collections::BTreeMap;

use crate::run::call::{Call, argv, call};

/// `registry.example.org:5000` of a registry with a path.
pub fn host(registry: &str) -> &str {
    registry.split('/').next().unwrap_or(registry)
}

/// Where docker looks for who vouches for a registry's host.
pub fn authority_file(host: &str) -> String {
    format!("/etc/docker/certs.d/{host}/ca.crt")
}

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

/// Asks to begin an upload, as a push does. Returns what the registry says: docker shows nothing of an answer with status 500. A
/// password goes over stdin, in base64 as docker keeps it.
pub fn ask_for_upload(registry: &str, image: &str, auth: Option<&str>, authority: Option<&str>) -> Call {
    let (host, path) = registry.split_once('/').map_or((registry, ""), |(host, path)| (host, path));
    let name = [path, image].join("/");
    let url = format!("https://{host}/v2/{}/blobs/uploads/", name.trim_start_matches('/'));
    let trust: Vec<&str> = authority.map(|file| vec!["--cacert", file]).unwrap_or_default();
    let header = auth.map_or(String::new(), |auth| format!("header = \"Authorization: Basic {auth}\"\n"));
    call(argv!("curl --silent --max-time 10 {trust...} --request POST --config - {url}")).stdin(header).confidential()
}

/// How far a push is, by what docker prints of each layer. To what is no terminal it prints no bytes.
#[derive(Default)]
pub struct Progress(BTreeMap<String, String>);

impl Progress {
    /// Takes a line, such as `5f70bf18a086: Retrying in 5 seconds`.
    pub fn read(&mut self, line: &str) {
        let Some((layer, state)) = line.split_once(": ") else { return };
        if layer.len() == LAYER_DIGITS && layer.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.0.insert(layer.to_string(), state.to_string());
        }
    }

    /// As in `1 of 3 layers pushed; docker retries: Retrying in 5 seconds`; None before docker named a layer.
    pub fn text(&self) -> Option<String> {
        let is_pushed = |state: &&String| THERE.iter().any(|word| state.starts_with(word));
        let (pushed, all) = (self.0.values().filter(is_pushed).count(), self.0.len());
        let text = format!("{pushed} of {all} {} pushed", if all == 1 { "layer" } else { "layers" });
        let retried = self.0.values().find(|state| state.starts_with("Retrying"));
        let text = retried.map_or(text.clone(), |state| format!("{text}; docker retries: {state}"));
        (all > 0).then_some(text)
    }
}

/// How many digits of a layer's ID docker prints.
const LAYER_DIGITS: usize = 12;
/// What docker prints of a layer that the registry has.
const THERE: [&str; 3] = ["Pushed", "Layer already exists", "Mounted from"];

/// Why a registry took or gave nothing, as far as what docker or helm printed says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// There is no room, or a quota is used up.
    Full,
    Credentials,
    /// The certificate is of no authority that is trusted.
    Certificate,
    ReadOnly,
    /// The registry itself failed. Docker does not show what such an answer says: distribution answers so when its disk is full.
    Broken,
    Other,
}

/// Reads a refusal. A number is looked for with the words around it, as addresses and digests hold any number. 28 is what Linux
/// calls a disk without room, and all that distribution says of it.
pub fn refusal(printed: &str) -> Refusal {
    let lower = printed.to_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if about(&["no space", "\"err\":28", "insufficient storage", "quota", "configured upper limit"]) {
        Refusal::Full
    } else if about(&["no basic auth", "unauthorized", "authentication required", "denied"]) {
        Refusal::Credentials
    } else if about(&["x509", "certificate"]) {
        Refusal::Certificate
    } else if about(&["read-only", "readonly", "unsupported", "405 method not allowed", "status code 405", "http 405"])
    {
        Refusal::ReadOnly
    } else if about(&["500 internal server error", "status code 500"]) {
        Refusal::Broken
    } else {
        Refusal::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_as_far_as_the_layers_that_the_registry_has() {
        let mut progress = Progress::default();
        assert_eq!(progress.text(), None);
        let lines = "The push refers to repository [a.b:5000/web]\n5f70bf18a086: Preparing\na3ed95caeb02: Waiting\n0.1.0: digest: sha256:1";
        lines.lines().for_each(|line| progress.read(line));
        assert_eq!(progress.text().unwrap(), "0 of 2 layers pushed");
        progress.read("5f70bf18a086: Layer already exists");
        progress.read("a3ed95caeb02: Retrying in 5 seconds");
        assert_eq!(progress.text().unwrap(), "1 of 2 layers pushed; docker retries: Retrying in 5 seconds");
        progress.read("a3ed95caeb02: Pushed");
        assert_eq!(progress.text().unwrap(), "2 of 2 layers pushed");
    }

    #[test]
    fn an_upload_is_asked_for_where_a_push_would_with_the_password_in_no_argument() {
        let call = ask_for_upload("a.b:5000/todo", "web", Some("QQ=="), Some("/ca.crt"));
        let url = "https://a.b:5000/v2/todo/web/blobs/uploads/";
        assert_eq!(
            call.text(),
            format!("curl --silent --max-time 10 --cacert /ca.crt --request POST --config - {url}")
        );
        assert_eq!(call.stdin.unwrap(), b"header = \"Authorization: Basic QQ==\"\n");
        assert!(ask_for_upload("a.b", "web", None, None).text().ends_with("https://a.b/v2/web/blobs/uploads/"));
    }

    #[test]
    fn a_refusal_is_known_by_words_and_answers_and_by_no_number_of_an_address() {
        for (printed, why) in [
            ("no basic auth credentials", Refusal::Credentials),
            ("denied: requested access to the resource is denied", Refusal::Credentials),
            ("server message: insufficient_scope: authorization failed: unauthorized", Refusal::Credentials),
            ("denied: adding 1.2 MiB will exceed the configured upper limit of 1 GiB", Refusal::Full),
            ("write /var/lib: no space left on device", Refusal::Full),
            (r#"{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Op":"write","Err":28}}}]}"#, Refusal::Full),
            ("received unexpected HTTP status: 507 Insufficient Storage", Refusal::Full),
            ("tls: failed to verify certificate: x509: unknown", Refusal::Certificate),
            ("unsupported: The operation is unsupported.", Refusal::ReadOnly),
            ("error parsing HTTP 405 response body: unexpected end of JSON input", Refusal::ReadOnly),
            ("response status code 405: Method Not Allowed", Refusal::ReadOnly),
            ("received unexpected HTTP status: 500 Internal Server Error", Refusal::Broken),
            ("unexpected status from POST request to https://a.b/v2/: 500 Internal Server Error", Refusal::Broken),
            ("5f4057050700: Pushed\ndial tcp 192.168.49.1:40507: connect: connection refused", Refusal::Other),
        ] {
            assert_eq!(refusal(printed), why, "{printed}");
        }
    }

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
