//! Why a command ends early, and the exit code that says so.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Failed,
    Usage,
    NeedsSetup,
    Deadline,
    Interrupted,
}

#[derive(Debug)]
pub struct Stop {
    pub reason: Reason,
    message: String,
}

impl Stop {
    pub fn failed(message: impl Into<String>) -> Stop {
        Stop { reason: Reason::Failed, message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Stop {
        Stop { reason: Reason::Usage, message: message.into() }
    }

    pub fn needs_setup(message: impl Into<String>) -> Stop {
        Stop { reason: Reason::NeedsSetup, message: message.into() }
    }

    pub fn deadline(message: impl Into<String>) -> Stop {
        Stop { reason: Reason::Deadline, message: message.into() }
    }

    pub fn interrupted() -> Stop {
        Stop { reason: Reason::Interrupted, message: "interrupted; run the same command again to go on".to_string() }
    }

    /// An interruption after which something else than the same command goes on.
    pub fn interrupted_after(message: impl Into<String>) -> Stop {
        Stop { reason: Reason::Interrupted, message: message.into() }
    }

    /// Adds what a tool said last, indented.
    pub fn with_detail(self, detail: &str) -> Stop {
        Stop { message: format!("{}\n{}", self.message, indent(detail)), ..self }
    }
}

impl std::error::Error for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// 1 failed, 2 usage or configuration, 3 set something up first, 4 deadline, 130 interrupted.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<crate::config::ConfigErrors>().is_some() {
        return 2;
    }
    match error.downcast_ref::<Stop>().map(|stop| stop.reason) {
        Some(Reason::Usage) => 2,
        Some(Reason::NeedsSetup) => 3,
        Some(Reason::Deadline) => 4,
        Some(Reason::Interrupted) => 130,
        Some(Reason::Failed) | None => 1,
    }
}
