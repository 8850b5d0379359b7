//! Kubernetes objects, charts, images and Dockerfiles, typed so that illegal values cannot be made.

pub mod chart;
pub mod config_map;
pub mod container;
pub mod deployment;
pub mod docker_image;
pub mod dockerfile;
pub mod dpkg;
pub mod env;
pub mod minikube;
pub mod ports;
pub mod probe;
pub mod reference;
pub mod resources;
pub mod scheduling;
pub mod secret;
pub mod service;
pub mod strategy;
pub mod values;
pub mod version;
