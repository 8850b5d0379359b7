//! `test`: everything that must hold before a change lands, the quick checks first.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::e2e;
use crate::lint;
use xtask::config::module_folder;
use xtask::run::context::Context;
use xtask::run::exit::Stop;
use xtask::run::poll;
use xtask::run::process::{Spawn, command};
use xtask::stages::render;
use xtask::stages::setup::Ready;
use xtask::stages::{build, cluster, setup};
use xtask::tools::{cargo, docker, go, helm};

/// Compiling both workspaces from nothing takes minutes on two cores.
const COMPILE: Duration = Duration::from_secs(2400);
const SHORT: Duration = Duration::from_secs(120);
const SERVICES: &str = "services/Cargo.toml";
const DATABASE: &str = "todo-chatbot-test-database";

/// Formatting, lints and units; then, with the tools set up, charts, the services against a real PostgreSQL, and end to
/// end.
pub fn run(ctx: &Context, with_e2e: bool) -> Result<()> {
    for manifest in ["Cargo.toml", SERVICES] {
        let path = ctx.path(manifest);
        check(ctx, &format!("format {manifest}"), cargo::fmt(&path), &ctx.spawn)?;
        check(ctx, &format!("lint {manifest}"), cargo::clippy(&path), &ctx.spawn)?;
        check(ctx, &format!("test {manifest}"), cargo::test(&path), &ctx.spawn)?;
    }
    go_tests(ctx)?;
    let ready = setup::set_up(ctx, None)?;
    charts(ctx, &ready)?;
    if with_e2e {
        // The schemas of manifests are the cluster's own.
        cluster::bring_up(ctx, &ready)?;
    }
    lint::run(ctx, None, false)?;
    database_tests(ctx, &ready)?;
    if with_e2e {
        e2e::run(ctx, &e2e::TestOptions::default())?;
    }
    ctx.ui.summary("All tests passed");
    Ok(())
}

fn check(ctx: &Context, name: &str, argv: Vec<String>, spawn: &Spawn) -> Result<()> {
    let step = ctx.ui.step(name);
    let show = |line: &str| {
        step.update(line.trim());
        if line.starts_with("test result:") || line.contains("panicked at") || line.ends_with("FAILED") {
            ctx.ui.say(line);
        }
    };
    spawn.run(command(argv, COMPILE).folder(&ctx.root).on_line(&show))?;
    step.done("");
    Ok(())
}

fn go_tests(ctx: &Context) -> Result<()> {
    if which::which("go").is_err() {
        ctx.ui.say("go is not on PATH: k8s/node/go is not tested");
        return Ok(());
    }
    let step = ctx.ui.step("test k8s/node/go");
    let mut tested = 0;
    for name in ctx.config.mirrors.modules.keys() {
        let folder = ctx.root.join(module_folder(name));
        if has_go_tests(&folder)? {
            ctx.spawn.run(command(go::test(), SHORT).folder(folder))?;
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

fn charts(ctx: &Context, ready: &Ready) -> Result<()> {
    let step = ctx.ui.step("lint charts");
    let parent = ctx.root.join("helm");
    let mut linted = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let chart = entry?.path();
        let name = chart.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !chart.join("Chart.yaml").exists() || name == render::LIBRARY {
            continue;
        }
        let staged = ctx.staging("lint");
        render::stage_chart(&chart, &staged)?;
        let output = ctx.spawn.output(command(helm::lint(&ready.tools.helm, &staged.display().to_string()), SHORT))?;
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
fn database_tests(ctx: &Context, ready: &Ready) -> Result<()> {
    let tools = &ready.tools;
    let built = build::ensure(ctx, tools, &ready.images, &["postgres"])?;
    let image = built.get("postgres").context("the services have no postgres")?.reference();
    let password = "test";
    let mut spawn = ctx.spawn.clone();
    spawn.env.push(("POSTGRES_PASSWORD".to_string(), password.to_string()));
    let _ = ctx.spawn.output(command(docker::remove_container(&tools.docker, DATABASE), SHORT));
    let label = format!("{}={}", docker::check_label(&ctx.config.project), std::process::id());
    spawn.run(command(docker::run_database(&tools.docker, DATABASE, &label, &image), SHORT))?;
    let tested = (|| {
        let address = ctx.spawn.run(command(docker::published(&tools.docker, DATABASE, 5432), SHORT))?;
        let address = address.lines().next().context("docker publishes no port of the database")?;
        let answers = poll::until(&ctx.spawn.interrupt, Duration::from_secs(60), || {
            let asked = ctx.spawn.output(command(docker::database_ready(&tools.docker, DATABASE), SHORT))?;
            Ok(asked.success.then_some(()))
        })?;
        answers.ok_or_else(|| Stop::failed("the test database did not come up within 60 s"))?;
        spawn.env.push(("TEST_DATABASE_URL".to_string(), format!("postgres://todo:{password}@{address}/todo")));
        check(ctx, "test services with PostgreSQL", cargo::test_ignored(&ctx.path(SERVICES)), &spawn)
    })();
    let removed = ctx.spawn.uninterrupted().run(command(docker::remove_container(&tools.docker, DATABASE), SHORT));
    tested.and(removed.map(drop))
}
