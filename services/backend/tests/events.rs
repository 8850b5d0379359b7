//! The stream of events over a real PostgreSQL. The limits only keep a broken stream from hanging; no time is measured.

mod common;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use backend::{Backend, Changes, config::Config};
use http_body_util::BodyExt;
use kit::serve::Readiness;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;
use tower::ServiceExt;

use common::{create, create_as, hs256, migrated, send, send_as, sign_up, with_database};

const LIMIT: Duration = Duration::from_secs(30);

struct Events {
    body: Body,
    rest: String,
    /// The last id, as a client keeps it.
    id: String,
}

async fn open(token: &str, app: &Router, last: &str) -> Result<Events, StatusCode> {
    let mut request = Request::get("/api/tasks/events");
    for (name, value) in [("authorization", format!("Bearer {token}")), ("last-event-id", last.to_owned())] {
        if !value.trim_end().ends_with("Bearer") && !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Ok(Events { body: response.into_body(), rest: String::new(), id: String::new() })
}

impl Events {
    /// The next event with data, as a browser reads it; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        timeout(LIMIT, async {
            loop {
                while let Some((block, rest)) = self.rest.split_once("\n\n") {
                    let lines: Vec<(String, String)> = block
                        .lines()
                        .filter_map(|line| line.split_once(':'))
                        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                        .collect();
                    self.rest = rest.to_owned();
                    let of =
                        |wanted: &str| lines.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
                    self.id = of("id").unwrap_or(std::mem::take(&mut self.id));
                    if let Some(data) = of("data") {
                        return Some((of("event").unwrap(), serde_json::from_str(&data).unwrap()));
                    }
                }
                let frame = self.body.frame().await?.unwrap();
                self.rest.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
            }
        })
        .await
        .expect("the stream goes on or ends")
    }

    async fn expect(&mut self, kind: &str, title: &str) -> Value {
        let (found, task) = self.next().await.expect("the stream goes on");
        assert_eq!((found.as_str(), task["title"].as_str().unwrap_or_default()), (kind, title), "{task}");
        task
    }

    async fn expect_reload(&mut self) {
        assert_eq!(self.next().await, Some(("reload".to_owned(), json!({}))));
    }
}

/// Asks again after a 503, as clients do: on a machine with much to do, a connection of the pool may come too late.
async fn in_the_end<T, F: Future<Output = Result<T, StatusCode>>>(ask: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StatusCode::SERVICE_UNAVAILABLE) if began.elapsed() < LIMIT => {}
            Err(status) => panic!("{status}"),
        }
    }
}

async fn create_in_the_end(token: &str, app: &Router, title: &str) {
    in_the_end(|| async {
        let new = json!({"title": title});
        let (status, _) = send_as(token, app, Method::POST, "/api/tasks", Some(new)).await;
        if status == StatusCode::CREATED { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn titles_in_the_end(token: &str, app: &Router) -> HashSet<String> {
    in_the_end(|| async {
        let (status, tasks) = send_as(token, app, Method::GET, "/api/tasks", None).await;
        let title = |task: &Value| task["title"].as_str().unwrap().to_owned();
        if status == StatusCode::OK { Ok(tasks.as_array().unwrap().iter().map(title).collect()) } else { Err(status) }
    })
    .await
}

/// Waits until no older transaction runs, not even of other tests: then all changes are read at once.
async fn settle(pool: &PgPool) {
    let settled = async {
        loop {
            let is_settled: bool = sqlx::query_scalar(
                "SELECT max(transaction_id) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM task_changes",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if is_settled {
                return;
            }
        }
    };
    timeout(LIMIT, settled).await.expect("transactions end");
}

/// Another replica on the same database, whose heart beats fast.
async fn replica(config: &Config) -> (Readiness, Router, Arc<Changes>) {
    let readiness = Readiness::default();
    let mut backend = Backend::open(config, readiness.clone());
    backend.changes = Arc::new(Changes::new(backend.database.pool.clone(), 50));
    let changes = backend.changes.clone();
    backend.database.migrate().await.unwrap();
    (readiness, backend::app(backend, &[]), changes)
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn changes_of_every_replica_arrive_in_order() {
    with_database(async |config| {
        let (_, one) = migrated(&config).await;
        let (_, other, _) = replica(&config).await;
        let mut events = open("", &one, "").await.unwrap();
        events.expect_reload().await;
        let id = create(&one, "here").await;
        let task = events.expect("created", "here").await;
        assert_eq!((&task["id"], &task["version"], &task["tags"]), (&json!(id), &json!(1), &json!([])));
        let there = create(&other, "there").await;
        events.expect("created", "there").await;
        let path = format!("/api/tasks/{there}");
        send(&other, Method::PATCH, &path, Some(json!({"title": "changed"}))).await;
        assert_eq!(events.expect("updated", "changed").await["version"], 2);
        send(&one, Method::POST, &format!("{path}/complete"), None).await;
        assert_eq!(events.expect("updated", "changed").await["completed"], true);
        // This changes nothing, and nothing is said.
        send(&one, Method::POST, &format!("{path}/complete"), None).await;
        send(&other, Method::DELETE, &path, None).await;
        assert_eq!(events.next().await, Some(("deleted".to_owned(), json!({"id": there}))));
        send(&one, Method::POST, "/api/tasks/bulk", Some(json!({"action": "delete", "ids": [id]}))).await;
        assert_eq!(events.next().await, Some(("deleted".to_owned(), json!({"id": id}))));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn who_comes_again_has_missed_nothing_or_loads_the_list() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        let mut events = open("", &app, "").await.unwrap();
        events.expect_reload().await;
        create(&app, "seen").await;
        events.expect("created", "seen").await;
        let last = events.id.clone();
        drop(events);
        let gone = create(&app, "gone again").await;
        send(&app, Method::DELETE, &format!("/api/tasks/{gone}"), None).await;
        create(&app, "missed").await;

        let mut events = open("", &app, &last).await.unwrap();
        assert_eq!(events.next().await, Some(("deleted".to_owned(), json!({"id": gone}))));
        events.expect("created", "missed").await;
        create(&app, "next").await;
        events.expect("created", "next").await;
        let newest = events.id.clone();
        let mut events = open("", &app, &newest).await.unwrap();
        create(&app, "newest").await;
        events.expect("created", "newest").await;

        let parts: Vec<i64> = last.split('-').map(|part| part.parse().unwrap()).collect();
        let old = format!("{}-{}-{}", parts[0], parts[1], parts[2] - 51 * 60);
        let future = format!("{}-{}-{}", parts[0] + 1_000_000, parts[1], parts[2]);
        for lost in [old.as_str(), future.as_str(), "x", "1-2"] {
            open("", &app, lost).await.unwrap().expect_reload().await;
        }

        // As many as are sent at once, and one more.
        for (count, is_reload) in [(999, false), (1_000, true)] {
            let mut events = open("", &app, &newest).await.unwrap();
            events.expect("created", "newest").await;
            let before = events.id.clone();
            drop(events);
            sqlx::query("INSERT INTO tasks (title, user_id) SELECT 'many', 'local' FROM generate_series(1, $1)")
                .bind(count)
                .execute(&database.pool)
                .await
                .unwrap();
            settle(&database.pool).await;
            let mut events = open("", &app, &before).await.unwrap();
            if is_reload {
                events.expect_reload().await;
            } else {
                for _ in 0..count {
                    events.expect("created", "many").await;
                }
            }
            sqlx::query("DELETE FROM task_changes WHERE kind = 'created' AND task_id > $1")
                .bind(i32::try_from(gone).unwrap() + 3)
                .execute(&database.pool)
                .await
                .unwrap();
        }
    })
    .await;
}

/// Its number is lower than that of another which is done first: whoever took the highest number that he sees would
/// never see it.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_slow_transaction_is_not_left_behind() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let mut events = open("", &app, "").await.unwrap();
        events.expect_reload().await;
        let mut slow = PgConnection::connect_with(&config.database).await.unwrap();
        let mut transaction = slow.begin().await.unwrap();
        sqlx::query("INSERT INTO tasks (title, user_id) VALUES ('slow', 'local')")
            .execute(&mut *transaction)
            .await
            .unwrap();
        create(&app, "quick").await;
        // A stream that begins now must not begin after the slow one either.
        let mut later = open("", &app, "").await.unwrap();
        later.expect_reload().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        transaction.commit().await.unwrap();
        for events in [&mut events, &mut later] {
            events.expect("created", "slow").await;
            events.expect("created", "quick").await;
        }
    })
    .await;
}

/// Whoever opens a stream, then lists, then reads events knows of every task, whenever he comes and whoever comes with him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_list_and_what_comes_after_it_are_everything() {
    const USERS: usize = 8;
    const TASKS: usize = 30;
    with_database(async |config| {
        let config = Config { database_max_connections: 12, ..hs256(config) };
        let (_, one) = migrated(&config).await;
        let (_, other, _) = replica(&config).await;
        let mut tokens = Vec::new();
        for user in 0..USERS {
            tokens.push(sign_up(&one, &format!("user{user}@example.org")).await);
        }
        let users: Vec<_> = tokens
            .into_iter()
            .enumerate()
            .map(|(user, token)| {
                let (one, other) = (one.clone(), other.clone());
                tokio::spawn(async move {
                    let write = {
                        let (token, apps) = (token.clone(), [one.clone(), other]);
                        tokio::spawn(async move {
                            for number in 0..TASKS {
                                create_in_the_end(&token, &apps[number % 2], &number.to_string()).await;
                            }
                        })
                    };
                    // Everyone comes at another moment, some when all is written.
                    let mut known = HashSet::new();
                    let began = Instant::now();
                    while known.len() < user * 4 {
                        assert!(began.elapsed() < LIMIT, "only {} tasks are written", known.len());
                        // Without a pause the readers would keep the writers from the connections for seconds.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        known = titles_in_the_end(&token, &one).await;
                    }
                    let mut events = in_the_end(|| open(&token, &one, "")).await;
                    events.expect_reload().await;
                    known = titles_in_the_end(&token, &one).await;
                    while known.len() < TASKS {
                        let (_, task) = events.next().await.expect("the stream goes on");
                        known.insert(task["title"].as_str().unwrap().to_owned());
                    }
                    write.await.unwrap();
                })
            })
            .collect();
        for user in users {
            user.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn everyone_sees_his_own_until_his_session_ends() {
    with_database(async |config| {
        let config = hs256(config);
        let (_, app) = migrated(&config).await;
        let (_, app_with_heart, _) = replica(&config).await;
        let (ann, ben) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "ben@example.org").await);
        let mut hers = open(&ann, &app_with_heart, "").await.unwrap();
        hers.expect_reload().await;
        create_as(&ann, &app_with_heart, "before he came").await;
        let mut his = open(&ben, &app_with_heart, "").await.unwrap();
        his.expect_reload().await;
        create_as(&ben, &app_with_heart, "his").await;
        create_as(&ann, &app, "hers").await;
        his.expect("created", "his").await;
        hers.expect("created", "before he came").await;
        hers.expect("created", "hers").await;

        assert_eq!(send_as(&ann, &app, Method::POST, "/api/auth/sign-out", None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(hers.next().await, None);
        assert_eq!(open(&ann, &app, "").await.err(), Some(StatusCode::UNAUTHORIZED));
        create_as(&ben, &app, "still his").await;
        his.expect("created", "still his").await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn streams_are_bounded_and_end_with_the_service() {
    with_database(async |config| {
        let (readiness, app, _) = replica(&config).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(open("", &app, "").await.unwrap());
        }
        assert_eq!(open("", &app, "").await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
        streams.pop();
        streams.push(open("", &app, "").await.unwrap());
        // A heart that beats keeps the stream and says nothing.
        for events in &mut streams {
            events.expect_reload().await;
        }
        create(&app, "seen by all").await;
        for events in &mut streams {
            events.expect("created", "seen by all").await;
        }
        readiness.set_stopping();
        for events in &mut streams {
            assert_eq!(events.next().await, None);
        }
        // Who comes meanwhile is sent on at once, not refused: a browser would not come again.
        let mut late = open("", &app, "").await.unwrap();
        late.expect_reload().await;
        assert_eq!(late.next().await, None);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn changes_are_kept_for_an_hour() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        let (_, _, changes) = replica(&config).await;
        for (title, minutes) in [("young", 59), ("old", 61)] {
            let id = create(&app, title).await;
            sqlx::query("UPDATE task_changes SET created_at = now() - make_interval(mins => $1) WHERE task_id = $2")
                .bind(minutes)
                .bind(i32::try_from(id).unwrap())
                .execute(&database.pool)
                .await
                .unwrap();
        }
        assert_eq!(changes.prune().await.unwrap(), 1);
        let left: Vec<i32> =
            sqlx::query_scalar("SELECT task_id FROM task_changes").fetch_all(&database.pool).await.unwrap();
        assert_eq!(left, [1]);
    })
    .await;
}
