//! What the buttons begin: one at a time, each a child process, its output shown as it comes.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::commands::dashboard::hub::Hub;
use crate::commands::dashboard::request::Refusal;
use crate::config::Config;
use crate::run::call::{Call, call};
use crate::run::context::{Context, Project};
use crate::run::exit::exit_code;
use crate::run::lock;
use crate::run::process::{Interrupt, Spawn};
use crate::stages::setup;
use crate::tools::kubectl;

/// Longer than any `up`, with what it waits for.
const DEADLINE: Duration = Duration::from_secs(3600);
/// How long a restart waits for another run on the namespace.
const LOCK: Duration = Duration::from_secs(5);
/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(100);
/// Lines of output that are kept.
const LINES: usize = 400;
/// What a command says that was interrupted.
const INTERRUPTED: u8 = 130;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Builds and deploys what changed.
    Up,
    /// The checks alone.
    Smoke,
    /// Replaces the pods of a service by new ones of the same kind.
    Restart { service: String },
}

impl Action {
    /// Reads the body of a request. Only services of the profile can be named.
    pub fn read(body: &[u8], config: &Config) -> Result<Action, Refusal> {
        let action: Action = serde_json::from_slice(body)
            .map_err(|error| Refusal::new(400, format!("there is no such action: {error}")))?;
        match &action {
            Action::Restart { service } if !config.running().any(|(name, _)| name == service) => {
                Err(Refusal::new(400, format!("profile {} runs no service {service}", config.profile)))
            }
            _ => Ok(action),
        }
    }

    fn title(&self) -> String {
        match self {
            Action::Up => "up".to_string(),
            Action::Smoke => "smoke".to_string(),
            Action::Restart { service } => format!("restart {service}"),
        }
    }
}

/// The action that runs, or ran last.
#[derive(Default)]
pub struct Slot(Mutex<Option<Shown>>);

struct Shown {
    title: String,
    stop: Interrupt,
    lines: Vec<String>,
    /// None while it runs.
    code: Option<u8>,
}

impl Slot {
    /// Takes the slot, and hands the action over to whoever runs it. Refused while another one runs.
    pub fn begin(&self, action: Action, queue: &SyncSender<(Action, Interrupt)>) -> Result<(), Refusal> {
        let mut slot = self.shown();
        if let Some(Shown { title, code: None, .. }) = slot.as_ref() {
            return Err(Refusal::new(409, format!("`{title}` runs: wait until it ends, or stop it")));
        }
        let stop = Interrupt::default();
        let title = action.title();
        if queue.try_send((action, stop.clone())).is_err() {
            return Err(Refusal::new(503, "this command is ending"));
        }
        *slot = Some(Shown { title, stop, lines: Vec::new(), code: None });
        Ok(())
    }

    /// Interrupts what runs, as Ctrl-C does.
    pub fn stop(&self) -> Result<(), Refusal> {
        match self.shown().as_ref() {
            Some(Shown { stop, code: None, .. }) => {
                stop.set();
                Ok(())
            }
            _ => Err(Refusal::new(409, "nothing runs that could be stopped")),
        }
    }

    /// Changes what is shown of the action that runs.
    fn note(&self, hub: &Hub, change: impl FnOnce(&mut Shown)) {
        let mut slot = self.shown();
        let Some(shown) = slot.as_mut() else { return };
        change(shown);
        let surplus = shown.lines.len().saturating_sub(LINES);
        shown.lines.drain(..surplus);
        hub.show("action", &shown.describe());
    }

    fn shown(&self) -> MutexGuard<'_, Option<Shown>> {
        self.0.lock().expect("no thread panics while it has the lock")
    }
}

impl Shown {
    fn describe(&self) -> Value {
        let (health, ending) = match self.code {
            None => ("progressing", "runs".to_string()),
            Some(0) => ("ready", "done".to_string()),
            Some(INTERRUPTED) => ("absent", "interrupted".to_string()),
            Some(code) => ("failed", format!("failed with exit code {code}")),
        };
        json!({ "title": self.title, "health": health, "ending": ending, "is_running": self.code.is_none(), "lines": self.lines })
    }
}

/// Runs actions one after another until this command is interrupted, which ends the one that runs. `command` is this
/// program with the options that it was given.
pub fn run(project: &Project, command: &[String], slot: &Slot, queue: &Receiver<(Action, Interrupt)>, hub: &Hub) {
    while project.spawn.interrupt.check().is_ok() {
        match queue.recv_timeout(TURN) {
            Ok((action, stop)) => {
                slot.note(hub, |_| {});
                let on_line = |line: &str| slot.note(hub, |shown| shown.lines.push(line.to_string()));
                let code = std::thread::scope(|threads| {
                    let acting = threads.spawn(|| act(project, command, &action, &stop, &on_line));
                    while !acting.is_finished() {
                        if project.spawn.interrupt.check().is_err() {
                            stop.set();
                        }
                        std::thread::sleep(TURN);
                    }
                    acting.join().expect("an action does not panic")
                });
                slot.note(hub, |shown| shown.code = Some(code));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Returns the exit code; an error of ours is its last line.
fn act(
    project: &Project,
    command: &[String],
    action: &Action,
    stop: &Interrupt,
    on_line: &(dyn Fn(&str) + Sync),
) -> u8 {
    let spawn = Spawn { interrupt: stop.clone(), ..project.spawn.clone() };
    let project = Project { spawn, ..project.clone() };
    let ended = match action {
        Action::Up => command_code(&project, own(command, "up"), on_line),
        Action::Smoke => command_code(&project, own(command, "smoke"), on_line),
        Action::Restart { service } => restart(&project, service, on_line).map(|()| 0),
    };
    ended.unwrap_or_else(|error| {
        format!("{error:#}").lines().for_each(on_line);
        exit_code(&error)
    })
}

/// Runs a command of this program. Its interruption is how it ends, and not an error of ours.
fn command_code(project: &Project, call: Call, on_line: &(dyn Fn(&str) + Sync)) -> Result<u8> {
    let output = project.spawn.output_showing(call.within(DEADLINE), on_line)?;
    Ok(output.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn own(command: &[String], name: &str) -> Call {
    call(command.iter().map(String::as_str).chain([name, "--no-progress"]).map(str::to_string).collect())
}

/// The new pods come as an upgrade's do, which the page shows.
fn restart(project: &Project, service: &str, on_line: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let ctx: Context = setup::need_tools(project)?;
    let _lock = lock::hold_within(&ctx, &ctx.config.namespace, LOCK)?;
    let release = ctx.config.running().find(|(name, _)| *name == service).map(|(_, release)| release.to_string());
    let scope = ctx.scope(&release.unwrap_or_default());
    let selector = format!("app.kubernetes.io/instance={},app.kubernetes.io/name={service}", scope.release);
    let said = ctx.run(kubectl::restart(&scope.target, &selector))?;
    said.lines().for_each(on_line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFile, parse_config};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn only_one_action_runs_and_only_that_can_be_stopped() {
        let (sender, queue) = sync_channel(1);
        let (slot, hub) = (Slot::default(), Hub::default());
        assert_eq!(slot.stop().unwrap_err().status, 409);
        slot.begin(Action::Up, &sender).unwrap();
        let refusal = slot.begin(Action::Smoke, &sender).unwrap_err();
        assert_eq!((refusal.status, refusal.message.as_str()), (409, "`up` runs: wait until it ends, or stop it"));
        let (action, stop) = queue.try_recv().unwrap();
        assert_eq!(action, Action::Up);
        slot.stop().unwrap();
        assert!(stop.check().is_err());
        slot.note(&hub, |shown| shown.code = Some(0));
        assert_eq!(slot.stop().unwrap_err().status, 409);
        slot.begin(Action::Smoke, &sender).unwrap();
        assert!(queue.try_recv().unwrap().1.check().is_ok(), "a new action is not stopped by the one before");
    }

    #[test]
    fn an_action_names_a_service_of_the_profile_and_nothing_else() {
        let base = ConfigFile { file: "xtask.toml", text: include_str!("../../../../xtask.toml") };
        let dev = ConfigFile { file: "dev.toml", text: include_str!("../../../../k8s/profiles/dev.toml") };
        let config = parse_config("dev", base, dev, &|_| true).unwrap();
        let read = |text: &str| Action::read(text.as_bytes(), &config).map_err(|refusal| refusal.status);
        assert_eq!(read(r#"{"action":"up"}"#), Ok(Action::Up));
        assert_eq!(read(r#"{"action":"smoke"}"#), Ok(Action::Smoke));
        let service = "backend".to_string();
        assert_eq!(read(r#"{"action":"restart","service":"backend"}"#), Ok(Action::Restart { service }));
        for wrong in [
            r#"{"action":"restart","service":"nope"}"#,
            r#"{"action":"restart","service":"backend,x=y"}"#,
            r#"{"action":"restart"}"#,
            r#"{"action":"down"}"#,
            "up",
            "",
        ] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
    }

    #[test]
    fn the_output_is_cut_at_its_beginning() {
        let (sender, _queue) = sync_channel(1);
        let (slot, hub) = (Slot::default(), Hub::default());
        slot.begin(Action::Up, &sender).unwrap();
        for number in 0..LINES + 1 {
            slot.note(&hub, |shown| shown.lines.push(number.to_string()));
        }
        let shown = slot.shown().as_ref().unwrap().describe();
        assert_eq!((&shown["lines"][0], shown["lines"].as_array().unwrap().len()), (&json!("1"), LINES));
        assert_eq!((&shown["is_running"], &shown["ending"]), (&json!(true), &json!("runs")));
    }
}
