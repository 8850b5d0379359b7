//! `test`, as far as it goes with stand-ins, and what it leaves for a CI server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::Project;

/// A project of which the tests of the tool fail, once those of the services and of the Go modules run, which go on.
fn with_failing_tests() -> Project {
    let project = Project::new();
    let script = r#"#!/bin/sh
PATH=/usr/bin:/bin
case "$*" in
"test --locked --manifest-path "*/services/Cargo.toml*)
    touch "$STANDIN/services"
    sleep 60 ;;
"test --locked"*)
    for _ in $(seq 600); do
        [ -e "$STANDIN/services" ] && [ -e "$STANDIN/modules" ] && break
        sleep 0.05
    done
    # A child that knew where it runs would print annotations of its own.
    [ -z "$GITHUB_ACTIONS" ] || echo "thread 'b' (8) panicked at it/knows.rs:1:1:"
    echo "thread 'a' (7) panicked at xtask/src/lib.rs:9:13:"
    echo '50 % are <wrong>'
    echo
    exit 101 ;;
esac
"#;
    project.write("bin/cargo", script);
    fs::set_permissions(project.path("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    project.write("k8s/node/go/kube-score/main_test.go", "package main\n");
    project.answer("go test ", "touch modules; sleep 60");
    project
}

#[test]
fn a_failure_is_in_the_report_and_at_its_line() {
    let project = with_failing_tests().env("GITHUB_ACTIONS", "true");
    let run = project.run(&["test", "--no-e2e", "--junit", "reports/test.xml"]);
    run.assert_ended(1);
    let annotations: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(annotations, ["::error file=xtask/src/lib.rs,line=9,col=13::50 %25 are <wrong>"], "{}", run.stderr);
    let report = project.read("reports/test.xml");
    let suite = report.split("<testsuite name=").nth(1).unwrap();
    assert!(suite.starts_with("\"tool\" tests=\"3\" failures=\"1\""), "{report}");
    for case in ["\"format Cargo.toml\"", "\"lint Cargo.toml\""] {
        assert!(suite.contains(&format!("<testcase classname=\"tool\" name={case}")), "{report}");
    }
    let failure = suite.split_once("name=\"test Cargo.toml\"").unwrap().1;
    assert!(failure.contains("<failure message=\"") && failure.contains("50 % are &lt;wrong&gt;"), "{report}");
    assert!(report.ends_with("</testsuites>\n"), "{report}");
}

#[test]
fn a_check_that_another_one_ends_is_no_failure() {
    let project = with_failing_tests();
    let run = project.run(&["test", "--no-e2e"]);
    run.assert_ended(1);
    assert!(!run.stderr.contains("::error"), "{}", run.stderr);
    let report = project.read("state/todo/logs/test.xml");
    let services = report.split("<testsuite name=\"services\"").nth(1).unwrap();
    assert!(services.starts_with(" tests=\"4\" failures=\"0\" errors=\"0\" skipped=\"2\""), "{report}");
    let charts = report.split("<testsuite name=\"charts\"").nth(1).unwrap();
    assert!(charts.starts_with(" tests=\"6\" failures=\"0\" errors=\"0\" skipped=\"6\""), "{report}");
}
