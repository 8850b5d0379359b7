//! `doctor`: each need, found or not, and the command that mends it. Changes nothing.

use anyhow::Result;
use serde_json::json;

use crate::model::cluster::State;
use crate::model::image::Images;
use crate::run::context::Project;
use crate::run::exit::Stop;
use crate::stages::cluster;
use crate::stages::setup;
use crate::stages::setup::find::{Elsewhere, Found};

const MEND: &str = "cargo xtask bootstrap --yes";

struct Need {
    name: &'static str,
    found: bool,
    message: String,
    mend: String,
}

/// Prints all needs; exit 3 when one is not met.
pub fn run(project: &Project) -> Result<()> {
    let (found, ready) = setup::observe(project)?;
    let mut needs = vec![
        tool("docker", &found.docker),
        match &found.daemon {
            Some(daemon) => need(
                "docker daemon",
                true,
                format!("{}, runtime {}, cgroup v{}", daemon.version, daemon.default_runtime, daemon.cgroup_version),
                MEND,
            ),
            None => {
                let elsewhere = found.elsewhere.as_ref();
                let message = elsewhere.map_or("does not answer".to_string(), Elsewhere::message);
                need("docker daemon", false, message, elsewhere.map_or(MEND.to_string(), Elsewhere::next))
            }
        },
        tool("minikube", &found.minikube),
        tool("helm", &found.helm),
        tool("kubectl", &found.kubectl),
    ];
    let images = match &ready {
        Some(ready) => (
            true,
            match &ready.images {
                Images::Public => "from registries".to_string(),
                Images::Local { node, .. } => format!("made here, {node}"),
            },
        ),
        None => (false, "not complete".to_string()),
    };
    needs.push(need("base images", images.0, images.1, MEND));
    if let Some(ready) = &ready {
        let state = cluster::observe(&ready.ctx)?;
        let message = format!("{} {}", project.config.cluster.name, format!("{state:?}").to_lowercase());
        needs.push(need("cluster", state == State::Running, message, "cargo xtask up"));
    }
    let width = needs.iter().map(|need| need.name.len()).max().unwrap_or(0);
    let lines: Vec<String> = needs.iter().map(|need| line(need, width)).collect();
    let value = needs
        .iter()
        .map(|need| json!({"need": need.name, "found": need.found, "told": need.message, "mend": need.mend}))
        .collect::<Vec<_>>();
    project.ui.answer(&lines.join("\n"), json!({ "needs": value }));
    match needs.iter().find(|need| !need.found) {
        None => Ok(()),
        Some(need) => Err(Stop::needs_setup(format!("missing: {}\nNext: {}", need.name, need.mend)).into()),
    }
}

fn tool(name: &'static str, found: &Found) -> Need {
    need(name, found.path().is_some(), found.explain(name).trim_start_matches(&format!("{name}: ")).to_string(), MEND)
}

fn need(name: &'static str, found: bool, message: String, mend: impl Into<String>) -> Need {
    Need { name, found, message, mend: mend.into() }
}

fn line(need: &Need, width: usize) -> String {
    let mark = if need.found { "✓" } else { "✗" };
    let mend = if need.found { String::new() } else { format!("\n  {:width$}  → {}", "", need.mend) };
    format!("{mark} {:width$}  {}{mend}", need.name, need.message)
}
