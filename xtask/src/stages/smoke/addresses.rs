//! Where each service is reached from here: at its published node port, else through a forwarded one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use crate::live;
use crate::live::Endpoint;
use crate::run::context::Context;
use crate::stages::smoke::forward::{Early, Forward, Opening};
use crate::stages::smoke::refusal::{Cause, Refusal};
use crate::tools::kubectl;

/// All services that are live; forwards live as long as this does.
pub struct Addresses<'a> {
    ctx: &'a Context,
    services: BTreeMap<String, (Endpoint, Mutex<Option<Forward>>)>,
    early: Early,
}

impl<'a> Addresses<'a> {
    pub fn of(ctx: &'a Context, live: &BTreeMap<String, Endpoint>, early: Early) -> Addresses<'a> {
        let services = live.iter().map(|(name, one)| (name.clone(), (one.clone(), Mutex::default()))).collect();
        Addresses { ctx, services, early }
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
        if let Some(port) = open.as_ref().and_then(Forward::port) {
            return Ok(port);
        }
        let early = self.early.take(endpoint).and_then(|opening| opening.wait(self.ctx, until).ok());
        let forward = match early.filter(|forward| forward.port().is_some()) {
            Some(forward) => forward,
            None => self.forward(endpoint, until)?,
        };
        let port = forward.port().ok_or_else(|| Refusal::NotYet(cause(endpoint, "it ended at once".to_string())))?;
        *open = Some(forward);
        Ok(port)
    }

    /// The Services to which a port is forwarded.
    pub fn forwarded(&self) -> impl Iterator<Item = &Endpoint> {
        let is_open = |forward: &Mutex<Option<Forward>>| forward.lock().expect("nobody panics with it").is_some();
        self.services.values().filter(move |(_, forward)| is_open(forward)).map(|(endpoint, _)| endpoint)
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

fn cause(endpoint: &Endpoint, came: String) -> Cause {
    Cause::new(format!("kubectl port-forward service/{}", endpoint.object), "a forwarded port", came)
}

fn absent(service: &str) -> Refusal {
    Refusal::Wrong(Cause::new(format!("the Service of {service}"), "one in the cluster", "none"))
}
