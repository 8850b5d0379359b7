//! Which file imports which, which rooms may import which, and circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::{Code, Finding, Source, is_word, line_at, production};

/// A crate of the workspace.
pub struct Package {
    /// The crate's name in paths.
    pub name: &'static str,
    /// Its folder of sources, with a slash at the end.
    pub folder: &'static str,
    /// Rooms by layer, the highest first: a room imports rooms of lower layers, and no other of its own layer.
    pub layers: &'static [&'static [&'static str]],
}

/// An import that a rule forbids and that stays.
pub struct Exception {
    pub from: &'static str,
    pub to: &'static str,
    pub reason: &'static str,
}

/// One file uses something of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub from: String,
    pub line: usize,
    pub to: String,
}

/// A path in code, such as `crate::run::poll`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathUse {
    pub segments: Vec<String>,
    pub line: usize,
    /// As part of `use`, not in an expression or a type.
    pub is_import: bool,
    /// As part of `pub use`.
    pub is_reexport: bool,
}

/// The paths of code that start with one of these names, and all that are imported.
pub fn paths(code: &str, roots: &[&str]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < code.len() {
        let word = word_at(code, at);
        if word.is_empty() {
            at += code[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let before = code[..at].trim_end();
        let follows = before.ends_with("::") || before.ends_with('$') || before.ends_with('.');
        let start = if word == "use" { skip_space(code, at + 3) } else { at };
        let is_import = word == "use" && bytes.get(start) != Some(&b'<');
        let is_path = roots.contains(&word) && code[at + word.len()..].trim_start().starts_with("::");
        if is_import || (is_path && !follows) {
            let is_reexport = is_import && (before.ends_with("pub") || before.ends_with(')'));
            let template = PathUse { segments: Vec::new(), line: 0, is_import, is_reexport };
            at = read_tree(code, start, &template, &mut found);
        } else {
            at += word.len();
        }
    }
    found
}

fn word_at(code: &str, at: usize) -> &str {
    let rest = &code[at..];
    &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]
}

fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at.min(code.len())..].trim_start().len()
}

/// Reads a path or a tree of them, `a::{b, c::d}`; returns where it ends.
fn read_tree(code: &str, start: usize, prefix: &PathUse, found: &mut Vec<PathUse>) -> usize {
    let mut path = prefix.clone();
    let mut at = skip_space(code, start);
    loop {
        let word = word_at(code, at);
        path.line = line_at(code, at);
        if !word.is_empty() {
            at += word.len();
            if word != "self" || path.segments.is_empty() {
                path.segments.push(word.to_string());
            }
            let next = skip_space(code, at);
            if code[next..].starts_with("::") {
                at = skip_space(code, next + 2);
                continue;
            }
        } else if code[at..].starts_with('{') && path.is_import {
            at += 1;
            loop {
                at = skip_space(code, at);
                match code[at..].chars().next() {
                    Some('}') | None => return at + 1,
                    Some(',') => at += 1,
                    Some(c) if is_word(c) || c == '{' || c == '*' => at = read_tree(code, at, &path, found),
                    Some(c) => at += c.len_utf8(),
                }
            }
        } else if code[at..].starts_with('*') {
            at += 1;
        }
        found.push(path);
        // What it is renamed to is no path.
        let next = skip_space(code, at);
        if prefix.is_import && word_at(code, next) == "as" {
            at = skip_space(code, next + 2);
            at += word_at(code, at).len();
        }
        return at;
    }
}

/// The modules of a package and the files that they are in.
struct Modules<'a> {
    package: &'a Package,
    files: BTreeMap<Vec<String>, String>,
    /// Macros of `macro_rules!`, which are named as if they were in the root.
    macros: BTreeMap<String, String>,
}

impl Modules<'_> {
    fn of<'a>(package: &'a Package, codes: &[Code]) -> Modules<'a> {
        let (mut files, mut macros) = (BTreeMap::new(), BTreeMap::new());
        for file in codes {
            let path = &file.source.path;
            let Some(module) = module_of(package, path) else { continue };
            // Where there is both, the library is what others name.
            if !(path.ends_with("/src/main.rs") && files.contains_key(&module)) {
                files.insert(module, path.clone());
            }
            for (at, found) in file.code.match_indices("macro_rules!") {
                let name = word_at(&file.code, skip_space(&file.code, at + found.len()));
                macros.insert(name.to_string(), path.clone());
            }
        }
        Modules { package, files, macros }
    }

    /// The file that a path of a file leads to; None where that is another crate's, or the file itself.
    fn resolve(&self, from: &str, path: &PathUse) -> Option<String> {
        let own = module_of(self.package, from)?;
        let (first, rest) = path.segments.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            name if name == self.package.name => Vec::new(),
            "self" => own.clone(),
            "super" => own[..own.len().saturating_sub(1)].to_vec(),
            name => [own.clone(), vec![name.to_string()]].concat(),
        };
        let is_child = !["crate", "self", "super", self.package.name].contains(&first.as_str());
        if is_child && !self.files.contains_key(&module) {
            return None;
        }
        for segment in rest {
            match segment.as_str() {
                "super" => drop(module.pop()),
                _ => module.push(segment.clone()),
            }
        }
        if let [name] = module.as_slice()
            && let Some(file) = self.macros.get(name)
        {
            return Some(file.clone()).filter(|file| file != from);
        }
        while !self.files.contains_key(&module) {
            module.pop()?;
        }
        self.files.get(&module).cloned().filter(|file| file != from)
    }
}

fn module_of(package: &Package, path: &str) -> Option<Vec<String>> {
    let stem = path.strip_prefix(package.folder)?.strip_suffix(".rs")?;
    let mut module: Vec<String> = stem.split('/').map(str::to_string).collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || stem == "lib" || stem == "main" {
        module.pop();
    }
    Some(module)
}

/// Every arrow from a file of the package to another one of it. A module that re-exports its children doesn't import them.
pub fn arrows(package: &Package, sources: &[Source]) -> Vec<Arrow> {
    let codes = production(sources);
    let modules = Modules::of(package, &codes);
    let mut arrows: Vec<Arrow> = Vec::new();
    for file in &codes {
        let from = &file.source.path;
        for path in paths(&file.code, &["crate", "super", "self", package.name]) {
            let is_child = !["crate", "super", package.name].contains(&path.segments[0].as_str());
            let Some(to) = modules.resolve(from, &path).filter(|_| !(is_child && path.is_reexport)) else { continue };
            arrows.push(Arrow { from: from.clone(), line: path.line, to });
        }
    }
    arrows
}

/// The folder right under the sources, or the file there.
fn room<'a>(package: &Package, path: &'a str) -> &'a str {
    let rest = path.strip_prefix(package.folder).unwrap_or(path);
    rest.split(['/', '.']).next().unwrap_or_default()
}

const LAYERS: &str = "imports";

/// Imports that run upward or sideways.
pub fn check_layers(package: &Package, sources: &[Source], exceptions: &[Exception]) -> Vec<Finding> {
    let layer = |room: &str| package.layers.iter().position(|rooms| rooms.contains(&room));
    let (mut findings, mut used) = (Vec::new(), BTreeSet::new());
    let mut unknown = BTreeSet::new();
    for source in sources {
        let room = room(package, &source.path);
        if layer(room).is_none() && unknown.insert(room.to_string()) {
            findings.push(source.finding(1, LAYERS, format!("{room} has no layer: add it to the table in tidy.rs")));
        }
    }
    for Arrow { from, line, to } in arrows(package, sources) {
        let (above, below) = (room(package, &from), room(package, &to));
        let (Some(one), Some(other)) = (layer(above), layer(below)) else { continue };
        if above == below || one < other {
            continue;
        }
        match exceptions.iter().position(|exception| exception.from == from && exception.to == to) {
            Some(index) => drop(used.insert(index)),
            None => {
                let direction = if one == other { "beside" } else { "above" };
                let message = format!("{above} must not import {below} ({to}), which is {direction} it");
                findings.push(Finding { file: from, line, rule: LAYERS, message });
            }
        }
    }
    findings.extend(unneeded(exceptions, &used, package, LAYERS));
    findings
}

/// Exceptions of the package that nothing needs any more.
fn unneeded(exceptions: &[Exception], used: &BTreeSet<usize>, package: &Package, rule: &'static str) -> Vec<Finding> {
    let unneeded = exceptions
        .iter()
        .enumerate()
        .filter(|(index, exception)| exception.from.starts_with(package.folder) && !used.contains(index));
    let finding = |(_, exception): (usize, &Exception)| {
        let message = format!("the exception for {} is no longer needed ({})", exception.to, exception.reason);
        Finding { file: exception.from.to_string(), line: 1, rule, message }
    };
    unneeded.map(finding).collect()
}

/// What a room may use of another crate: the first segments behind the crate's name.
pub struct Outward {
    pub room: &'static str,
    pub rooms: &'static [&'static str],
}

/// Uses of another crate's rooms that a room of the package may not make.
pub fn check_outward(
    package: &Package,
    other: &'static str,
    sources: &[Source],
    table: &[Outward],
    exceptions: &[Exception],
) -> Vec<Finding> {
    let (mut findings, mut used) = (Vec::new(), BTreeSet::new());
    for file in production(sources) {
        let from = &file.source.path;
        let Some(allowed) = table.iter().find(|row| row.room == room(package, from)) else { continue };
        for path in paths(&file.code, &[other]) {
            let [first, second, ..] = path.segments.as_slice() else { continue };
            if first != other || allowed.rooms.contains(&second.as_str()) {
                continue;
            }
            let to = path.segments.join("::");
            match exceptions.iter().position(|exception| exception.from == from && exception.to == to) {
                Some(index) => drop(used.insert(index)),
                None => {
                    let message = format!(
                        "{} must not import {to}: of {other} it may use {}",
                        allowed.room,
                        allowed.rooms.join(", ")
                    );
                    findings.push(file.source.finding(path.line, LAYERS, message));
                }
            }
        }
    }
    findings.extend(unneeded(exceptions, &used, package, LAYERS));
    findings
}

/// One finding for each circle of files, with the shortest way around from its first file.
pub fn check_circles(package: &Package, sources: &[Source], exceptions: &[Exception]) -> Vec<Finding> {
    let mut used = BTreeSet::new();
    let mut graph: BTreeMap<String, Vec<Arrow>> = BTreeMap::new();
    for arrow in arrows(package, sources) {
        let is_excepted = |exception: &Exception| exception.from == arrow.from && exception.to == arrow.to;
        match exceptions.iter().position(is_excepted) {
            Some(index) => drop(used.insert(index)),
            None => graph.entry(arrow.from.clone()).or_default().push(arrow),
        }
    }
    let mut findings = Vec::new();
    let mut reported: BTreeSet<String> = BTreeSet::new();
    for file in graph.keys().filter(|file| !file.is_empty()) {
        let Some(circle) = way_back(&graph, file).filter(|_| !reported.contains(file)) else { continue };
        reported.extend(circle.iter().map(|arrow| arrow.from.clone()));
        let steps: Vec<String> = circle.iter().map(|arrow| format!("{}:{}", arrow.from, arrow.line)).collect();
        let message = format!("imports itself: {} -> {file}", steps.join(" -> "));
        findings.push(Finding { file: file.clone(), line: circle[0].line, rule: "circles", message });
    }
    findings.extend(unneeded(exceptions, &used, package, "circles"));
    findings
}

/// The shortest way from a file back to it.
fn way_back(graph: &BTreeMap<String, Vec<Arrow>>, file: &str) -> Option<Vec<Arrow>> {
    let mut reached: BTreeMap<&str, &Arrow> = BTreeMap::new();
    let mut pending = VecDeque::from([file]);
    while let Some(from) = pending.pop_front() {
        for arrow in graph.get(from).into_iter().flatten() {
            if reached.contains_key(arrow.to.as_str()) {
                continue;
            }
            reached.insert(&arrow.to, arrow);
            if arrow.to == file {
                let mut circle = vec![arrow.clone()];
                while circle[0].from != file {
                    circle.insert(0, reached[circle[0].from.as_str()].clone());
                }
                return Some(circle);
            }
            pending.push_back(&arrow.to);
        }
    }
    None
}
