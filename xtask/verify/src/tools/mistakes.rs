//! The mistakes with a place in what cargo prints of rustfmt, rustc, clippy and tests.

use std::path::Path;

use xtask::run::annotation::Annotation;

/// How many lines of a panic's message are taken: a long comparison stays in the log.
const LINES: usize = 8;

/// Each once, in their order. `workspace` is the folder of the manifest, by which cargo's programs name files, relative to
/// `root`. Files outside the root are left out: nobody changes them here.
pub fn find(lines: &[String], root: &Path, workspace: &Path) -> Vec<Annotation> {
    let mut found: Vec<Annotation> = Vec::new();
    let mut error = None;
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim();
        if line.starts_with("error: ") || line.starts_with("error[") {
            error = Some(line.strip_prefix("error: ").unwrap_or(line));
        }
        let mistake = if let Some(place) = line.strip_prefix("--> ") {
            // Another place behind it is that of a note.
            error.take().and_then(|message| Annotation::of_text(place, message))
        } else if let Some(place) = line.strip_prefix("Diff in ") {
            Annotation::of_text(place.trim_end_matches(':'), "it is not formatted: cargo fmt --all")
        } else if let Some((_, place)) = line.split_once(" panicked at ") {
            Annotation::of_text(place.trim_end_matches(':'), &message(&lines[index + 1..]))
        } else {
            None
        };
        let mistake = mistake.and_then(|mistake| within(mistake, root, workspace));
        found.extend(mistake.filter(|mistake| !found.contains(mistake)));
    }
    found
}

/// What a test says as it panics, up to what the harness adds.
fn message(lines: &[String]) -> String {
    let ends = |line: &&String| line.is_empty() || line.starts_with("note: ") || line.starts_with("stack backtrace:");
    let said: Vec<&str> = lines.iter().take_while(|line| !ends(line)).take(LINES).map(String::as_str).collect();
    said.join("\n")
}

/// The same with the file relative to the root.
fn within(mistake: Annotation, root: &Path, workspace: &Path) -> Option<Annotation> {
    let file = match Path::new(&mistake.file) {
        file if file.is_absolute() => file.strip_prefix(root).ok()?.to_path_buf(),
        file => workspace.join(file),
    };
    Some(Annotation { file: file.display().to_string(), ..mistake })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(workspace: &str, text: &str) -> Vec<(String, usize, Option<usize>, String)> {
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        let found = find(&lines, Path::new("/project"), Path::new(workspace));
        found.into_iter().map(|one| (one.file, one.line, one.column, one.message)).collect()
    }

    fn at(file: &str, line: usize, column: usize, message: &str) -> (String, usize, Option<usize>, String) {
        (file.to_string(), line, Some(column), message.to_string())
    }

    #[test]
    fn an_error_is_where_its_first_place_says() {
        let text = "error[E0308]: mismatched types\n  --> kit/src/lib.rs:3:5\n   |\n3  |     \"a\"\nnote: it is declared here\n   \
                    --> kit/src/lib.rs:1:1\nwarning: unused\n --> kit/src/a.rs:1:1\nerror: unused `a`\n  --> kit/src/b.rs:2:1\nerror: could not compile `kit`\n";
        let mistyped = at("services/kit/src/lib.rs", 3, 5, "error[E0308]: mismatched types");
        assert_eq!(found("services", text), [mistyped, at("services/kit/src/b.rs", 2, 1, "unused `a`")]);
    }

    #[test]
    fn a_panic_of_a_test_comes_with_its_message() {
        let text = "running 2 tests\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\
                    thread 'a' (7) panicked at xtask/src/lib.rs:9:13:\nassertion `left == right` failed: no\n  left: 1\n right: 2\n\
                    note: run with `RUST_BACKTRACE=1`\n\nthread 'a' (7) panicked at /rustc/0/library/core/src/a.rs:1:1:\nno\n";
        let message = "assertion `left == right` failed: no\n  left: 1\n right: 2";
        assert_eq!(found("", text), [at("xtask/src/lib.rs", 9, 13, message)]);
        let long = format!("thread 'a' panicked at a.rs:1:1:\n{}", "more\n".repeat(20));
        assert_eq!(found("", &long)[0].3.lines().count(), LINES);
    }

    #[test]
    fn what_is_not_formatted_is_named_from_the_root_on_and_once() {
        let text = "Diff in /project/services/kit/src/lib.rs:12:\n-a\n+b\nDiff in /elsewhere/a.rs:1:\n".repeat(2);
        let (file, message) =
            ("services/kit/src/lib.rs".to_string(), "it is not formatted: cargo fmt --all".to_string());
        assert_eq!(found("services", &text), [(file, 12, None, message)]);
    }
}
