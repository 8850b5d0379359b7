//! Answers: status, headers and body as bytes.

use crate::commands::dashboard::request::Refusal;

pub const EVENTS: &str = "text/event-stream";
/// In the page, in the place of what names its own script and style.
const NONCE: &str = "{{NONCE}}";

/// The head of an answer. Nothing of it is kept by a browser, shown within another page, or allowed to ask another
/// server.
pub fn head(status: u16, kind: &str, length: Option<usize>, nonce: Option<&str>) -> String {
    let length = length.map_or(String::new(), |length| format!("content-length: {length}\r\n"));
    let own = nonce.map_or(String::new(), |nonce| {
        format!("script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; ")
    });
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {kind}; charset=utf-8\r\n{length}connection: close\r\ncache-control: no-store\r\n\
         content-security-policy: default-src 'none'; {own}base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\ncross-origin-resource-policy: same-origin\r\n\
         cross-origin-opener-policy: same-origin\r\n\r\n",
        reason(status)
    )
}

/// A whole answer in plain text.
pub fn text(status: u16, message: &str) -> Vec<u8> {
    format!("{}{message}\n", head(status, "text/plain", Some(message.len() + 1), None)).into_bytes()
}

pub fn refusal(refusal: &Refusal) -> Vec<u8> {
    text(refusal.status, &refusal.message)
}

/// The page, whose script and style are known by a word that no other answer has.
pub fn page(html: &str, nonce: &str) -> Vec<u8> {
    let html = html.replace(NONCE, nonce);
    format!("{}{html}", head(200, "text/html", Some(html.len()), Some(nonce))).into_bytes()
}

/// An event of a stream; its data is JSON, which has no line breaks.
pub fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_forbids_browsers_what_they_need_not_do() {
        let refused = text(401, "no");
        let page = page("<script nonce=\"{{NONCE}}\"></script>", "abc");
        for answer in [&refused, &page] {
            let text = String::from_utf8(answer.clone()).unwrap();
            for header in [
                "\r\ncache-control: no-store\r\n",
                "\r\nx-content-type-options: nosniff\r\n",
                "\r\nreferrer-policy: no-referrer\r\n",
                "default-src 'none'; ",
                "frame-ancestors 'none'\r\n",
            ] {
                assert!(text.contains(header), "{header} is not in {text}");
            }
        }
        assert!(!String::from_utf8(refused).unwrap().contains("script-src"));
        let text = String::from_utf8(page).unwrap();
        assert!(
            text.contains("script-src 'nonce-abc'") && text.ends_with("\r\n\r\n<script nonce=\"abc\"></script>"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let text = String::from_utf8(text(409, "é")).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 409 Conflict\r\n") && head.contains(&format!("content-length: {}", body.len()))
        );
    }
}
