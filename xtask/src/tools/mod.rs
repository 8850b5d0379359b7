//! One file per external tool: argv in, parsed output out. Nothing here runs anything.

pub mod age;
pub mod apt;
pub mod browser;
pub mod buildx;
pub mod cargo;
pub mod containerd;
pub mod crictl;
pub mod ctr;
pub mod curl;
pub mod docker;
pub mod docker_credential;
pub mod git;
pub mod go;
pub mod hadolint;
pub mod helm;
pub mod kubectl;
pub mod minikube;
pub mod npm;
pub mod psql;
pub mod python;
pub mod registry;
pub mod sops;
