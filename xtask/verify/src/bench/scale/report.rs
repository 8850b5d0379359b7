//! What `plan` and `up` cost at each number of services, as a table, a line through the medians, and JSON. No I/O.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::bench::report::{Sample, median};

/// Measurements at one number of services.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub services: usize,
    /// From the number before to this one: builds, loads, installations.
    pub brought_up_s: f64,
    /// The load of the minute before.
    pub load: Option<f64>,
    pub works: BTreeMap<&'static str, Measured>,
    pub answer: Answer,
}

/// One command, measured several times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub samples: Vec<Sample>,
    /// How many docker, helm and kubectl it started; None of a command that is not recorded.
    pub processes: Option<usize>,
}

/// What the cluster tells when it is asked for all that a plan compares with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    pub objects: usize,
    pub objects_bytes: usize,
    /// What helm keeps of revisions.
    pub revisions: usize,
    pub revisions_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub commit: Option<String>,
    pub cores: usize,
    pub rows: Vec<Row>,
    /// Numbers of services that were not measured, and why.
    pub left_out: Vec<(usize, String)>,
}

/// Seconds, as `base + per_service × services`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    pub base: f64,
    pub per_service: f64,
}

impl Measured {
    pub fn median_s(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.wall_s))
    }

    /// None where the system does not tell it.
    fn cpu_s(&self) -> Option<f64> {
        let cpu: Option<Vec<f64>> = self.samples.iter().map(|sample| sample.cpu_s).collect();
        cpu.map(|cpu| median(cpu.into_iter()))
    }

    pub fn brief(&self) -> String {
        format!("{:.2} s, {} runs", self.median_s(), self.samples.len())
    }
}

impl Report {
    /// The lines through a work's medians and through its CPU time, where there are two numbers of services or more.
    pub fn lines(&self, work: &str) -> Option<(Line, Option<Line>)> {
        let of = |value: fn(&Measured) -> Option<f64>| {
            let points = self.rows.iter().map(|row| Some((row.services as f64, value(row.works.get(work)?)?)));
            fit(&points.collect::<Option<Vec<_>>>()?)
        };
        Some((of(|one| Some(one.median_s()))?, of(Measured::cpu_s)))
    }

    fn works(&self) -> Vec<&'static str> {
        self.rows.first().map(|row| row.works.keys().copied().collect()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let works = self.works();
        let width = works.iter().map(|work| work.len()).max().unwrap_or_default();
        let mut lines = vec![
            format!("{:width$}  services    median   × least      CPU  processes    load", "").trim_end().to_string(),
        ];
        for work in &works {
            let least = self.rows.first().map_or(f64::NAN, |row| row.works[work].median_s());
            for row in &self.rows {
                let one = &row.works[work];
                let (median_s, ratio) = (one.median_s(), one.median_s() / least);
                let cpu = one.cpu_s().map_or("–".to_string(), |cpu| format!("{cpu:.2} s"));
                let processes = one.processes.map_or("–".to_string(), |count| count.to_string());
                let load = row.load.map_or("–".to_string(), |load| format!("{load:.2}"));
                lines.push(format!(
                    "{work:width$}  {:8}  {median_s:6.2} s  {ratio:8.2}  {cpu:>7}  {processes:>9}  {load:>6}",
                    row.services
                ));
            }
            if let Some((wall, cpu)) = self.lines(work) {
                let cpu = cpu.map_or(String::new(), |cpu| format!("; CPU {}", describe(cpu)));
                lines.push(format!("{work:width$}  {}{cpu}", describe(wall)));
            }
        }
        for Row { services, brought_up_s, answer, .. } in &self.rows {
            let Answer { objects, objects_bytes, revisions, revisions_bytes } = answer;
            lines.push(format!(
                "{services} services: brought up in {brought_up_s:.0} s; the cluster tells of {objects} objects in {}, and of {revisions} \
                 revisions in {}",
                kilobytes(*objects_bytes),
                kilobytes(*revisions_bytes)
            ));
        }
        let left = self.left_out.iter().map(|(services, why)| format!("{services} services were not measured: {why}"));
        lines.extend(left);
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        for work in self.works() {
            json["lines"][work] = json!(self.lines(work).map(|(wall, cpu)| json!({ "wall_s": wall, "cpu_s": cpu })));
        }
        json
    }
}

fn describe(Line { base, per_service }: Line) -> String {
    let sign = if per_service < 0.0 { '-' } else { '+' };
    format!("{base:.2} s {sign} {:.0} ms × services", per_service.abs() * 1000.0)
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.0} kB", bytes as f64 / 1000.0)
}

/// The line with the least squares of distances; None through fewer than two places.
fn fit(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let per_service = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
    (spread > 0.0).then_some(Line { base: y_mean - per_service * x_mean, per_service })
}

/// How many processes a run had, by what `timings --json` prints of it.
pub fn count_processes(timings: &str) -> Option<usize> {
    let timings: Value = serde_json::from_str(timings).ok()?;
    Some(timings["spans"].as_array()?.iter().filter(|span| span["kind"] == "process").count())
}

/// How many pods more the nodes take, by what they allow and by the pods that there are.
pub fn room_for_pods(nodes: &[Value], pods: &[Value]) -> usize {
    let allowed = |node: &Value| node["status"]["allocatable"]["pods"].as_str()?.parse::<usize>().ok();
    let has_ended = |pod: &&Value| ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
    let running = pods.len() - pods.iter().filter(has_ended).count();
    nodes.iter().filter_map(allowed).sum::<usize>().saturating_sub(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "plan";

    fn row(services: usize, wall_s: f64, cpu_s: Option<f64>) -> Row {
        let samples = [9.0, wall_s, 0.0].map(|wall_s| Sample { wall_s, cpu_s }).to_vec();
        Row {
            services,
            brought_up_s: 54.2,
            load: Some(0.5),
            works: [(PLAN, Measured { samples, processes: Some(services + 7) })].into(),
            answer: Answer { objects: services * 3, objects_bytes: 9_400, revisions: services, revisions_bytes: 1_000 },
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report { commit: None, cores: 2, rows, left_out: vec![(60, "the node takes 30 pods more".to_string())] }
    }

    #[test]
    fn a_line_is_found_through_what_grows_evenly() {
        let report = report(vec![row(4, 0.7, Some(1.0)), row(20, 1.1, Some(1.0)), row(60, 2.1, Some(1.0))]);
        let (wall, cpu) = report.lines(PLAN).unwrap();
        assert!((wall.base - 0.6).abs() < 1e-9 && (wall.per_service - 0.025).abs() < 1e-9, "{wall:?}");
        assert!((cpu.unwrap().base - 1.0).abs() < 1e-9 && cpu.unwrap().per_service.abs() < 1e-9);
        let text = report.text();
        assert!(text.contains("plan  0.60 s + 25 ms × services; CPU 1.00 s + 0 ms × services"), "{text}");
        assert_eq!(describe(Line { base: 1.0, per_service: -0.002 }), "1.00 s - 2 ms × services");
    }

    #[test]
    fn one_number_of_services_has_no_line() {
        let one = report(vec![row(4, 0.7, None)]);
        assert_eq!(one.lines(PLAN), None);
        assert_eq!(one.to_json()["lines"][PLAN], Value::Null);
        let two = report(vec![row(4, 0.7, None), row(20, 1.1, None)]);
        assert_eq!(two.lines(PLAN).unwrap().1, None, "the system does not tell the CPU time");
    }

    #[test]
    fn a_row_is_its_median_beside_that_of_the_least() {
        let text = report(vec![row(4, 0.5, Some(1.0)), row(20, 1.0, None)]).text();
        let words = |number: usize| text.lines().nth(number).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1), ["plan", "4", "0.50", "s", "1.00", "1.00", "s", "11", "0.50"]);
        assert_eq!(words(2), ["plan", "20", "1.00", "s", "2.00", "–", "27", "0.50"]);
        let line =
            "20 services: brought up in 54 s; the cluster tells of 60 objects in 9 kB, and of 20 revisions in 1 kB";
        assert!(text.contains(line), "{text}");
        assert!(text.ends_with("60 services were not measured: the node takes 30 pods more"), "{text}");
    }

    #[test]
    fn processes_are_counted_among_all_spans() {
        let timings = r#"{"spans": [{"kind": "step"}, {"kind": "process"}, {"kind": "part"}, {"kind": "process"}]}"#;
        assert_eq!(count_processes(timings), Some(2));
        assert_eq!(count_processes("{}"), None);
    }

    #[test]
    fn pods_that_have_ended_take_no_room() {
        let node = json!({"status": {"allocatable": {"pods": "110"}}});
        let pod = |phase: &str| json!({"status": {"phase": phase}});
        let pods = [pod("Running"), pod("Succeeded"), pod("Pending"), pod("Failed")];
        assert_eq!(room_for_pods(std::slice::from_ref(&node), &pods), 108);
        assert_eq!(room_for_pods(&[node.clone(), node], &pods), 218);
        assert_eq!(room_for_pods(&[], &pods), 0);
    }
}
