//! axe-core in a page: fails for what keeps people from using it.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::e2e::browser::Browser;
use crate::e2e::world::World;
use xtask::stages::setup::packages::{self, AXE_CORE};

const SCRIPT: &str = "node_modules/axe-core/axe.min.js";
/// Of axe-core's four; moderate and minor are advice.
const IMPACTS: [&str; 2] = ["serious", "critical"];

/// The script, which is evaluated in a page over the debugging pipe: the page's policy lets no other way in.
pub struct Axe {
    script: String,
}

#[derive(Deserialize)]
struct Violation {
    id: String,
    impact: String,
    help: String,
    help_url: String,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    element: String,
    html: String,
    reason: String,
}

impl Axe {
    /// Where the machine has no npm there is none, and a remark says so.
    pub fn find(world: &World) -> Result<Option<Axe>> {
        match packages::ensure(&world.ctx, &AXE_CORE)? {
            Ok(folder) => {
                let file = folder.join(SCRIPT);
                let script = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(Some(Axe { script }))
            }
            Err(reason) => {
                world.remark(format!("{reason}: the page was not checked with it"));
                Ok(None)
            }
        }
    }

    /// Checks what the page shows now, which `state` names.
    pub fn check(&self, page: &mut Browser, state: &str) -> Result<()> {
        if page.value_of("typeof axe")? == "undefined" {
            page.value_of(&self.script)?;
        }
        let violations: Vec<Violation> = serde_json::from_value(page.value_of(&run())?)?;
        ensure!(
            violations.is_empty(),
            "axe-core finds that the page keeps people out: {state}{}",
            describe(&violations)
        );
        Ok(())
    }
}

/// The expression that runs all rules. What fades in has no color yet that could be judged.
fn run() -> String {
    format!(
        r#"(async () => {{
            const ending = document.getAnimations().filter((it) => it.effect.getComputedTiming().endTime !== Infinity);
            await Promise.allSettled(ending.map((it) => it.finished));
            const {{ violations }} = await axe.run(document, {{ resultTypes: ["violations"], preload: false }});
            return violations.filter(({{ impact }}) => {impacts}.includes(impact)).map((it) => ({{
                id: it.id, impact: it.impact, help: it.help, help_url: it.helpUrl,
                nodes: it.nodes.map((node) => ({{
                    element: node.target.flat().join(" "), html: node.html, reason: node.failureSummary ?? "",
                }})),
            }}));
        }})()"#,
        impacts = json!(IMPACTS)
    )
}

fn describe(violations: &[Violation]) -> String {
    let mut text = String::new();
    for Violation { id, impact, help, help_url, nodes } in violations {
        let _ = write!(text, "\n  {id} ({impact}): {help}\n    {help_url}");
        for Node { element, html, reason } in nodes {
            let _ = write!(text, "\n    {element}\n      {html}\n      {}", reason.replace('\n', "\n      "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_its_rule_its_impact_and_each_element() {
        let node = json!({"element": "#list .title", "html": "<b>x</b>", "reason": "Fix any:\n  contrast of 2.1"});
        let violation = json!({"id": "color-contrast", "impact": "serious", "help": "Elements must be legible", "help_url": "https://x.test", "nodes": [node]});
        let violations: Vec<Violation> = serde_json::from_value(json!([violation])).unwrap();
        let expected = "\n  color-contrast (serious): Elements must be legible\n    https://x.test\n    #list .title\n      \
            <b>x</b>\n      Fix any:\n        contrast of 2.1";
        assert_eq!(describe(&violations), expected);
    }
}
