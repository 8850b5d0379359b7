//! Who is measured when: ours and the peers in turn, so that what else the machine does falls on all alike. No I/O.

use anyhow::Result;

/// Does the work of a row once, and measures it.
pub type Take<'a, T> = Box<dyn FnMut() -> Result<T> + 'a>;

/// What a peer measured, or why it has nothing to show.
pub struct Taken<T> {
    pub name: String,
    pub result: Result<Vec<T>>,
}

/// Takes so many measurements of each, one of each in turn. The first of each has caches to fill and is left out. A peer
/// that fails is left out from then on. `before` is asked before every turn but the first, and its error ends all.
pub fn take_turns<T>(
    runs: usize,
    mut ours: Take<T>,
    peers: Vec<(String, Result<Take<T>>)>,
    mut before: impl FnMut() -> Result<()>,
) -> Result<(Vec<T>, Vec<Taken<T>>)> {
    let mut own = Vec::new();
    let mut peers: Vec<_> = peers.into_iter().map(|(name, take)| (name, take.map(|take| (take, Vec::new())))).collect();
    for round in 0..=runs {
        if round > 0 {
            before()?;
        }
        let sample = ours()?;
        own.extend((round > 0).then_some(sample));
        for (_, peer) in &mut peers {
            let Ok((take, samples)) = peer else { continue };
            before()?;
            match take() {
                Ok(sample) => samples.extend((round > 0).then_some(sample)),
                Err(error) => *peer = Err(error),
            }
        }
    }
    let taken = |(name, peer): (String, Result<_, _>)| Taken { name, result: peer.map(|(_, samples)| samples) };
    Ok((own, peers.into_iter().map(taken).collect()))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use anyhow::{anyhow, bail};

    use super::*;

    /// Notes who had a turn, and fails in the turn of that number.
    fn taker<'a>(who: &'static str, log: &'a RefCell<Vec<&'static str>>, fails: Option<usize>) -> Take<'a, usize> {
        let count = Cell::new(0);
        Box::new(move || {
            log.borrow_mut().push(who);
            count.set(count.get() + 1);
            if fails == Some(count.get()) {
                bail!("{who} is broken");
            }
            Ok(count.get())
        })
    }

    #[test]
    fn turns_alternate_and_the_first_of_each_does_not_count() {
        let log = RefCell::new(Vec::new());
        let peers = vec![("a".to_string(), Ok(taker("a", &log, None)))];
        let (own, taken) = take_turns(2, taker("ours", &log, None), peers, || {
            log.borrow_mut().push("|");
            Ok(())
        })
        .unwrap();
        assert_eq!(*log.borrow(), ["ours", "|", "a", "|", "ours", "|", "a", "|", "ours", "|", "a"]);
        assert_eq!(own, [2, 3]);
        assert_eq!(taken[0].result.as_ref().unwrap(), &[2, 3]);
    }

    #[test]
    fn a_peer_that_fails_is_left_out_and_the_others_go_on() {
        let log = RefCell::new(Vec::new());
        let peers = vec![
            ("late".to_string(), Ok(taker("late", &log, Some(2)))),
            ("never".to_string(), Err(anyhow!("cannot be built"))),
            ("well".to_string(), Ok(taker("well", &log, None))),
        ];
        let (own, taken) = take_turns(2, taker("ours", &log, None), peers, || Ok(())).unwrap();
        assert_eq!(own.len(), 2);
        let results: Vec<String> = taken
            .iter()
            .map(|Taken { name, result }| match result {
                Ok(samples) => format!("{name} {samples:?}"),
                Err(error) => format!("{name}: {error}"),
            })
            .collect();
        assert_eq!(results, ["late: late is broken", "never: cannot be built", "well [2, 3]"]);
        assert_eq!(log.borrow().iter().filter(|who| **who == "late").count(), 2);
    }

    #[test]
    fn where_ours_fails_nothing_is_compared() {
        let log = RefCell::new(Vec::new());
        let error = take_turns(2, taker("ours", &log, Some(2)), Vec::new(), || Ok(())).err().unwrap();
        assert_eq!(error.to_string(), "ours is broken");
        let error = take_turns(2, taker("ours", &log, None), Vec::new(), || bail!("interrupted")).err().unwrap();
        assert_eq!(error.to_string(), "interrupted");
    }
}
