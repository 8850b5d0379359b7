//! The HTTP client for applications on 127.0.0.1.

use std::time::Duration;

/// A client that asks directly, whatever proxy the environment names, and hands over answers of every status.
pub fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).proxy(None);
    config.build().into()
}
