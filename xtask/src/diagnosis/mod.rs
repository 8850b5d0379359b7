//! What goes wrong with a release, found out while it is waited for and reported with its cause.

pub mod capacity;
pub mod cause;
pub mod events;
pub mod node;
pub mod pod;
pub mod release;
pub mod report;
pub mod watch;
