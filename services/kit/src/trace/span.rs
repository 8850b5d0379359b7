//! A span: what is done in a trace, from when until when, and how it ended. Its attributes are methods, routes, statuses and
//! names of ours: nothing that a client sends gets into one.

use std::{
    borrow::Cow,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
    response::Response,
};
use http_body_util::BodyExt;

use super::{TRACEPARENT, Trace, current, export};
use crate::metrics;

/// As OTLP numbers them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Server = 2,
    Client = 3,
}

#[derive(Debug, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

/// With a request: what the span of its call is called, in place of the method.
#[derive(Clone, Debug)]
pub struct SpanName(pub Cow<'static, str>);

/// A span that has ended. Times are in nanoseconds of Unix.
#[derive(Debug)]
pub(super) struct Record {
    pub trace: Trace,
    pub parent_id: Option<u64>,
    pub kind: Kind,
    pub name: Cow<'static, str>,
    pub began_ns: u64,
    pub ended_ns: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub is_failed: bool,
}

/// A span under way, which ends when it is dropped; an empty one where nothing is recorded.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Span(Option<Box<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    record: Record,
    /// Times are measured by the clock that is never set.
    began: Instant,
    has_ended: bool,
}

impl Span {
    /// Of a request that is answered here; `given` is the client's.
    pub(super) fn server(trace: Trace, given: Option<Trace>, request: &Request) -> Self {
        if !trace.is_recorded() {
            return Self(None);
        }
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
        let name = match &route {
            Some(route) => format!("{method} {route}").into(),
            None => Cow::Borrowed(method),
        };
        let mut span = Self::begin(trace, given.map(|given| given.span_id), Kind::Server, name);
        span.set("http.request.method", method);
        if let Some(route) = route {
            span.set("http.route", route);
        }
        span
    }

    /// Of something that is asked for elsewhere, in the trace of here.
    pub fn client(name: impl Into<Cow<'static, str>>) -> Self {
        match current().filter(|trace| trace.is_recorded()) {
            Some(parent) => Self::begin(parent.child(), Some(parent.span_id), Kind::Client, name.into()),
            None => Self(None),
        }
    }

    fn begin(trace: Trace, parent_id: Option<u64>, kind: Kind, name: Cow<'static, str>) -> Self {
        let began_ns = now_ns();
        let attributes = Vec::new();
        let record =
            Record { trace, parent_id, kind, name, began_ns, ended_ns: began_ns, attributes, is_failed: false };
        Self(Some(Box::new(UnderWay { record, began: Instant::now(), has_ended: false })))
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(UnderWay { record, .. }) = self.0.as_deref_mut() {
            record.attributes.push((name, value.into()));
        }
    }

    /// What was answered. A server's span has failed where the service has, a client's where it got no success.
    pub fn set_status(&mut self, status: StatusCode) {
        let Some(UnderWay { record, has_ended, .. }) = self.0.as_deref_mut() else { return };
        *has_ended = true;
        record.attributes.push(("http.response.status_code", Value::Number(status.as_u16().into())));
        let is_failed = match record.kind {
            Kind::Server => status.is_server_error(),
            Kind::Client => status.is_client_error() || status.is_server_error(),
        };
        if is_failed {
            self.fail(status.as_u16().to_string());
        }
    }

    /// Why there was no answer, or only a part of one, in a word.
    pub fn fail(&mut self, error_type: impl Into<Cow<'static, str>>) {
        let Some(UnderWay { record, has_ended, .. }) = self.0.as_deref_mut() else { return };
        *has_ended = true;
        // The first reason is the cause of the next.
        if !record.is_failed {
            record.is_failed = true;
            record.attributes.push(("error.type", Value::Text(error_type.into())));
        }
    }

    /// Goes on until the answer's last byte is out: it may be a stream.
    pub fn answer(mut self, response: Response) -> Response {
        if self.0.is_none() {
            return response;
        }
        self.set_status(response.status());
        // The body owns the span, and is dropped at its end.
        response.map(|body| {
            Body::new(body.map_err(move |err| {
                self.fail("broken_off");
                err
            }))
        })
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|under_way| !under_way.has_ended) {
            self.fail("cancelled");
        }
        if let Some(UnderWay { mut record, began, .. }) = self.0.take().map(|under_way| *under_way) {
            record.ended_ns = record.began_ns.saturating_add(nanoseconds(began.elapsed()));
            export::keep(record);
        }
    }
}

/// Passes the trace on with a request, that which it has or that of here, and makes a span of the call.
pub fn call(request: &mut Request<Body>) -> Span {
    let Some(trace) = Trace::of(request.headers()).or_else(current) else { return Span(None) };
    if !trace.is_recorded() {
        request.headers_mut().entry(TRACEPARENT).or_insert_with(|| trace.header());
        return Span(None);
    }
    let child = trace.child();
    request.headers_mut().insert(TRACEPARENT, child.header());
    let method = known_method(request.method());
    let name = request.extensions_mut().remove().map_or(Cow::Borrowed(method), |SpanName(name)| name);
    let mut span = Span::begin(child, Some(trace.span_id), Kind::Client, name);
    span.set("http.request.method", method);
    if let Some(host) = request.uri().host() {
        span.set("server.address", host.to_owned());
    }
    if let Some(port) = request.uri().port_u16() {
        span.set("server.port", i64::from(port));
    }
    span
}

/// As the conventions have it: a client may send any word as its method.
fn known_method(method: &Method) -> &'static str {
    match metrics::known_method(method) {
        "other" => "_OTHER",
        known => known,
    }
}

pub(super) fn now_ns() -> u64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
