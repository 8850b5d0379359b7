//! Asks the running application what the configuration's checks say, through its Services.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use ureq::http::{Request, Response};

use crate::config::{Call, Check, Step};
use crate::context::Context;
use crate::http;
use crate::live::{self, Endpoint};
use crate::poll;
use crate::process::Background;
use crate::stop::Stop;
use crate::tools::{Paths, kubectl};

const REQUEST: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(30);
/// A client that speaks MCP says which of the protocol's versions it means.
const MCP_VERSION: &str = "2025-06-18";

/// Why a check did not pass.
#[derive(Debug)]
enum Refusal {
    /// Nobody answered, or a proxy had nobody to ask: endpoints may still be on their way.
    NotYet(String),
    /// An answer came, and it is wrong: asking again would hide that.
    Wrong(String),
}

/// Runs every check, and reports all that fail.
pub fn run(ctx: &Context, tools: &Paths) -> Result<()> {
    let step = ctx.ui.step("smoke checks");
    let started = Instant::now();
    let mut endpoints = Endpoints { ctx, tools, open: BTreeMap::new(), live: live::endpoints(ctx, tools)? };
    let agent = http::agent(REQUEST);
    let mut failures = Vec::new();
    for check in &ctx.config.smoke {
        step.update(&check.name);
        let mut urls = BTreeMap::new();
        for service in check.services() {
            urls.insert(service, endpoints.url(service)?);
        }
        let mut last = "it was not asked".to_string();
        let left = ctx.config.deadlines.smoke.saturating_sub(started.elapsed());
        let passed = poll::until(&ctx.spawn.interrupt, left, || match ask(&agent, &urls, check) {
            Ok(()) => Ok(Some(true)),
            Err(Refusal::Wrong(why)) => {
                last = why;
                Ok(Some(false))
            }
            Err(Refusal::NotYet(why)) => {
                last = why;
                Ok(None)
            }
        })?;
        if passed != Some(true) {
            failures.push(format!("  {}: {last}", check.name));
        }
    }
    if failures.is_empty() {
        step.done(&format!("{} of {} passed", ctx.config.smoke.len(), ctx.config.smoke.len()));
        return Ok(());
    }
    let told = format!("the application runs, and {} of {} smoke checks fail", failures.len(), ctx.config.smoke.len());
    Err(Stop::failed(format!("{told}\n{}\nNext: cargo xtask status", failures.join("\n"))).into())
}

/// Where each service is reached from here: its published node port, else a forwarded port for as long as this lives.
struct Endpoints<'a> {
    ctx: &'a Context,
    tools: &'a Paths,
    open: BTreeMap<String, (String, Background)>,
    live: BTreeMap<String, Endpoint>,
}

impl Endpoints<'_> {
    fn url(&mut self, service: &str) -> Result<String> {
        let Some(endpoint) = self.live.get(service) else {
            return Err(Stop::failed(format!("the release has no Service for {service}\nNext: cargo xtask up")).into());
        };
        if let Some(url) = live::published_url(endpoint, self.ctx.config.cluster.node_ports) {
            return Ok(url);
        }
        if let Some((url, forward)) = self.open.get(service)
            && !forward.has_ended()
        {
            return Ok(url.clone());
        }
        let target = self.ctx.target_in(&endpoint.namespace);
        let (sender, receiver) = mpsc::channel();
        let forward = self.ctx.spawn.background(
            kubectl::port_forward(&self.tools.kubectl, &target, &endpoint.object, endpoint.port),
            move |line| {
                // The receiver is gone once the port is known; later lines are nobody's business.
                let _ = sender.send(line.to_string());
            },
        )?;
        let deadline = Instant::now() + SHORT;
        let mut said = Vec::new();
        while let Ok(line) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(port) = kubectl::parse_forward(&line) {
                let url = format!("http://127.0.0.1:{port}");
                self.open.insert(service.to_string(), (url.clone(), forward));
                return Ok(url);
            }
            said.push(line);
        }
        Err(Stop::failed(format!("no port could be forwarded to service {service}"))
            .with_detail(&said.join("\n"))
            .into())
    }
}

/// Asks all steps in order. After a refusal, what the check itself has made is deleted by its own DELETE steps, as well
/// as that can be done: a check must leave nothing in somebody's data.
fn ask(agent: &ureq::Agent, urls: &BTreeMap<&str, String>, check: &Check) -> Result<(), Refusal> {
    // A word of its own for each attempt, so that one that broke off stands in no later one's way.
    let mut saved =
        BTreeMap::from([("random".to_string(), random().map_err(|error| Refusal::Wrong(error.to_string()))?)]);
    let made = saved.len();
    let asked = check.steps.iter().try_for_each(|step| ask_step(agent, urls, check, step, &mut saved));
    if asked.is_err() && saved.len() > made {
        for step in &check.steps {
            if let Call::Http { method, status, .. } = &step.call
                && method == "DELETE"
            {
                let _ = request(agent, method, &url(urls, check, step, &saved), step, None, *status, &saved);
            }
        }
    }
    asked
}

fn ask_step(
    agent: &ureq::Agent,
    urls: &BTreeMap<&str, String>,
    check: &Check,
    step: &Step,
    saved: &mut BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let url = url(urls, check, step, saved);
    let text = match &step.call {
        Call::Http { method, body, status } => request(agent, method, &url, step, body.as_ref(), *status, saved)?,
        Call::Mcp { tool, arguments } => {
            mcp(agent, &Mcp { url: &url, headers: headers(step, saved) }, tool, &fill_json(arguments, saved))?
        }
    };
    judge(step, &text, saved).map_err(|why| Refusal::Wrong(format!("{url}: {why}")))
}

fn url(urls: &BTreeMap<&str, String>, check: &Check, step: &Step, saved: &BTreeMap<String, String>) -> String {
    let service = step.service.as_ref().unwrap_or(&check.service);
    format!("{}{}", urls[service.as_str()], fill(&step.path, saved))
}

fn headers(step: &Step, saved: &BTreeMap<String, String>) -> Vec<(String, String)> {
    step.headers.iter().map(|(name, value)| (name.clone(), fill(value, saved))).collect()
}

/// 64 bits as hexadecimal digits.
fn random() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What an answer must hold, and what of it is kept for later steps.
fn judge(step: &Step, text: &str, saved: &mut BTreeMap<String, String>) -> Result<(), String> {
    if let Some(wanted) = step.contains.as_ref().filter(|wanted| !text.contains(wanted.as_str())) {
        return Err(format!("the answer does not contain «{wanted}»: {}", beginning(text)));
    }
    if step.json.is_empty() && step.save.is_empty() {
        return Ok(());
    }
    let answer: Value =
        serde_json::from_str(text).map_err(|_| format!("the answer is not JSON: {}", beginning(text)))?;
    for (pointer, wanted) in &step.json {
        let found = answer.pointer(pointer).unwrap_or(&Value::Null);
        if found != wanted {
            return Err(format!("{pointer} is {found} instead of {wanted}"));
        }
    }
    for (name, pointer) in &step.save {
        let found = answer.pointer(pointer).ok_or_else(|| format!("the answer has no {pointer}"))?;
        saved.insert(name.clone(), found.as_str().map_or_else(|| found.to_string(), str::to_string));
    }
    Ok(())
}

fn request(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    step: &Step,
    body: Option<&Value>,
    wanted: u16,
    saved: &BTreeMap<String, String>,
) -> Result<String, Refusal> {
    let wrong = |error: ureq::http::Error| Refusal::Wrong(format!("{method} {url}: {error}"));
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers(step, saved) {
        request = request.header(name, value);
    }
    let answered = match body {
        Some(body) => {
            let body = fill_json(body, saved).to_string();
            agent.run(request.header("content-type", "application/json").body(body).map_err(wrong)?)
        }
        None => agent.run(request.body(()).map_err(wrong)?),
    };
    let (status, text, _) = read(answered, &format!("{method} {url}"))?;
    match status {
        _ if status == wanted => Ok(text),
        502..=504 => Err(Refusal::NotYet(format!("{method} {url} answered {status}: {}", beginning(&text)))),
        _ => Err(Refusal::Wrong(format!("{method} {url} answered {status} instead of {wanted}: {}", beginning(&text)))),
    }
}

/// An MCP server, and what every request to it carries.
struct Mcp<'a> {
    url: &'a str,
    headers: Vec<(String, String)>,
}

/// Initialises, says so, and calls a tool; returns the call's result as JSON.
fn mcp(agent: &ureq::Agent, server: &Mcp, tool: &str, arguments: &Value) -> Result<String, Refusal> {
    let client = json!({"protocolVersion": MCP_VERSION, "capabilities": {}, "clientInfo": {"name": "xtask", "version": "0.1.0"}});
    let (url, mut session) = (server.url, None);
    rpc(agent, server, &mut session, json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}))?;
    rpc(agent, server, &mut session, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
    let params = json!({"name": tool, "arguments": if arguments.is_null() { json!({}) } else { arguments.clone() }});
    let answer =
        rpc(agent, server, &mut session, json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}))?;
    match (answer.get("result"), answer["result"]["isError"] == true) {
        (Some(result), false) => Ok(result.to_string()),
        // The server answers, and whom it asks may be on its way.
        (Some(result), true) => {
            Err(Refusal::NotYet(format!("{url}: the tool {tool} failed: {}", beginning(&result.to_string()))))
        }
        (None, _) => Err(Refusal::Wrong(format!("{url}: the tool {tool} answered {}", beginning(&answer.to_string())))),
    }
}

fn rpc(agent: &ureq::Agent, server: &Mcp, session: &mut Option<String>, message: Value) -> Result<Value, Refusal> {
    let url = server.url;
    let mut request = Request::builder()
        .method("POST")
        .uri(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    for (name, value) in &server.headers {
        request = request.header(name, value);
    }
    if let Some(session) = session {
        request = request.header("mcp-session-id", session.as_str()).header("mcp-protocol-version", MCP_VERSION);
    }
    let told = format!("{} at {url}", message["method"].as_str().unwrap_or_default());
    let request = request.body(message.to_string()).map_err(|error| Refusal::Wrong(format!("{told}: {error}")))?;
    let (status, text, id) = read(agent.run(request), &told)?;
    *session = id.or(session.take());
    match status {
        200 => rpc_answer(&text).ok_or_else(|| Refusal::Wrong(format!("{told}: no answer in {}", beginning(&text)))),
        202 if message.get("id").is_none() => Ok(Value::Null),
        502..=504 => Err(Refusal::NotYet(format!("{told} answered {status}"))),
        _ => Err(Refusal::Wrong(format!("{told} answered {status}: {}", beginning(&text)))),
    }
}

/// The JSON-RPC answer in a body: plain JSON, or the last event of a stream that has an id.
fn rpc_answer(text: &str) -> Option<Value> {
    let events = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    std::iter::once(text.trim())
        .chain(events)
        .filter_map(|part| serde_json::from_str::<Value>(part).ok())
        .rfind(|value| value.get("id").is_some())
}

/// Status, body and the MCP session's ID of an answer.
fn read(
    answered: Result<Response<ureq::Body>, ureq::Error>,
    told: &str,
) -> Result<(u16, String, Option<String>), Refusal> {
    let mut response = answered.map_err(|error| Refusal::NotYet(format!("{told}: {error}")))?;
    let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_string);
    let text = response.body_mut().read_to_string().map_err(|error| Refusal::NotYet(format!("{told}: {error}")))?;
    Ok((response.status().as_u16(), text, session))
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

fn beginning(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(contains: Option<&str>, json: &[(&str, Value)], save: &[(&str, &str)]) -> Step {
        Step {
            service: None,
            headers: BTreeMap::new(),
            path: "/".into(),
            call: Call::Http { method: "GET".into(), body: None, status: 200 },
            contains: contains.map(str::to_string),
            json: json.iter().map(|(pointer, value)| (pointer.to_string(), value.clone())).collect(),
            save: save.iter().map(|(name, pointer)| (name.to_string(), pointer.to_string())).collect(),
        }
    }

    #[test]
    fn a_wrong_text_and_a_wrong_field_are_told() {
        let saved = &mut BTreeMap::new();
        assert!(judge(&step(Some("Todo"), &[], &[]), "<title>Todo</title>", saved).is_ok());
        assert!(
            judge(&step(Some("Todo"), &[], &[]), "nothing", saved).unwrap_err().contains("does not contain «Todo»")
        );
        let done = step(None, &[("/done", json!(true))], &[]);
        assert_eq!(judge(&done, r#"{"done": false}"#, saved).unwrap_err(), "/done is false instead of true");
        assert!(judge(&done, "<html>", saved).unwrap_err().contains("is not JSON"));
    }

    #[test]
    fn what_one_step_saves_fills_the_next_ones_path() {
        let mut saved = BTreeMap::new();
        judge(&step(None, &[], &[("id", "/task/id"), ("n", "/n")]), r#"{"task": {"id": "a-b"}, "n": 7}"#, &mut saved)
            .unwrap();
        assert_eq!(fill("/api/tasks/{id}/{n}", &saved), "/api/tasks/a-b/7");
        assert!(judge(&step(None, &[], &[("id", "/none")]), "{}", &mut saved).is_err());
    }

    #[test]
    fn what_was_saved_fills_bodies_too() {
        let saved = BTreeMap::from([("random".to_string(), "7f".to_string())]);
        let filled = fill_json(&json!({"email": "a-{random}@b", "list": ["{random}", 1]}), &saved);
        assert_eq!(filled, json!({"email": "a-7f@b", "list": ["7f", 1]}));
    }

    #[test]
    fn an_answer_is_found_in_json_and_in_an_event_stream() {
        assert_eq!(rpc_answer(r#"{"id": 1, "result": {}}"#).unwrap()["id"], 1);
        let stream =
            "event: message\ndata: {\"method\": \"notifications/x\"}\n\ndata: {\"id\": 2, \"result\": {\"a\": 1}}\n\n";
        assert_eq!(rpc_answer(stream).unwrap()["result"]["a"], 1);
        assert!(rpc_answer("nothing").is_none());
    }
}
