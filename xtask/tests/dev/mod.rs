//! The loop: what starts another run, what a broken one leaves, and how it ends.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::common::{Project, Run, eventually};

/// Runs `dev` while `meanwhile` changes files, and ends it as Ctrl-C does.
fn dev(project: &Project, meanwhile: impl FnOnce()) -> Run {
    project.run_while(&["dev"], |xtask: Pid| {
        meanwhile();
        kill_process(xtask, Signal::INT).unwrap();
    })
}

/// Waits until so many runs have ended well or badly: each is a record.
fn wait_for_runs(project: &Project, count: usize) {
    let folder = "state/todo/records";
    let is_ended = |text: &&String| text.contains(r#""event":"ended""#);
    let ended = || match project.path(folder).exists() {
        true => project.texts(folder).iter().filter(is_ended).count(),
        false => 0,
    };
    assert!(eventually(|| ended() >= count), "fewer than {count} runs have ended");
}

#[test]
fn a_changed_file_is_built_and_deployed_and_ctrl_c_ends_it_well() {
    let project = Project::new();
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/backend/main.rs", "fn main() { changed() }");
        wait_for_runs(&project, 2);
    });
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker build --progress"]).len(), 3, "{:?}", run.calls);
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 2);
    run.assert_says(&["waiting for a change, Ctrl-C ends it", "changed: services/backend/main.rs"]);
}

#[test]
fn a_broken_build_is_reported_and_the_next_change_is_the_next_try() {
    let project = Project::up();
    let run = dev(&project, || {
        wait_for_runs(&project, 2);
        project
            .before("docker build --progress", "[ ! -e broken ] || { echo 'error[E0425]: no such name' >&2; exit 1; }");
        project.write("standin/broken", "");
        project.write("services/backend/main.rs", "fn main() { broken() }");
        wait_for_runs(&project, 3);
        std::fs::remove_file(project.path("standin/broken")).unwrap();
        project.write("services/backend/main.rs", "fn main() { mended() }");
        wait_for_runs(&project, 4);
    });
    run.assert_ended(0);
    run.assert_says(&["error[E0425]: no such name", "up failed; waiting for a change"]);
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 1, "{:?}", run.calls);
}

#[test]
fn a_file_that_is_saved_during_a_run_is_not_lost() {
    let project = Project::new();
    // Saved while its own first build is at work.
    project.before(
        "docker build --progress",
        "[ -e saved ] || { : >saved; echo 'fn main() { later() }' >../services/backend/main.rs; }",
    );
    let run = dev(&project, || wait_for_runs(&project, 2));
    run.assert_ended(0);
    run.assert_says(&["changed: services/backend/main.rs"]);
}

#[test]
fn a_mistake_in_the_configuration_is_reported_and_waited_out() {
    let project = Project::up();
    let run = dev(&project, || {
        wait_for_runs(&project, 2);
        let good = project.read("xtask.toml");
        project.write("xtask.toml", &good.replace("version = \"0.1.0\"", "version = \"zero\""));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        project.write("xtask.toml", &good);
        wait_for_runs(&project, 3);
    });
    run.assert_ended(0);
    run.assert_says(&["xtask.toml:2", "changed: xtask.toml"]);
}

#[test]
fn the_last_run_is_shown_with_its_steps_and_a_run_that_is_not_there_is_an_error() {
    let project = Project::up();
    let run = project.run(&["timings"]);
    run.assert_ended(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("up of ") && lines[0].contains("profile dev: done in "), "{}", run.stdout);
    assert!(lines.iter().any(|line| line.starts_with("  build backend ") && line.ends_with('━')), "{}", run.stdout);
    assert_eq!(run.calls, [""; 0]);
    let count = |text: &str| text.lines().last().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    assert!(count(&run.stdout) > 10 && run.stdout.ends_with("; --processes lists them\n"), "{}", run.stdout);
    assert!(!run.stdout.contains("docker build"), "{}", run.stdout);
    // Each process that the run started has a row: the build is one of them, and so is a forwarded port.
    let run = project.run(&["timings", "--processes"]);
    let is_of_process = |line: &&str| {
        ["docker ", "helm ", "kubectl ", "minikube "].iter().any(|tool| line.trim_start().starts_with(tool))
    };
    let rows = run.stdout.lines().map(|line| line.trim_start_matches('✗')).filter(is_of_process).count();
    assert!(rows + 5 > count(&run.stdout), "{}", run.stdout);
    assert!(
        run.stdout.contains("    docker build ") && run.stdout.contains("    kubectl port-forward "),
        "{}",
        run.stdout
    );
    let run = project.run(&["timings", "2"]);
    run.assert_ended(2);
    run.assert_says(&["there are records of 1 runs", "Next: cargo xtask history"]);
}

#[test]
#[cfg(target_os = "linux")]
fn keys_run_up_and_the_checks_show_logs_and_quit() {
    let project = Project::new();
    let (code, shown) = project.run_at_terminal("dev", |terminal| {
        terminal.wait_for("waiting for a change, r up, t checks, l logs on and off, o open, q quit");
        terminal.press("r");
        wait_for_runs(&project, 2);
        terminal.press("t");
        terminal.wait_for("All smoke checks passed");
        terminal.press("o");
        terminal.wait_for(&format!("http://127.0.0.1:{}", project.node_port));
        terminal.press("l");
        assert!(eventually(|| project.read("standin/calls").matches("kubectl get pods ").count() >= 2));
        terminal.press("?q");
    });
    assert_eq!(code, Some(0), "{shown}");
    let last = shown.rfind("r up, t checks").unwrap();
    assert!(!shown[last..].contains('✓'), "nothing was done after the help: {shown}");
    // It has asked for pods as long as logs were shown, and nobody is left who does.
    let asked = project.read("standin/calls").len();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(project.read("standin/calls").len(), asked);
}

#[test]
#[cfg(target_os = "linux")]
fn a_line_for_each_service_says_what_became_of_its_last_change() {
    let project = Project::new();
    let (code, shown) = project.run_at_terminal("dev", |terminal| {
        terminal.wait_for("backend   ready   nothing changed since dev began");
        terminal.wait_for("frontend  ready   nothing changed since dev began");
        project.before("docker build --progress", "[ ! -e broken ] || exit 1");
        project.write("standin/broken", "");
        project.write("services/backend/main.rs", "// changed\n");
        terminal.wait_for("backend   failed  services/backend/main.rs, failed after ");
        std::fs::remove_file(project.path("standin/broken")).unwrap();
        project.write("xtask.toml", &format!("{}\n# a comment\n", project.read("xtask.toml")));
        terminal.wait_for("backend   ready   xtask.toml, brought up in ");
        terminal.press("q");
    });
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.matches("frontend  failed").count(), 0, "{shown}");
}

const PODS: &str = "kubectl get pods --selector=app.kubernetes.io/instance=todo,app.kubernetes.io/name=frontend,";

/// A project whose frontend has a folder that its image has as it is, and a container in which it lies.
fn with_assets() -> Project {
    with_assets_copied_after(":")
}

/// The same, with a piece of shell that runs before each copy.
fn with_assets_copied_after(shell: &str) -> Project {
    let project = Project::new();
    let synced = "inputs = [\"main.rs\", \"assets\"]\nsync = { assets = \"/app/assets\" }\nport = 3000";
    project.edit("xtask.toml", "inputs = [\"main.rs\"]\nport = 3000", synced);
    for folder in ["services/frontend/assets", "standin/rootfs"] {
        project.write(&format!("{folder}/a.css"), "one");
    }
    let state = r#"{"name":"frontend","state":{"running":{}},"containerID":"containerd://c0ffee"}"#;
    let pod = format!(r#"{{"metadata":{{}},"spec":{{"nodeName":"todo"}},"status":{{"containerStatuses":[{state}]}}}}"#);
    project.answer(PODS, &format!("echo '{{\"items\":[{pod}]}}'"));
    // The scripts themselves, in a folder that stands for the container's.
    project.answer("docker exec todo sh -c cd ", r#"sh -c "$5" list rootfs"#);
    let copy = format!(r#"{shell}; sh -c "$6" replace "$STANDIN/rootfs""#);
    project.answer("docker exec --interactive todo sh -c set ", &copy);
    project
}

#[test]
fn a_folder_that_the_image_has_as_it_is_is_copied_and_ctrl_c_builds_it() {
    let project = with_assets();
    let mut builds = 0;
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/frontend/assets/a.css", "two");
        project.write("services/frontend/assets/.a.css.swp", "of an editor");
        wait_for_runs(&project, 2);
        assert_eq!(project.read("standin/rootfs/a.css"), "two");
        std::fs::remove_file(project.path("services/frontend/assets/a.css")).unwrap();
        project.write("services/frontend/assets/b.css", "three");
        wait_for_runs(&project, 3);
        assert_eq!(project.read("standin/rootfs/b.css"), "three");
        assert!(!project.path("standin/rootfs/a.css").exists() && !project.path("standin/rootfs/.a.css.swp").exists());
        builds = project.read("standin/calls").matches("docker build --progress").count();
    });
    run.assert_ended(0);
    assert_eq!((builds, run.calls_of(&["docker build --progress"]).len()), (2, 3));
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 2);
    run.assert_says(&["sync frontend", "services/frontend/assets in the container that runs", "goes into the images"]);
    let at = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/c0ffee/rootfs/app/assets";
    let listed: Vec<&str> = run.calls_of(&["docker exec todo sh -c 'cd"]);
    assert!(!listed.is_empty() && listed.iter().all(|call| call.ends_with(&format!(" list {at}"))), "{listed:?}");
    // Each run is to be found again.
    let commands = project.run(&["history"]);
    assert!(commands.stdout.contains("  sync "), "{}", commands.stdout);
}

#[test]
fn ctrl_c_while_a_folder_is_copied_builds_it_too() {
    let project = with_assets_copied_after(": >copying; sleep 20");
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/frontend/assets/a.css", "two");
        assert!(eventually(|| project.path("standin/copying").exists()), "nothing is copied");
    });
    run.assert_ended(0);
    run.assert_says(&["goes into the images"]);
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 2, "{:?}", run.calls);
}

#[test]
fn what_cannot_be_copied_takes_the_way_of_up() {
    let project = with_assets();
    project.write("standin/rootfs/a.css", "made otherwise");
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/frontend/assets/a.css", "two");
        wait_for_runs(&project, 3);
        // A folder with another input is no change of the folder alone.
        project.write("services/frontend/assets/a.css", "three");
        project.write("services/frontend/main.rs", "// changed");
        wait_for_runs(&project, 4);
    });
    run.assert_ended(0);
    run.assert_says(&["has another a.css than the image is made of; it takes the way of up"]);
    assert_eq!(project.read("standin/rootfs/a.css"), "made otherwise");
    assert_eq!(run.calls_of(&["docker build --progress"]).len(), 4);
    assert_eq!(run.calls_of(&["docker exec --interactive todo sh -c 'set"]), [""; 0]);
}

/// A project whose backend starts again at a signal. Its images hold their reference as the program, and a folder stands for
/// the container's.
fn that_starts_again() -> Project {
    let project = Project::new();
    project.edit("xtask.toml", "[services.backend]\n", "[services.backend]\nrestart_signal = \"HUP\"\n");
    let state = r#"{"name":"backend","state":{"running":{}},"containerID":"containerd://c0ffee"}"#;
    let pod = format!(
        r#"{{"metadata":{{}},"spec":{{"nodeName":"todo","containers":[{{"name":"backend","image":"old:1"}}]}},"status":{{"containerStatuses":[{state}]}}}}"#
    );
    project.answer(&PODS.replace("frontend", "backend"), &format!("echo '{{\"items\":[{pod}]}}'"));
    project.answer(
        "docker save --output ",
        r#"mkdir -p image/app
[ -e same ] && printf %s same >image/app/backend && printf %s "$4" >image/app/page || printf %s "$4" >image/app/backend
tar -C image -cf layer.tar app
echo '{"config":{"Entrypoint":["/app/backend"]}}' >c.json
echo '[{"Config":"c.json","Layers":["layer.tar"]}]' >manifest.json
tar -cf "$3" manifest.json c.json layer.tar"#,
    );
    project.answer("docker exec todo sh -c export ", r#"script=$5; shift 7; sh -c "$script" list rootfs "$@""#);
    project.answer(
        "docker exec --interactive todo sh -c set ",
        "tar -C rootfs -xf -\n[ ! -e deaf ] && sha256sum rootfs/app/backend | cut -d ' ' -f 1 || echo other",
    );
    project.write("standin/rootfs/app/backend", "old:1");
    project
}

#[test]
fn a_service_that_starts_again_gets_the_files_of_its_new_image_and_ctrl_c_deploys_it() {
    let project = that_starts_again();
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/backend/main.rs", "fn main() { one() }");
        wait_for_runs(&project, 2);
        let one = project.read("standin/rootfs/app/backend");
        assert!(one.starts_with("backend:0.1.0-h"), "{one}");
        project.before("docker build --progress", "[ ! -e broken ] || { echo 'error: no such name' >&2; exit 1; }");
        project.write("standin/broken", "");
        project.write("services/backend/main.rs", "fn main() { broken() }");
        wait_for_runs(&project, 3);
        assert_eq!(project.read("standin/rootfs/app/backend"), one, "a broken build leaves what runs");
        std::fs::remove_file(project.path("standin/broken")).unwrap();
        project.write("services/backend/main.rs", "fn main() { two() }");
        wait_for_runs(&project, 4);
        assert_ne!(project.read("standin/rootfs/app/backend"), one);
        assert_eq!(project.read("standin/calls").matches("helm upgrade todo").count(), 1, "no new pod so far");
    });
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 2);
    // Of images, each is read once: that of the pod, and the two new ones.
    assert_eq!(run.calls_of(&["docker save --output"]).len(), 3);
    run.assert_says(&["restart backend", "the files of backend:0.1.0-h", "smoke checks", "error: no such name"]);
    let tail = " start /run/containerd/io.containerd.runtime.v2.task/k8s.io/c0ffee/rootfs HUP 500";
    let started = run.calls_of(&["docker exec --interactive todo sh -c 'set"]);
    assert!(started.len() == 2 && started.iter().all(|call| call.ends_with(tail)), "{started:?}");
}

#[test]
fn what_does_not_start_again_takes_the_way_of_up() {
    let project = that_starts_again();
    project.write("standin/deaf", "");
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/backend/main.rs", "fn main() { one() }");
        wait_for_runs(&project, 3);
        project.write("standin/rootfs/app/backend", "of somebody else");
        project.write("services/backend/main.rs", "fn main() { two() }");
        wait_for_runs(&project, 5);
    });
    run.assert_ended(0);
    run.assert_says(&[
        "the program of backend did not start again at SIGHUP; it takes the way of up",
        "a container of backend has other files than its image; it takes the way of up",
    ]);
    assert_eq!(run.calls_of(&["helm upgrade todo"]).len(), 3);
}

#[test]
fn a_program_that_is_the_same_is_sent_no_signal() {
    let project = that_starts_again();
    for (file, text) in [("same", ""), ("rootfs/app/backend", "same"), ("rootfs/app/page", "old:1")] {
        project.write(&format!("standin/{file}"), text);
    }
    let run = dev(&project, || {
        wait_for_runs(&project, 1);
        project.write("services/backend/main.rs", "fn main() { one() }");
        wait_for_runs(&project, 3);
    });
    run.assert_ended(0);
    run.assert_says(&[
        "the program of backend is the same, and other files of its image are not; it takes the way of up",
    ]);
    assert_eq!(run.calls_of(&["docker exec --interactive todo sh -c 'set"]), [""; 0]);
}

#[test]
fn a_run_is_written_as_a_page_and_as_a_trace_and_each_time_the_same() {
    let project = Project::new();
    project.answer("docker build --progress", "echo 'error: no such name' >&2; exit 1");
    project.run(&["up"]).assert_ended(1);
    project.write("page.html", "of before");
    let run = project.run(&["timings", "--html", "page.html", "--otlp", "trace.json"]);
    run.assert_ended(0);
    let file = |name: &str| project.path(name).canonicalize().unwrap();
    let printed = format!("page   {}\ntrace  {}\n", file("page.html").display(), file("trace.json").display());
    assert!(run.stdout.starts_with("up of ") && run.stdout.ends_with(&printed), "{}", run.stdout);

    let page = project.read("page.html");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    for part in ["<h1>up, profile dev</h1>", "failed with exit code 1", "build backend", "<strong>✗ failed</strong>"]
    {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let text = project.read("trace.json");
    let trace: Value = serde_json::from_str(&text).unwrap();
    let spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let of = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {text}"));
    assert_eq!(of("build backend")["parentSpanId"], of("up")["spanId"]);
    assert_eq!((&of("build backend")["status"]["code"], &of("up")["status"]["code"]), (&2.into(), &2.into()));
    let build =
        spans.iter().find(|span| span["name"].as_str().unwrap().starts_with("docker build --progress")).unwrap();
    assert_eq!((&build["parentSpanId"], &build["status"]["code"]), (&of("up")["spanId"], &2.into()));

    let run = project.run(&["timings", "--json", "--otlp", "again.json"]);
    run.assert_ended(0);
    assert_eq!(project.read("again.json"), text);
    let answer = run.events("answer").pop().unwrap();
    assert_eq!((answer["otlp"].as_str(), &answer["html"]), (file("again.json").to_str(), &Value::Null));
    // Another run of the same steps is another trace.
    project.run(&["up"]).assert_ended(1);
    project.run(&["timings", "--otlp", "again.json"]).assert_ended(0);
    assert!(!project.read("again.json").contains(of("up")["traceId"].as_str().unwrap()));
}

#[test]
fn a_page_goes_into_a_file_and_where_none_can_be_nothing_is_written() {
    let project = Project::up();
    std::fs::create_dir(project.path("folder")).unwrap();
    project.write("real.html", "");
    std::os::unix::fs::symlink("real.html", project.path("link.html")).unwrap();
    for (arguments, reason, next) in [
        (&["--html", "a.html", "--otlp", "none/a.json"][..], "--otlp none/a.json: there is no folder ", "mkdir -p "),
        (&["--html", "folder"], "--html folder: only a file can be written", "--html with the name of a file"),
        (&["--html", "/dev/null"], "--html /dev/null: only a file can be written", "--html with the name of a file"),
        (&["--html", "-"], "--html -: only a file can be written", "--html with the name of a file"),
        (&["--html", "real.html", "--otlp", "link.html"], "--html and --otlp name the same file", "name another file"),
    ] {
        let run = project.run(&[&["timings"], arguments].concat());
        run.assert_ended(2);
        run.assert_says(&[reason, &format!("Next: {next}")]);
    }
    assert!(!project.path("a.html").exists() && !project.path("-").exists());
    // What a link leads to is written, and the link stays.
    project.run(&["timings", "--html", "link.html"]).assert_ended(0);
    assert!(project.read("real.html").starts_with("<!doctype html>"));
    assert!(project.path("link.html").is_symlink());
}
