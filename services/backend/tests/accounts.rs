//! Accounts, tokens, and whose rows are whose, over a real PostgreSQL.

mod common;

use axum::{
    Router,
    http::{Method, StatusCode},
    response::IntoResponse,
    routing::get,
};
use backend::config::{AuthConfig, AuthMode, Config, Secret};
use jsonwebtoken::{Algorithm, EncodingKey, Header, decode_header, encode, jwk::JwkSet};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use common::{ISSUER, SECRET, create_as, hs256, migrated, send, send_as, sign_up, titles_as, with_database};

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn an_account_is_made_used_and_deleted() {
    with_database(async |config| {
        let (database, app) = migrated(&hs256(config)).await;
        let nobody = json!({"mode": "hs256", "user": null});
        assert_eq!(send(&app, Method::GET, "/api/auth/session", None).await, (StatusCode::OK, nobody.clone()));

        let new = json!({"email": "Ann@Example.org", "password": "the right password", "name": " Ann "});
        let (status, signed_up) = send(&app, Method::POST, "/api/auth/sign-up", Some(new.clone())).await;
        assert_eq!(status, StatusCode::CREATED, "{signed_up}");
        let user = &signed_up["user"];
        assert_eq!((&user["email"], &user["name"]), (&json!("ann@example.org"), &json!("Ann")));
        let mut text: Vec<&String> = user.as_object().unwrap().keys().collect();
        text.sort();
        assert_eq!(text, ["created_at", "email", "id", "name"]);
        let token = signed_up["token"].as_str().unwrap();
        let (_, session) = send_as(token, &app, Method::GET, "/api/auth/session", None).await;
        assert_eq!(session, json!({"mode": "hs256", "user": user}));

        let (status, again) = send(&app, Method::POST, "/api/auth/sign-up", Some(new)).await;
        assert_eq!((status, &again["code"]), (StatusCode::CONFLICT, &json!("email_taken")));

        for (email, password, wanted) in [
            ("ann@example.org", "the right password", 200),
            (" ANN@example.org", "the right password", 200),
            ("ann@example.org", "the wrong password", 401),
            ("bob@example.org", "the right password", 401),
            ("nul\0@example.org", "the right password", 401),
        ] {
            let credentials = json!({"email": email, "password": password});
            let (status, answer) = send(&app, Method::POST, "/api/auth/sign-in", Some(credentials)).await;
            assert_eq!(status.as_u16(), wanted, "{email} {password}: {answer}");
        }
        for (email, password) in [("ann", "the right password"), ("eve@example.org", "short")] {
            let new = json!({"email": email, "password": password});
            assert_eq!(send(&app, Method::POST, "/api/auth/sign-up", Some(new)).await.0.as_u16(), 422, "{email}");
        }

        create_as(token, &app, "to be gone").await;
        let bob = sign_up(&app, "bob@example.org").await;
        create_as(&bob, &app, "to be kept").await;
        let removed = send_as(token, &app, Method::DELETE, "/api/auth/user", None).await;
        assert_eq!(removed, (StatusCode::NO_CONTENT, Value::Null));
        assert_eq!(send_as(token, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(send_as(token, &app, Method::GET, "/api/auth/session", None).await.1, nobody);
        let left: Vec<String> = sqlx::query_scalar(
            "SELECT email FROM users UNION ALL SELECT title FROM tasks
             UNION ALL SELECT 'session' FROM sessions WHERE user_id NOT IN (SELECT id FROM users WHERE email LIKE 'bob%')",
        )
        .fetch_all(&database.pool)
        .await
        .unwrap();
        assert_eq!(left, ["bob@example.org", "to be kept"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn nobody_sees_or_touches_anothers_tasks() {
    with_database(async |config| {
        let (_, app) = migrated(&hs256(config)).await;
        let (ann, bob) = (sign_up(&app, "ann@example.org").await, sign_up(&app, "bob@example.org").await);
        let path = format!("/api/tasks/{}", create_as(&ann, &app, "ann's").await);
        create_as(&bob, &app, "bob's").await;
        assert_eq!(titles_as(&ann, &app, "").await, ["ann's"]);
        assert_eq!(titles_as(&bob, &app, "").await, ["bob's"]);
        for (method, path, body) in [
            (Method::GET, path.clone(), None),
            (Method::PATCH, path.clone(), Some(json!({"title": "bob's now"}))),
            (Method::POST, format!("{path}/complete"), None),
            (Method::DELETE, path.clone(), None),
        ] {
            let (status, answer) = send_as(&bob, &app, method.clone(), &path, body).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {answer}");
        }
        let (_, task) = send_as(&ann, &app, Method::GET, &path, None).await;
        assert_eq!((&task["title"], &task["completed"]), (&json!("ann's"), &json!(false)));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn without_accounts_nobody_signs_in() {
    with_database(async |config| {
        let (_, app) = migrated(&config).await;
        assert_eq!(send(&app, Method::GET, "/api/auth/session", None).await.1, json!({"mode": "none", "user": null}));
        assert_eq!(send(&app, Method::GET, "/api/auth/jwks", None).await.1, json!({"keys": []}));
        let new = json!({"email": "ann@example.org", "password": "the right password"});
        for (method, path, body) in [
            (Method::POST, "/api/auth/sign-up", Some(new.clone())),
            (Method::POST, "/api/auth/sign-in", Some(new)),
            (Method::POST, "/api/auth/sign-out", None),
            (Method::DELETE, "/api/auth/user", None),
        ] {
            let (status, answer) = send(&app, method, path, body).await;
            assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("accounts_off")), "{path}");
        }
        create_as("whatever is sent", &app, "everybody's").await;
        assert_eq!(titles_as("", &app, "").await, ["everybody's"]);
    })
    .await;
}

/// What of a token is changed, and whether it is still taken.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn tokens_that_are_not_ours_are_refused() {
    with_database(async |config| {
        let config = hs256(config);
        let (database, app) = migrated(&config).await;
        let token = sign_up(&app, "ann@example.org").await;
        let (user, session): (String, String) =
            sqlx::query_as("SELECT user_id, id FROM sessions").fetch_one(&database.pool).await.unwrap();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let good = json!({"sub": user, "jti": session, "iat": now, "exp": now + 600, "iss": ISSUER});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let signed = |algorithm, secret: &str, claims: &Value| {
            encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
        };
        let (header, rest) = token.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        for (what, token, is_taken) in [
            ("what sign-up gave", token.clone(), true),
            ("the same made here", signed(Algorithm::HS256, SECRET, &good), true),
            ("nothing", String::new(), false),
            ("no token", "token".to_owned(), false),
            ("no signature", format!("{header}.{payload}."), false),
            ("no algorithm", unsigned, false),
            ("another secret", signed(Algorithm::HS256, "another secret of the same length..", &good), false),
            ("another algorithm", signed(Algorithm::HS512, SECRET, &good), false),
            ("too old", signed(Algorithm::HS256, SECRET, &with("exp", json!(now - 1))), false),
            ("never too old", signed(Algorithm::HS256, SECRET, &with("exp", Value::Null)), false),
            ("not yet", signed(Algorithm::HS256, SECRET, &with("nbf", json!(now + 600))), false),
            ("another issuer", signed(Algorithm::HS256, SECRET, &with("iss", json!("http://other.test"))), false),
            ("no issuer", signed(Algorithm::HS256, SECRET, &with("iss", Value::Null)), false),
            ("another user", signed(Algorithm::HS256, SECRET, &with("sub", json!("local"))), false),
            ("another session", signed(Algorithm::HS256, SECRET, &with("jti", json!("other"))), false),
        ] {
            let (status, answer) = send_as(&token, &app, Method::GET, "/api/tasks", None).await;
            assert_eq!(status == StatusCode::OK, is_taken, "{what}: {answer}");
            if !is_taken {
                assert_eq!((status.as_u16(), &answer["code"]), (401, &json!("unauthorized")), "{what}");
                assert!(token.len() < 20 || !answer.to_string().contains(&token), "{what}");
            }
        }
        sqlx::query("UPDATE sessions SET expires_at = now()").execute(&database.pool).await.unwrap();
        assert_eq!(send_as(&token, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn signing_out_ends_one_session() {
    with_database(async |config| {
        let (_, app) = migrated(&hs256(config)).await;
        let first = sign_up(&app, "ann@example.org").await;
        let credentials = json!({"email": "ann@example.org", "password": "the right password"});
        let (_, second) = send(&app, Method::POST, "/api/auth/sign-in", Some(credentials)).await;
        let second = second["token"].as_str().unwrap();
        assert_eq!(send_as(&first, &app, Method::POST, "/api/auth/sign-out", None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(send_as(&first, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(send_as(second, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::OK);
    })
    .await;
}

fn jwks(config: &Config, secret: &str, url: &str) -> Config {
    let mode = AuthMode::Jwks { secret: Secret::new(secret), url: url.parse().unwrap() };
    Config { auth: AuthConfig { mode, issuer: Some(ISSUER.to_owned()), expiration_days: 1 }, ..config.clone() }
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn published_keys_decide_in_the_mode_that_has_them() {
    with_database(async |config| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/auth/jwks", listener.local_addr().unwrap());
        let config = jwks(&config, SECRET, &url);
        let (database, app) = migrated(&config).await;
        let (published, server) = (app.clone(), listener);
        tokio::spawn(async move { axum::serve(server, published).await.unwrap() });

        let (_, keys) = send(&app, Method::GET, "/api/auth/jwks", None).await;
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
        assert!(keys["keys"][0]["d"].is_null() && !keys.to_string().contains(SECRET), "{keys}");
        let id = keys["keys"][0]["kid"].as_str().unwrap();

        let token = sign_up(&app, "ann@example.org").await;
        let header = decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::EdDSA, Some(id)));
        create_as(&token, &app, "ann's").await;
        // Another replica, and the same after a restart: the same secret makes the same key.
        let (_, replica) = migrated(&config).await;
        assert_eq!(send(&replica, Method::GET, "/api/auth/jwks", None).await.1, keys);
        assert_eq!(titles_as(&token, &replica, "").await, ["ann's"]);

        // The classic confusion: a public key, which everybody has, taken for a shared secret.
        let (user, session): (String, String) =
            sqlx::query_as("SELECT user_id, id FROM sessions").fetch_one(&database.pool).await.unwrap();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = json!({"sub": user, "jti": session, "iat": now, "exp": now + 600, "iss": ISSUER});
        for secret in [keys["keys"][0]["x"].as_str().unwrap(), SECRET] {
            let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
            let forged = encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
            assert_eq!(send_as(&forged, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::UNAUTHORIZED);
        }
        // Well signed, and by a key that nobody published.
        let stranger = jwks(&config, "another secret, and as long as it takes", &url);
        let (_, stranger) = migrated(&stranger).await;
        let foreign = sign_up(&stranger, "eve@example.org").await;
        let (status, answer) = send_as(&foreign, &app, Method::GET, "/api/tasks", None).await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn keys_that_can_not_be_read_are_no_reason_to_be_unready() {
    with_database(async |config| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let broken = Router::new().route("/keys", get(async || StatusCode::INTERNAL_SERVER_ERROR.into_response()));
        tokio::spawn(async move { axum::serve(listener, broken).await.unwrap() });
        let (_, app) = migrated(&jwks(&config, SECRET, &url)).await;
        let token = sign_up(&app, "ann@example.org").await;
        let (status, answer) = send_as(&token, &app, Method::GET, "/api/tasks", None).await;
        let wanted = (StatusCode::SERVICE_UNAVAILABLE, &json!("keys_unavailable"));
        assert_eq!((status, &answer["code"]), wanted);
        assert_eq!(send(&app, Method::GET, "/ready", None).await.0, StatusCode::OK);
    })
    .await;
}

/// A key that comes later is found when a token names it.
#[tokio::test]
#[ignore = "needs TEST_DATABASE_URL; cargo xtask test provides it"]
async fn a_new_key_is_asked_for() {
    with_database(async |config| {
        let (keys, shown) = tokio::sync::watch::channel(json!({"keys": []}));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let publisher = Router::new().route("/keys", get(async move || axum::Json(shown.borrow().clone())));
        tokio::spawn(async move { axum::serve(listener, publisher).await.unwrap() });
        let (_, app) = migrated(&jwks(&config, SECRET, &url)).await;
        let token = sign_up(&app, "ann@example.org").await;
        assert_eq!(send_as(&token, &app, Method::GET, "/api/tasks", None).await.0, StatusCode::UNAUTHORIZED);
        let (_, own) = send(&app, Method::GET, "/api/auth/jwks", None).await;
        serde_json::from_value::<JwkSet>(own.clone()).unwrap();
        keys.send_replace(own);
        // It is asked at most once a second.
        let grace = std::time::Duration::from_secs(60);
        tokio::time::timeout(grace, async {
            while send_as(&token, &app, Method::GET, "/api/tasks", None).await.0 != StatusCode::OK {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the new key is found");
    })
    .await;
}
