//! PostgreSQL goes away and comes back: connections are cut, or nothing is answered any more. The limits only keep a broken
//! wait from hanging; no time is measured.

mod common;

use std::time::Duration;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use backend::{Backend, config::Config, database::Database};
use kit::serve::Readiness;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use common::{create, send, send_with, titles, with_database};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Open,
    /// Connections stay, and nothing comes through.
    Silent,
    /// Connections end, and so does each new one.
    Cut,
    /// Connections end once something was sent on them, without an answer, as those of a server that is killed then.
    Killed,
}

/// A way to the database that can be cut. Returns what leads through it.
async fn line_to(database: &PgConnectOptions) -> (watch::Sender<Line>, PgConnectOptions) {
    let target = format!("{}:{}", database.get_host(), database.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = watch::channel(Line::Open);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, target.clone(), receiver.clone()));
        }
    });
    (sender, database.clone().host("127.0.0.1").port(port))
}

async fn pass_on(mut client: TcpStream, target: String, mut line: watch::Receiver<Line>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    loop {
        let now = *line.borrow_and_update();
        match now {
            Line::Cut => return,
            Line::Killed => {
                let _ = client.read(&mut [0; 1024]).await;
                return;
            }
            Line::Silent if line.changed().await.is_err() => return,
            Line::Silent => {}
            Line::Open => tokio::select! {
                // What is under way at a change may lose its place, and then the connection is of no use.
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = line.changed() => if changed.is_err() { return },
            },
        }
    }
}

async fn app_through(config: &Config) -> (watch::Sender<Line>, Database, Router) {
    let (line, database) = line_to(&config.database).await;
    let mut backend = Backend::open(&Config { database, ..config.clone() }, Readiness::default());
    // Shorter than the database waits for a lock, longer than the pool waits for a connection.
    backend.request_timeout = Duration::from_secs(5);
    let database = backend.database.clone();
    database.migrate().await.unwrap();
    (line, database, backend::app(backend, &[]))
}

async fn expect_away(app: &Router) {
    for (method, path, body) in [
        (Method::GET, "/api/tasks", Value::Null),
        (Method::GET, "/api/tasks/events", Value::Null),
        (Method::POST, "/api/tasks", json!({"title": "lost"})),
        (Method::POST, "/api/conversations", Value::Null),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = send_with(app, method, path, &headers, body.to_string());
        let (status, headers, body) = timeout(LIMIT, answer).await.expect("an answer comes in the end");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {body}");
        assert!(body.contains(r#""code":"database_unavailable""#), "{path}: {body}");
        assert!(headers.contains_key("retry-after"), "{path}");
    }
    assert_eq!(send(app, Method::GET, "/ready", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send(app, Method::GET, "/health", None).await.0, StatusCode::OK);
}

async fn expect_back(app: &Router) {
    let ready = async {
        while send(app, Method::GET, "/ready", None).await.0 != StatusCode::OK {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, ready).await.expect("ready again once the database is back");
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_database_that_is_cut_off_silent_or_killed_is_away_until_it_is_back() {
    with_database(async |config| {
        let (line, _, app) = app_through(&config).await;
        let mut wanted = vec!["0".to_owned()];
        create(&app, "0").await;
        for (number, fault) in [Line::Cut, Line::Silent, Line::Killed, Line::Cut].into_iter().enumerate() {
            line.send_replace(fault);
            expect_away(&app).await;
            line.send_replace(Line::Open);
            expect_back(&app).await;
            let title = format!("{} {fault:?}", number + 1);
            create(&app, &title).await;
            wanted.insert(0, title);
            let titles: Vec<String> = titles(&app, "").await.into_iter().filter(|title| title != "lost").collect();
            assert_eq!(titles, wanted);
        }
    })
    .await;
}

/// A query that is never answered, on a connection that is never closed.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_request_that_waits_too_long_is_ended() {
    with_database(async |config| {
        let (line, _, app) = app_through(&config).await;
        create(&app, "kept").await;
        // Through another way, so that it can be let go.
        let direct = Database::open(&config);
        let mut lock = direct.pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE tasks").execute(&mut *lock).await.unwrap();
        let waiting = {
            let app = app.clone();
            tokio::spawn(async move { send_with(&app, Method::GET, "/api/tasks", &[], "").await })
        };
        let is_waiting = async {
            let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database()))";
            while !sqlx::query_scalar::<_, bool>(query).fetch_one(&direct.pool).await.unwrap() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, is_waiting).await.expect("the query waits for the lock");
        line.send_replace(Line::Silent);
        let (status, headers, body) = timeout(LIMIT, waiting).await.expect("an answer comes in the end").unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(body.contains(r#""code":"timeout""#) && headers.contains_key("retry-after"), "{body}");
        lock.rollback().await.unwrap();
        line.send_replace(Line::Open);
        expect_back(&app).await;
        assert_eq!(titles(&app, "").await, ["kept"]);
    })
    .await;
}
