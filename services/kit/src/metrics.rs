//! Metrics for Prometheus, on a port of their own: what every service counts of its requests, and what a service adds.
//! Values of labels are `&'static str`, or routes as the router has them: nothing that a client sends becomes a label.

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{
        TypedMetric,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::{Service, reply};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// From what only reads memory to the longest that anything waits.
const DURATION_BUCKETS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The route of what no route takes: its path may be anything.
const NO_ROUTE: &str = "(none)";
/// The status where the client went before there was one.
const CANCELLED: &str = "cancelled";

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// Of the process: counting needs no handle.
static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

static REQUESTS: LazyLock<Requests> = LazyLock::new(Requests::register);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counter for each set of labels.
pub struct Counters<const N: usize> {
    labels: [&'static str; N],
    counters: Family<Labels<N>, Counter>,
}

impl<const N: usize> Counters<N> {
    /// `name` without the `_total` that it is shown with, and once in a process.
    pub fn register(name: &str, help: &str, labels: [&'static str; N]) -> Self {
        let counters = Family::default();
        registry().register(name, help, counters.clone());
        Self { labels, counters }
    }

    pub fn add(&self, values: [&'static str; N], count: u64) {
        let labels = std::array::from_fn(|at| (self.labels[at], Cow::Borrowed(values[at])));
        self.counters.get_or_create(&labels).inc_by(count);
    }
}

/// A value that is read when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub name: &'static str,
    pub help: &'static str,
    pub value: i64,
}

struct Readings<F>(F);

impl<F> fmt::Debug for Readings<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readings")
    }
}

impl<const N: usize, F: Fn() -> [Reading; N] + Send + Sync + 'static> Collector for Readings<F> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for Reading { name, help, value } in (self.0)() {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, ConstGauge::<i64>::TYPE)?)?;
        }
        Ok(())
    }
}

/// Has gauges read at each scrape; once in a process.
pub fn register_readings<const N: usize>(read: impl Fn() -> [Reading; N] + Send + Sync + 'static) {
    registry().register_collector(Box::new(Readings(read)));
}

struct Requests {
    answered: Family<Labels<3>, Counter>,
    duration_s: Family<Labels<2>, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
}

impl Requests {
    fn register() -> Self {
        let requests = Self {
            answered: Family::default(),
            duration_s: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_S)),
            in_flight: Gauge::default(),
        };
        let mut registry = registry();
        let about = "Requests by method, route and status";
        registry.register("http_requests", about, requests.answered.clone());
        let about = "Seconds until the head of an answer; a stream goes on after it";
        registry.register("http_request_duration_seconds", about, requests.duration_s.clone());
        let about = "Requests of whose answer there is no head yet";
        registry.register("http_requests_in_flight", about, requests.in_flight.clone());
        drop(registry);
        requests
    }
}

/// Counts and measures each request, by its route. A layer around all routes and the fallback.
pub async fn measure_requests(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let route = route.map_or(Cow::Borrowed(NO_ROUTE), Cow::Owned);
    let mut measured = Measured::begin(known_method(request.method()), route);
    let response = next.run(request).await;
    measured.status = Some(response.status());
    response
}

/// A request under way. It is counted when it is dropped, also where its client is gone.
struct Measured {
    method: &'static str,
    route: Cow<'static, str>,
    began: Instant,
    status: Option<StatusCode>,
}

impl Measured {
    fn begin(method: &'static str, route: Cow<'static, str>) -> Self {
        REQUESTS.in_flight.inc();
        Self { method, route, began: Instant::now(), status: None }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let status = self.status.map_or(Cow::Borrowed(CANCELLED), |status| Cow::Owned(status.as_u16().to_string()));
        let (method, route) = (("method", Cow::Borrowed(self.method)), ("route", std::mem::take(&mut self.route)));
        REQUESTS.in_flight.dec();
        REQUESTS.duration_s.get_or_create(&[method.clone(), route.clone()]).observe(seconds);
        REQUESTS.answered.get_or_create(&[method, route, ("status", status)]).inc();
    }
}

/// A client may send any word as its method.
pub(crate) fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("other")
}

/// Serves `/metrics`. What can't be listened to is reported, and the service goes on without.
pub(crate) async fn serve(service: Service, host: IpAddr, port: u16) {
    LazyLock::force(&REQUESTS);
    let about = Info::new([("name", service.name), ("version", service.version)]);
    registry().register("service", "What answers here", about);
    let served = match TcpListener::bind((host, port)).await {
        Ok(listener) => {
            info!(%host, port, "metrics");
            axum::serve(listener, router()).await
        }
        Err(err) => Err(err),
    };
    if let Err(err) = served {
        error!("no metrics: can't listen on {host}:{port}: {err}; set METRICS_PORT to another, or to nothing");
    }
}

pub fn router() -> Router {
    Router::new().route("/metrics", get(scrape)).fallback(reply::not_found)
}

async fn scrape() -> Response {
    let mut text = String::new();
    match prometheus_text::encode(&mut text, &registry()) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the metrics can't be written"),
    }
}
