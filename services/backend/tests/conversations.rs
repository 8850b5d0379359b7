//! Conversations over a real PostgreSQL, with the built-in grammar and with a stand-in for a language model.

mod common;

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use backend::config::{AssistantConfig, Config, ProviderConfig, Secret};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use common::{create, hs256, migrated, send, send_as, sign_up, titles, titles_as, with_database};

const KEY: &str = "sentinel-key";

async fn begin(token: &str, app: &Router) -> String {
    let (status, conversation) = send_as(token, app, Method::POST, "/api/conversations", None).await;
    assert_eq!(status, StatusCode::CREATED, "{conversation}");
    format!("/api/conversations/{}", conversation["id"].as_i64().unwrap())
}

async fn say(token: &str, app: &Router, conversation: &str, content: &str) -> (StatusCode, Value) {
    let path = format!("{conversation}/messages");
    send_as(token, app, Method::POST, &path, Some(json!({"content": content}))).await
}

/// What was said, each with who said it.
async fn said(app: &Router, conversation: &str) -> Vec<String> {
    let (status, messages) = send(app, Method::GET, &format!("{conversation}/messages"), None).await;
    assert_eq!(status, StatusCode::OK, "{messages}");
    let messages = messages.as_array().unwrap().iter();
    messages.map(|message| format!("{}: {}", message["role"], message["content"])).collect()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_built_in_assistant_does_what_it_says() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let conversation = begin("", &app).await;
        let (status, exchange) = say("", &app, &conversation, " add buy milk !high ").await;
        assert_eq!(status, StatusCode::CREATED, "{exchange}");
        assert_eq!((&exchange["user"]["role"], &exchange["assistant"]["role"]), (&json!("user"), &json!("assistant")));
        assert_eq!(exchange["user"]["content"], "add buy milk !high");
        assert_eq!(exchange["assistant"]["content"], "Added 1 \"buy milk\".");
        for (words, wanted) in [
            ("add bread", "Added 2 \"bread\"."),
            ("list", "2: bread\n1: buy milk (high)"),
            ("done 1", "Done: 1 \"buy milk\"."),
            ("list all", "2: bread\n1: buy milk (high) (done)"),
            ("delete it", "Deleted 1 \"buy milk\"."),
            ("done 1", "There is no such task. \"list\" shows the numbers."),
            ("list done", "Nothing is done yet."),
            ("add eggs", "Added 3 \"eggs\"."),
            ("done", "Done: 3 \"eggs\"."),
        ] {
            let (_, exchange) = say("", &app, &conversation, words).await;
            assert_eq!(exchange["assistant"]["content"], wanted, "{words}");
        }
        assert_eq!(titles(&app, "?completed=true").await, ["eggs"]);
        assert_eq!(titles(&app, "?completed=false").await, ["bread"]);
        let (_, exchange) = say("", &app, &conversation, &format!("add {}", "x".repeat(201))).await;
        let answer = exchange["assistant"]["content"].as_str().unwrap();
        assert!(answer.starts_with("That can't be: title has 201"), "{answer}");
        // Another conversation remembers nothing of this one.
        let other = begin("", &app).await;
        let (_, exchange) = say("", &app, &other, "done").await;
        assert_eq!(exchange["assistant"]["content"], "That can't be: say which task, by its number.");
        assert_eq!(said(&app, &other).await.len(), 2);
        assert_eq!(said(&app, &conversation).await.len(), 22);
        assert_eq!(said(&app, &conversation).await[0], r#""user": "add buy milk !high""#);
        let (_, latest) = send(&app, Method::GET, &format!("{other}/messages?limit=1&offset=1"), None).await;
        assert_eq!((latest.as_array().unwrap().len(), &latest[0]["content"]), (1, &json!("done")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_conversation_is_its_users_alone() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let (ann, bob) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "bob@example.org").await);
        let conversation = begin(&ann, &app).await;
        say(&ann, &app, &conversation, "add ann's").await;
        let messages = format!("{conversation}/messages");
        for (method, path, body) in [
            (Method::GET, &conversation, None),
            (Method::GET, &messages, None),
            (Method::POST, &messages, Some(json!({"content": "add bob's"}))),
            (Method::DELETE, &conversation, None),
        ] {
            let (status, answer) = send_as(&bob, &app, method.clone(), path, body.clone()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {answer}");
            let (status, answer) = send_as("", &app, method.clone(), path, body).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}: {answer}");
        }
        assert_eq!(send_as(&bob, &app, Method::GET, "/api/conversations", None).await.1, json!([]));
        let own = begin(&bob, &app).await;
        let (_, exchange) = say(&bob, &app, &own, "done 1").await;
        assert_eq!(exchange["assistant"]["content"], "There is no such task. \"list\" shows the numbers.");
        assert!(titles_as(&bob, &app, "").await.is_empty());
        assert_eq!(titles_as(&ann, &app, "?completed=false").await, ["ann's"]);

        assert_eq!(send_as(&ann, &app, Method::DELETE, "/api/auth/user", None).await.0, StatusCode::NO_CONTENT);
        let left: Vec<i64> = sqlx::query_scalar(
            "SELECT count(*) FROM conversations UNION ALL SELECT count(*) FROM messages
             UNION ALL SELECT count(*) FROM agent_state",
        )
        .fetch_all(&database.pool)
        .await
        .unwrap();
        assert_eq!(left, [1, 2, 0], "bob's are kept");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn conversations_are_listed_read_and_deleted() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let (first, second) = (begin("", &app).await, begin("", &app).await);
        let (_, conversations) = send(&app, Method::GET, "/api/conversations?limit=1", None).await;
        let (_, latest) = send(&app, Method::GET, &second, None).await;
        assert_eq!(conversations, json!([latest]));
        assert_eq!(latest["user_id"], "local");
        say("", &app, &first, "help").await;
        assert_eq!(send(&app, Method::DELETE, &first, None).await.0, StatusCode::NO_CONTENT);
        for path in [first.clone(), format!("{first}/messages")] {
            assert_eq!(send(&app, Method::GET, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        for content in ["", "  ", "nul\0", &"x".repeat(4001)] {
            assert_eq!(say("", &app, &second, content).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{content:?}");
        }
        assert!(said(&app, &second).await.is_empty());
    })
    .await;
}

/// What the stand-in was sent, each with its `Authorization`.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A stand-in that gives the answers one after the other, and the configuration that leads to it.
async fn with_model(config: Config, answers: Vec<(u16, Value)>) -> (Config, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Asked::default();
    let (keep, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    let answer = async move |headers: HeaderMap, Json(body): Json<Value>| -> Response {
        keep.lock().unwrap().push((headers["authorization"].to_str().unwrap().to_owned(), body));
        let (status, answer) = answers.lock().unwrap().next().expect("no more is asked");
        (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
    };
    let model = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, model).await.unwrap() });
    let provider = ProviderConfig { name: "openai", url, key: Secret::new(KEY), model: "stand-in".to_owned() };
    (Config { assistant: AssistantConfig { provider: Some(provider) }, ..config }, asked)
}

fn message(message: Value) -> (u16, Value) {
    (200, json!({"choices": [{"index": 0, "message": message}]}))
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_language_model_gets_the_conversation_and_tools() {
    with_database(async |config| {
        let call = |id: &str, name: &str, arguments: &str| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        };
        let calls = [
            call("a", "add_task", r#"{"title": "milk", "priority": "low"}"#),
            call("b", "complete_task", r#"{"id": 1}"#),
            call("c", "drop_table", "{}"),
        ];
        let answers = vec![
            message(json!({"role": "assistant", "content": "Hello."})),
            message(json!({"role": "assistant", "content": null, "tool_calls": calls})),
            message(json!({"role": "assistant", "content": " It is on your list. "})),
        ];
        let (config, asked) = with_model(config, answers).await;
        let (_, app) = migrated(&config).await;
        create(&app, "bread").await;
        let conversation = begin("", &app).await;
        let (_, exchange) = say("", &app, &conversation, "add is a word").await;
        assert_eq!(exchange["assistant"]["content"], "Hello.");
        let (status, exchange) = say("", &app, &conversation, "I need milk, and have bread").await;
        assert_eq!(status, StatusCode::CREATED, "{exchange}");
        assert_eq!(exchange["assistant"]["content"], "It is on your list.");
        assert_eq!(titles(&app, "?completed=false").await, ["milk"]);
        assert_eq!(titles(&app, "?completed=true").await, ["bread"]);

        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|(authorization, body)| {
            authorization == "Bearer sentinel-key" && body["model"] == "stand-in" && body["tools"].is_array()
        }));
        let text: Vec<String> = asked[2].1["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| format!("{} {}", message["role"].as_str().unwrap(), message["content"]))
            .collect();
        assert!(text[0].starts_with("system"), "{text:?}");
        assert_eq!(
            text[1..7],
            [
                r#"user "add is a word""#,
                r#"assistant "Hello.""#,
                r#"user "I need milk, and have bread""#,
                "assistant null",
                r#"tool "Added 2 \"milk\".""#,
                r#"tool "Done: 1 \"bread\".""#,
            ]
        );
        assert!(text[7].starts_with("tool \"That call can't be carried out"), "{text:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_language_model_that_fails_is_reported_and_the_message_kept() {
    with_database(async |config| {
        let endless = message(json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "list_tasks", "arguments": "{}"}}
        ]}));
        let echo = json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}});
        let mut answers = vec![
            (401, echo),
            (429, json!({})),
            (500, json!({})),
            (200, json!({"choices": []})),
            (200, json!("no object")),
            message(json!({"role": "assistant", "content": " "})),
        ];
        answers.extend(std::iter::repeat_n(endless, 5));
        let (config, _) = with_model(config, answers).await;
        let (_, app) = migrated(&config).await;
        let conversation = begin("", &app).await;
        for wanted in
            ["answered 401", "asked too often", "answered 500", "no answer", "can't be read", "empty", "no end"]
        {
            let (status, answer) = say("", &app, &conversation, wanted).await;
            assert_eq!((status, &answer["code"]), (StatusCode::BAD_GATEWAY, &json!("assistant_failed")));
            let text = answer["detail"].as_str().unwrap();
            assert!(text.contains(wanted) && !text.contains(KEY), "{wanted}: {text}");
        }
        let kept = said(&app, &conversation).await;
        assert!(kept.len() == 7 && kept.iter().all(|message| message.starts_with("\"user\"")), "{kept:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_language_model_that_is_gone_is_reported() {
    with_database(async |config| {
        let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        // Over TLS as well, for which everything must be in place.
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{nowhere}/v1/chat/completions").parse().unwrap();
            let provider = ProviderConfig { name: "groq", url, key: Secret::new(KEY), model: "stand-in".to_owned() };
            let config = Config { assistant: AssistantConfig { provider: Some(provider) }, ..config.clone() };
            let (_, app) = migrated(&config).await;
            let conversation = begin("", &app).await;
            let (status, answer) = say("", &app, &conversation, "hello").await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains("can't be reached"), "{answer}");
        }
    })
    .await;
}
