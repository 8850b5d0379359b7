//! Asks the running application what the configuration's checks say: some side by side, each with a deadline of its own.

mod addresses;
pub mod forward;
mod helm_test;
mod http;
mod mcp;
mod refusal;
mod sql;
mod tcp;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::config::{Action, Check, Step, When};
use crate::live::Endpoint;
use crate::run::context::Context;
use crate::run::exit::{Stop, indent};
use crate::run::graph::in_parallel;
use crate::run::http::agent;
use crate::run::poll;
use crate::run::random;
use addresses::Addresses;
use forward::Early;
use refusal::{Cause, Refusal};

/// For so long after a rollout a connection may still lead to a pod of before, which may have lost what it needs.
const SETTLES: Duration = Duration::from_secs(5);
/// How long one question may take, if the check has so much left.
const REQUEST: Duration = Duration::from_secs(10);

/// What the checks are run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// `cargo xtask smoke`: all checks, one line each.
    Asked,
    /// Something was deployed: all.
    Changed,
    /// Nothing was: all but those that are for changes only.
    Unchanged,
}

enum CheckOutcome {
    Passed,
    /// It asks for what there is not, for this reason.
    LeftOut(String),
    Failed(Failure),
}

struct Failure {
    cause: Cause,
    attempts: u32,
    /// Whom the step that failed asked.
    service: Option<String>,
}

/// What all checks share.
struct World<'a> {
    ctx: &'a Context,
    agent: ureq::Agent,
    live: BTreeMap<String, Endpoint>,
    addresses: Addresses<'a>,
    /// Until then an internal error is no refusal for good.
    settled: Instant,
}

/// One attempt of a check, and what it has saved so far.
struct Attempt<'a> {
    world: &'a World<'a>,
    until: Instant,
    saved: BTreeMap<String, String>,
}

/// Runs the checks of an occasion against the Services that there are, through ports opened early where they fit, and reports
/// all that fail. Returns the Services.
pub fn run(
    ctx: &Context,
    occasion: Occasion,
    live: BTreeMap<String, Endpoint>,
    early: Early,
) -> Result<BTreeMap<String, Endpoint>> {
    let step = ctx.ui.step("smoke checks");
    let until = Instant::now() + ctx.config.deadlines.smoke;
    if !ctx.config.running().any(|(service, _)| live.contains_key(service)) {
        let profile = &ctx.config.profile;
        let message = format!("nothing of profile {profile} is installed\nNext: cargo xtask up --profile {profile}");
        return Err(Stop::needs_setup(message).into());
    }
    let settled = Instant::now() + if occasion == Occasion::Changed { SETTLES } else { Duration::ZERO };
    let due = |check: &&Check| occasion != Occasion::Unchanged || check.when == When::Always;
    let checks: Vec<&Check> = ctx.config.smoke.iter().filter(due).collect();
    let addresses = Addresses::of(ctx, &live, early, &checks);
    let world = World { ctx, agent: agent(REQUEST), addresses, live, settled };
    let ended = in_parallel(&checks, |check| {
        let started = Instant::now();
        // One whose turn comes late has the time for a question all the same.
        let outcome = try_until(&world, check, until.max(started + REQUEST.min(ctx.config.deadlines.smoke)));
        let took = started.elapsed();
        world.addresses.leave(check);
        if let Ok(outcome) = &outcome {
            tell(ctx, check, outcome, took, occasion == Occasion::Asked);
        }
        Ok((*check, outcome?, took))
    });
    let ended = ended.into_iter().collect::<Result<Vec<_>>>()?;
    let passed = ended.iter().filter(|(_, outcome, _)| matches!(outcome, CheckOutcome::Passed)).count();
    let failed: Vec<(&Check, &Failure, Duration)> = ended
        .iter()
        .filter_map(|(check, outcome, took)| match outcome {
            CheckOutcome::Failed(failure) => Some((*check, failure, *took)),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        forward::remember(ctx, world.addresses.forwarded());
        let later = ctx.config.smoke.len() - checks.len();
        let left_out = checks.len() - passed;
        let rest = [(later, "for changes only"), (left_out, "left out")];
        let rest: String = rest.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        step.done(&format!("{passed} of {} passed{rest}", ctx.config.smoke.len()));
        return Ok(world.live);
    }
    Err(Stop::failed(report(&ctx.config.profile, checks.len(), &failed)).into())
}

/// Tries a check until it passes, is refused for good, or its deadline has passed.
fn try_until(world: &World, check: &Check, all_until: Instant) -> Result<CheckOutcome> {
    if let Some(why) = why_left_out(world, check)? {
        return Ok(CheckOutcome::LeftOut(why));
    }
    let now = Instant::now();
    let until = check.deadline.map_or(all_until, |own| all_until.min(now + own));
    let mut attempts = 0;
    let mut last = None;
    let passed = poll::until(&world.ctx.spawn.interrupt, until.saturating_duration_since(now), || {
        attempts += 1;
        let Err((step, refusal)) = attempt(world, check, until) else { return Ok(Some(true)) };
        let wrong = matches!(refusal, Refusal::Wrong(_));
        let (Refusal::NotYet(cause) | Refusal::Wrong(cause)) = refusal;
        // What the deadline cut short knows less than the attempt before it.
        if wrong || last.is_none() || Instant::now() < until {
            last = Some((step, cause));
        }
        Ok(wrong.then_some(false))
    })?;
    // What a signal ends fails too, and that is not the check's failure.
    world.ctx.spawn.interrupt.check()?;
    match (passed, last) {
        (Some(true), _) => Ok(CheckOutcome::Passed),
        (_, Some((step, cause))) => {
            Ok(CheckOutcome::Failed(Failure { cause, attempts, service: step.service.clone() }))
        }
        (_, None) => unreachable!("a check is tried at least once"),
    }
}

/// Why a check is not tried.
fn why_left_out(world: &World, check: &Check) -> Result<Option<String>> {
    if let Some(service) = outside(world, check) {
        return Ok(Some(format!("{service} is outside the cluster")));
    }
    for step in &check.steps {
        if let Action::HelmTest { release } = &step.action
            && let Some(why) = helm_test::without_release(world, release.as_deref())?
        {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// A service that the check asks, whose release is left out because a person named something outside in its place.
fn outside<'a>(world: &World, check: &'a Check) -> Option<&'a str> {
    let config = &world.ctx.config;
    let optional = |service: &str| {
        let owner = config.running().find(|(name, _)| *name == service).map(|(_, release)| release);
        owner.is_some_and(|release| config.releases[release].unless.is_some())
    };
    check.services().find(|service| optional(service) && !world.live.contains_key(*service))
}

/// A line for a check that has ended; for one that passed only where lines are wanted.
fn tell(ctx: &Context, check: &Check, outcome: &CheckOutcome, took: Duration, wanted: bool) {
    match outcome {
        CheckOutcome::Passed => ctx.ui.part(&check.name, took, "", true, wanted),
        CheckOutcome::LeftOut(why) => ctx.ui.part(&check.name, took, &format!("left out: {why}"), true, wanted),
        CheckOutcome::Failed(failure) => {
            let message = failure.cause.to_string();
            ctx.ui.part(&check.name, took, message.lines().next().unwrap_or_default(), false, true);
        }
    }
}

/// Every failed check with its cause, and where to look next.
fn report(profile: &str, count: usize, failed: &[(&Check, &Failure, Duration)]) -> String {
    let mut lines = vec![format!("the application runs, but {} of {count} smoke checks failed", failed.len())];
    for (check, Failure { cause, attempts, .. }, took) in failed {
        let attempts = if *attempts == 1 { String::new() } else { format!(" and {attempts} attempts") };
        lines.push(format!("  {}, after {:.1} s{attempts}:", check.name, took.as_secs_f64()));
        lines.push(format!("    asked     {}", cause.asked));
        lines.push(format!("    expected  {}", cause.wanted));
        let (first, rest) = cause.came.split_once('\n').unwrap_or((&cause.came, ""));
        lines.push(format!("    came      {first}"));
        if !rest.is_empty() {
            lines.push(indent(&indent(rest)));
        }
    }
    let next = match failed.iter().find_map(|(_, failure, _)| failure.service.as_ref()) {
        Some(service) => format!("logs {service}"),
        None => "status".to_string(),
    };
    lines.push(format!("Next: cargo xtask {next} --profile {profile}"));
    lines.join("\n")
}

/// Asks all steps in order. After a refusal, what the check itself has made is deleted by its own DELETE steps, as well
/// as that can be done: a check must leave nothing in the user's data.
fn attempt<'a>(world: &World, check: &'a Check, until: Instant) -> Result<(), (&'a Step, Refusal)> {
    let wrong = |error: anyhow::Error| Refusal::Wrong(Cause::new("a random word", "one", error));
    // Each attempt has a unique word, so that leftovers of an aborted one don't interfere.
    let word = random::hex::<8>().map_err(|error| (&check.steps[0], wrong(error)))?;
    let mut attempt = Attempt { world, until, saved: BTreeMap::from([("random".to_string(), word)]) };
    let made = attempt.saved.len();
    let asked = check.steps.iter().try_for_each(|step| attempt.ask(step).map_err(|refusal| (step, refusal)));
    if asked.is_err() && attempt.saved.len() > made {
        attempt.until = Instant::now() + REQUEST;
        for step in &check.steps {
            if matches!(&step.action, Action::Http { method, .. } if method == "DELETE") {
                let _ = attempt.ask(step);
            }
        }
    }
    asked
}

impl Attempt<'_> {
    fn ask(&mut self, step: &Step) -> Result<(), Refusal> {
        let service = step.service.as_deref().unwrap_or_default();
        let (asked, answer) = match &step.action {
            Action::Http { path, headers, method, body, status } => {
                let request = http::Request { method, path, headers, body: body.as_ref(), status: *status };
                http::send_request(self, service, &request)?
            }
            Action::Mcp { path, headers, tool, arguments } => {
                mcp::call_tool(self, service, &mcp::ToolCall { path, headers, tool, arguments })?
            }
            Action::Tcp { send } => tcp::send_bytes(self, service, send, step)?,
            Action::Sql { query } => sql::run_query(self, service, query)?,
            Action::HelmTest { release } => helm_test::run_test(self, release.as_deref())?,
        };
        judge(step, &asked, &answer, &mut self.saved).map_err(Refusal::Wrong)
    }

    /// How long the next question may take.
    fn timeout(&self) -> Duration {
        // What is asked at the very end is asked all the same.
        REQUEST.min(self.left()).max(Duration::from_millis(100))
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn fill(&self, template: &str) -> String {
        fill(template, &self.saved)
    }
}

/// What an answer must hold, and what of it is kept for later steps.
fn judge(step: &Step, asked: &str, answer: &str, saved: &mut BTreeMap<String, String>) -> Result<(), Cause> {
    let came = || format!("\"{}\"", beginning(answer));
    if let Some(wanted) = step.equals.as_ref().filter(|wanted| answer.trim() != wanted.trim()) {
        return Err(Cause::new(asked, format!("\"{wanted}\""), came()));
    }
    if let Some(wanted) = step.contains.as_ref().filter(|wanted| !answer.contains(wanted.as_str())) {
        return Err(Cause::new(asked, format!("an answer with \"{wanted}\""), came()));
    }
    if step.json.is_empty() && step.save.is_empty() {
        return Ok(());
    }
    let answer: Value = serde_json::from_str(answer).map_err(|_| Cause::new(asked, "JSON", came()))?;
    for (pointer, wanted) in &step.json {
        match answer.pointer(pointer) {
            Some(found) if found == wanted => {}
            Some(found) => return Err(Cause::new(asked, format!("{wanted} at {pointer}"), found)),
            None => return Err(Cause::new(asked, format!("{wanted} at {pointer}"), format!("nothing in {}", came()))),
        }
    }
    for (name, pointer) in &step.save {
        let found =
            answer.pointer(pointer).ok_or_else(|| Cause::new(asked, format!("something at {pointer}"), came()))?;
        saved.insert(name.clone(), found.as_str().map_or_else(|| found.to_string(), str::to_string));
    }
    Ok(())
}

fn fill(template: &str, saved: &BTreeMap<String, String>) -> String {
    saved.iter().fold(template.to_string(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// The same in every text of a value.
fn fill_json(template: &Value, saved: &BTreeMap<String, String>) -> Value {
    match template {
        Value::String(text) => fill(text, saved).into(),
        Value::Array(items) => items.iter().map(|item| fill_json(item, saved)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), fill_json(value, saved))).collect(),
        other => other.clone(),
    }
}

/// On one line, so that it can stand in one.
fn beginning(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(json: &[(&str, Value)], save: &[(&str, &str)]) -> Step {
        Step {
            service: None,
            action: Action::Tcp { send: Vec::new() },
            equals: None,
            contains: None,
            json: json.iter().map(|(pointer, value)| (pointer.to_string(), value.clone())).collect(),
            save: save.iter().map(|(name, pointer)| (name.to_string(), pointer.to_string())).collect(),
        }
    }

    fn describe(step: &Step, answer: &str) -> String {
        judge(step, "GET /", answer, &mut BTreeMap::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_text_and_a_wrong_field_are_reported() {
        let saved = &mut BTreeMap::new();
        let todo = Step { contains: Some("Todo".into()), ..step(&[], &[]) };
        assert!(judge(&todo, "GET /", "<title>Todo</title>", saved).is_ok());
        assert_eq!(describe(&todo, "nothing"), "GET /: \"nothing\" instead of an answer with \"Todo\"");
        let three = Step { equals: Some("3".into()), ..step(&[], &[]) };
        assert!(judge(&three, "SQL", "3\n", saved).is_ok());
        assert_eq!(describe(&three, "33"), "GET /: \"33\" instead of \"3\"");
        let done = step(&[("/done", json!(true))], &[]);
        assert_eq!(describe(&done, r#"{"done": false}"#), "GET /: false instead of true at /done");
        assert_eq!(describe(&done, r#"{"a": 1}"#), "GET /: nothing in \"{\"a\": 1}\" instead of true at /done");
        assert_eq!(describe(&done, "<html>"), "GET /: \"<html>\" instead of JSON");
    }

    #[test]
    fn what_one_step_saves_fills_the_next_ones_path() {
        let mut saved = BTreeMap::new();
        let saves = step(&[], &[("id", "/task/id"), ("n", "/n")]);
        judge(&saves, "GET /", r#"{"task": {"id": "a-b"}, "n": 7}"#, &mut saved).unwrap();
        assert_eq!(fill("/api/tasks/{id}/{n}", &saved), "/api/tasks/a-b/7");
        assert!(judge(&step(&[], &[("id", "/none")]), "GET /", "{}", &mut saved).is_err());
    }

    #[test]
    fn what_was_saved_fills_bodies_too() {
        let saved = BTreeMap::from([("random".to_string(), "7f".to_string())]);
        let filled = fill_json(&json!({"email": "a-{random}@b", "list": ["{random}", 1]}), &saved);
        assert_eq!(filled, json!({"email": "a-7f@b", "list": ["7f", 1]}));
    }

    #[test]
    fn a_report_tells_each_check_and_whose_log_to_read() {
        let check = |name: &str| Check {
            name: name.into(),
            steps: Vec::new(),
            deadline: None,
            when: When::Always,
            place: crate::config::Place { file: "x".into(), line: 1, column: 1 },
        };
        let failure = |service: Option<&str>, attempts| Failure {
            cause: Cause::new("helm test todo", "success", "todo-test failed\nits log"),
            attempts,
            service: service.map(str::to_string),
        };
        let (tests, page) = (check("helm test"), check("the page"));
        let (first, second) = (failure(None, 1), failure(Some("web"), 3));
        let failed = [(&tests, &first, Duration::from_millis(1500)), (&page, &second, Duration::from_secs(9))];
        let expected = "the application runs, but 2 of 5 smoke checks failed\n  helm test, after 1.5 s:\n    asked     helm test todo\n    \
                        expected  success\n    came      todo-test failed\n        its log\n  the page, after 9.0 s and 3 attempts:\n";
        let text = report("dev", 5, &failed);
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\nNext: cargo xtask logs web --profile dev"), "{text}");
        assert!(report("dev", 5, &failed[..1]).ends_with("\nNext: cargo xtask status --profile dev"));
    }
}
