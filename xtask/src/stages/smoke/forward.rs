//! A port on 127.0.0.1 that kubectl forwards to a Service, for as long as its owner wants it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::live::Endpoint;
use crate::run::answers::Answers;
use crate::run::context::Context;
use crate::run::graph::AT_ONCE;
use crate::run::process::Background;
use crate::tools::kubectl;

/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(200);
/// What the list of ports is kept under, beside the namespace.
const KEPT: &str = "forwards";

pub struct Forward {
    port: u16,
    process: Background,
}

impl Forward {
    /// The port, unless the forward has ended, as it does with its pod.
    pub fn port(&self) -> Option<u16> {
        (!self.process.has_ended()).then_some(self.port)
    }
}

/// A forward whose port is not known yet.
pub struct Opening {
    process: Background,
    lines: Receiver<String>,
}

impl Opening {
    /// Refused where the cluster is another's.
    pub fn begin(ctx: &Context, endpoint: &Endpoint) -> Result<Opening> {
        let (sender, lines) = mpsc::channel();
        let target = ctx.target_in(&endpoint.namespace);
        let call = kubectl::port_forward(&target, &format!("service/{}", endpoint.object), endpoint.port, None);
        let process = ctx.spawn.background(call, move |line| {
            // The receiver is gone once the port is known; later lines are ignored.
            let _ = sender.send(line.to_string());
        })?;
        Ok(Opening { process, lines })
    }

    /// The forward once it is open; otherwise what kubectl said.
    pub fn wait(self, ctx: &Context, until: Instant) -> Result<Forward, String> {
        let mut said = Vec::new();
        while Instant::now() < until && ctx.spawn.interrupt.check().is_ok() {
            match self.lines.recv_timeout(TURN) {
                Ok(line) => match kubectl::parse_forward(&line) {
                    Some(port) => return Ok(Forward { port, process: self.process }),
                    None => said.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(if said.is_empty() { "nothing".to_string() } else { said.join(" · ") })
    }
}

/// The forwards that the last checks needed, begun before it is known whether these need them: opening one takes as long as
/// looking at the cluster. One that turns out to be of no use is ended, which is all that a wrong guess costs. As many are begun
/// as checks are asked at once.
#[derive(Default)]
pub struct Early {
    openings: Mutex<BTreeMap<String, Opening>>,
}

impl Early {
    pub fn begin(ctx: &Context) -> Early {
        // A cluster that has no kubeconfig yet has nothing to forward to.
        let kept = ctx.folders.kubeconfig().exists().then(|| find(ctx)).flatten().unwrap_or_default();
        let openings = kept.lines().filter_map(|line| {
            let opening = Opening::begin(ctx, &parse(line)?).ok()?;
            Some((line.to_string(), opening))
        });
        Early { openings: Mutex::new(openings.take(AT_ONCE).collect()) }
    }

    /// That of a Service, once.
    pub fn take(&self, endpoint: &Endpoint) -> Option<Opening> {
        self.openings.lock().expect("nobody panics with it").remove(&line_of(endpoint))
    }
}

/// Keeps which Services were reached through a forward, for `Early`.
pub fn remember<'a>(ctx: &Context, forwarded: impl Iterator<Item = &'a Endpoint>) {
    let lines: Vec<String> = forwarded.map(line_of).collect();
    let text = lines.join("\n");
    if find(ctx).unwrap_or_default() != text {
        Answers::new(&ctx.folders.cache).keep(&name(ctx), KEPT, &text);
    }
}

fn find(ctx: &Context) -> Option<String> {
    Answers::new(&ctx.folders.cache).find(&name(ctx), KEPT)
}

fn name(ctx: &Context) -> String {
    format!("{KEPT}.{}.{}", ctx.config.cluster_name(), ctx.config.namespace)
}

fn line_of(endpoint: &Endpoint) -> String {
    format!("{} {} {}", endpoint.namespace, endpoint.object, endpoint.port)
}

fn parse(line: &str) -> Option<Endpoint> {
    let mut words = line.split(' ');
    let (namespace, object, port) = (words.next()?.to_string(), words.next()?.to_string(), words.next()?.parse().ok()?);
    Some(Endpoint { namespace, object, port, node_port: None, load_balancer: false, address: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forwarded_is_read_back_and_what_is_no_line_is_left_out() {
        let endpoint = parse("todo mcp 8001").unwrap();
        assert_eq!((endpoint.object.as_str(), endpoint.port), ("mcp", 8001));
        assert_eq!(line_of(&endpoint), "todo mcp 8001");
        for wrong in ["", "todo", "todo mcp", "todo mcp x", "todo mcp 70000"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
