//! Clusters of others: which cluster is changed, by which images, and who is kept off.

use std::fs;

use serde_json::{Value, json};

use super::common::{Project, Run};

/// The certificate of an authority, as far as anybody here reads it: the word in it.
const PEM: &str = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
const TEAM: &str =
    "\n[targets.team]\nkubeconfig = \"team.yaml\"\ncontext = \"team\"\nregistry = \"registry.example.org/todo\"\n";
const AT: &str = "--kubeconfig ROOT/team.yaml --context team --namespace todo";

fn kubeconfig(authority: &str) -> String {
    let cluster = json!({"server": "https://team.example.org:6443", "certificate-authority": authority});
    json!({
        "clusters": [{"name": "c", "cluster": cluster}], "contexts": [{"name": "team", "context": {"cluster": "c"}}],
    })
    .to_string()
}

/// A project whose target runs, and is known.
fn project(more: &str) -> Project {
    let project = Project::new();
    project.write("xtask.toml", &format!("{}{TEAM}{more}", project.read("xtask.toml")));
    project.write("team.yaml", &kubeconfig("team.crt"));
    project.write("team.crt", PEM);
    project.write("other.crt", &PEM.replace("YWJj", "YWJk"));
    for (file, text) in [("cluster", "team\n"), ("uid", "u-1"), ("registry", ""), ("namespaces/default/labels", "")] {
        project.write(&format!("standin/{file}"), text);
    }
    // It is no minikube of ours, and has no file of ours to be reached by.
    project.write("state/todo/kubeconfig", "");
    let added = project.run(&["target", "add", "team"]);
    added.assert_ended(0);
    assert!(added.stdout.contains("kube-system has the UID u-1"), "{}", added.stdout);
    project
}

fn on_team(project: &Project, arguments: &[&str]) -> Run {
    project.run(&[arguments, &["--target", "team"]].concat())
}

#[track_caller]
fn assert_refused(run: &Run, code: i32, says: &[&str]) {
    run.assert_ended(code);
    run.assert_says(says);
    let changes = run.changes();
    let is_of_cluster = |call: &&&str| call.starts_with("kubectl") || call.starts_with("helm");
    assert_eq!(changes.iter().filter(is_of_cluster).collect::<Vec<_>>(), [&""; 0], "something was changed");
}

#[test]
fn up_pushes_what_the_registry_lacks_and_deploys_it_by_its_digest() {
    let project = project("pull_secret = \"pull\"\n");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["minikube start --profile", "docker exec"]), [""; 0]);
    let pushes = run.calls_of(&["docker image push"]);
    let reference = "docker image push registry.example.org/todo/backend:BACKEND_TAG";
    assert!(pushes.contains(&reference) && pushes.len() == 2, "{pushes:?}");
    let foreign = |call: &&&str| !call.contains("--kubeconfig ROOT/team.yaml") || !call.contains("team --namespace");
    let of_cluster =
        run.calls_of(&["kubectl get", "kubectl create -", "kubectl replace", "helm upgrade todo", "helm history"]);
    assert_eq!(of_cluster.iter().filter(foreign).collect::<Vec<_>>(), [&""; 0]);
    let values: Value = serde_json::from_str(&project.read("standin/namespaces/todo/releases/todo/values")).unwrap();
    let backend = &values["services"]["backend"];
    assert_eq!(backend["image"]["repository"], "registry.example.org/todo/backend");
    let tag = backend["image"]["tag"].as_str().unwrap();
    assert!(tag.contains("@sha256:") && tag.starts_with("0."), "{tag}");
    assert_eq!(
        (&backend["image"]["pullPolicy"], &backend["imagePullSecrets"]),
        (&json!("IfNotPresent"), &json!(["pull"]))
    );
    // A port of every node is opened for nobody.
    let frontend = &values["services"]["frontend"]["service"];
    assert!(frontend["nodePort"].is_null() && frontend["type"] == "ClusterIP", "{frontend}");

    let again = on_team(&project, &["up"]);
    again.assert_ended(0);
    assert_eq!(again.calls_of(&["docker build --progress", "docker image push", "helm upgrade todo"]), [""; 0]);
    let planned = on_team(&project, &["plan"]);
    assert!(planned.stdout.contains("nothing to do"), "{}", planned.stdout);
}

/// Of a target whose images a builder makes.
const BUILDER: &str = "builder = \"far\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";

#[test]
fn a_builder_makes_and_pushes_what_the_registry_lacks_for_all_platforms() {
    let project = project(BUILDER);
    project.write("standin/builders", "far\n");
    let planned = on_team(&project, &["plan"]);
    let why = "lacks it: builder far for linux/amd64 and linux/arm64 makes it";
    assert!(planned.stdout.contains(why) && !planned.stdout.contains("build "), "{}", planned.stdout);
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker build --progress", "docker image push", "docker image tag"]), [""; 0]);
    let builds = run.calls_of(&["docker buildx build"]);
    let backend = builds.iter().find(|call| call.contains("--tag registry.example.org/todo/backend:")).unwrap();
    assert!(backend.contains("--builder far") && backend.contains("--push"), "{backend}");
    assert!(backend.contains("--platform linux/amd64,linux/arm64") && builds.len() == 2, "{builds:?}");
    let values: Value = serde_json::from_str(&project.read("standin/namespaces/todo/releases/todo/values")).unwrap();
    let tag = values["services"]["backend"]["image"]["tag"].as_str().unwrap();
    assert!(tag.contains("@sha256:"), "{tag}");
    assert_ended_with_nothing_to_do(&on_team(&project, &["up"]));

    // Somebody else pushed it for his own platform alone.
    let pushed = project.read("standin/pushed");
    let (first, _) = pushed.split_once('\n').unwrap();
    let (reference, _) = first.split_once(' ').unwrap();
    project.write("standin/pushed", &format!("{pushed}{reference} linux/amd64\n"));
    let again = on_team(&project, &["up"]);
    again.assert_ended(0);
    let builds = again.calls_of(&["docker buildx build"]);
    assert!(builds.len() == 1 && builds[0].contains("--platform linux/amd64,linux/arm64"), "{builds:?}");
}

#[test]
fn a_builder_that_is_not_there_ends_the_run_before_anything_is_deployed() {
    let project = project(BUILDER);
    let fails = |words: &[&str]| {
        let run = on_team(&project, &["up"]);
        run.assert_ended(1);
        run.assert_says(words);
        assert_eq!(run.calls_of(&["docker buildx build", "helm upgrade todo"]), [""; 0]);
    };
    fails(&["docker has no buildx: docker: 'buildx' is not a docker command", "Next: install docker's plugin buildx"]);
    project.write("standin/builders", "near\n");
    fails(&["docker knows no builder far", "Next: docker buildx create --name far"]);
}

#[track_caller]
fn assert_ended_with_nothing_to_do(run: &Run) {
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker build --progress", "docker buildx build", "helm upgrade todo"]), [""; 0]);
}

#[test]
fn what_another_machine_pushed_is_not_built_here() {
    let project = project("");
    on_team(&project, &["up"]).assert_ended(0);
    project.write("standin/host-images", "");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["docker build --progress", "docker image push", "helm upgrade todo"]), [""; 0]);
}

#[test]
fn what_a_gitops_controller_applies_is_left_to_it() {
    let project = project("");
    on_team(&project, &["up"]).assert_ended(0);
    // As it is where Argo CD alone made it: helm has no release.
    fs::remove_dir_all(project.path("standin/namespaces/todo/releases/todo")).unwrap();
    project.write("standin/applied-by", "todo\n");
    let status = on_team(&project, &["status"]);
    status.assert_ended(0);
    let head = "release   todo applied by Argo CD, Application todo, namespace todo";
    assert!(status.stdout.contains(head), "{}", status.stdout);
    // It was made with the version of a Secret, which a package does not have.
    let planned = on_team(&project, &["plan"]);
    planned.assert_ended(0);
    assert!(planned.stdout.contains("it is applied by Argo CD, Application todo"), "{}", planned.stdout);
    let refused = on_team(&project, &["up"]);
    refused.assert_ended(3);
    refused.assert_says(&[
        "todo in namespace todo is not deployed by helm",
        "Next: cargo xtask package --target team --gitops argocd",
    ]);
    assert_eq!(refused.calls_of(&["helm upgrade todo", "kubectl patch"]), [""; 0]);
    let wanted =
        planned.stdout.split("→ ").nth(1).and_then(|rest| rest.split([',', ';']).next()).unwrap().trim_matches('"');
    for service in ["backend", "frontend"] {
        project.write(&format!("standin/namespaces/todo/workloads/{service}/values"), &format!("{wanted}\n"));
    }
    let planned = on_team(&project, &["plan"]);
    assert!(planned.stdout.contains("nothing to do"), "{}", planned.stdout);
    let same = on_team(&project, &["up"]);
    same.assert_ended(0);
    same.assert_says(&["nothing to deploy: todo is up to date"]);
    assert_eq!(same.calls_of(&["helm upgrade todo"]), [""; 0]);
}

/// A project of which a target has two revisions, so that helm could go back.
fn deployed_twice() -> Project {
    let project = project("");
    on_team(&project, &["up"]).assert_ended(0);
    project.write("services/backend/main.rs", "// another\n");
    on_team(&project, &["up"]).assert_ended(0);
    project
}

/// The same where Argo CD alone made it: helm has no release.
fn applied_by_argo_cd() -> Project {
    let project = deployed_twice();
    fs::remove_dir_all(project.path("standin/namespaces/todo/releases/todo")).unwrap();
    project.write("standin/applied-by", "todo\n");
    let entry = |id: u32| json!({"id": id, "revision": "0.1.0+haa", "deployedAt": format!("2026-01-3{id}T00:00:00Z")});
    let history = json!([entry(0), entry(1)]);
    project.write("standin/applier", &json!({"kind": "Application", "status": {"history": history}}).to_string());
    project
}

#[test]
fn rollback_leaves_to_a_gitops_controller_what_it_applies() {
    let next = "Next: revert the commit of its package in git";
    let project = applied_by_argo_cd();
    for options in [&["rollback"][..], &["rollback", "--release", "todo"], &["rollback", "1"]] {
        let says = "todo in namespace todo is not rolled back by helm: it is applied by Argo CD, Application todo";
        assert_refused(&on_team(&project, options), 3, &[says, next]);
    }
    // Flux has helm keep releases, which helm could take back.
    let project = deployed_twice();
    project.write("standin/applied-by-flux", "todo\n");
    assert_refused(&on_team(&project, &["rollback"]), 3, &["it is applied by Flux, HelmRelease todo", next]);
    fs::remove_file(project.path("standin/applied-by-flux")).unwrap();
    on_team(&project, &["rollback"]).assert_ended(0);
}

#[test]
fn down_leaves_to_a_gitops_controller_what_it_applies() {
    let project = applied_by_argo_cd();
    for options in [&["down"][..], &["down", "--purge"]] {
        let says =
            "todo in namespace todo is not uninstalled by helm: it is applied by Argo CD, Application todo, which";
        assert_refused(&on_team(&project, options), 3, &[says, "Next: argocd app delete todo, and remove it"]);
    }
    // Whether it is there is not for everybody to see.
    project.answer("kubectl get applications.argoproj.io/", "echo 'Error from server (Forbidden): no' >&2; exit 1");
    assert_refused(&on_team(&project, &["down"]), 3, &["Next: argocd app delete todo"]);
    project.write("standin/rules", "");
    fs::remove_file(project.path("standin/applier")).unwrap();
    let next = "Next: kubectl delete all,configmaps,";
    let selector = "--selector app.kubernetes.io/instance=todo --kubeconfig";
    let says = "Argo CD, Application todo applied it and is gone, and left it";
    assert_refused(&on_team(&project, &["down"]), 3, &[says, next, selector]);
    // With what it had applied it is out of the way.
    fs::remove_file(project.path("standin/applied-by")).unwrap();
    on_team(&project, &["down"]).assert_ended(0);

    let project = deployed_twice();
    project.write("standin/applied-by-flux", "todo\n");
    project.write("standin/applier", "{\"kind\":\"HelmRelease\"}");
    let next = "Next: flux delete helmrelease todo --namespace todo";
    assert_refused(&on_team(&project, &["down"]), 3, &["it is applied by Flux, HelmRelease todo, which", next]);
}

#[test]
fn history_says_who_applies_a_release_and_where_its_history_is() {
    let project = applied_by_argo_cd();
    let history = || {
        let run = on_team(&project, &["history"]);
        run.assert_ended(0);
        run.stdout
    };
    let said = history();
    for words in [
        "  applied by Argo CD, Application todo, which applied chart 0.1.0+haa ",
        " d ago, number 1 of its history\n",
        "  its history is in git, as the commits of its package, and in the Application: kubectl get applications.argoproj.io/todo",
        "--context team --namespace argocd\n",
    ] {
        assert!(said.contains(words), "\"{words}\" is not in\n{said}");
    }
    assert!(!said.contains("not installed"), "{said}");
    let run = on_team(&project, &["history", "--json"]);
    for words in ["\"by\":\"Argo CD, Application todo\"", "\"number\":1", "\"at\":\"2026-01-31T00:00:00Z\""] {
        assert!(run.stdout.contains(words), "\"{words}\" is not in\n{}", run.stdout);
    }
    project.answer("kubectl get applications.argoproj.io/", "echo 'Error from server (Forbidden): no' >&2; exit 1");
    assert!(history().contains("which can't be read: Error from server (Forbidden): no\n"), "{}", history());
    project.write("standin/rules", "");
    fs::remove_file(project.path("standin/applier")).unwrap();
    assert!(history().contains("Application todo, which is gone\n"), "{}", history());
    // Flux has helm keep releases.
    let project = deployed_twice();
    project.write("standin/applied-by-flux", "todo\n");
    project.write("standin/applier", "{\"status\":{\"history\":[{\"version\":2,\"chartVersion\":\"0.1.0+hcc\",\"lastDeployed\":\"2026-01-31T00:00:00Z\"}]}}");
    let run = on_team(&project, &["history"]);
    assert!(run.stdout.contains("applied by Flux, HelmRelease todo, which applied chart 0.1.0+hcc "), "{}", run.stdout);
    assert!(run.stdout.contains("     2  deployed"), "{}", run.stdout);
}

#[test]
fn another_cluster_in_its_place_is_refused() {
    let project = project("");
    project.write("team.yaml", &kubeconfig("other.crt"));
    assert_refused(
        &on_team(&project, &["up"]),
        3,
        &["another cluster answers in place of target team", "nothing was changed"],
    );
    assert_refused(&project.run(&["target", "add", "team"]), 3, &["known as another cluster", "target forget team"]);
    project.write("team.yaml", &kubeconfig("team.crt"));
    project.write("standin/uid", "u-2");
    for command in ["up", "down", "rollback", "smoke", "status", "plan"] {
        assert_refused(&on_team(&project, &[command]), 3, &["kube-system has the UID u-2, and had u-1"]);
    }
    project.run(&["target", "forget", "team"]).assert_ended(0);
    assert_refused(&on_team(&project, &["up"]), 3, &["nothing is known of target team", "cargo xtask target add team"]);
}

#[test]
fn a_cluster_that_is_swapped_in_the_middle_of_a_run_is_refused() {
    let project = project("");
    // The first change is let through, by which it was asked who it is.
    project.before("kubectl create --filename", "cp ../other.crt ../team.crt");
    let run = on_team(&project, &["up"]);
    run.assert_ended(3);
    run.assert_says(&["another authority vouches for it"]);
    assert_eq!(run.calls_of(&["helm upgrade todo", "kubectl replace"]), [""; 0]);
    assert_eq!(run.calls_of(&["kubectl create --filename"]).len(), 1, "{:?}", run.calls);
}

#[test]
fn what_a_target_refuses_is_reported_in_plain_words() {
    let project = project("");
    for (said, code, says) in [
        ("error: You must be logged in to the server (Unauthorized)", 3, "refuses the credentials of context team"),
        (
            "Unable to connect to the server: tls: x509: certificate signed by unknown authority",
            3,
            "can't prove that it is",
        ),
        ("Unable to connect to the server: dial tcp: i/o timeout", 1, "does not answer"),
    ] {
        project.write("standin/rules", "");
        project.answer("kubectl get namespace/kube-system", &format!("echo '{said}' >&2; exit 1"));
        assert_refused(&on_team(&project, &["up"]), code, &[says, "Next:"]);
    }
    // Rights to one namespace are enough.
    project.write("standin/rules", "");
    project.answer("kubectl get namespace/kube-system", "echo 'Error from server (Forbidden): no' >&2; exit 1");
    on_team(&project, &["up"]).assert_ended(0);
}

#[test]
fn a_run_that_has_the_lease_keeps_others_off_until_it_stops_renewing_it() {
    let project = project("");
    on_team(&project, &["up"]).assert_ended(0);
    let lease = |renewed: &str| {
        json!({
            "kind": "Lease", "metadata": {"resourceVersion": "7"},
            "spec": {"holderIdentity": "ada on desk, process 1: cargo xtask up", "acquireTime": "2026-01-31T12:00:00.000000Z", "renewTime": renewed},
        })
        .to_string()
    };
    let file = "standin/namespaces/todo/lease";
    assert!(
        project.read(file).contains("\"holderIdentity\":\"\""),
        "the lease was not given back: {}",
        project.read(file)
    );
    project.write(file, &lease("2999-01-01T00:00:00.000000Z"));
    for command in ["up", "down", "rollback"] {
        let run = on_team(&project, &[command]);
        run.assert_ended(3);
        run.assert_says(&[
            "another run is at work on namespace todo",
            "ada on desk, process 1: cargo xtask up",
            "since 2026-01-31T12:00:00Z",
        ]);
        assert_eq!(run.calls_of(&["helm upgrade todo", "helm uninstall", "helm rollback"]), [""; 0]);
    }
    on_team(&project, &["status"]).assert_says(&["another run is at work", "ada on desk"]);
    project.write(file, &lease("2026-01-31T12:00:00.000000Z"));
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    run.assert_says(&["left namespace todo without an end"]);
}

#[test]
fn a_protected_target_is_changed_only_by_name() {
    let project = project("protected = true\n");
    for command in [&["up"][..], &["down"], &["up", "--yes"], &["up", "--confirm", "other"]] {
        assert_refused(&on_team(&project, command), 2, &["target team is protected", "--confirm team"]);
    }
    on_team(&project, &["up", "--confirm", "team"]).assert_ended(0);
    on_team(&project, &["status"]).assert_says(&[]);
    let (code, shown) = project.run_at_terminal("down --target team", |terminal| {
        terminal.wait_for("type its name");
        terminal.press("team\n");
    });
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn a_target_is_chosen_by_nothing_but_its_option() {
    let project = project("");
    let unknown = project.run(&["up", "--target", "prod"]);
    unknown.assert_ended(2);
    unknown.assert_says(&["there is no target prod in xtask.toml", "--target with one of team"]);
    for command in ["dev", "tunnel", "clean", "doctor", "uninstall", "bootstrap", "ui"] {
        let run = on_team(&project, &[command]);
        run.assert_ended(2);
        run.assert_says(&["takes no --target"]);
    }
    // With a kubeconfig of a team's in the environment, it is the minikube all the same.
    let project = project.env("KUBECONFIG", "team.yaml");
    let run = project.run(&["plan"]);
    assert!(!run.calls.iter().any(|call| call.contains("team.yaml")), "{:?}", run.calls);
}

#[test]
fn a_namespace_of_a_target_follows_its_template() {
    let project = project("namespace = \"{project}-{branch}\"\n");
    project.write(".git/HEAD", "ref: refs/heads/Feature/Paging_2\n");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert!(run.calls.iter().any(|call| call.contains("--namespace todo-feature-paging-2")), "{:?}", run.calls);
    let own = on_team(&project, &["plan", "--namespace", "mine"]);
    assert!(own.calls.iter().any(|call| call.ends_with("--namespace mine")), "{:?}", own.calls);
}

#[test]
fn mistakes_in_a_target_are_reported_at_once() {
    let project = Project::new();
    let table = "\n[targets.Team]\nkubeconfig = \"\"\ncontext = \"c\"\nregistry = \"todo\"\nnamespace = \"{branch}-{day}\"\nreach = \"ingress\"\nmake_pull_secret = true\n";
    project.write("xtask.toml", &format!("{}{table}", project.read("xtask.toml")));
    let run = project.run(&["plan"]);
    run.assert_ended(2);
    run.assert_says(&[
        "Team is no name for a target",
        "targets.Team.kubeconfig is empty",
        "targets.Team.registry is \"todo\"",
        "targets.Team.namespace uses {day}: known are {project}, {profile}, {user}, {branch}",
        "targets.Team.url is missing",
        "targets.Team.make_pull_secret needs targets.Team.pull_secret",
    ]);
}

#[test]
fn platforms_are_a_builders() {
    for (more, mistakes) in [
        (
            "platforms = [\"arm64\", \"linux/arm64\"]\n",
            &["targets.team.platforms has \"arm64\"", "targets.team.platforms needs targets.team.builder"][..],
        ),
        ("images = \"load\"\nbuilder = \"far\"\n", &["targets.team.builder has no use where images are loaded"]),
    ] {
        let project = Project::new();
        project.write("xtask.toml", &format!("{}{TEAM}{more}", project.read("xtask.toml")));
        let run = project.run(&["plan"]);
        run.assert_ended(2);
        run.assert_says(mistakes);
    }
}

#[test]
fn a_pull_secret_is_made_of_what_docker_has() {
    let project = project("pull_secret = \"pull\"\nmake_pull_secret = true\n");
    let run = on_team(&project, &["up"]);
    assert_refused_to_pull(&run);
    fs::create_dir_all(project.path("home/.docker")).unwrap();
    project.write("home/.docker/config.json", r#"{"auths":{"registry.example.org":{"auth":"YTpi"}}}"#);
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    let made = project.read("standin/created");
    assert!(made.contains("kubernetes.io/dockerconfigjson") && made.contains("YTpi"), "{made}");
    let printed = [run.stdout.as_str(), &run.stderr, &run.calls.join("\n")].concat();
    assert!(!printed.contains("YTpi"), "{printed}");
    assert!(run.calls.iter().any(|call| call.contains(AT)));
}

fn assert_refused_to_pull(run: &Run) {
    run.assert_ended(3);
    run.assert_says(&["docker has no credentials for registry.example.org", "docker login registry.example.org"]);
}

#[test]
fn a_branch_has_a_namespace_of_its_own_until_its_time_is_over() {
    let project = project("");
    project.write("xtask.toml", &format!("{}\n[previews]\nquota = {{ pods = \"20\" }}\n", project.read("xtask.toml")));
    project.write(".git/HEAD", "ref: refs/heads/Feature/Paging_2\n");
    let preview = |arguments: &[&str]| on_team(&project, &[arguments, &["--preview"]].concat());
    preview(&["up"]).assert_ended(0);
    let labels = "standin/namespaces/todo-feature-paging-2/labels";
    assert!(project.read(labels).contains("todo.local/preview feature-paging-2\n"), "{}", project.read(labels));
    assert!(project.read("standin/namespaces/todo-feature-paging-2/quota").contains("\"hard\":{\"pods\":\"20\"}"));
    let again = preview(&["up"]);
    again.assert_ended(0);
    assert_eq!(again.calls_of(&["helm upgrade todo", "kubectl delete"]), [""; 0]);
    let listed = on_team(&project, &["preview", "list"]);
    assert!(
        listed.stdout.contains("todo-feature-paging-2  branch feature-paging-2, is kept for "),
        "{}",
        listed.stdout
    );

    let kept = on_team(&project, &["preview", "gc"]);
    assert_eq!(kept.calls_of(&["kubectl delete"]), [""; 0]);
    let over: Vec<String> = project
        .read(labels)
        .lines()
        .map(|line| match line.split_once("expires ") {
            Some((key, _)) => format!("{key}expires 1700000000\n"),
            None => format!("{line}\n"),
        })
        .collect();
    project.write(labels, &over.concat());
    // What others have labelled in the same way is theirs.
    project.write(
        "standin/namespaces/theirs/labels",
        &over.concat().replace("app.kubernetes.io/managed-by todo-xtask", "a b"),
    );
    let tried = on_team(&project, &["preview", "gc", "--dry-run"]);
    assert_eq!(tried.calls_of(&["kubectl delete"]), [""; 0]);
    tried.assert_says(&["would be removed: todo-feature-paging-2"]);
    let lease = json!({"spec": {"holderIdentity": "ada", "acquireTime": "2026-01-31T12:00:00Z", "renewTime": "2999-01-01T00:00:00Z"}});
    project.write("standin/namespaces/todo-feature-paging-2/lease", &lease.to_string());
    let held = on_team(&project, &["preview", "gc"]);
    held.assert_says(&["todo-feature-paging-2 stays, as a run is at work on it: ada"]);
    assert_eq!(held.calls_of(&["kubectl delete"]), [""; 0]);
    fs::remove_file(project.path("standin/namespaces/todo-feature-paging-2/lease")).unwrap();
    let gone = on_team(&project, &["preview", "gc"]);
    gone.assert_ended(0);
    let deleted = gone.calls_of(&["kubectl delete"]);
    assert!(
        deleted.len() == 1 && deleted[0].starts_with("kubectl delete namespace/todo-feature-paging-2 "),
        "{deleted:?}"
    );
}

#[test]
fn a_preview_needs_a_branch_and_works_on_the_minikube_too() {
    let project = Project::new();
    let run = project.run(&["up", "--preview"]);
    run.assert_ended(2);
    run.assert_says(&["--preview needs a git repository"]);
    project.write(".git/HEAD", "ref: refs/heads/one\n");
    project.run(&["up", "--preview"]).assert_ended(0);
    assert!(project.read("standin/namespaces/todo-one/labels").contains("todo.local/expires "));
    let listed = project.run(&["preview", "list"]);
    assert!(listed.stdout.contains("todo-one  branch one"), "{}", listed.stdout);
}

#[test]
fn an_ingress_gets_the_host_of_the_url_that_up_prints() {
    let project = project("reach = \"ingress\"\nurl = \"https://{namespace}.example.org/\"\nnamespace = \"mine\"\n");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert!(run.stdout.contains("https://mine.example.org/"), "{}", run.stdout);
    let values: Value = serde_json::from_str(&project.read("standin/namespaces/mine/releases/todo/values")).unwrap();
    assert_eq!(values["services"]["backend"]["ingress"], Value::Null);
    assert_eq!(values["services"]["frontend"]["ingress"], json!({"enabled": true, "host": "mine.example.org"}));
}

#[test]
fn a_node_port_is_the_one_that_the_target_publishes() {
    let project = project("reach = \"node-port\"\nhost = \"127.0.0.1\"\nnode_port = 30090\n");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert!(run.stdout.contains("http://127.0.0.1:30090"), "{}", run.stdout);
    let over = "services:\n  frontend:\n    service:\n      nodePort: 30091\n";
    project.write("over.yaml", over);
    let run = on_team(&project, &["up", "--override", "over.yaml"]);
    run.assert_ended(2);
    run.assert_says(&["services.frontend.service.nodePort", "xtask.toml"]);
}

#[test]
fn images_are_loaded_into_nodes_that_are_containers_of_this_machine_and_into_no_others() {
    let project = project("");
    project.edit("xtask.toml", "registry = \"registry.example.org/todo\"", "images = \"load\"");
    project.write("standin/node-identity", "m-1\n192.168.49.2\n");
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    let loads = run.calls.iter().filter(|call| call.contains(" images import -")).count();
    assert!(loads == 2 && run.calls_of(&["docker image push"]).is_empty(), "{:?}", run.calls);
    let again = on_team(&project, &["up"]);
    again.assert_ended(0);
    assert!(!again.calls.iter().any(|call| call.contains(" images import -")), "{:?}", again.calls);
    assert_eq!(again.calls_of(&["helm upgrade todo"]), [""; 0]);

    project.write("standin/node-images", "");
    for (identity, says) in [
        ("m-2\n192.168.49.2\n", "the node has the machine ID m-1"),
        ("m-1\n172.18.0.2\n", "the node is at 192.168.49.2, and the container is m-1, 172.18.0.2"),
    ] {
        project.write("standin/node-identity", identity);
        for command in ["up", "plan"] {
            let run = on_team(&project, &[command]);
            assert_refused(&run, 3, &["the container todo is not the node of that name of target team", says]);
            assert!(!run.calls.iter().any(|call| call.contains("ctr ") || call.contains("crictl")), "{:?}", run.calls);
        }
    }
    fs::remove_file(project.path("standin/node-identity")).unwrap();
    let run = on_team(&project, &["up"]);
    assert_refused(&run, 3, &["node todo of target team is no container that runs", "targets.team.images = \"push\""]);
}

#[test]
fn a_target_needs_no_minikube_and_no_node() {
    let project = project("");
    fs::remove_file(project.path("bin/minikube")).unwrap();
    let run = on_team(&project, &["up"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["minikube", "go build", "docker build --file"]), [""; 0]);
    // What is about the minikube needs it.
    project.run(&["plan"]).assert_ended(3);
}

#[test]
fn secrets_that_others_make_are_needed_and_never_written() {
    let project = project("");
    let up = || on_team(&project, &["up", "--profile", "many"]);
    up().assert_ended(0);
    let kept = "standin/secrets/many/app";
    let whole = project.read(kept);
    project.edit("xtask.toml", "[targets.team]", "[targets.team]\nsecrets = \"existing\"");
    let same = up();
    same.assert_ended(0);
    same.assert_says(&["nothing to deploy"]);
    let lacking: String =
        whole.lines().filter(|line| !line.starts_with("TOKEN ")).map(|line| format!("{line}\n")).collect();
    project.write(kept, &lacking);
    let refused = |command: &str, says: &str| {
        let run = on_team(&project, &[command, "--profile", "many"]);
        run.assert_ended(3);
        run.assert_says(&["others make the Secrets of target team", says]);
        assert_eq!(run.calls_of(&["helm upgrade api", "kubectl patch"]), [""; 0]);
    };
    refused("up", "Secret app of namespace many lacks TOKEN");
    refused("plan", "Secret app of namespace many lacks TOKEN");
    assert_eq!(project.read(kept), lacking);
    fs::remove_file(project.path(kept)).unwrap();
    fs::remove_file(project.path(&format!("{kept}.version"))).unwrap();
    refused("up", "Secret app of namespace many is not there: it needs TOKEN, DATABASE_URL, API_KEY");
    assert!(!project.path(kept).exists());
    let rotate = on_team(&project, &["secrets", "rotate", "--profile", "many"]);
    assert_refused(&rotate, 2, &["others make the Secrets of this target"]);
}
