//! Hands on connections to another address, and keeps them for a while when asked: a server that is away.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

/// How long a read may block before it is looked whether the relay is still open.
const TURN: Duration = Duration::from_millis(50);

pub struct Relay {
    pub port: u16,
    closed: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Relay {
    /// Listens on 127.0.0.1.
    pub fn to(address: SocketAddr) -> Result<Relay> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (closed, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_closed, is_ended) = (closed.clone(), ended.clone());
        std::thread::spawn(move || {
            while !is_ended.load(Ordering::Relaxed) {
                let Ok((near, _)) = listener.accept() else {
                    std::thread::sleep(TURN);
                    continue;
                };
                if is_closed.load(Ordering::Relaxed) {
                    // Whoever asks is refused.
                    let _ = near.shutdown(Shutdown::Both);
                    continue;
                }
                // A server that is not there is the caller's to notice.
                let Ok(far) = TcpStream::connect(address) else { continue };
                join(near, far, &is_closed, &is_ended);
            }
        });
        Ok(Relay { port, closed, ended })
    }

    /// Breaks what is open, and refuses what comes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn open(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Hands on in both directions until one end closes, or the relay does.
fn join(near: TcpStream, far: TcpStream, closed: &Arc<AtomicBool>, ended: &Arc<AtomicBool>) {
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
    for (from, to) in [(near, far), (far_again, near_again)] {
        let (closed, ended) = (closed.clone(), ended.clone());
        std::thread::spawn(move || {
            hand_on(from, to, || closed.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed))
        });
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, is_over: impl Fn() -> bool) {
    let _ = from.set_nonblocking(false);
    let _ = from.set_read_timeout(Some(TURN));
    let mut buffer = [0; 16 * 1024];
    while !is_over() {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The other direction ends with it.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_through_unless_it_is_closed() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let relay = Relay::to(server.local_addr().unwrap()).unwrap();
        let answering = std::thread::spawn(move || {
            for connection in server.incoming().take(2) {
                let mut connection = connection.unwrap();
                let mut word = [0; 4];
                connection.read_exact(&mut word).unwrap();
                connection.write_all(&word).unwrap();
            }
        });
        let ask = || -> std::io::Result<[u8; 4]> {
            let mut connection = TcpStream::connect(("127.0.0.1", relay.port))?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            connection.write_all(b"ping")?;
            let mut word = [0; 4];
            connection.read_exact(&mut word)?;
            Ok(word)
        };
        assert_eq!(&ask().unwrap(), b"ping");
        relay.close();
        assert!(ask().is_err());
        relay.open();
        assert_eq!(&ask().unwrap(), b"ping");
        answering.join().unwrap();
    }
}
