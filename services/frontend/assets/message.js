// One message of a conversation, and what was done for it.

import { textBesideCalls, UNDO_MS } from "./answer.js";
import { element, icon } from "./dom.js";
import { parse, render } from "./markdown.js";
import { undoWrite } from "./notice.js";
import { text } from "./text.js";

// Tokens that were used. What is taken back stays so, however often its message is drawn.
const undone = new Set();

export function drawMessage(item, { id, role, content, tool_calls: calls = [], created_at: createdAt, stopped }, { isComing = false } = {}) {
    const isUser = role === "user";
    item.className = `message ${role}`;
    if (id !== undefined) {
        item.dataset.id = String(id);
    }
    item.toggleAttribute("data-coming", isComing);
    const shown = isUser ? content : textBesideCalls(content, calls, !isComing);
    const parts = [element("span", { class: "unseen" }, text(isUser ? "you_said" : "assistant_said"))];
    if (calls.length > 0) {
        parts.push(element("ul", { class: "calls" }, ...calls.map((call) => drawCall(call, createdAt))));
    }
    if (isUser) {
        parts.push(element("p", {}, shown));
    } else if (shown !== "") {
        parts.push(element("div", { class: "said" }, ...render(parse(shown))));
    } else if (isComing && calls.length === 0) {
        parts.push(element("p", { class: "thinking" }, element("span", { class: "unseen" }, text("thinking"))));
    }
    if (stopped) {
        parts.push(element("p", { class: "hint" }, text("stopped")));
    }
    replaceKeepingFocus(item, parts);
}

// An answer is drawn anew with each part that comes, and a button in it may have the focus.
function replaceKeepingFocus(item, parts) {
    const token = item.contains(document.activeElement) ? document.activeElement.dataset.token : undefined;
    item.replaceChildren(...parts);
    if (token !== undefined) {
        item.querySelector(`[data-token="${CSS.escape(token)}"]`)?.focus();
    }
}

function drawCall(call, createdAt) {
    const token = call.undo_token;
    const left = Date.parse(createdAt ?? new Date().toISOString()) + UNDO_MS - Date.now();
    const made = element(
        "li",
        { class: call.failed ? "call failed" : "call" },
        icon(call.failed ? "close" : "check"),
        element("span", {}, call.failed ? element("span", { class: "unseen" }, text("call_failed")) : null, call.summary),
    );
    if (token && undone.has(token)) {
        made.append(element("em", {}, text("undone")));
    } else if (token && left > 0) {
        const button = element("button", { type: "button", class: "quiet", "data-token": token, "aria-label": text("undo_named", { summary: call.summary }) }, text("undo"));
        button.addEventListener("click", async () => {
            if (await undoWrite(token)) {
                undone.add(token);
                button.replaceWith(element("em", { tabindex: "-1" }, text("undone")));
            }
        });
        // After that time the backend takes nothing back.
        setTimeout(() => button.remove(), left);
        made.append(button);
    }
    return made;
}

// Parts come faster than a screen shows them. The last is always drawn.
export function drawInTurn(draw) {
    let latest = null;
    return (answer) => {
        if (answer.message !== null || answer.problem !== null || answer.isLost || document.hidden) {
            latest = null;
            draw(answer);
            return;
        }
        if (latest === null) {
            requestAnimationFrame(() => {
                if (latest !== null) {
                    draw(latest);
                    latest = null;
                }
            });
        }
        latest = answer;
    };
}
