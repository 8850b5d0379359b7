//! Things to do that run side by side: each lane does one thing at a time, in its order.

pub mod schedule;
pub mod times;

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use schedule::{Lane, Limits};

/// How often what runs is shown anew.
const TICK: Duration = Duration::from_secs(1);

/// Runs a step of a lane in a thread of its own whenever one may begin, until none is left; `show` is handed how far they
/// are, and each turn with the time that it has left.
pub fn drive(mut plan: Vec<Lane>, limits: Limits, step: &(dyn Fn(usize) + Sync), show: &mut dyn FnMut(&[Lane])) {
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        loop {
            while let Some(index) = schedule::next(&plan, limits) {
                plan[index].begin();
                let ended = Ended(index, sender.clone());
                scope.spawn(move || {
                    // All of it moves into the thread, and goes with it.
                    let ended = ended;
                    step(ended.0);
                });
            }
            if plan.iter().all(|lane| lane.running.is_none()) {
                break;
            }
            show(&plan);
            let since = Instant::now();
            match receiver.recv_timeout(TICK) {
                Ok(index) => plan[index].end(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept here"),
            }
            for turn in plan.iter_mut().filter_map(|lane| lane.running.as_mut()) {
                turn.time = turn.time.saturating_sub(since.elapsed()).max(TICK);
            }
        }
    });
}

/// What runs, how far all of it is, and how long it is likely to go on.
pub fn progress(plan: &[Lane], labels: &[Vec<String>], limits: Limits) -> String {
    let total: usize = labels.iter().map(Vec::len).sum();
    let waiting: usize = plan.iter().map(|lane| lane.waiting.len()).sum();
    let label = |(lane, labels): (&Lane, &Vec<String>)| {
        lane.running.map(|_| labels[labels.len() - lane.waiting.len() - 1].clone())
    };
    let running: Vec<String> = plan.iter().zip(labels).filter_map(label).collect();
    let left = schedule::rounded(schedule::time_left(plan, limits));
    format!("{} of {total} done, {left} left: {}", total - waiting - running.len(), running.join(" | "))
}

/// Says that a step of a lane has ended, however it ended.
struct Ended(usize, Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        // The receiver lives as long as any thread.
        let _ = self.1.send(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::*;
    use crate::lanes::schedule::{Requests, Takes, Turn};

    fn lane(takes: &[Takes]) -> Lane {
        let turn = |takes: &Takes| Turn { takes: *takes, time: Duration::from_secs(60) };
        Lane::new(takes.iter().map(turn), Requests::default())
    }

    #[test]
    fn lanes_run_side_by_side_and_each_does_one_thing_at_a_time() {
        let plan = vec![lane(&[Takes::Room; 20]), lane(&[Takes::Room; 20]), lane(&[Takes::All; 3])];
        let (at_work, meeting) = (Mutex::new(Vec::new()), Barrier::new(2));
        let step = |index: usize| {
            let mut now = at_work.lock().unwrap();
            assert!(!now.contains(&index), "lane {index} does two things at a time");
            assert!(index != 2 || now.is_empty(), "beside what takes everything there is {now:?}");
            now.push(index);
            drop(now);
            // None of the first two gets on without the other.
            if index != 2 {
                meeting.wait();
            }
            at_work.lock().unwrap().retain(|one| *one != index);
        };
        let mut most = 0;
        drive(plan, Limits { jobs: 2, cpu: 0 }, &step, &mut |plan| {
            most = most.max(plan.iter().filter(|lane| lane.running.is_some()).count());
        });
        assert_eq!(most, 2);
    }

    #[test]
    fn what_runs_is_named_with_how_far_all_is() {
        let labels = [vec!["a: one".to_string(), "a: two".to_string()], vec!["b: three".to_string()]];
        let mut plan = vec![lane(&[Takes::Room; 2]), lane(&[Takes::Room])];
        let limits = Limits { jobs: 2, cpu: 0 };
        plan.iter_mut().for_each(Lane::begin);
        assert_eq!(progress(&plan, &labels, limits), "0 of 3 done, about 2 min left: a: one | b: three");
        plan[0].end();
        plan[0].begin();
        plan[1].end();
        assert_eq!(progress(&plan, &labels, limits), "2 of 3 done, about 60 s left: a: two");
    }
}
