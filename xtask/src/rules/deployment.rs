//! Workloads and their pods: `dep.*`.

use super::Rule;

pub const RULES: &[Rule] = &[];
