//! The only place that spawns processes. Each has a deadline, a process group of its own, its output streamed line by
//! line, and a tail of it kept for the error.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use duct::{Expression, Handle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process, test_kill_process_group};

use crate::run::call::{Call, display};
use crate::run::exit::{Stop, indent};

/// How long a child may take to leave after each harder signal.
const GRACE: Duration = Duration::from_secs(10);
/// How long the rest of its group may take once it has left itself.
const GRACE_OF_GROUP: Duration = Duration::from_secs(2);
const TAIL_LINES: usize = 25;

/// Set by SIGINT and SIGTERM; every wait looks at it.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM of this process.
    pub fn install() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, interrupt.0.clone())?;
        }
        Ok(interrupt)
    }

    /// What a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Takes the signal for dealt with, as by one who ends in order and may be asked to hurry by the next.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Stop::interrupted().into()) } else { Ok(()) }
    }
}

/// Looks at an argv before it is run, and says why it must not be.
pub type Guard = dyn Fn(&Spawn, &[String]) -> Result<()> + Send + Sync;

/// Hears of each process that has ended: its argv as text, how long it took, and whether it ended well.
pub type Heard = dyn Fn(&str, Duration, bool) + Send + Sync;

/// What a child is given. The environment is the caller's, with `env` over it.
#[derive(Clone)]
pub struct Spawn {
    pub interrupt: Interrupt,
    pub env: Vec<(String, String)>,
    /// Variables of the caller's that children don't get.
    pub hidden: &'static [&'static str],
    /// Asked before each command.
    pub guard: Arc<Guard>,
    /// Where the tools are that were found, by the names that calls have for them.
    pub programs: Arc<BTreeMap<&'static str, String>>,
    /// What hears of the processes that have ended.
    pub heard: Arc<Heard>,
}

pub struct Output {
    pub success: bool,
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    /// The last lines of both streams, as they came.
    pub tail: String,
}

impl Output {
    /// How it ended, in words that follow the command: `failed`, or by which signal.
    pub fn ending(&self) -> String {
        match self.signal {
            Some(signal) => format!("was ended by {}", signal_name(signal)),
            None => "failed".to_string(),
        }
    }
}

fn signal_name(number: i32) -> String {
    let names =
        [(4, "ILL"), (6, "ABRT"), (7, "BUS"), (8, "FPE"), (9, "KILL"), (11, "SEGV"), (13, "PIPE"), (15, "TERM")];
    let name = names.iter().find(|(known, _)| *known == number && cfg!(target_os = "linux"));
    name.map_or(format!("signal {number}"), |(_, name)| format!("SIG{name}"))
}

impl Spawn {
    /// For clean-up, which an interruption must not keep from happening; its deadlines hold.
    pub fn uninterrupted(&self) -> Spawn {
        Spawn { interrupt: Interrupt::default(), ..self.clone() }
    }

    /// Runs to the end and reads the answer; a non-zero exit is an error that repeats the command and its last lines.
    pub fn run<T>(&self, call: Call<T>) -> Result<T> {
        self.run_showing(call, &|_| {})
    }

    /// The same, with each line as it comes.
    pub fn run_showing<T>(&self, call: Call<T>, on_line: &(dyn Fn(&str) + Sync)) -> Result<T> {
        let output = self.drive(&call, on_line)?;
        match output.success {
            true => (call.parse)(output.stdout),
            false => Err(failure(&display(&call.argv), &output)),
        }
    }

    /// Runs to the end what must not be left half done: an interruption keeps it from beginning, and no more.
    pub fn run_whole<T>(&self, call: Call<T>) -> Result<T> {
        self.interrupt.check()?;
        self.uninterrupted().run(call)
    }

    /// Runs to the end: the answer, or how it failed.
    pub fn attempt<T>(&self, call: Call<T>) -> Result<Result<T, Output>> {
        self.attempt_showing(call, &|_| {})
    }

    /// The same, with each line as it comes.
    pub fn attempt_showing<T>(&self, call: Call<T>, on_line: &(dyn Fn(&str) + Sync)) -> Result<Result<T, Output>> {
        let output = self.drive(&call, on_line)?;
        match output.success {
            true => (call.parse)(output.stdout).map(Ok),
            false => Ok(Err(output)),
        }
    }

    /// Runs to the end and tells how it went; only a spawn, a deadline or an interruption is an error.
    pub fn output<T>(&self, call: Call<T>) -> Result<Output> {
        self.drive(&call, &|_| {})
    }

    /// The same, with each line as it comes.
    pub fn output_showing<T>(&self, call: Call<T>, on_line: &(dyn Fn(&str) + Sync)) -> Result<Output> {
        self.drive(&call, on_line)
    }

    /// Feeds the output of one call to another, `left | right`, within the deadline of the left. Both must succeed.
    pub fn pipe(&self, left: Call, right: Call) -> Result<()> {
        let message = format!("{} | {}", display(&left.argv), display(&right.argv));
        let expression = self.expression(&left.argv)?.stdin_null().pipe(self.expression(&right.argv)?);
        let output = self.wait_for(expression, &message, left.deadline, &|_| {}, true)?;
        if output.success { Ok(()) } else { Err(failure(&message, &output)) }
    }

    /// The same through `between`, which reads what the left one prints and writes what the right one gets. Whichever fails first
    /// is the error.
    pub fn pipe_through<T>(
        &self,
        left: Call,
        right: Call,
        between: impl FnOnce(&mut dyn Read, &mut dyn Write) -> Result<T>,
    ) -> Result<T> {
        let (reader, left_end) = std::io::pipe()?;
        let (right_end, mut writer) = std::io::pipe()?;
        let from = self.expression(&left.argv)?.stdin_null().stdout_file(left_end);
        let to = self.expression(&right.argv)?.stdin_file(right_end);
        let (deadline, left, right) = (left.deadline, display(&left.argv), display(&right.argv));
        let (has_ended, failed) = (AtomicBool::new(false), Mutex::new(None));
        let run = |expression, text: &str| {
            let error = match self.wait_for(expression, text, deadline, &|_| {}, true) {
                Ok(output) if output.success => return,
                Ok(output) => failure(text, &output),
                Err(error) => error,
            };
            failed.lock().unwrap().get_or_insert(error);
        };
        let passed = std::thread::scope(|scope| {
            scope.spawn(|| {
                run(from, &left);
                has_ended.store(true, Ordering::Relaxed);
            });
            scope.spawn(|| run(to, &right));
            let passed = between(&mut UntilEnd { reader, has_ended: &has_ended }, &mut writer);
            drop(writer);
            passed
        });
        match failed.into_inner().unwrap() {
            Some(error) => Err(error),
            None => passed,
        }
    }

    /// Runs to the end, with what it prints in a file.
    pub fn run_into(&self, call: Call, file: File) -> Result<()> {
        let message = display(&call.argv);
        let expression = self.expression(&call.argv)?.stdin_null().stdout_file(file);
        let output = self.wait_for(expression, &message, call.deadline, &|_| {}, true)?;
        if output.success { Ok(()) } else { Err(failure(&message, &output)) }
    }

    /// Starts something that lives as long as the returned owner, such as a port-forward; its deadline is that.
    pub fn background(&self, call: Call, on_line: impl Fn(&str) + Send + 'static) -> Result<Background> {
        let (reader, writer) = std::io::pipe()?;
        let expression = self.expression(&call.argv)?.stdin_null().stdout_file(writer.try_clone()?).stderr_file(writer);
        let text = display(&call.argv);
        let handle = expression.start().with_context(|| format!("cannot start `{text}`"))?;
        std::thread::spawn(move || {
            // What isn't text is no reason to hear nothing more.
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                on_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        });
        Ok(Background { handle, text, started: Instant::now(), heard: self.heard.clone() })
    }

    /// Replaces this process by a call that talks with the person at the terminal: the terminal, its signals and the exit code
    /// are that program's own. Comes back only where it could not begin.
    pub fn hand_over(&self, call: Call) -> Error {
        if let Err(error) = (self.guard)(self, &call.argv) {
            return error;
        }
        let program = self.programs.get(call.argv[0].as_str()).unwrap_or(&call.argv[0]);
        let mut command = Command::new(program);
        command.args(&call.argv[1..]);
        for name in self.hidden {
            command.env_remove(name);
        }
        let failed = command.envs(self.env.iter().map(|(name, value)| (name, value))).exec();
        Error::new(failed).context(format!("cannot start `{}`", display(&call.argv)))
    }

    /// Starts what is the person's own from then on, such as a browser: nobody waits for it, and it outlives this process.
    pub fn detach(&self, call: Call) -> Result<()> {
        let mut command = Command::new(&call.argv[0]);
        command.args(&call.argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().with_context(|| format!("cannot start `{}`", display(&call.argv)))?;
        Ok(())
    }

    fn drive<T>(&self, call: &Call<T>, on_line: &(dyn Fn(&str) + Sync)) -> Result<Output> {
        let expression = self.expression(&call.argv)?;
        let expression = match &call.folder {
            Some(folder) => expression.dir(folder),
            None => expression,
        };
        let expression = match &call.stdin {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        };
        self.wait_for(expression, &display(&call.argv), call.deadline, on_line, !call.is_confidential)
    }

    fn expression(&self, argv: &[String]) -> Result<Expression> {
        (self.guard)(self, argv)?;
        let program = self.programs.get(argv[0].as_str()).unwrap_or(&argv[0]);
        let mut expression = duct::cmd(program, &argv[1..]).unchecked().before_spawn(|child| {
            // Duct kills direct children only: a group of its own lets a signal reach their children too, and keeps
            // the terminal's Ctrl-C from reaching them before us.
            child.process_group(0);
            end_with_parent(child);
            Ok(())
        });
        // In duct the first call wins: a variable that is set must not be removed before.
        for name in self.hidden.iter().filter(|name| !self.env.iter().any(|(set, _)| set == *name)) {
            expression = expression.env_remove(name);
        }
        for (name, value) in &self.env {
            expression = expression.env(name, value);
        }
        Ok(expression)
    }

    fn wait_for(
        &self,
        expression: Expression,
        text: &str,
        deadline: Duration,
        on_line: &(dyn Fn(&str) + Sync),
        may_be_shown: bool,
    ) -> Result<Output> {
        self.interrupt.check()?;
        let (stdout_reader, stdout_writer) = std::io::pipe()?;
        let (stderr_reader, stderr_writer) = std::io::pipe()?;
        let handle = expression
            .stdout_file(stdout_writer)
            .stderr_file(stderr_writer)
            .start()
            .with_context(|| format!("cannot start `{text}`"))?;
        // The expression keeps the writing ends open; they must go, or the readers would never see the end.
        let tail = Mutex::new(VecDeque::new());
        let stdout = Mutex::new(Vec::new());
        let note = |line: &str| {
            if !may_be_shown {
                return;
            }
            let mut tail = tail.lock().unwrap();
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.to_string());
            drop(tail);
            on_line(line);
        };
        let (started, done) = (Instant::now(), AtomicBool::new(false));
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| read_lines(stderr_reader, &note, None, &done));
            scope.spawn(|| read_lines(stdout_reader, &note, Some(&stdout), &done));
            let ended = self.wait(&handle, text, deadline);
            done.store(true, Ordering::Relaxed);
            ended
        });
        let is_good = ended.as_ref().is_ok_and(ExitStatus::success);
        (self.heard)(text, started.elapsed(), is_good);
        let tail = Vec::from(tail.into_inner().unwrap()).join("\n");
        let status = ended.map_err(|error| add_tail(error, &tail))?;
        let stdout = String::from_utf8_lossy(&stdout.into_inner().unwrap()).into_owned();
        Ok(Output { success: status.success(), code: status.code(), signal: status.signal(), stdout, tail })
    }

    fn wait(&self, handle: &Handle, text: &str, deadline: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(output) = handle.wait_timeout(Duration::from_millis(50))? {
                return Ok(output.status);
            }
            if let Err(interrupted) = self.interrupt.check() {
                end(handle, Signal::INT);
                return Err(interrupted);
            }
            if started.elapsed() > deadline {
                end(handle, Signal::TERM);
                return Err(
                    Stop::deadline(format!("`{text}` was ended after {} s, its deadline", deadline.as_secs())).into()
                );
            }
        }
    }
}

/// The error of a command that failed, with its last lines.
pub fn failure(command_line: &str, output: &Output) -> anyhow::Error {
    Stop::failed(format!("`{command_line}` {}\n{}", output.ending(), indent(&output.tail))).into()
}

/// A child that is ended when its owner goes.
pub struct Background {
    handle: Handle,
    text: String,
    started: Instant,
    heard: Arc<Heard>,
}

impl Background {
    pub fn has_ended(&self) -> bool {
        !matches!(self.handle.try_wait(), Ok(None))
    }

    /// Sends a signal to it and its group, and waits for nothing.
    pub fn signal(&self, signal: Signal) {
        for group in self.handle.pids().into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
            // The group may be gone already.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Its exit code once it has ended, which is None where a signal ended it.
    pub fn code(&self) -> Option<Option<i32>> {
        self.handle.try_wait().ok().flatten().map(|output| output.status.code())
    }

    /// Ends it as Ctrl-C would, which some take as the end of their work and not as its failure.
    pub fn interrupt(self) {
        end(&self.handle, Signal::INT);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // What a signal ended was ended by its owner, or with the thread that began it.
        let has_failed = self.code().flatten().is_some_and(|code| code != 0);
        end(&self.handle, Signal::TERM);
        (self.heard)(&self.text, self.started.elapsed(), !has_failed);
    }
}

/// The processes of this machine whose argv is of a kind, where the system tells of them in files.
pub fn find(wanted: impl Fn(&[String]) -> bool) -> Vec<(u32, Vec<String>)> {
    let argv = |pid: u32| {
        let text = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Some(text.trim_end_matches('\0').split('\0').map(str::to_string).collect::<Vec<_>>())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, argv(pid)?))).filter(|(_, argv)| wanted(argv)).collect()
}

pub fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whether a process is stopped, as by Ctrl-Z or SIGSTOP, where the system tells of it in files.
pub fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
}

/// Has the kernel end a child whose parent is killed without a chance to do it.
fn end_with_parent(child: &mut std::process::Command) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpid, getppid, set_parent_process_death_signal};
        let parent = getpid();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are two, and allocate nothing.
        unsafe {
            child.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::TERM))?;
                // A parent that was killed before that sends nothing any more.
                match getppid() == Some(parent) {
                    true => Ok(()),
                    false => Err(std::io::ErrorKind::BrokenPipe.into()),
                }
            });
        }
    }
}

/// The prefix for commands that change the system: none for root, else sudo without a password prompt.
pub fn sudo() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &[] } else { &["sudo", "--non-interactive"] }
}

fn read_lines(mut reader: PipeReader, note: &dyn Fn(&str), keep: Option<&Mutex<Vec<u8>>>, done: &AtomicBool) {
    let mut line = Vec::new();
    let mut chunk = [0; 8192];
    let mut done_since = None;
    loop {
        // A grandchild may hold the pipe long after the child has gone, or even write to it: what is there is read, and
        // no more waited for.
        let was_done = done.load(Ordering::Relaxed);
        if was_done && done_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1) {
            break;
        }
        if !readable(&reader) {
            match was_done {
                true => break,
                false => continue,
            }
        }
        let count = match reader.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        if let Some(keep) = keep {
            keep.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
        // A carriage return ends a line as well: that is how tools draw their own progress.
        for byte in &chunk[..count] {
            if matches!(byte, b'\n' | b'\r') {
                flush(&mut line, note);
            } else if line.len() < 4096 {
                line.push(*byte);
            }
        }
    }
    flush(&mut line, note);
}

fn readable(reader: &PipeReader) -> bool {
    let mut polled = [PollFd::new(reader, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    matches!(poll(&mut polled, Some(&timeout)), Ok(count) if count > 0)
}

fn flush(line: &mut Vec<u8>, note: &dyn Fn(&str)) {
    let text = String::from_utf8_lossy(line);
    if !text.trim().is_empty() {
        note(text.trim_end());
    }
    line.clear();
}

/// What a child prints, which ends with the child: a grandchild may hold the pipe for longer.
struct UntilEnd<'a> {
    reader: PipeReader,
    has_ended: &'a AtomicBool,
}

impl Read for UntilEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let has_ended = self.has_ended.load(Ordering::Relaxed);
            match readable(&self.reader) {
                true => return self.reader.read(buffer),
                false if has_ended => return Ok(0),
                false => {}
            }
        }
    }
}

/// Ends a child and all of its group, harder each time. Those of the group that outlive the child get time as well, and
/// then a last signal: they may have ignored the others.
fn end(handle: &Handle, first: Signal) {
    let groups: Vec<Pid> = handle.pids().into_iter().filter_map(|pid| Pid::from_raw(pid as i32)).collect();
    let send = |signal| {
        for group in &groups {
            // The group may be gone already, which is the goal.
            let _ = kill_process_group(*group, signal);
        }
    };
    for signal in [first, Signal::TERM] {
        send(signal);
        if matches!(handle.wait_timeout(GRACE), Ok(Some(_))) {
            break;
        }
    }
    let since = Instant::now();
    while since.elapsed() < GRACE_OF_GROUP && groups.iter().any(|group| test_kill_process_group(*group).is_ok()) {
        std::thread::sleep(Duration::from_millis(20));
    }
    send(Signal::KILL);
    let _ = handle.wait_timeout(GRACE);
}

fn add_tail(error: anyhow::Error, tail: &str) -> anyhow::Error {
    match error.downcast::<Stop>() {
        Ok(stop) if !tail.is_empty() => stop.with_detail(tail).into(),
        Ok(stop) => stop.into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::call;

    #[test]
    fn a_hidden_variable_that_is_set_anew_reaches_the_child() {
        let spawn = Spawn {
            interrupt: Interrupt::default(),
            env: vec![("HIDDEN_A".to_string(), "new".to_string())],
            hidden: &["HIDDEN_A", "HOME"],
            guard: Arc::new(|_, _| Ok(())),
            programs: Arc::default(),
            heard: Arc::new(|_, _, _| {}),
        };
        let argv = ["sh", "-c", "echo $HIDDEN_A ${HOME-none}"].map(str::to_string).to_vec();
        assert_eq!(spawn.run(call::call(argv)).unwrap().trim(), "new none");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_is_stopped_differs_from_one_that_runs() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let was_stopped = is_stopped(child.id());
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        let stopped = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            is_stopped(child.id())
        });
        let alive = is_alive(child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((was_stopped, stopped, alive, is_alive(child.id() as i32)), (false, true, true, false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_signal_that_ended_a_command_is_named() {
        let spawn = Spawn {
            interrupt: Interrupt::default(),
            env: Vec::new(),
            hidden: &[],
            guard: Arc::new(|_, _| Ok(())),
            programs: Arc::default(),
            heard: Arc::new(|_, _, _| {}),
        };
        let argv = |script: &str| ["sh", "-c", script].map(str::to_string).to_vec();
        let message = |script| spawn.run(call::call(argv(script))).unwrap_err().to_string();
        assert!(message("kill -SEGV $$").contains("was ended by SIGSEGV"));
        assert!(message("exit 3").contains("` failed"));
    }
}
