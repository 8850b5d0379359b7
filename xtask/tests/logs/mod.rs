//! Logs: whose are printed, in which order, and what becomes of them when a container restarts or a pod is replaced.

use rustix::process::{Pid, Signal, kill_process};

use super::KUBECTL;
use super::common::{Project, Run, eventually, runs};

/// A log is a file: `POD` holds what its container says, `POD.previous` what the one before has said. What is followed
/// goes on until there is a file `POD.over`. The arguments are noted as ever, and the process once it has printed what is
/// there.
const LOGS: &str = r#"
file=$3 follow= noted=
case $call in *" --previous "*) file=$3.previous ;; esac
case $call in *" --follow "*) follow=$3.over ;; esac
[ -e "$file" ] || { echo "Error from server: no log of $file" >&2; exit 1; }
printed=0
while :; do
    over=; [ -z "$follow" ] || [ -e "$follow" ] && over=1
    lines=$(wc -l <"$file")
    [ "$lines" -le "$printed" ] || sed -n "$((printed + 1)),${lines}p" "$file"
    printed=$lines
    [ -n "$noted" ] || echo $$ >>pids
    noted=1
    [ -z "$over" ] || exit 0
    sleep 0.1
done"#;

/// A project that is up, whose pods are in the file `pods` and their logs in files of their names.
fn with_pods(pods: &[String]) -> Project {
    let project = Project::up();
    set_pods(&project, pods);
    project.answer("kubectl get pods ", "cat pods");
    project.answer("kubectl logs ", &LOGS.replace("$3", "$2"));
    project
}

fn set_pods(project: &Project, pods: &[String]) {
    // In one step, as it is read meanwhile.
    project.write("standin/pods.new", &pods.concat());
    std::fs::rename(project.path("standin/pods.new"), project.path("standin/pods")).unwrap();
}

fn pod(service: &str, name: &str, restarts: u32, state: &str) -> String {
    let labels = format!(r#"{{"app.kubernetes.io/name":"{service}","app.kubernetes.io/instance":"todo"}}"#);
    let status =
        format!(r#"{{"name":"server","restartCount":{restarts},"state":{{"{state}":{{}}}},"lastState":{{}}}}"#);
    let about = format!(r#"{{"name":"{name}","uid":"{name}","labels":{labels}}}"#);
    format!("{{\"metadata\":{about},\"status\":{{\"containerStatuses\":[{status}]}}}}\n")
}

/// A line of a log, so many seconds after noon.
fn line(second: u32, text: &str) -> String {
    format!("2026-01-31T12:00:{second:02}.000000000Z {text}\n")
}

/// Runs `logs --follow`, and ends it as Ctrl-C does once `meanwhile` is through.
fn follow(project: &Project, arguments: &[&str], meanwhile: impl FnOnce()) -> Run {
    let arguments: Vec<&str> = ["logs", "--follow"].iter().chain(arguments).copied().collect();
    project.run_while(&arguments, |xtask: Pid| {
        meanwhile();
        kill_process(xtask, Signal::INT).unwrap();
    })
}

/// Waits until so many calls have been given that hold a text.
fn wait_for_calls(project: &Project, text: &str, count: usize) {
    let given = || project.read("standin/calls").lines().filter(|call| call.contains(text)).count();
    assert!(
        eventually(|| given() >= count),
        "fewer than {count} calls with {text}:\n{}",
        project.read("standin/calls")
    );
}

/// Waits until the pods have been read so many times more: what the streams have brought by then is printed.
fn wait_for_looks(project: &Project, count: usize) {
    let looked = project.read("standin/calls").matches("get pods").count();
    wait_for_calls(project, "get pods", looked + count);
}

#[test]
fn logs_are_reported_in_the_order_of_their_times_with_service_and_pod() {
    let project =
        with_pods(&[pod("backend", "backend-7d8f-aaaaa", 0, "running"), pod("frontend", "frontend-1", 0, "running")]);
    project.write("standin/backend-7d8f-aaaaa", &(line(1, "first") + &line(3, "third")));
    project.write("standin/frontend-1", &line(2, "second"));
    let run = project.run(&["logs"]);
    run.assert_ended(0);
    assert_eq!(run.stdout, "backend aaaaa  | first\nfrontend 1     | second\nbackend aaaaa  | third\n");
    let selector = "'--selector=app.kubernetes.io/instance in (todo),app.kubernetes.io/component!=test'";
    let pods = format!("kubectl get pods {selector} --output json --ignore-not-found {KUBECTL}");
    assert_eq!(run.calls_of(&["kubectl get pods"]), [pods]);
    let log = "kubectl logs frontend-1 --container server --timestamps --tail=100";
    assert_eq!(run.calls_of(&["kubectl logs frontend-1"]), [format!("{log} {KUBECTL}")]);

    let one = project.run(&["logs", "frontend", "--since", "10m", "--json"]);
    one.assert_ended(0);
    assert_eq!(one.calls_of(&["kubectl logs"]), [format!("{} {KUBECTL}", log.replace("tail=100", "since=10m"))]);
    let [event] = &one.events("log")[..] else { panic!("{}", one.stdout) };
    let field = |name: &str| event[name].as_str().unwrap();
    assert_eq!(
        ["event", "service", "pod", "container", "text"].map(field),
        ["log", "frontend", "frontend-1", "server", "second"]
    );
    assert_eq!(field("time"), "2026-01-31T12:00:02.000000000Z");
}

#[test]
fn the_log_of_the_container_before_is_reported_of_those_that_had_one() {
    let project = with_pods(&[pod("backend", "backend-1", 1, "running"), pod("frontend", "frontend-1", 0, "running")]);
    project.write("standin/backend-1.previous", &line(1, "panicked"));
    let run = project.run(&["logs", "--previous"]);
    run.assert_ended(0);
    assert_eq!(run.stdout, "backend 1      | panicked\n");
    assert_eq!(run.calls_of(&["kubectl logs"]).len(), 1);
}

#[test]
fn an_unknown_service_is_a_usage_error_that_names_the_known_ones() {
    let run = Project::new().run(&["logs", "backend", "bakend"]);
    run.assert_ended(2);
    run.assert_says(&["profile dev runs no service bakend", "Next: cargo xtask logs, with backend, frontend"]);
    assert_eq!(run.calls, [""; 0]);
}

#[test]
fn without_pods_logs_say_what_to_do_first() {
    let run = with_pods(&[]).run(&["logs"]);
    run.assert_ended(3);
    run.assert_says(&["no pods of backend, frontend", "Next: cargo xtask up --profile dev"]);
}

#[test]
fn a_log_that_cannot_be_had_is_reported_beside_those_that_can() {
    let project = with_pods(&[pod("backend", "backend-1", 0, "running"), pod("frontend", "frontend-1", 0, "running")]);
    project.write("standin/backend-1", &line(1, "there"));
    let run = project.run(&["logs"]);
    run.assert_ended(1);
    assert!(run.stdout.contains("| there"), "{}", run.stdout);
    run.assert_says(&["1 of 2 logs cannot be read", "frontend 1: ", "no log of frontend-1"]);
}

#[test]
fn a_restarted_container_is_followed_and_nothing_is_reported_twice_or_left_out() {
    let project = with_pods(&[pod("backend", "backend-1", 0, "running")]);
    project.write("standin/backend-1", &(line(1, "a") + &line(1, "b")));
    let run = follow(&project, &["backend"], || {
        // The log was read once, and is followed.
        project.wait_for_lines("standin/pids", 2);
        // The stream breaks off before the container's last words, and when it is looked at again there is a next one.
        project.write("standin/backend-1.previous", &(line(1, "a") + &line(1, "b") + &line(1, "c") + &line(2, "d")));
        project.write("standin/backend-1.next", &line(3, "e"));
        set_pods(&project, &[pod("backend", "backend-1", 1, "running")]);
        std::fs::rename(project.path("standin/backend-1.next"), project.path("standin/backend-1")).unwrap();
        project.write("standin/backend-1.over", "");
        wait_for_calls(&project, "--previous", 1);
        std::fs::remove_file(project.path("standin/backend-1.over")).unwrap();
        project.wait_for_lines("standin/pids", 4);
        wait_for_looks(&project, 2);
    });
    run.assert_ended(0);
    let message = ["a", "b", "c", "d", "e"].map(|text| format!("backend 1     | {text}\n"));
    assert_eq!(run.stdout, message.concat());
    run.assert_says(&["backend 1 restarted, restart 1"]);
    let streams = run.calls_of(&["kubectl logs"]);
    assert!(
        streams
            .iter()
            .filter(|call| call.contains("--follow"))
            .all(|call| call.contains("--since-time=2026-01-31T12:00:0")),
        "{streams:?}"
    );
}

#[test]
fn a_pod_in_the_place_of_another_is_followed_from_its_first_line() {
    let project = with_pods(&[pod("backend", "backend-1", 0, "running")]);
    project.write("standin/backend-1", &line(1, "old"));
    let run = follow(&project, &[], || {
        wait_for_calls(&project, "logs backend-1 --container server --timestamps --follow", 1);
        project.write("standin/backend-2", &(line(2, "new") + &line(3, "newer")));
        set_pods(&project, &[pod("backend", "backend-1", 0, "running"), pod("backend", "backend-2", 0, "waiting")]);
        wait_for_calls(&project, "get pods", 2);
        project.write("standin/backend-1", &(line(1, "old") + &line(4, "stopped")));
        project.write("standin/backend-1.over", "");
        set_pods(&project, &[pod("backend", "backend-2", 0, "running")]);
        wait_for_calls(&project, "logs backend-2 --container server --timestamps --follow", 1);
        wait_for_looks(&project, 2);
    });
    run.assert_ended(0);
    let mut text: Vec<&str> = run.stdout.lines().map(|line| line.split("| ").nth(1).unwrap()).collect();
    assert_eq!(text[0], "old");
    text.sort();
    assert_eq!(text, ["new", "newer", "old", "stopped"]);
}

#[test]
fn an_interrupt_ends_the_following_well_and_leaves_no_child() {
    let project = with_pods(&[pod("backend", "backend-1", 0, "running"), pod("frontend", "frontend-1", 0, "running")]);
    for pod in ["backend-1", "frontend-1"] {
        project.write(&format!("standin/{pod}"), &line(1, "runs"));
    }
    // Both logs were read once, and are followed.
    let run = follow(&project, &[], || drop(project.wait_for_lines("standin/pids", 4)));
    run.assert_ended(0);
    let pids = project.wait_for_lines("standin/pids", 4);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?}");
}
