//! Rules that the code and the docs keep, held by a test. Each rule is a function over texts, so that the test of the
//! rule shows it a text that breaks it. A finding says file, line, rule and message; all are reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file by its path from the repository's root.
struct Source {
    path: String,
    text: String,
}

/// Rooms of a package, each with the level that it is on: a file may import from its own room and from lower levels.
struct Package {
    folder: &'static str,
    rooms: &'static [(&'static str, u8)],
}

const XTASK: Package = Package {
    folder: "xtask/src/",
    rooms: &[
        ("main", 12),
        ("lib", 11),
        ("start", 10),
        ("cli", 9),
        ("commands", 8),
        ("cleanup", 7),
        ("stages", 7),
        ("diagnosis", 6),
        ("secrets", 6),
        ("live", 5),
        ("tools", 4),
        ("run", 3),
        ("model", 2),
        ("config", 1),
    ],
};

const VERIFY: Package = Package {
    folder: "xtask/verify/src/",
    rooms: &[
        ("main", 9),
        ("test", 8),
        ("validate", 7),
        ("lint", 7),
        ("e2e", 7),
        ("facts", 6),
        ("rules", 5),
        ("entities", 4),
        ("tools", 4),
    ],
};

/// Folders and files that neither read nor write anything outside themselves.
const PURE: &[&str] = &[
    "xtask/src/config/",
    "xtask/src/model/",
    "xtask/src/tools/",
    "xtask/src/diagnosis/capacity.rs",
    "xtask/src/diagnosis/cause.rs",
    "xtask/src/diagnosis/events.rs",
    "xtask/src/diagnosis/pod.rs",
    "xtask/src/diagnosis/release.rs",
    "xtask/src/cleanup/decide.rs",
    "xtask/src/cleanup/machine.rs",
    "xtask/src/secrets/database.rs",
    "xtask/src/secrets/judge.rs",
    "xtask/src/secrets/placeholder.rs",
    "xtask/verify/src/entities/",
    "xtask/verify/src/rules/",
    "xtask/verify/src/tools/",
];
const IMPURE: &[&str] = &[
    "std::fs",
    "fs::",
    "File::",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "env::var",
    "SystemTime::now",
    "Instant::now",
    ".spawn.",
    "thread::",
];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 60;
/// Files and functions that are longer, with the length that they must not exceed.
const LONG: &[(&str, usize)] = &[
    ("xtask/src/cleanup/machine.rs fn plan", 63),
    ("xtask/src/commands/clean.rs fn find_leftovers", 91),
    ("xtask/src/commands/rollback.rs fn run", 62),
    ("xtask/src/commands/status.rs fn run", 64),
    ("xtask/src/stages/setup/machine.rs fn ensure_docker", 74),
    ("xtask/src/stages/verify.rs fn wait", 70),
    ("xtask/verify/src/facts/live.rs fn gather", 78),
    ("xtask/verify/src/facts/mod.rs fn gather", 73),
    ("xtask/verify/src/facts/rendered.rs fn gather", 72),
    ("xtask/verify/src/rules/deployment.rs", 872),
    ("xtask/verify/src/rules/fixture.rs fn good", 86),
    ("xtask/verify/src/rules/image.rs", 754),
    ("xtask/verify/src/rules/image.rs fn checklist", 138),
];

/// Words that no file has, with what to write in their place.
const BANNED: &[(&str, &str)] = &[
    ("told", "message, reason, argv, stdout or reported"),
    ("«", "a backtick or a double quote"),
    ("»", "a backtick or a double quote"),
    ("Trouble", "Problem"),
    ("patience", "grace or timeout"),
];
/// Lines that may have one: keys of JSON events, which scripts parse.
const ALLOWED: &[&str] = &["\"told\""];

#[test]
fn rooms_import_downward() {
    assert_none(
        [XTASK, VERIFY].iter().flat_map(|package| upward_imports(package, &package_sources(package))).collect(),
    );
}

#[test]
fn an_upward_import_is_found() {
    let file = source("xtask/src/tools/a.rs", "//! A.\nuse crate::run::b;\nuse crate::stages::{c, d};\n");
    let found = upward_imports(&XTASK, &[file]);
    assert_eq!(found, ["xtask/src/tools/a.rs:3: imports: tools must not import stages, which is above it"]);
}

#[test]
fn files_import_each_other_without_circles() {
    assert_none([XTASK, VERIFY].iter().flat_map(|package| circles(package, &package_sources(package))).collect());
}

#[test]
fn a_circle_of_files_is_found() {
    let one = source("xtask/src/run/a.rs", "//! A.\nuse crate::run::b::B;\n");
    let other = source("xtask/src/run/b.rs", "//! B.\nuse crate::run::{a, c};\n");
    let third = source("xtask/src/run/c.rs", "//! C.\n");
    let found = circles(&XTASK, &[one, other, third]);
    assert_eq!(found, ["xtask/src/run/a.rs:2: circles: run::a and run::b import each other"]);
}

#[test]
fn pure_files_do_no_io() {
    assert_none(io_in_pure_files(&all_rust()));
}

#[test]
fn io_in_a_pure_file_is_found_and_its_tests_may_do_it() {
    let text = "//! A.\nfn a() {\n    fs::read(\"x\");\n}\n#[cfg(test)]\nmod tests {\n    fn b() { std::fs::read(\"x\"); }\n}\n";
    let found = io_in_pure_files(&[source("xtask/src/model/a.rs", text), source("xtask/src/run/a.rs", text)]);
    assert_eq!(found, ["xtask/src/model/a.rs:3: purity: fs:: does I/O, and this file is pure"]);
}

#[test]
fn files_begin_with_what_they_are() {
    assert_none(undocumented(&all_rust()));
}

#[test]
fn a_file_without_a_doc_line_is_found() {
    let found = undocumented(&[source("xtask/src/a.rs", "use x;\n"), source("xtask/src/b.rs", "//! B.\n")]);
    assert_eq!(found, ["xtask/src/a.rs:1: docs: the first line must be a //! line that says what the file is"]);
}

#[test]
fn files_and_functions_are_short() {
    assert_none(long(&all_rust(), LONG));
}

#[test]
fn a_long_function_and_an_idle_exception_are_found() {
    let body = "    x();\n".repeat(FUNCTION_LINES);
    let file = || source("xtask/src/a.rs", &format!("//! A.\nfn a() {{\n{body}}}\n\nfn b() {{\n}}\n"));
    let too_long = "xtask/src/a.rs:2: size: fn a has 62 lines, at most 60";
    assert_eq!(long(&[file()], &[]), [too_long]);
    assert_eq!(long(&[file()], &[("xtask/src/a.rs fn a", 62)]), [""; 0]);
    let shorter = "xtask/src/a.rs fn a:1: size: has 62 lines, and 70 are allowed to it: lower the exception";
    assert_eq!(long(&[file()], &[("xtask/src/a.rs fn a", 70)]), [shorter]);
    let idle = "xtask/src/b.rs:1: size: needs no exception any more: remove it";
    assert_eq!(long(&[file()], &[("xtask/src/a.rs fn a", 62), ("xtask/src/b.rs", 900)]), [idle]);
}

#[test]
fn no_file_has_a_banned_word() {
    assert_none(banned(&all_texts()));
}

#[test]
fn a_banned_word_is_found() {
    let text = "fine\nlet told = 1;\nretold\njson!({\"told\": 1})\n";
    let found = banned(&[source("a.rs", text)]);
    assert_eq!(found, ["a.rs:2: words: `told`: write message, reason, argv, stdout or reported"]);
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    let pages: Vec<Source> = all_texts().into_iter().filter(|file| file.path.ends_with(".md")).collect();
    assert_none(dead_links(&pages, &|path| root.join(path).exists()));
}

#[test]
fn a_dead_link_and_a_dead_anchor_are_found() {
    let page =
        source("docs/a.md", "# A\n[b](b.md) [here](#a) [far](https://x.org) [up](../README.md#some-words)\n[no](#c)\n");
    let readme = source("README.md", "## Some words!\n```\n[x](y.md)\n```\n");
    let found = dead_links(&[page, readme], &|path| path == "README.md");
    let expected = ["docs/a.md:2: links: b.md is not there", "docs/a.md:3: links: no heading #c in docs/a.md"];
    assert_eq!(found, expected);
}

fn upward_imports(package: &Package, sources: &[Source]) -> Vec<String> {
    let level = |room: &str| package.rooms.iter().find(|(name, _)| *name == room).map(|(_, level)| *level);
    let mut found = Vec::new();
    for file in sources {
        let module = module_of(package, &file.path);
        let room = module.first().map_or("lib", String::as_str);
        let Some(own) = level(room) else {
            found.push(format!("{}:1: imports: the room {room} has no level in tidy.rs", file.path));
            continue;
        };
        let rooms = imports(&file.text).into_iter().filter_map(|(line, path)| Some((line, path.first()?.clone())));
        for (line, other) in rooms.filter(|(_, other)| *other != room).collect::<BTreeSet<(usize, String)>>() {
            if level(&other).is_some_and(|level| level >= own) {
                found.push(format!(
                    "{}:{line}: imports: {room} must not import {other}, which is {} it",
                    file.path,
                    if level(&other) == Some(own) { "beside" } else { "above" }
                ));
            }
        }
    }
    found
}

fn circles(package: &Package, sources: &[Source]) -> Vec<String> {
    let modules: BTreeMap<Vec<String>, &Source> =
        sources.iter().map(|file| (module_of(package, &file.path), file)).collect();
    let target =
        |path: &[String]| (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|m| modules.contains_key(m));
    let edges: BTreeMap<&Vec<String>, BTreeMap<Vec<String>, usize>> = modules
        .iter()
        .map(|(module, file)| {
            let imports = imports(&file.text).into_iter().filter_map(|(line, path)| Some((target(&path)?, line)));
            (module, imports.filter(|(other, _)| other != module).collect())
        })
        .collect();
    let reached = |from: &Vec<String>| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            for other in edges.get(&module).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(other.clone()) {
                    open.push(other.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        modules.keys().map(|module| (module, reached(module))).collect();
    let mut found = Vec::new();
    for (module, others) in &edges {
        for (other, line) in others.iter().filter(|(other, _)| *module < *other && reached[other].contains(*module)) {
            found.push(format!(
                "{}:{line}: circles: {} and {} import each other",
                modules[*module].path,
                module.join("::"),
                other.join("::")
            ));
        }
    }
    found
}

fn io_in_pure_files(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources.iter().filter(|file| PURE.iter().any(|pure| file.path.starts_with(pure))) {
        for (line, text) in code(&file.text) {
            if let Some(word) = IMPURE.iter().find(|word| text.contains(*word)) {
                found.push(format!("{}:{line}: purity: {word} does I/O, and this file is pure", file.path));
            }
        }
    }
    found
}

fn undocumented(sources: &[Source]) -> Vec<String> {
    let without = sources.iter().filter(|file| !file.text.starts_with("//! "));
    without
        .map(|file| format!("{}:1: docs: the first line must be a //! line that says what the file is", file.path))
        .collect()
}

fn long(sources: &[Source], exceptions: &[(&str, usize)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut idle: BTreeSet<&str> = exceptions.iter().map(|(name, _)| *name).collect();
    let mut judge = |name: &str, place: String, what: &str, lines: usize, most: usize| {
        let allowed = exceptions.iter().find(|(exception, _)| *exception == name).map(|(_, lines)| *lines);
        if lines > most {
            idle.remove(name);
        }
        match allowed {
            Some(allowed) if lines > most && lines < allowed => found.push(format!(
                "{name}:1: size: has {lines} lines, and {allowed} are allowed to it: lower the exception"
            )),
            _ if lines > allowed.unwrap_or(most) => {
                found.push(format!("{place}: size: {what} has {lines} lines, at most {}", allowed.unwrap_or(most)))
            }
            _ => {}
        }
    };
    for file in sources {
        let lines: Vec<&str> = code(&file.text).map(|(_, text)| text).collect();
        judge(&file.path, format!("{}:1", file.path), "the file", lines.len(), FILE_LINES);
        for (index, text) in lines.iter().enumerate() {
            let Some(name) = function(text) else { continue };
            let indent = text.len() - text.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            // A signature may go over lines; the body ends with the brace under its first letter.
            let Some(length) = lines[index..].iter().position(|line| line.trim_end() == end) else { continue };
            let (name, place) = (format!("{} fn {name}", file.path), format!("{}:{}", file.path, index + 1));
            judge(&name, place, name.split_once(' ').map_or("", |(_, what)| what), length + 1, FUNCTION_LINES);
        }
    }
    found.extend(idle.into_iter().map(|name| format!("{name}:1: size: needs no exception any more: remove it")));
    found
}

fn banned(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources {
        for (index, text) in file.text.lines().enumerate() {
            let text = ALLOWED.iter().fold(text.to_string(), |text, allowed| text.replace(allowed, ""));
            let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            for (word, right) in BANNED {
                let whole = |(at, _): &(usize, &str)| {
                    !word.is_ascii()
                        || !is_part(text[..*at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
                };
                if text.match_indices(word).any(|one| whole(&one)) {
                    found.push(format!("{}:{}: words: `{word}`: write {right}", file.path, index + 1));
                }
            }
        }
    }
    found
}

fn dead_links(pages: &[Source], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> = pages
        .iter()
        .map(|page| (page.path.as_str(), prose(&page.text).filter_map(|(_, text)| anchor(text)).collect()))
        .collect();
    let mut found = Vec::new();
    for page in pages {
        for (line, text) in prose(&page.text) {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
                let path = if file.is_empty() { page.path.clone() } else { beside(&page.path, file) };
                if !file.is_empty() && !exists(&path) {
                    found.push(format!("{}:{line}: links: {file} is not there", page.path));
                } else if let Some(anchor) = anchor
                    && anchors.get(path.as_str()).is_some_and(|known| !known.contains(anchor))
                {
                    found.push(format!("{}:{line}: links: no heading #{anchor} in {path}", page.path));
                }
            }
        }
    }
    found
}

/// GitHub's anchor of a heading.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = heading.trim().to_lowercase();
    Some(
        kept.chars()
            .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect(),
    )
}

/// The lines of a page that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

/// The path that a link means, from the page that has it.
fn beside(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The lines before a file's tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// The name of the function that begins on a line.
fn function(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = ["pub fn ", "fn "].iter().find_map(|start| rest.strip_prefix(start))?;
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

/// Each path that the code of a file imports from its own crate, as `run::lock::hold`, with its line.
fn imports(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let lines: Vec<(usize, &str)> = code(text).filter(|(_, line)| !line.trim_start().starts_with("//")).collect();
    let mut index = 0;
    while index < lines.len() {
        let (line, first) = lines[index];
        let mut statement = first.to_string();
        let is_use = first.starts_with("use crate::") || first.starts_with("pub use crate::");
        while is_use && !statement.contains(';') && index + 1 < lines.len() {
            index += 1;
            statement.push_str(lines[index].1.trim());
        }
        for rest in statement.split("crate::").skip(1) {
            let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_:{}, ".contains(*c)).collect();
            let (base, names) = path.split_once('{').unwrap_or((path.as_str(), ""));
            let base: Vec<String> =
                base.split("::").map(|part| part.trim().to_string()).filter(|part| is_name(part)).collect();
            match (is_use, names.trim_end_matches('}')) {
                (true, names) if !names.is_empty() => found.extend(names.split(',').map(|name| {
                    let mut path = base.clone();
                    path.extend(
                        name.split("::")
                            .map(str::trim)
                            .filter(|part| is_name(part) && *part != "self")
                            .map(str::to_string),
                    );
                    (line, path)
                })),
                _ => found.push((line, base)),
            }
        }
        index += 1;
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The module of a file, as `["run", "lock"]`.
fn module_of(package: &Package, path: &str) -> Vec<String> {
    let path = path.strip_prefix(package.folder).unwrap_or(path).trim_end_matches(".rs");
    let parts = path.split('/').filter(|part| *part != "mod");
    parts.map(str::to_string).collect()
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_string(), text: text.to_string() }
}

fn package_sources(package: &Package) -> Vec<Source> {
    all_rust().into_iter().filter(|file| file.path.starts_with(package.folder)).collect()
}

fn all_rust() -> Vec<Source> {
    all_texts()
        .into_iter()
        .filter(|file| file.path.ends_with(".rs") && file.path.contains("/src/") && file.path.starts_with("xtask/"))
        .collect()
}

/// The texts that people write; this file names what it bans.
fn all_texts() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name.as_str()) {
                    open.push(path);
                }
                continue;
            }
            let kinds = [".rs", ".md", ".toml", ".sh", ".tpl", ".yaml", ".go", ".js", ".html", "Dockerfile"];
            if !kinds.iter().any(|kind| name.ends_with(kind)) || name == "tidy.rs" {
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().display().to_string();
            found.push(Source { path: relative, text: std::fs::read_to_string(&path).unwrap() });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{} findings\n{}", found.len(), found.join("\n"));
}
