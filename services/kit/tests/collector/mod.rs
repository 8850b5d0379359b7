//! A stand-in for an OpenTelemetry collector. It takes OTLP over HTTP in JSON as strictly as that is defined, and may be away.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use kit::{
    trace::export::{self, Settings},
    url::BaseUrl,
};
use serde::Deserialize;
use tokio::net::TcpListener;

pub const SERVER: u8 = 2;
pub const CLIENT: u8 = 3;

/// What the collector does with what it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Takes,
    Refuses,
    Hangs,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub trace_id: String,
    pub span_id: String,
    /// Empty where it is the first.
    pub parent_id: String,
    pub name: String,
    pub kind: u8,
    pub began_ns: u64,
    pub ended_ns: u64,
    pub attributes: BTreeMap<String, String>,
    pub is_failed: bool,
}

#[derive(Clone, Default)]
pub struct Collector {
    mood: Arc<Mutex<Mood>>,
    taken: Arc<Mutex<Vec<Span>>>,
    /// As it came.
    text: Arc<Mutex<String>>,
}

impl Collector {
    /// Has the spans of this process sent to a new one.
    pub async fn start(service_name: &str) -> Self {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let app = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let service_name = service_name.to_owned();
        export::start(Settings { endpoint, service_name, service_version: "1.2.3" });
        collector
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// What has come of a trace, by the time it began.
    pub async fn trace(&self, trace_id: &str) -> Vec<Span> {
        export::flush().await;
        let taken = self.taken.lock().unwrap();
        let mut spans: Vec<Span> = taken.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
        spans.sort_by_key(|span| span.began_ns);
        spans
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: String) -> (StatusCode, Json<()>) {
    let mood = *collector.mood.lock().unwrap();
    match mood {
        Mood::Takes => {}
        Mood::Refuses => return (StatusCode::SERVICE_UNAVAILABLE, Json(())),
        Mood::Hangs => pending().await,
    }
    assert_eq!(headers["content-type"], "application/json");
    // Nothing traces the exporter itself.
    assert!(!headers.contains_key("traceparent"), "{headers:?}");
    let request: Request = serde_json::from_str(&body).unwrap_or_else(|err| panic!("{err}: {body}"));
    collector.text.lock().unwrap().push_str(&body);
    for ResourceSpans { resource, scope_spans } in request.resource_spans {
        let resource = texts(resource.attributes);
        assert_eq!(resource["service.version"], "1.2.3");
        let spans = scope_spans.into_iter().flat_map(|scope_spans| scope_spans.spans);
        collector.taken.lock().unwrap().extend(spans.map(|span| span.taken(&resource["service.name"])));
    }
    (StatusCode::OK, Json(()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    #[serde(rename = "scope")]
    _scope: Scope,
    spans: Vec<Sent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Sent {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    flags: u32,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
enum Value {
    #[serde(rename = "stringValue")]
    Text(String),
    /// 64 bits are a text in protobuf's JSON.
    #[serde(rename = "intValue")]
    Number(String),
}

fn texts(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    let text = |Attribute { key, value }| match value {
        Value::Text(text) => (key, text),
        Value::Number(number) => (key, number.parse::<i64>().unwrap().to_string()),
    };
    attributes.into_iter().map(text).collect()
}

impl Sent {
    fn taken(self, service: &str) -> Span {
        let is_id = |id: &str, digits| id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_id(&self.trace_id, 32) && is_id(&self.span_id, 16), "{} {}", self.trace_id, self.span_id);
        assert!(self.parent_span_id.is_empty() || is_id(&self.parent_span_id, 16), "{}", self.parent_span_id);
        assert_eq!(self.flags, 1);
        let (began_ns, ended_ns) =
            (self.start_time_unix_nano.parse().unwrap(), self.end_time_unix_nano.parse().unwrap());
        assert!(began_ns <= ended_ns);
        let is_failed = self.status.is_some_and(|status| {
            assert_eq!(status.code, 2);
            true
        });
        Span {
            service: service.to_owned(),
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent_id: self.parent_span_id,
            name: self.name,
            kind: self.kind,
            began_ns,
            ended_ns,
            attributes: texts(self.attributes),
            is_failed,
        }
    }
}
