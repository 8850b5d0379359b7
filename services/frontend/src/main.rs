use std::process::ExitCode;

fn main() -> ExitCode {
    kit::run(frontend::SERVICE, frontend::config::read, frontend::start)
}
