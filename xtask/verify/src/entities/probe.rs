//! Probes: what the kubelet asks a container, and how often.

use crate::entities::ports::TargetPort;
use xtask::model::object::{Fields, one_of};

/// Times are in seconds; what a manifest leaves out is as the API server fills it in.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub handler: Handler,
    pub initial_delay_s: u64,
    pub period_s: u64,
    pub timeout_s: u64,
    pub success_threshold: u64,
    pub failure_threshold: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Handler {
    Http { path: String, port: TargetPort, scheme: Scheme },
    Tcp { port: TargetPort },
    Exec { command: Vec<String> },
    Grpc { port: TargetPort },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Probe {
    pub fn from_fields(f: &Fields) -> Option<Probe> {
        let handler = handler(f);
        let number = |key: &str, least: u64, otherwise: u64| {
            f.at(key).or(otherwise, |number| number.integer(least..=2_147_483_647))
        };
        let initial_delay_s = number("initialDelaySeconds", 0, 0);
        let period_s = number("periodSeconds", 1, 10);
        let timeout_s = number("timeoutSeconds", 1, 1);
        let success_threshold = number("successThreshold", 1, 1);
        let failure_threshold = number("failureThreshold", 1, 3);
        Some(Probe {
            handler: handler?,
            initial_delay_s: initial_delay_s?,
            period_s: period_s?,
            timeout_s: timeout_s?,
            success_threshold: success_threshold?,
            failure_threshold: failure_threshold?,
        })
    }

    /// The path that is asked by HTTP.
    pub fn path(&self) -> Option<&str> {
        match &self.handler {
            Handler::Http { path, .. } => Some(path),
            _ => None,
        }
    }

    pub fn port(&self) -> Option<&TargetPort> {
        match &self.handler {
            Handler::Http { port, .. } | Handler::Tcp { port } | Handler::Grpc { port } => Some(port),
            Handler::Exec { .. } => None,
        }
    }
}

fn handler(f: &Fields) -> Option<Handler> {
    let kinds = ["httpGet", "tcpSocket", "exec", "grpc"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| !f.at(kind).is_absent()).collect();
    let [kind] = given[..] else {
        f.report(match given.is_empty() {
            true => format!("asks nothing: one of {} is needed", kinds.join(", ")),
            false => format!("has {} together: only one may be there", given.join(" and ")),
        });
        return None;
    };
    let asked = f.at(kind);
    match kind {
        "httpGet" => {
            let path = asked.at("path").or("/".to_string(), |path| path.parsed(url_path));
            let port = asked.at("port").take(TargetPort::from_value);
            let scheme = asked.at("scheme").or(Scheme::Http, |scheme| {
                scheme.parsed(|text| one_of(text, &[("HTTP", Scheme::Http), ("HTTPS", Scheme::Https)]))
            });
            Some(Handler::Http { path: path?, port: port?, scheme: scheme? })
        }
        "tcpSocket" => Some(Handler::Tcp { port: asked.at("port").take(TargetPort::from_value)? }),
        "grpc" => Some(Handler::Grpc { port: asked.at("port").take(TargetPort::from_value)? }),
        _ => {
            let command = asked.at("command").list(Fields::text)?;
            if command.is_empty() {
                asked.report("has no command");
                return None;
            }
            Some(Handler::Exec { command })
        }
    }
}

/// A path that can be asked: a slash first, no spaces.
pub fn url_path(text: &str) -> Result<String, String> {
    match text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_string()),
        false => Err(format!("\"{text}\" is not a path such as /health")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use xtask::model::object::read;

    fn probe(value: Value) -> Result<Probe, Vec<String>> {
        read(&value, Probe::from_fields)
    }

    #[test]
    fn the_specs_probes_are_read() {
        for (path, port, delay, period) in [
            ("/api/health", 3000, 10, 10),
            ("/api/ready", 3000, 5, 5),
            ("/health", 8000, 30, 10),
            ("/ready", 8000, 10, 5),
            ("/health", 8000, 15, 5),
            ("/", 80, 3, 5),
        ] {
            let given =
                json!({"httpGet": {"path": path, "port": port}, "initialDelaySeconds": delay, "periodSeconds": period});
            let read = probe(given).unwrap();
            assert_eq!((read.path(), read.port().unwrap().to_string()), (Some(path), port.to_string()));
            assert_eq!(
                (read.initial_delay_s, read.period_s, read.timeout_s, read.failure_threshold),
                (delay, period, 1, 3)
            );
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_api_server_fills_it_in() {
        let read = probe(json!({"exec": {"command": ["pg_isready"]}})).unwrap();
        assert_eq!((read.initial_delay_s, read.period_s, read.timeout_s), (0, 10, 1));
        assert_eq!((read.path(), read.port()), (None, None));
        assert_eq!(probe(json!({"httpGet": {"port": "http"}})).unwrap().path(), Some("/"));
    }

    #[test]
    fn a_probe_asks_one_thing_and_soundly() {
        for (wrong, message) in [
            (json!({}), "asks nothing: one of httpGet, tcpSocket, exec, grpc is needed"),
            (
                json!({"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}),
                "has tcpSocket and exec together: only one may be there",
            ),
            (json!({"exec": {}}), "exec: has no command"),
            (
                json!({"httpGet": {"path": "health", "port": 1}}),
                "httpGet.path: \"health\" is not a path such as /health",
            ),
            (json!({"httpGet": {"path": "/"}}), "httpGet.port: is missing"),
            (json!({"tcpSocket": {"port": 0}}), "tcpSocket.port: 0 is not a port from 1 to 65535"),
            (
                json!({"tcpSocket": {"port": 1}, "periodSeconds": 0}),
                "periodSeconds: 0 is not an integer from 1 to 2147483647",
            ),
            (json!({"httpGet": {"port": 1, "scheme": "FTP"}}), "httpGet.scheme: \"FTP\" is none of HTTP, HTTPS"),
        ] {
            assert_eq!(probe(wrong).unwrap_err(), [message]);
        }
    }
}
