//! Charts and releases: `cht.*`, `rel.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
