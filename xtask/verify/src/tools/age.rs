//! age, which encrypts files, and age-keygen, which makes its keys.

use xtask::run::call::{Call, argv, call};

/// Writes a key into a file.
pub fn make_key(keygen: &str, file: &str) -> Call {
    call(argv!("{keygen} --output {file}"))
}

/// What to encrypt for, so that the key in a file opens it.
pub fn recipient(keygen: &str, file: &str) -> Call {
    call(argv!("{keygen} -y {file}")).trimmed()
}

/// Encrypts what it is given to read.
pub fn encrypt(program: &str, recipient: &str, file: &str) -> Call {
    call(argv!("{program} --encrypt --recipient {recipient} --output {file}"))
}
