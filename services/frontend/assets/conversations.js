// The list of conversations: to go back to one, to find, name and delete them.

import { getPage, send } from "./api.js";
import { beginConversation, currentConversation, openConversation, retitle } from "./chat.js";
import { momentText, timeZone } from "./dates.js";
import { byId, debounce, element, iconButton } from "./dom.js";
import { confirm, notifyProblem } from "./notice.js";
import { pending } from "./pending.js";
import { language, text } from "./text.js";

const PAGE = 50;
const SEARCH_MS = 200;

let conversations = [];
// Leads to those that come after them; null where there are none.
let next = null;
let listing = 0;

export function setUpConversations() {
    const dialog = byId("conversations");
    const search = byId("conversations-search");
    byId("open-conversations").addEventListener("click", () => {
        search.value = "";
        conversations = [];
        draw(false);
        dialog.showModal();
        load();
    });
    search.addEventListener("input", debounce(SEARCH_MS, () => load()));
    byId("conversations-more").addEventListener("click", () => load({ append: true }));
}

async function load({ append = false } = {}) {
    const mine = ++listing;
    const query = new URLSearchParams({ limit: PAGE });
    if (append && next !== null) {
        query.set("cursor", next);
    }
    const words = byId("conversations-search").value.trim();
    if (words !== "") {
        query.set("q", words);
    }
    try {
        const page = await getPage(`/conversations?${query}`);
        if (mine === listing) {
            conversations = append ? [...conversations, ...page.rows] : page.rows;
            next = page.next;
            draw(next !== null);
            say(conversations.length > 0 ? null : text(words === "" ? "no_conversations" : "no_conversations_found"));
        }
    } catch (problem) {
        if (mine === listing) {
            say(problem.message);
        }
    }
}

function say(message) {
    byId("conversations-empty").textContent = message ?? "";
    byId("conversations-empty").hidden = message === null;
}

function draw(hasMore) {
    byId("conversations-list").replaceChildren(...conversations.map(row));
    byId("conversations-more").hidden = !hasMore;
    byId("conversations-empty").hidden = true;
}

const titleOf = (conversation) => conversation.title ?? text("untitled");

function row(conversation) {
    const title = titleOf(conversation);
    const when = momentText(conversation.updated_at ?? conversation.created_at, { language, now: new Date(), zone: timeZone() });
    const item = element("li", {});
    const isCurrent = currentConversation()?.id === conversation.id;
    item.append(
        element(
            "button",
            { type: "button", class: "open", "aria-current": isCurrent ? "true" : null, onclick: () => choose(conversation) },
            element("span", { class: "name" }, title),
            element("span", { class: "when" }, when),
        ),
        iconButton("edit", text("rename_named", { title }), { onclick: () => rename(item, conversation) }),
        iconButton("remove", text("delete_named", { title }), { onclick: () => remove(item, conversation) }),
    );
    return item;
}

async function choose(conversation) {
    try {
        await openConversation(conversation);
        byId("conversations").close();
        byId("say-content").focus();
    } catch (problem) {
        say(problem.message);
    }
}

// In its row. An empty name is none: then it is called by what was said first.
function rename(item, conversation) {
    const name = element("input", { maxlength: "200", value: conversation.title, "aria-label": text("conversation_name") });
    const back = () => {
        const again = row(conversation);
        item.replaceWith(again);
        again.querySelector("button").focus();
    };
    const form = element(
        "form",
        { class: "line" },
        name,
        element("button", { type: "submit", class: "quiet" }, text("save")),
    );
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
            const { data } = await send("PATCH", `/conversations/${conversation.id}`, { title: name.value.trim() || null });
            Object.assign(conversation, data);
            retitle(conversation);
            back();
        } catch (problem) {
            notifyProblem(problem);
        }
    });
    form.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            // The dialog stays.
            event.preventDefault();
            back();
        }
    });
    item.replaceChildren(form);
    name.select();
}

async function remove(item, conversation) {
    if (!(await confirm(text("delete_conversation", { title: titleOf(conversation) }), text("delete")))) {
        return;
    }
    try {
        await send("DELETE", `/conversations/${conversation.id}`);
    } catch (problem) {
        // Gone already is as it was wanted.
        if (problem.status !== 404) {
            notifyProblem(problem);
            return;
        }
    }
    pending.forget(conversation.id);
    conversations = conversations.filter((other) => other !== conversation);
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    (next?.querySelector("button") ?? byId("conversations-search")).focus();
    if (currentConversation()?.id === conversation.id) {
        beginConversation();
    }
}
