//! The domain, without I/O: what is wanted compared with what is live, and how a rollout stands.

pub mod cluster;
pub mod image;
pub mod placeholder;
pub mod pods;
pub mod rollout;
pub mod subset;
