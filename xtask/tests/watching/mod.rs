//! What is reported while a rollout is waited for and while helm works, and what ends the wait.

use std::fs;

use serde_json::{Value, json};

use super::common::{Project, Run, eventually, runs};
use super::{HELM, KUBECTL};

/// A pod of the backend with one container, in the stand-in's cluster.
fn pod(name: &str, status: Value) -> Value {
    let labels = json!({"app.kubernetes.io/name": "backend", "app.kubernetes.io/instance": "todo"});
    json!({
        "kind": "Pod", "metadata": {"name": name, "uid": name, "labels": labels},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "server", "image": "backend:1"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    })
}

/// A container that has crashed once and runs again, or twice and is left alone for a while.
fn crashed(times: u64) -> Value {
    let last = json!({"exitCode": 2, "reason": "Error", "finishedAt": "2026-01-01T10:00:10Z"});
    let state = match times {
        1 => json!({"running": {}}),
        _ => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
    };
    json!({"name": "server", "restartCount": 1, "ready": false, "state": state, "lastState": {"terminated": last}})
}

fn event(kind: &str, name: &str, reason: &str, message: &str, count: u64) -> Value {
    json!({
        "kind": "Event", "reason": reason, "message": message, "count": count,
        "firstTimestamp": "2026-01-01T10:00:00Z", "lastTimestamp": "2026-01-01T10:00:20Z",
        "involvedObject": {"kind": kind, "name": name, "uid": name},
    })
}

/// A project in whose cluster the backend does not become available.
fn stalled() -> Project {
    let project = Project::new();
    project.write("standin/slow", "backend\n");
    project
}

/// Puts objects beside the workloads that the stand-in has; whoever reads at the same time sees them all or none.
fn show(project: &Project, objects: &[Value]) {
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    project.write("standin/watched.new", &lines);
    fs::rename(project.path("standin/watched.new"), project.path("standin/watched")).unwrap();
}

fn asked(project: &Project, beginning: &str) -> usize {
    project.read("standin/calls").lines().filter(|call| call.starts_with(beginning)).count()
}

/// A Job that helm runs first, among what the stand-in of helm renders.
const HOOK: &str = "printf -- '---\\napiVersion: batch/v1\\nkind: Job\\nmetadata:\\n  name: migrate\\n  annotations:\\n    helm.sh/hook: pre-install,pre-upgrade\\n'";

fn hook_job(status: Value) -> Value {
    json!({"kind": "Job", "status": status, "metadata": {"name": "migrate", "uid": "migrate",
        "creationTimestamp": "2026-01-01T10:00:00Z", "annotations": {"helm.sh/hook": "pre-install,pre-upgrade"}}})
}

fn hook_pod(status: Value) -> Value {
    json!({
        "kind": "Pod", "metadata": {"name": "migrate-1", "uid": "migrate-1", "labels": {"batch.kubernetes.io/job-name": "migrate"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "migrate"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    })
}

/// The lines that were reported before the error at the end.
fn text_before_the_error(run: &Run) -> &str {
    run.stderr.split_once('✗').map_or("", |(before, _)| before)
}

#[test]
fn a_first_crash_is_reported_and_a_second_one_ends_the_run() {
    let project = stalled();
    project.answer("kubectl logs ", "echo starting; echo 'no database at postgres:5432'");
    let run = project.run_while(&["up"], |_| {
        assert!(eventually(|| asked(&project, "kubectl get pods,") >= 1));
        show(&project, &[pod("backend-0", crashed(1))]);
        assert!(eventually(|| asked(&project, "kubectl logs ") == 1));
        // It goes on after a first one.
        let looks = asked(&project, "kubectl get pods,");
        assert!(eventually(|| asked(&project, "kubectl get pods,") >= looks + 3));
        show(&project, &[pod("backend-0", crashed(2))]);
    });
    run.assert_ended(1);
    let first = "pod backend-0, container server: crashed once with exit code 2, since 10:00:10 UTC";
    assert_eq!(run.stderr.matches(first).count(), 1, "{}", run.stderr);
    run.assert_says(&[
        "its log ends with \"no database at postgres:5432\"",
        "todo cannot be rolled out, because of pod backend-0, container server\n  pod backend-0, container server: crashed 2 times, last with exit code 2",
        "  its last log lines:\n    starting\n    no database at postgres:5432",
        "Next: kubectl logs backend-0 --container server --previous --kubeconfig ",
    ]);
    let logs = format!("kubectl logs backend-0 --container server --tail 12 --previous {KUBECTL}");
    assert_eq!(run.calls_of(&["kubectl logs"]), [logs.as_str(), &logs], "once for each crash");
    assert!(!run.stdout.contains("http://"), "{}", run.stdout);
}

#[test]
fn a_pod_for_which_no_node_has_room_tells_what_is_missing_and_who_holds_it() {
    let project = stalled();
    let of = |name: &str, cpu: &str, node: Value| {
        let container = json!({"resources": {"requests": {"cpu": cpu}}});
        json!({"kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node, "containers": [container]},
            "status": {"phase": "Running"}})
    };
    let mut waits = of("backend-0", "250m", Value::Null);
    waits["metadata"]["labels"] = json!({"app.kubernetes.io/name": "backend", "app.kubernetes.io/instance": "todo"});
    waits["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
    show(&project, &[waits]);
    let node =
        json!({"kind": "Node", "metadata": {"name": "todo"}, "status": {"allocatable": {"cpu": "2", "pods": "110"}}});
    let all = json!({"items": [node, of("etcd-todo", "1855m", "todo".into())]});
    project.answer("kubectl get nodes,pods ", &format!("echo '{all}'"));
    let run = project.run(&["up"]);
    run.assert_ended(1);
    let why = "pod backend-0: cannot be scheduled: cpu: 250m requested, 145m of 2000m are free on node todo, 105m too little; \
        most of it is held by etcd-todo (1855m)";
    assert!(text_before_the_error(&run).contains(why), "{}", run.stderr);
    run.assert_says(&[
        &format!("todo cannot be rolled out, because of pod backend-0\n  {why}"),
        "Next: kubectl describe nodes",
    ]);
}

#[test]
fn a_quota_that_is_used_up_is_reported_though_there_is_no_pod() {
    let project = stalled();
    let forbidden =
        "pods \"backend-1\" is forbidden: exceeded quota: tiny, requested: pods=1, used: pods=2, limited: pods=2";
    let condition = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": forbidden});
    let deployment = json!({"kind": "Deployment", "metadata": {"name": "backend"}, "spec": {"replicas": 1},
        "status": {"conditions": [condition]}});
    project.answer("kubectl get pods,", &format!("echo '{deployment}'; live frontend"));
    let run = project.run(&["up"]);
    run.assert_ended(1);
    let why = "deployment backend: the quota tiny is exceeded: pods: 1 requested, 2 of 2 are used";
    assert!(text_before_the_error(&run).contains(why), "{}", run.stderr);
    run.assert_says(&["Next: kubectl describe resourcequota tiny"]);
}

#[test]
fn a_migration_that_fails_is_known_by_the_backends_own_words() {
    let project = stalled();
    let running = json!({"startedAt": "2026-01-01T09:00:00Z"});
    let status =
        json!({"name": "server", "restartCount": 0, "ready": false, "started": true, "state": {"running": running}});
    let unhealthy =
        event("Pod", "backend-0", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 6);
    show(&project, &[pod("backend-0", status), unhealthy]);
    project.answer(
        "kubectl logs ",
        r#"echo '{"level":"WARN","message":"the migrations failed: column done does not exist"}'"#,
    );
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "pod backend-0, container server: a migration fails: column done does not exist",
        "Next: kubectl logs backend-0 --container server",
    ]);
}

#[test]
fn a_start_within_its_own_rules_is_waited_for_beyond_the_deadline_and_not_for_ever() {
    let ends = |threshold: u64| {
        let project = stalled();
        project.edit("xtask.toml", "rollout_s = 60", "rollout_s = 1");
        let status = json!({"name": "server", "restartCount": 0, "ready": false, "started": false, "state": {"running": {"startedAt": "NOW"}}});
        let mut starting = pod("backend-0", status);
        starting["spec"]["containers"][0]["startupProbe"] = json!({"periodSeconds": 1, "failureThreshold": threshold});
        let now = format!("echo '{starting}' | sed \"s/NOW/$(date -u +%Y-%m-%dT%H:%M:%SZ)/\" >watched");
        project.before("helm upgrade todo ", &now);
        let run = project.run(&["up"]);
        run.assert_ended(4);
        run.assert_says(&["pod backend-0, container server: runs, and its startup probe does not succeed"]);
        run.stderr
    };
    assert!(ends(600).contains("not rolled out after 3 s: backend: 1 of 1 updated, 0 available"));
    let given_up = ends(0);
    assert!(given_up.contains("not rolled out after "), "{given_up}");
    assert!(!given_up.contains("not rolled out after 3 s"), "{given_up}");
}

#[test]
fn a_service_that_leads_nowhere_fails_the_run_though_all_pods_run() {
    let project = Project::new();
    project.edit("xtask.toml", "rollout_s = 60", "rollout_s = 1");
    let service = "---\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector:\n    app: none\n";
    project.write("standin/more-manifest", service);
    let ready = json!({"name": "server", "ready": true, "restartCount": 0, "state": {"running": {}}});
    show(&project, &[pod("backend-0", ready.clone())]);
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "todo is rolled out, but no ready endpoints: Service web",
        "Service web: has no endpoints, though pods run: its selector app=none takes none of them; backend-0, the nearest, lacks app=none",
        "Next: kubectl describe service web",
    ]);
    let slice = json!({"kind": "EndpointSlice", "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]});
    show(&project, &[pod("backend-0", ready), slice]);
    project.run(&["up"]).assert_ended(0);
}

#[test]
fn a_hook_that_fails_is_reported_with_its_pod_and_its_log() {
    let project = Project::new();
    project.before("helm template ", HOOK);
    let ended =
        json!({"name": "migrate", "restartCount": 0, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}});
    let appears = format!("echo '{}' >watched; echo '{}' >>watched", hook_job(json!({"active": 1})), hook_pod(ended));
    // As helm does with a hook that it is to delete: its pod has gone when it says so.
    let goes = "until grep -q '^kubectl logs' calls; do sleep 0.05; done; : >watched";
    let says = "echo 'Error: UPGRADE FAILED: pre-upgrade hooks failed: 1 error occurred: * job migrate failed: BackoffLimitExceeded' >&2; exit 1";
    project.before("helm upgrade todo ", &format!("{appears}; {goes}; {says}"));
    project.answer("kubectl logs ", "echo 'column done does not exist'");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "todo cannot be deployed: hook job migrate (pre-upgrade) failed",
        "  pod migrate-1, container migrate: crashed once with exit code 3",
        "    column done does not exist",
        "job migrate failed: BackoffLimitExceeded",
        "Next: kubectl logs migrate-1 --container migrate",
    ]);
    assert!(text_before_the_error(&run).contains("pod migrate-1, container migrate: crashed once"), "{}", run.stderr);
}

#[test]
fn a_hook_that_does_not_end_is_reported_while_helm_waits_for_it() {
    let project = Project::new();
    project.before("helm template ", HOOK);
    let running = json!({"name": "migrate", "restartCount": 0, "state": {"running": {}}});
    let appears = format!("echo '{}' >watched; echo '{}' >>watched", hook_job(json!({"active": 1})), hook_pod(running));
    let waits = "until [ $(grep -c '^kubectl logs' calls) -ge 4 ]; do sleep 0.05; done";
    let says = "echo 'Error: INSTALLATION FAILED: failed pre-install: 1 error occurred: * timed out waiting for the condition' >&2; exit 1";
    project.before("helm upgrade todo ", &format!("{appears}; {waits}; {says}"));
    project.answer("kubectl logs ", "echo 'waiting for a lock'");
    let run = project.run(&["up"]);
    run.assert_ended(4);
    let waits =
        "hook job migrate: helm waits for it (pre-install, pre-upgrade); pod migrate-1 is running, since 10:00:00 UTC";
    assert!(text_before_the_error(&run).contains(waits), "{}", run.stderr);
    run.assert_says(&[
        "todo cannot be deployed: hook job migrate (pre-install) did not end within 60 s",
        "    waiting for a lock",
        "Next: kubectl logs migrate-1 --container migrate",
    ]);
}

#[test]
fn a_hook_that_cannot_start_ends_helm_before_its_deadline() {
    let project = Project::new();
    project.before("helm template ", HOOK);
    let absent =
        json!({"name": "migrate", "image": "migrate:1", "state": {"waiting": {"reason": "ErrImageNeverPull"}}});
    let appears = format!("echo '{}' >watched; echo '{}' >>watched", hook_job(json!({"active": 1})), hook_pod(absent));
    project.before("helm upgrade todo ", &format!("{appears}; echo $$ >pids; exec sleep 120"));
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "todo cannot be deployed, because of pod migrate-1, container migrate\n",
        "  pod migrate-1, container migrate: its image migrate:1 is not on the node",
        "Next: docker exec todo crictl images",
    ]);
    let pids = project.wait_for_lines("standin/pids", 1);
    assert!(eventually(|| !runs(&pids[0])), "{pids:?}");
    let uninstall = format!("helm uninstall todo --ignore-not-found --wait --timeout 60s {HELM}");
    assert_eq!(run.calls_of(&["helm uninstall"]), [uninstall]);
}

#[test]
fn what_was_there_before_helm_began_is_not_its_doing() {
    let project = Project::up();
    project.before("helm template ", HOOK);
    let absent = json!({"name": "server", "image": "backend:0", "restartCount": 0, "state": {"waiting": {"reason": "ErrImageNeverPull"}}});
    show(&project, &[pod("backend-old", absent)]);
    // Long enough for what is hopeless to be believed.
    let waits = "n=$(grep -c '^kubectl get pods,' calls); until [ $(grep -c '^kubectl get pods,' calls) -ge $((n + 14)) ]; do sleep 0.05; done; : >watched";
    project.before("helm upgrade todo ", waits);
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert!(!run.stderr.contains("backend-old"), "{}", run.stderr);
}

#[test]
fn what_the_cluster_refuses_of_helm_is_reported_in_plain_words() {
    let project = Project::new();
    let says = "Error: INSTALLATION FAILED: services \"web\" is forbidden: exceeded quota: few, requested: count/services=1, used: count/services=4, limited: count/services=4";
    project.before("helm upgrade todo ", &format!("echo '{says}' >&2; exit 1"));
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&[
        "todo cannot be deployed\n  release todo: the quota few is exceeded: count/services: 1 requested, 4 of 4 are used",
        "    Error: INSTALLATION FAILED: services \"web\" is forbidden",
        "Next: kubectl describe resourcequota few",
    ]);
}
