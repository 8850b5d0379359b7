//! Services: `svc.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
