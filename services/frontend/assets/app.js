"use strict";

const PAGE_SIZE = 50;
const REQUEST_TIMEOUT_MS = 15000;

const EMPTY = {
    "": "Nothing to do. Add the first task above.",
    false: "Nothing is open.",
    true: "Nothing is done yet.",
};

const at = (id) => document.getElementById(id);
const form = at("add");
const list = at("tasks");

// What the server last said. The page is drawn from it and from nothing else.
let tasks = [];
let mayHaveMore = false;
// Counts listings, so that a slow answer doesn't overwrite a newer one.
let listing = 0;

async function api(method, path, body) {
    let response;
    try {
        response = await fetch(`/api/tasks${path}`, {
            method,
            headers: body === undefined ? {} : { "content-type": "application/json" },
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
        });
    } catch (error) {
        const slow = error.name === "TimeoutError";
        throw new Error(slow ? "The server takes too long to answer" : "The server can't be reached");
    }
    const answer = response.status === 204 ? null : await response.json().catch(() => null);
    if (!response.ok) {
        const error = new Error(answer?.error?.message ?? `The server answered ${response.status}`);
        error.status = response.status;
        throw error;
    }
    return answer;
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
        const found = await api("GET", `?${query}`);
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
    box.checked = task.completed;
    remove.setAttribute("aria-label", `Delete ${task.title}`);
    box.addEventListener("change", () => attempt(() => setCompleted(task.id, box.checked), box));
    remove.addEventListener("click", () => attempt(() => removeTask(task.id), remove));
    return item;
}

async function setCompleted(id, completed) {
    const changed = completed
        ? await api("POST", `/${id}/complete`)
        : await api("PATCH", `/${id}`, { completed: false });
    const fits = filter() === "" || filter() === String(completed);
    replace(id, fits ? [changed] : []);
}

async function removeTask(id) {
    try {
        await api("DELETE", `/${id}`);
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
    await api("POST", "", description === "" ? { title } : { title, description });
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
        draw();
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
        (row?.querySelector("input") ?? at("title")).focus();
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
at("retry").addEventListener("click", () => attempt(load, at("retry")));

attempt(load);
