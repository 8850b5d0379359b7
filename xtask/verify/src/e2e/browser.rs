//! Chromium without a window, driven over its debugging pipe: messages in JSON, a NUL after each.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::e2e::world::World;
use xtask::run::call::{DEADLINE, call};
use xtask::run::poll;
use xtask::run::process::Background;

const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// A folder with the pipes, and then the browser's arguments. What marks that the pipes are open comes after them.
const START: &str = r#"mkfifo "$0/in" "$0/out" && exec 3<>"$0/in" 4<>"$0/out" && : >"$0/open" && exec "$@""#;

/// A page in a browser of its own, which ends when this goes.
pub struct Browser {
    _running: Background,
    input: File,
    messages: Receiver<Value>,
    session: Value,
    next: u64,
    /// What the browser reported beside its answers.
    events: Vec<Value>,
    folder: PathBuf,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What stays is removed before the next one begins.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Browser {
    /// Opens a page; None where this machine has no Chromium.
    pub fn open(world: &World, url: &str) -> Result<Option<Browser>> {
        let Some(program) = PROGRAMS.iter().find_map(|name| which::which(name).ok()) else { return Ok(None) };
        let folder = world.ctx.staging("browser");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let running = world.ctx.spawn.background(call(arguments(&program, &folder)), |_| {})?;
        let open = folder.join("open");
        let is_open = poll::until(&world.ctx.spawn.interrupt, DEADLINE, || Ok(open.exists().then_some(())))?;
        is_open.with_context(|| format!("{} does not start", program.display()))?;
        let input = File::options().write(true).open(folder.join("in"))?;
        let messages = read_messages(File::open(folder.join("out"))?);
        let mut browser =
            Browser { _running: running, input, messages, session: Value::Null, next: 0, events: Vec::new(), folder };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))?["targetId"].take();
        let attach = json!({ "targetId": target, "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", attach)?["sessionId"].take();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}))?;
        }
        browser.ask("Page.navigate", json!({ "url": url }))?;
        Ok(Some(browser))
    }

    /// Waits until an expression of JavaScript is true in the page.
    pub fn wait_until(&mut self, expression: &str) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        loop {
            let value = self.value_of(expression)?;
            if value == true {
                return Ok(());
            }
            if Instant::now() > until {
                let text = self.value_of("document.body.innerText")?;
                bail!("after {} s `{expression}` is {value} in the page\n{text}", DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn value_of(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", asked)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// The URLs that the page has asked for until now.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_string).collect()
    }

    /// Exceptions, and errors in the console until now.
    pub fn errors(&self) -> Vec<String> {
        let is_error = |event: &&Value| {
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => params["type"] == "error",
                Some("Log.entryAdded") => params["entry"]["level"] == "error",
                _ => false,
            }
        };
        self.events.iter().filter(is_error).map(|event| event["params"].to_string()).collect()
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if self.session.is_string() {
            message["sessionId"] = self.session.clone();
        }
        self.input.write_all(format!("{message}\0").as_bytes())?;
        loop {
            let answer = self.messages.recv_timeout(DEADLINE);
            let mut answer = answer.with_context(|| format!("the browser does not answer {method}"))?;
            if answer["id"] == self.next {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
            self.events.push(answer);
        }
    }
}

fn arguments(program: &Path, folder: &Path) -> Vec<String> {
    let own = ["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"];
    let mut all: Vec<String> = ["sh", "-c", START].map(str::to_string).to_vec();
    all.extend([folder.display().to_string(), program.display().to_string()]);
    all.extend(own.map(str::to_string));
    all.push(format!("--user-data-dir={}", folder.join("profile").display()));
    // As root its sandbox does not start.
    all.extend(rustix::process::geteuid().is_root().then(|| "--no-sandbox".to_string()));
    all
}

fn read_messages(output: File) -> Receiver<Value> {
    let (sender, messages) = mpsc::channel();
    std::thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            // Whoever has asked may be gone.
            let _ = serde_json::from_slice(&message).map(|message| sender.send(message));
        }
    });
    messages
}
