// The fields of a task: to add one, and to edit one where it is.

import { ifMatch, send } from "./api.js";
import { dayOf, timeZone } from "./dates.js";
import { byId, element } from "./dom.js";
import { bodyOf, changedFields, FIELDS, merge, valuesOf } from "./merge.js";
import { notify } from "./notice.js";
import { applyTexts, text } from "./text.js";

// However often a task is changed elsewhere while it is saved here, the user hears of it at last.
const SAVES_MAX = 3;

export function setUpAdd(onAdded) {
    const form = byId("add");
    byId("add-details").append(makeFields());
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const values = valuesIn(form);
        const empty = valuesOf({});
        const fields = ["title", ...changedFields(empty, values).filter((field) => field !== "title")];
        await attempt(form, async () => {
            const { data, undo } = await send("POST", "/tasks", bodyOf(values, fields, timeZone()));
            form.reset();
            byId("add-details").open = false;
            await onAdded(data, undo);
        });
        form.elements.title.focus();
    });
}

// Makes a form of the task's row. `onClose` is called with the task as it is now, or null where it was left as it was.
export function editTask(row, task, onClose) {
    let base = valuesOf(task);
    let version = task.version;
    const title = element("label", {}, element("span", {}, text("title")), element("input", { name: "title", maxlength: "200", required: true }));
    const form = element(
        "form",
        { class: "editor", autocomplete: "off", "aria-label": text("edit_named", { title: task.title }) },
        title,
        makeFields(),
        element("p", { class: "error", role: "alert", hidden: true }),
        element(
            "div",
            { class: "actions" },
            element("button", { type: "submit" }, text("save")),
            element("button", { type: "button", class: "quiet", onclick: () => close(null) }, text("cancel")),
        ),
    );

    const close = (changed) => {
        delete row.dataset.editing;
        row.dataset.drawn = "";
        onClose(changed);
        (row.isConnected ? row.querySelector("[data-role=title]") : byId("add-title")).focus();
    };

    const save = async (tries) => {
        const mine = valuesIn(form);
        const fields = changedFields(base, mine);
        if (fields.length === 0) {
            close(null);
            return;
        }
        try {
            const body = bodyOf(mine, fields, timeZone());
            const { data, undo } = await send("PATCH", `/tasks/${task.id}`, body, ifMatch(version));
            close(data);
            notify(text("saved", { title: data.title }), { undo });
        } catch (problem) {
            if (problem.code !== "stale" || problem.current === null) {
                throw problem;
            }
            const theirs = valuesOf(problem.current);
            const { values, conflicts } = merge(base, mine, theirs);
            [base, version] = [theirs, problem.current.version];
            fill(form, values);
            showConflicts(form, conflicts, theirs);
            if (conflicts.length === 0 && tries < SAVES_MAX) {
                await save(tries + 1);
                return;
            }
            throw new Error(text("stale"));
        }
    };

    row.dataset.editing = "true";
    row.className = "task editing";
    row.replaceChildren(form);
    fill(form, base);
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        attempt(form, () => save(1));
    });
    form.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            close(null);
        } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            form.requestSubmit();
        }
    });
    form.elements.title.focus();
}

function makeFields() {
    const fields = byId("fields").content.cloneNode(true);
    applyTexts(fields);
    // A time alone means today.
    const [day, time] = ["due_on", "due_time"].map((name) => fields.querySelector(`[name=${name}]`));
    time.addEventListener("change", () => {
        if (time.value !== "" && day.value === "") {
            day.value = dayOf(new Date(), timeZone());
        }
    });
    return fields;
}

function valuesIn(form) {
    return Object.fromEntries(FIELDS.map((field) => [field, form.elements[field].value]));
}

function fill(form, values) {
    for (const field of FIELDS) {
        form.elements[field].value = values[field];
    }
}

// What is there now stands below each field that holds something else.
function showConflicts(form, conflicts, theirs) {
    form.querySelectorAll(".theirs").forEach((note) => note.remove());
    for (const field of conflicts) {
        const value = field === "priority" ? text(`priority_${theirs.priority}`) : theirs[field];
        const note = text(value === "" ? "theirs_empty" : "theirs", { value });
        form.elements[field].closest("label").append(element("small", { class: "theirs" }, note));
    }
}

// Does it once at a time; what goes wrong is said in the form, and what was typed stays.
async function attempt(form, action) {
    const error = form.querySelector(".error");
    const submit = form.querySelector("[type=submit]");
    if (submit.getAttribute("aria-busy") === "true") {
        return;
    }
    error.hidden = true;
    submit.setAttribute("aria-busy", "true");
    try {
        await action();
    } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
    }
    submit.removeAttribute("aria-busy");
}
