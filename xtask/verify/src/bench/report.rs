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
    /// Others at the same work, in turn with us.
    #[serde(default)]
    pub peers: Vec<PeerRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRow {
    pub peer: String,
    /// None where it failed.
    pub samples: Vec<Sample>,
    /// Why there are no samples.
    pub failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub commit: Option<String>,
    pub cores: usize,
    pub rows: Vec<Row>,
}

/// What is shown of some samples.
struct Figures {
    median_s: f64,
    least_s: f64,
    most_s: f64,
    cpu_s: Option<f64>,
}

impl Figures {
    /// None of no samples.
    fn of(samples: &[Sample]) -> Option<Figures> {
        let walls = || samples.iter().map(|sample| sample.wall_s);
        let cpu: Option<Vec<f64>> = samples.iter().map(|sample| sample.cpu_s).collect();
        (!samples.is_empty()).then(|| Figures {
            median_s: median(walls()),
            least_s: walls().fold(f64::INFINITY, f64::min),
            most_s: walls().fold(0.0, f64::max),
            cpu_s: cpu.map(|cpu| median(cpu.into_iter())),
        })
    }
}

impl Row {
    pub fn brief(&self) -> String {
        let ours = match Figures::of(&self.samples) {
            Some(Figures { median_s, least_s, most_s, .. }) => {
                format!("{median_s:.2} s ({least_s:.2} to {most_s:.2}), {} runs", self.samples.len())
            }
            None => "no runs".to_string(),
        };
        let peer = |one: &PeerRow| match self.ratio(&one.peer) {
            Some(ratio) => format!("; {} {ratio:.2} × that", one.peer),
            None => format!("; {} failed: {}", one.peer, one.failed.as_deref().unwrap_or("no runs")),
        };
        ours + &self.peers.iter().map(peer).collect::<String>()
    }

    /// The median of a peer over ours.
    pub fn ratio(&self, peer: &str) -> Option<f64> {
        let peer = self.peers.iter().find(|one| one.peer == peer)?;
        Some(Figures::of(&peer.samples)?.median_s / Figures::of(&self.samples)?.median_s)
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
        let mut json = json!(self);
        for (row, shown) in self.rows.iter().zip(json["rows"].as_array_mut().into_iter().flatten()) {
            for (peer, shown) in row.peers.iter().zip(shown["peers"].as_array_mut().into_iter().flatten()) {
                shown["ratio"] = row.ratio(&peer.peer).into();
            }
        }
        json
    }

    /// A line for each row, and under it one for each peer, with its median over ours; against an earlier report, with the
    /// medians over those of before, and of peers the ratios.
    pub fn text(&self, before: Option<&Report>) -> String {
        let widest = |row: &Row| {
            let peers = row.peers.iter().map(|one| one.peer.chars().count() + 2);
            peers.chain([row.name.chars().count()]).max()
        };
        let width = self.rows.iter().filter_map(widest).max().unwrap_or_default();
        let mut head = format!("{:width$}   median   min – max        CPU      load", "");
        if self.rows.iter().any(|row| !row.peers.is_empty()) {
            head.push_str("     × ours");
        } else if before.is_some() {
            head.push_str("           ");
        }
        if before.is_some() {
            head.push_str("   × before");
        }
        let mut lines = vec![head];
        for row in &self.rows {
            let earlier = before.and_then(|before| before.rows.iter().find(|one| one.name == row.name));
            let compared = |now: Option<f64>, then: Option<f64>| match (before, now.zip(then)) {
                (None, _) => String::new(),
                (_, Some((now, then))) => format!("{:.2} × {then:.2}", now / then),
                (_, None) => "–".to_string(),
            };
            let median = |row: &Row| Some(Figures::of(&row.samples)?.median_s);
            let versus = compared(median(row), earlier.and_then(median));
            lines.push(line(&row.name, width, Figures::of(&row.samples), row.load, None, &versus));
            for PeerRow { peer, samples, failed } in &row.peers {
                if let Some(why) = failed {
                    lines.push(format!("  {peer} failed: {why}"));
                    continue;
                }
                let ratio = row.ratio(peer);
                let versus = compared(ratio, earlier.and_then(|row| row.ratio(peer)));
                lines.push(line(&format!("  {peer}"), width, Figures::of(samples), None, ratio, &versus));
            }
        }
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }

    /// A bar for each row, with its least and most, and under it one for each peer.
    pub fn svg(&self) -> String {
        const OURS: &str = "#3b78c2";
        const PEER: &str = "#9aa7b5";
        let mut bars = Vec::new();
        for row in &self.rows {
            bars.extend(Figures::of(&row.samples).map(|figures| (row.name.clone(), OURS, figures, String::new())));
            for PeerRow { peer, samples, .. } in &row.peers {
                let note = row.ratio(peer).map_or(String::new(), |ratio| format!(", {ratio:.1} ×"));
                bars.extend(Figures::of(samples).map(|figures| (peer.clone(), PEER, figures, note)));
            }
        }
        let most_s = bars.iter().map(|(_, _, figures, _)| figures.most_s).fold(0.1, f64::max);
        let height = 30 + bars.len() * 28;
        let drawn = bars.iter().enumerate().map(|(index, (name, colour, figures, note))| {
            bar(20 + index * 28, &escape(name), colour, figures, most_s, note)
        });
        let drawn: String = drawn.collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 880 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>Medians, from the least to the most</title>\n\
             <rect width=\"880\" height=\"{height}\" fill=\"#fff\"/>\n{drawn}</svg>\n"
        )
    }
}

fn line(
    name: &str,
    width: usize,
    figures: Option<Figures>,
    load: Option<f64>,
    ratio: Option<f64>,
    versus: &str,
) -> String {
    let Some(Figures { median_s, least_s, most_s, cpu_s }) = figures else { return format!("{name:width$}  –") };
    let or_dash = |number: Option<f64>, unit: &str| number.map_or("–".to_string(), |n| format!("{n:.2}{unit}"));
    let (cpu, load, ratio) = (or_dash(cpu_s, " s"), load.map_or(String::new(), |load| format!("{load:.2}")), ratio);
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    format!(
        "{name:width$}  {median_s:>5.2} s   {least_s:>5.2} – {most_s:<5.2} s  {cpu:>7}  {load:>6}   {ratio:>6}   {versus}"
    )
}

fn bar(y: usize, name: &str, colour: &str, figures: &Figures, longest_s: f64, note: &str) -> String {
    const WIDTH: f64 = 460.0;
    const LEFT: f64 = 300.0;
    let Figures { median_s, least_s, most_s, .. } = *figures;
    let x = |seconds: f64| LEFT + seconds / longest_s * WIDTH;
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" rx=\"2\" fill=\"{colour}\"/>\
         <path d=\"M{:.1} {}H{:.1}\" stroke=\"#d08020\" stroke-width=\"2\"/>\
         <text x=\"{:.1}\" y=\"{}\">{median_s:.2} s{note}</text>\n",
        LEFT - 8.0,
        y + 12,
        x(median_s) - LEFT,
        x(least_s),
        y + 8,
        x(most_s),
        x(most_s) + 6.0,
        y + 12,
    )
}

/// An error in one line: what failed, and of what it said the last line that has an error in it, or the last of all.
pub fn one_line(error: &str) -> String {
    const LONGEST: usize = 300;
    const SIGNS: [&str; 5] = ["error", "fail", "unknown", "cannot", "could not"];
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("for no reason that it gives").to_string();
    let said: Vec<&str> = lines.filter(|line| !line.starts_with("Next: ")).collect();
    let is_error = |line: &&&str| SIGNS.iter().any(|sign| line.to_lowercase().contains(sign));
    let cause = said.iter().rev().find(is_error).or(said.last());
    let all = cause.map_or(first.clone(), |cause| format!("{first}: {cause}"));
    match all.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &all[..at]),
        None => all,
    }
}

pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
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
        let row = Row { name: "up, a <change>".to_string(), load: Some(0.5), samples, peers: Vec::new() };
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

    /// The same with a peer that took that long, and one that failed.
    fn with_peers(ours: f64, peer: f64) -> Report {
        let mut report = report(&[ours]);
        let samples = vec![Sample { wall_s: peer, cpu_s: None }];
        let failed = Some("it has no <image>".to_string());
        report.rows[0].peers = vec![
            PeerRow { peer: "skaffold".to_string(), samples, failed: None },
            PeerRow { peer: "tilt".to_string(), samples: Vec::new(), failed },
        ];
        report
    }

    #[test]
    fn a_peer_is_shown_by_its_median_over_ours() {
        let report = with_peers(2.0, 9.0);
        assert_eq!((report.rows[0].ratio("skaffold"), report.rows[0].ratio("tilt")), (Some(4.5), None));
        let text = report.text(None);
        let [head, ours, skaffold, tilt] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(head.ends_with("load     × ours"), "{text}");
        assert!(ours.starts_with("up, a <change>   2.00 s"), "{text}");
        assert!(skaffold.starts_with("  skaffold       9.00 s") && skaffold.ends_with("  4.50"), "{text}");
        assert_eq!(head.chars().count(), skaffold.chars().count(), "{text}");
        assert_eq!(tilt, "  tilt failed: it has no <image>");
        let brief = report.rows[0].brief();
        assert!(brief.ends_with("1 runs; skaffold 4.50 × that; tilt failed: it has no <image>"), "{brief}");
        assert!(report.svg().contains(">skaffold</text>") && report.svg().contains("9.00 s, 4.5 ×"));
        assert!(!report.svg().contains("tilt"));
    }

    #[test]
    fn a_peers_ratio_is_compared_with_that_of_before() {
        let json = with_peers(4.0, 8.0).to_json();
        assert_eq!(json["rows"][0]["peers"][0]["ratio"], 2.0);
        assert_eq!(json["rows"][0]["peers"][1]["failed"], "it has no <image>");
        let before = Report::parse(&json.to_string()).unwrap();
        let text = with_peers(2.0, 9.0).text(Some(&before));
        assert!(text.lines().next().unwrap().ends_with("× ours   × before"), "{text}");
        assert!(text.contains("0.50 × 4.00") && text.contains("4.50   2.25 × 2.00"), "{text}");
        // A report of before there were peers has none.
        let mut old = json;
        old["rows"][0].as_object_mut().unwrap().remove("peers");
        let old = Report::parse(&old.to_string()).unwrap();
        assert!(with_peers(2.0, 9.0).text(Some(&old)).contains("4.50   –"));
    }

    #[test]
    fn an_error_fits_in_one_line() {
        assert_eq!(one_line("skaffold failed\n  building\n  no space left\n\n"), "skaffold failed: no space left");
        let docker = "skaffold failed\nBuilding...\nunknown flag: --load\nSee 'docker build --help'.\n";
        assert_eq!(one_line(docker), "skaffold failed: unknown flag: --load");
        assert_eq!(one_line("refused\nNext: try again"), "refused");
        assert_eq!(one_line(&"ü".repeat(400)).chars().count(), 301);
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
