//! The domain, without I/O: what things are, typed so that illegal values can't be made; what is wanted compared with
//! what is live; how a rollout stands.

pub mod chart;
pub mod cluster;
pub mod config_map;
pub mod container;
pub mod database;
pub mod deployment;
pub mod docker_image;
pub mod dockerfile;
pub mod env;
pub mod image;
pub mod labels;
pub mod log;
pub mod minikube;
pub mod object;
pub mod placeholder;
pub mod plan;
pub mod pods;
pub mod ports;
pub mod probe;
pub mod quantity;
pub mod reference;
pub mod release;
pub mod resources;
pub mod rollout;
pub mod scheduling;
pub mod secret;
pub mod service;
pub mod states;
pub mod strategy;
pub mod subset;
pub mod time;
pub mod values;
pub mod version;
