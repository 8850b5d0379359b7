//! Releases of tools, from a server of the test's own, by the real curl.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac_sha256::Hash;
use rustix::process::{Signal, kill_process};

use super::common::{Project, eventually};

/// What is served as minikube, helm and kubectl: whoever is called by such a name plays it.
const PROGRAM: &[u8] = include_bytes!("../common/standin.sh");
const TOOLS: [(&str, &str); 3] = [("minikube", "1.36.0"), ("helm", "3.17.0"), ("kubectl", "1.33.1")];

#[derive(Clone)]
enum Answer {
    Whole(Vec<u8>),
    /// Says that it is whole, and ends in the middle.
    Truncated(Vec<u8>),
    /// A part of it, and then nothing for longer than a test waits.
    Stalling(Vec<u8>),
}

/// A server of files; what it doesn't have is 404. Asked by a full URL, it is a proxy of whatever host is named there.
struct Releases {
    port: u16,
    files: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Releases {
    /// Has a good release of each tool.
    fn new() -> Releases {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (files, asked): (Arc<Mutex<BTreeMap<_, _>>>, Arc<Mutex<Vec<String>>>) = Default::default();
        let releases = Releases { port, files: files.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, asked) = (files.clone(), asked.clone());
                // A client that has gone away is not the server's problem.
                std::thread::spawn(move || answer(stream, &files, &asked));
            }
        });
        for (tool, _) in TOOLS {
            releases.publish(tool, if tool == "helm" { archive(PROGRAM) } else { PROGRAM.to_vec() });
        }
        releases
    }

    /// Serves something as a tool's release, with its checksum.
    fn publish(&self, tool: &str, bytes: Vec<u8>) {
        let sum = format!("{}  {tool}\n", sha256(&bytes));
        self.serve(&format!("/{tool}.sha256"), Answer::Whole(sum.into_bytes()));
        self.serve(&format!("/{tool}"), Answer::Whole(bytes));
    }

    fn serve(&self, path: &str, answer: Answer) {
        self.files.lock().unwrap().insert(path.to_string(), answer);
    }

    fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(path);
    }

    /// What was asked for until now, sorted.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    /// A project that lacks these tools, and downloads them from here.
    fn project(&self, missing: &[&str]) -> Project {
        self.project_at(&format!("http://127.0.0.1:{}", self.port), missing)
    }

    fn project_at(&self, place: &str, missing: &[&str]) -> Project {
        let project = Project::new();
        symlink(which::which("curl").unwrap(), project.path("bin/curl")).unwrap();
        for (tool, version) in TOOLS {
            if missing.contains(&tool) {
                fs::remove_file(project.path("bin").join(tool)).unwrap();
            }
            let member = if tool == "helm" { ", member = \"{os}-{arch}/helm\"" } else { "" };
            let download = format!("{{ url = \"{place}/{tool}\", checksum = \"{place}/{tool}.sha256\"{member} }}");
            project.edit(
                "xtask.toml",
                &format!("{tool} = {{ "),
                &format!("{tool} = {{ pinned = \"{version}\", download = {download}, "),
            );
        }
        let helm = "\n[mirrors.modules.helm]\npackages = [\"example.test/helm\"]\n";
        project.write("xtask.toml", &(project.read("xtask.toml") + helm));
        project.write("k8s/node/go/helm/go.mod", "module tools\n");
        project
    }
}

fn answer(mut stream: TcpStream, files: &Mutex<BTreeMap<String, Answer>>, asked: &Mutex<Vec<String>>) {
    let mut head = BufReader::new(stream.try_clone().unwrap().take(65_536));
    let (mut request, mut line) = (String::new(), String::new());
    head.read_line(&mut request).unwrap();
    while head.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let url = request.split(' ').nth(1).unwrap_or_default();
    asked.lock().unwrap().push(url.to_string());
    let path = url.strip_prefix("http://").map_or(url, |rest| &rest[rest.find('/').unwrap_or(0)..]);
    let found = files.lock().unwrap().get(path).cloned();
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = match found {
        None => write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        Some(Answer::Whole(bytes)) => {
            stream.write_all(head(bytes.len()).as_bytes()).and_then(|()| stream.write_all(&bytes))
        }
        Some(Answer::Truncated(bytes)) => {
            stream.write_all(head(bytes.len()).as_bytes()).and_then(|()| stream.write_all(&bytes[..bytes.len() / 2]))
        }
        Some(Answer::Stalling(bytes)) => {
            let sent = stream
                .write_all(head(bytes.len()).as_bytes())
                .and_then(|()| stream.write_all(&bytes[..bytes.len() / 2]));
            std::thread::sleep(Duration::from_secs(120));
            sent
        }
    };
}

/// A tar.gz as helm's releases are: the program in a folder named after the machine, beside a licence.
fn archive(program: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let name = format!("{os}-{arch}");
    let inner = folder.path().join(&name);
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("helm"), program).unwrap();
    fs::write(inner.join("LICENSE"), "all of it").unwrap();
    let packed = Command::new("tar").args(["-c", "-z", "-f", "a.tar.gz", &name]).current_dir(folder.path()).status();
    assert!(packed.unwrap().success());
    fs::read(folder.path().join("a.tar.gz")).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Hash::hash(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All that there is of downloads, whole or not, but for the notes of their sizes.
fn installed(project: &Project) -> Vec<String> {
    let folder = project.path("cache/todo/tools");
    let mut names: Vec<String> = match folder.exists() {
        true => project.files("cache/todo/tools"),
        false => Vec::new(),
    }
    .iter()
    .filter(|file| !file.ends_with(".sizes"))
    .map(|file| file.strip_prefix(&folder).unwrap().display().to_string())
    .collect();
    names.sort();
    names
}

#[test]
fn what_is_missing_is_downloaded_once_and_used() {
    let releases = Releases::new();
    let project = releases.project(&["minikube", "helm", "kubectl"]);
    let run = project.run(&["bootstrap"]);
    run.assert_ended(0);
    assert_eq!(installed(&project), ["helm-3.17.0/helm", "kubectl-1.33.1/kubectl", "minikube-1.36.0/minikube"]);
    for file in project.files("cache/todo/tools").iter().filter(|file| !file.ends_with(".sizes")) {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o755, "{}", file.display());
    }
    assert_eq!(run.calls_of(&["go build"]), [""; 0]);
    let all = ["/helm", "/helm.sha256", "/kubectl", "/kubectl.sha256", "/minikube", "/minikube.sha256"];
    assert_eq!(releases.asked(), all);
    let link = fs::read_link(project.path("cache/todo/bin/helm")).unwrap();
    assert_eq!(link, project.path("cache/todo/tools/helm-3.17.0/helm"));
    let up = project.run(&["up"]);
    up.assert_ended(0);
    assert_eq!(up.calls_of(&["helm upgrade todo"]).len(), 1);
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert_eq!((again.changes(), releases.asked()), (vec![], all.map(str::to_string).to_vec()));
}

#[test]
fn a_tool_that_was_cut_is_named_and_made_anew() {
    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    project.run(&["up"]).assert_ended(0);
    let helm = project.path("cache/todo/tools/helm-3.17.0/helm");
    fs::OpenOptions::new().write(true).open(&helm).unwrap().set_len(3).unwrap();
    let run = project.run(&["plan"]);
    run.assert_ended(3);
    run.assert_says(&["tools/helm-3.17.0/helm is damaged: it has 3 bytes, and had ", "Next: cargo xtask bootstrap"]);
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert!(fs::metadata(&helm).unwrap().len() > 3);
}

#[test]
fn what_is_on_path_is_not_asked_for() {
    let releases = Releases::new();
    releases.project(&[]).run(&["bootstrap"]).assert_ended(0);
    assert_eq!(releases.asked(), [""; 0]);
}

#[test]
fn what_is_not_as_published_or_not_whole_is_reported_and_not_installed() {
    type Spoil = fn(&Releases);
    let wrong: [(&str, Spoil, i32, &[&str]); 7] = [
        (
            "another checksum",
            |releases| releases.serve("/helm", Answer::Whole(archive(b"something else"))),
            1,
            &["helm 3.17.0 is not what its release publishes", "/helm.sha256", " came from http"],
        ),
        (
            "a truncated body",
            |releases| releases.serve("/helm", Answer::Truncated(archive(PROGRAM))),
            1,
            &["helm 3.17.0 could not be downloaded", "curl: (18)"],
        ),
        (
            "no such file",
            |releases| releases.remove("/helm"),
            1,
            &["helm 3.17.0 could not be downloaded", "curl: (22)", "404"],
        ),
        (
            "a stall",
            |releases| releases.serve("/helm", Answer::Stalling(archive(PROGRAM))),
            4,
            &["helm 3.17.0 could not be downloaded", "curl: (28)"],
        ),
        (
            "no archive",
            |releases| releases.publish("helm", PROGRAM.to_vec()),
            1,
            &["helm 3.17.0 from http", "is no archive with "],
        ),
        (
            "a program that does not run",
            |releases| releases.publish("helm", archive(b"#!/bin/sh\nexit 7\n")),
            1,
            &["helm 3.17.0 from http", " failed: "],
        ),
        (
            "another version",
            |releases| {
                let other = String::from_utf8(PROGRAM.to_vec()).unwrap().replace("v3.17.0+", "v3.16.0+");
                releases.publish("helm", archive(other.as_bytes()));
            },
            1,
            &["helm 3.17.0 from http", "says that it is v3.16.0"],
        ),
    ];
    for (what, spoil, code, describe) in wrong {
        let releases = Releases::new();
        spoil(&releases);
        let project = releases.project(&["helm"]);
        project.edit("xtask.toml", "stall_s = 30", "stall_s = 1");
        let run = project.run(&["bootstrap"]);
        assert_eq!(run.code, Some(code), "{what}\n{}", run.stderr);
        run.assert_says(describe);
        run.assert_says(&["\nNext: "]);
        assert_eq!((installed(&project), run.calls_of(&["go build"])), (vec![], vec![]), "{what}");
        assert!(!project.path("cache/todo/tools/helm-3.17.0").exists(), "{what}");
        // Nothing that was left keeps a good release from coming.
        releases.publish("helm", archive(PROGRAM));
        project.run(&["bootstrap"]).assert_ended(0);
        assert_eq!(installed(&project), ["helm-3.17.0/helm"], "{what}");
    }
}

#[test]
fn a_release_without_a_checksum_is_built_instead_and_refused_where_releases_are_forced() {
    for answer in [None, Some(Answer::Whole(b"<html>please sign in</html>".to_vec()))] {
        let releases = Releases::new();
        releases.remove("/helm.sha256");
        if let Some(answer) = answer {
            releases.serve("/helm.sha256", answer);
        }
        let project = releases.project(&["helm", "kubectl"]);
        let forced = project.run(&["bootstrap", "--from", "release"]);
        forced.assert_ended(3);
        forced.assert_says(&["helm 3.17.0 cannot be downloaded: http", "helm.sha256", "--from mirrors"]);
        assert_eq!((installed(&project), forced.calls_of(&["go build"])), (vec![], vec![]));
        let run = project.run(&["bootstrap"]);
        run.assert_ended(0);
        run.assert_says(&["helm 3.17.0 cannot be downloaded: http", "it is built from a package mirror"]);
        // Each tool comes as it can.
        assert_eq!(
            (installed(&project), run.calls_of(&["go build"]).len()),
            (vec!["kubectl-1.33.1/kubectl".to_string()], 1)
        );
        assert!(!releases.asked().contains(&"/helm".to_string()));
    }
}

#[test]
fn where_nobody_answers_in_time_tools_are_built() {
    let releases = Releases::new();
    releases.serve("/helm.sha256", Answer::Stalling(vec![b'a'; 64]));
    let project = releases.project(&["helm"]);
    project.edit("xtask.toml", "reach_s = 5", "reach_s = 1");
    let run = project.run(&["bootstrap"]);
    run.assert_ended(0);
    run.assert_says(&["curl: (28)", "it is built from a package mirror"]);
    assert_eq!((installed(&project), run.calls_of(&["go build"]).len()), (vec![], 1));
}

#[test]
fn without_curl_tools_are_built_and_that_is_said() {
    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    fs::remove_file(project.path("bin/curl")).unwrap();
    project.run(&["bootstrap", "--from", "release"]).assert_ended(3);
    let run = project.run(&["bootstrap"]);
    run.assert_ended(0);
    run.assert_says(&["curl is not on PATH"]);
    assert_eq!((releases.asked().len(), run.calls_of(&["go build"]).len()), (0, 1));
}

#[test]
fn tools_are_downloaded_where_no_registry_answers_and_mirrors_can_be_forced() {
    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    project.edit("xtask.toml", ", \"no-such-program\"", "");
    project.answer("docker manifest inspect ", "exit 1");
    let forced = project.run(&["bootstrap", "--from", "release"]);
    forced.assert_ended(3);
    forced.assert_says(&["no image registry answers", "Next: cargo xtask bootstrap without --from release"]);
    assert_eq!(installed(&project), ["helm-3.17.0/helm"]);

    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    project.edit("xtask.toml", ", \"no-such-program\"", "");
    // The project of the tests can't build all of it; what counts is who is asked.
    let forced = project.run(&["bootstrap", "--from", "mirrors"]);
    forced.assert_says(&["as asked: images are built from package mirrors"]);
    assert_eq!((releases.asked().len(), forced.calls_of(&["docker manifest"])), (0, vec![]));
}

#[test]
fn a_proxy_is_asked_by_full_urls() {
    let releases = Releases::new();
    let project = releases.project_at("http://releases.test", &["kubectl"]);
    let project = project.env("http_proxy", &format!("http://127.0.0.1:{}", releases.port));
    project.run(&["bootstrap"]).assert_ended(0);
    assert_eq!(releases.asked(), ["http://releases.test/kubectl", "http://releases.test/kubectl.sha256"]);
    assert_eq!(installed(&project), ["kubectl-1.33.1/kubectl"]);
}

#[test]
fn an_interrupted_and_a_killed_download_leave_nothing_that_counts() {
    let releases = Releases::new();
    let project = releases.project(&["kubectl"]);
    let partial = project.path("cache/todo/tools/kubectl-1.33.1.partial/download");
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        releases.serve("/kubectl", Answer::Stalling(PROGRAM.to_vec()));
        let run = project.run_while(&["bootstrap"], |pid| {
            assert!(eventually(|| fs::metadata(&partial).is_ok_and(|about| about.len() > 0)));
            kill_process(pid, signal).unwrap();
        });
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(!project.path("cache/todo/tools/kubectl-1.33.1").exists());
        if code.is_some() {
            assert_eq!(installed(&project), [""; 0]);
        }
    }
    releases.publish("kubectl", PROGRAM.to_vec());
    project.run(&["bootstrap"]).assert_ended(0);
    assert_eq!(installed(&project), ["kubectl-1.33.1/kubectl"]);
}

#[test]
fn the_lock_holds_what_was_downloaded_and_refuses_anything_else() {
    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    let run = project.run(&["bootstrap", "--update-lock"]);
    run.assert_ended(0);
    let locked = project.read("tools.lock");
    let Some(Answer::Whole(first)) = releases.files.lock().unwrap().get("/helm").cloned() else { unreachable!() };
    assert_eq!(locked.matches(&sha256(PROGRAM)).count(), 2, "{locked}");
    assert!(locked.contains("[helm.\"3.17.0\"]\n") && locked.contains(&sha256(&first)), "{locked}");
    assert_eq!(locked.lines().filter(|line| line.contains(" = ")).count(), 3, "{locked}");

    // The same again agrees with it, and writes it alike.
    project.run(&["bootstrap", "--update-lock"]).assert_ended(0);
    assert_eq!(project.read("tools.lock"), locked);
    fs::remove_dir_all(project.path("cache/todo/tools")).unwrap();
    let run = project.run(&["bootstrap"]);
    run.assert_ended(0);
    run.assert_says(&["SHA-256 as locked"]);

    // A release that was replaced together with its checksum.
    fs::remove_dir_all(project.path("cache/todo/tools")).unwrap();
    releases.publish("helm", archive(&[PROGRAM, b"# another\n"].concat()));
    let asked = releases.asked().len();
    let run = project.run(&["bootstrap"]);
    run.assert_ended(1);
    let Some(Answer::Whole(second)) = releases.files.lock().unwrap().get("/helm").cloned() else { unreachable!() };
    run.assert_says(&[
        "helm 3.17.0 for ",
        "is not what tools.lock holds",
        &format!("{} in tools.lock", sha256(&first)),
        &format!("{} at http", sha256(&second)),
        "cargo xtask bootstrap --update-lock",
    ]);
    assert_eq!((installed(&project), project.read("tools.lock")), (vec![], locked.clone()));
    assert_eq!(releases.asked().len(), asked + 1, "nothing but the checksum is asked for");

    let run = project.run(&["bootstrap", "--update-lock"]);
    run.assert_ended(0);
    run.assert_says(&[&format!("was {} in tools.lock, and is {} now", sha256(&first), sha256(&second))]);
    assert_eq!(project.read("tools.lock"), locked.replace(&sha256(&first), &sha256(&second)));
}

#[test]
fn a_lock_is_written_whole_or_not_at_all_and_a_damaged_one_is_reported() {
    let releases = Releases::new();
    let project = releases.project(&["helm"]);
    releases.serve("/kubectl", Answer::Whole(b"something else".to_vec()));
    project.run(&["bootstrap", "--update-lock"]).assert_ended(1);
    assert!(!project.path("tools.lock").exists());
    releases.remove("/minikube.sha256");
    project.run(&["bootstrap", "--update-lock"]).assert_ended(3);
    assert!(!project.path("tools.lock").exists());
    project.write("tools.lock", "[helm.\"3.17.0\"]\nlinux-amd64 = \"abc\"\n");
    fs::remove_dir_all(project.path("cache/todo/tools")).unwrap();
    let run = project.run(&["bootstrap"]);
    run.assert_ended(2);
    run.assert_says(&["tools.lock:2:15: helm.\"3.17.0\".linux-amd64 must be 64 hexadecimal digits"]);
    assert_eq!(installed(&project), [""; 0]);
    project.run(&["bootstrap", "--update-lock", "--from", "release"]).assert_ended(2);
}
