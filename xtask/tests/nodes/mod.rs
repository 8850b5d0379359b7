//! A cluster of several nodes: made node by node, looked at as a whole, started where one of them is stopped.

use super::common::Project;

const START: &str = "minikube start --profile todo ";
const ADD: &str = "minikube node add ";
const STATES: &str = "docker ps --all --filter label=";

fn with_nodes(count: u32) -> Project {
    let project = Project::new();
    project.edit("xtask.toml", "cpus = 2\n", &format!("cpus = 2\nnodes = {count}\n"));
    project
}

#[test]
fn each_further_node_is_added_once_the_ports_are_the_first_ones() {
    let project = with_nodes(3);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let calls = run.calls_of(&[START, ADD]);
    let [first, second, added @ ..] = &calls[..] else { panic!("{calls:?}") };
    assert!(first.contains("--cni kindnet --ports=127.0.0.1:"), "{first}");
    assert!(second.contains("--cni kindnet --ports= "), "{second}");
    assert_eq!(added, ["minikube node add --profile todo"; 2]);
    run.assert_says(&["add node todo-m02", "add node todo-m03", "load backend into todo-m03"]);
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
}

#[test]
fn a_node_that_is_stopped_is_named_and_started() {
    let project = with_nodes(2);
    project.run(&["up"]).assert_ended(0);
    let states = "echo todo running; [ -e started ] && echo todo-m02 running || echo todo-m02 exited";
    project.answer(STATES, states);
    let plan = project.run(&["plan"]);
    assert!(plan.stdout.contains("node todo-m02 is stopped"), "{}", plan.stdout);
    assert_eq!(plan.changes(), [""; 0]);
    project.before(START, ": >started");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&["node todo-m02 is stopped; starting it"]);
    let starts = run.calls_of(&[START]);
    assert!(starts.len() == 1 && starts[0].contains("--ports= "), "{starts:?}");
}

#[test]
fn a_cluster_made_with_another_number_of_nodes_is_left_as_it_is() {
    let project = Project::up();
    project.write("state/todo/.minikube/profiles/todo/config.json", r#"{"Nodes": [{"Name": ""}]}"#);
    project.edit("xtask.toml", "cpus = 2\n", "cpus = 2\nnodes = 2\n");
    let run = project.run(&["up"]);
    run.assert_ended(3);
    run.assert_says(&["was made with 1 node, and cluster.nodes is 2", "cargo xtask down --cluster"]);
    assert_eq!(run.changes(), [""; 0]);
}
