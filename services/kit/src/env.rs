//! Configuration from the environment. Reading never stops at a mistake: all of them are collected and reported at once.

use std::{
    collections::HashMap,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::http::uri::PathAndQuery;
use tracing::Level;

use crate::url::BaseUrl;

/// The variables, and what was found wrong with them so far. An empty variable counts as one that is not set.
pub struct Env {
    variables: HashMap<String, OsString>,
    mistakes: Vec<String>,
}

impl Env {
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { variables: variables.collect(), mistakes: Vec::new() }
    }

    pub fn of_pairs(pairs: &[(&str, &str)]) -> Self {
        let variables = pairs.iter().map(|(name, value)| (name.to_string(), OsString::from(value)));
        Self { variables: variables.collect(), mistakes: Vec::new() }
    }

    /// `wanted` says what to set, as in "set it to …". The value itself is never repeated: it may be a secret.
    pub fn required<T>(
        &mut self,
        name: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.text(name)? {
            Some(value) => self.parsed(name, wanted, parse(&value)),
            None => {
                self.mistakes.push(format!("{name} is not set; set it to {wanted}"));
                None
            }
        }
    }

    pub fn optional<T>(
        &mut self,
        name: &str,
        default: T,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.text(name)? {
            Some(value) => self.parsed(name, wanted, parse(&value)),
            None => Some(default),
        }
    }

    /// The configuration, or every mistake that was met while it was read: nothing is missing without one.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, Vec<String>> {
        config.ok_or(self.mistakes)
    }

    fn text(&mut self, name: &str) -> Option<Option<String>> {
        let value = match self.variables.get(name) {
            None => return Some(None),
            Some(value) => value.to_str().map(|value| value.trim().to_owned()),
        };
        if value.is_none() {
            self.mistakes.push(format!("{name} is not valid UTF-8; set it to text"));
        }
        value.map(|value| Some(value).filter(|value| !value.is_empty()))
    }

    fn parsed<T>(&mut self, name: &str, wanted: &str, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|reason| self.mistakes.push(format!("{name} {reason}; set it to {wanted}"))).ok()
    }
}

/// What every service reads.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    pub host: IpAddr,
    pub port: u16,
    /// Where Prometheus reads metrics; nowhere unless it is set.
    pub metrics_port: Option<u16>,
    pub log_level: Level,
    pub stop: StopTimes,
}

/// How a service stops: it stays reachable for `delay_ms` after it has said that it is not ready, so that whoever
/// routes to it has heard of that, and then has `drain_ms` to answer what it has accepted. Together less than the ten
/// seconds that `docker stop` waits.
#[derive(Clone, Copy, Debug)]
pub struct StopTimes {
    pub delay_ms: u64,
    pub drain_ms: u64,
}

impl Common {
    pub fn read(env: &mut Env, default_port: u16) -> Option<Self> {
        let host = read_host(env);
        let port = read_port(env, default_port);
        let metrics_port = read_metrics_port(env, port);
        let log_level = env.optional("LOG_LEVEL", Level::INFO, "error, warn, info, debug or trace", log_level);
        let delay_ms = env
            .optional("SHUTDOWN_DELAY_MS", 2_000, "milliseconds, 0 to 60000", |value| whole_number(value, 0, 60_000));
        let drain_ms = env
            .optional("SHUTDOWN_DRAIN_MS", 7_000, "milliseconds, 0 to 600000", |value| whole_number(value, 0, 600_000));
        Some(Self {
            host: host?,
            port: port?,
            metrics_port: metrics_port?,
            log_level: log_level?,
            stop: StopTimes { delay_ms: delay_ms?, drain_ms: drain_ms? },
        })
    }
}

fn read_host(env: &mut Env) -> Option<IpAddr> {
    env.optional("HOST", Ipv4Addr::UNSPECIFIED.into(), "an IP address, 0.0.0.0 for all", |value| {
        value.parse().map_err(|_| "is not an IP address".to_owned())
    })
}

pub fn read_port(env: &mut Env, default: u16) -> Option<u16> {
    env.optional("PORT", default, "a port, 1 to 65535", |value| whole_number(value, 1, u16::MAX))
}

fn read_metrics_port(env: &mut Env, port: Option<u16>) -> Option<Option<u16>> {
    env.optional("METRICS_PORT", None, "a port, 1 to 65535, other than PORT, or to nothing", |value| {
        let metrics_port = whole_number(value, 1, u16::MAX)?;
        if Some(metrics_port) == port { Err("is PORT".to_owned()) } else { Ok(Some(metrics_port)) }
    })
}

/// What a health check asks when it gets no URL: the service itself, at its address and `HEALTHCHECK_PATH`.
pub fn read_health_url(env: &mut Env, default_port: u16, default_path: &str) -> Option<String> {
    let host = read_host(env);
    let port = read_port(env, default_port);
    let path = env.optional("HEALTHCHECK_PATH", default_path.to_owned(), "a path, /…", |value| {
        let valid = value.starts_with('/') && value.parse::<PathAndQuery>().is_ok();
        valid.then(|| value.to_owned()).ok_or("is not a path".to_owned())
    });
    let (host, port, path) = (host?, port?, path?);
    // A service that listens on all addresses is asked at the one that is always there.
    let host = match host {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(format!("http://{}{path}", SocketAddr::from((host, port))))
}

/// `BACKEND_URL`, or else `API_BASE_URL`, which some deployments call it.
pub fn read_backend_url(env: &mut Env) -> Option<BaseUrl> {
    match env.optional("API_BASE_URL", None, "http://HOST:PORT", |value| BaseUrl::parse(value).map(Some))? {
        Some(url) => env.optional("BACKEND_URL", url, "http://HOST:PORT", BaseUrl::parse),
        None => env.required("BACKEND_URL", "http://HOST:PORT", BaseUrl::parse),
    }
}

pub fn whole_number<T: FromStr + PartialOrd>(value: &str, least: T, most: T) -> Result<T, String> {
    match value.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        Ok(_) => Err("is out of range".to_owned()),
        Err(_) => Err("is not a whole number in range".to_owned()),
    }
}

pub fn comma_list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn log_level(value: &str) -> Result<Level, String> {
    // Level's own parser also takes numbers and other people's spellings of warn.
    match value.to_ascii_lowercase().as_str() {
        "error" => Ok(Level::ERROR),
        "warn" | "warning" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err("is not a log level".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(pairs: &[(&str, &str)]) -> Result<Common, Vec<String>> {
        let mut env = Env::of_pairs(pairs);
        let common = Common::read(&mut env, 8000);
        env.finish(common)
    }

    #[test]
    fn nothing_set_means_defaults() {
        let common = common(&[("PORT", ""), ("HOST", "  ")]).unwrap();
        assert_eq!((common.host.to_string().as_str(), common.port), ("0.0.0.0", 8000));
        assert_eq!((common.log_level, common.metrics_port), (Level::INFO, None));
    }

    #[test]
    fn values_are_taken() {
        let pairs = [("PORT", "81"), ("HOST", "::1"), ("LOG_LEVEL", "DEBUG"), ("METRICS_PORT", "9090")];
        let common = common(&pairs).unwrap();
        assert_eq!((common.host.to_string().as_str(), common.port), ("::1", 81));
        assert_eq!((common.log_level, common.metrics_port), (Level::DEBUG, Some(9090)));
    }

    #[test]
    fn metrics_have_a_port_of_their_own() {
        for (value, wanted) in [("8000", "METRICS_PORT is PORT"), ("0", "METRICS_PORT is out of range")] {
            let mistakes = common(&[("METRICS_PORT", value)]).unwrap_err();
            assert_eq!(mistakes, [format!("{wanted}; set it to a port, 1 to 65535, other than PORT, or to nothing")]);
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mut env =
            Env::of_pairs(&[("PORT", "0"), ("HOST", "here"), ("LOG_LEVEL", "loud"), ("SHUTDOWN_DELAY_MS", "-1")]);
        let common = Common::read(&mut env, 8000);
        let url = read_backend_url(&mut env);
        let mistakes = env.finish(common.zip(url)).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "HOST is not an IP address; set it to an IP address, 0.0.0.0 for all",
                "PORT is out of range; set it to a port, 1 to 65535",
                "LOG_LEVEL is not a log level; set it to error, warn, info, debug or trace",
                "SHUTDOWN_DELAY_MS is not a whole number in range; set it to milliseconds, 0 to 60000",
                "BACKEND_URL is not set; set it to http://HOST:PORT",
            ]
        );
    }

    fn health_url(pairs: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let mut env = Env::of_pairs(pairs);
        let url = read_health_url(&mut env, 8000, "/health");
        env.finish(url)
    }

    #[test]
    fn a_health_check_asks_where_the_service_listens() {
        for (pairs, wanted) in [
            (&[][..], "http://127.0.0.1:8000/health"),
            (&[("PORT", "81"), ("HEALTHCHECK_PATH", "/docs")], "http://127.0.0.1:81/docs"),
            (&[("HOST", "::")], "http://[::1]:8000/health"),
            (&[("HOST", "127.0.0.9"), ("HEALTHCHECK_PATH", " ")], "http://127.0.0.9:8000/health"),
        ] {
            assert_eq!(health_url(pairs).unwrap(), wanted);
        }
        for wrong in ["health", "/a b", "http://elsewhere/"] {
            assert_eq!(
                health_url(&[("HEALTHCHECK_PATH", wrong)]).unwrap_err(),
                ["HEALTHCHECK_PATH is not a path; set it to a path, /…"]
            );
        }
    }

    #[test]
    fn the_backends_url_has_two_names() {
        let url = |pairs: &[(&str, &str)]| {
            let mut env = Env::of_pairs(pairs);
            let url = read_backend_url(&mut env);
            env.finish(url).map(|url| url.to_string())
        };
        let (first, second) = (("BACKEND_URL", "http://first:1"), ("API_BASE_URL", "http://second:2"));
        assert_eq!(url(&[first, second]).unwrap(), "http://first:1");
        assert_eq!(url(&[second, ("BACKEND_URL", "")]).unwrap(), "http://second:2");
        assert_eq!(url(&[]).unwrap_err(), ["BACKEND_URL is not set; set it to http://HOST:PORT"]);
        assert_eq!(url(&[first, ("API_BASE_URL", "second")]).unwrap_err().len(), 1);
    }

    #[test]
    fn a_value_is_never_repeated() {
        let mut env = Env::of_pairs(&[("BACKEND_URL", "sentinel-in-a-value")]);
        let url = read_backend_url(&mut env);
        let mistakes = env.finish(url).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(!mistakes[0].contains("sentinel"), "{mistakes:?}");
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf8_is_a_mistake() {
        use std::os::unix::ffi::OsStringExt;
        let mut env = Env::of_pairs(&[]);
        env.variables.insert("PORT".to_owned(), OsString::from_vec(vec![0xff]));
        let port = read_port(&mut env, 1);
        assert_eq!(env.finish(port).unwrap_err(), ["PORT is not valid UTF-8; set it to text"]);
    }

    #[test]
    fn lists_are_trimmed() {
        assert_eq!(comma_list(" a, b,,c "), ["a", "b", "c"]);
    }
}
