//! The database goes away while people write, and comes back by itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::world::World;
use xtask::live::service;
use xtask::run::http;
use xtask::run::poll;
use xtask::tools::{crictl, kubectl};

const WRITERS: usize = 4;
const REQUEST: Duration = Duration::from_secs(30);
/// What is waited for at most; how long it took is said, not judged.
const LIMIT: Duration = Duration::from_secs(120);
/// As many tasks as one answer lists.
const LISTED: usize = 500;

/// What came of the writes.
#[derive(Default)]
struct Writes {
    acknowledged: Vec<String>,
    refused: usize,
    /// What was answered that is neither.
    others: Vec<String>,
}

/// PostgreSQL is killed under writes: whatever was acknowledged is there afterwards, once, and what was refused says when
/// to come again.
pub fn killed_under_writes(world: &World) -> Result<()> {
    let url = world.url()?;
    let run = format!("written-{}", std::process::id());
    let writes = Mutex::new(Writes::default());
    let done = AtomicBool::new(false);
    let times = std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let (url, run, writes, done) = (&url, &run, &writes, &done);
            threads.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    write(url, &format!("{run}-{writer}-{number}"), writes);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let ended = kill_and_wait(world, &url, &writes);
        done.store(true, Ordering::Relaxed);
        ended
    });
    let (red, green) = times?;
    let writes = writes.into_inner().expect("writing does not panic");
    let found = titles_with(&url, &run)?;
    remove(&url, &found)?;
    let titles: Vec<&String> = found.iter().map(|(_, title)| title).collect();
    let unique: BTreeSet<&String> = titles.iter().copied().collect();
    ensure!(unique.len() == titles.len(), "{} tasks are there twice", titles.len() - unique.len());
    let lost: Vec<&String> = writes.acknowledged.iter().filter(|title| !unique.contains(title)).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged tasks are gone, such as {}",
        lost.len(),
        writes.acknowledged.len(),
        lost[0]
    );
    ensure!(writes.others.is_empty(), "{} writes ended otherwise, such as: {}", writes.others.len(), writes.others[0]);
    ensure!(
        writes.refused > 0,
        "not one of {} writes was refused while the database was away",
        writes.acknowledged.len()
    );
    world.remark(format!(
        "not ready {:.1} s after the kill, ready again {:.1} s after it; {} writes acknowledged and there, {} refused with 503",
        red.as_secs_f64(),
        green.as_secs_f64(),
        writes.acknowledged.len(),
        writes.refused
    ));
    Ok(())
}

/// Kills the server once it is written to, and goes on until it is written to again. Returns when the page was not ready, and
/// when it was ready again, after the kill.
fn kill_and_wait(world: &World, url: &str, writes: &Mutex<Writes>) -> Result<(Duration, Duration)> {
    let ready = format!("{url}/api/ready");
    let acknowledged = || writes.lock().expect("writing does not panic").acknowledged.len();
    await_that(world, "writes", || acknowledged() >= 20)?;
    let found = service::places(&world.ctx, "postgres")?;
    let server = &found.first().context("no container of postgres runs")?.place;
    world.run(crictl::kill(&server.node, &server.id))?;
    let killed = Instant::now();
    await_that(world, "not to be ready", || world.get(&ready).is_err())?;
    let red = killed.elapsed();
    await_that(world, "to be ready", || world.get(&ready).is_ok())?;
    let (green, before) = (killed.elapsed(), acknowledged());
    await_that(world, "writes", || acknowledged() >= before + 20)?;
    Ok((red, green))
}

fn await_that(world: &World, what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let found = poll::until(&world.ctx.spawn.interrupt, LIMIT, || Ok(holds().then_some(())))?;
    found.with_context(|| format!("the application was waited for in vain: {what}"))
}

fn write(url: &str, title: &str, writes: &Mutex<Writes>) {
    let request = http::agent(REQUEST).post(format!("{url}/api/tasks")).header("content-type", "application/json");
    let sent = request.send(json!({ "title": title }).to_string());
    let mut writes = writes.lock().expect("writing does not panic");
    match sent {
        Ok(answer) if answer.status() == 201 => writes.acknowledged.push(title.to_string()),
        Ok(answer) if answer.status() == 503 && answer.headers().contains_key("retry-after") => writes.refused += 1,
        Ok(answer) => writes.others.push(format!("{} without Retry-After", answer.status())),
        Err(error) => writes.others.push(error.to_string()),
    }
}

/// The tasks of this run: their ids and titles.
fn titles_with(url: &str, run: &str) -> Result<Vec<(i64, String)>> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{url}/api/tasks?q={run}&limit={LISTED}{cursor}");
        let mut answer = http::agent(REQUEST).get(&page).call()?;
        let text = answer.body_mut().read_to_string()?;
        let tasks: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("{page} answered {text}"))?;
        found.extend(tasks.iter().map(|task| {
            (task["id"].as_i64().unwrap_or_default(), task["title"].as_str().unwrap_or_default().to_string())
        }));
        match answer.headers().get("next-cursor") {
            Some(next) => cursor = format!("&cursor={}", next.to_str()?),
            None => return Ok(found),
        }
    }
}

fn remove(url: &str, tasks: &[(i64, String)]) -> Result<()> {
    for (id, _) in tasks {
        http::agent(REQUEST).delete(format!("{url}/api/tasks/{id}")).call()?;
    }
    Ok(())
}

/// A dump brings back what was there, and nothing else stays; the services go on with it.
pub fn dumped_and_restored(world: &World) -> Result<()> {
    let url = world.url()?;
    let kept = world.add_task("kept in a dump")?;
    let file = world.ctx.staging("dump.sql");
    let _ = std::fs::remove_file(&file);
    let path = file.display().to_string();
    run(world, &["db", "dump", "--to", &path])?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("kept in a dump"), "the dump lacks a task");
    ensure!(!text.contains("COPY public.task_changes"), "the dump has rows of task_changes");
    http::agent(REQUEST).delete(format!("{url}/api/tasks/{kept}")).call()?;
    let later = world.add_task("made after the dump")?;

    let bad = file.with_extension("bad.sql");
    std::fs::write(&bad, format!("{text}\nINSERT INTO nowhere VALUES (1);\n"))?;
    let refused = world.xtask(&["db", "restore", &bad.display().to_string()])?;
    ensure!(refused.code == Some(1), "a dump with a mistake was restored\n{}", refused.tail);
    world.expect_task(&later).context("a restore that failed changed something")?;

    run(world, &["db", "restore", &path])?;
    world.expect_task(&kept)?;
    let answer = http::agent(REQUEST).get(format!("{url}/api/tasks/{later}")).call()?;
    ensure!(answer.status() == 404, "what was made after the dump is still there");
    run(world, &["up"])?;
    world.expect_task(&kept)?;

    let before = titles_with(&url, "passport")?.len();
    run(world, &["db", "seed"])?;
    ensure!(titles_with(&url, "passport")?.len() == before + 1, "the seed added nothing");
    remove(&url, &titles_with(&url, "")?)?;
    std::fs::remove_file(&file)?;
    Ok(std::fs::remove_file(&bad)?)
}

/// What was purged does not come back, though the provisioner has started anew since it made the volume.
pub fn purged(world: &World) -> Result<()> {
    world.add_task("purged")?;
    let provisioner = world.run(kubectl::get(&world.ctx.target_in("kube-system"), "pods/storage-provisioner", None))?;
    let pod = provisioner.first().context("the cluster has no storage-provisioner")?;
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let id = id.strip_prefix("containerd://").context("the storage-provisioner does not run")?;
    world.run(crictl::kill(pod["spec"]["nodeName"].as_str().unwrap_or_default(), id))?;
    run(world, &["down", "--purge"])?;
    run(world, &["up"])?;
    let found = titles_with(&world.url()?, "")?;
    ensure!(found.is_empty(), "{} tasks have come back, such as {:?}", found.len(), found[0]);
    Ok(())
}

fn run(world: &World, arguments: &[&str]) -> Result<()> {
    let output = world.xtask(arguments)?;
    ensure!(output.success, "{} failed\n{}", arguments.join(" "), output.tail);
    Ok(())
}
