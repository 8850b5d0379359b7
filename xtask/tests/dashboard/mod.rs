//! The page of `ui`: who gets it, what it shows, what its buttons begin, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::KUBECTL;
use super::common::{Project, Run, eventually, runs};

/// Longer than any answer takes: a test that waits in vain fails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A page that is served.
struct Page {
    xtask: Pid,
    port: u16,
    token: String,
}

/// Serves the page, and ends it as Ctrl-C does once `meanwhile` is through.
fn serve(project: &Project, meanwhile: impl FnOnce(&Page)) -> Run {
    serve_by(project, &["ui"], meanwhile)
}

fn serve_by(project: &Project, command: &[&str], meanwhile: impl FnOnce(&Page)) -> Run {
    project.run_reading(command, |xtask, stdout| {
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        meanwhile(&page(xtask, url.trim()));
        kill_process(xtask, Signal::INT).unwrap();
    })
}

fn page(xtask: Pid, url: &str) -> Page {
    let (place, token) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once("/?token=").unwrap();
    Page { xtask, port: place.parse().unwrap(), token: token.to_string() }
}

impl Page {
    /// Sends a request of the page's own, in which one text is replaced by another.
    fn ask_instead(&self, method: &str, path: &str, body: &str, from: &str, to: &str) -> TcpStream {
        let Page { port, token, .. } = self;
        let head = format!(
            "{method} {path}?token={token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        assert!(head.contains(from), "{from}");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(format!("{}{body}", head.replacen(from, to, 1)).as_bytes()).unwrap();
        stream
    }

    /// The status and the body of an answer.
    fn answer_instead(&self, method: &str, path: &str, body: &str, from: &str, to: &str) -> (u16, String) {
        let mut text = String::new();
        self.ask_instead(method, path, body, from, to).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.answer_instead("GET", path, "", "", "")
    }

    fn begin(&self, action: &str) -> (u16, String) {
        self.answer_instead("POST", "/begin", action, "", "")
    }

    /// Reads events until one of a name is as wanted, and returns its data.
    fn wait_for_event(&self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut lines = BufReader::new(self.ask_instead("GET", "/events", "", "", "")).lines().map(Result::unwrap);
        let until = Instant::now() + TIMEOUT;
        let mut last = String::new();
        // A quiet stream has a line now and then.
        while Instant::now() < until
            && let Some(line) = lines.next()
        {
            if line == format!("event: {name}") {
                last = lines.next().unwrap();
                let data: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
                if is_wanted(&data) {
                    return data;
                }
            }
        }
        panic!("no {name} is as wanted; the last one: {last}");
    }

    /// The first log line that is kept, which a browser gets when it comes.
    fn wait_for_line(&self) -> Value {
        let kept = || self.wait_for_event("lines", |_| true)[0].clone();
        assert!(eventually(|| !kept().is_null()), "there is no log line");
        kept()
    }
}

/// A deployment of the backend that is rolled out, and its pod.
fn set_objects(project: &Project) {
    let labels = r#"{"app.kubernetes.io/name":"backend","app.kubernetes.io/instance":"todo"}"#;
    let spec = format!(
        r#"{{"replicas":1,"selector":{{"matchLabels":{labels}}},"template":{{"metadata":{{"labels":{labels}}},"spec":{{"containers":[{{"name":"server","image":"backend:1"}}]}}}}}}"#
    );
    let counts = r#"{"observedGeneration":1,"updatedReplicas":1,"replicas":1,"availableReplicas":1}"#;
    let status = r#"{"phase":"Running","containerStatuses":[{"name":"server","ready":true,"restartCount":0,"state":{"running":{}},"lastState":{}}]}"#;
    let deployment = format!(
        r#"{{"kind":"Deployment","metadata":{{"name":"backend-of-todo","generation":1,"labels":{labels}}},"spec":{spec},"status":{counts}}}"#
    );
    let pod = format!(
        r#"{{"kind":"Pod","metadata":{{"name":"backend-1","uid":"u","labels":{labels}}},"spec":{{"containers":[]}},"status":{status}}}"#
    );
    project.write("standin/watched", &format!("{deployment}\n{pod}\n"));
    project.write("standin/pods", &format!("{{\"items\":[{pod}]}}"));
    project.answer("kubectl get pods --selector", "cat pods");
    project.answer("kubectl logs ", "echo '2026-01-31T12:00:01.000000000Z ready at 8000'");
}

#[test]
fn the_page_is_for_whoever_has_the_token_at_this_host_and_origin() {
    let project = Project::up();
    let run = serve(&project, |page| {
        let (status, html) = page.get("/");
        assert_eq!(status, 200);
        assert!(html.starts_with("<!doctype html>") && !html.contains("{{"), "{html}");
        let foreign = [
            ("GET", "/", &page.token[..], "0", 401),
            ("GET", "/events", &page.token, "", 401),
            ("GET", "/", "Host: 127.0.0.1", "Host: evil.example", 403),
            ("GET", "/events", "Origin: http://127.0.0.1", "Origin: http://evil.example", 403),
            ("POST", "/begin", "Origin: http://127.0.0.1", "Origin: http://evil.example", 403),
            ("POST", "/begin", "Origin", "X-Origin", 403),
            ("GET", "/begin", "", "", 405),
            ("GET", "/other", "", "", 404),
        ];
        for (method, path, from, to, expected) in foreign {
            let (status, text) = page.answer_instead(method, path, r#"{"action":"up"}"#, from, to);
            assert_eq!(status, expected, "{method} {path} with \"{to}\" for \"{from}\": {text}");
        }
        let long = format!("X: {}\r\nHost", "a".repeat(20_000));
        assert_eq!(page.answer_instead("GET", "/", "", "Host", &long).0, 431);
        assert_eq!(page.begin(&"x".repeat(2000)).0, 413);
    });
    run.assert_ended(0);
    assert_eq!(run.calls, [""; 0], "nobody looked, and nothing is asked");
}

#[test]
fn services_their_logs_and_the_last_runs_are_shown_and_no_value_of_a_secret() {
    let project = Project::up();
    set_objects(&project);
    let run = serve(&project, |page| {
        let state = page.wait_for_event("state", |state| state["services"][0]["health"] == "ready");
        let [backend, frontend] = &state["services"].as_array().unwrap()[..] else { panic!("{state}") };
        assert_eq!(
            (&backend["name"], &backend["image"], &backend["ready"]),
            (&"backend".into(), &"backend".into(), &1.into())
        );
        assert_eq!((&frontend["health"], &frontend["url"]), (&"absent".into(), &Value::Null));
        let runs = page.wait_for_event("runs", |_| true);
        assert_eq!((&runs[0]["command"], &runs[0]["health"]), (&"up".into(), &"ready".into()));
        assert!(runs[0]["spans"].as_array().unwrap().iter().any(|span| span["name"] == "build backend"), "{runs}");
        let line = page.wait_for_line();
        assert_eq!((&line["service"], &line["text"]), (&"backend".into(), &"ready at 8000".into()));
        let text = [state, runs, line].map(|data| data.to_string()).concat();
        for pair in project.read("standin/secrets/todo/todo-secrets").lines() {
            let value = pair.split_once(' ').unwrap().1;
            assert!(!text.contains(value), "{value} is in {text}");
        }
    });
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
}

#[test]
fn why_nothing_can_be_seen_is_shown() {
    let project = Project::new();
    project.answer("kubectl get pods,", "echo no such host >&2; exit 1");
    let run = serve(&project, |page| {
        let state = page.wait_for_event("state", |_| true);
        assert_eq!(state["problem"], "there is no cluster todo\nNext: cargo xtask up");
        assert_eq!(state["services"].as_array().unwrap().len(), 2);
    });
    run.assert_ended(0);
}

#[test]
fn one_action_runs_at_a_time_and_its_output_is_shown() {
    let project = Project::up();
    let run = serve(&project, |page| {
        project.before("helm test ", "echo $$ >>pids; while [ ! -e over ]; do sleep 0.05; done");
        project.edit("xtask.toml", "steps = [{ path", "steps = [{ helm_test = true }, { path");
        assert_eq!(page.begin(r#"{"action":"down"}"#).0, 400);
        assert_eq!(page.begin(r#"{"action":"smoke"}"#).0, 202);
        project.wait_for_lines("standin/pids", 1);
        let (status, text) = page.begin(r#"{"action":"up"}"#);
        assert_eq!((status, text.trim()), (409, "`smoke` runs: wait until it ends, or stop it"));
        project.write("standin/over", "");
        let action = page.wait_for_event("action", |action| action["is_running"] == false);
        assert_eq!((&action["title"], &action["ending"]), (&"smoke".into(), &"done".into()));
        assert!(action["lines"].to_string().contains("All smoke checks passed"), "{action}");
        // What was refused is begun when it is asked for again.
        assert_eq!(page.begin(r#"{"action":"up"}"#).0, 202);
        let action = page.wait_for_event("action", |action| action["title"] == "up" && action["is_running"] == false);
        assert_eq!(action["health"], "ready", "{action}");
    });
    run.assert_ended(0);
}

#[test]
fn a_service_is_restarted_by_its_labels() {
    let project = Project::up();
    project.answer("kubectl rollout restart ", "echo deployment.apps/backend restarted");
    let run = serve(&project, |page| {
        assert_eq!(page.begin(r#"{"action":"restart","service":"nope"}"#).0, 400);
        assert_eq!(page.begin(r#"{"action":"restart","service":"backend"}"#).0, 202);
        let action = page.wait_for_event("action", |action| action["is_running"] == false);
        assert_eq!(
            (&action["ending"], &action["lines"][0]),
            (&"done".into(), &"deployment.apps/backend restarted".into())
        );
    });
    run.assert_ended(0);
    let selector = "--selector=app.kubernetes.io/instance=todo,app.kubernetes.io/name=backend";
    let restart = format!("kubectl rollout restart deployments,statefulsets,daemonsets {selector} {KUBECTL}");
    assert_eq!(run.changes(), [restart]);
}

/// A page whose `up` goes on until it is ended.
fn with_endless_up() -> Project {
    let project = Project::up();
    project.write("services/backend/main.rs", "fn main() { changed() }");
    project.before("docker build --progress", "echo $$ >>pids; exec sleep 120");
    project
}

#[test]
fn an_action_is_stopped_by_its_button() {
    let project = with_endless_up();
    let run = serve(&project, |page| {
        assert_eq!(page.answer_instead("POST", "/stop", "", "", "").0, 409);
        assert_eq!(page.begin(r#"{"action":"up"}"#).0, 202);
        project.wait_for_lines("standin/pids", 1);
        assert_eq!(page.answer_instead("POST", "/stop", "", "", "").0, 202);
        let action = page.wait_for_event("action", |action| action["is_running"] == false);
        assert_eq!(action["ending"], "interrupted");
    });
    run.assert_ended(0);
}

#[test]
fn ctrl_c_ends_it_well_and_leaves_no_child() {
    let project = with_endless_up();
    set_objects(&project);
    let run = serve(&project, |page| {
        assert_eq!(page.begin(r#"{"action":"up"}"#).0, 202);
        project.wait_for_lines("standin/pids", 1);
        // Browsers stay connected, one that says nothing too.
        page.wait_for_line();
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, page.port)).unwrap());
        assert!(runs(&page.xtask.as_raw_nonzero().to_string()));
    });
    run.assert_ended(0);
    let pids = project.wait_for_lines("standin/pids", 1);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?}");
}

#[test]
fn dev_serves_the_page_as_long_as_it_goes_on() {
    let project = Project::new();
    let mut port = 0;
    let run = serve_by(&project, &["dev", "--ui"], |page| {
        port = page.port;
        assert_eq!(page.get("/").0, 200);
        // Interrupted in its first run, dev would end as that does.
        let records = "state/todo/records";
        let is_ended = |text: &String| text.contains(r#""event":"ended""#);
        let ended = || project.path(records).exists() && project.texts(records).iter().any(is_ended);
        assert!(eventually(ended), "dev ended no run");
    });
    run.assert_ended(0);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "the page outlived dev");
}

#[test]
fn a_port_that_is_taken_is_one_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = Project::new().run(&["ui", "--port", &port]);
    run.assert_ended(2);
    run.assert_says(&[
        &format!("cannot listen on port {port} of 127.0.0.1"),
        "Next: cargo xtask ui, with another --port",
    ]);
    assert_eq!(run.stdout, "");
}

#[test]
fn the_url_is_an_answer_for_programs() {
    let project = Project::new();
    let run = project.run_reading(&["ui", "--json"], |xtask, stdout| {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "answer");
        assert_eq!(page(xtask, event["url"].as_str().unwrap()).get("/").0, 200);
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(0);
}
