//! Sends spans to a collector as OTLP over HTTP, in its JSON. Whoever records one waits for nothing: what finds the queue full, or a
//! collector that doesn't take it, is dropped and counted in the log.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::http::{Method, Uri};
use serde_json::{Value as Json, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::span::{Record, Value};
use crate::{
    Service,
    client::{self, Client},
    env::Env,
    url::BaseUrl,
};

const QUEUE_MAX: usize = 2_048;
const BATCH_MAX: usize = 512;
/// From a batch's first span until it is sent.
const BATCH_MS: u64 = 1_000;
const SEND_TIMEOUT_MS: u64 = 5_000;
/// With the times of a stop it must stay below the ten seconds that `docker stop` waits.
const FLUSH_TIMEOUT_MS: u64 = 500;
/// While a collector is away, between two lines of the log.
const REPORT_MS: u64 = 60_000;

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Where spans go, and whose they are.
#[derive(Clone, Debug)]
pub struct Settings {
    pub endpoint: BaseUrl,
    pub service_name: String,
    pub service_version: &'static str,
}

impl Settings {
    /// Nothing unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
    pub fn read(env: &mut Env, service: &Service) -> Option<Option<Self>> {
        let wanted = "http://HOST:PORT of a collector that takes OTLP over HTTP, or to nothing";
        let endpoint =
            env.optional("OTEL_EXPORTER_OTLP_ENDPOINT", None, wanted, |value| BaseUrl::parse(value).map(Some));
        let name = env.optional("OTEL_SERVICE_NAME", service.name.to_owned(), "a name", |name| Ok(name.to_owned()));
        let (endpoint, service_name) = (endpoint?, name?);
        Some(endpoint.map(|endpoint| Self { endpoint, service_name, service_version: service.version }))
    }
}

enum Item {
    Ended(Record),
    /// Answered when all that came before it has been sent, or given up.
    Flush(oneshot::Sender<()>),
}

struct Exporter {
    queue: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Exporter {
    fn start(settings: &Settings) -> Self {
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::<AtomicU64>::default();
        let sending = Sending {
            client: client::client(),
            url: settings.endpoint.join_static("/v1/traces"),
            resource: resource(settings),
            scope: json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")}),
            dropped: dropped.clone(),
            reported_at: None,
        };
        tokio::spawn(sending.run(items));
        Self { queue, dropped }
    }

    fn keep(&self, record: Record) {
        if self.queue.try_send(Item::Ended(record)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        let is_late = timeout(Duration::from_millis(FLUSH_TIMEOUT_MS), flushed).await.is_err();
        let dropped = self.dropped.swap(0, Relaxed);
        if is_late || dropped > 0 {
            warn!(
                dropped,
                is_late, "spans were dropped, and where it is late the last ones too: the collector didn't take them"
            );
        }
    }
}

/// From now on spans are recorded and sent. Within a runtime, and once in a process.
pub fn start(settings: Settings) {
    EXPORTER.get_or_init(|| {
        info!(endpoint = %settings.endpoint, service_name = settings.service_name, "traces");
        Exporter::start(&settings)
    });
}

pub fn is_on() -> bool {
    EXPORTER.get().is_some()
}

/// Sends what has ended until now, if that takes no longer than a moment.
pub async fn flush() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.flush().await;
    }
}

pub(super) fn keep(record: Record) {
    if let Some(exporter) = EXPORTER.get() {
        exporter.keep(record);
    }
}

struct Sending {
    client: Client,
    url: Uri,
    resource: Json,
    scope: Json,
    dropped: Arc<AtomicU64>,
    /// When the log last said that the collector takes nothing; None while it takes what it gets.
    reported_at: Option<Instant>,
}

impl Sending {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        while let Some(first) = items.recv().await {
            let (mut batch, mut flush) = (Vec::new(), None);
            let deadline = Instant::now() + Duration::from_millis(BATCH_MS);
            let mut next = Some(first);
            while let Some(item) = next {
                match item {
                    Item::Ended(record) => batch.push(record),
                    Item::Flush(done) => flush = Some(done),
                }
                if flush.is_some() || batch.len() == BATCH_MAX {
                    break;
                }
                next = tokio::select! {
                    item = items.recv() => item,
                    () = sleep_until(deadline) => None,
                };
            }
            if !batch.is_empty() {
                self.send(&batch).await;
            }
            if let Some(done) = flush {
                // Who waited may have given up.
                let _ = done.send(());
            }
        }
    }

    async fn send(&mut self, batch: &[Record]) {
        let spans: Vec<Json> = batch.iter().map(span).collect();
        let scope_spans = json!([{"scope": self.scope, "spans": spans}]);
        let body = json!({"resourceSpans": [{"resource": self.resource, "scopeSpans": scope_spans}]});
        let request = client::json_request(Method::POST, self.url.clone(), &body);
        let failure = match client::send(&self.client, request, SEND_TIMEOUT_MS).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status)),
            Err(reason) => Some(reason),
        };
        match failure {
            None => self.report_success(),
            Some(reason) => {
                self.dropped.fetch_add(batch.len() as u64, Relaxed);
                self.report_failure(&reason);
            }
        }
    }

    /// What came while the queue was full was dropped, whether or not the collector is away.
    fn report_success(&mut self) {
        let dropped = self.dropped.swap(0, Relaxed);
        if self.reported_at.take().is_some() {
            info!(dropped, "the collector takes spans again; those that are counted here were dropped");
        } else if dropped > 0 {
            warn!(dropped, "spans were dropped: more came than the collector took");
        }
    }

    fn report_failure(&mut self, reason: &str) {
        let is_due = self.reported_at.is_none_or(|at| at.elapsed() >= Duration::from_millis(REPORT_MS));
        if is_due {
            let dropped = self.dropped.swap(0, Relaxed);
            warn!(dropped, "spans were dropped: the collector doesn't take them: {reason}");
            self.reported_at = Some(Instant::now());
        }
    }
}

fn resource(settings: &Settings) -> Json {
    let name = Value::from(settings.service_name.clone());
    json!({"attributes": [attribute("service.name", &name), attribute("service.version", &settings.service_version.into())]})
}

/// Ids are hexadecimal and 64-bit numbers texts, as OTLP has them in JSON.
fn span(record: &Record) -> Json {
    const FAILED: u8 = 2;
    let Record { trace, parent_id, kind, name, began_ns, ended_ns, attributes, is_failed } = record;
    let attributes: Vec<Json> = attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut span = json!({
        "traceId": format!("{:032x}", trace.trace_id),
        "spanId": format!("{:016x}", trace.span_id),
        "flags": trace.flags,
        "name": name,
        "kind": *kind as u8,
        "startTimeUnixNano": began_ns.to_string(),
        "endTimeUnixNano": ended_ns.to_string(),
        "attributes": attributes,
    });
    if let Some(parent_id) = parent_id {
        span["parentSpanId"] = json!(format!("{parent_id:016x}"));
    }
    if *is_failed {
        span["status"] = json!({"code": FAILED});
    }
    span
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": name, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Option<Settings>, Vec<String>> {
        let service = Service { name: "backend", version: "1", default_port: 1, health_path: "/health" };
        let mut env = Env::of_pairs(pairs);
        let settings = Settings::read(&mut env, &service);
        env.finish(settings)
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_set() {
        assert!(settings(&[("OTEL_SERVICE_NAME", "mine"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for (pairs, name) in [(&[endpoint][..], "backend"), (&[endpoint, ("OTEL_SERVICE_NAME", "mine")], "mine")] {
            let settings = settings(pairs).unwrap().unwrap();
            assert_eq!(
                (settings.service_name.as_str(), settings.endpoint.to_string().as_str()),
                (name, &endpoint.1[..21])
            );
        }
        assert_eq!(
            settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]).unwrap_err(),
            ["OTEL_EXPORTER_OTLP_ENDPOINT doesn't begin with http://; set it to http://HOST:PORT of a collector that \
                 takes OTLP over HTTP, or to nothing"]
        );
    }

    /// The task that sends runs only when this one waits.
    #[tokio::test]
    async fn what_finds_the_queue_full_is_dropped_and_counted() {
        let endpoint = BaseUrl::parse("http://127.0.0.1:1").unwrap();
        let settings = Settings { endpoint, service_name: "kitchen".to_owned(), service_version: "1" };
        let exporter = Exporter::start(&settings);
        for _ in 0..QUEUE_MAX + 7 {
            let trace = super::super::Trace::begin();
            exporter.keep(Record {
                trace,
                parent_id: None,
                kind: super::super::span::Kind::Server,
                name: "GET".into(),
                began_ns: 1,
                ended_ns: 2,
                attributes: Vec::new(),
                is_failed: false,
            });
        }
        assert_eq!(exporter.dropped.load(Relaxed), 7);
    }
}
