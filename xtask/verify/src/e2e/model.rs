//! A language model answers in the cluster, and a collector gets the traces: both are stand-ins on this machine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::scenario::Scenario;
use crate::e2e::stand_in::{Answer, Request, StandIn};
use crate::e2e::world::World;
use crate::lanes::schedule::Takes;
use xtask::run::call::DEADLINE;
use xtask::run::{http, poll};
use xtask::stages::cluster;
use xtask::tools::docker;

pub const NAMESPACE: &str = "todo-chatbot-model";
pub const ANSWERS: Scenario = Scenario::new(
    "a language model keeps tasks as one trace, and what fails of it leaves the conversation usable",
    answers,
)
.taking(Takes::NodePorts);

const KEY: &str = "sk-0123456789abcdef";
const TITLE: &str = "buy milk";
/// From the page's request to the statement, each with the service that it is of.
const WAY: &str = "frontend POST /api/{*path} > frontend POST > backend POST /api/conversations/{id}/messages";
const ADDING: &str = "backend tools/call add_task > mcp POST /mcp > mcp POST > backend POST /api/tasks";

/// What the model does when it is asked.
enum Turn {
    Adds,
    Says(&'static str),
    Refuses(u16),
    BreaksOff(&'static str),
}

#[derive(Clone, Default)]
struct Model {
    turns: Arc<Mutex<VecDeque<Turn>>>,
    /// What it was sent.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Model {
    fn answer(&self, request: Request) -> Answer {
        let body = serde_json::from_str(&request.body).unwrap_or_default();
        self.asked.lock().unwrap().push((request.authorization, body));
        let (status, piece, breaks_off) = match self.turns.lock().unwrap().pop_front() {
            Some(Turn::Adds) => {
                let function = json!({"name": "add_task", "arguments": json!({"title": TITLE}).to_string()});
                (200, json!({"tool_calls": [{"index": 0, "id": "1", "function": function}]}), false)
            }
            Some(Turn::Says(text)) => (200, json!({"content": text}), false),
            Some(Turn::BreaksOff(text)) => (200, json!({"content": text}), true),
            Some(Turn::Refuses(status)) => (status, Value::Null, false),
            // As the smoke checks of `up` ask.
            None => (200, json!({"content": "What can I do for you?"}), false),
        };
        let end = if breaks_off { "" } else { "data: [DONE]\n\n" };
        let body = format!("data: {}\n\n{end}", json!({"choices": [{"index": 0, "delta": piece}]}));
        Answer { status, media_type: "text/event-stream", body, breaks_off }
    }

    fn will(&self, turns: impl IntoIterator<Item = Turn>) {
        self.turns.lock().unwrap().extend(turns);
    }
}

#[derive(Clone, Debug)]
struct Span {
    trace_id: String,
    id: String,
    parent_id: String,
    /// Its service and its name.
    name: String,
}

/// The spans of a request to a collector, as OTLP has them in JSON.
fn spans(body: &str) -> Vec<Span> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut found = Vec::new();
    for resource in list(&body["resourceSpans"]) {
        let attributes = list(&resource["resource"]["attributes"]);
        let name = attributes.iter().find(|one| one["key"] == "service.name");
        let service = name.map(|one| text(&one["value"]["stringValue"])).unwrap_or_default();
        for span in list(&resource["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
            let name = format!("{service} {}", text(&span["name"]));
            let [trace_id, id, parent_id] = ["traceId", "spanId", "parentSpanId"].map(|key| text(&span[key]));
            found.push(Span { trace_id, id, parent_id, name });
        }
    }
    found
}

/// The names of all spans above one, and its own.
fn path(span: &Span, spans: &[Span]) -> String {
    match spans.iter().find(|other| other.id == span.parent_id) {
        Some(parent) => format!("{} > {}", path(parent, spans), span.name),
        None => span.name.clone(),
    }
}

fn answers(world: &World) -> Result<()> {
    let node = &cluster::nodes(&world.ctx)?[0];
    let gateway = world.run(docker::container_gateways(node))?.pop().context("the node has no network")?;
    let (model, collected) = (Model::default(), Arc::new(Mutex::new(Vec::new())));
    let (asked, taken) = (model.clone(), collected.clone());
    let take = move |request: Request| {
        taken.lock().unwrap().push(request.body);
        Answer { status: 200, media_type: "application/json", body: "{}".to_string(), breaks_off: false }
    };
    let provider = StandIn::start(&gateway, move |request| asked.answer(request));
    let (Ok(provider), Ok(collector)) = (provider, StandIn::start(&gateway, take)) else {
        world.remark(format!("{gateway}, which pods reach, is no address of this machine: no model was asked"));
        return Ok(());
    };
    let output = world.up_with(&values(&gateway, &provider, &collector), &["--yes"])?;
    ensure!(output.success, "up failed with a language model\n{}", output.tail);
    let api = format!("{}/api", world.url()?);
    let (_, conversation) = post(&format!("{api}/conversations"), "application/json", &json!({}))?;
    let conversation: Value = serde_json::from_str(&conversation)?;
    let messages = format!("{api}/conversations/{}/messages", conversation["id"]);

    model.asked.lock().unwrap().clear();
    model.will([Turn::Adds, Turn::Says("Milk it is.")]);
    says(&messages, &format!("add {TITLE}"), "Milk it is.")?;
    let tasks: Value = serde_json::from_str(&world.get(&format!("{api}/tasks"))?)?;
    ensure!(tasks[0]["title"] == TITLE, "the model asked for a task that is not there: {tasks}");
    let asked = std::mem::take(&mut *model.asked.lock().unwrap());
    let has_key = |(authorization, _): &(String, Value)| *authorization == format!("Bearer {KEY}");
    ensure!(asked.len() == 2 && asked.iter().all(has_key), "the model was not asked twice with the Secret's key");
    is_one_trace(world, &collected)?;
    fails_and_goes_on(&model, &messages)
}

/// One for the application, of which every service has traces. Policies let the backend through to the model.
fn values(gateway: &str, provider: &StandIn, collector: &StandIn) -> String {
    let traces = json!({"endpoint": format!("http://{}", collector.address)});
    let env = json!({
        "LLM_PROVIDER": "openai",
        "LLM_BASE_URL": format!("http://{}/v1", provider.address),
        "OPENAI_MODEL": "stand-in",
    });
    let egress = json!([{"cidr": format!("{gateway}/32"), "port": provider.address.port()}]);
    let backend = json!({"env": env, "traces": traces, "networkPolicy": {"egress": egress}});
    let services = json!({"backend": backend, "frontend": {"traces": traces}, "mcp": {"traces": traces}});
    json!({"secret": {"values": {"OPENAI_API_KEY": KEY}}, "services": services}).to_string()
}

/// The message by which the task came: frontend, backend, MCP server, backend again and PostgreSQL, one inside of the other.
fn is_one_trace(world: &World, collected: &Mutex<Vec<String>>) -> Result<()> {
    let wanted = [
        WAY.to_string(),
        format!("{WAY} > backend chat stand-in"),
        format!("{WAY} > backend tools/list > mcp POST /mcp"),
        format!("{WAY} > {ADDING} > backend INSERT tasks"),
        format!("{WAY} > backend INSERT messages"),
    ];
    let mut last = (0, Vec::new());
    let whole = poll::until(&world.ctx.spawn.interrupt, DEADLINE, || {
        let all: Vec<Span> = collected.lock().unwrap().iter().flat_map(|body| spans(body)).collect();
        // The smoke checks have asked the model as well, and had no tool called.
        let Some(chat) = all.iter().find(|span| span.name == "backend tools/call add_task") else { return Ok(None) };
        let ours: Vec<Span> = all.iter().filter(|span| span.trace_id == chat.trace_id).cloned().collect();
        let roots = ours.iter().filter(|span| ours.iter().all(|other| other.id != span.parent_id)).count();
        last = (roots, ours.iter().map(|span| path(span, &ours)).collect());
        Ok((roots == 1 && wanted.iter().all(|path| last.1.contains(path))).then_some(ours.len()))
    })?;
    let (roots, paths) = last;
    let count =
        whole.with_context(|| format!("the message is no whole trace; {roots} beginnings of\n{}", paths.join("\n")))?;
    world.remark(format!("one message was one trace of {count} spans"));
    let text = collected.lock().unwrap().concat();
    let leaks: Vec<&str> = [KEY, TITLE].into_iter().filter(|word| text.contains(word)).collect();
    ensure!(leaks.is_empty(), "spans tell {}", leaks.join(", "));
    Ok(())
}

/// Whatever the model does, the user gets a plain message, and the next message is answered.
fn fails_and_goes_on(model: &Model, messages: &str) -> Result<()> {
    for (turn, reason) in [
        (Turn::Refuses(429), "the language model answered 429 Too Many Requests; it is asked too often"),
        (Turn::Refuses(500), "the language model answered 500 Internal Server Error"),
        (Turn::BreaksOff("Half of"), "the language model broke off in the middle of its answer"),
    ] {
        model.will([turn]);
        let (status, problem) = post(messages, "application/json", &json!({"content": "what is left?"}))?;
        ensure!(status == 502 && problem.contains(reason), "instead of \"{reason}\": {status} {problem}");
        model.will([Turn::Says("Here again.")]);
        says(messages, "are you there?", "Here again.")?;
    }
    model.will([Turn::BreaksOff("Half of")]);
    let (status, events) = post(messages, "text/event-stream", &json!({"content": "what is left?"}))?;
    let names: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    ensure!(status == 200 && names == ["user", "delta", "error"], "a stream that breaks off is {status}:\n{events}");
    model.will([Turn::Says("Here again.")]);
    says(messages, "are you there?", "Here again.")
}

fn says(messages: &str, content: &str, wanted: &str) -> Result<()> {
    let (status, text) = post(messages, "application/json", &json!({"content": content}))?;
    let exchange: Value = serde_json::from_str(&text).unwrap_or_default();
    let answer = &exchange["assistant"]["content"];
    ensure!(status == 201 && *answer == *wanted, "\"{content}\" is answered {status}: {text}");
    Ok(())
}

fn post(url: &str, accept: &str, body: &Value) -> Result<(u16, String)> {
    let request = http::agent(DEADLINE).post(url).header("content-type", "application/json").header("accept", accept);
    let mut answer = request.send(body.to_string())?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_named_with_its_service_and_all_above_it() {
        let span = |id: &str, parent: &str, name: &str| json!({"traceId": "1", "spanId": id, "parentSpanId": parent, "name": name});
        let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "backend"}}]});
        let scopes = json!([{"spans": [span("b", "a", "INSERT tasks"), span("a", "0", "POST /api/tasks")]}]);
        let found = spans(&json!({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}).to_string());
        assert_eq!(path(&found[0], &found), "backend POST /api/tasks > backend INSERT tasks");
        assert_eq!(path(&found[1], &found), "backend POST /api/tasks");
        assert!(spans("nonsense").is_empty());
    }
}
