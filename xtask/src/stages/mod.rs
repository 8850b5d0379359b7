//! One file per stage. Stages know tools, never each other.

pub mod addons;
pub mod bootstrap;
pub mod build;
pub mod clean;
pub mod cluster;
pub mod deploy;
pub mod diagnose;
pub mod load;
pub mod namespace;
pub mod overrides;
pub mod render;
pub mod rollback;
pub mod secret;
pub mod smoke;
pub mod verify;
