//! Tar, for archives that are compressed.

use crate::run::process::argv;

/// Unpacks one member of a tar.gz into a folder.
pub fn extract(archive: &str, folder: &str, member: &str) -> Vec<String> {
    argv!("tar -x -z -f {archive} -C {folder} {member}")
}
