//! Faults that users of such tools suffer from, made for real.

use super::Scenario;

pub const NAMESPACE: &str = "todo-chatbot-faults";

pub const SCENARIOS: &[Scenario] = &[];
