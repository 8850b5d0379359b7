//! Medians as a table, as JSON and as a picture. No I/O.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use xtask::model::markup::escape;

/// One measurement, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub wall_s: f64,
    /// User and system time of the command and all that it started, where the system tells it.
    pub cpu_s: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    /// The load of the minute before.
    pub load: Option<f64>,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub commit: Option<String>,
    pub cores: usize,
    pub rows: Vec<Row>,
}

impl Row {
    pub fn median_s(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.wall_s))
    }

    fn cpu_s(&self) -> Option<f64> {
        let all: Option<Vec<f64>> = self.samples.iter().map(|sample| sample.cpu_s).collect();
        all.map(|all| median(all.into_iter()))
    }

    fn bounds_s(&self) -> (f64, f64) {
        let walls = || self.samples.iter().map(|sample| sample.wall_s);
        (walls().fold(f64::INFINITY, f64::min), walls().fold(0.0, f64::max))
    }

    pub fn brief(&self) -> String {
        let (least, most) = self.bounds_s();
        format!("{:.2} s ({least:.2} to {most:.2}), {} runs", self.median_s(), self.samples.len())
    }
}

impl Report {
    /// Errors: what is wrong, in words that follow the file's name.
    pub fn parse(text: &str) -> Result<Report, String> {
        let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match report.rows.iter().find(|row| row.samples.is_empty()) {
            Some(row) => Err(format!("row \"{}\" has no samples", row.name)),
            None => Ok(report),
        }
    }

    pub fn to_json(&self) -> Value {
        json!(self)
    }

    /// A line for each row; against an earlier report, with the ratio of the medians.
    pub fn text(&self, before: Option<&Report>) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        let ratio = |row: &Row| {
            let earlier = before?.rows.iter().find(|one| one.name == row.name)?;
            Some(format!("{:.2} × {:.2}", row.median_s() / earlier.median_s(), earlier.median_s()))
        };
        let mut head = format!("{:width$}   median   min – max        CPU      load", "");
        if before.is_some() {
            head.push_str("   × before");
        }
        let line = |row: &Row| {
            let (least, most) = row.bounds_s();
            let or_dash =
                |number: Option<f64>, unit: &str| number.map_or("–".to_string(), |n| format!("{n:.2}{unit}"));
            let ratio = if before.is_some() { ratio(row).unwrap_or("–".to_string()) } else { String::new() };
            let (median, cpu, load) = (row.median_s(), or_dash(row.cpu_s(), " s"), or_dash(row.load, ""));
            format!(
                "{:width$}  {median:>5.2} s   {least:>5.2} – {most:<5.2} s  {cpu:>7}  {load:>6}   {ratio}",
                row.name
            )
        };
        let lines = std::iter::once(head).chain(self.rows.iter().map(line));
        lines.map(|line| line.trim_end().to_string()).collect::<Vec<_>>().join("\n")
    }

    /// A bar for each row, with its least and most.
    pub fn svg(&self) -> String {
        const WIDTH: f64 = 460.0;
        const LEFT: f64 = 300.0;
        let most = self.rows.iter().map(|row| row.bounds_s().1).fold(0.1, f64::max);
        let x = |seconds: f64| LEFT + seconds / most * WIDTH;
        let bar = |(index, row): (usize, &Row)| {
            let (y, (least, most)) = (20 + index * 28, row.bounds_s());
            let name = escape(&row.name);
            format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" rx=\"2\" fill=\"#3b78c2\"/>\
                 <path d=\"M{:.1} {}H{:.1}\" stroke=\"#d08020\" stroke-width=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{:.2} s</text>\n",
                LEFT - 8.0,
                y + 12,
                x(row.median_s()) - LEFT,
                x(least),
                y + 8,
                x(most),
                x(most) + 6.0,
                y + 12,
                row.median_s()
            )
        };
        let height = 30 + self.rows.len() * 28;
        let bars: String = self.rows.iter().enumerate().map(bar).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 840 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>Medians, from the least to the most</title>\n\
             <rect width=\"840\" height=\"{height}\" fill=\"#fff\"/>\n{bars}</svg>\n"
        )
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(walls: &[f64]) -> Report {
        let samples = walls.iter().map(|wall| Sample { wall_s: *wall, cpu_s: Some(wall / 2.0) }).collect();
        let row = Row { name: "up, a <change>".to_string(), load: Some(0.5), samples };
        Report { commit: Some("1a2b3c4".to_string()), cores: 2, rows: vec![row] }
    }

    #[test]
    fn a_row_is_its_median_between_the_least_and_the_most() {
        let report = report(&[3.0, 1.0, 2.0, 9.0, 2.5]);
        assert_eq!(report.rows[0].brief(), "2.50 s (1.00 to 9.00), 5 runs");
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        let text = report.text(None);
        assert!(text.ends_with("up, a <change>   2.50 s    1.00 – 9.00  s   1.25 s    0.50"), "{text}");
        assert!(report.svg().contains("up, a &lt;change&gt;") && report.svg().contains("2.50 s"), "{}", report.svg());
    }

    #[test]
    fn a_report_is_compared_with_one_of_before() {
        let before = Report::parse(&report(&[4.0]).to_json().to_string()).unwrap();
        let text = report(&[1.0]).text(Some(&before));
        assert!(text.lines().next().unwrap().ends_with("× before") && text.ends_with("0.25 × 4.00"), "{text}");
        assert!(report(&[1.0]).text(Some(&Report { rows: Vec::new(), ..before })).ends_with('–'));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(Report::parse("{}").unwrap_err().contains("missing field"));
        assert_eq!(
            Report::parse(&report(&[]).to_json().to_string()).unwrap_err(),
            "row \"up, a <change>\" has no samples"
        );
    }
}
