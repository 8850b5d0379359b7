//! `completions`: a script by which a shell completes `cargo xtask`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Command, ValueEnum};
use clap_complete::shells;

/// A shell for which there is a script.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for these commands. It needs no project and no configuration, so that a shell can ask for it at its start.
pub fn run(shell: Shell, command: Command) -> ExitCode {
    match std::io::stdout().write_all(script(shell, command).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What clap generates completes a program called `xtask`. The code behind it connects that to cargo, whose subcommand
/// `xtask` is.
fn script(shell: Shell, mut command: Command) -> String {
    let mut script = Vec::new();
    let connect = match shell {
        Shell::Bash => {
            clap_complete::generate(shells::Bash, &mut command, "xtask", &mut script);
            include_str!("completions/cargo.bash")
        }
        Shell::Zsh => {
            clap_complete::generate(shells::Zsh, &mut command, "xtask", &mut script);
            include_str!("completions/cargo.zsh")
        }
        Shell::Fish => {
            clap_complete::generate(shells::Fish, &mut command, "xtask", &mut script);
            include_str!("completions/cargo.fish")
        }
    };
    String::from_utf8(script).expect("clap writes UTF-8") + "\n" + connect
}
