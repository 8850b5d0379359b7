//! Kubeconform.

use serde::Deserialize;
use xtask::run::call::{Call, argv, call};

/// The name of a schema's file, as the template below has kubeconform look for it.
pub fn file_name(api_version: &str, kind: &str) -> String {
    let group = api_version.split('/').next().unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    format!("{group}-{version}-{}.json", kind.to_lowercase())
}

/// Validates the manifests on stdin against the schemas of a folder: no field that they don't know, no key twice.
pub fn validate(kubeconform: &str, schemas: &str) -> Call {
    let location = format!("{schemas}/{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}-{{{{.ResourceKind}}}}.json");
    call(argv!("{kubeconform} -strict -output json -schema-location {location}"))
}

/// What is wrong, each with the object, `kind/name`.
pub fn parse(stdout: &str) -> serde_json::Result<Vec<(String, String)>> {
    let report: Report = serde_json::from_str(stdout)?;
    let describe = |resource: Resource| {
        let object = format!("{}/{}", resource.kind.to_lowercase(), resource.name);
        places(&resource.msg).into_iter().map(|place| (object.clone(), place)).collect::<Vec<_>>()
    };
    Ok(report.resources.unwrap_or_default().into_iter().flat_map(describe).collect())
}

/// The wrong places in a message, which has one behind each ` - at `; what holds others only says that it failed.
fn places(message: &str) -> Vec<String> {
    let places = message.split(" - at ").skip(1).map(str::trim);
    let places: Vec<String> =
        places.filter(|place| !place.ends_with(": validation failed")).map(|place| place.replace('\'', "")).collect();
    if places.is_empty() { vec![message.to_string()] } else { places }
}

#[derive(Deserialize)]
struct Report {
    /// Those that are not valid; others are not printed without `-verbose`.
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Resource {
    kind: String,
    name: String,
    msg: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_named_as_they_are_looked_for() {
        assert_eq!(file_name("v1", "Service"), "v1-v1-service.json");
        assert_eq!(file_name("networking.k8s.io/v1", "NetworkPolicy"), "networking.k8s.io-v1-networkpolicy.json");
        let text = validate("kubeconform", "/s").argv.join(" ");
        assert!(text.ends_with("/s/{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json"), "{text}");
    }

    #[test]
    fn each_wrong_place_argv() {
        let resource =
            |rest: &str| format!(r#"{{"filename":"stdin","kind":"Service","name":"a","version":"v1",{rest}}}"#);
        let wrong = r#""status":"statusInvalid","msg":"problem validating schema: failed with 'file:///s.json#' - at '': validation failed - at '/spec': validation failed   - at '/spec/ports/0/port': got string, want integer   - at '/spec': additional properties 'prots' not allowed","validationErrors":[{"path":"","msg":"validation failed"}]"#;
        let absent = r#""status":"statusError","msg":"could not find schema for Service""#;
        let text = parse(&format!(r#"{{"resources":[{},{}]}}"#, resource(wrong), resource(absent))).unwrap();
        let expected = [
            "/spec/ports/0/port: got string, want integer",
            "/spec: additional properties prots not allowed",
            "could not find schema for Service",
        ];
        assert_eq!(text, expected.map(|message| ("service/a".to_string(), message.to_string())));
        assert_eq!(parse(r#"{"resources":null}"#).unwrap(), []);
    }
}
