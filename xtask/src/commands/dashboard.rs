//! `ui`: a page on 127.0.0.1 that shows what runs, and begins what a button says.

mod actions;
mod follow;
mod hub;
mod needs;
mod observe;
mod request;
mod response;
mod runs;
mod server;
mod state;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::commands::dashboard::actions::{Action, Slot};
use crate::commands::dashboard::hub::Hub;
use crate::commands::dashboard::request::{Access, Refusal, Route};
use crate::run::context::Project;
use crate::run::process::Interrupt;
use crate::run::random;
use crate::run::ui::{Mode, Ui};

const HTML: &str = include_str!("dashboard/page.html");
/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(100);
/// How often a quiet stream says something, by which it is found out that the browser has gone.
const BEAT: Duration = Duration::from_secs(2);

/// What answering a browser takes.
struct Desk<'a> {
    project: &'a Project,
    access: Access,
    hub: &'a Hub,
    slot: &'a Slot,
    queue: SyncSender<(Action, Interrupt)>,
}

/// Serves the page until it is interrupted, which is how it ends well. It opens no browser. `options` are those that this
/// command was given, for the commands that buttons begin.
pub fn run(project: &Project, port: Option<u16>, options: &[String]) -> Result<()> {
    let listener = server::listen(port)?;
    let access = Access { token: random::hex::<32>()?, port: listener.local_addr()?.port() };
    // Known before the program is built anew.
    let program = std::env::current_exe().context("cannot find this program")?.display().to_string();
    let command: Vec<String> = std::iter::once(program).chain(options.iter().cloned()).collect();
    let url = access.url();
    project.ui.answer(&url, json!({ "url": url }));
    project.ui.say("open that URL in a browser; Ctrl-C ends it");
    // What the threads find out belongs to the page.
    let quiet = &Project { ui: Arc::new(Ui::new(Mode::Quiet, false)), ..project.clone() };
    let (hub, slot) = (&Hub::default(), &Slot::default());
    let (queue, actions) = sync_channel(1);
    let desk = Desk { project, access, hub, slot, queue };
    std::thread::scope(|threads| {
        threads.spawn(|| observe::run(quiet, hub));
        threads.spawn(|| follow::run(quiet, hub));
        threads.spawn(move || actions::run(quiet, &command, slot, &actions, hub));
        let served = server::serve(&listener, &project.spawn.interrupt, &|stream| desk.answer(stream));
        // Where serving failed, the others end with it.
        project.spawn.interrupt.set();
        served
    })
}

impl Desk<'_> {
    fn answer(&self, mut stream: TcpStream) {
        let asked = server::read(&mut stream, &self.project.spawn.interrupt);
        let asked = match asked.map(|read| read.map(|(request, body)| (self.access.check(&request), body))) {
            Ok(Some((route, body))) => route.map(|route| (route, body)),
            Ok(None) => return,
            Err(refusal) => Err(refusal),
        };
        let answer = match asked {
            Ok((Route::Events, _)) => return self.stream_events(stream),
            Ok((Route::Page, _)) => page(),
            Ok((Route::Begin, body)) => Action::read(&body, &self.project.config)
                .and_then(|action| self.slot.begin(action, &self.queue))
                .map(|()| response::text(202, "begun")),
            Ok((Route::Stop, _)) => self.slot.stop().map(|()| response::text(202, "stopping")),
            Err(refusal) => Err(refusal),
        };
        server::finish(stream, &answer.unwrap_or_else(|refusal| response::refusal(&refusal)));
    }

    /// Sends what is known and what is new, until the browser goes or this command ends.
    fn stream_events(&self, mut stream: TcpStream) {
        let Some(browser) = self.hub.join() else {
            return server::finish(stream, &response::text(503, "too many pages are open\nNext: close some of them"));
        };
        let mut sent = stream.write_all(response::head(200, response::EVENTS, None, None).as_bytes());
        let mut last = Instant::now();
        // A write fails where the browser has gone.
        while sent.is_ok() && self.project.spawn.interrupt.check().is_ok() {
            sent = match browser.events.recv_timeout(TURN) {
                Ok(event) => {
                    last = Instant::now();
                    stream.write_all(event.as_bytes())
                }
                Err(RecvTimeoutError::Timeout) if last.elapsed() >= BEAT => {
                    last = Instant::now();
                    stream.write_all(b": is it there?\n\n")
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }
}

fn page() -> Result<Vec<u8>, Refusal> {
    let nonce = random::hex::<32>().map_err(|error| Refusal::new(503, format!("{error:#}")))?;
    Ok(response::page(HTML, &nonce))
}
