//! Conversations over a real PostgreSQL, with the built-in grammar and with a stand-in for a language model.

mod common;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use common::{
    KEY, create, hs256, message, migrated, send, send_as, sign_up, stand_in_mcp, titles, titles_as, with_database,
    with_model, with_provider,
};

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
        assert_eq!(exchange["assistant"]["content"], "Added #1 \"buy milk\", high priority.");
        for (words, wanted) in [
            ("add bread", "Added #2 \"bread\"."),
            ("list", "2 open tasks:\n- #2 bread\n- #1 buy milk (high)"),
            ("done 1", "Done: #1 \"buy milk\"."),
            ("list all", "2 tasks:\n- #2 bread\n- #1 buy milk (high, done)"),
            ("delete it", "Which one do you mean: #2 \"bread\" or #1 \"buy milk\"?"),
            ("the milk one", "Deleted #1 \"buy milk\"."),
            ("done 1", "There is no task #1. \"list\" shows the numbers."),
            ("list done", "Nothing is done yet."),
            ("add eggs", "Added #3 \"eggs\"."),
            ("done", "Done: #3 \"eggs\"."),
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
        assert_eq!(exchange["assistant"]["content"], "Which task? Say its number or some words of its title.");
        assert_eq!(said(&app, &other).await.len(), 2);
        assert_eq!(said(&app, &conversation).await.len(), 24);
        assert_eq!(said(&app, &conversation).await[0], r#""user": "add buy milk !high""#);
    })
    .await;
}

/// What the assistant answers.
async fn answers(app: &Router, conversation: &str, said: &str) -> String {
    let (status, exchange) = say("", app, conversation, said).await;
    assert_eq!(status, StatusCode::CREATED, "{said}: {exchange}");
    exchange["assistant"]["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_built_in_assistant_understands_ordinary_english() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let conversation = begin("", &app).await;
        let answer = async |said: &str| answers(&app, &conversation, said).await;
        for (said, wanted) in [
            ("please add call mum on 24 Dec 2099 at 5pm #family, high priority and then list",
             "Added #1 \"call mum\", due Thu 24 Dec 2099 17:00, high priority, #family.\n1 open task:\n- #1 call mum (due Thu 24 Dec 2099 17:00, high, #family)"),
            ("done with mum and add eggs", "Done: #1 \"call mum\".\nAdded #2 \"eggs\"."),
            ("rename it to buy six eggs", "#2 is now \"buy six eggs\"; it was \"eggs\"."),
            ("mum is not done", "Open again: #1 \"call mum\"."),
            ("postpone mum by a week", "#1 \"call mum\" is now due Thu 31 Dec 2099 17:00."),
            ("no due date for mum", "#1 \"call mum\" is now without a due date."),
            ("set 1 to low and tag it calls", "#1 \"call mum\" is now of low priority.\n#1 \"call mum\" is now tagged calls."),
            ("how many are open?", "There are 2 open tasks."),
            ("what should I do next?", "Next: #2 \"buy six eggs\"; it has waited the longest."),
            ("show 1", "#1 \"call mum\", open, low priority, #calls, #family."),
            ("find eggs", "1 task with \"eggs\":\n- #2 buy six eggs"),
            ("add", "What shall I add? Say for example: buy milk"),
            ("oat milk", "Added #3 \"oat milk\"."),
            ("delete 2 and 3", "Delete 2 tasks: #2 \"buy six eggs\" and #3 \"oat milk\"? Say yes or no."),
            ("no", "All right, nothing is changed."),
            ("yes", "I didn't understand \"yes\". Try \"add buy milk tomorrow\", \"what is left?\" or \"done 3\"; \"help\" shows more."),
            ("delete everything", "Delete 3 tasks: #1 \"call mum\", #2 \"buy six eggs\" and #3 \"oat milk\"? Say yes or no."),
            ("yes, and add start over", "Deleted #1 \"call mum\", #2 \"buy six eggs\" and #3 \"oat milk\".\nAdded #4 \"start over\"."),
        ] {
            assert_eq!(answer(said).await, wanted, "{said}");
        }
        assert_eq!(titles(&app, "").await, ["start over"]);
        answer("add x\ny\nz").await;
        let (_, task) = send(&app, Method::GET, "/api/tasks/5", None).await;
        assert_eq!((&task["title"], &task["description"]), (&json!("x"), &json!("y\nz")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_assistant_takes_back_what_it_did_last() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let conversation = begin("", &app).await;
        for (said, wanted) in [
            ("undo", "There is nothing to take back."),
            ("add milk and add eggs", "Added #1 \"milk\".\nAdded #2 \"eggs\"."),
            ("what is left?", "2 open tasks:\n- #2 eggs\n- #1 milk"),
            ("undo", "#2 and #1 are gone again."),
            ("undo", "#1 \"milk\" and #2 \"eggs\" are again as they were."),
            ("delete everything", "Delete 2 tasks: #1 \"milk\" and #2 \"eggs\"? Say yes or no."),
            ("yes", "Deleted #1 \"milk\" and #2 \"eggs\"."),
            ("oops, undo that", "#1 \"milk\" and #2 \"eggs\" are again as they were."),
            (
                "done with milk and move eggs to 24 Dec 2099",
                "Done: #1 \"milk\".\n#2 \"eggs\" is now due Thu 24 Dec 2099.",
            ),
        ] {
            assert_eq!(answers(&app, &conversation, said).await, wanted, "{said}");
        }
        let (status, _) = send(&app, Method::PATCH, "/api/tasks/1", Some(json!({"title": "oat milk"}))).await;
        assert_eq!(status, StatusCode::OK);
        let wanted = "#2 \"eggs\" is again as it was. The rest was changed since and stays.";
        assert_eq!(answers(&app, &conversation, "undo").await, wanted);
        assert_eq!(titles(&app, "?completed=true").await, ["oat milk"]);
        let other = begin("", &app).await;
        assert_eq!(answers(&app, &other, "undo").await, "There is nothing to take back.");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn what_the_assistant_remembers_survives_a_change_of_release() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        let conversation = begin("", &app).await;
        for title in ["milk", "eggs"] {
            create(&app, title).await;
        }
        let id: i32 = conversation.rsplit('/').next().unwrap().parse().unwrap();
        // As the release before wrote it, and as one that comes may.
        for (state, said, wanted) in [
            (json!({"last_task": 1}), "done", "Done: #1 \"milk\"."),
            (json!({"spoken": [2], "pending": {"later": {}}, "undo": 3}), "done", "Done: #2 \"eggs\"."),
        ] {
            sqlx::query(
                "INSERT INTO agent_state (conversation_id, state) VALUES ($1, $2)
                 ON CONFLICT (conversation_id) DO UPDATE SET state = excluded.state",
            )
            .bind(id)
            .bind(&state)
            .execute(&database.pool)
            .await
            .unwrap();
            assert_eq!(answers(&app, &conversation, said).await, wanted, "{state}");
        }
        let last: Option<i32> = sqlx::query_scalar("SELECT (state->>'last_task')::integer FROM agent_state")
            .fetch_one(&database.pool)
            .await
            .unwrap();
        assert_eq!(last, Some(2), "the release before finds its own");
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
        assert_eq!(exchange["assistant"]["content"], "There is no task #1. \"list\" shows the numbers.");
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
        let (mcp_url, _) = stand_in_mcp().await;
        let (config, _) = with_model(config, mcp_url, answers).await;
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
            let (mcp_url, _) = stand_in_mcp().await;
            let (_, app) = migrated(&with_provider(config.clone(), url, mcp_url)).await;
            let conversation = begin("", &app).await;
            let (status, answer) = say("", &app, &conversation, "hello").await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains("can't be reached"), "{answer}");
        }
    })
    .await;
}
