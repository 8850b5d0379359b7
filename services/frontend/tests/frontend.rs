//! The page, and the way through to a stand-in backend over real sockets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{any, get},
};
use frontend::Frontend;
use futures_util::{StreamExt, stream};
use kit::{client::client, serve::Readiness, url::BaseUrl};
use tokio::net::TcpListener;
use tower::ServiceExt;

async fn spawn(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // As kit serves it.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn app_before(backend: SocketAddr) -> Router {
    let backend_url = BaseUrl::parse(&format!("http://{backend}")).unwrap();
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets").into();
    frontend::app(Frontend { backend_url, client: client(), readiness: Readiness::default() }, assets)
}

/// An address at which nothing listens any more.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn get_path(app: Router, path: &str) -> (StatusCode, HeaderMap, String) {
    let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// The paths of all files of the page but itself.
fn assets() -> Vec<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let paths: Vec<String> = names.filter(|name| name != "index.html").map(|name| format!("/assets/{name}")).collect();
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

/// The paths that a page or a module names.
fn named_in(content: &str) -> Vec<String> {
    let paths = content.split('"').filter_map(|text| match text.strip_prefix("./") {
        Some(name) if name.ends_with(".js") => Some(format!("/assets/{name}")),
        _ => text.starts_with("/assets/").then(|| text.to_owned()),
    });
    paths.collect()
}

#[tokio::test]
async fn the_page_and_everything_it_names_is_there() {
    let app = app_before(nowhere().await);
    let (status, headers, page) = get_path(app.clone(), "/").await;
    assert_eq!(status, StatusCode::OK);
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    // The policy would refuse these without a word.
    for refused in ["style=", "onclick=", "<style"] {
        assert!(!page.contains(refused), "{refused}");
    }
    for path in assets() {
        let (status, headers, content) = get_path(app.clone(), &path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(headers.contains_key(header::CONTENT_TYPE) && !content.is_empty(), "{path}");
        for named in named_in(&content) {
            assert_eq!(get_path(app.clone(), &named).await.0, StatusCode::OK, "{named}, which {path} names");
        }
        // Nothing is ever made of text but text.
        for refused in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!content.contains(refused) || path.ends_with(".svg"), "{path}: {refused}");
        }
    }
    assert!(named_in(&page).len() >= 6, "{page}");
    for path in named_in(&page) {
        assert_eq!(get_path(app.clone(), &path).await.0, StatusCode::OK, "{path}");
    }
    for path in
        ["/assets/none", "/assets/none.js", "/assets/", "/assets/..%2Fsrc%2Flib.rs", "/assets/..%2Fassets%2Fapp.js"]
    {
        assert_eq!(get_path(app.clone(), path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_changes_in_the_folder_shows_at_once_and_nothing_outside_of_it() {
    let folder = std::env::temp_dir().join(format!("frontend-assets-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("below")).unwrap();
    for file in [".hidden.js", "below/a.js", "notes.txt"] {
        std::fs::write(folder.join(file), "x").unwrap();
    }
    let backend_url = BaseUrl::parse("http://127.0.0.1:9").unwrap();
    let app =
        frontend::app(Frontend { backend_url, client: client(), readiness: Readiness::default() }, folder.clone());
    assert_eq!(get_path(app.clone(), "/").await.0, StatusCode::NOT_FOUND);
    for content in ["one", "two"] {
        std::fs::write(folder.join("index.html"), content).unwrap();
        assert_eq!(get_path(app.clone(), "/").await.2, content);
    }
    for path in ["/assets/.hidden.js", "/assets/below/a.js", "/assets/below", "/assets/notes.txt"] {
        assert_eq!(get_path(app.clone(), path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The page is served by nginx as well, and must be as safe there.
#[tokio::test]
async fn nginx_sends_the_same_headers() {
    let nginx = include_str!("../nginx/nginx.conf");
    let (_, headers, _) = get_path(app_before(nowhere().await), "/").await;
    let own = headers.iter().filter(|(name, _)| {
        !["content-type", "content-length", "etag", "cache-control", "vary"].contains(&name.as_str())
    });
    let mut count = 0;
    for (name, value) in own {
        let value = value.to_str().unwrap();
        let line = nginx.lines().find(|line| line.to_lowercase().contains(&format!("add_header {name} ")));
        assert!(line.is_some_and(|line| line.contains(value)), "{name}: {value}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[tokio::test]
async fn the_scripts_find_every_element_they_ask_for() {
    let app = app_before(nowhere().await);
    let (_, _, page) = get_path(app.clone(), "/").await;
    let mut count = 0;
    for path in assets().into_iter().filter(|path| path.ends_with(".js")) {
        let (_, _, script) = get_path(app.clone(), &path).await;
        for id in script.split("byId(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{id}\"")), "{path}: {id}");
            count += 1;
        }
        for symbol in script.split("icon").filter_map(|rest| rest.strip_prefix("Button(\"")?.split('"').next()) {
            assert!(page.contains(&format!("<symbol id=\"i-{symbol}\"")), "{path}: {symbol}");
        }
    }
    assert!(count > 50, "{count}");
}

/// As the page is meant to be there at once over a slow line.
#[tokio::test]
async fn the_whole_page_is_small_on_its_way() {
    let app = app_before(nowhere().await);
    let mut sum = 0;
    for path in assets().into_iter().chain(["/".to_owned()]) {
        let request = Request::get(&path).header(header::ACCEPT_ENCODING, "gzip");
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::VARY], "accept-encoding", "{path}");
        assert!(response.headers().contains_key(header::ETAG), "{path}");
        sum += to_bytes(response.into_body(), usize::MAX).await.unwrap().len();
    }
    assert!((10_000..100_000).contains(&sum), "{sum} bytes");
}

#[tokio::test]
async fn an_asset_that_the_browser_has_is_not_sent_again() {
    let app = app_before(nowhere().await);
    let (_, headers, _) = get_path(app.clone(), "/assets/app.js").await;
    let request = Request::get("/assets/app.js").header(header::IF_NONE_MATCH, &headers[header::ETAG]);
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    let request = Request::get("/assets/app.js").header(header::IF_NONE_MATCH, "\"older\"");
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_reaches_the_backend_as_it_was() {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let backend = Router::new().fallback(any(async move |request: Request| {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        *keep.lock().unwrap() = Some((parts, body));
        (StatusCode::IM_A_TEAPOT, [("x-answer", "kept"), ("keep-alive", "timeout=5")], "short and stout")
    }));
    let backend = spawn(backend).await;
    let frontend = spawn(app_before(backend)).await;
    let request = Request::patch(format!("http://{frontend}/api/tasks/a%2Fb?limit=1&q=%20"))
        .header("x-mine", "kept")
        .header("x-forwarded-for", "198.51.100.1")
        .header("connection", "x-hop")
        .header("x-hop", "dropped")
        .header("te", "trailers")
        .body(Body::from("the body"))
        .unwrap();
    let response = client().request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["x-answer"], "kept");
    assert!(!response.headers().contains_key("keep-alive"));
    assert_eq!(to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap(), "short and stout");

    let (parts, body) = seen.lock().unwrap().take().unwrap();
    assert_eq!(parts.method, "PATCH");
    assert_eq!(parts.uri.to_string(), "/api/tasks/a%2Fb?limit=1&q=%20");
    assert_eq!(parts.headers["x-mine"], "kept");
    assert_eq!(parts.headers["host"], backend.to_string());
    assert_eq!(parts.headers["x-forwarded-host"], frontend.to_string());
    assert_eq!(parts.headers["x-forwarded-for"], "198.51.100.1, 127.0.0.1");
    for dropped in ["x-hop", "te"] {
        assert!(!parts.headers.contains_key(dropped), "{dropped}");
    }
    assert_eq!(body, "the body");
}

/// As strict as the page, whatever the backend says of itself.
#[tokio::test]
async fn the_description_of_the_api_comes_through() {
    let backend = Router::new().fallback(any(async |request: Request| {
        let policy = (header::CONTENT_SECURITY_POLICY, "default-src *");
        ([policy], request.uri().to_string())
    }));
    let app = app_before(spawn(backend).await);
    for path in ["/docs", "/docs/openapi.json", "/docs/style.css"] {
        let (status, headers, body) = get_path(app.clone(), path).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, path));
        let policies: Vec<_> = headers.get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies.len(), 1, "{policies:?}");
        assert!(policies[0].to_str().unwrap().starts_with("default-src 'none'; script-src 'self'"), "{policies:?}");
    }
    for path in ["/docs2", "/metrics", "/ready"] {
        assert_eq!(get_path(app.clone(), path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let written = app.oneshot(Request::post("/docs").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(written.status(), StatusCode::METHOD_NOT_ALLOWED);
    // nginx has a location for the same paths.
    assert!(include_str!("../nginx/nginx.conf").contains("location ~ ^/(api/|docs$|docs/) {"));
}

/// Each side waits for the other's next word: a proxy that gathered a body first would never come to an end.
#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let echo = Router::new()
        .route("/api/echo", any(async |request: Request| Body::from_stream(request.into_body().into_data_stream())));
    let frontend = spawn(app_before(spawn(echo).await)).await;
    let (say, heard) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = Body::from_stream(stream::unfold(heard, async |mut heard| {
        heard.recv().await.map(|word| (Ok::<_, std::io::Error>(word), heard))
    }));
    let request = Request::post(format!("http://{frontend}/api/echo")).body(body).unwrap();
    let talk = async {
        say.send(Bytes::from("one")).await.unwrap();
        let mut answer = Body::new(client().request(request).await.unwrap().into_body()).into_data_stream();
        assert_eq!(answer.next().await.unwrap().unwrap(), "one");
        say.send(Bytes::from("two")).await.unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), "two");
        drop(say);
        assert!(answer.next().await.is_none());
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), talk).await.expect("both sides are heard");
}

/// The backend bounds how many streams are open, and must hear at once of a tab that was closed.
#[tokio::test]
async fn a_client_that_goes_takes_its_stream_with_it() {
    struct Open(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Open {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (close, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let events = Router::new().route(
        "/api/tasks/events",
        get(async move |headers: HeaderMap| {
            let first = format!("id: {}\n\n", headers["last-event-id"].to_str().unwrap());
            let stream = stream::unfold((Some(first), Open(close)), async |(first, open)| {
                let Some(first) = first else { return std::future::pending().await };
                Some((Ok::<_, std::io::Error>(first), (None, open)))
            });
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream))
        }),
    );
    let frontend = spawn(app_before(spawn(events).await)).await;
    let request = Request::get(format!("http://{frontend}/api/tasks/events")).header("last-event-id", "7-8-9");
    let response = client().request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = Body::new(response.into_body()).into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "id: 7-8-9\n\n");
    drop(body);
    tokio::time::timeout(std::time::Duration::from_secs(30), closed.recv()).await.expect("the backend hears of it");
}

#[tokio::test]
async fn a_backend_that_is_gone_is_reported() {
    let app = app_before(nowhere().await);
    let (status, _, body) = get_path(app.clone(), "/api/tasks").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains(r#""code":"backend_unreachable""#), "{body}");
    let (status, _, body) = get_path(app.clone(), "/api/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("refused"), "{body}");
    assert_eq!(get_path(app, "/api/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn ready_when_the_backend_is() {
    for (answer, wanted) in
        [(StatusCode::OK, StatusCode::OK), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let backend = spawn(Router::new().route("/ready", get(async move || answer.into_response()))).await;
        assert_eq!(get_path(app_before(backend), "/api/ready").await.0, wanted);
    }
}

#[tokio::test]
async fn the_backend_goes_on_with_the_trace() {
    let backend = Router::new().fallback(any(async |headers: HeaderMap| {
        headers
            .get_all("traceparent")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }));
    let app = app_before(spawn(backend).await);
    let passed_on = async |given: Option<&str>| {
        let mut request = Request::get("/api/tasks");
        if let Some(given) = given {
            request = request.header("traceparent", given);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let same = passed_on(Some(given)).await;
    assert!(same.starts_with(&given[..36]) && same.ends_with("-01") && same.len() == given.len(), "{same}");
    // What is done here is something else than what the client does.
    assert_ne!(same, given);
    let (one, other) = (passed_on(None).await, passed_on(Some("sentinel")).await);
    assert!(one.len() == given.len() && other.len() == given.len(), "{one} {other}");
    assert_ne!(one[..36], other[..36]);
}
