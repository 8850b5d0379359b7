//! The application's page while something fails: what it says, and that it goes on afterwards.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::browser::Browser;
use crate::e2e::person::{ENTERED, Observer, User, has, say, sign};

/// What the backend says of a language model that fails, and the frontend of a backend that is away.
const FAILED: &str = r#"{"type":"about:blank","title":"Bad Gateway","status":502,"code":"assistant_failed","detail":"the language model broke off in the middle of its answer"}"#;
const AWAY: &str = r#"{"type":"about:blank","title":"Bad Gateway","status":502,"code":"backend_unreachable","detail":"the backend can't be reached; try again in a moment"}"#;
const PROBLEM: &str = "application/problem+json";

/// Each in turn, from one that is over at once to the end of the session.
pub fn go_on(page: &mut Browser, observer: &Observer, user: &User) -> Result<()> {
    // Another tab would go on to hear of changes for this one.
    page.close_last_tab()?;
    fail_to_answer(page, observer, &user.word)?;
    lose_backend(page, observer, &user.word)?;
    lose_connection(page, observer, &user.word)?;
    if user.has_account {
        end_session(page, observer, user)?;
    }
    Ok(())
}

/// An answer that fails says why, and is asked for again by hand.
fn fail_to_answer(page: &mut Browser, observer: &Observer, word: &str) -> Result<()> {
    let events = format!("event: error\ndata: {FAILED}\n\n");
    page.answer_for("*/api/conversations/*/messages*", 200, "text/event-stream", &events)?;
    say(page, &format!("add {word}-again"))?;
    page.wait_until(&has("#messages .problem", "The language model broke off in the middle of its answer."))?;
    observer.look(page, "failed-answer")?;
    page.answer_no_more()?;
    page.click("#messages .problem button")?;
    page.wait_until(&has("#messages .call", &format!("{word}-again")))?;
    page.wait_until("document.querySelector('#messages .problem') === null")
}

/// Where the backend is away, the page says so and comes back by itself; what was being typed stays.
fn lose_backend(page: &mut Browser, observer: &Observer, word: &str) -> Result<()> {
    page.answer_for("*/api/*", 502, PROBLEM, AWAY)?;
    let title = format!("{word}-typed");
    page.fill("#add-title", &title)?;
    page.press("Enter")?;
    page.wait_until(&has("#tasks", "The server can't be reached right now."))?;
    let kept = page.value_of("document.querySelector('#add-title').value")?;
    ensure!(kept == json!(title), "of the task that was not added {kept} is left");
    observer.look(page, "failed-task")?;
    page.reload()?;
    page.wait_until(&has("#start.problem", "This page tries again by itself."))?;
    observer.look(page, "backend-away")?;
    page.answer_no_more()?;
    page.wait_until(ENTERED)?;
    page.wait_until(&has("#messages .call", &format!("{word}-again")))
}

/// What was said without a network is answered once it is back, and was said once.
fn lose_connection(page: &mut Browser, observer: &Observer, word: &str) -> Result<()> {
    // The browser takes no network from a stream that is open: this one never opens.
    page.answer_for("*/api/tasks/events*", 502, PROBLEM, AWAY)?;
    page.reload()?;
    page.wait_until("document.querySelector('#away')?.hidden === false")?;
    page.set_offline(true)?;
    say(page, &format!("add {word}-later"))?;
    page.wait_until("document.querySelector('#messages [data-coming] .hint') !== null")?;
    observer.look(page, "offline")?;
    page.answer_no_more()?;
    page.set_offline(false)?;
    page.wait_until(&has("#messages .call", &format!("{word}-later")))?;
    page.wait_until("document.querySelector('#away').hidden")?;
    page.reload()?;
    page.wait_until(&has("#list .task", &format!("{word}-later")))?;
    page.wait_until(&has("#messages .call", &format!("{word}-later")))?;
    let count = format!(
        "[...document.querySelectorAll('#messages .user, #list .task')].filter((it) => it.innerText.includes('{word}-later')).length"
    );
    let count = page.value_of(&count)?;
    ensure!(count == 2, "one message and one task are there, together {count}");
    Ok(())
}

/// A token that is of no use any more leads back to the form, which says why.
fn end_session(page: &mut Browser, observer: &Observer, user: &User) -> Result<()> {
    page.value_of("localStorage.setItem('token', 'of.no.use')")?;
    say(page, "what is left?")?;
    page.wait_until(&has("#sign-error", "Your session is over."))?;
    observer.look(page, "session-over")?;
    sign(page, user)?;
    page.wait_until(&has("#list .task", &format!("{}-later", user.word)))
}
