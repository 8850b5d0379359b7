//! Serving and stopping, over real sockets. The limits only keep a broken stop from hanging; no time is measured.

use std::{future::pending, net::SocketAddr, time::Duration};

use axum::{Router, extract::State, response::Response, routing::get};
use kit::{
    client,
    env::StopTimes,
    reply,
    serve::{Ending, Readiness, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than the limit, so that a client that gives up is not taken for a server that stops.
const TIMEOUT_MS: u64 = 60_000;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<Ending>,
    served: JoinHandle<Result<Ending, String>>,
    /// Notified when a request has reached `/never` or `/slow`.
    arrived: mpsc::Receiver<()>,
    /// Lets `/slow` answer.
    release: mpsc::Sender<()>,
}

async fn run(times: StopTimes) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Readiness::default();
    let (arrive, arrived) = mpsc::channel(4);
    let (release, mut released) = mpsc::channel(1);
    let (turn, turns) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        released.recv().await;
        turn.send_replace(true);
        pending::<()>().await;
    });
    let arrive_slowly = arrive.clone();
    let app = Router::new()
        .route("/ready", get(ready))
        .route(
            "/never",
            get(async move || {
                arrive.send(()).await.unwrap();
                pending::<String>().await
            }),
        )
        .route(
            "/slow",
            get(async move || {
                arrive_slowly.send(()).await.unwrap();
                let mut turns = turns.clone();
                turns.wait_for(|turn| *turn).await.unwrap();
                "done"
            }),
        )
        .with_state(readiness.clone());
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, app, readiness, times, async move { stopped.await.unwrap() }));
    Running { address, stop, served, arrived, release }
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    if readiness.is_stopping() { reply::not_ready("stopping", "stopping") } else { reply::ready() }
}

async fn get_path(address: SocketAddr, path: &str) -> Result<client::Answer, String> {
    client::get(&client::client(), format!("http://{address}{path}").parse().unwrap(), TIMEOUT_MS).await
}

#[tokio::test]
async fn readiness_goes_off_while_requests_are_still_taken() {
    let running = run(StopTimes { delay_ms: 600_000, drain_ms: 0 }).await;
    assert_eq!(get_path(running.address, "/ready").await.unwrap().status, 200);
    running.stop.send(Ending::Stop).unwrap();
    timeout(LIMIT, async {
        while get_path(running.address, "/ready").await.expect("still accepted").status != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("readiness goes off");
    assert!(!running.served.is_finished());
    running.served.abort();
}

#[tokio::test]
async fn a_kept_connection_ends_with_an_answer_and_not_under_a_request() {
    let running = run(StopTimes { delay_ms: 600_000, drain_ms: 0 }).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    // As large as no answer is.
    let mut buffer = [0; 4096];
    let mut last = String::new();
    running.stop.send(Ending::Stop).unwrap();
    let asked = async {
        while !last.contains("connection: close") {
            kept.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let length = kept.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "closed under a request, after {last}");
            last = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
        }
        assert_eq!(kept.read(&mut buffer).await.unwrap(), 0, "it goes on");
    };
    timeout(LIMIT, asked).await.expect("it ends");
    assert!(!running.served.is_finished());
    running.served.abort();
}

#[tokio::test]
async fn what_was_accepted_is_answered() {
    let mut running = run(StopTimes { delay_ms: 0, drain_ms: 600_000 }).await;
    let request = tokio::spawn(async move { get_path(running.address, "/slow").await });
    running.arrived.recv().await.unwrap();
    running.stop.send(Ending::Stop).unwrap();
    timeout(LIMIT, async {
        while get_path(running.address, "/ready").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nothing new is accepted");
    assert!(!running.served.is_finished());
    running.release.send(()).await.unwrap();
    assert_eq!(request.await.unwrap().unwrap().body, "done");
    timeout(LIMIT, running.served).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_request_without_end_does_not_hold_the_process() {
    let mut running = run(StopTimes { delay_ms: 0, drain_ms: 50 }).await;
    let request = tokio::spawn(async move { get_path(running.address, "/never").await });
    running.arrived.recv().await.unwrap();
    running.stop.send(Ending::Stop).unwrap();
    timeout(LIMIT, running.served).await.expect("the drain is bounded").unwrap().unwrap();
    request.abort();
}

#[tokio::test]
async fn what_starts_again_waits_neither_for_the_delay_nor_long_for_the_drain() {
    let mut running = run(StopTimes { delay_ms: 600_000, drain_ms: 600_000 }).await;
    let request = tokio::spawn(async move { get_path(running.address, "/never").await });
    running.arrived.recv().await.unwrap();
    running.stop.send(Ending::StartAgain).unwrap();
    let ended = timeout(LIMIT, running.served).await.expect("both are cut").unwrap();
    assert_eq!(ended, Ok(Ending::StartAgain));
    request.abort();
}
