//! Configuration from the environment. Reading never stops at a mistake: all of them are collected and told at once.

use std::{collections::HashMap, ffi::OsString, net::IpAddr, str::FromStr};

use tracing::Level;

use crate::client::BaseUrl;

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

    /// `wanted` says what to set, as in «set it to …». The value itself is never repeated: it may be a secret.
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
        let host = env.optional("HOST", IpAddr::from([0, 0, 0, 0]), "an IP address, 0.0.0.0 for all", |value| {
            value.parse().map_err(|_| "is not an IP address".to_owned())
        });
        let port = read_port(env, default_port);
        let log_level = env.optional("LOG_LEVEL", Level::INFO, "error, warn, info, debug or trace", log_level);
        let delay_ms = env
            .optional("SHUTDOWN_DELAY_MS", 2_000, "milliseconds, 0 to 60000", |value| whole_number(value, 0, 60_000));
        let drain_ms = env
            .optional("SHUTDOWN_DRAIN_MS", 7_000, "milliseconds, 0 to 600000", |value| whole_number(value, 0, 600_000));
        Some(Self {
            host: host?,
            port: port?,
            log_level: log_level?,
            stop: StopTimes { delay_ms: delay_ms?, drain_ms: drain_ms? },
        })
    }
}

pub fn read_port(env: &mut Env, default: u16) -> Option<u16> {
    env.optional("PORT", default, "a port, 1 to 65535", |value| whole_number(value, 1, u16::MAX))
}

pub fn read_backend_url(env: &mut Env) -> Option<BaseUrl> {
    env.required("BACKEND_URL", "http://HOST:PORT", BaseUrl::parse)
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
        assert_eq!(common.log_level, Level::INFO);
    }

    #[test]
    fn values_are_taken() {
        let common = common(&[("PORT", "81"), ("HOST", "::1"), ("LOG_LEVEL", "DEBUG")]).unwrap();
        assert_eq!((common.host.to_string().as_str(), common.port), ("::1", 81));
        assert_eq!(common.log_level, Level::DEBUG);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
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
