"use strict";

const PAGE_SIZE = 50;
const REQUEST_TIMEOUT_MS = 15000;
// An assistant thinks for longer.
const ANSWER_TIMEOUT_MS = 30000;
const MESSAGES_MAX = 100;
const TOKEN = "token";

const EMPTY = {
    "": "Nothing to do. Add the first task above.",
    false: "Nothing is open.",
    true: "Nothing is done yet.",
};

const at = (id) => document.getElementById(id);
const form = at("add");
const list = at("tasks");

// Who is signed in, where somebody must be. The token is kept for this tab and this origin alone: a cookie would go to
// whatever else is served from the same host, at another port. No script but ours runs here that could read it.
let mode = "none";
let user = null;
let isNewcomer = false;
let conversation = null;

// What the server last said. The page is drawn from it and from nothing else.
let tasks = [];
let mayHaveMore = false;
// Counts listings, so that a slow answer doesn't overwrite a newer one.
let listing = 0;

async function api(method, path, body, timeoutMs = REQUEST_TIMEOUT_MS) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = {};
    if (token !== null) {
        headers.authorization = `Bearer ${token}`;
    }
    if (body !== undefined) {
        headers["content-type"] = "application/json";
    }
    let response;
    try {
        response = await fetch(`/api${path}`, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: AbortSignal.timeout(timeoutMs),
        });
    } catch (error) {
        const slow = error.name === "TimeoutError";
        throw new Error(slow ? "The server takes too long to answer" : "The server can't be reached");
    }
    const answer = response.status === 204 ? null : await response.json().catch(() => null);
    if (!response.ok) {
        const error = new Error(answer?.detail ?? `The server answered ${response.status}`);
        error.status = response.status;
        if (response.status === 401 && user !== null) {
            forgetUser();
        }
        throw error;
    }
    return answer;
}

// Asks who is signed in, and shows what he may see.
async function start() {
    const session = await api("GET", "/auth/session");
    mode = session.mode;
    user = session.user;
    if (user === null) {
        sessionStorage.removeItem(TOKEN);
    }
    show();
    if (isIn()) {
        await Promise.all([load(), loadConversation()]);
    }
}

function isIn() {
    return mode === "none" || user !== null;
}

function show() {
    for (const id of ["add", "filter", "tasks", "chat"]) {
        at(id).hidden = !isIn();
    }
    at("account").hidden = user === null;
    at("who").textContent = user === null ? "" : (user.name ?? user.email);
    at("sign").hidden = isIn();
    at("sign-heading").textContent = at("sign-submit").textContent = isNewcomer ? "Make an account" : "Sign in";
    at("sign-other").textContent = isNewcomer ? "I have an account" : "Make an account";
    at("name-field").hidden = !isNewcomer;
    at("password-hint").hidden = !isNewcomer;
    at("password").minLength = isNewcomer ? 8 : 1;
    at("password").autocomplete = isNewcomer ? "new-password" : "current-password";
}

// Nothing of one user's stays on the page for the next.
function forgetUser() {
    sessionStorage.removeItem(TOKEN);
    user = null;
    tasks = [];
    mayHaveMore = false;
    conversation = null;
    listing++;
    draw();
    at("empty").hidden = true;
    drawMessages([]);
    show();
}

async function sign() {
    const { name, email, password } = at("sign").elements;
    const credentials = { email: email.value.trim(), password: password.value };
    if (isNewcomer && name.value.trim() !== "") {
        credentials.name = name.value.trim();
    }
    const answer = await api("POST", isNewcomer ? "/auth/sign-up" : "/auth/sign-in", credentials);
    sessionStorage.setItem(TOKEN, answer.token);
    at("sign").reset();
    isNewcomer = false;
    await start();
}

async function signOut() {
    try {
        await api("POST", "/auth/sign-out");
    } catch (error) {
        // The session was over already, as was wanted.
        if (error.status !== 401) {
            throw error;
        }
    }
    forgetUser();
}

// The latest conversation goes on.
async function loadConversation() {
    const [latest] = await api("GET", "/conversations?limit=1");
    conversation = latest?.id ?? null;
    const query = `limit=${MESSAGES_MAX}`;
    drawMessages(conversation === null ? [] : await api("GET", `/conversations/${conversation}/messages?${query}`));
}

function drawMessages(messages) {
    at("messages").replaceChildren();
    messages.forEach(addMessage);
    at("chat-empty").hidden = messages.length > 0;
    at("forget").hidden = conversation === null;
}

function addMessage(message) {
    const item = document.createElement("li");
    const who = document.createElement("span");
    who.className = "unseen";
    who.textContent = message.role === "user" ? "You: " : "Assistant: ";
    item.className = message.role;
    item.append(who, message.content);
    at("messages").append(item);
    at("chat-empty").hidden = true;
    at("messages").scrollTop = at("messages").scrollHeight;
}

async function say() {
    const content = at("content").value.trim();
    if (content === "") {
        return;
    }
    conversation ??= (await api("POST", "/conversations")).id;
    at("forget").hidden = false;
    addMessage({ role: "user", content });
    at("content").value = "";
    const path = `/conversations/${conversation}/messages`;
    try {
        const answer = await api("POST", path, { content }, ANSWER_TIMEOUT_MS);
        addMessage(answer.assistant);
    } catch (error) {
        // Forgotten elsewhere: the next message begins another.
        if (error.status === 404) {
            conversation = null;
        }
        throw error;
    }
    await load();
}

async function forget() {
    try {
        await api("DELETE", `/conversations/${conversation}`);
    } catch (error) {
        if (error.status !== 404) {
            throw error;
        }
    }
    conversation = null;
    drawMessages([]);
}

// A failure in the chat is shown there.
async function attemptInChat(action, control) {
    at("chat-error").hidden = true;
    control.disabled = true;
    try {
        await action();
    } catch (error) {
        at("chat-error").textContent = error.message;
        at("chat-error").hidden = false;
    }
    control.disabled = false;
}

function filter() {
    return document.querySelector("input[name=show]:checked").value;
}

async function load({ append = false } = {}) {
    const mine = ++listing;
    const offset = append ? tasks.length : 0;
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), offset: String(offset) });
    if (filter() !== "") {
        query.set("completed", filter());
    }
    list.setAttribute("aria-busy", "true");
    try {
        const found = await api("GET", `/tasks?${query}`);
        if (mine !== listing) {
            return;
        }
        // A task that was added elsewhere meanwhile moves the others down, so that one may come twice.
        const known = new Set(append ? tasks.map((task) => task.id) : []);
        tasks = (append ? tasks : []).concat(found.filter((task) => !known.has(task.id)));
        mayHaveMore = found.length === PAGE_SIZE;
        draw();
    } finally {
        if (mine === listing) {
            list.setAttribute("aria-busy", "false");
        }
    }
}

function draw() {
    list.replaceChildren(...tasks.map(row));
    at("more").hidden = !mayHaveMore;
    at("empty").hidden = tasks.length > 0;
    at("empty").textContent = EMPTY[filter()];
    const open = tasks.filter((task) => !task.completed).length;
    at("summary").textContent = tasks.length === 0 ? "" : `${open}${mayHaveMore ? "+" : ""} open`;
}

function row(task) {
    const item = at("task").content.cloneNode(true).firstElementChild;
    const box = item.querySelector("input");
    const remove = item.querySelector(".remove");
    item.dataset.id = task.id;
    item.classList.toggle("done", task.completed);
    item.querySelector(".title").textContent = task.title;
    item.querySelector(".description").textContent = task.description ?? "";
    const priority = item.querySelector(".priority");
    priority.hidden = task.priority === "medium";
    priority.textContent = `${task.priority} priority`;
    priority.classList.toggle("high", task.priority === "high");
    box.checked = task.completed;
    remove.setAttribute("aria-label", `Delete ${task.title}`);
    box.addEventListener("change", () => attempt(() => setCompleted(task.id, box.checked), box));
    remove.addEventListener("click", () => attempt(() => removeTask(task.id), remove));
    return item;
}

async function setCompleted(id, completed) {
    const changed = completed
        ? await api("POST", `/tasks/${id}/complete`)
        : await api("PATCH", `/tasks/${id}`, { completed: false });
    const fits = filter() === "" || filter() === String(completed);
    replace(id, fits ? [changed] : []);
}

async function removeTask(id) {
    try {
        await api("DELETE", `/tasks/${id}`);
    } catch (error) {
        // Somebody else was faster: it is gone, as was wanted.
        if (error.status !== 404) {
            throw error;
        }
    }
    replace(id, []);
}

function replace(id, replacement) {
    const index = tasks.findIndex((task) => task.id === id);
    if (index >= 0) {
        tasks.splice(index, 1, ...replacement);
    }
    draw();
}

async function add() {
    const title = form.elements.title.value.trim();
    if (title === "") {
        throw new Error("A task needs a title");
    }
    const description = form.elements.description.value.trim();
    const priority = form.elements.priority.value;
    await api("POST", "/tasks", description === "" ? { title, priority } : { title, description, priority });
    form.reset();
    form.querySelector("details").open = false;
    if (filter() === "true") {
        document.querySelector("input[name=show][value='']").checked = true;
    }
    await load();
}

// Does it, with its control out of use meanwhile. A failure is shown, and what is drawn is again what the server said.
async function attempt(action, control) {
    const hadFocus = control !== undefined && document.activeElement === control;
    const place = control ? [...list.children].indexOf(control.closest("li")) : -1;
    at("error").hidden = true;
    if (control) {
        control.disabled = true;
    }
    try {
        await action();
    } catch (error) {
        if (isIn()) {
            draw();
        }
        at("error-text").textContent = error.message;
        at("error").hidden = false;
    }
    if (control) {
        control.disabled = false;
    }
    if (hadFocus) {
        restoreFocus(control, place);
    }
}

// Drawing anew would drop the keyboard's place in the list.
function restoreFocus(control, place) {
    if (!at("error").hidden) {
        at("retry").focus();
    } else if (control.isConnected && !control.closest("[hidden]")) {
        control.focus();
    } else {
        const row = list.children[Math.max(0, Math.min(place, list.children.length - 1))];
        (row?.querySelector("input") ?? at(isIn() ? "title" : "email")).focus();
    }
}

form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(add, form.querySelector("button"));
    if (at("error").hidden) {
        form.elements.title.focus();
    }
});
at("filter").addEventListener("change", () => attempt(load));
at("more").addEventListener("click", () => attempt(() => load({ append: true }), at("more")));
at("retry").addEventListener("click", () => attempt(start, at("retry")));
at("sign").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(sign, at("sign-submit"));
});
at("sign-other").addEventListener("click", () => {
    isNewcomer = !isNewcomer;
    at("error").hidden = true;
    show();
    at(isNewcomer ? "name" : "email").focus();
});
at("sign-out").addEventListener("click", () => attempt(signOut, at("sign-out")));
at("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    await attemptInChat(say, event.submitter ?? at("say").querySelector("button"));
    at("content").focus();
});
at("forget").addEventListener("click", () => attemptInChat(forget, at("forget")));

attempt(start);
