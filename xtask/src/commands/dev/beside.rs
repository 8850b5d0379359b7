//! What goes on beside `dev` as long as it is wanted: the logs, the page.

use std::thread::JoinHandle;

use anyhow::Result;

use crate::run::context::Project;
use crate::run::process::Interrupt;

/// Ends its work, and waits for that, when it is dropped.
pub struct Beside {
    interrupt: Interrupt,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Does something with a project that Ctrl-C does not end. What goes wrong is reported.
    pub fn begin(project: &Project, work: impl FnOnce(&Project) -> Result<()> + Send + 'static) -> Beside {
        let mut project = project.clone();
        project.spawn = project.spawn.uninterrupted();
        let interrupt = project.spawn.interrupt.clone();
        let carry_out = move || work(&project).unwrap_or_else(|error| project.ui.error(&format!("{error:#}")));
        Beside { interrupt, thread: Some(std::thread::spawn(carry_out)) }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.interrupt.set();
        // What panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
