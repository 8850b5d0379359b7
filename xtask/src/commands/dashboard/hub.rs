//! What all connected browsers are shown: the latest of each topic, the last log lines, and what is new.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use crate::commands::dashboard::response::event;

/// Log lines that a browser gets when it comes.
const LINES: usize = 2000;
/// Events that a browser may be behind; then its connection ends, and it begins anew.
const BEHIND: usize = 4096;
const BROWSERS: usize = 16;

/// The event with all log lines that are kept, and the one with a new line.
pub const ALL_LINES: &str = "lines";
pub const LINE: &str = "line";

#[derive(Default)]
pub struct Hub(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    /// The data of the latest event, by its name.
    topics: BTreeMap<&'static str, String>,
    lines: VecDeque<String>,
    browsers: BTreeMap<u64, SyncSender<Arc<str>>>,
    next: u64,
}

/// A browser's place, which it has for as long as this lives.
pub struct Browser<'a> {
    hub: &'a Hub,
    id: u64,
    /// Ends when the browser was too slow.
    pub events: Receiver<Arc<str>>,
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        self.hub.shown().browsers.remove(&self.id);
    }
}

impl Hub {
    /// Shows a topic to all, unless it is as it was.
    pub fn show(&self, topic: &'static str, value: &Value) {
        let data = value.to_string();
        let mut shown = self.shown();
        if shown.topics.get(topic) != Some(&data) {
            shown.send(&event(topic, &data));
            shown.topics.insert(topic, data);
        }
    }

    pub fn add_line(&self, line: &Value) {
        let data = line.to_string();
        let mut shown = self.shown();
        shown.send(&event(LINE, &data));
        if shown.lines.len() == LINES {
            shown.lines.pop_front();
        }
        shown.lines.push_back(data);
    }

    /// The logs are read from their beginning again.
    pub fn forget_lines(&self) {
        let mut shown = self.shown();
        shown.lines.clear();
        shown.send(&event(ALL_LINES, "[]"));
    }

    /// A place for a browser, with all that is known as its first events; None where there are too many.
    pub fn join(&self) -> Option<Browser<'_>> {
        let (sender, events) = sync_channel(BEHIND);
        let mut shown = self.shown();
        if shown.browsers.len() == BROWSERS {
            return None;
        }
        let lines = shown.lines.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let topics = shown.topics.iter().map(|(topic, data)| event(topic, data));
        for first in topics.chain([event(ALL_LINES, &format!("[{lines}]"))]) {
            sender.try_send(first.into()).expect("there is room for the first events, and the receiver is here");
        }
        let id = shown.next;
        shown.next += 1;
        shown.browsers.insert(id, sender);
        Some(Browser { hub: self, id, events })
    }

    /// Whether anybody looks.
    pub fn is_watched(&self) -> bool {
        !self.shown().browsers.is_empty()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().expect("no thread panics while it has the lock")
    }
}

impl Shown {
    fn send(&mut self, event: &str) {
        let event: Arc<str> = event.into();
        self.browsers.retain(|_, browser| browser.try_send(event.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(browser: &Browser) -> Vec<String> {
        browser.events.try_iter().map(|event| event.to_string()).collect()
    }

    #[test]
    fn a_browser_gets_what_is_known_and_then_what_is_new() {
        let hub = Hub::default();
        assert!(!hub.is_watched());
        hub.show("state", &json!({"a": 1}));
        hub.add_line(&json!("one"));
        let browser = hub.join().unwrap();
        assert!(hub.is_watched());
        assert_eq!(all(&browser), ["event: state\ndata: {\"a\":1}\n\n", "event: lines\ndata: [\"one\"]\n\n"]);
        hub.show("state", &json!({"a": 1}));
        assert_eq!(all(&browser), [""; 0], "the same again is no news");
        hub.show("state", &json!({"a": 2}));
        hub.add_line(&json!("a\nb"));
        assert_eq!(all(&browser), ["event: state\ndata: {\"a\":2}\n\n", "event: line\ndata: \"a\\nb\"\n\n"]);
        hub.forget_lines();
        assert_eq!(all(&browser), ["event: lines\ndata: []\n\n"]);
        drop(browser);
        assert!(!hub.is_watched());
    }

    #[test]
    fn old_lines_go_and_a_browser_that_reads_nothing_is_let_go() {
        let hub = Hub::default();
        let slow = hub.join().unwrap();
        for number in 0..BEHIND + LINES {
            hub.add_line(&json!(number));
        }
        assert!(!hub.is_watched());
        assert_eq!(all(&slow).len(), BEHIND);
        let late = all(&hub.join().unwrap());
        assert_eq!(late[0].matches(',').count(), LINES - 1);
        assert!(late[0].contains(&format!(",{}]", BEHIND + LINES - 1)));
    }

    #[test]
    fn there_are_only_so_many_browsers() {
        let hub = Hub::default();
        let mut browsers: Vec<_> = (0..BROWSERS).map(|_| hub.join().unwrap()).collect();
        assert!(hub.join().is_none());
        browsers.pop();
        assert!(hub.join().is_some());
    }
}
