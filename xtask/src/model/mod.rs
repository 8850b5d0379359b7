//! The domain, without I/O: desired against observed state, and the state of a rollout.

pub mod bundle;
pub mod claims;
pub mod cluster;
pub mod gitops;
pub mod image;
pub mod labels;
pub mod lease;
pub mod markup;
pub mod object;
pub mod origin;
pub mod pin;
pub mod plan;
pub mod quantity;
pub mod release;
pub mod rollout;
pub mod saved;
pub mod shortcut;
pub mod spans;
pub mod states;
pub mod stored;
pub mod subset;
pub mod thin;
pub mod time;
pub mod tools;
