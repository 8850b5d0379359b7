//! Requests per second, percentiles and memory as a table and as JSON. No I/O.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::tools::vegeta::Figures;

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What is asked: list, create or chat.
    pub work: String,
    /// Who is asked.
    pub place: String,
    pub runs: Vec<Figures>,
}

/// Bytes of the working set of each pod.
pub type Memory = BTreeMap<String, u64>;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub commit: Option<String>,
    pub cores: usize,
    pub seconds: u64,
    pub workers: u32,
    pub rows: Vec<Row>,
    pub idle_bytes: Memory,
    /// The most of it while requests came.
    pub load_bytes: Memory,
}

impl Row {
    pub fn name(work: &str, place: &str) -> String {
        format!("{work}, {place}")
    }

    /// The run with the median of requests per second.
    pub fn median(&self) -> Option<&Figures> {
        let mut runs: Vec<&Figures> = self.runs.iter().collect();
        runs.sort_by(|one, other| one.per_s.total_cmp(&other.per_s));
        runs.get(runs.len().saturating_sub(1) / 2).copied()
    }

    /// Of all runs.
    fn errors(&self) -> u64 {
        self.runs.iter().map(|run| run.errors).sum()
    }

    pub fn brief(&self) -> String {
        self.median().map_or("no runs".to_string(), |median| {
            format!("{:.0} requests/s, p99 {:.1} ms, {} errors", median.per_s, median.p99_ms, self.errors())
        })
    }
}

impl Report {
    /// The requests per second of the backend over those of the plain program, both on this machine, for each work that
    /// both did.
    pub fn shares(&self, ours: &str, limit: &str) -> Vec<(String, f64)> {
        let per_s = |work: &str, place: &str| {
            let row = self.rows.iter().find(|row| row.work == work && row.place == place)?;
            row.median().map(|median| median.per_s).filter(|per_s| *per_s > 0.0)
        };
        let works: Vec<&str> = self.rows.iter().filter(|row| row.place == ours).map(|row| row.work.as_str()).collect();
        works
            .into_iter()
            .filter_map(|work| Some((work.to_string(), per_s(work, ours)? / per_s(work, limit)?)))
            .collect()
    }

    pub fn text(&self, ours: &str, limit: &str) -> String {
        let names: Vec<String> = self.rows.iter().map(|row| Row::name(&row.work, &row.place)).collect();
        let pods = self.idle_bytes.keys().chain(self.load_bytes.keys());
        let width = names.iter().chain(pods).map(String::len).max().unwrap_or_default();
        let mut lines = vec![format!("{:width$}  requests/s      p50        p99  errors", "")];
        for (row, name) in self.rows.iter().zip(&names) {
            lines.push(match row.median() {
                Some(median) => format!(
                    "{name:width$}  {:10.0}  {:6.1} ms  {:6.1} ms  {:6}",
                    median.per_s,
                    median.p50_ms,
                    median.p99_ms,
                    row.errors()
                ),
                None => format!("{name:width$}  {:>10}", "–"),
            });
        }
        for (work, share) in self.shares(ours, limit) {
            lines.push(format!("{work}: {share:.2} of the plain program's requests/s"));
        }
        if !self.idle_bytes.is_empty() {
            lines.push(format!("{:width$}        idle  under load", ""));
        }
        for (pod, idle) in &self.idle_bytes {
            let load = self.load_bytes.get(pod).unwrap_or(idle);
            lines.push(format!("{pod:width$}  {:6.1} MiB  {:6.1} MiB", *idle as f64 / MIB, *load as f64 / MIB));
        }
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        json!(self)
    }
}

/// The working set of each pod of a namespace, in what a kubelet says of its node at `/stats/summary`.
pub fn parse_memory(summary: &str, namespace: &str) -> Option<Memory> {
    let summary: Value = serde_json::from_str(summary).ok()?;
    let of = |pod: &Value| {
        let own = pod["podRef"]["namespace"] == namespace;
        let bytes = pod["containers"].as_array()?.iter().filter_map(|one| one["memory"]["workingSetBytes"].as_u64());
        own.then(|| Some((pod["podRef"]["name"].as_str()?.to_string(), bytes.sum())))?
    };
    Some(summary["pods"].as_array()?.iter().filter_map(of).collect())
}

/// Keeps the larger of each.
pub fn raise(most: &mut Memory, now: Memory) {
    for (pod, bytes) in now {
        let known = most.entry(pod).or_default();
        *known = bytes.max(*known);
    }
}

/// The URL of a database at another address: everything but host and port stays.
pub fn moved(url: &str, host: &str, port: u16) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, rest) = rest.rsplit_once('@')?;
    let (_, database) = rest.split_once('/')?;
    Some(format!("{scheme}://{user}@{host}:{port}/{database}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(per_s: f64, errors: u64) -> Figures {
        Figures { requests: 10, errors, per_s, p50_ms: 1.5, p99_ms: 12.25 }
    }

    fn report() -> Report {
        let row = |work: &str, place: &str, runs| Row { work: work.into(), place: place.into(), runs };
        Report {
            commit: None,
            cores: 2,
            seconds: 5,
            workers: 16,
            rows: vec![
                row("list", "frontend", vec![run(1.0, 0), run(400.0, 2), run(3000.0, 1)]),
                row("list", "here", vec![run(850.0, 0)]),
                row("list", "plain", vec![run(1000.0, 0)]),
                row("create", "here", vec![]),
            ],
            idle_bytes: [("backend-1".to_string(), 12 * 1024 * 1024)].into(),
            load_bytes: [("backend-1".to_string(), 20 * 1024 * 1024)].into(),
        }
    }

    #[test]
    fn a_row_is_its_median_run_with_the_errors_of_all() {
        let text = report().text("here", "plain");
        let line = text.lines().find(|line| line.starts_with("list, frontend")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..], ["400", "1.5", "ms", "12.2", "ms", "3"]);
        assert!(text.contains("create, here") && text.contains('–'), "{text}");
    }

    #[test]
    fn the_share_is_of_the_plain_program() {
        assert_eq!(report().shares("here", "plain"), [("list".to_string(), 0.85)]);
        assert!(report().text("here", "plain").contains("list: 0.85 of the plain program's requests/s"));
        assert!(report().shares("here", "nobody").is_empty());
    }

    #[test]
    fn memory_is_shown_at_rest_and_under_load() {
        let text = report().text("here", "plain");
        let line = text.lines().find(|line| line.starts_with("backend-1")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["backend-1", "12.0", "MiB", "20.0", "MiB"]);
    }

    #[test]
    fn memory_of_other_namespaces_is_left_out() {
        let summary = r#"{"node": {}, "pods": [
            {"podRef": {"name": "a", "namespace": "ours"}, "containers": [
                {"memory": {"workingSetBytes": 3}}, {"memory": {"workingSetBytes": 4}}, {}]},
            {"podRef": {"name": "b", "namespace": "theirs"}, "containers": [{"memory": {"workingSetBytes": 9}}]},
            {"podRef": {"name": "c", "namespace": "ours"}}]}"#;
        assert_eq!(parse_memory(summary, "ours"), Some([("a".to_string(), 7)].into()));
        assert_eq!(parse_memory("nothing", "ours"), None);
        let mut most = Memory::from([("a".to_string(), 8)]);
        raise(&mut most, [("a".to_string(), 7), ("b".to_string(), 1)].into());
        assert_eq!(most, [("a".to_string(), 8), ("b".to_string(), 1)].into());
    }

    #[test]
    fn a_database_is_reached_at_another_address() {
        let url = "postgres://todo:p@ss@postgres:5432/todo?sslmode=disable";
        let wanted = "postgres://todo:p@ss@127.0.0.1:30081/todo?sslmode=disable";
        assert_eq!(moved(url, "127.0.0.1", 30081).as_deref(), Some(wanted));
        assert_eq!(moved("postgres", "127.0.0.1", 1), None);
    }

    #[test]
    fn the_json_has_every_run() {
        let json = report().to_json();
        assert_eq!(
            json["rows"][0]["runs"][1],
            json!({"requests": 10, "errors": 2, "per_s": 400.0, "p50_ms": 1.5, "p99_ms": 12.25})
        );
        assert_eq!(json["idle_bytes"]["backend-1"], 12 * 1024 * 1024);
    }
}
