//! Answers as they are streamed, over a real PostgreSQL: none is lost, and none is given twice. The limits only keep a
//! broken stream from hanging; no time is measured.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use backend::{Backend, config::Config};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use kit::serve::Readiness;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{sleep, timeout},
};
use tower::ServiceExt;

use common::{
    Asked, hs256, migrated, send, send_as, serve, sign_up, stand_in_mcp, titles, with_database, with_provider,
};

const LIMIT: Duration = Duration::from_secs(30);
const KEY: &str = "0b9f0c9e-53a2-4f0e-9d2d-3c1f6a7b8c9d";

async fn begin(app: &Router) -> String {
    let (_, conversation) = send(app, Method::POST, "/api/conversations", None).await;
    format!("/api/conversations/{}", conversation["id"].as_i64().unwrap())
}

struct Events {
    body: Body,
    rest: String,
}

/// Says something, and listens.
async fn listen(app: &Router, conversation: &str, message: Value) -> Events {
    let request = Request::post(format!("{conversation}/messages"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(Body::from(message.to_string()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events { body: response.into_body(), rest: String::new() }
}

impl Events {
    /// The next event; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        timeout(LIMIT, async {
            loop {
                if let Some((block, rest)) = self.rest.split_once("\n\n") {
                    let of = |name: &str| {
                        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                        lines.map(str::to_owned).next()
                    };
                    let event = of("event").map(|name| (name, serde_json::from_str(&of("data").unwrap()).unwrap()));
                    self.rest = rest.to_owned();
                    match event {
                        Some(event) => return Some(event),
                        None => continue,
                    }
                }
                let frame = self.body.frame().await?.unwrap();
                self.rest.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
            }
        })
        .await
        .expect("the stream goes on or ends")
    }

    async fn all(mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    async fn until(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next().await.expect("the stream goes on");
            if found == name {
                return data;
            }
        }
    }
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// The text of all parts.
fn text(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, data)| data["text"].as_str()).collect()
}

async fn kept(app: &Router, conversation: &str) -> Vec<Value> {
    let (_, messages) = send(app, Method::GET, &format!("{conversation}/messages"), None).await;
    messages.as_array().unwrap().clone()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn an_answer_is_streamed_with_what_was_done() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let conversation = begin(&app).await;
        let said = json!({"content": "add buy milk tomorrow and then list", "time_zone": "Europe/Berlin"});
        let events = listen(&app, &conversation, said).await.all().await;
        assert_eq!(names(&events), ["user", "tool_call", "delta", "delta", "assistant"]);
        let (call, answer) = (&events[1].1, &events[4].1);
        assert_eq!((&call["name"], &call["failed"]), (&json!("add_task"), &json!(false)));
        assert!(call["summary"].as_str().unwrap().starts_with("Added #1 \"buy milk\", due "), "{call}");
        assert_eq!(answer["content"], text(&events));
        assert_eq!((&answer["tool_calls"], &answer["stopped"]), (&json!([call]), &json!(false)));
        assert_eq!(kept(&app, &conversation).await, [events[0].1.clone(), answer.clone()]);
        let (_, task) = send(&app, Method::GET, "/api/tasks/1", None).await;
        assert_eq!(task["time_zone"], "Europe/Berlin");

        let undo = json!({"token": call["undo_token"]});
        let (status, answer) = send(&app, Method::POST, "/api/tasks/undo", Some(undo)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(titles(&app, "").await.is_empty());
        for wrong in [
            json!({"content": "list", "time_zone": "Europe/Nowhere"}),
            json!({"content": "list", "key": ""}),
            json!({"content": "list", "key": "two words"}),
        ] {
            let (status, _) = send(&app, Method::POST, &format!("{conversation}/messages"), Some(wrong.clone())).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        }
        assert_eq!(kept(&app, &conversation).await.len(), 2);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_message_that_is_sent_again_is_not_said_again() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let conversation = begin(&app).await;
        let said = json!({"content": "add milk", "key": KEY});
        let mut lost = listen(&app, &conversation, said.clone()).await;
        lost.next().await;
        drop(lost);
        let first = listen(&app, &conversation, said.clone()).await.all().await;
        let again = listen(&app, &conversation, said.clone()).await.all().await;
        assert_eq!(first.last(), again.last());
        let path = format!("{conversation}/messages");
        let (status, exchange) = send(&app, Method::POST, &path, Some(said)).await;
        assert_eq!((status, &exchange["assistant"]), (StatusCode::CREATED, &first.last().unwrap().1));
        assert_eq!(titles(&app, "").await, ["milk"]);
        assert_eq!(kept(&app, &conversation).await.len(), 2);
        let other = json!({"content": "add eggs", "key": KEY});
        let (status, answer) = send(&app, Method::POST, &path, Some(other.clone())).await;
        assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("key_taken")));
        // A key is of one conversation.
        let elsewhere = begin(&app).await;
        assert_eq!(
            send(&app, Method::POST, &format!("{elsewhere}/messages"), Some(other)).await.0,
            StatusCode::CREATED
        );
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn conversations_are_named_searched_and_ordered_by_what_was_said_last() {
    with_database(async |config| {
        let (_, app) = migrated(&hs256(config)).await;
        let (ann, bob) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "bob@example.org").await);
        let as_ann =
            async |method: Method, path: &str, body: Option<Value>| send_as(&ann, &app, method, path, body).await;
        let mut paths = Vec::new();
        for said in ["Add milk\nand more", "help"] {
            let (_, conversation) = as_ann(Method::POST, "/api/conversations", None).await;
            assert_eq!(conversation["title"], Value::Null);
            paths.push(format!("/api/conversations/{}", conversation["id"]));
            as_ann(Method::POST, &format!("{}/messages", paths.last().unwrap()), Some(json!({"content": said}))).await;
        }
        let listed = async |query: &str| -> Vec<String> {
            let (_, found) = as_ann(Method::GET, &format!("/api/conversations{query}"), None).await;
            found.as_array().unwrap().iter().map(|found| found["title"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed("").await, ["help", "Add milk"]);
        let (status, named) = as_ann(Method::PATCH, &paths[1], Some(json!({"title": " Wish list "}))).await;
        assert_eq!((status, &named["title"]), (StatusCode::OK, &json!("Wish list")));
        as_ann(Method::POST, &format!("{}/messages", paths[0]), Some(json!({"content": "list"}))).await;
        assert_eq!(listed("").await, ["Add milk", "Wish list"]);
        for (query, wanted) in [("?q=WISH", &["Wish list"][..]), ("?q=and%20more", &["Add milk"]), ("?q=%25", &[])] {
            assert_eq!(listed(query).await, wanted, "{query}");
        }
        assert_eq!(as_ann(Method::PATCH, &paths[1], Some(json!({"title": null}))).await.1["title"], "help");
        for wrong in [json!({}), json!({"title": " "}), json!({"title": "x".repeat(201)}), json!({"title": "a\nb"})] {
            let (status, _) = as_ann(Method::PATCH, &paths[1], Some(wrong.clone())).await;
            assert!(status.is_client_error(), "{wrong}");
        }
        for path in [paths[1].clone(), format!("{}/stop", paths[1])] {
            let (method, body) = if path.ends_with("stop") {
                (Method::POST, None)
            } else {
                (Method::PATCH, Some(json!({"title": "x"})))
            };
            assert_eq!(send_as(&bob, &app, method, &path, body).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(listed("").await, ["Add milk", "help"]);
    })
    .await;
}

/// What the stand-in for a language model does with each question, in turn.
enum Turn {
    /// These pieces, and then the end.
    Pieces(Vec<Value>),
    /// These pieces, and when the test says so it breaks off.
    Breaks(Vec<Value>),
    /// These pieces, and when the test says so the end.
    Hangs(Vec<Value>),
}

async fn with_model(config: Config, turns: Vec<Turn>) -> (Config, UnboundedSender<()>, Asked) {
    let (go, waits) = unbounded_channel::<()>();
    let waits = Arc::new(tokio::sync::Mutex::new(waits));
    let turns = Arc::new(Mutex::new(turns.into_iter()));
    let answer = async move |_: HeaderMap, _: Bytes| -> Response {
        let (pieces, waits, end) = match turns.lock().unwrap().next().expect("no more is asked") {
            Turn::Pieces(pieces) => (pieces, None, Ok("data: [DONE]\n\n".to_owned())),
            Turn::Breaks(pieces) => (pieces, Some(waits.clone()), Err(std::io::Error::other("gone"))),
            Turn::Hangs(pieces) => (pieces, Some(waits.clone()), Ok("data: [DONE]\n\n".to_owned())),
        };
        let pieces = stream::iter(pieces).map(|piece| Ok(format!("data: {piece}\n\n")));
        let end = stream::once(async move {
            if let Some(waits) = waits {
                waits.lock().await.recv().await;
            }
            end
        });
        ([("content-type", "text/event-stream; charset=utf-8")], Body::from_stream(pieces.chain(end))).into_response()
    };
    let url = serve(Router::new().route("/v1/chat/completions", post(answer))).await;
    let (mcp_url, calls) = stand_in_mcp().await;
    (with_provider(config, format!("{url}/v1/chat/completions").parse().unwrap(), mcp_url), go, calls)
}

fn words(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}}]})
}

fn call(name: &str, arguments: &str) -> Value {
    let call = json!({"index": 0, "id": "a", "type": "function", "function": {"name": name, "arguments": arguments}});
    json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_language_model_is_streamed_as_it_speaks() {
    with_database(async |config| {
        let turns = vec![
            Turn::Pieces(vec![words("One moment."), call("add_task", r#"{"title": "milk"}"#)]),
            Turn::Hangs(vec![words("It is "), words("on your list.")]),
        ];
        let (config, go, _) = with_model(config, turns).await;
        let (_, app) = migrated(&config).await;
        let conversation = begin(&app).await;
        let mut events = listen(&app, &conversation, json!({"content": "milk please"})).await;
        assert_eq!(events.until("tool_call").await["summary"], "Used add_task.");
        events.until("delta").await;
        // Said before the model has ended.
        assert_eq!(events.until("delta").await["text"], "on your list.");
        go.send(()).unwrap();
        assert_eq!(events.until("assistant").await["content"], "One moment.\n\nIt is on your list.");
        assert!(events.next().await.is_none());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_language_model_that_breaks_off_is_reported_and_nothing_is_done_twice() {
    with_database(async |config| {
        let turns = vec![
            Turn::Breaks(vec![words("I will")]),
            Turn::Pieces(vec![call("add_task", r#"{"title": "milk"}"#)]),
            Turn::Breaks(vec![]),
        ];
        let (config, go, calls) = with_model(config, turns).await;
        let (_, app) = migrated(&config).await;
        let conversation = begin(&app).await;
        let said = json!({"content": "milk please", "key": KEY});
        let mut events = listen(&app, &conversation, said.clone()).await;
        events.until("delta").await;
        go.send(()).unwrap();
        let (name, problem) = events.next().await.unwrap();
        assert_eq!((name.as_str(), &problem["code"]), ("error", &json!("assistant_failed")));
        assert!(problem["detail"].as_str().unwrap().contains("broke off"), "{problem}");
        assert!(events.next().await.is_none());
        go.send(()).unwrap();
        // Nothing was done, so that it may be tried again; then something was.
        let events = listen(&app, &conversation, said.clone()).await.all().await;
        let answer = &events.last().unwrap().1;
        assert_eq!((&answer["stopped"], &answer["tool_calls"][0]["name"]), (&json!(true), &json!("add_task")));
        assert!(answer["content"].as_str().unwrap().starts_with("I could not finish: the language model"), "{answer}");
        assert_eq!(listen(&app, &conversation, said).await.all().await.last().unwrap().1, *answer);
        assert_eq!(calls.lock().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_stop_ends_an_answer_whichever_replica_hears_of_it() {
    with_database(async |config| {
        let hang = |text: &str| Turn::Hangs(vec![words(text)]);
        let (config, _go, _) = with_model(config, vec![hang("Once"), hang("Twice")]).await;
        let (_, app) = migrated(&config).await;
        let (_, other) = migrated(&config).await;
        let conversation = begin(&app).await;
        for (replica, wanted) in [(&app, "Once"), (&other, "Twice")] {
            let mut events = listen(&app, &conversation, json!({"content": "tell me a story"})).await;
            events.until("delta").await;
            let (status, _) = send(replica, Method::POST, &format!("{conversation}/stop"), None).await;
            assert_eq!(status, StatusCode::NO_CONTENT);
            let answer = events.until("assistant").await;
            assert_eq!((&answer["content"], &answer["stopped"]), (&json!(wanted), &json!(true)));
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn another_replica_has_the_same_answer_and_says_so_when_its_replica_is_gone() {
    with_database(async |config| {
        let (config, go, _) = with_model(config, vec![Turn::Hangs(vec![words("Hello.")])]).await;
        let (database, app) = migrated(&config).await;
        let (_, other) = migrated(&config).await;
        let conversation = begin(&app).await;
        let said = json!({"content": "hello", "key": KEY});
        let mut here = listen(&app, &conversation, said.clone()).await;
        here.until("delta").await;
        let mut there = listen(&other, &conversation, said).await;
        there.until("user").await;
        go.send(()).unwrap();
        let answer = here.until("assistant").await;
        assert_eq!(there.until("assistant").await, answer);
        assert_eq!(kept(&app, &conversation).await.len(), 2);

        // As a replica leaves it that is killed.
        let id: i32 = insert_unanswered(&database.pool, &conversation, "-1 second").await;
        let events = listen(&other, &conversation, json!({"content": "add eggs", "key": "gone"})).await.all().await;
        assert_eq!((names(&events), &events[0].1["id"]), (vec!["user", "assistant"], &json!(id)));
        assert!(events[1].1["content"].as_str().unwrap().starts_with("The answer was cut off."), "{events:?}");
        assert!(titles(&app, "").await.is_empty());
    })
    .await;
}

/// A replica with which a message hardly waits for others.
async fn hurried(config: &Config) -> Router {
    let backend = Backend::open(config, Readiness::default());
    backend.database.migrate().await.unwrap();
    backend::app(Backend { turn_timeout: Duration::from_millis(1), ..backend }, &[])
}

async fn say(app: &Router, conversation: &str, message: Value) -> (StatusCode, Value) {
    send(app, Method::POST, &format!("{conversation}/messages"), Some(message)).await
}

/// Who said what.
fn talk(messages: &[Value]) -> Vec<(&str, &str)> {
    messages.iter().map(|one| (one["role"].as_str().unwrap(), one["content"].as_str().unwrap())).collect()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn messages_at_once_are_answered_one_after_the_other() {
    with_database(async |config| {
        let turns = vec![
            Turn::Hangs(vec![words("First.")]),
            Turn::Pieces(vec![words("Second.")]),
            Turn::Pieces(vec![words("Third.")]),
        ];
        let (config, go, _) = with_model(config, turns).await;
        let (_, app) = migrated(&config).await;
        let (_, other) = migrated(&config).await;
        let conversation = begin(&app).await;
        let mut first = listen(&app, &conversation, json!({"content": "one"})).await;
        first.until("delta").await;
        // Another tab, and one that came to another replica.
        let at_once = [(app.clone(), "two"), (other, "three")].map(|(app, content)| {
            let conversation = conversation.clone();
            tokio::spawn(async move { say(&app, &conversation, json!({"content": content, "key": content})).await })
        });
        sleep(Duration::from_millis(500)).await;
        assert_eq!(talk(&kept(&app, &conversation).await), [("user", "one")]);
        go.send(()).unwrap();
        let mut said = Vec::new();
        for answered in at_once {
            let (status, exchange) = timeout(LIMIT, answered).await.expect("it is answered").unwrap();
            assert_eq!(status, StatusCode::CREATED, "{exchange}");
            said.push(exchange);
        }
        said.sort_by_key(|exchange| exchange["user"]["id"].as_i64());
        let messages = kept(&app, &conversation).await;
        let wanted: Vec<Value> = said.iter().flat_map(|one| [one["user"].clone(), one["assistant"].clone()]).collect();
        assert_eq!(messages[2..], wanted);
        let answers: Vec<&str> = talk(&messages).iter().skip(1).step_by(2).map(|(_, content)| *content).collect();
        assert_eq!(answers, ["First.", "Second.", "Third."]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_message_that_waits_too_long_is_refused_and_not_kept() {
    with_database(async |config| {
        let turns = vec![Turn::Hangs(vec![words("First.")]), Turn::Pieces(vec![words("Second.")])];
        let (config, go, _) = with_model(config, turns).await;
        let (database, _) = migrated(&config).await;
        let (app, other) = (hurried(&config).await, hurried(&config).await);
        let conversation = begin(&app).await;
        let one = json!({"content": "one", "key": KEY});
        let mut first = listen(&app, &conversation, one.clone()).await;
        first.until("delta").await;
        let two = json!({"content": "two"});
        for replica in [&app, &other] {
            let (status, problem) = say(replica, &conversation, two.clone()).await;
            assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conversation_busy")), "{problem}");
            // Who has lost the first answer waits for no turn.
            listen(replica, &conversation, one.clone()).await.until("user").await;
        }
        assert_eq!(talk(&kept(&app, &conversation).await), [("user", "one")]);
        // Another conversation is no concern of it.
        let elsewhere = begin(&app).await;
        assert_eq!(say(&app, &elsewhere, two.clone()).await.0, StatusCode::CREATED);
        go.send(()).unwrap();
        first.until("assistant").await;

        // Of a replica that is at it, and of one that is gone.
        let id = insert_unanswered(&database.pool, &elsewhere, "20 seconds").await;
        assert_eq!(say(&other, &elsewhere, two.clone()).await.0, StatusCode::CONFLICT);
        let gone = sqlx::query("UPDATE messages SET answered_by = now() - interval '1 second' WHERE id = $1");
        gone.bind(id).execute(&database.pool).await.unwrap();
        let (status, problem) = say(&other, &elsewhere, two).await;
        // The stand-in has no answer for it, but it is asked.
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_GATEWAY, &json!("assistant_failed")), "{problem}");
    })
    .await;
}

async fn insert_unanswered(pool: &PgPool, conversation: &str, answered_by: &str) -> i32 {
    sqlx::query_scalar(
        "INSERT INTO messages (conversation_id, role, content, key, answered_by)
         VALUES ($1, 'user', 'add eggs', 'gone', now() + $2::text::interval) RETURNING id",
    )
    .bind(conversation.rsplit('/').next().unwrap().parse::<i32>().unwrap())
    .bind(answered_by)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_release_before_writes_messages_into_the_new_schema() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        let conversation = begin(&app).await;
        let id: i32 = conversation.rsplit('/').next().unwrap().parse().unwrap();
        sqlx::query("UPDATE conversations SET updated_at = '2020-01-01'").execute(&database.pool).await.unwrap();
        sqlx::query(
            "INSERT INTO messages (conversation_id, role, content)
             SELECT id, 'assistant', 'Hello.' FROM conversations WHERE id = $1 AND user_id = 'local'",
        )
        .bind(id)
        .execute(&database.pool)
        .await
        .unwrap();
        let messages = kept(&app, &conversation).await;
        assert_eq!((&messages[0]["tool_calls"], &messages[0]["stopped"]), (&json!([]), &json!(false)));
        let (_, found) = send(&app, Method::GET, &conversation, None).await;
        assert!(!found["updated_at"].as_str().unwrap().starts_with("2020"), "{found}");
    })
    .await;
}
