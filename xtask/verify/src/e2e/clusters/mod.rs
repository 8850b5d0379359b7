//! Clusters other than the one that is there.

mod kind;
mod kind_node;

use crate::e2e::scenario::Scenario;
use crate::lanes::schedule::Takes;

pub const NAMESPACE: &str = "todo-chatbot-clusters";

pub const SCENARIOS: &[Scenario] =
    &[Scenario::new("a kind cluster that is there already is a target", kind::target).taking(Takes::All)];
