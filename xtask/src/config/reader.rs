//! Takes typed values out of a tree and collects every mistake on the way instead of stopping at the first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::json;

use crate::config::tree::{ConfigError, Node, Place, Value, to_json};

/// A table being read. Keys that are read are remembered, so that `finish` can report the unknown ones.
pub struct Reader<'a> {
    path: String,
    place: Place,
    entries: &'a BTreeMap<String, Node>,
    asked: RefCell<BTreeSet<&'static str>>,
    problems: &'a RefCell<Vec<ConfigError>>,
    /// The path with `*` for free names and `[]` for the places of a list, as in `smoke[].steps[]`.
    pattern: String,
    shape: Option<&'a Shape>,
}

/// The keys that were read, by pattern, as JSON Schema; for `schema`, which reads a sample with every key.
pub type Shape = RefCell<BTreeMap<String, serde_json::Value>>;

impl<'a> Reader<'a> {
    /// Reads the root of a file, which TOML makes a table.
    pub fn root(node: &'a Node, problems: &'a RefCell<Vec<ConfigError>>) -> Reader<'a> {
        Reader::recording(node, problems, None)
    }

    /// The same, recording the keys that are read in `shape`.
    pub fn recording(node: &'a Node, problems: &'a RefCell<Vec<ConfigError>>, shape: Option<&'a Shape>) -> Reader<'a> {
        let place = node.place.clone();
        let Value::Table(entries) = &node.value else { panic!("the root of a TOML document is a table") };
        Reader {
            path: String::new(),
            place,
            entries,
            asked: RefCell::default(),
            problems,
            pattern: String::new(),
            shape,
        }
    }

    /// A required value; if it is missing, that is reported and the type's default is returned.
    pub fn required<T: FromNode + Default>(&self, key: &'static str) -> T {
        self.ask(key);
        self.note(key, "", T::schema());
        match self.entries.get(key) {
            Some(node) => self.convert(key, node).unwrap_or_default(),
            None => {
                let example = T::expected();
                self.report(self.place.clone(), format!("{} is missing: add `{key}`, {example}", self.name(key)));
                T::default()
            }
        }
    }

    /// A required string that is not blank.
    pub fn text(&self, key: &'static str) -> String {
        let text: String = self.required(key);
        if self.entries.contains_key(key) && text.trim().is_empty() {
            self.report_at(key, format!("{} is empty", self.name(key)));
        }
        text
    }

    /// A required string that `is_valid`, of which `rule` says in words what it must be.
    pub fn checked(&self, key: &'static str, is_valid: fn(&str) -> bool, rule: &str) -> String {
        let text: String = self.required(key);
        if self.entries.contains_key(key) && !is_valid(&text) {
            self.report_at(key, format!("{} is \"{text}\": it must be {rule}", self.name(key)));
        }
        text
    }

    pub fn optional<T: FromNode>(&self, key: &'static str) -> Option<T> {
        self.ask(key);
        self.note(key, "", T::schema());
        self.entries.get(key).and_then(|node| self.convert(key, node))
    }

    /// A required integer within bounds; out of them it is reported with the bounds.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> i64 {
        let number: i64 = self.required(key);
        self.within(key, number, range)
    }

    pub fn optional_integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let number = self.optional(key);
        self.note(key, "", json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }));
        number.map(|number| self.within(key, number, range))
    }

    pub fn port(&self, key: &'static str) -> u16 {
        self.integer(key, 1..=65535) as u16
    }

    /// A required string that must be one of `allowed`.
    pub fn one_of(&self, key: &'static str, allowed: &[&str]) -> String {
        let text: String = self.required(key);
        self.note(key, "", json!({ "type": "string", "enum": allowed }));
        if self.entries.contains_key(key) && !allowed.contains(&text.as_str()) {
            self.report_at(key, format!("{} is \"{text}\": allowed are {}", self.name(key), quoted(allowed)));
        }
        text
    }

    /// The same for a string that may be absent.
    pub fn optional_one_of(&self, key: &'static str, allowed: &[&str]) -> Option<String> {
        self.ask(key);
        self.note(key, "", json!({ "type": "string", "enum": allowed }));
        self.has(key).then(|| self.one_of(key, allowed))
    }

    /// A required table, read by `read`; absent, `read` sees an empty one and so reports what it misses.
    pub fn table<T>(&self, key: &'static str, read: impl FnOnce(&Reader) -> T) -> T {
        self.ask(key);
        static EMPTY: BTreeMap<String, Node> = BTreeMap::new();
        let found = self.entries.get(key).and_then(|node| self.over(node, self.name(key), self.pattern_of(key, "")));
        let reader = found.unwrap_or_else(|| Reader {
            path: self.name(key),
            place: self.place_of(key),
            entries: &EMPTY,
            asked: RefCell::default(),
            problems: self.problems,
            pattern: self.pattern_of(key, ""),
            shape: self.shape,
        });
        let value = read(&reader);
        reader.finish();
        value
    }

    pub fn optional_table<T>(&self, key: &'static str, read: impl FnOnce(&Reader) -> T) -> Option<T> {
        self.ask(key);
        self.entries.contains_key(key).then(|| self.table(key, read))
    }

    /// A table of tables with free names, such as the services.
    pub fn tables<T>(&self, key: &'static str, read: impl Fn(&str, &Reader) -> T) -> BTreeMap<String, T> {
        self.ask(key);
        let Some(node) = self.entries.get(key) else { return BTreeMap::new() };
        let Value::Table(entries) = &node.value else {
            self.wrong_type(key, node, "a table of tables");
            return BTreeMap::new();
        };
        let mut read_tables = BTreeMap::new();
        for (name, node) in entries {
            let path = format!("{}.{name}", self.name(key));
            if let Some(reader) = self.over(node, path, self.pattern_of(key, ".*")) {
                read_tables.insert(name.clone(), read(name, &reader));
                reader.finish();
            }
        }
        read_tables
    }

    /// A table of tables of strings, with free names on both levels.
    pub fn maps(&self, key: &'static str) -> BTreeMap<String, BTreeMap<String, String>> {
        self.free(key)
    }

    /// A table of arrays of strings, with free names.
    pub fn lists(&self, key: &'static str) -> BTreeMap<String, Vec<String>> {
        self.free(key)
    }

    fn free<T: FromNode>(&self, key: &'static str) -> BTreeMap<String, T> {
        self.ask(key);
        self.note(key, ".*", T::schema());
        let Some(node) = self.entries.get(key) else { return BTreeMap::new() };
        let Value::Table(entries) = &node.value else {
            self.wrong_type(key, node, "a table");
            return BTreeMap::new();
        };
        let convert = |name: &String, node| {
            let path = format!("{key}.{name}");
            Some((name.clone(), self.convert::<T>(&path, node)?))
        };
        entries.iter().filter_map(|(name, node)| convert(name, node)).collect()
    }

    /// An array of tables, such as the smoke checks; absent, it is empty.
    pub fn list<T>(&self, key: &'static str, read: impl Fn(&Reader) -> T) -> Vec<T> {
        self.ask(key);
        let Some(node) = self.entries.get(key) else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            self.wrong_type(key, node, "an array of tables");
            return Vec::new();
        };
        let mut list = Vec::new();
        for (index, node) in items.iter().enumerate() {
            if let Some(reader) = self.over(node, format!("{}[{index}]", self.name(key)), self.pattern_of(key, "[]")) {
                list.push(read(&reader));
                reader.finish();
            }
        }
        list
    }

    /// Reports something about a key that is well-typed and yet wrong.
    pub fn report_at(&self, key: &str, message: String) {
        self.report(self.place_of(key), message);
    }

    pub fn report(&self, place: Place, message: String) {
        self.problems.borrow_mut().push(ConfigError { place, message });
    }

    /// The place of the table itself.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The key's full path, as in `services.web.port`.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Reports the keys that were never read. Tables and lists do so on their own.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, node) in self.entries {
            if asked.contains(key.as_str()) {
                continue;
            }
            let nearest = asked.iter().map(|known| (distance(key, known), *known)).min();
            let hint = match nearest {
                Some((edits, known)) if edits <= known.len().div_ceil(3) => format!("did you mean `{known}`?"),
                _ => {
                    format!("known here: {}", asked.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))
                }
            };
            self.report(node.place.clone(), format!("unknown key `{}`: {hint}", self.name(key)));
        }
    }

    fn over(&self, node: &'a Node, path: String, pattern: String) -> Option<Reader<'a>> {
        let (problems, shape) = (self.problems, self.shape);
        let Value::Table(entries) = &node.value else {
            let message = format!("{path} is {}: it must be a table", node.value.kind());
            self.report(node.place.clone(), message);
            return None;
        };
        let place = node.place.clone();
        Some(Reader { path, place, entries, asked: RefCell::default(), problems, pattern, shape })
    }

    fn pattern_of(&self, key: &str, inner: &str) -> String {
        if self.pattern.is_empty() { format!("{key}{inner}") } else { format!("{}.{key}{inner}", self.pattern) }
    }

    /// Notes what a key may be; a later note, which knows more, replaces an earlier one.
    fn note(&self, key: &str, inner: &str, schema: serde_json::Value) {
        if let Some(shape) = self.shape {
            shape.borrow_mut().insert(self.pattern_of(key, inner), schema);
        }
    }

    fn convert<T: FromNode>(&self, key: &str, node: &Node) -> Option<T> {
        let converted = T::from_node(node);
        if converted.is_none() {
            self.wrong_type(key, node, T::expected());
        }
        converted
    }

    fn within(&self, key: &'static str, number: i64, range: RangeInclusive<i64>) -> i64 {
        self.note(key, "", json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }));
        if self.entries.get(key).is_some_and(|node| matches!(node.value, Value::Integer(_))) && !range.contains(&number)
        {
            let message = format!("{} is {number}: it must be {} to {}", self.name(key), range.start(), range.end());
            self.report_at(key, message);
            return *range.start();
        }
        number
    }

    fn ask(&self, key: &'static str) {
        self.asked.borrow_mut().insert(key);
    }

    fn place_of(&self, key: &str) -> Place {
        self.entries.get(key).map_or(&self.place, |node| &node.place).clone()
    }

    fn wrong_type(&self, key: &str, node: &Node, expected: &str) {
        let message = format!("{} is {}: it must be {expected}", self.name(key), node.value.kind());
        self.report(node.place.clone(), message);
    }
}

/// A type that one node can be read as.
pub trait FromNode: Sized {
    fn from_node(node: &Node) -> Option<Self>;
    /// What an error message asks for.
    fn expected() -> &'static str;
    /// The same as JSON Schema.
    fn schema() -> serde_json::Value;
}

impl FromNode for String {
    fn from_node(node: &Node) -> Option<String> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        }
    }
    fn expected() -> &'static str {
        "a string"
    }
    fn schema() -> serde_json::Value {
        json!({ "type": "string" })
    }
}

impl FromNode for i64 {
    fn from_node(node: &Node) -> Option<i64> {
        match node.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
    fn expected() -> &'static str {
        "an integer"
    }
    fn schema() -> serde_json::Value {
        json!({ "type": "integer" })
    }
}

impl FromNode for bool {
    fn from_node(node: &Node) -> Option<bool> {
        match node.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }
    fn expected() -> &'static str {
        "true or false"
    }
    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

impl FromNode for Vec<String> {
    fn from_node(node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::Array(items) => items.iter().map(String::from_node).collect(),
            _ => None,
        }
    }
    fn expected() -> &'static str {
        "an array of strings"
    }
    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

impl FromNode for BTreeMap<String, String> {
    fn from_node(node: &Node) -> Option<BTreeMap<String, String>> {
        match &node.value {
            Value::Table(entries) => {
                entries.iter().map(|(key, node)| Some((key.clone(), String::from_node(node)?))).collect()
            }
            _ => None,
        }
    }
    fn expected() -> &'static str {
        "a table of strings"
    }
    fn schema() -> serde_json::Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

impl FromNode for serde_json::Value {
    fn from_node(node: &Node) -> Option<serde_json::Value> {
        Some(to_json(node))
    }
    fn expected() -> &'static str {
        "a value"
    }
    fn schema() -> serde_json::Value {
        json!({})
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Levenshtein's distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("prot", "port"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("image", "images"), 1);
    }
}
