//! What a language model gets done in one answer: its calls, judged by the user's consent and carried out by the MCP server.

use serde_json::Value;
use time::PrimitiveDateTime;
use tracing::debug;

use super::{
    Place, ToolCall,
    consent::{Consent, Verdict},
    mcp::Mcp,
    replies,
    understanding::{Known, Wish},
    wishes::{Tool, with_time_zone},
};

const HELD: &str = "Not done yet: the user did not ask for it, and is asked after your answer. Do not ask yourself.";
const REFUSED: &str = "Not done: the user is asked about something else first.";

/// Who does it for whom, and when, in the user's zone.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    pub place: Place<'a>,
    pub mcp: &'a Mcp,
    pub tasks: &'a [Known],
    pub now: PrimitiveDateTime,
}

pub struct Work<'a> {
    pub bench: Bench<'a>,
    tools: Vec<Tool>,
    consent: Consent,
}

/// What came of a call that the MCP server has answered.
pub struct Used {
    /// For the model.
    pub text: String,
    /// For the user.
    pub line: String,
}

impl<'a> Work<'a> {
    pub fn new(bench: Bench<'a>, tools: Vec<Tool>, consent: Consent) -> Self {
        Self { bench, tools, consent }
    }

    /// The tools, as models are offered them.
    pub fn offer(&self) -> Vec<Value> {
        self.tools.iter().map(Tool::offer).collect()
    }

    pub fn is_holding(&self) -> bool {
        self.consent.is_holding()
    }

    pub fn into_consent(self) -> Consent {
        self.consent
    }

    /// Returns what the model is answered.
    pub async fn carry_out(&mut self, name: &str, arguments: &str) -> String {
        let Some(tool) = self.tools.iter().find(|tool| tool.name == name) else {
            return format!("There is no tool {name}.");
        };
        let wish = match tool.wish(arguments) {
            Ok(wish) => with_time_zone(wish, self.bench.place.time_zone),
            Err(reason) => return reason,
        };
        match self.consent.judge(&wish, tool.is_read) {
            Verdict::Go if tool.is_read => match self.bench.mcp.call(self.bench.place.token, &wish).await {
                Ok(outcome) => outcome.text,
                Err(reason) => format!("The MCP server {reason}. Tell the user to try again in a moment."),
            },
            Verdict::Go => match self.bench.use_tool(&wish).await {
                Ok(used) => used.text,
                Err(reason) => format!("{reason} Tell the user so, and do not try it again."),
            },
            Verdict::Held => HELD.to_owned(),
            Verdict::Refused => REFUSED.to_owned(),
        }
    }
}

impl Bench<'_> {
    /// Uses a tool that changes something, and reports what it did. The error says that it is unknown whether it did.
    pub async fn use_tool(self, wish: &Wish) -> Result<Used, String> {
        let tool = wish.tool.as_str();
        debug!(tool, "a tool is used for a language model");
        let report = |summary: &str, undo_token: Option<&str>, failed: bool| {
            let (name, summary) = (tool.to_owned(), summary.to_owned());
            let undo_token = undo_token.map(str::to_owned);
            self.place.answer.report(ToolCall { name, summary, undo_token, failed });
        };
        let outcome = self.mcp.call(self.place.token, wish).await.map_err(|reason| {
            let summary = format!("{tool}: the MCP server {reason}; it may have been done all the same.");
            // As something that was done, or it would be done again.
            report(&summary, None, true);
            summary
        })?;
        if outcome.failed {
            let line = format!("That could not be done: {}.", outcome.text.trim_end_matches('.'));
            return Ok(Used { text: outcome.text, line });
        }
        let line = replies::used(tool, &outcome.value, self.tasks, self.now);
        // Without it, nothing was changed.
        if let Some(undo_token) = outcome.value["undo_token"].as_str() {
            report(&line, Some(undo_token), false);
        }
        Ok(Used { text: outcome.text, line })
    }
}
