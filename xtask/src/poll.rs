//! Bounded waiting with backoff.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Interrupt;

/// Asks again and again, from 100 ms apart to 1 s, until `ask` answers Some or the deadline has passed, which is None.
pub fn until<T>(
    interrupt: &Interrupt,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if started.elapsed() + pause > deadline {
            return Ok(None);
        }
        interrupt.check()?;
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait_and_a_deadline_does_too() {
        let mut asked = 0;
        let answered = until(&Interrupt::default(), Duration::from_secs(5), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(answered.unwrap(), Some(3));
        let none: Option<()> = until(&Interrupt::default(), Duration::from_millis(150), || Ok(None)).unwrap();
        assert_eq!(none, None);
    }
}
