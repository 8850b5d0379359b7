//! The sockets: connections on 127.0.0.1, few at a time, each read within a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::commands::dashboard::request::{HEAD_BYTES, Refusal, Request, parse};
use crate::commands::dashboard::response;
use crate::run::exit::Stop;
use crate::run::process::Interrupt;

/// Connections at once: a page has one that stays and now and then another.
const CONNECTIONS: usize = 32;
/// How long a request may take to arrive, and an answer to be taken.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often an interruption is looked for.
const TURN: Duration = Duration::from_millis(100);

/// Takes a port of 127.0.0.1, which nothing outside this machine reaches; any free one without `port`.
pub fn listen(port: Option<u16>) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).map_err(|error| {
        let port = port.map_or("a free port".to_string(), |port| format!("port {port}"));
        let message = format!("cannot listen on {port} of 127.0.0.1: {error}");
        Stop::usage(format!("{message}\nNext: cargo xtask ui, with another --port, or none for a free one")).into()
    })
}

/// Serves until it is interrupted, each connection in a thread of its own, all of which end with it.
pub fn serve(listener: &TcpListener, interrupt: &Interrupt, answer: &(dyn Fn(TcpStream) + Sync)) -> Result<()> {
    listener.set_nonblocking(true)?;
    let open = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        while interrupt.check().is_ok() {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait_for_connection(listener);
                    continue;
                }
                // The browser has gone before it was served, or this process has too many files open for now.
                Err(_) => {
                    std::thread::sleep(TURN);
                    continue;
                }
            };
            stream.set_nonblocking(false).context("cannot set up a connection")?;
            stream.set_write_timeout(Some(DEADLINE)).context("cannot set up a connection")?;
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                // Whoever asks too much may miss the answer.
                let _ = stream
                    .write_all(&response::text(503, "too many connections\nNext: close other pages of this tool"));
                continue;
            }
            let open = &open;
            threads.spawn(move || {
                answer(stream);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Ok(())
    })
}

/// Reads a request and its body. None: the connection was closed, or this command is interrupted.
pub fn read(stream: &mut TcpStream, interrupt: &Interrupt) -> Result<Option<(Request, Vec<u8>)>, Refusal> {
    let until = Instant::now() + DEADLINE;
    let mut bytes = Vec::new();
    let mut request = None;
    // Without a timeout it could wait for ever.
    if stream.set_read_timeout(Some(TURN)).is_err() {
        return Ok(None);
    }
    loop {
        if request.is_none() {
            request = parse(&bytes)?;
        }
        if let Some(Request { head_bytes, body_bytes, .. }) = request
            && bytes.len() >= head_bytes + body_bytes
        {
            let body = bytes[head_bytes..head_bytes + body_bytes].to_vec();
            return Ok(request.map(|request| (request, body)));
        }
        if interrupt.check().is_err() {
            return Ok(None);
        }
        if Instant::now() > until {
            return Err(Refusal::new(408, format!("the request did not arrive within {} s", DEADLINE.as_secs())));
        }
        let mut chunk = [0; HEAD_BYTES];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => return Ok(None),
        }
    }
}

/// Sends a last answer. What is still on its way is read for a moment: a connection that is closed over it is reset, and
/// the answer lost.
pub fn finish(mut stream: TcpStream, answer: &[u8]) {
    // Whoever has gone away needs none.
    if stream.write_all(answer).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        let until = Instant::now() + TURN;
        let mut rest = [0; HEAD_BYTES];
        while Instant::now() < until && matches!(stream.read(&mut rest), Ok(count) if count > 0) {}
    }
}

fn wait_for_connection(listener: &TcpListener) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: TURN.as_nanos() as i64 };
    // A wait that was cut short is a shorter one.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_reaches_it_and_a_port_has_one_owner() {
        let listener = listen(None).unwrap();
        let place = listener.local_addr().unwrap();
        assert!(place.ip().is_loopback());
        let error = listen(Some(place.port())).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot listen on port {} of 127.0.0.1", place.port())),
            "{error}"
        );
    }

    #[test]
    fn a_request_is_read_with_its_body_however_it_arrives_and_what_is_cut_off_is_none() {
        let listener = listen(None).unwrap();
        let place = listener.local_addr().unwrap();
        let read_of = |parts: &[&str]| {
            let mut client = TcpStream::connect(place).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            std::thread::scope(|threads| {
                let reading = threads.spawn(move || read(&mut server, &Interrupt::default()));
                for part in parts {
                    client.write_all(part.as_bytes()).unwrap();
                    client.flush().unwrap();
                }
                client.shutdown(Shutdown::Write).unwrap();
                reading.join().unwrap()
            })
        };
        let head = "POST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
        let (request, body) = read_of(&[head, "ab", "cd"]).unwrap().unwrap();
        assert_eq!((request.target.as_str(), body.as_slice()), ("/x", b"abcd".as_slice()));
        assert_eq!(read_of(&[&head[..20]]), Ok(None));
        assert_eq!(read_of(&[head, "ab"]), Ok(None));
        assert_eq!(read_of(&["nonsense\r\n\r\n"]).unwrap_err().status, 400);
    }
}
