//! SOPS as the one who encrypts a file calls it.

use xtask::run::call::{Call, argv, call};

/// Encrypts what it is given to read, in the format that `named` has by its ending.
pub fn encrypt(program: &str, recipient: &str, named: &str, file: &str) -> Call {
    call(argv!("{program} encrypt --age {recipient} --filename-override {named} --output {file}"))
}
