//! `test`: everything that must hold before a change lands, the quick checks first.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::e2e;
use crate::lint;
use xtask::config::module_folder;
use xtask::run::call::Call;
use xtask::run::context::Project;
use xtask::run::exit::Stop;
use xtask::run::poll;
use xtask::run::process::Spawn;
use xtask::stages::render;
use xtask::stages::setup::Ready;
use xtask::stages::{build, cluster, setup, values};
use xtask::tools::{cargo, docker, go, helm};

/// Compiling both workspaces from nothing takes minutes on two cores.
const COMPILE: Duration = Duration::from_secs(2400);
const SERVICES: &str = "services/Cargo.toml";
const DATABASE: &str = "todo-chatbot-test-database";

/// Formatting, lints and units; then, with the tools set up, charts, the services against a real PostgreSQL, and end to
/// end.
pub fn run(project: &Project, with_e2e: bool) -> Result<()> {
    for manifest in ["Cargo.toml", SERVICES] {
        let path = project.path(manifest);
        check(project, &format!("format {manifest}"), cargo::fmt(&path), &project.spawn)?;
        check(project, &format!("lint {manifest}"), cargo::clippy(&path), &project.spawn)?;
        check(project, &format!("test {manifest}"), cargo::test(&path), &project.spawn)?;
    }
    go_tests(project)?;
    let ready = setup::set_up(project, None)?;
    charts(&ready.ctx)?;
    if with_e2e {
        // The schemas of manifests are the cluster's own.
        cluster::bring_up(&ready)?;
    }
    lint::run(project, None, false)?;
    database_tests(&ready)?;
    if with_e2e {
        e2e::run(project, &e2e::TestOptions::default())?;
    }
    project.ui.summary("All tests passed");
    Ok(())
}

fn check(project: &Project, name: &str, call: Call, spawn: &Spawn) -> Result<()> {
    let step = project.ui.step(name);
    let show = |line: &str| {
        step.update(line.trim());
        if line.starts_with("test result:") || line.contains("panicked at") || line.ends_with("FAILED") {
            project.ui.say(line);
        }
    };
    spawn.run_showing(call.within(COMPILE).folder(&project.root), &show)?;
    step.done("");
    Ok(())
}

fn go_tests(project: &Project) -> Result<()> {
    if which::which("go").is_err() {
        project.ui.say("go is not on PATH: k8s/node/go is not tested");
        return Ok(());
    }
    let step = project.ui.step("test k8s/node/go");
    let mut tested = 0;
    for name in project.config.mirrors.modules.keys() {
        let folder = project.root.join(module_folder(name));
        if has_go_tests(&folder)? {
            project.run(go::test().within(COMPILE).folder(folder))?;
            tested += 1;
        }
    }
    step.done(&format!("{tested} modules have tests, and they pass"));
    Ok(())
}

fn has_go_tests(folder: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("_test.go"))))
}

fn charts(project: &Project) -> Result<()> {
    let step = project.ui.step("lint charts");
    let parent = project.root.join("helm");
    let mut linted = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let chart = entry?.path();
        let name = chart.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !chart.join("Chart.yaml").exists() || name == values::LIBRARY {
            continue;
        }
        let staged = project.staging("lint");
        render::stage_chart(&chart, &staged)?;
        let output = project.output(helm::lint(&staged.display().to_string()))?;
        if !helm::lint_is_silent(output.success, &output.tail) {
            return Err(Stop::failed(format!("helm lint --strict is not silent about {name}"))
                .with_detail(&output.tail)
                .into());
        }
        linted.push(name);
    }
    linted.sort();
    step.done(&linted.join(", "));
    Ok(())
}

/// The services' tests that need PostgreSQL, against the image that the cluster runs.
fn database_tests(ready: &Ready) -> Result<()> {
    let ctx = &ready.ctx;
    let (built, _) = build::ensure(ctx, &ready.images, &build::references_of(ctx, &ready.images, &["postgres"])?)?;
    let image = built.get("postgres").context("the services have no postgres")?.reference();
    let password = "test";
    let mut spawn = ctx.spawn.clone();
    spawn.env.push(("POSTGRES_PASSWORD".to_string(), password.to_string()));
    let _ = ctx.output(docker::remove_container(DATABASE));
    let label = format!("{}={}", docker::check_label(&ctx.config.project), std::process::id());
    spawn.run(docker::run_database(DATABASE, &label, &image))?;
    let tested = (|| {
        let address = ctx.run(docker::published(DATABASE, 5432))?;
        let address = address.lines().next().context("docker publishes no port of the database")?;
        let answers = poll::until(&ctx.spawn.interrupt, Duration::from_secs(60), || {
            let asked = ctx.output(docker::database_ready(DATABASE))?;
            Ok(asked.success.then_some(()))
        })?;
        answers.ok_or_else(|| Stop::failed("the test database did not come up within 60 s"))?;
        spawn.env.push(("TEST_DATABASE_URL".to_string(), format!("postgres://todo:{password}@{address}/todo")));
        check(ctx, "test services with PostgreSQL", cargo::test_ignored(&ctx.path(SERVICES)), &spawn)
    })();
    let removed = ctx.spawn.uninterrupted().run(docker::remove_container(DATABASE));
    tested.and(removed.map(drop))
}
