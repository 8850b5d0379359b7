//! What the services share: configuration from the environment, JSON logs, metrics, traces, serving and stopping, health
//! checks and an HTTP client. A service is a `Service`, its configuration and a function that makes its router; `run` does the rest.

pub mod client;
pub mod env;
pub mod healthcheck;
pub mod logs;
pub mod metrics;
pub mod reply;
pub mod serve;
pub mod trace;
pub mod url;

use std::{
    future::Future,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use axum::Router;
use tokio::{net::TcpListener, runtime::Runtime};
use tracing::{error, info};

use crate::{
    env::{Common, Env},
    serve::{Ending, Readiness},
    trace::export,
};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub version: &'static str,
    pub default_port: u16,
    pub health_path: &'static str,
}

/// The whole of a service's `main`: picks the subcommand, reads the configuration, serves until a signal stops it or starts
/// it again.
pub fn run<C, F>(service: Service, read: fn(&mut Env) -> Option<C>, start: fn(C, Readiness) -> F) -> ExitCode
where
    F: Future<Output = Router>,
{
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => serve_until_signal(service, read, start),
        ["healthcheck", urls @ ..] => match runtime() {
            Ok(runtime) => runtime.block_on(healthcheck::run(service, urls)),
            Err(code) => code,
        },
        ["--version"] => {
            println!("{} {}", service.name, service.version);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: {} [healthcheck [URL...] | --version]", service.name);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn serve_until_signal<C, F>(service: Service, read: fn(&mut Env) -> Option<C>, start: fn(C, Readiness) -> F) -> ExitCode
where
    F: Future<Output = Router>,
{
    let mut env = Env::of_process();
    let common = Common::read(&mut env, service.default_port);
    let traces = export::Settings::read(&mut env, &service);
    let own = read(&mut env);
    let (traces, (common, own)) = match env.finish(traces.zip(common.zip(own))) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("{}: {mistake}", service.name);
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    logs::start(common.log_level, traces.is_some());
    // Asked before another file takes its place.
    let program = std::env::current_exe();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = runtime.block_on(async {
        let listener = TcpListener::bind((common.host, common.port))
            .await
            .map_err(|err| format!("can't listen on {}:{}: {err}; set HOST or PORT", common.host, common.port))?;
        let ending = serve::ending_signal();
        info!(service = service.name, version = service.version, host = %common.host, port = common.port, "listening");
        if let Some(port) = common.metrics_port {
            tokio::spawn(metrics::serve(service, common.host, port));
        }
        if let Some(traces) = traces {
            export::start(traces);
        }
        let readiness = Readiness::default();
        let app = start(own, readiness.clone()).await;
        let outcome = serve::serve(listener, app, readiness, common.stop, ending).await;
        export::flush().await;
        outcome
    });
    // A runtime that is dropped waits for blocking work, a name look-up for instance: the drain has had its time.
    runtime.shutdown_background();
    let failed = match (outcome, program) {
        (Ok(Ending::Stop), _) => return ExitCode::SUCCESS,
        // The process stays the same, and so does its container.
        (Ok(Ending::StartAgain), Ok(program)) => {
            let err = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            format!("can't start {} again: {err}", program.display())
        }
        (Ok(Ending::StartAgain), Err(err)) => format!("can't start again: the program is not known: {err}"),
        (Err(err), _) => err,
    };
    error!(service = service.name, "{failed}");
    ExitCode::from(EXIT_FAILED)
}

fn runtime() -> Result<Runtime, ExitCode> {
    Runtime::new().map_err(|err| {
        eprintln!("can't start the runtime: {err}; are threads limited");
        ExitCode::from(EXIT_FAILED)
    })
}
