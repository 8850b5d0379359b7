//! Test fixture: runs the command as a contributor does, and inspects the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use xtask::commands::verify;
use xtask::model::cluster::Target;
use xtask::run::call::{Call, DEADLINE, call};
use xtask::run::context::Context;
use xtask::run::http;
use xtask::run::poll;
use xtask::run::process::{Background, Output, Spawn};
use xtask::tools::{cargo, kubectl};

/// A kubeconfig as a user may have it: nothing of it may change, and nothing may be done to what it points at.
pub const FOREIGN_KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: production\ncontexts:\n- name: production\n  context: {cluster: production, user: me}\nclusters:\n- name: production\n  cluster: {server: \"https://127.0.0.1:1\"}\nusers:\n- name: me\n  user: {}\n";
const COMMAND: Duration = Duration::from_secs(2400);

pub struct World {
    /// With the group's profile, in the group's namespace.
    pub ctx: Context,
    /// For the commands that are tested, in the environment that a user may have.
    pub spawn: Spawn,
    pub target: Target,
    /// What every command of the group is given.
    pub options: Vec<String>,
    /// The project is another one, whose command is typed in its own folder.
    pub has_alias: bool,
    /// A kubeconfig of the user's, which nothing may touch.
    pub kubeconfig: PathBuf,
    /// What was typed in the scenario, and what was said to it.
    pub said: Mutex<String>,
    /// What is worth a line once the scenario has ended.
    pub remarks: Mutex<Vec<String>>,
}

/// Whether a failure tells each of `words`.
pub fn tells(output: &Output, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(output.tail.contains(word), "the failure does not tell \"{word}\"\n{}", output.tail);
    }
    Ok(())
}

impl World {
    pub fn remark(&self, line: String) {
        self.remarks.lock().unwrap().push(line);
    }

    /// The command as a contributor types it, with the group's options. The `tail` of what it returns has all lines.
    pub fn xtask(&self, arguments: &[&str]) -> Result<Output> {
        let all: Vec<&str> = self.options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.typed(&all)
    }

    /// The same with no option but those given.
    pub fn typed(&self, arguments: &[&str]) -> Result<Output> {
        match self.has_alias {
            true => self.say(&self.spawn, cargo::alias(arguments), Some(&self.ctx.root)),
            false => self.say(&self.spawn, cargo::xtask(&self.ctx.path("Cargo.toml"), arguments), None),
        }
    }

    /// The same with other folders of state, where the kubeconfig lies.
    pub fn xtask_at(&self, state_home: &Path, arguments: &[&str]) -> Result<Output> {
        let mut spawn = self.spawn.clone();
        spawn.env.push(("XDG_STATE_HOME".to_string(), state_home.display().to_string()));
        self.say(&spawn, self.own(arguments)?, None)
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

    /// Starts one of our commands and goes on.
    pub fn begin(&self, arguments: &[&str]) -> Result<Begun> {
        self.begin_in(&self.ctx.root, arguments)
    }

    /// The same for a copy of the project.
    pub fn begin_in(&self, root: &Path, arguments: &[&str]) -> Result<Begun> {
        self.begin_by(&self.spawn, root, arguments)
    }

    /// The same in another environment.
    pub fn begin_by(&self, spawn: &Spawn, root: &Path, arguments: &[&str]) -> Result<Begun> {
        let call = self.own(arguments)?;
        let command_line = call.text();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = lines.clone();
        let note = move |line: &str| said.lock().unwrap().push(line.to_string());
        let running = of_project(spawn, root).background(call, note)?;
        Ok(Begun { command_line, running, lines })
    }

    /// The command for a copy of the project, with no option but those given.
    pub fn typed_in(&self, spawn: &Spawn, root: &Path, arguments: &[&str]) -> Result<Output> {
        let program = std::env::current_exe()?.display().to_string();
        let all = arguments.iter().map(|word| word.to_string());
        self.say(&of_project(spawn, root), call(std::iter::once(program).chain(all).collect()), None)
    }

    /// A copy of the project, for a scenario to change.
    pub fn project(&self, name: &str) -> Result<PathBuf> {
        let root = self.ctx.staging(name);
        self.ctx.copy_to(&root)?;
        Ok(root)
    }

    /// The command as it is for such a copy.
    pub fn xtask_in(&self, root: &Path, arguments: &[&str]) -> Result<Output> {
        self.xtask_by(&self.spawn, root, arguments)
    }

    /// The same in another environment.
    pub fn xtask_by(&self, spawn: &Spawn, root: &Path, arguments: &[&str]) -> Result<Output> {
        self.say(&of_project(spawn, root), self.own(arguments)?, None)
    }

    /// Runs a tool of the test's own, in our environment. What a scenario has put into the cluster must be taken away
    /// after an interruption, too.
    pub fn run<T>(&self, call: Call<T>) -> Result<T> {
        let deadline = call.deadline.max(DEADLINE * 3);
        self.ctx.spawn.uninterrupted().run(call.within(deadline))
    }

    /// The same with something to read.
    fn run_with(&self, call: Call, stdin: &Value) -> Result<()> {
        self.ctx.spawn.uninterrupted().run(call.stdin(stdin.to_string())).map(drop)
    }

    pub fn objects(&self, kinds: &str) -> Result<Vec<Value>> {
        self.run(kubectl::get(&self.target, kinds, None))
    }

    pub fn pods(&self) -> Result<Vec<Value>> {
        let pods = self.objects("pods")?;
        Ok(pods.into_iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"].is_string()).collect())
    }

    pub fn patch(&self, name: &str, kind: &str, patch: &Value) -> Result<()> {
        self.run_with(kubectl::patch(&self.target, name, kind), patch)
    }

    pub fn create(&self, object: &Value) -> Result<()> {
        self.run_with(kubectl::create(&self.target), object)
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        self.run(kubectl::delete(&self.target, &[name.to_string()], DEADLINE)).map(drop)
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
        let ours =
            services.iter().filter(|service| service["metadata"]["labels"]["app.kubernetes.io/name"].is_string());
        let port = ours.into_iter().find_map(|service| service["spec"]["ports"][0]["nodePort"].as_u64());
        Ok(format!("http://127.0.0.1:{}", port.context("no Service has a node port")?))
    }

    pub fn get(&self, url: &str) -> Result<String> {
        let mut response = http::agent(DEADLINE).get(url).call()?;
        let text = response.body_mut().read_to_string()?;
        ensure!(response.status().is_success(), "{url} answered {}: {text}", response.status());
        Ok(text)
    }

    pub fn add_task(&self, title: &str) -> Result<String> {
        let url = format!("{}/api/tasks", self.url()?);
        let request = http::agent(DEADLINE).post(&url).header("content-type", "application/json");
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
    fn own(&self, arguments: &[&str]) -> Result<Call> {
        let program = std::env::current_exe()?.display().to_string();
        let all = self.options.iter().map(String::as_str).chain(arguments.iter().copied()).map(str::to_string);
        Ok(call(std::iter::once(program).chain(all).collect()))
    }

    fn say(&self, spawn: &Spawn, call: Call, folder: Option<&Path>) -> Result<Output> {
        let lines = Mutex::new(Vec::new());
        let note = |line: &str| lines.lock().unwrap().push(line.to_string());
        let command_line = call.text();
        let mut call = call.within(COMMAND);
        call.folder = folder.map(Path::to_path_buf);
        let ended = spawn.output_showing(call, &note);
        let tail = lines.into_inner().unwrap().join("\n");
        let ending = match &ended {
            Ok(output) => ending(output.code),
            Err(error) => format!("{error:#}"),
        };
        self.note(&command_line, &tail, &ending);
        Ok(Output { tail, ..ended? })
    }

    fn note(&self, command_line: &str, tail: &str, ending: &str) {
        self.said.lock().unwrap().push_str(&format!("$ {command_line}\n{tail}\n{ending}\n\n"));
    }
}

/// For another project than the one that this program was started for.
fn of_project(spawn: &Spawn, root: &Path) -> Spawn {
    let mut spawn = spawn.clone();
    spawn.env.push((verify::ROOT.to_string(), root.display().to_string()));
    spawn
}

/// A command of ours that runs while something is done to it.
pub struct Begun {
    command_line: String,
    running: Background,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Begun {
    pub fn has_said(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// The first line that holds a text.
    pub fn line_with(&self, text: &str) -> Option<String> {
        self.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
    }

    pub fn times_said(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    pub fn has_ended(&self) -> bool {
        self.running.has_ended()
    }

    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end.
    pub fn end(self, world: &World) -> Result<Output> {
        let interrupt = &world.ctx.spawn.interrupt;
        let ended = poll::until(interrupt, DEADLINE * 2, || Ok(self.running.code()))?;
        // Whoever reads its lines lets go of them after the last.
        let read = || Ok((Arc::strong_count(&self.lines) == 1).then_some(()));
        poll::until(interrupt, Duration::from_secs(2), read)?;
        let tail = self.lines.lock().unwrap().join("\n");
        world.note(&self.command_line, &tail, &ended.map_or("still running".to_string(), ending));
        let code = ended.with_context(|| format!("`{}` does not end\n{tail}", self.command_line))?;
        Ok(Output { success: code == Some(0), code, signal: None, stdout: String::new(), tail })
    }
}

fn ending(code: Option<i32>) -> String {
    code.map_or("ended by a signal".to_string(), |code| format!("exit code {code}"))
}
