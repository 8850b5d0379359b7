//! The software bill of materials of an image, in CycloneDX's JSON format.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rules::{ImageFacts, Package};

/// The crates that the image's programs say, and its Debian packages. The same image has the same text: it holds neither a
/// time nor a random number.
pub fn cyclonedx(image: &ImageFacts) -> Value {
    let (name, version) = image.reference.rsplit_once(':').unwrap_or((&image.reference, ""));
    let mut components = Vec::new();
    if let Some(codename) = &image.codename {
        components
            .push(json!({ "type": "operating-system", "bom-ref": codename, "name": "debian", "version": codename }));
    }
    components.extend(crates(image));
    let distro = image.codename.as_ref().map_or(String::new(), |codename| format!("?distro={}", encode(codename)));
    components.extend(image.packages.iter().map(|package| {
        let purl = format!("pkg:deb/debian/{}@{}{distro}", encode(&package.name), encode(&package.version));
        json!({ "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl })
    }));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {
            "type": "container", "bom-ref": image.reference, "name": name, "version": version,
            "properties": [{"name": "docker:image:id", "value": image.inspect["Id"]}],
        }},
        "components": components,
    })
}

/// Each crate once, with the programs that it is in.
fn crates(image: &ImageFacts) -> Vec<Value> {
    let mut programs: BTreeMap<&Package, Vec<Value>> = BTreeMap::new();
    for (path, package) in image.crates.iter().flat_map(|(path, all)| all.iter().map(move |package| (path, package))) {
        programs.entry(package).or_default().push(json!({ "location": format!("/{path}") }));
    }
    let component = |(package, occurrences): (&Package, Vec<Value>)| {
        let Package { name, version, is_foreign } = package;
        let purl = format!("pkg:cargo/{}@{}", encode(name), encode(version));
        let mut component = json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version,
            "evidence": {"occurrences": occurrences},
        });
        // The project's own crates are in no registry.
        if *is_foreign {
            component["purl"] = json!(purl);
        }
        component
    };
    programs.into_iter().map(component).collect()
}

/// As a package URL has it.
fn encode(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
    let encoded = text.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entities::dpkg::parse_status;

    fn package(name: &str, version: &str, is_foreign: bool) -> Package {
        Package { name: name.to_string(), version: version.to_string(), is_foreign }
    }

    #[test]
    fn an_image_of_rust_lists_each_crate_once_with_its_programs() {
        let own = package("backend", "0.1.0", false);
        let shared = package("tokio", "1.40.0+x", true);
        let crates =
            BTreeMap::from([("app/a".to_string(), vec![own, shared.clone()]), ("app/b".to_string(), vec![shared])]);
        let inspect = json!({"Id": "sha256:1"});
        let image = ImageFacts { reference: "todo:1.0".to_string(), crates, inspect, ..ImageFacts::default() };
        let made = cyclonedx(&image);
        assert_eq!((&made["bomFormat"], &made["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
        let about = &made["metadata"]["component"];
        assert_eq!((&about["name"], &about["version"]), (&json!("todo"), &json!("1.0")));
        assert_eq!(about["properties"][0]["value"], "sha256:1");
        let [own, tokio] = made["components"].as_array().unwrap().as_slice() else { panic!("{made}") };
        assert_eq!((&own["name"], &own["purl"]), (&json!("backend"), &Value::Null));
        assert_eq!(tokio["purl"], "pkg:cargo/tokio@1.40.0%2Bx");
        assert_eq!(tokio["evidence"]["occurrences"], json!([{"location": "/app/a"}, {"location": "/app/b"}]));
    }

    #[test]
    fn an_image_of_debian_lists_its_packages_and_its_release() {
        let status = "Package: libc6\nStatus: install ok installed\nSource: glibc\nVersion: 1:2.36-9+deb12u10\n";
        let (packages, codename) = (parse_status(status), Some("bookworm".to_string()));
        let made = cyclonedx(&ImageFacts { packages, codename, ..ImageFacts::default() });
        assert_eq!(made["components"][0]["type"], "operating-system");
        let libc = &made["components"][1];
        assert_eq!((&libc["name"], &libc["version"]), (&json!("libc6"), &json!("1:2.36-9+deb12u10")));
        assert_eq!(libc["purl"], "pkg:deb/debian/libc6@1%3A2.36-9%2Bdeb12u10?distro=bookworm");
    }

    #[test]
    fn each_component_has_a_reference_of_its_own() {
        let crates =
            BTreeMap::from([("a".to_string(), vec![package("x", "1.0.0", true), package("x", "2.0.0", true)])]);
        let made = cyclonedx(&ImageFacts { crates, ..ImageFacts::default() });
        let references: Vec<&Value> =
            made["components"].as_array().unwrap().iter().map(|one| &one["bom-ref"]).collect();
        assert_eq!(references, ["pkg:cargo/x@1.0.0", "pkg:cargo/x@2.0.0"]);
    }
}
