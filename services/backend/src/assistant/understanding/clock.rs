//! Times of day: `5pm`, `17:30`, `at 9`, `half past 5`, `noon`, `morning`.

use time::Time;

use super::words::{Word, number};

/// How many words, and the time. `led` is whether a word like `at` comes before it, without which a number is no time.
pub fn clock(words: &[Word], led: bool) -> Option<(usize, Time)> {
    let first = words.first().filter(|word| !word.quoted)?;
    let next = |index: usize| words.get(index).map_or("", |word| word.low.as_str());
    match first.low.as_str() {
        "noon" | "midday" => return Some((1, hm(12, 0)?)),
        "midnight" => return Some((1, hm(23, 59)?)),
        "half" if next(1) == "past" => return Some((3, spoken_hour(next(2))?.replace_minute(30).ok()?)),
        "quarter" if next(1) == "past" => return Some((3, spoken_hour(next(2))?.replace_minute(15).ok()?)),
        "quarter" if next(1) == "to" => {
            let hour = spoken_hour(next(2))?.hour();
            return Some((3, hm(u32::from(hour).checked_sub(1)?, 45)?));
        }
        _ => {}
    }
    if let Some(half @ ("am" | "pm")) = words.get(1).map(|word| word.low.trim_matches('.'))
        && first.trail.is_empty()
    {
        return Some((2, with_half(&first.low, half)?));
    }
    if next(1) == "oclock" {
        return Some((2, spoken_hour(&first.low)?));
    }
    for half in ["am", "pm"] {
        if let Some(hour) = first.low.strip_suffix(half)
            && let Some(time) = with_half(hour, half)
        {
            return Some((1, time));
        }
    }
    if let Some(time) = full(&first.low) {
        return Some((1, time));
    }
    if !led {
        return None;
    }
    if let Some((hour, minute)) = first.low.split_once('.')
        && minute.len() == 2
    {
        return Some((1, hm(hour.parse().ok()?, minute.parse().ok()?)?));
    }
    Some((1, spoken_hour(&first.low)?))
}

/// `morning` and the like, and from when it is.
pub fn part_of_day(low: &str) -> Option<Time> {
    match low {
        "morning" => hm(9, 0),
        "afternoon" => hm(15, 0),
        "evening" => hm(18, 0),
        "night" => hm(20, 0),
        _ => None,
    }
}

/// `7` in the evening is 19:00, and in the morning 7:00.
pub fn within(part: Time, time: Time, written: &str) -> Time {
    let plain = !written.ends_with('m') && !written.contains(':');
    match (plain, part.hour(), time.hour()) {
        (true, 9, hour @ 13..20) => time.replace_hour(hour - 12).unwrap_or(time),
        (true, 15.., hour @ 1..12) => time.replace_hour(hour + 12).unwrap_or(time),
        _ => time,
    }
}

fn hm(hour: u32, minute: u32) -> Option<Time> {
    Time::from_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, 0).ok()
}

/// Nobody means one at night by `at 5`.
fn spoken_hour(low: &str) -> Option<Time> {
    match number(low)? {
        hour @ 1..=6 => hm(hour + 12, 0),
        hour @ 7..=23 => hm(hour, 0),
        _ => None,
    }
}

fn with_half(low: &str, half: &str) -> Option<Time> {
    let (hour, minute) = low.split_once([':', '.']).unwrap_or((low, "00"));
    let hour = number(hour).filter(|hour| (1..=12).contains(hour))?;
    let minute = minute.parse().ok().filter(|_| minute.len() == 2)?;
    hm(hour % 12 + if half == "pm" { 12 } else { 0 }, minute)
}

/// `17:30`, `9:05`, `15h30`, `17h`.
fn full(low: &str) -> Option<Time> {
    let (hour, minute) = low.split_once([':', 'h'])?;
    let hours = !hour.is_empty() && hour.len() <= 2 && hour.bytes().all(|byte| byte.is_ascii_digit());
    let minutes = minute.len() == 2 && minute.bytes().all(|byte| byte.is_ascii_digit());
    if !hours || !(minutes || (minute.is_empty() && low.ends_with('h'))) {
        return None;
    }
    hm(hour.parse().ok()?, if minutes { minute.parse().ok()? } else { 0 })
}

#[cfg(test)]
mod tests {
    use time::macros::time;

    use super::{super::words::split, *};

    #[test]
    fn times_are_read() {
        for (text, wanted) in [
            ("5pm", time!(17:00)),
            ("5 pm", time!(17:00)),
            ("12am", time!(0:00)),
            ("12:30pm", time!(12:30)),
            ("5.30pm", time!(17:30)),
            ("17:30", time!(17:30)),
            ("9:05", time!(9:05)),
            ("15h30", time!(15:30)),
            ("17h", time!(17:00)),
            ("noon", time!(12:00)),
            ("half past 5", time!(17:30)),
            ("quarter to nine", time!(8:45)),
            ("9 o'clock", time!(9:00)),
        ] {
            assert_eq!(clock(&split(text), false).map(|(_, time)| time), Some(wanted), "{text}");
        }
        assert_eq!(clock(&split("5"), true), Some((1, time!(17:00))));
        assert_eq!(clock(&split("9"), true), Some((1, time!(9:00))));
        for text in ["5", "25:00", "1:1", "13pm", "h", "::", "team", "99999999999pm", "half past"] {
            assert_eq!(clock(&split(text), false), None, "{text}");
        }
    }
}
