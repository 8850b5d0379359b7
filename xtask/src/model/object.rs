//! Reading an object as the Kubernetes API or a rendered manifest gives it: typed, and with every mistake at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

/// Kind and name, by which an object is found among those of a namespace.
pub type Identity<'a> = (Option<&'a str>, Option<&'a str>);

pub fn identity(object: &Value) -> Identity<'_> {
    (object["kind"].as_str(), object["metadata"]["name"].as_str())
}

/// Objects by kind and name, so that each is found without a look at all others; of two that share both, the first.
pub fn by_identity(objects: &[Value]) -> BTreeMap<Identity<'_>, &Value> {
    objects.iter().rev().map(|object| (identity(object), object)).collect()
}

/// Text to text, as labels and the data of a ConfigMap are.
pub type StringMap = BTreeMap<String, String>;

/// Reads a whole object. The errors are all mistakes that `part` came across, each as `path: what is wrong`.
pub fn read<T>(object: &Value, part: impl FnOnce(&Fields) -> Option<T>) -> Result<T, Vec<String>> {
    let mistakes = RefCell::new(Vec::new());
    let root = Fields { value: object, path: String::new(), mistakes: &mistakes };
    if !object.is_object() {
        root.report(format!("{} instead of an object", kind(object)));
    }
    let read = part(&root);
    let mistakes = mistakes.into_inner();
    match read {
        Some(read) if mistakes.is_empty() => Ok(read),
        _ => Err(mistakes),
    }
}

/// One value of the object, which knows its path. A part that cannot be read is reported and is None. Callers
/// read all parts before they give up, so that all mistakes are reported.
pub struct Fields<'a> {
    pub value: &'a Value,
    path: String,
    mistakes: &'a RefCell<Vec<String>>,
}

impl<'a> Fields<'a> {
    /// The value under a key; null where there is none.
    pub fn at(&self, key: &str) -> Fields<'a> {
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        Fields { value: self.value.get(key).unwrap_or(&Value::Null), path, mistakes: self.mistakes }
    }

    /// The entries of a list; none where it is absent.
    pub fn items(&self) -> Vec<Fields<'a>> {
        match self.value {
            Value::Null => Vec::new(),
            Value::Array(items) => {
                let entry =
                    |(index, value)| Fields { value, path: format!("{}[{index}]", self.path), mistakes: self.mistakes };
                items.iter().enumerate().map(entry).collect()
            }
            other => {
                self.report(format!("{} instead of a list", kind(other)));
                Vec::new()
            }
        }
    }

    pub fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    pub fn report(&self, message: impl std::fmt::Display) {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        self.mistakes.borrow_mut().push(format!("{path}{message}"));
    }

    /// A value that must be there, made by `make`, which says what is wrong with it.
    pub fn take<T>(&self, make: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        if self.is_absent() {
            self.report("is missing");
            return None;
        }
        make(self.value).map_err(|message| self.report(message)).ok()
    }

    /// A text that must be there, and that `parse` understands.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.take(|value| match value {
            Value::String(text) => parse(text),
            other => Err(format!("{} instead of a text", kind(other))),
        })
    }

    pub fn text(&self) -> Option<String> {
        self.parsed(|text| Ok(text.to_string()))
    }

    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.take(|value| match value.as_u64() {
            Some(number) if range.contains(&number) => Ok(number),
            _ if *range.end() == u64::MAX => Err(format!("{value} is not an integer from {} on", range.start())),
            _ => Err(format!("{value} is not an integer from {} to {}", range.start(), range.end())),
        })
    }

    pub fn flag(&self) -> Option<bool> {
        self.take(|value| value.as_bool().ok_or_else(|| format!("{value} is neither true nor false")))
    }

    /// What `read` makes of a value that may be absent. The outer None: it was there, and wrong.
    pub fn maybe<T>(&self, read: impl FnOnce(&Fields<'a>) -> Option<T>) -> Option<Option<T>> {
        if self.is_absent() { Some(None) } else { read(self).map(Some) }
    }

    /// What `read` makes of a value, and `otherwise` where it is absent.
    pub fn or<T>(&self, otherwise: T, read: impl FnOnce(&Fields<'a>) -> Option<T>) -> Option<T> {
        if self.is_absent() { Some(otherwise) } else { read(self) }
    }

    /// What `read` makes of each entry; all are read before one that was wrong spoils the list.
    pub fn list<T>(&self, read: impl Fn(&Fields<'a>) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self.items().iter().map(read).collect();
        read.into_iter().collect()
    }

    /// A map of texts; empty where it is absent.
    pub fn texts(&self) -> Option<StringMap> {
        match self.value {
            Value::Null => Some(StringMap::new()),
            Value::Object(entries) => {
                let read: Vec<_> = entries.keys().map(|key| Some((key.clone(), self.at(key).text()?))).collect();
                read.into_iter().collect()
            }
            other => {
                self.report(format!("{} instead of a map", kind(other)));
                None
            }
        }
    }

    /// Checks that the object is of this kind, where it says one.
    pub fn must_be(&self, kinds: &[&str]) {
        let kind = self.at("kind");
        if kind.value.as_str().is_some_and(|found| !kinds.contains(&found)) {
            kind.report(format!("{} instead of {}", kind.value, kinds.join(" or ")));
        }
    }
}

/// One of several words, each with its meaning.
pub fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let found = known.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("\"{text}\" is none of {}", words.join(", ")))
}

/// The first entry that occurs twice.
pub fn doubled<T: Ord>(entries: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries {
        if seen.contains(&entry) {
            return Some(entry);
        }
        seen.insert(entry);
    }
    None
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let object = json!({"spec": {"replicas": -1, "items": [{"name": 1}, {"name": "b"}, {}]}});
        let printed = read(&object, |f| {
            let spec = f.at("spec");
            let replicas = spec.at("replicas").integer(1..=u64::MAX);
            let names = spec.at("items").list(|item| item.at("name").text());
            Some((replicas?, names?))
        });
        assert_eq!(
            printed.unwrap_err(),
            [
                "spec.replicas: -1 is not an integer from 1 on",
                "spec.items[0].name: a number instead of a text",
                "spec.items[2].name: is missing",
            ]
        );
    }

    #[test]
    fn what_is_absent_takes_its_default_and_what_is_wrong_does_not() {
        let object = json!({"a": "x"});
        assert_eq!(read(&object, |f| f.at("b").or(7, |b| b.integer(1..=9))), Ok(7));
        assert_eq!(read(&object, |f| f.at("b").maybe(Fields::flag)), Ok(None));
        assert!(read(&object, |f| f.at("a").or(7, |a| a.integer(1..=9))).is_err());
        assert_eq!(read(&json!([]), |f| f.texts()).unwrap_err()[0], "a list instead of an object");
    }

    #[test]
    fn objects_are_found_by_kind_and_name_and_of_two_the_first() {
        let object = |kind: &str, name: &str, n: u8| json!({"kind": kind, "metadata": {"name": name}, "n": n});
        let all = [object("Service", "web", 1), object("Deployment", "web", 2), object("Service", "web", 3), json!({})];
        let found = by_identity(&all);
        assert_eq!(found.len(), 3);
        assert_eq!(found[&identity(&object("Service", "web", 9))]["n"], 1);
        assert_eq!(found[&identity(&object("Deployment", "web", 9))]["n"], 2);
        assert!(!found.contains_key(&identity(&object("Service", "api", 9))));
    }

    #[test]
    fn a_double_is_found() {
        assert_eq!(doubled(["a", "b", "a"]), Some("a"));
        assert_eq!(doubled(["a", "b"]), None);
    }
}
