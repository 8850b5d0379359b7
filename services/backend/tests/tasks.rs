//! What tasks have and what can be done to them, over a real PostgreSQL.

mod common;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use backend::config::Config;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use common::{create, create_as, hs256, migrated, send, send_as, send_with, sign_up, titles, with_database, write_as};

async fn post(app: &Router, path: &str, body: Value) -> (StatusCode, Value) {
    send(app, Method::POST, path, Some(body)).await
}

async fn patch(app: &Router, id: i64, body: Value) -> (StatusCode, Value) {
    send(app, Method::PATCH, &format!("/api/tasks/{id}"), Some(body)).await
}

async fn read(app: &Router, id: i64) -> Value {
    send(app, Method::GET, &format!("/api/tasks/{id}"), None).await.1
}

async fn undo(app: &Router, token: &str) -> (StatusCode, Value) {
    post(app, "/api/tasks/undo", json!({"token": token})).await
}

fn code(answer: &Value) -> &str {
    answer["code"].as_str().unwrap_or_default()
}

fn message(answer: &Value) -> &str {
    answer["detail"].as_str().unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_task_is_due_on_a_day_or_at_a_time_in_its_zone() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let whole_day =
            json!({"title": "x", "due_on": "2026-12-24", "time_zone": "Europe/Berlin", "tags": ["Home", "home"]});
        let (status, task) = post(&app, "/api/tasks", whole_day).await;
        assert_eq!(status, StatusCode::CREATED, "{task}");
        let due = |task: &Value| ["due_on", "due_time", "time_zone", "due_at"].map(|name| task[name].clone());
        // It is overdue when the day is over there, where it is an hour later than in UTC.
        let wanted = [json!("2026-12-24"), Value::Null, json!("Europe/Berlin"), json!("2026-12-24T23:00:00Z")];
        assert_eq!(due(&task), wanted);
        assert_eq!((&task["tags"], &task["version"]), (&json!(["home"]), &json!(1)));
        let id = task["id"].as_i64().unwrap();

        let (_, task) = patch(&app, id, json!({"due_time": "17:05"})).await;
        let wanted = [json!("2026-12-24"), json!("17:05"), json!("Europe/Berlin"), json!("2026-12-24T16:05:00Z")];
        assert_eq!(due(&task), wanted);
        // In summer it is two hours.
        let (_, task) = patch(&app, id, json!({"due_on": "2026-07-01"})).await;
        assert_eq!(task["due_at"], "2026-07-01T15:05:00Z");
        let (_, task) = patch(&app, id, json!({"due_on": null})).await;
        assert_eq!(due(&task), [Value::Null, Value::Null, json!("Europe/Berlin"), Value::Null]);
        assert_eq!(task["version"], 4);

        let (_, task) = post(&app, "/api/tasks", json!({"title": "plain"})).await;
        assert_eq!(due(&task), [Value::Null, Value::Null, json!("UTC"), Value::Null]);
        for (body, wanted) in [
            (json!({"due_time": "10:00"}), "due_time needs due_on; give the day as well"),
            (json!({"due_on": "soon"}), "due_on is not a day, YYYY-MM-DD as in 2026-12-24"),
            (json!({"due_on": "3000-01-01"}), "due_on is not in the years 1970 to 2999"),
            (
                json!({"due_on": "2026-01-01", "time_zone": "Europe/Nowhere"}),
                "time_zone is not a zone of the IANA, as Europe/Berlin is",
            ),
            (json!({"time_zone": "Europe/Nowhere"}), "time_zone is not a zone of the IANA, as Europe/Berlin is"),
            (json!({"tags": ["a,b"]}), "a tag holds a comma or a control character; use other ones"),
        ] {
            let (status, answer) = patch(&app, id, body.clone()).await;
            assert_eq!((status, message(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{body}");
            let mut new = body.clone();
            new["title"] = json!("x");
            let (status, answer) = post(&app, "/api/tasks", new).await;
            assert_eq!((status, message(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{body}");
        }
        // The edges of what is kept.
        let tags: Vec<String> = (0..20).map(|number| format!("{number:0>50}")).collect();
        for day in ["1970-01-01", "2999-12-31"] {
            let (status, task) = patch(&app, id, json!({"due_on": day, "due_time": "23:59", "tags": tags})).await;
            assert_eq!((status, &task["due_on"], &task["tags"]), (StatusCode::OK, &json!(day), &json!(tags)));
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn lists_are_filtered_searched_and_sorted() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        for task in [
            json!({"title": "late", "due_on": "2020-01-01", "priority": "low", "tags": ["home"]}),
            json!({"title": "50% oat_milk", "description": "From the Shop", "due_on": "2999-01-01", "tags": ["home", "shop"]}),
            json!({"title": "never", "priority": "high"}),
            json!({"title": "late and done", "due_on": "2020-01-02", "priority": "high"}),
        ] {
            let (status, answer) = post(&app, "/api/tasks", task).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
        send(&app, Method::POST, "/api/tasks/4/complete", None).await;
        let milk = "50% oat_milk";
        for (query, wanted) in [
            ("", &["late and done", "never", milk, "late"][..]),
            ("sort=created&limit=1", &["late and done"]),
            ("sort=position", &["late and done", "never", milk, "late"]),
            ("sort=due", &["late", "late and done", milk, "never"]),
            ("sort=priority", &["late and done", "never", milk, "late"]),
            ("priority=high&completed=false", &["never"]),
            ("tag=home", &[milk, "late"]),
            ("tag=home,SHOP", &[milk]),
            ("tag=,home,", &[milk, "late"]),
            ("due_before=2020-01-02", &["late"]),
            ("due_after=2020-01-01", &["late and done", milk]),
            ("due_after=2020-01-01&due_before=2020-01-03", &["late and done"]),
            ("overdue=true", &["late"]),
            ("overdue=false", &["late and done", "never", milk]),
            ("q=OAT%20shop", &[milk]),
            ("q=oat%20never", &[]),
            ("q=50%25", &[milk]),
            ("q=%25", &[milk]),
            ("q=_", &[milk]),
            ("q=%5C", &[]),
            ("q=", &["late and done", "never", milk, "late"]),
        ] {
            assert_eq!(titles(&app, &format!("?{query}")).await, wanted, "{query}");
        }
        for (query, wanted) in [
            ("sort=title", 400),
            ("priority=urgent", 400),
            ("overdue=maybe", 400),
            ("due_before=tomorrow", 422),
            ("tag=%00", 422),
            ("q=%00", 422),
        ] {
            assert_eq!(send(&app, Method::GET, &format!("/api/tasks?{query}"), None).await.0.as_u16(), wanted, "{query}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_stale_write_gets_the_task_as_it_is() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        let id = create(&app, "milk").await;
        let path = format!("/api/tasks/{id}");
        let json = ("content-type", "application/json");
        let (_, headers, _) = send_with(&app, Method::GET, &path, &[], "").await;
        assert_eq!(headers["etag"], "\"1\"");
        let body = r#"{"title": "oat milk"}"#;
        let (status, headers, _) = send_with(&app, Method::PATCH, &path, &[json, ("if-match", "\"1\"")], body).await;
        assert_eq!((status, &headers["etag"]), (StatusCode::OK, &"\"2\"".parse().unwrap()));
        for (method, path, body) in [
            (Method::PATCH, path.clone(), r#"{"title": "soy milk"}"#),
            (Method::DELETE, path.clone(), ""),
            (Method::POST, format!("{path}/complete"), ""),
            (Method::POST, format!("{path}/move"), r#"{"to": "last"}"#),
        ] {
            let (status, _, answer) =
                send_with(&app, method.clone(), &path, &[json, ("if-match", "\"1\"")], body).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "stale"), "{method} {path}");
            let current = &answer["current"];
            assert_eq!((&current["title"], &current["version"]), (&json!("oat milk"), &json!(2)), "{answer}");
            assert_eq!(message(&answer), "the task was changed meanwhile; its version is now 2");
        }
        // What is so already is no conflict.
        let (status, _, _) =
            send_with(&app, Method::POST, &format!("{path}/reopen"), &[("if-match", "\"1\"")], "").await;
        assert_eq!(status, StatusCode::OK);
        let (status, _, _) = send_with(&app, Method::DELETE, &path, &[("if-match", "soon")], "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(read(&app, id).await["version"], 2);
        let (status, _, _) = send_with(&app, Method::DELETE, &path, &[("if-match", "\"2\"")], "").await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let (status, _, _) = send_with(&app, Method::DELETE, &path, &[("if-match", "\"2\"")], "").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn writes_at_the_same_time_neither_overwrite_nor_block_one_another() {
    with_database(async |config| {
        let (database, app) = migrated(&Config { database_max_connections: 12, ..config }).await;
        let id = create(&app, "wanted by all").await;
        let same_version: Vec<_> = (0..8)
            .map(|number| {
                let app = app.clone();
                tokio::spawn(async move {
                    let headers = [("content-type", "application/json"), ("if-match", "\"1\"")];
                    let body = json!({"title": number.to_string()}).to_string();
                    send_with(&app, Method::PATCH, &format!("/api/tasks/{id}"), &headers, body).await.0
                })
            })
            .collect();
        let mut won = 0;
        for write in same_version {
            match write.await.unwrap() {
                StatusCode::OK => won += 1,
                other => assert_eq!(other, StatusCode::CONFLICT),
            }
        }
        assert_eq!((won, &read(&app, id).await["version"]), (1, &json!(2)));

        // Each wants the others' rows, in another order; a move that numbers all anew, too.
        for title in ["b", "c", "d", "e", "f"] {
            create(&app, title).await;
        }
        let ids: Vec<i64> = (1..=6).collect();
        let backwards: Vec<i64> = ids.iter().rev().copied().collect();
        let many: Vec<_> = (0..24)
            .map(|number| {
                let (app, pool) = (app.clone(), database.pool.clone());
                let ids = if number % 2 == 0 { ids.clone() } else { backwards.clone() };
                tokio::spawn(async move {
                    if number % 3 == 0 {
                        sqlx::query("UPDATE tasks SET position = 1 WHERE id = 5").execute(&pool).await.unwrap();
                        sqlx::query("UPDATE tasks SET position = 1 WHERE id = 6").execute(&pool).await.unwrap();
                        return post(&app, "/api/tasks/4/move", json!({"after": 6})).await;
                    }
                    let change = json!({"title": number.to_string()});
                    post(&app, "/api/tasks/bulk", json!({"action": "update", "ids": ids, "change": change})).await
                })
            })
            .collect();
        for write in many {
            let (status, answer) = write.await.unwrap();
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn tasks_are_ordered_by_hand() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        for title in ["a", "b", "c", "d"] {
            create(&app, title).await;
        }
        let order = async || titles(&app, "?sort=position").await.join("");
        let go = async |id: i64, body: Value| {
            let (status, task) = post(&app, &format!("/api/tasks/{id}/move"), body).await;
            assert_eq!(status, StatusCode::OK, "{task}");
        };
        let (a, b, c, d) = (1, 2, 3, 4);
        assert_eq!(order().await, "dcba");
        go(a, json!({"to": "first"})).await;
        assert_eq!(order().await, "adcb");
        go(d, json!({"to": "last"})).await;
        assert_eq!(order().await, "acbd");
        go(d, json!({"before": c})).await;
        assert_eq!(order().await, "adcb");
        go(a, json!({"after": c})).await;
        assert_eq!(order().await, "dcab");
        go(b, json!({"after": a})).await;
        assert_eq!(order().await, "dcab");
        go(a, json!({"before": b})).await;
        assert_eq!(order().await, "dcab");
        create(&app, "e").await;
        assert_eq!(order().await, "edcab");

        // Between two whose numbers leave no room, and between equal ones: all are numbered anew.
        for positions in ["1, 1.0000000000000002", "1, 1"] {
            let (lower, upper) = positions.split_once(", ").unwrap();
            for (id, position) in [(a, lower), (b, upper), (c, "5"), (d, "6"), (5, "7")] {
                sqlx::query("UPDATE tasks SET position = $2::text::double precision WHERE id = $1")
                    .bind(i32::try_from(id).unwrap())
                    .bind(position)
                    .execute(&database.pool)
                    .await
                    .unwrap();
            }
            let between = if lower == upper { (json!({"after": b}), "bdace") } else { (json!({"after": a}), "adbce") };
            go(d, between.0).await;
            assert_eq!(order().await, between.1);
        }
        let moved = write_as("", &app, Method::POST, "/api/tasks/5/move", json!({"to": "first"})).await;
        assert_eq!(order().await, "ebdac");
        assert_eq!(undo(&app, &moved.1).await.0, StatusCode::OK);
        assert_eq!(order().await, "bdace");

        for (body, wanted) in [
            (json!({}), 422),
            (json!({"before": 2, "after": 3}), 422),
            (json!({"before": 1}), 422),
            (json!({"to": "middle"}), 422),
            (json!({"before": 99}), 404),
        ] {
            assert_eq!(post(&app, "/api/tasks/1/move", body.clone()).await.0.as_u16(), wanted, "{body}");
        }
        assert_eq!(post(&app, "/api/tasks/99/move", json!({"to": "first"})).await.0, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn what_was_done_can_be_undone() {
    with_database(async |config| {
        let (database, app) = migrated(&config).await;
        let new = json!({"title": "milk", "description": "two", "due_on": "2026-12-24", "due_time": "10:00",
            "time_zone": "Europe/Berlin", "tags": ["shop"], "priority": "high"});
        let (task, created) = write_as("", &app, Method::POST, "/api/tasks", new).await;
        let id = task["id"].as_i64().unwrap();
        let path = format!("/api/tasks/{id}");
        let as_it_was = |answer: &Value| {
            let mut answer = answer.clone();
            for name in ["updated_at", "version"] {
                answer[name] = Value::Null;
            }
            answer
        };
        let change = json!({"title": "x", "description": null, "due_on": null, "tags": [], "priority": "low"});
        for (method, path, body) in [
            (Method::PATCH, path.clone(), change),
            (Method::POST, format!("{path}/complete"), Value::Null),
            (Method::DELETE, path.clone(), Value::Null),
            (Method::POST, format!("{path}/move"), json!({"to": "last"})),
        ] {
            let (_, token) = write_as("", &app, method.clone(), &path, body).await;
            let (status, answer) = undo(&app, &token).await;
            assert_eq!(status, StatusCode::OK, "{method} {path}: {answer}");
            assert_eq!(as_it_was(&answer["tasks"][0]), as_it_was(&task), "{method} {path}");
            assert_eq!(as_it_was(&read(&app, id).await), as_it_was(&task), "{method} {path}");
            // Once is enough.
            let (status, answer) = undo(&app, &token).await;
            assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "changed_since"), "{method} {path}");
        }
        // A version never comes twice, not even after a deletion.
        assert_eq!(read(&app, id).await["version"], 8);

        // What changes nothing leaves nothing to undo.
        let (_, token) = write_as("", &app, Method::POST, &format!("{path}/reopen"), Value::Null).await;
        assert_eq!(token, "");

        let (_, token) = write_as("", &app, Method::PATCH, &path, json!({"title": "first"})).await;
        let (_, later) = write_as("", &app, Method::PATCH, &path, json!({"title": "second"})).await;
        let (status, answer) = undo(&app, &token).await;
        assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "changed_since"));
        assert_eq!(read(&app, id).await["title"], "second");
        // And what was undone is done again.
        let (_, again) = write_as("", &app, Method::POST, "/api/tasks/undo", json!({"token": later})).await;
        assert_eq!(read(&app, id).await["title"], "first");
        assert_eq!(undo(&app, &again).await.0, StatusCode::OK);
        assert_eq!(read(&app, id).await["title"], "second");

        let (status, answer) = undo(&app, &created).await;
        assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "changed_since"));
        let (task, created) = write_as("", &app, Method::POST, "/api/tasks", json!({"title": "short"})).await;
        let (status, answer) = undo(&app, &created).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"tasks": [], "deleted": [task["id"]]})));

        for token in ["", "0", "x", "99999999999999999999"] {
            assert_eq!(undo(&app, token).await.0, StatusCode::NOT_FOUND, "{token}");
        }
        // Within a quarter of an hour.
        for (minutes, wanted) in [(14, StatusCode::OK), (15, StatusCode::NOT_FOUND)] {
            let (_, token) = write_as("", &app, Method::PATCH, &path, json!({"title": "x"})).await;
            sqlx::query("UPDATE task_changes SET created_at = now() - make_interval(mins => $1)")
                .bind(minutes)
                .execute(&database.pool)
                .await
                .unwrap();
            assert_eq!(undo(&app, &token).await.0, wanted, "{minutes} minutes");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn many_are_done_at_once_or_none() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        for title in ["a", "b", "c"] {
            create(&app, title).await;
        }
        let bulk = async |body: Value| write_as("", &app, Method::POST, "/api/tasks/bulk", body).await;
        let outcome = |answer: &Value| {
            let results = answer["results"].as_array().unwrap().iter();
            results.map(|result| format!("{} {}", result["id"], result["status"].as_str().unwrap())).collect::<Vec<_>>()
        };
        send(&app, Method::POST, "/api/tasks/2/complete", None).await;
        let (answer, token) = bulk(json!({"action": "complete", "ids": [3, 2, 99, 1, 3]})).await;
        assert_eq!(outcome(&answer), ["3 changed", "2 unchanged", "99 not_found", "1 changed"]);
        assert_eq!(answer["results"][0]["task"]["completed"], true);
        assert_eq!(titles(&app, "?completed=false").await, [""; 0]);
        assert_eq!(undo(&app, &token).await.0, StatusCode::OK);
        assert_eq!(titles(&app, "?completed=false").await, ["c", "a"]);

        let (answer, _) = bulk(json!({"action": "reopen", "ids": [1, 2]})).await;
        assert_eq!(outcome(&answer), ["1 unchanged", "2 changed"]);
        let change = json!({"due_on": "2026-12-24", "time_zone": "Europe/Berlin"});
        let (answer, token) = bulk(json!({"action": "update", "ids": [1, 2], "change": change})).await;
        assert_eq!(answer["results"][1]["task"]["due_at"], "2026-12-24T23:00:00Z");
        undo(&app, &token).await;
        assert_eq!(read(&app, 1).await["due_on"], Value::Null);
        let (answer, _) = bulk(json!({"action": "tag", "ids": [1, 2], "add": ["Home", "x"]})).await;
        assert_eq!(answer["results"][0]["task"]["tags"], json!(["home", "x"]));
        let (answer, token) = bulk(json!({"action": "tag", "ids": [1, 2, 3], "remove": ["x"]})).await;
        assert_eq!(outcome(&answer), ["1 changed", "2 changed", "3 unchanged"]);
        undo(&app, &token).await;
        assert_eq!(read(&app, 2).await["tags"], json!(["home", "x"]));

        let (answer, token) = bulk(json!({"action": "delete", "ids": [1, 2, 3]})).await;
        assert_eq!(outcome(&answer), ["1 deleted", "2 deleted", "3 deleted"]);
        assert_eq!(answer["results"][0]["task"], Value::Null);
        assert!(titles(&app, "").await.is_empty());
        assert_eq!(undo(&app, &token).await.0, StatusCode::OK);
        assert_eq!(titles(&app, "").await, ["c", "b", "a"]);

        // One that can't be, and nothing is done.
        let tags: Vec<String> = (0..19).map(|number| number.to_string()).collect();
        let change = json!({"tags": tags});
        bulk(json!({"action": "update", "ids": [3], "change": change})).await;
        let (status, answer) =
            post(&app, "/api/tasks/bulk", json!({"action": "tag", "ids": [1, 3], "add": ["a", "b"]})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(message(&answer), "task 3: there are 21 tags; at most 20 are kept");
        assert_eq!(read(&app, 1).await["tags"], json!(["home", "x"]));

        let many: Vec<i32> = (1..=201).collect();
        assert_eq!(
            bulk(json!({"action": "reopen", "ids": many[..200]})).await.0["results"].as_array().unwrap().len(),
            200
        );
        for body in [
            json!({"action": "reopen", "ids": many}),
            json!({"action": "reopen", "ids": []}),
            json!({"action": "reopen"}),
            json!({"action": "burn", "ids": [1]}),
            json!({"action": "tag", "ids": [1]}),
            json!({"action": "update", "ids": [1], "change": {}}),
            json!({"action": "delete", "ids": [1], "add": ["x"]}),
        ] {
            let (status, answer) = post(&app, "/api/tasks/bulk", body.clone()).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn nobody_reaches_the_tasks_of_another() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let (ann, ben) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "ben@example.org").await);
        let hers = create_as(&ann, &app, "hers").await;
        let his = create_as(&ben, &app, "his").await;
        let (_, token) =
            write_as(&ann, &app, Method::PATCH, &format!("/api/tasks/{hers}"), json!({"title": "still hers"})).await;
        for (method, path, body) in [
            (Method::GET, format!("/api/tasks/{hers}"), None),
            (Method::PATCH, format!("/api/tasks/{hers}"), Some(json!({"title": "his"}))),
            (Method::DELETE, format!("/api/tasks/{hers}"), None),
            (Method::POST, format!("/api/tasks/{hers}/complete"), None),
            (Method::POST, format!("/api/tasks/{hers}/reopen"), None),
            (Method::POST, format!("/api/tasks/{hers}/move"), Some(json!({"to": "first"}))),
            (Method::POST, format!("/api/tasks/{his}/move"), Some(json!({"before": hers}))),
            (Method::POST, format!("/api/tasks/{his}/move"), Some(json!({"after": hers}))),
            (Method::POST, "/api/tasks/undo".to_owned(), Some(json!({"token": token}))),
        ] {
            let (status, answer) = send_as(&ben, &app, method.clone(), &path, body).await;
            assert_eq!((status, code(&answer)), (StatusCode::NOT_FOUND, "not_found"), "{method} {path}");
        }
        for body in [
            json!({"action": "delete", "ids": [hers]}),
            json!({"action": "complete", "ids": [hers]}),
            json!({"action": "tag", "ids": [hers], "add": ["x"]}),
            json!({"action": "update", "ids": [hers], "change": {"title": "his"}}),
        ] {
            let (answer, token) = write_as(&ben, &app, Method::POST, "/api/tasks/bulk", body.clone()).await;
            assert_eq!((&answer["results"][0]["status"], token.as_str()), (&json!("not_found"), ""), "{body}");
        }
        let (_, task) = send_as(&ann, &app, Method::GET, &format!("/api/tasks/{hers}"), None).await;
        assert_eq!((&task["title"], &task["version"]), (&json!("still hers"), &json!(2)));
        for (method, path) in [
            (Method::GET, "/api/tasks/events"),
            (Method::GET, "/api/tasks/export"),
            (Method::POST, "/api/tasks/import"),
            (Method::POST, "/api/tasks/bulk"),
            (Method::POST, "/api/tasks/undo"),
            (Method::POST, "/api/tasks/1/move"),
        ] {
            assert_eq!(send(&app, method, path, None).await.0, StatusCode::UNAUTHORIZED, "{path}");
        }

        // With the account goes what was done with it.
        assert_eq!(send_as(&ann, &app, Method::DELETE, "/api/auth/user", None).await.0, StatusCode::NO_CONTENT);
        let left: Vec<String> = sqlx::query_scalar("SELECT DISTINCT task_id::text FROM task_changes")
            .fetch_all(&database.pool)
            .await
            .unwrap();
        assert_eq!(left, [his.to_string()]);
    })
    .await;
}

/// The statements of the release that knew only the migrations before, on today's schema.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn the_release_before_goes_on_working() {
    with_database(async |config| {
        let mut connection = PgConnection::connect_with(&config.database).await.unwrap();
        let mut before = sqlx::migrate!();
        before.migrations.to_mut().retain(|migration| migration.version <= 2);
        before.run_direct(None, &mut connection, false).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO tasks (title, user_id, created_at) VALUES ('old', 'local', '2024-01-01'), ('older', 'local', '2023-01-01')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let (_, app) = migrated(&config).await;
        sqlx::raw_sql(
            "INSERT INTO tasks (title, description, priority, user_id) VALUES ('new', NULL, 'high', 'local');
             UPDATE tasks SET title = coalesce(NULL, title), completed = true, updated_at = now() WHERE title = 'old';
             UPDATE tasks SET updated_at = CASE WHEN completed THEN updated_at ELSE now() END, completed = true
                 WHERE title = 'old';
             DELETE FROM tasks WHERE title = 'older'",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        assert_eq!(titles(&app, "?sort=position").await, ["new", "old"]);
        // Its writes count as ours do.
        assert_eq!((&read(&app, 1).await["version"], &read(&app, 3).await["version"]), (&json!(2), &json!(1)));
        let kinds: Vec<String> = sqlx::query_scalar("SELECT kind FROM task_changes ORDER BY transaction_id, id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert_eq!(kinds, ["created", "updated", "deleted"]);
    })
    .await;
}
