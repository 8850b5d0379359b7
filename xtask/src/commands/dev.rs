//! `dev`: `up`, and again each time that a file changes that it is made of, or a shortcut where that is enough.

mod beside;
mod board;
mod shortcuts;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Error, Result};

use crate::commands::dev::beside::Beside;
use crate::commands::dev::board::{Board, Way};
use crate::commands::dev::shortcuts::{Known, Taken, place, sources};
use crate::commands::logs::LogOptions;
use crate::commands::{dashboard, logs, open, smoke, up};
use crate::run::context::Project;
use crate::run::exit::exit_code;
use crate::run::keys::Keys;
use crate::run::record;
use crate::run::watch::Watch;
use crate::stages::values::LIBRARY;

/// How many changed files are named.
const NAMED: usize = 3;

/// What a key does.
const KEYS: &str = "r up, t checks, l logs on and off, o open, q quit";

/// What ends a wait.
enum Event {
    Changed(Box<Project>, BTreeSet<PathBuf>),
    Key(char),
    /// By Ctrl-C.
    Interrupted,
}

/// What a session has beside the project: the watch, the keys, and the logs while they are shown.
struct Session<'a> {
    watch: Watch,
    keys: Option<Keys>,
    logs: Option<Beside>,
    board: Board,
    /// Containers have what their images lack.
    is_copied: bool,
    /// Gives the project as its files say now.
    reread: &'a dyn Fn() -> Result<Project>,
}

impl Session<'_> {
    fn how_to_end(&self) -> &'static str {
        if self.keys.is_some() { KEYS } else { "Ctrl-C ends it" }
    }
}

/// Goes on until it is interrupted. A run that fails leaves what served before, and the next change is the next try.
/// `page` has the page of `ui` served beside it, with the options of this command; `reread` gives the project as its files
/// say now.
pub fn run(project: &Project, page: Option<Vec<String>>, reread: &dyn Fn() -> Result<Project>) -> Result<()> {
    let mut current = project.clone();
    let _page = page.map(|options| Beside::begin(project, move |project| dashboard::run(project, None, &options)));
    // Made before the run: what is saved meanwhile is the next change.
    let watch = Watch::new(places(&current))?;
    let mut session =
        Session { watch, keys: Keys::listen(), logs: None, board: Board::default(), is_copied: false, reread };
    // What the next run is for; None for the first one.
    let mut changed: Option<BTreeSet<PathBuf>> = None;
    loop {
        let known = Known::new(&current);
        let subject = current.config.subject();
        let started = Instant::now();
        let is_up = bring_up(&current)?;
        if changed.is_some() || !is_up {
            let outcome = (Way::Deployed, started.elapsed(), is_up);
            session.board.note(&current.root, &sources(&current), &changed.unwrap_or_default(), outcome);
        }
        let state = if is_up { format!("{subject} is up") } else { "up failed".to_string() };
        current.ui.say(&format!("{state}; waiting for a change, {}", session.how_to_end()));
        session.is_copied &= !is_up;
        let Some((next, files)) = follow(&current, &mut session, is_up.then_some(known))? else { return Ok(()) };
        changed = Some(files);
        // One that goes on has the changes of meanwhile.
        if places(&next) != places(&current) {
            session.watch = Watch::new(places(&next))?;
        }
        current = next;
    }
}

/// Takes shortcuts until a change takes another way, or from a run that failed none. Returns the project as it is then, with
/// what changed; None: ended by the person, and the cluster is as the Dockerfiles make it.
fn follow(
    current: &Project,
    session: &mut Session,
    mut known: Option<Known>,
) -> Result<Option<(Project, BTreeSet<PathBuf>)>> {
    loop {
        let pinned = current.ui.pin(&session.board.lines(&sources(current)));
        let event = await_event(current, session)?;
        drop(pinned);
        let (next, changed) = match event {
            Event::Changed(next, changed) => (*next, changed),
            Event::Key('r') => match (session.reread)() {
                Ok(next) => return Ok(Some((next, BTreeSet::new()))),
                Err(error) => {
                    report(current, &error);
                    continue;
                }
            },
            Event::Key(key) if key != 'q' => {
                press(current, session, key);
                continue;
            }
            Event::Key(_) | Event::Interrupted => return finish(current, session).map(|()| None),
        };
        let Some(known) = known.as_mut() else { return Ok(Some((next, changed))) };
        let Some(shortcut) = known.find(&next, &changed) else { return Ok(Some((next, changed))) };
        let started = Instant::now();
        session.is_copied = true;
        let taken = shortcuts::take(&next, &shortcut, known);
        // Whatever became of it: Ctrl-C ends a session in order.
        if next.spawn.interrupt.check().is_err() {
            return finish(&next, session).map(|()| None);
        }
        if let Ok(Taken::Impossible(reason)) = taken {
            next.ui.say(&format!("{reason:#}; it takes the way of up"));
            return Ok(Some((next, changed)));
        }
        let way = if shortcut.restarts.is_empty() { Way::Copied } else { Way::StartedAgain };
        let outcome = (way, started.elapsed(), taken.is_ok());
        session.board.note(&next.root, &sources(&next), &changed, outcome);
        if let Err(error) = taken {
            report(&next, &error);
        }
        next.ui.say(&format!("waiting for a change, {}", session.how_to_end()));
    }
}

/// Does what a key is for, and reports what goes wrong with it.
fn press(project: &Project, session: &mut Session, key: char) {
    let done = match key {
        't' => smoke::run(project),
        'o' => open::run(project, None),
        'l' => {
            session.logs = match session.logs.take() {
                Some(_) => None,
                None => Some(Beside::begin(project, show_logs)),
            };
            Ok(())
        }
        _ => {
            project.ui.say(KEYS);
            Ok(())
        }
    };
    if let Err(error) = done {
        report(project, &error);
    }
}

fn show_logs(project: &Project) -> Result<()> {
    logs::run(project, &LogOptions { services: &[], follow: true, previous: false, tail: Some(10), since: None })
}

/// Where the images lack what was only copied, Ctrl-C has one more run, which a second one ends.
fn finish(current: &Project, session: &mut Session) -> Result<()> {
    session.logs = None;
    if !session.is_copied {
        return Ok(());
    }
    current.spawn.interrupt.clear();
    let project = (session.reread)()?;
    project.ui.say("what was copied goes into the images; Ctrl-C leaves that to the next up");
    bring_up(&project).map(drop)
}

/// The next key, or the next change with which the configuration can be read.
fn await_event(current: &Project, session: &mut Session) -> Result<Event> {
    loop {
        let is_pressed = || session.keys.as_ref().is_some_and(Keys::is_pressed);
        let Some(mut changed) = session.watch.next_change(&current.spawn.interrupt, is_pressed) else {
            let key = session.keys.as_ref().and_then(Keys::take);
            return Ok(match key.filter(|_| current.spawn.interrupt.check().is_ok()) {
                Some(key) => Event::Key(key),
                None => Event::Interrupted,
            });
        };
        // A folder that was taken away and is back is another one. What comes to the old watch meanwhile belongs to this change.
        let before = std::mem::replace(&mut session.watch, Watch::new(places(current))?);
        changed.extend(before.pending());
        current.ui.say(&format!("changed: {}", name(current, &changed)));
        match (session.reread)() {
            Ok(next) => return Ok(Event::Changed(Box::new(next), changed)),
            Err(error) => report(current, &error),
        }
    }
}

/// One run of `up`, recorded as such. Whether it ended well; only an interruption is an error.
fn bring_up(project: &Project) -> Result<bool> {
    let ended = record::begin(project, "up").and_then(|()| up::run(project, false));
    record::end(project, ended.as_ref().map_or_else(exit_code, |()| 0));
    match ended {
        Ok(()) => Ok(true),
        Err(error) if project.spawn.interrupt.check().is_err() => Err(error),
        Err(error) => {
            report(project, &error);
            Ok(false)
        }
    }
}

fn report(project: &Project, error: &Error) {
    project.ui.error(&format!("{error:#}"));
}

/// Everything that `up` reads of the project.
fn places(project: &Project) -> BTreeSet<PathBuf> {
    let config = &project.config;
    let mut all = BTreeSet::from([
        PathBuf::from("xtask.toml"),
        PathBuf::from(format!("k8s/profiles/{}.toml", config.profile)),
        config.overrides.clone(),
    ]);
    for (service, _) in config.running() {
        let about = &config.services[service];
        all.extend(about.inputs.iter().map(|input| about.context.join(input)));
        all.insert(PathBuf::from(format!("{}.dockerignore", about.dockerfile.display())));
        all.insert(about.dockerfile.clone());
    }
    for release in config.releases.values() {
        all.extend([release.chart.clone(), release.chart.with_file_name(LIBRARY)]);
        all.extend(release.values.iter().cloned());
    }
    all.iter().map(|path| place(project, path)).collect()
}

/// The changed files as a person knows them.
fn name(project: &Project, changed: &BTreeSet<PathBuf>) -> String {
    let short = |path: &PathBuf| path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    let named: Vec<String> = changed.iter().take(NAMED).map(short).collect();
    match changed.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}
