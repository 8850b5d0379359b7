//! One run at a time for what two would spoil for each other.

use std::fs::{self, File, TryLockError};
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::poll;
use crate::stop::Stop;

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
