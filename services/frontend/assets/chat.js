// The conversation: what is said, and the answer as it comes.

import { get, getPage, open, Problem, problemOf, send } from "./api.js";
import { newKey, NOTHING, takeEvent } from "./answer.js";
import { timeZone } from "./dates.js";
import { byId, element, wait } from "./dom.js";
import { drawInTurn, drawMessage } from "./message.js";
import { announce, notifyProblem } from "./notice.js";
import { pending } from "./pending.js";
import { readEvents } from "./sse.js";
import { text } from "./text.js";

const MESSAGES = 50;
// How often, and after how long, a lost answer is asked for again.
const WAIT_MS = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];

// Null until the first message of a new one.
let conversation = null;
// Leads to the messages before those that are shown; null where these are the first.
let earlier = null;
// While an answer comes: what ends the wait for it here. The backend goes on.
let answering = null;
// Counts what was opened, begun and said, so that what comes late doesn't take that away.
let turn = 0;
// Other tabs that show the same conversation.
const others = new BroadcastChannel("conversations");

export const currentConversation = () => conversation;

export function setUpChat() {
    byId("say").addEventListener("submit", (event) => {
        event.preventDefault();
        submit();
    });
    byId("say-content").addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            submit();
        }
    });
    byId("say-stop").addEventListener("click", stop);
    byId("new-conversation").addEventListener("click", () => {
        beginConversation();
        byId("say-content").focus();
    });
    byId("earlier").addEventListener("click", loadEarlier);
    for (const key of ["suggestion_add", "suggestion_list", "suggestion_next"]) {
        const button = element("button", { type: "button", class: "quiet", onclick: () => say({ content: text(key), key: newKey() }) }, text(key));
        byId("suggestions").append(element("li", {}, button));
    }
    others.addEventListener("message", (event) => {
        if (event.data === conversation?.id && answering === null) {
            openConversation(conversation).catch(() => {});
        }
    });
}

export async function openLatest() {
    const mine = ++turn;
    const [latest] = await get("/conversations?limit=1");
    if (mine === turn && latest === undefined) {
        beginConversation();
    } else if (mine === turn) {
        await openConversation(latest);
    }
}

export async function openConversation(chosen) {
    const mine = ++turn;
    const page = await getPage(`/conversations/${chosen.id}/messages?limit=${MESSAGES}`);
    if (mine !== turn) {
        return;
    }
    leave();
    conversation = chosen;
    byId("messages").replaceChildren(...page.rows.map((message) => itemOf(message)));
    earlier = page.next;
    byId("earlier").hidden = earlier === null;
    show();
    scrollToEnd();
    // What was under way when the page was left goes on; what was answered meanwhile takes the place of what is shown.
    const unanswered = pending.get(chosen.id);
    if (unanswered) {
        say(unanswered);
    }
}

// The page waits for no answer any more, and shows nothing of anybody's.
export function beginConversation() {
    turn += 1;
    leave();
    conversation = null;
    byId("messages").replaceChildren();
    byId("earlier").hidden = true;
    show();
}

export function retitle(changed) {
    if (conversation?.id === changed.id) {
        conversation = changed;
        show();
    }
}

async function loadEarlier() {
    const log = byId("log");
    const { id } = conversation;
    const cursor = earlier;
    try {
        const page = await getPage(`/conversations/${id}/messages?limit=${MESSAGES}&cursor=${cursor}`);
        // Another conversation may be shown by now, or these messages by another click.
        if (conversation?.id !== id || earlier !== cursor) {
            return;
        }
        const below = log.scrollHeight - log.scrollTop;
        byId("messages").prepend(...page.rows.map((message) => itemOf(message)));
        earlier = page.next;
        byId("earlier").hidden = earlier === null;
        log.scrollTop = log.scrollHeight - below;
    } catch (problem) {
        notifyProblem(problem);
    }
}

function leave() {
    answering?.abort();
    answering = null;
}

function show() {
    byId("chat-heading").textContent = conversation?.title ?? text("new_conversation");
    byId("greeting").hidden = byId("messages").children.length > 0;
    byId("say-send").hidden = answering !== null;
    byId("say-stop").hidden = answering === null;
}

function itemOf(message, options) {
    const item = element("li");
    drawMessage(item, message, options);
    return item;
}

function submit() {
    const field = byId("say-content");
    const content = field.value.trim();
    if (content !== "" && answering === null) {
        field.value = "";
        say({ content, key: newKey() });
    }
}

// Says something, or asks again for the answer to it: the key is what the backend knows it by.
async function say(said) {
    turn += 1;
    const mine = new AbortController();
    answering = mine;
    const list = byId("messages");
    list.querySelector(".problem")?.remove();
    list.append(itemOf({ role: "user", content: said.content }), itemOf({ role: "assistant", content: "" }, { isComing: true }));
    show();
    scrollToEnd();
    const [item, answerItem] = [...list.children].slice(-2);
    const draw = drawInTurn((answer) => drawAnswer(item, answerItem, answer));
    try {
        const answer = await hear(said, mine.signal, draw);
        pending.forget(conversation.id);
        announce(answer.message.content);
        others.postMessage(conversation.id);
        await learnTitle();
    } catch (problem) {
        if (!mine.signal.aborted || mine.signal.reason === "stopped") {
            showProblem(item, answerItem, said, problem);
        }
    }
    if (answering === mine) {
        answering = null;
        show();
    }
}

// Asks until the whole answer is there. Each try gets all of it from its beginning.
async function hear(said, signal, draw) {
    let latest = NOTHING;
    for (let tries = 0; ; tries += 1) {
        let answer = NOTHING;
        try {
            const id = await ensureConversation(signal);
            pending.keep(id, said);
            const body = { ...said, time_zone: timeZone() };
            const headers = { accept: "text/event-stream" };
            const response = await open("POST", `/conversations/${id}/messages`, { body, headers, signal });
            for await (const event of readEvents(response)) {
                answer = takeEvent(answer, event);
                latest = answer;
                draw(answer);
                if (answer.problem !== null) {
                    throw Object.assign(problemOf(answer.problem, answer.problem.status), { isFinal: true });
                }
                if (answer.message !== null) {
                    return answer;
                }
            }
        } catch (problem) {
            const isLost = !(problem instanceof Problem) || problem.isAway;
            if (signal.aborted || problem.isFinal || !isLost) {
                throw problem;
            }
        }
        if (tries === WAIT_MS.length) {
            throw new Problem(text("answer_lost"));
        }
        draw({ ...latest, isLost: true });
        await wait(WAIT_MS[tries]);
        signal.throwIfAborted();
    }
}

async function ensureConversation(signal) {
    if (conversation === null) {
        const { data } = await send("POST", "/conversations");
        signal.throwIfAborted();
        conversation = data;
    }
    return conversation.id;
}

function drawAnswer(item, answerItem, { said, text: content, calls, message, isLost }) {
    const isAtEnd = isScrolledToEnd();
    if (said !== null && item.dataset.id !== String(said.id)) {
        // The page may show it already, with an answer, from before it was asked for again.
        for (const other of byId("messages").querySelectorAll("[data-id]")) {
            if (Number(other.dataset.id) >= said.id) {
                other.remove();
            }
        }
        drawMessage(item, said);
    }
    drawMessage(answerItem, message ?? { role: "assistant", content, tool_calls: calls }, { isComing: message === null });
    if (isLost) {
        answerItem.append(element("p", { class: "hint", role: "status" }, text("reconnecting")));
    }
    if (isAtEnd) {
        scrollToEnd();
    }
}

function showProblem(item, answerItem, said, problem) {
    // What was refused is not asked again by itself, unless there was too much at once.
    const isRefused = problem.isFinal || (problem.status >= 400 && problem.status < 500 && problem.status !== 429);
    if (isRefused && conversation !== null) {
        pending.forget(conversation.id);
    }
    // Deleted elsewhere: the same is said in another conversation.
    if (problem.status === 404) {
        conversation = null;
    }
    answerItem.querySelector(".thinking, .hint")?.remove();
    answerItem.removeAttribute("data-coming");
    if (answerItem.querySelector(".said, .calls") === null) {
        answerItem.remove();
    }
    const again = () => {
        item.remove();
        answerItem.remove();
        say(said);
        byId("say-content").focus();
    };
    const message = problem instanceof Problem ? problem.message : text("answer_lost");
    byId("messages").append(
        element(
            "li",
            { class: "problem" },
            element("p", { role: "alert" }, message),
            element("button", { type: "button", class: "quiet", onclick: again }, text("try_again")),
        ),
    );
    scrollToEnd();
}

// The backend keeps what has come so far, and ends the answer; if it can't be reached, waiting ends here.
async function stop() {
    const mine = answering;
    try {
        await send("POST", `/conversations/${conversation.id}/stop`);
    } catch {
        mine?.abort("stopped");
    }
    byId("say-content").focus();
}

// It is named by what was said first.
async function learnTitle() {
    if (conversation !== null && conversation.title === null) {
        const { id } = conversation;
        const learned = await get(`/conversations/${id}`).catch(() => conversation);
        if (conversation?.id === id) {
            conversation = learned;
        }
    }
}

function isScrolledToEnd() {
    const log = byId("log");
    return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
}

function scrollToEnd() {
    byId("log").scrollTop = byId("log").scrollHeight;
}
