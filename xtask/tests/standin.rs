//! The binary against stand-ins of docker, minikube, helm and kubectl: which commands it gives, in which order, and what
//! it says and returns when they fail.

mod access;
mod addons;
mod bundle;
mod cleaning;
mod common;
mod dashboard;
mod dev;
mod devtools;
mod downloads;
mod inputs;
mod load;
mod logs;
mod nodes;
mod releases;
mod secrets;
mod smoke;
mod targets;
mod trust;
mod watching;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{Project, eventually, runs};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

const KUBECTL: &str = "--kubeconfig STATE/kubeconfig --context todo --namespace todo";
const HELM: &str = "--kubeconfig STATE/kubeconfig --kube-context todo --namespace todo";
const CHART: &str = "CACHE/staging/dev-todo/todo/chart";
const VALUES: &str = "--values CACHE/staging/dev-todo/todo/values.json";
const IMPORT: &str = "docker exec --interactive";
/// A process and its child that go on for longer than any test waits; both are noted.
const HANG: &str = "echo $$ >>pids; sh -c 'echo $$ >>pids; sleep 120; true'";

#[test]
fn up_from_nothing_builds_loads_deploys_and_checks() {
    let project = Project::new();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert!(run.stdout.contains(&format!("http://127.0.0.1:{}", project.node_port)), "{}", run.stdout);

    // The cluster is made beside the builds, so that its place among them is open.
    let force = if rustix::process::geteuid().is_root() { " --force" } else { "" };
    let start = format!(
        "minikube start --profile todo --driver docker --container-runtime containerd --kubernetes-version v1.33.1 --cpus 2 \
         --memory 1800 --cni bridge --ports=127.0.0.1:NODE_PORT-NODE_PORT:NODE_PORT-NODE_PORT \
         --wait apiserver,system_pods,default_sa,kubelet --interactive=false --delete-on-failure=false \
         --extra-config=scheduler.pod-max-in-unschedulable-pods-duration=10s{force}"
    );
    assert_eq!(run.calls_of(&["minikube start --profile"]), [start.as_str()]);
    let owner = r#"docker exec todo sh -c 'echo "$1" >"$0"' /var/lib/xtask-owner STATE/.minikube"#;
    assert_eq!(run.calls_of(&["docker exec todo sh"]), [owner]);
    let others: Vec<&str> = run.changes().into_iter().filter(|call| *call != start && *call != owner).collect();
    let build = |name: &str, port: u16| {
        let tag = format!("{}_TAG", name.to_uppercase());
        format!(
            "docker build --progress plain --file ROOT/docker/{name}.Dockerfile --tag {name}:{tag} --build-arg PORT={port} \
             --build-arg VERSION={tag} --label todo.service={name} --label INPUTS --secret id=ca,src=ROOT/ca.crt CACHE/staging/dev-todo/context-{name}"
        )
    };
    let (backend, frontend) = (build("backend", 8000), build("frontend", 3000));
    let import = |name: &str| {
        let (ctr, image) =
            ("ctr --namespace k8s.io images", format!("docker.io/library/{name}:{}_TAG", name.to_uppercase()));
        let removed = format!(r#"[ -n "$({ctr} check --quiet "name==$1")" ] || {ctr} rm "$1""#);
        format!(r#"{IMPORT} todo sh -c '{ctr} import - && exit\n{removed}\nexit 1' import {image}"#)
    };
    let (import_backend, import_frontend) = (import("backend"), import("frontend"));
    let create = format!("kubectl create --filename - {KUBECTL}");
    let upgrade = format!(
        "helm upgrade todo {CHART} --install --history-max 10 --description 'deployed from ROOT' --timeout 60s {HELM} {VALUES}"
    );
    let expected = [
        backend.as_str(),
        &frontend,
        "docker save backend:BACKEND_TAG",
        &import_backend,
        "docker save frontend:FRONTEND_TAG",
        &import_frontend,
        &create,
        &create,
        &upgrade,
    ];
    assert_eq!(others, expected);
}

#[test]
fn every_call_names_its_cluster() {
    let project = Project::new().env("KUBECONFIG", "/theirs").env("HELM_KUBECONTEXT", "theirs");
    let project = project.env("MINIKUBE_PROFILE", "theirs");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    // These ask the client alone.
    let clients = [" version ", " create configmap check ", " upgrade --help", " start --help"];
    for call in run.calls.iter().filter(|call| !clients.iter().any(|client| call.contains(client))) {
        let named: &[&str] = match call.split_once(' ').unwrap() {
            ("kubectl", rest) if rest.contains("--all-namespaces") => &["--kubeconfig STATE/kubeconfig --context todo"],
            ("kubectl", _) => &[KUBECTL],
            // It renders, and speaks to no cluster.
            ("helm", rest) if rest.starts_with("template ") => &["--namespace todo"],
            ("helm", _) => &[HELM],
            ("minikube", _) => &["--profile todo"],
            _ => &[],
        };
        assert!(named.iter().all(|text| call.contains(text)), "{call}");
    }
    let ours = format!("{0}/kubeconfig {0}/.minikube", project.path("state/todo").display());
    let environments = project.read("standin/environments");
    assert!(environments.lines().all(|line| line.ends_with(&ours)), "{environments}");
}

#[test]
fn the_release_follows_the_secret_which_follows_the_namespace() {
    let run = Project::new().run(&["up"]);
    run.assert_ended(0);
    let get = ["kubectl get namespace", "kubectl get secret", "kubectl get persistent"];
    let make = ["kubectl create --filename", "helm upgrade todo"];
    let helm = ["helm template", "helm history", "helm get"];
    let mut asked = run.calls_of(&[&get[..], &make, &helm].concat());
    // First comes a look at all.
    let looked: Vec<&str> = asked.drain(..1).collect();
    assert_eq!(beginnings(&looked), ["kubectl get secrets"]);
    let keys = "'go-template={{.metadata.resourceVersion}}{{range $key, $_ := .data}} {{$key}}{{end}}'";
    let secret = format!("kubectl get secret todo-secrets --ignore-not-found --output {keys} {KUBECTL}");
    let expected = [
        format!("kubectl get namespace/todo --output json --ignore-not-found {KUBECTL}"),
        format!("kubectl create --filename - {KUBECTL}"),
        secret.clone(),
        format!("kubectl get persistentvolumeclaims --output json --ignore-not-found {KUBECTL}"),
        format!("kubectl create --filename - {KUBECTL}"),
        secret,
        format!("helm template todo {CHART} --kube-version 1.33.1 --namespace todo {VALUES}"),
        format!(
            "helm upgrade todo {CHART} --install --history-max 10 --description 'deployed from ROOT' --timeout 60s {HELM} {VALUES}"
        ),
    ];
    // Another look follows what was made, and one at the release alone what helm did.
    assert!(asked.remove(6).starts_with("kubectl get secrets --all-namespaces "));
    assert!(asked.pop().unwrap().starts_with("kubectl get secrets --selector owner=helm,name=todo "));
    assert_eq!(asked, expected);
}

#[test]
fn up_again_with_nothing_changed_changes_nothing_and_asks_the_cluster_twice() {
    let run = Project::up().run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
    let mut asked = beginnings(&run.calls_of(&["kubectl get", "helm history", "helm get"]));
    asked.sort();
    let kinds = "nodes,storageclasses,namespaces,services,configmaps,persistentvolumeclaims,deployments,statefulsets";
    let more = "ingresses,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers";
    assert_eq!(asked, [&format!("kubectl get {kinds},{more}"), "kubectl get secrets"]);
}

#[test]
fn a_changed_source_file_rebuilds_its_own_image_only() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// changed\n");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let expected = ["docker build --progress", "docker save backend:BACKEND_TAG", IMPORT, "helm upgrade todo"];
    assert_eq!(beginnings(&run.changes()), expected);
}

#[test]
fn an_image_that_is_gone_from_the_node_is_loaded_again() {
    let project = Project::up();
    project.write("standin/node-images", "");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let expected = ["docker save backend:BACKEND_TAG", IMPORT, "docker save frontend:FRONTEND_TAG", IMPORT];
    assert_eq!(beginnings(&run.changes()), expected);
}

#[test]
fn what_another_checkout_deployed_is_named_before_it_is_replaced() {
    let project = Project::new();
    project.run(&["up"]).assert_ended(0);
    let description = project.path("standin/namespaces/todo/releases/todo/description-1");
    let own = std::fs::read_to_string(&description).unwrap();
    assert_eq!(own.trim(), format!("deployed from {}", project.path("").display().to_string().trim_end_matches('/')));
    std::fs::write(&description, "deployed from /home/ann/todo at 1a2b3c4\n").unwrap();
    // Nothing is said where nothing is replaced.
    let run = project.run(&["plan"]);
    assert!(run.stdout.contains("nothing to do"), "{}", run.stdout);
    let run = project.run(&["status"]);
    assert!(run.stdout.contains("origin    another checkout: /home/ann/todo at 1a2b3c4"), "{}", run.stdout);
    project.write("chart/values.yaml", "changed: 1\n");
    let reason = "replaces revision 1, deployed from /home/ann/todo at 1a2b3c4";
    let run = project.run(&["plan"]);
    assert!(run.stdout.contains(reason), "{}", run.stdout);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert!(run.stderr.contains(reason), "{}", run.stderr);
    let run = project.run(&["status"]);
    assert!(!run.stdout.contains("another checkout"), "{}", run.stdout);
}

#[test]
fn plan_tells_each_step_with_its_reason_and_changes_nothing() {
    let project = Project::new();
    let steps = |arguments: &[&str]| -> Vec<String> {
        let run = project.run(arguments);
        run.assert_ended(0);
        assert_eq!(run.changes(), [""; 0]);
        run.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let from_nothing = [
        "make cluster todo there is none",
        "build backend no image yet",
        "build frontend no image yet",
        "load backend there is no node yet",
        "load frontend there is no node yet",
        "deploy todo not installed yet",
        "6 steps, then the smoke checks; nothing was changed",
    ];
    assert_eq!(steps(&["plan"]), from_nothing);
    project.run(&["up"]).assert_ended(0);
    assert_eq!(steps(&["plan"]), ["nothing to do: everything is up to date"]);

    project.write("services/backend/main.rs", "// changed\n");
    project.write("standin/namespaces/todo/workloads/frontend/replicas", "3");
    std::fs::remove_file(project.path("standin/secrets/todo/todo-secrets")).unwrap();
    let text = steps(&["plan"]);
    let expected = [
        "build backend services/backend/main.rs changed",
        "load backend known after build",
        "write Secret todo-secrets there is none",
        "deploy todo known after its Secret is written",
    ];
    assert_eq!(text[..4], expected);

    // The same as `up` then finds.
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&["services/backend/main.rs changed", "node todo lacks sha256:host-"]);
    project.write("standin/namespaces/todo/workloads/frontend/replicas", "3");
    assert_eq!(steps(&["plan"])[0], "deploy todo deployment/frontend: replicas 3 → 1");
    let json = project.run(&["plan", "--json"]);
    let answer: Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    let step = serde_json::json!([{"verb": "deploy", "subject": "todo", "why": "deployment/frontend: replicas 3 → 1"}]);
    assert_eq!(answer["steps"], step);
}

#[test]
fn what_was_scaled_by_hand_is_put_right() {
    let project = Project::up();
    project.write("standin/namespaces/todo/workloads/backend/replicas", "3");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&["deployment/backend: replicas 3 → 1"]);
    assert_eq!(run.changes(), run.calls_of(&["helm upgrade todo "]));
    assert_eq!(project.read("standin/namespaces/todo/workloads/backend/replicas").trim(), "1");
}

#[test]
fn a_stopped_cluster_is_started_and_a_broken_one_is_not_remade_without_consent() {
    let project = Project::up();
    project.answer("docker container inspect --format {{.State", "echo exited");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(beginnings(&run.changes()), ["minikube start --profile"]);

    // Minikube's own files are lost: nobody can log in to the node any more.
    std::fs::remove_dir_all(project.path("state/todo/.minikube")).unwrap();
    let orphaned = project.run(&["up"]);
    orphaned.assert_ended(3);
    orphaned.assert_says(&["its keys are gone", "--yes", "the data in it is lost"]);
    assert_eq!(orphaned.changes(), [""; 0]);
}

#[test]
fn a_paused_node_goes_on_and_nothing_is_started() {
    let project = Project::up();
    project.answer("docker container inspect --format {{.State", "[ -e unpaused ] && echo running || echo paused");
    project.answer("docker unpause ", ": >unpaused");
    for command in ["status", "plan"] {
        let run = project.run(&[command]);
        assert!(format!("{}{}", run.stdout, run.stderr).contains("paused"), "{command}: {}", run.stderr);
        assert_eq!(run.changes(), [""; 0]);
    }
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&["the node todo was paused, and runs again"]);
    assert_eq!(run.changes(), ["docker unpause todo"]);
}

#[test]
fn containers_that_minikube_paused_go_on() {
    let project = Project::up();
    project.before("kubectl get nodes,storageclasses", "[ -e unpaused ] || { echo refused >&2; exit 1; }");
    project.answer("minikube status ", r#"echo '{"Host":"Running","APIServer":"Paused"}'; exit 2"#);
    project.answer("minikube unpause ", ": >unpaused");
    let run = project.run(&["up"]);
    run.assert_says(&["the containers of todo were paused, and run again"]);
    assert_eq!(run.calls_of(&["minikube unpause"]), ["minikube unpause --profile todo"]);
}

#[test]
fn no_secret_value_is_reported_or_kept() {
    let project = Project::new();
    let run = project.run(&["up", "--verbose"]);
    run.assert_ended(0);
    let created = project.read("standin/created");
    let objects: Vec<Value> = created.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let secret = objects.iter().find(|object| object["kind"] == "Secret").unwrap();
    let values = secret["stringData"].as_object().unwrap();
    assert_eq!(values.keys().collect::<Vec<_>>(), ["PASSWORD", "TOKEN", "URL"]);
    let mut texts = vec![run.calls.join("\n"), run.stdout, run.stderr];
    texts.extend(["cache", "state"].iter().flat_map(|folder| project.texts(folder)));
    for value in values.values().map(|value| value.as_str().unwrap()) {
        assert!(value.len() >= 64, "a value is too short to be random: {value}");
        assert!(texts.iter().all(|text| !text.contains(value)), "a value of the Secret is in a text");
    }
}

#[test]
fn a_wrong_configuration_is_reported_whole_and_nothing_is_called() {
    let project = Project::new();
    let wrong =
        "[services.backend]\nport = 80000\nprot = 1\n[cluster]\ncpus = \"two\"\n[releases.todo]\nchart = \"none\"";
    project.edit("k8s/profiles/dev.toml", "[releases.todo]\nchart = \"chart\"", wrong);
    let run = project.run(&["up", "--yes"]);
    run.assert_ended(2);
    run.assert_says(&[
        "k8s/profiles/dev.toml:4:8: services.backend.port is 80000: it must be 1 to 65535",
        "k8s/profiles/dev.toml:5:8: unknown key `services.backend.prot`: did you mean `port`?",
        "k8s/profiles/dev.toml:7:8: cluster.cpus is a string: it must be an integer",
        "k8s/profiles/dev.toml:9:9: releases.todo.chart is \"none\", which does not exist",
        "4 mistakes",
    ]);
    assert_eq!(run.calls, [""; 0]);
}

#[test]
fn an_unknown_profile_and_an_unknown_flag_are_usage_errors() {
    let project = Project::new();
    project.write("k8s/profiles/demo.toml", "");
    let run = project.run(&["up", "--profile", "prod"]);
    run.assert_ended(2);
    run.assert_says(&["there is no profile prod", "dev", "demo"]);
    let unknown = project.run(&["up", "--force"]);
    unknown.assert_ended(2);
    unknown.assert_says(&["--force"]);
    assert_eq!((run.calls.len(), unknown.calls.len()), (0, 0));
}

#[test]
fn a_docker_client_without_buildkit_is_passed_over() {
    let project = Project::new();
    // Written by another process: a script that this one had open for writing could be busy when it is to be run.
    let script = r#"printf '#!/bin/sh\necho "$*" >>"$STANDIN/old-calls"\n' >docker; chmod 755 docker"#;
    std::fs::create_dir(project.path("old")).unwrap();
    let status = Command::new("sh").args(["-c", script]).current_dir(project.path("old")).status();
    assert!(status.unwrap().success());
    let path = format!("{}:{}", project.path("old").display(), project.path("bin").display());
    let project = project.env("PATH", &path);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let calls = project.read("standin/old-calls");
    assert_eq!(calls.lines().collect::<BTreeSet<_>>(), ["--version", "build --help"].into());
    assert_eq!(run.calls_of(&["docker build --progress"]).len(), 2);
    // Minikube calls docker by name, and must find the same one.
    assert_eq!(std::fs::read_link(project.path("cache/todo/bin/docker")).unwrap(), project.path("bin/docker"));
}

#[test]
#[cfg(target_os = "linux")]
fn without_consent_the_machine_stays_as_it_is() {
    let project = Project::new();
    project.answer("docker info ", "echo '|||'");
    let run = project.run(&["up"]);
    run.assert_ended(3);
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo --non-interactive " };
    let by_systemd = Path::new("/run/systemd/system").exists();
    let daemon = if by_systemd { "systemctl start docker" } else { "dockerd" };
    run.assert_says(&[
        &format!("    {sudo}dpkg --configure --pending\n"),
        &format!("    {sudo}apt-get update --quiet\n"),
        &format!("    {sudo}apt-get install --yes --quiet --no-install-recommends no-such-program\n"),
        &format!("    {sudo}{daemon}"),
        "--yes",
    ]);
    assert_eq!(run.changes(), [""; 0]);
}

#[test]
fn a_build_is_for_this_machine_whatever_the_environment_says() {
    let ambient = [("DOCKER_DEFAULT_PLATFORM", "linux/arm64"), ("BUILDX_BUILDER", "far"), ("GIT_DIR", "/elsewhere")];
    let project = ambient.iter().fold(Project::new(), |project, (name, value)| project.env(name, value));
    project.before("docker build --progress", "env >>environment");
    project.run(&["up"]).assert_ended(0);
    let seen = project.read("standin/environment");
    assert!(seen.contains("DOCKER_BUILDKIT=1"), "{seen}");
    assert!(seen.contains("BUILDX_BUILDER=default"), "{seen}");
    assert!(ambient.iter().all(|(_, value)| !seen.contains(value)), "{seen}");
}

#[test]
fn a_dead_docker_host_is_named_and_left_alone() {
    let project = Project::new().env("DOCKER_HOST", "tcp://192.0.2.1:2375");
    project.answer("docker info ", "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
    let run = project.run(&["up", "--yes"]);
    run.assert_ended(3);
    run.assert_says(&["DOCKER_HOST is tcp://192.0.2.1:2375", "Next: start that daemon, or unset DOCKER_HOST"]);
    assert_eq!(run.changes(), [""; 0]);
    for command in ["plan", "status", "doctor"] {
        let run = project.run(&[command]);
        run.assert_ended(3);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("DOCKER_HOST is tcp://192.0.2.1:2375, but no docker daemon answers there"), "{said}");
        run.assert_says(&["or unset DOCKER_HOST"]);
    }
}

#[test]
fn a_node_that_lists_another_image_id_is_not_believed() {
    let project = Project::new();
    project.answer("docker exec --interactive ", "echo \"$input sha256:other\" >>node-images");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["as sha256:other, the host as sha256:host-", "Next:"]);
    assert_eq!(run.calls_of(&["kubectl create --filename", "helm upgrade todo"]), [""; 0]);
}

#[test]
fn an_image_id_that_is_the_digest_of_its_manifest_is_believed() {
    let project = Project::new();
    project.answer("docker exec --interactive ", "echo \"$input sha256:config\" >>node-images");
    let table = "echo REF TYPE DIGEST; sed 's|\\(.*\\) \\(.*\\)|docker.io/library/\\1 manifest \\2|' host-images";
    project.answer("docker exec todo ctr --namespace k8s.io images list", table);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
}

#[test]
fn a_tool_that_hangs_is_ended_at_its_deadline_with_its_children() {
    let project = Project::new();
    project.edit("xtask.toml", "build_s = 60", "build_s = 1");
    project.answer("docker build --progress", HANG);
    let run = project.run(&["up"]);
    run.assert_ended(4);
    run.assert_says(&["docker build --progress plain", "was ended after 1 s, its deadline"]);
    let pids = project.wait_for_lines("standin/pids", 2);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?}");
}

#[test]
fn an_interrupt_ends_what_runs_with_its_children() {
    let project = Project::new();
    project.answer("docker build --progress", HANG);
    let run = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 2);
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(130);
    run.assert_says(&["interrupted"]);
    let pids = project.wait_for_lines("standin/pids", 2);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))), "{pids:?}");
    assert_eq!(run.calls_of(&["docker save", "kubectl create --filename"]), [""; 0]);
}

#[test]
fn a_cluster_whose_making_was_interrupted_is_made_anew() {
    let project = Project::new();
    project.before("minikube start --profile", &format!("[ -e pids ] || {{ : >cluster; {HANG}; }}"));
    let interrupted = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 2);
        kill_process(xtask, Signal::INT).unwrap();
    });
    interrupted.assert_ended(130);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let minikube = run.calls_of(&["minikube start --profile", "minikube delete"]);
    assert_eq!(beginnings(&minikube), ["minikube delete --profile", "minikube start --profile"]);
}

#[test]
fn json_is_one_event_a_line() {
    let project = Project::new();
    let run = project.run(&["up", "--json"]);
    run.assert_ended(0);
    assert_eq!(run.stderr, "");
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["event"].is_string()), "{}", run.stdout);
    let [.., summary, ended] = events.as_slice() else { panic!("{}", run.stdout) };
    assert_eq!((&summary["event"], &ended["event"], &ended["code"]), (&"summary".into(), &"ended".into(), &0.into()));
    let url = format!("http://127.0.0.1:{}", project.node_port);
    assert!(summary["headline"].as_str().unwrap().contains(&url), "{summary}");

    project.answer("kubectl get secrets --all-namespaces ", "echo broken >&2; exit 1");
    let failed = project.run(&["up", "--json"]);
    failed.assert_ended(1);
    let events: Vec<Value> = failed.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let [.., error, ended] = events.as_slice() else { panic!("{}", failed.stdout) };
    assert_eq!((&error["event"], &ended["code"]), (&"error".into(), &1.into()));
}

#[test]
fn a_record_holds_the_events_of_a_run_whatever_it_shows() {
    let project = Project::new();
    let shown = project.run(&["up", "--json"]);
    let events = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let records = || project.texts("state/todo/records/todo/todo");
    let is_process = |line: &&str| line.contains(r#""event":"process_ended""#);
    let recorded = records().concat();
    let without_processes: Vec<&str> = recorded.lines().filter(|line| !is_process(line)).collect();
    assert_eq!(without_processes, shown.stdout.lines().collect::<Vec<_>>());
    assert!(recorded.lines().filter(is_process).count() > 10, "{recorded}");
    let of_kind =
        |kind: &str| events(&shown.stdout).into_iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(of_kind("run")[0]["command"], "up");
    assert_eq!(of_kind("tools").last().unwrap()["helm"], "v3.17.0+g0000000");
    let deployed = &of_kind("deployed")[0];
    assert_eq!((&deployed["release"], &deployed["why"]), (&"todo".into(), &"not installed yet".into()));
    let describe = |service: &str| -> Vec<String> {
        let states = of_kind("state").into_iter().filter(|event| event["service"] == service);
        states.map(|event| event["state"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(describe("backend")[..3], ["Building", "Loading", "Installing"]);
    let held = |subject: &str| -> Vec<String> {
        let held = of_kind("validated").into_iter().filter(|event| event["subject"] == subject);
        held.map(|event| event["state"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(
        (held("backend"), held("todo")),
        (vec!["Building".into(), "Loading".into()], vec!["Installing".into(), "Ready".into()])
    );

    // What shows nothing is recorded all the same, and what only reads is not.
    project.run(&["up", "--quiet"]).assert_ended(0);
    project.run(&["status"]).assert_ended(0);
    let all = records();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|text| events(text).last().unwrap()["code"] == 0));
}

#[test]
fn a_release_that_helm_does_not_call_deployed_is_not_believed() {
    let project = Project::new();
    let failed = "sed -i s/deployed/failed/ namespaces/todo/releases/todo/revisions 2>/dev/null";
    project.before("kubectl get secrets --selector ", failed);
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["helm succeeded, but reports revision 1 of todo failed"]);
}

#[test]
fn history_tells_why_each_revision_came_and_how_runs_ended() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// changed\n");
    project.run(&["up"]).assert_ended(0);
    project.write("standin/failing", "backend\n");
    project.write("services/backend/main.rs", "// changed again\n");
    project.run(&["up"]).assert_ended(1);
    let run = project.run(&["history"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
    let lines: Vec<&str> = run.stdout.lines().map(str::trim).collect();
    let line = |beginning: &str| {
        *lines.iter().find(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("{}", run.stdout))
    };
    assert!(line("1  superseded").ends_with("not installed yet"), "{}", run.stdout);
    assert!(line("up ").contains("failed with exit code 1: backend"), "{}", run.stdout);
    let runs = lines.iter().skip_while(|line| **line != "runs").filter(|line| line.starts_with("up "));
    assert_eq!(runs.count(), 3, "{}", run.stdout);

    // Without a cluster there are the runs alone.
    std::fs::remove_file(project.path("standin/cluster")).unwrap();
    let run = project.run(&["history"]);
    run.assert_ended(0);
    assert!(run.stdout.starts_with("no revisions: there is no cluster todo"), "{}", run.stdout);
}

#[test]
fn a_killed_run_is_reported_as_not_ended() {
    let project = Project::up();
    project.answer("kubectl get secrets --all-namespaces ", HANG);
    let run = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 2);
        kill_process(xtask, Signal::KILL).unwrap();
    });
    assert_eq!(run.code, None);
    project.write("standin/rules", "");
    let status = project.run(&["status"]);
    assert!(status.stdout.contains("not ended: it goes on, or was killed"), "{}", status.stdout);
}

#[test]
fn down_uninstalls_and_keeps_the_data() {
    let project = Project::up();
    let run = project.run(&["down"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [format!("helm uninstall todo --ignore-not-found --wait --timeout 60s {HELM}")]);
    assert!(project.path("standin/secrets/todo/todo-secrets").exists());
}

#[test]
fn down_purge_removes_the_namespace_too() {
    let run = Project::up().run(&["down", "--purge"]);
    run.assert_ended(0);
    let uninstall = format!("helm uninstall todo --ignore-not-found --wait --timeout 60s {HELM}");
    let delete = format!("kubectl delete namespace/todo --ignore-not-found --wait --timeout 60s {KUBECTL}");
    assert_eq!(run.changes(), [uninstall, delete]);
}

#[test]
fn down_purge_leaves_a_namespace_that_others_made() {
    let project = Project::up();
    project.answer("kubectl get namespace/", r#"echo '{"kind":"Namespace","metadata":{"name":"todo"}}'"#);
    let run = project.run(&["down", "--purge"]);
    run.assert_ended(1);
    assert!(!run.changes().iter().any(|call| call.contains("delete namespace")), "{:?}", run.changes());
}

#[test]
fn down_cluster_removes_the_profile_and_what_an_absent_one_has_left() {
    let project = Project::up();
    let run = project.run(&["down", "--cluster"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), ["minikube delete --profile todo"]);
    let again = project.run(&["down", "--cluster"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), ["minikube delete --profile todo"]);
}

/// The first three words of each call.
fn beginnings(calls: &[&str]) -> Vec<String> {
    calls.iter().map(|call| call.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_namespace_that_is_no_name_is_a_usage_error() {
    for wrong in ["Bad_Name", "../../x"] {
        let run = Project::new().run(&["up", "--namespace", wrong]);
        run.assert_ended(2);
        assert!(run.stderr.contains(wrong), "{}", run.stderr);
    }
}

#[test]
fn helms_own_variables_do_not_lead_it_to_another_cluster() {
    let project = Project::new().env("HELM_KUBEAPISERVER", "https://theirs");
    project.answer("helm upgrade todo", "echo \"$HELM_KUBEAPISERVER\" >leak; exit 1");
    project.run(&["up"]).assert_ended(1);
    assert_eq!(project.read("standin/leak"), "\n");
}

#[test]
fn what_kubectl_says_of_a_secret_it_refused_is_not_reported() {
    let project = Project::new();
    let refuse = "case $input in *Secret*) echo \"error: $input\" >&2; exit 1;; esac";
    project.before("kubectl create --filename - ", refuse);
    let run = project.run(&["up"]);
    run.assert_ended(1);
    assert!(run.stderr.contains("could not write the Secret"), "{}", run.stderr);
    assert!(!run.stderr.contains("stringData"), "{}", run.stderr);
}

#[test]
fn an_interrupt_while_tools_are_asked_is_no_missing_tool() {
    let project = Project::new();
    project.answer("docker build --help", "echo $$ >>pids; exec sleep 15");
    let run = project.run_while(&["up"], |xtask| {
        project.wait_for_lines("standin/pids", 1);
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(130);
}

#[test]
fn a_grandchild_that_ignores_signals_is_gone_after_the_deadline() {
    let project = Project::new();
    project.edit("xtask.toml", "build_s = 60", "build_s = 1");
    let hang = "echo $$ >>pids; sh -c 'trap \"\" TERM; echo $$ >>pids; sleep 30; true'";
    project.answer("docker build --progress", hang);
    project.run(&["up"]).assert_ended(4);
    let pids = project.wait_for_lines("standin/pids", 2);
    assert!(eventually(|| !pids.iter().any(|pid| runs(pid))));
}

#[test]
fn a_check_is_handed_over_with_its_arguments_and_recorded_there_alone() {
    let project = Project::new();
    project.write("cargo", "#!/bin/sh\necho \"$XTASK_ROOT $*\"\nexit 7\n");
    let cargo = project.path("cargo");
    std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let project = project.env("CARGO", cargo.to_str().unwrap());
    let run = project.run(&["test-e2e", "--only", "a b"]);
    run.assert_ended(7);
    let root = project.path("").display().to_string();
    assert!(run.stdout.starts_with(root.trim_end_matches('/')), "{}", run.stdout);
    assert!(run.stdout.trim_end().ends_with("verify/Cargo.toml -- test-e2e --only a b"), "{}", run.stdout);
    assert!(!project.path("state/todo/records").exists(), "what is handed over is recorded twice");
}
