//! Runs tasks that need one another, a few at a time.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use anyhow::{Error, Result};

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

/// Does something with each item, all at the same time, and returns the results in their order.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|threads| {
        let running: Vec<_> = items.iter().map(|item| threads.spawn(|| work(item))).collect();
        running.into_iter().map(|thread| thread.join().expect("work does not panic")).collect()
    })
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
    use super::*;

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
