//! SOPS, which encrypts the values of a YAML file and leaves its keys to be read.

use crate::run::call::{Call, argv, call};

/// The file with its values, by whichever key of this machine opens it.
pub fn decrypt(file: &str) -> Call {
    call(argv!("sops decrypt --input-type yaml --output-type yaml {file}")).confidential()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decrypted_is_kept_for_no_error() {
        let call = decrypt("team.yaml");
        let wanted = "sops decrypt --input-type yaml --output-type yaml team.yaml";
        assert_eq!((call.text().as_str(), call.is_confidential), (wanted, true));
    }
}
