//! One file per command, named as the command.

pub mod bootstrap;
pub mod bundle;
pub mod clean;
pub mod completions;
pub mod config;
pub mod debug;
pub mod dev;
pub mod doctor;
pub mod down;
pub mod exec;
pub mod history;
pub mod hook;
pub mod logs;
pub mod open;
pub mod plan;
pub mod render;
pub mod rollback;
pub mod schema;
pub mod secrets;
pub mod smoke;
pub mod status;
pub mod timings;
pub mod tunnel;
pub mod uninstall;
pub mod up;
pub mod verify;
