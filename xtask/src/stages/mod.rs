//! One file per stage.

pub mod addons;
pub mod apply;
pub mod build;
pub mod cluster;
pub mod containers;
pub mod deploy;
pub mod elsewhere;
pub mod gitops;
mod immutable;
pub mod lease;
pub mod load;
pub mod namespace;
pub mod nodes;
pub mod preview;
pub mod push;
pub mod render;
pub mod restart;
pub mod rollback;
pub mod setup;
pub mod smoke;
pub mod sync;
mod terminating;
pub mod values;
pub mod verify;
pub mod volumes;
