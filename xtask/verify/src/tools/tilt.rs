//! Tilt, which `bench` measures beside our own loop.

use xtask::run::call::{Call, argv, call};

/// What it prints of the last resource of a change, and of each.
pub const SETTLES: &str = "is ready";

/// Nothing is sent to anybody; the cluster is the one of the kubeconfig of our own.
pub const ENVIRONMENT: [(&str, &str); 2] = [("TILT_DISABLE_ANALYTICS", "1"), ("DO_NOT_TRACK", "1")];

/// Builds, deploys, waits until all is ready, and ends.
pub fn ci(tilt: &str, tiltfile: &str, context: &str, namespace: &str) -> Call {
    call(argv!("{tilt} ci --file {tiltfile} --context {context} --namespace {namespace} --port 0"))
}

/// The same at each change, until it is interrupted. What it deployed stays.
pub fn up(tilt: &str, tiltfile: &str, context: &str, namespace: &str) -> Call {
    call(argv!("{tilt} up --stream --file {tiltfile} --context {context} --namespace {namespace} --port 0"))
}
