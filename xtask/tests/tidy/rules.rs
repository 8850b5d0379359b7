//! What is checked file by file: purity, doc lines, sizes, words and links.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::paths;
use crate::source::{Finding, Source, is_word, line_at, production};

/// A place where I/O stays in a pure file.
pub struct Impurity {
    pub file: &'static str,
    pub what: &'static str,
    pub reason: &'static str,
}

/// I/O in files that must be pure. `pure` holds files, and folders with a slash at the end.
pub fn check_purity(sources: &[Source], pure: &[&str], exceptions: &[Impurity]) -> Vec<Finding> {
    const CALLS: [&str; 3] = [".spawn.", "SystemTime::now", "Instant::now"];
    let is_pure =
        |path: &str| pure.iter().any(|place| path == *place || place.ends_with('/') && path.starts_with(place));
    let (mut findings, mut used) = (Vec::new(), BTreeSet::new());
    for file in production(sources).iter().filter(|file| is_pure(&file.source.path)) {
        let of_std = paths(&file.code, &["std", "fs", "process", "env", "net", "thread"]);
        let mut found: Vec<(usize, String)> =
            of_std.iter().filter_map(|path| Some((path.line, io_of(&path.segments)?))).collect();
        for call in CALLS {
            found.extend(file.code.match_indices(call).map(|(at, _)| (line_at(&file.code, at), call.to_string())));
        }
        found.dedup();
        for (line, what) in found {
            match exceptions.iter().position(|exception| exception.file == file.source.path && exception.what == what) {
                Some(index) => drop(used.insert(index)),
                None => findings.push(file.source.finding(line, "purity", format!("{what} in a file without I/O"))),
            }
        }
    }
    for place in pure {
        if !sources.iter().any(|source| is_pure(&source.path) && source.path.starts_with(place)) {
            findings.push(Source::new(place, "").finding(
                1,
                "purity",
                "there is no such file: correct the table in tidy.rs",
            ));
        }
    }
    let unneeded = exceptions.iter().enumerate().filter(|(index, _)| !used.contains(index));
    findings.extend(unneeded.map(|(_, exception)| {
        let message = format!("the exception for {} is no longer needed ({})", exception.what, exception.reason);
        Source::new(exception.file, "").finding(1, "purity", message)
    }));
    findings
}

/// What of the standard library does I/O, as `std::fs`. Types of addresses and constants of the build don't.
fn io_of(segments: &[String]) -> Option<String> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let words = words.strip_prefix(&["std"]).unwrap_or(&words);
    let module = match words {
        ["net", kind, ..] if ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError"].contains(kind) => None,
        ["env", "consts", ..] => None,
        [module @ ("fs" | "process" | "net" | "env" | "thread"), ..] => Some(module),
        _ => None,
    };
    module.map(|module| format!("std::{module}"))
}

/// Files without a `//!` line at the top.
pub fn check_docs(sources: &[Source]) -> Vec<Finding> {
    let missing = |source: &&Source| source.text.lines().next().is_none_or(|line| !line.starts_with("//! "));
    let finding =
        |source: &Source| source.finding(1, "doc line", "the first line must be `//! ` and what the file is for");
    sources.iter().filter(missing).map(finding).collect()
}

/// The most lines of a file and of a function, without tests.
pub const FILE_LINES: usize = 600;
pub const FUNCTION_LINES: usize = 60;

/// A file, or a function of it as `FILE::NAME`, that is longer than that and must not grow.
pub struct Size {
    pub what: &'static str,
    pub lines: usize,
}

/// Files and functions that are too long, or longer than their exception; exceptions that nothing needs.
pub fn check_sizes(sources: &[Source], exceptions: &[Size]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut over = BTreeSet::new();
    let mut check = |source: &Source, line: usize, name: String, what: String, lines: usize, cap: usize| {
        if lines <= cap {
            return;
        }
        let message = match exceptions.iter().find(|exception| exception.what == name) {
            Some(exception) if lines <= exception.lines => None,
            Some(exception) => {
                Some(format!("{what} grew from {} to {lines} lines: split it, at most {cap}", exception.lines))
            }
            None => Some(format!("{what} has {lines} lines, at most {cap}: split it")),
        };
        findings.extend(message.map(|message| source.finding(line, "size", message)));
        over.insert(name);
    };
    for file in production(sources) {
        let path = &file.source.path;
        check(&file.source, 1, path.clone(), "the file".to_string(), file.lines, FILE_LINES);
        for Function { name, line, lines } in functions(&file.code) {
            check(&file.source, line, format!("{path}::{name}"), format!("fn {name}"), lines, FUNCTION_LINES);
        }
    }
    for Size { what, .. } in exceptions.iter().filter(|exception| !over.contains(exception.what)) {
        let file = what.split("::").next().unwrap_or_default();
        findings.push(Source::new(file, "").finding(
            1,
            "size",
            format!("the exception for {what} is no longer needed"),
        ));
    }
    findings
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// The functions with a body, from `fn` to the closing brace.
fn functions(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        if name.is_empty() || code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let (mut braces, mut brackets) = (0, 0);
        for (offset, c) in code[at..].char_indices() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if braces == 0 && brackets == 0 => break,
                '{' => braces += 1,
                '}' if braces == 1 => {
                    let lines = code[at..at + offset].matches('\n').count() + 1;
                    functions.push(Function { name, line: line_at(code, at), lines });
                    break;
                }
                '}' => braces -= 1,
                _ => {}
            }
        }
    }
    functions
}

/// How often a banned word may still be in a file: word and path to the number.
pub type Allowed = BTreeMap<(String, String), usize>;

/// Reads lines of `WORD COUNT PATH`; empty ones and those that start with # are skipped.
pub fn read_allowed(text: &str) -> Allowed {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [word, count, path] = words[..] else { panic!("not WORD COUNT PATH: {line}") };
        ((word.to_string(), path.to_string()), count.parse().unwrap_or_else(|_| panic!("no count: {line}")))
    };
    lines.map(entry).collect()
}

/// A word, or a character, that no file may have, and what to write in its place.
pub struct Banned {
    pub word: &'static str,
    pub instead: &'static str,
}

/// Word and path to the lines of each occurrence.
pub fn find_words(sources: &[Source], banned: &[Banned]) -> BTreeMap<(String, String), Vec<usize>> {
    let mut found: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let line = line.to_lowercase();
            for Banned { word, .. } in banned {
                for _ in 0..occurrences(&line, word) {
                    found.entry((word.to_string(), source.path.clone())).or_default().push(index + 1);
                }
            }
        }
    }
    found
}

/// As a word of its own; `_` parts words, so that names are found, too.
fn occurrences(line: &str, word: &str) -> usize {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric) && word.chars().all(char::is_alphanumeric);
    let alone =
        |at: &usize| !is_part(line[..*at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next());
    line.match_indices(word).map(|(at, _)| at).filter(alone).count()
}

/// Banned words beyond the allowed number, and allowances that are higher than the number.
pub fn check_words(sources: &[Source], banned: &[Banned], allowed: &Allowed) -> Vec<Finding> {
    let found = find_words(sources, banned);
    let mut findings = Vec::new();
    for ((word, path), lines) in &found {
        let most = allowed.get(&(word.clone(), path.clone())).copied().unwrap_or_default();
        let instead = banned.iter().find(|banned| banned.word == word).map_or("", |banned| banned.instead);
        if lines.len() > most {
            let all: Vec<String> = lines.iter().map(usize::to_string).collect();
            let message = format!("`{word}` on lines {}; {most} allowed: write {instead}", all.join(", "));
            findings.push(Source::new(path, "").finding(lines[0], "words", message));
        }
    }
    for ((word, path), most) in allowed {
        let count = found.get(&(word.clone(), path.clone())).map_or(0, Vec::len);
        if count < *most {
            let message = format!("`{word}` {count} times, {most} allowed: lower it with TIDY_LOWER=1");
            findings.push(Source::new(path, "").finding(1, "words", message));
        }
    }
    findings
}

/// The table with each number as low as it is now; none is raised.
pub fn lowered(text: &str, sources: &[Source], banned: &[Banned]) -> String {
    let found = find_words(sources, banned);
    let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with('#')).map(str::to_string).collect();
    for (key, most) in read_allowed(text) {
        let count = found.get(&key).map_or(0, Vec::len).min(most);
        if count > 0 {
            lines.push(format!("{} {count} {}", key.0, key.1));
        }
    }
    lines.join("\n") + "\n"
}

/// Links of Markdown files to files, folders and headings that aren't there, and paths in backticks that lead nowhere.
/// `exists` answers for a path relative to the root; `top` holds the names of the root's folders.
pub fn check_links(docs: &[Source], top: &[&str], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        docs.iter().map(|doc| (doc.path.as_str(), anchors_of(&doc.text))).collect();
    let mut findings = Vec::new();
    for doc in docs {
        for (index, line) in prose_lines(&doc.text) {
            for target in links_of(&line) {
                if let Some(problem) = problem_of(&doc.path, &target, &anchors, exists) {
                    findings.push(doc.finding(index + 1, "links", format!("({target}) leads nowhere: {problem}")));
                }
            }
            for path in line.split('`').skip(1).step_by(2).filter(|span| is_repository_path(span, top)) {
                if !exists(path.trim_end_matches('/')) {
                    findings.push(doc.finding(index + 1, "links", format!("there is no `{path}` in the repository")));
                }
            }
        }
    }
    findings
}

/// The lines outside code blocks.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let (mut in_fence, mut may_indent) = (false, true);
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        let is_indented = line.starts_with("    ") && may_indent;
        may_indent = line.trim().is_empty() || is_indented;
        if !in_fence && !is_indented {
            lines.push((index, line.to_string()));
        }
    }
    lines
}

/// The targets of `[text](target)` and `[name]: target`, code spans left out.
fn links_of(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect();
    let mut targets: Vec<String> = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let rest = &prose[at + 2..];
        let target = &rest[..rest.find(')').unwrap_or(rest.len())];
        targets.extend(target.split_whitespace().next().map(str::to_string));
    }
    if prose.starts_with('[')
        && let Some((_, target)) = prose.split_once("]: ")
    {
        targets.extend(target.split_whitespace().next().map(str::to_string));
    }
    targets
}

/// Why a link leads nowhere; None where it leads somewhere, or out of the repository.
fn problem_of(
    doc: &str,
    target: &str,
    anchors: &BTreeMap<&str, BTreeSet<String>>,
    exists: &dyn Fn(&str) -> bool,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { doc.to_string() } else { join(doc, file) };
    if !exists(&path) {
        return Some(format!("there is no {path}"));
    }
    let headings = anchors.get(path.as_str()).filter(|_| !anchor.is_empty())?;
    (!headings.contains(anchor)).then(|| format!("{path} has no heading #{anchor}"))
}

/// A path relative to the folder of a file, from the root on.
fn join(doc: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = doc.split('/').collect();
    parts.pop();
    for part in relative.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Paths start with a folder of the root. Placeholders, such as NAME, and patterns are no paths.
fn is_repository_path(span: &str, top: &[&str]) -> bool {
    let Some((first, rest)) = span.split_once('/') else { return false };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let has_placeholder = rest.split(|c: char| !is_word(c)).any(|word| {
        word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !["README"].contains(&word)
    });
    top.contains(&first) && rest.chars().all(is_plain) && !has_placeholder
}

/// The anchors of a page by GitHub's rule: in small letters, without punctuation, spaces as hyphens; the second of the
/// same name ends in -1.
fn anchors_of(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose_lines(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = without_targets(title).trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// A title's links as their texts.
fn without_targets(title: &str) -> String {
    let mut parts = title.split("](");
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    text
}
