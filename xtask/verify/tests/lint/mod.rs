//! `lint`, with stand-ins for the programs that it calls.

use serde_json::Value;

use super::common::Project;

const SCORED: &str = r#"{"type_meta":{"kind":"Service"},"object_meta":{"name":"web"},"checks":[{"check":{"id":"service-type"},"grade":5,"skipped":false,"comments":null}]}"#;

const MADE: &str = "{kind: ConfigMap, metadata: {name: a, namespace: todo}}";

/// A project of which helm makes an object that no rule minds, as it did when the manifests were kept.
fn rendering_nothing_wrong(project: Project) -> Project {
    project.answer("helm template ", &format!("echo '{MADE}'"));
    project.write("helm/README.md", "");
    for (profile, releases) in [("dev", 1), ("many", 4)] {
        project.write(&format!("helm/snapshots/{profile}.yaml"), &format!("---\n{MADE}\n").repeat(releases));
    }
    project
}

#[test]
fn manifests_that_are_not_those_that_are_kept_are_found_and_written_when_asked() {
    let project = rendering_nothing_wrong(Project::up());
    project.write("helm/snapshots/dev.yaml", "---\nkind: Secret\n");
    let run = project.run(&["lint", "--profile", "dev"]);
    run.assert_ended(1);
    let message = "✗ snapshot  helm/snapshots/dev.yaml: the manifests are others from line 2 on";
    assert!(run.stdout.contains(message), "{}", run.stdout);
    project.run(&["lint", "--profile", "dev", "--update"]).assert_ended(0);
    assert_eq!(project.read("helm/snapshots/dev.yaml"), format!("---\n{MADE}\n"));
    project.run(&["lint", "--profile", "dev"]).assert_ended(0);
}

#[test]
fn lint_builds_its_programs_once_and_asks_the_cluster_for_its_api_once() {
    let project = rendering_nothing_wrong(Project::up());
    let run = project.run(&["lint"]);
    run.assert_ended(0);
    assert_eq!(run.calls_of(&["go build"]).len(), 3);
    assert_eq!(run.calls_of(&["kubectl get --raw"]).len(), 2);
    let again = project.run(&["lint", "--profile", "dev"]);
    again.assert_ended(0);
    assert_eq!(again.calls_of(&["go build", "kubectl get --raw"]), [""; 0]);
    let mut calls =
        again.calls_of(&["helm lint", "helm template", "kube-score", "kubeconform", "pod-security", "hadolint"]);
    // Its package's name has a digest in it.
    assert!(calls.remove(2).starts_with("helm template todo CACHE/lint/staging/dev-todo/package/charts/chart-"));
    let chart = "CACHE/lint/staging/dev-todo/todo/chart";
    let values = "--values CACHE/lint/staging/dev-todo/todo/values.json";
    let schemas = "CACHE/lint/staging/dev-todo/schemas/{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json";
    let expected = [
        format!("helm lint --strict --quiet {chart} --namespace todo {values}"),
        format!("helm template todo {chart} --kube-version 1.33.1 --namespace todo {values}"),
        "kube-score score --output-format json --kubernetes-version v1.33 --ignore-container-cpu-limit -".to_string(),
        "pod-security".to_string(),
        format!("kubeconform -strict -output json -schema-location '{schemas}'"),
        "hadolint --config /dev/null --no-fail --format json docker/backend.Dockerfile docker/frontend.Dockerfile \
         k8s/node/builder.Dockerfile k8s/node/control-plane.Dockerfile k8s/node/node.Dockerfile"
            .to_string(),
    ];
    assert_eq!(calls, expected);
}

#[test]
fn a_package_that_helm_renders_otherwise_is_found() {
    let project = Project::up();
    // As where the packed chart lacked a file.
    project.answer("helm template todo", &format!("case $3 in *.tgz) ;; *) echo '{MADE}' ;; esac"));
    let run = project.run(&["lint", "--profile", "dev"]);
    run.assert_ended(1);
    assert!(run.stdout.contains("✗ package  release/todo: helm makes another manifest"), "{}", run.stdout);
}

#[test]
fn what_every_tool_finds_is_reported_at_once() {
    let project = rendering_nothing_wrong(Project::up());
    project.answer("helm lint ", "echo '[WARNING] templates: no' >&2");
    project.answer("kube-score ", &format!("echo '[{SCORED}]'; exit 1"));
    project.answer("pod-security", r#"echo '{"object":"Pod/x","reason":"privileged","detail":"it is"}'"#);
    let wrong = r#"{"kind":"Pod","name":"x","msg":"could not find schema for Pod"}"#;
    project.answer("kubeconform ", &format!("echo '{{\"resources\":[{wrong}]}}'; exit 1"));
    let remark = r#"{"code":"DL3008","file":"docker/backend.Dockerfile","line":7,"message":"Pin"}"#;
    project.answer("hadolint ", &format!("echo '[{remark}]'"));
    let run = project.run(&["lint", "--profile", "dev"]);
    run.assert_ended(1);
    for line in [
        "profile dev: 4 findings",
        "✗ helm-lint  release/todo: [WARNING] templates: no",
        "✗ kube-score/service-type  service/web: ",
        "✗ pod-security  pod/x: privileged: it is",
        "✗ kubeconform  pod/x: could not find schema for Pod",
        "Dockerfiles: 1 finding",
        "✗ hadolint/DL3008  docker/backend.Dockerfile: line 7: Pin",
    ] {
        assert!(run.stdout.contains(line), "\"{line}\" is not in\n{}", run.stdout);
    }
    run.assert_says(&["5 findings", "[[waivers]]"]);
}

#[test]
fn a_waiver_is_reported_with_its_reason_and_one_that_waives_nothing_is_found() {
    let project = rendering_nothing_wrong(Project::up());
    project.answer("kube-score ", &format!("echo '[{SCORED}]'"));
    let waiver = |code: &str| format!("\n[[waivers]]\ncode = \"{code}\"\nreason = \"it is so wanted\"\n");
    let text = project.read("xtask.toml");
    project.write("xtask.toml", &(text.clone() + &waiver("kube-score/service-type")));
    let run = project.run(&["lint"]);
    run.assert_ended(0);
    assert!(run.stdout.contains("kube-score/service-type, 1 waived: it is so wanted"), "{}", run.stdout);
    project.write("xtask.toml", &(text + &waiver("kube-score/service-type") + &waiver("latest-tag")));
    let idle = project.run(&["lint", "--json"]);
    idle.assert_ended(1);
    let events: Vec<Value> = idle.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = events.iter().find(|event| event["event"] == "answer").unwrap();
    let waivers = answer["groups"].as_array().unwrap().last().unwrap();
    assert_eq!(waivers["findings"][0]["code"], "unused-waiver");
    assert_eq!(waivers["findings"][0]["object"], "latest-tag");
}

#[test]
fn without_a_cluster_lint_says_what_it_could_not_check() {
    let run = rendering_nothing_wrong(Project::new()).run(&["lint", "--profile", "dev"]);
    run.assert_ended(0);
    let message = "skipped kubeconform: no cluster answers, and so there are no schemas";
    assert!(run.stdout.contains(message), "{}", run.stdout);
    assert_eq!(run.calls_of(&["kubeconform"]), [""; 0]);
}

#[test]
fn github_is_shown_what_has_a_line() {
    let project = rendering_nothing_wrong(Project::up()).env("GITHUB_ACTIONS", "true");
    project.write("helm/snapshots/dev.yaml", "---\nkind: Secret\n");
    project.answer("pod-security", r#"echo '{"object":"Pod/x","reason":"privileged","detail":"it is"}'"#);
    let remark = r#"{"code":"DL3008","file":"docker/backend.Dockerfile","line":7,"message":"Pin"}"#;
    project.answer("hadolint ", &format!("echo '[{remark}]'"));
    let run = project.run(&["lint", "--profile", "dev"]);
    run.assert_ended(1);
    let annotations: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("::")).collect();
    let [snapshot, dockerfile] = annotations[..] else { panic!("{annotations:?}") };
    let begins = "::error file=helm/snapshots/dev.yaml,line=2::snapshot: the manifests are others from line 2 on";
    assert!(snapshot.starts_with(begins), "{snapshot}");
    assert_eq!(dockerfile, "::error file=docker/backend.Dockerfile,line=7::hadolint/DL3008: line 7: Pin");
}
