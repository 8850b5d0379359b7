//! Who is asked: what is deployed, by node ports of 127.0.0.1, and two programs of this machine at its database, reached by a
//! node port too. So the database is as far from the one as from the other.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::bench::app::report::moved;
use crate::bench::rows::{Bench, COMMAND};
use xtask::live;
use xtask::run::exit::Stop;
use xtask::run::http;
use xtask::run::process::Background;
use xtask::tools::{cargo, kubectl};

pub const FRONTEND: &str = "through the frontend";
pub const BACKEND: &str = "the backend";
pub const HERE: &str = "the backend on this machine";
pub const PLAIN: &str = "the plain program on this machine";

/// As many as a page of them has.
const TASKS: usize = 100;
const TITLE: &str = "buy oat milk";
/// Read, understood and answered without another change of the tasks.
const SAID: &str = "what should I do next?";
const ANSWER: Duration = Duration::from_secs(10);
const STARTED: Duration = Duration::from_secs(30);

/// Services that have to be reached from this machine.
const OPENED: [&str; 2] = ["backend", "postgres"];

#[derive(Clone, Debug)]
pub struct Place {
    url: String,
    conversation: u64,
}

impl Place {
    /// A target as vegeta reads it, and the content of the file that it names as the body.
    pub fn target(&self, work: &str, body: &str) -> Result<(String, String)> {
        let Place { url, conversation } = self;
        let post = |path: &str, content: Value| {
            let target = format!("POST {url}{path}\nContent-Type: application/json\n@{body}\n");
            (target, content.to_string())
        };
        Ok(match work {
            "list" => (format!("GET {url}/api/tasks\n"), String::new()),
            "create" => post("/api/tasks", json!({"title": TITLE})),
            "chat" => post(&format!("/api/conversations/{conversation}/messages"), json!({"content": SAID})),
            other => bail!("nobody knows how to {other}"),
        })
    }
}

/// All places; the programs of this machine end with it.
pub struct Places {
    urls: Vec<(&'static str, String)>,
    conversation: u64,
    _running: Vec<Background>,
}

/// Gives the copy of the project node ports for the backend and the database, and takes the limit of messages away.
pub fn open_up(bench: &Bench) -> Result<()> {
    let config = &bench.ctx.config;
    let file = bench.root.join("k8s/profiles").join(format!("{}.toml", config.profile));
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::write(&file, format!("{}\n{}", text.trim_end(), ports()))?;
    let overrides = bench.root.join(&config.overrides);
    if overrides.exists() {
        let message = format!("bench app has values of its own, and {} is there", config.overrides.display());
        return Err(
            Stop::usage(format!("{message}\nNext: move that file away, then run the same command again")).into()
        );
    }
    fs::create_dir_all(overrides.parent().unwrap_or(&bench.root))?;
    Ok(fs::write(&overrides, values())?)
}

fn ports() -> String {
    OPENED.map(|service| format!("\n[services.{service}]\nnode_port = \"auto\"\n")).concat()
}

fn values() -> String {
    let [backend, postgres] = OPENED.map(|service| format!("  {service}:\n    service:\n      type: NodePort\n"));
    format!("services:\n{backend}    env:\n      LIMIT_MESSAGES_PER_USER: \"0\"\n{postgres}")
}

impl Places {
    /// What is deployed, with tasks to list and a conversation to go on with, and with `all` the programs of this machine.
    pub fn find(bench: &Bench, all: bool) -> Result<Places> {
        let ctx = &bench.ctx;
        let endpoints = live::endpoints(ctx)?;
        let port = |service: &str| -> Result<u16> {
            let port = endpoints.get(service).and_then(|one| live::published_port(&ctx.config, one));
            port.with_context(|| format!("{service} is not published on this machine"))
        };
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let mut urls = vec![(FRONTEND, at(port(&ctx.config.open)?)), (BACKEND, at(port("backend")?))];
        let conversation = seed(&urls[1].1)?;
        let mut running = Vec::new();
        if all {
            let database = database(bench, port("postgres")?)?;
            let built = build(bench)?;
            for (place, program) in [(HERE, "backend"), (PLAIN, "examples/plain")] {
                let own = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let mut spawn = ctx.spawn.clone();
                let set = [("HOST", "127.0.0.1"), ("PORT", &own.to_string()), ("DATABASE_URL", &database)];
                spawn.env.extend(set.map(|(name, value)| (name.to_string(), value.to_string())));
                running.push(spawn.background(cargo::built(&format!("{built}/release/{program}")), |_| {})?);
                urls.push((place, at(own)));
                await_answer(ctx, &format!("{}/api/tasks", at(own)))?;
            }
        }
        Ok(Places { urls, conversation, _running: running })
    }

    pub fn get(&self, place: &str) -> Result<Place> {
        let found = self.urls.iter().find(|(known, _)| *known == place);
        let url = found.map(|(_, url)| url.clone()).with_context(|| format!("{place} was not started"))?;
        Ok(Place { url, conversation: self.conversation })
    }
}

/// Makes tasks and a conversation, whose number is returned.
fn seed(url: &str) -> Result<u64> {
    let client = http::agent(ANSWER);
    let post = |path: &str, body: Value| -> Result<Value> {
        let mut answer =
            client.post(format!("{url}{path}")).content_type("application/json").send(&body.to_string())?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(
            answer.status() == 201,
            "{path} answers {}: bench app is for a profile without accounts",
            answer.status()
        );
        Ok(serde_json::from_str(&text)?)
    };
    for _ in 0..TASKS {
        post("/api/tasks", json!({"title": TITLE}))?;
    }
    post("/api/conversations", json!({}))?["id"].as_u64().context("a conversation has a number")
}

/// Where the deployed database is reached from this machine, as the backend knows it from its Secret.
fn database(bench: &Bench, port: u16) -> Result<String> {
    let ctx = &bench.ctx;
    for secret in ctx.config.secrets.keys() {
        let mut values = ctx.run(kubectl::get_secret_values(&ctx.target(), secret))?;
        if let Some(url) = values.remove("DATABASE_URL") {
            return moved(&url, "127.0.0.1", port).context("DATABASE_URL has no host");
        }
    }
    bail!("no Secret has DATABASE_URL")
}

/// Builds both programs as they are released. Returns the folder that has them.
fn build(bench: &Bench) -> Result<String> {
    let folder = bench.ctx.folders.cache.join("bench-app").display().to_string();
    let step = bench.ctx.ui.step("build the backend and the plain program for this machine".to_string());
    bench.ctx.run(cargo::build_for_bench(&bench.ctx.path("services/Cargo.toml"), &folder).within(COMMAND))?;
    step.done("done");
    Ok(folder)
}

fn await_answer(ctx: &xtask::run::context::Context, url: &str) -> Result<()> {
    let (client, began) = (http::agent(ANSWER), Instant::now());
    while client.get(url).call().map(|answer| answer.status() != 200).unwrap_or(true) {
        ctx.spawn.interrupt.check()?;
        ensure!(began.elapsed() < STARTED, "{url} does not answer with 200");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_the_file_with_its_body() {
        let place = Place { url: "http://127.0.0.1:1".to_string(), conversation: 7 };
        let of = |work: &str| place.target(work, "/b").unwrap();
        assert_eq!(of("list"), ("GET http://127.0.0.1:1/api/tasks\n".to_string(), String::new()));
        let (target, body) = of("create");
        assert_eq!(target, "POST http://127.0.0.1:1/api/tasks\nContent-Type: application/json\n@/b\n");
        assert_eq!(body, r#"{"title":"buy oat milk"}"#);
        let (target, body) = of("chat");
        assert!(target.starts_with("POST http://127.0.0.1:1/api/conversations/7/messages\n"), "{target}");
        assert_eq!(body, r#"{"content":"what should I do next?"}"#);
        assert!(place.target("cake", "/b").is_err());
    }

    #[test]
    fn what_is_added_to_the_copy_opens_both_and_lifts_the_limit() {
        let wanted = "\n[services.backend]\nnode_port = \"auto\"\n\n[services.postgres]\nnode_port = \"auto\"\n";
        assert_eq!(ports(), wanted);
        let values = xtask::config::yaml::objects(&values()).unwrap().remove(0);
        let values = &values["services"];
        assert_eq!(values["backend"]["env"]["LIMIT_MESSAGES_PER_USER"], "0");
        for service in OPENED {
            assert_eq!(values[service]["service"]["type"], "NodePort", "{service}");
        }
    }
}
