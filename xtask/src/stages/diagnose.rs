//! Tells a failure so that a person knows which pod, why, what it said last, and what to type next.

use std::time::Duration;

use crate::context::{Context, Scope};
use crate::model::pods::Trouble;
use crate::process::{command, display};
use crate::stop::indent;
use crate::tools::{Paths, kubectl};

const LOG_LINES: u32 = 12;
const SHORT: Duration = Duration::from_secs(20);

/// One text for all troubles; a log that can't be had is said, not hidden.
pub fn report(ctx: &Context, tools: &Paths, scope: &Scope, what: &str, troubles: &[Trouble]) -> String {
    let mut lines = vec![what.to_string()];
    let mut next = "cargo xtask status".to_string();
    for trouble in troubles {
        let container = trouble.container.as_deref();
        lines.push(match container {
            Some(name) => format!("  pod {}, container {name}: {}", trouble.pod, trouble.why),
            None => format!("  pod {}: {}", trouble.pod, trouble.why),
        });
        let Some(container) = container.filter(|_| has_log(trouble)) else { continue };
        let logs =
            kubectl::logs(&tools.kubectl, &scope.target, &trouble.pod, container, trouble.previous_log, LOG_LINES);
        match ctx.spawn.output(command(logs.clone(), SHORT)) {
            Ok(output) if output.success && !output.stdout.trim().is_empty() => {
                lines.push("  its last log lines:".to_string());
                lines.push(indent(output.stdout.trim_end()));
            }
            Ok(output) if output.success => lines.push("  it logged nothing".to_string()),
            _ => lines.push("  its log cannot be had any more".to_string()),
        }
        next = display(&logs).replace(&format!("--tail {LOG_LINES} "), "");
    }
    lines.push(format!("Next: {next}"));
    lines.join("\n")
}

/// A container that never started has no log.
fn has_log(trouble: &Trouble) -> bool {
    !["image", "configuration", "cannot be started"].iter().any(|word| trouble.why.contains(word))
}
