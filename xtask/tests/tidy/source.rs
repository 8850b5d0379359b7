//! Files to check, what is wrong with them, and Rust text without comments, strings and tests.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
#[derive(Clone, Debug)]
pub struct Source {
    /// Relative to the root, with slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), text: text.to_string() }
    }

    pub fn finding(&self, line: usize, rule: &'static str, message: impl Into<String>) -> Finding {
        Finding { file: self.path.clone(), line, rule, message: message.into() }
    }
}

/// Prints as `FILE:LINE: rule: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub file: String,
    pub line: usize,
    pub rule: &'static str,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// Panics with all findings, one per line.
pub fn assert_none(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings\n{}\n", lines.len(), lines.join("\n"));
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository").to_path_buf()
}

/// The files under `folder` with one of these extensions, in order of their paths. Skips build output and what is hidden.
pub fn files_under(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut pending = vec![root.join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_symlink() || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if name != "target" && name != "node_modules" {
                    pending.push(path);
                }
            } else if extensions.iter().any(|extension| path.extension().is_some_and(|own| own == *extension)) {
                let relative = path.strip_prefix(&root).expect("the file lies under the root").display().to_string();
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {relative}: {error}"));
                sources.push(Source { path: relative, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// The source with comments, strings and character literals blanked. Lines keep their numbers.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_blank(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        }
        while at < end {
            code.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    code
}

/// The end of the comment, string or character literal that starts here; `at` where none does.
fn end_of_blank(chars: &[char], at: usize) -> usize {
    let starts = |text: &str| text.chars().enumerate().all(|(offset, c)| chars.get(at + offset) == Some(&c));
    let in_word = at > 0 && is_word(chars[at - 1]);
    if starts("//") {
        return (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len());
    }
    if starts("/*") {
        return end_of_block_comment(chars, at);
    }
    if !in_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let first = at + if chars[at] == 'b' { 2 } else { 1 };
        let hashes = chars[first..].iter().take_while(|c| **c == '#').count();
        if chars.get(first + hashes) == Some(&'"') {
            let closes = |i: &usize| chars[*i] == '"' && chars[*i + 1..].iter().take(hashes).all(|c| *c == '#');
            let end = (first + hashes + 1..chars.len()).find(closes);
            return end.map_or(chars.len(), |end| end + 1 + hashes);
        }
    }
    match chars[at] {
        '"' => end_of_quoted(chars, at, '"'),
        // A lifetime is a quote and a word without another quote behind its first letter.
        '\'' if chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'') => end_of_quoted(chars, at, '\''),
        _ => at,
    }
}

fn end_of_quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn end_of_block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

/// Blanks each item under `#[cfg(test)]` in code without comments and strings. Returns the rest, the lines that are left,
/// and the modules with files of their own among what was blanked.
pub fn without_tests(code: &str) -> (String, usize, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut rest, mut modules) = (code.to_string(), Vec::new());
    let mut lines = code.lines().count();
    while let Some(start) = rest.find(MARK) {
        let end = start + end_of_item(&rest[start..]);
        let item = &rest[start..end];
        lines -= item.lines().count();
        if let Some(name) = item[MARK.len()..].trim().strip_prefix("mod ").and_then(|name| name.strip_suffix(';')) {
            modules.push(name.trim().to_string());
        }
        let blank: String = item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        rest.replace_range(start..end, &blank);
    }
    (rest, lines, modules)
}

/// Where an item ends: at its semicolon, or at the brace that closes its body.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line of a byte of the text, from 1 on.
pub fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// A Rust file as the rules look at it.
pub struct Code {
    pub source: Source,
    /// Without comments, strings and tests.
    pub code: String,
    /// How many lines are not of tests.
    pub lines: usize,
}

/// Rust files without tests: those that exist for tests only are left out.
pub fn production(sources: &[Source]) -> Vec<Code> {
    let mut test_files = Vec::new();
    let mut all = Vec::new();
    for source in sources {
        let (code, lines, modules) = without_tests(&code_of(&source.text));
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        test_files.extend(modules.iter().map(|name| format!("{folder}/{name}.rs")));
        all.push(Code { source: source.clone(), code, lines });
    }
    all.retain(|file| !test_files.contains(&file.source.path));
    all
}
