//! Minikube's addons: enabled only where the configuration names them.

use super::common::Project;

const ADDON: &str = "minikube addons enable metrics-server --profile todo";

fn with_addon() -> Project {
    let project = Project::new();
    project.edit("xtask.toml", "cpus = 2\n", "cpus = 2\naddons = [\"metrics-server\"]\n");
    project
}

#[test]
fn an_addon_is_enabled_when_it_is_asked_for_and_does_not_serve() {
    let project = with_addon();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["minikube addons"]), [ADDON]);
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
    // Somebody has turned it off.
    project.write("standin/addons", "");
    let missed = project.run(&["up"]);
    missed.assert_ended(0);
    assert_eq!(missed.changes(), [ADDON]);
}

#[test]
fn where_no_addon_is_asked_for_nobody_asks_after_them() {
    let run = Project::new().run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["minikube addons", "kubectl get deployments,daemonsets"]), [""; 0]);
}

#[test]
fn an_addon_that_never_serves_is_reported_with_the_reason() {
    let project = with_addon();
    project.edit("xtask.toml", "cluster_s = 60", "cluster_s = 1");
    project.answer("minikube addons enable ", "");
    let run = project.run(&["up"]);
    run.assert_ended(4);
    run.assert_says(&["the addon metrics-server was enabled but is not ready: it has no workload", "Next:"]);
    assert_eq!(run.calls_of(&["helm upgrade todo "]), [""; 0]);
}
