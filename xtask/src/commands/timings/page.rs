//! The steps of a run as a page of one file: a table whose last column is a chart. It asks the network for nothing, and
//! runs no script.

use std::fmt::Write;

use crate::model::markup::escape;
use crate::model::spans::{Kind, Outcome, Span};
use crate::model::time;
use crate::run::record::Run;

const STYLE: &str = include_str!("page.css");
/// The most parts into which lines divide the time axis; their labels have room for no more on a phone.
const TICKS: u64 = 6;
/// A tick further to the right than this, in percent, has a line and no label.
const LABEL_MAX: f64 = 90.0;

/// The whole page.
pub fn page(run: &Run, spans: &[Span]) -> String {
    let title = escape(&format!("{} of {}, profile {}", run.command, time::text(run.started), run.profile));
    let main = [heading(run), errors(&run.errors), steps(run, spans)].concat();
    // The policy holds the page to what it is: a browser would load nothing else for it.
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
{main}</main>
</body>
</html>
"#
    )
}

fn heading(run: &Run) -> String {
    let (class, mark) = if run.code == Some(0) { ("done", "✓") } else { ("failed", "✗") };
    let clock = |seconds: i64| {
        let text = time::text(seconds);
        format!("<time datetime=\"{text}\">{}</time>", text.replace('T', " ").replace('Z', " UTC"))
    };
    let end = match run.code {
        Some(_) => clock(run.started + run.took.as_secs_f64().round() as i64),
        None => format!("unknown; the record ends after {}", duration(run.took.as_millis() as u64)),
    };
    let facts = [
        ("Command", format!("<code>cargo xtask {}</code>", escape(&run.command))),
        ("Profile", escape(&run.profile)),
        ("Namespace", escape(&run.namespace)),
        ("Start", clock(run.started)),
        ("End", end),
    ];
    let facts: String = facts.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n")).concat();
    format!(
        "<h1>{}, profile {}</h1>\n<p class=\"ending {class}\"><span aria-hidden=\"true\">{mark}</span> {}</p>\n<dl>\n{facts}</dl>\n",
        escape(&run.command),
        escape(&run.profile),
        escape(&run.ending()),
    )
}

fn errors(errors: &[String]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let items: String = errors.iter().map(|error| format!("<li>{}</li>\n", escape(error))).collect();
    format!("<h2>Errors</h2>\n<ul class=\"errors\">\n{items}</ul>\n")
}

/// The table. Its roles are named, as browsers take them from a table that is laid out as a grid.
fn steps(run: &Run, spans: &[Span]) -> String {
    if spans.is_empty() {
        return "<h2>Steps</h2>\n<p>The record of this run has no steps.</p>\n".to_string();
    }
    let total_ms = (run.took.as_millis() as u64).max(1);
    let tick_ms = tick(total_ms);
    let axis = format!(r#"<span class="unseen">Place in the run</span>{}"#, labels(tick_ms, total_ms));
    let columns =
        [("name", "Step"), ("start", "Start"), ("duration", "Duration"), ("chart", &axis), ("detail unseen", "Detail")];
    let header: String = columns
        .map(|(class, text)| format!(r#"<th role="columnheader" scope="col" class="{class}">{text}</th>"#))
        .concat();
    let rows: String = spans.iter().map(|span| row(span, total_ms)).collect();
    format!(
        r#"<h2 id="steps">Steps</h2>
<p class="hint">In the order in which they began, each followed by its parts. One that failed is striped, and says so.</p>
<table role="table" aria-labelledby="steps" style="--tick: {:.4}%">
<thead role="rowgroup"><tr role="row">{header}</tr></thead>
<tbody role="rowgroup">
{rows}</tbody>
</table>
"#,
        percent(tick_ms, total_ms)
    )
}

fn row(span: &Span, total_ms: u64) -> String {
    let (class, badge) = match span.outcome {
        Outcome::Done => ("done", ""),
        Outcome::Failed => ("failed", " <strong>✗ failed</strong>"),
        Outcome::NotEnded => ("failed", " <strong>✗ not ended</strong>"),
    };
    let kind = span.kind.name();
    let prefix = match span.kind {
        Kind::Step => String::new(),
        Kind::Part | Kind::Process => format!(r#"<span class="unseen">{kind}: </span>"#),
    };
    // The badge says that much.
    let detail = if span.detail == "failed" { String::new() } else { escape(&span.detail) };
    let (left, width) = (percent(span.start_ms, total_ms), percent(span.took_ms, total_ms));
    let cells = [
        ("start", duration(span.start_ms)),
        ("duration", duration(span.took_ms)),
        ("chart", format!(r#"<div class="bar" style="--left: {left:.4}%; --width: {width:.4}%"></div>"#)),
        ("detail", detail),
    ];
    let cells: String = cells.map(|(class, text)| format!(r#"<td role="cell" class="{class}">{text}</td>"#)).concat();
    let name = escape(&span.name);
    let name = format!(r#"<th role="rowheader" scope="row" class="name">{prefix}{name}{badge}</th>"#);
    format!("<tr role=\"row\" class=\"{kind} {class}\">{name}{cells}</tr>\n")
}

/// The place of a time on the axis; never beyond its end.
fn percent(ms: u64, total_ms: u64) -> f64 {
    ms.min(total_ms) as f64 * 100.0 / total_ms.max(1) as f64
}

/// The time between two lines of the axis: the shortest of the usual ones that makes few enough of them.
fn tick(total_ms: u64) -> u64 {
    const MILLISECONDS: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
    const SECONDS: [u64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];
    let mut usual = MILLISECONDS.into_iter().chain(SECONDS.map(|seconds| seconds * 1000));
    usual.find(|tick| total_ms / tick <= TICKS).unwrap_or(total_ms)
}

fn labels(tick_ms: u64, total_ms: u64) -> String {
    let places = (0..=total_ms / tick_ms).map(|count| count * tick_ms);
    let shown = places.filter(|ms| percent(*ms, total_ms) <= LABEL_MAX);
    let mut text = String::new();
    for ms in shown {
        let left = percent(ms, total_ms);
        write!(
            text,
            "<span class=\"tick\" aria-hidden=\"true\" style=\"--left: {left:.4}%\">{}</span>",
            label(ms, tick_ms)
        )
        .expect("a string takes all");
    }
    text
}

/// A time on the axis, in the unit of the time between two lines.
fn label(ms: u64, tick_ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")];
    match UNITS.into_iter().find(|(size, _)| tick_ms.is_multiple_of(*size)) {
        Some((size, unit)) if ms > 0 => format!("{} {unit}", ms / size),
        _ => "0".to_string(),
    }
}

/// As in `42 ms`, `9.5 s`, `3 min 07 s`, `1 h 02 min`.
fn duration(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    let seconds = (ms + 500) / 1000;
    match ms {
        ..1000 => format!("{ms} ms"),
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ if seconds < 3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(code: Option<u8>) -> Run {
        Run {
            command: "up".to_string(),
            profile: "dev".to_string(),
            started: 1_767_225_600,
            took: Duration::from_secs(10),
            code,
            ..Run::default()
        }
    }

    fn span(name: &str, start_ms: u64, took_ms: u64, outcome: Outcome, kind: Kind) -> Span {
        Span { name: name.to_string(), start_ms, took_ms, outcome, detail: String::new(), kind }
    }

    fn row_of(spans: &[Span], name: &str) -> String {
        let page = page(&run(Some(0)), spans);
        page.lines().find(|line| line.contains("<tr") && line.contains(name)).unwrap().to_string()
    }

    #[test]
    fn the_heading_says_what_ran_when_and_how_it_ended() {
        let page = page(&run(Some(0)), &[]);
        for part in [
            "<title>up of 2026-01-01T00:00:00Z, profile dev</title>",
            "<h1>up, profile dev</h1>",
            "</span> done in 10.0 s</p>",
            "<dt>Start</dt><dd><time datetime=\"2026-01-01T00:00:00Z\">2026-01-01 00:00:00 UTC</time></dd>",
            "<dt>End</dt><dd><time datetime=\"2026-01-01T00:00:10Z\">2026-01-01 00:00:10 UTC</time></dd>",
            "<p>The record of this run has no steps.</p>",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert!(!page.contains("<table") && !page.contains("<h2>Errors"), "{page}");
    }

    #[test]
    fn a_step_has_its_times_and_its_place_on_the_axis() {
        let row = row_of(&[span("build a", 2500, 5000, Outcome::Done, Kind::Step)], "build a");
        assert!(row.contains("class=\"start\">2.5 s</td>") && row.contains("class=\"duration\">5.0 s</td>"), "{row}");
        assert!(row.contains("--left: 25.0000%; --width: 50.0000%"), "{row}");
        assert!(row.contains("class=\"step done\"") && !row.contains('✗'), "{row}");
    }

    #[test]
    fn a_failed_part_says_so_in_words_and_with_its_reason() {
        let failed = Span { detail: "404 <Not Found>".to_string(), ..span("page", 0, 20, Outcome::Failed, Kind::Part) };
        let row = row_of(&[failed], "page");
        assert!(row.contains("class=\"part failed\"") && row.contains("<strong>✗ failed</strong>"), "{row}");
        assert!(
            row.contains("part: </span>page") && row.contains("class=\"detail\">404 &lt;Not Found&gt;</td>"),
            "{row}"
        );
        let failed = Run { errors: vec!["pod <a> crashed".to_string()], ..run(Some(1)) };
        let page = page(&failed, &[]);
        assert!(page.contains("<li>pod &lt;a&gt; crashed</li>") && page.contains("failed with exit code 1"), "{page}");
    }

    #[test]
    fn a_run_that_was_killed_has_no_end() {
        let page = page(&run(None), &[span("build a", 0, 10_000, Outcome::NotEnded, Kind::Step)]);
        assert!(page.contains("<dt>End</dt><dd>unknown; the record ends after 10.0 s</dd>"), "{page}");
        assert!(page.contains("not ended: it goes on, or was killed") && page.contains("✗ not ended"), "{page}");
    }

    #[test]
    fn no_text_of_a_record_becomes_markup() {
        const TEXT: &str = "</style><script>alert('1')</script>\"&\u{1b}[31m";
        let own = Run {
            command: TEXT.to_string(),
            profile: TEXT.to_string(),
            namespace: TEXT.to_string(),
            errors: vec![TEXT.to_string()],
            ..run(Some(1))
        };
        let step = Span { detail: TEXT.to_string(), ..span(TEXT, 0, 1, Outcome::Done, Kind::Step) };
        let page = page(&own, &[step]);
        assert!(!page.contains("<script") && !page.contains('\u{1b}') && !page.contains("'1'"), "{page}");
        assert_eq!(page.matches("</style>").count(), 1);
        // Title, heading twice, command, profile, namespace, error, name and detail of the step.
        let escaped = "&lt;/style&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}[31m";
        assert_eq!(page.matches(escaped).count(), 10, "{page}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        let page = page(&run(Some(0)), &[span("a", 0, 1, Outcome::Done, Kind::Step)]);
        for outside in ["http:", "https:", "src=", "url(", "@import", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"), "{page}");
    }

    #[test]
    fn an_axis_has_few_lines_at_round_times() {
        for (total_ms, expected) in [
            (1, "0"),
            (9_500, "0 2 s 4 s 6 s 8 s"),
            (69_000, "0 10 s 20 s 30 s 40 s 50 s 60 s"),
            (780_000, "0 2 min 4 min 6 min 8 min 10 min"),
        ] {
            let texts: Vec<String> = labels(tick(total_ms), total_ms)
                .split("</span>")
                .filter_map(|one| Some(one.rsplit_once('>')?.1.to_string()))
                .collect();
            assert_eq!(texts.join(" "), expected, "{total_ms}");
        }
        assert!((1..10_000_000).step_by(997).all(|total_ms| (1..=TICKS).contains(&(total_ms / tick(total_ms)))));
        assert_eq!(tick(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_duration_is_as_exact_as_it_is_short() {
        let texts = [0, 999, 1000, 9_549, 9_550, 59_949, 59_950, 3_599_499, 3_599_500, 7_380_000].map(duration);
        assert_eq!(
            texts,
            [
                "0 ms",
                "999 ms",
                "1.0 s",
                "9.5 s",
                "9.6 s",
                "59.9 s",
                "1 min 00 s",
                "59 min 59 s",
                "1 h 00 min",
                "2 h 03 min"
            ]
        );
    }
}
