//! Bounded waiting with backoff.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::process::Interrupt;

/// Asks again and again, from about 100 ms apart to about 1 s, until `ask` answers Some or the deadline has passed, which
/// is None.
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
        let mut chance = [0];
        getrandom::fill(&mut chance)?;
        let now = jittered(pause, chance[0]);
        if started.elapsed() + now > deadline {
            return Ok(None);
        }
        interrupt.check()?;
        std::thread::sleep(now);
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

/// Three to five quarters of a pause, so that those who wait for the same thing don't all ask at the same moment.
fn jittered(pause: Duration, chance: u8) -> Duration {
    pause * 3 / 4 + pause * u32::from(chance) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_three_to_five_quarters_of_what_it_was() {
        let pause = Duration::from_millis(400);
        let all: Vec<Duration> = (0..=255).map(|chance| jittered(pause, chance)).collect();
        assert_eq!((all[0], all[255]), (Duration::from_millis(300), Duration::from_millis(500)));
        assert!(all.is_sorted());
    }

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
