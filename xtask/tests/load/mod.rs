//! What of an image goes to the node: each has a layer of its own, and one that all have.

use rustix::process::{Signal, kill_process};

use super::common::{Project, Run, eventually, runs};
use super::{HANG, IMPORT};

const MISSING: &str = "docker exec --interactive todo sh -c ";
const SAVE: &str = "docker save ";

/// The layers that went to the node, image by image; an image's own has its name.
fn received(project: &Project) -> Vec<String> {
    let plain = |line: &str| {
        let (image, layers) = line.split_once(": ").unwrap();
        let own = image.replace(':', "-");
        format!("{}: {}", image.split(':').next().unwrap(), layers.replace(&own, "own"))
    };
    project.read("standin/received").lines().map(plain).collect()
}

fn changed() -> Project {
    let project = Project::up();
    project.write("standin/received", "");
    project.write("services/backend/main.rs", "// changed\n");
    project
}

#[test]
fn only_layers_that_the_node_lacks_are_sent() {
    let project = Project::up();
    assert_eq!(received(&project), ["backend: own base", "frontend: own"]);
    let project = changed();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(received(&project), ["backend: own"]);
    run.assert_says(&["0.0 MB of 0.0 MB, the node has the rest"]);
    assert_eq!(run.calls_of(&[SAVE, IMPORT]).len(), 2);
}

#[test]
fn a_node_that_does_not_say_what_it_has_is_sent_everything() {
    let project = changed();
    project.answer("docker exec todo ctr --namespace k8s.io content ls", "exit 1");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(received(&project), ["backend: own base"]);
    assert_eq!(run.calls_of(&[SAVE, IMPORT]).len(), 2);
}

#[test]
fn an_image_is_sent_whole_where_a_layer_is_gone_that_the_node_had() {
    let project = changed();
    project.before(MISSING, "sed -i /sha256:base/d node-blobs");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(received(&project), ["backend: own base"]);
    run.assert_says(&["all of it, as its missing layers alone were not taken"]);
    let calls = run.calls_of(&[SAVE, IMPORT]);
    let whole = "docker exec --interactive todo ctr --namespace k8s.io images import -";
    assert!(calls.len() == 4 && calls[1].starts_with(MISSING) && calls[3] == whole, "{calls:?}");
}

#[test]
fn an_archive_that_docker_does_not_write_to_its_end_is_the_error() {
    let project = changed();
    project.answer(SAVE, "head -c 600 /dev/zero; echo 'no space left' >&2; exit 1");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["docker save backend:", "no space left"]);
    assert_eq!(received(&project), [""; 0]);
}

/// A load that hangs, and what became of it.
fn hung(project: &Project, run: &Run, code: i32) {
    run.assert_ended(code);
    let pids = project.wait_for_lines("standin/pids", 2);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?}");
    assert_eq!(run.calls_of(&[SAVE]).len(), 1, "nothing is sent again");
    assert_eq!(run.calls_of(&["helm upgrade todo"]), [""; 0]);
}

#[test]
fn a_load_is_ended_at_its_deadline_on_either_side() {
    for side in [SAVE, MISSING] {
        let project = changed();
        project.edit("xtask.toml", "load_s = 60", "load_s = 1");
        project.answer(side, HANG);
        let run = project.run(&["up"]);
        run.assert_says(&["was ended after 1 s, its deadline"]);
        hung(&project, &run, 4);
    }
}

#[test]
fn a_load_is_interrupted_on_either_side() {
    for side in [SAVE, MISSING] {
        let project = changed();
        project.answer(side, HANG);
        let run = project.run_while(&["up"], |xtask| {
            project.wait_for_lines("standin/pids", 2);
            kill_process(xtask, Signal::INT).unwrap();
        });
        hung(&project, &run, 130);
    }
}
