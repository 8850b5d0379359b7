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

/// How many requests were sent, and how many were answered with 200.
pub fn parse_report(stdout: &str) -> Option<(u64, u64)> {
    let report: serde_json::Value = serde_json::from_str(stdout).ok()?;
    let well = report["status_codes"].get("200").map_or(Some(0), serde_json::Value::as_u64)?;
    Some((report["requests"].as_u64()?, well))
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
}
