//! Days: `tomorrow`, `next Friday`, `in 3 days`, `on the 3rd`, `Dec 24`, `by monday 9:30`.

use time::{Date, Duration, Month, PrimitiveDateTime, Time, Weekday};

use super::{
    Due, Known,
    clock::{clock, part_of_day, within},
    words::{Word, number, strip, strip_any},
};

/// What a phrase says, and how many words it has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct When {
    pub length: usize,
    day: Option<Date>,
    time: Option<Time>,
    /// A word like `on` or `by` comes first.
    pub led: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shift {
    Days(i64),
    Months(i32),
    Minutes(i64),
}

const LEADS: &[&str] = &[
    "no later than",
    "due on",
    "due by",
    "due at",
    "due in",
    "due the",
    "due",
    "on",
    "by",
    "at",
    "before",
    "until",
    "till",
    "for",
    "around",
    "this coming",
];

/// The phrase at the beginning of the words.
pub fn phrase(words: &[Word], now: PrimitiveDateTime) -> Option<When> {
    let mut when = When::default();
    let mut part = None;
    loop {
        let at = when.length;
        let (lead, rest) = strip_any(&words[at..], LEADS).unwrap_or(("", &words[at..]));
        let lead = if lead.is_empty() { 0 } else { lead.split(' ').count() };
        let found = if when.day.is_none()
            && let Some((length, day, time)) = day(rest, lead > 0, now)
        {
            when.day = Some(day);
            when.time = when.time.or(time);
            length
        } else if (when.time.is_none() || part.is_some())
            && let Some((length, time)) = clock(rest, at_hour(&words[at..], lead))
        {
            when.time = Some(part.take().map_or(time, |part| within(part, time, &rest[0].low)));
            length
        } else if when.time.is_none()
            && let Some((length, time)) = day_part(rest, when.day.is_some())
        {
            part = Some(time);
            when.time = Some(time);
            length
        } else {
            break;
        };
        when.led |= at == 0 && lead > 0;
        when.length += lead + found;
        if words[when.length - 1].trail.contains(['.', ';', '?']) {
            break;
        }
    }
    (when.length > 0 && fits_the_rest(&words[..when.length], &words[when.length..], &mut when, now)).then_some(when)
}

/// A bare hour needs `at` or the like before it; `on 5` and `for 5` are none.
fn at_hour(words: &[Word], lead: usize) -> bool {
    lead > 0 && ["at", "by", "before", "until", "till", "around"].contains(&words[lead - 1].low.as_str())
}

fn day_part(words: &[Word], after_day: bool) -> Option<(usize, Time)> {
    if let Some(rest) = strip(words, "in the").or_else(|| strip(words, "this")) {
        return Some((words.len() - rest.len() + 1, part_of_day(&rest.first()?.low)?));
    }
    let time = part_of_day(&words.first()?.low)?;
    after_day.then_some((1, time))
}

/// `Friday the 13th` is a date where the next 13th is a Friday, and else a name.
fn fits_the_rest(phrase: &[Word], rest: &[Word], when: &mut When, now: PrimitiveDateTime) -> bool {
    let Some(weekday) = phrase.last().and_then(|word| weekday(&word.low)) else { return true };
    let Some(rest) = strip(rest, "the") else { return true };
    let Some(number) = rest.first().and_then(|word| ordinal(&word.low)) else { return true };
    match next_with_number(number, now.date()) {
        Some(date) if date.weekday() == weekday => {
            when.day = Some(date);
            when.length += 2;
            true
        }
        _ => false,
    }
}

impl When {
    /// A time alone is the next one.
    pub fn due(self, now: PrimitiveDateTime) -> Option<Due> {
        let today = now.date();
        let date = match (self.day, self.time) {
            (Some(day), _) => day,
            (None, Some(time)) if time > now.time() => today,
            (None, _) => today.next_day()?,
        };
        Some(Due { date, time: self.time })
    }

    /// What it makes of a task that is due already: a day keeps the task's time, and a time its day.
    pub fn moved(self, task: Option<&Known>, now: PrimitiveDateTime) -> Option<Due> {
        let old = task.and_then(|task| task.due);
        match (self.day, self.time, old) {
            (Some(date), None, Some(old)) => Some(Due { date, time: old.time }),
            (None, time @ Some(_), Some(old)) if old.date >= now.date() => Some(Due { date: old.date, time }),
            _ => self.due(now),
        }
    }

    pub fn day(self) -> Option<Date> {
        self.day
    }
}

fn day(words: &[Word], led: bool, now: PrimitiveDateTime) -> Option<(usize, Date, Option<Time>)> {
    let today = now.date();
    let first = words.first().filter(|word| !word.quoted)?;
    if let Some((rest, days)) = named_day(words) {
        return Some((words.len() - rest.len(), today.checked_add(Duration::days(days))?, None));
    }
    if strip(words, "tonight").is_some() {
        return Some((1, today, Time::from_hms(20, 0, 0).ok()));
    }
    if let Some((length, shift)) = strip_any(words, &["in", "within"])
        .and_then(|(_, rest)| amount(rest))
        .map(|(length, shift)| (length + 1, shift))
        .or_else(|| amount_from_now(words))
    {
        let due = apply(shift, Due { date: today, time: None }, now)?;
        return Some((length, due.date, due.time));
    }
    if let Some((length, date)) = week(words, today).or_else(|| month_end(words, today)) {
        return Some((length, date, None));
    }
    if let Some((length, date)) = weekday_phrase(words, led, today).or_else(|| month_day(words, today)) {
        return Some((length, date, None));
    }
    if let Some((length, date)) = holiday(words, today) {
        return Some((length, date, None));
    }
    if let Some(date) = numeric(first, led, today) {
        return Some((1, date, None));
    }
    if led {
        let rest = strip(words, "the").unwrap_or(words);
        let number = rest.first().and_then(|word| ordinal(&word.low))?;
        return Some((words.len() - rest.len() + 1, next_with_number(number, today)?, None));
    }
    None
}

fn named_day(words: &[Word]) -> Option<(&[Word], i64)> {
    const NAMES: &[(&str, i64)] = &[
        ("the day after tomorrow", 2),
        ("day after tomorrow", 2),
        ("tomorrow", 1),
        ("later today", 0),
        ("end of today", 0),
        ("end of the day", 0),
        ("end of day", 0),
        ("eod", 0),
        ("today", 0),
        ("yesterday", -1),
    ];
    NAMES.iter().find_map(|(name, days)| strip(words, name).map(|rest| (rest, *days)))
}

/// `3 days`, `a week`, `half an hour`; how many words, and how long.
pub fn amount(words: &[Word]) -> Option<(usize, Shift)> {
    if let Some(rest) = strip(words, "half an hour") {
        return Some((words.len() - rest.len(), Shift::Minutes(30)));
    }
    let (count, rest) = match strip_any(words, &["a couple of", "an", "a", "another", "one more"]) {
        Some(("a couple of", rest)) => (2, rest),
        Some((_, rest)) => (1, rest),
        None => (number(&words.first()?.low).filter(|count| *count <= 10_000)?, &words[1..]),
    };
    let rest = strip(rest, "more").unwrap_or(rest);
    let count = i64::from(count);
    let shift = match rest.first()?.low.as_str() {
        "minute" | "minutes" | "min" | "mins" => Shift::Minutes(count),
        "hour" | "hours" | "hr" | "hrs" | "h" => Shift::Minutes(count * 60),
        "day" | "days" => Shift::Days(count),
        "week" | "weeks" => Shift::Days(count * 7),
        "month" | "months" => Shift::Months(i32::try_from(count).ok()?),
        "year" | "years" => Shift::Months(i32::try_from(count * 12).ok()?),
        _ => return None,
    };
    Some((words.len() - rest.len() + 1, shift))
}

fn amount_from_now(words: &[Word]) -> Option<(usize, Shift)> {
    let (length, shift) = amount(words)?;
    let (_, rest) = strip_any(&words[length..], &["from now", "from today"])?;
    Some((words.len() - rest.len(), shift))
}

/// Later than it was; a task without a date counts from now.
pub fn apply(shift: Shift, from: Due, now: PrimitiveDateTime) -> Option<Due> {
    match shift {
        Shift::Days(days) => Some(Due { date: from.date.checked_add(Duration::days(days))?, ..from }),
        Shift::Months(months) => {
            let month = i32::from(u8::from(from.date.month())) - 1 + months;
            let year = from.date.year().checked_add(month.div_euclid(12))?;
            let month = Month::try_from(u8::try_from(month.rem_euclid(12) + 1).ok()?).ok()?;
            let day = from.date.day().min(month.length(year));
            Some(Due { date: Date::from_calendar_date(year, month, day).ok()?, ..from })
        }
        Shift::Minutes(minutes) => {
            let time = from.time.unwrap_or_else(|| now.time());
            let moved = PrimitiveDateTime::new(from.date, time).checked_add(Duration::minutes(minutes))?;
            Some(Due { date: moved.date(), time: Time::from_hms(moved.hour(), moved.minute(), 0).ok() })
        }
    }
}

fn week(words: &[Word], today: Date) -> Option<(usize, Date)> {
    let monday = monday(today)?;
    let plus = |days| monday.checked_add(Duration::days(days));
    if let Some((name, _)) = strip_any(words, &["next weekend"]) {
        return Some((name.split(' ').count(), plus(12)?));
    }
    if let Some((name, _)) = strip_any(words, &["this weekend", "the weekend", "weekend"]) {
        return Some((name.split(' ').count(), plus(5).map(|saturday| saturday.max(today))?));
    }
    let ends = ["end of the week", "end of this week", "end of week", "eow", "the end of the week"];
    if let Some((name, _)) = strip_any(words, &ends) {
        return Some((name.split(' ').count(), plus(4).map(|friday| friday.max(today))?));
    }
    if let Some((name, _)) = strip_any(words, &["this week", "sometime this week"]) {
        return Some((name.split(' ').count(), plus(6)?));
    }
    strip_any(words, &["next week", "early next week"]).and_then(|(name, _)| Some((name.split(' ').count(), plus(7)?)))
}

fn month_end(words: &[Word], today: Date) -> Option<(usize, Date)> {
    let ends = ["the end of the month", "end of the month", "end of this month", "end of month", "eom", "this month"];
    if let Some((name, _)) = strip_any(words, &ends) {
        return Some((name.split(' ').count(), last_of_month(today)?));
    }
    strip_any(words, &["the end of the year", "end of the year", "end of year"])
        .and_then(|(name, _)| {
            Some((name.split(' ').count(), Date::from_calendar_date(today.year(), Month::December, 31).ok()?))
        })
        .or_else(|| strip(words, "next month").and_then(|_| Some((2, last_of_month(today)?.next_day()?))))
}

pub fn last_of_month(day: Date) -> Option<Date> {
    day.replace_day(day.month().length(day.year())).ok()
}

pub fn monday(today: Date) -> Option<Date> {
    today.checked_sub(Duration::days(i64::from(today.weekday().number_days_from_monday())))
}

/// `friday` is the next one after today, `next friday` the one of the next week.
fn weekday_phrase(words: &[Word], led: bool, today: Date) -> Option<(usize, Date)> {
    let (which, rest) = strip_any(words, &["this coming", "coming", "this", "next"]).unwrap_or(("", words));
    let first = rest.first()?;
    let day = weekday(&first.low)?;
    let short = first.low.len() < 6;
    if short && !led && which.is_empty() && rest.len() > 1 && clock(&rest[1..], false).is_none() && rest[1].low != "at"
    {
        return None;
    }
    let length = words.len() - rest.len() + 1;
    let ahead = i64::from(day.number_days_from_monday()) - i64::from(today.weekday().number_days_from_monday());
    if which == "next" || strip(&rest[1..], "next week").is_some() {
        let length = if which == "next" { length } else { length + 2 };
        return Some((
            length,
            monday(today)?.checked_add(Duration::days(7 + i64::from(day.number_days_from_monday())))?,
        ));
    }
    let ahead = if ahead <= 0 { ahead + 7 } else { ahead };
    let date = today.checked_add(Duration::days(ahead))?;
    // `saturday dec 5`: the date says it more exactly.
    let after = &rest[1..];
    if let Some((more, date)) = month_day(after, today) {
        return Some((length + more, date));
    }
    Some((length, date))
}

fn weekday(low: &str) -> Option<Weekday> {
    Some(match low {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" | "wensday" | "wednsday" => Weekday::Wednesday,
        "thursday" | "thu" | "thur" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

fn month(low: &str) -> Option<Month> {
    const NAMES: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let index = NAMES.iter().position(|name| {
        *name == low || (low.len() == 3 && name.starts_with(low)) || low == "sept" && *name == "september"
    })?;
    Month::try_from(u8::try_from(index + 1).ok()?).ok()
}

/// `3rd`, `21st`.
fn ordinal(low: &str) -> Option<u8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|suffix| low.strip_suffix(suffix))?;
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

fn day_number(low: &str) -> Option<u8> {
    ordinal(low).or_else(|| low.parse().ok().filter(|day| low.len() <= 2 && (1..=31).contains(day)))
}

/// `dec 24`, `december 24th, 2027`, `24 dec`, `the 24th of december`.
fn month_day(words: &[Word], today: Date) -> Option<(usize, Date)> {
    let rest = strip(words, "the").unwrap_or(words);
    let (month, day, rest) = if let Some(month) = month(&rest.first()?.low) {
        (month, day_number(&rest.get(1)?.low)?, &rest[2..])
    } else {
        let day = day_number(&rest[0].low)?;
        let after = strip(&rest[1..], "of").unwrap_or(&rest[1..]);
        (month(&after.first()?.low)?, day, &after[1..])
    };
    let year = rest.first().and_then(|word| word.low.parse().ok()).filter(|year| (2000..2200).contains(year));
    let length = words.len() - rest.len() + usize::from(year.is_some());
    Some((length, dated(year, month, day, today)?))
}

/// `christmas` at the end; a `christmas tree` is no date.
fn holiday(words: &[Word], today: Date) -> Option<(usize, Date)> {
    let days = [("christmas eve", 24), ("xmas eve", 24), ("new years eve", 31), ("christmas", 25), ("xmas", 25)];
    let (name, day) = days.into_iter().find(|(name, _)| strip(words, name).is_some_and(<[Word]>::is_empty))?;
    Some((name.split(' ').count(), dated(None, Month::December, day, today)?))
}

/// Without a year, the next one.
fn dated(year: Option<i32>, month: Month, day: u8, today: Date) -> Option<Date> {
    match year {
        Some(year) => Date::from_calendar_date(year, month, day).ok(),
        // The 29th of February may be years ahead.
        None => (0..=8)
            .filter_map(|ahead| Date::from_calendar_date(today.year() + ahead, month, day).ok())
            .find(|date| *date >= today),
    }
}

fn next_with_number(number: u8, today: Date) -> Option<Date> {
    (0..=12)
        .filter_map(|ahead| {
            apply(
                Shift::Months(ahead),
                Due { date: today.replace_day(1).ok()?, time: None },
                PrimitiveDateTime::new(today, Time::MIDNIGHT),
            )
        })
        .filter_map(|first| first.date.replace_day(number).ok())
        .find(|date| *date > today)
}

/// `2026-12-24`, `24.12.2026`, and after a word like `by` also `24.12.` and `24/12`. Where the day and the month could be
/// exchanged, `3/12`, it is no date.
fn numeric(word: &Word, led: bool, today: Date) -> Option<Date> {
    let low = word.low.as_str();
    let parts = |separator: char| -> Option<Vec<u16>> {
        let parts: Vec<&str> = low.split(separator).collect();
        let digits = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.iter().all(digits).then(|| parts.iter().filter_map(|part| part.parse().ok()).collect())
    };
    let date = |year: Option<u16>, month: u16, day: u16| {
        let year = year.map(|year| i32::from(if year < 100 { 2000 + year } else { year }));
        dated(year, Month::try_from(u8::try_from(month).ok()?).ok()?, u8::try_from(day).ok()?, today)
    };
    if let Some([year @ 1000..=9999, month, day]) = parts('-').as_deref() {
        return date(Some(*year), *month, *day);
    }
    match parts('.').as_deref() {
        Some([day, month, year]) => return date(Some(*year), *month, *day),
        Some([day, month]) if led && word.trail.starts_with('.') => return date(None, *month, *day),
        _ => {}
    }
    let slashed = parts('/')?;
    let ([first, second, ..], true) = (slashed.as_slice(), led || slashed.len() == 3) else { return None };
    let year = slashed.get(2).copied();
    match (*first > 12, *second > 12) {
        (true, false) => date(year, *second, *first),
        (false, true) => date(year, *first, *second),
        _ => None,
    }
}

/// The days that a list is of: those of a week or a month, or a single one.
pub fn span(words: &[Word], now: PrimitiveDateTime) -> Option<(usize, (Date, Date))> {
    let today = now.date();
    let monday = monday(today)?;
    let plus = |from: Date, days| from.checked_add(Duration::days(days));
    let (_, rest) = strip_any(words, &["due", "for", "on", "in", "over", "during", "by"]).unwrap_or(("", words));
    let rest = strip(rest, "the").unwrap_or(rest);
    let lead = words.len() - rest.len();
    let spans: &[(&str, Option<(Date, Date)>)] = &[
        ("soon", Some(today).zip(plus(today, 7))),
        ("next weekend", plus(monday, 12).zip(plus(monday, 13))),
        ("this weekend", plus(monday, 5).zip(plus(monday, 6))),
        ("weekend", plus(monday, 5).zip(plus(monday, 6))),
        ("this week", Some(monday).zip(plus(monday, 6))),
        ("next week", plus(monday, 7).zip(plus(monday, 13))),
        ("this month", today.replace_day(1).ok().zip(last_of_month(today))),
        (
            "next month",
            last_of_month(today).and_then(Date::next_day).and_then(|first| Some((first, last_of_month(first)?))),
        ),
    ];
    if let Some((name, Some(days))) = spans.iter().find(|(name, _)| strip(rest, name).is_some()) {
        return Some((lead + name.split(' ').count(), *days));
    }
    if let Some(after) = strip(rest, "next").or_else(|| strip(rest, "coming"))
        && let Some((length, shift)) = amount(after)
    {
        let last = apply(shift, Due { date: today, time: None }, now)?.date;
        return Some((lead + 1 + length, (today, last)));
    }
    let when = phrase(words, now)?;
    let day = when.day()?;
    Some((when.length, (day, day)))
}

/// All of the words are one phrase; it may begin with `to`.
pub fn whole(words: &[Word], now: PrimitiveDateTime) -> Option<When> {
    let is_whole = |words: &[Word]| phrase(words, now).filter(|when| when.length == words.len());
    let Some(rest) = strip(words, "to") else { return is_whole(words) };
    is_whole(rest).or_else(|| is_whole(&[&[words[0].meaning("on")], rest].concat()))
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime, time};

    use super::{super::words::split, *};

    /// A Wednesday.
    const NOW: PrimitiveDateTime = datetime!(2026-11-25 10:15);

    fn due(text: &str) -> Option<Due> {
        let words = split(text);
        phrase(&words, NOW).filter(|when| when.length == words.len()).and_then(|when| when.due(NOW))
    }

    #[test]
    fn days_are_read() {
        for (text, wanted) in [
            ("today", date!(2026 - 11 - 25)),
            ("the day after tomorrow", date!(2026 - 11 - 27)),
            ("friday", date!(2026 - 11 - 27)),
            ("wednesday", date!(2026 - 12 - 02)),
            ("this friday", date!(2026 - 11 - 27)),
            ("next friday", date!(2026 - 12 - 04)),
            ("next mon", date!(2026 - 11 - 30)),
            ("in 3 days", date!(2026 - 11 - 28)),
            ("a week from now", date!(2026 - 12 - 02)),
            ("in a month", date!(2026 - 12 - 25)),
            ("next month", date!(2026 - 12 - 01)),
            ("by the end of the month", date!(2026 - 11 - 30)),
            ("on the 3rd", date!(2026 - 12 - 03)),
            ("on the 31st", date!(2026 - 12 - 31)),
            ("Dec 24", date!(2026 - 12 - 24)),
            ("24th of december 2027", date!(2027 - 12 - 24)),
            ("march 1", date!(2027 - 03 - 01)),
            ("feb 29", date!(2028 - 02 - 29)),
            ("friday the 27th", date!(2026 - 11 - 27)),
            ("saturday dec 5", date!(2026 - 12 - 05)),
            ("2026-12-24", date!(2026 - 12 - 24)),
            ("24.12.2026", date!(2026 - 12 - 24)),
            ("by 24/12", date!(2026 - 12 - 24)),
            ("by 12/24", date!(2026 - 12 - 24)),
            ("before christmas", date!(2026 - 12 - 25)),
        ] {
            assert_eq!(due(text), Some(Due { date: wanted, time: None }), "{text}");
        }
    }

    #[test]
    fn times_come_with_days_or_alone() {
        for (text, date, time) in [
            ("5pm", date!(2026 - 11 - 25), time!(17:00)),
            ("9am", date!(2026 - 11 - 26), time!(9:00)),
            ("tonight", date!(2026 - 11 - 25), time!(20:00)),
            ("by monday 9:30", date!(2026 - 11 - 30), time!(9:30)),
            ("tomorrow evening at 7", date!(2026 - 11 - 26), time!(19:00)),
            ("at 10:30 on the 1st of december", date!(2026 - 12 - 01), time!(10:30)),
            ("in 2 hours", date!(2026 - 11 - 25), time!(12:15)),
            ("in half an hour", date!(2026 - 11 - 25), time!(10:45)),
        ] {
            assert_eq!(due(text), Some(Due { date, time: Some(time) }), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        for text in [
            "friday the 13th",
            "3/12",
            "sun cream",
            "may",
            "march",
            "the 3rd",
            "24/7",
            "on 32/13",
            "in 3 apples",
            "feb 30",
            "\"friday\"",
        ] {
            assert_eq!(due(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_of_spans() {
        for (text, from, to) in [
            ("this week", date!(2026 - 11 - 23), date!(2026 - 11 - 29)),
            ("next week", date!(2026 - 11 - 30), date!(2026 - 12 - 06)),
            ("this month", date!(2026 - 11 - 01), date!(2026 - 11 - 30)),
            ("the next 3 days", date!(2026 - 11 - 25), date!(2026 - 11 - 28)),
            ("on friday", date!(2026 - 11 - 27), date!(2026 - 11 - 27)),
        ] {
            assert_eq!(span(&split(text), NOW).map(|(_, days)| days), Some((from, to)), "{text}");
        }
    }

    #[test]
    fn what_leaves_the_calendar_is_no_date() {
        let last = datetime!(9999-12-31 23:59);
        for text in ["tomorrow", "in 5 days", "next week", "in 10000 years", "9am"] {
            assert_eq!(phrase(&split(text), last).and_then(|when| when.due(last)), None, "{text}");
        }
    }
}
