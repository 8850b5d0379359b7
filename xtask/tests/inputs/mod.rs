//! What a service's inputs may be: special files are refused, links stay links.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::common::Project;

/// A project whose services take all of their folders.
fn project() -> Project {
    let project = Project::new();
    project.edit("xtask.toml", r#"inputs = ["main.rs"]"#, r#"inputs = ["."]"#);
    project
}

#[test]
fn a_fifo_among_the_inputs_is_named_at_once_and_no_lock_is_kept() {
    let project = project();
    assert!(Command::new("mkfifo").arg(project.path("services/backend/pipe")).status().unwrap().success());
    let run = project.run(&["up"]);
    run.assert_ended(2);
    run.assert_says(&["services/backend/pipe is a FIFO", "Next: remove it, or leave it out of `inputs` in xtask.toml"]);
    assert_eq!(run.calls_of(&["docker build --progress", "minikube start --profile"]), [""; 0]);
    std::fs::remove_file(project.path("services/backend/pipe")).unwrap();
    project.run(&["up"]).assert_ended(0);
}

#[test]
fn a_link_goes_into_the_build_as_a_link() {
    let project = project();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), project.path("services/backend/outside")).unwrap();
    symlink("nowhere", project.path("services/backend/broken")).unwrap();
    symlink(".", project.path("services/backend/circle")).unwrap();
    project.run(&["up"]).assert_ended(0);
    let context = project.path("cache/todo/staging/dev-todo/context-backend");
    assert_eq!(std::fs::read_link(context.join("outside")).unwrap(), outside.path());
    assert_eq!(std::fs::read_link(context.join("circle")).unwrap().to_str(), Some("."));
    // What is behind the link is no input.
    std::fs::write(outside.path(), "changed").unwrap();
    let run = project.run(&["up"]);
    run.assert_ended(0);
    assert_eq!(run.changes(), [""; 0]);
}
