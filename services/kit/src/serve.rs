//! Serving, and stopping without losing a request.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::Response};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use crate::{env::StopTimes, reply};

/// Whether the service is on its way out; `/ready` asks it first, and answers through it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<AtomicBool>,
    /// Why the last probe got "not ready"; None where it got "ready".
    is_reported: Arc<Mutex<Option<String>>>,
}

/// A code for programs, and the reason for people.
#[derive(Debug)]
pub struct NotReady(pub &'static str, pub String);

impl Readiness {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
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

/// Serves until `stop` is done; then readiness goes off, and after `delay_ms` nothing new is accepted, and what is
/// still open is given `drain_ms`. A stream that never ends would otherwise hold the process for ever.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    readiness: Readiness,
    times: StopTimes,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    let (closing, closed) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop.await;
        readiness.set_stopping();
        info!(delay_ms = times.delay_ms, "stopping: no longer ready");
        sleep(Duration::from_millis(times.delay_ms)).await;
        info!(drain_ms = times.drain_ms, "stopping: nothing new is accepted");
        // The receiver lives as long as the server that polls this.
        let _ = closing.send(());
    });
    let bound = async {
        if closed.await.is_ok() {
            sleep(Duration::from_millis(times.drain_ms)).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = server => {
            info!("stopped");
            served.map_err(|err| format!("can't serve: {err}"))
        }
        () = bound => {
            warn!("stopped with requests unanswered: the drain took too long");
            Ok(())
        }
    }
}

/// SIGTERM, as Kubernetes and Docker send it, or SIGINT from a terminal.
pub async fn stop_signal() {
    let listen = |kind| signal(kind).expect("a signal handler can be installed");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
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

    #[test]
    fn stopping_goes_before_everything() {
        let readiness = Readiness::default();
        assert_eq!(readiness.answer(Ok(())).status(), 200);
        assert_eq!(readiness.answer(Err(NotReady("down", "it is down".to_owned()))).status(), 503);
        readiness.set_stopping();
        assert_eq!(readiness.answer(Ok(())).status(), 503);
    }
}
