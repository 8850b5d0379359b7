//! Runs tasks that need one another, a few at a time.

use std::collections::BTreeSet;
use std::sync::{Barrier, Condvar, Mutex};

use anyhow::{Error, Result};

/// How many releases, checks or other items of one kind are worked on at once. Most of the time each waits for the cluster, and
/// each has a process or two of its own: hundreds of them would be more than a machine's memory holds.
pub const AT_ONCE: usize = 16;

pub struct Task<'a> {
    pub name: String,
    /// Names of tasks that must have ended well; one that is not in the list counts as done.
    pub needs: Vec<String>,
    pub run: Box<dyn FnOnce() -> Result<()> + Send + 'a>,
}

struct State<'a> {
    waiting: Vec<Task<'a>>,
    unfinished: BTreeSet<String>,
    error: Option<Error>,
}

/// Runs all tasks in their order where needs allow, at most `lanes` at once. After a failure nothing new begins, what
/// runs may finish, and the first error is returned.
pub fn run(tasks: Vec<Task>, lanes: usize) -> Result<()> {
    let unfinished = tasks.iter().map(|task| task.name.clone()).collect();
    let state = Mutex::new(State { waiting: tasks, unfinished, error: None });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| work(&state, &changed));
        }
    });
    match state.into_inner().unwrap().error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Does something with each item, at most `AT_ONCE` at the same time, and returns the results in their order. Every thread lasts
/// until all work is done: the system ends a child with the thread that began it, and the child of one item may serve another.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let lanes = items.len().min(AT_ONCE);
    let (next, all_ended) = (Mutex::new(0..items.len()), Barrier::new(lanes));
    let lane = || {
        let _last = Waits(&all_ended);
        let take = || next.lock().expect("nobody panics with it").next();
        std::iter::from_fn(|| take().map(|index| (index, work(&items[index])))).collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|threads| {
        let running: Vec<_> = (0..lanes).map(|_| threads.spawn(lane)).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("work does not panic")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Waits for the others where it ends, also in a panic, as they would wait for it in vain.
struct Waits<'a>(&'a Barrier);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

fn work(state: &Mutex<State>, changed: &Condvar) {
    loop {
        let mut guard = state.lock().unwrap();
        let task = loop {
            if guard.error.is_some() || guard.waiting.is_empty() {
                return;
            }
            let ready =
                guard.waiting.iter().position(|task| !task.needs.iter().any(|need| guard.unfinished.contains(need)));
            match ready {
                Some(index) => break guard.waiting.remove(index),
                None => guard = changed.wait(guard).unwrap(),
            }
        };
        drop(guard);
        let ended = (task.run)();
        let mut guard = state.lock().unwrap();
        match ended {
            Ok(()) => {
                guard.unfinished.remove(&task.name);
            }
            Err(error) => {
                guard.error.get_or_insert(error);
            }
        }
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_items_are_worked_on_a_few_at_a_time_and_come_back_in_order() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..AT_ONCE * 4).collect();
        let doubled = in_parallel(&items, |item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let most = most.into_inner();
        assert!((2..=AT_ONCE).contains(&most), "{most} at once");
        assert_eq!(in_parallel(&[0; 0], |item| *item), [0; 0]);
    }

    #[test]
    fn no_thread_ends_before_all_work_is_done() {
        static LEFT: AtomicUsize = AtomicUsize::new(AT_ONCE);
        static ENDED_EARLY: AtomicUsize = AtomicUsize::new(0);
        /// Goes with its thread.
        struct OfThread;
        impl Drop for OfThread {
            fn drop(&mut self) {
                ENDED_EARLY.fetch_add(usize::from(LEFT.load(Ordering::SeqCst) > 0), Ordering::SeqCst);
            }
        }
        thread_local!(static HELD: RefCell<Option<OfThread>> = const { RefCell::new(None) });
        let items: Vec<u64> = (0..AT_ONCE as u64).collect();
        in_parallel(&items, |item| {
            HELD.with_borrow_mut(|held| _ = held.get_or_insert_with(|| OfThread));
            std::thread::sleep(Duration::from_millis(if *item == 0 { 100 } else { 0 }));
            LEFT.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(ENDED_EARLY.load(Ordering::SeqCst), 0);
    }

    fn task<'a>(name: &str, needs: &[&str], log: &'a Mutex<Vec<String>>, good: bool) -> Task<'a> {
        let text = name.to_string();
        let run = Box::new(move || {
            log.lock().unwrap().push(text);
            if good { Ok(()) } else { Err(anyhow::anyhow!("no")) }
        });
        Task { name: name.to_string(), needs: needs.iter().map(|need| need.to_string()).collect(), run }
    }

    #[test]
    fn needs_come_first_and_every_task_runs_once() {
        let log = Mutex::default();
        run(vec![task("c", &["a", "b"], &log, true), task("b", &["a"], &log, true), task("a", &[], &log, true)], 2)
            .unwrap();
        assert_eq!(*log.lock().unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn nothing_begins_after_a_failure() {
        let log = Mutex::default();
        let error = run(vec![task("a", &[], &log, false), task("b", &["a"], &log, true)], 2).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert_eq!(*log.lock().unwrap(), ["a"]);
    }
}
