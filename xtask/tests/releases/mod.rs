//! Profiles of several releases, Secrets and namespaces: their order, and what goes back when something fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::beginnings;
use super::common::{Project, Run, eventually};

const MANY: [&str; 3] = ["up", "--profile", "many"];
/// Lets the stand-in of `helm upgrade` leave a release as the real one does that failed.
const HELM_FAILS: &str = "manifest \"$3\" | record \"$2\" failed; echo 'Error: UPGRADE FAILED: no' >&2; exit 1";

fn helm(namespace: &str) -> String {
    format!("--kubeconfig STATE/kubeconfig --kube-context todo --namespace {namespace}")
}

pub fn kubectl(namespace: &str) -> String {
    format!("--kubeconfig STATE/kubeconfig --context todo --namespace {namespace}")
}

/// How a release of the profile `many` is installed.
fn upgrade(release: &str, namespace: &str) -> String {
    let staging = format!("CACHE/staging/many-many/{release}");
    let own = match release {
        "tools" => String::new(),
        _ => format!("--values ROOT/k8s/profiles/many.{release}.values.yaml "),
    };
    format!(
        "helm upgrade {release} {staging}/chart --install --history-max 10 --description 'deployed from ROOT' --timeout 60s {} {own}--values {staging}/values.json",
        helm(namespace)
    )
}

fn rollback(release: &str, revision: u64) -> String {
    format!("helm rollback {release} {revision} --history-max 10 --timeout 60s {}", helm("many"))
}

fn uninstall(release: &str, namespace: &str) -> String {
    format!("helm uninstall {release} --ignore-not-found --wait --timeout 60s {}", helm(namespace))
}

/// Changes to releases, in their order.
pub fn deeds(run: &Run) -> Vec<&str> {
    run.calls_of(&["helm upgrade ", "helm rollback ", "helm uninstall "])
        .into_iter()
        .filter(|call| !call.contains("--help"))
        .collect()
}

/// What a Secret of the stand-in's cluster holds.
pub fn secret(project: &Project, path: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_string(), value.to_string()));
    project.read(&format!("standin/secrets/{path}")).lines().filter_map(pair).collect()
}

/// The objects of a kind that were created, by name.
fn created(project: &Project, kind: &str) -> BTreeMap<String, Value> {
    let created = project.read("standin/created");
    let objects = created.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_kind = objects.filter(|object| object["kind"] == kind);
    of_kind.map(|object| (object["metadata"]["name"].as_str().unwrap().to_string(), object)).collect()
}

/// Waits until a release's rollout has been looked at again: it is under way, and not done. What is beside it is done at
/// the first look.
fn wait_for_rollout(project: &Project, release: &str) {
    let upgrade = format!("helm upgrade {release} ");
    let asked = || {
        let calls = project.read("standin/calls");
        calls.split_once(&upgrade).map_or(0, |(_, after)| after.matches("kubectl get pods,").count())
    };
    assert!(eventually(|| asked() >= 3), "no rollout is waited for:\n{}", project.read("standin/calls"));
}

/// Nowhere but in what was handed over on stdin, in the stand-in's cluster and in the person's own files: not as it is, and
/// not in base64. What a database is sent is looked at too: a server may log it.
#[track_caller]
pub fn assert_secret(project: &Project, run: &Run, values: &[&str]) {
    let cluster = project.path("standin/secrets");
    let is_known = |file: &Path| {
        let own = file.to_str().is_some_and(|name| name.ends_with(".override.yaml"));
        own || file.starts_with(&cluster) || file == project.path("standin/created")
    };
    let files = project.files("").into_iter().filter(|file| !is_known(file));
    let texts: Vec<(PathBuf, String)> =
        files.map(|file| (file.clone(), String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned())).collect();
    for value in values.iter().filter(|value| !value.is_empty()) {
        for form in [value.to_string(), BASE64_STANDARD.encode(value)] {
            let printed = [&run.calls.join("\n"), &run.stdout, &run.stderr];
            assert!(printed.iter().all(|text| !text.contains(&form)), "a value of a Secret is reported");
            let leak = texts.iter().find(|(_, text)| text.contains(&form));
            assert!(leak.is_none(), "a value of a Secret is in {}", leak.unwrap().0.display());
        }
    }
}

#[test]
fn a_release_is_begun_when_what_it_needs_is_rolled_out() {
    let project = Project::new();
    project.write("standin/slow", "store\n");
    let run = project.run_while(&MANY, |_| {
        wait_for_rollout(&project, "database");
        let calls = project.read("standin/calls");
        assert!(!calls.contains("helm upgrade api") && !calls.contains("helm upgrade tools"), "{calls}");
        project.write("standin/slow", "backend\n");
        assert!(eventually(|| project.read("standin/calls").contains("helm upgrade api ")));
        let asked = project.read("standin/calls").matches("kubectl get pods,").count();
        assert!(eventually(|| project.read("standin/calls").matches("kubectl get pods,").count() >= asked + 2));
        assert!(!project.read("standin/calls").contains("helm upgrade web"));
        project.write("standin/slow", "");
    });
    run.assert_ended(0);
    let deeds = deeds(&run);
    assert_eq!(deeds[0], upgrade("database", "many-database"));
    let mut free = deeds[1..3].to_vec();
    free.sort();
    assert_eq!(free, [upgrade("api", "many"), upgrade("tools", "many")]);
    assert_eq!(deeds[3..], [upgrade("web", "many")]);
}

#[test]
fn releases_that_are_free_of_each_other_are_installed_side_by_side() {
    let project = Project::new();
    // Each goes on only once the other has begun.
    let meet = |other: &str| {
        format!(
            ": >begun-$2; n=0; until [ -e begun-{other} ]; do n=$((n + 1)); [ $n -lt 400 ] || exit 98; sleep 0.05; done"
        )
    };
    project.before("helm upgrade api ", &meet("tools"));
    project.before("helm upgrade tools ", &meet("api"));
    project.run(&MANY).assert_ended(0);
}

#[test]
fn of_a_wide_wave_nothing_more_is_begun_after_a_failure() {
    let project = Project::new();
    // More than are applied at once; the first fails while the others are at work.
    for number in 10..30 {
        let service = format!(
            "\n[services.s{number}]\nimage = \"s{number}\"\ndockerfile = \"docker/worker.Dockerfile\"\n\
             context = \"services/worker\"\ninputs = [\"main.rs\"]\nport = 8001\nbase = \"rust\"\n"
        );
        let release = format!("\n[releases.r{number}]\nchart = \"charts/single\"\nservices = [\"s{number}\"]\n");
        for (file, text) in [("xtask.toml", service), ("k8s/profiles/dev.toml", release)] {
            project.write(file, &(project.read(file) + &text));
        }
    }
    project.before("helm upgrade r", "case $2 in r10) echo \"Error: refused\" >&2; exit 1 ;; *) sleep 2 ;; esac");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["skipped, because r10 failed: r26, r27, r28, r29, todo"]);
    assert_eq!(run.calls_of(&["helm upgrade r"]).len(), 16);
}

#[test]
fn nothing_is_begun_that_needs_a_release_which_failed() {
    let project = Project::new();
    project.write("standin/failing", "store\n");
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["store failed: timed out", "skipped, because database failed: api, tools, web"]);
    // A first install leaves nothing of itself but its data.
    assert_eq!(deeds(&run), [upgrade("database", "many-database"), uninstall("database", "many-database")]);
    assert!(!run.calls.iter().any(|call| call.starts_with("kubectl delete")), "{:?}", run.calls);
    assert!(!run.stdout.contains("http://"), "{}", run.stdout);
}

#[test]
fn a_failed_upgrade_goes_back_to_the_revision_that_served() {
    let project = Project::up_with("many");
    project.write("k8s/profiles/many.api.values.yaml", "of: second\n");
    project.run(&MANY).assert_ended(0);
    project.write("k8s/profiles/many.api.values.yaml", "of: third\n");
    project.write("services/worker/main.rs", "// changed\n");
    project.write("standin/failing", "backend\n");
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["backend failed: timed out", "api is back at revision 2"]);
    let mut upgrades = deeds(&run);
    assert_eq!(upgrades.pop(), Some(rollback("api", 2).as_str()));
    upgrades.sort();
    // What doesn't need it stays as this run has made it; what needs it was not begun.
    assert_eq!(upgrades, [upgrade("api", "many"), upgrade("tools", "many")]);

    project.write("standin/failing", "");
    let mended = project.run(&MANY);
    mended.assert_ended(0);
    assert_eq!(deeds(&mended), [upgrade("api", "many")]);
}

#[test]
fn an_upgrade_that_helm_itself_refuses_goes_back_too() {
    let project = Project::up_with("many");
    project.write("k8s/profiles/many.api.values.yaml", "of: second\n");
    project.before("helm upgrade api ", HELM_FAILS);
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["UPGRADE FAILED: no"]);
    assert_eq!(deeds(&run), [upgrade("api", "many"), rollback("api", 1)]);
}

#[test]
fn a_first_install_that_helm_itself_refuses_is_removed() {
    let project = Project::new();
    project.before("helm upgrade todo ", HELM_FAILS);
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["UPGRADE FAILED: no"]);
    assert_eq!(beginnings(&deeds(&run)), ["helm upgrade todo", "helm uninstall todo"]);
}

#[test]
fn all_that_fail_beside_each_other_are_reported_and_taken_back() {
    let project = Project::up_with("many");
    project.write("services/backend/main.rs", "// changed\n");
    project.write("services/worker/main.rs", "// changed\n");
    project.write("standin/failing", "backend\nworker\n");
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["backend failed: timed out", "worker failed: timed out"]);
    let deeds = deeds(&run);
    assert_eq!(deeds[2..], [rollback("tools", 1), rollback("api", 1)]);
}

#[test]
fn what_could_not_be_taken_back_is_reported_and_the_rest_still_goes_back() {
    let project = Project::up_with("many");
    project.write("services/backend/main.rs", "// changed\n");
    project.write("services/worker/main.rs", "// changed\n");
    project.write("standin/failing", "backend\nworker\n");
    project.answer("helm rollback tools ", "echo 'Error: locked' >&2; exit 1");
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["tools could not be rolled back", "Error: locked", "api is back at revision 1"]);
    assert_eq!(deeds(&run)[2..], [rollback("tools", 1), rollback("api", 1)]);
}

#[test]
fn a_smoke_check_that_fails_takes_back_what_the_run_changed_and_no_more() {
    let project = Project::up_with("many");
    project.write("k8s/profiles/many.api.values.yaml", "of: second\n");
    project.write("k8s/profiles/many.web.values.yaml", "of: second\n");
    project.edit("xtask.toml", "contains = \"ready\"", "contains = \"steady\"");
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["1 of 1 smoke checks fail", "web is back at revision 1", "api is back at revision 1"]);
    // What needs another goes back before it.
    let expected = [upgrade("api", "many"), upgrade("web", "many"), rollback("web", 1), rollback("api", 1)];
    assert_eq!(deeds(&run), expected);
    // With nothing changed there is nothing to take back.
    project.write("k8s/profiles/many.api.values.yaml", "of: api\n");
    project.write("k8s/profiles/many.web.values.yaml", "of: web\n");
    let again = project.run(&MANY);
    again.assert_ended(1);
    assert_eq!(again.changes(), [""; 0]);
}

#[test]
fn what_failed_stays_to_be_looked_at_where_that_is_asked_for() {
    let project = Project::up_with("many");
    project.write("k8s/profiles/many.api.values.yaml", "of: second\n");
    project.write("standin/failing", "backend\n");
    let run = project.run(&["up", "--profile", "many", "--no-rollback"]);
    run.assert_ended(1);
    run.assert_says(&["backend failed: timed out"]);
    assert_eq!(deeds(&run), [upgrade("api", "many")]);
}

#[test]
fn a_smoke_check_that_fails_after_a_first_install_leaves_no_release() {
    let project = Project::new();
    project.edit("xtask.toml", "contains = \"ready\"", "contains = \"steady\"");
    let run = project.run(&MANY);
    run.assert_ended(1);
    let undone = [
        uninstall("web", "many"),
        uninstall("tools", "many"),
        uninstall("api", "many"),
        uninstall("database", "many-database"),
    ];
    assert_eq!(deeds(&run)[4..], undone);
    assert!(project.path("standin/secrets/many-database/database").exists());
}

#[test]
fn an_interrupt_while_a_release_rolls_out_leaves_it_as_it_is() {
    let project = Project::up_with("many");
    project.write("k8s/profiles/many.api.values.yaml", "of: second\n");
    project.write("standin/slow", "backend\n");
    let run = project.run_while(&MANY, |xtask| {
        wait_for_rollout(&project, "api");
        kill_process(xtask, Signal::INT).unwrap();
    });
    run.assert_ended(130);
    run.assert_says(&["interrupted"]);
    assert_eq!(deeds(&run), [upgrade("api", "many")]);
    // The next run goes on from there.
    project.write("standin/slow", "");
    let next = project.run(&MANY);
    next.assert_ended(0);
    assert_eq!(next.changes(), [""; 0]);
}

#[test]
fn a_release_that_was_left_failed_is_upgraded_and_goes_back_past_what_failed() {
    let project = Project::up_with("many");
    let folder = "standin/namespaces/many/releases/api";
    std::fs::copy(project.path(&format!("{folder}/1")), project.path(&format!("{folder}/2"))).unwrap();
    project.write(&format!("{folder}/revisions"), "1 deployed\n2 failed\n");
    project.write("standin/failing", "backend\n");
    let run = project.run(&MANY);
    run.assert_ended(1);
    assert_eq!(deeds(&run), [upgrade("api", "many"), rollback("api", 1)]);
}

#[test]
fn what_could_not_be_put_right_goes_back_to_before_the_run() {
    let project = Project::up();
    project.write("standin/namespaces/todo/workloads/backend/replicas", "3\n");
    let keep = "manifest \"$3\" | record todo deployed; echo 3 >\"$here/workloads/backend/replicas\"";
    project.answer("helm upgrade todo ", keep);
    project.answer("kubectl delete deployment/backend ", "echo 'Error: no' >&2; exit 1");
    let run = project.run(&["up"]);
    run.assert_ended(1);
    assert_eq!(deeds(&run)[1..], [format!("helm rollback todo 1 --history-max 10 --timeout 60s {}", helm("todo"))]);
}

#[test]
fn what_helm_keeps_of_edits_by_hand_is_made_anew() {
    let project = Project::up();
    project.write("standin/namespaces/todo/workloads/backend/replicas", "3\n");
    let keep = "manifest \"$3\" | record todo deployed; [ -e anew ] || echo 3 >\"$here/workloads/backend/replicas\"";
    project.answer("helm upgrade todo ", keep);
    project.answer("kubectl delete deployment/backend ", ": >anew");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&["recreating deployment/backend: helm would keep what was added by hand"]);
    let delete =
        format!("kubectl delete deployment/backend --ignore-not-found --wait --timeout 60s {}", kubectl("todo"));
    assert_eq!(
        beginnings(&run.changes()),
        ["helm upgrade todo", "kubectl delete deployment/backend", "helm upgrade todo"]
    );
    assert_eq!(run.changes()[1], delete);
}

#[test]
fn the_database_and_its_password_have_a_namespace_of_their_own() {
    let project = Project::new();
    let run = project.run(&["up", "--profile", "many", "--verbose"]);
    run.assert_ended(0);
    let namespaces = created(&project, "Namespace");
    assert_eq!(namespaces.keys().collect::<Vec<_>>(), ["many", "many-database"]);
    for namespace in namespaces.values() {
        let labels = serde_json::json!({
            "app.kubernetes.io/managed-by": "todo-xtask",
            "todo.local/profile": "many",
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        });
        assert_eq!(namespace["metadata"]["labels"], labels);
    }
    // Each namespace is seen to once, and each Secret goes where what reads it will be.
    for name in ["many", "many-database"] {
        let asked = format!("kubectl get namespace/{name} --output json --ignore-not-found {}", kubectl(name));
        assert_eq!(run.calls_of(&[&format!("kubectl get namespace/{name} ")]), [asked.as_str()]);
    }
    let mut creates = run.calls_of(&["kubectl create --filename"]);
    creates.sort();
    let create = |namespace: &str| format!("kubectl create --filename - {}", kubectl(namespace));
    assert_eq!(creates, [create("many"), create("many"), create("many-database"), create("many-database")]);
    let (app, database) = (secret(&project, "many/app"), secret(&project, "many-database/database"));
    assert_eq!(database.keys().collect::<Vec<_>>(), ["PASSWORD"]);
    assert_eq!(app.keys().collect::<Vec<_>>(), ["API_KEY", "DATABASE_URL", "TOKEN"]);
    assert_eq!(app["DATABASE_URL"], format!("postgres://todo:{}@postgres.many-database/todo", database["PASSWORD"]));
    assert_eq!(app["API_KEY"], "");
    assert_secret(&project, &run, &[&database["PASSWORD"], &app["TOKEN"]]);
    let again = project.run(&MANY);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
    // Nor is any value asked for.
    assert!(!again.calls.iter().any(|call| call.contains("$value")), "{:?}", again.calls);
    again.assert_says(&["nothing to deploy: database revision 1, api revision 1, tools revision 1, web revision 1"]);
}

#[test]
fn a_secret_that_is_made_anew_carries_the_password_that_the_database_has() {
    let project = Project::up_with("many");
    let password = secret(&project, "many-database/database")["PASSWORD"].clone();
    for folder in ["standin/secrets/many", "standin/namespaces/many"] {
        std::fs::remove_dir_all(project.path(folder)).unwrap();
    }
    let run = project.run(&MANY);
    run.assert_ended(0);
    assert_eq!(secret(&project, "many-database/database")["PASSWORD"], password);
    assert!(secret(&project, "many/app")["DATABASE_URL"].contains(&password));
    assert_secret(&project, &run, &[&password]);
}

#[test]
fn an_address_follows_the_password_of_a_database_that_is_made_anew() {
    let project = Project::up_with("many");
    for folder in ["standin/secrets/many-database", "standin/namespaces/many-database"] {
        std::fs::remove_dir_all(project.path(folder)).unwrap();
    }
    let token = secret(&project, "many/app")["TOKEN"].clone();
    project.run(&MANY).assert_ended(0);
    let password = &secret(&project, "many-database/database")["PASSWORD"];
    let app = secret(&project, "many/app");
    assert!(app["DATABASE_URL"].contains(password.as_str()), "the address has a password that no database has");
    assert_eq!(app["TOKEN"], token);
}

#[test]
fn a_lost_password_is_not_made_anew_over_the_data_it_opens() {
    let project = Project::up_with("many");
    std::fs::remove_dir_all(project.path("standin/secrets/many-database")).unwrap();
    project.answer("kubectl get persistentvolumeclaims ", r#"echo '{"metadata":{"name":"data-postgres-0"}}'"#);
    let run = project.run(&MANY);
    run.assert_ended(1);
    run.assert_says(&["the volume data-postgres-0 is there, and the Secret database", "down --purge"]);
    assert_eq!(run.changes(), [""; 0]);
}

#[test]
fn a_key_that_a_secret_lacks_is_added_and_the_others_stay() {
    let project = Project::up_with("many");
    let before = secret(&project, "many/app");
    project.edit("k8s/profiles/many.toml", "random = [\"TOKEN\"]", "random = [\"TOKEN\", \"SALT\"]");
    let run = project.run(&MANY);
    run.assert_ended(0);
    let patch = format!("kubectl patch secret/app --type merge --patch-file /dev/stdin {}", kubectl("many"));
    assert_eq!(run.calls_of(&["kubectl patch", "kubectl create --filename"]), [patch]);
    let mut after = secret(&project, "many/app");
    let salt = after.remove("SALT").unwrap();
    assert_eq!(salt.len(), 64);
    assert_eq!(after, before);
    assert_secret(&project, &run, &[&salt, &before["TOKEN"]]);
    // What reads the Secret is rolled: its version stands among the values. The database has one of its own.
    let mut rolled = beginnings(&deeds(&run));
    rolled.sort();
    assert_eq!(rolled, ["helm upgrade api", "helm upgrade tools", "helm upgrade web"]);
}

const OVERRIDE: &str = "k8s/profiles/many.override.yaml";

#[test]
fn a_given_address_takes_the_place_of_the_database() {
    let project = Project::new();
    let (address, key) = ("postgres://sentinel-one@outside:5432/todo", "sentinel-two");
    project.write(OVERRIDE, &format!("secret:\n  values:\n    DATABASE_URL: {address}\n    API_KEY: {key}\n"));
    let run = project.run(&["up", "--profile", "many", "--verbose"]);
    run.assert_ended(0);
    assert!(!run.calls.iter().any(|call| call.contains("many-database") || call.contains("store")), "{:?}", run.calls);
    let mut installed = beginnings(&deeds(&run));
    installed.sort();
    assert_eq!(installed, ["helm upgrade api", "helm upgrade tools", "helm upgrade web"]);
    let app = secret(&project, "many/app");
    assert_eq!((app["DATABASE_URL"].as_str(), app["API_KEY"].as_str()), (address, key));
    assert_secret(&project, &run, &["sentinel-one", "sentinel-two", &app["TOKEN"]]);

    let again = project.run(&MANY);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
    project.run(&["status", "--profile", "many"]).assert_ended(0);
    // What was never installed is no obstacle to going away.
    project.run(&["down", "--profile", "many", "--purge"]).assert_ended(0);
}

#[test]
fn a_key_that_is_given_later_replaces_the_one_in_the_secret_alone() {
    let project = Project::up_with("many");
    let before = secret(&project, "many/app");
    project.write(OVERRIDE, "secret:\n  values:\n    API_KEY: sentinel-two\n");
    let run = project.run(&["up", "--profile", "many", "--verbose"]);
    run.assert_ended(0);
    let mut after = secret(&project, "many/app");
    assert_eq!(after.insert("API_KEY".into(), String::new()).as_deref(), Some("sentinel-two"));
    assert_eq!(after, before);
    assert_secret(&project, &run, &["sentinel-two", &before["TOKEN"]]);
    assert!(!deeds(&run).iter().any(|call| call.contains("database")), "{:?}", deeds(&run));
    // Without the file the cluster's copy is the truth.
    std::fs::remove_file(project.path(OVERRIDE)).unwrap();
    let again = project.run(&MANY);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
}

#[test]
fn a_value_that_kubectl_repeats_when_it_fails_is_not_reported() {
    let project = Project::up_with("many");
    project.write(OVERRIDE, "secret:\n  values:\n    API_KEY: sentinel-two\n");
    project.answer("kubectl patch ", "echo \"error: cannot patch $input\" >&2; exit 1");
    let patched = project.run(&["up", "--profile", "many", "--verbose"]);
    patched.assert_ended(1);
    patched.assert_says(&["could not write the Secret app"]);
    assert_secret(&project, &patched, &["sentinel-two", &secret(&project, "many/app")["TOKEN"]]);
    // Nor when it fails after it has printed the values.
    project.answer("kubectl get secret app --output ", "echo 'API_KEY c2VudGluZWwtdHdv'; exit 1");
    let asked = project.run(&["up", "--profile", "many", "--verbose"]);
    asked.assert_ended(1);
    assert!(!asked.stderr.contains("c2VudGluZWwtdHdv"), "a value of the Secret is reported, in base64");
}

#[test]
fn placeholders_and_unknown_keys_of_an_override_are_reported_with_their_lines() {
    let project = Project::new();
    let text = "secret:\n  values:\n    DATABASE_URL: postgres://todo:CHANGE_ME@db/todo\n    API_KYE: sentinel-two\n";
    project.write(OVERRIDE, text);
    let run = project.run(&MANY);
    run.assert_ended(2);
    run.assert_says(&[
        "k8s/profiles/many.override.yaml:3:5: secret.values.DATABASE_URL is still a placeholder",
        "k8s/profiles/many.override.yaml:4:5: secret.values.API_KYE is no key of a Secret",
        "2 mistakes",
    ]);
    assert_eq!(run.calls, [""; 0]);
    assert_secret(&project, &run, &["sentinel-two"]);
    // Of several releases each has values under its own name.
    project.write(OVERRIDE, "api: {}\nreplicaCount: 2\n");
    let run = project.run(&MANY);
    run.assert_ended(2);
    run.assert_says(&[
        "k8s/profiles/many.override.yaml:2:1: replicaCount is no release of the profile: known are api, tools, web",
    ]);
    assert_eq!(run.calls, [""; 0]);
}

#[test]
fn an_empty_address_in_an_override_is_none() {
    let project = Project::new();
    project.write(OVERRIDE, "secret:\n  values:\n    DATABASE_URL: \"\"\n");
    project.run(&MANY).assert_ended(0);
    assert!(secret(&project, "many/app")["DATABASE_URL"].starts_with("postgres://"));
    assert!(project.path("standin/namespaces/many-database/releases/database").exists());
}

/// A profile that owns `default`, with its database elsewhere and one release of its own.
const SHARED: &str = r#"
namespace = "default"

[releases.database]
chart = "charts/database"
namespace = "shared-database"
services = ["store"]
secret = "database"
unless = "URL"

[releases.todo]
chart = "chart"
services = ["backend", "frontend"]
secret = "todo-secrets"
needs = ["database"]

[secrets.todo-secrets]
derived = { URL = "postgres://todo:{PASSWORD}@postgres.shared-database/todo" }

[secrets.database]
namespace = "shared-database"
random = ["PASSWORD"]

[services.store]
image = "store"
dockerfile = "docker/store.Dockerfile"
context = "services/store"
inputs = ["main.rs"]
port = 5432
base = "debian"
"#;

fn shared() -> Project {
    let project = Project::new();
    project.write("k8s/profiles/shared.toml", SHARED);
    project
}

#[test]
fn values_of_a_persons_own_are_laid_over_the_profiles_and_under_the_generated_ones() {
    let project = shared();
    let own = "services:\n  backend:\n    replicaCount: 2\nsecret:\n  values:\n    URL: postgres://sentinel-one/\n";
    project.write("k8s/profiles/shared.override.yaml", own);
    let run = project.run(&["up", "--profile", "shared"]);
    run.assert_ended(0);
    let staging = "CACHE/staging/shared-default/todo";
    let expected = format!("--values {staging}/override.json --values {staging}/values.json");
    let upgrades = deeds(&run);
    assert!(upgrades.len() == 1 && upgrades[0].ends_with(&expected), "{upgrades:?}");
    let staged: Value =
        serde_json::from_str(&project.read("cache/todo/staging/shared-default/todo/override.json")).unwrap();
    assert_eq!(staged, serde_json::json!({ "services": { "backend": { "replicaCount": 2 } } }));
}

#[test]
fn of_several_releases_each_has_values_of_a_persons_own_under_its_name() {
    let project = Project::new();
    project.write(OVERRIDE, "api:\n  replicaCount: 2\nsecret:\n  values:\n    API_KEY: sentinel-two\n");
    let run = project.run(&MANY);
    run.assert_ended(0);
    let given = |release: &str| run.calls_of(&[&format!("helm upgrade {release} ")])[0].contains("override.json");
    assert_eq!(["api", "database", "tools", "web"].map(given), [true, false, false, false]);
    let staged = project.read("cache/todo/staging/many-many/api/override.json");
    assert_eq!(serde_json::from_str::<Value>(&staged).unwrap(), serde_json::json!({ "replicaCount": 2 }));
    assert_secret(&project, &run, &["sentinel-two"]);
}

#[test]
fn a_value_of_an_override_that_would_be_lost_is_refused_with_the_line_that_sets_it() {
    let project = shared();
    let lost = "services:\n  backend:\n    port: 9000\n    image:\n      tag: mine\n    replicaCount: 2\n";
    project.write("mine.yaml", lost);
    let file = project.path("mine.yaml").display().to_string();
    for command in ["up", "plan", "render", "config"] {
        let arguments = [command, "--profile", "shared", "--override", &file, "--explain"];
        let count = if command == "config" { 6 } else { 5 };
        let run = project.run(&arguments[..count]);
        run.assert_ended(2);
        run.assert_says(&[
            "mine.yaml:3:5: services.backend.port has no effect, as xtask.toml:26:8 sets it: change it there",
            "mine.yaml:5:7: services.backend.image.tag has no effect, as cargo xtask up sets it: leave it out",
        ]);
        assert_eq!(run.changes(), [""; 0]);
    }
    project.write("mine.yaml", "services:\n  backend:\n    port: 8000\n    replicaCount: 2\n");
    let run = project.run(&["config", "--profile", "shared", "--override", &file, "--explain"]);
    run.assert_ended(0);
    let line = run.stdout.lines().find(|line| line.contains("services.backend.replicaCount")).unwrap();
    assert!(line.contains("= 2") && line.contains("mine.yaml:4:5"), "{line}");
    project.run(&["render", "--profile", "shared", "--override", &file]).assert_ended(0);
    let render = project.run(&["render", "--profile", "shared", "--override", &file]);
    assert!(render.calls_of(&["helm template todo"])[0].contains("override.json"), "{:?}", render.calls);
}

#[test]
fn a_value_that_the_charts_schema_refuses_is_named_with_its_line() {
    let project = shared();
    project.write("k8s/profiles/shared.override.yaml", "services:\n  backend:\n    configMap: 5\n");
    let said = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\\ntodo:\\n";
    let said = format!("{said}- at '/services/backend/configMap': got number, want string\\n");
    project.answer("helm template todo ", &format!("printf \"{said}\" >&2; exit 1"));
    for command in ["render", "up", "plan"] {
        let run = project.run(&[command, "--profile", "shared"]);
        run.assert_ended(2);
        let value =
            "k8s/profiles/shared.override.yaml:3:5: services.backend.configMap must be a string, and is a number";
        run.assert_says(&[value, "put it in quotes"]);
        assert!(!run.stderr.contains("staging"), "{}", run.stderr);
        assert_eq!(
            run.calls_of(&["helm upgrade"]),
            ["helm upgrade --help"; 2][..run.calls_of(&["helm upgrade"]).len()]
        );
    }
}

#[test]
fn values_of_a_persons_own_are_not_the_databases() {
    let project = shared();
    project.write("k8s/profiles/shared.override.yaml", "services:\n  backend:\n    replicaCount: 2\n");
    let run = project.run(&["up", "--profile", "shared"]);
    run.assert_ended(0);
    let database = run.calls_of(&["helm upgrade database "]);
    assert!(database.len() == 1 && !database[0].contains("override.json"), "{database:?}");
}

#[test]
fn the_namespace_default_is_borrowed_and_given_back() {
    let project = shared();
    let run = project.run(&["up", "--profile", "shared"]);
    run.assert_ended(0);
    let levels = ["pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"];
    let label = format!(
        "kubectl label namespace/default todo.local/profile=shared {}=restricted {}=restricted --overwrite {}",
        levels[0],
        levels[1],
        kubectl("default")
    );
    assert_eq!(run.calls_of(&["kubectl label"]), [label]);
    assert_eq!(created(&project, "Namespace").keys().collect::<Vec<_>>(), ["shared-database"]);
    let again = project.run(&["up", "--profile", "shared"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);

    let down = project.run(&["down", "--profile", "shared", "--purge"]);
    down.assert_ended(0);
    let delete = |selector: &str| {
        format!(
            "kubectl delete secrets,persistentvolumeclaims --selector={selector} --ignore-not-found --wait --timeout 60s {}",
            kubectl("default")
        )
    };
    let expected = [
        uninstall("todo", "default"),
        uninstall("database", "shared-database"),
        delete("app.kubernetes.io/managed-by=todo-xtask"),
        delete("app.kubernetes.io/part-of=todo"),
        format!(
            "kubectl delete namespace/shared-database --ignore-not-found --wait --timeout 60s {}",
            kubectl("shared-database")
        ),
        format!(
            "kubectl label namespace/default todo.local/profile- {}- {}- --overwrite {}",
            levels[0],
            levels[1],
            kubectl("default")
        ),
    ];
    assert_eq!(down.changes(), expected);
    assert_eq!(project.read("standin/namespaces/default/labels"), "");
}

#[test]
fn a_namespace_belongs_to_one_profile_at_a_time() {
    let project = shared();
    project.write("k8s/profiles/other.toml", &SHARED.replace("shared-database", "other-database"));
    project.run(&["up", "--profile", "shared"]).assert_ended(0);
    let refused = project.run(&["up", "--profile", "other"]);
    refused.assert_ended(3);
    refused.assert_says(&[
        "namespace default holds todo of profile shared, and one profile at a time has it",
        "Next: cargo xtask down --profile shared",
    ]);
    assert_eq!(deeds(&refused), [""; 0]);
    assert!(project.read("standin/namespaces/default/labels").contains("profile shared"));

    project.run(&["down", "--profile", "shared"]).assert_ended(0);
    project.run(&["up", "--profile", "other"]).assert_ended(0);
    assert!(project.read("standin/namespaces/default/labels").contains("profile other"));
}

#[test]
fn what_another_profile_runs_is_not_taken_down_or_back() {
    let project = shared();
    project.write("k8s/profiles/other.toml", &SHARED.replace("shared-database", "other-database"));
    project.run(&["up", "--profile", "shared"]).assert_ended(0);
    for command in [&["down"][..], &["down", "--purge"], &["rollback", "1"]] {
        let run = project.run(&[command, &["--profile", "other"]].concat());
        run.assert_ended(3);
        run.assert_says(&["namespace default holds todo of profile shared"]);
        assert_eq!(run.changes(), [""; 0]);
    }
}

#[test]
fn a_namespace_that_others_made_keeps_its_own_level() {
    let project = Project::up();
    project.run(&["down"]).assert_ended(0);
    project.write("standin/namespaces/todo/labels", "theirs yes\n");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let label = format!("kubectl label namespace/todo todo.local/profile=dev --overwrite {}", kubectl("todo"));
    assert_eq!(run.calls_of(&["kubectl label"]), [label]);
    project.run(&["down"]).assert_ended(0);
    assert_eq!(project.read("standin/namespaces/todo/labels"), "theirs yes\n");
}

#[test]
fn a_namespace_that_is_going_is_waited_for_and_made_anew() {
    let project = Project::up();
    project.run(&["down"]).assert_ended(0);
    project.write("standin/namespaces/todo/phase", "Terminating");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let changes = run.changes();
    let wait = format!("kubectl delete namespace/todo --ignore-not-found --wait --timeout 60s {}", kubectl("todo"));
    assert_eq!(changes[..2], [wait, format!("kubectl create --filename - {}", kubectl("todo"))]);
}

#[test]
fn down_goes_backwards_and_keeps_the_data_of_all_namespaces() {
    let project = Project::up_with("many");
    let run = project.run(&["down", "--profile", "many"]);
    run.assert_ended(0);
    let mut changes = run.changes();
    changes[1..3].sort();
    let expected = [
        uninstall("web", "many"),
        uninstall("api", "many"),
        uninstall("tools", "many"),
        uninstall("database", "many-database"),
    ];
    assert_eq!(changes, expected);
    assert!(run.stdout.contains("many and many-database"), "{}", run.stdout);
}

#[test]
fn a_purge_is_refused_whole_when_one_namespace_is_anothers() {
    let project = Project::up_with("many");
    project.write("standin/namespaces/many-database/labels", "theirs yes\n");
    let run = project.run(&["down", "--profile", "many", "--purge"]);
    run.assert_ended(1);
    run.assert_says(&["namespace many-database was not made by this tool"]);
    assert_eq!(run.changes(), [""; 0]);
}

/// A project that is up, with `more` node ports free beside its own, which `theirs` holds.
#[test]
fn a_purge_removes_the_data_that_the_provisioner_leaves() {
    let project = Project::up();
    let volume = |name: &str, namespace: &str| {
        let path = format!("/tmp/hostpath-provisioner/{namespace}/data");
        let about = format!(
            r#"{{"name":"{name}","annotations":{{"pv.kubernetes.io/provisioned-by":"k8s.io/minikube-hostpath"}}}}"#
        );
        let claim = format!(r#"{{"namespace":"{namespace}","name":"data"}}"#);
        let spec = format!(
            r#"{{"persistentVolumeReclaimPolicy":"Delete","claimRef":{claim},"hostPath":{{"path":"{path}"}}}}"#
        );
        format!(r#"{{"metadata":{about},"spec":{spec},"status":{{"phase":"Released"}}}}"#)
    };
    project.write("standin/volumes", &[volume("ours", "todo"), volume("other", "theirs")].join(","));
    project.answer("docker exec todo rm ", "exit 0");
    project.answer("kubectl delete persistentvolume/", "exit 0");
    let run = project.run(&["down", "--purge"]);
    run.assert_ended(0);
    let wanted = [
        "docker exec todo rm --recursive --force --one-file-system /tmp/hostpath-provisioner/todo/data".to_string(),
        format!("kubectl delete persistentvolume/ours --ignore-not-found --wait --timeout 5s {}", kubectl("todo")),
    ];
    assert_eq!(run.calls_of(&["docker exec todo rm", "kubectl delete persistentvolume/"]), wanted);
}

fn with_node_ports(more: u16) -> Project {
    let project = Project::up();
    project.run(&["down", "--purge"]).assert_ended(0);
    let port = project.node_port;
    project.edit("xtask.toml", &format!("last = {port}"), &format!("last = {}", port + more));
    let about = r#"{"namespace":"theirs","name":"x","labels":{"app.kubernetes.io/name":"page"}}"#;
    project.write(
        "standin/services",
        &format!("{{\"kind\":\"Service\",\"metadata\":{about},\"spec\":{{\"ports\":[{{\"nodePort\":{port}}}]}}}}\n"),
    );
    project
}

#[test]
fn an_automatic_node_port_is_a_free_one_and_stays() {
    let project = with_node_ports(2);
    let port = project.node_port;
    project.edit("xtask.toml", &format!("node_port = {port}"), "node_port = \"auto\"");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    // The last of them: the first ones are what profiles choose.
    assert!(run.stdout.contains(&format!("http://127.0.0.1:{}", port + 2)), "{}", run.stdout);
    assert!(!run.stderr.contains("is held by"), "{}", run.stderr);
    // The first is free again, and that is no reason to move.
    project.write("standin/services", "");
    let again = project.run(&["up"]);
    again.assert_ended(0);
    assert_eq!(again.changes(), [""; 0]);
}

#[test]
fn several_node_ports_are_chosen_without_getting_in_each_others_way() {
    let project = with_node_ports(2);
    let port = project.node_port;
    project.write("standin/services", "");
    // Nobody listens on these ports.
    project.edit("k8s/profiles/dev.toml", "namespace = \"todo\"\n", "namespace = \"todo\"\nsmoke = []\n");
    project.edit("xtask.toml", "port = 8000\n", "port = 8000\nnode_port = \"auto\"\n");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    // What is fixed chooses first, whatever its name.
    assert!(!run.stderr.contains("is held by"), "{}", run.stderr);
    let ports = |service: &str| project.read(&format!("standin/namespaces/todo/workloads/{service}/ports"));
    assert_eq!((ports("backend"), ports("frontend")), (format!("8000/{}\n", port + 2), format!("3000/{port}\n")));

    project.run(&["down"]).assert_ended(0);
    project.edit("xtask.toml", &format!("node_port = {port}"), "node_port = \"auto\"");
    project.run(&["up"]).assert_ended(0);
    assert_ne!(ports("backend").trim_start_matches("8000/"), ports("frontend").trim_start_matches("3000/"));
}

#[test]
fn a_node_port_that_others_hold_is_reported_and_taken_once_it_is_free() {
    let project = with_node_ports(1);
    let port = project.node_port;
    let run = project.run(&["up"]);
    run.assert_ended(0);
    run.assert_says(&[&format!("node port {port} is held by page in namespace theirs; frontend has {}", port + 1)]);
    project.write("standin/services", "");
    let moved = project.run(&["up"]);
    moved.assert_ended(0);
    assert_eq!(beginnings(&moved.changes()), ["helm upgrade todo"]);
    assert!(moved.stdout.contains(&format!("http://127.0.0.1:{port}")), "{}", moved.stdout);
}

#[test]
fn without_a_free_node_port_nothing_is_installed() {
    let project = with_node_ports(0);
    let run = project.run(&["up"]);
    run.assert_ended(1);
    run.assert_says(&["all node ports from", "cargo xtask down"]);
    assert_eq!(deeds(&run), [""; 0]);
}

#[test]
fn rollback_goes_to_the_last_revision_that_worked_and_checks_it() {
    let project = Project::up();
    project.write("services/backend/main.rs", "// second\n");
    project.run(&["up"]).assert_ended(0);
    let run = project.run(&["rollback"]);
    run.assert_ended(0);
    assert!(run.stdout.contains("todo runs as before"), "{}", run.stdout);
    let back = |revision: u64| format!("helm rollback todo {revision} --history-max 10 --timeout 60s {}", helm("todo"));
    assert_eq!(run.changes(), [back(1)]);
    let order = run.calls_of(&["helm rollback", "helm get manifest", "kubectl get pods,", "kubectl port-forward"]);
    assert_eq!(
        beginnings(&order),
        [
            "helm get manifest",
            "helm rollback todo",
            "helm get manifest",
            "kubectl get pods,events,deployments,statefulsets,daemonsets,jobs,endpointslices,persistentvolumeclaims",
            "kubectl port-forward --address"
        ]
    );

    let named = project.run(&["rollback", "2"]);
    named.assert_ended(0);
    assert_eq!(named.changes(), [back(2)]);
    let unknown = project.run(&["rollback", "9"]);
    unknown.assert_ended(1);
    unknown.assert_says(&["there is no revision 9: known are 1, 2, 3, 4"]);
    assert_eq!(unknown.changes(), [""; 0]);
    project.write("standin/broken", "backend\n");
    let failed = project.run(&["rollback", "3"]);
    failed.assert_ended(1);
    failed.assert_says(&["backend failed: timed out"]);
    assert_eq!(failed.calls_of(&["kubectl port-forward"]), [""; 0]);
}

#[test]
fn rollback_takes_the_releases_of_the_profiles_namespace_in_their_order() {
    let project = Project::up_with("many");
    for service in ["store", "backend", "worker", "frontend"] {
        project.write(&format!("services/{service}/main.rs"), "// second\n");
    }
    project.run(&MANY).assert_ended(0);
    let run = project.run(&["rollback", "--profile", "many"]);
    run.assert_ended(0);
    // The database has a life of its own.
    assert_eq!(run.changes(), [rollback("api", 1), rollback("tools", 1), rollback("web", 1)]);
    let one = project.run(&["rollback", "2", "--release", "database", "--profile", "many"]);
    one.assert_ended(0);
    assert_eq!(beginnings(&one.changes()), ["helm rollback database"]);
    for (wrong, says) in
        [(&["2"][..], "--release NAME"), (&["--release", "apo"], "known are api, database, tools, web")]
    {
        let run = project.run(&[&["rollback", "--profile", "many"], wrong].concat());
        run.assert_ended(2);
        run.assert_says(&[says]);
        assert_eq!(run.changes(), [""; 0]);
    }
}

#[test]
fn rollback_changes_nothing_when_one_release_has_nothing_to_go_back_to() {
    let project = Project::up_with("many");
    project.write("services/backend/main.rs", "// second\n");
    project.run(&MANY).assert_ended(0);
    let run = project.run(&["rollback", "--profile", "many"]);
    run.assert_ended(1);
    run.assert_says(&["tools: revision 1 has none before it that worked"]);
    assert_eq!(run.changes(), [""; 0]);
}

#[test]
fn config_tells_which_line_says_what() {
    let project = Project::new();
    project.write("charts/single/values.yaml", "of: chart\nmore: true\n");
    let run = project.run(&["config", "--profile", "many", "--explain"]);
    run.assert_ended(0);
    let text: Vec<Vec<&str>> = run.stdout.lines().map(|line| line.splitn(2, "  #").map(str::trim).collect()).collect();
    for expected in [
        ["open = \"frontend\"", "xtask.toml:3:8"],
        ["namespace = \"many\"", "k8s/profiles/many.toml:2:13"],
        ["releases.database.namespace = \"many-database\"", "k8s/profiles/many.toml:6:13"],
        ["services.backend.port = 8000", "xtask.toml:26:8"],
        ["services.worker.port = 8001", "k8s/profiles/many.toml:56:8"],
        ["values.api.of = \"api\"", "k8s/profiles/many.api.values.yaml:1:1"],
        ["values.api.more = true", "charts/single/values.yaml:2:1"],
    ] {
        assert!(text.iter().any(|line| line[..] == expected), "{expected:?} is not in\n{}", run.stdout);
    }
    let plain = project.run(&["config", "--profile", "many"]);
    plain.assert_ended(0);
    let value: Value = serde_json::from_str(&plain.stdout).unwrap();
    assert_eq!(value["releases"]["web"]["needs"][0], "api");
    assert_eq!((run.calls.len(), plain.calls.len()), (0, 0));
}

#[test]
fn render_prints_every_release_without_a_cluster_and_without_images() {
    let project = Project::new();
    let run = project.run(&["render", "--profile", "many"]);
    run.assert_ended(0);
    for name in ["store", "backend", "worker", "frontend"] {
        assert!(run.stdout.contains(&format!("kind: Deployment\nmetadata:\n  name: {name}\n")), "{}", run.stdout);
    }
    assert_eq!(run.changes(), [""; 0]);
    assert_eq!(run.calls_of(&["kubectl get", "helm history", "helm upgrade api", "minikube start --profile"]), [""; 0]);
    let json = project.run(&["render", "--profile", "many", "--json"]);
    let answer: Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    let namespaces = answer["releases"].as_array().unwrap().iter().map(|one| one["namespace"].as_str().unwrap());
    assert_eq!(namespaces.collect::<Vec<_>>(), ["many", "many-database", "many", "many"]);
}

#[test]
fn render_asks_for_helm_alone() {
    let project = Project::new();
    let run = project.run(&["render"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker"]), [""; 0]);
    // A machine that has no docker can render too.
    std::fs::remove_file(project.path("bin/docker")).unwrap();
    project.run(&["render"]).assert_ended(0);
}

#[test]
fn a_staged_chart_has_the_releases_name_and_the_images_tag() {
    let project = Project::up_with("many");
    let images = project.read("standin/host-images");
    let (_, tag) = images.lines().find_map(|line| line.split_once(' ')?.0.split_once("frontend:")).unwrap();
    let staged = |release: &str| project.read(&format!("cache/todo/staging/many-many/{release}/chart/Chart.yaml"));
    assert_eq!(staged("web"), format!("name: web\nappVersion: \"{tag}\"\n"));
    assert_eq!(staged("api"), "name: chart\nappVersion: 0.0.0\n");
}

#[test]
fn a_tunnel_is_for_load_balancers() {
    let project = Project::up();
    let run = project.run(&["tunnel"]);
    run.assert_ended(1);
    run.assert_says(&["profile dev runs no Service of type LoadBalancer", "cargo xtask status --profile dev"]);
    assert_eq!(run.changes(), [""; 0]);

    project.write("standin/load-balancers", "frontend\n");
    project.answer("minikube tunnel ", "exit 1");
    let ended = project.run(&["tunnel"]);
    ended.assert_ended(1);
    ended.assert_says(&["minikube tunnel exited"]);
    assert_eq!(ended.changes(), ["minikube tunnel --profile todo --cleanup"]);
}

#[test]
fn a_load_balancer_without_an_address_is_reported_and_not_waited_for() {
    let project = Project::up();
    project.write("standin/load-balancers", "frontend\n");
    let run = project.run(&["up"]);
    run.assert_ended(0);
    let message = "frontend is a LoadBalancer and waits for an address: cargo xtask tunnel --profile dev; meanwhile it answers at";
    run.assert_says(&[&format!("{message} http://127.0.0.1:{}", project.node_port)]);
    project.write("standin/load-balancers", "frontend 10.0.0.9\n");
    let given = project.run(&["up"]);
    given.assert_ended(0);
    assert!(!given.stderr.contains("waits for an address"), "{}", given.stderr);
}

#[test]
fn only_a_profile_of_one_namespace_can_be_moved() {
    let project = Project::new();
    let run = project.run(&["up", "--profile", "many", "--namespace", "elsewhere"]);
    run.assert_ended(2);
    run.assert_says(&["--namespace elsewhere", "many-database"]);
    assert_eq!(run.calls, [""; 0]);

    let moved = project.run(&["up", "--namespace", "elsewhere"]);
    moved.assert_ended(0);
    let upgrades = deeds(&moved);
    assert!(upgrades[0].contains("CACHE/staging/dev-elsewhere/todo/chart"), "{upgrades:?}");
    assert!(upgrades[0].contains(&helm("elsewhere")), "{upgrades:?}");
    assert!(!moved.calls.iter().any(|call| call.contains("--namespace todo")), "{:?}", moved.calls);
}
