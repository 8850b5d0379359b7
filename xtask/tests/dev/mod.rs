//! The loop: what starts another run, what a broken one leaves, and how it ends.

use rustix::process::{Pid, Signal, kill_process};

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
    let run = project.run(&["timings", "2"]);
    run.assert_ended(2);
    run.assert_says(&["there are records of 1 runs", "Next: cargo xtask history"]);
}

const PODS: &str = "kubectl get pods --selector=app.kubernetes.io/instance=todo,app.kubernetes.io/name=frontend,";

/// A project whose frontend has a folder that its image has as it is, and a container in which it lies.
fn with_assets() -> Project {
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
    project.answer("docker exec --interactive todo sh -c set ", r#"sh -c "$6" replace "$STANDIN/rootfs""#);
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
    assert_eq!(run.calls_of(&["docker exec --interactive todo sh"]), [""; 0]);
}
