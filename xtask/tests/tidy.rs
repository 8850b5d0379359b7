//! Rules about the shape of the code and the words in it. Each is checked over the repository, and over a snippet that
//! breaks it. A finding prints as `FILE:LINE: rule: message`. The tables of what may stay are here and in tidy/words.txt.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;

use imports::{Exception, Outward, Package};
use rules::{Banned, Impurity, Size};
use source::{Finding, Source, assert_none, files_under, root};

const XTASK: Package = Package {
    name: "xtask",
    folder: "xtask/src/",
    layers: &[
        &["main"],
        &["lib"],
        &["start"],
        &["cli"],
        &["commands"],
        &["cleanup"],
        &["stages"],
        &["diagnosis", "secrets"],
        &["live"],
        &["tools"],
        &["run"],
        &["model"],
        &["config"],
    ],
};

const VERIFY: Package = Package {
    name: "xtask_verify",
    folder: "xtask/verify/src/",
    layers: &[
        &["main"],
        &["test"],
        &["validate", "lint", "e2e", "bench"],
        &["package"],
        &["facts", "specs", "lanes", "changed", "report"],
        &["rules"],
        &["entities", "tools"],
    ],
};

/// Imports against the layers of a package, from file to file.
const LAYER_EXCEPTIONS: &[Exception] = &[];

/// Imports that close a circle, from file to file.
const CIRCLE_EXCEPTIONS: &[Exception] = &[];

/// What rooms of xtask-verify may use of the crate xtask; the others may use all of it.
const OUTWARD: &[Outward] = &[
    Outward { room: "entities", rooms: &["model"] },
    Outward { room: "rules", rooms: &["config", "model", "diagnosis", "secrets"] },
    Outward { room: "tools", rooms: &["run"] },
];

const OUTWARD_EXCEPTIONS: &[Exception] = &[Exception {
    from: "xtask/verify/src/rules/image.rs",
    to: "xtask::stages::build::arguments",
    reason: "a pure function; the rule is that images have the arguments which the build gives them",
}];

/// Files and folders without I/O.
const PURE: &[&str] = &[
    "xtask/src/cleanup/decide.rs",
    "xtask/src/cleanup/machine.rs",
    "xtask/src/commands/timings/",
    "xtask/src/commands/dashboard/hub.rs",
    "xtask/src/commands/dashboard/needs.rs",
    "xtask/src/commands/dashboard/request.rs",
    "xtask/src/commands/dashboard/response.rs",
    "xtask/src/commands/dashboard/runs.rs",
    "xtask/src/commands/dashboard/state.rs",
    "xtask/src/config/",
    "xtask/src/diagnosis/capacity.rs",
    "xtask/src/diagnosis/cause.rs",
    "xtask/src/diagnosis/events.rs",
    "xtask/src/diagnosis/pod.rs",
    "xtask/src/diagnosis/release.rs",
    "xtask/src/model/",
    "xtask/src/run/annotation.rs",
    "xtask/src/secrets/database.rs",
    "xtask/src/secrets/judge.rs",
    "xtask/src/secrets/placeholder.rs",
    "xtask/src/tools/",
    "xtask/verify/src/changed.rs",
    "xtask/verify/src/entities/",
    "xtask/verify/src/lanes/schedule.rs",
    "xtask/verify/src/rules/",
    "xtask/verify/src/tools/",
];

const IMPURITIES: &[Impurity] = &[];

/// What was longer than the caps when they came, with its size then. Shorten it and lower or remove the line; none is
/// added.
const SIZES: &[Size] = &[
    Size { what: "xtask/src/cleanup/machine.rs::plan", lines: 63 },
    Size { what: "xtask/src/commands/clean.rs::find_leftovers", lines: 91 },
    Size { what: "xtask/src/stages/verify.rs::wait", lines: 70 },
    Size { what: "xtask/verify/src/facts/live.rs::gather", lines: 78 },
    Size { what: "xtask/verify/src/facts/mod.rs::gather", lines: 72 },
    Size { what: "xtask/verify/src/facts/rendered.rs::gather", lines: 72 },
    Size { what: "xtask/verify/src/rules/deployment.rs", lines: 794 },
];

/// In names, comments, messages and docs. words.txt has how many are left in each file; with TIDY_LOWER=1 the test lowers
/// its numbers.
const BANNED: &[Banned] = &[
    Banned { word: "told", instead: "message, argv, stdout, reason, or whichever it is" },
    Banned { word: "trouble", instead: "problem" },
    Banned { word: "patience", instead: "grace or timeout" },
    Banned { word: "\u{ab}", instead: "backticks for code and names, else straight quotes" },
    Banned { word: "\u{bb}", instead: "backticks for code and names, else straight quotes" },
];

fn tree(package: &Package) -> Vec<Source> {
    files_under(package.folder.trim_end_matches('/'), &["rs"])
}

fn both() -> Vec<Source> {
    [tree(&XTASK), tree(&VERIFY)].concat()
}

fn printed(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

#[test]
fn imports_run_downward() {
    let mut findings = Vec::new();
    for package in [&XTASK, &VERIFY] {
        findings.extend(imports::check_layers(package, &tree(package), LAYER_EXCEPTIONS));
    }
    findings.extend(imports::check_outward(&VERIFY, "xtask", &tree(&VERIFY), OUTWARD, OUTWARD_EXCEPTIONS));
    assert_none(findings);
}

#[test]
fn an_import_upward_or_sideways_is_found() {
    let poll = Source::new(
        "xtask/src/run/poll.rs",
        "//! Waits.\n\nuse crate::config;\nuse crate::{\n    live as here,\n    tools::{Paths, kubectl},\n};\n\n\
         // use crate::commands::up;\nfn f() {\n    let text = \"crate::cli::Cli\";\n    crate::stages::deploy::run(text)\n}\n\n\
         #[cfg(test)]\nmod tests {\n    use crate::commands::up;\n}\n",
    );
    let report = Source::new("xtask/src/diagnosis/report.rs", "use crate::secrets::store;\nuse super::cause;\n");
    let odd = Source::new("xtask/src/odd.rs", "");
    let there = ["config/mod", "live/mod", "tools/mod", "tools/kubectl", "commands/up", "cli", "stages/deploy"];
    let there = there.iter().chain(&["secrets/store", "diagnosis/cause"]);
    let mut sources: Vec<Source> = there.map(|path| Source::new(&format!("xtask/src/{path}.rs"), "")).collect();
    sources.extend([poll, report, odd]);
    assert_eq!(
        printed(&imports::check_layers(&XTASK, &sources, &[])),
        [
            "xtask/src/odd.rs:1: imports: odd has no layer: add it to the table in tidy.rs",
            "xtask/src/run/poll.rs:5: imports: run must not import live (xtask/src/live/mod.rs), which is above it",
            "xtask/src/run/poll.rs:6: imports: run must not import tools (xtask/src/tools/mod.rs), which is above it",
            "xtask/src/run/poll.rs:6: imports: run must not import tools (xtask/src/tools/kubectl.rs), which is above it",
            "xtask/src/run/poll.rs:12: imports: run must not import stages (xtask/src/stages/deploy.rs), which is above it",
            "xtask/src/diagnosis/report.rs:1: imports: diagnosis must not import secrets (xtask/src/secrets/store.rs), \
             which is beside it",
        ]
    );
    let exception = |to| Exception { from: "xtask/src/diagnosis/report.rs", to, reason: "a test" };
    let exceptions = [exception("xtask/src/secrets/store.rs"), exception("xtask/src/live/mod.rs")];
    let findings = printed(&imports::check_layers(&XTASK, &sources, &exceptions));
    assert_eq!(
        findings.last().map(String::as_str),
        Some(
            "xtask/src/diagnosis/report.rs:1: imports: the exception for xtask/src/live/mod.rs is no longer needed (a test)"
        )
    );
    assert!(!findings.iter().any(|finding| finding.contains("secrets/store.rs")));
}

#[test]
fn a_use_of_the_other_crate_that_a_room_may_not_make_is_found() {
    let entity = "use xtask::model::object::read;\nuse xtask::run::context::Context;\n";
    let sources = [Source::new("xtask/verify/src/entities/probe.rs", entity)];
    assert_eq!(
        printed(&imports::check_outward(&VERIFY, "xtask", &sources, OUTWARD, &[])),
        ["xtask/verify/src/entities/probe.rs:2: imports: entities must not import xtask::run::context::Context: \
          of xtask it may use model"]
    );
}

#[test]
fn no_files_import_each_other() {
    let of = |package: &Package| imports::check_circles(package, &tree(package), CIRCLE_EXCEPTIONS);
    assert_none([of(&XTASK), of(&VERIFY)].concat());
}

#[test]
fn a_circle_is_found() {
    let sources = [
        Source::new("xtask/src/stages/setup/find.rs", "use super::recipes::Plan;\n"),
        Source::new("xtask/src/stages/setup/mod.rs", "mod find;\nmod recipes;\npub use find::Found;\n"),
        Source::new("xtask/src/stages/setup/downloads.rs", "\nuse crate::stages::setup::{find, Ready};\n"),
        Source::new("xtask/src/stages/setup/recipes.rs", "//! Names.\n\nuse crate::stages::setup::downloads::TOOLS;\n"),
    ];
    let around = "xtask/src/stages/setup/downloads.rs:2: circles: imports itself: xtask/src/stages/setup/downloads.rs:2 -> \
                  xtask/src/stages/setup/find.rs:1 -> xtask/src/stages/setup/recipes.rs:3 -> xtask/src/stages/setup/downloads.rs";
    assert_eq!(printed(&imports::check_circles(&XTASK, &sources, &[])), [around]);
}

#[test]
fn pure_files_do_no_io() {
    assert_none(rules::check_purity(&both(), PURE, IMPURITIES));
}

#[test]
fn io_in_a_pure_file_is_found() {
    let text = "use std::{collections::BTreeMap, fs};\nuse std::net::IpAddr;\n\nfn f(ctx: &Context) {\n    \
                ctx.spawn.run(argv());\n    let now = std::time::Instant::now();\n    std::env::var(\"HOME\");\n}\n\n\
                #[cfg(test)]\nmod tests {\n    use std::process::Command;\n}\n";
    let sources =
        [Source::new("xtask/src/model/time.rs", text), Source::new("xtask/src/run/lock.rs", "use std::fs;\n")];
    assert_eq!(
        printed(&rules::check_purity(&sources, &["xtask/src/model/", "xtask/src/gone.rs"], &[])),
        [
            "xtask/src/model/time.rs:1: purity: std::fs in a file without I/O",
            "xtask/src/model/time.rs:7: purity: std::env in a file without I/O",
            "xtask/src/model/time.rs:5: purity: .spawn. in a file without I/O",
            "xtask/src/model/time.rs:6: purity: Instant::now in a file without I/O",
            "xtask/src/gone.rs:1: purity: there is no such file: correct the table in tidy.rs",
        ]
    );
}

#[test]
fn each_file_says_what_it_is_for() {
    assert_none(rules::check_docs(&files_under("xtask", &["rs"])));
}

#[test]
fn a_file_without_a_doc_line_is_found() {
    let sources = [Source::new("xtask/src/main.rs", "use std::fs;\n"), Source::new("a.rs", "//! Fine.\n")];
    assert_eq!(
        printed(&rules::check_docs(&sources)),
        ["xtask/src/main.rs:1: doc line: the first line must be `//! ` and what the file is for"]
    );
}

#[test]
fn files_and_functions_are_short() {
    assert_none(rules::check_sizes(&both(), SIZES));
}

#[test]
fn a_long_file_or_function_is_found() {
    let body = "    // A brace: {\n    call(\"}\");\n".repeat(30);
    let function = |name: &str| format!("fn {name}(list: [u8; 2]) {{\n{body}}}\n");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function("tested").repeat(10));
    let long = format!("//! Long.\n{}{}{tests}", function("one"), function("two"));
    let sources = [Source::new("long.rs", &long), Source::new("longer.rs", &"const A: u8 = 1;\n".repeat(601))];
    let exceptions = [
        Size { what: "long.rs::two", lines: 61 },
        Size { what: "longer.rs", lines: 601 },
        Size { what: "long.rs", lines: 700 },
    ];
    assert_eq!(
        printed(&rules::check_sizes(&sources, &exceptions)),
        [
            "long.rs:2: size: fn one has 62 lines, at most 60: split it",
            "long.rs:64: size: fn two grew from 61 to 62 lines: split it, at most 60",
            "long.rs:1: size: the exception for long.rs is no longer needed",
        ]
    );
    assert_eq!(
        printed(&rules::check_sizes(&sources[1..], &[])),
        ["longer.rs:1: size: the file has 601 lines, at most 600: split it"]
    );
}

/// Everything that a person reads, but for this test, which names the words.
fn readable() -> Vec<Source> {
    let mut sources = files_under("", &["rs", "md", "toml", "sh", "tpl", "yaml", "go", "js", "html", "Dockerfile"]);
    sources.retain(|source| source.path != "xtask/tests/tidy.rs");
    sources
}

#[test]
fn no_banned_word_is_added() {
    let file = root().join("xtask/tests/tidy/words.txt");
    let mut table = fs::read_to_string(&file).expect("the table can be read");
    if std::env::var_os("TIDY_LOWER").is_some() {
        table = rules::lowered(&table, &readable(), BANNED);
        fs::write(&file, &table).expect("the table can be written");
    }
    assert_none(rules::check_words(&readable(), BANNED, &rules::read_allowed(&table)));
}

#[test]
fn a_banned_word_is_found() {
    let text = "//! Told once.\nlet is_told = untold;\nlet quoted = \"\u{ab}a\u{bb}\";\n";
    let sources = [Source::new("a.rs", text), Source::new("b.md", "It is told.\n")];
    let allowed = rules::read_allowed("# What is left.\ntold 2 b.md\n\u{ab} 1 a.rs\n");
    assert_eq!(
        printed(&rules::check_words(&sources, BANNED, &allowed)),
        [
            "a.rs:1: words: `told` on lines 1, 2; 0 allowed: write message, argv, stdout, reason, or whichever it is",
            "a.rs:3: words: `\u{bb}` on lines 3; 0 allowed: write backticks for code and names, else straight quotes",
            "b.md:1: words: `told` 1 times, 2 allowed: lower it with TIDY_LOWER=1",
        ]
    );
    let table = rules::lowered("# What is left.\ntold 2 b.md\ntold 1 gone.rs\ntold 1 a.rs\n", &sources, BANNED);
    assert_eq!(table, "# What is left.\ntold 1 a.rs\ntold 1 b.md\n");
}

#[test]
fn links_and_paths_of_the_docs_lead_somewhere() {
    let docs = files_under("", &["md"]);
    // A file of a person's own, which git ignores.
    let is_own = |path: &str| path.ends_with(".override.yaml");
    let exists = |path: &str| is_own(path) || root().join(path).exists();
    assert_none(rules::check_links(&docs, &["docker", "docs", "helm", "k8s", "services", "xtask"], &exists));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let readme = "# Set up: `up` & [more](docs/a.md)\n\n[1](docs/a.md) [2](docs/b.md) [3](#set-up-up--more) [4](#gone)\n\n    \
                  [5](in/code.md)\n\n`docs/a.md` `docs/c.md` `docs/NAME.md` `other/c.md` [6](https://example.com/x)\n";
    let page = "# A\n## A\n[1](../README.md#set-up) [2](#a-1) [3](#a-2)\n";
    let docs = [Source::new("README.md", readme), Source::new("docs/a.md", page)];
    let exists = |path: &str| ["README.md", "docs/a.md"].contains(&path);
    assert_eq!(
        printed(&rules::check_links(&docs, &["docs"], &exists)),
        [
            "README.md:3: links: (docs/b.md) leads nowhere: there is no docs/b.md",
            "README.md:3: links: (#gone) leads nowhere: README.md has no heading #gone",
            "README.md:7: links: there is no `docs/c.md` in the repository",
            "docs/a.md:3: links: (../README.md#set-up) leads nowhere: README.md has no heading #set-up",
            "docs/a.md:3: links: (#a-2) leads nowhere: docs/a.md has no heading #a-2",
        ]
    );
}
