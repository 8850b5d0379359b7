//! Serving, and stopping without losing a request.

use std::{
    future::{Future, IntoFuture},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header::CONNECTION},
    middleware::{self, Next},
    response::Response,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{env::StopTimes, reply};

const START_AGAIN_DRAIN_MS: u64 = 300;

/// Whether the service is on its way out; `/ready` asks it first, and answers through it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<watch::Sender<bool>>,
    /// Why the last probe got "not ready"; None where it got "ready".
    is_reported: Arc<Mutex<Option<String>>>,
}

/// A code for programs, and the reason for people.
#[derive(Debug)]
pub struct NotReady(pub &'static str, pub String);

impl Readiness {
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub fn set_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the service stops: what streams for as long as it is wanted ends then, and is asked for again
    /// elsewhere.
    pub async fn stopping(&self) {
        // The sender lives as long as this.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The answer of `/ready`. Probes come every few seconds: a reason is logged when it is new, not with each of them.
    pub fn answer(&self, outcome: Result<(), NotReady>) -> Response {
        let outcome = match self.is_stopping() {
            true => Err(NotReady("stopping", "the service is stopping".to_owned())),
            false => outcome,
        };
        let is_new = self.is_new(outcome.as_ref().err().map(|NotReady(_, reason)| reason.as_str()));
        match outcome {
            Ok(()) => {
                if is_new {
                    info!("ready again");
                }
                reply::ready()
            }
            Err(NotReady(code, reason)) => {
                if is_new {
                    warn!(code, "not ready: {reason}");
                }
                reply::not_ready(code, reason)
            }
        }
    }

    fn is_new(&self, reason: Option<&str>) -> bool {
        let mut message = self.is_reported.lock().expect("no panic while it is held");
        let is_new = message.as_deref() != reason;
        if is_new {
            *message = reason.map(str::to_owned);
        }
        is_new
    }
}

/// What comes after serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Stop,
    /// The program, which may be another one by now, takes this process over.
    StartAgain,
}

/// Serves until `stop` is done; then readiness goes off, and after `delay_ms` nothing new is accepted, and what is
/// still open is given `drain_ms`. A stream that never ends would otherwise hold the process for ever. What starts again
/// is back in a moment: nobody needs to hear of it first, and it waits for little.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    readiness: Readiness,
    times: StopTimes,
    stop: impl Future<Output = Ending> + Send + 'static,
) -> Result<Ending, String> {
    let (closing, closed) = oneshot::channel::<()>();
    let app = app.layer(middleware::from_fn_with_state(readiness.clone(), close_while_stopping));
    // The address of the peer, for those who ask for it.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = closed.await;
    });
    let server = server.into_future();
    tokio::pin!(server);
    let failed = |err| format!("can't serve: {err}");
    let ending = tokio::select! {
        served = &mut server => return served.map(|()| Ending::Stop).map_err(failed),
        ending = stop => ending,
    };
    let times = match ending {
        Ending::Stop => times,
        Ending::StartAgain => StopTimes { delay_ms: 0, drain_ms: times.drain_ms.min(START_AGAIN_DRAIN_MS) },
    };
    readiness.set_stopping();
    info!(delay_ms = times.delay_ms, "stopping: no longer ready");
    tokio::select! {
        served = &mut server => return served.map(|()| ending).map_err(failed),
        () = sleep(Duration::from_millis(times.delay_ms)) => {}
    }
    info!(drain_ms = times.drain_ms, "stopping: nothing new is accepted");
    // The server, which has the receiver, is polled here.
    let _ = closing.send(());
    match timeout(Duration::from_millis(times.drain_ms), server).await {
        Ok(served) => {
            served.map_err(failed)?;
            info!("stopped");
        }
        Err(_) => warn!("stopped with requests unanswered: the drain took too long"),
    }
    Ok(ending)
}

/// From when readiness is off, an answer is the last of its connection. Whoever keeps one would otherwise go on with it past the
/// Service, until it is closed under a request.
async fn close_while_stopping(State(readiness): State<Readiness>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if readiness.is_stopping() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// SIGTERM, as Kubernetes and Docker send it, or SIGINT from a terminal, stops; SIGHUP starts the program again. They are
/// listened to from this call on.
pub fn ending_signal() -> impl Future<Output = Ending> + Send + 'static {
    let listen = |kind| signal(kind).expect("a signal handler can be installed");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let mut hang_up = listen(SignalKind::hangup());
    async move {
        tokio::select! {
            _ = terminate.recv() => Ending::Stop,
            _ = interrupt.recv() => Ending::Stop,
            _ = hang_up.recv() => Ending::StartAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_new_once() {
        let readiness = Readiness::default();
        let probes = [None, Some("down"), Some("down"), Some("slow"), Some("down"), None, None, Some("down")];
        let new = probes.map(|reason| readiness.clone().is_new(reason));
        assert_eq!(new, [false, true, false, true, true, true, false, true]);
    }

    #[tokio::test]
    async fn who_waits_for_the_stop_hears_of_it() {
        let readiness = Readiness::default();
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.stopping().await }
        });
        readiness.set_stopping();
        waiting.await.unwrap();
        readiness.stopping().await;
    }

    #[test]
    fn stopping_goes_before_everything() {
        let readiness = Readiness::default();
        assert_eq!(readiness.answer(Ok(())).status(), 200);
        assert_eq!(readiness.answer(Err(NotReady("down", "it is down".to_owned()))).status(), 503);
        readiness.set_stopping();
        assert_eq!(readiness.answer(Ok(())).status(), 503);
    }
}
