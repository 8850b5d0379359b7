//! Ways to a running service: an address, a forwarded port, a program in its container or beside it.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::{Signal, kill_process};

use super::KUBECTL;
use super::common::{Project, eventually};

/// A project that is up, with two pods of the backend, of which the older is ready.
fn with_pods() -> Project {
    let pod = |name: &str, created: u32, ready: bool| {
        let labels = r#"{"app.kubernetes.io/name":"backend","app.kubernetes.io/instance":"todo"}"#;
        let about =
            format!(r#"{{"name":"{name}","labels":{labels},"creationTimestamp":"2026-01-0{created}T00:00:00Z"}}"#);
        let status = format!(r#"{{"name":"backend","ready":{ready},"state":{{"running":{{}}}}}}"#);
        format!("{{\"metadata\":{about},\"status\":{{\"containerStatuses\":[{status}]}}}}\n")
    };
    let project = Project::up();
    project.write("standin/pods", &[pod("old", 1, true), pod("new", 2, false)].concat());
    project.answer("kubectl get pods ", "cat pods");
    project
}

#[test]
fn a_command_runs_in_the_ready_pod_and_its_exit_code_is_ours() {
    let project = with_pods();
    project.answer("kubectl exec ", "echo \"in $2\"; exit 7");
    let run = project.run(&["exec", "backend", "--", "ls", "-l"]);
    run.assert_ended(7);
    assert!(run.stdout.contains("in old"), "{}", run.stdout);
    assert_eq!(
        run.calls_of(&["kubectl exec"]),
        [format!("kubectl exec old --container backend --stdin {KUBECTL} -- ls -l")]
    );
}

#[test]
fn an_image_without_a_shell_is_named() {
    let project = with_pods();
    project.answer("kubectl exec ", "echo 'exec: \"sh\": executable file not found' >&2; exit 1");
    let run = project.run(&["exec", "backend"]);
    run.assert_ended(1);
    run.assert_says(&[
        "the image of backend has no shell",
        "Next: cargo xtask debug backend",
        "exec backend -- PROGRAM",
    ]);
}

#[test]
fn a_service_that_the_profile_does_not_run_is_named_with_those_it_does() {
    let project = Project::up();
    for arguments in [
        &["exec", "nope"][..],
        &["debug", "nope"],
        &["open", "nope"],
        &["forward", "nope"],
        &["psql", "--service", "nope"],
    ] {
        let run = project.run(arguments);
        run.assert_ended(2);
        run.assert_says(&["profile dev runs no service nope", "with backend, frontend"]);
    }
}

#[test]
fn psql_needs_to_know_which_service_is_the_database() {
    let project = with_pods();
    let run = project.run(&["psql"]);
    run.assert_ended(2);
    run.assert_says(&[
        "no smoke check of the profile asks a database in SQL",
        "Next: cargo xtask psql --service SERVICE",
    ]);
    project.answer("kubectl exec ", "exit 0");
    let run = project.run(&["psql", "--service", "backend", "--", "--command", "SELECT 1"]);
    run.assert_ended(0);
    let call = run.calls_of(&["kubectl exec"]).pop().unwrap();
    assert!(call.contains("exec psql ") && call.ends_with(" psql --command 'SELECT 1'"), "{call}");
}

/// A project whose backend plays the database, and what its container is asked.
fn with_database() -> Project {
    let project = with_pods();
    // `pg_dump` says what there is; everything else is written down.
    let answer = "case $* in *pg_dump*) \
                      [ ! -e gone ] || { echo half; echo 'pg_dump: error: gone' >&2; exit 1; }; \
                      echo \"rows $(cat statements 2>/dev/null | wc -l)\" ;; \
                  *--stdin*) printf '%s\\n' \"$input\" >>statements ;; esac";
    project.answer("kubectl exec ", answer);
    project.answer("kubectl rollout restart ", "echo restarted");
    project
}

#[test]
fn a_dump_is_a_new_file_of_ones_own() {
    let project = with_database();
    let run = project.run(&["db", "dump", "--service", "backend", "--to", "data.sql"]);
    run.assert_ended(0);
    assert!(run.stdout.contains("which only you can read"), "{}", run.stdout);
    assert_eq!(project.read("data.sql"), "rows 0\n");
    let mode = std::fs::metadata(project.path("data.sql")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = project.run(&["db", "dump", "--service", "backend", "--to", "data.sql"]);
    again.assert_ended(2);
    again.assert_says(&["it must be a new file"]);
    project.write("standin/gone", "");
    let failed = project.run(&["db", "dump", "--service", "backend", "--to", "other.sql"]);
    failed.assert_ended(1);
    failed.assert_says(&["pg_dump: error: gone"]);
    assert!(!project.path("other.sql").exists());
}

#[test]
fn a_restore_keeps_what_it_replaces_and_starts_the_services_anew() {
    let project = with_database();
    let missing = project.run(&["db", "restore", "data.sql", "--service", "backend"]);
    missing.assert_ended(1);
    missing.assert_says(&["cannot read data.sql"]);
    project.write("data.sql", "INSERT INTO t VALUES (1);\n");
    let run = project.run(&["db", "restore", "data.sql", "--service", "backend"]);
    run.assert_ended(0);
    let statements = project.read("standin/statements");
    assert!(statements.contains("DROP SCHEMA public CASCADE;"), "{statements}");
    assert!(statements.ends_with("CREATE SCHEMA public;\nINSERT INTO t VALUES (1);\n"), "{statements}");
    let order = run.calls_of(&["kubectl exec", "kubectl rollout restart"]);
    let what = |call: &&str| {
        ["pg_dump", "--single-transaction", "rollout restart"].into_iter().find(|word| call.contains(word))
    };
    let steps: Vec<&str> = order.iter().filter_map(what).collect();
    assert_eq!(steps, ["pg_dump", "--single-transaction", "rollout restart"]);
    assert!(order.last().unwrap().contains("name!=backend"), "{order:?}");
    let kept = run.stderr.lines().find_map(|line| line.split_once("is kept in ")).unwrap().1;
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "rows 0\n");
    // With the data goes what was kept of it.
    project.run(&["down"]).assert_ended(0);
    assert!(std::path::Path::new(kept).exists());
    project.run(&["up"]).assert_ended(0);
    project.run(&["down", "--purge"]).assert_ended(0);
    assert!(!std::path::Path::new(kept).exists());
}

#[test]
fn a_seed_is_a_file_that_the_project_names() {
    let project = with_database();
    let none = project.run(&["db", "seed", "--service", "backend"]);
    none.assert_ended(2);
    none.assert_says(&["the project names no seed", "Next: set seed in [database]"]);
    project.write("seed.sql", "INSERT INTO t VALUES (2);\n");
    project.edit("xtask.toml", "[services.backend]", "[database]\nseed = \"seed.sql\"\n\n[services.backend]");
    project.run(&["db", "seed", "--service", "backend"]).assert_ended(0);
    assert_eq!(project.read("standin/statements"), "INSERT INTO t VALUES (2);\n");
}

#[test]
fn a_service_with_a_node_port_is_opened_and_another_is_to_be_forwarded() {
    let project = Project::up();
    let run = project.run(&["open"]);
    run.assert_ended(0);
    assert_eq!(run.stdout.trim(), format!("http://127.0.0.1:{}", project.node_port));
    let run = project.run(&["open", "backend"]);
    run.assert_ended(1);
    run.assert_says(&["backend has no port on this machine", "Next: cargo xtask forward backend"]);
}

#[test]
fn a_forward_that_ends_with_its_pod_is_opened_again() {
    let project = Project::up();
    project.answer(
        "kubectl port-forward ",
        "echo \"$*\" >>forwards; [ $(wc -l <forwards) -gt 1 ] || exit 1; exec sleep 60",
    );
    let run = project.run_while(&["forward", "backend", "--port", "18099"], |xtask| {
        assert!(eventually(
            || project.path("standin/forwards").exists() && project.read("standin/forwards").lines().count() == 2
        ));
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(0);
    run.assert_says(&["backend is at 127.0.0.1:18099", "the forward to backend ended; opening it again"]);
    let calls = project.read("standin/forwards");
    assert!(calls.lines().all(|call| call.contains("service/todo-backend 18099:8000")), "{calls}");
}

/// A project that is up with one pod of the frontend, which is based on Debian and runs on the node `todo`. Kubectl keeps
/// what it adds to the pod in the file `added`, and `started` is the state of that.
fn with_debuggable_pod(started: &str) -> Project {
    let project = Project::new();
    let port = format!("node_port = {}\n", project.node_port);
    project.edit("xtask.toml", &format!("{port}base = \"rust\""), &format!("{port}base = \"debian\""));
    project.run(&["up"]).assert_ended(0);
    let image =
        project.read("standin/node-images").lines().find(|line| line.starts_with("frontend:")).unwrap().to_string();
    let image = image.split_once(' ').unwrap().0;
    let labels = r#"{"app.kubernetes.io/name":"frontend","app.kubernetes.io/instance":"todo"}"#;
    let pod = format!(
        r#"{{"metadata":{{"name":"one","labels":{labels}}},"spec":{{"nodeName":"todo","containers":[{{"name":"frontend",
        "image":"{image}"}}],"ephemeralContainers":[SPEC]}},"status":{{"containerStatuses":[{{"name":"frontend",
        "state":{{"running":{{}}}}}}],"ephemeralContainerStatuses":[STATUS]}}}}"#
    );
    project.write("standin/pod", &pod);
    project.write("standin/added", "");
    project.write("standin/started", started);
    project.answer(
        "kubectl get pod",
        r#"spec= status=
        while read -r name image target; do
            spec="$spec,{\"name\":\"$name\",\"image\":\"$image\",\"targetContainerName\":\"$target\"}"
            status="$status,{\"name\":\"$name\",\"state\":$(cat started)}"
        done <added
        sed "s|SPEC|${spec#,}|; s|STATUS|${status#,}|" pod"#,
    );
    project.answer("kubectl debug ", r#"echo "$5 $7 ${11}" >>added"#);
    project.answer("kubectl exec ", r#"echo "in $4"; exit 7"#);
    project
}

#[test]
fn a_shell_opens_beside_a_container_and_its_exit_code_is_ours() {
    let project = with_debuggable_pod(r#"{"running":{}}"#);
    let run = project.run(&["debug", "frontend"]);
    run.assert_ended(7);
    assert!(run.stdout.contains("in debug-1"), "{}", run.stdout);
    run.assert_says(&["a shell of frontend:", " beside frontend, whose files are in /proc/1/root"]);
    let debug = format!(
        "kubectl debug one --quiet --container debug-1 --image frontend:FRONTEND_TAG --image-pull-policy Never \
         --target frontend --profile=restricted {KUBECTL} -- sh -c 'exec sleep 28800'"
    );
    let exec = format!("kubectl exec one --container debug-1 --stdin {KUBECTL} -- sh");
    assert_eq!(run.calls_of(&["kubectl debug", "kubectl exec"]), [debug.as_str(), &exec]);

    // The container goes on, and the next shell is one of the same.
    let run = project.run(&["debug", "frontend"]);
    run.assert_ended(7);
    assert_eq!(run.calls_of(&["kubectl debug", "kubectl exec"]), [exec.as_str()]);
    // One of another image has a container of its own.
    project.write("standin/node-images", &(project.read("standin/node-images") + "busybox:latest sha256:1\n"));
    let run = project.run(&["debug", "frontend", "--image", "busybox"]);
    run.assert_ended(7);
    assert!(run.calls_of(&["kubectl debug"])[0].contains("--container debug-2 --image busybox "), "{:?}", run.calls);
}

#[test]
fn a_debugging_container_that_does_not_start_is_reported_with_the_reason() {
    let state = r#"{"terminated":{"reason":"StartError","message":"exec: sh: executable file not found"}}"#;
    let run = with_debuggable_pod(state).run(&["debug", "frontend"]);
    run.assert_ended(1);
    run.assert_says(&[
        "container debug-1 of pod one cannot start from image ",
        "StartError: exec: sh: executable file not found",
        "Next: cargo xtask debug frontend --image IMAGE, with one that has sh and sleep",
    ]);
    assert_eq!(run.calls_of(&["kubectl exec"]), [""; 0]);
}

#[test]
fn an_image_that_the_node_lacks_gets_into_no_pod() {
    let project = with_debuggable_pod(r#"{"running":{}}"#);
    let run = project.run(&["debug", "frontend", "--image", "busybox:1.37"]);
    run.assert_ended(3);
    run.assert_says(&[
        "node todo has no image busybox:1.37",
        "Next: docker save busybox:1.37 | docker exec --interactive todo ctr --namespace k8s.io images import -, after docker \
         pull busybox:1.37",
    ]);
    assert_eq!(run.calls_of(&["kubectl debug", "kubectl exec"]), [""; 0]);
}

#[test]
fn without_an_image_that_has_a_shell_one_is_asked_for() {
    let run = with_pods().run(&["debug", "backend"]);
    run.assert_ended(2);
    run.assert_says(&[
        "no service of profile dev with the base \"debian\" is deployed",
        "Next: cargo xtask debug backend --image IMAGE",
    ]);
    assert_eq!(run.calls_of(&["kubectl debug"]), [""; 0]);
}

#[test]
fn nothing_is_debugged_where_no_container_runs() {
    let run = Project::up().run(&["debug", "backend"]);
    run.assert_ended(1);
    run.assert_says(&["no container of backend runs", "Next: cargo xtask status"]);
    assert_eq!(run.calls_of(&["kubectl debug"]), [""; 0]);
}
