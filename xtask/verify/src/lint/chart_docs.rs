//! The values of a chart as a table of its README, made from the comments in values.yaml: one truth, read in two places.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// What writes the tables anew.
pub const COMMAND: &str = "cargo xtask lint --update";

const BEGIN: &str = "<!-- values: begin -->";
const END: &str = "<!-- values: end -->";

/// A file of which a part is made from another, and is not as that one says, with the text that it should have.
pub struct Stale {
    pub path: PathBuf,
    pub text: String,
}

/// The READMEs below the folder of the charts that have to be written anew.
pub fn stale(charts: &Path) -> Result<Vec<Stale>> {
    let mut found = Vec::new();
    let mut folders = fs::read_dir(charts)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("values.yaml").is_file()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let section = render(&name, &fs::read_to_string(folder.join("values.yaml"))?);
        let readme = folder.join("README.md");
        let text = fs::read_to_string(&readme).map_err(|error| describe(&readme, &error.to_string()))?;
        let wanted = replace(&text, &section).ok_or_else(|| describe(&readme, &format!("lacks {BEGIN} and {END}")))?;
        if wanted != text {
            found.push(Stale { path: readme, text: wanted });
        }
    }
    Ok(found)
}

fn describe(file: &Path, what: &str) -> Error {
    Error::other(format!("{}: {what}", file.display()))
}

/// The README with the section in place of what stands between its two markers; None where it has them not.
pub fn replace(readme: &str, section: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

/// The section about the values of the chart, as Markdown.
pub fn render(chart: &str, values: &str) -> String {
    let (about, rows) = parse(values);
    let mut text = format!("Made from the comments of `{chart}/values.yaml` by `{COMMAND}`.\n\n");
    if !about.is_empty() {
        text += &format!("{about}\n\n");
    }
    text += "| value | default | what it is |\n| --- | --- | --- |\n";
    for Row { path, default, about } in rows {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        text += &format!("| `{path}` | {} | {} |\n", cell(&default), cell(&about));
    }
    text
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[derive(Debug, PartialEq)]
struct Row {
    path: String,
    /// As it is written; empty for a key that only holds others.
    default: String,
    about: String,
}

/// The comment at the head of the file, and a row for each key that has a value or a comment. Comments belong to the key
/// below them. YAML as these files are written: maps in block style, lists in one line.
fn parse(values: &str) -> (String, Vec<Row>) {
    let (mut about, mut rows) = (String::new(), Vec::new());
    let mut comment: Vec<&str> = Vec::new();
    let mut parents: Vec<(usize, &str)> = Vec::new();
    for line in values.lines() {
        let text = line.trim();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, default)) = text.split_once(':') {
            let indent = line.len() - line.trim_start().len();
            parents.retain(|(of, _)| *of < indent);
            parents.push((indent, key));
            let path = parents.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
            let row = Row { path, default: default.trim().to_string(), about: comment.join(" ") };
            comment.clear();
            if !(row.default.is_empty() && row.about.is_empty()) {
                rows.push(row);
            }
        } else {
            // A comment that a blank line follows is about no key: at the head it is about the file.
            if rows.is_empty() && parents.is_empty() && about.is_empty() {
                about = comment.join(" ");
            }
            comment.clear();
        }
    }
    (about, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, default: &str, about: &str) -> Row {
        Row { path: path.to_string(), default: default.to_string(), about: about.to_string() }
    }

    #[test]
    fn a_comment_belongs_to_the_key_below_it_and_the_first_to_the_file() {
        let (about, rows) = parse("# The file,\n# in two lines.\n\n# How many.\n# Really.\ncount: 1\nother: \"\"\n");
        assert_eq!(about, "The file, in two lines.");
        assert_eq!(rows, [row("count", "1", "How many. Really."), row("other", "\"\"", "")]);
    }

    #[test]
    fn paths_follow_the_indentation() {
        let text = "a:\n  # Deep.\n  b:\n    c: {x: y}\n  d: [1, 2]\n# Last.\ne:\n  f: http://g:1\n";
        let rows = parse(text).1;
        let wanted = [("a.b", "", "Deep."), ("a.b.c", "{x: y}", ""), ("a.d", "[1, 2]", ""), ("e", "", "Last.")];
        assert_eq!(rows[..4], wanted.map(|(path, default, about)| row(path, default, about)));
        assert_eq!(rows[4], row("e.f", "http://g:1", ""));
    }

    #[test]
    fn a_comment_about_no_key_is_left_out() {
        assert_eq!(parse("a: 1\n\n# Stray.\n\nb: 2\n"), (String::new(), vec![row("a", "1", ""), row("b", "2", "")]));
    }

    #[test]
    fn bars_do_not_end_a_cell() {
        let text = render("some", "# This | or that.\na: x|y\n");
        assert!(text.ends_with("| `a` | `x\\|y` | This \\| or that. |\n"), "{text}");
        assert!(text.contains("some/values.yaml"), "{text}");
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let readme = format!("# Title\n{BEGIN}\nold\n{END}\nend\n");
        let wanted = format!("# Title\n{BEGIN}\nnew\n{END}\nend\n");
        assert_eq!(replace(&readme, "new\n"), Some(wanted.clone()));
        assert_eq!(replace(&wanted, "new\n"), Some(wanted));
        assert_eq!(replace("# Title\n", "new\n"), None);
    }

    #[test]
    fn the_readmes_of_the_charts_say_what_their_values_say() {
        let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm");
        let stale: Vec<_> = stale(&charts).unwrap().into_iter().map(|stale| stale.path).collect();
        assert!(stale.is_empty(), "out of date: {stale:?}\nNext: {COMMAND}");
    }
}
