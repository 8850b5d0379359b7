//! Vegeta, which asks at a steady rate and counts.

use serde::Serialize;

use xtask::run::call::{Call, argv, call};

/// Asks the targets of a file `rate` times a second, until it is interrupted or the time is over.
pub fn attack(vegeta: &str, targets: &str, results: &str, rate: u32, keep_alive: bool, time_s: u64) -> Call {
    let (rate, time, keep_alive) = (rate.to_string(), format!("{time_s}s"), format!("-keepalive={keep_alive}"));
    call(argv!(
        "{vegeta} attack -targets {targets} -output {results} -rate {rate} -duration {time} -timeout 10s {keep_alive}"
    ))
}

/// Asks the targets of a file as fast as so many workers are answered.
pub fn flood(vegeta: &str, targets: &str, results: &str, workers: u32, time_s: u64) -> Call {
    let (workers, time) = (workers.to_string(), format!("{time_s}s"));
    call(argv!(
        "{vegeta} attack -targets {targets} -output {results} -rate 0 -workers {workers} -max-workers {workers} -duration {time} -timeout 10s"
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

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub requests: u64,
    /// All that was not answered with success.
    pub errors: u64,
    /// Answered with success, by the time until the last of them.
    pub per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

pub fn parse_figures(stdout: &str) -> Option<Figures> {
    let report: serde_json::Value = serde_json::from_str(stdout).ok()?;
    let (requests, codes) = (report["requests"].as_u64()?, report["status_codes"].as_object()?);
    let well = codes.iter().filter(|(code, _)| code.starts_with('2')).filter_map(|(_, count)| count.as_u64());
    let ms = |name: &str| Some(report["latencies"][name].as_f64()? / 1e6);
    let errors = requests - well.sum::<u64>().min(requests);
    Some(Figures { requests, errors, per_s: report["throughput"].as_f64()?, p50_ms: ms("50th")?, p99_ms: ms("99th")? })
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

    #[test]
    fn a_flood_is_bounded_in_workers_and_time() {
        let argv = flood("/v", "t", "r", 16, 5).argv.join(" ");
        assert_eq!(
            argv,
            "/v attack -targets t -output r -rate 0 -workers 16 -max-workers 16 -duration 5s -timeout 10s"
        );
    }

    #[test]
    fn every_success_counts_and_times_are_milliseconds() {
        let text = r#"{"requests":10,"throughput":123.5,"status_codes":{"0":1,"200":3,"201":4,"500":2},
            "latencies":{"50th":1500000,"99th":12250000,"max":99}}"#;
        let wanted = Figures { requests: 10, errors: 3, per_s: 123.5, p50_ms: 1.5, p99_ms: 12.25 };
        assert_eq!(parse_figures(text), Some(wanted));
        assert_eq!(parse_figures(r#"{"requests":10}"#), None);
    }
}
