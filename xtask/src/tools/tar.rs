//! Tar, for archives that are compressed.

use crate::run::call::{Call, argv, call};

/// Unpacks one member of a tar.gz into a folder.
pub fn extract(archive: &str, folder: &str, member: &str) -> Call {
    call(argv!("tar -x -z -f {archive} -C {folder} {member}"))
}
