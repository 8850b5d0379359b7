//! `db`: what the database holds into a file, back from one, or as the project's seed has it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::commands::exec::{database, need_shell};
use crate::commands::private;
use crate::live::service::{RunningContainer, need_known, running_container};
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::stages::{cluster, setup};
use crate::tools::{kubectl, psql};

const DEADLINE: Duration = Duration::from_secs(1800);
/// What a restore replaced, in the folder of logs.
const BEFORE: &str = "before-restore.sql";

/// Writes the database's schema and rows, as SQL, into a new file that only its owner reads.
pub fn dump(project: &Project, service: Option<&str>, to: &Path) -> Result<()> {
    let path = private::new_path(project, to)?;
    let (ctx, found) = database_of(project, service)?;
    let step = ctx.ui.step("dump the database");
    let file = private::create(&path)?;
    if let Err(error) = write_dump(&ctx, &found, file) {
        // Half of a file is useless.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
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
    let (ctx, found) = database_of(project, service)?;
    let _lock = lock::hold(&ctx, &ctx.config.namespace)?;
    let before = keep_before(&ctx, &found)?;
    ctx.ui.say(&format!("what the database holds now is kept in {}", before.display()));
    let step = ctx.ui.step("restore the database");
    run_sql(&ctx, &found, [psql::EMPTIED.as_bytes(), &dump].concat())?;
    step.done(&size(from)?);
    for scope in ctx.scopes() {
        let selector =
            format!("app.kubernetes.io/instance={},app.kubernetes.io/name!={}", scope.release, found.service);
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
    let (ctx, found) = database_of(project, service)?;
    let _lock = lock::hold(&ctx, &ctx.config.namespace)?;
    let step = ctx.ui.step("seed the database");
    run_sql(&ctx, &found, sql)?;
    step.done(&seed.display().to_string());
    Ok(())
}

/// The database's own container, which knows its password.
struct Database {
    service: String,
    container: RunningContainer,
}

fn database_of(project: &Project, service: Option<&str>) -> Result<(Context, Database)> {
    let service = match service {
        Some(service) => service.to_string(),
        None => database(project, "cargo xtask db")?,
    };
    need_known(project, std::slice::from_ref(&service), "cargo xtask db --service SERVICE")?;
    let ctx = setup::need_tools(project)?;
    cluster::need_running(&ctx, cluster::observe(&ctx)?)?;
    let container = running_container(&ctx, &service)?;
    need_shell(&ctx, &container, &service)?;
    Ok((ctx, Database { service, container }))
}

fn write_dump(ctx: &Context, database: &Database, file: File) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = &database.container;
    let command = psql::dump(&ctx.config.database.transient_tables);
    ctx.spawn.run_into(kubectl::exec(target, pod, container, &command).within(DEADLINE), file)
}

fn run_sql(ctx: &Context, database: &Database, sql: Vec<u8>) -> Result<()> {
    let RunningContainer { target, pod, container, .. } = &database.container;
    let call = kubectl::exec_with_input(target, pod, container, &psql::run_whole());
    ctx.spawn.run_whole(call.stdin(sql).within(DEADLINE)).map(drop)
}

/// The file of the restore before goes.
fn keep_before(ctx: &Context, database: &Database) -> Result<PathBuf> {
    let folder = ctx.folders.logs();
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{BEFORE}", ctx.config.namespace));
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    write_dump(ctx, database, private::create(&new)?)?;
    fs::rename(&new, &path)?;
    Ok(path)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn size(file: &Path) -> Result<String> {
    Ok(format!("{} kB", fs::metadata(file)?.len().div_ceil(1000)))
}
