//! Where each service is reached from here: at its published node port, else through a forwarded one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::live;
use crate::live::Endpoint;
use crate::run::context::Context;
use crate::run::process::Background;
use crate::stages::smoke::refusal::{Cause, Refusal};
use crate::tools::kubectl;

/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(200);

/// All services that are live; forwards live as long as this does.
pub struct Addresses<'a> {
    ctx: &'a Context,
    services: BTreeMap<String, (Endpoint, Mutex<Option<Forward>>)>,
}

struct Forward {
    port: u16,
    process: Background,
}

impl<'a> Addresses<'a> {
    pub fn of(ctx: &'a Context, live: &BTreeMap<String, Endpoint>) -> Addresses<'a> {
        let services = live.iter().map(|(name, one)| (name.clone(), (one.clone(), Mutex::default()))).collect();
        Addresses { ctx, services }
    }

    /// The Service of a service.
    pub fn endpoint(&self, service: &str) -> Result<&Endpoint, Refusal> {
        self.services.get(service).map(|(endpoint, _)| endpoint).ok_or_else(|| absent(service))
    }

    /// The port on 127.0.0.1 at which a service is reached. A forward that ended with its pod is opened again.
    pub fn port(&self, service: &str, until: Instant) -> Result<u16, Refusal> {
        let (endpoint, forward) = self.services.get(service).ok_or_else(|| absent(service))?;
        if let Some(port) = live::published_port(endpoint, self.ctx.config.cluster.node_ports) {
            return Ok(port);
        }
        let mut open = forward.lock().expect("nobody panics with it");
        if let Some(Forward { port, process }) = &*open
            && !process.has_ended()
        {
            return Ok(*port);
        }
        let forward = self.forward(endpoint, until)?;
        Ok(open.insert(forward).port)
    }

    fn forward(&self, endpoint: &Endpoint, until: Instant) -> Result<Forward, Refusal> {
        let cause = |came: String| {
            Cause::new(format!("kubectl port-forward service/{}", endpoint.object), "a forwarded port", came)
        };
        let target = self.ctx.target_in(&endpoint.namespace);
        let (sender, receiver) = mpsc::channel();
        let call = kubectl::port_forward(&target, &format!("service/{}", endpoint.object), endpoint.port, None);
        let process = self.ctx.spawn.background(call, move |line| {
            // The receiver is gone once the port is known; later lines are ignored.
            let _ = sender.send(line.to_string());
        });
        // What was not even begun, as the cluster is another's, would not be the next time either.
        let process = process.map_err(|error| Refusal::Wrong(cause(format!("{error:#}"))))?;
        let mut said = Vec::new();
        while Instant::now() < until && self.ctx.spawn.interrupt.check().is_ok() {
            match receiver.recv_timeout(TURN) {
                Ok(line) => match kubectl::parse_forward(&line) {
                    Some(port) => return Ok(Forward { port, process }),
                    None => said.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let said = if said.is_empty() { "nothing".to_string() } else { said.join(" · ") };
        Err(Refusal::NotYet(cause(kubectl::refusal_of_pod(&said).to_string())))
    }
}

fn absent(service: &str) -> Refusal {
    Refusal::Wrong(Cause::new(format!("the Service of {service}"), "one in the cluster", "none"))
}
