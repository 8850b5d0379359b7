// What is said beside what it is about: short notices with a way back, questions, and words for screen readers only.

import { Problem, send } from "./api.js";
import { byId, element, iconButton } from "./dom.js";
import { text } from "./text.js";

const NOTICE_MS = 10_000;
const NOTICES_MAX = 2;

// Undoing what the latest notice is about.
let undoLatest = null;

// Shows a notice for a while, for longer while it is pointed at. With a token, it can take something back.
export function notify(message, { undo = null, isError = false } = {}) {
    const list = byId("notices");
    let timer;
    const leave = () => {
        clearTimeout(timer);
        if (undoLatest === takeBack) {
            undoLatest = null;
        }
        notice.remove();
    };
    const stay = () => clearTimeout(timer);
    const begin = () => {
        stay();
        timer = setTimeout(leave, isError ? 2 * NOTICE_MS : NOTICE_MS);
    };
    const takeBack = undo === null ? null : async () => {
        leave();
        await undoWrite(undo);
    };
    const notice = element(
        "div",
        { class: isError ? "notice error" : "notice", role: isError ? "alert" : null },
        element("p", {}, message),
        takeBack && element("button", { type: "button", class: "quiet", onclick: takeBack }, text("undo")),
        iconButton("close", text("dismiss"), { onclick: leave }),
    );
    for (const [event, react] of [["pointerenter", stay], ["focusin", stay], ["pointerleave", begin], ["focusout", begin]]) {
        notice.addEventListener(event, react);
    }
    if (takeBack !== null) {
        undoLatest = takeBack;
    }
    // Outside of a dialog that is open, nothing can be reached.
    ([...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body).append(list);
    list.append(notice);
    while (list.children.length > NOTICES_MAX) {
        list.firstElementChild.remove();
    }
    begin();
}

export const notifyProblem = (problem) => notify(problem.message, { isError: true });

// Takes a write back by its token. Returns whether that was done.
export async function undoWrite(undo) {
    try {
        await send("POST", "/tasks/undo", { token: undo });
        notify(text("undone"));
        return true;
    } catch (problem) {
        notifyProblem(problem.status === 409 || problem.status === 404 ? new Problem(text("undo_too_late")) : problem);
        return false;
    }
}

// A dialog that closes leaves its notices. The event does not bubble.
document.addEventListener("close", () => document.body.append(byId("notices")), true);

// As everywhere, but not where it takes back what is being typed.
document.addEventListener("keydown", (event) => {
    const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (isUndo && undoLatest !== null && !event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select")) {
        event.preventDefault();
        undoLatest();
    }
});

// Asks before what can't be taken back.
export function confirm(question, action) {
    const dialog = byId("confirm");
    byId("confirm-question").textContent = question;
    byId("confirm-yes").textContent = action;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
}

export function announce(message) {
    byId("announcements").textContent = message;
}
