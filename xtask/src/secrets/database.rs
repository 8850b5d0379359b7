//! A database's address, and a password in the form in which the server takes it without learning it (SCRAM).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac_sha256::{HMAC, Hash};
use serde_json::Value;

/// How often the password is hashed, PostgreSQL's own default.
const ITERATIONS: u32 = 4096;
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The parts of `postgres://ROLE:PASSWORD@HOST[:PORT]/NAME`, as they are written.
#[derive(Clone, PartialEq, Eq)]
pub struct Address<'a> {
    pub role: &'a str,
    pub password: &'a str,
    pub name: &'a str,
}

impl<'a> Address<'a> {
    /// None for what is no such address, or has no user, password or database.
    pub fn parse(text: &'a str) -> Option<Address<'a>> {
        let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme))?;
        let (authority, path) = rest.split_once('/')?;
        let (user, host) = authority.rsplit_once('@')?;
        let (role, password) = user.split_once(':')?;
        let name = path.split('?').next().unwrap_or_default();
        let parts = [role, password, host, name];
        parts.iter().all(|part| !part.is_empty()).then_some(Address { role, password, name })
    }
}

/// What PostgreSQL keeps of a password, RFC 5803: the server can hold a password to it and not get it back. A statement
/// with it may be logged.
pub fn verifier(password: &str, salt: &[u8]) -> String {
    let salted = salted(password, salt);
    let stored = Hash::hash(&HMAC::mac(b"Client Key", salted));
    let server = HMAC::mac(b"Server Key", salted);
    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", encode(salt), encode(&stored), encode(&server))
}

/// The statement that gives a role another password.
pub fn set_password(role: &str, verifier: &str) -> String {
    format!("ALTER ROLE \"{}\" PASSWORD '{verifier}';\n", role.replace('"', "\"\""))
}

/// The pod and its container, if that is ready and takes a key of a Secret under its own name: where a password goes by
/// itself, and not in an address, there is the database.
pub fn ready_taker<'a>(pod: &'a Value, secret: &str, key: &str) -> Option<(&'a str, &'a str)> {
    let all = |value: &'a Value| value.as_array().into_iter().flatten();
    let takes = |entry: &Value| {
        let reference = &entry["valueFrom"]["secretKeyRef"];
        reference["name"] == secret && reference["key"] == key
    };
    let container = all(&pod["spec"]["containers"]).find(|container| all(&container["env"]).any(takes))?;
    let is_ready = all(&pod["status"]["containerStatuses"])
        .any(|status| status["name"] == container["name"] && status["ready"] == true);
    let stays = !pod["metadata"]["deletionTimestamp"].is_string();
    (is_ready && stays).then_some((pod["metadata"]["name"].as_str()?, container["name"].as_str()?))
}

/// PBKDF2 with HMAC-SHA-256, of which one block is all that SCRAM takes.
fn salted(password: &str, salt: &[u8]) -> [u8; 32] {
    let key = password.as_bytes();
    let mut link = HMAC::mac([salt, &1u32.to_be_bytes()].concat(), key);
    let mut sum = link;
    for _ in 1..ITERATIONS {
        link = HMAC::mac(link, key);
        sum.iter_mut().zip(link).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_their_parts() {
        let read = Address::parse("postgres://todo:{PASSWORD}@db:5432/tasks?sslmode=require").unwrap();
        assert_eq!((read.role, read.password, read.name), ("todo", "{PASSWORD}", "tasks"));
        for other in
            ["http://todo:x@db/tasks", "postgres://db/tasks", "postgres://todo@db/tasks", "postgres://a:b@c", ""]
        {
            assert!(Address::parse(other).is_none(), "{other}");
        }
    }

    /// The example of RFC 7677. What the client sends there is its key under a signature: without it, it must hash to
    /// what the server keeps.
    #[test]
    fn the_verifier_is_that_of_the_standard() {
        let decode = |text: &str| BASE64_STANDARD.decode(text).unwrap();
        let printed = verifier("pencil", &decode("W22ZaJ0SNY7soEsUEjb6gQ=="));
        let rest = printed.strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$").unwrap();
        let (stored, server) = rest.split_once(':').map(|(a, b)| (decode(a), decode(b))).unwrap();
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let signature = HMAC::mac(exchange.as_bytes(), &stored);
        let client: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Hash::hash(&client).to_vec(), stored);
        assert_eq!(
            HMAC::mac(exchange.as_bytes(), &server).to_vec(),
            decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
        assert!(!printed.contains("pencil"));
    }

    #[test]
    fn a_long_key_is_hashed_first() {
        // RFC 4231, test case 6.
        let text = HMAC::mac(b"Test Using Larger Than Block-Size Key - Hash Key First", [0xaa; 131]);
        assert_eq!(text[..4], [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn a_database_is_where_its_password_goes_and_is_ready() {
        let pod = |key: &str, ready: bool| {
            let reference = serde_json::json!({"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": key}}});
            serde_json::json!({
                "metadata": {"name": "db-0"},
                "spec": {"containers": [{"name": "other"}, {"name": "db", "env": [{"name": "X", "value": "y"}, reference]}]},
                "status": {"containerStatuses": [{"name": "other", "ready": true}, {"name": "db", "ready": ready}]},
            })
        };
        assert_eq!(ready_taker(&pod("PASSWORD", true), "s", "PASSWORD"), Some(("db-0", "db")));
        assert_eq!(ready_taker(&pod("PASSWORD", false), "s", "PASSWORD"), None);
        assert_eq!(ready_taker(&pod("URL", true), "s", "PASSWORD"), None);
        assert_eq!(ready_taker(&pod("PASSWORD", true), "t", "PASSWORD"), None);
        let mut going = pod("PASSWORD", true);
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(ready_taker(&going, "s", "PASSWORD"), None);
    }

    #[test]
    fn a_role_is_quoted() {
        assert_eq!(set_password("a\"b", "V"), "ALTER ROLE \"a\"\"b\" PASSWORD 'V';\n");
    }
}
