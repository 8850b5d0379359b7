//! `tunnel`: `minikube tunnel` in the foreground; each address is printed as it is assigned.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use crate::live;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::poll;
use crate::run::process::Background;
use crate::stages::cluster;
use crate::stages::setup;
use crate::tools::minikube;

/// A tunnel that has given no address by then will not.
const GRACE: Duration = Duration::from_secs(60);

/// Runs until it is interrupted, which is how it ends well.
pub fn run(project: &Project) -> Result<()> {
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    let waiting: Vec<String> =
        live::endpoints(ctx)?.into_iter().filter(|(_, one)| one.load_balancer).map(|(name, _)| name).collect();
    if waiting.is_empty() {
        let message = format!(
            "profile {} runs no Service of type LoadBalancer: nothing waits for an address",
            ctx.config.profile
        );
        return Err(
            Stop::failed(format!("{message}\nNext: cargo xtask status --profile {}", ctx.config.profile)).into()
        );
    }
    if which::which("sudo").is_err() {
        let message = "minikube tunnel sets routes with sudo, which is not on PATH\nNext: apt-get install sudo";
        return Err(Stop::needs_setup(message).into());
    }
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = said.clone();
    let call = minikube::tunnel(&ctx.config.cluster.name);
    let tunnel = ctx
        .spawn_minikube()?
        .background(call, move |line| keep.lock().expect("nobody panics with it").push(line.to_string()))?;
    let ended = hold_open(ctx, &tunnel, &waiting);
    // Only so does it take its routes and addresses back.
    tunnel.interrupt();
    ended.map_err(|error| match error.downcast::<Stop>() {
        // What it said last: the rest repeats itself.
        Ok(stop) => {
            let said = said.lock().expect("nobody panics with it");
            stop.with_detail(&said[said.len().saturating_sub(8)..].join("\n")).into()
        }
        Err(error) => error,
    })
}

/// Tells the addresses once they are there, and comes back when it is interrupted.
fn hold_open(ctx: &Context, tunnel: &Background, waiting: &[String]) -> Result<()> {
    let step = ctx.ui.step("open the tunnel");
    let given = poll::until(&ctx.spawn.interrupt, GRACE, || {
        if tunnel.has_ended() {
            return Err(Stop::failed("minikube tunnel exited").into());
        }
        let all = live::endpoints(ctx)?;
        let addresses: Vec<String> = waiting
            .iter()
            .filter_map(|name| {
                all.get(name).and_then(|one| Some(format!("{name} at http://{}:{}", one.address.as_ref()?, one.port)))
            })
            .collect();
        step.update(&format!("{} of {} have an address", addresses.len(), waiting.len()));
        Ok((addresses.len() == waiting.len()).then_some(addresses))
    })?;
    let Some(addresses) = given else {
        let message = format!("no address for {} after {} s", waiting.join(", "), GRACE.as_secs());
        return Err(Stop::deadline(format!(
            "{message}\nNext: kubectl describe service, in namespace {}",
            ctx.config.namespace
        ))
        .into());
    };
    step.done(&addresses.join(", "));
    ctx.ui.say("the addresses answer for as long as this runs; Ctrl-C ends it");
    while ctx.spawn.interrupt.check().is_ok() && !tunnel.has_ended() {
        std::thread::sleep(Duration::from_millis(200));
    }
    match tunnel.has_ended() {
        false => Ok(()),
        true => Err(Stop::failed("minikube tunnel exited").into()),
    }
}
