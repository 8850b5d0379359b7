//! The system's randomness.

use anyhow::{Context as _, Result};

pub fn bytes<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).ok().context("the system gives no randomness")?;
    Ok(bytes)
}

/// So many bytes as hexadecimal digits, which need no escaping in a URL.
pub fn hex<const COUNT: usize>() -> Result<String> {
    Ok(bytes::<COUNT>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_not_the_same() {
        let (one, other) = (hex::<32>().unwrap(), hex::<32>().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
