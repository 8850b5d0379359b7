//! Ways to a running service: an address, a forwarded port, a program in its container.

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
    run.assert_says(&["the image of backend has no shell", "Next: cargo xtask exec backend -- PROGRAM"]);
}

#[test]
fn a_service_that_the_profile_does_not_run_is_named_with_those_it_does() {
    let project = Project::up();
    for arguments in [&["exec", "nope"][..], &["open", "nope"], &["forward", "nope"], &["psql", "--service", "nope"]] {
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
