// The list of tasks: which are shown, what can be done to them, and that it is always as the backend has it.

import { getPage, send } from "./api.js";
import { byId, debounce, element } from "./dom.js";
import { announce, notify, notifyProblem } from "./notice.js";
import { setUpOrder } from "./order.js";
import { picked, setUpSelection } from "./selection.js";
import { editTask, setUpAdd } from "./task-form.js";
import { drawRow, keepFocus } from "./task-row.js";
import { text } from "./text.js";
import { setUpTransfer } from "./transfer.js";
import { DEFAULT, emptyKey, queryOf, reorder } from "./view.js";

const PAGE = 50;
// As the backend gives them at once.
const READ_MAX = 500;
const SEARCH_MS = 200;
// Several changes at once are one look at the list.
const CHANGES_MS = 60;
// What is due becomes overdue without any change.
const MINUTE_MS = 60_000;

let view = { ...DEFAULT };
let tasks = [];
let shown = PAGE;
let hasMore = false;
let selection;
// Counts listings, so that a slow answer doesn't overwrite a newer one.
let listing = 0;
// The latest write; the next one waits for it, so that they arrive as they were made.
let writing = Promise.resolve();

export function setUpTasks() {
    selection = setUpSelection({ shownIds: () => tasks.map((task) => task.id), redraw: draw, onDone: loadTasks });
    setUpOrder(byId("list"), { move, restore: draw });
    setUpAdd(onAdded);
    setUpTransfer(loadTasks);
    byId("show").addEventListener("change", (event) => changeView({ show: event.target.value }));
    byId("sort").addEventListener("change", (event) => changeView({ sort: event.target.value }));
    byId("search").addEventListener("input", debounce(SEARCH_MS, () => changeView({ q: byId("search").value })));
    byId("tag").addEventListener("click", () => {
        changeView({ tag: null });
        byId("search").focus();
    });
    byId("show-more").addEventListener("click", () => {
        shown += PAGE;
        loadTasks();
    });
    byId("select-tasks").addEventListener("click", () => selection.begin());
    setInterval(draw, MINUTE_MS);
}

// Nothing of one user's stays for the next.
export function forgetTasks() {
    listing += 1;
    tasks = [];
    view = { ...DEFAULT };
    shown = PAGE;
    selection.end();
    byId("list").replaceChildren();
    showView();
}

export async function loadTasks() {
    const mine = ++listing;
    const list = byId("list");
    list.setAttribute("aria-busy", "true");
    try {
        const found = new Map();
        let next = null;
        for (let read = 0; read === 0 || (next !== null && read < shown); read += READ_MAX) {
            const page = await getPage(`/tasks?${queryOf(view, Math.min(READ_MAX, shown - read), next)}`);
            page.rows.forEach((task) => found.set(task.id, task));
            next = page.next;
        }
        if (mine !== listing) {
            return;
        }
        tasks = [...found.values()];
        hasMore = next !== null;
        byId("tasks-error").hidden = true;
        selection.keepOnly([...found.keys()]);
        draw();
    } catch (problem) {
        if (mine === listing && problem.status !== 401) {
            byId("tasks-error").textContent = problem.message;
            byId("tasks-error").hidden = false;
        }
    } finally {
        if (mine === listing) {
            list.setAttribute("aria-busy", "false");
        }
    }
}

// Something has changed, here or elsewhere.
export const refreshTasks = debounce(CHANGES_MS, loadTasks);

function changeView(change) {
    view = { ...view, ...change };
    shown = PAGE;
    byId("empty").hidden = true;
    showView();
    loadTasks();
}

function showView() {
    document.querySelector(`input[name=show][value=${view.show}]`).checked = true;
    byId("sort").value = view.sort;
    if (byId("search").value !== view.q) {
        byId("search").value = view.q;
    }
    byId("tag").hidden = view.tag === null;
    if (view.tag !== null) {
        byId("tag").textContent = `#${view.tag} ×`;
        byId("tag").setAttribute("aria-label", text("show_all_tags", { tag: view.tag }));
    }
}

// Brings the rows in line with the tasks. Rows that stay are not replaced, so that focus, selection and what is typed stay.
function draw() {
    const list = byId("list");
    if (list.classList.contains("dragging")) {
        return;
    }
    const known = new Map([...list.children].map((row) => [Number(row.dataset.id), row]));
    const looks = { now: new Date(), canMove: view.sort === "position" && tasks.length > 1, picked, actions };
    keepFocus(list, () => {
        tasks.forEach((task, place) => {
            const row = known.get(task.id) ?? element("li", { "data-id": String(task.id) });
            known.delete(task.id);
            drawRow(row, task, looks);
            if (list.children[place] !== row) {
                list.insertBefore(row, list.children[place] ?? null);
            }
        });
        // What is being edited stays until that is over, even if it is gone elsewhere.
        [...known.values()].filter((row) => !row.dataset.editing).forEach((row) => row.remove());
    });
    showCounts();
}

function showCounts() {
    const count = `${tasks.length}${hasMore ? "+" : ""}`;
    byId("count").textContent = tasks.length === 0 ? "" : text(`count_${view.show}`, { count });
    byId("show-more").hidden = !hasMore;
    byId("empty").hidden = tasks.length > 0 || byId("list").children.length > 0;
    byId("empty").textContent = text(emptyKey(view));
    // The badge on a phone says what is open, whatever is looked at.
    if (view.show === "open" && view.tag === null && view.q === "") {
        byId("count-badge").hidden = tasks.length === 0;
        byId("count-badge").textContent = count;
    }
}

const actions = {
    async setCompleted(task, completed) {
        await attempt(async () => {
            const { data, undo } = await send("POST", `/tasks/${task.id}/${completed ? "complete" : "reopen"}`);
            notify(text(completed ? "completed" : "reopened", { title: task.title }), { undo });
            replace(data);
        });
    },
    async remove(task) {
        await attempt(async () => {
            const { undo } = await send("DELETE", `/tasks/${task.id}`);
            notify(text("deleted", { title: task.title }), { undo });
            tasks = tasks.filter((other) => other.id !== task.id);
            draw();
        });
    },
    edit(row, task) {
        editTask(row, task, (changed) => {
            if (changed === null) {
                draw();
            } else {
                replace(changed);
                refreshTasks();
            }
        });
    },
    showTag: (tag) => changeView({ tag, show: "all" }),
    pick: (task, isPicked) => selection.pick(task.id, isPicked),
};

function replace(changed) {
    tasks = tasks.map((task) => (task.id === changed.id ? changed : task));
    draw();
}

// A new task is shown, whatever was looked at before.
async function onAdded(task, undo) {
    if (view.show === "done" || view.show === "overdue" || view.tag !== null || view.q !== "") {
        changeView({ show: "open", tag: null, q: "" });
    }
    notify(text("added", { title: task.title }), { undo });
    await loadTasks();
}

// The rows go there at once.
function move(id, destination) {
    const order = reorder(tasks.map((task) => task.id), id, destination);
    tasks = order.map((other) => tasks.find((task) => task.id === other));
    draw();
    const title = tasks.find((task) => task.id === id)?.title;
    announce(text("moved", { title, place: order.indexOf(id) + 1, count: order.length }));
    attempt(() => send("POST", `/tasks/${id}/move`, destination));
}

function attempt(action) {
    writing = writing.then(() => write(action));
    return writing;
}

// What goes wrong is said, and the list shown as it is.
async function write(action) {
    try {
        await action();
    } catch (problem) {
        notifyProblem(problem);
        // A box may be ticked for what was not done.
        byId("list").querySelectorAll("li").forEach((row) => delete row.dataset.drawn);
        draw();
    }
    refreshTasks();
}
