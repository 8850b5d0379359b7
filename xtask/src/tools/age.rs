//! age, which decrypts files for whoever has one of the keys that they were encrypted for.

use crate::run::call::{Call, argv, call};

/// The content of a file, by the keys in the file `identity`.
pub fn decrypt(file: &str, identity: &str) -> Call {
    call(argv!("age --decrypt --identity {identity} {file}")).confidential()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decrypted_is_kept_for_no_error() {
        let call = decrypt("team.age", "keys.txt");
        assert_eq!((call.text().as_str(), call.is_confidential), ("age --decrypt --identity keys.txt team.age", true));
    }
}
