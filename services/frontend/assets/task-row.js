// One task in the list.

import { dueText, isOverdue, timeZone } from "./dates.js";
import { element, iconButton } from "./dom.js";
import { language, text } from "./text.js";

// Draws a task into its row, unless that shows it already. What has data-role is found again when the row is drawn anew
// while it has the focus. `picked` is null where tasks are not being selected.
export function drawRow(row, task, { now, canMove, picked, actions }) {
    const isLate = isOverdue(task, now);
    const due = task.due_on === null ? null : dueText(task, { language, now, zone: timeZone() });
    const isPicked = picked?.has(task.id) ?? null;
    const drawn = JSON.stringify([task.version, task.completed, isLate, due, canMove, isPicked]);
    if (row.dataset.drawn === drawn || row.dataset.editing) {
        return;
    }
    row.dataset.drawn = drawn;
    row.className = task.completed ? "task done" : "task";
    row.replaceChildren(
        ...(picked === null ? [canMove ? handle(task) : "", box(task, actions)] : [pick(task, isPicked, actions)]),
        element(
            "div",
            { class: "about" },
            element("button", { type: "button", class: "title", "data-role": "title", title: text("edit"), onclick: () => actions.edit(row, task) }, task.title),
            task.description && element("p", { class: "description" }, task.description),
            meta(task, due, isLate, actions),
        ),
        iconButton("remove", text("delete_named", { title: task.title }), { "data-role": "remove", onclick: () => actions.remove(task) }),
    );
}

function box(task, actions) {
    return element("input", {
        type: "checkbox",
        class: "check",
        checked: task.completed,
        "aria-label": text("done_named", { title: task.title }),
        "data-role": "check",
        onchange: (event) => actions.setCompleted(task, event.target.checked),
    });
}

function pick(task, isPicked, actions) {
    return element("input", {
        type: "checkbox",
        class: "pick",
        checked: isPicked,
        "aria-label": text("select_named", { title: task.title }),
        "data-role": "pick",
        onchange: (event) => actions.pick(task, event.target.checked),
    });
}

function handle(task) {
    return iconButton("drag", text("move_named", { title: task.title }), { class: "icon handle", "data-role": "handle", title: text("move_hint") });
}

function meta(task, due, isLate, actions) {
    const parts = [];
    if (due !== null) {
        const label = isLate ? text("overdue_since", { due }) : text("due", { due });
        parts.push(element("span", { class: isLate ? "due late" : "due" }, label));
    }
    if (task.priority !== "medium") {
        parts.push(element("span", { class: `priority ${task.priority}` }, text(`priority_${task.priority}_named`)));
    }
    for (const tag of task.tags) {
        const label = text("show_tag", { tag });
        parts.push(element("button", { type: "button", class: "tag", "aria-label": label, title: label, "data-role": `tag-${tag}`, onclick: () => actions.showTag(tag) }, `#${tag}`));
    }
    return parts.length === 0 ? null : element("p", { class: "meta" }, ...parts);
}

// Draws, and gives the focus back to what had it: the same part of the same task, or of the one that is in its place now.
export function keepFocus(list, draw) {
    const focused = document.activeElement;
    const row = focused?.closest("li.task");
    const isInList = row !== null && row !== undefined && list.contains(row);
    const place = isInList ? [...list.children].indexOf(row) : -1;
    draw();
    if (!isInList || document.activeElement === focused) {
        return;
    }
    if (focused.isConnected) {
        focused.focus();
        return;
    }
    const now = row.isConnected ? row : list.children[Math.min(place, list.children.length - 1)];
    const role = CSS.escape(focused.dataset.role ?? "title");
    (now?.querySelector(`[data-role="${role}"]`) ?? now?.querySelector("[data-role=title]") ?? document.getElementById("add-title")).focus();
}

