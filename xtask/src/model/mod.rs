//! The domain, without I/O: what is wanted compared with what is live, and how a rollout stands.

pub mod claims;
pub mod cluster;
pub mod image;
pub mod labels;
pub mod object;
pub mod plan;
pub mod quantity;
pub mod release;
pub mod rollout;
pub mod states;
pub mod subset;
pub mod time;
pub mod tools;
