//! SOPS, which encrypts the values of a YAML file and leaves its keys to be read.

use crate::run::call::{Call, argv, call};

/// The file with its values, by whichever key of this machine opens it.
pub fn decrypt(file: &str) -> Call {
    call(argv!("sops decrypt --input-type yaml --output-type yaml {file}")).confidential()
}
