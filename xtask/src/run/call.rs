//! One question to an external program: what is run, how long it may take, and how its answer is read.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

/// The deadline of a call that names none: what answers from this machine has answered long before.
pub const DEADLINE: Duration = Duration::from_secs(60);

type Parse<T> = Box<dyn FnOnce(String) -> Result<T> + Send>;

pub struct Call<T = String> {
    /// argv[0] is the program: a path, or a name that `Spawn` finds the path of.
    pub argv: Vec<String>,
    pub deadline: Duration,
    pub stdin: Option<Vec<u8>>,
    pub folder: Option<PathBuf>,
    /// What it prints may hold values of Secrets: no line of it is shown, or kept for an error.
    pub is_confidential: bool,
    /// Reads its stdout.
    pub parse: Parse<T>,
}

/// A call in the current folder, without input, whose answer is what it prints.
pub fn call(argv: Vec<String>) -> Call {
    let parse = Box::new(Ok);
    Call { argv, deadline: DEADLINE, stdin: None, folder: None, is_confidential: false, parse }
}

impl Call {
    /// Without what is before and after the text.
    pub fn trimmed(self) -> Call {
        self.parse(|text| text.trim().to_string())
    }

    /// Its lines but empty ones.
    pub fn lines(self) -> Call<Vec<String>> {
        self.parse(|text| text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect())
    }
}

impl<T: 'static> Call<T> {
    /// Reads the answer on: `parse` gets what the call brought so far.
    pub fn parse<U>(self, parse: impl FnOnce(T) -> U + Send + 'static) -> Call<U> {
        self.try_parse(|answer| Ok(parse(answer)))
    }

    /// The same where an answer may be one that cannot be read.
    pub fn try_parse<U>(self, parse: impl FnOnce(T) -> Result<U> + Send + 'static) -> Call<U> {
        let Call { argv, deadline, stdin, folder, is_confidential, parse: before } = self;
        let parse = Box::new(|stdout| parse(before(stdout)?));
        Call { argv, deadline, stdin, folder, is_confidential, parse }
    }
}

impl<T> Call<T> {
    pub fn within(self, deadline: Duration) -> Self {
        Call { deadline, ..self }
    }

    /// For a program that is given a timeout of its own, and should end by it.
    pub fn waits(self, timeout: Duration) -> Self {
        self.within(timeout + DEADLINE)
    }

    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        Call { stdin: Some(bytes.into()), ..self }
    }

    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Call { folder: Some(folder.into()), ..self }
    }

    pub fn confidential(self) -> Self {
        Call { is_confidential: true, ..self }
    }

    /// As one would type it.
    pub fn text(&self) -> String {
        display(&self.argv)
    }

    /// The same call of the program at a path.
    pub fn by(mut self, program: &str) -> Self {
        self.argv[0] = program.to_string();
        self
    }

    /// The same call with a prefix such as `sudo --non-interactive`, which may be empty.
    pub fn behind(mut self, prefix: &[&str]) -> Self {
        self.argv.splice(0..0, prefix.iter().map(|word| word.to_string()));
        self
    }
}

/// The command as one would type it; arguments with spaces in quotes.
pub fn display(argv: &[String]) -> String {
    let program = argv[0].rsplit('/').next().unwrap_or_default().to_string();
    std::iter::once(program)
        .chain(argv[1..].iter().map(|argument| match argument.contains([' ', '{', '\n', '"']) || argument.is_empty() {
            true => format!("'{argument}'"),
            false => argument.clone(),
        }))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes an argv as one would type it: `argv!("docker image inspect {images...}")`.
#[macro_export]
macro_rules! argv {
    ($text:literal) => {{
        let sh = xshell::Shell::new().expect("the current folder exists");
        $crate::run::call::argv(xshell::cmd!(sh, $text))
    }};
}

pub use crate::argv;

/// The argv of an xshell command, which is how `argv!` reads one.
pub fn argv(cmd: xshell::Cmd) -> Vec<String> {
    let command = std::process::Command::from(cmd);
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect()
}
