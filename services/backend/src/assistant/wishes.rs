//! What a language model may wish for, and what that is in the grammar's terms. No I/O.

use serde_json::{Map, Value, json};

use super::understanding::{Change, Due, Known, New, NewDue, Priority, Request, Wish};
use crate::tasks::{valid_day, valid_moment, valid_tags};

/// A tool of the MCP server, as it describes it.
#[derive(Debug)]
pub struct Tool {
    pub name: String,
    description: String,
    /// Of the arguments.
    schema: Value,
    pub is_read: bool,
}

/// None where the answer to `tools/list` holds no tools.
pub fn tools_of(result: &Value) -> Option<Vec<Tool>> {
    let tool = |tool: &Value| {
        Some(Tool {
            name: tool["name"].as_str()?.to_owned(),
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            schema: Some(&tool["inputSchema"]).filter(|schema| schema.is_object())?.clone(),
            is_read: tool["annotations"]["readOnlyHint"] == true,
        })
    };
    let tools: Vec<Tool> = result["tools"].as_array()?.iter().map(tool).collect::<Option<_>>()?;
    (!tools.is_empty()).then_some(tools)
}

impl Tool {
    /// As models are offered it.
    pub fn offer(&self) -> Value {
        let Self { name, description, schema, .. } = self;
        json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema}})
    }

    /// The error is for the model, to put it right.
    pub fn wish(&self, arguments: &str) -> Result<Wish, String> {
        let arguments = match arguments.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).map_err(|err| format!("The arguments can't be read: {err}"))?,
        };
        let Value::Object(arguments) = arguments else { return Err("The arguments are no object.".to_owned()) };
        self.check(&arguments).map_err(|reason| format!("The arguments don't fit: {reason}."))?;
        Ok(Wish { tool: self.name.clone(), arguments })
    }

    /// The server checks the rest. This is what must be right before the user is asked about it.
    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        let required = self.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = required.into_iter().find(|name| !arguments.contains_key(*name)) {
            return Err(format!("{missing} is missing"));
        }
        let is_closed = self.schema["additionalProperties"] == false;
        for (name, value) in arguments {
            match self.schema["properties"].get(name) {
                Some(schema) if !is_of_type(value, schema) => return Err(format!("{name} is of the wrong type")),
                None if is_closed => return Err(format!("{name} is unknown")),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_of_type(value: &Value, schema: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap_or_default() {
        "integer" if schema["format"] == "int32" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    };
    match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

/// Days and times that a model gives without a zone are meant in the user's.
pub fn with_time_zone(mut wish: Wish, time_zone: &str) -> Wish {
    let Wish { tool, arguments } = &mut wish;
    let given = |name: &str| arguments.get(name).is_some_and(|value| !value.is_null());
    let is_due = matches!(tool.as_str(), "add_task" | "update_task") && (given("due_on") || given("due_time"));
    if is_due && !given("time_zone") {
        arguments.insert("time_zone".to_owned(), json!(time_zone));
    }
    wish
}

/// The same in the grammar's terms, one thing at a time; none where the grammar has no words for it.
pub fn parts_of_wish(wish: &Wish, tasks: &[Known], time_zone: &str) -> Option<Vec<Request>> {
    let ids = || wish.id().map(|id| vec![id]);
    let part = match wish.tool.as_str() {
        "add_task" => Request::Add(New { title: wish.text("title")?.to_owned(), ..New::default() }),
        "complete_task" => Request::Complete { ids: ids()? },
        "reopen_task" => Request::Reopen { ids: ids()? },
        "delete_task" => Request::Delete { ids: ids()? },
        "update_task" => return parts_of_update(wish, tasks, time_zone),
        "undo_change" => Request::Undo,
        _ => return None,
    };
    Some(vec![part])
}

/// What the update comes to, given how the task is.
fn parts_of_update(wish: &Wish, tasks: &[Known], time_zone: &str) -> Option<Vec<Request>> {
    let id = wish.id()?;
    let task = tasks.iter().find(|task| task.id == id)?;
    let (mut parts, mut due) = (Vec::new(), task.due);
    let mut time = due.and_then(|due| due.time);
    let change = |change: Change| Request::Change { ids: vec![id], change };
    for (name, value) in wish.arguments.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "id" | "version" => {}
            "time_zone" if value == time_zone => {}
            "title" => parts.push(Request::Rename { id, title: value.as_str()?.to_owned() }),
            "priority" => {
                let priority = serde_json::from_value::<Priority>(value.clone()).ok()?;
                parts.push(change(Change { priority: Some(priority), ..Change::default() }));
            }
            "due_on" => due = Some(Due { date: valid_day(name, value.as_str()?).ok()?, time: None }),
            "due_time" => time = Some(valid_moment(value.as_str()?).ok()?),
            "clear" => match value.as_array()?.as_slice() {
                [what] if what == "due_on" => (due, time) = (None, None),
                [what] if what == "due_time" => time = None,
                _ => return None,
            },
            "tags" => {
                let tags: Vec<String> = serde_json::from_value(value.clone()).ok()?;
                let tags = valid_tags(&tags).ok()?;
                // The grammar takes none away.
                task.tags.iter().all(|tag| tags.contains(tag)).then_some(())?;
                let new = tags.into_iter().filter(|tag| !task.tags.contains(tag));
                parts.extend(new.map(|tag| change(Change { tags: vec![tag], ..Change::default() })));
            }
            _ => return None,
        }
    }
    let due = due.map(|due| Due { time, ..due });
    if due != task.due {
        let due = due.map_or(NewDue::Never, NewDue::At);
        parts.push(change(Change { due: Some(due), ..Change::default() }));
    }
    (!parts.is_empty()).then_some(parts)
}

/// A request of the grammar, one thing at a time.
pub fn parts_of_request(request: &Request) -> Vec<Request> {
    let one = |id: &i32| request.clone().with_ids(vec![*id]);
    match request {
        Request::Complete { ids } | Request::Reopen { ids } | Request::Delete { ids } => {
            ids.iter().filter_map(one).collect()
        }
        Request::Change { ids, change } => {
            let Change { due, priority, tags } = change;
            let due = due.map(|due| Change { due: Some(due), ..Change::default() });
            let priority = priority.map(|priority| Change { priority: Some(priority), ..Change::default() });
            let tags = tags.iter().map(|tag| Change { tags: vec![tag.to_lowercase()], ..Change::default() });
            let changes: Vec<Change> = due.into_iter().chain(priority).chain(tags).collect();
            let of = |id: &i32| {
                let ids = vec![*id];
                changes.clone().into_iter().map(move |change| Request::Change { ids: ids.clone(), change })
            };
            ids.iter().flat_map(of).collect()
        }
        other => vec![other.clone()],
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, time};

    use super::*;

    fn tool(name: &str) -> Tool {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["id"],
            "properties": {
                "id": {"type": "integer", "format": "int32"}, "title": {"type": ["string", "null"]}, "tags": {"type": "array"},
                "priority": {"anyOf": [{"type": "null"}]},
            },
        });
        let result = json!({"tools": [{"name": name, "inputSchema": schema, "annotations": {"readOnlyHint": true}}]});
        tools_of(&result).unwrap().remove(0)
    }

    fn wish(tool: &str, arguments: Value) -> Wish {
        Wish { tool: tool.to_owned(), arguments: arguments.as_object().unwrap().clone() }
    }

    fn task() -> Known {
        Known {
            id: 1,
            title: "milk".to_owned(),
            completed: false,
            priority: Priority::Medium,
            due: Some(Due { date: date!(2026 - 12 - 24), time: Some(time!(17:00)) }),
            tags: vec!["shop".to_owned()],
        }
    }

    fn parts(arguments: Value) -> Option<Vec<Request>> {
        parts_of_wish(&wish("update_task", arguments), &[task()], "Europe/Berlin")
    }

    fn change(change: Change) -> Request {
        Request::Change { ids: vec![1], change }
    }

    #[test]
    fn a_list_of_tools_is_read_or_refused() {
        assert!(tool("get_task").is_read);
        for wrong in [json!({}), json!({"tools": []}), json!({"tools": [{"name": "x"}]}), json!({"tools": [{}]})] {
            assert!(tools_of(&wrong).is_none(), "{wrong}");
        }
        let offered = tool("get_task").offer();
        assert_eq!((&offered["type"], &offered["function"]["name"]), (&json!("function"), &json!("get_task")));
        assert_eq!(offered["function"]["parameters"]["required"], json!(["id"]));
    }

    #[test]
    fn arguments_that_do_not_fit_are_put_right_by_the_model() {
        let tool = tool("update_task");
        for right in [r#"{"id": 1}"#, r#"{"id": 1, "title": null}"#, r#"{"id": 1, "title": "x", "priority": 1}"#] {
            assert!(tool.wish(right).is_ok(), "{right}");
        }
        for (wrong, wanted) in [
            ("", "id is missing"),
            ("{", "can't be read"),
            ("[1]", "no object"),
            (r#"{"id": "1"}"#, "id is of the wrong type"),
            (r#"{"id": 99999999999}"#, "id is of the wrong type"),
            (r#"{"id": 1, "titel": "x"}"#, "titel is unknown"),
            (r#"{"id": 1, "tags": "x"}"#, "tags is of the wrong type"),
        ] {
            let reason = tool.wish(wrong).unwrap_err();
            assert!(reason.contains(wanted), "{wrong}: {reason}");
        }
    }

    #[test]
    fn an_update_is_taken_apart() {
        assert_eq!(
            parts(json!({"id": 1, "version": 3, "title": "oat milk", "priority": "high", "description": null})),
            Some(vec![
                change(Change { priority: Some(Priority::High), ..Change::default() }),
                Request::Rename { id: 1, title: "oat milk".to_owned() },
            ])
        );
        let due = |date, time| change(Change { due: Some(NewDue::At(Due { date, time })), ..Change::default() });
        let friday = date!(2026 - 12 - 25);
        // Its time stays.
        assert_eq!(parts(json!({"id": 1, "due_on": "2026-12-25"})), Some(vec![due(friday, Some(time!(17:00)))]));
        assert_eq!(
            parts(json!({"id": 1, "due_on": "2026-12-25", "due_time": "09:00", "time_zone": "Europe/Berlin"})),
            Some(vec![due(friday, Some(time!(9:00)))])
        );
        let never = change(Change { due: Some(NewDue::Never), ..Change::default() });
        assert_eq!(parts(json!({"id": 1, "clear": ["due_on"]})), Some(vec![never]));
        let tag = change(Change { tags: vec!["dairy".to_owned()], ..Change::default() });
        assert_eq!(parts(json!({"id": 1, "tags": ["Shop", "Dairy"]})), Some(vec![tag]));
    }

    #[test]
    fn what_the_grammar_has_no_words_for_has_no_parts() {
        for wrong in [
            json!({"id": 2, "title": "x"}),
            json!({"id": 1, "description": "x"}),
            json!({"id": 1, "tags": ["dairy"]}),
            json!({"id": 1, "clear": ["description"]}),
            json!({"id": 1, "clear": ["due_on", "due_time"]}),
            json!({"id": 1, "due_on": "tomorrow"}),
            json!({"id": 1, "due_on": "2026-12-25", "time_zone": "UTC"}),
        ] {
            assert_eq!(parts(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(parts_of_wish(&wish("move_task", json!({"id": 1, "to": "first"})), &[task()], "UTC"), None);
    }

    #[test]
    fn a_request_for_several_tasks_is_taken_apart() {
        let both = Change { priority: Some(Priority::Low), tags: vec!["A".to_owned()], due: None };
        let parts = parts_of_request(&Request::Change { ids: vec![1, 2], change: both });
        let ids: Vec<i32> = parts.iter().flat_map(|part| part.ids().to_vec()).collect();
        assert_eq!(ids, [1, 1, 2, 2]);
        assert_eq!(parts[1], change(Change { tags: vec!["a".to_owned()], ..Change::default() }));
    }

    #[test]
    fn the_users_zone_is_filled_in_where_it_matters() {
        let zone = |tool: &str, arguments: Value| {
            with_time_zone(wish(tool, arguments), "Europe/Berlin").arguments.get("time_zone").cloned()
        };
        assert_eq!(zone("add_task", json!({"title": "x", "due_on": "2026-12-24"})), Some(json!("Europe/Berlin")));
        assert_eq!(zone("update_task", json!({"id": 1, "due_time": "10:00", "time_zone": "UTC"})), Some(json!("UTC")));
        assert_eq!(zone("add_task", json!({"title": "x", "due_on": null})), None);
        assert_eq!(zone("list_tasks", json!({"due_on": "x"})), None);
    }
}
