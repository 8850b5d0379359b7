//! States, cluster and application: `sta.*`, `clu.*`, `app.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
