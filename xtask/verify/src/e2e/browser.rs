//! Chromium without a window, driven over its debugging pipe: messages in JSON, a NUL after each.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::e2e::world::World;
use xtask::run::call::{DEADLINE, call};
use xtask::run::context::Project;
use xtask::run::poll;
use xtask::run::process::{Background, Spawn};
use xtask::stages::setup::{find, machine};

const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// A folder with the pipes, and then the browser's arguments. What marks that the pipes are open comes after them.
const START: &str = r#"mkfifo "$0/in" "$0/out" && exec 3<>"$0/in" 4<>"$0/out" && : >"$0/open" && exec "$@""#;

/// Keys that are pressed in tests: name, text that it types, and its code on Windows, without which forms take no notice.
const KEYS: [(&str, &str, u32); 3] = [("Enter", "\r", 13), ("ArrowDown", "", 40), ("Escape", "", 27)];

/// Debian's, which `--yes` agrees to.
const PACKAGE: &str = "chromium";

/// Installs a browser where there is none, as far as the user agrees: without one the pages are not opened, and that is said.
pub fn ensure_there(project: &Project) -> Result<()> {
    match find_program().is_none() && project.yes && find::on_path("apt-get") {
        true => machine::ensure_packages(project, &[PACKAGE.to_string()]),
        false => Ok(()),
    }
}

fn find_program() -> Option<PathBuf> {
    PROGRAMS.iter().find_map(|name| which::which(name).ok())
}

/// Pages in a browser of its own, which ends when this goes.
pub struct Browser {
    _running: Background,
    input: File,
    messages: Receiver<Value>,
    /// Of each tab, in the order in which they were opened.
    sessions: Vec<Value>,
    /// The tab that is asked.
    tab: usize,
    next: u64,
    /// What the browser reported beside its answers.
    events: Vec<Value>,
    /// What is answered in place of the server, but for the request that it is for.
    stand_in: Option<Value>,
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
        let Some(program) = find_program() else { return Ok(None) };
        let mut browser = Browser::start(&world.ctx.spawn, &program, world.ctx.staging("browser"))?;
        browser.open_tab(url)?;
        Ok(Some(browser))
    }

    fn start(spawn: &Spawn, program: &Path, folder: PathBuf) -> Result<Browser> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let running = spawn.background(call(arguments(program, &folder)), |_| {})?;
        let open = folder.join("open");
        let is_open = poll::until(&spawn.interrupt, DEADLINE, || Ok(open.exists().then_some(())))?;
        is_open.with_context(|| format!("{} does not start", program.display()))?;
        let input = File::options().write(true).open(folder.join("in"))?;
        let messages = read_messages(File::open(folder.join("out"))?);
        let (sessions, events) = (Vec::new(), Vec::new());
        let stand_in = None;
        Ok(Browser { _running: running, input, messages, sessions, tab: 0, next: 0, events, stand_in, folder })
    }

    /// Opens another tab of the same user, and goes on in it.
    pub fn open_tab(&mut self, url: &str) -> Result<()> {
        let blank = json!({ "url": "about:blank" });
        let target = self.ask_in(None, "Target.createTarget", blank)?["targetId"].take();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.ask_in(None, "Target.attachToTarget", attach)?["sessionId"].take();
        self.sessions.push(session);
        self.tab = self.sessions.len() - 1;
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.ask(&format!("{domain}.enable"), json!({}))?;
        }
        self.ask("Page.navigate", json!({ "url": url })).map(drop)
    }

    /// Goes on in a tab by its number, from 0.
    pub fn go_to_tab(&mut self, tab: usize) -> Result<()> {
        self.tab = tab;
        self.ask("Page.bringToFront", json!({})).map(drop)
    }

    /// Closes the tab that was opened last, and goes on in the first.
    pub fn close_last_tab(&mut self) -> Result<()> {
        ensure!(self.sessions.len() > 1, "the only tab is not closed");
        self.tab = self.sessions.len() - 1;
        self.ask("Page.close", json!({}))?;
        self.sessions.pop();
        self.go_to_tab(0)
    }

    /// Loads the page anew, and returns once it is another one.
    pub fn reload(&mut self) -> Result<()> {
        self.value_of("window.isOld = true")?;
        self.ask("Page.reload", json!({}))?;
        let until = Instant::now() + DEADLINE;
        // While one page follows the other, there is none to ask.
        while !self.value_of("window.isOld === undefined").is_ok_and(|is_new| is_new == true) {
            ensure!(Instant::now() < until, "after {} s the page is not loaded anew", DEADLINE.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size).map(drop)
    }

    /// What the system says about colors: `dark` or `light`.
    pub fn prefer(&mut self, scheme: &str) -> Result<()> {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", features).map(drop)
    }

    /// Takes this tab's network away, or gives it back.
    pub fn set_offline(&mut self, offline: bool) -> Result<()> {
        let conditions = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.ask("Network.emulateNetworkConditions", conditions).map(drop)
    }

    /// Answers this tab's requests in place of the server, where the URL fits a pattern with `*` in it.
    pub fn answer_for(&mut self, urls: &str, status: u16, media_type: &str, body: &str) -> Result<()> {
        self.stand_in = Some(json!({
            "responseCode": status,
            "responseHeaders": [{ "name": "content-type", "value": media_type }],
            "body": BASE64_STANDARD.encode(body),
        }));
        self.ask("Fetch.enable", json!({ "patterns": [{ "urlPattern": urls }] })).map(drop)
    }

    /// Leaves the answers to the server again.
    pub fn answer_no_more(&mut self) -> Result<()> {
        self.ask("Fetch.disable", json!({}))?;
        self.stand_in = None;
        Ok(())
    }

    /// Types into the element of a selector of CSS.
    pub fn fill(&mut self, selector: &str, text: &str) -> Result<()> {
        self.value_of(&format!("document.querySelector({}).focus()", json!(selector)))?;
        self.ask("Input.insertText", json!({ "text": text })).map(drop)
    }

    pub fn click(&mut self, selector: &str) -> Result<()> {
        self.value_of(&format!("document.querySelector({}).click()", json!(selector))).map(drop)
    }

    /// Presses one of `KEYS` where the focus is.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (_, text, code) = KEYS.into_iter().find(|(name, ..)| *name == key).context("a key that is not known")?;
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code });
            self.ask("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let taken = self.ask("Page.captureScreenshot", json!({ "format": "png" }))?;
        let image = taken["data"].as_str().context("no picture was taken")?;
        fs::write(file, BASE64_STANDARD.decode(image)?).with_context(|| format!("cannot write {}", file.display()))
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

    /// The value of an expression; of a promise, what it comes to.
    pub fn value_of(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", asked)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// The URLs that the page has asked for until now.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.filter_map(|event| event["params"]["request"]["url"].as_str()).map(str::to_string).collect()
    }

    /// The media types of the answers to URLs that hold a text.
    pub fn media_types(&self, text: &str) -> Vec<String> {
        let answers = self.events.iter().filter(|event| event["method"] == "Network.responseReceived");
        let answers = answers.map(|event| &event["params"]["response"]);
        let answers = answers.filter(|answer| answer["url"].as_str().is_some_and(|url| url.contains(text)));
        answers.filter_map(|answer| answer["mimeType"].as_str()).map(str::to_string).collect()
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
        self.ask_in(Some(self.sessions[self.tab].clone()), method, params)
    }

    /// Asks a tab, or the browser itself.
    fn ask_in(&mut self, session: Option<Value>, method: &str, params: Value) -> Result<Value> {
        let id = self.send(session, method, params)?;
        loop {
            let answer = self.messages.recv_timeout(DEADLINE);
            let mut answer = answer.with_context(|| format!("the browser does not answer {method}"))?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
            if answer["method"] == "Fetch.requestPaused"
                && let Some(mut stand_in) = self.stand_in.clone()
            {
                stand_in["requestId"] = answer["params"]["requestId"].take();
                self.send(Some(answer["sessionId"].clone()), "Fetch.fulfillRequest", stand_in)?;
            }
            self.events.push(answer);
        }
    }

    /// Sends what a tab, or the browser itself, is to do. Returns the number that the answer will have.
    fn send(&mut self, session: Option<Value>, method: &str, params: Value) -> Result<u64> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session;
        }
        self.input.write_all(format!("{message}\0").as_bytes())?;
        Ok(self.next)
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
