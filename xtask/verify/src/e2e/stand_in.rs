//! HTTP servers on this machine in place of services of others, which pods reach at the gateway of the node's network.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// For a client that announces a body and does not send it.
const READ: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Request {
    pub authorization: String,
    pub body: String,
}

pub struct Answer {
    pub status: u16,
    pub media_type: &'static str,
    pub body: String,
    /// The connection is closed before all that was announced has been sent.
    pub breaks_off: bool,
}

/// Answers until it is dropped.
pub struct StandIn {
    pub address: SocketAddr,
    is_done: Arc<AtomicBool>,
}

impl StandIn {
    pub fn start(host: &str, answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> io::Result<StandIn> {
        let listener = TcpListener::bind((host, 0))?;
        let stand_in = StandIn { address: listener.local_addr()?, is_done: Arc::default() };
        let (is_done, answer) = (stand_in.is_done.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                let answer = answer.clone();
                // Whoever hangs up early has no answer to get.
                std::thread::spawn(move || exchange(stream, &*answer));
            }
        });
        Ok(stand_in)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request on a connection.
fn exchange(stream: TcpStream, answer: &dyn Fn(Request) -> Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(READ))?;
    let request = read(&mut BufReader::new(&stream))?;
    let Answer { status, media_type, body, breaks_off } = answer(request);
    let length = body.len() + usize::from(breaks_off);
    let head = format!("HTTP/1.1 {status} -\r\ncontent-type: {media_type}\r\ncontent-length: {length}");
    (&stream).write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes())
}

fn read(stream: &mut impl BufRead) -> io::Result<Request> {
    let (mut request, mut length) = (Request::default(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            match line.trim_end().is_empty() {
                true => break,
                false => continue,
            }
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = value.trim().to_string(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    stream.take(length).read_to_string(&mut request.body)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(breaks_off: bool) -> String {
        let answer = move |Request { authorization, body }| {
            let body = format!("{authorization} {body}");
            Answer { status: 200, media_type: "text/plain", body, breaks_off }
        };
        let stand_in = StandIn::start("127.0.0.1", answer).unwrap();
        let mut stream = TcpStream::connect(stand_in.address).unwrap();
        let request = "POST /x:y HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: 3\r\n\r\none";
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_request_is_read_and_answered() {
        let text = ask(false);
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("content-length: 12\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nBearer k one"), "{text}");
    }

    #[test]
    fn an_answer_that_breaks_off_is_shorter_than_announced() {
        assert!(ask(true).contains("content-length: 13\r\n"));
    }
}
