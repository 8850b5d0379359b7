//! Smoke checks: each kind of step, what passes, what fails and with which words, and when each is asked.

use std::net::{Ipv4Addr, TcpListener};

use rustix::process::{Signal, kill_process};

use super::common::{Project, Run, eventually, runs, serve};
use super::{HELM, KUBECTL};

const SQL: &str = r#"service = "backend"
steps = [{ sql = "SELECT count(*) FROM tasks", equals = "2" }]"#;
const TCP: &str = r#"service = "backend"
steps = [{ tcp = true, send = "GET / HTTP/1.0\r\n\r\n", contains = "ready" }]"#;
const HELM_TEST: &str = r#"when = "changed"
steps = [{ helm_test = true }]"#;

/// A project that is up, whose only check is one with these lines.
fn with_check(lines: &str) -> Project {
    let project = Project::up();
    replace_check(&project, lines);
    project
}

fn replace_check(project: &Project, lines: &str) {
    let check = r#"service = "backend"
steps = [{ path = "/", status = 200, contains = "ready" }]"#;
    project.edit("xtask.toml", check, lines);
}

#[test]
fn smoke_checks_ask_the_published_node_port() {
    let project = Project::up();
    project.edit("xtask.toml", "service = \"backend\"", "service = \"frontend\"");
    serve(project.node_port, "ready");
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl port-forward"]), [""; 0]);
}

#[test]
fn a_smoke_check_through_a_forwarded_port_leaves_no_forward_behind() {
    let project = Project::up();
    let forward = r#"echo $$ >pids; echo "Forwarding from 127.0.0.1:$(cat forwarded-port) -> 8000"; exec sleep 60"#;
    project.answer("kubectl port-forward ", forward);
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    let expected = format!(
        "kubectl port-forward --address 127.0.0.1 --pod-running-timeout 2s service/todo-backend :8000 {KUBECTL}"
    );
    assert_eq!(run.calls_of(&["kubectl port-forward"]), [expected]);
    let pids = project.wait_for_lines("standin/pids", 1);
    assert!(eventually(|| !runs(&pids[0])), "{pids:?}");
}

#[test]
fn a_forward_is_closed_when_the_last_check_that_needs_it_has_ended() {
    let project = Project::up();
    let forward = r#"echo $$ >pids; echo "Forwarding from 127.0.0.1:$(cat forwarded-port) -> 8000"; exec sleep 60"#;
    project.answer("kubectl port-forward ", forward);
    // Of the pod itself this one asks, and goes on for as long as the port is forwarded.
    let sql = SQL.replace("\"2\"", "\"t\"");
    let other = format!("[[smoke]]\nname = \"rows\"\ndeadline_s = 5\n{sql}\n\n[deadlines]");
    project.edit("xtask.toml", "[deadlines]", &other);
    project
        .before("kubectl exec --stdin ", "until [ -s pids ] && ! kill -0 $(cat pids) 2>/dev/null; do sleep 0.05; done");
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    // It is remembered all the same: the next run opens it early.
    project.before("kubectl get nodes,", "until grep -q '^kubectl port-forward ' calls; do sleep 0.05; done");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl port-forward"]).len(), 1);
}

#[test]
fn no_more_ports_are_opened_early_than_checks_are_asked_at_once() {
    let project = Project::up();
    project.before("kubectl port-forward ", "echo $$ >>pids");
    let kept = project.path("cache/todo/answers/forwards.todo.todo");
    let lines: Vec<String> = (0..40).map(|number| format!("todo todo-{number} 8000")).collect();
    assert!(kept.exists(), "up keeps which ports it forwarded");
    std::fs::write(&kept, format!("forwards\n{}", lines.join("\n"))).unwrap();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    // And the one that is needed.
    assert_eq!(run.calls_of(&["kubectl port-forward"]).len(), 17);
    // Whether they lead to our node is asked once for those of a moment, not for each.
    let asked = run.calls_of(&["docker container inspect --format '{{json"]).len();
    assert!((1..17).contains(&asked), "{asked}");
    let pids = project.wait_for_lines("standin/pids", 17);
    assert!(eventually(|| pids.iter().all(|pid| !runs(pid))), "{pids:?}");
}

#[test]
fn up_again_opens_the_port_of_the_last_checks_while_it_looks_at_the_cluster() {
    let project = Project::up();
    // The look is not over before the port is being opened.
    project.before("kubectl get nodes,", "until grep -q '^kubectl port-forward ' calls; do sleep 0.05; done");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl port-forward"]).len(), 1);
    // One that ends before it is asked is opened again.
    project.before("kubectl port-forward ", "[ -e ended ] || { touch ended; exit 1; }");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl port-forward"]).len(), 2);
}

#[test]
fn a_port_that_was_opened_early_and_is_not_asked_for_is_closed() {
    let project = Project::up();
    project.edit("xtask.toml", "service = \"backend\"", "service = \"frontend\"");
    serve(project.node_port, "ready");
    project.before("kubectl port-forward ", "echo $$ >pids");
    let forwards = |run: &Run| run.calls_of(&["kubectl port-forward"]).len();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(forwards(&run), 1);
    let pids = project.wait_for_lines("standin/pids", 1);
    assert!(eventually(|| !runs(&pids[0])), "{pids:?}");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(forwards(&run), 0, "what nobody asked for is not opened again");
}

#[test]
fn a_wrong_answer_fails_the_check_that_asked() {
    let project = Project::up();
    project.edit("xtask.toml", "service = \"backend\"", "service = \"frontend\"");
    serve(project.node_port, "something else");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "✗ the service answers  ",
        &format!(
            "GET http://127.0.0.1:{}/: \"something else\" instead of an answer with \"ready\"\n",
            project.node_port
        ),
        "1 of 1 smoke checks fail",
        "the service answers, after ",
        &format!("asked     GET http://127.0.0.1:{}/\n", project.node_port),
        "expected  an answer with \"ready\"\n",
        "came      \"something else\"\n",
        "Next: cargo xtask logs frontend --profile dev",
    ]);
    assert!(!run.stdout.contains("http://"), "{}", run.stdout);
}

#[test]
fn each_check_that_passes_has_a_line_in_smoke_and_none_in_up() {
    let project = Project::up();
    let smoke = project.run(&["smoke"]);
    smoke.assert_ended(0);
    smoke.assert_says(&["✓ the service answers  ", "✓ smoke checks  ", "1 of 1 passed"]);
    let up = project.run(&["up"]);
    up.assert_ended(0);
    assert!(!up.stderr.contains("✓ the service answers"), "{}", up.stderr);
    project.run(&["up", "--verbose"]).assert_says(&["✓ the service answers  "]);
}

#[test]
fn all_checks_that_fail_are_reported_in_events_too() {
    let project = with_check("service = \"frontend\"\nsteps = [{ path = \"/\", status = 404 }]");
    project.edit("xtask.toml", "[deadlines]", &format!("[[smoke]]\nname = \"two rows\"\n{SQL}\n\n[deadlines]"));
    serve(project.node_port, "ready");
    let run = project.run(&["smoke", "--json"]);
    run.assert_ended(1);
    let parts = run.events("part_ended");
    let about = |name: &str| parts.iter().find(|part| part["part"] == name).unwrap();
    let url = format!("GET http://127.0.0.1:{}/", project.node_port);
    let expected = format!("{url}: status 200: ready instead of status 404");
    assert_eq!(
        (&about("the service answers")["good"], &about("the service answers")["detail"]),
        (&false.into(), &expected.into())
    );
    assert_eq!(
        about("two rows")["detail"],
        "SQL \"SELECT count(*) FROM tasks\" in service/todo-backend: \"t\" instead of \"2\""
    );
    let error = run.events("error")[0]["text"].to_string();
    assert!(
        ["2 of 2 smoke checks fail", "the service answers, after", "two rows, after"]
            .iter()
            .all(|text| error.contains(text)),
        "{error}"
    );
}

#[test]
fn a_refused_connection_is_asked_again_until_the_checks_own_deadline() {
    let project = with_check("service = \"frontend\"\ndeadline_s = 1\nsteps = [{ path = \"/\", status = 200 }]");
    let run = project.run(&["smoke"]);
    run.assert_ended(1);
    run.assert_says(&[" attempts:\n", "expected  an answer\n", "onnection refused"]);
}

#[test]
fn a_pod_that_comes_late_is_asked_again_through_a_new_forward() {
    let project = Project::up();
    let late =
        "[ -e asked ] || { touch asked; echo 'error: unable to forward port because pod is not running'; exit 1; }";
    project.before("kubectl port-forward ", late);
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl port-forward"]).len(), 2);
}

#[test]
fn a_query_goes_over_stdin_to_the_pod_and_may_only_read() {
    let project = with_check(SQL);
    project.answer("kubectl exec --stdin ", "printf %s \"$input\" >query; echo 2");
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    assert_eq!(project.read("standin/query"), "SELECT count(*) FROM tasks");
    let [call] = run.calls_of(&["kubectl exec"])[..] else { panic!("{:?}", run.calls) };
    let start = format!("kubectl exec --stdin service/todo-backend --pod-running-timeout 2s {KUBECTL} -- sh -c ");
    assert!(call.starts_with(&start) && call.contains("default_transaction_read_only=on"), "{call}");
    assert!(!call.contains("SELECT"), "{call}");
}

#[test]
fn a_query_that_is_refused_fails_at_once_and_a_database_that_starts_is_asked_again() {
    let project = with_check(SQL);
    let starting = "psql: error: FATAL:  the database system is starting up";
    project.answer(
        "kubectl exec --stdin ",
        &format!("[ ! -e asked ] || {{ echo 2; exit; }}; touch asked; echo '{starting}' >&2; exit 1"),
    );
    let run = project.run(&["smoke"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["kubectl exec"]).len(), 2);

    let project = with_check(SQL);
    project.answer("kubectl exec --stdin ", "echo 'ERROR:  relation \"tasks\" does not exist' >&2; exit 1");
    let run = project.run(&["smoke"]);
    run.assert_ended(1);
    run.assert_says(&[
        "asked     SQL \"SELECT count(*) FROM tasks\"",
        "came      ERROR: relation \"tasks\" does not exist",
    ]);
    assert_eq!(run.calls_of(&["kubectl exec"]).len(), 1);
}

#[test]
fn a_connection_brings_an_answer_or_is_reported() {
    let project = with_check(TCP);
    project.run(&["smoke"]).assert_ended(0);

    replace_tcp(&project, "contains = \"never\"");
    let wrong = project.run(&["smoke"]);
    wrong.assert_ended(1);
    wrong.assert_says(&[
        "asked     TCP 127.0.0.1:",
        ", backend\n",
        "expected  an answer with \"never\"",
        "came      \"HTTP/1.1 200 OK",
    ]);

    // What listens is a proxy, and nobody is behind it.
    replace_tcp(&project, "contains = \"ready\"");
    project.edit("xtask.toml", "service = \"backend\"\nsteps", "service = \"backend\"\ndeadline_s = 1\nsteps");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    project.write("standin/forwarded-port", &listener.local_addr().unwrap().port().to_string());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let closed = project.run(&["smoke"]);
    closed.assert_ended(1);
    closed.assert_says(&["expected  a connection that stays open", " attempts:"]);
}

fn replace_tcp(project: &Project, expected: &str) {
    let text = project.read("xtask.toml");
    let (start, rest) = text.split_once("contains = ").unwrap();
    let (_, end) = rest.split_once(" }]").unwrap();
    project.write("xtask.toml", &format!("{start}{expected} }}]{end}"));
}

#[test]
fn a_charts_tests_run_when_something_was_deployed() {
    let project = with_check(HELM_TEST);
    let unchanged = project.run(&["up"]);
    unchanged.assert_ended(0);
    assert_eq!(unchanged.calls_of(&["helm test"]), [""; 0]);
    unchanged.assert_says(&["0 of 1 passed, 1 for changes only"]);

    let expected = [format!("helm test todo --timeout 59s {HELM}")];
    let within_the_minute = |run: &Run| -> Vec<String> {
        run.calls_of(&["helm test"]).iter().map(|call| call.replace("60s", "59s")).collect()
    };
    let asked = project.run(&["smoke"]);
    asked.assert_ended(0);
    assert_eq!(within_the_minute(&asked), expected);

    project.write("services/backend/main.rs", "// changed\n");
    let changed = project.run(&["up"]);
    changed.assert_ended(0);
    assert_eq!(within_the_minute(&changed), expected);
}

#[test]
fn a_charts_test_that_fails_is_reported_with_its_log() {
    let project = with_check(HELM_TEST);
    let suite = "TEST SUITE:     todo-test\\nPhase:          Failed\\n";
    project.answer("helm test ", &format!("printf '{suite}'; echo 'Error: pod todo-test failed' >&2; exit 1"));
    project.answer("kubectl logs ", "echo 'http://todo-backend:8000/ready answered 503'");
    let run = project.run(&["smoke"]);
    run.assert_ended(1);
    run.assert_says(&[
        "asked     helm test todo, namespace todo\n",
        "expected  success\n",
        "came      todo-test did not succeed\n",
        "the last log lines of pod todo-test:\n",
        "http://todo-backend:8000/ready answered 503\n",
        "Next: cargo xtask status --profile dev",
    ]);
    // It is run again, as a pod that was just replaced may have answered.
    let log = format!("kubectl logs pod/todo-test --all-containers --tail 12 {KUBECTL}");
    assert_eq!(run.calls_of(&["kubectl logs"]), [log.as_str(); 3]);
}

#[test]
fn what_a_person_has_outside_the_cluster_is_left_out() {
    let project = Project::new();
    replace_check(&project, &SQL.replace("backend", "store"));
    project.edit("xtask.toml", "[deadlines]", &format!("[[smoke]]\nname = \"tests\"\n{HELM_TEST}\n\n[deadlines]"));
    project.write(
        "k8s/profiles/many.override.yaml",
        "secret:\n  values:\n    DATABASE_URL: postgres://me@db.example.org/todo\n",
    );
    let run = project.run(&["up", "--profile", "many"]);
    run.assert_ended(0);
    run.assert_says(&["1 of 2 passed, 1 left out"]);
    let tested: Vec<&str> = run.calls_of(&["helm test"]).iter().map(|call| call.split(' ').nth(2).unwrap()).collect();
    assert_eq!(tested, ["api", "tools", "web"]);
}

#[test]
fn without_anything_installed_smoke_says_what_to_do_first() {
    let project = Project::up();
    project.run(&["down"]).assert_ended(0);
    let run = project.run(&["smoke"]);
    run.assert_ended(3);
    run.assert_says(&["nothing of profile dev is installed", "Next: cargo xtask up --profile dev"]);
}

#[test]
fn an_interrupt_ends_checks_that_wait() {
    let project = with_check("service = \"frontend\"\nsteps = [{ path = \"/\", status = 200 }]");
    let run = project.run_while(&["smoke"], |xtask| {
        assert!(eventually(|| project.read("standin/calls").contains("get services")));
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(130);
}
