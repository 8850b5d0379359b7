//! Words of a sentence, each with where it is in the text, so that a title is cut out of what was said as it was said.

/// A word. `low` is what it is compared by; a contraction makes several words at the same place.
#[derive(Clone, Debug)]
pub struct Word {
    pub low: String,
    start: usize,
    end: usize,
    /// The punctuation before and after it.
    pub lead: String,
    pub trail: String,
    /// All that stood in quotes is one word.
    pub quoted: bool,
    /// As it was written, without its punctuation.
    pub core: String,
}

const LEADS: &[char] = &['(', '[', '{', '*', '\u{2022}', '"', '\u{201c}', ',', ';', ':'];
const TRAILS: &[char] = &[')', ']', '}', '.', ',', ';', ':', '!', '?', '"', '\u{201d}', '\u{2026}'];
const DASHES: &[&str] = &["-", "--", "\u{2013}", "\u{2014}", "*", "\u{2022}"];

/// What is written in one way and means another word.
const ALIASES: &[(&str, &str)] = &[
    ("u", "you"),
    ("r", "are"),
    ("&", "and"),
    ("n", "and"),
    ("pls", "please"),
    ("plz", "please"),
    ("plese", "please"),
    ("pleas", "please"),
    ("abt", "about"),
    ("@", "at"),
    ("w/", "with"),
    ("+", "add"),
    ("whens", "when is"),
    ("thx", "thanks"),
    ("ty", "thanks"),
    ("prio", "priority"),
    ("tmrw", "tomorrow"),
    ("tmr", "tomorrow"),
    ("tmw", "tomorrow"),
    ("2moro", "tomorrow"),
    ("tomorow", "tomorrow"),
    ("tommorow", "tomorrow"),
    ("tommorrow", "tomorrow"),
    ("tomorrrow", "tomorrow"),
    ("2day", "today"),
    ("tonite", "tonight"),
    ("to-do", "todo"),
    ("to-dos", "todos"),
    ("gonna", "going to"),
    ("gotta", "got to"),
    ("wanna", "want to"),
    ("gimme", "give me"),
    ("whats", "what is"),
    ("wheres", "where is"),
    ("hows", "how is"),
    ("thats", "that is"),
    ("im", "i am"),
    ("ive", "i have"),
    ("weve", "we have"),
    ("theyre", "they are"),
    ("isnt", "is not"),
    ("arent", "are not"),
    ("wasnt", "was not"),
    ("dont", "do not"),
    ("doesnt", "does not"),
    ("didnt", "did not"),
    ("havent", "have not"),
    ("hasnt", "has not"),
    ("lets", "let us"),
];

/// Only with the apostrophe; without it each is another word.
const CONTRACTIONS: &[(&str, &str)] = &[
    ("it's", "it is"),
    ("one's", "one is"),
    ("i'd", "i would"),
    ("i'll", "i will"),
    ("we're", "we are"),
    ("there's", "there is"),
];

impl Word {
    /// Whether a new line begins between them.
    pub fn is_before_line(&self, next: &Self, text: &str) -> bool {
        self.end <= next.start && text[self.end..next.start].contains('\n')
    }

    /// The same place in the text, meant as another word.
    pub fn meaning(&self, low: &str) -> Self {
        Self { low: low.to_owned(), ..self.clone() }
    }

    pub fn start(&self) -> usize {
        self.start
    }
}

pub fn split(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    while let Some(skip) = text[at..].find(|char: char| !char.is_whitespace()) {
        at += skip;
        if let Some((start, end)) = quotation(text, at) {
            let close = text[end..].chars().next().map_or(0, char::len_utf8);
            let stop = chunk_end(text, end + close);
            push(&mut words, text, (at, stop), (start, end), true);
            at = stop;
            continue;
        }
        let stop = chunk_end(text, at);
        let chunk = &text[at..stop];
        if chunk.starts_with("!!") {
            push(&mut words, text, (at, stop), (at, stop), false);
        } else if DASHES.contains(&chunk) || chunk.chars().all(|char| TRAILS.contains(&char)) {
            if let Some(last) = words.last_mut() {
                last.trail.push_str(if DASHES.contains(&chunk) { "-" } else { chunk });
            }
        } else {
            let start = at + (chunk.len() - chunk.trim_start_matches(LEADS).len());
            let end = start + text[start..stop].trim_end_matches(TRAILS).len();
            push_numbers(&mut words, text, (at, stop), (start, end));
        }
        at = stop;
    }
    words
}

fn chunk_end(text: &str, from: usize) -> usize {
    text[from..].find(char::is_whitespace).map_or(text.len(), |length| from + length)
}

/// The inside of a quotation that opens here and closes at the end of a word.
fn quotation(text: &str, at: usize) -> Option<(usize, usize)> {
    let open = text[at..].chars().next()?;
    let closes: &[char] = match open {
        '"' => &['"'],
        '\u{201c}' | '\u{201e}' => &['\u{201d}', '\u{201c}', '"'],
        '\'' => &['\''],
        '\u{2018}' => &['\u{2019}'],
        '`' => &['`'],
        _ => return None,
    };
    let start = at + open.len_utf8();
    text[start..].char_indices().find_map(|(offset, char)| {
        let after = text[start + offset + char.len_utf8()..].chars().next();
        let closed =
            closes.contains(&char) && after.is_none_or(|after| after.is_whitespace() || TRAILS.contains(&after));
        (closed && !text[start..start + offset].trim().is_empty()).then_some((start, start + offset))
    })
}

/// `1,2,3` without spaces is three words.
fn push_numbers(words: &mut Vec<Word>, text: &str, whole: (usize, usize), core: (usize, usize)) {
    let inside = &text[core.0..core.1];
    let numbers = |char: char| char.is_ascii_digit() || char == ',' || char == '#';
    if !(inside.contains(',') && inside.chars().all(numbers) && !inside.contains(",,")) {
        return push(words, text, whole, core, false);
    }
    let (mut start, mut from) = (core.0, whole.0);
    while let Some(length) = text[start..core.1].find(',') {
        push(words, text, (from, start + length + 1), (start, start + length), false);
        start += length + 1;
        from = start;
    }
    push(words, text, (from, whole.1), (start, core.1), false);
}

fn push(words: &mut Vec<Word>, text: &str, (start, end): (usize, usize), core: (usize, usize), quoted: bool) {
    let written = &text[core.0..core.1];
    let (lead, trail) = (text[start..core.0].to_owned(), text[core.1..end].to_owned());
    let small = written.to_lowercase().replace('\u{2019}', "'");
    let low = small.replace('\'', "");
    let known = |table: &[(&str, &'static str)], key: &str| {
        table.iter().find(|(written, _)| *written == key).map(|(_, meant)| *meant)
    };
    let low = match known(CONTRACTIONS, &small).or_else(|| known(ALIASES, &low)) {
        Some(meant) if !quoted => meant.to_owned(),
        _ if quoted => small,
        _ => low,
    };
    let parts: Vec<&str> = if quoted { vec![&low] } else { low.split(' ').collect() };
    let last = parts.len() - 1;
    for (number, part) in parts.into_iter().enumerate() {
        words.push(Word {
            low: part.to_owned(),
            start,
            end,
            lead: if number == 0 { lead.clone() } else { String::new() },
            trail: if number == last { trail.clone() } else { String::new() },
            quoted,
            core: written.to_owned(),
        });
    }
}

/// The words as they were written, without what only separates them from the rest.
pub fn written<'a>(text: &'a str, words: &[Word]) -> &'a str {
    let ([first, ..], [.., last]) = (words, words) else { return "" };
    if words.len() == 1 && first.quoted {
        return text[first.start + first.lead.len()..first.end - first.trail.len()].trim();
    }
    let raw = text[first.start..last.end].trim_start_matches([',', ';', ':', ' ', '\u{2022}']).trim();
    let bare = raw.trim_end_matches([',', ';', ':', ' ', '-', '\u{2013}', '\u{2014}']);
    match bare.strip_suffix(['.', '!']) {
        Some(short) if !short.ends_with(['.', '!']) => short.trim_end(),
        _ => bare,
    }
}

/// The words as they are compared, in one line.
pub fn plain(words: &[Word]) -> String {
    words.iter().map(|word| word.low.as_str()).collect::<Vec<_>>().join(" ")
}

/// No statement about a task and no change of one has more words; a title or a description may.
pub const STATEMENT_MAX: usize = 40;

/// What follows the phrase.
pub fn strip<'w>(words: &'w [Word], phrase: &str) -> Option<&'w [Word]> {
    let mut rest = words;
    for wanted in phrase.split(' ') {
        let (first, after) = rest.split_first()?;
        if first.low != wanted || first.quoted {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// What follows the first of the phrases that fits, and that phrase.
pub fn strip_any<'w, 'p>(words: &'w [Word], phrases: &[&'p str]) -> Option<(&'p str, &'w [Word])> {
    phrases.iter().find_map(|phrase| strip(words, phrase).map(|rest| (*phrase, rest)))
}

/// What comes before the phrase at the end.
pub fn strip_end<'w>(words: &'w [Word], phrase: &str) -> Option<&'w [Word]> {
    let length = phrase.split(' ').count();
    let start = words.len().checked_sub(length)?;
    strip(&words[start..], phrase).map(|_| &words[..start])
}

pub fn strip_end_any<'w>(words: &'w [Word], phrases: &[&str]) -> Option<&'w [Word]> {
    phrases.iter().find_map(|phrase| strip_end(words, phrase))
}

/// Leaves out any of the words at the beginning.
pub fn skip<'w>(mut words: &'w [Word], any: &[&str]) -> &'w [Word] {
    while let Some((first, rest)) = words.split_first()
        && !first.quoted
        && any.contains(&first.low.as_str())
    {
        words = rest;
    }
    words
}

/// Past forms that end in other ways than `-ed`.
const IRREGULAR: &[(&str, &str)] = &[
    ("bought", "buy"),
    ("brought", "bring"),
    ("built", "build"),
    ("caught", "catch"),
    ("chose", "choose"),
    ("cut", "cut"),
    ("did", "do"),
    ("drank", "drink"),
    ("drove", "drive"),
    ("ate", "eat"),
    ("fed", "feed"),
    ("found", "find"),
    ("flew", "fly"),
    ("gave", "give"),
    ("got", "get"),
    ("held", "hold"),
    ("hung", "hang"),
    ("left", "leave"),
    ("lent", "lend"),
    ("made", "make"),
    ("met", "meet"),
    ("paid", "pay"),
    ("put", "put"),
    ("ran", "run"),
    ("rang", "ring"),
    ("read", "read"),
    ("sang", "sing"),
    ("saw", "see"),
    ("sold", "sell"),
    ("sent", "send"),
    ("spoke", "speak"),
    ("swept", "sweep"),
    ("swam", "swim"),
    ("taught", "teach"),
    ("took", "take"),
    ("threw", "throw"),
    ("went", "go"),
    ("won", "win"),
    ("wrote", "write"),
    ("written", "write"),
    ("done", "do"),
    ("gone", "go"),
    ("seen", "see"),
    ("taken", "take"),
    ("thrown", "throw"),
];

/// Whether it says that something has happened: `paid`, `watered`.
pub fn is_past(low: &str) -> bool {
    IRREGULAR.iter().any(|(past, _)| *past == low)
        || (low.len() > 4 && low.ends_with("ed") && !low.ends_with("eed") && low.is_ascii())
}

/// The same for all forms of a word; only to compare with.
pub fn stem(low: &str) -> String {
    let low = IRREGULAR.iter().find(|(past, _)| *past == low).map_or(low, |(_, base)| base);
    let mut stem = low.strip_suffix("ies").or_else(|| low.strip_suffix("ied")).map_or_else(
        || low.to_owned(),
        |short| if short.chars().count() > 1 { format!("{short}y") } else { low.to_owned() },
    );
    for suffix in ["ing", "ed", "s"] {
        if let Some(short) = stem.strip_suffix(suffix)
            && short.chars().count() > 2
            && !short.ends_with('s')
        {
            let mut chars = short.chars().rev();
            let doubled = suffix != "s" && chars.next() == chars.next() && !short.ends_with(['l', 's', 'z']);
            stem = short[..short.len() - usize::from(doubled && short.is_ascii())].to_owned();
            break;
        }
    }
    match stem.strip_suffix('e') {
        Some(short) if short.chars().count() > 2 => short.to_owned(),
        _ => stem,
    }
}

/// Whether one is the other with a slip: a letter left out, doubled, wrong, or two exchanged; two slips in long words.
pub fn is_slip_of(written: &str, meant: &str) -> bool {
    let (written, meant): (Vec<char>, Vec<char>) =
        (written.chars().take(40).collect(), meant.chars().take(40).collect());
    let allowed = match meant.len() {
        0..4 => 0,
        4..6 => 1,
        _ => 2,
    };
    written.len().abs_diff(meant.len()) <= allowed && distance(&written, &meant) <= allowed
}

fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut least = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left[i - 1] == *b && right[j - 1] == *a {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

/// A number in digits or in words.
pub fn number(low: &str) -> Option<u32> {
    const NAMES: &[&str] =
        &["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    if low.bytes().all(|byte| byte.is_ascii_digit()) {
        return low.parse().ok();
    }
    NAMES.iter().position(|name| *name == low).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lows(text: &str) -> String {
        plain(&split(text))
    }

    #[test]
    fn words_are_lower_case_without_punctuation() {
        assert_eq!(lows("Add: buy MILK, (please)!"), "add buy milk please");
        assert_eq!(lows("what's left?"), "what is left");
        assert_eq!(lows("it isn\u{2019}t its"), "it is not its");
        assert_eq!(lows("done 1,2 and #3."), "done 1 2 and #3");
        assert_eq!(lows("a - b \u{2014} !! !high"), "a b !! !high");
        assert_eq!(lows("... , ?"), "");
    }

    #[test]
    fn what_is_quoted_is_one_word() {
        let words = split("add 'Call Tom's boss' now");
        assert_eq!((words.len(), words[1].quoted), (3, true));
        assert_eq!(written("add 'Call Tom's boss' now", &words[1..2]), "Call Tom's boss");
        assert!(split("it's 5 o'clock").iter().all(|word| !word.quoted));
    }

    #[test]
    fn what_was_written_is_kept() {
        let text = "add  Zo\u{eb}'s  caf\u{e9} (2 l), ";
        assert_eq!(written(text, &split(text)[1..]), "Zo\u{eb}'s  caf\u{e9} (2 l)");
        assert_eq!(written("wait...", &split("wait...")), "wait...");
        assert_eq!(written("", &[]), "");
    }

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for (form, base) in [
            ("bought", "buy"),
            ("called", "call"),
            ("writing", "write"),
            ("prepared", "prepare"),
            ("running", "run"),
            ("invoices", "invoice"),
            ("carried", "carry"),
            ("plants", "plant"),
        ] {
            assert_eq!(stem(form), stem(base), "{form}");
        }
        assert_ne!(stem("milk"), stem("mill"));
    }

    #[test]
    fn slips_are_few() {
        for (written, meant) in [("lsit", "list"), ("dentits", "dentist"), ("rember", "remember"), ("mlik", "milk")] {
            assert!(is_slip_of(written, meant), "{written}");
        }
        for (written, meant) in [("mum", "mom"), ("sing", "list"), ("eggs", "bread")] {
            assert!(!is_slip_of(written, meant), "{written}");
        }
    }
}
