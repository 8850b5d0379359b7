//! `bench`: what is refused before anything is measured.

use super::common::Project;

#[test]
fn bench_names_its_rows_and_reads_an_earlier_report_before_it_measures() {
    let project = Project::new();
    let run = project.run(&["bench", "--only", "no such row"]);
    run.assert_ended(2);
    run.assert_says(&[
        "no row is called no such row",
        "up, nothing changed",
        "dev, one line of the page until it is served",
    ]);
    project.write("before.json", "{}");
    let run = project.run(&["bench", "--against", "before.json"]);
    run.assert_ended(2);
    run.assert_says(&["before.json is no report of bench: missing field"]);
    assert_eq!(run.calls, [""; 0]);
}

#[test]
fn bench_scale_names_its_rows_and_refuses_what_is_for_the_loop() {
    let project = Project::new();
    let run = project.run(&["bench", "scale", "--only", "500"]);
    run.assert_ended(2);
    run.assert_says(&["no row is called 500", "20 services"]);
    let run = project.run(&["bench", "scale", "--svg", "scale.svg"]);
    run.assert_ended(2);
    run.assert_says(&["--svg is not for bench scale", "Next: cargo xtask bench scale --to FILE"]);
    assert_eq!(run.calls, [""; 0]);
}
