//! What a file of tasks looks like. No I/O.

use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use super::{
    super::{
        Priority, Task,
        fields::{
            Draft, NEEDS_DUE_ON, valid_day, valid_description, valid_moment, valid_tags, valid_time_zone, valid_title,
        },
    },
    FILE_MAX_TASKS,
};
use crate::error::ApiError;

/// In the order of an export.
const COLUMNS: [&str; 11] = [
    "id",
    "title",
    "description",
    "completed",
    "priority",
    "due_on",
    "due_time",
    "time_zone",
    "tags",
    "created_at",
    "updated_at",
];
/// What an export has and an import makes anew.
const PASSED_OVER: [&str; 7] = ["id", "user_id", "position", "version", "due_at", "created_at", "updated_at"];
/// What makes a spreadsheet calculate a cell.
const FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One task of a file, not yet looked at.
#[derive(Debug)]
pub struct Record {
    /// `line 3` or `item 3`.
    place: String,
    /// Why it can't be read at all.
    broken: Option<String>,
    fields: Vec<(String, Field)>,
}

#[derive(Debug, PartialEq)]
enum Field {
    Text(String),
    Flag(bool),
    List(Vec<String>),
    Other,
}

pub fn to_json(tasks: &[Task], is_first: bool, is_last: bool) -> String {
    let mut text = if is_first { "[".to_owned() } else { String::new() };
    for (number, task) in tasks.iter().enumerate() {
        text.push_str(if is_first && number == 0 { "\n" } else { ",\n" });
        text.push_str(&serde_json::to_string(task).expect("a task is JSON"));
    }
    if is_last {
        text.push_str("\n]\n");
    }
    text
}

pub fn to_csv(tasks: &[Task], is_first: bool) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let into_memory = "memory takes everything";
    if is_first {
        writer.write_record(COLUMNS).expect(into_memory);
    }
    for task in tasks {
        let value = serde_json::to_value(task).expect("a task is JSON");
        let cells = COLUMNS.map(|column| match (column, &value[column]) {
            ("created_at", _) => task.created_at.format(&Rfc3339).unwrap_or_default(),
            (_, Value::String(text)) => escape_formula(text),
            (_, Value::Array(_)) => escape_formula(&task.tags.join(", ")),
            (_, Value::Null) => String::new(),
            (_, other) => other.to_string(),
        });
        writer.write_record(cells).expect(into_memory);
    }
    String::from_utf8(writer.into_inner().expect(into_memory)).expect("text makes text")
}

pub fn from_json(text: &str) -> Result<Vec<Record>, ApiError> {
    let value: Value = serde_json::from_str(text).map_err(|err| {
        ApiError::BadRequest(format!("the file is not JSON: see line {}, column {}", err.line(), err.column()))
    })?;
    let Value::Array(items) = value else {
        return Err(ApiError::Invalid("the file is not a list of tasks, [{\"title\": …}, …]".to_owned()));
    };
    let record = |(number, item)| {
        let place = format!("item {}", number + 1);
        match item {
            Value::Object(fields) => Record {
                place,
                broken: None,
                fields: fields.into_iter().filter_map(|(name, value)| Some((name, field(value)?))).collect(),
            },
            _ => Record { place, broken: Some("it is not an object, {\"title\": …}".to_owned()), fields: Vec::new() },
        }
    };
    Ok(items.into_iter().enumerate().map(record).collect())
}

/// None for null.
fn field(value: Value) -> Option<Field> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Field::Text(text)),
        Value::Bool(flag) => Some(Field::Flag(flag)),
        Value::Array(items) => {
            let texts = items.into_iter().map(|item| item.as_str().map(str::to_owned));
            Some(texts.collect::<Option<_>>().map_or(Field::Other, Field::List))
        }
        _ => Some(Field::Other),
    }
}

pub fn from_csv(text: &str) -> Result<Vec<Record>, ApiError> {
    // The number of fields is held to the first line's here, to name every line in which it differs.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let unreadable = |_| ApiError::Invalid("the file is not CSV".to_owned());
    let columns: Vec<String> =
        reader.headers().map_err(unreadable)?.iter().map(|name| name.trim().to_lowercase()).collect();
    if !columns.iter().any(|name| name == "title") {
        let message = "line 1 names no column \"title\"; it must name the columns, with commas between";
        return Err(ApiError::Invalid(message.to_owned()));
    }
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        let place = format!("line {}", row.position().map_or(0, csv::Position::line));
        let broken = (row.len() != columns.len())
            .then(|| format!("it has {} fields; line 1 names {} columns", row.len(), columns.len()));
        let cells = columns.iter().zip(&row).filter(|(_, cell)| !cell.trim().is_empty());
        let fields = cells.map(|(name, cell)| (name.clone(), cell_field(name, cell))).collect();
        records.push(Record { place, broken, fields });
        if records.len() > FILE_MAX_TASKS {
            let message = format!("the file has more than {FILE_MAX_TASKS} tasks; import it in parts");
            return Err(ApiError::Invalid(message));
        }
    }
    Ok(records)
}

fn cell_field(name: &str, cell: &str) -> Field {
    let cell = unescape_formula(cell);
    match (name, cell.trim().to_ascii_lowercase().as_str()) {
        ("completed", "true") => Field::Flag(true),
        ("completed", "false") => Field::Flag(false),
        ("tags", _) => Field::List(cell.split(',').map(str::to_owned).collect()),
        _ => Field::Text(cell.to_owned()),
    }
}

/// With an apostrophe before it a cell is text to a spreadsheet. One that begins with apostrophes before a formula gets
/// another, so that what comes back is what went out.
fn escape_formula(cell: &str) -> String {
    if is_formula(cell) { format!("'{cell}") } else { cell.to_owned() }
}

fn unescape_formula(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULAS)
}

impl Record {
    /// The task, or all that is wrong with it, and its place.
    pub fn draft(self) -> (String, Result<Draft, Vec<String>>) {
        let mut mistakes: Vec<String> = self.broken.into_iter().collect();
        let mut draft = Draft::default();
        let mut has_title = !mistakes.is_empty();
        if mistakes.is_empty() {
            for (name, field) in self.fields {
                has_title |= name == "title";
                if let Err(err) = set(&mut draft, &name, field) {
                    mistakes.extend(message(err));
                }
            }
        }
        if !has_title {
            mistakes.push("title is missing".to_owned());
        }
        if draft.due_time.is_some() && draft.due_on.is_none() && mistakes.is_empty() {
            mistakes.push(NEEDS_DUE_ON.to_owned());
        }
        (self.place, if mistakes.is_empty() { Ok(draft) } else { Err(mistakes) })
    }
}

fn set(draft: &mut Draft, name: &str, field: Field) -> Result<(), ApiError> {
    match (name, field) {
        (name, _) if PASSED_OVER.contains(&name) => {}
        ("title", Field::Text(text)) => draft.title = valid_title(&text)?.to_owned(),
        ("description", Field::Text(text)) => draft.description = Some(valid_description(&text)?.to_owned()),
        ("completed", Field::Flag(flag)) => draft.completed = flag,
        ("priority", Field::Text(text)) => {
            draft.priority = match text.trim().to_ascii_lowercase().as_str() {
                "low" => Priority::Low,
                "medium" => Priority::Medium,
                "high" => Priority::High,
                _ => return Err(ApiError::Invalid("priority is not low, medium or high".to_owned())),
            }
        }
        ("due_on", Field::Text(text)) => draft.due_on = Some(valid_day("due_on", &text)?),
        ("due_time", Field::Text(text)) => draft.due_time = Some(valid_moment(&text)?),
        ("time_zone", Field::Text(text)) => draft.time_zone = Some(valid_time_zone(text.trim())?.to_owned()),
        ("tags", Field::List(tags)) => draft.tags = valid_tags(&tags)?,
        ("completed", _) => return Err(ApiError::Invalid("completed is not true or false".to_owned())),
        ("tags", _) => return Err(ApiError::Invalid("tags is not a list of texts".to_owned())),
        ("title" | "description" | "priority" | "due_on" | "due_time" | "time_zone", _) => {
            return Err(ApiError::Invalid(format!("{name} is not text")));
        }
        _ => {
            let name: String = name.chars().filter(|char| !char.is_control()).take(50).collect();
            return Err(ApiError::Invalid(format!("\"{name}\" is not a field of a task")));
        }
    }
    Ok(())
}

pub fn message(err: ApiError) -> Option<String> {
    match err {
        ApiError::Invalid(message) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts(records: Vec<Record>) -> Vec<(String, Result<Draft, Vec<String>>)> {
        records.into_iter().map(Record::draft).collect()
    }

    fn wrong(records: Vec<Record>) -> Vec<String> {
        let wrong = drafts(records).into_iter().filter_map(|(place, draft)| Some((place, draft.err()?)));
        wrong.flat_map(|(place, messages)| messages.into_iter().map(move |text| format!("{place}: {text}"))).collect()
    }

    #[test]
    fn a_formula_is_text_and_comes_back() {
        for (cell, escaped) in [
            ("=1+1", "'=1+1"),
            ("-milk", "'-milk"),
            ("@home", "'@home"),
            ("'=1", "''=1"),
            ("'tis", "'tis"),
            ("milk = 2", "milk = 2"),
            ("", ""),
        ] {
            assert_eq!(escape_formula(cell), escaped);
            assert_eq!(unescape_formula(escaped), cell);
        }
    }

    #[test]
    fn cells_are_quoted_and_may_have_lines() {
        let text = "Title,description,COMPLETED,priority,tags\n\
            \"a, \"\"b\"\"\",\"two\nlines\",TRUE,High,\"x, y\"\n\
            plain,,,,\n";
        let found = drafts(from_csv(text).unwrap());
        let first = Draft {
            title: "a, \"b\"".to_owned(),
            description: Some("two\nlines".to_owned()),
            completed: true,
            priority: Priority::High,
            tags: vec!["x".to_owned(), "y".to_owned()],
            ..Draft::default()
        };
        assert_eq!(found[0], ("line 2".to_owned(), Ok(first)));
        // The line in the file, not the number of the record.
        let second = Draft { title: "plain".to_owned(), ..Draft::default() };
        assert_eq!(found[1], ("line 4".to_owned(), Ok(second)));
    }

    #[test]
    fn all_mistakes_of_a_csv_file_are_found() {
        let text = "title,completed,due_on,due_time,owner\n,maybe,,,\nx,,tomorrow,25:00,me\nx,true\ny,,,10:00,\n";
        assert_eq!(
            wrong(from_csv(text).unwrap()),
            [
                "line 2: completed is not true or false",
                "line 2: title is missing",
                "line 3: due_on is not a day, YYYY-MM-DD as in 2026-12-24",
                "line 3: due_time is not a time of day, HH:MM as in 17:00",
                "line 3: \"owner\" is not a field of a task",
                "line 4: it has 2 fields; line 1 names 5 columns",
                "line 5: due_time needs due_on; give the day as well",
            ]
        );
        for text in ["", "name\nx\n", "title;tags\nx;y\n"] {
            assert!(from_csv(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_mistakes_of_a_json_file_are_found() {
        let text =
            r#"[{"title": 1, "tags": "x", "completed": "no"}, 7, {"description": null, "tags": [1]}, {"title": "x"}]"#;
        assert_eq!(
            wrong(from_json(text).unwrap()),
            [
                "item 1: completed is not true or false",
                "item 1: tags is not a list of texts",
                "item 1: title is not text",
                "item 2: it is not an object, {\"title\": …}",
                "item 3: tags is not a list of texts",
                "item 3: title is missing",
            ]
        );
        assert!(
            matches!(from_json("[{]"), Err(ApiError::BadRequest(message)) if message.ends_with("line 1, column 3"))
        );
        assert!(matches!(from_json("{}"), Err(ApiError::Invalid(_))));
    }

    #[test]
    fn a_list_is_whole_however_many_parts_it_comes_in() {
        assert_eq!(to_json(&[], true, true), "[\n]\n");
        assert_eq!(to_csv(&[], true).trim_end().split(',').count(), COLUMNS.len());
        assert_eq!(to_csv(&[], false), "");
    }
}
