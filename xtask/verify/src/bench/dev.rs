//! A loop that runs in the background and says when it waits for a change, ours or a peer's.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use xtask::run::call::Call;
use xtask::run::poll;
use xtask::run::process::{Background, Interrupt, Spawn};

/// What may take longest between a change and its sight.
pub const SERVED: Duration = Duration::from_secs(120);
/// What may take longest until the first change may come.
const STARTED: Duration = Duration::from_secs(600);
/// How long a stopped loop may take to bring what it has begun to an end.
const ENDED: Duration = Duration::from_secs(120);

pub struct Dev {
    running: Background,
    lines: Arc<Mutex<Vec<String>>>,
    /// What it prints when a change may come.
    waits: &'static str,
    interrupt: Interrupt,
}

impl Dev {
    /// Starts it, and waits until a change may come.
    pub fn start(spawn: &Spawn, call: Call, waits: &'static str) -> Result<Dev> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = lines.clone();
        let note = move |line: &str| said.lock().unwrap().push(line.to_string());
        let dev = Dev { running: spawn.background(call, note)?, lines, waits, interrupt: spawn.interrupt.clone() };
        dev.wait(1, STARTED)?;
        Ok(dev)
    }

    /// How often it has come to wait so far.
    pub fn times(&self) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(self.waits)).count()
    }

    pub fn wait(&self, count: usize, at_most: Duration) -> Result<()> {
        let began = Instant::now();
        while self.times() < count {
            self.interrupt.check()?;
            let all = || self.lines.lock().unwrap().join("\n");
            ensure!(!self.running.has_ended() && began.elapsed() < at_most, "dev does not come to wait\n{}", all());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does, in order.
    pub fn end(&self) -> Result<()> {
        self.running.signal(Signal::INT);
        let ended = poll::until(&Interrupt::default(), ENDED, || Ok(self.running.code()))?;
        ended.map(drop).context("dev does not end")
    }
}
