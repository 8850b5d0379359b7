//! Leaves to a GitOps controller what it applies: what helm changes would be set back, and two would own the objects.

use anyhow::Result;

use crate::live;
use crate::model::gitops::Applier;
use crate::run::call::{argv, display};
use crate::run::context::{Context, Scope};
use crate::run::exit::Stop;
use crate::stages::deploy::Plan;
use crate::tools::kubectl;

/// What the charts make, but for what holds data.
const KINDS: &str =
    "all,configmaps,serviceaccounts,ingresses,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers";

/// What a controller applies is changed where it reads it.
pub fn refuse_deploy(ctx: &Context, plans: &[Plan]) -> Result<()> {
    let applied = plans.iter().find_map(|plan| Some((plan, plan.applier.as_ref()?, plan.why.as_ref()?)));
    let Some((plan, applier, why)) = applied else { return Ok(()) };
    let Scope { release, target } = &plan.scope;
    let target_option = ctx.config.target.as_ref().map_or(String::new(), |name| format!(" --target {name}"));
    let message = format!("{release} in namespace {} is not deployed by helm: {why}", target.namespace);
    let next = format!("cargo xtask package{target_option} --gitops {}, then have it applied", applier.option());
    Err(Stop::needs_setup(format!("{message}\nNext: {next}")).into())
}

/// What it applied before is in git, as its package is.
pub fn refuse_rollback(ctx: &Context, scopes: &[Scope]) -> Result<()> {
    let Some((scope, applier)) = find_applied(ctx, scopes)? else { return Ok(()) };
    let why = format!("it is applied by {applier}");
    let next = "revert the commit of its package in git, and have that applied";
    Err(refusal(scope, "is not rolled back by helm", &why, next).into())
}

/// It would apply again what is uninstalled, as long as it has the object that says so.
pub fn refuse_uninstall(ctx: &Context, scopes: &[Scope]) -> Result<()> {
    let Some((scope, applier)) = find_applied(ctx, scopes)? else { return Ok(()) };
    // Where nobody may read it, it is there for all that is known.
    let is_gone = live::object_of(ctx, &applier)?.is_ok_and(|object| object.is_none());
    let (why, next) = if is_gone {
        let selector = format!("app.kubernetes.io/instance={}", scope.release);
        let at = kubectl::at(&scope.target);
        let delete = display(&argv!("kubectl delete {KINDS} --selector {selector} {at...}"));
        (format!("{applier} applied it and is gone, and left it"), format!("{delete}, then the same command again"))
    } else {
        let delete = display(&applier.delete_command());
        (
            format!("it is applied by {applier}, which would apply it again"),
            format!("{delete}, and remove it where it is applied from; then the same command again"),
        )
    };
    Err(refusal(scope, "is not uninstalled by helm", &why, &next).into())
}

fn find_applied<'a>(ctx: &Context, scopes: &'a [Scope]) -> Result<Option<(&'a Scope, Applier)>> {
    for scope in scopes {
        if let Some((applier, _)) = live::applied_by(ctx, scope)? {
            return Ok(Some((scope, applier)));
        }
    }
    Ok(None)
}

fn refusal(scope: &Scope, what: &str, why: &str, next: &str) -> Stop {
    let Scope { release, target } = scope;
    Stop::needs_setup(format!("{release} in namespace {} {what}: {why}\nNext: {next}", target.namespace))
}
