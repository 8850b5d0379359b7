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
        }
        for text in ["", "2026-11-21", "2026-11-21T10:54:25+01:00", "2026-13-21T10:54:25Z", "2026-11-21T24:00:00Z"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(clock("2026-11-21T10:54:25.190642Z"), Some("10:54:25"));
        assert_eq!(clock("yesterday"), None);
    }
}
