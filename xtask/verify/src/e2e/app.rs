//! The application's page as its user meets it: conversation, tasks, two tabs, a lost connection, a phone.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::browser::Browser;
use crate::e2e::failing;
use crate::e2e::person::{ENTERED, Observer, User, has, say, sign};
use crate::e2e::world::World;
use xtask::live;

/// What a person does in the page, in a browser, against what runs.
pub fn serves_its_user(world: &World) -> Result<()> {
    let url =
        live::open_url(&world.ctx.config, &live::endpoints(&world.ctx)?).context("no URL answers from outside")?;
    let Some(mut page) = Browser::open(world, &url)? else {
        world.remark("no Chromium was found: the page was not opened".to_string());
        return Ok(());
    };
    let observer = Observer::new(world)?;
    walk(&mut page, &url, &observer)
}

fn walk(page: &mut Browser, url: &str, observer: &Observer) -> Result<()> {
    page.resize(1280, 800)?;
    let user = enter(page, observer)?;
    let word = &user.word;
    chat(page, word)?;
    keep_tasks(page, word)?;
    share(page, url, word)?;
    look(page, observer, word)?;
    let elsewhere: Vec<String> = page.requests().into_iter().filter(|asked| !is_of(asked, url)).collect();
    ensure!(elsewhere.is_empty(), "the page asks another server: {}", elsewhere.join(", "));
    let errors = page.errors();
    ensure!(errors.is_empty(), "errors in the browser's console:\n{}", errors.join("\n"));
    // Last, as a browser reports each request that fails.
    failing::go_on(page, observer, &user)
}

/// What begins with `data:` are the browser's own pictures in fields for dates.
fn is_of(asked: &str, url: &str) -> bool {
    asked.starts_with(url.trim_end_matches('/')) || asked == "about:blank" || asked.starts_with("data:")
}

/// Signs up, where there are accounts.
fn enter(page: &mut Browser, observer: &Observer) -> Result<User> {
    page.wait_until(&format!("{ENTERED} || document.querySelector('#sign')?.hidden === false"))?;
    let has_account = page.value_of("document.querySelector('#sign').hidden")? == Value::Bool(false);
    let word = format!("e{}", std::process::id());
    let (email, password) = (format!("{word}@example.test"), format!("password-{word}"));
    let user = User { word, email, password, has_account };
    if has_account {
        observer.look(page, "sign-in")?;
        page.click("#sign-other")?;
        sign(page, &user)?;
    }
    page.wait_until(ENTERED)?;
    Ok(user)
}

/// What is said is done at once, shown as it is done, and taken back.
fn chat(page: &mut Browser, word: &str) -> Result<()> {
    say(page, &format!("add {word}-milk tomorrow at 5pm, high priority"))?;
    page.wait_until(&has("#messages .call", &format!("{word}-milk")))?;
    page.wait_until(&has("#list .task", &format!("{word}-milk")))?;
    let types = page.media_types("/messages");
    ensure!(types.iter().any(|kind| kind == "text/event-stream"), "the answer was not streamed but {types:?}");
    page.click("#messages .call:last-child button")?;
    page.wait_until(&format!("!{}", has("#list .task", &format!("{word}-milk"))))?;
    say(page, &format!("add {word}-rent"))?;
    page.wait_until(&has("#list .task", &format!("{word}-rent")))?;
    page.reload()?;
    page.wait_until(&has("#messages .call", &format!("{word}-rent")))?;
    page.wait_until(&has("#list .task", &format!("{word}-rent")))
}

/// By the form, with the keyboard, and a deletion that is taken back.
fn keep_tasks(page: &mut Browser, word: &str) -> Result<()> {
    let task = format!("{word}-call");
    page.fill("#add-title", &task)?;
    page.press("Enter")?;
    page.wait_until(&has("#list .task", &task))?;
    ensure!(first(page)? == task, "the new task is not the first one but {}", first(page)?);
    page.value_of("document.querySelector('#list .handle').focus()")?;
    page.press("ArrowDown")?;
    page.wait_until(&format!("document.querySelector('#list .title').textContent !== {}", json!(task)))?;
    let row = "#list .task:nth-child(2)";
    page.click(&format!("{row} [data-role=remove]"))?;
    page.wait_until(&format!("!{}", has("#list .task", &task)))?;
    page.click("#notices .notice:last-child .quiet")?;
    page.wait_until(&has("#list .task", &task))?;
    page.click(&format!("{row} .check"))?;
    page.wait_until(&format!("!{}", has("#list .task", &task)))
}

/// A change in one tab shows in the other, which is not touched.
fn share(page: &mut Browser, url: &str, word: &str) -> Result<()> {
    page.open_tab(url)?;
    page.resize(1280, 800)?;
    page.wait_until(&has("#list .task", &format!("{word}-rent")))?;
    page.fill("#add-title", &format!("{word}-elsewhere"))?;
    page.press("Enter")?;
    page.go_to_tab(0)?;
    page.wait_until(&has("#list .task", &format!("{word}-elsewhere")))
}

/// Light and dark, what opens above the page, and as narrow as a phone.
fn look(page: &mut Browser, observer: &Observer, word: &str) -> Result<()> {
    let paper = "getComputedStyle(document.body).backgroundColor";
    page.prefer("light")?;
    let light = page.value_of(paper)?;
    observer.look(page, "light")?;
    page.prefer("dark")?;
    ensure!(page.value_of(paper)? != light, "the page is as light where the system is dark: {light}");
    observer.look(page, "dark")?;
    page.prefer("light")?;
    page.click("#list .title")?;
    page.wait_until("document.querySelector('#list .editor') !== null")?;
    page.click("#tasks-menu > summary")?;
    observer.look(page, "menu")?;
    page.click("#tasks-menu > summary")?;
    page.click("#list .editor .quiet")?;
    page.click("#open-settings")?;
    observer.look(page, "settings")?;
    page.click("#settings-dialog header button")?;
    page.click("#open-conversations")?;
    page.wait_until(&has("#conversations-list", word))?;
    observer.look(page, "conversations")?;
    page.click("#conversations header button")?;
    for (width, height) in [(390, 844), (320, 640)] {
        page.resize(width, height)?;
        for pane in ["chat", "tasks"] {
            page.click(&format!("#views [value={pane}]"))?;
            let shown = "['chat', 'tasks'].filter((id) => document.getElementById(id).offsetHeight > 0).join()";
            ensure!(page.value_of(shown)? == pane, "a phone shows {} instead of {pane}", page.value_of(shown)?);
            let wide = page.value_of("document.documentElement.scrollWidth")?;
            ensure!(wide == width, "{pane} is {wide} pixels wide on {width}");
            observer.look(page, &format!("{width}-{pane}"))?;
        }
    }
    page.resize(1280, 800)
}

fn first(page: &mut Browser) -> Result<String> {
    let title = page.value_of("document.querySelector('#list .title').textContent")?;
    Ok(title.as_str().unwrap_or_default().to_string())
}
