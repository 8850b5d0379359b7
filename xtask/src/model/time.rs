//! Points in time as the Kubernetes API writes them.

use std::time::{Duration, UNIX_EPOCH};

/// Seconds since 1970 of `2026-11-21T10:54:25Z`; fractions are cut off. None for another form, another zone than Z, or an
/// earlier time, such as the year 1 by which Go writes that there is none.
pub fn seconds(text: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs() as i64)
}

/// The time of day in it, `10:54:25`.
pub fn clock(text: &str) -> Option<&str> {
    seconds(text)?;
    text.split_once('T')?.1.get(..8)
}

/// Seconds since 1970 as the API would write them.
pub fn text(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64)).to_string()
}

/// How long ago something was, in one unit: `12 s`, `3 min`, `5 h`, `2 d`.
pub fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        for (text, since) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-21T10:54:25Z", 1_795_258_465),
            ("2026-11-21T10:54:25.190642Z", 1_795_258_465),
        ] {
            assert_eq!(seconds(text), Some(since), "{text}");
            assert_eq!(super::text(since), format!("{}Z", &text[..19]));
        }
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T10:54:25+01:00",
            "2026-13-21T10:54:25Z",
            "2026-11-21T24:00:00Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(clock("2026-11-21T10:54:25.190642Z"), Some("10:54:25"));
        assert_eq!(clock("yesterday"), None);
    }

    #[test]
    fn every_day_is_written_as_it_is_read() {
        for day in 0..50_000 {
            assert_eq!(seconds(&text(day * 86_400 + 3661)), Some(day * 86_400 + 3661));
        }
    }

    #[test]
    fn what_is_long_ago_is_reported_in_a_larger_unit() {
        let text: Vec<String> = [-3, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(ago).into();
        assert_eq!(text, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
