//! What the backend counts beside its requests: answers of the assistant, what a language model took, tools, connections.

use std::sync::LazyLock;

use kit::metrics::{Counters, Reading, register_readings};
use serde::Deserialize;
use sqlx::PgPool;

static ANSWERS: LazyLock<Counters<2>> = LazyLock::new(|| {
    Counters::register(
        "chat_answers",
        "Answers in conversations, by who gave them and how they ended",
        ["kind", "outcome"],
    )
});
static TOKENS: LazyLock<Counters<1>> = LazyLock::new(|| {
    Counters::register("chat_tokens", "Tokens as the language model's provider reports them", ["direction"])
});
static TOOL_CALLS: LazyLock<Counters<2>> =
    LazyLock::new(|| Counters::register("chat_tool_calls", "Calls of tools that answers report", ["tool", "outcome"]));

/// The tools of the MCP server, and the undo of the built-in assistant. A language model may call them anything, and what it says must not
/// become a label.
pub const TOOLS: [&str; 11] = [
    "add_task",
    "list_tasks",
    "search_tasks",
    "get_task",
    "update_task",
    "complete_task",
    "reopen_task",
    "move_task",
    "delete_task",
    "undo_change",
    "undo",
];

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    BuiltIn,
    Model,
}

/// As an OpenAI-compatible API reports it.
#[derive(Debug, Default, Deserialize)]
pub struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// Has all of it shown from the start, with the connections of this pool. Once in a process.
pub fn register(pool: &PgPool) {
    for kind in [Kind::BuiltIn, Kind::Model] {
        OUTCOMES.iter().for_each(|outcome| ANSWERS.add([kind_label(kind), outcome], 0));
    }
    count_tokens(&Usage::default());
    LazyLock::force(&TOOL_CALLS);
    let pool = pool.clone();
    register_readings(move || {
        let (size, idle) = (i64::from(pool.size()), i64::try_from(pool.num_idle()).unwrap_or(i64::MAX));
        let max = i64::from(pool.options().get_max_connections());
        [
            // Both are read one after the other, so that one may be ahead.
            Reading { name: "database_connections_in_use", help: IN_USE, value: (size - idle).max(0) },
            Reading { name: "database_connections_idle", help: "Open connections that nobody uses", value: idle },
            Reading { name: "database_connections_max", help: "How many connections there may be", value: max },
        ]
    });
}

const IN_USE: &str = "Connections to PostgreSQL that requests use, or that are being opened";
const OUTCOMES: [&str; 3] = ["answered", "stopped", "failed"];

pub fn count_answer(kind: Kind, is_ok: bool, is_stopped: bool) {
    let [answered, stopped, failed] = OUTCOMES;
    let outcome = match (is_ok, is_stopped) {
        (false, _) => failed,
        (true, true) => stopped,
        (true, false) => answered,
    };
    ANSWERS.add([kind_label(kind), outcome], 1);
}

pub fn count_tokens(usage: &Usage) {
    TOKENS.add(["input"], usage.prompt_tokens);
    TOKENS.add(["output"], usage.completion_tokens);
}

pub fn count_tool_call(name: &str, failed: bool) {
    TOOL_CALLS.add([known_tool(name), if failed { "failed" } else { "done" }], 1);
}

fn known_tool(name: &str) -> &'static str {
    TOOLS.into_iter().find(|known| *known == name).unwrap_or("other")
}

fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::BuiltIn => "built_in",
        Kind::Model => "model",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_does_not_exist_has_no_label_of_its_own() {
        assert_eq!(known_tool("add_task"), "add_task");
        assert_eq!(known_tool("my secret \"plan\""), "other");
    }

    #[test]
    fn a_report_may_lack_a_part() {
        let usage: Usage = serde_json::from_str(r#"{"prompt_tokens": 7, "total_tokens": 7}"#).unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (7, 0));
    }
}
