//! A mistake with its place, in the form in which GitHub Actions shows it beside the line.

use std::path::Path;

use crate::config::Place;

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Relative to the project's root, or absolute.
    pub file: String,
    /// From 1.
    pub line: usize,
    pub column: Option<usize>,
    pub message: String,
}

impl Annotation {
    pub fn at(place: &Place, message: &str) -> Annotation {
        let (file, message) = (place.file.to_string(), message.to_string());
        Annotation { file, line: place.line, column: Some(place.column), message }
    }

    /// Of a place as it is printed, `FILE:LINE` or `FILE:LINE:COLUMN`; None where it is none.
    pub fn of_text(place: &str, message: &str) -> Option<Annotation> {
        let (before, last) = place.rsplit_once(':')?;
        let last = last.parse().ok()?;
        let split = before.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
        let (file, line, column) = match split {
            Some((file, line)) => (file, line, Some(last)),
            None => (before, last, None),
        };
        Some(Annotation { file: file.to_string(), line, column, message: message.to_string() })
    }

    /// As a workflow command, of the file under `folder`, which leads from the repository to the project.
    pub fn github(&self, folder: &Path) -> String {
        let file = property(&folder.join(&self.file).display().to_string());
        let column = self.column.map(|column| format!(",col={column}")).unwrap_or_default();
        format!("::error file={file},line={}{column}::{}", self.line, data(&self.message))
    }
}

/// A message as a workflow command has it: in one line.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which commas separate and colons end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(file: &str, line: usize, column: Option<usize>, message: &str) -> Annotation {
        Annotation { file: file.to_string(), line, column, message: message.to_string() }
    }

    #[test]
    fn what_would_end_a_command_or_a_property_is_escaped() {
        let wrong = annotation("a,b:c%.toml", 3, Some(7), "50 % of\r\nit: a, b");
        let expected = "::error file=a%2Cb%3Ac%25.toml,line=3,col=7::50 %25 of%0D%0Ait: a, b";
        assert_eq!(wrong.github(Path::new("")), expected);
    }

    #[test]
    fn a_file_is_named_from_the_repository_on() {
        let wrong = annotation("xtask.toml", 1, None, "no");
        assert_eq!(wrong.github(Path::new("examples/hello")), "::error file=examples/hello/xtask.toml,line=1::no");
        assert_eq!(annotation("/a/b", 1, None, "no").github(Path::new("c")), "::error file=/a/b,line=1::no");
    }

    #[test]
    fn a_printed_place_is_read_with_and_without_a_column() {
        let read = |place| Annotation::of_text(place, "no");
        assert_eq!(read("a/b.rs:12:5"), Some(annotation("a/b.rs", 12, Some(5), "no")));
        assert_eq!(read("a/b.rs:12"), Some(annotation("a/b.rs", 12, None, "no")));
        assert_eq!(read("a:b:12"), Some(annotation("a:b", 12, None, "no")));
        for place in ["a/b.rs", "", ":", "a:b", "a:1:b"] {
            assert_eq!(read(place), None, "{place}");
        }
    }
}
