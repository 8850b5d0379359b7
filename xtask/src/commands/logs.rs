//! `logs`: what the containers of services say, one after another or as it comes, over restarts and replaced pods.

pub mod lines;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::logs::lines::{Cursor, LogSource, Readable, sources, split};
use crate::live::service::need_known;
use crate::model::cluster::Target;
use crate::model::time;
use crate::run::context::{Context, Project};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::run::process::Background;
use crate::stages::cluster;
use crate::stages::setup;
use crate::tools::kubectl;
use crate::tools::kubectl::LogPart;
use crate::tools::kubectl::timed_logs;

/// How many lines of each container are printed without --tail and --since.
const TAIL: u32 = 100;
/// How often the pods are looked at while their logs are followed; a log that ends is looked after sooner.
const LOOK: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(300);
/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(100);

/// What a person asks for.
pub struct LogOptions<'a> {
    /// None are all that the profile runs.
    pub services: &'a [String],
    pub follow: bool,
    pub previous: bool,
    pub tail: Option<u32>,
    pub since: Option<&'a str>,
}

/// A container whose log is printed, and who it belongs to.
#[derive(Clone, Debug)]
pub struct Container {
    pub service: String,
    target: Target,
    pub source: LogSource,
}

/// Takes a line of a container with its time. False when no more are wanted.
pub type TakeLine<'a> = dyn Fn(&Container, &str, &str) -> bool + 'a;

/// A container by what stays the same of it over restarts: its pod and its name.
type Key = (String, String);

/// A log that is followed.
struct Followed {
    about: Container,
    cursor: Cursor,
    /// From when on to read where nothing has been printed yet; None from its beginning.
    since: Option<String>,
    stream: Option<Background>,
    /// The number of restarts when the log was opened last, and whether it was whole by then.
    opened: Option<(u64, bool)>,
}

enum Message {
    Line(Key, String),
    Ended(Key),
}

/// Tells that a stream has brought all that it brings.
struct Ending(Sender<Message>, Key);

impl Drop for Ending {
    fn drop(&mut self) {
        // The receiver may be gone.
        let _ = self.0.send(Message::Ended(self.1.clone()));
    }
}

/// Prints the logs; followed ones until it is interrupted, which is how it ends well.
pub fn run(project: &Project, wanted: &LogOptions) -> Result<()> {
    let services = choose(project, wanted.services)?;
    let ctx = &setup::need_tools(project)?;
    cluster::need_serving(ctx)?;
    lock::report_holder(ctx, &ctx.config.place());
    let print = |about: &Container, time: &str, text: &str| print_row(ctx, &services, about, time, text);
    read_and_follow(ctx, &services, wanted, &print)
}

/// Hands over the lines of all services of the profile, those of before and new ones, until it is interrupted.
pub fn follow_all(ctx: &Context, take: &TakeLine) -> Result<()> {
    let wanted = LogOptions { services: &[], follow: true, previous: false, tail: None, since: None };
    read_and_follow(ctx, &choose(ctx, wanted.services)?, &wanted, take)
}

fn read_and_follow(ctx: &Context, services: &[String], wanted: &LogOptions, take: &TakeLine) -> Result<()> {
    let teller = Teller { services, take };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
    let found = find_containers(ctx, services)?;
    if found.is_empty() && !wanted.follow {
        let profile = &ctx.config.profile;
        let message = format!("no pods of {}\nNext: cargo xtask up --profile {profile}", services.join(", "));
        return Err(Stop::needs_setup(message).into());
    }
    let readable = |printed: &&Container| match wanted.previous {
        true => printed.source.restarts > 0,
        false => printed.source.state != Readable::Not,
    };
    let chosen: Vec<&Container> = found.iter().filter(readable).collect();
    if chosen.is_empty() && wanted.previous {
        ctx.ui.say(&format!("no container of {} ran before the present one", services.join(", ")));
    }
    let mut logs = BTreeMap::new();
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for (about, read) in chosen.iter().zip(read_all(ctx, &chosen, wanted)) {
        let mut cursor = Cursor::default();
        match read {
            Ok(text) => lines.extend(text.lines().filter_map(split).map(|(time, text)| {
                cursor.is_new(time);
                (time.to_string(), *about, text.to_string())
            })),
            Err(error) => failed.push(format!("{}: {error:#}", about.source.label(&about.service))),
        }
        let since = Some(time::text(now));
        logs.insert(
            key(&about.source),
            Followed { about: (*about).clone(), cursor, since, stream: None, opened: None },
        );
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let read_by_somebody = lines.iter().all(|(time, about, text)| take(about, time, text));
    if wanted.follow && read_by_somebody {
        return follow(ctx, &teller, found, logs);
    }
    match failed.is_empty() || wanted.follow {
        true => Ok(()),
        false => Err(Stop::failed(format!(
            "{} of {} logs cannot be read\n  {}\nNext: cargo xtask status",
            failed.len(),
            chosen.len(),
            failed.join("\n  ")
        ))
        .into()),
    }
}

/// The chosen services, each of which the profile must run.
fn choose(project: &Project, asked: &[String]) -> Result<Vec<String>> {
    need_known(project, asked, "cargo xtask logs")?;
    let mut known: Vec<String> = project.config.running().map(|(service, _)| service.to_string()).collect();
    known.sort();
    known.retain(|name| asked.is_empty() || asked.contains(name));
    Ok(known)
}

/// The containers of the services' pods; those that helm's tests run in are none.
fn find_containers(ctx: &Context, services: &[String]) -> Result<Vec<Container>> {
    let mut releases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, release) in ctx.config.running().filter(|(service, _)| services.iter().any(|name| name == service)) {
        let of_namespace = releases.entry(&ctx.config.releases[release].namespace).or_default();
        if !of_namespace.contains(&release) {
            of_namespace.push(release);
        }
    }
    let mut found = Vec::new();
    for (namespace, releases) in releases {
        let target = ctx.target_in(namespace);
        let selector =
            format!("app.kubernetes.io/instance in ({}),app.kubernetes.io/component!=test", releases.join(","));
        let pods = ctx.run(kubectl::get(&target, "pods", Some(&selector)))?;
        for pod in pods {
            let name = pod["metadata"]["labels"]["app.kubernetes.io/name"].as_str().unwrap_or_default();
            if let Some(service) = services.iter().find(|service| *service == name) {
                let describe = |source| Container { service: service.clone(), target: target.clone(), source };
                found.extend(sources(&pod).into_iter().map(describe));
            }
        }
    }
    Ok(found)
}

/// What each container has said so far, side by side.
fn read_all(ctx: &Context, chosen: &[&Container], wanted: &LogOptions) -> Vec<Result<String>> {
    let tail = wanted.tail.or(wanted.since.is_none().then_some(TAIL));
    let part = LogPart { previous: wanted.previous, tail, since: wanted.since, ..LogPart::default() };
    std::thread::scope(|scope| {
        let reading: Vec<_> =
            chosen.iter().map(|about| scope.spawn(|| read_container_log(ctx, about, &part))).collect();
        reading.into_iter().map(|thread| thread.join().expect("reading does not panic")).collect()
    })
}

fn read_container_log(ctx: &Context, about: &Container, part: &LogPart) -> Result<String> {
    let Container { target, source, .. } = about;
    ctx.run(timed_logs(target, &source.pod, &source.container, part))
}

/// Prints new lines until it is interrupted or stdout is closed.
fn follow(ctx: &Context, teller: &Teller, mut found: Vec<Container>, mut logs: BTreeMap<Key, Followed>) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    if found.is_empty() {
        ctx.ui.say(&format!("no pod of {} yet; waiting", teller.services.join(", ")));
    }
    loop {
        if !update(ctx, teller, &found, &mut logs, &sender)? {
            return Ok(());
        }
        if !listen(ctx, teller, &mut logs, &receiver) {
            return Ok(());
        }
        found = match find_containers(ctx, teller.services) {
            Ok(found) => found,
            Err(_) if ctx.spawn.interrupt.check().is_err() => return Ok(()),
            Err(error) => {
                ctx.ui.say(&format!("cannot list pods, retrying: {error:#}"));
                continue;
            }
        };
    }
}

/// Opens the logs of new containers and of those that began anew, and forgets those whose pod is gone. False if stdout is
/// closed.
fn update(
    ctx: &Context,
    teller: &Teller,
    found: &[Container],
    logs: &mut BTreeMap<Key, Followed>,
    sender: &Sender<Message>,
) -> Result<bool> {
    logs.retain(|key, log| log.stream.is_some() || found.iter().any(|about| self::key(&about.source) == *key));
    for about in found {
        let new =
            || Followed { about: about.clone(), cursor: Cursor::default(), since: None, stream: None, opened: None };
        let log = logs.entry(key(&about.source)).or_insert_with(new);
        let Container { source, target, .. } = about;
        if log.stream.is_some() || source.state == Readable::Not {
            continue;
        }
        match log.opened {
            Some((restarts, whole)) if restarts == source.restarts && whole => continue,
            // What the one before said at its end, had the stream broken off earlier.
            Some((restarts, _)) if restarts < source.restarts => {
                let count = source.restarts;
                ctx.ui.say(&format!("{} restarted, restart {count}", source.label(&about.service)));
                let since_time = log.cursor.time().map(str::to_string);
                let part = LogPart { previous: true, since_time: since_time.as_deref(), ..LogPart::default() };
                // Where it cannot be had any more, nothing of it is printed.
                if let Ok(text) = read_container_log(ctx, about, &part) {
                    log.cursor.begin();
                    if !tell_all(teller, about, &mut log.cursor, &text) {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
        log.cursor.begin();
        let since_time = log.cursor.time().map(str::to_string).or(log.since.clone());
        let part = LogPart { follow: true, since_time: since_time.as_deref(), ..LogPart::default() };
        let call = timed_logs(target, &source.pod, &source.container, &part);
        let (lines, ending) = (sender.clone(), Ending(sender.clone(), key(source)));
        log.stream = Some(ctx.spawn.background(call, move |line| {
            let _ = lines.send(Message::Line(ending.1.clone(), line.to_string()));
        })?);
        log.opened = Some((source.restarts, source.state == Readable::Whole));
        log.about = about.clone();
    }
    Ok(true)
}

/// Tells what the streams bring until the pods are to be looked at again. False when it is to end.
fn listen(ctx: &Context, teller: &Teller, logs: &mut BTreeMap<Key, Followed>, receiver: &Receiver<Message>) -> bool {
    let mut until = Instant::now() + LOOK;
    while Instant::now() < until {
        if ctx.spawn.interrupt.check().is_err() {
            return false;
        }
        let message = receiver.recv_timeout(TURN.min(until.saturating_duration_since(Instant::now())));
        match message {
            Ok(Message::Line(key, line)) => {
                let Some(log) = logs.get_mut(&key) else { continue };
                if !tell_all(teller, &log.about, &mut log.cursor, &line) {
                    return false;
                }
            }
            Ok(Message::Ended(key)) => {
                if let Some(log) = logs.get_mut(&key) {
                    log.stream = None;
                }
                until = until.min(Instant::now() + SOON);
            }
            // This function's caller has a sender too: it is a turn without a message.
            Err(_) => {}
        }
    }
    true
}

fn tell_all(teller: &Teller, about: &Container, cursor: &mut Cursor, text: &str) -> bool {
    text.lines().filter_map(split).all(|(time, line)| !cursor.is_new(time) || (teller.take)(about, time, line))
}

fn key(source: &LogSource) -> Key {
    (source.uid.clone(), source.container.clone())
}

/// Hands lines over, each with its container.
struct Teller<'a> {
    services: &'a [String],
    take: &'a TakeLine<'a>,
}

/// Prints a line with its service and pod. False if stdout is closed.
fn print_row(ctx: &Context, services: &[String], about: &Container, time: &str, text: &str) -> bool {
    let Container { service, source, .. } = about;
    // Wide enough for the part of a pod's name that a ReplicaSet gives it.
    let width = services.iter().map(|name| name.len()).max().unwrap_or(0) + " x2xq9".len();
    let label = format!("{:width$} |", source.label(service));
    let nth = services.iter().position(|name| name == service).unwrap_or(0);
    ctx.ui.row(&format!("{} {text}", ctx.ui.tint(&label, nth)), "log", line_fields(about, time, text))
}

/// A line as programs read it.
pub fn line_fields(about: &Container, time: &str, text: &str) -> Value {
    let Container { service, source, .. } = about;
    json!({
        "service": service, "pod": source.pod, "container": source.container, "restarts": source.restarts,
        "time": time, "text": text,
    })
}
