//! TOML as a tree in which every value knows its file, line and column, and in which a profile is laid over the base.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

const WAIVERS: &str = "waivers";

/// The place of a key or a value; lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One mistake with its place and the right value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    pub place: Place,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// In YAML only.
    Null,
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// What the value is, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Null => "null",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Parses one file. Syntax errors go to `problems`, all of them; what could be read is returned beside them.
pub fn parse(file: &str, text: &str, problems: &mut Vec<ConfigError>) -> Node {
    let source = Document { file: Arc::from(file), text };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        problems
            .push(ConfigError { place, message: format!("not valid TOML: {}", error.message().replace('\n', ", ")) });
    }
    Node { place: source.place(0), value: source.table(table.get_ref(), problems) }
}

/// Lays `over` upon `base`: tables are merged key by key, everything else replaces what stood there. Waivers are added to
/// each other: a profile's own don't lift those that hold everywhere.
pub fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Table(mut below), Value::Table(above)) => {
            for (key, node) in above {
                let merged = match (below.remove(&key), node) {
                    (Some(Node { value: Value::Array(mut all), .. }), Node { place, value: Value::Array(more) })
                        if key == WAIVERS =>
                    {
                        all.extend(more);
                        Node { place, value: Value::Array(all) }
                    }
                    (Some(existing), node) => merge(existing, node),
                    (None, node) => node,
                };
                below.insert(key, merged);
            }
            Node { place: over.place, value: Value::Table(below) }
        }
        (_, value) => Node { place: over.place, value },
    }
}

/// The value as JSON, for bodies and arguments that are passed on as they stand.
pub fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Null => serde_json::Value::Null,
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Table(entries) => entries.iter().map(|(key, node)| (key.clone(), to_json(node))).collect(),
    }
}

struct Document<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Document<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = &self.text[..offset.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn table(&self, table: &DeTable, problems: &mut Vec<ConfigError>) -> Value {
        Value::Table(
            table
                .iter()
                .map(|(key, value)| {
                    let mut node = self.node(value, problems);
                    // A table's own span covers only its header: the key is where a reader looks.
                    if matches!(node.value, Value::Table(_)) {
                        node.place = self.place(key.span().start);
                    }
                    (key.get_ref().to_string(), node)
                })
                .collect(),
        )
    }

    fn node(&self, value: &Spanned<DeValue>, problems: &mut Vec<ConfigError>) -> Node {
        let place = self.place(value.span().start);
        let mut unreadable = |what: &str| {
            problems.push(ConfigError { place: place.clone(), message: what.to_string() });
            Value::Bool(false)
        };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => unreadable("this integer does not fit 64 bits"),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => unreadable("this is not a number that can be read"),
            },
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(_) => unreadable("dates are not used here: write a string"),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item, problems)).collect()),
            DeValue::Table(entries) => self.table(entries, problems),
        };
        Node { place, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Node, Vec<ConfigError>) {
        let mut problems = Vec::new();
        (parse("x.toml", text, &mut problems), problems)
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let (root, problems) = read("# ü\na = 1\n[b]\n\"ü\" = 'x'\n");
        assert_eq!(problems, []);
        let Value::Table(entries) = root.value else { panic!() };
        assert_eq!(entries["a"].place.to_string(), "x.toml:2:5");
        assert_eq!(entries["b"].place.to_string(), "x.toml:3:2");
        let Value::Table(inner) = &entries["b"].value else { panic!() };
        assert_eq!(inner["ü"].place.to_string(), "x.toml:4:7");
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let (_, problems) = read("a = \nb = 1\nc = [\n");
        let lines: Vec<usize> = problems.iter().map(|problem| problem.place.line).collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{problems:?}");
    }

    #[test]
    fn a_profile_replaces_values_and_merges_tables() {
        let (base, _) = read("a = 1\n[t]\nx = 1\ny = [1, 2]\n");
        let mut problems = Vec::new();
        let over = parse("p.toml", "[t]\ny = [3]\nz = true\n", &mut problems);
        let merged = merge(base, over);
        assert_eq!(to_json(&merged), serde_json::json!({"a": 1, "t": {"x": 1, "y": [3], "z": true}}));
        let Value::Table(entries) = merged.value else { panic!() };
        let Value::Table(inner) = &entries["t"].value else { panic!() };
        assert_eq!(inner["y"].place.file.as_ref(), "p.toml");
        assert_eq!(inner["x"].place.file.as_ref(), "x.toml");
    }

    #[test]
    fn integers_keep_their_radix() {
        assert_eq!(to_json(&read("a = 0x1F\nb = 1_000").0), serde_json::json!({"a": 31, "b": 1000}));
    }
}
