//! Whoever uses the application's page in a test: who it is, what is typed, and what is looked at.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::e2e::axe::Axe;
use crate::e2e::browser::Browser;
use crate::e2e::world::World;

/// Whether the conversation is there.
pub const ENTERED: &str = "document.querySelector('#chat')?.hidden === false";

/// A user of this run alone, as what was added before may still be there. What belongs to it begins with its word.
pub struct User {
    pub word: String,
    pub email: String,
    pub password: String,
    /// Nobody signs in where there are no accounts.
    pub has_account: bool,
}

/// Takes pictures of the page, which lie beside the logs, and checks what is on each.
pub struct Observer {
    folder: PathBuf,
    prefix: String,
    axe: Option<Axe>,
}

impl Observer {
    pub fn new(world: &World) -> Result<Observer> {
        let prefix = format!("page-{}", world.ctx.config.profile);
        let observer = Observer { folder: world.ctx.folders.logs(), prefix, axe: Axe::find(world)? };
        world.remark(format!("pictures of the page: {}", observer.file("*").display()));
        Ok(observer)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}.png", self.prefix))
    }

    /// Pictures come first: one says what a finding is about.
    pub fn look(&self, page: &mut Browser, name: &str) -> Result<()> {
        page.screenshot(&self.file(name))?;
        self.axe.as_ref().map_or(Ok(()), |axe| axe.check(page, name))
    }
}

/// Fills the form in, whether it is the one for signing up or in.
pub fn sign(page: &mut Browser, user: &User) -> Result<()> {
    page.fill("#sign [name=email]", &user.email)?;
    page.fill("#sign [name=password]", &user.password)?;
    page.press("Enter")?;
    page.wait_until(ENTERED)
}

/// Says something to the assistant, once it may be.
pub fn say(page: &mut Browser, text: &str) -> Result<()> {
    page.wait_until("!document.querySelector('#say-send').hidden")?;
    page.fill("#say-content", text)?;
    page.press("Enter")
}

/// An expression: whether an element of a selector holds a text.
pub fn has(selector: &str, text: &str) -> String {
    format!("[...document.querySelectorAll({})].some((it) => it.innerText.includes({}))", json!(selector), json!(text))
}
