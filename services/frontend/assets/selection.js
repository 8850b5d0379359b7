// Doing the same to several tasks at once.

import { send } from "./api.js";
import { byId, element } from "./dom.js";
import { tagsOf } from "./merge.js";
import { notify, notifyProblem } from "./notice.js";
import { text } from "./text.js";

// As the backend takes them at once.
const IDS_MAX = 200;

// The ids that are selected; null while nothing is being selected.
export let picked = null;

// `shownIds` are those that can be selected, `redraw` shows what is, `onDone` shows what was done.
export function setUpSelection({ shownIds, redraw, onDone }) {
    const bar = byId("selection");

    const end = () => {
        picked = null;
        show();
    };

    const show = () => {
        bar.hidden = picked === null;
        if (picked !== null) {
            drawBar();
        }
        redraw();
    };

    const act = async (action, more = {}) => {
        const ids = [...picked];
        if (ids.length === 0) {
            notify(text("select_first"));
            return;
        }
        try {
            let undo = null;
            for (let at = 0; at < ids.length; at += IDS_MAX) {
                const answer = await send("POST", "/tasks/bulk", { action, ids: ids.slice(at, at + IDS_MAX), ...more });
                // A token takes back one request and no more.
                undo = ids.length <= IDS_MAX ? answer.undo : null;
            }
            notify(text(`bulk_${action}`, { count: ids.length }), { undo });
            end();
            await onDone();
        } catch (problem) {
            notifyProblem(problem);
        }
    };

    const button = (key, onclick) => element("button", { type: "button", class: "quiet", onclick }, text(key));

    const priority = element(
        "select",
        { "aria-label": text("set_priority"), onchange: (event) => event.target.value && act("update", { change: { priority: event.target.value } }) },
        element("option", { value: "" }, text("set_priority")),
        ...["low", "medium", "high"].map((value) => element("option", { value }, text(`priority_${value}`))),
    );
    const day = element("input", { type: "date", "aria-label": text("due_on") });
    const dueForm = element(
        "form",
        { class: "line", onsubmit: (event) => {
            event.preventDefault();
            act("update", { change: { due_on: day.value || null } });
        } },
        day,
        element("button", { type: "submit", class: "quiet" }, text("set_due")),
    );
    const tags = element("input", { "aria-label": text("add_tags"), placeholder: text("add_tags"), maxlength: "200", autocapitalize: "none", required: true });
    const tagForm = element(
        "form",
        { class: "line", onsubmit: (event) => {
            event.preventDefault();
            act("tag", { add: tagsOf(tags.value) });
        } },
        tags,
        element("button", { type: "submit", class: "quiet" }, text("tag")),
    );
    const count = element("strong", { role: "status" });

    const selectAll = () => {
        const ids = shownIds();
        picked = new Set(picked.size === ids.length ? [] : ids);
        show();
    };

    const drawBar = () => {
        count.textContent = text("selected", { count: picked.size });
    };

    bar.append(
        element("div", { class: "line spread" }, count, button("select_all", selectAll), button("finish", end)),
        element("div", { class: "line" }, button("complete", () => act("complete")), button("reopen", () => act("reopen")), button("delete", () => act("delete")), priority),
        dueForm,
        tagForm,
    );

    return {
        begin: () => {
            picked = new Set();
            show();
            bar.querySelector("button").focus();
        },
        pick: (id, isPicked) => {
            picked[isPicked ? "add" : "delete"](id);
            drawBar();
        },
        // A task that is gone can't stay selected.
        keepOnly: (ids) => {
            if (picked !== null) {
                picked = new Set(ids.filter((id) => picked.has(id)));
                drawBar();
            }
        },
        end,
    };
}
