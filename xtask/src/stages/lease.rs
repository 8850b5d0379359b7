//! Has a namespace of a shared cluster for one run at a time, on whichever machine: by a Lease in it, as a file would be seen
//! by this machine alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::model::cluster::Target;
use crate::model::lease::{DURATION_SECONDS, Held, holder, object};
use crate::model::time;
use crate::run::clock::now;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::process::Spawn;
use crate::tools::{git, kubectl};

/// How often a lease is renewed, of the time that it holds.
const RENEWALS: i64 = 4;
/// How often the end of the run is looked for.
const TURN: Duration = Duration::from_millis(100);

/// A lease that this run has: it is renewed, and given back when this value goes.
pub struct Lease {
    done: Arc<AtomicBool>,
    renewing: Option<JoinHandle<()>>,
}

/// Takes the lease of a namespace. Refuses while another run has it, with who and since when. None where leases can't be had:
/// then no other run is kept off.
pub fn hold(ctx: &Context, namespace: &str) -> Result<Option<Lease>> {
    let (target, name) = (ctx.target_in(namespace), name(ctx));
    let mine = Held { by: identity(ctx), since: now(), renewed: now() };
    let found = match ctx.spawn.attempt(kubectl::get(&target, &format!("lease/{name}"), None))? {
        Ok(found) => found.into_iter().next(),
        Err(output) if kubectl::is_forbidden(&output.tail) => {
            ctx.ui
                .say(&format!("no right to leases in namespace {namespace}: another run there would not be kept off"));
            return Ok(None);
        }
        Err(output) => return Err(Stop::failed("the lease cannot be read").with_detail(&output.tail).into()),
    };
    let other = found.as_ref().and_then(holder);
    if let Some(other) = other.filter(|other| other.by != mine.by) {
        match other.is_over(now()) {
            false => return Err(refusal(ctx, namespace, &other)),
            true => ctx.ui.say(&format!("{} left namespace {namespace} without an end; going on", other.by)),
        }
    }
    let version = found.as_ref().and_then(|lease| lease["metadata"]["resourceVersion"].as_str());
    let lease = object(&name, namespace, &mine, version).to_string();
    let call = if version.is_some() { kubectl::replace(&target) } else { kubectl::create(&target) };
    if let Err(output) = ctx.spawn.attempt(call.stdin(lease))? {
        // Whoever was quicker has it now.
        return match read(&ctx.spawn, &target, &name).ok().flatten().as_ref().and_then(holder) {
            Some(other) => Err(refusal(ctx, namespace, &other)),
            None => Err(Stop::failed("the lease cannot be taken").with_detail(&output.tail).into()),
        };
    }
    Ok(Some(keep(ctx, target, name, mine)))
}

/// Takes the leases of all namespaces of the profile, where they are on a target.
pub fn hold_all(ctx: &Context) -> Result<Vec<Lease>> {
    if ctx.config.target.is_none() {
        return Ok(Vec::new());
    }
    ctx.config.namespaces().iter().filter_map(|name| hold(ctx, name).transpose()).collect()
}

/// Who has the lease of a namespace, in words; None where nobody does.
pub fn holder_of(ctx: &Context, namespace: &str) -> Result<Option<String>> {
    let found = ctx.run(kubectl::get(&ctx.target_in(namespace), &format!("lease/{}", name(ctx)), None))?;
    Ok(found.first().and_then(holder).filter(|other| !other.is_over(now())).map(|other| words(&other)))
}

/// Says who has the lease of the profile's namespace, for commands that show what is there and don't wait.
pub fn report_holder(ctx: &Context) -> Result<()> {
    if ctx.config.target.is_none() {
        return Ok(());
    }
    let target = ctx.target();
    // Where it can't be read, nothing is known of others.
    let found = ctx.spawn.attempt(kubectl::get(&target, &format!("lease/{}", name(ctx)), None))?.unwrap_or_default();
    if let Some(other) = found.first().and_then(holder).filter(|other| !other.is_over(now())) {
        ctx.ui.say(&format!(
            "another run is at work on {}, and may change what is shown: {}",
            ctx.config.place(),
            words(&other)
        ));
    }
    Ok(())
}

/// Renews a lease until it is given back.
fn keep(ctx: &Context, target: Target, name: String, mine: Held) -> Lease {
    let done = Arc::new(AtomicBool::new(false));
    // An interruption ends the run, and the lease is the last thing to go.
    let (spawn, ended) = (ctx.spawn.uninterrupted(), done.clone());
    let pause = Duration::from_secs((DURATION_SECONDS / RENEWALS) as u64);
    let renewing = std::thread::spawn(move || {
        let mut renewed = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            std::thread::sleep(TURN);
            if renewed.elapsed() >= pause {
                renewed = Instant::now();
                // One that fails is followed by another before the lease is over.
                let _ = write(&spawn, &target, &name, &mine, &mine.by);
            }
        }
        // What is not given back is over in a minute.
        let _ = write(&spawn, &target, &name, &mine, "");
    });
    Lease { done, renewing: Some(renewing) }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(renewing) = self.renewing.take() {
            // A panic of it has nothing to do with the run.
            let _ = renewing.join();
        }
    }
}

/// Writes a lease that this run still has, for `by`; nobody has it after that where `by` is empty.
fn write(spawn: &Spawn, target: &Target, name: &str, mine: &Held, by: &str) -> Result<()> {
    let lease = read(spawn, target, name)?.context("the lease is gone")?;
    if holder(&lease).is_none_or(|other| other.by != mine.by) {
        return Ok(());
    }
    let held = Held { by: by.to_string(), since: mine.since, renewed: now() };
    let version = lease["metadata"]["resourceVersion"].as_str();
    spawn.run(kubectl::replace(target).stdin(object(name, &target.namespace, &held, version).to_string()))?;
    Ok(())
}

fn read(spawn: &Spawn, target: &Target, name: &str) -> Result<Option<Value>> {
    Ok(spawn.run(kubectl::get(target, &format!("lease/{name}"), None))?.pop())
}

fn refusal(ctx: &Context, namespace: &str, other: &Held) -> anyhow::Error {
    let message =
        format!("another run is at work on namespace {namespace} of {}: {}", ctx.config.cluster_name(), words(other));
    let next = format!(
        "Next: wait for its end; without one, its lease is over {DURATION_SECONDS} s after it was renewed last"
    );
    Stop::needs_setup(format!("{message}\n{next}")).into()
}

fn words(other: &Held) -> String {
    let ago = time::ago(now() - other.since);
    format!("{}, since {}, {ago} ago", other.by, time::text(other.since))
}

/// One for each project: two may share a namespace.
fn name(ctx: &Context) -> String {
    format!("{}-xtask", ctx.config.project)
}

/// Who this run is to others: a person as git or the system knows them, the machine, and the command.
fn identity(ctx: &Context) -> String {
    let root = ctx.root.display().to_string();
    let named = ctx.spawn.attempt(git::user(&root)).ok().and_then(Result::ok).filter(|name| !name.is_empty());
    let user = named.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "somebody".to_string());
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let command: Vec<String> = std::env::args().skip(1).collect();
    format!("{user} on {host}, process {}: cargo xtask {}", std::process::id(), command.join(" "))
}
