//! Curl, which knows proxies and private certificate authorities, and checks what it connects to.

use crate::run::call::{Call, argv, call};

/// Prints a small file.
pub fn text(url: &str, deadline_s: u64) -> Call {
    let (schemes, seconds) = (schemes(url), deadline_s.to_string());
    call(argv!(
        "curl --fail --silent --show-error --location --proto {schemes} --max-time {seconds} --max-filesize 65536 {url}"
    ))
}

/// Saves a file. A connection that isn't made in time, or one that brings nothing for so long, ends it.
pub fn save(url: &str, file: &str, connect_s: u64, stall_s: u64) -> Call {
    let (schemes, connect, stall) = (schemes(url), connect_s.to_string(), stall_s.to_string());
    call(argv!(
        "curl --fail --show-error --location --proto {schemes} --connect-timeout {connect} --speed-limit 1 --speed-time {stall} --output {file} {url}"
    ))
}

/// What curl said of its failure, without its progress.
pub fn reason(tail: &str) -> &str {
    tail.lines().rev().find(|line| line.starts_with("curl: ")).unwrap_or("curl said nothing")
}

/// Whether a failure was one of time.
pub fn is_timeout(tail: &str) -> bool {
    reason(tail).starts_with("curl: (28)")
}

/// A redirection never leads from what is encrypted to what isn't.
fn schemes(url: &str) -> &'static str {
    if url.starts_with("https:") { "=https" } else { "=http,https" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_stays_so() {
        assert!(text("https://a/b", 5).text().contains("--proto =https --max-time 5"));
        assert!(save("https://a/b", "f", 5, 9).text().contains("--proto =https --connect-timeout 5"));
        assert!(save("http://a/b", "f", 5, 9).text().contains("--proto =http,https "));
    }

    #[test]
    fn the_reason_argv_without_the_progress() {
        let tail = "  0  100  0  0\ncurl: (28) Operation too slow\n  1  100  0";
        assert_eq!(reason(tail), "curl: (28) Operation too slow");
        assert!(is_timeout(tail));
        assert!(!is_timeout("curl: (22) The requested URL returned error: 404"));
        assert_eq!(reason("Killed"), "curl said nothing");
    }
}
