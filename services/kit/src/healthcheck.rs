//! `NAME healthcheck [URL...]`: asks the service itself, or each URL, and exits 1 unless all answer with success.

use std::process::ExitCode;

use axum::http::Uri;

use crate::{
    Service,
    client::{self, Client},
    env::{Env, read_health_url},
};

const TIMEOUT_MS: u64 = 3_000;

pub async fn run(service: Service, urls: &[&str]) -> ExitCode {
    let urls = match urls {
        [] => {
            let mut env = Env::of_process();
            let url = read_health_url(&mut env, service.default_port, service.health_path);
            match env.finish(url) {
                Ok(url) => vec![url],
                Err(mistakes) => {
                    eprintln!("{}", mistakes.join("\n"));
                    return ExitCode::FAILURE;
                }
            }
        }
        urls => urls.iter().map(|url| (*url).to_owned()).collect(),
    };
    let client = client::client();
    let mut all_well = true;
    for url in &urls {
        match check(&client, url).await {
            Ok(()) => println!("{url}: ok"),
            Err(reason) => {
                all_well = false;
                println!("{url}: {reason}");
            }
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn check(client: &Client, url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|err| format!("is not a URL: {err}"))?;
    let answer = client::get(client, uri, TIMEOUT_MS).await?;
    if answer.status.is_success() {
        return Ok(());
    }
    Err(format!("answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim()))
}
