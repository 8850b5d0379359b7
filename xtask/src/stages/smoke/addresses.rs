//! Where each service is reached from here: at its published node port, else through a forwarded one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use crate::config::{Action, Check};
use crate::live;
use crate::live::Endpoint;
use crate::run::context::Context;
use crate::stages::smoke::forward::{Early, Forward, Opening};
use crate::stages::smoke::refusal::{Cause, Refusal};
use crate::tools::kubectl;

/// All services that are live; forwards live as long as this does, or until no check needs them any more.
pub struct Addresses<'a> {
    ctx: &'a Context,
    services: BTreeMap<String, (Endpoint, Mutex<Port>)>,
    early: Early,
}

/// What is known of the forwarded port of a service.
#[derive(Default)]
struct Port {
    forward: Option<Forward>,
    /// There was one, which may be closed by now.
    was_open: bool,
    /// How many checks are still to ask it.
    checks: usize,
}

impl<'a> Addresses<'a> {
    pub fn of(ctx: &'a Context, live: &BTreeMap<String, Endpoint>, early: Early, checks: &[&Check]) -> Addresses<'a> {
        let port = |name: &str| Port {
            checks: checks.iter().filter(|check| asked_at_port(check).any(|service| service == name)).count(),
            ..Port::default()
        };
        let services = live.iter().map(|(name, one)| (name.clone(), (one.clone(), Mutex::new(port(name))))).collect();
        Addresses { ctx, services, early }
    }

    /// A check has ended. The forwards that only it still needed are closed: a project may have hundreds of services.
    pub fn leave(&self, check: &Check) {
        let asked: BTreeSet<&str> = asked_at_port(check).collect();
        for (_, port) in asked.iter().filter_map(|service| self.services.get(*service)) {
            let mut port = port.lock().expect("nobody panics with it");
            port.checks = port.checks.saturating_sub(1);
            let unneeded = if port.checks == 0 { port.forward.take() } else { None };
            drop(port);
            // Its end is waited for.
            drop(unneeded);
        }
    }

    /// The Service of a service.
    pub fn endpoint(&self, service: &str) -> Result<&Endpoint, Refusal> {
        self.services.get(service).map(|(endpoint, _)| endpoint).ok_or_else(|| absent(service))
    }

    /// The port on 127.0.0.1 at which a service is reached. A forward that ended with its pod is opened again.
    pub fn port(&self, service: &str, until: Instant) -> Result<u16, Refusal> {
        let (endpoint, forward) = self.services.get(service).ok_or_else(|| absent(service))?;
        if let Some(port) = live::published_port(&self.ctx.config, endpoint) {
            return Ok(port);
        }
        let mut open = forward.lock().expect("nobody panics with it");
        if let Some(port) = open.forward.as_ref().and_then(Forward::port) {
            return Ok(port);
        }
        let early = self.early.take(endpoint).and_then(|opening| opening.wait(self.ctx, until).ok());
        let forward = match early.filter(|forward| forward.port().is_some()) {
            Some(forward) => forward,
            None => self.forward(endpoint, until)?,
        };
        let port = forward.port().ok_or_else(|| Refusal::NotYet(cause(endpoint, "it ended at once".to_string())))?;
        (open.forward, open.was_open) = (Some(forward), true);
        Ok(port)
    }

    /// The Services to which a port was forwarded.
    pub fn forwarded(&self) -> impl Iterator<Item = &Endpoint> {
        let was_open = |port: &Mutex<Port>| port.lock().expect("nobody panics with it").was_open;
        self.services.values().filter(move |(_, port)| was_open(port)).map(|(endpoint, _)| endpoint)
    }

    fn forward(&self, endpoint: &Endpoint, until: Instant) -> Result<Forward, Refusal> {
        // What was not even begun, as the cluster is another's, would not be the next time either.
        let opening = Opening::begin(self.ctx, endpoint)
            .map_err(|error| Refusal::Wrong(cause(endpoint, format!("{error:#}"))))?;
        opening
            .wait(self.ctx, until)
            .map_err(|said| Refusal::NotYet(cause(endpoint, kubectl::refusal_of_pod(&said).to_string())))
    }
}

/// The services that a check asks at their ports; what a pod itself is asked needs none.
fn asked_at_port(check: &Check) -> impl Iterator<Item = &str> {
    let needs_port = |action: &Action| !matches!(action, Action::Sql { .. } | Action::HelmTest { .. });
    check.steps.iter().filter(move |step| needs_port(&step.action)).filter_map(|step| step.service.as_deref())
}

fn cause(endpoint: &Endpoint, came: String) -> Cause {
    Cause::new(format!("kubectl port-forward service/{}", endpoint.object), "a forwarded port", came)
}

fn absent(service: &str) -> Refusal {
    Refusal::Wrong(Cause::new(format!("the Service of {service}"), "one in the cluster", "none"))
}
