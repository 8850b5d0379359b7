//! One run at a time for what two would spoil for each other.

use std::fs::{self, File, TryLockError};
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::poll;
use crate::stop::Stop;

/// Held while tools and base images are made, which is what each run begins with.
pub const BOOTSTRAP: &str = "bootstrap";
/// What the namespaces of several runs share.
pub const CLUSTER: &str = "the cluster";

/// Holds every lock there is, for what no run may be beside. A run that begins meanwhile waits for the first one.
pub fn hold_all(ctx: &Context, deadline: Duration) -> Result<Vec<File>> {
    let entries = fs::read_dir(&ctx.folders.state).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".lock")?.to_string())).collect();
    names.retain(|name| name != BOOTSTRAP && name != CLUSTER);
    names.sort();
    // In the order in which a run takes them, or two could wait for each other.
    names.insert(0, BOOTSTRAP.to_string());
    names.push(CLUSTER.to_string());
    names.iter().map(|name| hold(ctx, name, deadline)).collect()
}

/// Holds the lock `name` for as long as the returned file lives. A second run waits, and says for what.
pub fn hold(ctx: &Context, name: &str, deadline: Duration) -> Result<File> {
    fs::create_dir_all(&ctx.folders.state)?;
    let path = ctx.folders.state.join(format!("{name}.lock"));
    let file = File::create(&path)?;
    let free = || match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    };
    if !free()? {
        ctx.ui.say(&format!("another run works on {name}; waiting for it to end"));
        let locked = poll::until(&ctx.spawn.interrupt, deadline, || Ok(free()?.then_some(())))?;
        locked.ok_or_else(|| {
            let told = format!("another run has worked on {name} for more than {} s", deadline.as_secs());
            Stop::deadline(format!("{told}\nNext: end it, then run the same command again"))
        })?;
    }
    Ok(file)
}
