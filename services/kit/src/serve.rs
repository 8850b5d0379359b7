//! Serving, and stopping without losing a request.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use crate::env::StopTimes;

/// Whether the service is on its way out; `/ready` asks it first.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
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
