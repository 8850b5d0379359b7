//! `completions`: a script by which a shell completes `cargo xtask`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::shells;

use crate::cli::{Cli, Shell};

/// Prints the script. It needs no project and no configuration, so that a shell can ask for it at its start.
pub fn run(shell: Shell) -> ExitCode {
    match std::io::stdout().write_all(script(shell).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What clap generates completes a program called `xtask`. The code behind it connects that to cargo, whose subcommand
/// `xtask` is.
fn script(shell: Shell) -> String {
    let (mut command, mut script) = (Cli::command(), Vec::new());
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
