//! What a scenario has to work with: the command that a contributor types, and the cluster to see what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::content::list_files;
use crate::context::Context;
use crate::http;
use crate::live;
use crate::process::{Background, Output, Spawn, command, display};
use crate::tools::kubectl::Target;
use crate::tools::{Paths, cargo, kubectl};

const COMMAND: Duration = Duration::from_secs(2400);
pub const SHORT: Duration = Duration::from_secs(60);

pub struct World<'a> {
    /// With the group's profile, in the group's namespace.
    pub ctx: Context,
    pub tools: &'a Paths,
    /// For the commands that are tested, in the environment that a user may have.
    pub spawn: Spawn,
    pub target: Target,
    /// What every command of the group is given.
    pub options: Vec<String>,
    /// A kubeconfig of the user's, which nothing may touch.
    pub kubeconfig: PathBuf,
    /// What was typed in the scenario, and what was said to it.
    pub said: Mutex<String>,
}

/// Whether a failure tells each of `words`.
pub fn tells(output: &Output, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(output.tail.contains(word), "the failure does not tell «{word}»\n{}", output.tail);
    }
    Ok(())
}

impl World<'_> {
    /// The `tail` of what it returns has all lines.
    pub fn xtask(&self, arguments: &[&str]) -> Result<Output> {
        let all: Vec<&str> = self.options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.say(&self.spawn, cargo::xtask(&self.ctx.path("Cargo.toml"), &all))
    }

    pub fn up(&self) -> Result<Output> {
        let output = self.xtask(&["up"])?;
        ensure!(output.success, "up failed\n{}", output.tail);
        Ok(output)
    }

    /// `up` with values of a person's own, whether it ends well or not.
    pub fn up_with(&self, values: &str, arguments: &[&str]) -> Result<Output> {
        let file = self.overrides(values)?;
        let all: Vec<&str> = ["up", "--override", &file].iter().chain(arguments).copied().collect();
        self.xtask(&all)
    }

    /// A file of values of a person's own.
    pub fn overrides(&self, values: &str) -> Result<String> {
        let file = self.ctx.staging("override.yaml");
        fs::create_dir_all(self.ctx.staging(""))?;
        fs::write(&file, values)?;
        Ok(file.display().to_string())
    }

    /// Starts one of our commands and goes on; what it says is handed to `on_line`.
    pub fn begin(&self, arguments: &[&str], on_line: impl Fn(&str) + Send + 'static) -> Result<Background> {
        self.spawn.background(self.own(arguments)?, on_line)
    }

    /// A copy of the project, for a scenario to change.
    pub fn project(&self, name: &str) -> Result<PathBuf> {
        let root = self.ctx.staging(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for folder in ["xtask.toml", "k8s", "docker", "helm", "services"] {
            for file in list_files(&self.ctx.root, &[folder.into()])? {
                let to = root.join(&file);
                fs::create_dir_all(to.parent().unwrap_or(&root))?;
                fs::copy(self.ctx.root.join(&file), to)?;
            }
        }
        Ok(root)
    }

    /// The command as it is for such a copy.
    pub fn xtask_in(&self, root: &Path, arguments: &[&str]) -> Result<Output> {
        let mut spawn = self.spawn.clone();
        spawn.env.push(("CARGO_MANIFEST_DIR".to_string(), root.join("xtask").display().to_string()));
        self.say(&spawn, self.own(arguments)?)
    }

    /// Runs a tool of the test's own, in our environment.
    pub fn run(&self, argv: Vec<String>) -> Result<String> {
        self.ctx.spawn.run(command(argv, SHORT * 3))
    }

    pub fn objects(&self, kinds: &str) -> Result<Vec<Value>> {
        live::parse_objects(&self.run(kubectl::get(&self.tools.kubectl, &self.target, kinds, None))?)
    }

    pub fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.objects("pods")?;
        Ok(pods.into_iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"].is_string()).collect())
    }

    pub fn patch(&self, name: &str, kind: &str, patch: &Value) -> Result<()> {
        let told = kubectl::patch(&self.tools.kubectl, &self.target, name, kind);
        self.ctx.spawn.run(command(told, SHORT).stdin(patch.to_string()))?;
        Ok(())
    }

    pub fn create(&self, object: &Value) -> Result<()> {
        let told = kubectl::create(&self.tools.kubectl, &self.target);
        self.ctx.spawn.run(command(told, SHORT).stdin(object.to_string()))?;
        Ok(())
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        self.run(kubectl::delete(&self.tools.kubectl, &self.target, &[name.to_string()], 60)).map(drop)
    }

    /// What must not change when nothing is to be done: the release's revisions and the pods' identities.
    pub fn fingerprint(&self) -> Result<String> {
        let pods = self.pods()?.into_iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
        let mut lines: Vec<String> =
            pods.map(|pod| format!("{} {}", pod["metadata"]["name"], pod["metadata"]["uid"])).collect();
        lines.extend(self.objects("secrets")?.iter().map(|secret| secret["metadata"]["name"].to_string()));
        lines.sort();
        Ok(lines.join("\n"))
    }

    pub fn url(&self) -> Result<String> {
        let services = self.objects("services")?;
        let port = services.iter().find_map(|service| service["spec"]["ports"][0]["nodePort"].as_u64());
        Ok(format!("http://127.0.0.1:{}", port.context("no Service has a node port")?))
    }

    pub fn get(&self, url: &str) -> Result<String> {
        let mut response = http::agent(SHORT).get(url).call()?;
        let text = response.body_mut().read_to_string()?;
        ensure!(response.status().is_success(), "{url} answered {}: {text}", response.status());
        Ok(text)
    }

    pub fn add_task(&self, title: &str) -> Result<String> {
        let url = format!("{}/api/tasks", self.url()?);
        let request = http::agent(SHORT).post(&url).header("content-type", "application/json");
        let text = request.send(json!({ "title": title }).to_string())?.body_mut().read_to_string()?;
        let task: Value = serde_json::from_str(&text).with_context(|| format!("{url} answered {text}"))?;
        Ok(task["id"].as_i64().with_context(|| format!("{url} answered {text}"))?.to_string())
    }

    pub fn expect_task(&self, id: &str) -> Result<()> {
        let url = format!("{}/api/tasks/{id}", self.url()?);
        self.get(&url).with_context(|| format!("the task is gone: {url}"))?;
        Ok(())
    }

    /// This program with the group's options.
    fn own(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let program = std::env::current_exe()?.display().to_string();
        let all = self.options.iter().map(String::as_str).chain(arguments.iter().copied()).map(str::to_string);
        Ok(std::iter::once(program).chain(all).collect())
    }

    fn say(&self, spawn: &Spawn, argv: Vec<String>) -> Result<Output> {
        let lines = Mutex::new(Vec::new());
        let note = |line: &str| lines.lock().unwrap().push(line.to_string());
        let told = display(&argv);
        let ended = spawn.output(command(argv, COMMAND).on_line(&note));
        let tail = lines.into_inner().unwrap().join("\n");
        let ending = match &ended {
            Ok(Output { code: Some(code), .. }) => format!("exit code {code}"),
            Ok(_) => "ended by a signal".to_string(),
            Err(error) => format!("{error:#}"),
        };
        self.said.lock().unwrap().push_str(&format!("$ {told}\n{tail}\n{ending}\n\n"));
        Ok(Output { tail, ..ended? })
    }
}
