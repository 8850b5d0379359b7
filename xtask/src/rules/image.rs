//! Images: `img.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
