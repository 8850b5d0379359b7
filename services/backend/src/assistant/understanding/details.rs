//! Due date, priority and tags: taken from both ends of a title, or from words that say nothing else.

use time::PrimitiveDateTime;

use super::{
    Due, Priority,
    dates::{self, When},
    words::{Word, is_past, skip, strip, strip_any, strip_end, written},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub when: Option<When>,
    pub priority: Option<Priority>,
    pub tags: Vec<String>,
}

/// A date phrase is looked for in so many words at the end.
const PHRASE_MAX_WORDS: usize = 12;
/// Before a date phrase these make it a part of the title: `every monday`, `from friday`.
const HOLD: &[&str] =
    &["every", "each", "from", "since", "last", "past", "of", "than", "between", "and", "or", "to", "a", "an"];
/// Of works, whose names may hold days: `watch Freaky Friday`.
const WORKS: &[&str] = &["watch", "read", "play", "see", "hear", "stream", "buy", "order"];

impl Details {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn due(&self, now: PrimitiveDateTime) -> Option<Due> {
        self.when.and_then(|when| when.due(now))
    }
}

/// The title, and what was taken from around it. A title never loses all of its words.
pub fn take(text: &str, words: &[Word], now: PrimitiveDateTime) -> (String, Details) {
    let mut details = Details::default();
    if let Some((first, rest)) = words.split_first()
        && first.quoted
        && let Some(details) = whole(rest, now)
    {
        return (written(text, &words[..1]).to_owned(), details);
    }
    let words = take_end(take_start(words, &mut details, now), &mut details, now);
    if details.when.is_none()
        && let Some((start, when)) = inside(words, now)
    {
        details.when = Some(when);
        let (before, after) = (&words[..start], &words[start + when.length..]);
        return (format!("{} {}", written(text, before), written(text, after)), details);
    }
    (written(text, words).to_owned(), details)
}

/// What something is changed to: `to friday`, `to the 5th`, `to high`.
pub fn target(words: &[Word], now: PrimitiveDateTime) -> Option<Details> {
    let Some(rest) = strip(words, "to") else { return whole(words, now) };
    let on: Vec<Word> = [&[words[0].meaning("on")], rest].concat();
    whole(rest, now).or_else(|| whole(&on, now)).filter(|_| !rest.is_empty())
}

/// Details where the words are nothing but details.
pub fn whole(words: &[Word], now: PrimitiveDateTime) -> Option<Details> {
    let mut details = Details::default();
    let mut rest = skip(words, &["and", "with", "as", "please", "thanks"]);
    while !rest.is_empty() {
        let length = if let Some((length, priority)) = priority(rest).or_else(|| priority_word(rest)) {
            details.priority = Some(priority);
            length
        } else if let Some((length, tag)) = tag(rest) {
            details.tags.push(tag);
            length
        } else {
            let when = dates::phrase(rest, now).filter(|_| details.when.is_none())?;
            details.when = Some(when);
            when.length
        };
        rest = skip(&rest[length..], &["and", "with", "as", "please", "thanks"]);
    }
    Some(details)
}

fn take_start<'w>(mut words: &'w [Word], details: &mut Details, now: PrimitiveDateTime) -> &'w [Word] {
    loop {
        if details.priority.is_none()
            && let Some((length, priority)) = priority(words)
            && words.len() > length
            && is_set_off(words, length)
        {
            details.priority = Some(priority);
            words = skip(&words[length..], &["to"]);
        } else if details.when.is_none()
            && let Some(when) = dates::phrase(words, now)
            && words.len() > when.length
            && opens(words, when)
        {
            details.when = Some(when);
            words = skip(&words[when.length..], &["to", "that"]);
        } else {
            return words;
        }
    }
}

/// `URGENT call`, `urgent: call`, `high priority call`; but not `important papers`.
fn is_set_off(words: &[Word], length: usize) -> bool {
    let last = &words[length - 1];
    length > 1
        || last.trail.contains([':', ',', '-', '!', ')'])
        || last.low.starts_with(['!', 'p'])
        || (last.core.len() > 1 && last.core.chars().all(|char| !char.is_lowercase()))
}

/// Whether a date at the beginning is one: `tomorrow call mum`, not `Friday Night Lights`.
fn opens(words: &[Word], when: When) -> bool {
    let next = &words[when.length];
    let capital = |word: &Word| word.core.starts_with(char::is_uppercase);
    when.led
        || next.low == "to"
        || words[when.length - 1].trail.contains([':', ',', '-'])
        || !(capital(&words[when.length - 1]) && capital(next))
}

fn take_end<'w>(mut words: &'w [Word], details: &mut Details, now: PrimitiveDateTime) -> &'w [Word] {
    loop {
        let before = words.len();
        words = strip_end(words, "please")
            .filter(|rest| rest.last().is_some_and(|word| word.low != "say"))
            .unwrap_or(words);
        if let Some((rest, tag)) = tag_at_end(words) {
            details.tags.insert(0, tag);
            words = rest;
        }
        if details.priority.is_none()
            && let Some((rest, priority)) = priority_at_end(words)
        {
            details.priority = Some(priority);
            words = rest;
        }
        if details.when.is_none()
            && let Some((start, when)) = date_at_end(words, now)
        {
            details.when = Some(when);
            words = &words[..start];
        }
        if words.len() == before || words.is_empty() {
            return words;
        }
        if let Some(rest) = strip_end(words, "and").or_else(|| strip_end(words, "with")).filter(|rest| !rest.is_empty())
        {
            words = rest;
        }
    }
}

fn date_at_end(words: &[Word], now: PrimitiveDateTime) -> Option<(usize, When)> {
    let first = words.len().saturating_sub(PHRASE_MAX_WORDS).max(1);
    (first..words.len()).find_map(|start| {
        let when = dates::phrase(&words[start..], now)?;
        let ends = start + when.length == words.len();
        (ends && stands_alone(words, start, when)).then_some((start, when))
    })
}

/// In the middle only what can hardly be a name: after a word like `on`, or `tomorrow` and the like.
fn inside(words: &[Word], now: PrimitiveDateTime) -> Option<(usize, When)> {
    (1..words.len()).take(200).find_map(|start| {
        let first = &words[start];
        let marked = ["on", "by", "before", "at", "until", "due"].contains(&first.low.as_str())
            || ["today", "tomorrow", "tonight"].contains(&first.core.as_str());
        if !marked {
            return None;
        }
        let when = dates::phrase(&words[start..], now)?;
        (start + when.length < words.len() && stands_alone(words, start, when)).then_some((start, when))
    })
}

fn stands_alone(words: &[Word], start: usize, when: When) -> bool {
    let before = &words[start - 1];
    let capital = |word: &Word| word.core.starts_with(char::is_uppercase);
    let name =
        !when.led && start > 1 && WORKS.contains(&words[0].low.as_str()) && capital(before) && capital(&words[start]);
    let held = HOLD.contains(&before.low.as_str()) && before.trail.is_empty();
    !name && !held && words[start..start + when.length].iter().all(|word| !word.quoted)
}

fn tag_at_end(words: &[Word]) -> Option<(&[Word], String)> {
    let (last, mut rest) = words.split_last()?;
    let tag = last.low.strip_prefix('#').filter(|tag| is_tag(tag));
    let tag = match tag {
        Some(tag) => tag,
        None => {
            rest = ["tagged", "tagged as", "with tag", "with the tag"]
                .iter()
                .find_map(|phrase| strip_end(rest, phrase))?;
            last.low.as_str()
        }
    };
    (!rest.is_empty() && is_tag(tag)).then(|| (rest, tag.to_owned()))
}

/// `#home`, `tagged home`.
pub fn tag(words: &[Word]) -> Option<(usize, String)> {
    let first = words.first()?;
    if let Some(tag) = first.low.strip_prefix('#').filter(|tag| is_tag(tag)) {
        return Some((1, tag.to_owned()));
    }
    let leads = ["tagged as", "tagged with", "tagged", "with the tag", "with tag", "tag", "labelled", "labeled"];
    let (_, rest) = strip_any(words, &leads)?;
    let tag = rest.first()?.low.trim_start_matches('#').to_owned();
    is_tag(&tag).then(|| (words.len() - rest.len() + 1, tag))
}

/// Not `#3`, which is a task.
pub fn is_tag(tag: &str) -> bool {
    tag.starts_with(char::is_alphabetic) && tag.chars().all(|char| char.is_alphanumeric() || "-_".contains(char))
}

/// What says a priority wherever it stands, and in how many words.
pub fn priority(words: &[Word]) -> Option<(usize, Priority)> {
    const PHRASES: &[(&str, Priority)] = &[
        ("not urgent", Priority::Low),
        ("not so urgent", Priority::Low),
        ("not that urgent", Priority::Low),
        ("not important", Priority::Low),
        ("not so important", Priority::Low),
        ("no rush", Priority::Low),
        ("no hurry", Priority::Low),
        ("low priority", Priority::Low),
        ("lowest priority", Priority::Low),
        ("priority low", Priority::Low),
        ("medium priority", Priority::Medium),
        ("normal priority", Priority::Medium),
        ("priority medium", Priority::Medium),
        ("priority normal", Priority::Medium),
        ("high priority", Priority::High),
        ("highest priority", Priority::High),
        ("higher priority", Priority::High),
        ("lower priority", Priority::Low),
        ("top priority", Priority::High),
        ("priority high", Priority::High),
        ("very urgent", Priority::High),
        ("very important", Priority::High),
        ("super urgent", Priority::High),
        ("it is urgent", Priority::High),
        ("it is important", Priority::High),
        ("urgent", Priority::High),
        ("urgently", Priority::High),
        ("important", Priority::High),
        ("asap", Priority::High),
        ("!high", Priority::High),
        ("!medium", Priority::Medium),
        ("!low", Priority::Low),
        ("!urgent", Priority::High),
        ("!!", Priority::High),
        ("!!!", Priority::High),
        ("p1", Priority::High),
        ("p2", Priority::Medium),
        ("p3", Priority::Low),
    ];
    let rest = strip_any(words, &["with a", "with", "as"]).map_or(words, |(_, rest)| rest);
    let found = PHRASES.iter().find_map(|(phrase, priority)| strip(rest, phrase).map(|after| (after, *priority)));
    found.map(|(after, priority)| (words.len() - after.len(), priority))
}

/// A word that is a priority only where nothing else can be meant: `set 3 to high`.
pub fn priority_word(words: &[Word]) -> Option<(usize, Priority)> {
    let priority = match words.first()?.low.as_str() {
        "low" => Priority::Low,
        "medium" | "normal" => Priority::Medium,
        "high" | "critical" | "top" => Priority::High,
        _ => return None,
    };
    Some((1, priority))
}

fn priority_at_end(words: &[Word]) -> Option<(&[Word], Priority)> {
    // The longest first.
    (words.len().saturating_sub(5)..words.len()).filter(|start| *start > 0).find_map(|start| {
        let (length, priority) = priority(&words[start..])?;
        let before = &words[start - 1];
        let set_off = !before.trail.is_empty() || !words[start].lead.is_empty() || length > 1;
        let marked = words[start].low.starts_with(['!', 'p', 'a']);
        let holds = ["is", "are", "be", "most", "more", "less", "and", "or", "the", "what", "for", "an", "a", "not"];
        let plain = !holds.contains(&before.low.as_str()) && !is_past(&before.low);
        (start + length == words.len() && (set_off || marked || plain)).then_some((&words[..start], priority))
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{super::words::split, *};

    const NOW: PrimitiveDateTime = datetime!(2026-11-25 10:15);

    #[test]
    fn a_title_keeps_the_words_that_only_look_like_details() {
        for title in [
            "read Friday the 13th",
            "buy the Sunday Times",
            "watch Black Friday",
            "water plants every monday",
            "reply to urgent email from Jo",
            "check what is important",
            "important papers to the safe",
            "move from monday",
            "tomorrow",
            "say please",
        ] {
            let (left, details) = take(title, &split(title), NOW);
            assert_eq!((left.as_str(), details), (title, Details::default()));
        }
    }

    #[test]
    fn details_are_taken_from_around_a_title() {
        for (said, title, priority, tags, dated) in [
            ("call mum tomorrow !high", "call mum", Some(Priority::High), &[][..], true),
            ("urgent: call mum", "call mum", Some(Priority::High), &[], false),
            ("call mum (no rush)", "call mum", Some(Priority::Low), &[], false),
            ("call mum #family on friday at 5, p1", "call mum", Some(Priority::High), &["family"], true),
            ("tomorrow call mum", "call mum", None, &[], true),
            ("call mum tomorrow about the cake", "call mum about the cake", None, &[], true),
            ("'call mum tomorrow' !low", "call mum tomorrow", Some(Priority::Low), &[], false),
        ] {
            let (left, details) = take(said, &split(said), NOW);
            assert_eq!(
                (left.as_str(), details.priority, &details.tags[..]),
                (title, priority, &tags.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{said}"
            );
            assert_eq!(details.when.is_some(), dated, "{said}");
        }
    }
}
