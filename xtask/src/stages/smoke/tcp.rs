//! A connection over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::Step;
use crate::stages::smoke::{Attempt, Cause, Refusal};

/// A connection that stays open for so long counts as accepted.
const HELD: Duration = Duration::from_millis(500);
/// What is kept of an answer.
const MOST: usize = 4096;

/// Returns what was asked, and the first bytes that came.
pub fn send_bytes(attempt: &Attempt, service: &str, send: &[u8], step: &Step) -> Result<(String, String), Refusal> {
    let port = attempt.world.addresses.port(service, attempt.until)?;
    let asked = format!("TCP 127.0.0.1:{port}, {service}");
    match exchange(port, send, &|came| enough(step, came), speaks(step), attempt.timeout()) {
        Ok(came) => Ok((asked, came)),
        Err(came) => Err(Refusal::NotYet(Cause::new(asked, "a connection that stays open", came))),
    }
}

/// Whether an answer is expected at all.
fn speaks(step: &Step) -> bool {
    step.equals.is_some() || step.contains.is_some() || !step.json.is_empty() || !step.save.is_empty()
}

fn enough(step: &Step, came: &str) -> bool {
    let whole = step.equals.as_ref().is_none_or(|wanted| came.trim().len() >= wanted.trim().len());
    let found = step.contains.as_ref().is_none_or(|wanted| came.contains(wanted.as_str()));
    let read =
        (step.json.is_empty() && step.save.is_empty()) || serde_json::from_str::<serde_json::Value>(came).is_ok();
    whole && found && read
}

/// Connects, sends, and reads until there is enough. What listens on 127.0.0.1 is a proxy, which takes every connection and
/// closes those that its far end refuses: only a connection that brings an answer or is held proves anything.
fn exchange(
    port: u16,
    send: &[u8],
    enough: &dyn Fn(&str) -> bool,
    speaks: bool,
    timeout: Duration,
) -> Result<String, String> {
    let describe = |error: std::io::Error| error.to_string();
    let until = Instant::now() + if speaks { timeout } else { HELD.min(timeout) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(describe)?;
    stream.set_write_timeout(Some(timeout)).map_err(describe)?;
    stream.write_all(send).map_err(describe)?;
    let mut came = Vec::new();
    let mut chunk = [0; 512];
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        let left = until.saturating_duration_since(Instant::now());
        // Without an answer to wait for, any is as good as none.
        if (!came.is_empty() && enough(&text)) || came.len() >= MOST || left.is_zero() {
            return Ok(text);
        }
        stream.set_read_timeout(Some(left)).map_err(describe)?;
        match stream.read(&mut chunk) {
            Ok(0) if came.is_empty() => return Err("it was closed at once".to_string()),
            Ok(0) => return Ok(text),
            Ok(count) => came.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(text),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(describe(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Does something with the first connection to a port of its own.
    fn listen(work: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || work(listener.accept().unwrap().0));
        port
    }

    #[test]
    fn a_connection_that_is_closed_at_once_or_refused_is_none() {
        let port = listen(drop);
        let ask = |port| exchange(port, b"", &|_| true, false, Duration::from_secs(5));
        assert_eq!(ask(port), Err("it was closed at once".to_string()));
        let nobodys = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        assert!(ask(nobodys).unwrap_err().contains("refused"));
    }

    #[test]
    fn a_connection_that_is_held_is_one() {
        let port = listen(|mut stream| drop(stream.read(&mut [0; 8])));
        assert_eq!(exchange(port, b"", &|_| true, false, Duration::from_secs(5)), Ok(String::new()));
    }

    #[test]
    fn an_answer_is_read_until_there_is_enough_of_it() {
        let port = listen(|mut stream| {
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&asked).unwrap();
            stream.write_all(b" pong").unwrap();
            // Held, so that the end of the answer is not the end of the connection.
            drop(stream.read(&mut [0; 8]));
        });
        let came = exchange(port, b"ping", &|came| came.contains("pong"), true, Duration::from_secs(30));
        assert_eq!(came.as_deref(), Ok("ping pong"));
    }
}
