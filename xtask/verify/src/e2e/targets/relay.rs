//! Hands on connections to another address, and keeps them for a while or slows them down when asked: a server that is away
//! or slow.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a read may block before it is looked whether the relay is still open.
const TURN: Duration = Duration::from_millis(50);

pub struct Relay {
    pub port: u16,
    closed: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    speed: Arc<Speed>,
}

/// How much may pass in a second, over all connections; 0 is any amount.
#[derive(Default)]
struct Speed {
    bytes_per_s: AtomicU64,
    /// When the next bytes may pass.
    free: Mutex<Option<Instant>>,
}

impl Speed {
    /// Waits until so many bytes have had their time.
    fn pass(&self, bytes: usize) {
        let bytes_per_s = self.bytes_per_s.load(Ordering::Relaxed);
        if bytes_per_s == 0 {
            return;
        }
        let took = Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
        let now = Instant::now();
        let until = {
            let mut free = self.free.lock().unwrap();
            let until = free.map_or(now, |free| free.max(now)) + took;
            *free = Some(until);
            until
        };
        std::thread::sleep(until - now);
    }
}

impl Relay {
    /// Listens on an address of this machine.
    pub fn new(host: &str, address: SocketAddr) -> Result<Relay> {
        let listener = TcpListener::bind((host, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (closed, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let speed = Arc::new(Speed::default());
        let (is_closed, is_ended, its_speed) = (closed.clone(), ended.clone(), speed.clone());
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
                join(near, far, &is_closed, &is_ended, &its_speed);
            }
        });
        Ok(Relay { port, closed, ended, speed })
    }

    /// Breaks what is open, and refuses what comes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn open(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Lets so much pass in a second; 0 is any amount.
    pub fn slow_down(&self, bytes_per_s: u64) {
        self.speed.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Hands on in both directions until one end closes, or the relay does.
fn join(near: TcpStream, far: TcpStream, closed: &Arc<AtomicBool>, ended: &Arc<AtomicBool>, speed: &Arc<Speed>) {
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
    for (from, to) in [(near, far), (far_again, near_again)] {
        let (closed, ended, speed) = (closed.clone(), ended.clone(), speed.clone());
        std::thread::spawn(move || {
            hand_on(from, to, &speed, || closed.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed))
        });
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, speed: &Speed, is_over: impl Fn() -> bool) {
    let _ = from.set_nonblocking(false);
    let _ = from.set_read_timeout(Some(TURN));
    let mut buffer = [0; 16 * 1024];
    while !is_over() {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                speed.pass(count);
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
        let relay = Relay::new("127.0.0.1", server.local_addr().unwrap()).unwrap();
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

    #[test]
    fn bytes_have_their_time_one_after_another() {
        let speed = Speed::default();
        speed.pass(1 << 40);
        speed.bytes_per_s.store(1000, Ordering::Relaxed);
        let before = Instant::now();
        (0..3).for_each(|_| speed.pass(10));
        // Each of them has waited for its own time and for that of those before it.
        assert!(speed.free.lock().unwrap().unwrap() >= before + Duration::from_millis(30));
    }
}
