//! `package`, with stand-ins for docker, helm and the registry.

use std::fs;

use serde_json::Value;

use super::common::{Project, Run};

const TEAM: &str = "\n[targets.team]\nkubeconfig = \"team.yaml\"\ncontext = \"team\"\nregistry = \"registry.example.org/todo\"\nnamespace = \"todo-team\"\n";

/// A project with a target, of which nothing but the registry is asked.
fn project() -> Project {
    let project = Project::new();
    project.write("xtask.toml", &format!("{}{TEAM}", project.read("xtask.toml")));
    project.write("standin/registry", "");
    project.write("standin/charts", "");
    project.answer("docker history ", "echo CMD");
    for service in ["backend", "frontend"] {
        let inspected = r#"[{"Id":"sha256:1","Size":1,"Config":{}}]"#;
        project.answer(&format!("docker image inspect {service}:"), &format!("echo '{inspected}'"));
    }
    let archive =
        "echo '[{\"Config\":\"c\",\"Layers\":[]}]' >manifest.json; echo {} >c; tar -c -f \"$3\" manifest.json c";
    project.answer("docker save --output ", archive);
    project
}

fn package(project: &Project, more: &[&str]) -> Run {
    let folder = project.path("out").display().to_string();
    project.run(&[&["package", folder.as_str()], more].concat())
}

fn write(project: &Project) -> Run {
    package(project, &["--target", "team", "--gitops", "flux"])
}

#[test]
fn a_package_has_charts_values_a_lock_and_what_the_controller_applies() {
    let project = project();
    let run = write(&project);
    run.assert_ended(0);
    // The cluster is not asked: whoever applies the package is in it.
    assert_eq!(run.calls_of(&["kubectl get", "minikube start", "helm upgrade todo"]), [""; 0]);
    assert_eq!((run.calls_of(&["docker image push"]).len(), run.calls_of(&["helm push"]).len()), (2, 1));

    let lock: Value = serde_json::from_str(&project.read("out/images.lock.json")).unwrap();
    let backend = &lock["images"]["backend"];
    let (tag, digest) = (backend["tag"].as_str().unwrap(), backend["digest"].as_str().unwrap());
    assert!(tag.starts_with("0.1.0-h") && digest.starts_with("sha256:"), "{backend}");
    let sbom: Value = serde_json::from_str(&project.read("out/sbom/backend.cdx.json")).unwrap();
    assert_eq!((&sbom["bomFormat"], &backend["sbom"]), (&"CycloneDX".into(), &"sbom/backend.cdx.json".into()));
    let values = project.read("out/values/todo.yaml");
    assert!(values.contains(&format!("tag: \"{tag}@{digest}\"")), "{values}");
    let version = lock["charts"]["todo"]["version"].as_str().unwrap();
    assert!(project.path(&format!("out/charts/chart-{version}.tgz")).exists());
    let release = project.read("out/flux/todo.yaml");
    assert!(release.contains(&format!("tag: \"{}\"", version.replace('+', "_"))), "{release}");
    assert!(release.contains("namespace: \"todo-team\"") && release.contains(digest), "{release}");

    let again = write(&project);
    again.assert_ended(0);
    assert_eq!(again.calls_of(&["docker build --progress", "docker image push", "helm push"]), [""; 0]);
    package(&project, &["--check"]).assert_ended(0);
}

#[test]
fn check_says_all_that_differs_and_asks_nobody() {
    let project = project();
    write(&project).assert_ended(0);
    project.write("services/backend/main.rs", "// another\n");
    let values = project.read("out/values/todo.yaml");
    project.write("out/values/todo.yaml", &values.replacen("registry.example.org", "r.example.org", 1));
    project.write("out/values/old.yaml", "");
    let run = package(&project, &["--check"]);
    run.assert_ended(1);
    run.assert_says(&[
        "image backend: its sources changed",
        "values/todo.yaml:",
        "would be `repository: \"registry.example.org/todo/backend\"`",
        "values/old.yaml is of no chart or release",
        "--profile dev --target team --gitops flux",
    ]);
    assert_eq!(run.calls_of(&["docker", "kubectl", "helm push", "helm show"]), [""; 0]);
    // What it says sets it right.
    write(&project).assert_ended(0);
    assert!(!project.path("out/values/old.yaml").exists());
    package(&project, &["--check"]).assert_ended(0);

    // A chart need not be in the repository, but must not be another.
    for chart in project.files("out/charts") {
        fs::write(&chart, "another").unwrap();
        let run = package(&project, &["--check"]);
        run.assert_ended(1);
        run.assert_says(&["has another content"]);
        fs::remove_file(&chart).unwrap();
    }
    package(&project, &["--check"]).assert_ended(0);
}

#[test]
fn what_cannot_be_a_package_is_said() {
    let project = project();
    let none = package(&project, &["--check"]);
    none.assert_ended(1);
    none.assert_says(&["there is no package", "Next: cargo xtask package"]);
    let nowhere = package(&project, &["--gitops", "argocd"]);
    nowhere.assert_ended(2);
    nowhere.assert_says(&["a controller pulls charts and images from a registry", "Next: --target"]);
    project.write("out/values/mine.yaml", "a: 1");
    let foreign = write(&project);
    foreign.assert_ended(2);
    foreign.assert_says(&["has files and no images.lock.json", "Next: name a folder"]);
    assert_eq!(project.read("out/values/mine.yaml"), "a: 1");
    fs::remove_dir_all(project.path("out")).unwrap();
    write(&project).assert_ended(0);
    project.edit("xtask.toml", "[targets.team]", "[targets.other]");
    let gone = package(&project, &["--check"]);
    gone.assert_ended(2);
    gone.assert_says(&["there is no target team", "other"]);
}
