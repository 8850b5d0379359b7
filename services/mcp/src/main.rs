use std::process::ExitCode;

fn main() -> ExitCode {
    kit::run(mcp::SERVICE, mcp::config::read, mcp::start)
}
