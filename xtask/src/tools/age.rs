//! age, which decrypts files for whoever has one of the keys that they were encrypted for.

use crate::run::call::{Call, argv, call};

/// The content of a file, by the keys in the file `identity`.
pub fn decrypt(file: &str, identity: &str) -> Call {
    call(argv!("age --decrypt --identity {identity} {file}")).confidential()
}
