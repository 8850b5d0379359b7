//! What the container of a node tells of itself.

use crate::run::call::{Call, argv, call};

/// By what a container is known: its machine ID, where it has one, and its addresses. Fails where none of that name runs.
pub fn identity(name: &str) -> Call<Vec<String>> {
    const TELL: &str = "cat /etc/machine-id 2>/dev/null; hostname -i";
    call(argv!("docker exec {name} sh -c {TELL}")).parse(|text| text.split_whitespace().map(str::to_string).collect())
}
