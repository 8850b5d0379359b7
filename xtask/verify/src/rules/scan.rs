//! The scan of an image: `img.scan`. Each check has a severity.

use std::collections::BTreeSet;
use std::path::{Component, PathBuf};

use crate::entities::docker_image::DockerImage;
use crate::entities::dockerfile::{Dockerfile, Instruction};
use crate::entities::reference::Reference;
use crate::rules::Place::Image;
use crate::rules::found::images;
use crate::rules::image::{arguments, baked_secrets, dockerfile, inspected, limit_mb};
use crate::rules::{Checks, Facts, FileKind, ImageFacts, ImageFile, Rule, Vulnerability};
use xtask::config::Base;

pub const RULES: &[Rule] = &[Rule {
    code: "img.scan",
    what: "every critical check of the scan, and ≥ 95 % of all",
    specs: "rolling.md#security-scan, common.md#image-scan",
    places: &[Image],
    check: scan,
}];

/// The share of a scan's checks that must hold, in percent.
const MIN_PERCENT: usize = 95;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// One that fails, fails the scan.
    Critical,
    /// Counts towards the share that must hold.
    Other,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Other => "other",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Passed,
    Failed(String),
    /// It could not be checked, for this reason. Counts neither as passed nor as failed.
    Skipped(String),
}

/// One check of a scan.
#[derive(Clone, Debug)]
pub struct Check {
    pub what: &'static str,
    pub severity: Severity,
    pub outcome: Outcome,
}

/// The checks that failed, as `SEVERITY: CHECK (WHY)`, the critical ones first.
pub fn failures(list: &[Check]) -> Vec<String> {
    let of = |severity: Severity| {
        list.iter().filter(move |check| check.severity == severity).filter_map(|check| match &check.outcome {
            Outcome::Failed(why) => Some(format!("{}: {} ({why})", check.severity.name(), check.what)),
            Outcome::Passed | Outcome::Skipped(_) => None,
        })
    };
    of(Severity::Critical).chain(of(Severity::Other)).collect()
}

/// How many checks passed, and how many of them were made.
pub fn passed(list: &[Check]) -> (usize, usize) {
    let made = list.iter().filter(|check| !matches!(check.outcome, Outcome::Skipped(_))).count();
    (list.iter().filter(|check| check.outcome == Outcome::Passed).count(), made)
}

fn scan(facts: &Facts, checks: &mut Checks) {
    let mut skipped = BTreeSet::new();
    for (service, image) in images(facts) {
        let list = checklist(facts, service, image);
        let (passed, made) = passed(&list);
        let is_critical =
            |check: &Check| check.severity == Severity::Critical && matches!(check.outcome, Outcome::Failed(_));
        let percent = passed * 100 / made.max(1);
        let holds = percent >= MIN_PERCENT && !list.iter().any(is_critical);
        checks.that(Image, service, holds, || {
            let reference = &image.reference;
            let failed = failures(&list).join("\n");
            format!(
                "{reference} passes {percent} % of {made} checks: each critical one must pass, and {MIN_PERCENT} % of all\n{failed}"
            )
        });
        for check in list {
            if let Outcome::Skipped(why) = check.outcome {
                skipped.insert(format!("{}: {why}", check.what));
            }
        }
    }
    for check in skipped {
        checks.cannot(Image, check);
    }
}

/// What the checks of one image look at.
struct Subject<'a> {
    facts: &'a Facts<'a>,
    service: &'a str,
    image: &'a ImageFacts,
    read: DockerImage,
    dockerfile: Option<Dockerfile>,
}

impl Subject<'_> {
    /// The first file of the image that is wrong.
    fn file(&self, is_wrong: impl Fn(&ImageFile) -> bool) -> Outcome {
        none(self.image.files.iter().find(|file| is_wrong(file)).map(|file| file.path.clone()))
    }

    /// The first program of one of these names.
    fn program(&self, names: &[&str]) -> Outcome {
        self.file(|file| {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            (folder.ends_with("bin") || folder.is_empty()) && names.contains(&name)
        })
    }

    fn has(&self, path: &str) -> bool {
        self.image.files.iter().any(|file| file.path == path)
    }

    fn is_distribution(&self) -> bool {
        self.has("etc/os-release") || self.has("usr/lib/os-release")
    }

    fn instructions(&self) -> impl Iterator<Item = &Instruction> {
        self.dockerfile.iter().flat_map(|file| &file.stages).flat_map(|stage| &stage.instructions)
    }
}

fn none(found: Option<String>) -> Outcome {
    found.map_or(Outcome::Passed, Outcome::Failed)
}

fn holds(good: bool, message: &str) -> Outcome {
    if good { Outcome::Passed } else { Outcome::Failed(message.to_string()) }
}

fn critical(what: &'static str, outcome: Outcome) -> Check {
    Check { what, severity: Severity::Critical, outcome }
}

fn other(what: &'static str, outcome: Outcome) -> Check {
    Check { what, severity: Severity::Other, outcome }
}

/// The checks of an image, each with how it ended.
pub fn checklist(facts: &Facts, service: &str, image: &ImageFacts) -> Vec<Check> {
    let Ok(read) = inspected(image) else {
        let unreadable = Outcome::Failed("its description cannot be read".to_string());
        return vec![critical("docker describes it", unreadable)];
    };
    let text = dockerfile(facts, &facts.config.services[service]).unwrap_or_default();
    let subject = Subject { facts, service, image, read, dockerfile: Dockerfile::parse(text).ok() };
    let groups = [user, permissions, secrets, crates, packages, description, recipe, programs, remains];
    groups.iter().flat_map(|group| group(&subject)).collect()
}

fn user(subject: &Subject) -> Vec<Check> {
    let uid = subject.read.user.as_ref().and_then(|user| user.uid());
    let is_named = uid.is_some_and(|uid| subject.image.users.contains_key(&uid));
    vec![
        critical("its user is not root", holds(!subject.read.runs_as_root(), "USER is missing or root")),
        other("its user is a number, which runAsNonRoot can check", holds(uid.is_some(), "USER is a name")),
        other("its user has a name in /etc/passwd", holds(is_named, "no entry")),
    ]
}

fn permissions(subject: &Subject) -> Vec<Check> {
    let plain = |file: &ImageFile, mode: u32| file.kind == FileKind::Plain && file.mode & mode != 0;
    let is_open = |file: &ImageFile| file.kind == FileKind::Folder && file.mode & 0o1002 == 0o002;
    let is_device = |file: &ImageFile| file.kind == FileKind::Other && !file.path.starts_with("dev/");
    vec![
        critical("no setuid or setgid file", subject.file(|file| plain(file, 0o6000))),
        other("no file can be written by everybody", subject.file(|file| plain(file, 0o002))),
        other("no folder can be written by everybody, but sticky ones", subject.file(is_open)),
        other("no devices", subject.file(is_device)),
    ]
}

fn secrets(subject: &Subject) -> Vec<Check> {
    let baked = baked_secrets(subject.facts, subject.image);
    let in_layers = match subject.image.unread_layers {
        _ if !subject.image.secrets.is_empty() => Outcome::Failed(subject.image.secrets.join(", ")),
        0 => Outcome::Passed,
        unread => Outcome::Failed(format!("{unread} layers are compressed and were not read")),
    };
    vec![
        critical("no secret in any layer", in_layers),
        critical("no secret in environment and history", holds(baked.is_empty(), &baked.join(", "))),
    ]
}

/// Those of the crates that its programs say they were made of, else of the lock that they were built from.
fn crates(subject: &Subject) -> Vec<Check> {
    let (known, about) = (&subject.facts.known, &subject.facts.config.services[subject.service]);
    if about.base != Base::Rust {
        return Vec::new();
    }
    // As git names it: without the dot of a context that is the root.
    let lock = about.context.join("Cargo.lock");
    let lock: PathBuf = lock.components().filter(|part| *part != Component::CurDir).collect();
    let lock = lock.display().to_string();
    let outcome = match (&known.rust, known.crates.get(subject.service).or_else(|| known.locks.get(&lock))) {
        (Err(why), _) => Outcome::Skipped(format!("RustSec advisories: {why}")),
        (Ok(_), None) => Outcome::Skipped("neither its programs nor a Cargo.lock say its crates".to_string()),
        (Ok(_), Some(found)) => first_critical(found),
    };
    let is_silent = |file: &ImageFile| {
        file.kind == FileKind::Plain && file.mode & 0o111 != 0 && !subject.image.crates.contains_key(&file.path)
    };
    vec![
        critical("no critical vulnerability that has a fix, in Rust crates", outcome),
        other("its programs say which crates they were made of", subject.file(is_silent)),
    ]
}

/// The first vulnerability for which a newer version is to be had.
fn first_critical(found: &[Vulnerability]) -> Outcome {
    none(found.iter().find(|one| one.is_fixable_and_critical()).map(ToString::to_string))
}

/// Those of the packages of a Debian image.
fn packages(subject: &Subject) -> Vec<Check> {
    if subject.image.packages.is_empty() {
        return Vec::new();
    }
    let known = &subject.facts.known;
    let outcome = match (&known.debian, known.packages.get(subject.service)) {
        (Err(why), _) => Outcome::Skipped(format!("Debian security tracker: {why}")),
        (Ok(_), None) => Outcome::Skipped("the tracker does not know its release".to_string()),
        (Ok(_), Some(found)) => first_critical(found),
    };
    vec![critical("no critical vulnerability that has a fix, in Debian packages", outcome)]
}

fn description(subject: &Subject) -> Vec<Check> {
    let read = &subject.read;
    let label =
        |name: &str| read.labels.get(&format!("org.opencontainers.image.{name}")).is_some_and(|text| !text.is_empty());
    let is_shell = |word: &String| matches!(word.as_str(), "/bin/sh" | "sh" | "/bin/bash");
    let in_size = limit_mb(subject.facts, subject.service).is_none_or(|limit| subject.image.size < limit * 1_000_000);
    vec![
        other("a health check", holds(read.health.is_some(), "HEALTHCHECK is missing")),
        other(
            "labels: title, version, licenses",
            holds(["title", "version", "licenses"].into_iter().all(label), "one is missing"),
        ),
        other("one port, the application's", holds(read.exposed.len() == 1, "EXPOSE has none or several")),
        other(
            "an absolute working folder",
            holds(read.work_dir.as_deref().is_some_and(|folder| folder.starts_with('/')), "WORKDIR"),
        ),
        other(
            "an entry point that no shell wraps",
            holds(read.entrypoint.first().is_some_and(|word| !is_shell(word)), "ENTRYPOINT"),
        ),
        other("within its size", holds(in_size, "see img.size")),
    ]
}

fn recipe(subject: &Subject) -> Vec<Check> {
    let about = &subject.facts.config.services[subject.service];
    let file = subject.dockerfile.as_ref();
    let bases = file.map(|file| file.bases(&arguments(about))).unwrap_or_default();
    let all = |is: fn(&Reference) -> bool| bases.iter().all(|base| Reference::parse(base).is_ok_and(|base| is(&base)));
    let is_latest = |base: &String| Reference::parse(base).is_ok_and(|base| base.is_latest());
    let ignores = subject.facts.files.as_ref().map(|files| &files.dockerignores);
    let is_ignoring = ignores.is_some_and(|files| files.contains_key(&about.dockerfile.display().to_string()));
    let fetched = subject.instructions().find(|line| line.keyword == "RUN" && fetches(&line.text));
    let says = |word: &str| subject.image.history.iter().any(|line| line.contains(word)).then(|| word.to_string());
    vec![
        other("bases have tags", holds(all(|base| base.tag().is_some()), "FROM without a tag")),
        other("no base is latest", holds(!bases.iter().any(is_latest), "FROM …:latest")),
        other(
            "stages: what builds is not what runs",
            holds(file.is_some_and(|file| file.stages.len() > 1), "one FROM"),
        ),
        other(
            "no ADD, which fetches and unpacks",
            holds(!subject.instructions().any(|line| line.keyword == "ADD"), "ADD"),
        ),
        other("a .dockerignore", holds(is_ignoring, "none")),
        other("no script is fetched and run", none(fetched.map(|line| format!("line {}", line.line)))),
        other("no rights for everybody are set", none(says("chmod 777").or(says("chmod -R 777")))),
    ]
}

fn programs(subject: &Subject) -> Vec<Check> {
    let is_program = |file: &&ImageFile| file.kind == FileKind::Plain && file.mode & 0o111 != 0;
    let count = subject.image.files.iter().filter(is_program).count();
    let distribution = subject.is_distribution();
    let shell = match distribution {
        true => Outcome::Passed,
        false => subject.program(&["sh", "bash", "dash", "ash", "zsh", "busybox"]),
    };
    vec![
        other("no sudo", subject.program(&["sudo", "su-exec", "gosu", "doas"])),
        other("no server to log in at", subject.program(&["sshd", "dropbear", "telnetd", "in.telnetd"])),
        other(
            "no compiler, no debugger",
            subject.program(&["gcc", "cc", "clang", "make", "ld", "gdb", "strace", "rustc", "cargo", "go"]),
        ),
        other("no tool that fetches", subject.program(&["curl", "wget", "nc", "netcat", "ncat", "socat", "ftp"])),
        other("a shell only with a distribution", shell),
        other("few programs", holds(count <= if distribution { 700 } else { 3 }, &count.to_string())),
        other(
            "a distribution says its packages, for a scanner",
            holds(!distribution || subject.has("var/lib/dpkg/status"), "no package list"),
        ),
    ]
}

fn remains(subject: &Subject) -> Vec<Check> {
    let is_of_apt = |file: &ImageFile| {
        file.kind == FileKind::Plain
            && (file.path.starts_with("var/lib/apt/lists/")
                || (file.path.starts_with("var/cache/apt/") && !file.path.ends_with("/lock")))
            && file.bytes > 0
    };
    let is_dump = |file: &ImageFile| file.path.rsplit('/').next() == Some("core") && file.kind == FileKind::Plain;
    vec![
        other("no repository", subject.file(|file| file.path.split('/').any(|part| part == ".git"))),
        other("no package lists or archives", subject.file(is_of_apt)),
        other("no histories of shells", subject.file(|file| file.path.ends_with("_history"))),
        other("no dump of a process", subject.file(is_dump)),
    ]
}

fn fetches(text: &str) -> bool {
    let fetched = text.contains("curl ") || text.contains("wget ");
    fetched && ["| sh", "| bash", "|sh", "|bash"].iter().any(|pipe| text.contains(pipe))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::entities::dpkg::DebianPackage;
    use crate::rules::fixture::{Good, assert_found, found, good, unseen};
    use serde_json::json;

    fn breaks(object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, "img.scan", Image, object, change);
    }

    fn image<'a>(good: &'a mut Good, service: &str) -> &'a mut ImageFacts {
        good.images.get_mut(service).unwrap()
    }

    fn add(path: &str, mode: u32, kind: FileKind) -> ImageFile {
        ImageFile { path: path.to_string(), mode, kind, bytes: 1 }
    }

    /// The checks of the backend's image after a change.
    fn list(change: impl FnOnce(&mut Good)) -> Vec<Check> {
        let mut good = good();
        change(&mut good);
        let Good { config, files, images, known, .. } = good;
        let facts = Facts {
            config: &config,
            unseen: BTreeMap::new(),
            files: Some(files),
            rendered: None,
            images: Some(images),
            live: None,
            known,
        };
        checklist(&facts, "backend", &facts.images.as_ref().unwrap()["backend"])
    }

    #[test]
    fn a_good_image_passes_each_of_its_checks() {
        let list = list(|_| {});
        assert!(list.len() >= 30, "{}", list.len());
        assert_eq!(failures(&list), [""; 0]);
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn one_critical_check_that_fails_fails_the_scan() {
        breaks("backend", |good| image(good, "backend").files.push(add("bin/passwd", 0o4644, FileKind::Plain)));
        breaks("backend", |good| image(good, "backend").files.push(add("bin/wall", 0o2644, FileKind::Plain)));
        breaks("backend", |good| image(good, "backend").secrets.push("a:1: a token".to_string()));
        breaks("backend", |good| image(good, "backend").history.push("ARG JWT_SECRET=x".to_string()));
        breaks("backend", |good| image(good, "backend").inspect["Config"]["User"] = json!("0"));
        breaks("backend", |good| image(good, "backend").unread_layers = 1);
        // The frontend is built from the same lock.
        let both = found(RULES, |good| good.known.locks.get_mut("services/Cargo.lock").unwrap().push(vulnerability()));
        assert_eq!(both.iter().map(|(_, _, object)| object.as_str()).collect::<Vec<_>>(), ["backend", "frontend"]);
        breaks("backend", |good| image(good, "backend").inspect = json!(7));
        // What the program says of itself goes before the lock that it shares with others.
        let only = |good: &mut Good| {
            good.known.locks.get_mut("services/Cargo.lock").unwrap().push(vulnerability());
            good.known.crates.insert("frontend".to_string(), Vec::new());
        };
        breaks("backend", only);
        breaks("backend", |good| drop(good.known.crates.insert("backend".to_string(), vec![vulnerability()])));
    }

    #[test]
    fn of_the_others_one_may_fail_and_two_may_not() {
        let one = add("usr/bin/curl", 0o644, FileKind::Plain);
        assert_eq!(found(RULES, |good| image(good, "backend").files.push(one.clone())), []);
        for bad in [
            add("app/data", 0o666, FileKind::Plain),
            add("app/silent", 0o755, FileKind::Plain),
            add("spool", 0o777, FileKind::Folder),
            add("null", 0o600, FileKind::Other),
            add("usr/sbin/sshd", 0o644, FileKind::Plain),
            add("usr/bin/gcc", 0o644, FileKind::Plain),
            add("usr/bin/sudo", 0o644, FileKind::Plain),
            add("app/.git", 0o755, FileKind::Folder),
            add("bin/sh", 0o644, FileKind::Plain),
            add("root/.bash_history", 0o600, FileKind::Plain),
            add("app/core", 0o600, FileKind::Plain),
            add("var/lib/apt/lists/x", 0o644, FileKind::Plain),
            add("etc/os-release", 0o644, FileKind::Plain),
        ] {
            assert_eq!(found(RULES, |good| image(good, "backend").files.push(bad.clone())), [], "{bad:?}");
            breaks("backend", |good| image(good, "backend").files.extend([one.clone(), bad.clone()]));
        }
        for (pointer, value) in
            [("/Config/Labels", json!({})), ("/Config/Entrypoint", json!(["/bin/sh", "-c", "/app/backend"]))]
        {
            breaks("backend", |good| {
                image(good, "backend").files.push(one.clone());
                *image(good, "backend").inspect.pointer_mut(pointer).unwrap() = value;
            });
        }
        breaks("backend", |good| {
            image(good, "backend").history.push("RUN chmod 777 /app".to_string());
            image(good, "backend").files.push(one.clone());
        });
    }

    #[test]
    fn failed_checks_are_named_with_their_severities_critical_ones_first() {
        let list = list(|good| {
            let files = [add("usr/bin/curl", 0o644, FileKind::Plain), add("bin/su", 0o4644, FileKind::Plain)];
            image(good, "backend").files.extend(files);
        });
        assert_eq!(
            failures(&list),
            ["critical: no setuid or setgid file (bin/su)", "other: no tool that fetches (usr/bin/curl)"]
        );
    }

    fn vulnerability() -> Vulnerability {
        let [id, package, version, title] = ["RUSTSEC-2026-0001", "a", "1.0.0", "b"].map(str::to_string);
        Vulnerability { id, package, version, title, severity: None, fixed: vec![">=2".to_string()] }
    }

    #[test]
    fn without_a_database_vulnerabilities_are_skipped_and_not_passed() {
        let list = list(|good| good.known.rust = Err("no folder".to_string()));
        let skipped: Vec<&Outcome> =
            list.iter().map(|check| &check.outcome).filter(|outcome| matches!(outcome, Outcome::Skipped(_))).collect();
        assert_eq!(skipped, [&Outcome::Skipped("RustSec advisories: no folder".to_string())]);
    }

    #[test]
    fn debian_packages_are_checked_where_there_are_some() {
        let package = || DebianPackage {
            name: "bash".to_string(),
            version: "5.2.15-2".to_string(),
            source: "bash".to_string(),
            source_version: "5.2.15-2".to_string(),
        };
        let outcome = |found: Option<Vec<Vulnerability>>, debian: Result<String, String>| {
            let list = list(|good| {
                image(good, "backend").packages.push(package());
                good.known.debian = debian;
                good.known.packages.extend(found.map(|found| ("backend".to_string(), found)));
            });
            list.into_iter().find(|check| check.what.ends_with("Debian packages")).unwrap().outcome
        };
        let dated = || Ok("2026-11-20T00:00:00Z".to_string());
        assert_eq!(outcome(Some(Vec::new()), dated()), Outcome::Passed);
        assert!(matches!(outcome(Some(vec![vulnerability()]), dated()), Outcome::Failed(_)));
        assert!(matches!(outcome(None, dated()), Outcome::Skipped(_)));
        let missing = Outcome::Skipped("Debian security tracker: no file".to_string());
        assert_eq!(outcome(None, Err("no file".to_string())), missing);
        assert!(list(|_| {}).iter().all(|check| !check.what.ends_with("Debian packages")));
    }

    #[test]
    fn what_was_not_checked_counts_neither_way() {
        let skipped = other("a", Outcome::Skipped("no database".to_string()));
        let list = [other("b", Outcome::Passed), critical("c", Outcome::Failed("d".to_string())), skipped];
        assert_eq!(passed(&list), (1, 2));
        assert_eq!(failures(&list), ["critical: c (d)"]);
    }

    #[test]
    fn a_pipe_from_the_network_into_a_shell_is_seen() {
        assert!(fetches("curl -sSf https://x | sh"));
        assert!(!fetches("curl -o a https://x && sha256sum -c a"));
    }
}
