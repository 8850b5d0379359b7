//! The binary of `cargo xtask`; the library has all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
