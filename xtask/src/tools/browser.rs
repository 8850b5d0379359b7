//! The browser of whoever sits at this machine.

use crate::run::call::{Call, argv, call};

/// The program that opens addresses.
pub const PROGRAM: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

pub fn open(url: &str) -> Call {
    call(argv!("{PROGRAM} {url}"))
}
