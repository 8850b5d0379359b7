//! What a release can be bet on: signals in every stage, releases that were left pending, two runs at once, and clusters
//! that are not ours.

use std::fs::File;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::beginnings;
use super::common::{Project, Run, eventually, for_each_case, runs, serve};

const HELM: &str = "--kubeconfig STATE/kubeconfig --kube-context todo --namespace todo";
const REVISIONS: &str = "standin/namespaces/todo/releases/todo/revisions";
/// Each stage of `up` from nothing on: the beginning of a call that is made in it.
const STAGES: [&str; 9] = [
    "docker build --help",
    "minikube start --profile",
    "docker build --progress",
    "docker exec --interactive",
    "kubectl create --filename",
    "helm template ",
    "helm upgrade todo ",
    "kubectl get pods,",
    "kubectl port-forward ",
];
/// Lets the first call hang, as one process that a signal ends.
const HANGS_ONCE: &str = "[ -e pids ] || { echo $$ >pids; exec sleep 120; }";

/// A project of which one stage hangs the first time.
fn hanging(stage: &str) -> Project {
    let project = Project::new();
    match stage {
        "helm upgrade todo " => project.write("standin/held", "upgrade todo\n"),
        // Nothing but a rollout that is not done asks for pods.
        "kubectl get pods," => project.write("standin/slow", "backend\n"),
        _ => {}
    }
    if stage != "helm upgrade todo " {
        project.before(stage, HANGS_ONCE);
    }
    project
}

/// Runs `up`, and sends a signal once the stage hangs. Nothing that it has started lives on.
fn stopped(project: &Project, signals: &[Signal]) -> Run {
    let run = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 1);
        for signal in signals {
            kill_process(xtask, *signal).unwrap();
        }
    });
    let pids = project.wait_for_lines("standin/pids", 1);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?} live on");
    project.write("standin/held", "");
    project.write("standin/slow", "");
    run
}

#[track_caller]
fn assert_nothing_pends(project: &Project) {
    let revisions = std::fs::read_to_string(project.path(REVISIONS)).unwrap_or_default();
    assert!(!revisions.lines().last().unwrap_or_default().contains("pending"), "{revisions}");
}

/// What is reported of the releases, each with its verb.
fn deeds(run: &Run) -> Vec<String> {
    beginnings(&run.calls_of(&["helm upgrade todo", "helm rollback", "helm uninstall"]))
}

#[test]
fn an_interrupt_in_any_stage_ends_the_run_and_the_next_one_succeeds() {
    for_each_case(&STAGES, |stage| {
        let project = hanging(stage);
        let run = stopped(&project, &[Signal::INT]);
        run.assert_ended(130);
        run.assert_says(&["interrupted"]);
        assert_nothing_pends(&project);
        let next = project.run(&["up"]);
        assert_eq!(next.code, Some(0), "after {stage}: {}", next.stderr);
    });
}

#[test]
fn a_terminated_run_ends_as_an_interrupted_one() {
    for stage in ["docker build --progress", "helm upgrade todo "] {
        let project = hanging(stage);
        stopped(&project, &[Signal::TERM]).assert_ended(130);
        assert_nothing_pends(&project);
    }
}

#[test]
fn being_interrupted_again_changes_nothing() {
    let project = hanging("helm upgrade todo ");
    let run = stopped(&project, &[Signal::INT, Signal::INT, Signal::TERM]);
    run.assert_ended(130);
    assert!(project.path(REVISIONS).exists(), "{}\n{}", run.stderr, run.calls.join("\n"));
    assert_eq!(project.read(REVISIONS), "1 failed\n");
}

#[test]
fn after_a_run_that_was_killed_in_any_stage_the_next_one_succeeds() {
    for_each_case(&STAGES, |stage| {
        let project = hanging(stage);
        assert_eq!(stopped(&project, &[Signal::KILL]).code, None);
        let next = project.run(&["up"]);
        assert_eq!(next.code, Some(0), "after {stage}: {}", next.stderr);
        let again = project.run(&["up"]);
        assert_eq!((again.code, again.changes()), (Some(0), vec![]), "after {stage}");
    });
}

#[test]
fn what_a_helm_leaves_pending_at_an_interrupt_is_mended_by_the_run_itself() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/held", "upgrade todo\n");
    // A helm that dies of the signal, and writes nothing any more.
    project.before("helm upgrade todo ", "manifest \"$3\" | record todo pending-upgrade; hold 'upgrade todo'");
    let run = stopped(&project, &[Signal::INT]);
    run.assert_ended(130);
    run.assert_says(&["todo is stuck in pending-upgrade at revision 2: rolling back to revision 1 first"]);
    assert_eq!(project.read(REVISIONS), "1 superseded\n2 pending-upgrade\n3 deployed\n");
}

#[test]
fn what_is_stuck_goes_back_to_what_served_before_it_is_upgraded() {
    for (revisions, back) in [
        ("1 superseded\n2 deployed\n3 failed\n4 pending-upgrade\n", Some(2)),
        ("1 superseded\n2 deployed\n3 pending-rollback\n", Some(2)),
        // Helm was killed when it had marked the old one and not the new one.
        ("1 superseded\n2 superseded\n3 pending-upgrade\n", Some(2)),
        ("1 pending-install\n", None),
        ("1 failed\n2 pending-upgrade\n", None),
        ("1 deployed\n2 uninstalling\n", None),
    ] {
        let project = Project::up();
        let folder = "standin/namespaces/todo/releases/todo";
        for number in 2..=revisions.lines().count() {
            std::fs::copy(project.path(&format!("{folder}/1")), project.path(&format!("{folder}/{number}"))).unwrap();
        }
        project.write(REVISIONS, revisions);
        let run = project.run(&["up"]);
        assert_eq!(run.code, Some(0), "{revisions}: {}", run.stderr);
        match back {
            Some(number) => {
                let message = format!("helm rollback todo {number} --history-max 10 --timeout 60s {HELM}");
                assert_eq!(run.changes()[0], message, "{revisions}");
                assert_eq!(deeds(&run), ["helm rollback todo", "helm upgrade todo"], "{revisions}");
            }
            None => assert_eq!(deeds(&run), ["helm uninstall todo", "helm upgrade todo"], "{revisions}"),
        }
    }
}

#[test]
fn an_upgrade_that_fails_after_a_mending_goes_back_to_what_served() {
    let project = Project::up();
    let folder = "standin/namespaces/todo/releases/todo";
    std::fs::copy(project.path(&format!("{folder}/1")), project.path(&format!("{folder}/2"))).unwrap();
    project.write(REVISIONS, "1 superseded\n2 pending-upgrade\n");
    project.write("standin/failing", "backend\n");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["todo is back at revision 1"]);
    assert_eq!(deeds(&run), ["helm rollback todo", "helm upgrade todo", "helm rollback todo"]);
}

/// A helm that somebody else has started, and that goes on until it is held no more.
fn foreign_helm(project: &Project) -> std::process::Child {
    project.write("standin/held", "upgrade todo\n");
    let helm = Command::new(project.path("bin/helm"))
        .args(["upgrade", "todo", project.path("chart").to_str().unwrap(), "--namespace", "todo"])
        .args(["--kubeconfig", project.path("state/todo/kubeconfig").to_str().unwrap()])
        .args(["--values", project.path("cache/todo/staging/dev-todo/todo/values.json").to_str().unwrap()])
        .env("STANDIN", project.path("standin"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    project.wait_for_lines("standin/pids", 1);
    helm
}

#[test]
fn a_helm_that_is_at_work_is_waited_for_and_not_mended_under_its_feet() {
    let project = Project::up();
    let mut helm = foreign_helm(&project);
    let message = format!("process {} is a helm process working on release todo", helm.id());
    let run = project.run_while(&["up"], |_| {
        let waits = || project.texts("state").iter().any(|text| text.contains(&message));
        assert!(eventually(waits), "nobody waits for {message}");
        project.write("standin/held", "");
    });
    helm.wait().unwrap();
    run.assert_ended(0);
    run.assert_says(&[&message, "waiting up to 60 s"]);
    assert_eq!(deeds(&run), ["helm upgrade todo"]);
}

#[test]
fn what_only_shows_never_waits_for_a_run_and_says_that_there_is_one() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/held", "upgrade todo\n");
    let up = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 1);
        let holder =
            format!("another run is at work on todo, and may change what is shown: `cargo xtask up`, process {xtask}");
        for command in ["plan", "status", "history", "logs"] {
            let run = project.run(&[command]);
            assert!(!run.stderr.contains("waiting for"), "{command}: {}", run.stderr);
            run.assert_says(&[&holder]);
        }
        for command in ["render", "config"] {
            project.run(&[command]).assert_ended(0);
        }
        assert!(project.files("cache/todo/apart").is_empty());
        project.write("standin/held", "");
    });
    up.assert_ended(0);
}

#[test]
fn a_helm_that_does_not_end_is_reported_and_left_alone() {
    let project = Project::up();
    project.edit("xtask.toml", "helm_s = 60", "helm_s = 1");
    let mut helm = foreign_helm(&project);
    for command in ["up", "rollback", "down"] {
        let run = project.run(&[command]);
        run.assert_ended(4);
        run.assert_says(&[&format!("process {} is a helm process working on release todo", helm.id()), "kill -INT"]);
        assert_eq!(run.changes(), [""; 0]);
    }
    project.write("standin/held", "");
    helm.wait().unwrap();
}

#[test]
fn what_helm_refuses_as_another_is_at_work_does_not_go_back() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    let busy = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress";
    project.answer("helm upgrade todo ", &format!("echo '{busy}' >&2; exit 1"));
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[busy]);
    assert_eq!(deeds(&run), ["helm upgrade todo"]);
}

/// Runs a command, interrupts it once helm is held in the middle of something, and lets helm go on then.
fn interrupted_in(project: &Project, held: &str, arguments: &[&str]) -> Run {
    project.write("standin/held", held);
    project.run_while(arguments, |xtask| {
        project.wait_for_lines("standin/pids", 1);
        kill_process(xtask, Signal::INT).unwrap();
        let heard = || project.texts("state").iter().any(|text| text.contains("interrupted: waiting"));
        assert!(eventually(heard), "the signal was not heard");
        project.write("standin/held", "");
    })
}

#[test]
fn an_interrupt_while_a_failed_upgrade_goes_back_lets_it_arrive_and_tells_the_failure_too() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/failing", "backend\n");
    let run = interrupted_in(&project, "rollback todo\n", &["up"]);
    run.assert_ended(130);
    run.assert_says(&["backend failed: timed out", "todo is back at revision 1", "interrupted"]);
    assert_eq!(project.read(REVISIONS), "1 superseded\n2 superseded\n3 deployed\n");
}

#[test]
fn an_interrupted_rollback_leaves_nothing_pending_and_says_what_goes_on() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.run(&["up"]).assert_ended(0);
    let run = interrupted_in(&project, "rollback todo\n", &["rollback"]);
    run.assert_ended(130);
    run.assert_says(&["interrupted, with todo to revision 1 on the way", "Next: cargo xtask status"]);
    assert!(!run.stderr.contains("run the same command again"), "{}", run.stderr);
    assert_eq!(deeds(&run), ["helm rollback todo"]);
    assert_eq!(project.read(REVISIONS), "1 superseded\n2 superseded\n3 deployed\n");
}

#[test]
fn an_interrupted_down_leaves_no_half_of_a_release() {
    let project = Project::up();
    let run = interrupted_in(&project, "uninstall todo\n", &["down", "--purge"]);
    run.assert_ended(130);
    assert!(!project.path(REVISIONS).exists());
    // The data was still to go.
    assert!(project.path("standin/secrets/todo/todo-secrets").exists());
    project.run(&["down", "--purge"]).assert_ended(0);
    assert!(!project.path("standin/secrets/todo").exists());
}

#[test]
fn what_went_back_and_does_not_serve_is_not_called_well() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/broken", "backend\n");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["todo is back at revision 1", "whether it serves is unknown: backend failed: timed out"]);
}

#[test]
fn a_rollback_that_fails_is_taken_back() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.run(&["up"]).assert_ended(0);
    project.before("helm rollback todo 1 ", "record todo failed <\"$here/releases/todo/1\"; exit 1");
    let run = project.run(&["rollback"]);
    run.assert_ended(1);
    let back = run.calls_of(&["helm rollback todo 2 "]);
    assert_eq!((back.len(), deeds(&run).len()), (1, 2), "{:?}", run.calls);
}

#[test]
fn of_two_runs_at_once_the_second_waits_and_says_for_whom() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/held", "upgrade todo\n");
    let first = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 1);
        let message =
            format!("waiting for another run on todo: `cargo xtask up`, process {}, since 2", xtask.as_raw_pid());
        let second = std::thread::scope(|threads| {
            threads.spawn(|| {
                let waits = || project.texts("state").iter().any(|text| text.contains(&message));
                assert!(eventually(waits), "nobody says {message}");
                project.write("standin/held", "");
            });
            project.run(&["up"])
        });
        second.assert_ended(0);
        second.assert_says(&[&message, "waiting up to", "nothing to deploy"]);
    });
    first.assert_ended(0);
}

#[test]
fn a_lock_that_is_not_given_back_is_reported_with_its_holder() {
    let project = Project::up();
    project.edit("xtask.toml", "bootstrap_s = 60", "bootstrap_s = 1");
    let path = project.path("state/todo/bootstrap.lock");
    let holder = serde_json::json!({ "pid": 4242, "command": "cargo xtask up", "since": "2026-01-31T12:00:00Z" });
    std::fs::write(&path, holder.to_string()).unwrap();
    let file = File::open(&path).unwrap();
    file.lock().unwrap();
    let run = project.run(&["up"]);
    run.assert_ended(4);
    run.assert_says(&[
        "another run on bootstrap has not ended: `cargo xtask up`, process 4242, since 2026-01-31T12:00:00Z, ",
        "waited 1 s for it",
        "Next: kill -INT 4242, then run the same command again",
    ]);
    assert_eq!(run.changes(), [""; 0]);
    drop(file);
    project.run(&["up"]).assert_ended(0);
    let holder: Value = serde_json::from_str(&project.read("state/todo/bootstrap.lock")).unwrap();
    assert_eq!(holder["command"], "cargo xtask up");
}

#[test]
fn the_cluster_is_not_removed_while_a_run_works_on_it() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.write("standin/held", "upgrade todo\n");
    let run = project.run_while(&["up"], |_| {
        project.wait_for_lines("standin/pids", 1);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let waits =
                    || project.texts("state").iter().any(|text| text.contains("waiting for another run on todo"));
                assert!(eventually(waits), "nobody waits");
                project.write("standin/held", "");
            });
            project.run(&["down", "--cluster"]).assert_ended(0);
        });
    });
    run.assert_ended(0);
}

const KUBECONFIG: &str = "state/todo/kubeconfig";

#[test]
fn nothing_is_changed_in_a_cluster_that_is_not_ours() {
    for (from, to, says) in [
        (
            "https://192.168.49.2:8443",
            "https://prod.example.org:6443",
            "leads to https://prod.example.org:6443, and that node answers at https://192.168.49.2:8443",
        ),
        (".minikube/ca.crt", "theirs.crt", "trusts another authority than"),
        ("contexts: [{name: todo", "contexts: [{name: prod", "context todo of "),
        (
            "clusters: [{name: todo, cluster: {",
            "clusters: [{name: todo, cluster: {insecure-skip-tls-verify: true, ",
            "has insecure-skip-tls-verify",
        ),
    ] {
        let project = Project::up();
        project.write("services/backend/main.rs", "// second\n");
        project.run(&["up"]).assert_ended(0);
        project.edit(KUBECONFIG, from, to);
        project.write("chart/values.yaml", "services: {}\nother: 1\n");
        for (command, code) in
            [(&["up"][..], 3), (&["down"], 3), (&["down", "--purge"], 3), (&["rollback"], 3), (&["smoke"], 1)]
        {
            let run = project.run(command);
            run.assert_ended(code);
            run.assert_says(&["refusing to change a cluster that this tool did not create", says, "Next: rm "]);
            assert_eq!(run.changes(), [""; 0]);
            assert_eq!(run.calls_of(&["kubectl port-forward"]), [""; 0]);
        }
        // What is advised helps.
        std::fs::remove_file(project.path(KUBECONFIG)).unwrap();
        let mended = project.run(&["up"]);
        mended.assert_ended(0);
        assert_eq!(mended.calls_of(&["minikube"])[2..], ["minikube update-context --profile todo"]);
    }
}

#[test]
fn a_context_that_is_edited_during_a_run_is_seen_before_the_next_change() {
    let project = Project::new();
    let edit = "sed 's|https://[^\"]*|https://prod.example.org|' \"$KUBECONFIG\" >edited; cp edited \"$KUBECONFIG\"";
    project.before("docker exec --interactive", edit);
    let run = project.run(&["up"]);
    run.assert_ended(3);
    run.assert_says(&["leads to https://prod.example.org"]);
    assert_eq!(run.calls_of(&["kubectl create --filename", "helm upgrade todo"]), [""; 0]);
}

#[test]
fn what_is_chosen_elsewhere_makes_no_difference() {
    let project = Project::up().env("KUBECONFIG", "/theirs").env("HELM_KUBECONTEXT", "theirs");
    project.edit(KUBECONFIG, "current-context: todo", "current-context: prod");
    project.write("chart/values.yaml", "services: {}\nother: 1\n");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(deeds(&run), ["helm upgrade todo"]);
    assert!(run.changes().iter().all(|call| call.contains(HELM)), "{:?}", run.changes());
}

#[test]
fn up_with_nothing_changed_asks_for_the_node_no_oftener_than_it_forwards_ports() {
    let project = Project::up();
    project.edit("xtask.toml", "service = \"backend\"", "service = \"frontend\"");
    serve(project.node_port, "ready");
    // The first run opens the port of the checks before, which nobody asks for any more.
    project.run(&["up"]).assert_ended(0);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker container inspect --format '{{json"]), [""; 0]);
}

#[test]
fn a_node_of_the_same_name_that_is_anothers_is_left_alone() {
    let project = Project::up();
    project.write("standin/owner", "/home/other/.minikube\n");
    let refused = |run: Run| {
        run.assert_ended(3);
        run.assert_says(&["the node todo belongs to /home/other/.minikube, and this run to /", "another cluster.name"]);
        assert_eq!(run.changes(), [""; 0]);
    };
    refused(project.run(&["down", "--cluster"]));
    // What an interrupted making has left is nobody's.
    project.write("standin/owner", "");
    project.write("state/todo/todo.unfinished", "");
    project.run(&["up"]).assert_ended(0);
    project.write("standin/owner", "/home/other/.minikube\n");
    // Without keys of our own, and with keys that open nothing.
    let profiles = project.path("state/todo/.minikube/profiles");
    std::fs::rename(&profiles, project.path("profiles")).unwrap();
    refused(project.run(&["up", "--yes"]));
    std::fs::rename(project.path("profiles"), &profiles).unwrap();
    std::fs::remove_file(project.path(KUBECONFIG)).unwrap();
    refused(project.run(&["up", "--yes"]));
}
