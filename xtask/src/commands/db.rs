//! `db`: what the database holds into a file, back from one, or as the project's seed has it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::commands::exec::database;
use crate::commands::private;
use crate::live::service::RunningContainer;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::stages::lease;
use crate::tools::{kubectl, psql};

const COMMAND: &str = "cargo xtask db";
const DEADLINE: Duration = Duration::from_secs(1800);
/// What a restore replaced, in the folder of logs.
const BEFORE: &str = "before-restore.sql";

/// Writes the database's schema and rows, as SQL, into a new file that only its owner reads.
pub fn dump(project: &Project, service: Option<&str>, to: &Path) -> Result<()> {
    let path = private::new_path(project, to)?;
    let (ctx, _, container) = database(project, service, COMMAND)?;
    let step = ctx.ui.step("dump the database");
    write_dump(&ctx, &container, &path)?;
    step.done(&size(&path)?);
    let next = format!("cargo xtask db restore {} --profile {}", to.display(), ctx.config.profile);
    let message = format!("wrote {}, which only you can read\nNext: {next} puts it back", path.display());
    ctx.ui.answer(&message, json!({ "file": path }));
    Ok(())
}

/// Puts a dump in the place of all that the database holds, or changes nothing; then the services start anew, and bring an
/// older schema up to date. What was there before is kept in a file.
pub fn restore(project: &Project, service: Option<&str>, from: &Path) -> Result<()> {
    let dump = read(from)?;
    let (ctx, service, container) = database(project, service, COMMAND)?;
    let _lock = lock::hold(&ctx, &ctx.config.place())?;
    let _leases = lease::hold_all(&ctx)?;
    let before = keep_before(&ctx, &container)?;
    ctx.ui.say(&format!("what the database holds now is kept in {}", before.display()));
    let step = ctx.ui.step("restore the database");
    run_sql(&ctx, &container, [psql::EMPTIED.as_bytes(), &dump].concat())?;
    step.done(&size(from)?);
    for scope in ctx.scopes() {
        let selector = format!("app.kubernetes.io/instance={},app.kubernetes.io/name!={service}", scope.release);
        ctx.run(kubectl::restart(&scope.target, &selector))?;
    }
    ctx.ui.summary(&format!(
        "The database holds what {} has, and the services start anew\nNext: cargo xtask smoke --profile {}",
        from.display(),
        ctx.config.profile
    ));
    Ok(())
}

/// Runs the project's seed, all of it or nothing.
pub fn seed(project: &Project, service: Option<&str>) -> Result<()> {
    let Some(seed) = &project.config.database.seed else {
        let message = "the project names no seed\nNext: set seed in [database] of xtask.toml to a file of SQL";
        return Err(Stop::usage(message).into());
    };
    let sql = read(&project.root.join(seed))?;
    let (ctx, _, container) = database(project, service, COMMAND)?;
    let _lock = lock::hold(&ctx, &ctx.config.place())?;
    let _leases = lease::hold_all(&ctx)?;
    let step = ctx.ui.step("seed the database");
    run_sql(&ctx, &container, sql)?;
    step.done(&seed.display().to_string());
    Ok(())
}

/// Removes what a restore has kept.
pub fn forget_before(ctx: &Context) -> Result<()> {
    let path = kept_before(ctx);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn kept_before(ctx: &Context) -> PathBuf {
    ctx.folders.logs().join(format!("{}-{BEFORE}", ctx.config.namespace))
}

/// Half of a file is useless, and does not stay.
fn write_dump(ctx: &Context, container: &RunningContainer, path: &Path) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = container;
    let command = psql::dump(&ctx.config.database.transient_tables);
    let file = private::create(path)?;
    let written = ctx.spawn.run_into(kubectl::exec(target, pod, container, &command).within(DEADLINE), file);
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn run_sql(ctx: &Context, container: &RunningContainer, sql: Vec<u8>) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = container;
    let call = kubectl::exec_with_input(target, pod, container, &psql::run_whole());
    ctx.spawn.run_whole(call.stdin(sql).within(DEADLINE)).map(drop)
}

/// The file of the restore before goes.
fn keep_before(ctx: &Context, container: &RunningContainer) -> Result<PathBuf> {
    let path = kept_before(ctx);
    let new = path.with_extension("new");
    fs::create_dir_all(ctx.folders.logs())?;
    let _ = fs::remove_file(&new);
    write_dump(ctx, container, &new)?;
    fs::rename(&new, &path)?;
    Ok(path)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn size(file: &Path) -> Result<String> {
    Ok(format!("{} kB", fs::metadata(file)?.len().div_ceil(1000)))
}
