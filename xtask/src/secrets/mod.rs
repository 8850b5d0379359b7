//! The Secrets of a profile: made, kept, changed and judged.

pub mod database;
pub mod existing;
pub mod judge;
pub mod overrides;
pub mod placeholder;
pub mod pull;
pub mod sealed;
pub mod store;
