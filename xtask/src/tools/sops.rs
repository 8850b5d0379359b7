//! SOPS, which encrypts the values of a file and leaves its keys to be read.

use crate::run::call::{Call, argv, call};

/// The content of a file in one of SOPS's formats, such as `yaml`, by whichever key of this machine opens it.
pub fn decrypt(file: &str, format: &str) -> Call {
    call(argv!("sops decrypt --input-type {format} --output-type {format} {file}")).confidential()
}

/// Why it decrypted nothing, by the exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// None of the keys that it was encrypted for is here.
    NoKey,
    /// The file is not what SOPS wrote.
    Changed,
    Other,
}

impl Refusal {
    pub fn of(code: Option<i32>) -> Refusal {
        match code {
            Some(128) => Refusal::NoKey,
            // A value that can't be read, and a code over all values that is another or is not there.
            Some(24 | 25 | 51 | 52) => Refusal::Changed,
            _ => Refusal::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decrypted_is_kept_for_no_error() {
        let call = decrypt("team.yaml", "yaml");
        let wanted = "sops decrypt --input-type yaml --output-type yaml team.yaml";
        assert_eq!((call.text().as_str(), call.is_confidential), (wanted, true));
    }

    #[test]
    fn a_refusal_is_known_by_its_exit_code() {
        let of = [Some(128), Some(51), Some(25), Some(1), None].map(Refusal::of);
        assert_eq!(of, [Refusal::NoKey, Refusal::Changed, Refusal::Changed, Refusal::Other, Refusal::Other]);
    }
}
