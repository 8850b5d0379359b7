//! What a task may hold: from what a client has written to values that the database takes. No I/O.

use time::{Date, Time, format_description::BorrowedFormatItem, macros::format_description};

use super::{Listing, NewTask, Priority, TaskChange};
use crate::error::ApiError;

pub const TITLE_MAX_CHARS: usize = 200;
pub const DESCRIPTION_MAX_CHARS: usize = 10_000;
pub const TAGS_MAX: usize = 20;
pub const TAG_MAX_CHARS: usize = 50;
const QUERY_MAX_CHARS: usize = 200;
const TIME_ZONE_MAX_BYTES: usize = 64;
/// As the table allows.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2999;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const MOMENT: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]");

time::serde::format_description!(pub day, Date, "[year]-[month]-[day]");
time::serde::format_description!(pub moment, Time, "[hour]:[minute]");

/// A task that can be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub title: String,
    pub description: Option<String>,
    pub completed: bool,
    pub priority: Priority,
    pub due_on: Option<Date>,
    pub due_time: Option<Time>,
    /// The database knows which zones there are.
    pub time_zone: Option<String>,
    pub tags: Vec<String>,
}

/// A change that can be made; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub title: Option<String>,
    pub description: Option<Option<String>>,
    pub completed: Option<bool>,
    pub priority: Option<Priority>,
    pub due_on: Option<Option<Date>>,
    pub due_time: Option<Option<Time>>,
    pub time_zone: Option<String>,
    pub tags: Option<Vec<String>>,
}

/// Which tasks are meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub completed: Option<bool>,
    pub priority: Option<Priority>,
    /// A task has all of them.
    pub tags: Vec<String>,
    pub due_before: Option<Date>,
    pub due_after: Option<Date>,
    pub overdue: Option<bool>,
    /// Each is in the title or in the description.
    pub words: Vec<String>,
}

pub(super) fn draft(new: NewTask) -> Result<Draft, ApiError> {
    let due_on = new.due_on.as_deref().map(|text| valid_day("due_on", text)).transpose()?;
    let due_time = new.due_time.as_deref().map(valid_moment).transpose()?;
    if due_time.is_some() && due_on.is_none() {
        return Err(ApiError::Invalid(NEEDS_DUE_ON.to_owned()));
    }
    Ok(Draft {
        title: valid_title(&new.title)?.to_owned(),
        description: new.description.as_deref().map(valid_description).transpose()?.map(str::to_owned),
        completed: false,
        priority: new.priority,
        due_on,
        due_time,
        time_zone: new.time_zone.as_deref().map(valid_time_zone).transpose()?.map(str::to_owned),
        tags: valid_tags(&new.tags)?,
    })
}

pub(super) fn change(change: TaskChange) -> Result<Change, ApiError> {
    if change == TaskChange::default() {
        let fields = "title, description, completed, priority, due_on, due_time, time_zone or tags";
        return Err(ApiError::Invalid(format!("nothing to change; give {fields}")));
    }
    let description = change.description;
    let due_on = change.due_on.map(|text| text.map(|text| valid_day("due_on", &text)).transpose()).transpose()?;
    let due_time = change.due_time.map(|text| text.map(|text| valid_moment(&text)).transpose()).transpose()?;
    if due_on == Some(None) && matches!(due_time, Some(Some(_))) {
        return Err(ApiError::Invalid(NEEDS_DUE_ON.to_owned()));
    }
    Ok(Change {
        title: change.title.as_deref().map(valid_title).transpose()?.map(str::to_owned),
        description: description
            .map(|text| text.map(|text| valid_description(&text).map(str::to_owned)).transpose())
            .transpose()?,
        completed: change.completed,
        priority: change.priority,
        // Without a day there is no time.
        due_time: if due_on == Some(None) { Some(None) } else { due_time },
        due_on,
        time_zone: change.time_zone.as_deref().map(valid_time_zone).transpose()?.map(str::to_owned),
        tags: change.tags.as_deref().map(valid_tags).transpose()?,
    })
}

pub(super) fn filter(listing: Listing) -> Result<Filter, ApiError> {
    let q = listing.q.unwrap_or_default();
    let chars = q.chars().count();
    if chars > QUERY_MAX_CHARS {
        return Err(ApiError::Invalid(format!("q has {chars} characters; at most {QUERY_MAX_CHARS} are searched for")));
    }
    if q.contains('\0') {
        return Err(ApiError::Invalid("q holds a NUL character; take it out".to_owned()));
    }
    let tags = listing.tag.iter().flat_map(|tags| tags.split(','));
    let tags: Vec<String> = tags.filter(|tag| !tag.trim().is_empty()).map(str::to_owned).collect();
    Ok(Filter {
        completed: listing.completed,
        priority: listing.priority,
        tags: valid_tags(&tags)?,
        due_before: listing.due_before.as_deref().map(|text| valid_day("due_before", text)).transpose()?,
        due_after: listing.due_after.as_deref().map(|text| valid_day("due_after", text)).transpose()?,
        overdue: listing.overdue,
        words: q.split_whitespace().map(str::to_owned).collect(),
    })
}

pub const NEEDS_DUE_ON: &str = "due_time needs due_on; give the day as well";

pub fn valid_title(title: &str) -> Result<&str, ApiError> {
    let title = title.trim();
    let chars = title.chars().count();
    if chars == 0 {
        return Err(ApiError::Invalid("title is empty; give it 1 to 200 characters".to_owned()));
    }
    if chars > TITLE_MAX_CHARS {
        return Err(ApiError::Invalid(format!("title has {chars} characters; at most {TITLE_MAX_CHARS} are kept")));
    }
    if title.chars().any(char::is_control) {
        return Err(ApiError::Invalid("title holds a control character; use one line of text".to_owned()));
    }
    Ok(title)
}

pub fn valid_description(description: &str) -> Result<&str, ApiError> {
    let chars = description.chars().count();
    if chars > DESCRIPTION_MAX_CHARS {
        let message = format!("description has {chars} characters; at most {DESCRIPTION_MAX_CHARS} are kept");
        return Err(ApiError::Invalid(message));
    }
    // PostgreSQL keeps every character but this one.
    if description.contains('\0') {
        return Err(ApiError::Invalid("description holds a NUL character; take it out".to_owned()));
    }
    Ok(description)
}

/// In lower case, in alphabetical order, none twice.
pub fn valid_tags(tags: &[String]) -> Result<Vec<String>, ApiError> {
    let mut valid = Vec::new();
    for tag in tags {
        let tag = tag.trim().to_lowercase();
        let chars = tag.chars().count();
        if chars == 0 || chars > TAG_MAX_CHARS {
            return Err(ApiError::Invalid(format!("a tag has {chars} characters; use 1 to {TAG_MAX_CHARS}")));
        }
        if tag.contains(',') || tag.chars().any(char::is_control) {
            return Err(ApiError::Invalid("a tag holds a comma or a control character; use other ones".to_owned()));
        }
        valid.push(tag);
    }
    valid.sort();
    valid.dedup();
    if valid.len() > TAGS_MAX {
        return Err(ApiError::Invalid(format!("there are {} tags; at most {TAGS_MAX} are kept", valid.len())));
    }
    Ok(valid)
}

pub fn valid_day(field: &str, text: &str) -> Result<Date, ApiError> {
    let day = Date::parse(text.trim(), DAY)
        .map_err(|_| ApiError::Invalid(format!("{field} is not a day, YYYY-MM-DD as in 2026-12-24")))?;
    if !YEARS.contains(&day.year()) {
        return Err(ApiError::Invalid(format!("{field} is not in the years {} to {}", YEARS.start(), YEARS.end())));
    }
    Ok(day)
}

pub fn valid_moment(text: &str) -> Result<Time, ApiError> {
    Time::parse(text.trim(), MOMENT)
        .map_err(|_| ApiError::Invalid("due_time is not a time of day, HH:MM as in 17:00".to_owned()))
}

/// Whether it looks like a zone's name. PostgreSQL takes rules of its own as well, which no browser knows: they have
/// digits.
pub fn valid_time_zone(text: &str) -> Result<&str, ApiError> {
    let is_offset = text.strip_prefix("Etc/GMT").is_some();
    let is_name = text == "UTC"
        || text.split_once('/').is_some_and(|(area, place)| {
            !place.is_empty()
                && area.chars().all(|char| char.is_ascii_alphabetic())
                && place.chars().all(|char| {
                    char.is_ascii_alphabetic()
                        || matches!(char, '/' | '_' | '-')
                        || is_offset && matches!(char, '+' | '0'..='9')
                })
        });
    if is_name && text.len() <= TIME_ZONE_MAX_BYTES { Ok(text) } else { Err(unknown_time_zone()) }
}

pub fn unknown_time_zone() -> ApiError {
    ApiError::Invalid("time_zone is not a zone of the IANA, as Europe/Berlin is".to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::{date, time};

    use super::*;

    fn new(title: &str) -> NewTask {
        NewTask { title: title.to_owned(), ..NewTask::default() }
    }

    fn message<T: std::fmt::Debug>(outcome: Result<T, ApiError>) -> String {
        match outcome {
            Err(ApiError::Invalid(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn titles_are_trimmed_and_bounded() {
        assert_eq!(valid_title("  milk ").unwrap(), "milk");
        assert_eq!(valid_title(&"ä".repeat(200)).unwrap().chars().count(), 200);
        for wrong in ["", " \t ", "a\nb", "a\0", &"ä".repeat(201)] {
            assert!(matches!(valid_title(wrong), Err(ApiError::Invalid(_))), "{wrong:?}");
        }
    }

    #[test]
    fn descriptions_may_have_lines_but_no_nul() {
        assert!(valid_description("a\nb").is_ok());
        assert!(valid_description(&"ä".repeat(10_000)).is_ok());
        assert!(valid_description("a\0b").is_err());
        assert!(valid_description(&"x".repeat(10_001)).is_err());
    }

    #[test]
    fn tags_are_made_plain_and_bounded() {
        let tags = |tags: &[&str]| valid_tags(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert_eq!(tags(&[" Work ", "home", "work", "ÄRZTE"]).unwrap(), ["home", "work", "ärzte"]);
        assert!(tags(&[&"ä".repeat(50)]).is_ok());
        assert_eq!(message(tags(&[&"ä".repeat(51)])), "a tag has 51 characters; use 1 to 50");
        for wrong in ["", "  ", "a,b", "a\nb", "a\0"] {
            assert!(tags(&[wrong]).is_err(), "{wrong:?}");
        }
        let many: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        assert!(valid_tags(&many[..20]).is_ok());
        assert_eq!(message(valid_tags(&many)), "there are 21 tags; at most 20 are kept");
        // One that comes twice counts once.
        assert!(valid_tags(&[&many[..20], &many[..1]].concat()).is_ok());
    }

    #[test]
    fn days_and_times_are_read() {
        assert_eq!(valid_day("due_on", "2028-02-29").unwrap(), date!(2028 - 02 - 29));
        assert!(valid_day("due_on", "1970-01-01").is_ok() && valid_day("due_on", "2999-12-31").is_ok());
        for wrong in ["1969-12-31", "3000-01-01", "2027-02-29", "2026-1-1", "tomorrow", "", "2026-12-24T10:00:00Z"] {
            assert!(message(valid_day("due_on", wrong)).starts_with("due_on is not"), "{wrong}");
        }
        assert_eq!(valid_moment("09:05").unwrap(), time!(9:05));
        for wrong in ["24:00", "9:05", "09:60", "5pm", "", "09:05:00"] {
            assert!(valid_moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_zones_look_like_names() {
        for right in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+12"]
        {
            assert!(valid_time_zone(right).is_ok(), "{right}");
        }
        assert!(valid_time_zone(&format!("A/{}", "b".repeat(62))).is_ok());
        assert!(valid_time_zone(&format!("A/{}", "b".repeat(63))).is_err());
        for wrong in
            ["", "CET-1", "Foo/Bar+3", "EST5EDT", "Europe/", "../etc/passwd", "Europe/Ber'lin", &"A/b".repeat(30)]
        {
            assert!(valid_time_zone(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_needs_a_day() {
        let due_time = Some("10:00".to_owned());
        assert_eq!(message(draft(NewTask { due_time: due_time.clone(), ..new("x") })), NEEDS_DUE_ON);
        let both = TaskChange { due_on: Some(None), due_time: Some(due_time), ..TaskChange::default() };
        assert_eq!(message(change(both)), NEEDS_DUE_ON);
        let gone = change(TaskChange { due_on: Some(None), ..TaskChange::default() }).unwrap();
        assert_eq!((gone.due_on, gone.due_time), (Some(None), Some(None)));
    }

    #[test]
    fn a_change_changes_something() {
        assert!(message(change(TaskChange::default())).starts_with("nothing to change; give title"));
    }

    #[test]
    fn a_search_is_words() {
        let found =
            filter(Listing { q: Some(" oat  milk ".to_owned()), tag: Some("A,b".to_owned()), ..Listing::default() });
        let found = found.unwrap();
        assert_eq!(
            (found.words, found.tags),
            (vec!["oat".to_owned(), "milk".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
        let search = |q: String| filter(Listing { q: Some(q), ..Listing::default() });
        assert!(search("ä".repeat(200)).is_ok());
        assert!(search("ä".repeat(201)).is_err() && search("\0".to_owned()).is_err());
    }
}
