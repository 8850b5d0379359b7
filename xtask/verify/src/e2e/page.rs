//! The page of `ui`, with what runs in it, as a browser shows it.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::e2e::browser::Browser;
use crate::e2e::world::World;
use xtask::run::call::DEADLINE;
use xtask::run::poll;

pub fn shows_what_runs(world: &World) -> Result<()> {
    let page = world.begin(&["ui", "--json"])?;
    let url = || Ok(page.line_with("\"url\"").and_then(|line| url_in(&line)));
    let url = poll::until(&world.ctx.spawn.interrupt, DEADLINE, url)?.context("ui does not print its URL")?;
    let shown = look(world, &url);
    page.signal(Signal::INT);
    let output = page.end(world)?;
    shown?;
    ensure!(output.code == Some(0), "Ctrl-C ended ui with exit code {:?}\n{}", output.code, output.tail);
    Ok(())
}

fn url_in(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    Some(event["url"].as_str()?.to_string())
}

fn look(world: &World, url: &str) -> Result<()> {
    let (origin, _) = url.split_once("/?token=").context("the URL has a token")?;
    ensure!(world.get(url)?.contains("<title>"), "{origin} has no title");
    ensure!(world.get(origin).is_err(), "{origin} is served without the token");
    let Some(mut browser) = Browser::open(world, url)? else {
        world.remark("no Chromium was found: the page was read, and not opened".to_string());
        return Ok(());
    };
    let count = world.ctx.config.running().count();
    browser.wait_until(&format!("document.querySelectorAll('.service .state.ready').length === {count}"))?;
    browser.wait_until("document.querySelectorAll('#log .row').length > 0")?;
    browser.wait_until("document.querySelectorAll('#timeline details').length > 0")?;
    let needs =
        browser.value_of("[...document.querySelectorAll('#needs li')].map((item) => item.textContent).join()")?;
    let expected = "backend needs mcp,backend needs postgres,frontend needs backend,mcp needs backend";
    ensure!(needs == expected, "the page has the needs {needs} instead of {expected}");
    let elsewhere: Vec<String> = browser.requests().into_iter().filter(|asked| !asked.starts_with(origin)).collect();
    ensure!(elsewhere.is_empty(), "the page asks another server: {}", elsewhere.join(", "));
    ensure!(!browser.requests().is_empty(), "the browser reports no requests");
    let errors = browser.errors();
    ensure!(errors.is_empty(), "errors in the browser's console:\n{}", errors.join("\n"));
    Ok(())
}
