//! What a program printed to a question that is always answered the same, kept from one run to the next.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::run::call::Call;
use crate::run::process::{Output, Spawn};

/// A file that changed so lately may change again without another time to show for it.
const SETTLES: Duration = Duration::from_secs(2);

/// Answers of one machine, in a folder that may be removed at any time.
#[derive(Clone)]
pub struct Answers {
    folder: PathBuf,
}

impl Answers {
    pub fn new(cache: &Path) -> Answers {
        Answers { folder: cache.join("answers") }
    }

    /// Asks, unless the same was asked before under this name and `key` was the same then: it names everything that the answer
    /// depends on. None asks anyway. Only an answer of success is kept.
    pub fn attempt<T>(&self, spawn: &Spawn, name: &str, key: Option<&str>, call: Call<T>) -> Result<Result<T, Output>> {
        let Some(key) = key else { return spawn.attempt(call) };
        if let Some(answer) = self.find(name, key) {
            return (call.parse)(answer).map(Ok);
        }
        let Call { argv, deadline, stdin, folder, is_confidential, parse } = call;
        let asked = Call { argv, deadline, stdin, folder, is_confidential, parse: Box::new(Ok) };
        match spawn.attempt(asked)? {
            Ok(answer) => {
                self.keep(name, key, &answer);
                parse(answer).map(Ok)
            }
            Err(output) => Ok(Err(output)),
        }
    }

    /// What was kept under a name with this key.
    pub fn find(&self, name: &str, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        text.strip_prefix(key)?.strip_prefix('\n').map(str::to_string)
    }

    /// Keeps an answer, which takes the place of the one before. Where that fails it is asked again, which is all.
    pub fn keep(&self, name: &str, key: &str, answer: &str) {
        let _ = self.write(name, &format!("{key}\n{answer}"));
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Another run may read it, or write it too.
        let fresh = self.folder.join(format!("{name}.{}", std::process::id()));
        fs::write(&fresh, text)?;
        Ok(fs::rename(&fresh, self.folder.join(name))?)
    }
}

/// What a program's answers about itself depend on: its file and the folder of it, where a program that starts another one has
/// that, and `beside`, which need not be there. None where they may change unseen: a script may start anything, and what
/// changed just now may do so again.
pub fn key_of_program(program: &Path, beside: &[PathBuf]) -> Option<String> {
    let real = fs::canonicalize(program).ok()?;
    let mut begins = [0; 2];
    fs::File::open(&real).and_then(|mut file| file.read_exact(&mut begins)).ok()?;
    if &begins == b"#!" {
        return None;
    }
    let mut key = String::new();
    for path in [real.as_path(), real.parent()?].into_iter().chain(beside.iter().map(PathBuf::as_path)) {
        key.push_str(&identity(path, SystemTime::now())?);
    }
    Some(key)
}

/// A file's or folder's device, inode, size and times. None where it has changed so lately that they say little. The time of
/// the last change of its inode is the system's own, and cannot be set back.
fn identity(path: &Path, now: SystemTime) -> Option<String> {
    let Ok(about) = fs::metadata(path) else { return Some(format!("{}: none; ", path.display())) };
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(about.ctime()).ok()?);
    // By a clock that was set back since, it changes in the future: how long ago it did is not known then.
    if now.duration_since(changed).map_or(true, |age| age < SETTLES) {
        return None;
    }
    Some(format!(
        "{}: {} {} {} {}.{} {}.{}; ",
        path.display(),
        about.dev(),
        about.ino(),
        about.size(),
        about.mtime(),
        about.mtime_nsec(),
        about.ctime(),
        about.ctime_nsec()
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{File, FileTimes};
    use std::sync::Arc;

    use super::*;
    use crate::run::call::call;
    use crate::run::process::Interrupt;

    /// As if the file had been written long ago.
    fn later() -> SystemTime {
        SystemTime::now() + SETTLES * 2
    }

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn a_program_that_was_swapped_or_written_over_has_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tool");
        fs::write(&file, "one").unwrap();
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let set_back =
            || File::options().write(true).open(&file).unwrap().set_times(FileTimes::new().set_modified(modified));
        let first = identity(&file, later()).unwrap();
        assert_eq!(identity(&file, later()).unwrap(), first);
        // The clock of files ticks in milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&file, "two").unwrap();
        set_back().unwrap();
        let second = identity(&file, later()).unwrap();
        assert_ne!(second, first, "of the same size, with the time of its content set back");
        fs::write(folder.path().join("other"), "two").unwrap();
        fs::rename(folder.path().join("other"), &file).unwrap();
        set_back().unwrap();
        assert_ne!(identity(&file, later()).unwrap(), second, "another file of the same size and time");
        assert_eq!(identity(&file, SystemTime::now()), None, "written just now");
        let set_back_clock = SystemTime::now() - Duration::from_secs(3600);
        assert_eq!(identity(&file, set_back_clock), None, "the clock was set back after it was written");
        assert!(identity(&folder.path().join("none"), later()).unwrap().contains("none"));
    }

    #[test]
    fn a_script_is_asked_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tool");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(key_of_program(&file, &[]), None);
        assert_eq!(key_of_program(&folder.path().join("none"), &[]), None);
    }

    #[test]
    fn the_same_question_is_asked_once_for_each_key_and_again_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::new(folder.path());
        let spawn = Spawn {
            interrupt: Interrupt::default(),
            env: Vec::new(),
            hidden: &[],
            guard: Arc::new(|_, _| Ok(())),
            programs: Arc::default(),
            heard: Arc::new(|_, _, _| {}),
        };
        let count = folder.path().join("count");
        let script = format!("echo x >>{0}; wc -l <{0}; test ! -e {0}.fails", count.display());
        let asked = RefCell::new(Vec::new());
        let ask = |key: Option<&str>| {
            let answer = answers.attempt(&spawn, "count", key, call(argv(&["sh", "-c", &script])).trimmed()).unwrap();
            asked.borrow_mut().push(answer.unwrap_or("failed".to_string()));
        };
        for key in [Some("a"), Some("a"), Some("b"), Some("b"), None, Some("b")] {
            ask(key);
        }
        assert_eq!(asked.take(), ["1", "1", "2", "2", "3", "2"]);
        File::create(folder.path().join("count.fails")).unwrap();
        ask(Some("c"));
        ask(Some("c"));
        fs::remove_file(folder.path().join("count.fails")).unwrap();
        ask(Some("c"));
        assert_eq!(asked.take(), ["failed", "failed", "6"]);
        fs::remove_dir_all(folder.path().join("answers")).unwrap();
        ask(Some("c"));
        assert_eq!(asked.take(), ["7"]);
    }
}
