//! What a target's cluster is known by: who vouches for its API server, and the UID that it was given when it was made.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As `target add` noted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The SHA-256 of the certificate of the authority that the kubeconfig trusts, in hex.
    pub authority: String,
    /// The UID of the namespace kube-system; None where it could not be read, as with rights to one namespace only.
    pub uid: Option<String>,
}

/// Where a context of a kubeconfig leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub server: String,
    pub authority: Authority,
}

/// Who vouches for the server, as the kubeconfig has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A certificate in PEM, in base64.
    Data(String),
    /// The path of one, relative to the kubeconfig.
    File(String),
}

/// Where a context leads; otherwise what is wrong with it, in words that follow its name.
pub fn way(kubeconfig: &Value, context: &str) -> Result<Way, String> {
    let entry = |list: &str, name: &str| kubeconfig[list].as_array()?.iter().find(|one| one["name"] == name);
    let Some(found) = entry("contexts", context) else { return Err("is not there".to_string()) };
    let name = found["context"]["cluster"].as_str().unwrap_or_default();
    let Some(cluster) = entry("clusters", name) else {
        return Err(format!("names a cluster {name}, which is not there"));
    };
    let cluster = &cluster["cluster"];
    let server = cluster["server"].as_str().unwrap_or_default().to_string();
    if !server.starts_with("https://") {
        return Err(format!("leads to {server}, where anybody could answer: it must be https"));
    }
    if cluster["insecure-skip-tls-verify"] == true {
        return Err("has insecure-skip-tls-verify, with which another server could answer".to_string());
    }
    let text = |key: &str| cluster[key].as_str().map(str::to_string);
    let data = text("certificate-authority-data").map(Authority::Data);
    match data.or_else(|| text("certificate-authority").map(Authority::File)) {
        Some(authority) => Ok(Way { server, authority }),
        None => Err("names no certificate-authority: one that everybody trusts would vouch for any server".to_string()),
    }
}

/// The SHA-256 of the certificates of a PEM file, in hex; None where there is none in it.
pub fn fingerprint(pem: &str) -> Option<String> {
    let mut hash = hmac_sha256::Hash::new();
    let mut count = 0;
    for certificate in pem.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let body: String = certificate.split("-----END").next()?.split_whitespace().collect();
        hash.update(BASE64_STANDARD.decode(body).ok()?);
        count += 1;
    }
    (count > 0).then(|| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What differs between a pin and what was found; None where nothing does. A UID that can't be read now, or could not be
/// then, tells nothing.
pub fn difference(noted: &Pin, found: &Pin) -> Option<String> {
    let short = |text: &str| text.chars().take(16).collect::<String>();
    if noted.authority != found.authority {
        let (then, now) = (short(&noted.authority), short(&found.authority));
        return Some(format!("another authority vouches for it: {now}…, and {then}… did"));
    }
    match (&noted.uid, &found.uid) {
        (Some(then), Some(now)) if then != now => {
            Some(format!("its namespace kube-system has the UID {now}, and had {then}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    const TEAM: &str = "
clusters:
- {name: c, cluster: {certificate-authority-data: QQ==, server: 'https://k.example.org:6443'}}
contexts:
- {name: team, context: {cluster: c, user: u}}
current-context: other
";

    fn of(text: &str) -> Result<Way, String> {
        way(&yaml::objects(text).unwrap().remove(0), "team")
    }

    #[test]
    fn a_context_leads_to_a_server_and_to_who_vouches_for_it() {
        let authority = Authority::Data("QQ==".to_string());
        assert_eq!(of(TEAM).unwrap(), Way { server: "https://k.example.org:6443".to_string(), authority });
        let file = TEAM.replace("certificate-authority-data: QQ==", "certificate-authority: ca.crt");
        assert_eq!(of(&file).unwrap().authority, Authority::File("ca.crt".to_string()));
    }

    #[test]
    fn a_way_on_which_another_could_answer_is_refused() {
        for (from, to, says) in [
            ("name: team", "name: tame", "is not there"),
            ("cluster: c,", "cluster: d,", "names a cluster d, which is not there"),
            ("https:", "http:", "leads to http://k.example.org:6443, where anybody could answer"),
            ("QQ==,", "QQ==, insecure-skip-tls-verify: true,", "has insecure-skip-tls-verify"),
            ("certificate-authority-data: QQ==, ", "", "names no certificate-authority"),
        ] {
            let said = of(&TEAM.replace(from, to)).unwrap_err();
            assert!(said.starts_with(says), "{to}: {said}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_the_certificate_and_not_of_its_lines() {
        let pem = "-----BEGIN CERTIFICATE-----\nYW\nJj\n-----END CERTIFICATE-----\n";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(pem).as_deref(), Some(abc));
        assert_eq!(fingerprint(&pem.replace("YW\nJj", "YWJj")).as_deref(), Some(abc));
        assert_eq!((fingerprint(""), fingerprint("-----BEGIN CERTIFICATE-----\n?\n-----END")), (None, None));
    }

    #[test]
    fn another_authority_and_another_uid_are_another_cluster() {
        let pin =
            |authority: &str, uid: Option<&str>| Pin { authority: authority.into(), uid: uid.map(str::to_string) };
        let noted = pin("a1", Some("u1"));
        assert_eq!(difference(&noted, &noted), None);
        assert_eq!(difference(&noted, &pin("a1", None)), None);
        assert_eq!(difference(&pin("a1", None), &noted), None);
        let authority = difference(&noted, &pin("a2", Some("u1"))).unwrap();
        assert_eq!(authority, "another authority vouches for it: a2…, and a1… did");
        let uid = difference(&noted, &pin("a1", Some("u2"))).unwrap();
        assert_eq!(uid, "its namespace kube-system has the UID u2, and had u1");
    }
}
