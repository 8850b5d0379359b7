//! Bytes on their way from or to a file: counted, hashed, and stopped by an interruption.

use std::io::{self, Read, Write};

use hmac_sha256::Hash;

use crate::run::process::Interrupt;

/// Reads from, or writes to, what it holds. Whoever gets an error of it asks the interruption first.
pub struct Metered<'a, T> {
    inner: T,
    hash: Hash,
    count: u64,
    interrupt: &'a Interrupt,
    /// Gets the length of each piece.
    show: &'a dyn Fn(u64),
}

impl<'a, T> Metered<'a, T> {
    pub fn new(inner: T, interrupt: &'a Interrupt, show: &'a dyn Fn(u64)) -> Metered<'a, T> {
        Metered { inner, hash: Hash::new(), count: 0, interrupt, show }
    }

    /// What it held, and the SHA-256 and the number of the bytes that passed.
    pub fn finish(self) -> (T, String, u64) {
        let hex = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (self.inner, hex, self.count)
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
        (self.show)(bytes.len() as u64);
    }

    fn check(&self) -> io::Result<()> {
        self.interrupt.check().map_err(io::Error::other)
    }
}

impl<T: Read> Read for Metered<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let count = self.inner.read(buffer)?;
        self.pass(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Metered<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let count = self.inner.write(bytes)?;
        self.pass(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_are_counted_and_hashed_both_ways_until_an_interruption() {
        let interrupt = Interrupt::default();
        let mut reader = Metered::new(b"abc".as_slice(), &interrupt, &|_| {});
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), reader.finish().1.as_str()), ("abc", ABC));
        let mut writer = Metered::new(Vec::new(), &interrupt, &|_| {});
        writer.write_all(b"abc").unwrap();
        interrupt.set();
        assert!(writer.write_all(b"d").is_err());
        assert_eq!(writer.finish(), (b"abc".to_vec(), ABC.to_string(), 3));
    }
}
