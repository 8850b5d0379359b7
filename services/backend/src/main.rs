use std::process::ExitCode;

fn main() -> ExitCode {
    kit::run(backend::SERVICE, backend::config::read, backend::start)
}
