//! What the tools are given, and what the backend is asked for it. In arguments, null is the same as left out: some models
//! send it for whatever they don't mean. No I/O.

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A model reads every word of a list.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 100;
const DESCRIPTION_CUT_CHARS: usize = 200;

#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What is to be done, in one line of at most 200 characters
    #[schemars(length(min = 1, max = 200))]
    title: String,
    /// More about it, if there is more to say
    #[schemars(length(max = 10000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// low, medium or high; medium if it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    /// The day on which it is due, YYYY-MM-DD
    #[schemars(extend("format" = "date"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    due_on: Option<String>,
    /// The time of that day, HH:MM in 24 hours; left out for the whole day
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    due_time: Option<String>,
    /// The user's zone of the IANA, as Europe/Berlin, in which day and time are meant; UTC if it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// At most 20 words or short names, without commas
    #[schemars(length(max = 20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    Medium,
    High,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    Created,
    Position,
    Due,
    Priority,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// true for completed tasks, false for open ones, left out for both
    completed: Option<bool>,
    /// Only tasks of this priority
    priority: Option<Priority>,
    /// Only tasks that have all of these tags
    tags: Option<Vec<String>>,
    /// Only tasks due on a day before this one, YYYY-MM-DD
    #[schemars(extend("format" = "date"))]
    due_before: Option<String>,
    /// Only tasks due on a day after this one, YYYY-MM-DD
    #[schemars(extend("format" = "date"))]
    due_after: Option<String>,
    /// true for open tasks whose day or time is over, false for all others
    overdue: Option<bool>,
    /// created (newest first), position (as ordered by hand), due (the next first) or priority (high first); created if
    /// it is left out
    sort: Option<Sort>,
    /// At most this many, 1 to 100; 50 if it is left out
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// The next_cursor of the result before, with the other arguments as they were, to see what comes after it
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Words, each of which is in the title or in the description, in any case
    #[schemars(length(min = 1, max = 200))]
    query: String,
    /// true for completed tasks, false for open ones, left out for both
    completed: Option<bool>,
    /// At most this many, 1 to 100; 50 if it is left out
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// The next_cursor of the result before, with the other arguments as they were, to see what comes after it
    cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskId {
    /// The task's id, a number as list_tasks shows it
    pub id: i32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The task's id, a number as list_tasks shows it
    pub id: i32,
    /// Its version as it was read; if it has another by now, nothing is changed
    pub version: Option<i32>,
    /// What is to be done, in one line of at most 200 characters
    #[schemars(length(min = 1, max = 200))]
    title: Option<String>,
    /// More about it
    #[schemars(length(max = 10000))]
    description: Option<String>,
    /// low, medium or high
    priority: Option<Priority>,
    /// The day on which it is due, YYYY-MM-DD
    #[schemars(extend("format" = "date"))]
    due_on: Option<String>,
    /// The time of that day, HH:MM in 24 hours
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    due_time: Option<String>,
    /// The user's zone of the IANA, as Europe/Berlin, in which day and time are meant
    time_zone: Option<String>,
    /// All its tags: others are taken away
    #[schemars(length(max = 20))]
    tags: Option<Vec<String>>,
    /// What to take away; with due_on goes due_time
    clear: Option<Vec<Clearable>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clearable {
    Description,
    DueOn,
    DueTime,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The task's id, a number as list_tasks shows it
    pub id: i32,
    /// The id of the task that comes right after it. Give one of before, after and to
    before: Option<i32>,
    /// The id of the task that comes right before it
    after: Option<i32>,
    /// first or last of all
    to: Option<End>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    First,
    Last,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// The undo_token of the result of what is to be taken back
    pub undo_token: String,
}

/// What the backend is asked for.
#[derive(Default, Serialize)]
pub struct Query {
    completed: Option<bool>,
    priority: Option<Priority>,
    tag: Option<String>,
    due_before: Option<String>,
    due_after: Option<String>,
    overdue: Option<bool>,
    q: Option<String>,
    sort: Option<Sort>,
    limit: usize,
    cursor: Option<String>,
}

impl Listing {
    pub fn query(self) -> Result<Query, String> {
        let tags = self.tags.filter(|tags| !tags.is_empty());
        Ok(Query {
            completed: self.completed,
            priority: self.priority,
            tag: tags.map(|tags| tags.join(",")),
            due_before: self.due_before,
            due_after: self.due_after,
            overdue: self.overdue,
            sort: self.sort,
            limit: valid_limit(self.limit)?,
            cursor: self.cursor,
            q: None,
        })
    }
}

impl Search {
    pub fn query(self) -> Result<Query, String> {
        if self.query.trim().is_empty() {
            return Err("query is empty; give words to look for, or use list_tasks".to_owned());
        }
        Ok(Query {
            completed: self.completed,
            q: Some(self.query),
            limit: valid_limit(self.limit)?,
            cursor: self.cursor,
            ..Query::default()
        })
    }
}

impl Query {
    pub fn encoded(&self) -> Result<String, String> {
        serde_urlencoded::to_string(self).map_err(|_| "the arguments can't be sent".to_owned())
    }
}

fn valid_limit(limit: Option<i64>) -> Result<usize, String> {
    let limit = limit.map_or(Ok(LIMIT_DEFAULT), usize::try_from);
    match limit {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("limit is out of range; use 1 to {LIMIT_MAX}")),
    }
}

impl Change {
    pub fn body(&self) -> Result<Value, String> {
        let fields = [
            ("title", json!(self.title)),
            ("description", json!(self.description)),
            ("priority", json!(self.priority)),
            ("due_on", json!(self.due_on)),
            ("due_time", json!(self.due_time)),
            ("time_zone", json!(self.time_zone)),
            ("tags", json!(self.tags)),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_null());
        let mut body: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), value)).collect();
        for field in self.clear.iter().flatten() {
            let name = match field {
                Clearable::Description => "description",
                Clearable::DueOn => "due_on",
                Clearable::DueTime => "due_time",
            };
            if body.get(name).is_some_and(|value| !value.is_null()) {
                return Err(format!("{name} is given and is to be cleared; do one of both"));
            }
            body.insert(name.to_owned(), Value::Null);
        }
        Ok(Value::Object(body))
    }
}

impl Move {
    pub fn body(&self) -> Value {
        json!({"before": self.before, "after": self.after, "to": self.to})
    }
}

/// Cuts a description that is long.
pub fn shorten(task: &mut Value) {
    let Some(description) = task["description"].as_str() else { return };
    if let Some((end, _)) = description.char_indices().nth(DESCRIPTION_CUT_CHARS) {
        task["description"] = json!(format!("{}…", &description[..end]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_edges() {
        assert_eq!(valid_limit(None), Ok(50));
        assert_eq!((valid_limit(Some(1)), valid_limit(Some(100))), (Ok(1), Ok(100)));
        for wrong in [0, 101, -1, i64::MAX] {
            assert_eq!(valid_limit(Some(wrong)).unwrap_err(), "limit is out of range; use 1 to 100");
        }
    }

    #[test]
    fn a_description_is_cut_between_characters() {
        let cut = |description: Value| {
            let mut task = json!({"description": description});
            shorten(&mut task);
            task["description"].clone()
        };
        assert_eq!(cut(json!("ä".repeat(200))), json!("ä".repeat(200)));
        assert_eq!(cut(json!("ä".repeat(201))), json!("ä".repeat(200) + "…"));
        assert_eq!(cut(Value::Null), Value::Null);
    }

    #[test]
    fn null_takes_nothing_away_and_clear_does() {
        let change = |value: Value| serde_json::from_value::<Change>(value).unwrap().body();
        assert_eq!(change(json!({"id": 1, "title": "x", "description": null})), Ok(json!({"title": "x"})));
        let cleared = change(json!({"id": 1, "clear": ["description", "due_on", "due_time"]}));
        assert_eq!(cleared, Ok(json!({"description": null, "due_on": null, "due_time": null})));
        let both = change(json!({"id": 1, "due_on": "2026-12-24", "clear": ["due_on"]}));
        assert_eq!(both.unwrap_err(), "due_on is given and is to be cleared; do one of both");
    }
}
