//! `open` and `forward`: a service at an address of this machine.

use std::io::{IsTerminal, stdout};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::live;
use crate::live::Endpoint;
use crate::live::service::{need_known, running_container};
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::process::Background;
use crate::stages::{cluster, setup};
use crate::tools::{browser, kubectl};

/// How often an ended forward, and an interruption, is looked for.
const TURN: Duration = Duration::from_millis(100);
/// Between two tries to forward, while no pod runs.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints the URL of a service, that of the profile's page by default, and opens it in a browser where there is one.
pub fn run(project: &Project, service: Option<&str>) -> Result<()> {
    let (ctx, service, endpoint) = find(project, service, "cargo xtask open")?;
    let Some(url) = live::url(&ctx.config, &service, &endpoint) else {
        let message = format!("{service} has no port on this machine");
        return Err(Stop::failed(format!("{message}\nNext: cargo xtask forward {service}")).into());
    };
    ctx.ui.answer(&url, json!({ "service": service, "url": url }));
    if stdout().is_terminal() && has_browser() {
        // The URL is printed already.
        let _ = ctx.spawn.detach(browser::open(&url));
    }
    Ok(())
}

/// Whether this machine has a screen and a program that opens addresses.
fn has_browser() -> bool {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    (cfg!(target_os = "macos") || has_screen) && which::which(browser::PROGRAM).is_ok()
}

/// Forwards a port of 127.0.0.1 to a service until it is interrupted, over restarts and replaced pods. `to` is a port of its
/// pods that its Service may lack.
pub fn forward(project: &Project, service: &str, port: Option<u16>, to: Option<u16>) -> Result<()> {
    let (ctx, service, endpoint) = find(project, Some(service), "cargo xtask forward SERVICE")?;
    let theirs = to.unwrap_or(endpoint.port);
    let local = match port {
        Some(port) => need_free(port)?,
        None => free_port(theirs)?,
    };
    let target = ctx.target_in(&endpoint.namespace);
    let start = || -> Result<Background> {
        let ui = ctx.ui.clone();
        let object = match to {
            Some(_) => format!("pod/{}", running_container(&ctx, &service)?.pod),
            None => format!("service/{}", endpoint.object),
        };
        let call = kubectl::port_forward(&target, &object, theirs, Some(local));
        ctx.spawn.background(call, move |line| {
            if line.starts_with("error:") || line.starts_with("Unable") {
                ui.say(line);
            }
        })
    };
    ctx.ui.say(&format!("{service} is at 127.0.0.1:{local}; Ctrl-C ends it"));
    let mut forward = start()?;
    while ctx.spawn.interrupt.check().is_ok() {
        std::thread::sleep(TURN);
        if forward.has_ended() {
            ctx.ui.say(&format!("the forward to {service} ended; opening it again"));
            std::thread::sleep(AGAIN);
            // Where no pod runs yet, it is tried again.
            match start() {
                Ok(started) => forward = started,
                Err(error) if to.is_none() => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

fn find(project: &Project, service: Option<&str>, command: &str) -> Result<(Context, String, Endpoint)> {
    let service = service.unwrap_or(&project.config.open).to_string();
    need_known(project, std::slice::from_ref(&service), command)?;
    let ctx = setup::need_tools(project)?;
    cluster::need_serving(&ctx)?;
    match live::endpoints(&ctx)?.remove(&service) {
        Some(endpoint) => Ok((ctx, service, endpoint)),
        None => {
            let message = format!("{service} has no Service in the cluster");
            Err(Stop::failed(format!("{message}\nNext: cargo xtask up --profile {}", ctx.config.profile)).into())
        }
    }
}

/// The port, if nobody has it.
fn need_free(port: u16) -> Result<u16> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(port),
        Err(error) => {
            let message = format!("port {port} of 127.0.0.1 cannot be taken: {error}");
            Err(Stop::usage(format!("{message}\nNext: another --port, or none, for a free one")).into())
        }
    }
}

/// The service's own port where that is free here and no root is needed for it, else any.
fn free_port(wanted: u16) -> Result<u16> {
    let wanted = if wanted < 1024 { 0 } else { wanted };
    let listener = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_port_is_taken_unless_somebody_has_it() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
        assert!(free_port(80).unwrap() >= 1024);
        drop(taken);
        assert_eq!(free_port(port).unwrap(), port);
    }
}
