//! The logs of containers: whose there are, and how far each has been printed.

use serde_json::Value;

/// A container of a pod, as far as its log goes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSource {
    /// The pod's own: another pod may have its name later.
    pub uid: String,
    pub pod: String,
    pub container: String,
    /// How often it was restarted.
    pub restarts: u64,
    pub state: Readable,
    /// Whether its pod has other containers.
    pub shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// It was never started.
    Not,
    /// There will be more.
    Growing,
    /// It has ended; a next one begins a log of its own.
    Whole,
}

impl LogSource {
    /// A short name for its lines: the part of the pod's name that others of the service don't have.
    pub fn label(&self, service: &str) -> String {
        let pod = self.pod.rsplit('-').next().unwrap_or_default();
        match self.shared {
            true => format!("{service} {pod} {}", self.container),
            false => format!("{service} {pod}"),
        }
    }
}

/// The containers of a pod, in the order in which they are started.
pub fn sources(pod: &Value) -> Vec<LogSource> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses: Vec<&Value> =
        lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten()).collect();
    let read = |status: &&Value| LogSource {
        uid: text("/metadata/uid"),
        pod: text("/metadata/name"),
        container: status["name"].as_str().unwrap_or_default().to_string(),
        restarts: status["restartCount"].as_u64().unwrap_or_default(),
        state: match (&status["state"], &status["lastState"]) {
            (state, _) if state["running"].is_object() => Readable::Growing,
            (state, last) if state["terminated"].is_object() || last["terminated"].is_object() => Readable::Whole,
            _ => Readable::Not,
        },
        shared: statuses.len() > 1,
    };
    statuses.iter().map(read).collect()
}

/// A line of a log with its time, which all have as many digits as are needed to compare them as texts; None for what
/// isn't the container's word.
pub fn split(line: &str) -> Option<(&str, &str)> {
    let (time, text) = line.split_once(' ').unwrap_or((line, ""));
    let is_time = time.len() >= 20 && time.as_bytes()[4] == b'-' && time.as_bytes()[10] == b'T';
    is_time.then_some((time, text))
}

/// How far a log has been printed. Reading again starts before that place, as kubectl takes whole seconds only.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The last time that was printed, and how many lines had it.
    time: String,
    count: usize,
    /// The same when the present reading began, and how many of those lines it has brought.
    from: String,
    skip: usize,
}

impl Cursor {
    /// The log is read again.
    pub fn begin(&mut self) {
        self.from = self.time.clone();
        self.skip = self.count;
    }

    /// The time from which on to read; None where nothing has been printed.
    pub fn time(&self) -> Option<&str> {
        Some(self.time.as_str()).filter(|time| !time.is_empty())
    }

    /// Whether a line of this time has not been printed yet; then it counts as printed. What the two streams of a container
    /// write at once may stand out of order by a little, which matters only where something was printed before.
    pub fn is_new(&mut self, time: &str) -> bool {
        if time < self.from.as_str() {
            return false;
        }
        if time == self.from && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if time > self.time.as_str() {
            self.time = time.to_string();
            self.count = 0;
        }
        self.count += usize::from(time == self.time);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_read_with_what_their_log_is() {
        let pod = json!({
            "metadata": {"name": "web-7d8f-x2xq9", "uid": "u"},
            "status": {
                "initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [
                    {"name": "a", "restartCount": 2, "state": {"running": {}}},
                    {"name": "b", "restartCount": 1, "state": {"waiting": {}}, "lastState": {"terminated": {}}},
                    {"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}},
                ],
            },
        });
        let found = sources(&pod);
        let text: Vec<_> = found.iter().map(|one| (one.container.as_str(), one.restarts, one.state)).collect();
        let expected = [
            ("init", 0, Readable::Whole),
            ("a", 2, Readable::Growing),
            ("b", 1, Readable::Whole),
            ("c", 0, Readable::Not),
        ];
        assert_eq!(text, expected);
        assert_eq!(found[1].label("web"), "web x2xq9 a");
        assert_eq!(LogSource { shared: false, ..found[1].clone() }.label("web"), "web x2xq9");
    }

    #[test]
    fn lines_have_their_time_and_what_kubectl_says_has_none() {
        let line = "2026-01-31T12:00:00.123456789Z ready at 0.0.0.0:80";
        assert_eq!(split(line), Some(("2026-01-31T12:00:00.123456789Z", "ready at 0.0.0.0:80")));
        assert_eq!(split("2026-01-31T12:00:00.123456789Z "), Some(("2026-01-31T12:00:00.123456789Z", "")));
        assert_eq!(split("Error from server (BadRequest): container is waiting to start"), None);
        assert_eq!(split(""), None);
    }

    /// The lines that are printed of some readings of one log, each a list of times.
    fn describe(readings: &[&[&str]]) -> Vec<String> {
        let mut cursor = Cursor::default();
        let mut text = Vec::new();
        for reading in readings {
            cursor.begin();
            text.extend(reading.iter().filter(|time| cursor.is_new(time)).map(|time| time.to_string()));
        }
        text
    }

    #[test]
    fn what_is_read_anew_is_reported_once_and_nothing_is_left_out() {
        assert_eq!(describe(&[&["1", "2"], &["1", "2", "3"], &["2", "3", "4"]]), ["1", "2", "3", "4"]);
        // Two lines of one moment, of which the first reading had brought one.
        assert_eq!(describe(&[&["1", "2"], &["1", "2", "2", "3"]]), ["1", "2", "2", "3"]);
        assert_eq!(describe(&[&["1", "2", "2"], &["2", "2", "2"]]), ["1", "2", "2", "2"]);
        // Out of order within one reading.
        assert_eq!(describe(&[&["1", "3", "2", "4"]]), ["1", "3", "2", "4"]);
        assert_eq!(describe(&[&[], &["1"]]), ["1"]);
    }
}
