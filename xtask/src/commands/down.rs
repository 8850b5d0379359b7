//! `down`: uninstalls the releases, and with them on request the data or the cluster.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::commands::db;
use crate::run::context::{Context, Project};
use crate::run::lock;
use crate::stages::{build, cluster, deploy, gitops, lease, namespace, setup, volumes};
use crate::tools::helm;

/// Uninstalls; the volumes and the Secret that opens them stay, unless `purge`.
pub fn run(project: &Project, purge: bool, whole_cluster: bool) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    if whole_cluster {
        let _locks = lock::hold_all(ctx)?;
        cluster::delete(ctx)?;
        ctx.ui.summary(&format!("The cluster {} is gone", ctx.config.cluster.name));
        return Ok(());
    }
    cluster::need_serving(ctx)?;
    gitops::refuse_uninstall(ctx, &ctx.scopes())?;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let _leases = lease::hold_all(ctx)?;
    let namespaces = ctx.config.namespaces();
    namespace::refuse_others(ctx)?;
    if purge {
        namespaces.iter().try_for_each(|name| namespace::refuse_foreign(ctx, name))?;
    }
    // What others need goes last.
    for release in ctx.config.release_waves().iter().rev().flatten() {
        let scope = ctx.scope(release);
        deploy::await_others(ctx, &scope)?;
        let step = ctx.ui.step(format!("uninstall {release}"));
        let deadline = ctx.config.deadlines.helm;
        let call = helm::uninstall(&scope.target, release, deadline);
        // A signal would leave the release half uninstalled: helm runs to its end.
        ctx.spawn.run_whole(call.within(deadline + Duration::from_secs(30)))?;
        step.done(&format!("namespace {}", scope.target.namespace));
    }
    let message = namespaces.join(" and ");
    if purge {
        let step = ctx.ui.step("remove the data");
        namespaces.iter().try_for_each(|name| namespace::remove(ctx, name))?;
        volumes::remove_left(ctx, &namespaces)?;
        db::forget_before(ctx)?;
        step.done(&format!("volumes and Secrets in namespace {message}"));
    }
    namespaces.iter().try_for_each(|name| namespace::release(ctx, name))?;
    forget_staging(ctx)?;
    ctx.ui.summary(&match purge {
        true => "The release and its data are gone".to_string(),
        false => format!("The release is gone; its data stays in namespace {message} (--purge removes it)"),
    });
    Ok(())
}

/// Removes the staging folders, which each run recreates.
fn forget_staging(ctx: &Context) -> Result<()> {
    let contexts = ctx.config.services.keys().map(|service| build::context(ctx, service));
    let charts = ctx.config.releases.keys().map(|release| ctx.staging(release));
    for folder in contexts.chain(charts).filter(|folder| folder.exists()) {
        fs::remove_dir_all(folder)?;
    }
    // What others have put there stays, and the folder with it.
    let _ = fs::remove_dir(ctx.staging(""));
    Ok(())
}
