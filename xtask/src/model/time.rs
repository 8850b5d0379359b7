//! Points in time as the Kubernetes API writes them.

/// Seconds since 1970 of `2026-11-21T10:54:25Z`; fractions are cut off. None for another form, or another zone than Z.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, sign| text.split(sign).map(|part| part.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let (date, time) = (numbers(date, '-')?, numbers(time.split('.').next()?, ':')?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else { return None };
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    sound.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The time of day in it, `10:54:25`.
pub fn clock(text: &str) -> Option<&str> {
    seconds(text)?;
    text.split_once('T')?.1.get(..8)
}

/// Seconds since 1970 as the API would write them.
pub fn text(seconds: i64) -> String {
    let (of_day, day) = (seconds.rem_euclid(86_400), seconds.div_euclid(86_400));
    // A guess that leap years make too late, before 1970 too early by one.
    let mut year = 1971 + day.div_euclid(365);
    while days(year, 1, 1) > day {
        year -= 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    let day = day - days(year, month, 1) + 1;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
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

/// Days since 1970-01-01, counted in years that begin with March, so that the leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
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
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(seconds(text), Some(since), "{text}");
            assert_eq!(super::text(since), format!("{}Z", &text[..19]));
        }
        for text in ["", "2026-11-21", "2026-11-21T10:54:25+01:00", "2026-13-21T10:54:25Z", "2026-11-21T24:00:00Z"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(clock("2026-11-21T10:54:25.190642Z"), Some("10:54:25"));
        assert_eq!(clock("yesterday"), None);
    }

    #[test]
    fn every_day_is_written_as_it_is_read() {
        for day in -1000..50_000 {
            assert_eq!(seconds(&text(day * 86_400 + 3661)), Some(day * 86_400 + 3661));
        }
    }

    #[test]
    fn what_is_long_ago_is_reported_in_a_larger_unit() {
        let text: Vec<String> = [-3, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(ago).into();
        assert_eq!(text, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
