// Puts the page together: who is here, what they see, and what keeps it up to date.

import { get, session, token } from "./api.js";
import { setUpAccounts, showForm } from "./accounts.js";
import { beginConversation, openLatest, setUpChat } from "./chat.js";
import { setUpConversations } from "./conversations.js";
import { byId } from "./dom.js";
import { watchTasks } from "./events.js";
import { notifyProblem } from "./notice.js";
import { pending } from "./pending.js";
import { setUpSettings } from "./settings.js";
import { forgetTasks, loadTasks, refreshTasks, setUpTasks } from "./tasks.js";
import { loadTexts, text } from "./text.js";

const RETRY_MS = 5_000;

let user = null;
let endWatching = null;
let retry;
let isExpired = false;

// Shows what whoever is here may see.
async function start() {
    clearTimeout(retry);
    showStart(text("loading"));
    let found;
    try {
        found = await get("/auth/session");
    } catch (problem) {
        showStart(problem.isAway ? text("start_away") : problem.message, { isProblem: true });
        retry = setTimeout(start, RETRY_MS);
        return;
    }
    user = found.user;
    byId("start").hidden = true;
    if (found.mode !== "none" && user === null) {
        token.forget();
        showForm(isExpired ? text("session_over") : null);
        isExpired = false;
        return;
    }
    byId("sign").hidden = true;
    for (const id of ["views", "chat", "tasks"]) {
        byId(id).hidden = false;
    }
    // The events begin with "reload", which loads the tasks; this doesn't wait for it.
    endWatching = watchTasks(user?.id ?? "everyone", onChange);
    await Promise.all([loadTasks(), openLatest().catch(notifyProblem)]);
}

function showStart(message, { isProblem = false } = {}) {
    byId("start").hidden = false;
    byId("start").classList.toggle("problem", isProblem);
    byId("start-text").textContent = message;
    byId("start-retry").hidden = !isProblem;
}

// Nothing of one user's stays on the page for the next.
function end({ detail }) {
    isExpired = detail === "expired";
    endWatching?.();
    endWatching = null;
    user = null;
    for (const id of ["views", "chat", "tasks"]) {
        byId(id).hidden = true;
    }
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    document.querySelectorAll("form").forEach((form) => form.reset());
    byId("notices").replaceChildren();
    pending.clear();
    beginConversation();
    forgetTasks();
    showAway(false);
    start();
}

function onChange({ type }) {
    if (type === "away" || type === "back") {
        showAway(type === "away");
    } else {
        refreshTasks();
    }
}

function showAway(isAway) {
    byId("away").hidden = !isAway;
    byId("away").textContent = isAway ? text("away") : "";
}

// On a phone one of the two is shown at a time.
function showPane(name) {
    document.body.dataset.pane = name;
    for (const button of byId("views").querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.value === name));
    }
}

function setUpPanes() {
    for (const button of byId("views").querySelectorAll("button")) {
        button.addEventListener("click", () => showPane(button.value));
    }
    for (const link of document.querySelectorAll("a.skip")) {
        link.addEventListener("click", (event) => {
            event.preventDefault();
            const target = document.querySelector(link.hash);
            showPane(target.closest("section").id);
            target.focus();
        });
    }
    const menu = byId("tasks-menu");
    const close = () => menu.removeAttribute("open");
    menu.addEventListener("click", (event) => event.target.closest("button") && close());
    menu.addEventListener("focusout", (event) => menu.contains(event.relatedTarget) || close());
    menu.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && menu.open) {
            close();
            menu.querySelector("summary").focus();
        }
    });
    showPane("chat");
}

await loadTexts();
setUpPanes();
setUpTasks();
setUpChat();
setUpConversations();
setUpSettings(() => user);
setUpAccounts(start);
byId("start-retry").addEventListener("click", start);
session.addEventListener("over", end);
start();
