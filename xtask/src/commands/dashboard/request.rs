//! A browser's request: how it is read, and what is refused before anything is done for it.

/// A browser's own head has some hundred bytes, of which cookies of other servers on 127.0.0.1 may be many more.
pub const HEAD_BYTES: usize = 16 * 1024;
pub const BODY_BYTES: usize = 1024;
const HEADERS: usize = 64;

/// Who may ask: whoever has the token, at this port of 127.0.0.1.
///
/// The token is a parameter of each URL and no cookie: browsers send cookies of 127.0.0.1 to all of its ports, the
/// application's among them.
pub struct Access {
    pub token: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: String,
    /// The path with the query.
    pub target: String,
    pub host: Option<String>,
    pub origin: Option<String>,
    pub head_bytes: usize,
    pub body_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Page,
    Events,
    /// Begins the action that the body names.
    Begin,
    /// Ends the action that runs.
    Stop,
}

/// What is answered to a request that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }
}

impl Access {
    /// The page's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    /// What a request asks for, unless it is refused. A page of another site that reaches this server, under a name of its
    /// own too, has neither the host nor the token.
    pub fn check(&self, request: &Request) -> Result<Route, Refusal> {
        let places = [format!("127.0.0.1:{}", self.port), format!("localhost:{}", self.port)];
        let host = request.host.as_deref().unwrap_or_default();
        if !places.iter().any(|place| place == host) {
            let message =
                format!("host \"{host}\" is not served here\nNext: open the URL that `cargo xtask ui` printed");
            return Err(Refusal::new(403, message));
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
        if !is_same(token, &self.token) {
            let message = "the URL has not the token of this run\nNext: open the URL that `cargo xtask ui` printed";
            return Err(Refusal::new(401, message));
        }
        let is_own = |origin: &str| places.iter().any(|place| origin.strip_prefix("http://") == Some(place));
        let is_foreign = match request.origin.as_deref() {
            Some(origin) => !is_own(origin),
            // A navigation has none; what changes something must say where it comes from.
            None => request.method == "POST",
        };
        if is_foreign {
            return Err(Refusal::new(403, "only the page itself may ask this"));
        }
        match (request.method.as_str(), path) {
            ("GET", "/") => Ok(Route::Page),
            ("GET", "/events") => Ok(Route::Events),
            ("POST", "/begin") => Ok(Route::Begin),
            ("POST", "/stop") => Ok(Route::Stop),
            (_, "/" | "/events" | "/begin" | "/stop") => {
                Err(Refusal::new(405, format!("{path} does not take {}", request.method)))
            }
            _ => Err(Refusal::new(404, format!("there is no {path}"))),
        }
    }
}

/// Reads the head of a request; None while more of it is to come.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, format!("the head has more than {HEAD_BYTES} bytes or {HEADERS} headers")));
        }
        Err(error) => return Err(Refusal::new(400, format!("the head cannot be read: {error}"))),
    };
    let all = |name: &str| {
        let named = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect::<Vec<_>>()
    };
    let only = |name: &str| match all(name).as_slice() {
        [] => Ok(None),
        [value] => Ok(Some(value.clone())),
        _ => Err(Refusal::new(400, format!("the head has more than one {name}"))),
    };
    if !all("transfer-encoding").is_empty() {
        return Err(Refusal::new(411, "a body needs its content-length"));
    }
    let body_bytes = match only("content-length")? {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::new(400, format!("content-length is \"{text}\"")))?,
    };
    if body_bytes > BODY_BYTES {
        return Err(Refusal::new(413, format!("the body has more than {BODY_BYTES} bytes")));
    }
    Ok(Some(Request {
        method: head.method.unwrap_or_default().to_string(),
        target: head.path.unwrap_or_default().to_string(),
        host: only("host")?,
        origin: only("origin")?,
        head_bytes,
        body_bytes,
    }))
}

/// Compares in a time that depends on the lengths only.
fn is_same(one: &str, other: &str) -> bool {
    let differing = one.bytes().zip(other.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access { token: "5ecret".to_string(), port: 4000 }
    }

    fn read(text: &str) -> Result<Option<Request>, Refusal> {
        parse(text.replace('\n', "\r\n").as_bytes())
    }

    /// What is answered to a request of the page, of which one text is replaced by another.
    fn answer(from: &str, to: &str) -> Result<Route, u16> {
        let page = "POST /begin?token=5ecret HTTP/1.1\nHost: 127.0.0.1:4000\nOrigin: http://127.0.0.1:4000\nContent-Length: 2\n\n";
        assert!(page.contains(from), "{from}");
        let request = read(&page.replace(from, to)).map_err(|refusal| refusal.status)?.expect("the head is whole");
        access().check(&request).map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_page_is_served_under_both_names_of_this_machine() {
        assert_eq!(answer("", ""), Ok(Route::Begin));
        assert_eq!(answer("127.0.0.1", "localhost"), Ok(Route::Begin));
        assert_eq!(answer("/begin", "/stop"), Ok(Route::Stop));
        assert_eq!(answer("POST /begin", "GET /events"), Ok(Route::Events));
        assert_eq!(answer("POST /begin?", "GET /?x=1&"), Ok(Route::Page));
        // A navigation.
        let request = read("GET /?token=5ecret HTTP/1.1\nHost: localhost:4000\n\n").unwrap().unwrap();
        assert_eq!(access().check(&request), Ok(Route::Page));
        assert_eq!(access().url(), "http://127.0.0.1:4000/?token=5ecret");
    }

    #[test]
    fn without_the_token_nothing_is_served_whatever_is_asked() {
        for other in ["5ecreT", "5ecre", "5ecret1", "", "5ecret%20"] {
            assert_eq!(answer("5ecret", other), Err(401), "{other}");
        }
        assert_eq!(answer("?token=5ecret", ""), Err(401));
        assert_eq!(answer("?token", "?Token"), Err(401));
        assert_eq!(answer("/begin?token=5ecret", "/nothing"), Err(401));
    }

    #[test]
    fn a_host_that_leads_here_under_another_name_is_refused() {
        for other in
            ["Host: evil.example:4000", "Host: 127.0.0.1:4001", "Host: 127.0.0.1", "Host: 127.0.0.1:4000.evil", "X: y"]
        {
            assert_eq!(answer("Host: 127.0.0.1:4000", other), Err(403), "{other}");
        }
        assert_eq!(answer("Host: 127.0.0.1:4000", "Host: 127.0.0.1:4000\nHost: evil.example"), Err(400));
    }

    #[test]
    fn what_another_page_posts_is_refused() {
        for other in [
            "Origin: http://evil.example",
            "Origin: null",
            "Origin: https://127.0.0.1:4000",
            "Origin: http://127.0.0.1:30080",
            "X: y",
        ] {
            assert_eq!(answer("Origin: http://127.0.0.1:4000", other), Err(403), "{other}");
        }
        let read_by_another =
            "GET /events?token=5ecret HTTP/1.1\nHost: localhost:4000\nOrigin: http://evil.example\n\n";
        assert_eq!(access().check(&read(read_by_another).unwrap().unwrap()).unwrap_err().status, 403);
    }

    #[test]
    fn each_path_has_its_method() {
        assert_eq!(answer("POST /begin", "GET /begin"), Err(405));
        assert_eq!(answer("POST /begin", "POST /"), Err(405));
        assert_eq!(answer("POST /begin", "HEAD /"), Err(405));
        assert_eq!(answer("/begin", "/begin/"), Err(404));
        assert_eq!(answer("/begin", "/../begin"), Err(404));
    }

    #[test]
    fn what_is_too_long_or_not_a_request_is_refused_and_what_is_cut_off_is_waited_for() {
        assert_eq!(answer("Content-Length: 2", "Content-Length: 1025"), Err(413));
        assert_eq!(answer("Content-Length: 2", "Content-Length: -1"), Err(400));
        assert_eq!(answer("Content-Length: 2", "Transfer-Encoding: chunked"), Err(411));
        assert_eq!(answer("POST", "PO ST"), Err(400));
        assert_eq!(read("GET / HTTP/1.1\nHost: a"), Ok(None));
        let endless = format!("GET / HTTP/1.1\nX: {}", "a".repeat(HEAD_BYTES));
        assert_eq!(read(&endless).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\n{}\n", "X: y\n".repeat(HEADERS + 1));
        assert_eq!(read(&many).unwrap_err().status, 431);
    }
}
