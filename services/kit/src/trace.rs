//! W3C trace context: which trace a request belongs to. It is taken from `traceparent` or made; what is passed on has it, and
//! so has each line of the log. Where an exporter runs, what is done in it is recorded as spans.

pub mod export;
mod span;
pub(crate) mod statements;

use std::fmt;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

use crate::reply;

pub use span::{Span, SpanName, call};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The flag by which all who take part know that a trace is recorded.
const SAMPLED: u8 = 1;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A trace, and what is being done in it here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    /// Whether it is recorded, as whoever began it decided.
    flags: u8,
}

impl Trace {
    /// One that is recorded if anything is.
    fn begin() -> Self {
        let trace_id = Uuid::new_v4().as_u128();
        let flags = if export::is_on() { SAMPLED } else { 0 };
        Self { trace_id, span_id: 0, flags }.child()
    }

    /// Whether spans are to be made of what is done in it here.
    fn is_recorded(self) -> bool {
        self.flags & SAMPLED != 0 && export::is_on()
    }

    /// The same trace, in which something else is being done.
    fn child(self) -> Self {
        // A UUID is never 0 in its lower half, which has its variant: 0 would be no id.
        let span_id = Uuid::new_v4().as_u64_pair().1;
        Self { span_id, ..self }
    }

    /// Reads a `traceparent`. A later version may add to what version 0 has.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
        let (flags, is_over) = (parts.next()?, parts.next().is_none());
        let (version, trace_id) = (hex(version, 2)? as u8, hex(trace_id, 32)?);
        let (span_id, flags) = (hex(span_id, 16)? as u64, hex(flags, 2)? as u8);
        let is_valid = version != 0xff && (version > 0 || is_over) && trace_id != 0 && span_id != 0;
        is_valid.then_some(Self { trace_id, span_id, flags })
    }

    /// Of a request: not where the header comes twice, or is none.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let first = values.next()?.to_str().ok()?;
        if values.next().is_some() { None } else { Self::parse(first) }
    }

    fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("hexadecimal digits and dashes are a valid header")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// Lower case, as the header has it.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Continues the trace of a request, or begins one. From here on the request's header names what is done here: whoever passes
/// it on needs to do nothing else. A layer around all others. Probes come every few seconds, and no trace of them is recorded.
pub async fn follow(mut request: Request, next: Next) -> Response {
    let given = Trace::of(request.headers());
    let mut trace = given.map_or_else(Trace::begin, Trace::child);
    if reply::is_probe(request.uri().path()) {
        trace.flags &= !SAMPLED;
    }
    request.headers_mut().insert(TRACEPARENT, trace.header());
    let span = Span::server(trace, given, &request);
    CURRENT.scope(trace, async { span.answer(next.run(request).await) }).await
}

/// Has a future go on with the trace of here when it becomes a task of its own.
pub fn carry<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let trace = current();
    async move {
        match trace {
            Some(trace) => CURRENT.scope(trace, future).await,
            None => future.await,
        }
    }
}

/// Does something of which no spans are made: what is asked again and again would hide all else.
pub async fn unrecorded<T>(future: impl Future<Output = T>) -> T {
    match current() {
        Some(trace) => CURRENT.scope(Trace { flags: trace.flags & !SAMPLED, ..trace }, future).await,
        None => future.await,
    }
}

/// Does something in a given trace.
#[cfg(test)]
pub(crate) async fn within<T>(traceparent: &str, future: impl Future<Output = T>) -> T {
    CURRENT.scope(Trace::parse(traceparent).expect("it is one"), future).await
}

/// That of the request that is being answered here.
pub fn current() -> Option<Trace> {
    CURRENT.try_get().ok()
}

/// As members at the beginning of a line of the log; nothing outside of traces.
pub(crate) fn log_members() -> String {
    match current() {
        Some(Trace { trace_id, span_id, .. }) => {
            format!(r#""trace_id":"{trace_id:032x}","span_id":"{span_id:016x}","#)
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let trace = Trace::parse(GIVEN).unwrap();
        assert_eq!(trace.to_string(), GIVEN);
        let child = trace.child();
        assert_eq!((child.trace_id, child.flags), (trace.trace_id, 1));
        assert_ne!(child.span_id, trace.span_id);
        assert!(Trace::parse(&Trace::begin().to_string()).is_some());
        // A later version.
        assert_eq!(Trace::parse(&GIVEN.replacen("00-", "cc-", 1).replace("-01", "-01-more")), Some(trace));
    }

    #[test]
    fn what_is_no_traceparent_is_not_taken() {
        for wrong in [
            "",
            "sentinel",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GIVEN));
        assert!(Trace::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GIVEN));
        assert_eq!(Trace::of(&headers), None);
    }

    #[tokio::test]
    async fn a_task_goes_on_with_the_trace() {
        let trace = Trace::begin();
        assert_eq!((current(), log_members()), (None, String::new()));
        let inside = async { (current(), log_members()) };
        let spawned = CURRENT.sync_scope(trace, || tokio::spawn(carry(inside)));
        let (found, members) = spawned.await.unwrap();
        assert_eq!(found, Some(trace));
        assert!(members.starts_with(r#""trace_id":""#) && members.ends_with(','), "{members}");
        let mut request = Request::default();
        CURRENT.sync_scope(trace, || drop(call(&mut request)));
        assert_eq!(request.headers()[TRACEPARENT], trace.to_string());
        // Who has one keeps it.
        CURRENT.sync_scope(trace.child(), || drop(call(&mut request)));
        assert_eq!(request.headers()[TRACEPARENT], trace.to_string());
    }
}
