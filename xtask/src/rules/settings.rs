//! ConfigMaps and Secrets: `cfg.*`, `sec.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
