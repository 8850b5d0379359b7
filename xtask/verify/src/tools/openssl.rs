//! Openssl, which makes certificates.

use xtask::run::call::{Call, argv, call};

/// Writes a key and a certificate that vouches for itself at an IP address, good for two days.
pub fn self_signed(key: &str, certificate: &str, ip: &str) -> Call {
    let name = format!("subjectAltName=IP:{ip}");
    call(argv!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=registry -addext {name}"
    ))
}
