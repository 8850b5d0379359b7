//! What `clean` and `uninstall` take away, by which commands, and what they leave alone; and that `up` and `down` leave
//! nothing behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::common::{Project, eventually};

const AT: &str = "--kubeconfig STATE/kubeconfig --context todo --namespace todo";
const AT_HELM: &str = "--kubeconfig STATE/kubeconfig --kube-context todo";

/// An old tag, as only this tool gives them.
fn tag(digit: u8) -> String {
    format!("0.1.0-h{}", digit.to_string().repeat(12))
}

fn backend(digit: u8) -> String {
    format!("backend:{}", tag(digit))
}

/// An image as docker inspects it, made on a day of the past.
fn image(reference: &str, label: Option<&str>, day: u8) -> Value {
    let labels = label.map(|label| json!({ "todo.service": label, "other.service": "x" }));
    json!({
        "Id": format!("sha256:{reference}"), "RepoTags": [reference], "Created": format!("2020-01-{day:02}T00:00:00Z"),
        "Size": 1_500_000, "Config": { "Labels": labels },
    })
}

fn container(name: &str, image: &str, running: bool, labels: Value) -> Value {
    let image = format!("sha256:{image}");
    json!({ "Name": format!("/{name}"), "Image": image, "State": { "Running": running }, "Config": { "Labels": labels } })
}

impl Project {
    /// Lets docker have these images and containers, and no others.
    fn hold(&self, images: &[Value], containers: &[Value]) {
        let listed = images.iter().map(|image| format!("{} {}\n", image["RepoTags"][0], image["Id"]));
        self.write("standin/listed", &listed.collect::<String>().replace('"', ""));
        self.write("standin/images.json", &json!(images).to_string());
        self.answer("docker image ls --no-trunc --format ", "cat listed");
        self.answer("docker image inspect sha256:", "cat images.json");
        self.write("standin/containers", &"c\n".repeat(containers.len()));
        self.write("standin/containers.json", &json!(containers).to_string());
        self.answer("docker ps --all --quiet", "cat containers");
        self.answer("docker container inspect c", "cat containers.json");
        for removal in ["docker image rm ", "docker rm ", "docker exec todo crictl rmi ", "docker builder prune "] {
            self.answer(removal, "");
        }
    }

    /// The references of the images that `up` has built.
    fn built(&self) -> Vec<String> {
        self.read("standin/host-images").lines().map(|line| line.split(' ').next().unwrap().to_string()).collect()
    }

    fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }
}

/// A project that is up and has old things everywhere, some of them in use.
fn with_old_things() -> Project {
    let project = Project::up();
    let [backend_now, frontend_now] = &project.built()[..] else { panic!("two images") };
    let mut images: Vec<Value> = (1..=7).map(|digit| image(&backend(digit), Some("backend"), digit)).collect();
    images.push(image(backend_now, Some("backend"), 8));
    images.push(image(frontend_now, Some("frontend"), 8));
    // By name ours, and by label not; the other way round; and neither.
    images.push(image(&format!("frontend:{}", tag(1)), None, 1));
    images.push(image("mine:1", Some("backend"), 1));
    images.push(image("debian:bookworm", None, 1));
    let containers = [container("theirs", &backend(2), false, json!({})), container("todo", "node", true, json!({}))];
    project.hold(&images, &containers);
    // What a ReplicaSet of another namespace could bring back, and what helm could.
    let pods = json!({"items": [{"spec": {"template": {"spec": {"containers": [{"image": backend(3)}]}}}}]});
    project.answer("kubectl get pods,deployments,", &format!("echo '{pods}'"));
    project.answer(
        "helm list --deployed --failed --pending --superseded --uninstalled --uninstalling --all-namespaces ",
        r#"echo '[{"name":"old","namespace":"elsewhere"}]'"#,
    );
    project.answer(
        "helm history old ",
        r#"echo '[{"revision":3,"status":"superseded"},{"revision":4,"status":"deployed"}]'"#,
    );
    let manifest = |digit| format!("printf 'kind: Pod\\nspec: {{containers: [{{image: \"{}\"}}]}}\\n'", backend(digit));
    project.answer("helm get manifest old --revision 3 ", &manifest(4));
    project.answer("helm get manifest old --revision 4 ", &manifest(5));
    let on_node = [backend(1), backend(2), backend(4), backend(9), backend_now.clone(), "pause:3.10".to_string()];
    let line = |reference: &String| format!("{reference} sha256:{reference}\n");
    project.write("standin/node-images", &on_node.iter().map(line).collect::<String>());
    project.answer("docker system df ", "echo 'Images|9GB'; echo 'Build Cache|2.4GB'");
    // The daemon runs containers with a shim of a recipe that has changed, and a link leads to an old tool.
    let shim = project.path("cache/todo/go/runc-shim-bbbbbbbbbbbb/runc").display().to_string();
    project.answer("docker info --format {{json ", &format!("echo '{{\"shim\":{{\"path\":\"{shim}\"}}}}'"));
    for file in
        ["runc-shim-bbbbbbbbbbbb/runc", "helm-bbbbbbbbbbbb/helm", "etcd-bbbbbbbbbbbb/etcd", "mine/x", "a.partial/x"]
    {
        project.write(&format!("cache/todo/go/{file}"), &"x".repeat(100_000));
    }
    fs::remove_file(project.path("cache/todo/bin/helm")).unwrap();
    symlink(project.path("cache/todo/go/helm-bbbbbbbbbbbb/helm"), project.path("cache/todo/bin/helm")).unwrap();
    project.write("cache/todo/staging/dev-gone/x", "x");
    project.write("cache/todo/staging/many-todo/x", "x");
    project.write("state/todo/logs/new.log", "x");
    project.write("state/todo/logs/old.log", "x");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    File::options().write(true).open(project.path("state/todo/logs/old.log")).unwrap().set_modified(old).unwrap();
    project
}

/// What is old in such a project: in docker, on the node, and in the folders.
fn expected_removals() -> Vec<String> {
    let host = format!("docker image rm {}", backend(1));
    let node = |digit| format!("docker exec todo crictl rmi {}", backend(digit));
    vec![host, node(1), node(9)]
}

const OLD_FILES: [&str; 4] = [
    "cache/todo/go/etcd-bbbbbbbbbbbb",
    "cache/todo/go/a.partial",
    "cache/todo/staging/dev-gone",
    "state/todo/logs/old.log",
];
const OTHER_FILES: [&str; 6] = [
    "cache/todo/go/runc-shim-bbbbbbbbbbbb/runc",
    "cache/todo/go/helm-bbbbbbbbbbbb/helm",
    "cache/todo/go/mine/x",
    "cache/todo/staging/many-todo/x",
    "cache/todo/staging/dev-todo/todo/values.json",
    "state/todo/logs/new.log",
];

#[test]
fn clean_removes_what_is_old_and_neither_what_is_used_nor_what_is_foreign() {
    let project = with_old_things();
    let run = project.run(&["clean"]);
    run.assert_ended(0);
    // Of seven old ones, 2 is a container's, 3 a ReplicaSet's, 4 and 5 helm's, and 7 with the present one the newest.
    let mut expected = expected_removals();
    expected.insert(0, format!("docker image rm {}", backend(6)));
    assert_eq!(run.changes(), expected);
    assert!(OLD_FILES.iter().all(|file| !project.is_there(file)));
    assert!(OTHER_FILES.iter().all(|file| project.is_there(file)));
    for line in [
        "host: 2 images to remove, 7 stay, left alone 3 of others",
        "node todo: 2 images to remove, 3 stay, left alone 1 of others",
        &format!("  {}      1.5 MB  nothing uses it, and 2 newer ones stay", backend(1)),
        "cache folder: 3 entries to remove",
        "docker's build cache holds 2.4GB; it has no owner label and is kept: docker builder prune",
        "8 went, up to ",
    ] {
        assert!(run.stdout.contains(line), "\"{line}\" is not in\n{}", run.stdout);
    }
    let again = project.run(&["clean", "--keep", "3"]);
    assert_eq!(again.changes().iter().filter(|call| call.contains(&backend(6))).count(), 0, "{:?}", again.changes());
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let project = with_old_things();
    let before = project.files("");
    let run = project.run(&["clean", "--keep", "2", "--dry-run", "--json"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
    assert!(OLD_FILES.iter().all(|file| project.is_there(file)));
    let set = |files: Vec<PathBuf>| files.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(set(project.files("")), set(before));
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = events.iter().find(|event| event["event"] == "answer").unwrap();
    let places: Vec<(&str, usize)> = answer["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| (place["place"].as_str().unwrap(), place["removals"].as_array().unwrap().len()))
        .collect();
    let expected = [("containers", 0), ("host", 2), ("node todo", 2), ("cache folder", 3), ("state folder", 1)];
    assert_eq!(places, expected);
    assert_eq!(answer["places"][1]["removals"][0]["frees_bytes"], 1_500_000);
    assert!(answer["frees_bytes"].as_u64().unwrap() > 3_000_000 + 200_000, "{answer}");
    assert!(events.iter().any(|event| event["headline"].as_str().unwrap_or_default().contains("8 to remove")));
}

#[test]
fn what_is_used_is_asked_of_every_namespace() {
    let run = with_old_things().run(&["clean", "--dry-run"]);
    run.assert_ended(0);
    let kinds =
        "pods,deployments,replicasets,statefulsets,controllerrevisions,daemonsets,jobs,cronjobs,replicationcontrollers";
    let elsewhere = format!("{AT_HELM} --namespace elsewhere");
    let expected = [
        format!("kubectl get {kinds} --all-namespaces --output json {AT}"),
        format!(
            "helm list --deployed --failed --pending --superseded --uninstalled --uninstalling --all-namespaces --output json {AT_HELM}"
        ),
        format!("helm history old --max 100 --output json {elsewhere}"),
        format!("helm get manifest old --revision 3 {elsewhere}"),
        format!("helm get manifest old --revision 4 {elsewhere}"),
    ];
    assert_eq!(run.calls_of(&["kubectl get pods,", "helm list", "helm history", "helm get"]), expected);
}

#[test]
fn clean_waits_for_runs_that_go_on() {
    for lock in ["todo", "elsewhere", "bootstrap", "the cluster"] {
        let project = with_old_things();
        let file = File::create(project.path(&format!("state/todo/{lock}.lock"))).unwrap();
        file.lock().unwrap();
        let run = project.run_while(&["clean"], |xtask| {
            // It has begun once it has a record.
            assert!(eventually(|| project.texts("state/todo/records").iter().any(|text| text.contains("waiting"))));
            kill_process(xtask, Signal::INT).unwrap();
        });
        run.assert_ended(130);
        run.assert_says(&[&format!("waiting for another run on {lock}")]);
        assert_eq!(run.changes(), [""; 0]);
        assert!(OLD_FILES.iter().all(|file| project.is_there(file)));
    }
}

#[test]
fn what_cannot_be_removed_is_reported_and_the_rest_goes() {
    let project = with_old_things();
    let rules = project.read("standin/rules");
    project.write("standin/rules", "");
    project.answer(&format!("docker image rm {}", backend(1)), "echo 'conflict: it is in use' >&2; exit 1");
    project.write("standin/rules", &(project.read("standin/rules") + &rules));
    let run = project.run(&["clean"]);
    run.assert_ended(1);
    run.assert_says(&["1 could not be removed", &format!("host: {}", backend(1)), "conflict: it is in use", "Next:"]);
    assert_eq!(run.changes().len(), 4, "{:?}", run.changes());
    assert!(OLD_FILES.iter().all(|file| !project.is_there(file)));
}

#[test]
fn a_cluster_that_does_not_serve_keeps_its_images() {
    let project = with_old_things();
    project.answer("docker container inspect --format {{.State.Status}} ", "echo exited");
    let run = project.run(&["clean"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker exec todo crictl", "kubectl get", "helm list"]), [""; 0]);
    assert!(run.stdout.contains("the cluster todo does not serve"), "{}", run.stdout);
    // Nobody can tell which namespaces there are.
    assert!(project.is_there("cache/todo/staging/dev-gone/x"));
}

#[test]
fn containers_of_checks_that_were_killed_go() {
    let project = Project::up();
    let own = |pid: u32| json!({ "todo.check": pid.to_string() });
    let containers = [
        container("todo-validate-1", "a", true, own(2_000_000_000)),
        container("todo-validate-2", "a", true, own(std::process::id())),
        container("theirs", "a", true, json!({ "other.check": "2000000000" })),
    ];
    project.hold(&[], &containers);
    let run = project.run(&["clean"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), ["docker rm --force --volumes todo-validate-1"]);
}

/// A daemon that the tests started, and that is as good as docker's.
struct Daemon(Child);

impl Daemon {
    fn start() -> Daemon {
        Daemon(Command::new("sleep").arg("300").spawn().unwrap())
    }

    fn made(&self, packages: &[&str]) -> String {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let began = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_string();
        json!({ "packages": packages, "daemon": { "pid": self.0.id(), "began": began } }).to_string()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A project of which bootstrap has made everything.
fn with_all_made(daemon: &Daemon) -> Project {
    let project = Project::up();
    let [backend_now, _] = &project.built()[..] else { panic!("two images") };
    let images = [
        image(backend_now, Some("backend"), 8),
        image("todo.local/node:111111111111", None, 1),
        image("todo.local/etcd:cluster", None, 1),
    ];
    let node = container("todo", "todo.local/node:111111111111", true, json!({ "name.minikube.sigs.k8s.io": "todo" }));
    let check = container("todo-validate-1", "x", true, json!({ "todo.check": "1" }));
    project.hold(&images, &[node, check]);
    project.write("state/todo/machine.json", &daemon.made(&["docker.io", "gone", "runc"]));
    project
        .answer("dpkg-query ", "printf 'installed docker.io\\ninstalled runc\\ninstalled bash\\nconfig-files gone\\n'");
    project.answer("apt-get --simulate remove ", "printf 'Remv docker.io [1]\\nRemv runc [1]\\n'");
    project.answer("apt-get remove ", "");
    project.answer("sudo --non-interactive apt-get remove ", "");
    project.answer("kill -TERM ", "kill -TERM \"$2\"");
    project.answer("sudo --non-interactive kill -TERM ", "kill -TERM \"$4\"");
    project.answer("docker system df ", "echo 'Build Cache|2.4GB'");
    project.write("cache/todo/go/helm-bbbbbbbbbbbb/helm", "x");
    project
}

fn sudo() -> &'static str {
    if rustix::process::geteuid().is_root() { "" } else { "sudo --non-interactive " }
}

fn expected_uninstallation(daemon: &Daemon) -> Vec<String> {
    vec![
        "minikube delete --profile todo".to_string(),
        "docker rm --force --volumes todo-validate-1".to_string(),
        "docker image rm backend:BACKEND_TAG".to_string(),
        "docker image rm todo.local/etcd:cluster".to_string(),
        "docker image rm todo.local/node:111111111111".to_string(),
        "docker builder prune --all --force".to_string(),
        format!("{}kill -TERM {}", sudo(), daemon.0.id()),
        format!("{}apt-get remove --yes --quiet docker.io runc", sudo()),
    ]
}

#[test]
#[cfg(target_os = "linux")]
fn uninstall_says_what_goes_and_waits_for_a_yes_of_a_persons() {
    let daemon = Daemon::start();
    // What CI=true agrees to elsewhere is no loss of data.
    let project = with_all_made(&daemon).env("CI", "true");
    let run = project.run(&["uninstall"]);
    run.assert_ended(3);
    assert_eq!(run.changes(), [""; 0]);
    assert!(project.is_there("cache/todo/go/helm-bbbbbbbbbbbb/helm") && project.is_there("state/todo/machine.json"));
    run.assert_says(&["10 things would be removed; nothing was", "Next: cargo xtask uninstall --yes"]);
    let said = run.stdout.replace(project.path("").to_str().unwrap(), "ROOT/");
    for line in [
        "the cluster todo, with the data of all its namespaces\n    minikube delete --profile todo\n",
        "the image todo.local/node:111111111111, 1.5 MB\n    docker image rm todo.local/node:111111111111\n",
        "docker's build cache, 2.4GB\n    docker builder prune --all --force\n",
        &format!("kill -TERM {}\n", daemon.0.id()),
        "the Debian packages docker.io, runc\n",
        "the cache folder ROOT/cache/todo, 0.0 MB\n    rm -r ROOT/cache/todo\n",
        "    rm -r ROOT/state/todo",
    ] {
        assert!(said.contains(line), "\"{line}\" is not in\n{said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn uninstall_takes_away_what_was_made_and_a_second_one_finds_nothing() {
    let daemon = Daemon::start();
    let project = with_all_made(&daemon);
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), expected_uninstallation(&daemon));
    assert!(!project.is_there("cache/todo") && !project.is_there("state/todo"));
    project.write("standin/listed", "");
    project.write("standin/containers", "");
    let again = project.run(&["uninstall", "--yes"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
    assert!(again.stdout.contains("Nothing of the project's"), "{}", again.stdout);
    assert!(!project.is_there("cache/todo") && !project.is_there("state/todo"));
}

#[test]
#[cfg(target_os = "linux")]
fn uninstall_leaves_a_daemon_on_which_others_run_and_what_it_needs() {
    let daemon = Daemon::start();
    let project = with_all_made(&daemon);
    let theirs = container("theirs", "todo.local/node:111111111111", true, json!({}));
    project.write("standin/containers", "c\n");
    project.write("standin/containers.json", &json!([theirs]).to_string());
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(0);
    let mut expected = expected_uninstallation(&daemon);
    expected.retain(|call| {
        ["minikube", "docker image rm b", "docker image rm todo.local/e"].iter().any(|one| call.starts_with(one))
    });
    assert_eq!(run.changes(), expected);
    assert!(project.is_there("cache/todo") && project.is_there("state/todo/machine.json"));
    for line in [
        "left alone: 1 image that containers of others are made from",
        "left alone: the docker daemon: 1 container of others run on it",
        "left alone: the Debian packages docker.io, runc: ",
        "left alone: docker's build cache, 2.4GB",
    ] {
        assert!(run.stdout.contains(line), "\"{line}\" is not in\n{}", run.stdout);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn uninstall_touches_neither_a_daemon_nor_packages_that_were_there_before() {
    let daemon = Daemon::start();
    let project = with_all_made(&daemon);
    fs::remove_file(project.path("state/todo/machine.json")).unwrap();
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(0);
    let mut expected = expected_uninstallation(&daemon);
    expected.truncate(5);
    assert_eq!(run.changes(), expected);
    assert!(!project.is_there("cache/todo") && !project.is_there("state/todo"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_cluster_that_cannot_be_removed_keeps_what_it_needs() {
    let daemon = Daemon::start();
    let project = with_all_made(&daemon);
    project.answer("minikube delete ", "echo 'it is stuck' >&2; exit 1");
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(1);
    run.assert_says(&["not all could be removed", "the cluster todo: ", "it is stuck", "Next: cargo xtask uninstall"]);
    assert_eq!(run.changes(), ["minikube delete --profile todo"]);
    assert!(project.is_there("cache/todo") && project.is_there("state/todo/machine.json"));
}

#[test]
#[cfg(target_os = "linux")]
fn an_image_that_cannot_be_removed_keeps_the_note_of_what_was_made() {
    let daemon = Daemon::start();
    let project = with_all_made(&daemon);
    let rules = project.read("standin/rules");
    project.write("standin/rules", "");
    project.answer("docker image rm todo.local/etcd:cluster", "echo 'no' >&2; exit 1");
    project.write("standin/rules", &(project.read("standin/rules") + &rules));
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(1);
    assert_eq!(run.changes(), expected_uninstallation(&daemon));
    run.assert_says(&["the image todo.local/etcd:cluster: ", "the state folder "]);
    assert!(!project.is_there("cache/todo") && project.is_there("state/todo/machine.json"));
}

#[test]
fn where_minikube_is_gone_docker_removes_the_cluster() {
    let project = Project::up();
    let node = container("todo", "x", true, json!({ "name.minikube.sigs.k8s.io": "todo" }));
    project.hold(&[], &[node]);
    fs::remove_file(project.path("bin/minikube")).unwrap();
    project.answer("docker network rm ", "echo 'Error: No such network: todo' >&2; exit 1");
    project.answer("docker volume rm ", "");
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(0);
    let expected = ["docker rm --force --volumes todo", "docker network rm todo", "docker volume rm todo"];
    assert_eq!(run.changes(), expected);
}

#[test]
fn where_docker_does_not_answer_the_keys_of_a_cluster_stay() {
    let project = Project::up();
    project.answer("docker info ", "echo '|||'");
    let run = project.run(&["uninstall", "--yes"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
    assert!(run.stdout.contains("left alone: the cluster todo with its keys"), "{}", run.stdout);
    assert!(!project.is_there("cache/todo") && project.is_there("state/todo/.minikube/profiles/todo/config.json"));
}

#[test]
#[cfg(target_os = "linux")]
fn bootstrap_notes_the_packages_that_it_installs_and_those_that_come_along() {
    let project = Project::new();
    project.answer("docker info ", "[ -e daemon ] && echo '27.0.0|runc|2|/' || echo '|||'");
    for prefix in ["", "sudo --non-interactive "] {
        project.answer(&format!("{prefix}dpkg --configure"), "");
        project.answer(&format!("{prefix}apt-get update"), "");
        project.answer(&format!("{prefix}apt-get install"), "cp ../state/todo/machine.json noted; : >daemon");
    }
    project.answer(
        "dpkg-query ",
        "echo installed before; [ ! -e daemon ] || printf 'installed no-such-program\\ninstalled dependency\\n'",
    );
    project.run(&["bootstrap", "--yes"]).assert_ended(0);
    let packages = |file: &str| serde_json::from_str::<Value>(&project.read(file)).unwrap()["packages"].clone();
    assert_eq!(packages("state/todo/machine.json"), json!(["dependency", "no-such-program"]));
    // An interruption while they are installed is no reason to forget them.
    assert_eq!(packages("standin/noted"), json!(["no-such-program"]));
}

#[test]
fn up_and_down_leave_nothing_behind() {
    let project = Project::new();
    let counted = || {
        let mut files: BTreeSet<PathBuf> = BTreeSet::new();
        for folder in ["cache", "state", "home"] {
            if project.is_there(folder) {
                files.extend(project.files(folder));
            }
        }
        // A record is kept of each run.
        files.retain(|file| !file.to_str().unwrap().contains("/records/"));
        files
    };
    project.run(&["up"]).assert_ended(0);
    project.run(&["down"]).assert_ended(0);
    let first = counted();
    project.run(&["up"]).assert_ended(0);
    assert!(counted().iter().any(|file| file.to_str().unwrap().contains("/staging/")));
    project.run(&["down"]).assert_ended(0);
    assert_eq!(counted(), first);
    let left = |file: &&PathBuf| {
        let text = file.to_str().unwrap();
        ["/staging/", ".partial", ".new"].iter().any(|part| text.contains(part))
    };
    assert_eq!(first.iter().find(left), None);
}
