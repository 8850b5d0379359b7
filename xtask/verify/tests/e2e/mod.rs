//! `test-e2e` as far as it goes without a cluster: naming its scenarios.

use crate::common::Project;

#[test]
fn scenarios_are_named_without_a_tool_being_called() {
    let project = Project::new();
    let run = project.run(&["test-e2e", "--list", "--only", "put right"]);
    run.assert_ended(0);
    assert_eq!(run.stdout.trim(), "dev: what was scaled by hand is put right");
    assert!(run.calls.is_empty(), "{:?}", run.calls);
    let all = project.run(&["test-e2e", "--list"]).stdout;
    let of = |group: &str| all.lines().filter(|line| line.starts_with(group)).count();
    assert!(of("dev: ") >= 13, "{all}");
    assert!(of("faults: ") >= 20, "{all}");
}

#[test]
fn a_text_that_no_scenario_holds_is_refused_before_anything_is_made() {
    let project = Project::new();
    let run = project.run(&["test-e2e", "--only", "no such promise"]);
    run.assert_ended(2);
    run.assert_says(&["no scenario is called no such promise", "Next: cargo xtask test-e2e --list"]);
    assert!(run.calls.is_empty(), "{:?}", run.calls);
}
