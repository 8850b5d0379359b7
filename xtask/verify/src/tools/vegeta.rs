//! Vegeta, which asks at a steady rate and counts.

use xtask::run::call::{Call, argv, call};

/// Asks the targets of a file `rate` times a second, until it is interrupted or the time is over.
pub fn attack(vegeta: &str, targets: &str, results: &str, rate: u32, keep_alive: bool, time_s: u64) -> Call {
    let (rate, time, keep_alive) = (rate.to_string(), format!("{time_s}s"), format!("-keepalive={keep_alive}"));
    call(argv!(
        "{vegeta} attack -targets {targets} -output {results} -rate {rate} -duration {time} -timeout 10s {keep_alive}"
    ))
}

pub fn report(vegeta: &str, results: &str) -> Call {
    call(argv!("{vegeta} report -type json {results}"))
}

/// Writes the results as JSON, a line for each request.
pub fn encode(vegeta: &str, results: &str, to: &str) -> Call {
    call(argv!("{vegeta} encode -to json -output {to} {results}"))
}

/// How many requests were sent, and how many were answered with 200.
pub fn parse_report(stdout: &str) -> Option<(u64, u64)> {
    let report: serde_json::Value = serde_json::from_str(stdout).ok()?;
    let well = report["status_codes"].get("200").map_or(Some(0), serde_json::Value::as_u64)?;
    Some((report["requests"].as_u64()?, well))
}

/// The requests that were not answered with 200: when each was sent, what it asked, and what came of it.
pub fn parse_lost(encoded: &str) -> Vec<String> {
    let all = encoded.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let tell = |one: serde_json::Value| {
        let latency_ms = one["latency"].as_u64().unwrap_or_default() / 1_000_000;
        let (sent, method, url, error) =
            (text(&one["timestamp"]), text(&one["method"]), text(&one["url"]), text(&one["error"]));
        format!("{sent} {method} {url}: {error} after {latency_ms} ms")
    };
    all.filter(|one| one["code"] != 200).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_counts_as_answered() {
        assert_eq!(parse_report(r#"{"requests":7,"status_codes":{"0":1,"200":5,"503":1}}"#), Some((7, 5)));
        assert_eq!(parse_report(r#"{"requests":2,"status_codes":{"0":2}}"#), Some((2, 0)));
        assert_eq!(parse_report("nothing"), None);
    }

    #[test]
    fn a_lost_request_is_named_with_its_time_and_its_error() {
        let well = r#"{"seq":0,"code":200,"timestamp":"2026-11-01T10:00:00Z","latency":9,"error":"","method":"GET","url":"http://u/"}"#;
        let lost = r#"{"seq":1,"code":502,"timestamp":"2026-11-01T10:00:01Z","latency":3000000,"error":"502 Bad Gateway","method":"GET","url":"http://u/api"}"#;
        let expected = "2026-11-01T10:00:01Z GET http://u/api: 502 Bad Gateway after 3 ms";
        assert_eq!(parse_lost(&format!("{well}\n{lost}\n")), [expected]);
    }
}
